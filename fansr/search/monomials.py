"""Sums as polynomials: a law's sum multiplied out over its columns and whatever else stands in it, and taken apart into factors.

    a b + 1.5 a + 1.3 b + 1.95    {a b: 1, a: 1.5, b: 1.3, 1: 1.95}    (a + 1.3) (b + 1.5)

Trees are those of law_trees.py.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from fansr.search.law_trees import added, coefficient, factors, joined, scaled, summands

MOST = 24  # terms of a sum that is multiplied out
SAME = 1e-9  # relative difference of coefficients that are one

Key = tuple[tuple[str, int], ...]  # ((what a tree reads, power), ...) in order


class Monomials(dict):
    """Coefficients by their powers of bases.  trees: base -> the tree it stands for."""

    def __init__(self, terms, trees):
        super().__init__(terms)
        self.trees = trees

    def bases(self) -> list[str]:
        """What stands in the terms, in the order met."""
        return list(dict.fromkeys(base for key in self for base, _ in key))

    def having(self, base: str) -> Monomials:
        """The terms that have a base."""
        return Monomials({key: c for key, c in self.items() if any(b == base for b, _ in key)}, self.trees)

    def without(self, others: Monomials) -> Monomials:
        """The terms that are not among others."""
        return Monomials({key: c for key, c in self.items() if key not in others}, self.trees)

    def common(self) -> Key:
        """The least power of every base that no term is without, or that some term is divided by."""
        least = []
        for base in self.bases():
            powers = [dict(key).get(base, 0) for key in self]
            if min(powers):
                least.append((base, min(powers)))
        return tuple(least)

    def over(self, key: Key) -> Monomials:
        """The terms divided by a product of powers."""
        return Monomials({times(k, inverse(key)): c for k, c in self.items()}, self.trees)

    def taken_out(self):
        """A tree: what all terms share times the sum of the rest."""
        common = self.common()
        if not common:
            return None
        return ("*", term_of(common, self.trees), written(self.over(common)))

    def pairs(self, near: float = SAME) -> Iterator[Monomials]:
        """Four terms u v t, u t, v t, t, in this order, whose coefficients a, b, c, d have a d = b c to a share of `near`."""
        for (k1, a), (k4, d) in itertools.permutations(self.items(), 2):
            ratio = times(k1, inverse(k4))
            if len(ratio) != 2 or min(power for _, power in ratio) < 0:
                continue
            u, v = (ratio[0],), (ratio[1],)
            k2, k3 = times(k4, u), times(k4, v)
            if k2 in self and k3 in self and abs(a * d - self[k2] * self[k3]) <= near * abs(a * d):
                yield Monomials({k: self[k] for k in (k1, k2, k3, k4)}, self.trees)

    def triples(self) -> Iterator[Monomials]:
        """Three terms u^2, u v, v^2 with coefficients a, b, c of b^2 = 4 a c."""
        even = [key for key in self if all(power % 2 == 0 for _, power in key) and self[key] > 0]
        for first, last in itertools.combinations(even, 2):
            middle = tuple((base, power // 2) for base, power in times(first, last) if power)
            if middle not in self or middle in (first, last):
                continue
            if abs(self[middle] ** 2 - 4 * self[first] * self[last]) <= SAME * self[middle] ** 2:
                yield Monomials({key: self[key] for key in (first, middle, last)}, self.trees)


def parts_of(node) -> tuple[float, list[tuple[object, float]]]:
    """(number, [(factor, exponent)]) of a product; roots of products stay whole."""
    c, rest = coefficient(node)
    parts = [] if rest is None else list(factors(rest))
    numbers = [(base, power) for base, power in parts if isinstance(base, float) and (base > 0 or power % 1 == 0)]
    for base, power in numbers:
        c *= base**power
    return c, [part for part in parts if part not in numbers]


def product(parts, together: bool = False):
    """The tree of a product of (factor, exponent), those of one exponent under one power if together."""
    if not together:
        return joined(parts)
    by: dict[float, list] = {}
    for base, power in parts:
        by.setdefault(abs(power), []).append((base, 1.0 if power > 0 else -1.0))
    grouped = []
    for size, some in by.items():
        if size == 1 or len(some) == 1:
            grouped += [(base, sign * size) for base, sign in some]
        else:
            turned = all(sign < 0 for _, sign in some)
            grouped.append((joined([(b, -s if turned else s) for b, s in some]), -size if turned else size))
    return joined(grouped)


def term_of(key: Key, trees):
    """The tree of a product of powers, its exponentials as one (1 where they cancel); None of no power."""
    return joined(one_exponential([(trees[base], float(power)) for base, power in key])) if key else None


def one_exponential(parts):
    """[(factor, exponent)] of a product with exp(u)^p exp(v)^q as exp(p u + q v)."""
    grown = [(base, power) for base, power in parts if isinstance(base, tuple) and base[0] == "exp"]
    if not grown or len(grown) == 1 and abs(grown[0][1]) == 1:
        return parts
    inside = added([(power * c, term) for base, power in grown for c, term in summands(base[1])])
    return [*(part for part in parts if part not in grown), *([(("exp", inside), 1.0)] if inside != 0.0 else [])]


def written(found: Monomials):
    """The sum of all terms."""
    return added([(c, term_of(key, found.trees)) for key, c in found.items()])


def monomials(node) -> Monomials | None:
    """A node multiplied out; None where it has too many terms."""
    trees: dict[str, object] = {}
    terms = _multiplied_out(node, trees)
    if terms is None:
        return None
    largest = max(map(abs, terms.values()), default=0.0)
    return Monomials({key: c for key, c in terms.items() if abs(c) > 1e-15 * largest}, trees)


def times(one: Key, other: Key) -> Key:
    """The product of two products of powers."""
    powers = dict(one)
    for base, power in other:
        powers[base] = powers.get(base, 0) + power
    return tuple(sorted((base, power) for base, power in powers.items() if power))


def inverse(key: Key) -> Key:
    """One over a product of powers."""
    return tuple((base, -power) for base, power in key)


def _both(one, other):
    if one is None or other is None or len(one) * len(other) > MOST:
        return None
    found: dict[Key, float] = {}
    for (k, a), (m, b) in itertools.product(one.items(), other.items()):
        key = times(k, m)
        found[key] = found.get(key, 0.0) + a * b
    return found


def _multiplied_out(node, trees):
    if isinstance(node, float):
        return {(): node}
    if isinstance(node, tuple):
        head = node[0]
        if head in ("+", "-"):
            one, other = (_multiplied_out(child, trees) for child in node[1:])
            if one is None or other is None or len(one) + len(other) > MOST:
                return None
            found = dict(one)
            for key, c in other.items():
                found[key] = found.get(key, 0.0) + (c if head == "+" else -c)
            return found
        if head == "neg" or head[:4] == "mult" or head[:3] == "div":
            c, _ = coefficient((head, "x1"))
            return _both({(): c}, _multiplied_out(node[1], trees))
        if head == "*":
            return _both(*(_multiplied_out(child, trees) for child in node[1:]))
        if head in ("/", "inv"):
            below = _multiplied_out(node[-1], trees)
            if below is None:
                return None
            if len(below) > 1:
                below = {((_base(node[-1], trees), 1),): 1.0}
            ((key, c),) = below.items()
            if c == 0:
                return None
            over = {tuple((base, -power) for base, power in key): 1 / c}
            return over if head == "inv" else _both(_multiplied_out(node[1], trees), over)
        if head in ("pow2", "pow3", "pow4", "pow5"):
            one = _multiplied_out(node[1], trees)
            if one is None or (len(one) > 1 and int(head[3:]) > 3):
                return {((_base(node, trees), 1),): 1.0}
            found = one
            for _ in range(int(head[3:]) - 1):
                found = _both(found, one)
            return found
    return {((_base(node, trees), 1),): 1.0}


def _base(node, trees) -> str:
    name = repr(node)
    trees.setdefault(name, node)
    return name


# ---- factors ----------------------------------------------------------------------------------


def factored(found: Monomials | None):
    """A sum as a product, number, powers and sums; None where it has no factor but itself.

    A base that all else stands with in proportion gives a factor; squares and cubes of sums of two are told.
    """
    if found is None or not 2 <= len(found) <= MOST:
        return None
    number, parts = 1.0, []
    common = found.common()
    if common:
        parts += [(found.trees[base], float(power)) for base, power in common]
        found = found.over(common)
    alone = False
    while len(found) > 1 and not alone:
        alone = True
        for base in found.bases():
            q = _proportional(found, base)
            if q is None:
                continue
            factor, rest = q
            parts += _of_powers(factor)
            found, alone = rest, False
            break
    if len(found) == 1:
        ((key, c),) = found.items()
        number *= c
        parts += [(found.trees[base], float(power)) for base, power in key]
    elif (power := _power_of_two(found)) is not None:
        number *= power[0]
        parts.append(power[1:])
    elif parts:
        parts.append((written(found), 1.0))
    return scaled(number, product(parts)) if parts else None


def _power_of_two(found: Monomials):
    """(number, A + B, n) of a sum that is number (A + B)^n, A and B its terms' roots; None of another."""
    n = len(found) - 1
    if n not in (2, 3):
        return None
    ends = [key for key in found if all(power % n == 0 for _, power in key)]
    for first, last in itertools.combinations(ends, 2):
        number = found[first]
        if number < 0 and n == 2:
            continue
        ratio = found[last] / number
        if ratio < 0 and n == 2:
            continue
        r = float(np.cbrt(ratio)) if n == 3 else ratio**0.5
        one, other = (tuple((base, power // n) for base, power in key) for key in (first, last))
        for b in (r, -r) if n == 2 else (r,):
            whole = {
                times(_raised(one, n - k), _raised(other, k)): number * math.comb(n, k) * b**k for k in range(n + 1)
            }
            if whole.keys() == found.keys() and all(abs(whole[key] - c) <= SAME * abs(c) for key, c in found.items()):
                return number, added([(1.0, term_of(one, found.trees)), (b, term_of(other, found.trees))]), float(n)
    return None


def _raised(key: Key, n: int) -> Key:
    return tuple((base, n * power) for base, power in key if n)


def _proportional(found: Monomials, base: str):
    """(the terms of a factor with a base, the sum that it is multiplied with); None where the coefficients of its powers have none.

    The coefficient of every power is one sum times a number and what its terms share: v (x + y) + w x z + w y z is (v + w z) (x + y).
    """
    by: dict[int, dict[Key, float]] = {}
    for key, c in found.items():
        power = dict(key).get(base, 0)
        by.setdefault(power, {})[tuple(item for item in key if item[0] != base)] = c
    if len(by) < 2 or min(by) < 0:
        return None
    top: Monomials | None = None
    terms: dict[Key, float] = {}
    for power in sorted(by, reverse=True):
        some = Monomials(by[power], found.trees)
        content = some.common()
        some = some.over(content)
        if top is None:
            if len(some) < 2:
                return None
            top, lead = some, max(some, key=lambda key: abs(some[key]))
        if some.keys() != top.keys():
            return None
        ratio = some[lead] / top[lead]
        if any(abs(c - ratio * top[key]) > SAME * abs(c) for key, c in some.items()):
            return None
        terms[times(((base, power),) if power else (), content)] = ratio
    return Monomials(terms, found.trees), top


def _of_powers(found: Monomials) -> list[tuple[object, float]]:
    """A factor as the power of a sum where it is one."""
    power = _power_of_two(found)
    if power is not None and power[0] == 1.0:
        return [power[1:]]
    return [(written(found), 1.0)]
