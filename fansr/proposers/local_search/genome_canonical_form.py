"""Canonical forms of genomes: equal laws get equal codes, so that none is fitted twice."""

from __future__ import annotations

from fansr.expressions import compilation as nb, opcodes as op
from fansr.proposers.local_search.genome_canonical_rules import NOTHING, compare, join, make
from fansr.proposers.local_search.genomes import (
    ARENA_TYPE,
    GENOME,
    GENOMES,
    LIMITS,
    MAX_TERMS,
    WIDTH,
    Genome,
    acceptable,
    append,
    blank,
    end,
    new_arena,
    row,
)


@nb.shared(nb.int64(GENOME, nb.int64, GENOME, ARENA_TYPE))
def canonical(g, L, out, arena):
    """Canonical genome of the first L positions of g into out; returns its length, 0 when there is none.

    The sum at the top is taken apart into terms without factors, signs and duplicates, sorted, and put together
    again.
    """
    codes, values, stack = arena.codes, arena.values, arena.stack
    depth = 0
    for i in range(L):
        codes[i], values[i] = g.codes[i], g.values[i]
    before, length = 0, L
    for _pass in range(12):
        # The input lies at `before`; the new form is built behind it.
        if before > 0:
            for i in range(length):
                codes[i], values[i] = codes[before + i], values[before + i]
        arena.top[0] = length
        depth = 0
        for i in range(length - 1, -1, -1):
            q = codes[i]
            made = (i, 1)
            if q < op.LITERAL:
                depth -= 1
                first, second = (stack[2 * depth], stack[2 * depth + 1]), NOTHING
                if q <= op.LAST_BINARY:
                    depth -= 1
                    second = (stack[2 * depth], stack[2 * depth + 1])
                made = make(q, first, second, arena)
            if made[1] == 0:
                return 0
            stack[2 * depth], stack[2 * depth + 1] = made
            depth += 1
        if depth != 1 or stack[1] > WIDTH:
            return 0
        unchanged = stack[1] == length
        if stack[0] > 0:  # not in its old place
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
        if q == op.FREE:
            continue
        if q == op.ADD or q == op.SUB:
            m = end(codes, s + 1)
            if depth + 2 + n_found >= last:
                return 0
            stack[2 * depth], stack[2 * depth + 1] = s + 1, m - s - 1
            stack[2 * depth + 2], stack[2 * depth + 3] = m, s + ls - m
            depth += 2
        elif q == op.NEG:
            stack[2 * depth], stack[2 * depth + 1] = s + 1, ls - 1
            depth += 1
        elif q == op.MUL and codes[s + 1] == op.FREE:
            stack[2 * depth], stack[2 * depth + 1] = s + 2, ls - 2
            depth += 1
        else:
            if q == op.DIV and codes[s + 1] == op.FREE:
                s, ls = join(op.INV, (s + 2, ls - 2), NOTHING, arena)
                if ls == 0:
                    return 0
            # Insertion into the sorted list of terms found, kept at stack[2*(last-1-k)].
            k = 0
            order = 1
            while k < n_found:
                order = compare((s, ls), (stack[2 * (last - 1 - k)], stack[2 * (last - 1 - k) + 1]), codes)
                if order <= 0:
                    break
                k += 1
            if k < n_found and order == 0:
                continue
            if n_found >= MAX_TERMS:
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
            out.codes[size], out.values[size] = op.ADD, 0.0
            size += 1
        for i in range(ls):
            out.codes[size], out.values[size] = codes[s + i], values[s + i]
            size += 1
    return size


@nb.shared(nb.int64(GENOME, nb.int64, GENOMES, nb.int64, LIMITS, ARENA_TYPE))
def take(g, L, out, made, limits, arena):
    """Put the canonical form of a genome of L positions into row `made` of out, if acceptable; returns made, or one more."""
    if L == 0 or L > WIDTH:
        return made
    size = canonical(g, L, Genome(out.G[made], out.W[made]), arena)
    if not acceptable(out.G[made], size, limits):
        return made
    out.lengths[made] = size
    return made + 1


@nb.kernel(nb.int64(GENOMES, LIMITS))
def canonical_rows(genomes, limits):
    """Bring genomes into canonical form in place; the new ones move to the front.  Returns how many those are."""
    arena, a, made = new_arena(), blank(WIDTH), 0
    for i in range(len(genomes.lengths)):
        append(row(genomes, i), 0, genomes.lengths[i], a, 0)
        made = take(a, genomes.lengths[i], genomes, made, limits, arena)
    return made
