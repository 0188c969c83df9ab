"""The picture of a law: points by series, envelope, laws with their bands, dashed and grey beyond two decades of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fansr.evaluation import plot_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FAR = 100.0  # times the data's end: two decades


@plot_style.drawn
def draw_laws(points: dict, result: dict, wanted: dict[str, Any]) -> Figure:
    """x against y on logarithmic axes (y of shares: plain), and with --isoflop a second panel of loss against ratio."""
    levels = result["isoflop"]
    canvas, axes = plot_style.figure(2 if levels else 1, width=4.6, height=3.6)
    axis = axes[0]
    x, y = np.array(points["x"]), np.array(points["y"])
    names = sorted(set(points["by"]), key=lambda name: min(a for a, by in zip(points["x"], points["by"]) if by == name))
    for k, name in enumerate(names):
        mine = np.array([by == name for by in points["by"]])
        order = np.argsort(x[mine])
        look = plot_style.style(k)
        if len(names) == 1:
            look |= {"linestyle": ""}
        axis.plot(x[mine][order], y[mine][order], label=name or "runs", **(look | {"linewidth": 0.8}))
    if result["frontier"]:
        kept = result["frontier"]
        axis.plot(x[kept], y[kept], marker="o", linestyle="", markersize=9, markerfacecolor="none",
                  markeredgecolor=plot_style.INK, label="frontier")  # fmt: skip
    shown = [law for law in result["laws"] if law["tied"] and law["form"] != "free"]
    for k, law in enumerate(shown):
        grid, value = np.array(law["grid"]), np.array(law["value"])
        near = grid <= law["range"][1] * FAR
        colour = plot_style.COLOURS[(k + 4) % 7]
        text = f"{law['form']} {law['by']}".strip()
        axis.plot(grid[near], value[near], color=colour, linewidth=1.5, label=text)
        axis.plot(grid[~near], value[~near], color=plot_style.MUTED, linestyle="--", linewidth=1.2)
        axis.fill_between(
            grid[near], np.array(law["low"])[near], np.array(law["high"])[near], color=colour, alpha=0.15, linewidth=0
        )
    plot_style.log_axis(axis, "x")
    if wanted["high"]:
        axis.set_ylim(0, 1)
    else:
        plot_style.log_axis(axis, "y")
    axis.set(xlabel=wanted["x"], ylabel=wanted["y"])
    if levels:
        other = axes[1]
        for k, level in enumerate(levels):
            order = np.argsort(level["ratio"])
            look = plot_style.style(k)
            other.plot(
                np.array(level["ratio"])[order], np.array(level["loss"])[order], label=f"{level['flops']:.1e}", **look
            )
        plot_style.log_axis(other, "x")
        plot_style.log_axis(other, "y")
        other.set(xlabel="tokens a parameter", ylabel=wanted["y"])
    plot_style.legend_outside(canvas, axes)
    return canvas
