"""Sums and fractions of terms in fewer tokens: what is shared taken out, squares completed, wholes parted from quotients.

Goes on where `expression_assembly.combination` ends; looks at no data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

from fansr.proposers.parts import expression_assembly
from fansr.proposers.parts.expression_assembly import (
    ONE,
    Base,
    Factors,
    Term,
    combination,
    common_factors,
    divided,
    merged,
    product,
)


def fraction(above: list[Term], below: list[Term], power: Fraction, base: Factors | None, positive, tolerance) -> Base:
    """product(base) * ((sum above) / (sum below)) ** power, with what both share cancelled, in the plainest scale."""
    forms = []
    for shared in (common_factors(above + below, True), {}):
        halves = [divided(terms, 1.0, shared) for terms in (above, below)]
        # The scale that is plainest above and below at once.
        for scale in expression_assembly.scales([c for terms in halves for c, _ in terms], tolerance, True):
            table = dict(base or {})
            for terms, e in zip(halves, (power, -power)):
                terms = [(expression_assembly.near_simple(c / abs(scale), tolerance), f) for c, f in terms]
                split = common_factors(terms, False)
                if power.denominator % 2 == 0:
                    split = {b: n for b, n in split.items() if positive(b)}
                inner = combination(divided(terms, 1.0, split), ONE, None, positive, tolerance)
                table = merged(table, split, {inner: ONE} if inner != ("1.0",) else {}, powers=(1, e, e))
            forms.append(product(table, positive))
    return min(forms, key=len)


def parted(above: list[Term], below: list[Term]) -> Iterator[tuple[list[Term], list[Term]]]:
    """Ways to write above / below as whole + rest / below with fewer terms in the rest, whole one monomial."""
    for c, f in above:
        for d, g in below:
            whole = merged(f, g, powers=(1, -1))
            if any(e < 0 for e in whole.values()):
                continue
            taken = [(-c / d * e, merged(h, whole)) for e, h in below]
            rest = [
                (value, h) for value, h in expression_assembly.collected([*above, *taken]) if abs(value) > 1e-8 * abs(c)
            ]
            if rest and len(rest) < len(above):
                yield [(c / d, whole)], rest


def short_sum(terms: list[Term], positive=lambda base: True) -> Base:
    """A sum with squares completed and with what many of its terms share taken out, again and again: the shortest of all."""
    forms = [combination(terms, ONE, None, positive)]
    if len(terms) > 2:
        square = completed(terms)
        forms += [_taken_out(terms, positive), combination(square, ONE, None, positive), _taken_out(square, positive)]
    return min(forms, key=len)


def completed(terms: list[Term]) -> list[Term]:
    """The sum with c x^2 + b x + a as c (x + b / 2c)^2 + (a - b^2 / 4c), for every column that stands in both alone."""
    table = {frozenset((b, e) for b, e in f.items() if e): (c, f) for c, f in terms}
    for base in dict.fromkeys(b for _, f in terms for b in f):
        square, line = frozenset({(base, Fraction(2))}), frozenset({(base, Fraction(1))})
        if square in table and line in table:
            (c, _), (b, _) = table.pop(square), table.pop(line)
            shift = b / (2 * c)
            whole = {("-" if shift < 0 else "+", *base, repr(abs(shift))): Fraction(2)}
            table[frozenset(whole.items())] = c, whole
            left = table.pop(frozenset(), (0.0, {}))[0] - c * shift * shift
            if abs(left) > 1e-9 * abs(c) * shift * shift:
                table[frozenset()] = left, {}
    return list(table.values())


def _taken_out(terms: list[Term], positive) -> Base:
    """The sum with its commonest factor taken out of the terms that have it, and so on inside and among the rest."""
    shared = common_factors(terms, False) if len(terms) > 2 else {}
    if shared:
        return product(merged(shared, {_taken_out(divided(terms, 1.0, shared), positive): ONE}), lambda base: False)
    counts = Counter((base, 1 if e > 0 else -1) for _, factors in terms for base, e in factors.items())
    most = max(counts.values(), default=0)
    if len(terms) < 3 or most < 2:
        return combination(terms, ONE, None, positive)
    base, sign = min((key for key, n in counts.items() if n == most), key=str)
    those = [term for term in terms if term[1].get(base, 0) * sign > 0]
    rest = [term for term in terms if term[1].get(base, 0) * sign <= 0]
    return ("+", *_taken_out(those, positive), *_taken_out(rest, positive))
