"""Pictures of training (metric records of fansr-train) and of simplification (skeletons after fansr-simplify)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from fansr.errors import NoAnswer
from fansr.evaluation.plot_style import COLOURS, DASHES, drawn, figure, legend_outside, log_axis, style, whole_ticks

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MANY = 60  # records of a split beyond which its points are not marked: the line shows them
CURVES = (
    ("loss", "cross-entropy, nats a token"),
    ("lr", "learning rate"),
    ("grad_norm", "gradient norm before clipping"),
)


@drawn
def draw_training(records: list[dict]) -> Figure:
    """Loss by split (and by run, where there are several labels), learning rate and gradient norm against the step; what no
    record tells has no panel."""
    several = len({record.get("label") for record in records}) > 1
    splits: dict[str, list[dict]] = defaultdict(list)
    for record in records:
        splits[f"{record['label']} {record['split']}" if several else record["split"]].append(record)
    order = sorted(splits.items(), key=lambda item: (item[1][0].get("label", ""), item[1][0]["split"] != "train"))
    told = [
        (key, label) for key, label in CURVES if any(r.get(key) is not None and np.isfinite(r[key]) for r in records)
    ]
    if not told:
        raise NoAnswer("no record of the stream tells a finite loss, learning rate or gradient norm")
    canvas, axes = figure(len(told), width=3.8)
    for axis, (key, label) in zip(axes, told):
        values = []
        for k, (split, some) in enumerate(order):
            pairs = [(r["step"], r[key]) for r in some if r.get(key) is not None and np.isfinite(r[key])]
            if pairs:
                look = style(k)
                axis.plot(*zip(*pairs), label=split, **(look if len(pairs) <= MANY else look | {"marker": ""}))
                values += [value for _step, value in pairs]
        whole_ticks(axis, "x")
        axis.set(xlabel="step", ylabel=label)
        if key == "grad_norm" and min(values) > 0:
            log_axis(axis, "y")
    legend_outside(canvas, axes)
    return canvas


def envelope(flops: np.ndarray, loss: np.ndarray) -> tuple[float, float, np.ndarray]:
    """(a, exponent, points) of loss = a * flops^exponent through the lower envelope: the points at which no run was as low
    with fewer operations.  NaN where there are fewer than two.

    The first of several points of one run's descent is no more on the envelope than the last; as in the paper (appendix K)
    the power law is fitted by least squares to the logarithms of all of them.
    """
    order = np.argsort(flops, kind="stable")
    lowest = np.minimum.accumulate(loss[order])
    kept = order[(loss[order] == lowest) & np.concatenate(([True], lowest[1:] < lowest[:-1]))]
    if len(kept) < 2:
        return float("nan"), float("nan"), kept
    slope, offset = np.polyfit(np.log(flops[kept]), np.log(loss[kept]), 1)
    return float(np.exp(offset)), float(slope), kept


@drawn
def draw_flops(series: dict[str, list[dict]]) -> Figure:
    """Validation loss against training operations for each run, and the power law of the lower envelope (figure 13, left)."""
    runs = {
        name: np.array([(r["flops"], r["loss"]) for r in some if r["split"] == "val" and r.get("flops")])
        for name, some in series.items()
    }
    runs = {name: points for name, points in runs.items() if len(points)}
    if not runs:
        raise NoAnswer("no record tells a validation loss and the operations it took")
    canvas, (axis,) = figure(1, width=5.2)
    for k, (name, points) in enumerate(runs.items()):
        look = style(k)
        axis.plot(*points.T, label=name, **(look if len(points) <= MANY else look | {"marker": ""}))
    flops, loss = np.concatenate(list(runs.values())).T
    a, exponent, kept = envelope(flops, loss)
    if len(kept) > 1:
        ends = np.array([flops[kept].min(), flops[kept].max()])
        axis.plot(ends, a * ends**exponent, color="black", linestyle=":", label=f"envelope: FLOPs^{exponent:.3f}")
    axis.set(xlabel="training FLOPs (6 N D)", ylabel="validation loss, nats a token")
    log_axis(axis, "x")
    log_axis(axis, "y")
    legend_outside(canvas, [axis])
    return canvas


@drawn
def draw_simplify(series: dict[str, list[dict]]) -> Figure:
    """ECDFs of the length ratio after simplification and, where records carry `seconds`, of the time each took."""
    ratios = {
        name: np.array([len(r["expr"]) / r["raw_len"] for r in some if r.get("raw_len")])
        for name, some in series.items()
    }
    times = {
        name: 1e3 * np.array([r["seconds"] for r in some if r.get("seconds") is not None])
        for name, some in series.items()
    }
    panels = [
        (values, label, text)
        for values, label, text in (
            (ratios, "length after / length before", "{name}: mean {mean:.3f}"),
            (times, "milliseconds an expression", "{name}: median {median:.3g} ms"),
        )
        if any(some.size for some in values.values())
    ]
    if not panels:
        raise NoAnswer("no record tells its length before (raw_len) or its seconds: give what fansr-simplify wrote")
    canvas, axes = figure(len(panels))
    for axis, (values, label, text) in zip(axes, panels):
        for k, (name, some) in enumerate(values.items()):
            if some.size:
                look: dict[str, Any] = {"color": COLOURS[k % 7], "linestyle": DASHES[k % 7]}
                axis.ecdf(some, label=text.format(name=name, mean=some.mean(), median=np.median(some)), **look)
        axis.set(xlabel=label, ylabel="share of expressions")
        if values is times and all((some > 0).all() for some in times.values()):
            log_axis(axis, "x")
    legend_outside(canvas, axes)
    return canvas
