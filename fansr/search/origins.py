"""Columns that count years or seconds from an origin far away: searched from their own beginning, and written so.

Of 1.56 year - 2743 and sin(6.285 year) nobody can say at a glance what they are in 1990, their constants cancel, and the
frequency holds a phase in its last digits.  Where a column's name tells a time and its values lie far from 0, the search sees
year - 1990, and the law is 1.56*(year - 1990) + 354 with constants that are those of the table's beginning.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fansr.expressions import CONSTANT, end, literal_value, variable_index
from fansr.fitting import Candidate, Problem

TIMES = frozenset("year years yr yrs date time timestamp unix epoch jd mjd julian jahr annee ano".split())
FAR = 20.0  # spreads that a column's middle lies from 0
DECADE = 20.0  # years of a table that begins with a decade


def origins(problem: Problem) -> dict[int, float]:
    """The columns of times far from their origin, and the round number each begins with."""
    from fansr.proposers import words_of

    found = {}
    for j, name in enumerate(problem.names):
        x = problem.X[:, j]
        words = set(words_of(str(name)))
        spread = float(np.std(x))
        if not words & TIMES or not spread > 0 or not x.min() > FAR * spread:
            continue
        unit = 10.0 ** math.floor(math.log10(float(np.ptp(x)) / (2 if np.ptp(x) < DECADE else 1) / 2))
        start = math.floor(float(x.min()) / unit) * unit
        found[j] = round(start) if unit >= 1 else start
    return found


def from_origins(problem: Problem, starts: Mapping[int, float]) -> Problem:
    """The problem with those columns counted from there, their names saying so."""
    X, X_val = problem.X.copy(), None if problem.X_val is None else problem.X_val.copy()
    for j, start in starts.items():
        X[:, j] -= start
        if X_val is not None:
            X_val[:, j] -= start
    names = [f"({name} - {starts[j]:.15g})" if j in starts else name for j, name in enumerate(problem.names)]
    return replace(problem, X=X, X_val=X_val, names=names)


def in_table(candidate: Candidate, starts: Mapping[int, float]) -> Candidate:
    """A law of from_origins' problem as one of the table: x - start for x, one number where another is added to it."""
    consts: list[float] = [] if candidate.consts is None else list(candidate.consts)
    expr: list[str] = []
    old, k, i = list(candidate.expr), 0, 0
    while i < len(old):
        found = _shift(old, i, consts, k, starts)
        if found is not None:
            expr += found
            i, k = end(old, i), k + 1
            continue
        j = variable_index(old[i])
        expr += ["-", old[i], repr(float(starts[j]))] if j in starts else [old[i]]
        k += old[i] == CONSTANT
        i += 1
    if candidate.consts is None:
        return replace(candidate, expr=expr)
    return candidate.rewritten(expr, np.array(consts), candidate.fvu)


def _shift(expr: list[str], i: int, consts: list[float], k: int, starts: Mapping[int, float]) -> list[str] | None:
    """x + c or x - c at place i as x - start + c, one number; its constant, the k-th, is changed in place.  None of another node."""
    if expr[i] not in ("+", "-") or not consts or len(expr) < i + 3 or CONSTANT not in expr[i + 1 : i + 3]:
        return None
    first, second = expr[i + 1 : i + 3]
    j = variable_index(second if first == CONSTANT else first)
    if j not in starts or first == second or literal_value(second) is not None and second != CONSTANT:
        return None
    c, start = float(consts[k]), float(starts[j])
    if first == CONSTANT and expr[i] == "-":  # c - x
        consts[k] = c + start
        return ["-", CONSTANT, second]
    column = second if first == CONSTANT else first
    consts[k] = start - c if expr[i] == "+" else start + c
    return ["-", column, CONSTANT] if consts[k] >= 0 else ["+", column, CONSTANT]
