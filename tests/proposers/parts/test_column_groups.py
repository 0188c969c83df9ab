"""Dealings of columns into groups, and the splines they are fitted with, against scipy and laws written down here."""

import numpy as np
import pytest

from fansr.fitting.problem import Problem
from fansr.proposers.parts.column_groups import b_splines, dealings, dealings_that_hold, spline


def make(law, D, M=400, low=0.3, high=3.0, seed=0):
    X = np.random.default_rng(seed).uniform(low, high, (M, D))
    return Problem(X=X, y=law(*X.T), names=[f"x{j + 1}" for j in range(D)])


def test_all_dealings_once():
    assert [len(dealings(n)) for n in range(1, 6)] == [1, 2, 5, 15, 52]  # Bell's numbers
    for groups in dealings(4):
        assert sorted(j for group in groups for j in group) == [0, 1, 2, 3]
    assert len(set(dealings(5))) == 52


@pytest.mark.parametrize(
    "law, D, groups",
    [
        (lambda a, b, c: np.sin(a) * (b + np.log(c)), 3, ((0,), (1, 2))),
        (lambda a, b, c: np.sin(a) + b**2 + np.log(c), 3, ((0, 1, 2),)),
        (lambda a, b, c: 2 + np.sin(a) * b**2 * np.log(c), 3, ((0,), (1,), (2,))),
    ],
)
def test_the_true_dealing_holds_best(law, D, groups):
    problem = make(law, D)
    models = [m for m in dealings_that_hold(problem.X, problem.y, np.random.default_rng(0)) if m is not None]
    best = min(models, key=lambda m: m.error)
    assert best.groups == groups and best.error < 1e-6
    product = np.prod(best.factors, axis=0)
    assert np.allclose(best.offset + product, problem.y, atol=0.01 * problem.y.std())


def test_nothing_holds_where_nothing_separates():
    problem = make(lambda a, b: np.sin(4 * a * b), 2)
    models = [m for m in dealings_that_hold(problem.X, problem.y, np.random.default_rng(0)) if m is not None]
    assert not models


def test_b_splines_against_scipy():
    from scipy.interpolate import BSpline

    u = np.r_[0.0, np.sort(np.random.default_rng(0).uniform(size=50)), 1.0]
    knots = np.r_[[0.0] * 4, 0.2, 0.5, 0.55, [1.0] * 4]
    assert np.allclose(b_splines(u, knots), BSpline.design_matrix(u, knots, 3).toarray(), atol=1e-14)


def test_splines_follow_a_smooth_function():
    x = np.random.default_rng(0).uniform(-1, 2, 300)
    B = spline(x, 20)
    A = np.column_stack([np.ones(300), B])
    c = np.linalg.lstsq(A, np.sin(3 * x), rcond=None)[0]
    assert np.abs(A @ c - np.sin(3 * x)).max() < 1e-3 and np.allclose(B.mean(axis=0), 0)
    assert np.linalg.matrix_rank(A) == A.shape[1]
