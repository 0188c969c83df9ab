"""Constants fitted as section 3.5 of the paper does: SciPy's Levenberg-Marquardt on all rows, from starts N(0, 5).

Refiner finds the same optima a hundred times faster; this is what it is compared with, and what a run of the paper's
own inference uses (`--starts paper`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from fansr.expressions import Programs, compile_program, evaluate, value_and_jacobian
from fansr.fitting.levenberg_marquardt import Schedule
from fansr.fitting.refiner import Refiner
from fansr.streams import rng_for

SIGMA = 5.0  # of the starts: the prior of the constants (section 3.3)
DONE = 1e-28  # FVU at which no further start can fit better than rounding


class CurveFitter(Refiner):
    """A Refiner whose `fit` is scipy.optimize.curve_fit, restarted from N(0, 5) `restarts` times; the best of them stays.

    All else (FVU, polish, standard errors) is the Refiner's.  A start from which curve_fit does not converge, or meets
    numbers that are not finite, counts for nothing, as in the paper.  With more constants than rows MINPACK refuses, and
    SciPy's trust region takes its place.  Derivatives are exact, where the paper leaves SciPy's differences open.
    """

    def fit(
        self,
        exprs: Sequence[Sequence[str]] | Programs,
        jobs: int = 1,
        schedule: Schedule | None = None,
        over: Callable[[], bool] | None = None,
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """(fvu (K,), list of K arrays of constants) of prefix expressions; `jobs` and `schedule` have no say."""
        programs = [exprs[k] for k in range(len(exprs))]
        fvus, consts = np.full(len(programs), np.inf), [np.zeros(0) for _ in programs]
        for k, program in enumerate(programs):
            if over is not None and over():
                break
            fvus[k], consts[k] = self._restarted(compile_program(program), program)
        return fvus, consts

    def _restarted(self, program, expr) -> tuple[float, np.ndarray]:
        """(fvu, consts (C,)) of the best of all starts; infinite and zeros where none converged."""
        from scipy.optimize import curve_fit

        C, X = program.n_constants, self.columns.T
        best, found = np.inf, np.zeros(C)
        if C == 0:
            return self.fvu(expr, found), found

        def values(_, *c):
            return self.sw * evaluate(program, X, c)

        def slopes(_, *c):
            return (self.sw * value_and_jacobian(program, X, c)[1]).T

        starts = rng_for(self.seed, "curve_fit", 0).normal(0.0, SIGMA, (self.schedule.starts, C))
        for start in starts:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    method = "lm" if len(self.y) >= C else "trf"
                    c, _ = curve_fit(values, X, self.sw * self.y, start, method=method, jac=slopes)
                except (RuntimeError, ValueError, np.linalg.LinAlgError):  # no convergence; numbers that are none
                    continue
            fvu = self.fvu(expr, c)
            if fvu < best:
                best, found = fvu, c
            if best <= DONE:
                break
        return best, found
