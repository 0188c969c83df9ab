"""fansr-peer: other programs on the same problems, under the same clock, behind the same records.

    fansr-render data/fastsrb.json --val | fansr-peer --method operon --time 10 | fansr-score --by difficulty
    fansr-render data/fastsrb.json --val | fansr-peer --method operon --marks 1,3,10,30 | fansr-score --by budget

Every peer gets scaled columns, a polish of its constants in float64 and a pruning pass (peer_support.py), so that a comparison
is one of searches.  All of it happens within the same seconds; importing a package does not count.

Each problem runs in a process of its own: a peer that raises, crashes or hangs leaves a record whose `status` says so.
A peer is one function (X, y, seconds, seed) -> expressions with literals, best first, and one line in PEERS.  One that
knows its best so far may be a generator (X, y, marks, seed) that yields that at each mark (seconds, ascending): a whole
ladder of budgets then costs one search.  The others are run anew for each mark.
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
from fansr.evaluation import peer_networks
from fansr.evaluation.metrics import fvu
from fansr.evaluation.peer_support import power_of_ten, prune, unscaled
from fansr.expressions import CONSTANT, prefix as expressions
from fansr.fitting import Problem
from fansr.streams import check, key_for

SEARCH_SHARE = 0.85  # of the seconds; the rest is for polish and pruning
GRACE = 20.0  # seconds past PATIENCE times the budget before a process counts as hung
PATIENCE = 2.0  # by the wall clock; more where the budget is processor time on a machine that does other work too
CONTROL_BATCH = 1000  # skeletons the control draws and refines at a time
SOLVED = 1e-9  # FVU of a float32 search that cannot get better: go on to the polish


# ---- the peers --------------------------------------------------------------------------------


def operon(X, y, marks: list[float], seed: int):
    """pyoperon 0.6: population 1000, length <= 50, ten Levenberg-Marquardt steps a child, one thread, objective R2.

    Runs in warm-started chunks of about half a second until the time is up or the fit is at float32 precision.
    Yields the best of all chunks so far at each mark.
    """
    from pyoperon.sklearn import SymbolicRegressor

    model = SymbolicRegressor(
        allowed_symbols="add,sub,mul,div,pow,constant,variable,sin,cos,tanh,asin,exp,log,sqrt,cbrt,square,abs",
        objectives=["r2"],
        optimizer_iterations=10,
        population_size=1000,
        max_length=50,
        generations=2,
        max_evaluations=10**9,
        n_threads=1,
        warm_start=True,
        random_state=seed & 0x7FFFFFFF,
    )
    start = time.monotonic()
    best, best_fvu = None, math.inf
    a_generation = 0.0
    for mark in marks:
        while (left := start + mark - time.monotonic()) > 0 and best_fvu > SOLVED:
            model.generations = max(1, int(min(0.5, left) / a_generation)) if a_generation else 2
            model.max_time = max(2, math.ceil(4 * left))  # a backstop; chunks end by their generations
            began = time.monotonic()
            model.fit(X, y)
            found = fvu(y, model.predict(X))
            if found < best_fvu or best is None:
                best, best_fvu = _operon_tokens(model), found
            a_generation = max(1e-3, (time.monotonic() - began) / model.generations)
            model.random_state = (model.random_state + 1) & 0x7FFFFFFF
        held = time.monotonic()
        yield [best]
        if best_fvu <= SOLVED:
            return
        start += time.monotonic() - held  # the polish of an answer is not the search's time


def _operon_tokens(model) -> list[str]:
    """Its tree holds nodes in post-order with operands from the right, so that reading it backwards is our order."""
    names = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Square": "pow2", "Sqrt": "pow1_2", "Cbrt": "pow1_3"}
    columns = {hash_: f"x{j + 1}" for j, hash_ in enumerate(model.variables_)}
    tokens: list[str] = []
    for node in reversed(model.model_.Nodes):
        kind = str(node.Type).rsplit(".", 1)[-1]
        if kind == "Variable":
            tokens += ["*", repr(float(node.Value)), columns[node.HashValue]]
        elif kind == "Constant":
            tokens.append(repr(float(node.Value)))
        else:
            tokens.append(names.get(kind, kind.lower()))
    return tokens


def gplearn(X, y, marks: list[float], seed: int):
    """gplearn 0.4: population 1000, its full function set with exp, mean squared error, parsimony 1e-4, generation by
    generation until the next would end too late; yields the best program of all of them (by fitness without the
    parsimony term; gplearn itself keeps the last generation's) at each mark.  Its protected root and logarithm become
    root and logarithm of abs."""
    from gplearn.functions import make_function
    from gplearn.genetic import SymbolicRegressor

    def guarded_exp(x):
        with np.errstate(over="ignore"):
            return np.where(x < 50, np.exp(np.minimum(x, 50.0)), 1e20)

    functions = (
        "add",
        "sub",
        "mul",
        "div",
        "sqrt",
        "log",
        "abs",
        "neg",
        "inv",
        "sin",
        "cos",
        "tan",
        make_function(function=guarded_exp, name="exp", arity=1),
    )
    model = SymbolicRegressor(
        population_size=1000,
        generations=1,
        function_set=functions,
        metric="mse",
        n_jobs=1,
        const_range=(-5.0, 5.0),
        parsimony_coefficient=1e-4,
        warm_start=True,
        low_memory=True,
        random_state=seed & 0x7FFFFFFF,
    )
    start = time.monotonic()
    slowest, best = 0.0, None
    for mark in marks:
        while time.monotonic() + slowest < start + mark or not slowest:
            began = time.monotonic()
            model.fit(X, y)
            slowest = max(slowest, time.monotonic() - began)
            if best is None or model._program.raw_fitness_ < best.raw_fitness_:
                best = model._program
            if solved := best.raw_fitness_ <= SOLVED * np.var(y):
                break
            model.generations += 1
        held = time.monotonic()
        yield [_gplearn_tokens(best.program)]
        if solved:
            return
        start += time.monotonic() - held


def _gplearn_tokens(program) -> list[str]:
    names = {"add": ["+"], "sub": ["-"], "mul": ["*"], "div": ["/"], "sqrt": ["pow1_2", "abs"], "log": ["log", "abs"]}
    tokens: list[str] = []
    for node in program:
        if hasattr(node, "arity"):
            tokens += names.get(node.name, [node.name])
        else:
            tokens.append(f"x{node + 1}" if isinstance(node, (int, np.integer)) else repr(float(node)))
    return tokens


def load_pysr() -> None:
    """Import PySR, which brings its own Julia where it can; RuntimeError says what it lacks where it cannot."""
    try:
        importlib.import_module("pysr")
    except Exception as error:  # juliapkg, juliacall and Julia fail in many ways
        told = " ".join(str(error).split())[:160] or type(error).__name__
        raise RuntimeError(
            f"PySR could not set up Julia ({told}); it needs the network once, or a Julia of its version named by "
            "PYTHON_JULIAPKG_EXE with its packages"
        ) from None


def pysr(X, y, seconds: float, seed: int) -> list[list[str]]:
    """PySR, default settings with the operators of its benchmark runs, serial, stopped by its own clock."""
    from pysr import PySRRegressor

    model = PySRRegressor(
        niterations=10**8,
        timeout_in_seconds=seconds,
        binary_operators=["+", "-", "*", "/", "^"],
        unary_operators=["sin", "cos", "tanh", "exp", "log", "sqrt", "square", "cube"],
        model_selection="best",
        parallelism="serial",
        deterministic=True,
        random_state=seed & 0x7FFFFFFF,
        progress=False,
        verbosity=0,
        early_stop_condition=f"f(loss, complexity) = (loss < {SOLVED * np.var(y)}) && (complexity < 20)",
        temp_equation_file=True,
    )
    names = [f"x{j + 1}" for j in range(X.shape[1])]
    model.fit(X, y, variable_names=names)
    return [expressions.from_infix(str(model.sympy()), names)]


def prior(X, y, seconds: float, seed: int) -> list[list[str]]:
    """Not a program but a control: skeletons drawn from our own prior and refined, with no search and no network.

    A skeleton's variables are laid on random distinct columns; one with more variables than columns is passed over.
    """
    from fansr.corpus import prior as priors, sample_skeletons
    from fansr.fitting import Refiner
    from fansr.search import score

    rng = np.random.default_rng(seed)
    refiner, source = Refiner(X, y, restarts=4, seed=seed & 0x7FFFFFFF), priors.load()
    start, next_id, best = time.monotonic(), 0, (math.inf, [CONSTANT], [float(np.mean(y))])
    while time.monotonic() < start + seconds:
        drawn = sample_skeletons(source, range(next_id, next_id + CONTROL_BATCH), seed & 0x7FFFFFFF)
        next_id += CONTROL_BATCH
        usable = []
        for form in drawn:
            used = expressions.variables(form)
            if 0 < len(used) <= X.shape[1]:
                columns = rng.permutation(X.shape[1])[: len(used)]
                usable.append(expressions.rename(form, dict(zip(used, map(int, columns)))))
        fvus, consts = refiner.fit(usable, jobs=1)
        for f, c, form in zip(fvus, consts, usable):
            if np.isfinite(f) and (value := score(float(f), len(form))) < best[0]:
                best = value, form, c
        if best[0] < math.log10(SOLVED):
            break
    return [expressions.bind(best[1], best[2])]


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
    "operon": Peer(operon, "pyoperon"),
    "gplearn": Peer(gplearn, "gplearn"),
    "pysr": Peer(
        pysr, "pysr", "pip install 'fansr[pysr]'; it fetches Julia when first used", load=load_pysr, loading=900.0
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
    "prior": Peer(prior, "fansr"),
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
