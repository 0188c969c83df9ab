"""The form of a law that a person would write, among those that say the same; exact rewriting, judged by the fit.

    -x/(a - b), -2 x + 3                   x/(b - a), 3 - 2 x
    a - b (a - c), a + (-4 - x) b          a + b (c - a), a - (x + 4) b
    a sin(w t) + b cos(w t), -cos(w t - 3) A sin(w t + m), cos(w t + 0.14)
    sin(w t + pi/2)                        cos(w t)
    1/(a + b exp(-r t)), 1/(a x^-n + b)    K/(1 + exp(-r (t - t0))), K/(1 + (h/x)^n)
    1.1/b + c/b                            (1.1 + c)/b
    2 x + 3 max(x - 1, 4)                  2 x + 3 max(x - 5, 0) + 12
    x^3/sqrt(x), 1/sqrt(a/b)               x^2.5, sqrt(b/a)
    x^-12, c x^-12                         1/x^12, c/x^12
    sqrt(3 x^1.4 z^0.6)                    1.73 x^0.7 z^0.3
    sqrt(1 - cos(2 u)), sqrt(1 + cos(2 u)) 1.41 |sin(u)|, 1.41 |cos(u)|, without the bars where the rows have one sign
    log(2.5 x^0.43), 8.686 log(42 x)       0.43 log(x) + 0.92, 8.686 log(x) + 32.5

Trees are those of law_trees.py.  `plain` is applied to what is handed out; alternatives that are
fitted and compared are those of alternative_forms.py.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np

from fansr.fitting import Candidate
from fansr.search.arrangement import line, saturation, uneven_base, whole_base
from fansr.search.growth_forms import (
    apart,
    exponentials,
    half_way,
    logistic,
    middle,
    on_a_base,
    one_number,
    one_sided,
    shares,
    together,
)
from fansr.search.law_trees import (
    SAME,
    added,
    alike,
    coefficient,
    everywhere,
    factors,
    has_fitted_power,
    joined,
    multiplicands,
    scaled,
    summands,
    text_of,
    tree_of,
    values_on,
    with_text,
)
from fansr.search.spelling import linear

AS_WELL, ROUNDING = 1e-3, 1e-26  # relative loss of fit that is none; FVU that is rounding
QUARTER = math.pi / 2
LEVELS, NEAR_LEVEL = (10.0, 20.0, 5.0, 2.5), 1e-3  # of what decibels and magnitudes stand before log10; how near
NO_PHASE = 0.1  # of a wave that is one without, but for noise


# ---- sums -------------------------------------------------------------------------------------


def in_order(node):
    """A sum with something positive in front; a product with a minus and a difference turned round."""
    if not isinstance(node, tuple):
        return node
    if node[0] in ("+", "-"):
        terms = list(summands(node))
        shared = _one_bar(terms)
        if shared is not None:
            return shared
        forward = [
            (-c, turned) if c < 0 and (turned := _difference_turned(t)) is not None else (c, t) for c, t in terms
        ]
        if forward != terms or terms[0][0] < 0 and any(c > 0 for c, _ in terms):
            return added(forward)
        return node
    c, rest = coefficient(node)
    if c < 0 and rest is not None:
        turned = _turned(rest)
        if turned is not None:
            return scaled(-c, turned)
    return node


def _turned(node):
    """A factor's negative, where a difference in it can be turned round or a wave with a phase moved by half a turn; else None."""
    if not isinstance(node, tuple):
        return None
    if node[0] == "-":
        return ("-", node[2], node[1])
    if node[0] in ("*", "/"):
        return _in_a_factor(node, _turned)
    if node[0] in ("inv", "pow3", "pow5"):
        turned = _turned(node[1])
        return turned and (node[0], turned)
    if node[0] in ("sin", "cos"):
        line = linear(with_text(node[1]))
        if line is not None and abs(math.remainder(line[1], math.pi)) > SAME:
            return wave(node[0], line[0], line[1] + math.pi, line[2])
    return None


def _difference_turned(node):
    """b (u - v) as b (v - u), u and v no numbers; None where no factor is such a difference."""
    if not isinstance(node, tuple):
        return None
    if node[0] == "-" and not any(isinstance(part, float) for part in node[1:]):
        return ("-", node[2], node[1])
    if node[0] in ("*", "/"):
        return _in_a_factor(node, _difference_turned)
    return None


def _in_a_factor(node, turn):
    """A product or quotient with the first of its two parts that can be turned turned; None where neither can."""
    for place in (1, 2):
        turned = turn(node[place])
        if turned is not None:
            return (node[0], *(turned if p == place else node[p] for p in (1, 2)))
    return None


def positive(node):
    """A product with a sum of nothing but negative terms, (-4 - x) z, as -(x + 4) z."""
    if not isinstance(node, tuple) or node[0] not in ("*", "/", "inv"):
        return node
    sign, parts = 1.0, []
    for part in node[1:]:
        terms = list(summands(part)) if isinstance(part, tuple) and part[0] in ("+", "-") else []
        if terms and all(c < 0 for c, _ in terms):
            sign, part = -sign, added([(-c, term) for c, term in terms])
        parts.append(part)
    return scaled(sign, (node[0], *parts)) if sign < 0 else (node[0], *parts)


def _one_bar(terms):
    """u/w + v/w as (u + v)/w, of the terms all over one denominator; None where they are not."""
    over = []
    for c, term in terms:
        if not isinstance(term, tuple) or term[0] not in ("/", "inv"):
            return None
        over.append((c, None if term[0] == "inv" else term[1]))
    below = terms[0][1][-1]
    if len(terms) < 2 or not all(alike(term[-1], below) for _, term in terms[1:]):
        return None
    return ("/", added(over), below)


def hinged(node):
    """0.03 x + 0.02 max(x - 15, 25) as 0.03 x + 0.02 max(x - 40, 0) + 0.5: what is paid beyond a threshold; max(x, 25) alone stays."""
    if not isinstance(node, tuple) or node[0] not in ("+", "-"):
        return node
    terms, whole = list(summands(node)), []
    bends = [isinstance(t, tuple) and t[0] in ("max", "min") and isinstance(t[2], float) for _, t in terms]
    further = any(t is None for _, t in terms) + sum(bends) > 1  # another level than its own
    for (c, term), bend in zip(terms, bends):
        line = linear(with_text(term[1])) if bend and term[2] else None
        if line is None or not (line[1] or further and len(terms) > 2):
            whole.append((c, term))
            continue
        w, m, j = line
        whole += [(c, (term[0], added([(w, f"x{j + 1}"), (m - term[2], None)]), 0.0)), (c * term[2], None)]
    return added(whole) if whole != terms else node


# ---- powers -----------------------------------------------------------------------------------


def one_power(node):
    """A product that holds a column several times, once as a root, with one power of it."""
    if not isinstance(node, tuple) or node[0] not in ("*", "/"):
        return node
    c, rest = coefficient(node)
    found = list(factors(rest)) if rest is not None else []
    for column in dict.fromkeys(base for base, _ in found if isinstance(base, str)):
        powers = [power for base, power in found if base == column]
        if len(powers) > 1 and any(power % 1 for power in powers) and sum(powers) % 1:
            others = [(base, power) for base, power in found if base != column]
            return scaled(c, joined([*others, (column, sum(powers))]))
    return node


def taken_root(node):
    """sqrt(c x^p z^q) with fitted p, q as sqrt(c) x^(p/2) z^(q/2)."""
    if not isinstance(node, tuple) or node[0] != "pow1_2":
        return node
    c, rest = coefficient(node[1])
    parts = list(multiplicands(rest))
    if not c > 0 or not all(has_fitted_power(part) for part in parts):
        return node
    return scaled(math.sqrt(c), reduce(lambda a, b: ("*", a, b), [("pow", part[1], part[2] / 2) for part in parts]))


def turned_root(node):
    """c/sqrt(a/b) as c sqrt(b/a)."""
    if not isinstance(node, tuple) or node[0] not in ("/", "inv"):
        return node
    below = node[-1]
    if not (isinstance(below, tuple) and below[0] == "pow1_2" and isinstance(below[1], tuple) and below[1][0] == "/"):
        return node
    root = ("pow1_2", ("/", below[1][2], below[1][1]))
    return root if node[0] == "inv" else ("*", node[1], root)


def above_the_bar(node):
    """c/(x^-p z^-q) as c x^p z^q."""
    if not isinstance(node, tuple) or node[0] not in ("/", "inv"):
        return node
    above, below = [] if node[0] == "inv" else [node[1]], list(multiplicands(node[-1]))
    turned = [("pow", part[1], -part[2]) for part in below if _is_negative_power(part)]
    if not turned:
        return node
    left = [part for part in below if not _is_negative_power(part)]
    top, bottom = (reduce(lambda a, b: ("*", a, b), parts) if parts else None for parts in ([*above, *turned], left))
    return top if bottom is None else ("/", top, bottom)


def below_the_bar(node):
    """x^-12 as 1/x^12, for a whole exponent, and c (x + a)^-0.7 as c/(x + a)^0.7; the exponent of c x^-0.7 is quoted with its sign."""
    if isinstance(node, tuple) and node[0] == "*":
        for power, other in (node[1:], node[:0:-1]):
            if _is_negative_power(power) and isinstance(power[1], tuple) and power[1][0] in ("+", "-"):
                return ("/", other, ("pow", power[1], -power[2]) if power[2] != -1 else power[1])
    if _is_negative_power(node) and node[2] % 1 == 0:
        return ("inv", ("pow", node[1], -node[2]) if node[2] < -1 else node[1])
    return node


def _is_negative_power(node) -> bool:
    return isinstance(node, tuple) and node[0] == "pow" and isinstance(node[2], float) and node[2] < 0


def logarithm(node):
    """log(c u^p), with a number p that is no small whole one, as p log(u) + log(c)."""
    if not isinstance(node, tuple) or node[0] != "log":
        return node
    c, rest = coefficient(node[1])
    if not c > 0 or not (isinstance(rest, tuple) and rest[0] == "pow" and isinstance(rest[2], float) and rest[2] % 1):
        return node
    return added([(rest[2], ("log", rest[1])), *([(math.log(c), None)] if c != 1.0 else [])])


def decibels(node):
    """k log(c u), k near 10/log(10) and its like, as k log(u) + k log(c): a level is quoted with what is added to it."""
    k, rest = coefficient(node)
    if not (isinstance(node, tuple) and isinstance(rest, tuple) and rest[0] == "log"):
        return node
    c, bare = coefficient(rest[1])
    size = abs(k) * math.log(10)
    if bare is None or c == 1.0 or not c > 0 or not any(abs(size / level - 1) < NEAR_LEVEL for level in LEVELS):
        return node
    return added([(k, ("log", bare)), (k * math.log(c), None)])


# ---- waves ------------------------------------------------------------------------------------


def wave(function: str, w: float, m: float, j: int):
    """sin or cos of w x_j + m with w > 0, the phase within half a turn, quarter turns in the function and the sign."""
    if w < 0:
        w, m = -w, (math.pi - m if function == "sin" else -m)
    m = math.remainder(m, 2 * math.pi)
    quarters = m / QUARTER
    sign = 1.0
    if abs(quarters - round(quarters)) < SAME:
        # sin(u + q pi/2) for q = 0, 1, 2, 3 is sin, cos, -sin, -cos
        q = (round(quarters) + (function == "cos")) % 4
        function, sign, m = ("sin", "cos", "sin", "cos")[q], (1.0, 1.0, -1.0, -1.0)[q], 0.0
    elif abs(m - round(m, 3)) > SAME:  # a phase of few digits is meant
        function, m, sign = _least_phase(function, m)
    angle = scaled(w, f"x{j + 1}")
    if m:
        angle = ("+", angle, m) if m > 0 else ("-", angle, -m)
    return (function, angle) if sign > 0 else ("neg", (function, angle))


def _least_phase(function: str, m: float) -> tuple[str, float, float]:
    """(function, phase, sign) of the same wave: the smaller phase of a sine and a cosine, and a minus only where it leaves hardly any."""
    other, shift = ("cos", -QUARTER) if function == "sin" else ("sin", QUARTER)
    forms = [
        (function, m, 1.0),
        (other, m + shift, 1.0),
        (function, m + math.pi, -1.0),
        (other, m + shift + math.pi, -1.0),
    ]
    forms = [(f, math.remainder(phase, 2 * math.pi), sign) for f, phase, sign in forms]
    return min(
        (form for form in forms if form[2] > 0 or abs(form[1]) < NO_PHASE),
        key=lambda form: abs(form[1]) - SAME * (form[0] == function),
    )


def waves(node):
    """A wave in its plainest phase; a sine and a cosine of one angle as one wave."""
    if not isinstance(node, tuple):
        return node
    if node[0] in ("sin", "cos"):
        line = linear(with_text(node[1]))
        return node if line is None else wave(node[0], *line)
    if node[0] in ("+", "-"):
        terms = list(summands(node))
        found = [
            (k, linear(with_text(t[1])))
            for k, (_, t) in enumerate(terms)
            if isinstance(t, tuple) and t[0] in ("sin", "cos")
        ]
        for i, first in found:
            for k, second in found:
                if (
                    i < k
                    and first
                    and second
                    and first[2] == second[2]
                    and abs(abs(first[0]) - abs(second[0])) < SAME * abs(first[0])
                ):
                    both = sum(_phasor(*terms[q], line) for q, line in ((i, first), (k, second)))
                    rest = [t for q, t in enumerate(terms) if q not in (i, k)]
                    size, m = abs(both), math.atan2(both.imag, both.real)
                    return added([*summands(scaled(size, wave("sin", abs(first[0]), m, first[2]))), *rest])
    return node


def half_angle(node):
    """sqrt(1 - cos(2 u)) as sqrt(2) |sin(u)|, and with a plus |cos(u)|."""
    if not isinstance(node, tuple) or node[0] != "pow1_2":
        return node
    terms = list(summands(node[1]))
    if len(terms) != 2 or {term is None for _, term in terms} != {True, False}:
        return node
    (a,), ((b, term),) = [c for c, term in terms if term is None], [part for part in terms if part[1] is not None]
    if not (isinstance(term, tuple) and term[0] == "cos" and a > 0 and abs(abs(b) - a) <= SAME * a):
        return node
    return scaled(math.sqrt(2 * a), ("abs", ("sin" if b < 0 else "cos", scaled(0.5, term[1]))))


def unsigned(X: np.ndarray):
    """A rule: |u| as u or -u where that is its sign on all rows."""

    def rule(node):
        if not (isinstance(node, tuple) and node[0] == "abs"):
            return node
        values = values_on(node[1], X)
        return node[1] if (values >= 0).all() else scaled(-1.0, node[1]) if (values <= 0).all() else node

    return rule


def _phasor(c: float, term, line) -> complex:
    """z of c sin or cos(w x + m) = Im(z exp(i |w| x))."""
    w, m, _ = line
    c, m = (-c, -m) if w < 0 and term[0] == "sin" else (c, -m if w < 0 else m)
    return c * np.exp(1j * (m + (QUARTER if term[0] == "cos" else 0.0)))


# ---- what is handed out -----------------------------------------------------------------------


def plain(candidate: Candidate, X: np.ndarray, fitter) -> Candidate:
    """The candidate in its plainest form; itself where that is longer, has more constants or fits worse."""
    best = candidate
    rules = (
        (waves, 0),
        (half_angle, 2),
        (unsigned(X), 1),
        (one_power, 1),
        (taken_root, 1),
        (turned_root, 0),
        (apart, 0),
        (exponentials, 1),
        (above_the_bar, 1),
        (below_the_bar, 1),
        (logarithm, 1),
        (decibels, 2),
        (positive, 1),
        (in_order, 0),
        (hinged, 4),
        (on_a_base, 3),
        (one_sided, 3),
        (one_number, 1),
        (together, 2),
        (logistic(X), 2),
        (middle(X), 2),
        (saturation, 2),
        (shares, 2),
        (half_way(X), 2),
        (whole_base, 0),
        (uneven_base, 1),
    )
    tree = tree_of(best)
    for rule, longer in rules:
        try:
            form = everywhere(tree, rule)
        except (OverflowError, ZeroDivisionError):  # of numbers that leave the floats
            continue
        found = if_as_good(best, form, fitter, longer)
        if found is not best:
            best, tree = found, tree_of(found)
    return if_as_good(best, line(tree), fitter)


def if_as_good(candidate: Candidate, tree, fitter, longer: int = 0) -> Candidate:
    try:
        expr, consts = text_of(tree)
    except (ValueError, OverflowError, ZeroDivisionError):
        return candidate
    old = candidate.consts.tolist()
    if expr == list(candidate.expr) and all(abs(c - b) <= 1e-15 * abs(b) for c, b in zip(consts, old)):
        return candidate
    if len(expr) > len(candidate.expr) + longer or len(consts) > len(candidate.consts) + longer:
        return candidate
    fvu = fitter.fvu(expr, consts)
    if not fvu <= candidate.fvu * (1 + AS_WELL) + ROUNDING:
        return candidate
    return Candidate(
        expr, np.array(consts, dtype=np.float64), float(fvu), candidate.source, candidate.logp, candidate.n
    )
