"""Right first answers: forty plain laws (plain_laws.py) through the real command, in a process of its own, at given --time values.

    python -m bench.first_answers --times 0.2,1,3 --busy 4 --seed 1
    python -m bench.first_answers --times 0.05 --warm            one process for all: the search alone

A law is right when it agrees with the formula on 1,000 fresh rows of the same ranges to a relative 1e-5 of their spread; nothing
is learned from its spelling.  --busy N keeps N processes computing beside it.  Prints a table: a line for each --time, the laws
missed by name, and the median and largest processor and wall seconds of the whole command.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import json
import multiprocessing
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from bench.plain_laws import LAWS, PlainLaw, table
from fansr.expressions import evaluate, from_infix

AGREES = 1e-5  # of the spread of the fresh rows
FRESH = 1000


def _spin():
    while True:
        sum(i * i for i in range(100_000))


def fresh_rows(law: PlainLaw, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """X (FRESH, D) within the law's ranges and y (FRESH,) by its formula, unrounded."""
    rng = np.random.default_rng([seed, len(law.name)])
    X = np.column_stack([rng.uniform(low, high, FRESH) for low, high in law.ranges.values()])
    return X, evaluate(from_infix(law.formula, list(law.ranges)), X)


def is_right(law: PlainLaw, prefix, consts, seed: int) -> bool:
    X, y = fresh_rows(law, seed)
    with np.errstate(all="ignore"):
        values = evaluate(list(prefix), X, np.array(consts, dtype=float))
    return bool(np.isfinite(values).all() and np.sqrt(np.mean((values - y) ** 2)) <= AGREES * np.std(y))


def by_command(
    law: PlainLaw, seconds: float | None, seed: int, folder: Path, jobs: int
) -> tuple[list[str], list[float]]:
    """(prefix, constants) that `fansr-fit TABLE --time T --json` gives in a fresh process."""
    X, y = table(law, seed)
    path = folder / "table.csv"
    rows = [",".join([*law.ranges, law.target]), *(",".join(repr(float(v)) for v in (*x, t)) for x, t in zip(X, y))]
    path.write_text("\n".join(rows) + "\n")
    code = "import sys; sys.argv[0] = 'fansr-fit'; from fansr.fit import main; main()"
    words = [sys.executable, "-c", code, str(path), "--json", "-q", "-j", str(jobs)]
    words += [] if seconds is None else ["--time", f"{seconds:g}"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    return result["prefix"], result["constants"]


def in_process(law: PlainLaw, seconds: float | None, seed: int) -> tuple[list[str], list[float]]:
    """The same by the search alone, in this process."""
    from fansr.fitting import Budget, Problem
    from fansr.search import turns

    X, y = table(law, seed)
    found = turns.search(Problem(X, y, list(law.ranges), law.target), turns.Options(seed=seed), Budget(seconds))
    return found.best.expr, list(found.best.consts)


@click.command()
@click.option(
    "--times", default="0.05,1,3", show_default=True, help="Values of --time, comma-separated; none for no --time."
)
@click.option("--busy", default=0, show_default=True, help="Processes kept computing beside it.")
@click.option("--seed", default=0, show_default=True)
@click.option("--warm", is_flag=True, help="One process for all laws instead of a command each.")
@click.option("-j", "--jobs", default=1, show_default=True, help="As fansr-fit's.")
@click.option("--every", default=1, show_default=True, help="Only each k-th law.")
def main(times, busy, seed, warm, jobs, every):
    """Print right answers over the plain laws for each --time."""
    beside = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(busy)]
    for process in beside:
        process.start()
    laws = LAWS[::every]
    click.echo(f"{len(laws)} laws, {'warm' if warm else 'whole command'}, {busy} busy beside, seed {seed}")
    click.echo("  --time  right   processor s median, most   wall s median, most   missed")
    try:
        for seconds in (None if t == "none" else float(t) for t in times.split(",")):
            missed, spent, wall = [], [], []
            for law in laws:
                who = resource.RUSAGE_SELF if warm else resource.RUSAGE_CHILDREN
                before, begun = resource.getrusage(who), time.monotonic()
                with tempfile.TemporaryDirectory() as folder:
                    answer = (
                        in_process(law, seconds, seed) if warm else by_command(law, seconds, seed, Path(folder), jobs)
                    )
                after = resource.getrusage(who)
                spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
                wall.append(time.monotonic() - begun)
                if not is_right(law, *answer, seed):
                    missed.append(law.name)
            click.echo(
                f"  {'none' if seconds is None else format(seconds, 'g'):>6}  {len(laws) - len(missed):2d} of {len(laws)}   {statistics.median(spent):10.2f}, {max(spent):.2f}"
                f"   {statistics.median(wall):14.2f}, {max(wall):.2f}   {'; '.join(missed) or 'none'}"
            )
    finally:
        for process in beside:
            process.terminate()


if __name__ == "__main__":
    main()
