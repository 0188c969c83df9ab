"""Terms of the library nearest to a goal: all of them looked at in float32 on a few points, the leading ones in float64 on all.

A goal is what a place in an expression would have to give (`nearest`) or what a sum still lacks (`complete`).  The terms lie in
tiles (subtree_library.py) whose rows are points, so that one pass over a tile gives the weighted products of all its terms with
several vectors at once, many terms an instruction, what is loaded and what is summed staying in the first cache.
Terms are centred there, so that a column that hardly varies loses no digits in float32.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fansr.expressions import compilation as nb
from fansr.proposers.local_search.genomes import HUGE, MAX_TERMS
from fansr.proposers.local_search.subtree_library import POINTS, SUMMAND_PRICE, TERM_PRICE, TILE, Library

LEADING = 16  # terms looked at in float64
BEST = 6  # of which are kept
VECTORS = MAX_TERMS + 4  # most vectors of one pass: the basis of a sum with its constant, the residual, the weights

# A share of the goal's power below which float64 says nothing, and float32.
LEAST, LEAST_32 = 1e-13, np.float32(1e-7)
SUMMAND_32 = np.float32(math.exp(SUMMAND_PRICE))
ONE, TWO, FOUR = np.float32(1), np.float32(2), np.float32(4)


class Sample(NamedTuple):
    """The points that changes are aimed at: the first n of these."""

    X: np.ndarray  # (D, M) float64
    y: np.ndarray  # (M,) float64
    sw: np.ndarray  # (M,) float64, square roots of the weights
    n: int


class Best(NamedTuple):
    """The best terms of a library, best first: their rows (-1: none) and (score, a, b) for a + b * term."""

    rows: np.ndarray  # (BEST,) int64
    scores: np.ndarray  # (BEST, 3) float64


class Goals(NamedTuple):
    """The best terms for goals asked for before, each in the place that its hash names, the latest where two share one."""

    keys: np.ndarray  # (a power of 2,) uint64
    rows: np.ndarray  # (as many, BEST) int64
    scores: np.ndarray  # (as many, BEST, 3) float64


class Pass(NamedTuple):
    """Work space of a pass over the library."""

    vectors: np.ndarray  # (VECTORS, POINTS) float32
    sums: np.ndarray  # (VECTORS * TILE,) float32
    values: np.ndarray  # (TILE,) float32
    rows: np.ndarray  # (LEADING,) int64, the terms in the lead
    leads: np.ndarray  # (LEADING,) float32, their values, smallest first
    # Of a sum's completion, once known (T,): each term's products with the constant and its squares, the same for all sums.
    known: np.ndarray  # (T,) int64
    whole: np.ndarray  # (T, 2, TILE) float32


S1, S2, S3 = (nb.Array(nb.float32, n, "C") for n in (1, 2, 3))
LIBRARY, SAMPLE, BEST_TYPE, GOALS, PASS = (
    nb.named(Library, nb.F2, nb.I2, nb.I1, S3, S2, S2),
    nb.named(Sample, nb.F2, nb.F1, nb.F1, nb.int64),
    nb.named(Best, nb.I1, nb.F2),
    nb.named(Goals, nb.W1, nb.I2, nb.F3),
    nb.named(Pass, S2, S1, S1, nb.I1, S1, nb.I1, S3),
)


@nb.inner(_nrt=True)
def new_pass(n_tiles):
    """Work space of passes over a library of so many tiles, for one sample."""
    return Pass(
        np.empty((VECTORS, POINTS), np.float32),
        np.empty(VECTORS * TILE, np.float32),
        np.empty(TILE, np.float32),
        np.empty(LEADING, np.int64),
        np.empty(LEADING, np.float32),
        np.zeros(n_tiles, np.int64),
        np.empty((n_tiles, 2, TILE), np.float32),
    )


def new_goals(places: int = 4096) -> Goals:
    """No goals; to be kept with the sample and the library they are asked with."""
    return Goals(np.zeros(places, np.uint64), np.empty((places, BEST), np.int64), np.empty((places, BEST, 3)))


@nb.inner
def clear(best):
    """No terms."""
    for j in range(len(best.rows)):
        best.rows[j], best.scores[j, 0] = -1, np.inf


@nb.inner
def _insert(best, k, score, a, b):
    """Term k takes its place among the best, if it has one."""
    j = len(best.rows) - 1
    if not (score < best.scores[j, 0]):
        return
    while j > 0 and score < best.scores[j - 1, 0]:
        best.rows[j] = best.rows[j - 1]
        for c in range(3):
            best.scores[j, c] = best.scores[j - 1, c]
        j -= 1
    best.rows[j] = k
    best.scores[j, 0], best.scores[j, 1], best.scores[j, 2] = score, a, b


@nb.shared(nb.void(S2, S2, nb.int64, nb.int64, S1), fastmath=nb.REORDERED)
def _products(tile, vectors, first, stop, sums):
    """Products of a tile's terms u with vectors: sums[r*TILE + k] = sum of vectors[r]*u_k for r from first to stop-1.

    tile (POINTS, TILE).  Four points at a time and two vectors, so that what is loaded is used more than once.
    """
    for k in range(first * TILE, stop * TILE):
        sums[k] = np.float32(0)
    for i in range(0, POINTS, 4):
        a, b, c, d = tile[i], tile[i + 1], tile[i + 2], tile[i + 3]
        r = first
        if (stop - first) % 2 == 1:
            v, some = vectors[r], sums[r * TILE : (r + 1) * TILE]
            p, q, s, t = v[i], v[i + 1], v[i + 2], v[i + 3]
            for k in range(TILE):
                some[k] += p * a[k] + q * b[k] + s * c[k] + t * d[k]
            r += 1
        while r < stop:
            v, w = vectors[r], vectors[r + 1]
            p, q, s, t = v[i], v[i + 1], v[i + 2], v[i + 3]
            e, f, g, h = w[i], w[i + 1], w[i + 2], w[i + 3]
            some, more = sums[r * TILE : (r + 1) * TILE], sums[(r + 1) * TILE : (r + 2) * TILE]
            for k in range(TILE):
                some[k] += p * a[k] + q * b[k] + s * c[k] + t * d[k]
                more[k] += e * a[k] + f * b[k] + g * c[k] + h * d[k]
            r += 2


@nb.shared(nb.void(S2, S1, S1, S1), fastmath=nb.REORDERED)
def _moments(tile, weights, goal, sums):
    """Three rows of sums over a tile's points for each term u: of weights*u, of goal*u, of weights*u^2."""
    mean, along, squares = sums[:TILE], sums[TILE : 2 * TILE], sums[2 * TILE : 3 * TILE]
    for k in range(3 * TILE):
        sums[k] = np.float32(0)
    for i in range(0, POINTS, 4):
        a, b, c, d = tile[i], tile[i + 1], tile[i + 2], tile[i + 3]
        p, q, s, t = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
        e, f, g, h = goal[i], goal[i + 1], goal[i + 2], goal[i + 3]
        for k in range(TILE):
            mean[k] += p * a[k] + q * b[k] + s * c[k] + t * d[k]
            along[k] += e * a[k] + f * b[k] + g * c[k] + h * d[k]
            squares[k] += p * (a[k] * a[k]) + q * (b[k] * b[k]) + s * (c[k] * c[k]) + t * (d[k] * d[k])


@nb.inner
def _lead(values, first, space):
    """Those terms of a tile whose value is small enough take their places in the lead."""
    leads, rows = space.leads, space.rows
    worst = leads[LEADING - 1]
    width = len(values) // 8  # not a number that is known to the compiler, which would write out the loop over it
    for begin in range(0, len(values), width):
        some, small = values[begin:], 0
        for k in range(width):
            small += some[k] < worst
        if small == 0:  # as in most parts of a tile
            continue
        for k in range(width):
            value = some[k]
            if value < worst:
                j = LEADING - 1
                while j > 0 and value < leads[j - 1]:
                    leads[j], rows[j] = leads[j - 1], rows[j - 1]
                    j -= 1
                leads[j], rows[j] = value, first + begin + k
                worst = leads[LEADING - 1]


@nb.inner
def _no_lead(space):
    """Nobody leads."""
    for j in range(LEADING):
        space.rows[j], space.leads[j] = -1, np.float32(np.inf)


@nb.shared(nb.int64(nb.F1, nb.F1, nb.int64, LIBRARY, PASS), fastmath=nb.REORDERED)
def screen(target, sw, n, library, space):
    """The terms T for which a + b*T or b*T comes nearest to target on the first POINTS points, in float32; 0: not to be said.

    Values are those of `nearest`'s scores before their logarithm, in units of the goal's spread.
    """
    _no_lead(space)
    m = min(n, POINTS)
    largest, weight, mean = 0.0, 0.0, 0.0
    for i in range(m):
        largest = max(largest, sw[i])
    if not (0.0 < largest < HUGE):
        return 0
    for i in range(m):
        w = (sw[i] / largest) ** 2
        weight += w
        mean += w * target[i]
    mean /= weight
    spread = 0.0
    for i in range(m):
        spread += (sw[i] / largest) ** 2 / weight * (target[i] - mean) ** 2
    if not (1e-26 * mean * mean < spread < HUGE):
        return 0
    size = math.sqrt(spread)
    weights, goal = space.vectors[0], space.vectors[1]
    for i in range(POINTS):
        weights[i], goal[i] = np.float32(0), np.float32(0)
        if i < m:
            w = (sw[i] / largest) ** 2 / weight
            weights[i] = w
            goal[i] = w * ((target[i] - mean) / size)
    mu = np.float32(mean / size)
    sums, values = space.sums, space.values
    along = sums[TILE : 2 * TILE]
    squares = sums[2 * TILE : 3 * TILE]
    for t in range(len(library.tiles)):
        _moments(library.tiles[t], weights, goal, sums)
        centre, price = library.centres[t], library.prices[t]
        for k in range(TILE):
            g = centre[k] + sums[k]
            cov = along[k]
            var = max(squares[k] - sums[k] * sums[k], LEAST_32 * squares[k])
            with_summand = max(ONE - cov * cov / var, LEAST_32)
            left = max(ONE + (mu * mu * var - TWO * g * mu * cov - cov * cov) / (g * g + var), LEAST_32)
            values[k] = (with_summand * SUMMAND_32 if with_summand * FOUR < left else left) * price[k]
        _lead(values, t * TILE, space)
    return 1


@nb.shared(nb.void(nb.F1, nb.F1, nb.int64, LIBRARY, PASS, BEST_TYPE), fastmath=nb.REORDERED)
def nearest(target, sw, n, library, space, best):
    """The terms T of the library for which a + b*T comes nearest to target, weighted by sw^2.

    A score is the log of the unexplained share and a price for the term's size.
    """
    clear(best)
    total, mean, power = 0.0, 0.0, 0.0
    for i in range(n):
        total += sw[i] * sw[i]
        mean += sw[i] * sw[i] * target[i]
        power += sw[i] * sw[i] * target[i] * target[i]
    if not (total > 0.0 and power > 0.0 and power < HUGE) or screen(target, sw, n, library, space) == 0:
        return
    spread = power - mean * mean / total
    for lead in range(LEADING):
        k = space.rows[lead]
        if k < 0:
            break
        row = library.values[k]
        s1, s2, s12 = 0.0, 0.0, 0.0
        for i in range(n):
            w = sw[i] * sw[i] * row[i]
            s1 += w
            s2 += w * row[i]
            s12 += w * target[i]
        var = s2 - s1 * s1 / total
        cov = s12 - s1 * mean / total
        # A factor alone, unless a summand makes it four times better.
        left = max(0.0, 1.0 - s12 * s12 / (s2 * power)) * power
        a, b = 0.0, s12 / s2
        with_summand = spread - cov * cov / var if var > 1e-12 * s2 else left
        if max(with_summand, LEAST * power) * 4.0 < left:
            left = with_summand
            b = cov / var
            a = (mean - b * s1) / total
        score = math.log(max(left, LEAST * power) / power) + TERM_PRICE * library.lengths[k]
        score += SUMMAND_PRICE if a != 0.0 else 0.0
        _insert(best, k, score, a, b)


@nb.shared(nb.int64(SAMPLE, nb.F2, nb.I1, nb.int64, nb.int64, nb.int64, nb.F2), fastmath=nb.REORDERED)
def basis(sample, V, places, n_terms, out, n, Q):
    """Orthonormal basis, on the first n points, of the constant and the terms of a sum but term `out`, weighted by sw.

    V holds the values of the sum's positions, places where its terms begin.  Q[:rank] is the basis, Q[rank] what it leaves of y.
    Returns the rank, or -1 where something is not finite.
    """
    y, sw = sample.y, sample.sw
    rank = 0
    for t in range(-1, n_terms + 1):
        if t == out and t >= 0:
            continue
        row = Q[rank]
        for i in range(n):
            row[i] = sw[i] * (1.0 if t < 0 else y[i] if t == n_terms else V[places[t], i])
        before = 0.0
        for i in range(n):
            before += row[i] * row[i]
        if not (before < HUGE):
            return -1
        for p in range(rank):
            h = 0.0
            for i in range(n):
                h += Q[p, i] * row[i]
            for i in range(n):
                row[i] -= h * Q[p, i]
        if t == n_terms:
            break
        after = 0.0
        for i in range(n):
            after += row[i] * row[i]
        if after > 1e-20 * before:
            after = math.sqrt(after)
            for i in range(n):
                row[i] /= after
            rank += 1
    return rank


@nb.shared(nb.void(SAMPLE, nb.F2, nb.I1, nb.int64, nb.int64, LIBRARY, nb.F2, PASS, BEST_TYPE), fastmath=nb.REORDERED)
def complete(sample, V, places, n_terms, out, library, Q, space, best):
    """Library terms that best complete a sum without its term `out` (-1: with all of them): orthogonal least squares.

    Arguments as for `basis`.  A candidate's gain is that of the refitted sum; scores as in `nearest` (a = 0, b = 1).
    """
    clear(best)
    _no_lead(space)
    sw = sample.sw
    m = min(sample.n, POINTS)
    rank = basis(sample, V, places, n_terms, out, m, Q)
    if rank < 0:
        return
    residual, power, largest = Q[rank], 0.0, 0.0
    for i in range(m):
        power += residual[i] * residual[i]
        largest = max(largest, sw[i])
    if not (power > 0.0 and largest > 0.0):
        return
    size = math.sqrt(power)
    # The basis and the residual, then the squares of the weights.
    for r in range(rank + 2):
        v = space.vectors[r]
        for i in range(POINTS):
            v[i] = np.float32(0)
        for i in range(m):
            w = sw[i] / largest
            v[i] = w * Q[r, i] if r < rank else (w * residual[i] / size if r == rank else w * w)
    values, sums = space.values, space.sums
    for t in range(len(library.tiles)):
        constant, squares = space.whole[t, 0], space.whole[t, 1]
        if space.known[t] == 0:
            space.known[t] = 1
            _moments(library.tiles[t], space.vectors[rank + 1], space.vectors[0], sums)
            for k in range(TILE):
                constant[k], squares[k] = sums[TILE + k], sums[2 * TILE + k]
        _products(library.tiles[t], space.vectors, 1, rank + 1, sums)
        along = sums[rank * TILE : (rank + 1) * TILE]
        for k in range(TILE):
            values[k] = squares[k] - constant[k] * constant[k]
        for r in range(1, rank):
            some = sums[r * TILE : (r + 1) * TILE]
            for k in range(TILE):
                values[k] -= some[k] * some[k]
        price = library.prices[t]
        for k in range(TILE):
            free = max(values[k], LEAST_32 * squares[k])
            values[k] = max(ONE - along[k] * along[k] / free, LEAST_32) * price[k]
        _lead(values, t * TILE, space)
    n = sample.n
    if n > m:
        rank = basis(sample, V, places, n_terms, out, n, Q)
        if rank < 0:
            return
        residual, power = Q[rank], 0.0
        for i in range(n):
            power += residual[i] * residual[i]
        if not (power > 0.0):
            return
    for lead in range(LEADING):
        k = space.rows[lead]
        if k < 0:
            break
        row = library.values[k]
        square, along_all = 0.0, 0.0
        for i in range(n):
            v = sw[i] * row[i]
            square += v * v
            along_all += v * residual[i]
        free_all = square
        for p in range(rank):
            h = 0.0
            for i in range(n):
                h += Q[p, i] * (sw[i] * row[i])
            free_all -= h * h
        if not (free_all > 1e-9 * square and square < HUGE):
            continue
        score = math.log(max(LEAST, 1.0 - along_all * along_all / (free_all * power))) + TERM_PRICE * library.lengths[k]
        _insert(best, k, score, 0.0, 1.0)
