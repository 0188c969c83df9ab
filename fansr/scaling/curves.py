"""Laws of one curve y(x) over decades of x: power laws and their kin, fitted on their own scale and compared on one.

    power      y = A x^-a                 straight in log y
    shifted    y = E + A x^-a             E >= 0, least squares in log y
    unsolved   1 - y = A x^-a             straight in log(1 - y); y a share
    logistic   logit y = b + s ln x       straight in logit y; y a share

Each form has the scale on which its errors are taken as even: log y, log(1 - y), logit y.  Least squares on different
scales are not comparable as they stand, so AICc counts the density of y itself, which brings in the slope of the scale
at each point (as Box and Cox 1964 do for transformations).  Knows nothing of runs, files or pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy import special

from fansr.errors import DataError

SHARES = ("unsolved", "logistic")  # forms that need y in (0, 1)
TIED = 2.0  # AICc within which forms are not told apart (Burnham and Anderson 2002)


def _log(y):
    return np.log(y)


def _log_rest(y):
    return np.log1p(-y)


# form -> (scale of y, its slope |g'(y)|, y back from the scale, names of the parameters)
FORMS: dict[str, tuple] = {
    "power": (_log, lambda y: 1.0 / y, np.exp, ("A", "a")),
    "shifted": (_log, lambda y: 1.0 / y, np.exp, ("E", "A", "a")),
    "unsolved": (_log_rest, lambda y: 1.0 / (1.0 - y), lambda g: -np.expm1(g), ("A", "a")),
    "logistic": (special.logit, lambda y: 1.0 / (y * (1.0 - y)), special.expit, ("b", "s")),
}


@dataclass(frozen=True)
class Curve:
    """One fitted law.  parameters and their standard errors by name; aicc; n points; low and high: the range of x."""

    form: str
    parameters: dict[str, float]
    errors: dict[str, float]
    aicc: float
    n: int
    low: float
    high: float
    extra: dict = field(default_factory=dict)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """y at x."""
        p = self.parameters
        x = np.asarray(x, dtype=np.float64)
        if self.form == "power":
            return p["A"] * x ** -p["a"]
        if self.form == "shifted":
            return p["E"] + p["A"] * x ** -p["a"]
        if self.form == "unsolved":
            return 1.0 - p["A"] * x ** -p["a"]
        return special.expit(p["b"] + p["s"] * np.log(x))

    def where(self, y: float) -> float | None:
        """The x at which the law has this value, None where it never does."""
        p = self.parameters
        with np.errstate(all="ignore"):
            if self.form == "power":
                x = (p["A"] / y) ** (1.0 / p["a"]) if p["a"] else math.nan
            elif self.form == "shifted":
                x = (p["A"] / (y - p["E"])) ** (1.0 / p["a"]) if y > p["E"] and p["a"] else math.nan
            elif self.form == "unsolved":
                x = (p["A"] / (1.0 - y)) ** (1.0 / p["a"]) if p["a"] else math.nan
            else:
                x = math.exp(min(700.0, (special.logit(y) - p["b"]) / p["s"])) if p["s"] else math.nan
        return float(x) if np.isfinite(x) and x > 0 else None

    def text(self) -> str:
        """The law for people."""
        p = {name: f"{value:.4g}" for name, value in self.parameters.items()}
        if self.form == "logistic":
            return f"logit y = {p['b']} + {p['s']} ln x"
        power = f"{p['A']} x^{-self.parameters['a']:.4g}"
        return {"power": f"y = {power}", "shifted": f"y = {p.get('E')} + {power}"}.get(self.form, f"1 - y = {power}")


def usable(form: str, x: np.ndarray, y: np.ndarray) -> str | None:
    """Why a form cannot be fitted to these points, None where it can."""
    if not (np.isfinite(x).all() and np.isfinite(y).all() and (x > 0).all()):
        return "x must be positive and all numbers finite"
    if form in SHARES:
        return None if ((y > 0) & (y < 1)).all() else "y must lie between 0 and 1, ends excluded"
    return None if (y > 0).all() else "y must be positive"


def fit(form: str, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> Curve:
    """Least squares of one form on its scale, x (n,) and y (n,) float64; weights (n,) count points several times.

    DataError for fewer than 4 points, for points all at one x, and for values that the form cannot have.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    counts = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(x) < 4:
        raise DataError(f"{len(x)} points; a law needs at least 4")
    if np.ptp(np.log(x[counts > 0])) <= 0:
        raise DataError(f"all points lie at x = {x[0]:g}; a law needs several values of x")
    reason = usable(form, x, y)
    if reason:
        raise DataError(f"form {form}: {reason}")
    scale, slope, _, names = FORMS[form]
    g, u = scale(y), np.log(x)
    if form == "shifted":
        values, errors, rss = _shifted(u, g, counts)
    else:
        values, errors, rss = _straight(form, u, g, counts)
    n, k = counts.sum(), len(names) + 1  # the spread is a parameter too
    likelihood = -0.5 * n * (math.log(2 * math.pi * max(rss, 1e-300) / n) + 1) + float(counts @ np.log(slope(y)))
    aicc = -2.0 * likelihood + 2.0 * k + (2.0 * k * (k + 1) / (n - k - 1) if n > k + 1 else math.inf)
    return Curve(form, dict(zip(names, values)), dict(zip(names, errors)), aicc, len(x), float(x.min()), float(x.max()))


def _straight(form: str, u, g, counts):
    """g = p + q u by least squares: parameters of the form, standard errors, and the weighted sum of squares."""
    total = counts.sum()
    mu, mg = counts @ u / total, counts @ g / total
    suu = counts @ (u - mu) ** 2
    q = counts @ ((u - mu) * (g - mg)) / suu
    p = mg - q * mu
    rss = float(counts @ (g - p - q * u) ** 2)
    variance = rss / max(total - 2, 1)
    q_error = math.sqrt(variance / suu)
    p_error = math.sqrt(variance * (1.0 / total + mu**2 / suu))
    if form == "logistic":
        return (p, q), (p_error, q_error), rss
    return (math.exp(p), -q), (math.exp(p) * p_error, q_error), rss


def _shifted(u, g, counts):
    """log(E + A x^-a) by least squares, from four starts: parameters, standard errors, and the weighted sum of squares."""
    middle = float(counts @ u / counts.sum())
    v, level = u - middle, float(np.median(g))
    slope = -np.polyfit(v, g, 1)[0]
    starts = np.array(
        [[level + math.log1p(-s), level + math.log(s), slope / (1.0 - s)] for s in (0.02, 0.3, 0.7, 0.95)]
    )
    found, costs = shifted_fits(v, g, np.tile(counts, (4, 1)), starts)
    best = int(np.argmin(costs))
    (fall, floor, a), rss = found[best], float(costs[best])
    variance = rss / max(counts.sum() - 3, 1)
    jacobian = _shifted_slopes(found[best][None], v)[0] * np.sqrt(counts)[:, None]
    covariance = np.linalg.pinv(jacobian.T @ jacobian) * variance
    A, E = math.exp(fall + a * middle), math.exp(floor)
    gradient = np.array([1.0, 0.0, middle])  # of log A
    errors = (
        E * math.sqrt(max(covariance[1, 1], 0.0)),
        A * math.sqrt(max(gradient @ covariance @ gradient, 0.0)),
        math.sqrt(max(covariance[2, 2], 0.0)),
    )
    return (E, A, float(a)), errors, rss


def _shifted_slopes(p: np.ndarray, v: np.ndarray) -> np.ndarray:
    """(R, n, 3) derivatives of logaddexp(p0 - p2 v, p1) for parameters p (R, 3)."""
    share = special.expit(p[:, :1] - p[:, 2:] * v - p[:, 1:2])
    return np.stack([share, 1.0 - share, -v * share], 2)


def shifted_fits(v: np.ndarray, g: np.ndarray, counts: np.ndarray, starts: np.ndarray, rounds: int = 60):
    """Least squares of log(fall e^(-a v) + floor) = g for R weightings at once, by Levenberg and Marquardt's steps.

    counts (R, n), starts (R, 3): logarithms of fall and floor, and a.  Returns parameters (R, 3) and sums of squares (R,).
    The floor is kept above e^-30 of the data, where it is none.
    """
    least = float(g.min()) - 30.0
    p, damping = np.array(starts, dtype=np.float64), np.full(len(starts), 1e-2)

    def cost(p):
        return (counts * (np.logaddexp(p[:, :1] - p[:, 2:] * v, p[:, 1:2]) - g) ** 2).sum(1)

    now = cost(p)
    for _ in range(rounds):
        residual = np.logaddexp(p[:, :1] - p[:, 2:] * v, p[:, 1:2]) - g
        J = _shifted_slopes(p, v)
        weighted = J * counts[:, :, None]
        H = weighted.transpose(0, 2, 1) @ J
        b = (weighted * residual[:, :, None]).sum(1)
        diagonal = np.einsum("rii->ri", H)
        H = H + np.eye(3) * (damping[:, None] * (diagonal + 1e-12))[:, None, :]
        step = np.linalg.solve(H, b[:, :, None])[:, :, 0]
        new = p - np.clip(step, -5.0, 5.0)
        new[:, 1] = np.maximum(new[:, 1], least)
        then = cost(new)
        better = then <= now
        p[better], now[better] = new[better], then[better]
        damping = np.clip(np.where(better, damping * 0.3, damping * 5.0), 1e-12, 1e8)
    return p, now


def fit_all(forms: tuple[str, ...], x: np.ndarray, y: np.ndarray) -> tuple[list[Curve], dict[str, str]]:
    """All of these forms that the points allow, best AICc first, and for the others why not."""
    curves, refused = [], {}
    for form in forms:
        try:
            curves.append(fit(form, x, y))
        except DataError as error:
            refused[form] = str(error)
    return sorted(curves, key=lambda curve: curve.aicc), refused


def not_told_apart(curves: list[Curve]) -> list[Curve]:
    """Those within TIED of the best AICc; all of them where there are too few points for any AICc."""
    best = min((curve.aicc for curve in curves), default=math.inf)
    return [curve for curve in curves if not math.isfinite(best) or curve.aicc <= best + TIED]
