"""NIST's reference data sets for nonlinear regression: whether a search finds a law as good as the certified one, no longer.

    python -m bench.reference_sets FOLDER --time 10        FOLDER: the 27 files Misra1a.dat ... (NIST StRD, or lmfit's NIST_STRD)

Each file states a model and its certified residual sum of squares, both for the target (for its logarithm where the model is of
that).  A law counts as as good when its residual sum is at most 1.01 times the certified one, and it may have no more constants
than the model (whole numbers up to 10 are not counted).  Lanczos' sets are a sum without noise, so that there the certified sum
is that of rounding: any law with an R2 of 1 - 1e-9 is as good.  Searches run in this process on the processor's clock, without the network.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import pathlib
import re
import time
from typing import NamedTuple

import click
import numpy as np

from bench.composite_laws import on_the_processor
from fansr.expressions import evaluate, to_infix

AS_GOOD = 1.01  # times the certified residual sum
NO_NOISE = 1e-9  # share of the variance below which a certified sum is only rounding
WHOLE = 10.0  # whole numbers up to it are no constants of a law


class ReferenceSet(NamedTuple):
    """X (M, D), y (M,) of a set, its columns, the certified residual sum, the model's number of constants and its text."""

    name: str
    X: np.ndarray
    y: np.ndarray
    columns: list[str]
    certified: float
    constants: int
    model: str


def read(path: pathlib.Path) -> ReferenceSet:
    """A file of NIST StRD; ClickException where it holds none."""
    text = path.read_text()
    certified = re.search(r"Residual Sum of Squares:\s+(\S+)", text)
    rows = re.search(r"^Data:\s+(y.*)\n((?:\s*[-+.\dE]+(?:\s+[-+.\dE]+)+\s*\n?)+)", text, re.MULTILINE)
    if not certified or not rows:
        raise click.ClickException(f"{path}: no certified residual sum or no rows of data, wanted a file of NIST StRD")
    columns = rows.group(1).split()
    cells = np.array([[float(cell) for cell in line.split()] for line in rows.group(2).strip().splitlines()])
    y = np.log(cells[:, 0]) if re.search(r"log\[y\]", text) else cells[:, 0]
    model = " ".join(text[text.index("Model:") : text.index("Starting")].split())
    constants = len(re.findall(r"^\s*b\d+ =", text, re.MULTILINE))
    return ReferenceSet(path.stem, cells[:, 1:], y, columns[1:], float(certified.group(1)), constants, model)


def fitted_constants(candidate) -> int:
    """Constants of a law but whole numbers up to WHOLE."""
    return sum(not (float(c).is_integer() and abs(c) <= WHOLE) for c in candidate.consts)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=pathlib.Path))
@click.option("--time", "seconds", default=10.0, show_default=True, help="Processor seconds a set.")
@click.option("--seed", default=0, show_default=True, help="Of the searches.")
@click.option("--only", default="", help="Sets to look at, comma-separated.")
def main(folder, seconds, seed, only):
    """A line a set: residual sum over the certified one, constants beside the model's, the law; then how many are as good."""
    from fansr.fitting import Budget, Problem
    from fansr.search import turns

    on_the_processor()
    proposers = tuple(name for name in turns.DEFAULT_PROPOSERS if name != "model")
    paths = sorted(folder.glob("*.dat"))
    if not paths:
        raise click.ClickException(f"{folder}: no *.dat files, wanted those of NIST StRD")
    good = looked_at = 0
    for one in map(read, paths):
        if only and one.name not in only.split(","):
            continue
        begun = time.process_time()
        problem = Problem(one.X, one.y, one.columns, "y")
        best = turns.search(problem, turns.Options(seed=seed, proposers=proposers), Budget(seconds)).best
        spent = time.process_time() - begun
        with np.errstate(all="ignore"):
            missed = one.y - evaluate(best.expr, one.X, best.consts)
        ratio, total = float(missed @ missed) / one.certified, float(np.sum((one.y - one.y.mean()) ** 2))
        as_good = ratio <= AS_GOOD or (one.certified < NO_NOISE * total and float(missed @ missed) < NO_NOISE * total)
        count = fitted_constants(best)
        good, looked_at = good + (as_good and count <= one.constants), looked_at + 1
        click.echo(
            f"{one.name:9s} {len(one.y):4d} rows  {'as good' if as_good else 'worse  '} {ratio:9.4g}   constants {count} "
            f"(model {one.constants})   {spent:5.1f} s   {to_infix(best.expr, best.consts, one.columns, digits=5)}"
        )
    click.echo(f"{good} of {looked_at} as good as certified with no more constants")


if __name__ == "__main__":
    main()
