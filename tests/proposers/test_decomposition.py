"""The gradients' verdicts against laws whose structure is known, and the way back to the whole problem."""

from fractions import Fraction

import numpy as np
import pytest

from fansr.expressions.prefix import is_valid
from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers import decomposition
from fansr.proposers.decomposition import Outside, Smaller, Surrogate, reductions


def make(law, D, M=400, low=0.5, high=3.0, seed=0):
    X = np.random.default_rng(seed).uniform(low, high, (M, D))
    return Problem(X=X, y=law(*X.T), names=[f"x{j + 1}" for j in range(D)])


def tokens(problem):
    """Every column of every smaller problem, as text, and what was divided out."""
    found, fronts = set(), set()
    for smaller in reductions(problem, Budget(None)):
        if smaller is None:
            continue
        found |= {" ".join(base) for base in smaller.bases}
        fronts |= {(" ".join(part.base), part.e) for part in smaller.outside if part.token == "*"}
    return found, fronts


@pytest.mark.parametrize(
    "law, D, expected",
    [
        (lambda a, b, c: np.exp(-((a - b) ** 2) / 3) + c, 3, "- x1 x2"),
        (lambda a, b, c: np.log(a + b) * c**1.5, 3, "+ x1 x2"),
        (lambda a, b, c: np.tanh(a * b / 4) + c**2, 3, "* x1 x2"),
        (lambda a, b, c: np.sin(a / b) + c, 3, "/ x1 x2"),
        (lambda a, b, c: np.sqrt(a**2 + b**2 + 1) * np.exp(-c), 3, "+ pow2 x1 pow2 x2"),
    ],
)
def test_pairs_that_act_as_one(law, D, expected):
    found, _ = tokens(make(law, D))
    assert expected in found


def test_fronts_are_divided_out_and_put_back():
    problem = make(lambda a, b, c: a**2 / b * np.cosh(c / 2), 3)
    _, fronts = tokens(problem)
    assert ("x1", 2) in fronts and ("x2", -1) in fronts
    smaller = Smaller(
        [("x3",)], [problem.X[:, 2]], problem.y / problem.X[:, 0] ** 2, (Outside("*", 1.0, ("x1",), Fraction(2)),), None
    )
    restored = list(smaller.restore(["*", "<constant>", "pow2", "x1"], np.array([1.5])))
    assert is_valid(restored)
    assert np.allclose(evaluate(restored, problem.X), 1.5 * problem.X[:, 2] ** 2 * problem.X[:, 0] ** 2)


def test_unrelated_columns_are_left_apart():
    found, fronts = tokens(make(lambda a, b: np.sin(2 * a) * np.exp(b) + np.cos(3 * b) * a, 2))
    assert not fronts and found <= {"x1", "x2"}


def alone(problem):
    """The smaller problems of one column."""
    return {" ".join(s.bases[0]) for s in reductions(problem, Budget(None)) if s is not None and len(s.bases) == 1}


def test_columns_that_act_in_a_sum_only_are_dropped_beside_it():
    problem = make(lambda a, b, c, d, e: e * np.sin((e * b + a * d * c) / 5), 5, high=2.0)
    a, b, c, d, e = problem.X.T
    found = [evaluate(base.split(), problem.X) for base in alone(problem)]
    assert any(np.allclose(v, e * b + a * d * c) for v in found)


def test_a_column_that_hardly_matters_is_kept():
    """Its share of the spread is 1e-7: far below the columns' others, far above what the surrogate leaves."""
    assert "x1" not in alone(make(lambda a, b: a + 5e-4 * b**2, 2))
    assert alone(make(lambda a, b: a + 0 * b, 2)) == {"x1"}


def test_surrogate_gradient_against_the_true_one():
    problem = make(lambda a, b: a**2 * b + 3 * b, 2)
    columns = [problem.X[:, 0], problem.X[:, 1]]
    surrogate = Surrogate(columns, problem.y, "y")
    gradient = surrogate.gradient()
    true = np.column_stack([2 * columns[0] * columns[1], columns[0] ** 2 + 3])
    ratio = gradient / true
    assert surrogate.error < 1e-8 and np.allclose(ratio, ratio.mean(), rtol=1e-2)


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


@pytest.mark.parametrize(
    "law, D, expected",
    [
        (
            lambda a, b, c, d: np.sqrt(a * b + c * d) * np.exp(-d),
            4,
            {"+ * x1 x2 * x3 x4", "+ * x3 x4 * x1 x2", "+ * x4 x3 * x1 x2"},
        ),
        (
            lambda a, b, c: np.sin((a**2 + b * c) / 6) + c,
            3,
            {"+ pow2 x1 * x2 x3", "+ * x2 x3 pow2 x1", "+ * x3 x2 pow2 x1"},
        ),
    ],
)
def test_pairs_that_act_as_one_beside_a_third(law, D, expected):
    found, _ = tokens(make(law, D, low=0.5, high=2.5))
    assert any(any(want in base for want in expected) for base in found), found


def test_powers_that_are_added_are_taken_off():
    problem = make(lambda a, b, c: np.log(a * b + 2 * c) + c**2, 3)
    taken = {
        (part.token, part.coefficient, part.base, part.e)
        for smaller in reductions(problem, Budget(None))
        if smaller is not None
        for part in smaller.outside
    }
    assert ("+", 1.0, ("x3",), 2) in taken


def test_restoring_sums_and_products():
    problem = make(lambda a, b, c: a * (b * np.cos(c) + 3 * b**2), 3)
    a, b, c = problem.X.T
    smaller = Smaller(
        [("x3",)],
        [c],
        np.cos(c),
        (
            Outside("*", 1.0, ("x1",), Fraction(1)),
            Outside("+", 3.0, ("x2",), Fraction(2)),
            Outside("*", 1.0, ("x2",), Fraction(1)),
        ),
        None,
    )
    assert np.allclose(evaluate(list(smaller.restore(["cos", "x1"], [])), problem.X), problem.y)


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
