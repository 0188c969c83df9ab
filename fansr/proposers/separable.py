"""Laws made of functions of one column each, taken apart by splines: f(y) = k + prod over groups of sum of h_j(x_j); a proposer.

Where a dealing of the columns into groups holds, each h_j is a table of one column, smooth and nearly free of noise, which
one_column_curves.py takes quickly; its best are put together and polished on the problem itself.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fansr.expressions import children, literal_value
from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.one_column_curves import curves
from fansr.proposers.parts.candidates import finish, proposals
from fansr.proposers.parts.column_groups import Model, dealings_that_hold
from fansr.proposers.parts.expression_assembly import Base, joined
from fansr.proposers.parts.reductions import COMBINED, Reduction, Solver, solve, without_function, written
from fansr.proposers.parts.target_transforms import OUTER
from fansr.proposers.parts.terms import thinned

MIN_ROWS = 40
MAX_COLUMNS = 8
ROWS = 1500  # points the splines use
OUTERS = ("y", "exp", "1/y", "sqrt", "log", "cube")  # functions undone
KEPT = 4  # dealings taken to pieces
SURE = 1e-8  # unseen error of a dealing that leaves no need to look at other functions of y
MUCH_WORSE = 1e3  # times the unseen error of the best dealing
TELL = 10.0  # times what the splines left open: laws of pieces that err less cannot be told apart
BEATEN = 0.1  # share of a dealing's unseen error that another law must reach to spare it
FLAT = 1e-3  # share of its group's spread below which a piece is nothing
EXACT = 1e-20


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates put together from functions of one column; FVUs on the problem's rows (thinned to some thousands).

    Bounded by counts; with a clock it ends when the budget is over.
    """
    problem = thinned(problem, rng)
    found: list[Reduction] = []
    for reduction in reductions(problem, rng):
        if budget.over():
            return
        if reduction is None:
            yield []
        else:
            found.append(reduction)
    # Where two dealings hold, as products do in y and sums in log y, the one that holds better is the truer.
    found = sorted(found, key=lambda reduction: reduction.error)[:KEPT]
    found = [reduction for reduction in found if reduction.error <= max(MUCH_WORSE * found[0].error, 1e-9)]

    def hopeful(reduction: Reduction) -> bool:
        # What was found already may be better than the splines; then they are not the law.
        return pool is None or pool.best is None or not pool.best.fvu < BEATEN * reduction.error

    # Pieces of two terms take six times as long.
    solvers = [_curves(second) for second in (False, True)]
    yield from proposals(
        problem, "separable", solve(found, solvers, budget, rng, hopeful), budget, COMBINED // 2, 6.0, EXACT
    )


def _curves(second: bool) -> Solver:
    """one_column_curves.py as a solver: of one function of one column, of two terms if asked."""

    def solver(problem: Problem, floor: float, budget: Budget, rng) -> Iterator[list[Candidate]]:
        found = curves(problem.X[:, 0], problem.y, floor=floor, second=second)
        yield [finish(law, "curves", share) for share, law in found if share < 0.05]

    return solver


def reductions(problem: Problem, rng: np.random.Generator) -> Iterator[Reduction | None]:
    """The problem as functions of single columns, in all dealings that hold; None while at work."""
    columns = [j for j, v in enumerate(problem.X.T) if np.ptp(v) > 0]
    if len(problem.y) < MIN_ROWS or not 2 <= len(columns) <= MAX_COLUMNS or not np.ptp(problem.y) > 0:
        return
    rows = rng.permutation(len(problem.y))[:ROWS]
    sample = Problem(X=problem.X[rows], y=problem.y[rows], names=problem.names)
    for name in OUTERS:
        undone = without_function(sample, OUTER[name])
        best = np.inf
        for model in dealings_that_hold(sample.X[:, columns], undone.problems[0].y, rng) if undone else ():
            parts = None if model is None else in_pieces(sample, columns, model)
            yield parts and undone.then(parts)
            best = min(best, parts.error if parts else best)
        if best < SURE:
            return


def in_pieces(problem: Problem, columns: list[int], model: Model) -> Reduction | None:
    """Each function of a model as a problem of one column; None where fewer than two say anything."""
    problems, floors, places, whole = [], [], [], float(np.var(np.prod(model.factors, axis=0)))
    for k, (group, factor) in enumerate(zip(model.groups, model.factors)):
        shown = [j for j in group if np.std(model.pieces[k].get(j, 0.0)) > FLAT * (float(np.std(factor)) or 1.0)]
        for j in shown:
            # Alone in its group a function keeps its constant; in a sum the constants are one.
            x, y = problem.X[:, columns[j]], factor if len(shown) == 1 else model.pieces[k][j]
            # The outermost points, where splines err most, are not looked at.
            rows = np.argsort(x, kind="stable")[len(x) // 50 : len(x) - len(x) // 50]
            problems.append(Problem(X=x[rows, None], y=y[rows], names=[problem.names[columns[j]]]))
            floors.append(max(TELL * model.error * whole / max(float(np.var(y)), 1e-300), 1e-12))
            places.append((k, (f"x{columns[j] + 1}",)))

    def restore(*laws) -> Base:
        return _together(model, [(k, written(law, [column])) for (k, column), law in zip(places, laws)])

    return Reduction(tuple(problems), restore, model.error, tuple(floors)) if len(problems) > 1 else None


def _together(model: Model, pieces: list[tuple[int, Base]]) -> Base:
    """offset + product of the sums of each group's pieces; constants near nothing are there for polishing to find."""
    factors = []
    for k in dict.fromkeys(k for k, _ in pieces):
        terms = [law for place, law in pieces if place == k]
        if len(terms) > 1:  # one constant for all of them
            terms, own = zip(*map(_without_constant, terms))
            terms = (*terms, (repr(float(np.mean(model.factors[k])) + sum(own) or 0.01),))
        factors.append(joined("+", terms))
    law = joined("*", factors)
    return ("+", *law, repr(float(model.offset))) if len(factors) > 1 else law


def _without_constant(law: Base) -> tuple[Base, float]:
    """A law without the number it ends in, and that number."""
    if law[0] in "+-":
        at = children(list(law))[1]
        value = literal_value(law[at]) if at == len(law) - 1 else None
        if value is not None:
            return law[1:at], value if law[0] == "+" else -value
    return law, 0.0
