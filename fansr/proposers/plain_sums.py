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
    owner = np.array([j for j, _, _ in features])
    chosen: list[int] = []
    laws: list[Base] = []
    while len(chosen) < min(MOST, len(set(owner)), M // 3):
        left, share = _beside([root, *F[chosen]], [y, *F])
        residual, new = left[0], left[1:]
        squares = (new * new).sum(axis=1)
        gain = np.where(share[1:] > NEW, (new @ residual) ** 2 / squares, 0.0)
        gain[np.isin(owner, owner[chosen])] = 0.0
        best = int(np.argmax(gain))
        if not gain[best] > EXACT * float(residual @ residual):
            break
        chosen.append(best)
        laws.append(_law(chosen, features, F, root, y, scales, size))
        if len(chosen) > 2:
            # The one that matters least may matter no more, now that the others are there.
            drops = [
                float(np.square(_beside([root, *F[[k for k in chosen if k != out]]], [y])[0]).sum()) for out in chosen
            ]
            least = int(np.argmin(drops))
            if chosen[least] != best and drops[least] < float(residual @ residual) * (1 - 1e-9):
                shorter = [k for k in chosen if k != chosen[least]]
                laws.append(_law(shorter, features, F, root, y, scales, size))
    return measured(problem, laws, "plain")


def _beside(given: list[np.ndarray], rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What of the rows (R, M) is orthogonal to those given, and the share of each one's square that this is."""
    Q = np.linalg.qr(np.stack(given).T)[0]  # (M, k)
    R = np.stack(rows)
    rest = R - (R @ Q) @ Q.T
    rest -= (rest @ Q) @ Q.T
    return rest, (rest * rest).sum(axis=1) / np.maximum((R * R).sum(axis=1), 1e-300)


def _law(chosen, features, F, root, y, scales, size) -> Base:
    """The least-squares sum of the chosen features and a constant, as an expression."""
    c0, *coefficients = np.linalg.lstsq(np.stack([root, *F[chosen]]).T, y, rcond=None)[0]
    terms = [(float(c * size / scales[k]), {features[k][1]: ONE}) for k, c in zip(chosen, coefficients) if c]
    return total([*terms, (float(c0 * size), {})])
