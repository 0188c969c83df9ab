"""Laws with one constant outside of a sum, found exactly: y = A + f(P), A*x + f(P), A*f(P), m*f(P), g(A x)*P,
sqrt(A*x + sqrt(P)); a proposer.

P is a sum of few of many monomials.  With A known, the inverse of f makes P of y, and one projection says what share of that no
sum of the monomials explains: the *misfit*.  It falls to rounding at the true A and is smooth around it, so a coarse grid of A is
scanned for every view at once (a projection costs microseconds), the lowest places are narrowed by golden section, and where
the misfit vanishes the terms of P are read off the solution as in rational.py.

    sqrt, cbrt, 1/., exp, log, square, tanh, asin and the logistic function stand for f; monomials of one or two columns for m.

As rational.py, for exact tables only: noise leaves no misfit that vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.candidates import proposals
from fansr.proposers.parts.exact_support import support
from fansr.proposers.parts.expression_assembly import (
    HALF,
    ONE,
    Base,
    Factors,
    Term,
    combination,
    merged,
    near_simple,
    product,
    scale_of,
    times,
)
from fansr.proposers.parts.inner_scan import FAMILIES, Projector, golden, usable, values_of
from fansr.proposers.parts.monomials import distinct_columns, factors_of, monomials
from fansr.proposers.parts.sum_spelling import short_sum
from fansr.proposers.parts.terms import thinned

ROWS = 200  # points the projections see
MOST_COLUMNS, MOST_TERMS = 7, 66
PAIRED = 5  # columns up to which two of them may stand in front together
FEW = 12  # values of a column that make its powers sums of each other
NARROWED, FINISHED = 60, 8  # views whose A is narrowed, and of these followed to the last digit
NARROW, LAST = 18, 60  # steps of golden section
HOPEFUL = 3e-5  # misfit after narrowing beyond which a view is given up
VANISHED = 1e-17  # misfit at the true A: rounding alone
MOST_LEFT, LIKELY = 0.3, 0.95  # misfit on both sides of the true A; share of it at the nearest point between them
NOTHING = 1e-12  # the same for the coarse scan, whose one product of matrices is less exact
# How far A is from the values, in their span; slopes of A*x, in spans of y and x; spans of y in A, for exp(y/A).
BEYOND = np.array([1e-6, 1e-3, 1e-2, 0.03, 0.07, 0.15, 0.3, 0.6, 1.1, 2.0, 4.0, 8.0])
SLOPES = np.concatenate([-np.geomspace(4.0, 0.05, 15), np.geomspace(0.05, 4.0, 15)])
BENDS = np.geomspace(0.1, 12.0, 12)
FACTORS = ("exp", "tanh", "sin", "cos", "expm1", "bell", "growth", "log", "exp inv", "inv", "lorentz", "inv root")


class Inverse(NamedTuple):
    """f and its inverse on the side v of a view: v = f(P)."""

    undo: Callable[[np.ndarray], np.ndarray]
    power: Fraction | None = None  # f(P) = P ** power, or
    tokens: Base = ()  # the tokens before P


CBRT = Inverse(lambda v: v**3, Fraction(1, 3))
SQRT = Inverse(lambda v: np.where(v > 0, v * v, np.nan), HALF)
POWERS = (
    Inverse(lambda v: 1 / v, Fraction(-1)), SQRT,
    Inverse(lambda v: np.where(v > 0, v**-2.0, np.nan), Fraction(-1, 2)),
    Inverse(np.sqrt, Fraction(2)), Inverse(lambda v: v**-0.5, Fraction(-2)), CBRT,
)  # fmt: skip
EXP, LOG = Inverse(np.log, None, ("exp",)), Inverse(np.exp, None, ("log",))
TANH, ASIN = Inverse(np.arctanh, None, ("tanh",)), Inverse(np.arcsin, None, ("sin",))
LOGISTIC = Inverse(lambda v: np.log(1 / v - 1), None, ("inv", "+", "1.0", "exp"))
IDENTITY = Inverse(lambda v: v, Fraction(1))


class View(NamedTuple):
    """y as a function of f(P) for one unknown A: `inside(A)` (K, n) are the values of f(P) for A (K, 1)."""

    f: Inverse
    inside: Callable[[np.ndarray], np.ndarray]
    grid: np.ndarray  # of A, ascending
    written: Callable[[float, Base], Base]  # the law from A and f(P)
    cost: int  # tokens that the view adds: the plainest of several exact ones counts

    def goals(self, A: np.ndarray) -> np.ndarray:
        """Values (K, n) of P for every A (K,)."""
        return self.f.undo(self.inside(A[:, None]))


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of exact laws, none where there are none; [] after every library of monomials.  Bounded by counts."""
    problem = thinned(problem, rng)
    X, y = problem.X, problem.y
    columns = [j for j in distinct_columns(X) if len(np.unique(X[:, j])) > FEW]
    if len(y) < 30 or not 0 < len(columns) <= MOST_COLUMNS or not np.ptp(y) > 0 or not 1e-30 < np.abs(y).max() < 1e30:
        return
    rows = np.sort(rng.permutation(len(y))[:ROWS])

    def batches() -> Iterator[list[Base]]:
        with np.errstate(all="ignore"):
            plain = Scanned(list(views(X[rows], y[rows], columns)))
        yield []
        found = list(libraries(X[rows], columns))
        for number, vectors in enumerate(found):
            if number == min(1, len(found) - 1):  # the library with roots
                with np.errstate(all="ignore"):
                    rooted = Scanned(list(nested(X[rows], y[rows], columns)))
                yield exact_laws(rooted, vectors, X[rows], budget) if rooted.looks else []
            yield exact_laws(plain, vectors, X[rows], budget)

    yield from proposals(problem, "peel", batches(), budget, 3, 30.0, 1e-20)


def libraries(X: np.ndarray, columns: list[int]) -> Iterator[list[Factors]]:
    """Factor tables of monomials: whole powers up to 2; roots, inverses and ratios too; whole powers up to 3."""
    D, room = len(columns), min(MOST_TERMS, len(X) // 3)
    names = [(f"x{j + 1}",) for j in columns]
    plain, cubes = ([factors_of(v, columns=columns) for v in monomials(D, degree)] for degree in (2, 3))
    below = [name for name, j in zip(names, columns) if (X[:, j] != 0).all()]
    wide = [{name: Fraction(-1)} for name in below]
    rooted = [name for name, j in zip(names, columns) if X[:, j].min() > 0]
    wide += [{name: HALF} for name in rooted] + [{name: HALF, other: HALF} for name, other in combinations(rooted, 2)]
    wide += [{name: Fraction(1), other: Fraction(-1)} for other in below for name in names if name != other]
    yield from (library for library in (plain, plain + wide, cubes) if len(library) <= room)


# ---- views of the target ----------------------------------------------------------------------


def fronts_of(X: np.ndarray, columns: list[int]) -> list[Factors]:
    """Powers of one column and products of two."""
    signed = [(f"x{j + 1}",) for j in columns if (X[:, j] != 0).all()]
    fronts: list[Factors] = [{name: Fraction(e)} for name in signed for e in (1, -1, 2, -2)]
    return fronts + [
        {name: Fraction(e), other: Fraction(g)}
        for other, name in (combinations(signed, 2) if len(columns) <= PAIRED else ())
        for e, g in ((1, 1), (1, -1), (-1, 1))
    ]


def views(X: np.ndarray, y: np.ndarray, columns: list[int]) -> Iterator[View]:
    """All views without roots in roots, those with nothing in front first."""
    fronts = fronts_of(X, columns)
    for front in ({}, *fronts):
        u = y / values_of(front, X)
        if usable(u, 1e-9):
            yield from _shifted(u, front, {}, np.ones(len(y)))
            yield from _scaled(u, front)
    for beside in fronts:
        if min(beside.values()) > 0 and usable(y, 1e-9):
            yield from _shifted(y, {}, beside, values_of(beside, X))
    for j in columns:
        yield from _factors(y, (f"x{j + 1}",), X[:, j])


def nested(X: np.ndarray, y: np.ndarray, columns: list[int]) -> Iterator[View]:
    """y and y over a column as roots, and their inverses, of a column or two beside another root."""
    fronts = fronts_of(X, columns)
    for front in ({}, *(front for front in fronts if list(front.values()) == [1])) if (y > 0).all() else ():
        for power in (HALF, -HALF):
            u = (y / values_of(front, X)) ** float(1 / power)
            for beside in fronts if usable(u, 1e-9) else ():
                if set(beside.values()) == {1}:
                    yield from _shifted(u, front, beside, values_of(beside, X), power)


def _fronted(front: Factors, law: Base, power: Fraction = ONE) -> Base:
    return product(merged(front, {law: power}), lambda base: base != law)


def _shifted(u: np.ndarray, front: Factors, beside: Factors, b: np.ndarray, power: Fraction = ONE) -> Iterator[View]:
    """u = A*b +- f(P), where b = 1 or a monomial beside and y = front * u**power; under a root f is a root too."""
    alone, span = not beside, float(np.ptp(u) / (np.ptp(b) or 1.0))
    slopes = SLOPES * span
    below = above = middle = slopes
    if (b > 0).all() or (b < 0).all():
        # u - A*b has one sign for A beyond the smallest and the largest u/b.
        low, high = float((u / b).min()), float((u / b).max())
        below, above = low - BEYOND[::-1] * span, high + BEYOND * span
        middle = np.concatenate([below, np.linspace(low, high, 17)[1:-1], above])
        if alone and low > 0:
            below = np.sort(np.append(below, 0.0))
        if alone and high < 0:
            above = np.sort(np.append(above, 0.0))
        if (b < 0).all():
            below, above = above, below

    def written(A, law, sign):
        part = times(A if sign < 0 else abs(A), product(beside, lambda base: False)) if A else ()
        if sign < 0:
            return _fronted(front, ("-", *part, *law) if A else ("neg", *law), power)
        return _fronted(front, ("+" if A > 0 else "-", *law, *part) if A else law, power)

    for grid, sign in ((below, 1.0), (above, -1.0)):
        for f in (*POWERS, EXP, LOG) if power == ONE else (SQRT, CBRT):
            if (f is LOG and alone) or (f in (LOG, CBRT) and sign < 0):
                continue  # what is added to a logarithm is a factor within it; both sides of a cube root are one
            yield View(
                f,
                lambda A, sign=sign: sign * (u - b * A),
                middle if f is CBRT else slopes if f is LOG else grid,
                lambda A, law, sign=sign: written(A, law, sign),
                2 * len(front) + (0 if alone else 2 * len(beside) + 2) + (sign < 0) + (power != ONE),
            )


def _scaled(u: np.ndarray, front: Factors) -> Iterator[View]:
    """u = A * f(P) for f whose argument knows no factor: tanh, sin on its rising branch, the logistic function, log."""
    size, span = float(np.abs(u).max()), float(np.ptp(u))
    above = np.sort(np.append(size * (1 + BEYOND), [1.0] * (size < 1)))
    bends = np.sort(np.append(span / BENDS, [1.0] * (0.05 < span < 50)))
    grids = [(TANH, above), (ASIN, above)]
    grids += [(LOG, bends), (LOG, -bends[::-1])] if size / bends.min() < 300 else []
    grids += [(LOGISTIC, np.sort(above * np.sign(u[0])))] if (u > 0).all() or (u < 0).all() else []
    for f, grid in grids:
        cost = 2 * len(front) + (5 if f is LOGISTIC else 2)
        yield View(f, lambda A: u / A, grid, lambda A, law: _fronted(front, times(float(A), law)), cost)


def _factors(y: np.ndarray, base: Base, a: np.ndarray) -> Iterator[View]:
    """y = g(A a) * P."""
    for family in map(FAMILIES.__getitem__, FACTORS):
        yield View(
            IDENTITY,
            lambda A, family=family: y / family.values(a, A),
            family.grid(a)[:, 0],
            lambda A, law, family=family: _fronted({family.spelled(base, A): Fraction(1)}, law),
            len(family.formula.split()),
        )


# ---- scanning, narrowing, reading off ---------------------------------------------------------


class Scanned:
    """P of all views at all A of their grids: S (K, n) centred, of unit length; what is not finite is left out."""

    def __init__(self, looks: list[View]):
        self.looks = looks
        blocks, rows, places = [], [], []
        for number, look in enumerate(looks):
            S = look.goals(look.grid)
            S = S - S.mean(axis=1, keepdims=True)
            length = np.sqrt((S * S).sum(axis=1))
            good = np.flatnonzero(np.isfinite(length) & (length > 0))
            blocks.append(S[good] / length[good, None])
            rows.append(np.full(len(good), number))
            places.append(good)
        if not looks:
            return
        self.row, self.place = np.concatenate(rows), np.concatenate(places)
        self.S = np.concatenate(blocks)

    def crossings(self, library: Projector) -> list[tuple[View, float, float]]:
        """Where what is left of P passes through zero between two A of a grid, or is zero at one (twice the same A).

        The likeliest first.
        Near the true A what is left grows in one direction, so on its two sides the vectors are opposite.  The line between
        them says how near to zero it comes, as a share of what they are themselves.
        """
        left = library.rest(self.S)  # (K, n)
        misfit = (left * left).sum(axis=1)
        i = np.flatnonzero((self.row[1:] == self.row[:-1]) & (self.place[1:] == self.place[:-1] + 1))
        along = (left[i] * left[i + 1]).sum(axis=1)
        smaller = np.minimum(misfit[i], misfit[i + 1])
        square = misfit[i] + misfit[i + 1] - 2 * along
        score = np.where(smaller < MOST_LEFT, (misfit[i] * misfit[i + 1] - along**2) / square / smaller, np.inf)
        at = (misfit[i] - along) / square  # of the nearest point on the line: 0 at the one end, 1 at the other
        # Beyond an end only where f^-1 is not defined at the grid's next A.
        last = np.array([len(look.grid) - 1 for look in self.looks])[self.row[i]]
        number = self.row * 1000 + self.place
        before = (at < 0) & (at > -2) & (self.place[i] > 0) & (np.append(-1, number)[i] != number[i] - 1)
        after = (at > 1) & (at < 3) & (self.place[i + 1] < last) & (np.append(number, -1)[i + 2] != number[i + 1] + 1)
        score = np.where(((at >= 0) & (at <= 1)) | before | after, score, np.inf)
        found = [(k, self.place[k], self.place[k]) for k in np.flatnonzero(misfit < NOTHING)[:NARROWED]]
        for q in np.argsort(score, kind="stable")[:NARROWED]:
            if score[q] < LIKELY:
                k = self.place[i[q]] + (-1 if before[q] else 1 if after[q] else 0)
                found.append((i[q], k, k + 1))
        looks = [(self.looks[self.row[row]], low, high) for row, low, high in found]
        return [(look, float(look.grid[low]), float(look.grid[high])) for look, low, high in looks]


@np.errstate(all="ignore")
def exact_laws(scan: Scanned, vectors: list[Factors], X: np.ndarray, budget: Budget) -> list[Base]:
    """Laws of the plainest views whose misfit vanishes."""
    B = np.column_stack([values_of(table, X) for table in vectors])
    size = np.sqrt((B * B).mean(axis=0))
    good = np.isfinite(size) & (size > 0)
    B, vectors, size = B[:, good] / size[good], [v for v, g in zip(vectors, good) if g], size[good]
    library = Projector(list(B.T))
    near = []
    for place in scan.crossings(library):
        if budget.over():
            return []
        misfit, _ = _narrowed(*place, library, NARROW)
        if misfit < HOPEFUL:
            near.append((misfit, len(near), place))
    laws = []
    for _, _, place in sorted(near)[: 2 * FINISHED]:
        misfit, A = _narrowed(*place, library, LAST)
        if misfit < VANISHED:
            laws += [(place[0].cost + len(law), law) for law in _read_off(place[0], A, B, vectors, size)]
    return [law for _, law in sorted(laws, key=lambda item: item[0])[:FINISHED]]


def _narrowed(look: View, a: float, b: float, library: Projector, steps: int) -> tuple[float, float]:
    """(misfit, A) at the minimum between two A, by golden section; a simple number near it where that does too."""

    def f(A: float) -> float:
        return float(library.misfits(look.goals(np.array([A])))[0])

    value, A = golden(f, a, b, steps) if a < b else (f(a), a)
    simple = near_simple(A, 1e-6)
    if simple != A and f(simple) < VANISHED:
        return f(simple), simple
    return value, A


def _read_off(look: View, A: float, B: np.ndarray, vectors: list[Factors], size: np.ndarray) -> Iterator[Base]:
    """The law of a view whose misfit vanishes at A: its terms are those of the exact solution that are needed."""
    S = look.goals(np.array([A]))[0]
    unit = scale_of(S)
    chosen = support(B, S / S.std(), 1e-15)
    if chosen is None:
        return
    c = np.linalg.lstsq(B[:, chosen], S / unit, rcond=1e-15)[0] * unit / size[chosen]
    terms: list[Term] = [(float(v), vectors[i]) for v, i in zip(c, chosen)]
    if look.f.power is not None:
        law = combination(terms, look.f.power, None, lambda base: True)
        other = product({short_sum(terms): look.f.power}, lambda base: False)
        yield look.written(A, min(law, other, key=len))
    else:
        yield look.written(A, (*look.f.tokens, *short_sum(terms)))
