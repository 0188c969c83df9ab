"""The inner loops of sparse_sums.py and the exact fit of a few columns: compiled kernels.

Knows matrices only.  Loops over features run over contiguous memory, so that they become several features an instruction.
"""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import compilation as nb

BLOCK = 256  # features looked at together: what is known of them stays in the first cache
LEAST_PIVOT = 1e-6  # of a unit column beside those before it, below which `few_columns` leaves the fit to others
HUGE = 1.7e308  # anything not below it is infinite or NaN


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


@nb.kernel(nb.void(nb.F2, nb.F1, nb.float32, nb.I1, nb.Array(nb.float32, 1, "C")), fastmath={"nsz"})
def partners(G, b, least, partner, explained):
    """For each feature the one that explains most beside it, and the share of the target that the two explain; in float32.

    G (T, T) holds products of unit features, b (T,) theirs with the unit target.  Pairs with 1 - g^2 below `least` explain -1.
    """
    T = len(b)
    short, square, shares = np.empty(T, np.float32), np.empty(T, np.float32), np.empty(T, np.float32)
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


@nb.kernel(nb.void(nb.F2, nb.F1, nb.float64, nb.I2, nb.I1, nb.int64, nb.float64, nb.float64, nb.F1), fastmath=nb.REORDERED)
def exchanged(G, b, total, sets, banned, sweeps, least, floor, residual):
    """Sets (S, k) of features made locally best, in place: each place in turn takes the feature that explains most of what is left.

    G (T, T) holds products of unit features, b (T,) theirs with the target, of square `total`.  banned (S,) is a feature that a set must
    do without, -1 for none; `least` the share of a feature that must be new to the others.  At most so many sweeps over the places, none
    further where residual (S,), relative to the target's square, is below `floor` or has come to rest.
    """
    S, k = sets.shape
    T = len(b)
    rest = np.empty(k, np.int64)
    factor, inverse, goal = np.empty((k, k)), np.zeros((k, k)), np.empty(k)
    white, share, over, gain = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(T)
    for s in range(S):
        residual[s] = np.inf
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
