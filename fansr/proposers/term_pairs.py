"""Two terms with an inner constant each, and products of two beside a background, all kinds of them: a proposer.

    y = c0 + c1*m1*g1(k1 a1) + c2*m2*g2(k2 a2)
    y = c0 + c1*g1(k1 a1)*g2(k2 a2) [+ c2*x + c3*z ...]
    y = c0 + g1(k1 a1)*(c1 + c2*g2(k2 a2))

A *kind* is a function, its argument and a multiplier.  With the inner constants on coarse grids the Gram matrix of all features
tells how well every pair explains the target; a pair that is off the grid by a third can look worse than a wrong one that happens
to lie on it.  So what is ranked are kinds, each pair of kinds by its best places on the grids, and some hundreds of them are fitted
by the refiner with all constants free, which takes a fraction of a millisecond each.  Where two terms do not settle it, the
leaders get a third.  Also under 1/y and log y.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from fansr.expressions import CONSTANT, compile_many, evaluate
from fansr.fitting import Budget, Candidate, Problem, Refiner, Schedule
from fansr.proposers.parts.terms import thinned

ROWS = 160  # points that features are compared on
GRID = np.array([0.08, 0.2, 0.45, 0.9, 1.8, 3.5, 7.0])  # k times the argument's largest size
TURNS = np.array([0.25, 0.5, 0.85, 1.3, 1.9, 2.7, 3.6])  # half turns to the argument's range, for waves
MOST_COLUMNS = 4  # two terms seldom hold more, and every pair of kinds costs
MAX_KINDS, MAX_ARGUMENTS = 170, 9
FITTED, LEADERS, THIRDS = 220, 10, 16  # pairs of kinds fitted; of these given a third term; third kinds for each
PLAN = Schedule(points=48, starts=1, first=12, more=0, keep=1, last=15, last_points=512, unwrap=0)
MIN_ROWS = 16
# Squared share of a feature that must be new to the other: two that are nearly one can imitate anything and would crowd the
# rest out, but of a single column all functions are alike.
SHARE, SHARE_OF_ONE = 1e-3, 1e-5
EXACT = 1e-20


class Kind(NamedTuple):
    """A function of one constant: its tokens with one CONSTANT (none for a plain monomial), values (K, n), the grid (K,) or NaN."""

    tokens: tuple[str, ...]
    values: np.ndarray
    grid: np.ndarray


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Fitted candidates of two and three terms.  Bounded by counts; with a clock it ends when the budget is over."""
    problem = thinned(problem, rng)
    y = problem.y
    columns = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0]
    if (
        len(y) < MIN_ROWS
        or not 0 < len(columns) <= MOST_COLUMNS
        or not np.ptp(y) > 0
        or not 1e-100 < np.abs(y).max() < 1e100
    ):
        return
    rows = np.sort(rng.permutation(len(y))[:ROWS])
    X = problem.X[rows]
    with np.errstate(all="ignore"):
        bare, plain = functions(X, columns), monomials(X, columns)
        kinds = [*plain, *bare, *multiplied(X, columns, bare)][:MAX_KINDS]
    if not bare:
        return
    fitter = Fitter(problem)
    for outside, target in views(y[rows]):
        with np.errstate(all="ignore"):
            steps = (
                lambda: shared(kinds, target),
                lambda: sums(kinds, target),
                lambda: products([*plain, *bare], X, columns, target),
            )
        found: list[Candidate] = []
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
        leaders = [c for c in sorted(found, key=lambda c: c.fvu)[:LEADERS] if c.fvu > EXACT]
        if budget.over() or len(y) < 2 * MIN_ROWS:
            return
        with np.errstate(all="ignore"):
            proposals = thirds(leaders, outside, kinds, X, target)
        got = fitter(outside, proposals)
        yield got[:12]
        if any(c.fvu < EXACT for c in got):
            return


def views(y: np.ndarray) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """(tokens before the sum, what the sum must equal)."""
    yield (), y
    if (y > 0).all() or (y < 0).all():
        yield ("inv",), 1 / y
    if (y > 0).all():
        yield ("exp",), np.log(y)


# ---- kinds ------------------------------------------------------------------------------------


def _usable(values: np.ndarray) -> np.ndarray:
    size = np.abs(values).max(axis=1)
    return np.isfinite(size) & (size > 0) & (np.ptp(values, axis=1) > 1e-7 * size)


def _kind(tokens, values, grid) -> Kind | None:
    good = _usable(values)
    return (
        Kind(tuple(tokens), values[good] / np.abs(values[good]).max(axis=1)[:, None], grid[good])
        if good.any()
        else None
    )


def arguments(X: np.ndarray, columns: list[int]) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
    """Columns, then products and ratios of two, then differences."""
    for j in columns:
        yield (f"x{j + 1}",), X[:, j]
    pairs = [(i, j) for n, j in enumerate(columns) for i in columns[:n]]
    for i, j in pairs:
        yield ("*", f"x{i + 1}", f"x{j + 1}"), X[:, i] * X[:, j]
    for i, j in [(i, j) for i, j in pairs] + [(j, i) for i, j in pairs]:
        yield ("/", f"x{i + 1}", f"x{j + 1}"), X[:, i] / X[:, j]


def functions(X: np.ndarray, columns: list[int]) -> list[Kind]:
    """Functions with one inner constant of columns, products and ratios."""
    found = []
    usable = [(a, v) for a, v in arguments(X, columns) if np.isfinite(v).all() and np.ptp(v) > 1e-9 * np.abs(v).max()]
    for a, v in usable[: max(MAX_ARGUMENTS, len(columns))]:
        size, u = float(np.abs(v).max()), v[None, :]
        k, waves = GRID[:, None] / size, (TURNS * np.pi / float(np.ptp(v)))[:, None]
        scaled = ("*", CONSTANT, *a)
        found += [_kind(("exp", *scaled), np.exp(-k * u), -k[:, 0]), _kind(("exp", *scaled), np.exp(k * u), k[:, 0])]
        found += [
            _kind(("tanh", *scaled), np.tanh(k * u), k[:, 0]),
            _kind(("sin", *scaled), np.sin(waves * u), waves[:, 0]),
            _kind(("cos", *scaled), np.cos(waves * u), waves[:, 0]),
        ]
        shift = 1 / k
        if v.min() > 0:
            found += [
                _kind(("inv", "+", *a, CONSTANT), 1 / (u + shift), shift[:, 0]),
                _kind(("log", "+", *a, CONSTANT), np.log(u + shift), shift[:, 0]),
            ]
        if len(a) == 1:
            found += [
                _kind(("inv", "+", "pow2", *a, CONSTANT), 1 / (u * u + shift**2), shift[:, 0] ** 2),
                _kind(("exp", "*", CONSTANT, "pow2", *a), np.exp(-((k * u) ** 2)), -(k[:, 0] ** 2)),
                _kind(("pow1_2", "+", "pow2", *a, CONSTANT), np.sqrt(u * u + shift**2), shift[:, 0] ** 2),
            ]
    return [kind for kind in found if kind is not None]


def monomials(X: np.ndarray, columns: list[int]) -> list[Kind]:
    """Columns, their squares, roots and inverses, products and ratios of two: kinds without a constant."""
    terms = [((f"x{j + 1}",), X[:, j]) for j in columns]
    terms += [(("pow2", f"x{j + 1}"), X[:, j] ** 2) for j in columns]
    terms += list(arguments(X, columns))[len(columns) :]
    terms += [(("inv", f"x{j + 1}"), 1 / X[:, j]) for j in columns]
    terms += [(("pow1_2", f"x{j + 1}"), np.sqrt(X[:, j])) for j in columns]
    terms += [
        (("pow1_2", "*", f"x{i + 1}", f"x{j + 1}"), np.sqrt(X[:, i] * X[:, j]))
        for n, j in enumerate(columns)
        for i in columns[:n]
    ]
    found = [_kind(tokens, values[None, :], np.array([math.nan])) for tokens, values in terms]
    return [kind for kind in found if kind is not None][:40]


def multiplied(X: np.ndarray, columns: list[int], bare: list[Kind]) -> list[Kind]:
    """Kinds times or over a column, those of single columns first."""
    found = []
    for divide in (False, True):
        for kind in bare:
            for j in columns[:5]:
                if divide and not (X[:, j] > 0).all():
                    continue
                values = kind.values / X[:, j] if divide else kind.values * X[:, j]
                found.append(
                    _kind(
                        (
                            "/" if divide else "*",
                            *((*kind.tokens, f"x{j + 1}") if divide else (f"x{j + 1}", *kind.tokens)),
                        ),
                        values,
                        kind.grid,
                    )
                )
    return [kind for kind in found if kind is not None]


# ---- ranking pairs of kinds -------------------------------------------------------------------


class Stack:
    """Features of many kinds below each other: F (T, n), `of` (T,) the kind's number, `first` where each kind begins."""

    def __init__(self, kinds: list[Kind]):
        self.kinds = kinds
        columns = {token for kind in kinds for token in kind.tokens if token[0] == "x"}
        self.share = SHARE if len(columns) > 1 else SHARE_OF_ONE
        self.F = np.concatenate([kind.values for kind in kinds])
        lengths = np.array([len(kind.grid) for kind in kinds])
        self.first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self.grid = np.concatenate([kind.grid for kind in kinds])
        self.of = np.repeat(np.arange(len(kinds)), lengths)

    def best_pairs(self, explained: np.ndarray, count: int, leave_out: int | None) -> list[tuple[int, int]]:
        """Features (i, j) of the best pairs of kinds by explained (T, T), each pair of kinds at its best places.

        leave_out: 0 for pairs of different kinds in one order, -1 for those with themselves too, None for both orders.
        """
        by_kind = np.maximum.reduceat(np.maximum.reduceat(explained, self.first, axis=0), self.first, axis=1)
        if leave_out is not None:
            by_kind[np.tril_indices(len(by_kind), leave_out)] = -1
        count = min(count, by_kind.size)
        flat = np.argpartition(-by_kind, count - 1, axis=None)[:count]
        flat = flat[np.argsort(-by_kind.ravel()[flat], kind="stable")]
        stops = np.append(self.first[1:], len(self.F))
        found = []
        for a, b in zip(*np.unravel_index(flat, by_kind.shape)):
            if by_kind[a, b] <= 0:
                break
            block = explained[self.first[a] : stops[a], self.first[b] : stops[b]]
            i, j = np.unravel_index(int(block.argmax()), block.shape)
            found.append((int(self.first[a] + i), int(self.first[b] + j)))
        return found


Proposal = tuple[list[str], list[float]]  # an expression and the constants to start from


def sums(kinds: list[Kind], y: np.ndarray) -> list[Proposal]:
    """c0 + c1*f1 + c2*f2 over the best pairs of kinds."""
    stack = Stack(kinds)
    t = (y - y.mean()) / (np.abs(y - y.mean()).max() or 1.0)
    B = stack.F - stack.F.mean(axis=1)[:, None]
    B /= np.maximum(np.sqrt((B * B).sum(axis=1)), 1e-300)[:, None]
    b, g = B @ t / math.sqrt(float(t @ t)), B @ B.T
    fresh = 1 - g * g
    explained = (b[:, None] ** 2 + b[None, :] ** 2 - 2 * g * b[:, None] * b[None, :]) / np.maximum(fresh, stack.share)
    explained[fresh < stack.share] = -1
    return [_sum([(stack, i), (stack, j)]) for i, j in stack.best_pairs(explained, FITTED, 0)]


def products(kinds: list[Kind], X: np.ndarray, columns: list[int], y: np.ndarray) -> list[Proposal]:
    """c0 + c1*f1*f2, alone, with one column beside and with all of them."""
    stack = Stack(kinds)
    F, n = stack.F, len(y)
    found: list[Proposal] = []
    squares = (F * F) @ (F * F).T
    one = F @ F.T / math.sqrt(n)
    beside = [[], *([j] for j in columns[:5]), *([columns[:5]] if len(columns) > 1 else [])]
    for others in beside:
        Q = np.linalg.qr(np.column_stack([np.ones(n), *(X[:, j] for j in others)]))[0]
        t = y / np.abs(y).max()
        t = t - Q @ (Q.T @ t)
        if not t @ t > 0:
            continue
        left = squares - one**2
        for q in Q.T[1:]:
            left -= ((F * q) @ F.T) ** 2
        explained = ((F * t) @ F.T) ** 2 / float(t @ t) / np.maximum(left, stack.share * squares)
        explained[left < stack.share * squares] = -1
        for a, b in stack.best_pairs(explained, FITTED // 4 if others else FITTED, -1):
            expr, start = _product(stack, a, b)
            rest = [token for j in others for token in ("+", "*", CONSTANT, f"x{j + 1}")]
            found.append((["+", "*", CONSTANT, *expr, *rest, CONSTANT], [1.0, *start, *[1.0] * len(others), 0.0]))
    return found


def shared(kinds: list[Kind], y: np.ndarray) -> list[Proposal]:
    """c0 + f1*(c1 + c2*f2)."""
    stack = Stack(kinds)
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
    explained = np.where(
        good, (bu**2 * pp + bp**2 * uu[:, None] - 2 * bu * bp * up) / np.where(good, fresh, 1.0) / total, -1
    )
    found = []
    for i, j in stack.best_pairs(explained, FITTED, None):
        (first, k1), (second, k2) = _feature(stack, i), _feature(stack, j)
        found.append((["+", "*", *first, "+", "*", CONSTANT, *second, CONSTANT, CONSTANT], [*k1, 1.0, *k2, 1.0, 0.0]))
    return found


def _feature(stack: Stack, i: int) -> Proposal:
    kind, k = stack.kinds[stack.of[i]], float(stack.grid[i])
    return list(kind.tokens), [] if math.isnan(k) else [k]


def _product(stack: Stack, a: int, b: int) -> Proposal:
    (first, k1), (second, k2) = _feature(stack, a), _feature(stack, b)
    return ["*", *first, *second], [*k1, *k2]


def _sum(features: list[tuple[Stack, int]]) -> Proposal:
    expr, start = [], []
    for stack, i in features:
        tokens, k = _feature(stack, i)
        expr += ["+", "*", CONSTANT, *tokens]
        start += [1.0, *k]
    return [*expr, CONSTANT], [*start, 0.0]


def thirds(leaders: list[Candidate], outside, kinds: list[Kind], X: np.ndarray, y: np.ndarray) -> list[Proposal]:
    """The leaders with one more term each: the kinds that explain most of what the leader leaves."""
    stack, found = Stack(kinds), []
    for leader in leaders:
        inner = leader.expr[len(outside) :]
        r = y - evaluate(inner, X, leader.consts)
        r = (r - r.mean()) / (np.abs(r).max() or 1.0)
        if not np.isfinite(r).all() or not r @ r > 0:
            continue
        # What is fitted already, to first order: the leader's own values and a constant.
        Q = np.linalg.qr(np.column_stack([np.ones(len(y)), evaluate(inner, X, leader.consts)]))[0]
        B = stack.F - (stack.F @ Q) @ Q.T
        share = (B * B).sum(axis=1)
        gain = np.where(
            share > stack.share * (stack.F * stack.F).sum(axis=1), (B @ r) ** 2 / np.maximum(share, 1e-300), -1
        )
        best = np.maximum.reduceat(gain, stack.first)
        for kind in np.argsort(-best, kind="stable")[:THIRDS]:
            stop = stack.first[kind] + len(kinds[kind].grid)
            i = stack.first[kind] + int(gain[stack.first[kind] : stop].argmax())
            tokens, k = _feature(stack, i)
            found.append((["+", "*", CONSTANT, *tokens, *inner], [1.0, *k, *leader.consts]))
    return found


# ---- fitting ----------------------------------------------------------------------------------


class Fitter:
    """Fits proposals with all constants free; the best first."""

    def __init__(self, problem: Problem):
        self.refiner: Callable | Refiner = Refiner(problem.X, problem.y, weights=problem.weights)
        self.M = len(problem.y)

    def __call__(self, outside, proposals: list[Proposal]) -> list[Candidate]:
        proposals = [p for p in proposals if len(p[1]) < self.M // 2]
        if not proposals:
            return []
        exprs = [[*outside, *expr] for expr, _ in proposals]
        most = max(len(start) for _, start in proposals)
        given = np.full((len(exprs), most), np.nan)
        for row, (_, start) in zip(given, proposals):
            row[: len(start)] = start
        programs = compile_many(exprs)
        fvu, consts = self.refiner.run(programs, PLAN, given=given)
        order = [k for k in np.argsort(fvu, kind="stable")[:24] if np.isfinite(fvu[k])]
        found = []
        for rank, k in enumerate(order):
            values = consts[k, : programs.n_constants[k]].copy()
            error = float(fvu[k])
            if rank < 3 and error > EXACT:
                error, values = self.refiner.polish(exprs[k], values)
            found.append(Candidate(exprs[k], values, float(error), "pairs"))
        return sorted(found, key=lambda c: c.fvu)
