"""All pictures of a scaling study in one: a panel for each question that the runs answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from fansr.evaluation import plot_style
from fansr.scaling import joint_laws

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# arXiv 2510.26064, the five sizes at their largest compute: FLOPs, solved, R2 > 0.99, loss.
PUBLISHED = (
    (7.20e16, 0.149, 0.526, 0.424),
    (2.88e17, 0.271, 0.667, 0.312),
    (9.81e17, 0.378, 0.762, 0.240),
    (3.53e18, 0.519, 0.835, 0.168),
    (1.47e19, 0.597, 0.883, 0.105),
)


def sizes_of(runs: list[dict]) -> list[str]:
    return sorted(
        {r["size"] for r in runs}, key=lambda name: min((r["params"], name) for r in runs if r["size"] == name)
    )


def series(axis: Axes, runs: list[dict], x: str, y: str) -> None:
    """A line for each size and seed, seeds of a size alike."""
    for k, name in enumerate(sizes_of(runs)):
        for seed in sorted({r["seed"] for r in runs if r["size"] == name}):
            mine = sorted(
                (r[x], r[y]) for r in runs if r["size"] == name and r["seed"] == seed and r.get(y) is not None
            )
            if mine:
                axis.plot(*zip(*mine), label=name, **plot_style.style(k))


def loss(axis: Axes, runs: list[dict]) -> None:
    series(axis, runs, "flops", "loss")
    x, y = (np.array([r[key] for r in runs]) for key in ("flops", "loss"))
    kept = joint_laws.frontier(x, y)
    axis.plot(x[kept], y[kept], color=plot_style.INK, linewidth=0.8, label="frontier")
    axis.plot(
        *zip(*((p[0], p[3]) for p in PUBLISHED)), linestyle="", marker="x", color=plot_style.MUTED, label="published"
    )
    plot_style.log_axis(axis, "x")
    plot_style.log_axis(axis, "y")
    axis.set(xlabel="FLOPs", ylabel="loss, nats a token")


def share(key: str, column: int, label: str) -> Callable[[Axes, list[dict]], None]:
    def panel(axis: Axes, runs: list[dict]) -> None:
        series(axis, runs, "flops", key)
        axis.plot(
            *zip(*((p[0], p[column]) for p in PUBLISHED)),
            linestyle="",
            marker="x",
            color=plot_style.MUTED,
            label="published",
        )
        plot_style.log_axis(axis, "x")
        axis.set(xlabel="FLOPs", ylabel=label, ylim=(0, 1))

    return panel


def isoflop(axis: Axes, runs: list[dict]) -> None:
    C, r, y = (np.array([run[key] for run in runs]) for key in ("flops", "ratio", "loss"))
    for k, level in enumerate(joint_laws.isoflop(C, r, y, [run["size"] for run in runs])):
        order = np.argsort(level["ratio"])
        ratio, losses = np.array(level["ratio"])[order], np.array(level["loss"])[order]
        axis.plot(ratio, losses, label=f"{level['flops']:.1e} FLOPs", **plot_style.style(k))
        if level["best"] is not None:
            axis.axvline(level["best"], color=plot_style.COLOURS[k % 7], linewidth=0.7)
    plot_style.log_axis(axis, "x")
    axis.set(xlabel="tokens a parameter", ylabel="loss, nats a token")


def held_out(axis: Axes, runs: list[dict]) -> None:
    for k, name in enumerate(sizes_of(runs)):
        pairs = [(r["solved"], r["solved_held"]) for r in runs if r["size"] == name]
        axis.plot(*zip(*pairs), label=name, **(plot_style.style(k) | {"linestyle": ""}))
    axis.plot([0, 1], [0, 1], color=plot_style.MUTED, linewidth=0.8)
    axis.set(xlabel="solved, forms trained on", ylabel="solved, forms held out", xlim=(0, 1), ylim=(0, 1))


def draws(axis: Axes, runs: list[dict]) -> None:
    for k, name in enumerate(sizes_of(runs)):
        last = max((r for r in runs if r["size"] == name), key=lambda r: r["flops"])
        pairs = sorted((int(n), value) for n, value in last["solved_at"].items())
        axis.plot(*zip(*pairs), label=name, **plot_style.style(k))
    plot_style.log_axis(axis, "x")
    axis.set(xlabel="draws", ylabel="solved by the best of them")


def grid(axis: Axes, runs: list[dict]) -> None:
    """Loss above the least of its size, by rate, a line for each batch size."""
    k = 0
    for name in sizes_of(runs):
        least = min(r["loss"] for r in runs if r["size"] == name)
        for batch in sorted({r["batch"] for r in runs if r["size"] == name}):
            pairs = sorted((r["lr"], r["loss"] - least) for r in runs if r["size"] == name and r["batch"] == batch)
            axis.plot(*zip(*pairs), label=f"{name}, batch {batch}", **plot_style.style(k))
            k += 1
    plot_style.log_axis(axis, "x")
    axis.set(xlabel="learning rate", ylabel="loss above the size's least")


def spread(axis: Axes, runs: list[dict]) -> None:
    """Difference of the losses of two seeds, in percent."""
    places, labels = [], []
    for k, name in enumerate(sizes_of(runs)):
        by_ratio: dict[float, list[float]] = {}
        for r in runs:
            if r["size"] == name:
                by_ratio.setdefault(r["ratio"], []).append(r["loss"])
        gaps = [100 * np.ptp(v) / np.mean(v) for v in by_ratio.values() if len(v) > 1]
        if gaps:
            axis.plot([k] * len(gaps), gaps, **(plot_style.style(k) | {"linestyle": ""}))
            places.append(k)
            labels.append(name)
    plot_style.named_ticks(axis, "x", places, labels)
    axis.set(ylabel="loss, % between seeds", ylim=(0, None))


@plot_style.drawn
def draw(runs: list[dict]) -> Figure:
    """The panels that these finished run records fill."""
    main, trial = ([r for r in runs if (r["stage"] == "grid") == wanted] for wanted in (False, True))
    panels: list[tuple[Callable[[Axes, list[dict]], None], list[dict]]] = []
    if main:
        panels += [(loss, main), (share("solved", 1, "solved, best of the draws"), main)]
        panels.append((share("r2_99", 2, "R2 > 0.99"), main))
        if len({r["size"] for r in main}) >= 3:
            panels.append((isoflop, main))
        if any(r.get("solved_held") is not None for r in main):
            panels.append((held_out, [r for r in main if r.get("solved_held") is not None]))
        if any(r.get("solved_at") for r in main):
            panels.append((draws, [r for r in main if r.get("solved_at")]))
        if len({r["seed"] for r in main}) > 1:
            panels.append((spread, main))
    if trial:
        panels.append((grid, trial))
    columns = min(4, len(panels))
    rows = -(-len(panels) // columns)
    canvas, axes = plot_style.figure(columns, rows, width=3.6, height=3.0, cells=range(len(panels)))
    for axis, (panel, some) in zip(axes, panels):
        panel(axis, some)
        if axis.get_legend_handles_labels()[0]:
            handles, labels = axis.get_legend_handles_labels()
            once = dict(zip(labels, handles))
            axis.legend(once.values(), once.keys(), fontsize=plot_style.SMALL)
    return canvas
