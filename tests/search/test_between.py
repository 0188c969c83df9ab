"""A law with a pole between the rows of a small noisy table stands back behind one that has none; a real pole stays."""

import numpy as np
import pytest

from fansr.expressions import free, from_infix
from fansr.fitting import Budget, Candidate, Problem
from fansr.search import between, turns

x = np.linspace(0.0, 10.0, 15)[:, None]


def candidate(formula: str, fvu: float) -> Candidate:
    expr, consts = free(from_infix(formula))
    return Candidate(expr, np.array(consts, dtype=float), fvu)


@pytest.mark.parametrize(
    ("formula", "wild"),
    [
        ("2*x1 + 1", False),
        ("1/(x1 - 4.3)", True),  # a pole between two rows
        ("1/(x1 + 4.3)", False),
        ("log(x1 - 0.5)", True),  # undefined near the first row
        ("50*sin(9*x1)", True),  # an excursion
        ("x1 + 1e-6/(x1 - 5.0001)**2", True),  # a pole as narrow as a row
        ("40/(x1 - 11)", True),  # a pole just beyond the last row
        ("log(x1 + 0.001)", False),  # a column of sizes has no negative ones
    ],
)
def test_what_is_wild_between_the_rows(formula, wild):
    problem = Problem(x, 2 * x[:, 0] + 1, ["x"])
    assert between.Between(problem).wild(candidate(formula, 0.1)) is wild
    assert not between.Between(problem).wild(candidate(formula, 1e-9))  # a fit that good shows it to be real


def test_a_pole_beside_the_rows_is_real_where_the_fit_is_good():
    """A lens's focus lies before the first row; a pole between rows must fit better yet."""
    problem = Problem(x, 2 * x[:, 0] + 1, ["x"])
    beside, inside = "14/(11 - x1)", "1/(x1 - 4.3)"
    assert not between.Between(problem).wild(candidate(beside, 5e-5)) and between.Between(problem).wild(
        candidate(beside, 5e-3)
    )
    assert between.Between(problem).wild(candidate(inside, 5e-5))


def test_columns_that_meet_as_in_no_row():
    """exp((a - b)^2) is small on rows where a and b go together, and runs away where they do not."""
    a = np.random.default_rng(0).uniform(0, 10, 60)
    X = np.column_stack([a, a + 0.1 * np.sin(a)])
    problem = Problem(X, a, ["a", "b"])
    assert between.Between(problem).wild(candidate("exp((x1 - x2)**2)", 0.1))
    assert not between.Between(problem).wild(candidate("x1 + x2", 0.1))


def test_columns_of_few_values_keep_to_them():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.uniform(0, 1, 40), rng.integers(0, 2, 40)])
    points = between.Between(Problem(X, X[:, 0], ["a", "b"])).points
    assert set(points[:, 1]) == {0.0, 1.0} and len(set(points[:, 0])) > 900
    assert points[:, 0].min() >= X[:, 0].min() and points[:, 0].max() <= X[:, 0].max()


def test_a_choice_without_poles_on_a_few_noisy_rows():
    """On rows of pure scatter round a line, many laws with a pole next to a row fit best; none is chosen."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = rng.uniform(0, 10, (14, 4))
        y = X[:, 0] + rng.normal(size=14) * 4
        problem = Problem(X, y, list("abcd"))
        found = turns.search(problem, turns.Options(proposers=("power", "sums", "rational", "curves")), Budget(None))
        assert not between.Between(problem).wild(found.best)


def test_a_pole_that_the_rows_show_is_kept():
    rng = np.random.default_rng(1)
    X = rng.uniform(0, 10, (200, 1))
    y = 1 / (X[:, 0] - 4.3)
    y += rng.normal(size=200) * 0.02 * y.std()
    found = turns.search(Problem(X, y, ["x"]), turns.Options(proposers=("power", "rational", "curves")), Budget(None))
    assert found.best.fvu < 0.01 and between.Between(Problem(X, y, ["x"])).wild(found.best)


def test_growth_over_decades_whose_rows_weigh_by_their_size_does_not_run_away():
    """exp(0.5 (t - 1990)) of 5 % errors: ten times the last row's value, five years on, is no excursion; a pole is one still."""
    year = np.arange(1990.0, 2021.0, 2.0)[:, None]
    y = np.exp(0.5 * (year[:, 0] - 1990))
    law, pole = candidate("exp(0.5*x1 - 995)", 0.004), candidate("1/(2013.1 - x1)", 0.004)
    evenly = between.Between(Problem(year, y, ["year"]))
    relative = between.Between(Problem(year, y, ["year"], weights=1 / y**2))
    assert evenly.wild(law)
    assert not relative.wild(law) and relative.wild(pole)
    steep = between.Between(Problem(year, y, ["year"], weights=np.linspace(1, 2, len(y))))
    assert steep.wild(law)
