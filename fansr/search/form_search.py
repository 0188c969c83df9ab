"""The search inside a form: functions to be found are small laws first, then what the rows say of their values.

A form that can be undone for one function gives that function's value on every row, an ordinary problem for all proposers;
its constants and the other functions come from the best law so far, and at first from a fit in which every function is a
spline (Hastie and Tibshirani 1990, backfitting; here all at once by Levenberg-Marquardt).  Every law is the form with laws put in,
its constants fitted together, so nothing else can be answered.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fansr.expressions import CONSTANT, n_constants
from fansr.fitting import Budget, Candidate, Problem
from fansr.search import clocks, description_length, forms, rounding, rules, selection, turns
from fansr.search.ending import TAME
from fansr.search.state import MORE
from fansr.streams import rng_for

AT_ONCE = 48  # laws fitted between looks at the clock
MOST_COMBINED = 600  # combinations of small laws
KEPT = 10  # laws of a function that are put into the form
ROUNDS = 3  # of estimates and searches where no clock counts
PART_SHARE = 0.35  # of the seconds left, for the search of one function
STARTS = 24  # of the constants of a form with splines
SMOOTH_ROWS = 400
REDUNDANT = 1e-7  # loss of fit, by share, at which a constant says nothing

_ONE = (
    "c", "z", "* c z", "+ c * c z", "pow2 z", "* c pow2 z", "+ c * c pow2 z", "+ c + * c z * c pow2 z", "+ * c z * c pow2 z", "* c pow3 z",
    "inv z", "/ c z", "+ c / c z", "/ c pow2 z", "pow1_2 z", "* c pow1_2 z", "+ c * c pow1_2 z", "log z", "* c log z", "+ c * c log z",
    "exp * c z", "* c exp * c z", "+ c * c exp * c z", "exp / c z", "* c exp / c z", "sin * c z", "sin + c * c z", "* c sin * c z",
    "* c sin + c * c z", "+ c * c sin + c * c z", "* c cos * c z", "pow z c", "* c pow z c", "+ c * c pow z c", "/ c + c z",
    "+ c / c + c z", "/ * c z + c z", "tanh * c z", "* c tanh * c z", "* c exp * c pow2 z", "exp * c pow2 z", "* c pow2 - z c",
    "/ c + c pow2 z", "* c * z exp * c z", "+ c * c abs - z c", "* c pow1_2 + c pow2 z", "* c log + c z", "* c atan * c z",
)  # fmt: skip
_TWO = ("* y z", "* c * y z", "+ c * c * y z", "+ * c y * c z", "+ c + * c y * c z", "/ y z", "* c / y z", "/ z y", "* c / z y",
        "* c * pow2 y z", "* c * y pow2 z", "* c * pow y c pow z c", "* y exp * c z", "* c * y exp * c z", "* c * z exp * c y",
        "+ * c pow2 y * c pow2 z", "+ c + * c pow2 y * c pow2 z", "* c pow1_2 + pow2 y pow2 z", "* c * y sin * c z", "* c sin * c * y z",
        "+ * c y * c * y z", "* c exp + * c y * c z", "/ * c y + c z", "- y z", "* c - y z")  # fmt: skip


def small_laws(operands: int, wanted: rules.Rules) -> list[list[str]]:
    """Laws of so many operands that are tried before anything is searched, those that the rules of a function allow."""
    found: list[list[str]] = []
    columns = [f"x{k + 1}" for k in range(operands)]
    for z in columns:
        found += [[z if t == "z" else CONSTANT if t == "c" else t for t in text.split()] for text in _ONE]
    for y, z in itertools.combinations(columns, 2):
        words = {"y": y, "z": z, "c": CONSTANT}
        found += [[words.get(t, t) for t in text.split()] for text in _TWO]
    sized = replace(wanted, bounds=None)
    return [
        e for e in dict.fromkeys(map(tuple, found)) if sized.broken(list(e), np.zeros(n_constants(list(e)))) is None
    ]  # type: ignore[misc]


class FormState(turns.Turns):
    """A search whose laws are all of one form."""

    def __init__(self, problem: Problem, options: turns.Options, budget: Budget):
        self.form = forms.parse(options.form, problem.names, problem.target)
        said = forms.allowed(self.form, options.rules)
        self.of_parts = {name: _part_rules(options.rules, own) for name, own in self.form.parts.items()}
        self.laws: dict[tuple, tuple[dict[str, list[str]], list[tuple[str, int]]]] = {}
        super().__init__(problem, replace(options, rules=said), budget)

    def offer(self, batch: list[Candidate], source: str = "") -> None:
        """What others propose is of no form, or of none that can be told."""

    # -- fitting

    def _put(
        self,
        laws: Mapping[str, Sequence[str]],
        letters: Mapping[str, float],
        values: Mapping[str, Sequence[float]] | None,
    ):
        """(candidate to be fitted, keys) of the form with these laws; values: constants of the laws to start from."""
        given = {
            name: (expr, (values or {}).get(name, np.ones(n_constants(list(expr))))) for name, expr in laws.items()
        }
        expr, consts, keys = self.form.law(letters, given)
        self.laws[tuple(expr)] = ({name: list(e) for name, e in laws.items()}, keys)
        return Candidate(expr, consts if values is not None else None, source="form", ties=forms.ties_of(keys))

    def _fit_all(self, some: list[Candidate]) -> None:
        """Fit candidates from random starts, or from the constants they have, and put them into the pool."""
        fresh = [c for c in some if c.consts is None]
        if fresh:
            fvus, consts = self.fitter.fit([c.expr for c in fresh], jobs=self.options.jobs)
            for c, fvu, found in zip(fresh, fvus, consts):
                c.fvu, c.consts = float(fvu), np.asarray(found, dtype=np.float64)
        for c in some:
            if c.ties is not None:
                c.fvu, c.consts = polished_with_ties(self.problem, c)
            elif len(c.consts) and c not in fresh:
                fvu, found = self.fitter.polish(c.expr, c.consts)
                c.fvu, c.consts = float(fvu), np.asarray(found, dtype=np.float64)
            elif not len(c.consts):
                c.fvu = float(self.fitter.fvu(c.expr, c.consts))
            self.yields["form"] += 1
            if c.fvu < math.inf:
                self.pool.add(c)

    def _admitted(self, candidate: Candidate) -> Candidate | None:
        admitted = super()._admitted(candidate)
        if admitted is None or candidate.ties is None:
            return admitted
        if admitted.expr == candidate.expr:
            groups = [admitted.consts[np.equal(candidate.ties, t)] for t in set(candidate.ties)]
            return admitted if all(np.ptp(group) == 0 for group in groups) else None
        return None

    # -- the search

    def run(self) -> None:
        """Small laws, then functions from the values that the rows say they have, until nothing is gained or time is up."""
        started = time.monotonic()
        for some in self._steps():
            self._fit_all(some)
            if self.work.over() or self._told_to_stop("form", started) or self._is_found():
                return

    def _is_found(self) -> bool:
        best = self.pool.best
        return best is not None and best.fvu <= self.exact and (not self.form.calls or best.length <= turns.LONG + 6)

    def _steps(self) -> Iterator[list[Candidate]]:
        """Candidates to be fitted, a few at a time."""
        names = self.form.functions
        if not names:
            for _ in range(3):
                yield [self._put({}, {}, None)]
            return
        sizes = {call.name: len(call.operands) for call in self.form.calls}
        lists = [small_laws(sizes[name], self.of_parts[name]) for name in names]
        most = max(2, int(MOST_COMBINED ** (1 / len(names))))
        combined = sorted(itertools.product(*(some[: max(most, 12)] if len(names) > 1 else some for some in lists)),
                          key=lambda laws: sum(map(len, laws)))  # fmt: skip
        many = AT_ONCE if len(self.form.calls) == len(names) else AT_ONCE // 6  # constants that are one take longer
        for first in range(0, len(combined), many):
            yield [self._put(dict(zip(names, laws)), {}, None) for laws in combined[first : first + many]]
        best = math.inf
        for turn in range(ROUNDS if self.work.seconds is None else 1000):
            for estimate in (self._smooth(turn), self._from_best()):
                if estimate is None:
                    continue
                for name in names:
                    if self.work.over():
                        return
                    yield from self._searched(name, *estimate)
            value = self.pool.value(self.pool.best) if self.pool.best is not None else math.inf
            if not value < best - 1e-6:
                return
            best = value

    def _searched(
        self, name: str, letters: Mapping[str, float], values: Mapping[str, np.ndarray], laws
    ) -> Iterator[list[Candidate]]:
        """Laws of one function from its values on the rows, put into the form with the others' laws.

        values: of every function on the rows; laws: by name (expr, consts) of the best law, or None.
        """
        problem, X = self.problem, self.problem.X
        wanted = self.form.undone(name, X, problem.y, letters, values)
        if wanted is None or np.isfinite(wanted).mean() < 0.5:
            wanted = values.get(name)
        if wanted is None:
            return
        slope = self._slope(name, letters, values)
        w = (np.ones(len(X)) if problem.weights is None else problem.weights) * slope**2
        good = np.isfinite(wanted) & np.isfinite(w) & (w > 0)
        if good.sum() < max(4, 0.3 * len(X)) or not np.ptp(wanted[good]) > 0:
            return
        call = next(call for call in self.form.calls if call.name == name)
        columns = np.column_stack([_values(operand, X) for operand in call.operands])
        if not np.isfinite(columns).all():
            return
        w = np.clip(w[good], 0, np.quantile(w[good], 0.9) * 10)
        smaller = Problem(np.ascontiguousarray(columns[good]), wanted[good], [f"z{k + 1}" for k in range(columns.shape[1])],
                          weights=None if np.ptp(w) <= 1e-6 * w.max() else w)  # fmt: skip
        options = replace(self.options, form=(), guess=(), rules=self.of_parts[name], robust=False, watch=None, jobs=1,
                          target_fvu=None, loss="squares", samples=min(self.options.samples, 512))  # fmt: skip
        budget = self.work if self.work.seconds is None else self.work.slice(self.work.left() * PART_SHARE)
        state, status = turns.gather(smaller, options, Budget(None) if budget is self.work else budget)
        self._loaded(state.loading)
        found = [*state.pool[:KEPT], *(c for c in state.pool.front() if c.fvu < 0.5)]
        others = [n for n in self.form.functions if n != name]
        some = []
        for c in found:
            if laws is not None or not others:
                held = {n: laws[n] for n in others} if others else {}
                exprs = {name: list(c.expr), **{n: e for n, (e, _) in held.items()}}
                start = {name: c.consts, **{n: v for n, (_, v) in held.items()}}
                some.append(self._put(exprs, letters, start))
        if laws is None and others:
            self.heard.setdefault(name, [])[:0] = [list(c.expr) for c in found[:6]]
            if all(n in self.heard for n in self.form.functions):
                lists = [self.heard[n][:6] for n in self.form.functions]
                for exprs in itertools.islice(itertools.product(*lists), 64):
                    some.append(self._put(dict(zip(self.form.functions, exprs)), letters, None))
        yield some
        if status == "interrupted":
            raise KeyboardInterrupt

    @property
    def heard(self) -> dict[str, list[list[str]]]:
        """Laws of each function that a search found, while the others were splines."""
        return self.__dict__.setdefault("_heard", {})

    # -- estimates

    def _slope(self, name: str, letters: Mapping[str, float], values: Mapping[str, np.ndarray]) -> np.ndarray:
        """The derivative (M,) of the form by a function's value."""
        from fansr.expressions import value_and_jacobian

        expr, places = self.form.with_columns(self.problem.X.shape[1])
        consts = np.array([letters.get(letter, 1.0) if letter else 0.0 for letter in self.form.slots()])
        at = [values.get(call.name, np.ones(len(self.problem.y))) for call in self.form.calls]
        with np.errstate(all="ignore"):
            rows = np.ascontiguousarray(np.column_stack([self.problem.X, *at]))
            _, J = value_and_jacobian(expr, rows, consts)
        return np.sum([J[place] for place, call in zip(places, self.form.calls) if call.name == name], axis=0)

    def _from_best(self):
        """(letters, values of each function, laws of each function) as the best law has them; None where there is none."""
        best = self.pool.best
        if best is None or tuple(best.expr) not in self.laws or not best.fvu < 0.9:
            return None
        laws, keys = self.laws[tuple(best.expr)]
        known = dict(zip(keys, best.consts))
        letters = {name: float(known[("@" + name, 0)]) for name in self.form.letters}
        found, values = {}, {}
        for name, expr in laws.items():
            consts = np.array([known[(name, k)] for k in range(n_constants(expr))])
            found[name] = (expr, consts)
            call = next(call for call in self.form.calls if call.name == name)
            rows = np.ascontiguousarray(
                np.column_stack([_values(operand, self.problem.X) for operand in call.operands])
            )
            values[name] = _values(expr, rows, consts)
        return letters, values, found

    def _smooth(self, turn: int):
        """(letters, values of each function, None) of the form fitted with splines for its functions; None where that fails."""
        from scipy.optimize import least_squares

        from fansr.expressions import value_and_jacobian

        if turn or (not self.form.letters and len(self.form.functions) == 1 and self._undone_plainly()):
            return ({}, {}, None) if not turn else None
        problem, names = self.problem, self.form.functions
        M, D = problem.X.shape
        rng = rng_for(self.options.seed, "form.smooth", problem.id)
        rows = np.sort(rng.permutation(M)[:SMOOTH_ROWS])
        expr, places = self.form.with_columns(D)
        slots, letters = self.form.slots(), self.form.letters
        whole = [
            _basis(np.column_stack([_values(o, problem.X) for o in call.operands]), len(rows))
            for call in self.form.calls
        ]
        sizes = {call.name: basis.shape[1] for call, basis in zip(self.form.calls, whole)}
        starts = np.cumsum([len(letters), *(sizes[name] for name in names)])
        at = {name: slice(starts[k], starts[k + 1]) for k, name in enumerate(names)}
        size = float(np.abs(problem.y).max()) or 1.0
        sw = np.ones(M) if problem.weights is None else np.sqrt(problem.weights / problem.weights.max())
        ridge = 1e-5 * math.sqrt(len(rows))

        def model(p, rows, jacobian=True):
            X = problem.X[rows]
            u = [basis[rows] @ p[at[call.name]] for basis, call in zip(whole, self.form.calls)]
            consts = np.array([p[letters.index(s)] if s else 0.0 for s in slots])
            with np.errstate(all="ignore"):
                value, J = value_and_jacobian(expr, np.ascontiguousarray(np.column_stack([X, *u])), consts)
            if not jacobian:
                return value, u
            out = np.zeros((len(rows), len(p)))
            for k, s in enumerate(slots):
                if s:
                    out[:, letters.index(s)] += J[k]
            for place, call, basis in zip(places, self.form.calls, whole):
                out[:, at[call.name]] += J[place][:, None] * basis[rows]
            return value, out

        def residual(p):
            value, _ = model(p, rows, jacobian=False)
            off = (
                (np.nan_to_num(value, nan=1e3 * size, posinf=1e3 * size, neginf=-1e3 * size) - problem.y[rows])
                / size
                * sw[rows]
            )
            return np.concatenate([np.clip(off, -1e6, 1e6), ridge * p[len(letters) :] / size])

        def jacobian(p):
            _, J = model(p, rows)
            J = np.nan_to_num(J / size * sw[rows, None], nan=0.0, posinf=0.0, neginf=0.0)
            tail = np.zeros((len(p) - len(letters), len(p)))
            tail[:, len(letters) :] = ridge / size * np.eye(len(tail))
            return np.concatenate([J, tail])

        best, least = None, math.inf
        budget = self.work if self.work.seconds is None else self.work.slice(0.3 * self.work.left())
        for _ in range(STARTS if letters or len(names) > 1 else 6):
            if budget.over():
                break
            p = np.empty(starts[-1])
            p[: len(letters)] = rng.choice([1, 1, 1, -1], len(letters)) * 10 ** rng.uniform(-2, 1.3, len(letters))
            for name in names:
                p[at[name]] = rng.normal(0.0, 1.0) * (size if rng.random() < 0.5 else 1.0) + 0.1 * rng.normal(
                    size=sizes[name]
                )
            try:
                found = least_squares(residual, p, jac=jacobian, method="trf", x_scale="jac", max_nfev=80)
            except (ValueError, np.linalg.LinAlgError):
                continue
            if found.cost < least:
                best, least = found.x, found.cost
            if least < 1e-9 * len(rows):
                break
        if best is None:
            return None
        _, u = model(best, np.arange(M), jacobian=False)
        values = {call.name: one for call, one in zip(self.form.calls, u)}
        return {letter: float(best[k]) for k, letter in enumerate(letters)}, values, None

    def _undone_plainly(self) -> bool:
        """Whether the only function's values follow from the rows alone."""
        found = self.form.undone(self.form.functions[0], self.problem.X, self.problem.y, {}, {})
        return found is not None and np.isfinite(found).mean() > 0.5

    # -- the end

    def finish(self, started: float, status: str) -> turns.Found:
        """The leaders without constants that say nothing, their constants rounded, and the choice."""
        hurry = status == "interrupted"
        clock, least = (Budget(0.7), 0.0) if hurry else (self.budget, clocks.LEAST_SECONDS)
        over = self._allowance(clock, least)
        if self.checker is not None:
            self._drop_unproven()
        finals = []
        for candidate in self._leaders():
            if candidate.ties is not None or over():
                finals.append(candidate)
                continue
            short = self._reduced(candidate, over)
            snapped = rounding.snap(
                short, self.fitter, self.floor, self.options.physics, description_length.TOKEN_NATS, over
            )
            finals.append(self._kept(snapped, short, candidate))
        best = min(finals, key=self._final_value, default=None)
        if best is not None and self.between.wild(best):
            bar = self._final_value(best) + TAME
            tame = [c for c in (*finals, *self._tame(MORE)) if not self.between.wild(c) and self._final_value(c) <= bar]
            best = min(tame, key=self._final_value, default=best)
        front = selection.front_of([*self.pool.front(), *finals], len(self.problem.y), self.floor, best)
        return self._found(best, front, None if best is None else self._errors(best), started, status)

    def _reduced(self, candidate: Candidate, over) -> Candidate:
        """The law without constants that others say, such as one of two factors: put to 1 or 0, the others fitted again."""
        gained = True
        while gained and not over():
            gained = False
            order = [i for i, token in enumerate(candidate.expr) if token == CONSTANT]
            for k, i in enumerate(order):
                for value in (1.0, 0.0):
                    trial = [*candidate.expr[:i], repr(value), *candidate.expr[i + 1 :]]
                    fvu, consts = self.fitter.polish(trial, np.delete(candidate.consts, k))
                    if not fvu <= max(candidate.fvu * (1 + REDUNDANT), self.floor):
                        continue
                    short = rounding.written(candidate.rewritten(trial, np.asarray(consts), float(fvu)), self.fitter)
                    if short.length < candidate.length and self._final_value(short) < math.inf:
                        candidate, gained = short, True
                        break
                if gained:
                    break
        return candidate


def _part_rules(whole: rules.Rules, own: rules.Rules) -> rules.Rules:
    """What a function to be found may be: what is said of the law and of itself.  Shapes and columns are the law's."""
    operators = [some for some in (whole.operators, own.operators) if some is not None]
    sizes = {}
    for name in ("max_length", "max_constants", "max_depth"):
        said = [size for size in (getattr(whole, name), getattr(own, name)) if size is not None]
        sizes[name] = min(said) if said else None
    bounds = [b for b in (whole.bounds, own.bounds) if b is not None]
    return replace(
        whole, **sizes, shapes=(), positive=(), operators=frozenset.intersection(*operators) if operators else None,
        nest=(*whole.nest, *own.nest), prices=(*whole.prices, *own.prices), arguments=(*whole.arguments, *own.arguments),
        bounds=(max(b[0] for b in bounds), min(b[1] for b in bounds)) if bounds else None,
        own=tuple(dict.fromkeys((*whole.own, *own.own))),
    )  # fmt: skip


def _values(expr: Sequence[str], X: np.ndarray, consts: Any = ()) -> np.ndarray:
    from fansr.expressions import evaluate

    with np.errstate(all="ignore"):
        found = evaluate(list(expr), np.ascontiguousarray(X), np.asarray(consts, dtype=np.float64))
    return np.asarray(found) + np.zeros(len(X))


def _basis(Z: np.ndarray, rows: int) -> np.ndarray:
    """Smooth functions (M, K) of one operand (cubic splines) or of several (polynomials), for values Z (M, n) of the operands."""
    low, high = Z.min(axis=0), Z.max(axis=0)
    U = (Z - low) / np.where(high > low, high - low, 1.0)
    if Z.shape[1] == 1:
        from scipy.interpolate import BSpline

        inner = int(np.clip(rows // 10, 1, 11))
        knots = np.unique(np.quantile(U[:, 0], np.linspace(0, 1, inner + 2)[1:-1]))
        knots = knots[(knots > 0) & (knots < 1)]
        t = np.concatenate([np.zeros(4), knots, np.ones(4)])
        return BSpline.design_matrix(np.clip(U[:, 0], 0, 1), t, 3).toarray()
    V, degree = 2 * U - 1, 4 if Z.shape[1] == 2 else 3
    powers = [p for p in itertools.product(range(degree + 1), repeat=Z.shape[1]) if sum(p) <= degree]
    return np.column_stack([np.prod(V ** np.array(p), axis=1) for p in powers])


def polished_with_ties(problem: Problem, candidate: Candidate) -> tuple[float, np.ndarray]:
    """(fvu, constants (C,)) of a law some of whose constants are one, from those it has (their mean where they differ)."""
    from scipy.optimize import least_squares

    from fansr.expressions import value_and_jacobian

    ties = np.asarray(candidate.ties)
    S = (ties[:, None] == np.arange(ties.max() + 1)).astype(float)  # (C, free)
    start = S.T @ np.asarray(candidate.consts, dtype=np.float64) / S.sum(axis=0)
    size = float(np.abs(problem.y).max()) or 1.0
    w = np.ones(len(problem.y)) if problem.weights is None else problem.weights / problem.weights.max()
    root = np.sqrt(w) / size

    def both(p):
        with np.errstate(all="ignore"):
            return value_and_jacobian(candidate.expr, problem.X, S @ p)

    def residual(p):
        return np.clip(np.nan_to_num((both(p)[0] - problem.y) * root, nan=1e6, posinf=1e6, neginf=-1e6), -1e6, 1e6)

    def jacobian(p):
        return np.nan_to_num((both(p)[1] * root).T @ S, nan=0.0, posinf=0.0, neginf=0.0)

    try:
        with np.errstate(all="ignore"):  # constants of any size
            found = least_squares(
                residual, start, jac=jacobian, x_scale="jac", max_nfev=200, xtol=1e-15, ftol=1e-15, gtol=1e-15
            )
    except (ValueError, np.linalg.LinAlgError):
        return math.inf, S @ start
    with np.errstate(all="ignore"):
        left = (both(found.x)[0] - problem.y) * root
    if not np.isfinite(left).all():
        return math.inf, S @ found.x
    centred = (problem.y - np.average(problem.y, weights=w)) * root
    return float(left @ left) / float(centred @ centred), S @ found.x
