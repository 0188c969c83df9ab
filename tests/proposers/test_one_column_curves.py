"""Curves of one column against laws written down here, least squares by numpy and an optimiser of scipy's."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from fansr.expressions.prefix import is_valid
from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers.one_column_curves import CURVES, FRONTS, INNERS, Shapes, curves, propose, single
from fansr.proposers.parts.inner_scan import Family, Projector

LAWS = {
    "saturation": (lambda x: 3 * x / (x + 2), 0.1, 9),
    "Hill": (lambda x: 3 * x**2.3 / (x**2.3 + 2**2.3) + 1, 0.1, 9),
    "Gompertz": (lambda x: 3 * np.exp(-2 * np.exp(-0.7 * x)), 0, 9),
    "logistic": (lambda x: 5 / (1 + np.exp(-(x - 4) / 0.8)), 0, 9),
    "decay": (lambda x: 2 + 3 * np.exp(-x / 3), 0, 10),
    "two decays": (lambda x: 2 * np.exp(-x) + 3 * np.exp(-x / 5), 0, 10),
    "bell": (lambda x: 4 * np.exp(-((x - 3) ** 2) / 0.5) + 0.2, 0, 6),
    "peak": (lambda x: 1 / (1.2 + (x - 2.5) ** 2), 0.3, 4),
    "Antoine": (lambda x: 7 - 1500 / (x + 230), 0, 100),
    "wave on a parabola": (lambda x: x**2 + 3 * np.sin(4 * x), 0, 6),
    "rise and fall": (lambda x: 2 * x * np.exp(-x), 0, 6),
    "cotangent": (lambda x: 1 / np.tan(x), 0.1, 1.4),
    "root": (lambda x: 2 * np.sqrt(x**2 + 3) - 1, -2, 5),
    "ellipse": (lambda x: 2 * np.sqrt(1 - x**2 / 30), 0, 5),
    "Lorentz factor": (lambda x: 1.3 / np.sqrt(1 - x**2 / 30), 0, 5),
    "softened potential": (lambda x: -3 / np.sqrt(x**2 + 1.7), 0, 6),
    "time to charge": (lambda x: -2.5 * np.log(1 - x / 12), 0, 11),
    "growth of a logarithm": (lambda x: 2.5 * np.log(1 + x / 3), 0, 11),
    "Weibull": (lambda x: 4 - 4 * np.exp(-((x / 3) ** 1.7)), 0.1, 9),
    "vapour pressure": (lambda x: 1.8 * np.exp(-560 / (x + 60)), 100, 400),
    "Planck over wavelengths": (lambda x: 90 / (x**5 * (np.exp(5.5 / x) - 1)), 0.4, 6),
    "Planck over frequencies": (lambda x: 3 * x**3 / (np.exp(0.9 * x) - 1), 0.2, 12),
    "soliton": (lambda x: 4 / np.cosh(0.7 * (x - 6)) ** 2, 0, 12),
}


def table(name, M=200, noise=0.0, seed=0):
    law, low, high = LAWS[name]
    rng = np.random.default_rng(seed)
    x = rng.uniform(low, high, M)
    y = law(x)
    return x, y + noise * y.std() * rng.normal(size=M)


@pytest.mark.parametrize("name", LAWS)
def test_textbook_curves_are_found_exactly(name):
    x, y = table(name)
    problem = Problem(X=x[:, None].copy(), y=y, names=["x1"])
    best = min(
        (c for batch in propose(problem, Budget(None), np.random.default_rng(0)) for c in batch), key=lambda c: c.fvu
    )
    assert best.fvu < 1e-14 and is_valid(best.expr)
    # What is said of it is true of it, on points it never saw too.
    fresh, truth = table(name, seed=1)
    values = evaluate(best.expr, fresh[:, None], best.consts)
    assert np.sum((values - truth) ** 2) < 1e-9 * np.sum((truth - truth.mean()) ** 2)


@pytest.mark.parametrize("name", CURVES)
def test_spelling_and_values_agree(name):
    x = np.linspace(0.3, 2.0, 30)
    family, inners, fronts = CURVES[name]
    for inner in inners.split():
        t = Family(INNERS[inner], tuple).values(x)
        for place in family.grid(t)[::7]:
            constants = [*place, 0.4] if name == "wave" else place
            with np.errstate(all="ignore"):
                values = family.values(t, *constants)
                shown = evaluate(family.spelled(Family(INNERS[inner], tuple).spelled(("x1",)), *constants), x[:, None])
            fine = np.isfinite(values) & np.isfinite(shown) & (np.abs(values) < 1e100)
            assert fine.any() and np.allclose(shown[fine], values[fine], rtol=1e-7, atol=1e-280)
    assert set(fronts.split()) <= set(FRONTS) and set(inners.split()) <= set(INNERS)


def test_noisy_saturation_as_well_as_scipy():
    x, y = table("saturation", M=30, noise=0.05)
    share, _law = curves(x, y, second=False)[0]
    popt, _ = curve_fit(lambda x, a, b: a * x / (x + b), x, y, p0=[1, 1])
    residual = np.sum((popt[0] * x / (x + popt[1]) - y) ** 2) / np.sum((y - y.mean()) ** 2)
    best = min(share for share, _ in curves(x, y, second=False))
    assert best <= residual * 1.001 and share < 2 * residual


def test_the_scale_of_a_table_does_not_matter():
    x, y = table("decay", M=50)
    for size in (1e-200, 1e150):
        share, law = curves(x, y * size)[0]
        assert share < 1e-20 and np.allclose(evaluate([*law], x[:, None]), y * size, rtol=1e-6)


@pytest.mark.parametrize(
    "x, y",
    [
        (np.zeros(9), np.arange(9.0)),
        (np.arange(9.0), np.ones(9)),
        (np.arange(3.0), np.arange(3.0)),
        (np.array([0, 0, 0, 1, 1, 1.0]), np.arange(6.0)),
        (np.geomspace(1e-300, 1e300, 40), np.arange(40.0)),
    ],
)
def test_odd_tables_do_no_harm(x, y, recwarn):
    for share, law in curves(x, y):
        assert np.isfinite(share) and is_valid(
            [t if not t[-1].isdigit() or t in ("x1",) or t[0].isalpha() else "1.0" for t in law]
        )
    assert not [w for w in recwarn if issubclass(w.category, RuntimeWarning)]


def test_weights_count():
    x = np.linspace(0, 4, 60)
    y = np.exp(-x)
    y[::5] += 3.0
    weights = np.ones(60)
    weights[::5] = 1e-12
    ones = [np.ones(60)]
    assert (
        single(Shapes(x), Projector(ones, y, weights))[0].share < 1e-4 < single(Shapes(x), Projector(ones, y))[0].share
    )


@pytest.mark.parametrize(
    "x", [1e300 * np.linspace(1, 2, 40), 5e-324 * np.arange(40.0), np.repeat([1.0, 1.0 + 2e-16], 20)]
)
def test_a_column_of_which_no_curve_is_finite_or_varies_has_no_laws_and_no_error(x):
    with np.errstate(all="ignore"):  # as a search does around every turn
        assert isinstance(curves(x, np.cos(np.arange(40.0))), list)


@pytest.mark.parametrize("noise, off", [(0.0, 1e-9), (0.001, 0.1), (0.01, 0.5)])
def test_attraction_and_repulsion_are_two_whole_powers(noise, off):
    """Lennard and Jones: neither power alone says much; together with their exponents fitted they leave what the truth leaves."""
    r = np.linspace(0.95, 2.5, 60)
    truth = 4.8 * (r**-12 - r**-6)
    y = truth + noise * np.random.default_rng(4).normal(size=60)
    left = np.sum((y - truth) ** 2) / np.sum((y - y.mean()) ** 2)
    found = [(share, law) for share, law in curves(r, y) if law.count("pow") == 2]
    assert found
    share, law = min(found)
    assert share <= left + 1e-25
    exponents = sorted(float(law[i + 2]) for i, token in enumerate(law) if token == "pow")
    np.testing.assert_allclose(exponents, [-12, -6], atol=off)


def test_powers_of_numbers_below_0_are_left_to_others():
    x = np.linspace(-2, 2, 41)
    assert all("pow" not in law for _, law in curves(x, x**3 - np.abs(x)))


def test_a_plain_curve_is_drawn_in_however_coarse_its_grid():
    """Over a column that is held at first, an exponential's grid is a bad one, and thirty other curves seem better there."""
    x = np.maximum(np.arange(0, 4.0001, 0.05), 1.0)
    y = 5 - 26 * np.exp(-1.66 * x)
    share, law = min(curves(x, y, second=False))
    assert share < 1e-25 and np.allclose(evaluate([*law], x[:, None]), y, atol=1e-9)
    assert any(
        curve.expr[0] == "exp" and curve.share < 1e-6 for curve in single(Shapes(x), Projector([np.ones(len(x))], y))
    )


@pytest.mark.parametrize("name, sign", [("cosh", 1), ("sinh", -1)])
def test_what_decays_both_ways_is_about_a_middle(name, sign):
    """Heat along a rod: two exponentials of one rate, as the hyperbolic function of numpy about one place."""
    x = np.linspace(2, 5, 50)
    y = 20 + 3.5 * np.exp(1.3 * (x - 3.2)) + sign * 3.5 * np.exp(-1.3 * (x - 3.2))
    found = [law for share, law in curves(x, y) if share < 1e-20 and name in law]
    assert found
    values = evaluate([*found[0]], x[:, None])
    assert np.allclose(values, 20 + 7 * getattr(np, name)(1.3 * (x - 3.2)), rtol=1e-9)
