"""Many skeletons at once: draw their constants and points, and evaluate them, in one compiled loop.

Rows of vocabulary ids (tokens.py) go in, numbers come out; program_kernels.py does the arithmetic,
so an operator means the same here as in every fit.  Importing this module loads numba.

Sequences of random numbers (random_columns.py) are each begun at a hash of what they are for: one per
(key, record id, attempt) for the constants and, after the last attempt, the noise; one more per column.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fansr.corpus.prior import Prior
from fansr.corpus.random_columns import (
    DRAW,
    GOLDEN,
    MIX1,
    MIX2,
    DrawTable,
    begin_column,
    draw_constant,
    draw_table,
    go_on_column,
    mix,
    normal,
    uniform,
)
from fansr.expressions import (
    CONSTANT_ID,
    FIRST_OPERATOR_ID,
    FIRST_VARIABLE_ID,
    OPERATORS,
    TAPE,
    TOKEN_ID,
    Tape,
    compilation as nb,
    connect,
    copied,
    forward,
    opcodes as op,
)
from fansr.streams import key_for

BLOCK = 256  # points evaluated at once, so that all intermediate values stay in the second-level cache
PROBE = 8  # points tried first
NOT_FINITE, TOO_LARGE = -1, -2  # what draw_rows says of a rejected record


class Request(NamedTuple):
    """B records to draw."""

    rows: np.ndarray  # (B, L) uint8, vocabulary ids padded with 0
    ids: np.ndarray  # (B,) uint64
    points: np.ndarray  # (B,) int64
    fit: np.ndarray  # (B,) int64, how many of the points get noise


class Settings(NamedTuple):
    """How they are drawn: prior.Prior, with noise fixed (-1: not) and columns to fill beside those a law uses."""

    constants: DrawTable
    columns: DrawTable
    redraws: int
    dummies: int
    reach: float
    irrelevant: float
    noisy: float
    log_noise_low: float
    log_noise_high: float
    noise: float


class Drawn(NamedTuple):
    """What was drawn; draw() says more."""

    X: np.ndarray  # (B, D, M) float64
    y: np.ndarray  # (B, M) float64
    consts: np.ndarray  # (B, L) float64
    noise: np.ndarray  # (B,) float64
    status: np.ndarray  # (B,) int64
    filled: np.ndarray  # (B, D) uint8


REQUEST = nb.named(Request, nb.U2, nb.W1, nb.I1, nb.I1)
SETTINGS = nb.named(Settings, DRAW, DRAW, nb.int64, nb.int64, *[nb.float64] * 6)
DRAWN = nb.named(Drawn, nb.F3, nb.F2, nb.F2, nb.F1, nb.I1, nb.U2)


# ---- whole rows -------------------------------------------------------------------------------


@nb.inner(_nrt=True)
def new_tape(length, width):
    """Room for programs of up to `length` positions, run on `width` points at once."""
    V = np.empty((length, width))
    ones = np.ones(length, np.int64)
    return Tape(np.zeros(length, np.int64), np.zeros(length, np.int64), np.zeros(length), ones, V, V)


@nb.shared(nb.int64(nb.U1, TAPE), python=True)
def program(row, tape):
    """The tape's program becomes that of one row of vocabulary ids, all of it wanted; returns its length.

    The row must be one complete prefix expression padded with 0.
    """
    length = 0
    while length < len(row) and row[length] != 0:
        token = nb.int64(row[length])
        tape.op[length] = op.FREE
        if token >= FIRST_OPERATOR_ID:
            tape.op[length] = token - FIRST_OPERATOR_ID
        elif token >= FIRST_VARIABLE_ID:
            tape.op[length] = op.COLUMN
            tape.link[length] = token - FIRST_VARIABLE_ID
        length += 1
    connect(tape.op, tape.link, 0, length, tape.state)  # the state is its work space
    for k in range(length):
        tape.state[k] = 1
    return length


@nb.shared(nb.void(TAPE, nb.int64, nb.F2, nb.int64, nb.int64, nb.F1, nb.F1))
def values_at(tape, used, X, start, stop, c, out):
    """out[start:stop] = values of a program of `used` positions at these points of X (D, M), a block at a time."""
    width = tape.V.shape[1]
    for first in range(start, stop, width):
        n = min(width, stop - first)
        forward(tape, 0, used, 1, X, first, c, n)
        copied(tape.V[0], out, first, n)


@nb.kernel(nb.void(nb.U2, nb.F2, nb.F2))
def value_rows(rows, X, out):
    """out (K, M) = values of K rows without constants at the points X (D, M)."""
    tape = new_tape(rows.shape[1], BLOCK)
    for k in range(len(rows)):
        values_at(tape, program(rows[k], tape), X, 0, X.shape[1], tape.literal, out[k])


@nb.kernel(nb.int64(nb.U2, nb.I2, nb.I2, nb.I2, nb.I2, nb.I1, nb.I1))
def plan_rows(rows, node, first, second, info, root, starts):
    """Lay the nodes of B rows out so that equal work lies together; returns their number N.

    Nodes are sorted by height * 64 + opcode, so that operands stand before operators.  Row i < N of
    node (N, 2) is (row, column or number of the constant) of the node at place i; first and second (N, 1) are the
    places of its operands; root (B,) the place of each row's value; starts (K + 1,) where each sort key begins.
    info is work space (K, 1).
    """
    length = rows.shape[1]
    tape = new_tape(length, 1)
    codes, link = tape.op, tape.link
    height, place = np.zeros(length + 1, np.int64), np.zeros(length + 1, np.int64)
    for key in range(len(starts)):
        starts[key] = 0
    for turn in range(2):  # count, then place
        for b in range(len(rows)):
            used = program(rows[b], tape)
            for k in range(used - 1, -1, -1):
                height[k] = 0
                if codes[k] < op.FREE - 1:
                    height[k] = height[k + 1] + 1
                    if codes[k] <= op.LAST_BINARY:
                        height[k] = max(height[k], height[link[k]] + 1)
                key = height[k] * 64 + codes[k]
                if turn == 0:
                    starts[key + 1] += 1
                    continue
                i = info[key, 0]
                info[key, 0] += 1
                place[k] = i
                node[i, 0], node[i, 1] = b, link[k] if codes[k] >= op.FREE else 0
                if codes[k] < op.FREE - 1:
                    first[i, 0] = place[k + 1]
                    second[i, 0] = place[link[k]] if codes[k] <= op.LAST_BINARY else 0
            if turn == 1:
                root[b] = place[0]
        if turn == 0:
            for key in range(len(starts) - 1):
                starts[key + 1] += starts[key]
                info[key, 0] = starts[key]
    return starts[len(starts) - 1]


@nb.inner
def verdict(y, n, reach):
    """0 when y[:n] can be used, else why not."""
    for i in range(n):
        if not abs(y[i]) <= reach:
            return TOO_LARGE if math.isfinite(y[i]) else NOT_FINITE
    return 0


@nb.inner
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


@nb.shared(nb.void(nb.U1, SETTINGS, nb.uint64, nb.W1, nb.F2, nb.U1))
def begin_columns(used, settings, begin, states, numbers, filled):
    """Start the sequences of all columns that hold numbers, and say in `filled` which these are."""
    dummies = settings.dummies
    for j in range(len(filled)):
        states[j] = mix(begin + nb.uint64(j + 1) * MIX1)
        filled[j] = used[j]
        if settings.irrelevant > 0.0 and uniform(states[j : j + 1]) < settings.irrelevant and used[j] == 0:
            filled[j] = 2
        if dummies > 0 and used[j] == 0:
            filled[j] = 2
            dummies -= 1
        if filled[j] > 0:
            begin_column(states[j : j + 1], settings.columns, numbers[j])


@nb.kernel(nb.void(REQUEST, nb.W1, SETTINGS, DRAWN))
def draw_rows(request, key, settings, drawn):
    """Draw the data of B rows: the inner loop of draw().

    The first PROBE points are drawn and evaluated before the others: a draw that has to be rejected
    nearly always shows it there, and costs a tenth.
    """
    D = drawn.X.shape[1]
    tape, used = new_tape(request.rows.shape[1], BLOCK), np.zeros(D, np.uint8)
    random, states, numbers = np.zeros(1, np.uint64), np.zeros(D, np.uint64), np.zeros((D, 4))
    for b in range(len(request.rows)):
        stop, points = program(request.rows[b], tape), request.points[b]
        X, y, consts, filled = drawn.X[b], drawn.y[b], drawn.consts[b], drawn.filled[b]
        for j in range(D):
            used[j] = 0
        for k in range(stop):
            if tape.op[k] == op.COLUMN:
                used[tape.link[k]] = 1
        begin = mix(key[0] ^ mix(key[1] + request.ids[b] * GOLDEN))
        for attempt in range(settings.redraws + 1):
            random[0] = mix(begin + nb.uint64(attempt))
            for k in range(stop):
                if tape.op[k] == op.FREE:
                    consts[tape.link[k]] = draw_constant(random, settings.constants)
            table = mix(random[0] ^ MIX2)
            begin_columns(used, settings, random[0], states, numbers, filled)
            first, fault = 0, 0
            while first < points and fault == 0:
                last = min(first + (PROBE if first == 0 else BLOCK), points)
                for j in range(D):
                    if filled[j] > 0:
                        drawn_from = settings.columns.numbers
                        go_on_column(states[j : j + 1], numbers[j], drawn_from, table, X[j], first, last)
                values_at(tape, stop, X, first, last, consts, y)
                fault = verdict(tape.V[0], last - first, settings.reach)
                first = last
            drawn.status[b] = attempt if fault == 0 else fault
            if fault == 0:
                break
        noise = max(settings.noise, 0.0)
        if settings.noise < 0.0 and settings.noisy > 0.0 and uniform(random) < settings.noisy:
            low, high = settings.log_noise_low, settings.log_noise_high
            noise = math.exp(low + (high - low) * uniform(random))
        drawn.noise[b] = noise
        if noise > 0.0 and drawn.status[b] >= 0:
            add_noise(random, y, request.fit[b], noise)


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
    settings = Settings(
        draw_table(prior.constants), draw_table(prior.columns), prior.redraws, dummies, float(prior.reach),
        float(prior.irrelevant), float(prior.noisy), math.log(prior.noise_low), math.log(prior.noise_high),
        -1.0 if noise is None else float(noise),
    )  # fmt: skip
    key = np.array(key_for(seed, stage), dtype=np.uint64)
    draw_rows(Request(rows, np.array(ids, dtype=np.uint64), points, fit), key, settings, Drawn(**out))
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
