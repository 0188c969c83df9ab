"""fansr-distill: a part of a torch network as laws, from a shell.

    fansr-distill record net.py --at body -o acts.zst        # what goes in and comes out: a problem for every unit
    fansr-fit acts.zst --select drop --time 10 -o laws.zst
    fansr-distill judge net.py laws.zst                      # what the network loses
    fansr-distill switch net.py laws.zst -o symbolic.safetensors

The one interface underneath is distill.Distiller; torch is loaded when a step begins.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

import click

from fansr.cli import command
from fansr.errors import DataError
from fansr.search import selection
from fansr.streams import files, open_writer

STEPS = {  # step: (words after it, options that are its own)
    "record": (
        "SCRIPT",
        "at argument result axes call rows held units names inputs columns pca_in pca_out linear rotate basis",
    ),
    "judge": ("SCRIPT LAWS", "force basis rows held guard repeats rank as_json"),
    "switch": ("SCRIPT LAWS", "force basis guard units level"),
    "prune": ("SCRIPT", "at into offset keep steps schedule rate"),
    "local": ("SCRIPT", "at argument result axes call rows names inputs columns row units seconds select as_json"),
    "export": ("LAWS", "form basis"),
    "speed": ("SCRIPT LAWS", "force basis guard repeats as_json"),
}
SHARED = ("step", "words", "output", "device", "seed", "quiet", "config")
GROUPS = {
    "Where": "--at --argument --result --axes --call --device",
    "Rows": "--rows --held --names --input --columns --seed",
    "Units and bases": "--units --pca-in --pca-out --linear --rotate --basis",
    "Laws": "--force --guard --level --time --select --as",
    "Pruning": "--into --offset --keep --steps --schedule --rate",
    "Reports": "--row --repeats --rank --json",
    "Output": "--output --quiet",
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
    type=click.Choice(["python", "numpy", "latex", "sympy", "c"]),
    default="python",
    show_default=True,
    help="What is written of the laws.",
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
    RUN[step](*words, **chosen)


def _script(path: str, options: dict) -> Any:
    from fansr.distillation import script

    return script.load(path, options["device"])


def _distiller(script: Any, options: dict) -> Any:
    from fansr.distill import Distiller

    try:
        return Distiller(
            script.model,
            options["at"],
            options["argument"],
            options["result"],
            options["axes"],
            options["call"],
            options["seed"],
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _recorded(script: Any, options: dict, **how: Any) -> Any:
    """A Distiller with rows recorded from the script's batches."""
    d = _distiller(script, options)
    told = {name: options[name] for name in ("rows", "names", "columns")}
    held = options["held"]
    d.record(
        script.of("record"),
        inputs=options["inputs"],
        held=held,
        run=script.run,
        device=options["device"],
        **told,
        **how,
    )
    _remarks(d.recorded, options["quiet"])
    return d


def _remarks(taken: Any, quiet: bool) -> None:
    if taken.not_finite:
        command.remark(
            f"{taken.not_finite} of {taken.seen} rows are left out: not all of their values are finite", quiet
        )
    if taken.by_rows:
        command.remark("no batch could be held out whole: rows of the same batches are held out instead", quiet)


def _record(path: str, **options: Any) -> None:
    from fansr.distillation import saving

    script = _script(path, options)
    output = options["output"]
    d = _recorded(
        script, options, **{name: options[name] for name in ("units", "pca_in", "pca_out", "linear", "rotate")}
    )
    arrays = d.arrays()
    basis = options["basis"] or (None if output == "-" else saving.basis_path(output))
    if arrays and basis is None:
        raise click.UsageError("bases are a file of their own: give --basis FILE, or -o FILE instead of a pipe")
    if arrays:
        saving.write_arrays(basis, arrays)
    settings = {name: options[name] for name in ("at", "rows", "held", "pca_in", "pca_out", "linear")}
    with open_writer(output, "problem", [command.history_entry(options["seed"], settings)]) as writer:
        for problem in d.problems():
            if arrays:
                problem.extra["basis_file"] = basis
            writer.write(problem.to_record())
    taken = d.recorded
    command.remark(
        f"{d.block.name}: {len(d.units)} units, {len(taken.X)} rows of {taken.seen}, {len(taken.X_held)} held out, "
        f"{len(d.offered)} columns", options["quiet"],
    )  # fmt: skip


def _laws(script: Any, path: str, options: dict) -> Any:
    """A Distiller with the laws of a file, for the script's model."""
    from fansr.distill import Distiller

    return Distiller.of_records(*_read(path, options), script.model, force=options["force"], where=path)


def _read(laws: str, options: dict) -> tuple[list[dict], dict]:
    """(fit records, arrays of their bases): those are where told, beside the laws, or where `record` wrote them."""
    from fansr.distillation import saving

    records = saving.read_records(laws)
    wanted = records[0].get("basis") or ""
    if not wanted:
        return records, {}
    beside = saving.basis_path(laws)
    named = records[0].get("basis_file")
    path = options["basis"] or (named if named and not os.path.exists(beside) else beside)
    return records, saving.read_arrays(path, wanted)


def _judge(path: str, laws: str, **options: Any) -> None:
    script = _script(path, options)
    loss = script.wanted_loss()
    d = _laws(script, laws, options)
    d.observe(script.of("record"), options["rows"], options["held"], script.run, options["device"])
    outcome = d.judge(loss, script.of("test"), options["repeats"], options["guard"], options["rank"])
    if options["as_json"]:
        files.write_text(options["output"], json.dumps(outcome) + "\n")
        return
    from fansr.distillation import judging

    files.write_text(options["output"], f"{judging.text(outcome)}\n{_of_units(d)}")


def _of_units(d: Any) -> str:
    """The laws of the units as lines."""
    lines = []
    for unit in d.units:
        law = d.laws.get(unit)
        lines.append(f"  unit {unit}: {law if law is not None else d.status.get(unit)}")
    return "\n".join(lines) + "\n"


def _switch(path: str, laws: str, **options: Any) -> None:
    if options["output"] == "-":
        raise click.UsageError("switch writes a safetensors file: give -o FILE.safetensors")
    script = _script(path, options)
    d = _laws(script, laws, options)
    how = {"guard": options["guard"], "units": options["units"], "level": options["level"]}
    outcome = d.switch(**how)
    d.restore()
    d.save_switched(options["output"], **how)
    r2 = min(outcome["r2"].values())
    neural = f", units {', '.join(map(str, outcome['neural'][:8]))} stay neural" if outcome["neural"] else ""
    command.remark(
        f"{d.block.name}: {len(outcome['r2'])} units are laws (R2 {r2:.6g} at worst){neural}", options["quiet"]
    )


def _prune(path: str, **options: Any) -> None:
    import torch
    from safetensors.torch import save

    from fansr.distill import Pruner

    if options["into"] is None or options["keep"] is None:
        raise click.UsageError("prune wants --keep N and --into PATH, the layers that read the pruned one")
    if options["output"] == "-":
        raise click.UsageError("prune writes a safetensors file: give -o FILE.safetensors")
    script = _script(path, options)
    loss, batches = script.wanted_loss(), script.of("record")
    torch.manual_seed(options["seed"])
    try:
        pruner = Pruner(script.model, options["at"], options["keep"], options["steps"], options["schedule"])
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    from fansr.distillation import judging, saving

    held = script.of("test")
    before = judging.mean_loss(pruner.block, loss, held)
    optimizer = torch.optim.Adam(script.model.parameters(), lr=options["rate"])
    script.model.train()
    for step in range(options["steps"]):
        optimizer.zero_grad()
        loss(script.model, batches[step % len(batches)]).backward()
        optimizer.step()
        pruner.step()
    left = pruner.shrink(options["into"].split(","), options["offset"])
    after = judging.mean_loss(pruner.block, loss, held)
    tensors = {name: value.detach().cpu().clone().contiguous() for name, value in script.model.state_dict().items()}
    saving.write_bytes(options["output"], save(tensors, {"pruned": json.dumps({"at": options["at"], "units": left})}))
    click.echo(
        f"units {', '.join(map(str, left))} of {options['at']} stay; loss {before:.6g} before, {after:.6g} after",
        err=True,
    )


def _local(path: str, **options: Any) -> None:
    script = _script(path, options)
    d = _recorded(script, {**options, "held": 0.0})
    unit = (options["units"] or [0])[0]
    found = d.local(options["row"], unit, time=options["seconds"], seed=options["seed"], select=options["select"])
    if options["as_json"]:
        found = {key: value for key, value in found.items() if key != "record"}
        files.write_text(options["output"], json.dumps(found) + "\n")
        return
    line = " + ".join(f"{value:.4g}*{name}" for name, value in found["linear"].items())
    files.write_text(
        options["output"],
        f"{d.block.name}[{unit}] = {found['law']}\n\n  around row {options['row']}: R2 {found['r2']:.6f} on {found['fresh']} fresh neighbours, "
        f"{found['length']} tokens, {found['status']}\n  a linear map: R2 {found['linear_r2']:.6f}  {line}\n",
    )


def _export(laws: str, **options: Any) -> None:
    from fansr.distillation import source

    every, arrays = _read(laws, options)
    records = [record for record in every if record.get("expr")]
    if not records:
        raise DataError(f"{laws}: no unit has a law")
    if options["form"] == "c":
        text = "\n".join(_in_c(record) for record in records)
    elif options["form"] == "python":
        from fansr.distill import Distiller

        text = source.module(Distiller.of_records(every, arrays, None, where=laws), records)
    else:
        text = source.lines(records, options["form"])
    files.write_text(options["output"], text)


def _in_c(record: dict) -> str:
    """A unit's law as a function of C."""
    from types import SimpleNamespace

    from fansr.law_exports import LawExports
    from fansr.search import saved_law

    one: Any = LawExports()
    one._saved = SimpleNamespace(columns=record["names"], target=record["target"])
    law = saved_law.Law(list(record["expr"]), [float(c) for c in record["consts"]], float(record["fvu"]))
    one._law = lambda nth=None: law
    return one.to_c(None, f"unit_{record['unit']}")


def _speed(path: str, laws: str, **options: Any) -> None:
    import torch

    from fansr.distillation import judging

    script = _script(path, options)
    d = _laws(script, laws, options)
    d.observe(script.of("record"), 4096, 0.0, script.run, options["device"])
    outcome = judging.speed(d, script.of("test"), options["repeats"], options["guard"], script.run)
    outcome["threads"] = torch.get_num_threads()
    text = json.dumps(outcome) + "\n" if options["as_json"] else judging.speed_text(outcome)
    files.write_text(options["output"], text)


RUN = {
    "record": _record,
    "judge": _judge,
    "switch": _switch,
    "prune": _prune,
    "local": _local,
    "export": _export,
    "speed": _speed,
}
main = distill
