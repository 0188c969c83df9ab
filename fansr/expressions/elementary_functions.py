"""exp, log, sin, cos, sinh, cosh, tanh and cube root of rows of numbers, many numbers an instruction; parts of other kernels.

The C library's are called with one number at a time; here a loop has no calls and no branches, so that it is
compiled to vector instructions.  Each function reduces its argument to a small range, takes a polynomial there and puts the
rest back by the bits of the number.  Errors are below 1.6 units in the last place over the whole range (tests/expressions/
test_elementary_functions.py), and zeros, infinities, NaN, overflow and underflow come out as the definitions say.

Coefficients interpolate at Chebyshev's nodes of the reduced range (computed with 60 digits); what they leave is below 2e-17 of a value.
A product and a sum are one instruction where the machine has it; the bounds hold where it has not, too.
"""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import compilation as nb, opcodes as op

# Added to a number below 2**51 it rounds that to a whole number, which the low bits of the sum hold: 1.5 * 2**52.
ROUNDER = 6755399441055744.0
LOG2_E, LN2_HIGH, LN2_LOW = 1.4426950408889634, 0.6931471805598903, 5.497923018708371e-14  # HIGH has 42 bits
# Four parts of pi/2, the first three of 33 bits: whole numbers below 2**20 times them are exact.
TWO_OVER_PI = 0.6366197723675814
HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487111665e-21, 8.4784276603689e-32)
LARGEST_ANGLE = 1e6  # beyond it the C library reduces
INFINITY = math.inf

_part = {"forceinline": True, "fastmath": {"contract"}}  # of a loop's body


# ---- numbers by their bits --------------------------------------------------------------------


@nb.inner(**_part)
def _bits(x):
    """The number's bits as an integer."""
    return np.float64(x).view(np.int64)


@nb.inner(**_part)
def _number(bits):
    """The number of these bits."""
    return np.int64(bits).view(np.float64)


@nb.inner(**_part)
def _power_of_two(rounded):
    """2**k from ROUNDER + k, for -1023 < k < 1024."""
    return _number((_bits(rounded) + 1023) << 52)


@nb.inner(**_part)
def _exponent(bits):
    """Of a positive normal number, as a number."""
    return _number(((bits >> 52) & 0x7FF) | 0x4330000000000000) - 4503599627371519.0  # 2**52 + 1023


@nb.inner(**_part)
def _with_sign(size, sign):
    """size with the sign of `sign`."""
    return _number((_bits(size) & 0x7FFFFFFFFFFFFFFF) | (_bits(sign) & ~0x7FFFFFFFFFFFFFFF))


# ---- one number -------------------------------------------------------------------------------


@nb.inner(**_part)
def _exp_parts(x):
    """(p, k) with exp(x) = p * 2**k, k whole."""
    k = (x * LOG2_E + ROUNDER) - ROUNDER
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    z = r * r
    p = 2.0914686968086876e-09
    p = p * z + 2.75572736431103e-07
    p = p * z + 2.4801587325547743e-05
    p = p * z + 1.3888888888883748e-03
    p = p * z + 4.166666666666667e-02
    p = p * z + 0.5
    q = 2.5105217004720745e-08
    q = q * z + 2.7557255400206422e-06
    q = q * z + 1.9841269874820627e-04
    q = q * z + 8.333333333326136e-03
    q = q * z + 1.666666666666667e-01
    return 1.0 + (r + z * (p + r * q)), k


@nb.inner(**_part)
def _scaled_exp(x, halvings):
    """exp(x) / 2**halvings; in two steps, since 2**k may be out of range where the result is not."""
    x = 711.0 if x > 711.0 else x
    x = -746.0 if x < -746.0 else x
    p, k = _exp_parts(x)
    k -= halvings
    half = k * 0.5 + ROUNDER
    return p * _power_of_two(half) * _power_of_two(k - (half - ROUNDER) + ROUNDER)


@nb.inner(**_part)
def exp(x):
    """Exponential of one number, in a loop of them."""
    return _scaled_exp(x, 0.0)


@nb.inner(**_part)
def log(x):
    """Natural logarithm of one number, in a loop of them: with x = 2**k * (1 + f) and s = f / (2 + f), log(1 + f) = 2 s + 2/3 s**3 + ..., and 2 s = f - s*f."""
    small = x < 2.2250738585072014e-308
    bits = _bits(x * 18014398509481984.0 if small else x) + (0x3FF0000000000000 - 0x3FE6A09E667F3BCD)
    k = _exponent(bits) - (54.0 if small else 0.0)
    f = _number((bits & 0x000FFFFFFFFFFFFF) + 0x3FE6A09E667F3BCD) - 1.0  # sqrt(1/2) - 1 to sqrt(2) - 1
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    p = 0.14617807153417325
    p = p * w + 0.1818289243253687
    p = p * w + 0.28571428626253836
    p = p * w + 0.666666666666667
    q = 0.15331611722055008
    q = q * w + 0.22222211089379496
    q = q * w + 0.3999999999989889
    half_square = 0.5 * f * f
    y = k * LN2_HIGH - ((half_square - (s * (half_square + z * (p + z * q)) + k * LN2_LOW)) - f)
    y = y if x > 0.0 else (-INFINITY if x == 0.0 else math.nan)
    return y if x < INFINITY else x  # infinity and NaN


@nb.inner(**_part)
def _turned(x, quarters):
    """sin(x + quarters * pi/2) for |x| <= LARGEST_ANGLE: x less k quarter turns as a number r and its rest, then sin or cos of that."""
    rounded = x * TWO_OVER_PI + ROUNDER
    k = rounded - ROUNDER
    # Each difference is exact together with what it leaves: where it cancels nothing is left.
    w = x - k * HALF_PI[0]
    high = w - k * HALF_PI[1]
    low = (w - high) - k * HALF_PI[1]
    higher = high - k * HALF_PI[2]
    low = ((high - higher) - k * HALF_PI[2]) + low - k * HALF_PI[3]
    r = higher + low
    rest = (higher - r) + low
    z = r * r
    p = 1.5917988979397435e-10
    p = p * z - 2.5051129896450185e-08
    p = p * z + 2.7557316093198404e-06
    p = p * z - 1.9841269836740532e-04
    p = p * z + 8.333333333330936e-03
    p = p * z - 1.6666666666666666e-01
    q = -1.138254464534925e-11
    q = q * z + 2.087614504941318e-09
    q = q * z - 2.755731726587808e-07
    q = q * z + 2.48015872987544e-05
    q = q * z - 1.3888888888887389e-03
    q = q * z + 4.1666666666666664e-02
    half = 0.5 * z
    one_less = 1.0 - half
    sine = r + (r * (z * p) + rest * one_less)
    cosine = one_less + (((1.0 - one_less) - half) + (z * (z * q) - r * rest))
    turns = _bits(rounded) + quarters
    y = cosine if turns & 1 else sine
    return _number(_bits(y) ^ ((turns & 2) << 62))


@nb.inner(**_part)
def _sinh(x):
    a = abs(x)
    z = a * a
    p = 7.746178593018827e-13
    p = p * z + 1.6057679623801638e-10
    p = p * z + 2.5052117695907823e-08
    p = p * z + 2.7557319191381816e-06
    p = p * z + 1.9841269841324198e-04
    p = p * z + 8.333333333333299e-03
    p = p * z + 1.6666666666666666e-01
    half = _scaled_exp(a, 1.0)
    return _with_sign(a + a * (z * p) if a < 1.0 else half - 0.25 / half, x)


@nb.inner(**_part)
def _tanh(x):
    """A rational function below 0.55, where 1 - 2 / (exp(2 x) + 1) would lose digits."""
    a = abs(x)
    small = a < 0.55
    z = a * a
    p, k = _exp_parts(2.0 * (22.0 if a > 22.0 else a))
    above = z * ((-0.0001993183245513829 * z - 0.02050196496379387) * z - 0.3333333333333333)
    below = ((0.00020668398808152297 * z + 0.02329555102548226) * z + 0.4615058948913806) * z + 1.0
    ratio = (above if small else -2.0) / (below if small else p * _power_of_two(k + ROUNDER) + 1.0)
    return _with_sign(a + a * ratio if small else 1.0 + ratio, x)


@nb.inner(**_part)
def _cbrt(x):
    """Halley's steps, cubic in the error; the last from a start whose square is exact."""
    a = abs(x)
    small = a < 2.2250738585072014e-308
    bits = _bits(a * 18014398509481984.0 if small else a)
    exponent = _exponent(bits)
    third = exponent * 0.3333333333333333 + ROUNDER
    k = third - ROUNDER
    m = _number((bits & 0x000FFFFFFFFFFFFF) | 0x3FF0000000000000)
    m = m * _power_of_two(exponent - 3.0 * k + ROUNDER)  # a = m * 8**k with m from 1/2 to 4
    t = -0.003660165019409193
    t = t * m + 0.04437845996234062
    t = t * m - 0.21580018957752015
    t = t * m + 0.6542973117201535
    t = t * m + 0.5189978361037302
    cube = t * t * t
    t = t * (cube + 2.0 * m) / (2.0 * cube + m)
    t = _number((_bits(t) + 0x20000000) & ~0x3FFFFFFF)
    r = m / (t * t)
    t = t + t * ((r - t) / (2.0 * t + r))
    t = t * _power_of_two(k - (18.0 if small else 0.0) + ROUNDER)
    return _with_sign(t, x) if 0.0 < a < INFINITY else x


# ---- rows -------------------------------------------------------------------------------------


@nb.shared(nb.void(nb.int64, nb.F1, nb.F1, nb.int64))
def function_row(q, a, v, n):
    """v[:n] = f(a[:n]) for the function with opcode q; v is not a."""
    if q == op.EXP:
        for i in range(n):
            v[i] = exp(a[i])
    elif q == op.LOG:
        for i in range(n):
            v[i] = log(a[i])
    elif q == op.SIN or q == op.COS:
        large = 0
        for i in range(n):
            large += abs(a[i]) > LARGEST_ANGLE  # NaN is not
        quarters = 1 if q == op.COS else 0
        for i in range(n):
            v[i] = _turned(a[i], quarters)
        if q == op.SIN:  # a zero keeps its sign
            for i in range(n):
                v[i] = a[i] if abs(a[i]) < 1e-9 else v[i]
        if large > 0:  # these alone, so that no value depends on its neighbours
            for i in range(n):
                if abs(a[i]) > LARGEST_ANGLE:
                    v[i] = math.cos(a[i]) if quarters else math.sin(a[i])
    elif q == op.TANH:
        for i in range(n):
            v[i] = _tanh(a[i])
    elif q == op.SINH:
        for i in range(n):
            v[i] = _sinh(a[i])
    elif q == op.COSH:
        for i in range(n):
            half = _scaled_exp(abs(a[i]), 1.0)
            v[i] = half + 0.25 / half
    elif q == op.LOGISTIC:
        for i in range(n):
            v[i] = 1.0 / (1.0 + exp(-a[i]))
    elif q == op.ROOT3:
        for i in range(n):
            v[i] = _cbrt(a[i])
