"""Power laws c * x1^e1 * x2^e2 * ... by linear regression of log|y| on log|x|: a proposer that takes a millisecond.

Half of physics' textbook laws are of this form.  Exponents are proposed as fitted and snapped to whole numbers, halves and
fractions with denominators up to 5; signs are handled apart, as a parity of every column that changes sign.  The constant
comes from least squares of y itself, so noise in y is weighted as the FVU weighs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.assembly import Base, Polisher, finish, fvu_of, measured, product, times

DENOMINATORS = ((1,), (1, 2), (1, 2, 3, 4, 5))  # the grids exponents are snapped to, the plainest first
MAX_EXPONENT = 10
ROWS = 2000  # of a longer table that exponents are regressed on
MAX_SUBSETS = 64  # parities tried of columns that change sign
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
    polish = Polisher(problem)
    candidates = measured(problem, list(laws), "power")
    yield polish(candidates, 3) if min((c.fvu for c in candidates), default=0.0) > 1e-20 else candidates


def scale_of(y: np.ndarray) -> float:
    return float(np.abs(y).max()) or 1.0


class Regression:
    """log|y| on log|x| over the rows without zeros.

    Attributes: `columns` that vary in size, `exponents` and `errors` (standard errors) for them, `residual` the rms of the
    logarithm's residual, `rows` the rows used.
    """

    @np.errstate(all="ignore")
    def __init__(self, problem: Problem, weighted: bool):
        X, y = problem.X, problem.y
        self.problem = problem
        self.columns: list[int] = []
        # A column that is zero in many rows is no factor of a y that is not.
        usable = [j for j in range(X.shape[1]) if (X[:, j] != 0).mean() > 0.7]
        rows = (y != 0) & (X[:, usable] != 0).all(axis=1)
        if rows.sum() < 3:
            return
        if rows.sum() > ROWS:  # exponents are known from some thousand rows as well as from all
            kept = np.flatnonzero(rows)
            rows = np.zeros(len(y), bool)
            rows[kept[np.linspace(0, len(kept) - 1, ROWS).astype(int)]] = True
        L = np.log(np.abs(X[rows][:, usable]))  # (M', D')
        spread = L.std(axis=0)
        keep = spread > 1e-9
        usable, L, spread = [j for j, k in zip(usable, keep) if k], L[:, keep], spread[keep]
        t = np.log(np.abs(y[rows]))
        # The error of log|y| is that of y over |y|; rows near zero must not rule, nor be ignored.
        size = np.abs(y[rows]) / scale_of(y)
        w = np.maximum(size, 1e-3) if weighted else np.ones(len(t))
        if problem.weights is not None:
            w = w * np.sqrt(problem.weights[rows])
        chosen = self._select(L / spread, t, w)
        if not chosen:
            return
        self.rows, self.columns = rows, [usable[i] for i in chosen]
        self.design = np.column_stack([np.ones(len(t)), L[:, chosen]]) * w[:, None]  # (M', 1 + columns)
        self.goal = t * w
        self.exponents, self.errors, self.residual = self._solve(range(len(chosen)), np.zeros(len(chosen)))

    @staticmethod
    def _select(Z: np.ndarray, t: np.ndarray, w: np.ndarray) -> list[int]:
        """Columns to regress on: all if rows are plenty, else those that forward selection wants (BIC)."""
        M, D = Z.shape
        if 2 * (D + 1) <= M and D <= 30:
            return list(range(D))
        A = (Z - np.average(Z, axis=0, weights=w)) * w[:, None]
        r = (t - np.average(t, weights=w)) * w
        chosen: list[int] = []
        rss = float(r @ r)
        Q = np.zeros((M, 0))
        while len(chosen) < min(8, M - 2) and rss > 0:
            P = A - Q @ (Q.T @ A)
            norms = np.sqrt((P * P).sum(axis=0))
            gains = np.where(norms > 1e-9, np.abs(P.T @ r) / np.maximum(norms, 1e-300), 0.0)
            j = int(np.argmax(gains))
            left = rss - gains[j] ** 2
            if gains[j] == 0 or M * np.log(max(left, 1e-300) / rss) > -np.log(M):
                break
            chosen.append(j)
            q = P[:, j] / norms[j]
            Q, r, rss = np.column_stack([Q, q]), r - q * (q @ r), max(left, 0.0)
        return sorted(chosen)

    def _solve(self, free, fixed: np.ndarray):
        """(exponents, errors, residual) with the exponents outside `free` held at `fixed`."""
        free = list(free)
        held = [j for j in range(len(self.columns)) if j not in free]
        A = self.design[:, [0] + [1 + j for j in free]]
        goal = self.goal - self.design[:, [1 + j for j in held]] @ fixed[held]
        solution, _, rank, _ = np.linalg.lstsq(A, goal, rcond=1e-10)
        r = goal - A @ solution
        sigma2 = float(r @ r) / max(1, len(goal) - rank)
        covariance = np.linalg.pinv(A.T @ A, rcond=1e-12) * sigma2
        exponents, errors = fixed.astype(float).copy(), np.zeros(len(fixed))
        exponents[free] = solution[1:]
        errors[free] = np.sqrt(np.maximum(np.diag(covariance)[1:], 0.0))
        return exponents, errors, float(np.sqrt(np.mean(r * r)))

    # ---- exponents ----

    def snaps(self) -> Iterator[list[Fraction | float]]:
        """Tables of exponents to try, plainest first: snapped to each grid, then free where no fraction is near."""
        seen = set()
        for grid in DENOMINATORS:
            for table in (self._snapped(grid), [nearest(e, grid) for e in self.exponents]):
                if tuple(table) not in seen:
                    seen.add(tuple(table))
                    yield table
        loose = [
            snap if abs(e - snap) <= max(3 * s, EXACT_EXPONENT) and abs(e - snap) < 0.1 else float(e)
            for e, s, snap in zip(self.exponents, self.errors, self._snapped(DENOMINATORS[1]))
        ]
        if tuple(loose) not in seen:
            yield loose
        if tuple(float(e) for e in self.exponents) not in seen and len(self.columns) <= 2:
            yield [float(e) for e in self.exponents]

    def _snapped(self, grid) -> list[Fraction]:
        """Exponents snapped one at a time, the surest first, the others refitted each time."""
        exponents, errors = self.exponents, self.errors
        fixed: dict[int, Fraction] = {}
        while len(fixed) < len(self.columns):
            free = [j for j in range(len(self.columns)) if j not in fixed]
            distance = {j: abs(exponents[j] - nearest(exponents[j], grid)) / (errors[j] + EXACT_EXPONENT) for j in free}
            j = min(free, key=distance.get)
            fixed[j] = nearest(exponents[j], grid)
            free.remove(j)
            held = np.array([float(fixed.get(i, 0)) for i in range(len(self.columns))])
            if free:
                exponents, errors, _ = self._solve(free, held)
        return [fixed[j] for j in range(len(self.columns))]

    # ---- laws ----

    @np.errstate(all="ignore")
    def laws(self, exponents: list[Fraction | float]) -> list[Base]:
        """Expressions with these exponents: the best sign pattern, the constant as fitted and as a simple number."""
        return list(self._laws(exponents))

    def _laws(self, exponents) -> Iterator[Base]:
        X, y = self.problem.X, self.problem.y
        if all(e == 0 for e in exponents) or any(abs(e) > MAX_EXPONENT for e in exponents):
            return
        size = sum(float(e) * np.log(np.abs(X[:, j])) for j, e in zip(self.columns, exponents) if e != 0)
        middle = np.max(size[self.rows])
        shape = np.exp(size - middle)
        odd = self._parity(exponents)
        sign = np.prod(np.sign(X[:, sorted(odd)]), axis=1) if odd else 1.0
        ok = np.isfinite(shape)
        if not ok.any():
            return
        weights = np.ones(len(y)) if self.problem.weights is None else self.problem.weights
        P, t, w = (sign * shape)[ok], (y / scale_of(y))[ok], weights[ok]
        c = float((w * P) @ t / ((w * P) @ P))
        log_c = np.log(abs(c)) - middle + np.log(scale_of(y)) if c else -np.inf
        if not np.isfinite(log_c) or abs(log_c) > 700:
            return
        c_total = float(np.copysign(np.exp(log_c), c))
        body = product(*self._factors(exponents, odd))
        # The constant also as the simple number nearest to it, where that costs little; selection.py judges which is honest.
        loss = fvu_of(t, c * P, w)
        for simple in simple_numbers(c_total):
            if fvu_of(t, c * P * (simple / c_total), w) <= max(1.5 * loss, loss + 1e-3, 1e-20):
                yield times(simple, body)
        yield times(c_total, body)

    def _parity(self, exponents) -> set[int]:
        """Columns whose sign y follows: the subset of the mixed columns that explains most signs of y."""
        X, s = self.problem.X, np.sign(self.problem.y)
        mixed = [j for j, e in zip(self.columns, exponents) if e != 0 and X[:, j].min() < 0 < X[:, j].max()]
        natural = tuple(
            j
            for j, e in zip(self.columns, exponents)
            if j in mixed and Fraction(e).numerator % 2 and Fraction(e).denominator % 2
        )
        # Columns of the problem that are not in the law may still give it its sign only through abs: not tried.
        subsets = [natural] + [c for k in range(len(mixed) + 1) for c in combinations(mixed, k)][:MAX_SUBSETS]
        return set(max(subsets, key=lambda c: abs(float(np.sum(s * np.prod(np.sign(X[:, list(c)]), axis=1))))))

    def _factors(self, exponents, odd: set[int]):
        """Factor table and positivity test for product(): signs and roots are put right with abs."""
        X, table = self.problem.X, {}
        positive = set()
        for j, e in zip(self.columns, exponents):
            if e == 0:
                continue
            x: Base = (f"x{j + 1}",)
            e = Fraction(e).limit_denominator(10**9)
            whole, natural_odd = e.denominator == 1, bool(e.numerator % 2 and e.denominator % 2)
            rooted = e.denominator % 2 == 1 and e.denominator <= 5 and e.numerator <= 5
            if X[:, j].min() >= 0:
                positive.add(x)
                table[x] = e
            elif X[:, j].max() <= 0:
                table[x if whole else ("neg", *x)] = e
                positive.add(("neg", *x))
            elif (whole or rooted) and natural_odd == (j in odd):
                table[x] = e
            else:
                size = ("abs", *x)
                positive.add(size)
                if j in odd:
                    table[x] = Fraction(1)
                    e -= 1
                if e != 0:
                    table[size] = e
        return table, positive.__contains__


def nearest(value: float, denominators) -> Fraction:
    """The fraction with one of these denominators that is nearest to `value`, the smaller denominator on ties."""
    return min(
        (Fraction(round(float(value) * q), q) for q in denominators), key=lambda f: (abs(f - value), f.denominator)
    )


def simple_numbers(c: float) -> list[float]:
    """1..5 and 1/2..1/5, with c's sign, that lie within a factor of 1.2 of c."""
    return [
        float(np.copysign(v, c)) for v in (1.0, 2.0, 3.0, 4.0, 5.0, 0.5, 1 / 3, 0.25, 0.2) if 1 / 1.2 < abs(c) / v < 1.2
    ]
