"""The text of formulas written byte by byte in compiled code: what expressions.to_infix gives, for many programs at once.

    texts, text_at = texts_of(constants)         # as they are printed
    end = put_infix(out, at, Formula(tape, ...), used, first)

A node's text is  before, operand, (between, operand,) after;  an operand of a lower precedence than LEAST is put in
brackets.  All of it comes from the operator table.  Importing this module loads numba.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fansr.expressions import (
    EVEN_ROOTS,
    OPERATORS,
    TAPE,
    WHOLE_POWERS,
    Tape,
    compilation as nb,
    format_number,
    opcodes as op,
)

ATOM, SIGNED = 6, 3  # precedences of a leaf: a name or number, a number with a minus
PRECEDENCE = np.array([row.precedence for row in OPERATORS])
LEAST = np.zeros((len(OPERATORS), 2), dtype=np.int64)
_pieces: list[str] = ["(", ")", " - "]
OPENING, CLOSING, MINUS = range(3)
EXPONENT = 2000  # on the stack, -EXPONENT - n: **n
STRIP = -1000  # on the stack: the minus that comes next is written already
BEFORE, BETWEEN, AFTER = (np.zeros(len(OPERATORS), dtype=np.int64) for _ in range(3))
ROOTED = np.zeros((2, 2), dtype=np.int64)  # powers 3 and 5 of the roots 2 and 4


def _piece(text: str) -> int:
    """The number of a piece of text."""
    if text not in _pieces:
        _pieces.append(text)
    return _pieces.index(text)


for _row in OPERATORS:
    _p, _between, _after = _row.precedence, "", ""
    if _row.arity == 2:
        _before, (_between, _after) = "", _row.infix.removeprefix("{a}").split("{b}")
        _least = (5, 5) if _row.token == "pow" else (_p, _p + 1 if _row.token in "-/" else _p)
    else:
        _before, _after = _row.infix.split("{a}")
        _least = (0 if _p == 5 else 4 if _row.token == "inv" else 5 if _p == 4 else 2, 0)
    LEAST[_row.opcode] = _least
    BEFORE[_row.opcode], BETWEEN[_row.opcode], AFTER[_row.opcode] = map(_piece, (_before, _between, _after))
for _token, _whole in WHOLE_POWERS.items():
    for _root, _of in EVEN_ROOTS.items():
        ROOTED[int(_token == "pow5"), int(_root == "pow1_4")] = _piece(f"**{format_number(_whole / _of)}")
PIECES = np.frombuffer("".join(_pieces).encode(), np.uint8).copy()
PIECE_AT = np.cumsum([0, *map(len, _pieces)])


@nb.inner
def put_bytes(out, at, text, start, stop):
    """text[start:stop] as it is."""
    for i in range(start, stop):
        out[at + i - start] = text[i]
    return at + stop - start


@nb.inner
def put_digits(out, at, value):
    """A whole number in decimal digits."""
    value = nb.uint64(value)
    digits, rest = 1, value // nb.uint64(10)
    while rest > 0:
        digits, rest = digits + 1, rest // nb.uint64(10)
    for i in range(digits - 1, -1, -1):
        out[at + i] = 48 + value % nb.uint64(10)
        value //= nb.uint64(10)
    return at + digits


def texts_of(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers (n,) as expressions.format_number prints them: all the text, and where each begins and the last ends."""
    texts = [
        text if "e" not in (text := repr(value)) and text[-2:] != ".0" else format_number(value)
        for value in values.tolist()
    ]
    return np.frombuffer("".join([*texts, " "]).encode(), np.uint8).copy(), np.cumsum([0, *map(len, texts)])


class Formula(NamedTuple):
    """A program whose text is wanted, and work arrays."""

    tape: Tape
    name_of: np.ndarray  # (D,) int64, each column's new number, from 1
    texts: np.ndarray  # bytes; constant c reads texts[text_at[first + c] : text_at[first + c + 1]]
    text_at: np.ndarray  # int64
    precedence: np.ndarray  # (L,) int64, of each node's text
    minus: np.ndarray  # (L,) int64, whether it begins with a minus
    stack: np.ndarray  # (8 * L,) int64


FORMULA = nb.named(Formula, TAPE, nb.I1, nb.U1, nb.I1, nb.I1, nb.I1, nb.I1)


@nb.inner
def weigh(formula, used, first):
    """Fill in precedence and minus."""
    codes, link, precedence, minus = formula.tape.op, formula.tape.link, formula.precedence, formula.minus
    for k in range(used - 1, -1, -1):
        q = codes[k]
        if q == op.COLUMN:
            precedence[k], minus[k] = ATOM, 0
        elif q == op.FREE:
            minus[k] = formula.texts[formula.text_at[first + link[k]]] == 45
            precedence[k] = SIGNED if minus[k] else ATOM
        else:
            precedence[k] = PRECEDENCE[q]
            before = BEFORE[q]
            if PIECE_AT[before + 1] > PIECE_AT[before]:
                minus[k] = PIECES[PIECE_AT[before]] == 45
            else:
                minus[k] = minus[k + 1] if precedence[k + 1] >= LEAST[q, 0] else 0
            if (q == op.POW3 or q == op.POW5) and (codes[k + 1] == op.ROOT2 or codes[k + 1] == op.ROOT4):
                precedence[k], minus[k] = PRECEDENCE[op.LAST_BINARY], 0


@nb.inner
def is_power(codes, k):
    """Whether a node is the power of a whole number that is not written as that of a root."""
    q = codes[k]
    if not op.POW2 <= q <= op.POW5:
        return False
    return not ((q == op.POW3 or q == op.POW5) and (codes[k + 1] == op.ROOT2 or codes[k + 1] == op.ROOT4))


@nb.inner
def push(stack, top, k, wrapped):
    """Put the node k on the stack, in brackets if asked; what is put last comes first."""
    if wrapped:
        stack[top] = -CLOSING - 1
        top += 1
    stack[top] = k
    top += 1
    if wrapped:
        stack[top] = -OPENING - 1
        top += 1
    return top


@nb.shared(nb.int64(nb.U1, nb.int64, FORMULA, nb.int64, nb.int64), python=True)
def put_infix(out, at, formula, used, first):
    """The text of a formula of `used` positions, whose first constant has the number `first` among all."""
    weigh(formula, used, first)
    codes, link, precedence, minus = formula.tape.op, formula.tape.link, formula.precedence, formula.minus
    stack, texts, text_at = formula.stack, formula.texts, formula.text_at
    top, bare = 1, 0  # bare: how many letters of what comes next are left out
    stack[0] = 0
    while top > 0:
        top -= 1
        k = stack[top]
        if k == STRIP:
            bare = 1
            continue
        if k < -EXPONENT:
            out[at], out[at + 1] = 42, 42  # **
            at = put_digits(out, at + 2, -k - EXPONENT)
            continue
        if k < 0:  # a piece of text
            start, stop = PIECE_AT[-k - 1], PIECE_AT[-k]
            if start < stop:
                for i in range(start + bare, stop):
                    out[at] = PIECES[i]
                    at += 1
                bare = 0
            continue
        q = codes[k]
        if q == op.COLUMN:
            out[at] = 120  # x
            at = put_digits(out, at + 1, formula.name_of[link[k]])
        elif q == op.FREE:
            c = first + link[k]
            at = put_bytes(out, at, texts, text_at[c] + bare, text_at[c + 1])
            bare = 0
        else:
            after, a, least = AFTER[q], k + 1, LEAST[q, 0]
            n = 1
            if (q == op.POW3 or q == op.POW5) and (codes[k + 1] == op.ROOT2 or codes[k + 1] == op.ROOT4):
                after, a, least = ROOTED[nb.int64(q == op.POW5), nb.int64(codes[k + 1] == op.ROOT4)], k + 2, 5
            elif is_power(codes, k) and is_power(codes, k + 1):
                a = k
                while is_power(codes, a):
                    n *= codes[a] - op.POW2 + 2
                    a += 1
            stack[top] = -EXPONENT - n if n > 1 else -after - 1
            top += 1
            if q <= op.LAST_BINARY:
                b, joins = link[k], q == 0 and minus[link[k]] == 1  # a + -b is a - b
                top = push(stack, top, b, not joins and (minus[b] == 1 or precedence[b] < LEAST[q, 1]))
                if joins:
                    stack[top] = STRIP
                    top += 1
                stack[top] = -(MINUS if joins else BETWEEN[q]) - 1
                top += 1
            top = push(stack, top, a, precedence[a] < least)
            stack[top] = -BEFORE[q] - 1
            top += 1
    return at
