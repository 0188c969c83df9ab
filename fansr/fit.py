"""fansr-fit, the main job: a table, problems or candidates in; ranked laws out.

    fansr-fit data/planets.csv
    fansr-render data/fastsrb.json | fansr-fit --time 10 | fansr-score --by difficulty

A table gives one answer, printed for a person or as JSON; a stream gives one fit record a problem.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import contextlib
import csv
import importlib
import io
import json
import math
import os
import time
from collections import Counter
from dataclasses import replace

import click
import numpy as np

from fansr.cli import command, kernels
from fansr.errors import DataError, NoAnswer
from fansr.expressions import to_infix, variables
from fansr.fitting import Budget, Candidate, Problem
from fansr.search import outliers, rounding, selection, turns, verdict
from fansr.streams import files, reader_writer
from fansr.version import __version__

RESULT_FORMAT = 2  # of the dictionary below; 1 had neither verdict nor remarks, and keys that came and went
PICTURES = (".png", ".svg", ".pdf")  # that --plot can draw
REPORTING = 0.3  # seconds kept of a --deadline for what follows the search

# ---- results ----------------------------------------------------------------------------------


def predict(candidate: Candidate, X: np.ndarray) -> np.ndarray:
    """Values (M,) of a fitted candidate on rows X (M, D)."""
    from fansr.expressions import evaluate

    with np.errstate(all="ignore"):
        return evaluate(candidate.expr, np.ascontiguousarray(X, dtype=np.float64), candidate.consts)


def judged(found: turns.Found, problem: Problem, options: turns.Options) -> verdict.Judged:
    """How good the law is, and what its user should look at."""
    kept = np.ones(len(problem.y), bool)
    kept[found.outliers] = False
    return verdict.judge(problem, found.best, found.errors, found.floor, kept, found.unheard, options.seed)


def result_dict(
    found: turns.Found,
    problem: Problem,
    options: turns.Options,
    warnings=(),
    dropped_rows: int = 0,
    predicted: np.ndarray | None = None,
    loading: float = 0.0,
    judgement: verdict.Judged | None = None,
) -> dict:
    """The dictionary of --json and of SymbolicRegressor.result_: every number in full precision, every key always there.

    predicted: values of --predict; loading: seconds before the search began.
    """
    from fansr.expressions import export

    best = found.best
    names = export.identifiers(problem.names)
    judgement = judgement or judged(found, problem, options)
    return {
        "format": RESULT_FORMAT,
        "expression": to_infix(best.expr, best.consts, problem.names),
        "numpy": export.numpy_source(best.expr, best.consts, names),
        "latex": export.latex(best.expr, best.consts, problem.names),
        "sympy": export.sympy_source(best.expr, best.consts, names),
        "prefix": list(best.expr),
        "constants": [float(c) for c in best.consts],
        "standard_errors": [float(e) if e < math.inf else None for e in found.errors],
        "variables": list(names),
        "target": problem.target,
        "fvu": float(best.fvu),
        "r2": 1.0 - float(best.fvu),
        "length": best.length,
        "score": selection.score(best.fvu, best.length, options.gamma, found.floor),
        "source": best.source,
        "verdict": judgement.verdict,
        "verdict_text": judgement.text,
        "remarks": judgement.remarks,
        "seconds": round(found.seconds, 3),
        "loading_seconds": round(loading + found.loading, 3),
        "candidates": found.candidates,
        "front": [
            {
                "length": c.length,
                "fvu": float(c.fvu),
                "expression": to_infix(c.expr, c.consts, problem.names),
                "numpy": export.numpy_source(c.expr, c.consts, names),
                "source": c.source,
            }
            for c in found.front
        ],
        "dropped_rows": dropped_rows,
        "warnings": list(warnings),
        "recognised": [rounding.recognised(float(c)) if options.physics else "" for c in best.consts],
        **robust_part(found, problem),
        "predictions": None if predicted is None else [_finite(float(v)) for v in predicted],
        "status": found.status,
        "seed": options.seed,
        "version": __version__,
    }


def robust_part(found: turns.Found, problem: Problem) -> dict:
    """Rows set aside by --robust (0-based rows of the table) and the FVU on all rows; chi^2 per degree of freedom of --sigma;
    the FVU on held-out rows; None where not asked for."""
    from fansr.proposers import fvu_of

    everywhere = None
    if len(found.outliers):
        everywhere = fvu_of(problem.y, predict(found.best, problem.X), problem.weights)
    return {
        "outliers": [int(row) for row in outlier_rows(found, problem)],
        "fvu_all_rows": everywhere if everywhere is not None and everywhere < math.inf else None,
        "chi2_per_dof": chi2_per_dof(found, problem) if problem.known else None,
        "fvu_val": _finite(_fvu_val(found.best, problem)) if problem.y_val is not None else None,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def outlier_rows(found: turns.Found, problem: Problem) -> np.ndarray:
    """Rows set aside, counted from 0 in the table that was read (rows that were dropped count too)."""
    rows = problem.extra.get("rows")
    return found.outliers if rows is None else np.asarray(rows)[found.outliers]


def chi2_per_dof(found: turns.Found, problem: Problem) -> float | None:
    """Sum of squared residuals in units of the stated errors over rows less constants; about 1 where law and errors are right."""
    kept = np.ones(len(problem.y), bool)
    kept[found.outliers] = False
    with np.errstate(all="ignore"):
        residual = (problem.y - predict(found.best, problem.X))[kept] * np.sqrt(problem.weights[kept])
        chi2 = float(residual @ residual) / max(1, kept.sum() - int((found.errors > 0).sum()))
    return chi2 if math.isfinite(chi2) else None


def rounded(candidate: Candidate, errors, problem: Problem, floor: float) -> str:
    """The law with as many digits as the data support: rounding may cost at most 1 % of the FVU."""
    from fansr.expressions import evaluate
    from fansr.proposers import fvu_of

    digits = rounding.digits_for(candidate.consts, errors)
    for more in range(0, 16):
        consts = [float(f"{c:.{min(17, d + more)}g}") for c, d in zip(candidate.consts, digits)]
        with np.errstate(all="ignore"):
            value = fvu_of(problem.y, evaluate(candidate.expr, problem.X, np.array(consts)), problem.weights)
        if value <= max(candidate.fvu * 1.01, floor):
            break
    else:
        consts = candidate.consts
    return to_infix(candidate.expr, consts, problem.names)


def report(
    found: turns.Found, problem: Problem, options: turns.Options, judgement: verdict.Judged, loading: float = 0.0
) -> str:
    """What a person reads."""
    best = found.best
    kept = np.ones(len(problem.y), bool)
    kept[found.outliers] = False
    law = rounded(best, found.errors, outliers.rows_of(problem, kept), found.floor)
    lines = [f"{problem.target} = {law}", "", f"  {judgement.verdict}: {judgement.text}"]
    lines += [f"  ! {remark['text']}" for remark in judgement.remarks]
    lines.append("")
    r2 = 1 - best.fvu
    lines.append(
        f"  FVU {best.fvu:.3g}   R2 {r2:.6f}   length {best.length}   {len(problem.y)} rows   "
        f"by {best.source}, {found.candidates} candidates, {found.seconds:.2f} s after {loading + found.loading:.1f} s loading"
    )
    if problem.y_val is not None:
        lines.append(f"  FVU on held-out rows {_fvu_val(best, problem):.3g}")
    if len(found.outliers):
        rows = [str(row + 1) for row in outlier_rows(found, problem)]
        shown = ", ".join(rows[:20]) + (f" and {len(rows) - 20} more" if len(rows) > 20 else "")
        lines.append(f"  {len(rows)} of the rows were set aside as outliers (row {shown})")
    if problem.known and chi2_per_dof(found, problem) is not None:
        lines.append(f"  chi2 {chi2_per_dof(found, problem):.3g} per degree of freedom")
    free = [(k, c, e) for k, (c, e) in enumerate(zip(best.consts, found.errors))]
    if free:
        lines += ["", "  constant  value +- standard error"]
        for k, c, e in free:
            shown = "+- undetermined" if not e < math.inf else f"+- {e:.2g}" if e > 0 else "exact"
            digits = rounding.digits_for([c], [e])[0]
            name = rounding.recognised(float(c)) if options.physics else ""
            lines.append(f"  c{k + 1:<8d} {c:.{digits}g} {shown}{'   taken for ' + name if name else ''}")
    lines += ["", "  length  FVU        law"]
    for c in found.front:
        mark = "*" if c.expr == best.expr and c.fvu == best.fvu else " "
        lines.append(f" {mark}{c.length:6d}  {c.fvu:<9.3g}  {to_infix(c.expr, c.consts, problem.names, digits=6)}")
    return "\n".join(lines)


def _fvu_val(candidate: Candidate, problem: Problem) -> float:
    from fansr.evaluation import fvu
    from fansr.proposers import fvu_of

    values = predict(candidate, problem.X_val)
    if problem.weights_val is not None and problem.weights_val.any():
        return fvu_of(problem.y_val, values, problem.weights_val)
    return fvu(problem.y_val, values)


# ---- one record of a stream -------------------------------------------------------------------


def fit_record(problem: Problem, options: turns.Options, seconds: float | None, candidates=()) -> dict:
    """One fit record for one problem; what the problem record carries besides the data passes through."""
    record = {
        "kind": "fit",
        "problem": problem.id,
        "points": len(problem.y),
        "target": problem.target,
        "names": problem.names,
        "budget": seconds,
        "low": problem.X.min(axis=0),
        "high": problem.X.max(axis=0),
        **problem.extra,
    }
    none = {
        **record,
        "expr": [],
        "consts": np.zeros(0),
        "fvu": math.inf,
        "fvu_val": math.inf,
        "length": 0,
        "source": "",
        "logp": None,
    }
    start = time.monotonic()
    try:
        found = outliers.find(problem, options, Budget(seconds), candidates)
    except Exception as error:  # our slip on one problem of many must not cost the others
        if os.environ.get("FANSR_DEBUG") == "1":
            raise
        status = f"failed: {type(error).__name__}: {error}"[:200]
        return {**none, "status": status, "seconds": time.monotonic() - start, "candidates": 0}
    best = found.best
    if best is None:
        return {**none, "status": "failed", "seconds": found.seconds, "candidates": found.candidates}
    fvu_val = _fvu_val(best, problem) if problem.y_val is not None else None
    front = [
        {"expr": c.expr, "consts": np.asarray(c.consts), "fvu": float(c.fvu), "length": c.length, "source": c.source}
        for c in found.front
    ]
    judgement = judged(found, problem, options)
    return {
        **record,
        "verdict": judgement.verdict,
        "remarks": judgement.remarks,
        "expr": best.expr,
        "consts": np.asarray(best.consts, dtype=np.float64),
        "fvu": float(best.fvu),
        "fvu_val": fvu_val,
        "length": best.length,
        "status": found.status,
        "source": best.source,
        "logp": best.logp,
        "seconds": found.seconds,
        "candidates": found.candidates,
        "front": front,
        "failures": found.failures,
        **({"outliers": found.outliers} if len(found.outliers) else {}),
    }


def grouped(reader):
    """(problem, its candidates) from a stream of problems with or without candidates after each."""
    problem, waiting = None, []
    for record in reader:
        if record["kind"] == "problem":
            if problem is not None:
                yield problem, waiting
            problem, waiting = Problem.from_record(record), []
        elif record["kind"] == "candidate":
            if problem is None or record.get("problem") != problem.id:
                raise DataError(
                    f"candidate {' '.join(record.get('expr', []))!r} of problem {record.get('problem')} comes "
                    "without its problem record before it: give the stream fansr-sample wrote"
                )
            waiting.append(
                Candidate(
                    list(record["expr"]),
                    source=record.get("source") or "",
                    logp=record.get("logp"),
                    n=record.get("n") or 1,
                )
            )
    if problem is not None:
        yield problem, waiting


class _Worker:
    """Fits one group in a worker process and packs the record there."""

    def __init__(self, options: turns.Options, seconds: float | None):
        self.options, self.seconds = options, seconds

    def __call__(self, group):
        problem, candidates = group
        record = fit_record(problem, self.options, self.seconds, candidates)
        packed = reader_writer.pack(record)
        dropped = Counter()  # a failed problem is kept, with its status
        return packed, 1, reader_writer.digest(packed), dropped, 1


def _ready(proposers=()):
    """Load kernels and modules, by one small search too, so that the first problem's clock does not pay for them."""
    for name in proposers:
        with contextlib.suppress(ImportError):  # the search says which proposer is missing
            importlib.import_module(turns.PROPOSERS[name][0])
    X = np.linspace(1.0, 2.0, 20)[:, None]
    turns.search(Problem(X, 2.0 * X[:, 0] ** 1.5, ["x1"]), turns.Options(proposers=("power",)), Budget(60.0))


def _fit_stream(source, output, options, seconds, jobs, quiet, entry, resume):
    reader = reader_writer.open_reader(source, holds=("problem", "candidate"))
    history = [*reader.history, entry]
    kernels.ensure(
        "fitting", *(turns.KERNELS[name] for name in options.proposers if name in turns.KERNELS), quiet=quiet
    )

    cut = []

    def items(consumed):
        for i, group in enumerate(grouped(reader)):
            if i >= consumed:
                yield group
        if reader.interrupted:
            cut.append(reader.interrupted)

    command.write_stream(
        output,
        items,
        _Worker(options, seconds),
        holds="fit",
        history=history,
        jobs=jobs,
        quiet=quiet,
        resume=resume,
        initializer=_ready,
        initargs=(options.proposers,),
        cut=cut,
        named=lambda group: (1, f"problem {group[0].id}"),
    )


# ---- one table --------------------------------------------------------------------------------


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


def _predictions_csv(values: np.ndarray, target: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([target])
    writer.writerows([["nan" if not math.isfinite(v) else repr(float(v))] for v in values])
    return out.getvalue()


def search_budget(seconds: float | None, deadline: float | None, loading: float) -> Budget:
    """The budget of a table's search, from now: `seconds`, and what `loading` has left of a deadline; None for none."""
    if deadline is not None:
        left = max(0.0, deadline - loading - min(REPORTING, 0.1 * deadline))
        seconds = left if seconds is None else min(seconds, left)
    return Budget(seconds)


def _check_plot(path: str):
    """UsageError or DataError before the search for a picture that cannot be drawn after it."""
    from importlib.util import find_spec

    if not path.lower().endswith(PICTURES):
        raise click.UsageError(f"--plot {path}: wanted a name that ends in {', '.join(PICTURES)}")
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise click.UsageError(f"--plot {path}: there is no folder {folder}")
    if find_spec("matplotlib") is None:
        raise DataError("--plot needs matplotlib: pip install 'fansr[plot]'")


def _fit_table(data, source, target, options, seconds, show, entry):
    from fansr.tables import loading

    problem, warnings, dropped = loading.table_problem(
        loading.parse_table(data, source), target, weights=show["weights"], sigma=show["sigma"]
    )
    problem.extra["source"] = source
    if show["val"]:
        _hold_out(problem, show["val"], options.seed)
    new_rows, lacking = None, []
    if show["predict"]:  # read before the search, so that a wrong table is said at once
        new = loading.read_table(show["predict"])
        lacking = [name for name in problem.names if name not in new.names]
        needed = problem.names if len(lacking) == len(problem.names) else set(problem.names) - set(lacking)
        new_rows = loading.input_columns(new, problem.names, needed)
    spent = time.monotonic() - single_thread.BEGUN  # on loading, reading and checking
    if options.deadline is not None:
        options = replace(options, deadline=single_thread.BEGUN + options.deadline)
    found = outliers.find(problem, options, search_budget(seconds, show["deadline"], spent))
    for name, why in found.failures.items():
        warnings.append(f"proposer {name} failed: {why}")
    if found.best is None:
        raise NoAnswer(f"{source}: no law was found that gives finite values on all {len(problem.y)} rows")
    judgement = judged(found, problem, options)
    predicted = None
    if new_rows is not None:
        used = {problem.names[j] for j in variables(found.best.expr)}
        if used & set(lacking):
            raise DataError(
                f"{show['predict']}: the law needs {', '.join(sorted(used & set(lacking)))}, which is no column there"
            )
        predicted = predict(
            found.best, np.where(np.isnan(new_rows).all(axis=0), 0.0, new_rows) if lacking else new_rows
        )
        outside = verdict.outside(new_rows, problem, found.best)
        judgement.remarks.extend([outside] if outside else [])
    _show(found, problem, options, warnings, sum(dropped.values()), predicted, show, judgement, spent)
    if show["output"]:
        record = {
            **fit_stream_record(found, problem),
            "source_table": source,
            "verdict": judgement.verdict,
            "remarks": judgement.remarks,
        }
        with reader_writer.open_writer(show["output"], "fit", [entry]) as writer:
            writer.write(record)
    if show["plot"]:
        _plot(found, problem, show["plot"])
    if found.status == "interrupted":
        raise KeyboardInterrupt
    if show["strict"] and judgement.verdict == "no law":
        raise NoAnswer(f"{source}: {judgement.text}")


def fit_stream_record(found: turns.Found, problem: Problem) -> dict:
    """The fit record of a table, with its data, so that it can be drawn and scored later."""
    best = found.best
    record = {
        "kind": "fit",
        "problem": problem.id,
        "expr": best.expr,
        "consts": np.asarray(best.consts),
        "fvu": float(best.fvu),
        "length": best.length,
        "status": found.status,
        "source": best.source,
        "logp": best.logp,
        "seconds": found.seconds,
        "points": len(problem.y),
        "names": problem.names,
        "target": problem.target,
        "X": problem.X,
        "y": problem.y,
        "front": [
            {"expr": c.expr, "consts": np.asarray(c.consts), "fvu": float(c.fvu), "length": c.length}
            for c in found.front
        ],
    }
    if len(found.outliers):
        record["outliers"] = found.outliers
    if problem.y_val is not None:
        record.update(X_val=problem.X_val, y_val=problem.y_val, fvu_val=_fvu_val(best, problem))
    return record


def _show(found, problem, options, warnings, dropped_rows, predicted, show, judgement, loading):
    if show["json"]:
        result = result_dict(found, problem, options, warnings, dropped_rows, predicted, loading, judgement)
        click.echo(json.dumps(result, ensure_ascii=False, allow_nan=False))
        return
    for warning in warnings:
        command.remark(f"note: {warning}", show["quiet"])
    click.echo(report(found, problem, options, judgement, loading), err=predicted is not None)
    if predicted is not None:
        click.echo(_predictions_csv(predicted, problem.target), nl=False)


def _plot(found, problem, path):
    try:
        from fansr.evaluation import plot

        plot.draw_fit(problem, found.best, found.front, path)
    except ImportError as error:
        raise DataError(f"--plot needs {error.name or 'matplotlib'}: pip install 'fansr[plot]'") from None


def _is_stream(head: bytes) -> bool:
    """True for the first plain bytes of a fansr stream: a msgpack map whose first key is kind."""
    return bool(head) and 0x80 <= head[0] <= 0x8F and b"kind" in head[:8]


def _peek(source: str):
    """(bytes of a table or None, source for a stream reader): told apart by content, not by name."""
    from fansr.tables import loading

    file = files.open_file(source, "a table or a stream")
    if source == "-":
        head = file.peek(1 << 16)
    else:
        with file:
            head = file.read(1 << 18)
    if _is_stream(files.plain_head(head)):
        return None, source
    return loading.read_bytes(source), source


def _proposers(context, param, value):
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    unknown = [name for name in names if name not in turns.PROPOSERS]
    if unknown or not names:
        raise click.UsageError(
            f"--proposers {value}: unknown {', '.join(unknown) or '(none)'}; known are {', '.join(turns.PROPOSERS)}"
        )
    return names


def _once(context, param, value):
    if len(value) > 1:
        raise click.UsageError(f"{param.opts[0]} was given {len(value)} times ({', '.join(value)}), wanted one")
    return value[0] if value else None


@command.command(example="fansr-fit data/planets.csv --samples 4096")
@click.argument("data", default="-", metavar="[DATA.csv | STREAM]")
@click.option(
    "--target",
    metavar="NAME",
    multiple=True,
    callback=_once,
    help="Column to explain.  [default: the last column of numbers]",
)
@click.option(
    "--samples", type=click.IntRange(0), default=4096, show_default=True, help="Skeletons drawn from the model."
)
@click.option(
    "--time",
    "seconds",
    type=click.FloatRange(0.0),
    default=None,
    metavar="SECONDS",
    help="Seconds of search for one table or problem; loading comes before, and the commonest laws are tried whatever the time.  "
    "[default: none, work goes by counts and is repeatable]",
)
@click.option(
    "--deadline",
    type=click.FloatRange(0.0),
    default=None,
    metavar="SECONDS",
    help="End the whole process by then, counted from its beginning (a table only).",
)
@click.option(
    "--proposers",
    default=",".join(turns.DEFAULT_PROPOSERS),
    show_default=True,
    callback=_proposers,
    metavar="LIST",
    help="Who proposes laws.",
)
@click.option(
    "--gamma",
    type=click.FloatRange(0),
    default=selection.GAMMA,
    show_default=True,
    help="Price of a token in log10 FVU (equation 3).",
)
@click.option(
    "--restarts", type=click.IntRange(1, 1024), default=8, show_default=True, help="Starts for the constants."
)
@click.option(
    "--select",
    type=click.Choice(selection.SELECTORS),
    default="mdl",
    show_default=True,
    help="How the law is chosen: description length, equation 3 (score), BIC, AICc, or FVU alone.",
)
@click.option("--model", metavar="FILE", default=None, help="Checkpoint of the model.  [default: the shipped one]")
@click.option(
    "--physics/--no-physics",
    default=True,
    show_default=True,
    help="Recognise products of CODATA values among the constants.",
)
@click.option("--weights", metavar="NAME", help="Column of weights of the squared residuals; it is no input then.")
@click.option(
    "--sigma",
    metavar="NAME",
    help="Column of standard errors of the target: weights 1/sigma^2, and the noise is known.",
)
@click.option("--robust", "is_robust", is_flag=True, help="Set rows aside that no law explains, and say which.")
@click.option(
    "--val", type=click.FloatRange(0, 0.9), default=0.0, help="Share of the rows held out and only reported on."
)
@click.option("--strict", is_flag=True, help="Exit status 3 where the verdict is that there is no law.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@click.option(
    "--predict", "predict_path", metavar="NEW.csv", help="Write the law's values for these rows to stdout as CSV."
)
@click.option("--plot", "plot_path", metavar="FILE", help="Draw fit, residuals and front (png or svg).")
@click.option(
    "-o",
    "--output",
    default=None,
    metavar="FILE",
    help="Record stream of the result.  [default: stdout for a stream, none for a table]",
)
@command.jobs_option()
@command.seed_option()
@command.resume_option()
@command.max_record_option()
@command.quiet_option()
@command.config_option()
def fit(
    data,
    target,
    samples,
    seconds,
    deadline,
    proposers,
    gamma,
    restarts,
    select,
    model,
    physics,
    weights,
    sigma,
    is_robust,
    val,
    strict,
    as_json,
    predict_path,
    plot_path,
    output,
    jobs,
    seed,
    resume,
    quiet,
    config,
):
    """Find the law behind a table (CSV, TSV, ...) or behind every problem of a stream."""
    options = turns.Options(
        samples=samples,
        proposers=proposers,
        gamma=gamma,
        restarts=restarts,
        select=select,
        seed=seed,
        jobs=jobs,
        model=model,
        physics=physics,
        robust=is_robust,
        deadline=deadline,
        quiet=quiet,
    )
    if plot_path:
        _check_plot(plot_path)
    entry = command.history_entry(
        seed=seed,
        config={
            "samples": samples,
            "time": seconds,
            "deadline": deadline,
            "proposers": list(proposers),
            "gamma": gamma,
            "restarts": restarts,
            "select": select,
            "model": model,
            "physics": physics,
            "robust": is_robust,
        },
    )
    table_bytes, source = _peek(data)
    if table_bytes is None:
        for name, value in (
            ("--target", target),
            ("--predict", predict_path),
            ("--plot", plot_path),
            ("--val", val),
            ("--json", as_json),
            ("--weights", weights),
            ("--sigma", sigma),
            ("--strict", strict),
            ("--deadline", deadline),
        ):
            if value:
                raise click.UsageError(f"{name} goes with a table, but {data} is a stream")
        options.jobs = 1  # the problems themselves are spread over the workers
        _fit_stream(source, output or "-", options, seconds, jobs, quiet, entry, resume)
        return
    if weights and sigma:
        raise click.UsageError("--weights and --sigma: give one of them (weights are 1/sigma^2)")
    show = {
        "weights": weights,
        "sigma": sigma,
        "val": val,
        "strict": strict,
        "deadline": deadline,
        "json": as_json,
        "predict": predict_path,
        "plot": plot_path,
        "output": output,
        "quiet": quiet,
    }
    _fit_table(table_bytes, "stdin" if source == "-" else source, target, options, seconds, show, entry)


main = fit
