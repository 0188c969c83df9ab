"""fansr-plot: pictures of fits, scores, training and simplification, as PNG, SVG or PDF.

    fansr-plot scores.zst -o recovery.png
    fansr-fit data/planets.csv -o planets.zst && fansr-plot planets.zst -o planets.svg

What is drawn follows from what the stream holds and what varies in it (--kind says it outright):

    time      recovery and length ratio against seconds      fits or scores of several budgets
    points    the same against the number of points          ... of several sizes
    noise     the same against the noise level               ... of several levels
    laws      one dot a law, by difficulty                   any other fits or scores
    fit       data with the law, residuals, front            a fit that carries its data (fansr-fit -o)
    training  loss, learning rate, gradient norm             metrics of fansr-train
    simplify  distribution of length ratios (and times)      skeletons after fansr-simplify

Series differ in colour, marker and dash (Okabe and Ito's palette), so that no picture rests on colour alone.
matplotlib is an optional extra and is imported when something is drawn; this file computes no metric of its own.
"""

from __future__ import annotations

import json
import math
import os
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fansr.cli import command, resources
from fansr.errors import DataError, NoAnswer
from fansr.evaluation.metrics import EPS32, bootstrap
from fansr.evaluation.score import ALIASES, ORDER, score_record
from fansr.streams import open_reader

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fansr.fitting import Candidate, Problem

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")  # Okabe and Ito 2008
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-")
PLACES = ("fansr", "operon", "gplearn", "pysr", "flash-ansr", "prior")  # a method looks the same in every picture
KINDS = ("time", "points", "noise", "laws", "fit", "training", "simplify")
NEAR = 0.1  # FVU of an approximation; a worse one is a failure
VERDICTS = (("o", "#0072B2", "recovered"), ("s", "#E69F00", f"approximate, FVU < {NEAR}"), ("X", "#D55E00", "failed"))
FLOOR = 1e-32  # smaller FVUs are drawn here: below it float64 says nothing


def figure(columns: int, rows: int = 1, width: float = 4.6, height: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A matplotlib figure and its axes (flat list), with our defaults; DataError where matplotlib is missing."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise DataError("pictures need matplotlib: pip install 'fansr[plot]'") from None
    with matplotlib.rc_context(
        {
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.25,
            "grid.linewidth": 0.6,
            "legend.frameon": False,
            "axes.titlesize": 9,
            "figure.labelsize": 9,
        }
    ):
        canvas = Figure(figsize=(width * columns, height * rows), layout="constrained")
        axes = canvas.subplots(rows, columns, squeeze=False)
    return canvas, list(axes.flat)


def save(canvas: Figure, path: str) -> None:
    """Write the picture under its final name only when it is whole; the ending chooses the format."""
    import matplotlib

    ending = os.path.splitext(path)[1].lstrip(".").lower()
    if ending not in ("png", "svg", "pdf"):
        raise click.UsageError(f"-o {path}: the ending says the format; wanted .png, .svg or .pdf")
    part = f"{path}.part"
    # No date in the file: the same records give the same bytes.
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[ending]
    try:
        with matplotlib.rc_context({"svg.hashsalt": "fansr"}):
            canvas.savefig(part, format=ending, dpi=150, metadata=metadata)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)


def style(k: int) -> dict[str, Any]:
    """Colour, marker and dash of the k-th series."""
    n = len(COLOURS)
    return {
        "color": COLOURS[k % n],
        "marker": MARKERS[k % n],
        "linestyle": DASHES[k % n],
        "markersize": 4.5,
        "linewidth": 1.4,
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


def draw_against(records: list[dict], field: str, label: str, published: bool = False) -> Figure:
    """vNRR (left) and the length ratio of all fits and of recovered laws (right) against `field`, with intervals."""
    canvas, (left, right) = figure(2)
    found = series_of(records, field)
    names = [*PLACES, *sorted(name for name in found if name not in PLACES)]
    for k, name in ((k, name) for k, name in enumerate(names) if name in found):
        by_x = found[name]
        for axis, key, factor in ((left, "vnrr", 100.0), (right, "length_ratio_recovered", 1.0)):
            points = [(x, estimate(some, key)) for x, some in sorted(by_x.items())]
            if field == "budget":  # what was used, not what was allowed
                points = [(float(np.mean([r["seconds"] for r in by_x[x]])), e) for x, e in points]
            points = [(x, *(factor * v for v in e)) for x, e in points if e]
            if points:
                x, middle, low, high = map(np.array, zip(*points))
                axis.plot(x, middle, label=name, **style(k))
                _interval(axis, x, middle, low, high, style(k)["color"], len(found))
    if published:
        quote(left)
    for axis in (left, right):
        _scale_x(axis, field, [record[field] for record in records if record.get(field) is not None])
        axis.set_xlabel(label)
    left.set(ylabel="recovered on unseen points, % (vNRR)", ylim=(0, 100))
    right.axhline(1.0, color="0.5", linewidth=0.8)
    right.set(ylabel="length ratio of recovered laws")
    _legend_outside(canvas, left)
    return canvas


def _interval(axis, x, middle, low, high, colour: str, n_series: int):
    """The 95 % interval as a band; as bars where so many bands would cover one another."""
    if n_series <= 3:
        axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    else:
        axis.errorbar(
            x, middle, yerr=[middle - low, high - middle], fmt="none", ecolor=colour, elinewidth=0.9, capsize=2.5
        )


def _legend_outside(canvas, axis, where: str = "lower"):
    """One legend under (or over) the panels, where it covers no data."""
    handles, labels = axis.get_legend_handles_labels()
    canvas.legend(handles, labels, loc=f"outside {where} center", ncols=len(labels), frameon=False, fontsize=9)


def _scale_x(axis, field: str, values):
    if field == "noise":
        smallest = min((v for v in values if v > 0), default=1e-3)
        axis.set_xscale("symlog", linthresh=smallest)  # noise 0 has a place on it
        ticks = sorted(set(values))
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    elif field == "points":
        axis.set_xscale("log", base=2)
        ticks = sorted(set(values))
        few = [
            tick for tick in ticks if tick <= 128 or len(ticks) <= 8 or math.log2(tick) % 2 == math.log2(ticks[-1]) % 2
        ]
        axis.set_xticks(
            ticks, [f"{tick:g}" if tick in few else "" for tick in ticks]
        )  # 1024 and 2048 do not fit side by side
    else:
        axis.set_xscale("log")
        low, high = axis.get_xlim()
        ticks = [digit * 10.0**power for power in range(-4, 6) for digit in (1, 3)]
        ticks = [tick for tick in ticks if low <= tick <= high]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.minorticks_off()


def quote(axis: Axes) -> None:
    """Horizontal lines at other authors' published recovery rates, marked as such."""
    with open(resources.path("data", "published.json")) as file:
        quoted = json.load(file)["methods"]
    for method in quoted:
        axis.axhline(100 * method["vnrr"], color="0.6", linewidth=0.8, linestyle=":")
        axis.annotate(
            f"{method['name']}, published",
            (0.99, 100 * method["vnrr"]),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=6.5,
            color="0.35",
        )


# ---- one dot a law ----------------------------------------------------------------------------


def draw_laws(records: list[dict]) -> Figure:
    """Median validation FVU of every law with its range over repeats, sorted, one column a difficulty (Figure 17)."""
    groups: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        best = record["best"]
        value = best.get("fvu_val") if best.get("fvu_val") is not None else best.get("fvu")
        value = value if record["success"] and value is not None and math.isfinite(value) else 1e9
        groups[str(record.get("group") or "laws")][str(record["law"])].append(value)
    longest = max(len(laws) for laws in groups.values())
    canvas, axes = figure(len(groups), width=3.4, height=max(2.6, 0.155 * longest + 1.0))
    order = sorted(groups, key=lambda name: (ORDER.get(name, 9), name))
    for axis, name in zip(axes, order):
        _law_column(axis, name, groups[name], longest)
    canvas.supxlabel("FVU on unseen points: median and range over repeats; dashed 1.19e-7, dotted 1")
    for marker, colour, name in VERDICTS:
        axes[0].plot([], [], marker=marker, color=colour, markersize=4, linewidth=1.2, label=name)
    _legend_outside(canvas, axes[0], "upper")
    return canvas


def _law_column(axis, name: str, laws: dict[str, list[float]], longest: int):
    ranked = sorted(laws.items(), key=lambda item: (np.median(item[1]), item[0]))
    found = sum(np.median(values) <= EPS32 for values in laws.values())
    for row, (_law, values) in enumerate(ranked):
        low, middle, high = (min(max(v, FLOOR), 30.0) for v in (min(values), np.median(values), max(values)))
        marker, colour, _name = VERDICTS[0 if middle <= EPS32 else 1 if middle < NEAR else 2]
        axis.plot([low, high], [row, row], color=colour, linewidth=1.2, alpha=0.6)
        axis.plot([middle], [row], marker=marker, color=colour, markersize=4)
    axis.set_xscale("log")
    axis.set(xlim=(FLOOR / 10, 100), ylim=(longest - 0.5, -0.5), title=f"{name}: {found} of {len(laws)} recovered")
    axis.set_yticks(range(len(ranked)), [law[:34] for law, _ in ranked], fontsize=6.5)
    axis.axvline(EPS32, color="0.3", linewidth=0.8, linestyle="--")
    axis.axvline(1.0, color="0.6", linewidth=0.8, linestyle=":")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="y", visible=False)


# ---- one fit ----------------------------------------------------------------------------------


def draw_fit(problem: Problem, best: Candidate, front: Sequence[Candidate], path: str) -> None:
    """Picture of one answer, written to `path`: `problem` a Problem, `best` and `front` fitted candidates."""
    points = [{"length": c.length, "fvu": c.fvu} for c in front]
    save(fit_figure(problem.X, problem.y, problem.names, problem.target, best.expr, best.consts, points), path)


def fit_figure(
    X: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    target: str,
    expr: list[str],
    consts: np.ndarray | None,
    front: Sequence[dict],
) -> Figure:
    """Data with the law, residuals, and the front of length against FVU.

    X (M, D), y (M,).  With one column that the law uses the left panel is y against it with the law as a curve;
    otherwise y against the law's value.
    """
    from fansr.expressions import evaluate, prefix as expressions

    canvas, (left, middle, right) = figure(3, width=3.8)
    with np.errstate(all="ignore"):
        y_hat = evaluate(list(expr), X, consts)
    used = expressions.variables(expr)
    if len(used) == 1:
        across, label = X[:, used[0]], names[used[0]]
        grid = np.repeat(np.median(X, axis=0)[None], 400, axis=0)
        grid[:, used[0]] = np.linspace(across.min(), across.max(), 400)
        with np.errstate(all="ignore"):
            left.plot(
                grid[:, used[0]], evaluate(list(expr), grid, consts), color=COLOURS[4], linewidth=1.4, label="law"
            )
        left.plot(across, y, "o", color=COLOURS[0], markersize=3.5, alpha=0.7, label="data")
        left.legend(frameon=False)
    else:
        across, label = y_hat, "the law's value"
        left.axline((float(np.nanmedian(y_hat)),) * 2, slope=1, color=COLOURS[4], linewidth=1.2)
        left.plot(y_hat, y, "o", color=COLOURS[0], markersize=3.5, alpha=0.7)
    left.set(xlabel=label, ylabel=target)
    text = expressions.to_infix(list(expr), consts, names, digits=5)
    canvas.suptitle(f"{target} = {text}" if len(text) < 110 else f"{target} = {text[:107]}...", fontsize=9)
    middle.axhline(0, color="0.4", linewidth=0.8)
    middle.plot(across, y - y_hat, "o", color=COLOURS[0], markersize=3.5, alpha=0.7)
    middle.set(xlabel=label, ylabel=f"residual of {target}")
    _front_panel(right, front, len(expr))
    return canvas


def _front_panel(axis, front, chosen: int):
    points = sorted((c["length"], max(float(c["fvu"]), FLOOR)) for c in front if math.isfinite(c["fvu"]))
    if points:
        lengths, fvus = zip(*points)
        axis.plot(lengths, fvus, drawstyle="steps-post", color="0.6", linewidth=1)
        axis.plot(lengths, fvus, "o", color=COLOURS[0], markersize=4.5)
        best = [point for point in points if point[0] == chosen] or points[-1:]
        axis.plot(*zip(*best), "D", color=COLOURS[4], markersize=7, label="chosen")
        axis.legend(frameon=False)
    axis.set_yscale("log")
    axis.set(xlabel="length, tokens", ylabel="FVU")


# ---- training and simplification --------------------------------------------------------------


def draw_training(records: list[dict]) -> Figure:
    """Loss by split, learning rate and gradient norm against the step."""
    canvas, (left, middle, right) = figure(3, width=3.8)
    splits: dict[str, list[dict]] = defaultdict(list)
    for record in records:
        splits[record["split"]].append(record)
    for k, (split, some) in enumerate(sorted(splits.items(), key=lambda item: item[0] != "train")):
        look = style(k) | {"marker": "" if len(some) > 60 else MARKERS[k % len(MARKERS)]}
        left.plot([r["step"] for r in some], [r["loss"] for r in some], label=split, **look)
        for axis, key in ((middle, "lr"), (right, "grad_norm")):
            pairs = [(r["step"], r[key]) for r in some if r.get(key) is not None]
            if pairs:
                axis.plot(*zip(*pairs), **(look | {"marker": ""}))
    left.set(xlabel="step", ylabel="cross-entropy, nats a token")
    left.legend(frameon=False)
    middle.set(xlabel="step", ylabel="learning rate")
    right.set(xlabel="step", ylabel="gradient norm before clipping")
    right.set_yscale("log")
    return canvas


def draw_simplify(series: dict[str, list[dict]]) -> Figure:
    """ECDFs of the length ratio after simplification and, where records carry `seconds`, of the time each took."""
    timed = any(r.get("seconds") is not None for some in series.values() for r in some)
    canvas, axes = figure(2 if timed else 1)
    for k, (name, some) in enumerate(series.items()):
        look: dict[str, Any] = {"color": COLOURS[k % 7], "linestyle": DASHES[k % 7], "linewidth": 1.4}
        ratios = np.array([len(r["expr"]) / r["raw_len"] for r in some if r.get("raw_len")])
        if ratios.size:
            axes[0].ecdf(ratios, label=f"{name}, mean {ratios.mean():.3f}", **look)
        seconds = np.array([r["seconds"] for r in some if r.get("seconds") is not None])
        if seconds.size:
            axes[1].ecdf(1e3 * seconds, label=f"{name}, median {1e3 * np.median(seconds):.3g} ms", **look)
    axes[0].set(xlabel="length after / length before", ylabel="share of expressions")
    axes[0].legend(frameon=False)
    if timed:
        axes[1].set(xlabel="milliseconds an expression", ylabel="share of expressions")
        axes[1].set_xscale("log")
        axes[1].legend(frameon=False)
    return canvas


# ---- the command ------------------------------------------------------------------------------


def kind_of(holds: str, records: list[dict]) -> str:
    """What to draw, from what the stream holds and what varies in it."""
    if holds == "metric":
        return "training"
    if holds == "skeleton":
        return "simplify"
    if holds == "fit" and len(records) == 1 and "X" in records[0]:
        return "fit"
    for kind, field in (("points", "points"), ("noise", "noise"), ("time", "budget")):
        if len({record[field] for record in records if record.get(field) is not None}) > 1:
            return kind
    return "laws"


def draw(kind: str, holds: str, series: dict[str, list[dict]], published: bool) -> Figure:
    """The figure of one kind; DataError where the records cannot be drawn so."""
    records = [{**record, "label": record.get("label", name)} for name, some in series.items() for record in some]
    wanted = {"training": ("metric",), "simplify": ("skeleton",), "fit": ("fit",)}.get(kind, ("fit", "score"))
    if holds not in wanted:
        raise DataError(f"--kind {kind} draws {' or '.join(wanted)} records, the input holds {holds} records")
    if kind == "training":
        return draw_training(records)
    if kind == "simplify":
        return draw_simplify(series)
    if kind == "fit":
        fit = next((record for record in records if "X" in record), None)
        if fit is None:
            raise DataError("--kind fit needs a fit that carries its data: fansr-fit data.csv -o fit.zst")
        return fit_figure(
            fit["X"],
            fit["y"],
            fit["names"],
            fit.get("target") or "y",
            fit["expr"],
            fit["consts"],
            fit.get("front") or [],
        )
    scores = [record if holds == "score" else {**score_record(record), "label": record["label"]} for record in records]
    if kind == "laws":
        return draw_laws(scores)
    field, label = {
        "time": ("budget", "seconds a law, mean"),
        "points": ("points", "points to fit"),
        "noise": ("noise", "noise, standard deviations of y"),
    }[kind]
    return draw_against(scores, field, label, published)


@command.command(example="fansr-fit data/planets.csv -o planets.zst && fansr-plot planets.zst -o planets.png")
@click.argument("inputs", nargs=-1, metavar="[STREAM ...]")
@click.option("-o", "--output", required=True, metavar="PICTURE", help="Where to write: .png, .svg or .pdf.")
@click.option("--kind", type=click.Choice(KINDS), help="What to draw.  [default: by what the stream holds]")
@click.option("--label", multiple=True, help="Name of each input's series, in order.  [default: the record's method]")
@click.option("--where", multiple=True, metavar="FIELD=VALUE", help="Only records with this value, e.g. noise=0.")
@click.option("--published", is_flag=True, help="With --kind time: lines at other authors' published recovery rates.")
@command.max_record_option()
@command.quiet_option()
@command.config_option()
def plot(inputs, output, kind, label, where, published, quiet, config):
    """Draw fits, scores, training metrics or simplified skeletons."""
    if label and len(label) != len(inputs):
        raise click.UsageError(f"{len(label)} --label for {len(inputs)} inputs; give one for each")
    wanted = dict(_condition(text) for text in where)
    series: dict[str, list[dict]] = {}
    holds = None
    for k, name in enumerate(inputs or ["-"]):
        with open_reader(name, holds=holds or ("fit", "score", "metric", "skeleton")) as reader:
            holds = reader.header["holds"]
            some = [record for record in reader if all(_matches(record.get(f), v) for f, v in wanted.items())]
            for record in some if label else ():
                record["label"] = label[k]
            series[label[k] if label else os.path.basename(name)] = some
    records = [record for some in series.values() for record in some]
    if not records:
        raise NoAnswer("no records to draw")
    if not label and holds in ("fit", "score"):  # series by method, not by file
        for record in records:
            record["label"] = record.get("method") or "fansr"
    save(draw(kind or kind_of(holds, records), holds, series, published), output)
    command.remark(f"{output}: {len(records)} records", quiet)


def _condition(text: str) -> tuple[str, str]:
    field, equals, value = text.partition("=")
    if not equals:
        raise click.UsageError(f"--where {text}: wanted FIELD=VALUE, e.g. points=512")
    return ALIASES.get(field, field), value


def _matches(value, wanted: str) -> bool:
    try:
        return float(value) == float(wanted)
    except (TypeError, ValueError):
        return str(value) == wanted


main = plot
