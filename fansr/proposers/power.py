"""Power laws c * x1^e1 * x2^e2 * ... by linear regression of log|y| on log|x|: a proposer that takes a millisecond.

Half of physics' textbook laws are of this form.  Exponents are proposed as fitted and snapped to whole numbers, halves and
fractions with denominators up to 5; signs are handled apart, as a parity of every column that changes sign.  The constant
comes from least squares of y itself, so noise in y is weighted as the FVU weighs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.linearized import log_linear, reciprocal
from fansr.proposers.parts.candidates import Polisher, finish, measured
from fansr.proposers.parts.expression_assembly import Base, nearest, scale_of, times
from fansr.proposers.parts.power_products import LogRegression, power_products
from fansr.proposers.parts.sparse_sums import Subsets, growing

DENOMINATORS = ((1,), (1, 2), (1, 2, 3, 4, 5))  # the grids exponents are snapped to, the plainest first
MAX_EXPONENT = 10
ROWS = 2000  # of a longer table that exponents are regressed on
EXACT_EXPONENT = 1e-6  # an exponent this near a fraction is that fraction whatever its standard error says


def propose(problem: Problem, budget: Budget, rng=None, pool=None) -> Iterator[list[Candidate]]:
    """The mean, then power laws: exact, snapped and with free exponents; constants filled, FVU on all points.

    Deterministic and without regard for the clock: it is one regression and a handful of evaluations.
    """
    mean = float(np.average(problem.y / scale_of(problem.y), weights=problem.weights)) * scale_of(problem.y)
    yield measured(problem, [times(mean, ())], "power") or [finish(times(mean, ()), "power", 1.0)]
    laws: dict[Base, None] = {}
    for weighted in (False, True):
        fit = Regression(problem, weighted)
        if not fit.columns:
            return
        for exponents in fit.snaps():
            laws.update(dict.fromkeys(fit.laws(exponents)))
        if fit.residual < 1e-9:
            break  # exact: weighting the rows otherwise changes nothing
    candidates = measured(problem, list(laws), "power")
    polished = Polisher(problem)
    yield polished(candidates, 3) if min((c.fvu for c in candidates), default=0.0) > 1e-20 else candidates
    if min((c.fvu for c in candidates), default=1.0) > 1e-12:
        yield polished(measured(problem, log_linear(problem), "power"), 3)
        yield polished(measured(problem, reciprocal(problem), "power"), 2)


class Regression:
    """log|y| on log|x| over the rows without zeros.

    Attributes: `columns` that vary in size, `exponents` and `errors` (standard errors) for them, `residual` the rms of the
    logarithm's residual.
    """

    @np.errstate(all="ignore")
    def __init__(self, problem: Problem, weighted: bool):
        X, y = problem.X, problem.y
        self.problem = problem
        self.columns: list[int] = []
        # A column that is zero in many rows is no factor of a y that is not.
        usable = np.flatnonzero((X != 0).mean(axis=0) > 0.7)
        rows = (y != 0) & (X[:, usable] != 0).all(axis=1)
        if rows.sum() < 3:
            return
        if rows.sum() > ROWS:  # exponents are known from some thousand rows as well as from all
            kept = np.flatnonzero(rows)
            rows = np.zeros(len(y), bool)
            rows[kept[np.linspace(0, len(kept) - 1, ROWS).astype(int)]] = True
        L = np.log(np.abs(X[rows][:, usable]))  # (M', D')
        spread = L.std(axis=0)
        usable, L, spread = usable[spread > 1e-9], L[:, spread > 1e-9], spread[spread > 1e-9]
        t = np.log(np.abs(y[rows]))
        w = np.ones(len(t)) if problem.weights is None else np.sqrt(problem.weights[rows])
        if weighted:  # the error of log|y| is that of y over |y|; rows near zero must not rule, nor be ignored
            w = w * np.maximum(np.abs(y[rows]) / scale_of(y), 1e-3)
        chosen = _select(L / spread, t, w)
        if chosen:
            self.columns = usable[chosen].tolist()
            self.fit = LogRegression(L[:, chosen], t, w)
            self.exponents, self.errors, self.residual = self.fit.solve()
            self._known: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}

    def snaps(self) -> Iterator[list[Fraction | float]]:
        """Tables of exponents to try, plainest first: snapped to each grid, then free where no fraction is near."""
        tables: list[list] = [table(grid) for grid in DENOMINATORS for table in (self._snapped, self._nearest)]
        tables.append([
            snap if abs(e - snap) <= max(3 * s, EXACT_EXPONENT) and abs(e - snap) < 0.1 else float(e)
            for e, s, snap in zip(self.exponents, self.errors, tables[2])  # snapped to halves
        ])  # fmt: skip
        if len(self.columns) <= 2:
            tables.append(self.exponents.tolist())
        yield from (list(table) for table in dict.fromkeys(map(tuple, tables)))

    def _nearest(self, grid) -> list[Fraction]:
        return [nearest(e, grid) for e in self.exponents]

    def _snapped(self, grid) -> list[Fraction]:
        """Exponents snapped one at a time, the surest first, the others refitted each time."""
        exponents, errors = self.exponents, self.errors
        fixed: dict[int, Fraction] = {}
        free = list(range(len(exponents)))
        while free:
            k = min(free, key=lambda k: distance(exponents[k], grid) / (errors[k] + EXACT_EXPONENT))
            fixed[k] = nearest(exponents[k], grid)
            free.remove(k)
            if free:
                exponents, errors = self._refitted(fixed)
        return [fixed[k] for k in range(len(fixed))]

    def _refitted(self, fixed: dict[int, Fraction]) -> tuple[np.ndarray, np.ndarray]:
        """Exponents and errors with some exponents fixed, worked out once: grids begin with the same ones."""
        held = tuple(sorted(fixed.items()))
        if held not in self._known:
            self._known[held] = self.fit.solve({k: float(e) for k, e in held})[:2]
        return self._known[held]

    def laws(self, exponents: list[Fraction | float]) -> list[Base]:
        """Expressions with these exponents: the best sign pattern, the constant as fitted and as a simple number."""
        if all(e == 0 for e in exponents) or any(abs(e) > MAX_EXPONENT for e in exponents):
            return []
        factors = [((f"x{j + 1}",), self.problem.X[:, j], e) for j, e in zip(self.columns, exponents)]
        return power_products(self.problem.y, self.problem.weights, factors)


def distance(value: float, denominators) -> float:
    """How far the nearest fraction with one of these denominators is."""
    value = float(value)
    return min(abs(round(value * q) / q - value) for q in denominators)


def _select(Z: np.ndarray, t: np.ndarray, w: np.ndarray) -> list[int]:
    """Columns of Z to regress t on: all if rows are plenty, else the few that BIC wants."""
    M, D = Z.shape
    if 2 * (D + 1) <= M and D <= 30:
        return list(range(D))
    A = (Z - np.average(Z, axis=0, weights=w)) * w[:, None]
    r = (t - np.average(t, weights=w)) * w
    chosen, price = [], 0.0
    found = growing(Subsets(A.T, r), min(8, M - 2), np.random.default_rng(0))
    for (residual, members), *_ in found:
        if M * np.log(max(residual, 1e-300)) + len(members) * np.log(M) > price:
            break
        chosen, price = members, M * np.log(max(residual, 1e-300)) + len(members) * np.log(M)
    return sorted(chosen)
