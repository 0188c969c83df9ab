"""Views of the target under which an outer root, quotient, exponential or logarithm is gone."""

from __future__ import annotations

import numpy as np


def views(y: np.ndarray) -> list[tuple[tuple[str, ...], np.ndarray, np.ndarray, tuple[str, ...]]]:
    """(outside, target, slope, inside) for every view that fits y (M,).

    `outside` are the tokens put before an expression for `target` to make one for y, `inside` those that do the
    opposite to an expression for y, and slope = |dy / dtarget| up to a factor weighs residuals.
    """
    found = [((), y, np.ones(len(y)), ())]
    size = np.abs(y)
    sign = () if (y >= 0).all() else ("neg",) if (y <= 0).all() else None
    with np.errstate(all="ignore"):
        if sign is not None:
            unit = size.max()
            found.append(((*sign, "pow1_2"), y * (y / unit), unit / np.maximum(size, 1e-3 * unit) / 2, ("pow2",)))
            if (size > 0).all() and size.max() / size.min() < 1e6:
                low = size.min()
                found.append(((*sign, "inv", "pow1_2"), (low / y) ** 2, (size / size.max()) ** 3, ("inv", "pow2")))
            if (size > 0).all() and size.max() / size.min() < 1e12:
                found.append(((*sign, "exp"), np.log(size), size, ("log", *sign)))
        if (size > 0).all() and size.max() / size.min() < 1e8:
            found.append((("inv",), 1 / y, y * (y / size.max()), ("inv",)))
        if size.max() < 30 and np.ptp(y) > 0.05:
            found.append((("log",), np.exp(y), np.exp(-y), ("exp",)))
    return [(o, t, s, i) for o, t, s, i in found if np.isfinite(t).all() and np.isfinite(s).all() and np.ptp(t) > 0]
