"""Where a law of one column breaks: the place of a kink or a jump that fits best beside given columns, in O(M) after a sort.

Projected on what stands beside it, the gain of a hinge max(x - c, 0) is a ratio of two squares of c between any two
neighbouring rows, whose coefficients are cumulative sums, and it is stationary at one c (segmented regression with a free
breakpoint, Hudson 1966).  The gain of a step x > c is the same for all c between two rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fansr.fitting import Problem
from fansr.proposers.parts.expression_assembly import scale_of

ROWS = 1000  # of a longer table that are looked at, taken evenly
TINY = 1e-75  # of a column: squares of products of two of its values still are floats
LEAST = 3  # different values of a column on either side of a breakpoint


class Break(NamedTuple):
    """A breakpoint of column j at c: a hinge max(x - c, 0), or a step x > c."""

    step: bool
    j: int
    c: float

    def values(self, X: np.ndarray) -> np.ndarray:
        """(M,) at the rows of X (M, D)."""
        x = X[:, self.j]
        return (x > self.c).astype(float) if self.step else np.maximum(x - self.c, 0.0)


class Rows:
    """The rows that are looked at: X (M, D), y (M,) over its `scale`, sw (M,) square roots of the weights.

    `columns` are those with values enough on both sides of a breakpoint.
    """

    def __init__(self, problem: Problem, most: int = ROWS):
        M = len(problem.y)
        rows = np.arange(M) if M <= most else np.unique(np.linspace(0, M - 1, most).astype(int))
        self.X, self.scale = problem.X[rows], scale_of(problem.y)
        self.y = problem.y[rows] / self.scale
        w = problem.weights
        self.sw = np.ones(len(rows)) if w is None else np.sqrt(w[rows] / (w[rows].max() or 1.0))
        reach = np.abs(self.X).max(0)
        self.columns = [
            j for j in range(self.X.shape[1])
            if TINY < reach[j] < 1 / TINY and len(np.unique(self.X[:, j])) >= 2 * LEAST
        ]  # fmt: skip
        self.ones = np.ones(len(rows))
        self.target = self.y * self.sw
        self.spread = float(self.residual([self.ones])[1] @ self.residual([self.ones])[1])
        self._orders: dict[int, np.ndarray] = {}

    def order(self, j: int) -> np.ndarray:
        """Rows sorted along column j."""
        if j not in self._orders:
            self._orders[j] = np.argsort(self.X[:, j], kind="stable")
        return self._orders[j]

    def fit(self, columns: Sequence[np.ndarray]) -> tuple[float, np.ndarray]:
        """(share of the spread left, coefficients) of weighted least squares of y on columns of (M,)."""
        A = np.column_stack(columns) * self.sw[:, None]
        size = np.sqrt((A * A).sum(0))
        size[size == 0] = 1.0
        c = np.linalg.lstsq(A / size, self.target, rcond=1e-12)[0]
        left = self.target - (A / size) @ c
        return float(left @ left) / self.spread, c / size

    def residual(self, columns: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(Q (M, k) orthonormal, what is left of y (M,)) of a projection on columns of (M,)."""
        A = np.column_stack(columns) * self.sw[:, None]
        Q, R = np.linalg.qr(A / np.maximum(np.sqrt((A * A).sum(0)), 1e-300))
        Q = Q[:, np.abs(np.diag(R)) > 1e-10]
        r = self.target - Q @ (Q.T @ self.target)
        return Q, r - Q @ (Q.T @ r)


@np.errstate(all="ignore")
def best_break(rows: Rows, step: bool, j: int, beside: Sequence[np.ndarray]) -> Break | None:
    """The breakpoint of column j whose hinge or step explains most of y beside given columns; None where there is no place."""
    order = rows.order(j)
    x, sw = rows.X[order, j], rows.sw[order]
    gap = np.flatnonzero(x[1:] > x[:-1])[LEAST - 1 :]  # between places i and i + 1
    gap = gap[: max(0, len(gap) - LEAST + 1)]
    if not len(gap):
        return None
    Q, r = rows.residual(beside)
    parts = np.column_stack([sw[:, None] * Q[order], sw * r[order], sw * sw])  # (M, k + 2)
    k = Q.shape[1]
    P0, r0, n0 = np.split(_after(parts)[gap], (k, k + 1), axis=1)
    r0, n0 = r0[:, 0], n0[:, 0]
    if step:
        best = int(np.argmax(_gain(r0, n0 - (P0 * P0).sum(1), n0)))
        return Break(True, j, round_between(float(x[gap[best]]), float(x[gap[best] + 1])))
    middle, span = float(x[len(x) // 2]), float(x[-1] - x[0])
    u = (x - middle) / span
    P1, r1, n1 = np.split(_after(parts * u[:, None])[gap], (k, k + 1), axis=1)
    r1, n1 = r1[:, 0], n1[:, 0]
    n2 = _after((sw * u) ** 2)[gap]
    # gain(c) = (r1 - c r0)^2 / (f - 2 d c + e c^2)
    f, d, e = n2 - (P1 * P1).sum(1), n1 - (P0 * P1).sum(1), n0 - (P0 * P0).sum(1)
    stationary = (r0 * f - r1 * d) / (r0 * d - r1 * e)
    low, high = u[gap], u[gap + 1]
    c = np.stack([low, np.clip(np.where(np.isfinite(stationary), stationary, low), low, high), high])  # (3, gaps)
    gain = _gain(r1 - c * r0, f - 2 * d * c + e * c * c, n2 - 2 * c * n1 + c * c * n0)
    return Break(False, j, float(c.ravel()[int(np.argmax(gain))] * span + middle))


def _after(parts: np.ndarray) -> np.ndarray:
    """For each row but the last the sum over the rows after it."""
    return np.cumsum(parts[::-1], axis=0)[-2::-1]


def _gain(inner: np.ndarray, square: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """inner^2 / square; 0 where the feature, of square `whole`, is made up of what stands beside it."""
    return np.where(square > 1e-9 * whole, inner * inner / square, 0.0)


def round_between(low: float, high: float) -> float:
    """The number of fewest digits in the middle half of a gap: rows cannot tell the places of a jump within it apart."""
    a, b = low + 0.25 * (high - low), high - 0.25 * (high - low)
    if not a < b < math.inf:
        return low
    for places in range(-int(math.floor(math.log10(max(abs(a), abs(b))))) - 1, 330):
        value = round((a + b) / 2, places)
        if a <= value <= b:
            return value
        if 10.0**-places < 1e-3 * (b - a):
            break
    return (a + b) / 2
