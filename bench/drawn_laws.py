"""Laws of four to seven columns drawn from a grammar, as a person might write them: how many a search finds, and when.

    bin/bench-drawn-laws --laws 60 --time 3 --seed 991
    bin/bench-drawn-laws --proposers power,plain,kinks,sums,curves,rational,evolve

Skeletons of 5 to 11 operators come from fansr-gen and fansr-simplify, their numbers and rows from fansr-render: constants from
0.2 to 8, positive columns, 256 rows without noise.  None is written for any proposer.  A law is found where its table is explained
to 1e-20 of its variance; the search runs in this process, on the processor's clock, without the network.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import os
import subprocess
import tempfile
import time
from pathlib import Path

import click
import numpy as np

from bench.composite_laws import on_the_processor
from fansr.fitting import Budget, Problem
from fansr.search import roster, turns
from fansr.streams import reader_writer

BIN = Path(__file__).absolute().parent.parent / "bin"  # the commands of this checkout
FEWEST, MOST, ROWS, EXACT = 4, 7, 256, 1e-20
PRIOR = """
variables = 7

[[skeletons]]
share = 1.0
alpha = 1.0
scale = 10.0
min_ops = 5
max_ops = 11
max_unique = 7
unary = 0.5
constant = 4.0
others = 0.1
weights = { "*" = 14.0, "/" = 10.0, "+" = 6.0, "-" = 6.0, pow = 0.2, pow2 = 5.0, pow3 = 1.0, pow1_2 = 3.0, inv = 1.0, exp = 2.0, log = 1.0, sin = 1.5, cos = 1.5, tanh = 0.3 }

[[constants]]
kind = "log"
share = 1.0
low = -0.7
high = 0.9
negative = 0.0

[[columns]]
kind = "positive"
share = 1.0
spread = 5.0
"""


def drawn(count: int, seed: int) -> list[dict]:
    """`count` problems of FEWEST to MOST columns."""
    with tempfile.TemporaryDirectory() as folder:
        prior, out = Path(folder) / "prior.toml", Path(folder) / "problems.zst"
        prior.write_text(PRIOR)
        line = (
            f"fansr-gen -n {8 * count} --seed {seed} --config {prior} -q | fansr-simplify -q"
            f" | fansr-render --prior {prior} --points {ROWS} --seed {seed} -q -o {out}"
        )
        path = os.pathsep.join([str(BIN), os.environ.get("PATH", os.defpath)])
        subprocess.run(["bash", "-o", "pipefail", "-c", line], check=True, env={**os.environ, "PATH": path})
        with reader_writer.open_reader(str(out), holds="problem") as reader:
            return [p for p in reader if FEWEST <= len(p["X"][0]) <= MOST][:count]


def searched(problem: dict, seconds: float, proposers: tuple[str, ...], seed: int) -> tuple[float, float, str]:
    """(share of the variance left, processor seconds, who proposed the law)."""
    X, y = np.asarray(problem["X"], float), np.asarray(problem["y"], float)
    begun = time.process_time()
    options = turns.Options(seed=seed, proposers=proposers)
    best = turns.search(Problem(X, y, list(problem["names"]), "y"), options, Budget(seconds)).best
    return best.fvu, time.process_time() - begun, best.source


@click.command()
@click.option("--laws", default=60, show_default=True)
@click.option("--time", "seconds", default=3.0, show_default=True, help="Processor seconds a law.")
@click.option("--seed", default=0, show_default=True, help="Of laws, rows and searches.")
@click.option("--proposers", default="", help="Instead of the default ones, comma-separated.")
@click.option("--lost", "listed", is_flag=True, help="Print the laws that are not found.")
def main(laws, seconds, seed, proposers, listed):
    """Laws found, by whom, and processor seconds a law."""
    problems = drawn(laws, seed)
    on_the_processor()
    names = tuple(proposers.split(",")) if proposers else tuple(n for n in roster.DEFAULT_PROPOSERS if n != "model")
    found: dict[str, int] = {}
    spent = 0.0
    for problem in problems:
        left, took, source = searched(problem, seconds, names, seed)
        spent += took
        if left <= EXACT:
            found[source] = found.get(source, 0) + 1
        elif listed:
            click.echo(f"{left:8.1e}  {problem['truth']['infix']}")
    by = ", ".join(f"{name} {n}" for name, n in sorted(found.items(), key=lambda item: -item[1]))
    click.echo(f"found {sum(found.values())} of {len(problems)} ({by}), {spent / len(problems):.2f} s a law")


if __name__ == "__main__":
    main()
