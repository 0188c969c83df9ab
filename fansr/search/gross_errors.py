"""Rows whose target is far off what all other rows say: slips of a pen, a decimal point, an instrument.

A search by squares spends its law on such a row: a pole or a narrow peak goes through it.  Told are at most a tenth of the rows
(one at least, three at most), and only

    over one column     rows far above or below both neighbours, where others are near the mean of theirs
    over more columns   rows far off a plane, a product of powers or a parabola that fits all others closely

and far both in spreads of the others and in their range.  Nothing is searched for; what a law says of these rows is for outliers.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fansr.fitting import Problem

LEAST_ROWS, MOST_ROWS, MOST_COLUMNS = 8, 4096, 8
SHARE, MOST = 10, 3  # one row of so many may be one, one of fewer, and no more than the latter of any
SPREADS = 12.0  # robust standard deviations of the others by which it is off
RANGE = 0.2  # of the others' range
CLOSELY = 0.01  # of the others' variance that a plane, a product of powers or a parabola may leave
LEAST_PART = 0.5  # of the squares that they are of all
ROWS_A_TERM = 3.0
CENTRAL = 2.0  # times the mean of the others' leverages that a row's may be


def gross_errors(problem: Problem) -> np.ndarray:
    """Mask (M,) of such rows; none where rows have weights or intervals, or are too few or too many."""
    X, y = problem.X, problem.y
    none = np.zeros(len(y), bool)
    if problem.weights is not None or problem.ends is not None or not LEAST_ROWS <= len(y) <= MOST_ROWS:
        return none
    varying = [j for j in range(X.shape[1]) if np.ptp(X[:, j]) > 0]
    if not varying or len(varying) > MOST_COLUMNS or not np.ptp(y) > 0:
        return none
    X = X[:, varying]
    if X.shape[1] == 1 and len(np.unique(X)) == len(y):
        off = _between_neighbours(X[:, 0], y)
        one_sign = bool((y > 0).all() or (y < 0).all())
        if off.any() and one_sign:  # what grows over decades is far from its neighbours everywhere
            off &= _between_neighbours(X[:, 0], np.log(np.abs(y)))
        return off
    return next(_regressions(X, y), none)


def _between_neighbours(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rows above or below both neighbours over x (M,); the farthest is left out and the rest looked at again, none where they are many."""
    order, out = np.argsort(x), np.zeros(len(y), bool)
    while True:
        rows = order[~out[order]]
        v = y[rows]
        sides = np.stack([v[:-2], v[2:]])
        off = np.maximum(np.maximum(v[1:-1] - sides.max(axis=0), sides.min(axis=0) - v[1:-1]), 0.0)
        far = int(off.argmax())
        line = np.abs(v[1:-1] - sides.mean(axis=0))
        others = np.delete(line, slice(max(0, far - 1), far + 2))  # that do not touch it
        rest = np.delete(v, far + 1)
        if not len(others) or off[far] <= max(SPREADS * 1.4826 * float(np.median(others)), RANGE * float(np.ptp(rest))):
            return out
        out[rows[far + 1]] = True
        if out.sum() > _most(y):
            return np.zeros(len(y), bool)


def _regressions(X: np.ndarray, y: np.ndarray) -> Iterator[np.ndarray]:
    """Rows off a regression that fits all others closely."""
    M, D = X.shape
    ones, z = np.ones(M), (X - X.mean(axis=0)) / np.ptp(X, axis=0)
    squares = [z[:, i] * z[:, j] for i in range(D) for j in range(i, D)]
    designs = [(np.column_stack([ones, z]), y), (np.column_stack([ones, z, *squares]), y)]
    if (X > 0).all() and ((y > 0).all() or (y < 0).all()):
        designs.insert(1, (np.column_stack([ones, np.log(X)]), np.log(np.abs(y))))
    for A, v in designs:
        if ROWS_A_TERM * A.shape[1] <= M:
            out = _off(A, v)
            if out is not None:
                yield out


def _off(A: np.ndarray, v: np.ndarray) -> np.ndarray | None:
    """Rows off the least squares fit of A (M, K) to v (M,), left out one by one; None where what is left is not fitted closely."""
    out = np.zeros(len(v), bool)
    for _ in range(_most(v)):
        q, _ = np.linalg.qr(A[~out])
        residual = v[~out] - q @ (q.T @ v[~out])
        # A row that pulls the fit towards itself is off by e / (1 - h) without it (Allen 1974).
        left_out = residual / np.maximum(1 - (q**2).sum(axis=1), 1e-6)
        if not out.any():
            largest = np.partition(left_out**2, -_most(v))[-_most(v) :].sum()
            if largest < LEAST_PART * float(left_out @ left_out):
                return None  # many rows are off
        out[np.flatnonzero(~out)[int(np.abs(left_out).argmax())]] = True
    kept = ~out
    c, *_ = np.linalg.lstsq(A[kept], v[kept], rcond=None)
    off = np.abs(v - A @ c)
    if not np.var(v[kept]) > 0 or float(np.mean(off[kept] ** 2)) > CLOSELY * float(np.var(v[kept])):
        return None
    spread = 1.4826 * float(np.median(off[kept]))
    pull = np.einsum("mk,km->m", A, np.linalg.pinv(A[kept].T @ A[kept]) @ A.T)
    out &= pull <= CENTRAL * A.shape[1] / len(v)  # beyond the other rows a curve may go anywhere
    far = out & (off > max(SPREADS * spread, RANGE * float(np.ptp(v[kept])))) & (off > SPREADS / 2 * off[kept].max())
    return far if far.any() else None


def _most(y: np.ndarray) -> int:
    return min(MOST, max(1, len(y) // SHARE))
