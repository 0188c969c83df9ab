"""Many skeletons at once: draw their constants and points, and evaluate them, in one compiled loop.

Rows of vocabulary ids (tokens.py) go in, numbers come out; programs.py's kernel does the arithmetic, so
an operator means the same here as in every fit.  Importing this module loads numba.

Random numbers are splitmix64 sequences (Steele, Lea and Flood 2014), each begun at a hash of what it is for: one per
(key, record id, attempt) for the constants and, after the last attempt, the noise; one more per column.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np
from numba import njit, void
from numba.types import Array, Tuple, float64, int64, uint8, uint64

from fansr.corpus.prior import COLUMN_KINDS, CONSTANT_KINDS, Draw, Prior
from fansr.expressions import (
    CONSTANT_ID,
    CONSTANT_OPCODE,
    F1,
    F2,
    FIRST_OPERATOR_ID,
    FIRST_VARIABLE_ID,
    I1,
    JIT,
    OPERATOR,
    OPERATORS,
    TOKEN_ID,
    VARIABLE_OPCODE,
    forward,
)
from fansr.streams import key_for

LAST_BINARY = OPERATOR["pow"].opcode  # the table puts the binary operators first
FREE, COLUMN = CONSTANT_OPCODE, VARIABLE_OPCODE
NORMAL, LOG, INTEGER, FRACTION, EDGES, POSITIVE, SCALED, UNIFORM = range(8)
_CODE = {
    "normal": NORMAL,
    "log": LOG,
    "integer": INTEGER,
    "fraction": FRACTION,
    "edges": EDGES,
    "positive": POSITIVE,
    "scaled": SCALED,
    "uniform": UNIFORM,
}
assert set(_CODE) == {*CONSTANT_KINDS, *COLUMN_KINDS}

BLOCK = 256  # points evaluated at once, so that all intermediate values stay in the second-level cache
PROBE = 8  # points tried first
NOT_FINITE, TOO_LARGE = -1, -2  # what draw_rows says of a rejected record

W1, U1, U2 = Array(uint64, 1, "C"), Array(uint8, 1, "C"), Array(uint8, 2, "C")
F3, I2 = Array(float64, 3, "C"), Array(int64, 2, "C")
DRAW = Tuple((F1, I1, F2))
_GOLDEN, _MIX1, _MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


# ---- random numbers ---------------------------------------------------------------------------


@njit(uint64(uint64), **JIT)
def mix(z):
    """The output function of splitmix64: a bijection of 64-bit words."""
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@njit(float64(W1), **JIT)
def uniform(state):
    """The next number in [0, 1) with 53 bits."""
    state[0] += _GOLDEN
    return float64(mix(state[0]) >> _S11) * 2.0**-53


@njit(float64(W1), **JIT)
def normal(state):
    """The next N(0, 1) number: Box and Muller's cosine half, two uniforms each."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(state)))
    return radius * math.cos(2.0 * math.pi * uniform(state))


@njit(int64(W1, float64, float64), **JIT)
def whole(state, low, high):
    """The next whole number from low to high, ends included."""
    return int64(math.floor(low + uniform(state) * (math.floor(high) - math.ceil(low) + 1.0)))


@njit(int64(W1, F1), **JIT)
def kind_of(state, cumulative):
    """Index drawn with these cumulative shares; takes no random number when there is one kind."""
    if len(cumulative) == 1:
        return 0
    u = uniform(state)
    k = 0
    while k < len(cumulative) - 1 and u >= cumulative[k]:
        k += 1
    return k


# ---- constants and columns --------------------------------------------------------------------


@njit(float64(W1, DRAW), **JIT)
def draw_constant(state, draw):
    """One constant; the kinds are those of prior.Draw."""
    cumulative, kinds, numbers = draw
    k = kind_of(state, cumulative)
    low, high, spread, negative = numbers[k, 0], numbers[k, 1], numbers[k, 2], numbers[k, 3]
    kind = kinds[k]
    if kind == NORMAL:
        return low + spread * normal(state)
    if kind == LOG:
        value = 10.0 ** (low + (high - low) * uniform(state))
    elif kind == UNIFORM:
        value = low + (high - low) * uniform(state)
    elif kind == INTEGER:
        value = float64(whole(state, low, high))
    else:
        value = float64(whole(state, 1.0, high))
        value /= float64(whole(state, 1.0, high))
    return -value if negative > 0.0 and uniform(state) < negative else value


@njit(void(W1, DRAW, F1), **JIT)
def begin_column(state, draw, column):
    """column = (kind, first number, second number, sign) of one column, drawn from its kinds."""
    cumulative, kinds, numbers = draw
    k = kind_of(state, cumulative)
    low, high, spread, negative = numbers[k, 0], numbers[k, 1], numbers[k, 2], numbers[k, 3]
    kind = kinds[k]
    column[0], column[1], column[2], column[3] = kind, low, high, 1.0
    if kind == EDGES or kind == POSITIVE:
        a, b = spread * normal(state), spread * normal(state)
        if kind == POSITIVE:
            a, b = abs(a), abs(b)
        column[1], column[2] = a, b - a
    elif kind == LOG:
        column[1] = low + (high - low) * uniform(state)
        column[2] = spread * uniform(state)
    elif kind == SCALED:
        column[1] = 10.0 ** (low + (high - low) * uniform(state))
        column[2] = spread * normal(state)
    if negative > 0.0 and uniform(state) < negative:
        column[3] = -1.0


@njit(void(W1, F1, F1, int64, int64), **JIT)
def go_on_column(state, column, x, start, stop):
    """x[start:stop] = the next values of a column."""
    kind, p, q, sign = int64(column[0]), column[1], column[2], column[3]
    if kind == EDGES or kind == POSITIVE:
        for i in range(start, stop):
            x[i] = sign * (p + q * uniform(state))
    elif kind == LOG:
        for i in range(start, stop):
            x[i] = sign * 10.0 ** (p + q * (uniform(state) - 0.5))
    elif kind == SCALED:
        for i in range(start, stop):
            x[i] = sign * p * (q + normal(state))
    else:
        for i in range(start, stop):
            x[i] = sign * float64(whole(state, p, q))


@functools.cache
def draw_table(draws: tuple[Draw, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The draws of a prior as the kernels take them: cumulative shares, kind codes, (K, 4) numbers."""
    shares = np.cumsum([draw.share for draw in draws], dtype=np.float64)
    return (
        shares / shares[-1],
        np.array([_CODE[draw.kind] for draw in draws], dtype=np.int64),
        np.array([[draw.low, draw.high, draw.spread, draw.negative] for draw in draws], dtype=np.float64),
    )


# ---- whole rows -------------------------------------------------------------------------------


@njit(int64(U1, I1, I1, I1), **JIT)
def program(row, op, link, size):
    """op and link (programs.py) of one row of vocabulary ids; returns its length.

    The row must be one complete prefix expression padded with 0.
    """
    length = 0
    while length < len(row) and row[length] != 0:
        length += 1
    n_constants = 0
    for k in range(length):
        if row[k] == CONSTANT_ID:
            link[k] = n_constants
            n_constants += 1
    for k in range(length - 1, -1, -1):
        token = int64(row[k])
        size[k] = 1
        if token >= FIRST_OPERATOR_ID:
            op[k] = token - FIRST_OPERATOR_ID
            size[k] += size[k + 1]
            if op[k] <= LAST_BINARY:
                link[k] = k + 1 + size[k + 1]
                size[k] += size[link[k]]
        elif token >= FIRST_VARIABLE_ID:
            op[k] = COLUMN
            link[k] = token - FIRST_VARIABLE_ID
        else:
            op[k] = FREE
    return length


@njit(void(U2, F2, F2), **JIT)
def value_rows(rows, X, out):
    """out (K, M) = values of K rows without constants at the points X (D, M)."""
    length, n = rows.shape[1], X.shape[1]
    op, link, size = np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64)
    literal, state = np.zeros(length + 1), np.ones(length + 1, np.int64)
    V, none = np.empty((length, BLOCK)), np.zeros(1)
    for k in range(len(rows)):
        used = program(rows[k], op, link, size)
        for first in range(0, n, BLOCK):
            width = min(BLOCK, n - first)
            forward(op, link, literal, 0, used, state, 1, X, first, none, V, width)
            out[k, first : first + width] = V[0, :width]


@njit(int64(U2, I2, I2, I2, I2, I1, I1), **JIT)
def plan_rows(rows, node, first, second, info, root, starts):
    """Lay the nodes of B rows out so that equal work lies together; returns their number N.

    Nodes are sorted by height * 64 + opcode, so that operands stand before operators.  Row i < N of
    node (N, 2) is (row, column or number of the constant) of the node at place i; first and second (N, 1) are the
    places of its operands; root (B,) the place of each row's value; starts (K + 1,) where each sort key begins.
    info is work space (K, 1).
    """
    length = rows.shape[1]
    op, link, size = np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64)
    height, place = np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64)
    starts[:] = 0
    for turn in range(2):  # count, then place
        for b in range(len(rows)):
            used = program(rows[b], op, link, size)
            for k in range(used - 1, -1, -1):
                height[k] = 0
                if op[k] < FREE - 1:
                    height[k] = height[k + 1] + 1
                    if op[k] <= LAST_BINARY:
                        height[k] = max(height[k], height[link[k]] + 1)
                key = height[k] * 64 + op[k]
                if turn == 0:
                    starts[key + 1] += 1
                    continue
                i = info[key, 0]
                info[key, 0] += 1
                place[k] = i
                node[i, 0], node[i, 1] = b, link[k] if op[k] >= FREE else 0
                if op[k] < FREE - 1:
                    first[i, 0] = place[k + 1]
                    second[i, 0] = place[link[k]] if op[k] <= LAST_BINARY else 0
            if turn == 1:
                root[b] = place[0]
        if turn == 0:
            for key in range(len(starts) - 1):
                starts[key + 1] += starts[key]
                info[key, 0] = starts[key]
    return starts[len(starts) - 1]


@njit(int64(F1, int64, float64), **JIT)
def verdict(y, n, reach):
    """0 when y[:n] can be used, else why not."""
    for i in range(n):
        if not abs(y[i]) <= reach:
            return TOO_LARGE if math.isfinite(y[i]) else NOT_FINITE
    return 0


@njit(void(W1, F1, int64, float64), **JIT)
def add_noise(state, y, n, level):
    """y[:n] += N(0, level * standard deviation of y[:n]): equation 5 of the paper."""
    mean = 0.0
    for i in range(n):
        mean += y[i] / n
    variance = 0.0
    for i in range(n):
        variance += (y[i] - mean) ** 2 / n
    sigma = level * math.sqrt(variance)
    if math.isfinite(sigma):
        for i in range(n):
            y[i] += sigma * normal(state)


@njit(void(U1, float64, int64, uint64, DRAW, W1, F2, U1), **JIT)
def begin_columns(used, irrelevant, dummies, begin, columns, states, numbers, filled):
    """Start the sequences of all columns that hold numbers, and say in `filled` which these are."""
    for j in range(len(filled)):
        states[j] = mix(begin + uint64(j + 1) * _MIX1)
        filled[j] = used[j]
        if irrelevant > 0.0 and uniform(states[j : j + 1]) < irrelevant and used[j] == 0:
            filled[j] = 2
        if dummies > 0 and used[j] == 0:
            filled[j] = 2
            dummies -= 1
        if filled[j] > 0:
            begin_column(states[j : j + 1], columns, numbers[j])


@njit(void(U2, W1, I1, I1, W1, DRAW, DRAW, F1, F3, F2, F2, F1, I1, U2), **JIT)
def draw_rows(rows, ids, points, fit, key, constants, columns, scalars, X, y, consts, noise, status, filled):
    """Draw the data of B rows: the inner loop of draw(), where the arrays are described.

    scalars = (redraws, reach, irrelevant, noisy, log noise_low, log noise_high, fixed noise or -1, dummies).
    The first PROBE points are drawn and evaluated before the others: a draw that has to be rejected
    nearly always shows it there, and costs a tenth.
    """
    length, D = rows.shape[1], X.shape[1]
    op, link, size = np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64)
    literal, everything, used = np.zeros(length + 1), np.ones(length + 1, np.int64), np.zeros(D, np.uint8)
    V, random = np.empty((length, BLOCK)), np.zeros(1, np.uint64)
    states, numbers = np.zeros(D, np.uint64), np.zeros((D, 4))
    for b in range(len(rows)):
        stop = program(rows[b], op, link, size)
        used[:] = 0
        for k in range(stop):
            if op[k] == COLUMN:
                used[link[k]] = 1
        begin = mix(key[0] ^ mix(key[1] + ids[b] * _GOLDEN))
        for attempt in range(int64(scalars[0]) + 1):
            random[0] = mix(begin + uint64(attempt))
            for k in range(stop):
                if op[k] == FREE:
                    consts[b, link[k]] = draw_constant(random, constants)
            begin_columns(used, scalars[2], int64(scalars[7]), random[0], columns, states, numbers, filled[b])
            first, fault = 0, 0
            while first < points[b] and fault == 0:
                last = min(first + (PROBE if first == 0 else BLOCK), points[b])
                for j in range(D):
                    if filled[b, j] > 0:
                        go_on_column(states[j : j + 1], numbers[j], X[b, j], first, last)
                forward(op, link, literal, 0, stop, everything, 1, X[b], first, consts[b], V, last - first)
                fault = verdict(V[0], last - first, scalars[1])
                y[b, first:last] = V[0, : last - first]
                first = last
            status[b] = attempt if fault == 0 else fault
            if fault == 0:
                break
        noise[b] = max(scalars[6], 0.0)
        if scalars[6] < 0.0 and scalars[3] > 0.0 and uniform(random) < scalars[3]:
            noise[b] = math.exp(scalars[4] + (scalars[5] - scalars[4]) * uniform(random))
        if noise[b] > 0.0 and status[b] >= 0:
            add_noise(random, y[b], fit[b], noise[b])


def draw(
    prior: Prior,
    rows: np.ndarray,
    ids: np.ndarray,
    points: int | np.ndarray,
    seed: int = 0,
    *,
    fit: int | np.ndarray | None = None,
    noise: float | None = None,
    dummies: int = 0,
    stage: str = "render",
    space: dict | None = None,
) -> dict[str, np.ndarray]:
    """Constants, points and values for B skeletons (section 3.3): redrawn where a value is no finite number.

    rows: (B, L) uint8 vocabulary ids padded with 0; ids: (B,); points: M for all, or (B,) of them.
    fit: how many of the points get noise, (B,) or one for all; all of them by default.
    noise: level for all, or None for what the prior says.  dummies: columns to fill beside those the law uses.
    space: a dict that is given again and again, for arrays that are used again: new memory costs as much as its numbers.
    Returns a dict: X (B, D, M) f8 columns first, 0 where a column holds nothing (with `space` anything); y (B, M) f8; consts (B, L) f8, as many
    of a row as it has constants; noise (B,) f8; status (B,) i8: redraws it took, or NOT_FINITE or TOO_LARGE when
    every draw was rejected; filled (B, D) u1: 1 a column the law uses, 2 an irrelevant one with numbers, 0 empty.
    Values beyond a row's own number of points, and those of rejected rows, mean nothing.
    """
    rows = np.array(rows, dtype=np.uint8, order="C")  # copies: the kernels take writable arrays only
    B, D = len(rows), prior.variables
    points = np.full(B, points, dtype=np.int64)
    fit = points if fit is None else np.full(B, fit, dtype=np.int64)
    M = int(points.max(initial=1))
    shapes = {
        "X": (B, D, M),
        "y": (B, M),
        "consts": (B, rows.shape[1]),
        "noise": (B,),
        "status": (B,),
        "filled": (B, D),
    }
    kinds = {"status": np.int64, "filled": np.uint8}
    out = {name: _array(name, shape, kinds.get(name, np.float64), space) for name, shape in shapes.items()}
    scalars = np.array(
        [
            prior.redraws,
            prior.reach,
            prior.irrelevant,
            prior.noisy,
            math.log(prior.noise_low),
            math.log(prior.noise_high),
            -1.0 if noise is None else noise,
            dummies,
        ]
    )
    key = np.array(key_for(seed, stage), dtype=np.uint64)
    draw_rows(
        rows,
        np.array(ids, dtype=np.uint64),
        points,
        fit,
        key,
        draw_table(prior.constants),
        draw_table(prior.columns),
        scalars,
        *out.values(),
    )
    return out


def _array(name: str, shape: tuple[int, ...], kind, space: dict | None) -> np.ndarray:
    """An array of zeros, or one that lies in `space` already."""
    if space is None:
        return np.zeros(shape, kind)
    size = math.prod(shape)
    if name not in space or len(space[name]) < size:
        space[name] = np.zeros(size, kind)
    return space[name][:size].reshape(shape)


def to_rows(exprs: list[list[str]], length: int | None = None) -> np.ndarray:
    """Prefix expressions over the vocabulary as (K, length) uint8 rows padded with 0.

    KeyError names a token outside it (a literal, x18).
    """
    length = max(1, max(map(len, exprs), default=1)) if length is None else length
    data = b"".join([bytes([TOKEN_ID[token] for token in expr]).ljust(length, b"\0") for expr in exprs])
    return np.frombuffer(data, dtype=np.uint8).reshape(len(exprs), length)


_STEP = np.full(
    256, 99, dtype=np.int8
)  # operands an id asks for, less the place it takes; 99: no token of an expression
_STEP[[CONSTANT_ID, *range(FIRST_VARIABLE_ID, FIRST_OPERATOR_ID)]] = -1
_STEP[[FIRST_OPERATOR_ID + row.opcode for row in OPERATORS]] = [row.arity - 1 for row in OPERATORS]
_STEP[0] = 0


def complete(rows: np.ndarray) -> np.ndarray:
    """(K,) bool: which rows are one complete prefix expression padded with 0 at the end."""
    still_to_come = 1 + np.cumsum(_STEP[rows], axis=1, dtype=np.int32)  # operands, after each place
    length = (rows != 0).sum(axis=1)
    inside = np.arange(rows.shape[1]) < length[:, None]
    ends = still_to_come[np.arange(len(rows)), np.maximum(length - 1, 0)] == 0
    early = ((still_to_come <= 0) & (np.arange(rows.shape[1]) < length[:, None] - 1)).any(axis=1)
    return (length > 0) & ends & ~early & ((rows != 0) == inside).all(axis=1)


class Plan(NamedTuple):
    """The nodes of many rows in an order in which each group is one array operation.  All arrays int64.

    row, leaf (N,): the row a node belongs to; for a variable its column, for a constant its number in the row.
    first, second (N,): places of its operands, always smaller.  root (B,): place of each row's value.
    groups: (opcode, start, stop) in the order in which to compute them.
    """

    row: np.ndarray
    leaf: np.ndarray
    first: np.ndarray
    second: np.ndarray
    root: np.ndarray
    groups: list[tuple[int, int, int]]


def plan(rows: np.ndarray) -> Plan:
    """How to evaluate B complete rows all together (render_torch.py)."""
    rows = np.array(rows, dtype=np.uint8, order="C")
    n = int((rows != 0).sum())
    keys = 64 * (rows.shape[1] + 1)
    node, first, second = (np.zeros((n, width), dtype=np.int64) for width in (2, 1, 1))
    root, starts = np.zeros(len(rows), dtype=np.int64), np.zeros(keys + 1, dtype=np.int64)
    plan_rows(rows, node, first, second, np.zeros((keys, 1), dtype=np.int64), root, starts)
    groups = [(int(key % 64), int(starts[key]), int(starts[key + 1])) for key in np.flatnonzero(np.diff(starts))]
    return Plan(node[:, 0].copy(), node[:, 1].copy(), first[:, 0], second[:, 0], root, groups)
