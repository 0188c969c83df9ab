"""Laws a + b x + h floor((x - d) / P) of one column: prices by the hour begun, counts of whole steps, teeth of a saw.

The target has few values, or few beside a line, each on a stretch of the column of its own, a whole number of heights apart.  Every row bounds where a step of
width P may begin; of the widths that leave room the roundest is taken, and of the beginnings.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np

from fansr.proposers.parts.breakpoints import round_between
from fansr.proposers.parts.expression_assembly import Base
from fansr.proposers.parts.inner_scan import summed

LEVELS, MOST_LEVELS = 3, 400  # with two it is a jump
SAME = 1e-9  # of the target's size: values that are one
NOISY = 4.0  # times the median of neighbours' differences
MULTIPLE = 1e-6  # of a height that a level may lie off a whole number of them
# Times powers of ten: widths of steps, the roundest first.
ROUND = (1.0, 2.0, 5.0, 2.5, 3.0, 4.0, 6.0, 1.2, 1.5, 7.0, 8.0, 2.4, 3.6)


def staircase(x: np.ndarray, y: np.ndarray, column: Base) -> list[Base]:
    """The laws of a staircase over x (M,) that has y (M,) exactly; [] where it is none."""
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    starts = np.flatnonzero(np.concatenate([[True], np.abs(np.diff(y)) > SAME * np.abs(y).max()]))
    ends = np.append(starts[1:], len(x)) - 1
    if not LEVELS <= len(starts) <= min(MOST_LEVELS, len(x) / 2) or (x[starts[1:]] <= x[ends[:-1]]).any():
        return []
    rises = np.diff(y[starts])
    h = float(rises[np.argmin(np.abs(rises))])
    steps = rises / h
    if (steps < 0.5).any() or np.abs(steps - np.round(steps)).max() > MULTIPLE:
        return []
    n = np.concatenate([[0.0], np.cumsum(np.round(steps))])
    low, high = x[starts], x[ends]
    for width in _widths(low, high, n):
        # floor: d + P n <= low and high < d + P (n + 1); with the steps closed above: d + P n < low and high <= d + P (n + 1).
        least, most = float((high - width * (n + 1)).max()), float((low - width * n).min())
        if least > most + SAME * width:
            continue
        turns = width * round(least / width)
        d = _beginning(least - turns, most - turns, SAME * width)
        for by, sign in product((width, math.nextafter(width, math.inf), math.nextafter(width, 0.0)), (1.0, -1.0)):
            inner, values = _counted(column, x, sign, by, d)
            offset = float(y[0] - sign * h * np.floor(values[0]))
            if np.abs(sign * h * np.floor(values) + offset - y).max() <= SAME * np.abs(y).max():
                return [summed([sign * h], [("floor", *inner)], round(offset, 12))]
    return []


def leaning(x: np.ndarray, y: np.ndarray, column: Base) -> list[Base]:
    """The laws a + b x + h floor((x - d) / P), b not 0, of x (M,) and y (M,) that are rounded or have a little noise; [] where there are none.

    Most neighbours are on one stretch, so the median of their slopes is b, and what they are off it otherwise is noise.  Teeth of a saw,
    h = -b P, are written as b mod(x - d, P).
    """
    x, inverse, times = np.unique(x, return_inverse=True, return_counts=True)
    y = np.bincount(inverse, y) / times
    if len(x) < 2 * LEVELS + 2:
        return []
    b = float(np.median(np.diff(y) / np.diff(x)))
    digits = _unit(y) + abs(b) * _unit(x)
    for _ in range(2):  # the second time with the slope of all stretches together
        off = np.abs(np.diff(y - b * x))
        rounded = max(digits, NOISY * float(np.median(off)), SAME * float(np.abs(y).max()))
        stretch = np.concatenate([[0], np.cumsum(off > 1.5 * rounded)])
        count = np.bincount(stretch)
        if not LEVELS <= len(count) <= min(MOST_LEVELS, len(x) / 2):
            return []
        apart = x - (np.bincount(stretch, x) / count)[stretch]
        if not apart @ apart > 0:
            return []
        b = float(apart @ y / (apart @ apart))
    if abs(b) * float(np.ptp(x)) <= rounded:
        return []
    levels = np.bincount(stretch, y - b * x) / count
    rises = np.diff(levels)
    h = float(rises[np.argmin(np.abs(rises))])
    steps = np.round(rises / h) if h else np.zeros(1)
    if (steps < 1).any() or np.abs(rises - steps * h).max() > 2 * rounded + MULTIPLE * abs(h):
        return []
    h = float(steps @ rises / (steps @ steps))
    n = np.concatenate([[0.0], np.cumsum(steps)])
    if np.ptp(y - b * x - h * n[stretch]) > 4 * rounded:
        return []
    found = []
    if h * b < 0:  # a saw's teeth may be of any width, as of a turn
        left = y - b * np.mod(x, -h / b)
        if float(np.ptp(left)) <= 4 * rounded:
            found.append(summed([b], [("mod", *column, repr(-h / b))], float(left.mean())))
    for law in staircase(x, n[stretch], column):
        place, constant = law.index("floor"), float(law[-1]) if law[0] == "+" else 0.0
        inner = law[place + 1 : len(law) - (law[0] == "+")]
        sign = -1.0 if law[place - 1 : place] == ("neg",) else 1.0
        width, begun = _taken_apart(inner[1:] if inner[0] == "neg" else inner)
        values = np.mod(x - float(begun[-1]) if begun[0] == "-" else x, width)
        if np.ptp(y - b * values) <= 4 * rounded:
            found.append(summed([b], [("mod", *begun, repr(width))], float(np.mean(y - b * values))))
        offset = float(np.mean(y - b * x - h * n[stretch])) + h * constant
        found.append(summed([b, h * sign], [column, ("floor", *inner)], offset))
    return found


def _unit(values: np.ndarray) -> float:
    """The last decimal that numbers (M,) have; 0 where they have more than six."""
    for decimals in range(-3, 7):
        if np.abs(np.round(values, decimals) - values).max() <= SAME * 10.0**-decimals:
            return 10.0**-decimals
    return 0.0


def _taken_apart(inner: Base) -> tuple[float, Base]:
    """(P, x - d) of (x - d)/P as `_counted` writes it."""
    if inner[0][:3] == "div":
        return float(inner[0][3:]), inner[1:]
    return (float(inner[-1]), inner[1:-1]) if inner[0] == "/" else (1.0, inner)


def _counted(column: Base, x: np.ndarray, sign: float, width: float, d: float) -> tuple[Base, np.ndarray]:
    """sign (x - d)/P in expression and values (M,), by the same operations: on which side a row on an edge lies, its last bit decides."""
    law, values = (column, x) if not d else (("-", *column, repr(d)), x - d)
    if width in (2.0, 3.0, 4.0, 5.0):
        law, values = (f"div{width:g}", *law), values / width
    elif width != 1.0:
        law, values = ("/", *law, repr(width)), values / width
    return (law, values) if sign > 0 else (("neg", *law), -values)


def _widths(low: np.ndarray, high: np.ndarray, n: np.ndarray) -> Iterator[float]:
    """Widths of steps between the least and the most that any two stretches allow, the roundest first."""
    i, k = np.triu_indices(len(n), 1)
    apart = n[k] - n[i]
    least = float(((high[k] - low[i]) / (apart + 1)).max())
    inside = apart > 1
    most = float(((low[k] - high[i])[inside] / (apart - 1)[inside]).min()) if inside.any() else math.inf
    if not least <= most or not math.isfinite(most):
        return
    power = 10.0 ** math.floor(math.log10(most))
    for tens in (power, power / 10):
        yield from (m * tens for m in ROUND if least <= m * tens <= most)
    yield round_between(least, most)


def _beginning(least: float, most: float, slack: float) -> float:
    """Where a step begins: 0, or the roundest number between the bounds."""
    if least - slack <= 0.0 <= most + slack:
        return 0.0
    return least if least >= most else round_between(least, most)
