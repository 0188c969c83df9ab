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
    (SUM, terms, const, scalable)             sum of sign * tokens (+ free constant?)
    (NUMBER, p, q)                            a rational literal
    (CONST, value)                            free of variables; value is None where it is free

`factors` lists (base tokens, n, d, flip); n = d = 0 is an exponent that is a free constant.  `terms`
lists (sign, tokens, flip); a scalable sum has a free constant, alone and before each term, so that it
takes in any coefficient.  A sign is 1, -1 or 0: 0 where a free constant inside can take in either.
`flip` says what the negated thing looks like at the same length: None if that costs a token, EITHER if
it looks the same (sin(C*x)), else a function that gives its tokens (a - b turns round).

A free constant stands for almost every real number, so what it can absorb is absorbed here, where
the structure is at hand: coefficients without a short spelling, signs, exponents of exponents.
`Respeller.changed` tells whether the engine may find more to do with the result than with the tagged
form it came from: terms or factors stand together that stood apart.  Not everything absorbed is such a
change: a number that becomes a free constant, or a sign or coefficient that one takes in, was followed
by no other form in any of 65,000 skeletons.
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
EITHER = object()
MAX_LITERALS = 4096  # parsed literals kept; the supply of different ones has no end

_ODD = frozenset(("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh"))
_EVEN = frozenset(("cos", "cosh", "abs"))
_UNDONE = {"sin": "asin", "cos": "acos", "tanh": "atanh", "exp": "log", "cosh": "acosh"}
_PAIRED = frozenset(("abs", "sin", "cos", "tan", "sinh", "cosh", "tanh", "exp"))  # with rules for products of two
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
_SINGLE = [value for value, tokens in COEFFICIENT.items() if len(tokens) == 1]
POWER = _chains("pow", 3)
ROOT = _chains("pow1_", 3)
# n -> the k with a^n = (a^(n/k))^k at no more tokens, n itself first
_PARTS = {n: [n] + [k for k in sorted(POWER, reverse=True) if 1 < k < n and n % k == 0 and n // k in POWER
                    and len(POWER[k]) + len(POWER[n // k]) == len(POWER[n])] for n in POWER if n > 1}


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

    # ---- finishing an item --------------------------------------------------------------------

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

    # ---- sums ---------------------------------------------------------------------------------

    def _add(self, above, below):
        """The sum of `above` minus the sum of `below`."""
        terms: list = []  # (sign, tokens, flip), tokens without the coefficient where `chains` has one
        chains: dict = {}  # place in `terms` -> tokens of the coefficient
        loose: dict = {}  # bodies of terms with a free coefficient -> place in `terms`
        coefficients: dict = {}  # place in `terms` -> product with a coefficient
        const = False
        met: set = set()  # factors of the terms
        shared = False  # whether two terms have one in common
        value_p, value_q = 0, 1  # the rational summand, kept apart in case it is all there is
        for items, s in ((above, 1), (below, -1)):
            for item in items:
                tag = item[0]
                if tag == ATOM:
                    terms.append((0 if item[2] is EITHER else s, item[1], item[2]))
                elif tag == PRODUCT:
                    sign, chain, body, flip, free = self._product(*item[1:])
                    if free or len(item[5]) > 1:
                        for factor in item[5]:
                            key = factor[:3]
                            if key in met:
                                shared = True
                            else:
                                met.add(key)
                    if not free and item[2:4] != (1, 1):
                        coefficients[len(terms)] = item
                    if free:
                        bare = self._product(1, 1, 1, False, item[5])[2]
                        if bare in loose:
                            self.changed = True
                            continue
                        if CONSTANT not in bare:
                            loose[bare] = len(terms)
                    elif chain:
                        chains[len(terms)] = chain
                    terms.append((s * sign, body, flip))
                elif tag == SUM:
                    # Only a sum that carries its own constant comes here as a sum: C*(x + C).
                    const = const or item[2]
                    terms.extend((s * sign, tokens, flip) for sign, tokens, flip in item[1])
                elif tag == NUMBER:
                    value_p, value_q = value_p * item[2] + s * item[1] * value_q, value_q * item[2]
                else:
                    const = True
        if shared:
            shorter = self._share(above, below)
            if shorter is not None:
                return self._add(*shorter) if len(shorter[0]) + len(shorter[1]) > 1 else shorter[0][0]
        if len(coefficients) > 1:
            self._to_the_front(terms, chains, coefficients)
        if loose and len(terms) > 1:
            terms, chains = self._collect(terms, chains, loose)
        if not terms:
            g = math.gcd(value_p, value_q)
            return _FREE if const else (NUMBER, value_p // g, value_q // g)
        if value_p:
            const = True
        if chains:
            parts = [(sign, chains.get(place, ()), tokens, flip) for place, (sign, tokens, flip) in enumerate(terms)]
            if len(chains) > 1:
                parts = self._factored(parts)
            if len(parts) == 1 and not const:
                self.changed = True
                sign, chain, tokens, flip = parts[0]
                return PRODUCT, sign, *_VALUE_OF[chain], False, [(tokens, 1, 1, flip)]
            terms = [(sign, chain + tokens, _prefixed(chain, flip)) for sign, chain, tokens, flip in parts]
        if len(terms) == 1 and not const:
            sign, tokens, flip = terms[0]
            return PRODUCT, sign, 1, 1, False, [(tokens, 1, 1, flip if sign else EITHER)]
        return SUM, terms, const, const and len(loose) == len(terms)

    def _share(self, above, below):
        """The summands with a factor that several have in common in front of their own sum, where that is shorter:
        x*y + x/z + w -> x*(y + 1/z) + w; None where there is none."""
        counts: dict = {}  # (base, n, d) -> the factor, its terms
        for items, side in ((above, 0), (below, 1)):
            for place, item in enumerate(items):
                if item[0] == PRODUCT and (item[4] or len(item[5]) > 1):
                    for factor in item[5]:
                        counts.setdefault(factor[:3], (factor, []))[1].append((side, place))
        # Two with free constants are two numbers.
        common = [(-(len(places) - 1) * len(key[0]), key) for key, (_, places) in counts.items()
                  if len(places) > 1 and key[2] and CONSTANT not in key[0]]
        before = self.changed
        for _, key in sorted(common):
            factor, places = counts[key]
            kept = tuple([item for place, item in enumerate(items) if (side, place) not in places]
                         for side, items in enumerate((above, below)))
            taken = tuple([(above, below)[side][place] for side, place in places if side == wanted] for wanted in (0, 1))
            rests = [[_without(item, factor) for item in items] for items in taken]
            inner = self._add(*rests)
            product = self._multiply([inner, (PRODUCT, 1, 1, 1, False, [factor])], ())
            apart = sum(len(self._plain(item)) for items in taken for item in items) + len(places) - 1
            if len(self._plain(product)) < apart:
                if any(_may_merge(rest) for items in rests for rest in items):
                    self.changed = True
                return kept[0] + [product], kept[1]
            self.changed = before
        return None

    def _to_the_front(self, terms, chains, coefficients):
        """Take coefficients from under powers where several terms share them: (2x)^2 + 4y -> 4(x^2 + y)."""
        spelled = {place: COEFFICIENT.get(item[2:4], ()) for place, item in coefficients.items()}
        tokens = [token for chain in spelled.values() for token in set(chain)]
        if len(set(tokens)) == len(tokens):
            return
        for place, chain in spelled.items():
            if chain and place not in chains:
                item = coefficients[place]
                sign = terms[place][0]
                _, _, body, flip, _ = self._product(1, 1, 1, False, item[5])
                terms[place] = (sign, body, flip)
                chains[place] = chain

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
        sign, tokens, flip = _oriented(*self._spell_sum(inner, False))
        outside.append((sign, (token,), tokens, flip))
        return self._factored(outside)

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

    # ---- products -----------------------------------------------------------------------------

    def _multiply(self, above, below):
        """The product of `above` over the product of `below`."""
        sign = p = q = 1
        const = False
        factors: list = []
        lone = None
        absorbs = inherited = nested = False
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
                elif tag == SUM:
                    if e > 0:
                        lone = item
                    absorbs = absorbs or item[3]
                    s, base, flip = _oriented(*self._spell_sum(item[1], item[2]))
                    sign *= s
                    self._factor(factors, base, e, 1, flip)
                elif tag == PRODUCT:
                    _, s, n, d, free, inner = item
                    sign *= s
                    p, q = (p * n, q * d) if e > 0 else (p * d, q * n)
                    if free:
                        const = True
                    inherited = True
                    if len(inner) > 1:
                        nested = True
                    for base, n, d, flip in inner:
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
        if absorbs and (const or p != q):  # C * y * (C*x + C) -> y * (C*x + C)
            self.changed = True
            const, p, q = False, 1, 1
        if lone is not None and lone[2] and (const or p != q):
            if len(factors) == 1 and factors[0][1:3] == (1, 1):
                return self._spread(sign, p, q, const, lone)
        if const and inherited and any(n == d == 1 and base[0] in ("+", "-") and CONSTANT in (base[1], base[-1])
                                       for base, n, d, _ in factors):
            self.changed = True  # C * (x + C) / y
        if nested and sum([factor[0][0] in _PAIRED for factor in factors]) > 1:
            self.changed = True  # the engine saw them apart; together they may match a rule
        if const:
            sign = p = q = 1
        return PRODUCT, sign, p, q, const, factors

    def _spread(self, sign, p, q, const, total):
        """coefficient * (S + C) -> coefficient * S + C, at the same length."""
        self.changed = True
        s, tokens, flip = _oriented(*self._spell_sum(total[1], False))
        return SUM, [self._spell_product(s * sign, p, q, const, [(tokens, 1, 1, flip)])], True, False

    def _factor(self, factors, base, n, d, flip):
        """Multiply `factors` by base^(n/d); n = d = 0 is a free exponent.

        Like bases merge, unless they hold free constants: two of those are two numbers.
        """
        for place, (other, m, c, _) in enumerate(factors):
            if other == base and CONSTANT not in base:
                if not c or not d:
                    factors[place] = (base, 0, 0, None)
                    return
                n, d = m * d + n * c, c * d
                if n == 0 or n == d:
                    self.changed = True  # what stood apart may be like terms now
                if n == 0:
                    del factors[place]
                else:
                    g = math.gcd(n, d)
                    factors[place] = (base, n // g, d // g, flip)
                return
        factors.append((base, n, d, flip))

    def _spell_product(self, sign, p, q, const, factors):
        """(sign, tokens, flip) of sign * p/q * (C?) * factors."""
        sign, chain, body, flip, _ = self._product(sign, p, q, const, factors)
        return (sign, chain + body, _prefixed(chain, flip)) if chain else (sign, body, flip)

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
                elif able is None or base < factors[able][0]:
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
                    c, e = p * b ** k, q * a ** k
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
        """Tokens of body^(n/d) where n has no short spelling: x^(7/5) = x * x^(2/5)."""
        whole, rest = POWER.get(n // d), POWER.get(n % d)
        if whole is None or rest is None or CONSTANT in body:
            self.changed = True
            return ("pow",) + body + _C
        return _join("*", [whole + body, rest + self._rooted(body, d)])

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
            return _FREE
        if tag == PRODUCT:
            _, sign, p, q, const, factors = base
            if d == 1 and (abs(n) <= 16 or p == q == 1):
                return self._integer_power(base, n)
            if len(factors) == 1 and p == q == 1 and not const and sign > 0 and not factors[0][2]:
                self.changed = True  # (b^C)^(n/d) = b^C
                return base
            if d & 1 and (const or p == q) and len(factors) == 1:  # (b^m)^(n/d) = b^(m*n/d)
                self.changed = True
                b, m, c, flip = factors[0]
                if not c:  # (b^C)^(n/d) = b^C
                    return PRODUCT, sign if n & 1 else 1, 1, 1, const, factors
                g = math.gcd(m * n, c * d)
                return PRODUCT, sign if n & 1 else 1, 1, 1, const, [(b, m * n // g, c * d // g, flip)]
            if d & 1 and (const or sign < 0):
                # An odd root lets the sign and a free constant out.
                if const:
                    p = q = 1
                _, tokens, flip = self._spell_product(1, p, q, False, factors)
                return PRODUCT, 1 if const or not n & 1 else sign, 1, 1, const, [(tokens, n, d, flip)]
        if not d & 1:
            if tag == PRODUCT and len(base[5]) == 1 and base[5][0][1:3] != (1, 1):
                self.changed = True  # a root of a power: the engine has rules for it
            return PRODUCT, 1, 1, 1, False, [(self._plain(base), n, d, None)]
        sign, tokens, flip = _oriented(*self._signed(base))
        return PRODUCT, sign if n & 1 else 1, 1, 1, False, [(tokens, n, d, flip if sign else EITHER)]

    def _integer_power(self, base, n):
        _, sign, p, q, const, factors = base
        if n < 0:
            p, q = q, p
        k = abs(n)
        if len(factors) > 1:
            self.changed = True
        raised = [(b, m * n, d, flip) if d else (b, 0, 0, None) for b, m, d, flip in factors]
        return PRODUCT, sign if n & 1 else 1, p ** k, q ** k, const, raised

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
        return _FREE

    def _free_power(self, base):
        """base^C."""
        tag = base[0]
        if tag in (NUMBER, CONST):
            return _FREE
        if tag == PRODUCT:
            _, sign, p, q, const, factors = base
            if sign > 0 and p == q and not const and len(factors) == 1:
                b, n, d, _ = factors[0]
                # (b^(n/d))^C is b^C wherever it is defined, unless the even power hides b's sign.
                if not d or n & 1 or d % 2 == 0:
                    if (n, d) != (1, 1):
                        self.changed = True
                    return PRODUCT, 1, 1, 1, False, [(b, 0, 0, None)]
        return PRODUCT, 1, 1, 1, False, [(self._plain(base), 0, 0, None)]

    def _exponential(self, exponent):
        """C^exponent: the constant takes in every coefficient and sign, and lets out a shift: C^(2x + C) = C * C^x."""
        const = False
        tag = exponent[0]
        if tag == SUM and exponent[2]:
            self.changed = const = True
            exponent = (SUM, exponent[1], False, False)
        if tag == PRODUCT:
            _, sign, p, q, free, factors = exponent
            if sign < 0 or p != q or free:
                self.changed = True
            exponent = (PRODUCT, 1, 1, 1, False, factors)
        sign, tokens, _ = _oriented(*self._signed(exponent))
        body = ("pow", CONSTANT) + tokens
        return (PRODUCT, 1, 1, 1, True, [(body, 1, 1, None)]) if const else (ATOM, body, None)

    # ---- functions ----------------------------------------------------------------------------

    def _apply(self, name, item):
        """name(item) for a unary operator other than neg and inv."""
        tag = item[0]
        if tag == ATOM:
            if item[1][0] == _UNDONE.get(name):
                self.changed = True  # sin(asin(x)) = x where it is defined
                return ATOM, item[1][1:], None
            if item[2] is None:
                return ATOM, (name,) + item[1], None
        elif tag == CONST or tag == NUMBER:
            return self._constant_call(name, item)
        elif tag == PRODUCT:
            if name == "abs":
                return self._absolute(item)
            if name == "log" and len(item[5]) == 1 and item[2] == item[3] and not item[4] and item[1] > 0:
                base, _, d, _ = item[5][0]
                if not d:  # log(b^C) = C*log(b)
                    self.changed = True
                    return PRODUCT, 1, 1, 1, True, [(("log",) + base, 1, 1, None)]
        elif name == "exp" and item[2]:  # exp(S + C) = C*exp(S)
            self.changed = True
            inside = self._plain((SUM, item[1], False, False))
            return PRODUCT, 1, 1, 1, True, [(("exp",) + inside, 1, 1, None)]
        if name not in _ODD and name not in _EVEN:
            if name == "exp" and tag == PRODUCT:
                sign, tokens, flip = self._signed(item)
                if sign < 0 and flip is None:  # exp(-S) = 1/exp(S)
                    self.changed = True
                    return PRODUCT, 1, 1, 1, False, [(("exp",) + tokens, -1, 1, None)]
            return ATOM, (name,) + self._plain(item), None
        sign, tokens, flip = _oriented(*self._signed(item))
        atom = (name,) + tokens
        if tokens[0] == _UNDONE.get(name):
            self.changed = True
        if name in _EVEN:
            return ATOM, atom, None
        if not sign:
            return ATOM, atom, EITHER
        turned = None if flip is None else (lambda: (name,) + flip())
        if sign > 0:
            return ATOM, atom, turned
        if tokens[0] in _FUNCTIONS and tag == PRODUCT and item[2] == item[3] and len(item[5]) == 1:
            self.changed = True  # tanh(-atanh(x)): rules may apply once the sign is out
        return PRODUCT, -1, 1, 1, False, [(atom, 1, 1, turned)]

    def _absolute(self, item):
        """abs lets a coefficient and a free constant out."""
        _, sign, p, q, const, factors = item
        if sign < 0 or p != q or const:
            self.changed = True
        if len(factors) == 1 and factors[0][2]:  # |b^n| = |b|^n
            base, n, d, _ = factors[0]
            if len(base) > 1:
                self.changed = True
            return PRODUCT, 1, p, q, const, [(base if base[0] == "abs" else ("abs",) + base, n, d, None)]
        _, tokens, _ = self._spell_product(1, 1, 1, False, factors)
        return PRODUCT, 1, p, q, const, [(("abs",) + tokens, 1, 1, None)]

    def _constant_call(self, name, item):
        """A function of something without variables; NonFinite where it is defined nowhere."""
        if item is _FREE:
            return _FREE
        value = item[1] if item[0] == CONST else None
        try:
            if item[0] == NUMBER:
                value = item[1] / item[2]
            if name in _FUNCTIONS and value is not None:
                return CONST, _FUNCTIONS[name](value)
        except OverflowError:
            raise NonFinite(f"{name} overflows") from None
        except ValueError:
            raise NonFinite(f"{name}({value}) is undefined") from None
        return _FREE


# ---- tokens -----------------------------------------------------------------------------------


def _oriented(sign, tokens, flip):
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


def _without(product, factor):
    """A product without one of its factors."""
    _, sign, p, q, const, factors = product
    rest = [other for other in factors if other is not factor and other[:3] != factor[:3]]
    return (PRODUCT, sign, p, q, const, rest) if rest else _FREE


def _may_merge(term) -> bool:
    """Whether a term of a new sum is a sum itself, or has a coefficient that a free constant may take in."""
    if term[0] != PRODUCT:
        return False
    _, _, p, q, _, factors = term
    return (len(factors) == 1 and factors[0][0][0] in "+-") or (p != q and any(CONSTANT in factor[0] for factor in factors))


def _prefixed(prefix, flip):
    """flip with tokens put in front of what it gives."""
    if flip is None or not prefix or flip is EITHER:
        return flip
    return lambda: prefix + flip()


def _normal(p, q):
    return (NUMBER, p, q) if q > 0 else (NUMBER, -p, -q)


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
