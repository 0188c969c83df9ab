"""fansr-distill: a part of a torch network as laws, from a shell.

    fansr-distill record net.py --at body -o acts.zst        # what goes in and comes out: a problem for every unit
    fansr-fit acts.zst --select drop --time 10 -o laws.zst
    fansr-distill judge net.py laws.zst                      # what the network loses
    fansr-distill switch net.py laws.zst -o symbolic.safetensors

The one interface underneath is distill.Distiller; distill_steps.py has what each step does, and torch is
loaded when one begins.
"""

from __future__ import annotations

import re

import click

from fansr.cli import command
from fansr.search import selection

STEPS = {  # step: (words after it, options that are its own)
    "record": (
        "SCRIPT",
        "at argument result axes call rows held strata units names inputs columns salient pca_in pca_out linear rotate basis "
        "fresh resume",
    ),
    "judge": ("SCRIPT LAWS", "force basis rows held guard repeats rank as_json"),
    "switch": ("SCRIPT LAWS", "force basis guard units level"),
    "prune": ("SCRIPT", "at into norm offset keep steps schedule by rate"),
    "local": ("SCRIPT", "at argument result axes call rows names inputs columns row units seconds select as_json"),
    "export": ("LAWS", "form basis"),
    "speed": ("SCRIPT LAWS", "force basis guard repeats as_json"),
}
SHARED = ("step", "words", "output", "device", "seed", "quiet", "config")
GROUPS = {
    "Where": "--at --argument --result --axes --call --device",
    "Rows": "--rows --held --strata --fresh --names --input --columns --salient --seed",
    "Units and bases": "--units --pca-in --pca-out --linear --rotate --basis",
    "Laws": "--force --guard --level --time --select --as",
    "Pruning": "--into --norm --offset --keep --steps --schedule --by --rate",
    "Reports": "--row --repeats --rank --json",
    "Output": "--output --resume --quiet",
}


def _numbers(context, param, text) -> list[int] | None:
    """0,3-7 as whole numbers."""
    if text is None:
        return None
    found: list[int] = []
    for part in str(text).split(","):
        match = re.fullmatch(r"\s*(\d{1,6})(?:-(\d{1,6}))?\s*", part)
        if not match or (match[2] and int(match[2]) < int(match[1])):
            raise click.BadParameter(f"{text!r}: wanted numbers from 0 and ranges, such as 0,3-7", param_hint="--units")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return found


def _made(context, param, texts) -> dict[str, str]:
    """NAME=FORMULA, several times."""
    found = {}
    for text in texts:
        name, mark, formula = text.partition("=")
        if not mark or not name.strip() or not formula.strip():
            raise click.BadParameter(f"{text!r}: wanted NAME=FORMULA, such as 'dx=x1-x7'", param_hint="--input")
        found[name.strip()] = formula.strip()
    return found


def _names(context, param, text) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _amount(context, param, value) -> int | float | None:
    """A number of components, or a share of variance below 1."""
    if value is None:
        return None
    if value < 1:
        return float(value)
    if value != int(value):
        raise click.BadParameter(f"{value:g}: wanted a whole number, or a share below 1", param_hint=param.opts[0])
    return int(value)


def _linear(context, param, text) -> str | int:
    if text in ("full", "none"):
        return text
    if re.fullmatch(r"[1-9]\d{0,5}", text):
        return int(text)
    raise click.BadParameter(f"{text!r}: wanted full, none or a rank", param_hint="--linear")


@command.command(
    example="fansr-distill record net.py --at body | fansr-fit --select drop --time 10 -o laws.zst",
    name="distill",
    groups=GROUPS,
)
@click.argument("step", type=click.Choice(list(STEPS)))
@click.argument("words", nargs=-1, metavar="[SCRIPT] [LAWS]")
@click.option("--at", metavar="PATH", default=None, help="The part of the network: its dotted path.")
@click.option(
    "--argument",
    metavar="NAME",
    default=None,
    help="Argument of the block whose values are taken, by name or number.  [default: the first tensor]",
)
@click.option(
    "--result",
    metavar="KEY",
    default=None,
    help="Part of what the block gives, by number or key.  [default: the first tensor]",
)
@click.option(
    "--axes",
    metavar="KIND",
    default="last",
    show_default=True,
    help="Where features are: last, channels (B, C, ...), patch:3 (neighbourhoods).",
)
@click.option(
    "--call", type=click.IntRange(0), default=None, help="Of a block called several times in a forward, only that call."
)
@click.option("--rows", type=click.IntRange(1), default=4000, show_default=True, help="Rows kept of all that pass.")
@click.option(
    "--held",
    type=click.FloatRange(0, 0.99),
    default=0.5,
    show_default=True,
    help="Share of the batches that is held out.",
)
@click.option(
    "--strata",
    type=click.IntRange(1, 20),
    default=1,
    show_default=True,
    help="As many rows far from the outputs' middle as near it, in so many parts: for heavy tails.",
)
@click.option("--fresh", is_flag=True, help="Run the network though the same rows were recorded before.")
@click.option(
    "--units", metavar="LIST", default=None, callback=_numbers, help="Outputs, such as 0,3-7.  [default: all]"
)
@click.option(
    "--names", metavar="LIST", default=None, callback=_names, help="Names of the values of a row.  [default: x1,x2,...]"
)
@click.option(
    "--input",
    "inputs",
    metavar="NAME=FORMULA",
    multiple=True,
    callback=_made,
    help="A further column, such as dx=x1-x7.",
)
@click.option(
    "--columns", metavar="LIST", default=None, callback=_names, help="Columns that laws may use.  [default: all]"
)
@click.option(
    "--salient",
    type=click.IntRange(1),
    default=None,
    metavar="N",
    help="Of the columns only the N by which the outputs change most (the block's gradient).",
)
@click.option(
    "--pca-in",
    type=click.FloatRange(0, min_open=True),
    default=None,
    callback=_amount,
    help="Principal components of the inputs instead of them: how many, or a share of variance below 1.",
)
@click.option(
    "--pca-out",
    type=click.FloatRange(0, min_open=True),
    default=None,
    callback=_amount,
    help="The same of the outputs.",
)
@click.option(
    "--linear",
    metavar="full|RANK|none",
    default="none",
    show_default=True,
    callback=_linear,
    help="A linear map is taken off first.",
)
@click.option(
    "--basis",
    metavar="FILE",
    default=None,
    help="Where the bases are written or read (safetensors).  [default: beside the stream]",
)
@click.option(
    "--rotate", is_flag=True, help="Laws are for the independent components of few outputs, which may be mixtures."
)
@click.option("--force", is_flag=True, help="Take laws of a block with other weights.")
@click.option(
    "--guard",
    type=click.Choice(["clip", "block", "none"]),
    default="clip",
    show_default=True,
    help="What becomes of rows beyond the recorded ranges.",
)
@click.option(
    "--level",
    type=click.IntRange(-1000, 1000),
    default=None,
    help="The K-th law of every front instead of the chosen one.",
)
@click.option(
    "--time",
    "seconds",
    type=click.FloatRange(0.0),
    default=3.0,
    show_default=True,
    metavar="SECONDS",
    help="Seconds of search of a local law.",
)
@click.option(
    "--select",
    type=click.Choice(selection.SELECTORS),
    default="drop",
    show_default=True,
    help="How a local law is chosen.",
)
@click.option(
    "--as",
    "form",
    type=click.Choice(["python", "torch", "numpy", "latex", "sympy", "c"]),
    default="python",
    show_default=True,
    help="What is written of the laws.",
)
@click.option("--norm", metavar="PATH", default=None, help="A LayerNorm over the pruned units that those layers read.")
@click.option(
    "--by",
    type=click.Choice(["spread", "loss"]),
    default="spread",
    show_default=True,
    help="Which units stay: those that vary most, or those whose mean in their place costs most loss.",
)
@click.option("--into", metavar="PATHS", default=None, help="Layers that read the pruned one, with commas.")
@click.option(
    "--offset", type=click.IntRange(0), default=0, show_default=True, help="Where in their inputs its units begin."
)
@click.option("--keep", type=click.IntRange(1), default=None, help="Units that stay.")
@click.option(
    "--steps", type=click.IntRange(1), default=500, show_default=True, help="Steps of training while units are masked."
)
@click.option(
    "--schedule",
    type=click.Choice(["cosine", "exp", "linear"]),
    default="cosine",
    show_default=True,
    help="How the number of units falls.",
)
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=1e-3, show_default=True, help="Of Adam.")
@click.option("--row", type=click.IntRange(0), default=0, show_default=True, help="The recorded row that is explained.")
@click.option("--repeats", type=click.IntRange(1, 1000), default=5, show_default=True, help="Of each timing.")
@click.option("--rank", type=click.IntRange(1), default=None, help="Of the low-rank linear map.")
@click.option("--device", default=None, metavar="NAME", help="cpu, cuda, cuda:N.  [default: where the script puts it]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@command.output_option()
@command.resume_option()
@command.seed_option()
@command.quiet_option()
@command.config_option()
@click.pass_context
def distill(context, step, words, output, device, seed, quiet, **options):
    """Take a part of a torch network for laws: record, judge, switch, prune, local, export, speed.

    SCRIPT is a Python file of yours with model() and batches(split), and for judge, prune and speed loss(model, batch); it is run.
    LAWS are fits of what `record` wrote.
    """
    wanted, own = STEPS[step]
    if len(words) != len(wanted.split()):
        raise click.UsageError(f"{step} wants {wanted}, {len(words)} words came")
    for name in options:
        given = context.get_parameter_source(name) == click.core.ParameterSource.COMMANDLINE
        if given and name not in (*SHARED, *own.split()):
            flag = next(param.opts[0] for param in context.command.params if param.name == name)
            raise click.UsageError(f"{flag} does not go with {step}")
    if step in ("record", "prune", "local") and options["at"] is None:
        raise click.UsageError(f"{step} wants --at PATH, the part of the network")
    chosen = {**options, "output": output, "device": device, "seed": seed, "quiet": quiet}
    from fansr.distill_steps import RUN

    RUN[step](*words, **chosen)


main = distill
