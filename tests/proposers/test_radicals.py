"""Roots inside sums inside roots, against the laws they were made of."""

import numpy as np
import pytest

from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers import radicals


def make(law, D, M=400, low=0.5, high=5.0, seed=1):
    X = np.random.default_rng(seed).uniform(low, high, (M, D))
    return Problem(X=X, y=law(*X.T), names=[f"x{j + 1}" for j in range(D)])


@pytest.mark.parametrize("law, D, longest", [
    (lambda a, b: np.sqrt(a * b + np.sqrt(a * b + np.sqrt(a))), 2, 13),
    (lambda a, b, c: c / np.sqrt(a * b + 2.3 * np.cbrt(c + 0.7 * a * c)), 3, 20),
    (lambda a, b: 3 * a - np.sqrt(a * b + 2 * b**2 + 1.3), 2, 18),
    (lambda a: 1e40 * np.sqrt(a + 0.4 * np.sqrt(a**2 + 3)), 1, 18),
])  # fmt: skip
def test_nested_roots_are_found_exactly(law, D, longest):
    problem = make(law, D)
    found = [c for batch in radicals.propose(problem, Budget(None), np.random.default_rng(0)) for c in batch]
    best = min(found, key=lambda c: c.fvu)
    assert best.fvu < 1e-20 and best.length <= longest
    unseen = make(law, D, seed=2)
    assert np.allclose(evaluate(best.expr, unseen.X, best.consts), unseen.y, rtol=1e-8)


@pytest.mark.parametrize("law", [lambda a, b: np.sin(a * b), lambda a, b: np.exp(-a) * b + a**2])
def test_nothing_without_roots(law):
    found = [c for batch in radicals.propose(make(law, 2), Budget(None), np.random.default_rng(0)) for c in batch]
    assert all(c.fvu > 1e-24 or c.length < 12 for c in found)


@pytest.mark.parametrize("y", [np.full(50, 2.0), np.r_[np.zeros(49), 1e300], np.arange(1, 51) * 1e-300])
def test_odd_tables_do_no_harm(y):
    X = np.column_stack([np.arange(1.0, 51.0), np.r_[np.full(49, 1e-200), 1e200]])
    for batch in radicals.propose(Problem(X=X, y=y, names=["a", "b"]), Budget(None), np.random.default_rng(0)):
        assert all(np.isfinite(c.fvu) for c in batch)
