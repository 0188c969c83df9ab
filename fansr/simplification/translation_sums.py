"""Tokens of Table 5 for sums and products with signs, coefficients, powers and free constants.

What translation.py and translation_powers.py end in: there terms and factors are brought together, here what they became is
spelled, in as few tokens as possible and the same way whatever the order it came in.

Things to be spelled ("items") are tuples whose first entry says what they are:

    (ATOM, tokens, flip)                      nothing a product or sum could merge with
    (PRODUCT, sign, p, q, const, factors)     sign * p/q * (free constant?) * prod base^(n/d)
    (SUM, terms, const, scalable)             sum of sign * tokens (+ free constant?)
    (NUMBER, p, q)                            a rational literal
    (CONST, value)                            free of variables; value is None where it is free

`factors` lists (base tokens, n, d, flip); n = d = 0 is an exponent that is a free constant.  `terms`
lists (sign, tokens, flip); a scalable sum has a free constant, alone and before each term, so that it
takes in any coefficient.  A sign is 1, -1 or 0: 0 where a free constant inside can take in either.
`flip` says what the negated thing looks like at the same length: None if that costs a token, EITHER if
it looks the same (sin(C*x)), else a function that gives its tokens (a - b turns round).
"""

from __future__ import annotations

import functools
import math
from itertools import combinations_with_replacement

from fansr.expressions import CONSTANT

ATOM, PRODUCT, SUM, NUMBER, CONST = range(5)
FREE = (CONST, None)
_C = (CONSTANT,)
EITHER = object()


# ---- tables -----------------------------------------------------------------------------------


def _coefficients() -> dict[tuple[int, int], tuple[str, ...]]:
    """Shortest spelling of every coefficient p/q that one or two of mult2..div5 can make."""
    table: dict[tuple[int, int], tuple[str, ...]] = {(1, 1): ()}
    steps = [("mult", k) for k in (2, 3, 4, 5)] + [("div", k) for k in (2, 3, 4, 5)]
    for size in (1, 2):
        for chosen in combinations_with_replacement(steps, size):
            p = math.prod(k for way, k in chosen if way == "mult")
            q = math.prod(k for way, k in chosen if way == "div")
            g = math.gcd(p, q)
            table.setdefault((p // g, q // g), tuple(f"{way}{k}" for way, k in chosen))
    return table


def _chains(prefix: str, most: int) -> dict[int, tuple[str, ...]]:
    """Shortest chain of prefix2..prefix5 for every product of up to `most` of 2..5."""
    table: dict[int, tuple[str, ...]] = {1: ()}
    for size in range(1, most + 1):
        for chosen in combinations_with_replacement((2, 3, 4, 5), size):
            table.setdefault(math.prod(chosen), tuple(f"{prefix}{k}" for k in chosen))
    return table


COEFFICIENT = _coefficients()
VALUE_OF = {tokens: value for value, tokens in COEFFICIENT.items()}
_SINGLE = [value for value, tokens in COEFFICIENT.items() if len(tokens) == 1]
POWER = _chains("pow", 3)
ROOT = _chains("pow1_", 3)
# n -> the k with a^n = (a^(n/k))^k at no more tokens, n itself first
_PARTS = {
    n: [n]
    + [
        k
        for k in sorted(POWER, reverse=True)
        if 1 < k < n and n % k == 0 and n // k in POWER and len(POWER[k]) + len(POWER[n // k]) == len(POWER[n])
    ]
    for n in POWER
    if n > 1
}


def _exact_root(number: int, k: int) -> int | None:
    """The integer r with r**k == number, or None."""
    if number == 1:
        return 1
    r = round(number ** (1.0 / k)) if number < 1 << 53 else 0
    return r if r > 1 and r**k == number else None


# ---- items to tokens --------------------------------------------------------------------------


class Speller:
    """Spells items; `changed` tells whether a pass more of the engine may find more to do."""

    changed = False

    def _signed(self, item):
        """(sign, tokens of the absolute thing, flip) of an item."""
        tag = item[0]
        if tag == ATOM:
            return (0, item[1], None) if item[2] is EITHER else (1, item[1], item[2])
        if tag == PRODUCT:
            return self._spell_product(*item[1:])
        if tag == SUM:
            return self._spell_sum(item[1], item[2])
        return 0, _C, None

    def _plain(self, item) -> tuple[str, ...]:
        if item[0] == ATOM:
            return item[1]
        sign, tokens, flip = self._signed(item)
        if sign >= 0:
            return tokens
        return flip() if flip is not None else ("neg",) + tokens

    def _spell_sum(self, terms, const):
        """(sign, tokens, flip) of a sum; the sign comes out where nothing in the sum can take it in."""
        plus, minus = [], []
        for sign, tokens, _ in terms:
            if sign > 0:
                plus.append(tokens)
            elif sign:
                minus.append(tokens)
        if const or len(plus) + len(minus) < len(terms):
            free = [tokens for sign, tokens, _ in terms if not sign]
            tokens = _spell_difference(plus + free, minus, const)
            if plus or minus:
                return 1, tokens, lambda: _spell_difference(minus + free, plus, const)
            return 0, tokens, None
        if plus and minus:
            return 1, _spell_difference(plus, minus, False), lambda: _spell_difference(minus, plus, False)
        flip = None
        if any(flip is not None for _, _, flip in terms):
            flip = functools.partial(_turned, terms)
        return (1, _join("+", plus), flip) if plus else (-1, _join("+", minus), flip)

    def _spell_product(self, sign, p, q, const, factors):
        """(sign, tokens, flip) of sign * p/q * (C?) * factors."""
        sign, chain, body, flip, _ = self._product(sign, p, q, const, factors)
        return (sign, chain + body, prefixed(chain, flip)) if chain else (sign, body, flip)

    def _product(self, sign, p, q, const, factors, turn=None):
        """(sign, tokens of the coefficient, tokens of the rest, flip of the rest, has a free coefficient).

        The coefficient p/q is spelled in front, or under a power where it is an exact power ((x/2)^2), or
        becomes a free constant where it would take more than two tokens.  `turn` is the place of a
        factor to be spelled the other way round.
        """
        at = inside = None
        chain: tuple = ()
        if not const and (p != 1 or q != 1):
            at, inside, chain = self._under_a_power(p, q, factors)
            if chain is None:
                const, chain = True, ()
                self.changed = True
        able = None  # place of the factor that turns round when this product is to be negated
        over: list = []
        under: list = []
        groups = roots = None  # made where there are powers and roots: most products have none
        for place, (base, n, d, flip) in enumerate(factors):
            if flip is not None and n & 1 and d & 1:
                if flip is EITHER:
                    sign = 0
                elif place == turn:
                    base = flip()
                elif able is None or (base, n, d) < factors[able][:3]:
                    able = place
            if not n & 1 and d & 1 and base[0] == "abs":
                base = base[1:]  # an even power needs no absolute value
                self.changed = True
            if d == 1:
                if n == 1:
                    over.append(base)
                elif n == -1:
                    under.append(base)
                else:
                    groups = {} if groups is None else groups
                    groups.setdefault(n if n > 0 else -n, ([], []))[n < 0].append(base)
            elif d:
                roots = {} if roots is None else roots
                roots.setdefault((n if n > 0 else -n, d), ([], []))[n < 0].append(base)
            else:
                over.append(("pow",) + base + _C)
        if groups is not None or roots is not None:
            self._spell_powers(groups or {}, roots or {}, at, inside, over, under)
        if over:
            body = _join("*", over) if len(over) > 1 else over[0]
            if under:
                body = ("/",) + body + (_join("*", under) if len(under) > 1 else under[0])
            if const:
                body = ("*",) + body + _C
        elif const:
            body = ("/", CONSTANT) + _join("*", under)
        else:
            body = ("inv",) + _join("*", under)
        if const:
            return 0, (), body, None, True
        if able is not None and turn is None and sign:
            return sign, chain, body, lambda: self._product(1, p, q, False, factors, able)[2], False
        return sign, chain, body, None, False

    def _spell_powers(self, groups, roots, at, inside, over, under):
        """Add the powers of a product to what stands above and below: {n: bases to the n-th power above, below} and
        {(n, d): bases to the power of n/d above, below}; `at`, `inside` as _under_a_power gives them."""
        for (n, d), (up, down) in roots.items():
            if len(up) + len(down) > 1:
                self.changed = True  # sqrt(a) * sqrt(b) = sqrt(a*b), a product that has not been in order yet
            body = _join("*", up or down)
            if up and down:
                body = ("/",) + body + _join("*", down)
            if n in POWER:
                body = self._rooted(body, d)
            else:
                body, n = self._mixed(body, n, d), 1
            if n == 1:
                (over if up else under).append(body)
            else:
                groups.setdefault(n, ([], []))[not up].append(body)
        if len(groups) > 1:
            groups = self._nested_powers(groups, at)
        for n, (up, down) in groups.items():
            body = _join("*", up or down)
            if up and down:
                body = ("/",) + body + _join("*", down)
            if n == at:
                k, inside = inside
                body = COEFFICIENT[inside if up else inside[::-1]] + self._raised(body, n // k)
                n = k
            (over if up else under).append(self._raised(body, n))

    def _nested_powers(self, groups, at):
        """x^2 * y^6 -> (x * y^3)^2, where that spares a token; the group with the coefficient stays as it is."""
        smallest = sorted(groups)
        for n in smallest:
            for m in smallest:
                if m <= n or m % n or n not in groups or m not in groups or m == at:
                    continue
                own, whole = POWER.get(n), POWER.get(m)
                rest = POWER.get(m // n)
                if own is None or whole is None or rest is None or len(rest) + len(own) > len(whole):
                    continue
                moved = groups.pop(m)
                groups[n] = tuple([*mine, *(rest + base for base in more)] for mine, more in zip(groups[n], moved))
        return groups

    def _under_a_power(self, p, q, factors):
        """Where a coefficient goes: (n, (k, coefficient), tokens in front).

        The coefficient is spelled under a k-th power that is all or part of the n-th power of some factor.
        n is None where all of it goes in front; the tokens are None where it has no short spelling.
        """
        chain = COEFFICIENT.get((p, q))
        lone = len(factors) == 1
        powers = [(n, k) for n in sorted({abs(n) for _, n, d, _ in factors if d} - {1}) for k in _PARTS.get(n, ())]
        for n, k in powers:
            a, b = _exact_root(p, k), _exact_root(q, k)
            inside = COEFFICIENT.get((a, b)) if a and b else None
            if inside is not None and (chain is None or len(inside) < len(chain) + lone):
                return n, (k, (a, b)), ()
        if chain is None:  # part of it under a power: 27/4 x^3 = (3x)^3 / 4
            for n, k in powers:
                for a, b in _SINGLE:
                    c, e = p * b**k, q * a**k
                    g = math.gcd(c, e)
                    front = COEFFICIENT.get((c // g, e // g))
                    if front is not None and len(front) == 1:
                        return n, (k, (a, b)), front
        return None, None, chain

    def _rooted(self, body, d):
        """Tokens of the d-th root."""
        root = ROOT.get(d)
        if root is not None:
            return root + body
        self.changed = True
        return ("pow",) + body + _C

    def _mixed(self, body, n, d):
        """Tokens of body^(n/d) where n has no short spelling: x^(7/5) = x * x^(2/5), x^(11/25) = (x^2 * x^(1/5))^(1/5).

        A free exponent would do for an even d only: odd roots are defined for negative bodies, too."""
        for k in (1, 3, 5):
            m = d // k
            if d % k or m < 2 or (k > 1 and d % 2 == 0) or CONSTANT in body:
                continue
            whole, rest = POWER.get(n // m), POWER.get(n % m)
            if whole is not None and rest is not None:
                inside = _join("*", [whole + body, rest + self._rooted(body, m)])
                return inside if k == 1 else (f"pow1_{k}",) + inside
        self.changed = True
        return ("pow",) + body + _C

    def _raised(self, body, n):
        """Tokens of body^n."""
        power = POWER.get(n)
        if power is not None:
            return power + body
        rest = POWER.get(n - 1)
        if rest is not None and CONSTANT not in body:
            return _join("*", [body, rest + body])  # x^7 = x * x^6
        self.changed = True
        return ("pow",) + body + _C


# ---- tokens -----------------------------------------------------------------------------------


def oriented(sign, tokens, flip):
    """The smaller of something and its negative, with the sign that makes up for it."""
    if flip is None or not sign:
        return sign, tokens, None
    if flip is EITHER:
        return 0, tokens, EITHER
    other = flip()
    if other < tokens:
        return -sign, other, lambda: tokens
    return sign, tokens, lambda: other


def _turned(terms):
    """The negative of a sum of terms of one sign: those that can turn round do, the others are subtracted."""
    turned = [flip() for _, _, flip in terms if flip is not None]
    return _spell_difference(turned, [tokens for _, tokens, flip in terms if flip is None], False)


def prefixed(prefix, flip):
    """flip with tokens put in front of what it gives."""
    if flip is None or not prefix or flip is EITHER:
        return flip
    return lambda: prefix + flip()


def _join(operator, parts):
    """Operands, sorted, under one left-leaning chain: + + a b c."""
    n = len(parts)
    if n == 1:
        return parts[0]
    if n == 2:
        a, b = parts
        return (operator,) + a + b if a < b else (operator,) + b + a
    parts.sort()
    out = (operator,) * (n - 1)
    for part in parts:
        out += part
    return out


def _spell_difference(plus, minus, const):
    """plus - minus (+ C), the constant last; something is positive or there is a constant."""
    if not plus:
        return ("-", CONSTANT) + _join("+", minus)
    tokens = _join("+", plus)
    if minus:
        tokens = ("-",) + tokens + _join("+", minus)
    return ("+",) + tokens + _C if const else tokens
