"""Exponentials of polynomials over a floor: y = k + c * prod x^e * exp(P(x)), as peaks and decays on a background are.

The floor k is where y lies flat: at its least or its largest value, or a little beyond.  Given k, log|y - k| is linear in
everything else; k itself follows by Gauss-Newton, since d log|y - k| / dk = -1 / (y - k).  Rows weigh as their errors in y
ask for, so those on the floor, whose logarithms are noise, say nothing.  A step of inner_constants.py; knows no budgets.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from fansr.fitting import Problem
from fansr.proposers.parts.assembly import Base, Term, product, times
from fansr.proposers.parts.terms import exponent_vectors
from fansr.proposers.power import nearest, scale_of

MOST_COLUMNS = 5
STARTS = (0.0, 1e-3, 0.03, 0.3)  # beyond the least or largest value, in spans of y
ROUNDS = 12
GOOD = 0.02  # share of the spread left above which a fit is not worth a law
LEAST_ROWS = 12


@np.errstate(all="ignore")
def bells(problem: Problem) -> list[Base]:
    """Laws of the best floor below and above y, with what polynomial the logarithm needs."""
    y, X = problem.y / scale_of(problem.y), problem.X
    columns = [j for j in range(X.shape[1]) if np.ptp(X[:, j]) > 0]
    if not 0 < len(columns) <= MOST_COLUMNS or len(y) < LEAST_ROWS:
        return []
    w0 = np.ones(len(y)) if problem.weights is None else np.sqrt(problem.weights / problem.weights.max())
    parts = _parts(X, columns)
    found = []
    for side, edge in ((1.0, float(y.min())), (-1.0, float(y.max()))):
        tries = [_floor(y, side, edge - side * share * float(np.ptp(y)), parts, w0) for share in STARTS]
        found += sorted((t for t in tries if t is not None), key=lambda t: t[0])[:1]
    laws: dict[Base, None] = {}
    for left, k, side in found:
        if left < GOOD:
            for law in _laws(y, k, side, parts, w0, scale_of(problem.y)):
                laws[law] = None
    return list(laws)


def _parts(X: np.ndarray, columns: list[int]) -> list[tuple[bool, Base, np.ndarray]]:
    """What the logarithm is made of: (a power of this column?, expression, values)."""
    parts = [
        (True, (f"x{j + 1}",), np.log(np.abs(X[:, j])))
        for j in columns
        if (X[:, j] != 0).all() and np.ptp(np.abs(X[:, j])) > 0
    ]
    for v in exponent_vectors(X.shape[1], 200, 2, [False] * X.shape[1]):
        if 0 < sum(v) <= 2 and all(e == 0 or j in columns for j, e in enumerate(v)):
            table = {(f"x{j + 1}",): Fraction(e) for j, e in enumerate(v) if e}
            parts.append((False, product(table), np.prod([X[:, j] ** e for j, e in enumerate(v) if e], axis=0)))
    return [part for part in parts if np.isfinite(part[2]).all()]


def _fit(y, k: float, side: float, parts, w0):
    """(design, goal, weights, rows) of the weighted regression of log|y - k| on 1 and the parts; None with too few rows."""
    height = side * (y - k)
    rows = np.flatnonzero(height > 1e-7 * height.max())
    if len(rows) < max(LEAST_ROWS, 2 * len(parts) + 3):
        return None
    h = height[rows]
    A = np.column_stack([np.ones(len(rows)), *(v[rows] for _, _, v in parts)])
    w = w0[rows] * h / h.max()
    return (
        (A, np.log(h), w, rows)
        if np.isfinite(A).all() and np.isfinite(w).all() and np.ptp(h) > 1e-6 * h.max()
        else None
    )


def _floor(y, side: float, k: float, parts, w0) -> tuple[float, float, float] | None:
    """(share of the spread left, floor, side) after Gauss-Newton on the floor from k."""
    best = None
    for _ in range(ROUNDS):
        fit = _fit(y, k, side, parts, w0)
        if fit is None:
            break
        A, t, w, rows = fit
        size = np.maximum(np.abs(A).max(axis=0), 1e-300)
        c = np.linalg.lstsq(A / size * w[:, None], t * w, rcond=1e-11)[0] / size
        height = np.exp(np.clip(A @ c, -700, 700))
        residual = float(np.sum((w0[rows] * (side * (y[rows] - k) - height)) ** 2)) / float(np.sum(w0**2) * np.var(y))
        if not math.isfinite(residual):
            break
        if best is None or residual < best[0]:
            best = residual, k, side
        # One column more: what the logarithm does when the floor moves.
        B = np.column_stack([A / size, side / (side * (y[rows] - k))])
        top = np.maximum(np.abs(B).max(axis=0), 1e-300)
        if not np.isfinite(B).all():
            break
        step = np.linalg.lstsq(B / top * w[:, None], t * w, rcond=1e-11)[0][-1] / top[-1]
        step = float(np.clip(-step, -0.3 * np.ptp(y), 0.3 * np.ptp(y)))
        if not math.isfinite(step) or abs(step) < 1e-13:
            break
        k -= step
    return best


def _laws(y, k: float, side: float, parts, w0, unit: float):
    """Laws of one floor, needless parts dropped one by one; with powers made fractions."""
    keep = list(range(len(parts)))
    fit = _fit(y, k, side, parts, w0)
    if fit is None:
        return

    def solved(keep):
        A, t, w, _ = fit
        A = A[:, [0, *(1 + q for q in keep)]]
        size = np.maximum(np.abs(A).max(axis=0), 1e-300)
        c = np.linalg.lstsq(A / size * w[:, None], t * w, rcond=1e-11)[0] / size
        return c, float(np.sum((w * (t - A @ c)) ** 2)) / (
            float(np.sum((w * (t - np.average(t, weights=w))) ** 2)) or 1.0
        )

    c, left = solved(keep)
    while len(keep) > 1:
        worse, q = min((solved([p for p in keep if p != q])[1], q) for q in keep)
        if worse > max(3 * left, 1e-9):
            # The next ones are needed; what was dropped before may not have been: one law here, one further down.
            yield from _law(parts, keep, *solved(keep)[:1], k, side, unit)
            if worse > 1e-3:
                return
        keep.remove(q)
        left = max(left, worse)
    yield from _law(parts, keep, solved(keep)[0], k, side, unit)


def _law(parts, keep, c, k: float, side: float, unit: float):
    from fansr.proposers.rational import short_sum

    table: dict[Base, Fraction] = {}
    inside: list[Term] = []
    for q, value in zip(keep, c[1:]):
        power, base, _ = parts[q]
        if power:
            fraction = nearest(value, (1, 2))
            if fraction and abs(fraction) <= 6:
                table[base] = fraction
        else:
            inside.append((float(value), {(token,): Fraction(e) for token, e in _powers(base)}))
    if not np.isfinite(c).all() or not inside:
        return
    top = float(c[0]) + math.log(unit)
    top = top if abs(top) > 1e-9 else 0.0
    body = product(
        {**table, ("exp", *short_sum([*inside, *([(top, {})] if top else [])])): Fraction(1)}, lambda base: False
    )
    yield ("+", *(body if side > 0 else ("neg", *body)), repr(k * unit))
    if top and abs(top) < 600:
        body = product({**table, ("exp", *short_sum(inside)): Fraction(1)}, lambda base: False)
        yield ("+", *times(side * math.exp(top), body), repr(k * unit))


def _powers(base: Base) -> list[tuple[str, int]]:
    """Columns and powers of a monomial of degree 1 or 2."""
    if base[0] == "pow2":
        return [(base[1], 2)]
    return [(token, 1) for token in base if token != "*"]
