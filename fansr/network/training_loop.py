"""A training run from its data to the file that is shipped, and its loop: steps until the schedule or a signal ends it,
with metrics and checkpoints on the way."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import click
import torch

from fansr.cli import command
from fansr.errors import DataError
from fansr.network import batches, checkpoints, device
from fansr.network.configuration import Options
from fansr.network.in_order import InOrder
from fansr.network.skeleton_pool import read_pool
from fansr.network.skeleton_sources import Feeder, open_data
from fansr.network.training_run import Run, problem_batches, public, validation_batches
from fansr.streams import reader_writer


class Stop:
    """Ctrl-C and SIGTERM ask for an end after the step in work; a second Ctrl-C ends at once."""

    def __init__(self):
        self.asked = False

    def __enter__(self):
        self.old = {}
        for name in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(ValueError):  # not the main thread: a test runs in-process
                self.old[name] = signal.signal(name, self._note)
        return self

    def _note(self, signum, frame):
        if self.asked and signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_):
        for name, handler in self.old.items():
            signal.signal(name, handler)


def fit(run: Run, loader, validation: list, feeder: Feeder | None = None) -> bool:
    """Train until the schedule ends (True) or a signal asks for the end (False); checkpoints and metrics on the way."""
    options, state = run.options, run.state
    run.begin()
    run.model.train()
    now_on = time.process_time if options.clock == "cpu" else time.monotonic
    started = now_on() - state["seconds"]

    def clock() -> float:  # seconds of the run: one clock for all, so that they validate and save at the same step
        return agreed(now_on() - started)

    last_save = last_eval = state["seconds"]
    window: list[dict] = []
    with (
        Stop() as stop,
        contextlib.closing(Metrics(run)) as metrics,
        command.progress(total=None, quiet=run.quiet or not run.chief, unit="sample") as bar,
    ):
        if validation and state["step"] == 0:
            metrics.validation(run.evaluate(validation))
        while not run.done() and not run_stops(stop):
            if feeder is not None:
                feeder.check()
            flat = run.lr_factor() >= 1.0
            window.append(run.step(loader))
            bar.update(int(window[-1]["n"]))
            now = state["seconds"] = clock()
            if len(window) >= options.log_every or run.done():
                metrics.training(window)
                window = []
            if validation and now - last_eval >= options.eval_seconds:
                metrics.validation(run.evaluate(validation))
                last_eval = clock()
            # The end of a plateau is kept: from there it can be continued.
            turns = (options.schedule == "wsd" and flat and run.lr_factor() < 1.0) or run.due()
            if turns or now - last_save >= options.save_seconds:
                run.save(pinned=turns)
                last_save = clock()
        finished = run.done()
        if validation:
            metrics.validation(run.evaluate(validation))
        run.save(pinned=options.schedule == "plateau" and finished)
    return finished


def run_stops(stop: Stop) -> bool:
    """Whether any process was asked to end: all of them must leave the loop at the same step."""
    return agreed(float(stop.asked)) > 0


def agreed(value: float) -> float:
    """The largest of all processes' values, the same on each; the value itself in a run of one."""
    if device.world() == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64)
    if torch.distributed.get_backend() == "nccl":
        tensor = tensor.cuda()
    torch.distributed.all_reduce(tensor, torch.distributed.ReduceOp.MAX)
    return float(tensor)


class Metrics:
    """Metric records into the run's folder, one stream a leg, and a line on stderr for each validation."""

    def __init__(self, run: Run):
        self.run, self.writer = run, None
        if run.chief:
            run.out.mkdir(parents=True, exist_ok=True)
            # A killed run's metrics are whole up to their last flush: give them their name.
            for part in run.out.glob("metrics-*.zst.part"):
                with contextlib.suppress(DataError, OSError, ValueError):
                    with reader_writer.open_reader(part, holds="metric") as reader:
                        history = reader.history  # that leg's own: a stream is gone on with by the call that began it
                    reader_writer.open_writer(part.with_suffix(""), "metric", history, resume=True).finish()
            name = f"metrics-{run.state['step']:08d}"
            taken = len(list(run.out.glob(f"{name}*.zst")))
            self.writer = reader_writer.open_writer(
                run.out / f"{name}{f'-{taken}' if taken else ''}.zst", "metric", run.history
            )
        self.last = (time.monotonic(), run.state["samples"])

    def _write(self, split: str, values: dict):
        state = self.run.state
        if self.writer is not None:
            self.writer.write(
                {
                    "kind": "metric",
                    "step": state["step"],
                    "split": split,
                    **values,
                    "params": sum(self.run.sizes),
                    "ratio": state["tokens"] / sum(self.run.sizes),
                    "size": self.run.options.size,
                    "lr_max": self.run.options.lr,
                    "batch": self.run.options.settings.batch * (state["accumulate"] or 1),
                    "tokens": state["tokens"],
                    "samples": state["samples"],
                    "flops": state["flops"],
                    "seconds": round(state["seconds"], 3),
                }
            )
            self.writer.flush()

    def training(self, window: list[dict]):
        n_tokens, n = sum(w["n_tokens"] for w in window), sum(w["n"] for w in window)
        now = (time.monotonic(), self.run.state["samples"])
        rate = (now[1] - self.last[1]) / max(now[0] - self.last[0], 1e-9)
        self.last = now
        loss = sum(w["loss"] for w in window)
        self._write(
            "train",
            {
                "loss": loss / max(n_tokens, 1),
                "nats": loss / max(n, 1),
                "lr": window[-1]["lr"],
                "grad_norm": window[-1]["grad_norm"],
                "accuracy": sum(w["hits"] for w in window) / max(n_tokens, 1),
                "skipped": self.run.state["skipped"],
                "spikes": self.run.state["spikes"],
                "samples_per_second": round(rate, 1),
            },
        )

    def validation(self, values: dict):
        state = self.run.state
        self._write("val", {**values, "lr": self.run.options.lr * self.run.lr_factor()})
        self.last = (time.monotonic(), state["samples"])
        if self.run.chief:
            command.remark(
                f"step {state['step']:>8,}  samples {state['samples']:>11,}  {state['seconds']:>7.0f} s  "
                f"loss {values['loss']:.4f} nats/token  {values['nats']:.3f} nats/law  "
                f"tokens right {values['accuracy']:.1%}  laws right {values['exact']:.1%}",
                self.run.quiet,
            )

    def close(self):
        if self.writer is not None:
            self.writer.finish()


def curve(folder: Path) -> list[dict]:
    """The validation records of a run, all legs, in order of the step."""
    found = []
    for file in sorted(folder.glob("metrics-*.zst")):
        with reader_writer.open_reader(file, holds="metric") as reader:
            found += [r for r in reader if r["split"] == "val"]
    return sorted(({k: v for k, v in r.items() if k != "kind"} for r in found), key=lambda r: (r["step"], r["seconds"]))


def ship(run: Run):
    """model.safetensors in half precision and model.json with history and curve, in the run's folder."""
    history = public(run.history)
    checkpoints.save_model(
        run.out / "model.safetensors", run.model, run.training(), history, torch.float16, writes=run.chief
    )
    if run.chief:
        text = json.dumps({"training": run.training(), "history": history, "curve": curve(run.out)}, indent=1)
        (run.out / "model.json").write_text(text + "\n")


def branch_off(run: Run, loader, validation: list, compiled: bool, feeder: Feeder | None = None) -> bool:
    """After a plateau: the decay of each branch, in a folder of its own; False when a signal ended one of them.

    A branch that has shipped its model is done; one that was stopped goes on from its own checkpoint.
    """
    params = sum(run.sizes)
    for tokens in run.options.branches:
        folder = run.out / f"branch-{tokens / params:g}x"
        if (folder / "model.safetensors").exists():
            continue
        if run.chief and checkpoints.load_state(folder) is None:
            pinned = f"step-{run.state['pins'][str(tokens)]:08d}"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(run.out / pinned, folder / pinned)
            (folder / "latest").write_text(pinned + "\n")
        agreed(0.0)  # the others wait for the copy
        options = replace(run.options, branches=(), schedule="decay", tokens=run.options.decay * tokens)
        one = Run(options, run.where, folder, compiled, run.quiet)
        one.load()
        one.history = run.history
        if not fit(one, loader, validation, feeder):
            return False
        ship(one)
    return True


def holds_problems(path: str) -> bool:
    """Whether a stream is one of problems, not of skeletons."""
    with reader_writer.open_reader(path, holds=("problem", "skeleton")) as reader:
        return reader.header["holds"] == "problem"


# ---- the whole


def train(inputs, options: Options, values: dict, as_json: bool) -> bool:
    """Train as fansr-train was told (`values`: its options by name); False when a signal ended it before the schedule."""
    if values["threads"]:
        torch.set_num_threads(values["threads"])
    where = device.choose(values["device_name"], values["dtype"])
    device.join_group(where.device)
    try:
        return _train(inputs, options, values, as_json, where)
    finally:
        device.leave_group()


def _train(inputs, options: Options, values: dict, as_json: bool, where: device.Device) -> bool:
    out, quiet = Path(values["out"]), values["quiet"]
    if options.branches:  # the plateau goes as far as the last of them turns off
        options.tokens = (1.0 - options.decay) * options.branches[-1]
    compiled = where.device.type == "cuda" if values["compile_"] is None else values["compile_"]
    run = Run(options, where, out, compiled, quiet)
    if run.chief:
        command.remark(f"training on {where}", quiet)
    found = checkpoints.load_state(out)
    if found and not values["resume"]:
        raise DataError(
            f"{out}: holds a run at step {found[1]['step']}; --resume goes on with it, another --out starts anew"
        )
    resumed = values["resume"] and run.load()
    # Live data after a resume must not repeat what was seen.
    values["leg"] = run.state["step"] if resumed else 0
    feeder = None
    if options.in_order:
        loader = InOrder(
            inputs,
            options.settings,
            options.hold,
            options.seed,
            where.device,
            run.state["place"],
            run.state["batches"],
        )
        history, held = loader.history, loader.held
    else:
        pool, feeder, history = open_data(inputs, options, values)
        mixed = [
            (read_pool([path], options.settings, values["pool"], options.hold)[0], part) for path, part in values["mix"]
        ]
        loader, held = batches.Loader(pool, options.settings, options.seed, where.device, mixed), pool.held
    try:
        run.history = (run.history or history) + [command.history_entry(options.seed, values["prior"])]
        judged = holds_problems(values["val"]) if values["val"] else False
        rows = read_pool([values["val"]], options.settings)[0].tokens if values["val"] and not judged else held
        if run.chief and not options.in_order and (pool.dropped or not quiet):
            told = ", ".join(f"{n:,} {why}" for why, n in sorted(pool.dropped.items()))
            command.remark(
                f"{len(pool):,} skeletons{' (left out: ' + told + ')' if told else ''}, {len(rows):,} held out", quiet
            )
        if judged:
            validation = problem_batches(values["val"], options.settings, where.device)
        else:
            validation = validation_batches(rows, options.settings, where.device) if len(rows) else []
        finished = fit(run, loader, validation, feeder)
        if finished and options.branches:
            finished = branch_off(run, loader, validation, compiled, feeder)
    finally:
        if feeder is not None:
            feeder.stop()
    if finished and options.schedule != "plateau":
        ship(run)
    if as_json and run.chief:
        last = (curve(out) or [{}])[-1]
        click.echo(json.dumps({"out": str(out), "finished": finished, **run.state, "validation": last}))
    return finished
