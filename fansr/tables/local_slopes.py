"""Smoothed derivatives of a measured column: local polynomials whose width the rows themselves choose.

    rate(t, x)        # dx/dt (M,), with NaN where it cannot be told

Around each row a polynomial in time is fitted to its nearest rows (Savitzky and Golay 1964, here for uneven steps too).  Degree
and width are those that predict a row left out best (Stone 1974); the derivative is the polynomial's.  Where a table holds several
runs, one after the other, each is taken by itself.
"""

from __future__ import annotations

import numpy as np

DEGREES = (2, 4, 6)
WIDTHS = (5, 7, 9, 11, 13, 17, 21, 27, 35, 45, 61, 81, 109, 145)  # rows of a window
ASKED = 400  # rows that choose degree and width
CELLS = 1 << 20  # of the matrices that are held at once
MIN_ROWS = 5  # of a run
NOISY = 1e-6  # of the spread: prediction errors above it count as noise, and the uncertain ends are left out then


class Unordered(ValueError):
    """Times that do not follow each other."""


def runs(t: np.ndarray) -> list[np.ndarray]:
    """Rows of each run, in the order of time: all rows where times differ throughout, else from one fall of time to the next.

    Rows without a time belong to none.  Unordered where that leaves runs too short to have a derivative.
    """
    rows = np.flatnonzero(np.isfinite(t))
    times = t[rows]
    if len(np.unique(times)) == len(times):
        return [rows[np.argsort(times)]] if len(rows) else []
    falls = np.flatnonzero(np.diff(times) <= 0) + 1
    found = [part for part in np.split(rows, falls)]
    if len(rows) and np.median([len(part) for part in found]) < MIN_ROWS:
        raise Unordered
    return found


def rate(t: np.ndarray, x: np.ndarray, order: int = 1) -> tuple[np.ndarray, int]:
    """The derivative of x (M,) by t (M,) of an order, 1 to 3, and the number of runs; NaN where x or t is, in runs of less than
    MIN_ROWS rows, and at the ends of runs that are noisy."""
    values = np.full(len(t), np.nan)
    good = np.isfinite(t) & np.isfinite(x)
    found = runs(np.where(good, t, np.nan))
    for rows in found:
        if len(rows) >= max(MIN_ROWS, order + 3):
            values[rows] = _rate_of_run(t[rows], x[rows], order)
    return values, len(found)


def _rate_of_run(t: np.ndarray, x: np.ndarray, order: int) -> np.ndarray:
    M = len(t)
    spread = float(np.ptp(x))
    if not spread > 0:
        return np.zeros(M)
    asked = np.unique(np.linspace(0, M - 1, min(M, ASKED)).round().astype(int))
    best = (np.inf, 2, min(WIDTHS[0], M))
    for degree in DEGREES:
        for width in WIDTHS:
            if width > M or width < degree + 3 or degree < order:
                continue
            at, _, hat = _local(t, x, asked, width, degree, order)
            with np.errstate(all="ignore"):
                error = float(np.mean(((x[asked] - at) / np.maximum(1 - hat, 1e-9)) ** 2))
            # A rounding's worth of gain is none: of equals the plainest and widest.
            if error < 0.98 * best[0] and np.isfinite(error):
                best = (error, degree, width)
    error, degree, width = best
    degree = min(degree, width - 2) if width < degree + 3 else degree
    slopes = _local(t, x, np.arange(M), width, max(degree, order), order)[1]
    if np.sqrt(error) > NOISY * spread and M > 4 * width // 2 + MIN_ROWS:
        ends = max(1, width // 4)  # where the window is one-sided its slope is several times less sure
        slopes[:ends] = slopes[M - ends :] = np.nan
    return slopes


def _local(t, x, rows, width: int, degree: int, order: int):
    """(value, derivative, hat): of local polynomials at some rows, and the weight of a row in its own value."""
    M, n = len(t), len(rows)
    at, slope, hat = np.empty(n), np.empty(n), np.empty(n)
    first = np.clip(rows - width // 2, 0, M - width)
    step = max(1, CELLS // (width * (degree + 1)))
    factorial = float(np.prod(np.arange(1, order + 1)))
    for begin in range(0, n, step):
        part = slice(begin, begin + step)
        window = first[part][:, None] + np.arange(width)  # (n, w)
        centre = t[rows[part]][:, None]
        scale = np.ptp(t[window], axis=1)[:, None] / 2
        u = (t[window] - centre) / scale  # (n, w), within -2 and 2
        A = u[:, :, None] ** np.arange(degree + 1)  # (n, w, p)
        base = x[rows[part]][:, None]  # differences: a large offset costs no digits
        inverse = np.linalg.pinv(A)  # (n, p, w)
        c = (inverse @ (x[window] - base)[:, :, None])[:, :, 0]
        at[part] = c[:, 0] + base[:, 0]
        slope[part] = factorial * c[:, order] / scale[:, 0] ** order
        hat[part] = np.take_along_axis(inverse[:, 0, :], (rows[part] - first[part])[:, None], axis=1)[:, 0]
    return at, slope, hat
