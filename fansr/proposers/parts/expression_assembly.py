"""Expressions put together from factors and terms, in the shortest form this module knows.

Proposers that work with numbers (power, library, structure) find things like ``2.5 * x1^2 * sin(x2)^-1 / x3^2`` as a
coefficient and a table of exponents.  Here such findings become prefix expressions: powers grouped under one root or one
square, common factors pulled out of sums, coefficients 1, 2, ..., 5 and their inverses as Table 5's own tokens.

A *factor table* maps a base (a prefix expression as a tuple of tokens) to its exponent, a Fraction; a *term* is a pair
(coefficient, factor table).  Numbers are written as literals while an expression is built; `finish` turns them into free
constants with their values.  Nothing here looks at data.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import chain

import numpy as np

from fansr.expressions import children, literal_value

Base = tuple[str, ...]
Factors = dict[Base, Fraction]
Term = tuple[float, Factors]
Ratio = tuple[int, int]  # an exponent p / q in lowest terms, q > 0

ONE, HALF = Fraction(1), Fraction(1, 2)
# Integer powers as chains of pow2..pow5; 7, 11, 13, ... are not reached and take `pow` with a number.
CHAINS = {a * b: (f"pow{a}", f"pow{b}") for a in (5, 4, 3, 2) for b in (5, 4, 3, 2)}
CHAINS |= {1: (), **{a: (f"pow{a}",) for a in (2, 3, 4, 5)}}
ROOTS = {1: (), **{q: (f"pow1_{q}",) for q in (2, 3, 4, 5)}}
MULTIPLES = {1.0: (), **{float(k): (f"mult{k}",) for k in (2, 3, 4, 5)}, **{1 / k: (f"div{k}",) for k in (2, 3, 4, 5)}}
_TAKEN_APART = {"inv", "pow2", "pow3", "pow5", "*", "/"}  # operators whose operands are factors themselves
SIMPLE = tuple(MULTIPLES)  # the numbers that need no constant


# ---- numbers ----------------------------------------------------------------------------------


def scale_of(y: np.ndarray) -> float:
    """The largest |y|, or 1 where all are 0: what y is divided by before squares are taken."""
    return float(np.abs(y).max()) or 1.0


def nearest(value: float, denominators) -> Fraction:
    """The fraction with one of these denominators that is nearest to `value`, the smaller denominator on ties."""
    fractions = (Fraction(round(float(value) * q), q) for q in denominators)
    return min(fractions, key=lambda f: (abs(f - value), f.denominator))


def simple_numbers(c: float) -> list[float]:
    """1..5 and 1/2..1/5, with c's sign, that lie within a factor of 1.2 of c."""
    return [math.copysign(v, c) for v in SIMPLE if 1 / 1.2 < abs(c) / v < 1.2]


def near_simple(value: float, tolerance: float) -> float:
    """`value`, or the number among 1..5, 1/2..1/5 (and their negatives) that it equals within a relative tolerance."""
    size = abs(value)
    for simple in SIMPLE:
        if abs(size - simple) <= tolerance * simple:
            return math.copysign(simple, value)
    return value


# ---- factor tables ----------------------------------------------------------------------------


def merged(*tables: Factors, powers=None) -> Factors:
    """The product of factor tables, each to one of `powers`; what cancels is gone."""
    found: Factors = {}
    for table, power in zip(tables, powers or (1,) * len(tables)):
        for base, e in table.items():
            e = e if power == 1 else -e if power == -1 else e * power
            found[base] = found[base] + e if base in found else e
    return {base: e for base, e in found.items() if e}


# ---- powers and products ----------------------------------------------------------------------


def powered(base: Base, exponent: Fraction) -> Base:
    """base ** exponent for an exponent > 0, by chains of the table's powers and roots where they reach."""
    return _powered(base, (exponent.numerator, exponent.denominator))


def _powered(base: Base, exponent: Ratio) -> Base:
    p, q = exponent
    if p == q == 1:
        return base
    if p in CHAINS and q in ROOTS:
        return (*CHAINS[p], *ROOTS[q], *base)
    return ("pow", *base, repr(p / q))


def joined(token: str, parts: list[Base]) -> Base:
    """parts[0] token parts[1] token ... for + or *."""
    return parts[0] if len(parts) == 1 else (*(token,) * (len(parts) - 1), *chain.from_iterable(parts))


def quotient(over: list[Base], under: list[Base]) -> Base:
    """Product of `over` divided by the product of `under`; () when both are empty."""
    if not under:
        return joined("*", over) if over else ()
    if not over:
        return ("inv", *joined("*", under))
    return ("/", *joined("*", over), *joined("*", under))


def product(factors: Factors, positive: Callable[[Base], bool] = lambda base: True) -> Base:
    """Shortest known form of the product of base ** exponent; () for the empty product.

    Bases that are not `positive` never share a root with others, since sqrt(a*b) is not sqrt(a)*sqrt(b) there.
    """
    return _product([(base, e.numerator, e.denominator) for base, e in factors.items()], positive)


def _product(factors: list[tuple[Base, int, int]], positive: Callable[[Base], bool]) -> Base:
    """product() of base ** (p / q) for (base, p, q): pairs of whole numbers, since Fractions take most of the time here."""
    table: dict[Base, Ratio] = {}
    waiting = factors[::-1]
    while waiting:
        base, p, q = waiting.pop()
        head = base[0]
        if head not in _TAKEN_APART or q != 1 and head in ("pow2", "*", "/"):
            if base in table:
                a, b = table[base]
                p, q = a * q + p * b, b * q
                common = math.gcd(p, q)
                p, q = p // common, q // common
            table[base] = p, q
        elif head == "inv":
            waiting.append((base[1:], -p, q))
        elif head[:3] == "pow":
            n = int(head[3:])
            common = math.gcd(n, q)
            waiting.append((base[1:], p * (n // common), q // common))
        else:
            first, second = children(list(base))
            waiting += [(base[second:], p if head == "*" else -p, q), (base[first:second], p, q)]
    return _shortest({base: e for base, e in table.items() if e[0]}, positive)


def _shortest(table: dict[Base, Ratio], positive: Callable[[Base], bool]) -> Base:
    """product() of what cannot be taken apart."""
    forms = [_grouped(table, positive)]
    roots = {q for _, q in table.values()} - {1}
    if roots and all(map(positive, table)):
        for n in (2, 3, 4, 5):
            if all(n % root == 0 for root in roots):
                inner = [(base, p * (n // q), 1) for base, (p, q) in table.items()]
                forms.append((*ROOTS[n], *_product(inner, positive)))
    if not roots and len(table) > 1 and len({abs(p) for p, _ in table.values()}) > 1:
        shared = math.gcd(*(p for p, _ in table.values()))
        for n in (2, 3, 4, 5) if shared > 1 else ():
            if shared % n == 0:
                forms.append((f"pow{n}", *_shortest({base: (p // n, 1) for base, (p, _) in table.items()}, positive)))
    return min(forms, key=len)


def _grouped(table: dict[Base, Ratio], positive) -> Base:
    """Factors of the same |exponent| under one power: x^2 y^2 / z^2 as pow2(x*y/z)."""
    over: list[Base] = []
    under: list[Base] = []
    sizes = {(abs(p), q) for p, q in table.values()}
    for size in sorted(sizes, key=lambda e: e[0] / e[1]) if len(sizes) > 1 else sizes:
        opposite = (-size[0], size[1])
        up = [b for b, e in table.items() if e == size]
        down = [b for b, e in table.items() if e == opposite]
        if size == (1, 1):
            over += up
            under += down
        elif size[1] > 1 and not all(map(positive, up + down)):
            over += [_powered(b, size) for b in up]
            under += [_powered(b, size) for b in down]
        elif up:
            over.append(_powered(quotient(up, down), size))
        else:
            under.append(_powered(joined("*", down), size))
    return quotient(over, under)


def times(coefficient: float, expr: Base) -> Base:
    """coefficient * expr, with multN, divN and neg for small whole numbers; expr () stands for 1."""
    if not expr:
        return (repr(float(coefficient)),)
    sign = () if coefficient > 0 else ("neg",)
    size = abs(coefficient)
    if size in MULTIPLES:
        return (*sign, *MULTIPLES[size], *expr)
    if expr[0] == "inv":
        return ("/", repr(float(coefficient)), *expr[1:])
    return ("*", repr(float(coefficient)), *expr)


# ---- sums -------------------------------------------------------------------------------------


def total(terms: list[Term], positive=lambda base: True) -> Base:
    """coefficient_1 * product_1 + ... as written, without pulling anything out."""
    return _total([c for c, _ in terms], [product(f, positive) for _, f in terms])


def _total(coefficients: list[float], parts: list[Base]) -> Base:
    plus = [times(c, part) for c, part in zip(coefficients, parts) if c > 0]
    minus = [times(-c, part) for c, part in zip(coefficients, parts) if c < 0]
    # Numbers go last, as people write them.
    plus.sort(key=lambda e: len(e) == 1 and literal_value(e[0]) is not None)
    if not plus:
        return ("neg", *joined("+", minus)) if minus else ("0.0",)
    if not minus:
        return joined("+", plus)
    return ("-", *joined("+", plus), *joined("+", minus))


def common_factors(terms: list[Term], clear: bool) -> Factors:
    """What all terms share: for each base the exponent nearest to 0 if all have one sign, else nothing.

    With `clear` also negative exponents that only some terms have, so that a sum of fractions gets one denominator.
    """
    shared = {}
    tables = [factors for _, factors in terms]
    for base in dict.fromkeys(base for table in tables for base in table):  # in the order they are written
        exponents = {table[base] for table in tables if base in table and table[base]}
        everywhere = all(base in table and table[base] for table in tables)
        ups = sum(e > 0 for e in exponents)
        if everywhere and ups == len(exponents) or clear and ups < len(exponents):
            shared[base] = min(exponents)
        elif everywhere and not ups:
            shared[base] = max(exponents)
    return shared


def divided(terms: list[Term], coefficient: float, factors: Factors) -> list[Term]:
    """Every term divided by coefficient * product(factors)."""
    return [(c / coefficient, merged(table, factors, powers=(1, -1))) for c, table in terms]


def collected(terms: list[Term]) -> list[Term]:
    """Terms with the same factors added up; what cancels to rounding is gone."""
    sums: dict[frozenset, tuple[list[float], Factors]] = {}
    for c, factors in terms:
        factors = {b: e for b, e in factors.items() if e}
        sums.setdefault(frozenset(factors.items()), ([], factors))[0].append(c)
    return [(math.fsum(cs), f) for cs, f in sums.values() if abs(math.fsum(cs)) > 1e-9 * max(map(abs, cs))]


def rewritten(terms: list[Term]) -> list[list[Term]]:
    """The same sum in other dresses: as it is, squares of sums multiplied out, sin^2 as 1 - cos^2, and perfect squares."""
    found = [terms]
    for matches, sums in (
        (lambda b: b[0] == "pow2" and b[1] in "+-" and len(b) == 4 and len(terms) > 1, _square_of_two),
        (lambda b: b[:2] == ("pow2", "sin"), lambda b: [(1, {}), (-1, {("cos", *b[2:]): Fraction(2)})]),
    ):
        if any(matches(b) for _, f in terms for b in f):
            wide: list[Term] = []
            for c, f in terms:
                base = next((b for b, e in f.items() if e == 1 and matches(b)), None)
                rest = {b: e for b, e in f.items() if b != base}
                wide += [(c * k, merged(rest, extra)) for k, extra in (sums(base) if base else [(1, {})])]
            found.append(collected(wide))
    found += [square for alike in list(found) for square in perfect_squares(alike)]
    return [alike for alike in found if alike]


def _square_of_two(base: Base) -> list[Term]:
    """(a -+ b)^2 as a^2 -+ 2ab + b^2."""
    _, sign, *(a, b) = base
    one, two = Fraction(1), Fraction(2)
    return [(1, {(a,): two}), (1, {(b,): two}), (-2 if sign == "-" else 2, {(a,): one, (b,): one})]


def perfect_squares(terms: list[Term]) -> list[list[Term]]:
    """Sums in which c a^2 -+ 2 c a b + c b^2, for two columns and any common factors, has become c (a -+ b)^2."""
    if len(terms) < 3 or not any(sum(len(base) == 1 for base in f) > 1 for _, f in terms):
        return []
    table = {frozenset(f.items()): (c, f) for c, f in terms}
    left = dict(table)
    for key, (c, factors) in table.items():
        for a, b in [(a, b) for a in factors for b in factors if a < b and len(a) == len(b) == 1]:
            ends = [frozenset(merged(factors, {a: ONE, b: -ONE}, powers=(1, way)).items()) for way in (1, -1)]
            if key not in left or not all(end in left for end in ends):
                continue
            first, second = (left[end][0] for end in ends)
            if abs(first - second) < 1e-9 * abs(first) and abs(abs(c) - 2 * abs(first)) < 1e-9 * abs(c):
                for gone in (*ends, key):
                    del left[gone]
                square = ("pow2", "-" if c * first < 0 else "+", *a, *b)
                whole = merged(factors, {a: -ONE, b: -ONE, square: ONE})
                left[frozenset(whole.items())] = first, whole
    return [list(left.values())] if len(left) < len(table) else []


def combination(
    terms: list[Term],
    outer: Fraction = ONE,
    base: Factors | None = None,
    positive=lambda base: True,
    tolerance: float = 1e-9,
) -> Base:
    """product(base) * (sum of terms) ** outer in the shortest form found.

    Tried are: which common factors and which coefficient come out of the sum.  A coefficient comes out of an even root
    only if it is positive, a factor only if it is `positive`.  Ratios of coefficients within `tolerance` of a small whole
    number or its inverse are taken for it.
    """
    terms = [(c, f) for c, f in terms if c != 0 and math.isfinite(c)]
    if not terms:
        return ("0.0",)
    even_root = outer.denominator % 2 == 0
    forms = []
    if len(terms) == 1:
        c, factors = terms[0]
        if even_root and (c < 0 or not all(map(positive, factors))):
            return _wrapped(total(terms, positive), outer, base, 1.0, positive, tolerance)
        table = merged(base or {}, factors, powers=(1, outer))
        return times(near_simple(_power(c, outer), tolerance), product(table, positive))
    ways: list[tuple[list[Term], Factors]] = []
    for alike in rewritten(terms):
        for shared in ({}, common_factors(alike, False), common_factors(alike, True)):
            if even_root:
                shared = {b: e for b, e in shared.items() if positive(b)}
            if (alike, shared) not in ways:
                ways.append((alike, shared))
    for alike, shared in ways:
        rest = divided(alike, 1.0, shared)
        parts = [product(f, positive) for _, f in rest]
        table = merged(base or {}, shared, powers=(1, outer))
        for scale in scales([c for c, _ in rest], tolerance, even_root):
            inner = [near_simple(c / scale, tolerance) for c, _ in rest]
            if all(math.isfinite(c) and c != 0 for c in inner):
                forms.append(_wrapped(_total(inner, parts), outer, table, _power(scale, outer), positive, tolerance))
    # Of equal lengths the one with fewer numbers in it.
    least = min(map(len, forms))
    return min((e for e in forms if len(e) == least), key=lambda e: sum(literal_value(t) is not None for t in e))


def scales(coefficients: list[float], tolerance: float, positive: bool, count: int = 2) -> list[float]:
    """What to divide coefficients by: 1, and those of them (or their negatives) that leave most others simple."""
    choices = [c for c in coefficients if c > 0 or not positive] + [-c for c in coefficients if c < 0 and positive]

    def numbers_left(scale: float) -> int:
        ratios = [near_simple(c / scale, tolerance) for c in coefficients]
        return sum(3 if abs(r) not in SIMPLE else int(abs(r) != 1) for r in ratios)

    choices.sort(key=lambda c: (numbers_left(c), c < 0))
    return list(dict.fromkeys([1.0, *choices[:count]]))


def _power(value: float, exponent: Fraction) -> float:
    """value ** exponent in floats; negative values only under odd roots and whole powers."""
    try:
        size = abs(value) ** float(exponent)
    except (OverflowError, ZeroDivisionError):
        return math.inf
    return size if value > 0 or exponent.numerator % 2 == 0 else -size


def _wrapped(inner: Base, outer: Fraction, base: Factors | None, coefficient: float, positive, tolerance) -> Base:
    """coefficient * product(base) * inner ** outer."""
    if not math.isfinite(coefficient) or coefficient == 0:
        return ("0.0",) * 10_000  # never the shortest
    if inner[0] == "neg" and outer.numerator % 2 and outer.denominator % 2:
        inner, coefficient = inner[1:], -coefficient
    table = merged(base or {}, {inner: outer})
    return times(near_simple(coefficient, tolerance), product(table, lambda b: b != inner and positive(b)))
