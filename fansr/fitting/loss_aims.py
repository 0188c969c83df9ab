"""A loss bound to the rows of a table, and those of them that are smooth: relative, poisson, binomial.

    aim = losses.parse("poisson").of(y)
    aim.loss(f), aim.newton(f), aim.fvu(f)         # of values f (M,) of a law

An Aim knows rows and no laws: it takes the values f (M,) of a law and gives its loss L, the slope and curvature by which iteratively
reweighted least squares makes L small, and what else least squares would have told: an FVU, a working target for whoever can only
do least squares, the information a row holds on f, residuals as normal scores.

The FVU of a loss is made so that 0.5 M log(FVU) is its negative log-likelihood but for a constant, and 1 for the best constant law;
so every rule of selection that is written for squares holds as it stands.  Poisson's noise has a known size, and its FVU is the
deviance over that of the mean, with `known` the FVU that Poisson's noise accounts for, as for stated errors.

Sources: McCullagh and Nelder 1989 (poisson, binomial); Dunn and Smyth 1996 for the residuals of counts and classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fansr.fitting.losses import Loss

LEAST = 1e-12  # of the scale of y: no width is smaller
NEAR = 1e-9  # of the mean count: rates below it count as it, and have no likelihood


class Aim:
    """A loss bound to M rows.  Subclasses say what it is; `refer` tells it the law whose width of noise is taken for that of all."""

    known = 0.0  # the FVU that noise of a known size accounts for

    def __init__(self, loss: Loss, y: np.ndarray, weights: np.ndarray | None, known: bool, ends: np.ndarray | None):
        self.kind, self.y, self.ends = loss, y, ends
        M = len(y)
        # Weights count rows; stated errors scale residuals.
        self.root = np.sqrt(weights / weights.max()) if weights is not None and known else np.ones(M)
        w = np.ones(M) if weights is None or known else np.asarray(weights, np.float64)
        self.w = w / w.mean()
        self.M = M
        self.least = LEAST * max(float(np.abs(y * self.root).max(initial=0.0)), 1e-300)
        self.constant = self.best_constant()
        self.whole = self.loss(np.full(M, self.constant))  # L of the best constant law
        self.worst = self.nats(self.whole)

    # -- what a subclass says

    def best_constant(self) -> float:
        """The constant law of least loss."""
        raise NotImplementedError

    def loss(self, f: np.ndarray) -> float:
        """L, the sum over rows; infinite where a law has no likelihood."""
        raise NotImplementedError

    def newton(self, f: np.ndarray, soft: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """(-dL/df, curvature >= 0) for each row, (M,) both; soft: the width within which a kink is rounded off."""
        raise NotImplementedError

    def rounded_off(self, f: np.ndarray, soft: float) -> float:
        """L with its kinks rounded off, which steps make smaller."""
        return self.loss(f)

    def softness(self) -> tuple[float, ...]:
        """Widths by which kinks are rounded off, one after the other."""
        return (0.0,)

    def nats(self, L: float) -> float:
        """Negative log-likelihood but for a constant."""
        raise NotImplementedError

    def refer(self, f: np.ndarray) -> None:
        """Take the law of values f for the one that tells the width of the noise."""

    def corner(self, f: np.ndarray, J: np.ndarray) -> np.ndarray | None:
        """The step (C,) of constants of least loss for values f + step @ J, J (C, M), where that is a corner; None for smooth losses."""
        return None

    def settle(self, f: np.ndarray) -> None:
        """Take the width that is best for these values, where it is fitted with every law."""

    def working(self, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(z, w) (M,): weighted least squares to z is this loss near f, for whoever can do nothing else."""
        slope, curvature = self.newton(f)
        curvature = np.maximum(curvature, 1e-3 * float(np.median(curvature)))
        return f + slope / curvature, curvature

    def information(self, f: np.ndarray, C: int) -> np.ndarray:
        """What a row tells of f (M,): the covariance of C constants is the inverse of J diag(information) J^T."""
        raise NotImplementedError

    def scores(self, f: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Residuals (M,) as standard normal scores: those of the right law have no shape."""
        raise NotImplementedError

    def noise(self, f: np.ndarray, C: int) -> float:
        """Standard deviation of a row of weight 1 about a law of C constants; of relative errors a share of the law, of counts in
        units of the law's root, 0 where there is none."""
        return 0.0

    def figures(self, f: np.ndarray) -> dict[str, float]:
        """What else is told of a fit by this loss."""
        return {}

    def start(self, near: Callable[..., np.ndarray]) -> np.ndarray:
        """Values (M,) to begin with before there is a law; near(v, q) gives the q-quantile of v (M,) over each row and its
        neighbours, near(v) the mean."""
        return near(self.y)

    # -- what follows

    def fvu(self, f: np.ndarray) -> float:
        """exp of 2/M times the gain over the best constant law in log-likelihood; infinite where there is none."""
        L = self.loss(f)
        return math.exp(min(700.0, 2.0 / self.M * (self.nats(L) - self.worst))) if L < math.inf else math.inf

    def share(self, f: np.ndarray) -> float:
        """L over that of the best constant law: the share of the loss that a law leaves."""
        L = self.loss(f)
        return L / self.whole if self.whole > 0 else (0.0 if L <= 0 else math.inf)


class Relative(Aim):
    """Squares of log(y / f): errors in proportion to the value, and no law of the other sign."""

    def __init__(self, loss: Loss, y: np.ndarray, weights: np.ndarray | None, known: bool, ends: np.ndarray | None):
        self.side = 1.0 if y[0] > 0 else -1.0
        self.tiny = NEAR * float(np.abs(y).min())
        super().__init__(loss, y, weights, False if known else known, ends)
        self.width = math.sqrt(max(self.whole / self.M, 1e-30))

    def _logs(self, f):
        with np.errstate(all="ignore"):
            return np.log(self.y * self.side / np.maximum(f * self.side, self.tiny))

    def loss(self, f: np.ndarray) -> float:
        if not (f * self.side > 0).all():
            return math.inf
        L = float(self.w @ self._logs(f) ** 2)
        return L if math.isfinite(L) else math.inf

    def rounded_off(self, f: np.ndarray, soft: float) -> float:
        if not np.isfinite(f).all():
            return math.inf
        return float(self.w @ self._logs(f) ** 2)

    def start(self, near: Callable[..., np.ndarray]) -> np.ndarray:
        """The targets themselves, which makes weights 1 / y^2 of it: what neighbours tell is wrong where a law is steep."""
        return self.y

    def best_constant(self) -> float:
        return self.side * math.exp(float(np.average(np.log(np.abs(self.y)), weights=self.w)))

    def newton(self, f: np.ndarray, soft: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        f = self.side * np.maximum(f * self.side, 1e-3 * np.abs(self.y))
        return 2 * self.w * self._logs(f) / f, 2 * self.w / f**2

    def nats(self, L: float) -> float:
        return 0.5 * self.M * math.log(max(L, 1e-32 * self.M))

    def information(self, f: np.ndarray, C: int) -> np.ndarray:
        return self.w / f**2 / max(self.loss(f) / max(1, self.M - C), 1e-32)

    def scores(self, f: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        r = self._logs(f)
        return r / max(math.sqrt(float(self.w @ r**2) / self.M), 1e-300)

    def noise(self, f: np.ndarray, C: int) -> float:
        return math.sqrt(self.loss(f) / max(1, self.M - C))

    def figures(self, f: np.ndarray) -> dict[str, float]:
        return {"relative_error": math.sqrt(self.loss(f) / self.M)}


class Poisson(Aim):
    """Counts about a rate f > 0, without a link: half the deviance, sum of y log(y / f) - (y - f)."""

    def __init__(self, loss: Loss, y: np.ndarray, weights: np.ndarray | None, known: bool, ends: np.ndarray | None):
        mean = float(y.mean())
        self.tiny, self.edge = NEAR * mean, 1e-3 * np.maximum(y, mean)
        self.steep = np.maximum(y, 0.1 * mean) / self.edge**2
        super().__init__(loss, y, weights, False, ends)
        self.known = self.M / (2 * self.whole) if self.whole > 0 else 0.0

    def _each(self, f):
        with np.errstate(all="ignore"):
            return np.where(self.y > 0, self.y * np.log(self.y / f), 0.0) - (self.y - f)

    def loss(self, f: np.ndarray) -> float:
        if not (f > 0).all():
            return math.inf
        L = float(self.w @ self._each(f))
        return max(L, 0.0) if math.isfinite(L) else math.inf

    def rounded_off(self, f: np.ndarray, soft: float) -> float:
        """The same, carried on below the edge by a parabola, so that a law that is negative somewhere is led back."""
        if not np.isfinite(f).all():
            return math.inf
        under = np.minimum(f - self.edge, 0.0)
        beyond = (1 - self.y / self.edge) * under + 0.5 * self.steep * under**2
        return float(self.w @ (self._each(np.maximum(f, self.edge)) + beyond))

    def best_constant(self) -> float:
        return float(np.average(self.y, weights=self.w))

    def newton(self, f: np.ndarray, soft: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        under = np.minimum(f - self.edge, 0.0)
        at = np.maximum(f, self.edge)
        slope = np.where(under < 0, self.y / self.edge - 1 - self.steep * under, (self.y - at) / at)
        return self.w * slope, self.w * np.where(under < 0, self.steep, 1 / at)

    def nats(self, L: float) -> float:
        return L

    def fvu(self, f: np.ndarray) -> float:
        return self.share(f)

    def working(self, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.y, self.w / np.maximum(f, 0.05 * float(self.y.mean()))

    def start(self, near: Callable[..., np.ndarray]) -> np.ndarray:
        return near(self.y) + 0.1 * float(self.y.mean())

    def pearson(self, f: np.ndarray, C: int) -> float:
        """Pearson's chi^2 over M - C: 1 for counts as Poisson's, more where they scatter more."""
        return float(self.w @ ((self.y - f) ** 2 / np.maximum(f, self.tiny))) / max(1, self.M - C)

    def information(self, f: np.ndarray, C: int) -> np.ndarray:
        return self.w / np.maximum(f, self.tiny) / max(1.0, self.pearson(f, C))

    def scores(self, f: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy.special import ndtri, pdtr

        mu, k = np.maximum(f, self.tiny), np.floor(self.y)
        high = pdtr(k, mu)
        low = np.where(k > 0, pdtr(np.maximum(k - 1, 0), mu), 0.0)
        return ndtri(np.clip(low + (high - low) * rng.random(self.M), 1e-12, 1 - 1e-12))

    def noise(self, f: np.ndarray, C: int) -> float:
        return math.sqrt(max(1.0, self.pearson(f, C)))

    def figures(self, f: np.ndarray) -> dict[str, float]:
        return {"deviance": 2 * self.loss(f), "dispersion": self.pearson(f, 0)}


class Binomial(Aim):
    """Classes 0 and 1 by the log of the odds f: log(1 + e^f) - y f."""

    MOST = 30.0  # log odds beyond which nothing changes any more

    def loss(self, f: np.ndarray) -> float:
        with np.errstate(all="ignore"):
            L = float(self.w @ (np.logaddexp(0.0, f) - self.y * f))
        return max(L, 0.0) if math.isfinite(L) else math.inf

    def best_constant(self) -> float:
        p = min(max(float(np.average(self.y, weights=self.w)), 1e-9), 1 - 1e-9)
        return math.log(p / (1 - p))

    def newton(self, f: np.ndarray, soft: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        p = logistic(f)
        return self.w * (self.y - p), self.w * np.maximum(p * (1 - p), 1e-6)

    def nats(self, L: float) -> float:
        return L

    def working(self, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        f = np.clip(f, -3.5, 3.5)
        p = logistic(f)
        w = p * (1 - p)
        return f + (self.y - p) / w, self.w * w

    def start(self, near: Callable[..., np.ndarray]) -> np.ndarray:
        p = np.clip(near(self.y), 0.03, 0.97)
        return np.log(p / (1 - p))

    def information(self, f: np.ndarray, C: int) -> np.ndarray:
        p = logistic(f)
        return self.w * np.maximum(p * (1 - p), 1e-12)

    def scores(self, f: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        from scipy.special import ndtri

        p, u = logistic(f), rng.random(self.M)
        return ndtri(np.clip(np.where(self.y > 0, 1 - p + u * p, u * (1 - p)), 1e-12, 1 - 1e-12))

    def figures(self, f: np.ndarray) -> dict[str, float]:
        return {
            "accuracy": float(np.average((f > 0) == (self.y > 0), weights=self.w)),
            "auc": area(self.y, f, self.w),
            "log_loss": self.loss(f) / self.M,
        }


def logistic(f: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-f)) without overflow."""
    e = np.exp(-np.abs(f))
    return np.where(f >= 0, 1 / (1 + e), e / (1 + e))


def area(y: np.ndarray, f: np.ndarray, w: np.ndarray) -> float:
    """Area under the curve of hits by false alarms: how often a row of class 1 has the larger f, ties counting half."""
    values, place = np.unique(f, return_inverse=True)
    ones = np.bincount(place, weights=w * (y > 0), minlength=len(values))
    zeros = np.bincount(place, weights=w * (y <= 0), minlength=len(values))
    if not ones.sum() > 0 or not zeros.sum() > 0:
        return math.nan
    below = np.cumsum(zeros) - zeros
    return float(ones @ (below + 0.5 * zeros) / (ones.sum() * zeros.sum()))
