"""Laws as trees: nested tuples with floats for numbers, and the sums, products and coefficients in them.

    tree_of(candidate)                     ("+", ("*", 2.0, "x1"), 3.0)
    summands(tree)                         (2.0, "x1"), (3.0, None)
    factors(("/", "x1", ("pow1_2", "x2"))) ("x1", 1.0), ("x2", -0.5)

What rewrites laws (plain_forms.py, alternative_forms.py, sum_forms.py, ...) does so on these trees; nothing is fitted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from fansr.expressions import CONSTANT, bind, free, from_tree, literal_value, to_tree
from fansr.fitting import Candidate
from fansr.search.shortening import absorb

SAME = 1e-9  # relative difference of numbers that are one


def tree_of(candidate: Candidate):
    """The candidate as a tree with floats for its numbers."""

    def walk(node):
        if isinstance(node, tuple):
            return (node[0], *map(walk, node[1:]))
        value = None if node == CONSTANT else literal_value(node)
        return node if value is None else float(value)

    return walk(to_tree(bind(candidate.expr, candidate.consts)))


def text_of(tree) -> tuple[list[str], list[float]]:
    """Skeleton and constants of a tree, what says nothing written away."""
    expr, consts = _text_of(tree)
    return list(expr), list(consts)


@lru_cache(512)
def _text_of(tree) -> tuple[tuple[str, ...], tuple[float, ...]]:
    def walk(node):
        if isinstance(node, tuple):
            return (node[0], *map(walk, node[1:]))
        return repr(float(node)) if isinstance(node, float) else node

    expr, consts = absorb(*free(from_tree(walk(tree))))
    return tuple(expr), tuple(consts)


def everywhere(tree, rule):
    """The tree with a rule applied to every node, operands first."""
    if isinstance(tree, tuple):
        tree = (tree[0], *[everywhere(child, rule) for child in tree[1:]])
    return rule(tree)


def alike(a, b) -> bool:
    """Whether two trees are one, numbers to a share of SAME."""
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) <= SAME * max(abs(a), abs(b))
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and a[0] == b[0] and all(map(alike, a[1:], b[1:]))
    return type(a) is type(b) and a == b


def scaled(c: float, node):
    """c * node, numbers folded; signs go into what has one."""
    if isinstance(node, float):
        return c * node
    factor, bare = coefficient(node)
    c *= factor
    if bare is None:
        return c
    if c == 1.0:
        return bare
    if isinstance(bare, tuple) and bare[0] == "inv":
        return ("/", c, bare[1])
    if isinstance(bare, tuple) and bare[0] == "/" and isinstance(bare[1], float):
        return ("/", c * bare[1], bare[2])
    return ("neg", bare) if c == -1.0 else ("*", c, bare)


def coefficient(node) -> tuple[float, object]:
    """(c, rest) of a node c * rest; rest is None for a number.  Where c is no float it stays in the rest."""
    if isinstance(node, float):
        return node, None
    if not isinstance(node, tuple):
        return 1.0, node
    try:
        c, rest = _coefficient(node)
    except OverflowError:  # of a power
        return 1.0, node
    return (c, rest) if math.isfinite(c) else (1.0, node)


def _coefficient(node: tuple) -> tuple[float, object]:
    head = node[0]
    if head == "neg" or head[:4] == "mult" or head[:3] == "div":
        c, rest = coefficient(node[1])
        return (-c if head == "neg" else c * int(head[4:]) if head[:4] == "mult" else c / int(head[3:])), rest
    if head == "*":
        (a, f), (b, g) = coefficient(node[1]), coefficient(node[2])
        return a * b, f if g is None else g if f is None else ("*", f, g)
    if head == "/":
        (a, f), (b, g) = coefficient(node[1]), coefficient(node[2])
        if b == 0:
            return 1.0, node
        if g is None:
            return a / b, f
        return a / b, ("inv", g) if f is None else ("/", f, g)
    if head in ("pow2", "pow3", "pow4", "pow5"):
        c, rest = coefficient(node[1])
        if rest is not None and c != 1.0:
            return c ** int(head[3:]), (head, rest)
    return 1.0, node


def with_text(node):
    """A tree with its numbers as text, which spelling.linear reads."""
    if isinstance(node, tuple):
        return (node[0], *map(with_text, node[1:]))
    return repr(node) if isinstance(node, float) else node


@np.errstate(all="ignore")
def values_on(node, X: np.ndarray) -> np.ndarray:
    """Values (M,) of a tree on the rows X (M, D)."""
    from fansr.expressions import evaluate  # which loads numba

    text = with_text(node)
    return np.asarray(evaluate(from_tree(text) if isinstance(text, tuple) else [text], X)) + np.zeros(len(X))


# ---- sums -------------------------------------------------------------------------------------


def summands(node, c: float = 1.0) -> Iterator[tuple[float, object]]:
    """(coefficient, term) of a sum, numbers multiplied through; term None for its constant."""
    a, rest = coefficient(node)
    if isinstance(rest, tuple) and rest[0] in ("+", "-"):
        yield from summands(rest[1], c * a)
        yield from summands(rest[2], c * a if rest[0] == "+" else -c * a)
    else:
        yield c * a, rest


def added(terms: list[tuple[float, object]]):
    """A sum of (coefficient, term): what is positive first, the constant last, alike terms as one."""
    merged: list[list] = []
    for c, term in terms:
        same = next(
            (m for m in merged if (m[1] is None) == (term is None) and (term is None or alike(m[1], term))), None
        )
        if same is None:
            merged.append([c, term, abs(c)])
        else:
            same[0] += c
            same[2] += abs(c)
    parts = [(c, term) for c, term, size in merged if abs(c) > 1e-14 * size]
    if not parts:
        return 0.0
    parts.sort(key=lambda part: (part[1] is None, -_degree(part[1])))
    ahead = [part for part in parts if part[0] > 0]
    parts = [*ahead[:1], *(part for part in parts if not ahead or part is not ahead[0])]
    total = _term(*parts[0])
    for c, term in parts[1:]:
        total = ("+", total, _term(c, term)) if c > 0 else ("-", total, _term(-c, term))
    return total


def _term(c: float, term):
    return c if term is None else scaled(c, term)


def _degree(term) -> int:
    """The power of a column that a term is, for the order in which polynomials are written."""
    if isinstance(term, tuple) and term[0][:3] == "pow" and term[0][3:].isdigit():
        return int(term[0][3:])
    return 0


# ---- products ---------------------------------------------------------------------------------


def factors(node, power: float = 1.0) -> Iterator[tuple[object, float]]:
    """(factor, exponent) of a product of powers; an exponent is whole or half of a whole number where it was found as one."""
    head = node[0] if isinstance(node, tuple) else None
    if head in ("*", "/"):
        yield from factors(node[1], power)
        yield from factors(node[2], power if head == "*" else -power)
    elif head == "inv":
        yield from factors(node[1], -power)
    elif head == "pow1_2":
        yield node[1], power / 2
    elif head in ("pow2", "pow3", "pow4", "pow5"):
        yield from factors(node[1], power * int(head[3:]))
    else:
        yield node, power


def multiplicands(node) -> Iterator[object]:
    """The factors of a product, whatever its brackets."""
    if isinstance(node, tuple) and node[0] == "*":
        yield from multiplicands(node[1])
        yield from multiplicands(node[2])
    else:
        yield node


def has_fitted_power(node) -> bool:
    """Whether a node is a power whose exponent is neither a whole number nor half of one."""
    return isinstance(node, tuple) and node[0] == "pow" and isinstance(node[2], float) and (2 * node[2]) % 1 != 0


def joined(found):
    """A tree of (factor, exponent); 1 where there are none."""
    above, below = None, None
    for base, power in found:
        size = abs(power)
        if size % 1 == 0 and size <= 5:
            one = base if size == 1 else (f"pow{size:g}", base)
        elif 2 * size in (1, 3, 5):
            one = ("pow1_2", base) if size == 0.5 else (f"pow{2 * size:g}", ("pow1_2", base))
        else:
            one = ("pow", base, size)
        if power > 0:
            above = one if above is None else ("*", above, one)
        else:
            below = one if below is None else ("*", below, one)
    if above is None:
        return 1.0 if below is None else ("inv", below)
    return above if below is None else ("/", above, below)
