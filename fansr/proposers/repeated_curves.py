"""A proposer: sums of several curves of one kind over one column: decays, peaks, steps, waves on a baseline.

What spectra, decays of mixtures, titrations and tides are made of, y = base + b1 g(k1, c1; x) + b2 g(k2, c2; x) + ..., base a
constant, a line or a decay.  Curve by curve: the best place of a grid for one more beside those that are there (the linear
constants projected out), drawn in, then all constants polished together, which moves what the first ones took from the later.  It
ends where one more explains no more than chance would, or at MOST.  Matching pursuit (Mallat and Zhang 1993) with a refit of
everything after each step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from fansr.expressions import CONSTANT, bind, evaluate, from_tree, literal_value, to_tree
from fansr.fitting import Budget, Candidate, Problem, Refiner
from fansr.proposers.one_column_curves import CURVES, EXACT, ROWS, Curve, X, centred
from fansr.proposers.parts.candidates import finish, fvu_of
from fansr.proposers.parts.expression_assembly import scale_of
from fansr.proposers.parts.inner_scan import Family, Projector, coefficients, summed, usable, zoomed
from fansr.proposers.parts.terms import thinned

# Curves of one_column_curves.py, a peak with one constant less in its written form.
FAMILIES = {name: CURVES[name][0] for name in ("exp", "bell", "tanh", "wave")} | {
    "peak": Family("inv + k pow2 - a c", centred)
}
MOST = 6  # curves of a sum besides its base
MIN_ROWS = 12
ZOOMS = 5
BEHIND = 30.0  # times the best law's FVU that a sum may be off after its second curve and still be gone on with
NATS_EACH = 3.0  # a constant's, besides half the logarithm of the rows
ROUGH = 5  # curves by which the promise of a kind is told
PLACES = 400  # places of a grid at most that are looked at at once
ASIDE = 0.25  # of the column's range that a middle may lie beside it
ROWS_OF_A_PEAK = 4.0  # on which it stands at least, (sum v)^2 / sum v^2
ALIKE = 0.05  # 1 - r^2 of two curves below which they are one
ITERATIONS = 60  # of a polish


class Sum(NamedTuple):
    """A law of several curves: the kind repeated, its terms with their values (n,), as a candidate."""

    kind: str
    terms: list[Curve]
    found: Candidate


class Table:
    """One column and its target: what sums are fitted to."""

    def __init__(self, problem: Problem, j: int):
        x = problem.X[:, j]
        rows = np.argsort(x, kind="stable")
        if len(x) > ROWS:
            rows = rows[np.unique(np.linspace(0, len(x) - 1, ROWS).astype(int))]
        self.x, self.y = x[rows], problem.y[rows] / scale_of(problem.y)
        self.weights = None if problem.weights is None else problem.weights[rows]
        self.whole, self.scale = (
            Problem(np.ascontiguousarray(x[:, None]), problem.y, ["x1"], weights=problem.weights),
            scale_of(problem.y),
        )
        self.grids = {kind: _grid(kind, self.x) for kind in FAMILIES}
        self.refiner = Refiner(self.whole.X, problem.y, weights=problem.weights)

    def worth(self, before: float, after: float, constants: int) -> bool:
        """Whether so many constants more earn a fall of the FVU."""
        M = len(self.whole.y)
        return 0.5 * M * math.log(before / max(after, 1e-28)) > constants * (0.5 * math.log(M) + NATS_EACH)

    @np.errstate(all="ignore")
    def one_more(self, kind: str, terms: list[Curve]) -> Curve | None:
        """The best curve of a kind beside these terms and a constant."""
        grid, fit = self.grids[kind], self._fit(terms)

        def shares(places: np.ndarray) -> np.ndarray:
            values = self._values(kind, places)
            return fit.pair_shares(*values)[0] if kind == "wave" else fit.shares(values)

        coarse = np.concatenate([shares(grid[first : first + PLACES]) for first in range(0, len(grid), PLACES)])
        if not np.isfinite(coarse).any():
            return None
        axes = [np.unique(axis) for axis in grid.T]
        _, at, _ = zoomed(shares, axes, grid[int(np.argmin(coarse))], ZOOMS)
        return self._curve(kind, at, fit)

    @np.errstate(all="ignore")
    def two_at_once(self, kind: str, terms: list[Curve]) -> list[Curve]:
        """The best pair of the grid's curves: where they overlap, the first one alone comes to lie between them."""
        grid, fit = self.grids[kind], self._fit(terms)
        F = self._values(kind, grid)
        fine = usable(F, 0.0)
        grid, F = grid[fine], fit.rest(F[fine])
        size = np.sqrt(np.sum(F * F, axis=1))
        F = F[size > 0] / size[size > 0, None]
        if len(F) < 2:
            return []
        G, b = F @ F.T, F @ fit.t
        det = 1 - G * G
        one = (b[:, None] - G * b[None, :]) / det  # the coefficient of the first of a pair
        gain = one * b[:, None] + one.T * b[None, :]
        gain[~((det > ALIKE) & (one * one.T > 0))] = -np.inf  # they would cancel
        i, j = np.unravel_index(int(np.argmax(gain)), gain.shape)
        return [self._curve(kind, grid[size > 0][k], fit) for k in (i, j)] if gain[i, j] > 0 else []

    @np.errstate(all="ignore")
    def promise(self, kind: str, terms: list[Curve]) -> float:
        """The share that a few curves of a kind beside these terms leave, roughly: each the best place of the grid in turn."""
        fit, F = self._fit(terms), self._values(kind, self.grids[kind])
        F = fit.rest(np.concatenate(F) if kind == "wave" else F)
        size = np.sqrt(np.sum(F * F, axis=1))
        F = F[size > 0] / size[size > 0, None]
        F, left = F[np.isfinite(F).all(axis=1)], fit.t
        for _ in range(ROUGH if len(F) else 0):
            along = F @ left
            k = int(np.argmax(np.abs(along)))
            left = left - along[k] * F[k]
        return float(left @ left) / fit.whole

    def _fit(self, terms: list[Curve]) -> Projector:
        return Projector([np.ones(len(self.x)), *(term.values for term in terms)], self.y, self.weights)

    def _values(self, kind: str, places: np.ndarray) -> np.ndarray:
        """Values (K, n) of a kind at places (K, constants); of a wave its sine and cosine (2, K, n)."""
        if kind == "wave":
            return np.stack([np.sin(places * self.x), np.cos(places * self.x)])
        values = FAMILIES[kind].values(self.x, *places.T[:, :, None])
        return np.broadcast_to(values, (len(places), len(self.x)))

    def _curve(self, kind: str, at: np.ndarray, fit: Projector) -> Curve:
        constants = at.tolist()
        if kind == "wave":
            constants.append(float(fit.pair_shares(*self._values(kind, at[None]))[1][0]))
        return Curve(0.0, FAMILIES[kind].spelled(X, *constants), np.asarray(FAMILIES[kind].values(self.x, *constants)))

    @np.errstate(all="ignore")
    def polished(self, kind: str, terms: list[Curve], level: bool = True) -> Sum | None:
        """The sum of these curves, and of a constant if `level`, with all constants fitted together; None where it is not finite, or nothing."""
        columns = [*([np.ones(len(self.x))] if level else []), *(term.values for term in terms)]
        if not columns or not np.isfinite(columns).all():
            return None
        c, _ = coefficients(columns, self.y, None if self.weights is None else np.sqrt(self.weights))
        c = c * self.scale
        if not np.isfinite(c).all():
            return None
        law = summed(c[level:], [term.expr for term in terms], float(c[0]) if level else 0.0)
        found = finish(law, "repeats")
        held = found.consts == 1.0  # of the curve's form
        if int((~held).sum()) >= len(self.whole.y) - 1:
            return None
        ones = iter(held)
        expr = ["1.0" if token == CONSTANT and next(ones) else token for token in found.expr]
        fvu, consts = self.refiner.polish(expr, found.consts[~held], iterations=ITERATIONS)
        values = np.broadcast_to(evaluate(found.expr, self.whole.X, found.consts), len(self.whole.y))
        found.fvu = fvu_of(self.whole.y, values, self.whole.weights)
        if fvu <= found.fvu:
            found.fvu, found.consts[~held] = float(fvu), consts
        if not found.fvu < math.inf:
            return None
        terms = self._terms_of(found)
        return Sum(kind, terms, found) if all(map(self._stands, terms)) else None

    def _stands(self, curve: Curve) -> bool:
        """Whether a peak or a step has its middle among the rows or near them, and a peak several rows and no pole."""
        peak, bell = curve.expr[0] == "inv", curve.expr[:3] == ("exp", "neg", "pow2")
        if not peak and not bell and curve.expr[0] != "tanh":
            return True
        low, high = float(self.x[0]), float(self.x[-1])
        if not low - ASIDE * (high - low) <= float(curve.expr[-1]) <= high + ASIDE * (high - low):
            return False
        if curve.expr[0] == "tanh":
            return True
        size = curve.values / curve.values.max()
        return bool(size.min() >= 0) and float(size.sum()) ** 2 >= ROWS_OF_A_PEAK * float(size @ size)

    @np.errstate(all="ignore")
    def _terms_of(self, found: Candidate) -> list[Curve]:
        """The curves of a polished sum, without the numbers that multiply them."""
        terms = []
        for tree in _summands(to_tree(bind(found.expr, found.consts))):
            if isinstance(tree, tuple) or literal_value(tree) is None:
                expr = tuple(from_tree(tree))
                terms.append(Curve(0.0, expr, np.broadcast_to(evaluate(list(expr), self.x[:, None]), len(self.x))))
        return terms


def _grid(kind: str, x: np.ndarray) -> np.ndarray:
    """Places of a kind's constants: those of one curve, and narrower peaks and steps, as many as rows can show."""
    if kind not in ("bell", "peak", "tanh"):
        return FAMILIES[kind].grid(x)
    span, gaps = float(np.ptp(x)), np.diff(np.unique(x))
    finest = max(float(np.median(gaps)), span / 400)
    widths = np.geomspace(0.7, max(40.0, 0.7 * span / finest), 12) / span
    widths = 1 / widths**2 if kind == "peak" else widths
    centres = float(x.min()) + span * np.linspace(-0.1, 1.1, 49)
    return np.stack(np.meshgrid(widths, centres, indexing="ij"), axis=-1).reshape(-1, 2)


def _is_number(node) -> bool:
    return not isinstance(node, tuple) and literal_value(node) is not None


def _summands(node) -> Iterator:
    """Summands of a tree without signs and without the numbers that multiply them; numbers alone are left out."""
    while isinstance(node, tuple):
        if node[0] == "neg" or node[0][:4] == "mult" or node[0][:3] == "div":
            node = node[1]
        elif node[0] == "*" and _is_number(node[1]):
            node = node[2]
        elif node[0] in ("*", "/") and _is_number(node[2]):
            node = node[1]
        elif node[0] == "/" and _is_number(node[1]):
            node = ("inv", node[2])
        else:
            break
    if isinstance(node, tuple) and node[0] in ("+", "-"):
        yield from _summands(node[1])
        yield from _summands(node[2])
    elif not _is_number(node):
        yield node


def sums(table: Table, over: Callable[[], bool]) -> Iterator[Sum]:
    """Sums of two curves of each kind on each base, the best of a kind with ever more, the kinds that promise most first; then
    the others' further ones."""
    line = Curve(1.0, X, table.x)
    decay = table.one_more("exp", [])
    others: list[Sum] = []
    best = math.inf

    def grown(now: Sum, always: bool) -> Iterator[Sum]:
        nonlocal best
        for _ in range(MOST - 2):
            if over() or now.found.fvu < EXACT or (now.found.fvu > BEHIND * best and not always):
                return
            more = _further(table, now)
            if more is None or not table.worth(
                now.found.fvu, more.found.fvu, len(more.found.consts) - len(now.found.consts)
            ):
                return
            now = more
            best = min(best, now.found.fvu)
            yield now

    for kind in sorted(FAMILIES, key=lambda kind: min(table.promise(kind, []), table.promise(kind, [line]))):
        bases = [[], [line], *([[decay]] if decay is not None and kind != "exp" else [])]
        begun: list[Sum] = []
        for base in bases:
            if over():
                return
            begun += _two(table, kind, base)
        begun.sort(key=lambda found: found.found.fvu)
        best = min([best, *(found.found.fvu for found in begun)])
        yield from begun
        if begun:
            yield from grown(begun[0], True)
        others += begun[1:]
    for found in sorted(others, key=lambda found: found.found.fvu):
        yield from grown(found, False)


def _two(table: Table, kind: str, base: list[Curve]) -> list[Sum]:
    """The sum of two curves of a kind on a base, one after the other and both at once; nothing where none is finite."""
    one = _further(table, Sum(kind, list(base), None))  # type: ignore[arg-type]
    found = [] if one is None else [_further(table, one)]
    if kind != "wave":  # of which neither hides another
        pair = table.two_at_once(kind, base)
        found.append(table.polished(kind, [*base, *pair]) if pair else None)
    return [two for two in found if two is not None]


def _further(table: Table, now: Sum) -> Sum | None:
    curve = table.one_more(now.kind, now.terms)
    return None if curve is None else table.polished(now.kind, [*now.terms, curve])


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates of tables of one column, all constants fitted; bounded by counts."""
    problem = thinned(problem, rng)
    columns = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0]
    if len(columns) != 1 or len(problem.y) < MIN_ROWS or not np.ptp(problem.y) > 0:
        return
    j = columns[0]
    table = Table(problem, j)
    for found in sums(table, budget.over):
        bare = table.polished(found.kind, found.terms, level=False)
        candidates = [one.found for one in (found, bare) if one is not None]
        for candidate in candidates:
            candidate.expr = [f"x{j + 1}" if token == "x1" else token for token in candidate.expr]
        yield candidates
        if any(candidate.fvu < EXACT for candidate in candidates):
            return
