"""Noise in proportion to the values: told from the residuals of the first laws, and then the rows weigh 1 / y^2.

Least squares hears only the largest values of a column that runs over decades.  Where errors are a share of the value, as those
of most instruments are over a wide range, a law fitted so is wrong at the small end and free to be anything there.

Of residuals r of a law with values of y, the Gaussian log-likelihoods of errors of one size and of errors in proportion to |y| are

    L_even = -M/2 log mean(r^2),    L_relative = -M/2 log mean((r / y)^2) - sum log |y|

(the widths estimated; Carroll and Ruppert 1988, ch. 2).  Knows no proposers and does not search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from fansr.fitting import Candidate, Problem
from fansr.search import description_length, selection

MIN_ROWS = 9
# Largest over smallest |y| from which the two kinds can be told apart, and of close fits.
RANGE, CLOSE_RANGE = 10.0, 4.0
LOOKED_AT, REFITTED = 60, 24  # candidates whose residuals are judged, and whose constants are fitted again for it
CONVINCED = 8.0  # nats by which the best law under errors in proportion must beat the best under even ones
SHAPED, SHAPE = 12.0, 3.0  # the same where the relative errors have a shape, and standard deviations from which they do
# Relative error below which digits and instruments make it, and nats that are enough there.
CLOSE, CLOSE_CONVINCED = 0.01, 6.0
SHARE = (1e-6, 0.3)  # relative errors between rounding and no law at all


def possible(problem: Problem) -> bool:
    """Whether rows could weigh 1 / y^2: none has a weight yet, y has one sign and runs over a decade."""
    size = np.abs(problem.y)
    return (
        problem.weights is None
        and len(size) >= MIN_ROWS
        and bool((problem.y > 0).all() or (problem.y < 0).all())
        and bool(size.max() >= CLOSE_RANGE * size.min())
    )


def found(
    problem: Problem, candidates: Iterable[Candidate], floor: float, fitter_of: Callable[[Problem], Any] | None = None
) -> bool:
    """Whether the candidates' residuals say so; never where one of them is exact.

    fitter_of: makes what fits constants to a problem; the first candidates are then judged with those of weights 1 / y^2 too, whose
    relative errors are theirs and not those of a fit that heard nothing of the small values.
    """
    if not possible(problem):
        return False
    first = list(islice(candidates, LOOKED_AT))
    told = _likelihoods(problem, first, max(100 * floor, 1e-20))
    if told is None:
        return False
    even, relative, least, missed = told
    if fitter_of is not None:
        fitter = fitter_of(weighed(problem))
        again = [fitted_again(candidate, fitter) for candidate in first[:REFITTED]]
        _, by_shares, nearest, missed_again = _likelihoods(problem, again, -1.0) or told
        missed = missed_again if by_shares > relative else missed
        relative, least = max(relative, by_shares), min(least, nearest)
    if least >= CLOSE and np.abs(problem.y).max() < RANGE * np.abs(problem.y).min():
        return False
    enough = CLOSE_CONVINCED if least < CLOSE else CONVINCED
    if _has_shape(problem.X, missed):
        # Numbers with all digits of a float were computed: there need be no noise at all.
        enough = SHAPED if selection.printed_fvu(problem.y) > 0 else np.inf
    return bool(SHARE[0] < least < SHARE[1] and relative > even + enough)


def _has_shape(X: np.ndarray, missed: np.ndarray) -> bool:
    """Whether relative errors (M,) are alike among neighbours along a column: a misfit then, and no noise of any kind."""
    from fansr.search.verdict import rank_deviation

    return any(rank_deviation(missed[np.argsort(column, kind="stable")]) > SHAPE for column in X.T)


def refuted(problem: Problem, candidates: Iterable[Candidate], floor: float) -> bool:
    """Whether laws found since say that the errors are even after all; candidates: fitted under either."""
    told = _likelihoods(problem, candidates, floor)
    return told is not None and told[0] > told[1]


def _likelihoods(
    problem: Problem, candidates: Iterable[Candidate], exact: float
) -> tuple[float, float, float, np.ndarray] | None:
    """(the best log-likelihood under even errors, under relative ones, the least relative error, those (M,) of the best under
    relative ones), laws charged for; None where one is exact."""
    from fansr.expressions import evaluate

    y, logs = problem.y, float(np.log(np.abs(problem.y)).sum())
    even, relative, least, missed = -np.inf, -np.inf, np.inf, np.zeros(len(y))
    for candidate in islice(candidates, LOOKED_AT):
        with np.errstate(all="ignore"):
            r = y - evaluate(candidate.expr, problem.X, candidate.consts)
            price = description_length.structure_nats(candidate.expr)
            price += len(candidate.consts) * description_length.constant_nats(len(y), fvu=1.0, floor=1.0)
            squares, shares = float(np.mean(r * r)), float(np.mean((r / y) ** 2))
        if candidate.fvu <= exact:
            return None
        if not (np.isfinite(shares) and shares > 0):
            continue
        even = max(even, -0.5 * len(y) * np.log(squares) - price)
        nats = -0.5 * len(y) * np.log(shares) - logs - price
        if nats > relative:
            relative, missed = nats, r / y
        least = min(least, np.sqrt(shares))
    return even, relative, float(least), missed


def fitted_again(candidate: Candidate, fitter: Any) -> Candidate:
    """A candidate found under other weights, its constants fitted under these."""
    fvu, consts = fitter.polish(candidate.expr, candidate.consts, iterations=16)
    return replace(candidate, fvu=float(fvu), consts=np.asarray(consts, dtype=np.float64))


def weighed(problem: Problem) -> Problem:
    """The same problem with weights 1 / y^2."""
    return replace(problem, weights=weights_of(problem.y))


def weights_of(y: np.ndarray) -> np.ndarray:
    """Weights (M,) in proportion to 1 / y^2, their mean 1; a target of 0 weighs what the smallest other one does."""
    size = np.abs(y)
    least = float(size[size > 0].min())
    weights = (least / np.maximum(size, least)) ** 2
    return weights / weights.mean()
