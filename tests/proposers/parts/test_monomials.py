"""Exponents counted by hand and by formula; values against numpy's powers."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings, strategies as st

from fansr.proposers.parts.monomials import distinct_columns, exponent_vectors, factors_of, monomials, of_degree, values


def test_exponent_vectors_are_complete_and_distinct():
    found = exponent_vectors(2, 25)
    assert len(set(found)) == len(found)
    assert {(a, b) for a in range(-3, 4) for b in range(-3, 4) if abs(a) + abs(b) <= 3} <= set(found)
    assert all(e >= 0 for v in exponent_vectors(3, 60, signed=[False] * 3) for e in v)
    assert exponent_vectors(1, 100, 4)[:3] == [(0,), (1,), (-1,)]


def test_monomials_are_all_there_low_degrees_first():
    for D in (1, 2, 3, 5):
        found = monomials(D, 4)
        assert len(found) == len(set(found)) == math.comb(D + 4, 4)
        assert [sum(v) for v in found] == sorted(sum(v) for v in found) and max(map(sum, found)) == 4


def test_degrees_count_magnitudes():
    found = set(of_degree(2, 3, 2, (True, False)))
    assert found == {(2, 1), (-2, 1), (1, 2), (-1, 2)}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[st.integers(-4, 6)] * 3), min_size=1, max_size=6))
def test_values_against_powers(exponents):
    X = np.random.default_rng(0).uniform(-2, 2, (20, 3))
    found = values(X, exponents)
    for v, column in zip(exponents, found.T):
        assert np.allclose(column, np.prod([x ** float(e) for x, e in zip(X.T, v)], axis=0), rtol=1e-10)


def test_factor_tables_name_the_columns():
    assert factors_of((2, 0, -1)) == {("x1",): 2, ("x3",): -1}
    assert factors_of((1, 3), Fraction(1, 2), [4, 6]) == {("x5",): Fraction(1, 2), ("x7",): Fraction(3, 2)}
    assert factors_of((0.5,)) == {("x1",): Fraction(1, 2)}


def test_multiples_and_constants_are_no_columns_of_their_own():
    x = np.random.default_rng(0).normal(size=30)
    assert distinct_columns(np.column_stack([x, np.ones(30), -3 * x, x**2, np.zeros(30)])) == [0, 3]
