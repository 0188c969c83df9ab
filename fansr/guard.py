"""The hold-out guard on rows of vocabulary ids: prune constants, then compare forms and images.

Section 3.3 of the paper: constants are cut out of candidate and law, both are evaluated on the same points
X ~ U(-10, 10)^(512 x D), and a candidate is held out when it equals a law as written, or when all values agree to 1e-4,
NaN counting as agreement.  There x3 is a law's x3 only.

With renaming two things come on top.  A candidate's k variables are compared with a law's in every order.  And both
sides get a second, wider form, `family`, which also cuts factors that a free constant stands for (mult2..5, div2..5,
neg), so that a - b, which is a + neg b, becomes a + b (a simplified a + c*b has lost its sign to the constant), writes sin
for cos (a phase is a constant too) and keeps c/x apart from c*x (it becomes inv x).  In these comparisons NaN agrees with
anything too, but NUMBERS points must have a number on both sides, one of them among the candidate's first MOST: among
thousands of orders some pair of half-empty images would always miss each other.

Departure: |f - g| <= 1e-4 + 1e-9 |g|, since values of 1e9 do not agree to 1e-4 when one function is computed in two
ways; this holds out more, never less.

The first filter lets go only what differs from every law at one of the first TABLE points, which are looked at a few at
a time: it cannot miss what the whole test finds.  Importing this module loads numba.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
from numba import njit
from numba.types import boolean, float64, int32, int64, uint64, void

from fansr import bulk
from fansr.evaluate import F1, F2, I1, JIT, forward
from fansr.expr import problems
from fansr.seeds import rng_for
from fansr.tokens import FIRST_OPERATOR_ID, FIRST_VARIABLE_ID, MAX_VARIABLES, TOKEN_ID

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
MAX_ORDERS = 40_320  # 8!: laws of more variables are compared in their own order only
MAX_EMBEDDINGS = 100  # ways to find a law's variables among more of a candidate's that are still tried
BLOCK = 64  # points of the whole test evaluated at once
I2, S2, U1, U2, W1, W2 = int64[:, ::1], int32[:, ::1], bulk.U1, bulk.U2, uint64[::1], uint64[:, ::1]
_FAMILY = np.zeros(256, dtype=np.uint8)
_FAMILY[[TOKEN_ID[t] for t in ("neg", *(f"{word}{k}" for word in ("mult", "div") for k in (2, 3, 4, 5)))]] = 1
# Which bit a power of two is: each has its own top six bits when multiplied by a de Bruijn number (Leiserson et al. 1998).
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_BIT = np.zeros(64, dtype=np.int64)
_BIT[[(int(_DE_BRUIJN) << k) % (1 << 64) >> 58 for k in range(64)]] = np.arange(64)
_OVER, _INV, _SIN, _COS, _PLUS, _MINUS = (TOKEN_ID[t] for t in ("/", "inv", "sin", "cos", "+", "-"))


# ---- pruning ----------------------------------------------------------------------------------


@njit(void(U2, U1, U2), **JIT)
def prune_rows(rows, drop, out):
    """out = rows without their constants: what depends on no variable goes, and with it the binary operator above.

    drop (256,): 1 for unary operators to cut as well; with any at all, c/x becomes inv x instead of x, cos sin, and - +.
    A row without variables becomes empty.
    """
    length = rows.shape[1]
    op, link, size = np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64)
    alive, write = np.zeros(length + 1, np.uint8), np.zeros(length + 1, np.uint8)
    family = drop.any()
    for b in range(len(rows)):
        used = bulk.program(rows[b], op, link, size)
        for k in range(used - 1, -1, -1):
            token = rows[b, k]
            write[k] = 0
            if token < FIRST_OPERATOR_ID:
                alive[k] = token >= FIRST_VARIABLE_ID
                write[k] = token if alive[k] else 0
            elif op[k] <= bulk.LAST_BINARY:
                first, second = alive[k + 1], alive[link[k]]
                alive[k] = first or second
                if first and second:
                    write[k] = _PLUS if family and token == _MINUS else token
                elif family and second and token == _OVER:
                    write[k] = _INV
            else:
                alive[k] = alive[k + 1]
                write[k] = token if alive[k] and not drop[token] else 0
                if family and write[k] == _COS:
                    write[k] = _SIN
        n = 0
        for k in range(used):
            if write[k] != 0:
                out[b, n] = write[k]
                n += 1
        out[b, n:] = 0


@njit(void(U2, U2, I1), **JIT)
def compact_rows(rows, out, n_variables):
    """out = rows with their k variables renumbered x1..xk in order of index; n_variables = k."""
    number = np.zeros(256, np.uint8)
    for b in range(len(rows)):
        number[:] = 0
        for token in rows[b]:
            if FIRST_VARIABLE_ID <= token < FIRST_OPERATOR_ID:
                number[token] = 1
        n = 0
        for token in range(FIRST_VARIABLE_ID, FIRST_OPERATOR_ID):
            if number[token]:
                number[token] = FIRST_VARIABLE_ID + n
                n += 1
        n_variables[b] = n
        for k in range(rows.shape[1]):
            token = rows[b, k]
            out[b, k] = number[token] if FIRST_VARIABLE_ID <= token < FIRST_OPERATOR_ID else token


def pruned(rows: np.ndarray, family: bool) -> np.ndarray:
    """prune_rows into a new array; `family` asks for the wider form."""
    rows = np.array(rows, dtype=np.uint8, order="C")
    out = np.zeros_like(rows)
    prune_rows(rows, _FAMILY if family else np.zeros(256, dtype=np.uint8), out)
    return out


def compacted(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """compact_rows into new arrays: rows over x1..xk, and k of each."""
    out, n_variables = np.zeros_like(rows), np.zeros(len(rows), dtype=np.int64)
    compact_rows(rows, out, n_variables)
    return out, n_variables


def by_appearance(row: np.ndarray) -> bytes:
    """A row's bytes with variables renumbered by first appearance: equal for forms equal up to renaming."""
    seen: dict[int, int] = {}
    out = bytearray()
    for token in row.tolist():
        if token == 0:
            break
        if FIRST_VARIABLE_ID <= token < FIRST_OPERATOR_ID:
            token = seen.setdefault(token, FIRST_VARIABLE_ID + len(seen))
        out.append(token)
    return bytes(out)


# ---- comparing images -------------------------------------------------------------------------


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
    used = bulk.program(row, op, link, size)
    for k in range(used):
        if op[k] == bulk.COLUMN:
            link[k] = order[link[k]]
    go_on(op, link, literal, state, used, X, start, stop, f, V)


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
def screen(rows, k_of, wanted, X, table, front, rising, order, numbers_of, blank, word_of, starts, laws, form_of, order_of, minimum, result):
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
        used = bulk.program(rows[b], op, link, size)
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
            n = may_agree(f, where, found, rising, order, numbers_of, blank, word_of, k, start, stop, enough, left, entries)
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
                kept = _different(together)  # another form of a law may give the same values
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
        if len(orders) > 1 and not np.isnan(first).any():  # a sum's terms swapped and the like
            orders = orders[_different(first)]
        values = self._values(form, orders, self.kept)
        padded = np.pad(orders, ((0, 0), (0, MAX_VARIABLES - orders.shape[1])))
        return np.full(len(orders), form), padded, values

    def _values(self, form: int, orders: np.ndarray, n: int) -> np.ndarray:
        """Values of a form at the first n points for each order of columns, (orders, n)."""
        columns = self.X[:, :n][orders]  # (orders, own, n)
        flat = np.ascontiguousarray(columns.transpose(1, 0, 2).reshape(orders.shape[1], -1))
        out = np.empty((1, flat.shape[1]))
        bulk.value_rows(self.laws[form][None], flat, out)
        return out.reshape(len(orders), n)

    def ask(self, rows, k_of, wanted) -> np.ndarray:
        """(K,) entry numbers, NONE or NOTHING."""
        result = np.full(len(rows), NONE, dtype=np.int64)
        screen(rows, k_of, wanted, self.X, self.values, self.front, self.rising, self.order, self.numbers_of, self.blank, self.word_of,
               self.starts, self.laws, self.form_of, self.order_of, self.minimum, result)
        return result


# ---- the guard --------------------------------------------------------------------------------


class Guard:
    """Held-out laws, ready to be asked about many candidates.

    forms: (label, prefix expression over the vocabulary) pairs; several forms of a law share its label.
    renaming: compare in every order of variables besides (see the module's head).
    `shallow` names the laws with so many variables that only their own order is compared, `blind` those without a
    number at any check point, which are held out as written only.
    """

    def __init__(self, forms, renaming: bool = True, points_seed: int = 0):
        self.renaming = renaming
        X = rng_for(points_seed, "check").uniform(-10.0, 10.0, (POINTS, MAX_VARIABLES))
        # Points whose leading columns are positive come first, every second: there a root, a logarithm or a power has a
        # number.  At those between them have the laws that have none there.
        leading = np.argsort(-np.cumprod(X > 0, axis=1).sum(axis=1), kind="stable")
        half = POINTS // 2
        self.X = np.ascontiguousarray(X[np.column_stack([leading[:half], leading[half:]]).ravel()].T)
        self.labels: list[str] = []
        self.shallow: set[str] = set()
        self.known: set[bytes] = set()
        rows, paper = self._forms(forms)
        self.laws = np.zeros((len(rows), max((len(row) for row in rows), default=1)), dtype=np.uint8)
        for number, row in enumerate(rows):
            self.laws[number, : len(row)] = row
        own = np.arange(MAX_VARIABLES)[None]
        images = np.array([self.image(row) for row in self.laws]).reshape(-1, POINTS)
        # A form without a number at any check point would agree with the whole corpus: it is held out as written only.
        sighted = ~np.isnan(images).all(axis=1)
        self.blind = {label for label, seen in zip(self.labels, sighted) if not seen} - {
            label for label, seen in zip(self.labels, sighted) if seen}
        paper = np.array([number for number in paper if sighted[number]], dtype=np.int64)
        literal = {0: [(number, own) for number in paper[_different(images[paper])]]}
        self.literal = Table(self.X, self.laws, literal, 1, 0)
        # Of forms with equal images one of each number of variables stays: x/(x cos y) would miss a candidate of one, and
        # a form of four is not tried in all the ways into a candidate of five, whose fifth may cancel as well.
        widths = np.array([self._width(number) for number in range(len(self.laws))])
        alike = [np.flatnonzero(sighted & (widths == width)) for width in np.unique(widths)]
        chosen = [number for numbers in alike for number in numbers[_different(images[numbers])]]
        renamed = self._entries(chosen) if renaming else {}
        self.renamed = Table(self.X, self.laws, renamed, MAX_VARIABLES + 1, NUMBERS) if renaming else None

    def _forms(self, forms) -> tuple[list[np.ndarray], list[int]]:
        """Distinct pruned forms of the laws, and which of them are pruned as the paper does."""
        rows: dict[bytes, np.ndarray] = {}
        paper = set()
        for label, expr in forms:
            fault = problems(expr, MAX_VARIABLES)
            if fault:
                raise ValueError(f"{label}: {fault}")
            row = bulk.to_rows([expr])
            for family in (False, True) if self.renaming else (False,):
                form = pruned(row, family)[0]
                form = form[form != 0]
                if len(form) == 0:
                    continue
                self.known.add(self._key(form))
                if form.tobytes() not in rows:
                    rows[form.tobytes()] = form
                    self.labels.append(label)
                if not family:
                    paper.add(form.tobytes())
        return list(rows.values()), [number for number, name in enumerate(rows) if name in paper]

    def _width(self, number: int) -> int:
        """How many variables a form has."""
        row = self.laws[number]
        return len(np.unique(row[(row >= FIRST_VARIABLE_ID) & (row < FIRST_OPERATOR_ID)]))

    def _key(self, row) -> bytes:
        return by_appearance(row) if self.renaming else row[row != 0].tobytes()

    def _entries(self, numbers) -> dict[int, list]:
        """For each number of variables a candidate may have: which of these laws, in which orders of its columns."""
        entries = defaultdict(list)
        for number in numbers:
            used = np.flatnonzero(np.isin(FIRST_VARIABLE_ID + np.arange(MAX_VARIABLES), self.laws[number]))
            n = len(used)
            for k in range(n, MAX_VARIABLES + 1):
                many = math.perm(k, n)
                if many <= (MAX_ORDERS if n == k else MAX_EMBEDDINGS):
                    orders = np.array(list(itertools.permutations(range(k), n)), dtype=np.int64)
                elif n == k:
                    self.shallow.add(self.labels[number])
                    orders = np.arange(n)[None]
                else:
                    continue
                # Column of the candidate for each variable index up to the law's highest.
                full = np.zeros((len(orders), used[-1] + 1), dtype=np.int64)
                full[:, used] = orders
                entries[k].append((number, full))
        return entries

    def match(self, rows: np.ndarray) -> list[tuple[str, str] | None]:
        """For each row (vocabulary ids) None, or (label of a law, "symbolic" | "numeric" | "nan").

        "nan": the candidate has no number at any check point, so it agrees with everything; its label is "".
        """
        found: list[tuple[str, str] | None] = [None] * len(rows)
        paper = pruned(rows, False)
        some = (paper[:, 0] != 0).astype(np.int64)
        self._note(self.literal, paper, paper, np.zeros(len(rows), dtype=np.int64), some, found)
        if self.renamed is not None:
            some *= np.array([hit is None for hit in found], dtype=np.int64)
            self._note(self.renamed, paper, *compacted(paper), some, found)
            wider = pruned(rows, True)
            some *= (wider != paper).any(axis=1)
            some *= np.array([hit is None for hit in found], dtype=np.int64)
            self._note(self.renamed, wider, *compacted(wider), some, found)
        return found

    def _note(self, table, forms, asked, k_of, wanted, found):
        result = table.ask(asked, k_of, wanted)
        for b in np.flatnonzero(result != NONE):
            if result[b] == NOTHING:  # a blind law's own form is among these
                found[b] = ("", "symbolic" if self._key(forms[b]) in self.known else "nan")
            else:
                # A form equal to a law's also has its values, so only these need looking up.
                how = "symbolic" if self._key(forms[b]) in self.known else "numeric"
                found[b] = (self.labels[table.form_of[result[b]]], how)

    def image(self, row: np.ndarray) -> np.ndarray:
        """Values (512,) of one row on the check points."""
        out = np.empty((1, POINTS))
        bulk.value_rows(np.array(row, dtype=np.uint8, order="C").reshape(1, -1), self.X, out)
        return out[0]


def _different(values: np.ndarray) -> np.ndarray:
    """Indices, rising, of one row of each set of rows that are equal but for rounding."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = 10.0 ** (9 - np.floor(np.log10(np.abs(values))))
        short = np.where(np.isfinite(scale) & (values != 0), np.round(values * scale) / scale, values)
    short = np.where(np.isnan(values), 1.5e308, short) + 0.0  # one NaN, one zero
    # A hash of each row.  Bits are mixed before they are summed: rows that differ by signs only must not collide.
    bits = short.view(np.uint64) ^ np.random.Generator(np.random.PCG64(0)).integers(0, 1 << 63, short.shape[1], np.uint64)
    for shift, odd in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(odd)
    _, kept = np.unique((bits ^ (bits >> np.uint64(31))).sum(axis=1), return_index=True)
    return np.sort(kept)
