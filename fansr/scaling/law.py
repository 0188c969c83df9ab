"""fansr-law: the laws of many runs: loss or success against compute, with bands, and what each law says far out.

    fansr-sweep collect runs/cpu | fansr-law --x flops --y loss --by size --frontier --plot scaling.png
    fansr-law runs.zst --y solved --form unsolved,power,logistic --predict 0.8
    fansr-law published --y solved --predict 0.8
    fansr-law scores.zst --x seconds --y vnrr --by method --free --upto 3600

Reads run records (fansr-sweep collect), score records (the mean of each method and budget) and metric records (the
validation losses of a training).  Every form that the points do not tell apart is printed with its own extrapolation:
which of them is right is not in the data.  points.py reads, findings.py fits, law_text.py tells.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import click

from fansr.cli import command
from fansr.errors import DataError, NoAnswer
from fansr.scaling.law_text import plain, told
from fansr.scaling.points import read_points, wants_high
from fansr.streams import open_reader, open_writer

FORMS = ("power", "shifted", "unsolved", "logistic", "chinchilla")
STUDY = (
    "loss",
    "solved",
    "r2",
    "isoflop",
    "draws",
    "held",
    "spread",
    "grid",
    "constants",
    "encoder",
    "notation",
    "others",
)


def _some_of(known: tuple[str, ...], what: str) -> Callable:
    """A callback that reads a list of known names."""

    def read(context, param, value: str | None) -> tuple[str, ...] | None:
        if value is None:
            return None
        names = tuple(name.strip() for name in value.split(",") if name.strip())
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise click.BadParameter(f"{', '.join(unknown) or '(empty)'}: known {what} are {', '.join(known)}")
        return names

    return read


def _target(context, param, value: str | None) -> float | None:
    if value is None:
        return None
    text = value.rpartition("=")[2]
    try:
        number = float(text)
        if not math.isfinite(number):
            raise ValueError
    except ValueError:
        raise click.BadParameter(f"{value!r}: wanted a value of y, such as 0.8 or solved=0.8") from None
    return number


@command.command(
    example="fansr-sweep collect runs/cpu | fansr-law --y loss --by size --frontier --isoflop",
    groups={
        "Points": "--x --y --by --pooled --where --better",
        "Laws": "--form --frontier --isoflop --free --gamma --time",
        "Bands": "--bootstrap --cluster --seed",
        "Answer": "--upto --predict --plot --study --panels --json --output --quiet",
    },
)
@click.argument("inputs", nargs=-1, metavar="[RECORDS]...")
@click.option("--x", "x", default="flops", show_default=True, metavar="FIELD", help="Field along which the law runs.")
@click.option("--y", "y", default="loss", show_default=True, metavar="FIELD", help="Field that it gives.")
@click.option(
    "--by", default=None, metavar="FIELD", help="Series: one law for each; with --frontier its colours alone."
)
@click.option("--pooled", is_flag=True, help="With --by: one law over all series.")
@click.option("--form", "forms", default=None, callback=_some_of(FORMS, "forms"), metavar="LIST",
              help=f"Of {', '.join(FORMS)}.  [default: those that y allows, but chinchilla]")  # fmt: skip
@click.option("--free", is_flag=True, help="Let fansr-fit's search find laws too, and extrapolate its whole front.")
@click.option("--gamma", type=click.FloatRange(0), default=0.05, show_default=True, help="--free: price of a token.")
@click.option("--time", type=click.FloatRange(0), default=None, metavar="SECONDS", help="--free: of the search.  [default: by counts]")  # fmt: skip
@click.option("--frontier", is_flag=True, help="Fit what no run with as little x beats.")
@click.option("--isoflop", is_flag=True, help="The best ratio of tokens to parameters, by compute.")
@click.option(
    "--better", type=click.Choice(("low", "high")), default=None, help="Which y is good.  [default: by its name]"
)
@click.option(
    "--upto",
    type=click.FloatRange(0, min_open=True),
    default=None,
    metavar="X",
    help="Say what the laws give at this x.",
)
@click.option("--predict", default=None, callback=_target, metavar="Y", help="Say where the laws reach this y.")
@click.option(
    "--cluster",
    default="size,seed",
    show_default=True,
    metavar="LIST",
    help="Runs alike in these fields are resampled together.",
)
@click.option(
    "--bootstrap", type=click.IntRange(20, 100_000), default=1000, show_default=True, help="Resamples for the bands."
)
@click.option("--plot", "picture", default=None, metavar="FILE", help="Draw points, laws and bands (png, svg, pdf).")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option(
    "-o",
    "--output",
    default=None,
    metavar="FILE",
    help="Write the law records here as well; - is stdout, instead of text.",
)
@command.where_option()
@click.option(
    "--study",
    default=None,
    metavar="FILE",
    help="Instead: the pictures of a scaling study, of run records, as one; with {} in the name a file for each.",
)
@click.option("--panels", default=None, callback=_some_of(STUDY, "panels"), metavar="LIST",
              help=f"--study: only these of {', '.join(STUDY)}.")  # fmt: skip
@command.seed_option()
@command.max_record_option()
@command.quiet_option()
@command.config_option()
def law(
    inputs,
    x,
    y,
    by,
    forms,
    picture,
    as_json,
    output,
    better,
    cluster,
    where,
    study,
    panels,
    seed,
    quiet,
    config,
    **others,
):
    """Fit the laws of runs, scores or training curves, and say what they predict and how surely.

    `published` in the place of a file: the five points of arXiv 2510.26064.
    """
    from fansr.scaling.findings import studied

    high = wants_high(y) if better is None else better == "high"
    wanted = {"x": x, "y": y, "by": by, "high": high, "seed": seed, **others}
    if forms is None:
        forms = ("unsolved", "power", "logistic") if wants_high(y) else ("power", "shifted")
    if wants_high(y) and others["predict"] is not None and not 0 < others["predict"] < 1:
        raise click.UsageError(f"--predict {others['predict']:g}: {y} is a share; wanted a value between 0 and 1")
    if study:
        return draw_study(list(inputs), where, study, panels or STUDY, quiet)
    if panels:
        raise click.UsageError("--panels goes with --study FILE")
    clusters = tuple(c for c in cluster.split(",") if c)
    points, left_out, history = read_points(list(inputs), x, y, by, clusters, where)
    if len(points["x"]) < 4 or len(set(points["x"])) < 2:
        raise DataError(
            f"{len(points['x'])} points at {len(set(points['x']))} value{'s' * (len(set(points['x'])) != 1)} of {x}; "
            "a law needs at least 4 at several"
        )
    result = studied(points, forms, wanted)
    if not result["laws"] and not result["chinchilla"] and not result["isoflop"]:
        raise NoAnswer("no law: " + "; ".join(f"{form}: {why}" for form, why in result["refused"].items()))
    if picture:
        from fansr.evaluation import plot_style
        from fansr.scaling.law_picture import draw_laws

        plot_style.save(draw_laws(points, result, wanted), picture)
        command.remark(f"{picture}: {len(points['x'])} points", quiet)
    if output:
        entry = command.history_entry(
            seed=seed, config={key: value for key, value in wanted.items() if value is not None}
        )
        with open_writer(output, holds="law", history=[*history, entry]) as writer:
            for record in result["laws"]:
                writer.write(record)
    if output != "-":
        click.echo(
            json.dumps(plain({**result, "left_out": dict(left_out)})) if as_json else told(result, left_out, wanted)
        )


def draw_study(
    inputs: list[str], where: Callable[[dict], bool] | None, picture: str, panels: tuple[str, ...], quiet: bool
) -> None:
    """fansr-law --study: the panels of study_picture.py, of finished runs, and of scores by the name of their stream."""
    from fansr.evaluation import plot_style
    from fansr.scaling.study_picture import draw, figures

    runs: list[dict] = []
    scores: dict[str, list[dict]] = {}
    for name in inputs or ["-"]:
        with open_reader(name, holds=("run", "score")) as reader:
            some = [record for record in reader if where is None or where(record)]
            if reader.header["holds"] == "score":
                scores[Path(name).name.partition(".")[0]] = some
            else:
                runs += [run for run in some if run.get("status") == "finished"]
    if not runs and not scores:
        raise NoAnswer("no finished runs to draw")
    if "{}" not in picture:
        plot_style.save(draw(runs, panels, scores), picture)
        command.remark(f"{picture}: {len(runs)} runs", quiet)
        return
    drawn = 0
    for called, names in figures(panels).items():
        one = picture.replace("{}", called)
        try:
            plot_style.save(draw(runs, names, scores), one)
        except NoAnswer as nothing:
            command.remark(f"{one}: {nothing}", quiet)
            continue
        drawn += 1
        command.remark(one, quiet)
    if not drawn:
        raise NoAnswer(f"these runs have nothing to show of {', '.join(panels)}")


def main():
    """Entry point of fansr-law."""
    law()


if __name__ == "__main__":
    main()
