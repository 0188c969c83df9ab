"""Laws that are linear once the target is transformed, found by regression in a millisecond.

log|y| in columns, their logarithms and reciprocals: c * x^p * exp(a*x), c * exp(-b/T), ...: decay, absorption, Arrhenius' and Clausius
and Clapeyron's laws, whose constants run over decades, where no search from ordinary starts finds them.
1/y in a column or its reciprocal: 1 / (b + a*x) and x / (a + b*x), saturation as Michaelis and Menten have it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from fansr.fitting import Problem
from fansr.proposers.parts.expression_assembly import Base, nearest, scale_of
from fansr.proposers.parts.power_products import LogRegression, power_products
from fansr.proposers.parts.sparse_sums import Subsets, growing

TERMS, BESIDE = 3, 2  # of log|y|, besides its constant; besides its constant and all logarithms
NEW = 1e-9  # share of a term's square that no logarithm says
ROUNDING = 1e-28  # share of a term's square that is no variation
KEPT = 3  # sets of each number of terms that become laws
ROWS = 2000  # of a longer table
SHARE = 0.3  # standard deviation that the regression may leave of log|y|'s; beyond it is no law


@np.errstate(all="ignore")
def log_linear(problem: Problem) -> list[Base]:
    """Laws for a target that is nowhere 0: expressions with literals, an exponential in each; signs are those of the columns'."""
    X, y = problem.X, problem.y
    if len(y) < 4 or not (y != 0).all():
        return []
    rows = np.linspace(0, len(y) - 1, min(len(y), ROWS)).astype(int)
    t = np.log(np.abs(y[rows]))
    names, values = _terms(X)
    if not names or not np.ptp(t) > 0:
        return []
    F = np.stack([v[rows] for v in values])
    logs = np.array([kind == "log" for kind, _ in names])
    found: list[Base] = []
    for w in (np.ones(len(rows)), np.abs(y[rows]) / np.abs(y).max()):
        w = w if problem.weights is None else w * np.sqrt(problem.weights[rows])
        fit = LogRegression(F.T, t, w)
        centred, target = fit.centred()
        if fit.outside >= SHARE**2 * float(target @ target):
            continue  # not even all terms together say enough
        for members in _chosen(centred, target, logs, len(rows) - 2):
            coefficients, errors, _ = fit.solve(among=members)
            found += _laws(problem, [names[k] for k in members], coefficients, errors)
    return list(dict.fromkeys(found))


def _chosen(B: np.ndarray, t: np.ndarray, logs: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Sets of terms that explain t (n,) well, not all of them logarithms: B (T, n) are the terms (of length 1
    before their means were taken off), logs (T,) which of them are.

    Up to TERMS of any kind; then, where there are as many columns, one or two beside all logarithms; `most` terms in all.
    """
    size = (B * B).sum(axis=1)
    varying = size > ROUNDING
    every = np.flatnonzero(logs & varying)
    passes = [(np.flatnonzero(varying), B, t, min(TERMS, most))]
    if TERMS <= len(every) <= most - BESIDE:
        Q = np.linalg.qr(B[every].T)[0]  # (n, L)
        left = B - (B @ Q) @ Q.T
        passes.append(
            (np.flatnonzero(~logs & ((left * left).sum(axis=1) > NEW * size)), left, t - Q @ (Q.T @ t), BESIDE)
        )
    whole = float(t @ t)
    for among, features, goal, terms in passes:
        square = float(goal @ goal)
        if not len(among) or not square > 0:
            continue
        always = every if goal is not t else every[:0]
        for sets in growing(Subsets(features[among], goal), terms, np.random.default_rng(0)):
            for residual, members in sets[:KEPT]:
                if residual * square < SHARE**2 * whole:
                    chosen = np.concatenate([always, among[list(members)]])
                    if not logs[chosen].all():
                        yield chosen


def _terms(X: np.ndarray) -> tuple[list[tuple[str, int]], list[np.ndarray]]:
    """((kind, column) and values) of the terms that are finite on all rows: a column, its reciprocal, the logarithm of its size."""
    names, values = [], []
    for j, x in enumerate(X.T):
        kinds = {"x": x, "1/x": 1 / x, "log": np.log(np.abs(x))}
        for kind, v in kinds.items():
            if np.isfinite(v).all() and np.ptp(v) > 1e-9 * np.abs(v).max():
                names.append((kind, j))
                values.append(v)
    return names, values


def _laws(problem: Problem, terms: list[tuple[str, int]], coefficients: np.ndarray, errors: np.ndarray) -> list[Base]:
    """The laws of one regression; powers as fitted, and as the halves that their errors allow."""
    inner: list[str] = []
    powers: list[tuple[Base, np.ndarray, float, float]] = []
    s = np.zeros(len(problem.y))
    for (kind, j), c, error in zip(terms, coefficients, errors):
        x, v = f"x{j + 1}", problem.X[:, j]
        if kind == "log":
            powers.append(((x,), v, float(c), float(error)))
            continue
        part = ["*", repr(float(c)), x] if kind == "x" else ["/", repr(float(c)), x]
        inner = part if not inner else ["+", *inner, *part]
        s = s + (c * v if kind == "x" else c / v)
    snapped = [
        (base, v, nearest(p, (1, 2)) if abs(p - nearest(p, (1, 2))) <= 3 * error else p) for base, v, p, error in powers
    ]
    tables: list[list[tuple[Base, np.ndarray, Fraction | float]]] = [snapped]
    if any(isinstance(p, Fraction) for _, _, p in snapped):
        tables.append([(base, v, p) for base, v, p, _ in powers])
    found: list[Base] = []
    for table in tables:
        if all(abs(p) <= 10 for _, _, p in table):
            found += power_products(problem.y, problem.weights, table, (tuple(inner), s))
    return found


@np.errstate(all="ignore")
def reciprocal(problem: Problem) -> list[Base]:
    """1 / (b + a/x) and 1 / (b + a*x) for every column, by regression of 1/y weighed as errors of y are."""
    X, y = problem.X, problem.y
    if len(y) < 4 or not (y != 0).all():
        return []
    w = (y / np.abs(y).max()) ** 2
    w = w if problem.weights is None else w * np.sqrt(problem.weights)
    w2, v, found = w * w, 1 / y, []
    middle = float(w2 @ v) / float(w2.sum())
    for j, x in enumerate(X.T):
        for sign, u in (("*", x), ("/", 1 / x)):
            if np.isfinite(u).all() and np.ptp(u) > 0:
                size = scale_of(u)
                mean = float(w2 @ (u / size)) / float(w2.sum())
                centred = u / size - mean
                square = float((w2 * centred) @ centred)
                a = float((w2 * centred) @ (v - middle)) / square if square else 0.0
                a, b = a / size, middle - a * mean
                if a and b and math.isfinite(a) and math.isfinite(b):
                    found.append(("inv", "+", sign, repr(a), f"x{j + 1}", repr(b)))
    return found
