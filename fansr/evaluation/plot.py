"""fansr-plot: pictures of fits, scores, training and simplification, as PNG, SVG or PDF.

    fansr-plot scores.zst -o recovery.png
    fansr-fit data/planets.csv -o planets.zst && fansr-plot planets.zst -o planets.svg

What is drawn follows from what the stream holds and what varies in it (--kind says it outright):

    time      recovery and length ratio against seconds      fits or scores of several budgets
    points    the same against the number of points          ... of several sizes
    noise     the same against the noise level               ... of several levels
    draws     the same against the number of draws           ... of several numbers
    laws      one dot a law, by difficulty                   any other fits or scores
    fit       data with the law, residuals, front            a fit that carries its data (fansr-fit -o)
    training  loss, learning rate, gradient norm             metrics of fansr-train
    flops     validation loss against training operations    ... of several runs, with their lower envelope
    simplify  distribution of length ratios (and times)      skeletons after fansr-simplify

What each picture looks like is one file's: plot_style.py; plot_scores.py, plot_training.py and plot_fit.py draw.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from fansr.cli import command
from fansr.errors import DataError, NoAnswer
from fansr.evaluation.fitted import Fitted
from fansr.evaluation.plot_fit import draw_fit as draw_fit, fit_figure
from fansr.evaluation.plot_scores import EVERYTHING, RECOVERY, draw_against, draw_laws
from fansr.evaluation.plot_style import save
from fansr.evaluation.plot_training import draw_flops, draw_simplify, draw_training
from fansr.evaluation.score import score_record
from fansr.streams import open_reader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("time", "points", "noise", "draws", "laws", "fit", "training", "flops", "simplify")


def kind_of(holds: str, records: list[dict]) -> str:
    """What to draw, from what the stream holds and what varies in it."""
    if holds == "metric":
        return "training"
    if holds == "skeleton":
        return "simplify"
    if holds == "fit" and len(records) == 1 and "X" in records[0]:
        return "fit"
    for kind, field in (("points", "points"), ("noise", "noise"), ("draws", "samples"), ("time", "budget")):
        if len({record[field] for record in records if record.get(field) is not None}) > 1:
            return kind
    return "laws"


def draw(kind: str, holds: str, series: dict[str, list[dict]], published: bool, everything: bool = False) -> Figure:
    """The figure of one kind; DataError where the records cannot be drawn so."""
    records = [{**record, "label": record.get("label", name)} for name, some in series.items() for record in some]
    wanted = {"training": ("metric",), "flops": ("metric",), "simplify": ("skeleton",), "fit": ("fit",)}.get(
        kind, ("fit", "score")
    )
    if holds not in wanted:
        raise DataError(f"--kind {kind} draws {' or '.join(wanted)} records, the input holds {holds} records")
    if kind == "training":
        return draw_training(records)
    if kind == "flops":
        return draw_flops(series)
    if kind == "simplify":
        return draw_simplify(series)
    if kind == "fit":
        fit = next((record for record in records if "X" in record), None)
        if fit is None:
            raise DataError("--kind fit needs a fit that carries its data: fansr-fit data.csv -o fit.zst")
        return fit_figure(Fitted.from_record(fit))
    scores = [record if holds == "score" else {**score_record(record), "label": record["label"]} for record in records]
    if kind == "laws":
        return draw_laws(scores)
    field, label = {
        "time": ("budget", "seconds a law, mean"),
        "points": ("points", "points to fit"),
        "noise": ("noise", "noise, standard deviations of y"),
        "draws": ("samples", "draws a law"),
    }[kind]
    return draw_against(scores, field, label, published, EVERYTHING if everything else RECOVERY)


@command.command(example="fansr-fit data/planets.csv -o planets.zst && fansr-plot planets.zst -o planets.png")
@click.argument("inputs", nargs=-1, metavar="[STREAM ...]")
@click.option("-o", "--output", required=True, metavar="PICTURE", help="Where to write: .png, .svg or .pdf.")
@click.option("--kind", type=click.Choice(KINDS), help="What to draw.  [default: by what the stream holds]")
@click.option("--label", multiple=True, help="Name of each input's series, in order.  [default: the record's method]")
@command.where_option()
@click.option("--published", is_flag=True, help="With --kind time: lines at other authors' published recovery rates.")
@click.option(
    "--all", "everything", is_flag=True, help="With --kind time, points, noise, draws: every metric of appendix L."
)
@command.max_record_option()
@command.quiet_option()
@command.config_option()
def plot(inputs, output, kind, label, where, published, everything, quiet, config):
    """Draw fits, scores, training metrics or simplified skeletons."""
    if label and len(label) != len(inputs):
        raise click.UsageError(f"{len(label)} --label for {len(inputs)} inputs; give one for each")
    series: dict[str, list[dict]] = {}
    holds = None
    for k, name in enumerate(inputs or ["-"]):
        with open_reader(name, holds=holds or ("fit", "score", "metric", "skeleton")) as reader:
            holds = reader.header["holds"]
            some = [record for record in reader if where is None or where(record)]
            for record in some if label else ():
                record["label"] = label[k]
            series[label[k] if label else os.path.basename(name)] = some
    records = [record for some in series.values() for record in some]
    if not records:
        raise NoAnswer("no records to draw")
    if not label and holds in ("fit", "score"):  # series by method, not by file
        for record in records:
            record["label"] = record.get("method") or "fansr"
    save(draw(kind or kind_of(holds, records), holds, series, published, everything), output)
    command.remark(f"{output}: {len(records)} records", quiet)


main = plot
