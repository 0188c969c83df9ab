"""Random changes of ranked parents, and random trees grown from nothing."""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.types import float64, int64

from fansr.expressions import ADD, F1, F2, FREE, I1, JIT, LAST_BINARY, LITERAL, MUL
from fansr.proposers.local_search.canonical_form import canonical
from fansr.proposers.local_search.genomes import (
    ARENA,
    I2,
    INNER,
    K1,
    MAX_TERMS,
    WIDTH,
    acceptable,
    append,
    below,
    end,
    pick,
    put,
    uniform,
)


@njit(int64(K1, int64, float64, F1, F1, I1, I1, F1, int64, I1), **INNER)
def _grow(state, depth, p_constant, unary, binary, columns, g, w, size, stack):
    """Append a random tree of at most `depth` levels to g at `size`; returns the new size."""
    pending = 1
    stack[0] = depth
    while pending > 0 and size + pending < WIDTH:
        pending -= 1
        d = stack[pending]
        w[size] = 0.0
        if d <= 0 or uniform(state) < 0.2:
            if uniform(state) < p_constant:
                g[size], w[size] = FREE, 1.0 + 2.0 * (uniform(state) - 0.5)
            else:
                g[size] = columns[below(state, len(columns))]
        elif uniform(state) < 0.35:
            g[size] = pick(state, unary)
            stack[pending] = d - 1
            pending += 1
        else:
            g[size] = pick(state, binary)
            stack[pending], stack[pending + 1] = d - 1, d - 1
            pending += 2
        size += 1
    return size if pending == 0 else 2 * WIDTH


@njit(int64(K1, I1, F1, int64, I1, F1, int64, F1, F1, F1, I1, I1, F1, I1), **INNER)
def _change(state, g, w, L, donor, donor_w, donor_L, kinds, unary, binary, columns, out, out_w, stack):
    """One random change of g[:L] into out; returns the new length, 0 when the change does not apply."""
    kind = pick(state, kinds)
    p = below(state, L)
    e = end(g, p)
    if kind == 0:  # another leaf
        for _ in range(6):
            if g[p] >= LITERAL:
                break
            p = below(state, L)
        e = end(g, p)
        if e != p + 1:
            return 0
    elif kind == 4 or kind == 5:  # an operator goes, or becomes another
        for _ in range(6):
            if g[p] < LITERAL:
                break
            p = below(state, L)
        if g[p] >= LITERAL:
            return 0
        e = end(g, p)
    size = append(g, w, 0, p, out, out_w, 0)
    if kind == 0:
        size = _grow(state, 0, 0.15, unary, binary, columns, out, out_w, size, stack)
    elif kind == 1:  # a binary operator above
        q = pick(state, binary)
        first = uniform(state) < 0.65
        depth = 0 if uniform(state) < 0.6 else 2
        size = put(q, 0.0, out, out_w, size)
        if first:
            size = append(g, w, p, e, out, out_w, size)
        if uniform(state) < 0.25:
            m = below(state, donor_L)
            size = append(donor, donor_w, m, end(donor, m), out, out_w, size)
        elif size <= WIDTH:
            size = _grow(state, depth, 0.2, unary, binary, columns, out, out_w, size, stack)
        if not first:
            size = append(g, w, p, e, out, out_w, size)
    elif kind == 2:  # a unary operator above
        size = put(pick(state, unary), 0.0, out, out_w, size)
        size = append(g, w, p, e, out, out_w, size)
    elif kind == 3:  # a free factor or summand, neutral at first
        product = uniform(state) < 0.6
        size = put(MUL if product else ADD, 0.0, out, out_w, size)
        size = put(FREE, 1.0 if product else 0.01, out, out_w, size)
        size = append(g, w, p, e, out, out_w, size)
    elif kind == 4:
        a = p + 1
        if g[p] <= LAST_BINARY and uniform(state) < 0.5:
            a = end(g, p + 1)
        size = append(g, w, a, end(g, a), out, out_w, size)
    elif kind == 5:
        size = put(pick(state, binary) if g[p] <= LAST_BINARY else pick(state, unary), 0.0, out, out_w, size)
        size = append(g, w, p + 1, e, out, out_w, size)
    elif kind == 6:  # another subtree
        size = _grow(state, 2, 0.2, unary, binary, columns, out, out_w, size, stack)
    elif kind == 7:  # a subtree of another genome
        m = below(state, donor_L)
        size = append(donor, donor_w, m, end(donor, m), out, out_w, size)
    elif kind == 8:  # operands change places
        if g[p] > LAST_BINARY:
            return 0
        m = end(g, p + 1)
        size = put(g[p], 0.0, out, out_w, size)
        size = append(g, w, m, e, out, out_w, size)
        size = append(g, w, p + 1, m, out, out_w, size)
    else:  # one column becomes another throughout the subtree
        old, new = columns[below(state, len(columns))], columns[below(state, len(columns))]
        start = size
        size = append(g, w, p, e, out, out_w, size)
        if size <= WIDTH:
            for i in range(start, size):
                out[i] = new if out[i] == old else out[i]
    size = append(g, w, e, L, out, out_w, size)
    return size if size <= WIDTH else 0


@njit(int64(K1, I2, F2, I1, int64, F1, F1, F1, I1, int64, int64, K1, I2, F2, I1), **JIT)
def breed(
    state, G, W, lengths, n, kinds, unary, binary, columns, longest, most_constants, table, out, out_w, out_lengths
):
    """Fill `out` with new genomes from the n ranked parents G[:n] (best first), or grown from nothing for n = 0.

    Parents are the best of three drawn; a third of the children get two changes.  Genomes met before (in `table`)
    are not given again.  Returns how many were made.
    """
    codes, values, top = np.empty(ARENA, np.int64), np.empty(ARENA), np.zeros(1, np.int64)
    stack = np.empty(2 * WIDTH, np.int64)
    a, aw = np.empty(WIDTH, np.int64), np.empty(WIDTH)
    b, bw = np.empty(WIDTH, np.int64), np.empty(WIDTH)
    made = 0
    for _attempt in range(8 * len(out)):
        if made >= len(out):
            break
        if n == 0:
            size = _grow(state, 2 + below(state, 3), 0.15, unary, binary, columns, a, aw, 0, stack)
            if size > WIDTH:
                continue
        else:
            i = min(below(state, n), below(state, n), below(state, n))
            j = min(below(state, n), below(state, n))
            size = _change(
                state, G[i], W[i], lengths[i], G[j], W[j], lengths[j], kinds, unary, binary, columns, a, aw, stack
            )
            if size > 0 and uniform(state) < 0.35:
                again = _change(state, a, aw, size, G[j], W[j], lengths[j], kinds, unary, binary, columns, b, bw, stack)
                if again > 0:
                    size = append(b, bw, 0, again, a, aw, 0)
        if size == 0:
            continue
        size = canonical(a, aw, size, MAX_TERMS, out[made], out_w[made], codes, values, top, stack)
        if acceptable(out[made], size, longest, most_constants, table):
            out_lengths[made] = size
            made += 1
    return made
