"""fansr-peer: other programs on the same problems, under the same clock, behind the same records.

    fansr-render data/fastsrb.json --val | fansr-peer --method operon --time 10 | fansr-score --by difficulty
    fansr-render data/fastsrb.json --val | fansr-peer --method operon --marks 1,3,10,30 | fansr-score --by budget

Every peer gets scaled columns, a polish of its constants in float64 and a pruning pass (peer_support.py), so that a comparison
is one of searches.  All of it happens within the same seconds; importing a package does not count.

Each problem runs in a process of its own: a peer that raises, crashes or hangs leaves a record whose `status` says so.
A peer is one function (X, y, seconds, seed) -> expressions with literals, best first, in peer_searches.py or peer_networks.py,
and one line in PEERS.  One that knows its best so far may be a generator (X, y, marks, seed) that yields that at each mark
(seconds, ascending): a whole ladder of budgets then costs one search.  The others are run anew for each mark.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import math
import multiprocessing
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import click
import numpy as np

from fansr.cli import command
from fansr.evaluation import peer_networks, peer_searches
from fansr.evaluation.metrics import fvu
from fansr.evaluation.peer_support import power_of_ten, prune, unscaled
from fansr.expressions import CONSTANT, prefix as expressions
from fansr.fitting import Problem
from fansr.streams import check, key_for

SEARCH_SHARE = 0.85  # of the seconds; the rest is for polish and pruning
GRACE = 20.0  # seconds past PATIENCE times the budget before a process counts as hung
PATIENCE = 2.0  # by the wall clock; more where the budget is processor time on a machine that does other work too


# ---- the peers --------------------------------------------------------------------------------


class Peer(NamedTuple):
    """A method: its function, the package it needs, and whether it sees columns scaled by powers of ten."""

    run: Callable
    package: str
    how: str = "pip install 'fansr[peers]'"  # to install the package
    scaled: bool = True
    load: Callable | None = None  # called in the process of its own before its clock begins
    loading: float = 0.0  # seconds that may take before the process counts as hung


_NETWORK = "and follow its README, which says where its weights are"
PEERS = {
    "operon": Peer(peer_searches.operon, "pyoperon"),
    "gplearn": Peer(peer_searches.gplearn, "gplearn"),
    "pysr": Peer(
        peer_searches.pysr,
        "pysr",
        "pip install 'fansr[pysr]'; it fetches Julia when first used",
        load=peer_searches.load_pysr,
        loading=900.0,
    ),
    "flash-ansr": Peer(peer_networks.flash_ansr, "flash_ansr", "pip install flash-ansr (0.19 needs Python 3.12)"),
    "nesymres": Peer(
        peer_networks.nesymres,
        "nesymres",
        f"clone SymposiumOrganization/NeuralSymbolicRegressionThatScales, pip install its src/, {_NETWORK}",
    ),
    "e2e": Peer(
        peer_networks.e2e,
        "symbolicregression",
        f"clone facebookresearch/symbolicregression, put its folder on PYTHONPATH, {_NETWORK}",
    ),
    "prior": Peer(peer_searches.prior, "fansr"),
}


# ---- one problem ------------------------------------------------------------------------------


def searched(run: Callable, X, y, marks: list[float], seed: int):
    """(expressions, seconds of search) of a peer at each mark; fewer when it ends before the last."""
    if not inspect.isgeneratorfunction(run):
        for mark in marks:
            start = time.monotonic()
            yield run(X, y, mark, seed), time.monotonic() - start
        return
    seconds, start = 0.0, time.monotonic()
    for found in run(X, y, marks, seed):
        seconds += time.monotonic() - start
        yield found, seconds
        start = time.monotonic()


def finished(found, X, y, seconds: float) -> tuple[list[str], np.ndarray, bool]:
    """The best of `found` after polish and pruning in `seconds`; the last says that there was time for all of it."""
    end, best = time.monotonic() + seconds, None

    def over() -> bool:
        return time.monotonic() > end

    for tokens in found:
        reason = expressions.problems(tokens)
        assert reason is None, f"no expression of ours: {reason}"
        form, consts, reached = prune(*expressions.free(tokens), X, y, over)
        if best is None or reached < best[2]:
            best = form, consts, reached
    return best[0], best[1], not over()


def answers(problem: Problem, method: str, marks: tuple[float, ...], seed: int):
    """Run one peer (loaded already) on one problem; yields, for each mark, the fields of a fit record that the search decides.

    The answer at a mark is what a run with that many seconds gives: SEARCH_SHARE of them are searched, the rest is for
    polish and pruning, which do not count against later marks.
    """
    peer = PEERS[method]
    scales, target = [1.0] * problem.X.shape[1], 1.0
    if peer.scaled:
        scales, target = [power_of_ten(column) for column in problem.X.T], power_of_ten(problem.y)
    X, y = problem.X / scales, problem.y / target
    search = searched(peer.run, X, y, [SEARCH_SHARE * mark for mark in marks], key_for(seed, "peer", problem.id)[0])
    whole = False
    for mark in marks:
        if (step := next(search, None)) is not None:
            (found, seconds), whole = step, False
        if not whole:  # an ended search's answer is finished again only where the time was too short before
            start = time.monotonic()
            form, consts, whole = finished(found, X, y, mark - seconds)
            answer = {**judged(problem, form, consts, scales, target), "seconds": seconds + time.monotonic() - start}
        yield {**answer, "status": "ok"}


def judged(problem: Problem, form, consts, scales, target) -> dict:
    """Expression over the columns as given, its FVU on both splits, and the form it had over the scaled columns."""
    from fansr.expressions import evaluate

    expr, values = unscaled(form, consts, scales, target)
    fields = {
        "expr": expr,
        "consts": values,
        "fvu": fvu(problem.y, evaluate(expr, problem.X, values)),
        "length": len(form),
        "scaled_expr": form,
    }
    if problem.X_val is not None and problem.y_val is not None:
        fields["fvu_val"] = fvu(problem.y_val, evaluate(expr, problem.X_val, values))
    return fields


# ---- a process for each -----------------------------------------------------------------------


def _child(pipe, record, method, marks, seed):
    for stream in (1, 2):  # what a peer prints must not reach the record stream
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            if (load := PEERS[method].load) is not None:
                load()
            for answer in answers(Problem.from_record(record), method, marks, seed):
                pipe.send(answer)
    except Exception as error:
        pipe.send({"status": f"failed: {type(error).__name__}: {error}"[:300]})


def isolated(record: dict, method: str, marks: tuple[float, ...], seed: int) -> list[dict]:
    """A fit record for each mark (seconds) of one problem, whatever happens to the process that makes them.

    What was answered before a failure stays; the marks after it hold the failure.
    """
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(theirs, record, method, marks, seed))
    process.start()
    theirs.close()
    fits, answer, loading = [], {"status": "ok"}, PEERS[method].loading
    try:
        for mark in marks:
            if answer["status"] == "ok":
                answer = _next_answer(ours, process, mark, loading)
                loading = 0.0
            fits.append(_fit_record(record, method, mark, answer))
    finally:
        process.kill()
        process.join()
        ours.close()
    return fits


def _next_answer(pipe, process, mark: float, loading: float) -> dict:
    try:
        return (
            pipe.recv() if pipe.poll(PATIENCE * mark + GRACE + loading) else {"status": "failed: still running, killed"}
        )
    except EOFError:
        process.join()
        return {"status": f"failed: the process ended with {process.exitcode}"}


def _fit_record(record: dict, method: str, mark: float, answer: dict) -> dict:
    """The fit record of one answer, with what the problem record carries besides its data."""
    fit = {
        "kind": "fit",
        "problem": record["id"],
        "expr": [],
        "consts": np.zeros(0),
        "fvu": math.inf,
        "fvu_val": None,
        "length": 0,
        "seconds": mark,
        "logp": None,
        "source": method,
        "method": method,
        "budget": mark,
        "points": len(record["y"]),
        "low": np.min(record["X"], axis=0),
        "high": np.max(record["X"], axis=0),
    }
    passed = {k: v for k, v in record.items() if k not in ("kind", "id", "X", "y", "X_val", "y_val", "weights", *fit)}
    return {**passed, **fit, **answer}


class Stage:
    """The filter's function: problem records to fit records, one a mark; a failure is a record with its status."""

    def __init__(self, method: str, marks: tuple[float, ...], seed: int):
        self.method, self.marks, self.seed = method, marks, seed

    def __call__(self, records):
        fits = [
            fit for record in records for fit in isolated(check(record, "problem"), self.method, self.marks, self.seed)
        ]
        return fits, Counter()


def warm(method: str):
    """Import what the children need once, here, so that no child's clock pays for it."""
    from fansr.expressions import value_and_jacobian

    value_and_jacobian(["*", CONSTANT, "x1"], np.ones((2, 1)), [1.0])
    modules = {"operon": "pyoperon.sklearn", "gplearn": "gplearn.genetic", "prior": "fansr.fitting.refiner"}
    for name in ("scipy.optimize", modules.get(method, "numpy")):
        if importlib.util.find_spec(name.split(".")[0]):
            importlib.import_module(name)


def _marks(context, param, value):
    try:
        marks = tuple(float(word) for word in value.split(",")) if value else ()
    except ValueError:
        marks = (0.0,)
    if any(not 0.1 <= mark < math.inf for mark in marks) or list(marks) != sorted(set(marks)):
        raise click.UsageError(f"--marks {value}: wanted ascending seconds from 0.1 with commas, e.g. 1,3,10")
    return marks


@command.command(example="fansr-render data/fastsrb.json --val | fansr-peer --method operon --time 10 | fansr-score")
@click.argument("inputs", nargs=-1, metavar="[PROBLEMS ...]")
@click.option("--method", type=click.Choice(list(PEERS)), required=True, help="Which program; prior is the control.")
@click.option(
    "--time",
    "seconds",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="Seconds a problem, polish and pruning included.",
)
@click.option(
    "--marks",
    default=None,
    callback=_marks,
    metavar="S,S,...",
    help="Instead: one search to the last of these seconds, and one fit record for what it had at each.",
)
@command.output_option()
@command.jobs_option()
@command.resume_option()
@command.seed_option()
@command.max_record_option()
@command.quiet_option()
@command.config_option()
def peer(inputs, method, seconds, marks, output, jobs, resume, seed, quiet, config):
    """Fit problems with another program, for comparison: problems in, fit records out."""
    if importlib.util.find_spec(PEERS[method].package) is None:
        raise click.UsageError(f"--method {method} needs the package {PEERS[method].package}: {PEERS[method].how}")
    marks = marks or (seconds,)
    entry = command.history_entry(
        seed=seed, config={"method": method, "seconds": list(marks), "doc": PEERS[method].run.__doc__}
    )
    command.filter_stream(
        inputs,
        output,
        Stage(method, marks, seed),
        reads="problem",
        holds="fit",
        jobs=jobs,
        entry=entry,
        quiet=quiet,
        chunk=1,
        resume=resume,
        initializer=warm,
        initargs=(method,),
    )


main = peer
