"""Golden section against scipy's bounded minimiser."""

import math

import pytest
from scipy.optimize import minimize_scalar

from fansr.proposers.parts.golden_section import golden


@pytest.mark.parametrize(
    "f, a, b",
    [
        (lambda x: (x - 1.3) ** 2 + 2, -4.0, 5.0),
        (lambda x: abs(x - 0.2), 0.0, 1.0),
        (lambda x: math.cosh(x) - x, -2.0, 3.0),
        (lambda x: x, 1.0, 2.0),
    ],
)
def test_the_minimum_is_where_scipy_finds_it(f, a, b):
    value, place = golden(f, a, b, 40)
    best = minimize_scalar(f, bounds=(a, b), method="bounded", options={"xatol": 1e-10})
    assert place == pytest.approx(best.x, abs=1e-5) and value == f(place) <= best.fun + 1e-9


def test_each_step_costs_one_evaluation():
    seen = []
    golden(lambda x: seen.append(x) or x * x, -1.0, 2.0, 10)
    assert len(seen) == 12
