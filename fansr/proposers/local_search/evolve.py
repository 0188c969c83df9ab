"""A proposer: local search over expressions, seeded by the best candidates so far.

Each *island* is a population that works on one view of the target: y itself, y^2, 1/y, 1/y^2, log|y| or exp(y), so that sums
inside an outer root, quotient, exponential or logarithm are plain sums to it.  A genome stands for its top-level
terms; it is judged by the FVU of c0 + c1*term1 + c2*term2 + ..., whose linear constants the refiner solves exactly
(linear scaling: Keijzer 2003), on a few points, plus a price for its length.

Children come in two ways: random changes of ranked parents (random_mutations.py), and *aimed* ones (aimed_mutations.py), where the values that a
place in the tree would have to take are found by undoing what stands above it, and the nearest term of a library
is put there (semantic back-propagation: Pawlak, Wieloch & Krawiec 2015).  With the root as the place this adds the
term that best explains the residual or the factor that best explains the ratio.

    for batch in propose(problem, Budget(seconds=3), rng, pool): ...
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from fansr.expressions import compile_many
from fansr.fitting import FULL, Budget, Candidate, Problem, Refiner
from fansr.proposers.local_search.island import POPULATION, Island
from fansr.proposers.local_search.ratio_island import QuotientIsland
from fansr.proposers.parts.target_views import views

LONGEST = 30  # tokens of a genome
# An island begins with a few of the best candidates and a few random genomes, so that all have bred soon; with as many as it holds
# it begins once more when each has had so many turns.
FIRST_SEEDS, FIRST_GENOMES, SEEDS, WHOLE_FROM = 25, 80, 60, 3
ROWS = 128  # points an island sees; the refiner's quick rounds use the first 32 of them
EVALUATIONS = 60_000  # without a clock, times budget.work


def propose(problem: Problem, budget: Budget, rng, pool=None, jobs: int = 1, operators=None):
    """Yield lists of fitted candidates, each an improvement of some island.

    operators: the tokens that are bred (None: all).  Without a clock it stops after EVALUATIONS * budget.work evaluations and depends on `rng` and the pool alone.
    """
    M, D = problem.X.shape
    over = budget.over
    seed = int(rng.integers(1 << 62))
    rows = rng.permutation(M)[:ROWS]
    X, y = problem.X[rows], problem.y[rows]
    weights = None if problem.weights is None else problem.weights[rows]
    columns = [j for j in range(D) if np.ptp(X[:, j]) > 0]
    if not columns or not np.ptp(y) > 0:
        return
    judge = Refiner(problem.X, problem.y, seed=seed % 1000, weights=problem.weights)
    longest = min(LONGEST, max(8, M))
    first, *others = views(y)
    plain = Island(X, y, weights, first, columns, longest, seed, operators=operators)
    islands = [plain, QuotientIsland(X, y, weights, columns, longest, seed + 1, plain.library, operators)]
    islands += [
        Island(X, y, weights, view, columns, longest, seed + 2 + k, plain.library, operators)
        for k, view in enumerate(others)
    ]
    limit = EVALUATIONS * budget.work if budget.seconds is None else math.inf
    for island in islands:
        island.seed(list(pool)[:FIRST_SEEDS] if pool else [], jobs, over)
        island.grow(FIRST_GENOMES, jobs, over)
        if over():
            return
        yield []
    small = list(islands)
    for turn in itertools.count():
        if over() or sum(island.evaluations for island in islands) >= limit:
            return
        island = _next(islands, turn, rng)
        if turn >= WHOLE_FROM * len(islands) and island in small:
            small.remove(island)
            island.seed(list(pool)[:SEEDS] if pool else [], jobs, over)
            island.grow(POPULATION, jobs, over)
        island.generation(rng, jobs, over)
        found = island.news(4 if turn % 8 else 12)
        if found:
            yield _verdicts(judge, found, jobs, over)
        if turn % 16 == 15 and pool:
            for other in islands:
                other.seed(list(pool)[:20], jobs, over)


def _next(islands, turn, rng) -> Island:
    """Whose turn it is: each its own in the first round, then mostly the island with the lowest score."""
    if turn < len(islands) or rng.random() < 0.35:
        return islands[turn % len(islands)]
    return min(islands, key=lambda island: island.best + 0.04 * island.stale)


def _verdicts(judge: Refiner, found, jobs, over) -> list[Candidate]:
    """Candidates with constants fitted to y on all points, started from the island's and from fresh draws."""
    programs = compile_many([expr for expr, _ in found])
    most = max(1, int(programs.n_constants.max()))
    given = np.full((len(found), most), np.nan)
    for k, (_, consts) in enumerate(found):
        given[k, : len(consts)] = consts
    fvu, consts = judge.run(programs, FULL._replace(starts=4), given=given, jobs=jobs, over=over)
    values = [consts[k, : programs.n_constants[k]].copy() for k in range(len(found))]
    return [
        Candidate(expr, values[k], float(fvu[k]), "evolve")
        for k, (expr, _) in enumerate(found)
        if np.isfinite(fvu[k]) and np.isfinite(values[k]).all()
    ]
