"""What every peer gets from us, so that a comparison is one of searches: scaling, polish and pruning.

Columns and target in units of powers of ten (several programs work in float32 or start from constants near 1), the
constants of the answer polished in float64 on all points, and nodes that the data do not need taken out.  It knows
nothing of the peers; peer.py calls it within each one's seconds.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from fansr.evaluation.metrics import EPS32, fvu
from fansr.expressions import CONSTANT, prefix as expressions


def power_of_ten(values: np.ndarray) -> float:
    """The power of ten nearest to the root mean square of `values`; 1 where that is zero or no finite float."""
    largest = float(np.max(np.abs(values), initial=0.0))
    if largest == 0.0 or not math.isfinite(largest):
        return 1.0
    rms = largest * math.sqrt(float(np.mean((values / largest) ** 2)))
    power = round(math.log10(rms))
    return 10.0**power if abs(power) < 300 else 1.0


def unscaled(expr: list[str], consts: np.ndarray, scales: list[float], target: float) -> tuple[list[str], np.ndarray]:
    """The same function of the columns as they were: x_j becomes x_j * (1 / scale), the whole is multiplied by target.

    Each factor is a further constant; its value is put where pre-order asks for it.
    """
    tokens, values, given = [], [], iter(consts)
    if target != 1.0:
        tokens, values = ["*", CONSTANT], [target]
    for token in expr:
        column = expressions.variables([token])
        if token == CONSTANT:
            values.append(next(given))
        if column and scales[column[0]] != 1.0:
            tokens += ["*", CONSTANT]
            values.append(1.0 / scales[column[0]])
        tokens.append(token)
    return tokens, np.array(values, dtype=np.float64)


def polish(expr: list[str], consts, X, y, steps: int = 200) -> tuple[float, np.ndarray]:
    """FVU and constants (C,) after MINPACK's Levenberg-Marquardt from `consts`, in float64 on all points."""
    from scipy.optimize import least_squares

    from fansr.expressions import evaluate, value_and_jacobian

    consts = np.asarray(consts, dtype=np.float64)
    start = fvu(y, evaluate(expr, X, consts))
    if not consts.size or not math.isfinite(start) or len(y) < consts.size:
        return start, consts

    def residuals(c):
        return np.nan_to_num(evaluate(expr, X, c) - y, nan=1e150, posinf=1e150, neginf=-1e150)

    def jacobian(c):
        return np.nan_to_num(value_and_jacobian(expr, X, c)[1].T, nan=0.0, posinf=0.0, neginf=0.0)

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = least_squares(
                residuals,
                consts,
                jacobian,
                method="lm",
                x_scale="jac",
                xtol=1e-15,
                ftol=1e-15,
                gtol=1e-15,
                max_nfev=steps,
            ).x
        except (ValueError, np.linalg.LinAlgError):
            return start, consts
        end = fvu(y, evaluate(expr, X, found))
    return (end, found) if end < start else (start, consts)


def shorter(expr: list[str], consts) -> list[tuple[list[str], list[float]]]:
    """Every expression with one node taken out, or one subtree replaced by a constant, shortest first."""
    bound = expressions.bind(expr, consts)
    found = []
    for i in range(len(bound)):
        kids = expressions.children(bound, i)
        if not kids:
            continue
        stop = expressions.end(bound, i)
        for kid in kids:
            found.append(bound[:i] + bound[kid : expressions.end(bound, kid)] + bound[stop:])
        if stop - i > 1:
            found.append([*bound[:i], "1.0", *bound[stop:]])
    forms = {tuple(form): expressions.free(form) for form in sorted(found, key=len)}
    return list(forms.values())


def prune(expr, consts, X, y, over) -> tuple[list[str], np.ndarray, float]:
    """Greedy: take the shortest one-step reduction that keeps the fit, polish, repeat until none does or time is over().

    The fit is kept while FVU stays below 1.1 times what it was, or below a thousandth of the threshold of recovery
    where it was below that.
    """
    best, consts = polish(expr, consts, X, y)
    limit = max(1.1 * best, 1e-3 * EPS32 if best < 1e-3 * EPS32 else 0.0)
    shrinking = True
    while shrinking and math.isfinite(best):
        shrinking = False
        for form, start in shorter(expr, consts):
            if over():
                return expr, consts, best
            if (reached := polish(form, start, X, y, steps=25))[0] <= limit:
                expr, (best, consts) = form, polish(form, reached[1], X, y)
                shrinking = True
                break
    return expr, consts, best
