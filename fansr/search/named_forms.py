"""The shapes of one column that textbooks name: growth, decay, saturation, peaks; what their structure costs under `mdl`.

Written out, a logistic is ten symbols, and by its symbols it loses against a straight line wherever rows are few.  But nobody
builds it of symbols: it is one of some thirty shapes that everyone who sees such a table tries.  To name one of them takes log 30
nats more than the straight line's structure does; its constants are paid for like all others.

    of(expr)       the name of the shape that a skeleton is, "" of another

A shape may be scaled and shifted, and its column be scaled and shifted, in whatever spelling: numbers of all kinds are wildcards.
Polynomials are none of these, for they follow anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from fansr.expressions import CONSTANT, literal_value, to_tree, variable_index

Tree = str | tuple  # as of to_tree
COUNT = 30  # about as many shapes as are told apart here, in one column
LONGEST = 20  # tokens of a spelling
_POWERS = ("pow2", "pow3", "pow4", "pow5", "pow1_2", "pow1_3", "pow1_4", "pow1_5")


def of(expr: Sequence[str]) -> str:
    """The name of the shape that a skeleton over one column is, "" of another."""
    columns = {token for token in expr if variable_index(token) is not None}
    if len(columns) != 1 or not 3 < len(expr) <= LONGEST:
        return ""
    return _named(tuple(expr))


@lru_cache(maxsize=20_000)
def _named(expr: tuple[str, ...]) -> str:
    return _alone(_inside(to_tree(list(expr)))) or _two_decays(to_tree(list(expr)))


def _is_number(node: Tree) -> bool:
    return not isinstance(node, tuple) and (node == CONSTANT or literal_value(node) is not None)


def _is_scale(token: str) -> bool:
    """Whether a function only multiplies by a number."""
    return token == "neg" or (token[:4] == "mult" or token[:3] == "div")


def _inside(node: Tree) -> Tree:
    """A tree without the numbers that scale and shift it."""
    while isinstance(node, tuple):
        if _is_scale(node[0]):
            node = node[1]
        elif node[0] in ("+", "-", "*") and _is_number(node[1]):
            node = node[2]
        elif node[0] in ("+", "-", "*", "/") and _is_number(node[2]):
            node = node[1]
        elif node[0] == "/" and _is_number(node[1]):
            return ("inv", node[2])
        else:
            break
    return node


def _line(node: Tree) -> bool:
    """Whether a tree is the column, scaled and shifted."""
    node = _inside(node)
    return not isinstance(node, tuple) and variable_index(node) is not None


def _factor(node: Tree) -> bool:
    """Whether a tree is the column, scaled and not shifted."""
    while isinstance(node, tuple):
        if _is_scale(node[0]):
            node = node[1]
        elif node[0] == "*" and _is_number(node[1]):
            node = node[2]
        elif node[0] in ("*", "/") and _is_number(node[2]):
            node = node[1]
        else:
            return False
    return variable_index(node) is not None


def _exponential(node: Tree) -> bool:
    """exp of a line, or a number to it."""
    return isinstance(node, tuple) and (
        (node[0] == "exp" and _line(node[1])) or (node[0] == "pow" and _is_number(node[1]) and _line(node[2]))
    )


def _power(node: Tree) -> bool:
    """A number's power of the column, which may be scaled."""
    return isinstance(node, tuple) and (
        (node[0] in _POWERS and _factor(node[1])) or (node[0] == "pow" and _factor(node[1]) and _is_number(node[2]))
    )


def _alone(node: Tree) -> str:
    """The name of a shape that is neither scaled nor shifted."""
    if not isinstance(node, tuple):
        return ""
    token, first = node[0], node[1]
    inner = _inside(first)
    raised = isinstance(inner, tuple)
    if _exponential(node):
        return "exponential"
    if token == "exp" and raised:
        if _exponential(inner):
            return "Gompertz"
        if inner[0] == "pow2" and _line(inner[1]):
            return "bell"
        if inner[0] == "inv" and _line(inner[1]):
            return "Arrhenius"
        if _power(inner):
            return "stretched exponential"
    if token in ("tanh", "atan", "logistic") and _line(first):
        return token
    if token == "log" and _line(first):
        return "logarithm"
    if token == "log" and raised and _exponential(inner):
        return "softplus"
    if (token in _POWERS or (token == "pow" and _is_number(node[2]))) and _line(first):
        return "power"
    if token in _POWERS and raised and _exponential(inner):
        return "power of a decay"
    if token == "inv":
        return _below(first)
    if token == "/" and _factor(node[1]):
        below = _inside(node[2])
        if _line(node[2]):
            return "saturation"
        if isinstance(below, tuple) and below[0] == "pow2" and _factor(below[1]):
            return "saturation with inhibition"
        if isinstance(below, tuple) and below[0] == "exp" and _line(below[1]):
            return "rise and decay"
    if token == "/" and _power(_scaled(node[1])) and _power(_inside(node[2])):
        return "Hill"
    if token == "*":
        decays = [_exponential(factor) for factor in _parts(node, "*", "*")]
        others = [factor for factor in _parts(node, "*", "*") if not _exponential(factor)]
        if decays.count(True) == 1 and len(others) == 1 and (_factor(others[0]) or _power(others[0])):
            return "rise and decay"
    return ""


def _parts(node: Tree, one: str, other: str) -> list[Tree]:
    """Summands or factors of a tree but numbers, each without what it is multiplied by."""
    node = _scaled(node)
    if isinstance(node, tuple) and node[0] in (one, other):
        return [part for child in node[1:] for part in _parts(child, one, other)]
    return [] if _is_number(node) else [node]


def _below(node: Tree) -> str:
    """The name of one over a tree."""
    if _line(node):
        return "hyperbola"
    if _exponential(_scaled(node)):
        return "exponential"
    inner = _inside(node)
    if _exponential(inner):
        return "logistic"
    if isinstance(inner, tuple) and inner[0] == "pow2" and _line(inner[1]):
        return "peak"
    if _power(inner):
        return "Hill"
    if isinstance(inner, tuple) and inner[0] == "inv" and _line(inner[1]):
        return "saturation"
    return ""


def _two_decays(node: Tree) -> str:
    """Two exponentials of lines, scaled, and a number."""
    terms = _parts(node, "+", "-")
    return "two decays" if len(terms) == 2 and all(map(_exponential, terms)) else ""


def _scaled(node: Tree) -> Tree:
    """A tree without the numbers that multiply it."""
    while isinstance(node, tuple):
        if _is_scale(node[0]):
            node = node[1]
        elif node[0] == "*" and _is_number(node[1]):
            node = node[2]
        elif node[0] in ("*", "/") and _is_number(node[2]):
            node = node[1]
        else:
            break
    return node
