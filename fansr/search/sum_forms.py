"""Other forms of sums, for rewriting.py: multiplied out, as products, by their whole roots, as squares, with kinks as hinges.

A rule is a function of a node that yields trees equal to it.  Trees are those of law_trees.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from fansr.search.law_trees import SAME, added, coefficient, scaled, summands, with_text
from fansr.search.monomials import factored, monomials, parts_of, product, written
from fansr.search.reading_cost import head
from fansr.search.spelling import linear

MOST_ROOTS, ROOTS_BELOW = 5, 6  # degree of a polynomial whose roots are looked at, and their largest denominator


def sums(node) -> Iterator[object]:
    """A sum with its numbers multiplied through, multiplied out, and as a product where it is one."""
    if linear(with_text(node)) is not None:
        return  # a column's line has the form that plain_forms gave it
    if head(node) in ("*", "/", "neg", "inv"):
        c, rest = coefficient(node)
        if c != 1.0 and head(rest) in ("+", "-"):
            yield added([(c * a, term) for a, term in summands(rest)])
    if head(node) not in ("+", "-", "*", "/"):
        return
    found = monomials(node)
    if found is None or len(found) < 2:
        return
    yield written(found)
    whole = factored(found)
    if whole is not None and (len(found.bases()) > 1 or _is_power(whole)):
        yield whole


def whole_roots(node) -> Iterator[object]:
    """n^3/6 - n^2/2 + n/3 as n (n - 1) (n - 2)/6: a polynomial whose roots are 0 and fractions of small numbers, or three of these."""
    found = monomials(node) if head(node) in ("+", "-", "*", "/") else None
    if found is None or len(found.bases()) != 1:
        return
    (base,) = found.bases()
    powers = {dict(key).get(base, 0): c for key, c in found.items()}
    degree = max(powers)
    if min(powers) < 0 or not 2 <= degree <= MOST_ROOTS or any(power % 1 for power in powers):
        return
    coefficients = np.array([powers.get(power, 0.0) for power in range(int(degree), -1, -1)])
    roots = np.roots(coefficients)
    fractions = Counter(Fraction(float(root.real)).limit_denominator(ROOTS_BELOW) for root in roots)
    again = coefficients[0] * np.poly([float(root) for root in fractions.elements()])
    if np.abs(again - coefficients).max() > SAME * np.abs(coefficients).max() or (
        0 not in fractions and len(fractions) < 3
    ):
        return
    c, parts, tree = float(coefficients[0]), [], found.trees[base]
    for root, times in sorted(fractions.items(), key=lambda item: abs(item[0])):
        c /= root.denominator**times
        turned = -1.0 if c < 0 < root and times % 2 else 1.0
        c *= turned
        line = added([(turned * root.denominator, tree), (-turned * root.numerator, None)]) if root else tree
        parts.append((line, float(times)))
    yield scaled(c, product(parts))


def squares(node) -> Iterator[object]:
    """A sum with three of its terms as the square of a sum: a^2 w^2 - 2 a b + b^2/w^2 + r as (a w - b/w)^2 + r."""
    if head(node) not in ("+", "-"):
        return
    found = monomials(node)
    for three in found.triples() if found is not None and 4 <= len(found) <= 8 else ():
        whole, rest = factored(three), found.without(three)
        if whole is not None:
            yield ("+", whole, written(rest))


def _is_power(node) -> bool:
    """Whether a polynomial of one column is no sum of powers that a person would leave as it is."""
    return any(head(base) in ("+", "-") and power > 1 for base, power in parts_of(node)[1])


def hinges(node) -> Iterator[object]:
    """0.1 |x - a| + 0.1 x - 0.1 a as 0.2 max(x - a, 0), and 0.1 |x - a| + 0.3 x as 0.2 x + 0.2 max(x - a, 0) + 0.1 a: kinks of one column."""
    if head(node) not in ("+", "-"):
        return
    terms = list(summands(node))
    lines = [linear(with_text(term[1])) if head(term) == "abs" else None for _, term in terms]
    for j in sorted({line[2] for line in lines if line}):
        column = f"x{j + 1}"
        knots = [(c * abs(line[0]), -line[1] / line[0]) for (c, _), line in zip(terms, lines) if line and line[2] == j]
        rest = [term for term, line in zip(terms, lines) if not (line and line[2] == j)]
        slope, bends = sum(c for c, term in rest if term == column), sum(c for c, _ in knots)
        for side in (1.0, -1.0):  # the knots' kinks point to the right, or to the left
            left = slope - side * bends
            left = 0.0 if abs(left) <= SAME * abs(bends) else left
            if left and (
                left * (slope + bends) < 0 or not slope or side < 0
            ):  # a V reads as it stands; a slope goes on to the right
                continue
            bent = [(2 * c, ("max", added([(side, column), (-side * t, None)]), 0.0)) for c, t in knots]
            level = [term for term in rest if term[1] != column] + [(side * sum(c * t for c, t in knots), None)]
            yield added([(left, column), *bent, *level])


def shared(node) -> Iterator[object]:
    """A sum with what several of its terms share taken out of them, and pairs (x + a) (y + b) of four."""
    if head(node) not in ("+", "-"):
        return
    found = monomials(node)
    if found is None or not 2 <= len(found) <= 16:
        return
    for base in found.bases() if len(found.bases()) > 1 else ():
        having = found.having(base)
        if len(having) < 2:
            continue
        rest = found.without(having)
        if rest and len({dict(key)[base] for key in having}) > 1:
            continue  # nobody writes a (a - 2 b) + b^2
        for inner in (factored(having), having.taken_out()):
            if inner is not None:
                yield inner if not rest else ("+", inner, written(rest))
    for four in found.pairs():
        inner = factored(four)
        rest = found.without(four)
        if inner is not None and rest:
            yield ("+", inner, written(rest))
