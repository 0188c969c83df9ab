"""Products of powers and several awkward factors, numbers inside them: y = c * prod x_j^e_j * prod f_k(x)^g_k; a proposer.

    (x1 + x2) * (x3 + 1.9) / x4,    exp(-x1/2) * sin(3*x2) * (x3/x4 + 0.2),    sqrt(x1 - x2) / (x3*x4 + 2)

In log|y| that is a sum, linear but for the numbers inside, so the factors can be found one after the other.  A factor is a
function from inner_scan.py of a column, of a sum, product or quotient of two, or of a product of three, its constant on a
grid, or a term of an exponential, x1*x2 say.  All are compared at once by what they leave of log|y| beside the columns'
logarithms, which always take part; the leaders' constants are narrowed, a few are followed, each takes the next factor, and
then the constants of all its factors are fitted together.  Exponents near whole numbers, halves and thirds are set to them;
signs and c are settled on y.  factor_products.py looks at more kinds of factors, none with a number inside.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import combinations
from typing import NamedTuple

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts import inner_scan
from fansr.proposers.parts.candidates import proposals
from fansr.proposers.parts.expression_assembly import Base, combination, nearest, product
from fansr.proposers.parts.inner_scan import FAMILIES, Family, Projector, Table, fixed, usable, values_of
from fansr.proposers.parts.monomials import exponent_vectors, factors_of, values
from fansr.proposers.parts.power_products import power_products
from fansr.proposers.parts.terms import thinned

MIN_ROWS, ROWS = 24, 250  # rows that factors are compared on
MOST_COLUMNS = 7
FACTORS = 3
FOLLOWED = (8, 5)  # sets of one and of two factors that take another
NARROWED = (24, 6)  # factors whose constants are narrowed: at first, and beside each set
OPENED = 4  # sets of a size that laws are made of
HOPEFUL = 0.5  # share of log|y|, beside the columns, that a set may leave
LEAST = 0.25  # share of what is open that the next factor must take
ROUNDS = 8  # of fitting constants and exponents together
PLACES = 12  # of a number that makes a factor zero between two rows
BESIDE = np.geomspace(0.02, 8.0, 8)  # how far beyond the rows a factor is zero, in spreads of its argument
NEW = 1e-5  # of a feature's square that must be new to what is known
PER_NUMBER = 1.02  # times what a set leaves, for each number in it
GRID = (1, 2, 3)
EXACT = 1e-20


class Feature(NamedTuple):
    """What may stand in a product: a factor with its grid of constants, or a term of an exponential (one place, none)."""

    table: Table  # of the values themselves
    logs: np.ndarray  # (K, n): of log|factor|, or of the term
    inside: bool  # the exponential?

    @np.errstate(all="ignore")
    def at(self, places: np.ndarray) -> np.ndarray:
        values = self.table.at(places)
        return values if self.inside else np.log(np.abs(values))


class Chosen(NamedTuple):
    """Some features with their constants, and the share of log|y| that is left with them."""

    share: float
    features: tuple[int, ...]
    constants: tuple[tuple[float, ...], ...]

    def rank(self) -> float:
        """What is left, and a little for each number that it took."""
        return (self.share + 1e-16) * PER_NUMBER ** sum(map(len, self.constants))


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of one, two and three factors; FVUs on the problem's rows (thinned to some thousands).

    Bounded by counts; with a clock it ends when the budget is over.
    """
    problem = thinned(problem, rng)
    M, D = problem.X.shape
    if M < MIN_ROWS or not 1 <= D <= MOST_COLUMNS or not np.ptp(problem.y) > 0 or (problem.y != 0).mean() < 0.9:
        return
    search = Search(problem)
    if search.features:
        yield from proposals(problem, "products", search.batches(), budget, OPENED, 8.0, EXACT)


class Search:
    """One problem's features on the rows that they are compared on."""

    @np.errstate(all="ignore")
    def __init__(self, problem: Problem):
        self.problem = problem
        kept = np.flatnonzero(problem.y != 0)
        self.rows = kept[np.unique(np.linspace(0, len(kept) - 1, ROWS).astype(int))]
        X, y = problem.X[self.rows], problem.y[self.rows]
        D = X.shape[1]
        self.powers = [j for j in range(D) if (X[:, j] != 0).all() and np.ptp(np.abs(X[:, j])) > 0]
        self.logs = [np.log(np.abs(X[:, j])) for j in self.powers]
        self.known = [np.ones(len(y)), *self.logs]
        self.t = np.log(np.abs(y))
        self.features = [
            f for f in _features(X, self.powers, bool(y.min() < 0 < y.max())) if np.isfinite(f.logs).all(axis=1).any()
        ]
        stacked = np.concatenate([np.zeros((0, len(y))), *(f.logs for f in self.features)])
        stacked = stacked - stacked.mean(axis=1, keepdims=True)
        stacked /= np.sqrt((stacked * stacked).sum(axis=1, keepdims=True))
        self.stacked = np.where(np.isfinite(stacked).all(axis=1, keepdims=True), stacked, 0.0).astype(np.float32)
        self.first = np.cumsum([0, *(len(f.logs) for f in self.features)])

    def batches(self) -> Iterator[list[Base]]:
        """Laws of growing numbers of factors; an empty batch while at work."""
        sets = [Chosen(1.0, (), ())]
        open_share = Projector(self.known, self.t).open
        if not open_share > 1e-20:
            return
        for size in range(1, FACTORS + 1):
            grown: dict[tuple, Chosen] = {}
            for chosen in sets:
                for more in self.more(chosen, NARROWED[size > 1]):
                    key = tuple(sorted(more.features))
                    if key not in grown or more.share < grown[key].share:
                        grown[key] = more
                if size > 1:
                    yield []
            found = sorted(grown.values(), key=Chosen.rank)[: 2 * FOLLOWED[0]]
            if size > 1:
                found = sorted(map(self.together, found), key=Chosen.rank)
            if not found or found[0].share > HOPEFUL * open_share:
                return
            laws = [law for chosen in found[:OPENED] for law in self.laws(chosen)]
            yield list(dict.fromkeys(laws))
            if found[0].share < 1e-16:
                return
            sets = found[: FOLLOWED[min(size, 2) - 1]]

    def columns_of(self, features: Iterable[int], constants: Iterable) -> list[np.ndarray]:
        """Of each feature, with its constants, what stands in the sum that log|y| is."""
        return [self.features[i].at(np.array(c, float).reshape(1, -1))[0] for i, c in zip(features, constants)]

    @np.errstate(all="ignore")
    def more(self, chosen: Chosen, count: int) -> list[Chosen]:
        """The set with one more factor, the `count` best, their constants narrowed."""
        look = Projector([*self.known, *self.columns_of(chosen.features, chosen.constants)], self.t)
        shares = self.coarse(look)
        best = np.minimum.reduceat(shares, self.first[:-1])
        found = []
        for i in np.argsort(best, kind="stable")[:count]:
            i = int(i)
            if i in chosen.features or not best[i] < look.open * (1 - LEAST * (len(chosen.features) > 0)):
                continue
            feature = self.features[i]
            place = int(shares[self.first[i] : self.first[i + 1]].argmin())
            share, constants = float(best[i]), feature.table.grid[place]
            if len(constants):
                axes = [np.unique(column) for column in feature.table.grid.T]
                share, constants, _ = inner_scan.zoomed(
                    lambda places, f=feature: look.shares(f.at(places), 1e-10), axes, constants, 3
                )
            found.append(Chosen(share, (*chosen.features, i), (*chosen.constants, tuple(map(float, constants)))))
        return found

    @np.errstate(all="ignore")
    def coarse(self, look: Projector) -> np.ndarray:
        """What each place of each feature leaves beside what is known, in single precision: good enough to choose by."""
        Q, t = look.Q.astype(np.float32), look.t.astype(np.float32)
        seen = self.stacked @ Q
        norm = 1 - (seen * seen).sum(axis=1)  # the rows have length 1, and t is free of Q
        explained = (self.stacked @ t) ** 2 / np.maximum(norm, NEW)
        return np.where(norm > NEW, look.open - explained / look.whole, np.inf)

    @np.errstate(all="ignore")
    def together(self, chosen: Chosen) -> Chosen:
        """The set with the constants of all its factors fitted at once, by Gauss and Newton on log|y|."""
        cuts = np.cumsum([len(c) for c in chosen.constants])
        if not cuts[-1]:
            return chosen
        whole = float(np.sum((self.t - self.t.mean()) ** 2))
        best, k = chosen, np.concatenate(chosen.constants)
        step, share = np.zeros_like(k), np.inf
        for _ in range(ROUNDS):
            columns = self.columns_of(chosen.features, np.split(k, cuts[:-1]))
            A = np.column_stack([*self.known, *columns])
            e, r = _solved(A, self.t) if np.isfinite(A).all() else (None, None)
            now = np.inf if e is None else float(r @ r) / whole
            if not now < share:
                k, step = k - step / 2, step / 2  # k - step was better
                if not np.abs(step).max() > 1e-12 * np.abs(k).max():
                    break
                continue
            share = now
            best = Chosen(share, chosen.features, tuple(map(tuple, np.split(k, cuts[:-1]))))
            J = []
            for place in range(len(k)):
                h = 1e-6 * (abs(k[place]) or 1e-6)
                moved = k.copy()
                moved[place] += h
                f = int(np.searchsorted(cuts, place, side="right"))
                there = self.columns_of(chosen.features, np.split(moved, cuts[:-1]))[f]
                J.append((there - columns[f]) / h * e[len(self.known) + f])
            J = np.column_stack([A, *J])
            if not np.isfinite(J).all():
                break
            step = _solved(J, r)[0][A.shape[1] :]
            if not np.abs(step).max() > 1e-14 * np.abs(k).max():
                break
            k = k + step
        return best

    @np.errstate(all="ignore")
    def laws(self, chosen: Chosen) -> list[Base]:
        """c * prod x^e * prod f^g with exponents set to the nearest whole numbers, halves and thirds: measuring tells which."""
        columns = self.columns_of(chosen.features, chosen.constants)
        A = np.column_stack([*self.known, *columns])
        if not np.isfinite(A).all():
            return []
        e = _solved(A, self.t)[0][1:]
        X, laws = self.problem.X, {}
        bases = [(f"x{j + 1}",) for j in self.powers]
        inside = [False] * len(bases)
        for i, c in zip(chosen.features, chosen.constants):
            bases.append(self.features[i].table.law(c))
            inside.append(self.features[i].inside)
        for grid in ((1,), (1, 2), GRID):
            snapped = [None if flag else nearest(v, grid) for v, flag in zip(e, inside)]
            if any(s is not None and abs(s) > 8 for s in snapped):
                continue
            factors = [(b, values_of({b: Fraction(1)}, X), s) for b, s in zip(bases, snapped) if s]
            terms = [(float(v), {b: Fraction(1)}) for b, v, flag in zip(bases, e, inside) if flag]
            exponential = None
            if terms:
                exponential = combination(terms), sum(c * values_of(f, X) for c, f in terms)
            laws.update(dict.fromkeys(power_products(self.problem.y, self.problem.weights, factors, exponential)))
        return list(laws)


def _solved(A: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(coefficients, residual) of least squares."""
    size = np.maximum(np.sqrt((A * A).sum(axis=0)), 1e-300)
    c = np.linalg.lstsq(A / size, t, rcond=1e-13)[0] / size
    return c, t - A @ c


def _features(X: np.ndarray, powers: list[int], crossing: bool) -> Iterator[Feature]:
    """All that may stand in a product: fixed sums of two columns, functions with a number inside, terms of an exponential.

    crossing: y changes its sign, so that a factor may.
    """
    D = X.shape[1]
    varying = [j for j in range(D) if np.ptp(X[:, j]) > 0]
    singles = [((f"x{j + 1}",), X[:, j]) for j in varying]
    products, sums = (inner_scan.arguments(X, varying, names)[len(singles) :] for names in ("*", "+ -"))
    # x / z + k is z / x + 1/k but for powers of x and z, which take part anyway.
    quotients = [(("/", *a, *b), u / v) for (a, u), (b, v) in combinations(singles, 2) if (v != 0).all()]
    triples = []
    for e in _triples(len(powers)):
        factors = factors_of(e, columns=powers)
        triples.append((product(factors), values_of(factors, X)))
    squares = [
        ((op, "pow2", *a, "pow2", *b), u * u + sign * v * v)
        for (a, u), (b, v) in combinations(singles, 2)
        for op, sign in (("+", 1), ("-", -1))
    ]
    shift = Family("+ a k", lambda a: _shifts(a, crossing))
    curves = [
        *(FAMILIES[name] for name in ("expm1", "exp1", "tanh")),
        Family("+ pow2 a k", lambda a: _shifts(a * a, crossing)),
    ]
    waves = [Family(f"{name} * k a", _turns) for name in ("sin", "cos")]
    phased = [
        Family("cos + * k a c", lambda a: (_turns(a), np.arange(8) * (np.pi / 8))),
        Family("tan + a k", lambda a: np.arange(24) * (np.pi / 24)),
    ]
    over = [
        ([shift, *curves, *waves, *phased], singles),
        ([shift, *waves], [*products, *quotients]),
        ([shift], [*sums, *triples]),
    ]
    found = [fixed(base, v) for base, v in (*sums, *squares) if usable(v)]
    found += [inner_scan.table(family, base, a) for families, some in over for base, a in some for family in families]
    for one in found:
        if one is not None:
            yield Feature(one, np.log(np.abs(one.values)), False)
    vectors = exponent_vectors(D, 60, 2, [j in powers for j in range(D)])[1:]
    for e, f in zip(vectors, values(X, vectors).T):
        if usable(f):
            yield Feature(fixed(product(factors_of(e)), f), f[None], True)


def _shifts(a: np.ndarray, crossing: bool) -> np.ndarray:
    """k for which a + k is zero beyond the rows on either side, or between them."""
    low, high = float(a.min()), float(a.max())
    zeros = [low - (high - low) * BESIDE, high + (high - low) * BESIDE]
    return -np.concatenate([*zeros, np.quantile(a, (np.arange(PLACES) + 0.5) / PLACES) if crossing else ()])


def _turns(a: np.ndarray) -> np.ndarray:
    """Waves of up to two turns, close enough together that their zeros are near those of any."""
    return np.linspace(0.2, 4.0, 20) * np.pi / float(np.ptp(a))


def _triples(D: int) -> Iterator[tuple[int, ...]]:
    """Exponents of products of three columns of D, each 1 or -1, none the reciprocal of another."""
    for i, j, k in combinations(range(D), 3):
        for signs in ((1, 1, 1), (1, 1, -1), (1, -1, 1), (-1, 1, 1)):
            yield tuple(dict(zip((i, j, k), signs)).get(place, 0) for place in range(D))
