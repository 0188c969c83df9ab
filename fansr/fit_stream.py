"""fansr-fit on a stream: one fit record for every problem, over worker processes.

Knows streams and searches, and nothing of the command's options.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import time
from collections import Counter

import numpy as np

from fansr.cli import command, kernels, live_lines
from fansr.errors import DataError
from fansr.evaluation import result
from fansr.fitting import Budget, Candidate, Problem
from fansr.search import loss_search, outliers, turns
from fansr.streams import reader_writer
from fansr.written_fit import written_record

COUNTED = 1 << 28  # bytes; a larger file is not read once more for the bar's total


def fit_stream(
    source: str,
    output: str,
    options: turns.Options,
    seconds: float | None,
    jobs: int,
    quiet: bool,
    entry: dict,
    resume: bool,
    keep: bool = False,
) -> None:
    """Fit every problem of a stream on `jobs` worker processes and write the fit records in order.

    seconds: --time of each problem; entry: this command's history entry; resume: go on with a killed run's file.
    keep: candidates are taken with the numbers they are written with (--constants keep).
    """
    with reader_writer.open_reader(source, holds=("problem", "candidate")) as reader:
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
            _Worker(options, seconds, keep),
            holds="fit",
            history=history,
            jobs=jobs,
            quiet=quiet,
            resume=resume,
            total=None if quiet or not live_lines.able() else problems_of(source),
            initializer=ready,
            initargs=(options.proposers,),
            cut=cut,
            named=lambda group: (1, f"problem {group[0].id}"),
        )


def problems_of(source: str) -> int | None:
    """How many problems a file holds, for the bar's total; None for a pipe, for candidates, and for what takes long to count.

    What is wrong with the file is said when it is read to be fitted.
    """
    if source == "-" or not os.path.isfile(source) or os.path.getsize(source) > COUNTED:
        return None
    try:
        with reader_writer.open_reader(source, holds=("problem", "candidate")) as reader:
            if reader.header["holds"] != "problem":
                return None
            return sum(len(batch) for batch in reader.batches(command.CHUNK))
    except DataError:
        return None


class _Worker:
    """Fits one group in a worker process and packs the record there."""

    def __init__(self, options: turns.Options, seconds: float | None, keep: bool = False):
        self.options, self.seconds, self.keep = options, seconds, keep

    def __call__(self, group):
        problem, candidates = group
        if self.keep:
            record = written_record(problem, candidates, self.options.select, self.options.gamma)
        else:
            record = fit_record(problem, self.options, self.seconds, candidates)
        packed = reader_writer.pack(record)
        dropped = Counter()  # a failed problem is kept, with its status
        return packed, 1, reader_writer.digest(packed), dropped, 1


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
        turns.check(options, problem)
        loss_search.check(problem, options.loss, options.robust)
    except ValueError as error:  # what is said of the law cannot be said of this problem
        return {**none, "status": f"failed: {error}"[:200], "seconds": time.monotonic() - start, "candidates": 0}
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
    fvu_val = None
    if problem.y_val is not None:
        fvu_val = result.fvu_held_out(best, problem) if found.loss is None else found.loss.held_out(best, problem)
    front = [
        {"expr": c.expr, "consts": np.asarray(c.consts), "fvu": float(c.fvu), "length": c.length, "source": c.source}
        for c in found.front
    ]
    judgement = result.judged(found, problem, options)
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
        **result.drawn(best),
        "seconds": found.seconds,
        "candidates": found.candidates,
        "front": front,
        "failures": found.failures,
        **({"outliers": found.outliers} if len(found.outliers) else {}),
        **({} if found.loss is None else {"loss": str(found.loss.loss)}),
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
                    draw=tuple(record["expr"]),
                )
            )
    if problem is not None:
        yield problem, waiting


def ready(proposers=()):
    """Load kernels and modules, by one small search too, so that the first problem's clock does not pay for them."""
    for name in proposers:
        with contextlib.suppress(ImportError):  # the search says which proposer is missing
            importlib.import_module(turns.PROPOSERS[name][0])
    X = np.linspace(1.0, 2.0, 20)[:, None]
    turns.search(Problem(X, 2.0 * X[:, 0] ** 1.5, ["x1"]), turns.Options(proposers=("power",)), Budget(60.0))
