"""Least squares for the constants that enter a program linearly, given the others (variable projection).

Golub & Pereyra 1973.  Work arrays have one row per position (V values, A adjoints) or per constant (Q) and one column per point.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, void
from numba.types import float64, int64

from fansr.expressions import F1, F2, I1, backward, forward
from fansr.fitting.linear_constants import DYNAMIC, HUGE, INNER, LINEAR, SUMS


@njit(void(F1, F1, int64), **INNER)
def copied(a, b, n):
    """b = a over the first n (slice assignment costs seconds of compilation)."""
    for i in range(n):
        b[i] = a[i]


@njit(float64(F1, F1, int64), **SUMS)
def dot(a, b, n):
    """Sum of a*b over the first n."""
    total = 0.0
    for i in range(n):
        total += a[i] * b[i]
    return total


@njit(float64(F1, F1, int64), **INNER)
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
    for i in range(n):
        q[i] = a[i] / norm
    return norm


@njit(int64(F2, F1, F1, int64), **INNER)
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


@njit(int64(I1, I1, F1, int64, int64, I1, I1, I1, F2, F1, F1, F1, int64, F2, F2, F2, F2, I1, F1), **INNER)
def project(op, link, literal, first, stop, state, linear, where, X, c, target, sw, n, V, A, Q, R, chosen, work):
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
        norm = normalise(A[where[j]], q, n)
        if not (norm < HUGE):
            return -1
        if norm == 0.0:
            continue
        for p in range(rank):
            basis = Q[p]
            h = dot(basis, q, n)
            R[p, rank] = h
            for i in range(n):
                q[i] -= h * basis[i]
        left = math.sqrt(dot(q, q, n))
        if left < 1e-11:  # depends on the columns before: leave this constant at 0
            continue
        for i in range(n):
            q[i] /= left
        R[rank, rank] = left
        chosen[rank] = j
        size[rank] = norm
        h = dot(q, res, n)
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
