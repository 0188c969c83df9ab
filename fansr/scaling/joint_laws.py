"""Laws over sizes and data together: the loss as a function of parameters N and tokens D, and the best ratio of the two.

chinchilla: loss = E + A N^-a + B D^-b (Hoffmann et al. 2022, section 3.3, their third approach): Huber's loss of the
differences of logarithms, from many starts.  surface: log loss as a quadratic of log compute and log ratio over all runs
at once, whose valley is the best ratio at every compute.  isoflop: a parabola over the ratio at each of several levels
of compute, their first and second approach, read off each size's own curve.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from fansr.errors import DataError
from fansr.scaling import bands
from fansr.streams import rng_for

HUBER = 1e-3  # of a difference of logarithms, Hoffmann et al.
STARTS = 500
BIN = 0.25  # decades between levels of compute


# ---- frontier ---------------------------------------------------------------------------------


def frontier(x: np.ndarray, y: np.ndarray, high: bool = False) -> np.ndarray:
    """Indices of the points that none with as little x beats (y low is good, or high), in order of x."""
    sign = -1.0 if high else 1.0
    order = np.lexsort((sign * y, x))
    kept, best = [], math.inf
    for i in order:
        if sign * y[i] < best:
            kept.append(i)
            best = sign * y[i]
    return np.array(kept, dtype=int)


# ---- loss over parameters and data ------------------------------------------------------------


def chinchilla(N: np.ndarray, D: np.ndarray, loss: np.ndarray, starts: int = STARTS, seed: int = 0) -> dict[str, float]:
    """{E, A, a, B, b, huber} of loss = E + A N^-a + B D^-b; DataError for fewer than 6 runs or a size or length alone."""
    u, v, g = (np.log(np.asarray(t, dtype=np.float64)) for t in (N, D, loss))
    if len(g) < 6 or np.ptp(u) <= 0 or np.ptp(v) <= 0:
        raise DataError(f"{len(g)} runs; the law over N and D needs at least 6, of several sizes and several lengths")
    mu, mv = u.mean(), v.mean()  # A and B are fitted as the parts at the middle of the data
    rng = rng_for(seed, "law.starts", 0)
    shares = np.log(rng.dirichlet(np.ones(3), starts)) + float(g.min()) + rng.uniform(0, 0.5, (starts, 1))
    exponents = rng.uniform(0, 1.5, (starts, 2))
    begins = np.stack([shares[:, 0], shares[:, 1], exponents[:, 0], shares[:, 2], exponents[:, 1]], 1)
    found, values = huber_fits(begins, u - mu, v - mv, g)
    best = int(np.argmin(values))
    return {**_parameters(found[best], mu, mv), "huber": float(values[best])}


def _parameters(p: np.ndarray, mu: float, mv: float) -> dict[str, float]:
    """E, A, a, B, b of a fit about the middle of the data."""
    e, fall, a, gain, b = map(float, p)
    return {"E": math.exp(e), "A": math.exp(fall + a * mu), "a": a, "B": math.exp(gain + b * mv), "b": b}


def parts_of(p: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Logarithms (R, 3, n) of E, A N^-a and B D^-b for parameters p (R, 5): log E, log A, a, log B, b; u and v log N and log D."""
    return np.stack(
        [np.broadcast_to(p[:, :1], (len(p), len(u))), p[:, 1:2] - p[:, 2:3] * u, p[:, 3:4] - p[:, 4:] * v], 1
    )


def huber(r: np.ndarray, counts: np.ndarray | float = 1.0) -> np.ndarray:
    """Sum over the last axis of Huber's loss of r, each so many times, in units of HUBER squared."""
    near = np.abs(r) <= HUBER
    return (counts * np.where(near, 0.5 * r * r, HUBER * (np.abs(r) - 0.5 * HUBER))).sum(-1) / HUBER**2


def huber_fits(
    starts: np.ndarray, u: np.ndarray, v: np.ndarray, g: np.ndarray, counts: np.ndarray | float = 1.0, rounds: int = 200
):
    """Fits of log(E + A N^-a + B D^-b) to g (n,) from each start (R, 5): parameters (R, 5) and Huber's loss (R,).
    counts (R, n): how often each point counts.

    Departure from Hoffmann et al., who take L-BFGS: steps of Levenberg and Marquardt under Huber's weights, all starts at
    once, which go to the end of the long flat valley that this law's parameters have.
    """
    p, damping = np.array(starts, dtype=np.float64), np.full(len(starts), 1e-2)

    def residual(p):
        return special.logsumexp(parts_of(p, u, v), axis=1) - g

    now = huber(residual(p), counts)
    for _ in range(rounds):
        parts = parts_of(p, u, v)
        total = special.logsumexp(parts, axis=1)
        share = np.exp(parts - total[:, None])
        r = total - g
        J = np.stack([share[:, 0], share[:, 1], -share[:, 1] * u, share[:, 2], -share[:, 2] * v], 2)  # (R, n, 5)
        w = counts * np.minimum(1.0, HUBER / np.maximum(np.abs(r), 1e-300))
        H = (J * w[:, :, None]).transpose(0, 2, 1) @ J
        b = (J * (w * r)[:, :, None]).sum(1)
        diagonal = np.einsum("rii->ri", H)
        H = H + np.eye(5) * (damping[:, None] * (diagonal + 1e-9))[:, None, :]
        new = p - np.clip(np.linalg.solve(H, b[:, :, None])[:, :, 0], -2.0, 2.0)
        new[:, [2, 4]] = np.clip(new[:, [2, 4]], 0.0, 5.0)
        new[:, 0] = np.maximum(new[:, 0], g.min() - 30.0)
        then = huber(residual(new), counts)
        better = then <= now
        p[better], now[better] = new[better], then[better]
        damping = np.clip(np.where(better, damping * 0.3, damping * 4.0), 1e-12, 1e10)
    return p, now


def chinchilla_bands(
    N: np.ndarray, D: np.ndarray, loss: np.ndarray, found: dict, clusters: Sequence, times: int = 200, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """{parameter: (low, high)} by bootstrap over clusters, each resample fitted from the fit of all runs."""
    counts = bands.resamples(clusters, times, seed)
    u, v, g = (np.log(np.asarray(t, dtype=np.float64)) for t in (N, D, loss))
    mu, mv = u.mean(), v.mean()
    parts = math.log(found["A"]) - found["a"] * mu, found["a"], math.log(found["B"]) - found["b"] * mv, found["b"]
    start = np.array([math.log(max(found["E"], 1e-12)), *parts])
    p, _ = huber_fits(np.tile(start, (times, 1)), u - mu, v - mv, g, counts)
    names = ("E", "A", "a", "B", "b")
    # All five are positive and vary over decades: their intervals are made of logarithms.
    replicas = np.log(np.maximum([[_parameters(one, mu, mv)[name] for name in names] for one in p], 1e-300))
    estimate = np.log([max(found[name], 1e-300) for name in names])
    n = len(set(map(str, clusters)))
    low, high = bands.interval(estimate, replicas, n, min(5, n - 1))
    return {name: (float(np.exp(a)), float(np.exp(b))) for name, a, b in zip(names, low, high)}


# ---- the best ratio ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Valley:
    """Where the loss is least over the ratio (tokens a parameter), by compute.

    ratio: at the middle of the compute, with `interval`; slope: of log10 ratio a decade of compute, with its interval.
    size_exponent, data_exponent: N*(C) ~ C^, D*(C) ~ C^ (they follow from the slope: C = 6 N D up to a constant).
    """

    ratio: float
    interval: tuple[float, float]
    slope: float
    slope_interval: tuple[float, float]
    middle: float

    @property
    def size_exponent(self) -> float:
        return 0.5 * (1.0 - self.slope)

    @property
    def data_exponent(self) -> float:
        return 0.5 * (1.0 + self.slope)


def _surface(c, r, g, weights=None):
    """Coefficients of g = [1, c, c2, r, r c, r2] by least squares; the middle's best r, and its slope; None where no valley."""
    B = np.stack([np.ones_like(c), c, c * c, r, r * c, r * r], 1)
    w = np.ones(len(c)) if weights is None else np.sqrt(weights)
    k, _, rank, _ = np.linalg.lstsq(B * w[:, None], g * w, rcond=None)
    if rank < 6 or not k[5] > 0:
        return None
    return -k[3] / (2 * k[5]), -k[4] / (2 * k[5])


def valley(
    flops: np.ndarray, ratio: np.ndarray, loss: np.ndarray, clusters: Sequence, times: int = 1000, seed: int = 0
) -> Valley | None:
    """The best ratio by compute from all runs at once; None where the runs show no valley (or are fewer than 8)."""
    c, r, g = np.log10(flops), np.log10(ratio), np.log(loss)
    if len(g) < 8:
        return None
    middle = float(c.mean())
    found = _surface(c - middle, r, g)
    if found is None:
        return None
    replicas = [
        _surface(c - middle, r, g, weights) or (np.nan, np.nan) for weights in bands.resamples(clusters, times, seed)
    ]
    n = len(set(map(str, clusters)))
    low, high = bands.interval(np.array(found), np.array(replicas), n, min(2, n - 1))
    ends = 10.0 ** np.array([low[0], high[0]])
    return Valley(
        10.0 ** found[0],
        (float(ends[0]), float(ends[1])),
        float(found[1]),
        (float(low[1]), float(high[1])),
        10.0**middle,
    )


def isoflop(flops: np.ndarray, ratio: np.ndarray, loss: np.ndarray, sizes: Sequence) -> list[dict]:
    """Loss against ratio at levels of compute a quarter of a decade apart, read off each size's curve between its runs.

    [{flops, ratio [..], loss [..], size [..], best or None}] for levels that at least three sizes reach; `best` is the
    minimum of the parabola in log ratio where it opens upwards and lies within the sizes' ratios, widened by half a decade.
    """
    names = np.array([str(size) for size in sizes])
    c, r, g = np.log10(flops), np.log10(ratio), np.log(loss)
    levels = []
    for level in np.arange(math.ceil(c.min() / BIN) * BIN, c.max() + 1e-9, BIN):
        found = []
        for name in sorted(set(names)):
            mine = names == name
            order = np.argsort(c[mine], kind="stable")
            x = c[mine][order]
            if len(x) >= 2 and x[0] <= level <= x[-1]:
                found.append(
                    (float(np.interp(level, x, r[mine][order])), float(np.interp(level, x, g[mine][order])), name)
                )
        if len(found) < 3:
            continue
        rs, gs = np.array([f[0] for f in found]), np.array([f[1] for f in found])
        k = np.polyfit(rs, gs, 2)
        best = -k[1] / (2 * k[0]) if k[0] > 0 else math.nan
        inside = rs.min() - 0.5 <= best <= rs.max() + 0.5
        levels.append(
            {
                "flops": float(10.0**level),
                "ratio": (10.0**rs).tolist(),
                "loss": np.exp(gs).tolist(),
                "size": [f[2] for f in found],
                "parabola": k.tolist(),
                "best": float(10.0**best) if inside else None,
            }
        )
    return levels
