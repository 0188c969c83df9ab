"""Angles in degrees: told by a column's name and values, searched in radians, written with pi/180."""

import math

import numpy as np
import pytest

from fansr.expressions import CONSTANT, evaluate, from_infix, to_infix
from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers import angles_in_degrees as angles
from fansr.search import turns
from fansr.tables import unit_texts

DEGREES = np.arange(5.0, 80.0, 3.0)


@pytest.mark.parametrize(
    "name, values, told",
    [
        ("theta_deg", DEGREES, True), ("angle (°)", DEGREES, True), ("Latitude", DEGREES, True), ("incidenceDegrees", DEGREES, True),
        ("angle", np.linspace(0, 6, 20), False), ("theta", np.linspace(0, 9, 20), False), ("T (°C)", DEGREES, False), ("temp_deg", DEGREES, False),
        ("deg_F", DEGREES, False), ("degree days", DEGREES, False), ("x", DEGREES, False), ("pressure", DEGREES, False), ("angle_deg", 1e4 * DEGREES, False),
    ],
)  # fmt: skip
def test_which_columns_are_in_degrees(name, values, told):
    assert angles.is_in_degrees(name, values) is told


def candidate(text, consts=()):
    return Candidate(from_infix(text, ["theta_deg", "v"]), np.array(consts, dtype=float), 0.0)


@pytest.mark.parametrize(
    "text, consts, functions",
    [
        ("v*sin(0.017453292519943295*theta_deg)", (), 1),
        ("v*sin(C*theta_deg)", (math.pi / 180,), 1),
        ("sin(C*theta_deg)*cos(C*theta_deg)", (math.pi / 180, math.pi / 90), 2),
        ("v*sin(C*theta_deg)", (0.01745,), 0),
        ("v*sin(0.017453292519943295*v)", (), 0),
        ("v*theta_deg*0.017453292519943295", (), 0),
        ("exp(0.017453292519943295*theta_deg)", (), 0),
    ],
)
def test_the_prior_is_for_functions_of_angles(text, consts, functions):
    assert angles.angle_nats(candidate(text, consts), [0], False) == functions * angles.PRIOR_NATS
    assert angles.angle_nats(candidate(text, consts), [], False) == 0.0


def test_what_the_name_tells_is_no_constant():
    law = candidate("C*sin(C*theta_deg + C)", (2.5, math.pi / 180, 0.3))
    told = angles.with_degrees_told(law, [0], False)
    assert told.expr.count(CONSTANT) == 2 and list(told.consts) == [2.5, 0.3]
    X = np.column_stack([DEGREES, DEGREES])
    assert np.array_equal(evaluate(told.expr, X, told.consts), evaluate(law.expr, X, law.consts))
    assert to_infix(told.expr, told.consts, ["theta_deg", "v"], 6, pi=True) == "2.5*sin(pi/180*theta_deg + 0.3)"
    other = candidate("C*sin(C*theta_deg)", (2.5, 0.0175))
    assert angles.with_degrees_told(other, [0], False) is other


def test_proposals_hold_on_the_table():
    """What is proposed was fitted in radians: on the table its values must be the same."""
    rng = np.random.default_rng(0)
    theta, v = np.round(rng.uniform(5, 85, 60)), rng.uniform(1, 9, 60)
    y = v**2 * np.sin(np.deg2rad(theta)) ** 2 + 0.3 * v
    problem = Problem(np.column_stack([theta, v]), y, ["theta_deg", "v"], "h")
    found = []
    for batch in angles.propose(problem, Budget(None), np.random.default_rng(1)):
        found += batch
        if len(found) > 20:
            break
    assert found
    for law in found:
        residual = y - evaluate(law.expr, problem.X, law.consts)
        assert float(residual @ residual) / float(np.sum((y - y.mean()) ** 2)) == pytest.approx(
            law.fvu, rel=1e-6, abs=1e-14
        )


def search(columns: dict[str, np.ndarray], y, target):
    problem = Problem(np.column_stack(list(columns.values())), y, list(columns), target)
    options = turns.Options(proposers=("power", "plain", "sums", "evolve"), quiet=True)  # angles join the local search
    found = turns.search(problem, options, Budget(None, work=0.05))
    return to_infix(found.best.expr, found.best.consts, list(columns), 5, pi=True)


def test_refraction():
    """Snell's law with both angles in degrees, printed to four digits."""
    y = [float(f"{math.degrees(math.asin(math.sin(math.radians(t)) / 1.333)):.4g}") for t in DEGREES]
    assert search({"i_deg": DEGREES}, np.array(y), "r_deg") == "180/pi*asin(0.7502*sin(pi/180*i_deg))"


def test_an_angle_that_is_no_wave_stays_a_number():
    y = np.round(0.0357 * DEGREES + 0.2, 3)
    assert "pi" not in search({"angle_deg": DEGREES}, y, "arc")


def test_where_columns_have_units_the_factor_is_a_constant():
    """One that has the unit of pi/180 per degree, which a bare number has not."""
    rng = np.random.default_rng(0)
    theta, force = np.round(rng.uniform(5, 85, 40)), rng.uniform(1, 9, 40)
    problem = Problem(
        np.column_stack([force, theta]), force * np.cos(np.deg2rad(theta)), ["force", "theta_deg"], "pull"
    )
    problem.units = unit_texts.of_problem(problem, "force=N, theta_deg=degree, pull=N")
    batches = angles.propose(problem, Budget(None), np.random.default_rng(1))
    law = next(c for batch in batches for c in batch if c.fvu < 1e-20)
    assert not any(token.startswith("0.0174") for token in law.expr) and math.pi / 180 in law.consts.tolist()
