"""Aimed changes of whole expressions: replace a subtree by the library term nearest to what the data want there.

The values that a place in the tree would have to take are found by undoing what stands above it (semantic
back-propagation: Pawlak, Wieloch & Krawiec 2015).
"""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import Tape, compilation as nb, connect, forward, opcodes as op
from fansr.proposers.local_search.genome_canonical_form import take
from fansr.proposers.local_search.genomes import (
    GENOMES,
    LIMITS,
    MAX_TERMS,
    WIDTH,
    Genome,
    append,
    below,
    blank,
    end,
    hashed_with_values,
    mixed,
    new_arena,
    put,
    row,
    uniform,
)
from fansr.proposers.local_search.nearest_terms import (
    BEST,
    GOALS,
    LIBRARY,
    SAMPLE,
    Best,
    clear,
    complete,
    nearest,
    new_pass,
)

TAKES = 3  # terms tried for one goal until a child is new
OFTEN = 3  # times that a parent is asked for what the whole lacks


@nb.shared(nb.void(nb.int64, nb.int64, nb.F1, nb.F1, nb.F1, nb.F1, nb.int64))
def _undo(q, left, sibling, inside, target, sw, n):
    """Turn the target of a node q into that of one operand, whose present values are `inside`, in place.

    sw follows the slope at the wanted value.  Where nothing finite would do, target becomes NaN.
    """
    for i in range(n):
        t, u = target[i], inside[i]
        slope = 1.0
        if q <= op.LAST_BINARY:
            s = sibling[i]
            if q == op.ADD:
                t = t - s
            elif q == op.SUB:
                t = t + s if left else s - t
            elif q == op.MUL:
                t, slope = t / s, s
            elif q == op.DIV:
                if left:
                    t, slope = t * s, 1.0 / s
                else:
                    slope = t * t / s
                    t = s / t
            elif left:
                x = abs(t) ** (1.0 / s)
                slope, t = s * t / x, x
            else:
                slope = t * np.log(s)
                t = np.log(t) / np.log(s)
        elif q >= op.MULT2:
            slope = float(q - op.MULT2 + 2) if q <= op.MULT5 else 1.0 / float(q - op.DIV2 + 2)
            t = t / slope
        elif q == op.NEG:
            t = -t
        elif q == op.ABS:
            t = math.copysign(t, u) if t >= 0.0 else np.nan
        elif q == op.INV:
            slope = t * t
            t = 1.0 / t
        elif q <= op.POW5:
            e = float(q - op.POW2 + 2)
            even = (q - op.POW2) % 2 == 0
            x = abs(t) ** (1.0 / e)
            slope = e * x ** (e - 1.0)
            t = (math.copysign(x, u) if t >= 0.0 else np.nan) if even else math.copysign(x, t)
        elif q <= op.ROOT5:
            e = float(q - op.ROOT2 + 2)
            even = (q - op.ROOT2) % 2 == 0
            slope = abs(t) ** (1.0 - e) / e
            t = np.nan if even and t < 0.0 else math.copysign(abs(t) ** e, t)
        elif q == op.EXP:
            slope = t
            t = np.log(t)
        elif q == op.LOG:
            t = math.exp(t)
            slope = 1.0 / t
        elif q == op.SIN or q == op.COS:
            # The branch nearest to the present value.
            slope = math.sqrt(max(0.0, 1.0 - t * t))
            x = math.asin(t) if q == op.SIN else math.acos(t)
            other = math.pi - x if q == op.SIN else -x
            x += 2.0 * math.pi * np.rint((u - x) / (2.0 * math.pi))
            other += 2.0 * math.pi * np.rint((u - other) / (2.0 * math.pi))
            t = x if abs(x - u) <= abs(other - u) else other
        elif q == op.TANH:
            slope = 1.0 - t * t
            t = math.atanh(t)
        elif q == op.ATAN:
            x = math.tan(t)
            slope = 1.0 / (1.0 + x * x)
            t = x if abs(t) < 1.5 else np.nan
        elif q == op.ASIN:
            slope = 1.0 / math.cos(t)
            t = math.sin(t)
        elif q == op.ACOS:
            slope = 1.0 / math.sin(t)
            t = math.cos(t)
        else:
            t = np.nan
        target[i] = t
        sw[i] *= abs(slope)


@nb.inner
def _child(whole, L, p, mode, completing, gone, library, best, j, longest, zeros, a, arena, out, made, limits):
    """Take the child with the j-th best term: at p of the whole, as operand (mode 0), summand (1) or factor (2) of what stands there.

    longest: of a whole expression.  completing: as one more summand, in the place of the one that begins at `gone` (-1: none).  Returns made, or one more.
    """
    g = whole.codes
    summand, factor = best.scores[j, 1], best.scores[j, 2]
    if best.rows[j] < 0 or not (abs(summand) < 1e100 and abs(factor) < 1e100):
        return made
    term, term_L = Genome(library.codes[best.rows[j]], zeros), library.lengths[best.rows[j]]
    if completing:
        size = append(term, 0, term_L, a, put(op.ADD, 0.0, a, 0))
        if gone < 0:
            size = append(whole, 0, L, a, size)
        else:
            size = append(whole, 0, gone - 1, a, size)
            size = append(whole, end(g, gone), L, a, size)
    else:
        e = end(g, p)
        size = append(whole, 0, p, a, 0)
        if mode > 0:
            size = put(op.ADD if mode == 1 else op.MUL, 0.0, a, size)
            size = append(whole, p, e, a, size)
        if summand != 0.0:
            size = put(op.FREE, summand, a, put(op.ADD, 0.0, a, size))
        if abs(factor - 1.0) > 1e-4:
            size = put(op.FREE, factor, a, put(op.MUL, 0.0, a, size))
        size = append(term, 0, term_L, a, size)
        size = append(whole, e, L, a, size)
    if size > longest + 4:  # two constants of the goal may yet go
        return made
    return take(a, size, out, made, limits, arena)


@nb.kernel(nb.int64(nb.W1, GENOMES, nb.I1, nb.int64, SAMPLE, LIBRARY, GOALS, LIMITS, GENOMES))
def aim(state, parents, aimed, tries, sample, library, goals, limits, out):
    """Fill `out` with children of whole expressions (codes with fitted constants, from `spell`); aimed: how often each was a parent.

    For a random position the values that would make the expression exact are found by undoing, operator by
    operator, what stands above it; then the library term nearest to those values (or to what is missing as a summand
    or as a factor) is put there.  The leading parents come again and again, and so do the same goals: `goals` keeps what was found for
    them.  Returns how many children were made.
    """
    arena, stack, a = new_arena(), np.empty(4 * WIDTH, np.int64), blank(WIDTH)
    n, V = sample.n, np.empty((4 * WIDTH, sample.n))
    tape = Tape(
        np.empty(4 * WIDTH, np.int64),
        np.empty(4 * WIDTH, np.int64),
        np.empty(4 * WIDTH),
        np.ones(4 * WIDTH, np.int64),
        V,
        V,
    )
    target, weight, goal, goal_w = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    space = new_pass(len(library.tiles))
    zeros = np.zeros(WIDTH)
    Q, places = np.empty((MAX_TERMS + 3, n)), np.empty(MAX_TERMS + 1, np.int64)
    made = 0
    for i_parent in range(len(aimed)):
        whole, L = row(parents, i_parent), parents.lengths[i_parent]
        g = whole.codes
        for i in range(L):
            q = g[i]
            tape.op[i] = op.COLUMN if q >= op.COLUMN else (op.LITERAL if q == op.FREE else q)
            tape.link[i] = q - op.COLUMN if q >= op.COLUMN else 0
            tape.literal[i] = whole.values[i]
        if connect(tape.op, tape.link, 0, L, stack) < 0:
            continue
        forward(tape, 0, L, 1, sample.X, 0, whole.values, n)
        n_terms, i = 0, 0
        while i < L and g[i] == op.ADD and n_terms < MAX_TERMS:
            places[n_terms] = i + 1
            n_terms += 1
            i = end(g, i + 1)
        parent = hashed_with_values(whole, L)
        # Positions added to a genome when it is written out whole do not count; a child may hardly be longer than allowed.
        extra = 2 * n_terms + 2
        longest = limits.longest + extra
        no_more = n_terms >= MAX_TERMS or L + 2 > longest  # neither a further term nor a further operand
        for attempt in range(tries):
            if made >= len(out.lengths):
                return made
            fresh = aimed[i_parent] < OFTEN  # goals of the whole are the same each time
            completing = fresh and attempt < 3  # the sum as a whole
            gone, mode, p = -1, 0, 0
            # What is asked for: to complete the sum without the term `gone`, or the goal of place p and mode.
            if completing:
                gone = below(state, n_terms + 1) - 1 if n_terms > 1 else -1
                if no_more and gone < 0:
                    gone = below(state, max(1, n_terms))
                asked = gone + 2
            else:
                p = below(state, L)
                while not fresh and L > 1 and (p == 0 or tape.op[p] == op.LITERAL):
                    p = below(state, L)
                if tape.op[p] == op.LITERAL:
                    p = 0
                mode = below(state, 3) if p > 0 else 1 + below(state, 2)
                if no_more and (p == 0 or L + 2 > longest):
                    if p == 0:
                        continue
                    mode = 0
                asked = 3 * p + mode + MAX_TERMS + 2
            key = mixed(parent, nb.uint64(asked))
            place = key & nb.uint64(len(goals.keys) - 1)
            best, known = Best(goals.rows[place], goals.scores[place]), goals.keys[place] == key
            goals.keys[place] = key
            if not known and completing:
                complete(sample, V, places, n_terms, gone, library, Q, space, best)
            elif not known:
                for i in range(n):
                    target[i], weight[i] = sample.y[i], sample.sw[i]
                k = 0
                while k < p:
                    left = 1
                    child, other = k + 1, k + 1
                    if tape.op[k] <= op.LAST_BINARY:
                        left = 1 if p < tape.link[k] else 0
                        child, other = (k + 1, tape.link[k]) if left else (tape.link[k], k + 1)
                    _undo(tape.op[k], left, V[other], V[child], target, weight, n)
                    k = child
                lost = 0
                for i in range(n):
                    u = V[p, i]
                    goal[i], goal_w[i] = target[i], weight[i]
                    if mode == 1:
                        goal[i] -= u
                    elif mode == 2:
                        goal[i] /= u
                        goal_w[i] *= abs(u)
                    if not (abs(goal[i]) < 1e100 and goal_w[i] < 1e100):
                        goal[i], goal_w[i] = 0.0, 0.0
                        lost += 1
                clear(best)
                if 3 * lost <= n:
                    nearest(goal, goal_w, n, library, space, best)
            j = 0 if uniform(state) < 0.5 else below(state, BEST)
            before = made
            for _ in range(TAKES):  # the next best where a child was met before
                if made > before:
                    break
                made = _child(
                    whole,
                    L,
                    p,
                    mode,
                    completing,
                    places[gone] if gone >= 0 else -1,
                    library,
                    best,
                    j,
                    longest,
                    zeros,
                    a,
                    arena,
                    out,
                    made,
                    limits,
                )
                j = (j + 1) % BEST
    return made
