r"""Expressions with whole numbers written out digit by digit, as a network can predict them: two notations.

    prefix    the vocabulary of tokens.py, then ten digits and a minus:   * -12 x1   ->   *  -  1 2  x1
    latex     the formula as one writes it:                               \frac{ x_1 }{ 2 \cdot x_2 }

write(expr) gives ids, read(ids) the expression again, None where the ids are no formula.  An Automaton says token by
token what may come next, so that whatever is drawn under it can be read.  In both notations <pad>, <bos> and <eos> have
the ids they have in tokens.py, and a sequence ends with <eos>.

What is read back is what was written, but for what LaTeX has no word of its own: mult2 x is written as 2 \cdot x and read
as a product, inv x as \frac{1}{x}, a fourth root as two square roots.  Numbers of up to MOST_DIGITS digits; two bare numbers side by side (+ 3 4) have no
spelling in prefix, where the second would go on with the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fansr.expressions.prefix import Expr, arity
from fansr.expressions.tokens import (
    ARITY,
    BOS,
    CONSTANT,
    EOS,
    EOS_ID,
    MAX_VARIABLES,
    PAD,
    TOKEN_ID,
    VARIABLES,
    VOCABULARY,
    variable_index,
)

MOST_DIGITS = 9
DIGITS = tuple("0123456789")


def whole_number(token: str) -> int | None:
    """The whole number that a token such as 7 or -12 is, None for other tokens and for more than MOST_DIGITS digits."""
    digits = token[1:] if token[:1] == "-" else token
    if not (digits.isdecimal() and digits.isascii() and len(digits) <= MOST_DIGITS):
        return None
    return int(token)


class Notation:
    """A vocabulary and a way to write expressions in it.

    name; vocabulary: tokens by id.  write and read know tokens, `automaton` says what may follow what.
    """

    name = ""
    vocabulary: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.ids = {token: i for i, token in enumerate(self.vocabulary)}

    def write(self, expr: Sequence[str]) -> list[int] | None:
        """The ids of an expression, without <bos> and <eos>; None where it has no spelling."""
        words = self.words(list(expr))
        if words is None or not all(word in self.ids for word in words):
            return None
        return [self.ids[word] for word in words]

    def read(self, ids: Iterable[int]) -> Expr | None:
        """The expression of ids, <bos>, <eos> and padding left out; None where they are none."""
        words = [self.vocabulary[i] for i in ids if i > EOS_ID]
        try:
            return self.parsed(words)
        except (IndexError, ValueError):
            return None

    def words(self, expr: Expr) -> list[str] | None:
        raise NotImplementedError

    def parsed(self, words: list[str]) -> Expr:
        """The expression; IndexError where it is cut off, ValueError where it is wrong."""
        raise NotImplementedError

    def automaton(self, columns: int, length: int) -> Automaton:
        """What may be drawn over x1 .. x`columns` in at most `length` tokens, <eos> included."""
        raise NotImplementedError


# ---- prefix -----------------------------------------------------------------------------------

MINUS = "minus"  # before digits; the operator - is another token


class Prefix(Notation):
    """Prefix order, each number as digits after an optional sign; it ends where the next token is no digit."""

    name = "prefix"
    vocabulary = (*VOCABULARY, *DIGITS, MINUS)

    def words(self, expr: Expr) -> list[str] | None:
        words: list[str] = []
        for token in expr:
            number = whole_number(token)
            if number is None:
                if token == CONSTANT or token not in ARITY or token not in TOKEN_ID:
                    return None
                words.append(token)
                continue
            if number >= 0 and words and words[-1] in DIGITS:
                return None
            words += [MINUS] * (number < 0) + list(str(abs(number)))
        return words

    def parsed(self, words: list[str]) -> Expr:
        expr: Expr = []
        missing, at = 1, 0
        while at < len(words):
            word = words[at]
            if missing == 0 or word == CONSTANT:
                raise ValueError(word)
            if word == MINUS or word in DIGITS:
                start = at + (word == MINUS)
                at = start
                while at < len(words) and words[at] in DIGITS:
                    at += 1
                digits = "".join(words[start:at])
                if not digits or len(digits) > MOST_DIGITS:
                    raise ValueError(word)
                expr.append(str(-int(digits) if word == MINUS else int(digits)))
                missing -= 1
            else:
                expr.append(word)
                missing += ARITY[word] - 1
                at += 1
        if missing:
            raise IndexError("cut off")
        return expr

    def automaton(self, columns: int, length: int) -> Automaton:
        return _PrefixAutomaton(self, columns, length)


# ---- LaTeX ------------------------------------------------------------------------------------

_CALLS = {
    "sin": r"\sin(", "cos": r"\cos(", "tan": r"\tan(", "asin": r"\arcsin(", "acos": r"\arccos(", "atan": r"\arctan(",
    "sinh": r"\sinh(", "cosh": r"\cosh(", "tanh": r"\tanh(", "asinh": r"\operatorname{arsinh}(",
    "acosh": r"\operatorname{arcosh}(", "atanh": r"\operatorname{artanh}(", "log": r"\log(",
}  # fmt: skip
_OPENERS = {r"\sqrt{": ("pow1_2", "}"), "e^{": ("exp", "}"), r"\left|": ("abs", r"\right|")}
_OPENERS |= {opener: (token, ")") for token, opener in _CALLS.items()}
_OPENER_OF = {token: (opener, closer) for opener, (token, closer) in _OPENERS.items()}
_SUM, _PRODUCT, _SIGNED, _POWER, _ATOM = range(1, 6)


class Latex(Notation):
    """LaTeX as the scaling study's targets have it, one word a token; 56 of them."""

    name = "latex"
    vocabulary = (
        PAD, BOS, EOS, *(f"x_{j + 1}" for j in range(MAX_VARIABLES)), *DIGITS,
        "+", "-", r"\cdot", "(", ")", "}", r"\frac{", "}{", "^{", *_OPENERS, r"\right|",
    )  # fmt: skip

    def words(self, expr: Expr) -> list[str] | None:
        try:
            return self._written(expr, 0, _SUM)[0]
        except ValueError:
            return None

    def _written(self, expr: Expr, at: int, least: int) -> tuple[list[str], int]:
        """The words of the operand that begins at `at`, in parentheses where it binds less than `least`; and where it ends."""
        token, rest = expr[at], at + 1
        number = whole_number(token)
        if (j := variable_index(token)) is not None:
            return [f"x_{j + 1}"], rest
        if number is not None:
            words, level = ["-"] * (number < 0) + list(str(abs(number))), _SIGNED if number < 0 else _ATOM
        elif token in ("+", "-"):
            left, rest = self._written(expr, rest, _SUM)
            right, rest = self._written(expr, rest, _PRODUCT)
            words, level = [*left, token, *right], _SUM
        elif token == "*":
            left, rest = self._written(expr, rest, _PRODUCT)
            right, rest = self._written(expr, rest, _SIGNED)
            words, level = [*left, r"\cdot", *right], _PRODUCT
        elif token[:4] == "mult":
            right, rest = self._written(expr, rest, _SIGNED)
            words, level = [token[4:], r"\cdot", *right], _PRODUCT
        elif token in ("/", "inv") or token[:3] == "div":
            above, rest = (["1"], rest) if token == "inv" else self._written(expr, rest, _SUM)
            below, rest = ([token[3:]], rest) if token[:3] == "div" else self._written(expr, rest, _SUM)
            words, level = [r"\frac{", *above, "}{", *below, "}"], _ATOM
        elif token == "neg":
            inner, rest = self._written(expr, rest, _SIGNED)
            if inner[0] in DIGITS:  # -3 is a number: the negative of one is -(3)
                inner = ["(", *inner, ")"]
            words, level = ["-", *inner], _SIGNED
        elif token in ("pow2", "pow3", "pow4", "pow5"):
            base, rest = self._written(expr, rest, _ATOM)
            words, level = [*base, "^{", token[3:], "}"], _POWER
        elif token == "pow1_4":
            inner, rest = self._written(expr, rest, _SUM)
            words, level = [r"\sqrt{", r"\sqrt{", *inner, "}", "}"], _ATOM
        elif token in _OPENER_OF:
            opener, closer = _OPENER_OF[token]
            inner, rest = self._written(expr, rest, _SUM)
            words, level = [opener, *inner, closer], _ATOM
        else:
            raise ValueError(token)
        return (words if level >= least else ["(", *words, ")"]), rest

    def parsed(self, words: list[str]) -> Expr:
        expr, at = self._sum([*words, ""], 0)
        if at != len(words):
            raise ValueError(words[at])
        return expr

    def _sum(self, words, at):
        expr, at = self._product(words, at)
        while words[at] in ("+", "-"):
            right, after = self._product(words, at + 1)
            expr, at = [words[at], *expr, *right], after
        return expr, at

    def _product(self, words, at):
        expr, at = self._factor(words, at)
        while words[at] == r"\cdot":
            right, at = self._factor(words, at + 1)
            expr = ["*", *expr, *right]
        return expr, at

    def _factor(self, words, at):
        if words[at] != "-":
            return self._power(words, at)
        if words[at + 1] in DIGITS:
            (digits,), at = self._number(words, at + 1)
            return [str(-int(digits))], at
        inner, at = self._factor(words, at + 1)
        return ["neg", *inner], at

    def _power(self, words, at):
        expr, at = self._atom(words, at)
        if words[at] == "^{":
            if words[at + 1] not in ("2", "3", "4", "5") or words[at + 2] != "}":
                raise ValueError(words[at + 1])
            return [f"pow{words[at + 1]}", *expr], at + 3
        return expr, at

    def _number(self, words, at):
        stop = at
        while words[stop] in DIGITS:
            stop += 1
        if not 0 < stop - at <= MOST_DIGITS:
            raise ValueError(words[at])
        return [str(int("".join(words[at:stop])))], stop

    def _atom(self, words, at):
        word = words[at]
        if word in DIGITS:
            return self._number(words, at)
        if word[:2] == "x_":
            return [f"x{word[2:]}"], at + 1
        if word == "(":
            return self._inside(words, at + 1, ")")
        if word == r"\frac{":
            above, at = self._inside(words, at + 1, "}{")
            below, at = self._inside(words, at, "}")
            return ["/", *above, *below], at
        if word in _OPENERS:
            token, closer = _OPENERS[word]
            inner, at = self._inside(words, at + 1, closer)
            return [token, *inner], at
        raise ValueError(word)

    def _inside(self, words, at, closer):
        expr, at = self._sum(words, at)
        if words[at] != closer:
            raise ValueError(words[at])
        return expr, at + 1

    def automaton(self, columns: int, length: int) -> Automaton:
        return _LatexAutomaton(self, columns, length)


# ---- what may come next -----------------------------------------------------------------------


class Automaton:
    """What decoders.Grammar is for skeletons: which tokens may come next.  A sequence is complete at <eos>.

    States are numbered as they are met.  A subclass gives the first one, the next one after a word (None: not allowed)
    and the fewest words that complete a state, <eos> included.
    """

    start = 0

    def __init__(self, notation: Notation, columns: int, length: int):
        self.notation, self.length = notation, length
        self.variables = set((VARIABLES if notation.name == "prefix" else notation.vocabulary[3:])[:columns])
        self.found: list = []
        self.number: dict = {}
        self.after: list[np.ndarray] = []  # of each state: the state after each token, -1 where it is not allowed
        self.needs: list[np.ndarray] = []  # of each state: words that are needed after each token, 1 << 30 there
        self.closing: list[int] = []
        self.ended = self._number_of(None)
        self.start = self._number_of(self.first())

    def first(self) -> Any:
        raise NotImplementedError

    def next(self, state: Any, word: str) -> Any:
        raise NotImplementedError

    def least(self, state: Any) -> int:
        raise NotImplementedError

    def _number_of(self, state) -> int:
        if state not in self.number:
            self.number[state] = len(self.found)
            self.found.append(state)
            self.closing.append(0 if state is None else self.least(state))
            self.after.append(None)  # type: ignore[arg-type]
            self.needs.append(None)  # type: ignore[arg-type]
        return self.number[state]

    def _open(self, k: int) -> None:
        """Fill in what may follow state k."""
        if self.after[k] is not None:
            return
        after = np.full(len(self.notation.vocabulary), -1, np.int64)
        needs = np.full(len(after), 1 << 30, np.int64)
        state = self.found[k]
        for i, word in enumerate(self.notation.vocabulary) if state is not None else ():
            if word in (PAD, BOS, CONSTANT):
                continue
            if word == EOS:
                if self.closing[k] == 1:
                    after[i], needs[i] = self.ended, 0
                continue
            follower = self.next(state, word)
            if follower is not None:
                after[i] = self._number_of(follower)
                needs[i] = self.closing[after[i]]
        self.after[k], self.needs[k] = after, needs

    def mask(self, states: np.ndarray, t: int) -> np.ndarray:
        """(N, V) bool for sequences of t tokens in these states (N,)."""
        known, rows = np.unique(states, return_inverse=True)
        for k in known.tolist():
            self._open(k)
        return np.stack([self.needs[k] <= self.length - t - 1 for k in known.tolist()])[rows]

    def advance(self, states: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """The states (N,) after one more token of each sequence."""
        return np.array([self.after[k][v] for k, v in zip(states.tolist(), tokens.tolist())], np.int64)

    def done(self, rows: Any) -> np.ndarray:
        """(N,) bool: which sequences have ended."""
        return rows.ids[:, -1] == EOS_ID


class _PrefixAutomaton(Automaton):
    """State: (operands missing, digits of the number under way; -1 after its sign, MOST_DIGITS where it can have no more)."""

    def first(self) -> Any:
        return 1, 0

    def next(self, state: Any, word: str) -> Any:
        missing, digits = state
        if word in DIGITS:
            if digits == -1 or (digits == 0 and missing):  # a first digit
                missing -= digits == 0
                return missing, MOST_DIGITS if word == "0" else 1
            return (missing, digits + 1) if 0 < digits < MOST_DIGITS else None
        if digits == -1 or not missing:
            return None
        if word == MINUS:
            return missing - 1, -1
        if word in VARIABLES:
            return (missing - 1, 0) if word in self.variables else None
        return missing + arity(word) - 1, 0

    def least(self, state: Any) -> int:
        missing, digits = state
        return missing + (digits == -1) + 1


class _LatexAutomaton(Automaton):
    """State: (what closes the brackets that are open, what was last).

    Last: "" nothing of an operand yet, "-" a sign, ("n", digits, signed) a number, "a" an atom, "p" a power, "^" and "^d" in
    an exponent.
    """

    def first(self) -> Any:
        return (), ""

    def next(self, state: Any, word: str) -> Any:
        closers, last = state
        if last == "^":
            return (closers, "^d") if word in ("2", "3", "4", "5") else None
        if last == "^d":
            return (closers, "p") if word == "}" else None
        number = isinstance(last, tuple)
        if last in ("", "-"):
            if word in DIGITS:
                return closers, ("n", MOST_DIGITS if word == "0" else 1, last == "-")
            if word[:2] == "x_":
                return (closers, "a") if word in self.variables else None
            if word == "-":
                return closers, "-"
            if word == "(":
                return (*closers, ")"), ""
            if word == r"\frac{":
                return (*closers, "}{"), ""
            return ((*closers, _OPENERS[word][1]), "") if word in _OPENERS else None
        if word in DIGITS:
            return (closers, ("n", last[1] + 1, last[2])) if number and last[1] < MOST_DIGITS else None
        if word in ("+", "-", r"\cdot"):
            return closers, ""
        if word == "^{":
            return (closers, "^") if last == "a" or (number and not last[2]) else None
        if closers and word == closers[-1]:
            return ((*closers[:-1], "}"), "") if word == "}{" else (closers[:-1], "a")
        return None

    def least(self, state: Any) -> int:
        closers, last = state
        words = {"": 1, "-": 1, "^": 2, "^d": 1}.get(last, 0) if isinstance(last, str) else 0
        return words + sum(3 if closer == "}{" else 1 for closer in closers) + 1


NOTATIONS: dict[str, Notation] = {notation.name: notation for notation in (Prefix(), Latex())}


def bound(ids: Sequence[int], consts: Sequence[float]) -> Expr:
    """Vocabulary ids with whole numbers for their constants, in pre-order; a factor of 1 is left out."""
    numbers = iter(consts)
    tokens = (VOCABULARY[i] for i in ids if i > EOS_ID)
    return without_ones(str(round(float(next(numbers)))) if token == CONSTANT else token for token in tokens)


def without_ones(tokens: Iterable[str]) -> Expr:
    """The expression with * 1 t written as t."""
    expr: Expr = []
    for token in tokens:
        if token == "1" and expr and expr[-1] == "*":
            expr.pop()
        else:
            expr.append(token)
    return expr
