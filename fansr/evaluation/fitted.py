"""One answer with the table it was found in, and how sure it is at any row: what its pictures and its report show.

The band of a law is that of linearised least squares: with J the Jacobian of the law in its free constants at a row and C
their covariance, the law's standard error there is sqrt(J' C J), and that of a new measurement the root of the sum of
squares of it and of the noise.  Constants that were taken for round numbers are held, as they are for their standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from fansr.expressions import CONSTANT, evaluate, to_infix, value_and_jacobian, variables
from fansr.fitting import Candidate, Problem

CONFIDENCE = 0.95
SINGULAR = 1e-12  # of a squared length: a direction of the constants below it is not determined by the rows
FIT_ROWS = 200_000  # of a longer table, drawn evenly, that the covariance is worked out on


@dataclass
class Fitted:
    """A law and its table.

    X (M, D), y (M,) and the law: prefix tokens `expr` with `consts` (C,), whose standard `errors` (C,) are 0 where a constant
    is held.  weights (M,) of the squared residuals; `known` says that they are 1/sigma^2 of stated errors.  kept (M,) masks
    the rows that were not set aside.  front: {"length", "fvu", "expr", "consts"} each.
    """

    X: np.ndarray
    y: np.ndarray
    names: Sequence[str]
    target: str
    expr: list[str]
    consts: np.ndarray
    errors: np.ndarray | None = None
    front: Sequence[dict[str, Any]] = ()
    weights: np.ndarray | None = None
    known: bool = False
    kept: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self):
        self.X = np.ascontiguousarray(self.X, dtype=np.float64)
        self.y = np.asarray(self.y, dtype=np.float64)
        self.consts = np.asarray(self.consts if self.consts is not None else [], dtype=np.float64)
        self.errors = np.full(len(self.consts), np.nan) if self.errors is None else np.asarray(self.errors, np.float64)
        if len(self.kept) != len(self.y):
            self.kept = np.ones(len(self.y), bool)

    @classmethod
    def of(cls, problem: Problem, best: Candidate, front: Sequence[Candidate], errors=None, outliers=()) -> Fitted:
        """From what a search found; outliers: rows (of the problem) that were set aside."""
        kept = np.ones(len(problem.y), bool)
        kept[np.asarray(outliers, dtype=int)] = False
        points = [
            {"length": c.length, "fvu": float(c.fvu), "expr": c.expr, "consts": c.consts, "source": c.source}
            for c in front
        ]
        return cls(
            X=problem.X,
            y=problem.y,
            names=problem.names,
            target=problem.target,
            expr=list(best.expr),
            consts=np.asarray(best.consts if best.consts is not None else []),
            errors=errors,
            front=points,
            weights=problem.weights,
            known=problem.known,
            kept=kept,
        )

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Fitted:
        """From a fit record that carries its data."""
        kept = np.ones(len(record["y"]), bool)
        kept[np.asarray(record.get("outliers", ()), dtype=int)] = False
        return cls(
            X=record["X"],
            y=record["y"],
            names=record["names"],
            target=record.get("target") or "y",
            expr=list(record["expr"]),
            consts=record["consts"],
            errors=record.get("standard_errors"),
            front=record.get("front") or [],
            weights=record.get("weights"),
            known=bool(record.get("known")),
            kept=kept,
        )

    # -- the law

    def value(self, X: np.ndarray) -> np.ndarray:
        """The law (M',) at rows X (M', D)."""
        with np.errstate(all="ignore"):
            return evaluate(self.expr, np.ascontiguousarray(X, dtype=np.float64), self.consts)

    def text(self, digits: int = 5) -> str:
        """The law's right side in the columns' own names."""
        return to_infix(self.expr, self.consts, self.names, digits=digits)

    @cached_property
    def used(self) -> list[int]:
        """Columns the law uses."""
        return variables(self.expr)

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
    def sigma(self) -> np.ndarray | None:
        """Stated standard errors (M,) of y, or None; infinite where a row's weight is 0."""
        if not self.known or self.weights is None:
            return None
        with np.errstate(divide="ignore"):
            return 1.0 / np.sqrt(self.weights)

    @cached_property
    def scaled_residual(self) -> np.ndarray:
        """Residuals (M,) in units of their own standard error: stated, or by weights, or one for all."""
        if self.weights is None:
            spread = self.noise
            return self.residual / spread if spread > 0 else np.zeros(len(self.y))
        weighed = self.residual * np.sqrt(self.weights)
        if self.known:
            return weighed
        spread = math.sqrt(float(np.mean(weighed[self._rows] ** 2))) if self._rows.any() else 0.0
        return weighed / spread if spread > 0 else np.zeros(len(self.y))

    @cached_property
    def _rows(self) -> np.ndarray:
        """Rows (mask) that say something: kept, of weight above 0 and with a finite value of the law."""
        rows = self.kept & np.isfinite(self.residual)
        return rows if self.weights is None else rows & (self.weights > 0)

    @cached_property
    def noise(self) -> float:
        """Standard deviation of the residuals of unweighted rows, sqrt(RSS / (M - C)) in the units of y."""
        r = self.residual[self._rows]
        scale = float(np.abs(r).max(initial=0.0))
        if not scale > 0:
            return 0.0
        return scale * math.sqrt(float((r / scale) @ (r / scale)) / max(1, len(r) - self._free.sum()))

    # -- how sure it is

    @cached_property
    def _free(self) -> np.ndarray:
        """Constants (mask) that were fitted; all of them where nothing is known of their errors."""
        assert self.errors is not None
        return ~(self.errors == 0)

    @cached_property
    def _loose(self) -> tuple[list[str], np.ndarray]:
        """The law with its held constants as literals, and its free ones."""
        values = iter(zip(self.consts, self._free))
        expr = []
        for token in self.expr:
            if token == CONSTANT:
                c, free = next(values)
                token = CONSTANT if free else repr(float(c))
            expr.append(token)
        return expr, self.consts[self._free]

    def _jacobian(self, X: np.ndarray) -> np.ndarray:
        """Derivatives (F, M') of the law over `scale` by its free constants."""
        expr, consts = self._loose
        with np.errstate(all="ignore"):
            return value_and_jacobian(expr, np.ascontiguousarray(X, dtype=np.float64), consts)[1] / self._scale

    @cached_property
    def _scale(self) -> float:
        return float(np.abs(self.y).max(initial=0.0)) or 1.0

    @cached_property
    def _root(self) -> np.ndarray | None:
        """(F, F) matrix whose product with its transpose is the covariance of the free constants; None where the rows do not
        determine them."""
        rows = np.flatnonzero(self._rows)
        free = int(self._free.sum())
        if len(rows) <= free:
            return None
        part = rows[:: max(1, len(rows) // FIT_ROWS)]
        w = np.ones(len(rows)) if self.weights is None else self.weights[rows] / self.weights[rows].max()
        r = self.residual[rows] / self._scale
        variance = float(w @ (r * r)) / (len(rows) - free)
        if self.known and self.weights is not None:  # never less than the stated errors say
            stated = 1.0 / math.sqrt(float(self.weights[rows].max())) / self._scale
            variance = max(variance, stated * stated)
        J = self._jacobian(self.X[part]) * np.sqrt(w[:: max(1, len(rows) // FIT_ROWS)])
        J = J[:, np.isfinite(J).all(axis=0)] * math.sqrt(len(rows) / max(1, len(part)))
        size = np.abs(J).max(axis=1, initial=0.0)
        if not (size > 0).all():
            return None
        norms = size * np.sqrt(((J / size[:, None]) ** 2).sum(1))
        unit = J / norms[:, None]
        values, vectors = np.linalg.eigh(unit @ unit.T)
        if values.min(initial=1.0) < SINGULAR:
            return None
        return math.sqrt(variance) * vectors / np.sqrt(values) / norms[:, None]

    @cached_property
    def _quantile(self) -> float:
        """Student's t for CONFIDENCE, two-sided; the normal one where the errors are stated."""
        from scipy.special import ndtri, stdtrit

        if self.known:
            return float(ndtri(0.5 + CONFIDENCE / 2))
        return float(stdtrit(max(1, int(self._rows.sum() - self._free.sum())), 0.5 + CONFIDENCE / 2))

    def law_error(self, X: np.ndarray) -> np.ndarray | None:
        """Standard error (M',) of the law itself at rows X; None where the rows do not determine its constants."""
        if not self._free.any():
            return np.zeros(len(X))
        if self._root is None:
            return None
        with np.errstate(all="ignore"):
            spread = self._scale * np.sqrt(((self._jacobian(X).T @ self._root) ** 2).sum(1))
        return np.where(np.isfinite(spread), spread, np.nan)

    def band(self, X: np.ndarray, new_rows: bool = False) -> np.ndarray | None:
        """Half width (M',) of the CONFIDENCE band of the law at rows X, or of a new measurement there.

        None where the constants are not determined, and for new rows where rows are weighted: what error a new one would have
        is not known then.
        """
        error = self.law_error(X)
        if error is None or (new_rows and self.weights is not None):
            return None
        return self._quantile * (np.hypot(error, self.noise) if new_rows else error)
