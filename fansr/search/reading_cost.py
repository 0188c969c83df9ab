"""What a law costs a person to read, in tokens: its tokens, its brackets and the digits of its numbers.

Of equal laws rewriting.py keeps the cheapest.  The prices are our judgement, made on laws of our own (bench/spelling.py); they say
nothing of how likely a law is, which is for selection.py.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fansr.expressions import CONSTANT, part_of_logarithm, part_of_pi, to_tree, variable_index
from fansr.search.law_trees import text_of

DIGIT, MOST_DIGITS, TOLD = 0.3, 9, 12  # a digit's price, digits that count, digits that are looked at
ONE, FRACTION = 0.6, 0.5  # of the number 1; besides, of a constant that is no small whole number
FREE, WHOLE = 1.5, 1000  # of a constant of a noisy law, besides its token; whole numbers below this cost their digits
BRACKET = 0.8  # of a pair of brackets, twice as many within another
OUTER = 1.5  # of an exponential below a bar or under a power, besides
RARE, RARER = 0.5, ("sinh", "cosh", "tanh")  # of a function that an exponential may stand for, besides
TURNED = 3.0  # of an absolute value beside the same column, which says neither slope, besides
# Operators whose operands want brackets where they are sums.
ARITHMETIC = frozenset(("*", "/", "neg", "inv", "pow", "pow2", "pow3", "pow4", "pow5"))


def price(tree, clean: bool) -> float:
    """What a tree costs to read, in tokens: its tokens, and the digits of its constants, or their number where the rows are noisy."""
    try:
        expr, consts = text_of(tree)
    except (ValueError, OverflowError, ZeroDivisionError):
        return math.inf
    if not np.isfinite(consts).all():
        return math.inf
    tree = to_tree(expr)
    whole = [k for k, token in enumerate(expr) if token[:3] in ("mul", "div")]  # numbers in their operator
    signs = expr.count("neg") + sum(k > 0 and expr[k - 1] == "neg" for k in whole)  # -3 is one number
    spoken = len(expr) - 0.5 * signs + 0.25 * expr.count("inv") + (1 + DIGIT) * len(whole)
    spoken += BRACKET * _brackets(tree) + OUTER * _outer_exponents(tree) + RARE * sum(map(expr.count, RARER))
    spoken += TURNED * _turned_slopes(tree)
    spoken -= (1 - ONE) * consts.count(1.0)
    if not clean:
        return spoken + sum(
            0.0 if c == 1.0 else DIGIT * count(c) if c == round(c) and abs(c) < WHOLE else FREE for c in consts
        )
    return spoken + _digits(tree, iter(consts))


def _digits(node, consts: Iterator[float], factor: bool = False) -> float:
    """What the digits of a tree's constants cost to read; factor: whether the node is one."""
    if isinstance(node, tuple):
        return sum(_digits(child, consts, node[0] in ("*", "/")) for child in node[1:])
    return digits(next(consts), factor) if node == CONSTANT else 0.0


def _brackets(tree, depth: int = 1) -> int:
    """Sums that stand in brackets of their own, those within others by their depth."""
    if not isinstance(tree, tuple):
        return 0
    bare = tree[0] in ("+", "-") or tree[0] not in ARITHMETIC and tree[0][:3] not in ("mul", "div")
    total = 0
    for child in tree[1:]:
        held = not bare and head(child) in ("+", "-")
        total += depth * held + _brackets(child, depth + held)
    return total


def _turned_slopes(node) -> int:
    """Absolute values of what holds a column that is a term of the same sum."""
    if not isinstance(node, tuple):
        return 0
    if node[0] not in ("+", "-"):
        return sum(map(_turned_slopes, node[1:]))
    terms = list(_terms(node))
    bare = {term for term in terms if isinstance(term, str) and variable_index(term) is not None}
    return sum(_is_abs(term) and not bare.isdisjoint(_leaves(term)) for term in terms) + sum(map(_turned_slopes, terms))


def _terms(node) -> Iterator[object]:
    """The terms of a sum without their numbers."""
    if head(node) in ("+", "-"):
        yield from _terms(node[1])
        yield from _terms(node[2])
    elif head(node) == "*" and node[1] == CONSTANT:
        yield from _terms(node[2])
    elif head(node) == "neg" or head(node)[:3] in ("mul", "div"):
        yield from _terms(node[1])
    else:
        yield node


def _is_abs(node) -> bool:
    return head(node) == "abs"


def _leaves(node) -> Iterator[object]:
    if isinstance(node, tuple):
        for child in node[1:]:
            yield from _leaves(child)
    else:
        yield node


def _outer_exponents(node) -> int:
    """Exponentials below a bar or under a power, which read quicker with both in their exponent."""
    if not isinstance(node, tuple):
        return 0
    held = node[-1] if node[0] in ("/", "inv") else node[1] if node[0] in ("pow2", "pow3", "pow4", "pow5") else None
    return (head(held) == "exp") + sum(map(_outer_exponents, node[1:]))


def digits(c: float, factor: bool = False) -> float:
    """What a constant's digits cost to read, in tokens; parts of pi count as short, and a factor may be divided by."""
    if c == 1.0:
        return 0.0
    least = min(count(c), 1 + count(1 / c)) if factor and abs(c) > 1e-300 else count(c)
    return DIGIT * min(least, MOST_DIGITS) + (0.0 if c == round(c) and abs(c) < 10 else FRACTION)


def count(c: float) -> int:
    """Digits of a constant, an exponent beyond 4 as two."""
    if not math.isfinite(c):
        return TOLD
    if part_of_pi(c) or part_of_logarithm(c):
        return 2
    mantissa, _, exponent = f"{c:.{TOLD - 1}e}".lstrip("-").partition("e")
    return len(mantissa.replace(".", "").rstrip("0")) + (2 if abs(int(exponent)) > 4 else 0)


def head(node) -> str:
    """A node's operator; "" of a leaf."""
    return node[0] if isinstance(node, tuple) else ""
