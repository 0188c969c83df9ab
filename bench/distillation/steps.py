"""What the showcases of distillation share: trainings that go on where they stopped, results kept by step, tables and pictures.

A showcase keeps everything in one folder: NAME.pt is a training's checkpoint, NAME.json what a step found, *.png pictures.  Killed
or out of its --limit, it is started again with the same command and does what is missing.  The batch of step k depends on (seed, k)
alone, so a training in pieces gives the weights of a training in one.
"""

from __future__ import annotations

import json
import math
import os
import pathlib
import subprocess
import time
from collections.abc import Callable
from typing import Any

import click
import numpy as np
import torch

SAVE_EVERY = 20.0  # seconds
OUT_OF_TIME = 3  # exit status: start again to go on


class Limit:
    """Seconds that one call may take, None without end."""

    def __init__(self, seconds: float | None):
        self.end = math.inf if seconds is None else time.monotonic() + seconds

    def over(self) -> bool:
        return time.monotonic() > self.end

    def stop_if_over(self, what: str) -> None:
        if self.over():
            click.echo(f"{what}; out of --limit, start again to go on", err=True)
            raise SystemExit(OUT_OF_TIME)


def train(
    model: torch.nn.Module,
    loss_of_step: Callable[[int], torch.Tensor],
    steps: int,
    file: pathlib.Path,
    limit: Limit,
    rate: float = 1e-3,
    warmup: float = 0.05,
    weight_decay: float = 0.0,
    clip: float = 1.0,
    after_step: Callable[[int], None] | None = None,
    beside: Any = None,
    clip_gradients: Callable[[float], None] | None = None,
) -> dict:
    """Adam over `steps` losses, the rate rising over the first part `warmup` and falling as a cosine; the model is left in eval mode.

    loss_of_step(k) is the loss of step k; after_step(k) may change the model, such as by masks; beside: what has a state_dict of its
    own that goes on with the training, such as a Pruner; clip_gradients(clip): in the place of one norm over all parameters.
    Returns {"steps", "seconds" of processor time over all pieces, "losses": means of 100 parts of the run}.
    """
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=weight_decay, betas=(0.9, 0.99), fused=True)
    done = {"step": 0, "seconds": 0.0, "losses": []}
    if file.exists():
        saved = torch.load(file, weights_only=True)
        model.load_state_dict(saved["model"])
        done = saved["done"]
        if beside is not None:
            beside.load_state_dict(saved["beside"])
        if done["step"] >= steps:
            model.eval()
            return _summary(done)
        optimizer.load_state_dict(saved["optimizer"])
    model.train()
    begun, before, spent = time.process_time(), done["seconds"], time.monotonic()

    def save():
        done["seconds"] = before + time.process_time() - begun
        part = file.with_suffix(".part")
        states = {"model": model, "optimizer": optimizer, **({} if beside is None else {"beside": beside})}
        torch.save({**{name: what.state_dict() for name, what in states.items()}, "done": done}, part)
        part.replace(file)

    for step in range(done["step"], steps):
        share = step / steps
        factor = min(1.0, (share + 1 / steps) / warmup) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimizer.param_groups:
            group["lr"] = rate * factor
        loss = loss_of_step(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if clip_gradients is None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        else:
            clip_gradients(clip)
        optimizer.step()
        if after_step is not None:
            after_step(step)
        if step % max(1, steps // 100) == 0:
            done["losses"].append(loss.item())
        done["step"] = step + 1
        if step % 10 == 0 and (time.monotonic() - spent > SAVE_EVERY or limit.over()):
            save()
            spent = time.monotonic()
            limit.stop_if_over(f"{file.stem}: step {step + 1} of {steps}, loss {loss.item():.4g}")
    save()
    model.eval()
    return _summary(done)


def _summary(done: dict) -> dict:
    return {"steps": done["step"], "seconds": round(done["seconds"], 1), "losses": done["losses"]}


def step(folder: pathlib.Path, name: str, make: Callable[[], dict]) -> dict:
    """The dictionary that make() gives, from NAME.json where that is there already."""
    file = folder / f"{name}.json"
    if file.exists():
        return json.loads(file.read_text())
    found = make()
    part = file.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1, default=_plain) + "\n")
    part.replace(file)
    return json.loads(file.read_text())


def _plain(value):
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic | torch.Tensor):
        return value.item()
    raise TypeError(f"{type(value).__name__} has no place in a result")


def r2(truth: np.ndarray, columns: np.ndarray) -> float:
    """Share of the variance of truth (N, T) that an affine map of columns (N, K) explains, the worst of the T."""
    design = np.column_stack([columns, np.ones(len(columns))])
    left = truth - design @ np.linalg.lstsq(design, truth, rcond=None)[0]
    return float(1 - (left.var(0) / truth.var(0)).max())


def generator(*key: int) -> torch.Generator:
    """A torch generator that depends on the key alone."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(list(key)).generate_state(1, np.uint64)[0] >> 1))


def table(rows: list[list], heads: list[str]) -> str:
    """A Markdown table; numbers are to be texts already."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in row) + " |" for row in lines)


def processor_seconds() -> float:
    """Of this process and of those it has waited for, such as searches."""
    return sum(os.times()[:4])


def commit() -> str:
    """The commit of this checkout, with + where it was changed since."""
    root = pathlib.Path(__file__).parent
    asked = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=root, capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def options(function):
    """The options of every showcase: --limit and --seed."""
    for option in (
        click.option("--limit", type=float, help="Stop after so many seconds; the next call goes on."),
        click.option("--seed", default=0, show_default=True),
    ):
        function = option(function)
    return function
