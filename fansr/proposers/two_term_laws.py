"""Two terms with an inner constant each, and products of two beside a background, all kinds of them: a proposer.

    y = c0 + c1*m1*g1(k1 a1) + c2*m2*g2(k2 a2)
    y = c0 + c1*g1(k1 a1)*g2(k2 a2) [+ c2*x + c3*z ...]
    y = c0 + g1(k1 a1)*(c1 + c2*g2(k2 a2))

A *kind* is a family of inner_scan.py on one argument, perhaps with a column in front.  With the inner constants on coarse grids
the Gram matrix of all features tells how well every pair explains the target; a pair that is off the grid by a third can look
worse than a wrong one that happens to lie on it.  So what is ranked are kinds, each pair of kinds by its best places on the
grids, and some hundreds of them are fitted by the refiner with all constants free, which takes a fraction of a millisecond
each.  Where two terms do not settle it, the leaders get a third.  Also under 1/y and log y.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fansr.expressions import CONSTANT, compile_many, evaluate
from fansr.fitting import Budget, Candidate, Problem, Refiner, Schedule
from fansr.proposers.parts.expression_assembly import Base
from fansr.proposers.parts.inner_scan import Projector, Table, arguments, fixed, tables, usable
from fansr.proposers.parts.terms import thinned

ROWS = 160  # points that features are compared on
MOST_COLUMNS = 4  # two terms seldom hold more, and every pair of kinds costs
MAX_KINDS, MAX_ARGUMENTS = 125, 9
OF_ARGUMENTS, OF_COLUMNS = ("exp", "tanh", "sin", "cos", "inv", "log"), ("lorentz", "bell", "root")  # families
FITTED, LEADERS, THIRDS = 220, 10, 16  # pairs of kinds fitted; of these given a third term; third kinds for each
PLAN = Schedule(points=48, starts=1, first=12, more=0, keep=1, last=15, last_points=512, unwrap=0)
MIN_ROWS = 16
# Squared share of a feature that must be new to the other: two that are nearly one can imitate anything and would crowd the
# rest out, but of a single column all functions are alike.
SHARE, SHARE_OF_ONE = 1e-3, 1e-5
EXACT = 1e-20

Proposal = tuple[list[str], list[float]]  # an expression and the constants to start from


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Fitted candidates of two and three terms.  Bounded by counts; with a clock it ends when the budget is over."""
    problem = thinned(problem, rng)
    y = problem.y
    columns = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0]
    if len(y) < MIN_ROWS or not 0 < len(columns) <= MOST_COLUMNS or not usable(y, 0.0):
        return
    rows = np.sort(rng.permutation(len(y))[:ROWS])
    X = problem.X[rows]
    with np.errstate(all="ignore"):
        plain, bare = kinds_of(X, columns)
    if not bare:
        return
    kinds = Stack([*plain, *bare, *multiplied(X, columns, bare)][:MAX_KINDS], len(columns))
    alone = Stack([*plain, *bare], len(columns))
    fitter = Fitter(problem)
    for outside, target in views(y[rows]):
        found: list[Candidate] = []
        steps = (
            lambda: shared(kinds, target),
            lambda: sums(kinds, target),
            lambda: products(alone, X, columns, target),
            lambda: thirds(found, len(outside), kinds, X, target) if len(y) >= 2 * MIN_ROWS else [],
        )
        for step in steps:
            if budget.over():
                return
            with np.errstate(all="ignore"):
                proposals = step()
            got = fitter(outside, proposals)
            found += got
            yield got[:12]
            if any(c.fvu < EXACT for c in got):
                return


def views(y: np.ndarray) -> Iterator[tuple[Base, np.ndarray]]:
    """(tokens before the sum, what the sum must equal)."""
    yield (), y
    if (y > 0).all() or (y < 0).all():
        yield ("inv",), 1 / y
    if (y > 0).all():
        yield ("exp",), np.log(y)


# ---- kinds ------------------------------------------------------------------------------------


def kinds_of(X: np.ndarray, columns: list[int]) -> tuple[list[Table], list[Table]]:
    """Monomials without a constant, and functions with one of columns, products and ratios."""
    over = arguments(X, columns, "* /")
    plain = arguments(X, columns, "pow2 * / inv pow1_2")
    plain += [(("pow1_2", *base), np.sqrt(v)) for base, v in over if base[0] == "*" and v.min() >= 0]
    bare = tables(OF_ARGUMENTS, over[: max(MAX_ARGUMENTS, len(columns))])
    return [fixed(base, v) for base, v in plain], [*bare, *tables(OF_COLUMNS, [(b, v) for b, v in over if len(b) == 1])]


def multiplied(X: np.ndarray, columns: list[int], bare: list[Table]) -> list[Table]:
    """Kinds times, then over a column."""
    by = [((f"x{j + 1}",), X[:, j]) for j in columns]
    by += [(("inv", *base), 1 / v) for base, v in by if (v > 0).all()]
    found = [kind.times(base, v) for kind in bare for base, v in by]
    return [kind for kind in found if usable(kind.values).all()]


# ---- ranking pairs of kinds -------------------------------------------------------------------


class Stack:
    """Features of many kinds below each other: F (T, n) of size 1, `first` where each kind begins, `share` that must be new."""

    def __init__(self, kinds: list[Table], columns: int):
        F = np.concatenate([kind.values for kind in kinds])
        self.F = F / np.abs(F).max(axis=1)[:, None]
        self.share = SHARE if columns > 1 else SHARE_OF_ONE
        self.first = np.cumsum([0, *(len(kind.grid) for kind in kinds)])
        self.places = [(kind, constants) for kind in kinds for constants in kind.grid]

    def feature(self, i: int) -> Proposal:
        kind, constants = self.places[i]
        return [CONSTANT if token == "k" else token for token in kind.tokens], constants.tolist()

    def best_pairs(self, explained: np.ndarray, count: int, leave_out: int | None) -> list[tuple[int, int]]:
        """Features (i, j) of the best pairs of kinds by explained (T, T), each pair of kinds at its best places.

        leave_out: 0 for pairs of different kinds in one order, -1 for those with themselves too, None for both orders.
        """
        first = self.first[:-1]
        by_kind = np.maximum.reduceat(np.maximum.reduceat(explained, first, axis=0), first, axis=1)
        if leave_out is not None:
            by_kind[np.tril_indices(len(by_kind), leave_out)] = -1
        count = min(count, by_kind.size)
        flat = np.argpartition(-by_kind, count - 1, axis=None)[:count]
        flat = flat[np.argsort(-by_kind.ravel()[flat], kind="stable")]
        found = []
        for a, b in zip(*np.unravel_index(flat, by_kind.shape)):
            if by_kind[a, b] <= 0:
                break
            block = explained[self.first[a] : self.first[a + 1], self.first[b] : self.first[b + 1]]
            i, j = np.unravel_index(int(block.argmax()), block.shape)
            found.append((int(self.first[a] + i), int(self.first[b] + j)))
        return found


def sums(stack: Stack, y: np.ndarray) -> list[Proposal]:
    """c0 + c1*f1 + c2*f2 over the best pairs of kinds."""
    look = Projector([np.ones(len(y))], y / np.abs(y).max())
    B = look.rest(stack.F)
    B /= np.maximum(np.sqrt((B * B).sum(axis=1)), 1e-300)[:, None]
    b, g = B @ look.t / math.sqrt(float(look.t @ look.t)), B @ B.T
    fresh = 1 - g * g
    explained = (b[:, None] ** 2 + b[None, :] ** 2 - 2 * g * b[:, None] * b[None, :]) / np.maximum(fresh, stack.share)
    explained[fresh < stack.share] = -1
    found = []
    for pair in stack.best_pairs(explained, FITTED, 0):
        (first, k1), (second, k2) = map(stack.feature, pair)
        expr = ["+", "*", CONSTANT, *first, "+", "*", CONSTANT, *second, CONSTANT]
        found.append((expr, [1.0, *k1, 1.0, *k2, 0.0]))
    return found


def products(stack: Stack, X: np.ndarray, columns: list[int], y: np.ndarray) -> list[Proposal]:
    """c0 + c1*f1*f2, alone, with one column beside and with all of them."""
    F, n = stack.F, len(y)
    found: list[Proposal] = []
    squares = (F * F) @ (F * F).T
    spread = squares - (F @ F.T) ** 2 / n  # beside a constant alone
    for others in [[], *([j] for j in columns), *([columns] if len(columns) > 1 else [])]:
        look = Projector([np.ones(n), *(X[:, j] for j in others)], y / np.abs(y).max())
        if not look.t @ look.t > 0:
            continue
        left = spread - sum(((F * q) @ F.T) ** 2 for q in look.Q.T[1:])
        explained = ((F * look.t) @ F.T) ** 2 / float(look.t @ look.t) / np.maximum(left, stack.share * squares)
        explained[left < stack.share * squares] = -1
        rest = [token for j in others for token in ("+", "*", CONSTANT, f"x{j + 1}")]
        for pair in stack.best_pairs(explained, FITTED // 4 if others else FITTED, -1):
            (first, k1), (second, k2) = map(stack.feature, pair)
            expr = ["+", "*", CONSTANT, "*", *first, *second, *rest, CONSTANT]
            found.append((expr, [1.0, *k1, *k2, *[1.0] * len(others), 0.0]))
    return found


def shared(stack: Stack, y: np.ndarray) -> list[Proposal]:
    """c0 + f1*(c1 + c2*f2)."""
    F, n = stack.F, len(y)
    t = (y - y.mean()) / (np.abs(y - y.mean()).max() or 1.0)
    u, total = F.mean(axis=1), float(t @ t)
    mean = F @ F.T / n
    uu = (F * F).sum(axis=1) - n * u * u
    up = (F * F) @ F.T - n * u[:, None] * mean  # (T, T): f1 with f1*f2
    pp = (F * F) @ (F * F).T - n * mean**2
    bu, bp = (F @ t)[:, None], (F * t) @ F.T
    fresh = uu[:, None] * pp - up**2
    good = (pp > stack.share * n * mean**2) & (fresh > stack.share * uu[:, None] * pp)
    explained = (bu**2 * pp + bp**2 * uu[:, None] - 2 * bu * bp * up) / np.where(good, fresh, 1.0) / total
    found = []
    for pair in stack.best_pairs(np.where(good, explained, -1), FITTED, None):
        (first, k1), (second, k2) = map(stack.feature, pair)
        expr = ["+", "*", *first, "+", "*", CONSTANT, *second, CONSTANT, CONSTANT]
        found.append((expr, [*k1, 1.0, *k2, 1.0, 0.0]))
    return found


def thirds(known: list[Candidate], outside: int, stack: Stack, X: np.ndarray, y: np.ndarray) -> list[Proposal]:
    """The leaders with one more term each: the kinds that explain most of what the leader leaves.

    What is fitted already are, to first order, the leader's own values and a constant.
    """
    found = []
    for leader in sorted(known, key=lambda c: c.fvu)[:LEADERS]:
        inner = leader.expr[outside:]
        values = evaluate(inner, X, leader.consts)
        if not usable(values):
            continue
        shares = Projector([np.ones(len(y)), values], y / np.abs(y).max()).shares(stack.F, stack.share)
        best = np.minimum.reduceat(shares, stack.first[:-1])
        for kind in np.argsort(best, kind="stable")[:THIRDS]:
            here = slice(stack.first[kind], stack.first[kind + 1])
            tokens, k = stack.feature(int(stack.first[kind] + shares[here].argmin()))
            found.append((["+", "*", CONSTANT, *tokens, *inner], [1.0, *k, *leader.consts]))
    return found


# ---- fitting ----------------------------------------------------------------------------------


class Fitter:
    """Fits proposals with all constants free; the best first, the first few polished."""

    def __init__(self, problem: Problem):
        self.refiner = Refiner(problem.X, problem.y, weights=problem.weights)
        self.M = len(problem.y)

    def __call__(self, outside: Base, proposals: list[Proposal]) -> list[Candidate]:
        proposals = [p for p in proposals if len(p[1]) < self.M // 2]
        if not proposals:
            return []
        exprs = [[*outside, *expr] for expr, _ in proposals]
        given = np.full((len(exprs), max(len(start) for _, start in proposals)), np.nan)
        for row, (_, start) in zip(given, proposals):
            row[: len(start)] = start
        programs = compile_many(exprs)
        fvu, consts = self.refiner.run(programs, PLAN, given=given)
        found = []
        for k in [k for k in np.argsort(fvu, kind="stable")[:24] if np.isfinite(fvu[k])]:
            error, values = float(fvu[k]), consts[k, : programs.n_constants[k]].copy()
            if len(found) < 3 and error > EXACT:
                error, values = self.refiner.polish(exprs[k], values)
            found.append(Candidate(exprs[k], values, float(error), "pairs"))
        return sorted(found, key=lambda c: c.fvu)
