"""Random small tables through the whole main job: odd shapes, scales, ties, missing cells, hopeless targets.

    bin/bench-fuzz -n 2000 --time 0.5 -j 2

For each table fansr-fit --json must end within its time plus one second with status 0, 1 or 3, without an internal
error; status 0 must come with strict JSON whose law gives finite values on every row that was used.  Anything else is printed
with the seed that makes the table again (--first SEED -n 1 --show), and the exit status is 1.
"""

import json
import pathlib
import sys
import tempfile
import time
import traceback
from collections import Counter

import click
import numpy as np

from fansr.cli import command
from fansr.streams import parallel
from fansr.streams.seeds import rng_for

SLACK = 1.0  # seconds over the budget that are still right


def column(rng, m: int) -> np.ndarray:
    """One column (m,) of some shape and scale."""
    kind = rng.integers(9)
    values = (
        rng.normal(size=m),
        rng.uniform(1, 5, m),
        np.exp(rng.normal(0, 3, m)),
        rng.integers(0, 4, m).astype(float),
        np.full(m, rng.normal()),
        np.arange(m, dtype=float),
        np.round(rng.normal(size=m), 1),
        rng.standard_cauchy(m),
        rng.choice([0.0, 1.0], m),
    )[kind]
    if rng.random() < 0.25:
        values = values * 10.0 ** rng.integers(-300, 300)
    if rng.random() < 0.2:
        values = values + 10.0 ** rng.integers(0, 12)
    return values


def target(rng, columns: list[np.ndarray], m: int) -> np.ndarray:
    """A law of the columns, noisy or not, or something no law explains."""
    x, z = columns[rng.integers(len(columns))], columns[rng.integers(len(columns))]
    with np.errstate(all="ignore"):
        y = (
            x * z,
            x + 2 * z,
            x / z,
            np.sin(x),
            np.sqrt(np.abs(x)) * z,
            np.exp(-np.abs(x)),
            rng.normal(size=m),
            np.full(m, 3.25),
            x**3,
            np.sign(x),
        )[rng.integers(10)]
        if rng.random() < 0.5:
            y = y + rng.normal(size=m) * 10.0 ** rng.uniform(-4, 0) * (
                np.nanstd(y) if np.isfinite(np.nanstd(y)) else 1.0
            )
    return y


def table(seed: int) -> str:
    """The text of one table."""
    rng = rng_for(seed, "fuzz")
    m = int(rng.choice([1, 2, 3, 4, 5, 6, 8, 12, 20, 40, 120]))
    d = int(rng.choice([0, 1, 1, 1, 2, 2, 3, 5, 12, 40]))
    columns = [column(rng, m) for _ in range(d)]
    if d >= 2 and rng.random() < 0.2:
        columns[1] = columns[0] * (1.0 if rng.random() < 0.5 else 2.0)  # duplicates
    if rng.random() < 0.3 and m > 3:  # ties and repeated rows
        for values in columns:
            values[m // 2] = values[0]
    y = target(rng, columns, m) if d else column(rng, m)
    cells = [[f"{v:.{rng.integers(2, 17)}g}" for v in values] for values in (*columns, y)]
    if rng.random() < 0.3:
        for _ in range(int(rng.integers(1, 4))):
            cells[rng.integers(d + 1)][rng.integers(m)] = str(
                rng.choice(["", "NA", "nan", "inf", "-inf", "abc", "1e400", "?"])
            )
    names = [str(rng.choice([f"x{j}", f"my col {j}", f"α{j}", f"a-b{j}", f"{j}", f"exp{j}"])) for j in range(d)] + ["y"]
    lines = [",".join(names), *(",".join(row) for row in zip(*cells))]
    if rng.random() < 0.05:
        lines.insert(int(rng.integers(1, len(lines) + 1)), "1,2,3,4,5,6,7")  # a ragged row
    return "\n".join(lines) + "\n"


def verdict(seed: int, seconds: float) -> tuple[int, str, str]:
    """(seed, outcome, details); the outcome is "fitted", "refused", "no answer" or what went wrong."""
    from click.testing import CliRunner

    from fansr.fit import main

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "table.csv"
        path.write_text(table(seed))
        began = time.process_time()
        result = CliRunner().invoke(main, [str(path), "--time", str(seconds), "--json", "-q", "-j", "1"])
        spent = time.process_time() - began
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return seed, "WRONG: exception", "".join(traceback.format_exception(result.exception))[-600:]
    if "internal error" in result.stderr or "Traceback" in result.stderr:
        return seed, "WRONG: internal error", result.stderr.strip()
    if spent > seconds + SLACK:
        return seed, "WRONG: over time", f"{spent:.2f} CPU seconds for {seconds:g}"
    if result.exit_code in (1, 3):
        lines = result.stderr.strip().splitlines()
        named = {1: "refused", 3: "no answer"}[result.exit_code]
        return (seed, named, lines[0]) if len(lines) == 1 else (seed, "WRONG: not one line on stderr", result.stderr)
    if result.exit_code:
        return seed, f"WRONG: status {result.exit_code}", result.stderr
    return (seed, *_law(result.stdout))


def _law(text: str) -> tuple[str, str]:
    """Is the JSON strict, and is every number of the law and of the front finite?"""

    def refuse(word):
        raise ValueError(f"{word} in the JSON")

    try:
        answer = json.loads(text, parse_constant=refuse)
    except ValueError as error:
        return "WRONG: JSON", str(error)
    words = [answer["expression"], *(entry["expression"] for entry in answer["front"])]
    if any(word in expression for expression in words for word in ("nan", "inf")):
        return "WRONG: NaN in a law", str(words)
    numbers = [answer["fvu"], answer["score"], *answer["constants"], *(entry["fvu"] for entry in answer["front"])]
    if not all(isinstance(number, (int, float)) and np.isfinite(number) for number in numbers):
        return "WRONG: number that is none", str(numbers)
    return "fitted", answer["expression"]


class Task:
    def __init__(self, seconds: float):
        self.seconds = seconds

    def __call__(self, seed: int):
        return verdict(seed, self.seconds)


def ready():
    """Load everything once, outside any table's time: every proposer too, for a first table may not need them all."""
    from fansr import fit_stream
    from fansr.search import turns

    fit_stream.ready(turns.DEFAULT_PROPOSERS)
    verdict(3, 0.5)


@click.command()
@command.number_option("How many tables.", 2000)
@click.option("--first", default=0, show_default=True, help="Seed of the first table.")
@click.option("--time", "seconds", default=0.5, show_default=True, help="Seconds a table.")
@click.option("--show", is_flag=True, help="Print the tables too.")
@command.jobs_option()
@command.quiet_option()
def main(number, first, seconds, show, jobs, quiet):
    """Fit many random tables and report everything that is not as promised."""
    outcomes: Counter = Counter()
    seeds = range(first, first + number)
    for seed, outcome, details in command.progress(
        parallel.ordered_map(Task(seconds), seeds, jobs, ready), total=number, quiet=quiet
    ):
        outcomes[outcome] += 1
        if show:
            click.echo(table(seed))
        if show or outcome.startswith("WRONG"):
            click.echo(f"seed {seed}: {outcome}: {details}")
    click.echo(", ".join(f"{n} {outcome}" for outcome, n in sorted(outcomes.items())))
    sys.exit(any(outcome.startswith("WRONG") for outcome in outcomes))


if __name__ == "__main__":
    main()
