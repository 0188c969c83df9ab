"""fansr-fit on one table: read it, search, and write the answer where it was asked for.

Knows nothing of click's options; fit.py hands them over.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import time
from collections import Counter
from dataclasses import dataclass, replace

import click
import numpy as np

from fansr.cli import command, live_lines, single_thread
from fansr.errors import DataError, NoAnswer
from fansr.evaluation import printed_report, result
from fansr.expressions import variables
from fansr.fit_view import SearchView
from fansr.fitting import Budget, Problem
from fansr.search import outliers, rules, turns, verdict
from fansr.streams import reader_writer

PICTURES = (".png", ".svg", ".pdf")  # that --plot can draw
PAGES = (".html", ".htm", ".xhtml")  # that --report can write
REPORTING = 0.3  # seconds kept of a --deadline for what follows the search


@dataclass
class Wanted:
    """What a call wants of one table besides the search itself; the fields are the options of fansr-fit of these names."""

    target: str | None = None
    weights: str | None = None
    sigma: str | None = None
    val: float = 0.0
    seconds: float | None = None  # --time
    deadline: float | None = None
    strict: bool = False
    as_json: bool = False
    predict: str | None = None
    plot: str | None = None
    report: str | None = None
    output: str | None = None
    quiet: bool = False
    verbose: bool = False


def fit_table(data: bytes, source: str, options: turns.Options, wanted: Wanted, entry: dict) -> None:
    """Find the law of a table and write what is wanted of it.

    data, source: the table's bytes and what to call it; entry: this command's history entry for -o.

    DataError for a table that cannot be used; NoAnswer where there is no law; KeyboardInterrupt when all is written after
    a search that was interrupted.
    """
    problem, notes, dropped = _read(data, source, wanted, options.seed)
    try:
        rules.check(options.rules, problem)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    new_rows, lacking = _new_rows(problem, wanted.predict) if wanted.predict else (None, [])
    loading = time.monotonic() - single_thread.BEGUN  # with reading and checking
    if wanted.deadline is not None:
        options = replace(options, deadline=single_thread.BEGUN + wanted.deadline)
    budget = search_budget(wanted.seconds, wanted.deadline, loading)
    view = SearchView(problem.target, budget.seconds, wanted.verbose)
    with live_lines.LiveLines(view.lines, wanted.quiet):
        found = outliers.find(problem, replace(options, watch=view.watch), budget)
    notes += [f"proposer {name} failed: {why}" for name, why in found.failures.items()]
    if found.best is None:
        within = " within the rules given" if options.rules else ""
        raise NoAnswer(f"{source}: no law was found{within} that gives finite values on all {len(problem.y)} rows")
    judgement = result.judged(found, problem, options)
    predicted = None
    if new_rows is not None:
        predicted = _predicted(found, problem, new_rows, lacking, wanted.predict)
        outside = verdict.outside(new_rows, problem, found.best)
        judgement.remarks.extend([outside] if outside else [])
    if wanted.as_json:
        shown = result.result_dict(found, problem, options, notes, sum(dropped.values()), predicted, loading, judgement)
        click.echo(json.dumps(shown, ensure_ascii=False, allow_nan=False))
    else:
        for note in notes:
            command.remark(f"note: {note}", wanted.quiet)
        click.echo(printed_report.report(found, problem, options, judgement, loading), err=predicted is not None)
        if predicted is not None:
            click.echo(_predictions_csv(predicted, problem.target), nl=False)
    if wanted.output:
        with reader_writer.open_writer(wanted.output, "fit", [entry]) as writer:
            writer.write(result.table_record(found, problem, source, judgement))
    if wanted.plot:
        _plot(found, problem, options, wanted.plot)
    if wanted.report:
        numbers = result.result_dict(found, problem, options, notes, sum(dropped.values()), None, loading, judgement)
        _report(found, problem, options, numbers, source, wanted.report, entry)
    if found.status == "interrupted":
        raise KeyboardInterrupt
    if wanted.strict and judgement.verdict == "no law":
        raise NoAnswer(f"{source}: {judgement.text}")


def _read(data: bytes, source: str, wanted: Wanted, seed: int) -> tuple[Problem, list[str], Counter]:
    """(problem, remarks, dropped rows by reason) of a table; a share of the rows is held out for --val."""
    from fansr.tables import loading

    problem, notes, dropped = loading.table_problem(
        loading.parse_table(data, source), wanted.target, weights=wanted.weights, sigma=wanted.sigma
    )
    problem.extra["source"] = source
    if wanted.val:
        _hold_out(problem, wanted.val, seed)
    return problem, notes, dropped


def _new_rows(problem: Problem, path: str) -> tuple[np.ndarray, list[str]]:
    """(rows (M', D) of --predict, columns that are not there); read before the search, so that a wrong table is said at once."""
    from fansr.tables import loading

    new = loading.read_table(path, readings=problem.extra.get("conversions"))
    lacking = [name for name in problem.names if name not in new.names]
    needed = problem.names if len(lacking) == len(problem.names) else set(problem.names) - set(lacking)
    return loading.input_columns(new, problem.names, needed), lacking


def _predicted(found: turns.Found, problem: Problem, rows: np.ndarray, lacking: list[str], path: str) -> np.ndarray:
    """The law's values (M',) on new rows; DataError where it needs a column that is not there."""
    used = {problem.names[j] for j in variables(found.best.expr)}
    if used & set(lacking):
        raise DataError(f"{path}: the law needs {', '.join(sorted(used & set(lacking)))}, which is no column there")
    return result.predict(found.best, np.where(np.isnan(rows).all(axis=0), 0.0, rows) if lacking else rows)


def _predictions_csv(values: np.ndarray, target: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([target])
    writer.writerows([["nan" if not math.isfinite(v) else repr(float(v))] for v in values])
    return out.getvalue()


def _plot(found: turns.Found, problem: Problem, options: turns.Options, path: str) -> None:
    from fansr.evaluation import plot

    plot.draw_fit(problem, found.best, found.front, path, found.outliers, found.floor, options.physics)


def _report(
    found: turns.Found, problem: Problem, options: turns.Options, numbers: dict, source: str, path: str, entry: dict
):
    from fansr.evaluation import fitted, report_page

    law = fitted.Fitted.of(problem, found.best, found.front, found.outliers, found.floor, options.physics)
    consts = printed_report.rounded_constants(found.best, found.errors, law.kept_rows, found.floor)
    settings = {name: ", ".join(value) if isinstance(value, list) else value for name, value in entry["config"].items()}
    page = report_page.page(law, numbers, consts, source, report_page.command_line(entry), settings, entry["utc"])
    report_page.write(page, path)


def check_plot(path: str, option: str = "--plot", endings: tuple[str, ...] = PICTURES) -> None:
    """UsageError or DataError before the search for a picture that cannot be drawn after it."""
    from importlib.util import find_spec

    if not path.lower().endswith(endings):
        raise click.UsageError(f"{option} {path}: wanted a name that ends in {', '.join(endings)}")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise click.UsageError(f"{option} {path}: there is no folder {folder}")
    if os.path.isdir(path):
        raise click.UsageError(f"{option} {path}: that is a folder; wanted the name of a file")
    if not os.access(folder, os.W_OK | os.X_OK) or (os.path.exists(path) and not os.access(path, os.W_OK)):
        raise DataError(f"{option} {path}: may not be written; give a name in a folder of your own")
    if find_spec("matplotlib") is None:
        raise DataError(f"{option} needs matplotlib: pip install 'fansr[plot]'")


def _hold_out(problem: Problem, share: float, seed: int):
    """Move a random share of the rows to X_val, y_val."""
    from fansr.streams import rng_for

    M = len(problem.y)
    n = int(round(share * M))
    if M - n < 2 or n < 1:
        raise click.UsageError(f"--val {share} of {M} rows leaves {M - n} to fit and {n} to hold out")
    order = rng_for(seed, "fit.val").permutation(M)
    held, kept = np.sort(order[:n]), np.sort(order[n:])
    problem.X_val, problem.y_val = problem.X[held], problem.y[held]
    problem.X, problem.y = np.ascontiguousarray(problem.X[kept]), problem.y[kept]
    if problem.weights is not None:
        problem.weights, problem.weights_val = problem.weights[kept], problem.weights[held]
    if "rows" in problem.extra:
        problem.extra["rows"] = problem.extra["rows"][kept]


def search_budget(seconds: float | None, deadline: float | None, loading: float) -> Budget:
    """The budget of a table's search, from now: `seconds`, and what `loading` has left of a deadline; None for none."""
    if deadline is not None:
        left = max(0.0, deadline - loading - min(REPORTING, 0.1 * deadline))
        seconds = left if seconds is None else min(seconds, left)
    return Budget(seconds)
