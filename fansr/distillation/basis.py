"""Linear bases of a block's rows: principal components, linear maps, and what each keeps.

Arrays in, arrays out (float64); knows nothing of torch, of laws or of files.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np

RIDGE = 1e-6  # of the mean square of the inputs, added to it: of columns that are copies of each other none is taken for itself


class Components(NamedTuple):
    """Components of rows (n, d): x = mean + z @ rows with `mean` (d,), `rows` (k, d), and the share of variance (k,) of each.

    z = (x - mean) @ project.T; principal components are orthonormal and `project` is `rows` (None).
    """

    mean: np.ndarray
    rows: np.ndarray
    shares: np.ndarray
    project: np.ndarray | None = None

    def of(self, X: np.ndarray) -> np.ndarray:
        """z (n, k) of rows X (n, d)."""
        return (X - self.mean) @ (self.rows if self.project is None else self.project).T


def components(X: np.ndarray, k: int | None = None, share: float | None = None) -> Components:
    """The k leading principal components of X (n, d), or as many as hold `share` of the variance; signs: the largest entry positive.

    By the singular value decomposition of the centred rows (Jolliffe 2002, chapter 3).
    """
    X = np.asarray(X, dtype=np.float64)
    mean = X.mean(axis=0)
    _, s, rows = np.linalg.svd(X - mean, full_matrices=False)
    total = float(s @ s)
    shares = s**2 / total if total > 0 else np.zeros_like(s)
    if k is None:
        k = int(np.searchsorted(np.cumsum(shares), (1.0 if share is None else share) - 1e-12)) + 1
    k = min(k, len(s))
    rows = rows[:k]
    signs = np.sign(rows[np.arange(k), np.abs(rows).argmax(axis=1)])
    return Components(mean, rows * signs[:, None], shares[:k])


MOST_MIXED = 8  # outputs that are unmixed; more are rarely a plain mixture


def independent(Y: np.ndarray, seed: int = 0) -> Components:
    """The independent components of few outputs Y (n, m), of unit variance (FastICA, Hyvarinen 1999): where a network's outputs are
    a mixture of plain quantities, such as messages of the components of a force, each of these is simpler than the mixtures."""
    from sklearn.decomposition import FastICA

    Y = np.asarray(Y, dtype=np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of slow convergence: what came out is a basis in any case
        found = FastICA(whiten="unit-variance", random_state=seed, max_iter=1000, tol=1e-6).fit(Y)
    mixing = found.mixing_.T  # (k, m)
    shares = (mixing**2).sum(axis=1) / (mixing**2).sum()
    order = np.argsort(-shares, kind="stable")
    rows, project = mixing[order], found.components_[order]
    signs = np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])
    return Components(found.mean_, rows * signs[:, None], shares[order], project * signs[:, None])


class Linear(NamedTuple):
    """y = x @ weight + bias, weight (d, m), bias (m,)."""

    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, X: np.ndarray) -> np.ndarray:
        return X @ self.weight + self.bias

    @property
    def parameters(self) -> int:
        return self.weight.size + self.bias.size


def linear_map(X: np.ndarray, Y: np.ndarray, rank: int | None = None, ridge: float = RIDGE) -> Linear:
    """The least-squares map of X (n, d) to Y (n, m), of at most `rank` where that is given.

    ridge: share of the mean square of a column that is added to the normal equations.  Of a given rank the best map is the
    full one followed by a projection on the leading principal components of what it gives (reduced-rank regression, Izenman 1975).
    """
    X, Y = np.asarray(X, dtype=np.float64), np.asarray(Y, dtype=np.float64)
    mx, my = X.mean(axis=0), Y.mean(axis=0)
    A, B = X - mx, Y - my
    G = A.T @ A
    G[np.diag_indices_from(G)] += ridge * (np.trace(G) / max(1, len(G)) or 1.0)
    W = np.linalg.solve(G, A.T @ B)
    if rank is not None and rank < min(W.shape):
        leading = components(A @ W, rank).rows
        W = W @ leading.T @ leading
    return Linear(W, my - mx @ W)


def r2(Y: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """1 - FVU of each column (m,) of Y (n, m): 0 for a column that never changes and is met, -inf where it is not or not finite."""
    with np.errstate(all="ignore"):
        rest = ((Y - fitted) ** 2).sum(axis=0)
        total = ((Y - Y.mean(axis=0)) ** 2).sum(axis=0)
        values = np.where(total > 0, 1.0 - rest / total, np.where(rest > 0, -np.inf, 0.0))
    return np.where(np.isfinite(rest), values, -np.inf)
