"""What laws speak of, made from the rows that a block is given: columns by name, formulas over them, principal components.

A torch module from X (N, d) to columns (k, N), contiguous, so that a law reads each column in one piece.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence

import numpy as np
import torch

from fansr.distillation import law_graph
from fansr.distillation.law_values import values
from fansr.errors import DataError
from fansr.expressions import from_infix, variables

Made = str | Callable[[torch.Tensor], torch.Tensor]


class InputColumns(torch.nn.Module):
    """Named columns of rows X (N, d): the `raw` ones, then `made` {name: formula over the raw names, or function X -> (N,)},
    then principal components pc1, pc2, ... of X less `mean` (d,) along `components` (k, d)."""

    def __init__(
        self,
        raw: Sequence[str],
        made: dict[str, Made] | None = None,
        mean: np.ndarray | None = None,
        components: np.ndarray | None = None,
        keep_raw: bool = True,
    ):
        super().__init__()
        self.raw, self.made = list(raw), dict(made or {})
        self.keep_raw = keep_raw
        self.formulas = {name: parsed(text, self.raw) for name, text in self.made.items() if isinstance(text, str)}
        n = 0 if components is None else len(components)
        self.names = [*(self.raw if keep_raw else ()), *self.made, *(f"pc{i + 1}" for i in range(n))]
        twice = next((name for name in self.names if self.names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"two columns are called {twice}: wanted a name of its own for each")
        self.register_buffer("mean", None if mean is None else torch.as_tensor(mean, dtype=torch.float32))
        self.register_buffer(
            "components", None if components is None else torch.as_tensor(components, dtype=torch.float32)
        )

    @property
    def width(self) -> int:
        """d: values of a row of X."""
        return len(self.raw)

    def only(self, names: Sequence[str]) -> InputColumns:
        """A copy with those names alone, in that order, for laws that use no others; it may go to another device."""
        return _Some(copy.deepcopy(self), names)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """(k, N) columns of rows X (N, d), in X's dtype."""
        return self.columns(X, self.names)

    def columns(self, X: torch.Tensor, names: Sequence[str]) -> torch.Tensor:
        """(len(names), N): the columns of these names."""
        if X.shape[1] != self.width:
            raise DataError(f"rows of {X.shape[1]} values came, the laws were found on rows of {self.width}")
        places = {name: j for j, name in enumerate(self.raw)}
        if self.keep_raw and not self.made and all(name in places for name in names):
            wanted = [places[name] for name in names]
            return X.t().contiguous() if wanted == list(range(X.shape[1])) else X.t()[wanted]
        components: dict[str, torch.Tensor] = {}
        if self.components is not None:
            numbers = [int(name[2:]) - 1 for name in names if name not in places and name not in self.made]
            if numbers:
                P = self.components[numbers].to(X.dtype)
                shift = -(P @ self.mean.to(X.dtype))
                Z = torch.addmm(shift[:, None], P, X.t())  # (k, N), laid out as laws want it
                if len(numbers) == len(names):
                    return Z
                components = {f"pc{i + 1}": Z[row] for row, i in enumerate(numbers)}
        found = []
        for name in names:
            if name in components:
                found.append(components[name])
            elif name in self.made:
                found.append(self._made(name, X))
            else:
                found.append(X[:, places[name]])
        return torch.stack(found) if found else X.new_zeros((0, len(X)))

    def _made(self, name: str, X: torch.Tensor) -> torch.Tensor:
        if name in self.formulas:
            expr = self.formulas[name]
            graph = law_graph.build([(expr, [])])
            used = variables(expr)
            columns = dict(zip(used, X.t()[used].unbind(0))) if used else {}
            (value,) = values(graph, columns, [], X)
            return value
        value = self.made[name](X)
        if not isinstance(value, torch.Tensor) or value.reshape(-1).shape[0] != len(X):
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise DataError(f"input {name}: its function gives {shape}, wanted one value for each of the {len(X)} rows")
        return value.reshape(-1)


class _Some(torch.nn.Module):
    """Some of the columns of another module of columns."""

    def __init__(self, whole: InputColumns, names: Sequence[str]):
        super().__init__()
        self.whole, self.names = whole, list(names)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.whole.columns(X, self.names)


def parsed(text: str, names: Sequence[str]) -> list[str]:
    """The expression of a formula over columns called `names`, or x1, x2, ...; DataError says what is wrong with it."""
    try:
        expr = from_infix(text, list(names))
    except ValueError:
        if not re.search(r"\bx[1-9]\d*\b", text):
            raise DataError(f"input {text!r}: wanted a formula over {_some(names)}") from None
        try:
            expr = from_infix(text)
        except ValueError as error:
            raise DataError(f"input {text!r}: {error}") from None
    beyond = next((j for j in variables(expr) if j >= len(names)), None)
    if beyond is not None:
        raise DataError(f"input {text!r}: x{beyond + 1} is no column, the block is given {len(names)} ({_some(names)})")
    if "<constant>" in expr:
        raise DataError(f"input {text!r}: wanted numbers, not constants to be fitted")
    return expr


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f", ... ({len(names)} columns)" if len(names) > 8 else "")
