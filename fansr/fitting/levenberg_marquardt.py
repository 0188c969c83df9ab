"""The refiner's kernels: least squares for one candidate's constants, and a loop over many candidates.

Kept apart from refiner.py so that only a change of these recompiles them (about 20 s).  A candidate is a
program in the arrays of programs.py.  Its constants are split: a set that enters the expression jointly linearly
is solved exactly at every step (variable projection: Golub & Pereyra 1973, with Kaufman's Jacobian); the others
follow Levenberg-Marquardt on the projected problem.  So c1*exp(c2*x) + c3 is a search in one dimension.

Work arrays have one row per position (V values, A adjoints) or per constant (Q, J) and one column per point.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fansr.expressions import TAPE, Programs, Tape, backward, compilation as nb, copied, forward, opcodes as op
from fansr.fitting.linear_constants import (
    ALONE,
    CURVED,
    FACTOR,
    HUGE,
    LINEAR,
    MAX_CONSTANTS,
    STATIC,
    plain_sum,
    scale_start,
    split,
    unwrap,
)
from fansr.fitting.variable_projection import (
    FIT,
    SPACE,
    LeastSquares,
    Workspace,
    back_substitute,
    dot,
    less_and_dot,
    misfit,
    normalise,
    project,
    solve_positive,
)


class Schedule(NamedTuple):
    """How much work a candidate gets; `points` of 0 means all."""

    points: int = 32  # of the first two rounds
    starts: int = 8  # at most; fewer when they agree
    first: int = 8  # iterations of every start
    more: int = 25  # further iterations of the best `keep`
    keep: int = 2
    last: int = 20  # iterations on `last_points`
    last_points: int = 1024
    unwrap: int = 1  # 1: take the invertible outside off for every other start


class Data(NamedTuple):
    """What all candidates of a batch are fitted to, the points in the order in which subsets of them are taken."""

    X: np.ndarray  # (D, M) float64
    y: np.ndarray  # (M,) float64
    sw: np.ndarray  # (M,) float64, square roots of the weights
    # (4,): spread() of the schedule's first and last points and of all, then the FVU on the first points from which on
    # the last round is not worth its time.
    spreads: np.ndarray
    draws: np.ndarray  # (starts, MAX_CONSTANTS) float64, where starts begin


PROGRAMS = nb.named(Programs, nb.I1, nb.I1, nb.F1, nb.I1, nb.I1)
SCHEDULE = nb.named(Schedule, *[nb.int64] * len(Schedule._fields))
DATA = nb.named(Data, nb.F2, nb.F1, nb.F1, nb.F1, nb.F2)


@nb.shared(nb.float64(FIT, SPACE, nb.F1, nb.int64, nb.int64, nb.float64, nb.float64))
def descend(fit, space, c, n, iterations, floor, tolerance):
    """Fit c (in place) on the first n points; returns the weighted sum of squared residuals, infinite for a failure.

    Stops at `floor`, after `iterations`, or when two steps running gain less than `tolerance` of the sum.
    Static rows of V must be filled.
    """
    tape, first, linear, where, terms = fit.tape, fit.first, fit.linear, fit.where, fit.terms
    A, Q, J, small = tape.A, space.Q, space.J, space.small
    C = len(linear)
    copied(fit.sw, A[first], 0, n)
    rank = project(fit, space, c, n)
    if rank < 0:
        return np.inf
    res = space.residual
    ssr = dot(res, res, n)
    if not (ssr < HUGE):
        return np.inf
    if tape.state[first] & CURVED == 0:
        return ssr
    gradient, step, size, trial = small[0], small[1], small[2], small[3]
    half = (len(small) - 4) // 2
    H = small[4 : 4 + half]
    damped = small[4 + half :]
    damping, growth, slow = 1e-2, 2.0, 0
    for _ in range(iterations):
        if ssr <= floor:
            break
        if terms[0] >= 0:
            for j in range(C):
                u = terms[3 * j + 1]
                if linear[j] and terms[3 * j] != ALONE and tape.state[u] & CURVED:
                    slope, values, factor = A[u], tape.V[u], c[j]
                    if terms[3 * j] == FACTOR:
                        for i in range(n):
                            slope[i] = fit.sw[i] * factor
                    else:
                        for i in range(n):
                            slope[i] = -fit.sw[i] * (factor / values[i]) / values[i]
                    backward(tape, u, terms[3 * j + 2], CURVED, n)
        else:
            if tape.state[first] & LINEAR:
                forward(tape, first, fit.stop, LINEAR, fit.X, 0, c, n)
            copied(fit.sw, A[first], 0, n)
            backward(tape, first, fit.stop, CURVED, n)
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
            if rank > 0:
                h = dot(Q[0], column, n)
                for p in range(1, rank):
                    h = less_and_dot(column, h, Q[p - 1], Q[p], n)
                gradient[m] = less_and_dot(column, h, Q[rank - 1], res, n)
            else:
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
            rank = project(fit, space, trial, n)
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


@nb.shared(nb.float64(FIT, SPACE, nb.F1, nb.int64))
def sharpen(fit, space, c, n):
    """Iterative refinement of the linear constants: removes the rounding of the first solve.  Returns the sum of squares."""
    tape, target, sw, Q, trial = fit.tape, fit.target, fit.sw, space.Q, space.small[0]
    C = len(c)
    copied(sw, tape.A[0], 0, n)
    best = np.inf
    copied(c, trial, 0, C)
    rank = project(fit, space, trial, n)
    if rank < 0:
        return np.inf
    res = space.residual
    coefficient, size = space.R[len(space.R) - 2], space.R[len(space.R) - 1]
    for _ in range(3):
        forward(tape, 0, fit.stop, LINEAR, fit.X, 0, trial, n)  # project() has seen to the other positions
        root = tape.V[0]
        for i in range(n):
            res[i] = sw[i] * (target[i] - root[i])
        ssr = dot(res, res, n)
        if not (ssr < best):
            break
        best = ssr
        copied(trial, c, 0, C)
        for p in range(rank):
            coefficient[p] = dot(Q[p], res, n)
            basis = Q[p]
            for i in range(n):
                res[i] -= coefficient[p] * basis[i]
        back_substitute(space.R, coefficient, rank)
        for p in range(rank):
            trial[space.chosen[p]] += coefficient[p] / size[p]
    return best


@nb.inner
def _rank(sums, order, n):
    """order[:n] = positions of sums[:n] from the smallest to the largest; infinite ones last."""
    for i in range(n):
        k = i
        while k > 0 and sums[order[k - 1]] > sums[i]:
            order[k] = order[k - 1]
            k -= 1
        order[k] = i


@nb.shared(nb.float64(TAPE, nb.F2, nb.F1, nb.F1, nb.F1), python=True)
def squares(tape, X, c, y, sw):
    """Weighted sum of squared residuals over all points, with the constants as they are, in blocks as wide as V."""
    total = 0.0
    M = len(y)
    L, block = len(tape.op), tape.V.shape[1]
    for k in range(L):
        tape.state[k] = STATIC
    for offset in range(0, M, block):
        n = min(block, M - offset)
        forward(tape, 0, L, STATIC, X, offset, c, n)
        part = misfit(tape.V[0], y[offset:], sw[offset:], n)
        if not (part < HUGE):
            return np.inf
        total += part
    return total


@nb.kernel(nb.float64(nb.F1, nb.F1, nb.int64))
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


@nb.kernel(nb.void(PROGRAMS, nb.int64, nb.int64, DATA, SCHEDULE, nb.F2, nb.F1, nb.F2))
def fit_range(programs, k_first, k_stop, data, schedule, given, fvu, consts):
    """Fit candidates k_first..k_stop-1 of a batch of programs; fills fvu[k] and consts[k, :C].

    given[k] holds constants to start from, or NaN in its first place.
    """
    X, y, sw, spreads = data.X, data.y, data.sw, data.spreads
    M = len(y)
    n_last = min(M, schedule.last_points)
    longest, most = 1, 1
    for k in range(k_first, k_stop):
        longest = max(longest, programs.start[k + 1] - programs.start[k])
        if programs.n_constants[k] <= MAX_CONSTANTS:
            most = max(most, programs.n_constants[k])
    width = max(n_last, min(M, max(schedule.points, 6 * most)))
    V, A = np.empty((longest, width)), np.empty((longest, width))
    states, flags = np.empty((2, longest), np.int64), np.empty((7, 3 * most), np.int64)
    target_u, sw_u = np.empty(width), np.empty(width)
    all_starts = np.empty((schedule.starts, MAX_CONSTANTS))
    sums, order = np.empty(schedule.starts), np.empty(schedule.starts, np.int64)
    space = Workspace(
        np.empty((most, width)), np.empty((2 + most, most)), np.empty((most, width)), flags[6], np.empty(width),
        np.empty((4 + 2 * most, most)),
    )  # fmt: skip
    for k in range(k_first, k_stop):
        fvu[k] = np.inf
        C = programs.n_constants[k]
        if C > MAX_CONSTANTS:
            continue
        s, e = programs.start[k], programs.start[k + 1]
        L = e - s
        codes, link, literal = programs.op[s:e], programs.link[s:e], programs.literal[s:e]
        tape = Tape(codes, link, literal, states[0, :L], V, A)
        if C == 0:
            fvu[k] = squares(tape, X, data.draws[0], y, sw) / spreads[2]
            continue
        whole = LeastSquares(tape, 0, L, flags[0, :C], flags[1, :C], flags[2], X, y, sw)
        n = min(M, max(schedule.points, 6 * C))
        n_curved = split(tape, 0, L, whole.linear, whole.where)
        plain_sum(tape, 0, L, whole.linear, whole.terms)
        forward(tape, 0, L, STATIC, X, 0, data.draws[0], n)
        hopeless = False
        for p in range(L):
            if tape.state[p] == STATIC:
                undefined = 0
                row = V[p]
                for i in range(n):
                    undefined += row[i] != row[i]
                hopeless = hopeless or undefined > 0
        if hopeless:
            continue
        floor = 1e-29 * spreads[0]
        # Where the outside can be taken off, starts may begin on the inside.
        below, bottom, n_curved_u = 0, L, 0
        tape_u = Tape(codes, link, literal, states[1, :L], V, A)
        if n_curved > 0 and schedule.unwrap == 1:
            copied(y, target_u, 0, n)
            copied(sw, sw_u, 0, n)
            below = unwrap(tape, target_u, sw_u, n)
            if below > 0:
                open_slots = 1
                bottom = below
                while open_slots > 0:
                    q = codes[bottom]
                    binary = q <= op.LAST_BINARY or (q >= op.MIN and q <= op.MOD)
                    open_slots += -1 if q >= op.LITERAL else (1 if binary else 0)
                    bottom += 1
                n_curved_u = split(tape_u, below, bottom, flags[3, :C], flags[4, :C])
                plain_sum(tape_u, below, bottom, flags[3, :C], flags[5])
        inside = LeastSquares(tape_u, below, bottom, flags[3, :C], flags[4, :C], flags[5], X, target_u, sw_u)
        done = schedule.starts if n_curved > 0 else 1
        best, hits = np.inf, 0
        for t in range(done):
            c = all_starts[t, :C]
            if t == 0 and given[k, 0] == given[k, 0]:
                copied(given[k], c, 0, C)
            else:
                copied(data.draws[t], c, 0, C)
                if n_curved > 0 and t % 2 == 0:
                    scale_start(tape, X, c, n)
                if below > 0 and (t % 4 == 0 or t % 4 == 3) and (n_curved_u > 0 or t == 0):
                    descend(inside, space, c, n, 4, 0.0, 1e-2)
            sums[t] = descend(whole, space, c, n, schedule.first, floor, 1e-3)
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
        if n_curved > 0 and schedule.more > 0 and best > 1e-16 * spreads[0]:
            tried, before = 0, -1.0
            for u in range(done):
                t = order[u]
                if tried >= schedule.keep or not (sums[t] < HUGE):
                    break
                if before >= 0.0 and sums[t] < before * (1 + 1e-6):
                    continue
                before = sums[t]
                tried += 1
                tolerance = 1e-4 if before > 1e-4 * spreads[0] else 1e-9
                sums[t] = descend(whole, space, all_starts[t, :C], n, schedule.more, floor, tolerance)
                if sums[t] <= 1e-16 * spreads[0]:
                    break
            _rank(sums, order, done)
        c = all_starts[order[0], :C]
        if (n_last > n or schedule.last > 0) and best < spreads[3] * spreads[0]:
            n = max(n, n_last)
            forward(tape, 0, L, STATIC, X, 0, data.draws[0], n)
            for u in range(min(2, done)):
                c = all_starts[order[u], :C]
                tolerance = 1e-5 if sums[order[u]] > 1e-7 * spreads[0] else 1e-9
                best = descend(whole, space, c, n, schedule.last, 1e-30 * spreads[1], tolerance)
                if best < HUGE:
                    break
            if best < 1e-8 * spreads[1]:
                sharpen(whole, space, c, n)
        fvu[k] = squares(tape, X, c, y, sw) / spreads[2]
        copied(c, consts[k], 0, C)
