"""The compiled evaluation of a graph of laws, over blocks of rows that stay in the cache."""

from __future__ import annotations

import numpy as np

from fansr.expressions import Tape, compilation as nb, copied, forward

BLOCK = 512


@nb.kernel(nb.void(nb.I1, nb.I1, nb.F1, nb.F2, nb.F1, nb.I1, nb.F2))
def run(codes, link, literal, X, c, roots, Y):
    """Y (U, M) = values of a program's positions `roots` at the columns X (D, M) with constants c (C,)."""
    L, M = len(codes), X.shape[1]
    width = min(M, BLOCK)
    V, state = np.empty((L, width)), np.empty(L, np.int64)
    for k in range(L):
        state[k] = 1
    tape = Tape(codes, link, literal, state, V, V)
    for offset in range(0, M, BLOCK):
        n = min(BLOCK, M - offset)
        forward(tape, 0, L, 1, X, offset, c, n)
        for u in range(len(roots)):
            copied(V[roots[u]], Y[u], offset, n)
