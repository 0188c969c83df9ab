"""How a person writes growth and saturation: a curve's middle, its half-way point and the level that is reached.

    a/(b + c exp(k x))                     K/(1 + exp(k (x - x0)))
    a/(b + c x^n)                          K/(1 + (x/h)^n)
    exp(-(a x + b)^2), tanh(a x + b)       exp(-(k (x - x0))^2), tanh(k (x - x0))
    a + a tanh(u)                          2 a/(1 + exp(-2 u))
    a/(1/x + 1/z)                          a x z/(x + z)
    (3.7 - 8.4e-5 x)^5.3                   1013 (1 - x/4.4e4)^5.3
    1/(a/(1 + exp(k (x - x0))) + b)        K/(1 + exp(-k (x - x1))) + c, and so Hill's curve; a/(b/(x + c) + d) as K - A/(x + C)
    a/((b/x + c) (z + d))                  (a/c) x/((x + b/c) (z + d))
    (x exp(-a/z))^p                        x^p exp(-a p/z)
    (exp(x)/(3 z + 6))^1.3 exp(-x/5)       0.24 exp(1.1 x)/(z + 2)^1.3

Rules for law_trees.everywhere; nothing is fitted.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from fansr.search.law_trees import (
    SAME,
    added,
    coefficient,
    factors,
    has_fitted_power,
    joined,
    multiplicands,
    scaled,
    summands,
    with_text,
)
from fansr.search.monomials import one_exponential, parts_of, product
from fansr.search.spelling import linear

_WHOLE = ("pow2", "pow3", "pow4", "pow5")


def _bar(node):
    """(above, b, c, term) of above/(b + c * term); None of another node."""
    if not isinstance(node, tuple) or node[0] not in ("/", "inv"):
        return None
    above, below = (1.0, node[1]) if node[0] == "inv" else node[1:]
    terms = list(summands(below))
    if len(terms) != 2 or {t is None for _, t in terms} != {True, False}:
        return None
    ((b, _),) = [term for term in terms if term[1] is None]
    ((c, term),) = [term for term in terms if term[1] is not None]
    return above, b, c, term


def logistic(X: np.ndarray):
    """A rule: a/(b + c exp(k x)) as K/(1 + exp(k (x - x0))) where x0 is within the column's values, half their span aside."""

    def rule(node):
        found = _bar(node)
        if found is None:
            return node
        above, b, c, term = found
        if not isinstance(term, tuple) or term[0] != "exp" or not (b > 0 and c > 0):
            return node
        line = linear(with_text(term[1]))
        if line is None or line[0] == 0:
            return node
        k, m, j = line
        zero = -(math.log(c / b) + m) / k
        low, high = float(X[:, j].min()), float(X[:, j].max())
        if not low - (high - low) / 2 <= zero <= high + (high - low) / 2 or abs(zero) <= SAME * (high - low):
            return node
        angle = ("-", f"x{j + 1}", zero) if zero > 0 else ("+", f"x{j + 1}", -zero)
        return ("/", scaled(1 / b, above), ("+", 1.0, ("exp", ("*", k, angle))))

    return rule


def middle(X: np.ndarray):
    """A rule: the argument of a bell or a step by its middle, where the middle is within the values, half their span aside."""

    def rule(node):
        if not isinstance(node, tuple):
            return node
        if node[0] == "tanh":
            found = _from_middle(node[1], X)
            return ("tanh", found) if found else node
        inner = node[1] if node[0] == "exp" else None
        if isinstance(inner, tuple) and inner[0] == "neg" and isinstance(inner[1], tuple) and inner[1][0] == "pow2":
            found = _from_middle(inner[1][1], X)
            return ("exp", ("neg", ("pow2", found))) if found else node
        return node

    return rule


def _from_middle(node, X: np.ndarray):
    """k (x - x0) of a line in one column; None where its middle is far from the values, or 0."""
    line = linear(with_text(node))
    if line is None or line[0] == 0:
        return None
    k, m, j = line
    zero, low, high = -m / k, float(X[:, j].min()), float(X[:, j].max())
    if not low - (high - low) / 2 <= zero <= high + (high - low) / 2 or abs(zero) <= SAME * (high - low):
        return None
    part = ("-", f"x{j + 1}", zero) if zero > 0 else ("+", f"x{j + 1}", -zero)
    if abs(k) == 1:
        return part if k > 0 else ("neg", part)
    return ("*", k, part)


def one_sided(node):
    """a + a tanh(u) as 2 a/(1 + exp(-2 u)), a - a tanh(u) as 2 a/(1 + exp(2 u))."""
    if not isinstance(node, tuple) or node[0] not in ("+", "-"):
        return node
    terms = list(summands(node))
    steps = [(c, t) for c, t in terms if isinstance(t, tuple) and t[0] == "tanh"]
    levels = [c for c, t in terms if t is None]
    if len(terms) != 2 or len(steps) != 1 or len(levels) != 1:
        return node
    (c, step), (a,) = steps[0], levels
    if abs(abs(c) - abs(a)) > SAME * abs(a):
        return node
    return ("/", 2 * a, ("+", 1.0, ("exp", scaled(-2.0 if c * a > 0 else 2.0, step[1]))))


def on_a_base(node):
    """p/(b + c/(b2 + c2 u)) as a level and a step on it, p/b (b2 + ...) = low + step/(1 + 1/(k u)) for a rising u: exp, a power, or x itself.

    Two bars one in the other say the same of a curve from one level to another with neither level in sight.
    """
    outer = _bar(node)
    inner = _bar(outer[3]) if outer is not None else None
    if inner is None or not isinstance(outer[0], float) or inner[0] != 1.0:
        return node
    (above, b, c, _), (_, b2, c2, u) = outer, inner
    if min(above, b, c, b2 if not isinstance(u, str) else 1.0, c2) <= 0:
        return node
    if isinstance(u, str):
        middle = b2 / c2 + c / (b * c2)
        return ("-", above / b, ("/", above * c / (b * b * c2), ("+", u, middle) if middle > 0 else ("-", u, -middle)))
    if u[0] == "exp":
        back = ("exp", scaled(-1.0, u[1]))
    elif u[0] in _WHOLE or u[0] == "pow" and isinstance(u[2], float):
        k, column = coefficient(u[1])
        if not isinstance(column, str) or not k > 0:
            return node
        c2 *= k ** (u[2] if u[0] == "pow" else int(u[0][3:]))
        back = ("inv", (u[0], column, *u[2:]))
    else:
        return node
    low = above * b2 / (b * b2 + c)
    return ("+", ("/", above / b - low, ("+", 1.0, scaled((b * b2 + c) / (b * c2), back))), low)


def shares(node):
    """a/((b/x + c) w) as (a/c) x/((x + b/c) w), x a column: a product of saturations."""
    if not isinstance(node, tuple) or node[0] not in ("/", "inv"):
        return node
    above, below = (1.0, node[1]) if node[0] == "inv" else node[1:]
    parts, columns, size = [], [], 1.0
    for part in multiplicands(below):
        terms = list(summands(part)) if isinstance(part, tuple) and part[0] == "+" else []
        numbers = [c for c, term in terms if term is None]
        over = [
            (c, term[1])
            for c, term in terms
            if isinstance(term, tuple) and term[0] == "inv" and isinstance(term[1], str)
        ]
        if len(terms) == 2 and len(numbers) == len(over) == 1 and min(numbers[0], over[0][0]) > 0:
            (b, column), c = over[0], numbers[0]
            parts.append(("+", column, b / c))
            columns.append(column)
            size *= c
        else:
            parts.append(part)
    if not columns or len(parts) < 2:
        return node
    factor, rest = coefficient(above)
    top = reduce(lambda a, b: ("*", a, b), [*([] if rest is None else [rest]), *columns])
    return scaled(factor / size, ("/", top, reduce(lambda a, b: ("*", a, b), parts)))


def apart(node):
    """(c u exp(v))^p, p a fitted exponent, as c^p u^p exp(p v), u below the bar where it was, and a line a x + b in u as x + b/a."""
    if not has_fitted_power(node):
        return node
    c, rest = coefficient(node[1])
    parts = list(factors(rest)) if rest is not None else []
    raised = [(base[1], n) for base, n in parts if isinstance(base, tuple) and base[0] == "exp"]
    others = [(base, n) for base, n in parts if not (isinstance(base, tuple) and base[0] == "exp")]
    if not raised or not others or not c > 0:
        return node
    if len(others) == 1 and isinstance(others[0][0], tuple):
        (base, n) = others[0]
        terms = list(summands(base))
        a = terms[0][0] if len(terms) == 2 and isinstance(terms[0][1], str) and terms[1][1] is None else 1.0
        if a > 0 and a != 1.0:
            c, others = c * a**n, [(added([(k / a, term) for k, term in terms]), n)]
    power = node[2]
    if len(others) == 1 and has_fitted_power(others[0][0]):
        ((base, n),) = others
        power, others = power * base[2], [(base[1], n)]
    if all(n < 0 for _, n in others):
        power, others = -power, [(base, -n) for base, n in others]
    exponent = added([term for v, n in raised for term in summands(v, n * node[2])])
    return scaled(c ** node[2], ("*", ("pow", joined(others), power), ("exp", exponent)))


def exponentials(node):
    """exp(u) v exp(w), and over bars and within fitted powers, as v exp(u + w)."""
    if not isinstance(node, tuple) or node[0] not in ("*", "/"):
        return node
    c, parts = parts_of((node[0], *map(apart, node[1:])))
    if sum(isinstance(base, tuple) and base[0] == "exp" for base, _ in parts) < 2:
        return node
    return scaled(c, product(one_exponential(parts)))


def one_number(node):
    """3 x * 2/(z + 1) as 6 x/(z + 1), 2 (3 x) as 6 x."""
    if isinstance(node, tuple) and node[0][:4] == "mult" and coefficient(node[1])[0] != 1.0:
        return scaled(*coefficient(node))
    if not isinstance(node, tuple) or node[0] != "*":
        return node
    (a, f), (b, g) = coefficient(node[1]), coefficient(node[2])
    if a == 1.0 or b == 1.0 or (f is None and g is None):
        return node
    if f is None or g is None:
        return scaled(a * b, g if f is None else f)
    below = isinstance(g, tuple) and g[0] == "inv"
    return scaled(a * b, ("/", f, g[1]) if below else ("*", f, g))


def together(node):
    """a/(1/x + 1/z) as a x z/(x + z), x and z columns: lenses, resistors, reduced masses."""
    if not isinstance(node, tuple) or node[0] not in ("/", "inv"):
        return node
    above, below = (1.0, node[1]) if node[0] == "inv" else node[1:]
    if not isinstance(below, tuple) or below[0] not in ("+", "-"):
        return node
    parts = below[1:]
    if not all(isinstance(part, tuple) and part[0] == "inv" and isinstance(part[1], str) for part in parts):
        return node
    x, z = (part[1] for part in parts)
    other = ("+", x, z) if below[0] == "+" else ("-", z, x)
    return ("/", ("*", x, z) if above == 1.0 else ("*", ("*", above, x), z), other)


def of_a_share(node):
    """(a + b x)^p as a^p (1 + x/(a/b))^p, for a fitted exponent: what it is at 0, and of what x is a share."""
    if not has_fitted_power(node) or not isinstance(node[1], tuple) or node[1][0] not in ("+", "-"):
        return node
    terms = list(summands(node[1]))
    if len(terms) != 2 or {term is None for _, term in terms} != {True, False}:
        return node
    (a,), ((b, term),) = [c for c, term in terms if term is None], [part for part in terms if part[1] is not None]
    if not a > 0 or a == 1.0 or not isinstance(term, str):
        return node
    size = math.exp(min(700.0, max(-700.0, node[2] * math.log(a))))
    share = ("/", term, a / abs(b))
    return scaled(size, ("pow", ("+" if b > 0 else "-", 1.0, share), node[2]))


def half_way(X: np.ndarray):
    """A rule: a/(b + c x^p) as K/(1 + (x/h)^p), or K/(1 + (h/x)^-p) for p < 0, where h is among the column's values: Hill's curve.

    For powers that were fitted, and for whole ones where the curve falls off to 0 at x = 0, a/(b + c/x^2) or a x^2/(b + c x^2): 1/(x^2 + b)
    is a peak, and has its width.
    """

    def rule(node):
        found = _bar(node)
        if found is None:
            return node
        above, b, c, term = found
        if isinstance(term, tuple) and term[0] in _WHOLE and isinstance(term[1], tuple) and term[1][0] == "inv":
            term = ("inv", (term[0], term[1][1]))
        over = isinstance(term, tuple) and term[0] == "inv"
        power = term[1] if over else term
        if not (isinstance(power, tuple) and power[0][:3] == "pow" and isinstance(power[1], str) and min(b, c) > 0):
            return node
        if power[0] in _WHOLE:
            scale, rest = coefficient(above)
            if not over and rest == power:  # x^n/(b + c x^n) = 1/(b/x^n + c)
                above, b, c, over = scale, c, b, True
            elif not over or rest is not None:
                return node
            power = ("pow", power[1], float(power[0][3:]))
        if power[0] != "pow" or not isinstance(power[2], float) or not power[2]:
            return node
        p = -power[2] if over else power[2]
        j = int(power[1][1:]) - 1
        half = math.exp(math.log(b / c) / p)
        if not X[:, j].min() <= half <= X[:, j].max():
            return node
        share = ("/", power[1], half) if p > 0 else ("/", half, power[1])
        whole = f"pow{abs(p):g}"
        raised = (whole, share) if whole in _WHOLE else ("pow", share, abs(p))
        return ("/", scaled(1 / b, above), ("+", 1.0, raised))

    return rule
