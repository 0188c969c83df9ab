"""Constants inside functions must be found from units nobody chose for the scan."""

import numpy as np
import pytest

from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers import inner_constants


def best(X, y, enough=1e-20):
    problem = Problem(X=X, y=y, names=[f"x{j + 1}" for j in range(X.shape[1])])
    found = None
    for batch in inner_constants.propose(problem, Budget(None), np.random.default_rng(0)):
        for c in batch:
            if found is None or np.log10(max(c.fvu, 1e-24)) + 0.05 * len(c.expr) < found[0]:
                found = np.log10(max(c.fvu, 1e-24)) + 0.05 * len(c.expr), c
        if found and found[1].fvu < enough:
            break
    return found[1]


@pytest.mark.parametrize("unit", [1.0, 3e-12, 7e9])
@pytest.mark.parametrize(
    "law",
    [
        lambda x: 2.5 * (1 - np.exp(-1.7 * x)),
        lambda x: 4.2 / (1 + 0.6 * x),
        lambda x: 3.0 + 1.2 * x**1.7,
        lambda x: x**3 / np.expm1(1.1 * x),
        lambda x: 0.7 + 2.0 * np.sin(2.3 * x),
        lambda x: np.sqrt(2 + 3 * x**2),
        lambda x: 5 * np.tanh(0.8 * x),
        lambda x: 1.5 * x / (0.4 + x),
    ],
    ids=["saturation", "hyperbola", "offset power", "planck", "sine", "root", "tanh", "michaelis"],
)
def test_one_column(law, unit):
    x = np.random.default_rng(0).uniform(0.2, 4, 120)
    found = best(unit * x[:, None], 10 * law(x))
    assert found.fvu < 1e-16
    fresh = np.linspace(0.3, 3.9, 50)
    assert np.allclose(evaluate(found.expr, unit * fresh[:, None], found.consts), 10 * law(fresh), rtol=1e-6)


def test_offset_in_many_columns():
    rng = np.random.default_rng(1)
    X = 10 ** rng.uniform(-1, 1, (200, 5)) * np.array([1e-20, 1, 1e6, 1e-3, 1])
    y = np.sqrt(1 + 0.4 * (X[:, 0] * 1e20) ** 2 * X[:, 1] / X[:, 4])
    assert best(X, y).fvu < 1e-20


def test_a_factor_and_a_term_among_columns():
    rng = np.random.default_rng(2)
    X = rng.uniform(0.5, 3, (300, 4))
    assert best(X, 2.3 * X[:, 0] ** 2 / X[:, 2] * np.tanh(0.7 * X[:, 0] / X[:, 3])).fvu < 1e-20
    assert best(X, 3.1 - 1.2 * X[:, 3] * np.log(X[:, 1] + 0.8)).fvu < 1e-20


@pytest.mark.parametrize(
    "X, y",
    [
        (np.zeros((9, 1)), np.arange(9.0)),
        (np.arange(9.0)[:, None], np.ones(9)),
        (np.arange(6.0)[:, None] - 2, np.array([1.0, -1, 0, 2, -2, 5])),
        (np.random.default_rng(0).normal(size=(12, 2)) * 1e200, np.random.default_rng(1).normal(size=12) * 1e-200),
    ],
)
def test_odd_tables_do_no_harm(X, y):
    problem = Problem(X=X, y=y, names=[f"x{j + 1}" for j in range(X.shape[1])])
    for batch in inner_constants.propose(problem, Budget(None), np.random.default_rng(0)):
        assert all(np.isfinite(c.consts).all() and np.isfinite(c.fvu) for c in batch)
