"""Quick fits of many candidates that compete for few places: effort by what a candidate promises.

Where fit_range() wants each candidate's best constants, this wants to know soon which candidates matter: one start from given constants,
a few steps on few points (where there is but a linear solve, on all), then either nothing (it would not enter), the linear constants on all points (it may), or further steps before (it may lead).
"""

from __future__ import annotations

import numpy as np

from fansr.expressions import Tape, compilation as nb, copied, forward
from fansr.fitting.levenberg_marquardt import DATA, PROGRAMS, descend, sharpen
from fansr.fitting.linear_constants import DYNAMIC, HUGE, LINEAR, MAX_CONSTANTS, STATIC, plain_sum, split
from fansr.fitting.variable_projection import LeastSquares, Workspace, misfit

POINTS, FURTHER_POINTS = 32, 64  # of the first steps and of further ones
FIRST, FURTHER = 3, 4  # Levenberg-Marquardt steps on those


@nb.kernel(nb.void(PROGRAMS, nb.int64, nb.int64, DATA, nb.F2, nb.F2, nb.F1, nb.F2))
def quick_range(programs, k_first, k_stop, data, given, bars, fvu, consts):
    """Fit candidates k_first..k_stop-1 of a batch of programs; fills fvu[k] and consts[k, :C].

    given (K, C') holds constants to start from.  bars (K, 2): a candidate whose FVU on the first points is not below bars[k, 0] is
    given up, its FVU infinite; one below bars[k, 1] gets further steps.
    """
    X, y, sw, spreads = data.X, data.y, data.sw, data.spreads
    M = len(y)
    longest, most = 1, 1
    for k in range(k_first, k_stop):
        longest = max(longest, programs.start[k + 1] - programs.start[k])
        if programs.n_constants[k] <= MAX_CONSTANTS:
            most = max(most, programs.n_constants[k])
    V, A = np.empty((longest, M)), np.empty((longest, M))
    states, flags = np.empty(longest, np.int64), np.empty((4, 3 * most), np.int64)
    space = Workspace(
        np.empty((most, M)), np.empty((2 + most, most)), np.empty((most, M)), flags[3], np.empty(M), np.empty((4 + 2 * most, most)),
    )  # fmt: skip
    for k in range(k_first, k_stop):
        fvu[k] = np.inf
        C = programs.n_constants[k]
        if C == 0 or C > MAX_CONSTANTS:
            continue
        s, e = programs.start[k], programs.start[k + 1]
        L, c = e - s, consts[k, :C]
        tape = Tape(programs.op[s:e], programs.link[s:e], programs.literal[s:e], states[:L], V, A)
        fit = LeastSquares(tape, 0, L, flags[0, :C], flags[1, :C], flags[2], X, y, sw)
        copied(given[k], c, 0, C)
        n_curved = split(tape, 0, L, fit.linear, fit.where)
        plain_sum(tape, 0, L, fit.linear, fit.terms)
        n = min(M, max(POINTS, 6 * C)) if n_curved > 0 else M  # one solve is all that linear constants take
        forward(tape, 0, L, STATIC, X, 0, c, M)  # most candidates come to all points
        size = spreads[0] if n < M else spreads[2]
        ssr = descend(fit, space, c, n, FIRST, 1e-29 * size, 1e-3)
        if not (ssr < HUGE and ssr < bars[k, 0] * size):
            continue
        if n_curved > 0 and ssr < bars[k, 1] * size:
            n = min(M, max(FURTHER_POINTS, n))
            tolerance = 1e-5 if ssr > 1e-7 * size else 1e-9
            ssr = descend(fit, space, c, n, FURTHER, 1e-30 * spreads[2], tolerance)
        stepless = n < M or n_curved == 0
        if n < M:
            ssr = descend(fit, space, c, M, 0, 0.0, 0.0)
        if not (ssr < HUGE):
            continue
        if ssr < 1e-8 * spreads[2]:
            ssr = sharpen(fit, space, c, M)
        else:  # as the constants are, rounded
            # Where descend() made no steps the curved positions are as these constants want them.
            forward(tape, 0, L, LINEAR if stepless else DYNAMIC, X, 0, c, M)
            ssr = misfit(V[0], y, sw, M)
        if ssr < HUGE:
            fvu[k] = ssr / spreads[2]
