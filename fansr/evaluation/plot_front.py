"""The front as a picture: FVU against length, with the laws written at their points so that none covers another.

A label is placed by trying: beside its point first, then farther off with a line to it, at last shortened.  Boxes are measured
by matplotlib's own renderer after the layout is settled, so placing comes last (`place_labels`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fansr.evaluation.fitted import Fitted
from fansr.evaluation.metrics import fvu
from fansr.evaluation.plot_style import CHOSEN, DATA, INK, MUTED, SMALL, log_axis, shown, styled, whole_ticks
from fansr.expressions import to_infix

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FLOOR = 1e-32  # smaller FVUs are drawn here: below it float64 says nothing
LAWS = 14  # of the front that get a label
LABEL, SHORT, SHORTEST = 44, 28, 18  # characters of a law's label
Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in display units
# Where a label may stand: offset in points and alignment.
NEAR_PLACES = (
    (5, 4, "left", "bottom"),
    (8, 0, "left", "center"),
    (-5, -5, "right", "top"),
    (-5, 5, "right", "bottom"),
    (-8, 0, "right", "center"),
    (5, -5, "left", "top"),
)
FAR_PLACES = tuple((dx, dy, "left", "bottom") for dy in (16, 27, 38, 50) for dx in (8, 18, 30)) + tuple(
    (-dx, -dy, "right", "top") for dy in (16, 27, 38, 50) for dx in (8, 18, 30)
)


def draw_front(axis: Axes, fitted: Fitted) -> None:
    """FVU against length with the answer marked; `place_labels` writes the laws once the figure is laid out."""
    points = sorted(
        ((int(c["length"]), max(float(c["fvu"]), FLOOR), c) for c in fitted.front if math.isfinite(c["fvu"])),
        key=lambda point: point[:2],
    )
    law = fitted.law
    if not points:  # a record of somebody's own making; the law itself is a front of one
        own = {"expr": law.prefix, "consts": law.constants}
        points = [(law.length, max(float(fvu(fitted.y, fitted.fitted)), FLOOR), own)]
    lengths, fvus = [p[0] for p in points], [p[1] for p in points]
    chosen = next((k for k, p in enumerate(points) if list(p[2].get("expr") or ()) == law.prefix), None)
    if chosen is None:
        chosen = next((k for k, p in enumerate(points) if p[0] == law.length), len(points) - 1)
    axis.plot(lengths, fvus, drawstyle="steps-post", color=MUTED, linewidth=1)
    axis.plot(lengths, fvus, "o", color=DATA, markersize=5, zorder=3)
    axis.plot(lengths[chosen], fvus[chosen], "D", color=CHOSEN, markersize=7, zorder=4, label="chosen")
    span = max(1, lengths[-1] - lengths[0])
    axis.set_xlim(lengths[0] - 0.06 * span, lengths[-1] + 0.3 * span)  # room for the last laws' labels
    low, high = math.log10(min(fvus)), math.log10(max(fvus))
    room = max(0.35, 0.12 * (high - low))
    axis.set_ylim(10 ** (low - room), 10 ** (high + room))
    log_axis(axis, "y")
    whole_ticks(axis, "x")
    axis.set(xlabel="length, tokens", ylabel="FVU, share of variance left")
    texts = [
        shown(to_infix(list(p[2]["expr"]), p[2].get("consts"), fitted.names, digits=4), LABEL)
        if p[2].get("expr")
        else ""
        for p in points
    ]
    axis._fansr_front = (lengths, fvus, texts, chosen)


def place_labels(canvas: Figure) -> Figure:
    """Write the laws of fronts beside their points, in place: the answer first, then from the shortest; none touches another
    label, a point, a step or the edge of the panel, and one that finds no place is left out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with styled():
        renderer = FigureCanvasAgg(canvas).get_renderer()
        for axis in canvas.axes:
            if hasattr(axis, "_fansr_front"):
                _Placer(axis, renderer).place(*axis._fansr_front)
    return canvas


class _Placer:
    """Labels of one panel: what is taken of it so far, in display units."""

    def __init__(self, axis: Axes, renderer: Any):
        self.axis, self.renderer = axis, renderer
        self.panel = axis.get_window_extent(renderer)
        self.unit = renderer.points_to_pixels(1.0)
        self.taken: list[Box] = []

    def place(self, lengths: list[int], fvus: list[float], texts: list[str], chosen: int) -> None:
        """Write the labels of points (lengths, fvus)."""
        u = self.unit
        at = self.axis.transData.transform(np.column_stack([lengths, fvus]))
        for (x0, y0), (x1, y1) in zip(at, at[1:]):  # the steps
            self.taken += [
                (x0, y0 - 0.5 * u, x1, y0 + 0.5 * u),
                (x1 - 0.5 * u, min(y0, y1), x1 + 0.5 * u, max(y0, y1)),
            ]
        points = [(x - 3.5 * u, y - 3.5 * u, x + 3.5 * u, y + 3.5 * u) for x, y in at]
        order = [k for k in sorted(range(len(texts)), key=lambda k: (k != chosen, k)) if texts[k]]
        for k in order[:LAWS]:
            others = [*points[:k], *points[k + 1 :]]
            text = self.axis.annotate(
                "", (lengths[k], fvus[k]), (0, 0), textcoords="offset points", fontsize=SMALL, zorder=5,
                color=CHOSEN if k == chosen else INK, annotation_clip=False, in_layout=False,
            )  # fmt: skip
            tries = [(LABEL, NEAR_PLACES), (SHORT, NEAR_PLACES), (LABEL, FAR_PLACES), (SHORT, FAR_PLACES)]
            tries += [(SHORTEST, NEAR_PLACES), (SHORTEST, FAR_PLACES)]
            if not any(self._placed(text, shown(texts[k], size), places, at[k], others) for size, places in tries):
                text.remove()

    def _placed(self, text, words: str, places, point, others: list[Box]) -> bool:
        """Whether a label found a place, where it now stands."""
        text.set_text(words)
        for dx, dy, ha, va in places:
            text.set(position=(dx, dy), ha=ha, va=va)
            extent = text.get_window_extent(self.renderer)
            box = (extent.x0 - 2 * self.unit, extent.y0, extent.x1 + 2 * self.unit, extent.y1)
            lead = self._lead(point, box) if places is FAR_PLACES else []
            if self._inside(box) and not _touch([box, *lead], [*self.taken, *others]):
                self.taken += [box, *lead]
                if lead:
                    ends = self.axis.transData.inverted().transform([point, self._corner(point, box)])
                    self.axis.plot(*ends.T, color=MUTED, linewidth=0.6, zorder=2, scalex=False, scaley=False)
                return True
        return False

    def _inside(self, box: Box) -> bool:
        panel, u = self.panel, self.unit
        return box[0] >= panel.x0 + u and box[2] <= panel.x1 + u and box[1] >= panel.y0 + u and box[3] <= panel.y1 + u

    def _corner(self, point, box: Box) -> tuple[float, float]:
        """The corner of a label that is nearest to its point."""
        x = box[0] if abs(box[0] - point[0]) < abs(box[2] - point[0]) else box[2]
        return x, box[1] + self.unit if point[1] < box[1] else box[3] - self.unit

    def _lead(self, point, box: Box) -> list[Box]:
        """What a line from a point to its label takes, less the beginning, which leaves the point and its step."""
        x, y = self._corner(point, box)
        xs, ys = np.linspace(point[0], x, 16)[3:], np.linspace(point[1], y, 16)[3:]
        return [(a - 1.0, b - 1.0, a + 1.0, b + 1.0) for a, b in zip(xs, ys)]


def _touch(boxes: list[Box], others: list[Box]) -> bool:
    return any(a0 < x1 and x0 < a1 and b0 < y1 and y0 < b1 for a0, b0, a1, b1 in boxes for x0, y0, x1, y1 in others)
