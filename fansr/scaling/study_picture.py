"""The pictures of a scaling study, a panel for each question that the runs answer; all of them as one picture, or some.

    loss      loss against compute, what nothing beats, its law with a band
    solved    the share solved by the best of so many draws, every law that the points allow, and where those say that 0.8 is reached
    r2        the same of R2 > 0.99
    isoflop   loss against tokens a parameter at equal compute, and the best of these
    grid      loss by batch size and rate, one panel a size
    draws     the share solved by the best of some draws
    held      forms held out against forms trained on
    spread    losses of several seeds
    constants, encoder, notation    a size against its variant -placeholder, -set, -latex: two panels each
    others    other programs on the held-out problems, of score streams named for them

Grey crosses are the five published points.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fansr.errors import NoAnswer
from fansr.evaluation import plot_style
from fansr.scaling import bands, findings, joint_laws
from fansr.scaling.points import published

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Panel = Callable[["Axes"], None]

PUBLISHED_RATIO = 15.0
VARIANTS = {"constants": "placeholder", "encoder": "set", "notation": "latex"}  # panel -> ending of a size's name
FAR = 1e23  # FLOPs to which the shares' laws are drawn
NEAR = 100.0  # times the data's end: so far bands are drawn


# ---- runs -------------------------------------------------------------------------------------


def name_of(run: dict) -> str:
    """A size's name, also where it was given as a path."""
    return Path(run["size"]).stem


def variant_of(run: dict) -> str | None:
    """The variant that a run's size is, None for a size itself."""
    ending = name_of(run).rpartition("-")[2]
    return ending if ending in VARIANTS.values() and "-" in name_of(run) else None


def sizes_of(runs: list[dict]) -> list[str]:
    """Names by the number of parameters."""
    return list(dict.fromkeys(name_of(run) for run in sorted(runs, key=lambda run: (run["params"], name_of(run)))))


def settings_of(run: dict) -> tuple:
    return run["seed"], run.get("batch"), run.get("lr")


def having(runs: list[dict], key: str) -> list[dict]:
    return [run for run in runs if run.get(key) is not None]


def of_draws(runs: list[dict]) -> str:
    """How many draws a problem's law was chosen from, as words behind a label."""
    numbers = sorted({int(run["samples_drawn"]) for run in runs if run.get("samples_drawn")})
    if not numbers:
        return ""
    return f", best of {numbers[0]}" + (f" to {numbers[-1]}" if len(numbers) > 1 else "")


# ---- panels -----------------------------------------------------------------------------------


def series(axis: Axes, runs: list[dict], y: str) -> None:
    """y against compute: a line for each size, seed and rate, those of a size alike."""
    for k, name in enumerate(sizes_of(runs)):
        lines: dict[tuple, list[tuple[float, float]]] = defaultdict(list)
        for run in runs:
            if name_of(run) == name:
                lines[settings_of(run)].append((run["flops"], run[y]))
        for mine in map(sorted, lines.values()):
            axis.plot(*zip(*mine), label=name, **(plot_style.style(k) | {"linewidth": 0.9}))


def crosses(axis: Axes, key: str) -> None:
    pairs = [(point["flops"], point[key]) for point in published()]
    axis.plot(*zip(*pairs), linestyle="", marker="x", color=plot_style.MUTED, label="published")


def laws(axis: Axes, runs: list[dict], y: str, forms: tuple[str, ...], upto: float) -> None:
    """The laws of these runs that they do not tell apart: dashed beyond the data, with bands to two decades beyond."""
    if len(runs) < 4:
        return
    points = {
        "x": [run["flops"] for run in runs], "y": [run[y] for run in runs], "by": [name_of(run) for run in runs],
        "cluster": [(run["size"], run["seed"]) for run in runs],
    }  # fmt: skip
    wanted = {"x": "flops", "y": y, "upto": upto, "predict": None, "bootstrap": 1000, "seed": 0}
    found, _ = findings.laws_of(points, forms, wanted)
    for k, law in enumerate(law for law in found if law["tied"]):
        x, value, low, high = (np.array(law[key]) for key in ("grid", "value", "low", "high"))
        near = x <= law["range"][1]
        colour = plot_style.COLOURS[(k + 4) % 7]
        axis.plot(x[near], value[near], color=colour, linewidth=1.6)
        axis.plot(x[~near], value[~near], color=colour, linestyle="--", linewidth=1.0, label=law["form"])
        shown = x <= law["range"][1] * NEAR
        axis.fill_between(x[shown], low[shown], high[shown], color=colour, alpha=0.15, linewidth=0)


def loss(runs: list[dict]) -> list[Panel]:
    def panel(axis: Axes) -> None:
        series(axis, runs, "loss")
        kept = joint_laws.frontier(*(np.array([run[key] for run in runs]) for key in ("flops", "loss")))
        best = [runs[i] for i in kept]
        axis.plot([run["flops"] for run in best], [run["loss"] for run in best], linestyle="", marker="o", markersize=8,
                  markerfacecolor="none", markeredgecolor=plot_style.INK, label="frontier")  # fmt: skip
        laws(axis, best, "loss", ("power", "shifted"), 2e19)
        crosses(axis, "loss")
        plot_style.log_axis(axis, "x")
        axis.set_ylim(0.08, 1.15 * max(run["loss"] for run in runs))
        plot_style.log_axis(axis, "y")
        axis.set(xlabel="FLOPs", ylabel="loss, nats a token")

    return [panel] if runs else []


def share(key: str, label: str) -> Callable[[list[dict]], list[Panel]]:
    """A share against compute with its laws, and the line at 0.8."""

    def make(runs: list[dict]) -> list[Panel]:
        runs = having(runs, key)

        def panel(axis: Axes) -> None:
            series(axis, runs, key)
            laws(axis, [run for run in runs if 0 < run[key] < 1], key, ("unsolved", "power", "logistic"), FAR)
            crosses(axis, key)
            axis.axhline(0.8, color=plot_style.MUTED, linewidth=0.7, linestyle=":")
            plot_style.log_axis(axis, "x")
            axis.set(xlabel="FLOPs", ylabel=label + of_draws(runs), ylim=(0, 1))

        return [panel] if runs else []

    return make


def isoflop(runs: list[dict]) -> list[Panel]:
    """Points and parabolas at equal compute; the best ratio of all runs together with its interval, the published one dotted."""
    best: dict[tuple, dict] = {}  # of several seeds and rates the run that came furthest
    for run in sorted(runs, key=lambda run: run["loss"]):
        best.setdefault((name_of(run), run["ratio"]), run)
    runs = list(best.values())
    C, r, y = (np.array([run[key] for run in runs]) for key in ("flops", "ratio", "loss"))
    levels = joint_laws.isoflop(C, r, y, [name_of(run) for run in runs]) if runs else []
    if not levels:
        return []

    def panel(axis: Axes) -> None:
        for k, level in enumerate(levels):
            look = plot_style.style(k)
            fine = np.linspace(*np.log10([min(level["ratio"]), max(level["ratio"])]), 60)
            axis.plot(10.0**fine, np.exp(np.polyval(level["parabola"], fine)), color=look["color"], linewidth=1.0)
            axis.plot(level["ratio"], level["loss"], label=f"{plot_style.number(level['flops'], 2)} FLOPs",
                      **(look | {"linestyle": ""}))  # fmt: skip
            if level["best"] is not None and min(level["ratio"]) <= level["best"] <= max(level["ratio"]):
                bottom = float(np.exp(np.polyval(level["parabola"], np.log10(level["best"]))))
                axis.plot(level["best"], bottom, marker="*", markersize=10, color=look["color"], linestyle="")
        clusters = bands.resampled_together([(run["size"], run["seed"]) for run in runs])
        valley = joint_laws.valley(C, r, y, clusters)
        if valley is not None:
            axis.axvline(valley.ratio, color=plot_style.INK, linewidth=1.0, label=f"best, {valley.ratio:.3g}")
            axis.axvspan(*valley.interval, color=plot_style.MUTED, alpha=0.15, linewidth=0)
        axis.axvline(PUBLISHED_RATIO, color=plot_style.MUTED, linestyle=":", label="published, 15")
        plot_style.log_axis(axis, "x")
        axis.set(xlabel="tokens a parameter", ylabel="loss, nats a token", xlim=(0.8 * r.min(), 1.25 * r.max()))

    return [panel]


def grid(runs: list[dict]) -> list[Panel]:
    """A map of losses for each size of the grid; the least is bold."""

    def panel_of(name: str) -> Panel:
        mine = [run for run in runs if name_of(run) == name]
        rates, batch_sizes = sorted({run["lr"] for run in mine}), sorted({run["batch"] for run in mine})
        table = np.full((len(batch_sizes), len(rates)), np.nan)
        for run in mine:
            table[batch_sizes.index(run["batch"]), rates.index(run["lr"])] = run["loss"]
        least = np.unravel_index(np.nanargmin(table), table.shape)

        def panel(axis: Axes) -> None:
            low = float(np.nanmin(table))
            axis.imshow(table, origin="lower", aspect="auto", cmap="Blues_r", vmin=low, vmax=1.3 * low)
            for (i, j), value in np.ndenumerate(table):
                if np.isfinite(value):
                    axis.text(j, i, f"{value:.3f}", ha="center", va="center", fontsize=plot_style.SMALL,
                              color="white" if value < 1.15 * low else plot_style.INK,
                              weight="bold" if (i, j) == least else "normal")  # fmt: skip
            plot_style.named_ticks(axis, "x", range(len(rates)), [f"{rate:g}" for rate in rates])
            plot_style.named_ticks(axis, "y", range(len(batch_sizes)), [str(size) for size in batch_sizes])
            axis.grid(False)
            axis.set(
                xlabel="learning rate", ylabel="batch", title=f"{name}: loss at {mine[0]['ratio']:g} tokens a parameter"
            )

        return panel

    return [panel_of(name) for name in sizes_of(runs)]


def draws(runs: list[dict]) -> list[Panel]:
    runs = [run for run in runs if run.get("solved_at")]

    def panel(axis: Axes) -> None:
        for k, name in enumerate(sizes_of(runs)):
            last = max((run for run in runs if name_of(run) == name), key=lambda run: (run["ratio"], -run["loss"]))
            pairs = sorted((int(n), value) for n, value in last["solved_at"].items())
            axis.plot(*zip(*pairs), label=f"{name}, {last['ratio']:g} tokens a parameter", **plot_style.style(k))
        plot_style.log_axis(axis, "x")
        axis.set(xlabel="draws", ylabel="solved by the best of these draws", ylim=(0, None))

    return [panel] if runs else []


def held(runs: list[dict]) -> list[Panel]:
    runs = having(having(runs, "solved"), "solved_held")

    def panel(axis: Axes) -> None:
        for k, name in enumerate(sizes_of(runs)):
            pairs = [(run["solved"], run["solved_held"]) for run in runs if name_of(run) == name]
            axis.plot(*zip(*pairs), label=name, **(plot_style.style(k) | {"linestyle": ""}))
        top = 1.1 * max(max(run["solved"], run["solved_held"]) for run in runs) + 0.02
        axis.plot([0, top], [0, top], color=plot_style.MUTED, linewidth=0.8, label="equal")
        told = of_draws(runs)
        axis.set(
            xlabel=f"solved, forms trained on{told}",
            ylabel=f"solved, forms held out{told}",
            xlim=(0, top),
            ylim=(0, top),
        )

    return [panel] if runs else []


def spread(runs: list[dict]) -> list[Panel]:
    """By how much losses of one size and ratio differ between seeds, in percent."""
    gaps: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for name in sizes_of(runs):
        by_ratio: dict[tuple, list[float]] = defaultdict(list)
        for run in runs:
            if name_of(run) == name:
                by_ratio[run["ratio"], *settings_of(run)[1:]].append(run["loss"])
        gaps[name] = [(x[0], float(100 * np.ptp(y) / np.mean(y))) for x, y in sorted(by_ratio.items()) if len(y) > 1]
    gaps = {name: some for name, some in gaps.items() if some}

    def panel(axis: Axes) -> None:
        for k, (name, some) in enumerate(gaps.items()):
            axis.plot(*zip(*some), label=name, **plot_style.style(k))
        plot_style.log_axis(axis, "x")
        axis.set(xlabel="tokens a parameter", ylabel="loss, % between seeds", ylim=(0, None))

    return [panel] if gaps else []


def against(ending: str, runs: list[dict]) -> list[Panel]:
    """Sizes and their variants of one ending on held-out forms: means over seeds, bars from the least to the greatest."""
    runs = having(runs, "solved_held")
    bases = {name_of(run).rpartition("-")[0] for run in runs if variant_of(run) == ending}
    some = [run for run in runs if name_of(run) in bases or (variant_of(run) == ending)]
    # Where a size was trained at several rates, the one that variants share, else that of most runs.
    shared = {settings_of(run)[1:] for run in runs if variant_of(run) is not None}
    rates = {base: Counter(settings_of(run)[1:] for run in some if name_of(run) == base) for base in bases}
    taken = {
        base: max(found, key=lambda pair, found=found: (pair in shared, found[pair])) for base, found in rates.items()
    }
    some = [run for run in some if name_of(run) not in bases or settings_of(run)[1:] == taken[name_of(run)]]
    # Where the study went further with the size itself, only the lengths that its variants have too.
    most = {base: max(run["flops"] for run in some if name_of(run) == f"{base}-{ending}") for base in bases}
    some = [run for run in some if run["flops"] <= 1.3 * most[name_of(run).removesuffix(f"-{ending}")]]

    def panel_of(key: str, label: str) -> Panel:
        def panel(axis: Axes) -> None:
            for k, name in enumerate(sorted(sizes_of(some), key=lambda name: name not in bases)):
                groups: dict[float, list[dict]] = defaultdict(list)
                for run in some:
                    if name_of(run) == name:
                        groups[run["ratio"]].append(run)
                rows = []
                for members in groups.values():
                    values = [run[key] for run in members]
                    middle = float(np.mean(values))
                    flops = float(np.mean([run["flops"] for run in members]))
                    rows.append((flops, middle, middle - min(values), max(values) - middle))
                x, y, below, above = zip(*sorted(rows))
                axis.errorbar(x, y, yerr=(below, above), capsize=2.5, label=name, **plot_style.style(k))
            plot_style.log_axis(axis, "x")
            axis.set(xlabel="FLOPs", ylabel=label + of_draws(some), ylim=(0, None))

        return panel

    if not bases or not some:
        return []
    return [panel_of("solved_held", "held-out forms solved"), panel_of("r2_99_held", "held-out forms, R2 > 0.99")]


def others(scores: dict[str, list[dict]]) -> list[Panel]:
    """Shares of each stream's problems, with Wilson intervals of 95 %."""
    keys = {"solved": "solved", "r2_99_val": "R2 > 0.99 on new points"}

    def panel(axis: Axes) -> None:
        for k, (key, label) in enumerate(keys.items()):
            for place, some in enumerate(scores.values()):
                values = [bool(score[key]) for score in some if score.get(key) is not None]
                if not values:
                    continue
                n, p, z = len(values), float(np.mean(values)), 1.96
                middle = (p + z * z / (2 * n)) / (1 + z * z / n)
                half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
                at = place + 0.2 * (2 * k - 1)
                axis.bar(at, p, width=0.36, color=plot_style.COLOURS[k], label=label)
                ends = [[max(0.0, p - middle + half)], [max(0.0, middle + half - p)]]
                axis.errorbar(at, p, yerr=ends, color=plot_style.INK, capsize=2.5, linewidth=0.9)
        plot_style.named_ticks(axis, "x", range(len(scores)), [plot_style.wrapped(name, 14, 3) for name in scores])
        axis.set(ylabel="share of the held-out problems", ylim=(0, 1.25))

    return [panel] if scores else []


MAIN: dict[str, Callable[[list[dict]], list[Panel]]] = {
    "loss": loss, "solved": share("solved", "solved"), "r2": share("r2_99", "R2 > 0.99"),
    "isoflop": isoflop, "draws": draws, "held": held, "spread": spread,
}  # fmt: skip


def panels_of(name: str, runs: list[dict], scores: dict[str, list[dict]]) -> list[Panel]:
    """What finished runs, or scores by the name of their stream, have to say on a question: nothing, one panel or several."""
    if name == "others":
        return others(scores)
    if name == "grid":
        return grid([run for run in runs if run["stage"] == "grid"])
    runs = [run for run in runs if run["stage"] != "grid"]
    if name in VARIANTS:
        return against(VARIANTS[name], runs)
    return MAIN[name]([run for run in runs if variant_of(run) is None])


def figures(names: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Name of a picture by itself -> its panels, for all panels of these names: both shares stand side by side."""
    alone = {name: (name,) for name in names}
    if "solved" in alone and "r2" in alone:
        alone["solved"] = ("solved", alone.pop("r2")[0])
    return alone


@plot_style.drawn
def draw(runs: list[dict], names: tuple[str, ...], scores: dict[str, list[dict]] | None = None) -> Figure:
    """The panels of these names that finished run records and scores fill; NoAnswer where they fill none."""
    panels = [panel for name in names for panel in panels_of(name, runs, scores or {})]
    if not panels:
        raise NoAnswer(f"these runs have nothing to show of {', '.join(names)}")
    columns = min(4, len(panels)) if len(panels) != 5 else 3
    rows = -(-len(panels) // columns)
    canvas, axes = plot_style.figure(
        columns, rows, width=4.2 if columns < 3 else 3.6, height=3.1, cells=range(len(panels))
    )
    for axis, panel in zip(axes, panels):
        panel(axis)
        handles, labels = axis.get_legend_handles_labels()
        if handles:
            once = dict(zip(labels, handles))
            axis.legend(once.values(), once.keys(), fontsize=plot_style.SMALL)
    return canvas
