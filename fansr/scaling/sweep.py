"""fansr-sweep: plan many training runs, make those that are not made yet, and collect what came out.

    fansr-sweep plan configs/scale/sweep-quick.toml > plan.zst       one run record a run, cheapest first
    fansr-sweep run plan.zst --out runs/quick -j 2                   the runs that are pending, each a fansr-train of its own
    fansr-sweep one plan.zst 3 --out runs/quick                      the fourth alone: for arrays of a cluster
    fansr-sweep collect runs/quick > runs.zst                        one record a finished run, for fansr-law

Kill it at any moment: called again it goes on, a run in work from its last checkpoint, and nothing finished is made again.
The folder holds corpus and problems, made once; for each run a folder of its id with the training and runs.zst, its records.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np

from fansr.cli import command
from fansr.errors import DataError, NoAnswer
from fansr.scaling import sweep_plan
from fansr.streams import open_reader, open_writer, rng_for

ACTIONS = ("plan", "run", "one", "collect")
DRAWS = (1, 2, 4, 8, 16, 32, 64, 128)  # at which the share solved is told
# Of a cosine's best rate for a plateau: the mean over the run is the same.  At a rate of 0.03 a plateau of nano's ended at a loss of 1.50, where the
# cosine reaches 1.41, and at half of the best, 0.006, at 1.36.
PLATEAU = 0.5


class Interrupted(Exception):
    """A command that was started ended by a signal."""


# ---- commands ---------------------------------------------------------------------------------


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


# ---- what all runs share ----------------------------------------------------------------------


def prepare(out: Path, run: dict[str, Any], quiet: bool) -> None:
    """Corpus and problems in the sweep's folder, made once; DataError where it holds another's."""
    out.mkdir(parents=True, exist_ok=True)
    told = json.dumps({"corpus": run["corpus"], "problems": run["problems"]}, sort_keys=True)
    with open(out / "corpus.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tasks of an array begin together
        mark = out / "corpus.json"
        if mark.exists():
            if mark.read_text() != told:
                raise DataError(f"{out}: holds a sweep over another corpus or other problems; give another --out")
            return
        command.remark("making corpus and problems", quiet)
        corpus, problems = run["corpus"], run["problems"]
        forms = out / "forms.zst"
        if corpus["file"]:
            shutil.copyfile(corpus["file"], forms)
        else:
            numbers = ("--depth", corpus["depth"], "-n", corpus["number"], "--hold", corpus["hold"])
            call("fansr.corpus.forms", *numbers, "-q", "-o", forms)
        with open_reader(str(forms), holds="skeleton") as reader:
            history, records = reader.history, list(reader)
        for k, (name, chosen) in enumerate(judged_forms(records, problems, str(forms)).items()):
            some = out / f"forms-{name}.zst"
            with open_writer(str(some), holds="skeleton", history=history) as writer:
                for i, record in enumerate(chosen):
                    writer.write({**record, "id": i})
            drawn = out / f"drawn-{name}.zst"
            call(
                "fansr.corpus.render",
                some,
                "--prior",
                "scaling",
                "--seed",
                1000 + k,
                "--val",
                "-q",
                "-j",
                1,
                "-o",
                drawn,
            )
            _first(drawn, out / f"problems-{name}.zst", problems[name], k * problems["seen"])
            for path in (some, drawn):
                path.unlink()
        mark.write_text(told)


def judged_forms(records: list[dict], problems: dict[str, int], name: str) -> dict[str, list[dict]]:
    """{seen, held: forms of the problems}, a third more than are asked for, since some get no finite numbers.

    Those held out are few and come again with new numbers.  Those trained on are drawn to be of the same lengths, each once as
    long as there are enough: else the two shares solved would differ by what happened to be held out.
    """
    rng = rng_for(0, "sweep.problems", 0)
    held = [record for record in records if record.get("held")]
    if not held or len(held) == len(records):
        what = "held out" if not held else "trained on"
        raise DataError(f"{name}: no form is {what}; wanted some to judge on: change [corpus] hold")
    wanted = {key: int(n * 4 / 3) + 1 for key, n in problems.items()}
    order = rng.permutation(len(held)).tolist()
    chosen = {"seen": [], "held": [held[order[i % len(order)]] for i in range(wanted["held"])]}
    by_length: dict[int, list[dict]] = {}
    for i in rng.permutation(len(records)).tolist():
        if not records[i].get("held"):
            by_length.setdefault(len(records[i]["expr"]), []).append(records[i])
    taken = dict.fromkeys(by_length, 0)
    for i in range(wanted["seen"]):
        length = min(by_length, key=lambda n: abs(n - len(held[order[i % len(order)]]["expr"])))
        chosen["seen"].append(by_length[length][taken[length] % len(by_length[length])])
        taken[length] += 1
    return chosen


def _first(source: Path, target: Path, number: int, begin: int) -> None:
    """The first problems of a stream whose laws vary, numbered from `begin`."""
    with open_reader(str(source), holds="problem") as reader:
        kept = [record for record in reader if np.ptp(record["y"]) > 0][:number]
        history = reader.history
    with open_writer(str(target), holds="problem", history=history) as writer:
        for i, record in enumerate(kept):
            writer.write({**record, "id": begin + i})


# ---- one run ----------------------------------------------------------------------------------


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


# ---- files ------------------------------------------------------------------------------------


def read_runs(path: Path | str) -> list[dict[str, Any]]:
    with open_reader(str(path), holds="run") as reader:
        return list(reader)


def write_runs(path: Path, records: list[dict[str, Any]], history: list | None = None) -> None:
    entry = history or [command.history_entry(seed=0, config=None)]
    with open_writer(str(path), holds="run", history=entry) as writer:
        for record in records:
            writer.write(record)


def collected(out: Path) -> list[dict[str, Any]]:
    """Records of all finished runs of a folder, by stage, size and compute."""
    records = [record for path in sorted(out.glob("*/runs.zst")) for record in read_runs(path)]
    return sorted(records, key=lambda r: (r["stage"] != "grid", r["size"], r.get("flops", 0.0), r["seed"]))


def resolved(run: dict[str, Any], best: dict[str, dict[str, float]]) -> dict[str, Any]:
    """A run of the second stage with the batch size and rate that the grid found for its size, or for the one next to it by parameters.

    The grid's runs follow the size's own schedule, a cosine; one with branches stays on a plateau, at PLATEAU times that rate.
    """
    if run["stage"] == "grid" or not best:
        return run
    nearest = min(best, key=lambda name: (name != run["size"], abs(math.log(best[name]["params"] / run["params"]))))
    lr = float(best[nearest]["lr"]) * (PLATEAU if run["branch"] else 1.0)
    run = {**run, "batch": int(best[nearest]["batch"]), "lr": float(f"{lr:.3g}")}
    return {**run, "id": sweep_plan.identity(run)}


def best_so_far(runs: list[dict[str, Any]], out: Path) -> dict[str, dict[str, float]]:
    """What the grid found, once all its runs are finished; also written to best.toml."""
    grid = [run for run in runs if run["stage"] == "grid"]
    done = {
        run["id"]: read_runs(out / run["id"] / "runs.zst") for run in grid if (out / run["id"] / "runs.zst").exists()
    }
    if len(done) < len(grid):
        return {}
    records = [r for some in done.values() for r in some if r["status"] == "finished"]
    best = sweep_plan.best_of_grid(records)
    if best:
        lines = [
            f'["{name}"]\nbatch = {b["batch"]}\nlr = {b["lr"]:g}\nloss = {b["loss"]:.6g}\nparams = {b["params"]}\n'
            for name, b in best.items()
        ]
        (out / "best.toml").write_text("\n".join(lines))
    return best


# ---- all of them ------------------------------------------------------------------------------


def make_all(runs: list[dict[str, Any]], out: Path, options: dict[str, Any], quiet: bool) -> int:
    """Make the pending ones, `jobs` at a time, the grid's before the others; how many are left when the time is over."""
    deadline = time.monotonic() + 60.0 * options["minutes"] if options.get("minutes") else None
    stop = threading.Event()
    said = threading.Lock()
    left = 0

    def work(run, wait=False):
        if stop.is_set() or (deadline is not None and time.monotonic() > deadline):
            return False
        begun = time.monotonic()
        new = not (out / run["id"] / "runs.zst").exists()
        records = make(run, out, options, wait)
        if new and records:
            with said:
                for record in records:
                    command.remark(line_of(record, time.monotonic() - begun), quiet)
        return bool(records)

    for stage in ("grid", "ratios"):
        best = best_so_far(runs, out)
        some = [resolved(run, best) for run in runs if run["stage"] == stage]
        if not some:
            continue
        prepare(out, some[0], quiet)
        with ThreadPoolExecutor(options["jobs"]) as pool:
            futures = [pool.submit(work, run) for run in some]
            try:
                busy = [run for run, future in zip(some, futures) if not future.result()]
                # What a killed sweep left running, or another one has in hand.
                left += sum(not work(run, wait=True) for run in busy)
            except BaseException:
                stop.set()
                raise
    return left


def line_of(record: dict[str, Any], seconds: float) -> str:
    name = f"{record['size']} x{record['ratio']:g} batch {record['batch']} lr {record['lr']:g} seed {record['seed']}"
    if record["status"] != "finished":
        return f"{name}: {record['status']}: {record.get('reason', '')}"
    solved = [
        f"{word} {100 * record[key]:.1f} %, "
        for word, key in (("solved", "solved"), ("held out", "solved_held"))
        if record.get(key) is not None
    ]
    return f"{name}: {record['flops']:.2e} FLOPs, loss {record['loss']:.4f}, {''.join(solved)}{seconds:.0f} s"


# ---- the command ------------------------------------------------------------------------------


@command.command(example="fansr-sweep plan sweep-quick | fansr-cat --tsv --head 5")
@click.argument("action", type=click.Choice(ACTIONS))
@click.argument("source", metavar="SWEEP.toml|PLAN|DIR")
@click.argument("number", type=click.IntRange(0), required=False, metavar="[K]")
@click.option("--out", default=None, metavar="DIR", help="The sweep's folder (run, one).")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=None, help="Begin no run after that (run).")
@click.option("--only", default=None, metavar="SIZE,...", help="Runs of these sizes alone.")
@click.option("--nproc", type=click.IntRange(1), default=1, show_default=True, help="Processes a run, by torchrun.")
@click.option(
    "--nnodes", type=click.IntRange(1), default=1, show_default=True, help="Nodes a run, by torchrun; with --rdzv."
)
@click.option("--rdzv", default=None, metavar="HOST:PORT", help="Where the nodes of a run meet.")
@click.option("--device", default="auto", show_default=True, help="Of the trainings: auto, cpu, cuda.")
@click.option("--dtype", type=click.Choice(("auto", "float32", "bfloat16")), default="auto", show_default=True,
              help="Of the trainings; auto is float32 on a CPU, where bfloat16 is slower at these widths.")  # fmt: skip
@command.output_option("Where plan and collect write; - is stdout.")
@command.jobs_option()
@command.quiet_option()
@command.config_option()
def sweep(action, source, number, out, minutes, only, nproc, nnodes, rdzv, device, dtype, output, jobs, quiet, config):
    """Plan, run and collect a sweep of trainings over sizes, ratios of tokens to parameters, and seeds."""
    if (number is not None) != (action == "one"):
        raise click.UsageError("one PLAN K: the number of a run, from 0, goes with `one` and with nothing else")
    if action in ("run", "one") and not out:
        raise click.UsageError(f"{action}: give the sweep's folder with --out DIR")
    if nnodes > 1 and not rdzv:
        raise click.UsageError("--nnodes needs --rdzv HOST:PORT, the same on every node")
    if action == "plan":
        told = sweep_plan.read(source)
        entry = command.history_entry(seed=0, config=told)
        return _write(output, sweep_plan.plan(told), entry)
    if action == "collect":
        if not Path(source).is_dir():
            raise DataError(f"{source}: no such folder; wanted one that fansr-sweep run made")
        records = collected(Path(source))
        if not records:
            raise NoAnswer(f"{source}: no run is finished there yet")
        return _write(output, records, command.history_entry(seed=0, config=None))
    runs = read_runs(source)
    if only:
        names = {name.strip() for name in only.split(",")}
        runs = [run for run in runs if run["size"] in names or Path(run["size"]).stem in names]
    if dtype == "auto" and (device == "cpu" or (device == "auto" and not _has_gpu())):
        dtype = "float32"
    options = {"jobs": jobs, "minutes": minutes, "nproc": nproc, "nnodes": nnodes, "rdzv": rdzv, "device": device, "dtype": dtype,
               "threads": 1}  # fmt: skip
    try:
        if action == "one":
            if number >= len(runs):
                raise DataError(f"{source}: has {len(runs)} runs; the last is {len(runs) - 1}, {number} was asked for")
            run = resolved(runs[number], best_so_far(runs, Path(out)))
            prepare(Path(out), run, quiet)
            (Path(out) / f".task-{number}").write_text(
                str(Path(out) / run["id"])
            )  # for the recipe: whether it gets further
            for record in make(run, Path(out), options):
                command.remark(line_of(record, record.get("seconds", 0.0)), quiet)
            return None
        left = make_all(runs, Path(out), options, quiet)
    except Interrupted:
        raise KeyboardInterrupt from None
    command.remark(f"{len(runs) - left} of {len(runs)} runs finished", quiet)
    return None


def _has_gpu() -> bool:
    """Whether a GPU's device file is there; torch, which knows better, takes seconds to load."""
    return os.path.exists("/dev/nvidia0")


def _write(output: str, records: list[dict[str, Any]], entry: dict) -> None:
    with open_writer(output, holds="run", history=[entry]) as writer:
        for record in records:
            writer.write(record)


def main():
    """Entry point of fansr-sweep."""
    sweep()


if __name__ == "__main__":
    main()
