"""Kernels that run flat programs (programs.py says what one is): values, derivatives, links.

Walking the positions of a program from the last to the first meets operands before operators (`forward`);
walking them upwards meets operators first, which is reverse-mode differentiation (`backward`).  Position k keeps
its values in V[k] and its adjoints in A[k], both (L, block) work arrays, so that a block of points stays in the
cache.

The operators are the true ones: a NaN or an infinity comes out wherever the definition says so, nothing is
protected, and no input is written to.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fansr.expressions import compilation as nb, opcodes as op
from fansr.expressions.elementary_functions import function_row

BLOCK = 512  # points per block of evaluate(); 64 KiB of values for 16 positions


class Tape(NamedTuple):
    """A program of L positions and the work arrays to run it on blocks of points: what the kernels take.

    state says per position what has to be computed: positions with state[k] & wanted != 0.
    """

    op: np.ndarray  # (L,) int64
    link: np.ndarray  # (L,) int64
    literal: np.ndarray  # (L,) float64
    state: np.ndarray  # (L,) int64
    V: np.ndarray  # (L, block) float64, values
    A: np.ndarray  # (L, block) float64, adjoints; where none are wanted V will do


TAPE = nb.named(Tape, nb.I1, nb.I1, nb.F1, nb.I1, nb.F2, nb.F2)


@nb.inner
def copied(source, target, at, n):
    """target[at : at + n] = source[:n] (slice assignment costs seconds of compilation)."""
    part = target[
        at:
    ]  # where an index is a sum it may be negative for all numba knows, and the loop is no copy of a block
    for i in range(n):
        part[i] = source[i]


@nb.shared(nb.void(TAPE, nb.int64, nb.int64, nb.int64, nb.F2, nb.int64, nb.F1, nb.int64))
def forward(tape, first, stop, wanted, X, offset, c, n):
    """V[k, :n] = values of the positions k in first..stop-1 whose state[k] & wanted is not 0.

    X (D, M) holds the columns; points offset..offset+n-1 are taken.  Positions left out must still hold
    their values from before.
    """
    codes, link, literal, state, V = tape.op, tape.link, tape.literal, tape.state, tape.V
    for k in range(stop - 1, first - 1, -1):
        if state[k] & wanted == 0:
            continue
        q = codes[k]
        v = V[k]
        if q >= op.LITERAL:
            if q == op.COLUMN:
                copied(X[link[k]][offset:], v, 0, n)
            elif q == op.COPY:
                copied(V[link[k]], v, 0, n)
            else:
                value = c[link[k]] if q == op.FREE else literal[k]
                for i in range(n):
                    v[i] = value
            continue
        a = V[k + 1]
        if q <= op.LAST_BINARY:
            b = V[link[k]]
            if q == op.ADD:
                for i in range(n):
                    v[i] = a[i] + b[i]
            elif q == op.SUB:
                for i in range(n):
                    v[i] = a[i] - b[i]
            elif q == op.MUL:
                for i in range(n):
                    v[i] = a[i] * b[i]
            elif q == op.DIV:
                for i in range(n):
                    v[i] = a[i] / b[i]
            else:
                for i in range(n):
                    v[i] = a[i] ** b[i]
        elif q == op.ABS:
            for i in range(n):
                v[i] = abs(a[i])
        elif q == op.INV:
            for i in range(n):
                v[i] = 1.0 / a[i]
        elif q == op.NEG:
            for i in range(n):
                v[i] = -a[i]
        elif q == op.POW2:
            for i in range(n):
                v[i] = a[i] * a[i]
        elif q == op.POW3:
            for i in range(n):
                v[i] = a[i] * a[i] * a[i]
        elif q == op.POW4:
            for i in range(n):
                s = a[i] * a[i]
                v[i] = s * s
        elif q == op.POW5:
            for i in range(n):
                s = a[i] * a[i]
                v[i] = s * s * a[i]
        elif q == op.ROOT2:
            for i in range(n):
                v[i] = math.sqrt(a[i])
        elif q == op.ROOT4:
            for i in range(n):
                v[i] = math.sqrt(math.sqrt(a[i]))
        elif q == op.ROOT5:
            for i in range(n):
                v[i] = math.copysign(abs(a[i]) ** 0.2, a[i])
        elif q == op.TAN:
            for i in range(n):
                v[i] = math.tan(a[i])
        elif q == op.ASIN:
            for i in range(n):
                v[i] = math.asin(a[i])
        elif q == op.ACOS:
            for i in range(n):
                v[i] = math.acos(a[i])
        elif q == op.ATAN:
            for i in range(n):
                v[i] = math.atan(a[i])
        elif q == op.ASINH:
            for i in range(n):
                v[i] = math.asinh(a[i])
        elif q == op.ACOSH:
            for i in range(n):
                v[i] = math.acosh(a[i])
        elif q == op.ATANH:
            for i in range(n):
                v[i] = math.atanh(a[i])
        elif q == op.LOG or q == op.EXP or q == op.SIN or q == op.COS or op.SINH <= q <= op.TANH or q == op.ROOT3:
            function_row(q, a, v, n)
        elif q <= op.MULT5:
            factor = float(q - op.MULT2 + 2)
            for i in range(n):
                v[i] = factor * a[i]
        elif q <= op.DIV5:
            factor = float(q - op.DIV2 + 2)
            for i in range(n):
                v[i] = a[i] / factor
        elif q == op.STEP:
            for i in range(n):
                v[i] = 1.0 if a[i] > 0.0 else (0.0 if a[i] <= 0.0 else a[i])
        elif q == op.SIGN:
            for i in range(n):
                v[i] = np.sign(a[i])
        elif q == op.FLOOR:
            for i in range(n):
                v[i] = np.floor(a[i])
        elif q == op.LOGISTIC:
            function_row(q, a, v, n)
        elif q == op.JOIN:
            for i in range(n):
                v[i] = a[i]
        else:
            b = V[link[k]]
            if q == op.MOD:
                for i in range(n):
                    v[i] = np.mod(a[i], b[i])
            else:
                for i in range(n):
                    first_one = b[i] == b[i] and (a[i] > b[i]) == (q == op.MAX)  # of a number and a NaN the NaN
                    v[i] = a[i] if first_one or a[i] != a[i] else b[i]


@nb.shared(nb.void(TAPE, nb.int64, nb.int64, nb.int64, nb.int64))
def backward(tape, first, stop, wanted, n):
    """A[k, :n] = d(root) / d(position k), times the seed the caller has put into A[first, :n].

    V holds the values from `forward`.  Only adjoints of positions with state[k] & wanted are computed; a
    position's parents must be wanted too.  Derivatives are the formulas of tokens.OPERATOR with one
    departure: where a base is 0 and its exponent positive, d(pow)/d(exponent) is its limit 0, not NaN.
    """
    codes, link, state, V, A = tape.op, tape.link, tape.state, tape.V, tape.A
    for k in range(first, stop):
        q = codes[k]
        if q >= op.LITERAL or state[k] & wanted == 0:
            continue
        g = A[k]
        v = V[k]
        a = V[k + 1]
        ga = A[k + 1]
        if q <= op.LAST_BINARY:
            r = link[k]
            b = V[r]
            gb = A[r]
            if state[k + 1] & wanted:
                if q <= op.SUB:
                    for i in range(n):
                        ga[i] = g[i]
                elif q == op.MUL:
                    for i in range(n):
                        ga[i] = g[i] * b[i]
                elif q == op.DIV:
                    for i in range(n):
                        ga[i] = g[i] / b[i]
                else:
                    for i in range(n):
                        ga[i] = g[i] * b[i] * a[i] ** (b[i] - 1.0)
            if state[r] & wanted:
                if q == op.ADD:
                    for i in range(n):
                        gb[i] = g[i]
                elif q == op.SUB:
                    for i in range(n):
                        gb[i] = -g[i]
                elif q == op.MUL:
                    for i in range(n):
                        gb[i] = g[i] * a[i]
                elif q == op.DIV:
                    for i in range(n):
                        gb[i] = -g[i] * v[i] / b[i]
                else:
                    for i in range(n):
                        gb[i] = 0.0 if a[i] == 0.0 and b[i] > 0.0 else g[i] * v[i] * np.log(a[i])
            continue
        if op.MIN <= q <= op.MOD:
            r = link[k]
            b = V[r]
            gb = A[r]
            first_too, second_too = state[k + 1] & wanted != 0, state[r] & wanted != 0
            for i in range(n):
                if q == op.MOD:
                    left, right = 1.0, -np.floor(a[i] / b[i])
                else:
                    ahead = a[i] - b[i] if q == op.MAX else b[i] - a[i]
                    left = 1.0 if ahead > 0.0 else (0.0 if ahead < 0.0 else ahead + 0.5)
                    right = 1.0 - left
                if first_too:
                    ga[i] = g[i] * left
                if second_too:
                    gb[i] = g[i] * right
            continue
        if state[k + 1] & wanted == 0:
            continue
        if q == op.ABS:
            for i in range(n):
                ga[i] = g[i] * np.sign(a[i])
        elif q == op.INV:
            for i in range(n):
                ga[i] = -g[i] * v[i] * v[i]
        elif q == op.NEG:
            for i in range(n):
                ga[i] = -g[i]
        elif q == op.POW2:
            for i in range(n):
                ga[i] = 2.0 * g[i] * a[i]
        elif q == op.POW3:
            for i in range(n):
                ga[i] = 3.0 * g[i] * (a[i] * a[i])
        elif q == op.POW4:
            for i in range(n):
                ga[i] = 4.0 * g[i] * (a[i] * a[i] * a[i])
        elif q == op.POW5:
            for i in range(n):
                s = a[i] * a[i]
                ga[i] = 5.0 * g[i] * (s * s)
        elif q == op.ROOT2:
            for i in range(n):
                ga[i] = g[i] * 0.5 / v[i]
        elif q == op.ROOT3:
            for i in range(n):
                ga[i] = g[i] / (3.0 * v[i] * v[i])
        elif q == op.ROOT4:
            for i in range(n):
                ga[i] = g[i] * (0.25 * v[i] / a[i])
        elif q == op.ROOT5:
            for i in range(n):
                ga[i] = g[i] * (0.2 * v[i] / a[i])
        elif q == op.SIN:
            function_row(op.COS, a, ga, n)
            for i in range(n):
                ga[i] *= g[i]
        elif q == op.COS:
            function_row(op.SIN, a, ga, n)
            for i in range(n):
                ga[i] *= -g[i]
        elif q == op.TAN:
            for i in range(n):
                ga[i] = g[i] * (1.0 + v[i] * v[i])
        elif q == op.ASIN:
            for i in range(n):
                ga[i] = g[i] / math.sqrt(1.0 - a[i] * a[i])
        elif q == op.ACOS:
            for i in range(n):
                ga[i] = -g[i] / math.sqrt(1.0 - a[i] * a[i])
        elif q == op.ATAN:
            for i in range(n):
                ga[i] = g[i] / (1.0 + a[i] * a[i])
        elif q == op.SINH:
            function_row(op.COSH, a, ga, n)
            for i in range(n):
                ga[i] *= g[i]
        elif q == op.COSH:
            function_row(op.SINH, a, ga, n)
            for i in range(n):
                ga[i] *= g[i]
        elif q == op.TANH:
            for i in range(n):
                ga[i] = g[i] * (1.0 - v[i] * v[i])
        elif q == op.ASINH:
            for i in range(n):
                ga[i] = g[i] / math.sqrt(a[i] * a[i] + 1.0)
        elif q == op.ACOSH:
            for i in range(n):
                ga[i] = g[i] / math.sqrt(a[i] * a[i] - 1.0)
        elif q == op.ATANH:
            for i in range(n):
                ga[i] = g[i] / (1.0 - a[i] * a[i])
        elif q == op.EXP:
            for i in range(n):
                ga[i] = g[i] * v[i]
        elif q == op.LOG:
            for i in range(n):
                ga[i] = g[i] / a[i]
        elif q <= op.MULT5:
            factor = float(q - op.MULT2 + 2)
            for i in range(n):
                ga[i] = factor * g[i]
        elif q <= op.DIV5:
            factor = float(q - op.DIV2 + 2)
            for i in range(n):
                ga[i] = g[i] / factor
        elif q == op.LOGISTIC:
            for i in range(n):
                ga[i] = g[i] * (v[i] * (1.0 - v[i]))
        elif q == op.JOIN:
            for i in range(n):
                ga[i] = g[i]
            for r in range(first, k):  # copies stand before what they are copies of
                if codes[r] == op.COPY and link[r] == k:
                    gb = A[r]
                    for i in range(n):
                        ga[i] += gb[i]
        else:  # steps
            for i in range(n):
                ga[i] = 0.0


@nb.shared(nb.int64(nb.I1, nb.I1, nb.int64, nb.int64, nb.I1), python=True)
def connect(codes, link, first, stop, stack):
    """Fill in `link` of one program in codes[first:stop].

    Links count from `first`.  Those of columns and copies are given.  `stack` is work space of at least stop-first entries.  Returns the number of
    free constants, or -1 when the positions are not exactly one complete expression.
    """
    depth = 0
    n_free = 0
    for k in range(first, stop):
        if codes[k] == op.FREE:
            link[k] = n_free
            n_free += 1
    for k in range(stop - 1, first - 1, -1):
        q = codes[k]
        if q < op.LITERAL:
            if q <= op.LAST_BINARY or op.MIN <= q <= op.MOD:
                if depth < 2:
                    return -1
                link[k] = stack[depth - 2]
                depth -= 1
            elif depth < 1:
                return -1
            depth -= 1
        stack[depth] = k - first
        depth += 1
    return n_free if depth == 1 else -1


@nb.kernel(nb.void(nb.I1, nb.I1, nb.F1, nb.F2, nb.F1, nb.F1, nb.F2))
def run(codes, link, literal, X, c, y, J):
    """y (M,) = values of a program at the columns X (D, M); J (C, M) = derivatives by its constants, where J has rows."""
    L, M = len(codes), len(y)
    width = min(M, BLOCK)
    V, A, state = np.empty((L, width)), np.empty((L if len(J) > 0 else 0, width)), np.empty(L, np.int64)
    for k in range(L):
        state[k] = 1
    tape = Tape(codes, link, literal, state, V, A)
    for offset in range(0, M, BLOCK):
        n = min(BLOCK, M - offset)
        forward(tape, 0, L, 1, X, offset, c, n)
        copied(V[0], y, offset, n)
        if len(J) > 0:
            for i in range(n):
                A[0, i] = 1.0
            backward(tape, 0, L, 1, n)
            for k in range(L):
                if codes[k] == op.FREE:
                    copied(A[k], J[link[k]], offset, n)
