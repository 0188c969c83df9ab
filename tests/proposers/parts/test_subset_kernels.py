"""The kernels of sparse sums against plain loops over numpy's own least squares."""

from itertools import combinations

import numpy as np
import pytest

from fansr.proposers.library_sums import EXACT, few_least_squares
from fansr.proposers.parts import subset_kernels
from fansr.proposers.parts.sparse_sums import MIN_SHARE, PAIR_DETERMINANT


def left_by(B, t):
    r = t - B.T @ np.linalg.lstsq(B.T, t, rcond=None)[0]
    return float(r @ r) / float(t @ t)


@pytest.fixture
def unit():
    rng = np.random.default_rng(3)
    B = rng.normal(size=(300, 70))  # more than one block of features
    B[9] = B[4] + 1e-3 * B[9]  # too collinear for a pair
    return B / np.sqrt((B * B).sum(axis=1))[:, None], rng.normal(size=70), rng


def test_partners_explain_most(unit):
    B, t, _ = unit
    t = t / np.sqrt(t @ t)
    partner, explained = subset_kernels.partners(B @ B.T, B @ t, PAIR_DETERMINANT)
    for i in (0, 4, 9, 150, 299):
        true = [1 - left_by(B[[i, j]], t) if j != i and {i, j} != {4, 9} else -1.0 for j in range(300)]
        assert partner[i] == np.argmax(true) and np.isclose(explained[i], max(true), rtol=1e-4)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_exchanged_sets_cannot_be_bettered_in_one_place(unit, k):
    B, t, rng = unit
    starts = np.array([rng.choice(300, k, replace=False) for _ in range(6)])
    sets, banned = starts.copy(), np.full(6, -1)
    banned[1] = starts[1, 0]
    banned[2] = int(np.argmax(np.abs(B @ t)))
    residual = subset_kernels.exchanged(B @ B.T, B @ t, float(t @ t), sets, banned, 50, MIN_SHARE, 1e-14)
    for members, without, r in zip(sets, banned, residual):
        assert without not in members and len(set(members)) == k
        assert np.isclose(r, left_by(B[members], t), rtol=1e-9)
        for place in range(k):
            rest = np.delete(members, place)
            others = [left_by(B[[*rest, f]], t) for f in range(300) if f != without and f not in rest]
            assert r <= min(others) * (1 + 1e-5)


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_few_columns_are_fitted_and_needless_ones_dropped(noise):
    rng = np.random.default_rng(5)
    B = rng.normal(size=(4, 90)) + 2.0
    B /= np.sqrt((B * B).sum(axis=1))[:, None]
    t = 3 * B[0] - 0.2 * B[3] + noise * rng.normal(size=90)
    needed = min(
        (list(rows) for m in (1, 2, 3, 4) for rows in combinations(range(4), m)),
        key=lambda rows: (max(left_by(B[rows], t), 1e-25) * (1 + 2 / 90) ** len(rows), len(rows)),
    )
    keep, c, residual, errors = few_least_squares(B, t)
    assert keep == needed and {0, 3} <= set(keep)
    true = np.linalg.lstsq(B[keep].T, t, rcond=None)[0]
    assert np.allclose(c, true, rtol=1e-12) and np.isclose(residual, left_by(B[keep], t), rtol=1e-9, atol=1e-28)
    assert np.allclose(errors**2, np.diag(np.linalg.inv(B[keep] @ B[keep].T)))


def test_nearly_dependent_columns_are_left_to_singular_values():
    rng = np.random.default_rng(6)
    B = rng.normal(size=(3, 50))
    B[2] = B[0] + 1e-9 * B[1]
    B /= np.sqrt((B * B).sum(axis=1))[:, None]
    t = B[0] + B[1]
    assert subset_kernels.few_columns(B, t, EXACT) is None
    keep, c, residual, _ = few_least_squares(B, t)
    assert residual < 1e-25 and np.allclose(c @ B[keep], t)
