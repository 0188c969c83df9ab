"""Polynomials of tables with noise or rounded numbers, all terms at once and then the needless ones taken away: a proposer.

    u(y) = sum of monomials,  or  y = sum of monomials / one monomial,      u one of y, y^2, 1/y, 1/y^2, log y, exp y

rational.py solves for every monomial up to some degree where the table is exact.  Here the same regression leaves a noise, and a term
that is not in the law is told by its own error: the least of them goes, and again (backward elimination), and of all the sums on the way
the one with the least description length is proposed.  A sum of six products of three columns (Heron's formula) is
found so, which a search that adds one term at a time never comes near.

Rows weigh as the slope of u says, so that residuals are those of y and the sums of all views can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.backward_elimination import eliminated
from fansr.proposers.parts.candidates import proposals
from fansr.proposers.parts.expression_assembly import Base
from fansr.proposers.parts.monomials import Exponents, distinct_columns, monomials, values
from fansr.proposers.parts.target_transforms import OUTER, View, view_of
from fansr.proposers.parts.terms import thinned
from fansr.proposers.rational import Table, polynomial_laws

MOST_COLUMNS = 7
MOST_TERMS, SHARE = 60, 0.7  # monomials in all, and for each row
DEGREES, ALIKE = (2, 3, 4), (2, 3, 4, 6)  # of all monomials up to a degree, and of all of one degree alone
TERM_NATS = 4.0  # of a term's symbols, beside its coefficient's half logarithm of the rows
NOISE = 0.1  # share of the variance left above which a table says nothing of many terms
FEWEST, KEPT = 3, 12  # terms of a sum: of fewer others take care, more are a series
REACH = 4.0  # times the least noise that all monomials leave under a view, up to which another view's are looked at
NEAR, SUMS = 12.0, 3  # nats within which other sums than the best are proposed too, and how many in all


class Sum(NamedTuple):
    """A sum of monomials that stands for the target under a view."""

    nats: float
    view: View
    front: Exponents
    vectors: tuple[Exponents, ...]


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of sums of monomials.  Bounded by counts."""
    problem = thinned(problem, rng)
    columns = distinct_columns(problem.X)
    if len(problem.y) < 12 or not 0 < len(columns) <= MOST_COLUMNS or not np.ptp(problem.y) > 0:
        return
    table = Table(problem, columns, False, rng)
    yield from proposals(problem, "polynomials", _batches(table), budget, 2, 30.0)


def _batches(table: Table) -> Iterator[list[Base]]:
    """Laws of the functions of y, then of y with a column or two below the sum."""
    D = len(table.columns)
    plain = [(name, (0,) * D) for name in ("y", "sqrt", "1/y", "1/sqrt", "exp", "log")]
    yield laws(table, plain)
    fronts = [v for v in monomials(D, 2) if any(v)]
    yield laws(table, [("y", v) for v in fronts])


@np.errstate(all="ignore")
def laws(table: Table, looks: list[tuple[str, Exponents]]) -> list[Base]:
    """The laws of the sums with the least description length under these views."""
    n = len(table.y)
    centred = table.root * (table.y - np.average(table.y, weights=table.root**2))
    spread = float(centred @ centred)
    sets = [(vectors, values(table.U, vectors)) for vectors in term_sets(table, n)]
    paths = []
    for name, front in looks:
        look = weighed(table, name, front)
        if look is None:
            continue
        view, weight, t = look
        for vectors, V in sets:
            B = weight[:, None] * V
            path = eliminated(B, t)
            whole = next(path, None) if np.isfinite(B).all() else None
            if whole is not None:
                paths.append((whole[0] / (n - len(vectors)), view, front, vectors, path))
    bar = REACH * min([least for least, *_ in paths], default=0.0)
    found: dict[tuple, Sum] = {}
    for least, view, front, vectors, path in paths:
        if least > bar:
            continue
        for squares, live in path:
            share = max(squares / spread, 1e-30)
            if len(live) < FEWEST or share * n > NOISE * (n - len(live)):
                break
            if len(live) > KEPT:
                continue
            nats = 0.5 * n * math.log(share) + len(live) * (0.5 * math.log(n) + TERM_NATS)
            chosen = tuple(vectors[k] for k in live)
            key = view.outer.name, front, chosen
            if key not in found or nats < found[key].nats:
                found[key] = Sum(nats, view, front, chosen)
    best = sorted(found.values(), key=lambda one: one.nats)
    best = [one for one in best if one.nats < best[0].nats + NEAR][:SUMS]
    return [law for one in best for law in written(table, one)]


def weighed(table: Table, name: str, front: Exponents) -> tuple[View, np.ndarray, np.ndarray] | None:
    """(view, weights (n,), what the weighed monomials have to add up to (n,)); None where the view is not defined on all rows."""
    outer = OUTER[name]
    view = view_of(table.y, outer, unit=1.0 if outer.power is not None else 1 / table.y_scale)
    if view is None or not view.ok.all():
        return None
    below = values(table.U, [front])[:, 0]
    weight = table.root / np.abs(slope(view) * below)
    t = weight * view.S * below
    return (view, weight, t) if np.isfinite(weight).all() and np.isfinite(t).all() else None


def written(table: Table, one: Sum) -> list[Base]:
    """The sum as a law of y in its own unit."""
    view = one.view._replace(unit=one.view.unit * table.y_scale)
    return polynomial_laws(table, view, view.S * values(table.U, [one.front])[:, 0], one.front, list(one.vectors))


def term_sets(table: Table, n: int) -> Iterator[list[Exponents]]:
    """Monomials that may be the terms of a sum: up to a degree, or all of one degree."""
    D = len(table.columns)
    most = min(MOST_TERMS, int(SHARE * n))
    for degree in (d for d in DEGREES if math.comb(D + d, D) <= most):
        yield table.monomials(degree)
    for degree in (d for d in ALIKE if D > 1 and math.comb(D + d - 1, D - 1) <= most):
        yield [v for v in table.monomials(degree) if sum(v) == degree]


def slope(view: View) -> np.ndarray:
    """dS/dy (n,) of a view up to a factor of its unit."""
    S, power = view.S, view.outer.power
    if power is not None:
        return np.abs(S) ** (1 - float(power)) / (float(power) * view.unit)
    return (np.exp(-S) if view.outer.name == "exp" else S) / view.unit
