"""known_constants.py: round values are found where they are, and of random constants few are taken for round."""

import math

import numpy as np
import pytest

from fansr.search import known_constants
from fansr.search.rounding import MARGIN


@pytest.mark.parametrize(
    "c, error, value",
    [
        (1.9996, 0.0004, 2.0),
        (0.33331, 0.0001, 1 / 3),
        (3.14163, 0.0001, math.pi),
        (0.0795774, 1e-6, 1 / (4 * math.pi)),
        (-0.4999, 0.0002, -0.5),
        (6.02200001e23, 1e16, 6.022e23),
        (1e-7 * 1.0000001, 1e-13, 1e-7),
        (0.00001, 0.0001, 0.0),
    ],
)
def test_round_values_are_found(c, error, value):
    best, nats = known_constants.simple_values(c, 4 * error)[0]
    assert best == pytest.approx(value, rel=1e-12, abs=1e-300)
    assert value == 0 or nats < known_constants.real_nats(c, error)


def test_numbers_of_units_are_known_to_their_last_bit():
    """pi/180 of an angle in degrees and 1/log(10) of a logarithm of base 10, where the data tell them closely."""
    for exact in (math.pi / 180, math.pi / 90, 180 / math.pi, 1 / math.log(10), 10 / math.log(10)):
        for c in (exact * (1 + 1e-5), -exact * (1 - 1e-5)):
            nats = dict(known_constants.simple_values(c, 4e-5 * exact))[math.copysign(exact, c)]
            assert nats + 3 < known_constants.real_nats(c, 1e-5 * exact)
        assert not known_constants.is_rational(exact)
    assert all(known_constants.is_rational(v) for v in (1.5, 2 / 3, 0.4343, 1e-9, 12345.67))


def test_a_generic_constant_is_not_rounded_away():
    """Of 300 random constants known to 1e-4 few lie near a value cheap enough to be taken."""
    rng = np.random.default_rng(5)
    taken = 0
    for c in rng.normal(0, 5, 300):
        error = 1e-4 * abs(c)
        options = known_constants.simple_values(float(c), 4 * error)
        taken += any(
            nats + 0.5 * ((v - c) / error) ** 2 < known_constants.real_nats(c, error) - MARGIN for v, nats in options
        )
    assert taken < 30


@pytest.mark.parametrize(
    "c, relative, name",
    [
        (6.6274e-34, 4e-4, "h"),
        (1.05431e-34, 4e-4, "hbar"),
        (8.9861e9, 4e-4, "4pi*eps0^-1"),
        (1.98679e-25, 4e-4, "c*h"),
        (2.41801e14, 2e-5, "h^-1*e"),
    ],
)
def test_products_of_physical_constants_are_named(c, relative, name):
    """Within the error there is just this product; scipy's CODATA table gives the values."""
    best = known_constants.physical_values(c, 3 * relative * c)[0]
    assert best[2] == name and best[1] + known_constants.integer_nats(1) < known_constants.real_nats(c, relative * c)


@pytest.mark.parametrize("decades, most", [(3, 0.08), (30, 0.15)])
def test_physics_is_seldom_seen_in_random_constants(decades, most):
    """Odds of exp(MARGIN) to one leave about 5 % of random constants taken for round ones; CODATA adds few at ordinary sizes."""
    rng = np.random.default_rng(8)
    taken = 0
    for c in 10 ** rng.uniform(-decades, decades, 150):
        options = known_constants.simple_values(float(c), 4e-3 * c, physics=True)
        taken += any(
            nats + 0.5 * ((v - c) / (1e-3 * c)) ** 2 < known_constants.real_nats(c, 1e-3 * c) - MARGIN
            for v, nats in options
        )
    assert taken / 150 < most


def test_the_written_out_constants_are_codatas():
    """To within the uncertainties of either edition: exact ones exactly."""
    codata = pytest.importorskip("scipy.constants")
    for name, value, vague, _factor in known_constants._CODATA.values():
        theirs, _unit, error = codata.physical_constants[name]
        assert abs(value - theirs) <= max(1e-9 * abs(theirs) if error else 0.0, 6 * error, 6 * vague * abs(theirs)), (
            name
        )


@pytest.mark.parametrize("below", [3600.0, 1200.0, 1.609, 273.15, 4.184])
def test_what_one_divides_by_is_told(below):
    exact = 1 / below
    values = [value for value, _ in known_constants.simple_values(exact, 1e-7 * exact)]
    assert exact in values
