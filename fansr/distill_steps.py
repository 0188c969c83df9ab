"""What each step of fansr-distill does with its words and options; torch is loaded when one begins."""

from __future__ import annotations

import json
import os
from typing import Any

import click
from platformdirs import user_cache_path

from fansr.cli import command
from fansr.errors import DataError
from fansr.streams import files, open_writer


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
    d.record(
        script.of("record"),
        inputs=options["inputs"],
        held=options["held"],
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
    how = {name: options[name] for name in ("units", "pca_in", "pca_out", "linear", "rotate", "strata", "salient")}
    if not options["fresh"]:
        how |= {"cache": user_cache_path("fansr") / "recorded", "about": script.digest}
    d = _recorded(script, options, **how)
    arrays = d.arrays()
    basis = options["basis"] or (None if output == "-" else saving.basis_path(output))
    if arrays and basis is None:
        raise click.UsageError("bases are a file of their own: give --basis FILE, or -o FILE instead of a pipe")
    if arrays:
        saving.write_arrays(basis, arrays)
    names = ("at", "rows", "held", "strata", "salient", "pca_in", "pca_out", "linear")
    history = [command.history_entry(options["seed"], {name: options[name] for name in names})]
    with open_writer(output, "problem", history, resume=options["resume"]) as writer:
        problems = d.problems()
        writer.meant = len(problems)
        for problem in problems[writer.consumed :]:
            if arrays:
                problem.extra["basis_file"] = basis
            writer.consumed += 1
            writer.write(problem.to_record())
    taken = d.recorded
    command.remark(
        f"{d.block.name}: {len(d.units)} units, {len(taken.X)} rows of {taken.seen}, {len(taken.X_held)} held out, "
        f"{len(d.offered)} columns{', from cache' if d.from_cache else ''}", options["quiet"],
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
    from fansr.distillation import judging, pruning, saving

    def in_loss(model, batch):  # the part may be called by the loss alone, which may need gradients
        with torch.enable_grad():
            return loss(model, batch)

    held = script.of("test")
    before = judging.mean_loss(pruner.block, loss, held)
    optimizer = torch.optim.Adam(script.model.parameters(), lr=options["rate"])
    for step in range(options["steps"]):
        if options["by"] == "loss" and step % -(-options["steps"] // 10) == 0:
            mean = pruning.activity(pruner.block, held, in_loss)[0]
            pruner.set_importance(pruning.importance(pruner.block, loss, held, mean))
        script.model.train()
        optimizer.zero_grad()
        loss(script.model, batches[step % len(batches)]).backward()
        optimizer.step()
        pruner.step()
    left = pruner.shrink(options["into"].split(","), options["offset"], options["norm"])
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
    from fansr.distillation import source, torch_source

    every, arrays = _read(laws, options)
    records = [record for record in every if record.get("expr")]
    if not records:
        raise DataError(f"{laws}: no unit has a law")
    if options["form"] == "c":
        text = "\n".join(_in_c(record) for record in records)
    elif options["form"] in ("python", "torch"):
        from fansr.distill import Distiller

        write = source.module if options["form"] == "python" else torch_source.module
        text = write(Distiller.of_records(every, arrays, None, where=laws), records)
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
