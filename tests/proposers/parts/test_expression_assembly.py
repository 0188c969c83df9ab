"""Building expressions must not change their values, and must find the short forms."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fansr.expressions.prefix import is_valid
from fansr.expressions.programs import evaluate
from fansr.proposers.parts.expression_assembly import (
    collected,
    combination,
    common_factors,
    perfect_squares,
    product,
    times,
)

X = np.random.default_rng(0).uniform(0.3, 3, (40, 3))
BASES = [
    ("x1",),
    ("x2",),
    ("x3",),
    ("sin", "x1"),
    ("-", "x2", "x3"),
    ("pow2", "-", "x1", "x2"),
    ("inv", "+", "x1", "x3"),
    ("pow2", "sin", "x2"),
]
POSITIVE = {b for b in BASES if (evaluate(list(b), X) > 0).all()}


def value(factors):
    v = np.ones(len(X))
    for base, e in factors.items():
        b = evaluate(list(base), X)
        v = v * (b ** int(e) if e.denominator == 1 else np.abs(b) ** float(e))
    return v


factor_tables = st.dictionaries(
    st.sampled_from(BASES), st.sampled_from([Fraction(e) for e in (-3, -2, -1, 1, 2, 4)]), max_size=4
)
coefficients = st.one_of(
    st.sampled_from([1.0, -1.0, 2.0, -0.5, 3.0]), st.floats(-50, 50).filter(lambda c: abs(c) > 1e-3)
)


@settings(deadline=None, max_examples=150)
@given(factor_tables, coefficients)
def test_products_keep_their_value(factors, c):
    expr = list(times(c, product(factors, POSITIVE.__contains__)))
    assert is_valid(expr)
    assert np.allclose(evaluate(expr, X), c * value(factors), rtol=1e-9)


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.sampled_from(sorted(POSITIVE)),
        st.sampled_from([Fraction(p, q) for p in (-3, -1, 1, 2) for q in (1, 2, 3)]),
        min_size=1,
        max_size=3,
    )
)
def test_roots_keep_their_value(factors):
    assert np.allclose(evaluate(list(product(factors, POSITIVE.__contains__)), X), value(factors), rtol=1e-9)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.tuples(coefficients, factor_tables), min_size=1, max_size=4), st.sampled_from([1, -1, 2]))
def test_sums_keep_their_value(terms, outer):
    plain = sum(c * value(f) for c, f in terms)
    size = sum(np.abs(c * value(f)) for c, f in terms)
    good = np.abs(plain) > 1e-4 * size  # elsewhere cancellation, not the form, decides
    expr = list(combination(terms, Fraction(outer), {("x3",): Fraction(1)}, POSITIVE.__contains__))
    assert is_valid(expr)
    with np.errstate(all="ignore"):
        assert np.allclose(evaluate(expr, X)[good], (X[:, 2] * plain ** float(outer))[good], rtol=1e-6)


@pytest.mark.parametrize(
    "terms, outer, length",
    [
        ([(2.0, {("x1",): 1, ("x2",): 1}), (-2.0, {("x1",): 1, ("x3",): 1})], 1, 6),  # 2 x1 (x2 - x3)
        ([(1.0, {("x1",): -1}), (1.0, {("x2",): 1, ("x3",): -1})], -1, 7),  # 1 / (1/x1 + x2/x3)
        ([(0.5, {("x1",): 2}), (-1.0, {("x1",): 1, ("x2",): 1}), (0.5, {("x2",): 2})], 1, 5),  # (x1 - x2)^2 / 2
        ([(0.5, {("pow2", "-", "x1", "x2"): 1}), (0.5, {("pow2", "+", "x1", "x2"): 1})], 1, 5),  # x1^2 + x2^2
        ([(1.0, {("x3",): 1}), (-1.0, {("x3",): 1, ("pow2", "sin", "x1"): 1})], 1, 5),  # x3 cos(x1)^2
    ],
)
def test_short_forms(terms, outer, length):
    terms = [(c, {b: Fraction(e) for b, e in f.items()}) for c, f in terms]
    expr = list(combination(terms, Fraction(outer)))
    assert len(expr) == length
    assert np.allclose(evaluate(expr, X), sum(c * value(f) for c, f in terms) ** float(outer), rtol=1e-9)


def test_perfect_squares_need_all_three_terms():
    terms = [
        (1.0, {("x1",): Fraction(2)}),
        (2.0, {("x2",): Fraction(2)}),
        (-2.0, {("x1",): Fraction(1), ("x2",): Fraction(1)}),
    ]
    assert perfect_squares(terms) == []


def test_factors_keep_the_order_they_are_written_in():
    # Sets of strings have another order in every process: eight factors would be found in order one time in 40320.
    order = [(f"x{j}",) for j in (5, 2, 8, 1, 7, 3, 6, 4)]
    factors = dict.fromkeys(order, Fraction(1))
    terms = [(2.0, {**factors, ("sin", "x9"): Fraction(1)}), (3.0, factors)]
    assert list(common_factors(terms, False)) == list(common_factors(terms, True)) == order
    assert [list(f) for _, f in collected([*terms, *terms])] == [[*order, ("sin", "x9")], order]
    law = combination(terms)
    assert [token for token in law if token in {b[0] for b in order}] == [b[0] for b in order]
