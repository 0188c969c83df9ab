"""Laws of functions of single columns, taken apart and put together again, against laws written down here."""

import numpy as np
import pytest

from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers.separable import propose


def make(law, D, M=400, low=0.3, high=3.0, seed=0):
    X = np.random.default_rng(seed).uniform(low, high, (M, D))
    return Problem(X=X, y=law(*X.T), names=[f"x{j + 1}" for j in range(D)])


LAWS = {
    "sum": (lambda a, b: np.sin(a) + np.exp(-b), 2),
    "product": (lambda a, b: np.exp(-((a - 1) ** 2)) / (1.2 + (b - 2.5) ** 2), 2),
    "product over an offset, changing its sign": (lambda a, b, c: 3 + np.tanh(a) * (np.log(b) - 2 * c**2), 3),
    "root of a sum": (lambda a, b, c: np.sqrt(1 + a**2 + 3 * np.exp(-b) + c), 3),
    "product of sums": (lambda a, b, c, d: (a**2 + np.sin(b)) * (c + np.exp(-d)), 4),
    "inverse of a sum": (lambda a, b: 1 / (a**2 + 2 * np.exp(b)), 2),
    "logarithm of a sum": (lambda a, b: np.log(1 + a**3 + np.cosh(b)), 2),
}


@pytest.mark.parametrize("name", LAWS)
def test_laws_are_put_together_exactly(name):
    law, D = LAWS[name]
    problem = make(law, D)
    best = min(
        (c for batch in propose(problem, Budget(None), np.random.default_rng(0)) for c in batch), key=lambda c: c.fvu
    )
    assert best.fvu < 1e-18
    fresh = make(law, D, seed=1)
    values = evaluate(best.expr, fresh.X, best.consts)
    assert np.sum((values - fresh.y) ** 2) < 1e-12 * np.sum((fresh.y - fresh.y.mean()) ** 2)


@pytest.mark.parametrize(
    "X, y",
    [
        (np.zeros((60, 2)), np.arange(60.0)),
        (np.random.default_rng(0).normal(size=(60, 3)) * 1e200, np.random.default_rng(1).normal(size=60)),
        (np.random.default_rng(0).integers(0, 2, (60, 3)).astype(float), np.random.default_rng(1).normal(size=60)),
        (np.arange(8.0)[:, None], np.arange(8.0)),
        (np.random.default_rng(0).normal(size=(60, 2)), np.random.default_rng(1).normal(size=60) * 1e-300),
    ],
)
def test_odd_tables_do_no_harm(X, y):
    problem = Problem(X=X, y=y, names=[f"x{j + 1}" for j in range(X.shape[1])])
    with np.errstate(all="ignore"):
        for batch in propose(problem, Budget(None), np.random.default_rng(0)):
            assert all(np.isfinite(c.fvu) for c in batch)


def test_it_ends_with_the_budget():
    problem = make(LAWS["sum"][0], 2)
    assert list(propose(problem, Budget(0.0), np.random.default_rng(0))) == []
