"""Programs of prefix expressions, and their values and derivatives.

A *program* is the prefix expression itself in three flat arrays over its L positions:

    op      int64   an operator's opcode or a leaf's (opcodes.py)
    link    int64   binary operator: where its second operand begins (the first begins at the next
                    position); constant: its number in pre-order; variable: its column; copy: the
                    position of the JOIN, further on, whose value it has
    literal float64 value of a literal, 0 elsewhere

so the subtree at position k is the slice k..end and is a program too.  program_kernels.py runs them.
This file knows nothing of fitting.

    y = evaluate(["*", "<constant>", "sin", "x1"], X, [2.0])
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fansr.expressions import opcodes as op
from fansr.expressions.prefix import arity, problems
from fansr.expressions.program_kernels import connect, run
from fansr.expressions.tokens import CONSTANT, MORE_OPERATORS, OPERATORS, VARIABLES, literal_value, variable_index


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
    run(*program[:3], columns, consts, y, _NO_JACOBIAN)
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
    run(*program[:3], columns, consts, y, J)
    return y, J
