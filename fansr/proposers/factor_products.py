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
from fansr.proposers.parts.candidates import proposals
from fansr.proposers.parts.expression_assembly import Base, combination, near_simple, nearest, product, scale_of
from fansr.proposers.parts.inner_scan import values_of
from fansr.proposers.parts.monomials import exponent_vectors, factors_of, values
from fansr.proposers.parts.power_products import LogRegression, power_products
from fansr.proposers.parts.sparse_sums import Subsets, growing
from fansr.proposers.parts.terms import arguments, oscillates, search_rows, thinned

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
    batches = (laws for weighted in (False, True) if factors.features for laws in factors.search(weighted))
    yield from proposals(problem, "library", batches, budget, exact=1e-20)


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
        D = X.shape[1]
        self.ok = y != 0
        self.columns = [j for j in range(D) if np.ptp(np.abs(X[:, j])) > 0 and (X[:, j] != 0).all()]
        self.log_x = [np.log(np.abs(X[:, j])) for j in self.columns]
        self.log_y = np.log(np.abs(np.where(self.ok, y, 1.0)))
        # (expression, inside the exponential?, values inside it or logarithms)
        found = [(base, False, np.log(np.abs(v))) for base, v in factor_list(X)]
        vectors = exponent_vectors(D, 80, 3, [j in self.columns for j in range(D)])[1:]
        found += [(product(factors_of(v)), True, f) for v, f in zip(vectors, values(X, vectors).T)]
        for i, j in combinations(range(D), 2):
            difference, v = ("-", f"x{i + 1}", f"x{j + 1}"), X[:, i] - X[:, j]
            found.append((("pow2", *difference), True, v * v))
            for k in set(self.columns) - {i, j}:
                found.append((("/", "pow2", *difference, f"x{k + 1}"), True, v * v / X[:, k]))
                found.append((("pow2", "/", *difference, f"x{k + 1}"), True, (v / X[:, k]) ** 2))
        self.features = [
            (base, inside, f)
            for base, inside, f in found
            if np.isfinite(f).all() and np.ptp(f) > 1e-9 * np.abs(f).max() and (inside or np.ptp(f) > 1e-3)
        ][:MAX_FEATURES]

    def search(self, weighted: bool) -> Iterator[list[Base]]:
        """Laws of growing numbers of factors."""
        rows = search_rows(len(self.log_y), self.rng)
        rows = rows[self.ok[rows]]
        weight = np.ones(len(self.log_y)) if self.problem.weights is None else np.sqrt(self.problem.weights)
        if weighted:
            weight = weight * np.maximum(np.abs(self.problem.y) / scale_of(self.problem.y), 1e-3)
        with np.errstate(all="ignore"):
            # The constant and the columns always take part: what they explain is taken off beforehand.
            Q, _ = np.linalg.qr(
                np.column_stack([np.ones(len(rows)), *(f[rows] for f in self.log_x)]) * weight[rows, None]
            )
            B = np.array([f[rows] for _, _, f in self.features]) * weight[rows]  # (T, n)
            size = np.sqrt((B * B).sum(axis=1))
            B = B - (B @ Q) @ Q.T
            t = (self.log_y * weight)[rows]
            t = t - Q @ (Q.T @ t)
            left = np.sqrt((B * B).sum(axis=1))
            use = np.flatnonzero((left > 1e-6 * size) & (left > 1e-12) & np.isfinite(left))
        if not len(use) or t @ t < 1e-20 * len(t):
            return
        for found in growing(Subsets(B[use], t), min(MAX_FACTORS, len(t) // POINTS_PER_TERM), self.rng):
            laws = [law for _, members in found[:3] for law in self.laws(use[list(members)], weight)]
            yield list(dict.fromkeys(laws))

    def laws(self, members, weight: np.ndarray) -> list[Base]:
        """Laws of a set of factors: exponents from all rows, fractions outside the exponential; none where no fraction is near."""
        X = self.problem.X
        chosen = [self.features[i] for i in members]
        inside = [False] * len(self.columns) + [flag for _, flag, _ in chosen]
        F = np.column_stack([*self.log_x, *(f for _, _, f in chosen)])
        fit = LogRegression(F[self.ok], self.log_y[self.ok], weight[self.ok])
        e, errors, _ = fit.solve()
        held = {k: nearest(e[k], GRID) for k in range(len(e)) if not inside[k]}
        if any(abs(e[k] - fraction) > max(SNAP, 3 * errors[k]) or abs(fraction) > 8 for k, fraction in held.items()):
            return []
        e, _, _ = fit.solve({k: float(fraction) for k, fraction in held.items()})
        bases = [(f"x{j + 1}",) for j in self.columns] + [base for base, _, _ in chosen]
        factors = [
            (base, values_of({base: Fraction(1)}, X), held[k]) for k, base in enumerate(bases) if k in held and held[k]
        ]
        terms = [(near_simple(float(e[k]), 1e-7), {base: Fraction(1)}) for k, base in enumerate(bases) if inside[k]]
        exponential = (combination(terms), F[:, inside] @ e[inside]) if terms else None
        return power_products(self.problem.y, self.problem.weights, factors, exponential)
