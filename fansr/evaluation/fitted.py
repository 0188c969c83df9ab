"""One answer with the table it was found in, and how sure it is at any row: what its pictures and its report show.

Bands are those of saved_law: sqrt(g C g) with C the covariance of the free constants and g the law's derivatives by them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from fansr.errors import DataError
from fansr.expressions import to_infix, variables
from fansr.fitting import Candidate, Problem
from fansr.search import loss_search, outliers, saved_law, selection

CONFIDENCE = 0.95


@dataclass
class Fitted:
    """A law and its table: `problem` with M rows, of which `kept` (M,) masks those that were not set aside; the `law` with its
    covariance and noise; the `front`, {"length", "fvu", "expr", "consts"} each."""

    problem: Problem
    law: saved_law.Law
    kept: np.ndarray
    front: Sequence[dict[str, Any]] = ()
    loss: loss_search.Outcome | None = None

    @classmethod
    def of(
        cls,
        problem: Problem,
        best: Candidate,
        front: Sequence[Candidate] = (),
        outlying: Sequence[int] | np.ndarray = (),
        floor: float = selection.EXACT,
        physics: bool = True,
        weights: np.ndarray | None = None,
        loss: loss_search.Outcome | None = None,
    ) -> Fitted:
        """From what a search found; outlying: rows of the problem that were set aside; weights (M,): those that the search gave
        the rows because their noise is in proportion to the values; loss: what was made small where it was not squares."""
        relative = weights is not None
        problem = replace(problem, weights=weights) if relative else problem
        kept = np.ones(len(problem.y), bool)
        kept[np.asarray(outlying, dtype=int)] = False
        points = [{"length": c.length, "fvu": float(c.fvu), "expr": c.expr, "consts": c.consts} for c in front]
        law = saved_law.law_of(best, outliers.rows_of(problem, kept), floor, physics, relative, loss)
        return cls(problem, law, kept, points, loss)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Fitted:
        """From a fit record that carries its data; DataError where it holds no law."""
        if not record.get("expr"):
            raise DataError(f"the fit of problem {record.get('problem')} found no law, so there is none to draw")
        problem = Problem.from_record({"id": record.get("problem", 0), **record})
        best = Candidate(list(record["expr"]), np.asarray(record["consts"], dtype=np.float64), float(record["fvu"]))
        outlying = np.asarray(record.get("outliers", ()), dtype=int)
        loss = loss_search.outcome_of(best, problem, str(record.get("loss") or "squares"))
        kept = outlying[(outlying >= 0) & (outlying < len(problem.y))]
        fitted = cls.of(problem, best, (), kept, loss=loss)
        fitted.front = record.get("front") or []
        return fitted

    # -- the table

    @property
    def X(self) -> np.ndarray:
        """Columns (M, D)."""
        return self.problem.X

    @property
    def y(self) -> np.ndarray:
        """Target (M,)."""
        return self.problem.y

    @property
    def names(self) -> list[str]:
        """The columns' names."""
        return self.problem.names

    @property
    def target(self) -> str:
        """The target's name."""
        return self.problem.target

    @property
    def kept_rows(self) -> Problem:
        """The problem over the rows that were not set aside."""
        return outliers.rows_of(self.problem, self.kept)

    @property
    def weighted(self) -> bool:
        """Whether rows have weights, so that their errors differ."""
        return self.problem.weights is not None

    @cached_property
    def sigma(self) -> np.ndarray | None:
        """Stated standard errors (M,) of y, or None; infinite where a row's weight is 0."""
        if not self.problem.known or self.problem.weights is None:
            return None
        with np.errstate(divide="ignore"):
            return 1.0 / np.sqrt(self.problem.weights)

    @cached_property
    def medians(self) -> np.ndarray:
        """Median (D,) of each column."""
        return np.median(self.X, axis=0)

    def off_median(self, column: int) -> np.ndarray:
        """How far (M,) each row is from a column's median, in ranks over M: 0 to 0.5; equal values share their middle rank."""
        if column not in self._off_median:
            values = np.sort(self.X[:, column])
            low, high = (np.searchsorted(values, self.X[:, column], side) for side in ("left", "right"))
            a, b = (np.searchsorted(values, self.medians[column], side) for side in ("left", "right"))
            self._off_median[column] = np.abs(0.5 * (low + high) - 0.5 * (a + b)) / len(values)
        return self._off_median[column]

    @cached_property
    def _off_median(self) -> dict[int, np.ndarray]:
        return {}

    # -- the law

    def value(self, X: np.ndarray) -> np.ndarray:
        """The law (M',) at rows X (M', D)."""
        return self.law.predict(X)

    def text(self, digits: int = 5) -> str:
        """The law's right side in the columns' own names, parts of pi as such."""
        return to_infix(self.law.prefix, self.law.constants, self.names, digits=digits, pi=True)

    @cached_property
    def used(self) -> list[int]:
        """Columns the law uses."""
        return variables(self.law.prefix)

    @cached_property
    def fitted(self) -> np.ndarray:
        """The law (M,) at the table's rows."""
        return self.value(self.X)

    @cached_property
    def residual(self) -> np.ndarray:
        """y less the law (M,)."""
        with np.errstate(all="ignore"):
            return self.y - self.fitted

    @cached_property
    def scaled_residual(self) -> np.ndarray:
        """Residuals (M,) in units of their own standard error: stated, or by weights, or one for all."""
        weights = self.problem.weights
        if self.loss is not None:
            from fansr.streams import rng_for

            return self.loss.aim.scores(self.loss.bare_values(self.fitted), rng_for(0, "verdict.scores", 0))
        if weights is not None and self.problem.known:
            return self.residual * np.sqrt(weights)
        root = np.ones(len(self.y)) if weights is None else np.sqrt(weights / weights.max())
        spread = self._spread(self.residual * root)
        return self.residual * root / spread if spread > 0 else np.zeros(len(self.y))

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the residuals, sqrt(RSS / (M - C)) in the units of y."""
        return self._spread(self.residual)

    def _spread(self, residual: np.ndarray) -> float:
        r = residual[self.kept & np.isfinite(residual)]
        scale = float(np.abs(r).max(initial=0.0))  # whose square may be no float
        if not scale > 0:
            return 0.0
        freedom = max(1, len(r) - (int(self.kept.sum()) - self.law.freedom if self.law.freedom else 0))
        return scale * math.sqrt(float((r / scale) @ (r / scale)) / freedom)

    # -- how sure it is

    @cached_property
    def _quantile(self) -> float:
        """Student's t for CONFIDENCE, two-sided."""
        from scipy.special import stdtrit

        return float(stdtrit(max(1, self.law.freedom), 0.5 + CONFIDENCE / 2))

    def band(self, X: np.ndarray, new_rows: bool = False) -> np.ndarray | None:
        """Half width (M',) of the CONFIDENCE band of the law at rows X, or of a new measurement there.

        None where the rows do not determine the constants, and for new rows where rows are weighted, unless in proportion to the
        law: what error a new one would have is not known then.
        """
        if new_rows and self.loss is not None:
            return None
        if not self.law.freedom or (new_rows and self.weighted and not self.law.relative):
            return None
        spread = self.law.spread(X)
        noise = self.law.noise * np.abs(self.value(X)) if self.law.relative else self.noise
        if not np.isfinite(spread).any():
            return None
        half = self._quantile * (np.hypot(spread, noise) if new_rows else spread)
        return np.where(np.isfinite(half), half, np.nan)
