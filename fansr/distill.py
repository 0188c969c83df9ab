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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fansr.distill_files import DistillerFiles
from fansr.distillation import (
    basis,
    block,
    input_columns,
    judging,
    law_layer,
    pruning,
    saving,
    stand_in,
    tuning,
    unit_searches,
)
from fansr.errors import DataError
from fansr.expressions import to_infix
from fansr.fitting import Problem

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Distiller", "Pruner", "UnitLaw"]

Pruner = pruning.Pruner

MOST_UNITS = 64  # that are searched without being asked for by number
WITH_LAW = ("ok", "interrupted", "chosen", "tuned")  # statuses of a unit whose law may stand for it
DEAD = 1e-6  # of the largest spread of a unit, below which one never changes


@dataclass(frozen=True)
class UnitLaw:
    """One law of a unit: prefix expression over x1, x2, ... = `names`, constants, FVU on recorded and on held-out rows."""

    unit: int
    expr: tuple[str, ...]
    consts: tuple[float, ...]
    names: tuple[str, ...]
    fvu: float
    fvu_held: float | None = None
    source: str = ""

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.expr)

    def infix(self, digits: int = 6) -> str:
        """The law in the columns' names."""
        return to_infix(list(self.expr), np.asarray(self.consts), list(self.names), digits=digits)

    def __str__(self) -> str:
        return self.infix()


class Distiller(DistillerFiles):
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
        self.recorded: block.Recorded | None = None
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
        run: Callable[[Any, Any], Any] | None = None,
        device: str | None = None,
    ) -> Distiller:
        """Rows of what goes into the block and comes out, drawn from all batches (block.Block.record says how).

        names: of the d values of a row (x1, x2, ...).  inputs: further columns, {name: formula over those names, or function of
        X (N, d) -> (N,)}.  columns: names of those that laws may use (all).  units: which outputs (all, up to MOST_UNITS).
        pca_in, pca_out: that many principal components of inputs or outputs take their place, or a share of variance below 1.
        linear: "full" or a rank; a linear map of the inputs is taken off first and laws are for what is left.
        """
        taken = self.block.record(batches, rows, held, self.seed, run, device)
        if held and len(taken.X_held) < block.LEAST_HELD:
            raise DataError(
                f"{self.block.name}: {len(taken.X_held)} held-out rows, wanted {block.LEAST_HELD} at least: more batches or rows"
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
        self.units = list(range(m)) if units is None else [int(u) for u in units]
        beyond = next((u for u in self.units if not 0 <= u < m), None)
        if beyond is not None:
            raise DataError(f"{self.block.name}: no unit {beyond}; it has {m}, from 0")
        if units is None and m > MOST_UNITS:
            raise DataError(f"{self.block.name}: {m} outputs: give pca_out=8 (--pca-out 8), or units (--units 0,3-7)")
        self.laws, self.fronts, self.status, self.records = {}, {}, {}, {}
        self._look()
        return self

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
            mean, rows, _ = basis.components(taken.X.double().numpy(), **amount)
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
        return rest if self.output_basis is None else (rest - self.output_basis.mean) @ self.output_basis.rows.T

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

    def _taken(self) -> block.Recorded:
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

    # -- switching

    def make_layer(
        self,
        laws: dict[int, UnitLaw] | None = None,
        guard: str = "clip",
        engine: str = "auto",
        tied: bool = True,
        dtype: torch.dtype | None = None,
    ) -> law_layer.LawLayer:
        """The laws as one module of all units, in order; the mean stands for a unit without one."""
        laws = {unit: law for unit, law in (self.laws if laws is None else laws).items() if law is not None}
        listed = []
        place = {name: j for j, name in enumerate(self.columns.names)}
        for unit, seen in sorted(self.unit_ranges.items()):
            law = laws.get(unit)
            if law is None:
                listed.append((["<constant>"], [seen["mean"]]))
                continue
            lost = next((name for name in law.names if name not in place), None)
            if lost is not None:
                raise DataError(f"the law of unit {unit} speaks of {lost!r}, which {self.block.name} is not given")
            renamed = [f"x{place[law.names[int(t[1:]) - 1]] + 1}" if _is_column(t) else t for t in law.expr]
            listed.append((renamed, law.consts))
        ends = np.array([self.ranges.get(name, (-np.inf, np.inf)) for name in self.columns.names])
        kinds = ("low", "high", "mean")
        values = tuple(np.array([seen[kind] for _, seen in sorted(self.unit_ranges.items())]) for kind in kinds)
        out = None if self.output_basis is None else (self.output_basis.mean, self.output_basis.rows)
        return law_layer.LawLayer(
            listed,
            self.columns,
            (ends[:, 0], ends[:, 1]),
            values,
            guard,
            out,
            None if self.linear is None else (self.linear.weight, self.linear.bias),
            tied,
            engine,
            dtype or self._dtype(),
        ).to(self._device())

    def _dtype(self) -> torch.dtype:
        weights = [] if self.block.module is None else list(self.block.module.parameters())
        kinds = {p.dtype for p in weights if p.is_floating_point()}
        return torch.float64 if torch.float64 in kinds else torch.float32

    def _device(self) -> torch.device:
        weights = [] if self.block.module is None else list(self.block.module.parameters())
        return weights[0].device if weights else torch.device("cpu")

    def _neural(self, laws: dict[int, UnitLaw | None]) -> list[int]:
        """Outputs that the block itself still gives."""
        if self.output_basis is not None or self.linear is not None:
            return []
        return [unit for unit in range(self.outputs) if laws.get(unit) is None]

    def rows_by_laws(self, layer: law_layer.LawLayer, neural: Sequence[int] = ()) -> block.Rows:
        """rows -> outputs by a layer, with the neural units, and under guard "block" the rows beyond its ranges, by the block."""

        def rows(X: torch.Tensor, original: Callable[..., torch.Tensor]) -> torch.Tensor:
            Y = layer(X)
            if neural:
                Y = Y.clone()
                Y[:, list(neural)] = original()[:, list(neural)].to(Y.dtype)
            if layer.guard == "block":
                beyond = layer.outside(X)
                if bool(beyond.any()):
                    Y = torch.where(beyond[:, None], original().to(Y.dtype), Y)
            return Y

        return rows

    def switch(
        self,
        units: Sequence[int] | None = None,
        level: int | None = None,
        guard: str = "clip",
        engine: str = "auto",
        loss: Callable[[Any, Any], Any] | None = None,
        batches: Iterable | None = None,
    ) -> dict[str, Any]:
        """From now on the block's forward is the laws; weights stay where they are, and restore() brings the block back.

        units: only these (all that have a law).  level: the k-th law of every front instead of the chosen one (0 the shortest,
        -1 the longest).  guard: what becomes of rows beyond the recorded ranges: "clip" brings them back, "block" gives them to
        the block itself, "none" leaves them to the law.  Returns {"r2": {unit: on held-out rows}, "neural": units left as they
        are, "training": whether the model is in train mode, in which gradients pass the laws but do not move their constants} and,
        with loss and batches, "original" and "loss".
        """
        self.restore()
        laws = self._chosen(units, level)
        neural = self._neural(laws)
        self.layer = self.make_layer(laws, guard, engine)
        outcome: dict[str, Any] = {
            "r2": self.held_r2(self.layer),
            "neural": neural,
            "training": bool(getattr(self.model, "training", False)),
        }
        if loss is not None:
            batches = list(_wanted(batches, "batches, to say what the loss becomes"))
            outcome["original"] = judging.mean_loss(self.block, loss, batches)
        self.block.replace(self.rows_by_laws(self.layer, neural))
        if loss is not None:
            outcome["loss"] = judging.mean_loss(self.block, loss, batches)
        return outcome

    def _chosen(self, units: Sequence[int] | None, level: int | None) -> dict[int, UnitLaw | None]:
        """The laws to switch to, by unit."""
        named = [unit for unit in self.units if self.laws.get(unit) is not None] if units is None else list(units)
        laws: dict[int, UnitLaw | None] = {}
        for unit in named:
            law = self.laws.get(unit)
            front = self.fronts.get(unit) or []
            if level is not None and front:
                if not -len(front) <= level < len(front):
                    raise DataError(f"unit {unit}: no law {level}; its front has {len(front)}, from 0")
                law = front[level]
            if law is None:
                said = self.status.get(unit, "not fitted")
                raise DataError(f"unit {unit} has no law ({said}): choose({unit}, length=...) takes one from its front")
            laws[unit] = law
        if not laws:
            raise DataError(f"{self.block.name}: no unit has a law to switch to (fit() first; table() says why)")
        return laws

    def held_r2(self, layer: law_layer.LawLayer) -> dict[int, float]:
        """R2 of each unit's law, with its guard, on held-out rows (on recorded ones where none are held)."""
        chosen = {unit: law for unit, law in self.laws.items() if law is not None}
        if self.recorded is None:  # laws that were loaded
            return {unit: 1.0 - (law.fvu if law.fvu_held is None else law.fvu_held) for unit, law in chosen.items()}
        taken = self.recorded
        X, Y = (taken.X_held, taken.Y_held) if len(taken.X_held) else (taken.X, taken.Y)
        with torch.no_grad():
            values = layer.values(X.to(self._device(), layer.consts.dtype)).t().double().cpu().numpy()
        T = self.targets(X, Y)
        return {unit: float(basis.r2(T[:, [unit]], values[:, [unit]])[0]) for unit in chosen}

    def restore(self) -> None:
        """The block's own forward again, the same bits as before."""
        self.block.restore()

    @contextlib.contextmanager
    def switched(self, **how: Any) -> Iterator[dict[str, Any]]:
        """switch(**how) for the length of a with block."""
        try:
            yield self.switch(**how)
        finally:
            self.restore()

    def replace(self, guard: str = "clip", engine: str = "auto") -> torch.nn.Module:
        """Surgery: a module of laws stands in the parent in the block's place, and the block is released.  Returns that module.

        Every output needs a law, and what the block gives must be one tensor.
        """
        if self.block.module is None or not self.block.path:
            raise ValueError("only a part of a network can be replaced: wanted Distiller(model, at=path)")
        if guard == "block":
            raise ValueError("guard='block' needs the block: wanted clip or none")
        laws = self._chosen(None, None)
        neural = self._neural(laws)
        if neural:
            raise DataError(
                f"{self.block.name}: units {', '.join(map(str, neural[:8]))} have no law; switch() leaves them neural"
            )
        if not self.block.plain or self.block.call is not None:
            raise DataError(
                f"{self.block.name}: gives more than one tensor, or is called several times: switch() can do that"
            )
        self.restore()
        self.layer = self.make_layer(laws, guard, engine)
        laws_there = stand_in.StandIn(self.block, self.layer)
        parent, _, name = self.block.path.rpartition(".")
        owner = self.model.get_submodule(parent)
        for other, module in list(owner._modules.items()):
            if module is self.block.module and (other == name):
                owner._modules[other] = laws_there
        self.block.module = laws_there
        return laws_there

    # -- judging

    def judge(
        self,
        loss: Callable[[Any, Any], Any],
        batches: Iterable,
        repeats: int = 5,
        guard: str = "clip",
        rank: int | None = None,
    ) -> dict[str, Any]:
        """What the whole network loses when the block is each of: itself, its mean, a linear map, one of `rank`, the bases alone
        (the block between PCA in and out), and the laws.

        loss: (model, batch) -> a number or a tensor of one value, averaged over the batches.  Returns {"rows": [...], ...}; each
        row has name, loss, change, loss_se (standard error over batches), r2_mean and r2_worst of the block's outputs on held-out
        rows, ms (block, median of repeats), parameters, bytes, tokens, outside (rows beyond the ranges).
        """
        laws = self._chosen(None, None)
        neural = self._neural(laws)
        layer = self.layer if self.layer is not None and self.block.is_replaced else self.make_layer(laws, guard)
        before = None if self.before_tuning is None else self.make_layer(self.before_tuning, guard)
        return judging.judge(self, loss, list(batches), layer, neural, laws, repeats, rank, before)

    # -- what needs the loss of the whole network

    def tune(
        self,
        loss: Callable[[Any, Any], Any],
        batches: Iterable,
        steps: int = 200,
        optimizer: str = "lbfgs",
        rate: float | None = None,
    ) -> dict[str, float]:
        """Constants of the laws by gradient on the model's own loss, their forms as they are; the model's weights stay.

        optimizer: "lbfgs" over all batches together, or "adam", a batch a step.  The constants of the least loss are kept.
        Returns {"before", "after"}, mean losses over the batches.
        """
        laws = self._chosen(None, None)
        neural = self._neural(laws)
        guard = self.layer.guard if self.layer is not None and self.block.is_replaced else None
        layer = self.make_layer(laws, "none", "torch", tied=False)
        outcome, consts = tuning.tune(
            self.block, layer, self.rows_by_laws(layer, neural), loss, list(batches), steps, optimizer, rate
        )
        layer.consts.data.copy_(consts)
        self.before_tuning = dict(self.laws)
        for unit, law in laws.items():
            if law is not None:
                place = sorted(self.unit_ranges).index(unit)
                self.laws[unit] = self._refitted(law, layer.constants_of(place))
                self.status[unit] = "tuned"
        if guard is not None:
            self.switch(guard=guard)
        return outcome

    def _refitted(self, law: UnitLaw, consts: Sequence[float]) -> UnitLaw:
        """A law with other constants, its FVU measured again where rows are recorded."""
        made = replace(law, consts=tuple(consts))
        if self.recorded is None:
            return made
        truth = self.targets(self.recorded.X, self.recorded.Y)[:, law.unit]
        fvu = 1.0 - float(basis.r2(truth[:, None], self._values(made, self.recorded.X)[:, None])[0])
        return self._measured(replace(made, fvu=fvu))

    def choose_by_loss(
        self, loss: Callable[[Any, Any], Any], batches: Iterable, budget: float = 0.01
    ) -> dict[str, float]:
        """Laws by what the whole network loses: all units begin with their shortest law, and again and again that unit takes a longer
        law of its front that lowers the loss most a token, until the loss is within `budget` (a share) of the original or no
        step helps.  Returns {"original", "loss", "tokens"}."""
        batches = list(batches)
        standing = {"guard": self.layer.guard} if self.layer is not None and self.block.is_replaced else None
        self.restore()
        fronts = {unit: self.fronts[unit] for unit in self.units if self.fronts.get(unit)}
        if not fronts:
            raise DataError(f"{self.block.name}: no unit has a front to choose from (fit() first)")
        original = judging.mean_loss(self.block, loss, batches)

        def loss_of(levels: dict[int, int]) -> float:
            laws: dict[int, UnitLaw | None] = {unit: fronts[unit][k] for unit, k in levels.items()}
            rows = self.rows_by_laws(self.make_layer(laws), self._neural(laws))
            with self.block.replaced(rows):
                value = judging.mean_loss(self.block, loss, batches)
            return value if math.isfinite(value) else math.inf

        levels, value = tuning.lengthened(
            {unit: [law.length for law in front] for unit, front in fronts.items()}, loss_of, original, budget
        )
        for unit, k in levels.items():
            self.laws[unit], self.status[unit] = fronts[unit][k], "chosen"
        if standing is not None:
            self.switch(**standing)
        tokens = sum(fronts[unit][k].length for unit, k in levels.items())
        return {"original": original, "loss": value, "tokens": float(tokens)}

    def local(self, row: int | Sequence[float], unit: int = 0, **how: Any) -> dict[str, Any]:
        """A law around one row (an index of the recorded ones, or its d values), of at most 20 tokens, beside a linear map of the
        same neighbours: distillation.local.explain says how."""
        from fansr.distillation import local

        return local.explain(self, row, unit, **how)


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


def _wanted(value: Any, what: str) -> Any:
    if value is None:
        raise ValueError(f"wanted {what}")
    return value


def _is_column(token: str) -> bool:
    return token[:1] == "x" and token[1:].isdigit()
