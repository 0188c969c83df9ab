"""Least squares for the constants that enter a program linearly, given the others (variable projection).

Golub & Pereyra 1973.  Work arrays have one row per position (V values, A adjoints) or per constant (Q) and one column per point.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fansr.expressions import TAPE, Tape, backward, compilation as nb, forward
from fansr.fitting.linear_constants import ALONE, CURVED, DYNAMIC, FACTOR, HUGE, LINEAR, OVER


class LeastSquares(NamedTuple):
    """One fit: the subtree first..stop-1 of a tape to `target` at the columns X, with split()'s linear and where, plain_sum()'s terms."""

    tape: Tape
    first: int
    stop: int
    linear: np.ndarray  # (C,) int64, 1 for the linear constants
    where: np.ndarray  # (C,) int64, each constant's position
    terms: np.ndarray  # (3 * C,) int64
    X: np.ndarray  # (D, M) float64
    target: np.ndarray  # (M,) float64
    sw: np.ndarray  # (M,) float64, square roots of the weights


class Workspace(NamedTuple):
    """Arrays that fits use again and again, for some C' >= C constants and some width >= n points."""

    Q: np.ndarray  # (C', width) float64, orthonormal basis of the linear columns
    R: np.ndarray  # (2 + C', C') float64, their triangle; then the coefficients and the columns' sizes
    J: np.ndarray  # (C', width) float64, projected Jacobian of the curved constants
    chosen: np.ndarray  # (C',) int64, the constant of each column of Q
    residual: np.ndarray  # (width,) float64, weighted
    small: np.ndarray  # (4 + 2 * C', C') float64


FIT = nb.named(LeastSquares, TAPE, nb.int64, nb.int64, nb.I1, nb.I1, nb.I1, nb.F2, nb.F1, nb.F1)
SPACE = nb.named(Workspace, nb.F2, nb.F2, nb.F2, nb.I1, nb.F1, nb.F2)


@nb.inner(forceinline=True, fastmath=nb.REORDERED)
def dot(a, b, n):
    """Sum of a*b over the first n."""
    total = 0.0
    for i in range(n):
        total += a[i] * b[i]
    return total


@nb.inner(forceinline=True, fastmath=nb.REORDERED)
def less_and_dot(q, h, a, b, n):
    """q -= h * a over the first n; returns the sum of the new q * b."""
    total = 0.0
    for i in range(n):
        x = q[i] - h * a[i]
        q[i] = x
        total += x * b[i]
    return total


@nb.inner(forceinline=True, fastmath=nb.REORDERED)
def less_and_square(q, h, a, n):
    """q -= h * a over the first n; returns the sum of the new q * q."""
    total = 0.0
    for i in range(n):
        x = q[i] - h * a[i]
        q[i] = x
        total += x * x
    return total


@nb.inner(forceinline=True, fastmath=nb.REORDERED)
def scaled_and_dot(q, factor, b, n):
    """q *= factor over the first n; returns the sum of the new q * b."""
    total = 0.0
    for i in range(n):
        x = q[i] * factor
        q[i] = x
        total += x * b[i]
    return total


@nb.inner(forceinline=True, fastmath=nb.REORDERED)
def misfit(values, target, sw, n):
    """Sum of (sw * (values - target))^2 over the first n."""
    total = 0.0
    for i in range(n):
        r = sw[i] * (values[i] - target[i])
        total += r * r
    return total


@nb.inner
def normalise(a, q, n):
    """q = a / |a| without overflow; returns |a|, 0 for a zero column and NaN for one that is not finite."""
    square = dot(a, a, n)
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
        square = dot(q, q, n)
        norm = math.sqrt(square)
        for i in range(n):
            q[i] /= norm
        return scale * norm
    norm = math.sqrt(square)
    inverse = 1.0 / norm
    for i in range(n):
        q[i] = a[i] * inverse
    return norm


@nb.inner
def solve_positive(H, b, x, m):
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


@nb.inner
def back_substitute(R, x, n):
    """x = R^-1 x for the upper triangle R[:n, :n], in place."""
    for p in range(n - 1, -1, -1):
        s = x[p]
        for k in range(p + 1, n):
            s -= R[p, k] * x[k]
        x[p] = s / R[p, p]


@nb.inner(forceinline=True, fastmath=nb.REORDERED)
def _column(kind, sw, u, q, n):
    """q = the column of a linear constant of this kind (-1: u itself); returns the sum of q * q."""
    total = 0.0
    if kind == FACTOR:
        for i in range(n):
            x = sw[i] * u[i]
            q[i] = x
            total += x * x
    elif kind == OVER:
        for i in range(n):
            x = sw[i] / u[i]
            q[i] = x
            total += x * x
    else:
        given = sw if kind == ALONE else u
        for i in range(n):
            x = given[i]
            q[i] = x
            total += x * x
    return total


@nb.shared(nb.int64(FIT, SPACE, nb.F1, nb.int64))
def project(fit, space, c, n):
    """Set the linear constants of c to their least-squares values given the curved ones.

    space.residual[:n] becomes the weighted residual, Q[:rank] an orthonormal basis of the linear columns (modified
    Gram-Schmidt with the residual as a further column, which is backward stable).  A[first] must hold sw.
    Returns the rank, or -1 when something is not finite.
    """
    tape, first, linear, terms = fit.tape, fit.first, fit.linear, fit.terms
    target, sw, A, Q, R = fit.target, fit.sw, tape.A, space.Q, space.R
    C = len(linear)
    res = space.residual
    plain = terms[0] >= 0
    for j in range(C):
        if linear[j]:
            c[j] = 0.0
            if plain and terms[3 * j] != ALONE and tape.state[terms[3 * j + 1]] & CURVED:
                forward(tape, terms[3 * j + 1], terms[3 * j + 2], CURVED, fit.X, 0, c, n)
    if plain:
        for i in range(n):
            res[i] = sw[i] * target[i]
    else:
        forward(tape, first, fit.stop, DYNAMIC, fit.X, 0, c, n)
        root = tape.V[first]
        for i in range(n):
            res[i] = sw[i] * (target[i] - root[i])
        if tape.state[first] & LINEAR == 0:
            return 0
        backward(tape, first, fit.stop, LINEAR, n)
    coefficient = R[len(R) - 2]
    size = R[len(R) - 1]
    rank = 0
    for j in range(C):
        if not linear[j]:
            continue
        q = Q[rank]
        kind = terms[3 * j] if plain else -1
        u = tape.V[terms[3 * j + 1]] if kind > 0 else A[fit.where[j]]
        square, norm = _column(kind, sw, u, q, n), 1.0
        if not (1e-200 < square < 1e200):
            norm = normalise(q, q, n)
            if not (norm < HUGE):
                return -1
            if norm == 0.0:
                continue
            square = 1.0
        left = square
        if rank > 0:
            h = dot(Q[0], q, n)
            for p in range(1, rank):
                R[p - 1, rank] = h
                h = less_and_dot(q, h, Q[p - 1], Q[p], n)
            R[rank - 1, rank] = h
            left = less_and_square(q, h, Q[rank - 1], n)
        if left < 1e-22 * square:  # depends on the columns before: leave this constant at 0
            continue
        left = math.sqrt(left)
        R[rank, rank] = left
        space.chosen[rank] = j
        size[rank] = norm
        h = scaled_and_dot(q, 1.0 / left, res, n)
        coefficient[rank] = h
        for i in range(n):
            res[i] -= h * q[i]
        rank += 1
    back_substitute(R, coefficient, rank)
    for p in range(rank):
        c[space.chosen[p]] = coefficient[p] / size[p]
    return rank
