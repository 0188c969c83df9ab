"""fansr-train: train the network on a stream of skeletons, a pipe, or live ones.

    fansr-train train.zst --config configs/tiny.toml --minutes 60 --out runs/tiny
    fansr-gen -n 100000000 --config prior-wide | fansr-simplify | fansr-decontam --test data/fastsrb.json \
        | fansr-train - --config configs/3m.toml --out runs/3m
    torchrun --nproc-per-node 8 -m fansr.train train.zst --config configs/20m.toml --out runs/20m

Section 3.4 and appendix B of the paper: cross-entropy, AdamW, a learning rate that warms up, stays and
decays (WSD), gradients clipped at norm 2.  The run folder holds checkpoints (see checkpoint.py), metric
streams and, at the end, model.safetensors.

One optimizer step takes `accumulate` numbered batches; in a joint run the processes share them out, and
the loss is the mean over all tokens of all of them, so that 2 processes do what 1 does.  Dropout is seeded by
the batch's number, and a batch is a function of its number: a resumed run repeats an unbroken one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import click
import numpy as np
import torch
import torch.nn.functional as F

from fansr import batch as batches
from fansr import checkpoint, command, device, optimizer, prior, resources, stream
from fansr.errors import DataError
from fansr.model import Model, ModelConfig, count, flops_per_sample
from fansr.seeds import key_for, rng_for
from fansr.tokens import PAD_ID

SCHEDULES = ("wsd", "plateau", "decay")
STRIKES = 10  # steps in a row without a finite gradient, after which the run stops
SPIKE = 3.0  # times the running mean gradient norm: named in the metrics


@dataclasses.dataclass
class Options:
    """Everything a run is told; the defaults are the paper's (appendix B), batch 128."""

    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    settings: batches.Settings = dataclasses.field(default_factory=batches.Settings)
    steps: int | None = None
    minutes: float | None = None
    schedule: str = "wsd"
    optimizer: str = "adamw"
    lr: float = 1e-4
    warmup: float = 0.1
    decay: float = 0.2
    weight_decay: float = 0.01
    beta2: float = 0.95
    clip: float = 2.0
    accumulate: int = 1
    seed: int = 0
    log_every: int = 20
    eval_seconds: float = 120.0
    save_seconds: float = 300.0
    hold: float = 0.01


# ----------------------------------------------------------------------------------------- learning rate


def factor(schedule: str, position: float, total: float, warm: float, decay: float, decay_from: float | None) -> float:
    """Learning rate over its maximum at `position` (steps or seconds since the beginning of the run).

    wsd: rises over the first `warm`, stays, falls linearly to 0 over the last `decay` share of `total`.
    plateau: the same without the fall.  decay: falls from `decay_from` to 0 over `total` more.
    """
    if schedule == "decay":
        return max(0.0, 1.0 - (position - (decay_from or 0.0)) / max(total, 1e-9))
    if position < warm:
        return position / warm
    if schedule == "plateau" or decay <= 0:
        return 1.0
    return min(1.0, max(0.0, (total - position) / (decay * total)))


# ------------------------------------------------------------------------------------------------ feeding


class Feeder:
    """A thread that reads skeletons from an open stream into a pool while training goes on."""

    def __init__(self, source, pool: batches.Pool, process: subprocess.Popen | None = None):
        self.pool, self.process, self.error, self.done = pool, process, None, False
        self.reader = stream.open_reader(source, holds="skeleton")
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        chunk = []
        try:
            for record in self.reader:
                chunk.append(record)
                if len(chunk) == 2048:
                    self.pool.add(chunk)
                    chunk = []
            self.pool.add(chunk)
        except Exception as error:  # handed to the training thread, which stops with it
            self.error = error
        self.done = True

    def wait_for(self, n: int):
        """Return when the pool holds n skeletons, or all there will be."""
        while len(self.pool) < n and not self.done:
            time.sleep(0.05)
        self.check()
        if not len(self.pool):
            raise DataError("the input holds no skeleton to learn from: "
                            + (", ".join(f"{n} {why}" for why, n in self.pool.dropped.items()) or "it is empty"))

    def check(self):
        if self.error is not None:
            raise self.error

    def stop(self):
        if self.process is not None:
            self.process.terminate()
            self.process.wait()


def live(prior_name: str | None, tests: list[str], simplify: bool, seed: int, jobs: int) -> subprocess.Popen:
    """Start gen | simplify | decontam as the user would; its stdout is the stream of survivors."""
    def command_line(name: str, *args: str) -> list[str]:
        source = f"import sys; sys.argv[0] = 'fansr-{name}'; from fansr.{name} import main; main()"
        return [sys.executable, "-c", source, "-q", "-j", str(jobs if name == "simplify" else 1), *args]

    many = str(1 << 40)  # more than anyone waits for
    stages = [command_line("gen", "-n", many, "--seed", str(seed), *(["--config", prior_name] if prior_name else []))]
    if simplify:
        stages.append(command_line("simplify", "--relax"))
    if tests:
        stages.append(command_line("decontam", *(word for test in tests for word in ("--test", test))))
    previous = None
    for stage in stages:
        process = subprocess.Popen(stage, stdin=previous.stdout if previous else subprocess.DEVNULL,
                                   stdout=subprocess.PIPE)
        if previous:
            previous.stdout.close()  # so that a stage that ends is noticed by the one before it
        previous = process
    return previous


# -------------------------------------------------------------------------------------------------- steps


def loss_sums(logits: torch.Tensor, tokens: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sum of the cross-entropy, tokens whose likeliest guess is right, sequences right throughout."""
    target = tokens[:, 1:]
    valid = target != PAD_ID
    loss = F.cross_entropy(logits.float().flatten(0, 1), target.flatten(), ignore_index=PAD_ID, reduction="sum")
    with torch.no_grad():
        hit = (logits.argmax(-1) == target) | ~valid
    return loss, (hit & valid).sum(), hit.all(1).sum()


class Run:
    """One training run: network, optimizer, data, and how far it came."""

    def __init__(self, options: Options, where: device.Device, out: Path, compile: bool = False, quiet: bool = False):
        self.options, self.where, self.out, self.quiet = options, where, out, quiet
        self.chief = device.rank() == 0
        if options.accumulate % device.world():
            raise DataError(f"accumulate is {options.accumulate}; it must be a multiple of the {device.world()} processes")
        torch.manual_seed(options.seed)
        self.model = Model(options.model).to(where.device)
        self.optimizer = optimizer.build(self.model, options.optimizer, options.lr, options.weight_decay, options.beta2)
        self.state = {"step": 0, "samples": 0, "tokens": 0, "flops": 0.0, "seconds": 0.0, "skipped": 0, "spikes": 0,
                      "warm": None, "decay_from": None, "best": None}
        self.history: list = []
        self.forward = self.model
        if device.world() > 1:
            self.forward = torch.nn.parallel.DistributedDataParallel(
                self.model, device_ids=[where.device] if where.device.type == "cuda" else None,
                find_unused_parameters=options.model.post_norm)
        if compile:
            # Lengths differ from batch to batch: one graph with symbolic sizes serves all of them.
            self.forward = torch.compile(self.forward, dynamic=True)
        self.strikes, self.mean_norm = 0, None
        encoder = sum(p.numel() for p in self.model.encoder.parameters())
        self.sizes = encoder, sum(p.numel() for p in self.model.parameters()) - encoder

    def logits(self, data: batches.Batch) -> torch.Tensor:
        with torch.autocast(self.where.device.type, self.where.dtype, enabled=self.where.autocast):
            return self.forward(data.values, data.tokens[:, :-1], data.mask, data.present)

    def step(self, loader) -> dict:
        """One optimizer step; what it saw and did as a dict of plain numbers."""
        options, state = self.options, self.state
        first = state["step"] * options.accumulate
        numbers = range(first + device.rank(), first + options.accumulate, device.world())
        data = [loader.batch(number) for number in numbers]
        totals = torch.tensor([sum(b.n_tokens for b in data), sum(map(len, data)),
                               sum(flops_per_sample(*self.sizes, b.values.shape[1], b.tokens.shape[1] - 1) * len(b)
                                   for b in data)], dtype=torch.float64)
        totals = self._summed(totals)
        lr = options.lr * self.lr_factor()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        sums = torch.zeros(3, dtype=torch.float64)
        for i, (number, part) in enumerate(zip(numbers, data)):
            torch.manual_seed(key_for(options.seed, "train.dropout", number)[0] >> 1)
            last = i == len(data) - 1
            with self.forward.no_sync() if device.world() > 1 and not last else contextlib.nullcontext():
                loss, hits, whole = loss_sums(self.logits(part), part.tokens)
                # DDP takes the mean over processes of what is a sum here.
                (loss * (device.world() / max(float(totals[0]), 1.0))).backward()
            sums += torch.stack((loss.detach(), hits, whole)).cpu().double()
        sums = self._summed(sums)
        norm = float(torch.nn.utils.clip_grad_norm_(self.model.parameters(), options.clip))
        self._apply(norm)
        state["step"] += 1
        state["samples"] += int(totals[1])
        state["tokens"] += int(totals[0])
        state["flops"] += float(totals[2])
        return {"loss": float(sums[0]), "hits": float(sums[1]), "whole": float(sums[2]), "n_tokens": float(totals[0]),
                "n": float(totals[1]), "grad_norm": norm, "lr": lr}

    def _summed(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes of a small float64 vector."""
        if device.world() > 1:
            values = values.to(self.where.device)
            torch.distributed.all_reduce(values)
        return values.cpu()

    def _apply(self, norm: float):
        """Take the step, unless its gradient is not finite; name spikes; stop after too many bad steps in a row."""
        if math.isfinite(norm):
            self.optimizer.step()
            self.strikes = 0
            if self.mean_norm is not None and norm > SPIKE * self.mean_norm:
                self.state["spikes"] += 1
            self.mean_norm = norm if self.mean_norm is None else 0.98 * self.mean_norm + 0.02 * norm
        else:
            self.strikes += 1
            self.state["skipped"] += 1
            if self.strikes >= STRIKES:
                raise DataError(f"step {self.state['step']}: {STRIKES} steps in a row without a finite gradient; "
                                f"stopped, the last good checkpoint in {self.out} stands (a smaller --lr may mend it)")
        self.optimizer.zero_grad(set_to_none=True)

    # ---- position in the schedule

    def position(self) -> float:
        """Steps, or seconds when the run is bounded by time."""
        return float(self.state["step"]) if self.options.steps is not None else self.state["seconds"]

    def total(self) -> float:
        return float(self.options.steps) if self.options.steps is not None else self.options.minutes * 60.0

    def begin(self):
        """Fix what the schedule measures from: called once a leg, after a checkpoint was loaded."""
        if self.state["warm"] is None:
            self.state["warm"] = self.options.warmup * self.total()
        if self.options.schedule == "decay" and self.state["decay_from"] is None:
            self.state["decay_from"] = self.position()
        elif self.options.schedule != "decay":
            self.state["decay_from"] = None

    def done(self) -> bool:
        return self.position() - (self.state["decay_from"] or 0.0) >= self.total()

    def lr_factor(self) -> float:
        # The rate of the step about to be taken; counted from 1, so that the first one moves.
        ahead = 1.0 if self.options.steps is not None else 0.0
        return factor(self.options.schedule, self.position() + ahead, self.total(), self.state["warm"], self.options.decay,
                      self.state["decay_from"])

    # ---- validation and checkpoints

    @torch.no_grad()
    def evaluate(self, data: list[batches.Batch]) -> dict:
        """Mean losses over fixed validation batches, dropout off."""
        self.model.eval()
        sums, n_tokens, n = torch.zeros(3, dtype=torch.float64), 0, 0
        for part in data:
            with torch.autocast(self.where.device.type, self.where.dtype, enabled=self.where.autocast):
                logits = self.model(part.values, part.tokens[:, :-1], part.mask, part.present)
            sums += torch.stack(loss_sums(logits, part.tokens)).cpu().double()
            n_tokens, n = n_tokens + part.n_tokens, n + len(part)
        self.model.train()
        return {"loss": float(sums[0]) / n_tokens, "nats": float(sums[0]) / n, "accuracy": float(sums[1]) / n_tokens,
                "exact": float(sums[2]) / n}

    def save(self, with_optimizer: bool = True, pinned: bool = False):
        if self.chief:
            state = {**self.state, "pinned": pinned, "mean_norm": self.mean_norm, "seed": self.options.seed}
            checkpoint.save_state(self.out, self.model, state, self.optimizer if with_optimizer else None,
                                  self.training(), self.history)

    def load(self) -> bool:
        """Go on from the run's newest checkpoint; False when there is none."""
        found = checkpoint.load_state(self.out)
        if found is None:
            return False
        folder, state = found
        model, info = checkpoint.load_model(folder / "model.safetensors")
        if model.config != self.options.model:
            odd = [k for k, v in model.config.to_dict().items() if v != self.options.model.to_dict()[k]]
            raise DataError(f"{folder}: made with another {', '.join(odd)}; resume with the config it was made with")
        self.model.load_state_dict(model.state_dict())
        self.history = info["history"]
        checkpoint.load_optimizer(folder, state, self.model, self.optimizer)
        self.mean_norm = state.pop("mean_norm", None)
        self.state.update({k: state[k] for k in self.state if k in state})
        return True

    def training(self) -> dict:
        """What a model file says of its making."""
        options = self.options
        told = {f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.name not in ("model", "settings")}
        settings = {f.name: getattr(options.settings, f.name) for f in dataclasses.fields(options.settings)
                    if f.name != "prior"}
        return {**{k: v for k, v in self.state.items()}, "options": told, "settings": settings,
                "prior": prior.to_dict(options.settings.prior), "torch": torch.__version__, "device": str(self.where)}


def validation_batches(rows: np.ndarray, settings: batches.Settings, where: torch.device, n: int = 2048) -> list:
    """Fixed batches from held-out skeletons (N, W) uint8: the same in every run with these settings."""
    rows, columns = batches.compact(rows[:n])
    order = np.argsort((rows != PAD_ID).sum(1), kind="stable")
    parts = np.array_split(order, max(1, len(order) // 256))
    made = []
    for i, part in enumerate(parts):
        rng = rng_for(0, "train.validation", i)
        points = (settings.min_points + settings.max_points) // 2
        made.append(batches.make(rows[part], columns[part], points, settings, rng, where))
    return [part for part in made if len(part)]


# --------------------------------------------------------------------------------------------------- loop


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
    started = time.monotonic() - state["seconds"]
    last_save = last_eval = time.monotonic()
    window: list[dict] = []
    with Stop() as stop, contextlib.closing(Metrics(run)) as metrics, \
            command.progress(total=None, quiet=run.quiet or not run.chief, unit="sample") as bar:
        if validation and state["step"] == 0:
            metrics.validation(run.evaluate(validation))
        while not run.done() and not run_stops(stop):
            if feeder is not None:
                feeder.check()
            window.append(run.step(loader))
            bar.update(int(window[-1]["n"]))
            state["seconds"] = agreed(time.monotonic() - started)
            now = time.monotonic()
            if len(window) >= options.log_every or run.done():
                metrics.training(window)
                window = []
            if validation and now - last_eval >= options.eval_seconds:
                metrics.validation(run.evaluate(validation))
                last_eval = time.monotonic()
            if now - last_save >= options.save_seconds:
                run.save()
                last_save = time.monotonic()
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
                    stream.open_writer(part.with_suffix(""), "metric", run.history, resume=True).finish()
            name = f"metrics-{run.state['step']:08d}"
            taken = len(list(run.out.glob(f"{name}*.zst")))
            self.writer = stream.open_writer(run.out / f"{name}{f'-{taken}' if taken else ''}.zst", "metric", run.history)
        self.last = (time.monotonic(), run.state["samples"])

    def _write(self, split: str, values: dict):
        state = self.run.state
        if self.writer is not None:
            self.writer.write({"kind": "metric", "step": state["step"], "split": split, **values,
                               "tokens": state["tokens"], "samples": state["samples"], "flops": state["flops"],
                               "seconds": round(state["seconds"], 3)})
            self.writer.flush()

    def training(self, window: list[dict]):
        n_tokens, n = sum(w["n_tokens"] for w in window), sum(w["n"] for w in window)
        now = (time.monotonic(), self.run.state["samples"])
        rate = (now[1] - self.last[1]) / max(now[0] - self.last[0], 1e-9)
        self.last = now
        loss = sum(w["loss"] for w in window)
        self._write("train", {"loss": loss / max(n_tokens, 1), "nats": loss / max(n, 1), "lr": window[-1]["lr"],
                              "grad_norm": window[-1]["grad_norm"], "accuracy": sum(w["hits"] for w in window) / max(n_tokens, 1),
                              "skipped": self.run.state["skipped"], "spikes": self.run.state["spikes"],
                              "samples_per_second": round(rate, 1)})

    def validation(self, values: dict):
        state = self.run.state
        self._write("val", {**values, "lr": self.run.options.lr * self.run.lr_factor()})
        self.last = (time.monotonic(), state["samples"])
        if self.run.chief:
            command.remark(f"step {state['step']:>8,}  samples {state['samples']:>11,}  {state['seconds']:>7.0f} s  "
                           f"loss {values['loss']:.4f} nats/token  {values['nats']:.3f} nats/law  "
                           f"tokens right {values['accuracy']:.1%}  laws right {values['exact']:.1%}", self.run.quiet)

    def close(self):
        if self.writer is not None:
            self.writer.finish()


def curve(folder: Path) -> list[dict]:
    """The validation records of a run, all legs, in order of the step."""
    found = []
    for file in sorted(folder.glob("metrics-*.zst")):
        with stream.open_reader(file, holds="metric") as reader:
            found += [r for r in reader if r["split"] == "val"]
    return sorted(({k: v for k, v in r.items() if k != "kind"} for r in found), key=lambda r: (r["step"], r["seconds"]))


def public(history: list) -> list:
    """A history without the folders of the machine it was made on: absolute paths keep their last part."""
    def name(word):
        return Path(word).name if isinstance(word, str) and word.startswith("/") else word

    return [{**entry, "argv": [name(word) for word in entry.get("argv", [])]} for entry in history]


def ship(run: Run):
    """model.safetensors in half precision and model.json with history and curve, in the run's folder."""
    if run.chief:
        history = public(run.history)
        checkpoint.save_model(run.out / "model.safetensors", run.model, run.training(), history, torch.float16)
        text = json.dumps({"training": run.training(), "history": history, "curve": curve(run.out)}, indent=1)
        (run.out / "model.json").write_text(text + "\n")


# ------------------------------------------------------------------------------------------------ command


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
    settings = batches.Settings(
        batch=values["batch"], min_points=values["min_points"], max_points=values["max_points"], columns=model.columns,
        max_length=model.max_length, scale_columns=values["scale_columns"], prior=prior.load(values["prior"]))
    if settings.min_points > settings.max_points:
        raise DataError(f"min-points {settings.min_points} is above max-points {settings.max_points}")
    names = {f.name for f in dataclasses.fields(Options)} - {"model", "settings"}
    return Options(model=model, settings=settings, **{k: v for k, v in values.items() if k in names})


def open_data(inputs, options: Options, values: dict):
    """(pool, feeder or None, history): files whole, a pipe or live stages through a thread."""
    if inputs and "-" not in inputs:
        return (*batches.read_pool(inputs, options.settings, values["pool"], options.hold)[:1], None,
                stream_history(inputs[0]))
    pool, process, source = batches.Pool(options.settings, values["pool"], options.hold), None, "-"
    if not inputs:
        tests = [str(resources.path("data", "fastsrb.json"))] if not values["decontam"] else list(values["decontam"])
        process = live(values["prior"], tests, values["simplify"], options.seed + 1_000_003 * values["leg"], values["jobs"])
        source = process.stdout
    try:
        feeder = Feeder(source, pool, process)
        feeder.wait_for(values["start_with"])
    except BaseException:  # an interrupt too must not leave the stages running
        if process is not None:
            process.terminate()
        raise
    return pool, feeder, feeder.reader.history


def stream_history(path) -> list:
    with stream.open_reader(path, holds="skeleton") as reader:
        return reader.history


_P = click.IntRange(1)


@command.command(example="fansr-train train.zst --config configs/tiny.toml --minutes 5 --out runs/tiny",
                 config_sections=("model",))
@click.argument("inputs", nargs=-1, type=click.Path())
@click.option("--out", type=click.Path(file_okay=False), default="runs/model", show_default=True, help="The run's folder.")
@click.option("--steps", type=_P, default=None, help="Optimizer steps of the whole run.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=None, help="Instead of --steps.")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint in --out.")
@click.option("--schedule", type=click.Choice(SCHEDULES), default="wsd", show_default=True,
              help="plateau: never decay. decay: with --resume, only decay, over --steps or --minutes more.")
@click.option("--optimizer", type=click.Choice(optimizer.NAMES), default="adamw", show_default=True,
              help="adamw: the paper's. muon: orthogonal steps for the inner matrices.")
@click.option("--lr", type=float, default=1e-4, show_default=True, help="Largest learning rate.")
@click.option("--warmup", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="Share of the run that warms up.")
@click.option("--decay", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of the run that decays.")
@click.option("--weight-decay", type=float, default=0.01, show_default=True, help="AdamW's weight decay.")
@click.option("--beta2", type=float, default=0.95, show_default=True, help="AdamW's second moment decay.")
@click.option("--clip", type=float, default=2.0, show_default=True, help="Largest gradient norm.")
@click.option("--batch", type=_P, default=128, show_default=True, help="Laws in a batch.")
@click.option("--accumulate", type=_P, default=1, show_default=True, help="Batches in a step, over all processes.")
@click.option("--min-points", type=_P, default=1, show_default=True, help="Fewest points of a law.")
@click.option("--max-points", type=_P, default=1024, show_default=True, help="Most points of a law.")
@click.option("--scale-columns/--no-scale-columns", default=True, show_default=True,
              help="Show columns with an rms outside [0.01, 100] over a power of two.")
@click.option("--prior", default=None, metavar="FILE", help="Prior of constants and points (live: of skeletons too).")
@click.option("--simplify/--no-simplify", default=True, show_default=True, help="Live: simplify the skeletons.")
@click.option("--decontam", multiple=True, metavar="FILE", help="Live: held-out laws.  [default: data/fastsrb.json]")
@click.option("--pool", type=_P, default=4_000_000, show_default=True, help="Most skeletons kept in memory.")
@click.option("--start-with", type=_P, default=20_000, show_default=True, help="Pipe, live: skeletons to wait for.")
@click.option("--hold", type=click.FloatRange(0, 0.5), default=0.01, show_default=True,
              help="Share of the distinct skeletons kept for validation.")
@click.option("--val", type=click.Path(), default=None, help="Skeleton stream to validate on, instead of --hold.")
@click.option("--log-every", type=_P, default=20, show_default=True, help="Steps between metric records.")
@click.option("--eval-seconds", type=float, default=120.0, show_default=True, help="Between validations.")
@click.option("--save-seconds", type=float, default=300.0, show_default=True, help="Between checkpoints.")
@click.option("--device", "device_name", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N.")
@click.option("--dtype", type=click.Choice(["auto", *device.DTYPES]), default="auto", show_default=True,
              help="Compute dtype; auto says what it took and why.")
@click.option("--compile/--no-compile", "compile_", default=None, help="torch.compile.  [default: on a GPU]")
@click.option("--threads", type=_P, default=None, help="CPU threads of torch.")
@click.option("--dry-run", is_flag=True, help="Count parameters on the meta device and stop.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@command.jobs_option()
@command.seed_option()
@command.config_option()
@command.quiet_option()
def train(inputs, out, resume, device_name, dtype, compile_, threads, dry_run, as_json, quiet, config, val, **values):
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
    if options.schedule == "decay" and not resume:
        raise click.UsageError("--schedule decay goes on from a plateau: add --resume and the run's --out")
    if threads:
        torch.set_num_threads(threads)
    where = device.choose(device_name, dtype)
    device.join_group(where.device)
    try:
        finished = _train(inputs, Path(out), resume, where, compile_, as_json, quiet, val, options, values)
    finally:
        device.leave_group()
    if not finished:
        raise KeyboardInterrupt


def _given(name: str) -> bool:
    """True when an option stands on the command line, not only in the config."""
    source = click.get_current_context().get_parameter_source(name)
    return source == click.core.ParameterSource.COMMANDLINE


def _train(inputs, out, resume, where, compile_, as_json, quiet, val, options, values) -> bool:
    run = Run(options, where, out, where.device.type == "cuda" if compile_ is None else compile_, quiet)
    if run.chief:
        command.remark(f"training on {where}", quiet)
    found = checkpoint.load_state(out)
    if found and not resume:
        raise DataError(f"{out}: holds a run at step {found[1]['step']}; --resume goes on with it, another --out starts anew")
    resumed = resume and run.load()
    # Live data after a resume must not repeat what was seen.
    values["leg"] = run.state["step"] if resumed else 0
    pool, feeder, history = open_data(inputs, options, values)
    try:
        run.history = (run.history or history) + [command.history_entry(options.seed, values["prior"])]
        rows = batches.read_pool([val], options.settings)[0].tokens if val else pool.held
        if run.chief and (pool.dropped or not quiet):
            told = ", ".join(f"{n:,} {why}" for why, n in sorted(pool.dropped.items()))
            command.remark(f"{len(pool):,} skeletons{' (left out: ' + told + ')' if told else ''}, {len(rows):,} held out",
                           quiet)
        validation = validation_batches(rows, options.settings, where.device) if len(rows) else []
        loader = batches.Loader(pool, options.settings, options.seed, where.device)
        finished = fit(run, loader, validation, feeder)
    finally:
        if feeder is not None:
            feeder.stop()
    if finished and options.schedule != "plateau":
        ship(run)
    if as_json and run.chief:
        last = (curve(out) or [{}])[-1]
        click.echo(json.dumps({"out": str(out), "finished": finished, **run.state, "validation": last}))
    return finished


def report_size(options: Options, as_json: bool):
    """Parameters without allocating a weight."""
    with torch.device("meta"):
        model = Model(options.model)
    points = (options.settings.min_points + options.settings.max_points) // 2
    sizes = count(model, points)
    if as_json:
        click.echo(json.dumps(sizes))
        return
    for name in ("total", "encoder", "decoder"):
        click.echo(f"{name:8} {sizes['params_' + name]:>13,} parameters")
    click.echo(f"{'training':8} {sizes['flops_per_sample']:13.3g} operations a sample at {points} points, "
               f"{sizes['tokens']} tokens")


def main():
    """Entry point of fansr-train."""
    train()


if __name__ == "__main__":
    main()
