"""Values and derivatives of prefix expressions: flat programs run by two numba kernels.

A *program* is the prefix expression itself in three flat arrays over its L positions:

    op      int64   0..37 an operator's opcode, 38 a literal, 39 a free constant, 40 a variable
    link    int64   binary operator: where its second operand begins (the first begins at the next
                    position); constant: its number in pre-order; variable: its column
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

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fansr.expressions import numba_without_scipy  # noqa: F401  # isort: skip  (before numba)
from numba import njit, void
from numba.types import Array, float64, int64

from fansr.expressions.tokens import (
    ARITY,
    CONSTANT,
    CONSTANT_OPCODE,
    LITERAL_OPCODE,
    OPERATOR,
    OPERATORS,
    VARIABLE_OPCODE,
    literal_value,
    variable_index,
)

BLOCK = 512  # points per block of evaluate(); 64 KiB of values for 16 positions

# The kernels' argument types.  All arrays are C-contiguous; read-only inputs are copied by the callers.
I1, F1 = Array(int64, 1, "C"), Array(float64, 1, "C")
F2 = Array(float64, 2, "C")

JIT = {"cache": True, "nogil": True, "error_model": "numpy"}

# Opcodes under names the kernels can be read by; numba folds them as constants.
ADD, SUB, MUL, DIV, POW = (OPERATOR[t].opcode for t in ("+", "-", "*", "/", "pow"))
ABS, INV, NEG = (OPERATOR[t].opcode for t in ("abs", "inv", "neg"))
POW2, POW3, POW4, POW5 = (OPERATOR[f"pow{k}"].opcode for k in (2, 3, 4, 5))
ROOT2, ROOT3, ROOT4, ROOT5 = (OPERATOR[f"pow1_{k}"].opcode for k in (2, 3, 4, 5))
SIN, COS, TAN, ASIN, ACOS, ATAN = (OPERATOR[t].opcode for t in ("sin", "cos", "tan", "asin", "acos", "atan"))
SINH, COSH, TANH, ASINH, ACOSH, ATANH = (
    OPERATOR[t].opcode for t in ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh")
)
EXP, LOG = OPERATOR["exp"].opcode, OPERATOR["log"].opcode
MULT2, MULT5, DIV2, DIV5 = (OPERATOR[t].opcode for t in ("mult2", "mult5", "div2", "div5"))
LITERAL, FREE, COLUMN = LITERAL_OPCODE, CONSTANT_OPCODE, VARIABLE_OPCODE
LAST_BINARY = POW  # the table puts the binary operators first
assert [row.arity for row in OPERATORS] == [2] * (POW + 1) + [1] * (len(OPERATORS) - POW - 1)


# ---- kernels ----------------------------------------------------------------------------------


@njit(void(I1, I1, F1, int64, int64, I1, int64, F2, int64, F1, F2, int64), **JIT)
def forward(op, link, literal, first, stop, state, wanted, X, offset, c, V, n):
    """V[k, :n] = values of the positions k in first..stop-1 whose state[k] & wanted is not 0.

    X (D, M) holds the columns; points offset..offset+n-1 are taken.  Positions left out must still hold
    their values from before.  `state` marks what has to be recomputed (refiner.py sets it).
    """
    for k in range(stop - 1, first - 1, -1):
        if state[k] & wanted == 0:
            continue
        q = op[k]
        v = V[k]
        if q >= LITERAL:
            if q == COLUMN:
                x = X[link[k]]
                for i in range(n):
                    v[i] = x[offset + i]
            else:
                value = c[link[k]] if q == FREE else literal[k]
                for i in range(n):
                    v[i] = value
            continue
        a = V[k + 1]
        if q <= LAST_BINARY:
            b = V[link[k]]
            if q == ADD:
                for i in range(n):
                    v[i] = a[i] + b[i]
            elif q == SUB:
                for i in range(n):
                    v[i] = a[i] - b[i]
            elif q == MUL:
                for i in range(n):
                    v[i] = a[i] * b[i]
            elif q == DIV:
                for i in range(n):
                    v[i] = a[i] / b[i]
            else:
                for i in range(n):
                    v[i] = a[i] ** b[i]
        elif q == ABS:
            for i in range(n):
                v[i] = abs(a[i])
        elif q == INV:
            for i in range(n):
                v[i] = 1.0 / a[i]
        elif q == NEG:
            for i in range(n):
                v[i] = -a[i]
        elif q == POW2:
            for i in range(n):
                v[i] = a[i] * a[i]
        elif q == POW3:
            for i in range(n):
                v[i] = a[i] * a[i] * a[i]
        elif q == POW4:
            for i in range(n):
                s = a[i] * a[i]
                v[i] = s * s
        elif q == POW5:
            for i in range(n):
                s = a[i] * a[i]
                v[i] = s * s * a[i]
        elif q == ROOT2:
            for i in range(n):
                v[i] = math.sqrt(a[i])
        elif q == ROOT3:
            for i in range(n):
                v[i] = np.cbrt(a[i])
        elif q == ROOT4:
            for i in range(n):
                v[i] = math.sqrt(math.sqrt(a[i]))
        elif q == ROOT5:
            for i in range(n):
                v[i] = math.copysign(abs(a[i]) ** 0.2, a[i])
        elif q == SIN:
            for i in range(n):
                v[i] = math.sin(a[i])
        elif q == COS:
            for i in range(n):
                v[i] = math.cos(a[i])
        elif q == TAN:
            for i in range(n):
                v[i] = math.tan(a[i])
        elif q == ASIN:
            for i in range(n):
                v[i] = math.asin(a[i])
        elif q == ACOS:
            for i in range(n):
                v[i] = math.acos(a[i])
        elif q == ATAN:
            for i in range(n):
                v[i] = math.atan(a[i])
        elif q == SINH:
            for i in range(n):
                v[i] = math.sinh(a[i])
        elif q == COSH:
            for i in range(n):
                v[i] = math.cosh(a[i])
        elif q == TANH:
            for i in range(n):
                v[i] = math.tanh(a[i])
        elif q == ASINH:
            for i in range(n):
                v[i] = math.asinh(a[i])
        elif q == ACOSH:
            for i in range(n):
                v[i] = math.acosh(a[i])
        elif q == ATANH:
            for i in range(n):
                v[i] = math.atanh(a[i])
        elif q == EXP:
            for i in range(n):
                v[i] = math.exp(a[i])
        elif q == LOG:
            for i in range(n):
                v[i] = np.log(a[i])
        elif q <= MULT5:
            factor = float(q - MULT2 + 2)
            for i in range(n):
                v[i] = factor * a[i]
        else:
            factor = float(q - DIV2 + 2)
            for i in range(n):
                v[i] = a[i] / factor


@njit(void(I1, I1, int64, int64, I1, int64, F2, F2, int64), **JIT)
def backward(op, link, first, stop, state, wanted, V, A, n):
    """A[k, :n] = d(root) / d(position k), times the seed the caller has put into A[first, :n].

    V holds the values from `forward`.  Only adjoints of positions with state[k] & wanted are computed; a
    position's parents must be wanted too.  Derivatives are the formulas of tokens.OPERATORS with one
    departure: where a base is 0 and its exponent positive, d(pow)/d(exponent) is its limit 0, not NaN.
    """
    for k in range(first, stop):
        q = op[k]
        if q >= LITERAL or state[k] & wanted == 0:
            continue
        g = A[k]
        v = V[k]
        a = V[k + 1]
        ga = A[k + 1]
        if q <= LAST_BINARY:
            r = link[k]
            b = V[r]
            gb = A[r]
            if state[k + 1] & wanted:
                if q <= SUB:
                    for i in range(n):
                        ga[i] = g[i]
                elif q == MUL:
                    for i in range(n):
                        ga[i] = g[i] * b[i]
                elif q == DIV:
                    for i in range(n):
                        ga[i] = g[i] / b[i]
                else:
                    for i in range(n):
                        ga[i] = g[i] * b[i] * a[i] ** (b[i] - 1.0)
            if state[r] & wanted:
                if q == ADD:
                    for i in range(n):
                        gb[i] = g[i]
                elif q == SUB:
                    for i in range(n):
                        gb[i] = -g[i]
                elif q == MUL:
                    for i in range(n):
                        gb[i] = g[i] * a[i]
                elif q == DIV:
                    for i in range(n):
                        gb[i] = -g[i] * v[i] / b[i]
                else:
                    for i in range(n):
                        gb[i] = 0.0 if a[i] == 0.0 and b[i] > 0.0 else g[i] * v[i] * np.log(a[i])
            continue
        if state[k + 1] & wanted == 0:
            continue
        if q == ABS:
            for i in range(n):
                ga[i] = g[i] * np.sign(a[i])
        elif q == INV:
            for i in range(n):
                ga[i] = -g[i] * v[i] * v[i]
        elif q == NEG:
            for i in range(n):
                ga[i] = -g[i]
        elif q == POW2:
            for i in range(n):
                ga[i] = 2.0 * g[i] * a[i]
        elif q == POW3:
            for i in range(n):
                ga[i] = 3.0 * g[i] * (a[i] * a[i])
        elif q == POW4:
            for i in range(n):
                ga[i] = 4.0 * g[i] * (a[i] * a[i] * a[i])
        elif q == POW5:
            for i in range(n):
                s = a[i] * a[i]
                ga[i] = 5.0 * g[i] * (s * s)
        elif q == ROOT2:
            for i in range(n):
                ga[i] = g[i] * 0.5 / v[i]
        elif q == ROOT3:
            for i in range(n):
                ga[i] = g[i] / (3.0 * v[i] * v[i])
        elif q == ROOT4:
            for i in range(n):
                ga[i] = g[i] * (0.25 * v[i] / a[i])
        elif q == ROOT5:
            for i in range(n):
                ga[i] = g[i] * (0.2 * v[i] / a[i])
        elif q == SIN:
            for i in range(n):
                ga[i] = g[i] * math.cos(a[i])
        elif q == COS:
            for i in range(n):
                ga[i] = -g[i] * math.sin(a[i])
        elif q == TAN:
            for i in range(n):
                ga[i] = g[i] * (1.0 + v[i] * v[i])
        elif q == ASIN:
            for i in range(n):
                ga[i] = g[i] / math.sqrt(1.0 - a[i] * a[i])
        elif q == ACOS:
            for i in range(n):
                ga[i] = -g[i] / math.sqrt(1.0 - a[i] * a[i])
        elif q == ATAN:
            for i in range(n):
                ga[i] = g[i] / (1.0 + a[i] * a[i])
        elif q == SINH:
            for i in range(n):
                ga[i] = g[i] * math.cosh(a[i])
        elif q == COSH:
            for i in range(n):
                ga[i] = g[i] * math.sinh(a[i])
        elif q == TANH:
            for i in range(n):
                ga[i] = g[i] * (1.0 - v[i] * v[i])
        elif q == ASINH:
            for i in range(n):
                ga[i] = g[i] / math.sqrt(a[i] * a[i] + 1.0)
        elif q == ACOSH:
            for i in range(n):
                ga[i] = g[i] / math.sqrt(a[i] * a[i] - 1.0)
        elif q == ATANH:
            for i in range(n):
                ga[i] = g[i] / (1.0 - a[i] * a[i])
        elif q == EXP:
            for i in range(n):
                ga[i] = g[i] * v[i]
        elif q == LOG:
            for i in range(n):
                ga[i] = g[i] / a[i]
        elif q <= MULT5:
            factor = float(q - MULT2 + 2)
            for i in range(n):
                ga[i] = factor * g[i]
        else:
            factor = float(q - DIV2 + 2)
            for i in range(n):
                ga[i] = g[i] / factor


@njit(int64(I1, I1, int64, int64, I1), **JIT)
def connect(op, link, first, stop, stack):
    """Fill in `link` of one program in op[first:stop] (columns must stand there already).

    Links count from `first`.  `stack` is work space of at least stop-first entries.  Returns the number of
    free constants, or -1 when the positions are not exactly one complete expression.
    """
    depth = 0
    n_free = 0
    for k in range(first, stop):
        if op[k] == FREE:
            link[k] = n_free
            n_free += 1
    for k in range(stop - 1, first - 1, -1):
        q = op[k]
        if q < LITERAL:
            if q <= LAST_BINARY:
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
        op, link = self.op[part], self.link[part]
        columns = link[op == COLUMN]
        return Program(op, link, self.literal[part], int(self.n_constants[k]), int(columns.max(initial=-1)) + 1)

    @property
    def n_columns(self) -> int:
        """How many columns X must have for all of them."""
        return int(self.link[self.op == COLUMN].max(initial=-1)) + 1


def _leaf(token):
    """(op, link, literal) of a token that is none of Table 5's operators."""
    column = variable_index(token)
    if column is not None:
        return COLUMN, column, 0.0
    value = literal_value(token)
    if value is None:
        raise ValueError(
            f"unknown token {token!r}: wanted an operator of the table, x1, x2, ..., {CONSTANT} or a number"
        )
    return LITERAL, 0, value


# token -> (op, link, literal), filled with the vocabulary; other variables and literals are looked up when met.
_CODE = {row.token: (row.opcode, 0, 0.0) for row in OPERATORS}
_CODE[CONSTANT] = (FREE, 0, 0.0)
_CODE.update((token, _leaf(token)) for token in ARITY if token not in _CODE)


def compile_many(exprs: Sequence[Sequence[str]]) -> Programs:
    """Programs of K prefix expressions; ValueError names the first that is not a complete expression."""
    rows = []
    start = np.zeros(len(exprs) + 1, np.int64)
    for k, expr in enumerate(exprs):
        rows.extend([_CODE.get(token) or _leaf(token) for token in expr])
        start[k + 1] = len(rows)
    op, link, literal = zip(*rows) if rows else ((), (), ())
    op, link = np.array(op, np.int64), np.array(link, np.int64)
    n_constants = np.empty(len(exprs), np.int64)
    stack = np.empty(int(np.diff(start).max(initial=0)) + 1, np.int64)
    for k in range(len(exprs)):
        n_constants[k] = connect(op, link, start[k], start[k + 1], stack)
        if n_constants[k] < 0:
            raise ValueError(f"expression {k} is not one complete prefix expression: {' '.join(exprs[k])!r}")
    return Programs(op, link, np.array(literal, np.float64), start, n_constants)


def compile_program(expr: Sequence[str] | Program) -> Program:
    """Program of one prefix expression; a Program is returned as it is."""
    return expr if isinstance(expr, Program) else compile_many([expr])[0]


# ---- what the rest of the package calls -------------------------------------------------------


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
    op, link, literal = program[:3]
    M = columns.shape[1]
    y = np.empty(M)
    V = np.empty((len(op), min(M, BLOCK)))
    everything = np.ones(len(op), np.int64)
    for offset in range(0, M, BLOCK):
        n = min(BLOCK, M - offset)
        forward(op, link, literal, 0, len(op), everything, 1, columns, offset, consts, V, n)
        y[offset : offset + n] = V[0, :n]
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

    Derivatives are those of tokens.OPERATORS, infinite or NaN where the formula is (sqrt at 0, say).
    """
    program = compile_program(expr)
    columns, consts = _arguments(program, X, consts)
    op, link, literal = program[:3]
    L, M = len(op), columns.shape[1]
    y, J = np.empty(M), np.empty((program.n_constants, M))
    V, A = np.empty((L, min(M, BLOCK))), np.empty((L, min(M, BLOCK)))
    everything = np.ones(L, np.int64)
    free = np.flatnonzero(op == FREE)  # pre-order, so free[j] is constant j
    for offset in range(0, M, BLOCK):
        n = min(BLOCK, M - offset)
        forward(op, link, literal, 0, L, everything, 1, columns, offset, consts, V, n)
        A[0, :n] = 1.0
        backward(op, link, 0, L, everything, 1, V, A, n)
        y[offset : offset + n] = V[0, :n]
        J[:, offset : offset + n] = A[free, :n]
    return y, J
