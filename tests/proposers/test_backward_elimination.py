"""Backward elimination against least squares of what is left, and against taking every feature away in turn."""

import numpy as np
import pytest

from fansr.proposers.parts.backward_elimination import eliminated


def squares(B, t):
    c = np.linalg.lstsq(B, t, rcond=None)[0]
    return float(np.sum((t - B @ c) ** 2))


@pytest.mark.parametrize("seed", range(4))
def test_every_step_is_least_squares_without_the_feature_that_matters_least(seed):
    rng = np.random.default_rng(seed)
    B = rng.normal(size=(30, 7)) @ rng.normal(size=(7, 7)) * 10.0 ** rng.integers(-6, 6, 7)
    t = rng.normal(size=30) + B[:, 2] / B[:, 2].std()
    path = list(eliminated(B, t))
    assert [len(live) for _, live in path] == [7, 6, 5, 4, 3, 2, 1]
    assert path[0][0] == pytest.approx(squares(B, t))
    for (_, before), (left, live) in zip(path, path[1:]):
        each = [squares(B[:, [k for k in before if k != gone]], t) for gone in before]
        assert left == pytest.approx(min(each), rel=1e-6)
        assert before[int(np.argmin(each))] not in live


def test_features_that_say_the_same_give_no_path():
    B = np.random.default_rng(0).normal(size=(20, 3))
    assert not list(eliminated(np.column_stack([B, B[:, 0] - B[:, 1]]), B[:, 0]))
    assert not list(eliminated(np.column_stack([B, 0 * B[:, 0]]), B[:, 0]))
    assert not list(eliminated(B[:2], B[:2, 0]))
