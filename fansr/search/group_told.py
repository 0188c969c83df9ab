"""What is told of a law with constants by group: in short with the values by group, and as --json holds it.

    told(expr, consts, errors, problem)    # {"column", "law", "constants", "laws"}
    remark(expr, consts, problem)          # the same for the eye

A law is written over the 0/1 columns of the groups, (12*region_n + 7*region_s)*exp(-0.3*x); here such a sum is read back as one constant
with a value for each group.  Knows nothing of how it was found.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fansr.expressions import CONSTANT, to_infix
from fansr.fitting import Problem

NAMES = "abcdghpqrsuvw"  # of constants by group


@dataclass
class _Read:
    """A law with its sums over groups read back: `tokens` with a column more for each, the `common` constants, and for each sum the
    place of every group's constant in the law, by level."""

    tokens: list[str] = field(default_factory=list)
    common: list[int] = field(default_factory=list)
    places: list[dict[str, int]] = field(default_factory=list)


def _read(expr: Sequence[str], problem: Problem) -> _Read:
    said, names = problem.extra["grouping"], list(problem.names)
    levels = {
        f"x{names.index(column) + 1}": level
        for column, level in zip(said["columns"], said["levels"])
        if column in names
    }
    read = _Read()
    k = i = 0
    while i < len(expr):
        found, after = _sum_over_groups(expr, i, levels)
        if found:
            read.tokens.append(f"x{len(names) + len(read.places) + 1}")
            read.places.append({level: k + g for g, level in enumerate(found)})
            k, i = k + len(found), after
            continue
        read.tokens.append(expr[i])
        if expr[i] == CONSTANT:
            read.common.append(k)
            k += 1
        i += 1
    return read


def _sum_over_groups(expr: Sequence[str], i: int, levels: dict[str, str]) -> tuple[list[str], int]:
    """(levels, place behind) of a constant by group that is spelled from place i of an expression; ([], i) where there is none."""
    found: list[str] = []
    j = i
    while True:
        more = expr[j] == "+"
        term = list(expr[j + more : j + more + 3])
        if term[:2] != ["*", CONSTANT] or term[2:] == [] or term[2] not in levels:
            return [], i
        found.append(levels[term[2]])
        j += more + 3
        if not more:
            return found, j
        if j >= len(expr):
            return [], i


def _named(read: _Read, problem: Problem) -> list[str]:
    column = problem.extra["grouping"]["column"]
    return [f"{NAMES[k % len(NAMES)]}[{column}]" for k in range(len(read.places))]


def told(
    expr: Sequence[str], consts: Sequence[float], errors: Sequence[float], problem: Problem
) -> dict[str, Any] | None:
    """The constants by group as --json holds them; None where a table has no groups.

    errors (C,): standard errors of consts (C,), infinite where undetermined.  `law` names the constants by group, `laws` are those of
    the groups by themselves, over the other columns.
    """
    said = problem.extra.get("grouping")
    if said is None:
        return None
    read = _read(expr, problem)
    names = _named(read, problem)
    common = [float(consts[k]) for k in read.common]
    constants = [
        {
            "name": name,
            "values": {level: float(consts[k]) for level, k in places.items()},
            "standard_errors": {
                level: float(errors[k]) if errors[k] < math.inf else None for level, k in places.items()
            },
        }
        for name, places in zip(names, read.places)
    ]
    laws = {
        level: _of_group(read, level, consts, problem)
        for level in said["levels"]
        if all(level in places for places in read.places)
    }
    return {
        "column": said["column"],
        "law": to_infix(read.tokens, common, [*problem.names, *names]),
        "constants": constants,
        "laws": laws,
    }


def _of_group(read: _Read, level: str, consts: Sequence[float], problem: Problem) -> str:
    """The law of one group."""
    tokens, values = [], []
    common = iter(read.common)
    for token in read.tokens:
        sum_ = int(token[1:]) - len(problem.names) - 1 if token[0] == "x" and token[1:].isdigit() else -1
        if sum_ >= 0:
            values.append(float(consts[read.places[sum_][level]]))
            token = CONSTANT
        elif token == CONSTANT:
            values.append(float(consts[next(common)]))
        tokens.append(token)
    return to_infix(tokens, values, problem.names)


def remark(expr: Sequence[str], consts: Sequence[float], problem: Problem) -> dict[str, str] | None:
    """The law for the eye, {"code", "text"}: with a name for what differs by group, and its values; None without groups."""
    said = problem.extra.get("grouping")
    if said is None:
        return None
    read = _read(expr, problem)
    if not read.places:
        return {"code": "groups", "text": f"the law is the same for every {said['column']}"}
    names = _named(read, problem)
    text = to_infix(read.tokens, [float(consts[k]) for k in read.common], [*problem.names, *names], digits=5)
    each = "; ".join(
        f"{name}: {', '.join(f'{level} {float(consts[k]):.4g}' for level, k in places.items())}"
        for name, places in zip(names, read.places)
    )
    return {"code": "groups", "text": f"by {said['column']}: {problem.target} = {text} with {each}"}
