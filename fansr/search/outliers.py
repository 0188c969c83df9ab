"""Rows that no law explains: the search of --robust, which sets outliers aside and says which, and one such row without it.

A search by least squares follows its worst rows.  Here it is told, in turns, to leave some out: first the rows far
from their neighbours', then those far from the law found so far, judged with a scale that outliers do not move (the
median of the absolute residuals).  The law is at the end the least-squares fit to the rows that were kept, and what was
set aside is reported.  Without --robust, `find` is turns.search, and once more where its law has a part for a single row.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.search import gross_errors, large_tables, leave_one_out, relative_noise, rounding, selection, turns

LIMIT = 4.0  # robust standard deviations beyond which a row is set aside: one good row in 16,000 under Gaussian noise
NEIGHBOURS, FEWER_NEIGHBOURS = 6, 4  # the latter of tables of 8 to 17 rows
FAR = 8.0  # the same for a row against its neighbours, which know less than a law does
LARGEST_SHARE = 0.4  # of the rows that may be set aside
SHARES = (0.4, 0.5, 0.85)  # of the seconds left, for the search of each turn
NEIGHBOUR_ROWS = 4096  # longer tables are not looked at row by row before the first search
JUDGED_ROWS = (
    4096  # of a longer table, drawn at random, on which candidates are judged; the best one then judges all rows
)
JUDGED = 24  # candidates of a search that are tried on the rows left out
OUTLIER_NATS = 3.0 - 0.5 * math.log(
    2 * math.pi * math.e
)  # odds of 1 in 20 that a row is one; less a good row's own share
LOOK = 0.3  # of the seconds, for a first search without gross errors
MUCH_SHORTER = 4  # tokens that a law must be shorter by without the row that stands alone
EXACT_REACH = 1e-9  # of the largest |y|: residuals below it are rounding


def find(
    problem: Problem, options: turns.Options, budget: Budget | None = None, candidates: Sequence = ()
) -> turns.Found:
    """turns.search, or with ``options.robust`` the same on the rows that are no outliers.

    `Found.outliers` holds the rows (0-based, of this problem) that were set aside; FVU, standard errors and the front are those of the
    other rows.  Without robust those are gross errors alone (gross_errors.py) that are far off the law of all other rows, and a row
    that a law has a peak or a pole for, where all others have an exact and much shorter law.
    """
    budget = budget or Budget(None)
    if not options.robust:
        if options.loss != "auto" or options.form or options.rules or "grouping" in problem.extra:
            return turns.search(problem, options, budget, candidates)  # what is asked for is asked for of all rows
        found = _beside_gross_errors(problem, options, budget, candidates)
        return _without_lone_row(found, problem, options, budget)
    started = time.monotonic()
    options = replace(
        options, loss="squares" if options.loss == "auto" else options.loss
    )  # outliers would tell it wrong
    kept = near_neighbours(problem)
    found, pool = None, list(candidates)
    for turn in range(len(SHARES)):
        part = budget if budget.seconds is None else budget.slice(budget.left() * SHARES[turn])
        found = turns.search(rows_of(problem, kept), options, part, pool)
        if found.best is None or found.status == "interrupted":
            break
        known = [found.best, *found.front]
        judged = within(problem, known, options, budget)
        same = judged is None or (judged == kept).all()
        kept = kept if judged is None else judged
        if same or (budget.seconds is not None and budget.left() < 0.1):
            break
        # The next search starts from what this one found, its constants to be fitted to the new rows.
        pool = [replace(c, expr=list(c.expr), consts=None, fvu=math.inf) for c in known]
    if found.best is not None:
        _on_rows(found, rows_of(problem, kept), options, budget)
    found.outliers = np.flatnonzero(~kept)
    if found.weights is not None:
        found.weights = relative_noise.weights_of(problem.y)
    found.seconds = time.monotonic() - started
    return found


def _beside_gross_errors(
    problem: Problem, options: turns.Options, budget: Budget, candidates: Sequence[Candidate]
) -> turns.Found:
    """turns.search; where rows are grossly off, of the other rows first, and of all where the law found does go through them."""
    off = gross_errors.gross_errors(problem)
    if not off.any():
        return turns.search(problem, options, budget, candidates)
    timed = budget.seconds is not None
    first = turns.search(
        rows_of(problem, ~off), options, budget.slice(budget.left() * LOOK) if timed else budget, candidates
    )
    if timed:
        budget.start += first.loading
    found, ended = first, first.status == "interrupted"
    known = [] if first.best is None else [first.best, *first.front]
    known = [replace(c, expr=list(c.expr), consts=None, fvu=math.inf) for c in known]
    if not ended and (first.best is None or not _far(first.best, problem, off).any()):
        return turns.search(problem, options, budget, [*known, *candidates])
    if timed and not ended and not budget.over() and not _is_exact(first, rows_of(problem, ~off)):
        second = turns.search(rows_of(problem, ~off), options, budget, [*known, *candidates])
        if second.best is not None:
            found = second
            found.candidates, found.yields = first.candidates + found.candidates, first.yields + found.yields
            found.seconds, found.loading = first.seconds + found.seconds, first.loading + found.loading
    if found.best is None:
        return found
    away = _far(found.best, problem, off)
    if (away != off).any():
        _on_rows(found, rows_of(problem, ~away), options, budget)
    found.outliers = np.flatnonzero(away)
    if found.weights is not None:
        found.weights = relative_noise.weights_of(problem.y)
    return found


def _far(law: Candidate, problem: Problem, off: np.ndarray) -> np.ndarray:
    """Which of the rows that are off (mask) are far from a law of the others, in its standard deviations there."""
    from fansr.expressions import evaluate

    with np.errstate(all="ignore"):
        residual = np.abs(problem.y - evaluate(law.expr, problem.X, law.consts))
    rest = residual[~off]
    reach = EXACT_REACH * float(np.abs(problem.y).max())
    return off & ~(residual <= max(FAR * float(np.sqrt(np.mean(rest**2))), reach))


def _without_lone_row(found: turns.Found, problem: Problem, options: turns.Options, budget: Budget) -> turns.Found:
    """What is found on all rows but the one that the law has a part of its own for, where that is exact and shorter; else `found`."""
    weighed = problem.weights is not None or problem.ends is not None
    if found.best is None or found.status != "ok" or len(found.outliers) or weighed:
        return found
    row = leave_one_out.lone_row(found.best, problem)
    if row is None or budget.over() or not _is_exact(found, problem):
        return found
    kept = np.arange(len(problem.y)) != row
    part = rows_of(problem, kept)
    known = [replace(c, expr=list(c.expr), consts=None, fvu=math.inf) for c in found.front]
    other = turns.search(part, options, budget, known)
    shorter = other.best is not None and other.best.length + MUCH_SHORTER <= found.best.length
    if not shorter or other.status != "ok" or not _is_exact(other, part):
        return found
    other.outliers = np.array([row])
    other.candidates, other.yields = found.candidates + other.candidates, found.yields + other.yields
    other.seconds, other.loading = found.seconds + other.seconds, found.loading + other.loading
    if other.weights is not None:
        other.weights = relative_noise.weights_of(problem.y)
    return other


def _is_exact(found: turns.Found, problem: Problem) -> bool:
    """Whether a search's law leaves nothing but rounding."""
    from fansr.expressions import evaluate
    from fansr.search import verdict

    with np.errstate(all="ignore"):
        residual = problem.y - evaluate(found.best.expr, problem.X, found.best.consts)
    exact = np.isfinite(residual).all() and verdict.exact_to(found.best, problem.X, problem.y, residual, found.floor)
    return bool(exact)


def rows_of(problem: Problem, kept: np.ndarray) -> Problem:
    """The problem over some of its rows (a mask)."""
    if kept.all():
        return problem
    return replace(
        problem,
        X=np.ascontiguousarray(problem.X[kept]),
        y=problem.y[kept],
        weights=None if problem.weights is None else problem.weights[kept],
        ends=None if problem.ends is None else problem.ends[kept],
    )


def spread_of(residuals: np.ndarray, constants: int = 0) -> float:
    """Robust standard deviation: 1.4826 times the median absolute residual, widened for the constants that were fitted."""
    M = len(residuals)
    return 1.4826 * float(np.median(np.abs(residuals))) * math.sqrt(M / max(1, M - constants))


def near_neighbours(problem: Problem) -> np.ndarray:
    """Rows (mask) whose y is not far from the median of their nearest neighbours', as far as such can be told.

    Neighbours are near in the ranks of all columns, so any scale will do.  Where most rows differ much from
    their neighbours (many columns, few rows) the scale is large and nothing is set aside.
    """
    X, y = problem.X, problem.y
    M = len(y)
    if not 2 * FEWER_NEIGHBOURS <= M <= NEIGHBOUR_ROWS:
        return np.ones(M, bool)
    count = NEIGHBOURS if M >= 3 * NEIGHBOURS else FEWER_NEIGHBOURS
    from scipy.spatial import cKDTree

    ranks = np.argsort(np.argsort(X, axis=0, kind="stable"), axis=0) / M
    _, near = cKDTree(ranks).query(ranks, k=count + 1)
    residual = y - np.median(y[near[:, 1:]], axis=1)
    return _trimmed(np.abs(residual), FAR * spread_of(residual))


def _trimmed(size: np.ndarray, limit: float) -> np.ndarray:
    """Mask of rows with size <= limit; at most LARGEST_SHARE of them are left out, the largest."""
    kept = size <= limit
    most = int(LARGEST_SHARE * len(size))
    if (~kept).sum() > most:
        kept = np.ones(len(size), bool)
        kept[np.argsort(size, kind="stable")[len(size) - most :]] = False
    return kept


def within(
    problem: Problem, known: list[Candidate], options: turns.Options, budget: Budget | None = None
) -> np.ndarray | None:
    """Rows (mask) that agree with the law that most rows agree with; None if no candidate is finite everywhere.

    Each candidate is fitted to the rows within LIMIT of it until they stay the same (a concentration step, as in least
    trimmed squares); the one of least description length decides.  A row that is kept costs what it does under Gaussian
    noise of the candidate's robust spread, one that is set aside the logarithm of the whole range of y and OUTLIER_NATS:
    so a short law for a part of the table does not win by leaving the other part out.
    """
    from fansr.expressions import evaluate
    from fansr.fitting import Refiner

    best, best_value = None, math.inf
    whole, problem = (
        problem,
        large_tables.thinned(problem, JUDGED_ROWS, options.seed) if len(problem.y) > JUDGED_ROWS else problem,
    )
    total = spread_of(problem.y - np.median(problem.y)) or float(np.std(problem.y)) or 1.0
    roots = _roots(problem, whole)
    apart = math.log(max(float(np.ptp(problem.y)) / total, 1.0)) + OUTLIER_NATS
    reach = EXACT_REACH * float(np.abs(problem.y).max())
    for candidate in known[:JUDGED]:
        if best is not None and budget is not None and budget.over():
            break
        consts, kept = np.asarray(candidate.consts, dtype=np.float64), None
        for _ in range(6):
            with np.errstate(all="ignore"):
                residual = roots * (problem.y - evaluate(candidate.expr, problem.X, consts))
            size = np.where(np.isfinite(residual), np.abs(residual), np.inf)
            spread = spread_of(size, len(consts))
            new = _trimmed(size, max(LIMIT * spread, reach))
            if not math.isfinite(spread) or (kept is not None and (new == kept).all()):
                break
            kept = new
            if len(consts):
                part = rows_of(problem, kept)
                _, consts = Refiner(part.X, part.y, restarts=1, seed=options.seed, weights=part.weights).polish(
                    candidate.expr, consts
                )
        if kept is None or not math.isfinite(spread):
            continue
        like = Candidate(candidate.expr, consts, (max(spread, 0.1 * reach) / total) ** 2)
        aside = int((~kept).sum())
        value = selection.selection("mdl", like, len(problem.y) - aside) + aside * apart
        if value < best_value:
            best, best_value = (candidate.expr, consts, max(LIMIT * spread, reach)), value
    if best is None:
        return None
    expr, consts, limit = best
    with np.errstate(all="ignore"):
        residual = _roots(whole, whole) * (whole.y - evaluate(expr, whole.X, consts))
    return _trimmed(np.where(np.isfinite(residual), np.abs(residual), np.inf), limit)


def _roots(problem: Problem, whole: Problem) -> np.ndarray:
    """Square roots of the weights, 1 for the largest of the whole table."""
    return np.ones(len(problem.y)) if problem.weights is None else np.sqrt(problem.weights / whole.weights.max())


def _on_rows(found: turns.Found, problem: Problem, options: turns.Options, budget: Budget):
    """Constants and FVU of the answer and of the front on these rows, in place; rounded constants stay where they lose nothing."""
    from fansr.fitting import Refiner

    fitter = Refiner(problem.X, problem.y, restarts=1, seed=options.seed, weights=problem.weights)
    best = found.best
    for candidate in [
        best,
        *(c for c in found.front if c is not best and not (len(problem.y) > turns.MAX_ROWS and budget.over())),
    ]:
        candidate.fvu = plain = fitter.fvu(candidate.expr, candidate.consts)
        if len(candidate.consts) and plain > max(100 * found.floor, 1e-24):
            fvu, consts = fitter.polish(candidate.expr, candidate.consts)
            fitted = replace(candidate, fvu=fvu, consts=np.asarray(consts))
            worth = fvu < plain * (1 - 3.0 * len(consts) / len(problem.y))  # more than rounding the constants may cost
            if worth and (not options.rules or options.rules.holds(fitted, problem)):
                candidate.fvu, candidate.consts = fvu, fitted.consts
    found.front = selection.front_of([c for c in found.front if c.fvu < math.inf], len(problem.y), found.floor, best)
    known = selection.known_fvu(problem)
    found.errors = rounding.law_errors(best, problem.X, problem.y, found.floor, problem.weights, known, options.physics)
