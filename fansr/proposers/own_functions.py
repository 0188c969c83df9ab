"""Functions that no other proposer tries: one's own definitions, and those that are asked for by name; a proposer.

c*f(x) + c      c*f(c*x + c) + c      the same of products and quotients of two columns, times a column, beside a line
the leading laws with f for a function of theirs, and with f around a part of theirs
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from fansr.expressions import CONSTANT, arity, end, variable_index
from fansr.fitting import Budget, Candidate, Problem

COLUMNS = 6
LEADERS = 12  # laws of the pool that are changed
LONGEST = 24
AT_ONCE = 48


def propose(
    problem: Problem, budget: Budget, rng=None, pool=None, functions: Sequence[str] = ()
) -> Iterator[list[Candidate]]:
    """Candidates whose constants are still to be fitted."""
    columns = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0][:COLUMNS]
    seen: set[tuple[str, ...]] = set()
    for laws in (
        plain(functions, columns),
        changed(functions, pool),
        composed(functions, columns),
        changed(functions, pool),
    ):
        fresh = [law for law in dict.fromkeys(map(tuple, laws)) if law not in seen and len(law) <= LONGEST]
        seen.update(fresh)
        for first in range(0, len(fresh), AT_ONCE):
            yield [Candidate(list(law), source="own") for law in fresh[first : first + AT_ONCE]]
            if budget.over():
                return


def _with_coefficients(call: list[str], columns: Sequence[int] = ()) -> Iterator[list[str]]:
    yield call
    yield ["*", CONSTANT, *call]
    yield ["+", *call, CONSTANT]
    yield ["+", "*", CONSTANT, *call, CONSTANT]
    for j in columns:
        yield ["*", CONSTANT, "*", f"x{j + 1}", *call]
        yield ["+", "*", CONSTANT, f"x{j + 1}", "+", "*", CONSTANT, *call, CONSTANT]


def plain(functions: Sequence[str], columns: Sequence[int]) -> Iterator[list[str]]:
    """Of one column, or of two for a function of two."""
    for f in functions:
        if arity(f) == 2:
            for i, j in itertools.permutations(columns, 2):
                yield from _with_coefficients([f, f"x{i + 1}", f"x{j + 1}"])
                yield from _with_coefficients([f, "*", CONSTANT, f"x{i + 1}", "*", CONSTANT, f"x{j + 1}"])
        for j in columns:
            x = f"x{j + 1}"
            if arity(f) == 2:
                yield from _with_coefficients([f, x, CONSTANT])
                yield from _with_coefficients([f, CONSTANT, x])
                continue
            for inside in ([x], ["*", CONSTANT, x], ["+", "*", CONSTANT, x, CONSTANT], ["-", x, CONSTANT]):
                yield from _with_coefficients([f, *inside], columns if len(inside) < 4 else ())


def composed(functions: Sequence[str], columns: Sequence[int]) -> Iterator[list[str]]:
    """Of products, quotients, sums and differences of two columns, and products of two calls."""
    for f in functions:
        if arity(f) != 1:
            continue
        for i, j in itertools.permutations(columns, 2):
            for token in "*/-+":
                if token in "/-" or i < j:
                    inside = [token, f"x{i + 1}", f"x{j + 1}"]
                    yield from _with_coefficients([f, *inside])
                    yield from _with_coefficients([f, "*", CONSTANT, *inside], columns[:3])
            if i < j:
                a, b = [f, "*", CONSTANT, f"x{i + 1}"], [f, "*", CONSTANT, f"x{j + 1}"]
                yield ["*", CONSTANT, "*", *a, *b]
                yield ["+", "*", CONSTANT, *a, "+", "*", CONSTANT, *b, CONSTANT]


def changed(functions: Sequence[str], pool) -> Iterator[list[str]]:
    """Leading laws with f in the place of a function, or around a part."""
    for candidate in list(pool or ())[:LEADERS]:
        expr = list(candidate.expr)
        for f in functions:
            if arity(f) != 1:
                continue
            for i, token in enumerate(expr):
                stop = end(expr, i)
                part = expr[i:stop]
                if not any(variable_index(t) is not None for t in part):
                    continue
                if arity(token) == 1 and token != f:
                    yield [*expr[:i], f, *expr[i + 1 :]]
                yield [*expr[:i], f, *part, *expr[stop:]]
                yield [*expr[:i], "*", CONSTANT, f, *part, *expr[stop:]]
