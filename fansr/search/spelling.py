"""Of laws that agree on every row, the one that is meant.

`outside` writes exp(log(a) + u) as a exp(u), exp(u log(b)) as b^u, a / exp(k u) as a exp(-k u), and sqrt(c u) as sqrt(c)
sqrt(u), c and k numbers, and a / (b / c) as a c / b.  `slowest` takes the slowest of the waves that evenly spaced rows cannot tell apart: on a column
x = x0 + n h the waves sin(w x + m) and sin((w + 2 pi / h) x + m') agree in every row (aliasing: Shannon 1949), so no fit tells
them apart; between the rows they differ, and without a reason for a faster one the slowest is the law.
"""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import CONSTANT, bind, free, from_tree, literal_value, to_tree, variable_index
from fansr.fitting import Candidate
from fansr.search.shortening import absorb

EVEN = 1e-6  # of a step that the rows of an even column may be off


def steps_of(x: np.ndarray) -> float | None:
    """The step h of a column whose values all lie on a grid x0 + n h, the largest such; None where they lie on none worth it."""
    values = np.unique(x)
    gaps = np.diff(values)
    if len(values) < 4:
        return None
    h = float(gaps.min())
    n = (values - values[0]) / h
    if not np.isfinite(n).all() or np.abs(n - np.round(n)).max() > EVEN * max(1.0, float(n[-1])) or n[-1] > 50 * len(n):
        return None
    return float(values[-1] - values[0]) / float(np.round(n[-1]))


def slowest(candidate: Candidate, X: np.ndarray, fitter) -> Candidate:
    """The candidate with every sine and cosine of one evenly spaced column at its slowest; itself where nothing changes.

    fitter: a fitting.Refiner over the data, which measures the result: it must fit as well.
    """
    if not any(token in ("sin", "cos") for token in candidate.expr):
        return candidate
    bound = bind(candidate.expr, candidate.consts)
    tree = _walk(to_tree(bound), X)
    expr, consts = free(from_tree(tree))
    if expr == list(candidate.expr) and np.array_equal(consts, candidate.consts):
        return candidate
    fvu = fitter.fvu(expr, consts)
    if not fvu <= candidate.fvu * 1.01 + 1e-20:
        return candidate
    return candidate.rewritten(expr, np.array(consts), fvu)


def _walk(node, X):
    if not isinstance(node, tuple):
        return node
    node = (node[0], *(_walk(child, X) for child in node[1:]))
    if node[0] not in ("sin", "cos"):
        return node
    line = linear(node[1])
    if line is None:
        return node
    w, m, j = line
    h = steps_of(X[:, j])
    if h is None or not math.pi * (1 + 1e-9) < abs(w) * h < math.inf:
        return node
    turns = float(round(w * h / (2 * math.pi)))
    w, m = w - 2 * math.pi * turns / h, m + 2 * math.pi * turns * float(X[:, j].min()) / h
    if not math.isfinite(w) or not math.isfinite(m):  # between two rows it turns more often than a float can say
        return node
    if w < 0:  # sin(u) = sin(pi - u), cos(u) = cos(-u)
        w, m = -w, (math.pi - m if node[0] == "sin" else -m)
    m = math.remainder(m, 2 * math.pi)
    return (node[0], ("+", ("*", repr(w), f"x{j + 1}"), repr(m)))


# ---- what stands inside without need ----------------------------------------------------------

LARGEST_LOG = 40.0  # of a factor taken out of an exponential: one of e^-500 is plainer inside
ROOTS = {"pow1_2": 2, "pow1_3": 3, "pow1_4": 4, "pow1_5": 5}


def outside(candidate: Candidate, fitter) -> Candidate:
    """The same law with factors taken out of exponentials and roots, exponentials above the bar, and one bar where there were two.

    Itself where that is longer or no equal fit.
    """
    if not any(token in ("exp", *ROOTS) for token in candidate.expr) and candidate.expr.count("/") < 2:
        return candidate
    tree = _taken_out(to_tree(bind(candidate.expr, candidate.consts)))
    for written in (_bare(tree), _sized(tree)):
        expr, consts = absorb(*free(from_tree(written)))
        if len(expr) > len(candidate.expr) or expr == list(candidate.expr):
            continue
        fvu = fitter.fvu(expr, consts)
        if fvu <= candidate.fvu * (1 + 1e-3) + 1e-28:
            return candidate.rewritten(expr, np.array(consts), fvu)
    return candidate


def _number(node) -> float | None:
    return None if isinstance(node, tuple) or node == CONSTANT else literal_value(node)


def _taken_out(node):
    if not isinstance(node, tuple):
        return node
    node = (node[0], *(_taken_out(child) for child in node[1:]))
    if node[0] == "exp":
        return _exponential(node[1])
    if node[0] == "/" and isinstance(node[2], tuple) and node[2][0] == "/":
        return ("/", ("*", node[1], node[2][2]), node[2][1])
    if node[0] == "/" and isinstance(node[1], tuple) and node[1][0] == "/":
        return ("/", node[1][1], ("*", node[1][2], node[2]))
    below = node[-1] if node[0] in ("/", "inv") and isinstance(node[-1], tuple) and node[-1][0] == "exp" else None
    if below and isinstance(below[1], tuple) and below[1][0] in ("*", "/") and _number(below[1][1]) is not None:
        # a / exp(k u) as a exp(-k u): the sign costs nothing in k
        turned = ("exp", (below[1][0], repr(-_number(below[1][1])), below[1][2]))
        return turned if node[0] == "inv" else ("*", node[1], turned)
    if node[0] in ROOTS and isinstance(node[1], tuple) and node[1][0] in ("*", "/"):
        over, *rest = node[1][1:]
        if node[1][0] == "*" and _number(over) is None:
            over, rest = rest[0], [over]
        c = _number(over)
        if c is not None and c > 0:
            root = repr(c ** (1 / ROOTS[node[0]]))
            return (node[1][0], root, _root_of(node[0], rest[0]))
    return _root_of(*node) if node[0] in ROOTS else node


SIZE = "size"  # stands for abs of what is under it, or for that itself where it is never negative


def _root_of(root: str, inside):
    """A root of an odd power as the power of the root, the same wherever either is defined: sqrt(x^3) reads x^1.5.

    An even root of an even power is one of the SIZE of what is raised: sqrt(x^2) reads |x|, sqrt(x^4) x^2.
    """
    power = int(inside[0][3]) if isinstance(inside, tuple) and inside[0] in ("pow2", "pow3", "pow4", "pow5") else 0
    if power % 2:
        return (inside[0], (root, inside[1]))
    if power and ROOTS[root] in (2, 4):
        left = power // ROOTS[root]
        if left == 0:
            return ("pow1_2", (SIZE, inside[1]))
        return (f"pow{left}", inside[1]) if left > 1 else (SIZE, inside[1])
    return (root, inside)


def _bare(node):
    """A tree without its marks of SIZE."""
    if not isinstance(node, tuple):
        return node
    return _bare(node[1]) if node[0] == SIZE else (node[0], *map(_bare, node[1:]))


def _sized(node):
    """A tree with abs for its marks of SIZE."""
    return ("abs" if node[0] == SIZE else node[0], *map(_sized, node[1:])) if isinstance(node, tuple) else node


def _exponential(inside):
    """exp(inside), with the summands that are numbers or logarithms as factors."""
    factors, left = [], []
    for sign, term in _summands(inside):
        value = _number(term)
        power = _log_factor(term)
        if value is not None and abs(value) < LARGEST_LOG:
            factors.append((sign, repr(math.exp(value))))
        elif power is not None:
            base, exponent = power
            factors.append((sign, base if exponent is None else ("pow", base, exponent)))
        else:
            left.append((sign, term))
    if not factors:
        return ("exp", inside)
    result = None
    if left:
        total = left[0][1] if left[0][0] > 0 else ("neg", left[0][1])
        for sign, term in left[1:]:
            total = ("+" if sign > 0 else "-", total, term)
        result = ("exp", total)
    for sign, factor in sorted(factors, key=lambda item: -item[0]):
        if result is None:
            result = factor if sign > 0 else ("inv", factor)
        else:
            result = ("*", factor, result) if sign > 0 else ("/", result, factor)
    return result


def _summands(node, sign: int = 1):
    if isinstance(node, tuple) and node[0] in "+-":
        yield from _summands(node[1], sign)
        yield from _summands(node[2], sign if node[0] == "+" else -sign)
    elif isinstance(node, tuple) and node[0] == "neg":
        yield from _summands(node[1], -sign)
    else:
        yield sign, node


def _log_factor(node):
    """(b, None) of log(b), (b, u) of u * log(b); None for another node.  b > 0 wherever the law is finite."""
    if not isinstance(node, tuple):
        return None
    if node[0] == "log":
        return node[1], None
    if node[0] == "*":
        for place in (1, 2):
            if isinstance(node[place], tuple) and node[place][0] == "log":
                return node[place][1], node[3 - place]
    return None


# ---- waves ------------------------------------------------------------------------------------


def linear(node) -> tuple[float, float, int] | None:
    """(w, m, column) of an argument w x + m with numbers w and m, however it is written; None for any other."""
    if not isinstance(node, tuple):
        j = variable_index(node)
        return (1.0, 0.0, j) if j is not None else None
    token, kids = node[0], node[1:]
    if token == "neg" or token[:4] == "mult" or token[:3] == "div":
        inner = linear(kids[0])
        scale = -1.0 if token == "neg" else float(token[4:]) if token[:4] == "mult" else 1 / float(token[3:])
        return inner and (scale * inner[0], scale * inner[1], inner[2])
    if token not in ("+", "-", "*", "/"):
        return None
    numbers = [literal_value(kid) if not isinstance(kid, tuple) and kid != CONSTANT else None for kid in kids]
    if (numbers[0] is None) == (numbers[1] is None):
        return None
    c, inner = (numbers[0], linear(kids[1])) if numbers[0] is not None else (numbers[1], linear(kids[0]))
    if inner is None or (token == "/" and numbers[1] is None):
        return None
    w, m, j = inner
    if token in ("*", "/"):
        c = 1 / c if token == "/" else c
        return c * w, c * m, j
    sign = -1.0 if token == "-" and numbers[0] is not None else 1.0
    return sign * w, sign * m + (-c if token == "-" and numbers[1] is not None else c), j
