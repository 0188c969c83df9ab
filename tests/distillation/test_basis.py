"""Principal components and linear maps against numpy and scikit-learn."""

import numpy as np
from sklearn.decomposition import PCA

from fansr.distillation import basis


def rows(seed=0, n=200, d=6):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


def test_components_are_those_of_scikit_learn():
    X = rows()
    ours, theirs = basis.components(X, 3), PCA(3).fit(X)
    assert np.allclose(ours.mean, theirs.mean_) and np.allclose(ours.shares, theirs.explained_variance_ratio_)
    assert np.allclose(np.abs(ours.rows @ theirs.components_.T), np.eye(3), atol=1e-8)
    assert np.allclose(ours.rows @ ours.rows.T, np.eye(3))
    shares = PCA().fit(X).explained_variance_ratio_
    wanted = int(np.searchsorted(np.cumsum(shares), 0.9)) + 1
    assert len(basis.components(X, share=0.9).rows) == wanted


def test_linear_maps():
    rng = np.random.default_rng(1)
    X = rows(2)
    W = rng.normal(size=(6, 4))
    Y = X @ W + rng.normal(size=4) + 0.1 * rng.normal(size=(200, 4))
    ours = basis.linear_map(X, Y, ridge=0.0)
    A = np.column_stack([X, np.ones(200)])
    theirs = np.linalg.lstsq(A, Y, rcond=None)[0]
    assert np.allclose(ours(X), A @ theirs) and ours.parameters == 28
    low = basis.linear_map(X, Y, 2, ridge=0.0)
    assert np.linalg.matrix_rank(low.weight, tol=1e-8) == 2
    # of all maps of rank 2 none is better: random ones, refitted by alternating least squares
    best = ((low(X) - Y) ** 2).sum()
    Xc, Yc = X - X.mean(0), Y - Y.mean(0)
    for seed in range(5):
        B = np.random.default_rng(seed).normal(size=(2, 4))
        for _ in range(200):
            P = np.linalg.lstsq(Xc, Yc @ np.linalg.pinv(B), rcond=None)[0]
            B = np.linalg.lstsq(Xc @ P, Yc, rcond=None)[0]
        assert best <= ((Xc @ P @ B - Yc) ** 2).sum() * (1 + 1e-9)
    copies = np.column_stack([X, X[:, 0]])  # a column that is another's copy
    assert np.allclose(basis.linear_map(copies, Y)(copies), A @ theirs, atol=1e-2)


def test_r2():
    Y = rows(3)
    assert np.allclose(basis.r2(Y, Y), 1) and np.allclose(basis.r2(Y, Y.mean(0) * np.ones_like(Y)), 0)
    flat = np.ones((5, 1))
    assert basis.r2(flat, flat)[0] == 0 and basis.r2(flat, flat + 1)[0] == -np.inf
    assert basis.r2(Y, np.full_like(Y, np.nan))[0] == -np.inf


def test_a_planted_mixture_is_unmixed_to_a_degree():
    rng = np.random.default_rng(5)
    sources = np.column_stack([rng.uniform(-1, 1, 4000), np.sin(rng.uniform(0, 20, 4000))])
    mixing = np.array([[0.8, -0.5], [0.3, 1.1]])
    Y = sources @ mixing + np.array([2.0, -1.0])
    found = basis.independent(Y)
    assert np.allclose(found.mean + found.of(Y) @ found.rows, Y)
    assert np.allclose(found.of(Y).std(axis=0), 1)
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True)  # noqa: E731
    degrees = np.degrees(np.arccos(np.clip(np.abs(unit(found.rows) @ unit(mixing).T), 0, 1)))
    assert degrees.min(axis=1).max() < 1 and sorted(degrees.argmin(axis=1)) == [0, 1]
