"""Which constants of a program enter it linearly, starts to scale for those that do not, and its outside taken off.

A candidate is a program in the arrays of programs.py.  These and the kernels of variable_projection.py and levenberg_marquardt.py are the refiner's; they are
kept apart from refiner.py so that only a change of them recompiles them.
"""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import TAPE, compilation as nb, forward, opcodes as op

MAX_CONSTANTS = 32  # candidates with more are not fitted (their FVU is infinite)
HUGE = 1.7e308  # anything not below it is infinite or NaN

# Bits of a position's state: no free constant below it; a linear one; a curved (not linear) one.
STATIC, LINEAR, CURVED = 1, 2, 4
DYNAMIC = LINEAR | CURVED

# What a linear constant c multiplies in a sum of such terms: nothing, u (c * u), the inverse of u (c / u).
ALONE, FACTOR, OVER = 0, 1, 2


@nb.shared(nb.int64(TAPE, nb.int64, nb.int64, nb.I1, nb.I1), python=True)
def split(tape, first, stop, linear, where):
    """Choose a set of constants the subtree at `first` is jointly affine in; fill the tape's state, linear and where.

    linear[j] is 1 for the chosen, where[j] is constant j's position.  Returns how many constants are curved.
    """
    codes, link, state = tape.op, tape.link, tape.state
    # gain[k]: how many constants could be linear below k if k itself enters linearly.  Kept in `state` first.
    for k in range(stop - 1, first - 1, -1):
        q = codes[k]
        gain = 0
        if q == op.FREE:
            gain = 1
        elif q <= op.SUB:
            gain = state[k + 1] + state[link[k]]
        elif q == op.MUL:
            gain = max(state[k + 1], state[link[k]])
        elif q == op.DIV or q == op.NEG or (op.MULT2 <= q <= op.DIV5):
            gain = state[k + 1]
        state[k] = gain
    # From the top: the sign bit of the gain marks a position that is not reached linearly.
    n_curved = 0
    for k in range(first, stop):
        q = codes[k]
        curved = state[k] < 0 and k > first
        if q == op.FREE:
            linear[link[k]] = 0 if curved else 1
            where[link[k]] = k
            n_curved += curved
        if q >= op.LITERAL:
            continue
        curved_1 = curved
        if q <= op.LAST_BINARY:
            r = link[k]
            curved_2 = curved
            if q == op.MUL:
                # On a tie the bare constant is the linear one.
                if state[r] > state[k + 1] or (state[r] == state[k + 1] and codes[r] == op.FREE):
                    curved_1 = True
                else:
                    curved_2 = True
            elif q > op.SUB:
                curved_2 = True
                curved_1 = curved or q > op.DIV
            if curved_2:
                state[r] = -1
        elif q >= op.MIN and q <= op.MOD:
            state[link[k]] = -1
            curved_1 = True
        elif not (q == op.NEG or (op.MULT2 <= q <= op.DIV5)):
            curved_1 = True
        if curved_1:
            state[k + 1] = -1
    for k in range(stop - 1, first - 1, -1):
        q = codes[k]
        if q == op.FREE:
            state[k] = LINEAR if linear[link[k]] else CURVED
        elif q == op.COPY:
            state[k] = state[link[k]]
        elif q >= op.LITERAL:
            state[k] = STATIC
        else:
            binary = q <= op.LAST_BINARY or (q >= op.MIN and q <= op.MOD)
            bits = state[k + 1] | (state[link[k]] if binary else 0)
            state[k] = bits & DYNAMIC if bits & DYNAMIC else STATIC
    return n_curved


@nb.shared(nb.void(TAPE, nb.int64, nb.int64, nb.I1, nb.I1), python=True)
def plain_sum(tape, first, stop, linear, terms):
    """Where the subtree at `first` is a sum of terms c, c * u, u * c and c / u, each with its own linear constant: those terms.

    terms[3*j : 3*j+3] of a linear constant j: ALONE, FACTOR or OVER, and where u begins and ends.  terms[0] is -1 for what is no
    such sum.  In one neither its values nor their derivatives by linear constants take a walk over the sums and products.
    """
    codes, link = tape.op, tape.link
    terms[0] = -2
    left, k = 1, first
    while left > 0:
        q = codes[k]
        left -= 1
        kind, c, begin, end = ALONE, k, k, k
        if q == op.ADD:
            left += 2
            k += 1
            continue
        if q == op.MUL and codes[link[k]] == op.FREE and linear[link[link[k]]] == 1:
            kind, c, begin, end = FACTOR, link[k], k + 1, link[k]
        elif q == op.MUL or q == op.DIV:
            kind, c, begin = FACTOR if q == op.MUL else OVER, k + 1, link[k]
            end, open_slots = begin, 1
            while open_slots > 0:
                p = codes[end]
                open_slots += -1 if p >= op.LITERAL else (1 if p <= op.LAST_BINARY or op.MIN <= p <= op.MOD else 0)
                end += 1
        if codes[c] != op.FREE or linear[link[c]] == 0:
            terms[0] = -1
            return
        j = 3 * link[c]
        terms[j], terms[j + 1], terms[j + 2] = kind, begin, end
        k = max(c + 1, end)
    for k in range(first, stop):
        if codes[k] == op.COPY:
            terms[0] = -1
    if terms[0] == -2 and linear[0] == 0:
        terms[0] = ALONE


@nb.shared(nb.void(TAPE, nb.F2, nb.F1, nb.int64))
def scale_start(tape, X, c, n):
    """Turn unit draws in c (in place) into scale-aware ones, operands before operators; V's static rows are filled."""
    codes, link, state, V = tape.op, tape.link, tape.state, tape.V
    for k in range(len(codes) - 1, -1, -1):
        q = codes[k]
        if state[k] & DYNAMIC == 0:
            continue
        if q <= op.DIV:
            for side in range(2):
                a = k + 1 if side == 0 else link[k]
                b = link[k] if side == 0 else k + 1
                if codes[a] != op.FREE or codes[b] == op.FREE:
                    continue
                total, count = 0.0, 0
                sibling = V[b]
                for i in range(n):
                    size = abs(sibling[i])
                    if 0.0 < size < HUGE:
                        total += math.log(size)
                        count += 1
                if count > 0:
                    size = math.exp(total / count)
                    j = link[a]
                    c[j] = c[j] / size if q == op.MUL else c[j] * size
                    forward(tape, a, a + 1, DYNAMIC, X, 0, c, n)
        forward(tape, k, k + 1, DYNAMIC, X, 0, c, n)


@nb.shared(nb.int64(TAPE, nb.F1, nb.F1, nb.int64))
def unwrap(tape, target, sw, n):
    """Undo the root's invertible operators: returns the position p whose values must then equal `target`.

    target and sw (the residual weights) are changed in place from those of the root; sw by the slope of what was
    taken off, so that to first order the weighted residuals stay the same.  Points that cannot be undone get
    weight 0; with more than half of them lost the answer is 0, as when nothing can be taken off.
    """
    codes, link, state, V = tape.op, tape.link, tape.state, tape.V
    p = 0
    while True:
        q = codes[p]
        if q >= op.LITERAL:
            break
        if q > op.DIV5:
            break
        if q <= op.LAST_BINARY:
            if q > op.DIV or (state[p + 1] & DYNAMIC != 0 and state[link[p]] & DYNAMIC != 0):
                break
            left = state[p + 1] & DYNAMIC != 0
            s = V[link[p]] if left else V[p + 1]
            for i in range(n):
                t = target[i]
                if q == op.ADD:
                    target[i] = t - s[i]
                elif q == op.SUB:
                    target[i] = t + s[i] if left else s[i] - t
                elif q == op.MUL:
                    target[i] = t / s[i]
                    sw[i] *= abs(s[i])
                elif left:
                    target[i] = t * s[i]
                    sw[i] /= abs(s[i])
                else:
                    target[i] = s[i] / t
                    sw[i] *= t * t / abs(s[i])
            p = p + 1 if left else link[p]
            continue
        if op.MULT2 <= q <= op.DIV5:
            f = float(q - op.MULT2 + 2) if q <= op.MULT5 else 1.0 / float(q - op.DIV2 + 2)
            for i in range(n):
                target[i] /= f
                sw[i] *= f
        elif q == op.NEG:
            for i in range(n):
                target[i] = -target[i]
        elif q == op.INV:
            for i in range(n):
                sw[i] *= target[i] * target[i]
                target[i] = 1.0 / target[i]
        elif op.POW2 <= q <= op.ROOT5:
            e = 1.0 / float(q - op.POW2 + 2) if q <= op.POW5 else float(q - op.ROOT2 + 2)
            odd = q == op.POW3 or q == op.POW5 or q == op.ROOT3 or q == op.ROOT5
            for i in range(n):
                t = target[i]
                if t < 0.0 and not odd:
                    target[i] = np.nan
                else:
                    target[i] = math.copysign(abs(t) ** e, t)
                    sw[i] *= abs(t / (e * target[i]))  # slope of the outside: dt/dg with g = t**e
        elif q == op.EXP:
            for i in range(n):
                sw[i] *= abs(target[i])
                target[i] = np.log(target[i])
        elif q == op.LOG:
            for i in range(n):
                target[i] = math.exp(target[i])
                sw[i] /= target[i]
        elif q == op.TANH:
            for i in range(n):
                sw[i] *= 1.0 - target[i] * target[i]
                target[i] = math.atanh(target[i])
        else:
            break
        p += 1
    lost = 0
    for i in range(n):
        if not (abs(target[i]) < HUGE and abs(sw[i]) < HUGE):
            target[i] = 0.0
            sw[i] = 0.0
            lost += 1
    return p if 2 * lost <= n else 0
