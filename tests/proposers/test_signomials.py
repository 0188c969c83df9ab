"""Sums of power laws whose exponents nobody lists: found exactly, and the descent's gradient against differences."""

import numpy as np
import pytest

from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers import signomials


def best(X, y, enough=1e-20):
    problem = Problem(X=X, y=y, names=[f"x{j + 1}" for j in range(X.shape[1])])
    found = None
    for batch in signomials.propose(problem, Budget(None), np.random.default_rng(0)):
        found = min([*batch, *([found] if found else [])], key=lambda c: c.fvu, default=None)
        if found is not None and found.fvu < enough:
            break
    return found


@pytest.mark.parametrize("unit", [1.0, 3e-9, 7e6])
@pytest.mark.parametrize(
    "law, D",
    [
        (lambda a, b, c, d: a * b * c / d - c**2 / a, 4),
        (lambda a, b, c, d, e, f: f / (d**2 * b / a + c * e / np.sqrt(a)), 6),
        (lambda a, b, c, d, e: np.sqrt(a**2 * b / c + 0.4 * d * e), 5),
        (lambda a, b, c, d: 1 / (a / (5 * b) + c * d**1.5), 4),
        (lambda a, b, c, d, e, f, g: a * b**2 / (2 * c) + d * e * f + 0.35 * g, 7),
        (lambda a, b, c, d: 2.1 * a * b - 0.5 * c / d + 1.7, 4),
    ],
    ids=["difference", "fraction", "root", "reciprocal", "three terms", "with a constant"],
)
def test_it_finds_sums_of_power_laws_in_any_unit(law, D, unit):
    X = np.random.default_rng(1).uniform(1, 4, (150, D))
    found = best(X, unit * law(*X.T))
    fresh = np.random.default_rng(2).uniform(1, 4, (100, D))
    np.testing.assert_allclose(evaluate(found.expr, fresh, found.consts), unit * law(*fresh.T), rtol=1e-7)


def test_columns_that_do_nothing_get_no_exponent():
    X = np.random.default_rng(3).uniform(1, 4, (150, 5))
    found = best(X, X[:, 0] * X[:, 2] ** 1.5 + 3 / X[:, 3])
    assert found.fvu < 1e-20 and not {"x2", "x5"} & set(found.expr)


def test_noise_does_not_hide_them():
    rng = np.random.default_rng(4)
    X = rng.uniform(1, 4, (200, 4))
    y = X[:, 0] * X[:, 1] / X[:, 2] + 2 * np.sqrt(X[:, 3]) * X[:, 2]
    found = best(X, y + rng.normal(0, 0.01 * y.std(), len(y)))
    fresh = rng.uniform(1, 4, (100, 4))
    true = fresh[:, 0] * fresh[:, 1] / fresh[:, 2] + 2 * np.sqrt(fresh[:, 3]) * fresh[:, 2]
    assert np.mean((evaluate(found.expr, fresh, found.consts) - true) ** 2) < 1e-5 * true.var()


@pytest.mark.parametrize("X", [np.linspace(-1, 1, 90).reshape(30, 3), np.ones((30, 3)), np.ones((4, 2))])
def test_tables_without_logarithms_get_nothing(X):
    assert best(X, np.arange(len(X)) ** 2.0) is None


def test_a_step_of_the_descent_never_makes_it_worse():
    rng = np.random.default_rng(5)
    logs = np.log(rng.uniform(1, 4, (80, 3)))
    S = np.exp(logs @ [1, 2, 0]) + 3 * np.exp(logs @ [0, -1, 1])
    descent = signomials.Descent(logs, S, (1, 1))
    a = rng.normal(0, 1, (12, 2, 4))
    last = descent._misfit(a)[2]
    for _ in range(20):
        a, cost = descent.steps(a, 1)
        assert (cost <= last).all()
        last = cost
    # ... and what a descent ends at is what a plain loop makes of the same exponents.
    for e, c in zip(a, last):
        values = sum(np.exp(term[0] + logs @ term[1:]) for term in e)
        weights = 1 / (S**2 + (0.3 * np.median(S)) ** 2)
        assert c == pytest.approx(float(np.sum(weights * (S - values) ** 2)), rel=1e-9)


def test_exponents_that_may_not_move_stand_still():
    rng = np.random.default_rng(6)
    logs = np.log(rng.uniform(1, 4, (80, 2)))
    descent = signomials.Descent(logs, np.exp(logs @ [1, 2]) + 1, (1, 1))
    a, free = rng.normal(0, 1, (1, 2, 3)), np.array([[True, False, True], [True, True, False]])
    moved, _ = descent.steps(a, 10, free)
    assert (moved[0][~free] == a[0][~free]).all() and (moved[0][free] != a[0][free]).all()
