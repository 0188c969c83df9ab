"""Laws made of functions of one column each, taken apart by splines: f(y) = k + prod over groups of sum of h_j(x_j); a proposer.

Every way of dealing the columns into groups is one model: all in one group is a sum of functions of single columns, each in
a group of its own a product of them over an offset, two and two a product of two sums.  With splines for the h_j the model
is linear in each group while the others stand still, so a few rounds of least squares fit it, and unseen rows tell which
dealing holds.  Then each h_j is a table of one column, smooth and nearly free of noise, which curves.py takes quickly; its
best are put together and polished on the problem itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice, product as every
from typing import NamedTuple

import numpy as np

from fansr.expressions import children, literal_value
from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.curves import curves
from fansr.proposers.parts.assembly import Base, Polisher, measured
from fansr.proposers.parts.terms import thinned
from fansr.proposers.power import scale_of

MIN_ROWS = 40
MAX_COLUMNS = 5  # 52 dealings
ROWS = 1500  # points the splines use
COMPARED = 300  # of them, while dealings are compared
KNOTS, FINE = 5, (14, 30)  # knots of a column while dealings are compared, and of the one that holds
ROUNDS, SOME_ROUNDS, FIRST_ROUNDS = 30, 8, 3
FOLD = 4  # every fourth row is unseen
HOLDS = 0.05  # unexplained share of unseen rows up to which a dealing is followed
FOLLOWED, KEPT = 3, 4  # dealings fitted to the end for each function of y, and in all taken to pieces
SURE = 1e-8  # unseen error of a dealing that leaves no need to look at other functions of y
MUCH_WORSE = 1e3  # times the unseen error of the best dealing
PIECES, COMBINED = 4, 24  # candidates of each piece, and combinations of them
TELL = 10.0  # times what the splines left open: laws of pieces that err less cannot be told apart
BEATEN = 0.1  # share of a dealing's unseen error that another law must reach to spare it
FLAT = 1e-3  # share of its group's spread below which a piece is nothing
EXACT = 1e-20


class Outer(NamedTuple):
    """y = wrap(S): `undo` gives S, where `positive` y are asked for."""

    undo: object
    wrap: object
    positive: bool


OUTERS = (
    Outer(lambda y: y, lambda inner: inner, False),
    Outer(np.log, lambda inner: ("exp", *inner), True),
    Outer(lambda y: 1 / y, lambda inner: ("inv", *inner), False),
    Outer(np.square, lambda inner: ("pow1_2", *inner), True),
    Outer(np.exp, lambda inner: ("log", *inner), False),
)


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates put together from functions of one column; FVUs on the problem's rows (thinned to some thousands).

    Bounded by counts; with a clock it ends when the budget is over.
    """
    problem = thinned(problem, rng)
    columns = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0]
    if len(problem.y) < MIN_ROWS or not 2 <= len(columns) <= MAX_COLUMNS or not np.ptp(problem.y) > 0:
        return
    rows = rng.permutation(len(problem.y))[:ROWS]
    X = problem.X[np.ix_(rows, columns)]
    models = []
    for outer in OUTERS:
        S = _undone(problem.y[rows], outer)
        if S is None:
            continue
        for model in dealings_that_hold(X, S, rng):
            if budget.over():
                return
            if model is None:
                yield []
            else:
                models.append((model, outer))
        if models and min(model.error for model, _ in models) < SURE:
            break
    # Where two dealings hold, as products do in y and sums in log y, the one that holds better is the truer.
    models.sort(key=lambda item: item[0].error)
    polish = Polisher(problem)
    models = [item for item in models[:KEPT] if item[0].error <= max(MUCH_WORSE * models[0][0].error, 1e-9)]
    for second in (False, True):
        for model, outer in models:
            if pool is not None and pool.best is not None and pool.best.fvu < BEATEN * model.error:
                continue  # what was found already is better than the splines, so they are not the law
            for batch in laws_of(model, X, columns, outer, budget, second):
                found = polish(measured(problem, batch, "separable"), COMBINED // 2, 6.0)
                yield found
                if budget.over() or any(c.fvu < EXACT for c in found):
                    return


@np.errstate(all="ignore")
def _undone(y: np.ndarray, outer: Outer) -> np.ndarray | None:
    """The function of y that is to be taken apart; None where y is outside of its domain."""
    if outer.positive and not (y > 0).all():
        return None
    S = outer.undo(y)
    if not np.isfinite(S).all() or not np.ptp(S) > 0:
        return None
    return S


# ---- splines ----------------------------------------------------------------------------------


def spline(x: np.ndarray, knots: int) -> np.ndarray:
    """Cubic B-splines of one column on its quantiles (M, n), centred, the last left out: with a constant they span all.

    Columns that span decades are taken by their logarithm.
    """
    u = np.log(x) if x.min() > 0 and x.max() > 8 * x.min() else x
    u = (u - u.min()) / (np.ptp(u) or 1.0)
    inner = np.unique(np.quantile(u, np.linspace(0, 1, knots + 2)[1:-1]))
    inner = inner[(inner > 1e-9) & (inner < 1 - 1e-9)]
    B = b_splines(u, np.r_[[0.0] * 4, inner, [1.0] * 4])
    B = B[:, B.max(axis=0) > 1e-6][:, :-1]
    return B - B.mean(axis=0)


def b_splines(u: np.ndarray, knots: np.ndarray, degree: int = 3) -> np.ndarray:
    """Values (M, n) of the B-splines on a knot vector with full ends, by de Boor's recursion.

    scipy.interpolate has them too, but loading it takes a third of a second, which a fit of one second cannot spare.
    """
    at = np.clip(np.searchsorted(knots, u, side="right") - 1, degree, len(knots) - degree - 2)
    B = (np.arange(len(knots) - 1) == at[:, None]).astype(float)  # (M, intervals)
    for d in range(1, degree + 1):
        n = len(knots) - 1 - d
        width, after = knots[d : d + n] - knots[:n], knots[d + 1 : d + 1 + n] - knots[1 : n + 1]
        left = (u[:, None] - knots[:n]) / np.where(width > 0, width, 1.0)
        right = (knots[d + 1 : d + 1 + n] - u[:, None]) / np.where(after > 0, after, 1.0)
        B = np.where(width > 0, left, 0.0) * B[:, :n] + np.where(after > 0, right, 0.0) * B[:, 1 : n + 1]
    return B


class Model(NamedTuple):
    """One dealing fitted: S = offset + prod of `factors`, each (M,) the sum of its group's `pieces` and a constant."""

    error: float  # unexplained share of the unseen rows' spread
    groups: tuple[tuple[int, ...], ...]
    offset: float
    factors: list[np.ndarray]
    pieces: list[dict[int, np.ndarray]]  # for each group: column -> its function's values (M,), centred


def dealings(n: int) -> list[tuple[tuple[int, ...], ...]]:
    """All ways to deal n things into groups, as sorted tuples."""
    ways: list[list[list[int]]] = [[]]
    for j in range(n):
        ways = [
            [*(group + [j] if k == at else group for k, group in enumerate(way)), *([[j]] if at == len(way) else [])]
            for way in ways
            for at in range(len(way) + 1)
        ]
    return [tuple(map(tuple, way)) for way in ways]


def dealings_that_hold(X: np.ndarray, S: np.ndarray, rng) -> Iterator[Model | None]:
    """Fitted models of the dealings that unseen rows bear out; None while at work."""
    M, D = X.shape
    few = slice(0, COMPARED)  # the rows come in no order of their values
    knots = min(KNOTS, (min(M, COMPARED) // 2) // D - 4)
    if knots < 1:
        return
    size = scale_of(S)
    blocks = [spline(x, knots) for x in X[few].T]
    for groups in most_likely(blocks, S[few] / size, rng)[:FOLLOWED]:
        yield None
        whole = [spline(x, knots) for x in X.T]
        model = fit(whole, groups, S / size, main_effects(whole, groups, S / size), SOME_ROUNDS)
        if model.error > 0.5:  # where main effects vanish they say nothing
            model = min(
                model, fit(whole, groups, S / size, _start(whole, groups, rng), SOME_ROUNDS), key=lambda m: m.error
            )
        if model.error < 2 * HOLDS:
            model = fit(whole, groups, S / size, model.factors, ROUNDS)
        for finer in FINE:
            if model.error < HOLDS and 2 * D * (finer + 4) < M:
                yield None
                fine = fit([spline(x, finer) for x in X.T], groups, S / size, model.factors, ROUNDS)
                model = min(model, fine, key=lambda m: m.error)
        if model.error < HOLDS:
            yield model._replace(
                offset=model.offset * size,
                factors=[model.factors[0] * size, *model.factors[1:]],
                pieces=[{j: v * size for j, v in model.pieces[0].items()}, *model.pieces[1:]],
            )


def most_likely(blocks, S: np.ndarray, rng) -> list[tuple]:
    """The dealings by their errors after a few rounds, from main effects and, where these say little, a random start too."""
    errors = {}
    for groups in dealings(len(blocks)):
        errors[groups] = fit(blocks, groups, S, main_effects(blocks, groups, S), FIRST_ROUNDS).error
    if min(errors.values()) > HOLDS:
        for groups in errors:
            if len(groups) > 1:
                errors[groups] = min(
                    errors[groups], fit(blocks, groups, S, _start(blocks, groups, rng), FIRST_ROUNDS).error
                )
    return sorted((groups for groups in errors if errors[groups] < 0.5), key=errors.get)


def _start(blocks, groups, rng) -> list[np.ndarray]:
    return [1 + 0.5 * _random(blocks, group, rng) for group in groups]


def _random(blocks, group, rng) -> np.ndarray:
    """A random smooth function of a group's columns, of size 1."""
    v = sum(blocks[j] @ rng.normal(size=blocks[j].shape[1]) for j in group)
    return v / (v.std() or 1.0)


def main_effects(blocks, groups, S: np.ndarray) -> list[np.ndarray]:
    """What each group explains on its own, as first guesses of the factors."""
    A = np.column_stack([np.ones(len(S)), *blocks])
    c = _ridge(A, S)
    effects, at = [], 1
    for block in blocks:
        effects.append(block @ c[at : at + block.shape[1]])
        at += block.shape[1]
    return [float(S.mean()) + sum(effects[j] for j in group) for group in groups]


def fit(blocks, groups, S: np.ndarray, factors: list[np.ndarray], rounds: int) -> Model:
    """Rounds of least squares over the groups, each with the others still, on three rows of four."""
    seen = np.arange(len(S)) % FOLD != 0
    one = np.ones((len(S), 1))
    designs = [np.column_stack([one, *(blocks[j] for j in group)]) for group in groups]
    factors, coefficients, offset = list(factors), [None] * len(groups), 0.0
    last = math.inf
    for _ in range(rounds):
        for k, A in enumerate(designs):
            rest = _product(f for i, f in enumerate(factors) if i != k)
            whole = A if len(groups) == 1 else np.column_stack([one, A * rest[:, None]])
            c = _ridge(whole[seen], S[seen])
            offset, c = (0.0, c) if len(groups) == 1 else (float(c[0]), c[1:])
            coefficients[k], factors[k] = c, A @ c
            if k + 1 < len(designs):  # the last keeps the scale of all
                size = float(np.sqrt(np.mean(factors[k] ** 2))) or 1.0
                coefficients[k], factors[k] = c / size, factors[k] / size
        residual = S - offset - _product(factors)
        error = _spread(residual[~seen]) / _spread(S[~seen] - S[~seen].mean())
        if not math.isfinite(error):
            return Model(math.inf, groups, 0.0, factors, [{} for _ in groups])
        if len(groups) == 1 or abs(last - error) < 1e-3 * error:
            break
        last = error
    pieces = []
    for group, c in zip(groups, coefficients):
        at, own = 1, {}
        for j in group:
            own[j] = blocks[j] @ c[at : at + blocks[j].shape[1]]
            at += blocks[j].shape[1]
        pieces.append(own)
    return Model(error, groups, offset, factors, pieces)


def _product(factors) -> np.ndarray:
    return math.prod(factors, start=np.float64(1.0))


def _spread(residual: np.ndarray) -> float:
    """Mean square of the smaller nine tenths: a pole somewhere must not blind the test everywhere."""
    squares = np.sort(residual**2)
    return float(squares[: max(1, int(0.9 * len(squares)))].mean()) + 1e-300


def _ridge(A: np.ndarray, t: np.ndarray) -> np.ndarray:
    G = A.T @ A
    G[np.diag_indices_from(G)] += 1e-9 * np.trace(G) / len(G) + 1e-300
    return np.linalg.solve(G, A.T @ t)


# ---- pieces -----------------------------------------------------------------------------------


def laws_of(
    model: Model, X: np.ndarray, columns: list[int], outer: Outer, budget: Budget, second: bool
) -> Iterator[list[Base]]:
    """Laws of the whole problem: the best of each piece in all likely combinations; empty lists while at work.

    `second` says whether pieces may have two terms, which takes six times as long.
    """
    choices, places = [], []
    whole = float(np.var(math.prod(model.factors, start=np.float64(1.0))))
    for k, group in enumerate(model.groups):
        spread = float(np.std(model.factors[k])) or 1.0
        shown = [j for j in group if np.std(model.pieces[k].get(j, 0.0)) > FLAT * spread]
        for j in shown:
            # Alone in its group a function keeps its constant; in a sum the constants are one.
            values = model.factors[k] if len(shown) == 1 else model.pieces[k][j]
            found = piece(X[:, j], values, model.error * whole / max(float(np.var(values)), 1e-300), second)
            yield []
            if not found or budget.over():
                return
            choices.append([tuple(t if t != "x1" else f"x{columns[j] + 1}" for t in law) for law in found])
            places.append(k)
    if len(choices) > 1:
        yield [outer.wrap(_together(model, picked, places)) for picked in islice(_by_rank(choices), COMBINED)]


def _together(model: Model, picked, places) -> Base:
    """offset + product of the sums of the picked pieces; constants near nothing are there for polishing to find."""
    factors = []
    for k in dict.fromkeys(places):
        terms = [law for law, place in zip(picked, places) if place == k]
        constant = float(np.mean(model.factors[k]))
        if len(terms) > 1:  # one constant for all of them
            terms, own = zip(*map(_without_constant, terms))
            constant += sum(own)
        body = terms[0]
        for term in terms[1:]:
            body = ("+", *body, *term)
        if len(terms) > 1:
            body = ("+", *body, repr(constant or 0.01))
        factors.append(body)
    law = factors[0]
    for factor in factors[1:]:
        law = ("*", *law, *factor)
    return ("+", *law, repr(float(model.offset))) if len(factors) > 1 else law


def _without_constant(law: Base) -> tuple[Base, float]:
    """A law without the number it ends in, and that number."""
    if law[0] in "+-":
        at = children(list(law))[1]
        value = literal_value(law[at]) if at == len(law) - 1 else None
        if value is not None:
            return law[1:at], value if law[0] == "+" else -value
    return law, 0.0


def piece(x: np.ndarray, values: np.ndarray, open_: float, second: bool) -> list[Base]:
    """The best laws of one function of one column, in x1; `open_` is the share of its spread that the splines left open.

    The outermost points, where splines err most, are not looked at.
    """
    rows = np.argsort(x, kind="stable")[len(x) // 50 : len(x) - len(x) // 50]
    found = curves(x[rows], values[rows], floor=max(TELL * open_, 1e-12), second=second)
    return [law for share, law in found if share < 0.05][:PIECES]


def _by_rank(choices: list[list[Base]]) -> Iterator[list[Base]]:
    """One of each list, the combinations with the smallest sum of places first."""
    places = sorted(every(*(range(len(options)) for options in choices)), key=lambda p: (sum(p), p))
    for place in places:
        yield [options[i] for options, i in zip(choices, place)]
