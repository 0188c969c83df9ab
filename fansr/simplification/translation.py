"""Spell the simplification engine's tagged form in the 38 operators of Table 5.

The engine reads Table 5 but writes sums and products as bags with a section for what is subtracted
or divided, and numbers as literals:

    <add> <mul> 2 sin x1 <div> 3 </mul> <constant> <sub> pow x2 7 </add>

Table 5 has binary operators, mult2..5, div2..5, pow2..5, pow1_2..5 and one kind of number, the free
constant.  One pass from right to left over the tagged tokens, with a stack, does the whole
translation.  It knows nothing about the engine and nothing about values; it is written for speed,
since it runs for every skeleton of a training corpus.

Things on the stack are the items of translation_sums.py, which also spells what they have become.  Here they are added and
multiplied; their powers and functions stand in translation_powers.py.

A free constant stands for almost every real number, so what it can absorb is absorbed here, where
the structure is at hand: coefficients without a short spelling, signs, exponents of exponents.
`Respeller.changed` tells whether the engine may find more to do with the result than with the tagged
form it came from: terms or factors stand together that stood apart.  Not everything absorbed is such a
change: a number that becomes a free constant, or a sign or coefficient that one takes in, was followed
by no other form in any of 65,000 skeletons.
"""

from __future__ import annotations

import math
from fractions import Fraction

from fansr.expressions import ARITY, CONSTANT, UNARY, literal_value, variable_index
from fansr.simplification.translation_powers import NonFinite, Powers, Unknown
from fansr.simplification.translation_sums import (
    ATOM,
    COEFFICIENT,
    CONST,
    EITHER,
    FREE,
    NUMBER,
    PRODUCT,
    SUM,
    VALUE_OF,
    oriented,
    prefixed,
)

_END, _SECTION = object(), object()  # what a bag's closing tag and its <sub> or <div> leave on the stack
_INFINITY = 'float("inf")'
MAX_LITERALS = 4096  # parsed literals kept; the supply of different ones has no end

_PAIRED = frozenset(("abs", "sin", "cos", "tan", "sinh", "cosh", "tanh", "exp"))  # with rules for products of two
_PLAIN_UNARY = frozenset(UNARY) - {"neg", "inv"}
_SPECIAL = {"np.pi": math.pi, "np.e": math.e}


# ---- one pass ---------------------------------------------------------------------------------


class Respeller(Powers):
    """Translates tagged forms; keeps a table of leaves between calls.  Not to be shared by threads."""

    def __init__(self):
        self._literals = 0
        self._leaves: dict[str, tuple | object] = {
            CONSTANT: FREE,
            "</add>": _END,
            "</mul>": _END,
            "<sub>": _SECTION,
            "<div>": _SECTION,
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
            return FREE if const else (NUMBER, value_p // g, value_q // g)
        if value_p:
            const = True
        if chains:
            parts = [(sign, chains.get(place, ()), tokens, flip) for place, (sign, tokens, flip) in enumerate(terms)]
            if len(chains) > 1:
                parts = self._factored(parts)
            if len(parts) == 1 and not const:
                self.changed = True
                sign, chain, tokens, flip = parts[0]
                return PRODUCT, sign, *VALUE_OF[chain], False, [(tokens, 1, 1, flip)]
            terms = [(sign, chain + tokens, prefixed(chain, flip)) for sign, chain, tokens, flip in parts]
        if len(terms) == 1 and not const:
            if len(above) + len(below) > 1:
                self.changed = True  # what the sum left may be like the factors around it
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
        common = [
            (-(len(places) - 1) * len(key[0]), key)
            for key, (_, places) in counts.items()
            if len(places) > 1 and key[2] and CONSTANT not in key[0]
        ]
        before = self.changed
        for _, key in sorted(common):
            factor, places = counts[key]
            kept = tuple(
                [item for place, item in enumerate(items) if (side, place) not in places]
                for side, items in enumerate((above, below))
            )
            taken = tuple(
                [(above, below)[side][place] for side, place in places if side == wanted] for wanted in (0, 1)
            )
            rests = [[_without(item, factor) for item in items] for items in taken]
            inner = self._add(*rests)
            product = self._multiply([inner, (PRODUCT, 1, 1, 1, False, [factor])], ())
            # Signs are not counted: the sum takes them in.
            apart = sum(len(self._signed(item)[1]) for items in taken for item in items) + len(places) - 1
            if len(self._signed(product)[1]) < apart:
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
                inside.append((sign, chain[:at] + chain[at + 1 :], tokens, flip))
            else:
                outside.append((sign, chain, tokens, flip))
        inner = [(sign, chain + tokens, prefixed(chain, flip)) for sign, chain, tokens, flip in self._factored(inside)]
        sign, tokens, flip = oriented(*self._spell_sum(inner, False))
        outside.append((sign, (token,), tokens, flip))
        return self._factored(outside)

    # ---- products -----------------------------------------------------------------------------

    def _multiply(self, above, below):
        """The product of `above` over the product of `below`."""
        sign = p = q = 1
        const = False
        factors: list = []
        lone, turned = None, 1
        absorbs = inherited = nested = False
        for items, e in ((above, 1), (below, -1)):
            for item in items:
                tag = item[0]
                if tag == ATOM:
                    base, flip = item[1], item[2]
                    if flip is not None:
                        s, base, flip = oriented(1, base, flip)
                        sign *= s
                    self._factor(factors, base, e, 1, flip)
                elif tag == CONST:
                    const = True
                elif tag == SUM:
                    absorbs = absorbs or item[3]
                    s, base, flip = oriented(*self._spell_sum(item[1], item[2]))
                    if e > 0:
                        lone, turned = item, s
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
            return FREE if const else (NUMBER, sign * p, q)
        if absorbs and (const or p != q):  # C * y * (C*x + C) -> y * (C*x + C)
            self.changed = True
            const, p, q = False, 1, 1
        if lone is not None and lone[2] and (const or p != q):
            if len(factors) == 1 and factors[0][1:3] == (1, 1):
                return self._spread(sign * turned, p, q, const, lone)  # its terms as they are, not turned round
            if any(CONSTANT in term[1] for term in lone[1]):
                self.changed = True  # 3 * y * (C*z + C)
        if inherited and (const or p != q) and any(_may_absorb(*factor[:3], const) for factor in factors):
            self.changed = True
        if nested and sum([factor[0][0] in _PAIRED for factor in factors]) > 1:
            self.changed = True  # the engine saw them apart; together they may match a rule
        if const:
            sign = p = q = 1
        return PRODUCT, sign, p, q, const, factors

    def _spread(self, sign, p, q, const, total):
        """coefficient * (S + C) -> coefficient * S + C, at the same length."""
        self.changed = True
        s, tokens, flip = oriented(*self._spell_sum(total[1], False))
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


# ---- items ---------------------------------------------------------------------------------------


def _without(product, factor):
    """A product without one of its factors."""
    _, sign, p, q, const, factors = product
    rest = [other for other in factors if other is not factor and other[:3] != factor[:3]]
    return (PRODUCT, sign, p, q, const, rest) if rest else FREE


def _may_absorb(base, n, d, const) -> bool:
    """Whether a factor is a sum that may take in a coefficient, 2/(C*x + C), or a free constant, C*(x + C)/y."""
    if d != 1 or base[0] not in ("+", "-"):
        return False
    return base.count(CONSTANT) > 1 or (n == 1 and const and CONSTANT in (base[1], base[-1]))


def _may_merge(term) -> bool:
    """Whether a term of a new sum is a sum itself, or has a coefficient that a free constant may take in."""
    if term[0] != PRODUCT:
        return False
    _, _, p, q, _, factors = term
    return (len(factors) == 1 and factors[0][0][0] in "+-") or (
        p != q and any(CONSTANT in factor[0] for factor in factors)
    )


def finite_powers(tagged: list[str]) -> list[str] | None:
    """A tagged form with 0 for every power of infinity, None where there is none.

    The engine writes 0^-f as inf^f.  Where f is negative that is 0, and elsewhere it is nothing finite.
    """
    for i, token in enumerate(tagged):
        if token == _INFINITY and i and tagged[i - 1] == "pow":
            rest = tagged[_end(tagged, i + 1) :]
            return tagged[: i - 1] + ["0"] + (finite_powers(rest) or rest)
    return None


def _end(tagged, i) -> int:
    """The place after the subtree that begins at place i of a tagged form."""
    token = tagged[i]
    i += 1
    if token in ("<add>", "<mul>"):
        while tagged[i] not in ("</add>", "</mul>"):
            i = i + 1 if tagged[i] in ("<sub>", "<div>") else _end(tagged, i)
        return i + 1
    for _ in range(2 if token == "rootn" else ARITY.get(token, 0)):
        i = _end(tagged, i)
    return i
