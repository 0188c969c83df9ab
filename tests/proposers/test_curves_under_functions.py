"""Curves of one column under functions: what comes back is the curve that made the table."""

import numpy as np
import pytest

from fansr.expressions import evaluate
from fansr.fitting import Problem
from fansr.proposers.curves_under_functions import CurvesUnderFunctions

CURVES = {
    "log": lambda x: np.log(x + 0.87),
    "root of a square": lambda x: np.sqrt(0.77 + x * x),
    "one over it": lambda x: 1 / np.sqrt(2 + x * x),
    "one over a wave": lambda x: 1 / (np.sin(2 * x) + 1.6),
    "exponential of one over x": lambda x: 3 * np.exp(-1 / (0.36 * x)),
    "square of a tanh": lambda x: np.tanh(1.6 * x) ** 2,
    "log of a line": lambda x: 2 * np.log(1 + 2.3 * x) - 1,
    "minus a root": lambda x: -np.sqrt(x + 0.2),
}


def problem(y, x, name="x1"):
    return Problem(X=x[:, None], y=y, names=[name], weights=np.ones(len(x)))


def left(laws, x, y):
    """The smallest share of the spread that one of the laws leaves, on rows of its own."""
    values = [evaluate(list(law), x[:, None]) for law in laws]
    return min(np.mean((v - y) ** 2) / np.var(y) for v in values if np.isfinite(v).all())


@pytest.mark.parametrize("name", CURVES)
def test_the_curve_is_among_the_first(name):
    rng = np.random.default_rng(1)
    x, fresh = rng.uniform(0.2, 5, 240), rng.uniform(0.3, 4.8, 200)
    (laws,) = CurvesUnderFunctions().of_one_term(problem(CURVES[name](x), x), 1e-12)
    assert len(laws) <= 6
    # The grids are drawn in, the constants not refitted: that is for who puts the law to use.
    assert left(laws, fresh, CURVES[name](fresh)) < 1e-5


def test_a_quotient_is_looked_at_either_way_up():
    rng = np.random.default_rng(2)
    x = rng.uniform(0.3, 3, 200)
    y = np.log(1 / x + 1.6)
    batches = list(CurvesUnderFunctions().of_one_term(problem(y, x, "/ x2 x4"), 1e-12))
    assert len(batches) == 2
    assert left(batches[1], x, y) < 1e-6


def test_a_second_term_comes_after_the_first():
    x = np.random.default_rng(3).uniform(0.2, 4, 200)
    y = 2 * np.exp(-1.3 * x) + 0.4 * x**2
    one, two = CurvesUnderFunctions().laws(problem(y, x), 1e-12)
    assert left(two, x, y) < min(1e-6, left(one, x, y))


def test_below_the_floor_the_shorter_law_is_first():
    rng = np.random.default_rng(4)
    x = rng.uniform(0.5, 3, 240)
    y = np.sqrt(x) - 1.1 + 0.01 * rng.standard_normal(240)
    (laws,) = CurvesUnderFunctions().of_one_term(problem(y, x), 1e-3)
    assert len(laws[0]) == min(map(len, laws)) and "pow1_2" in laws[0]


def test_a_column_or_target_that_does_not_vary_has_no_laws():
    x = np.linspace(0, 1, 100)
    assert not list(CurvesUnderFunctions().laws(problem(np.ones(100), x), 0.0))
    assert not list(CurvesUnderFunctions().laws(problem(x, np.ones(100)), 0.0))


def test_tables_are_kept_for_a_few_columns_only():
    curves = CurvesUnderFunctions()
    for seed in range(12):
        x = np.random.default_rng(seed).uniform(0.5, 2, 100)
        list(curves.of_one_term(problem(x**2 + np.sin(x), x), 1e-9))
    assert len(curves._kept) == 8
