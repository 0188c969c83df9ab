"""Laws of a plain part and a composite one, y = front * g(S) or y = plain sum + g(S): a proposer that calls the others, and itself.

The plain part is found whatever g is (parts/plain_parts.py) and taken away; what is left has one to three columns, or one
column that is a product of several, and goes to the quick proposers and to this one again.  What they find is put back and
polished whole; measured on the whole problem it stands or falls.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers import (
    few_term_sums,
    inner_constants,
    library_sums,
    one_column_curves,
    outer_constant,
    power,
    rational,
    separable,
)
from fansr.proposers.parts import plain_parts, reductions as cut, wave_columns
from fansr.proposers.parts.candidates import measured, proposals
from fansr.proposers.parts.expression_assembly import Base
from fansr.proposers.parts.reductions import Reduction
from fansr.proposers.parts.target_transforms import OUTER
from fansr.proposers.parts.terms import thinned

MIN_ROWS = 24
MOST_COLUMNS = 8
KEPT = 4  # smaller problems that are solved
VIEWS = ("y", "sqrt", "1/y", "exp", "square")  # functions undone on one column
LIKELY = 0.02  # share of the spread left open up to which a smaller problem is followed
GOOD = 0.05  # share of the spread that a curve may leave
COLUMN, TOKEN = 0.5, 0.1
FIRST_LOOK = 0.1  # seconds that the fronts, which leave exact tables, may take in one turn
SOURCE = "composite"


def _one_column(second: bool) -> cut.Solver:
    """The curves of one column, of y itself and of y under each of a few functions; or of two terms, which takes longer."""

    def solver(problem: Problem, floor: float, budget: Budget, rng) -> Iterator[list[Candidate]]:
        for name in () if problem.X.shape[1] != 1 else VIEWS[:1] if second else VIEWS:
            undone = cut.without_function(problem, OUTER[name]) if name != "y" else None
            if undone is None and name != "y":
                continue
            y = problem.y if undone is None else undone.problems[0].y
            found = one_column_curves.curves(problem.X[:, 0], y, problem.weights, floor, second=second)
            laws = [law if undone is None else undone.restore(law) for share, law in found if share < GOOD]
            yield measured(problem, laws, "curves")

    return solver


def _again(problem: Problem, floor: float, budget: Budget, rng) -> Iterator[list[Candidate]]:
    """This proposer on a smaller problem; each time it has fewer columns, or none that is far from zero."""
    if problem.X.shape[1] > 1:
        yield from propose(problem, budget, rng)


FRONTS = (plain_parts.fronts, plain_parts.monomial_fronts)
SUMMANDS = (plain_parts.summands, plain_parts.monomial_summands)
WAVES = (wave_columns.wave_columns,)
QUICKEST: list[cut.Solver] = [cut.asked(power.propose), _one_column(False)]
SOLVERS: list[cut.Solver] = [
    _one_column(True),
    cut.asked(few_term_sums.propose), cut.asked(rational.propose), _again, cut.asked(separable.propose),
    cut.asked(outer_constant.propose), cut.asked(library_sums.propose_quickly), cut.asked(inner_constants.propose),
]  # fmt: skip
SHIFTED = [*QUICKEST, *SOLVERS]


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of smaller problems put back together; FVUs on the problem's rows (thinned to some thousands).

    Bounded by counts; with a clock it ends when the budget is over.
    """
    problem = thinned(problem, rng)
    M, D = problem.X.shape
    if M < MIN_ROWS or not 2 <= D <= MOST_COLUMNS or not np.ptp(problem.y) > 0:
        return
    yield from proposals(problem, SOURCE, _batches(problem, budget, rng), budget, 4, 3.0)


def _batches(problem: Problem, budget: Budget, rng: np.random.Generator) -> Iterator[list[Base]]:
    """Laws put back together: fronts, which leave exact tables, are looked at by the quickest before sums are tried."""
    nearer = plain_parts.shifted(problem)
    if nearer is not None:
        yield from cut.solve([nearer], SHIFTED, budget, rng)
    sample = plain_parts.Sample(problem)
    found: list[Reduction] = []
    begun = time.monotonic()
    for kinds, solvers in ((FRONTS, QUICKEST), (WAVES, [*QUICKEST, *SOLVERS[1:4]]), (SUMMANDS, QUICKEST)):
        new: list[Reduction] = []
        for reduction in (reduction for kind in kinds for reduction in kind(problem, sample)):
            if reduction is not None:
                new.append(reduction)
            elif kinds is not FRONTS or time.monotonic() - begun > FIRST_LOOK:
                begun = time.monotonic()
                yield []
            if budget.over():
                return
        new = sorted((reduction for reduction in new if reduction.error < LIKELY), key=_rank)[:KEPT]
        laws = cut.solve(new, solvers, budget, rng)
        yield from [[law for some in laws for law in some]] if kinds is FRONTS else laws
        found += new
    yield from cut.solve(sorted(found, key=_rank)[:KEPT], SOLVERS, budget, rng)


def _rank(reduction: Reduction) -> float:
    """Decades of what is left unexplained, and a price for columns and for what is put in front or beside."""
    tokens = len(reduction.restore(("x1",)))
    return math.log10(max(reduction.error, 1e-13)) + COLUMN * reduction.problems[0].X.shape[1] + TOKEN * tokens
