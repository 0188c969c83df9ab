"""Of equal laws the one that is quickest to read: rules tried one at a time, kept where tokens and digits become fewer.

    -0.8 x sin(x^2 + 3 pi/2)               0.8 x cos(x^2)
    x x y, (x y/z)^2/(x y)^2 exp(u)        x^2 y, exp(u)/z^2
    2 sin(u) cos(u), (exp(u) + exp(-u))/2  sin(2 u), cosh(u)
    a b + 1.5 a + 1.3 b + 1.95             (a + 1.3) (b + 1.5)
    0.35 (1.428571 u + v)                  0.5 u + 0.35 v
    0.625 (a + 0.37 b)/(0.625 c + d)       (a + 0.37 b)/(c + 1.6 d)
    0.3 |2 x - 9| - 0.6 x                  1.2 max(4.5 - x, 0) - 2.7
    log(x + 158.7302) - 5.067206           log(0.0063 x + 1)
    3.7 (x - x^2)                          3.7 x (1 - x)
    1.51e-85 cosh(-20 x), |20 x| > 100     exp(20 (x - 9.8))/2

A rule is a function of a node that yields other forms of it, all equal to it for all real arguments for which it has a value, but for
`saturated` and `roots`, which ask the rows.  Which reads quickest is told by reading_cost.py.  Trees and helpers are those of law_trees.py; nothing is fitted, and what is kept fits as before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from fansr.fitting import Candidate
from fansr.search.growth_forms import half_way, logistic, of_a_share
from fansr.search.law_trees import (
    SAME,
    added,
    alike,
    coefficient,
    everywhere,
    factors,
    scaled,
    summands,
    tree_of,
    values_on,
    with_text,
)
from fansr.search.monomials import factored, monomials, one_exponential, parts_of, product, written
from fansr.search.plain_forms import QUARTER, if_as_good, in_order
from fansr.search.reading_cost import MOST_DIGITS, TOLD, count, head, price
from fansr.search.spelling import linear
from fansr.search.sum_forms import hinges, shared, squares, sums, whole_roots

CLEAN = 1e-18  # FVU of a law whose constants are told to many digits
LONGEST = 60  # tokens of a law that is rewritten; one of twice as many takes half a second
LONGER = 6  # tokens that a form with fewer digits may be longer
ROUNDS = 6
FAR = 18.5  # of an argument whose function is at its limit to a float's digits
APART = 17.0  # of the logarithm of a factor that belongs into its exponential

Rule = Callable[[object], Iterator[object]]


def shortest(candidate: Candidate, X: np.ndarray, fitter) -> Candidate:
    """The candidate in the form that is quickest to read; itself where no rule makes it quicker or its values would change.

    X (M, D): the rows, which tell where a function is at its limit.  fitter: a fitting.Refiner over the data.
    """
    if candidate.ties is not None or len(candidate.expr) > LONGEST:
        return candidate
    clean = candidate.fvu <= CLEAN
    rules: tuple[Rule, ...] = (
        phases, double_angles, hyperbolic, saturated(X), powers, roots(X), sums, squares, hinges, shared, scales, exponents, inside,
        *((logarithms,) if clean else ()),
    )  # fmt: skip
    best, whole = candidate, tree_of(candidate)
    least = price(whole, clean)
    seen, written_so = set(), set()
    applied: dict[Rule, object] = {}
    for _ in range(ROUNDS):
        before = least
        for rule in rules:
            if applied.get(rule) is whole:
                continue
            applied[rule] = whole
            for tree in _forms(whole, rule, written_so):
                if tree in seen:
                    continue
                seen.add(tree)
                if price(tree, clean) > least - 1e-9:
                    continue
                found = if_as_good(best, tree, fitter, LONGER)
                if found is best:
                    continue
                other = tree_of(found)
                cost = price(other, clean)
                if cost < least - 1e-9:
                    best, whole, least = found, other, cost
        if least == before:
            break
    if best is not candidate:
        best = if_as_good(best, everywhere(tree_of(best), in_order), fitter)
    return _said_more(best, X, fitter, clean)


def _said_more(law: Candidate, X: np.ndarray, fitter, clean: bool) -> Candidate:
    """The law in forms that read longer, and say more: roots of polynomials, middles, half-way points, values at 0, shares."""
    law = if_as_good(law, everywhere(tree_of(law), one_less), fitter, 2)
    if clean:
        law = if_as_good(law, _in_roots(tree_of(law)), fitter, 2)
        return if_as_good(law, everywhere(tree_of(law), _in_digits), fitter)
    for rule in (logistic(X), half_way(X), lambda node: one_number(of_a_share(node))):
        law = if_as_good(law, everywhere(tree_of(law), rule), fitter, 3)
    return law


def one_less(node):
    """c (x - x^2) as c x (1 - x): a share, and what it leaves."""
    if not isinstance(node, tuple) or node[0] not in ("*", "/"):
        return node
    parts = [
        ("*", part[1], ("-", 1.0, part[1]))
        if isinstance(part, tuple) and part[0] == "-" and isinstance(part[1], str) and part[2] == ("pow2", part[1])
        else part
        for part in node[1:]
    ]
    return (node[0], *parts)


def _in_roots(node, term: bool = False):
    """The tree with its polynomials in their whole roots; term: whether the node is one of a sum's terms."""
    if not isinstance(node, tuple):
        return node
    if not term:
        tree = next(whole_roots(node), None)
        if tree is not None and head(tree) in ("*", "/"):
            return tree
    inside = head(node) in ("+", "-")
    return (node[0], *(_in_roots(child, inside) for child in node[1:]))


def _forms(law, rule: Rule, known: set) -> list[object]:
    """A law's tree with one node in another form, none where its numbers leave the floats; without those `known`, which it adds to."""
    try:
        fresh = dict.fromkeys(other for other in _everywhere(law, rule) if other not in known)
        forms = [everywhere(other, one_number) for other in fresh]
    except (ValueError, OverflowError, ZeroDivisionError):
        return []
    known.update(fresh)
    return forms


def one_number(node):
    """A product with its numbers as one, in front."""
    if not isinstance(node, tuple):
        return node
    token = node[0]
    if token not in ("*", "/", "neg") and token[:3] not in ("mul", "div"):
        return node
    c, rest = coefficient(node)
    return c if rest is None else scaled(c, rest)


def _in_digits(node):
    """A number that differs from one of few digits in its last bits as that one."""
    return float(f"{node:.{TOLD - 1}e}") if isinstance(node, float) and count(node) <= MOST_DIGITS else node


def _everywhere(tree, rule: Rule) -> Iterator[object]:
    """The tree with one node in another form."""
    if not isinstance(tree, tuple):
        return
    yield from rule(tree)
    for place in range(1, len(tree)):
        for other in _everywhere(tree[place], rule):
            yield (*tree[:place], other, *tree[place + 1 :])


# ---- waves ------------------------------------------------------------------------------------


def phases(node) -> Iterator[object]:
    """A wave with its phase within half a turn, quarter turns in the function, and an angle that does not begin with a minus."""
    if head(node) not in ("sin", "cos"):
        return
    terms = list(summands(node[1]))
    rest = [term for term in terms if term[1] is not None]
    phase = sum(c for c, term in terms if term is None)
    for turned in (False, True):
        function, sign, m = node[0], 1.0, phase
        angle = [(-c, term) for c, term in rest] if turned else rest
        if turned:  # sin(u) = -sin(-u), cos(u) = cos(-u)
            sign, m = (-1.0 if function == "sin" else 1.0), -m
        m = math.remainder(m, 2 * math.pi)
        for quarter in range(4):
            # sin(u + q pi/2) for q = 0, 1, 2, 3 is sin, cos, -sin, -cos
            q = (quarter + (function == "cos")) % 4
            left = math.remainder(m - quarter * QUARTER, 2 * math.pi)
            left = 0.0 if abs(left) < SAME else left
            if not left and rest or quarter == 0:
                wave = (("sin", "cos", "sin", "cos")[q], added([*angle, *([(left, None)] if left else [])]))
                yield scaled(sign * (1.0, 1.0, -1.0, -1.0)[q], wave)


def double_angles(node) -> Iterator[object]:
    """sin(u) cos(u) as sin(2 u)/2, sin(u)/cos(u) as tan(u), v - 2 v sin(u)^2 as v cos(2 u)."""
    if head(node) in ("+", "-"):
        terms = list(summands(node))
        for i, (m, term) in enumerate(terms):
            parts = [] if term is None else list(factors(term))
            for wave, p in parts:
                if head(wave) not in ("sin", "cos") or p != 2:
                    continue
                left = [part for part in parts if part[0] is not wave]
                rest = product(left) if left else None
                for k, (level, other) in enumerate(terms):
                    same = (rest is None and other is None) or (
                        rest is not None and other is not None and alike(rest, other)
                    )
                    if k != i and same and abs(m + 2 * level) <= SAME * abs(m):
                        whole = product([*left, (("cos", scaled(2.0, wave[1])), 1.0)])
                        others = [term for place, term in enumerate(terms) if place not in (i, k)]
                        yield added([(level if wave[0] == "sin" else -level, whole), *others])
    if head(node) not in ("*", "/"):
        return
    c, parts = parts_of(node)
    for i, (sine, p) in enumerate(parts):
        for k, (cosine, q) in enumerate(parts):
            if head(sine) == "sin" and head(cosine) == "cos" and alike(sine[1], cosine[1]):
                others = [part for place, part in enumerate(parts) if place not in (i, k)]
                if p == q == 1:
                    yield scaled(c / 2, product([*others, (("sin", scaled(2.0, sine[1])), 1.0)]))
                elif p == -q:
                    yield scaled(c, product([*others, (("tan", sine[1]), p)]))


# ---- exponentials -----------------------------------------------------------------------------


def hyperbolic(node) -> Iterator[object]:
    """exp(u) + exp(-u) as 2 cosh(u), their difference as 2 sinh(u), both with one factor; sinh over cosh as tanh."""
    if head(node) in ("+", "-"):
        terms = list(summands(node))
        found = [_exponential_term(c, term) for c, term in terms]
        for i, first in enumerate(found):
            for k, second in enumerate(found[:i]):
                if first is None or second is None or abs(abs(first[0]) - abs(second[0])) > SAME * abs(first[0]):
                    continue
                if not alike(first[1], second[1]) or not alike(first[2], _negative(second[2])):
                    continue
                (a, rest, u), (b, _, v) = first, second
                if coefficient(u)[0] < 0:
                    (a, u), (b, v) = (b, v), (a, u)
                function = "cosh" if a * b > 0 else "sinh"
                left = [] if rest is None else list(factors(rest))
                one = (2 * a, product([*left, ((function, u), 1.0)]))
                yield added([one, *(term for place, term in enumerate(terms) if place not in (i, k))])
    if head(node) == "/":
        c, parts = parts_of(node)
        for i, (sine, p) in enumerate(parts):
            for k, (cosine, q) in enumerate(parts):
                if head(sine) == "sinh" and head(cosine) == "cosh" and p == -q == 1 and alike(sine[1], cosine[1]):
                    others = [part for place, part in enumerate(parts) if place not in (i, k)]
                    yield scaled(c, product([*others, (("tanh", sine[1]), 1.0)]))


def _exponential_term(c: float, term):
    """(c, rest, u) of c * rest * exp(u); None of another term."""
    if term is None:
        return None
    parts = list(factors(term))
    waves = [(base, p) for base, p in parts if head(base) == "exp" and abs(p) == 1]
    if len(waves) != 1:
        return None
    (wave, p), rest = waves[0], [part for part in parts if part[0] is not waves[0][0]]
    return c, (product(rest) if rest else None), (wave[1] if p > 0 else _negative(wave[1]))


def _negative(node):
    return added([(-c, term) for c, term in summands(node)])


def saturated(X: np.ndarray) -> Rule:
    """A rule: cosh, sinh and tanh of what is far from 0 on all rows as the exponential, or the number, that they are."""

    def rule(node) -> Iterator[object]:
        if head(node) not in ("cosh", "sinh", "tanh"):
            return
        u = values_on(node[1], X)
        sign = 1.0 if (u > FAR).all() else -1.0 if (u < -FAR).all() else 0.0
        if not sign:
            return
        if node[0] == "tanh":
            yield sign
        else:
            grown = ("exp", node[1] if sign > 0 else _negative(node[1]))
            yield scaled(0.5 * (sign if node[0] == "sinh" else 1.0), grown)

    return rule


def exponents(node) -> Iterator[object]:
    """c exp(u) as exp(u + log c): where c is beyond all bounds, or the sum has factors then."""
    if head(node) not in ("*", "/", "neg"):
        return
    c, parts = parts_of(node)
    for k, (wave, p) in enumerate(parts):
        if head(wave) != "exp" or abs(p) != 1 or c == 0:
            continue
        others = parts[:k] + parts[k + 1 :]
        whole = added([(math.log(abs(c)) * p, None), *summands(wave[1])])
        inner = [factored(monomials(whole))]
        if abs(math.log(abs(c))) > APART:
            line = linear(with_text(whole))
            inner.append(
                scaled(line[0], added([(1.0, f"x{line[2] + 1}"), (line[1] / line[0], None)])) if line else whole
            )
        for u in inner:
            if u is not None:
                yield scaled(math.copysign(1.0, c), product([*others, (("exp", u), p)]))


def logarithms(node) -> Iterator[object]:
    """a log(u) + k as a log(exp(k/a) u), log(u exp(v)) as log(u) + v."""
    if head(node) == "log":
        c, parts = parts_of(node[1])
        grown = [(wave, p) for wave, p in parts if head(wave) == "exp"]
        if grown and c > 0:
            rest = scaled(c, product([part for part in parts if head(part[0]) != "exp"]))
            yield added([(1.0, ("log", rest)), *((p * a, term) for wave, p in grown for a, term in summands(wave[1]))])
    if head(node) not in ("+", "-"):
        return
    terms = list(summands(node))
    logs = [k for k, (_, term) in enumerate(terms) if head(term) == "log"]
    level = sum(c for c, term in terms if term is None)
    if len(logs) != 1 or not level:
        return
    a, log = terms[logs[0]]
    if abs(level / a) > 40:
        return
    c = math.exp(level / a)
    others = [(b, term) for k, (b, term) in enumerate(terms) if k != logs[0] and term is not None]
    for inner in (scaled(c, log[1]), added([(c * b, term) for b, term in summands(log[1])])):
        yield added([(a, ("log", inner)), *others])


# ---- products ---------------------------------------------------------------------------------


def powers(node) -> Iterator[object]:
    """A product with one power of every factor."""
    if head(node) not in ("*", "/", "inv", "neg") and head(node)[:3] not in ("pow", "mul", "div"):
        return
    if node[0] == "pow" and isinstance(node[2], float):
        for n in (3, 5):
            above = round(n * node[2])
            if above % n and abs(n * node[2] - above) <= SAME and 1 <= abs(above) <= 5:
                root = (f"pow1_{n}", node[1])
                power = root if abs(above) == 1 else (f"pow{abs(above)}", root)
                yield power if above > 0 else ("inv", power)
    c, parts = parts_of(node)
    merged: list[list] = []
    for base, power in parts:
        same = next((one for one in merged if alike(one[0], base)), None)
        if same is None:
            merged.append([base, power])
        elif same[1] % 1 or power % 1 and not isinstance(base, str):
            return
        else:
            same[1] += power
    kept = [(base, power) for base, power in merged if power]
    if not kept:
        yield c
        return
    yield scaled(c, product(kept))
    yield scaled(c, product(kept, together=True))
    for base, power in kept:
        if head(base) == "exp" and power < 0:  # u/exp(v) as u exp(-v)
            yield scaled(
                c, product([*(part for part in kept if part[0] is not base), (("exp", _negative(base[1])), -power)])
            )
    merged_waves = one_exponential(kept)
    if merged_waves is not kept:
        yield scaled(c, product(merged_waves))


def roots(X: np.ndarray) -> Rule:
    """A rule: sqrt(x^2 u) as x sqrt(u), where x is never negative on the rows; a root of a root as x^(1/4)."""

    def rule(node) -> Iterator[object]:
        if head(node) != "pow1_2":
            return
        if head(node[1]) == "pow1_2":  # the fourth root has no values where the square root has none
            yield ("pow1_4", node[1][1])
        c, parts = parts_of(node[1])
        out = [(base, p) for base, p in parts if p % 2 == 0 and (values_on(base, X) >= 0).all()]
        if out and c > 0:
            left = [part for part in parts if part not in out]
            below = c == 1 and bool(left) and all(p < 0 for _, p in left)
            under = product([(base, -p) for base, p in left]) if below else scaled(c, product(left)) if left else c
            yield product([*((base, p / 2) for base, p in out), (under, -0.5 if below else 0.5)])

    return rule


def inside(node) -> Iterator[object]:
    """x^p (u/x + v)^q as x^(p - q) (u + x v)^q."""
    if head(node) not in ("*", "/", "inv", "+", "-"):
        return
    c, parts = parts_of(node)
    for i, (total, q) in enumerate(parts):
        found = monomials(total) if head(total) in ("+", "-") and q % 1 == 0 else None
        if found is None:
            continue
        below = [(found.trees[base], 0.0) for base, power in found.common() if power < 0]
        for base, p in (*parts[:i], *parts[i + 1 :], *below):
            grown = monomials(("*", total, base)) if p % 1 == 0 else None
            if grown is not None:
                others = [part for k, part in enumerate(parts) if k != i and part[0] is not base]
                left = [(base, p - q)] if p != q else []
                yield scaled(c, product([*others, *left, (written(grown), q)]))


def scales(node) -> Iterator[object]:
    """A product of sums with its number moved: into a sum, out of it, from one to another."""
    if head(node) not in ("*", "/", "inv", "neg") and head(node)[:3] not in ("mul", "div", "pow"):
        return  # a bare sum's number is a matter of `sums`
    if linear(with_text(node)) is not None:
        return
    c, parts = parts_of(node)
    places = [k for k, (base, _) in enumerate(parts) if head(base) in ("+", "-")]
    for k in places:
        base, p = parts[k]
        terms = list(summands(base))
        others = parts[:k] + parts[k + 1 :]
        for a in {abs(a) for a, _ in terms}:
            if a == 1.0:
                continue
            out = added([(b / a, term) for b, term in terms])
            size = c * a**p
            yield scaled(size, product([*others, (out, p)]))
            for i in places:
                if i != k and size > 0:
                    yield product([*(part for j, part in enumerate(parts) if j not in (i, k)), (out, p), _into(parts[i], size)])  # fmt: skip
        if c > 0 and c != 1.0:
            yield product([*others, _into(parts[k], c)])


def _into(part: tuple[object, float], c: float) -> tuple[object, float]:
    """(factor, exponent) of c times that of a sum."""
    base, p = part
    size = c ** (1 / p)
    return added([(size * b, term) for b, term in summands(base)]), p
