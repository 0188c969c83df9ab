"""Peers that search: operon, gplearn, PySR, and the control that draws from our prior; see peer.py for what a peer is."""

from __future__ import annotations

import importlib
import math
import time

import numpy as np

from fansr.evaluation.metrics import fvu
from fansr.expressions import CONSTANT, bind, from_infix, rename, variables

CONTROL_BATCH = 1000  # skeletons the control draws and refines at a time
SOLVED = 1e-9  # FVU of a float32 search that cannot get better: go on to the polish


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
    return [from_infix(str(model.sympy()), names)]


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
            used = variables(form)
            if 0 < len(used) <= X.shape[1]:
                columns = rng.permutation(X.shape[1])[: len(used)]
                usable.append(rename(form, dict(zip(used, map(int, columns)))))
        fvus, consts = refiner.fit(usable, jobs=1)
        for f, c, form in zip(fvus, consts, usable):
            if np.isfinite(f) and (value := score(float(f), len(form))) < best[0]:
                best = value, form, c
        if best[0] < math.log10(SOLVED):
            break
    return [bind(best[1], best[2])]
