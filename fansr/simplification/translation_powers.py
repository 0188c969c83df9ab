"""Powers and functions of items: the part of translation.py that works on one thing at a time.

Exponents of exponents merge, odd roots and odd functions let signs and free constants out, functions
undo their inverses, and a function of something without variables becomes a free constant.  Items are those of
translation_sums.py.
"""

from __future__ import annotations

import math

from fansr.expressions import CONSTANT
from fansr.simplification.translation_sums import ATOM, CONST, EITHER, FREE, NUMBER, PRODUCT, SUM, Speller, oriented

_ONE = (NUMBER, 1, 1)
_ODD = frozenset(("sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh"))
_EVEN = frozenset(("cos", "cosh", "abs"))
_UNDONE = {"sin": "asin", "cos": "acos", "tanh": "atanh", "exp": "log", "cosh": "acosh"}
_FUNCTIONS = {
    name: getattr(math, name)
    for name in (
        "sin",
        "cos",
        "tan",
        "asin",
        "acos",
        "atan",
        "sinh",
        "cosh",
        "tanh",
        "asinh",
        "acosh",
        "atanh",
        "exp",
        "log",
    )
}
_FUNCTIONS["abs"] = abs


class NonFinite(Exception):
    """The expression holds an infinity or is undefined everywhere."""


class Unknown(ValueError):
    """A token that is no operator, variable, constant or number."""


class Powers(Speller):
    """What becomes of a power, a root or a function of an item."""

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
        if base[0] == NUMBER and not base[1]:  # 0^f is 0 wherever it is finite, but for points where f is 0
            self.changed = True
            return base
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
            return FREE
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
        sign, tokens, flip = oriented(*self._signed(base))
        return PRODUCT, sign if n & 1 else 1, 1, 1, False, [(tokens, n, d, flip if sign else EITHER)]

    def _integer_power(self, base, n):
        _, sign, p, q, const, factors = base
        if n < 0:
            p, q = q, p
        k = abs(n)
        if len(factors) > 1:
            self.changed = True
        raised = []
        for b, m, d, flip in factors:
            g = math.gcd(m * n, d) or 1  # d is 0 where the exponent is a free constant, which stays one
            if g > 1:
                self.changed = True  # a root undone: what was under it may be like its neighbours
            raised.append((b, m * n // g, d // g, flip) if d else (b, 0, 0, None))
        return PRODUCT, sign if n & 1 else 1, p**k, q**k, const, raised

    def _number_power(self, base, n, d):
        p, q = base[1], base[2]
        if p == 0:
            if n < 0:
                raise NonFinite("a negative power of zero")
            return base
        if d == 1 and abs(n) <= 16:
            return (NUMBER, p**n, q**n) if n > 0 else _normal(q**-n, p**-n)
        if p < 0 and d % 2 == 0:
            raise NonFinite("an even root of a negative number")
        return FREE

    def _free_power(self, base):
        """base^C."""
        tag = base[0]
        if tag in (NUMBER, CONST):
            return FREE
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
        sign, tokens, _ = oriented(*self._signed(exponent))
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
        sign, tokens, flip = oriented(*self._signed(item))
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
        if any([n and not n & 1 for _, n, _, _ in factors]):
            self.changed = True  # the engine lets an even power out
        _, tokens, _ = self._spell_product(1, 1, 1, False, factors)
        return PRODUCT, 1, p, q, const, [(("abs",) + tokens, 1, 1, None)]

    def _constant_call(self, name, item):
        """A function of something without variables; NonFinite where it is defined nowhere."""
        if item is FREE:
            return FREE
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
        return FREE


def _normal(p, q):
    return (NUMBER, p, q) if q > 0 else (NUMBER, -p, -q)
