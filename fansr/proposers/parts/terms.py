"""Terms over the columns of a table: monomials, functions of simple arguments, and their products, with their values.

What library_sums.py and factor_products.py build laws from.  Knows nothing of targets or fits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import numpy as np

from fansr.fitting import Problem
from fansr.proposers.parts.expression_assembly import ONE, Base, Factors, merged
from fansr.proposers.parts.monomials import exponent_vectors, factors_of

ROWS = 256  # points a search looks at; fits and verdicts use all
CHECK_ROWS = 4096  # points coefficients are fitted on


class Atom(NamedTuple):
    """A term: prod_j x_j ** powers[j], times `base` unless that is ()."""

    powers: tuple[float, ...]
    base: Base

    def factors(self) -> Factors:
        return merged(factors_of(self.powers), {self.base: ONE} if self.base else {})


def arguments(X: np.ndarray) -> list[tuple[float, Base, np.ndarray]]:
    """What functions are applied to: (cost, expression, values) of columns and of their sums, differences, products, ratios."""
    D = X.shape[1]
    found = [(1.0, (f"x{j + 1}",), X[:, j]) for j in range(D)]
    for i, j in combinations(range(D), 2):
        a, b = (f"x{i + 1}",), (f"x{j + 1}",)
        found.append((1.5, ("-", *a, *b), X[:, i] - X[:, j]))
        found.append((2.5, ("+", *a, *b), X[:, i] + X[:, j]))
        found.append((2, ("*", *a, *b), X[:, i] * X[:, j]))
        found.append((2, ("/", *a, *b), X[:, i] / X[:, j]))
        found.append((2, ("/", *b, *a), X[:, j] / X[:, i]))
    return found


def oscillates(v: np.ndarray) -> bool:
    """True where a sine of v means something: over a fifth of a turn at least, and seen at three points a turn.

    Below that it is a parabola, above it fits any few points.
    """
    return _oscillates(float(np.ptp(v)), len(v))


def _oscillates(extent: float, n: int) -> bool:
    return 1.2 < extent < 2 * np.pi * n / 3


class Functions:
    """Functions of a table's columns X (M, D) that terms are made of, and powers of columns: what its libraries share."""

    @np.errstate(all="ignore")
    def __init__(self, X: np.ndarray):
        self.X = X
        # (D,) columns are divided by this inside monomials, so that 1e-34 ** 4 stays a float
        self.typical = np.array([np.exp(np.median(np.log(np.abs(c[c != 0])))) if (c != 0).any() else 1.0 for c in X.T])
        over = arguments(X)
        V = np.array([v for _, _, v in over])  # (A, M)
        low, high, spread, apart = V.min(axis=1), V.max(axis=1), V.std(axis=1), (V != 0).all(axis=1)
        found = [
            function
            for (cost, base, v), *facts in zip(over, low.tolist(), high.tolist(), spread.tolist(), apart.tolist())
            for function in functions_of(cost, base, v, *facts)
        ]
        good = varies(np.array([v for *_, v in found])) if found else ()
        self.priced = [(cost, base) for (cost, base, _), ok in zip(found, good) if ok]
        self.bases: dict[Base, np.ndarray] = {base: v for (_, base, v), ok in zip(found, good) if ok}
        self._powers: dict[tuple[int, float], np.ndarray] = {}

    def power(self, j: int, e: float) -> np.ndarray:
        """Values (M,) of a power of column j, the column divided by its typical size."""
        if (j, e) not in self._powers:
            x = self.X[:, j] / self.typical[j]
            self._powers[j, e] = x ** int(e) if e == int(e) else np.abs(x) ** e
        return self._powers[j, e]


def varies(F: np.ndarray) -> np.ndarray:
    """Which rows of F (T, n) are finite and not the same all over."""
    low, high = F.min(axis=1), F.max(axis=1)
    return np.isfinite(low) & np.isfinite(high) & (high > low)


def functions_of(
    cost: float, a: Base, v: np.ndarray, low: float, high: float, spread: float, apart: bool
) -> Iterator[tuple[float, Base, np.ndarray]]:
    """Functions of an argument that are worth a term there: (cost, expression, values).

    `low` and `high` are the least and the greatest of its values, `spread` their deviation, `apart` says that none is 0.
    """
    if not (math.isfinite(low) and math.isfinite(high)) or low == high:
        return
    size = max(abs(low), abs(high))
    if 0.5 < size < 1e4 and spread > 0.02:
        if _oscillates(high - low, len(v)):
            yield cost + 1, ("sin", *a), np.sin(v)
            yield cost + 1, ("cos", *a), np.cos(v)
            yield cost + 1.5, ("pow2", "sin", *a), np.sin(v) ** 2
        if size < 30:
            yield cost + 1, ("exp", *a), np.exp(v)
            yield cost + 1, ("exp", "neg", *a), np.exp(-v)
            yield cost + 1.5, ("tanh", *a), np.tanh(v)
        if a[0] not in "+*/" and size < 15:
            yield cost + 1.5, ("exp", "neg", "pow2", *a), np.exp(-v * v)
    if low > 0 and a[0] not in "*/":
        yield cost + 1, ("log", *a), np.log(v)
    elif a[0] not in "*/" and apart and cost == 1:
        yield cost + 2, ("log", "abs", *a), np.log(np.abs(v))
    if a[0] in "+-":
        # A power of a sum is many monomials, or one term.  The sum itself is two, and needs no term of its own.
        yield cost + 1, ("pow2", *a), v * v
        if apart:
            yield cost + 1, ("inv", *a), 1 / v
            yield cost + 2, ("inv", "pow2", *a), 1 / (v * v)
        if low > 0:
            yield cost + 1, ("pow1_2", *a), np.sqrt(v)


class Library:
    """Terms over the columns of X (M, D), with their values.

    `atoms` (T) are the terms by growing complexity, `F` (T, n) their values on the `rows` searched, where every column is
    divided by its typical size inside monomials; `log_scale` gives the logarithm of what was divided out.
    """

    @np.errstate(all="ignore")
    def __init__(
        self,
        X: np.ndarray,
        n_monomials: int,
        n_functions: int,
        rows: np.ndarray,
        divisions: bool = True,
        functions: Functions | None = None,
    ):
        self.X = X
        D = X.shape[1]
        self.functions = Functions(X) if functions is None else functions
        self.typical = self.functions.typical  # (D,)
        self.bases = dict(self.functions.bases)
        self._positive: dict[Base, bool] = {}
        low, high, apart = X.min(axis=0), X.max(axis=0), (X != 0).all(axis=0)
        signed = [divisions and bool(apart[j]) for j in range(D)]
        varying = [j for j in range(D) if high[j] > low[j]]
        powers = exponent_vectors(D, n_monomials, signed=signed)
        roots = [j for j in varying if low[j] > 0]
        halves = (0.5, -0.5, 1.5)[: 3 if divisions else 1]
        powers += [tuple(e if i == j else 0.0 for i in range(D)) for j in roots for e in halves]
        powers += [tuple(0.5 if k in pair else 0.0 for k in range(D)) for pair in combinations(roots, 2)]
        atoms = [Atom(tuple(map(float, v)), ()) for v in powers]
        atoms += self._with_functions(self.functions.priced, signed, n_functions)
        still = [j for j in range(D) if j not in varying]
        self.atoms = [atom for atom in dict.fromkeys(atoms) if not any(atom.powers[j] for j in still)]
        self.F = self.table(self.atoms, rows)  # (T, n)
        good = np.isfinite(self.F).all(axis=1) & (np.abs(self.F).max(axis=1, initial=0) > 0)
        if not good.all():
            self.atoms, self.F = [atom for atom, ok in zip(self.atoms, good) if ok], self.F[good]

    @staticmethod
    def _with_functions(priced: list[tuple[float, Base]], signed: list[bool], count: int) -> list[Atom]:
        """The `count` cheapest products of a function and a monomial; a column inside and outside costs extra."""
        D = len(signed)
        if not priced or not count:
            return []
        outside = {v: 1.5 * sum(map(abs, v)) for v in exponent_vectors(D, 40, 2, signed)}
        for size in range(1, min(D, 4) + 1):
            for subset in combinations(range(D), size):
                outside[tuple(int(j in subset) for j in range(D))] = 0.75 * size
                if size == 1 and signed[subset[0]]:
                    outside[tuple(-int(j in subset) for j in range(D))] = 1.0
        vectors = np.array(list(outside))  # (V, D)
        columns = [f"x{j + 1}" for j in range(D)]
        inside = np.array([[column in base for column in columns] for _, base in priced])
        price = np.array([cost for cost, _ in priced])[:, None] + np.array(list(outside.values()))[None, :]
        price = price + 1.0 * (inside.astype(float) @ (vectors != 0).T > 0)
        price = price.ravel()
        if count < price.size:  # those that may be among the `count` cheapest, in the order they stand in
            among = np.flatnonzero(price <= np.partition(price, count - 1)[count - 1])
        else:
            among = np.arange(price.size)
        best = among[np.argsort(price[among], kind="stable")[:count]].tolist()
        vectors = [tuple(map(float, vector)) for vector in outside]
        return [Atom(vectors[q % len(vectors)], priced[q // len(vectors)][1]) for q in best]

    def values(self, atom: Atom) -> np.ndarray:
        """Values (M,) of a term, with every column divided by its typical size."""
        v = np.ones(len(self.X))
        with np.errstate(all="ignore"):
            for j, e in enumerate(atom.powers):
                if e:
                    v = v * self.functions.power(j, e)
        return v * self.bases[atom.base] if atom.base else v

    def table(self, atoms: list[Atom], rows: np.ndarray) -> np.ndarray:
        """The values of many terms on some rows (T, n)."""
        F = np.ones((len(atoms), len(rows)))
        if not atoms:
            return F
        for j, exponents in enumerate(zip(*(atom.powers for atom in atoms))):
            places = {e: k for k, e in enumerate(dict.fromkeys(exponents))}
            if len(places) > 1 or 0.0 not in places:
                powers = np.array([self.functions.power(j, e)[rows] if e else np.ones(len(rows)) for e in places])
                F *= powers[[places[e] for e in exponents]]
        based = [k for k, atom in enumerate(atoms) if atom.base]
        places = {base: k for k, base in enumerate(dict.fromkeys(atoms[k].base for k in based))}
        if based:
            F[based] *= np.array([self.bases[base][rows] for base in places])[[places[atoms[k].base] for k in based]]
        return F

    def log_scale(self, atom: Atom) -> float:
        """Logarithm of the factor between the term and its `values`."""
        return float(np.dot(atom.powers, np.log(self.typical)))

    def positive(self, base: Base) -> bool:
        """True when a base never turns negative on the data, so that roots of it may be split."""
        if base not in self._positive:
            if len(base) == 1 and base[0][:1] == "x":
                self._positive[base] = bool(self.X[:, int(base[0][1:]) - 1].min() >= 0)
            elif base in self.bases:
                self._positive[base] = bool(self.bases[base].min() >= 0)
            else:
                return False
        return self._positive[base]


def search_rows(M: int, rng: np.random.Generator) -> np.ndarray:
    return np.sort(rng.permutation(M)[:ROWS]) if M > ROWS else np.arange(M)


def thinned(problem: Problem, rng: np.random.Generator) -> Problem:
    """The problem on at most CHECK_ROWS rows."""
    M = len(problem.y)
    if M <= CHECK_ROWS:
        return problem
    rows = np.sort(rng.permutation(M)[:CHECK_ROWS])
    weights = None if problem.weights is None else problem.weights[rows]
    return replace(problem, X=problem.X[rows], y=problem.y[rows], weights=weights)
