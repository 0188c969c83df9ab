"""One run of a sweep: trained and judged, by our commands in processes of their own; and the records that come of it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fansr.cli import command
from fansr.errors import DataError
from fansr.streams import open_reader, open_writer

DRAWS = (1, 2, 4, 8, 16, 32, 64, 128)  # at which the share solved is told


class Interrupted(Exception):
    """A command that was started ended by a signal."""


def call(*words: Any, launcher: tuple[str, ...] = (), holds: int | None = None) -> str:
    """Run one of our commands, as ("fansr.network.train", ...), in a process of its own; its stdout.

    holds: a lock's file, which stays locked as long as the process lives, should ours be killed.
    DataError with its last line where it fails, Interrupted where a signal ended it.
    """
    module, *rest = map(str, words)
    source = f"import sys; sys.argv[0] = 'fansr-{module.rpartition('.')[2]}'; from {module} import main; main()"
    line = [*launcher, "-m", module] if launcher else [sys.executable, "-c", source]
    kept = () if holds is None else (holds,)
    done = subprocess.run([*line, *rest], capture_output=True, text=True, check=False, pass_fds=kept)
    if done.returncode < 0 or done.returncode == 130:
        raise Interrupted(module)
    if done.returncode:
        said = [text for text in done.stderr.strip().splitlines() if text.strip()]
        raise DataError(f"{module}: {said[-1] if said else f'ended with {done.returncode}'}")
    return done.stdout


@contextlib.contextmanager
def alone(path: Path, wait: bool) -> Iterator[int | None]:
    """The lock's file while no other process works at this, None where one does and we do not `wait`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            yield None
            return
        yield file.fileno()


# ---- training and judging ---------------------------------------------------------------------


def make(run: dict[str, Any], out: Path, options: dict[str, Any], wait: bool = False) -> list[dict[str, Any]]:
    """Train one run and judge it: its run records, one a ratio.  What is finished is read, not made again.

    Where another process is at it: none, or with `wait` what that one made.

    A training that fails (diverges, say) gives records with status "failed" and the reason, and is not tried again.
    """
    folder = out / run["id"]
    finished = folder / "runs.zst"
    if finished.exists():
        return read_runs(finished)
    with alone(folder / "lock", wait) as lock:
        if lock is None:
            return []
        if finished.exists():
            return read_runs(finished)
        train = folder / "train"
        try:
            words = training_words(run, out, train, options)
            call("fansr.network.train", *words, launcher=launcher(options), holds=lock)
        except DataError as error:
            records = [
                {**bare(run), "ratio": ratio, "status": "failed", "reason": str(error)[:300]} for ratio in run["ratios"]
            ]
        else:
            records = [judged(run, ratio, out, train, folder) for ratio in run["ratios"]]
        write_runs(finished, records)
        for path in (train, *(train / f"branch-{ratio:g}x" for ratio in run["ratios"])):  # weights stay, moments go
            for checkpoint in path.glob("step-*"):
                shutil.rmtree(checkpoint, ignore_errors=True)
        return records


def bare(run: dict[str, Any]) -> dict[str, Any]:
    """A planned run's fields that its records keep."""
    left_out = ("ratios", "corpus", "problems", "tokens", "samples", "flops")
    return {key: value for key, value in run.items() if key not in left_out}


def launcher(options: dict[str, Any]) -> tuple[str, ...]:
    """torchrun and its words where several processes train together, else nothing."""
    nproc, nnodes = options.get("nproc") or 1, options.get("nnodes") or 1
    if nproc * nnodes == 1:
        return ()
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(nproc)]
    if nnodes > 1:
        return (*words, "--nnodes", str(nnodes), "--rdzv-backend", "c10d", "--rdzv-endpoint", options["rdzv"])
    return (*words, "--standalone")


def training_words(run: dict[str, Any], out: Path, train: Path, options: dict[str, Any]) -> list[str]:
    """fansr-train's words for a run.  Processes share a step's batch out, so that a step is the same for any number of them."""
    world = (options.get("nproc") or 1) * (options.get("nnodes") or 1)
    if run["batch"] % world:
        raise DataError(f"batch {run['batch']} cannot be shared out to {world} processes; wanted a divisor of it")
    words: list[Any] = [
        out / "forms.zst", "--config", run["size"], "--batch", run["batch"] // world, "--accumulate", world,
        "--lr", repr(run["lr"]), "--seed", run["seed"], "--hold", 0, "--val", out / "problems-seen.zst", "--out", train,
        "--eval-seconds", options.get("eval_seconds", 600), "--save-seconds", options.get("save_seconds", 60),
        "--device", options.get("device", "auto"), "--dtype", options.get("dtype", "auto"), "--resume", "-q",
    ]  # fmt: skip
    if options.get("device", "auto") != "cuda":
        words += ["--threads", options.get("threads", 1)]
    if run["branch"]:
        words += ["--schedule", "plateau", "--branch", ",".join(f"{ratio:g}x" for ratio in run["ratios"])]
    else:
        words += ["--tokens", f"{run['ratios'][0]:g}x"]
    return [str(word) for word in words]


def judged(run: dict[str, Any], ratio: float, out: Path, train: Path, folder: Path) -> dict[str, Any]:
    """The run record of one ratio: where its training ended, and what its model solves of both sets of problems.

    Runs of the grid are chosen by their loss: they are not made to solve anything.
    """
    place = train / f"branch-{ratio:g}x" if run["branch"] else train
    told = json.loads((place / "model.json").read_text())
    last = told["curve"][-1]
    record = {
        **bare(run), "ratio": ratio, "tokens": last["tokens"], "samples": last["samples"], "flops": last["flops"],
        "seconds": told["training"]["seconds"], "loss": last["loss"], "nats": last["nats"], "accuracy": last["accuracy"],
        "exact_tokens": last["exact"], "device": told["training"]["device"], "checkpoint": str(place.relative_to(out)),
        "status": "finished",
    }  # fmt: skip
    if run["stage"] == "grid":
        return record
    problems = [out / f"problems-{name}.zst" for name in ("seen", "held")]
    scores = scored(place / "model.safetensors", problems, run["samples_drawn"], folder)
    for held, suffix in ((False, ""), (True, "_held")):
        some = [score for score in scores if (score["problem"] >= run["problems"]["seen"]) == held]
        for metric in ("solved", "solved_form", "solved_value", "r2_99", "r2_99_val", "valid"):
            values = [float(score[metric]) for score in some if score.get(metric) is not None]
            record[metric + suffix] = float(np.mean(values)) if values else None
        record["n_problems" + suffix] = len(some)
        record["solved_at" + suffix] = solved_at(some)
    return record


def scored(model: Path, problems: list[Path], samples: int, folder: Path) -> list[dict[str, Any]]:
    """Score records of a model's best draws for these problems.

    A model that writes numbers is taken at its word; one that leaves <constant> has them fitted, as the first paper does.
    """
    from fansr.network import reads_numbers

    candidates, fits, scores = (folder / f"{name}.zst" for name in ("candidates", "fits", "scores"))
    call("fansr.network.sample", *problems, "--model", model, "--samples", samples, "-q", "-o", candidates)
    keep = "keep" if reads_numbers(str(model)) else "refine"
    choice = ("--proposers", "none", "--constants", keep, "--select", "fvu")
    call("fansr.fit", candidates, *choice, "-q", "-j", 1, "-o", fits)
    call("fansr.evaluation.score", fits, "--bootstrap", 0, "--json", "-q", "-o", scores)
    with open_reader(str(scores), holds="score") as reader:
        found = list(reader)
    for path in (candidates, fits, scores):
        path.unlink()
    return found


def solved_at(scores: list[dict[str, Any]]) -> dict[str, float]:
    """Share solved by the best of k draws, expected over which k of them: 1 - C(n - m, k) / C(n, k) of each solved problem,
    n its draws and m those of the function that solves it."""
    from scipy.special import gammaln

    def choose(n, k):
        return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)

    found = {}
    for k in DRAWS:
        shares = []
        for score in scores:
            n, m = score.get("draws") or 0, score.get("n_best") or 0
            if n < k:
                continue
            good = bool(score.get("solved")) and m > 0
            missed = 0.0 if n - m < k else float(np.exp(choose(n - m, k) - choose(n, k)))
            shares.append(good * (1.0 - missed))
        if shares:
            found[str(k)] = float(np.mean(shares))
    return found


# ---- records ----------------------------------------------------------------------------------


def read_runs(path: Path | str) -> list[dict[str, Any]]:
    with open_reader(str(path), holds="run") as reader:
        return list(reader)


def write_runs(path: Path | str, records: list[dict[str, Any]], entry: dict | None = None) -> None:
    """Write run records; entry: the stream's history, else that of this command without a configuration."""
    history = [entry or command.history_entry(seed=0, config=None)]
    with open_writer(str(path), holds="run", history=history) as writer:
        for record in records:
            writer.write(record)
