"""rounding.py: standard errors against least squares and scipy, constants rounded where the data allow it and nowhere else."""

import math

import numpy as np
import pytest

from fansr.expressions import evaluate, from_infix, to_infix
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
    for text, y, pi in (
        ("C*x1**2", 3.1402 * x[:, 0] ** 2, True), ("x1**2 + C", x[:, 0] ** 2 + 3.1402, False), ("x1*(C + x1)", x[:, 0] * (3.1402 + x[:, 0]), False),
    ):  # fmt: skip
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


def told(text, value, error, x):
    """A law of one constant and a fitter over rows that leave it at that value, known to that standard error."""
    expr = from_infix(text)
    change = 1e-6 * abs(value)
    values = [evaluate(expr, x, np.array([c])) for c in (value - change, value, value + change)]
    slope = (values[2] - values[0]) / (2 * change)
    noise = np.random.default_rng(8).normal(size=len(x))
    noise -= slope * (slope @ noise) / (slope @ slope)
    noise *= error * np.sqrt(len(x) - 1) * np.linalg.norm(slope) / np.linalg.norm(noise)
    y = values[1] + noise
    fitter = Refiner(x, y)
    fvu, consts = fitter.polish(expr, np.array([value]))
    law = Candidate(expr, np.asarray(consts), float(fvu))
    found = rounding.standard_errors(expr, law.consts, x, y, law.fvu, 1e-26)[0]
    assert abs(law.consts[0] - value) < 0.1 * error and found == pytest.approx(error, rel=0.02)
    return law, fitter


SPREAD = np.linspace(0.95, 2.5, 60)[:, None]


@pytest.mark.parametrize("value, error, number", [(1.412, 0.0014, math.sqrt(2)), (3.1395, 0.0008, math.pi)])
def test_a_number_of_mathematics_is_a_factor_and_no_exponent(value, error, number):
    for text, taken in (("C*x1**2", True), ("x1**C", False)):
        law, fitter = told(text, value, error, SPREAD)
        assert (number in rounding.snap(law, fitter, 1e-26).consts.tolist()) is taken


@pytest.mark.parametrize("value, error, number", [(2.4975, 0.0034, 2.5), (10.994, 0.0085, 11.0)])
def test_a_whole_or_half_exponent_is_taken_more_readily_than_such_a_factor(value, error, number):
    for text, taken in (("C*x1", False), ("x1**C", True)):
        law, fitter = told(text, value, error, SPREAD)
        found = rounding.snap(law, fitter, 1e-26)
        np.testing.assert_allclose(
            evaluate(found.expr, SPREAD, found.consts),
            evaluate(law.expr, SPREAD, [number if taken else value]),
            rtol=1e-6,
        )


def test_a_whole_exponent_is_worth_no_less_where_symbols_would_be_longer():
    """x^-6 is 1/(x^3)^2 in the table's symbols, a token more than with a number; x^-7 has none."""
    for value, error in ((-6.02, 0.18), (-7.02, 0.16)):
        law, fitter = told("x1**C", value, error, SPREAD)
        found = rounding.snap(law, fitter, 1e-26)
        assert evaluate(found.expr, np.array([[2.0]]), found.consts)[0] == 2.0 ** round(value)


def test_typed_numbers_follow_from_round_ones_more_readily():
    law, fitter = told("C*x1", 220.02, 0.056, SPREAD)
    assert rounding.snap(law, fitter, 1e-26).consts[0] == pytest.approx(220.02, abs=1e-3)
    assert rounding.snap(law, fitter, 1e-26, margin=rounding.TOLD_MARGIN).consts.tolist() == [220.0]


@pytest.mark.parametrize("seed", [5, 13])
def test_what_one_constant_hid_of_another_is_tried_again(seed):
    """Hill's curve of few noisy rows: neither of its two exponents can be 2 while the other is off; then both are."""
    x = np.linspace(0.2, 6, 12)[:, None]
    clean = 5 * x[:, 0] ** 2 / (x[:, 0] ** 2 + 3)
    y = clean + 0.15 * np.std(clean) * np.random.default_rng(seed).normal(size=12)
    expr = from_infix("C*x1**C/(x1**C + C)")
    fitter = Refiner(x, y)
    fvu, consts = fitter.polish(expr, np.array([5.0, 2.0, 2.0, 3.0]))
    assert np.abs(np.asarray(consts)[1:3] - 2).min() > 0.2
    law = rounding.snap(Candidate(expr, np.asarray(consts), float(fvu)), fitter, 1e-26)
    assert "pow" not in law.expr and law.expr.count("pow2") == 2 and len(law.consts) == 2


@pytest.mark.parametrize(
    "text, start", [("C*(x1**C - x1**C)", [4.8, -12.0, -6.0]), ("C*x1**C - C*x1**C", [4.8, -12.0, 4.8, -6.0])]
)
def test_attraction_and_repulsion_get_their_exponents_back(text, start):
    r = SPREAD
    for seed in range(3):
        y = 4.8 * (r[:, 0] ** -12 - r[:, 0] ** -6) + 0.01 * np.random.default_rng(seed).normal(size=60)
        fitter, expr = Refiner(r, y), from_infix(text)
        fvu, consts = fitter.polish(expr, np.array(start))
        law = rounding.snap(Candidate(expr, np.asarray(consts), float(fvu)), fitter, 1e-26)
        depth = evaluate(law.expr, r, law.consts) / (r[:, 0] ** -12 - r[:, 0] ** -6)
        assert np.ptp(depth) < 1e-9 and depth[0] == pytest.approx(4.8, rel=0.01)


def test_the_one_of_a_form_stays_beside_a_free_level():
    """K/(1 + (h/x)^n) + c: with a free number for the 1, K and h would take up any value of it."""
    rng = np.random.default_rng(0)
    x = np.linspace(0.5, 20, 80)
    y = 34.85 / (1 + (3.193 / x) ** 2.372) + 2.003
    y = y + 0.003 * y.std() * rng.normal(size=80)
    fitter = Refiner(x[:, None], y)
    expr = "+ / <constant> + <constant> pow / <constant> x1 <constant> <constant>".split()
    consts = np.array([34.85, 1.0, 3.193, 2.372, 2.003])
    fvu, consts[[0, 2, 3, 4]] = fitter.polish(
        "+ / <constant> + 1.0 pow / <constant> x1 <constant> <constant>".split(), consts[[0, 2, 3, 4]]
    )
    snapped = rounding.snap(Candidate(expr, consts, fvu), fitter, 1e-26)
    assert to_infix(snapped.expr, snapped.consts, ["x"], 4) == "34.87/((3.195/x)**2.37 + 1) + 2"


@pytest.mark.parametrize(("relative", "taken"), [(7e-3, False), (1e-4, True)])
def test_a_root_is_taken_only_where_the_rows_tell_it_well(relative, taken):
    value = math.sqrt(0.5)
    proposals = rounding._proposals(
        "exp * <constant> x1".split(), np.array([value * (1 + 0.4 * relative)]), [relative * value], False, 1.5, set()
    )
    assert (value in [v for _, _, v in proposals]) is taken
