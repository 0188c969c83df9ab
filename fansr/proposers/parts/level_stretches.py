"""Where a table of one column begins or ends level: what happens before a switch is thrown, or after a tank is empty.

A law f(max(x, k)) is level up to k and a curve behind; f(min(x, k)) the other way round.
"""

from __future__ import annotations

import numpy as np

FEW = 4  # rows that a level stretch has at least, and that a curve behind it has
# Standard deviations off the mean of a stretch, and how many rows in turn must be, for it to have ended.
FAR, TWICE = 4.0, 2
SLIGHT = 0.02  # of the target's spread that a level stretch may scatter
ROUNDING = 1e-9  # of the target's size


def level_ends(x: np.ndarray, y: np.ndarray) -> list[tuple[str, float]]:
    """("max", k) where y (M,) is level over the rows with x <= k, ("min", k) where it is for x >= k: the last level row, and half way to the next."""
    order = np.argsort(x, kind="stable")
    found = []
    for token, rows in (("max", order), ("min", order[::-1])):
        n = _level(y[rows])
        if n >= FEW and len(np.unique(x[rows[n:]])) >= FEW and x[rows[n]] != x[rows[n - 1]]:
            last = float(x[rows[n - 1]])
            found += [(token, last), (token, (last + float(x[rows[n]])) / 2)]
    return found


def _level(y: np.ndarray) -> int:
    """How many of the first rows scatter about one value."""
    spread, least = float(np.std(y)), ROUNDING * float(np.abs(y).max())
    if not spread > 0:
        return 0
    off = 0
    for n in range(FEW, len(y)):
        stretch = y[: n - off]
        width = max(float(np.std(stretch)) * (1 + 2 / len(stretch)), least)
        if width > SLIGHT * spread:
            return 0
        off = off + 1 if abs(y[n] - stretch.mean()) > FAR * width else 0
        if off == TWICE:
            return n + 1 - TWICE
    return 0
