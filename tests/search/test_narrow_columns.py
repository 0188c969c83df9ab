"""Columns that hardly vary take the place of constants; laws are those the tables were made of."""

import numpy as np
import pytest

from fansr.expressions import evaluate, free, from_infix
from fansr.fitting import Budget, Candidate, Problem, Refiner
from fansr.search import narrow_columns, turns

RNG = np.random.default_rng(3)
X = np.column_stack([RNG.uniform(9.78, 9.82, 200), RNG.uniform(0.5, 4, 200), -RNG.uniform(2.0, 2.02, 200)])
GIVEN = [0, 2]


def test_what_is_narrow():
    table = np.column_stack([X, np.full(200, 3.0), X[:, 0] - 9.8])
    assert narrow_columns.narrow(table) == GIVEN


@pytest.mark.parametrize(
    ("law", "without"),
    [
        ("2*sqrt(x2/x1)", "2*sqrt(x2/9.8)"),
        ("x1*x2**2/2 + 3", "4.9*x2**2 + 3"),
        ("exp(-x2/x1**2)*x1", "9.8*exp(-0.0104*x2)"),
        ("x2*x3*x1", "-19.7*x2"),
    ],
)
def test_constants_that_are_columns(law, without):
    y = evaluate(from_infix(law), X)
    expr, consts = free(from_infix(without))
    fitter = Refiner(X, y)
    fvu, fitted = fitter.polish(expr, np.array(consts, dtype=float))
    before = Candidate(expr, fitted, fvu)
    after = narrow_columns.with_columns(before, GIVEN, Problem(X, y, ["x1", "x2", "x3"]), fitter)
    assert after.fvu < 1e-20 < before.fvu
    fresh = X * 1.3
    np.testing.assert_allclose(evaluate(after.expr, fresh, after.consts), evaluate(from_infix(law), fresh), rtol=1e-6)


def test_noise_is_no_column():
    y = 4.9 * X[:, 1] ** 2 + 0.05 * RNG.normal(size=200)
    expr, consts = free(from_infix("4.9*x2**2"))
    fitter = Refiner(X, y)
    fvu, fitted = fitter.polish(expr, np.array(consts, dtype=float))
    before = Candidate(expr, fitted, fvu)
    assert narrow_columns.with_columns(before, GIVEN, Problem(X, y, ["x1", "x2", "x3"]), fitter) is before


def test_the_search_sees_them():
    y = X[:, 1] * np.exp(-X[:, 0] * X[:, 1] / 7.3)
    found = turns.search(
        Problem(X, y, ["g", "t", "s"]),
        turns.Options(samples=0, proposers=("power", "plain", "sums", "curves")),
        Budget(None),
    )
    assert found.best.fvu < 1e-20 and "x1" in found.best.expr
