"""Genomes to programs: the expression c0 + c1*term1 + c2*term2 + ... that a genome stands for."""

from __future__ import annotations

import numpy as np

from fansr.expressions import compilation as nb, connect, opcodes as op
from fansr.proposers.local_search.genomes import GENOMES, WIDTH, Genome, end, row


@nb.inner
def _wrap(g, L, offset, out, home):
    """The expression c0 + c1*term1 + ... of a genome, as codes; returns its length.

    home[i] is the genome position of out[i], or -1 for the constants and operators added.  offset 0 leaves c0 out.
    """
    size = 0
    i = 0
    more = True
    while more:
        more = g.codes[i] == op.ADD
        e = end(g.codes, i + 1) if more else L
        i += more
        if more or offset:
            out.codes[size], out.values[size], home[size] = op.ADD, 0.0, -1
            size += 1
        inverse = g.codes[i] == op.INV
        out.codes[size], out.values[size], home[size] = op.DIV if inverse else op.MUL, 0.0, -1
        out.codes[size + 1], out.values[size + 1], home[size + 1] = op.FREE, 1.0, -1
        size += 2
        for k in range(i + inverse, e):
            out.codes[size], out.values[size], home[size] = g.codes[k], g.values[k], k
            size += 1
        i = e
    if offset:
        out.codes[size], out.values[size], home[size] = op.FREE, 0.0, -1
        size += 1
    return size


@nb.kernel(nb.int64(GENOMES, nb.int64, nb.I1, nb.I1, nb.I1, nb.I1, nb.F2, nb.I2, nb.I2))
def spell(genomes, offset, codes_of, link, start, n_constants, given, homes, codes):
    """Programs (see programs.py) of c0 + sum of scaled terms for many genomes; returns the positions used.

    given (n, C) gets the constants' present values, homes (n, C) the genome positions they belong to (-1: added),
    codes (n, width) the programs as genome codes.  Arrays must be long enough: 4 * WIDTH positions a genome.
    """
    stack = np.empty(4 * WIDTH, np.int64)
    values, home = np.empty(4 * WIDTH), np.empty(4 * WIDTH, np.int64)
    total = 0
    for k in range(len(genomes.lengths)):
        start[k] = total
        size = _wrap(row(genomes, k), genomes.lengths[k], offset, Genome(codes[k], values), home)
        j = 0
        for i in range(size):
            q = codes[k, i]
            codes_of[total + i] = min(q, op.COLUMN)
            link[total + i] = q - op.COLUMN if q >= op.COLUMN else 0
            if q == op.FREE and j < given.shape[1]:
                given[k, j], homes[k, j] = values[i], home[i]
                j += 1
        n_constants[k] = connect(codes_of, link, total, total + size, stack)
        total += size
    start[len(genomes.lengths)] = total
    return total
