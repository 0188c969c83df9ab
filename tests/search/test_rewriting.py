"""rewriting.py and monomials.py: every form that a rule yields is the same function, judged by SymPy and on rows of its own; the form
that is quickest to read is a person's; factors are SymPy's."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fansr.expressions import evaluate, free, from_infix, from_tree, n_constants, to_infix
from fansr.fitting import Candidate, Refiner
from fansr.search import alternative_forms, arrangement, monomials, rewriting, sum_forms
from fansr.search.law_trees import text_of, tree_of
from tests.random_trees import random_tree

X = np.random.default_rng(0).uniform(0.5, 3.0, (90, 4))
RULES = (
    rewriting.phases, rewriting.double_angles, rewriting.hyperbolic, rewriting.saturated(X), rewriting.powers, rewriting.roots(X), sum_forms.sums, sum_forms.squares, sum_forms.hinges,
    sum_forms.shared, rewriting.scales, rewriting.exponents, rewriting.logarithms, rewriting.inside, sum_forms.whole_roots,
)  # fmt: skip


def candidate(formula, X=X, names=None):
    expr, consts = free(from_infix(formula, names))
    consts = np.array(consts, dtype=float)
    fitter = Refiner(X, evaluate(expr, X, consts))
    return Candidate(expr, consts, float(fitter.fvu(expr, consts))), fitter


@pytest.mark.parametrize(
    ("written", "short"),
    [
        ("-0.82*x1*sin(x1**2 + 3*pi/2)", "0.82*x1*cos(x1**2)"),
        ("cos(x1*x2 + x3 - 7.853981633974483)", "sin(x1*x2 + x3)"),
        ("sin(pi/2 - log(x1))", "cos(log(x1))"),
        ("sin(2 - x1*x2)", "sin(2 - x1*x2)"),
        ("x3*sin(x1*x2)/cos(x1*x2)", "x3*tan(x1*x2)"),
        ("sqrt(sqrt(x1 + x2))*3.2", "3.2*(x1 + x2)**0.25"),
        ("sqrt(4*x1**2*x2**2 - 12*x2/x3 + 9/(x1*x3)**2 + x4**2)", "sqrt((2*x1*x2 - 3/(x1*x3))**2 + x4**2)"),
        ("x1**2 + x2**2 - 2*x1*x2*cos(x3)", "x1**2 + x2**2 - 2*x1*x2*cos(x3)"),
        ("(x1 + abs(x1 - 2)/2)/5 + 0.1*abs(x1 - 1) - 0.3", "max(x1 - 2, 0)/5 + max(x1 - 1, 0)/5"),
        ("0.3*abs(2*x1 - 3) - 0.6*x1 + x2", "1.2*max(1.5 - x1, 0) + x2 - 0.9"),
        ("abs(x1 - 2) + x1/2 + x2", "abs(x1 - 2) + x1/2 + x2"),
        ("2.4*x1*x1*x2/(x1 + x2)", "2.4*x1**2*x2/(x1 + x2)"),
        ("x2/(x3*x4)**2*exp(x2/x4)/2*(x3*x4/x1)**2", "x2*exp(x2/x4)/(2*x1**2)"),
        ("(exp(x1) + exp(-x1) + 0.58)/2", "cosh(x1) + 0.29"),
        ("0.17*(x1**2*exp(x1) - x1**2*exp(-x1) + 5.88235294117647)", "0.34*x1**2*sinh(x1) + 1"),
        ("cbrt(2*cos(x2)*sin(x2) + x1)", "cbrt(sin(2*x2) + x1)"),
        ("x3*(x1*(x1*(x2 - 2.5) - 4.4*x2 + 11) + 4.84*x2 - 12.1)", "x3*(x1 - 2.2)**2*(x2 - 2.5)"),
        ("log(x1*(x2 + 1.5) + x3 + 1.3*x2 + 1.95)", "log((x1 + 1.3)*(x2 + 1.5) + x3)"),
        ("x3/(x1*(x2 + 1.1) + 2.1*x2 + 2.31)", "x3/((x1 + 2.1)*(x2 + 1.1))"),
        ("0.35*(1.4285714285714286*(x1*x2**2 + 2*x3*x4)/x3 + x2)", "x1*x2**2/(2*x3) + x4 + 0.35*x2"),
        ("0.625*(x1 + 0.37*x2)/(0.625*x3 + x4)", "(x1 + 0.37*x2)/(x3 + 1.6*x4)"),
        ("x1**2*(x2 - 0.75*x3/x1)**3", "(x1*x2 - 0.75*x3)**3/x1"),
        ("x2*(x2*(0.5043 - 0.068921*x2/x1) - 1.23*x1) + x1**2", "(x1 - 0.41*x2)**3/x1"),
        ("1/(x1*x2**2 + 9/(x1*x2**2) + 6)", "x1*(x2/(x1*x2**2 + 3))**2"),
        ("17.64*x1**2 + 3.108*x1 + 0.1369", "(4.2*x1 + 0.37)**2"),
        ("3*x1**2 - 2*x1 + 1", "3*x1**2 - 2*x1 + 1"),
        ("3.7*x1 - x1**2", "3.7*x1 - x1**2"),
        ("3.7*(x1 - x1**2)", "3.7*x1*(1 - x1)"),
        ("x1**3/6 - x1**2/2 + x1/3", "x1*(x1 - 1)*(x1 - 2)/6"),
        ("x1**3/3 + x1**2/2 + x1/6 + 0*x2", "x1*(2*x1 + 1)*(x1 + 1)/6"),
        ("0.7*x1 - 0.7*x1**2", "0.7*x1*(1 - x1)"),
        ("(x1**2 + x1)*exp(x2)", "x1*(x1 + 1)*exp(x2)"),
        ("x1**2 - 4", "x1**2 - 4"),
        ("0.045*x1 + 0.025*abs(x1 - 2) + 8.4", "0.02*x1 + 0.05*max(x1 - 2, 0) + 8.45"),
        ("2*x1 + 3*abs(x1 - 2)", "2*x1 + 3*abs(x1 - 2)"),
        ("0.1323*x1 + 0.21*x1*x2 + 0.32", "0.21*x1*(x2 + 0.63) + 0.32"),
        ("0.848528137423857*sqrt(x1 + 8.333333333333334)", "sqrt(0.72*x1 + 6)"),
        ("0.15*(20*sqrt(x1*x2) + sqrt(x3**2 + 1.1*x4))", "3*sqrt(x1*x2) + 0.15*sqrt(x3**2 + 1.1*x4)"),
        ("0.2941176470588235*x2*x1/(1 + exp(0.57*x3))", "x1*x2/(3.4*(1 + exp(0.57*x3)))"),
        ("0.5882352941176471*x1*x2*exp(-x3*x4)", "x1*x2*exp(-x3*x4)/1.7"),
        ("x2*x3/(1 + exp(200*(x1 - 1.8)))", "x2*x3/(1 + exp(200*(x1 - 1.8)))"),
        ("(0.8607*exp(x1)**2 + 1.5576)*exp(-5*x1) + 0.0951/exp(x1)", "0.8607*exp(-3*x1) + 1.5576*exp(-5*x1) + 0.0951*exp(-x1)"),
        ("5*sqrt(x1**2/(x2 + 1.4))", "5*x1/sqrt(x2 + 1.4)"),
        ("1/sqrt(x1*(2*x1/x2 + 1)**2)", "x2/(sqrt(x1)*(2*x1 + x2))"),
        ("x2 - 2*x2*sin(2.2*sqrt(x1))**2 + x1*x3", "x2*cos(4.4*sqrt(x1)) + x1*x3"),
        ("1.5*(2*cos(x1*x2)**2 - 1)", "1.5*cos(2*x1*x2)"),
        ("tanh(x1)*x2", "x2*tanh(x1)"),
        ("x2*sinh(x1)/cosh(x1)", "x2*tanh(x1)"),
    ],
)  # fmt: skip
def test_the_quickest_form_is_a_persons(written, short):
    law, fitter = candidate(written)
    found = arrangement.arranged(rewriting.shortest(law, X, fitter))
    assert to_infix(found.expr, found.consts, digits=9) == short
    np.testing.assert_allclose(
        evaluate(found.expr, X, found.consts), evaluate(law.expr, X, law.consts), rtol=1e-9, atol=1e-12
    )


def test_a_logarithm_holds_its_factor():
    rows = np.column_stack([np.random.default_rng(1).uniform(0.5, 3.0, 50)] * 3)
    law, fitter = candidate(f"x1*x2 + log(x3 + {1 / 0.0063!r}) - {math.log(1 / 0.0063)!r}", rows)
    found = rewriting.shortest(law, rows, fitter)
    assert to_infix(found.expr, found.consts, digits=9) == "log(0.0063*x3 + 1) + x1*x2"


def test_exponentials_that_cancel_are_one():
    """A product of powers may be empty: x1*exp(x2)*(x3 - 1)/exp(x2) multiplied out, and exp(0) as it stands."""
    for written in ("x1 + exp(x2)*exp(-x2)*(x3 - x1**2)", "x1 + exp(0)**4*(1.5 - x3)", "x2*exp(x1)*exp(-x1) - x3"):
        law, fitter = candidate(written)
        for rule in RULES:
            for other in rewriting._everywhere(tree_of(law), rule):
                short, values = text_of(other)
                np.testing.assert_allclose(evaluate(short, X, np.array(values)), evaluate(law.expr, X, law.consts))
    found = rewriting.shortest(law, X, fitter)
    assert to_infix(found.expr, found.consts) == "x2 - x3"


def test_what_is_at_its_limit_on_all_rows():
    rows = np.column_stack(
        [np.random.default_rng(2).uniform(9.78, 9.82, 60), np.random.default_rng(3).uniform(1, 2, 60)]
    )
    law, fitter = candidate(f"{2 * math.exp(-196)!r}*x2*cosh(-20*x1)", rows)
    found = rewriting.shortest(law, rows, fitter)
    assert "cosh" not in found.expr and "exp" in found.expr
    assert all(abs(math.log(abs(c))) < 20 for c in found.consts)
    np.testing.assert_allclose(
        evaluate(found.expr, rows, found.consts), rows[:, 1] * np.exp(20 * rows[:, 0] - 196), rtol=1e-9
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_every_form_of_every_rule_is_the_same_function(seed):
    rng = np.random.default_rng(seed)
    expr = random_tree(rng, 4, 4)
    consts = rng.uniform(0.3, 3, n_constants(expr)) * rng.choice([-1, 1], n_constants(expr))
    tree = tree_of(Candidate(expr, consts, 0.0))
    with np.errstate(all="ignore"):
        wanted = evaluate(expr, X, consts)
        for rule in RULES:
            for other in rewriting._everywhere(tree, rule):
                try:
                    short, values = text_of(other)
                except (ValueError, OverflowError, ZeroDivisionError):
                    continue
                got = evaluate(short, X, np.array(values, dtype=float))
                both = np.isfinite(wanted) & np.isfinite(got) & (np.abs(wanted) < 1e6)
                size = np.abs(wanted[both]) + 1e-3 * np.abs(wanted[both]).max(initial=0.0)
                off = np.abs(got[both] - wanted[both])
                assert np.median(off / np.maximum(size, 1e-9), axis=None) < 1e-6 if both.any() else True, (rule, expr)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_factors_are_sympys(seed):
    sympy = pytest.importorskip("sympy")
    rng = np.random.default_rng(seed)
    shifts = [int(n) for n in rng.integers(1, 9, 3)]
    a, b, c = sympy.symbols("x1 x2 x3")
    law = (a + shifts[0]) * (b - shifts[1]) ** int(rng.integers(1, 3)) * (c + shifts[2] if seed % 2 else 1)
    text = str(sympy.expand(law))
    whole = monomials.factored(monomials.monomials(tree_of(candidate(text)[0])))
    assert whole is not None
    expr, consts = text_of(whole)
    back = sympy.sympify(to_infix(expr, consts, digits=12))
    assert sympy.factor(sympy.nsimplify(back, rational=True)) == sympy.factor(law)
    assert len(from_tree(tree_of(Candidate(expr, np.array(consts), 0.0)))) < len(from_infix(text))


def test_what_has_no_factors_stays():
    for text in ("x1*x2 + x3", "x1**2 + x2**2", "x1*x2 + 2*x1 + 3*x2 + 7"):
        assert monomials.factored(monomials.monomials(tree_of(candidate(text)[0]))) is None


def test_a_shifted_product_is_told_through_noise():
    """As good as the product fitted by scipy, from the sum with its four coefficients apart."""
    from scipy.optimize import curve_fit

    rng = np.random.default_rng(8)
    y = X[:, 2] / ((X[:, 0] + 2.1) * (X[:, 1] + 1.1)) * (1 + 0.002 * rng.standard_normal(len(X)))
    expr, consts = free(from_infix("x3/(1.03*x1*x2 + 2.2*x2 + 1.07*x1 + 2.4)"))
    fitter = Refiner(X, y)
    fvu, consts = fitter.polish(expr, np.array(consts))
    found = list(alternative_forms.shifted_products(Candidate(expr, consts, fvu), fitter, lambda: False))
    assert len(found) == 1 and len(found[0].consts) == 3
    best, _ = curve_fit(lambda X, a, b, c: a * X[2] / ((X[0] + b) * (X[1] + c)), X.T, y, p0=[1, 2, 1])
    left = y - best[0] * X[:, 2] / ((X[:, 0] + best[1]) * (X[:, 1] + best[2]))
    assert found[0].fvu <= np.mean(left**2) / np.var(y) * (1 + 1e-6)
    far = Candidate(expr, np.array([1.0, 2.0, 1.0, 9.0]), fvu)  # no product at all
    assert not list(alternative_forms.shifted_products(far, fitter, lambda: False))


def test_noise_counts_constants_not_their_digits():
    rng = np.random.default_rng(5)
    expr, consts = free(from_infix("2.31847*x1*x2 + 1.73921*x1"))
    y = evaluate(expr, X, np.array(consts)) + 0.1 * rng.standard_normal(len(X))
    fitter = Refiner(X, y)
    law = Candidate(expr, np.array(consts), float(fitter.fvu(expr, consts)))
    found = rewriting.shortest(law, X, fitter)
    assert len(found.consts) == 2
    assert found.fvu <= law.fvu * 1.001
