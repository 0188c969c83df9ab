"""Targets that are known to lie between two ends (interval regression; Turnbull 1976 has its kind without a distribution)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fansr.fitting.loss_aims import Aim
from fansr.fitting.losses import Loss


class Interval(Aim):
    """Targets between two ends, which may be infinite: -log P(low < f + e < high) of Gaussian e, whose width is fitted for each law."""

    def __init__(self, loss: Loss, y: np.ndarray, weights: np.ndarray | None, known: bool, ends: np.ndarray | None):
        low, high = ends[:, 0], ends[:, 1]
        point = 1e-6 * (
            float(np.std(ends[np.isfinite(ends)])) or 1.0
        )  # half the width of a target that is known exactly
        ends = np.where((high > low)[:, None], ends, ends + np.array([-point, point]))
        self.middle = np.where(np.isinf(low), high, np.where(np.isinf(high), low, 0.5 * (low + high)))
        spread = float(np.std(self.middle)) or 1.0
        finite = np.isfinite(high - low) & (high > low)
        self.narrowest = max(1e-3 * (float(np.median((high - low)[finite])) if finite.any() else spread), 1e-9 * spread)
        self.width = spread
        super().__init__(loss, self.middle, weights, False, ends)

    def _logs(self, f, s):
        """log P (M,) of each interval, in the tail that keeps its digits."""
        from scipy.special import log_ndtr

        a, b = (self.ends[:, 0] - f) / s, (self.ends[:, 1] - f) / s
        flip = a > 0
        a, b = np.where(flip, -b, a), np.where(flip, -a, b)
        with np.errstate(all="ignore"):
            top, bottom = log_ndtr(b), log_ndtr(a)
            wide = top + np.log1p(-np.exp(np.minimum(bottom - top, -1e-300)))
            narrow = -0.5 * (0.5 * (a + b)) ** 2 - 0.5 * math.log(2 * math.pi) + np.log(np.maximum(b - a, 1e-300))
        return np.where(np.isfinite(wide) & (b - a > 1e-6), wide, narrow)

    def _at(self, f, s):
        L = -float(self.w @ self._logs(f, s))
        return L if math.isfinite(L) else math.inf

    def _profiled(self, f) -> tuple[float, float]:
        """(width, L) of least L for these values, by golden section over the logarithm of the width."""
        if not np.isfinite(f).all():
            return self.width, math.inf
        outside = np.maximum(np.maximum(self.ends[:, 0] - f, f - self.ends[:, 1]), 0.0)
        top = math.log(max(10 * float(np.std(f - self.middle)) + 10 * float(outside.max()), 4 * self.narrowest))
        a, b, g = math.log(self.narrowest), top, 0.6180339887
        c, d = b - g * (b - a), a + g * (b - a)
        at_c, at_d = self._at(f, math.exp(c)), self._at(f, math.exp(d))
        for _ in range(14):
            if at_c <= at_d:
                b, d, at_d = d, c, at_c
                c = b - g * (b - a)
                at_c = self._at(f, math.exp(c))
            else:
                a, c, at_c = c, d, at_d
                d = a + g * (b - a)
                at_d = self._at(f, math.exp(d))
        return (math.exp(c), at_c) if at_c <= at_d else (math.exp(d), at_d)

    def loss(self, f: np.ndarray) -> float:
        return max(self._profiled(f)[1], 0.0)

    def rounded_off(self, f: np.ndarray, soft: float) -> float:
        return self._at(f, self.width) if np.isfinite(f).all() else math.inf

    def best_constant(self) -> float:
        values = np.quantile(self.middle, np.linspace(0.02, 0.98, 49))
        return float(min(values, key=lambda c: self._profiled(np.full(len(self.middle), c))[1]))

    def newton(self, f: np.ndarray, soft: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Slope of log P, and its negative second derivative, which is positive throughout (log P is concave)."""
        s = self.width
        a, b = (self.ends[:, 0] - f) / s, (self.ends[:, 1] - f) / s
        logs = self._logs(f, s)
        with np.errstate(all="ignore"):
            at_a = np.where(np.isfinite(a), np.exp(-0.5 * a * a - logs) / math.sqrt(2 * math.pi), 0.0)
            at_b = np.where(np.isfinite(b), np.exp(-0.5 * b * b - logs) / math.sqrt(2 * math.pi), 0.0)
            slope = (at_a - at_b) / s
            bend = (
                slope * slope
                + (np.where(np.isfinite(b), b, 0.0) * at_b - np.where(np.isfinite(a), a, 0.0) * at_a) / s**2
            )
        bad = ~(np.isfinite(slope) & np.isfinite(bend))
        target = np.clip(f, self.ends[:, 0], self.ends[:, 1])
        slope, bend = np.where(bad, (target - f) / s**2, slope), np.where(bad, 1 / s**2, bend)
        return self.w * slope, self.w * np.clip(bend, 1e-6 / s**2, None)

    def settle(self, f: np.ndarray) -> None:
        self.width = self._profiled(f)[0]

    def nats(self, L: float) -> float:
        return L

    def refer(self, f: np.ndarray) -> None:
        if np.isfinite(f).all():
            self.settle(f)

    def working(self, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        slope, _ = self.newton(f)
        return f + self.width**2 * slope / self.w, self.w  # the mean of the target within its interval

    def start(self, near: Callable[..., np.ndarray]) -> np.ndarray:
        return near(self.middle)

    def information(self, f: np.ndarray, C: int) -> np.ndarray:
        self.settle(f)
        return self.newton(f)[1] * max(1, self.M - C) / self.M

    def scores(self, f: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy.special import ndtr, ndtri

        self.settle(f)
        low, high = (ndtr((self.ends[:, k] - f) / self.width) for k in (0, 1))
        return ndtri(np.clip(low + (high - low) * rng.random(self.M), 1e-12, 1 - 1e-12))

    def noise(self, f: np.ndarray, C: int) -> float:
        return self._profiled(f)[0]

    def figures(self, f: np.ndarray) -> dict[str, float]:
        inside = (self.ends[:, 0] <= f) & (f <= self.ends[:, 1])
        return {"share_inside": float(np.average(inside, weights=self.w)), "noise": self._profiled(f)[0]}
