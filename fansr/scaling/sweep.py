"""fansr-sweep: plan many training runs, make those that are not made yet, and collect what came out.

    fansr-sweep plan configs/scale/sweep-quick.toml > plan.zst       one run record a run, cheapest first
    fansr-sweep run plan.zst --out runs/quick -j 2                   the runs that are pending, each a fansr-train of its own
    fansr-sweep one plan.zst 3 --out runs/quick                      the fourth alone: for arrays of a cluster
    fansr-sweep collect runs/quick > runs.zst                        one record a finished run, for fansr-law

Kill it at any moment: called again it goes on, a run in work from its last checkpoint, and nothing finished is made again.
The folder holds corpus and problems, made once; for each run a folder of its id with the training and runs.zst, its records.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click
import numpy as np

from fansr.cli import command
from fansr.errors import DataError, NoAnswer
from fansr.scaling import sweep_plan
from fansr.scaling.sweep_run import Interrupted, call, make, read_runs, write_runs
from fansr.streams import open_reader, open_writer, rng_for

ACTIONS = ("plan", "run", "one", "collect")
# Of a cosine's best rate for a plateau: the mean over the run is the same.  At a rate of 0.03 a plateau of nano's ended at a loss of 1.50, where the
# cosine reaches 1.41, and at half of the best, 0.006, at 1.36.
PLATEAU = 0.5


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


# ---- files ------------------------------------------------------------------------------------


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
        return write_runs(output, sweep_plan.plan(told), command.history_entry(seed=0, config=told))
    if action == "collect":
        if not Path(source).is_dir():
            raise DataError(f"{source}: no such folder; wanted one that fansr-sweep run made")
        records = collected(Path(source))
        if not records:
            raise NoAnswer(f"{source}: no run is finished there yet")
        return write_runs(output, records)
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


def main():
    """Entry point of fansr-sweep."""
    sweep()


if __name__ == "__main__":
    main()
