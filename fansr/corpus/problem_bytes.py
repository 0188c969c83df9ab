"""Problem records of drawn skeletons, laid out byte by byte in one compiled loop.

What render writes about a skeleton is the same map of eleven fields each time, most of it the numbers draw_kernels.draw has
just made.  Packing it field by field takes Python 100 us, of which 40 are the formula; here it takes about 4, and the
bytes are those packing.py would give.  Layout of one record (msgpack):

    8b|8d                               map of 11 fields, 13 with points for validation
    kind "problem", id uint, X (M, D), y (M,) [, X_val, y_val]   arrays as in packing.py, X point by point
    names [x1 ..], target "y", noise f8
    truth {expr [tokens], consts (C,), infix str}
    source "skeleton N", repeat uint, dummies uint

The columns a problem has are those with numbers, renumbered x1, x2, ... in order.  Importing this module loads numba.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgpack
import numpy as np
from llvmlite import ir

from fansr.corpus import draw_kernels
from fansr.corpus.draw_kernels import DRAWN, REQUEST, Drawn, Request
from fansr.corpus.skeleton_rows import LENGTH, LETTERS
from fansr.expressions import (
    CONSTANT_ID,
    EVEN_ROOTS,
    OPERATORS,
    TAPE,
    WHOLE_POWERS,
    Tape,
    compilation as nb,
    format_number,
    opcodes as op,
)
from fansr.streams import NDARRAY

ATOM, SIGNED = 6, 3  # precedences of a leaf: a name or number, a number with a minus
SUM = 1  # precedence of + and -


# ---- bytes ------------------------------------------------------------------------------------


@nb.intrinsic
def store(typingctx, out, at, value):
    """out[at : at + 8] = the eight bytes of a float64, little-endian, wherever `at` is."""

    def codegen(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        word = builder.bitcast(arguments[2], ir.IntType(64))
        builder.store(word, builder.bitcast(place, word.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return nb.void(out, nb.int64, nb.float64), codegen


@nb.intrinsic
def bits_of(typingctx, value):
    """The 64 bits of a float64 as a whole number."""

    def codegen(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(64))

    return nb.uint64(nb.float64), codegen


@nb.inner
def put_big(out, at, value, width):
    """`value` in `width` bytes, the highest first; returns the place after it, as all of these do."""
    value = nb.uint64(value)
    for i in range(width):
        out[at + i] = (value >> nb.uint64(8 * (width - 1 - i))) & nb.uint64(255)
    return at + width


@nb.inner
def put_uint(out, at, value):
    """An unsigned number in msgpack's shortest form."""
    value = nb.uint64(value)
    if value < 128:
        out[at] = value
        return at + 1
    step = 0 if value < 1 << 8 else 1 if value < 1 << 16 else 2 if value < 1 << 32 else 3
    out[at] = 0xCC + step
    return put_big(out, at + 1, value, 1 << step)


@nb.inner
def put_array(out, at, n):
    """The head of an array of n objects."""
    if n < 16:
        out[at] = 0x90 | n
        return at + 1
    out[at] = 0xDC
    return put_big(out, at + 1, n, 2)


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


@nb.inner
def put_array_head(out, at, rows, columns):
    """Everything before the bytes of a float64 array (rows, columns), or (rows,) with columns -1."""
    size = 8 * rows * max(columns, 1) if columns != 0 else 0
    wide = 0 if size < 1 << 8 else 1 if size < 1 << 16 else 2  # of the bytes' own length
    head = 7 + 1 + (1 << wide)  # array of 3, "<f8", array of the shape, bin and its length
    for number in (rows, columns):
        head += 0 if number < 0 else 1 if number < 128 else 2 if number < 1 << 8 else 3 if number < 1 << 16 else 5
    head -= 1
    length = head + size
    if length == 1 or length == 2 or length == 4 or length == 8 or length == 16:
        out[at] = 0xD4 + (0 if length == 1 else 1 if length == 2 else 2 if length == 4 else 3 if length == 8 else 4)
        at += 1
    else:
        step = 0 if length < 1 << 8 else 1 if length < 1 << 16 else 2
        out[at] = 0xC7 + step
        at = put_big(out, at + 1, length, 1 << step)
    out[at] = NDARRAY
    out[at + 1] = 0x93
    out[at + 2], out[at + 3], out[at + 4], out[at + 5] = 0xA3, 60, 102, 56  # "<f8"
    out[at + 6] = 0x91 if columns < 0 else 0x92
    at = put_uint(out, at + 7, rows)
    if columns >= 0:
        at = put_uint(out, at, columns)
    out[at] = 0xC4 + wide
    return put_big(out, at + 1, size, 1 << wide)


@nb.inner
def put_points(out, at, X, columns, D, start, stop):
    """Points start..stop-1 of the columns (D of them) of X (all columns, points), point by point, as an array."""
    at = put_array_head(out, at, stop - start, D)
    for j in range(D):
        x, place = X[columns[j]], at + 8 * j
        for i in range(start, stop):
            store(out, place, x[i])
            place += 8 * D
    return at + 8 * D * (stop - start)


@nb.inner
def put_vector(out, at, y, start, stop):
    """y[start:stop] as an array."""
    at = put_array_head(out, at, stop - start, -1)
    for i in range(start, stop):
        store(out, at + 8 * (i - start), y[i])
    return at + 8 * (stop - start)


# ---- the formula ------------------------------------------------------------------------------

# A node's text is  before, operand, (between, operand,) after;  an operand of a lower precedence than LEAST is put in
# brackets.  All of it comes from the operator table, as in expr.to_infix, whose text this is.
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


# ---- whole records ----------------------------------------------------------------------------


def _words(*parts) -> tuple[np.ndarray, np.ndarray]:
    """Fixed strings as msgpack has them, one after another, and where each begins and the last ends."""
    packed = [msgpack.packb(part) if isinstance(part, str) else part for part in parts]
    return np.frombuffer(b"".join(packed), np.uint8).copy(), np.cumsum([0, *map(len, packed)])


KIND_ID, X_, Y_, X_VAL, Y_VAL, NAMES, TARGET_NOISE, TRUTH, CONSTS, INFIX, SOURCE, REPEAT, DUMMIES = range(13)
WORDS, WORD_AT = _words(
    msgpack.packb("kind") + msgpack.packb("problem") + msgpack.packb("id"),
    "X",
    "y",
    "X_val",
    "y_val",
    "names",
    msgpack.packb("target") + msgpack.packb("y") + msgpack.packb("noise"),
    msgpack.packb("truth") + b"\x83" + msgpack.packb("expr"),
    "consts",
    "infix",
    "source",
    "repeat",
    "dummies",
)
SKELETON = np.frombuffer(b"skeleton ", np.uint8).copy()
HEAD, PER_TOKEN = 600, 64  # bytes a record takes at most beside its points; of a token in expr, consts, infix and texts


@nb.inner
def put_word(out, at, word):
    """One of the fixed strings above."""
    return put_bytes(out, at, WORDS, WORD_AT[word], WORD_AT[word + 1])


@nb.inner
def put_name(out, at, number):
    """The string x1, x2, ..."""
    end = put_digits(out, at + 2, number)
    out[at], out[at + 1] = 0xA0 | (end - at - 1), 120
    return end


@nb.inner
def put_length(out, at, end, room):
    """The head of a string whose text stands at at + room .. end; the text moves up to it."""
    length = end - at - room
    if length < 32:
        out[at] = 0xA0 | length
        head = at + 1
    elif length < 1 << 8:
        out[at] = 0xD9
        head = put_big(out, at + 1, length, 1)
    else:
        out[at] = 0xDA
        head = put_big(out, at + 1, length, 2)
    for i in range(length):
        out[head + i] = out[at + room + i]
    return head + length


@nb.kernel(nb.int64(REQUEST, nb.W1, nb.int64, nb.int64, DRAWN, nb.I1, nb.U1, nb.I1, nb.U1, nb.int64, nb.I1))
def lay_rows(request, sources, repeats, val, drawn, chosen, texts, text_at, out, at, ends):
    """Write the problems of the rows chosen (n,) into out from `at` on; ends (n,) is where each ends.  Returns the last end.

    sources: ids of the skeletons; val 1: as many points again for validation.  Constants in the order of the chosen rows
    read texts[text_at[i] : text_at[i + 1]].
    """
    rows, filled = request.rows, drawn.filled
    length, D = rows.shape[1], drawn.X.shape[1]
    tape, columns = draw_kernels.new_tape(length, 1), np.zeros(D, np.int64)
    formula = Formula(
        tape, np.zeros(D, np.int64), texts, text_at, np.zeros(length, np.int64), np.zeros(length, np.int64),
        np.zeros(8 * length + 8, np.int64),
    )  # fmt: skip
    first = 0
    for n in range(len(chosen)):
        b = chosen[n]
        used, m = draw_kernels.program(rows[b], tape), request.fit[b]
        width, irrelevant, constants = 0, 0, 0
        for j in range(D):
            if filled[b, j] > 0:
                columns[width] = j
                width += 1
                formula.name_of[j] = width
                irrelevant += filled[b, j] == 2
        out[at] = 0x8D if val else 0x8B
        at = put_uint(out, put_word(out, at + 1, KIND_ID), request.ids[b])
        at = put_points(out, put_word(out, at, X_), drawn.X[b], columns, width, 0, m)
        at = put_vector(out, put_word(out, at, Y_), drawn.y[b], 0, m)
        if val:
            at = put_points(out, put_word(out, at, X_VAL), drawn.X[b], columns, width, m, 2 * m)
            at = put_vector(out, put_word(out, at, Y_VAL), drawn.y[b], m, 2 * m)
        at = put_array(out, put_word(out, at, NAMES), width)
        for j in range(width):
            at = put_name(out, at, j + 1)
        at = put_word(out, at, TARGET_NOISE)
        out[at] = 0xCB
        at = put_array(out, put_word(out, put_big(out, at + 1, bits_of(drawn.noise[b]), 8), TRUTH), used)
        for k in range(used):
            token = nb.int64(rows[b, k])
            if tape.op[k] == op.COLUMN:
                at = put_name(out, at, formula.name_of[tape.link[k]])
            else:
                out[at] = 0xA0 | LENGTH[token]
                at = put_bytes(out, at + 1, LETTERS[token], 0, LENGTH[token])
                constants += tape.op[k] == op.FREE
        at = put_vector(out, put_word(out, at, CONSTS), drawn.consts[b], 0, constants)
        at = put_word(out, at, INFIX)
        end = put_infix(out, at + 3, formula, used, first)
        at = put_word(out, put_length(out, at, end, 3), SOURCE)
        end = put_digits(out, put_bytes(out, at + 3, SKELETON, 0, len(SKELETON)), sources[b])
        at = put_word(out, put_length(out, at, end, 3), REPEAT)
        at = put_word(out, put_uint(out, at, b % repeats), DUMMIES)
        at = put_uint(out, at, irrelevant)
        first += constants
        ends[n] = at
    return at


def texts_of(values: Iterable[float]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers as expr.format_number prints them: all the text, and where each begins and the last ends."""
    texts = [
        text if "e" not in (text := repr(value)) and text[-2:] != ".0" else format_number(value)
        for value in values.tolist()
    ]
    return np.frombuffer("".join([*texts, " "]).encode(), np.uint8).copy(), np.cumsum([0, *map(len, texts)])


class Sheet:
    """Bytes that problems are laid into one after another, in memory that is used again."""

    def __init__(self):
        self._bytes = np.empty(0, np.uint8)
        self._ends: list[np.ndarray] = []
        self.size = 0

    def clear(self) -> None:
        """Begin anew; what `data` gave is overwritten."""
        self._ends, self.size = [], 0

    @property
    def data(self) -> memoryview:
        """What is laid, until the next clear()."""
        return self._bytes[: self.size].data

    @property
    def ends(self) -> np.ndarray:
        """Where each record ends, (n,) int64."""
        return np.concatenate([np.zeros(0, np.int64), *self._ends])

    def _make_room(self, more: int):
        if self.size + more > len(self._bytes):
            grown = np.empty(max(self.size + more, 2 * len(self._bytes)), np.uint8)
            grown[: self.size] = self._bytes[: self.size]
            self._bytes = grown

    def lay(
        self,
        rows: np.ndarray,
        ids: np.ndarray,
        sources: np.ndarray,
        repeats: int,
        fit: np.ndarray,
        val: bool,
        drawn: dict,
    ) -> None:
        """Append the problems of the rows that could be drawn.

        rows (B, L), ids (B,) and fit (B,) are those given to draw_kernels.draw, drawn what it gave; sources (B,) the skeletons' ids;
        repeats: row b is repeat b % repeats of its skeleton; val: the points beyond fit are for validation.
        """
        chosen = np.flatnonzero(drawn["status"] >= 0)
        constants = (rows[chosen] == CONSTANT_ID).sum(axis=1)
        numbers = drawn["consts"][chosen][np.arange(rows.shape[1]) < constants[:, None]]
        texts, text_at = texts_of(numbers)
        values = (fit[chosen] * (2 if val else 1) * (1 + (drawn["filled"][chosen] > 0).sum(axis=1))).sum()
        self._make_room(8 * int(values) + len(chosen) * (HEAD + PER_TOKEN * rows.shape[1]) + len(texts))
        ends = np.zeros(len(chosen), np.int64)
        self.size = lay_rows(
            Request(rows, ids, fit, fit), sources, repeats, int(val), Drawn(**drawn), chosen, texts, text_at, self._bytes,
            self.size, ends,
        )  # fmt: skip
        self._ends.append(ends)
