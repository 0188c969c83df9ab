"""Large tables: the few columns that a law is likely to use, and as many rows as tell.

The proposers' work grows with a power of the number of columns; a table of 200 columns has a law in
a handful of them.  Columns are chosen greedily, by what they add to a regression on simple functions
of them, for the target and for its logarithm (products become sums there).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from fansr.expressions import rename
from fansr.fitting import Budget, Candidate, Problem
from fansr.search import loss_search, rounding, selection
from fansr.search.state import Found, Options
from fansr.streams import rng_for

MAX_COLUMNS = 12  # tables up to this width are searched whole
ROWS = 4096  # rows looked at
SCREENED, SCREEN_ROWS = 400, 1024  # columns of a wider table that are looked at closely, and rows of the first look


def _features(x: np.ndarray) -> np.ndarray:
    """Standardised simple functions (F, M) of one column."""
    scale = np.abs(x).max() or 1.0
    z = x / scale
    rows = [z, z * z, z**3]
    if (z > 0).all():
        rows += [np.log(z), np.sqrt(z), 1 / z]
    elif (z != 0).all():
        rows += [np.log(np.abs(z)), 1 / z, np.sign(z)]
    s = (x - x.mean()) / (x.std() or 1.0)
    rows += [np.sin(s), np.cos(s)]
    F = np.array(rows)
    F = F - F.mean(1, keepdims=True)
    size = np.sqrt((F * F).sum(1))
    good = np.isfinite(size) & (size > 1e-12)
    return F[good] / size[good, None]


def _greedy(features: list[np.ndarray], t: np.ndarray, count: int) -> list[int]:
    """Columns in the order in which they explain t (M,)."""
    M = len(t)
    r = t - t.mean()
    Q = np.zeros((0, M))
    chosen: list[int] = []
    for _ in range(count):
        if not (r @ r) > 1e-20 * (t @ t) or len(Q) > 0.6 * M:
            break
        gains = [-1.0 if j in chosen or len(F) == 0 else float(np.abs(F @ r).max()) for j, F in enumerate(features)]
        best = int(np.argmax(gains))
        if gains[best] <= 0:
            break
        chosen.append(best)
        for f in features[best]:
            q = f - Q.T @ (Q @ f)
            size = np.sqrt(q @ q)
            if size > 1e-6:
                q /= size
                Q = np.vstack([Q, q])
                r = r - q * (q @ r)
    return chosen


@np.errstate(all="ignore")
def _screened(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Places (sorted) of the SCREENED columns whose values, squares or inverses go best with y, y^2 or log|y|."""
    X, y = X[:SCREEN_ROWS], y[:SCREEN_ROWS]
    z = y / (np.abs(y).max() or 1.0)
    targets = [z, (z - z.mean()) ** 2, np.log(np.abs(z))]
    targets = np.array([t - t.mean() for t in targets if np.isfinite(t).all() and np.ptp(t) > 0])
    best = np.zeros(X.shape[1])
    for first in range(0, X.shape[1], 4096):
        part = X[:, first : first + 4096]
        for F in (part, part * part, 1 / part):
            F = F / np.abs(F).max(axis=0)
            F = F - F.mean(axis=0)
            cosine = np.abs(targets @ F) / np.sqrt((F * F).sum(axis=0)) / np.sqrt((targets**2).sum(axis=1))[:, None]
            cosine = np.where(np.isfinite(cosine), cosine, 0.0).max(axis=0, initial=0.0)
            best[first : first + 4096] = np.maximum(best[first : first + 4096], cosine)
    return np.sort(np.argsort(-best, kind="stable")[:SCREENED])


def relevant_columns(X: np.ndarray, y: np.ndarray, count: int = MAX_COLUMNS) -> list[int]:
    """Up to `count` columns (sorted) of X (M, D) that y (M,) most likely depends on; constant ones never."""
    X, y = X[:ROWS], y[:ROWS]
    if X.shape[1] > SCREENED:  # a first look at all of them at once, so that the rest costs the same for any width
        kept = _screened(X, y)
        return [int(kept[j]) for j in relevant_columns(np.ascontiguousarray(X[:, kept]), y, count)]
    with np.errstate(all="ignore"):
        features = [_features(X[:, j]) if np.ptp(X[:, j]) > 0 else np.zeros((0, len(y))) for j in range(X.shape[1])]
        targets = [y / (np.abs(y).max() or 1.0)]
        size = np.abs(y)
        if (size > 0).all():
            targets.append(np.log(size))
        # A product of columns around zero shows in squares, not in correlations.
        centred = targets[0] - targets[0].mean()
        targets.append(centred * centred)
        orders = [_greedy(features, t, count) for t in targets]
    found: list[int] = []
    for place in range(count):
        for order in orders:
            if place < len(order) and order[place] not in found and len(found) < count:
                found.append(order[place])
    return sorted(found) or list(range(min(count, X.shape[1])))


def narrowed(problem: Problem, columns: list[int]) -> Problem:
    """The problem over some of its columns only."""
    pick = lambda X: None if X is None else np.ascontiguousarray(X[:, columns])  # noqa: E731
    return Problem(
        X=pick(problem.X),
        y=problem.y,
        names=[problem.names[j] for j in columns],
        target=problem.target,
        id=problem.id,
        X_val=pick(problem.X_val),
        y_val=problem.y_val,
        weights=problem.weights,
        known=problem.known,
        ends=problem.ends,
        units=None if problem.units is None else problem.units.of_columns(columns),
    )


def thinned(problem: Problem, rows: int, seed: int) -> Problem:
    """The problem over a random sample of its rows, in their order."""
    kept = np.sort(rng_for(seed, "focus.rows", problem.id).permutation(len(problem.y))[:rows])
    weights = None if problem.weights is None else problem.weights[kept]
    return Problem(
        X=np.ascontiguousarray(problem.X[kept]),
        y=problem.y[kept],
        names=problem.names,
        target=problem.target,
        id=problem.id,
        weights=weights,
        known=problem.known,
        ends=None if problem.ends is None else problem.ends[kept],
        units=problem.units,
    )


def widened(candidate: Candidate, columns: list[int]) -> Candidate:
    """A candidate of the narrowed problem in the columns of the whole one."""
    back = {k: j for k, j in enumerate(columns)}
    draw = None if candidate.draw is None else tuple(rename(list(candidate.draw), back))
    return replace(candidate, expr=rename(candidate.expr, back), draw=draw)


def on_all_rows(found: Found, problem: Problem, options: Options, floor: float, budget: Budget):
    """Fit the constants of the answer and of the front again on the whole table, in place.

    The answer comes first.  When the budget is over the others keep the constants that the sample of rows gave them; half a
    second later they are not even measured, and leave the front.
    """
    from fansr.fitting import Refiner

    aim = loss_search.aim_of(problem, options.loss, options.robust)
    fitter: Any = None
    if aim is None:
        fitter = Refiner(problem.X, problem.y, restarts=1, seed=options.seed, weights=problem.weights)
    else:
        fitter, _ = loss_search.aimed(problem, aim, 1, options.seed)
        aim.refer(fitter.values(found.best.expr, found.best.consts))
    front = [c for c in found.front if c is not found.best]
    found.front = [found.best]
    for candidate in [found.best, *front]:
        if budget.left() < -0.5 and candidate is not found.best:
            break
        if candidate is not found.best:
            found.front.append(candidate)
        # Rounded constants stay as they are where they lose nothing.
        plain = fitter.fvu(candidate.expr, candidate.consts)
        candidate.fvu = plain
        if plain > max(100 * floor, 1e-24) and len(candidate.consts) and not budget.over():
            fvu, consts = fitter.polish(candidate.expr, candidate.consts, iterations=8)
            fitted = replace(candidate, fvu=fvu, consts=np.asarray(consts))
            if fvu < plain * (1 - 0.5 / len(problem.y)) and (not options.rules or options.rules.holds(fitted, problem)):
                candidate.fvu, candidate.consts = fvu, fitted.consts
    found.front = selection.front_of(found.front, len(problem.y), floor, found.best)
    if aim is not None:
        found.errors = loss_search.errors(found.best, fitter, floor, options.physics)
        return
    found.errors = rounding.law_errors(
        found.best, problem.X, problem.y, floor, problem.weights, selection.known_fvu(problem), options.physics
    )
