"""Images: values of laws and candidates at the guard's check points, and the search for laws near a candidate's.

An entry is a held-out form with its variables on some columns; a Table keeps the values of all entries for the candidates
of each number of variables.  Its first filter lets go only what differs from every entry at one of the first TABLE points,
which are looked at a few at a time: it cannot miss what the whole test finds.  holdout_guard.py says what is compared with what
and what an agreement means.  Importing this module loads numba.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numba.types import boolean, float64, int32, int64, uint64, void

from fansr.corpus import draw_kernels
from fansr.expressions import F1, F2, I1, JIT, MAX_VARIABLES, forward

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
I2, S2, U1, U2, W1, W2 = int64[:, ::1], int32[:, ::1], draw_kernels.U1, draw_kernels.U2, uint64[::1], uint64[:, ::1]
# Which bit a power of two is: each has its own top six bits when multiplied by a de Bruijn number (Leiserson et al. 1998).
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_BIT = np.zeros(64, dtype=np.int64)
_BIT[[(int(_DE_BRUIJN) << k) % (1 << 64) >> 58 for k in range(64)]] = np.arange(64)


# ---- one image and another --------------------------------------------------------------------


def agree(f: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Point-wise agreement: a difference that is not known to exceed the tolerance (NaN, inf - inf) agrees."""
    with np.errstate(invalid="ignore", over="ignore"):
        return ~(np.abs(f - g) > ABSOLUTE + RELATIVE * np.where(np.isfinite(g), np.abs(g), 0.0))


@njit(boolean(float64, float64), **JIT)
def differs(f, g):
    """True where f and g are known to be further apart than the tolerance; False with a NaN."""
    slack = ABSOLUTE + RELATIVE * abs(g) if math.isfinite(g) else ABSOLUTE
    return abs(f - g) > slack


@njit(int64(F1, int64, int64, I1), **JIT)
def note_numbers(f, n, most, where):
    """where = the first `most` points below n at which f has a number; returns how many."""
    found = 0
    for i in range(n):
        if not math.isnan(f[i]) and found < most:
            where[found] = i
            found += 1
    return found


@njit(int64(F1), **JIT)
def numbers_in(f):
    """How many of all points f has a number at."""
    found = 0
    for value in f:
        found += not math.isnan(value)
    return found


@njit(void(I1, I1, F1, I1, int64, F2, int64, int64, F1, F2), **JIT)
def go_on(op, link, literal, state, used, X, start, stop, f, V):
    """f[start:stop] = values of a program of `used` positions (bulk.program) at these points of X (D, M)."""
    for first in range(start, stop, BLOCK):
        width = min(BLOCK, stop - first)
        forward(op, link, literal, 0, used, state, 1, X, first, literal, V, width)
        f[first : first + width] = V[0, :width]


@njit(void(U1, I1, F2, int64, int64, F1, I1, I1, I1, F1, I1, F2), **JIT)
def fill(row, order, X, start, stop, f, op, link, size, literal, state, V):
    """f[start:stop] = values of a row at these points of X (D, M), variable j standing for column order[j]."""
    used = draw_kernels.program(row, op, link, size)
    for k in range(used):
        if op[k] == draw_kernels.COLUMN:
            link[k] = order[link[k]]
    go_on(op, link, literal, state, used, X, start, stop, f, V)


@njit(void(U1, I2, F2, F2), **JIT)
def fill_orders(row, orders, X, out):
    """out (n, M') = values of a row at the first M' points of X (D, M) in each of n orders of columns, as in fill()."""
    length = len(row)
    op, link, size = np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64)
    here, literal, state, V = (
        np.zeros(length + 1, np.int64),
        np.zeros(length + 1),
        np.ones(length + 1, np.int64),
        np.empty((length, BLOCK)),
    )
    used = draw_kernels.program(row, op, link, size)
    for o in range(len(orders)):
        for k in range(used):
            here[k] = orders[o, link[k]] if op[k] == draw_kernels.COLUMN else link[k]
        go_on(op, here, literal, state, used, X, 0, out.shape[1], out[o], V)


@njit(void(W2, W1), **JIT)
def hash_rows(bits, out):
    """out (n,) = a hash of each row of float64 bits, rounded to 33 binary digits; all NaN are one, and so are both zeros.

    Bits are mixed before they are summed: rows that differ by signs only must not collide.
    """
    infinite = uint64(0x7FF0000000000000)
    for i in range(len(bits)):
        total, salt = uint64(0), uint64(0)
        for j in range(bits.shape[1]):
            word = bits[i, j]
            if word & ~(uint64(1) << uint64(63)) > infinite:
                word = infinite + uint64(1)
            elif word << uint64(1) == 0:
                word = uint64(0)
            else:
                word = (word + (uint64(1) << uint64(19))) >> uint64(20)
            salt += uint64(0x9E3779B97F4A7C15)
            total += draw_kernels.mix(word ^ salt)
        out[i] = total


@njit(int64(F1, F1, int64, int64), **JIT)
def shared_numbers(f, g, start, stop):
    """How many of the points have a number in both f and g; -1 when they differ at one of them."""
    numbers = 0
    for i in range(start, stop):
        if differs(f[i], g[i]):
            return -1
        numbers += not (math.isnan(f[i]) or math.isnan(g[i]))
    return numbers


@njit(int64(F1, F2, int64, I1, int64), **JIT)
def tabled(f, table, e, where, found):
    """shared_numbers() of f and row e of the table at the points where[:found]."""
    numbers = 0
    for j in range(found):
        value = table[e, where[j]]
        if differs(f[where[j]], value):
            return -1
        numbers += not math.isnan(value)
    return numbers


@njit(int64(int64), **JIT)
def next_points(known):
    """How many points to know next: PROBE, FURTHER times as many up to TABLE, then all."""
    if known == 0:
        return PROBE
    return min(known * FURTHER, TABLE) if known < TABLE else POINTS


@njit(int64(F2, int64, int64, int64, float64), **JIT)
def search(rising, point, start, stop, value):
    """First place i in start..stop with rising[point, i] >= value; the numbers there rise."""
    while start < stop:
        middle = (start + stop) // 2
        if rising[point, middle] < value:
            start = middle + 1
        else:
            stop = middle
    return start


@njit(int64(F1, I1, int64, F2, S2, I2, W2, I1, int64, int64, int64, int64, W1, I1), **JIT)
def may_agree(f, where, found, rising, order, numbers_of, blank, word_of, k, start, stop, enough, left, entries):
    """entries[:returned] = the entries that may agree with f, as far as single points tell; -1 with too many.

    An entry that agrees has at each point where[:found] no number or one near f's; so it is near at the first of them
    where it has a number, or has none at all.  Points are looked at until there are none of the second sort, at most
    SIEVES; more than `enough` of them are too many.  rising, order, numbers_of and blank are Table's; those for
    candidates of k variables are start..stop-1.  left (words,) is work space.
    """
    words, word = (stop - start + 63) // 64, word_of[k]
    left[:words] = ~uint64(0)
    if words > 0 and (stop - start) % 64 > 0:
        left[words - 1] = (uint64(1) << uint64((stop - start) % 64)) - uint64(1)
    near, tried, best = 0, 0, 0
    while tried < min(found, SIEVES) and where[tried] < SORTED:
        if abs(f[where[best]]) < abs(f[where[tried]]) < np.inf:  # few laws have large values
            best = tried
        tried += 1
    for j in range(tried):
        point = where[best if j == 0 else 0 if j == best else j]
        value = f[point]
        end = start + numbers_of[k, point]  # behind it the entries have no number
        slack = 2.0 * (ABSOLUTE + RELATIVE * abs(value)) if math.isfinite(value) else 0.0
        low = search(rising, point, start, end, value - slack)
        above = np.nextafter(value + slack, np.inf)
        high = search(rising, point, low, end, above) if above < np.inf else end
        for i in range(low, high):
            place = order[point, i] - start
            if (left[place >> 6] >> uint64(place & 63)) & uint64(1):
                entries[near] = start + place
                near += 1
        some = uint64(0)
        for i in range(words):
            left[i] &= blank[point, word + i]
            some |= left[i]
        if some == uint64(0):
            return near
    n = near
    for i in range(words):
        bits = left[i]
        while bits != uint64(0):
            lowest = bits & (~bits + uint64(1))
            entries[n] = start + 64 * i + _BIT[(lowest * _DE_BRUIJN) >> uint64(58)]
            n += 1
            if n - near > enough:
                return -1
            bits ^= lowest
    return n


@njit(void(U2, I1, I1, F2, F2, F2, F2, S2, I2, W2, I1, I1, U2, I1, I2, int64, I1), **JIT)
def screen(
    rows,
    k_of,
    wanted,
    X,
    table,
    front,
    rising,
    order,
    numbers_of,
    blank,
    word_of,
    starts,
    laws,
    form_of,
    order_of,
    minimum,
    result,
):
    """result (K,) = number of an entry that agrees with each wanted row, or NONE or NOTHING.

    X (D, 512); table (E, TABLE or all points) the laws' values, an entry being a form (row form_of[e] of laws) in an order
    of columns (order_of[e]); those for a candidate of k variables are starts[k]..starts[k+1]-1.  order (SORTED, E) sorts
    them by their value at each of the first points, NaN last, rising (SORTED, E) holds these values, numbers_of
    (k, SORTED) says how many are numbers, and blank with word_of (k,) which are none (may_agree).
    A candidate is valued at a few points first and at more only while it has no number, or while an entry agrees: most
    are told from all laws by PROBE points.
    """
    length, kept = max(rows.shape[1], laws.shape[1]), table.shape[1]
    op, link, size = np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64)
    op_of, link_of = np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64)  # of a law, in the whole test
    literal, state = np.zeros(length + 1), np.ones(length + 1, np.int64)
    V, f, g, where = np.empty((length, BLOCK)), np.empty(POINTS), np.empty(POINTS), np.zeros(MOST, np.int64)
    left = np.zeros(blank.shape[1] + 1, np.uint64)
    entries = np.zeros(len(form_of) + 1, np.int64)
    for b in np.argsort(k_of):  # laws for one k after those for another: they stay in the cache
        result[b] = NONE
        k = k_of[b]
        start, stop = starts[k], starts[k + 1]
        if not wanted[b] or (start == stop and minimum > 0):
            continue
        used = draw_kernels.program(rows[b], op, link, size)
        known, found = 0, 0
        while found == 0 and known < kept:
            after = next_points(known)
            go_on(op, link, literal, state, used, X, known, after, f, V)
            known = after
            found = note_numbers(f, known, MOST, where)
        if found == 0:
            result[b] = NOTHING if minimum == 0 else NONE
            continue
        if minimum > 0 and known == TABLE and (found < FEW_NUMBERS or where[0] >= SORTED):
            go_on(op, link, literal, state, used, X, known, POINTS, f, V)
            known = POINTS
            if numbers_in(f) < minimum:  # too few for any law
                continue
        n = -1
        while n < 0:
            enough = BLANKS if known < TABLE else stop - start
            n = may_agree(
                f, where, found, rising, order, numbers_of, blank, word_of, k, start, stop, enough, left, entries
            )
            if n < 0:
                after = next_points(known)
                go_on(op, link, literal, state, used, X, known, after, f, V)
                known = after
                found = note_numbers(f, known, MOST, where)
        early = 0  # numbers among the points of `front`
        while early < found and where[early] < front.shape[1]:
            early += 1
        for i in range(n):
            e = entries[i]
            if tabled(f, front, e, where, early) < 0:
                continue
            shared = tabled(f, table, e, where, found)
            while shared >= 0 and known < TABLE:  # more of the table's points before anything dearer
                after = next_points(known)
                go_on(op, link, literal, state, used, X, known, after, f, V)
                known = after
                found = note_numbers(f, known, MOST, where)
                shared = tabled(f, table, e, where, found)
            if shared < min(minimum, 1):
                continue
            if known == TABLE and minimum > 0:
                go_on(op, link, literal, state, used, X, known, POINTS, f, V)
                known = POINTS
                if numbers_in(f) < minimum:  # too few for any law
                    break
            numbers = 0
            for first in range(0, POINTS, TABLE):  # the whole test, a piece at a time
                last = first + TABLE
                if known < last:
                    go_on(op, link, literal, state, used, X, known, last, f, V)
                    known = last
                if last <= kept:
                    g[first:last] = table[e, first:last]
                else:
                    fill(laws[form_of[e]], order_of[e], X, first, last, g, op_of, link_of, size, literal, state, V)
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
        self.values = np.ascontiguousarray(np.concatenate(values))  # (E, kept): what is known of a law lies together
        self.form_of = np.array(form_of, dtype=np.int64)
        self.order_of = np.concatenate(order_of).astype(np.int64)
        self.starts = np.array(starts, dtype=np.int64)
        self._sort(groups)

    def _sort(self, groups: int):
        """order, rising, numbers_of, blank and word_of, as screen() and may_agree() take them."""
        self.front = np.ascontiguousarray(self.values[:, :PROBE])
        first = np.ascontiguousarray(self.values[:, :SORTED].T)
        self.order = np.zeros(first.shape, dtype=np.int32)
        self.numbers_of = np.zeros((groups, SORTED), dtype=np.int64)
        blank = []
        for k in range(groups):
            part = slice(self.starts[k], self.starts[k + 1])
            self.order[:, part] = self.starts[k] + np.argsort(first[:, part], axis=1)
            none = np.isnan(first[:, part])
            self.numbers_of[k] = (~none).sum(axis=1)
            packed = np.packbits(none, axis=1, bitorder="little")
            blank.append(np.pad(packed, ((0, 0), (0, -packed.shape[1] % 8))).view("<u8").astype(np.uint64))
        self.rising = np.take_along_axis(first, self.order, axis=1)
        self.blank = np.ascontiguousarray(np.concatenate(blank, axis=1))
        self.word_of = np.cumsum([0, *(part.shape[1] for part in blank)])[:-1].astype(np.int64)

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
        screen(
            rows,
            k_of,
            wanted,
            self.X,
            self.values,
            self.front,
            self.rising,
            self.order,
            self.numbers_of,
            self.blank,
            self.word_of,
            self.starts,
            self.laws,
            self.form_of,
            self.order_of,
            self.minimum,
            result,
        )
        return result


def different(values: np.ndarray) -> np.ndarray:
    """Indices, rising, of one row of each set of rows (n, M) that are equal but for rounding."""
    hashes = np.zeros(len(values), np.uint64)
    hash_rows(np.ascontiguousarray(values).view(np.uint64), hashes)
    return np.sort(np.unique(hashes, return_index=True)[1])
