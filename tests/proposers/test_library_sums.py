"""Laws of several kinds, none of a benchmark, from clean and noisy points: the terms must come back exactly."""

import numpy as np
import pytest

from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers import factor_products, library_sums


def make(law, D, seed=0, M=200, low=0.5, high=3.0, noise=0.0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(low, high, (M, D))
    y = law(*X.T)
    return Problem(X=X, y=y + noise * y.std() * rng.normal(size=M), names=[f"x{j + 1}" for j in range(D)]), y


def search(problem, propose=library_sums.propose, enough=1e-22):
    best = None
    for batch in propose(problem, Budget(None), np.random.default_rng(0)):
        for c in batch:
            assert len(c.consts) == c.expr.count("<constant>")
            if best is None or (np.log10(max(c.fvu, 1e-26)) + 0.05 * len(c.expr)) < best[0]:
                best = (np.log10(max(c.fvu, 1e-26)) + 0.05 * len(c.expr), c)
        if best is not None and best[1].fvu < enough:
            break
    return best[1]


LAWS = {
    "sum of monomials": (lambda a, b, c: 2 * a * b - 3.7 * c**2, 3, 9),
    "root of a sum": (lambda a, b, c: np.sqrt(a**2 + 5 * b * c), 3, 9),
    "inverse of a sum": (lambda a, b: 1 / (0.3 + a * b**2), 2, 9),
    "exponential of a sum": (lambda a, b: np.exp(0.4 * a - 0.7 * b), 2, 10),
    "logarithm of a sum": (lambda a, b: np.log(a**2 + 3 * b), 2, 8),
    "fraction of sums": (lambda a, b, c: (a * b + c) / (a + 2 * c), 3, 12),
    "function of a difference": (lambda a, b, c: 1.5 * a * np.cos(b - c) + 4, 3, 11),
    "arcus": (lambda a, b: np.arcsin(0.15 * a / b), 2, 8),
    "square of a sum": (lambda a, b: (np.sqrt(a) + 0.2 * b) ** 2, 2, 9),
    "mixed signs": (lambda a, b: (a - b) / (1 + b * b), 2, 9),
}


@pytest.mark.parametrize("name", sorted(LAWS))
def test_clean_laws_come_back(name):
    law, D, length = LAWS[name]
    problem, _ = make(law, D)
    found = search(problem)
    assert found.fvu < 1e-20
    fresh, truth = make(law, D, seed=5)
    assert np.allclose(evaluate(found.expr, fresh.X, found.consts), truth, rtol=1e-7, atol=1e-9 * np.abs(truth).max())
    assert len(found.expr) <= length + 3


PRODUCTS = {
    "sine and sum": (lambda a, b, c: 3.3 * np.sin(a * b) ** 2 / (b + c), 3),
    "gaussian": (lambda a, b, c: np.exp(-((a - b) ** 2) / (2 * c**2)) / c, 3),
    "length of a vector": (lambda a, b: a * np.sqrt(a**2 + b**2), 2),
    "planck like": (lambda a, b: a**3 / (np.exp(a / b) - 1), 2),
    "mixed signs": (lambda a, b, c: (a - b) * c**2 / (a**2 + b**2), 3),
}


@pytest.mark.parametrize("name", sorted(PRODUCTS))
def test_products_of_factors(name):
    law, D = PRODUCTS[name]
    problem, _ = make(law, D, seed=1)
    assert search(problem, factor_products.propose).fvu < 1e-20


def test_units_of_any_size():
    rng = np.random.default_rng(0)
    X = np.column_stack([1e-31 * rng.uniform(1, 9, 200), 1e8 * rng.uniform(0.1, 2.5, 200)])
    y = X[:, 0] * 9e16 / np.sqrt(1 - (X[:, 1] / 3e8) ** 2)
    found = search(Problem(X=X, y=y, names=["m", "v"]))
    assert found.fvu < 1e-20 and len(found.expr) <= 11


def test_noise_leaves_the_form():
    problem, truth = make(lambda a, b, c: 2 * a * b - 3.7 * c**2, 3, M=300, noise=0.02)
    candidates = [c for batch in library_sums.propose(problem, Budget(None), np.random.default_rng(0)) for c in batch]
    errors = {
        len(c.consts): np.var(evaluate(c.expr, problem.X, c.consts) - truth) / np.var(truth)
        for c in candidates
        if len(c.expr) <= 11
    }
    assert min(errors.values()) < 5e-5  # noise of 4e-4 of the variance, averaged over 300 points


def test_same_seed_same_candidates():
    problem, _ = make(lambda a, b: np.exp(-a) * b + np.sin(2.2 * b), 2, M=80)

    def first(n):
        batches = library_sums.propose(problem, Budget(None), np.random.default_rng(3))
        return [(c.expr, c.consts.tolist()) for batch, _ in zip(batches, range(n)) for c in batch]

    assert first(6) == first(6)


@pytest.mark.parametrize(
    "X, y",
    [
        (np.zeros((8, 2)), np.arange(8.0)),
        (np.arange(8.0)[:, None], np.full(8, 2.0)),
        (np.arange(8.0)[:, None], np.array([0, 0, 0, 0, 0, 0, 0, 1.0])),
        (np.random.default_rng(0).normal(size=(12, 3)) * 1e300, np.random.default_rng(1).normal(size=12) * 1e-300),
        (np.random.default_rng(0).integers(0, 2, (30, 4)).astype(float), np.random.default_rng(1).normal(size=30)),
        (np.arange(5.0)[:, None], np.arange(5.0) ** 2),
    ],
)
def test_odd_tables_do_no_harm(X, y):
    problem = Problem(X=X, y=y, names=[f"x{j + 1}" for j in range(X.shape[1])])
    for batch in library_sums.propose(problem, Budget(None), np.random.default_rng(0)):
        for c in batch:
            assert np.isfinite(c.consts).all() and np.isfinite(c.fvu)


def test_a_spent_budget_ends_the_search():
    problem, _ = make(lambda a, b: np.exp(np.sin(3 * a)) + np.log(1 + b**3), 2)
    budget = Budget(3600.0)
    batches = library_sums.propose(problem, budget, np.random.default_rng(0))
    next(batches)
    budget.stop()
    assert len(list(batches)) <= 1


def test_a_function_over_a_column_keeps_the_columns_unit():
    """y / V = exp(S) with V far from 1: the unit of the base must come out again, not twice."""
    from fansr.proposers.library_sums import Search
    from fansr.proposers.parts.target_transforms import OUTER

    rng = np.random.default_rng(0)
    X = np.column_stack([rng.uniform(1e3, 5e3, 60), rng.uniform(0.1, 3, 60)])
    problem = Problem(X, X[:, 0] * np.exp(-X[:, 1]), ["V", "t"])
    search = Search(problem, np.random.default_rng(0))
    found = search.look(search.library((40, 20)), OUTER["exp"], (1.0, 0.0))
    assert min(c.fvu for c in found) < 1e-20
