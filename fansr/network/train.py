"""fansr-train: train the network on a stream of skeletons, a pipe, or live ones.

    fansr-train train.zst --config configs/tiny.toml --minutes 60 --out runs/tiny
    fansr-gen -n 100000000 --config prior-wide | fansr-simplify | fansr-decontam \
        | fansr-train - --config configs/3m.toml --out runs/3m
    torchrun --nproc-per-node 8 -m fansr.network.train train.zst --config configs/20m.toml --out runs/20m
    fansr-train --config configs/1b.toml --dry-run          its size, and the memory it takes on 1, 2, 4, ... processes

Data come in by skeleton_sources.py, a run and its steps are in training_run.py, the loop with metrics and checkpoints in
training_loop.py.  The run folder holds checkpoints (see checkpoints.py), metric streams and, at the end, model.safetensors.
Here are the options alone: torch, which takes seconds to load, is loaded when they are right and training begins.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib

import click

from fansr.cli import command, kernels
from fansr.corpus import prior
from fansr.errors import DataError
from fansr.expressions import VOCABULARY, notations
from fansr.network.configuration import (
    CLOCKS,
    DTYPES,
    LAYOUTS,
    NOTATIONS,
    OPTIMIZERS,
    POINTS_PER,
    SCHEDULES,
    ModelConfig,
    Options,
    Settings,
    require_torch,
)
from fansr.network.weight_shapes import count, memory


def build_options(values: dict, sections: dict) -> Options:
    """Options from the command's values and the [model] section of its config."""
    fields = {f.name for f in dataclasses.fields(ModelConfig)}
    unknown = set(sections.get("model", {})) - fields
    if unknown:
        raise DataError(f"[model]: unknown key {sorted(unknown)[0]}; known are {', '.join(sorted(fields))}")
    literal = values["constants"] == "literal"
    words = len(notations.NOTATIONS[values["notation"]].vocabulary) if literal else len(VOCABULARY)
    try:
        model = ModelConfig(**{"vocabulary": words, **sections.get("model", {})})
    except (TypeError, ValueError) as error:
        raise DataError(f"[model]: {error}") from None
    settings = Settings(
        batch=values["batch"],
        min_points=values["min_points"],
        max_points=values["max_points"],
        points_per=values["points_per"],
        columns=model.columns,
        max_length=model.max_length,
        scale_columns=values["scale_columns"],
        outliers=values["outliers"],
        prior=prior.load(values["prior"]),
        notation=values["notation"] if literal else "skeleton",
    )
    if model.vocabulary != words:
        raise DataError(f"[model]: vocabulary is {model.vocabulary}; the targets have {words} tokens: leave it out")
    if literal:
        _check_literal(settings)
    if settings.min_points > settings.max_points:
        raise DataError(f"min-points {settings.min_points} is above max-points {settings.max_points}")
    names = {f.name for f in dataclasses.fields(Options)} - {"model", "settings"}
    return Options(model=model, settings=settings, **{k: v for k, v in values.items() if k in names})


def _check_literal(settings: Settings):
    """DataError for a prior whose laws have no spelling in digits."""
    if settings.scale_columns:
        raise DataError(
            "--constants literal: a scaled column would need a factor that is no whole number: --no-scale-columns"
        )
    odd = [draw.kind for draw in settings.prior.constants if draw.kind != "integer"]
    if settings.prior.inserted > 0 and odd:
        raise DataError(
            f"--constants literal: the prior draws {odd[0]} constants; wanted [[constants]] of kind integer alone"
        )
    if any(max(abs(draw.low), abs(draw.high)) >= 1e9 for draw in settings.prior.constants if draw.kind == "integer"):
        raise DataError("--constants literal: the prior draws whole numbers of more than 9 digits")


def _amount(context, param, text: str | float | None) -> str | None:
    """--tokens: a number or, with an x behind it, a number for each parameter."""
    if text is None:
        return None
    number = str(text).strip().removesuffix("x")
    try:
        good = 0 < float(number) < 1e18
    except ValueError:
        good = False
    if not good:
        raise click.BadParameter(f"{str(text)[:40]!r}: wanted a positive number such as 2e8, or 20x for 20 a parameter")
    return str(text).strip()


def _amounts(context, param, text: str | None) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in str(text or "").split(",") if part.strip())
    for part in parts:
        _amount(context, param, part)
    return parts


def _mixed(context, param, texts: tuple[str, ...]) -> list[tuple[str, float]]:
    """--mix: (file, share) of each; shares are positive and leave something to the other skeletons."""
    found = []
    for text in texts:
        path, _, number = text.rpartition(":")
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        if not path or not 0 < share < 1:
            raise click.BadParameter(f"{text[:80]!r}: wanted a file and a share between 0 and 1, such as hard.zst:0.33")
        found.append((path, share))
    if sum(share for _, share in found) >= 1:
        raise click.BadParameter("the shares leave nothing to the other skeletons; wanted less than 1 in all")
    return found


def in_tokens(text: str, params: int) -> float:
    """What --tokens says, as a number of tokens, for a network of so many parameters."""
    return float(text[:-1]) * params if text.endswith("x") else float(text)


_P = click.IntRange(1)


@command.command(
    example="fansr-train train.zst --config configs/tiny.toml --minutes 5 --out runs/tiny",
    config_sections=("model",),
    groups={
        "The run": "--output --steps --minutes --clock --resume --start-with --seed --dry-run --json",
        "Data": "--mix --in-order --pool --prior --simplify --decontam --min-points --max-points --scale-columns --outliers --hold --val --max-record",
        "Optimizer": "--optimizer --lr --schedule --warmup --decay --weight-decay --beta2 --clip --batch --accumulate",
        "Machine": "--device --dtype --compile --layout --threads --jobs",
        "Said on the way": "--log-every --eval-seconds --save-seconds --quiet",
    },
)
@click.argument("inputs", nargs=-1, type=click.Path())
@click.option(
    "-o",
    "--output",
    "--out",
    "out",
    type=click.Path(file_okay=False),
    default="runs/model",
    show_default=True,
    help="The run's folder.",
)
@click.option("--steps", type=_P, default=None, help="Optimizer steps of the whole run.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=None, help="Instead of --steps.")
@click.option(
    "--clock",
    type=click.Choice(CLOCKS),
    default="wall",
    show_default=True,
    help="What tells the seconds of a run. cpu: the processor's, of this process, on a machine with other work.",
)
@click.option(
    "--tokens",
    default=None,
    callback=_amount,
    metavar="N|Rx",
    help="Instead of --steps: tokens predicted, or so many for each parameter (20x).",
)
@click.option(
    "--branch",
    "branches",
    default=None,
    callback=_amounts,
    metavar="LIST",
    help="Instead of --steps: one plateau, and for each of these tokens a decay over its last fifth, in OUT/branch-*.",
)
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in --out.")
@click.option(
    "--schedule",
    type=click.Choice(SCHEDULES),
    default="wsd",
    show_default=True,
    help="wsd: warm up, stay, decay. cosine: warm up, then half a cosine. plateau: never decay. decay: with --resume, only decay, over --steps or --minutes more.",
)
@click.option(
    "--optimizer",
    type=click.Choice(OPTIMIZERS),
    default="adamw",
    show_default=True,
    help="adamw: the paper's. muon: orthogonal steps for the inner matrices. adamcpr: matrices bounded instead of decayed.",
)
@click.option("--lr", type=float, default=1e-4, show_default=True, help="Largest learning rate.")
@click.option(
    "--warmup", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="Share of the run that warms up."
)
@click.option(
    "--decay", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of the run that decays."
)
@click.option("--weight-decay", type=float, default=0.01, show_default=True, help="AdamW's weight decay.")
@click.option("--beta2", type=float, default=0.95, show_default=True, help="AdamW's second moment decay.")
@click.option("--clip", type=float, default=2.0, show_default=True, help="Largest gradient norm.")
@click.option("--batch", type=_P, default=128, show_default=True, help="Laws in a batch.")
@click.option(
    "--accumulate",
    type=_P,
    default=None,
    help="Batches in a step, over all processes.  [default: one a process; with --resume as the run began]",
)
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default="replicated",
    show_default=True,
    help="Several processes. replicated: each holds the whole state (DDP). sharded: each its part of it (FSDP).",
)
@click.option("--min-points", type=_P, default=1, show_default=True, help="Fewest points of a law.")
@click.option("--max-points", type=_P, default=1024, show_default=True, help="Most points of a law.")
@click.option(
    "--points-per",
    type=click.Choice(POINTS_PER),
    default="batch",
    show_default=True,
    help="What draws a number of points of its own. law: the paper's, padded and masked. batch: no padding, twice as fast.",
)
@click.option(
    "--scale-columns/--no-scale-columns",
    default=True,
    show_default=True,
    help="Show columns with an rms outside [0.01, 100] over a power of two.",
)
@click.option(
    "--outliers",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    help="Chance that a table has outliers: up to a tenth of its points off by 1 to 10 times the target's spread.",
)
@click.option(
    "--constants",
    type=click.Choice(("placeholder", "literal")),
    default="placeholder",
    show_default=True,
    help="In the targets. placeholder: <constant>, fitted later. literal: whole numbers, digit by digit.",
)
@click.option(
    "--notation",
    type=click.Choice(NOTATIONS[1:]),
    default="prefix",
    show_default=True,
    help="Of the targets, with --constants literal.",
)
@click.option("--prior", default=None, metavar="FILE", help="Prior of constants and points (live: of skeletons too).")
@click.option("--simplify/--no-simplify", default=True, show_default=True, help="Live: simplify the skeletons.")
@click.option(
    "--relax/--no-relax",
    default=True,
    show_default=True,
    help="Live: make every factor and divisor 2..5 a free constant, which the paper does with candidates alone.",
)
@click.option(
    "--decontam",
    multiple=True,
    metavar="FILE",
    help="Live: held-out laws.  [default: every catalogue that comes with fansr]",
)
@click.option(
    "--mix",
    multiple=True,
    callback=_mixed,
    metavar="FILE:SHARE",
    help="Further skeletons, which are this share of what is learned from, such as hard.zst:0.33.",
)
@click.option(
    "--in-order",
    is_flag=True,
    help="Each skeleton of the files once, file by file, then again: for a corpus larger than --pool.",
)
@click.option("--pool", type=_P, default=4_000_000, show_default=True, help="Most skeletons kept in memory.")
@click.option("--start-with", type=_P, default=20_000, show_default=True, help="Pipe, live: skeletons to wait for.")
@click.option(
    "--hold",
    type=click.FloatRange(0, 0.5),
    default=0.01,
    show_default=True,
    help="Share of the distinct skeletons kept for validation.",
)
@click.option(
    "--val",
    type=click.Path(),
    default=None,
    help="Stream to validate on, of skeletons or of problems, instead of --hold.",
)
@click.option("--log-every", type=_P, default=20, show_default=True, help="Steps between metric records.")
@click.option("--eval-seconds", type=float, default=120.0, show_default=True, help="Between validations.")
@click.option("--save-seconds", type=float, default=300.0, show_default=True, help="Between checkpoints.")
@click.option("--device", "device_name", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", *DTYPES]),
    default="auto",
    show_default=True,
    help="Compute dtype; auto says what it took and why.",
)
@click.option("--compile/--no-compile", "compile_", default=None, help="torch.compile.  [default: on a GPU]")
@click.option("--threads", type=_P, default=None, help="CPU threads of torch.")
@click.option("--dry-run", is_flag=True, help="Count parameters and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@command.jobs_option()
@command.max_record_option()
@command.seed_option()
@command.config_option()
@command.quiet_option()
def train(inputs, config, dry_run, as_json, **values):
    """Train the network on skeleton streams, a pipe (-), or live ones (no input).

    Constants and points are drawn afresh each time a skeleton is seen.
    """
    options = build_options(values, click.get_current_context().meta.get("config_sections", {}))
    options.size = pathlib.Path(config).stem if config else ""
    if dry_run:
        return report_size(options, as_json)
    _say_how_long(options, values)
    if options.schedule == "decay" and not values["resume"]:
        raise click.UsageError("--schedule decay goes on from a plateau: add --resume and the run's --out")
    if options.in_order and (not inputs or "-" in inputs):
        raise click.UsageError("--in-order reads files: name them")
    if options.in_order and values["mix"]:
        raise click.UsageError("--in-order takes each skeleton once, and --mix a share again and again: leave one out")
    if options.in_order and options.branches:
        raise click.UsageError(
            "--branch goes back to batches it has seen, and --in-order reads on: leave one of them out"
        )
    if options.layout == "sharded" and options.optimizer != "adamw":
        raise click.UsageError(
            f"--layout sharded cuts matrices in parts, and {options.optimizer} needs them whole: --optimizer adamw"
        )
    require_torch("training")
    kernels.ensure("drawing", quiet=values["quiet"])
    from fansr.network import training_loop

    if not training_loop.train(inputs, options, values, as_json):
        raise KeyboardInterrupt


LENGTHS = ("steps", "minutes", "tokens", "branches")


def _say_how_long(options: Options, values: dict):
    """Leave one of steps, minutes, tokens and branches in the options: of several the one on the command line."""
    said = [name for name in LENGTHS if values[name]]
    if len(said) > 1:
        said = [name for name in said if _given(name)] or said
    if len(said) != 1:
        raise click.UsageError("say how long, once: --steps N, --minutes T, --tokens N or --branch LIST")
    params = count(options.model)["params_total"]
    for name in LENGTHS:
        kept = values[name] if name in said else None
        if kept and name == "tokens":
            kept = in_tokens(kept, params)
        if name == "branches":
            kept = tuple(sorted(in_tokens(part, params) for part in kept or ()))
        setattr(options, name, kept)
    if options.branches:
        if options.schedule not in ("wsd", "plateau"):
            raise click.UsageError(f"--branch is a plateau with decays: --schedule {options.schedule} is none")
        options.schedule = "plateau"


def _given(name: str) -> bool:
    """True when an option stands on the command line, not only in the config."""
    source = click.get_current_context().get_parameter_source(name)
    return source == click.core.ParameterSource.COMMANDLINE


def report_size(options: Options, as_json: bool):
    """Parameters and the memory of their training, without allocating a weight."""
    sizes = count(options.model, (options.settings.min_points + options.settings.max_points) // 2)
    sizes["memory"] = memory(options.model, options.optimizer)
    if as_json:
        click.echo(json.dumps(sizes))
        return
    for name in ("total", "encoder", "decoder"):
        click.echo(f"{name:8} {sizes['params_' + name]:>13,} parameters")
    click.echo(
        f"{'training':8} {sizes['flops_per_sample']:13.3g} operations a sample at {sizes['points']} points, "
        f"{sizes['tokens']} tokens"
    )
    held = sizes["memory"]
    parts = ", ".join(f"{name} {held[name] / 1e9:.2f}" for name in ("weights", "gradients", "moments"))
    click.echo(f"{'memory':8} {held['replicated'] / 1e9:13.2f} GB a process, beside activations ({parts})")
    sharded = ", ".join(f"{n}: {size / 1e9:.2f}" for n, size in held["sharded"].items())
    click.echo(f"{'':8} {'':13} GB with --layout sharded, by processes: {sharded}")


def main():
    """Entry point of fansr-train."""
    train()


if __name__ == "__main__":
    main()
