"""Expressions put together from factors and terms, in the shortest form this module knows.

Proposers that work with numbers (power, library, structure) find things like ``2.5 * x1^2 * sin(x2)^-1 / x3^2`` as a
coefficient and a table of exponents.  Here such findings become prefix expressions: powers grouped under one root or one
square, common factors pulled out of sums, coefficients 1, 2, ..., 5 and their inverses as Table 5's own tokens.

A *factor table* maps a base (a prefix expression as a tuple of tokens) to its exponent, a Fraction; a *term* is a pair
(coefficient, factor table).  Numbers are written as literals while an expression is built; `finish` turns them into free
constants with their values.  Nothing here looks at data, except `measured`, which fits nothing and only computes FVUs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from fansr.expressions import CONSTANT, free, literal_value
from fansr.fitting import Candidate, Problem

Base = tuple[str, ...]
Factors = dict[Base, Fraction]
Term = tuple[float, Factors]

ONE, HALF = Fraction(1), Fraction(1, 2)
# Integer powers as chains of pow2..pow5; 7, 11, 13, ... are not reached and take `pow` with a number.
CHAINS = {1: ()}
for _a in (2, 3, 4, 5):
    CHAINS[_a] = (f"pow{_a}",)
for _a in (2, 3, 4, 5):
    for _b in (2, 3, 4, 5):
        CHAINS.setdefault(_a * _b, (f"pow{_a}", f"pow{_b}"))
_SIMPLE = (1.0, 2.0, 3.0, 4.0, 5.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5)
ROOTS = {1: (), 2: ("pow1_2",), 3: ("pow1_3",), 4: ("pow1_4",), 5: ("pow1_5",)}


# ---- powers and products ----------------------------------------------------------------------


def powered(base: Base, exponent: Fraction) -> Base:
    """base ** exponent for an exponent > 0, by chains of the table's powers and roots where they reach."""
    if exponent == 1:
        return base
    p, q = exponent.numerator, exponent.denominator
    if p in CHAINS and q in ROOTS:
        return (*CHAINS[p], *ROOTS[q], *base)
    return ("pow", *base, repr(float(exponent)))


def joined(token: str, parts: list[Base]) -> Base:
    """parts[0] token parts[1] token ... for + or *."""
    return (token,) * (len(parts) - 1) + tuple(t for part in parts for t in part)


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
    table: Factors = {}
    for base, e in factors.items():
        e = Fraction(e)
        while base[0] == "inv" or (base[0] in ("pow3", "pow5") or (base[0] == "pow2" and e.denominator == 1)):
            e = -e if base[0] == "inv" else e * int(base[0][3:])
            base = base[1:]
        table[base] = table.get(base, Fraction(0)) + e
    table = {base: e for base, e in table.items() if e != 0}
    if not table:
        return ()
    forms = [_grouped(table, positive)]
    if all(map(positive, table)):
        for q in (2, 3, 4, 5):
            if all((e * q).denominator == 1 for e in table.values()) and any(
                e.denominator != 1 for e in table.values()
            ):
                forms.append((*ROOTS[q], *product({b: e * q for b, e in table.items()}, positive)))
    for g in (2, 3, 4, 5):
        whole = all(e.denominator == 1 and e.numerator % g == 0 for e in table.values())
        if whole and len(table) > 1 and len({abs(e) for e in table.values()}) > 1:
            forms.append((f"pow{g}", *product({b: e / g for b, e in table.items()}, positive)))
    return min(forms, key=len)


def _grouped(table: Factors, positive) -> Base:
    """Factors of the same |exponent| under one power: x^2 y^2 / z^2 as pow2(x*y/z)."""
    over: list[Base] = []
    under: list[Base] = []
    for size in sorted({abs(e) for e in table.values()}):
        shared = size.denominator == 1 or all(positive(b) for b, e in table.items() if abs(e) == size)
        up = [b for b, e in table.items() if e == size]
        down = [b for b, e in table.items() if e == -size]
        if size == 1:
            over += up
            under += down
        elif not shared:
            over += [powered(b, size) for b in up]
            under += [powered(b, size) for b in down]
        elif up and down:
            over.append(powered(quotient(up, down), size))
        elif up:
            over.append(powered(joined("*", up), size))
        else:
            under.append(powered(joined("*", down), size))
    return quotient(over, under)


def times(coefficient: float, expr: Base) -> Base:
    """coefficient * expr, with multN, divN and neg for small whole numbers; expr () stands for 1."""
    if not expr:
        return (repr(float(coefficient)),)
    sign = () if coefficient > 0 else ("neg",)
    size = abs(coefficient)
    if size == 1:
        return (*sign, *expr)
    if size in (2, 3, 4, 5):
        return (*sign, f"mult{int(size)}", *expr)
    for k in (2, 3, 4, 5):
        if size == 1 / k:
            return (*sign, f"div{k}", *expr)
    if expr[0] == "inv":
        return ("/", repr(float(coefficient)), *expr[1:])
    return ("*", repr(float(coefficient)), *expr)


# ---- sums -------------------------------------------------------------------------------------


def total(terms: list[Term], positive=lambda base: True) -> Base:
    """coefficient_1 * product_1 + ... as written, without pulling anything out."""
    plus = [times(c, product(f, positive)) for c, f in terms if c > 0]
    minus = [times(-c, product(f, positive)) for c, f in terms if c < 0]
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
    bases = {base for _, factors in terms for base in factors}
    shared = {}
    for base in bases:
        exponents = [factors.get(base, Fraction(0)) for _, factors in terms]
        low, high = min(exponents), max(exponents)
        if low > 0:
            shared[base] = low
        elif high < 0:
            shared[base] = high if not clear else low
        elif clear and low < 0:
            shared[base] = low
    return shared


def divided(terms: list[Term], coefficient: float, factors: Factors) -> list[Term]:
    """Every term divided by coefficient * product(factors)."""
    rest = []
    for c, table in terms:
        bases = {**table, **{b: Fraction(0) for b in factors if b not in table}}
        rest.append((c / coefficient, {b: e - factors.get(b, 0) for b, e in bases.items() if e != factors.get(b, 0)}))
    return rest


def near_simple(value: float, tolerance: float) -> float:
    """`value`, or the number among 1..5, 1/2..1/5 (and their negatives) that it equals within a relative tolerance."""
    size = abs(value)
    for simple in _SIMPLE:
        if abs(size - simple) <= tolerance * simple:
            return math.copysign(simple, value)
    return value


def collected(terms: list[Term]) -> list[Term]:
    """Terms with the same factors added up; what cancels to rounding is gone."""
    sums: dict[frozenset, list[float]] = {}
    for c, factors in terms:
        sums.setdefault(frozenset((b, e) for b, e in factors.items() if e), []).append(c)
    return [(math.fsum(cs), dict(key)) for key, cs in sums.items() if abs(math.fsum(cs)) > 1e-9 * max(map(abs, cs))]


def rewritten(terms: list[Term]) -> list[list[Term]]:
    """The same sum in other dresses: as it is, squares of sums multiplied out, sin^2 as 1 - cos^2, and perfect squares."""
    found = [terms]
    squares = [b for _, f in terms for b in f if b[:2] in (("pow2", "-"), ("pow2", "+")) and len(b) == 4]
    if squares and len(terms) > 1:
        wide: list[Term] = []
        for c, f in terms:
            inside = [b for b in f if b in squares and f[b] == 1]
            if not inside:
                wide.append((c, f))
                continue
            (_, sign, *two), rest = inside[0], {b: e for b, e in f.items() if b != inside[0]}
            first, second = (two[0],), (two[1],)
            for factor, extra in ((1, {first: 2}), (1, {second: 2}), (-2 if sign == "-" else 2, {first: 1, second: 1})):
                table = dict(rest)
                for b, e in extra.items():
                    table[b] = table.get(b, Fraction(0)) + e
                wide.append((factor * c, table))
        found.append(collected(wide))
    if any(b[:2] == ("pow2", "sin") and e == 1 for _, f in terms for b, e in f.items()):
        other: list[Term] = []
        for c, f in terms:
            hit = [b for b, e in f.items() if b[:2] == ("pow2", "sin") and e == 1]
            rest = {b: e for b, e in f.items() if b not in hit[:1]}
            other += [(c, rest), (-c, {**rest, ("cos", *hit[0][2:]): Fraction(2)})] if hit else [(c, f)]
        found.append(collected(other))
    found += [square for alike in list(found) for square in perfect_squares(alike)]
    return [alike for alike in found if alike]


def perfect_squares(terms: list[Term]) -> list[list[Term]]:
    """Sums in which c a^2 -+ 2 c a b + c b^2, for two columns and any common factors, has become c (a -+ b)^2."""
    if len(terms) < 3:
        return []
    table = {frozenset(f.items()): c for c, f in terms}
    merged = dict(table)
    for key, c in table.items():
        factors = dict(key)
        pairs = [(a, b) for a in factors for b in factors if a < b and len(a) == len(b) == 1]
        for a, b in pairs:
            rest = {x: e for x, e in factors.items() if x not in (a, b)}

            def shifted(da: int, db: int) -> frozenset:
                moved = {**rest, a: factors[a] + da, b: factors[b] + db}
                return frozenset((x, e) for x, e in moved.items() if e)

            left, right = shifted(1, -1), shifted(-1, 1)
            ends = merged.get(left), merged.get(right)
            if (
                key in merged
                and None not in ends
                and abs(ends[0] - ends[1]) < 1e-9 * abs(ends[0])
                and abs(abs(c) - 2 * abs(ends[0])) < 1e-9 * abs(c)
            ):
                for gone in (left, right, key):
                    del merged[gone]
                square = ("pow2", "-" if c * ends[0] < 0 else "+", *a, *b)
                outside = {**rest, a: factors[a] - 1, b: factors[b] - 1, square: Fraction(1)}
                merged[frozenset((x, e) for x, e in outside.items() if e)] = ends[0]
    return [[(c, dict(key)) for key, c in merged.items()]] if len(merged) < len(table) else []


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
        table = dict(base or {})
        for b, e in factors.items():
            table[b] = table.get(b, Fraction(0)) + e * outer
        return times(near_simple(_power(c, outer), tolerance), product(table, positive))
    ways = [
        (alike, shared)
        for alike in rewritten(terms)
        for shared in ({}, common_factors(alike, False), common_factors(alike, True))
    ]
    for alike, shared in ways:
        if even_root:
            shared = {b: e for b, e in shared.items() if positive(b)}
        rest = divided(alike, 1.0, shared)
        for scale in scales([c for c, _ in rest], tolerance, even_root):
            inner = [(near_simple(c / scale, tolerance), f) for c, f in rest]
            if not all(math.isfinite(c) and c != 0 for c, _ in inner):
                continue
            table = dict(base or {})
            for b, e in shared.items():
                table[b] = table.get(b, Fraction(0)) + e * outer
            forms.append(_wrapped(total(inner, positive), outer, table, _power(scale, outer), positive, tolerance))
    # Of equal lengths the one with fewer numbers in it.
    return min(forms, key=lambda e: (len(e), sum(literal_value(t) is not None for t in e)))


def scales(coefficients: list[float], tolerance: float, positive: bool, count: int = 2) -> list[float]:
    """What to divide coefficients by: 1, and those of them (or their negatives) that leave most others simple."""
    choices = [c for c in coefficients if c > 0 or not positive] + [-c for c in coefficients if c < 0 and positive]

    def numbers_left(scale: float) -> int:
        ratios = [near_simple(c / scale, tolerance) for c in coefficients]
        return sum(3 if abs(r) not in _SIMPLE else int(abs(r) != 1) for r in ratios)

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
    table = dict(base or {})
    table[inner] = table.get(inner, Fraction(0)) + outer
    return times(near_simple(coefficient, tolerance), product(table, lambda b: b != inner and positive(b)))


# ---- candidates -------------------------------------------------------------------------------


def finish(expr: Base | list[str], source: str, fvu: float = math.inf) -> Candidate:
    """A candidate whose literals have become free constants with their values."""
    freed, values = free(list(expr))
    return Candidate(expr=freed, consts=np.array(values, dtype=np.float64), fvu=fvu, source=source)


@np.errstate(all="ignore")
def fvu_of(y: np.ndarray, values: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Fraction of variance unexplained (equation 8), weighted if asked; infinite where a value is not finite.

    y and values are scaled by max|y| first, so that 1e200 does not overflow.  A constant y counts as fully explained by
    values equal to it to rounding, else not at all.
    """
    if not np.isfinite(values).all():
        return math.inf
    scale = float(np.abs(y).max()) or 1.0
    w = np.ones_like(y) if weights is None else weights
    with np.errstate(over="ignore"):
        residual = float(w @ (y / scale - values / scale) ** 2)
    centre = float(w @ (y / scale)) / float(w.sum())
    variance = float(w @ (y / scale - centre) ** 2)
    if variance == 0.0:
        return 0.0 if residual <= 1e-28 * float(w.sum()) else math.inf
    return residual / variance if math.isfinite(residual) else math.inf


def measured(problem: Problem, exprs, source: str, X=None, y=None) -> list[Candidate]:
    """Candidates of expressions with literals, with their FVU on all points (or on X, y); the hopeless are left out."""
    from fansr.expressions import evaluate_many

    found = [finish(expr, source) for expr in exprs if len(expr) < 1000]
    if not found:
        return []
    X, y = (problem.X, problem.y) if X is None else (X, y)
    values = evaluate_many([c.expr for c in found], X, [c.consts for c in found])  # (K, M)
    for candidate, row in zip(found, values):
        candidate.fvu = fvu_of(y, row, problem.weights if y is problem.y else None)
    return [candidate for candidate in found if candidate.fvu < math.inf]


class Polisher:
    """Refits the promising of many candidates to y itself: regressions in transformed targets weigh errors their own way."""

    def __init__(self, problem: Problem):
        self.problem = problem
        self.refiner = None
        self.best = math.inf

    def __call__(self, candidates: list[Candidate], count: int = 2, margin: float = 1.0) -> list[Candidate]:
        """The same candidates, up to `count` of them polished: those within `margin` of the best score seen, if inexact."""
        candidates = sorted(candidates, key=rough_score)
        for candidate in candidates[:count]:
            value = rough_score(candidate)
            hopeful = value < self.best + margin and candidate.fvu > 1e-20
            if hopeful and 0 < len(candidate.consts) <= min(12, len(self.problem.y) - 1):
                if self.refiner is None:
                    from fansr.fitting import Refiner

                    self.refiner = Refiner(self.problem.X, self.problem.y, weights=self.problem.weights)
                self._refit(candidate)
            self.best = min(self.best, rough_score(candidate))
        return candidates

    def _refit(self, candidate: Candidate) -> None:
        """Polish one candidate in place; constants that are exactly 1 belong to its form and stay."""
        held = candidate.consts == 1.0
        values = iter(held)
        expr = ["1.0" if token == CONSTANT and next(values) else token for token in candidate.expr]
        if held.all():
            return
        fvu, consts = self.refiner.polish(expr, candidate.consts[~held])
        if fvu < candidate.fvu:
            candidate.fvu = float(fvu)
            candidate.consts[~held] = consts


def rough_score(candidate: Candidate) -> float:
    """Equation 3's order among a proposer's own candidates."""
    return math.log10(max(candidate.fvu, 1e-26)) + 0.05 * candidate.length
