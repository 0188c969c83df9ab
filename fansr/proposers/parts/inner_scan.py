"""Functions with a constant inside, scanned: families of them on grids, what linear constants leave, and the narrowing.

Most laws that no library lists are linear but for one or two numbers inside a function: c0 + c1 exp(-k x), b / (x + c).
Whoever looks for them does the same: takes a *family* g(k; a) for an argument a(x), tabulates it over a grid of k, projects
the linear constants out for all of the grid at once (`Projector`), and narrows the best places (`golden`, `zoomed`) until
a descent can polish them.  The proposers' own part is what g stands in: a sum, a product, a factor in front, a wave.

To add a family, write its formula in prefix, with a for the argument and k (and c) for the constants, and say which of them
are worth a look.  Values, spelling and domain follow: where the formula is not defined it is not finite, and left out.

    FAMILIES["cosh"] = Family("cosh * k a", rates)                      # y = ... cosh(k a) ..., k > 0

and add its name to the tuple of those proposers that shall scan it.  This file knows no budgets and no candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

from fansr.expressions import ARITY, evaluate, export
from fansr.proposers.parts.expression_assembly import Base, Factors, product, times

BLOCK = 32  # places of a periodogram that are turned at once
GOLDEN_RATIO = (math.sqrt(5) - 1) / 2
_SYMBOLS = {"a": "x1", "k": "x2", "c": "x3"}  # the names of export.numpy_source


# ---- families ---------------------------------------------------------------------------------


class Family(NamedTuple):
    """g(k; a) or g(k, c; a): its formula and, from an argument's values (n,), the axes of the grid of its constants."""

    formula: str
    axes: Callable[[np.ndarray], tuple | np.ndarray]  # one array for each constant; () where there is nothing to scan

    def values(self, a: np.ndarray, k=0.0, c=0.0) -> np.ndarray:
        """The function's values, constants broadcast against the argument: k (K, 1) and a (n,) make (K, n)."""
        return _compiled(self.formula)(a, k, c)

    def grid(self, a: np.ndarray) -> np.ndarray:
        """Every combination of the axes (K, constants), the last constant running fastest."""
        axes = self.axes(a)
        return mesh(axes if isinstance(axes, tuple) else (axes,))

    def spelled(self, a: Base, *constants: float) -> Base:
        """The expression with an argument and numbers filled in."""
        return fill(tuple(self.formula.split()), a, constants)


@lru_cache(None)
def _compiled(formula: str) -> Callable:
    """A function of (a, k, c) in numpy, by the operator table."""
    tokens = [_SYMBOLS.get(token, token) for token in formula.split()]
    return eval(f"lambda a, k, c: {export.numpy_source(tokens, names=list(_SYMBOLS))}", {"np": np})


def fill(tokens: Base, a: Base = (), constants: Iterable[float] = ()) -> Base:
    """Tokens with a replaced by an expression and k, c by numbers; products with a number in their shortest form."""
    numbers = {name: repr(float(value)) for name, value in zip("kc", constants)}
    law = tuple(t for token in tokens for t in (a if token == "a" else (numbers.get(token, token),)))
    for i, token in enumerate(law[:-2]):
        if token == "*" and law[i + 1] in numbers.values() and law[i + 2] == "inv":
            return (*law[:i], "/", law[i + 1], *law[i + 3 :])
    return law


def mesh(axes) -> np.ndarray:
    """All combinations (K, len(axes)) of the axes' values."""
    lengths = [len(axis) for axis in axes]
    grid = np.empty((*lengths, len(lengths)))
    for i, axis in enumerate(axes):
        grid[..., i] = np.reshape(axis, (-1, *(1,) * (len(lengths) - 1 - i)))
    return grid.reshape(-1, len(lengths)) if lengths else np.zeros((1, 0))


def rates(a: np.ndarray) -> np.ndarray:
    """k > 0 from where k a is next to nothing on all rows to where it is large on most, of those where it is finite (1/a)."""
    size = np.abs(a[np.isfinite(a)]) if np.isfinite(a).any() else np.ones(1)
    largest, typical = float(size.max()) or 1.0, float(np.median(size)) or float(size.max()) or 1.0
    return np.geomspace(0.05 / largest, 5.0 / typical, 8)


def signed_rates(a: np.ndarray) -> np.ndarray:
    return np.concatenate([-rates(a)[::-1], rates(a)])


def shifts(a: np.ndarray) -> np.ndarray:
    """k that keep a + k above 0, from little against a's size to much."""
    return max(0.0, -float(a.min())) + 1 / rates(a)[::-1]


def turns(a: np.ndarray) -> np.ndarray:
    """Slow waves: quarter turns over the argument's range, up to two whole ones."""
    return np.array([0.25, 0.5, 0.85, 1.3, 1.9, 2.7, 3.6]) * np.pi / float(np.ptp(a))


# One constant inside.  A 1.0 that stands here is part of the form: polishing leaves constants that are exactly 1 alone.
FAMILIES = {
    "exp": Family("exp * k a", signed_rates),
    "tanh": Family("tanh * k a", rates),
    "sin": Family("sin * k a", turns),
    "cos": Family("cos * k a", turns),
    "expm1": Family("- exp * k a 1.0", signed_rates),
    "exp1": Family("+ exp * k a 1.0", signed_rates),
    "bell": Family("exp * k pow2 a", lambda a: -rates(a * a)[::-1]),
    "growth": Family("exp * k pow2 a", lambda a: rates(a * a)),
    "more": Family("+ a k", shifts),
    "less": Family("- k a", lambda a: shifts(-a)),
    "inv": Family("inv + a k", shifts),
    "inv less": Family("inv - k a", lambda a: shifts(-a)),
    "log": Family("log + a k", shifts),
    "lorentz": Family("inv + pow2 a k", lambda a: shifts(a * a)),
    "square": Family("+ pow2 a k", lambda a: shifts(a * a)),
    "root": Family("pow1_2 + pow2 a k", lambda a: shifts(a * a)),
    "inv root": Family("inv pow1_2 + pow2 a k", lambda a: shifts(a * a)),
    "exp inv": Family("exp / k a", lambda a: signed_rates(1 / a)),
}


class Table(NamedTuple):
    """One family on one argument: its formula with the argument filled in, values (K, n), grid (K, constants).

    `at` gives the values at other places than those of the grid.
    """

    tokens: Base
    values: np.ndarray
    grid: np.ndarray
    at: Callable[[np.ndarray], np.ndarray]

    def law(self, constants: Iterable[float]) -> Base:
        return fill(self.tokens, (), constants)

    def times(self, factor: Base, v: np.ndarray) -> Table:
        """The same with a factor (values (n,)) in front; () for none."""
        if factor[:1] == ("inv",):
            tokens = ("/", *self.tokens, *factor[1:])
        else:
            tokens = ("*", *factor, *self.tokens) if factor else self.tokens
        return Table(tokens, self.values * v, self.grid, lambda places: self.at(places) * v)

    def narrowed(self, place: int, shares: Callable, rounds: int = 3) -> tuple[float, np.ndarray]:
        """(share left, constants) at the best near a place of the grid; shares: of values (K, n), what they leave (K,)."""
        axes = [np.unique(column) for column in self.grid.T]
        return zoomed(lambda places: shares(self.at(places)), axes, self.grid[place], rounds)[:2]


@np.errstate(all="ignore")
def table(family: Family, base: Base, a: np.ndarray) -> Table | None:
    """The places of a family's grid where its values are usable; None where there are none."""

    def at(places: np.ndarray) -> np.ndarray:
        values = family.values(a, *(column[:, None] for column in places.T))
        return np.broadcast_to(values, (len(places), len(a)))

    grid = family.grid(a)
    values = at(grid)
    good = usable(values)
    return Table(fill(tuple(family.formula.split()), base), values[good], grid[good], at) if good.any() else None


def fixed(base: Base, v: np.ndarray) -> Table:
    """A function without constants inside as a table of one place."""
    return Table(base, v[None], np.zeros((1, 0)), lambda places: np.broadcast_to(v, (len(places), len(v))))


def tables(names: Iterable[str], over: list[tuple[Base, np.ndarray]]) -> list[Table]:
    """All families of these names on all arguments (expression, values (n,)), those of the first argument first."""
    found = [table(FAMILIES[name], base, a) for base, a in over for name in names]
    return [one for one in found if one is not None]


def leading(scanned: list[Table], shares: Callable, most: int) -> list[tuple[float, Base]]:
    """(share left, law) of the `most` best tables on their grids, narrowed; best first."""
    if not scanned:
        return []
    first = np.cumsum([0, *(len(one.grid) for one in scanned)])
    coarse = shares(np.concatenate([one.values for one in scanned]))
    found = []
    for i in np.argsort(np.minimum.reduceat(coarse, first[:-1]), kind="stable")[:most]:
        place = int(coarse[first[i] : first[i + 1]].argmin())
        share, constants = scanned[i].narrowed(place, shares)
        if share < math.inf:
            found.append((share, scanned[i].law(constants)))
    return sorted(found)


def usable(values: np.ndarray, least: float = 1e-7) -> np.ndarray:
    """Which rows (K,) of values (K, n) are finite, of sane size, and vary by more than a share of that."""
    size = np.abs(values).max(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.isfinite(size) & (size > 1e-100) & (size < 1e100) & (np.ptp(values, axis=-1) > least * size)


def values_of(factors: Factors, X: np.ndarray) -> np.ndarray:
    """Values (M,) of a factor table; of the empty one ones."""
    body = product(factors, lambda base: False)
    return evaluate(body, X) if body else np.ones(len(X))


@np.errstate(all="ignore")
def arguments(X: np.ndarray, columns: list[int], combined: str) -> list[tuple[Base, np.ndarray]]:
    """What functions are applied to: columns, then under each operator of `combined` the columns or the pairs of them.

    ``combined`` is tokens such as "* / pow2"; quotients come both ways round.  (expression, values (n,)), the usable ones.
    """
    found = [((f"x{j + 1}",), X[:, j]) for j in columns]
    pairs = list(combinations(columns, 2))
    for token in combined.split():
        if ARITY[token] == 1:
            found += [((token, f"x{j + 1}"), _compiled(f"{token} a")(X[:, j], 0.0, 0.0)) for j in columns]
            continue
        act = _compiled(f"{token} a k")
        for i, j in pairs + [(j, i) for i, j in pairs if token == "/"]:
            found.append(((token, f"x{i + 1}", f"x{j + 1}"), act(X[:, i], X[:, j], 0.0)))
    return [(base, v) for base, v in found if usable(v, 1e-9)]


# ---- linear constants projected out -----------------------------------------------------------


class Projector:
    """Weighted least squares of a goal on known columns and one or two more, for many candidates for these at once.

    known: columns (n,) of what is in every law, the constant among them, of which those that are sums of others are dropped;
    goal (n,), None where only `misfits` are asked for; weights (n,) or None.  Shares are of the goal's spread about its mean.
    """

    def __init__(self, known, goal: np.ndarray | None = None, weights: np.ndarray | None = None):
        self.weighted = weights is not None
        self.w = np.sqrt(weights / weights.mean()) if weights is not None else np.ones(len(known[0]))
        A = np.column_stack([v * self.w for v in known])
        A = A / np.maximum(np.sqrt((A * A).sum(axis=0)), 1e-300)
        Q, R = np.linalg.qr(A)
        self.Q = Q[:, np.abs(np.diag(R)) > 1e-9]  # (n, known)
        t = self.w * (0.0 if goal is None else goal)
        self.whole = float(np.sum((t - self.w * (self.w @ t) / (self.w @ self.w)) ** 2)) or 1.0
        self.t = t - self.Q @ (self.Q.T @ t)
        self.left = float(self.t @ self.t)
        self.open = self.left / self.whole  # share that the known columns leave

    def rest(self, F: np.ndarray) -> np.ndarray:
        """What the known columns leave of each row of F (..., n), weighted."""
        F = F * self.w if self.weighted else F
        known = (F @ self.Q) @ self.Q.T
        return np.subtract(F, known, out=known)

    def shares(self, F: np.ndarray, new: float = 1e-14) -> np.ndarray:
        """Share (K,) of the goal that stays unexplained with each row of F (K, n) beside.

        Infinite where a row is not finite, or where less than the share `new` of its square is new to the known columns.
        """
        F = F / np.maximum(np.maximum(F.max(axis=-1, keepdims=True), -F.min(axis=-1, keepdims=True)), 1e-300)
        if self.weighted:
            F *= self.w
        before = np.einsum("...n,...n->...", F, F)
        F -= (F @ self.Q) @ self.Q.T
        norm = np.einsum("...n,...n->...", F, F)
        left = (self.left - (F @ self.t) ** 2 / norm) / self.whole
        return np.where(np.isfinite(left) & (norm > new * before), np.maximum(left, 0.0), math.inf)

    def misfits(self, S: np.ndarray) -> np.ndarray:
        """For goals that vary: the share (K,) of the spread of each row of S (K, n) that the known columns leave."""
        S = S - S.mean(axis=1, keepdims=True)
        before = (S * S).sum(axis=1)
        left = self.rest(self.rest(S))  # twice: what is left is often rounding
        left = (left * left).sum(axis=1) / before
        return np.where(np.isfinite(left) & (before > 0), left, np.inf)

    def pair_shares(self, S: np.ndarray, C: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same with two columns a row, sine and cosine say; also the phase of the wave that is fitted."""
        S, C = self.rest(S), self.rest(C)
        ss, cc, sc = np.einsum("gm,gm->g", S, S), np.einsum("gm,gm->g", C, C), np.einsum("gm,gm->g", S, C)
        ts, tc = S @ self.t, C @ self.t
        det = ss * cc - sc * sc
        a, b = (ts * cc - tc * sc) / det, (tc * ss - ts * sc) / det
        left = (self.left - a * ts - b * tc) / self.whole
        fine = np.isfinite(left) & (det > 1e-10 * ss * cc)
        return np.where(fine, np.maximum(left, 0.0), math.inf), np.arctan2(b, a)

    def wave_shares(self, k: np.ndarray, v: np.ndarray, amplitudes=None) -> np.ndarray:
        """A periodogram: shares (K,) left by cos(k v) and sin(k v), each times every row of `amplitudes` (q, n)."""
        A = np.ones((1, len(v))) if amplitudes is None else amplitudes
        out = np.empty(len(k))
        for first in range(0, len(k), 64):
            phase = k[first : first + 64, None, None] * v  # (K, 1, n)
            F = self.rest(np.concatenate([np.cos(phase) * A, np.sin(phase) * A], axis=1))  # (K, 2q, n)
            G, b = F @ F.transpose(0, 2, 1), F @ self.t  # (K, 2q, 2q), (K, 2q)
            ridge = 1e-6 * np.trace(G, axis1=1, axis2=2) / G.shape[1] + 1e-300
            G += ridge[:, None, None] * np.eye(G.shape[1])
            explained = (b * np.linalg.solve(G, b[:, :, None])[:, :, 0]).sum(axis=1)
            out[first : first + 64] = (self.left - explained) / self.whole
        return out


def wave_power(k: np.ndarray, v: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(K,) |sum t exp(i k v)|^2 for evenly spaced k (K,) and v, t (n,), a block of them at a time as one block turned further."""
    step = float(k[1] - k[0])
    block = np.exp(1j * step * np.outer(np.arange(BLOCK), v))  # (BLOCK, n)
    starts = np.exp(1j * np.outer(k[::BLOCK], v)) * t  # (K / BLOCK, n)
    return (np.abs(starts @ block.T) ** 2).ravel()[: len(k)]


def coefficients(columns, goal: np.ndarray, w: np.ndarray | None = None) -> tuple[np.ndarray, float]:
    """(c, share of the goal's square left) of least squares on columns of any size; w (n,) multiplies rows.

    Where a number is not finite the share is infinite.
    """
    A = np.column_stack(columns)
    A, t = (A, goal) if w is None else (A * w[:, None], goal * w)
    if not (np.isfinite(A).all() and np.isfinite(t).all()):
        return np.zeros(A.shape[1]), math.inf
    size = np.maximum(np.abs(A).max(axis=0), 1e-300)
    c = np.linalg.lstsq(A / size, t, rcond=1e-13)[0] / size
    r = t - A @ c
    return c, float(r @ r) / (float(t @ t) or 1.0)


def summed(c, terms: list[Base], constant: float = 0.0) -> Base:
    """c_1 term_1 + c_2 term_2 + ... + constant; without the constant where that is 0."""
    parts = [times(float(value), term) for value, term in zip(c, terms) if value]
    parts += [(repr(float(constant)),)] if constant or not parts else []
    return ("+",) * (len(parts) - 1) + tuple(token for part in parts for token in part)


# ---- narrowing --------------------------------------------------------------------------------


def golden(f: Callable[[float], float], a: float, b: float, steps: int) -> tuple[float, float]:
    """(least value seen, where) of f on [a, b], which has one minimum there, after `steps` evaluations more than two.

    Each step leaves 0.618 of the interval; it ends early where a and b are one number to rounding.
    """
    c, d = b - GOLDEN_RATIO * (b - a), a + GOLDEN_RATIO * (b - a)
    fc, fd = f(c), f(d)
    for _ in range(steps):
        if fc < fd:
            b, d, fd = d, c, fc
            c = b - GOLDEN_RATIO * (b - a)
            fc = f(c)
        else:
            a, c, fc = c, d, fd
            d = a + GOLDEN_RATIO * (b - a)
            fd = f(d)
        if abs(b - a) < 4e-16 * abs(b):
            break
    return min((fc, c), (fd, d))


def zoomed(f: Callable[[np.ndarray], np.ndarray], axes, at: np.ndarray, rounds: int, points: int = 9):
    """(least value seen, where, the last axes) of f on ever finer grids around a place `at` of the grid of the axes, so many rounds.

    f takes places (K, len(axes)) and gives values (K,).  Each round looks between the neighbours of the best place of the
    one before, on every axis; an axis of one value stays.
    """
    best = None
    for _ in range(rounds if any(len(axis) > 1 for axis in axes) else 0):
        axes = [np.linspace(*_around(axis, x), points) if len(axis) > 1 else axis for axis, x in zip(axes, at)]
        places = mesh(axes)
        if best is None:  # the place itself is asked about with those of the first round
            values = f(np.concatenate([at[None], places]))
            best, values = float(values[0]), values[1:]
        else:
            values = f(places)
        i = int(np.argmin(values))
        if values[i] < best:
            best, at = float(values[i]), places[i]
    return float(f(at[None])[0]) if best is None else best, at, axes


def _around(axis: np.ndarray, x: float) -> tuple[float, float]:
    """The neighbours of x on an axis, as far beyond its ends as the last step inside."""
    if not (axis[1:] > axis[:-1]).all():
        axis = np.unique(axis)
    i = int(np.abs(axis - x).argmin())
    step = axis[min(i + 1, len(axis) - 1)] - axis[i] or axis[i] - axis[i - 1]
    back = axis[i] - axis[max(i - 1, 0)] or step
    return float(x - back), float(x + step)
