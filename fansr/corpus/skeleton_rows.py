"""Skeleton records as rows of vocabulary ids, read from a stream's bytes without taking the records apart.

What decontam and render need of a skeleton is its id and its tokens.  A compiled loop finds both in the packed record
(one msgpack map, packing.py) in about 0.2 us; msgpack and a list of Python strings take 5 us.  Whatever the loop does
not know (an array where a name should be, a token outside the vocabulary, more than LONGEST tokens) is left to the
ordinary way, `rows_of`, which also says what is wrong with a record.  Importing this module loads numba.
"""

from __future__ import annotations

import numpy as np

from fansr.corpus import draw_kernels
from fansr.errors import DataError
from fansr.expressions import TOKEN_ID, VOCABULARY, compilation as nb, problems

LONGEST = 80  # tokens of a skeleton that the compiled loop takes; the paper's have at most 35
BYTES = nb.Array(nb.uint8, 1, "C", readonly=True)  # of a Python bytes object

# ---- the words of the vocabulary --------------------------------------------------------------

WIDEST = max(map(len, VOCABULARY))
_SLOTS = 1 << 11
_SHIFT = np.uint64(64 - 11)
LETTERS = np.zeros((len(VOCABULARY), WIDEST), dtype=np.uint8)  # each token's bytes
LENGTH = np.array([len(token) for token in VOCABULARY])
for _id, _token in enumerate(VOCABULARY):
    LETTERS[_id, : len(_token)] = np.frombuffer(_token.encode(), np.uint8)


def _hashing() -> tuple[np.uint64, np.ndarray]:
    """An odd multiplier under which no two tokens share a slot, and the token's id in each slot (0: none)."""
    words = [(int.from_bytes(token.encode()[:8], "little") + len(token)) for token in VOCABULARY]
    multiplier = 0x9E3779B97F4A7C15
    while True:
        slots = [(word * multiplier % (1 << 64)) >> int(_SHIFT) for word in words]
        if len(set(slots)) == len(slots):
            table = np.zeros(_SLOTS, dtype=np.uint8)
            # <pad>, <bos> and <eos> stand in no expression.
            table[slots] = [TOKEN_ID[token] if i > 2 else 0 for i, token in enumerate(VOCABULARY)]
            return np.uint64(multiplier), table
        multiplier = (multiplier * 5 + 2) % (1 << 64) | 1


_MULTIPLIER, _SLOT = _hashing()


@nb.kernel(nb.int64(BYTES, nb.int64, nb.int64))
def word_id(data, at, length):
    """The id of the token that stands in data[at : at + length], or 0."""
    if length > WIDEST:
        return 0
    word = nb.uint64(0)
    for i in range(min(length, 8)):
        word |= nb.uint64(data[at + i]) << nb.uint64(8 * i)
    found = nb.int64(_SLOT[nb.int64(((word + nb.uint64(length)) * _MULTIPLIER) >> _SHIFT)])
    if LENGTH[found] != length:
        return 0
    for i in range(length):
        if LETTERS[found, i] != data[at + i]:
            return 0
    return found


# ---- msgpack ----------------------------------------------------------------------------------

# For each first byte from 0xc0 on: bytes that follow at once, and whether these are a length or a number of objects.
_FIXED, _BYTES, _OBJECTS = 0, 1, 2
_AFTER = np.zeros(256, dtype=np.int64)  # bytes of the number, or of the value itself
_SORT = np.zeros(256, dtype=np.int64)
_MORE = np.zeros(256, dtype=np.int64)  # bytes beyond a length: an extension's type; objects a map's entry has
for _first, _widths, _sort, _more in (
    (0xC4, (1, 2, 4), _BYTES, 0),
    (0xC7, (1, 2, 4), _BYTES, 1),
    (0xCA, (4, 8), _FIXED, 0),
    (0xCC, (1, 2, 4, 8), _FIXED, 0),
    (0xD0, (1, 2, 4, 8), _FIXED, 0),
    (0xD4, (2, 3, 5, 9, 17), _FIXED, 0),
    (0xD9, (1, 2, 4), _BYTES, 0),
    (0xDC, (2, 4), _OBJECTS, 1),
    (0xDE, (2, 4), _OBJECTS, 2),
):
    for _i, _width in enumerate(_widths):
        _AFTER[_first + _i], _SORT[_first + _i], _MORE[_first + _i] = _width, _sort, _more


@nb.inner
def big_endian(data, at, width):
    """The unsigned number in data[at : at + width]."""
    value = nb.uint64(0)
    for i in range(width):
        value = (value << nb.uint64(8)) | nb.uint64(data[at + i])
    return value


@nb.kernel(nb.int64(BYTES, nb.int64, nb.int64))
def skip(data, at, stop):
    """Where the msgpack object that begins at `at` ends; -1 when it does not end before `stop`."""
    pending = 1
    while pending > 0:
        if at >= stop:
            return -1
        c = data[at]
        at += 1
        pending -= 1
        if c < 0x80 or c >= 0xE0:
            continue
        if c < 0x90:
            pending += 2 * (c & 15)
        elif c < 0xA0:
            pending += c & 15
        elif c < 0xC0:
            at += c & 31
        elif _SORT[c] == _FIXED:
            at += _AFTER[c]
        else:
            if at + _AFTER[c] > stop:
                return -1
            number = nb.int64(big_endian(data, at, _AFTER[c]))
            at += _AFTER[c]
            if _SORT[c] == _BYTES:
                at += number + _MORE[c]
            else:
                pending += number * _MORE[c]
    return at if at <= stop else -1


@nb.inner
def read_tokens(data, at, stop, rows, b):
    """rows[b] = ids of the array of tokens that begins at `at`; returns where it ends, or -1."""
    n = nb.int64(data[at]) & 15
    if data[at] == 0xDC and at + 3 <= stop:
        n = nb.int64(big_endian(data, at + 1, 2))
        at += 2
    elif data[at] >> 4 != 9:
        return -1
    at += 1
    if n == 0 or n > rows.shape[1]:
        return -1
    for k in range(n):
        if at >= stop or data[at] < 0xA0 or data[at] > 0xBF:
            return -1
        length = nb.int64(data[at]) & 31
        at += 1
        if at + length > stop:
            return -1
        token = word_id(data, at, length)
        if token == 0:
            return -1
        rows[b, k] = token
        at += length
    for k in range(n, rows.shape[1]):
        rows[b, k] = 0
    return at


@nb.kernel(nb.void(BYTES, nb.I1, nb.U2, nb.W1, nb.I1))
def read_rows(data, ends, rows, ids, known):
    """rows (n, L) and ids (n,) of n packed skeleton records of which each ends at ends[b]; known[b] = 1 where both were found."""
    at = 0
    for b in range(len(ends)):
        start, stop = at, ends[b]
        at, found = start + 1, 0
        fields = nb.int64(data[start]) & 15 if data[start] >> 4 == 8 else 0
        for _ in range(fields):
            if at >= stop or data[at] < 0xA0 or data[at] > 0xBF:
                break
            length = nb.int64(data[at]) & 31
            key = at + 1
            at = key + length
            if at >= stop:
                break
            if length == 2 and data[key] == 105 and data[key + 1] == 100:  # id
                if data[at] < 0x80:
                    ids[b] = data[at]
                    at += 1
                elif 0xCC <= data[at] <= 0xCF and at + 1 + _AFTER[data[at]] <= stop:
                    width = _AFTER[data[at]]
                    ids[b] = big_endian(data, at + 1, width)
                    at += 1 + width
                else:
                    break
                found |= 1
            elif (
                length == 4
                and data[key] == 101
                and data[key + 1] == 120
                and data[key + 2] == 112
                and data[key + 3] == 114
            ):  # expr
                at = read_tokens(data, at, stop, rows, b)
                if at < 0:
                    break
                found |= 2
            else:
                at = skip(data, at, stop)
                if at < 0:
                    break
        known[b] = found == 3
        at = stop


# ---- for the stages ---------------------------------------------------------------------------


def of_batch(batch):
    """(rows, usable, ids) of a Batch of skeleton records, as rows_of gives the first two; ids (n,) uint64."""
    n = len(batch)
    rows, ids, known = np.empty((n, LONGEST), np.uint8), np.zeros(n, np.uint64), np.zeros(n, np.int64)
    read_rows(np.frombuffer(batch.data, np.uint8), batch.ends, rows, ids, known)
    if known.all():
        usable = draw_kernels.complete(rows := rows[:, : max(1, int((rows != 0).sum(axis=1).max(initial=1)))])
        if usable.all():
            return rows, usable, ids
    records = batch.records()
    rows, usable = rows_of(records)
    for record, good in zip(records, usable):
        if good and not (isinstance(record.get("id"), int) and 0 <= record["id"] < 1 << 64):
            raise DataError(
                f"{batch.name}: a skeleton with id {record.get('id')!r}, wanted a whole number from 0 to 2**64 - 1"
            )
    return (
        rows,
        usable,
        np.array([record["id"] if good else 0 for record, good in zip(records, usable)], dtype=np.uint64),
    )


def rows_of(records):
    """Rows of vocabulary ids (n, L) and which of them can be used; DataError for a broken expression.

    An expression with a literal or a variable beyond x17 has no row: the network could not learn it either.
    """
    exprs = [record.get("expr") for record in records]
    try:
        rows = draw_kernels.to_rows(exprs)
    except (KeyError, TypeError):  # something among them is no word of the vocabulary
        rows = np.concatenate([_row_or_none(expr, max(map(len, filter(None, exprs)), default=1)) for expr in exprs])
    usable = draw_kernels.complete(rows)
    for b in np.flatnonzero(~usable):
        fault = problems(exprs[b]) if isinstance(exprs[b], list) else "no expr"
        if fault:
            raise DataError(f"record {records[b].get('id')}: {fault}")
    return rows, usable


def _row_or_none(expr, length: int):
    """One row of vocabulary ids, or an empty one for what has none."""
    try:
        return draw_kernels.to_rows([expr], length)
    except (KeyError, TypeError):
        return draw_kernels.to_rows([[]], length)
