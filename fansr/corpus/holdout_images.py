"""Images: values of laws and candidates at the guard's check points, and the search for laws near a candidate's.

An entry is a held-out form with its variables on some columns; a Table keeps the values of all entries for the candidates
of each number of variables.  Its first filter lets go only what differs from every entry at one of the first TABLE points,
which are looked at a few at a time: it cannot miss what the whole test finds.  holdout_guard.py says what is compared with what
and what an agreement means.  Importing this module loads numba.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fansr.corpus import draw_kernels
from fansr.corpus.draw_kernels import values_at
from fansr.corpus.random_columns import mix
from fansr.expressions import MAX_VARIABLES, TAPE, compilation as nb, opcodes as op

POINTS = 512
TABLE = 128  # points at which every law's values are kept for the first filter
PROBE, FURTHER = 16, 2  # points tried first; how many times as many next, until there is a number, up to TABLE
SORTED = 64  # points at which the laws are also kept in the order of their values
SIEVES = 8  # of those points, how many a candidate is looked up at
BLANKS = 128  # laws without a number at any of them that are still compared one by one before more points are valued
FEW = 16  # points that tell orders of one law apart
MOST = 64  # numbers compared at most before the whole test
FEW_NUMBERS = 3  # among TABLE points: then there may be less than NUMBERS in all
NUMBERS = 8  # points with a number on both sides that a renamed law needs
ABSOLUTE, RELATIVE = 1e-4, 1e-9
NONE, NOTHING = -1, -2  # no law agrees; the candidate has no number at any point
BLOCK = 64  # points of the whole test evaluated at once
# Which bit a power of two is: each has its own top six bits when multiplied by a de Bruijn number (Leiserson et al. 1998).
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_BIT = np.zeros(64, dtype=np.int64)
_BIT[[(int(_DE_BRUIJN) << k) % (1 << 64) >> 58 for k in range(64)]] = np.arange(64)


class Index(NamedTuple):
    """The entries of a Table as the kernels take them.

    An entry is a form in an order of columns; those for a candidate of k variables are starts[k]..starts[k+1]-1.
    """

    X: np.ndarray  # (D, POINTS) float64
    values: np.ndarray  # (E, TABLE or POINTS) float64, of the laws
    front: np.ndarray  # (E, PROBE), the first of them
    rising: np.ndarray  # (SORTED, E), of each group its values at each of the first points, sorted, NaN last
    order: np.ndarray  # (SORTED, E) int32, whose they are
    numbers_of: np.ndarray  # (groups, SORTED) int64, how many of them are numbers
    blank: np.ndarray  # (SORTED, words) uint64, a bit an entry: none there
    word_of: np.ndarray  # (groups,) int64, where a group's words begin
    starts: np.ndarray  # (groups + 1,) int64
    laws: np.ndarray  # (F, L) uint8, the forms' rows
    form_of: np.ndarray  # (E,) int64
    order_of: np.ndarray  # (E, MAX_VARIABLES) int64
    minimum: int


INDEX = nb.named(
    Index,
    nb.F2,
    nb.F2,
    nb.F2,
    nb.F2,
    nb.Array(nb.int32, 2, "C"),
    nb.I2,
    nb.W2,
    nb.I1,
    nb.I1,
    nb.U2,
    nb.I1,
    nb.I2,
    nb.int64,
)


# ---- one image and another --------------------------------------------------------------------


def agree(f: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Point-wise agreement: a difference that is not known to exceed the tolerance (NaN, inf - inf) agrees."""
    with np.errstate(invalid="ignore", over="ignore"):
        return ~(np.abs(f - g) > ABSOLUTE + RELATIVE * np.where(np.isfinite(g), np.abs(g), 0.0))


@nb.inner
def differs(f, g):
    """True where f and g are known to be further apart than the tolerance; False with a NaN."""
    slack = ABSOLUTE + RELATIVE * abs(g) if math.isfinite(g) else ABSOLUTE
    return abs(f - g) > slack


@nb.inner
def note_numbers(f, n, most, where):
    """where = the first `most` points below n at which f has a number; returns how many."""
    found = 0
    for i in range(n):
        if not math.isnan(f[i]) and found < most:
            where[found] = i
            found += 1
    return found


@nb.inner
def numbers_in(f):
    """How many of all points f has a number at."""
    found = 0
    for value in f:
        found += not math.isnan(value)
    return found


@nb.inner
def reorder(tape, used, order):
    """Variable j of a program comes to stand for column order[j]."""
    for k in range(used):
        if tape.op[k] == op.COLUMN:
            tape.link[k] = order[tape.link[k]]


@nb.kernel(nb.void(nb.U1, nb.I2, nb.F2, nb.F2))
def fill_orders(row, orders, X, out):
    """out (n, M') = values of a row at the first M' points of X (D, M), for each of n orders of columns (reorder)."""
    tape = draw_kernels.new_tape(len(row), BLOCK)
    for o in range(len(orders)):
        used = draw_kernels.program(row, tape)
        reorder(tape, used, orders[o])
        values_at(tape, used, X, 0, out.shape[1], tape.literal, out[o])


@nb.kernel(nb.void(nb.W2, nb.W1))
def hash_rows(bits, out):
    """out (n,) = a hash of each row of float64 bits, rounded to 33 binary digits; all NaN are one, and so are both zeros.

    Bits are mixed before they are summed: rows that differ by signs only must not collide.
    """
    infinite = nb.uint64(0x7FF0000000000000)
    for i in range(len(bits)):
        total, salt = nb.uint64(0), nb.uint64(0)
        for j in range(bits.shape[1]):
            word = bits[i, j]
            if word & ~(nb.uint64(1) << nb.uint64(63)) > infinite:
                word = infinite + nb.uint64(1)
            elif word << nb.uint64(1) == 0:
                word = nb.uint64(0)
            else:
                word = (word + (nb.uint64(1) << nb.uint64(19))) >> nb.uint64(20)
            salt += nb.uint64(0x9E3779B97F4A7C15)
            total += mix(word ^ salt)
        out[i] = total


@nb.inner
def shared_numbers(f, g, start, stop):
    """How many of the points have a number in both f and g; -1 when they differ at one of them."""
    numbers = 0
    for i in range(start, stop):
        if differs(f[i], g[i]):
            return -1
        numbers += not (math.isnan(f[i]) or math.isnan(g[i]))
    return numbers


@nb.inner
def tabled(f, table, e, where, found):
    """shared_numbers() of f and row e of the table at the points where[:found]."""
    numbers = 0
    for j in range(found):
        value = table[e, where[j]]
        if differs(f[where[j]], value):
            return -1
        numbers += not math.isnan(value)
    return numbers


@nb.inner
def next_points(known):
    """How many points to know next: PROBE, FURTHER times as many up to TABLE, then all."""
    if known == 0:
        return PROBE
    return min(known * FURTHER, TABLE) if known < TABLE else POINTS


@nb.inner
def search(rising, point, start, stop, value):
    """First place i in start..stop with rising[point, i] >= value; the numbers there rise."""
    while start < stop:
        middle = (start + stop) // 2
        if rising[point, middle] < value:
            start = middle + 1
        else:
            stop = middle
    return start


@nb.shared(nb.int64(nb.F1, nb.I1, nb.int64, INDEX, nb.int64, nb.int64, nb.W1, nb.I1))
def may_agree(f, where, found, index, k, enough, left, entries):
    """entries[:returned] = the entries that may agree with f, as far as single points tell; -1 with too many.

    An entry that agrees has at each point where[:found] no number or one near f's; so it is near at the first of them
    where it has a number, or has none at all.  Points are looked at until there are none of the second sort, at most
    SIEVES; more than `enough` of them are too many.  k is the candidate's number of variables; left (words,) is work space.
    """
    start, stop = index.starts[k], index.starts[k + 1]
    words, word = (stop - start + 63) // 64, index.word_of[k]
    left[:words] = ~nb.uint64(0)
    if words > 0 and (stop - start) % 64 > 0:
        left[words - 1] = (nb.uint64(1) << nb.uint64((stop - start) % 64)) - nb.uint64(1)
    near, tried, best = 0, 0, 0
    while tried < min(found, SIEVES) and where[tried] < SORTED:
        if abs(f[where[best]]) < abs(f[where[tried]]) < np.inf:  # few laws have large values
            best = tried
        tried += 1
    for j in range(tried):
        point = where[best if j == 0 else 0 if j == best else j]
        value = f[point]
        end = start + index.numbers_of[k, point]  # behind it the entries have no number
        slack = 2.0 * (ABSOLUTE + RELATIVE * abs(value)) if math.isfinite(value) else 0.0
        low = search(index.rising, point, start, end, value - slack)
        above = np.nextafter(value + slack, np.inf)
        high = search(index.rising, point, low, end, above) if above < np.inf else end
        for i in range(low, high):
            place = index.order[point, i] - start
            if (left[place >> 6] >> nb.uint64(place & 63)) & nb.uint64(1):
                entries[near] = start + place
                near += 1
        some = nb.uint64(0)
        for i in range(words):
            left[i] &= index.blank[point, word + i]
            some |= left[i]
        if some == nb.uint64(0):
            return near
    n = near
    for i in range(words):
        bits = left[i]
        while bits != nb.uint64(0):
            lowest = bits & (~bits + nb.uint64(1))
            entries[n] = start + 64 * i + _BIT[(lowest * _DE_BRUIJN) >> nb.uint64(58)]
            n += 1
            if n - near > enough:
                return -1
            bits ^= lowest
    return n


@nb.shared(nb.UniTuple(nb.int64, 2)(TAPE, nb.int64, nb.F2, nb.int64, nb.F1, nb.I1))
def look_further(tape, used, X, known, f, where):
    """Values of a candidate at more points than the `known` ones; (how many are known now, how many of MOST numbers)."""
    after = next_points(known)
    values_at(tape, used, X, known, after, tape.literal, f)
    return after, note_numbers(f, after, MOST, where)


@nb.kernel(nb.void(nb.U2, nb.I1, nb.I1, nb.I1, INDEX, nb.I1))
def screen(rows, turns, k_of, wanted, index, result):
    """result (K,) = number of an entry that agrees with each wanted row, or NONE or NOTHING; rows in the order `turns`.

    A candidate is valued at a few points first and at more only while it has no number, or while an entry agrees: most
    are told from all laws by PROBE points.
    """
    X, minimum, laws = index.X, index.minimum, index.laws
    length, kept = max(rows.shape[1], laws.shape[1]), index.values.shape[1]
    tape, tape_of = draw_kernels.new_tape(length, BLOCK), draw_kernels.new_tape(length, BLOCK)  # tape_of: of a law
    f, g, where = np.empty(POINTS), np.empty(POINTS), np.zeros(MOST, np.int64)
    left = np.zeros(index.blank.shape[1] + 1, np.uint64)
    entries = np.zeros(len(index.form_of) + 1, np.int64)
    for b in turns:
        result[b] = NONE
        k = k_of[b]
        here = index.starts[k + 1] - index.starts[k]
        if not wanted[b] or (here == 0 and minimum > 0):
            continue
        used = draw_kernels.program(rows[b], tape)
        known, found = 0, 0
        while found == 0 and known < kept:
            known, found = look_further(tape, used, X, known, f, where)
        if found == 0:
            result[b] = NOTHING if minimum == 0 else NONE
            continue
        if minimum > 0 and known == TABLE and (found < FEW_NUMBERS or where[0] >= SORTED):
            values_at(tape, used, X, known, POINTS, tape.literal, f)
            known = POINTS
            if numbers_in(f) < minimum:  # too few for any law
                continue
        n = -1
        while n < 0:
            n = may_agree(f, where, found, index, k, BLANKS if known < TABLE else here, left, entries)
            if n < 0:
                known, found = look_further(tape, used, X, known, f, where)
        early = 0  # numbers among the points of `front`
        while early < found and where[early] < index.front.shape[1]:
            early += 1
        for i in range(n):
            e = entries[i]
            if tabled(f, index.front, e, where, early) < 0:
                continue
            shared = tabled(f, index.values, e, where, found)
            while shared >= 0 and known < TABLE:  # more of the table's points before anything dearer
                known, found = look_further(tape, used, X, known, f, where)
                shared = tabled(f, index.values, e, where, found)
            if shared < min(minimum, 1):
                continue
            if known == TABLE and minimum > 0:
                values_at(tape, used, X, known, POINTS, tape.literal, f)
                known = POINTS
                if numbers_in(f) < minimum:  # too few for any law
                    break
            numbers = 0
            for first in range(0, POINTS, TABLE):  # the whole test, a piece at a time
                last = first + TABLE
                if known < last:
                    values_at(tape, used, X, known, last, tape.literal, f)
                    known = last
                if last <= kept:
                    for m in range(first, last):
                        g[m] = index.values[e, m]
                else:
                    used_of = draw_kernels.program(laws[index.form_of[e]], tape_of)
                    reorder(tape_of, used_of, index.order_of[e])
                    values_at(tape_of, used_of, X, first, last, tape_of.literal, g)
                shared = shared_numbers(f, g, first, last)
                if shared < 0:
                    numbers = -1
                    break
                numbers += shared
            if numbers >= minimum:
                result[b] = e
                break


# ---- the entries ------------------------------------------------------------------------------


class Table:
    """Values of many laws in many orders of columns, by the candidate's number of variables."""

    def __init__(self, X: np.ndarray, laws: np.ndarray, entries: dict[int, list], groups: int, minimum: int):
        """entries: k -> list of (form, orders (n, own)); form indexes laws, and k runs from 0 to groups - 1.

        With `minimum` points wanted that have a number on both sides, TABLE points are kept of each entry.  Without,
        all are: then a candidate may agree by a single number, which can stand at any point.
        """
        self.X, self.laws, self.minimum = X, laws, minimum
        self.kept = TABLE if minimum else POINTS
        values, form_of, order_of, starts = [np.zeros((0, self.kept))], [], [np.zeros((0, MAX_VARIABLES))], [0]
        for k in range(groups):
            parts = [self._entries_of(form, orders) for form, orders in entries.get(k, [])]
            if parts:
                forms, orders, together = (np.concatenate(column) for column in zip(*parts))
                kept = different(together)  # another form of a law may give the same values
                values.append(together[kept])
                form_of += forms[kept].tolist()
                order_of.append(orders[kept])
            starts.append(len(form_of))
        values = np.ascontiguousarray(np.concatenate(values))  # (E, kept): what is known of a law lies together
        self.form_of = np.array(form_of, dtype=np.int64)
        self.index = self._index(values, np.concatenate(order_of).astype(np.int64), np.array(starts, dtype=np.int64))

    def _index(self, values, order_of, starts) -> Index:
        """The entries sorted in the ways the kernels want."""
        first, groups = np.ascontiguousarray(values[:, :SORTED].T), len(starts) - 1
        order, numbers_of, blank = np.zeros(first.shape, dtype=np.int32), np.zeros((groups, SORTED), dtype=np.int64), []
        for k in range(groups):
            part = slice(starts[k], starts[k + 1])
            order[:, part] = starts[k] + np.argsort(first[:, part], axis=1)
            none = np.isnan(first[:, part])
            numbers_of[k] = (~none).sum(axis=1)
            packed = np.packbits(none, axis=1, bitorder="little")
            blank.append(np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view("<u8").astype(np.uint64))
        return Index(
            self.X,
            values,
            np.ascontiguousarray(values[:, :PROBE]),
            np.take_along_axis(first, order, axis=1),
            order,
            numbers_of,
            np.ascontiguousarray(np.concatenate(blank, axis=1)),
            np.cumsum([0, *(part.shape[1] for part in blank)])[:-1].astype(np.int64),
            starts,
            self.laws,
            self.form_of,
            order_of,
            self.minimum,
        )

    def _entries_of(self, form: int, orders: np.ndarray):
        """(form numbers, orders padded to all columns, values) of one form, orders that give the same values once."""
        first = self._values(form, orders, FEW)
        if len(orders) > 1 and (~np.isnan(first)).sum(axis=1).min() >= NUMBERS:  # a sum's terms swapped and the like
            orders = orders[different(first)]
        padded = np.zeros((len(orders), MAX_VARIABLES), dtype=np.int64)
        padded[:, : orders.shape[1]] = orders
        return np.full(len(orders), form), padded, self._values(form, orders, self.kept)

    def _values(self, form: int, orders: np.ndarray, n: int) -> np.ndarray:
        """Values of a form at the first n points for each order of columns, (orders, n)."""
        out = np.empty((len(orders), n))
        fill_orders(self.laws[form], orders, self.X, out)
        return out

    def ask(self, rows, k_of, wanted) -> np.ndarray:
        """(K,) entry numbers, NONE or NOTHING."""
        result = np.full(len(rows), NONE, dtype=np.int64)
        screen(rows, np.argsort(k_of), k_of, wanted, self.index, result)  # laws for one k stay in the cache
        return result


def different(values: np.ndarray) -> np.ndarray:
    """Indices, rising, of one row of each set of rows (n, M) that are equal but for rounding."""
    hashes = np.zeros(len(values), np.uint64)
    hash_rows(np.ascontiguousarray(values).view(np.uint64), hashes)
    return np.sort(np.unique(hashes, return_index=True)[1])
