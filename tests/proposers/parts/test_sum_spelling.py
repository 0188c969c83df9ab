"""Sums in fewer tokens must keep their values, by numpy's own arithmetic."""

from fractions import Fraction

import numpy as np

from fansr.expressions.programs import evaluate
from fansr.proposers.parts.sum_spelling import completed, parted, short_sum


def value(expr, X):
    return evaluate(list(expr), X)


def test_forms_keep_the_sum():
    x, z = ("x1",), ("x2",)
    terms = [
        (2.0, {x: Fraction(2)}),
        (-6.0, {x: Fraction(1)}),
        (1.0, {x: Fraction(1), z: Fraction(1)}),
        (7.0, {}),
        (0.5, {z: Fraction(2)}),
        (4.0, {z: Fraction(1)}),
    ]
    X = np.random.default_rng(0).uniform(0.5, 2, (50, 2))
    a, b = X.T
    true = 2 * a**2 - 6 * a + a * b + 7 + 0.5 * b**2 + 4 * b
    assert np.allclose(value(short_sum(terms), X), true)
    square = completed(terms)
    assert len(square) < len(terms)
    assert np.allclose(
        sum(
            c * np.prod([value(base, X) ** float(e) for base, e in f.items()] or [np.ones(50)], axis=0)
            for c, f in square
        ),
        true,
    )


def test_parted_quotients():
    x = ("x1",)
    above = [
        (3.0, {}),
        (2.0, {x: Fraction(1)}),
        (2.0, {x: Fraction(2)}),
    ]  # (3 + 2x + 2x^2) / (1 + x + x^2) = 2 + 1 / (1 + x + x^2)
    below = [(1.0, {}), (1.0, {x: Fraction(1)}), (1.0, {x: Fraction(2)})]
    assert any(len(rest) == 1 and len(whole) == 1 and whole[0][0] == 2 for whole, rest in parted(above, below))
