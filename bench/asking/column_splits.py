"""A table cut in two by its columns: y = outer(A(S) + B(T)) or A(S) * B(T), S and T without a column in common.

Whatever A and B are, polynomials in the columns of S and those of T follow them, and rows that the fit has not seen tell which of
the ways to deal the columns into two holds.  What the polynomials say of A and B are two smaller problems, not exact ones: their
`floors` say how well they are known.  Laws of both are put together and polished on the larger problem.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from fansr.fitting import Problem
from fansr.proposers.parts.expression_assembly import Base
from fansr.proposers.parts.monomials import monomials, values
from fansr.proposers.parts.polynomial_surrogate import trimmed_square
from fansr.proposers.parts.reductions import Reduction, without_function, written
from fansr.proposers.parts.target_transforms import OUTER
from fansr.proposers.separable import _without_constant

ROWS = 600  # that are looked at
DEGREES = {1: 8, 2: 6, 3: 4, 4: 3, 5: 3, 6: 2}  # of a group's polynomial, by its columns
FOLD = 4  # every fourth row is unseen
HOLDS = 0.02  # share of the unseen rows' spread that may be left
WORSE = 4.0  # times the best error that another cut may leave
TELL = 4.0  # times what the polynomials leave open: laws of parts that err less cannot be told apart
VIEWS = ("exp", "y", "1/y", "square", "log", "sqrt")  # functions undone; under exp sums are products
KEPT = 3
RAISED = 0.25  # of its spread: what the smallest value of a summand, whose zero nobody knows, is shown as


@np.errstate(all="ignore")
def splits(problem: Problem, rng: np.random.Generator) -> Iterator[Reduction | None]:
    """Ways to cut a problem in two, the surest first; None while at work."""
    varying = [j for j, v in enumerate(problem.X.T) if np.ptp(v) > 0]
    M, D = len(problem.y), len(varying)
    if not 2 <= D <= 7 or M < 60:
        return
    rows = rng.permutation(M)[:ROWS]
    X = problem.X[rows][:, varying]
    decades = (X.min(axis=0) > 0) & (X.max(axis=0) > 8 * X.min(axis=0))
    Z = np.where(decades, np.log(np.where(decades, X, 1.0)), X)
    low, high = Z.min(axis=0), Z.max(axis=0)
    Z = (2 * Z - low - high) / (high - low)
    ways = [(0, *some) for size in range(D - 1) for some in combinations(range(1, D), size)]
    seen = np.arange(len(rows)) % FOLD != 0
    shown = {}
    for name in VIEWS:
        undone = without_function(problem, OUTER[name]) if name != "y" else None
        if undone is None and name != "y":
            continue
        S = problem.y if undone is None else undone.problems[0].y
        shown[name] = S[rows]
    if not shown:
        return
    targets = np.column_stack([(S - S.mean()) / S.std() for S in shown.values()])
    surfaces: dict[tuple[int, ...], np.ndarray] = {}

    def surface(group):
        if group not in surfaces:
            degree = DEGREES[len(group)]
            while degree > 1 and len(monomials(len(group), degree)) > len(rows) // 4:
                degree -= 1
            surfaces[group] = values(Z[:, list(group)], monomials(len(group), degree)[1:])
        return surfaces[group]

    found = []
    for number, group in enumerate(ways):
        rest = tuple(j for j in range(D) if j not in group)
        A = np.column_stack([np.ones(len(rows)), surface(group), surface(rest)])
        c = _ridge(A[seen], targets[seen])
        errors = trimmed_square(targets[~seen] - A[~seen] @ c) / trimmed_square(targets[~seen])
        found += [(float(error), name, group, rest) for error, name in zip(errors, shown) if np.isfinite(error)]
        if number % 16 == 15:
            yield None
    found.sort(key=lambda item: item[0])
    kept = [item for item in found if item[0] < HOLDS and item[0] <= WORSE * found[0][0] + 1e-9][:KEPT]
    for error, name, group, rest in kept:
        A, B = surface(group), surface(rest)
        S = shown[name]
        c = _ridge(np.column_stack([np.ones(len(rows)), A, B]), S)
        pieces = A @ c[1 : 1 + A.shape[1]], B @ c[1 + A.shape[1] :]
        yield _reduction(
            problem, rows, name, error, pieces, float(c[0]), [[varying[j] for j in g] for g in (group, rest)]
        )


def _ridge(A: np.ndarray, t: np.ndarray) -> np.ndarray:
    G = A.T @ A
    G[np.diag_indices_from(G)] += 1e-9 * np.trace(G) / len(G) + 1e-300
    return np.linalg.solve(G, A.T @ t)


def _reduction(problem: Problem, rows, name: str, error: float, pieces, constant: float, groups) -> Reduction:
    """The two problems of a cut, on these rows, and how their laws make one."""
    whole = float(np.var(pieces[0] + pieces[1]))
    problems, floors, offset = [], [], constant
    for piece, group in zip(pieces, groups):
        if name == "exp":
            y = np.exp(piece)
        else:
            raised = RAISED * np.ptp(piece) - piece.min()
            y, offset = piece + raised, offset - raised
        problems.append(
            Problem(
                X=np.ascontiguousarray(problem.X[np.ix_(rows, group)]), y=y, names=[problem.names[j] for j in group]
            )
        )
        floors.append(max(TELL * error * whole / max(float(np.var(piece)), 1e-300), 1e-12))
    outer = None if name == "y" else OUTER[name]
    sign = "neg" if name == "exp" and np.mean(problem.y < 0) > 0.5 else None

    def restore(*laws: Base) -> Base:
        first, second = (written(law, [(f"x{j + 1}",) for j in group]) for law, group in zip(laws, groups))
        if name == "exp":
            law = ("*", repr(float(np.exp(constant))), "*", *first, *second)
            return (sign, *law) if sign else law
        (first, one), (second, other) = _without_constant(tuple(first)), _without_constant(tuple(second))
        law = ("+", *first, "+", *second, repr(float(offset + one + other) or 0.01))
        return law if outer is None else outer.law(law)

    return Reduction(tuple(problems), restore, error, tuple(floors))
