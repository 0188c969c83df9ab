"""Products of powers of simple factors, times an exponential: the first part of the library proposer.

``y = c * prod_j x_j^e_j * prod_k f_k^g_k * exp(sum of terms)`` is linear in the logarithm of |y|.  The columns' own
logarithms always take part; the factors f_k (sin(x1*x2), x1 - x2, x1^2 + x2^2, 1 - x3, exp(x1) - 1, ...) and the terms
of the exponential are chosen few at a time by sparse_sums.py.  Exponents are snapped to halves and thirds; signs and the
constant c are settled on y itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.assembly import (
    Base,
    Factors,
    Polisher,
    combination,
    fvu_of,
    measured,
    near_simple,
    product,
    times,
)
from fansr.proposers.parts.sparse_sums import Subsets, best_subsets, without_each
from fansr.proposers.parts.terms import arguments, exponent_vectors, oscillates, search_rows, thinned
from fansr.proposers.power import nearest, scale_of, simple_numbers

MAX_FACTORS = 3  # besides the columns themselves
MAX_FEATURES = 1200
POINTS_PER_TERM = 6  # fewer points than this for each term, and the choice among hundreds fits the noise
SNAP = 0.02  # exponents this near a half or third are taken for it when that costs nothing
GRID = (1, 2, 3)


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of one, two and three factors, exact weighting of rows first, then weighted as noise in y asks for.

    Bounded by counts; FVUs are on the problem's rows (thinned to some thousands).
    """
    problem = thinned(problem, rng)
    if np.ptp(problem.y) == 0 or len(problem.y) < 6 or (problem.y != 0).mean() < 0.8:
        return
    factors = Factorisation(problem, rng)
    for weighted in (False, True):
        if budget.over() or not factors.features:
            return
        yield from factors.search(weighted, budget)
        if factors.best < 1e-20:
            return


def factor_list(X: np.ndarray) -> Iterator[tuple[Base, np.ndarray]]:
    """Factors beyond the columns themselves, the plain ones first: (expression, values)."""
    D = X.shape[1]
    columns = [(f"x{j + 1}",) for j in range(D)]
    for i, j in combinations(range(D), 2):
        a, b = columns[i], columns[j]
        for sign, op in ((-1, "-"), (1, "+")):
            yield (op, *a, *b), X[:, i] + sign * X[:, j]
            yield (op, "pow2", *a, "pow2", *b), X[:, i] ** 2 + sign * X[:, j] ** 2
    for i, j, k in combinations(range(min(D, 7)), 3):
        a, b, c = columns[i], columns[j], columns[k]
        yield ("+", *a, "+", *b, *c), X[:, i] + X[:, j] + X[:, k]
        yield ("+", "pow2", *a, "+", "pow2", *b, "pow2", *c), X[:, i] ** 2 + X[:, j] ** 2 + X[:, k] ** 2
    for cost, a, v in sorted(arguments(X), key=lambda item: item[0]):
        size = float(np.abs(v).max()) if np.isfinite(v).all() else math.inf
        if not 0.3 < size < 1e4 or a[0] == "+":
            continue
        for half, h in ((a, v), (("div2", *a), v / 2)):
            if oscillates(v):
                yield ("sin", *half), np.sin(h)
                yield ("cos", *half), np.cos(h)
        if size < 100:
            yield ("+", "1.0", *a), 1 + v
            yield ("-", "1.0", *a), 1 - v
        if cost == 1 and size < 100:
            yield ("+", "1.0", "pow2", *a), 1 + v * v
            yield ("-", "1.0", "pow2", *a), 1 - v * v
        if size < 40:
            yield ("-", "exp", *a, "1.0"), np.expm1(v)
            yield ("+", "exp", *a, "1.0"), np.exp(v) + 1
            yield ("tanh", *a), np.tanh(v)
        if v.min() > 0:
            yield ("log", *a), np.log(v)


class Factorisation:
    """The logarithms of |y|, of the columns and of all factors of one problem, on the rows where y is not 0."""

    @np.errstate(all="ignore")
    def __init__(self, problem: Problem, rng: np.random.Generator):
        self.problem, self.rng = problem, rng
        X, y = problem.X, problem.y
        self.ok = y != 0
        self.best = math.inf
        self.polish = Polisher(problem)
        self.columns = [j for j in range(X.shape[1]) if np.ptp(np.abs(X[:, j])) > 0 and (X[:, j] != 0).all()]
        self.features: list[tuple[Base, bool, np.ndarray]] = []  # expression, inside the exponential?, values
        with np.errstate(all="ignore"):
            for base, v in factor_list(X):
                self._add(base, False, v)
            for powers in exponent_vectors(X.shape[1], 80, 3, [j in self.columns for j in range(X.shape[1])]):
                table = {(f"x{j + 1}",): Fraction(e) for j, e in enumerate(powers) if e}
                if table:
                    v = np.prod([X[:, j] ** float(e) for j, e in enumerate(powers) if e], axis=0)
                    self._add(product(table), True, v)
            for i, j in combinations(range(X.shape[1]), 2):
                square, v = ("pow2", "-", f"x{i + 1}", f"x{j + 1}"), (X[:, i] - X[:, j]) ** 2
                self._add(square, True, v)
                for k in set(self.columns) - {i, j}:
                    self._add(("/", *square, f"x{k + 1}"), True, v / X[:, k])
                    self._add(("pow2", "/", *square[1:], f"x{k + 1}"), True, v / X[:, k] ** 2)
            self.log_x = [np.log(np.abs(X[:, j])) for j in self.columns]
            self.log_y = np.where(self.ok, np.log(np.abs(np.where(self.ok, y, 1.0))), 0.0)
        self.features = self.features[:MAX_FEATURES]

    def _add(self, base: Base, inside: bool, v: np.ndarray) -> None:
        """Keep a factor if its logarithm (or itself, inside the exponential) is finite and varies."""
        f = v if inside else np.log(np.abs(v))
        if np.isfinite(f).all() and np.ptp(f) > 1e-9 * np.abs(f).max() and (inside or np.ptp(f) > 1e-3):
            self.features.append((base, inside, f))

    def search(self, weighted: bool, budget: Budget) -> Iterator[list[Candidate]]:
        """Candidates of growing numbers of factors."""
        rows = search_rows(len(self.log_y), self.rng)
        rows = rows[self.ok[rows]]
        weight = np.ones(len(self.log_y))
        if weighted:
            weight = np.maximum(np.abs(self.problem.y) / scale_of(self.problem.y), 1e-3)
        if self.problem.weights is not None:
            weight = weight * np.sqrt(self.problem.weights)
        with np.errstate(all="ignore"):
            forced = np.column_stack([np.ones(len(rows)), *(f[rows] for f in self.log_x)]) * weight[rows, None]
            Q, _ = np.linalg.qr(forced)
            B = np.array([f[rows] for _, _, f in self.features]) * weight[rows]  # (T, n)
            size = np.sqrt((B * B).sum(axis=1))
            B = B - (B @ Q) @ Q.T
            t = (self.log_y * weight)[rows]
            t = t - Q @ (Q.T @ t)
            left = np.sqrt((B * B).sum(axis=1))
            use = np.flatnonzero((left > 1e-6 * size) & (left > 1e-12) & np.isfinite(left))
        if not len(use) or t @ t < 1e-20 * len(t):
            return
        subsets = Subsets(B[use], t)
        found = subsets.singles(8)
        yield self.settle([[int(use[i]) for i in s] for _, s in found[:3]], weight)
        for k in range(2, min(MAX_FACTORS, len(use), len(t) // POINTS_PER_TERM) + 1):
            if budget.over() or self.best < 1e-20:
                return
            if k == 2:
                found = subsets.pairs(14)
            else:
                found = best_subsets(subsets, k, [s for _, s in found[:12]], self.rng)
                found = sorted({*found, *without_each(subsets, [s for _, s in found[:2]], self.rng)})
            yield self.settle([[int(use[i]) for i in s] for _, s in found[:3]], weight)

    # ---- from logarithms to laws ----

    @np.errstate(all="ignore")
    def settle(self, sets, weight: np.ndarray) -> list[Candidate]:
        """Candidates of sets of factors: exponents from all rows, snapped; signs and constant from y."""
        expressions: dict[Base, None] = {}
        for members in sets:
            chosen = [self.features[i] for i in members]
            A = np.column_stack([np.ones(len(self.log_y)), *self.log_x, *(f for _, _, f in chosen)])
            ok = self.ok & np.isfinite(A).all(axis=1)
            Aw, t = A[ok] * weight[ok, None], (self.log_y * weight)[ok]
            scale = np.sqrt((Aw * Aw).sum(axis=0))
            solution = np.linalg.lstsq(Aw / scale, t, rcond=1e-12)[0] / scale
            r = t - Aw @ solution
            sigma = math.sqrt(float(r @ r) / max(1, len(t) - len(solution)))
            inverse = np.linalg.pinv(Aw / scale)
            errors = np.sqrt((inverse * inverse).sum(axis=1)) * sigma / scale
            inside = [False] * (1 + len(self.log_x)) + [flag for _, flag, _ in chosen]
            snapped = self._snap(Aw, t, solution, errors, inside)
            for exponents in [snapped] if snapped is not None else []:
                expressions.update(dict.fromkeys(self._laws(chosen, exponents)))
        candidates = self.polish(measured(self.problem, list(expressions), "library"))
        self.best = min([self.best, *(c.fvu for c in candidates)])
        return candidates

    def _snap(self, A, t, solution, errors, inside):
        """The solution with exponents outside the exponential made fractions and the rest refitted, or None if none is near.

        `solution` (1 + columns + factors,) starts with the logarithm of the constant.
        """
        fixed = {}
        for q in range(1, len(solution)):
            fraction = nearest(solution[q], GRID)
            if inside[q]:
                continue
            if abs(solution[q] - fraction) > max(SNAP, 3 * errors[q]) or abs(fraction) > 8:
                return None
            fixed[q] = float(fraction)
        free = [q for q in range(len(solution)) if q not in fixed]
        goal = t - A[:, list(fixed)] @ np.array(list(fixed.values())) if fixed else t
        exact = np.array(solution, float)
        for q, e in fixed.items():
            exact[q] = e
        exact[free] = np.linalg.lstsq(A[:, free], goal, rcond=1e-13)[0]
        return exact

    def _laws(self, chosen, solution) -> Iterator[Base]:
        """Expressions of one solution: factors with their natural signs, or by their sizes where that fits better."""
        X, y = self.problem.X, self.problem.y
        table: Factors = {}
        values: dict[Base, np.ndarray] = {}
        exponential = []
        parts = [((f"x{j + 1}",), False, X[:, j]) for j in self.columns] + [(b, inside, f) for b, inside, f in chosen]
        signs = dict(zip((b for b, _, _ in chosen), (self._signed(b) for b, _, _ in chosen)))
        with np.errstate(all="ignore"):
            size = np.zeros(len(y))
            for (base, inside, v), e in zip(parts, solution[1:]):
                if inside:
                    exponential.append((near_simple(float(e), 1e-7), {base: Fraction(1)}))
                    size += e * v
                    continue
                fraction = nearest(e, GRID)
                if fraction:
                    table[base] = fraction
                    values[base] = signs[base] if base in signs else v
                    size += float(fraction) * (v if base in signs else np.log(np.abs(v)))
        if exponential:
            table[("exp", *combination(exponential))] = Fraction(1)
        if not np.isfinite(size[self.ok]).all():
            return
        middle = float(np.median(size[self.ok]))
        for sized in self._sign_choices(table, values):
            sign = np.ones(len(y))
            factors: Factors = {}
            for base, e in table.items():
                mixed = base in values and values[base].min() < 0
                odd = mixed and e.denominator % 2 == 1 and e.numerator % 2 == 1 and base not in sized
                if odd:
                    sign = sign * np.sign(values[base])
                factors[
                    base if not mixed or odd or (e.denominator == 1 and e.numerator % 2 == 0) else ("abs", *base)
                ] = e
            with np.errstate(all="ignore"):
                P = sign * np.exp(size - middle)
            if not np.isfinite(P).all():
                continue
            s = scale_of(y)
            c = float(P @ (y / s) / (P @ P))
            log_c = math.log(abs(c)) - middle + math.log(s) if c else -math.inf
            if abs(log_c) > 690:
                continue
            constant = math.copysign(math.exp(log_c), c)
            loss = fvu_of(y / s, c * P)
            body = product(
                factors, lambda base: base[0] in ("abs", "exp") or base in values and values[base].min() >= 0
            )
            for simple in simple_numbers(constant):
                if fvu_of(y / s, c * P * (simple / constant)) <= max(1.5 * loss, loss + 1e-3, 1e-20):
                    yield times(simple, body)
            yield times(constant, body)

    def _signed(self, base: Base) -> np.ndarray:
        """Values of a factor with their sign (the features keep only logarithms)."""
        from fansr.expressions import evaluate

        return evaluate(list(base), self.problem.X)

    def _sign_choices(self, table: Factors, values) -> Iterator[set[Base]]:
        """Which odd factors enter by size only: none, or the smallest sets that put most signs of y right."""
        odd = [
            b for b, e in table.items() if b in values and values[b].min() < 0 and e.denominator % 2 and e.numerator % 2
        ]
        y = np.sign(self.problem.y)
        scored = []
        for count in range(min(len(odd), 6) + 1):
            for sized in combinations(odd, count):
                sign = np.prod([np.sign(values[b]) for b in odd if b not in sized], axis=0) if count < len(odd) else 1.0
                scored.append((-abs(float(np.sum(sign * y))), count, set(sized)))
        yield min(scored, key=lambda item: item[:2])[2]
