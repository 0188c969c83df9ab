"""Curves of one column for values as they are and under functions, all looked at together: what wrong_parts.py asks.

one_column_curves.py looks at one target thoroughly, in a tenth of a second; this looks at seven in the same time, roughly: the
tables of curves are kept for a column that is asked about again, what is promising is told from all targets at once, and the
constants are left to whoever refits the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fansr.fitting import Problem
from fansr.proposers import one_column_curves as curves
from fansr.proposers.parts.expression_assembly import Base
from fansr.proposers.parts.inner_scan import Projector, zoomed
from fansr.proposers.parts.reductions import written
from fansr.proposers.parts.target_transforms import OUTER, View, negated, view_of

ROWS = 80  # points looked at, spread evenly over the sorted column
KEPT = 8  # columns whose tables are kept
VIEWS = ("y", "sqrt", "1/y", "exp", "square", "log", "1/sqrt")  # functions undone
DRAWN, DRAWN_BENT = 12, 4  # curves whose grids are drawn in: of up to one constant inside, and of two
LAWS, GOOD = 6, 0.05  # laws given, and the share of the spread that one may leave
TOKEN = 0.05  # of a law, in decades of the share it leaves
SAME = 0.02  # relative difference of shares below which two laws are one, and the shorter is given
KNOWN, BESIDE = 2, 3  # curves that get a second term, and terms for each


class Look(NamedTuple):
    """One curve on its grid, seen under one function of the target: `rank` orders looks, the least first."""

    rank: float
    view: View
    sample: Problem
    fit: Projector
    curve: str
    inner: str
    front: str
    at: np.ndarray


class CurvesUnderFunctions:
    """All curves of columns for many targets; the tables of the last few columns are kept."""

    def __init__(self):
        self._kept: dict[bytes, curves.Shapes] = {}

    def laws(self, problem: Problem, floor: float) -> Iterator[list[Base]]:
        """Batches of laws in x1 with literals for a problem of one column: of one term, then of two.

        floor: the share of the spread below which nothing can be told apart.
        """
        yield from self.of_one_term(problem, floor)
        sample = _sample(problem)
        if sample is not None:
            yield self._two(sample)

    def of_one_term(self, problem: Problem, floor: float) -> Iterator[list[Base]]:
        """The first of them: of the column, and of its inverse if it is a quotient, which may be either way up."""
        sample = _sample(problem)
        if sample is None:
            return
        yield self._one(sample, floor)
        if problem.names[0].startswith("/ "):
            inverse = Problem(X=1 / sample.X, y=sample.y, names=sample.names, weights=sample.weights)
            yield [written(law, [("inv", "x1")]) for law in self._one(inverse, floor)]

    def _shapes(self, x: np.ndarray) -> curves.Shapes:
        key = x.tobytes()
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = curves.Shapes(x)
        return self._kept[key]

    @np.errstate(all="ignore")
    def _one(self, sample: Problem, floor: float) -> list[Base]:
        shapes = self._shapes(sample.X[:, 0])
        looks = sorted(
            (look for name in VIEWS for look in _looks(shapes, sample, name, floor)), key=lambda look: look.rank
        )
        likely = [look for look in looks if len(look.at) < 2][:DRAWN] + [look for look in looks if len(look.at) > 1][
            :DRAWN_BENT
        ]
        found = []
        for look in likely:
            kind = look.curve, look.inner, look.front
            axes = shapes.axes(look.curve, look.inner)
            share, at, _ = zoomed(curves.looked_at(shapes, look.fit, *kind), axes, look.at, curves.ZOOMS)
            law = (
                curves.law_of(look.sample, [curves.curve_at(shapes, look.fit, *kind, share, at)])
                if share < GOOD
                else ()
            )
            if law:
                whole = look.view.outer.law(law)
                found.append((share, negated(whole) if look.view.sign < 0 else whole))
        found.sort(key=lambda one: _rank(one[0], floor) + TOKEN * len(one[1]))
        kept: list[tuple[float, Base]] = []
        for share, law in found:
            if len(kept) < LAWS and all(abs(share - other) > SAME * other for other, _ in kept):
                kept.append((share, law))
        return [law for _, law in kept]

    @np.errstate(all="ignore")
    def _two(self, sample: Problem) -> list[Base]:
        shapes, found = self._shapes(sample.X[:, 0]), []
        for known in curves.single(shapes, curves.projector(sample), 2 * KNOWN)[:KNOWN]:
            others = curves.single(shapes, curves.projector(sample, [known]), BESIDE + 1)[:BESIDE]
            found += [[known, other] for other in others]
        found.sort(key=lambda pair: pair[1].share)
        return [law for law in (curves.law_of(sample, pair) for pair in found[:LAWS]) if law]


def _sample(problem: Problem) -> Problem | None:
    """Rows spread evenly over the sorted column; None where nothing varies."""
    order = np.argsort(problem.X[:, 0], kind="stable")
    rows = order[np.unique(np.linspace(0, len(order) - 1, ROWS).astype(int))]
    X, y = np.ascontiguousarray(problem.X[rows]), problem.y[rows]
    weights = np.ones(len(rows)) if problem.weights is None else problem.weights[rows]
    if not np.ptp(X) > 0 or not np.ptp(y) > 0:
        return None
    return Problem(X=X, y=y, names=["x1"], weights=weights)


def _looks(shapes: curves.Shapes, sample: Problem, name: str, floor: float) -> Iterator[Look]:
    """All curves for the target under one function, weighted so that errors count as they do for the target itself."""
    view = view_of(sample.y, OUTER[name], unit=1.0)
    if view is None or not view.ok.all():
        return
    step = 1e-6 * (np.abs(view.S) + 1e-3 * float(np.ptp(view.S)))
    slope = (view.outer.do(view.S + step) - view.outer.do(view.S - step)) / (2 * step)
    weights = sample.weights * np.where(np.isfinite(slope), slope, 0.0) ** 2
    if not 0 < weights.max() < math.inf:
        return
    seen = Problem(X=sample.X, y=view.S, names=sample.names, weights=weights / weights.max())
    fit = curves.projector(seen)
    for share, curve, inner, front, at in shapes.rough(fit):
        if share < math.inf:
            tokens = len(curves.INNERS[inner].split()) + 2 * (front != "1") + 2 * len(at) + (name != "y")
            yield Look(_rank(share, floor) + TOKEN * tokens, view, seen, fit, curve, inner, front, at)


def _rank(share: float, floor: float) -> float:
    return math.log10(max(share, 2 * floor, 1e-16))
