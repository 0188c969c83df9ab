"""What laws most often are, looked through whole by counts alone: lines, polynomials, sums of few simple terms; a proposer.

    y = u(S)  or  y = x_j^(+-1) u(S),  S a sum of one to four of some hundred terms, u one of a dozen functions,

and S may be a quotient of two such sums.  Terms are monomials with small exponents and the functions of a column, or of a
product, quotient or difference of two, that textbooks use, alone and times a column.  N*T + lambda/S, 1/(1/a + 1/b),
sqrt(a^2 + b^2), f (c + v)/(c - w) and (a d - b c)^3 are found here.  For tables of one column: decaying waves too.

The same mathematics as library_sums.py, whose search it uses, with small libraries, few terms and a sample of the rows, so that
it takes some tenths of a second whatever the table and can be run before anybody looks at the clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import combinations

import numpy as np

from fansr.expressions import bind, literal_value, rename
from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers import one_column_curves
from fansr.proposers.calendar_waves import calendar_laws
from fansr.proposers.library_sums import Equation, Search
from fansr.proposers.parts.candidates import Polisher, measured
from fansr.proposers.parts.expression_assembly import Base, powered, product, times, total
from fansr.proposers.parts.inner_scan import Projector
from fansr.proposers.parts.sparse_sums import Subsets, best_subsets, without_each
from fansr.proposers.parts.target_transforms import OUTER, OUTERS, RARE_OUTERS, Outer
from fansr.proposers.parts.terms import Atom, Library, oscillates, varies

ROWS = 400  # of a longer table that are looked at; the laws given are measured on all
MIN_ROWS = 4
FOUND = 1e-15  # FVU at which a law of few terms is no accident: nothing further is tried
SIZES = {
    "plain": (90, 200),
    "divided": (130, 60),
    "quotient": (45, 0),
}  # monomials, terms with a function (terms.Library)
CURVE_ROWS, DRAWN = 100, 8  # rows looked at of a curve of a transformed target, and curves whose grids are drawn in
PAIRED = {"plain": 420, "divided": 110}  # of a library's terms that enter sums; the others stand alone
SEARCH_ROWS = 128  # that terms are chosen on; coefficients are fitted to all
MOST = {"plain": 4, "divided": 2, "quotient": 4}  # terms of a sum
POINTS_PER_TERM = 5  # fewer rows for each term and the choice among hundreds fits the noise
MOST_COLUMNS = 5  # of a wider table that terms are built of
MOST_PAIRS, BEYOND = (
    435,
    1.2,
)  # products of two columns looked at for that, and how much better than any one column one must be
MOST_BASES = 6  # columns that the target is divided and multiplied by
DEGREES = range(1, 6)  # of polynomials in one column
LEAST_ANGLE = 0.4  # radians that a column must span for its sine to be a term
LEAST_TURNS = 0.4  # of a wave over the table; with fewer it is an exponential or a parabola in disguise
NEAR = 1e-6  # residual share below which a set of terms is near exact
STARTS = {False: 4, True: 16}  # random ones of sums, and of quotients, which have many near-solutions
SAME = 1 - 1e-6  # cosine above which y times a term is no help to explain y; longer sums (library_sums.py) ask for more
OVER_A_COLUMN = [outer for outer in OUTERS if outer.name in ("y", "exp")]  # x_j (T1 + T2), x_j exp(T1 + T2)
CUBE = Outer("cube", lambda S: S**3, np.cbrt, lambda u: np.isfinite(u), Fraction(3))


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates by kinds of law, the commonest first; FVUs on all rows.  Deterministic, bounded by counts, blind to the clock."""
    if len(problem.y) < MIN_ROWS or not np.ptp(problem.y) > 0:
        return
    sample = _sample(problem, rng)
    best = math.inf
    columns = None  # those the terms are built of, in a table of many

    def given(candidates: list[Candidate]) -> list[Candidate]:
        nonlocal best
        if columns is not None:
            candidates = [replace(c, expr=rename(c.expr, dict(enumerate(columns)))) for c in candidates]
        if sample is not problem:
            leaders = sorted(candidates, key=lambda c: c.fvu)[:4]
            exprs = [_bound(c) for c in leaders]
            candidates = measured(problem, exprs, "sums")
        for c in candidates:
            c.source = "sums"
        best = min([best, *(c.fvu for c in candidates if len(c.consts) + 2 < len(problem.y))])
        return candidates

    polish = Polisher(sample)
    yield given(polish(measured(sample, lines(sample), "sums"), 1))
    waves = calendar_laws(sample)
    if waves:
        yield given(waves)
    if best < FOUND:
        return
    if sample.X.shape[1] > MOST_COLUMNS:
        columns = leading_columns(sample)
        narrow = replace(sample, X=np.ascontiguousarray(sample.X[:, columns]), names=[sample.names[j] for j in columns])
        sample = narrow
    search = Sums(sample, rng)
    for step in search.plan() if len(problem.y) >= 6 else ():
        yield given(search.look(*step))
        if best < FOUND:
            return
    varying = [j for j in range(sample.X.shape[1]) if np.ptp(sample.X[:, j]) > 0]
    if len(varying) == 1:
        yield given(polish(measured(sample, inside_out(sample, varying[0]), "sums"), 3, 4.0))
        if best < FOUND:
            return
        found = polish(measured(sample, decaying_waves(sample, varying[0]), "sums"), 2, 4.0)
        yield given([c for c in found if turns_of(c, sample.X[:, varying[0]]) > LEAST_TURNS])


def _bound(candidate: Candidate) -> Base:
    return tuple(bind(candidate.expr, candidate.consts))


def _sample(problem: Problem, rng) -> Problem:
    M = len(problem.y)
    if M <= ROWS:
        return problem
    rows = np.sort(rng.permutation(M)[:ROWS])
    weights = None if problem.weights is None else problem.weights[rows]
    return Problem(
        np.ascontiguousarray(problem.X[rows]), problem.y[rows], problem.names, problem.target, weights=weights
    )


@np.errstate(all="ignore")
def leading_columns(problem: Problem, count: int | None = None) -> list[int]:
    """Up to MOST_COLUMNS columns (sorted) that a regression on simple functions of them takes first, for y and for log|y|."""
    count = count or MOST_COLUMNS
    X, y = problem.X, problem.y
    orders = []
    one_sign = bool((y > 0).all() or (y < 0).all())  # else it is no product of powers
    for target in (y / np.abs(y).max(), *((np.log(np.abs(y)),) if one_sign else ())):
        r = target - target.mean()
        features = np.stack([X, X * X, 1 / X, np.log(np.abs(X))])  # (4, M, D)
        features = features / np.abs(features).max(axis=1, keepdims=True)
        features = features - features.mean(axis=1, keepdims=True)
        norms = np.sqrt((features**2).sum(axis=1))  # (4, D)
        features = np.where((norms > 1e-9) & np.isfinite(norms), 1 / norms, 0.0)[:, None, :] * features
        features = np.nan_to_num(features, nan=0.0, posinf=0.0, neginf=0.0)
        pairs = np.array(list(combinations(range(X.shape[1]), 2))[:MOST_PAIRS])
        products = (X / np.abs(X).max(axis=0))[:, pairs[:, 0]] * (X / np.abs(X).max(axis=0))[:, pairs[:, 1]]
        products = products - products.mean(axis=0)
        products = np.nan_to_num(products / np.sqrt((products**2).sum(axis=0)), nan=0.0, posinf=0.0, neginf=0.0)
        order: list[int] = []
        taken: list[np.ndarray] = []
        while len(order) < count and len(taken) < len(y) // 8 + 1 and r @ r > 1e-20 * (target @ target):
            gains = np.abs(np.einsum("fmd,m->fd", features, r)).max(axis=0)
            gains[order] = -1.0
            both = np.abs(products.T @ r)
            if both.max() > BEYOND * gains.max():  # a product of two columns that neither shows by itself
                k = int(both.argmax())
                order += [int(j) for j in pairs[k] if j not in order]
                taken.append(products[:, k : k + 1])
                products[:, k] = 0.0
            else:
                order.append(int(gains.argmax()))
                taken.append(features[:, :, order[-1]].T)
            Q, _ = np.linalg.qr(np.concatenate(taken, axis=1)[:, : len(y) // 2])
            r = target - target.mean()
            r = r - Q @ (Q.T @ r)
        orders.append(order)
    found = list(dict.fromkeys(o[place] for place in range(count) for o in orders if place < len(o)))
    return sorted(found[:count]) or list(range(count))


# ---- lines and polynomials --------------------------------------------------------------------


def lines(problem: Problem) -> list[Base]:
    """y linear in each column alone, in all of them, and polynomials of one column, by least squares; numbers as literals."""
    X, y = problem.X, problem.y
    varying = [j for j in range(X.shape[1]) if np.ptp(X[:, j]) > 0]
    plans = [[(), (j,)] for j in varying]
    if 1 < len(varying) <= len(y) - 2:
        plans += [[(), *((j,) for j in varying)], [(j,) for j in varying]]
    if len(varying) == 1:
        j = varying[0]
        plans += [[(j,) * k for k in range(degree + 1)] for degree in DEGREES if degree + 2 < len(y)]
    w = np.ones(len(y)) if problem.weights is None else np.sqrt(problem.weights / problem.weights.max())
    laws = []
    with np.errstate(all="ignore"):
        for plan in plans:
            A = np.column_stack([np.prod(X[:, list(term)], axis=1) for term in plan])
            sizes = np.abs(A).max(axis=0)
            if not (np.isfinite(sizes).all() and (sizes > 0).all()):
                continue
            c = np.linalg.lstsq(A / sizes * w[:, None], y * w, rcond=1e-14)[0] / sizes
            # What is left of nothing: a coefficient whose whole term is rounding of the others.
            keep = np.abs(c) * sizes > 1e-12 * np.abs(c * sizes).max()
            terms = [
                (float(value), {(f"x{i + 1}",): Fraction(term.count(i)) for i in set(term)})
                for value, term, kept in zip(c, plan, keep)
                if kept and math.isfinite(value)
            ]
            if terms:
                laws.append(total(terms[::-1]))
    return list(dict.fromkeys(laws))


# ---- curves of a transformed target -----------------------------------------------------------


@np.errstate(all="ignore")
def inside_out(problem: Problem, j: int, count: int = 2) -> list[Base]:
    """Laws exp(a + b g(x)) and x^n / (a + b g(x)), n from 0 to 3, g a curve of one_column_curves.py: Antoine's and Planck's laws.

    Rows weigh as the target's own errors do there: by (dy/du)^2 for u = log|y| and u = x^n / y.
    """
    rows = np.argsort(problem.X[:, j], kind="stable")
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, CURVE_ROWS).astype(int))]
    x, y = problem.X[rows, j], problem.y[rows]
    w = np.ones(len(x)) if problem.weights is None else problem.weights[rows]
    if len(x) < 6 or not (y != 0).all():
        return []
    X: Base = (f"x{j + 1}",)
    # u = x^n / y has dy/du = -y^2 / x^n.
    views = [(x**n / y, (y * y / x**n) ** 2, n) for n in range(4) if n == 0 or (x != 0).all()]
    if (y > 0).all() or (y < 0).all():
        views.insert(0, (np.log(np.abs(y)), y * y, None))
    laws, shapes = [], one_column_curves.Shapes(x)
    for u, weight, n in views:
        weight = w * weight
        if not (np.isfinite(u).all() and np.ptp(u) > 0 and np.isfinite(weight).all() and weight.max() > 0):
            continue
        weight = np.maximum(weight / weight.max(), 1e-12)
        smaller = Problem(X=np.ascontiguousarray(x[:, None]), y=u, names=["x1"], weights=weight)
        for curve in one_column_curves.single(shapes, one_column_curves.projector(smaller), DRAWN)[:count]:
            law = one_column_curves.law_of(smaller, [curve])
            if not law:
                continue
            inner = tuple(X[0] if token == "x1" else token for token in law)
            if n is None:
                laws.append((*(("neg",) if y[0] < 0 else ()), "exp", *inner))
            else:
                laws.append(("/", *powered(X, Fraction(n)), *inner) if n else ("inv", *inner))
    return laws


# ---- decaying waves ---------------------------------------------------------------------------


@np.errstate(all="ignore")
def decaying_waves(problem: Problem, j: int, count: int = 3) -> list[Base]:
    """b + a exp(-k x) sin(w x + m) of one column: the best of a grid of (k, w), a, b and the phase by regression."""
    x, y = problem.X[:, j], problem.y
    if len(x) < 10:
        return []
    span = float(np.ptp(x))
    rates = np.concatenate([[0.0], np.geomspace(0.3, 20.0, 12), -np.geomspace(0.3, 20.0, 5)]) / span
    turns = np.arange(0.5, max(1.0, min(25.0, len(np.unique(x)) / 5)), 0.2)
    w = 2 * np.pi * turns / span
    fit = Projector([np.ones_like(x)], y, problem.weights)
    S, C = np.sin(w[:, None] * x), np.cos(w[:, None] * x)  # (W, M)
    found = []
    for k in rates:
        envelope = np.exp(-k * (x - (x.min() if k > 0 else x.max())))
        shares, phases = fit.pair_shares(S * envelope, C * envelope)
        found += [(float(shares[i]), float(k), float(w[i]), float(phases[i])) for i in np.argsort(shares)[:2]]
    laws = []
    X: Base = (f"x{j + 1}",)
    for share, k, omega, phase in sorted(found)[:count]:
        if not share < 1:
            continue
        wave: Base = ("sin", "+", *times(omega, X), repr(phase))
        # Columns may be far from zero (seconds since 1970): there the envelope alone leaves the range of numbers.
        start = x.min() if k > 0 else x.max()
        values = np.exp(-k * (x - start)) * np.sin(omega * x + phase)
        A = np.column_stack([np.ones_like(x), values])
        b, a = np.linalg.lstsq(A / np.abs(A).max(axis=0), y, rcond=None)[0] / np.abs(A).max(axis=0)
        a = a * np.exp(k * start)
        if not (math.isfinite(a) and math.isfinite(b) and a):
            continue
        whole = times(float(a), ("*", "exp", *times(-k, X), *wave) if k else wave)
        laws.append(whole)
        if abs(b) > 1e-9 * np.abs(y).max():
            laws.append(("+", *whole, repr(float(b))))
    return laws


def turns_of(candidate: Candidate, x: np.ndarray) -> float:
    """Turns that a wave a exp(-k x) sin(w x + m) makes over the table."""
    bound = _bound(candidate)
    after = bound[bound.index("sin") + 2 :]  # w * x + m: the factor stands before x, as a number or as multN
    scale = literal_value(after[1]) if after[0] == "*" else float(after[0][4:]) if after[0][:4] == "mult" else 1.0
    return abs(scale or 1.0) * float(np.ptp(x)) / (2 * np.pi)


# ---- sums of few terms ------------------------------------------------------------------------


class Sums(Search):
    """The search of library_sums.py with few terms, fewer views, and functions of 1 + x, 1 - x and 2 x besides."""

    def __init__(self, problem: Problem, rng: np.random.Generator):
        super().__init__(problem, rng)
        self.lengths: dict[Atom, int] = {}
        self.rows = self.rows[np.sort(rng.permutation(len(self.rows))[:SEARCH_ROWS])]

    def library(self, size, divisions: bool = True) -> Library:
        made = size in self.libraries
        library = super().library(size, divisions)
        if not made and size[1]:
            _enriched(library, self.rows)
        return library

    def paired(self, library: Library) -> int:
        """How many terms of a library, from the first, sums are made of."""
        return PAIRED["divided" if library is self.libraries.get(SIZES["divided"]) else "plain"]

    def length(self, atom: Atom) -> int:
        """Tokens of a term."""
        if atom not in self.lengths:
            self.lengths[atom] = len(product(atom.factors()))
        return self.lengths[atom]

    def plan(self) -> Iterator[tuple]:
        """(library, outer, base, lead, most terms): plain sums, functions of sums, quotients, then all over a column."""
        few = min(MOST["plain"], max(2, len(self.problem.y) // POINTS_PER_TERM))
        plain, quotient = self.library(SIZES["plain"]), self.library(SIZES["quotient"], divisions=False)
        for outer in OUTERS:
            yield plain, outer, self.none, None, few if outer.name == "y" else min(few, 3)
        yield plain, CUBE, self.none, None, min(few, 3)
        one = Atom(self.none, ())
        if few > 2:
            yield quotient, OUTER["y"], self.none, one, min(few, MOST["quotient"])
            yield quotient, OUTER["sqrt"], self.none, one, min(few, MOST["quotient"])
        divided = self.library(SIZES["divided"])
        for powers in dict.fromkeys((*self.units[: 2 * MOST_BASES], *self.fronts)):
            if powers != self.none:
                for outer in OVER_A_COLUMN:
                    yield divided, outer, powers, None, min(few, MOST["divided"])
        for outer in RARE_OUTERS:
            yield divided, outer, self.none, None, min(few, MOST["divided"])

    @np.errstate(all="ignore")
    def look(self, library: Library, outer: Outer, powers, lead: Atom | None, most: int) -> list[Candidate]:
        """Candidates of the best sums of up to `most` terms under one view."""
        equation = Equation(self.problem, library, outer, Atom(powers, ()), lead)
        features = equation.features(self.rows, SAME)
        if features is None:
            return []
        B, t = features
        atoms, norms = equation.terms, equation.norms
        laws: dict[Base, None] = {}

        def settle(sets):
            """The laws of the best set; where it is near exact of its nearest rivals too, one of which may be plainer."""
            for _, members in sets[: 3 if sets and sets[0][0] < NEAR else 1]:
                laws.update(dict.fromkeys(self.settled(equation, members)))

        plain = lambda found: (max(found[0], 1e-12), sum(self.length(atoms[i][0]) for i in found[1]))  # noqa: E731
        left = 1 - (B @ t / norms) ** 2 / (float(t @ t) or 1.0)
        settle(sorted(((max(0.0, float(left[i])), (int(i),)) for i in np.argsort(left)[:6]), key=plain))
        # The commonest terms come first in a library; a Gram matrix of all would cost more than the rest.
        paired = len(atoms) if lead else int(np.searchsorted(equation.places, self.paired(library)))
        subsets = Subsets(B[:paired], t, norms[:paired]) if most > 1 and paired > 1 else None
        found = subsets.pairs(8) if subsets else []
        settle(sorted(found, key=plain))
        for k in range(3, most + 1):
            if not found or found[0][0] < 1e-12:
                break
            found = best_subsets(subsets, k, [members for _, members in found[:6]], self.rng, STARTS[lead is not None])
            if found and found[0][0] < 1e-12:  # of sums that are equal the shortest: a^2 + b^2, not (a - b)^2 + 2 a b
                found = [*found, *without_each(subsets, [found[0][1]], self.rng)]
            settle(sorted(found, key=plain))
        return self.polish(measured(self.problem, list(laws), "sums"), 2)


@np.errstate(all="ignore")
def _enriched(library: Library, rows: np.ndarray) -> None:
    """Add functions of 1 + x, 1 - x, 1 - x^2 and 2 x to a library's terms, and the sine of narrow angles: alone, times and
    over each column."""
    X = library.X
    D = X.shape[1]
    fresh: list[Base] = []
    for j in range(min(D, 6)):
        x, v = (f"x{j + 1}",), X[:, j]
        if not np.ptp(v) > 0:
            continue
        arguments = [(("+", "1.0", *x), 1 + v), (("-", "1.0", *x), 1 - v), (("-", "1.0", "pow2", *x), 1 - v * v)]
        for base, u in arguments:
            if np.abs(v).max() > 20 or not u.min() > 0:
                continue
            fresh += [base for base, u in ((("log", *base), np.log(u)), (("pow1_2", *base), np.sqrt(u)), (("inv", *base), 1 / u))
                      if library.bases.setdefault(base, u) is u]  # fmt: skip
        if not oscillates(v) and np.ptp(v) > LEAST_ANGLE and np.abs(v).max() < 2 * np.pi:  # angles of a narrow range
            fresh += [base for base, u in ((("sin", *x), np.sin(v)), (("cos", *x), np.cos(v)))
                      if library.bases.setdefault(base, u) is u]  # fmt: skip
        if oscillates(2 * v):
            fresh += [base for base, u in ((("sin", "mult2", *x), np.sin(2 * v)), (("cos", "mult2", *x), np.cos(2 * v)))
                      if library.bases.setdefault(base, u) is u]  # fmt: skip
    none = (0.0,) * D
    units = [tuple(float(i == j) for i in range(D)) for j in range(min(D, 6)) if np.ptp(X[:, j]) > 0]
    further = [tuple(k * e for e in unit) for unit in units for k in (2.0, -1.0)] if D <= 3 else []
    atoms = [Atom(powers, base) for base in fresh for powers in (none, *units, *further)]
    if D <= 4:  # a b cos(g): a function of one column times two others
        plain = [(token, f"x{j + 1}") for j in range(D) for token in ("sin", "cos", "exp", "log")]
        plain = [base for base in plain if base in library.bases]
        pairs = [tuple(float(i in two) for i in range(D)) for two in combinations(range(D), 2)]
        atoms += [Atom(powers, base) for base in plain for powers in pairs if not powers[int(base[1][1:]) - 1]]
    known = set(library.atoms)
    atoms = [atom for atom in atoms if atom not in known]
    F = library.table(atoms, rows)
    good = varies(F)
    if good.any():
        # After the monomials, before the products with functions: they are as common.
        at = sum(not atom.base for atom in library.atoms)
        library.atoms[at:at] = [atom for atom, ok in zip(atoms, good) if ok]
        library.F = np.concatenate([library.F[:at], F[good], library.F[at:]])
