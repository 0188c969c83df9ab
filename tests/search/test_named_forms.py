"""named_forms.py: shapes are known in every spelling, and what they cost tells growth from a straight line."""

import numpy as np
import pytest

from fansr.expressions import free, from_infix
from fansr.fitting import Candidate, Refiner
from fansr.search import named_forms, selection


def skeleton(formula):
    return free(from_infix(formula))[0]


@pytest.mark.parametrize(
    ("name", "spellings"),
    [
        ("exponential", ["2.5*exp(-0.3*x1) + 1.5", "1.5 - 2.5/exp(0.3*x1)", "7.5*1.3**x1"]),
        ("logistic", ["70/(1 + exp(2.6 - 0.07*x1))", "1/(0.01 + 0.2*exp(-0.07*x1))", "5.5 - 1.5/(1.2 + 3.3*exp(0.4*(x1 - 2.5)))"]),
        ("Gompertz", ["80.5*exp(-3.3*exp(-0.3*x1))", "2.5*exp(1.5 - 2.5*exp(0.3*x1))"]),
        ("saturation", ["212.5*x1/(x1 + 0.06)", "x1/(0.3 + 0.7*x1)", "1/(0.3 + 0.7/x1)"]),
        ("bell", ["3.5*exp(-(x1 - 2.5)**2/0.7) + 1.5"]),
        ("peak", ["3.5/(1 + ((x1 - 2.5)/0.7)**2)"]),
        ("Hill", ["3.5/(1.5 + 2.5*x1**1.7)", "3.5*x1**2/(1.5 + 2.5*x1**2)"]),
        ("rise and decay", ["3.5*x1*exp(-0.4*x1)", "3.5*x1**1.3*exp(-0.4*x1)"]),
        ("two decays", ["3.5*exp(-0.4*x1) + 1.5*exp(-2.4*x1)", "1.5 + 3.5*exp(-0.4*x1) - 0.7*exp(-2.4*x1)"]),
        ("", ["1.5*x1 + 2.5", "1.5*x1**2 + 2.5*x1 + 0.7", "exp(sin(1.5*x1))*x1 + 2.5*x1", "2.5*exp(-0.3*x1)*x2"]),
    ],
)  # fmt: skip
def test_every_spelling_has_its_name(name, spellings):
    assert [named_forms.of(skeleton(text)) for text in spellings] == [name] * len(spellings)


def test_names_know_the_structures_of_all_constants():
    """Other numbers, no other name."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b, k = (float(f"{v:.3g}") for v in rng.uniform(0.1, 9, 3))
        assert named_forms.of(skeleton(f"{a + 0.001}/(1 + exp({b + 0.001} - {k + 0.001}*x1))")) == "logistic"


@pytest.mark.parametrize("rows", [9, 15])
def test_growth_is_told_from_a_straight_line_and_a_line_stays_one(rows):
    """Few rows that a logistic explains ten times better, and as many of a line with noise."""
    rng = np.random.default_rng(rows)
    x = np.linspace(5, 80, rows)[:, None]

    def values(formula, start, y):
        fitter = Refiner(x, y)
        fvu, consts = fitter.polish(skeleton(formula), np.array(start))
        return selection.selection("mdl", Candidate(skeleton(formula), consts, fvu), rows)

    def chosen(y):
        line, growth = (
            values("1.5*x1 + 0.7", [1.0, 1.0], y), values("1.5/(0.7 + exp(2.5 - 0.3*x1))", [70.0, 1.0, 2.6, 0.07], y)
        )  # fmt: skip
        return "growth" if growth < line else "line"

    growth = 70 / (1 + np.exp(2.6 - 0.065 * x[:, 0]))
    assert chosen(growth + 0.8 * rng.standard_normal(rows)) == "growth"
    assert [chosen(0.9 * x[:, 0] + 3 * rng.standard_normal(rows)) for _ in range(10)].count("line") >= 9
