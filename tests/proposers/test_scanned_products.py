"""Products of several factors with numbers inside: found exactly from units nobody chose."""

import numpy as np
import pytest

from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers import scanned_products


def best(X, y, enough=1e-20):
    problem = Problem(X=X, y=y, names=[f"x{j + 1}" for j in range(X.shape[1])])
    found = None
    for batch in scanned_products.propose(problem, Budget(None), np.random.default_rng(0)):
        found = min([*batch, *([found] if found else [])], key=lambda c: c.fvu, default=None)
        if found is not None and found.fvu < enough:
            break
    return found


LAWS = {
    "sum and shift": (lambda a, b, c, d: (a + b) * (c + 1.932) * np.cbrt(a) / d, 4),
    "wave, decay, shift": (lambda a, b, c, d: np.exp(-a / 2) * np.sin(2.1 * b) * (c / d + 0.2), 4),
    "root of a difference": (lambda a, b, c, d: np.sqrt(a + 4 - b) / (c * d + 2), 4),
    "difference and cosine": (lambda a, b, c, d, e: a * b / (c + 1.3) * (d - a) * np.cos(1.3 * e), 5),
    "ratio of three": (lambda a, b, c, d: (a * b / c + 1.7) * np.sqrt(d) * (b - 0.3), 4),
    "shifted difference": (lambda a, b, c, d: (a - b + 1.27) * c * np.tanh(0.6 * d), 4),
    "tangent": (lambda a, b, c, d: b**2 * np.tan(a + 0.72) * c / d, 4),
}


@pytest.mark.parametrize("unit", [1.0, 4e-11])
@pytest.mark.parametrize("name", LAWS)
def test_it_finds_products_of_several_factors(name, unit):
    law, D = LAWS[name]
    X = np.random.default_rng(1).uniform(1, 3.5, (250, D))
    found = best(X, unit * law(*X.T))
    fresh = np.random.default_rng(2).uniform(1, 3.5, (100, D))
    true = law(*fresh.T)
    away = np.abs(true) < 50 * np.median(np.abs(true))  # a pole makes any rounding large
    np.testing.assert_allclose(
        (evaluate(found.expr, fresh, found.consts) / unit)[away], true[away], rtol=1e-5, atol=1e-8
    )


def test_numbers_fitted_together_are_those_of_scipy():
    from scipy.optimize import least_squares

    X = np.random.default_rng(3).uniform(1, 3, (120, 2))
    y = (X[:, 0] + 0.7) * np.tanh(0.9 * X[:, 1]) * (1 + 0.02 * np.random.default_rng(4).normal(size=120))
    search = scanned_products.Search(Problem(X=X, y=y, names=["a", "b"]))
    laws = [feature.table.tokens for feature in search.features]
    pair = laws.index(("+", "x1", "k")), laws.index(("tanh", "*", "k", "x2"))
    start = scanned_products.Chosen(1.0, pair, ((0.5,), (1.2,)))
    found = search.together(start)

    def misfit(p):
        e0, e1, e2, e3, e4, k1, k2 = p
        a, b = X[search.rows].T
        return search.t - (e0 + e1 * np.log(a) + e2 * np.log(b) + e3 * np.log(a + k1) + e4 * np.log(np.tanh(k2 * b)))

    other = least_squares(misfit, [0, 0, 0, 1, 1, 0.5, 1.2], xtol=1e-14, ftol=1e-14, gtol=1e-14, max_nfev=5000)
    whole = np.sum((search.t - search.t.mean()) ** 2)
    assert found.share <= 2 * other.cost / whole * (1 + 1e-6)


def test_what_a_feature_leaves_in_single_precision_is_what_least_squares_leaves():
    X = np.random.default_rng(5).uniform(1, 3, (90, 3))
    y = X[:, 0] * np.sin(X[:, 1]) + X[:, 2]
    search = scanned_products.Search(Problem(X=X, y=y, names=["a", "b", "c"]))
    shares = search.coarse(scanned_products.Projector(search.known, search.t))
    whole = np.sum((search.t - search.t.mean()) ** 2)
    rows = np.concatenate([f.logs for f in search.features])
    for i in np.random.default_rng(6).choice(len(rows), 60, replace=False):
        if np.isfinite(shares[i]) and np.isfinite(rows[i]).all():
            A = np.column_stack([*search.known, rows[i]])
            r = search.t - A @ np.linalg.lstsq(A, search.t, rcond=None)[0]
            assert shares[i] == pytest.approx(r @ r / whole, abs=2e-3)


@pytest.mark.parametrize("y", [np.zeros(40), np.ones(40), np.where(np.arange(40) % 2, 0.0, 1.0)])
def test_targets_that_are_no_product_get_nothing(y):
    assert best(np.random.default_rng(0).uniform(1, 2, (40, 2)), y) is None
