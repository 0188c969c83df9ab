"""What numpy has no single function for in a step of decoding on a CPU: root mean squares, GELU, and attention of many
growing sequences to their own pasts, without ever copying a cache.

Every position of every sequence leaves its key and value in one pool, once.  A sequence is a column of
`ancestors`: where in the pool each of its positions lies.  Sequences that share a prefix share its entries, so
branching and dropping sequences moves indices and no numbers.  The two matrix products and the gathering
that torch would need cost more than half of a decoding step at these sizes; this loop costs a twentieth.
Importing this module loads numba.
"""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import compilation as nb

_F1, _F2 = nb.Array(nb.float32, 1, "C"), nb.Array(nb.float32, 2, "C")


_FAST = {"contract", "reassoc", "nsz", "arcp"}  # all but what would assume away NaN and infinity


@nb.inner(fastmath=_FAST)
def dot(a, b, start, n):
    """Sum of a * b over n entries from `start`; over slices, whose plain counting the compiler turns into vectors."""
    a, b = a[start : start + n], b[start : start + n]
    total = nb.float32(0.0)
    for e in range(n):
        total += a[e] * b[e]
    return total


@nb.inner(fastmath=_FAST)
def add(out, b, weight, start, n):
    """out += weight * b over n entries from `start`."""
    out, b = out[start : start + n], b[start : start + n]
    for e in range(n):
        out[e] += weight * b[e]


@nb.kernel(nb.void(_F2, nb.float32, _F2), fastmath=_FAST)
def normed(x, epsilon, out):
    """out (N, d) = each row of x over its root mean square."""
    n, d = x.shape
    for i in range(n):
        row, to = x[i], out[i]
        scale = nb.float32(1.0 / math.sqrt(dot(row, row, 0, d) / d + epsilon))
        for e in range(d):
            to[e] = row[e] * scale


@nb.inner(fastmath=_FAST)
def turn(source, start, heads, cos, sin, out):
    """out (d,) = the d entries of source from `start`, each head's pairs (e, e + E/2) turned by their angles (RoPE)."""
    width = len(cos)
    half = width // 2
    for h in range(heads):
        a, b = (
            source[start + h * width : start + h * width + half],
            source[start + h * width + half : start + (h + 1) * width],
        )
        to, to_b = out[h * width : h * width + half], out[h * width + half : (h + 1) * width]
        for e in range(half):
            to[e] = a[e] * cos[e] - b[e] * sin[e]
            to_b[e] = b[e] * cos[half + e] + a[e] * sin[half + e]


@nb.kernel(nb.void(_F2, _F1, _F1, _F2, _F2, nb.int64, nb.I2, nb.int64, _F2), fastmath=_FAST)
def attend_pool(qkv, cos, sin, keys, values, start, ancestors, heads, out):
    """One position of N sequences: out (N, d) = softmax(q k / sqrt(E)) v per head over each row's ancestors.

    qkv (N, 3d), before rotation; cos and sin (E,) of this position; keys and values (P, d), the pool, whose rows
    start .. start+N-1 take this position's; ancestors (N, T) int64: rows of the pool, the newest (the row's own) last.
    """
    n, d = qkv.shape[0], qkv.shape[1] // 3
    width = d // heads
    steps = ancestors.shape[1]
    scale = nb.float32(1.0 / math.sqrt(width))
    scores = np.empty((heads, steps), np.float32)
    total = np.empty(heads, np.float32)
    q = np.empty(d, np.float32)
    for i in range(n):
        turn(qkv[i], 0, heads, cos, sin, q)
        turn(qkv[i], d, heads, cos, sin, keys[start + i])
        for e in range(d):
            values[start + i, e] = qkv[i, 2 * d + e]
        for s in range(steps):
            for h in range(heads):
                scores[h, s] = dot(q, keys[ancestors[i, s]], h * width, width) * scale
        for h in range(heads):
            top = scores[h, 0]
            for s in range(1, steps):
                top = max(top, scores[h, s])
            total[h] = nb.float32(0.0)
            for s in range(steps):
                scores[h, s] = nb.float32(math.exp(scores[h, s] - top))
                total[h] += scores[h, s]
        row = out[i]
        for e in range(d):
            row[e] = nb.float32(0.0)
        for s in range(steps):
            for h in range(heads):
                add(row, values[ancestors[i, s]], scores[h, s] / total[h], h * width, width)


# erf(z) = z P(z^2) / Q(z^2) on [-4, 4], the rational function of Eigen (GenericPacketMathFunctions.h, perf_erf_float):
# within 5e-7 of erf, and free of branches, so that the compiler turns the loop into vectors.
_P = tuple(
    np.float32(c)
    for c in (
        -1.60960333262415e-02, -2.95459980854025e-03, -7.34990630326855e-04, -5.69250639462346e-05,
        -2.10102402082508e-06, 2.77068142495902e-08, -2.72614225801306e-10,
    )
)  # fmt: skip
_Q = tuple(
    np.float32(c)
    for c in (
        -1.42647390514189e-02, -7.37332916720468e-03, -1.68282697438203e-03, -2.13374055278905e-04,
        -1.45660718464996e-05,
    )
)  # fmt: skip
_HALF, _EDGE, _ROOT_HALF = np.float32(0.5), np.float32(4.0), np.float32(math.sqrt(0.5))


@nb.kernel(nb.void(_F1), fastmath=_FAST)
def gelu(x):
    """x (n,) becomes x * (1 + erf(x / sqrt(2))) / 2, in place."""
    for i in range(len(x)):
        z = min(max(x[i] * _ROOT_HALF, -_EDGE), _EDGE)
        s = z * z
        p = _P[0] + s * (_P[1] + s * (_P[2] + s * (_P[3] + s * (_P[4] + s * (_P[5] + s * _P[6])))))
        q = _Q[0] + s * (_Q[1] + s * (_Q[2] + s * (_Q[3] + s * _Q[4])))
        x[i] *= _HALF + _HALF * (z * p / q)
