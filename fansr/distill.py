"""From a part of a torch network to laws and back: record, fit, judge, switch, restore.

    from fansr.distill import Distiller

    d = Distiller(model, at="edge")            # nothing in the model changes
    d.record(batches, inputs={"dx": "x1 - x7"})
    d.fit(time=5)                              # a law for every unit, by the same search as for any table
    d.table()
    d.judge(loss, batches)                     # what the whole network loses, beside its mean, a linear map, PCA alone
    d.switch()                                 # the block's forward is now the laws
    d.restore()                                # the same bits as before

The one interface in Python; fansr-distill is the same from a shell.  Follows the wrap, distill and switch of SymTorch; the search,
the baselines, the guards and the layer that laws become are our own.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fansr.distill_files import DistillerFiles
from fansr.distill_law import UnitLaw
from fansr.distill_switching import DistillerSwitching
from fansr.distillation import (
    basis,
    block,
    input_columns,
    law_layer,
    pruning,
    record_cache,
    recording,
    saliency,
    saving,
    shrunk_norm,
    unit_searches,
)
from fansr.errors import DataError
from fansr.fitting import Problem

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Distiller", "Pruner", "ShrunkNorm", "UnitLaw"]

Pruner = pruning.Pruner
ShrunkNorm = shrunk_norm.ShrunkNorm

MOST_UNITS = 64  # that are searched without being asked for by number
WITH_LAW = ("ok", "interrupted", "chosen", "tuned")  # statuses of a unit whose law may stand for it
DEAD = 1e-6  # of the largest spread of a unit, below which one never changes


class Distiller(DistillerFiles, DistillerSwitching):
    """The part of `model` (a torch.nn.Module) at a path, as laws; a function X -> Y can be recorded and fitted, not switched.

    at, argument, output, layout, call: as those of distillation.block.Block.

    Attributes: `units`, the outputs looked at; `names`, the columns that laws speak of; `laws` {unit: UnitLaw or None} chosen;
    `fronts` {unit: [UnitLaw]}, the shortest first; `status` {unit: text}; `recorded` (X, Y and held-out rows, torch, CPU).
    """

    def __init__(
        self,
        model: Any,
        at: str | torch.nn.Module | Callable,
        argument: str | int | None = None,
        output: str | int | None = None,
        layout: str = "last",
        call: int | None = None,
        seed: int = 0,
    ):
        self.model, self.seed = model, seed
        self.block = block.Block(model, at, argument, output, layout, call)
        self.recorded: recording.Recorded | None = None
        self.from_cache = False  # whether the rows were recorded before
        self.columns: input_columns.InputColumns | None = None
        self.offered: list[str] = []
        self.units: list[int] = []
        self.laws: dict[int, UnitLaw | None] = {}
        self.fronts: dict[int, list[UnitLaw]] = {}
        self.status: dict[int, str] = {}
        self.records: dict[int, dict] = {}  # fit records by unit
        self.layer: law_layer.LawLayer | None = None
        self.output_basis: basis.Components | None = None
        self.linear: basis.Linear | None = None
        self.ranges: dict[str, tuple[float, float]] = {}  # of the columns, where laws were found
        self.unit_ranges: dict[
            int, dict[str, float]
        ] = {}  # mean, std, low and high of what laws are for, of every unit there is
        self.outputs = 0  # m, of the block
        self.digest = ""
        self.before_tuning: dict[int, UnitLaw | None] | None = None

    # -- recording

    def record(
        self,
        batches: Iterable,
        rows: int = 4000,
        names: Sequence[str] | None = None,
        inputs: dict[str, input_columns.Made] | None = None,
        columns: Sequence[str] | None = None,
        held: float = 0.5,
        units: Sequence[int] | None = None,
        pca_in: int | float | None = None,
        pca_out: int | float | None = None,
        linear: str | int = "none",
        rotate: bool = False,
        run: Callable[[Any, Any], Any] | None = None,
        device: str | None = None,
        strata: int = 1,
        salient: int | None = None,
        cache: str | Path | None = None,
        about: str = "",
    ) -> Distiller:
        """Rows of what goes into the block and comes out, drawn from all batches (block.Block.record says how).

        names: of the d values of a row (x1, x2, ...).  inputs: further columns, {name: formula over those names, or function of
        X (N, d) -> (N,)}.  columns: names of those that laws may use (all).  units: which outputs (all, up to MOST_UNITS).
        pca_in, pca_out: that many principal components of inputs or outputs take their place, or a share of variance below 1.
        linear: "full" or a rank; a linear map of the inputs is taken off first and laws are for what is left.
        rotate: laws are for the independent components of the outputs (basis.independent), where these are mixtures of plainer things.
        strata: as many rows far from the outputs' middle as near it, where outputs have heavy tails.  salient: laws may use only
        that many columns, those by which the units change most (saliency.saliency).  cache: a folder in which rows are kept and found
        again by weights, code, batches and options (record_cache); about: text of whatever else they depend on.
        """
        taken = self._rows(batches, rows, held, run, device, strata, cache, about)
        if held and len(taken.X_held) < recording.LEAST_HELD:
            raise DataError(
                f"{self.block.name}: {len(taken.X_held)} held-out rows, wanted {recording.LEAST_HELD} at least: more batches or rows"
            )
        self.recorded = taken
        m = taken.Y.shape[1]
        self.restore()
        self._frame(names, inputs, columns, pca_in, linear)
        self.outputs, self.digest = m, self.block.digest()
        self.output_basis = None
        if pca_out is not None:
            rest = taken.Y.double().numpy() - self._linear_part(taken.X)
            self.output_basis = basis.components(rest, **_amount("pca_out", pca_out, min(m, len(taken.X))))
            m = len(self.output_basis.rows)
        if rotate:
            if pca_out is not None or not 2 <= m <= basis.MOST_MIXED:
                raise DataError(
                    f"{self.block.name}: rotate is for 2 to {basis.MOST_MIXED} outputs without pca_out, it has {m}"
                )
            self.output_basis = basis.independent(taken.Y.double().numpy() - self._linear_part(taken.X), self.seed)
            m = len(self.output_basis.rows)
        if salient is not None:
            if salient < 1:
                raise ValueError(f"salient={salient!r}: wanted a number of columns")
            values = saliency.saliency(
                self.block, taken.X, self.columns, self.offered, range(self.outputs)[:MOST_UNITS]
            )
            self.offered = saliency.most_salient(values, self.offered, salient)
        self.units = list(range(m)) if units is None else [int(u) for u in units]
        beyond = next((u for u in self.units if not 0 <= u < m), None)
        if beyond is not None:
            raise DataError(f"{self.block.name}: no unit {beyond}; it has {m}, from 0")
        if units is None and m > MOST_UNITS:
            raise DataError(f"{self.block.name}: {m} outputs: give pca_out=8 (--pca-out 8), or units (--units 0,3-7)")
        self.laws, self.fronts, self.status, self.records = {}, {}, {}, {}
        self._look()
        return self

    def _rows(self, batches, rows, held, run, device, strata, cache, about) -> recording.Recorded:
        """What passes the block, from a folder of rows recorded before where it is there."""

        def record() -> recording.Recorded:
            return self.block.record(batches, rows, held, self.seed, run, device, strata)

        self.from_cache = False
        if cache is None:
            return record()
        batches = list(batches)
        how = {
            "rows": rows,
            "held": held,
            "seed": self.seed,
            "strata": strata,
            "device": str(device),
            "run": run is not None,
        }
        taken, self.from_cache = record_cache.recorded(self.block, batches, how, about, Path(cache), record)
        return taken

    def observe(
        self,
        batches: Iterable,
        rows: int = 4000,
        held: float = 0.5,
        run: Callable | None = None,
        device: str | None = None,
    ) -> Distiller:
        """Rows to judge by, for laws that were loaded: the laws and their columns stay as they are."""
        if self.columns is None:
            raise ValueError("no laws are loaded: call record(batches)")
        standing = self.block.is_replaced
        if standing:
            raise ValueError("the block is switched: restore() first, its own outputs are wanted")
        self.recorded = self.block.record(batches, rows, held, self.seed, run, device)
        return self

    def _look(self) -> None:
        """Ranges of the columns and of what laws are for, over the recorded rows."""
        with torch.no_grad():
            Z = self.columns(self.recorded.X).double()
        self.ranges = {
            name: (float(low), float(high))
            for name, low, high in zip(self.columns.names, Z.min(dim=1)[0], Z.max(dim=1)[0])
        }
        T = self.targets(self.recorded.X, self.recorded.Y)
        self.unit_ranges = {
            unit: {"mean": float(t.mean()), "std": float(t.std()), "low": float(t.min()), "high": float(t.max())}
            for unit, t in enumerate(T.T)
        }

    def _frame(self, names, inputs, columns, pca_in, linear) -> None:
        """The columns that laws speak of, and the linear map that is taken off."""
        taken = self.recorded
        d = taken.X.shape[1]
        raw = [f"x{j + 1}" for j in range(d)] if names is None else [str(name) for name in names]
        if len(raw) != d:
            raise DataError(f"{self.block.name}: {len(raw)} names for {d} values of a row")
        mean = rows = None
        if pca_in is not None:
            amount = _amount("pca_in", pca_in, min(d, len(taken.X)))
            mean, rows = basis.components(taken.X.double().numpy(), **amount)[:2]
        self.columns = input_columns.InputColumns(raw, inputs, mean, rows, keep_raw=rows is None)
        self.offered = list(columns) if columns is not None else list(self.columns.names)
        missing = next((name for name in self.offered if name not in self.columns.names), None)
        if missing is not None:
            raise DataError(f"no column {missing!r}; there are {', '.join(self.columns.names[:12])}")
        if linear == "none":
            self.linear = None
        elif linear == "full" or (isinstance(linear, int) and not isinstance(linear, bool) and linear > 0):
            X, Y = taken.X.double().numpy(), taken.Y.double().numpy()
            self.linear = basis.linear_map(X, Y, None if linear == "full" else linear)
        else:
            raise ValueError(f"linear={linear!r}: wanted 'full', 'none' or a rank")

    def _linear_part(self, X: torch.Tensor) -> np.ndarray | float:
        return 0.0 if self.linear is None else self.linear(X.double().numpy())

    def targets(self, X: torch.Tensor, Y: torch.Tensor) -> np.ndarray:
        """(N, U) float64: what laws are for, of outputs Y (N, m) at rows X (N, d)."""
        rest = Y.double().cpu().numpy() - self._linear_part(X.cpu())
        return rest if self.output_basis is None else self.output_basis.of(rest)

    def problems(self) -> list[Problem]:
        """A problem for each unit, as records of any stream: columns that change, in float64."""
        taken = self._taken()
        Z = self._columns_of(taken.X)
        finite = np.isfinite(Z).all(axis=1)
        if not finite.all():
            name = next(name for name, column in zip(self.offered, Z.T) if not np.isfinite(column).all())
            raise DataError(f"input {name}: {int((~finite).sum())} of {len(Z)} recorded rows are not finite there")
        T, held_T = self.targets(taken.X, taken.Y), self.targets(taken.X_held, taken.Y_held)
        changing = [j for j in range(Z.shape[1]) if np.ptp(Z[:, j]) > 0]
        if not changing:
            raise DataError(f"{self.block.name}: no input changes over the recorded rows")
        names = [self.offered[j] for j in changing]
        Z_held = self._columns_of(taken.X_held)[:, changing]
        Z = np.ascontiguousarray(Z[:, changing])
        found = []
        block_part, basis_id = self.block_part(), saving.arrays_id(self.arrays())
        for unit in self.units:
            of_unit = self.unit_ranges[unit]
            extra = {
                "module": self.block.name, "unit": unit, "outputs": self.outputs, "layout": self.block.layout, "block": block_part,
                **{f"unit_{key}": value for key, value in of_unit.items()}, "digest": self.digest, "basis": basis_id,
                "seen": taken.seen, "source": f"{self.block.name}[{unit}]",
            }  # fmt: skip
            held = {} if not len(Z_held) else {"X_val": np.ascontiguousarray(Z_held), "y_val": held_T[:, unit].copy()}
            found.append(
                Problem(
                    Z,
                    T[:, unit].copy(),
                    names,
                    target=f"{self.block.name or 'y'}[{unit}]",
                    id=unit,
                    **held,
                    extra=extra,
                )
            )
        return found

    def _columns_of(self, X: torch.Tensor) -> np.ndarray:
        """(N, k) float64 of the columns that laws may use."""
        with torch.no_grad():
            return self.columns.columns(X, self.offered).t().double().cpu().numpy()

    def _taken(self) -> recording.Recorded:
        if self.recorded is None:
            raise ValueError("nothing is recorded yet: call record(batches) first")
        return self.recorded

    # -- fitting

    def fit(
        self,
        time: float | None = 5.0,
        jobs: int | None = None,
        select: str = "drop",
        units: Sequence[int] | None = None,
        passes: int = 2,
        quiet: bool = True,
        **options: Any,
    ) -> Distiller:
        """A law for every unit: fansr-fit on the problems, `time` seconds each, `jobs` at once.

        passes=2: a first search of up to 2 s each, and a second in which the laws found for all units are tried on each.
        options: those of fansr-fit, by name (proposers="power,sums", operators="+,-,*,/", max_length=20).
        Ctrl-C keeps the units that are done.  Units without a law (status "no law", "failed") stay as they are when switching.
        """
        wanted = set(self.units if units is None else units)
        problems = [problem for problem in self.problems() if problem.id in wanted]
        spread = max((float(np.ptp(problem.y)) for problem in problems), default=0.0)
        dead = [problem for problem in problems if not np.ptp(problem.y) > DEAD * spread]
        alive = [problem for problem in problems if problem not in dead]
        for problem in dead:
            self._take(unit_searches.constant_record(problem))
        options = {"select": select, "time": time, "seed": self.seed, **options}
        with contextlib.closing(
            unit_searches.search(alive, options, jobs, passes if len(alive) > 1 else 1, quiet)
        ) as records:
            for record in records:
                self._take(record)
        return self

    def _take(self, record: dict) -> None:
        """Keep a fit record: its front, and its law where it has one."""
        unit = record["problem"]
        self.records[unit] = record
        names = tuple(record["names"])
        front = [self._law(unit, law, names) for law in record.get("front") or ()]
        self.fronts[unit] = front
        self.status[unit] = record.get("status") or "ok"
        chosen = self._law(unit, record, names) if record.get("expr") else None
        if (
            chosen is not None
            and self.recorded is not None
            and not np.isfinite(self._values(chosen, self.recorded.X)).all()
        ):
            self.status[unit] = "not finite on recorded rows"
        self.laws[unit] = chosen if self.status[unit] in WITH_LAW else None

    def _law(self, unit: int, law: dict, names: tuple[str, ...]) -> UnitLaw:
        consts = tuple(float(c) for c in law["consts"])
        made = UnitLaw(
            unit, tuple(law["expr"]), consts, names, float(law["fvu"]), law.get("fvu_val"), law.get("source") or ""
        )
        return self._measured(made)

    def _measured(self, made: UnitLaw) -> UnitLaw:
        """A law with its FVU on held-out rows, where there are any."""
        unit, names, consts = made.unit, made.names, made.consts
        if self.recorded is None or not len(self.recorded.X_held):
            return made
        held = self.recorded.X_held
        truth = self.targets(held, self.recorded.Y_held)[:, unit]
        with np.errstate(all="ignore"):
            fvu = 1.0 - float(basis.r2(truth[:, None], self._values(made, held)[:, None])[0])
        return UnitLaw(unit, made.expr, consts, names, made.fvu, fvu, made.source)

    def _values(self, law: UnitLaw, X: torch.Tensor) -> np.ndarray:
        """Values (N,) float64 of a law on rows X (N, d)."""
        from fansr.expressions import evaluate

        with torch.no_grad():
            Z = self.columns.columns(X, list(law.names)).t().double().cpu().numpy()
        with np.errstate(all="ignore"):
            return evaluate(list(law.expr), np.ascontiguousarray(Z), np.asarray(law.consts))

    def choose(self, unit: int, length: int | None = None, law: UnitLaw | None = None) -> UnitLaw:
        """Take another law for a unit: that of its front with at most `length` tokens, or one of your own."""
        if law is None:
            front = [one for one in self.fronts.get(unit, ()) if length is None or one.length <= length]
            if not front:
                raise DataError(f"unit {unit}: no law of at most {length} tokens on its front")
            law = front[-1]
        self.laws[unit], self.status[unit] = law, "chosen"
        return law

    def table(self) -> pd.DataFrame:
        """A row a unit: its spread, status, and the law with its length and FVU on recorded and held-out rows."""
        import pandas as pd

        rows = []
        for unit in self.units:
            law = self.laws.get(unit)
            rows.append(
                {
                    "unit": unit,
                    "std": self.unit_ranges[unit]["std"],
                    "status": self.status.get(unit, "not fitted"),
                    "length": None if law is None else law.length,
                    "fvu": None if law is None else law.fvu,
                    "fvu_held": None if law is None else law.fvu_held,
                    "law": ("its mean" if self.output_basis is not None else "stays neural")
                    if law is None
                    else law.infix(),
                }
            )
        return pd.DataFrame(rows)


def _amount(name: str, value: float, most: int) -> dict[str, Any]:
    """k= or share= for basis.components."""
    if isinstance(value, float) and 0 < value < 1:
        return {"share": value}
    if (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value == int(value)
        and value >= 1
    ):
        if value > most:
            raise DataError(f"{name}={int(value)} is above the {most} values or rows there are")
        return {"k": int(value)}
    raise ValueError(f"{name}={value!r}: wanted a number of components, or a share of variance below 1")
