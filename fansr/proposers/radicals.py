"""Roots inside sums inside roots: y = front * (A +- c P^(1/q))^power, A and P sums of products of powers; a proposer.

With S = (y / front)^(1 / power), (S - A)^q = c^q P says S^q = q A S^(q-1) - ... : linear in unknown coefficients of
monomials times powers of S.  So A's terms are read off the exact least-squares solution over all monomials at once, P is
(S - A)^q, a plain table again, and its terms are found the same way.  As rational.py, for exact tables only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.assembly import (
    Base,
    Factors,
    Polisher,
    Term,
    collected,
    combination,
    measured,
    product,
    times,
)
from fansr.proposers.parts.terms import thinned
from fansr.proposers.power import scale_of
from fansr.proposers.rational import distinct_columns, monomials, short_sum

ROWS = 700  # points the systems use
MOST_COLUMNS, SHARE = 5, 0.85  # unknowns for each point
EXACT, NEAR = 1e-20, 1e-9  # FVU of a law found; squared residual of a system worth a closer look
FEW = 16  # values of a column that make its powers sums of each other
KEPT = 6  # terms of A or P at most


class View(NamedTuple):
    """S (n,) with y = front * S ** power; front a factor table."""

    S: np.ndarray
    power: Fraction
    front: Factors


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates under every view, square roots before cube roots; [] after each that has none.  Bounded by counts."""
    problem = thinned(problem, rng)
    columns = [j for j in distinct_columns(problem.X) if len(np.unique(problem.X[:, j])) > FEW]
    positive = (problem.X[:, columns] > 0).all()
    if len(problem.y) < 40 or not 0 < len(columns) <= MOST_COLUMNS or not positive or not np.ptp(problem.y) > 0:
        return
    rows = np.sort(rng.permutation(len(problem.y))[:ROWS])
    scale = problem.X[:, columns].max(axis=0)
    U = problem.X[np.ix_(rows, columns)] / scale
    names = [f"x{j + 1}" for j in columns]
    polish = Polisher(problem)
    for q in (2, 3):
        bases = Bases(U, scale, names, q)
        for view in views(problem.X[rows], problem.y[rows], columns):
            if budget.over():
                return
            laws = bases.laws(view)
            found = polish(measured(problem, laws, "radicals"), 3, 30.0) if laws else []
            yield found
            if any(c.fvu < EXACT for c in found):
                return


@np.errstate(all="ignore")
def views(X: np.ndarray, y: np.ndarray, columns: list[int]) -> list[View]:
    """y and its square and their inverses, each also with one column in front."""
    found = []
    fronts: list[tuple[Factors, np.ndarray]] = [({}, np.ones(len(y)))]
    fronts += [({(f"x{j + 1}",): Fraction(1)}, X[:, j]) for j in columns]
    for power in (Fraction(1, 2), Fraction(-1, 2), Fraction(1), Fraction(-1)):
        if power.denominator == 2 and not (y > 0).all():
            continue
        for table, v in fronts:
            S = (y / v) ** float(1 / power)
            if np.isfinite(S).all() and np.ptp(S) > 1e-9 * np.abs(S).max() > 0:
                found.append(View(S, power, table))
    return found


class Bases:
    """The monomials of A, of A^2 (and A^3) and of P over one table's columns, in whole powers and in roots."""

    def __init__(self, U: np.ndarray, scale: np.ndarray, names: list[str], q: int):
        self.U, self.names, self.q = U, names, q
        self.log_scale = np.log(scale)
        n, D = U.shape
        whole = [[tuple(2 * e for e in v) for v in monomials(D, 2 * k)] for k in range(1, q + 1)]  # in half powers
        roots = [v for v in monomials(D, 4) if v not in set(whole[-1])]
        self.vectors = [*whole[:-1], [*whole[-1], *roots]]
        room = int(SHARE * n) - sum(map(len, whole[:-1]))
        self.vectors[-1] = sorted(self.vectors[-1], key=lambda v: (sum(v), v))[: max(0, room)]
        self.values = [self._values(vectors) for vectors in self.vectors]

    def _values(self, vectors) -> np.ndarray:
        return (
            np.column_stack([np.prod(self.U ** (np.array(v) / 2), axis=1) for v in vectors])
            if vectors
            else np.zeros((len(self.U), 0))
        )

    @np.errstate(all="ignore")
    def laws(self, view: View) -> list[Base]:
        """Laws of one view: A from the whole system, then P."""
        q, scale = self.q, scale_of(view.S)
        S = view.S / scale
        if not self.vectors[-1]:
            return []
        blocks = [values * S[:, None] ** (q - 1 - k) for k, values in enumerate(self.values)]
        first = self.vectors[0]
        A = self._read_off(blocks, S**q, len(first))
        if A is None:
            return []
        kept, c = A
        a = self.values[0][:, kept] @ c / q
        P = (S - a) ** q
        sign = float(np.sign(np.median(S - a)))
        if not np.isfinite(P).all() or not P.std() > 1e-12:
            return []
        inner = self._read_off([self.values[-1]], P, len(self.vectors[-1]))
        if inner is None:
            return []
        p_kept, p = inner
        above = self._terms([first[i] for i in kept], c / q)
        below = self._terms([self.vectors[-1][i] for i in p_kept], p)
        return list(self._written(view, scale, above, below, sign))

    def _read_off(self, blocks, goal: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray] | None:
        """(which of the first `count` unknowns, their values) of the exact solution; None where it is not exact and sparse."""
        B = np.hstack(blocks)
        size = np.sqrt((B * B).mean(axis=0))
        keep = np.flatnonzero(size > 0)
        t = goal / np.sqrt(np.mean(goal**2))
        for faint in (1e-6, 1e-5, 1e-4):
            c = np.linalg.lstsq(B[:, keep] / size[keep], t, rcond=1e-14)[0]
            r = t - (B[:, keep] / size[keep]) @ c
            if not float(r @ r) / len(t) < NEAR * (1 - len(keep) / len(t)):
                return None
            keep, c = keep[np.abs(c) > faint], c[np.abs(c) > faint]
        own = keep < count
        if not 0 < own.sum() <= KEPT or len(keep) > 5 * KEPT:
            return None
        c = np.linalg.lstsq(B[:, keep] / size[keep], t, rcond=1e-14)[0] / size[keep] * np.sqrt(np.mean(goal**2))
        return keep[own], c[own]

    def _terms(self, vectors, c) -> list[Term]:
        """Terms in the columns' own units."""
        found = []
        for v, value in zip(vectors, c):
            log = math.log(abs(value)) - float(np.dot(np.array(v) / 2, self.log_scale))
            factors = {(name,): Fraction(e, 2) for name, e in zip(self.names, v) if e}
            found.append((math.copysign(math.exp(min(600.0, max(-600.0, log))), value), factors))
        return collected(found)

    def _written(self, view: View, scale: float, above: list[Term], below: list[Term], sign: float) -> Iterator[Base]:
        """front * (scale * (A +- P^(1/q)))^power, with the scale taken in where that leaves simple coefficients."""
        # (scale (A + P^(1/q)))^power = (A' + (scale^q P)^(1/q))^power
        if abs(self.q * math.log(scale)) > 600:
            return
        A = [(scale * c, f) for c, f in above]
        inside = [(scale**self.q * c, f) for c, f in below]
        if not all(math.isfinite(c) and c != 0 for c, _ in (*A, *inside)):
            return
        lead = inside[0][0]  # one number before the root rather than one before every term in it
        forms = [combination(inside, Fraction(1, self.q), None)]
        if lead > 0 or self.q % 2:
            root = product({short_sum([(c / lead, f) for c, f in inside]): Fraction(1, self.q)}, lambda base: False)
            forms.append(times(math.copysign(abs(lead) ** (1 / self.q), lead), root))
        for root in sorted(forms, key=len):
            root = root if sign > 0 or self.q % 2 else ("neg", *root)
            inner = ("+", *short_sum(A), *root)
            yield product({**view.front, inner: view.power}, lambda base: False)
