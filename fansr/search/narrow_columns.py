"""Columns that hardly vary: a law found without one has the column's middle among its constants.

Where 9.78 < g < 9.82 no search sees g beside columns that vary by a factor of ten.  The law of the others is found, leaves 1e-5 of
the variance, and holds 9.80, or twice it, or its root, as a constant c.  If that is c' g^p, then what it leaves is, to first order,
p * c * dy/dc * log(g / middle): one regression for each constant and narrow column says which and with what p.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fansr.expressions import CONSTANT
from fansr.fitting import Candidate, Problem

SPREAD = 0.05  # (largest - smallest) / middle of a narrow column, at most
LEFT = 0.3  # share of a law's FVU that one with the column may leave
WORTH = 1e-2  # FVU of a law that is looked at, at most
POWERS: dict[float, tuple[str, ...]] = {
    1.0: (), -1.0: ("inv",), 2.0: ("pow2",), -2.0: ("inv", "pow2"), 0.5: ("pow1_2",), -0.5: ("inv", "pow1_2"),
    3.0: ("pow3",), -3.0: ("inv", "pow3"),
}  # fmt: skip
NEAR = 0.2  # of a power
MOST = 4  # substitutions in a law


def narrow(X: np.ndarray) -> list[int]:
    """The columns of X (M, D) of one sign that vary, by SPREAD of their size at most."""
    low, high = X.min(axis=0), X.max(axis=0)
    size = np.abs(low + high) / 2
    return [int(j) for j in np.flatnonzero((low * high > 0) & (high > low) & (high - low <= SPREAD * size))]


def with_columns(candidate: Candidate, columns: Sequence[int], problem: Problem, fitter) -> Candidate:
    """The candidate with narrow columns in the place of constants; itself where they do not explain what it leaves."""
    for _ in range(MOST if candidate.consts is not None and len(candidate.consts) else 0):
        found = _best(candidate, columns, problem)
        if found is None:
            break
        j, k, power = found
        middle = float(np.median(problem.X[:, j]))
        place = [i for i, token in enumerate(candidate.expr) if token == CONSTANT][k]
        expr = [*candidate.expr[:place], "*", CONSTANT, *POWERS[power], f"x{j + 1}", *candidate.expr[place + 1 :]]
        consts = np.array(candidate.consts, dtype=np.float64)
        consts[k] /= middle**power
        fvu, consts = fitter.polish(expr, consts)
        if not fvu <= LEFT * candidate.fvu:
            break
        candidate = candidate.rewritten(expr, np.asarray(consts), float(fvu))
    return candidate


@np.errstate(all="ignore")
def _best(candidate: Candidate, columns: Sequence[int], problem: Problem) -> tuple[int, int, float] | None:
    """(column, constant, power) of the substitution that explains most, to first order; None where none explains enough."""
    from fansr.expressions import value_and_jacobian  # which loads numba

    consts = np.asarray(candidate.consts, dtype=np.float64)
    values, J = value_and_jacobian(candidate.expr, problem.X, consts)  # (M,), (C, M)
    w = np.ones(len(values)) if problem.weights is None else np.sqrt(problem.weights / problem.weights.max())
    r, J = (problem.y - values) * w, J * consts[:, None] * w
    if not (np.isfinite(r).all() and np.isfinite(J).all()):
        return None
    size = np.sqrt((J * J).sum(axis=1))
    Q = np.linalg.qr((J[size > 0] / size[size > 0, None]).T)[0]
    r = r - Q @ (Q.T @ r)
    best, bar = None, LEFT * float(r @ r)
    for j in columns:
        u = np.log(np.abs(problem.X[:, j]))
        F = J * (u - np.median(u))
        F = F - (F @ Q) @ Q.T
        for k, f in enumerate(F):
            square = float(f @ f)
            if not square > 0:
                continue
            power = float(f @ r) / square
            nearest = min(POWERS, key=lambda p: abs(p - power))
            rest = r - nearest * f
            possible = nearest % 1 == 0 or problem.X[0, j] > 0
            if possible and abs(power - nearest) <= NEAR and float(rest @ rest) < bar:
                best, bar = (j, k, nearest), float(rest @ rest)
    return best
