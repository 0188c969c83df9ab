# What other packages may import from this one.
from . import (
    draw_kernels as draw_kernels,
    insertion as insertion,
    prior as prior,
    problem_bytes as problem_bytes,
    render_torch as render_torch,
)
from .gen import sample_skeletons as sample_skeletons, sample_tokens as sample_tokens
from .prior import Prior as Prior
