"""One step towards the canonical form of a genome: a node over two operands, rewritten by the first rule that applies.

New nodes are built in an *arena*, codes (ARENA,) with values (ARENA,) beside them, filled from `top` upwards; a
segment of it is (start, length).
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numba.types import float64, int64

from fansr.expressions import (
    ABS,
    ACOS,
    ACOSH,
    ADD,
    ASIN,
    ASINH,
    ATAN,
    ATANH,
    COS,
    COSH,
    DIV,
    DIV2,
    EXP,
    F1,
    FREE,
    I1,
    INV,
    LAST_BINARY,
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
)
from fansr.proposers.local_search.genomes import ARENA, HUGE, INNER, SEGMENT, end


@njit(float64(int64, float64, float64), **INNER)
def scalar(q, a, b):
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
def constant(value, codes, values, top):
    """A new constant in the arena."""
    s = top[0]
    if s + 1 >= ARENA:
        return 0, 0
    codes[s], values[s] = FREE, value
    top[0] = s + 1
    return s, 1


@njit(SEGMENT(int64, int64, int64, int64, int64, I1, F1, I1), **INNER)
def join(q, a, la, b, lb, codes, values, top):
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
def compare(a, la, b, lb, codes):
    """Order of two segments: by length, then by codes; 0 when equal."""
    if la != lb:
        return -1 if la < lb else 1
    for i in range(la):
        if codes[a + i] != codes[b + i]:
            return -1 if codes[a + i] < codes[b + i] else 1
    return 0


@njit(SEGMENT(int64, int64, int64, int64, int64, I1, F1, I1), **INNER)
def make(q, a, la, b, lb, codes, values, top):
    """Node q over segments a and b (lb = 0: unary), rewritten by the first rule that applies.

    Constants are merged and moved up: out of products, quotients, powers and roots to a factor in front, out of
    sums to a summand in front, out of log and exp.  Double signs and inverses vanish; commuting operands are sorted.
    One step only: canonical repeats it until nothing changes (a recursive kernel would compile for minutes).
    """
    if la == 0:
        return 0, 0
    qa = codes[a]
    a1, b1 = a + 1, b + 1
    if q > LAST_BINARY:
        if qa == FREE:
            return constant(scalar(q, values[a], 0.0), codes, values, top)
        if q >= MULT2:
            factor = float(q - MULT2 + 2) if q <= MULT5 else 1.0 / float(q - DIV2 + 2)
            s, ls = constant(factor, codes, values, top)
            return join(MUL, s, ls, a, la, codes, values, top)
        # The operand's shape: c*u or c/u with the constant in front.
        scaled = (qa == MUL or qa == DIV) and codes[a1] == FREE
        u, lu = a + 2, la - 2
        c = values[a1] if scaled else 1.0
        if q == NEG:
            if qa == NEG:
                return a1, la - 1
            if qa == SUB:
                m = end(codes, a1)
                return join(SUB, m, a + la - m, a1, m - a1, codes, values, top)
            if scaled:
                s, ls = constant(-c, codes, values, top)
                return join(qa, s, ls, u, lu, codes, values, top)
        elif q == INV:
            if qa == INV:
                return a1, la - 1
            if qa == DIV:
                m = end(codes, a1)
                return join(DIV, m, a + la - m, a1, m - a1, codes, values, top)
            if scaled:
                s, ls = constant(1.0 / c, codes, values, top)
                return join(DIV, s, ls, u, lu, codes, values, top)
            if qa == NEG:
                s, ls = join(INV, a1, la - 1, 0, 0, codes, values, top)
                return join(NEG, s, ls, 0, 0, codes, values, top)
        elif POW2 <= q <= ROOT5 or q == ABS:
            even = q == ABS or (q - POW2) % 2 == 0 if q <= POW5 else (q - ROOT2) % 2 == 0
            if scaled and (c > 0.0 or q <= POW5 or not even):
                s, ls = constant(scalar(q, c, 0.0), codes, values, top)
                t, lt = join(q, u, lu, 0, 0, codes, values, top)
                return join(qa, s, ls, t, lt, codes, values, top)
            if qa == INV:
                t, lt = join(q, a1, la - 1, 0, 0, codes, values, top)
                return join(INV, t, lt, 0, 0, codes, values, top)
            if qa == NEG and (not even or q <= POW5):
                t, lt = join(q, a1, la - 1, 0, 0, codes, values, top)
                return (t, lt) if even else join(NEG, t, lt, 0, 0, codes, values, top)
            if (q == POW2 and qa == ROOT2) or (q == POW3 and qa == ROOT3) or (q == ROOT3 and qa == POW3):
                return a1, la - 1
            if q == ABS and (qa == ABS or qa == EXP or qa == POW2 or qa == ROOT2 or qa == COSH):
                return a, la
        elif q == EXP:
            if qa == LOG:
                return a1, la - 1
            if (qa == ADD or qa == SUB) and codes[a1] == FREE:
                s, ls = constant(scalar(EXP, values[a1], 0.0), codes, values, top)
                t, lt = a + 2, la - 2
                if qa == SUB:
                    t, lt = join(NEG, t, lt, 0, 0, codes, values, top)
                t, lt = join(EXP, t, lt, 0, 0, codes, values, top)
                return join(MUL, s, ls, t, lt, codes, values, top)
        elif q == LOG:
            if qa == EXP:
                return a1, la - 1
            if scaled and c > 0.0:
                s, ls = constant(math.log(c), codes, values, top)
                t, lt = join(LOG, u, lu, 0, 0, codes, values, top)
                return join(ADD if qa == MUL else SUB, s, ls, t, lt, codes, values, top)
            if qa == INV:
                t, lt = join(LOG, a1, la - 1, 0, 0, codes, values, top)
                return join(NEG, t, lt, 0, 0, codes, values, top)
            if qa == ROOT2:
                s, ls = constant(0.5, codes, values, top)
                t, lt = join(LOG, a1, la - 1, 0, 0, codes, values, top)
                return join(MUL, s, ls, t, lt, codes, values, top)
        elif qa == NEG:
            if q == COS or q == COSH:
                return join(q, a1, la - 1, 0, 0, codes, values, top)
            if q == SIN or q == TAN or q == TANH or q == ATAN or q == SINH or q == ASINH or q == ASIN or q == ATANH:
                t, lt = join(q, a1, la - 1, 0, 0, codes, values, top)
                return join(NEG, t, lt, 0, 0, codes, values, top)
        return join(q, a, la, 0, 0, codes, values, top)

    if lb == 0:
        return 0, 0
    qb = codes[b]
    if qa == FREE and qb == FREE:
        return constant(scalar(q, values[a], values[b]), codes, values, top)
    # Each side taken apart: sums c + u, c - u; products c * u, c / u.
    sum_a = (qa == ADD or qa == SUB) and codes[a1] == FREE
    sum_b = (qb == ADD or qb == SUB) and codes[b1] == FREE
    product_a = (qa == MUL or qa == DIV) and codes[a1] == FREE
    product_b = (qb == MUL or qb == DIV) and codes[b1] == FREE
    if q == ADD:
        if qb == FREE:
            return join(ADD, b, lb, a, la, codes, values, top)
        if qb == NEG:
            return join(SUB, a, la, b1, lb - 1, codes, values, top)
        if qa == FREE:
            if sum_b:
                s, ls = constant(values[a] + values[b1], codes, values, top)
                return join(qb, s, ls, b + 2, lb - 2, codes, values, top)
            return join(ADD, a, la, b, lb, codes, values, top)
        if qa == NEG:
            return join(SUB, b, lb, a1, la - 1, codes, values, top)
        if sum_a:
            if qa == ADD:
                t, lt = join(ADD, a + 2, la - 2, b, lb, codes, values, top)
            else:
                t, lt = join(SUB, b, lb, a + 2, la - 2, codes, values, top)
            return join(ADD, a1, 1, t, lt, codes, values, top)
        if sum_b:
            t, lt = join(qb, a, la, b + 2, lb - 2, codes, values, top)
            return join(ADD, b1, 1, t, lt, codes, values, top)
        order = compare(a, la, b, lb, codes)
        if order == 0 and not product_a:
            s, ls = constant(2.0, codes, values, top)
            return join(MUL, s, ls, a, la, codes, values, top)
        if order > 0:
            return join(ADD, b, lb, a, la, codes, values, top)
    elif q == SUB:
        if qb == FREE:
            s, ls = constant(-values[b], codes, values, top)
            return join(ADD, s, ls, a, la, codes, values, top)
        if qb == NEG:
            return join(ADD, a, la, b1, lb - 1, codes, values, top)
        if qa == FREE:
            if sum_b:
                s, ls = constant(values[a] - values[b1], codes, values, top)
                return join(SUB if qb == ADD else ADD, s, ls, b + 2, lb - 2, codes, values, top)
            if product_b:  # c - d*u and c + d*u are one form
                t, lt = join(NEG, b, lb, 0, 0, codes, values, top)
                return join(ADD, a, la, t, lt, codes, values, top)
            return join(SUB, a, la, b, lb, codes, values, top)
        if qa == NEG:
            t, lt = join(ADD, a1, la - 1, b, lb, codes, values, top)
            return join(NEG, t, lt, 0, 0, codes, values, top)
        if sum_a:
            t, lt = join(SUB if qa == ADD else ADD, a + 2, la - 2, b, lb, codes, values, top)
            return join(qa, a1, 1, t, lt, codes, values, top)
        if sum_b:
            s, ls = constant(-values[b1], codes, values, top)
            t, lt = join(SUB if qb == ADD else ADD, a, la, b + 2, lb - 2, codes, values, top)
            return join(ADD, s, ls, t, lt, codes, values, top)
        if product_b:
            t, lt = join(NEG, b, lb, 0, 0, codes, values, top)
            return join(ADD, a, la, t, lt, codes, values, top)
        if compare(a, la, b, lb, codes) == 0:
            return constant(1e-3, codes, values, top)
    elif q == MUL:
        if qb == FREE:
            return join(MUL, b, lb, a, la, codes, values, top)
        if qa == FREE:
            if product_b:
                s, ls = constant(values[a] * values[b1], codes, values, top)
                return join(qb, s, ls, b + 2, lb - 2, codes, values, top)
            if qb == NEG:
                s, ls = constant(-values[a], codes, values, top)
                return join(MUL, s, ls, b1, lb - 1, codes, values, top)
            if qb == INV:
                return join(DIV, a, la, b1, lb - 1, codes, values, top)
            return join(MUL, a, la, b, lb, codes, values, top)
        if qa == NEG or qb == NEG:
            t, lt = join(
                MUL,
                a1 if qa == NEG else a,
                la - (qa == NEG),
                b1 if qb == NEG else b,
                lb - (qb == NEG),
                codes,
                values,
                top,
            )
            return (t, lt) if qa == qb else join(NEG, t, lt, 0, 0, codes, values, top)
        if product_a:
            if qa == MUL:
                t, lt = join(MUL, a + 2, la - 2, b, lb, codes, values, top)
            else:
                t, lt = join(DIV, b, lb, a + 2, la - 2, codes, values, top)
            return join(MUL, a1, 1, t, lt, codes, values, top)
        if product_b:
            t, lt = join(qb, a, la, b + 2, lb - 2, codes, values, top)
            return join(MUL, b1, 1, t, lt, codes, values, top)
        if qa == INV:
            return join(DIV, b, lb, a1, la - 1, codes, values, top)
        if qb == INV:
            return join(DIV, a, la, b1, lb - 1, codes, values, top)
        if qa == DIV:
            m = end(codes, a1)
            t, lt = join(MUL, a1, m - a1, b, lb, codes, values, top)
            return join(DIV, t, lt, m, a + la - m, codes, values, top)
        if qb == DIV:
            m = end(codes, b1)
            t, lt = join(MUL, a, la, b1, m - b1, codes, values, top)
            return join(DIV, t, lt, m, b + lb - m, codes, values, top)
        order = compare(a, la, b, lb, codes)
        if order == 0:
            return join(POW2, a, la, 0, 0, codes, values, top)
        if POW2 <= qa < POW5 and compare(a1, la - 1, b, lb, codes) == 0:
            return join(qa + 1, b, lb, 0, 0, codes, values, top)
        if POW2 <= qb < POW5 and compare(b1, lb - 1, a, la, codes) == 0:
            return join(qb + 1, a, la, 0, 0, codes, values, top)
        if order > 0:
            return join(MUL, b, lb, a, la, codes, values, top)
    elif q == DIV:
        if qb == FREE:
            s, ls = constant(scalar(INV, values[b], 0.0), codes, values, top)
            return join(MUL, s, ls, a, la, codes, values, top)
        if qb == INV:
            return join(MUL, a, la, b1, lb - 1, codes, values, top)
        if qb == DIV and not product_b:
            m = end(codes, b1)
            t, lt = join(MUL, a, la, m, b + lb - m, codes, values, top)
            return join(DIV, t, lt, b1, m - b1, codes, values, top)
        if qa == FREE:
            if product_b:
                s, ls = constant(scalar(DIV, values[a], values[b1]), codes, values, top)
                return join(DIV if qb == MUL else MUL, s, ls, b + 2, lb - 2, codes, values, top)
            if qb == NEG:
                s, ls = constant(-values[a], codes, values, top)
                return join(DIV, s, ls, b1, lb - 1, codes, values, top)
            return join(DIV, a, la, b, lb, codes, values, top)
        if qa == NEG or qb == NEG:
            t, lt = join(
                DIV,
                a1 if qa == NEG else a,
                la - (qa == NEG),
                b1 if qb == NEG else b,
                lb - (qb == NEG),
                codes,
                values,
                top,
            )
            return (t, lt) if qa == qb else join(NEG, t, lt, 0, 0, codes, values, top)
        if product_a:
            if qa == MUL:
                t, lt = join(DIV, a + 2, la - 2, b, lb, codes, values, top)
                return join(MUL, a1, 1, t, lt, codes, values, top)
            t, lt = join(MUL, a + 2, la - 2, b, lb, codes, values, top)
            return join(DIV, a1, 1, t, lt, codes, values, top)
        if product_b:
            s, ls = constant(scalar(INV, values[b1], 0.0), codes, values, top)
            t, lt = join(DIV if qb == MUL else MUL, a, la, b + 2, lb - 2, codes, values, top)
            return join(MUL, s, ls, t, lt, codes, values, top)
        if qa == DIV:
            m = end(codes, a1)
            t, lt = join(MUL, m, a + la - m, b, lb, codes, values, top)
            return join(DIV, a1, m - a1, t, lt, codes, values, top)
        if qa == INV:
            t, lt = join(MUL, a1, la - 1, b, lb, codes, values, top)
            return join(INV, t, lt, 0, 0, codes, values, top)
        if compare(a, la, b, lb, codes) == 0:
            return constant(1.0, codes, values, top)
    return join(q, a, la, b, lb, codes, values, top)
