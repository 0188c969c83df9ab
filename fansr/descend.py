"""The refiner's kernels: least squares for one candidate's constants, and a loop over many candidates.

Kept apart from refine.py so that only a change of these recompiles them (about 20 s).  A candidate is a
program in the arrays of evaluate.py.  Its constants are split: a set that enters the expression jointly linearly
is solved exactly at every step (variable projection: Golub & Pereyra 1973, with Kaufman's Jacobian); the others
follow Levenberg-Marquardt on the projected problem.  So c1*exp(c2*x) + c3 is a search in one dimension.

Work arrays have one row per position (V values, A adjoints) or per constant (Q, J) and one column per point.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, void
from numba.types import float64, int64

from fansr.evaluate import (
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
    backward,
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


# ---- analysis of one program ------------------------------------------------------------------


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
def _scale_start(op, link, literal, first, stop, state, X, c, V, n):
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
def _unwrap(op, link, state, V, target, sw, n):
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


# ---- linear algebra ---------------------------------------------------------------------------


@njit(void(F1, F1, int64), **INNER)
def _copy(a, b, n):
    """b = a over the first n (slice assignment costs seconds of compilation)."""
    for i in range(n):
        b[i] = a[i]


@njit(float64(F1, F1, int64), **SUMS)
def _dot(a, b, n):
    """Sum of a*b over the first n."""
    total = 0.0
    for i in range(n):
        total += a[i] * b[i]
    return total


@njit(float64(F1, F1, int64), **INNER)
def _normalise(a, q, n):
    """q = a / |a| without overflow; returns |a|, 0 for a zero column and NaN for one that is not finite."""
    square = _dot(a, a, n)
    scale = 1.0
    if not (1e-200 < square < 1e200):
        scale = 0.0
        for i in range(n):
            size = abs(a[i])
            if not (size < HUGE):
                return np.nan
            scale = max(scale, size)
        if scale == 0.0:
            return 0.0
        for i in range(n):
            q[i] = a[i] / scale
        square = _dot(q, q, n)
        norm = math.sqrt(square)
        for i in range(n):
            q[i] /= norm
        return scale * norm
    norm = math.sqrt(square)
    for i in range(n):
        q[i] = a[i] / norm
    return norm


@njit(int64(F2, F1, F1, int64), **INNER)
def _solve_positive(H, b, x, m):
    """x with H x = b for a positive definite H (m, m), lower half given and overwritten; 0 when it is not."""
    for j in range(m):
        pivot = H[j, j]
        for p in range(j):
            pivot -= H[j, p] * H[j, p]
        if not (pivot > 1e-300):
            return 0
        pivot = math.sqrt(pivot)
        H[j, j] = pivot
        for i in range(j + 1, m):
            s = H[i, j]
            for p in range(j):
                s -= H[i, p] * H[j, p]
            H[i, j] = s / pivot
    for i in range(m):
        s = b[i]
        for p in range(i):
            s -= H[i, p] * x[p]
        x[i] = s / H[i, i]
    for i in range(m - 1, -1, -1):
        s = x[i]
        for p in range(i + 1, m):
            s -= H[p, i] * x[p]
        x[i] = s / H[i, i]
    return 1


# ---- one descent ------------------------------------------------------------------------------


@njit(int64(I1, I1, F1, int64, int64, I1, I1, I1, F2, F1, F1, F1, int64, F2, F2, F2, F2, I1, F1), **INNER)
def _project(op, link, literal, first, stop, state, linear, where, X, c, target, sw, n, V, A, Q, R, chosen, work):
    """Set the linear constants of c to their least-squares values given the curved ones.

    work[:n] becomes the weighted residual, Q[:rank] an orthonormal basis of the linear columns (modified
    Gram-Schmidt with the residual as a further column, which is backward stable).  A[first] must hold sw.
    Returns the rank, or -1 when something is not finite.
    """
    C = len(linear)
    res = work[:n]
    for j in range(C):
        if linear[j]:
            c[j] = 0.0
    forward(op, link, literal, first, stop, state, DYNAMIC, X, 0, c, V, n)
    root = V[first]
    for i in range(n):
        res[i] = sw[i] * (target[i] - root[i])
    if state[first] & LINEAR == 0:
        return 0
    backward(op, link, first, stop, state, LINEAR, V, A, n)
    coefficient = R[len(R) - 2]
    size = R[len(R) - 1]
    rank = 0
    for j in range(C):
        if not linear[j]:
            continue
        q = Q[rank]
        norm = _normalise(A[where[j]], q, n)
        if not (norm < HUGE):
            return -1
        if norm == 0.0:
            continue
        for p in range(rank):
            basis = Q[p]
            h = _dot(basis, q, n)
            R[p, rank] = h
            for i in range(n):
                q[i] -= h * basis[i]
        left = math.sqrt(_dot(q, q, n))
        if left < 1e-11:  # depends on the columns before: leave this constant at 0
            continue
        for i in range(n):
            q[i] /= left
        R[rank, rank] = left
        chosen[rank] = j
        size[rank] = norm
        h = _dot(q, res, n)
        coefficient[rank] = h
        for i in range(n):
            res[i] -= h * q[i]
        rank += 1
    for p in range(rank - 1, -1, -1):
        s = coefficient[p]
        for k in range(p + 1, rank):
            s -= R[p, k] * coefficient[k]
        coefficient[p] = s / R[p, p]
    for p in range(rank):
        c[chosen[p]] = coefficient[p] / size[p]
    return rank


@njit(
    float64(I1, I1, F1, int64, int64, I1, I1, I1, F2, F1, F1, F1, int64, int64, float64, float64, F2, F2, F2, F2, F2, I1, F1, F2),
    **INNER,
)
def _descend(op, link, literal, first, stop, state, linear, where, X, c, target, sw, n, iterations, floor, tolerance,
             V, A, Q, R, J, chosen, work, small):  # fmt: skip
    """Fit c (in place) on the first n points; returns the weighted sum of squared residuals, infinite for a failure.

    Stops at `floor`, after `iterations`, or when two steps running gain less than `tolerance` of the sum.
    Static rows of V must be filled.  R (C'+2, C') and small (4+2*C', C') are work space for some C' >= C.
    """
    C = len(linear)
    _copy(sw, A[first], n)
    rank = _project(op, link, literal, first, stop, state, linear, where, X, c, target, sw, n, V, A, Q, R, chosen, work)
    if rank < 0:
        return np.inf
    res = work[:n]
    ssr = _dot(res, res, n)
    if not (ssr < HUGE):
        return np.inf
    if state[first] & CURVED == 0:
        return ssr
    gradient, step, size, trial = small[0], small[1], small[2], small[3]
    half = (len(small) - 4) // 2
    H = small[4 : 4 + half]
    damped = small[4 + half :]
    damping, growth, slow = 1e-2, 2.0, 0
    for _ in range(iterations):
        if ssr <= floor:
            break
        if state[first] & LINEAR:
            forward(op, link, literal, first, stop, state, LINEAR, X, 0, c, V, n)
        _copy(sw, A[first], n)
        backward(op, link, first, stop, state, CURVED, V, A, n)
        m = 0
        for j in range(C):
            if linear[j]:
                continue
            column = J[m]
            norm = _normalise(A[where[j]], column, n)
            if not (norm < HUGE):
                # A point whose value is finite but whose slope is not says nothing about this constant.
                slope = A[where[j]]
                for i in range(n):
                    if not (abs(slope[i]) < HUGE):
                        slope[i] = 0.0
                norm = _normalise(slope, column, n)
            if norm == 0.0 or not (norm < HUGE):
                norm = 1.0
                for i in range(n):
                    column[i] = 0.0
            size[m] = norm
            for p in range(rank):
                basis = Q[p]
                h = _dot(basis, column, n)
                for i in range(n):
                    column[i] -= h * basis[i]
            gradient[m] = _dot(column, res, n)
            for k in range(m + 1):
                H[m, k] = _dot(column, J[k], n)
            m += 1
        accepted = False
        new = ssr
        for _attempt in range(7):
            for a in range(m):
                for b in range(a):
                    damped[a, b] = H[a, b]
                damped[a, a] = H[a, a] + damping * (H[a, a] + 1e-7) + 1e-14
            if not _solve_positive(damped, gradient, step, m):
                damping = max(damping * 10.0, 1e-8)
                continue
            predicted = 0.0
            m = 0
            for j in range(C):
                trial[j] = c[j]
                if not linear[j]:
                    trial[j] += step[m] / size[m]
                    predicted += step[m] * (gradient[m] + damping * (H[m, m] + 1e-7) * step[m])
                    m += 1
            rank = _project(op, link, literal, first, stop, state, linear, where, X, trial, target, sw, n, V, A, Q, R, chosen, work)
            new = _dot(res, res, n) if rank >= 0 else np.inf
            if new < ssr:
                accepted = True
                ratio = (ssr - new) / predicted if predicted > 0.0 else 1.0
                damping *= max(0.1, 1.0 - (2.0 * ratio - 1.0) ** 3)
                damping = max(damping, 1e-15)
                growth = 2.0
                break
            if predicted < 1e-15 * ssr:
                break
            damping *= growth
            growth *= 2.0
        if not accepted:
            break
        gain = (ssr - new) / ssr
        ssr = new
        for j in range(C):
            c[j] = trial[j]
        if gain < tolerance:
            slow += 1
            if slow >= 2:
                break
        else:
            slow = 0
    return ssr


@njit(float64(I1, I1, F1, int64, I1, I1, I1, F2, F1, F1, F1, int64, F2, F2, F2, F2, I1, F1, F1), **INNER)
def _sharpen(op, link, literal, stop, state, linear, where, X, c, target, sw, n, V, A, Q, R, chosen, work, trial):
    """Iterative refinement of the linear constants: removes the rounding of the first solve.  Returns the sum of squares."""
    _copy(sw, A[0], n)
    best = np.inf
    for j in range(len(linear)):
        trial[j] = c[j]
    rank = _project(op, link, literal, 0, stop, state, linear, where, X, trial, target, sw, n, V, A, Q, R, chosen, work)
    if rank < 0:
        return np.inf
    res = work[:n]
    coefficient, size = R[len(R) - 2], R[len(R) - 1]
    for _ in range(3):
        forward(op, link, literal, 0, stop, state, DYNAMIC, X, 0, trial, V, n)
        root = V[0]
        for i in range(n):
            res[i] = sw[i] * (target[i] - root[i])
        ssr = _dot(res, res, n)
        if not (ssr < best):
            break
        best = ssr
        for j in range(len(linear)):
            c[j] = trial[j]
        for p in range(rank):
            coefficient[p] = _dot(Q[p], res, n)
            basis = Q[p]
            for i in range(n):
                res[i] -= coefficient[p] * basis[i]
        for p in range(rank - 1, -1, -1):
            s = coefficient[p]
            for k in range(p + 1, rank):
                s -= R[p, k] * coefficient[k]
            coefficient[p] = s / R[p, p]
        for p in range(rank):
            trial[chosen[p]] += coefficient[p] / size[p]
    return best


@njit(void(F1, I1, int64), **INNER)
def _rank(sums, order, n):
    """order[:n] = positions of sums[:n] from the smallest to the largest; infinite ones last."""
    for i in range(n):
        k = i
        while k > 0 and sums[order[k - 1]] > sums[i]:
            order[k] = order[k - 1]
            k -= 1
        order[k] = i


# ---- one candidate, many candidates -----------------------------------------------------------


@njit(float64(I1, I1, F1, I1, F2, F1, F1, F1, int64, F2), **JIT)
def squares(op, link, literal, state, X, c, y, sw, block, V):
    """Weighted sum of squared residuals over all points, computed in blocks with the constants as they are."""
    total = 0.0
    M = len(y)
    for k in range(len(op)):
        state[k] = STATIC
    for offset in range(0, M, block):
        n = min(block, M - offset)
        forward(op, link, literal, 0, len(op), state, STATIC, X, offset, c, V, n)
        root = V[0]
        part = 0.0
        for i in range(n):
            r = sw[offset + i] * (root[i] - y[offset + i])
            part += r * r
        if not (part < HUGE):
            return np.inf
        total += part
    return total


@njit(float64(F1, F1, int64), **JIT)
def spread(y, sw, n):
    """Denominator of the FVU over the first n points: the weighted sum of squares about the weighted mean.

    A constant target has none; then it is the sum of squares about 0, and for y = 0 the sum of weights, so that
    the FVU of a constant target is the unexplained share of its power (0 for a perfect fit, as elsewhere).
    """
    weight, mean = 0.0, 0.0
    for i in range(n):
        w = sw[i] * sw[i]
        weight += w
        if weight > 0.0:
            mean += (y[i] - mean) * (w / weight)
    total, power = 0.0, 0.0
    for i in range(n):
        r = sw[i] * (y[i] - mean)
        total += r * r
        power += (sw[i] * y[i]) ** 2
    # Rounding of the mean leaves about (1e-16 * mean)^2 for a target that is constant.
    if total > 1e-30 * power:
        return total
    return power if power > 0.0 else max(weight, 1e-300)


@njit(
    void(I1, I1, F1, I1, I1, int64, int64, F2, F1, F1, F1, F2, F2, I1, F1, F2),
    **JIT,
)
def fit_range(op, link, literal, begin, n_constants, k_first, k_stop, X, y, sw, spreads, draws, given, schedule, fvu, consts):
    """Fit candidates k_first..k_stop-1 of a batch of programs; fills fvu[k] and consts[k, :C].

    X (D, M) columns in the order the subsets are taken; spreads = `spread` at the schedule's first and last points
    and at all, then the FVU on the first points from which on the last round is not worth its time; draws (starts, MAX_CONSTANTS); given[k] holds constants to start from, or NaN in its first place.
    """
    M = len(y)
    n_last = min(M, schedule[6])
    longest, most = 1, 1
    for k in range(k_first, k_stop):
        longest = max(longest, begin[k + 1] - begin[k])
        if n_constants[k] <= MAX_CONSTANTS:
            most = max(most, n_constants[k])
    width = max(n_last, min(M, max(schedule[0], 6 * most)))
    starts = schedule[1]
    V, A = np.empty((longest, width)), np.empty((longest, width))
    Q, J = np.empty((most, width)), np.empty((most, width))
    work, target_u, sw_u = np.empty(width), np.empty(width), np.empty(width)
    state_0, state_u = np.empty(longest, np.int64), np.empty(longest, np.int64)
    all_starts = np.empty((starts, MAX_CONSTANTS))
    sums, order = np.empty(starts), np.empty(starts, np.int64)
    flags = np.empty((6, most), np.int64)
    R = np.empty((2 + most, most))
    small = np.empty((4 + 2 * most, most))
    for k in range(k_first, k_stop):
        fvu[k] = np.inf
        C = n_constants[k]
        if C > MAX_CONSTANTS:
            continue
        s, e = begin[k], begin[k + 1]
        L = e - s
        ops, links, literals, state = op[s:e], link[s:e], literal[s:e], state_0[:L]
        if C == 0:
            fvu[k] = squares(ops, links, literals, state, X, draws[0], y, sw, width, V) / spreads[2]
            continue
        linear, where, chosen, linear_u, where_u = flags[0, :C], flags[1, :C], flags[2, :C], flags[3, :C], flags[4, :C]
        n = min(M, max(schedule[0], 6 * C))
        n_curved = split(ops, links, 0, L, state, linear, where)
        forward(ops, links, literals, 0, L, state, STATIC, X, 0, draws[0], V, n)
        hopeless = False
        for p in range(L):
            if state[p] == STATIC:
                undefined = 0
                row = V[p]
                for i in range(n):
                    undefined += row[i] != row[i]
                hopeless = hopeless or undefined > 0
        if hopeless:
            continue
        floor = 1e-29 * spreads[0]
        tolerance = 1e-3
        # Where the outside can be taken off, starts may begin on the inside.
        below, bottom = 0, L
        n_curved_u = 0
        if n_curved > 0 and schedule[7] == 1:
            _copy(y, target_u, n)
            _copy(sw, sw_u, n)
            below = _unwrap(ops, links, state, V, target_u, sw_u, n)
            if below > 0:
                open_slots = 1
                bottom = below
                while open_slots > 0:
                    open_slots += -1 if ops[bottom] >= LITERAL else (1 if ops[bottom] <= LAST_BINARY else 0)
                    bottom += 1
                n_curved_u = split(ops, links, below, bottom, state_u, linear_u, where_u)
        count = starts if n_curved > 0 else 1
        best, hits, done = np.inf, 0, count
        for t in range(count):
            c = all_starts[t, :C]
            if t == 0 and given[k, 0] == given[k, 0]:
                _copy(given[k], c, C)
            else:
                _copy(draws[t], c, C)
                if n_curved > 0 and t % 2 == 0:
                    _scale_start(ops, links, literals, 0, L, state, X, c, V, n)
                if below > 0 and (t % 4 == 0 or t % 4 == 3) and (n_curved_u > 0 or t == 0):
                    _descend(ops, links, literals, below, bottom, state_u, linear_u, where_u, X, c, target_u, sw_u, n, 4, 0.0, 1e-2,
                             V, A, Q, R, J, chosen, work, small)  # fmt: skip
            sums[t] = _descend(ops, links, literals, 0, L, state, linear, where, X, c, y, sw, n, schedule[2], floor, tolerance,
                               V, A, Q, R, J, chosen, work, small)  # fmt: skip
            if sums[t] < best * (1 - 1e-3):
                best, hits = sums[t], 1
            elif sums[t] < best * (1 + 1e-3):
                hits += 1
            if sums[t] <= 1e-16 * spreads[0] or (hits >= 3 and best < 0.3 * spreads[0]):
                done = t + 1
                break
        if not (best < HUGE):
            continue
        _rank(sums, order, done)
        if n_curved > 0 and schedule[3] > 0 and best > 1e-16 * spreads[0]:
            tried, before = 0, -1.0
            for u in range(done):
                t = order[u]
                if tried >= schedule[4] or not (sums[t] < HUGE):
                    break
                if before >= 0.0 and sums[t] < before * (1 + 1e-6):
                    continue
                before = sums[t]
                tried += 1
                tolerance = 1e-4 if before > 1e-4 * spreads[0] else 1e-9
                sums[t] = _descend(ops, links, literals, 0, L, state, linear, where, X, all_starts[t, :C], y, sw, n, schedule[3],
                                   floor, tolerance, V, A, Q, R, J, chosen, work, small)  # fmt: skip
                if sums[t] <= 1e-16 * spreads[0]:
                    break
            _rank(sums, order, done)
        c = all_starts[order[0], :C]
        if (n_last > n or schedule[5] > 0) and best < spreads[3] * spreads[0]:
            n = max(n, n_last)
            forward(ops, links, literals, 0, L, state, STATIC, X, 0, draws[0], V, n)
            for u in range(min(2, done)):
                c = all_starts[order[u], :C]
                tolerance = 1e-5 if sums[order[u]] > 1e-7 * spreads[0] else 1e-9
                best = _descend(ops, links, literals, 0, L, state, linear, where, X, c, y, sw, n, schedule[5], 1e-30 * spreads[1],
                                tolerance, V, A, Q, R, J, chosen, work, small)  # fmt: skip
                if best < HUGE:
                    break
            if best < 1e-8 * spreads[1]:
                _sharpen(ops, links, literals, L, state, linear, where, X, c, y, sw, n, V, A, Q, R, chosen, work, small[0])
        fvu[k] = squares(ops, links, literals, state, X, c, y, sw, width, V) / spreads[2]
        _copy(c, consts[k], C)
