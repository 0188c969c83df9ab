"""What a part would have to be, against the compiled evaluation of the whole with that put in the part's place."""

import numpy as np
import pytest

from fansr.expressions import evaluate, from_infix, from_tree, to_tree
from fansr.proposers.parts import wanted_values as wv

NAMES = ["a", "b", "c", "d"]
FORMULAS = (
    "a*b + c/d",
    "exp(-1.2*a*b)*log(c/d + 1.5)",
    "sqrt(a*b**2 + 0.4*sqrt(c + d))*d",
    "2.5/(1/(a + b) + c*exp(0.3*d)) - a**3",
    "sin(2*a*c) - (b - 1.3)**2/(d + 0.2)",
    "cos(3*a)*tanh(b/c) + d*exp(a - 2*b + c)",
    "-(a - b)*(c + 0.5)/d**2",
    "(a*c/d)**1.7 + atan(b - c) + tan(0.4*d)",
    "1/(logistic(a*b) + cosh(c/2)) - asinh(d)",
    "cbrt(a - b)*abs(c - d) + sinh(a/2)",
)


@pytest.fixture(params=FORMULAS)
def table(request):
    """(expression, X, its values, values a little off)."""
    rng = np.random.default_rng(3)
    X = rng.uniform(0.5, 2.0, (60, 4))
    expr = from_infix(request.param, NAMES)
    values = evaluate(expr, X)
    return expr, X, values, values * (1 + 1e-3 * rng.standard_normal(60))


def places(expr, X, y):
    with np.errstate(all="ignore"):
        return list(wv.places(wv.part_of(to_tree(expr), X), y, np.ones(len(y))))


def with_column(place, X, values):
    """The whole with a column of these values in the place."""
    return evaluate(list(from_tree(place.put("x5"))), np.column_stack([X, values]))


def test_values_are_those_of_the_compiled_evaluation(table):
    expr, X, values, _ = table
    assert np.allclose(wv.part_of(to_tree(expr), X).values, values, rtol=1e-13)


def test_what_is_wanted_makes_the_whole_right(table):
    expr, X, _, y = table
    found = places(expr, X, y)
    assert len(found) >= 3
    for place in found:
        good = np.isfinite(place.wanted)
        assert good.mean() > 0.8, place.put("hole")
        assert np.allclose(with_column(place, X, place.wanted)[good], y[good], rtol=1e-9, atol=1e-11), place.put("hole")


def test_the_part_itself_leaves_the_whole_as_it_was(table):
    expr, X, values, y = table
    for place in places(expr, X, y):
        assert np.allclose(with_column(place, X, place.part.values), values, rtol=1e-12)
        assert np.allclose(place.part.values, evaluate(list(from_tree(place.part.tree)), X), rtol=1e-12)
        assert 0 < len(place.part.columns) <= wv.MOST_COLUMNS


def test_slopes_are_those_of_small_changes(table):
    expr, X, values, _ = table
    for place in places(expr, X, values):
        step = 1e-6 * np.abs(place.part.values).max()
        up, down = (with_column(place, X, place.part.values + sign * step) for sign in (1, -1))
        good = np.isfinite(up) & np.isfinite(down) & np.isfinite(place.slope)
        size = np.abs(place.slope[good]).max()
        assert np.allclose(place.slope[good], (up - down)[good] / (2 * step), rtol=1e-4, atol=1e-5 * size)


def test_summands_of_a_column_come_together_wherever_they_stand():
    X = np.random.default_rng(0).uniform(0.5, 2.0, (50, 4))
    found = places(from_infix("a**2 + b*c + 3*a - d", NAMES), X, np.ones(50))
    together = [place for place in found if place.part.columns == {0}]
    assert any(np.allclose(place.part.values, X[:, 0] ** 2 + 3 * X[:, 0]) for place in together)


def test_factors_within_an_exponential_and_a_root_come_together():
    X = np.random.default_rng(0).uniform(0.5, 2.0, (50, 4))
    found = places(from_infix("a*exp(2*a - b)*sqrt(c*a)", NAMES), X, np.ones(50))
    values = X[:, 0] * np.exp(2 * X[:, 0]) * np.sqrt(X[:, 0])
    assert any(place.part.columns == {0} and np.allclose(place.part.values, values) for place in found)


@pytest.mark.parametrize("token", sorted(wv.UNDO))
def test_undoing_a_function_gives_its_operand(token):
    u = np.linspace(0.05, 0.95, 40) + (token == "acosh")
    with np.errstate(all="ignore"):
        for operand in (u, -u, 7 * u):
            values = evaluate([token, "x1"], operand[:, None])
            good = np.isfinite(values) & (np.abs(values) < 1e6)
            if token in ("asin", "acos", "atan") or good.any():
                back = wv.UNDO[token](values[good], operand[good])
                assert np.allclose(back, operand[good], rtol=1e-7, atol=1e-9)
