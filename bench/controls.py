"""What a user says of a law, kept and of use: tables with a known law, each with the options that say something of it.

    python -m bench.controls --sorts columns,operators --time 5

A case is right when the law predicts fresh rows as its truth does (`fansr-fit --predict`, through the command as a user calls it)
and what was asked of its form holds.  The cases are lists CASES of the modules below.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import csv
import importlib
import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import click
import numpy as np
from click.testing import CliRunner

# sort -> module with its CASES; those that are not there are left out.
SORTS = {
    "columns": "bench.control_cases.columns",
    "operators": "bench.control_cases.operators",
    "forms": "bench.control_cases.forms",
    "losses": "bench.control_cases.losses",
    "groups": "bench.control_cases.groups",
    "units": "bench.control_cases.units",
}


class Case(NamedTuple):
    """A table, the options of fansr-fit that say something of its law, and what is right.

    table: columns by name, the target among them; new: fresh rows without it; wanted (M',): the truth there, NaN where nothing is
    asked; within: the largest root mean square error that is right, as a share of wanted's spread; also: looks at the object of --json and says what is
    wrong with it, or None.
    """

    name: str
    table: Mapping[str, Sequence[Any]]
    options: tuple[str, ...]
    new: Mapping[str, Sequence[Any]]
    wanted: np.ndarray
    within: float = 1e-4
    also: Callable[[dict], str | None] = lambda law: None


def write_table(path: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Columns as a CSV file; numbers in full."""
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values()))


def wrong(case: Case, law: dict) -> str | None:
    """Why the object of --json with its `predictions` is not the answer to a case; None where it is."""
    predicted = np.array([np.nan if v is None else v for v in law["predictions"]], dtype=float)
    if len(predicted) != len(case.wanted):
        return f"{len(predicted)} predictions of {len(case.wanted)}"
    asked = np.isfinite(case.wanted)
    truth = case.wanted[asked]
    off = float(np.sqrt(np.mean((predicted[asked] - truth) ** 2)) / (np.std(truth) or 1.0))
    if not off <= case.within:
        return f"off by {off:.2g} of the spread on fresh rows, at most {case.within:g} is right"
    return case.also(law)


def answer(case: Case, seconds: float) -> tuple[dict | None, str]:
    """(the object of --json or None, why there is none) of a case through the command."""
    from fansr import fit

    with tempfile.TemporaryDirectory() as folder:
        table, new = os.path.join(folder, "table.csv"), os.path.join(folder, "new.csv")
        write_table(table, case.table)
        write_table(new, case.new)
        words = [table, "--time", str(seconds), "-j", "1", "-q", "--json", "--predict", new, *case.options]
        ran = CliRunner().invoke(fit.fit, words)
    if ran.exit_code or ran.exception:
        return None, (ran.stderr.strip().splitlines() or [repr(ran.exception)])[-1]
    return json.loads(ran.stdout), ""


@click.command()
@click.option("--sorts", default=",".join(SORTS), show_default=True, help="Sorts of cases, with commas between.")
@click.option("--time", "seconds", default=5.0, show_default=True, help="Seconds of search for a case.")
@click.option("--case", "only", default="", help="Only cases whose name holds this.")
@click.option("--verbose", "-v", is_flag=True, help="Print every law, not the wrong ones only.")
def main(sorts, seconds, only, verbose):
    """Print the right answers by sort of control."""
    total = right = 0
    for sort in sorts.split(","):
        if sort not in SORTS:
            raise click.UsageError(f"--sorts {sort}: known are {', '.join(SORTS)}")
        if importlib.util.find_spec(SORTS[sort]) is None:
            continue
        cases = [case for case in importlib.import_module(SORTS[sort]).CASES if only in case.name]
        fine, begun = 0, time.process_time()
        for case in cases:
            law, why = answer(case, seconds)
            why = why or wrong(case, law)
            fine += not why
            if why or verbose:
                shown = "" if law is None else f"   {law['target']} = {law['expression']}   FVU {law['fvu']:.2g}"
                click.echo(f"    {'wrong' if why else 'right'}  {case.name}: {why or ''}{shown}")
        spent = (time.process_time() - begun) / max(1, len(cases))
        click.echo(f"  {sort:10s} {fine:2d} of {len(cases)} right   {spent:.2f} s of processor time each")
        total, right = total + len(cases), right + fine
    click.echo(f"  {'all':10s} {right:2d} of {total} right at --time {seconds:g}")


if __name__ == "__main__":
    main()
