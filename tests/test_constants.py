"""constants.py: round values are found where they are, and of random constants few are taken for round."""

import math

import numpy as np
import pytest

from fansr import constants
from fansr.snap import MARGIN


@pytest.mark.parametrize("c, error, value", [
    (1.9996, 0.0004, 2.0), (0.33331, 0.0001, 1 / 3), (3.14163, 0.0001, math.pi), (0.0795774, 1e-6, 1 / (4 * math.pi)),
    (-0.4999, 0.0002, -0.5), (6.02200001e23, 1e16, 6.022e23), (1e-7 * 1.0000001, 1e-13, 1e-7), (0.00001, 0.0001, 0.0),
])
def test_round_values_are_found(c, error, value):
    best, nats = constants.simple_values(c, 4 * error)[0]
    assert best == pytest.approx(value, rel=1e-12, abs=1e-300)
    assert value == 0 or nats < constants.real_nats(c, error)


def test_a_generic_constant_is_not_rounded_away():
    """Of 300 random constants known to 1e-4 few lie near a value cheap enough to be taken."""
    rng = np.random.default_rng(5)
    taken = 0
    for c in rng.normal(0, 5, 300):
        error = 1e-4 * abs(c)
        options = constants.simple_values(float(c), 4 * error)
        taken += any(nats + 0.5 * ((v - c) / error) ** 2 < constants.real_nats(c, error) - MARGIN for v, nats in options)
    assert taken < 30
