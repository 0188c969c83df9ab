"""The hold-out guard on rows of vocabulary ids: prune constants, then compare forms and images.

Section 3.3 of the paper: constants are cut out of candidate and law, both are evaluated on the same points
X ~ U(-10, 10)^(512 x D), and a candidate is held out when it equals a law as written, or when all values agree to 1e-4,
NaN counting as agreement.  Both sides get a second, wider form here, `family`, which also cuts factors that a free
constant stands for (mult2..5, div2..5, neg) and keeps c/x apart from c*x (it becomes inv x).

In the paper x3 is a law's x3 only.  With renaming, a candidate's k variables are compared with a law's in every order
besides.  There NaN agrees with anything too, but NUMBERS points must have a number on both sides: among thousands of
orders some pair of half-empty images would always miss each other.

Departure: |f - g| <= 1e-4 + 1e-9 |g|, since values of 1e9 do not agree to 1e-4 when one function is computed in two
ways; this holds out more, never less.

The first filter lets go only what differs from every law at one of the first TABLE points: it cannot miss
what the whole test finds.  Importing this module loads numba.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict

import numpy as np
from numba import njit
from numba.types import boolean, float64, int64, void

from fansr import bulk
from fansr.evaluate import F1, F2, I1, JIT, forward
from fansr.expr import problems
from fansr.seeds import rng_for
from fansr.tokens import FIRST_OPERATOR_ID, FIRST_VARIABLE_ID, MAX_VARIABLES, TOKEN_ID

POINTS = 512
TABLE = 128  # points at which every law's values are kept for the first filter
FIRST, ENOUGH, MOST = 16, 4, 16  # points tried first; numbers among them that will do; numbers compared at most
NUMBERS = 8  # points with a number on both sides that a renamed law needs
ABSOLUTE, RELATIVE = 1e-4, 1e-9
NONE, NOTHING = -1, -2  # no law agrees; the candidate has no number at any point
MAX_ORDERS = 40_320  # 8!: laws of more variables are compared in their own order only
MAX_EMBEDDINGS = 400  # ways to find a law's variables among more of a candidate's that are still tried
BLOCK = 64  # points of the whole test evaluated at once
I2, U1, U2 = int64[:, ::1], bulk.U1, bulk.U2
_FAMILY = np.zeros(256, dtype=np.uint8)
_FAMILY[[TOKEN_ID[t] for t in ("neg", *(f"{word}{k}" for word in ("mult", "div") for k in (2, 3, 4, 5)))]] = 1
_MINUS, _OVER, _INV = (TOKEN_ID[t] for t in ("-", "/", "inv"))


# ---- pruning ----------------------------------------------------------------------------------


@njit(void(U2, U1, U2), **JIT)
def prune_rows(rows, drop, out):
    """out = rows without their constants: what depends on no variable goes, and with it the binary operator above.

    drop (256,): 1 for unary operators to cut as well; with any at all, c/x becomes inv x instead of x.
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
                    write[k] = token
                elif family and second and token == _OVER:
                    write[k] = _INV
            else:
                alive[k] = alive[k + 1]
                write[k] = token if alive[k] and not drop[token] else 0
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


@njit(boolean(F1, U1, I1, F2, int64, I1, I1, I1, F2, F1, I1), **JIT)
def agrees(f, law, order, X, minimum, op, link, size, V, literal, state):
    """The whole test: f (512,) against a law whose variable j stands for column order[j] of X (D, 512)."""
    used = bulk.program(law, op, link, size)
    for k in range(used):
        if op[k] == bulk.COLUMN:
            link[k] = order[link[k]]
    numbers = 0
    for start in range(0, POINTS, BLOCK):
        forward(op, link, literal, 0, used, state, 1, X, start, literal, V, BLOCK)
        for i in range(BLOCK):
            if differs(f[start + i], V[0, i]):
                return False
            if not (math.isnan(f[start + i]) or math.isnan(V[0, i])):
                numbers += 1
    return numbers >= minimum


@njit(int64(F1, int64, I1), **JIT)
def note_numbers(f, n, where):
    """where = the first MOST points below n at which f has a number; returns how many."""
    found = 0
    for i in range(n):
        if not math.isnan(f[i]) and found < len(where):
            where[found] = i
            found += 1
    return found


@njit(void(U2, I1, I1, F2, F2, I1, U2, I1, I2, int64, I1), **JIT)
def screen(rows, k_of, wanted, X, table, starts, laws, form_of, order_of, minimum, result):
    """result (K,) = number of the first entry that agrees with each wanted row, or NONE or NOTHING.

    X (D, 512); table (TABLE, E) the laws' values, an entry being a form (row form_of[e] of laws) in an order
    of columns (order_of[e]); those for a candidate of k variables are starts[k]..starts[k+1]-1.
    """
    length = max(rows.shape[1], laws.shape[1])
    op, link, size = np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64)
    literal, state = np.zeros(length + 1), np.ones(length + 1, np.int64)
    V, f, where = np.empty((length, BLOCK)), np.empty(POINTS), np.zeros(MOST, np.int64)
    for b in range(len(rows)):
        result[b] = NONE
        if not wanted[b]:
            continue
        used = bulk.program(rows[b], op, link, size)
        forward(op, link, literal, 0, used, state, 1, X, 0, literal, V, FIRST)
        f[:FIRST] = V[0, :FIRST]
        found, full = note_numbers(f, FIRST, where), False
        for e in range(starts[k_of[b]], starts[k_of[b] + 1]):
            if not full and (e == starts[k_of[b]] and found < ENOUGH or found == 0):
                full = True
                for start in range(0, POINTS, BLOCK):
                    forward(op, link, literal, 0, used, state, 1, X, start, literal, V, BLOCK)
                    f[start : start + BLOCK] = V[0]
                found = note_numbers(f, TABLE, where)
                numbers = 0
                for i in range(POINTS):
                    numbers += not math.isnan(f[i])
                if numbers == 0:
                    result[b] = NOTHING
                if numbers < max(minimum, 1):
                    break
            same = True
            for i in range(found):
                if differs(f[where[i]], table[where[i], e]):
                    same = False
                    break
            if not same:
                continue
            if not full:
                full = True
                for start in range(0, POINTS, BLOCK):
                    forward(op, link, literal, 0, used, state, 1, X, start, literal, V, BLOCK)
                    f[start : start + BLOCK] = V[0]
            if agrees(f, laws[form_of[e]], order_of[e], X, minimum, op, link, size, V, literal, state):
                result[b] = e
                break
            used = bulk.program(rows[b], op, link, size)


class Table:
    """Values of many laws in many orders of columns, by the candidate's number of variables."""

    def __init__(self, X: np.ndarray, laws: np.ndarray, entries: dict[int, list], groups: int, minimum: int):
        """entries: k -> list of (form, orders (n, own)); form indexes laws, and k runs from 0 to groups - 1."""
        self.X, self.laws, self.minimum = X, laws, minimum
        values, form_of, order_of, starts = [], [], [], [0]
        for k in range(groups):
            for form, orders in entries.get(k, []):
                found = self._values(laws[form], orders)
                # Orders that give the same values (a sum's terms swapped) are kept once.
                _, kept = np.unique(_rounded(found[:, :FIRST]), axis=0, return_index=True)
                values.append(found[kept])
                form_of += [form] * len(kept)
                order_of.append(np.pad(orders[kept], ((0, 0), (0, MAX_VARIABLES - orders.shape[1]))))
            starts.append(len(form_of))
        self.values = np.ascontiguousarray(np.concatenate(values).T) if values else np.zeros((TABLE, 0))
        self.form_of = np.array(form_of, dtype=np.int64)
        self.order_of = np.concatenate(order_of).astype(np.int64) if order_of else np.zeros((0, MAX_VARIABLES), np.int64)
        self.starts = np.array(starts, dtype=np.int64)

    def _values(self, law, orders) -> np.ndarray:
        """Values of a law at the first TABLE points for each order of columns, (orders, TABLE)."""
        columns = self.X[:, :TABLE][orders]  # (orders, own, TABLE)
        flat = np.ascontiguousarray(columns.transpose(1, 0, 2).reshape(orders.shape[1], -1))
        out = np.empty((1, flat.shape[1]))
        bulk.value_rows(law[None], flat, out)
        return out.reshape(len(orders), TABLE)

    def ask(self, rows, k_of, wanted) -> np.ndarray:
        """(K,) entry numbers, NONE or NOTHING."""
        result = np.full(len(rows), NONE, dtype=np.int64)
        screen(rows, k_of, wanted, self.X, self.values, self.starts, self.laws, self.form_of, self.order_of, self.minimum,
               result)
        return result


# ---- the guard --------------------------------------------------------------------------------


class Guard:
    """Held-out laws, ready to be asked about many candidates.

    forms: (label, prefix expression over the vocabulary) pairs; several forms of a law share its label.
    renaming: compare in every order of variables besides (see the module's head).
    `shallow` names the laws with so many variables that only their own order is compared.
    """

    def __init__(self, forms, renaming: bool = True, points_seed: int = 0):
        self.renaming = renaming
        X = rng_for(points_seed, "check").uniform(-10.0, 10.0, (POINTS, MAX_VARIABLES))
        self.X = np.ascontiguousarray(X.T)
        self.labels: list[str] = []
        self.shallow: set[str] = set()
        self.known: set[bytes] = set()
        rows = self._forms(forms)
        self.laws = np.zeros((len(rows), max((len(row) for row in rows), default=1)), dtype=np.uint8)
        for number, row in enumerate(rows):
            self.laws[number, : len(row)] = row
        own = np.arange(MAX_VARIABLES)[None]
        self.literal = Table(self.X, self.laws, {0: [(number, own) for number in range(len(rows))]}, 1, 0)
        self.renamed = Table(self.X, self.laws, self._entries(), MAX_VARIABLES + 1, NUMBERS) if renaming else None

    def _forms(self, forms) -> list[np.ndarray]:
        rows: dict[bytes, np.ndarray] = {}
        for label, expr in forms:
            fault = problems(expr, MAX_VARIABLES)
            if fault:
                raise ValueError(f"{label}: {fault}")
            row = bulk.to_rows([expr])
            for form in (pruned(row, False)[0], pruned(row, True)[0]):
                form = form[form != 0]
                self.known.add(self._key(form))
                if len(form) and form.tobytes() not in rows:
                    rows[form.tobytes()] = form
                    self.labels.append(label)
        self.known.discard(b"")
        return list(rows.values())

    def _key(self, row) -> bytes:
        return by_appearance(row) if self.renaming else row[row != 0].tobytes()

    def _entries(self) -> dict[int, list]:
        """For each number of variables a candidate may have: which laws, in which orders of its columns."""
        entries = defaultdict(list)
        for number in range(len(self.laws)):
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
        paper, wider = pruned(rows, False), pruned(rows, True)
        self._ask(paper, np.ones(len(rows), dtype=np.int64), found)
        self._ask(wider, (wider != paper).any(axis=1).astype(np.int64), found)
        return found

    def _ask(self, forms, wanted, found):
        wanted = wanted * (forms[:, 0] != 0)
        self._note(self.literal, forms, forms, np.zeros(len(forms), dtype=np.int64), wanted, found)
        if self.renamed is not None:
            wanted = wanted * np.array([hit is None for hit in found])
            self._note(self.renamed, forms, *compacted(forms), wanted, found)

    def _note(self, table, forms, asked, k_of, wanted, found):
        result = table.ask(asked, k_of, wanted)
        for b in np.flatnonzero(result != NONE):
            if result[b] == NOTHING:
                found[b] = ("", "nan")
            else:
                # A form equal to a law's also has its values, so only these need looking up.
                how = "symbolic" if self._key(forms[b]) in self.known else "numeric"
                found[b] = (self.labels[table.form_of[result[b]]], how)

    def image(self, row: np.ndarray) -> np.ndarray:
        """Values (512,) of one row on the check points."""
        out = np.empty((1, POINTS))
        bulk.value_rows(np.array(row, dtype=np.uint8, order="C").reshape(1, -1), self.X, out)
        return out[0]


def _rounded(values: np.ndarray) -> np.ndarray:
    """Values to 10 significant digits, with one NaN: equal for images that differ by rounding only."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = 10.0 ** (9 - np.floor(np.log10(np.abs(values))))
        short = np.where(np.isfinite(scale) & (values != 0), np.round(values * scale) / scale, values)
    return np.where(np.isnan(values), 1.5e308, short)  # any number no law takes
