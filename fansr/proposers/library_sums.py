"""Sparse sums over a library of terms, seen through transforms of the target: a proposer.

A law such as ``v1 / sqrt(1 - v2^2/c^2)`` is no sum, but ``(y/v1)^-2`` is one of two terms.  So the target y is divided by a
monomial (the `front`), one of a few inverse functions is applied (the `outer` function is undone), and the result is
regressed on few of many terms: monomials of the columns times at most one function of a column, or of a sum, difference,
product or ratio of two.  Fractions N / D are reached by letting terms times the target itself take part:
y = N - (D - 1) y.  The pieces found are put together by expression_assembly.py.

Coefficients come from linear least squares in the transformed target; refiner.py may polish them against y itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers import factor_products
from fansr.proposers.parts import subset_kernels
from fansr.proposers.parts.candidates import Polisher, fvu_of, measured
from fansr.proposers.parts.expression_assembly import Base, Term
from fansr.proposers.parts.sparse_sums import Subsets, growing
from fansr.proposers.parts.target_transforms import OUTER, OUTERS, RARE_OUTERS, Outer, negated, view_of
from fansr.proposers.parts.terms import Atom, Functions, Library, search_rows, thinned
from fansr.proposers.power import Regression

MAX_TERMS = 6
EXACT = 1e-22  # a relative squared residual that rounding alone explains
# (monomials, terms with a function) of the libraries; those of fractions have no divisions.
SMALL, RATIONAL, FRACTION, LARGE = (160, 300), (150, 0), (120, 700), (600, 700)
# Fractions have many near-solutions (y times something that is almost what stands before y), so more starts.
RANDOM_STARTS = (12, 48)
# Fewer points than this for each term, or rows for the large libraries, and the choice among many terms fits the noise.
POINTS_PER_TERM, FEW_ROWS = 6, 40
TRIVIAL = 0.99  # cosine above which y times a term is no help to explain y
LONGEST = 120  # tokens of a law


class Search:
    """One problem's views: what they share is the rows looked at and the best fit found with so many terms."""

    def __init__(self, problem: Problem, rng: np.random.Generator):
        self.problem, self.rng = problem, rng
        self.rows = search_rows(len(problem.y), rng)
        self.best = np.full(MAX_TERMS + 1, np.inf)  # best FVU with at most so many terms
        self.seen: set = set()
        self.polish = Polisher(problem)
        D = problem.X.shape[1]
        self.none = (0.0,) * D
        self.fronts = fronts_for(problem)
        self.units = [tuple(e if i == j else 0.0 for i in range(D)) for j in range(D) for e in (1.0, -1.0)]
        self.libraries: dict = {}
        self.functions: Functions | None = None

    @np.errstate(all="ignore")
    def library(self, size: tuple[int, int], divisions: bool = True) -> Library:
        """The library of `size`, made once; it must outlive the views made of it, which go by its identity."""
        if size not in self.libraries:
            if self.functions is None:
                self.functions = Functions(self.problem.X)
            self.libraries[size] = Library(self.problem.X, *size, self.rows, divisions, self.functions)
        return self.libraries[size]

    @np.errstate(all="ignore")
    def look(self, library: Library, outer: Outer, powers, lead: Atom | None = None) -> list[Candidate]:
        """Candidates of the best small sums under one view: singles, pairs, and sets up to MAX_TERMS by exchange.

        With `lead` the sum may be a fraction: lead * S = sum of terms + S * sum of other terms.
        """
        key = (id(library), outer.name, powers, lead)
        if key in self.seen:
            return []
        self.seen.add(key)
        equation = Equation(self.problem, library, outer, Atom(powers, ()), lead)
        subsets = equation.subsets(self.rows)
        if subsets is None:
            return []
        laws: dict[Base, None] = {}
        most = min(MAX_TERMS, max(2, len(self.rows) // POINTS_PER_TERM))
        for k, found in enumerate(growing(subsets, most, self.rng, RANDOM_STARTS[lead is not None]), 1):
            for _, members in found[: (4, 4, 3, 3, 2, 2)[k - 1]]:
                laws.update(dict.fromkeys(self.settled(equation, members)))
            if self.best[min(k, MAX_TERMS)] < EXACT:
                break
        return self.polish(measured(self.problem, list(laws), "library"))

    def settled(self, equation: Equation, members) -> list[Base]:
        """Laws of a set of terms, fitted on all points; none unless it beats all earlier sets with as few, whatever their view."""
        solved = equation.solved(members)
        if solved is None:
            return []
        chosen, c, errors, values = solved
        fvu = fvu_of(self.problem.y, values, self.problem.weights)
        if not fvu < 0.9 * self.best[len(c)] and not fvu < EXACT:
            return []
        self.best[len(c) :] = np.minimum(self.best[len(c) :], fvu)
        loose = float(np.clip(3 * np.max(errors / np.abs(c)), 1e-9, 0.05))
        laws = [equation.law(chosen, c, tolerance) for tolerance in dict.fromkeys((1e-9, loose))]
        return [law for law in laws if law and len(law) < LONGEST]


class Equation:
    """lead * S = sum of terms + S * sum of other terms, S the target under one view; without `lead`, S = sum of terms."""

    def __init__(self, problem: Problem, library: Library, outer: Outer, front: Atom, lead: Atom | None):
        self.problem, self.library, self.outer, self.front, self.lead = problem, library, outer, front, lead
        # Functions ask for their argument in its own unit.
        unit = None if outer.power is not None else float(np.exp(library.log_scale(front)))
        self.view = view = view_of(problem.y, outer, library.values(front), unit)
        self.terms = [(atom, times_S) for times_S in (False, True)[: 1 + (lead is not None)] for atom in library.atoms]
        if view is not None:
            # Relative errors for large values, absolute ones for small: neither end of a wide range rules alone.
            S = view.S
            self.weight = view.ok / np.sqrt(S * S + (0.3 * np.median(np.abs(S[view.ok]))) ** 2 + 1e-300)
            if problem.weights is not None:
                self.weight = self.weight * np.sqrt(problem.weights)
            self.goal = S if lead is None else S * library.values(lead)

    def features(self, rows: np.ndarray, trivial: float = TRIVIAL) -> tuple[np.ndarray, np.ndarray] | None:
        """(weighted values (T, n) of the terms that can take part, weighted goal (n,)) on these rows; None where there are none.

        `terms` are those terms from then on, `places` (T,) where they stood among all, `norms` (T,) those of their values.
        """
        if self.view is None:
            return None
        t = (self.goal * self.weight)[rows]
        B = self.library.F * self.weight[rows]  # (T, n)
        if self.lead is not None:
            B = np.concatenate([B, B * self.view.S[rows]])
        norms = np.sqrt((B * B).sum(axis=1))
        usable = (norms > 0) & (norms < 1e150)
        if self.lead is not None:
            # y = y * (almost 1) explains everything and nothing; so would the leading term itself.
            T = len(self.library.atoms)
            usable[T:] &= np.abs(B[T:] @ t) / norms[T:] / (math.sqrt(t @ t) or 1.0) < trivial
        self.places = np.flatnonzero(usable)
        if len(self.places) < len(norms):
            self.terms = [self.terms[k] for k in self.places.tolist()]
            B, norms = B[self.places], norms[self.places]
        self.norms = norms
        return (B, t) if len(norms) else None

    def subsets(self, rows: np.ndarray) -> Subsets | None:
        """The terms that can take part, on these rows, for the search of few among them."""
        features = self.features(rows)
        return None if features is None else Subsets(*features, self.norms)

    def solved(self, members):
        """(terms, coefficients, their errors, values (M,) of the law) of a set without needless terms; None if hopeless."""
        view, w = self.view, self.weight
        chosen = [self.terms[i] for i in members]
        A = np.array([self.values(term) for term in chosen])  # (k, M)
        ok = np.isfinite(A).all(axis=0) & (w > 0)
        B, t = A * w, self.goal * w
        if not ok.all():
            B, t = B.compress(ok, axis=1), t[ok]
        scale = np.sqrt(np.einsum("kn,kn->k", B, B))
        if len(t) <= len(A) or not (np.isfinite(scale).all() and scale.all()):
            return None
        keep, c, residual, errors = few_least_squares(B / scale[:, None], t)
        if all(chosen[k][1] for k in keep) or not np.isfinite(c).all() or not c.all():
            return None
        sigma = math.sqrt(max(residual, 1e-32) * float(t @ t) / max(1, len(t) - len(keep)))
        c, errors = c / scale[keep], errors * sigma / scale[keep]
        if len(keep) < len(chosen):
            chosen, A = [chosen[k] for k in keep], A[keep]
        of_S = np.array([times_S for _, times_S in chosen])
        with np.errstate(all="ignore"):
            if of_S.any():
                below = c[of_S] @ (A[of_S] / np.where(view.S == 0, np.nan, view.S))
                S = c[~of_S] @ A[~of_S] / (self.library.values(self.lead) - below)
            else:
                S = c @ A
            return chosen, c, errors, view.values(S)

    def values(self, term: tuple[Atom, bool]) -> np.ndarray:
        """Values (M,) of a term, times S if it is one of those."""
        atom, times_S = term
        values = self.library.values(atom)
        return values * self.view.S if times_S else values

    def law(self, chosen, c: np.ndarray, tolerance: float) -> Base | None:
        """The law in the columns' own units; None where a coefficient is no float."""
        library, power = self.library, self.outer.power
        # S = undo(y / (front in its own unit) / exp(log_unit)), so coefficients carry log_unit ** (1 / power).
        log_unit = math.log(self.view.unit) - library.log_scale(self.front)
        per_S = log_unit / float(power) if power is not None else 0.0
        lead = library.log_scale(self.lead) if self.lead else 0.0
        above: list[Term] = []
        below: list[Term] = [(1.0, self.lead.factors())] if self.lead else []
        for (atom, times_S), value in zip(chosen, c):
            exponent = math.log(abs(value)) - library.log_scale(atom) + lead + (0.0 if times_S else per_S)
            if abs(exponent) > 690:
                return None
            coefficient = math.copysign(math.exp(exponent), -value if times_S else value)
            (below if times_S else above).append((coefficient, atom.factors()))
        law = self.outer.law_of_terms(above, below, self.front.factors(), library.positive, tolerance)
        return negated(law) if self.view.sign < 0 else law


def few_least_squares(B: np.ndarray, t: np.ndarray) -> tuple[list[int], np.ndarray, float, np.ndarray]:
    """(rows kept, coefficients, residual square relative to the target's, errors for errors of t of one) of unit rows B (k, n)."""
    found = subset_kernels.few_columns(B, t, EXACT * 1e-3)
    if found is not None:
        return found
    rows = list(range(len(B)))
    c, residual = least_squares(B.T, t)
    while len(rows) > 1:
        # Drop the term whose loss the residual hardly notices: rounding noise, or next to nothing.
        worse, q = min((least_squares(B[[k for k in rows if k != q]].T, t)[1], q) for q in rows)
        if worse > max(residual * (1 + 2 / len(t)), EXACT * 1e-3):
            break
        rows.remove(q)
        c, residual = least_squares(B[rows].T, t)
    return rows, c, residual, np.sqrt((np.linalg.pinv(B[rows].T) ** 2).sum(axis=1))


def least_squares(A: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, float]:
    """(coefficients, residual square relative to the target's)."""
    c = np.linalg.lstsq(A, t, rcond=1e-13)[0]
    c = c + np.linalg.lstsq(A, t - A @ c, rcond=1e-13)[0]  # a step of refinement: the last digits matter for exact laws
    r = t - A @ c
    return c, float(r @ r) / (float(t @ t) or 1.0)


# ---- the proposer -----------------------------------------------------------------------------


@np.errstate(all="ignore")
def fronts_for(problem: Problem) -> list[tuple[float, ...]]:
    """Monomials to divide the target by: none, the power law nearest to it, and the one that carries its sign."""
    X, y = problem.X, problem.y
    D = X.shape[1]
    fit = Regression(problem, False)
    law, sure = np.zeros(D), np.zeros(D)
    for j, e, error in zip(fit.columns, fit.exponents, fit.errors) if fit.columns else ():
        law[j] = np.clip(round(e), -6, 6)
        # Only the exponents that are surely whole: the others may belong to columns inside S.
        if abs(e - round(e)) < min(0.2, 3 * error + 1e-6) and abs(e) > 0.8 and error < 0.15:
            sure[j] = law[j]
    found = [np.zeros(D), law, sure]
    mixed = [j for j in range(D) if X[:, j].min() < 0 < X[:, j].max() and (X[:, j] != 0).all()]
    subsets = [list(subset) for k in range(1, min(len(mixed), 4) + 1) for subset in combinations(mixed, k)]
    for subset in subsets:
        if abs((np.sign(y) * np.prod(np.sign(X[:, subset]), axis=1)).sum()) == len(y):
            odd = np.isin(np.arange(D), subset)
            found += [1.0 * odd, law + (np.isin(np.arange(D), mixed) & (law % 2 != odd))]
            break
    return list(dict.fromkeys(tuple(map(float, powers)) for powers in found))


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates after every view of the target, the cheap and likely views first.

    FVUs are on the problem's rows (at most CHECK_ROWS of them).  The work is bounded by the number of views; with a clock
    the generator ends when the budget is over.
    """
    yield from _proposed(thinned(problem, rng), budget, rng, (quick_plan, deep_plan))


def propose_quickly(problem: Problem, budget: Budget, rng: np.random.Generator) -> Iterator[list[Candidate]]:
    """The cheap first third of `propose`, for the many smaller problems of decomposition.py."""
    yield from _proposed(problem, budget, rng, (quick_plan,))


def _proposed(problem: Problem, budget: Budget, rng: np.random.Generator, plans) -> Iterator[list[Candidate]]:
    if np.ptp(problem.y) == 0 or len(problem.y) < 6:
        return
    yield from factor_products.propose(problem, budget, rng)
    search = Search(problem, rng)
    for plan in plans:
        if plan is deep_plan and len(problem.y) < FEW_ROWS:
            return
        for view in plan(search):
            if budget.over():
                return
            yield search.look(*view) or []  # a turn is one view, whatever came of it


def quick_plan(search: Search) -> Iterator[tuple]:
    """Views (library, outer, front, lead) over small libraries."""
    fronts, units, none = search.fronts, search.units, search.none
    small, rational = search.library(SMALL), search.library(RATIONAL, divisions=False)
    yield from ((small, outer, powers) for outer in OUTERS for powers in fronts)
    yield from ((rational, OUTER["y"], powers, Atom(none, ())) for powers in fronts)
    yield from ((rational, OUTER["y"], none, Atom(unit, ())) for unit in units[::2])
    yield (rational, OUTER["sqrt"], none, Atom(none, ()))
    yield from ((small, outer, powers) for outer in RARE_OUTERS for powers in fronts)


def deep_plan(search: Search) -> Iterator[tuple]:
    """Views over large libraries, and small ones under more fronts."""
    fronts, units, none = search.fronts, search.units, search.none
    fractions, large = search.library(FRACTION, divisions=False), search.library(LARGE)
    for outer in OUTERS:
        for powers in fronts:
            yield large, outer, powers
            if outer.name in ("y", "sqrt"):
                yield fractions, outer, powers, Atom(none, ())
    small = search.library(SMALL)
    yield from ((small, outer, powers) for outer in OUTERS[1:] + RARE_OUTERS for powers in units)
    yield from ((fractions, OUTER["y"], none, Atom(unit, ())) for unit in units[::2])
