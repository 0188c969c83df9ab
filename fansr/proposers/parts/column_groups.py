"""Columns dealt into groups: S = offset + prod over groups of sum of h_j(x_j), fitted with splines for the h_j.

All in one group is a sum of functions of single columns, each in a group of its own a product of them over an offset, two
and two a product of two sums.  The model is linear in each group while the others stand still, so a few rounds of least
squares fit it, and unseen rows tell which dealing holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fansr.proposers.parts.expression_assembly import scale_of
from fansr.proposers.parts.polynomial_surrogate import trimmed_square

COMPARED = 300  # rows used while dealings are compared
KNOTS, FINE = 5, (14, 30)  # knots of a column while dealings are compared, and of the one that holds
ROUNDS, SOME_ROUNDS, FIRST_ROUNDS = 30, 8, 3
FOLD = 4  # every fourth row is unseen
HOLDS = 0.05  # unexplained share of unseen rows up to which a dealing is followed
FOLLOWED = 3  # dealings fitted to the end
MOST_DEALT = 5  # columns (52 dealings); of more only the sum of all functions and the product are tried

Groups = tuple[tuple[int, ...], ...]


class Model(NamedTuple):
    """One dealing fitted: S = offset + prod of `factors`, each (M,) the sum of its group's `pieces` and a constant."""

    error: float  # unexplained share of the unseen rows' spread
    groups: Groups
    offset: float
    factors: list[np.ndarray]
    pieces: list[dict[int, np.ndarray]]  # for each group: column -> its function's values (M,), centred


def dealings(n: int) -> list[Groups]:
    """All ways to deal n things into groups, as sorted tuples."""
    ways: list[Groups] = [()]
    for j in range(n):
        ways = [
            (*way[:at], (*(way[at] if at < len(way) else ()), j), *way[at + 1 :])
            for way in ways
            for at in range(len(way) + 1)
        ]
    return ways


def dealings_that_hold(X: np.ndarray, S: np.ndarray, rng: np.random.Generator) -> Iterator[Model | None]:
    """Fitted models of the dealings of X's columns (M, D) that unseen rows of S (M,) bear out; None while at work."""
    M, D = X.shape
    few = slice(0, COMPARED)  # the rows come in no order of their values
    knots = min(KNOTS, (min(M, COMPARED) // 2) // D - 4)
    if knots < 1:
        return
    size = scale_of(S)
    S = S / size
    likely = most_likely([spline(x, knots) for x in X[few].T], S[few], rng)[:FOLLOWED]
    blocks = [spline(x, knots) for x in X.T] if likely else []
    effects = column_effects(blocks, S) if likely else {}
    for groups in likely:
        yield None
        model = fit(blocks, groups, S, main_effects(effects, groups, S), SOME_ROUNDS)
        if model.error > 0.5:  # where main effects vanish they say nothing
            model = min(model, fit(blocks, groups, S, _start(blocks, groups, rng), SOME_ROUNDS), key=lambda m: m.error)
        if model.error < 2 * HOLDS:
            model = fit(blocks, groups, S, model.factors, ROUNDS)
        for finer in FINE:
            if model.error < HOLDS and 2 * D * (finer + 4) < M:
                yield None
                fine = fit([spline(x, finer) for x in X.T], groups, S, model.factors, ROUNDS)
                model = min(model, fine, key=lambda m: m.error)
        if model.error < HOLDS:
            factors, pieces = list(model.factors), list(model.pieces)
            factors[0], pieces[0] = factors[0] * size, {j: v * size for j, v in pieces[0].items()}
            yield Model(model.error, groups, model.offset * size, factors, pieces)


def most_likely(blocks, S: np.ndarray, rng) -> list[Groups]:
    """The dealings by their errors after a few rounds, from main effects and, where these say little, a random start too."""
    n = len(blocks)
    ways = dealings(n) if n <= MOST_DEALT else [(tuple(range(n)),), tuple((j,) for j in range(n))]
    effects = column_effects(blocks, S)
    errors = {groups: fit(blocks, groups, S, main_effects(effects, groups, S), FIRST_ROUNDS).error for groups in ways}
    for groups in ways if min(errors.values()) > HOLDS else ():
        if len(groups) > 1:
            other = fit(blocks, groups, S, _start(blocks, groups, rng), FIRST_ROUNDS).error
            errors[groups] = min(errors[groups], other)
    return sorted((groups for groups in errors if errors[groups] < 0.5), key=errors.get)


def _start(blocks, groups: Groups, rng) -> list[np.ndarray]:
    """Random smooth functions of each group's columns, of size 1 around 1."""
    sums = [sum(blocks[j] @ rng.normal(size=blocks[j].shape[1]) for j in group) for group in groups]
    return [1 + 0.5 * v / (v.std() or 1.0) for v in sums]


def column_effects(blocks, S: np.ndarray) -> dict[int, np.ndarray]:
    """Each column's function (M,) in a sum of such functions that follows S."""
    return _effects(blocks, range(len(blocks)), _ridge(np.column_stack([np.ones(len(S)), *blocks]), S))


def main_effects(effects: dict[int, np.ndarray], groups: Groups, S: np.ndarray) -> list[np.ndarray]:
    """What each group explains on its own, from column_effects(), as first guesses of the factors."""
    return [float(S.mean()) + sum(effects[j] for j in group) for group in groups]


def _effects(blocks, columns, c: np.ndarray) -> dict[int, np.ndarray]:
    """Each column's function (M,), from coefficients of a constant and of the columns' splines one after the other."""
    cuts = np.cumsum([1] + [blocks[j].shape[1] for j in columns])
    return {j: blocks[j] @ c[start:end] for j, start, end in zip(columns, cuts, cuts[1:])}


def fit(blocks, groups: Groups, S: np.ndarray, factors: list[np.ndarray], rounds: int) -> Model:
    """Rounds of least squares over the groups, each with the others still, on three rows of four."""
    # The rows that are seen stand first.
    seen = np.arange(len(S)) % FOLD != 0
    order, m = np.argsort(~seen, kind="stable"), int(seen.sum())
    S = S[order]
    spread = trimmed_square(S[m:] - S[m:].mean()) + 1e-300
    # (M, 1 + n), and before it a column of 1 for the offset where there are several groups
    several = len(groups) > 1
    designs = [np.column_stack([np.ones(len(S)), *(blocks[j] for j in group)])[order] for group in groups]
    whole = [np.ones((m, several + A.shape[1])) for A in designs]
    factors, coefficients, offset = [f[order] for f in factors], [None] * len(groups), 0.0
    last = math.inf
    for _ in range(rounds):
        for k, A in enumerate(designs):
            rest = math.prod((f[:m] for i, f in enumerate(factors) if i != k), start=np.ones(m))
            np.multiply(A[:m], rest[:, None], out=whole[k][:, several:])
            c = _ridge(whole[k], S[:m])
            offset, c = (float(c[0]), c[1:]) if several else (0.0, c)
            values = A @ c
            # The last keeps the scale of all.
            size = float(np.sqrt(np.mean(values**2))) or 1.0 if k + 1 < len(designs) else 1.0
            coefficients[k], factors[k] = c / size, values / size
        residual = S[m:] - offset - math.prod(f[m:] for f in factors)
        error = float(trimmed_square(residual) / spread)
        if not math.isfinite(error) or not several or abs(last - error) < 1e-3 * error:
            break
        last = error
    back = np.argsort(order)
    factors = [f[back] for f in factors]
    if not math.isfinite(error):
        return Model(math.inf, groups, 0.0, factors, [{} for _ in groups])
    pieces = [_effects(blocks, group, c) for group, c in zip(groups, coefficients)]
    return Model(error, groups, offset, factors, pieces)


def _ridge(A: np.ndarray, t: np.ndarray) -> np.ndarray:
    G = A.T @ A
    diagonal = np.einsum("ii->i", G)
    diagonal += 1e-9 * diagonal.mean() + 1e-300
    return np.linalg.solve(G, A.T @ t)


# ---- splines ----------------------------------------------------------------------------------


def spline(x: np.ndarray, knots: int) -> np.ndarray:
    """Cubic B-splines of one column on its quantiles (M, n), centred, the last left out: with a constant they span all.

    Columns that span decades are taken by their logarithm.
    """
    u = np.log(x) if x.min() > 0 and x.max() > 8 * x.min() else x
    u = (u - u.min()) / (np.ptp(u) or 1.0)
    inner = np.unique(np.quantile(u, np.linspace(0, 1, knots + 2)[1:-1]))
    inner = inner[(inner > 1e-9) & (inner < 1 - 1e-9)]
    B = b_splines(u, np.r_[[0.0] * 4, inner, [1.0] * 4])
    B = B[:, B.max(axis=0) > 1e-6][:, :-1]
    return B - B.mean(axis=0)


def b_splines(u: np.ndarray, knots: np.ndarray, degree: int = 3) -> np.ndarray:
    """Values (M, n) of the B-splines on a knot vector with full ends, by de Boor's recursion.

    scipy.interpolate has them too, but loading it takes a third of a second, which a fit of one second cannot spare.
    """
    at = np.clip(np.searchsorted(knots, u, side="right") - 1, degree, len(knots) - degree - 2)
    B = (np.arange(len(knots) - 1) == at[:, None]).astype(float)  # (M, intervals)
    for d in range(1, degree + 1):
        n = len(knots) - 1 - d
        width, after = knots[d : d + n] - knots[:n], knots[d + 1 : d + 1 + n] - knots[1 : n + 1]
        left = (u[:, None] - knots[:n]) / np.where(width > 0, width, 1.0)
        right = (knots[d + 1 : d + 1 + n] - u[:, None]) / np.where(after > 0, after, 1.0)
        B = np.where(width > 0, left, 0.0) * B[:, :n] + np.where(after > 0, right, 0.0) * B[:, 1 : n + 1]
    return B
