"""Wide tables: the right columns are kept, whatever the form of the law."""

import numpy as np
import pytest

from fansr.fitting.problem import Candidate, Problem
from fansr.search import large_tables

LAWS = {
    "sum": (lambda X: 3 * X[:, 17] - X[:, 150], {17, 150}),
    "product": (lambda X: X[:, 3] * X[:, 40], {3, 40}),
    "quotient": (lambda X: np.exp(X[:, 5]) / (2 + np.cos(X[:, 9])), {5, 9}),
    "square": (lambda X: (X[:, 11] ** 2 + 1) * np.exp(X[:, 12]), {11, 12}),
}


@pytest.mark.parametrize("name", LAWS)
def test_the_columns_of_a_law_are_kept(name):
    law, wanted = LAWS[name]
    X = np.random.default_rng(0).normal(size=(400, 160))
    found = large_tables.relevant_columns(X, law(X))
    assert wanted <= set(found) and len(found) <= large_tables.MAX_COLUMNS


def test_narrowing_and_widening_are_inverse():
    X = np.arange(60.0).reshape(4, 15)
    problem = Problem(X, X[:, 3], [f"c{j}" for j in range(15)])
    small = large_tables.narrowed(problem, [3, 9])
    assert small.names == ["c3", "c9"] and (small.X == X[:, [3, 9]]).all()
    back = large_tables.widened(Candidate(["+", "x1", "*", "x2", "<constant>"], np.ones(1), 0.1), [3, 9])
    assert back.expr == ["+", "x4", "*", "x10", "<constant>"]


def test_a_long_table_is_fitted_whole_in_the_end():
    from fansr.search import turns

    rng = np.random.default_rng(1)
    M = turns.MAX_ROWS + 5000
    X = rng.uniform(1, 4, (M, 2))
    y = 2.5 * X[:, 0] ** 1.5 / X[:, 1] + 0.01 * rng.normal(size=M)
    found = turns.search(Problem(X, y, ["a", "b"]), turns.Options(proposers=("power",)))
    coefficient, exponents = found.best.consts[0], X[:, 0] ** 1.5 / X[:, 1]
    best = (exponents @ y) / (exponents @ exponents)
    rounded = abs(coefficient - 2.5) < 1e-12
    assert rounded or abs(coefficient - best) < 1e-9 * best
    residual = y - coefficient * exponents
    assert np.isclose(found.best.fvu, (residual @ residual) / ((y - y.mean()) @ (y - y.mean())), rtol=1e-9)


def test_the_columns_of_a_law_are_found_among_thousands():
    rng = np.random.default_rng(8)
    X = rng.uniform(1, 3, (200, 6000))
    y = 3 * X[:, 17] - X[:, 5150] ** 2
    assert {17, 5150} <= set(large_tables.relevant_columns(X, y))
