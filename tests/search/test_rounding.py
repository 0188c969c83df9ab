"""rounding.py: standard errors against least squares and scipy, constants rounded where the data allow it and nowhere else."""

import math

import numpy as np
import pytest

from fansr.expressions import evaluate, from_infix
from fansr.fitting import Candidate, Refiner
from fansr.search import rounding


def test_standard_errors_are_those_of_linear_regression():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(50, 1))
    y = 3 * x[:, 0] + 2 + rng.normal(0, 0.3, 50)
    A = np.c_[x[:, 0], np.ones(50)]
    coef, rss, *_ = np.linalg.lstsq(A, y, rcond=None)
    want = np.sqrt(np.diag(np.linalg.inv(A.T @ A)) * rss[0] / 48)
    fvu = rss[0] / ((y - y.mean()) ** 2).sum()
    got = rounding.standard_errors("+ * <constant> x1 <constant>".split(), coef, x, y, fvu, 1e-26)
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_digits_follow_the_errors():
    assert rounding.digits_for([3.14159], [0.01]) == [5]
    assert rounding.digits_for([0.0, 5.0], [1.0, math.inf]) == [4, 4]


def test_a_noisy_law_gets_its_round_constants_back():
    from fansr.fitting.refiner import Refiner

    rng = np.random.default_rng(11)
    X = rng.uniform(0.5, 4, (300, 2))
    clean = X[:, 0] ** 2 / (2 * X[:, 1]) + 3
    y = clean + 0.01 * clean.std() * rng.normal(size=300)
    fitter = Refiner(X, y)
    expr = "+ / * <constant> pow2 x1 x2 <constant>".split()
    fvus, consts = fitter.fit([expr])
    law = rounding.snap(Candidate(expr, consts[0], float(fvus[0])), fitter, 1e-26)
    np.testing.assert_allclose(evaluate(law.expr, X, law.consts), clean, rtol=1e-12)
    assert len(law.expr) < len(expr)


@pytest.mark.parametrize("scale", [1e-250, 1.0, 1e260])
def test_standard_errors_at_any_scale_equal_least_squares(scale):
    rng = np.random.default_rng(4)
    x = rng.uniform(1, 2, (40, 1))
    y = 3 + 2 * x[:, 0] + rng.normal(0, 0.1, 40)
    A = np.column_stack([np.ones(40), x[:, 0]])
    best, residual, *_ = np.linalg.lstsq(A, y, rcond=None)
    wanted = np.sqrt(np.diag(np.linalg.inv(A.T @ A)) * residual[0] / 38)
    fvu = residual[0] / np.sum((y - y.mean()) ** 2)
    found = rounding.standard_errors(
        ["+", "<constant>", "*", "<constant>", "x1"], best * scale, x, y * scale, fvu, 1e-26
    )
    np.testing.assert_allclose(found / scale, wanted, rtol=1e-8)


def test_the_mean_of_few_noisy_values_is_not_called_0():
    """Eight values whose mean is within two standard errors of 0: nothing would be left of the law."""
    from fansr.fitting.refiner import Refiner

    y = np.array([88.0, 224.7, 365.2, 687.0, 4332.6, 10759.2, 30685.4, 60189.0])
    fitter = Refiner(np.arange(8.0)[:, None], y)
    law = rounding.snap(Candidate(["<constant>"], np.array([y.mean()]), 1.0), fitter, 1e-26)
    assert law.fvu <= 1 and law.consts[0] == pytest.approx(y.mean())


def test_a_row_where_a_part_overflows_costs_no_standard_error():
    """1/exp(c x) is 0 at x = 1000 with a slope that is not a number there; the other rows tell c as well."""
    rng = np.random.default_rng(6)
    x = np.append(rng.uniform(0.1, 2, 40), 1000.0)[:, None]
    y = 2.0 * np.exp(-1.5 * x[:, 0]) + np.append(rng.normal(0, 0.01, 40), 0.0)
    expr = "/ <constant> exp * <constant> x1".split()
    errors, others = (
        rounding.standard_errors(expr, [2.0, 1.5], x[:n], y[:n], 0.004 / np.var(y[:n]) / n, 1e-26) for n in (41, 40)
    )
    assert np.isfinite(errors).all()
    np.testing.assert_allclose(errors, others, rtol=0.1)


def test_equal_coefficients_become_one():
    """a (1 - exp(-b x)) found as c - a exp(-b x): within the errors c = a, and the law has a constant less."""
    from fansr.fitting.refiner import Refiner

    rng = np.random.default_rng(3)
    x = rng.uniform(0.1, 6, (40, 1))
    y = 6.37 * (1 - np.exp(-0.517 * x[:, 0])) + rng.normal(0, 0.02, 40)
    fitter = Refiner(x, y)
    expr = "- <constant> * <constant> exp * <constant> x1".split()
    fvu, consts = fitter.polish(expr, [6.4, 6.2, -0.5])
    law = rounding.snap(Candidate(expr, consts, fvu), fitter, 1e-26)
    assert len(law.expr) <= len(expr) and sorted(float(c).is_integer() for c in law.consts) == [False, False, True]
    np.testing.assert_allclose(evaluate(law.expr, x, law.consts), 6.37 * (1 - np.exp(-0.517 * x[:, 0])), atol=0.03)


def test_round_constants_are_held_and_the_others_errors_are_given_them():
    """y = a (1 - exp(-b x)): the 1 has no error, a and b those of scipy's fit of the two."""
    from scipy.optimize import curve_fit

    rng = np.random.default_rng(9)
    x = rng.uniform(0.1, 6, (60, 1))
    y = 6.37 * (1 - np.exp(-0.517 * x[:, 0])) + rng.normal(0, 0.02, 60)
    model = lambda x, a, b: a * (1 - np.exp(b * x))  # noqa: E731
    best, covariance = curve_fit(model, x[:, 0], y, (6.0, -0.5))
    fvu = np.sum((y - model(x[:, 0], *best)) ** 2) / np.sum((y - y.mean()) ** 2)
    law = Candidate("* <constant> - <constant> exp * <constant> x1".split(), np.array([best[0], 1.0, best[1]]), fvu)
    errors = rounding.law_errors(law, x, y, 1e-26)
    np.testing.assert_allclose(errors, [np.sqrt(covariance[0, 0]), 0.0, np.sqrt(covariance[1, 1])], rtol=1e-4)


def test_constants_that_say_nothing_are_not_shown():
    from fansr.fitting.refiner import Refiner

    x = np.linspace(1, 2, 20)[:, None]
    fitter = Refiner(x, 3 * x[:, 0])
    law = rounding.written(Candidate("* + <constant> <constant> x1".split(), np.array([2.5, 0.5]), 0.0), fitter)
    assert law.expr == "mult3 x1".split() and len(law.consts) == 0 and law.fvu < 1e-25


def test_a_number_near_an_uncertain_constant_is_not_taken_for_it():
    from scipy import constants as codata

    G = codata.value("Newtonian constant of gravitation")
    assert rounding.recognised(G)
    assert rounding.recognised(G * (1 + 1e-6)) == ""  # within G's own uncertainty of 2.2e-5
    rng = np.random.default_rng(1)
    assert not any(rounding.recognised(float(c)) for c in 10 ** rng.uniform(-3, 3, 300))


def test_pi_is_a_factor_and_no_summand():
    """Near pi to its error, a coefficient is taken for pi and a constant that is added is not."""
    rng = np.random.default_rng(5)
    x = rng.uniform(1, 10, (60, 1))
    for text, y, pi in (("C*x1**2", 3.1402 * x[:, 0] ** 2, True), ("x1**2 + C", x[:, 0] ** 2 + 3.1402, False)):
        y = y + rng.normal(0, 0.02 * np.std(y) if pi else 0.02, 60)
        expr = from_infix(text)
        fitter = Refiner(x, y)
        fvu, consts = fitter.polish(expr, np.array([3.0]))
        found = rounding.snap(Candidate(expr, np.asarray(consts), float(fvu)), fitter, 1e-26)
        assert (math.pi in found.consts.tolist()) is pi


def test_a_number_of_units_is_held_however_few_the_rows():
    """pi/180 to the last bit was told, though five rows tell a constant less closely than it costs; ten digits were fitted."""
    x = np.linspace(5, 80, 5)[:, None]
    y = 8.3 * np.cos(np.deg2rad(x[:, 0])) + 0.01 * np.array([1, -1, 0, 1, -1])
    for factor, held in ((math.pi / 180, True), (0.01745329252, False)):
        law = Candidate(from_infix("C*cos(C*x1)"), np.array([8.3, factor]), 1e-5)
        assert (rounding.law_errors(law, x, y, 1e-26)[1] == 0) is np.bool_(held)
