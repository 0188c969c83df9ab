"""Losses of residuals that grow in proportion to their size: absolute, quantile, huber.

Sources: Koenker 2005 (quantiles) with the majoriser of Hunter and Lange 2000; Huber and Ronchetti 2009.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fansr.fitting.loss_aims import Aim
from fansr.fitting.losses import Loss

MAD = 1.4826  # standard deviations of a Gaussian over its median absolute deviation
CORNER_ROWS = 20000  # up to which the corner of a kinked loss is looked for


class Kinked(Aim):
    """Losses of residuals that grow in proportion to their size: quantiles (absolute: the median) and, below, Huber's.

    The width of the noise is told by the reference law's middle rows, so that a few far rows, which cost every law about the
    same, do not drown what laws differ in: that part of the loss is `apart`.
    """

    def __init__(self, loss: Loss, y: np.ndarray, weights: np.ndarray | None, known: bool, ends: np.ndarray | None):
        self.share_above = loss.number if loss.name == "quantile" else 0.5
        self.factor = 2.0 if loss.name == "absolute" else 1.0  # |r| is twice the loss of the median
        self.apart, self.at = 0.0, math.nan  # of L: that of far rows, and the reference law's
        self.width = math.nan  # of the noise
        super().__init__(loss, y, weights, known, ends)
        if math.isnan(self.width):
            self.width = max(self.whole / self.M, self.least)

    def residual(self, f: np.ndarray) -> np.ndarray:
        return (self.y - f) * self.root

    def each(self, r: np.ndarray) -> np.ndarray:
        """Loss (M,) of residuals."""
        return self.factor * r * (self.share_above - (r < 0))

    def loss(self, f: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            L = float(self.w @ self.each(self.residual(f)))
        return L if math.isfinite(L) else math.inf

    def best_constant(self) -> float:
        return weighted_quantile(self.y, self.w * self.root, self.share_above)

    def newton(self, f: np.ndarray, soft: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        # Hunter and Lange: |r| lies below (r^2 / (e + |r0|) + e + |r0|) / 2, and touches it at r0.
        r = self.residual(f)
        soft = soft or 0.1 * self.width
        half = 0.5 * self.factor * self.w * self.root / (soft + np.abs(r))
        return half * r + self.factor * self.w * self.root * (self.share_above - 0.5), half * self.root

    def rounded_off(self, f: np.ndarray, soft: float) -> float:
        r = self.residual(f)
        return float(self.w @ (self.each(r) - 0.5 * self.factor * soft * np.log(soft + np.abs(r))))

    def softness(self) -> tuple[float, ...]:
        return tuple(max(self.width * s, self.least) for s in (1.0, 0.1, 0.02))

    def corner(self, f: np.ndarray, J: np.ndarray) -> np.ndarray | None:
        """By exchange (Barrodale and Roberts 1973): as many rows as constants are met, and one is let go for another while L falls."""
        C, r, A, w = len(J), self.residual(f), J * self.root, self.w * self.factor
        if not C < self.M <= CORNER_ROWS or not np.isfinite(A).all():
            return None
        size = np.abs(A).max(axis=1)
        if not (size > 0).all():
            return None
        A = A / size[:, None]
        met: list[int] = []
        basis = np.zeros((0, C))
        for m in np.argsort(np.abs(r), kind="stable"):  # the nearest rows that tell all constants
            left = A[:, m] - basis.T @ (basis @ A[:, m])
            norm = float(np.sqrt(left @ left))
            if norm > 1e-6 * float(np.sqrt(A[:, m] @ A[:, m])) + 1e-300:
                met.append(int(m))
                basis = np.vstack([basis, left / norm])
                if len(met) == C:
                    break
        if len(met) < C:
            return None
        q = self.share_above
        for turn in range(20 * C + 20):
            try:
                back = np.linalg.inv(A[:, met].T)  # (C, C): step of constants by change of the met rows' values
            except np.linalg.LinAlgError:  # the row that was taken in tells no more than the others, but for rounding
                if turn == 0:
                    return None
                break
            if turn == 0:
                step = back @ r[met]
            left = r - step @ A
            left[met] = 0.0
            moved = back.T @ A  # (C, M)
            free = np.ones(self.M, bool)
            free[met] = False
            # dL/dt when met row k's residual becomes -t, for t up and down.
            slope = moved[:, free] @ (w[free] * (q - (left[free] < 0)))
            up, down = w[met] * (1 - q) - slope, w[met] * q + slope
            worst = np.minimum(up, down)
            k = int(worst.argmin())
            if not worst[k] < -1e-10 * float(w.sum()):
                break
            d = moved[k] if up[k] < down[k] else -moved[k]
            with np.errstate(all="ignore"):
                t = np.where(free & (d != 0), left / d, np.inf)
            ahead = np.flatnonzero((t > 0) & np.isfinite(t))
            if not len(ahead):
                break
            ahead = ahead[np.argsort(t[ahead], kind="stable")]
            rise = worst[k] + np.cumsum(w[ahead] * np.abs(d[ahead]))
            at = int(np.argmax(rise >= 0)) if (rise >= 0).any() else len(ahead) - 1
            step = step + (back[:, k] if up[k] < down[k] else -back[:, k]) * t[ahead[at]]
            met[k] = int(ahead[at])
        return step / size

    def nats(self, L: float) -> float:
        if math.isnan(self.at) or L >= self.at:
            return self.M * math.log(max(L - self.apart, self.M * self.least))
        # Fits better than the reference: by the reference's width, which the far rows have no part in.
        return self.M * math.log(max(self.at - self.apart, self.M * self.least)) + (L - self.at) / self.width

    def refer(self, f: np.ndarray) -> None:
        L = self.loss(f)
        if not L < math.inf:
            return
        self.width = max(self._width(self.residual(f)), self.least)
        self.apart, self.at = max(0.0, L - self.M * self.width), L
        self.worst = self.nats(self.whole)

    def _width(self, r: np.ndarray) -> float:
        """Of the asymmetric Laplace distribution, half of whose losses are below log 2 times it."""
        return weighted_quantile(self.each(r), self.w, 0.5) / math.log(2)

    def working(self, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r = self.residual(f)
        far = 4.0 * MAD * weighted_quantile(np.abs(r), self.w, 0.5) + self.least
        # An expectile's weights, and none for far rows: smooth, and near enough to find the form with.
        side = np.where(r < 0, 1 - self.share_above, self.share_above)
        keep = (
            np.maximum(1 - (r / far) ** 2, 0.0) ** 2
            if self.share_above == 0.5
            else np.minimum(1.0, far / (np.abs(r) + far))
        )
        w = self.w * self.root**2 * side * np.maximum(keep, 1e-4)
        return self.y, w

    def information(self, f: np.ndarray, C: int) -> np.ndarray:
        # Koenker 2005, 3.4.2: q (1 - q) s^2 with s the slope of the residuals' quantile function at q, over Hall and Sheather's width.
        r, q, M = np.sort(self.residual(f)), self.share_above, self.M
        h = min(0.5 * min(q, 1 - q), sheather(q, M))
        r = r[np.abs(r) > 1e-9 * self.width] if np.sum(np.abs(r) > 1e-9 * self.width) > C + 2 else r
        low, high = (weighted_quantile(r, np.ones(len(r)), p) for p in (q - h, q + h))
        slope = max((high - low) / (2 * h), self.least)
        return self.w * self.root**2 / (q * (1 - q) * slope**2)

    def scores(self, f: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy.special import ndtri

        q, z = self.share_above, self.residual(f) / self.width * self.factor
        with np.errstate(all="ignore"):
            u = np.where(z < 0, q * np.exp(np.minimum((1 - q) * z, 0.0)), 1 - (1 - q) * np.exp(-np.maximum(q * z, 0.0)))
        return ndtri(np.clip(u, 1e-12, 1 - 1e-12))

    def noise(self, f: np.ndarray, C: int) -> float:
        return 0.0 if self.kind.name == "quantile" else math.sqrt(2.0) * self.width  # of a Laplace distribution

    def figures(self, f: np.ndarray) -> dict[str, float]:
        r = self.residual(f)
        below = float(np.average(r < 0, weights=self.w))
        return {"median_absolute_error": float(np.median(np.abs(self.y - f))), "share_below": below}

    def start(self, near: Callable[..., np.ndarray]) -> np.ndarray:
        return near(self.y, self.share_above)


class Huber(Kinked):
    """Squares up to a limit of so many robust standard deviations, beyond it in proportion to the size; half of r^2 in the middle."""

    def __init__(self, loss: Loss, y: np.ndarray, weights: np.ndarray | None, known: bool, ends: np.ndarray | None):
        self.limit = math.inf
        super().__init__(loss, y, weights, known, ends)
        self._limited(np.full(len(y), self.constant))

    def _limited(self, f: np.ndarray) -> None:
        self.width = max(self._width(self.residual(f)), self.least)
        self.limit = self.kind.number * self.width
        self.whole = self.loss(np.full(self.M, self.constant))
        self.worst = self.nats(self.whole)

    def each(self, r: np.ndarray) -> np.ndarray:
        size = np.abs(r)
        return np.where(
            size <= self.limit, 0.5 * r * r, self.limit * (size - 0.5 * self.limit) if self.limit < math.inf else 0.0
        )

    def best_constant(self) -> float:
        return weighted_quantile(self.y, self.w * self.root, 0.5)

    def newton(self, f: np.ndarray, soft: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        r = self.residual(f)
        with np.errstate(divide="ignore"):
            w = self.w * self.root * np.minimum(1.0, self.limit / np.abs(r))
        w[r == 0] = (self.w * self.root)[r == 0]
        return w * r, w * self.root

    def rounded_off(self, f: np.ndarray, soft: float) -> float:
        return self.loss(f)

    def softness(self) -> tuple[float, ...]:
        return (0.0,)

    def corner(self, f: np.ndarray, J: np.ndarray) -> np.ndarray | None:
        return None

    def _width(self, r):
        return MAD * weighted_quantile(np.abs(r), self.w, 0.5)

    def nats(self, L: float) -> float:
        floor = self.M * self.least**2
        if math.isnan(self.at) or L >= self.at:
            return 0.5 * self.M * math.log(max(L - self.apart, floor))
        left = max(self.at - self.apart, floor)
        return 0.5 * self.M * math.log(left) + 0.5 * self.M * (L - self.at) / left

    def refer(self, f: np.ndarray) -> None:
        if not np.isfinite(f).all():
            return
        self.apart, self.at = 0.0, math.nan
        self._limited(f)
        L = self.loss(f)
        self.apart, self.at = max(0.0, L - self.M * self.width**2 * _huber_mean(self.kind.number)), L
        self.worst = self.nats(self.whole)

    def information(self, f: np.ndarray, C: int) -> np.ndarray:
        # Huber and Ronchetti 2009, 7.6: sum psi^2 / (M - C) over (mean of psi')^2.
        r = self.residual(f)
        psi = np.clip(r, -self.limit, self.limit)
        inside = float(np.average(np.abs(r) <= self.limit, weights=self.w))
        spread = float(self.w @ (psi * psi)) / max(1, self.M - C)
        return self.w * self.root**2 * max(inside, 1e-3) ** 2 / max(spread, self.least**2)

    def scores(self, f: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self.residual(f) / self.width

    def noise(self, f: np.ndarray, C: int) -> float:
        return self.width

    def figures(self, f: np.ndarray) -> dict[str, float]:
        far = float(np.average(np.abs(self.residual(f)) > self.limit, weights=self.w))
        return {
            "median_absolute_error": float(np.median(np.abs(self.y - f))),
            "limit": self.limit,
            "share_beyond_limit": far,
        }


def weighted_quantile(values: np.ndarray, w: np.ndarray, q: float) -> float:
    """The q-quantile of values (M,) with weights (M,): where the weights below reach q; between two rows, their mean."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(w[order])
    reached = reached / reached[-1]
    k = int(np.searchsorted(reached, q - 1e-12))
    k = min(k, len(values) - 1)
    if abs(reached[k] - q) < 1e-12 and k + 1 < len(values):
        return 0.5 * float(values[order[k]] + values[order[k + 1]])
    return float(values[order[k]])


def sheather(q: float, M: int) -> float:
    """Hall and Sheather's width (1988) for the slope of a quantile function at q, for 95 % intervals."""
    from scipy.special import ndtri

    z = float(ndtri(q))
    density = math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return M ** (-1 / 3) * 1.959964 ** (2 / 3) * (1.5 * density**2 / (2 * z * z + 1)) ** (1 / 3)


def _huber_mean(k: float) -> float:
    """Mean of Huber's loss of a standard normal variable."""
    density = math.exp(-0.5 * k * k) / math.sqrt(2 * math.pi)
    tail = 0.5 * math.erfc(k / math.sqrt(2))
    inner = 0.5 * (1 - 2 * tail) - k * density
    return inner + 2 * k * (density - 0.5 * k * tail)
