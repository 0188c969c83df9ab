"""Of many laws that noisy rows cannot tell apart, the one that says what all of them say.

With few rows and much noise dozens of laws lie within some nats of each other.  Which of them leads is chance, and leaders differ
most where no row is.  Their average, each weighed by its odds, predicts better than any of them (Bayesian model averaging: Hoeting
et al. 1999), but is no law; the law nearest to the average is, and it predicts nearly as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fansr.fitting import Candidate, Problem
from fansr.streams import rng_for

NOISY = 0.03  # FVU of the leader from which on the average is asked; below it the rows tell laws apart
LEAST_ROWS = 16  # with fewer, chance leads the average too
TEMPER = 2.0  # odds are exp(-nats / TEMPER): the best of many thousand laws tried lead by chance too
WITHIN, HEARD = (
    8.0,
    14.0,
)  # nats behind the leader up to which a law may be chosen, and up to which it takes part in the average
OWN = 0.3  # share of its own nats behind that a law must make up for by being nearer
ROWS, POINTS = 400, 400  # of the table, and on lines through two of its rows
BEYOND = 0.2  # of the distance of two rows that the lines go on
CLIP = 2.0  # ranges of the target that a law may leave that range by before it counts as no further off


def points_of(problem: Problem) -> np.ndarray:
    """(P, D): rows of the table, and points on lines through two rows and a little beyond; columns of few values keep to those."""
    X = problem.X
    M = len(X)
    rng = rng_for(0, "search.consensus", 0)
    a, b = rng.integers(M, size=(2, POINTS))
    share = rng.random((POINTS, 1)) * (1 + 2 * BEYOND) - BEYOND
    between = X[a] + share * (X[b] - X[a])
    for j in range(X.shape[1]):
        if len(set(X[:, j].tolist())) <= max(2, M // 8):
            between[:, j] = X[a, j]
    return np.ascontiguousarray(np.vstack([X[:ROWS], between]))


@np.errstate(all="ignore")
def values_of(candidates: Sequence[Candidate], problem: Problem) -> np.ndarray:
    """(K, P) of the laws on points_of, no further from the target's range than CLIP of it."""
    from fansr.expressions import evaluate

    points = points_of(problem)
    low, high = float(problem.y.min()), float(problem.y.max())
    low, high = low - CLIP * (high - low), high + CLIP * (high - low)
    rows = [np.broadcast_to(evaluate(c.expr, points, c.consts), len(points)) for c in candidates]
    return np.clip(np.nan_to_num(np.stack(rows), nan=high, posinf=high, neginf=low), low, high)


def nearest(
    candidates: Sequence[Candidate], nats: Sequence[float], may: Sequence[bool], problem: Problem, heard: float
) -> Candidate:
    """The one of the laws that `may` be chosen that is nearest to the average of all, in nats of `heard` rows of the leader's noise.

    nats: the selection's number of each, less being better.  Laws of one FVU to four digits are one law to the average.
    """
    behind = np.asarray(nats, dtype=np.float64)
    behind = behind - behind.min()
    unlike: dict[str, int] = {}
    for k in np.argsort(behind, kind="stable"):
        if behind[k] <= HEARD:
            unlike.setdefault(f"{candidates[k].fvu:.3e}", int(k))
    voices = list(unlike.values())
    choice = [k for k in range(len(candidates)) if may[k] and behind[k] <= WITHIN]
    leader = int(np.argmin(behind))
    if not choice:
        return candidates[leader]
    values = values_of([candidates[k] for k in (*voices, *choice)], problem)
    odds = np.exp(-behind[voices] / TEMPER)
    average = odds @ values[: len(voices)] / odds.sum()
    noise = candidates[leader].fvu * float(np.var(problem.y))
    off = np.mean((values[len(voices) :] - average) ** 2, axis=1) / noise
    if not math.isfinite(noise) or noise <= 0:
        return candidates[leader]
    return candidates[choice[int(np.argmin(0.5 * heard * off + OWN * behind[choice]))]]
