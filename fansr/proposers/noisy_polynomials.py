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
from fansr.proposers.rational import Polynomial, Table, polynomial_laws, quotient_laws

MOST_COLUMNS = 7
MOST_TERMS, SHARE = 60, 0.7  # monomials in all, and for each row
DEGREES, ALIKE = (2, 3, 4), (2, 3, 4, 6)  # of all monomials up to a degree, and of all of one degree alone
TERM_NATS = 4.0  # of a term's symbols, beside its coefficient's half logarithm of the rows
NOISE = 0.1  # share of the variance left above which a table says nothing of many terms
FAR = 3 * NOISE  # the same of the best law so far
QUOTIENTS = (
    (1, 1, False),
    (2, 1, False),
    (2, 1, True),
)  # degrees above and below, and whether all terms are of that one alone
CLOSE, ROWS_PER_TERM = (
    1e-3,
    8,
)  # where more of the variance is left, with fewer rows a choice among so many sums fits the noise
FEWEST, KEPT = 3, 12  # terms of a sum: of fewer others take care, more are a series
REACH = 4.0  # times the least noise that all monomials leave under a view, up to which another view's are looked at
NEAR, SUMS = 12.0, 3  # nats within which other sums than the best are proposed too, and how many in all


class Sum(NamedTuple):
    """lead * S = sum of monomials - S * sum of others, S the target under a view: without others a sum, else a quotient."""

    nats: float
    view: View
    lead: Exponents
    above: tuple[Exponents, ...]
    below: tuple[Exponents, ...] = ()


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of sums of monomials.  Bounded by counts."""
    problem = thinned(problem, rng)
    columns = distinct_columns(problem.X)
    if len(problem.y) < 12 or not 0 < len(columns) <= MOST_COLUMNS or not np.ptp(problem.y) > 0:
        return
    if pool is not None and pool.best is not None and pool.best.fvu > FAR:
        return
    table = Table(problem, columns, False, rng)
    yield from proposals(problem, "polynomials", _batches(table), budget, 2, 30.0, worst=NOISE)


def _batches(table: Table) -> Iterator[list[Base]]:
    """Laws of the functions of y, then of y with a column or two below the sum, then of quotients of two sums."""
    D = len(table.columns)
    none = (0,) * D
    sets = [(vectors, []) for vectors in term_sets(table)]
    yield laws(table, [(name, none) for name in ("y", "sqrt", "1/y", "1/sqrt", "exp", "log")], sets)
    yield laws(table, [("y", v) for v in monomials(D, 2) if any(v)], sets)
    yield laws(table, [(name, v) for name in ("y", "sqrt") for v in monomials(D, 1)], list(quotient_sets(table)))


@np.errstate(all="ignore")
def laws(
    table: Table, looks: list[tuple[str, Exponents]], sets: list[tuple[list[Exponents], list[Exponents]]]
) -> list[Base]:
    """The laws of the sums with the least description length: views with what leads below, and sets of monomials above and below."""
    n = len(table.y)
    centred = table.root * (table.y - np.average(table.y, weights=table.root**2))
    spread = float(centred @ centred)
    parts = [(above, below, values(table.U, above), values(table.U, below)) for above, below in sets]
    paths = []
    for name, lead in looks:
        view = seen(table, name)
        for above, below, P, Q in parts if view is not None else ():
            if below and lead not in below:
                continue
            others = [v for v in below if v != lead]
            path = regressed(
                table, view, values(table.U, [lead])[:, 0], P, Q[:, [k for k, v in enumerate(below) if v != lead]]
            )
            whole = next(path, None)
            if whole is not None:
                paths.append((whole[0] / (n - len(above) - len(others)), view, lead, above, others, path))
    bar = REACH * min([least for least, *_ in paths], default=0.0)
    found: dict[tuple, Sum] = {}
    for least, view, lead, above, others, path in paths:
        if least > bar:
            continue
        for squares, live in path:
            share = max(squares / spread, 1e-30)
            if len(live) < FEWEST or share * n > NOISE * (n - len(live)):
                break
            if len(live) > KEPT or (share > CLOSE and ROWS_PER_TERM * len(live) > n):
                continue
            nats = 0.5 * n * math.log(share) + len(live) * (0.5 * math.log(n) + TERM_NATS)
            over = tuple(above[k] for k in live if k < len(above))
            under = tuple(others[k - len(above)] for k in live if k >= len(above))
            key = view.outer.name, lead, over, under
            if over and bool(under) == bool(others) and (key not in found or nats < found[key].nats):
                found[key] = Sum(nats, view, lead, over, under)
    best = sorted(found.values(), key=lambda one: one.nats)
    best = [one for one in best if one.nats < best[0].nats + NEAR][:SUMS]
    return [law for one in best for law in written(table, one)]


def seen(table: Table, name: str) -> View | None:
    """The target under a view; None where that is not defined on all rows."""
    outer = OUTER[name]
    view = view_of(table.y, outer, unit=1.0 if outer.power is not None else 1 / table.y_scale)
    return view if view is not None and view.ok.all() else None


def regressed(
    table: Table, view: View, lead: np.ndarray, P: np.ndarray, Q: np.ndarray
) -> Iterator[tuple[float, list[int]]]:
    """The way down (backward_elimination.py) from lead * S = sum of P (n, T) - S * sum of Q (n, T'), residuals those of y."""
    S = view.S[:, None]
    features, size = np.hstack([P, -S * Q]), np.abs(lead) + np.abs(Q).sum(axis=1)
    for again in range(1 + (Q.shape[1] > 0)):
        weight = table.root / np.abs(slope(view) * size)
        B, t = weight[:, None] * features, weight * view.S * lead
        if not (np.isfinite(B).all() and np.isfinite(t).all()):
            return
        if Q.shape[1] and not again:  # the size of what stands below is told by the first solution
            c = np.linalg.lstsq(B, t, rcond=None)[0]
            size = np.maximum(np.abs(lead + Q @ c[P.shape[1] :]), 1e-3 * size)
    yield from eliminated(B, t)


def written(table: Table, one: Sum) -> list[Base]:
    """The sum, or quotient, as a law of y in its own unit."""
    view = one.view._replace(unit=one.view.unit * table.y_scale)
    lead = values(table.U, [one.lead])[:, 0]
    if not one.below:
        return polynomial_laws(table, Polynomial.of(table, view, view.S * lead, one.lead, list(one.above)))
    vectors = list(dict.fromkeys((one.lead, *one.below, *one.above)))
    S = view.S / np.abs(view.S).max()
    P, Q = values(table.U, one.above), values(table.U, one.below)
    weight = table.root / np.abs(slope(view) * lead)
    for _ in range(3):
        B, t = weight[:, None] * np.hstack([P, -S[:, None] * Q]), weight * S * lead
        if not (np.isfinite(B).all() and np.isfinite(t).all()):  # what stands below is 0 on a row
            return []
        solved = np.linalg.lstsq(B, t, rcond=None)[0]
        weight = table.root / np.abs(slope(view) * (lead + Q @ solved[len(one.above) :]))
    c = np.zeros(2 * len(vectors))
    c[[vectors.index(v) for v in one.above]] = solved[: len(one.above)]
    c[[len(vectors) + vectors.index(v) for v in (one.lead, *one.below)]] = [1.0, *solved[len(one.above) :]]
    return quotient_laws(table, view, vectors, c) if np.isfinite(c).all() else []


def term_sets(table: Table) -> Iterator[list[Exponents]]:
    """Monomials that may be the terms of a sum: up to a degree, or all of one degree."""
    D = len(table.columns)
    most = min(MOST_TERMS, int(SHARE * len(table.y)))
    for degree in (d for d in DEGREES if math.comb(D + d, D) <= most):
        yield table.monomials(degree)
    for degree in (d for d in ALIKE if D > 1 and math.comb(D + d - 1, D - 1) <= most):
        yield [v for v in table.monomials(degree) if sum(v) == degree]


def quotient_sets(table: Table) -> Iterator[tuple[list[Exponents], list[Exponents]]]:
    """Monomials that may stand above and below a bar: up to a degree, or all of one degree."""
    most = min(MOST_TERMS, int(SHARE * len(table.y)))
    for over, under, alike in QUOTIENTS:
        above, below = ([v for v in table.monomials(d) if not alike or sum(v) == d] for d in (over, under))
        if len(above) + len(below) - 1 <= most:
            yield above, below


def slope(view: View) -> np.ndarray:
    """dS/dy (n,) of a view up to a factor of its unit."""
    S, power = view.S, view.outer.power
    if power is not None:
        return np.abs(S) ** (1 - float(power)) / (float(power) * view.unit)
    return (np.exp(-S) if view.outer.name == "exp" else S) / view.unit
