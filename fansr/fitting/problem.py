"""What proposers work on and give back: a problem, candidates, and a budget.

A proposer is a function ``propose(problem, budget, rng, pool=None)`` that yields lists of
candidates; fit.py lets several take turns on one budget.  `pool` holds the best candidates so far.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fansr.expressions import dimensions


@dataclass
class Problem:
    """One table of numbers.

    X (M, D) and y (M,) are float64 and finite; names has D entries; X_val and y_val are unseen rows
    used for reporting only; weights (M,) multiply the squared residuals, weights_val (M',) those of the unseen rows.
    `known` says that the weights are 1/sigma^2 of stated standard errors, so that the size of the noise is known and
    not only its pattern.  ends (M, 2): the ends, perhaps infinite, of the intervals in which the target is only known to lie; y is
    then their middle, and ends_val (M', 2) those of the unseen rows.  `extra` carries the record's further fields (truth, group, ...) from input to output.
    """

    X: np.ndarray
    y: np.ndarray
    names: list[str]
    target: str = "y"
    id: int = 0
    X_val: np.ndarray | None = None
    y_val: np.ndarray | None = None
    weights: np.ndarray | None = None
    known: bool = False
    weights_val: np.ndarray | None = None
    ends: np.ndarray | None = None
    ends_val: np.ndarray | None = None
    units: dimensions.Units | None = None  # of columns and target, where they are known
    extra: dict = field(default_factory=dict)

    _OWN = (
        "kind",
        "id",
        "X",
        "y",
        "names",
        "target",
        "X_val",
        "y_val",
        "weights",
        "known",
        "weights_val",
        "ends",
        "ends_val",
    )

    @classmethod
    def from_record(cls, record: dict) -> Problem:
        """From a problem record (records.check it first)."""
        return cls(
            X=np.ascontiguousarray(record["X"], dtype=np.float64),
            y=np.ascontiguousarray(record["y"], dtype=np.float64),
            names=list(record["names"]),
            target=record.get("target") or "y",
            id=record["id"],
            X_val=record.get("X_val"),
            y_val=record.get("y_val"),
            weights=record.get("weights"),
            known=bool(record.get("known")),
            weights_val=record.get("weights_val"),
            ends=record.get("ends"),
            ends_val=record.get("ends_val"),
            extra={k: v for k, v in record.items() if k not in cls._OWN},
        )

    def to_record(self) -> dict:
        """As a problem record."""
        record = {
            "kind": "problem",
            "id": self.id,
            "X": self.X,
            "y": self.y,
            "names": self.names,
            "target": self.target,
        }
        for name in ("X_val", "y_val", "weights", "weights_val", "ends", "ends_val"):
            if getattr(self, name) is not None:
                record[name] = getattr(self, name)
        if self.known:
            record["known"] = True
        return {**record, **self.extra}


@dataclass(eq=False)
class Candidate:
    """A proposed expression; `consts` (C,) and `fvu` are there once it has been fitted.  Each equals itself alone.

    A draw of the network has its log-probability `logp` and keeps the expression it was as `draw`, whatever becomes of it
    when it is cut down and its constants are rounded.  ties (C,): which constants are one (numbers from 0 in the order met), None
    where all are their own.
    """

    expr: list[str]
    consts: np.ndarray | None = None
    fvu: float = float("inf")
    source: str = ""
    logp: float | None = None
    n: int = 1
    draw: tuple[str, ...] | None = None
    ties: tuple[int, ...] | None = None

    def rewritten(self, expr: Sequence[str], consts: np.ndarray, fvu: float) -> Candidate:
        """The same law in another form, of the same origin."""
        return replace(self, expr=list(expr), consts=consts, fvu=fvu)

    @property
    def length(self) -> int:
        """Number of tokens, the paper's |tau|."""
        return len(self.expr)


class Budget:
    """Seconds to spend, or none: then work is bounded by counts and the clock is never asked.

    `seconds` None means that a proposer goes by its own counts times `work` (1.0 = its default
    amount), which makes a run repeatable.  Sub-budgets share the clock of their parent.
    """

    def __init__(self, seconds: float | None = None, work: float = 1.0, start: float | None = None):
        self.start = time.monotonic() if start is None else start
        self.seconds = seconds
        self.work = work
        self.stopped = False

    def left(self) -> float:
        """Seconds left; infinite when only counts bound the work."""
        if self.stopped:
            return 0.0
        return float("inf") if self.seconds is None else self.start + self.seconds - time.monotonic()

    def over(self) -> bool:
        """True when the time is up or stop() was called."""
        return self.left() <= 0

    def stop(self) -> None:
        """End it early: everyone who shares this budget sees it."""
        self.stopped = True

    def slice(self, seconds: float) -> Budget:
        """A budget of at most `seconds` from now, and never longer than this one."""
        if self.seconds is None:
            return Budget(None, self.work)
        return Budget(max(0.0, min(seconds, self.left())), self.work)
