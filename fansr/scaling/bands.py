"""How sure a law of many runs is: 95 % bands by bootstrap over whole clusters of runs, and the law without each of them.

Runs of one size and seed share their data order and their first steps, so they are drawn together.  A percentile interval
is too narrow for few clusters by the factor sqrt(n/(n-k)) and for not knowing the spread; both are put back as Hesterberg
2015 (The American Statistician 69, section 3.2, "expanded" intervals) proposes, about the fitted value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

from fansr.errors import DataError
from fansr.scaling import curves
from fansr.streams import rng_for

COVERAGE = 0.95
FEWEST = 5  # clusters that can be resampled; of fewer, most resamples are one of them alone


def resampled_together(clusters: Sequence) -> list:
    """The clusters, or where they are fewer than FEWEST each run by itself, as if runs were independent."""
    return list(clusters) if len(set(map(str, clusters))) >= FEWEST else list(range(len(clusters)))


def resamples(clusters: Sequence, times: int, seed: int = 0) -> np.ndarray:
    """(times, N) how often each point counts when whole clusters are drawn with replacement."""
    names, members = np.unique([str(c) for c in clusters], return_inverse=True)
    rng = rng_for(seed, "law.bootstrap", 0)
    drawn = rng.multinomial(len(names), np.full(len(names), 1.0 / len(names)), size=times)
    return drawn[:, members].astype(np.float64)


def expansion(n: int, k: int) -> float:
    """Factor of an interval's half widths for n clusters and k fitted numbers."""
    free = max(n - k, 1)
    t = float(stats.t.ppf(0.5 + COVERAGE / 2, free) / stats.norm.ppf(0.5 + COVERAGE / 2))
    return t * math.sqrt(n / free)


def interval(estimate: np.ndarray, replicas: np.ndarray, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Low and high of each estimate (P,) from replicas (R, P): expanded percentiles about it."""
    ends = [50 * (1 - COVERAGE), 50 * (1 + COVERAGE)]
    low, high = np.nanpercentile(replicas, ends, axis=0)
    wide = expansion(n, k)
    return estimate - wide * np.maximum(estimate - low, 0.0), estimate + wide * np.maximum(high - estimate, 0.0)


def band(
    curve: curves.Curve,
    x: np.ndarray,
    y: np.ndarray,
    clusters: Sequence,
    grid: np.ndarray,
    times: int = 1000,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray, dict[str, tuple[float, float]]]:
    """The band of a curve on `grid` (P,), low and high, and the interval of each of its parameters.

    The interval is made on the form's own scale, where errors are even, and brought back.  Points far from the data are
    as sure as the form is true, which no bootstrap knows.
    """
    scale, _, back, names = curves.FORMS[curve.form]
    grid = np.asarray(grid, dtype=np.float64)
    counts = resamples(clusters, times, seed)
    n = len(set(map(str, clusters)))
    with np.errstate(all="ignore"):
        replicas, parameters = (_shifted if curve.form == "shifted" else _straight)(curve, x, y, counts, grid)
        estimate = scale(curve(grid))
        low, high = interval(estimate, replicas, n, len(names))
        values = np.array([curve.parameters[name] for name in names])
        a_low, a_high = interval(values, parameters, n, len(names))
        low, high = back(low), back(high)
    limits = {name: (float(a), float(b)) for name, a, b in zip(names, a_low, a_high)}
    return np.fmin(low, high), np.fmax(low, high), limits


def _straight(curve, x, y, counts, grid):
    """All resamples of a law that is straight on its scale at once: values (R, P) on that scale, parameters (R, 2)."""
    g, u = curves.FORMS[curve.form][0](y), np.log(x)
    total = counts.sum(1)
    mu, mg = counts @ u / total, counts @ g / total
    suu, sug = counts @ (u * u) - total * mu * mu, counts @ (u * g) - total * mu * mg
    slope = np.where(suu > 1e-9 * total, sug / suu, np.nan)  # all clusters at one x: says nothing
    level = mg - slope * mu
    values = level[:, None] + slope[:, None] * np.log(grid)
    first, second = (level, slope) if curve.form == "logistic" else (np.exp(level), -slope)
    return values, np.stack([first, second], 1)


def _shifted(curve, x, y, counts, grid):
    """The same for the shifted form, each resample fitted from the fit of all points; parameters (R, 3)."""
    u, g, p = np.log(x), np.log(y), curve.parameters
    start = [math.log(p["A"]), math.log(p["E"]), p["a"]]
    middle = u.mean()
    start[0] -= p["a"] * middle
    found, _ = curves.shifted_fits(u - middle, g, counts, np.tile(start, (len(counts), 1)))
    values = np.logaddexp(found[:, :1] - found[:, 2:] * (np.log(grid) - middle), found[:, 1:2])
    parameters = np.stack([np.exp(found[:, 1]), np.exp(found[:, 0] + found[:, 2] * middle), found[:, 2]], 1)
    return values, parameters


def without_each(
    groups: Sequence, x: np.ndarray, y: np.ndarray, again: Callable[[np.ndarray, np.ndarray], curves.Curve]
) -> dict[str, curves.Curve]:
    """The law fitted without each group of runs in turn (each size, say), where enough points are left."""
    groups = np.array([str(group) for group in groups])
    found = {}
    for name in sorted(set(groups)) if len(set(groups)) > 1 else []:
        rest = groups != name
        try:
            found[name] = again(x[rest], y[rest])
        except DataError:
            continue
    return found
