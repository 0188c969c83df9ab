"""Genomes as flat integer arrays: chance, subtrees, copying, and which were met before.

A *genome* is a prefix expression as codes (an operator's opcode, 39 a free constant, 40 + j column j) with the
constants' present values beside them.  It stands for its top-level terms only: the local search fits
c0 + c1*term1 + c2*term2 + ..., so terms carry no factor and no sign, and the order of terms means nothing.

Kernels only; those called from outside are in canonical_form.py, genome_programs.py, random_changes.py and aimed_changes.py.  They know nothing of fitting.
"""

from __future__ import annotations

from numba import njit
from numba.types import Array, UniTuple, float64, int64, uint64

from fansr.expressions import COLUMN, F1, FREE, I1, JIT, LAST_BINARY, LITERAL

WIDTH = 64  # longest genome any kernel handles
ARENA = 4096  # scratch positions of one canonical form
MAX_TERMS = 6
HUGE = 1.7e308

I2 = Array(int64, 2, "C")
K1 = Array(uint64, 1, "C")
INNER = {**JIT, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
SEGMENT = UniTuple(int64, 2)  # (start, length) in the arena


@njit(float64(K1), **INNER)
def uniform(state):
    """Next number in [0, 1) of a splitmix64 stream kept in state[0]."""
    state[0] += uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
    z = z ^ (z >> uint64(31))
    return (z >> uint64(11)) * (1.0 / 9007199254740992.0)


@njit(int64(K1, int64), **INNER)
def below(state, n):
    """Next integer in 0..n-1."""
    return min(n - 1, int(uniform(state) * n))


@njit(int64(K1, F1), **INNER)
def pick(state, cumulative):
    """Index drawn by cumulative weights ending in 1."""
    u, i = uniform(state), 0
    while i < len(cumulative) - 1 and cumulative[i] <= u:
        i += 1
    return i


@njit(int64(I1, int64), **INNER)
def end(g, i):
    """Index just after the subtree at i."""
    open_slots = 1
    while open_slots > 0:
        q = g[i]
        open_slots += -1 if q >= LITERAL else (1 if q <= LAST_BINARY else 0)
        i += 1
    return i


@njit(uint64(I1, int64, int64), **INNER)
def hashed(g, first, stop):
    """64-bit hash of codes first..stop-1."""
    h = uint64(0xCBF29CE484222325)
    for i in range(first, stop):
        h = (h ^ uint64(g[i] + 1)) * uint64(0x100000001B3)
        h ^= h >> uint64(29)
    return h if h != uint64(0) else uint64(1)


@njit(int64(uint64, K1), **INNER)
def met_before(h, table):
    """1 when h is in the open-addressing table (its length a power of 2), else 0 after putting it in."""
    mask = uint64(len(table) - 1)
    i = h & mask
    while table[i] != uint64(0):
        if table[i] == h:
            return 1
        i = (i + uint64(1)) & mask
    table[i] = h
    return 0


@njit(int64(I1, F1, int64, int64, I1, F1, int64), **INNER)
def append(g, w, first, stop, out, out_w, size):
    """Append g[first:stop] to out at `size`; returns the new size (beyond WIDTH: nothing was written)."""
    if size + stop - first > WIDTH:
        return 2 * WIDTH
    for i in range(first, stop):
        out[size], out_w[size] = g[i], w[i]
        size += 1
    return size


@njit(int64(int64, float64, I1, F1, int64), **INNER)
def put(code, value, out, out_w, size):
    """Append one code; returns the new size."""
    if size >= WIDTH:
        return 2 * WIDTH
    out[size], out_w[size] = code, value
    return size + 1


@njit(int64(I1, int64, int64, int64, K1), **INNER)
def acceptable(g, L, longest, most_constants, table):
    """1 for a genome of fair size with a variable that was not met before."""
    if L == 0 or L > longest:
        return 0
    constants, columns = 0, 0
    for i in range(L):
        constants += g[i] == FREE
        columns += g[i] >= COLUMN
    if columns == 0 or constants > most_constants:
        return 0
    return 1 - met_before(hashed(g, 0, L), table)
