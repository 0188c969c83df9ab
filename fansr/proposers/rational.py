"""Polynomials and quotients of polynomials found whole, by linear algebra over all monomials at once: a proposer.

A search that adds one term at a time gets lost among the many near-solutions of a sum of ten products.  Where the table is
exact it need not search: the terms of y = P(x) are the solution of one least-squares problem over every monomial up to some
degree, and those of y = P(x) / Q(x) the null vector of [P's monomials, -y * Q's monomials]; what does not belong comes out
as zero.  One QR factorisation serves y, its powers and its products with the columns (which are denominators).

On noisy tables nothing is exact, and nothing is proposed: library_sums.py is the one for those.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.candidates import proposals
from fansr.proposers.parts.exact_support import FAINT, KEPT, support
from fansr.proposers.parts.expression_assembly import (
    HALF,
    ONE,
    Base,
    Factors,
    Term,
    collected,
    combination,
    merged,
    product,
    scale_of,
)
from fansr.proposers.parts.monomials import Exponents, distinct_columns, factors_of, monomials, values
from fansr.proposers.parts.sum_spelling import fraction, parted, short_sum
from fansr.proposers.parts.target_transforms import OUTER, View, negated, view_of
from fansr.proposers.parts.terms import thinned

ROWS = 1000  # points the factorisations use
MOST_COLUMNS = 8
# Of a polynomial: monomials in all, degree by number of columns (else 6).
MOST_TERMS, DEGREE = 470, {1: 12, 2: 10, 3: 8}
SHARE = 0.92  # monomials for each point: some points must be left to tell
QUOTIENT_TERMS, QUOTIENT_DEGREE = 90, {1: 8, 2: 6}  # above or below a bar
LEFT_OVER = 60  # points more than unknowns of a quotient of many columns
READ_OFF = 3  # views whose terms are read off at a degree: where one has none, others mostly have none
MOST_FRONTS = 80  # monomials tried as what stands below a polynomial
EXACT = 1e-22  # squared residual relative to the target's spread that counts as none
FAR = 1e-6  # share of the target's spread that a quotient may leave
LARGEST_LOG = 600  # of a coefficient: beyond it is no float


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of exact polynomials and quotients, none where the table has neither.  Bounded by counts."""
    problem = thinned(problem, rng)
    columns = distinct_columns(problem.X)
    if len(problem.y) < 12 or not 0 < len(columns) <= MOST_COLUMNS or not np.ptp(problem.y) > 0:
        return
    halves = (False, True)[: 1 + (len(columns) <= 4 and bool((problem.X[:, columns] > 0).all()))]
    tables = (Table(problem, columns, half, rng) for half in halves)
    batches = (laws for table in tables for step in (polynomials, exponentials, quotients) for laws in step(table))
    yield from proposals(problem, "rational", batches, budget, 4, 30.0, EXACT, worst=EXACT)


class Table:
    """One problem's columns, each divided by its largest size (its root first, with `halves`), and rows to look at."""

    def __init__(self, problem: Problem, columns: list[int], halves: bool, rng):
        rows = np.sort(rng.permutation(len(problem.y))[:ROWS])
        self.problem, self.columns = problem, columns
        self.each = HALF if halves else ONE
        self.scale = [float(np.abs(problem.X[:, j]).max()) for j in columns]
        U = problem.X[np.ix_(rows, columns)] / self.scale
        self.U = np.sqrt(U) if halves else U  # (n, D')
        # A column of few values makes its high powers sums of its low ones, and any function of it a polynomial.
        self.values_of = [len(np.unique(u)) for u in U.T]
        self.y_scale = scale_of(problem.y)
        self.y = problem.y[rows] / self.y_scale
        self.root = np.ones(len(rows)) if problem.weights is None else np.sqrt(problem.weights[rows])
        self.exact = max(EXACT, 1e3 * (2e-16 * float(np.abs(self.y).max() / self.y.std())) ** 2)
        self._positive = {f"x{j + 1}" for j in columns if bool((problem.X[:, j] > 0).all())}

    def monomials(self, degree: int, each: int = 2) -> list[Exponents]:
        """Exponents of all monomials up to a degree, low degrees first; a column's at most one for `each` so many of its values."""
        highest = [max(1, n // each) for n in self.values_of]
        return [v for v in monomials(len(self.columns), degree) if all(e <= most for e, most in zip(v, highest))]

    def terms(self, vectors, coefficients, log_factor: float = 0.0) -> list[Term] | None:
        """The sum in the columns' own units, all coefficients times exp(log_factor); None where one is no float."""
        found = []
        for v, c in zip(vectors, coefficients):
            log = math.log(abs(c)) - self.log_unit(v) + log_factor
            if abs(log) > LARGEST_LOG:
                return None
            found.append((math.copysign(math.exp(log), c), factors_of(v, self.each, self.columns)))
        return found

    def log_unit(self, vector) -> float:
        """Logarithm of what a monomial was divided by."""
        return sum(float(self.each) * e * math.log(s) for e, s in zip(vector, self.scale))

    def positive(self, base: Base) -> bool:
        return len(base) == 1 and base[0] in self._positive

    @cached_property
    def views(self) -> list[tuple[View, np.ndarray, Exponents]]:
        """views() of this table."""
        return views(self)


def degrees(D: int, most: int, limits: dict[int, int]) -> Iterator[int]:
    """Degrees from 2 up whose monomials of D columns are no more than `most`."""
    return (degree for degree in range(2, limits.get(D, 6) + 1) if math.comb(D + degree, D) <= most)


# ---- polynomials ------------------------------------------------------------------------------


@np.errstate(all="ignore")
def views(table: Table) -> list[tuple[View, np.ndarray, Exponents]]:
    """Functions of y that may be polynomials, times what may stand below them: (view, S * front, front's exponents)."""
    D = len(table.columns)
    found = []
    for name in ("y", "1/y", "sqrt", "1/sqrt", "exp", "log", "sin"):
        outer = OUTER[name]
        unit = 1.0 if name in ("log", "sin") else table.y_scale
        view = view_of(table.y, outer, unit=unit / table.y_scale)
        if view is not None and view.ok.all():
            found.append((view._replace(unit=unit), view.S, (0,) * D))
    fronts = [v for v in monomials(D, 3 if D < 6 else 2) if any(v) and max(v) < 3][:MOST_FRONTS]
    below = values(table.U, fronts)  # (n, F)
    for view in [view for view, _, _ in found if view.outer.power is not None]:
        S = np.ascontiguousarray((view.S[:, None] * below).T)
        usable = np.isfinite(S).all(axis=1) & (S.std(axis=1) > 0)
        found += [(view, row, front) for row, front, ok in zip(S, fronts, usable) if ok]
    return found


def polynomials(table: Table) -> Iterator[list[Base]]:
    """Laws of the first exact polynomial among the views, the lowest degree first; [] after every degree that has none."""
    n, D = table.U.shape
    looks = table.views
    T = np.array([S for _, S, _ in looks]).reshape(-1, n).T  # (n, views)
    T = T / T.std(axis=0)
    squares = (T * T).sum(axis=0)
    B, Q, R = np.empty((n, 0)), np.empty((n, 0)), np.empty((0, 0))
    for degree in degrees(D, min(MOST_TERMS, int(SHARE * n)), DEGREE):
        if degree % 2 and degree < 4:
            continue  # a few degrees more cost less than another factorisation
        vectors = table.monomials(degree)
        more = values(table.U, vectors[B.shape[1] :])
        B = np.hstack([B, more / np.sqrt((more * more).mean(axis=0))])
        Q, R = _widened(Q, R, B)
        inside = Q.T @ T
        # Roughly first, the difference of two squares; then what is left itself.
        near = np.flatnonzero(squares - (inside * inside).sum(axis=0) < max(1e-9, 10 * table.exact) * squares)
        left = T[:, near] - Q @ inside[:, near]
        left -= Q @ (Q.T @ left)
        good = near[(left**2).sum(axis=0) < table.exact * (n - len(vectors))]
        sums: dict[tuple, tuple] = {}
        for k in sorted(good, key=lambda k: sum(looks[k][2]))[:READ_OFF]:
            chosen = support(B, T[:, k], factors=(Q, R), vectors=vectors)
            if chosen is not None:
                view, S, front = looks[k]
                one = Polynomial.of(table, view, S, front, [vectors[i] for i in chosen])
                # Times a column it is a polynomial as well: one law, of which the most precise is kept.
                key = (view.outer.name, frozenset(one.vectors))
                if key not in sums or one.error < sums[key].error:
                    sums[key] = one
        yield [law for one in sums.values() for law in polynomial_laws(table, one)]


def _widened(Q: np.ndarray, R: np.ndarray, B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """QR factors of B (n, T) from those of its first columns."""
    known = Q.shape[1]
    if known:
        first = Q.T @ B[:, known:]
        rest = B[:, known:] - Q @ first
        second = Q.T @ rest
        more, corner = np.linalg.qr(rest - Q @ second)
        if np.abs(np.diag(corner)).min(initial=1.0) > 1e-8:  # else rounding would decide on directions
            below = np.zeros((corner.shape[0], known))
            return np.hstack([Q, more]), np.block([[R, first + second], [below, corner]])
    return np.linalg.qr(B)


class Polynomial(NamedTuple):
    """A view's S = sum of c_i prod x^vector_i in the table's units, and the square that it leaves of S."""

    view: View
    vectors: list[Exponents]
    c: np.ndarray
    error: float

    @classmethod
    def of(cls, table: Table, view: View, S: np.ndarray, front: Exponents, vectors: list[Exponents]) -> Polynomial:
        """The sum of which S, the view's times a front, has these monomials."""
        c = np.linalg.lstsq(values(table.U, vectors), S, rcond=1e-15)[0]
        shifted = [tuple(a - b for a, b in zip(v, front)) for v in vectors]
        left = view.S - values(table.U, shifted) @ c
        return cls(view, shifted, c, float(left @ left))


def polynomial_laws(table: Table, found: Polynomial) -> list[Base]:
    """The law of a view that is a polynomial."""
    view = found.view
    power = view.outer.power
    # Units of the columns and of y go into the coefficients.
    log_unit = math.log(view.unit) / float(power) if power is not None else 0.0
    terms = table.terms(found.vectors, found.c, log_unit)
    if terms is None or abs(log_unit) > LARGEST_LOG:
        return []
    if power is None and view.unit != 1.0:  # unit * exp(S)
        terms = [(value, f) for value, f in collected([*terms, (math.log(view.unit), {})]) if f or abs(value) > 1e-9]
    forms = [view.outer.law(short_sum(terms, table.positive))] if terms else []
    if power is not None:
        forms.append(combination(terms, power, None, table.positive))
    return [negated(law) if view.sign < 0 else law for law in sorted(forms, key=len)[:1]]


def exponentials(table: Table) -> Iterator[list[Base]]:
    """Laws prod x^e * exp(polynomial): log|y| is a polynomial and multiples of the columns' logarithms."""
    (n, D), y = table.U.shape, table.y
    if table.each != 1 or not ((y > 0).all() or (y < 0).all()) or not (table.U != 0).all():
        return
    logs = np.log(np.abs(table.U))
    logarithms = [tuple(-99 * (k == j) for k in range(D)) for j in range(D)]  # next to no monomial
    t = np.log(np.abs(y))
    for degree in degrees(D, min(QUOTIENT_TERMS * 2, int(SHARE * n) - D), {1: 4}) if t.std() > 0 else ():
        if degree > 4:
            return
        vectors = table.monomials(degree)
        B = np.column_stack([values(table.U, vectors), logs])
        size = np.sqrt((B * B).mean(axis=0))
        chosen = support(B / size, t / t.std(), vectors=[*vectors, *logarithms]) if (size > 0).all() else None
        if chosen is None or max(chosen) < len(vectors):
            yield []
            continue
        c = np.linalg.lstsq(B[:, chosen], t, rcond=1e-15)[0]
        front = [Fraction(0)] * D
        for i, value in zip(chosen, c):
            if i >= len(vectors):
                front[i - len(vectors)] = Fraction(float(value)).limit_denominator(6)
        inside = [vectors[i] for i in chosen if i < len(vectors)]
        log_unit = math.log(table.y_scale) - sum(float(e) * math.log(s) for e, s in zip(front, table.scale))
        # What stands in front is divided out; the rest is the exponential of a polynomial.
        rest = view_of(y, OUTER["exp"], np.prod(np.abs(table.U) ** np.array(front, float), axis=1), 1.0)
        if not inside or rest is None or abs(log_unit) > LARGEST_LOG:
            yield []
            continue
        rest = rest._replace(unit=math.exp(log_unit))
        laws = polynomial_laws(table, Polynomial.of(table, rest, rest.S, (0,) * D, inside))
        factors: Factors = factors_of(front, ONE, table.columns)
        yield [product(merged(factors, {law: ONE}), lambda base: False) for law in laws]


# ---- quotients --------------------------------------------------------------------------------


def quotients(table: Table) -> Iterator[list[Base]]:
    """Laws y ** (1 / power) = P / Q of the lowest degree that is exact; [] after every degree that is not."""
    n, D = table.U.shape
    looks = [view for view, _, front in table.views if not any(front) and view.outer.power in (ONE, HALF)]
    for degree in degrees(D, min(QUOTIENT_TERMS, max(n // 5, (n - LEFT_OVER) // 2 if D > 2 else 0)), QUOTIENT_DEGREE):
        vectors = table.monomials(degree, 4)
        B = values(table.U, vectors)
        laws: list[Base] = []
        for view in looks:
            S = view.S / np.abs(view.S).max()
            c = _null_vector(B, S)
            if c is not None and _follows(B, S, c):
                laws += quotient_laws(table, view, vectors, c)
        yield laws


@np.errstate(all="ignore")
def _follows(B: np.ndarray, S: np.ndarray, c: np.ndarray) -> bool:
    """Whether the quotient with [B, -S B] c = 0 is anywhere near S: where its terms cancel it is not, and spelling it takes long."""
    above, below = np.split(c, 2)
    left = S - (B @ above) / (B @ below)
    return bool(left @ left < FAR * np.sum((S - S.mean()) ** 2))


def _null_vector(B: np.ndarray, S: np.ndarray) -> np.ndarray | None:
    """The sparsest c (2T,) found with [B, -S B] c = 0, low degrees preferred; None where there is none."""
    A = np.hstack([B, -S[:, None] * B])
    size = np.sqrt((A * A).sum(axis=0))
    if not (size > 0).all():
        return None
    R = np.linalg.qr(A / size, mode="r")
    s = np.linalg.svd(R, compute_uv=False)
    if not s[-1] < 1e-10 * s[0]:
        return None
    _, s, Vt = np.linalg.svd(R)
    r = int((s < 1e-12 * s[0]).sum())
    if r == 0:
        r = int(s[-1] < 1e-10 * s[0] and s[-1] < 1e-3 * s[-2])
    if r == 0 or r > len(s) // 2:
        return None
    N = Vt[-r:]  # (r, 2T)
    # Where P and Q of lower degree do, P R / Q R does too: clear the highest degrees first (they come last in each half).
    T = B.shape[1]
    order = [q for pair in zip(range(T - 1, -1, -1), range(2 * T - 1, T - 1, -1)) for q in pair]
    row = 0
    for q in order:
        if row == r - 1:
            break
        pivot = row + int(np.abs(N[row:, q]).argmax())
        if abs(N[pivot, q]) < 1e-7 * np.abs(N[row:]).max():
            continue
        N[[row, pivot]] = N[[pivot, row]]
        N[row + 1 :] -= np.outer(N[row + 1 :, q] / N[row, q], N[row])
        row += 1
    c = N[-1] / np.abs(N[-1]).max()
    keep = np.flatnonzero(np.abs(c) > 1e-6)
    for _ in range(3):
        if not 2 <= len(keep) <= KEPT:
            return None
        _, s, Vt = np.linalg.svd(np.linalg.qr(A[:, keep] / size[keep], mode="r"))
        c = Vt[-1] / np.abs(Vt[-1]).max()
        near = np.abs(c) > 1e-5
        if near.all():
            break
        keep = keep[near]
    else:
        return None
    if np.abs(c).min() < 3 * FAINT or s[-1] > 1e-10 * s[0] or not (keep >= T).any() or not (keep < T).any():
        return None
    out = np.zeros(2 * T)
    out[keep] = c / size[keep]
    return out


def quotient_laws(table: Table, view: View, vectors: Sequence[Exponents], c: np.ndarray) -> list[Base]:
    T, power = len(vectors), view.outer.power
    log_unit = math.log(float(np.abs(view.S).max())) + math.log(view.unit) / float(power)
    above, below = np.flatnonzero(c[:T]), np.flatnonzero(c[T:])
    c = c / np.exp(-table.log_unit(vectors[below[0]])) / c[T + below[0]]  # the first term below gets a coefficient of 1
    above = table.terms([vectors[k] for k in above], c[above], log_unit)
    below = table.terms([vectors[k] for k in below], c[T + below])
    if above is None or below is None or (len(below) == 1 and not below[0][1]):
        return []  # or a polynomial, which the other step has had
    over, under = short_sum(above, table.positive), short_sum(below, table.positive)
    laws = [fraction(above, below, power, None, table.positive, 1e-7)]
    laws.append(product(merged({over: power}, {under: -power}), lambda base: False))
    for whole, rest in parted(above, below) if power == 1 else ():
        part = product({short_sum(rest, table.positive): ONE, under: -ONE}, lambda base: False)
        laws.append(("+", *part, *short_sum(whole, table.positive)))
    law = min(laws, key=len)
    return [negated(law) if view.sign < 0 else law]
