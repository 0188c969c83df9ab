"""shortening.py: rewrites keep values, round constants are found where they are and nowhere else."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fansr.expressions.infix import from_infix, to_infix
from fansr.expressions.prefix import free, from_tree, is_valid
from fansr.expressions.programs import evaluate, value_and_jacobian
from fansr.expressions.tokens import OPERATORS
from fansr.fitting.problem import Candidate
from fansr.search import shortening

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
    consts = values[: expr.count("<constant>")]
    short, left = shortening.absorb(expr, consts)
    assert is_valid(short) and len(short) <= len(expr) and short.count("<constant>") == len(left)
    X = np.random.default_rng(3).normal(0, 1.5, (40, 2))
    with np.errstate(all="ignore"):
        want, got = evaluate(expr, X, np.array(consts)), evaluate(short, X, np.array(left))
    fine = np.isfinite(want) & (np.abs(want) < 1e12) & (np.abs(want) > 1e-12)
    # A cancellation may amplify rounding; a wrong rewrite is wrong by far more on most rows.
    close = np.abs(got[fine] - want[fine]) <= 1e-6 * np.abs(want[fine])
    assert close.mean() > 0.9 if fine.any() else True


@pytest.mark.parametrize(
    "text, want",
    [
        ("1*x1", "x1"),
        ("x1*2", "mult2 x1"),
        ("x1/2", "div2 x1"),
        ("x1 + 0", "x1"),
        ("0 - x1", "neg x1"),
        ("x1*(0-1)", "neg x1"),
        ("pow(x1, 6)", "pow2 pow3 x1"),
        ("3*(2*x1)", "* <constant> x1"),
        ("1/(2*x1)", "inv mult2 x1"),
        ("x1 - (0-3)", "+ x1 <constant>"),
        ("x1*(1/x2)", "/ x1 x2"),
    ],
)
def test_neutral_and_special_constants_vanish(text, want):
    expr, values = free(from_infix(text))
    assert shortening.absorb(expr, values)[0] == want.split()


def test_neighbours_are_shorter_and_whole():
    expr = from_infix("C*sin(x1*C + x2)**2 + x1/(x2 + C)")
    cuts = shortening.neighbours(expr)
    assert all(is_valid(cut) for cut in cuts)
    shown = {to_infix(cut) for cut in cuts}
    assert "x1/(x2 + C)" in shown and "C*sin(x1*C + x2)**2" in shown


def test_a_quotient_is_divided_through_where_that_is_shorter():
    from fansr.fitting.refiner import Refiner

    X = np.random.default_rng(2).uniform(1, 3, (60, 2))
    y = 91.2 / (1 / X[:, 0] ** 2 - 1 / X[:, 1] ** 2)
    fitter = Refiner(X, y)
    long = Candidate("/ * <constant> pow2 * x1 x2 - pow2 x2 pow2 x1".split(), np.array([91.2]), 0.0)
    short, _ = shortening.shorten(long, fitter, lambda c: c.length if c.fvu < 1e-20 else math.inf)
    assert short.expr == "/ <constant> - inv pow2 x1 inv pow2 x2".split() and short.fvu < 1e-20


@pytest.mark.parametrize(
    "text",
    [
        "pow x1 + x2 <constant>",
        "* <constant> pow pow <constant> pow x1 <constant> <constant>",
        "pow x1 <constant>",
        "/ sin x1 + <constant> pow x2 * x1 <constant>",
    ],
)
def test_every_neighbour_is_an_expression(text):
    """An exponent that only ends in a constant is not a constant exponent."""
    for form in shortening.neighbours(text.split()):
        assert is_valid(form), form


@pytest.mark.parametrize(
    "text, consts, want",
    [
        ("C - C*exp(x1*C)", [6.3, 6.2, -1.1], "C*(C - exp(C*x1))"),
        ("C*x1 + C*x2", [2.5, 2.4], "C*(x1 + C*x2)"),
        ("C/x1 + C", [3.5, 7.1], "C*(1/x1 + C)"),
        ("sin(C*x1 - C)", [2.2, 1.1], "sin(C*(x1 - C))"),
    ],
)
def test_coefficients_come_out_of_sums_with_the_values_kept(text, consts, want):
    expr, values = free(from_infix(text))[0], consts
    forms = shortening.factored(expr, values)
    assert want in [to_infix(form) for form, _ in forms]
    X = np.random.default_rng(1).uniform(0.5, 2, (30, 2))
    for form, numbers in forms:
        np.testing.assert_allclose(
            evaluate(form, X, np.array(numbers)), evaluate(expr, X, np.array(values)), rtol=1e-12
        )
        assert len(form) <= len(expr) + ("/" in expr)


def test_no_form_is_fitted_twice():
    asked = []

    class Fitter:
        def fit(self, forms):
            asked.extend(map(tuple, forms))
            return np.arange(len(asked) - len(forms), len(asked)), [np.zeros(f.count("<constant>")) for f in forms]

    once = shortening.Once(Fitter())
    assert once.fit([["x1"], ["x2"], ["x1"]])[0] == [0.0, 1.0, 0.0]
    fvus, consts = once.fit([["<constant>"], ["x2"]])
    assert fvus == [2.0, 1.0] and [len(c) for c in consts] == [1, 0]
    assert asked == [("x1",), ("x2",), ("<constant>",)]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(shortening, "REMEMBERED", 3)
    known = {}
    for k in range(1, 9):
        exprs = [[f"x{i}"] for i in range(k, k + 3)]
        assert shortening._remembered(known, exprs, lambda fresh: [e[0] for e in fresh]) == [e[0] for e in exprs]
        assert len(known) <= 3


@given(TREES)
@settings(max_examples=300)
def test_what_is_solved_at_once_has_a_jacobian_that_no_constant_moves(tree):
    expr = from_tree(tree)
    if not shortening.solved_at_once(expr):
        return
    rng = np.random.default_rng(5)
    X = rng.uniform(0.2, 2.0, (20, 2))
    with np.errstate(all="ignore"):
        (_, J), (_, other) = (value_and_jacobian(expr, X, rng.normal(size=expr.count("<constant>"))) for _ in range(2))
    fine = np.isfinite(J) & np.isfinite(other)
    np.testing.assert_allclose(J[fine], other[fine], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "text, linear",
    [
        ("+ * <constant> exp x1 <constant>", True),
        ("/ - <constant> div2 * x1 <constant> x2", True),
        ("neg mult3 / <constant> x1", True),
        ("* <constant> + x1 <constant>", False),
        ("exp * <constant> x1", False),
        ("/ x1 + x2 <constant>", False),
        ("pow x1 <constant>", False),
        ("x1", True),
    ],
)
def test_which_forms_need_no_search(text, linear):
    assert shortening.solved_at_once(text.split()) == linear
