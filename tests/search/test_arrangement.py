"""arrangement.py: the order in which a person writes, values untouched."""

import numpy as np
import pytest

from fansr.expressions import evaluate, free, from_infix, to_infix
from fansr.fitting import Candidate
from fansr.search import arrangement, law_trees

X = np.random.default_rng(0).uniform(0.5, 3.0, (40, 3))


@pytest.mark.parametrize(
    ("written", "arranged"),
    [
        ("3*x1**2 + 1.1 - 2.5*x1", "3*x1**2 - 2.5*x1 + 1.1"),
        ("0.125*x1*x2**4/(x3*x1)", "x1*x2**4/(8*x1*x3)"),
        ("0.25*x1/x2", "x1/(4*x2)"),
        ("x1/2*x2", "x1*x2/2"),
        ("x3/2*sin(x1)", "x3*sin(x1)/2"),
        ("0.1*x1/x2", "0.1*x1/x2"),
        ("0.2/x1", "0.2/x1"),
        ("x2 + 2.2*x1 + x1**3", "x1**3 + 2.2*x1 + x2"),
        ("14.7 - (3.4*x2 + 2.1*x1)", "14.7 - 2.1*x1 - 3.4*x2"),
        ("x1 - (x2 - (x3 - 1.5))", "x1 - x2 + x3 - 1.5"),
        ("1.5 - x1 - x2 + x3", "x3 - x1 - x2 + 1.5"),
        ("-x1 - 2.5*x2", "-(x1 + 2.5*x2)"),
        ("100/(exp(2.3*(1.9 - x1)) + 1)", "100/(1 + exp(-2.3*(x1 - 1.9)))"),
        ("x2/(exp(-0.7*x1) + 1)", "x2/(1 + exp(-0.7*x1))"),
        ("1/(exp(x1) - 1)", "1/(exp(x1) - 1)"),
        ("sin(2.5 + x1 + 3.1*x1**2)*x2", "x2*sin(3.1*x1**2 + x1 + 2.5)"),
        ("3.5*(x1 + 2.2)*(x2 - 1.1)", "3.5*(x1 + 2.2)*(x2 - 1.1)"),
        ("x3*x1/(x2 + 2.4)", "x1*x3/(x2 + 2.4)"),
        ("3.5*(x3*sin(x2))*x1", "3.5*x1*x3*sin(x2)"),
        ("x1/(x3 + x2)", "x1/(x2 + x3)"),
        ("14.7 + 2.3*x3 - 1.7*x2 + x1**2", "x1**2 - 1.7*x2 + 2.3*x3 + 14.7"),
        ("x2/((0.58823529411764708*x1)**2.3 + 1)", "x2/(1 + (x1/1.7)**2.3)"),
        ("0.7*(2.1 - x1)**2", "0.7*(x1 - 2.1)**2"),
        ("abs(2.1 - x1)", "abs(x1 - 2.1)"),
        ("cosh(-0.22*x1)*x2", "x2*cosh(0.22*x1)"),
        ("(2.1 - x1)**3", "(2.1 - x1)**3"),
        ("4/((1.2/x1)**2 + 1)", "4/(1 + (1.2/x1)**2)"),
        ("x2*(2*x1*cos(x3))", "2*x1*x2*cos(x3)"),
        ("(0.4*x1)**2.5", "(0.4*x1)**2.5"),
        ("x1*x2 - x3/2.5", "x1*x2 - x3/2.5"),
        ("max(1.5, x1)", "max(x1, 1.5)"),
        ("2.5*log(x1) - 2.5*log(x2 + 1.1)", "2.5*log(x1/(x2 + 1.1))"),
        ("x3 + log(x1) - log(x2)", "log(x1/x2) + x3"),
        ("3.5*log(x1) - 2.5*log(x2)", "3.5*log(x1) - 2.5*log(x2)"),
        ("2.5*min(0.7, x1 - x2) + x3", "2.5*min(x1 - x2, 0.7) + x3"),
        ("5.5 - 26.2*exp(-1.66*max(1.2, x1))", "5.5 - 26.2*exp(-1.66*max(x1, 1.2))"),
        ("x3*min(max(1.5, x1), 2.5)", "x3*min(max(x1, 1.5), 2.5)"),
        ("max(x2, x1)*x3", "x3*max(x2, x1)"),
    ],
)
def test_the_order_and_the_values(written, arranged):
    expr, consts = free(from_infix(written))
    before = Candidate(expr, np.array(consts), 0.1)
    after = arrangement.arranged(before)
    assert to_infix(after.expr, after.consts, digits=6) == arranged
    np.testing.assert_allclose(evaluate(after.expr, X, after.consts), evaluate(expr, X, consts), rtol=1e-12, atol=1e-13)
    again = arrangement.arranged(after)
    assert again.expr == after.expr


@pytest.mark.parametrize(
    ("written", "low", "high", "arranged"),
    [("(2.1 - x1)**2", 0.5, 2, "(2.1 - x1)**2"), ("(x1 - 2.1)**2", 0.5, 2, "(2.1 - x1)**2"), ("(2.1 - x1)**2", 2.5, 4, "(x1 - 2.1)**2"),
     ("(2.1 - x1)**2", 1, 3, "(x1 - 2.1)**2"), ("(x1 - 2.1)**2", 1, 3, "(x1 - 2.1)**2")],
)  # fmt: skip
def test_what_is_squared_is_positive_on_the_rows(written, low, high, arranged):
    """A tank that empties is (2.1 - t)^2, what grows since a year is (t - 2.1)^2, and a middle is taken off."""
    expr, consts = free(from_infix(written))
    after = arrangement.arranged(Candidate(expr, np.array(consts), 0.1), np.linspace(low, high, 20)[:, None])
    assert to_infix(after.expr, after.consts) == arranged


@pytest.mark.parametrize(
    ("formula", "polynomial"), [("3*x1**2 - 2.1*x1 + x2", True), ("exp(x1**2)", False), ("sqrt(x1 + x1**2)", False)]
)
def test_what_is_a_polynomial(formula, polynomial):
    expr, consts = free(from_infix(formula))
    assert arrangement.is_polynomial(Candidate(expr, np.array(consts), 0.1)) is polynomial


def test_powers_of_a_number_of_many_digits_are_exponentials():
    for law, token in (("2.3*1.6955206**x1", "exp"), ("2.3*1.5**x1", "pow"), ("2.3*x1**1.6955206", "pow")):
        expr, consts = free(from_infix(law))
        candidate = Candidate(expr, np.array(consts))
        rewritten = law_trees.text_of(law_trees.everywhere(law_trees.tree_of(candidate), arrangement.uneven_base))
        assert token in rewritten[0]
        assert np.allclose(evaluate(rewritten[0], X, rewritten[1]), evaluate(expr, X, consts), rtol=1e-13)


def test_an_argument_of_a_logarithm_is_a_share_of_something():
    for law, shown in (("0.86*log(38.46153846153846*x1)", "0.86*log(x1/0.026)"), ("2*log(0.5*x1)", "2*log(x1/2)"), ("2*log(1.5*x1)", "2*log(1.5*x1)")):  # fmt: skip
        expr, consts = free(from_infix(law))
        after = arrangement.arranged(Candidate(expr, np.array(consts), 0.1))
        assert to_infix(after.expr, after.consts, digits=9) == shown
