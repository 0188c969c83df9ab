"""laboratory_curves.py: what it draws, and that a sum of squares it compares with is least squares'."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from bench import laboratory_curves as curves
from fansr.streams import rng_for


@pytest.mark.parametrize("family", [*curves.FIRST, *curves.HELD], ids=lambda family: family.name)
def test_a_family_gives_tables(family):
    (_, one), (_, again) = (next(iter(curves.tables((family,), 5, 1, False))) for _ in range(2))
    np.testing.assert_array_equal(one.y, again.y)
    assert np.isfinite(one.X).all() and np.isfinite(one.y).all() and one.left > 0
    assert curves.ROWS[0] <= len(one.y) <= curves.ROWS[1] and one.X.shape[1] == len(family.columns)
    noise = np.sqrt(one.left / len(one.y)) / np.std(one.y)
    assert 0.3 * curves.EVEN[0] < noise < 1.7 * curves.EVEN[1]


def test_the_sum_is_that_of_least_squares_and_relative_where_errors_are():
    (family,) = (family for family in curves.FIRST if family.name == "Arrhenius")
    table = curves.drawn(family, rng_for(3, "a", 0), True)
    np.testing.assert_array_equal(table.size, table.y)
    logs = np.polyfit(1 / table.X[:, 0], np.log(table.y), 1)
    start = np.array([np.exp(logs[1]), -logs[0]])
    found = least_squares(
        lambda p: 1 - curves.values(family, table.X, p * start) / table.y, [1.0, 1.0], xtol=1e-12, ftol=1e-12
    )
    assert table.left == pytest.approx(2 * found.cost, rel=1e-3)


def test_what_changes_sign_has_no_relative_errors():
    (family,) = (family for family in curves.FIRST if family.name == "two waves")
    steep = family._replace(ranges=(*family.ranges[:-1], (-1.0, 1.0)))
    assert curves.drawn(steep, rng_for(1, "a", 0), True) is None
