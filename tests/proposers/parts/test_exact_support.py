"""Which columns an exact solution needs: the sums that were made, whatever else is beside them, and none of a function's series."""

import numpy as np
import pytest

from fansr.proposers.parts.exact_support import support
from fansr.proposers.parts.monomials import monomials, values


def test_the_support_is_that_of_the_sum_and_none_of_another_function():
    rng = np.random.default_rng(0)
    B = rng.normal(size=(60, 12))
    t = B[:, [2, 5, 11]] @ [1.0, -0.5, 0.25]
    assert support(B, t / t.std()) == [2, 5, 11] == support(B, t / t.std(), factors=np.linalg.qr(B))
    assert support(np.column_stack([B, B[:, 3] + B[:, 4]]), t / t.std()) == [
        2,
        5,
        11,
    ]  # dependent columns
    assert support(B, (t + 1e-6 * np.sin(B[:, 0])) / t.std()) is None


def matrix(X, degree):
    vectors = monomials(X.shape[1], degree)
    B = values(X / X.max(axis=0), vectors)
    return B / np.sqrt((B * B).mean(axis=0)), vectors


@pytest.mark.parametrize("seed", range(12))
def test_sums_of_monomials_of_narrow_columns(seed):
    rng = np.random.default_rng(seed)
    X = np.array([9.17, 3.0, 5.0]) + np.array([0.08, 2.0, 0.4]) * rng.uniform(size=(200, 3))
    B, vectors = matrix(X, 4)
    made = np.sort(rng.choice(np.arange(1, len(vectors)), 4, replace=False))
    t = values(X, [vectors[k] for k in made]) @ rng.uniform(0.5, 3.0, 4)
    assert np.linalg.cond(B) > 1e10  # no threshold on coefficients could tell them
    assert support(B, t / t.std(), vectors=vectors) in (made.tolist(), None)
    found = support(B, t / t.std(), vectors=vectors)
    if found is not None:
        c = np.linalg.lstsq(B[:, found], t, rcond=None)[0]
        assert np.abs(B[:, found] @ c - t).max() < 1e-12 * np.abs(t).max()


def test_most_sums_of_narrow_columns_are_told():
    told = 0
    for seed in range(20):
        rng = np.random.default_rng(100 + seed)
        X = rng.uniform(0.5, 9.0, 4) + 10 ** rng.uniform(-1.2, 0.8, 4) * rng.uniform(size=(256, 4))
        B, vectors = matrix(X, 4)
        made = np.sort(rng.choice(np.arange(1, len(vectors)), 4, replace=False))
        t = values(X, [vectors[k] for k in made]) @ rng.uniform(0.5, 3.0, 4)
        told += support(B, t / t.std(), vectors=vectors) == made.tolist()
    assert told >= 16


@pytest.mark.parametrize("f", [np.exp, np.sin, np.log, np.sqrt, np.arctan, lambda u: 1 / u])
@pytest.mark.parametrize("width", [0.01, 0.1, 0.6])
def test_no_series_on_narrow_columns(f, width):
    rng = np.random.default_rng(0)
    X = np.array([2.5, 1.2]) + np.array([width, 1.0]) * rng.uniform(size=(200, 2))
    for degree in (4, 6):
        B, vectors = matrix(X, degree)
        t = f(X[:, 0]) + X[:, 1]
        assert support(B, t / t.std(), vectors=vectors) is None


@pytest.mark.parametrize("twice", [1, 4])
def test_columns_that_are_others_exactly(twice):
    """A column of zeros below R's diagonal, as monomials of a column of two values give: no error, and what is told is the sum."""
    X = np.random.default_rng(0).uniform(1.0, 2.0, (120, 2))
    B, vectors = matrix(X, 3)
    B, vectors = np.hstack([B, B[:, :twice]]), [*vectors, *[(9 + k, 9) for k in range(twice)]]
    B = np.hstack([B, np.zeros((len(B), 1))])
    t = B[:, 3] - 0.5 * B[:, 7]
    found = support(B, t / t.std(), vectors=[*vectors, (20, 20)])
    if found is not None:
        c = np.linalg.lstsq(B[:, found], t, rcond=None)[0]
        assert len(found) <= 3 and np.abs(B[:, found] @ c - t).max() < 1e-12
