"""The gradients' verdicts against laws whose structure is known, and the way back to the whole problem."""

import numpy as np
import pytest

from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers import decomposition
from fansr.proposers.decomposition import reductions


def make(law, D, M=400, low=0.5, high=3.0, seed=0):
    X = np.random.default_rng(seed).uniform(low, high, (M, D))
    return Problem(X=X, y=law(*X.T), names=[f"x{j + 1}" for j in range(D)])


def found_in(problem):
    return [reduction for reduction in reductions(problem, Budget(None)) if reduction is not None]


def has_column(problem, values):
    """Whether a smaller problem has this column."""
    return any(np.allclose(v, values) for r in found_in(problem) for v in r.problems[0].X.T)


def has_target(problem, values):
    return any(np.allclose(r.problems[0].y, values) for r in found_in(problem))


@pytest.mark.parametrize(
    "law, D, expected",
    [
        (lambda a, b, c: np.exp(-((a - b) ** 2) / 3) + c, 3, lambda a, b, c: a - b),
        (lambda a, b, c: np.log(a + b) * c**1.5, 3, lambda a, b, c: a + b),
        (lambda a, b, c: np.tanh(a * b / 4) + c**2, 3, lambda a, b, c: a * b),
        (lambda a, b, c: np.sin(a / b) + c, 3, lambda a, b, c: a / b),
        (lambda a, b, c: np.sqrt(a**2 + b**2 + 1) * np.exp(-c), 3, lambda a, b, c: a**2 + b**2),
        (lambda a, b, c, d: np.sqrt(a * b + c * d) * np.exp(-d), 4, lambda a, b, c, d: a * b + c * d),
        (lambda a, b, c: np.sin((a**2 + b * c) / 6) + c, 3, lambda a, b, c: a**2 + b * c),
    ],
)
def test_columns_that_act_as_one(law, D, expected):
    problem = make(law, D, high=2.5)
    assert has_column(problem, expected(*problem.X.T))


def test_fronts_are_divided_out():
    problem = make(lambda a, b, c: a**2 / b * np.cosh(c / 2), 3)
    assert has_target(problem, np.cosh(problem.X[:, 2] / 2))


def test_unrelated_columns_are_left_apart():
    problem = make(lambda a, b: np.sin(2 * a) * np.exp(b) + np.cos(3 * b) * a, 2)
    for reduction in found_in(problem):
        (smaller,) = reduction.problems
        assert np.array_equal(smaller.y, problem.y)
        assert all(any(np.array_equal(v, x) for x in problem.X.T) for v in smaller.X.T)


@pytest.mark.parametrize(
    "law, D",
    [
        (lambda a, b, c, d: a**2 / b * np.exp(-np.abs(c - d)) + 0 * a, 4),
        (lambda a, b, c: np.log(a * b + 2 * c) + c**2, 3),
        (lambda a, b, c, d: np.sqrt(a * b + c * d) * np.exp(-d), 4),
    ],
)
def test_what_is_put_back_is_the_target(law, D):
    """A smaller problem's rows looked up in a table of its own columns: any law of it, put back, must give y."""
    problem = make(law, D)
    found = found_in(problem)
    assert found
    for reduction in found:
        (smaller,) = reduction.problems
        columns = range(len(smaller.X.T))
        one = evaluate(list(reduction.restore(("1.0",))), problem.X)
        two = evaluate(list(reduction.restore(("2.0",))), problem.X)
        # Every step is linear in what is inside: y = offset + slope * smaller.y, whatever the law.
        slope, offset = two - one, 2 * one - two
        assert np.allclose(offset + slope * smaller.y, problem.y)
        for j in columns:
            put = evaluate(list(reduction.restore((f"x{j + 1}",))), problem.X)
            assert np.allclose(put, offset + slope * smaller.X[:, j])


def alone(problem):
    """Columns of the smaller problems that have only one."""
    return [r.problems[0].X[:, 0] for r in found_in(problem) if len(r.problems[0].names) == 1]


def test_columns_that_act_in_a_sum_only_are_dropped_beside_it():
    problem = make(lambda a, b, c, d, e: e * np.sin((e * b + a * d * c) / 5), 5, high=2.0)
    a, b, c, d, e = problem.X.T
    assert any(np.allclose(v, e * b + a * d * c) for v in alone(problem))


def test_a_column_that_hardly_matters_is_kept():
    """Its share of the spread is 1e-7: far below the columns' others, far above what the surrogate leaves."""
    problem = make(lambda a, b: a + 5e-4 * b**2, 2)
    assert not any(np.array_equal(v, problem.X[:, 0]) for v in alone(problem))
    problem = make(lambda a, b: a + 0 * b, 2)
    assert alone(problem) and all(np.array_equal(v, problem.X[:, 0]) for v in alone(problem))


def test_nested_law_in_four_columns():
    problem = make(lambda a, b, c, d: np.sqrt(np.exp(-((a - b) ** 2)) + c / d), 4)
    best = min(
        (c for batch in decomposition.propose(problem, Budget(None), np.random.default_rng(0)) for c in batch),
        key=lambda c: c.fvu,
    )
    assert best.fvu < 1e-9
    truth = evaluate(best.expr, problem.X, best.consts)
    assert np.isclose(
        np.sum((truth - problem.y) ** 2) / np.sum((problem.y - problem.y.mean()) ** 2), best.fvu, atol=1e-20
    )


@pytest.mark.parametrize(
    "X, y",
    [
        (np.zeros((40, 2)), np.arange(40.0)),
        (np.random.default_rng(0).normal(size=(40, 3)) * 1e200, np.random.default_rng(1).normal(size=40)),
        (np.random.default_rng(0).integers(0, 2, (40, 3)).astype(float), np.random.default_rng(1).normal(size=40)),
        (np.arange(8.0)[:, None], np.arange(8.0)),
    ],
)
def test_odd_tables_do_no_harm(X, y):
    problem = Problem(X=X, y=y, names=[f"x{j + 1}" for j in range(X.shape[1])])
    for batch in decomposition.propose(problem, Budget(None), np.random.default_rng(0)):
        assert all(np.isfinite(c.fvu) for c in batch)


def test_powers_that_are_added_are_taken_off():
    problem = make(lambda a, b, c: np.log(a * b + 2 * c) + c**2, 3)
    a, b, c = problem.X.T
    assert has_target(problem, np.log(a * b + 2 * c))


def test_others_get_their_turn_while_it_looks(monkeypatch):
    fits, turns = [0], []
    plain = decomposition.Surrogate

    def counted(*args):
        fits[0] += 1
        return plain(*args)

    monkeypatch.setattr(decomposition, "Surrogate", counted)
    problem = make(lambda a, b, c, d, e: np.sin(a * b / 3) * c + np.sqrt(d + e), 5)
    for _batch in zip(range(12), decomposition.propose(problem, Budget(None), np.random.default_rng(0))):
        turns.append(fits[0])
    assert max(np.diff([0, *turns])) <= 30


def test_what_is_reached_in_two_ways_is_one_problem():
    """A front and a product come in either order; each place among the few must hold another problem."""
    problem = make(lambda a, b, c, d: b * np.exp(-c * a) * np.cos(d * a), 4, M=512, low=0.2, high=4.0, seed=2)
    seen = [sorted([r.problems[0].y.sum(), *r.problems[0].X.sum(axis=0)]) for r in found_in(problem)]
    assert len(seen) > 1
    for k, sums in enumerate(seen):
        assert not any(len(sums) == len(other) and np.allclose(sums, other) for other in seen[:k])


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_medians_are_those_of_numpy(n):
    v = np.random.default_rng(n).normal(size=(3, n))
    assert np.array_equal(decomposition._medians(v), np.median(v, axis=1))
    v[1, n // 2] = np.nan
    assert np.array_equal(decomposition._medians(v), np.median(v, axis=1), equal_nan=True)
