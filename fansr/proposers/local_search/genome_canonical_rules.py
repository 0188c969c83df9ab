"""One step towards the canonical form of a genome: a node over two operands, rewritten by the first rule that applies.

New nodes are built in an *arena* (genomes.Arena), filled from `top` upwards; a segment of it is (start, length).

simplification/ brings prefix expressions to a normal form too, by mined rules and by algebra that keeps every value where
it is defined.  Here equal means as good to the local search, whose constants are fitted anew: c*u and u are one, so are
sqrt(c*u) and sqrt(u), constants are merged whatever their values, and x - x may become a small constant.  Those rules
would be wrong there, and its engine (a millisecond an expression) would be a thousand times too slow here.
"""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import compilation as nb, opcodes as op
from fansr.proposers.local_search.genomes import ARENA, ARENA_TYPE, HUGE, SEGMENT, end

NOTHING = (0, 0)  # the segment of a missing operand, or of what had no room in the arena


@nb.inner
def scalar(q, a, b):
    """Value of operator q on constants; 1 where it is not finite (it is only a start for the fit)."""
    v = 1.0
    if q == op.ADD:
        v = a + b
    elif q == op.SUB:
        v = a - b
    elif q == op.MUL:
        v = a * b
    elif q == op.DIV:
        v = a / b
    elif q == op.POW:
        v = a**b
    elif q == op.ABS:
        v = abs(a)
    elif q == op.INV:
        v = 1.0 / a
    elif q == op.NEG:
        v = -a
    elif q <= op.POW5:
        v = a ** float(q - op.POW2 + 2)
    elif q <= op.ROOT5:
        v = math.copysign(abs(a) ** (1.0 / float(q - op.ROOT2 + 2)), a)
    elif q == op.SIN:
        v = math.sin(a)
    elif q == op.COS:
        v = math.cos(a)
    elif q == op.TAN:
        v = math.tan(a)
    elif q == op.ASIN:
        v = math.asin(a)
    elif q == op.ACOS:
        v = math.acos(a)
    elif q == op.ATAN:
        v = math.atan(a)
    elif q == op.SINH:
        v = math.sinh(a)
    elif q == op.COSH:
        v = math.cosh(a)
    elif q == op.TANH:
        v = math.tanh(a)
    elif q == op.ASINH:
        v = math.asinh(a)
    elif q == op.ACOSH:
        v = math.acosh(a)
    elif q == op.ATANH:
        v = math.atanh(a)
    elif q == op.EXP:
        v = math.exp(a)
    elif q == op.LOG:
        v = np.log(a)
    elif op.MULT2 <= q <= op.MULT5:
        v = a * float(q - op.MULT2 + 2)
    elif q >= op.DIV2:
        v = a / float(q - op.DIV2 + 2)
    return v if abs(v) < HUGE and v != 0.0 else 1.0


# ---- segments ---------------------------------------------------------------------------------


@nb.inner
def constant(value, arena):
    """A new constant in the arena."""
    s = arena.top[0]
    if s + 1 >= ARENA:
        return NOTHING
    arena.codes[s], arena.values[s] = op.FREE, value
    arena.top[0] = s + 1
    return (s, 1)


@nb.shared(SEGMENT(nb.int64, SEGMENT, SEGMENT, ARENA_TYPE))
def join(q, a, b, arena):
    """A node q over segments a and b (NOTHING: unary), as it stands; NOTHING without room or operands.

    Where q and its operands stand in the arena already, one behind the other, that is the node: most are as they were.
    """
    codes, values, s = arena.codes, arena.values, arena.top[0]
    if a[0] > 0 and a[1] > 0 and codes[a[0] - 1] == q and (q > op.LAST_BINARY or (b[1] > 0 and b[0] == a[0] + a[1])):
        return (a[0] - 1, 1 + a[1] + b[1])
    if s + 1 + a[1] + b[1] >= ARENA or a[1] == 0 or (q <= op.LAST_BINARY and b[1] == 0):
        return NOTHING
    codes[s], values[s] = q, 0.0
    at = s + 1
    for part in (a, b):
        for i in range(part[0], part[0] + part[1]):
            codes[at], values[at] = codes[i], values[i]
            at += 1
    arena.top[0] = at
    return (s, at - s)


@nb.inner
def unary(q, a, arena):
    """A new node q over segment a, as it stands."""
    return join(q, a, NOTHING, arena)


@nb.inner
def operand(a):
    """The operand of a unary node."""
    return (a[0] + 1, a[1] - 1)


@nb.inner
def front(a):
    """The first operand of a binary node, a constant."""
    return (a[0] + 1, 1)


@nb.inner
def behind(a):
    """The second operand of a binary node whose first is a constant."""
    return (a[0] + 2, a[1] - 2)


@nb.inner
def operands(a, codes):
    """Both operands of a binary node."""
    m = end(codes, a[0] + 1)
    return (a[0] + 1, m - a[0] - 1), (m, a[0] + a[1] - m)


@nb.inner
def compare(a, b, codes):
    """Order of two segments: by length, then by codes; 0 when equal."""
    if a[1] != b[1]:
        return -1 if a[1] < b[1] else 1
    for i in range(a[1]):
        if codes[a[0] + i] != codes[b[0] + i]:
            return -1 if codes[a[0] + i] < codes[b[0] + i] else 1
    return 0


# ---- rules ------------------------------------------------------------------------------------


@nb.shared(SEGMENT(nb.int64, SEGMENT, ARENA_TYPE))
def _unary_step(q, a, arena):
    """Node q over one operand that is no constant."""
    codes, qa, below = arena.codes, arena.codes[a[0]], operand(a)
    if q >= op.MULT2:
        factor = float(q - op.MULT2 + 2) if q <= op.MULT5 else 1.0 / float(q - op.DIV2 + 2)
        return join(op.MUL, constant(factor, arena), a, arena)
    # The operand's shape: c*u or c/u with the constant in front.
    scaled = (qa == op.MUL or qa == op.DIV) and codes[a[0] + 1] == op.FREE
    u = behind(a)
    c = arena.values[a[0] + 1] if scaled else 1.0
    if q == op.NEG:
        if qa == op.NEG:
            return below
        if qa == op.SUB:
            first, second = operands(a, codes)
            return join(op.SUB, second, first, arena)
        if scaled:
            return join(qa, constant(-c, arena), u, arena)
    elif q == op.INV:
        if qa == op.INV:
            return below
        if qa == op.DIV:
            first, second = operands(a, codes)
            return join(op.DIV, second, first, arena)
        if scaled:
            return join(op.DIV, constant(1.0 / c, arena), u, arena)
        if qa == op.NEG:
            return unary(op.NEG, unary(op.INV, below, arena), arena)
    elif op.POW2 <= q <= op.ROOT5 or q == op.ABS:
        even = q == op.ABS or (q - op.POW2) % 2 == 0 if q <= op.POW5 else (q - op.ROOT2) % 2 == 0
        if scaled and (c > 0.0 or q <= op.POW5 or not even):
            return join(qa, constant(scalar(q, c, 0.0), arena), unary(q, u, arena), arena)
        if qa == op.INV:
            return unary(op.INV, unary(q, below, arena), arena)
        if qa == op.NEG and (not even or q <= op.POW5):
            t = unary(q, below, arena)
            return t if even else unary(op.NEG, t, arena)
        if (q == op.POW2 and qa == op.ROOT2) or (q == op.POW3 and qa == op.ROOT3) or (q == op.ROOT3 and qa == op.POW3):
            return below
        if q == op.ABS and (qa == op.ABS or qa == op.EXP or qa == op.POW2 or qa == op.ROOT2 or qa == op.COSH):
            return a
    elif q == op.EXP:
        if qa == op.LOG:
            return below
        if (qa == op.ADD or qa == op.SUB) and codes[a[0] + 1] == op.FREE:
            s = constant(scalar(op.EXP, arena.values[a[0] + 1], 0.0), arena)
            t = unary(op.NEG, u, arena) if qa == op.SUB else u
            return join(op.MUL, s, unary(op.EXP, t, arena), arena)
    elif q == op.LOG:
        if qa == op.EXP:
            return below
        if scaled and c > 0.0:
            return join(
                op.ADD if qa == op.MUL else op.SUB, constant(math.log(c), arena), unary(op.LOG, u, arena), arena
            )
        if qa == op.INV:
            return unary(op.NEG, unary(op.LOG, below, arena), arena)
        if qa == op.ROOT2:
            return join(op.MUL, constant(0.5, arena), unary(op.LOG, below, arena), arena)
    elif qa == op.NEG:
        if q == op.COS or q == op.COSH:
            return unary(q, below, arena)
        if q != op.ACOS and q != op.ACOSH:  # the odd functions
            return unary(op.NEG, unary(q, below, arena), arena)
    return unary(q, a, arena)


@nb.inner
def _without_signs(q, a, b, arena):
    """A product or quotient of which at least one side is neg u."""
    negative_a, negative_b = arena.codes[a[0]] == op.NEG, arena.codes[b[0]] == op.NEG
    t = join(q, operand(a) if negative_a else a, operand(b) if negative_b else b, arena)
    return t if negative_a and negative_b else unary(op.NEG, t, arena)


# Sums and products follow the same rules: + is to - and neg as * is to / and inv.


@nb.shared(SEGMENT(nb.int64, SEGMENT, SEGMENT, ARENA_TYPE))
def _commuting_step(q, a, b, arena):
    """a + b or a * b, not both constant."""
    codes, values = arena.codes, arena.values
    qa, qb = codes[a[0]], codes[b[0]]
    product, other = q == op.MUL, op.DIV if q == op.MUL else op.SUB
    # Each side taken apart: c + u, c - u; c * u, c / u.
    parted_a = (qa == q or qa == other) and codes[a[0] + 1] == op.FREE
    parted_b = (qb == q or qb == other) and codes[b[0] + 1] == op.FREE
    if qb == op.FREE:
        return join(q, b, a, arena)
    if not product and qb == op.NEG:
        return join(op.SUB, a, operand(b), arena)
    if qa == op.FREE:
        u, v = values[a[0]], values[b[0] + 1]
        if parted_b:
            return join(qb, constant(u * v if product else u + v, arena), behind(b), arena)
        if qb == op.NEG:
            return join(op.MUL, constant(-u, arena), operand(b), arena)
        if product and qb == op.INV:
            return join(op.DIV, a, operand(b), arena)
        return join(q, a, b, arena)
    if not product and qa == op.NEG:
        return join(op.SUB, b, operand(a), arena)
    if product and (qa == op.NEG or qb == op.NEG):
        return _without_signs(q, a, b, arena)
    if parted_a:
        t = join(q, behind(a), b, arena) if qa == q else join(other, b, behind(a), arena)
        return join(q, front(a), t, arena)
    if parted_b:
        return join(q, front(b), join(qb, a, behind(b), arena), arena)
    if product:
        if qa == op.INV:
            return join(op.DIV, b, operand(a), arena)
        if qb == op.INV:
            return join(op.DIV, a, operand(b), arena)
        if qa == op.DIV:
            first, second = operands(a, codes)
            return join(op.DIV, join(op.MUL, first, b, arena), second, arena)
        if qb == op.DIV:
            first, second = operands(b, codes)
            return join(op.DIV, join(op.MUL, a, first, arena), second, arena)
        if op.POW2 <= qa < op.POW5 and compare(operand(a), b, codes) == 0:
            return unary(qa + 1, b, arena)
        if op.POW2 <= qb < op.POW5 and compare(operand(b), a, codes) == 0:
            return unary(qb + 1, a, arena)
    order = compare(a, b, codes)
    if order == 0 and product:
        return unary(op.POW2, a, arena)
    if order == 0 and not ((qa == op.MUL or qa == op.DIV) and codes[a[0] + 1] == op.FREE):
        return join(op.MUL, constant(2.0, arena), a, arena)
    return join(q, b, a, arena) if order > 0 else join(q, a, b, arena)


@nb.shared(SEGMENT(nb.int64, SEGMENT, SEGMENT, ARENA_TYPE))
def _opposing_step(q, a, b, arena):
    """a - b or a / b, not both constant."""
    codes, values = arena.codes, arena.values
    qa, qb = codes[a[0]], codes[b[0]]
    quotient, other, opposite = q == op.DIV, op.MUL if q == op.DIV else op.ADD, op.INV if q == op.DIV else op.NEG
    parted_a = (qa == q or qa == other) and codes[a[0] + 1] == op.FREE
    parted_b = (qb == q or qb == other) and codes[b[0] + 1] == op.FREE
    factor_b = (qb == op.MUL or qb == op.DIV) and codes[b[0] + 1] == op.FREE
    flipped_a, flipped_b = q if qa == other else other, q if qb == other else other
    v = values[b[0]] if qb == op.FREE else values[b[0] + 1]  # read where b is a constant or has one in front
    away = scalar(op.INV, v, 0.0) if quotient else -v
    if qb == op.FREE:
        return join(other, constant(away, arena), a, arena)
    if qb == opposite:
        return join(other, a, operand(b), arena)
    if quotient and qb == op.DIV and not parted_b:
        first, second = operands(b, codes)
        return join(op.DIV, join(op.MUL, a, second, arena), first, arena)
    if qa == op.FREE:
        u = values[a[0]]
        if parted_b:
            return join(flipped_b, constant(scalar(op.DIV, u, v) if quotient else u - v, arena), behind(b), arena)
        if quotient and qb == op.NEG:
            return join(op.DIV, constant(-u, arena), operand(b), arena)
        if not quotient and factor_b:  # c - d*u and c + d*u are one form
            return join(op.ADD, a, unary(op.NEG, b, arena), arena)
        return join(q, a, b, arena)
    if quotient and (qa == op.NEG or qb == op.NEG):
        return _without_signs(q, a, b, arena)
    if not quotient and qa == op.NEG:
        return unary(op.NEG, join(op.ADD, operand(a), b, arena), arena)
    if parted_a:
        return join(qa, front(a), join(flipped_a, behind(a), b, arena), arena)
    if parted_b:
        return join(other, constant(away, arena), join(flipped_b, a, behind(b), arena), arena)
    if quotient and qa == op.DIV:
        first, second = operands(a, codes)
        return join(op.DIV, first, join(op.MUL, second, b, arena), arena)
    if quotient and qa == op.INV:
        return unary(op.INV, join(op.MUL, operand(a), b, arena), arena)
    if not quotient and factor_b:
        return join(op.ADD, a, unary(op.NEG, b, arena), arena)
    if compare(a, b, codes) == 0:
        return constant(1.0 if quotient else 1e-3, arena)
    return join(q, a, b, arena)


@nb.inner
def make(q, a, b, arena):
    """Node q over segments a and b (NOTHING: unary), rewritten by the first rule that applies; NOTHING without operands.

    Constants are merged and moved up: out of products, quotients, powers and roots to a factor in front, out of
    sums to a summand in front, out of log and exp.  Double signs and inverses vanish; commuting operands are sorted.
    One step only: canonical repeats it until nothing changes (a recursive kernel would compile for minutes).
    """
    binary = q <= op.LAST_BINARY
    if a[1] == 0 or (binary and b[1] == 0):
        return NOTHING
    if arena.codes[a[0]] == op.FREE and (not binary or arena.codes[b[0]] == op.FREE):
        return constant(scalar(q, arena.values[a[0]], arena.values[b[0]] if binary else 0.0), arena)
    if not binary:
        return _unary_step(q, a, arena)
    if q == op.ADD or q == op.MUL:
        return _commuting_step(q, a, b, arena)
    if q == op.SUB or q == op.DIV:
        return _opposing_step(q, a, b, arena)
    return join(q, a, b, arena)
