"""Waves of the period that a column's name or its cells state: a month comes round after 12, an hour after 24, a degree after 360.

Nobody who plots a temperature over `month` looks for a period: it is known, and so is that one is there.  The laws
A sin(2 pi x / P + phi), alone, with a constant, with a straight line beside and with the other columns, are one regression each.
"""

from __future__ import annotations

import math
import re

import numpy as np

from fansr.expressions import CONSTANT, literal_value
from fansr.fitting import Candidate, Problem
from fansr.proposers.parts.candidates import measured
from fansr.proposers.parts.expression_assembly import Base, times
from fansr.proposers.parts.inner_scan import coefficients, summed

PERIODS = {
    "month": 12.0, "month of year": 12.0, "moy": 12.0, "hour": 24.0, "hr": 24.0, "hour of day": 24.0, "weekday": 7.0,
    "day of week": 7.0, "dow": 7.0, "day of year": 365.25, "doy": 365.25, "yday": 365.25, "julian day": 365.25, "deg": 360.0,
    "degree": 360.0, "angle deg": 360.0, "azimuth": 360.0, "bearing": 360.0, "heading": 360.0,
}  # fmt: skip
READ = {
    ("clock", "seconds"): 86_400.0, ("date", "seconds"): 86_400.0, ("date", "days"): 365.25, ("date", "months"): 12.0,
    ("words", "months"): 12.0, ("words", "weekdays"): 7.0,
}  # fmt: skip  # of cells that were dates, times and words, by what they became
PHASES = 4  # of a period, at least: with fewer any wave fits
LEAST_SPAN, MOST_TURNS = 0.7, 40.0  # of a period that the table covers
MIN_ROWS = 6
PRIOR_NATS = 12.0  # what the name is worth: of a structure of some 17 nats little has still to be told
SAME = 1e-9  # relative


def words_of(name: str) -> list[str]:
    """The words of a column's name in small letters: "hour_of_day", "hourOfDay" and "Hour of day" have the same."""
    return re.sub(r"[^a-z]+", " ", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower()).split()


def period_of(name: str) -> float | None:
    """The period that a column's name states, or None: "Month", "hour_of_day", "months"."""
    words = " ".join(words_of(name))
    return PERIODS.get(words) or PERIODS.get(words.removesuffix("s"))


def calendar_columns(problem: Problem) -> dict[int, float]:
    """Columns whose name or whose cells (times of day, dates, names of months) state a period, of which the rows cover enough: {column: period}."""
    found, conversions = {}, problem.extra.get("conversions", {})
    for j, name in enumerate(problem.names):
        told = conversions.get(name)
        read = (told.get("kind"), told.get("unit")) if isinstance(told, dict) else ()
        period = READ.get(read) or period_of(str(name))
        if (
            period
            and len(np.unique(np.round(problem.X[:, j] % period / period, 6))) >= PHASES
            and LEAST_SPAN * period <= float(np.ptp(problem.X[:, j])) * (1 + 1 / len(problem.y)) <= MOST_TURNS * period
        ):
            found[j] = period
    return found


def calendar_laws(problem: Problem) -> list[Candidate]:
    """The laws of a problem's calendar columns, fitted; [] where there is no such column.

    The frequency stays a literal of the expression: it is told by the name, so nothing fits it, charges for it or gives it an error.
    """
    X, y = problem.X, problem.y
    M = len(y)
    if M < MIN_ROWS:
        return []
    w = None if problem.weights is None else np.sqrt(problem.weights / problem.weights.max())
    laws = []
    for j, period in calendar_columns(problem).items():
        omega = 2 * math.pi / period
        others = [k for k in range(X.shape[1]) if k != j and np.ptp(X[:, k]) > 0]
        plans = [(), (None,), (j, None), (*others, None), (j, *others, None)]  # None: a constant
        for beside in dict.fromkeys(plans):
            if len(beside) + 4 > M:
                continue
            columns = [np.sin(omega * X[:, j]), np.cos(omega * X[:, j])]
            columns += [np.ones(M) if k is None else X[:, k] for k in beside]
            (a, b, *slopes), _ = coefficients(columns, y, w)
            c = float(slopes.pop()) if beside else 0.0
            wave: Base = ("sin", "+", *times(omega, (f"x{j + 1}",)), repr(math.atan2(b, a)))
            law = summed([math.hypot(a, b), *slopes], [wave, *((f"x{k + 1}",) for k in beside if k is not None)], c)
            (candidate,) = measured(problem, [law], "sums")
            at = int(np.flatnonzero(np.asarray(candidate.consts) == omega)[0])
            places = [i for i, token in enumerate(candidate.expr) if token == CONSTANT]
            candidate.expr[places[at]] = repr(omega)
            candidate.consts = np.delete(candidate.consts, at)
            laws.append(candidate)
    return laws


def prior_nats(candidate: Candidate, columns: dict[int, float]) -> float:
    """PRIOR_NATS where a law has a wave of a calendar column's own period in it, else 0."""
    if not columns or not ("sin" in candidate.expr or "cos" in candidate.expr):
        return 0.0
    for j, period in columns.items():
        for i in range(3, len(candidate.expr)):
            before, star, factor, x = candidate.expr[i - 3 : i + 1]
            if x == f"x{j + 1}" and star == "*" and before in ("+", "-", "sin", "cos"):
                omega = literal_value(factor)
                if omega is not None and abs(abs(omega) * period / (2 * math.pi) - 1) < SAME:
                    return PRIOR_NATS
    return 0.0
