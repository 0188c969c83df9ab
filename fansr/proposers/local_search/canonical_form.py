"""Canonical forms of genomes: equal laws get equal codes, so that none is fitted twice."""

from __future__ import annotations

import numpy as np
from numba import njit
from numba.types import int64

from fansr.expressions import ADD, DIV, F1, F2, FREE, I1, INV, JIT, LAST_BINARY, LITERAL, MUL, NEG, SUB
from fansr.proposers.local_search.canonical_rules import compare, join, make
from fansr.proposers.local_search.genomes import ARENA, I2, INNER, K1, WIDTH, acceptable, append, end


@njit(int64(I1, F1, int64, int64, I1, F1, I1, F1, I1, I1), **INNER)
def canonical(g, w, L, most_terms, out, out_w, codes, values, top, stack):
    """Canonical genome of g[:L] with values w into out, out_w; returns its length, 0 when there is none.

    The sum at the top is taken apart into terms without factors, signs and duplicates, sorted, and put together
    again.  stack is (2 * WIDTH,) work space.
    """
    depth = 0
    for i in range(L):
        codes[i], values[i] = g[i], w[i]
    before, length = 0, L
    for _pass in range(12):
        # The input lies at `before`; the new form is built behind it.
        if before > 0:
            for i in range(length):
                codes[i], values[i] = codes[before + i], values[before + i]
        top[0] = length
        depth = 0
        for i in range(length - 1, -1, -1):
            q = codes[i]
            if q >= LITERAL:
                s, ls = i, 1
            elif q > LAST_BINARY:
                s, ls = make(q, stack[2 * depth - 2], stack[2 * depth - 1], 0, 0, codes, values, top)
                depth -= 1
            else:
                s, ls = make(
                    q,
                    stack[2 * depth - 2],
                    stack[2 * depth - 1],
                    stack[2 * depth - 4],
                    stack[2 * depth - 3],
                    codes,
                    values,
                    top,
                )
                depth -= 2
            if ls == 0:
                return 0
            stack[2 * depth], stack[2 * depth + 1] = s, ls
            depth += 1
        if depth != 1 or stack[1] > WIDTH:
            return 0
        unchanged = stack[1] == length
        for i in range(length):
            unchanged = unchanged and codes[i] == codes[stack[0] + i]
        before, length = stack[0], stack[1]
        if unchanged:
            break
    # Terms: `stack` is now a list of segments still to look at, `found` grows from its far end downwards.
    n_found = 0
    last = len(stack) // 2
    while depth > 0:
        depth -= 1
        s, ls = stack[2 * depth], stack[2 * depth + 1]
        q = codes[s]
        if q == FREE:
            continue
        if q == ADD or q == SUB:
            m = end(codes, s + 1)
            if depth + 2 + n_found >= last:
                return 0
            stack[2 * depth], stack[2 * depth + 1] = s + 1, m - s - 1
            stack[2 * depth + 2], stack[2 * depth + 3] = m, s + ls - m
            depth += 2
        elif q == NEG:
            stack[2 * depth], stack[2 * depth + 1] = s + 1, ls - 1
            depth += 1
        elif q == MUL and codes[s + 1] == FREE:
            stack[2 * depth], stack[2 * depth + 1] = s + 2, ls - 2
            depth += 1
        else:
            if q == DIV and codes[s + 1] == FREE:
                s, ls = join(INV, s + 2, ls - 2, 0, 0, codes, values, top)
                if ls == 0:
                    return 0
            # Insertion into the sorted list of terms found, kept at stack[2*(last-1-k)].
            k = 0
            order = 1
            while k < n_found:
                order = compare(s, ls, stack[2 * (last - 1 - k)], stack[2 * (last - 1 - k) + 1], codes)
                if order <= 0:
                    break
                k += 1
            if k < n_found and order == 0:
                continue
            if n_found >= most_terms:
                return 0
            for j in range(n_found, k, -1):
                stack[2 * (last - 1 - j)] = stack[2 * (last - j)]
                stack[2 * (last - 1 - j) + 1] = stack[2 * (last - j) + 1]
            stack[2 * (last - 1 - k)], stack[2 * (last - 1 - k) + 1] = s, ls
            n_found += 1
    size = 0
    for k in range(n_found):
        s, ls = stack[2 * (last - 1 - k)], stack[2 * (last - 1 - k) + 1]
        if size + ls + 1 > WIDTH:
            return 0
        if k < n_found - 1:
            out[size], out_w[size] = ADD, 0.0
            size += 1
        for i in range(ls):
            out[size], out_w[size] = codes[s + i], values[s + i]
            size += 1
    return size


@njit(int64(I2, F2, I1, int64, int64, int64, K1), **JIT)
def canonical_rows(G, W, lengths, longest, most_constants, most_terms, table):
    """Bring genomes into canonical form in place; the new ones move to the front.  Returns how many those are."""
    codes, values, top = np.empty(ARENA, np.int64), np.empty(ARENA), np.zeros(1, np.int64)
    stack = np.empty(2 * WIDTH, np.int64)
    a, aw = np.empty(WIDTH, np.int64), np.empty(WIDTH)
    made = 0
    for i in range(len(lengths)):
        size = canonical(G[i], W[i], lengths[i], most_terms, a, aw, codes, values, top, stack)
        if acceptable(a, size, longest, most_constants, table):
            append(a, aw, 0, size, G[made], W[made], 0)
            lengths[made] = size
            made += 1
    return made
