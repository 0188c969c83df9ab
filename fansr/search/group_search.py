"""One law whose constants may differ from group to group: y = a[region]*exp(-k*x), with what is common found.

A law of one group is an ordinary law of that group's rows, so its form is looked for there (in the largest groups, and in all rows
together).  Each form is fitted to every group by itself; then its constants are tested one after the other for being common to all groups: the one
whose sharing costs least, as long as the description length falls.  The answer is written with the 0/1 columns of the groups:
(12*region_n + 7*region_s)*exp(-0.3*x).  Constants by group count as one constant for the rules, and the sum that spells them as none of
the operators.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fansr.expressions import (
    CONSTANT,
    Expr,
    children,
    compile_program,
    end,
    free,
    from_tree,
    n_constants,
    rename,
    to_tree,
)
from fansr.fitting import Budget, Candidate, Problem, Refiner
from fansr.search import description_length, form_search, selection, turns

LARGEST = 3  # groups whose rows are searched by themselves
SHARE = 0.2  # of the seconds, for each of those searches
FORMS = 60  # of each search that are fitted to all groups
TESTED = 10  # forms whose constants are tested for being common
MOST_CONSTANTS = 8  # of a form
LEAST_ROWS = 5  # of a group that is searched by itself


class GroupState(turns.Turns):
    """A search for one law with constants by group."""

    def __init__(self, problem: Problem, options: turns.Options, budget: Budget):
        said = problem.extra["grouping"]
        self.levels = [problem.names.index(name) for name in said["columns"]]
        self.plain = [j for j in range(len(problem.names)) if j not in self.levels]
        super().__init__(problem, options, budget)
        self.values: dict[int, float] = {}
        self.laws: list[Candidate] = []

    def _take(self, problem: Problem) -> None:
        super()._take(problem)
        self.group = np.argmax(problem.X[:, self.levels], axis=1)  # (M,)
        self.few = _columns(problem, self.plain)  # the problem without the groups' columns
        self.rows = [np.flatnonzero(self.group == g) for g in range(len(self.levels))]
        self.rows = [rows for rows in self.rows if len(rows)]
        w = np.ones(len(problem.y)) if problem.weights is None else problem.weights / problem.weights.max()
        self.root = np.sqrt(w) / (float(np.abs(problem.y).max()) or 1.0)
        centred = (problem.y - np.average(problem.y, weights=w)) * self.root
        self.spread = float(centred @ centred)

    def offer(self, batch: list[Candidate], source: str = "") -> None:
        """What others propose knows nothing of groups."""

    def _admitted(self, candidate: Candidate) -> Candidate | None:
        return candidate  # asked group by group, before it is offered

    # -- the search

    def run(self) -> None:
        """Forms, then their constants by group and in common, until time is up or a law is exact."""
        started = time.monotonic()
        seen: set[tuple[str, ...]] = set()
        for turn, found in enumerate(self._forms()):
            fresh = [
                e for e in dict.fromkeys(map(tuple, found)) if e not in seen and n_constants(list(e)) <= MOST_CONSTANTS
            ]
            seen.update(fresh)
            # The commonest forms are fitted whatever the time, so that there is an answer.
            over = self.work.over if turn else self._late
            for number, (expr, P) in enumerate(self._promising([list(e) for e in fresh], over)):
                self._shared(expr, P, whole=number == 0)
                if self.work.over():
                    return
            if self._told_to_stop("group", started) or (self.laws and min(c.fvu for c in self.laws) <= self.exact):
                return

    def _forms(self) -> Iterator[list[Expr]]:
        """Forms over the plain columns, those of textbooks first."""
        sub = replace(self.options.rules, shapes=(), positive=(), bounds=None)
        D = len(self.plain)
        if D <= 3:
            yield form_search.small_laws(D, sub)
        options = replace(self.options, rules=sub, robust=False, watch=None, jobs=1, target_fvu=None, loss="squares",
                          samples=min(self.options.samples, 512))  # fmt: skip
        large = sorted(self.rows, key=len, reverse=True)[:LARGEST]
        for rows in (*(rows for rows in large if len(rows) >= LEAST_ROWS), np.arange(len(self.problem.y))):
            part = _columns(self.problem, self.plain, rows)
            if not np.ptp(part.y) > 0:
                continue
            timed = self.work.seconds is not None
            state, status = turns.gather(
                part, options, self.work.slice(SHARE * self.work.left()) if timed else Budget(None)
            )
            self._loaded(state.loading)
            found = [_general(c.expr) for c in (*state.pool[:FORMS], *state.pool.front())]
            yield [form for expr in found for form in (expr, *_lifted(expr))]
            if status == "interrupted":
                raise KeyboardInterrupt

    def _promising(self, exprs: list[Expr], over: Callable[[], bool]) -> list[tuple[Expr, np.ndarray]]:
        """(form, constants (G, C)) of the forms that fit the groups best, each by itself; over: whether to fit no more."""
        exprs = [
            e
            for e in exprs
            if self.options.rules.broken(e, np.zeros(n_constants(e))) is None or self.options.rules.bounds
        ]
        if not exprs:
            return []
        left = np.zeros(len(exprs))
        P = [np.full((len(self.rows), n_constants(e)), np.nan) for e in exprs]
        for g, rows in enumerate(self.rows):
            part = _columns(self.problem, self.plain, rows)
            fitter = Refiner(
                part.X, part.y, restarts=self.options.restarts, seed=self.options.seed, weights=part.weights
            )
            fvus, consts = fitter.fit(exprs, jobs=self.options.jobs, over=over)
            w = self.root[rows] ** 2
            own = float(w @ (part.y - np.average(part.y, weights=w)) ** 2) if w.any() else 0.0
            for k, (fvu, found) in enumerate(zip(fvus, consts)):
                determined = len(rows) > len(found)
                if determined and fvu < math.inf:
                    P[k][g] = found
                    left[k] += fvu * own
                elif determined:
                    left[k] = math.inf
        order = []
        for k, expr in enumerate(exprs):
            known = ~np.isnan(P[k]).any(axis=1)
            if left[k] < math.inf and known.any():
                P[k][~known] = np.median(P[k][known], axis=0)
                order.append((self._nats(left[k] / self.spread, len(self.rows) * n_constants(expr), expr), k))
        return [(exprs[k], P[k]) for _, k in sorted(order)[:TESTED]]

    def _nats(self, fvu: float, constants: int, expr: Expr) -> float:
        """Description length of a form with so many constants in all, as selection's mdl has it."""
        M = len(self.problem.y)
        if M - constants - 1 <= 0 or not fvu < math.inf:
            return math.inf
        at = max(fvu, self.exact)
        told = constants * description_length.constant_nats(M, at, self.exact)
        return 0.5 * M * math.log(at) + told + description_length.structure_nats(expr)

    def _shared(self, expr: Expr, P: np.ndarray, whole: bool = False) -> None:
        """Find which constants of a form are common, and keep the laws on the way; whole: however late it is."""
        G, C = P.shape
        common: frozenset[int] = frozenset()
        fvu, P = self._joint(expr, common, P)
        best = self._nats(fvu, G * C, expr)
        self._keep(expr, common, P, fvu, best)
        while len(common) < C and (whole or not self.work.over()):
            trials = []
            for c in sorted(set(range(C)) - common):
                more = common | {c}
                for start in ("median", "first"):
                    Q = P.copy()
                    Q[:, c] = np.median(P[:, c]) if start == "median" else P[0, c]
                    fvu, Q = self._joint(expr, more, Q)
                    trials.append((self._nats(fvu, len(more) + G * (C - len(more)), expr), sorted(more), fvu, Q))
            value, more_, fvu, Q = min(trials, key=lambda trial: trial[0])
            if not value < best:
                break
            best, common, P = value, frozenset(more_), Q
            self._keep(expr, common, P, fvu, best)
        self._without_neutral(expr, common, P, best)

    def _without_neutral(self, expr: Expr, common: frozenset[int], P: np.ndarray, best: float) -> None:
        """The form without a common constant that says nothing: a factor or an exponent of 1, a summand of 0."""
        for c in sorted(common):
            for value in (1.0, 0.0):
                short = _neutral(expr, c, value)
                if short is None or abs(P[0, c] - value) > 0.1:
                    continue
                rest = frozenset(k - (k > c) for k in common if k != c)
                fvu, Q = self._joint(short, rest, np.delete(P, c, axis=1))
                nats = self._nats(fvu, len(rest) + len(P) * (Q.shape[1] - len(rest)), short)
                if nats < best:
                    self._keep(short, rest, Q, fvu, nats)
                    return self._without_neutral(short, rest, Q, nats)

    def _joint(self, expr: Expr, common: frozenset[int], P: np.ndarray) -> tuple[float, np.ndarray]:
        """(fvu, constants (G, C)) of a form fitted to all rows, some of its constants common, from constants P (G, C)."""
        from scipy.optimize import least_squares

        from fansr.expressions import value_and_jacobian

        G, C = P.shape
        place = np.empty((G, C), int)  # of each constant among those that are fitted
        own = [c for c in range(C) if c not in common]
        for k, c in enumerate(sorted(common)):
            place[:, c] = k
        for k, c in enumerate(own):
            place[:, c] = len(common) + k * G + np.arange(G)
        n = len(common) + G * len(own)
        if n >= len(self.problem.y):
            return math.inf, P
        start = np.zeros(n)
        for k, c in enumerate(sorted(common)):
            start[k] = P[:, c].mean()
        for k, c in enumerate(own):
            start[len(common) + k * G : len(common) + (k + 1) * G] = P[:, c]
        program = compile_program(expr)
        parts = [np.ascontiguousarray(self.few.X[rows]) for rows in self.rows]
        y, M = self.problem.y, len(self.problem.y)

        def both(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            off, J = np.empty(M), np.zeros((M, n))
            for g, (rows, X) in enumerate(zip(self.rows, parts)):
                with np.errstate(all="ignore"):
                    value, slopes = value_and_jacobian(program, X, p[place[g]])
                off[rows] = (value - y[rows]) * self.root[rows]
                if C:
                    J[np.ix_(rows, place[g])] = (slopes * self.root[rows]).T
            return off, J

        def tame(values: np.ndarray, size: float) -> np.ndarray:
            return np.clip(np.nan_to_num(values, nan=size, posinf=size, neginf=-size), -1e9, 1e9)

        if n:
            bounds = self.options.rules.bounds or (-math.inf, math.inf)
            start = np.clip(start, *bounds)
            try:
                found = least_squares(lambda p: tame(both(p)[0], 1e6), start, jac=lambda p: tame(both(p)[1], 0.0), x_scale="jac",
                                      bounds=bounds, method="trf", max_nfev=60, xtol=1e-14, ftol=1e-14, gtol=1e-14)  # fmt: skip
                start = found.x
            except (ValueError, np.linalg.LinAlgError):
                return math.inf, P
        off, _ = both(start)
        fvu = float(off @ off) / self.spread if np.isfinite(off).all() else math.inf
        return fvu, start[place] if C else P

    def _keep(self, expr: Expr, common: frozenset[int], P: np.ndarray, fvu: float, value: float) -> None:
        """Keep a law, written with the groups' columns, where it keeps the rules in every group."""
        if not value < math.inf:
            return
        if self.options.rules:
            for consts, rows in zip(P, self.rows):
                if not self.options.rules.holds(Candidate(expr, consts, fvu), _columns(self.problem, self.plain, rows)):
                    return
        columns = [f"x{j + 1}" for j in self.levels]
        used = [columns[int(self.group[rows[0]])] for rows in self.rows]
        law, consts = written(rename(expr, dict(enumerate(self.plain))), common, P, used)
        candidate = self._rounded(Candidate(law, consts, fvu, source="group"))
        self.yields["group"] += 1
        self.values[id(candidate)] = value
        self.laws.append(candidate)
        self.pool.add(candidate)

    def _rounded(self, candidate: Candidate) -> Candidate:
        """Constants with fewer digits where that costs nothing that the data can tell."""
        measured = float(self.fitter.fvu(candidate.expr, candidate.consts))
        candidate = replace(candidate, fvu=measured)
        for digits in range(2, 13):
            consts = np.array([float(f"{c:.{digits}g}") for c in candidate.consts])
            consts[np.abs(consts) < 1e-13 * np.abs(consts).max(initial=0.0)] = 0.0
            fvu = float(self.fitter.fvu(candidate.expr, consts))
            if fvu <= max(10 * self.floor, measured * (1 + 1e-9)) and not self.options.rules:
                return replace(candidate, consts=consts, fvu=fvu)
        return candidate

    def finish(self, started: float, status: str) -> turns.Found:
        """The law of least description length, and the front."""
        least = min(self.laws, key=lambda c: self.values[id(c)], default=None)
        front = selection.front_of(self.laws, len(self.problem.y), self.floor, least)
        return self._found(least, front, None if least is None else self._errors(least), started, status)


def _columns(problem: Problem, plain: Sequence[int], rows: np.ndarray | None = None) -> Problem:
    """A problem in some of its columns, and rows."""
    rows = np.arange(len(problem.y)) if rows is None else rows
    return Problem(
        np.ascontiguousarray(problem.X[np.ix_(rows, plain)]), problem.y[rows], [problem.names[j] for j in plain], problem.target,
        weights=None if problem.weights is None or not problem.weights[rows].any() else problem.weights[rows],
    )  # fmt: skip


def _general(expr: Sequence[str]) -> Expr:
    """The form of a law: whole factors become constants, too."""

    def walk(node: Any) -> Any:
        if not isinstance(node, tuple):
            return node
        kids = [walk(child) for child in node[1:]]
        if node[0][:4] == "mult":
            return ("*", CONSTANT, *kids)
        if node[0][:3] == "div":
            return ("/", *kids, CONSTANT)
        return (node[0], *kids)

    return free(from_tree(walk(to_tree(list(expr)))))[0]


def _lifted(expr: Expr) -> Iterator[Expr]:
    """The form with an offset and a factor of its own, where it has none."""
    if expr[0] not in "+-":
        yield ["+", CONSTANT, *expr]
        if CONSTANT not in expr[:2]:
            yield ["*", CONSTANT, *expr]
            yield ["+", CONSTANT, "*", CONSTANT, *expr]


def _neutral(expr: Expr, c: int, value: float) -> Expr | None:
    """A form without its c-th constant, which is 1 or 0; None where that constant stands where it always says something."""
    at = [i for i, token in enumerate(expr) if token == CONSTANT][c]
    for token, side in (("*", 0), ("*", 1), ("/", 1), ("pow", 1)) if value else (("+", 0), ("+", 1), ("-", 1)):
        for i in range(at):
            if expr[i] == token and children(expr, i)[side] == at:
                other = children(expr, i)[1 - side]
                return [*expr[:i], *expr[other : end(expr, other)], *expr[end(expr, i) :]]
    return None


def written(expr: Expr, common: frozenset[int], P: np.ndarray, columns: Sequence[str]) -> tuple[Expr, np.ndarray]:
    """(expression, constants) of a form with constants P (G, C): those that are not common as sums over the groups' columns."""
    law: Expr = []
    consts: list[float] = []
    k = 0
    for token in expr:
        if token != CONSTANT:
            law.append(token)
        elif k in common:
            law.append(CONSTANT)
            consts.append(float(P[0, k]))
        else:
            for g, column in enumerate(columns):
                law += (["+"] if g + 1 < len(columns) else []) + ["*", CONSTANT, column]
                consts.append(float(P[g, k]))
        k += token == CONSTANT
    return law, np.array(consts)


def check(problem: Problem, form: Sequence[str] = ()) -> None:
    """ValueError where groups leave nothing to fit, or do not go with what else was said."""
    said = problem.extra["grouping"]
    if len(problem.names) == len(said["columns"]):
        raise ValueError(f"group: besides {said['column']} no column is left for the law")
    if form:
        raise ValueError("group: a law of a given form has no constants by group; leave out one of --form and --group")
