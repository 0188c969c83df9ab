"""Random changes of ranked parents, and random trees grown from nothing."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fansr.expressions import compilation as nb, opcodes as op
from fansr.proposers.local_search.genome_canonical_form import take
from fansr.proposers.local_search.genomes import (
    GENOME,
    GENOMES,
    LIMITS,
    WIDTH,
    append,
    below,
    blank,
    end,
    new_arena,
    pick,
    put,
    row,
    uniform,
)


class Menu(NamedTuple):
    """What changes are made of; shares are cumulative, ending in 1."""

    kinds: np.ndarray  # (10,) float64, of the kinds of change
    unary: np.ndarray  # (38,) float64, of the unary operators by opcode
    binary: np.ndarray  # (5,) float64
    columns: np.ndarray  # (D,) int64, codes of the columns


MENU = nb.named(Menu, nb.F1, nb.F1, nb.F1, nb.I1)


@nb.shared(nb.int64(nb.W1, nb.int64, nb.float64, MENU, GENOME, nb.int64, nb.I1))
def _grow(state, depth, p_constant, menu, g, size, stack):
    """Append a random tree of at most `depth` levels to g at `size`; returns the new size."""
    pending = 1
    stack[0] = depth
    while pending > 0 and size + pending < WIDTH:
        pending -= 1
        d = stack[pending]
        g.values[size] = 0.0
        if d <= 0 or uniform(state) < 0.2:
            if uniform(state) < p_constant:
                g.codes[size], g.values[size] = op.FREE, 1.0 + 2.0 * (uniform(state) - 0.5)
            else:
                g.codes[size] = menu.columns[below(state, len(menu.columns))]
        elif uniform(state) < 0.35:
            g.codes[size] = pick(state, menu.unary)
            stack[pending] = d - 1
            pending += 1
        else:
            g.codes[size] = pick(state, menu.binary)
            stack[pending], stack[pending + 1] = d - 1, d - 1
            pending += 2
        size += 1
    return size if pending == 0 else 2 * WIDTH


@nb.shared(nb.int64(nb.W1, GENOME, nb.int64, GENOME, nb.int64, MENU, GENOME, nb.I1))
def _change(state, g, L, donor, donor_L, menu, out, stack):
    """One random change of the first L positions of g into out; returns the new length, 0 when the change does not apply."""
    kind = pick(state, menu.kinds)
    p = below(state, L)
    e = end(g.codes, p)
    if kind == 0:  # another leaf
        for _ in range(6):
            if g.codes[p] >= op.LITERAL:
                break
            p = below(state, L)
        e = end(g.codes, p)
        if e != p + 1:
            return 0
    elif kind == 4 or kind == 5:  # an operator goes, or becomes another
        for _ in range(6):
            if g.codes[p] < op.LITERAL:
                break
            p = below(state, L)
        if g.codes[p] >= op.LITERAL:
            return 0
        e = end(g.codes, p)
    size = append(g, 0, p, out, 0)
    if kind == 0:
        size = _grow(state, 0, 0.15, menu, out, size, stack)
    elif kind == 1:  # a binary operator above
        q = pick(state, menu.binary)
        first = uniform(state) < 0.65
        depth = 0 if uniform(state) < 0.6 else 2
        size = put(q, 0.0, out, size)
        if first:
            size = append(g, p, e, out, size)
        if uniform(state) < 0.25:
            m = below(state, donor_L)
            size = append(donor, m, end(donor.codes, m), out, size)
        elif size <= WIDTH:
            size = _grow(state, depth, 0.2, menu, out, size, stack)
        if not first:
            size = append(g, p, e, out, size)
    elif kind == 2:  # a unary operator above
        size = put(pick(state, menu.unary), 0.0, out, size)
        size = append(g, p, e, out, size)
    elif kind == 3:  # a free factor or summand, neutral at first
        product = uniform(state) < 0.6
        size = put(op.MUL if product else op.ADD, 0.0, out, size)
        size = put(op.FREE, 1.0 if product else 0.01, out, size)
        size = append(g, p, e, out, size)
    elif kind == 4:
        a = p + 1
        if g.codes[p] <= op.LAST_BINARY and uniform(state) < 0.5:
            a = end(g.codes, p + 1)
        size = append(g, a, end(g.codes, a), out, size)
    elif kind == 5:
        size = put(
            pick(state, menu.binary) if g.codes[p] <= op.LAST_BINARY else pick(state, menu.unary), 0.0, out, size
        )
        size = append(g, p + 1, e, out, size)
    elif kind == 6:  # another subtree
        size = _grow(state, 2, 0.2, menu, out, size, stack)
    elif kind == 7:  # a subtree of another genome
        m = below(state, donor_L)
        size = append(donor, m, end(donor.codes, m), out, size)
    elif kind == 8:  # operands change places
        if g.codes[p] > op.LAST_BINARY:
            return 0
        m = end(g.codes, p + 1)
        size = put(g.codes[p], 0.0, out, size)
        size = append(g, m, e, out, size)
        size = append(g, p + 1, m, out, size)
    else:  # one column becomes another throughout the subtree
        old, new = menu.columns[below(state, len(menu.columns))], menu.columns[below(state, len(menu.columns))]
        start = size
        size = append(g, p, e, out, size)
        if size <= WIDTH:
            for i in range(start, size):
                out.codes[i] = new if out.codes[i] == old else out.codes[i]
    size = append(g, e, L, out, size)
    return size if size <= WIDTH else 0


@nb.kernel(nb.int64(nb.W1, GENOMES, nb.int64, MENU, LIMITS, GENOMES))
def breed(state, parents, n, menu, limits, out):
    """Fill `out` with new genomes from the first n parents, ranked (best first), or grown from nothing for n = 0.

    Parents are the best of three drawn; a third of the children get two changes.  Genomes met before are not given
    again.  Returns how many were made.
    """
    arena, stack, a, b = new_arena(), np.empty(2 * WIDTH, np.int64), blank(WIDTH), blank(WIDTH)
    made = 0
    for _attempt in range(8 * len(out.lengths)):
        if made >= len(out.lengths):
            break
        if n == 0:
            size = _grow(state, 2 + below(state, 3), 0.15, menu, a, 0, stack)
        else:
            i = min(below(state, n), below(state, n), below(state, n))
            j = min(below(state, n), below(state, n))
            donor, donor_L = row(parents, j), parents.lengths[j]
            size = _change(state, row(parents, i), parents.lengths[i], donor, donor_L, menu, a, stack)
            if size > 0 and uniform(state) < 0.35:
                again = _change(state, a, size, donor, donor_L, menu, b, stack)
                if again > 0:
                    size = append(b, 0, again, a, 0)
        made = take(a, size, out, made, limits, arena)
    return made
