"""Laws between the dimensionless groups of a table with units: y = S * f(p1, p2, ...); a proposer.

With as many repeating columns as there are independent dimensions, their powers make a scale S of the target's unit and a group p of
each other column (Buckingham 1914), and f has fewer arguments than the law.  Proposers that are quick look for f in the table of
y / S over the groups, whose rows weigh S^2; what they find is written in the columns.  Several choices of the repeating columns
are tried, those of the plainest exponents first.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from fansr.expressions import bind, dimensions, evaluate, from_tree, to_tree, variable_index
from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.candidates import finish, fvu_of

INNER = ("power", "one_column_curves", "few_term_sums")
CHOICES = 2  # of repeating columns
MOST_COLUMNS = 9
SPAN = 1e-9  # relative spread below which a group is the same on every row


class Groups(NamedTuple):
    """One choice: the scale and each group as trees over the columns, and what they cost to write."""

    scale: Any
    groups: list[Any]
    cost: float


def choices(units: dimensions.Units) -> list[Groups]:
    """Scales of the target's unit with the groups of the other columns, the plainest first; none where the columns make no scale."""
    columns = units.columns
    D = len(columns)
    rank = int(np.linalg.matrix_rank(columns[:, :-1], tol=dimensions.NEAR)) if columns[:, :-1].size else 0
    found: list[Groups] = []
    if rank == 0:
        return found
    for repeating in itertools.combinations(range(D), rank):
        part = columns[list(repeating)]
        scale = dimensions.exponents_of(units.target, part)
        others = [j for j in range(D) if j not in repeating]
        powers = [dimensions.exponents_of(columns[j], part) for j in others]
        if scale is None or any(p is None for p in powers):
            continue
        whole = np.zeros(D)
        whole[list(repeating)] = scale
        groups, cost = [], _cost(whole)
        for j, p in zip(others, powers):
            e = np.zeros(D)
            e[j], e[list(repeating)] = 1.0, -np.asarray(p)
            cost += _cost(e)
            groups.append(dimensions.monomial(e))
        found.append(Groups(dimensions.monomial(whole), groups, cost))
    plainest: dict[str, Groups] = {}
    for choice in sorted(found, key=lambda choice: choice.cost):
        plainest.setdefault(repr(choice[:2]), choice)
    return list(plainest.values())


def _cost(exponents: np.ndarray) -> float:
    return float(np.abs(exponents).sum() + 0.5 * np.sum(np.abs(exponents - np.round(exponents)) > 1e-9))


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Lists of candidates over the columns, their constants fitted."""
    units = problem.units
    if units is None or problem.X.shape[1] > MOST_COLUMNS:
        return
    tried = 0
    for choice in choices(units):
        reduced = _reduced(problem, choice)
        if reduced is None:
            continue
        tried += 1
        if tried > CHOICES:
            return
        if not choice.groups:
            yield [Candidate(list(from_tree(("*", "<constant>", choice.scale))))]
            continue
        for name in INNER:
            module = importlib.import_module(f"fansr.proposers.{name}")
            for batch in module.propose(reduced, budget, rng, None):
                yield [written(candidate, choice, problem) for candidate in batch]
                if budget.over():
                    return


def _reduced(problem: Problem, choice: Groups) -> Problem | None:
    """The table of y / S over the groups; None where one of them has no value on some row, or is the same on all."""

    def values(tree: Any) -> np.ndarray:
        with np.errstate(all="ignore"):
            return evaluate(list(from_tree(tree)) if isinstance(tree, tuple) else [tree], problem.X)

    S = np.broadcast_to(values(choice.scale), problem.y.shape)
    P = np.column_stack([values(group) for group in choice.groups]) if choice.groups else np.zeros((len(S), 0))
    with np.errstate(all="ignore"):
        z = problem.y / S
    if not (np.isfinite(S).all() and np.isfinite(P).all() and np.isfinite(z).all()) or not (S != 0).all():
        return None
    weights = S**2 if problem.weights is None else S**2 * problem.weights
    names = [f"p{k + 1}" for k in range(len(choice.groups))]
    return replace(
        problem,
        X=np.ascontiguousarray(P),
        y=z,
        names=names,
        weights=weights / weights.max(),
        known=False,
        units=None,
        extra={},
    )


def written(candidate: Candidate, choice: Groups, problem: Problem) -> Candidate:
    """A law of y / S over the groups, as the law of y over the columns."""

    def within(node: Any) -> Any:
        if isinstance(node, tuple):
            return (node[0], *map(within, node[1:]))
        k = variable_index(node)
        return node if k is None else choice.groups[k]

    tree = within(to_tree(list(candidate.expr)))
    if choice.scale != "1":
        tree = choice.scale if tree == "1" else ("*", choice.scale, tree)
    expr = list(from_tree(tree)) if isinstance(tree, tuple) else [tree]
    fvu = candidate.fvu
    if candidate.consts is not None:
        one = finish(bind(expr, candidate.consts), "groups")
        expr, candidate = one.expr, replace(candidate, consts=one.consts)
        with np.errstate(all="ignore"):
            fvu = fvu_of(problem.y, evaluate(expr, problem.X, candidate.consts), problem.weights)
    return Candidate(expr, candidate.consts, float(fvu), "groups")
