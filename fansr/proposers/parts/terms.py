"""Terms over the columns of a table: monomials, functions of simple arguments, and their products, with their values.

What library_sums.py and factor_products.py build laws from.  Knows nothing of targets or fits.
"""

from __future__ import annotations

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
    return 1.2 < float(np.ptp(v)) < 2 * np.pi * len(v) / 3


def functions_of(cost: float, a: Base, v: np.ndarray) -> Iterator[tuple[float, Base, np.ndarray]]:
    """Functions of an argument that are worth a term there: (cost, expression, values)."""
    if not np.isfinite(v).all() or np.ptp(v) == 0:
        return
    size, spread = float(np.abs(v).max()), float(v.std())
    if 0.5 < size < 1e4 and spread > 0.02:
        if oscillates(v):
            yield cost + 1, ("sin", *a), np.sin(v)
            yield cost + 1, ("cos", *a), np.cos(v)
            yield cost + 1.5, ("pow2", "sin", *a), np.sin(v) ** 2
        if size < 30:
            yield cost + 1, ("exp", *a), np.exp(v)
            yield cost + 1, ("exp", "neg", *a), np.exp(-v)
            yield cost + 1.5, ("tanh", *a), np.tanh(v)
        if a[0] not in "+*/" and size < 15:
            yield cost + 1.5, ("exp", "neg", "pow2", *a), np.exp(-v * v)
    if v.min() > 0 and a[0] not in "*/":
        yield cost + 1, ("log", *a), np.log(v)
    elif a[0] not in "*/" and (v != 0).all() and cost == 1:
        yield cost + 2, ("log", "abs", *a), np.log(np.abs(v))
    if a[0] in "+-":
        # A power of a sum is many monomials, or one term.  The sum itself is two, and needs no term of its own.
        yield cost + 1, ("pow2", *a), v * v
        if (v != 0).all():
            yield cost + 1, ("inv", *a), 1 / v
            yield cost + 2, ("inv", "pow2", *a), 1 / (v * v)
        if v.min() > 0:
            yield cost + 1, ("pow1_2", *a), np.sqrt(v)


class Library:
    """Terms over the columns of X (M, D), with their values.

    `atoms` (T) are the terms by growing complexity, `F` (T, n) their values on the `rows` searched, where every column is
    divided by its typical size inside monomials; `log_scale` gives the logarithm of what was divided out.
    """

    @np.errstate(all="ignore")
    def __init__(self, X: np.ndarray, n_monomials: int, n_functions: int, rows: np.ndarray, divisions: bool = True):
        self.X = X
        D = X.shape[1]
        typical = np.array([np.exp(np.median(np.log(np.abs(c[c != 0])))) if (c != 0).any() else 1.0 for c in X.T])
        self.typical = typical  # (D,) columns are divided by this inside monomials, so that 1e-34 ** 4 stays a float
        signed = [divisions and bool((X[:, j] != 0).all()) for j in range(D)]
        varying = [j for j in range(D) if np.ptp(X[:, j]) > 0]
        powers = exponent_vectors(D, n_monomials, signed=signed)
        roots = [j for j in varying if X[:, j].min() > 0]
        halves = (0.5, -0.5, 1.5)[: 3 if divisions else 1]
        powers += [tuple(e if i == j else 0.0 for i in range(D)) for j in roots for e in halves]
        powers += [tuple(0.5 if k in pair else 0.0 for k in range(D)) for pair in combinations(roots, 2)]
        atoms = [Atom(tuple(map(float, v)), ()) for v in powers]
        self.bases: dict[Base, np.ndarray] = {}
        priced = []
        for cost, base, v in (function for argument in arguments(X) for function in functions_of(*argument)):
            if np.isfinite(v).all() and np.ptp(v) > 0:
                self.bases[base] = v
                priced.append((cost, base))
        atoms += self._with_functions(priced, signed, n_functions)
        still = [j for j in range(D) if j not in varying]
        self.atoms = [atom for atom in dict.fromkeys(atoms) if not any(atom.powers[j] for j in still)]
        self._powers: dict[tuple[int, float], np.ndarray] = {}
        self.F = np.array([self.values(atom)[rows] for atom in self.atoms])  # (T, n)
        good = np.isfinite(self.F).all(axis=1) & (np.abs(self.F).max(axis=1, initial=0) > 0)
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
        inside = np.array([[f"x{j + 1}" in base for j in range(D)] for _, base in priced])
        price = np.array([cost for cost, _ in priced])[:, None] + np.array(list(outside.values()))[None, :]
        price = price + 1.0 * (inside.astype(float) @ (vectors != 0).T > 0)
        best = np.argsort(price, axis=None, kind="stable")[:count]
        return [Atom(tuple(map(float, vectors[q % len(vectors)])), priced[q // len(vectors)][1]) for q in best]

    def values(self, atom: Atom) -> np.ndarray:
        """Values (M,) of a term, with every column divided by its typical size."""
        v = np.ones(len(self.X))
        with np.errstate(all="ignore"):
            for j, e in enumerate(atom.powers):
                if e:
                    key = (j, e)
                    if key not in self._powers:
                        x = self.X[:, j] / self.typical[j]
                        self._powers[key] = x ** int(e) if e == int(e) else np.abs(x) ** e
                    v = v * self._powers[key]
        return v * self.bases[atom.base] if atom.base else v

    def log_scale(self, atom: Atom) -> float:
        """Logarithm of the factor between the term and its `values`."""
        return float(np.dot(atom.powers, np.log(self.typical)))

    def positive(self, base: Base) -> bool:
        """True when a base never turns negative on the data, so that roots of it may be split."""
        if len(base) == 1 and base[0][:1] == "x":
            return bool(self.X[:, int(base[0][1:]) - 1].min() >= 0)
        return base in self.bases and bool(self.bases[base].min() >= 0)


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
