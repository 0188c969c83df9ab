"""Sums and differences of two or three power laws of many columns, f(y) = sum_k +-c_k prod_j x_j^e_kj: a proposer.

    x6 / (x4^2*x2/x1 + x3*x5/sqrt(x1)),    sqrt(a^2*b/c + d*e),    x4*(x3^2/(x2*sqrt(x1)) + x3/x2 + x3/x1)

Which sum of monomials a table is, few_term_sums.py chooses from a list, and of six columns no list holds all monomials of
degree four, let alone their roots.  Here the exponents are free and fitted: with S = f(y) and L = log x the terms are
exp(a_k L), whose sum has a simple gradient, and a few dozen starts descend at once (Levenberg and Marquardt, all in one batch
of small systems).  A start deals the rows into as many parts as there are terms, by a random direction in log x, and gives
each part its own power law; for a difference one term is drawn and the other is the power law nearest to S and it.  Where a
descent ends near fractions for exponents they are set to them, and the coefficients are linear.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.candidates import proposals
from fansr.proposers.parts.expression_assembly import Base, nearest
from fansr.proposers.parts.monomials import factors_of
from fansr.proposers.parts.target_transforms import OUTER, View, negated, view_of
from fansr.proposers.parts.terms import thinned

MIN_ROWS, ROWS = 24, 160
COLUMNS = (2, 8)
OUTERS = {2: ("y", "1/y", "sqrt", "square", "1/sqrt", "exp"), 3: ("y", "1/y", "sqrt")}  # by the number of terms
SIGNS = ((1, 1), (1, -1), (1, 1, 1), (1, 1, -1), (1, -1, -1))
STARTS, KEPT = {2: 16, 3: 40}, 4
FIRST, LAST, SETTLING = {2: 10, 3: 20}, {2: 30, 3: 80}, 15  # steps of all starts, of those kept, between exponents set
WEAK = 0.4  # share of starts for sums in which one term is nearly everything
CLOSE = 0.03  # share left from which exponents are looked at
SNAP, FAR = 0.03, 0.25  # how near a fraction exponents are set at once, and at all
NEARLY = 1e-6  # share left from which they are set though none is near
RISE = 30.0  # times what was left before one was set: then it was none
GRIDS = ((1,), (1, 2), (1, 2, 3))
LARGEST = 8
EXACT = 1e-20


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of two and of three terms under some outer functions; FVUs on the problem's rows (thinned to some thousands).

    Bounded by counts; with a clock it ends when the budget is over.
    """
    problem = thinned(problem, rng)
    X = problem.X
    columns = [j for j, v in enumerate(X.T) if v.min() > 0 and np.ptp(v) > 1e-9 * v.max()]
    whole = [j for j, v in enumerate(X.T) if np.ptp(v) > 0]
    if (
        len(X) < MIN_ROWS
        or columns != whole
        or not COLUMNS[0] <= len(columns) <= COLUMNS[1]
        or not np.ptp(problem.y) > 0
    ):
        return
    yield from proposals(problem, "signomials", _batches(problem, columns, rng), budget, 2, 3.0, EXACT)


def _batches(problem: Problem, columns: list[int], rng: np.random.Generator) -> Iterator[list[Base]]:
    logs = np.log(problem.X[:, columns])
    middle = logs.mean(axis=0)
    logs = logs - middle
    for most in OUTERS:
        for name in OUTERS[most]:
            view = view_of(problem.y, OUTER[name], unit=1.0)
            if view is None or not view.ok.all():
                continue
            rows = np.unique(np.linspace(0, len(view.S) - 1, ROWS).astype(int))
            for signs in SIGNS:
                if len(signs) == most and 2 * most * (len(columns) + 1) <= len(rows):
                    descent = Descent(logs[rows], view.S[rows], signs)
                    settled = [e for a in descent.found(rng) for e in descent.settled(a)]
                    yield list(dict.fromkeys(_law(view, logs, middle, columns, e) for e in settled))


class Descent:
    """S (n,) as a sum of power laws with given signs, `logs` (n, D) of the columns; exponents are (K, 1 + D), constants first."""

    def __init__(self, logs: np.ndarray, S: np.ndarray, signs: tuple[int, ...]):
        self.S = S if S.max() > 0 else -S
        self.size = float(np.median(np.abs(S)))
        self.L = np.column_stack([np.ones(len(S)), logs])
        self.signs = np.array(signs, float)
        self.w = 1 / np.sqrt(S * S + (0.3 * self.size) ** 2)
        self.whole = float(np.sum((self.w * (self.S - np.average(self.S, weights=self.w**2))) ** 2))
        self.possible = self.S.min() > 0 or min(signs) < 0

    @np.errstate(all="ignore")
    def found(self, rng: np.random.Generator) -> list[np.ndarray]:
        """Exponents where descents ended well, the best first."""
        if not self.possible or not self.size > 0:
            return []
        K = len(self.signs)
        a, cost = self.steps(np.array([self._start(rng) for _ in range(STARTS[K])]), FIRST[K])
        a, cost = self.steps(a[np.argsort(cost, kind="stable")[:KEPT]], LAST[K])
        order = np.argsort(cost, kind="stable")
        best = cost[order[0]]
        return [a[i] for i in order[:2] if cost[i] < CLOSE * self.whole and cost[i] <= 10 * best + 1e-20]

    def settled(self, a: np.ndarray) -> Iterator[tuple[tuple, ...]]:
        """Fractions for a descent's exponents: set a few at a time, the nearest first, the others fitted again in between."""
        least = float(self._misfit(a[None])[2][0]) + 1e-18 * self.whole
        for grid in GRIDS:
            e, free = a.copy(), np.ones(a.shape, bool)
            free[:, 0] = False
            apart = max(abs(v - nearest(v, grid)) for v in a[:, 1:].flat)
            if least > NEARLY * self.whole and apart > 4 * SNAP:
                continue
            while free.any():
                target = np.array([[float(nearest(v, grid)) for v in row] for row in e])
                apart = np.where(free, np.abs(e - target), np.inf)
                if apart.min() > FAR or np.abs(target[free]).max() > LARGEST:
                    break
                now = free & (apart <= max(SNAP, float(apart.min())))
                e[now], free = target[now], free & ~now
                if free.any():
                    held = free.copy()
                    held[:, 0] = True
                    e, cost = (v[0] for v in self.steps(e[None], SETTLING, held))
                    if cost > RISE * least:
                        break
            else:
                terms = tuple(tuple(nearest(v, grid) for v in row[1:]) for row in e)
                if len(set(terms)) == len(terms):
                    yield terms

    def _start(self, rng: np.random.Generator) -> np.ndarray:
        """A power law for each of as many parts of the rows; or drawn ones beside the power law of all rows, or of what they leave."""
        L, S, K = self.L, self.S, len(self.signs)
        if (
            min(self.signs) > 0 and rng.random() < WEAK
        ):  # one term rules everywhere, and the others are small and anyhow
            rough = math.log(self.size) - rng.uniform(1, 6, K)
            drawn = np.column_stack([rough, rng.integers(-1, 2, (K, L.shape[1] - 1))]).astype(float)
            drawn[0] = _power_law(L, np.log(S))
            return drawn
        if min(self.signs) > 0:
            along = L[:, 1:] / L[:, 1:].std(axis=0) @ rng.normal(size=L.shape[1] - 1)
            part = np.searchsorted(np.quantile(along, np.arange(1, K) / K), along)
            return np.array([_power_law(L[part == k], np.log(S[part == k])) for k in range(K)])
        sizes = math.log(self.size) + rng.normal(0, 1, K)
        drawn = np.column_stack([sizes, rng.integers(-1, 2, (K, L.shape[1] - 1))]).astype(float)
        rest = S - np.exp(L @ drawn[1:].T) @ self.signs[1:]
        good = rest > 0
        if good.sum() > L.shape[1]:
            drawn[0] = _power_law(L[good], np.log(rest[good]))
        return drawn

    @np.errstate(all="ignore")
    def steps(self, a: np.ndarray, count: int, free: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Exponents (B, K, P) after some steps of Levenberg and Marquardt, and the weighted squares that they leave (B,).

        free (K, P): which may move.
        """
        (B, K, P), n = a.shape, len(self.S)
        one, damping = np.eye(K * P), np.full(B, 1e-2)
        E, r, cost = self._misfit(a)
        for _ in range(count):
            J = (self.w * self.signs[:, None] * E)[..., None] * self.L  # (B, K, n, P)
            if free is not None:
                J = J * free[:, None, :]
            J = J.transpose(0, 2, 1, 3).reshape(B, n, K * P)
            G, g = J.transpose(0, 2, 1) @ J, np.einsum("bnp,bn->bp", J, r)
            diagonal = np.einsum("bii->bi", G)
            ridge = damping[:, None] * diagonal + 1e-12 * diagonal.max(axis=1, keepdims=True) + 1e-300
            H = G + ridge[:, :, None] * one
            sane = np.isfinite(H).all(axis=(1, 2)) & np.isfinite(g).all(axis=1)
            H, g = np.where(sane[:, None, None], H, one), np.where(sane[:, None], g, 0.0)
            step = np.clip(np.linalg.solve(H, g[:, :, None])[:, :, 0], -2.0, 2.0).reshape(B, K, P)
            tried = self._misfit(a + step)
            better = tried[2] < cost
            a = np.where(better[:, None, None], a + step, a)
            E = np.where(better[:, None, None], tried[0], E)
            r, cost = np.where(better[:, None], tried[1], r), np.where(better, tried[2], cost)
            damping = np.where(better, np.maximum(damping * 0.2, 1e-12), np.minimum(damping * 5, 1e6))
            if cost.min() < 1e-26 * n:
                break
        return a, cost

    def _misfit(self, a: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Terms (B, K, n), weighted residuals (B, n), their squares (B,)."""
        E = np.exp(np.clip(a @ self.L.T, -60, 60))
        r = self.w * (self.S - np.einsum("k,bkn->bn", self.signs, E))
        return E, r, np.einsum("bn,bn->b", r, r)


def _power_law(L: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Least squares, held towards small exponents: a part of the rows may be few."""
    G = L.T @ L
    G[np.diag_indices_from(G)] += 1e-3 * len(L)
    return np.linalg.solve(G, L.T @ t)


@np.errstate(all="ignore")
def _law(view: View, logs: np.ndarray, middle: np.ndarray, columns: list[int], terms: tuple[tuple, ...]) -> Base:
    """The law with these exponents, its coefficients by least squares."""
    e = np.array(terms, float)
    c = np.linalg.lstsq(np.exp(logs @ e.T), view.S, rcond=1e-12)[0] * np.exp(-(e @ middle))
    above = [
        (float(v), factors_of(fractions, columns=columns)) for v, fractions in zip(c, terms) if v and math.isfinite(v)
    ]
    law = view.outer.law_of_terms(above, [], {}, lambda base: True) if above else ("0.0",)
    return negated(law) if view.sign < 0 else law
