"""Spell the simplification engine's tagged form in the 38 operators of Table 5.

The engine reads Table 5 but writes sums and products as bags with a section for what is subtracted
or divided, and numbers as literals:

    <add> <mul> 2 sin x1 <div> 3 </mul> <constant> <sub> pow x2 7 </add>

Table 5 has binary operators, mult2..5, div2..5, pow2..5, pow1_2..5 and one kind of number, the free
constant.  One pass from right to left over the tagged tokens, with a stack, does the whole
translation.  It knows nothing about the engine and nothing about values; it is written for speed,
since it runs for every skeleton of a training corpus.

Things on the stack are tuples whose first entry says what they are:

    (ATOM, tokens, flip)                      nothing a product or sum could merge with
    (PRODUCT, sign, p, q, const, factors)     sign * p/q * (free constant?) * prod base^(n/d)
    (SUM, terms, const)                       sum of (sign, tokens, flip) (+ free constant?)
    (NUMBER, p, q)                            a rational literal
    (CONST, value)                            free of variables; value is None where it is free

`factors` maps base tokens to (n, d, flip); n = d = 0 is an exponent that is a free constant.  `flip`
is None, or a function giving the tokens of the negated thing at the same length: a difference
turns round, an odd function hands on, a free constant swallows the sign.

A free constant stands for almost every real number, so what it can absorb is absorbed here, where
the structure is at hand: coefficients without a short spelling, signs, exponents of exponents.
`Respeller.changed` tells whether the result is more than another spelling of the same tagged form;
then the engine may find more to do.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction
from itertools import combinations_with_replacement

from fansr.tokens import CONSTANT, UNARY, literal_value, variable_index

ATOM, PRODUCT, SUM, NUMBER, CONST = range(5)
_END, _SECTION = object(), object()  # what a bag's closing tag and its <sub> or <div> leave on the stack
_FREE = (CONST, None)
_C = (CONSTANT,)
_ONE = (NUMBER, 1, 1)
MAX_LITERALS = 4096  # parsed literals kept; the supply of different ones has no end

_ODD = frozenset(("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh"))
_EVEN = frozenset(("cos", "cosh", "abs"))
_PLAIN_UNARY = frozenset(UNARY) - {"neg", "inv"}
_SPECIAL = {"np.pi": math.pi, "np.e": math.e}
_FUNCTIONS = {name: getattr(math, name) for name in (
    "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "exp", "log")}
_FUNCTIONS["abs"] = abs


class NonFinite(Exception):
    """The expression holds an infinity or is undefined everywhere."""


class Unknown(ValueError):
    """A token that is no operator, variable, constant or number."""


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
_VALUE_OF = {tokens: value for value, tokens in COEFFICIENT.items()}
POWER = _chains("pow", 3)
ROOT = _chains("pow1_", 3)


def _exact_root(number: int, k: int) -> int | None:
    """The integer r with r**k == number, or None."""
    if number == 1:
        return 1
    r = round(number ** (1.0 / k)) if number < 1 << 53 else 0
    return r if r > 1 and r ** k == number else None


# ---- one pass ---------------------------------------------------------------------------------


class Respeller:
    """Translates tagged forms; keeps a table of leaves between calls.  Not to be shared by threads."""

    def __init__(self):
        self.changed = False
        self._literals = 0
        self._leaves: dict[str, tuple | object] = {
            CONSTANT: _FREE, "</add>": _END, "</mul>": _END, "<sub>": _SECTION, "<div>": _SECTION,
            **{name: (CONST, value) for name, value in _SPECIAL.items()},
        }

    def __call__(self, tagged: list[str]) -> tuple[str, ...]:
        """Table 5 tokens of one tagged form; sets `changed`.  Raises NonFinite or Unknown."""
        self.changed = False
        leaves = self._leaves
        stack: list = []
        push, pop = stack.append, stack.pop
        for token in reversed(tagged):
            leaf = leaves.get(token)
            if leaf is not None:
                push(leaf)
            elif token == "<mul>" or token == "<add>":
                above: list = []
                below: list = []
                part = above
                while (item := pop()) is not _END:
                    if item is _SECTION:
                        part = below
                    else:
                        part.append(item)
                push(self._multiply(above, below) if token == "<mul>" else self._add(above, below))
            elif token in _PLAIN_UNARY:
                push(self._apply(token, pop()))
            elif token == "pow":
                push(self._power(pop(), pop()))
            elif token == "rootn":
                push(self._root(pop(), pop()))
            elif token == "neg":
                push(self._multiply([(NUMBER, -1, 1), pop()], ()))
            elif token == "inv":
                push(self._multiply((), [pop()]))
            else:
                push(self._leaf(token))
        (item,) = stack
        return self._plain(item)

    def _leaf(self, token: str):
        """A token met for the first time: a variable or a number."""
        if variable_index(token) is not None:
            item = self._leaves[token] = (ATOM, (token,), None)
            return item
        if token.startswith("float("):
            raise NonFinite(token)
        text = token[1:-1] if token[0] == "(" else token
        try:
            value = Fraction(text)
            item = (NUMBER, value.numerator, value.denominator)
        except (ValueError, ZeroDivisionError):
            number = literal_value(text)  # e.g. more digits than Python turns into an int
            if number is None:
                raise Unknown(f"unknown token {token!r}") from None
            if not math.isfinite(number):
                raise NonFinite(token) from None
            item = (CONST, number)
        if self._literals < MAX_LITERALS:
            self._literals += 1
            self._leaves[token] = item
        return item

    # ---- finishing an item: sign, tokens, flip ------------------------------------------------

    def _signed(self, item):
        """(sign, tokens of the absolute thing, flip) of an item."""
        tag = item[0]
        if tag == ATOM:
            return 1, item[1], item[2]
        if tag == PRODUCT:
            return self._spell_product(item[1], item[2], item[3], item[4], item[5])
        if tag == SUM:
            return self._spell_sum(item[1], item[2])
        if item is not _FREE:
            self.changed = True  # a known number becomes a free constant
        return 1, _C, _constant

    def _plain(self, item) -> tuple[str, ...]:
        if item[0] == ATOM:
            return item[1]
        sign, tokens, flip = self._signed(item)
        if sign > 0:
            return tokens
        return flip() if flip is not None else ("neg",) + tokens

    # ---- sums ---------------------------------------------------------------------------------

    def _add(self, above, below):
        """The sum of `above` minus the sum of `below`."""
        terms: list = []  # (sign, tokens, flip), tokens without the coefficient where `chains` has one
        chains: dict = {}  # place in `terms` -> tokens of the coefficient
        loose: dict = {}  # bodies of terms with a free coefficient -> place in `terms`
        const = False
        value_p, value_q = 0, 1  # the rational summand, kept apart in case it is all there is
        for items, s in ((above, 1), (below, -1)):
            for item in items:
                tag = item[0]
                if tag == ATOM:
                    terms.append((s, item[1], item[2]))
                elif tag == PRODUCT:
                    sign, chain, body, flip = self._product(item[1], item[2], item[3], item[4], item[5])
                    if not sign:  # a free coefficient; `body` ends with it or begins with it
                        _, _, bare, _ = self._product(1, 1, 1, False, item[5])
                        if bare in loose:
                            self.changed = True
                            continue
                        loose[bare] = len(terms)
                    elif chain:
                        chains[len(terms)] = chain
                    terms.append((s * sign, body, flip))
                elif tag == SUM:
                    # Only a sum that carries its own constant comes here as a sum: C*(x + C).
                    self.changed = True
                    const = const or item[2]
                    terms.extend((s * sign, tokens, flip) for sign, tokens, flip in item[1])
                elif tag == NUMBER:
                    value_p, value_q = value_p * item[2] + s * item[1] * value_q, value_q * item[2]
                else:
                    const = True
                    if item is not _FREE:
                        self.changed = True
        if loose and len(terms) > 1:
            terms, chains = self._collect(terms, chains, loose)
        if not terms:
            g = math.gcd(value_p, value_q)
            return _FREE if const else (NUMBER, value_p // g, value_q // g)
        if value_p:
            const = self.changed = True
        if chains:
            parts = [(sign, chains.get(place, ()), tokens, flip) for place, (sign, tokens, flip) in enumerate(terms)]
            if len(chains) > 1:
                parts = self._factored(parts)
            if len(parts) == 1 and not const:
                self.changed = True
                sign, chain, tokens, flip = parts[0]
                return (PRODUCT, sign, *_VALUE_OF[chain], False, {tokens: (1, 1, flip)})
            terms = [(sign, chain + tokens, _prefixed(chain, flip)) for sign, chain, tokens, flip in parts]
        if len(terms) == 1 and not const:
            sign, tokens, flip = terms[0]
            return (ATOM, tokens, flip) if sign >= 0 else (PRODUCT, -1, 1, 1, False, {tokens: (1, 1, flip)})
        return SUM, terms, const

    def _collect(self, terms, chains, loose):
        """Drop the terms that a term with a free coefficient and the same body takes in: x + C*x -> C*x."""
        kept: list = []
        moved: dict = {}
        for place, term in enumerate(terms):
            if loose.get(term[1], place) == place:
                if place in chains:
                    moved[len(kept)] = chains[place]
                kept.append(term)
            else:
                self.changed = True
        return kept, moved

    def _factored(self, parts):
        """Terms (sign, chain of the coefficient, tokens, flip) with shared coefficients in front of their own sum:
        2x + 2y + z -> 2(x + y) + z, the commonest token of the chains first."""
        counts: dict = {}
        for _, chain, _, _ in parts:
            for token in set(chain):
                counts[token] = counts.get(token, 0) + 1
        best = max(counts.values(), default=0)
        if best < 2:
            return parts
        token = min(t for t, n in counts.items() if n == best)
        inside, outside = [], []
        for sign, chain, tokens, flip in parts:
            if token in chain:
                at = chain.index(token)
                inside.append((sign, chain[:at] + chain[at + 1:], tokens, flip))
            else:
                outside.append((sign, chain, tokens, flip))
        inner = [(sign, chain + tokens, _prefixed(chain, flip)) for sign, chain, tokens, flip in self._factored(inside)]
        sign, tokens, flip = self._spell_sum(inner, False)
        outside.append((sign, (token,), tokens, flip))
        return self._factored(outside)

    def _spell_sum(self, terms, const):
        """(sign, tokens, flip) of a sum; the sign comes out where nothing in the sum can take it in."""
        plus = [tokens for sign, tokens, _ in terms if sign > 0]
        minus = [tokens for sign, tokens, _ in terms if sign < 0]
        free = [tokens for sign, tokens, _ in terms if not sign]
        if const or free or (plus and minus):
            return (1, _spell_difference(plus + free, minus, const),
                    lambda: _spell_difference(minus + free, plus, const))
        flip = None
        if any(flip is not None for _, _, flip in terms):
            flip = functools.partial(_turned, terms)
        return (1, _join("+", plus), flip) if plus else (-1, _join("+", minus), flip)

    # ---- products -----------------------------------------------------------------------------

    def _multiply(self, above, below):
        """The product of `above` over the product of `below`."""
        sign = p = q = 1
        const = False
        factors: dict = {}
        lone = None
        for items, e in ((above, 1), (below, -1)):
            for item in items:
                tag = item[0]
                if tag == ATOM:
                    base, flip = item[1], item[2]
                    if flip is not None:
                        s, base, flip = _oriented(1, base, flip)
                        sign *= s
                    self._factor(factors, base, e, 1, flip)
                elif tag == CONST:
                    const = True
                    if item is not _FREE:
                        self.changed = True
                elif tag == SUM:
                    if e > 0:
                        lone = item
                    s, base, flip = _oriented(*self._spell_sum(item[1], item[2]))
                    sign *= s
                    self._factor(factors, base, e, 1, flip)
                elif tag == PRODUCT:
                    sign *= item[1]
                    p, q = (p * item[2], q * item[3]) if e > 0 else (p * item[3], q * item[2])
                    const = const or item[4]
                    for base, (n, d, flip) in item[5].items():
                        self._factor(factors, base, e * n, d, flip)
                else:
                    n, d = item[1], item[2]
                    if e < 0:
                        n, d = d, n
                    if d == 0:
                        raise NonFinite("division by zero")
                    p, q = p * n, q * d
        if p == 0:
            if factors:
                self.changed = True
            return NUMBER, 0, 1
        if p < 0:
            sign, p = -sign, -p
        if q < 0:
            sign, q = -sign, -q
        if q != 1:
            g = math.gcd(p, q)
            p, q = p // g, q // g
        if not factors:
            return _FREE if const else (NUMBER, sign * p, q)
        if lone is not None and lone[2] and len(factors) == 1 and (const or p != q) and (1, 1) == next(iter(factors.values()))[:2]:
            return self._spread(p, q, const, sign, lone)
        if const:
            sign = p = q = 1
        return PRODUCT, sign, p, q, const, factors

    def _spread(self, p, q, const, sign, total):
        """coefficient * (S + C) -> coefficient * S + C, at the same length."""
        self.changed = True
        s, tokens, flip = self._spell_sum(total[1], False)
        if len(total[1]) == 1:
            # One term: multiply it as a product would, so that coefficients meet.
            inner = (PRODUCT, s, 1, 1, False, {tokens: (1, 1, flip)})
            merged = (PRODUCT, s * sign, p, q, const, inner[5])
        else:
            merged = (PRODUCT, s * sign, p, q, const, {tokens: (1, 1, flip)})
        return SUM, [self._spell_product(*merged[1:])], True

    def _factor(self, factors, base, n, d, flip):
        """Multiply `factors` by base^(n/d); n = d = 0 is a free exponent."""
        old = factors.get(base)
        if old is None:
            factors[base] = (n, d, flip)
            return
        self.changed = True
        if old[1] == 0 or d == 0:
            factors[base] = (0, 0, None)
            return
        n, d = old[0] * d + n * old[1], old[1] * d
        g = math.gcd(n, d)
        if n == 0:
            del factors[base]
        else:
            factors[base] = (n // g, d // g, flip)

    def _spell_product(self, sign, p, q, const, factors):
        """(sign, tokens, flip) of sign * p/q * (C?) * factors."""
        sign, chain, body, flip = self._product(sign, p, q, const, factors)
        return sign or 1, chain + body if chain else body, _prefixed(chain, flip)

    def _product(self, sign, p, q, const, factors, turn=None):
        """(sign, tokens of the coefficient, tokens of the rest, flip of the rest).

        The sign is 0 where a free constant swallows it.  The coefficient p/q is spelled in front, or
        under a power where it is an exact power ((x/2)^2), or becomes a free constant where it would
        take more than two tokens.  `turn` names a base to be spelled the other way round.
        """
        place, inside = None, ()
        if const:
            chain: tuple = ()
        else:
            chain = COEFFICIENT.get((p, q))
            if chain != ():
                place, inside, chain = self._under_a_power(p, q, chain, factors)
                if chain is None:
                    const, chain = True, ()
                    self.changed = True
        able = None  # the base that turns round when this product is to be negated
        groups: dict = {}  # n -> [bases and roots of bases above, the same below]
        for base, (n, d, flip) in factors.items():
            if flip is not None and n & 1 and d & 1 and not const:
                if base == turn:
                    base = flip()
                elif able is None or base < able:
                    able = base
            if d > 1:
                base = self._rooted(base, d)
            elif not d:
                base = ("pow",) + base + _C
                n = 1
            group = groups.get(n if n > 0 else -n)
            if group is None:
                group = groups[n if n > 0 else -n] = ([], [])
            group[n < 0].append(base)
        over: list = []
        under: list = []
        for n, (up, down) in groups.items():
            if n == 1:
                over += up
                under += down
            elif up:
                body = _join("*", up)
                if down:
                    body = ("/",) + body + _join("*", down)
                over.append(self._raised(inside + body if n == place else body, n))
            else:
                body = _join("*", down)
                under.append(self._raised(inside + body if n == place else body, n))
        if over:
            body = _join("*", over)
            if under:
                body = ("/",) + body + _join("*", under)
            if const:
                body = ("*",) + body + _C
        elif const:
            body = ("/", CONSTANT) + _join("*", under)
        else:
            body = ("inv",) + _join("*", under)
        if const:
            return 0, (), body, lambda: body
        if able is not None and turn is None:
            return sign, chain, body, lambda: self._product(1, p, q, False, factors, able)[2]
        return sign, chain, body, None

    def _under_a_power(self, p, q, chain, factors):
        """Where a coefficient goes: (n, tokens under the n-th power, tokens in front or None for neither)."""
        lone = len(factors) == 1
        for k in sorted({abs(n) for n, d, _ in factors.values() if d} - {1}):
            a, b = _exact_root(p, k), _exact_root(q, k)
            if not a or not b:
                continue
            # Above the line unless everything with this exponent is below it.
            above = any(n == k for n, _, _ in factors.values())
            inside = COEFFICIENT.get((a, b) if above else (b, a))
            if inside is not None and (chain is None or len(inside) < len(chain) + lone):
                return k, inside, ()
        return None, (), chain

    def _rooted(self, body, d):
        """Tokens of the d-th root."""
        root = ROOT.get(d)
        if root is not None:
            return root + body
        self.changed = True
        return ("pow",) + body + _C

    def _raised(self, body, n):
        """Tokens of body^n."""
        power = POWER.get(n)
        if power is not None:
            return power + body
        rest = POWER.get(n - 1)
        if rest is not None:
            return ("*",) + body + rest + body  # x^7 = x * x^6
        self.changed = True
        return ("pow",) + body + _C

    # ---- powers and roots ---------------------------------------------------------------------

    def _root(self, base, order):
        if order[0] != NUMBER or order[2] != 1 or not order[1]:
            raise Unknown("a root of an order that is no integer")
        k = order[1]
        return self._rational(base, 1 if k > 0 else -1, abs(k))

    def _power(self, base, exponent):
        tag = exponent[0]
        if tag == NUMBER:
            return self._rational(base, exponent[1], exponent[2])
        if tag == CONST:
            return self._free_power(base)
        if base[0] in (NUMBER, CONST):
            return self._exponential(exponent)
        return ATOM, ("pow",) + self._plain(base) + self._plain(exponent), None

    def _rational(self, base, n, d):
        """base^(n/d)."""
        tag = base[0]
        if n == 0:
            return _ONE
        if tag == NUMBER:
            return self._number_power(base, n, d)
        if tag == CONST:
            self.changed = True
            return _FREE
        if tag == ATOM:
            if base[2] is None or d % 2 == 0:
                return PRODUCT, 1, 1, 1, False, {base[1]: (n, d, base[2])}
            sign, tokens, flip = _oriented(1, base[1], base[2])
            return PRODUCT, sign if n & 1 else 1, 1, 1, False, {tokens: (n, d, flip)}
        if tag == PRODUCT:
            _, sign, p, q, const, factors = base
            if d == 1 and (abs(n) <= 16 or p == q == 1):
                if n < 0:
                    p, q = q, p
                k = abs(n)
                if k != 1:
                    p, q = p ** k, q ** k
                if len(factors) > 1:
                    self.changed = True
                return (PRODUCT, sign if n & 1 else 1, p, q, const,
                        {b: (bn * n, bd, flip) if bd else (0, 0, None) for b, (bn, bd, flip) in factors.items()})
            if len(factors) == 1 and p == q == 1 and not const and sign > 0:
                ((b, (bn, bd, flip)),) = factors.items()
                if bd == 0:
                    self.changed = True
                    return PRODUCT, 1, 1, 1, False, {b: (0, 0, None)}
            if d & 1 and (const or sign < 0):
                # An odd root lets the sign and a free constant out.
                self.changed = True
                _, tokens, flip = self._spell_product(1, 1 if const else p, 1 if const else q, False, factors)
                return PRODUCT, 1 if const or not n & 1 else sign, 1, 1, const, {tokens: (n, d, flip)}
        if d % 2 == 0:
            return PRODUCT, 1, 1, 1, False, {self._plain(base): (n, d, None)}
        sign, tokens, flip = _oriented(*self._signed(base))
        if sign < 0 and not n & 1:
            sign = 1
        return PRODUCT, sign, 1, 1, False, {tokens: (n, d, flip)}

    def _number_power(self, base, n, d):
        p, q = base[1], base[2]
        if p == 0:
            if n < 0:
                raise NonFinite("a negative power of zero")
            return base
        if d == 1 and abs(n) <= 16:
            return (NUMBER, p ** n, q ** n) if n > 0 else _normal(q ** -n, p ** -n)
        if p < 0 and d % 2 == 0:
            raise NonFinite("an even root of a negative number")
        self.changed = True
        return _FREE

    def _free_power(self, base):
        """base^C."""
        tag = base[0]
        if tag in (NUMBER, CONST):
            self.changed = True
            return _FREE
        if tag == PRODUCT:
            _, sign, p, q, const, factors = base
            if sign > 0 and p == q and not const and len(factors) == 1:
                ((b, (n, d, _)),) = factors.items()
                # (b^(n/d))^C is b^C wherever it is defined, unless the even power hides b's sign.
                if d == 0 or n & 1 or d % 2 == 0:
                    if (n, d) != (1, 1):
                        self.changed = True
                    return PRODUCT, 1, 1, 1, False, {b: (0, 0, None)}
        return PRODUCT, 1, 1, 1, False, {self._plain(base): (0, 0, None)}

    def _exponential(self, exponent):
        """C^exponent: the constant takes in every coefficient and sign, and lets out a shift: C^(2x + C) = C * C^x."""
        const = False
        tag = exponent[0]
        if tag == SUM and exponent[2]:
            self.changed = const = True
            exponent = (SUM, exponent[1], False)
        if tag == PRODUCT:
            _, sign, p, q, free, factors = exponent
            if sign < 0 or p != q or free:
                self.changed = True
            _, tokens, _ = self._spell_product(1, 1, 1, False, factors)
        else:
            sign, tokens, _ = self._signed(exponent)
            if sign < 0:
                self.changed = True
        body = ("pow", CONSTANT) + tokens
        return (PRODUCT, 1, 1, 1, True, {body: (1, 1, None)}) if const else (ATOM, body, None)

    # ---- functions ----------------------------------------------------------------------------

    def _apply(self, name, item):
        """name(item) for a unary operator other than neg and inv."""
        tag = item[0]
        if tag == ATOM:
            if item[2] is None:
                return ATOM, (name,) + item[1], None
        elif tag == CONST or tag == NUMBER:
            return self._constant_call(name, item)
        elif tag == PRODUCT:
            if name == "abs":
                return self._absolute(item)
            if name == "log" and len(item[5]) == 1 and item[2] == item[3] and not item[4] and item[1] > 0:
                ((base, (_, d, _)),) = item[5].items()
                if d == 0:  # log(b^C) = C*log(b)
                    self.changed = True
                    return PRODUCT, 1, 1, 1, True, {("log",) + base: (1, 1, None)}
        elif name == "exp" and item[2]:  # exp(S + C) = C*exp(S)
            self.changed = True
            inside = self._plain((SUM, item[1], False))
            return PRODUCT, 1, 1, 1, True, {("exp",) + inside: (1, 1, None)}
        if name not in _ODD and name not in _EVEN:
            return ATOM, (name,) + self._plain(item), None
        sign, tokens, flip = _oriented(*self._signed(item))
        if name in _EVEN:
            return ATOM, (name,) + tokens, None
        atom = (name,) + tokens
        turned = None if flip is None else (lambda: (name,) + flip())
        if sign > 0:
            return ATOM, atom, turned
        return PRODUCT, -1, 1, 1, False, {atom: (1, 1, turned)}

    def _absolute(self, item):
        """abs lets a coefficient and a free constant out."""
        _, sign, p, q, const, factors = item
        if sign < 0 or p != q or const:
            self.changed = True
        _, tokens, _ = self._spell_product(1, 1, 1, False, factors)
        return PRODUCT, 1, p, q, const, {("abs",) + tokens: (1, 1, None)}

    def _constant_call(self, name, item):
        """A function of something without variables; NonFinite where it is defined nowhere."""
        self.changed = True
        if item is _FREE:
            return _FREE
        value = item[1] if item[0] == CONST else None
        try:
            if item[0] == NUMBER:
                value = item[1] / item[2]
            if name in _FUNCTIONS:
                return CONST, _FUNCTIONS[name](value)
        except OverflowError:
            raise NonFinite(f"{name} overflows") from None
        except ValueError:
            raise NonFinite(f"{name}({value}) is undefined") from None
        return _FREE


def _constant():
    return _C


def _oriented(sign, tokens, flip):
    """The smaller of something and its negative, with the sign that makes up for it."""
    if flip is None:
        return sign, tokens, None
    other = flip()
    if other < tokens:
        return -sign, other, lambda: tokens
    return sign, tokens, lambda: other


def _turned(terms):
    """The negative of a sum of terms of one sign: those that can turn round do, the others are subtracted."""
    turned = [flip() for _, _, flip in terms if flip is not None]
    return _spell_difference(turned, [tokens for _, tokens, flip in terms if flip is None], False)


def _prefixed(prefix, flip):
    """flip with tokens put in front of what it gives."""
    if flip is None or not prefix:
        return flip
    return lambda: prefix + flip()


def _normal(p, q):
    return (NUMBER, p, q) if q > 0 else (NUMBER, -p, -q)


def _join(operator, parts):
    """Operands, sorted, under one left-leaning chain: + + a b c."""
    if len(parts) == 1:
        return parts[0]
    out = (operator,) * (len(parts) - 1)
    parts.sort()
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
