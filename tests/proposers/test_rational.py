"""Polynomials and quotients found whole, against the laws they were made of and numpy's own arithmetic."""

import numpy as np
import pytest

from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers import rational


def make(law, D, M=300, low=0.4, high=3.0, seed=1):
    X = np.random.default_rng(seed).uniform(low, high, (M, D))
    return Problem(X=X, y=law(*X.T), names=[f"x{j + 1}" for j in range(D)])


def best(problem):
    found = [c for batch in rational.propose(problem, Budget(None), np.random.default_rng(0)) for c in batch]
    return min(found, key=lambda c: c.length, default=None)


@pytest.mark.parametrize("law, D, longest", [
    (lambda a, b, c, d: a * b * (c - d) + 2.5 * b**2 * d - c / d + (a + c) * (b - d), 4, 40),
    (lambda a, b: (1.5 + a * b**2) / (2 + 0.3 * a**2 + b), 2, 22),
    (lambda a: a**9 + a**8 + a**7 + a**6 + a**5 + a**4 + a**3 + a**2 + a, 1, 33),
    (lambda a, b, c: np.sqrt(a**2 + 3 * b * c + 0.7), 3, 12),
    (lambda a, b: 2 * np.exp(-(a**2) - 0.3 * a * b), 2, 14),
    (lambda a, b, c, d: -1.5 * b**2 / np.sqrt(a) * np.exp(-a * b * c / 3 + 0.2 * d), 4, 24),
    (lambda a, b: b / (1 + ((a - 2.5) / 0.25) ** 2) + 0.28, 2, 14),
    (lambda a, b: np.sqrt(a) * b + 3 * np.sqrt(b) - 1.7, 2, 14),
])  # fmt: skip
def test_whole_laws(law, D, longest):
    problem = make(law, D)
    c = best(problem)
    assert c is not None and c.length <= longest
    unseen = make(law, D, seed=2)
    assert np.allclose(evaluate(c.expr, unseen.X, c.consts), unseen.y, rtol=1e-7)


@pytest.mark.parametrize("law, D", [(np.exp, 1), (np.cos, 1), (lambda a, b: np.sin(a * b), 2)])
def test_no_series_for_what_is_no_polynomial(law, D):
    c = best(make(law, D, low=-1.0, high=1.0))
    assert c is None or c.length < 8


def test_columns_of_few_values_make_no_polynomials():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.integers(0, 4, 200).astype(float), rng.uniform(1, 2, 200)])
    c = best(Problem(X=X, y=np.exp(X[:, 0]) * X[:, 1], names=["a", "b"]))
    assert c is None or c.length < 7


def test_multiples_of_a_column_are_left_out():
    X = make(lambda a, b: a, 2).X
    X = np.column_stack([X[:, 0], 2 * X[:, 0], X[:, 1]])
    c = best(Problem(X=X, y=X[:, 0] ** 2 + 3 * X[:, 0] * X[:, 2] - 1.5, names=["a", "b", "c"]))
    assert c is not None and "x2" not in c.expr and c.length <= 12


def test_nothing_on_noise():
    problem = make(lambda a, b: a * b + b**2, 2)
    problem.y += 1e-3 * np.random.default_rng(3).normal(size=len(problem.y))
    assert best(problem) is None


@pytest.mark.parametrize("scale", [1e-200, 1e-30, 1e150])
def test_any_unit(scale):
    problem = make(lambda a, b: (a + 2 * b) * 3 / (a + 0.5), 2)
    problem.y *= scale
    problem.X = problem.X * np.array([1e20, 1e-20])
    c = best(problem)
    assert c is None or np.allclose(evaluate(c.expr, problem.X, c.consts), problem.y, rtol=1e-6)


def test_a_polynomial_times_a_column_is_the_same_law_once():
    p = make(lambda a, b, c: 1.3 * a * b - c**2 / b + 0.7, 3)
    first = next(batch for batch in rational.propose(p, Budget(None), np.random.default_rng(0)) if batch)
    assert len(first) == len({tuple(c.expr) for c in first}) == 1


def test_quotients_that_are_not_near_the_target_are_not_spelled():
    x = np.linspace(1, 2, 40)
    B = np.column_stack([np.ones(40), x, x * x])
    S = (1 + x) / (3 + x * x)
    assert rational._follows(B, S, np.array([1, 1, 0, 3, 0, 1.0]))
    assert rational._follows(B, S, np.array([1, 1, 0, 3, 0, 1 + 1e-5]))
    assert not rational._follows(B, S, np.array([1, 1, 0, 3, 0, 1.1]))
    assert not rational._follows(B, S, np.zeros(6))


@pytest.mark.parametrize("dependent", [False, True])
def test_factors_are_widened(dependent):
    B = np.random.default_rng(0).normal(size=(40, 9))
    B[:, 7] = B[:, 1] - B[:, 2] if dependent else B[:, 7]
    Q, R = rational._widened(*np.linalg.qr(B[:, :4]), B)
    assert np.allclose(Q @ R, B) and np.allclose(Q.T @ Q, np.eye(9)) and np.allclose(R, np.triu(R))


def relative_to(low, width, D, M=256, seed=0):
    low, width = np.broadcast_to(low, D), np.broadcast_to(width, D)
    return low + width * np.random.default_rng(seed).uniform(0, 1, (M, D))


def test_polynomials_of_columns_that_hardly_vary():
    X = relative_to([1.4, 2.3, 9.17, 5.15], [1.7, 5.4, 0.08, 0.8], 4)
    a, b, c, d = X.T
    y = 0.2652 * (b - c) * (b - d) * c * d + a + c
    found = best(Problem(X=X, y=y, names=["a", "b", "c", "d"]))
    assert found is not None and found.length <= 40
    unseen = relative_to(0.5, 9.0, 4, seed=1)  # far outside: only the law itself goes on
    a, b, c, d = unseen.T
    assert np.allclose(
        evaluate(found.expr, unseen, found.consts), 0.2652 * (b - c) * (b - d) * c * d + a + c, rtol=1e-3
    )


@pytest.mark.parametrize("D", [5, 6])
def test_quotients_of_five_and_six_columns(D):
    def law(X):
        return (1.3 * X[:, 0] * X[:, 1] + X[:, 2] ** 2) / (X[:, 3] * X[:, 4] * X[:, D - 1] + 2.5 * X[:, 1])

    X, unseen = relative_to(0.5, 2.5, D), relative_to(0.5, 2.5, D, seed=1)
    found = best(Problem(X=X, y=law(X), names=[f"x{j + 1}" for j in range(D)]))
    assert found is not None and found.length <= 22
    assert np.allclose(evaluate(found.expr, unseen, found.consts), law(unseen), rtol=1e-9)
