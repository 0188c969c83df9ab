"""Candidates from expressions with literals: their constants freed, measured on a problem, the promising ones polished."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from fansr.expressions import CONSTANT, free
from fansr.fitting import Budget, Candidate, Problem

NO_NUMBERS = frozenset(("inf", "-inf", "nan"))  # literals of coefficients that overflowed


def finish(expr: Sequence[str], source: str, fvu: float = math.inf) -> Candidate:
    """A candidate whose literals have become free constants with their values."""
    freed, values = free(list(expr))
    return Candidate(expr=freed, consts=np.array(values, dtype=np.float64), fvu=fvu, source=source)


@np.errstate(all="ignore")
def fvu_of(y: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Fraction of variance unexplained (equation 8), weighted if asked; infinite where a value is not finite.

    y and values are scaled by max|y| first, so that 1e200 does not overflow.  A constant y counts as fully explained by
    values equal to it to rounding, else not at all.
    """
    if not np.isfinite(values).all():
        return math.inf
    scale = float(np.abs(y).max()) or 1.0
    w = np.ones_like(y) if weights is None else weights
    with np.errstate(over="ignore"):
        residual = float(w @ (y / scale - values / scale) ** 2)
    centre = float(w @ (y / scale)) / float(w.sum())
    variance = float(w @ (y / scale - centre) ** 2)
    if variance == 0.0:
        return 0.0 if residual <= 1e-28 * float(w.sum()) else math.inf
    return residual / variance if math.isfinite(residual) else math.inf


def measured(problem: Problem, exprs, source: str) -> list[Candidate]:
    """Candidates of expressions with literals, with their FVU on all points; the hopeless are left out."""
    from fansr.expressions import evaluate_many

    found = [finish(expr, source) for expr in exprs if len(expr) < 1000 and NO_NUMBERS.isdisjoint(expr)]
    if not found:
        return []
    values = evaluate_many([c.expr for c in found], problem.X, [c.consts for c in found])  # (K, M)
    for candidate, row in zip(found, values):
        candidate.fvu = fvu_of(problem.y, row, problem.weights)
    return [candidate for candidate in found if candidate.fvu < math.inf]


class Polisher:
    """Refits the promising of many candidates to y itself: regressions in transformed targets weigh errors their own way."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self.refiner = None
        self.best = math.inf

    def __call__(self, candidates: list[Candidate], count: int = 2, margin: float = 1.0) -> list[Candidate]:
        """The same candidates, up to `count` of them polished: those within `margin` of the best score seen, if inexact."""
        candidates = sorted(candidates, key=rough_score)
        for candidate in candidates[:count]:
            held = candidate.consts == 1.0  # constants that are exactly 1 belong to its form and stay
            hopeful = rough_score(candidate) < self.best + margin and candidate.fvu > 1e-20
            if hopeful and not held.all() and len(held) <= min(12, len(self.problem.y) - 1):
                if self.refiner is None:
                    from fansr.fitting import Refiner

                    self.refiner = Refiner(self.problem.X, self.problem.y, weights=self.problem.weights)
                ones = iter(held)
                expr = ["1.0" if token == CONSTANT and next(ones) else token for token in candidate.expr]
                fvu, consts = self.refiner.polish(expr, candidate.consts[~held])
                if fvu < candidate.fvu:
                    candidate.fvu, candidate.consts[~held] = float(fvu), consts
            self.best = min(self.best, rough_score(candidate))
        return candidates


def proposals(
    problem: Problem,
    source: str,
    batches: Iterable[Iterable[Sequence[str]]],
    budget: Budget,
    count: int = 2,
    margin: float = 1.0,
    exact: float = 1e-22,
    worst: float = math.inf,
) -> Iterator[list[Candidate]]:
    """Candidates of one batch of laws after the other, up to `count` of each polished, those with FVUs above `worst` left out.

    It ends with the budget, or where a law's FVU is below `exact`.
    """
    polish = Polisher(problem)
    for laws in batches:
        found = polish(measured(problem, laws, source), count, margin)
        yield [c for c in found if c.fvu < worst]
        if budget.over() or any(c.fvu < exact for c in found):
            return


def rough_score(candidate: Candidate, floor: float = 0.0) -> float:
    """Equation 3's order among a proposer's own candidates; FVUs below the floor cannot be told apart."""
    return math.log10(max(candidate.fvu, floor, 1e-26)) + 0.05 * candidate.length
