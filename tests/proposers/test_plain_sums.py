"""Plain sums against least squares by numpy, on tables whose columns are known."""

import numpy as np
import pytest

from fansr.expressions import evaluate, variable_index
from fansr.fitting import Budget, Problem
from fansr.proposers import plain_sums


def proposed(X, y, **more):
    problem = Problem(X, y, [f"c{j}" for j in range(X.shape[1])], **more)
    return [c for batch in plain_sums.propose(problem, Budget(None)) for c in batch]


def columns(candidate):
    return sorted({j for j in map(variable_index, candidate.expr) if j is not None})


@pytest.mark.parametrize("weighted", [False, True])
def test_three_columns_of_ten_with_the_coefficients_of_least_squares(weighted):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal((90, 9)) * 10.0 ** rng.integers(-3, 6, 9), rng.integers(0, 2, 90)])
    y = 5 * X[:, 2] / X[:, 2].std() - 3 * X[:, 5] / X[:, 5].std() + 4 * X[:, 9] + 200 + rng.standard_normal(90)
    w = rng.random(90) if weighted else None
    found = proposed(X, y, **({"weights": w} if weighted else {}))
    three = next(c for c in found if columns(c) == [2, 5, 9] and not set(c.expr) & {"log", "pow2", "pow1_2"})
    A = np.column_stack([np.ones(90), X[:, [2, 5, 9]]])
    root = np.ones(90) if w is None else np.sqrt(w)
    wanted = A @ np.linalg.lstsq(A * root[:, None], y * root, rcond=None)[0]
    np.testing.assert_allclose(evaluate(three.expr, X, three.consts), wanted, rtol=1e-9)
    assert [len(columns(c)) for c in found[:3]] == [1, 2, 3]


def test_a_logarithm_takes_a_columns_place():
    rng = np.random.default_rng(1)
    X = np.exp(rng.standard_normal((80, 3)))
    y = 2 * np.log(X[:, 0]) + X[:, 1] + 0.05 * rng.standard_normal(80)
    found = proposed(X, y)
    two = [c for c in found if columns(c) == [0, 1]]
    assert min(two, key=lambda c: c.fvu).expr.count("log") == 1
    assert min(c.fvu for c in two) < 0.002


@pytest.mark.parametrize("rows", [3, 5])
def test_columns_that_repeat_each_other_and_few_rows_are_no_trouble(rows):
    x = np.arange(rows, dtype=float)
    X = np.column_stack([x, 2 * x, x + 1, np.ones(rows), 1e200 * x])
    found = proposed(X, 3 * x + 1)
    assert min(c.fvu for c in found) < 1e-20
    assert all(len(columns(c)) == 1 for c in found)


def test_a_table_whose_columns_are_all_the_same_has_no_sums():
    assert proposed(np.ones((8, 2)), np.arange(8.0)) == []


def test_coefficients_and_what_is_left_without_each():
    rng = np.random.default_rng(0)
    A, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    c, left = plain_sums._fitted(list(A.T), y)
    assert np.allclose(c, np.linalg.lstsq(A, y, rcond=None)[0])
    assert np.allclose(left, [np.linalg.lstsq(np.delete(A, k, axis=1), y, rcond=None)[1][0] for k in range(4)])


@pytest.mark.parametrize("M", [5, 50])
def test_short_vectors_have_the_products_of_long_ones(M):
    rng = np.random.default_rng(1)
    root, F, y = rng.random(M), rng.normal(size=(4, M)), rng.normal(size=M)
    V, W = np.stack([root, *F, y]), np.vstack([np.atleast_2d(v) for v in plain_sums._short(root, F, y)])
    assert W.shape[1] <= 6 and np.allclose(V @ V.T, W @ W.T)
