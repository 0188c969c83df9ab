"""Which constants of a program enter it linearly, starts to scale for those that do not, and its outside taken off.

A candidate is a program in the arrays of programs.py.  These and the kernels of variable_projection.py and levenberg_marquardt.py are the refiner's; they are
kept apart from refiner.py so that only a change of them recompiles them.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, void
from numba.types import int64

from fansr.expressions import (
    ADD,
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
    POW3,
    POW5,
    ROOT2,
    ROOT3,
    ROOT5,
    SUB,
    TANH,
    forward,
)

MAX_CONSTANTS = 32  # candidates with more are not fitted (their FVU is infinite)
HUGE = 1.7e308  # anything not below it is infinite or NaN

# Bits of a position's state: no free constant below it; a linear one; a curved (not linear) one.
STATIC, LINEAR, CURVED = 1, 2, 4
DYNAMIC = LINEAR | CURVED

# Fast sums may be reordered; NaN and infinities must still be seen, so only these flags.
# Functions only other kernels call need no Python entry point, which would take as long to compile as they do.
INNER = {**JIT, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
SUMS = {**INNER, "fastmath": {"reassoc", "contract", "nsz"}}


@njit(int64(I1, I1, int64, int64, I1, I1, I1), **JIT)
def split(op, link, first, stop, state, linear, where):
    """Choose a set of constants the subtree at `first` is jointly affine in; fill state, linear and where.

    linear[j] is 1 for the chosen, where[j] is constant j's position.  Returns how many constants are curved.
    """
    # gain[k]: how many constants could be linear below k if k itself enters linearly.  Kept in `state` first.
    for k in range(stop - 1, first - 1, -1):
        q = op[k]
        gain = 0
        if q == FREE:
            gain = 1
        elif q <= SUB:
            gain = state[k + 1] + state[link[k]]
        elif q == MUL:
            gain = max(state[k + 1], state[link[k]])
        elif q == DIV or q == NEG or (MULT2 <= q < LITERAL):
            gain = state[k + 1]
        state[k] = gain
    # From the top: the sign bit of the gain marks a position that is not reached linearly.
    n_curved = 0
    for k in range(first, stop):
        q = op[k]
        curved = state[k] < 0 and k > first
        if q == FREE:
            linear[link[k]] = 0 if curved else 1
            where[link[k]] = k
            n_curved += curved
        if q >= LITERAL:
            continue
        curved_1 = curved
        if q <= LAST_BINARY:
            r = link[k]
            curved_2 = curved
            if q == MUL:
                # On a tie the bare constant is the linear one.
                if state[r] > state[k + 1] or (state[r] == state[k + 1] and op[r] == FREE):
                    curved_1 = True
                else:
                    curved_2 = True
            elif q > SUB:
                curved_2 = True
                curved_1 = curved or q > DIV
            if curved_2:
                state[r] = -1
        elif not (q == NEG or q >= MULT2):
            curved_1 = True
        if curved_1:
            state[k + 1] = -1
    for k in range(stop - 1, first - 1, -1):
        q = op[k]
        if q >= LITERAL:
            state[k] = (LINEAR if linear[link[k]] else CURVED) if q == FREE else STATIC
        else:
            bits = state[k + 1] | (state[link[k]] if q <= LAST_BINARY else 0)
            state[k] = bits & DYNAMIC if bits & DYNAMIC else STATIC
    return n_curved


@njit(void(I1, I1, F1, int64, int64, I1, F2, F1, F2, int64), **INNER)
def scale_start(op, link, literal, first, stop, state, X, c, V, n):
    """Turn unit draws in c (in place) into scale-aware ones, operands before operators; V's static rows are filled."""
    for k in range(stop - 1, first - 1, -1):
        q = op[k]
        if state[k] & DYNAMIC == 0:
            continue
        if q <= DIV:
            for side in range(2):
                a = k + 1 if side == 0 else link[k]
                b = link[k] if side == 0 else k + 1
                if op[a] != FREE or op[b] == FREE:
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
                    c[j] = c[j] / size if q == MUL else c[j] * size
                    forward(op, link, literal, a, a + 1, state, DYNAMIC, X, 0, c, V, n)
        forward(op, link, literal, k, k + 1, state, DYNAMIC, X, 0, c, V, n)


@njit(int64(I1, I1, I1, F2, F1, F1, int64), **INNER)
def unwrap(op, link, state, V, target, sw, n):
    """Undo the root's invertible operators: returns the position p whose values must then equal `target`.

    target and sw (the residual weights) are changed in place from those of the root; sw by the slope of what was
    taken off, so that to first order the weighted residuals stay the same.  Points that cannot be undone get
    weight 0; with more than half of them lost the answer is 0, as when nothing can be taken off.
    """
    p = 0
    while True:
        q = op[p]
        if q >= LITERAL:
            break
        if q <= LAST_BINARY:
            if q > DIV or (state[p + 1] & DYNAMIC != 0 and state[link[p]] & DYNAMIC != 0):
                break
            left = state[p + 1] & DYNAMIC != 0
            s = V[link[p]] if left else V[p + 1]
            for i in range(n):
                t = target[i]
                if q == ADD:
                    target[i] = t - s[i]
                elif q == SUB:
                    target[i] = t + s[i] if left else s[i] - t
                elif q == MUL:
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
        if MULT2 <= q:
            f = float(q - MULT2 + 2) if q <= MULT5 else 1.0 / float(q - DIV2 + 2)
            for i in range(n):
                target[i] /= f
                sw[i] *= f
        elif q == NEG:
            for i in range(n):
                target[i] = -target[i]
        elif q == INV:
            for i in range(n):
                sw[i] *= target[i] * target[i]
                target[i] = 1.0 / target[i]
        elif POW2 <= q <= ROOT5:
            e = 1.0 / float(q - POW2 + 2) if q <= POW5 else float(q - ROOT2 + 2)
            odd = q == POW3 or q == POW5 or q == ROOT3 or q == ROOT5
            for i in range(n):
                t = target[i]
                if t < 0.0 and not odd:
                    target[i] = np.nan
                else:
                    target[i] = math.copysign(abs(t) ** e, t)
                    sw[i] *= abs(t / (e * target[i]))  # slope of the outside: dt/dg with g = t**e
        elif q == EXP:
            for i in range(n):
                sw[i] *= abs(target[i])
                target[i] = np.log(target[i])
        elif q == LOG:
            for i in range(n):
                target[i] = math.exp(target[i])
                sw[i] /= target[i]
        elif q == TANH:
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
