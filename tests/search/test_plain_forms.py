"""plain_forms.py: the form a person would write, never at the cost of the fit; values compared on rows of their own."""

import numpy as np
import pytest

from fansr.expressions import evaluate, free, from_infix, to_infix
from fansr.fitting import Candidate, Refiner
from fansr.search import alternative_forms, plain_forms

X = np.random.default_rng(0).uniform(0.5, 3.0, (90, 3))


def candidate(formula, y=None):
    expr, consts = free(from_infix(formula))
    consts = np.array(consts, dtype=float)
    fitter = Refiner(X, evaluate(expr, X, consts) if y is None else y)
    return Candidate(expr, consts, float(fitter.fvu(expr, consts))), fitter


def shown(law):
    return to_infix(law.expr, law.consts, digits=6)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("-2*x1 + 3", "3 - 2*x1"),
        ("x1 - x2*(x1 - x3)", "x1 + x2*(x3 - x1)"),
        ("5 - 2*(x1 - 3)*x2", "5 - 2*(x1 - 3)*x2"),
        ("1.25*(-4 - x1)*exp(-x1/4) + 5", "5 - 1.25*(x1 + 4)*exp(-x1/4)"),
        ("2*x1/(-3 - x2)", "-2*x1/(x2 + 3)"),
        ("x2/(2.8/x1 + 2.5)", "0.4*x2*x1/(x1 + 1.12)"),
        ("x2*x1/(4.5/x1 + 1.25)", "0.8*x2*x1**2/(x1 + 3.6)"),
        ("x1/(x2/x3 + 0.17)", "x1/(x2/x3 + 0.17)"),
        ("(exp(x1)/(2.5*x2 + 50))**1.3*exp(-x1/5)", "0.303863*exp(1.1*x1)/(x2 + 20)**1.3"),
        ("2*((x2 + 24)**1.2*exp(-x1))**(-1.1)", "2*exp(1.1*x1)/(x2 + 24)**1.32"),
        ("exp(x1)*x3*exp(2.2*x2)/x1", "x3*exp(x1 + 2.2*x2)/x1"),
        ("-0.5*x1 + x2*x3", "x2*x3 - x1/2"),
        ("-x1/(x2 - x3)", "x1/(x3 - x2)"),
        ("-(x1 - 2)**3*x2", "(2 - x1)**3*x2"),
        ("2*sin(3*x1) + 1.5*cos(3*x1)", "2.5*sin(3*x1 + 0.643501)"),
        ("4*sin(7*x1) - 3*cos(-7*x1) + x2", "5*sin(7*x1 - 0.643501) + x2"),
        ("-cos(3*x1 - 3)", "cos(3*x1 + 0.141593)"),
        ("-x2*cos(83*x1 - 2.441593)/(0.55 + x3)", "x2*cos(83*x1 + 0.7)/(x3 + 0.55)"),
        ("x2*sin(3*x1 + 1.5707963267948966)", "x2*cos(3*x1)"),
        ("cos(2 - 5*x1)", "cos(5*x1 - 2)"),
        ("sin(3*x1 + 100)", "sin(3*x1 - 0.530965)"),
        ("2*sin(5*x1 + 2.071573)", "2*cos(5*x1 + 0.500777)"),
        ("5 - sin(3*x1 + 1.5661)", "5 - cos(3*x1 - 0.00469633)"),
        ("1/(0.4/x1 + 0.25)", "4*x1/(x1 + 1.6)"),
        ("8/((x1 + 2.2)/x2 + 0.8)", "10*x2/(x2 + 1.25*x1 + 2.75)"),
        ("2/(1/x2 + 5)", "0.4*x2/(x2 + 0.2)"),
        ("2.5*exp(-(1.3*x1 - 2.6)**2)", "2.5*exp(-(1.3*(x1 - 2))**2)"),
        ("7*tanh(1.5*x1 - 3.3) + x2", "7*tanh(1.5*(x1 - 2.2)) + x2"),
        ("0.5 - tanh(4*(x1 - 1.8))/2", "1/(exp(8*(x1 - 1.8)) + 1)"),
        ("3*x2*(1 + tanh(x1))", "6*x2/(exp(-2*x1) + 1)"),
        ("1/(1/x1 + 1/x2)", "x1*x2/(x1 + x2)"),
        ("2.5/(1/x1 - 1/x2)", "2.5*x1*x2/(x2 - x1)"),
        ("1/(0.7*x1**(-2.3) + 0.25)", "4/((1.56465/x1)**2.3 + 1)"),
        ("1/(0.36/x1**2 + 0.25)", "4/((1.2/x1)**2 + 1)"),
        ("8*x1**3/(x1**3 + 2.197)", "8/((1.3/x1)**3 + 1)"),
        ("5/((1/x1)**2 + 0.25)", "20/((2/x1)**2 + 1)"),
        ("1/(x1**2 + 1.44)", "1/(x1**2 + 1.44)"),
        ("2.5/sqrt(x1/x2)", "2.5*sqrt(x2/x1)"),
        ("1/sqrt(x3/(x1 + x2))", "sqrt((x1 + x2)/x3)"),
        ("log(2.5*(x1/x2)**0.43)", "0.43*log(x1/x2) + 0.916291"),
        ("log(2.5*x1)", "log(2.5*x1)"),
        ("x3 - 8.68588963806504*log(40*x1*x2)", "x3 - (8.68589*log(x1*x2) + 32.0412)"),
        ("8.2*log(40*x1)", "8.2*log(40*x1)"),
        ("0.03*x1 + 0.02*max(x1 - 0.6, 0.8)", "0.03*x1 + 0.02*max(x1 - 1.4, 0) + 0.016"),
        ("0.3*x1 + 0.2*max(x1, 1.2) - 0.4", "0.3*x1 + max(x1 - 1.2, 0)/5 - 0.16"),
        ("max(x1, 1.2) + x2", "max(x1, 1.2) + x2"),
        ("0.7/(x1**(-0.42)*x2**(-0.73))", "0.7*x1**0.42*x2**0.73"),
        ("x3/(x1**(-0.42)*x2)", "x3*x1**0.42/x2"),
        ("1/x1**(-0.42)", "x1**0.42"),
        ("3*x2/(0.5 + 0.2*x1**1.7)", "6*x2/((0.583334*x1)**1.7 + 1)"),
        ("1/(x1**2.5 + 40)", "1/(x1**2.5 + 40)"),
        ("exp(0.6931471805599453*x1)*x2", "2**x1*x2"),
        ("exp(-2.302585092994046*x2)", "10**(-x2)"),
        ("7.5*(0.4 - x1)", "3 - 7.5*x1"),
        ("1.1/x2 + x3/x2", "(x3 + 1.1)/x2"),
        ("1/(0.01 + 0.9*exp(-2.3*x1))", "100/(exp(2.3*(1.95644 - x1)) + 1)"),
        ("3*x1**3/sqrt(x1)", "3*x1**2.5"),
        ("2*sqrt(x1)*x2/x1", "2*x2/sqrt(x1)"),
        ("x2*x1**2*sqrt(x1)/x3", "x2*x1**2.5/x3"),
        ("x2/(1 + 9*exp(-2.3*x1))", "x2/(exp(2.3*(0.955315 - x1)) + 1)"),
        ("sqrt(1 - cos(6*x1))", "1.41421*abs(sin(3*x1))"),
        ("sqrt(1 + cos(6*x1))", "1.41421*abs(cos(3*x1))"),
        ("sqrt(2.5*cos(x1*x2) + 2.5)", "2.23607*abs(cos(x1*x2/2))"),
        ("x2*sqrt(3 - 3*cos(2.6*x1))", "2.44949*abs(sin(1.3*x1))*x2"),
        ("sqrt(3*x1**1.4*x3**0.6)", "1.73205*x1**0.7*x3**0.3"),
        ("sqrt(x1**1.4*x3**0.6)*x2", "x1**0.7*x3**0.3*x2"),
        ("x2/sqrt(2*x1**1.7*x3**0.31)", "0.707107*x2/(x1**0.85*x3**0.155)"),
        ("3/(0.8/(1 + exp(1.3*(x1 - 1.5))) + 0.25)", "9.14286/(exp(1.3*(2.60391 - x1)) + 1) + 2.85714"),
        ("1/(0.5/(1 + (1.3*x1)**2.3) + 0.05)", "18.1818/((2.18191/x1)**2.3 + 1) + 1.81818"),
        ("1/(28.5/(x1 + 0.75) + 0.125)", "8 - 1824/(x1 + 228.75)"),
        ("x1/((0.5/x2 + 0.25)*(x1 + 1.2))", "4*x1*x2/((x2 + 2)*(x1 + 1.2))"),
        ("2/((0.5/x2 + 0.25)*(0.3/x1 + 0.6))", "13.3333*x2*x1/((x2 + 2)*(x1 + 0.5))"),
        ("3*(x1*exp(-1.9/x2))**1.6", "3*x1**1.6*exp(-3.04/x2)"),
        ("3*(x1*x3*exp(-1.9*x2))**1.6", "3*(x1*x3)**1.6*exp(-3.04*x2)"),
        ("6.5*(0.2*x1 + 1)**(-0.73)", "6.5/(x1/5 + 1)**0.73"),
        ("x1**(-12)", "1/x1**12"),
        ("4.8*x1**(-12)", "4.8/x1**12"),
        ("x2*x1**(-7)", "x2/x1**7"),
        ("4.8*(x1**(-12) - x1**(-6))", "4.8*(1/x1**12 - 1/x1**6)"),
    ],
)
def test_the_plain_form(written, plain):
    before, fitter = candidate(written)
    after = plain_forms.plain(before, X, fitter)
    assert shown(after) == plain
    fresh = np.random.default_rng(1).uniform(0.5, 3.0, (50, 3))
    np.testing.assert_allclose(
        evaluate(after.expr, fresh, after.consts), evaluate(before.expr, fresh, before.consts), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(
    "formula",
    [
        "x1*x2",
        "2*x1 - 3",
        "exp(-x1) + 1",
        "sin(x1)*cos(x2)",
        "3*(x1 - x2)**2",
        "x1/(x2 + x3)",
        "sin(x1*x2) - 2",
        "sqrt(x1)*x2",
        "x1**3/sqrt(x2)",
        "sqrt(1 - 0.9*cos(2.5*x1))",
        "sqrt(1 - sin(2.5*x1))",
        "sqrt(1.5*x1**3 + 1.5*cos(2.5*x1))",
        "sqrt(2.5*x1**1.4*x3)",
        "sqrt(2.5*x1**1.4 + x3)",
        "sqrt(2.5*x1**7)",
        "2.5*x1**(-1.7)",
        "1/(28.5/(x1 - 0.25) - 0.125)",
        "1/(1 - 0.5/(exp(x1) + 1))",
    ],
)
def test_what_is_plain_stays(formula):
    before, fitter = candidate(formula)
    assert shown(plain_forms.plain(before, X, fitter)) == shown(before)


@pytest.mark.parametrize("formula", ["1/(0.5/(1 + (1e200*x1)**2.3) + 0.05)", "(1e-250*x1*exp(2*x2))**(-1.7)"])
def test_numbers_that_leave_the_floats_are_left_where_they_are(formula):
    before, fitter = candidate(formula)
    with np.errstate(all="ignore"):
        after = plain_forms.plain(before, X, fitter)
    assert np.isfinite(after.consts).all() and len(after.expr) <= len(before.expr)


def test_a_square_is_multiplied_out():
    law, fitter = candidate("3*(x1 - 0.3333333333333333)**2 + 0.6666666666666667")
    assert shown(alternative_forms.expanded(law, fitter)) == "3*x1**2 - 2*x1 + 1"
    law, fitter = candidate("(3.25*x1 - 2.125)*x1 + 1.5")
    assert shown(alternative_forms.expanded(law, fitter)) == "3.25*x1**2 - 2.125*x1 + 1.5"
    law, fitter = candidate("x2*(2*x1 + 1)**3")
    assert alternative_forms.expanded(law, fitter) is None or shown(alternative_forms.expanded(law, fitter)) != ""
    law, fitter = candidate("x1**2 + (x2 - x3)**2")
    assert alternative_forms.expanded(law, fitter) is None


@pytest.mark.parametrize(
    ("degenerate", "law"),
    [
        ("1e7*exp(1e-8*x1*x2) - 1e7 + 2", "0.1*x1*x2 + 2"),
        ("x2*10000*tanh(1e-4*x1)", "x2*x1"),
        ("2e6*(exp(1e-6*x1) - 1)*x3", "2*x1*x3"),
        ("3e7*cos(1e-4*x1) - 3e7 + x2", "x2 - 0.15*x1**2"),
    ],
)
def test_a_limit_is_seen_for_what_it_is(degenerate, law):
    y = evaluate(from_infix(law), X)
    found, fitter = candidate(degenerate, y)
    assert 1e-26 < found.fvu < 1e-8
    limits = list(alternative_forms.limits(found, X, fitter))
    assert limits and min(c.fvu for c in limits) < 1e-26
    best = min(limits, key=lambda c: c.fvu)
    assert np.abs(best.consts).max(initial=1) < 100 and best.length <= found.length


def test_no_limit_where_the_rows_can_tell():
    law, fitter = candidate("2*exp(0.05*x1*x2)")
    assert list(alternative_forms.limits(law, X, fitter)) == []


def test_a_large_power_of_nearly_one_is_an_exponential():
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.uniform(290, 340, 60), rng.uniform(0.1, 2, 60)])
    y = 3.1e7 * np.exp(-5200 / rows[:, 0]) * rows[:, 1] ** 1.5
    noisy = Refiner(rows, y * (1 + 0.015 * rng.normal(size=60)), weights=1 / y**2)
    expr, consts = free(from_infix("32730000/(1/x1 + x2**(-0.00028767))**5224.1"))
    fvu, values = noisy.polish(expr, np.array(consts))
    law = alternative_forms.without_large_powers(Candidate(expr, np.asarray(values), float(fvu)), rows, noisy)
    assert "exp" in law.expr and law.fvu < 1.1 * fvu and np.abs(law.consts).min() > 1
    assert evaluate(law.expr, rows, law.consts) == pytest.approx(y, rel=0.02)
    clean = Refiner(rows, evaluate(expr, rows, np.array(consts)))  # these rows can tell
    power = Candidate(expr, np.array(consts), float(clean.fvu(expr, np.array(consts))))
    assert alternative_forms.without_large_powers(power, rows, clean) is power


def test_a_tiny_power_is_a_logarithm():
    rows = np.geomspace(1e-4, 1, 25)[:, None]
    expr, consts = free(from_infix("1.34 - x1**(-0.01265)"))
    fitter = Refiner(rows, evaluate(expr, rows, np.array(consts)))
    law = Candidate(expr, np.array(consts), float(fitter.fvu(expr, np.array(consts))))
    assert not list(alternative_forms.limits(law, rows, fitter))  # these rows can tell
    noisy = Refiner(rows, 0.34 + 0.01285 * np.log(rows[:, 0]) + 0.001 * np.random.default_rng(1).normal(size=25))
    fvu, values = noisy.polish(expr, np.array(consts))
    (found,) = alternative_forms.limits(Candidate(expr, np.asarray(values), float(fvu)), rows, noisy)
    assert "log" in found.expr and "pow" not in found.expr and len(found.consts) == 2


def test_compound_interest():
    """exp(c r n) with c near -1 as (1 + r)^-n, where that is the law; where it is an exponential it stays one."""
    rng = np.random.default_rng(2)
    rows = np.column_stack([rng.uniform(0.002, 0.02, 60), np.round(rng.uniform(12, 360, 60))])
    expr, consts = free(from_infix("x1/(1 - exp(-0.99*x1*x2))"))
    consts = np.array(consts, dtype=float)
    for y, wanted in (
        (rows[:, 0] / (1 - (1 + rows[:, 0]) ** -rows[:, 1]), 1),
        (rows[:, 0] / (1 - np.exp(-0.99 * rows.prod(axis=1))), 0),
    ):
        fitter = Refiner(rows, y)
        law = Candidate(expr, consts, float(fitter.fvu(expr, consts)))
        found = list(alternative_forms.compounded(law, rows, fitter))
        assert len(found) == wanted
        assert all(other.fvu < 1e-20 and "pow" in other.expr for other in found)


@pytest.mark.parametrize(
    "c, n, plain", [(4.8, -12, "4.8/x1**12"), (1.0, -12, "1/x1**12"), (4.8, -1, "4.8/x1"), (2.5, -3, "2.5/x1**3")]
)
def test_a_fitted_exponent_that_came_out_whole_stands_below_a_bar(c, n, plain):
    expr, consts = "* <constant> pow x1 <constant>".split(), np.array([c, n])
    y = c / np.prod([X[:, 0]] * -n, axis=0)
    fitter = Refiner(X, y)
    after = plain_forms.plain(Candidate(expr, consts, float(fitter.fvu(expr, consts))), X, fitter)
    assert shown(after) == plain
    np.testing.assert_allclose(evaluate(after.expr, X, after.consts), y, rtol=1e-12)


def test_the_root_of_a_half_angle_is_the_size_of_a_wave():
    """Over several turns, where sin and cos have both signs."""
    rows = np.random.default_rng(4).uniform(-9, 9, (80, 1))
    for sign, wave in ((-1, np.sin), (1, np.cos)):
        expr, consts = free(from_infix(f"sqrt(1 {'-+'[sign > 0]} cos(2*x1))"))
        fitter = Refiner(rows, np.sqrt(2) * np.abs(wave(rows[:, 0])))
        before = Candidate(expr, np.array(consts), float(fitter.fvu(expr, np.array(consts))))
        after = plain_forms.plain(before, rows, fitter)
        assert "abs" in after.expr and "pow1_2" not in after.expr and after.fvu < 1e-26


@pytest.mark.parametrize(
    ("formula", "low", "high", "plain"),
    [("abs(x1 - 2)", 2.5, 4, "x1 - 2"), ("abs(x1 - 2)", 0, 1.9, "2 - x1"), ("abs(x1 - 2)", 1, 3, "abs(x1 - 2)"),
     ("3*abs(sin(x1))", 0.1, 3, "3*sin(x1)"), ("2*sqrt(2 - 2*cos(x1))", 0.1, 3, "4*sin(x1/2)")],
)  # fmt: skip
def test_bars_go_where_the_rows_have_one_sign(formula, low, high, plain):
    rows = np.linspace(low, high, 40)[:, None]
    expr, consts = free(from_infix(formula))
    consts = np.array(consts, dtype=float)
    fitter = Refiner(rows, evaluate(expr, rows, consts))
    after = plain_forms.plain(Candidate(expr, consts, float(fitter.fvu(expr, consts))), rows, fitter)
    assert shown(after) == plain and after.fvu < 1e-26


def test_a_loan_whose_series_came_first():
    """(1/r - r n/2) exp(r n) - 1/r is ((1 + r)^n - 1)/r to second order: with the power its term of the series must go."""
    rng = np.random.default_rng(3)
    rows = np.column_stack([rng.uniform(0.001, 0.01, 60), np.round(rng.uniform(6, 300, 60))])
    fitter = Refiner(rows, ((1 + rows[:, 0]) ** rows[:, 1] - 1) / rows[:, 0])
    expr, consts = free(from_infix("(1/x1 - 0.5*x1*x2)*exp(x1*x2) - 1/x1"))
    law = Candidate(expr, np.array(consts), float(fitter.fvu(expr, np.array(consts))))
    assert law.fvu > 1e-9
    (found,) = alternative_forms.compounded(law, rows, fitter)
    assert found.fvu < 1e-20 and "pow" in found.expr and "exp" not in found.expr
