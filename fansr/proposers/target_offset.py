"""One number beside a product of powers and an exponential: f(y) = k + c * prod x^e * exp(P(x)), f one of six; as peaks and
decays on a background, roots of 1 + x^2, logistic curves.

k lies where f(y) is flat: beyond its least or its largest value, far or near.  Given k, log|f(y) - k| is linear in all the
rest; k follows by Gauss-Newton from the best of a grid, since d log|f(y) - k| / dk = -1 / (f(y) - k).  Rows weigh as their
errors in y ask for, so those at k, whose logarithms are noise, say nothing.  A step of inner_constants.py; knows no budgets.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fansr.fitting import Problem
from fansr.proposers.parts.expression_assembly import ONE, Base, Factors, nearest, scale_of
from fansr.proposers.parts.inner_scan import coefficients, usable, values_of
from fansr.proposers.parts.monomials import exponent_vectors, factors_of
from fansr.proposers.parts.power_products import power_products
from fansr.proposers.parts.sum_spelling import completed, short_sum
from fansr.proposers.parts.target_transforms import OUTER

ROWS = 512
MOST_COLUMNS = 5  # up to which the exponential's polynomial has products; more columns have powers in front only
LARGEST = 12  # exponent
STARTS = (0.0, 1e-5, 1e-3, 0.03, 0.3, 2.0)  # k beyond the least or the largest value, in spans of f(y)
ROUNDS = 12
HOPEFUL, GOOD = 0.5, 0.02  # share of the spread left above which no k is narrowed, and no fit worth a law
EXACT = 1e-18
LEAST_ROWS = 5


SHAPES = tuple(OUTER[name] for name in ("y", "1/y", "sqrt", "1/sqrt", "exp", "log"))


class Part(NamedTuple):
    """A summand of the logarithm: its values, its factor table, and the column that it is a power of, or else None."""

    v: np.ndarray
    factors: Factors
    column: np.ndarray | None = None


@np.errstate(all="ignore")
def offsets(problem: Problem) -> list[Base]:
    """Laws of the best k for every f, with what powers and polynomial the logarithm needs."""
    rows = np.unique(np.linspace(0, len(problem.y) - 1, ROWS).astype(int))
    X, y = problem.X[rows], problem.y[rows]
    w = np.ones(len(y)) if problem.weights is None else np.sqrt(problem.weights[rows] / problem.weights.max())
    laws: dict[Base, None] = {}
    for shape in SHAPES:
        S = shape.undo(y)
        if not shape.defined(y).all() or not usable(S, 1e-9):
            continue
        # What an error of y does to S, both in their own sizes.
        slope = np.abs(shape.undo(y * (1 + 1e-6)) - S) / scale_of(S) / (np.abs(y) / scale_of(y))
        own = w / slope if (slope > 0).all() and np.isfinite(slope).all() else w
        for parts in _parts(X):
            floor = Floor(S, own / own.max(), parts)
            found = [place for place in floor.narrowed() if place[0] < GOOD]
            for _, k, side in found:
                laws.update(dict.fromkeys(map(shape.law, floor.laws(k, side))))
            if found and found[0][0] < EXACT:
                break
    return list(laws)


def _parts(X: np.ndarray) -> Iterator[list[Part]]:
    """What the logarithm is made of: powers alone, then with monomials of first and second degree in the exponential."""
    columns = [j for j in range(X.shape[1]) if np.ptp(X[:, j]) > 0]
    powers = [
        Part(np.log(np.abs(X[:, j])), {(f"x{j + 1}",): ONE}, X[:, j])
        for j in columns
        if (X[:, j] != 0).all() and np.ptp(np.abs(X[:, j])) > 0
    ]
    if powers:
        yield powers
    whole = exponent_vectors(X.shape[1], 200, 2, [False] * X.shape[1]) if len(columns) <= MOST_COLUMNS else []
    used = [e for e in whole if 0 < sum(e) <= 2 and all(n == 0 or j in columns for j, n in enumerate(e))]
    polynomial = [Part(values_of(factors_of(e), X), factors_of(e)) for e in used]
    polynomial = [part for part in polynomial if np.isfinite(part.v).all()]
    if polynomial:
        yield [*powers, *polynomial]


class Floor:
    """S (n,) = k + side * exp(c0 + sum c_i part_i) for one list of parts; w (n,) are the square roots of S's weights."""

    def __init__(self, S: np.ndarray, w: np.ndarray, parts: list[Part]):
        self.unit = scale_of(S)
        self.S, self.w, self.parts = S / self.unit, w, parts
        self.columns = [np.ones(len(S)), *(part.v for part in parts)]
        self.total = float(np.sum((w * (self.S - np.average(self.S, weights=w * w))) ** 2)) or 1.0

    def narrowed(self) -> list[tuple[float, float, float]]:
        """(share of the spread left, k, side) below and above: Gauss-Newton from the best of a grid; best first."""
        span, found = float(np.ptp(self.S)), []
        for side, edge in ((1.0, float(self.S.min())), (-1.0, float(self.S.max()))):
            left, k = best = min((self.fit(k, side)[0], k) for k in (edge - side * s * span for s in STARTS))
            for _ in range(ROUNDS if left < HOPEFUL else 0):
                step = float(self.fit(k, side, moving=True)[1][-1])
                if not 1e-14 < abs(step) < math.inf:
                    break
                k += min(max(step, -0.3 * span), 0.3 * span)
                best = min(best, (self.fit(k, side)[0], k))
            found.append((*best, side))
        return sorted(found)

    def fit(self, k: float, side: float, keep=None, moving: bool = False) -> tuple[float, np.ndarray]:
        """(share of S's spread left, coefficients of 1 and the kept parts): regression of log|S - k|.

        `moving` adds one column: what the logarithm does when k moves.  Infinite, no coefficients with too few rows.
        """
        h = side * (self.S - k)
        rows = np.flatnonzero(h > 1e-7 * h.max())
        columns = self.columns if keep is None else [self.columns[0], *(self.columns[1 + q] for q in keep)]
        if len(rows) < max(LEAST_ROWS, len(columns) + 3) or not np.ptp(h[rows]) > 1e-6 * h.max():
            return math.inf, np.full(1, np.nan)
        h = h[rows]
        columns = [v[rows] for v in columns]
        c, _ = coefficients([*columns, side / h] if moving else columns, np.log(h), self.w[rows] * h / h.max())
        if moving:
            return 0.0, c
        r = self.w[rows] * (h - np.exp(np.clip(np.column_stack(columns) @ c, -700, 700)))
        left = float(r @ r) / self.total
        return left if math.isfinite(left) else math.inf, c

    def laws(self, k: float, side: float) -> Iterator[Base]:
        """Laws S of one k: needless parts dropped one by one, and a law wherever the next one would be missed."""
        keep = list(range(len(self.parts)))
        left, c = self.fit(k, side, keep)
        while len(keep) > 1:
            tries = [(*self.fit(k, side, [p for p in keep if p != q]), q) for q in keep]
            worse, following, q = min(tries, key=lambda item: item[0])
            if worse > max(3 * left, 1e-10):
                yield from self._law(keep, c, k, side)
                if worse > 1e-3:
                    return
            keep.remove(q)
            left, c = max(left, worse), following
        yield from self._law(keep, c, k, side)

    def _law(self, keep: list[int], c: np.ndarray, k: float, side: float) -> Iterator[Base]:
        """k + product of powers * exp(polynomial), exponents made halves and (where none is near) left as they are."""
        used = [(self.parts[q], float(value)) for q, value in zip(keep, c[1:])]
        inside = [(value, part.factors) for part, value in used if part.column is None]
        if not np.isfinite(c).all() or any(abs(value) > LARGEST for part, value in used if part.column is not None):
            return
        s = sum(value * part.v for part, value in used if part.column is None)
        squares = completed(inside)  # whose constant belongs to c
        constant = sum(value for value, factors in squares if not factors)
        short = [(short_sum(inside), s), (short_sum([term for term in squares if term[1]]), s - constant)]
        exponential = min(short, key=lambda item: len(item[0])) if inside else None
        for tolerance in (1.0, 0.02):
            powers = []
            for part, value in used:
                if part.column is not None:
                    half = nearest(value, (1, 2))
                    powers.append((*part.factors, part.column, half if abs(half - value) < tolerance else value))
            if not (inside or any(e for *_, e in powers)):
                continue
            for law in power_products((self.S - k) * self.unit, self.w**2, powers, exponential):
                yield ("+", *law, repr(k * self.unit))
