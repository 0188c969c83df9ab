"""Sums in which the target is a column, as the quotients they stand for: y = c0 + c*t + b*(y*u) becomes (c0 + c*t)/(1 - b*u)."""

from __future__ import annotations

import numpy as np

from fansr.expressions import Programs, compilation as nb, connect, opcodes as op
from fansr.proposers.local_search.genomes import GENOMES, WIDTH, Genomes, end


@nb.inner
def _hole(g, first, stop, y_code):
    """Where the target stands in a term: (its position, that of the operator above), position -1 for nowhere, -2 where it is no factor.

    A term that is the target alone says nothing (y = y); it counts as one where the target is no factor.
    """
    hole, above = -1, -1
    for i in range(first, stop):
        if g[i] == y_code:
            if hole >= 0:
                return -2, -1
            hole = i
    if hole < 0:
        return -1, -1
    i = first
    while i != hole:
        if g[i] != op.MUL and g[i] != op.DIV:
            return -2, -1
        above = i
        right = end(g, i + 1)
        if hole >= right:
            if g[i] == op.DIV:
                return -2, -1
            i = right
        else:
            i += 1
    return hole if above >= 0 else -2, above


@nb.kernel(nb.void(GENOMES, nb.int64, nb.I1))
def are_quotients(genomes, y_code, good):
    """good[k] = 1 for sums that stand for a quotient: the target stands in a term, and nowhere but once in a term as a factor."""
    for k in range(len(genomes.lengths)):
        g, L = genomes.G[k], genomes.lengths[k]
        lower, i, more = 0, 0, True
        good[k] = 1
        while more:
            more = g[i] == op.ADD
            i += more
            stop = end(g, i) if more else L
            hole, _ = _hole(g, i, stop, y_code)
            if hole == -2:
                good[k] = 0
            lower += hole >= 0
            i = stop
        if lower == 0:
            good[k] = 0


@nb.kernel(nb.int64(GENOMES, nb.F2, nb.int64, nb.I1, nb.I1, nb.F1, nb.I1, nb.I1, nb.F2))
def _spell(genomes, consts, y_code, codes, link, literal, start, n_constants, given):
    """Programs of the quotients; returns the positions used.  consts (n, C) as fitted to the sums, given likewise for the quotients."""
    stack = np.empty(4 * WIDTH, np.int64)
    total = 0
    for k in range(len(genomes.lengths)):
        g, L = genomes.G[k], genomes.lengths[k]
        start[k] = total
        codes[total], size, n = op.DIV, total + 1, 0
        for below in range(2):  # what stands above the line, then below
            if below:
                codes[size], codes[size + 1] = op.ADD, op.LITERAL
                literal[size + 1] = 1.0
                size += 2
            last, i, c, more = -1, 0, 0, True
            while more:
                more = g[i] == op.ADD
                i += more
                stop = end(g, i) if more else L
                hole, above = _hole(g, i, stop, y_code)
                factor = consts[k, c]
                c += 1
                mine = (hole >= 0) == (below == 1)
                if mine:
                    last = size
                    codes[size], codes[size + 1], codes[size + 2] = op.ADD, op.MUL, op.FREE
                    size += 3
                    given[k, n] = -factor if below else factor
                    n += 1
                for p in range(i, stop):
                    q = g[p]
                    if q == op.FREE:
                        if mine:
                            given[k, n] = consts[k, c]
                            n += 1
                        c += 1
                    if mine and p != hole and not (p == above and q == op.MUL):
                        codes[size] = op.INV if p == above else min(q, op.COLUMN)
                        link[size] = q - op.COLUMN if q >= op.COLUMN else 0
                        size += 1
                i = stop
            if below:  # the last term has no sum above it
                for p in range(last, size - 1):
                    codes[p], link[p] = codes[p + 1], link[p + 1]
                size -= 1
            else:
                codes[size] = op.FREE
                given[k, n] = consts[k, c]
                n += 1
                size += 1
        n_constants[k] = connect(codes, link, total, size, stack)
        total = size
    start[len(genomes.lengths)] = total
    return total


def quotients(genomes: Genomes, consts: np.ndarray, y_code: int) -> tuple[Programs, np.ndarray]:
    """(Programs, constants to start from (n, C)) of the quotients that fitted sums stand for; consts (n, C) are the sums'."""
    n = len(genomes.lengths)
    room = int(genomes.lengths.sum()) + 32 * n + 1
    codes, link, literal = np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room)
    start, n_constants, given = np.zeros(n + 1, np.int64), np.zeros(n, np.int64), np.zeros(consts.shape)
    used = _spell(genomes, np.ascontiguousarray(consts), y_code, codes, link, literal, start, n_constants, given)
    return Programs(codes[:used], link[:used], literal[:used], start, n_constants), given
