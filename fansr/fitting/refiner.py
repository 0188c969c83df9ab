"""Constants of many candidate expressions, fitted by least squares; knows nothing of proposing or ranking.

For each candidate the constants are split in two.  A set that enters the expression jointly linearly is solved
exactly at every step (variable projection: Golub & Pereyra 1973, with Kaufman's Jacobian); the others follow
Levenberg-Marquardt on the projected problem.  So c1*exp(c2*x) + c3 is a search in one dimension.

Each candidate gets several starts, presampled once per Refiner, so a candidate's answer depends on nothing but the
seed.  Half the starts are N(0, 5), the paper's (section 4); half are *scale-aware*: a unit draw times (for +, -, /)
or divided by (for *) the geometric-mean magnitude of the constant's sibling subtree.  Every other start first fits
the expression with its invertible outside taken off (sqrt(c1 + c2*x) is linear in y^2).  Starts run on a few
points, the best of them on the same points for longer, the winner on many; the FVU is computed on all points.

All residuals are multiplied by sqrt(weight) / scale of y, so y may be 1e-300 or 1e300.

    fvu, consts = Refiner(X, y).fit([["*", "<constant>", "sin", "x1"], ...], jobs=2)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from fansr.expressions import Programs, Tape, columns_of, compile_many, compile_program, value_and_jacobian
from fansr.fitting.levenberg_marquardt import MAX_CONSTANTS, Data, Schedule, fit_range, spread, squares
from fansr.fitting.quick_fits import POINTS, quick_range
from fansr.streams import rng_for

FULL = Schedule()
QUICK = Schedule(points=POINTS, last_points=0)  # whose points quick_range() takes
SCREEN = Schedule(points=32, starts=4, first=5, more=0, keep=1, last=0, last_points=32)


@lru_cache(32)
def _draws(seed: int, starts: int) -> np.ndarray:
    """Presampled starts (starts, MAX_CONSTANTS): odd rows N(0, 5), even rows the unit draws of scale-aware starts.

    Unit draws are half N(0, 1.5) and half log-uniform in size from 10^-2.5 to 10, for constants far from their siblings.
    """
    rng = rng_for(seed, "refine", 0)
    draws = np.empty((starts, MAX_CONSTANTS))
    for t in range(starts):
        normal = rng.normal(0.0, 1.0, MAX_CONSTANTS)
        spread_out = rng.choice((-1.0, 1.0), MAX_CONSTANTS) * 10 ** rng.uniform(-2.5, 1.0, MAX_CONSTANTS)
        if t % 2:
            draws[t] = 5.0 * normal
        else:
            draws[t] = spread_out if t % 4 == 2 else 1.5 * normal
    return draws


class Refiner:
    """Fits the constants of expressions to one table: X (M, D) and y (M,), finite float64.

    weights (M,) multiply squared residuals (1/sigma^2 for points with errors).  The FVU is equation 8 of the paper,
    weighted likewise; see `spread` for a constant target.  A candidate that is not finite at some point, or whose
    constants could not be found, has an infinite FVU.
    """

    # Candidates per call of the kernels: few enough to share evenly and to stop quickly.
    CHUNK, QUICK_CHUNK = 24, 72

    def __init__(self, X: ArrayLike, y: ArrayLike, restarts: int = 8, seed: int = 0, weights: ArrayLike | None = None):
        X, y = np.asarray(X, np.float64), np.array(y, np.float64).reshape(-1)
        if X.ndim != 2 or len(X) != len(y):
            raise ValueError(
                f"X has shape {X.shape} and y {len(y)} values, wanted (points, columns) and as many values"
            )
        if len(y) == 0:
            raise ValueError("no points to fit")
        self.schedule = FULL._replace(starts=restarts)
        self.seed = seed
        # A random order, so that every leading subset is a fair sample of the rows.
        self.order = rng_for(seed, "refine", 1).permutation(len(y))
        self.columns = columns_of(X[self.order])
        self.y = y[self.order]
        weights = np.ones(len(y)) if weights is None else np.array(weights, np.float64).reshape(-1)[self.order]
        if len(weights) != len(y) or not (weights >= 0).all() or not weights.any():
            raise ValueError("weights must be one number >= 0 a point, not all 0")
        size = np.abs(self.y[weights > 0]).max()
        self.scale = size if size > 1e-307 else 1.0
        self.sw = np.sqrt(weights / weights.max()) / self.scale
        self._known_spreads: dict[int, float] = {}

    def _spreads(self, schedule: Schedule, bar: float) -> np.ndarray:
        """FVU denominators of the first subset, the last, and all points; then the bar."""
        M = len(self.y)
        sizes = (schedule.points or M, schedule.last_points or M, M)
        return np.array([*(self._spread(min(n, M)) for n in sizes), bar])

    def _spread(self, n: int) -> float:
        """The FVU's denominator over the first n points, reckoned once."""
        if n not in self._known_spreads:
            self._known_spreads[n] = spread(self.y, self.sw, n)
        return self._known_spreads[n]

    def run(
        self,
        programs: Programs,
        schedule: Schedule,
        given: np.ndarray | None = None,
        jobs: int = 1,
        over: Callable[[], bool] | None = None,
        bar: float = np.inf,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(fvu (K,), consts (K, most)) of compiled programs; rows of `consts` are valid up to n_constants[k].

        given (K, most) holds constants to start from (NaN first: none).  Candidates whose FVU on the first points is not
        below `bar` are spared the last round.  `over` is asked between chunks whether to
        stop; candidates not reached keep an infinite FVU.  The answer does not depend on `jobs`.
        """
        K, M = len(programs), len(self.y)
        if programs.n_columns > len(self.columns):
            raise ValueError(f"X has {len(self.columns)} columns, an expression uses x{programs.n_columns}")
        most = max(1, int(programs.n_constants.max(initial=0)))
        fvu, consts = np.full(K, np.inf), np.zeros((K, most))
        if given is None:
            given = np.full((K, 1), np.nan)
        draws = _draws(self.seed, max(1, schedule.starts))
        schedule = schedule._replace(points=schedule.points or M, last_points=schedule.last_points or M)
        data = Data(self.columns, self.y, self.sw, self._spreads(schedule, bar), draws)

        def work(first, stop):
            fit_range(programs, first, stop, data, schedule, given, fvu, consts)

        self._in_chunks(work, K, self.CHUNK, jobs, over)
        return fvu, consts

    def quick(
        self,
        programs: Programs,
        given: np.ndarray,
        bars: np.ndarray,
        jobs: int = 1,
        over: Callable[[], bool] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """(fvu (K,), consts (K, most)) of compiled programs by quick_range(): for candidates that compete, on at most a few hundred points.

        given (K, C') holds constants to start from, bars (K, 2) the FVU below which a candidate may enter and lead.  Otherwise as `run`.
        """
        K = len(programs)
        most = max(1, int(programs.n_constants.max(initial=0)))
        fvu, consts = np.full(K, np.inf), np.zeros((K, most))
        if given.shape[1] < most:
            given = np.hstack([given, np.ones((K, most - given.shape[1]))])
        spreads = self._spreads(QUICK, np.inf)
        data = Data(self.columns, self.y, self.sw, spreads, _draws(self.seed, 1))

        def work(first, stop):
            quick_range(programs, first, stop, data, given, bars, fvu, consts)

        self._in_chunks(work, K, self.QUICK_CHUNK, jobs, over)
        return fvu, consts

    def _in_chunks(self, work, K: int, size: int, jobs: int, over):
        """Do work(first, stop) for chunks of `size` of K candidates by `jobs` threads, until time is over."""

        def one(first):
            if over is None or not over():
                work(first, min(K, first + size))

        chunks = range(0, K, size)
        if jobs > 1 and len(chunks) > 1:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(jobs) as threads:
                list(threads.map(one, chunks))
        else:
            for first in chunks:
                one(first)

    def fit(
        self,
        exprs: Sequence[Sequence[str]] | Programs,
        jobs: int = 1,
        schedule: Schedule | None = None,
        over: Callable[[], bool] | None = None,
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """(fvu (K,), list of K arrays of constants) of prefix expressions; jobs threads share the candidates."""
        programs = exprs if isinstance(exprs, Programs) else compile_many(exprs)
        fvu, consts = self.run(programs, schedule or self.schedule, jobs=jobs, over=over)
        return fvu, [consts[k, : programs.n_constants[k]].copy() for k in range(len(programs))]

    def screen(
        self,
        exprs: Sequence[Sequence[str]] | Programs,
        keep: int,
        jobs: int = 1,
        gamma: float = 0.05,
        over: Callable[[], bool] | None = None,
    ) -> np.ndarray:
        """Indices of the `keep` most promising expressions, best first, by a quick fit on a few points.

        Ranked by log10 FVU + gamma * length (equation 3) on the screening points; ties go to the earlier one.
        """
        programs = exprs if isinstance(exprs, Programs) else compile_many(exprs)
        quick = Refiner.__new__(Refiner)
        quick.__dict__.update(self.__dict__)
        n = min(len(self.y), 2 * SCREEN.points)  # the verdict asks for twice the points that were fitted
        quick.columns, quick.y, quick.sw = np.ascontiguousarray(self.columns[:, :n]), self.y[:n], self.sw[:n]
        fvu, _ = quick.run(programs, SCREEN, jobs=jobs, over=over)
        with np.errstate(divide="ignore"):
            score = np.log10(np.maximum(fvu, 1e-16)) + gamma * np.diff(programs.start)
        return np.argsort(score, kind="stable")[:keep]

    def polish(self, expr: Sequence[str], consts: ArrayLike, iterations: int = 60) -> tuple[float, np.ndarray]:
        """(fvu, consts): the fit carried on from `consts` (C,) on all points until nothing is gained."""
        programs = compile_many([expr])
        consts = np.array(consts, np.float64).reshape(-1)
        if len(consts) == 0:
            return float(self.run(programs, self.schedule)[0][0]), consts
        start_fvu = self.fvu(expr, consts)
        if len(consts) > MAX_CONSTANTS:  # of a law with constants by group
            return self._gauss_newton(expr, start_fvu, consts)
        plan = Schedule(points=min(len(self.y), 16384), starts=1, first=iterations, more=iterations, keep=1,
                        last=iterations, last_points=min(len(self.y), 16384), unwrap=0)  # fmt: skip
        fvu, found = self.run(programs, plan, given=consts[None, :])
        best = (float(fvu[0]), found[0, : len(consts)].copy()) if fvu[0] < start_fvu else (start_fvu, consts)
        if len(self.y) > plan.points:
            best = self._gauss_newton(expr, *best)
        return best

    def _gauss_newton(self, expr, fvu, consts, rounds: int = 6):
        """Damped Gauss-Newton on all points by a QR factorisation streamed over blocks, for tables too long to hold."""
        damping = 0.0
        for _ in range(rounds):
            R, size = self._streamed_qr(expr, consts)
            if R is None:
                break
            C = len(consts)
            system = np.vstack([R[:, :C], math.sqrt(damping) * np.eye(C)])
            step = np.linalg.lstsq(system, np.concatenate([R[:, C], np.zeros(C)]), rcond=1e-13)[0] / size
            new = self.fvu(expr, consts + step)
            if new < fvu:
                gain = (fvu - new) / fvu if fvu > 0 else 0.0
                fvu, consts, damping = new, consts + step, damping * 0.1
                if gain < 1e-9:
                    break
            else:
                damping = max(damping * 10, 1e-4)
        return fvu, consts

    def _streamed_qr(self, expr, consts, block: int = 65536):
        """Triangular factor of [J / size | residual] over all points, and the columns' sizes; (None, None) if not finite."""
        program = compile_program(expr)
        R, size = np.zeros((0, len(consts) + 1)), None
        for first in range(0, len(self.y), block):
            part = slice(first, first + block)
            y, J = value_and_jacobian(program, self.columns[:, part].T, consts)
            rows = np.vstack([J, self.y[part] - y]).T * self.sw[part, None]  # (block, C+1)
            rows[~np.isfinite(rows).all(1)] = 0.0
            if size is None:
                size = np.abs(rows[:, :-1]).max(0)
                size[size == 0] = 1.0
            rows[:, :-1] /= size
            R = np.linalg.qr(np.vstack([R, rows]), mode="r")
        return (R, size) if np.isfinite(R).all() else (None, None)

    def fvu(self, expr: Sequence[str], consts: ArrayLike) -> float:
        """Exact FVU of an expression with its constants on all points; infinite when it is not finite somewhere."""
        programs = compile_many([expr])
        program, consts = programs[0], np.array(consts, np.float64).reshape(-1)
        L = len(program.op)
        V = np.empty((L, 512))
        padded = np.zeros(max(1, len(consts)))
        padded[: len(consts)] = consts
        total = squares(Tape(*program[:3], np.empty(L, np.int64), V, V), self.columns, padded, self.y, self.sw)
        return float(total / self._spread(len(self.y)))

    def standard_errors(self, expr: Sequence[str], consts: ArrayLike) -> np.ndarray:
        """One standard error per constant (C,), from the Jacobian and the residual variance; NaN where not determined.

        Linear theory: sigma^2 (J^T W J)^-1 with sigma^2 = SSR / (M - C).  Infinite when M <= C.
        """
        C, M = len(consts), len(self.y)
        if C == 0:
            return np.zeros(0)
        R, size = self._streamed_qr(expr, np.asarray(consts, np.float64))
        if R is None:
            return np.full(C, np.nan)
        if M <= C:
            return np.full(C, np.inf)
        _, s, Vt = np.linalg.svd(R[:, :C], full_matrices=False)
        ssr = self.fvu(expr, consts) * self._spread(M)
        undetermined = s <= 1e-12 * s.max(initial=0.0)
        s[undetermined] = np.nan
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = ((Vt / s[:, None]) ** 2).sum(0) * ssr / (M - C)
        return np.sqrt(variance) / size
