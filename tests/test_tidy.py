"""tidy.py: rewrites keep values, round constants are found where they are and nowhere else."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fansr import tidy
from fansr.evaluate import evaluate
from fansr.expr import free, from_infix, from_tree, is_valid, to_infix
from fansr.problem import Candidate
from fansr.tokens import OPERATORS

LEAVES = st.sampled_from(["x1", "x2", "<constant>"])


def _grow(children):
    unary = st.tuples(st.sampled_from([r.token for r in OPERATORS if r.arity == 1]), children)
    binary = st.tuples(st.sampled_from([r.token for r in OPERATORS if r.arity == 2]), children, children)
    return st.one_of(unary, binary)


TREES = st.recursive(LEAVES, _grow, max_leaves=7)
SPECIAL = [0.0, 1.0, -1.0, 2.0, 3.0, 0.5, -0.5, 1 / 3, -4.0, 1.7, -2.3, 6.0, 1.5]


@given(TREES, st.lists(st.sampled_from(SPECIAL), min_size=8, max_size=8))
@settings(max_examples=400)
def test_absorbing_keeps_the_values_and_never_lengthens(tree, values):
    expr = from_tree(tree)
    consts = values[:expr.count("<constant>")]
    short, left = tidy.absorb(expr, consts)
    assert is_valid(short) and len(short) <= len(expr) and short.count("<constant>") == len(left)
    X = np.random.default_rng(3).normal(0, 1.5, (40, 2))
    with np.errstate(all="ignore"):
        want, got = evaluate(expr, X, np.array(consts)), evaluate(short, X, np.array(left))
    fine = np.isfinite(want) & (np.abs(want) < 1e12) & (np.abs(want) > 1e-12)
    # A cancellation may amplify rounding; a wrong rewrite is wrong by far more on most rows.
    close = np.abs(got[fine] - want[fine]) <= 1e-6 * np.abs(want[fine])
    assert close.mean() > 0.9 if fine.any() else True


@pytest.mark.parametrize("text, want", [
    ("1*x1", "x1"), ("x1*2", "mult2 x1"), ("x1/2", "div2 x1"), ("x1 + 0", "x1"), ("0 - x1", "neg x1"), ("x1*(0-1)", "neg x1"),
    ("pow(x1, 6)", "pow2 pow3 x1"), ("3*(2*x1)", "* <constant> x1"), ("1/(2*x1)", "inv mult2 x1"),
    ("x1 - (0-3)", "+ x1 <constant>"), ("x1*(1/x2)", "/ x1 x2"),
])
def test_neutral_and_special_constants_vanish(text, want):
    expr, values = free(from_infix(text))
    assert tidy.absorb(expr, values)[0] == want.split()


@pytest.mark.parametrize("c, error, value", [
    (1.9996, 0.0004, 2.0), (0.33331, 0.0001, 1 / 3), (3.14163, 0.0001, math.pi), (0.0795774, 1e-6, 1 / (4 * math.pi)),
    (-0.4999, 0.0002, -0.5), (6.02200001e23, 1e16, 6.022e23), (1e-7 * 1.0000001, 1e-13, 1e-7), (0.00001, 0.0001, 0.0),
])
def test_round_values_are_found(c, error, value):
    best, nats = tidy.simple_values(c, 4 * error)[0]
    assert best == pytest.approx(value, rel=1e-12, abs=1e-300)
    assert value == 0 or nats < tidy.real_nats(c, error)


def test_a_generic_constant_is_not_rounded_away():
    """Of 300 random constants known to 1e-4 few lie near a value cheap enough to be taken."""
    rng = np.random.default_rng(5)
    taken = 0
    for c in rng.normal(0, 5, 300):
        error = 1e-4 * abs(c)
        options = tidy.simple_values(float(c), 4 * error)
        taken += any(nats + 0.5 * ((v - c) / error) ** 2 < tidy.real_nats(c, error) - tidy.MARGIN for v, nats in options)
    assert taken < 30


def test_standard_errors_are_those_of_linear_regression():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(50, 1))
    y = 3 * x[:, 0] + 2 + rng.normal(0, 0.3, 50)
    A = np.c_[x[:, 0], np.ones(50)]
    coef, rss, *_ = np.linalg.lstsq(A, y, rcond=None)
    want = np.sqrt(np.diag(np.linalg.inv(A.T @ A)) * rss[0] / 48)
    fvu = rss[0] / ((y - y.mean()) ** 2).sum()
    got = tidy.standard_errors("+ * <constant> x1 <constant>".split(), coef, x, y, fvu, 1e-26)
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_neighbours_are_shorter_and_whole():
    expr = from_infix("C*sin(x1*C + x2)**2 + x1/(x2 + C)")
    cuts = tidy.neighbours(expr)
    assert all(is_valid(cut) for cut in cuts)
    shown = {to_infix(cut) for cut in cuts}
    assert "x1/(x2 + C)" in shown and "C*sin(x1*C + x2)**2" in shown


def test_a_quotient_is_divided_through_where_that_is_shorter():
    from fansr.refine import Refiner

    X = np.random.default_rng(2).uniform(1, 3, (60, 2))
    y = 91.2 / (1 / X[:, 0] ** 2 - 1 / X[:, 1] ** 2)
    fitter = Refiner(X, y)
    long = Candidate("/ * <constant> pow2 * x1 x2 - pow2 x2 pow2 x1".split(), np.array([91.2]), 0.0)
    short, _ = tidy.shorten(long, fitter, lambda c: c.length if c.fvu < 1e-20 else math.inf)
    assert short.expr == "/ <constant> - inv pow2 x1 inv pow2 x2".split() and short.fvu < 1e-20


def test_digits_follow_the_errors():
    assert tidy.digits_for([3.14159], [0.01]) == [5]
    assert tidy.digits_for([0.0, 5.0], [1.0, math.inf]) == [4, 4]


def test_a_noisy_law_gets_its_round_constants_back():
    from fansr.refine import Refiner

    rng = np.random.default_rng(11)
    X = rng.uniform(0.5, 4, (300, 2))
    clean = X[:, 0] ** 2 / (2 * X[:, 1]) + 3
    y = clean + 0.01 * clean.std() * rng.normal(size=300)
    fitter = Refiner(X, y)
    expr = "+ / * <constant> pow2 x1 x2 <constant>".split()
    fvus, consts = fitter.fit([expr])
    law = tidy.snap(Candidate(expr, consts[0], float(fvus[0])), fitter, 1e-26)
    np.testing.assert_allclose(evaluate(law.expr, X, law.consts), clean, rtol=1e-12)
    assert len(law.expr) < len(expr)


@pytest.mark.parametrize("text", ["pow x1 + x2 <constant>", "* <constant> pow pow <constant> pow x1 <constant> <constant>",
                                  "pow x1 <constant>", "/ sin x1 + <constant> pow x2 * x1 <constant>"])
def test_every_neighbour_is_an_expression(text):
    """An exponent that only ends in a constant is not a constant exponent."""
    for form in tidy.neighbours(text.split()):
        assert is_valid(form), form


@pytest.mark.parametrize("scale", [1e-250, 1.0, 1e260])
def test_standard_errors_at_any_scale_equal_least_squares(scale):
    rng = np.random.default_rng(4)
    x = rng.uniform(1, 2, (40, 1))
    y = 3 + 2 * x[:, 0] + rng.normal(0, 0.1, 40)
    A = np.column_stack([np.ones(40), x[:, 0]])
    best, residual, *_ = np.linalg.lstsq(A, y, rcond=None)
    wanted = np.sqrt(np.diag(np.linalg.inv(A.T @ A)) * residual[0] / 38)
    fvu = residual[0] / np.sum((y - y.mean()) ** 2)
    found = tidy.standard_errors(["+", "<constant>", "*", "<constant>", "x1"], best * scale, x, y * scale, fvu, 1e-26)
    np.testing.assert_allclose(found / scale, wanted, rtol=1e-8)
