"""Golden section: the least value of a function of one number between two places.  Knows nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable

RATIO = (math.sqrt(5) - 1) / 2


def golden(f: Callable[[float], float], a: float, b: float, steps: int) -> tuple[float, float]:
    """(least value seen, where) of f on [a, b], which has one minimum there, after `steps` evaluations more than two.

    Each step leaves 0.618 of the interval; it ends early where a and b are one number to rounding.
    """
    c, d = b - RATIO * (b - a), a + RATIO * (b - a)
    fc, fd = f(c), f(d)
    for _ in range(steps):
        if fc < fd:
            b, d, fd = d, c, fc
            c = b - RATIO * (b - a)
            fc = f(c)
        else:
            a, c, fc = c, d, fd
            d = a + RATIO * (b - a)
            fd = f(d)
        if abs(b - a) < 4e-16 * abs(b):
            break
    return min((fc, c), (fd, d))
