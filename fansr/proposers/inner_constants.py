"""Laws with one constant inside a function: exp(-k x), sin(k x), 1 + k x, x^e + k; a proposer for what no library lists.

The inner constant k is scanned by inner_scan.py over families of functions of columns, products, ratios and differences, and
narrowed; the leaders' constants are then all freed and polished.  Three forms are scanned:

- offsets:  f(y) = k + c * prod x_j^e_j * exp(P(x)), in target_offset.py;
- products: y = c * prod x_j^e_j * g(k a(x))^e, linear in the logarithms;
- terms:    f(y) = prod x_j^e_j * (c0 + c1 m(x) g(k a(x))), m a simple monomial (f: y, 1/y, log y).

Two such functions in one sum are for two_term_laws.py, fast waves for waves.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.parts.candidates import proposals
from fansr.proposers.parts.expression_assembly import Base, Factors, nearest, scale_of
from fansr.proposers.parts.inner_scan import Projector, arguments, coefficients, leading, tables, usable, values_of
from fansr.proposers.parts.power_products import power_products
from fansr.proposers.parts.target_transforms import OUTER, Outer
from fansr.proposers.parts.terms import search_rows, thinned
from fansr.proposers.power import Regression
from fansr.proposers.target_offset import offsets

FACTORS = ("expm1", "exp1", "tanh", "more", "less", "square", "sin", "cos")  # the exponential is in target_offset.py
TERMS = ("exp", "tanh", "log", "inv", "inv less", "lorentz", "sin", "cos")
MAX_ARGUMENTS = 16
EXACT = 1e-20
NARROWED, LEADERS = 40, 8  # functions whose constants are narrowed, and laws made of each view


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates with polished inner constants; FVUs on the problem's rows (thinned to some thousands).

    Bounded by counts; with a clock it ends when the budget is over.
    """
    problem = thinned(problem, rng)
    if np.ptp(problem.y) == 0 or len(problem.y) < 5:
        return
    yield from proposals(problem, "scan", _batches(problem, rng), budget, LEADERS, 8.0, EXACT)


def _batches(problem: Problem, rng: np.random.Generator) -> Iterator[list[Base]]:
    yield offsets(problem)
    scan = Scan(problem, rng)
    yield scan.products()
    for outer in ("y", "1/y", "exp"):
        for front in scan.fronts():
            yield scan.terms(OUTER[outer], front)


class Scan:
    """One problem's arguments of functions on the rows that the search sees, and the laws with one of them."""

    @np.errstate(all="ignore")
    def __init__(self, problem: Problem, rng: np.random.Generator):
        self.problem, self.rows = problem, search_rows(len(problem.y), rng)
        X = problem.X
        columns = [j for j in range(X.shape[1]) if np.ptp(X[:, j]) > 0]
        self.signed = [j for j in columns if (X[:, j] != 0).all()]
        self.arguments = arguments(X[self.rows], columns, "* / - pow2 inv")[: max(MAX_ARGUMENTS, len(columns))]
        self.functions = tables(TERMS, self.arguments)

    # ---- products ----

    @np.errstate(all="ignore")
    def products(self) -> list[Base]:
        """Expressions c * prod x^e * g(k a)^e of the best factors."""
        X, y = self.problem.X, self.problem.y
        columns = [j for j in self.signed if np.ptp(np.abs(X[:, j])) > 0]
        if not (y != 0).all() or len(y) < len(columns) + 4:
            return []
        logs = [np.log(np.abs(X[:, j])) for j in columns]
        look = Projector([np.ones(len(self.rows)), *(v[self.rows] for v in logs)], np.log(np.abs(y[self.rows])))
        if not look.t @ look.t > 1e-20:
            return []
        leaders = leading(tables(FACTORS, self.arguments), lambda values: look.shares(np.log(np.abs(values))), NARROWED)
        laws: dict[Base, None] = {}
        for _, factor in leaders[:LEADERS]:
            laws.update(dict.fromkeys(self._product_laws(columns, logs, factor)))
        return list(laws)

    def _product_laws(self, columns: list[int], logs: list[np.ndarray], factor: Base) -> Iterator[Base]:
        """c * prod x^e * factor^e with exponents from regression, made whole numbers and made halves."""
        X, y = self.problem.X, self.problem.y
        values = values_of({factor: Fraction(1)}, X)
        design = [np.ones(len(y)), *logs, np.log(np.abs(values))]
        if not np.isfinite(design).all():
            return
        e, _ = coefficients(design, np.log(np.abs(y)))
        for grid in ((1,), (1, 2)):
            # k is only near its value, so the exponents are rough, and polishing decides.
            exponents = [nearest(value, grid) for value in e[1:]]
            if exponents[-1] and max(map(abs, exponents)) <= 6:
                parts = zip([*((f"x{j + 1}",) for j in columns), factor], [*X[:, columns].T, values], exponents)
                yield from power_products(y, self.problem.weights, list(parts))

    # ---- terms ----

    def fronts(self) -> list[Factors]:
        """What stands in front: nothing, and the power law nearest to y."""
        fit = Regression(self.problem, False)
        law = {}
        for j, e, error in zip(fit.columns, fit.exponents, fit.errors) if fit.columns else ():
            if abs(e - round(e)) < max(0.2, 2 * error) and round(e):
                law[(f"x{j + 1}",)] = Fraction(int(np.clip(round(e), -6, 6)))
        return [{}, law] if law else [{}]

    @np.errstate(all="ignore")
    def terms(self, outer: Outer, front: Factors) -> list[Base]:
        """Expressions of the best terms under an outer function and with a front."""
        X, u = self.problem.X, self.problem.y / values_of(front, self.problem.X)
        S = outer.undo(u)
        if not outer.defined(u).all() or not usable(S, 0.0):
            return []
        unit = scale_of(S)
        size = np.abs(S / unit)
        weight = 1 / (size**2 + (0.3 * np.median(size)) ** 2 + 1e-30)  # relative errors, down to what is small
        if self.problem.weights is not None:
            weight = weight * self.problem.weights
        look = Projector([np.ones(len(self.rows))], (S / unit)[self.rows], weight[self.rows])
        found = []
        for m in ({}, *({(f"x{j + 1}",): Fraction(e)} for j in self.signed for e in (1, -1))):
            v = values_of(m, X[self.rows])
            leaders = leading(self.functions, lambda values, v=v: look.shares(values * v), LEADERS // 2)
            found += [(share, {**m, g: Fraction(1)}) for share, g in leaders]
        laws: dict[Base, None] = {}
        for _, factors in sorted(found, key=lambda item: item[0])[:LEADERS]:
            v = values_of(factors, X)
            if usable(v):
                c, _ = coefficients([v, np.ones(len(v))], S / unit, np.sqrt(weight))
                terms = [(float(c[0]) * unit, factors), (float(c[1]) * unit, {})]
                laws[outer.law_of_terms(terms, [], front, lambda base: True)] = None
        return list(laws)
