"""The refiner's kernels: least squares for one candidate's constants, and a loop over many candidates.

Kept apart from refiner.py so that only a change of these recompiles them (about 20 s).  A candidate is a
program in the arrays of programs.py.  Its constants are split: a set that enters the expression jointly linearly
is solved exactly at every step (variable projection: Golub & Pereyra 1973, with Kaufman's Jacobian); the others
follow Levenberg-Marquardt on the projected problem.  So c1*exp(c2*x) + c3 is a search in one dimension.

Work arrays have one row per position (V values, A adjoints) or per constant (Q, J) and one column per point.
"""

from __future__ import annotations

import numpy as np
from numba import njit, void
from numba.types import float64, int64

from fansr.expressions import F1, F2, I1, JIT, LAST_BINARY, LITERAL, backward, forward
from fansr.fitting.linear_constants import (
    CURVED,
    DYNAMIC,
    HUGE,
    INNER,
    LINEAR,
    MAX_CONSTANTS,
    STATIC,
    scale_start,
    split,
    unwrap,
)
from fansr.fitting.variable_projection import copied, dot, normalise, project, solve_positive


@njit(
    float64(
        I1,
        I1,
        F1,
        int64,
        int64,
        I1,
        I1,
        I1,
        F2,
        F1,
        F1,
        F1,
        int64,
        int64,
        float64,
        float64,
        F2,
        F2,
        F2,
        F2,
        F2,
        I1,
        F1,
        F2,
    ),
    **INNER,
)
def _descend(op, link, literal, first, stop, state, linear, where, X, c, target, sw, n, iterations, floor, tolerance,
             V, A, Q, R, J, chosen, work, small):  # fmt: skip
    """Fit c (in place) on the first n points; returns the weighted sum of squared residuals, infinite for a failure.

    Stops at `floor`, after `iterations`, or when two steps running gain less than `tolerance` of the sum.
    Static rows of V must be filled.  R (C'+2, C') and small (4+2*C', C') are work space for some C' >= C.
    """
    C = len(linear)
    copied(sw, A[first], n)
    rank = project(op, link, literal, first, stop, state, linear, where, X, c, target, sw, n, V, A, Q, R, chosen, work)
    if rank < 0:
        return np.inf
    res = work[:n]
    ssr = dot(res, res, n)
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
        copied(sw, A[first], n)
        backward(op, link, first, stop, state, CURVED, V, A, n)
        m = 0
        for j in range(C):
            if linear[j]:
                continue
            column = J[m]
            norm = normalise(A[where[j]], column, n)
            if not (norm < HUGE):
                # A point whose value is finite but whose slope is not says nothing about this constant.
                slope = A[where[j]]
                for i in range(n):
                    if not (abs(slope[i]) < HUGE):
                        slope[i] = 0.0
                norm = normalise(slope, column, n)
            if norm == 0.0 or not (norm < HUGE):
                norm = 1.0
                for i in range(n):
                    column[i] = 0.0
            size[m] = norm
            for p in range(rank):
                basis = Q[p]
                h = dot(basis, column, n)
                for i in range(n):
                    column[i] -= h * basis[i]
            gradient[m] = dot(column, res, n)
            for k in range(m + 1):
                H[m, k] = dot(column, J[k], n)
            m += 1
        accepted = False
        new = ssr
        for _attempt in range(7):
            for a in range(m):
                for b in range(a):
                    damped[a, b] = H[a, b]
                damped[a, a] = H[a, a] + damping * (H[a, a] + 1e-7) + 1e-14
            if not solve_positive(damped, gradient, step, m):
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
            rank = project(
                op, link, literal, first, stop, state, linear, where, X, trial, target, sw, n, V, A, Q, R, chosen, work
            )
            new = dot(res, res, n) if rank >= 0 else np.inf
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
    copied(sw, A[0], n)
    best = np.inf
    for j in range(len(linear)):
        trial[j] = c[j]
    rank = project(op, link, literal, 0, stop, state, linear, where, X, trial, target, sw, n, V, A, Q, R, chosen, work)
    if rank < 0:
        return np.inf
    res = work[:n]
    coefficient, size = R[len(R) - 2], R[len(R) - 1]
    for _ in range(3):
        forward(op, link, literal, 0, stop, state, DYNAMIC, X, 0, trial, V, n)
        root = V[0]
        for i in range(n):
            res[i] = sw[i] * (target[i] - root[i])
        ssr = dot(res, res, n)
        if not (ssr < best):
            break
        best = ssr
        for j in range(len(linear)):
            c[j] = trial[j]
        for p in range(rank):
            coefficient[p] = dot(Q[p], res, n)
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
def fit_range(
    op, link, literal, begin, n_constants, k_first, k_stop, X, y, sw, spreads, draws, given, schedule, fvu, consts
):
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
            copied(y, target_u, n)
            copied(sw, sw_u, n)
            below = unwrap(ops, links, state, V, target_u, sw_u, n)
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
                copied(given[k], c, C)
            else:
                copied(draws[t], c, C)
                if n_curved > 0 and t % 2 == 0:
                    scale_start(ops, links, literals, 0, L, state, X, c, V, n)
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
                _sharpen(
                    ops, links, literals, L, state, linear, where, X, c, y, sw, n, V, A, Q, R, chosen, work, small[0]
                )
        fvu[k] = squares(ops, links, literals, state, X, c, y, sw, width, V) / spreads[2]
        copied(c, consts[k], C)
