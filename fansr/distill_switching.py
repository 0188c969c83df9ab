"""What Distiller does with laws once it has them: stand them in the block's place, judge, tune and choose them there.

A part of distill.Distiller.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from fansr.distill_law import UnitLaw
from fansr.distillation import basis, block_rows, judging, law_layer, stand_in, tuning
from fansr.errors import DataError


class DistillerSwitching:
    """make_layer, switch, restore, replace, judge, tune, choose_by_loss, local."""

    model: Any
    block: Any
    columns: Any
    recorded: Any
    layer: law_layer.LawLayer | None
    linear: Any
    output_basis: Any
    laws: dict[int, UnitLaw | None]
    fronts: dict[int, list[UnitLaw]]
    status: dict[int, str]
    units: list[int]
    ranges: dict[str, tuple[float, float]]
    unit_ranges: dict[int, dict[str, float]]
    before_tuning: dict[int, UnitLaw | None] | None
    outputs: int
    targets: Callable
    _taken: Callable
    _values: Callable
    _measured: Callable

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

    def rows_by_laws(self, layer: law_layer.LawLayer, neural: Sequence[int] = ()) -> block_rows.Rows:
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
        known = any(self.laws.get(unit) is not None for unit in self.units)
        laws = self._chosen(None, None) if known else {}  # without a law the baselines stand alone
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


def _wanted(value: Any, what: str) -> Any:
    if value is None:
        raise ValueError(f"wanted {what}")
    return value


def _is_column(token: str) -> bool:
    return token[:1] == "x" and token[1:].isdigit()
