"""The inner loops of sparse_sums.py and the exact fit of a few columns: compiled kernels.

Knows matrices only.  Loops over features run over contiguous memory, so that they become several features an instruction.
"""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import compilation as nb

BLOCK = 256  # features looked at together: what is known of them stays in the first cache
LEAST_PIVOT = 1e-6  # of a unit column beside those before it, below which `few_columns` leaves the fit to others
# Arrays to work in come from their callers: kernels that make none are smaller, and sooner loaded.
PLAIN = {"_nrt": False, "no_cfunc_wrapper": True}


@nb.inner(fastmath={"reassoc", "nnan", "nsz"})
def first_largest(v, n):
    """Where the largest of v[:n] stands, the first of equal ones; none of them may be NaN."""
    largest = v[0]
    for j in range(n):
        if v[j] > largest:
            largest = v[j]
    for j in range(n):
        if v[j] == largest:
            return j
    return 0


def partners(G: np.ndarray, b: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """For each feature the one that explains most beside it, and the share of the target that the two explain; in float32.

    G (T, T) holds products of unit features, b (T,) theirs with the unit target.  Pairs with 1 - g^2 below `least` explain -1.
    """
    partner, work = np.empty(len(b), np.int64), np.empty((4, len(b)), np.float32)
    _partners(G, b, least, partner, work)
    return partner, work[0]


@nb.kernel(nb.void(nb.F2, nb.F1, nb.float32, nb.I1, nb.Array(nb.float32, 2, "C")), fastmath={"nsz"}, **PLAIN)
def _partners(G, b, least, partner, work):
    T = len(b)
    explained, short, square, shares = work[0], work[1], work[2], work[3]
    for i in range(T):
        short[i] = np.float32(b[i])
        square[i] = short[i] * short[i]
    for i in range(T):
        row = G[i]
        own, own_square = short[i], square[i]
        for j in range(T):
            g = np.float32(row[j])
            new = np.float32(1) - g * g
            both = g * own * (np.float32(-2) * short[j]) + own_square + square[j]
            shares[j] = both / new if new >= least else np.float32(-1)
        partner[i] = first_largest(shares, T)
        explained[i] = shares[partner[i]]


def exchanged(
    G: np.ndarray,
    b: np.ndarray,
    total: float,
    sets: np.ndarray,
    banned: np.ndarray,
    sweeps: int,
    least: float,
    floor: float,
) -> np.ndarray:
    """Sets (S, k) of features made locally best, in place: each place in turn takes the feature that explains most of what is left.

    G (T, T) holds products of unit features, b (T,) theirs with the target, of square `total`.  banned (S,) is a feature that a set must
    do without, -1 for none; `least` the share of a feature that must be new to the others.  At most so many sweeps over the places, none
    further where what is left (S,), relative to the target's square, is below `floor` or has come to rest; it is given back.
    """
    S, k = sets.shape
    residual, rest = np.full(S, np.inf), np.empty(k, np.int64)
    small, large = np.empty((2 * k + 1, k)), np.empty((4, max(len(b), BLOCK)))
    _exchanged(G, b, total, sets, banned, sweeps, least, floor, residual, rest, small, large)
    return residual


@nb.kernel(
    nb.void(nb.F2, nb.F1, nb.float64, nb.I2, nb.I1, nb.int64, nb.float64, nb.float64, nb.F1, nb.I1, nb.F2, nb.F2),
    fastmath=nb.REORDERED,
    **PLAIN,
)
def _exchanged(G, b, total, sets, banned, sweeps, least, floor, residual, rest, small, large):
    S, k = sets.shape
    T = len(b)
    factor, inverse, goal = small[:k], small[k : 2 * k], small[2 * k]
    white, share, over, gain = large[0], large[1], large[2], large[3]
    for s in range(S):
        for _ in range(sweeps):
            before = residual[s]
            for place in range(k):
                m = 0
                for i in range(k):
                    if i != place:
                        rest[m] = sets[s, i]
                        m += 1
                # Cholesky's factor of the others' products, a little above singular, its inverse, and the target in their basis.
                left = total
                for i in range(m):
                    for j in range(i + 1):
                        v = G[rest[i], rest[j]]
                        if i == j:
                            v += 2e-12
                        for q in range(j):
                            v -= factor[i, q] * factor[j, q]
                        factor[i, j] = math.sqrt(max(v, 1e-16)) if i == j else v / factor[j, j]
                for j in range(m):
                    inverse[j, j] = 1.0 / factor[j, j]
                    for i in range(j + 1, m):
                        v = 0.0
                        for q in range(j, i):
                            v -= factor[i, q] * inverse[q, j]
                        inverse[i, j] = v / factor[i, i]
                for i in range(m):
                    v = 0.0
                    for j in range(i + 1):
                        v += inverse[i, j] * b[rest[j]]
                    goal[i] = v
                    left -= v * v
                for first in range(0, T, BLOCK):
                    n = min(BLOCK, T - first)
                    for f in range(n):
                        share[f] = 1.0
                        over[f] = b[first + f]
                    for i in range(m):
                        row, scale = G[rest[0]], inverse[i, 0]
                        for f in range(n):
                            white[f] = scale * row[first + f]
                        for j in range(1, i + 1):
                            row, scale = G[rest[j]], inverse[i, j]
                            for f in range(n):
                                white[f] += scale * row[first + f]
                        part = goal[i]
                        for f in range(n):
                            share[f] -= white[f] * white[f]
                            over[f] -= part * white[f]
                    for f in range(n):
                        gain[first + f] = over[f] * over[f] / share[f] if share[f] > least else 0.0
                if banned[s] >= 0:
                    gain[banned[s]] = 0.0
                best = first_largest(gain, T)
                new = (left - gain[best]) / total
                if new < residual[s] * (1 - 1e-9):
                    sets[s, place] = best
                    residual[s] = new
            if not (residual[s] < before * (1 - 1e-6) and residual[s] > floor):
                break


@nb.inner
def orthonormal(B, keep, m, Q, R):
    """Gram-Schmidt, twice over, of the m columns keep[:m] of B (n, k): Q (k, n), R (k, k); false where one is hardly new."""
    n = B.shape[1]
    for i in range(m):
        q = Q[i]
        for r in range(n):
            q[r] = B[keep[i], r]
        for j in range(i):
            R[j, i] = 0.0
        for _ in range(2):
            for j in range(i):
                v = 0.0
                for r in range(n):
                    v += Q[j, r] * q[r]
                for r in range(n):
                    q[r] -= v * Q[j, r]
                R[j, i] += v
        v = 0.0
        for r in range(n):
            v += q[r] * q[r]
        v = math.sqrt(v)
        if not v > LEAST_PIVOT:
            return False
        R[i, i] = v
        for r in range(n):
            q[r] /= v
    return True


def few_columns(B: np.ndarray, t: np.ndarray, least: float):
    """Least squares of t (n,) on few of the rows of B (k, n), which are of unit length: (rows kept, coefficients, square left, errors).

    A row goes as long as the fit hardly notices: its square left, relative to the target's, stays below (1 + 2 / n) times what it is,
    or below `least`.  Errors are those of the coefficients for errors of t of one.  None where a row is too nearly a sum of others:
    this is no place to judge that.
    """
    k, n = B.shape
    keep, small, large = np.empty(k, np.int64), np.empty((2 * k + 3, k)), np.empty((k + 1, n))
    kept, left = _few_columns(B, t, least, keep, small, large)
    m = int(kept)
    return (keep[:m].tolist(), small[-2, :m], left, small[-1, :m]) if m else None


@nb.kernel(nb.UniTuple(nb.float64, 2)(nb.F2, nb.F1, nb.float64, nb.I1, nb.F2, nb.F2), fastmath=nb.REORDERED, **PLAIN)
def _few_columns(B, t, least, keep, small, large):
    k, n = B.shape
    Q, rest = large[:k], large[k]
    R, inverse, step, c, errors = small[:k], small[k : 2 * k], small[2 * k], small[2 * k + 1], small[2 * k + 2]
    whole = 0.0
    for r in range(n):
        whole += t[r] * t[r]
    if whole == 0.0:
        whole = 1.0
    m = k
    for i in range(k):
        keep[i] = i
    while True:
        if not orthonormal(B, keep, m, Q, R):
            return 0.0, 0.0
        for r in range(n):
            rest[r] = t[r]
        for i in range(m):
            c[i] = 0.0
        for _ in range(2):  # a step of refinement: the last digits matter for exact laws
            for i in range(m):
                v = 0.0
                for r in range(n):
                    v += Q[i, r] * rest[r]
                step[i] = v
            for i in range(m - 1, -1, -1):
                v = step[i]
                for j in range(i + 1, m):
                    v -= R[i, j] * step[j]
                step[i] = v / R[i, i]
                c[i] += step[i]
            for r in range(n):
                rest[r] = t[r]
            for i in range(m):
                v = c[i]
                for r in range(n):
                    rest[r] -= v * B[keep[i], r]
        left = 0.0
        for r in range(n):
            left += rest[r] * rest[r]
        left /= whole
        # Rows of the inverse of R: their squares are the variances of the coefficients.
        for j in range(m):
            inverse[j, j] = 1.0 / R[j, j]
            for i in range(j - 1, -1, -1):
                v = 0.0
                for q in range(i + 1, j + 1):
                    v -= R[i, q] * inverse[q, j]
                inverse[i, j] = v / R[i, i]
        at, lost = 0, np.inf
        for i in range(m):
            v = 0.0
            for j in range(i, m):
                v += inverse[i, j] * inverse[i, j]
            errors[i] = math.sqrt(v)
            # What leaving out a row costs is its coefficient's square by its variance.
            if left + c[i] * c[i] / v / whole < lost:
                at, lost = i, left + c[i] * c[i] / v / whole
        if m == 1 or lost > max(left * (1 + 2 / n), least):
            return float(m), left
        m -= 1
        for i in range(at, m):
            keep[i] = keep[i + 1]
