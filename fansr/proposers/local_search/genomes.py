"""Genomes as flat integer arrays: chance, subtrees, copying, and which were met before.

A *genome* is a prefix expression as codes (an operator's opcode, 39 a free constant, 40 + j column j) with the
constants' present values beside them.  It stands for its top-level terms only: the local search fits
c0 + c1*term1 + c2*term2 + ..., so terms carry no factor and no sign, and the order of terms means nothing.

Kernels only; those called from outside are in genome_canonical_form.py, genome_compiler.py, quotient_spelling.py, random_mutations.py and aimed_mutations.py.  They know nothing of fitting.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fansr.expressions import compilation as nb, opcodes as op

WIDTH = 64  # longest genome any kernel handles
ARENA = 4096  # scratch positions of one canonical form
MAX_TERMS = 6
HUGE = 1.7e308


class Genome(NamedTuple):
    """One genome, or room for one."""

    codes: np.ndarray  # (>= L,) int64
    values: np.ndarray  # (>= L,) float64


class Genomes(NamedTuple):
    """Many genomes, one a row."""

    G: np.ndarray  # (N, WIDTH) int64, codes
    W: np.ndarray  # (N, WIDTH) float64, values
    lengths: np.ndarray  # (N,) int64


class Limits(NamedTuple):
    """Which genomes are taken: by size, and only those not met before."""

    longest: int
    most_constants: int
    table: np.ndarray  # (a power of 2,) uint64, hashes of those met


class Arena(NamedTuple):
    """Where new nodes are built, and the work space of canonical()."""

    codes: np.ndarray  # (ARENA,) int64
    values: np.ndarray  # (ARENA,) float64
    top: np.ndarray  # (1,) int64, the first free position
    stack: np.ndarray  # (2 * WIDTH,) int64


GENOME, GENOMES, LIMITS = (
    nb.named(Genome, nb.I1, nb.F1),
    nb.named(Genomes, nb.I2, nb.F2, nb.I1),
    nb.named(Limits, nb.int64, nb.int64, nb.W1),
)
ARENA_TYPE = nb.named(Arena, nb.I1, nb.F1, nb.I1, nb.I1)
SEGMENT = nb.UniTuple(nb.int64, 2)  # (start, length) in the arena


@nb.inner
def uniform(state):
    """Next number in [0, 1) of a splitmix64 stream kept in state[0]."""
    state[0] += nb.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> nb.uint64(30))) * nb.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> nb.uint64(27))) * nb.uint64(0x94D049BB133111EB)
    z = z ^ (z >> nb.uint64(31))
    return (z >> nb.uint64(11)) * (1.0 / 9007199254740992.0)


@nb.inner
def below(state, n):
    """Next integer in 0..n-1."""
    return min(n - 1, int(uniform(state) * n))


@nb.inner
def pick(state, cumulative):
    """Index drawn by cumulative weights ending in 1."""
    u, i = uniform(state), 0
    while i < len(cumulative) - 1 and cumulative[i] <= u:
        i += 1
    return i


@nb.inner
def end(g, i):
    """Index just after the subtree at i."""
    open_slots = 1
    while open_slots > 0:
        q = g[i]
        open_slots += -1 if q >= op.LITERAL else (1 if q <= op.LAST_BINARY else 0)
        i += 1
    return i


@nb.inner
def mixed(h, bits):
    """The hash h with further 64 bits worked in."""
    h = (h ^ bits) * nb.uint64(0x100000001B3)
    return h ^ (h >> nb.uint64(29))


@nb.inner
def hashed(g, first, stop):
    """64-bit hash of codes first..stop-1."""
    h = nb.uint64(0xCBF29CE484222325)
    for i in range(first, stop):
        h = mixed(h, nb.uint64(g[i] + 1))
    return h if h != nb.uint64(0) else nb.uint64(1)


@nb.inner
def hashed_with_values(g, L):
    """64-bit hash of a genome's first L codes and the values of its constants."""
    h = hashed(g.codes, 0, L)
    for i in range(L):
        if g.codes[i] == op.FREE:
            h = mixed(h, np.float64(g.values[i]).view(np.uint64))
    return h


@nb.inner
def met_before(h, table):
    """1 when h is in the open-addressing table (its length a power of 2), else 0 after putting it in."""
    mask = nb.uint64(len(table) - 1)
    i = h & mask
    while table[i] != nb.uint64(0):
        if table[i] == h:
            return 1
        i = (i + nb.uint64(1)) & mask
    table[i] = h
    return 0


@nb.inner
def append(g, first, stop, out, size):
    """Append the part first..stop-1 of a genome to out at `size`; returns the new size (beyond WIDTH: nothing was written)."""
    if size + stop - first > WIDTH:
        return 2 * WIDTH
    for i in range(first, stop):
        out.codes[size], out.values[size] = g.codes[i], g.values[i]
        size += 1
    return size


@nb.inner
def put(code, value, out, size):
    """Append one code; returns the new size."""
    if size >= WIDTH:
        return 2 * WIDTH
    out.codes[size], out.values[size] = code, value
    return size + 1


@nb.inner(_nrt=True)
def blank(n):
    """A genome with room for n positions."""
    return Genome(np.empty(n, np.int64), np.empty(n))


@nb.inner(_nrt=True)
def row(genomes, k):
    """Genome k of many: its whole row, of which lengths[k] positions count.  Not for shared kernels, which count no references."""
    return Genome(genomes.G[k], genomes.W[k])


@nb.inner(_nrt=True)
def new_arena():
    """Work space for canonical()."""
    return Arena(np.empty(ARENA, np.int64), np.empty(ARENA), np.zeros(1, np.int64), np.empty(2 * WIDTH, np.int64))


@nb.shared(nb.int64(nb.I1, nb.int64, LIMITS))
def acceptable(codes, L, limits):
    """1 for a genome of fair size with a variable that was not met before."""
    if L == 0 or L > limits.longest:
        return 0
    constants, columns = 0, 0
    for i in range(L):
        constants += codes[i] == op.FREE
        columns += codes[i] >= op.COLUMN
    if columns == 0 or constants > limits.most_constants:
        return 0
    return 1 - met_before(hashed(codes, 0, L), limits.table)
