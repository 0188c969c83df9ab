"""One training run: the network, its optimizer and schedule, single steps, validation and checkpoints.

Section 3.4 and appendix B of the paper: cross-entropy, AdamW, a learning rate that warms up, stays and
decays (WSD), gradients clipped at norm 2.

One optimizer step takes `accumulate` numbered batches; in a joint run the processes share them out, and
the loss is the mean over all tokens of all of them, so that 2 processes do what 1 does, and 3 of 4 where a node is gone.
Dropout is seeded by the batch's number, and a batch is a function of its number: a resumed run repeats an unbroken one.
"""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from fansr.corpus import prior
from fansr.errors import DataError
from fansr.expressions import CONSTANT, PAD_ID, TOKEN_ID, notations
from fansr.network import batches, checkpoints, device, layout, optimizers
from fansr.network.architecture import Model
from fansr.network.configuration import Options, Settings
from fansr.network.skeleton_pool import compact
from fansr.network.weight_shapes import flops_per_sample, input_tokens
from fansr.streams import key_for, reader_writer, rng_for

STRIKES = 10  # steps in a row without a finite gradient, after which the run stops
SPIKE = 3.0  # times the running mean gradient norm: named in the metrics


# ----------------------------------------------------------------------------------------- learning rate


def factor(schedule: str, position: float, total: float, warm: float, decay: float, decay_from: float | None) -> float:
    """Learning rate over its maximum at `position` (steps or seconds since the beginning of the run).

    wsd: rises over the first `warm`, stays, falls linearly to 0 over the last `decay` share of `total`.
    cosine: rises as they do, then falls to 0 along half a cosine.  plateau: the same as wsd without the fall.  decay: falls from `decay_from` to 0 over `total` more.
    """
    if schedule == "decay":
        return max(0.0, 1.0 - (position - (decay_from or 0.0)) / max(total, 1e-9))
    if position < warm:
        return position / warm
    if schedule == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, (position - warm) / max(total - warm, 1e-9))))
    if schedule == "plateau" or decay <= 0:
        return 1.0
    return min(1.0, max(0.0, (total - position) / (decay * total)))


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
        if options.accumulate is not None and options.accumulate < device.world():
            raise DataError(
                f"accumulate is {options.accumulate}: a step has no batch for some of the {device.world()} processes; "
                "raise it, or start fewer"
            )
        torch.manual_seed(options.seed)
        self.model = Model(options.model).to(where.device)
        self.forward: torch.nn.Module = layout.distribute(self.model, options.layout, where)
        self.optimizer = optimizers.build(
            self.model, options.optimizer, options.lr, options.weight_decay, options.beta2
        )
        self.state = {
            "step": 0,
            "batches": 0,
            "accumulate": options.accumulate,
            "place": None,  # in the files, of a run that reads them in order
            "samples": 0,
            "tokens": 0,
            "flops": 0.0,
            "seconds": 0.0,
            "skipped": 0,
            "spikes": 0,
            "warm": None,
            "decay_from": None,
            "best": None,
            "pins": {},  # tokens of a branch -> the step where its decay begins
        }
        self.history: list = []
        if compile:
            # Lengths differ from batch to batch: one graph with symbolic sizes serves all of them.
            self.forward = torch.compile(self.forward, dynamic=True)
        self.strikes, self.mean_norm = 0, None
        encoder = sum(p.numel() for p in self.model.encoder.parameters())
        self.sizes = encoder, sum(p.numel() for p in self.model.parameters()) - encoder

    def logits(self, data: batches.Batch) -> torch.Tensor:
        with torch.autocast(self.where.device.type, self.where.dtype, enabled=self.where.autocast):
            return self.forward(data.values, data.tokens[:, :-1], data.valid, data.present)

    def step(self, loader) -> dict:
        """One optimizer step; what it saw and did as a dict of plain numbers."""
        options, state = self.options, self.state
        numbers = shared_out(state["batches"], state["accumulate"])
        data = [loader.batch(number) for number in numbers]
        totals = torch.tensor(
            [
                sum(b.n_tokens for b in data),
                sum(map(len, data)),
                sum(self.flops(b) for b in data),
            ],
            dtype=torch.float64,
        )
        totals = self._summed(totals)
        lr = options.lr * self.lr_factor()
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        sums = torch.zeros(3, dtype=torch.float64)
        turns = -(-state["accumulate"] // device.world())  # the same for all: in the sharded layout all work together
        for i in range(turns):
            counts = i < len(data)  # where the batches do not come out even, some go through their last one for nothing
            number, part = (numbers[i], data[i]) if counts else (numbers[-1], data[-1])
            torch.manual_seed(key_for(options.seed, "train.dropout", number)[0] >> 1)
            with layout.gradients_kept(self.forward, i < turns - 1):
                loss, hits, right = loss_sums(self.logits(part), part.tokens)
                # The mean over processes is taken of what is a sum here.
                (loss * (counts * device.world() / max(float(totals[0]), 1.0))).backward()
            sums += torch.stack((loss.detach(), hits, right)).cpu().double() * counts
        sums = self._summed(sums)
        norm = layout.clip(self.model, options.clip)
        self._apply(norm)
        state["step"] += 1
        state["batches"] += state["accumulate"]
        if options.in_order and self.chief:
            state["place"] = loader.place(state["batches"])
        state["samples"] += int(totals[1])
        state["tokens"] += int(totals[0])
        state["flops"] += float(totals[2])
        return {
            "loss": float(sums[0]),
            "hits": float(sums[1]),
            "whole": float(sums[2]),
            "n_tokens": float(totals[0]),
            "n": float(totals[1]),
            "grad_norm": norm,
            "lr": lr,
        }

    def flops(self, data: batches.Batch) -> float:
        """Floating-point operations of a step on these, by the rule of weight_shapes.flops_per_sample."""
        points = input_tokens(self.options.model, data.n_points, data.values.shape[2] - 1)
        return flops_per_sample(*self.sizes, points, data.tokens.shape[1] - 1) * len(data)

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
            if hasattr(self.optimizer, "bound") and self.position() >= (self.state["warm"] or 0.0):
                self.optimizer.bound()
            self.strikes = 0
            if self.mean_norm is not None and norm > SPIKE * self.mean_norm:
                self.state["spikes"] += 1
            self.mean_norm = norm if self.mean_norm is None else 0.98 * self.mean_norm + 0.02 * norm
        else:
            self.strikes += 1
            self.state["skipped"] += 1
            if self.strikes >= STRIKES:
                raise DataError(
                    f"step {self.state['step']}: {STRIKES} steps in a row without a finite gradient; "
                    f"stopped, the last good checkpoint in {self.out} stands (a smaller --lr may mend it)"
                )
        self.optimizer.zero_grad(set_to_none=True)

    # ---- position in the schedule

    def position(self) -> float:
        """Steps, or tokens or seconds when the run is bounded by those."""
        if self.options.steps is not None:
            return float(self.state["step"])
        return float(self.state["tokens"]) if self.options.tokens is not None else self.state["seconds"]

    def total(self) -> float:
        if self.options.steps is not None:
            return float(self.options.steps)
        return self.options.tokens if self.options.tokens is not None else self.options.minutes * 60.0

    def begin(self):
        """Fix what the schedule measures from: called once a leg, after a checkpoint was loaded."""
        self.state["accumulate"] = self.options.accumulate or self.state["accumulate"] or device.world()
        if self.state["accumulate"] < device.world():
            raise DataError(
                f"the run began with {self.state['accumulate']} batches a step, fewer than the {device.world()} processes; "
                "start fewer, or say --accumulate (the steps are others then)"
            )
        if self.state["warm"] is None:
            self.state["warm"] = self.options.warmup * (min(self.options.branches, default=0.0) or self.total())
        if self.options.schedule == "decay" and self.state["decay_from"] is None:
            self.state["decay_from"] = self.position()
        elif self.options.schedule != "decay":
            self.state["decay_from"] = None

    def done(self) -> bool:
        return self.position() - (self.state["decay_from"] or 0.0) >= self.total()

    def lr_factor(self) -> float:
        # The rate of the step about to be taken; counted from 1, so that the first one moves.
        ahead = 1.0 if self.options.steps is not None else 0.0
        if self.options.tokens is not None:
            ahead = max(1.0, self.state["tokens"] / max(self.state["step"], 1))
        return factor(
            self.options.schedule,
            self.position() + ahead,
            self.total(),
            self.state["warm"],
            self.options.decay,
            self.state["decay_from"],
        )

    # ---- validation and checkpoints

    @torch.no_grad()
    def evaluate(self, data: list[batches.Batch]) -> dict:
        """Mean losses over fixed validation batches, dropout off."""
        self.model.eval()
        sums, n_tokens, n = torch.zeros(3, dtype=torch.float64), 0, 0
        for part in data:
            with torch.autocast(self.where.device.type, self.where.dtype, enabled=self.where.autocast):
                logits = self.model(part.values, part.tokens[:, :-1], part.valid, part.present)
            sums += torch.stack(loss_sums(logits, part.tokens)).cpu().double()
            n_tokens, n = n_tokens + part.n_tokens, n + len(part)
        self.model.train()
        return {
            "loss": float(sums[0]) / n_tokens,
            "nats": float(sums[0]) / n,
            "accuracy": float(sums[1]) / n_tokens,
            "exact": float(sums[2]) / n,
        }

    def save(self, with_optimizer: bool = True, pinned: bool = False):
        """Write a checkpoint; in a joint run to be called by all processes at the same step."""
        checkpoints.save_state(
            self.out,
            self.model,
            {**self.state, "pinned": pinned, "mean_norm": self.mean_norm, "seed": self.options.seed},
            self.optimizer if with_optimizer else None,
            self.training(),
            public(self.history),
            writes=self.chief,
        )

    def load(self) -> bool:
        """Go on from the run's newest checkpoint; False when there is none."""
        found = checkpoints.load_state(self.out)
        if found is None:
            return False
        folder, state = found
        model, info = checkpoints.load_model(folder / "model.safetensors")
        if model.config != self.options.model:
            odd = [k for k, v in model.config.to_dict().items() if v != self.options.model.to_dict()[k]]
            raise DataError(f"{folder}: made with another {', '.join(odd)}; resume with the config it was made with")
        layout.fill(self.model, model.state_dict())
        self.history = info["history"]
        checkpoints.load_optimizer(folder, state, self.model, self.optimizer)
        self.mean_norm = state.pop("mean_norm", None)
        if "batches" not in state:  # a run of an earlier version
            options = info["training"].get("options") or {}
            state["accumulate"] = options.get("accumulate") or 1
            state["batches"] = state["step"] * state["accumulate"]
        self.state.update({k: state[k] for k in self.state if k in state})
        return True

    def training(self) -> dict:
        """What a model file says of its making."""
        options = self.options
        told = {
            f.name: getattr(options, f.name) for f in dataclasses.fields(options) if f.name not in ("model", "settings")
        }
        settings = {
            f.name: getattr(options.settings, f.name) for f in dataclasses.fields(options.settings) if f.name != "prior"
        }
        return {
            **{k: v for k, v in self.state.items()},
            "options": told,
            "settings": settings,
            "prior": prior.to_dict(options.settings.prior),
            "torch": torch.__version__,
            "device": str(self.where),
        }

    def due(self) -> bool:
        """Whether a branch's decay begins here, which `pins` then says."""
        found = False
        for tokens in self.options.branches:
            if str(tokens) not in self.state["pins"] and self.state["tokens"] >= (1.0 - self.options.decay) * tokens:
                self.state["pins"][str(tokens)] = self.state["step"]
                found = True
        return found


def shared_out(first: int, accumulate: int) -> range:
    """The numbers of this process's batches in a step: first, first + 1, ... are dealt to the processes in turn."""
    return range(first + device.rank(), first + accumulate, device.world())


def public(history: list) -> list:
    """A history without the folders of the machine it was made on: absolute paths keep their last part."""

    def name(word):
        return Path(word).name if isinstance(word, str) and word.startswith("/") else word

    return [{**entry, "argv": [name(word) for word in entry.get("argv", [])]} for entry in history]


def validation_batches(rows: np.ndarray, settings: Settings, where: torch.device, n: int = 2048) -> list:
    """Fixed batches from held-out skeletons (N, W) uint8: the same in every run with these settings."""
    rows, columns = compact(rows[:n])
    order = np.argsort((rows != PAD_ID).sum(1), kind="stable")
    parts = np.array_split(order, max(1, len(order) // 256))
    made = []
    for i, part in enumerate(parts):
        rng = rng_for(0, "train.validation", i)
        points: int | np.ndarray = (settings.min_points + settings.max_points) // 2
        if settings.points_per == "law":
            points = batches.numbers_of_points(settings, rng, len(part))
        made.append(batches.make(rows[part], columns[part], points, settings, rng, where))
    return [part for part in made if len(part)]


def problem_batches(path: str, settings: Settings, where: torch.device, together: int = 256) -> list:
    """Fixed batches from a stream of problems that carry their laws: what every run is judged on alike.

    DataError for a problem without a law, with more columns than the network takes, or whose law the network cannot write.
    """
    groups: dict[tuple[int, int], list] = {}
    with reader_writer.open_reader(path, holds="problem") as reader:
        for record in reader:
            told = f"{path}: problem {record['id']}"
            truth = record.get("truth") or {}
            if not truth.get("expr"):
                raise DataError(f"{told} carries no law to predict; give what fansr-render wrote")
            if record["X"].shape[1] > settings.columns:
                raise DataError(
                    f"{told} has {record['X'].shape[1]} columns; this network takes at most {settings.columns}"
                )
            if not (np.isfinite(record["X"]).all() and np.isfinite(record["y"]).all()):
                raise DataError(f"{told} holds a cell that is no finite number")
            ids = _target(truth, settings)
            if ids is None or len(ids) > settings.max_length - 2:
                raise DataError(f"{told}: its law {' '.join(truth['expr'])[:80]} cannot be written for this network")
            groups.setdefault(record["X"].shape, []).append((record["X"], record["y"], ids))
    made = []
    for members in groups.values():
        members.sort(key=lambda member: len(member[2]))
        for start in range(0, len(members), together):
            X, y, words = zip(*members[start : start + together])
            rows = np.zeros((len(words), max(map(len, words))), np.int64)
            for row, ids in zip(rows, words):
                row[: len(ids)] = ids
            arrays = (torch.as_tensor(np.stack(part), device=where) for part in (X, y))
            X, y = arrays
            exists = torch.ones(X.shape[0], X.shape[2], dtype=torch.bool, device=where)
            tokens = batches.frame(torch.as_tensor(rows, device=where))
            made.append(batches.assemble(X, y, exists, tokens, settings.scale_columns))
    return made


def _target(truth: dict, settings: Settings) -> list[int] | None:
    """The ids of a problem's law as the network writes it, None where it cannot."""
    expr = truth["expr"]
    if settings.notation == "skeleton":
        return [TOKEN_ID[token] for token in expr] if all(token in TOKEN_ID for token in expr) else None
    numbers = iter(truth.get("consts") if truth.get("consts") is not None else ())
    spelled = [str(round(float(next(numbers)))) if token == CONSTANT else token for token in expr]
    return notations.NOTATIONS[settings.notation].write(notations.without_ones(spelled))
