"""What a law and its derivatives by one column can be on a box of its columns: interval arithmetic, with proof or a counterexample.

    decided(expr, consts, low, high, column=0, order=1)   # True: the derivative is nowhere below 0 in the box

A jet is a value and its first and second derivative, each an interval for each of N boxes at once (Moore 1966, Interval Analysis).
Boxes that leave it open are halved; a middle where the derivative has the wrong sign is a counterexample.  Where a law is undefined nothing
is asked of it.  Intervals are not rounded outwards: a tolerance stands for that.  Knows nothing of rules, problems or searches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fansr.expressions import CONSTANT, definitions, literal_value, to_tree, variable_index

MOST_BOXES = 2048
TOLERANCE = 1e-9  # of the largest derivative met: below it a sign is rounding


class Range(NamedTuple):
    """Intervals, low and high (N,); NaN where there is no value at all."""

    low: np.ndarray
    high: np.ndarray


class Jet(NamedTuple):
    """Value, first and second derivative."""

    v: Range
    d: Range
    s: Range


def _range(low: Any, high: Any, *sources: Range) -> Range:
    """An interval of computed ends: unbounded where they are no numbers though the sources are."""
    known = ~np.logical_or.reduce([np.isnan(source.low) for source in sources])
    low, high = np.asarray(low, float), np.asarray(high, float)
    low = np.where(np.isnan(low) & known, -np.inf, low)
    high = np.where(np.isnan(high) & known, np.inf, high)
    return Range(np.where(known, low, np.nan), np.where(known, high, np.nan))


def _number(value: float, like: Range) -> Range:
    ends = np.where(np.isnan(like.low), np.nan, value)
    return Range(ends, ends)


def _add(a: Range, b: Range) -> Range:
    return _range(a.low + b.low, a.high + b.high, a, b)


def _neg(a: Range) -> Range:
    return Range(-a.high, -a.low)


def _mul(a: Range, b: Range) -> Range:
    ends = [p * q for p in a for q in b]
    # 0 times infinity is 0 here: an end that is exactly 0 against a bound that is never reached.
    ends = [np.where(np.isnan(e) & ~np.isnan(a.low) & ~np.isnan(b.low), 0.0, e) for e in ends]
    return _range(np.minimum.reduce(ends), np.maximum.reduce(ends), a, b)


def _times(c: float, a: Range) -> Range:
    return Range(c * a.low, c * a.high) if c >= 0 else Range(c * a.high, c * a.low)


def _inv(a: Range) -> Range:
    low, high = 1.0 / a.high, 1.0 / a.low
    low = np.where(a.high == 0, -np.inf, low)
    high = np.where(a.low == 0, np.inf, high)
    across = (a.low < 0) & (a.high > 0)
    return _range(np.where(across, -np.inf, low), np.where(across, np.inf, high), a)


def _whole_power(a: Range, n: int) -> Range:
    if n < 0:
        return _inv(_whole_power(a, -n))
    if n == 0:
        return _number(1.0, a)
    p, q = a.low**n, a.high**n
    if n % 2:
        return _range(p, q, a)
    across = (a.low < 0) & (a.high > 0)
    return _range(np.where(across, 0.0, np.minimum(p, q)), np.maximum(p, q), a)


def _within(a: Range, least: float = -math.inf, most: float = math.inf) -> Range:
    """The part of an interval inside a domain; none where it lies outside."""
    outside = (a.high < least) | (a.low > most)
    low, high = np.clip(a.low, least, most), np.clip(a.high, least, most)
    return Range(np.where(outside, np.nan, low), np.where(outside, np.nan, high))


def _rising(f: Callable, a: Range) -> Range:
    return _range(f(a.low), f(a.high), a)


def _real_power(a: Range, p: float) -> Range:
    """a ** p for a >= 0."""
    low, high = a.low**p, a.high**p
    if p < 0:
        low, high = high, np.where(a.low == 0, np.inf, low)
    return _range(low, high, a)


def _sine(a: Range) -> Range:
    """Range of the sine."""
    s, e = np.sin(a.low), np.sin(a.high)
    top = np.floor((a.high - math.pi / 2) / (2 * math.pi)) >= np.ceil((a.low - math.pi / 2) / (2 * math.pi))
    bottom = np.floor((a.high + math.pi / 2) / (2 * math.pi)) >= np.ceil((a.low + math.pi / 2) / (2 * math.pi))
    wide = ~np.isfinite(a.low) | ~np.isfinite(a.high)
    low, high = np.minimum(s, e), np.maximum(s, e)
    return _range(np.where(bottom | wide, -1.0, low), np.where(top | wide, 1.0, high), a)


def _cosine(a: Range) -> Range:
    return _sine(Range(a.low + math.pi / 2, a.high + math.pi / 2))


def _hull(a: Range, b: Range) -> Range:
    return Range(np.minimum(a.low, b.low), np.maximum(a.high, b.high))


def _chosen(where: np.ndarray, a: Range, b: Range) -> Range:
    return Range(np.where(where, a.low, b.low), np.where(where, a.high, b.high))


def _bump(a: Range, low: float, high: float, where: np.ndarray) -> Range:
    """0, or an interval [low, high] where a kink or a jump may lie."""
    zero = np.where(np.isnan(a.low), np.nan, 0.0)
    return Range(np.where(where, low, zero), np.where(where, high, zero))


# ---- functions of one operand: value, first and second derivative as intervals ----------------


def _of_exp(a: Range):
    v = _rising(np.exp, a)
    return v, v, v


def _of_log(a: Range):
    a = _within(a, 0.0)
    i = _inv(a)
    return _rising(np.log, a), i, _neg(_mul(i, i))


def _of_sin(a: Range):
    s = _sine(a)
    return s, _cosine(a), _neg(s)


def _of_cos(a: Range):
    c = _cosine(a)
    return c, _neg(_sine(a)), _neg(c)


def _of_tan(a: Range):
    pole = np.floor(a.high / math.pi - 0.5) != np.floor(a.low / math.pi - 0.5)
    low, high = np.where(pole, -np.inf, np.tan(a.low)), np.where(pole, np.inf, np.tan(a.high))
    v = _range(low, high, a)
    d = _add(_number(1.0, a), _whole_power(v, 2))
    return v, d, _times(2.0, _mul(v, d))


def _of_asin(a: Range):
    a = _within(a, -1.0, 1.0)
    left = _within(_add(_number(1.0, a), _neg(_whole_power(a, 2))), 0.0)
    return _rising(np.arcsin, a), _real_power(left, -0.5), _mul(a, _real_power(left, -1.5))


def _of_acos(a: Range):
    v, d, s = _of_asin(a)
    return _add(_number(math.pi / 2, v), _neg(v)), _neg(d), _neg(s)


def _of_atan(a: Range):
    d = _inv(_add(_number(1.0, a), _whole_power(a, 2)))
    return _rising(np.arctan, a), d, _times(-2.0, _mul(a, _mul(d, d)))


def _of_sinh(a: Range):
    v = _rising(np.sinh, a)
    return v, _even_rising(np.cosh, a), v


def _of_cosh(a: Range):
    v = _even_rising(np.cosh, a)
    return v, _rising(np.sinh, a), v


def _even_rising(f: Callable, a: Range) -> Range:
    p, q = f(a.low), f(a.high)
    across = (a.low < 0) & (a.high > 0)
    return _range(np.where(across, f(0.0), np.minimum(p, q)), np.maximum(p, q), a)


def _of_tanh(a: Range):
    v = _rising(np.tanh, a)
    d = _within(_add(_number(1.0, a), _neg(_whole_power(v, 2))), 0.0)
    return v, d, _times(-2.0, _mul(v, d))


def _of_asinh(a: Range):
    d = _real_power(_add(_number(1.0, a), _whole_power(a, 2)), -0.5)
    return _rising(np.arcsinh, a), d, _neg(_mul(a, _whole_power(d, 3)))


def _of_acosh(a: Range):
    a = _within(a, 1.0)
    d = _real_power(_within(_add(_whole_power(a, 2), _number(-1.0, a)), 0.0), -0.5)
    return _rising(np.arccosh, a), d, _neg(_mul(a, _whole_power(d, 3)))


def _of_atanh(a: Range):
    a = _within(a, -1.0, 1.0)
    d = _inv(_within(_add(_number(1.0, a), _neg(_whole_power(a, 2))), 0.0))
    return _rising(np.arctanh, a), d, _times(2.0, _mul(a, _mul(d, d)))


def _of_logistic(a: Range):
    v = _rising(lambda x: 1.0 / (1.0 + np.exp(-x)), a)
    rest = _within(_add(_number(1.0, a), _neg(v)), 0.0, 1.0)
    d = _mul(v, rest)
    return v, d, _mul(d, _add(rest, _neg(v)))


def _of_abs(a: Range):
    across = (a.low < 0) & (a.high > 0)
    up, down = (a.low >= 0) & (a.high > 0), (a.high <= 0) & (a.low < 0)
    d = Range(np.where(up, 1.0, -1.0), np.where(down, -1.0, 1.0))
    return _even_rising(np.abs, a), d, _bump(a, 0.0, np.inf, across)


def _of_steps(f: Callable, jumps: Callable):
    def of(a: Range):
        where = jumps(a)
        return _rising(f, a), _bump(a, 0.0, np.inf, where), _bump(a, -np.inf, np.inf, where)

    return of


def _of_power(n: int):
    def of(a: Range):
        return _whole_power(a, n), _times(n, _whole_power(a, n - 1)), _times(n * (n - 1), _whole_power(a, n - 2))

    return of


def _of_root(n: int):
    def of(a: Range):
        p = 1.0 / n
        if n % 2 == 0:
            a = _within(a, 0.0)
            return _real_power(a, p), _times(p, _real_power(a, p - 1)), _times(p * (p - 1), _real_power(a, p - 2))
        size = _even_rising(np.abs, a)
        v = _rising(lambda x: np.sign(x) * np.abs(x) ** p, a)
        d = _times(p, _real_power(size, p - 1))
        sign = Range(np.where(a.low > 0, 1.0, -1.0), np.where(a.high < 0, -1.0, 1.0))
        return v, d, _mul(sign, _times(p * (p - 1), _real_power(size, p - 2)))

    return of


def _of_inv(a: Range):
    v = _inv(a)
    return v, _neg(_mul(v, v)), _times(2.0, _whole_power(v, 3))


def _across(a: Range, place: float = 0.0) -> np.ndarray:
    return (a.low <= place) & (a.high >= place) & (a.low < a.high)


UNARY: dict[str, Callable] = {
    "exp": _of_exp, "log": _of_log, "sin": _of_sin, "cos": _of_cos, "tan": _of_tan, "asin": _of_asin, "acos": _of_acos,
    "atan": _of_atan, "sinh": _of_sinh, "cosh": _of_cosh, "tanh": _of_tanh, "asinh": _of_asinh, "acosh": _of_acosh,
    "atanh": _of_atanh, "logistic": _of_logistic, "abs": _of_abs, "inv": _of_inv,
    "step": _of_steps(lambda x: (x > 0).astype(float), _across),
    "sign": _of_steps(np.sign, _across),
    "floor": _of_steps(np.floor, lambda a: np.floor(a.low) != np.floor(a.high)),
    **{f"pow{n}": _of_power(n) for n in (2, 3, 4, 5)},
    **{f"pow1_{n}": _of_root(n) for n in (2, 3, 4, 5)},
}  # fmt: skip


def _chain(parts: tuple[Range, Range, Range], a: Jet) -> Jet:
    """The jet of f(a): f' a', f'' a'^2 + f' a''; a whole that does not move has derivatives of 0."""
    v, d, s = parts
    still = (a.d.low == 0) & (a.d.high == 0)
    first = _mul(d, a.d)
    second = _add(_mul(s, _whole_power(a.d, 2)), _mul(d, a.s))
    zero = _number(0.0, v)
    return Jet(v, _chosen(still, zero, first), _chosen(still & (a.s.low == 0) & (a.s.high == 0), zero, second))


def _product(a: Jet, b: Jet) -> Jet:
    return Jet(
        _mul(a.v, b.v),
        _add(_mul(a.d, b.v), _mul(a.v, b.d)),
        _add(_add(_mul(a.s, b.v), _times(2.0, _mul(a.d, b.d))), _mul(a.v, b.s)),
    )


def _scaled(c: float, a: Jet) -> Jet:
    return Jet(*(_times(c, part) for part in a))


def _sum(a: Jet, b: Jet) -> Jet:
    return Jet(*(_add(p, q) for p, q in zip(a, b)))


def _power(a: Jet, b: Jet) -> Jet:
    fixed = (
        float(b.v.low[0]) if b.v.low.size and (b.v.low == b.v.low[0]).all() and (b.v.high == b.v.low[0]).all() else None
    )
    if fixed is not None and fixed == int(fixed) and abs(fixed) < 64:
        return _chain(_of_power(int(fixed))(a.v), a)
    if fixed is not None:
        base, p = _within(a.v, 0.0), fixed
        parts = _real_power(base, p), _times(p, _real_power(base, p - 1)), _times(p * (p - 1), _real_power(base, p - 2))
        return _chain(parts, a)
    inside = _product(b, _chain(_of_log(a.v), a))
    return _chain(_of_exp(inside.v), inside)


def _extreme(a: Jet, b: Jet, least: bool) -> Jet:
    """min or max of two: a kink where they may cross, upwards for max, downwards for min."""
    first, second = (a.v.high < b.v.low, b.v.high < a.v.low) if least else (a.v.low > b.v.high, b.v.low > a.v.high)
    pick = np.minimum if least else np.maximum
    v = _range(pick(a.v.low, b.v.low), pick(a.v.high, b.v.high), a.v, b.v)
    kink = (0.0, np.inf) if not least else (-np.inf, 0.0)
    open_ = ~first & ~second
    same = (a.d.low == b.d.low) & (a.d.high == b.d.high) & (a.d.low == a.d.high)
    s = _add(_hull(a.s, b.s), _bump(v, *kink, open_ & ~same))
    return Jet(
        v,
        _chosen(first, a.d, _chosen(second, b.d, _hull(a.d, b.d))),
        _chosen(first, a.s, _chosen(second, b.s, s)),
    )


def _modulo(a: Jet, b: Jet) -> Jet:
    turns = _rising(np.floor, _mul(a.v, _inv(b.v)))
    whole = turns.low == turns.high
    moved = Jet(*(_add(p, _neg(_mul(turns, q))) for p, q in zip(a, b)))
    unknown = Range(np.where(np.isnan(a.v.low), np.nan, -np.inf), np.where(np.isnan(a.v.low), np.nan, np.inf))
    top = _hull(Range(np.minimum(b.v.low, 0.0), np.maximum(b.v.high, 0.0)), _number(0.0, b.v))
    return Jet(_chosen(whole, moved.v, top), _chosen(whole, moved.d, unknown), _chosen(whole, moved.s, unknown))


def jet(expr: Sequence[str], consts: Sequence[float], low: np.ndarray, high: np.ndarray, column: int) -> Jet:
    """The jet by one column of an expression over boxes low, high (N, D)."""
    values = iter(consts)
    N = len(low)

    def walk(node: Any) -> Jet:
        if not isinstance(node, tuple):
            j = variable_index(node)
            one, zero = np.ones(N), np.zeros(N)
            if j is not None:
                slope = one if j == column else zero
                return Jet(Range(low[:, j], high[:, j]), Range(slope, slope), Range(zero, zero))
            value = float(next(values)) if node == CONSTANT else float(literal_value(node) or 0.0)
            return Jet(Range(value * one, value * one), Range(zero, zero), Range(zero, zero))
        token, kids = node[0], [walk(child) for child in node[1:]]
        a = kids[0]
        if token in UNARY:
            return _chain(UNARY[token](a.v), a)
        if token == "neg":
            return _scaled(-1.0, a)
        if token[:4] == "mult":
            return _scaled(float(token[4:]), a)
        if token[:3] == "div":
            return _scaled(1.0 / float(token[3:]), a)
        b = kids[1]
        if token == "+":
            return _sum(a, b)
        if token == "-":
            return _sum(a, _scaled(-1.0, b))
        if token == "*":
            return _product(a, b)
        if token == "/":
            return _product(a, _chain(_of_inv(b.v), b))
        if token == "pow":
            return _power(a, b)
        if token in ("min", "max"):
            return _extreme(a, b, token == "min")
        if token == "mod":
            return _modulo(a, b)
        raise ValueError(f"no intervals for {token!r}")

    with np.errstate(all="ignore"):
        return walk(to_tree(definitions.expanded(list(expr))))


def decided(
    expr: Sequence[str],
    consts: Sequence[float],
    low: np.ndarray,
    high: np.ndarray,
    column: int,
    order: int,
    sign: float = 1.0,
    used: Sequence[int] | None = None,
) -> bool | None:
    """Whether sign * the derivative of that order (1 or 2) by a column is nowhere below 0 in the box low, high (D,).

    False: a counterexample was met; None: neither proven nor refuted with MOST_BOXES boxes.  used: columns that the law
    looks at, along which boxes are halved (default: all that are not of width 0).
    """
    low, high = np.asarray(low, float)[None], np.asarray(high, float)[None]
    axes = [j for j in (range(low.shape[1]) if used is None else used) if high[0, j] > low[0, j]]
    size, turn = 0.0, 0
    while True:
        whole = jet(expr, consts, low, high, column)[order]
        middle = 0.5 * (low + high)
        point = jet(expr, consts, middle, middle, column)[order]
        at = point.high if sign > 0 else -point.low  # at a kink the better of both sides
        with np.errstate(invalid="ignore"):
            size = max(size, float(np.abs(at[np.isfinite(at)]).max(initial=0.0)))
            if (np.isfinite(at) & (at < -TOLERANCE * size)).any():
                return False
            least = whole.low if sign > 0 else -whole.high
            left = ~np.isnan(least) & ~(least >= -TOLERANCE * size)
        if not left.any():
            return True
        if not axes or 2 * left.sum() > MOST_BOXES:
            return None
        low, high = low[left], high[left]
        j, turn = axes[turn % len(axes)], turn + 1
        if turn > 16 * len(axes):
            return None
        half = 0.5 * (low[:, j] + high[:, j])
        first, second = high.copy(), low.copy()
        first[:, j], second[:, j] = half, half
        low, high = np.concatenate([low, second]), np.concatenate([first, high])
