"""Tree work of the local search, on flat integer arrays: canonical forms, random changes, wanted values.

A *genome* is a prefix expression as codes (an operator's opcode, 39 a free constant, 40 + j column j) with the
constants' present values beside them.  It stands for its top-level terms only: evolve.py fits
c0 + c1*term1 + c2*term2 + ..., so terms carry no factor and no sign, and the order of terms means nothing.

Three kernels are called from outside: `breed` (random changes of ranked parents), `aim` (replace a subtree by the
library term nearest to what the data want there) and `spell` (genomes to programs).  They know nothing of fitting.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, void
from numba.types import Array, UniTuple, float64, int64, uint64

from fansr.evaluate import (
    ABS,
    ACOS,
    ACOSH,
    ADD,
    ASIN,
    ASINH,
    ATAN,
    ATANH,
    COLUMN,
    COS,
    COSH,
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
    POW,
    POW2,
    POW3,
    POW5,
    ROOT2,
    ROOT3,
    ROOT5,
    SIN,
    SINH,
    SUB,
    TAN,
    TANH,
    connect,
    forward,
)

WIDTH = 64  # longest genome any kernel handles
ARENA = 4096  # scratch positions of one canonical form
MAX_TERMS = 6
HUGE = 1.7e308

I2 = Array(int64, 2, "C")
K1 = Array(uint64, 1, "C")
INNER = {**JIT, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
SEGMENT = UniTuple(int64, 2)  # (start, length) in the arena


# ---- chance and shape -------------------------------------------------------------------------


@njit(float64(K1), **INNER)
def _uniform(state):
    """Next number in [0, 1) of a splitmix64 stream kept in state[0]."""
    state[0] += uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> uint64(27))) * uint64(0x94D049BB133111EB)
    z = z ^ (z >> uint64(31))
    return (z >> uint64(11)) * (1.0 / 9007199254740992.0)


@njit(int64(K1, int64), **INNER)
def _below(state, n):
    """Next integer in 0..n-1."""
    return min(n - 1, int(_uniform(state) * n))


@njit(int64(K1, F1), **INNER)
def _pick(state, cumulative):
    """Index drawn by cumulative weights ending in 1."""
    u, i = _uniform(state), 0
    while i < len(cumulative) - 1 and cumulative[i] <= u:
        i += 1
    return i


@njit(int64(I1, int64), **INNER)
def _end(g, i):
    """Index just after the subtree at i."""
    open_slots = 1
    while open_slots > 0:
        q = g[i]
        open_slots += -1 if q >= LITERAL else (1 if q <= LAST_BINARY else 0)
        i += 1
    return i


@njit(uint64(I1, int64, int64), **INNER)
def _hash(g, first, stop):
    """64-bit hash of codes first..stop-1."""
    h = uint64(0xCBF29CE484222325)
    for i in range(first, stop):
        h = (h ^ uint64(g[i] + 1)) * uint64(0x100000001B3)
        h ^= h >> uint64(29)
    return h if h != uint64(0) else uint64(1)


@njit(int64(uint64, K1), **INNER)
def _met_before(h, table):
    """1 when h is in the open-addressing table (its length a power of 2), else 0 after putting it in."""
    mask = uint64(len(table) - 1)
    i = h & mask
    while table[i] != uint64(0):
        if table[i] == h:
            return 1
        i = (i + uint64(1)) & mask
    table[i] = h
    return 0


# ---- canonical forms --------------------------------------------------------------------------


@njit(float64(int64, float64, float64), **INNER)
def _scalar(q, a, b):
    """Value of operator q on constants; 1 where it is not finite (it is only a start for the fit)."""
    v = 1.0
    if q == ADD:
        v = a + b
    elif q == SUB:
        v = a - b
    elif q == MUL:
        v = a * b
    elif q == DIV:
        v = a / b
    elif q == POW:
        v = a**b
    elif q == ABS:
        v = abs(a)
    elif q == INV:
        v = 1.0 / a
    elif q == NEG:
        v = -a
    elif q <= POW5:
        v = a ** float(q - POW2 + 2)
    elif q <= ROOT5:
        v = math.copysign(abs(a) ** (1.0 / float(q - ROOT2 + 2)), a)
    elif q == SIN:
        v = math.sin(a)
    elif q == COS:
        v = math.cos(a)
    elif q == TAN:
        v = math.tan(a)
    elif q == ASIN:
        v = math.asin(a)
    elif q == ACOS:
        v = math.acos(a)
    elif q == ATAN:
        v = math.atan(a)
    elif q == SINH:
        v = math.sinh(a)
    elif q == COSH:
        v = math.cosh(a)
    elif q == TANH:
        v = math.tanh(a)
    elif q == ASINH:
        v = math.asinh(a)
    elif q == ACOSH:
        v = math.acosh(a)
    elif q == ATANH:
        v = math.atanh(a)
    elif q == EXP:
        v = math.exp(a)
    elif q == LOG:
        v = np.log(a)
    elif MULT2 <= q <= MULT5:
        v = a * float(q - MULT2 + 2)
    elif q >= DIV2:
        v = a / float(q - DIV2 + 2)
    return v if abs(v) < HUGE and v != 0.0 else 1.0


@njit(SEGMENT(float64, I1, F1, I1), **INNER)
def _constant(value, codes, values, top):
    """A new constant in the arena."""
    s = top[0]
    if s + 1 >= ARENA:
        return 0, 0
    codes[s], values[s] = FREE, value
    top[0] = s + 1
    return s, 1


@njit(SEGMENT(int64, int64, int64, int64, int64, I1, F1, I1), **INNER)
def _join(q, a, la, b, lb, codes, values, top):
    """A new node q over segments a and b (lb = 0: unary), as it stands; length 0 when the arena is full."""
    s = top[0]
    if s + 1 + la + lb >= ARENA or la == 0:
        return 0, 0
    codes[s], values[s] = q, 0.0
    for i in range(la):
        codes[s + 1 + i], values[s + 1 + i] = codes[a + i], values[a + i]
    for i in range(lb):
        codes[s + 1 + la + i], values[s + 1 + la + i] = codes[b + i], values[b + i]
    top[0] = s + 1 + la + lb
    return s, 1 + la + lb


@njit(int64(int64, int64, int64, int64, I1), **INNER)
def _compare(a, la, b, lb, codes):
    """Order of two segments: by length, then by codes; 0 when equal."""
    if la != lb:
        return -1 if la < lb else 1
    for i in range(la):
        if codes[a + i] != codes[b + i]:
            return -1 if codes[a + i] < codes[b + i] else 1
    return 0


@njit(SEGMENT(int64, int64, int64, int64, int64, I1, F1, I1), **INNER)
def _make(q, a, la, b, lb, codes, values, top):
    """Node q over segments a and b (lb = 0: unary), rewritten by the first rule that applies.

    Constants are merged and moved up: out of products, quotients, powers and roots to a factor in front, out of
    sums to a summand in front, out of log and exp.  Double signs and inverses vanish; commuting operands are sorted.
    One step only: _canonical repeats it until nothing changes (a recursive kernel would compile for minutes).
    """
    if la == 0:
        return 0, 0
    qa = codes[a]
    a1, b1 = a + 1, b + 1
    if q > LAST_BINARY:
        if qa == FREE:
            return _constant(_scalar(q, values[a], 0.0), codes, values, top)
        if q >= MULT2:
            factor = float(q - MULT2 + 2) if q <= MULT5 else 1.0 / float(q - DIV2 + 2)
            s, ls = _constant(factor, codes, values, top)
            return _join(MUL, s, ls, a, la, codes, values, top)
        # The operand's shape: c*u or c/u with the constant in front.
        scaled = (qa == MUL or qa == DIV) and codes[a1] == FREE
        u, lu = a + 2, la - 2
        c = values[a1] if scaled else 1.0
        if q == NEG:
            if qa == NEG:
                return a1, la - 1
            if qa == SUB:
                m = _end(codes, a1)
                return _join(SUB, m, a + la - m, a1, m - a1, codes, values, top)
            if scaled:
                s, ls = _constant(-c, codes, values, top)
                return _join(qa, s, ls, u, lu, codes, values, top)
        elif q == INV:
            if qa == INV:
                return a1, la - 1
            if qa == DIV:
                m = _end(codes, a1)
                return _join(DIV, m, a + la - m, a1, m - a1, codes, values, top)
            if scaled:
                s, ls = _constant(1.0 / c, codes, values, top)
                return _join(DIV, s, ls, u, lu, codes, values, top)
            if qa == NEG:
                s, ls = _join(INV, a1, la - 1, 0, 0, codes, values, top)
                return _join(NEG, s, ls, 0, 0, codes, values, top)
        elif POW2 <= q <= ROOT5 or q == ABS:
            even = q == ABS or (q - POW2) % 2 == 0 if q <= POW5 else (q - ROOT2) % 2 == 0
            if scaled and (c > 0.0 or q <= POW5 or not even):
                s, ls = _constant(_scalar(q, c, 0.0), codes, values, top)
                t, lt = _join(q, u, lu, 0, 0, codes, values, top)
                return _join(qa, s, ls, t, lt, codes, values, top)
            if qa == INV:
                t, lt = _join(q, a1, la - 1, 0, 0, codes, values, top)
                return _join(INV, t, lt, 0, 0, codes, values, top)
            if qa == NEG and (not even or q <= POW5):
                t, lt = _join(q, a1, la - 1, 0, 0, codes, values, top)
                return (t, lt) if even else _join(NEG, t, lt, 0, 0, codes, values, top)
            if (q == POW2 and qa == ROOT2) or (q == POW3 and qa == ROOT3) or (q == ROOT3 and qa == POW3):
                return a1, la - 1
            if q == ABS and (qa == ABS or qa == EXP or qa == POW2 or qa == ROOT2 or qa == COSH):
                return a, la
        elif q == EXP:
            if qa == LOG:
                return a1, la - 1
            if (qa == ADD or qa == SUB) and codes[a1] == FREE:
                s, ls = _constant(_scalar(EXP, values[a1], 0.0), codes, values, top)
                t, lt = a + 2, la - 2
                if qa == SUB:
                    t, lt = _join(NEG, t, lt, 0, 0, codes, values, top)
                t, lt = _join(EXP, t, lt, 0, 0, codes, values, top)
                return _join(MUL, s, ls, t, lt, codes, values, top)
        elif q == LOG:
            if qa == EXP:
                return a1, la - 1
            if scaled and c > 0.0:
                s, ls = _constant(math.log(c), codes, values, top)
                t, lt = _join(LOG, u, lu, 0, 0, codes, values, top)
                return _join(ADD if qa == MUL else SUB, s, ls, t, lt, codes, values, top)
            if qa == INV:
                t, lt = _join(LOG, a1, la - 1, 0, 0, codes, values, top)
                return _join(NEG, t, lt, 0, 0, codes, values, top)
            if qa == ROOT2:
                s, ls = _constant(0.5, codes, values, top)
                t, lt = _join(LOG, a1, la - 1, 0, 0, codes, values, top)
                return _join(MUL, s, ls, t, lt, codes, values, top)
        elif qa == NEG:
            if q == COS or q == COSH:
                return _join(q, a1, la - 1, 0, 0, codes, values, top)
            if q == SIN or q == TAN or q == TANH or q == ATAN or q == SINH or q == ASINH or q == ASIN or q == ATANH:
                t, lt = _join(q, a1, la - 1, 0, 0, codes, values, top)
                return _join(NEG, t, lt, 0, 0, codes, values, top)
        return _join(q, a, la, 0, 0, codes, values, top)

    if lb == 0:
        return 0, 0
    qb = codes[b]
    if qa == FREE and qb == FREE:
        return _constant(_scalar(q, values[a], values[b]), codes, values, top)
    # Each side taken apart: sums c + u, c - u; products c * u, c / u.
    sum_a = (qa == ADD or qa == SUB) and codes[a1] == FREE
    sum_b = (qb == ADD or qb == SUB) and codes[b1] == FREE
    product_a = (qa == MUL or qa == DIV) and codes[a1] == FREE
    product_b = (qb == MUL or qb == DIV) and codes[b1] == FREE
    if q == ADD:
        if qb == FREE:
            return _join(ADD, b, lb, a, la, codes, values, top)
        if qb == NEG:
            return _join(SUB, a, la, b1, lb - 1, codes, values, top)
        if qa == FREE:
            if sum_b:
                s, ls = _constant(values[a] + values[b1], codes, values, top)
                return _join(qb, s, ls, b + 2, lb - 2, codes, values, top)
            return _join(ADD, a, la, b, lb, codes, values, top)
        if qa == NEG:
            return _join(SUB, b, lb, a1, la - 1, codes, values, top)
        if sum_a:
            if qa == ADD:
                t, lt = _join(ADD, a + 2, la - 2, b, lb, codes, values, top)
            else:
                t, lt = _join(SUB, b, lb, a + 2, la - 2, codes, values, top)
            return _join(ADD, a1, 1, t, lt, codes, values, top)
        if sum_b:
            t, lt = _join(qb, a, la, b + 2, lb - 2, codes, values, top)
            return _join(ADD, b1, 1, t, lt, codes, values, top)
        order = _compare(a, la, b, lb, codes)
        if order == 0 and not product_a:
            s, ls = _constant(2.0, codes, values, top)
            return _join(MUL, s, ls, a, la, codes, values, top)
        if order > 0:
            return _join(ADD, b, lb, a, la, codes, values, top)
    elif q == SUB:
        if qb == FREE:
            s, ls = _constant(-values[b], codes, values, top)
            return _join(ADD, s, ls, a, la, codes, values, top)
        if qb == NEG:
            return _join(ADD, a, la, b1, lb - 1, codes, values, top)
        if qa == FREE:
            if sum_b:
                s, ls = _constant(values[a] - values[b1], codes, values, top)
                return _join(SUB if qb == ADD else ADD, s, ls, b + 2, lb - 2, codes, values, top)
            if product_b:  # c - d*u and c + d*u are one form
                t, lt = _join(NEG, b, lb, 0, 0, codes, values, top)
                return _join(ADD, a, la, t, lt, codes, values, top)
            return _join(SUB, a, la, b, lb, codes, values, top)
        if qa == NEG:
            t, lt = _join(ADD, a1, la - 1, b, lb, codes, values, top)
            return _join(NEG, t, lt, 0, 0, codes, values, top)
        if sum_a:
            t, lt = _join(SUB if qa == ADD else ADD, a + 2, la - 2, b, lb, codes, values, top)
            return _join(qa, a1, 1, t, lt, codes, values, top)
        if sum_b:
            s, ls = _constant(-values[b1], codes, values, top)
            t, lt = _join(SUB if qb == ADD else ADD, a, la, b + 2, lb - 2, codes, values, top)
            return _join(ADD, s, ls, t, lt, codes, values, top)
        if product_b:
            t, lt = _join(NEG, b, lb, 0, 0, codes, values, top)
            return _join(ADD, a, la, t, lt, codes, values, top)
        if _compare(a, la, b, lb, codes) == 0:
            return _constant(1e-3, codes, values, top)
    elif q == MUL:
        if qb == FREE:
            return _join(MUL, b, lb, a, la, codes, values, top)
        if qa == FREE:
            if product_b:
                s, ls = _constant(values[a] * values[b1], codes, values, top)
                return _join(qb, s, ls, b + 2, lb - 2, codes, values, top)
            if qb == NEG:
                s, ls = _constant(-values[a], codes, values, top)
                return _join(MUL, s, ls, b1, lb - 1, codes, values, top)
            if qb == INV:
                return _join(DIV, a, la, b1, lb - 1, codes, values, top)
            return _join(MUL, a, la, b, lb, codes, values, top)
        if qa == NEG or qb == NEG:
            t, lt = _join(MUL, a1 if qa == NEG else a, la - (qa == NEG), b1 if qb == NEG else b, lb - (qb == NEG), codes, values, top)
            return (t, lt) if qa == qb else _join(NEG, t, lt, 0, 0, codes, values, top)
        if product_a:
            if qa == MUL:
                t, lt = _join(MUL, a + 2, la - 2, b, lb, codes, values, top)
            else:
                t, lt = _join(DIV, b, lb, a + 2, la - 2, codes, values, top)
            return _join(MUL, a1, 1, t, lt, codes, values, top)
        if product_b:
            t, lt = _join(qb, a, la, b + 2, lb - 2, codes, values, top)
            return _join(MUL, b1, 1, t, lt, codes, values, top)
        if qa == INV:
            return _join(DIV, b, lb, a1, la - 1, codes, values, top)
        if qb == INV:
            return _join(DIV, a, la, b1, lb - 1, codes, values, top)
        if qa == DIV:
            m = _end(codes, a1)
            t, lt = _join(MUL, a1, m - a1, b, lb, codes, values, top)
            return _join(DIV, t, lt, m, a + la - m, codes, values, top)
        if qb == DIV:
            m = _end(codes, b1)
            t, lt = _join(MUL, a, la, b1, m - b1, codes, values, top)
            return _join(DIV, t, lt, m, b + lb - m, codes, values, top)
        order = _compare(a, la, b, lb, codes)
        if order == 0:
            return _join(POW2, a, la, 0, 0, codes, values, top)
        if POW2 <= qa < POW5 and _compare(a1, la - 1, b, lb, codes) == 0:
            return _join(qa + 1, b, lb, 0, 0, codes, values, top)
        if POW2 <= qb < POW5 and _compare(b1, lb - 1, a, la, codes) == 0:
            return _join(qb + 1, a, la, 0, 0, codes, values, top)
        if order > 0:
            return _join(MUL, b, lb, a, la, codes, values, top)
    elif q == DIV:
        if qb == FREE:
            s, ls = _constant(_scalar(INV, values[b], 0.0), codes, values, top)
            return _join(MUL, s, ls, a, la, codes, values, top)
        if qb == INV:
            return _join(MUL, a, la, b1, lb - 1, codes, values, top)
        if qb == DIV and not product_b:
            m = _end(codes, b1)
            t, lt = _join(MUL, a, la, m, b + lb - m, codes, values, top)
            return _join(DIV, t, lt, b1, m - b1, codes, values, top)
        if qa == FREE:
            if product_b:
                s, ls = _constant(_scalar(DIV, values[a], values[b1]), codes, values, top)
                return _join(DIV if qb == MUL else MUL, s, ls, b + 2, lb - 2, codes, values, top)
            if qb == NEG:
                s, ls = _constant(-values[a], codes, values, top)
                return _join(DIV, s, ls, b1, lb - 1, codes, values, top)
            return _join(DIV, a, la, b, lb, codes, values, top)
        if qa == NEG or qb == NEG:
            t, lt = _join(DIV, a1 if qa == NEG else a, la - (qa == NEG), b1 if qb == NEG else b, lb - (qb == NEG), codes, values, top)
            return (t, lt) if qa == qb else _join(NEG, t, lt, 0, 0, codes, values, top)
        if product_a:
            if qa == MUL:
                t, lt = _join(DIV, a + 2, la - 2, b, lb, codes, values, top)
                return _join(MUL, a1, 1, t, lt, codes, values, top)
            t, lt = _join(MUL, a + 2, la - 2, b, lb, codes, values, top)
            return _join(DIV, a1, 1, t, lt, codes, values, top)
        if product_b:
            s, ls = _constant(_scalar(INV, values[b1], 0.0), codes, values, top)
            t, lt = _join(DIV if qb == MUL else MUL, a, la, b + 2, lb - 2, codes, values, top)
            return _join(MUL, s, ls, t, lt, codes, values, top)
        if qa == DIV:
            m = _end(codes, a1)
            t, lt = _join(MUL, m, a + la - m, b, lb, codes, values, top)
            return _join(DIV, a1, m - a1, t, lt, codes, values, top)
        if qa == INV:
            t, lt = _join(MUL, a1, la - 1, b, lb, codes, values, top)
            return _join(INV, t, lt, 0, 0, codes, values, top)
        if _compare(a, la, b, lb, codes) == 0:
            return _constant(1.0, codes, values, top)
    return _join(q, a, la, b, lb, codes, values, top)


@njit(int64(I1, F1, int64, int64, I1, F1, I1, F1, I1, I1), **INNER)
def _canonical(g, w, L, most_terms, out, out_w, codes, values, top, stack):
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
                s, ls = _make(q, stack[2 * depth - 2], stack[2 * depth - 1], 0, 0, codes, values, top)
                depth -= 1
            else:
                s, ls = _make(q, stack[2 * depth - 2], stack[2 * depth - 1], stack[2 * depth - 4], stack[2 * depth - 3], codes, values, top)
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
            m = _end(codes, s + 1)
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
                s, ls = _join(INV, s + 2, ls - 2, 0, 0, codes, values, top)
                if ls == 0:
                    return 0
            # Insertion into the sorted list of terms found, kept at stack[2*(last-1-k)].
            k = 0
            order = 1
            while k < n_found:
                order = _compare(s, ls, stack[2 * (last - 1 - k)], stack[2 * (last - 1 - k) + 1], codes)
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


# ---- random changes ---------------------------------------------------------------------------


@njit(int64(K1, int64, float64, F1, F1, I1, I1, F1, int64, I1), **INNER)
def _grow(state, depth, p_constant, unary, binary, columns, g, w, size, stack):
    """Append a random tree of at most `depth` levels to g at `size`; returns the new size."""
    pending = 1
    stack[0] = depth
    while pending > 0 and size + pending < WIDTH:
        pending -= 1
        d = stack[pending]
        w[size] = 0.0
        if d <= 0 or _uniform(state) < 0.2:
            if _uniform(state) < p_constant:
                g[size], w[size] = FREE, 1.0 + 2.0 * (_uniform(state) - 0.5)
            else:
                g[size] = columns[_below(state, len(columns))]
        elif _uniform(state) < 0.35:
            g[size] = _pick(state, unary)
            stack[pending] = d - 1
            pending += 1
        else:
            g[size] = _pick(state, binary)
            stack[pending], stack[pending + 1] = d - 1, d - 1
            pending += 2
        size += 1
    return size if pending == 0 else 2 * WIDTH


@njit(int64(I1, F1, int64, int64, I1, F1, int64), **INNER)
def _append(g, w, first, stop, out, out_w, size):
    """Append g[first:stop] to out at `size`; returns the new size (beyond WIDTH: nothing was written)."""
    if size + stop - first > WIDTH:
        return 2 * WIDTH
    for i in range(first, stop):
        out[size], out_w[size] = g[i], w[i]
        size += 1
    return size


@njit(int64(int64, float64, I1, F1, int64), **INNER)
def _token(code, value, out, out_w, size):
    """Append one code; returns the new size."""
    if size >= WIDTH:
        return 2 * WIDTH
    out[size], out_w[size] = code, value
    return size + 1


@njit(int64(K1, I1, F1, int64, I1, F1, int64, F1, F1, F1, I1, I1, F1, I1), **INNER)
def _change(state, g, w, L, donor, donor_w, donor_L, kinds, unary, binary, columns, out, out_w, stack):
    """One random change of g[:L] into out; returns the new length, 0 when the change does not apply."""
    kind = _pick(state, kinds)
    p = _below(state, L)
    e = _end(g, p)
    if kind == 0:  # another leaf
        for _ in range(6):
            if g[p] >= LITERAL:
                break
            p = _below(state, L)
        e = _end(g, p)
        if e != p + 1:
            return 0
    elif kind == 4 or kind == 5:  # an operator goes, or becomes another
        for _ in range(6):
            if g[p] < LITERAL:
                break
            p = _below(state, L)
        if g[p] >= LITERAL:
            return 0
        e = _end(g, p)
    size = _append(g, w, 0, p, out, out_w, 0)
    if kind == 0:
        size = _grow(state, 0, 0.15, unary, binary, columns, out, out_w, size, stack)
    elif kind == 1:  # a binary operator above
        q = _pick(state, binary)
        first = _uniform(state) < 0.65
        depth = 0 if _uniform(state) < 0.6 else 2
        size = _token(q, 0.0, out, out_w, size)
        if first:
            size = _append(g, w, p, e, out, out_w, size)
        if _uniform(state) < 0.25:
            m = _below(state, donor_L)
            size = _append(donor, donor_w, m, _end(donor, m), out, out_w, size)
        elif size <= WIDTH:
            size = _grow(state, depth, 0.2, unary, binary, columns, out, out_w, size, stack)
        if not first:
            size = _append(g, w, p, e, out, out_w, size)
    elif kind == 2:  # a unary operator above
        size = _token(_pick(state, unary), 0.0, out, out_w, size)
        size = _append(g, w, p, e, out, out_w, size)
    elif kind == 3:  # a free factor or summand, neutral at first
        product = _uniform(state) < 0.6
        size = _token(MUL if product else ADD, 0.0, out, out_w, size)
        size = _token(FREE, 1.0 if product else 0.01, out, out_w, size)
        size = _append(g, w, p, e, out, out_w, size)
    elif kind == 4:
        a = p + 1
        if g[p] <= LAST_BINARY and _uniform(state) < 0.5:
            a = _end(g, p + 1)
        size = _append(g, w, a, _end(g, a), out, out_w, size)
    elif kind == 5:
        size = _token(_pick(state, binary) if g[p] <= LAST_BINARY else _pick(state, unary), 0.0, out, out_w, size)
        size = _append(g, w, p + 1, e, out, out_w, size)
    elif kind == 6:  # another subtree
        size = _grow(state, 2, 0.2, unary, binary, columns, out, out_w, size, stack)
    elif kind == 7:  # a subtree of another genome
        m = _below(state, donor_L)
        size = _append(donor, donor_w, m, _end(donor, m), out, out_w, size)
    elif kind == 8:  # operands change places
        if g[p] > LAST_BINARY:
            return 0
        m = _end(g, p + 1)
        size = _token(g[p], 0.0, out, out_w, size)
        size = _append(g, w, m, e, out, out_w, size)
        size = _append(g, w, p + 1, m, out, out_w, size)
    else:  # one column becomes another throughout the subtree
        old, new = columns[_below(state, len(columns))], columns[_below(state, len(columns))]
        start = size
        size = _append(g, w, p, e, out, out_w, size)
        if size <= WIDTH:
            for i in range(start, size):
                out[i] = new if out[i] == old else out[i]
    size = _append(g, w, e, L, out, out_w, size)
    return size if size <= WIDTH else 0


@njit(int64(I1, int64, int64, int64, K1), **INNER)
def _acceptable(g, L, longest, most_constants, table):
    """1 for a genome of fair size with a variable that was not met before."""
    if L == 0 or L > longest:
        return 0
    constants, columns = 0, 0
    for i in range(L):
        constants += g[i] == FREE
        columns += g[i] >= COLUMN
    if columns == 0 or constants > most_constants:
        return 0
    return 1 - _met_before(_hash(g, 0, L), table)


@njit(int64(K1, I2, F2, I1, int64, F1, F1, F1, I1, int64, int64, K1, I2, F2, I1), **JIT)
def breed(state, G, W, lengths, n, kinds, unary, binary, columns, longest, most_constants, table, out, out_w, out_lengths):
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
            size = _grow(state, 2 + _below(state, 3), 0.15, unary, binary, columns, a, aw, 0, stack)
            if size > WIDTH:
                continue
        else:
            i = min(_below(state, n), _below(state, n), _below(state, n))
            j = min(_below(state, n), _below(state, n))
            size = _change(state, G[i], W[i], lengths[i], G[j], W[j], lengths[j], kinds, unary, binary, columns, a, aw, stack)
            if size > 0 and _uniform(state) < 0.35:
                again = _change(state, a, aw, size, G[j], W[j], lengths[j], kinds, unary, binary, columns, b, bw, stack)
                if again > 0:
                    size = _append(b, bw, 0, again, a, aw, 0)
        if size == 0:
            continue
        size = _canonical(a, aw, size, MAX_TERMS, out[made], out_w[made], codes, values, top, stack)
        if _acceptable(out[made], size, longest, most_constants, table):
            out_lengths[made] = size
            made += 1
    return made


@njit(int64(I2, F2, I1, int64, int64, int64, K1), **JIT)
def canonical_rows(G, W, lengths, longest, most_constants, most_terms, table):
    """Bring genomes into canonical form in place; the new ones move to the front.  Returns how many those are."""
    codes, values, top = np.empty(ARENA, np.int64), np.empty(ARENA), np.zeros(1, np.int64)
    stack = np.empty(2 * WIDTH, np.int64)
    a, aw = np.empty(WIDTH, np.int64), np.empty(WIDTH)
    made = 0
    for i in range(len(lengths)):
        size = _canonical(G[i], W[i], lengths[i], most_terms, a, aw, codes, values, top, stack)
        if _acceptable(a, size, longest, most_constants, table):
            _append(a, aw, 0, size, G[made], W[made], 0)
            lengths[made] = size
            made += 1
    return made


# ---- genomes to programs ----------------------------------------------------------------------


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
        e = _end(g, i + 1) if more else L
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
    """Programs (see evaluate.py) of c0 + sum of scaled terms for genomes G[:n]; returns the positions used.

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


# ---- aimed changes ----------------------------------------------------------------------------


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
        i = _end(g, i + 1)
    out = _below(state, n_terms + 1) - 1 if n_terms > 1 else -1
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
                j = 0 if _uniform(state) < 0.5 else _below(state, len(best))
                if best[j] < 0:
                    continue
                size = _token(ADD, 0.0, a, aw, 0)
                size = _append(term_codes[best[j]], zero_w, 0, term_lengths[best[j]], a, aw, size)
                if gone < 0:
                    size = _append(g, w, 0, L, a, aw, size)
                else:
                    size = _append(g, w, 0, places[gone] - 1, a, aw, size)
                    size = _append(g, w, _end(g, places[gone]), L, a, aw, size)
                if size > WIDTH:
                    continue
                size = _canonical(a, aw, size, MAX_TERMS, out[made], out_w[made], codes, values, top, stack)
                if _acceptable(out[made], size, longest, most_constants, table):
                    out_lengths[made] = size
                    made += 1
                continue
            p = _below(state, L)
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
            mode = _below(state, 3) if p > 0 else 1 + _below(state, 2)
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
            j = 0 if _uniform(state) < 0.5 else _below(state, len(best))
            if best[j] < 0 or not (abs(scores[j, 1]) < 1e100 and abs(scores[j, 2]) < 1e100):
                continue
            e = _end(g, p)
            size = _append(g, w, 0, p, a, aw, 0)
            if mode > 0:
                size = _token(ADD if mode == 1 else MUL, 0.0, a, aw, size)
                size = _append(g, w, p, e, a, aw, size)
            if scores[j, 1] != 0.0:
                size = _token(ADD, 0.0, a, aw, size)
                size = _token(FREE, scores[j, 1], a, aw, size)
            if abs(scores[j, 2] - 1.0) > 1e-4:
                size = _token(MUL, 0.0, a, aw, size)
                size = _token(FREE, scores[j, 2], a, aw, size)
            size = _append(term_codes[best[j]], zero_w, 0, term_lengths[best[j]], a, aw, size)
            size = _append(g, w, e, L, a, aw, size)
            if size > WIDTH:
                continue
            size = _canonical(a, aw, size, MAX_TERMS, out[made], out_w[made], codes, values, top, stack)
            if _acceptable(out[made], size, longest, most_constants, table):
                out_lengths[made] = size
                made += 1
    return made
