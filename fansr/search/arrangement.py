"""The order in which a person writes a law's parts; nothing is fitted and no value changes but for rounding.

    1.6 - 2.3 x + 0.4 x^2, a - (b + c)     0.4 x^2 - 2.3 x + 1.6, a - b - c
    3 (0.5 - x), (0.8 x)^n                 1.5 - 3 x, (x/1.25)^n
    K/(exp(r (t0 - t)) + 1)                K/(1 + exp(-r (t - t0)))
    1/(b/x + c)                            (1/c) x/(x + b/c)
    (a - x)^2, cosh(-k x), max(1, x)       (x - a)^2, cosh(k x), max(x, 1)
    0.909090909 u, log(u) - log(v)         u/1.1, log(u/v)
    exp(t log 2), exp(-t log 10)           2^t, 10^(-t)
    1.6955206^t                            exp(0.528 t)

`arranged` orders what is handed out; `saturation` and `whole_base` are rules for law_trees.everywhere, `line` for a whole tree.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import reduce

import numpy as np

from fansr.expressions import CONSTANT, from_tree, part_of_logarithm, variable_index
from fansr.fitting import Candidate
from fansr.search.law_trees import (
    added,
    coefficient,
    everywhere,
    factors,
    joined,
    multiplicands,
    scaled,
    summands,
    tree_of,
    values_on,
    with_text,
)
from fansr.search.reading_cost import count
from fansr.search.spelling import linear

SAME = 1e-13  # relative difference of a constant and a logarithm that it is
BASES = range(2, 13)
PLAIN, FEWER = 3, 3  # digits at most of a number that is divided by, digits that its reciprocal has more
ROOTS = ("pow1_2", "pow1_3", "pow1_4", "pow1_5")


def arranged(candidate: Candidate, X: np.ndarray | None = None) -> Candidate:
    """The candidate with the parts of its sums in the order of polynomials, and logistic curves with their middle.

    X (M, D): the rows, where a difference squared is turned to be positive on all of them.
    """
    if (
        not any(token in ("+", "-", "*", "/", "pow", "pow2", "max", "min") for token in candidate.expr)
        or candidate.ties is not None
    ):
        return candidate
    constants: list[float] = []

    def emitted(node):
        if isinstance(node, tuple):
            return (node[0], *map(emitted, node[1:]))
        if isinstance(node, float):
            constants.append(node)
            return CONSTANT
        return node

    tree = everywhere(everywhere(_sums(tree_of(candidate)), _number_last), _one_logarithm)
    expr = from_tree(emitted(_divided(everywhere(everywhere(everywhere(tree, _even(X)), _growth), _unit))))
    if len(expr) > len(candidate.expr) or len(constants) > len(candidate.consts):
        return candidate
    return candidate.rewritten(expr, np.array(constants), candidate.fvu)


def _one_logarithm(node):
    """c log(u) - c log(v), alone in a sum or beside other terms, as c log(u/v)."""
    if not isinstance(node, tuple) or node[0] not in ("+", "-"):
        return node
    terms = list(summands(node))
    logs = [k for k, (_, term) in enumerate(terms) if isinstance(term, tuple) and term[0] == "log"]
    if len(logs) != 2 or abs(terms[logs[0]][0] + terms[logs[1]][0]) > SAME * abs(terms[logs[0]][0]):
        return node
    above, below = sorted(logs, key=lambda k: -terms[k][0])
    one = ("log", ("/", terms[above][1][1], terms[below][1][1]))
    rest = [term for k, term in enumerate(terms) if k not in logs]
    return added([(terms[above][0], one), *rest])


def _number_last(node):
    """max(1, x) as max(x, 1)."""
    if isinstance(node, tuple) and node[0] in ("max", "min") and isinstance(node[1], float):
        return (node[0], node[2], node[1])
    return node


def is_polynomial(candidate: Candidate) -> bool:
    """Whether a law is a sum of powers of columns, and nothing is done to the sum but scaling it."""
    plain = ("+", "-", "*", "/", "neg", "pow2", "pow3", CONSTANT)
    return all(
        token in plain or token[:4] == "mult" or token[:3] == "div" or variable_index(token) is not None
        for token in candidate.expr
    )


def _terms(node, sign: int = 1) -> Iterator[tuple[int, object]]:
    """(sign, term) of a sum, whatever its brackets; coefficients stay where they are."""
    if isinstance(node, tuple) and node[0] in ("+", "-"):
        yield from _terms(node[1], sign)
        yield from _terms(node[2], sign if node[0] == "+" else -sign)
    elif isinstance(node, tuple) and node[0] == "neg":
        yield from _terms(node[1], -sign)
    elif isinstance(node, float) and node < 0:
        yield -sign, -node
    elif isinstance(node, tuple) and node[0] in ("*", "/") and isinstance(node[1], float) and node[1] < 0:
        yield -sign, (node[0], -node[1], node[2])
    else:
        yield sign, node


def _sums(node):
    """Every sum and every product of a tree in order."""
    if not isinstance(node, tuple):
        return node
    if node[0] == "*":
        parts, minus, twice = [], 0, []
        for part in (_sums(factor) for factor in multiplicands(node)):
            while isinstance(part, tuple) and (
                part[0] == "neg" or part[0][:4] == "mult" or part[0][:3] == "div"
            ):  # -u, 2 u, u/2: signs and numbers stand apart
                minus += part[0] == "neg"
                twice += [part[0]] if part[0] != "neg" else []
                part = part[1]
            parts += multiplicands(part)
        whole = reduce(lambda inner, times: (times, inner), twice, _multiplied(sorted(parts, key=_place)))
        return ("neg", whole) if minus % 2 else whole
    if node[0] not in ("+", "-"):
        return (node[0], *map(_sums, node[1:]))
    terms = [(sign, _sums(term)) for sign, term in _terms(node)]
    powers = [_power(term) for _, term in terms]
    columns = [column for column, _ in powers if column is not None]
    place = [
        (isinstance(term, float), -degree if columns.count(column) > 1 else 0)
        for (_, term), (column, degree) in zip(terms, powers)
    ]
    first = {column: k for k, (column, _) in reversed(list(enumerate(powers))) if column is not None}
    if all(column is not None or isinstance(term, float) for (_, term), (column, _) in zip(terms, powers)):
        first = {column: int(column[1:]) for column in first}  # nothing but columns: in the table's order
        columns = columns * 2
    order = sorted(
        range(len(terms)),
        key=lambda k: (place[k][0], first[powers[k][0]] if columns.count(powers[k][0]) > 1 else k, place[k][1], k),
    )
    ordered = [terms[k] for k in order]
    ahead = next((k for k, (sign, _) in enumerate(ordered) if sign > 0), None)
    if ahead is None:
        return ("neg", _joined([(-sign, term) for sign, term in ordered]))
    return _joined([ordered[ahead], *ordered[:ahead], *ordered[ahead + 1 :]])


def _place(factor) -> tuple[int, int]:
    """Where a factor stands: numbers, columns and their powers in the table's order, the rest as it came."""
    if isinstance(factor, float):
        return 0, 0
    base = factor[1] if isinstance(factor, tuple) and factor[0][:3] == "pow" and factor[0] not in ROOTS else factor
    return (1, int(base[1:])) if isinstance(base, str) else (2, 0)


def _joined(terms):
    total = terms[0][1]
    for sign, term in terms[1:]:
        total = ("+" if sign > 0 else "-", total, term)
    return total


def _power(term) -> tuple[str | None, float]:
    """(column, degree) of c x^n; (None, 0) of another term."""
    rest = coefficient(term)[1]
    if isinstance(rest, str):
        return rest, 1
    if isinstance(rest, tuple) and rest[0][:3] == "pow" and rest[0][3:].isdigit() and isinstance(rest[1], str):
        return rest[1], int(rest[0][3:])
    return None, 0


def _unit(node):
    """(c x)^n as (x/a)^n with a = 1/c > 1: what the column is measured in; log(c x) as log(x/a), where a reads no longer than c."""
    if isinstance(node, tuple) and node[0] == "log" and isinstance(node[1], tuple) and node[1][0] == "*":
        scale, rest = node[1][1], node[1][2]
        if isinstance(scale, float) and scale > 0 and isinstance(rest, str) and count(1 / scale) <= count(scale):
            return ("log", ("/", rest, 1 / scale))
    if not isinstance(node, tuple) or node[0] not in ("pow", "pow2") or not isinstance(node[1], tuple):
        return node
    scale, rest = node[1][1], node[1][-1]
    if node[1][0] != "*" or not isinstance(scale, float) or not 0 < scale < 1 or not isinstance(rest, str):
        return node
    return node if float(f"{scale:.2g}") == scale else (node[0], ("/", rest, 1 / scale), *node[2:])


def _divided(node):
    """A tree with `_over` at every product, the outermost first."""
    if not isinstance(node, tuple):
        return node
    node = _over(node)
    return (node[0], *map(_divided, node[1:]))


def _over(node):
    """0.909090909 u as u/1.1, 0.909090909 u/v as u/(1.1 v), u/v/2 as u/(2 v), u/v w as u w/v."""
    if not isinstance(node, tuple):
        return node
    if node[0][:3] == "div" and isinstance(node[1], tuple) and node[1][0] in ("*", "/", "inv"):
        above, below = _both_sides(node[1])
        if not below:
            return node
        down = (f"mult{node[0][3:]}", _multiplied(sorted(below, key=_place)))
        return ("/", _multiplied(sorted(above, key=_place)), down) if above else ("inv", down)
    if node[0] not in ("*", "/"):
        return node
    above, below = _both_sides(node)
    number = math.prod(factor for factor in above if isinstance(factor, float))
    above = [factor for factor in above if not isinstance(factor, float)]
    if not abs(number) > 1e-300 or not (
        _divisor(1 / number)
        or (above and below and _whole_divisor(1 / number))
        or part_of_logarithm(number)[:5] == "1/log"
    ):
        if node[0] == "/" or not below or not above:
            return node
        numbers = [number] if number != 1 else []
        return ("/", _multiplied([*numbers, *sorted(above, key=_place)]), _multiplied(sorted(below, key=_place)))
    if number < 0 and not above or any(isinstance(factor, float) for factor in below):
        return node
    size, below = abs(1 / number), sorted(below, key=_place)
    down = (f"mult{size:g}", _multiplied(below)) if size in (2, 3, 4, 5) and below else _multiplied([size, *below])
    if not above:
        return ("inv", down)
    up = _multiplied(sorted(above, key=_place))
    return ("/", up if number > 0 else ("neg", up), down)


def _divisor(number: float) -> bool:
    """Whether a number is plainer than its reciprocal, so that one divides by it."""
    return count(number) <= PLAIN and count(number) + FEWER <= count(1 / number)


def _whole_divisor(number: float) -> bool:
    """Whether a number is up to 5, or a whole one of two digits with a longer reciprocal: of 0.5 x/z, 0.125 x/z, but not of 0.1 x/z."""
    return (
        abs(number) in (2, 3, 4, 5) or abs(number) % 1 == 0 and count(number) <= 2 and count(1 / number) > count(number)
    )


def _both_sides(node) -> tuple[list, list]:
    """(factors above the bar, factors below it) of a product."""
    if isinstance(node, tuple) and node[0][:3] == "div":
        above, below = _both_sides(node[1])
        return [1 / float(node[0][3:]), *above], below
    if not isinstance(node, tuple) or node[0] not in ("*", "/", "inv"):
        return [node], []
    if node[0] == "inv":
        return _both_sides(node[1])[::-1]
    (above, below), (other, under) = map(_both_sides, node[1:])
    return (above + other, below + under) if node[0] == "*" else (above + under, below + other)


def _multiplied(parts):
    return reduce(lambda product, factor: ("*", product, factor), parts)


def line(node):
    """c (x - m) as c x - c m, where that is all there is; for the root of a tree."""
    found = linear(with_text(node))
    if found is None or not isinstance(node, tuple):
        return node
    w, m, j = found
    return added([(w, f"x{j + 1}"), (m, None)]) if m else node


EVEN = ("pow2", "pow4", "abs", "cosh", "cos")


def _even(X: np.ndarray | None):
    """A rule: (a - x)^2 as (x - a)^2, unless x < a on all rows, and cosh(-k x) as cosh(k x): what an even function is of."""

    def rule(node):
        if not isinstance(node, tuple) or node[0] not in EVEN or not isinstance(node[1], tuple):
            return node
        inner = node[1]
        if inner[0] == "-" and (isinstance(inner[1], float) or isinstance(inner[2], float)):
            below = X is not None and bool((values_on(inner, X) < 0).all())
            above = X is not None and bool((values_on(inner, X) > 0).all())
            if below or (isinstance(inner[1], float) and not above):
                return (node[0], ("-", inner[2], inner[1]))
        if inner[0] == "neg":
            return (node[0], inner[1])
        if inner[0] in ("*", "/") and isinstance(inner[1], float) and inner[1] < 0:
            return (node[0], (inner[0], -inner[1], inner[2]))
        return node

    return rule


def _growth(node):
    """a/(exp(k (c - x)) + 1) as a/(1 + exp(-k (x - c))), and 1 + (x/c)^n below a bar."""
    if not isinstance(node, tuple) or node[0] not in ("/", "inv"):
        return node
    below = node[-1]
    if not (isinstance(below, tuple) and below[0] == "+" and below[2] == 1.0):
        return node
    grown = below[1]
    if isinstance(grown, tuple) and grown[0] in ("pow", "pow2", "pow3", "pow4", "pow5"):
        share = grown[1]
        if grown[0] == "pow" or isinstance(share, tuple) and share[0] == "/":
            return (*node[:-1], ("+", 1.0, grown))
        return node
    if not (isinstance(grown, tuple) and grown[0] == "exp"):
        return node
    inside = grown[1]
    if isinstance(inside, tuple) and inside[0] == "*" and isinstance(inside[1], float):
        _, k, shift = inside
        if isinstance(shift, tuple) and shift[0] == "-" and isinstance(shift[1], float):
            inside = ("*", -k, ("-", shift[2], shift[1]))
    return (*node[:-1], ("+", 1.0, ("exp", inside)))


# ---- rules ------------------------------------------------------------------------------------


def saturation(node):
    """a/(b/x + c) as (a/c) x/(x + b/c), x a column: the half-way point, and the level that is reached; so too a z/(b/x + c).

    b may be a sum: where an inhibitor competes, a/((b + i)/x + c) is (a/c) x/(x + i/c + b/c).
    """
    if not isinstance(node, tuple) or node[0] not in ("/", "inv"):
        return node
    above, below = (1.0, node[1]) if node[0] == "inv" else node[1:]
    if not (isinstance(below, tuple) and below[0] == "+"):
        return node
    above, times = coefficient(above)
    parts = sorted(below[1:], key=lambda part: isinstance(part, float))
    over, c = parts
    if not isinstance(c, float) or not c > 0 or not isinstance(over, tuple):
        return node
    b, column = (1.0, over[1]) if over[0] == "inv" else over[1:] if over[0] == "/" else (None, None)
    if b is None or not isinstance(column, str):
        return node
    parts = [(k / c, term) for k, term in summands(b)]
    if any(k <= 0 for k, _ in parts) or times is not None and not isinstance(b, float):
        return node
    top = column if times is None else joined(_gathered([*factors(times), (column, 1.0)]))
    return scaled(above / c, ("/", top, added([(1.0, column), *parts])))


def _gathered(found):
    """(factor, exponent) with those of one factor as one."""
    powers: dict = {}
    for base, n in found:
        powers[base] = powers.get(base, 0.0) + n
    return [(base, n) for base, n in powers.items() if n]


def whole_base(node):
    """exp(c u) as n^u where c is the logarithm of a whole number n or its negative."""
    if not isinstance(node, tuple) or node[0] != "exp":
        return node
    c, rest = coefficient(node[1])
    if rest is None or not isinstance(rest, str):
        return node
    for n in BASES:
        if abs(abs(c) / math.log(n) - 1) <= SAME:
            return ("pow", float(n), rest if c > 0 else ("neg", rest))
    return node


def uneven_base(node):
    """b^u as exp(c u), but where b is a number of few digits."""
    if not isinstance(node, tuple) or node[0] != "pow" or not isinstance(node[1], float) or isinstance(node[2], float):
        return node
    b = node[1]
    return node if not b > 0 or float(f"{b:.3g}") == b else ("exp", scaled(math.log(b), node[2]))
