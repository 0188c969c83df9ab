"""Random numbers, constants and columns, drawn in compiled code as a prior says.

Random numbers are splitmix64 sequences (Steele, Lea and Flood 2014): a state (1,) uint64 that each draw moves on.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from fansr.corpus.prior import COLUMN_KINDS, CONSTANT_KINDS, Draw
from fansr.expressions import compilation as nb

NORMAL, LOG, INTEGER, FRACTION, EDGES, POSITIVE, SCALED, UNIFORM, MIXTURE = range(9)
_CODE = {
    "normal": NORMAL,
    "log": LOG,
    "integer": INTEGER,
    "fraction": FRACTION,
    "edges": EDGES,
    "positive": POSITIVE,
    "scaled": SCALED,
    "uniform": UNIFORM,
    "mixture": MIXTURE,
}
assert set(_CODE) == {*CONSTANT_KINDS, *COLUMN_KINDS}

PARTS = 5  # most of a mixture

GOLDEN, MIX1, MIX2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


class DrawTable(NamedTuple):
    """The draws of a prior, one a row."""

    cumulative: np.ndarray  # (K,) float64, shares added up
    kinds: np.ndarray  # (K,) int64
    numbers: np.ndarray  # (K, 4) float64: low, high, spread, negative


@functools.cache
def draw_table(draws: tuple[Draw, ...]) -> DrawTable:
    """The draws of a prior as the kernels take them."""
    shares = np.cumsum([draw.share for draw in draws], dtype=np.float64)
    return DrawTable(
        shares / shares[-1],
        np.array([_CODE[draw.kind] for draw in draws], dtype=np.int64),
        np.array([[draw.low, draw.high, draw.spread, draw.negative] for draw in draws], dtype=np.float64),
    )


DRAW = nb.named(DrawTable, nb.F1, nb.I1, nb.F2)


# ---- random numbers ---------------------------------------------------------------------------


@nb.inner
def mix(z):
    """The output function of splitmix64: a bijection of 64-bit words."""
    z = (z ^ (z >> _S30)) * MIX1
    z = (z ^ (z >> _S27)) * MIX2
    return z ^ (z >> _S31)


@nb.kernel(nb.float64(nb.W1))
def uniform(state):
    """The next number in [0, 1) with 53 bits."""
    state[0] += GOLDEN
    return nb.float64(mix(state[0]) >> _S11) * 2.0**-53


@nb.inner
def normal(state):
    """The next N(0, 1) number: Box and Muller's cosine half, two uniforms each."""
    radius = math.sqrt(-2.0 * math.log(1.0 - uniform(state)))
    return radius * math.cos(2.0 * math.pi * uniform(state))


@nb.inner
def whole(state, low, high):
    """The next whole number from low to high, ends included."""
    return nb.int64(math.floor(low + uniform(state) * (math.floor(high) - math.ceil(low) + 1.0)))


@nb.inner
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


@nb.inner
def draw_constant(state, draw):
    """One constant; the kinds are those of prior.Draw."""
    k = kind_of(state, draw.cumulative)
    low, high, spread, negative = draw.numbers[k, 0], draw.numbers[k, 1], draw.numbers[k, 2], draw.numbers[k, 3]
    kind = draw.kinds[k]
    if kind == NORMAL:
        return low + spread * normal(state)
    if kind == LOG:
        value = 10.0 ** (low + (high - low) * uniform(state))
    elif kind == UNIFORM:
        value = low + (high - low) * uniform(state)
    elif kind == INTEGER:
        value = nb.float64(whole(state, low, high))
    else:
        value = nb.float64(whole(state, 1.0, high))
        value /= nb.float64(whole(state, 1.0, high))
    return -value if negative > 0.0 and uniform(state) < negative else value


@nb.inner
def begin_column(state, draw, column):
    """column = (kind, first number, second number, sign) of one column, drawn from its kinds."""
    k = kind_of(state, draw.cumulative)
    low, high, spread, negative = draw.numbers[k, 0], draw.numbers[k, 1], draw.numbers[k, 2], draw.numbers[k, 3]
    kind = draw.kinds[k]
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
    elif kind == MIXTURE:  # its parts are drawn from these two numbers again whenever the column goes on
        column[1], column[2] = uniform(state), nb.float64(k)
    if negative > 0.0 and uniform(state) < negative:
        column[3] = -1.0


@nb.inner
def go_on_mixture(state, column, numbers, table, x, start, stop):
    """x[start:stop] = the next values of a column of a mixture.

    table: the word from which all columns of a table draw how many parts there are, their weights and each row's part;
    the centres and deviations are drawn from the column's own number.
    """
    work, own, weights = np.zeros(1, np.uint64), np.zeros(1, np.uint64), np.zeros(PARTS)
    work[0], own[0] = table, nb.uint64(column[1] * 2.0**53)
    parts = whole(work, 1.0, nb.float64(PARTS))
    total = 0.0
    for k in range(parts):  # exponential variables over their sum: Dirichlet(1)
        total += -math.log(1.0 - uniform(work))
        weights[k] = total
    low, high, spread = numbers[0], numbers[1], numbers[2]
    centres, deviations = np.zeros(PARTS), np.zeros(PARTS)
    for k in range(parts):
        centres[k] = spread * normal(own)
        deviations[k] = 10.0 ** (low + (high - low) * uniform(own))
    begin = mix(work[0])
    for i in range(start, stop):
        work[0] = mix(begin + nb.uint64(i) * GOLDEN)
        u, k = uniform(work) * total, 0
        while k < parts - 1 and u >= weights[k]:
            k += 1
        x[i] = column[3] * (centres[k] + deviations[k] * normal(state))


@nb.shared(nb.void(nb.W1, nb.F1, nb.F2, nb.uint64, nb.F1, nb.int64, nb.int64), allocates=True)
def go_on_column(state, column, numbers, table, x, start, stop):
    """x[start:stop] = the next values of a column; numbers: those of the prior's draws; table: a word all columns of a table share."""
    kind, p, q, sign = nb.int64(column[0]), column[1], column[2], column[3]
    if kind == MIXTURE:
        go_on_mixture(state, column, numbers[nb.int64(q)], table, x, start, stop)
        return
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
            x[i] = sign * nb.float64(whole(state, p, q))
