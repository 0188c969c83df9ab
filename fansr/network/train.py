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

import click

from fansr.cli import command, kernels
from fansr.corpus import prior
from fansr.errors import DataError
from fansr.network.configuration import (
    DTYPES,
    LAYOUTS,
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
    try:
        model = ModelConfig(**sections.get("model", {}))
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
        prior=prior.load(values["prior"]),
    )
    if settings.min_points > settings.max_points:
        raise DataError(f"min-points {settings.min_points} is above max-points {settings.max_points}")
    names = {f.name for f in dataclasses.fields(Options)} - {"model", "settings"}
    return Options(model=model, settings=settings, **{k: v for k, v in values.items() if k in names})


_P = click.IntRange(1)


@command.command(
    example="fansr-train train.zst --config configs/tiny.toml --minutes 5 --out runs/tiny",
    config_sections=("model",),
    groups={
        "The run": "--output --steps --minutes --resume --start-with --seed --dry-run --json",
        "Data": "--in-order --pool --prior --simplify --decontam --min-points --max-points --scale-columns --hold --val --max-record",
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
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in --out.")
@click.option(
    "--schedule",
    type=click.Choice(SCHEDULES),
    default="wsd",
    show_default=True,
    help="plateau: never decay. decay: with --resume, only decay, over --steps or --minutes more.",
)
@click.option(
    "--optimizer",
    type=click.Choice(OPTIMIZERS),
    default="adamw",
    show_default=True,
    help="adamw: the paper's. muon: orthogonal steps for the inner matrices.",
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
@click.option("--val", type=click.Path(), default=None, help="Skeleton stream to validate on, instead of --hold.")
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
    if dry_run:
        return report_size(options, as_json)
    if (options.steps is None) == (options.minutes is None):
        if options.steps is None:
            raise click.UsageError("say how long: --steps N or --minutes T")
        options.steps = None if _given("minutes") else options.steps
        options.minutes = None if options.steps is not None else options.minutes
    if options.schedule == "decay" and not values["resume"]:
        raise click.UsageError("--schedule decay goes on from a plateau: add --resume and the run's --out")
    if options.in_order and (not inputs or "-" in inputs):
        raise click.UsageError("--in-order reads files: name them")
    if options.layout == "sharded" and options.optimizer == "muon":
        raise click.UsageError("--layout sharded cuts matrices in parts, and Muon needs them whole: --optimizer adamw")
    require_torch("training")
    kernels.ensure("drawing", quiet=values["quiet"])
    from fansr.network import training_loop

    if not training_loop.train(inputs, options, values, as_json):
        raise KeyboardInterrupt


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
