"""Polynomials and quotients of polynomials found whole, by linear algebra over all monomials at once: a proposer.

A search that adds one term at a time gets lost among the many near-solutions of a sum of ten products.  Where the table is
exact it need not search: the terms of y = P(x) are the solution of one least-squares problem over every monomial up to some
degree, and those of y = P(x) / Q(x) the null vector of [P's monomials, -y * Q's monomials]; what does not belong comes out
as zero.  One QR factorisation serves y, its powers and its products with the columns (which are denominators).

On noisy tables nothing is exact, and nothing is proposed: term_library.py is the one for those.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.assembly import (
    Base,
    Factors,
    Polisher,
    Term,
    collected,
    combination,
    common_factors,
    divided,
    measured,
    product,
)
from fansr.proposers.parts.terms import thinned
from fansr.proposers.power import scale_of
from fansr.proposers.term_library import fraction

ROWS = 1000  # points the factorisations use
MOST_COLUMNS = 8
MOST_TERMS, DEGREE = (
    470,
    {1: 12, 2: 10, 3: 8},
)  # of a polynomial: monomials in all, degree by number of columns (else 6)
SHARE = 0.92  # monomials for each point: some points must be left to tell
QUOTIENT_TERMS, QUOTIENT_DEGREE = 90, {1: 8, 2: 6}  # above or below a bar
MOST_FRONTS = 80  # monomials tried as what stands below a polynomial
EXACT = 1e-22  # squared residual relative to the target's spread that counts as none
FAINT = 3e-5  # share of the target below which a term belongs to a series, not to a law; three times that in quotients
KEPT = 30  # terms of a law at most


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of exact polynomials and quotients, none where the table has neither.  Bounded by counts."""
    problem = thinned(problem, rng)
    columns = distinct_columns(problem.X)
    if len(problem.y) < 12 or not 0 < len(columns) <= MOST_COLUMNS or not np.ptp(problem.y) > 0:
        return
    polish = Polisher(problem)
    for halves in (False, True):
        if halves and (len(columns) > 4 or not (problem.X[:, columns] > 0).all()):
            return
        table = Table(problem, columns, halves, rng)
        for step in (polynomials, exponentials, quotients):
            for laws in step(table):
                found = polish(measured(problem, laws, "rational"), 4, 30.0)
                yield [c for c in found if c.fvu < EXACT]
                if budget.over() or any(c.fvu < EXACT for c in found):
                    return


def distinct_columns(X: np.ndarray) -> list[int]:
    """Columns that vary, each only once: multiples of an earlier one would share its terms with it."""
    found: dict[bytes, int] = {}
    for j, v in enumerate(X.T):
        size = float(np.abs(v).max())
        if np.ptp(v) > 0 and 0 < size < math.inf:
            scaled = v / v[int(np.abs(v).argmax())]
            found.setdefault(np.round(scaled, 12).tobytes(), j)
    return sorted(found.values())


class View(NamedTuple):
    """A function of y that may be a polynomial: y = outer(S / front), front a monomial of scaled columns."""

    S: np.ndarray
    power: Fraction | None  # y = S ** power, or
    token: str  # y = token(S)
    front: tuple[int, ...]


class Table:
    """One problem's columns, each divided by its largest size (its root first, with `halves`), and rows to look at."""

    def __init__(self, problem: Problem, columns: list[int], halves: bool, rng):
        rows = np.sort(rng.permutation(len(problem.y))[:ROWS])
        self.problem, self.columns, self.halves = problem, columns, halves
        self.scale = [float(np.abs(problem.X[:, j]).max()) for j in columns]
        U = problem.X[np.ix_(rows, columns)] / self.scale
        self.U = np.sqrt(U) if halves else U  # (n, D')
        # A column of few values makes its high powers sums of its low ones, and any function of it a polynomial.
        self.values_of = [len(np.unique(u)) for u in U.T]
        self.y_scale = scale_of(problem.y)
        self.y = problem.y[rows] / self.y_scale
        self.exact = max(EXACT, 1e3 * (2e-16 * float(np.abs(self.y).max()) / float(self.y.std())) ** 2)

    def monomials(self, degree: int, each: int = 2) -> list[tuple[int, ...]]:
        """Exponents of all monomials up to a degree, low degrees first; a column's at most one for `each` so many of its values."""
        highest = [max(1, n // each) for n in self.values_of]
        return [v for v in monomials(len(self.columns), degree) if all(e <= most for e, most in zip(v, highest))]

    def values(self, vectors) -> np.ndarray:
        """(n, T) values of monomials."""
        out = np.ones((len(self.U), len(vectors)))
        for d in range(self.U.shape[1]):
            powers = np.cumprod(np.column_stack([np.ones(len(self.U)), *[self.U[:, d]] * 12]), axis=1)  # (n, 13)
            out *= powers[:, [v[d] for v in vectors]]
        return out

    def factors(self, vector) -> Factors:
        e = Fraction(1, 2) if self.halves else Fraction(1)
        return {(f"x{j + 1}",): e * v for j, v in zip(self.columns, vector) if v}

    def log_unit(self, vector) -> float:
        """Logarithm of what a monomial was divided by."""
        half = 0.5 if self.halves else 1.0
        return sum(half * v * math.log(s) for v, s in zip(vector, self.scale))

    def positive(self, base: Base) -> bool:
        return len(base) == 1 and base[0][:1] == "x" and bool((self.problem.X[:, int(base[0][1:]) - 1] > 0).all())


@lru_cache(64)
def monomials(D: int, degree: int) -> list[tuple[int, ...]]:
    """Exponents of all monomials of D columns up to a total degree, low degrees first."""
    if D == 1:
        return [(e,) for e in range(degree + 1)]
    found = [(e, *rest) for e in range(degree + 1) for rest in monomials(D - 1, degree - e)]
    return sorted(found, key=lambda v: (sum(v), v))


def degrees(D: int, most: int, limits: dict[int, int]) -> Iterator[int]:
    """Degrees from 2 up whose monomials of D columns are no more than `most`."""
    for degree in range(2, limits.get(D, 6) + 1):
        if math.comb(D + degree, D) <= most:
            yield degree


# ---- polynomials ------------------------------------------------------------------------------


@np.errstate(all="ignore")
def views(table: Table) -> list[View]:
    """y, its powers and logarithm, and y times what may stand below it."""
    y, D = table.y, len(table.columns)
    none = (0,) * D
    found = [View(y, Fraction(1), "", none)]
    if (y != 0).all():
        found.append(View(1 / y, Fraction(-1), "", none))
    if (y > 0).all() or (y < 0).all():
        found += [
            View(y * y, Fraction(1, 2), "", none),
            View(1 / (y * y), Fraction(-1, 2), "", none),
            View(np.log(np.abs(y)), None, "exp", none),
        ]
    whole = y * table.y_scale
    if np.abs(whole).max() < 50:
        found.append(View(np.exp(whole), None, "log", none))
    if (np.abs(whole) <= 1).all():
        found.append(View(np.arcsin(whole), None, "sin", none))
    fronts = [v for v in monomials(D, 3 if D < 6 else 2) if any(v) and max(v) < 3][:MOST_FRONTS]
    for view in found[:4]:
        found += [view._replace(S=view.S * table.values([v])[:, 0], front=v) for v in fronts]
    return [view for view in found if np.isfinite(view.S).all() and view.S.std() > 0]


def polynomials(table: Table) -> Iterator[list[Base]]:
    """Laws of the first exact polynomial among the views, the lowest degree first; [] after every degree that has none."""
    n, D = table.U.shape
    looks = views(table)
    T = np.column_stack([view.S / view.S.std() for view in looks])  # (n, views)
    for degree in degrees(D, min(MOST_TERMS, int(SHARE * n)), DEGREE):
        if degree % 2 and degree < 4:
            continue  # a few degrees more cost less than another factorisation
        vectors = table.monomials(degree)
        B = table.values(vectors)
        size = np.sqrt((B * B).mean(axis=0))
        Q, R = np.linalg.qr(B / size)
        left = T - Q @ (Q.T @ T)
        left -= Q @ (Q.T @ left)
        good = np.flatnonzero((left**2).sum(axis=0) < table.exact * (n - len(vectors)))
        laws: list[Base] = []
        for k in sorted(good, key=lambda k: sum(looks[k].front))[:6]:
            chosen = support(B / size, T[:, k])
            if chosen is not None:
                laws += _polynomial_laws(table, looks[k], [vectors[i] for i in chosen])
        yield laws


def support(B: np.ndarray, t: np.ndarray, exact: float = 1e-20) -> list[int] | None:
    """Columns of B (unit rms) that the exact solution of B c = t (unit spread) needs; None where it is a series.

    exact: the mean squared residual that still counts as none.
    """
    chosen = np.arange(B.shape[1])
    for faint in (1e-9, 1e-8, 1e-7):
        c = np.linalg.lstsq(B[:, chosen], t, rcond=1e-15)[0]
        chosen = chosen[np.abs(c) > faint]
        if not 0 < len(chosen):
            return None
    c, *_ = np.linalg.lstsq(B[:, chosen], t, rcond=1e-15)
    r = t - B[:, chosen] @ c
    if len(chosen) > KEPT or np.abs(c).min() < FAINT or float(r @ r) / len(t) > exact:
        return None
    if len(chosen) > max(3, 0.75 * B.shape[1]) and np.abs(c).min() < 1e-3:
        return None
    return chosen.tolist()


def _polynomial_laws(table: Table, view: View, vectors) -> list[Base]:
    B = table.values(vectors)
    c = np.linalg.lstsq(B, view.S, rcond=1e-15)[0]
    # S = sum c m, divided by the front; units of the columns and of y go into the coefficients.
    front = table.log_unit(view.front)
    terms: list[Term] = []
    for value, v in zip(c, vectors):
        log = math.log(abs(value)) - table.log_unit(v) + front
        if abs(log) > 600:
            return []
        shift = tuple(a - b for a, b in zip(v, view.front))
        terms.append((math.copysign(math.exp(log), value), table.factors(shift)))
    if view.power is None:
        if view.token == "exp":
            terms = [
                (value, f) for value, f in collected([*terms, (math.log(table.y_scale), {})]) if f or abs(value) > 1e-9
            ]
        law = (view.token, *short_sum(terms, table.positive))
        return [("neg", *law) if view.token == "exp" and np.median(table.y) < 0 else law]
    # y = y_scale * S ** power
    log_unit = math.log(table.y_scale) / float(view.power)
    if abs(log_unit) > 600:
        return []
    unit = math.exp(log_unit)
    terms = [(value * unit, factors) for value, factors in terms]
    law = combination(terms, view.power, None, table.positive)
    inner = short_sum(terms, table.positive)
    other = product({inner: view.power}, lambda base: False)
    if view.power.denominator == 2 and np.median(table.y) < 0:
        law, other = ("neg", *law), ("neg", *other)
    return [min(law, other, key=len)]


def exponentials(table: Table) -> Iterator[list[Base]]:
    """Laws prod x^e * exp(polynomial): log|y| is a polynomial and multiples of the columns' logarithms."""
    (n, D), y = table.U.shape, table.y
    if table.halves or not ((y > 0).all() or (y < 0).all()) or not (table.U != 0).all():
        return
    logs = np.log(np.abs(table.U))
    t = np.log(np.abs(y))
    if not t.std() > 0:
        return
    for degree in degrees(D, min(QUOTIENT_TERMS * 2, int(SHARE * n) - D), {1: 4}):
        if degree > 4:
            return
        vectors = table.monomials(degree)
        B = np.column_stack([table.values(vectors), logs])
        size = np.sqrt((B * B).mean(axis=0))
        chosen = support(B / size, t / t.std()) if (size > 0).all() else None
        laws: list[Base] = []
        if chosen is not None and max(chosen) >= len(vectors):
            c = np.linalg.lstsq(B[:, chosen], t, rcond=1e-15)[0]
            inside: list[Term] = [(math.log(table.y_scale), {})]
            front: Factors = {}
            for i, value in zip(chosen, c):
                if i < len(vectors):
                    inside.append((float(value) * math.exp(-table.log_unit(vectors[i])), table.factors(vectors[i])))
                else:
                    e = Fraction(float(value)).limit_denominator(6)
                    j = i - len(vectors)
                    front[(f"x{table.columns[j] + 1}",)] = e
                    inside.append((-float(e) * math.log(table.scale[j]), {}))
            inside = [(v, f) for v, f in collected(inside) if f or abs(v) > 1e-9]
            if inside:
                law = product({**front, ("exp", *short_sum(inside, table.positive)): Fraction(1)}, lambda base: False)
                laws.append(("neg", *law) if y[0] < 0 else law)
        yield laws


# ---- quotients --------------------------------------------------------------------------------


def quotients(table: Table) -> Iterator[list[Base]]:
    """Laws y ** (1 / power) = P / Q of the lowest degree that is exact; [] after every degree that is not."""
    n, D = table.U.shape
    looks = [view for view in views(table) if not any(view.front) and view.power in (Fraction(1), Fraction(1, 2))]
    for degree in degrees(D, min(QUOTIENT_TERMS, n // 5), QUOTIENT_DEGREE):
        vectors = table.monomials(degree, 4)
        B = table.values(vectors)
        laws: list[Base] = []
        for view in looks:
            found = _null_vector(B, view.S / np.abs(view.S).max())
            if found is not None:
                laws += _quotient_laws(table, view, vectors, found)
        yield laws


def _null_vector(B: np.ndarray, S: np.ndarray) -> np.ndarray | None:
    """The sparsest c (2T,) found with [B, -S B] c = 0, low degrees preferred; None where there is none."""
    A = np.hstack([B, -S[:, None] * B])
    size = np.sqrt((A * A).sum(axis=0))
    if not (size > 0).all():
        return None
    R = np.linalg.qr(A / size, mode="r")
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


def _quotient_laws(table: Table, view: View, vectors, c: np.ndarray) -> list[Base]:
    T, top = len(vectors), float(np.abs(view.S).max())
    log_unit = math.log(top) + math.log(table.y_scale) / float(view.power)
    above, below = [], []
    for k in np.flatnonzero(c):
        v = vectors[k % T]
        log = math.log(abs(c[k])) - table.log_unit(v) + (log_unit if k < T else 0.0)
        if abs(log) > 600:
            return []
        (above if k < T else below).append((math.copysign(math.exp(log), c[k]), table.factors(v)))
    if len(below) == 1 and not below[0][1]:
        return []  # a polynomial, which the other step has had
    scale = below[0][0]
    above, below = ([(value / scale, f) for value, f in terms] for terms in (above, below))
    laws = [fraction(above, below, view.power, None, table.positive, 1e-7)]
    under = short_sum(below, table.positive)
    laws.append(product({short_sum(above, table.positive): view.power, under: -view.power}, lambda base: False))
    for whole, rest in parted(above, below) if view.power == 1 else ():
        laws.append(
            (
                "+",
                *product({short_sum(rest, table.positive): Fraction(1), under: Fraction(-1)}, lambda base: False),
                *short_sum(whole, table.positive),
            )
        )
    return [min(laws, key=len)]


def parted(above: list[Term], below: list[Term]) -> Iterator[tuple[list[Term], list[Term]]]:
    """Ways to write above / below as whole + rest / below with fewer terms in the rest, whole one monomial."""
    for c, f in above:
        for d, g in below:
            m = {b: f.get(b, Fraction(0)) - g.get(b, Fraction(0)) for b in {*f, *g}}
            if any(e < 0 for e in m.values()):
                continue
            taken = [(-c / d * e, {b: h.get(b, Fraction(0)) + m.get(b, 0) for b in {*h, *m}}) for e, h in below]
            rest = [(value, h) for value, h in collected([*above, *taken]) if abs(value) > 1e-8 * abs(c)]
            if rest and len(rest) < len(above):
                yield [(c / d, m)], rest


# ---- sums in fewer tokens ---------------------------------------------------------------------


def short_sum(terms: list[Term], positive=lambda base: True) -> Base:
    """A sum with squares completed and with what many of its terms share taken out, again and again: the shortest of all."""
    forms = [combination(terms, Fraction(1), None, positive)]
    if len(terms) > 2:
        for alike in (terms, completed(terms)):
            forms += [combination(alike, Fraction(1), None, positive), _taken_out(alike, positive)]
    return min(forms, key=len)


def completed(terms: list[Term]) -> list[Term]:
    """The sum with c x^2 + b x + a as c (x + b / 2c)^2 + (a - b^2 / 4c), for every column that stands in both alone."""
    table = {frozenset((b, e) for b, e in f.items() if e): c for c, f in terms}
    for base in {b for _, f in terms for b in f}:
        square, line = frozenset({(base, Fraction(2))}), frozenset({(base, Fraction(1))})
        if square in table and line in table:
            c, b = table.pop(square), table.pop(line)
            shift = b / (2 * c)
            moved = ("-", *base, repr(-shift)) if shift < 0 else ("+", *base, repr(shift))
            table[frozenset({(moved, Fraction(2))})] = c
            left = table.get(frozenset(), 0.0) - c * shift * shift
            if abs(left) > 1e-9 * abs(c) * shift * shift:
                table[frozenset()] = left
            else:
                table.pop(frozenset(), None)
    return [(c, dict(key)) for key, c in table.items()]


def _taken_out(terms: list[Term], positive) -> Base:
    if len(terms) < 3:
        return combination(terms, Fraction(1), None, positive)
    shared = common_factors(terms, False)
    if shared:
        inner = _taken_out(divided(terms, 1.0, shared), positive)
        return product({**shared, inner: shared.get(inner, Fraction(0)) + 1}, lambda base: False)
    counts: dict[tuple[Base, int], int] = {}
    for _, factors in terms:
        for base, e in factors.items():
            key = base, 1 if e > 0 else -1
            counts[key] = counts.get(key, 0) + 1
    most = max(counts.values(), default=0)
    if most < 2:
        return combination(terms, Fraction(1), None, positive)
    base, sign = min((key for key, n in counts.items() if n == most), key=str)
    those = [t for t in terms if t[1].get(base, 0) * sign > 0]
    rest = [t for t in terms if t[1].get(base, 0) * sign <= 0]
    if not rest:
        return (
            _taken_out(those, positive) if len(those) < len(terms) else combination(terms, Fraction(1), None, positive)
        )
    return ("+", *_taken_out(those, positive), *_taken_out(rest, positive))
