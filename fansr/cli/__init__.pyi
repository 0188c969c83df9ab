# What other packages may import from this one.
from . import (
    command as command,
    kernels as kernels,
    live_lines as live_lines,
    resources as resources,
    single_thread as single_thread,
)
from .command import read_toml as read_toml
