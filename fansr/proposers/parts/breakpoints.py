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
        mean = self.residual([self.ones])[1]
        self.spread = float(mean @ mean)
        self._places: dict[int, Places] = {}

    def places(self, j: int) -> Places:
        """Where column j may break."""
        if j not in self._places:
            self._places[j] = Places(self.X[:, j], self.sw)
        return self._places[j]

    def fit(self, columns: Sequence[np.ndarray]) -> tuple[float, np.ndarray]:
        """(share of the spread left, coefficients) of weighted least squares of y on columns of (M,)."""
        A = np.column_stack(columns) * self.sw[:, None]
        size = np.sqrt((A * A).sum(0))
        size[size == 0] = 1.0
        c = np.linalg.lstsq(A / size, self.target, rcond=1e-12)[0]
        left = self.target - (A / size) @ c
        return float(left @ left) / self.spread, c / size

    def beside(self, columns: Sequence[np.ndarray]) -> Beside:
        """What stands beside a breakpoint where it is columns of (M,)."""
        return Beside(self, *self.residual(columns))

    def residual(self, columns: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """(Q (M, k) orthonormal, what is left of y (M,)) of a projection on columns of (M,)."""
        A = np.column_stack(columns) * self.sw[:, None]
        Q, R = np.linalg.qr(A / np.maximum(np.sqrt((A * A).sum(0)), 1e-300))
        Q = Q[:, np.abs(np.diag(R)) > 1e-10]
        r = self.target - Q @ (Q.T @ self.target)
        return Q, r - Q @ (Q.T @ r)


class Places:
    """The gaps of one column between which it may break: the `order` of its rows, x (M,) and the weights' roots sw in it.

    `gap` are the places before a gap, LEAST values away from the ends; u (M,) is x from its middle, in its span.
    """

    def __init__(self, x: np.ndarray, sw: np.ndarray):
        self.order = np.argsort(x, kind="stable")
        self.x, self.sw = x[self.order], sw[self.order]
        gap = np.flatnonzero(self.x[1:] > self.x[:-1])[LEAST - 1 :]  # between places i and i + 1
        self.gap = gap[: max(0, len(gap) - LEAST + 1)]
        self.middle, self.span = float(self.x[len(x) // 2]), float(self.x[-1] - self.x[0])
        with np.errstate(all="ignore"):
            self.u = (self.x - self.middle) / self.span
            self.n2 = _after((self.sw * self.u) ** 2)[self.gap]


class Beside:
    """What stands beside a breakpoint, projected out: the share of y's spread that it leaves, and the best breakpoints beside it."""

    def __init__(self, rows: Rows, Q: np.ndarray, r: np.ndarray):
        self.rows, self.Q, self.r = rows, Q, r  # (M, k) orthonormal, (M,) what is left of y
        self.share = float(r @ r) / rows.spread
        self._sums: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._breaks: dict[tuple[bool, int], Break | None] = {}

    def joined(self, column: np.ndarray) -> Beside:
        """The same with one more column of (M,), or itself where that is made up of what stands there."""
        v = column * self.rows.sw
        size = math.sqrt(float(v @ v))
        for _ in range(2):
            v = v - self.Q @ (v @ self.Q)
        left = math.sqrt(float(v @ v))
        if not left > 1e-10 * size:
            return self
        v = v / left
        r = self.r - v * float(v @ self.r)
        return Beside(self.rows, np.column_stack([self.Q, v]), r - v * float(v @ r))

    def best(self, step: bool, j: int) -> Break | None:
        """The breakpoint of column j whose hinge or step explains most of y; None where there is no place."""
        if (step, j) not in self._breaks:
            self._breaks[step, j] = self._step(j) if step else self._hinge(j)
        return self._breaks[step, j]

    def _sums_of(self, j: int) -> tuple[np.ndarray, np.ndarray]:
        """(products with 1 (M, k + 2), their sums over the rows behind each gap) of Q's columns, r and 1."""
        if j not in self._sums:
            places, k = self.rows.places(j), self.Q.shape[1]
            parts = np.empty((len(places.x), k + 2))
            parts[:, :k], parts[:, k] = self.Q[places.order], self.r[places.order]
            parts[:, k + 1] = places.sw
            parts *= places.sw[:, None]
            self._sums[j] = parts, _after(parts)[places.gap]
        return self._sums[j]

    @np.errstate(all="ignore")
    def _step(self, j: int) -> Break | None:
        places = self.rows.places(j)
        if not len(places.gap):
            return None
        sums = self._sums_of(j)[1]
        P0, r0, n0 = sums[:, :-2], sums[:, -2], sums[:, -1]
        after = int(places.gap[np.argmax(_gain(r0, n0 - _by_row(P0, P0), n0))])
        return Break(True, j, round_between(float(places.x[after]), float(places.x[after + 1])))

    @np.errstate(all="ignore")
    def _hinge(self, j: int) -> Break | None:
        places = self.rows.places(j)
        if not len(places.gap):
            return None
        parts, sums = self._sums_of(j)
        u, gap, n2 = places.u, places.gap, places.n2
        P0, r0, n0 = sums[:, :-2], sums[:, -2], sums[:, -1]
        sums = _after(parts * u[:, None])[gap]
        P1, r1, n1 = sums[:, :-2], sums[:, -2], sums[:, -1]
        # gain(c) = (r1 - c r0)^2 / (f - 2 d c + e c^2)
        f, d, e = n2 - _by_row(P1, P1), n1 - _by_row(P0, P1), n0 - _by_row(P0, P0)
        stationary = (r0 * f - r1 * d) / (r0 * d - r1 * e)
        low, high = u[gap], u[gap + 1]
        c = np.stack([low, np.clip(np.where(np.isfinite(stationary), stationary, low), low, high), high])  # (3, gaps)
        gain = _gain(r1 - c * r0, f - 2 * d * c + e * c * c, n2 - 2 * c * n1 + c * c * n0)
        return Break(False, j, float(c.ravel()[int(np.argmax(gain))] * places.span + places.middle))


def best_break(rows: Rows, step: bool, j: int, beside: Sequence[np.ndarray]) -> Break | None:
    """The breakpoint of column j whose hinge or step explains most of y beside given columns; None where there is no place."""
    return rows.beside(beside).best(step, j)


def _after(parts: np.ndarray) -> np.ndarray:
    """For each row but the last the sum over the rows after it."""
    return np.cumsum(parts[::-1], axis=0)[-2::-1]


def _by_row(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """The product of each row of A with that of B."""
    return np.einsum("ij,ij->i", A, B)


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
