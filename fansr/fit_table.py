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
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import click
import numpy as np

from fansr.cli import command, live_lines, single_thread
from fansr.errors import DataError, NoAnswer
from fansr.evaluation import printed_report, result
from fansr.expressions import variables
from fansr.fit_view import SearchView
from fansr.fitting import Budget, Problem
from fansr.search import loss_search, outliers, remarks, saved_law, turns, verdict
from fansr.tables import Choice, unit_texts

PICTURES = (".png", ".svg", ".pdf")  # that --plot can draw
PAGES = (".html", ".htm", ".xhtml")  # that --report can write
REPORTING = 0.3  # seconds kept of a --deadline for what follows the search
DRAWING = {"plot": 2.0, "report": 4.0}  # and for pictures, on a busy machine


@dataclass
class Wanted:
    """What a call wants of one table besides the search itself; the fields are the options of fansr-fit of these names."""

    columns: Choice = field(default_factory=Choice)
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
    save: str | None = None
    title: str = ""  # of this table where there are several


class Answer(NamedTuple):
    """What was found for one target of a table."""

    problem: Problem
    notes: list[str]
    dropped: Counter
    found: turns.Found
    judgement: verdict.Judged
    predicted: np.ndarray | None
    options: turns.Options
    loading: float  # seconds before the search


def fit_table(
    data: bytes,
    source: str,
    options: turns.Options,
    wanted: Wanted,
    entry: dict,
    keep: Callable[[dict], None],
    begun: float = single_thread.BEGUN,
) -> None:
    """Find the law of a table, or one for each target, and write what is wanted of it.

    data, source: the table's bytes and what to call it; entry: this command's history entry; keep: takes the fit records for
    -o; begun: when the work on this table began, by time.monotonic.

    DataError for a table that cannot be used; NoAnswer where there is no law; KeyboardInterrupt when all is written after
    a search that was interrupted.
    """
    tasks = _read(data, source, wanted, options.seed)
    try:
        for problem, _, _ in tasks:
            turns.check(options, problem)
            loss_search.check(problem, options.loss, options.robust)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None
    rows = _new_rows([problem for problem, _, _ in tasks], wanted.predict) if wanted.predict else [None] * len(tasks)
    loading = time.monotonic() - begun  # with reading and checking
    answers: list[Answer] = []
    without = []
    interrupted = False
    for k, (task, new_rows) in enumerate(zip(tasks, rows)):
        try:
            answer = _search(*task, new_rows, options, wanted, loading, share=1 / (len(tasks) - k))
        except KeyboardInterrupt:  # before there was a law; the targets before it have theirs
            interrupted = True
            break
        if answer is None:
            without.append(task[0])
            continue
        answers.append(answer)
        if answer.found.status == "interrupted":
            interrupted = True
            break
    if not answers and interrupted:
        raise KeyboardInterrupt
    if not answers:
        raise _no_answer(source, without, options)
    _print(answers, wanted, source)
    if wanted.output:
        for one in answers:
            keep(result.table_record(one.found, one.problem, source, one.judgement))
    if wanted.save:
        for one in answers:
            path = path_of(wanted.save, one.problem, wanted.columns.several)
            saved_law.save(saved_law.of(one.found, one.problem, one.options, one.judgement), path)
    if wanted.plot:
        for one in answers:
            _plot(one.found, one.problem, one.options, path_of(wanted.plot, one.problem, wanted.columns.several))
    if wanted.report:
        for one in answers:
            path = path_of(wanted.report, one.problem, wanted.columns.several)
            _report(one.found, one.problem, one.options, _numbers(one._replace(predicted=None)), source, path, entry)
    if interrupted:
        raise KeyboardInterrupt
    if without:
        raise _no_answer(source, without, options)
    for one in answers:
        if wanted.strict and one.judgement.verdict == "no law":
            of = f"{one.problem.target}: " if wanted.columns.several else ""
            raise NoAnswer(f"{source}: {of}{one.judgement.text}", answered=True)


def _no_answer(source: str, problems: list[Problem], options: turns.Options) -> NoAnswer:
    names = f" for {', '.join(problem.target for problem in problems)}" if len(problems) > 1 else ""
    within = " within the rules given" if options.rules else ""
    return NoAnswer(
        f"{source}: no law was found{names}{within} that gives finite values on all {len(problems[0].y)} rows"
    )


def _search(
    problem: Problem,
    notes: list[str],
    dropped: Counter,
    new_rows,
    options,
    wanted: Wanted,
    loading: float,
    share: float,
) -> Answer | None:
    """The answer for one target, None where there is no law (KeyboardInterrupt where it was interrupted before); it may take a `share` of what is left of a deadline."""
    begun, deadline = time.monotonic() - single_thread.BEGUN, None
    if wanted.deadline is not None:
        deadline = begun + share * (wanted.deadline - _drawing(wanted) - begun)
        options = replace(options, deadline=single_thread.BEGUN + deadline)
    budget = search_budget(wanted.seconds, deadline, begun)
    view = SearchView(problem.target, budget.seconds, wanted.verbose, wanted.title)
    with live_lines.LiveLines(view.lines, wanted.quiet):
        found = outliers.find(problem, replace(options, watch=view.watch), budget)
    notes = [*notes, *(f"{name} failed: {why}" for name, why in found.failures.items())]
    if found.best is None and found.status == "interrupted":
        raise KeyboardInterrupt
    if found.best is None:
        return None
    judgement = result.judged(found, problem, options)
    predicted = None
    if new_rows is not None and wanted.predict:
        predicted = _predicted(found, problem, *new_rows, wanted.predict)
        outside = remarks.outside(new_rows[0], problem, found.best)
        judgement.remarks.extend([outside] if outside else [])
    return Answer(problem, notes, dropped, found, judgement, predicted, options, loading)


def _numbers(one: Answer) -> dict:
    """The object of --json."""
    dropped = sum(one.dropped.values())
    return result.result_dict(
        one.found, one.problem, one.options, one.notes, dropped, one.predicted, one.loading, one.judgement
    )


def _print(answers: list[Answer], wanted: Wanted, source: str) -> None:
    """One object or report, or a list of objects and a report each where several laws were asked for."""
    if wanted.as_json:
        shown = [_numbers(one) for one in answers]
        click.echo(json.dumps(shown if wanted.columns.several else shown[0], ensure_ascii=False, allow_nan=False))
        return
    if wanted.title:
        click.echo(f"== {source} ==")
    for note in dict.fromkeys(note for one in answers for note in one.notes):
        command.remark(f"note: {note}", wanted.quiet)
    for k, one in enumerate(answers):
        report = printed_report.report(one.found, one.problem, one.options, one.judgement, one.loading)
        click.echo(("\n\n" if k else "") + report, err=wanted.predict is not None)
    if wanted.predict:
        columns = [one.predicted for one in answers if one.predicted is not None]
        click.echo(_predictions_csv(columns, [one.problem.target for one in answers]), nl=False)


def path_of(path: str, problem: Problem, several: bool) -> str:
    """A file's name, with the target in it where there are several: fit.png becomes fit-y1.png."""
    from fansr.expressions import export

    root, ending = os.path.splitext(path)
    return f"{root}-{export.identifiers([problem.target])[0]}{ending}" if several else path


def _read(data: bytes, source: str, wanted: Wanted, seed: int) -> list[tuple[Problem, list[str], Counter]]:
    """(problem, remarks, dropped rows by reason) for each target of a table; a share of the rows is held out for --val."""
    from fansr.tables import loading

    tasks = loading.table_problems(loading.parse_table(data, source, wanted.columns.dates), wanted.columns)
    for problem, _, _ in tasks:
        problem.extra["source"] = source
        if wanted.columns.units:
            try:
                problem.units = unit_texts.of_problem(problem, wanted.columns.units)
            except ValueError as error:
                raise click.UsageError(f"--{error}") from None
        if wanted.val:
            _hold_out(problem, wanted.val, seed)
    return tasks


def _new_rows(problems: list[Problem], path: str) -> list[tuple[np.ndarray, list[str]]]:
    """(rows (M', D) of --predict, columns that are not there) for each problem; read before the search, so that a wrong table is
    said at once."""
    from fansr.tables import loading

    readings = {name: one for problem in problems for name, one in problem.extra.get("conversions", {}).items()}
    new = loading.read_table(path, readings=readings)
    found = []
    for problem in problems:
        lacking = [name for name in problem.names if name not in new.names]
        needed = problem.names if len(lacking) == len(problem.names) else set(problem.names) - set(lacking)
        found.append((loading.input_columns(new, problem.names, needed), lacking))
    return found


def _predicted(found: turns.Found, problem: Problem, rows: np.ndarray, lacking: list[str], path: str) -> np.ndarray:
    """The law's values (M',) on new rows; DataError where it needs a column that is not there."""
    used = {problem.names[j] for j in variables(found.best.expr)}
    if used & set(lacking):
        raise DataError(f"{path}: the law needs {', '.join(sorted(used & set(lacking)))}, which is no column there")
    return result.predict(found.best, np.where(np.isnan(rows).all(axis=0), 0.0, rows) if lacking else rows)


def _predictions_csv(columns: list[np.ndarray], targets: list[str]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(targets)
    writer.writerows([["nan" if not math.isfinite(v) else repr(float(v)) for v in row] for row in zip(*columns)])
    return out.getvalue()


def _plot(found: turns.Found, problem: Problem, options: turns.Options, path: str) -> None:
    from fansr.evaluation import plot

    plot.draw_fit(
        problem,
        found.best,
        found.front,
        path,
        found.outliers,
        found.floor,
        options.physics,
        found.weights,
        found.loss,
    )


def _report(
    found: turns.Found, problem: Problem, options: turns.Options, numbers: dict, source: str, path: str, entry: dict
):
    from fansr.evaluation import fitted, report_page

    law = fitted.Fitted.of(
        problem, found.best, found.front, found.outliers, found.floor, options.physics, found.weights, found.loss
    )
    consts = printed_report.rounded_constants(found.best, found.errors, law.kept_rows, found.floor, found.loss)
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
    if problem.ends is not None:
        problem.ends, problem.ends_val = problem.ends[kept], problem.ends[held]
    if "rows" in problem.extra:
        problem.extra["rows"] = problem.extra["rows"][kept]


def _drawing(wanted: Wanted) -> float:
    """Seconds of a deadline that the pictures wanted are left: at most half of it."""
    return min(
        sum(seconds for name, seconds in DRAWING.items() if getattr(wanted, name)), 0.5 * (wanted.deadline or 0.0)
    )


def search_budget(seconds: float | None, deadline: float | None, loading: float) -> Budget:
    """The budget of a table's search, from now: `seconds`, and what `loading` has left of a deadline; None for none."""
    if deadline is not None:
        left = max(0.0, deadline - loading - min(REPORTING, 0.1 * deadline))
        seconds = left if seconds is None else min(seconds, left)
    return Budget(seconds)
