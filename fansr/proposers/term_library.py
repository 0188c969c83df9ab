"""Sparse sums over a library of terms, seen through transforms of the target: a proposer.

A law such as ``v1 / sqrt(1 - v2^2/c^2)`` is no sum, but ``(y/v1)^-2`` is one of two terms.  So the target y is divided by a
monomial (the `base`), one of a few inverse functions is applied (the `outer` function is undone), and the result is
regressed on few of many terms: monomials of the columns times at most one function of a column, or of a sum, difference,
product or ratio of two.  Fractions N / D are reached by letting terms times the target itself take part:
y = N - (D - 1) y.  The pieces found are put together by assembly.py.

Coefficients come from linear least squares in the transformed target; refiner.py may polish them against y itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers import product_laws
from fansr.proposers.parts.assembly import (
    ONE,
    Base,
    Factors,
    Polisher,
    Term,
    combination,
    common_factors,
    divided,
    fvu_of,
    measured,
    near_simple,
    product,
    scales,
)
from fansr.proposers.parts.outer_functions import OUTERS, RARE_OUTERS, Outer, View, make_view
from fansr.proposers.parts.sparse_sums import ProductSubsets, Subsets, best_subsets, without_each
from fansr.proposers.parts.terms import Atom, Library, search_rows, thinned
from fansr.proposers.power import Regression

MAX_TERMS = 6
EXACT = 1e-22  # a relative squared residual that rounding alone explains
# (monomials, terms with a function) of the libraries; those of fractions have no divisions.
SMALL, RATIONAL, FRACTION, LARGE = (160, 300), (150, 0), (120, 700), (600, 700)
# Fractions have many near-solutions (y times something that is almost what stands before y), so more starts.
RANDOM_STARTS = (12, 48)
# Of the widest search, over products of monomials with functions.
WIDE, WIDE_ROWS, WIDE_FUNCTIONS, WIDE_STARTS, WIDE_TERMS = (100, 0), 160, 100, 8, 4
# Fewer points than this for each term, or rows for the large libraries, and the choice among many terms fits the noise.
POINTS_PER_TERM, FEW_ROWS = 6, 40
TRIVIAL = 0.99  # cosine above which y times a term is no help to explain y
GRAM_PAIRS = 1300  # all pairs of more terms than this take too long; exchange covers the rest


class Search:
    """One problem's views: what they share is the rows looked at and the best fit found with so many terms."""

    def __init__(self, problem: Problem, rng: np.random.Generator):
        self.problem, self.rng = problem, rng
        self.rows = search_rows(len(problem.y), rng)
        self.front = np.full(MAX_TERMS + 1, np.inf)  # best FVU with at most so many terms
        self.seen: set = set()
        self.polish = Polisher(problem)
        D = problem.X.shape[1]
        self.none = (0.0,) * D
        self.bases = bases_for(problem)
        self.units = [tuple(e if i == j else 0.0 for i in range(D)) for j in range(D) for e in (1.0, -1.0)]
        self.libraries: dict = {}

    @np.errstate(all="ignore")
    def library(self, size: tuple[int, int], divisions: bool = True) -> Library:
        """The library of `size`, made once; it must outlive the views made of it, which go by its identity."""
        if size not in self.libraries:
            self.libraries[size] = Library(self.problem.X, *size, self.rows, divisions)
            self.libraries[size].size = size
        return self.libraries[size]

    @np.errstate(all="ignore")
    def look(self, library: Library, outer: Outer, powers, lead: Atom | None = None) -> list[Candidate]:
        """Candidates of the best small sums under one view: singles, pairs, and sets up to MAX_TERMS by exchange.

        With `lead` the sum may be a fraction: lead * S = sum of terms + S * sum of other terms.
        """
        key = (id(library), outer.name, powers, lead)
        implicit = lead is not None
        view = None if key in self.seen else make_view(library, self.problem.y, outer, powers)
        self.seen.add(key)
        if view is None:
            return []
        S, rows = view.S, self.rows
        # Relative errors for large values, absolute ones for small: neither end of a wide range rules alone.
        weight = view.ok / np.sqrt(S * S + (0.3 * np.median(np.abs(S[view.ok]))) ** 2 + 1e-300)
        if self.problem.weights is not None:
            weight = weight * np.sqrt(self.problem.weights)
        goal = S * library.values(lead) if implicit else S
        t = (goal * weight)[rows]
        with np.errstate(all="ignore"):
            B = library.F * weight[rows]  # (T, n)
            if implicit:
                B = np.concatenate([B, B * S[rows]])
            norms = np.sqrt((B * B).sum(axis=1))
            usable = np.isfinite(norms) & (norms > 0) & (norms < 1e150)
        atoms = [(atom, times_y) for times_y in (False, True)[: 1 + implicit] for atom in library.atoms]
        if implicit:
            # y = y * (almost 1) explains everything and nothing; so would the leading term itself.
            with np.errstate(all="ignore"):
                cosine = np.abs(B @ t) / norms / (math.sqrt(t @ t) or 1.0)
            usable[len(library.atoms) :] &= cosine[len(library.atoms) :] < TRIVIAL
        if not usable.any():
            return []
        if usable.all():
            subsets = Subsets(B, t)
        else:
            subsets = Subsets(B[usable], t)
            atoms = [atom for atom, ok in zip(atoms, usable) if ok]
        fits = Fits(self, library, view, goal, weight, lead, atoms)
        singles = subsets.singles(12)
        fits.settle(singles[:4])
        limit = min(MAX_TERMS, max(2, len(t) // POINTS_PER_TERM), len(atoms))
        found = subsets.pairs(14) if len(atoms) <= GRAM_PAIRS else []
        found = found or best_subsets(subsets, min(2, limit), [s for _, s in singles], self.rng)
        fits.settle(found[:4])
        for k in range(3, limit + 1):
            if fits.exact:
                break
            found = best_subsets(subsets, k, [s for _, s in found[:12]], self.rng, RANDOM_STARTS[implicit]) or found
            if k in (3, 4) and found[0][0] > 1e-10:
                found = sorted({*found, *without_each(subsets, [s for _, s in found[:2]], self.rng)})
            fits.settle(found[: 3 if k < 5 else 2])
        return self.polish(measured(self.problem, list(fits.expressions), "library"))

    @np.errstate(all="ignore")
    def look_wide(self, library: Library, outer: Outer, powers, lead: Atom | None = None) -> list[Candidate]:
        """As `look`, over all products of the library's monomials with its functions: a hundred thousand terms.

        Too many for a Gram matrix, so sets grow from a few starts only.
        """
        view = make_view(library, self.problem.y, outer, powers)
        if view is None:
            return []
        S, rows, implicit = view.S, self.rows[:WIDE_ROWS], lead is not None
        weight = view.ok / np.sqrt(S * S + (0.3 * np.median(np.abs(S[view.ok]))) ** 2 + 1e-300)
        goal = S * library.values(lead) if implicit else S
        monomials = [atom for atom in library.atoms if not atom.base]
        A = library.F[[not atom.base for atom in library.atoms], : len(rows)]
        # The plain functions of columns, differences and products; more of them would hold the search in bad optima.
        functions = [
            base
            for base in library.functions
            if base[0] in ("sin", "cos", "exp", "log") and not any(token in ("+", "/") for token in base)
        ][:WIDE_FUNCTIONS]
        U = np.array([np.ones(len(rows)), *(library.bases[base][rows] for base in functions)])
        U /= np.sqrt((U * U).mean(axis=1))[:, None]
        bases: list[Base] = [(), *functions]
        keys = [(atom, times_y) for times_y in (False, True)[: 1 + implicit] for atom in monomials]
        if implicit:
            A = np.concatenate([A, A * S[rows]])
        A = A * weight[rows]
        A = A / np.maximum(np.sqrt((A * A).mean(axis=1)), 1e-300)[:, None]
        t = (goal * weight)[rows]
        banned = np.zeros((len(A), len(U)), bool)
        if implicit:
            with np.errstate(all="ignore"):
                cosine = np.abs((A * t) @ U.T) / np.sqrt((A * A) @ (U * U).T) / (math.sqrt(t @ t) or 1.0)
            banned[len(monomials) :] = ~(cosine[len(monomials) :] < TRIVIAL)
        products = ProductSubsets(A, U, t, banned)
        found: dict[tuple[int, ...], float] = {}
        for first in products.best([], WIDE_STARTS):
            members = [first]
            for _k in range(2, min(WIDE_TERMS, len(t) // POINTS_PER_TERM) + 1):
                value, members = products.exchange([*members, *products.best(members)])
                found[tuple(sorted(members))] = value
                if value < 1e-12:
                    break
            if found and min(found.values()) < 1e-12:
                break
        else:
            if not found:
                return []
            # What stands for several true terms at once holds the search; go on without it.
            members = list(min(found, key=found.get))
            for banned in members:
                rest = [m for m in members if m != banned]
                value, new = products.exchange([*rest, *products.best(rest, 1, banned)], banned=banned)
                found[tuple(sorted(new))] = value

        def term(member: int):
            atom, times_y = keys[member // len(U)]
            return Atom(atom.powers, bases[member % len(U)]), times_y

        sets = sorted(found.items(), key=lambda item: item[1])
        order = sorted({member for members, _ in sets for member in members})
        fits = Fits(self, library, view, goal, weight, lead, [term(member) for member in order])
        for k in range(2, WIDE_TERMS + 1):
            same = [(value, tuple(order.index(m) for m in members)) for members, value in sets if len(members) == k]
            fits.settle(same[:3])
        return self.polish(measured(self.problem, list(fits.expressions), "library"))


class Fits:
    """Exact least squares for sets of terms under one view, and their expressions."""

    def __init__(self, search: Search, library: Library, view: View, goal, weight, lead: Atom | None, atoms):
        self.search, self.library, self.view = search, library, view
        self.goal, self.weight, self.lead, self.atoms = goal, weight, lead, atoms
        self.expressions: dict[Base, None] = {}
        self.exact = False

    def settle(self, sets) -> None:
        """Fit sets [(residual, indices)] on all points; those worth it become expressions.

        Worth it is a set that beats all earlier ones with as few terms, whatever their view.
        """
        problem, front = self.search.problem, self.search.front
        for _, members in sets:
            solved = self._solve([self.atoms[i] for i in members])
            if solved is None:
                continue
            chosen, c, errors, values = solved
            fvu = fvu_of(problem.y, values, problem.weights)
            k = len(chosen)
            if not fvu < 0.9 * front[k] and not fvu < EXACT:
                continue
            front[k:] = np.minimum(front[k:], fvu)
            self.exact |= fvu < EXACT
            loose = float(np.clip(3 * np.max(errors / np.abs(c)), 1e-9, 0.05))
            for tolerance in dict.fromkeys((1e-9, loose)):
                expr = self._expression(chosen, c, tolerance)
                if expr is not None and len(expr) < 120:
                    self.expressions[expr] = None

    def _solve(self, chosen):
        """(atoms, coefficients, their errors, values (M,) of the law) without needless terms; None if hopeless."""
        S, w = self.view.S, self.weight
        with np.errstate(all="ignore"):
            A = np.array([self.library.values(atom) * (S if times_y else 1.0) for atom, times_y in chosen]).T  # (M, k)
        ok = np.isfinite(A).all(axis=1) & (w > 0)
        if ok.sum() <= A.shape[1]:
            return None
        B, t = A[ok] * w[ok, None], self.goal[ok] * w[ok]
        scale = np.sqrt((B * B).sum(axis=0))
        if not (np.isfinite(scale).all() and (scale > 0).all()):
            return None
        B = B / scale
        keep = list(range(len(chosen)))
        c, residual = least_squares(B, t)
        while len(keep) > 1:
            # Drop the term whose loss the residual hardly notices: rounding noise, or next to nothing.
            worse, q = min((least_squares(B[:, [k for k in keep if k != q]], t)[1], q) for q in keep)
            if worse > max(residual * (1 + 2 / len(t)), EXACT * 1e-3):
                break
            keep.remove(q)
            c, residual = least_squares(B[:, keep], t)
        if all(chosen[k][1] for k in keep) or not np.isfinite(c).all() or (c == 0).any():
            return None
        inverse = np.linalg.pinv(B[:, keep])
        sigma = math.sqrt(max(residual, 1e-32) * float(t @ t) / max(1, len(t) - len(keep)))
        errors = np.sqrt((inverse * inverse).sum(axis=1)) * sigma / scale[keep]
        c = c / scale[keep]
        chosen, A = [chosen[k] for k in keep], A[:, keep]
        return chosen, c, errors, self._predict(chosen, c, A)

    def _predict(self, chosen, c: np.ndarray, A: np.ndarray) -> np.ndarray:
        """Values of y (M,) from the columns A (M, k) of the equation S = sum c A (with S inside A where implicit)."""
        view = self.view
        with np.errstate(all="ignore"):
            of_y = np.array([times_y for _, times_y in chosen])
            S = A[:, ~of_y] @ c[~of_y]
            if of_y.any():
                lead = self.library.values(self.lead)
                S = S / (lead - (A[:, of_y] / np.where(view.S == 0, np.nan, view.S)[:, None]) @ c[of_y])
            return view.base * view.sign * view.unit * view.outer.do(S)

    def _expression(self, chosen, c, tolerance: float) -> Base | None:
        """The law in the columns' own units."""
        view, library = self.view, self.library
        outer = view.outer
        # S = undo(y / (base in its own unit) / exp(log_unit)), so coefficients carry log_unit ** (1 / power).
        log_unit = math.log(view.unit) - library.log_scale(Atom(view.powers, ()))
        per_S = log_unit / float(outer.power) if outer.power is not None else 0.0
        above: list[Term] = []
        below: list[Term] = [(1.0, self.lead.factors() if self.lead else {})]
        lead = library.log_scale(self.lead) if self.lead else 0.0
        for (atom, times_y), value in zip(chosen, c):
            exponent = math.log(abs(value)) - library.log_scale(atom) + lead + (0.0 if times_y else per_S)
            if abs(exponent) > 690:
                return None
            coefficient = math.copysign(math.exp(exponent), value)
            if times_y:
                below.append((-coefficient, atom.factors()))
            else:
                above.append((coefficient, atom.factors()))
        base = Atom(view.powers, ()).factors()
        expr = self._wrap(above, below, base, tolerance)
        if view.sign < 0:
            return expr[1:] if expr[0] == "neg" else ("neg", *expr)
        return expr

    def _wrap(self, above: list[Term], below: list[Term], base: Factors, tolerance: float) -> Base:
        """base * outer(above / below)."""
        outer, positive = self.view.outer, self.library.positive
        power = outer.power if outer.power is not None else ONE
        own = base if outer.power is not None else None
        if len(below) == 1 and not self.lead:
            inner = combination(above, power, own, positive, tolerance)
        else:
            inner = fraction(above, below, power, own, positive, tolerance)
        if outer.power is not None:
            return inner
        return product({**base, (*outer.tokens, *inner): ONE}, positive)


def fraction(above: list[Term], below: list[Term], power: Fraction, base: Factors | None, positive, tolerance) -> Base:
    """product(base) * ((sum above) / (sum below)) ** power, with what both share cancelled, in the plainest scale."""
    forms = []
    for shared in (common_factors(above + below, True), {}):
        over, under = divided(above, 1.0, shared), divided(below, 1.0, shared)
        # The scale that is plainest above and below at once.
        for scale in scales([c for c, _ in over + under], tolerance, True):
            top = [(near_simple(c / abs(scale), tolerance), f) for c, f in over]
            bottom = [(near_simple(c / abs(scale), tolerance), f) for c, f in under]
            table = dict(base or {})
            for terms, sign in ((top, 1), (bottom, -1)):
                split = common_factors(terms, False)
                if power.denominator % 2 == 0:
                    split = {b: e for b, e in split.items() if positive(b)}
                for b, e in split.items():
                    table[b] = table.get(b, Fraction(0)) + sign * power * e
                inner = combination(divided(terms, 1.0, split), ONE, None, positive, tolerance)
                if inner != ("1.0",):
                    table[inner] = table.get(inner, Fraction(0)) + sign * power
            forms.append(product(table, positive))
    return min(forms, key=len)


def least_squares(A: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, float]:
    """(coefficients, residual square relative to the target's)."""
    c = np.linalg.lstsq(A, t, rcond=1e-13)[0]
    r = t - A @ c
    c = c + np.linalg.lstsq(A, r, rcond=1e-13)[0]  # one step of refinement: the last digits matter for exact laws
    r = t - A @ c
    return c, float(r @ r) / (float(t @ t) or 1.0)


# ---- the proposer -----------------------------------------------------------------------------


@np.errstate(all="ignore")
def bases_for(problem: Problem) -> list[tuple[float, ...]]:
    """Monomials to divide the target by: none, the power law nearest to it, and the one that carries its sign."""
    X, y = problem.X, problem.y
    D = X.shape[1]
    found = [(0.0,) * D]
    fit = Regression(problem, False)
    law = np.zeros(D)
    if fit.columns:
        law[fit.columns] = np.clip(np.round(fit.exponents), -6, 6)
        found.append(tuple(law.tolist()))
        # Only the exponents that are surely whole: the others may belong to columns inside S.
        sure = np.zeros(D)
        for j, e, error in zip(fit.columns, fit.exponents, fit.errors):
            if abs(e - round(e)) < min(0.2, 3 * error + 1e-6) and abs(e) > 0.8 and error < 0.15:
                sure[j] = np.clip(round(e), -6, 6)
        found.append(tuple(sure.tolist()))
    mixed = [j for j in range(D) if X[:, j].min() < 0 < X[:, j].max() and (X[:, j] != 0).all()]
    for k in range(1, min(len(mixed), 4) + 1):
        for subset in combinations(mixed, k):
            sign = np.sign(y) * np.prod(np.sign(X[:, subset]), axis=1)
            if abs(sign.sum()) == len(y):
                found.append(tuple(1.0 if j in subset else 0.0 for j in range(D)))
                adjusted = [e + (e % 2 != (j in subset)) if j in mixed else e for j, e in enumerate(law)]
                found.append(tuple(float(e) for e in adjusted))
                return list(dict.fromkeys(found))
    return list(dict.fromkeys(found))


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates after every view of the target, the cheap and likely views first.

    FVUs are on the problem's rows (at most CHECK_ROWS of them).  The work is bounded by the number of views; with a clock
    the generator ends when the budget is over.
    """
    if np.ptp(problem.y) == 0 or len(problem.y) < 6:
        return
    problem = thinned(problem, rng)
    yield from product_laws.propose(problem, budget, rng)
    search = Search(problem, rng)
    yield from run(search, quick_plan(search), budget)
    if len(problem.y) >= FEW_ROWS:
        yield from run(search, deep_plan(search), budget)


def propose_quickly(problem: Problem, budget: Budget, rng: np.random.Generator) -> Iterator[list[Candidate]]:
    """The cheap first third of `propose`, for the many smaller problems of decomposition.py."""
    if np.ptp(problem.y) == 0 or len(problem.y) < 6:
        return
    yield from product_laws.propose(problem, budget, rng)
    search = Search(problem, rng)
    yield from run(search, quick_plan(search), budget)


def quick_plan(search: Search) -> list[tuple]:
    """Views (library, outer, base, lead) over small libraries."""
    bases, units, none = search.bases, search.units, search.none
    small, rational = search.library(SMALL), search.library(RATIONAL, divisions=False)
    plan = [(small, outer, powers, None) for outer in OUTERS for powers in bases]
    plan += [(rational, OUTERS[0], powers, Atom(none, ())) for powers in bases]
    plan += [(rational, OUTERS[0], none, Atom(unit, ())) for unit in units[::2]]
    plan += [(rational, OUTERS[2], none, Atom(none, ()))]
    return plan + [(small, outer, powers, None) for outer in RARE_OUTERS for powers in bases]


def deep_plan(search: Search) -> Iterator[tuple]:
    """Views over large libraries, and small ones under more bases; the widest search last."""
    bases, units, none = search.bases, search.units, search.none
    fractions, large = search.library(FRACTION, divisions=False), search.library(LARGE)
    for outer in OUTERS:
        for powers in bases:
            yield large, outer, powers, None
            if outer.name in ("y", "sqrt"):
                yield fractions, outer, powers, Atom(none, ())
    wide = search.library(WIDE)
    for outer in OUTERS[:5]:
        for powers in bases:
            yield wide, outer, powers, None
            if outer.name == "y":
                yield fractions, outer, powers, Atom(none, ()), True
    small = search.library(SMALL)
    yield from ((small, outer, powers, None) for outer in OUTERS[1:] + RARE_OUTERS for powers in units)
    yield from ((fractions, OUTERS[0], none, Atom(unit, ())) for unit in units[::2])


def run(search: Search, plan, budget: Budget) -> Iterator[list[Candidate]]:
    """Candidates of one view after the other; views of the WIDE library, or marked so, are searched over products."""
    for library, outer, powers, lead, *marked in plan:
        if budget.over():
            return
        look = search.look_wide if marked or library.size == WIDE else search.look
        candidates = look(library, outer, powers, lead)
        if candidates:
            yield candidates
