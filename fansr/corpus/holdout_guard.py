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

holdout_images.py looks for the laws near a candidate.  Importing this module loads numba.
"""

from __future__ import annotations

import functools
import math
from collections import defaultdict

import numpy as np

from fansr.corpus import draw_kernels
from fansr.corpus.holdout_images import NONE, NOTHING, NUMBERS, POINTS, Table, different
from fansr.expressions import (
    FIRST_OPERATOR_ID,
    FIRST_VARIABLE_ID,
    MAX_VARIABLES,
    TOKEN_ID,
    compilation as nb,
    opcodes as op,
    problems,
)
from fansr.streams import rng_for

MAX_ORDERS = 40_320  # 8!: laws of more variables are compared in their own order only
MAX_EMBEDDINGS = 100  # ways to find a law's variables among more of a candidate's that are still tried
_FAMILY = np.zeros(256, dtype=np.uint8)
_FAMILY[[TOKEN_ID[t] for t in ("neg", *(f"{word}{k}" for word in ("mult", "div") for k in (2, 3, 4, 5)))]] = 1
_OVER, _INV, _SIN, _COS, _PLUS, _MINUS = (TOKEN_ID[t] for t in ("/", "inv", "sin", "cos", "+", "-"))


# ---- pruning ----------------------------------------------------------------------------------


@nb.kernel(nb.void(nb.U2, nb.U1, nb.U2))
def prune_rows(rows, drop, out):
    """out = rows without their constants: what depends on no variable goes, and with it the binary operator above.

    drop (256,): 1 for unary operators to cut as well; with any at all, c/x becomes inv x instead of x, cos sin, and - +.
    A row without variables becomes empty.
    """
    length = rows.shape[1]
    tape = draw_kernels.new_tape(length, 1)
    alive, write = np.zeros(length + 1, np.uint8), np.zeros(length + 1, np.uint8)
    family = False
    for token in drop:
        family = family or token != 0
    for b in range(len(rows)):
        used = draw_kernels.program(rows[b], tape)
        for k in range(used - 1, -1, -1):
            token = rows[b, k]
            write[k] = 0
            if token < FIRST_OPERATOR_ID:
                alive[k] = token >= FIRST_VARIABLE_ID
                write[k] = token if alive[k] else 0
            elif tape.op[k] <= op.LAST_BINARY:
                first, second = alive[k + 1], alive[tape.link[k]]
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
        for k in range(n, length):
            out[b, k] = 0


@nb.kernel(nb.void(nb.U2, nb.U2, nb.I1))
def compact_rows(rows, out, n_variables):
    """out = rows with their k variables renumbered x1..xk in order of index; n_variables = k."""
    number = np.zeros(256, np.uint8)
    for b in range(len(rows)):
        for token in range(256):
            number[token] = 0
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


# ---- the guard --------------------------------------------------------------------------------


@functools.cache
def _choices(k: int, n: int) -> np.ndarray:
    """All ways (ways, n) to choose n of k columns in order, rising; itertools.permutations takes ten times as long."""
    ways, free = np.zeros((1, 0), dtype=np.int64), np.ones((1, k), dtype=bool)
    for _ in range(n):
        before, column = np.nonzero(free)
        ways, free = np.column_stack([ways[before], column]), free[before]
        free[np.arange(len(column)), column] = False
    return ways


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
            label for label, seen in zip(self.labels, sighted) if seen
        }
        paper = np.array([number for number in paper if sighted[number]], dtype=np.int64)
        literal = {0: [(number, own) for number in paper[different(images[paper])]]}
        self.literal = Table(self.X, self.laws, literal, 1, 0)
        # Of forms with equal images one of each number of variables stays: x/(x cos y) would miss a candidate of one, and
        # a form of four is not tried in all the ways into a candidate of five, whose fifth may cancel as well.
        widths = np.array([self._width(number) for number in range(len(self.laws))])
        alike = [np.flatnonzero(sighted & (widths == width)) for width in np.unique(widths)]
        chosen = [number for numbers in alike for number in numbers[different(images[numbers])]]
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
            row = draw_kernels.to_rows([expr])
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
                    orders = _choices(k, n)
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
        draw_kernels.value_rows(np.array(row, dtype=np.uint8, order="C").reshape(1, -1), self.X, out)
        return out[0]
