"""Pictures of scores: recovery against seconds, points or noise, and one dot a law.

It computes no metric of its own: records are score records (score.score_record), intervals are metrics.bootstrap's.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from fansr.cli import resources
from fansr.evaluation.metrics import EPS32, METRICS, bootstrap
from fansr.evaluation.plot_style import (
    INK,
    MUTED,
    SMALL,
    drawn,
    figure,
    legend_outside,
    log_axis,
    named_ticks,
    number,
    shown,
    style,
)
from fansr.evaluation.score import ORDER

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACES = ("fansr", "operon", "gplearn", "pysr", "flash-ansr", "prior")  # a method looks the same in every picture
NEAR = 0.1  # FVU of an approximation; a worse one is a failure
VERDICTS = (("o", "#0072B2", "recovered"), ("s", "#E69F00", f"approximate, FVU < {NEAR}"), ("X", "#D55E00", "failed"))
FLOOR = 1e-32  # smaller FVUs are drawn here: below it float64 says nothing
NAME = 34  # characters of a law's name

NAMES = {
    "vnrr": "recovered on unseen points, % (vNRR)",
    "length_ratio": "length ratio, all laws",
    "length_ratio_recovered": "length ratio of recovered laws",
}

# ---- recovery against something ---------------------------------------------------------------


def series_of(records: list[dict], field: str) -> dict[str, dict]:
    """{series: {x value: its records}}: series by method, x by the record's `field` (budget, points or noise)."""
    found: dict[str, dict] = defaultdict(lambda: defaultdict(list))
    for record in records:
        if record.get(field) is not None:
            found[record.get("label") or record.get("method") or "fansr"][record[field]].append(record)
    return found


def estimate(records: list[dict], key: str) -> tuple[float, float, float] | None:
    """Mean of a metric and its 95 % interval over laws; None where no record has it."""
    pairs = [(float(r[key]), r.get("law")) for r in records if r.get(key) is not None]
    if not pairs:
        return None
    values, laws = zip(*pairs)
    return (float(np.mean(values)), *bootstrap(values, laws))


RECOVERY = ("vnrr", "length_ratio", "length_ratio_recovered")  # figures 2, 5 and 6
# Figures 14 to 16: appendix L, in the order of metrics.METRICS; medians stand in tables.
EVERYTHING = tuple(m.name for m in METRICS if m.name not in ("length_ratio_median", "seconds_median", "seconds_mean"))
IN_A_ROW = 4  # panels of a picture of everything


@drawn
def draw_against(
    records: list[dict], field: str, label: str, published: bool = False, metrics: tuple[str, ...] = RECOVERY
) -> Figure:
    """Metrics against `field`, means with 95 % intervals over laws; one that no record has is left out."""
    found = series_of(records, field)
    names = [*PLACES, *sorted(name for name in found if name not in PLACES)]
    factors = {m.name: 100.0 if m.rate else 1.0 for m in METRICS}
    curves: dict[str, list] = {key: [] for key in metrics}
    for k, name in ((k, name) for k, name in enumerate(names) if name in found):
        by_x = found[name]
        for key in metrics:
            factor = factors[key]
            points = [(x, estimate(some, key)) for x, some in sorted(by_x.items())]
            if field == "budget":  # what was used, not what was allowed
                points = [(float(np.mean([r["seconds"] for r in by_x[x]])), e) for x, e in points]
            # Where no record has the metric the line has a gap: nothing was recovered whose length could be told.
            if any(e for _, e in points):
                curves[key].append((k, name, [(x, *(factor * v for v in e or (np.nan,) * 3)) for x, e in points]))
    keys = [key for key, some in curves.items() if some]
    columns = min(len(keys), IN_A_ROW)
    canvas, axes = figure(columns, -(-len(keys) // columns), 4.2 if columns < IN_A_ROW else 3.4, cells=range(len(keys)))
    for axis, key in zip(axes, keys):
        for k, name, points in curves[key]:
            x, middle, low, high = map(np.array, zip(*points))
            # A rate of 0 or 100 lies on the edge of its panel; its marker is drawn whole.
            axis.plot(x, middle, label=name, clip_on=factors[key] == 1.0, **style(k))
            _interval(axis, x, middle, low, high, style(k)["color"], len(found))
        if published and key == "vnrr":
            quote(axis)
        _scale_x(axis, field, [record[field] for record in records if record.get(field) is not None])
        axis.set_xlabel(label)
        metric = next(m for m in METRICS if m.name == key)
        axis.set(ylabel=NAMES.get(key, metric.label + (", %" if metric.rate else "")))
        if metric.rate:
            axis.set_ylim(0, 100)
        if metric.better in ("one", "zero"):
            axis.axhline(1.0 if metric.better == "one" else 0.0, color=MUTED, linewidth=0.8)
    legend_outside(canvas, axes)
    return canvas


def _interval(axis, x, middle, low, high, colour: str, n_series: int):
    """The 95 % interval as a band; as bars where so many bands would cover one another."""
    if n_series <= 3:
        axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    else:
        axis.errorbar(
            x, middle, yerr=[middle - low, high - middle], fmt="none", ecolor=colour, elinewidth=0.9, capsize=2.5
        )


def _scale_x(axis, field: str, values):
    if field == "noise":
        smallest = min((v for v in values if v > 0), default=1e-3)
        axis.set_xscale("symlog", linthresh=smallest)  # noise 0 has a place on it
        ticks = sorted(set(values))
        named_ticks(axis, "x", ticks, [number(tick, 3) for tick in ticks])
    elif field in ("points", "samples"):
        axis.set_xscale("log", base=2)
        ticks = sorted(set(values))
        few = [
            tick for tick in ticks if tick <= 128 or len(ticks) <= 8 or math.log2(tick) % 2 == math.log2(ticks[-1]) % 2
        ]  # 1024 and 2048 do not fit side by side
        named_ticks(axis, "x", ticks, [f"{tick:g}" if tick in few else "" for tick in ticks])
    else:
        log_axis(axis, "x")


def quote(axis: Axes) -> None:
    """Horizontal lines at other authors' published recovery rates, marked as such."""
    with open(resources.path("data", "published.json")) as file:
        quoted = [method for method in json.load(file)["methods"] if method.get("line")]
    for method in quoted:
        axis.axhline(100 * method["vnrr"], color=MUTED, linewidth=0.8, linestyle=":")
        axis.annotate(
            f"{method['name']}, published",
            (0.99, 100 * method["vnrr"]),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=SMALL,
            color=MUTED,
        )


# ---- one dot a law ----------------------------------------------------------------------------


@drawn
def draw_laws(records: list[dict]) -> Figure:
    """Median validation FVU of every law with its range over repeats, sorted, one column a difficulty (Figure 17)."""
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        best = record["best"]
        value = best.get("fvu_val") if best.get("fvu_val") is not None else best.get("fvu")
        value = value if record["success"] and value is not None and math.isfinite(value) else 1e9
        groups[str(record.get("group") or "laws")][str(record["law"])].append(value)
    longest = max(len(laws) for laws in groups.values())
    # One panel is made wide enough for the legend, which then stands in two lines.
    canvas, axes = figure(len(groups), width=4.6 if len(groups) == 1 else 3.8, height=max(2.8, 0.17 * longest + 1.4))
    order = sorted(groups, key=lambda name: (ORDER.get(name, 9), name))
    for axis, name in zip(axes, order):
        _law_column(axis, name, groups[name], longest)
    canvas.supxlabel("FVU on unseen points: median and range over repeats; dashed 1.19e-7, dotted 1")
    for marker, colour, name in VERDICTS:
        axes[0].plot([], [], marker=marker, color=colour, label=name)
    legend_outside(canvas, axes[:1], "upper")
    return canvas


def _law_column(axis, name: str, laws: dict[str, list[float]], longest: int):
    ranked = sorted(laws.items(), key=lambda item: (np.median(item[1]), item[0]))
    found = sum(np.median(values) <= EPS32 for values in laws.values())
    for row, (_law, values) in enumerate(ranked):
        low, middle, high = (min(max(v, FLOOR), 30.0) for v in (min(values), np.median(values), max(values)))
        marker, colour, _name = VERDICTS[0 if middle <= EPS32 else 1 if middle < NEAR else 2]
        axis.plot([low, high], [row, row], color=colour, linewidth=1.2, alpha=0.6)
        axis.plot([middle], [row], marker=marker, color=colour)
    axis.set(xlim=(FLOOR / 10, 100), ylim=(longest - 0.5, -0.5), title=f"{name}: {found} of {len(laws)} recovered")
    log_axis(axis, "x")
    named_ticks(axis, "y", range(len(ranked)), [shown(law, NAME) for law, _ in ranked], fontsize=SMALL)
    axis.axvline(EPS32, color=INK, linewidth=0.8, linestyle="--")
    axis.axvline(1.0, color=MUTED, linewidth=0.8, linestyle=":")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)
