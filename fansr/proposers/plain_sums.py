"""Sums of plain terms of different columns, c0 + c1*x1 + c2*log(x2) + ..., by forward selection: a proposer.

What regression would say of a table.  Where rows are few and noisy, and columns many, no law is found that the rows could tell
from chance, and a sum of the few columns that matter is the honest answer; so these always stand among the candidates, from one
term up to MOST, whatever else is tried.  Two paths: the columns as they are, and each column as itself, its logarithm, square
or root.  Every step takes the feature that explains most of what is left; a feature that the later ones made needless goes.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.candidates import measured
from fansr.proposers.parts.expression_assembly import ONE, Base, total

MOST = 12  # terms of a sum, and a third of the rows at most
NEW = 1e-6  # squared share of a feature that must be new to those chosen
FALL = 3.0  # largest over smallest value of a column from which on its logarithm and its root are other features than itself
EXACT = 1e-20  # FVU at which a path ends


def propose(problem: Problem, budget: Budget, rng=None, pool=None) -> Iterator[list[Candidate]]:
    """Fitted sums of one term and more.  Deterministic and without regard for the clock: a few regressions."""
    columns = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0]
    plain: list[tuple[int, Base, np.ndarray]] = [(j, (f"x{j + 1}",), problem.X[:, j]) for j in columns]
    found = path(problem, plain)
    yield found
    bent = [feature for j in columns for feature in curves(j, problem.X[:, j])]
    if bent and not any(candidate.fvu < EXACT for candidate in found):
        yield path(problem, [*plain, *bent])


def curves(j: int, x: np.ndarray) -> Iterator[tuple[int, Base, np.ndarray]]:
    """(column, expression, values) of a column's functions that a sum may hold in its place."""
    if len(np.unique(x[:1000])) <= 3:
        return
    token = f"x{j + 1}"
    if x.min() > 0 and x.max() > FALL * x.min():
        yield j, ("log", token), np.log(x)
    if x.min() >= 0 and x.max() > FALL * x.min():
        yield j, ("pow1_2", token), np.sqrt(x)
    with np.errstate(over="ignore"):
        square = x * x
    if np.isfinite(square).all():
        yield j, ("pow2", token), square


@np.errstate(all="ignore")
def path(problem: Problem, features: list[tuple[int, Base, np.ndarray]]) -> list[Candidate]:
    """The sums of forward selection, shortest first, at most one feature of a column in each."""
    if not features:
        return []
    M = len(problem.y)
    root = np.ones(M) if problem.weights is None else np.sqrt(problem.weights / problem.weights.max())
    size = float(np.abs(problem.y).max()) or 1.0
    y = root * problem.y / size
    scales = np.array([np.abs(values).max() for _, _, values in features])
    F = np.stack([root * values / scale for (_, _, values), scale in zip(features, scales)])  # (T, M)
    root, F, y = _short(root, F, y)
    owner = np.array([j for j, _, _ in features])
    whole = (F * F).sum(axis=1)

    def law(members: list[int], c: np.ndarray) -> Base:
        """The sum of a constant and some features with their coefficients, as an expression."""
        terms = [(float(v * size / scales[k]), {features[k][1]: ONE}) for k, v in zip(members, c[1:]) if v]
        return total([*terms, (float(c[0] * size), {})])

    chosen: list[int] = []
    laws: list[Base] = []
    free = np.ones(len(owner), bool)  # features of columns that are in no term
    left = _without(root / np.sqrt(root @ root), np.stack([y, *F]))
    while len(chosen) < min(MOST, len(set(owner)), M // 3):
        residual, new = left[0], left[1:]
        squares = (new * new).sum(axis=1)
        gain = np.where(free & (squares > NEW * whole), (new @ residual) ** 2 / squares, 0.0)
        best = int(np.argmax(gain))
        if not gain[best] > EXACT * float(residual @ residual):
            break
        chosen.append(best)
        free[owner == owner[best]] = False
        left = _without(new[best] / np.sqrt(squares[best]), left)
        c, drops = _fitted([root, *F[chosen]], y)
        laws.append(law(chosen, c))
        if len(chosen) > 2:
            # The one that matters least may matter no more, now that the others are there.
            least = int(np.argmin(drops[1:]))
            if chosen[least] != best and drops[1 + least] < float(residual @ residual) * (1 - 1e-9):
                shorter = [k for k in chosen if k != chosen[least]]
                laws.append(law(shorter, _fitted([root, *F[shorter]], y)[0]))
    return measured(problem, laws, "plain")


def _short(root: np.ndarray, F: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same vectors root (M,), F (T, M) and y (M,) in coordinates of what they span: (T + 2,) each, their products unchanged."""
    if len(y) <= len(F) + 2:
        return root, F, y
    Q, R = np.linalg.qr(np.stack([root, *F]).T)
    t = Q.T @ y
    left = y - Q @ t
    R = np.vstack([R, np.zeros(len(R))])
    return R[:, 0], np.ascontiguousarray(R[:, 1:].T), np.append(t, np.sqrt(left @ left))


def _fitted(given: list[np.ndarray], y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coefficients of least squares (k,), the square left of y without each of the vectors (k,)), of vectors (k, M).

    Without one of them c^2 / ((A'A)^-1)_ii more is left than with all.
    """
    Q, R = np.linalg.qr(np.stack(given).T)
    t = Q.T @ y
    left, c, inverse = y - Q @ t, np.linalg.solve(R, t), np.linalg.inv(R)
    return c, float(left @ left) + c * c / (inverse * inverse).sum(axis=1)


def _without(direction: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """What of rows (R, M) is orthogonal to a direction (M,) of length 1."""
    rows = rows - (rows @ direction)[:, None] * direction
    return rows - (rows @ direction)[:, None] * direction
