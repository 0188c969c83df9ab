"""The inner scan against numpy's least squares, scipy's minimisers and the evaluator; and a family nobody has, found."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar

from fansr.expressions import evaluate, literal_value
from fansr.proposers.parts.inner_scan import (
    FAMILIES,
    Family,
    Projector,
    arguments,
    coefficients,
    fixed,
    golden,
    leading,
    mesh,
    rates,
    summed,
    table,
    tables,
    usable,
    values_of,
    zoomed,
)

RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 3.0, (60, 2))


def left_by(columns, goal, weights=None):
    """Share of the goal's spread that numpy's least squares leaves."""
    w = np.ones(len(goal)) if weights is None else weights
    A = np.column_stack(columns) * np.sqrt(w)[:, None]
    r = goal * np.sqrt(w) - A @ np.linalg.lstsq(A, goal * np.sqrt(w), rcond=None)[0]
    return float(r @ r) / float(np.sum(w * (goal - np.average(goal, weights=w)) ** 2))


# ---- families and their tables


@pytest.mark.parametrize("name", FAMILIES)
def test_values_are_those_of_the_expression(name):
    a = X[:, 0]
    one = table(FAMILIES[name], ("x1",), a)
    assert one is not None and len(one.values) == len(one.grid) and usable(one.values).all()
    for constants, values in zip(one.grid, one.values):
        law = one.law(constants)
        assert np.allclose(evaluate(law, X), values, rtol=1e-9)
        assert sum(literal_value(token) is not None for token in law) <= 2
        # Off the grid too, and with a factor in front.
        front = one.times(("x2",), X[:, 1])
        assert np.allclose(front.at(constants[None] * 1.1)[0], evaluate(front.law(constants * 1.1), X), rtol=1e-9)


@pytest.mark.parametrize("a", [X[:, 0] - 1.5, X[:, 0] * 1e-30, X[:, 0] * 1e30, np.geomspace(1e-3, 1e3, 60)])
def test_grids_suit_any_unit_and_sign(a):
    kept = [table(family, ("x1",), a) for family in FAMILIES.values()]
    assert sum(one is not None for one in kept) >= 8
    assert all(np.isfinite(one.values).all() for one in kept if one is not None)


def test_a_shape_without_constants_and_quotients():
    half = fixed(("x1",), X[:, 0]).times(("inv", "x2"), 1 / X[:, 1])
    assert half.law(()) == ("/", "x1", "x2") and np.allclose(evaluate(half.law(()), X), half.values[0])


def test_arguments_are_worth_what_they_say():
    found = arguments(X, [0, 1], "* / - pow2 inv")
    assert [base for base, _ in found[:5]] == [
        ("x1",),
        ("x2",),
        ("*", "x1", "x2"),
        ("/", "x1", "x2"),
        ("/", "x2", "x1"),
    ]
    assert len(found) == 2 + 1 + 2 + 1 + 2 + 2
    for base, v in found:
        assert np.allclose(evaluate(base, X), v)
    # Neither a column of zeros nor what it divides is anything to scan.
    assert [base for base, _ in arguments(np.column_stack([X[:, 0], np.zeros(60)]), [0, 1], "/")] == [("x1",)]


def test_values_of_factor_tables():
    from fractions import Fraction

    v = values_of({("x1",): Fraction(3, 2), ("x2",): Fraction(-2)}, X)
    assert np.allclose(v, X[:, 0] ** 1.5 / X[:, 1] ** 2) and (values_of({}, X) == 1).all()


def test_a_new_family_is_found(monkeypatch):
    """What the module says of adding one: a line; here an arc tangent in a sum with a column in front."""
    monkeypatch.setitem(FAMILIES, "arc", Family("atan * k a", rates))
    y = 2.0 - 0.7 * X[:, 1] * np.arctan(0.83 * X[:, 0])
    look = Projector([np.ones(60)], y)
    functions = tables((*FAMILIES,), [(("x1",), X[:, 0]), (("x2",), X[:, 1])])
    found = leading(functions, lambda values: look.shares(values * X[:, 1]), 6)
    share, law = found[0]
    assert law[:2] == ("atan", "*") and share < 1e-6 and float(law[2]) == pytest.approx(0.83, abs=0.01)
    assert found == sorted(found)


# ---- projection


@pytest.mark.parametrize("weights", [None, RNG.uniform(0.1, 3.0, 60)])
def test_shares_against_least_squares(weights):
    goal, known = np.log(X[:, 0]) + X[:, 1] ** 2, [np.ones(60), X[:, 1] ** 2]
    F = np.stack([np.exp(-X[:, 0]), 1e20 * np.sqrt(X[:, 0]), np.ones(60), np.full(60, np.nan)])
    look = Projector(known, goal, weights)
    shares = look.shares(F)
    for share, f in zip(shares[:2], F):
        assert share == pytest.approx(left_by([*known, f / f.max()], goal, weights), rel=1e-6)
    assert (shares[2:] == math.inf).all()  # there already; not finite
    assert look.open == pytest.approx(left_by(known, goal, weights))
    pairs, phase = look.pair_shares(np.sin(F[:1]), np.cos(F[:1]))
    assert pairs[0] == pytest.approx(left_by([*known, np.sin(F[0]), np.cos(F[0])], goal, weights), rel=1e-5)
    wave = 1.3 * np.sin(2 * X[:, 0] + 0.6) + 4
    assert Projector(known, wave, weights).pair_shares(
        *(g(2 * X[:1, 0] * 0 + 2 * X[None, :, 0]) for g in (np.sin, np.cos))
    )[1][0] == pytest.approx(0.6)


def test_a_dependent_column_changes_nothing():
    goal, known = np.sin(X[:, 0]), [np.ones(60), X[:, 1]]
    more = Projector([*known, 3 * X[:, 1] - 2], goal)
    assert more.Q.shape[1] == 2 and more.open == pytest.approx(left_by(known, goal))


def test_misfits_of_goals_that_vary():
    known = [np.ones(60), X[:, 0], X[:, 1]]
    S = np.stack([X[:, 0] ** 2, np.exp(X[:, 1]), 2 * X[:, 0] - X[:, 1] + 5, np.full(60, np.inf)])
    with np.errstate(invalid="ignore"):
        misfits = Projector(known).misfits(S)
    assert misfits[:2] == pytest.approx([left_by(known, s) for s in S[:2]])
    assert misfits[2] < 1e-28 and misfits[3] == math.inf


def test_the_periodogram_is_least_squares_and_shows_the_frequency():
    a = X[:, 0]
    goal = (1 + 0.5 * X[:, 1]) * np.cos(14.2 * a + 0.3) + 2
    k = np.arange(2.0, 25.0, 0.2)
    amplitudes = np.stack([np.ones(60), X[:, 1]])
    shares = Projector([np.ones(60)], goal).wave_shares(k, a, amplitudes)
    assert k[np.argmin(shares)] == pytest.approx(14.2) and shares.min() < 1e-5  # it is damped by a little
    for i in (0, 30, 70):
        columns = [m * g(k[i] * a) for m in amplitudes for g in (np.sin, np.cos)]
        assert shares[i] == pytest.approx(left_by([np.ones(60), *columns], goal), rel=1e-3)


def test_coefficients_of_columns_of_any_size():
    c, left = coefficients([np.ones(60), 1e-80 * X[:, 0], 1e90 * X[:, 1]], 3 + 2 * X[:, 0] - X[:, 1], np.ones(60))
    assert np.allclose(c, [3, 2e80, -1e-90], rtol=1e-9) and left < 1e-25


def test_columns_that_overflow_explain_nothing(capfd):
    wild = np.where(np.arange(60) == 7, np.inf, 1.0)
    for columns, goal in (([np.ones(60), wild], np.ones(60)), ([np.ones(60)], wild)):
        c, left = coefficients(columns, goal)
        assert left == np.inf and not c.any()
    assert "illegal" not in "".join(capfd.readouterr())


def test_sums_are_written_as_they_are():
    law = summed([2.5, 0.0, -1.0], [("x1",), ("exp", "x1"), ("x2",)], 0.3)
    assert np.allclose(evaluate(law, X), 2.5 * X[:, 0] - X[:, 1] + 0.3)
    assert summed([0.0], [("x1",)]) == ("0.0",) and summed([2.0], [("x1",)]) == ("mult2", "x1")


# ---- narrowing


@pytest.mark.parametrize(
    "f, a, b",
    [
        (lambda x: (x - 1.3) ** 2 + 2, -4.0, 5.0),
        (lambda x: abs(x - 0.2), 0.0, 1.0),
        (lambda x: math.cosh(x) - x, -2.0, 3.0),
        (lambda x: x, 1.0, 2.0),
    ],
)
def test_golden_section_finds_what_scipy_finds(f, a, b):
    value, place = golden(f, a, b, 40)
    best = minimize_scalar(f, bounds=(a, b), method="bounded", options={"xatol": 1e-10})
    assert place == pytest.approx(best.x, abs=1e-5) and value == f(place) <= best.fun + 1e-9


def test_each_golden_step_costs_one_evaluation():
    seen = []
    golden(lambda x: seen.append(x) or x * x, -1.0, 2.0, 10)
    assert len(seen) == 12


def test_zooming_finds_what_scipy_finds():
    def f(places):
        return (places[:, 0] - 1.37) ** 2 + (places[:, 1] - places[:, 0] ** 2) ** 2

    axes = (np.linspace(0, 3, 7), np.linspace(-1, 5, 7))
    start = mesh(axes)[int(np.argmin(f(mesh(axes))))]
    value, at, _ = zoomed(f, axes, start, 8)
    best = minimize(lambda p: float(f(p[None])[0]), start, method="Nelder-Mead")
    assert at == pytest.approx(best.x, abs=0.01) and value < 1e-4
    # An axis of one value stays, and with no rounds so does the place.
    assert zoomed(f, (axes[0], np.array([2.0])), np.array([1.5, 2.0]), 5)[1][1] == 2.0
    assert (zoomed(f, axes, start, 0)[1] == start).all()


def test_rates_pass_over_the_rows_where_an_argument_is_infinite():
    a = np.array([0.0, 0.5, 1.0, 2.0])
    with np.errstate(divide="ignore"):
        assert np.array_equal(rates(1 / a), rates(1 / a[1:]))
    assert np.isfinite(rates(np.zeros(3))).all() and np.isfinite(rates(np.full(3, np.inf))).all()
