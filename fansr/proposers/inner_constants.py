"""Laws with a constant inside a function: exp(-k x), sin(k x), 1 + k x, x^e + k; a proposer for what no library lists.

The inner constant k is scanned on a coarse grid set by the size of its argument (and, for oscillations, by a periodogram),
each value making one more feature for sparse_sums.py; the winners' constants are then all freed and polished by refiner.py, so
the grid need only be near enough.  Three forms are scanned:

- offsets: f(y) = k + c * prod x_j^e_j, linear in the logarithm once k is known (f: y, 1/y, y^2, 1/y^2, log y, exp y);
- sums:    f(y) = c0 + sum c_i m_i(x) g_i(k_i a_i(x)), m_i a simple monomial (f: y, 1/y, log y);
- products: y = c * prod x_j^e_j * g(k a(x))^e.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.bell_curves import bells
from fansr.proposers.parts.assembly import Base, Factors, Polisher, Term, combination, fvu_of, measured, product, times
from fansr.proposers.parts.golden_section import golden
from fansr.proposers.parts.sparse_sums import Subsets, best_subsets
from fansr.proposers.parts.terms import exponent_vectors, search_rows, thinned
from fansr.proposers.power import Regression, nearest, scale_of

GRID = np.array([0.01, 0.1, 0.4, 1.0, 2.5, 8.0])  # k times the argument's typical size
SLOW = np.array(
    [0.15, 0.35, 0.47, 0.8]
)  # half turns to the argument's largest size, for a wave that has no frequency to see
NEAR_POLE = np.array([0.5, 0.9, 0.99])  # -k times the argument's largest size, for 1 + k a
MAX_ARGUMENTS, MAX_FEATURES = 16, 1400
KINDS, LEADERS = 100, 8  # kinds of factors (function and argument) whose k is tuned, and of these made into laws
PEAKS = 3  # frequencies taken from one periodogram
EXACT = 1e-20


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates with polished inner constants; FVUs on the problem's rows (thinned to some thousands).

    Bounded by counts; with a clock it ends when the budget is over.
    """
    problem = thinned(problem, rng)
    if np.ptp(problem.y) == 0 or len(problem.y) < 5:
        return
    polish = Polisher(problem)
    yield polish(measured(problem, offsets(problem), "scan"), 12, 8.0)
    yield polish(measured(problem, bells(problem), "scan"), 6, 8.0)
    scan = Scan(problem, rng)
    if budget.over():
        return
    yield polish(measured(problem, scan.products(), "scan"), 10, 5.0)
    for outer in ("y", "1/y", "log"):
        for powers in scan.bases:
            for count in (1, 2, 3):
                if budget.over() or count * 3 > len(problem.y):
                    break
                yield polish(measured(problem, scan.sums(outer, powers, count), "scan"), 5, 8.0)


# ---- offsets ----------------------------------------------------------------------------------


class Shape(NamedTuple):
    """y = do(S): `undo` gives S where `defined`; as an expression `wrap(S)`."""

    undo: object
    wrap: object
    positive: bool


def _power(e: Fraction):
    return lambda inner: product({inner: e}, lambda base: base != inner)


SHAPES = (
    Shape(lambda y: y, lambda inner: inner, False),
    Shape(lambda y: 1 / y, _power(Fraction(-1)), False),
    Shape(np.square, _power(Fraction(1, 2)), True),
    Shape(lambda y: 1 / (y * y), _power(Fraction(-1, 2)), True),
    Shape(np.log, lambda inner: ("exp", *inner), True),
    Shape(np.exp, lambda inner: ("log", *inner), False),
)


@np.errstate(all="ignore")
def offsets(problem: Problem) -> list[Base]:
    """Laws f(y) = k + c * prod x^e: k minimises the residual of the logarithm's regression, by grid and golden section."""
    return list(dict.fromkeys(_offsets(problem)))


def _offsets(problem: Problem) -> Iterator[Base]:
    X, y = problem.X, problem.y
    columns = [j for j in range(X.shape[1]) if (X[:, j] != 0).all() and np.ptp(np.abs(X[:, j])) > 0]
    if not columns or len(y) < len(columns) + 4:
        return
    L = np.column_stack([np.ones(len(y)), *(np.log(np.abs(X[:, j])) for j in columns)])
    Q, _ = np.linalg.qr(L)
    for shape in SHAPES:
        if shape.positive and not (y > 0).all():
            continue
        with np.errstate(all="ignore"):
            S = shape.undo(y)
        if not np.isfinite(S).all() or np.ptp(S) == 0:
            continue

        def misfit(k: float, S=S) -> float:
            """Residual of log|S - k|, relative to its spread; k inside the values leaves their signs to the columns."""
            with np.errstate(all="ignore"):
                t = np.log(np.abs(S - k))
            if not np.isfinite(t).all():
                return math.inf
            t = t - t.mean()
            r = t - Q @ (Q.T @ t)
            return float(r @ r) / (float(t @ t) or 1.0)

        low, high, span = float(S.min()), float(S.max()), float(np.ptp(S))
        tries = [1.0, -1.0, 0.5, 2.0]
        tries += [low - span * s for s in (1e-6, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0)]
        tries += [high + span * s for s in (1e-6, 1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0, 3.0)]
        scored = sorted((misfit(k), k) for k in tries)
        for _, k in scored[:2]:
            k = _golden(misfit, k, low, high, span) if misfit(k) > 1e-20 else k
            with np.errstate(all="ignore"):
                goal = S - k
            fit = Regression(Problem(X=X, y=goal, names=problem.names, weights=problem.weights), False)
            for exponents in list(fit.snaps()) if fit.columns else []:
                for law in fit.laws(exponents):
                    sign, law = (-1, law[1:]) if law[0] == "neg" else (1, law)
                    yield shape.wrap((("+" if sign > 0 else "-"), repr(float(k)), *law))
                    break


def _golden(f, k: float, low: float, high: float, span: float) -> float:
    """Local minimum of f near k, searched in the logarithm of k's distance from the values it is outside of."""
    if low <= k <= high:
        return k
    edge, side = (low, -1.0) if k < low else (high, 1.0)
    centre = math.log(abs(k - edge) / span)

    def at(u: float) -> float:
        return edge + side * span * math.exp(u)

    return at(golden(lambda u: f(at(u)), centre - 2.5, centre + 2.5, 24)[1])


# ---- features with a scanned constant ---------------------------------------------------------


class Scan:
    """Arguments, multipliers and bases of one problem, and the features they make."""

    @np.errstate(all="ignore")
    def __init__(self, problem: Problem, rng: np.random.Generator):
        self.problem, self.rng = problem, rng
        X = problem.X
        D = X.shape[1]
        with np.errstate(all="ignore"):
            self.typical = np.array(
                [np.exp(np.median(np.log(np.abs(c[c != 0])))) if (c != 0).any() else 1.0 for c in X.T]
            )
        self.signed = [bool((X[:, j] != 0).all()) for j in range(D)]
        self.rows = search_rows(len(problem.y), rng)
        self.X = X[self.rows]  # what the search sees
        vectors = exponent_vectors(D, 6 * MAX_ARGUMENTS, 3, self.signed)
        vectors.sort(key=lambda v: (sum(map(abs, v)) + (max(map(abs, v)) > 1), sum(e < 0 for e in v)))
        self.arguments: list[tuple[Base, np.ndarray]] = []
        for v in vectors:
            if any(v):
                self._argument(product(self._table(v)), self._monomial(v, self.X))
        for i in range(D):
            for j in range(i):
                self._argument(("-", f"x{j + 1}", f"x{i + 1}"), self.X[:, j] - self.X[:, i])
        self.arguments = self.arguments[:MAX_ARGUMENTS]
        self.multipliers = [v for v in vectors if sum(map(abs, v)) <= 1]
        self.bases = [(0,) * D]
        fit = Regression(problem, False)
        if fit.columns:
            law = [0] * D
            for j, e, error in zip(fit.columns, fit.exponents, fit.errors):
                law[j] = int(np.clip(round(e), -6, 6)) if abs(e - round(e)) < max(0.2, 2 * error) else 0
            if any(law):
                self.bases.append(tuple(law))

    def _table(self, v) -> Factors:
        return {(f"x{j + 1}",): Fraction(e) for j, e in enumerate(v) if e}

    def _monomial(self, v, X: np.ndarray) -> np.ndarray:
        with np.errstate(all="ignore"):
            return np.prod([X[:, j] ** float(e) for j, e in enumerate(v) if e] or [np.ones(len(X))], axis=0)

    def _values(self, factors: Factors) -> np.ndarray:
        """Values (M,) of a factor table on all rows."""
        from fansr.expressions import evaluate

        return evaluate(list(product(factors, lambda base: False)), self.problem.X)

    def _argument(self, base: Base, v: np.ndarray) -> None:
        if np.isfinite(v).all() and np.ptp(v) > 1e-9 * np.abs(v).max():
            self.arguments.append((base, v))

    def functions(self, target: np.ndarray) -> Iterator[tuple[Base, np.ndarray]]:
        """g(k a) for all arguments and scanned k, for sums: (expression, values on the search's rows)."""
        for base, v in self.arguments:
            size = float(np.median(np.abs(v))) or float(np.abs(v).max())
            largest = float(np.abs(v).max())
            for k in GRID / size:
                u = k * v
                if k * largest < 200:
                    for sign in (1.0, -1.0):
                        yield ("exp", *times(float(sign * k), base)), np.exp(sign * u)
                    yield ("tanh", *times(float(k), base)), np.tanh(u)
                if v.min() >= 0:
                    yield ("log", "+", "1.0", *times(float(k), base)), np.log1p(u)
                    yield ("inv", "+", *base, repr(float(1 / k))), 1 / (1 + u)
            for share in NEAR_POLE:
                for sign in (1.0, -1.0)[: 1 + (v.min() < 0 < v.max())]:
                    k = -share * sign / largest
                    yield ("inv", "+", *base, repr(float(1 / k))), 1 / (1 + k * v)
            for k in frequencies(v, target):
                yield ("sin", *times(k, base)), np.sin(k * v)
                yield ("cos", *times(k, base)), np.cos(k * v)
                yield ("pow2", "sin", *times(k / 2, base)), np.sin(k / 2 * v) ** 2

    def factors(self, target: np.ndarray) -> Iterator[tuple[str, int, float]]:
        """What products are scanned over: (family, place of the argument, k)."""
        for place, (_, v) in enumerate(self.arguments):
            size = float(np.median(np.abs(v))) or float(np.abs(v).max())
            largest = float(np.abs(v).max())
            for k in [1e-4 / size, 1.5e-3 / size, *(GRID / size)]:  # exp(u) - 1 differs from u for any u
                if k * largest < 200:
                    yield from (("expm1", place, float(k)), ("exp1", place, float(k)), ("tanh", place, float(k)))
                    yield from (("1-exp", place, float(k)), ("exp1", place, -float(k)))
                if v.min() >= 0:
                    yield "1+", place, float(k)
                else:
                    yield "1+2", place, float(k)
            for share in NEAR_POLE:
                for sign in (1.0, -1.0)[: 1 + (v.min() < 0 < v.max())]:
                    yield "1+", place, float(-share * sign / largest)
            for k in frequencies(v, target):
                yield from (("sin", place, k), ("cos", place, k))
            for k in SLOW * np.pi / largest:
                yield from (
                    ("slow sin", place, float(k)),
                    *((("slow cos", place, float(k)),) if k * largest < np.pi / 2 else ()),
                )

    @np.errstate(all="ignore")
    def sums(self, outer: str, powers, count: int) -> list[Base]:
        """Expressions of the best `count` features under an outer function and a base."""
        key = (outer, powers)
        if getattr(self, "_key", None) != key:
            self._key, self._state = key, self._prepare(outer, powers)
        if self._state is None:
            return []
        features, S, weight, subsets, use = self._state
        if count == 1:
            self._found = subsets.singles(12)
        elif count == 2:
            self._found = subsets.pairs(12)
        else:
            self._found = best_subsets(subsets, count, [s for _, s in self._found], self.rng)
        expressions: dict[Base, None] = {}
        for _, members in self._found[:4]:
            chosen = [features[use[i]] for i in members]
            expr = self._law(outer, powers, chosen, S, weight)
            if expr is not None:
                expressions[expr] = None
        return list(expressions)

    def _prepare(self, outer: str, powers):
        """(features, S, weights, Subsets, indices) of one view; None where it is not defined."""
        base = self._monomial(powers, self.problem.X)
        with np.errstate(all="ignore"):
            u = self.problem.y / base
            if outer == "1/y":
                S = 1 / u
            elif outer == "log":
                S = np.log(np.abs(u)) if (u > 0).all() or (u < 0).all() else np.full(len(u), np.nan)
            else:
                S = u
        if not np.isfinite(S).all() or np.ptp(S) == 0:
            return None
        unit = scale_of(S)
        weight = 1 / np.sqrt((S / unit) ** 2 + (0.3 * np.median(np.abs(S / unit))) ** 2 + 1e-30)
        if self.problem.weights is not None:
            weight = weight * np.sqrt(self.problem.weights)
        w = weight[self.rows]
        found = [(self._table(m), self._monomial(m, self.X)) for m in self.multipliers if any(m)]
        with np.errstate(all="ignore"):
            plain = list(self.functions((S / unit)[self.rows]))
            for m in sorted(self.multipliers, key=any):
                if len(found) + len(plain) > MAX_FEATURES:
                    break
                outside = self._monomial(m, self.X)
                found += [({**self._table(m), g: Fraction(1)}, values * outside) for g, values in plain]
            B = np.array([values for _, values in found])
            B = B / np.maximum(np.abs(B).max(axis=1), 1e-300)[:, None] * w
        one = w / math.sqrt(w @ w)
        before = np.sqrt((B * B).sum(axis=1))
        B = B - np.outer(B @ one, one)
        left = np.sqrt((B * B).sum(axis=1))
        use = np.flatnonzero(np.isfinite(left) & (left > 1e-6 * before) & (left > 0))
        t = (S / unit)[self.rows] * w
        t = t - one * (one @ t)
        if not len(use) or not t @ t > 0:
            return None
        return [factors for factors, _ in found], S, weight, Subsets(B[use], t), use

    def _law(self, outer: str, powers, chosen: list[Factors], S: np.ndarray, weight) -> Base | None:
        """base * outer(c0 + sum c_i feature_i) with coefficients by least squares; c0 is dropped where it is not needed."""
        A = np.column_stack([*(self._values(factors) for factors in chosen), np.ones(len(S))])
        size = np.abs(A).max(axis=0)
        if not (np.isfinite(size).all() and (size > 0).all()):
            return None
        unit = scale_of(S)
        Aw, t = A / size * weight[:, None], S / unit * weight
        c = np.linalg.lstsq(Aw, t, rcond=1e-12)[0]
        short = np.linalg.lstsq(Aw[:, :-1], t, rcond=1e-12)[0]
        loss, loss_short = (float(np.sum((t - M @ v) ** 2)) for M, v in ((Aw, c), (Aw[:, :-1], short)))
        if loss_short < 1.05 * loss:
            c = np.append(short, 0.0)
        with np.errstate(all="ignore"):
            c = c * unit / size
        if not np.isfinite(c).all():
            return None
        terms: list[Term] = [(float(v), factors) for v, factors in zip(c, chosen)]
        terms.append((float(c[-1]), {}))
        base = self._table(powers)
        if outer == "log":
            inner = combination(terms)
            return product({**base, ("exp", *inner): Fraction(1)})
        return combination(terms, Fraction(1 if outer == "y" else -1), base)

    # ---- products ----

    @np.errstate(all="ignore")
    def products(self) -> list[Base]:
        """Expressions c * prod x^e * g(k a)^e of the best single factors and pairs of them."""
        X, y = self.problem.X, self.problem.y
        columns = [j for j in range(X.shape[1]) if self.signed[j] and np.ptp(np.abs(X[:, j])) > 0]
        if not (y != 0).all() or len(y) < len(columns) + 4:
            return []
        log_y = np.log(np.abs(y))
        logs = [np.log(np.abs(X[:, j])) for j in columns]
        Q, _ = np.linalg.qr(np.column_stack([np.ones(len(self.rows)), *(f[self.rows] for f in logs)]))
        t = log_y[self.rows] - Q @ (Q.T @ log_y[self.rows])
        if not t @ t > 1e-20:
            return []

        def fresh(feature) -> np.ndarray:
            """What a factor's logarithm adds to the columns' own."""
            family, place, k = feature
            with np.errstate(all="ignore"):
                f = np.log(np.abs(FAMILIES[family][1](k * self.arguments[place][1])))
            left = f - Q @ (Q.T @ f)
            return left if left @ left > 1e-12 * (f @ f) else np.full(len(f), np.nan)

        features, rows = [], []
        for feature in self.factors(log_y[self.rows]):
            f = fresh(feature)
            if np.isfinite(f).all() and f @ f > 0:
                features.append(feature)
                rows.append(f)
        if not features:
            return []
        subsets = Subsets(np.array(rows), t)
        leaders: dict[tuple[str, int], tuple] = {}
        for _, (i,) in subsets.singles(len(features)):
            leaders.setdefault(features[i][:2], features[i])
        # The grid is too coarse to compare kinds of factors by; each is tuned first.
        tuned = sorted(_tuned(feature, fresh, t) for feature in list(leaders.values())[:KINDS])
        chosen = [[feature] for _, feature in tuned[:LEADERS]]
        chosen += [[features[i] for i in members] for _, members in subsets.pairs(3)]
        expressions: dict[Base, None] = {}
        for group in chosen:
            bases = [FAMILIES[family][0](k, self.arguments[place][0]) for family, place, k in group]
            expressions.update(dict.fromkeys(self._product_laws(columns, logs, bases, log_y)))
        return list(expressions)

    def _product_laws(self, columns, logs, chosen: list[Base], log_y) -> Iterator[Base]:
        """c * prod x^e * prod chosen^e with exponents from regression, made whole numbers and made halves."""
        X, y = self.problem.X, self.problem.y
        values = [self._values({g: Fraction(1)}) for g in chosen]
        with np.errstate(all="ignore"):
            A = np.column_stack([np.ones(len(log_y)), *logs, *(np.log(np.abs(v)) for v in values)])
        if not np.isfinite(A).all():
            return
        e = np.linalg.lstsq(A, log_y, rcond=1e-12)[0]
        parts = [((f"x{j + 1}",), X[:, j]) for j in columns] + list(zip(chosen, values))
        for grid in ((1,), (1, 2)):
            table: Factors = {}
            for (base, v), exponent in zip(parts, e[1:]):
                # k is only near its value, so the exponents are rough, and polishing decides.
                fraction = nearest(exponent, grid)
                if fraction and abs(fraction) <= 6:
                    table[("abs", *base) if v.min() < 0 and fraction.denominator != 1 else base] = fraction
            if not any(base in table or ("abs", *base) in table for base in chosen):
                continue
            body, P = product(table, lambda base: False), self._values(table)
            if not np.isfinite(P).all() or not np.abs(P).max() > 0:
                continue
            p, s = P / np.abs(P).max(), scale_of(y)
            c = float(p @ (y / s) / (p @ p)) * s / float(np.abs(P).max())
            if math.isfinite(c) and c != 0 and fvu_of(y, c * P) < 1:
                yield times(c, body)


# Factors of products: the expression of g(k a) from k and a, and its values from u = k a.  A 1 that stands here is part of
# the form; polishing leaves constants that are exactly 1 alone.
FAMILIES = {
    "expm1": (lambda k, a: ("-", "exp", *times(k, a), "1.0"), np.expm1),
    "1-exp": (lambda k, a: ("-", "1.0", "exp", *times(-k, a)), lambda u: -np.expm1(-u)),
    "exp1": (lambda k, a: ("+", "exp", *times(k, a), "1.0"), lambda u: np.exp(u) + 1),
    "tanh": (lambda k, a: ("tanh", *times(k, a)), np.tanh),
    "1+": (lambda k, a: ("+", *a, repr(1 / k)) if k > 0 else ("-", repr(-1 / k), *a), lambda u: 1 + u),
    "1+2": (lambda k, a: ("+", "pow2", *a, repr(1 / k**2)), lambda u: 1 + u * u),
    "sin": (lambda k, a: ("sin", *times(k, a)), np.sin),
    "cos": (lambda k, a: ("cos", *times(k, a)), np.cos),
    "slow sin": (lambda k, a: ("sin", *times(k, a)), np.sin),
    "slow cos": (lambda k, a: ("cos", *times(k, a)), np.cos),
}


def _tuned(feature, fresh, t: np.ndarray, steps: int = 16):
    """(what is left of t, the feature with k moved to where that is least): golden section, a factor of four either way."""
    family, place, k = feature

    def left(u: float) -> float:
        f = fresh((family, place, k * math.exp(u)))
        return 1.0 - float(f @ t) ** 2 / float(f @ f) / float(t @ t) if np.isfinite(f).all() and f @ f > 0 else 2.0

    if family in ("sin", "cos"):
        return left(0.0), feature  # a periodogram's peak is near enough, and its surroundings are full of others
    a, b = (-1.4, 1.4) if k > 0 or family != "1+" else (-1.4, 0.0)
    value, c = golden(left, a, b, steps)
    return value, (family, place, k * math.exp(c))


def frequencies(v: np.ndarray, target: np.ndarray) -> list[float]:
    """Angular frequencies k at which cos(k v) and sin(k v) explain most of the target: the peaks of a periodogram.

    The grid reaches from half a turn over v's range to one turn for two points, or 2,000 steps.
    """
    n = min(len(v), 512)
    if n < 10:
        return []
    a, t = v[:n], target[:n] - target[:n].mean()
    span = float(np.ptp(a))
    steps = min(2000, 4 * n)
    k = np.arange(1, steps + 1) * (np.pi / 2) / span
    phase = np.outer(k, a - a.min())  # (K, n)
    explained = (np.cos(phase) @ t) ** 2 + (np.sin(phase) @ t) ** 2
    inner = explained[1:-1]
    peaks = np.flatnonzero((inner >= explained[:-2]) & (inner >= explained[2:])) + 1
    top = peaks[np.argsort(-explained[peaks])][:PEAKS]
    return [float(k[p]) for p in top if explained[p] > 0.02 * n / 2 * float(t @ t)]
