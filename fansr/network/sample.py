"""fansr-sample: laws that the network holds likely for given data; and the same as proposers of the search.

    fansr-render data/fastsrb.json | fansr-sample --samples 4096 > candidates.zst

The decoders are in decoders.py (tree, iid, topk, beam) and tree_search.py (mcts); what the network is shown of a table, and how its
sequences become laws again, is in table_encoding.py.  The control draws from the prior without the network.
On a CPU the network is numpy's (numpy_inference.py); torch is loaded for other devices alone.

This module knows the network and expressions; of fitting it knows only `fitter.fit(exprs)`.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import time

import click
import numpy as np

from fansr.cli import command, kernels, resources
from fansr.errors import DataError
from fansr.expressions import FIRST_VARIABLE_ID, MAX_VARIABLES, PAD_ID, VOCABULARY, notations, sort_commutative
from fansr.fitting import Budget, Candidate, Problem
from fansr.network import configuration, model_file
from fansr.network.decoders import DECODERS, ROWS, Drawn, Grammar, draw
from fansr.network.skeleton_pool import compact
from fansr.network.table_encoding import View, finish, finish_written, show, to_expr
from fansr.network.tree_search import tree_search
from fansr.streams import reader_writer, rng_for

LONG_ROUND = 0.2  # seconds; under a clock the round after one that took so long has no more draws: nobody else gets a turn meanwhile
FIRST_DRAWS = 64  # of a proposer; doubled each time, so that other proposers get their turn early


# -------------------------------------------------------------------------------------------- proposers


def model_path(name: str | None = None):
    """The file of a model: a path, the name of a shipped one ("tiny"), or the default for None."""
    if name is None:
        name = "tiny"
    shipped = resources.path("data", "models", f"{name}.safetensors")
    return shipped if shipped.exists() and "/" not in str(name) else name


@functools.lru_cache(maxsize=4)
def load(name: str | None = None, device: str = "cpu", threads: int = 1):
    """(network, what it was trained with) of a model, read once in a process.

    device: "cpu" is numpy's network; "cuda", "cuda:1" and "torch-cpu" are torch's.  DataError where there is no such
    model or device, or where the model speaks another language than this version.
    """
    path = model_path(name)
    if device == "cpu":
        from fansr.network.numpy_inference import NumpyNetwork

        config, weights, info = model_file.read_model(path)
        network = NumpyNetwork(config, weights, threads)
    else:
        configuration.require_torch(f"--device {device}")
        from fansr.network import torch_inference

        network, info = torch_inference.load(path, device, threads)
    config, settings = network.config, info["training"].get("settings", {})
    notation = settings.get("notation", "skeleton") if isinstance(settings, dict) else "skeleton"
    if notation not in configuration.NOTATIONS:
        raise DataError(
            f"{path}: its notation is {notation!r}; this version reads {', '.join(configuration.NOTATIONS)}"
        )
    words = VOCABULARY if notation == "skeleton" else notations.NOTATIONS[notation].vocabulary
    if config.vocabulary != len(words) or config.columns > MAX_VARIABLES or config.max_length < 3:
        raise DataError(
            f"{path}: a network of {config.vocabulary} tokens, {config.columns} columns and sequences of "
            f"{config.max_length}; this version samples from {len(words)} tokens, up to {MAX_VARIABLES} columns and 3 or more"
        )
    most = settings.get("max_points", 64) if isinstance(settings, dict) else settings
    if not isinstance(most, int) or most < 1:
        raise DataError(f"{path}: max_points is {most!r} in its training's settings; wanted a positive whole number")
    return network, info["training"]


def check_model(name: str | None, device: str) -> None:
    """DataError where a model or device cannot be had: before a search, which would go on without the network."""
    if device != "cpu":
        from fansr.network import device as devices

        devices.choose(device.removeprefix("torch-"), "float32")
    path = model_path(name)
    if not os.path.exists(path):
        raise DataError(f"model {path}: no such file; leave it out for the shipped one")


def reads_numbers(path: str) -> bool:
    """Whether a model writes its numbers in digits, so that its laws need no fit."""
    settings = load(path)[1].get("settings", {})
    return settings.get("notation", "skeleton") != "skeleton"


def draw_laws(
    network,
    view: View,
    samples: int,
    rng: np.random.Generator,
    decoder: str = "tree",
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_length: int | None = None,
    fitter=None,
    notation: str = "skeleton",
) -> Drawn:
    """Sequences from the network for what it is shown; max_length: longest law in tokens, the network's for None.

    fitter: what mcts rewards laws by; without one it goes by the network alone.
    """
    if decoder not in DECODERS:
        raise ValueError(f"decoder is {decoder!r}; it must be one of {', '.join(DECODERS)}")
    memory, longest = network.memory(view.values), network.config.max_length - 2
    longest = min(max_length or longest, longest)
    if notation != "skeleton":
        if decoder == "mcts":
            raise DataError("--decoder mcts knows skeletons alone, and this model writes its numbers: --decoder tree")
        words = notations.NOTATIONS[notation].automaton(len(view.columns), longest + 1)
        return draw(network, memory, words, samples, rng, decoder, temperature, top_p)
    grammar = Grammar(len(view.columns), longest)
    if decoder == "mcts":
        return tree_search(network, memory, grammar, samples, rng, lambda ids: _reward(ids, view, fitter))
    return draw(network, memory, grammar, samples, rng, decoder, temperature, top_p)


def propose(
    problem: Problem,
    budget: Budget,
    rng: np.random.Generator,
    pool=None,
    *,
    samples: int = 4096,
    model: str | None = None,
    device: str = "cpu",
    fitter=None,
    decoder: str = "tree",
    temperature: float = 1.0,
    top_p: float = 1.0,
):
    """Yield lists of new candidates from the network, at most `samples` draws in all (times budget.work).

    Draws come in rounds of 64, 128, 256, ... so that other proposers get their turn, each over another random
    choice of points where the table has more than the network takes.
    """
    network, training = load(model, device)
    settings = training.get("settings", {})
    seen: set[tuple] = set()
    left, size = max(1, int(samples * budget.work)), FIRST_DRAWS
    while left > 0 and not budget.over():
        begun, n = time.monotonic(), min(left, size, ROWS)
        left -= n
        view = show(problem, network.config, settings, rng, pool)
        if not view.columns:
            return
        notation = settings.get("notation", "skeleton")
        drawn = draw_laws(network, view, n, rng, decoder, temperature, top_p, fitter=fitter, notation=notation)
        found, _ = finish(drawn, view) if notation == "skeleton" else finish_written(drawn, view, notation)
        fresh = _fresh(found, seen)
        if budget.seconds is None or time.monotonic() - begun < LONG_ROUND:
            size *= 2
        yield fresh


def _fresh(candidates: list[Candidate], seen: set[tuple]) -> list[Candidate]:
    """Those not seen before, which are seen from now on."""
    fresh = []
    for candidate in candidates:
        if tuple(candidate.expr) not in seen:
            seen.add(tuple(candidate.expr))
            fresh.append(candidate)
    return fresh


def propose_control(
    problem: Problem,
    budget: Budget,
    rng: np.random.Generator,
    pool=None,
    *,
    samples: int = 4096,
    model: str | None = None,
    fitter=None,
):
    """The same without the network: random laws of the prior it was trained on, over the columns in use.

    A draw whose variables are more than the table's columns does not count.  It is the bar for the network.
    """
    from fansr.corpus import prior, sample_tokens

    training = load(model)[1]
    law = prior.from_dict(training["prior"]) if training.get("prior") else prior.load("prior")
    seen: set[tuple] = set()
    left, size, seed, start = max(1, int(samples * budget.work)), FIRST_DRAWS, int(rng.integers(1 << 31)), 0
    moving = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0]
    most = min(len(moving), MAX_VARIABLES, law.variables)
    while left > 0 and moving and not budget.over():
        n = min(left, size)
        left, size = left - n, 2 * size
        ids: list[tuple] = []
        while len(ids) < n and not budget.over():
            tokens, k = compact(sample_tokens(law, np.arange(start, start + 4 * n), seed))
            start += 4 * n
            kept = tokens[(k >= 1) & (k <= most)][: n - len(ids)]
            ids += [tuple(row[row != PAD_ID].tolist()) for row in kept]
        laws = []
        for row in ids:  # each over its own choice of the columns
            used = max(
                v - FIRST_VARIABLE_ID + 1 for v in row if FIRST_VARIABLE_ID <= v < FIRST_VARIABLE_ID + MAX_VARIABLES
            )
            columns = sorted(rng.choice(len(moving), used, replace=False).tolist())
            laws.append(to_expr(row, View([moving[j] for j in columns], np.zeros(1 + used), np.zeros(0, np.float32))))
        yield _fresh([Candidate(expr, source="control") for expr in _simplified(laws)], seen)


def _simplified(exprs: list[list[str]]) -> list[list[str]]:
    from fansr.simplification import simplify_many

    return [expr for expr, _ in simplify_many(exprs, relax=True) if expr is not None]


def _reward(ids: list[tuple], view: View, fitter) -> list[float]:
    """1 / (1 + FVU) of each sequence's law after fitting its constants; 0 where nothing fits."""
    if fitter is None:
        return [0.0] * len(ids)
    fvu, _ = fitter.fit([sort_commutative(to_expr(row, view)) for row in ids])
    return [0.0 if not math.isfinite(v) else 1.0 / (1.0 + float(v)) for v in fvu]


# ---------------------------------------------------------------------------------------------- command


def candidates_of(record: dict, options: dict) -> tuple[list[dict], dict]:
    """Candidate records for one problem record, and drops by reason."""
    problem = Problem.from_record(record)
    network, training = load(options["model"], options["device"], options["threads"])
    rng = rng_for(options["seed"], "sample", problem.id)
    view = show(problem, network.config, training.get("settings", {}), rng)
    if not view.columns:
        return [], {"no column varies": 1}
    told = {name: options[name] for name in ("decoder", "temperature", "top_p", "max_length")}
    fitter = _fitter(problem, options["seed"]) if options["decoder"] == "mcts" else None
    notation = training.get("settings", {}).get("notation", "skeleton")
    drawn = draw_laws(network, view, options["samples"], rng, **told, fitter=fitter, notation=notation)
    if notation == "skeleton":
        found, dropped = finish(drawn, view, options["relax"])
    else:
        found, dropped = finish_written(drawn, view, notation)
    return [
        {"kind": "candidate", "problem": problem.id, "expr": c.expr, "logp": c.logp, "n": c.n, "source": "model"}
        for c in found
    ], dropped


def _fitter(problem: Problem, seed: int):
    from fansr.fitting import Refiner

    return Refiner(problem.X, problem.y, restarts=2, seed=seed)


@command.command(
    example="fansr-render data/fastsrb.json | fansr-sample --samples 256 | fansr-cat --infix --head 20",
    groups={
        "Draws": "--model --samples --decoder --temperature --top-p --max-length --relax --seed",
        "Machine": "--device --threads",
        "Output": "--output --resume --quiet",
    },
)
@click.argument("inputs", nargs=-1, type=click.Path())
@click.option(
    "--model", default=None, metavar="FILE", help="A model file, or the name of a shipped one.  [default: tiny]"
)
@click.option("--samples", type=click.IntRange(1), default=4096, show_default=True, help="Draws for each problem.")
@command.drawing_options(DECODERS)
@click.option(
    "--max-length", type=click.IntRange(1), default=None, help="Longest law in tokens.  [default: the network's]"
)
@click.option(
    "--relax/--no-relax", default=True, show_default=True, help="Turn mult2 and the like into free constants."
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:N, torch-cpu.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="CPU threads of matrix products.")
@command.output_option()
@command.seed_option()
@command.resume_option()
@command.max_record_option()
@command.config_option()
@command.quiet_option()
def sample(inputs, output, resume, quiet, config, **options):
    """Propose laws for each problem of a stream: each problem is passed on, its candidates after it, likeliest first."""
    kernels.ensure("sampling", quiet=quiet)
    load(options["model"], options["device"], options["threads"])  # a missing model is told before any input is read
    inputs = list(inputs) or ["-"]
    with reader_writer.open_reader(inputs[0], holds="problem") as reader:
        entry = command.history_entry(
            options["seed"], {k: v for k, v in options.items() if v is not None and k != "threads"}
        )
        history = [*reader.history, entry]
        with (
            reader_writer.open_writer(output, "candidate", history, resume=resume) as writer,
            command.progress(quiet=quiet, unit="problem", initial=writer.consumed) as bar,
        ):
            done = writer.consumed
            rest = reader_writer.chain(inputs[1:], holds="problem") if inputs[1:] else []
            for record in itertools.islice(itertools.chain(reader, rest), done, None):
                found, dropped = candidates_of(record, options)
                writer.write_many(*reader_writer.pack_many([record, *found]), dropped, consumed=1)
                writer.flush()
                bar.update(1)


def main():
    """Entry point of fansr-sample."""
    sample()


if __name__ == "__main__":
    main()
