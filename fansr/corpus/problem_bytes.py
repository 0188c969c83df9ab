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

import msgpack
import numpy as np
from llvmlite import ir

from fansr.corpus import draw_kernels
from fansr.corpus.draw_kernels import DRAWN, REQUEST, Drawn, Request
from fansr.corpus.formula_text import Formula, put_bytes, put_digits, put_infix, texts_of
from fansr.corpus.skeleton_rows import LENGTH, LETTERS
from fansr.expressions import CONSTANT_ID, compilation as nb, opcodes as op
from fansr.streams import NDARRAY

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
