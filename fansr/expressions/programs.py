"""Values and derivatives of prefix expressions: flat programs run by two numba kernels.

A *program* is the prefix expression itself in three flat arrays over its L positions:

    op      int64   an operator's opcode or a leaf's (opcodes.py)
    link    int64   binary operator: where its second operand begins (the first begins at the next
                    position); constant: its number in pre-order; variable: its column; copy: the
                    position of the JOIN, further on, whose value it has
    literal float64 value of a literal, 0 elsewhere

so the subtree at position k is the slice k..end and is a program too.  Walking the positions from the
last to the first meets operands before operators (`forward`); walking them upwards meets operators
first, which is reverse-mode differentiation (`backward`).  Position k keeps its values in V[k] and its
adjoints in A[k], both (L, block) work arrays, so that a block of points stays in the cache.

The operators are the true ones: a NaN or an infinity comes out wherever the definition says so, nothing is
protected, and no input is written to.  This file knows nothing of fitting.

    y = evaluate(["*", "<constant>", "sin", "x1"], X, [2.0])
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fansr.expressions import compilation as nb, opcodes as op
from fansr.expressions.prefix import arity, problems
from fansr.expressions.tokens import CONSTANT, MORE_OPERATORS, OPERATORS, VARIABLES, literal_value, variable_index

BLOCK = 512  # points per block of evaluate(); 64 KiB of values for 16 positions


class Tape(NamedTuple):
    """A program of L positions and the work arrays to run it on blocks of points: what the kernels take.

    state says per position what has to be computed: positions with state[k] & wanted != 0.
    """

    op: np.ndarray  # (L,) int64
    link: np.ndarray  # (L,) int64
    literal: np.ndarray  # (L,) float64
    state: np.ndarray  # (L,) int64
    V: np.ndarray  # (L, block) float64, values
    A: np.ndarray  # (L, block) float64, adjoints; where none are wanted V will do


TAPE = nb.named(Tape, nb.I1, nb.I1, nb.F1, nb.I1, nb.F2, nb.F2)


# ---- kernels ----------------------------------------------------------------------------------


@nb.inner
def copied(source, target, at, n):
    """target[at : at + n] = source[:n] (slice assignment costs seconds of compilation)."""
    for i in range(n):
        target[at + i] = source[i]


@nb.shared(nb.void(TAPE, nb.int64, nb.int64, nb.int64, nb.F2, nb.int64, nb.F1, nb.int64))
def forward(tape, first, stop, wanted, X, offset, c, n):
    """V[k, :n] = values of the positions k in first..stop-1 whose state[k] & wanted is not 0.

    X (D, M) holds the columns; points offset..offset+n-1 are taken.  Positions left out must still hold
    their values from before.
    """
    codes, link, literal, state, V = tape.op, tape.link, tape.literal, tape.state, tape.V
    for k in range(stop - 1, first - 1, -1):
        if state[k] & wanted == 0:
            continue
        q = codes[k]
        v = V[k]
        if q >= op.LITERAL:
            if q == op.COLUMN:
                x = X[link[k]]
                for i in range(n):
                    v[i] = x[offset + i]
            elif q == op.COPY:
                x = V[link[k]]
                for i in range(n):
                    v[i] = x[i]
            else:
                value = c[link[k]] if q == op.FREE else literal[k]
                for i in range(n):
                    v[i] = value
            continue
        a = V[k + 1]
        if q <= op.LAST_BINARY:
            b = V[link[k]]
            if q == op.ADD:
                for i in range(n):
                    v[i] = a[i] + b[i]
            elif q == op.SUB:
                for i in range(n):
                    v[i] = a[i] - b[i]
            elif q == op.MUL:
                for i in range(n):
                    v[i] = a[i] * b[i]
            elif q == op.DIV:
                for i in range(n):
                    v[i] = a[i] / b[i]
            else:
                for i in range(n):
                    v[i] = a[i] ** b[i]
        elif q == op.ABS:
            for i in range(n):
                v[i] = abs(a[i])
        elif q == op.INV:
            for i in range(n):
                v[i] = 1.0 / a[i]
        elif q == op.NEG:
            for i in range(n):
                v[i] = -a[i]
        elif q == op.POW2:
            for i in range(n):
                v[i] = a[i] * a[i]
        elif q == op.POW3:
            for i in range(n):
                v[i] = a[i] * a[i] * a[i]
        elif q == op.POW4:
            for i in range(n):
                s = a[i] * a[i]
                v[i] = s * s
        elif q == op.POW5:
            for i in range(n):
                s = a[i] * a[i]
                v[i] = s * s * a[i]
        elif q == op.ROOT2:
            for i in range(n):
                v[i] = math.sqrt(a[i])
        elif q == op.ROOT3:
            for i in range(n):
                v[i] = np.cbrt(a[i])
        elif q == op.ROOT4:
            for i in range(n):
                v[i] = math.sqrt(math.sqrt(a[i]))
        elif q == op.ROOT5:
            for i in range(n):
                v[i] = math.copysign(abs(a[i]) ** 0.2, a[i])
        elif q == op.SIN:
            for i in range(n):
                v[i] = math.sin(a[i])
        elif q == op.COS:
            for i in range(n):
                v[i] = math.cos(a[i])
        elif q == op.TAN:
            for i in range(n):
                v[i] = math.tan(a[i])
        elif q == op.ASIN:
            for i in range(n):
                v[i] = math.asin(a[i])
        elif q == op.ACOS:
            for i in range(n):
                v[i] = math.acos(a[i])
        elif q == op.ATAN:
            for i in range(n):
                v[i] = math.atan(a[i])
        elif q == op.SINH:
            for i in range(n):
                v[i] = math.sinh(a[i])
        elif q == op.COSH:
            for i in range(n):
                v[i] = math.cosh(a[i])
        elif q == op.TANH:
            for i in range(n):
                v[i] = math.tanh(a[i])
        elif q == op.ASINH:
            for i in range(n):
                v[i] = math.asinh(a[i])
        elif q == op.ACOSH:
            for i in range(n):
                v[i] = math.acosh(a[i])
        elif q == op.ATANH:
            for i in range(n):
                v[i] = math.atanh(a[i])
        elif q == op.EXP:
            for i in range(n):
                v[i] = math.exp(a[i])
        elif q == op.LOG:
            for i in range(n):
                v[i] = np.log(a[i])
        elif q <= op.MULT5:
            factor = float(q - op.MULT2 + 2)
            for i in range(n):
                v[i] = factor * a[i]
        elif q <= op.DIV5:
            factor = float(q - op.DIV2 + 2)
            for i in range(n):
                v[i] = a[i] / factor
        elif q == op.STEP:
            for i in range(n):
                v[i] = 1.0 if a[i] > 0.0 else (0.0 if a[i] <= 0.0 else a[i])
        elif q == op.SIGN:
            for i in range(n):
                v[i] = np.sign(a[i])
        elif q == op.FLOOR:
            for i in range(n):
                v[i] = np.floor(a[i])
        elif q == op.LOGISTIC:
            for i in range(n):
                v[i] = 1.0 / (1.0 + math.exp(-a[i]))
        elif q == op.JOIN:
            for i in range(n):
                v[i] = a[i]
        else:
            b = V[link[k]]
            if q == op.MOD:
                for i in range(n):
                    v[i] = np.mod(a[i], b[i])
            else:
                for i in range(n):
                    first_one = b[i] == b[i] and (a[i] > b[i]) == (q == op.MAX)  # of a number and a NaN the NaN
                    v[i] = a[i] if first_one or a[i] != a[i] else b[i]


@nb.shared(nb.void(TAPE, nb.int64, nb.int64, nb.int64, nb.int64))
def backward(tape, first, stop, wanted, n):
    """A[k, :n] = d(root) / d(position k), times the seed the caller has put into A[first, :n].

    V holds the values from `forward`.  Only adjoints of positions with state[k] & wanted are computed; a
    position's parents must be wanted too.  Derivatives are the formulas of tokens.OPERATOR with one
    departure: where a base is 0 and its exponent positive, d(pow)/d(exponent) is its limit 0, not NaN.
    """
    codes, link, state, V, A = tape.op, tape.link, tape.state, tape.V, tape.A
    for k in range(first, stop):
        q = codes[k]
        if q >= op.LITERAL or state[k] & wanted == 0:
            continue
        g = A[k]
        v = V[k]
        a = V[k + 1]
        ga = A[k + 1]
        if q <= op.LAST_BINARY:
            r = link[k]
            b = V[r]
            gb = A[r]
            if state[k + 1] & wanted:
                if q <= op.SUB:
                    for i in range(n):
                        ga[i] = g[i]
                elif q == op.MUL:
                    for i in range(n):
                        ga[i] = g[i] * b[i]
                elif q == op.DIV:
                    for i in range(n):
                        ga[i] = g[i] / b[i]
                else:
                    for i in range(n):
                        ga[i] = g[i] * b[i] * a[i] ** (b[i] - 1.0)
            if state[r] & wanted:
                if q == op.ADD:
                    for i in range(n):
                        gb[i] = g[i]
                elif q == op.SUB:
                    for i in range(n):
                        gb[i] = -g[i]
                elif q == op.MUL:
                    for i in range(n):
                        gb[i] = g[i] * a[i]
                elif q == op.DIV:
                    for i in range(n):
                        gb[i] = -g[i] * v[i] / b[i]
                else:
                    for i in range(n):
                        gb[i] = 0.0 if a[i] == 0.0 and b[i] > 0.0 else g[i] * v[i] * np.log(a[i])
            continue
        if op.MIN <= q <= op.MOD:
            r = link[k]
            b = V[r]
            gb = A[r]
            first_too, second_too = state[k + 1] & wanted != 0, state[r] & wanted != 0
            for i in range(n):
                if q == op.MOD:
                    left, right = 1.0, -np.floor(a[i] / b[i])
                else:
                    ahead = a[i] - b[i] if q == op.MAX else b[i] - a[i]
                    left = 1.0 if ahead > 0.0 else (0.0 if ahead < 0.0 else ahead + 0.5)
                    right = 1.0 - left
                if first_too:
                    ga[i] = g[i] * left
                if second_too:
                    gb[i] = g[i] * right
            continue
        if state[k + 1] & wanted == 0:
            continue
        if q == op.ABS:
            for i in range(n):
                ga[i] = g[i] * np.sign(a[i])
        elif q == op.INV:
            for i in range(n):
                ga[i] = -g[i] * v[i] * v[i]
        elif q == op.NEG:
            for i in range(n):
                ga[i] = -g[i]
        elif q == op.POW2:
            for i in range(n):
                ga[i] = 2.0 * g[i] * a[i]
        elif q == op.POW3:
            for i in range(n):
                ga[i] = 3.0 * g[i] * (a[i] * a[i])
        elif q == op.POW4:
            for i in range(n):
                ga[i] = 4.0 * g[i] * (a[i] * a[i] * a[i])
        elif q == op.POW5:
            for i in range(n):
                s = a[i] * a[i]
                ga[i] = 5.0 * g[i] * (s * s)
        elif q == op.ROOT2:
            for i in range(n):
                ga[i] = g[i] * 0.5 / v[i]
        elif q == op.ROOT3:
            for i in range(n):
                ga[i] = g[i] / (3.0 * v[i] * v[i])
        elif q == op.ROOT4:
            for i in range(n):
                ga[i] = g[i] * (0.25 * v[i] / a[i])
        elif q == op.ROOT5:
            for i in range(n):
                ga[i] = g[i] * (0.2 * v[i] / a[i])
        elif q == op.SIN:
            for i in range(n):
                ga[i] = g[i] * math.cos(a[i])
        elif q == op.COS:
            for i in range(n):
                ga[i] = -g[i] * math.sin(a[i])
        elif q == op.TAN:
            for i in range(n):
                ga[i] = g[i] * (1.0 + v[i] * v[i])
        elif q == op.ASIN:
            for i in range(n):
                ga[i] = g[i] / math.sqrt(1.0 - a[i] * a[i])
        elif q == op.ACOS:
            for i in range(n):
                ga[i] = -g[i] / math.sqrt(1.0 - a[i] * a[i])
        elif q == op.ATAN:
            for i in range(n):
                ga[i] = g[i] / (1.0 + a[i] * a[i])
        elif q == op.SINH:
            for i in range(n):
                ga[i] = g[i] * math.cosh(a[i])
        elif q == op.COSH:
            for i in range(n):
                ga[i] = g[i] * math.sinh(a[i])
        elif q == op.TANH:
            for i in range(n):
                ga[i] = g[i] * (1.0 - v[i] * v[i])
        elif q == op.ASINH:
            for i in range(n):
                ga[i] = g[i] / math.sqrt(a[i] * a[i] + 1.0)
        elif q == op.ACOSH:
            for i in range(n):
                ga[i] = g[i] / math.sqrt(a[i] * a[i] - 1.0)
        elif q == op.ATANH:
            for i in range(n):
                ga[i] = g[i] / (1.0 - a[i] * a[i])
        elif q == op.EXP:
            for i in range(n):
                ga[i] = g[i] * v[i]
        elif q == op.LOG:
            for i in range(n):
                ga[i] = g[i] / a[i]
        elif q <= op.MULT5:
            factor = float(q - op.MULT2 + 2)
            for i in range(n):
                ga[i] = factor * g[i]
        elif q <= op.DIV5:
            factor = float(q - op.DIV2 + 2)
            for i in range(n):
                ga[i] = g[i] / factor
        elif q == op.LOGISTIC:
            for i in range(n):
                ga[i] = g[i] * (v[i] * (1.0 - v[i]))
        elif q == op.JOIN:
            for i in range(n):
                ga[i] = g[i]
            for r in range(first, k):  # copies stand before what they are copies of
                if codes[r] == op.COPY and link[r] == k:
                    gb = A[r]
                    for i in range(n):
                        ga[i] += gb[i]
        else:  # steps
            for i in range(n):
                ga[i] = 0.0


@nb.shared(nb.int64(nb.I1, nb.I1, nb.int64, nb.int64, nb.I1), python=True)
def connect(codes, link, first, stop, stack):
    """Fill in `link` of one program in codes[first:stop].

    Links count from `first`.  Those of columns and copies are given.  `stack` is work space of at least stop-first entries.  Returns the number of
    free constants, or -1 when the positions are not exactly one complete expression.
    """
    depth = 0
    n_free = 0
    for k in range(first, stop):
        if codes[k] == op.FREE:
            link[k] = n_free
            n_free += 1
    for k in range(stop - 1, first - 1, -1):
        q = codes[k]
        if q < op.LITERAL:
            if q <= op.LAST_BINARY or op.MIN <= q <= op.MOD:
                if depth < 2:
                    return -1
                link[k] = stack[depth - 2]
                depth -= 1
            elif depth < 1:
                return -1
            depth -= 1
        stack[depth] = k - first
        depth += 1
    return n_free if depth == 1 else -1


@nb.kernel(nb.void(nb.I1, nb.I1, nb.F1, nb.F2, nb.F1, nb.F1, nb.F2))
def _run(codes, link, literal, X, c, y, J):
    """y (M,) = values of a program at the columns X (D, M); J (C, M) = derivatives by its constants, where J has rows."""
    L, M = len(codes), len(y)
    width = min(M, BLOCK)
    V, A, state = np.empty((L, width)), np.empty((L if len(J) > 0 else 0, width)), np.empty(L, np.int64)
    for k in range(L):
        state[k] = 1
    tape = Tape(codes, link, literal, state, V, A)
    for offset in range(0, M, BLOCK):
        n = min(BLOCK, M - offset)
        forward(tape, 0, L, 1, X, offset, c, n)
        copied(V[0], y, offset, n)
        if len(J) > 0:
            for i in range(n):
                A[0, i] = 1.0
            backward(tape, 0, L, 1, n)
            for k in range(L):
                if codes[k] == op.FREE:
                    copied(A[k], J[link[k]], offset, n)


# ---- programs ---------------------------------------------------------------------------------


class Program(NamedTuple):
    """One expression in flat arrays (see the top of the file); `n_columns` is how many columns X must have."""

    op: np.ndarray  # (L,) int64
    link: np.ndarray  # (L,) int64
    literal: np.ndarray  # (L,) float64
    n_constants: int
    n_columns: int


class Programs(NamedTuple):
    """K programs end to end: program k is positions start[k]..start[k+1]-1, its links counted from start[k]."""

    op: np.ndarray
    link: np.ndarray
    literal: np.ndarray
    start: np.ndarray  # (K+1,) int64
    n_constants: np.ndarray  # (K,) int64

    def __len__(self) -> int:
        return len(self.n_constants)

    def __getitem__(self, k: int) -> Program:
        part = slice(self.start[k], self.start[k + 1])
        codes, link = self.op[part], self.link[part]
        columns = link[codes == op.COLUMN]
        return Program(codes, link, self.literal[part], int(self.n_constants[k]), int(columns.max(initial=-1)) + 1)

    @property
    def n_columns(self) -> int:
        """How many columns X must have for all of them."""
        return int(self.link[self.op == op.COLUMN].max(initial=-1)) + 1


class _Defined(Exception):
    """A token that stands for several."""


def _leaf(token):
    """(op, link, literal) of a token that is no operator."""
    column = variable_index(token)
    if column is not None:
        return op.COLUMN, column, 0.0
    value = literal_value(token)
    if value is None:
        if arity(token):
            raise _Defined
        raise ValueError(
            f"unknown token {token!r}: wanted an operator of the table, x1, x2, ..., {CONSTANT} or a number"
        )
    return op.LITERAL, 0, value


# token -> (op, link, literal), filled with the vocabulary; other variables and literals are looked up when met.
_CODE = {row.token: (row.opcode, 0, 0.0) for row in (*OPERATORS, *MORE_OPERATORS)}  # without definitions met before
_CODE[CONSTANT] = (op.FREE, 0, 0.0)
_CODE.update((token, _leaf(token)) for token in VARIABLES)


def compile_many(exprs: Sequence[Sequence[str]]) -> Programs:
    """Programs of K prefix expressions; ValueError names the first that is not a complete expression."""
    rows = []
    start = np.zeros(len(exprs) + 1, np.int64)
    numbered = {}  # of programs with definitions: the numbers of their constants in the order in which they stand
    for k, expr in enumerate(exprs):
        try:
            rows.extend([_CODE.get(token) or _leaf(token) for token in expr])
        except _Defined:
            whole, numbered[k] = _with_definitions(expr)
            rows.extend(whole)
        start[k + 1] = len(rows)
    codes, link, literal = zip(*rows) if rows else ((), (), ())
    codes, link = np.array(codes, np.int64), np.array(link, np.int64)
    n_constants = np.empty(len(exprs), np.int64)
    stack = np.empty(int(np.diff(start).max(initial=0)) + 1, np.int64)
    for k in range(len(exprs)):
        n_constants[k] = connect(codes, link, start[k], start[k + 1], stack)
        if n_constants[k] < 0:
            raise ValueError(f"expression {k} is not one complete prefix expression: {' '.join(exprs[k])!r}")
    for k, numbers in numbered.items():
        part = slice(start[k], start[k + 1])
        link[part][codes[part] == op.FREE] = numbers
    return Programs(codes, link, np.array(literal, np.float64), start, n_constants)


def _with_definitions(expr):
    """(rows (op, link, literal), numbers of its constants in order) of an expression with defined tokens written out.

    An argument that is needed more than once stands where it is needed last, under JOIN, and COPY before: its constants
    occur once.
    """
    count = itertools.count()

    def read(at):
        """The rows of the subtree at `at`, a list of [op, link, literal] or (COPY, which) entries, and where it ends."""
        token = expr[at]
        n, at, parts = arity(token), at + 1, []
        number = next(count) if token == CONSTANT else 0
        for _ in range(n):
            part, at = read(at)
            parts.append(part)
        if n and "=" in token:
            return filled(token, parts), at
        own = [op.FREE, number, 0.0] if token == CONSTANT else list(_CODE.get(token) or _leaf(token))
        return [own, *itertools.chain(*parts)], at

    def filled(token, parts):
        """The rows of a definition's body with its arguments' rows in their places."""
        body = definitions.body_of(token)
        places = [[k for k, word in enumerate(body) if variable_index(word) == j] for j in range(len(parts))]
        joins = [[op.JOIN, 0, 0.0] for _ in parts]
        rows = []
        for k, word in enumerate(body):
            j = variable_index(word)
            if j is None:
                rows.append(list(_CODE.get(word) or _leaf(word)))
            elif len(places[j]) == 1:
                rows += parts[j]
            elif k == places[j][-1]:
                rows += [joins[j], *parts[j]]
            else:
                rows.append([op.COPY, joins[j], 0.0])
        return rows

    from fansr.expressions import definitions

    if problems(list(expr)) is not None:
        return [(op.LITERAL, 0, 0.0), (op.LITERAL, 0, 0.0)], []  # no expression, as connect() will find
    rows, _ = read(0)
    place = {id(row): k for k, row in enumerate(rows)}
    for row in rows:
        if row[0] == op.COPY:
            row[1] = place[id(row[1])]
    return [tuple(row) for row in rows], [row[1] for row in rows if row[0] == op.FREE]


def compile_program(expr: Sequence[str] | Program) -> Program:
    """Program of one prefix expression; a Program is returned as it is."""
    return expr if isinstance(expr, Program) else compile_many([expr])[0]


# ---- what the rest of the package calls -------------------------------------------------------


_NO_JACOBIAN = np.empty((0, 0))


def columns_of(X: ArrayLike) -> np.ndarray:
    """X (M, D) as contiguous columns (D, M) float64, the layout of the kernels; the kernels never write to it."""
    X = np.asarray(X, np.float64)
    if X.ndim != 2:
        raise ValueError(f"X has shape {X.shape}, wanted (points, columns)")
    columns = np.ascontiguousarray(X.T)
    return columns if columns.flags.writeable else columns.copy()  # the kernels' signatures want writeable arrays


def _arguments(program, X, consts):
    """The checked (columns (D, M), consts (C,)) of a call."""
    columns = columns_of(X)
    consts = np.zeros(0) if consts is None else np.array(consts, np.float64).reshape(-1)
    if len(consts) != program.n_constants:
        raise ValueError(f"{len(consts)} constants came, the expression has {program.n_constants}")
    if program.n_columns > len(columns):
        raise ValueError(f"X has {len(columns)} columns, the expression uses x{program.n_columns}")
    return columns, consts


def evaluate(expr: Sequence[str] | Program, X: ArrayLike, consts: ArrayLike | None = None) -> np.ndarray:
    """Values (M,) float64 of an expression (or Program) at the rows of X (M, D) with its constants (C,).

    Constants are numbered in pre-order.  Where the expression is not defined the value is NaN or infinite.
    ValueError when the expression is incomplete or the sizes do not fit.
    """
    program = compile_program(expr)
    columns, consts = _arguments(program, X, consts)
    return _values(program, columns, consts)


def _values(program, columns, consts):
    """evaluate() on columns (D, M) already laid out."""
    y = np.empty(columns.shape[1])
    _run(*program[:3], columns, consts, y, _NO_JACOBIAN)
    return y


def evaluate_many(exprs: Sequence[Sequence[str]] | Programs, X: ArrayLike, consts: Sequence[ArrayLike]) -> np.ndarray:
    """Values (K, M) of K expressions (a list, or Programs) with their K arrays of constants."""
    programs = exprs if isinstance(exprs, Programs) else compile_many(exprs)
    if len(consts) != len(programs):
        raise ValueError(f"{len(consts)} arrays of constants came for {len(programs)} expressions")
    columns = columns_of(X)
    values = np.empty((len(programs), columns.shape[1]))
    for k in range(len(programs)):
        program = programs[k]
        _, c = _arguments(program, columns.T, consts[k])
        values[k] = _values(program, columns, c)
    return values


def value_and_jacobian(
    expr: Sequence[str] | Program, X: ArrayLike, consts: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(y (M,), J (C, M)): values and J[j] = d y / d consts[j], by reverse-mode differentiation.

    Derivatives are those of tokens.OPERATOR, infinite or NaN where the formula is (sqrt at 0, say).
    """
    program = compile_program(expr)
    columns, consts = _arguments(program, X, consts)
    M = columns.shape[1]
    y, J = np.empty(M), np.empty((program.n_constants, M))
    _run(*program[:3], columns, consts, y, J)
    return y, J
