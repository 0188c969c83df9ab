"""Level beginnings and ends of tables made here, whose switch lies at a row that is known."""

import numpy as np
import pytest

from fansr.proposers.parts.level_stretches import level_ends

X = np.arange(0.0, 4.0001, 0.05)


def charging(x):
    return np.where(x > 1, 5 * (1 - np.exp(-(x - 1) / 0.6)), 0.0)


@pytest.mark.parametrize("noise", [0.0, 0.01])
@pytest.mark.parametrize("level", [0.0, -3.0, 40.0])
def test_a_level_beginning_ends_at_its_last_row_and_half_way_to_the_next(noise, level):
    for seed in range(5):
        rng = np.random.default_rng(seed)
        y = level + charging(X) + noise * rng.normal(size=len(X))
        order = rng.permutation(len(X))
        found = level_ends(X[order], y[order])
        assert [token for token, _ in found] == ["max", "max"]
        np.testing.assert_allclose([k for _, k in found], [1.0, 1.025], rtol=1e-12)
        # the same table turned round ends level
        turned = level_ends(-X[order], y[order])
        assert ("min", pytest.approx(-1.0)) in turned and ("min", pytest.approx(-1.025)) in turned


def test_a_table_that_begins_and_ends_level_has_both():
    x = np.arange(0.0, 10.0, 0.1)
    found = level_ends(x, np.clip(x, 2.0, 7.0) ** 2)
    assert [token for token, _ in found] == ["max", "max", "min", "min"]
    np.testing.assert_allclose([k for _, k in found], [2.0, 2.05, 7.0, 6.95], atol=1e-9)


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("law", [
    lambda x: 2 * x + 1, lambda x: np.sin(x), lambda x: np.cos(3 * x), lambda x: np.zeros_like(x),
])  # fmt: skip
def test_lines_waves_and_noise_are_nowhere_level(law, noise):
    x = np.linspace(0, 10, 60)
    for seed in range(10):
        assert level_ends(x, law(x) + noise * np.random.default_rng(seed).normal(size=60)) == []


def test_where_noise_is_much_of_the_spread_nothing_is_level():
    """A tenth of the spread: what is level over some rows may as well be a slow rise."""
    for seed in range(10):
        assert level_ends(X, charging(X) + 0.2 * np.random.default_rng(seed).normal(size=len(X))) == []


def test_the_last_bits_of_a_number_end_no_stretch():
    y = 40 + charging(X)
    y[6:15] = np.nextafter(40.0, 41.0)
    np.testing.assert_allclose([k for _, k in level_ends(X, y)], [1.0, 1.025], rtol=1e-12)


def test_one_row_that_lies_off_ends_no_stretch():
    """A slip at the ninth row; the curve behind is what ends it."""
    y = charging(X)
    y[8] = 0.01
    y += 0.001 * np.random.default_rng(1).normal(size=len(X))
    assert [token for token, _ in level_ends(X, y)] == ["max", "max"]
    np.testing.assert_allclose([k for _, k in level_ends(X, y)], [1.0, 1.025], rtol=1e-12)


def test_what_is_left_of_the_rows_must_be_a_curve():
    """Of three rows behind the level ones nothing can be told; nor where one value of x stands on both sides."""
    x = np.arange(20.0)
    y = np.where(x > 16, x - 16, 0.0)
    assert level_ends(x, y) == [] != level_ends(x, np.where(x > 15, x - 15, 0.0))
    doubled = np.where(x == 9, 8.0, x)
    assert [k for _, k in level_ends(x, np.maximum(x - 8.5, 0))] == [8.0, 8.5]
    assert level_ends(doubled, np.maximum(x - 8.5, 0)) == []
