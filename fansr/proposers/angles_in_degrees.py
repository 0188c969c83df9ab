"""Angles in degrees, as a column's name tells: a proposer that searches the table with radians in their place.

Nobody writes sin(0.0174533*theta): where a column is called `theta_deg`, `latitude` or `angle (°)` and goes beyond a whole turn of
radians, laws with sin(theta), tan(theta) or asin(sin(theta)/n) are looked for in radians, where they have no constant to be found, and
pi/180 is put before the column afterwards.  A target in degrees is taken in radians too.  It stays a literal: it is told by the name, so
nothing fits it, charges for it or gives it an error.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator, Sequence

import numpy as np

from fansr.expressions import CONSTANT, bind, end, free, literal_value, variable_index
from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers import composites, few_term_sums, rational, separable
from fansr.proposers.calendar_waves import words_of
from fansr.proposers.local_search import evolve
from fansr.proposers.parts import reductions as cut
from fansr.proposers.parts.candidates import rough_score
from fansr.proposers.parts.expression_assembly import Base

DEGREE = math.pi / 180
DEGREES = frozenset("deg degs degree degrees".split())
ANGLES = frozenset(
    "angle angles theta phi latitude longitude lat lon azimuth bearing heading inclination incidence".split()
)
NO_ANGLES = frozenset(
    "c f k celsius fahrenheit kelvin temp temperature day days brix plato".split()
)  # degrees of something else
# An angle in degrees goes beyond a turn in radians, where its name only says that it is an angle beyond two; ten turns at most.
BEYOND, SURELY, MOST = 2 * math.pi, 15.0, 3600.0
WAVES = frozenset(("sin", "cos", "tan"))
BACK = frozenset(("asin", "acos", "atan"))
PRIOR_NATS = (
    9.0  # what the name is worth for each function of an angle: the function is no surprise, and the factor is told
)
TOLD = 3  # functions of angles at most for which it is
SAME = 1e-12  # relative
LEADING = 60  # candidates that the local search is seeded with
KEPT = 4  # of a batch
QUICK = (few_term_sums.propose, composites.propose, separable.propose, rational.propose)


def is_in_degrees(name: str, values: np.ndarray) -> bool:
    """Whether a column's name and its values (M,) are those of an angle in degrees."""
    largest = float(np.abs(values).max())
    if not BEYOND < largest <= MOST:
        return False
    if re.search(r"°(?!\s*[CFKR])", name):
        return True
    words = set(words_of(name))
    return not words & NO_ANGLES and bool(words & DEGREES or words & ANGLES and largest > SURELY)


def degree_columns(problem: Problem) -> tuple[int, ...]:
    """The columns that hold angles in degrees."""
    return tuple(j for j, name in enumerate(problem.names) if is_in_degrees(str(name), problem.X[:, j]))


def target_in_degrees(problem: Problem) -> bool:
    """Whether the target is an angle in degrees."""
    return is_in_degrees(str(problem.target), problem.y)


def propose(
    problem: Problem, budget: Budget, rng: np.random.Generator, pool=None, **settings
) -> Iterator[list[Candidate]]:
    """Fitted candidates of the table in radians, with pi/180 put before its columns; settings: those of evolve.propose.

    Without a clock it ends as the local search does.
    """
    columns, back = degree_columns(problem), target_in_degrees(problem)
    if not columns and not back:
        return
    given = list(zip(cut.columns_of(problem, range(problem.X.shape[1])), range(problem.X.shape[1])))
    bases = [
        (("*", repr(DEGREE), *base), values * DEGREE) if j in columns else (base, values) for (base, values), j in given
    ]
    radians = cut.in_columns(problem, bases, problem.y * DEGREE if back else None).problems[0]
    leading: list[Candidate] = []
    turns = [propose(radians, budget, rng) for propose in QUICK] + [
        evolve.propose(radians, budget, rng, leading, **settings)
    ]
    spent = [0.0] * len(turns)
    while turns and not budget.over():
        k = int(np.argmin(spent)) if budget.seconds is not None else 0
        begun = time.perf_counter()
        batch = next(turns[k], None)
        spent[k] += time.perf_counter() - begun
        if batch is None:
            del turns[k], spent[k]
            continue
        fitted = sorted((c for c in batch if c.consts is not None and c.fvu < math.inf), key=rough_score)
        leading[:] = sorted([*leading, *fitted], key=rough_score)[:LEADING]
        found = [_in_degrees(c, bases, back) for c in fitted[:KEPT] if _of_angles(c.expr, columns, back)]
        # Where columns have units, a constant carries that of pi/180 per degree.
        yield found if problem.units is None else [_with_constants(c) for c in found]


def _of_angles(expr: Sequence[str], columns: Sequence[int], back: bool) -> bool:
    """Whether a law in radians takes a sine, cosine or tangent of a column in radians, or gives an angle."""
    if back and not BACK.isdisjoint(expr):
        return True
    for i, token in enumerate(expr):
        if token in WAVES and any(variable_index(t) in columns for t in expr[i + 1 : end(list(expr), i + 1)]):
            return True
    return False


def _in_degrees(candidate: Candidate, bases: Sequence[tuple[Base, np.ndarray]], back: bool) -> Candidate:
    """A law of the table in radians as one of the table."""
    expr = cut.written(candidate.expr, [base for base, _ in bases])
    whole = ("*", repr(1 / DEGREE), *expr) if back else expr
    return Candidate(list(whole), candidate.consts, candidate.fvu, "angles")


def _with_constants(candidate: Candidate) -> Candidate:
    expr, consts = free(bind(candidate.expr, candidate.consts))
    return candidate.rewritten(expr, np.array(consts, dtype=np.float64), candidate.fvu)


def angle_nats(candidate: Candidate, columns: Sequence[int], back: bool) -> float:
    """PRIOR_NATS for each sine, cosine or tangent in a law of a column in degrees times a multiple of pi/180, and for an angle given back."""
    return PRIOR_NATS * min(TOLD, len(_places(candidate, columns, back)))


def with_degrees_told(candidate: Candidate, columns: Sequence[int], back: bool) -> Candidate:
    """The candidate with the constants that a column's name tells, pi/180 in a sine of one in degrees, as literals."""
    places = _places(candidate, columns, back)
    expr, consts, k = list(candidate.expr), [], 0
    for i, token in enumerate(candidate.expr):
        if token == CONSTANT:
            if i in places:
                expr[i] = repr(float(candidate.consts[k]))
            else:
                consts.append(candidate.consts[k])
            k += 1
    return candidate if len(consts) == k else candidate.rewritten(expr, np.array(consts), candidate.fvu)


def _places(candidate: Candidate, columns: Sequence[int], back: bool) -> set[int]:
    """Where in a law the numbers stand that make radians of a column in degrees, one for each function, or degrees of radians."""
    if not columns and not back or (WAVES | BACK).isdisjoint(candidate.expr) or candidate.consts is None:
        return set()
    numbers = iter(candidate.consts)
    values = [float(next(numbers, math.nan)) if token == CONSTANT else literal_value(token) for token in candidate.expr]
    places = set()
    for i, token in enumerate(candidate.expr):
        if token in WAVES:
            for k in range(i + 1, end(candidate.expr, i + 1) - 1):
                if variable_index(candidate.expr[k + 1]) in columns and _multiple(values[k], DEGREE):
                    places.add(k)
                    break
        elif back and token in BACK and i >= 2 and _multiple(values[i - 1], 1 / DEGREE):
            places.add(i - 1)
    return places


def _multiple(value: float | None, unit: float) -> bool:
    """Whether a number is 1, 2, 3 or 1/2 times a unit, of either sign."""
    return value is not None and any(abs(abs(value) / (n * unit) - 1) < SAME for n in (1, 2, 3, 0.5))
