"""What the best laws so far leave, as a problem of its own: y = f(x) + g(x) or f(x) * g(x) with f a law of the pool; a proposer.

A strong plain part hides a weak composite one: a*b + 0.2*cos(b*c*d/0.9) is a*b to 0.2 %, and no search of the whole looks at the
rest.  Where f is right but for its constants, y - f or y / f is nearly the other part alone, and the quick proposers find that.
What they find is put back and polished whole, f's constants with it; measured on the whole problem it stands or falls.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fansr.expressions import bind, n_constants
from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers import decomposition, few_term_sums, one_column_curves, power, rational, waves
from fansr.proposers.parts import reductions as cut
from fansr.proposers.parts.candidates import measured, proposals
from fansr.proposers.parts.expression_assembly import Base
from fansr.proposers.parts.terms import thinned

MIN_ROWS = 24
MOST_COLUMNS = 8
LAWS = 2  # of the pool, in a round
ROUNDS = 3  # each with laws that came meanwhile
LEFT = (1e-12, 0.2)  # FVU of a law that is a part
MOST_TOKENS, MOST_CONSTANTS = 18, 6  # of a law that is a part
ZERO = 1e-3  # of the largest value, below which a law is no factor
GOOD = 0.05  # share of the spread that a curve may leave
SOURCE = "remainder"


def _asked(propose) -> cut.Solver:
    return lambda problem, floor, budget, rng: propose(problem, budget, rng)


def _curves(problem: Problem, floor: float, budget: Budget, rng) -> Iterator[list[Candidate]]:
    """Functions of each column alone."""
    for j in range(problem.X.shape[1]):
        x = np.ascontiguousarray(problem.X[:, j])
        found = one_column_curves.curves(x, problem.y, problem.weights, floor, second=False)
        laws = [cut.written(law, [(f"x{j + 1}",)]) for share, law in found if share < GOOD]
        yield measured(problem, laws, "curves")


QUICK: list[cut.Solver] = [_asked(power.propose), _asked(few_term_sums.propose), _asked(rational.propose)]
OF_SUMS: list[cut.Solver] = [_asked(waves.propose)]  # a factor that turns is a wave of the whole, too
SLOW: list[cut.Solver] = [_curves, _asked(decomposition.propose)]


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of laws of the pool and what was found for the rest; nothing without a pool.

    Bounded by counts; with a clock it ends when the budget is over.
    """
    problem = thinned(problem, rng)
    M, D = problem.X.shape
    if pool is None or M < MIN_ROWS or D > MOST_COLUMNS or not np.ptp(problem.y) > 0:
        return
    yield from proposals(problem, SOURCE, _batches(problem, budget, rng, pool), budget, 4, 3.0)


def _batches(problem: Problem, budget: Budget, rng: np.random.Generator, pool) -> Iterator[list[Base]]:
    seen: set[tuple[str, ...]] = set()
    for _ in range(ROUNDS):
        parts = [law for law in _parts(pool) if tuple(law.expr) not in seen][:LAWS]
        if not parts or budget.over():
            return
        seen.update(tuple(law.expr) for law in parts)
        found = [list(reductions(problem, law)) for law in parts]
        every = [reduction for some in found for reduction in some]
        yield from cut.solve(every, QUICK, budget, rng)
        yield from cut.solve([some[0] for some in found if some], OF_SUMS, budget, rng)
        yield from cut.solve(every, SLOW, budget, rng)


def _parts(pool) -> Iterator[Candidate]:
    """Laws of the pool that may be a part, the best first, one of each FVU."""
    fits: set[str] = set()
    for law in [*pool[:40]]:
        size = len(law.expr) <= MOST_TOKENS and n_constants(law.expr) <= MOST_CONSTANTS
        if size and LEFT[0] < law.fvu < LEFT[1] and f"{law.fvu:.3e}" not in fits:
            fits.add(f"{law.fvu:.3e}")
            yield law


@np.errstate(all="ignore")
def reductions(problem: Problem, law: Candidate) -> Iterator[cut.Reduction]:
    """The problem less a law, and divided by it where it has no zero."""
    from fansr.expressions import evaluate

    f = tuple(bind(law.expr, law.consts))
    values = np.broadcast_to(evaluate(law.expr, problem.X, law.consts), problem.y.shape)
    if not np.isfinite(values).all():
        return
    columns = cut.columns_of(problem, [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0])
    yield cut.in_columns(problem, columns, problem.y - values, lambda rest: ("+", *f, *rest))
    if np.abs(values).min() > ZERO * np.abs(values).max():
        share = problem.y / values
        weights = (values / np.abs(values).max()) ** 2
        reduced = cut.in_columns(problem, columns, share, lambda rest: ("*", *f, *rest))
        smaller = reduced.problems[0]
        smaller.weights = weights if problem.weights is None else weights * problem.weights
        yield reduced
