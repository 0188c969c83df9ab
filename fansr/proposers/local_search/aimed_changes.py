"""Aimed changes of whole expressions: replace a subtree by the library term nearest to what the data want there.

The values that a place in the tree would have to take are found by undoing what stands above it (semantic
back-propagation: Pawlak, Wieloch & Krawiec 2015).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, void
from numba.types import float64, int64

from fansr.expressions import (
    ABS,
    ACOS,
    ADD,
    ASIN,
    ATAN,
    COLUMN,
    COS,
    DIV,
    DIV2,
    EXP,
    F1,
    F2,
    FREE,
    I1,
    INV,
    JIT,
    LAST_BINARY,
    LITERAL,
    LOG,
    MUL,
    MULT2,
    MULT5,
    NEG,
    POW2,
    POW5,
    ROOT2,
    ROOT5,
    SIN,
    SUB,
    TANH,
    connect,
    forward,
)
from fansr.proposers.local_search.canonical_form import canonical
from fansr.proposers.local_search.genomes import (
    ARENA,
    HUGE,
    I2,
    INNER,
    K1,
    MAX_TERMS,
    WIDTH,
    acceptable,
    append,
    below,
    end,
    put,
    uniform,
)


@njit(void(int64, int64, F1, F1, F1, F1, int64), **INNER)
def _undo(q, left, sibling, inside, target, sw, n):
    """Turn the target of a node q into that of one operand, whose present values are `inside`, in place.

    sw follows the slope at the wanted value.  Where nothing finite would do, target becomes NaN.
    """
    for i in range(n):
        t, u = target[i], inside[i]
        slope = 1.0
        if q <= LAST_BINARY:
            s = sibling[i]
            if q == ADD:
                t = t - s
            elif q == SUB:
                t = t + s if left else s - t
            elif q == MUL:
                t, slope = t / s, s
            elif q == DIV:
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
        elif q >= MULT2:
            slope = float(q - MULT2 + 2) if q <= MULT5 else 1.0 / float(q - DIV2 + 2)
            t = t / slope
        elif q == NEG:
            t = -t
        elif q == ABS:
            t = math.copysign(t, u) if t >= 0.0 else np.nan
        elif q == INV:
            slope = t * t
            t = 1.0 / t
        elif q <= POW5:
            e = float(q - POW2 + 2)
            even = (q - POW2) % 2 == 0
            x = abs(t) ** (1.0 / e)
            slope = e * x ** (e - 1.0)
            t = (math.copysign(x, u) if t >= 0.0 else np.nan) if even else math.copysign(x, t)
        elif q <= ROOT5:
            e = float(q - ROOT2 + 2)
            even = (q - ROOT2) % 2 == 0
            slope = abs(t) ** (1.0 - e) / e
            t = np.nan if even and t < 0.0 else math.copysign(abs(t) ** e, t)
        elif q == EXP:
            slope = t
            t = np.log(t)
        elif q == LOG:
            t = math.exp(t)
            slope = 1.0 / t
        elif q == SIN or q == COS:
            # The branch nearest to the present value.
            slope = math.sqrt(max(0.0, 1.0 - t * t))
            x = math.asin(t) if q == SIN else math.acos(t)
            other = math.pi - x if q == SIN else -x
            x += 2.0 * math.pi * np.rint((u - x) / (2.0 * math.pi))
            other += 2.0 * math.pi * np.rint((u - other) / (2.0 * math.pi))
            t = x if abs(x - u) <= abs(other - u) else other
        elif q == TANH:
            slope = 1.0 - t * t
            t = math.atanh(t)
        elif q == ATAN:
            x = math.tan(t)
            slope = 1.0 / (1.0 + x * x)
            t = x if abs(t) < 1.5 else np.nan
        elif q == ASIN:
            slope = 1.0 / math.cos(t)
            t = math.sin(t)
        elif q == ACOS:
            slope = 1.0 / math.sin(t)
            t = math.cos(t)
        else:
            t = np.nan
        target[i] = t
        sw[i] *= abs(slope)


@njit(
    float64(F1, F1, int64, F2, I1, I1, F2),
    cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}, no_cpython_wrapper=True, no_cfunc_wrapper=True,
)  # fmt: skip
def _nearest(target, sw, n, terms, sizes, best, scores):
    """The terms T[k] (rows) for which a + b*T[k] comes nearest to target, weighted by sw^2.

    best gets the rows' numbers (its length says how many), scores[i] = (log of the unexplained share + a price for
    the term's size, a, b).  Returns the share of target's spread about 0 that a constant alone leaves.
    """
    total, mean, power = 0.0, 0.0, 0.0
    for i in range(n):
        total += sw[i] * sw[i]
        mean += sw[i] * sw[i] * target[i]
        power += sw[i] * sw[i] * target[i] * target[i]
    for j in range(len(best)):
        best[j] = -1
        scores[j, 0] = np.inf
    if not (total > 0.0 and power > 0.0 and power < HUGE):
        return 0.0
    spread = power - mean * mean / total
    for k in range(len(terms)):
        row = terms[k]
        s1, s2, s12 = 0.0, 0.0, 0.0
        for i in range(n):
            w = sw[i] * sw[i] * row[i]
            s1 += w
            s2 += w * row[i]
            s12 += w * target[i]
        var = s2 - s1 * s1 / total
        cov = s12 - s1 * mean / total
        # A factor alone, unless a summand makes it four times better.
        left = max(0.0, 1.0 - s12 * s12 / (s2 * power)) * power
        a, b = 0.0, s12 / s2
        with_summand = spread - cov * cov / var if var > 1e-12 * s2 else left
        if max(with_summand, 1e-13 * power) * 4.0 < left:
            left = with_summand
            b = cov / var
            a = (mean - b * s1) / total
        score = math.log(max(left, 1e-13 * power) / power) + 0.06 * sizes[k] + (0.12 if a != 0.0 else 0.0)
        j = len(best) - 1
        if not (score < scores[j, 0]):
            continue
        while j > 0 and score < scores[j - 1, 0]:
            best[j] = best[j - 1]
            for c in range(3):
                scores[j, c] = scores[j - 1, c]
            j -= 1
        best[j] = k
        scores[j, 0], scores[j, 1], scores[j, 2] = score, a, b
    return spread / power


@njit(
    int64(K1, I1, int64, F2, F1, F1, int64, F2, I1, F2, I1, F2, I1),
    cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}, no_cpython_wrapper=True, no_cfunc_wrapper=True,
)  # fmt: skip
def _complete(state, g, L, V, y, sw, n, terms, sizes, Q, best, scores, places):
    """Library terms that best complete a sum of which one term may be taken out (orthogonal least squares).

    V holds the values of the whole expression g.  A candidate's gain is that of the refitted sum.  best and scores
    as in _nearest (a = 0, b = 1).  Returns the number of the term taken out, -1 for none; places gets where terms begin.
    """
    n_terms, i = 0, 0
    while i < L and g[i] == ADD and n_terms < MAX_TERMS:
        places[n_terms] = i + 1
        n_terms += 1
        i = end(g, i + 1)
    out = below(state, n_terms + 1) - 1 if n_terms > 1 else -1
    for j in range(len(best)):
        best[j] = -1
        scores[j, 0], scores[j, 1], scores[j, 2] = np.inf, 0.0, 1.0
    rank = 0
    # The basis of what stays, with y itself as the last row.
    for t in range(-1, n_terms + 1):
        if t == out and t >= 0:
            continue
        row = Q[rank]
        for i in range(n):
            row[i] = sw[i] * (1.0 if t < 0 else y[i] if t == n_terms else V[places[t], i])
        before = 0.0
        for i in range(n):
            before += row[i] * row[i]
        if not (before < HUGE):
            return out
        for p in range(rank):
            h = 0.0
            for i in range(n):
                h += Q[p, i] * row[i]
            for i in range(n):
                row[i] -= h * Q[p, i]
        after = 0.0
        for i in range(n):
            after += row[i] * row[i]
        if t == n_terms:
            power = after
        elif after > 1e-20 * before:
            after = math.sqrt(after)
            for i in range(n):
                row[i] /= after
            rank += 1
    residual = Q[rank]
    if not (power > 0.0):
        return out
    for k in range(len(terms)):
        row = terms[k]
        square, along = 0.0, 0.0
        for i in range(n):
            v = sw[i] * row[i]
            square += v * v
            along += v * residual[i]
        free = square
        for p in range(rank):
            h = 0.0
            for i in range(n):
                h += Q[p, i] * (sw[i] * row[i])
            free -= h * h
        if not (free > 1e-9 * square and square < HUGE):
            continue
        score = math.log(max(1e-13, 1.0 - along * along / (free * power))) + 0.06 * sizes[k]
        j = len(best) - 1
        if not (score < scores[j, 0]):
            continue
        while j > 0 and score < scores[j - 1, 0]:
            best[j], scores[j, 0] = best[j - 1], scores[j - 1, 0]
            j -= 1
        best[j], scores[j, 0] = k, score
    return out


@njit(
    int64(K1, I2, F2, I1, int64, int64, F2, F1, F1, int64, F2, I2, I1, int64, int64, K1, I2, F2, I1),
    **JIT,
)
def aim(state, G, W, lengths, n_parents, tries, X, y, sw, n, terms, term_codes, term_lengths, longest, most_constants, table,
        out, out_w, out_lengths):  # fmt: skip
    """Fill `out` with children of whole expressions G[:n_parents] (codes with fitted constants, from `spell`).

    For a random position the values that would make the expression exact are found by undoing, operator by
    operator, what stands above it; then the library term nearest to those values (or to what is missing as a summand
    or as a factor) is put there.  terms (N, >= n) are the library's values, term_codes (N, WIDTH) its genomes.
    Returns how many children were made.
    """
    codes, values, top = np.empty(ARENA, np.int64), np.empty(ARENA), np.zeros(1, np.int64)
    stack = np.empty(4 * WIDTH, np.int64)
    a, aw = np.empty(WIDTH, np.int64), np.empty(WIDTH)
    op, link = np.empty(4 * WIDTH, np.int64), np.empty(4 * WIDTH, np.int64)
    literal, everything = np.empty(4 * WIDTH), np.ones(4 * WIDTH, np.int64)
    V = np.empty((4 * WIDTH, n))
    target, weight, goal, goal_w = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    best, scores = np.empty(6, np.int64), np.empty((6, 3))
    zero_w = np.zeros(WIDTH)
    Q, places = np.empty((MAX_TERMS + 3, n)), np.empty(MAX_TERMS + 1, np.int64)
    made = 0
    for i_parent in range(n_parents):
        g, w, L = G[i_parent], W[i_parent], lengths[i_parent]
        for i in range(L):
            q = g[i]
            op[i] = COLUMN if q >= COLUMN else (LITERAL if q == FREE else q)
            link[i] = q - COLUMN if q >= COLUMN else 0
            literal[i] = w[i]
        if connect(op, link, 0, L, stack) < 0:
            continue
        forward(op, link, literal, 0, L, everything, 1, X, 0, w, V, n)
        for attempt in range(tries):
            if made >= len(out):
                return made
            if attempt < 3:  # the sum as a whole
                gone = _complete(state, g, L, V, y, sw, n, terms, term_lengths, Q, best, scores, places)
                j = 0 if uniform(state) < 0.5 else below(state, len(best))
                if best[j] < 0:
                    continue
                size = put(ADD, 0.0, a, aw, 0)
                size = append(term_codes[best[j]], zero_w, 0, term_lengths[best[j]], a, aw, size)
                if gone < 0:
                    size = append(g, w, 0, L, a, aw, size)
                else:
                    size = append(g, w, 0, places[gone] - 1, a, aw, size)
                    size = append(g, w, end(g, places[gone]), L, a, aw, size)
                if size > WIDTH:
                    continue
                size = canonical(a, aw, size, MAX_TERMS, out[made], out_w[made], codes, values, top, stack)
                if acceptable(out[made], size, longest, most_constants, table):
                    out_lengths[made] = size
                    made += 1
                continue
            p = below(state, L)
            if op[p] == LITERAL:
                p = 0
            for i in range(n):
                target[i], weight[i] = y[i], sw[i]
            k = 0
            while k < p:
                left = 1
                child, other = k + 1, k + 1
                if op[k] <= LAST_BINARY:
                    left = 1 if p < link[k] else 0
                    child, other = (k + 1, link[k]) if left else (link[k], k + 1)
                _undo(op[k], left, V[other], V[child], target, weight, n)
                k = child
            mode = below(state, 3) if p > 0 else 1 + below(state, 2)
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
            if 3 * lost > n:
                continue
            _nearest(goal, goal_w, n, terms, term_lengths, best, scores)
            j = 0 if uniform(state) < 0.5 else below(state, len(best))
            if best[j] < 0 or not (abs(scores[j, 1]) < 1e100 and abs(scores[j, 2]) < 1e100):
                continue
            e = end(g, p)
            size = append(g, w, 0, p, a, aw, 0)
            if mode > 0:
                size = put(ADD if mode == 1 else MUL, 0.0, a, aw, size)
                size = append(g, w, p, e, a, aw, size)
            if scores[j, 1] != 0.0:
                size = put(ADD, 0.0, a, aw, size)
                size = put(FREE, scores[j, 1], a, aw, size)
            if abs(scores[j, 2] - 1.0) > 1e-4:
                size = put(MUL, 0.0, a, aw, size)
                size = put(FREE, scores[j, 2], a, aw, size)
            size = append(term_codes[best[j]], zero_w, 0, term_lengths[best[j]], a, aw, size)
            size = append(g, w, e, L, a, aw, size)
            if size > WIDTH:
                continue
            size = canonical(a, aw, size, MAX_TERMS, out[made], out_w[made], codes, values, top, stack)
            if acceptable(out[made], size, longest, most_constants, table):
                out_lengths[made] = size
                made += 1
    return made
