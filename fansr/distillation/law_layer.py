"""The laws of a block as one torch module, which stands where the block stood.

    layer = LawLayer([Law("y1", expr, consts), ...], columns)
    Y = layer(X)                              # (..., d) -> (..., outputs)

The columns are laid out once, equal parts of all laws are computed once (law_graph.py), and what comes out goes through the
output basis as one matrix product.  Constants are parameters; gradients flow to them and to X.  Without gradients on a CPU the
compiled kernel is taken where it is faster, which is measured at the first call with so many rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np
import torch

from fansr.distillation import law_graph, law_values
from fansr.distillation.input_columns import InputColumns

ENGINES = ("auto", "torch", "numba")
GUARDS = ("clip", "block", "none")
WIDER = 0.1  # of its range, by which a column may leave it
TRIALS = 5


class LawLayer(torch.nn.Module):
    """U laws over `columns`, each (prefix expression over columns.names, constants): X (..., d) -> (..., outputs).

    low, high (k,): ranges of the columns where the laws were found; y_low, y_high, y_mean (U,): those of the laws' values.
    guard: "clip" keeps columns and values within their ranges widened by WIDER, and takes the mean for what is no number;
    "block" and "none" leave them.  `outside(X)` says which rows are beyond.

    output: None (the laws' values are the outputs), or (mean (m,), components (U, m)): outputs are mean + values @ components;
    linear: (W (d, m), b (m,)) is added, X @ W + b.  tied: constants of equal value are one parameter.

    Values are computed in X's dtype, in float32 for half precision; by the kernel in float64.
    """

    def __init__(
        self,
        laws: Sequence[law_graph.Law],
        columns: InputColumns,
        ranges: tuple[np.ndarray, np.ndarray] | None = None,
        value_ranges: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
        guard: str = "clip",
        output: tuple[np.ndarray, np.ndarray] | None = None,
        linear: tuple[np.ndarray, np.ndarray] | None = None,
        tied: bool = True,
        engine: str = "auto",
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        if guard not in GUARDS:
            raise ValueError(f"guard={guard!r}: wanted one of {', '.join(GUARDS)}")
        if engine not in ENGINES:
            raise ValueError(f"engine={engine!r}: wanted one of {', '.join(ENGINES)}")
        self.laws = [(list(expr), np.asarray(values, dtype=np.float64).tolist()) for expr, values in laws]
        self.guard, self.engine, self.tied = guard, engine, tied
        whole = law_graph.build(self.laws, tied)
        used = whole.columns  # laws speak of all columns, the graph of those that occur
        place = {j: i for i, j in enumerate(used)}
        nodes = [("column", place[node[1]]) if node[0] == "column" else node for node in whole.nodes]
        self.graph = law_graph.Graph(nodes, whole.roots, whole.consts)
        self.columns = columns.only([columns.names[j] for j in used])
        self.consts = torch.nn.Parameter(torch.as_tensor(whole.consts, dtype=dtype))
        self.engines: dict[int, str] = {}  # number of bits of the number of rows: the engine that was faster
        self._program = None

        def buffer(name, value):
            self.register_buffer(name, None if value is None else torch.as_tensor(np.asarray(value), dtype=dtype))

        low, high = (None, None) if ranges is None else widened(*ranges)
        buffer("low", None if low is None else low[used, None])
        buffer("high", None if high is None else high[used, None])
        if value_ranges is not None:
            y_low, y_high = widened(*value_ranges[:2])
            value_ranges = (y_low[:, None], y_high[:, None], np.asarray(value_ranges[2])[:, None])
        for name, value in zip(("y_low", "y_high", "y_mean"), value_ranges or (None,) * 3):
            buffer(name, value)
        for name, value in zip(("output_mean", "output_components"), output or (None, None)):
            buffer(name, value)
        for name, value in zip(("linear_weight", "linear_bias"), linear or (None, None)):
            buffer(name, value)

    @property
    def outputs(self) -> int:
        """Values of a row of the outcome."""
        return len(self.laws) if self.output_components is None else self.output_components.shape[1]

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Values (..., outputs) at rows X (..., d)."""
        rows = X.reshape(-1, X.shape[-1])
        half = rows.dtype in (torch.float16, torch.bfloat16)
        worked = rows.float() if half else rows
        Y = self._outcome(worked, self.values(worked))
        return (Y.to(X.dtype) if half else Y).reshape(*X.shape[:-1], self.outputs)

    def values(self, rows: torch.Tensor) -> torch.Tensor:
        """(U, N): the laws' values at rows (N, d), guarded."""
        Z = self.columns(rows)
        if self.guard == "clip" and self.low is not None:
            Z = torch.minimum(torch.maximum(Z, self.low.to(Z.dtype)), self.high.to(Z.dtype))
        Y = self._run(Z, rows)
        if self.guard == "clip" and self.y_low is not None:
            Y = torch.where(Y.isnan(), self.y_mean.to(Y.dtype), Y)
            Y = torch.minimum(torch.maximum(Y, self.y_low.to(Y.dtype)), self.y_high.to(Y.dtype))
        return Y

    def outside(self, X: torch.Tensor) -> torch.Tensor:
        """Mask (N,) of rows X (N, d) of which a column that occurs is beyond its range, or a law is no finite number."""
        rows = X.float() if X.dtype in (torch.float16, torch.bfloat16) else X
        Z = self.columns(rows)
        beyond = ~torch.isfinite(self._run(Z, rows)).all(dim=0)
        if self.low is not None and len(Z):
            beyond = beyond | ((Z < self.low.to(Z.dtype)) | (Z > self.high.to(Z.dtype))).any(dim=0)
        return beyond

    def constants_of(self, unit: int) -> list[float]:
        """The constants of one law as they are now, in the order of its expression."""
        firsts = self._constant_places()
        return [float(self.consts[k].detach()) for k in firsts[unit]]

    # -- how it is computed

    def _constant_places(self) -> list[list[int]]:
        """For each law the parameter of each of its constants, in the order in which they stand."""
        if not self.tied:
            ends = np.cumsum([len(values) for _, values in self.laws])
            return [list(range(end - len(values), end)) for end, (_, values) in zip(ends, self.laws)]
        number = {value: k for k, value in enumerate(self.graph.consts.tolist())}
        return [[number[value] for value in values] for _, values in self.laws]

    def _outcome(self, rows: torch.Tensor, Y: torch.Tensor) -> torch.Tensor:
        """(N, m) from the laws' values (U, N)."""
        if self.output_components is None:
            out = Y.t()
        else:
            out = torch.addmm(self.output_mean.to(Y.dtype), Y.t(), self.output_components.to(Y.dtype))
        if self.linear_weight is not None:
            out = out + torch.addmm(self.linear_bias.to(Y.dtype), rows, self.linear_weight.to(Y.dtype))
        return out

    def _run(self, Z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """(U, N) values at columns Z (k, N), by the engine that is to be taken."""
        free = not torch.is_grad_enabled() or not (Z.requires_grad or self.consts.requires_grad)
        if self.engine == "torch" or not free or Z.device.type != "cpu" or torch.compiler.is_compiling():
            return self._by_torch(Z, rows)
        if self.engine == "numba":
            return self._by_kernel(Z)
        size = len(rows).bit_length()
        if size not in self.engines:
            self.engines[size] = self._faster(Z, rows)
        return self._by_kernel(Z) if self.engines[size] == "numba" else self._by_torch(Z, rows)

    def _by_torch(self, Z: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        consts = self.consts.to(Z.dtype).unbind(0)
        return torch.stack(law_values.values(self.graph, Z.unbind(0), consts, rows))

    def _by_kernel(self, Z: torch.Tensor) -> torch.Tensor:
        from fansr.distillation import law_kernel

        if self._program is None:
            self._program = law_graph.program(self.graph)
        Y = np.empty((len(self.laws), Z.shape[1]))
        columns = np.ascontiguousarray(Z.detach().double().numpy())
        law_kernel.run(*self._program[:3], columns, self.consts.detach().double().numpy(), self._program[3], Y)
        return torch.from_numpy(Y).to(Z.dtype)

    def _faster(self, Z: torch.Tensor, rows: torch.Tensor) -> str:
        """The engine that took less time for these rows, the better of TRIALS."""
        engines = {"torch": lambda: self._by_torch(Z, rows), "numba": lambda: self._by_kernel(Z)}
        took = dict.fromkeys(engines, math.inf)
        for turn in range(TRIALS + 1):  # in turn, so that a busy moment meets both; the first is to warm up
            for name, run in engines.items():
                begun = time.perf_counter()
                run()
                if turn:
                    took[name] = min(took[name], time.perf_counter() - begun)
        return min(took, key=lambda name: took[name])

    def __getstate__(self):
        return {**self.__dict__, "engines": {}, "_program": None}


def widened(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A range WIDER at both ends."""
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    return low - WIDER * (high - low), high + WIDER * (high - low)
