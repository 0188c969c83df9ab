"""The values of a graph of laws with tensors: differentiable, traceable by torch.compile, and nothing executed from text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from fansr.distillation.law_graph import Graph
from fansr.expressions import OPERATOR


def _odd_root(a: torch.Tensor, k: int) -> torch.Tensor:
    """The real k-th root, whose derivative at 0, infinite by the formula, is taken as 0: one row at 0 must not end a training."""
    zero = a == 0
    size = torch.where(zero, torch.ones_like(a), a.abs())
    return torch.where(zero, a * 0, a.sign() * size ** (1.0 / k))


def _power(a: torch.Tensor, k: int) -> torch.Tensor:
    """a^k by products: pow is 10 times slower on a CPU, and inexact."""
    square = a * a
    return (square, square * a, square * square, square * square * a)[k - 2]


FUNCTIONS: dict[str, Callable] = {
    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "pow": torch.pow,
    "abs": torch.abs, "inv": torch.reciprocal, "neg": torch.neg, "pow1_2": torch.sqrt, "pow1_4": lambda a: a.sqrt().sqrt(),
    "pow1_3": partial(_odd_root, k=3), "pow1_5": partial(_odd_root, k=5),
    "step": lambda a: torch.where(a.isnan(), a, (a > 0).to(a.dtype)), "logistic": torch.sigmoid,
    "min": torch.minimum, "max": torch.maximum, "mod": torch.remainder,
}  # fmt: skip
for _k in (2, 3, 4, 5):
    FUNCTIONS[f"pow{_k}"] = partial(_power, k=_k)
    FUNCTIONS[f"mult{_k}"] = partial(torch.mul, other=_k)
    FUNCTIONS[f"div{_k}"] = partial(torch.div, other=_k)
FUNCTIONS |= {token: getattr(torch, token) for token in OPERATOR if token not in FUNCTIONS and "=" not in token}


def values(
    graph: Graph,
    columns: Mapping[int, torch.Tensor] | Sequence[torch.Tensor],
    consts: Sequence[torch.Tensor] | torch.Tensor,
    like: torch.Tensor,
) -> list[torch.Tensor]:
    """U tensors, a law's values each, of columns that all have one shape; (N,) of `like` (N, ...) where a law has no column."""
    found: list[torch.Tensor] = []
    for kind, *operands in graph.nodes:
        if kind == "column":
            found.append(columns[operands[0]])
        elif kind == "constant":
            found.append(consts[operands[0]])
        elif kind == "literal":
            found.append(like.new_tensor(operands[0]))
        else:
            found.append(FUNCTIONS[kind](*[found[i] for i in operands]))
    shape = (like.shape[0],)
    return [found[root] if found[root].dim() else found[root].expand(shape) for root in graph.roots]
