"""What rows that a law had not seen would say of it: leave-one-out residuals without fitting again, and how many rows are heard.

For a law linear in its constants the residual of row i, fitted without it, is e_i / (1 - h_i) with h_i the diagonal of the hat
matrix (PRESS: Allen 1974); for others it is so to first order.  A law that bends itself to one far row, an exponential or a pole
near the data, has an h_i near 1 there: it explains the row in training, and nothing of the next such row.
"""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import variables
from fansr.fitting import Candidate, Problem

LEAST_ROWS = 16  # with fewer, what a single row says is chance
MOST_ROWS = 4096  # with more, no single row decides
CLEAN = 1e-6  # FVU below which what is left is not noise
NOISY = 1e-3  # FVU below which a law may only be an approximation, whose residuals have tails of their own
LAPLACE, LEAST = 6.0, 16.0  # kurtosis from which on tails count; rows that are always heard
LEAST_BESIDE, MOST_BESIDE = 8, 400  # rows of a table in which one stands out
# A row tells a constant alone where the squares of its effects on all others are less than that share of it; an effect is none below
# NOTHING of the target's size.
LONE, NOTHING = 1e-4, 1e-9
NEARLY_ONE = 1e-6  # of 1 - h: a row that alone determines a constant


@np.errstate(all="ignore")
def leverages(candidate: Candidate, problem: Problem, held: np.ndarray | None = None) -> np.ndarray:
    """(M,) diagonal of the hat matrix of a law's constants but for those held (C,), rows by the roots of their weights; NaN where it has no
    finite Jacobian."""
    from fansr.expressions import value_and_jacobian

    M, C = len(problem.y), len(candidate.consts)
    if not C or held is not None and held.all():
        return np.zeros(M)
    _, J = value_and_jacobian(candidate.expr, problem.X, np.asarray(candidate.consts, dtype=np.float64))  # (C, M)
    if held is not None:
        J = J[~held]
    if problem.weights is not None:
        J = J * np.sqrt(problem.weights / problem.weights.max())
    size = np.abs(J).max(axis=1)
    J = J[size > 0] / size[size > 0, None]  # the place of a step moves nothing
    if not np.isfinite(J).all():
        return np.full(M, np.nan)
    u, s, _ = np.linalg.svd(J.T, full_matrices=False)
    return (u[:, s > 1e-10 * s.max(initial=0.0)] ** 2).sum(axis=1)


@np.errstate(all="ignore")
def lone_row(candidate: Candidate, problem: Problem) -> int | None:
    """The row that a constant of the law follows alone, and another one alone or none at all: a peak or a pole of its own; None for none.

    A row at the end of a column is none: what grows over decades is told by its last rows.
    """
    from fansr.expressions import value_and_jacobian

    X, consts = problem.X, np.asarray(candidate.consts, dtype=np.float64)
    if len(consts) < 2 or not LEAST_BESIDE <= len(X) <= MOST_BESIDE:
        return None
    _, J = value_and_jacobian(candidate.expr, X, consts)
    J = np.where(np.isfinite(J), np.abs(J), 0.0)
    share = (J / np.maximum(J.max(axis=1, keepdims=True), 1e-300)) ** 2
    size = float(np.abs(problem.y).max())
    moved = J.max(axis=1) * np.abs(consts) > NOTHING * size  # a narrow peak's place moves nothing
    alone = moved & (share.sum(axis=1) - 1 < LONE)
    if not alone.any() or alone.sum() + (~moved).sum() < 2:
        return None
    row = int(np.bincount(J[alone].argmax(axis=1)).argmax())
    used = variables(candidate.expr)
    inside = all(X[:, j].min() < X[row, j] < X[:, j].max() for j in used)
    return row if inside else None


@np.errstate(all="ignore")
def excess(candidate: Candidate, problem: Problem, held: np.ndarray | None = None) -> float:
    """Nats by which a law predicts left-out rows worse than one of as many constants does whose rows all weigh alike.

    0.5 M log(PRESS / RSS (1 - C/M)^2), at least 0.  held (C,): constants that no row decides, since they are round numbers.
    """
    from fansr.expressions import evaluate

    M, C = len(problem.y), len(candidate.consts)
    if not C or not max(LEAST_ROWS, C + 2) <= M <= MOST_ROWS or not candidate.fvu > CLEAN:
        return 0.0
    h = leverages(candidate, problem, held)
    if not np.isfinite(h).all():
        return 0.0
    scale = float(np.abs(problem.y).max()) or 1.0
    residual = (problem.y - evaluate(candidate.expr, problem.X, candidate.consts)) / scale
    squares = residual * residual
    if problem.weights is not None:
        squares = squares * problem.weights
    total = float(squares.sum())
    if not total > 0:
        return 0.0
    left_out = float((squares / np.maximum(1 - h, NEARLY_ONE) ** 2).sum())
    even = 1 - float(h.sum()) / M
    return max(0.0, 0.5 * M * math.log(left_out / total * even * even))


@np.errstate(all="ignore")
def heard(candidate: Candidate, problem: Problem) -> float:
    """How many of its M rows a law with tails in its residuals is judged by: between M and those of Gaussian noise that say as much.

    The mean square of M residuals of kurtosis k is known to a relative variance of (k - 1) / M, that of Gaussian ones to 2 / M.
    Where noise grows with the target, or a few rows lie far off, those few rows decide what fits best, and 300 rows say as little
    as 30 would.  Only tails heavier than those of Laplace's distribution count (k = 6).
    The geometric mean of both is taken: a law's terms are known better than the size of its noise.
    """
    from fansr.expressions import evaluate

    M = len(problem.y)
    if not candidate.fvu > NOISY:
        return float(M)
    residual = problem.y - evaluate(candidate.expr, problem.X, candidate.consts)
    if problem.weights is not None:
        residual = residual * np.sqrt(problem.weights)
    residual = residual / (np.abs(residual).max() or 1.0)
    kurtosis = float(np.mean(residual**4) / np.mean(residual**2) ** 2)
    return max(M * math.sqrt(2 / (kurtosis - 1)), min(M, LEAST)) if kurtosis > LAPLACE else float(M)
