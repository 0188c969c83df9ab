"""Tests of how a target depends on its columns, each cutting a problem into smaller ones: a proposer.

A polynomial surrogate gives gradients.  They show, whatever monotone function the law ends in, where two columns act only
through one combination (x - z, x + z, x * z, x / z, x^2 + z^2, x + c z, x^a z^b), where a column is a mere power in front,
and where one does nothing that the others do not.  Where the surrogate does as well on the fewer columns, the smaller problem
goes to the other proposers and what they find is put back.  A test never decides anything: it only makes proposals, and
candidates are measured on the whole problem.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from itertools import combinations, islice
from typing import NamedTuple

import numpy as np

from fansr.expressions import Expr, bind, variable_index
from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers import curves, inner_constants, outer_constant, power, separable, term_library
from fansr.proposers.parts.assembly import Base, Polisher, measured, product, rough_score, times
from fansr.proposers.parts.terms import exponent_vectors, thinned
from fansr.proposers.power import scale_of, simple_numbers

MAX_TERMS = 126  # of the surrogate: degree 4 in 5 columns
MIN_ROWS = 30
TESTS_TRIED, REDUCED_KEPT = 8, 2
SUSPECT = 0.25  # largest disagreement of gradients worth a closer look
IDLE = 0.2  # share of the heaviest column's effect below which it is tried whether a column matters at all
NO_WORSE, NO_MATTER = (
    1.15,
    1e-4,
)  # a smaller problem's surrogate may err so many times more than the larger one's, or so much


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of smaller problems put back together; FVUs on the problem's rows (thinned to some thousands).

    Bounded by counts; with a clock it ends when the budget is over.
    """
    problem = thinned(problem, rng)
    M, D = problem.X.shape
    if M < MIN_ROWS or D < 2 or np.ptp(problem.y) == 0:
        return
    polish = Polisher(problem)
    cut = []
    for smaller in reductions(problem, budget):
        if smaller is None:
            yield []
        else:
            cut.append(smaller)
    for smaller, batch in solve(cut, budget, rng):
        if budget.over():
            return
        exprs = [smaller.restore(c.expr, c.consts) for c in batch]
        candidates = polish(measured(problem, exprs, "structure"))
        yield candidates
        if any(c.fvu < 1e-22 for c in candidates):
            return


SOLVERS = (
    power.propose,
    curves.propose,
    outer_constant.propose,
    separable.propose,
    term_library.propose_quickly,
    inner_constants.propose,
)


def solve(smaller: list[Smaller], budget: Budget, rng) -> Iterator[tuple[Smaller, list[Candidate]]]:
    """The other proposers' answers to the smaller problems, the promising of each batch.

    Each is asked about all of them before the next is, the quick ones first: a problem cut down rightly is an easy one.
    """
    subs = [one.problem() for one in smaller]
    best = [math.inf] * len(subs)
    for propose_to in SOLVERS:
        for number, sub in enumerate(subs):
            for batch in propose_to(sub, budget, rng):
                batch = sorted(batch, key=rough_score)[:4]
                keep = [c for c in batch if rough_score(c) < best[number] + 0.5]
                best[number] = min([best[number], *map(rough_score, keep)])
                yield smaller[number], keep
                if best[number] < -20:
                    return


# ---- surrogates -------------------------------------------------------------------------------


class Surrogate:
    """A polynomial in standardised columns (logarithms of those that span decades) for a function of y.

    `error` is its cross-validated FVU (infinite where the dress is not defined), `dress` the function of y chosen or asked
    for, `size` its standard deviation.
    """

    def __init__(self, columns: list[np.ndarray], y: np.ndarray, dress: str | None = None):
        self.logs = [bool(v.min() > 0 and v.max() > 8 * v.min()) for v in columns]
        Z = np.column_stack([np.log(v) if log else v for v, log in zip(columns, self.logs)])  # (M, D)
        centre, spread = Z.mean(axis=0), Z.std(axis=0)
        Z = (Z - centre) / np.where(spread > 0, spread, 1.0) / 1.5
        M, D = Z.shape
        largest = _degree_up_to(D, min(MAX_TERMS, M // 3))
        A = _monomials(Z, largest)  # (M, T)
        degree = largest.sum(axis=1)
        forms = [form for form in _dresses(y) if dress in (None, form[0])]
        fits = []
        if forms:
            names, targets, sizes = zip(*forms)
            T = np.column_stack(targets)  # (M, dresses)
            for top in (int(degree.max()), int(degree.max()) - 1):  # too many terms for the rows err more than too few
                keep = degree <= max(top, 1)
                errors, C = _cross_validated(A[:, keep], T)
                fits += [(errors[k], C[:, k], names[k], sizes[k], largest[keep]) for k in range(len(forms))]
        none = (math.inf, None, "", 0.0, largest)
        self.error, c, self.dress, self.size, self.exponents = min(fits, key=lambda fit: fit[0], default=none)
        self.parts = columns, Z, spread, c

    def gradient(self) -> np.ndarray:
        """(M, D): derivatives of the standardised dress with respect to the columns themselves."""
        columns, Z, spread, c = self.parts
        G = np.empty(Z.shape)
        for j in range(Z.shape[1]):
            lower = self.exponents.copy()
            lower[:, j] = np.maximum(lower[:, j] - 1, 0)
            G[:, j] = (_monomials(Z, lower) * self.exponents[:, j]) @ c
            G[:, j] /= np.where(spread[j] > 0, spread[j], 1.0) * 1.5
            if self.logs[j]:
                G[:, j] /= columns[j]
        return G


@lru_cache(64)
def _degree_up_to(D: int, count: int) -> np.ndarray:
    """Exponents (T, D) of all monomials up to the largest total degree (at most 6) that `count` terms allow."""
    degree = 1
    while degree < 6 and math.comb(D + degree + 1, D) <= count:
        degree += 1
    vectors = exponent_vectors(D, math.comb(D + degree, D), degree, [False] * D)
    return np.array([v for v in vectors if sum(v) <= degree], np.int64)


def _monomials(Z: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    powers = np.ones((int(exponents.max(initial=0)) + 1, *Z.shape))  # (degree+1, M, D)
    for e in range(1, len(powers)):
        powers[e] = powers[e - 1] * Z
    A = np.ones((len(Z), len(exponents)))
    for j in range(Z.shape[1]):
        A *= powers[exponents[:, j], :, j].T
    return A


def _dresses(y: np.ndarray) -> Iterator[tuple[str, np.ndarray, float]]:
    """Functions of y that a polynomial may follow more easily, standardised, with their standard deviations."""
    forms = [("y", y / scale_of(y))]
    if (y != 0).all():
        forms.append(("log", np.log(np.abs(y))))
    if (y > 0).all() or (y < 0).all():
        forms.append(("1/y", 1 / y / scale_of(1 / y)))
    for name, t in forms:
        if np.isfinite(t).all() and t.std() > 0:
            yield name, (t - t.mean()) / t.std(), float(t.std())


def _cross_validated(A: np.ndarray, T: np.ndarray, folds: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(median-robust cross-validated errors (K,), coefficients (terms, K)) of ridge regressions of T (M, K) on A (M, terms)."""
    penalty = 1e-6 * len(T) * np.eye(A.shape[1])
    parts = [slice(fold, None, folds) for fold in range(folds)]
    grams = [(A[part].T @ A[part], A[part].T @ T[part]) for part in parts]
    G, b = sum(g for g, _ in grams), sum(v for _, v in grams)
    errors = np.empty(T.shape)
    for part, (g, v) in zip(parts, grams):
        errors[part] = T[part] - A[part] @ np.linalg.solve(G - g + penalty, b - v)
    # Squares of the smaller nine tenths: a pole somewhere must not blind the test everywhere.
    size = np.sort(errors**2, axis=0)[: max(1, int(0.9 * len(T)))]
    return size.mean(axis=0), np.linalg.solve(G + penalty, b)


# ---- smaller problems -------------------------------------------------------------------------


class Outside(NamedTuple):
    """What stood outside of a smaller problem and was undone: y = coefficient * base^e (* or +) what is inside."""

    token: str  # "*" or "+"
    coefficient: float
    base: Base
    e: Fraction


class Smaller(NamedTuple):
    """A problem in fewer columns: their expressions and values, and y with all `outside` (the outermost first) undone."""

    bases: list[Base]
    columns: list[np.ndarray]
    y: np.ndarray
    outside: tuple[Outside, ...]
    weights: np.ndarray | None

    def problem(self) -> Problem:
        return Problem(
            X=np.ascontiguousarray(np.column_stack(self.columns)),
            y=self.y,
            names=[f"z{j + 1}" for j in range(len(self.columns))],
            weights=self.weights,
        )

    def restore(self, expr: Expr, consts) -> Base:
        """The law of the whole problem from one of this: columns written out, what stood outside put back."""
        written: list[str] = []
        for token in bind(expr, consts if consts is not None else []):
            column = variable_index(token)
            written += [token] if column is None else self.bases[column]
        law = tuple(written)
        table: dict[Base, Fraction] = {}  # neighbouring factors make one product
        for part in reversed(self.outside):
            if part.token == "*":
                table[part.base] = table.get(part.base, Fraction(0)) + part.e
            else:
                law = _times_all(law, table)
                law = ("+", *law, *times(part.coefficient, product({part.base: part.e}, lambda base: False)))
                table = {}
        return _times_all(law, table)


def _times_all(law: Base, table: dict[Base, Fraction]) -> Base:
    """law * product(table)."""
    return product({**table, law: table.get(law, Fraction(0)) + 1}, lambda base: False) or ("1.0",) if table else law


def reductions(problem: Problem, budget: Budget) -> Iterator[Smaller | None]:
    """Smaller problems, the most reduced first: greedily, a few alternatives at each depth; None while it is at work."""
    X = problem.X
    D = X.shape[1]
    varying = [j for j in range(D) if np.ptp(X[:, j]) > 0]
    whole = Smaller([(f"x{j + 1}",) for j in varying], [X[:, j] for j in varying], problem.y, (), problem.weights)
    layer, found, seen = [(None, whole)], [], set()
    for _ in range(2 * len(varying)):
        following = []
        for _, state in layer:
            if budget.over():
                return
            for item in steps_down(state):
                if item is None:
                    yield None
                    continue
                error, smaller = item
                key = (tuple(sorted(smaller.bases)), smaller.outside)
                if key not in seen:
                    seen.add(key)
                    following.append((error, smaller))
        following.sort(key=lambda item: item[0])
        layer = following[:REDUCED_KEPT]
        found = layer + found
        if not layer:
            break
    yield from (smaller for _, smaller in found[: 2 * REDUCED_KEPT])


def steps_down(state: Smaller) -> Iterator[tuple[float, Smaller] | None]:
    """One step down in all ways the gradients suggest and the surrogate bears out: (its error, smaller problem); else None."""
    for smaller, reference, slack in suggestions(state):
        yield _borne_out(smaller, reference, slack)


@np.errstate(all="ignore")
def suggestions(state: Smaller) -> list[tuple[Smaller, Surrogate, float]]:
    """Smaller problems that the gradients speak for, each with the surrogate it must not fall behind, and by how much it may."""
    whole = Surrogate(state.columns, state.y)
    if whole.error > 0.5:
        return []
    found = [(*part, NO_MATTER) for part in (*fronts(state, whole), *summands(state, whole))]
    if len(state.columns) > 1:
        # A column goes only where that costs nothing: one that hardly matters still belongs to an exact law.
        found += [(smaller, whole, 0.0) for smaller in drops(state, whole)]
        found += [(smaller, whole, NO_MATTER) for smaller in islice(merges(state, whole), TESTS_TRIED)]
    return found


@np.errstate(all="ignore")
def _borne_out(smaller: Smaller, reference: Surrogate, slack: float) -> tuple[float, Smaller] | None:
    """(error of its surrogate, the smaller problem) if that errs no more than the larger one's."""
    if not smaller.columns or not np.ptp(smaller.y) > 1e-9 * np.abs(smaller.y).max():
        return None
    if not all(np.isfinite(v).all() and np.ptp(v) > 0 for v in (smaller.y, *smaller.columns)):
        return None
    after = Surrogate(smaller.columns, smaller.y, reference.dress)
    # Errors in the dress's own unit: a front that is divided out takes its variance with it.
    if after.error * after.size**2 <= (NO_WORSE * reference.error + slack) * reference.size**2:
        return after.error, smaller
    return None


def drops(state: Smaller, whole: Surrogate) -> Iterator[Smaller]:
    """Without the columns that hardly move the target: those of a sum or product in which they act already, and idle ones."""
    G = whole.gradient()
    weights = np.array([np.median(np.abs(G[:, j])) * v.std() for j, v in enumerate(state.columns)])
    order = np.argsort(-weights)  # the heaviest first
    for kept in range(1, len(order)):
        if weights[order[kept]] < IDLE * weights[order[0]]:
            keep = sorted(order[:kept])
            yield state._replace(bases=[state.bases[j] for j in keep], columns=[state.columns[j] for j in keep])


def fronts(state: Smaller, whole: Surrogate) -> Iterator[tuple[Smaller, Surrogate]]:
    """Columns that are mere powers in front of the rest: the elasticity x/y dy/dx is one whole number."""
    if len(state.columns) < 2:
        return
    logs = whole if whole.dress == "log" else Surrogate(state.columns, state.y, "log")
    if not logs.error < 0.5:
        return
    gradient = logs.gradient()
    for j, (base, v) in enumerate(zip(state.bases, state.columns)):
        elasticity = gradient[:, j] * v * logs.size
        middle = float(np.median(elasticity))
        e = round(middle)
        if e and abs(e) <= 6 and (v != 0).all() and abs(middle - e) < 0.25 and np.median(np.abs(elasticity - e)) < 0.35:
            others = [i for i in range(len(state.columns)) if i != j]
            yield (
                state._replace(
                    bases=[state.bases[i] for i in others],
                    columns=[state.columns[i] for i in others],
                    y=state.y / v**e,
                    outside=(*state.outside, Outside("*", 1.0, base, Fraction(e))),
                ),
                logs,
            )


def summands(state: Smaller, whole: Surrogate) -> Iterator[tuple[Smaller, Surrogate]]:
    """Powers of one column that are added to the rest: some of dy/dx follows e c x^(e - 1) with a simple c.

    Their column may stand in the rest too, so none need go; the gradient is that of the power where the rest is flat.
    """
    plain = whole if whole.dress == "y" else Surrogate(state.columns, state.y, "y")
    if not plain.error < 0.1:
        return
    gradient, unit = plain.gradient() * plain.size * scale_of(state.y), plain.error * plain.size**2
    for j, (base, v) in enumerate(zip(state.bases, state.columns)):
        if not (v > 0).all():
            continue
        for e in (1, 2, 3, -1, -2):
            c = gradient[:, j] / (e * v ** float(e - 1))
            middle = float(np.median(c))
            for simple in simple_numbers(middle) if math.isfinite(middle) and middle else ():
                if np.median(np.abs(c - simple)) < 0.1 * abs(simple):
                    rest = state.y - simple * v ** float(e)
                    keep = [i for i in range(len(state.columns)) if i != j]
                    fewer = [state.columns[i] for i in keep]
                    smaller = state._replace(y=rest, outside=(*state.outside, Outside("+", simple, base, Fraction(e))))
                    if (
                        fewer
                        and Surrogate(fewer, rest, "y").error * float(np.var(rest / scale_of(state.y)))
                        <= 1.15 * unit + 1e-6
                    ):
                        smaller = smaller._replace(bases=[state.bases[i] for i in keep], columns=fewer)
                    yield smaller, plain


def merges(state: Smaller, whole: Surrogate) -> Iterator[Smaller]:
    """Pairs of columns in one combination, by how well the gradients agree with it."""
    G = whole.gradient()
    tests = []
    for i, j in combinations(range(len(state.columns)), 2):
        x, z, gx, gz = state.columns[i], state.columns[j], G[:, i], G[:, j]
        a, b = state.bases[i], state.bases[j]
        # y = F(x + r z) has gz = r gx; y = F(x^p z^q) has q x gx = p z gz; y = F(x^2 + r z^2) has x gz = r z gx.
        r, doubt = _ratio(gx, gz)
        for s in {round(r), 1.0 if r > 0 else -1.0}:
            if s in (1.0, -1.0) and abs(r - s) < 0.25:
                tests.append((_disagreement(gz, s * gx), ("+" if s > 0 else "-", *a, *b), x + s * z, i, j))
        if abs(abs(r) - 1) > 0.1 and 1e-6 < abs(r) < 1e6:
            tests.append((doubt + 0.05, ("+", *a, "*", repr(r), *b), x + r * z, i, j))
        r, _ = _ratio(x * gx, z * gz)
        for p, q in ((1, 1), (1, -1), (1, 2), (2, 1), (1, -2), (2, -1), (3, -1), (1, -3), (3, 1), (1, 3)):
            if abs(r * p - q) < 0.3 * abs(q) and (q > 0 or (z != 0).all()):
                merged = (
                    _power_of(a, p)
                    if q == 0
                    else (
                        ("*", *_power_of(a, p), *_power_of(b, q))
                        if q > 0
                        else ("/", *_power_of(a, p), *_power_of(b, -q))
                    )
                )
                tests.append((_disagreement(p * z * gz, q * x * gx), merged, x**p * z ** float(q), i, j))
        r, _ = _ratio(z * gx, x * gz)
        for s in (1.0, -1.0):
            if abs(r - s) < 0.3:
                merged = ("+" if s > 0 else "-", "pow2", *a, "pow2", *b)
                tests.append((_disagreement(x * gz, s * z * gx), merged, x * x + s * z * z, i, j))
        tests += [(*test, i, j) for test in monomial_ratio(state, G, i, j)]
    tests.sort(key=lambda test: test[0])
    seen = set()
    for disagreement, merged, values, i, j in tests:
        if disagreement > SUSPECT:
            return
        if merged not in seen:
            seen.add(merged)
            others = [k for k in range(len(state.columns)) if k not in (i, j)]
            yield state._replace(
                bases=[*(state.bases[k] for k in others), merged], columns=[*(state.columns[k] for k in others), values]
            )


def monomial_ratio(state: Smaller, G: np.ndarray, i: int, j: int) -> Iterator[tuple[float, Base, np.ndarray]]:
    """Ways columns i and j act as one sum x^a + c w z^b, w a product of powers of other columns.

    y = F(S, others) has dy/dz / dy/dx = dS/dz / dS/dx = c (b/a) w z^(b-1) x^(1-a): linear in the logarithms, so its
    exponents come from a regression, whatever F is.  Yields (disagreement, expression of S, its values).
    """
    gx, gz = G[:, i], G[:, j]
    big = (np.abs(gx) > 0.3 * np.median(np.abs(gx))) & (np.abs(gz) > 0.3 * np.median(np.abs(gz)))
    places = [k for k, v in enumerate(state.columns) if (v != 0).all() and np.ptp(np.abs(v)) > 0]
    if big.sum() < 4 * (len(places) + 2) or i not in places or j not in places:
        return
    L = np.column_stack([np.ones(big.sum()), *(np.log(np.abs(state.columns[k][big])) for k in places)])
    t = np.log(np.abs(gz[big] / gx[big]))
    e = np.linalg.lstsq(L, t, rcond=1e-10)[0]
    for _ in range(2):  # again without the worst quarter: a surrogate's gradient is wild at the edges
        r = np.abs(t - L @ e)
        near = r <= np.quantile(r, 0.75)
        e = np.linalg.lstsq(L[near], t[near], rcond=1e-10)[0]
    exponents = {k: Fraction(round(2 * v), 2) if k in (i, j) else Fraction(round(v)) for k, v in zip(places, e[1:])}
    if any(abs(float(exponents[k]) - v) > 0.3 for k, v in zip(places, e[1:])):
        return
    a, b = 1 - exponents[i], exponents[j] + 1
    outer = {k: v for k, v in exponents.items() if k not in (i, j) and v}
    if a == 0 or b == 0 or max(abs(a), abs(b)) > 4 or sum(abs(v) for v in outer.values()) > 4:
        return
    if a.denominator > 1 and state.columns[i].min() < 0 or b.denominator > 1 and state.columns[j].min() < 0:
        return
    w = np.prod([state.columns[k] ** float(v) for k, v in outer.items()] or [np.ones(len(gx))], axis=0)
    x, z = (_root(state.columns[k], v) for k, v in ((i, a), (j, b)))
    dx, dz = float(a) * x / state.columns[i], float(b) * w * z / state.columns[j]
    c, _ = _ratio(gx * dz, gz * dx)
    if not 1e-6 < abs(c) < 1e6:
        return
    price = 0.01 * (1 + len(outer) + (a != 1) + (b != 1))
    below = {k: -v for k, v in outer.items() if v < 0}
    # What stands below w may as well stand above x: those columns are free to enter F on their own.
    for shift, extra in ((below, 0.0), ({}, 0.005))[: 1 + bool(below)]:
        front = np.prod([state.columns[k] ** float(v) for k, v in shift.items()] or [np.ones(len(gx))], axis=0)
        first = _product_of(state, {i: a, **shift})
        second = _product_of(state, {j: b, **{k: v + shift.get(k, 0) for k, v in outer.items()}})
        for value in dict.fromkeys([*(s for s in simple_numbers(c) if abs(s / c - 1) < 0.15), c]):
            merged = ("-", *first, *times(-value, second)) if value < 0 else ("+", *first, *times(value, second))
            rough = 0.0 if value != c else 0.05
            yield _disagreement(gz * dx, value * gx * dz) + price + extra + rough, merged, front * (x + value * w * z)


def _product_of(state: Smaller, powers: dict[int, Fraction]) -> Base:
    """The expression of a product of powers of a problem's columns."""
    table: dict[Base, Fraction] = {}
    for k, e in powers.items():
        table[state.bases[k]] = table.get(state.bases[k], Fraction(0)) + e
    return product(table, lambda base: False)


def _root(v: np.ndarray, e: Fraction) -> np.ndarray:
    return v ** int(e) if e.denominator == 1 and e >= 0 else v ** float(e)


def _power_of(base: Base, e: int) -> Base:
    return base if e == 1 else (f"pow{e}", *base)


def _ratio(u: np.ndarray, v: np.ndarray) -> tuple[float, float]:
    """(r, disagreement) of v = r u, by the median of the slopes of the larger halves."""
    big = np.abs(u) > np.median(np.abs(u))
    with np.errstate(all="ignore"):
        r = float(np.median(v[big] / u[big])) if big.any() else math.nan
    return (r, _disagreement(v, r * u)) if math.isfinite(r) else (0.0, math.inf)


def _disagreement(u: np.ndarray, v: np.ndarray) -> float:
    """Median |u - v| relative to the medians of |u| and |v|; 1 for unrelated signs."""
    size = float(np.median(np.abs(u)) + np.median(np.abs(v)))
    return float(np.median(np.abs(u - v))) / size if size > 0 else math.inf
