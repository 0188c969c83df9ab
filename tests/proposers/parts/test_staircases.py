"""Staircases against numpy's floor and ceil, and exact fractions where a row lies on a step's edge."""

import math
from fractions import Fraction

import numpy as np
import pytest

from fansr.expressions import evaluate
from fansr.proposers.parts.staircases import leaning, staircase

DRAWN = np.round(np.random.default_rng(0).uniform(-3, 8, 70), 2)
QUARTERS = np.arange(1.0, 41.0) / 4  # a row on every edge


@pytest.mark.parametrize(
    ("x", "law"),
    [
        (DRAWN, lambda x: 2 + 1.5 * np.floor(x)),
        (QUARTERS, lambda x: 2 + 1.5 * np.floor(x)),
        (QUARTERS, lambda x: 2 + 1.5 * np.ceil(x)),
        (DRAWN, lambda x: 1 + 3 * np.floor(x - 0.3)),
        (QUARTERS, lambda x: np.floor(x + 0.5)),
        (QUARTERS, lambda x: np.ceil(x - 0.25) - 7),
        (DRAWN, lambda x: 0.7 * np.floor(x / 1.2) - 1),
        (QUARTERS, lambda x: 0.5 + 4 * np.ceil(x / 2.5)),
        (DRAWN, lambda x: 10 - 2 * np.floor(x)),
        (QUARTERS, lambda x: 10 - 2 * np.ceil(x)),
        (100 * DRAWN, lambda x: 3 * np.floor(x / 150)),
        (QUARTERS / 2, lambda x: np.floor((x - 0.5) / 4)),  # one whole step, and less than a half of each beside it
        (DRAWN[(DRAWN < 2) | (DRAWN > 5)], lambda x: 4 * np.floor(x)),  # several steps at once where no row lies
    ],
)
@pytest.mark.parametrize("backwards", [False, True])
def test_a_staircase_has_its_rows_exactly(x, law, backwards):
    x = x[::-1] if backwards else x
    y = law(x)
    (found,) = staircase(x, y, ("x3",))
    assert "x3" in found and "floor" in found
    X = np.column_stack([np.zeros((len(x), 2)), x])
    np.testing.assert_allclose(evaluate([*found], X), y, rtol=0, atol=1e-12 * np.abs(y).max())


@pytest.mark.parametrize("width", ["0.25", "1.5", "2.4", "15"])
@pytest.mark.parametrize("step", [math.floor, math.ceil])
def test_a_table_of_decimals_against_fractions(step, width):
    """x is written with two digits, many of its rows on an edge: what a fraction of whole numbers says is the truth."""
    rng, P = np.random.default_rng(len(width)), Fraction(width)
    x = np.append(np.round(rng.uniform(0, 9 * float(P), 80), 2), [float(k * P) for k in range(10)])
    y = np.array([float(3 - Fraction("1.5") * step(Fraction(repr(float(value))) / P)) for value in x])
    (found,) = staircase(x, y, ("x1",))
    assert np.abs(evaluate([*found], x[:, None]) - y).max() < 1e-12


def test_steps_closed_above_are_no_wider_by_their_last_bit():
    """2 ceil(x/2) on whole numbers, where a width of 2 and one bit with floor would do as well."""
    x = np.arange(1.0, 9.0)
    (found,) = staircase(x, 2 * np.ceil(x / 2), ("x1",))
    assert found == ("neg", "mult2", "floor", "neg", "div2", "x1")


def test_between_the_rows_the_edge_is_a_round_number():
    """Six rows allow widths from 1.4 to 3.8, and many beginnings; dense ones leave little open, of which 1 and 0 are a part."""
    x = np.arange(0.1, 12, 0.2)
    assert staircase(x, 5 * np.floor(x) + 2, ("x1",)) == [("+", "mult5", "floor", "x1", "2.0")]
    few = np.array([0.8, 1.0, 2.8, 3.0, 4.8, 5.0])
    assert staircase(few, np.floor(few / 2), ("x1",)) == [("floor", "div2", "x1")]


NONE = [
    ("a line", lambda x, rng: 2 * x + 1),
    ("a curve", lambda x, rng: np.exp(-x)),
    ("always the same", lambda x, rng: np.full(len(x), 2.5)),
    ("two levels", lambda x, rng: 3.0 * (x > 4)),
    ("two levels of noise", lambda x, rng: rng.integers(0, 2, len(x)) * 1.0),
    ("levels in no order", lambda x, rng: rng.integers(0, 4, len(x)) * 1.0),
    ("noise on the levels", lambda x, rng: 2 + 1.5 * np.floor(x) + 1e-7 * rng.normal(size=len(x))),
    ("steps of no one height", lambda x, rng: np.cumsum([0, 1, 1.1, 1, 1.2, 1, 1.1, 1])[np.floor(x).astype(int)]),
    ("steps of no one width", lambda x, rng: np.searchsorted([1.0, 1.6, 4.1, 4.9, 7.3], x) * 1.0),
    ("up and down", lambda x, rng: np.abs(np.floor(x) - 3)),
]  # fmt: skip


@pytest.mark.parametrize("name, law", NONE, ids=[row[0] for row in NONE])
def test_what_is_no_staircase_has_no_law(name, law):
    rng = np.random.default_rng(3)
    x = np.round(rng.uniform(0, 8, 80), 2)
    assert staircase(x, law(x, rng), ("x1",)) == []


def test_few_rows_a_level_are_no_staircase():
    """Whole numbers over themselves are a line; twice as many rows as levels are wanted."""
    assert staircase(np.arange(12.0), np.arange(12.0), ("x1",)) == []
    assert staircase(np.arange(23.0), np.arange(23.0) // 2, ("x1",)) == []
    assert staircase(np.arange(24.0), np.arange(24.0) // 2, ("x1",)) != []


def test_one_value_of_the_column_on_two_levels_is_no_staircase():
    x = np.repeat(np.arange(6.0), 4)
    y = np.floor(x)
    y[3] = 1.0
    assert staircase(x, y, ("x1",)) == []


@pytest.mark.parametrize(
    ("law", "token"),
    [
        (lambda x: 3 - 1.7 * np.mod(x - 0.4, 3), "mod"),
        (lambda x: 3 + 1.7 * x + 4 * np.floor(x / 2.5), "floor"),
        (lambda x: 12 - 1.7 * x + 4 * np.ceil(x / 5), "floor"),
        (lambda x: 2 + 0.3 * np.mod(x - 0.25, 2.4), "mod"),
    ],
)
@pytest.mark.parametrize(("decimals", "noise"), [(12, 0.0), (2, 0.0), (3, 0.01)])
def test_stairs_on_a_slope_and_teeth_of_a_saw(law, token, decimals, noise):
    rng = np.random.default_rng(1)
    x = np.round(rng.uniform(0, 20, 150), 2)
    y = np.round(law(x) + noise * rng.standard_normal(len(x)), decimals)
    found = leaning(x, y, ("x1",))
    assert any(token in one for one in found)
    best = min(np.abs(evaluate([*one], x[:, None]) - law(x)).max() for one in found)
    assert best < 1e-9 + 0.5 * 10.0**-decimals + noise


@pytest.mark.parametrize(
    "law", [lambda x, e: 2 * x + 1 + 0.01 * e, lambda x, e: x**2, lambda x, e: np.sin(2 * x), lambda x, e: np.floor(x), lambda x, e: e]
)  # fmt: skip
def test_what_does_not_lean_in_steps_has_no_such_law(law):
    rng = np.random.default_rng(2)
    x = np.round(rng.uniform(0, 8, 80), 2)
    assert leaning(x, np.round(law(x, rng.standard_normal(80)), 3), ("x1",)) == []


@pytest.mark.parametrize("decimals", [12, 3])
def test_teeth_of_any_width(decimals):
    x = np.linspace(0, 20, 173)
    y = np.round(2 + 0.3 * np.mod(x, 2 * np.pi), decimals)
    best = min(np.abs(evaluate([*one], x[:, None]) - y).max() for one in leaning(x, y, ("x1",)))
    assert best < 2 * 10.0**-decimals + 1e-9
