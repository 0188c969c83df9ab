"""A table as the network sees it, and its sequences as laws over the table's columns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fansr.expressions import CONSTANT, decode, notations, variable_index
from fansr.fitting import Candidate, Problem
from fansr.network.column_scaling import scale_exponents, scaled
from fansr.network.decoders import Drawn


@dataclass
class View:
    """What the network is shown of a problem: `columns` (their numbers in the table, in order, at most as many
    as the network takes), and `powers` (1+C,) of two by which target and columns were divided."""

    columns: list[int]
    powers: np.ndarray
    values: np.ndarray  # (1, M, 1+C) float32


def show(problem: Problem, config, settings: dict, rng: np.random.Generator, pool=None) -> View:
    """Choose columns and points and scale them as in training.

    Constant columns are left out.  Of more points than the network was trained with, a random subset is shown;
    of more columns, those that the best candidates so far use, then those most correlated with the target.
    """
    moving = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0]
    columns = sorted(_relevant(problem, moving, pool)[: config.columns])
    most = int(settings.get("max_points", 64))
    rows = np.arange(len(problem.y))
    if len(rows) > most:
        rows = np.sort(rng.choice(len(rows), most, replace=False))
    values = np.column_stack((problem.y[rows], problem.X[np.ix_(rows, columns)]))[None]
    powers = np.zeros(values.shape[-1])
    if settings.get("scale_columns", True):
        exponents = scale_exponents(values)
        values, powers = scaled(values, exponents), exponents[0]
    largest = float(np.finfo(np.float32).max)
    return View(columns, powers, np.clip(values, -largest, largest).astype(np.float32))


def _relevant(problem: Problem, columns: list[int], pool) -> list[int]:
    """Columns, the likeliest to matter first."""
    used = {}
    for place, candidate in enumerate(list(pool or [])[:5]):
        for token in candidate.expr:
            if (j := variable_index(token)) is not None:
                used.setdefault(j, place)
    ranks = np.argsort(np.argsort(problem.y))

    def weight(j):
        other = np.argsort(np.argsort(problem.X[:, j]))
        return abs(np.corrcoef(ranks, other)[0, 1]) if len(ranks) > 2 else 0.0

    return sorted(columns, key=lambda j: (used.get(j, 99), -weight(j)))


def to_expr(ids, view: View) -> list[str]:
    """Network tokens as a law over the table's own columns: names and scales restored.

    A column shown over 2**k enters as a free constant times the column, a target so shown makes the whole law
    a free constant times it; simplification merges these into constants that are there already.
    """
    expr = []
    if view.powers[0]:
        expr += ["*", CONSTANT]
    for token in decode(ids):
        j = variable_index(token)
        if j is None:
            expr.append(token)
            continue
        if view.powers[1 + j]:
            expr += ["*", CONSTANT]
        expr.append(f"x{view.columns[j] + 1}")
    return expr


def finish(drawn: Drawn, view: View, relax: bool = True) -> tuple[list[Candidate], dict]:
    """Candidates from sequences: restored, simplified, relaxed, equal ones merged; and the drops by reason.

    Merged candidates add their counts and their probabilities.  Likeliest first.
    """
    from fansr.simplification import simplify_many

    exprs = [to_expr(ids, view) for ids in drawn.ids]
    merged: dict[tuple, list] = {}
    dropped: dict[str, int] = {}
    for (expr, reason), logp, n in zip(simplify_many(exprs, relax=relax), drawn.logp, drawn.n):
        if expr is None:
            dropped[reason] = dropped.get(reason, 0) + int(n)
            continue
        entry = merged.setdefault(tuple(expr), [-math.inf, 0])
        entry[0] = float(np.logaddexp(entry[0], logp))
        entry[1] += int(n)
    found = [
        Candidate(list(expr), source="model", logp=min(0.0, logp), n=n, draw=expr) for expr, (logp, n) in merged.items()
    ]
    return sorted(found, key=lambda c: (-c.logp, c.expr)), dropped


def finish_written(drawn: Drawn, view: View, name: str) -> tuple[list[Candidate], dict]:
    """Candidates from sequences of a notation, as they were written: equal ones merged, likeliest first; and the drops."""
    notation = notations.NOTATIONS[name]
    merged: dict[tuple, list] = {}
    dropped: dict[str, int] = {}
    for ids, logp, n in zip(drawn.ids, drawn.logp, drawn.n):
        expr = notation.read(ids)
        if expr is None:
            dropped["no formula"] = dropped.get("no formula", 0) + int(n)
            continue
        renamed = (f"x{view.columns[j] + 1}" if (j := variable_index(token)) is not None else token for token in expr)
        entry = merged.setdefault(tuple(renamed), [-math.inf, 0])
        entry[0] = float(np.logaddexp(entry[0], logp))
        entry[1] += int(n)
    found = [
        Candidate(list(expr), source="model", logp=min(0.0, logp), n=n, draw=expr) for expr, (logp, n) in merged.items()
    ]
    return sorted(found, key=lambda c: (-c.logp, c.expr)), dropped
