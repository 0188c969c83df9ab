"""Backward elimination: a regression on many features at once, from which what the rows do not need is taken away.

Where features are much alike, a search that adds one at a time is led astray by near-solutions; all of them together are one linear
problem, and whatever is not in the law comes out as nothing but its own error.  Knows values only.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

INDEPENDENT = 1e-9  # least part of a feature of unit length that the others may leave; below it they say the same


def eliminated(B: np.ndarray, t: np.ndarray) -> Iterator[tuple[float, list[int]]]:
    """(sum of squared residuals, columns of B) of least squares for t (n,), with all of B (n, T), then with one fewer each time.

    Each step takes the column away that raises the sum least.  Nothing comes where columns depend on each other.

    With C = (B'B)^-1 and c = C B't the sum rises by c_k^2 / C_kk without column k, and C and c of the others follow by one
    elimination step (Miller 2002, Subset Selection in Regression, ch. 3).
    """
    size = np.sqrt((B * B).sum(axis=0))
    if B.shape[1] == 0 or len(B) < B.shape[1] or not (size > 0).all():
        return
    Q, R = np.linalg.qr(B / size)
    if not np.abs(np.diag(R)).min() > INDEPENDENT:
        return
    along = Q.T @ t
    left = t - Q @ along
    squares, live = float(left @ left), list(range(B.shape[1]))
    yield squares, live.copy()
    inverse = np.linalg.inv(R)
    C, c = inverse @ inverse.T, inverse @ along
    while len(live) > 1:
        rise = c * c / np.diag(C)
        k = int(rise.argmin())
        squares += float(rise[k])
        column = C[:, k] / C[k, k]
        others = np.arange(len(live)) != k
        C = (C - np.outer(column, C[k]))[np.ix_(others, others)]
        c = (c - column * c[k])[others]
        live.pop(k)
        yield squares, live.copy()
