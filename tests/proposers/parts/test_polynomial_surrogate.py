"""A surrogate's gradient against the true one."""

import numpy as np

from fansr.proposers.parts.polynomial_surrogate import Surrogate


def test_gradient_against_the_true_one():
    X = np.random.default_rng(0).uniform(0.5, 3.0, (400, 2))
    a, b = X.T
    surrogate = Surrogate(X, a**2 * b + 3 * b, "y")
    ratio = surrogate.gradient() / np.column_stack([2 * a * b, a**2 + 3])
    assert surrogate.error < 1e-8 and np.allclose(ratio, ratio.mean(), rtol=1e-2)


def test_wide_columns_are_seen_by_their_logarithms():
    X = 10 ** np.random.default_rng(0).uniform(-3, 3, (300, 2))
    y = X[:, 0] ** 2 / X[:, 1]
    surrogate = Surrogate(X, y, "log")
    elasticity = surrogate.gradient() * X * surrogate.size
    assert surrogate.logs.all() and surrogate.error < 1e-8
    assert np.allclose(elasticity, [2, -1], atol=1e-2)
