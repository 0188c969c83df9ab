"""Shapes that a law must have, as its user says: through a point, monotone, even, odd, periodic, convex, a limit.

    shapes = parse(monotone="x+", through="0,0")
    checker = Checker(problem, shapes)
    checker.conformed(candidate, fitter)     # the candidate, its constants fitted under the shapes; None where it cannot have them
    checker.proven(candidate)                # the same question asked with more points, and with intervals where they decide

Everything is asked on the box of the table's columns (mirrored for even and odd, a period further for periodic, far outside for a
limit).  Where a law is undefined nothing is asked of it, except at a point that it shall go through.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fansr.expressions import CONSTANT, end, variables
from fansr.fitting import Candidate, Problem
from fansr.search import interval_jets, shortening

NAMES = ("through", "monotone", "even", "odd", "periodic", "convex", "limit")
LINES, STEPS = 12, 13  # of a quick look: lines through the box along a column, points on each
CLOSE_LINES, CLOSE_STEPS = 100, 41  # of a close one
CLOSE = 1e-9  # of the law's size: what counts as equal
HEAVY = 1e6  # weight of a point that the law shall go through, over that of all rows
DECADES = (3, 6, 9, 12, 15, 19, 24, 30)  # of the column's size at which a limit is looked at
FITTED = 4  # the place of the decade at which constants are fitted to it; the law must go on from there
NEAR_BY = (1.0, 1.37, 2.61)  # several places of each decade, or a wave could hit all of them
SLOWEST = 0.97  # by which the distance from a limit must shrink from one to the next
ALIKE = 0.05  # how near a frequency must be to a multiple of the stated one to be taken for it


@dataclass(frozen=True)
class Shape:
    """One thing asked of a law.

    kind: one of NAMES; column: its name ("" for through); sign: 1 rising or convex, -1 falling or concave; value: the period, or
    what the limit is; at: where a limit is taken, or the (column, value) of a point, whose columns are "" where they go by place.
    """

    kind: str
    column: str = ""
    sign: int = 1
    value: float = 0.0
    at: float = 0.0
    point: tuple[tuple[str, float], ...] = ()

    @property
    def fixed(self) -> bool:
        """Whether it says what the law's value is somewhere."""
        return self.kind == "through" or (self.kind == "limit" and math.isfinite(self.value))

    def __str__(self) -> str:
        if self.kind == "through":
            where = ", ".join(f"{name}={x:g}" if name else f"{x:g}" for name, x in self.point)
            return f"through {where}: {self.value:g}"
        if self.kind in ("monotone", "convex"):
            return f"{self.kind} {self.column}{'+' if self.sign > 0 else '-'}"
        if self.kind == "periodic":
            return f"periodic {self.column}:{self.value:g}"
        if self.kind == "limit":
            return f"limit {self.column}->{self.at:g}: {self.value:g}"
        return f"{self.kind} {self.column}"


# ---- from texts -------------------------------------------------------------------------------


def parse(**texts: str | Iterable[str] | None) -> tuple[Shape, ...]:
    """Shapes from what a user writes, by the names of NAMES; ValueError says what is not understood."""
    found: list[Shape] = []
    for kind in NAMES:
        given = texts.get(kind) or ()
        for text in [given] if isinstance(given, str) else given:
            found += READ[kind](str(text))
    return tuple(dict.fromkeys(found))


def _parts(text: str, sign: str) -> list[str]:
    return [part.strip() for part in text.split(sign) if part.strip()]


def _value(text: str, kind: str, whole: str) -> float:
    word = text.strip().lower().replace("+", "")
    try:
        number = (
            math.copysign(math.inf, -1 if word[0] == "-" else 1) if word.lstrip("-") in ("inf", "oo") else float(word)
        )
    except (ValueError, IndexError):
        number = math.nan
    if math.isnan(number):
        raise ValueError(f"{kind}: cannot read {text.strip()!r} in {whole!r}, wanted a number")
    return number


def _through(text: str) -> list[Shape]:
    found = []
    for part in _parts(text, ";"):
        where, colon, value = part.rpartition(":")
        words = _parts(where if colon else part, ",")
        named = [word.partition("=") for word in words]
        if colon and all(sign for _, sign, _ in named):
            point = tuple((name.strip(), _value(x, "through", part)) for name, _, x in named)
            found.append(Shape("through", value=_value(value, "through", part), point=point))
        elif not colon and len(words) > 1 and not any(sign for _, sign, _ in named):
            *xs, y = (_value(word, "through", part) for word in words)
            found.append(Shape("through", value=y, point=tuple(("", x) for x in xs)))
        else:
            raise ValueError(f"through: cannot read {part!r}, wanted '0,0' (the columns, then the target) or 'x=0: 5'")
    return found


def _signed(kind: str):
    def read(text: str) -> list[Shape]:
        found = []
        for part in _parts(text, ","):
            sign = part[-1] if part[-1] in "+-" else ""
            if not sign and kind == "monotone":
                raise ValueError(
                    f"monotone: {part!r} lacks its direction, wanted '{part}+' (rising) or '{part}-' (falling)"
                )
            found.append(Shape(kind, part.rstrip("+-").strip(), -1 if sign == "-" else 1))
        return found

    return read


def _plain(kind: str):
    return lambda text: [Shape(kind, name) for name in _parts(text, ",")]


def _periodic(text: str) -> list[Shape]:
    found = []
    for part in _parts(text, ","):
        name, colon, period = part.rpartition(":")
        value = _value(period, "periodic", part) if colon else math.nan
        if not 0 < value < math.inf:
            raise ValueError(f"periodic: cannot read {part!r}, wanted a column and its period, such as x:24")
        found.append(Shape("periodic", name.strip(), value=value))
    return found


def _limit(text: str) -> list[Shape]:
    found = []
    for part in _parts(text, ";"):
        match = re.fullmatch(r"(.+?)\s*->\s*([^:]+):(.+)", part)
        if match is None:
            raise ValueError(f"limit: cannot read {part!r}, wanted such as 'x->inf: 0'")
        name, at, value = match.groups()
        found.append(Shape("limit", name.strip(), value=_value(value, "limit", part), at=_value(at, "limit", part)))
    return found


READ: dict[str, Any] = {
    "through": _through, "monotone": _signed("monotone"), "even": _plain("even"), "odd": _plain("odd"), "periodic": _periodic,
    "convex": _signed("convex"), "limit": _limit,
}  # fmt: skip


def check(shapes: Sequence[Shape], names: Sequence[str]) -> None:
    """ValueError for shapes of columns that are not there, with the nearest, and for what no law can be."""
    for shape in shapes:
        some = [name for name, _ in shape.point if name] if shape.kind == "through" else [shape.column]
        for name in some:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                hint = f"the nearest is {near[0]!r}" if near else f"there are {', '.join(names)}"
                raise ValueError(f"{shape.kind}: no column is called {name!r}: {hint}")
        if shape.kind == "through" and shape.point[0][0] == "" and len(shape.point) != len(names):
            wanted = ", ".join([*names, "the target"])
            raise ValueError(f"through: {len(shape.point) + 1} numbers, wanted {len(names) + 1}: {wanted}")
    for i, one in enumerate(shapes):
        for other in shapes[:i]:
            if {one.kind, other.kind} == {"even", "odd"} and one.column == other.column:
                raise ValueError(f"{one.kind}: only 0 is both even and odd in {one.column}; leave one of them out")
            if one.kind == other.kind and (one.column, one.point, one.at) == (other.column, other.point, other.at):
                if one.value != other.value and one.kind != "periodic":
                    raise ValueError(f"{one.kind}: no law is both {other} and {one}")


def named(shapes: Sequence[Shape], names: Sequence[str]) -> tuple[Shape, ...]:
    """The shapes with points whose columns go by name, so that columns may be left out."""
    return tuple(
        replace(s, point=tuple((name or names[k], x) for k, (name, x) in enumerate(s.point))) if s.point else s
        for s in shapes
    )


# ---- on a table -------------------------------------------------------------------------------


class Checker:
    """Shapes on the table of a problem.  Columns go by place from here on."""

    def __init__(self, problem: Problem, shapes: Sequence[Shape]):
        names, X = list(problem.names), problem.X
        self.shapes = [s for s in shapes if s.kind == "through" or s.column in names]
        self.places = {name: j for j, name in enumerate(names)}
        self.low, self.high = problem.extra.get("box") or (X.min(axis=0), X.max(axis=0))
        self.size = float(np.abs(problem.y).max()) or 1.0
        self.rows = X[:: max(1, len(X) // 64)]
        self.looks = {lines: [self._points(s, lines, steps) for s in self.shapes]
                      for lines, steps in ((LINES, STEPS), (CLOSE_LINES, CLOSE_STEPS))}  # fmt: skip
        self._fitter = self._with_copies(problem)
        self.periods = {self.places[s.column]: s.value for s in self.shapes if s.kind == "periodic"}

    def _box(self, n: int, seed: int = 0) -> np.ndarray:
        """Points (n, D) of the box, half of them rows of the table."""
        rng = np.random.default_rng(seed)
        X = rng.uniform(self.low, self.high, (n, len(self.low)))
        X[::2] = self.rows[rng.integers(0, len(self.rows), len(X[::2]))]
        return X

    def _points(self, shape: Shape, lines: int, steps: int) -> np.ndarray:
        """Points (lines, steps, D) at which a law is looked at for a shape."""
        base = self._box(lines)
        if shape.kind == "through":
            for k, (name, x) in enumerate(shape.point):
                if not name or name in self.places:  # no law looks at a column that was left out
                    base[:, self.places[name] if name else k] = x
            return base[:, None, :]
        j = self.places[shape.column]
        X = np.repeat(base[:, None, :], steps, axis=1)
        if shape.kind in ("monotone", "convex"):
            X[:, :, j] = np.linspace(self.low[j], self.high[j], steps)
        elif shape.kind in ("even", "odd"):
            X = np.repeat(self._box(lines * steps // 2)[:, None, :], 2, axis=1)
            X[:, 1, j] *= -1
        elif shape.kind == "periodic":
            X = np.repeat(self._box(lines * steps // 4)[:, None, :], 4, axis=1)
            X[:, :, j] += shape.value * np.array([0, 1, 2, -1])
        else:
            scale = max(abs(self.low[j]), abs(self.high[j])) or 1.0
            powers = np.outer(10.0 ** np.array(DECADES), NEAR_BY).ravel()
            X = np.repeat(base[:, None, :], len(powers), axis=1)
            if math.isinf(shape.at):
                X[:, :, j] = math.copysign(scale, shape.at) * powers
            else:  # from the side where the table is
                side = 1.0 if self.low[j] + self.high[j] >= 2 * shape.at else -1.0
                X[:, :, j] = shape.at + side * scale / powers
        return X

    def _with_copies(self, problem: Problem):
        """A fitter over the rows, the rows as the shapes repeat them, and heavy points that the law shall go through."""
        from fansr.fitting import Refiner

        X, y = [problem.X], [problem.y]
        w = np.ones(len(problem.y)) if problem.weights is None else problem.weights
        weights = [w]
        for shape, points in zip(self.shapes, self.looks[LINES]):
            j = self.places.get(shape.column, 0)
            if shape.kind in ("even", "odd", "periodic"):
                Z = problem.X.copy()
                Z[:, j] = Z[:, j] + shape.value if shape.kind == "periodic" else -Z[:, j]
                X, y, weights = [*X, Z], [*y, -problem.y if shape.kind == "odd" else problem.y], [*weights, w]
            elif shape.fixed:
                Z = _fixed_rows(shape, points)
                X, y = [*X, Z], [*y, np.full(len(Z), shape.value)]
                weights = [*weights, np.full(len(Z), HEAVY * w.sum() / len(Z))]
        if len(X) == 1:
            return None
        return Refiner(
            np.ascontiguousarray(np.concatenate(X)), np.concatenate(y), restarts=2, weights=np.concatenate(weights)
        )

    # -- asking

    def broken(self, expr: Sequence[str], consts: Sequence[float], close: bool = False) -> Shape | None:
        """The first shape that points show a law not to have; None where it has all."""
        from fansr.expressions import evaluate

        looks = self.looks[CLOSE_LINES if close else LINES]
        consts = np.asarray(consts, dtype=np.float64)
        for shape, X in zip(self.shapes, looks):
            with np.errstate(all="ignore"):
                flat = np.ascontiguousarray(X.reshape(-1, X.shape[2]))
                values = np.asarray(evaluate(list(expr), flat, consts)).reshape(X.shape[:2])
                if not self._has(shape, values):
                    return shape
        return None

    def _has(self, shape: Shape, v: np.ndarray) -> bool:
        """Whether values v (lines, steps) are those of a law of this shape."""
        known = np.isfinite(v)
        near = CLOSE * max(self.size, float(np.abs(v[known]).max(initial=0.0)) if shape.kind != "limit" else 0.0)
        if shape.kind == "through":
            return bool(known.all() and (np.abs(v - shape.value) <= CLOSE * max(self.size, abs(shape.value))).all())
        if shape.kind in ("even", "odd", "periodic"):
            if (known.any(axis=1) != known.all(axis=1)).any():
                return False
            off = v[:, :1] + v[:, 1:] if shape.kind == "odd" else v[:, :1] - v[:, 1:]
            return bool((np.abs(off[known.all(axis=1)]) <= near).all())
        if shape.kind in ("monotone", "convex"):
            step = shape.sign * np.diff(v, n=1 if shape.kind == "monotone" else 2, axis=1)
            return bool((step[np.isfinite(step)] >= -near).all())
        return bool(all(_tends(line, shape.value, self.size) for line in v))

    def proven(self, candidate: Candidate) -> bool:
        """Whether a law has every shape: shown by intervals where these decide, else by many points."""
        expr, consts = candidate.expr, candidate.consts
        if self.broken(expr, consts, close=True) is not None:
            return False
        used = variables(list(expr))
        for shape in self.shapes:
            if shape.kind in ("monotone", "convex") and self.places[shape.column] in used:
                order = 1 if shape.kind == "monotone" else 2
                if interval_jets.decided(
                    expr, consts, self.low, self.high, self.places[shape.column], order, shape.sign, used
                ) is False:  # fmt: skip
                    return False
        return True

    # -- fitting

    def conformed(self, candidate: Candidate, fitter: Any) -> Candidate | None:
        """The candidate where it has the shapes; else with constants under which it has them, None where there are none."""
        if self.broken(candidate.expr, candidate.consts) is None:
            return candidate
        if self._fitter is None or not len(candidate.consts):
            return None
        for form in self._with_periods(candidate):
            fvu, consts = self._fitter.polish(form.expr, form.consts)
            if not fvu < math.inf:
                continue
            expr, consts = self._without_nothing(form.expr, self._exactly_through(form.expr, consts))
            if self.broken(expr, consts) is None:
                return replace(candidate, expr=expr, consts=consts, fvu=float(fitter.fvu(expr, consts)))
        return None

    def _without_nothing(self, expr: Sequence[str], consts: np.ndarray) -> tuple[list[str], np.ndarray]:
        """The law without constants that came out as 0 up to rounding."""
        from fansr.expressions import value_and_jacobian

        consts = np.array(consts, dtype=np.float64)
        with np.errstate(all="ignore"):
            _, J = value_and_jacobian(list(expr), np.ascontiguousarray(self.rows), consts)
            moved = np.abs(J * consts[:, None])
        nothing = (np.where(np.isfinite(moved), moved, np.inf) <= CLOSE * self.size).all(axis=1) & (
            np.abs(consts) < 1e-3
        )
        if not nothing.any():
            return list(expr), consts
        consts[nothing] = 0.0
        short, left = shortening.absorb(list(expr), consts)
        return list(short), np.array(left, dtype=np.float64)

    def _exactly_through(self, expr: Sequence[str], consts: np.ndarray) -> np.ndarray:
        """Constants moved as little as can be so that the law goes through its points to rounding."""
        from fansr.expressions import value_and_jacobian

        for _ in range(4):
            rows, off = [], []
            for shape, X in zip(self.shapes, self.looks[LINES]):
                if shape.fixed:
                    with np.errstate(all="ignore"):
                        value, J = value_and_jacobian(list(expr), _fixed_rows(shape, X), consts)
                    rows.append(J.T)
                    off.append(shape.value - value)
            if not rows:
                return consts
            A, b = np.concatenate(rows), np.concatenate(off)
            if not (np.isfinite(A).all() and np.isfinite(b).all()) or np.abs(b).max() <= 1e-15 * self.size:
                return consts
            consts = consts + np.linalg.lstsq(A, b, rcond=1e-10)[0]
        return consts

    def _with_periods(self, candidate: Candidate) -> Iterable[Candidate]:
        """The candidate with frequencies near multiples of a stated one put there; itself where no period is stated."""
        for j, period in self.periods.items():
            held = _frequencies(candidate.expr, candidate.consts, j, period)
            if held:
                kept = [c for k, c in enumerate(candidate.consts) if k not in held]
                places, expr = iter(range(len(candidate.consts))), []
                for token in candidate.expr:
                    k = next(places) if token == CONSTANT else -1
                    expr.append(repr(held[k]) if k in held else token)
                candidate = replace(candidate, expr=expr, consts=np.array(kept, dtype=np.float64))
        yield candidate


def _fixed_rows(shape: Shape, points: np.ndarray) -> np.ndarray:
    """Rows at which the law's value is said; of a limit those at the decade FITTED."""
    return np.ascontiguousarray(points[:, 0 if shape.kind == "through" else FITTED * len(NEAR_BY)])


def _tends(values: np.ndarray, limit: float, size: float) -> bool:
    """Whether values at ever farther places, several of each decade, go to a limit (which may be infinite)."""
    decades = values.reshape(-1, len(NEAR_BY))
    known = np.isfinite(decades) if math.isfinite(limit) else ~np.isnan(decades)
    last = decades[known.all(axis=1)]
    if len(last) < 3:
        return False
    if math.isinf(limit):
        signed = (last * math.copysign(1.0, limit)).min(axis=1)
        if signed[-1] == math.inf:
            return True
        steps = np.diff(signed)
        return bool((steps > 0).all() and steps[-1] >= 0.9 * steps[0] and signed[-1] > 0)
    off = np.abs(last - limit).max(axis=1)
    if (off[-3:] <= CLOSE * size).all():
        return True
    return bool((off[1:] <= SLOWEST * off[:-1]).all())


def _frequencies(expr: Sequence[str], consts: Sequence[float], column: int, period: float) -> dict[int, float]:
    """Constants (by place) that multiply or divide a column inside a wave, with the stated frequency they are near to."""
    held: dict[int, float] = {}
    order = [k for k, token in enumerate(expr) if token == CONSTANT]
    word, base = f"x{column + 1}", 2 * math.pi / period
    for i, token in enumerate(expr):
        if token not in ("sin", "cos", "tan"):
            continue
        for k in range(i + 1, end(list(expr), i)):
            if expr[k] not in "*/":
                continue
            first = k + 1
            second = end(list(expr), first)
            pair = (first, second) if expr[k] == "*" or expr[first] == word else ()
            for at, other in (pair, pair[::-1]) if pair else ():
                if expr[at] == CONSTANT and expr[other] == word:
                    number = order.index(at)
                    c = float(consts[number])
                    turns = (c if expr[k] == "*" else 1 / c if c else 0.0) / base
                    whole = round(turns)
                    if whole and abs(turns - whole) <= ALIKE * abs(whole):
                        held[number] = whole * base if expr[k] == "*" else 1 / (whole * base)
    return held


# ---- proposals --------------------------------------------------------------------------------


def proposals(shapes: Sequence[Shape], problem: Problem) -> list[list[str]]:
    """Expressions that have a shape by themselves and that no proposer may write: waves of the stated periods."""
    found: list[list[str]] = []
    for shape in shapes:
        if shape.kind != "periodic" or shape.column not in problem.names:
            continue
        j = problem.names.index(shape.column)
        waves = []
        for k in (1, 2, 3, 4):
            turn = ["*", repr(2 * math.pi * k / shape.value), f"x{j + 1}"]
            waves.append(["*", CONSTANT, "sin", "+", CONSTANT, *turn])
            found += [["sin", *turn], ["cos", *turn], waves[-1], ["+", CONSTANT, *waves[-1]],
                      ["+", CONSTANT, "*", CONSTANT, "sin", *turn], ["+", CONSTANT, "*", CONSTANT, "cos", *turn],
                      ["*", CONSTANT, "exp", *waves[-1]], ["+", CONSTANT, "*", CONSTANT, "exp", *waves[-1]],
                      ["/", CONSTANT, "+", CONSTANT, *waves[-1]], ["*", CONSTANT, "abs", *waves[-1][2:]]]  # fmt: skip
        for a in range(4):
            for b in range(a):
                found.append(["+", CONSTANT, "+", *waves[b], *waves[a]])
        for i in range(len(problem.names)):
            if i != j:
                z = f"x{i + 1}"
                found += [["+", "*", CONSTANT, z, "+", CONSTANT, *waves[0]], ["*", z, "+", CONSTANT, *waves[0]],
                          ["+", CONSTANT, "*", z, *waves[0]], ["*", z, *waves[0]]]  # fmt: skip
    return found
