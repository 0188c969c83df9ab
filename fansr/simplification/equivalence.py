"""Are two expressions the same function?  Algorithm 1 of the paper (appendix E), as printed.

The source's free constants are challenged with random values of every sign pattern, zero included;
the candidate has to meet each challenge with constants of its own, found by Levenberg-Marquardt from
several starts.  It is a test by numbers: a True can be wrong where two functions differ less than the
tolerance on the points, a False can be wrong where no start led to the constants.

    equivalent(["pow2", "<constant>"], ["<constant>"], points(1, rng), rng)

fansr-mine has simplipy do the same natively; this is the independent copy that the shipped rules and
the simplifier are tested with.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from fansr.expressions import compile_program, evaluate, value_and_jacobian

CHALLENGES = 16  # K
RETRIES = 16  # R
SPREAD = 5.0  # standard deviation of points, constants and starts


def points(n_variables: int, rng: np.random.Generator, m: int = 1024) -> np.ndarray:
    """X (M, D) float64 with entries from N(0, 5), as Algorithm 2 draws them."""
    return rng.normal(0.0, SPREAD, size=(m, max(1, n_variables)))


def allclose(y, wanted, rtol: float = 1e-5, atol: float = 1e-8, extend: bool = False) -> bool:
    """numpy.allclose where NaN equals NaN and an infinity itself.

    extend: compare only where `wanted` is finite, so that `y` may be defined on more points.
    """
    if extend:
        finite = np.isfinite(wanted)
        y, wanted = y[finite], wanted[finite]
    return bool(np.allclose(y, wanted, rtol=rtol, atol=atol, equal_nan=True))


def equivalent(
    source,
    candidate,
    X,
    rng: np.random.Generator,
    challenges: int = CHALLENGES,
    retries: int = RETRIES,
    rtol: float = 1e-5,
    atol: float = 1e-8,
    extend: bool = False,
    zero: bool = True,
) -> bool:
    """Whether `candidate` can take every value of `source`: Algorithm 1.

    source, candidate: prefix expressions; X (M, D) float64; rng draws constants and starts.
    extend: the candidate may be finite where the source is not (x/x against 1), a departure the
        simplifier needs; the paper's allclose says nothing of it.
    zero: sign vectors from {-1, 0, 1} as printed; False leaves out 0, for statements about almost every
        constant.
    """
    source, candidate = compile_program(source), compile_program(candidate)
    signs = (-1.0, 0.0, 1.0) if zero else (-1.0, 1.0)
    for _ in range(challenges):
        r = np.abs(rng.normal(0.0, SPREAD, source.n_constants))
        for s in product(signs, repeat=source.n_constants):
            y = evaluate(source, X, r * np.array(s))
            if candidate.n_constants == 0:
                match = allclose(evaluate(candidate, X), y, rtol, atol, extend)
            else:
                match = False
                for _ in range(retries):
                    start = rng.normal(0.0, SPREAD, candidate.n_constants)
                    found = levenberg_marquardt(candidate, X, y, start, rtol, atol)
                    if allclose(evaluate(candidate, X, found), y, rtol, atol, extend):
                        match = True
                        break
            if not match:
                return False
    return True


@np.errstate(all="ignore")
def levenberg_marquardt(
    program, X, y, start, rtol: float = 1e-5, atol: float = 1e-8, iterations: int = 60
) -> np.ndarray:
    """Constants (C,) that bring `program` near y (M,) from `start`.

    Residuals are in units of the tolerance that will judge them, so that a range of many decades does not
    leave its small values unfitted; rows where y or the model is not finite count nothing.
    """
    weight = np.where(np.isfinite(y), 1.0 / (atol + rtol * np.abs(y)), 0.0)
    target = np.where(weight > 0, y, 0.0)
    consts = np.array(start, np.float64)

    def residual(values):
        r = (values - target) * weight
        return np.where(np.isfinite(r), r, 0.0), np.isfinite(values) | (weight == 0)

    def cost(r, ok):
        # A row lost to NaN costs more than any row kept, else running out of the domain would pay.
        return float(np.sum(np.minimum(r * r, 1e200))) + 1e200 * float(np.count_nonzero(~ok))

    values, J = value_and_jacobian(program, X, consts)
    r, ok = residual(values)
    now, damping = cost(r, ok), 1e-3
    for _ in range(iterations):
        A = J * weight
        A = np.where(np.isfinite(A) & ok, A, 0.0)
        H, g = A @ A.T, A @ r
        scale = np.diag(H).copy()
        scale[~(scale > 0)] = 1.0
        for _ in range(12):
            try:
                step = np.linalg.solve(H + damping * np.diag(scale), -g)
            except np.linalg.LinAlgError:
                step = np.full(len(consts), np.nan)
            if np.all(np.isfinite(step)):
                new_values, new_J = value_and_jacobian(program, X, consts + step)
                new_r, new_ok = residual(new_values)
                new = cost(new_r, new_ok)
                if new < now:
                    break
            damping = min(damping * 4.0, 1e12)
        else:
            return consts
        small = now - new <= 1e-14 * now or new < 1e-12
        consts, r, ok, J, now = consts + step, new_r, new_ok, new_J, new
        damping = max(damping / 9.0, 1e-15)
        if small:
            return consts
    return consts
