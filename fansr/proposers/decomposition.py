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
from itertools import combinations

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers import inner_constants, library_sums, one_column_curves, outer_constant, power, separable
from fansr.proposers.parts import reductions as cut
from fansr.proposers.parts.candidates import proposals
from fansr.proposers.parts.expression_assembly import Base, merged, product, scale_of, simple_numbers, times
from fansr.proposers.parts.monomials import factors_of
from fansr.proposers.parts.polynomial_surrogate import Surrogate
from fansr.proposers.parts.reductions import Reduction
from fansr.proposers.parts.terms import thinned

MIN_ROWS = 30
TESTS_TRIED, REDUCED_KEPT = 8, 2
SUSPECT = 0.25  # largest disagreement of gradients worth a closer look
IDLE = 0.2  # share of the heaviest column's effect below which it is tried whether a column matters at all
NO_WORSE, NO_MATTER = (
    1.15,
    1e-4,
)  # so many times more than the larger problem's surrogate, or so much, a smaller one's may err
POWERS = (
    (1, 1),
    (1, -1),
    (1, 2),
    (2, 1),
    (1, -2),
    (2, -1),
    (3, -1),
    (1, -3),
    (3, 1),
    (1, 3),
)  # of two columns in a product

Suggestion = tuple[Reduction, Surrogate, float]  # what it must not fall behind, and by how much it may


SOLVERS = [cut.asked(propose) for propose in (
    power.propose, one_column_curves.propose, outer_constant.propose, separable.propose, library_sums.propose_quickly,
    inner_constants.propose,
)]  # fmt: skip


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of smaller problems put back together; FVUs on the problem's rows (thinned to some thousands).

    Bounded by counts; with a clock it ends when the budget is over.
    """
    problem = thinned(problem, rng)
    M, D = problem.X.shape
    if M < MIN_ROWS or D < 2 or np.ptp(problem.y) == 0:
        return
    found = []
    for reduction in reductions(problem, budget):
        if reduction is None:
            yield []
        else:
            found.append(reduction)
    yield from proposals(problem, "structure", cut.solve(found, SOLVERS, budget, rng), budget)


def reductions(problem: Problem, budget: Budget) -> Iterator[Reduction | None]:
    """Smaller problems, the most reduced first: greedily, a few alternatives at each depth; None while it is at work."""
    varying = [j for j, v in enumerate(problem.X.T) if np.ptp(v) > 0]
    layer, found, seen = [cut.in_columns(problem, cut.columns_of(problem, varying))], [], set()
    for _ in range(2 * len(varying)):
        following = []
        for state in layer:
            if budget.over():
                return
            for reduction in steps_down(state.problems[0]):
                if reduction is None:
                    yield None
                    continue
                reduction = state.then(reduction)
                key = _fingerprint(reduction.problems[0])
                if key not in seen:
                    seen.add(key)
                    following.append(reduction)
        following.sort(key=lambda reduction: reduction.error)
        layer = following[:REDUCED_KEPT]
        found = layer + found
        if not layer:
            break
    yield from found[: 2 * REDUCED_KEPT]


def _fingerprint(problem: Problem) -> tuple[str, ...]:
    """What tells a problem from others of as many rows, in whatever order its columns were come by."""
    probe = np.cos(np.arange(len(problem.y)))
    return f"{problem.y @ probe:.8e}", *sorted(f"{v @ probe:.8e}" for v in problem.X.T)


def steps_down(problem: Problem) -> Iterator[Reduction | None]:
    """One step down in all ways the gradients suggest, with its surrogate's error if that bears it out; else None."""
    for reduction, reference, slack in suggestions(problem):
        yield _borne_out(reduction, reference, slack)


@np.errstate(all="ignore")
def suggestions(problem: Problem) -> list[Suggestion]:
    """Smaller problems that the gradients speak for."""
    whole = Surrogate(problem.X, problem.y)
    if whole.error > 0.5:
        return []
    return [suggestion for step in STEPS for suggestion in step(problem, whole)]


@np.errstate(all="ignore")
def _borne_out(reduction: Reduction, reference: Surrogate, slack: float) -> Reduction | None:
    """The reduction if its surrogate errs no more than the larger one's."""
    (smaller,) = reduction.problems
    if not smaller.names or not np.ptp(smaller.y) > 1e-9 * np.abs(smaller.y).max():
        return None
    if not all(np.isfinite(v).all() and np.ptp(v) > 0 for v in (smaller.y, *smaller.X.T)):
        return None
    after = Surrogate(smaller.X, smaller.y, reference.dress)
    # Errors in the dress's own unit: a front that is divided out takes its variance with it.
    if after.error * after.size**2 <= (NO_WORSE * reference.error + slack) * reference.size**2:
        return reduction._replace(error=after.error)
    return None


# ---- steps ------------------------------------------------------------------------------------


def fronts(problem: Problem, whole: Surrogate) -> Iterator[Suggestion]:
    """Columns that are mere powers in front of the rest: the elasticity x/y dy/dx is one whole number."""
    D = len(problem.names)
    logs = whole if whole.dress == "log" else Surrogate(problem.X, problem.y, "log")
    if D < 2 or not logs.error < 0.5:
        return
    elasticities = logs.gradient() * problem.X * logs.size
    for j, (v, elasticity) in enumerate(zip(problem.X.T, elasticities.T)):
        middle = float(np.median(elasticity))
        e = round(middle)
        if e and abs(e) <= 6 and (v != 0).all() and abs(middle - e) < 0.25 and np.median(np.abs(elasticity - e)) < 0.35:
            kept = [i for i in range(D) if i != j]
            yield cut.without_front(problem, kept, factors_of([e], columns=[j]), v ** float(e)), logs, NO_MATTER


def summands(problem: Problem, whole: Surrogate) -> Iterator[Suggestion]:
    """Powers of one column that are added to the rest: some of dy/dx follows e c x^(e - 1) with a simple c.

    Their column may stand in the rest too, so none need go; the gradient is that of the power where the rest is flat.
    """
    X, y, D = problem.X, problem.y, len(problem.names)
    plain = whole if whole.dress == "y" else Surrogate(X, y, "y")
    if not plain.error < 0.1:
        return
    gradient, most = plain.gradient() * plain.size * scale_of(y), NO_WORSE * plain.error * plain.size**2 + 1e-6
    for j, e in ((j, e) for j in range(D) if (X[:, j] > 0).all() for e in (1, 2, 3, -1, -2)):
        c = gradient[:, j] / (e * X[:, j] ** float(e - 1))
        middle = float(np.median(c))
        for simple in simple_numbers(middle) if math.isfinite(middle) and middle else ():
            if np.median(np.abs(c - simple)) < 0.1 * abs(simple):
                values = X[:, j] ** float(e)
                rest, kept = (y - simple * values) / scale_of(y), [i for i in range(D) if i != j]
                if not kept or Surrogate(X[:, kept], rest * scale_of(y), "y").error * float(np.var(rest)) > most:
                    kept = list(range(D))
                term = factors_of([e], columns=[j])
                yield cut.without_summand(problem, kept, simple, term, values), plain, NO_MATTER


def drops(problem: Problem, whole: Surrogate) -> Iterator[Suggestion]:
    """Without the columns that hardly move the target: those of a sum or product in which they act already, and idle ones.

    A column goes only where that costs nothing: one that hardly matters still belongs to an exact law.
    """
    weights = np.median(np.abs(whole.gradient()), axis=0) * problem.X.std(axis=0)
    order = np.argsort(-weights)  # the heaviest first
    for kept in range(1, len(order)):
        if weights[order[kept]] < IDLE * weights[order[0]]:
            yield cut.in_columns(problem, cut.columns_of(problem, sorted(order[:kept]))), whole, 0.0


def merges(problem: Problem, whole: Surrogate) -> Iterator[Suggestion]:
    """Pairs of columns in one combination, those first with which the gradients agree best."""
    D, G = len(problem.names), whole.gradient()
    tests = [
        (disagreement, base, values, [k for k in range(D) if k not in (i, j)])
        for i, j in combinations(range(D), 2)
        for disagreement, base, values in (*pair_tests(problem, G, i, j), *monomial_ratio(problem, G, i, j))
        if disagreement <= SUSPECT
    ]
    found: dict[Base, Suggestion] = {}
    for _, base, values, kept in sorted(tests, key=lambda test: test[0]):
        if base not in found and len(found) < TESTS_TRIED:
            columns = [*cut.columns_of(problem, kept), (base, values)]
            found[base] = cut.in_columns(problem, columns), whole, NO_MATTER
    yield from found.values()


STEPS = (fronts, summands, drops, merges)  # in the order in which they are tried


def pair_tests(problem: Problem, G: np.ndarray, i: int, j: int) -> Iterator[tuple[float, Base, np.ndarray]]:
    """Ways columns i and j act as one sum or product: (disagreement of the gradients G (M, D), expression, values)."""
    x, z, gx, gz = problem.X[:, i], problem.X[:, j], G[:, i], G[:, j]
    a, b = (f"x{i + 1}",), (f"x{j + 1}",)
    # y = F(x + r z) has gz = r gx; y = F(x^p z^q) has q x gx = p z gz; y = F(x^2 + r z^2) has x gz = r z gx.
    r = _ratio(gx, gz)
    if 0.75 < abs(r) < 1.25:
        s = math.copysign(1.0, r)
        yield _disagreement(gz, s * gx), ("+" if s > 0 else "-", *a, *b), x + s * z
    if abs(abs(r) - 1) > 0.1 and 1e-6 < abs(r) < 1e6:
        yield _disagreement(gz, r * gx) + 0.05, ("+", *a, "*", repr(r), *b), x + r * z
    r = _ratio(x * gx, z * gz)
    for p, q in POWERS:
        if abs(r * p - q) < 0.3 * abs(q) and (q > 0 or (z != 0).all()):
            yield _disagreement(p * z * gz, q * x * gx), product({a: Fraction(p), b: Fraction(q)}), x**p * z ** float(q)
    r = _ratio(z * gx, x * gz)
    if 0.7 < abs(r) < 1.3:
        s = math.copysign(1.0, r)
        yield _disagreement(x * gz, s * z * gx), ("+" if s > 0 else "-", "pow2", *a, "pow2", *b), x * x + s * z * z


def monomial_ratio(problem: Problem, G: np.ndarray, i: int, j: int) -> Iterator[tuple[float, Base, np.ndarray]]:
    """Ways columns i and j act as one sum x^a + c w z^b, w a product of powers of other columns.

    y = F(S, others) has dy/dz / dy/dx = dS/dz / dS/dx = c (b/a) w z^(b-1) x^(1-a): linear in the logarithms, so its
    exponents come from a regression, whatever F is.  Yields (disagreement, expression of S, its values).
    """
    X, gx, gz = problem.X, G[:, i], G[:, j]
    big = (np.abs(gx) > 0.3 * np.median(np.abs(gx))) & (np.abs(gz) > 0.3 * np.median(np.abs(gz)))
    places = [k for k, v in enumerate(X.T) if (v != 0).all() and np.ptp(np.abs(v)) > 0]
    if big.sum() < 4 * (len(places) + 2) or i not in places or j not in places:
        return
    L = np.column_stack([np.ones(big.sum()), np.log(np.abs(X[np.ix_(big, places)]))])
    t = np.log(np.abs(gz[big] / gx[big]))
    near = np.ones(len(t), bool)
    for _ in range(3):  # again without the worst quarter: a surrogate's gradient is wild at the edges
        e = np.linalg.lstsq(L[near], t[near], rcond=1e-10)[0]
        r = np.abs(t - L @ e)
        near = r <= np.quantile(r, 0.75)
    exponents = {k: Fraction(round(2 * v), 2) if k in (i, j) else Fraction(round(v)) for k, v in zip(places, e[1:])}
    a, b = 1 - exponents[i], exponents[j] + 1
    w = {k: v for k, v in exponents.items() if k not in (i, j) and v}
    if any(abs(float(exponents[k]) - v) > 0.3 for k, v in zip(places, e[1:])):
        return
    if a == 0 or b == 0 or max(abs(a), abs(b)) > 4 or sum(abs(v) for v in w.values()) > 4:
        return
    if any(power.denominator > 1 and X[:, k].min() < 0 for k, power in ((i, a), (j, b))):
        return
    x, z = _power_values(X, {i: a}), _power_values(X, {**w, j: b})
    dx, dz = float(a) * x / X[:, i], float(b) * z / X[:, j]
    c = _ratio(gx * dz, gz * dx)
    if not 1e-6 < abs(c) < 1e6:
        return
    price = 0.01 * (1 + len(w) + (a != 1) + (b != 1))
    below = {k: -v for k, v in w.items() if v < 0}
    # What stands below w may as well stand above x: those columns are free to enter F on their own.
    for shift, extra in ((below, 0.0), ({}, 0.005))[: 1 + bool(below)]:
        first, second = _power_base({**shift, i: a}), _power_base(merged(shift, w, {j: b}))
        front = _power_values(X, shift)
        for value in dict.fromkeys([*(s for s in simple_numbers(c) if abs(s / c - 1) < 0.15), c]):
            merged_pair = ("-" if value < 0 else "+", *first, *times(abs(value), second))
            doubt = _disagreement(gz * dx, value * gx * dz) + price + extra + (0.0 if value != c else 0.05)
            yield doubt, merged_pair, front * (x + value * z)


def _power_base(powers: dict[int, Fraction]) -> Base:
    """The expression of a product of powers of columns."""
    return product({(f"x{k + 1}",): e for k, e in powers.items()}, lambda base: False)


def _power_values(X: np.ndarray, powers: dict[int, Fraction]) -> np.ndarray:
    whole = {k: int(e) if e.denominator == 1 and e >= 0 else float(e) for k, e in powers.items()}
    return math.prod((X[:, k] ** e for k, e in whole.items()), start=np.ones(len(X)))


def _ratio(u: np.ndarray, v: np.ndarray) -> float:
    """r of v = r u, the median of the slopes of the larger halves; 0 where that is no number."""
    size = np.abs(u)
    big = size > _medians(size)
    with np.errstate(all="ignore"):
        r = float(_medians(v[big] / u[big])) if big.any() else math.nan
    return r if math.isfinite(r) else 0.0


def _disagreement(u: np.ndarray, v: np.ndarray) -> float:
    """Median |u - v| relative to the medians of |u| and |v|; 1 for unrelated signs."""
    first, second, apart = _medians(np.abs(np.stack([u, v, u - v]))).tolist()
    size = first + second
    return apart / size if size > 0 else math.inf


def _medians(v: np.ndarray) -> np.ndarray:
    """np.median along the last axis, NaN where there is one: on short rows that spends its time on checks."""
    n = v.shape[-1]
    v = np.partition(v, (max(0, n // 2 - 1), n // 2, -1), axis=-1)  # NaN comes last
    middle = v[..., n // 2] if n % 2 else 0.5 * (v[..., n // 2 - 1] + v[..., n // 2])
    return np.where(np.isnan(v[..., -1]), np.nan, middle)
