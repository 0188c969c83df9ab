"""Curves with a name are told whatever their spelling, and nothing else is."""

import pytest

from fansr.expressions import free, from_infix
from fansr.fitting import Candidate
from fansr.search import named_curves, selection


@pytest.mark.parametrize(
    "formulas, name",
    [
        (("3",), "1"), (("2*x1", "x1/3", "-x1"), "M1"), (("2*x1 + 1", "3*(x1 - 2.5)"), "+M1"), (("x1**1.7", "3*sqrt(x1)*x1**0.2"), "M?"),
        (("5*exp(-2*x1)", "3*0.8**x1", "exp(2.5 - x1)", "1/exp(x1)", "exp(-x1)**2", "exp(x1)*exp(2*x1)"), "E"),
        (("6*(1 - exp(-0.6*x1))", "3*0.8**x1 + 5"), "+E"), (("5/(1 + 3*exp(-x1))", "1/(0.2 + 3*exp(-x1))"), "logistic"),
        (("5*x1/(x1 + 2)", "5/(1 + 2/x1)", "x1/(2*x1 + 3)", "5*x1**2/(x1**2 + 3)"), "saturation"), (("5/(1 + (4/x1)**1.7)",), "Hill"),
        (("3*exp(-(x1 - 2)**2/4)", "3*exp(-x1**2)", "3*exp(x1 - 2*x1**2)"), "bell"), (("2/((x1 - 3)**2 + 1)",), "peak"),
        (("8*exp(-3*exp(-x1))",), "Gompertz"), (("2*sin(3*x1 + 1)",), "wave"), (("sin(x1)**2",), "+wave"), (("exp(-x1)*sin(3*x1)",), "damped"),
        (("log(3*x1 + 2)", "2*log(x1)"), "log"), (("2*log(x1) + 3",), "+log"), (("(x1 + 2)*x1", "x1**2 + 3*x1 + 1", "(x1 - 2)**2 + 1"), "parabola"),
        (("(x1 - 2)**2",), "square"),
        (("exp(3/x1)", "7*exp(-2/x1)"), "Arrhenius"), (("x1*exp(-x1)", "x1**2.5*exp(-3*x1)"), "gamma"), (("exp(-x1) - exp(-3*x1)",), "two"),
        (("1 - exp(-(x1/3)**1.8)",), "+stretched"), (("1/(2 + 3*log(x1))",), "inverse log"),
        (("4/(x1 + 1.3/x1 + 4)", "0.9*x1/(0.3 + x1 + x1**2/4)"), "inhibited"), (("3/(x1 + 2) + 1",), "+hyperbola"),
        (("3/(x1 + 2)**2", "(1/(x1 + 2))**2"), "inverse square"), (("20 - 13*sinh(2.2*(x1 - 1))", "3*cosh(x1/3) - 3"), "+hyperbolic"),
        (("max(x1, 2)", "3*min(4.5, x1)", "abs(x1 - 2)", "max(x1 - 2, 0)"), "M1"), (("max(x1, 2) + 1.5", "0.2*x1 + 0.5*max(x1 - 62, 0) + 10", "2*x1 + 3*abs(x1 - 2) + 1"), "+M1"), (("exp(-2*max(x1, 1))",), "E"),
        (("5 - 26*exp(-1.66*max(x1, 1))", "3*0.8**min(x1, 6) + 2"), "+E"), (("2*max(x1, 1.5)/(max(x1, 1.5) + 3)",), "saturation"),
        (("max(x1**2, 2)", "max(x1, 2*x1)", "max(exp(-x1), 0.2)"), None),
        (("230*x1/(x1 + 7)**2", "3*(x1 + 2)**1.5", "exp(-2*sqrt(x1 + 1))*x1", "tanh(x1**2)", "abs(x1**2 - 2)", "sin(x1) + x1", "x1 + x2", "sin(x1**2)"), None),
    ],
)  # fmt: skip
def test_the_name_of_a_curve(formulas, name):
    for formula in formulas:
        expr, _ = free(from_infix(formula))
        assert named_curves.curve_of(expr) == name, formula


def test_a_curve_that_begins_level_is_as_common_as_without_that():
    for curve in ("5 - 26*exp(-1.66*u)", "3/(1 + 4*exp(-u))", "2*u + 1"):
        for column in ("x1", "max(x1, 1)", "min(6.5, x1)"):
            expr, _ = free(from_infix(curve.replace("u", column)))
            assert named_curves.is_common(tuple(expr)), (curve, column)
    assert not named_curves.is_common(tuple(free(from_infix("5 - 26*exp(-1.66*max(x1, 1))/x1"))[0]))


def test_a_named_curve_costs_less_in_a_table_of_one_column():
    def value(formula, columns):
        expr, consts = free(from_infix(formula))
        return selection.selection("mdl", Candidate(expr, consts, 0.01), 20, columns=columns)

    decay, other = "6.5*exp(-0.6*x1) + 1.5", "6.5*exp(-0.6*x1)/(x1 + 1.5)"
    assert value(decay, 0) - value(decay, 1) > 2
    assert value(other, 0) == value(other, 1)
    assert value(decay, 2) - value(decay, 1) > 2
