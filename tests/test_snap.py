"""snap.py: standard errors against least squares and scipy, constants rounded where the data allow it and nowhere else."""

import math

import numpy as np
import pytest

from fansr import snap
from fansr.evaluate import evaluate
from fansr.problem import Candidate


def test_standard_errors_are_those_of_linear_regression():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(50, 1))
    y = 3 * x[:, 0] + 2 + rng.normal(0, 0.3, 50)
    A = np.c_[x[:, 0], np.ones(50)]
    coef, rss, *_ = np.linalg.lstsq(A, y, rcond=None)
    want = np.sqrt(np.diag(np.linalg.inv(A.T @ A)) * rss[0] / 48)
    fvu = rss[0] / ((y - y.mean()) ** 2).sum()
    got = snap.standard_errors("+ * <constant> x1 <constant>".split(), coef, x, y, fvu, 1e-26)
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_digits_follow_the_errors():
    assert snap.digits_for([3.14159], [0.01]) == [5]
    assert snap.digits_for([0.0, 5.0], [1.0, math.inf]) == [4, 4]


def test_a_noisy_law_gets_its_round_constants_back():
    from fansr.refine import Refiner

    rng = np.random.default_rng(11)
    X = rng.uniform(0.5, 4, (300, 2))
    clean = X[:, 0] ** 2 / (2 * X[:, 1]) + 3
    y = clean + 0.01 * clean.std() * rng.normal(size=300)
    fitter = Refiner(X, y)
    expr = "+ / * <constant> pow2 x1 x2 <constant>".split()
    fvus, consts = fitter.fit([expr])
    law = snap.snap(Candidate(expr, consts[0], float(fvus[0])), fitter, 1e-26)
    np.testing.assert_allclose(evaluate(law.expr, X, law.consts), clean, rtol=1e-12)
    assert len(law.expr) < len(expr)


@pytest.mark.parametrize("scale", [1e-250, 1.0, 1e260])
def test_standard_errors_at_any_scale_equal_least_squares(scale):
    rng = np.random.default_rng(4)
    x = rng.uniform(1, 2, (40, 1))
    y = 3 + 2 * x[:, 0] + rng.normal(0, 0.1, 40)
    A = np.column_stack([np.ones(40), x[:, 0]])
    best, residual, *_ = np.linalg.lstsq(A, y, rcond=None)
    wanted = np.sqrt(np.diag(np.linalg.inv(A.T @ A)) * residual[0] / 38)
    fvu = residual[0] / np.sum((y - y.mean()) ** 2)
    found = snap.standard_errors(["+", "<constant>", "*", "<constant>", "x1"], best * scale, x, y * scale, fvu, 1e-26)
    np.testing.assert_allclose(found / scale, wanted, rtol=1e-8)
