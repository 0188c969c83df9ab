"""Genomes to programs: the expression c0 + c1*term1 + c2*term2 + ... that a genome stands for."""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.types import int64

from fansr.expressions import ADD, COLUMN, DIV, F1, F2, FREE, I1, INV, JIT, MUL, connect
from fansr.proposers.local_search.genomes import I2, INNER, WIDTH, end


@njit(int64(I1, F1, int64, int64, I1, F1, I1), **INNER)
def _wrap(g, w, L, offset, out, out_w, home):
    """The expression c0 + c1*term1 + ... of a genome, as codes; returns its length.

    home[i] is the genome position of out[i], or -1 for the constants and operators added.  offset 0 leaves c0 out.
    """
    size = 0
    i = 0
    more = True
    while more:
        more = g[i] == ADD
        e = end(g, i + 1) if more else L
        i += more
        if more or offset:
            out[size], out_w[size], home[size] = ADD, 0.0, -1
            size += 1
        inverse = g[i] == INV
        out[size], out_w[size], home[size] = DIV if inverse else MUL, 0.0, -1
        out[size + 1], out_w[size + 1], home[size + 1] = FREE, 1.0, -1
        size += 2
        for k in range(i + inverse, e):
            out[size], out_w[size], home[size] = g[k], w[k], k
            size += 1
        i = e
    if offset:
        out[size], out_w[size], home[size] = FREE, 0.0, -1
        size += 1
    return size


@njit(int64(I2, F2, I1, int64, int64, I1, I1, I1, I1, F2, I2, I2), **JIT)
def spell(G, W, lengths, n, offset, op, link, start, n_constants, given, homes, codes):
    """Programs (see programs.py) of c0 + sum of scaled terms for genomes G[:n]; returns the positions used.

    given (n, C) gets the constants' present values, homes (n, C) the genome positions they belong to (-1: added),
    codes (n, width) the programs as genome codes.  Arrays must be long enough: 4 * WIDTH positions a genome.
    """
    stack = np.empty(4 * WIDTH, np.int64)
    values, home = np.empty(4 * WIDTH), np.empty(4 * WIDTH, np.int64)
    total = 0
    for k in range(n):
        start[k] = total
        size = _wrap(G[k], W[k], lengths[k], offset, codes[k], values, home)
        j = 0
        for i in range(size):
            q = codes[k, i]
            op[total + i] = min(q, COLUMN)
            link[total + i] = q - COLUMN if q >= COLUMN else 0
            if q == FREE and j < given.shape[1]:
                given[k, j], homes[k, j] = values[i], home[i]
                j += 1
        n_constants[k] = connect(op, link, total, total + size, stack)
        total += size
    start[n] = total
    return total
