"""Constants of laws under a loss that is not squares: iteratively reweighted least squares on the refiner's kernels.

    fitter = LossRefiner(X, aim)
    fvu, consts = fitter.polish(expr, consts)
    fitter.aim_at(expr, consts)        # the law near which least squares is to stand for the loss

A LossRefiner is a Refiner of the loss's working target: what others do with least squares they do near a law that is known already,
and the constants they find are carried on to the least loss here.  Its FVU is the loss's (losses.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from fansr.expressions import Programs, compile_many, compile_program, value_and_jacobian
from fansr.fitting.levenberg_marquardt import MAX_CONSTANTS, Schedule
from fansr.fitting.loss_aims import Aim
from fansr.fitting.refiner import Refiner

GAIN = 1e-11  # of the loss, below which two steps running are the last
CORNERS = 4  # times a law is taken for linear in its constants and its corner tried
NEIGHBOURS = (
    6,
    40,
)  # rows near each that tell its value before there is a law: the square root of the rows, between these


class LossRefiner(Refiner):
    """Fits constants to one table under a loss: X (M, D) and an aim over its M rows.

    `near` (M,): the values of a law near which the working target stands for the loss; without, neighbouring rows tell them.
    """

    def __init__(self, X: ArrayLike, aim: Aim, restarts: int = 8, seed: int = 0, near: np.ndarray | None = None):
        self.table = np.ascontiguousarray(X, np.float64)  # (M, D) in the order of the rows
        self.aim = aim
        self.near = aim.start(Neighbours(self.table)) if near is None else near
        self.target, self.weights = aim.working(self.near)  # (M,) both
        super().__init__(self.table, self.target, restarts=restarts, seed=seed, weights=self.weights)
        self.plain = Refiner.__new__(Refiner)  # least squares to the working target
        self.plain.__dict__.update({k: v for k, v in self.__dict__.items() if k not in ("plain", "table", "aim")})

    def values(self, expr: Sequence[str], consts: ArrayLike) -> np.ndarray:
        """The law (M,), NaN where it has no value."""
        from fansr.expressions import evaluate

        with np.errstate(all="ignore"):
            return evaluate(list(expr), self.table, np.asarray(consts, np.float64))

    def fvu(self, expr: Sequence[str], consts: ArrayLike) -> float:
        """The loss's FVU of an expression with its constants; infinite where it has no likelihood."""
        f = self.values(expr, consts)
        return self.aim.fvu(f) if np.isfinite(f).all() else math.inf

    def fit(
        self,
        exprs: Sequence[Sequence[str]] | Programs,
        jobs: int = 1,
        schedule: Schedule | None = None,
        over: Callable[[], bool] | None = None,
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """(fvu (K,), list of K arrays of constants): by least squares to the working target, then to the least loss."""
        programs = exprs if isinstance(exprs, Programs) else compile_many(exprs)
        fvu, consts = super().fit(programs, jobs=jobs, schedule=schedule, over=over)
        for k in range(len(programs)):
            if fvu[k] < math.inf:
                fvu[k], consts[k] = self._descend(programs[k], consts[k], 30)
        return fvu, consts

    def polish(self, expr: Sequence[str], consts: ArrayLike, iterations: int = 60) -> tuple[float, np.ndarray]:
        """(fvu, consts): carried on from `consts` (C,) to the least loss."""
        consts = np.array(consts, np.float64).reshape(-1)
        if len(consts) > MAX_CONSTANTS:
            raise ValueError(f"{len(consts)} constants; at most {MAX_CONSTANTS} can be fitted")
        return self._descend(compile_program(list(expr)), consts, iterations)

    def _descend(self, program, consts: np.ndarray, iterations: int) -> tuple[float, np.ndarray]:
        """Damped steps of reweighted least squares, the kinks of the loss rounded off less and less."""
        aim, X, C = self.aim, self.table, len(consts)
        with np.errstate(all="ignore"):
            f, J = value_and_jacobian(program, X, consts)  # (M,), (C, M)
            if C == 0 or not np.isfinite(f).all():
                return (aim.fvu(f) if np.isfinite(f).all() else math.inf), consts
            best, found = aim.fvu(f), consts
            for soft in aim.softness():
                aim.settle(f)
                now, damping, slow = aim.rounded_off(f, soft), 1e-4, 0
                for _ in range(iterations):
                    slope, curvature = aim.newton(f, soft)
                    J[:, ~np.isfinite(J).all(axis=0)] = 0.0
                    H, g = (J * curvature) @ J.T, J @ slope
                    size = np.sqrt(np.diag(H))
                    if not np.isfinite(size).all() or not size.any():
                        break
                    size[size == 0] = 1.0
                    H, g = H / np.outer(size, size), g / size
                    gain = None
                    for _attempt in range(8):
                        try:
                            step = np.linalg.solve(H + (damping + 1e-13) * np.eye(C), g) / size
                        except np.linalg.LinAlgError:
                            damping = max(10 * damping, 1e-8)
                            continue
                        trial_f, trial_J = value_and_jacobian(program, X, consts + step)
                        trial = aim.rounded_off(trial_f, soft) if np.isfinite(trial_f).all() else math.inf
                        if trial < now:
                            gain = now - trial
                            consts, f, J, damping = consts + step, trial_f, trial_J, damping * 0.1
                            aim.settle(f)
                            now = aim.rounded_off(f, soft)
                            break
                        damping = max(10 * damping, 1e-6)
                    slow = slow + 1 if gain is not None and gain <= GAIN * (abs(now) + 1e-300) else 0
                    if gain is None or slow >= 2:
                        break
            at = aim.fvu(f)
            for _ in range(CORNERS):
                J[:, ~np.isfinite(J).all(axis=0)] = 0.0
                corner = aim.corner(f, J)
                if corner is None:
                    break
                trial_f, trial_J = value_and_jacobian(program, X, consts + corner)
                there = aim.fvu(trial_f) if np.isfinite(trial_f).all() else math.inf
                if not there < at * (1 - 1e-9):
                    break
                at, consts, f, J = there, consts + corner, trial_f, trial_J
        return (at, consts) if at <= best else (best, found)

    def measured(self, expr: Sequence[str], consts: ArrayLike) -> tuple[np.ndarray, np.ndarray, float]:
        """(y (M,), weights (M,), known FVU): a table with stated errors for which least squares gives this law's constants the
        covariance that the loss gives them."""
        f = self.values(expr, consts)
        weights = self.aim.information(f, len(np.atleast_1d(consts)))
        y = self.aim.y if not self.aim.kind.link else self.target
        scale = float(np.abs(y).max()) or 1.0
        total = float(weights / weights.max() @ ((y - np.average(y, weights=weights)) / scale) ** 2)
        known = len(y) / (total * scale**2 * float(weights.max())) if total > 0 else 1.0
        return y, weights, known


class Neighbours:
    """Means and quantiles over each row and its nearest in the ranks of all columns, X (M, D)."""

    def __init__(self, X: np.ndarray):
        self.rows = len(X)
        count = int(min(max(NEIGHBOURS[0], math.sqrt(self.rows)), NEIGHBOURS[1], self.rows - 1))
        varying = [j for j in range(X.shape[1]) if np.ptp(X[:, j]) > 0]
        self.near = None  # (M, count + 1)
        if count >= 2 and varying:
            from scipy.spatial import cKDTree

            ranks = np.argsort(np.argsort(X[:, varying], axis=0, kind="stable"), axis=0) / self.rows
            self.near = cKDTree(ranks).query(ranks, k=count + 1)[1]

    def __call__(self, v: np.ndarray, q: float | None = None) -> np.ndarray:
        """The mean (M,) of v (M,), or its q-quantile."""
        if self.near is None:
            return np.full(self.rows, float(np.mean(v) if q is None else np.quantile(v, q)))
        near = v[self.near]
        return near.mean(axis=1) if q is None else np.quantile(near, q, axis=1)
