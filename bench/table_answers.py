"""Right answers over real and small tables: the textbook's law of each, fitted by scipy, beside what the command prints.

    python -m bench.table_answers --times 0.2,1,3 --busy 4
    python -m bench.table_answers --tables FOLDER --times 5        also the tables of a folder with an answers.json

answers.json holds {file name: [law with parameters p1, p2, ..., their start, options of fansr-fit]}; a law may use min, max, abs and
step.  An answer is right when it differs from the fitted law by at most SHARE of what that law itself leaves unexplained (root
mean squares over the rows, relative to each value where --loss relative says so), or by a thousandth of the spread (a
millionth where that law is exact): no measurement then tells the two apart; or when it fits the rows as well to a tenth with fewer
constants.  Where the textbook's law fits the table badly, that is a lenient bar; the column says how much it
leaves.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import json
import multiprocessing
import subprocess
import sys
import time
import warnings
from pathlib import Path

import click
import numpy as np

from bench.families import REAL, parametric
from bench.first_answers import _spin
from fansr.cli import resources
from fansr.expressions import evaluate, from_infix

SHARE = 0.7


def command_line(path: Path, seconds: float | None, more=()) -> list[str]:
    code = "import sys; sys.argv[0] = 'fansr-fit'; from fansr.fit import main; main()"
    words = [sys.executable, "-c", code, str(path), "--json", "-q", "-j", "1", *more]
    return words + (["--time", f"{seconds:g}"] if seconds is not None else [])


def reference(infix: str, start, X: np.ndarray, y: np.ndarray, relative: bool) -> np.ndarray:
    """Values (M,) of the textbook's law, its parameters fitted by scipy's curve_fit from `start`."""
    from scipy.optimize import curve_fit

    names = [f"x{j + 1}" for j in range(X.shape[1])]
    if not len(start):
        return evaluate(from_infix(infix, names), X)
    expr, order = parametric(infix, X.shape[1])

    def model(rows, *p):
        with np.errstate(all="ignore"):
            return evaluate(expr, np.ascontiguousarray(rows.T), [p[k] for k in order])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        best, _ = curve_fit(model, X.T, y, p0=start, maxfev=20000, sigma=np.abs(y) if relative else None)
    return model(X.T, *best)


def judged(result: dict, problem, infix: str, start, relative: bool) -> tuple[bool, float]:
    """(right, share of the spread that the textbook's law leaves)."""
    truth = reference(infix, start, problem.X, problem.y, relative)
    size = np.abs(problem.y) if relative else np.full(len(truth), float(np.std(problem.y)))
    with np.errstate(all="ignore"):
        values = np.broadcast_to(evaluate(result["prefix"], problem.X, np.array(result["constants"])), truth.shape)
        apart = float(np.sqrt(np.mean(((values - truth) / size) ** 2)))
        left = float(np.sqrt(np.mean(((problem.y - truth) / size) ** 2)))
    ours = float(np.sqrt(np.mean(((problem.y - values) / size) ** 2)))
    shorter = ours <= 1.1 * left and len(result["constants"]) < len(start)
    return bool(shorter or apart <= max(1e-6 if left < 1e-8 else 1e-3, SHARE * left)), left


@click.command()
@click.option(
    "--times", default="0.2,1,3", show_default=True, help="Values of --time, comma-separated; none for no --time."
)
@click.option("--busy", default=0, show_default=True, help="Processes kept computing beside it.")
@click.option(
    "--tables", "folder", type=click.Path(exists=True, path_type=Path), help="Further tables, with an answers.json."
)
@click.option("--show", is_flag=True, help="The law of every table.")
def main(times, busy, folder, show):
    """Print right answers over the tables of data/ (and a folder's) for each --time."""
    from fansr.tables.loading import load_problem

    jobs = [(Path(resources.path("data", f"{name}.csv")), *answer, []) for name, answer in REAL.items()]
    if folder is not None:
        answers = json.loads((folder / "answers.json").read_text())
        jobs += [(folder / name, *answer) for name, answer in answers.items()]
    beside = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(busy)]
    for process in beside:
        process.start()
    click.echo(f"{len(jobs)} tables, whole command, {busy} busy beside")
    try:
        for text in times.split(","):
            seconds = None if text == "none" else float(text)
            missed, over = [], 0.0
            for path, infix, start, more in jobs:
                begun = time.monotonic()
                done = subprocess.run(command_line(path, seconds, more), capture_output=True, text=True)
                wall = time.monotonic() - begun
                if done.returncode:
                    missed.append(f"{path.stem} (exit {done.returncode})")
                    continue
                result = json.loads(done.stdout)
                result = result[0] if isinstance(result, list) else result
                if seconds is not None:
                    over = max(over, result["seconds"] - seconds)
                target = more[more.index("--target") + 1] if "--target" in more else None
                problem = load_problem(str(path), target)[0]
                names = result["variables"]
                if len(names) != problem.X.shape[1]:  # --inputs, --ignore
                    keep = [list(problem.names).index(name) for name in names]
                    problem.X, problem.names = np.ascontiguousarray(problem.X[:, keep]), names
                right, left = judged(result, problem, infix, start, "--loss" in more)
                if not right:
                    missed.append(path.stem)
                if show:
                    click.echo(
                        f"    {'right' if right else 'WRONG'}  {path.stem}: {result['expression']}  ({left:.2g} left, {wall:.1f} s)"
                    )
            click.echo(
                f"  --time {text:>4}: {len(jobs) - len(missed)} of {len(jobs)} right; search over its time by at most {over:.2f} s; "
                f"missed: {', '.join(missed) or 'none'}"
            )
    finally:
        for process in beside:
            process.terminate()


if __name__ == "__main__":
    main()
