"""Problems made smaller: what the smaller ones are, how their laws make one of the larger, and what that promises.

A *reduction* of a problem comes from a function problem -> iterator of Reduction (None while it is at work).  Reductions
follow one another with `then`; `solve` asks the other proposers about what is left and puts their answers back.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, product as every
from typing import NamedTuple

import numpy as np

from fansr.expressions import Expr, bind, variable_index
from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.candidates import rough_score
from fansr.proposers.parts.expression_assembly import ONE, Base, Factors, merged, product, times
from fansr.proposers.parts.target_transforms import Outer, negated, view_of

KEPT, NEAR, SOLVED = 4, 0.5, -20.0  # answers of a batch; how far behind the best score; the score of an exact law
COMBINED = 24  # combinations of the answers to several problems


class Reduction(NamedTuple):
    """Problems smaller than one larger; `restore` makes one law of the larger problem of one law of each.

    `error` is the share of the larger target's spread that no laws of the smaller may explain, as a surrogate says;
    `floors` the same for each problem: laws that err less cannot be told apart there.
    """

    problems: tuple[Problem, ...]
    restore: Callable[..., Base]
    error: float = math.inf
    floors: tuple[float, ...] = (0.0,)

    def then(self, smaller: Reduction) -> Reduction:
        """This reduction, which must be to one problem, and that problem reduced by the other."""
        return smaller._replace(restore=lambda *laws: self.restore(smaller.restore(*laws)))


Solver = Callable[[Problem, float, Budget, np.random.Generator], Iterable[list[Candidate]]]


def asked(propose: Callable) -> Solver:
    """A proposer as a solver: what can be told apart is nothing to it."""
    return lambda problem, floor, budget, rng: propose(problem, budget, rng)


# ---- kinds of reductions ----------------------------------------------------------------------


def in_columns(
    problem: Problem,
    columns: Sequence[tuple[Base, np.ndarray]],
    y: np.ndarray | None = None,
    outside: Callable[[Base], Base] = lambda law: law,
) -> Reduction:
    """The problem in other columns, (expression, values (M,)) each, and of another target that `outside` makes y again.

    The smaller problem's names are its columns' expressions, in the columns of the problem it comes from.
    """
    bases = [base for base, _ in columns]
    X = np.column_stack([v for _, v in columns]) if columns else np.zeros((len(problem.y), 0))
    names = [" ".join(base) for base in bases]
    smaller = Problem(X=X, y=problem.y if y is None else y, names=names, weights=problem.weights)
    return Reduction((smaller,), lambda law: outside(written(law, bases)))


def columns_of(problem: Problem, kept: Iterable[int]) -> list[tuple[Base, np.ndarray]]:
    """Some of a problem's columns as `in_columns` wants them."""
    return [((f"x{j + 1}",), np.ascontiguousarray(problem.X[:, j])) for j in kept]


def without_front(problem: Problem, kept: Iterable[int], front: Factors, values: np.ndarray) -> Reduction:
    """y divided by a product of powers, in some of the columns."""
    return in_columns(
        problem,
        columns_of(problem, kept),
        problem.y / values,
        lambda law: product(merged(front, {law: ONE}), lambda base: False) or ("1.0",),
    )


def without_summand(problem: Problem, kept: Iterable[int], c: float, term: Factors, values: np.ndarray) -> Reduction:
    """y less c times a product of powers, in some of the columns."""
    added = times(c, product(term, lambda base: False))
    return in_columns(problem, columns_of(problem, kept), problem.y - c * values, lambda law: ("+", *law, *added))


def without_function(problem: Problem, outer: Outer) -> Reduction | None:
    """y = outer(S) or -outer(S) as a problem of S; None where a row has no S."""
    view = view_of(problem.y, outer, unit=1.0)
    if view is None or not view.ok.all():
        return None
    put = (lambda law: negated(outer.law(law))) if view.sign < 0 else outer.law
    return in_columns(problem, columns_of(problem, range(problem.X.shape[1])), view.S, put)


def written(law: Iterable[str], columns: Sequence[Base]) -> Base:
    """The law with its columns x1, x2, ... replaced by expressions."""
    places = ((token, variable_index(token)) for token in law)
    return tuple(t for token, j in places for t in ((token,) if j is None else columns[j]))


# ---- solving ----------------------------------------------------------------------------------


def solve(
    reductions: Sequence[Reduction],
    solvers: Iterable[Solver],
    budget: Budget,
    rng: np.random.Generator,
    hopeful: Callable[[Reduction], bool] = lambda reduction: True,
) -> Iterator[list[Base]]:
    """Laws of the larger problem from the solvers' answers to the smaller ones, the promising of each batch.

    Each solver is asked about all reductions before the next is, so the quick ones come first: a problem cut down rightly
    is an easy one.  It ends where an answer is exact.  A solver may reduce its problem again: to this loop it is one that
    proposes candidates.
    """
    best = [math.inf] * len(reductions)
    for solver in solvers:
        for number, reduction in enumerate(reductions):
            if not hopeful(reduction):
                continue
            if len(reduction.problems) > 1:
                yield from _combined(reduction, solver, budget, rng)
                continue
            for batch in solver(reduction.problems[0], reduction.floors[0], budget, rng):
                batch = sorted(batch, key=rough_score)[:KEPT]
                keep = [c for c in batch if rough_score(c) < best[number] + NEAR]
                best[number] = min([best[number], *map(rough_score, keep)])
                yield [reduction.restore(law_of(c)) for c in keep]
                if best[number] < SOLVED:
                    return


def _combined(reduction: Reduction, solver: Solver, budget: Budget, rng) -> Iterator[list[Base]]:
    """The best answers to several problems in all likely combinations, those with the smallest sum of places first."""
    choices = []
    for problem, floor in zip(reduction.problems, reduction.floors):
        found = [c for batch in solver(problem, floor, budget, rng) for c in batch]
        yield []
        if not found or budget.over():
            return
        choices.append([law_of(c) for c in sorted(found, key=lambda c: rough_score(c, floor))[:KEPT]])
    places = sorted(every(*(range(len(options)) for options in choices)), key=lambda p: (sum(p), p))
    yield [reduction.restore(*(options[i] for options, i in zip(choices, place))) for place in islice(places, COMBINED)]


def law_of(candidate: Candidate) -> Expr:
    """A candidate's expression with its constants in it."""
    return bind(candidate.expr, [] if candidate.consts is None else candidate.consts)
