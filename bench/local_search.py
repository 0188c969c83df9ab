"""How many candidates a second the local search judges, where its time goes, and which laws it finds, beside Operon.

    bin/bench-local-search                          candidates a second and the share of each stage, on six laws of several columns
    bin/bench-local-search --operon                 Operon's evaluations a second on the same rows in the same run (needs pyoperon)
    bin/bench-local-search --laws 3 --time 2        laws found by the first answers and the local search: 3 of each family, 2 s a law

The laws are generated (bench/composite_laws.py and the random grammar of bench/families.py) from a seed of its own, `--seed`.
Rates are measured on 128 rows, the most an island looks at, with a pool of nothing.  All times are of the processor and of one thread;
a candidate is a genome whose linear constants (and the others, where it has some) were fitted.  To compare two versions run this
program with each in turn (PYTHONPATH).
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import collections
import functools
import time

import click
import numpy as np

from bench import composite_laws, families
from bench.composite_laws import EXACT, FOUND, Law, answer, laws_of, on_the_processor
from fansr.fitting import Budget, Problem, Refiner
from fansr.proposers.local_search import evolve, island, ratio_island
from fansr.search.roster import FLOOR
from fansr.streams import rng_for

ROWS = evolve.ROWS
# Of functions by where they are looked up; what remains of the local search's time is "other".
STAGES = [
    (island, "breed", "breeding"), (island, "aim", "aiming"), (island, "spelled", "spelling"),
    (Refiner, "run", "fitting"), (Refiner, "quick", "fitting"), (island.Island, "_merge", "merging"), (ratio_island.QuotientIsland, "_merge", "quotients"),
    (evolve, "_verdicts", "verdicts"),
    (island, "stock", "library"),
]  # fmt: skip
STAGES = [row for row in STAGES if hasattr(row[0], row[1])]
WHOLE = ("verdicts", "quotients")  # what these call counts as theirs


class Stopwatch:
    """Processor seconds by stage, each counted for the innermost stage that runs, and how many genomes were judged."""

    def __init__(self):
        self.seconds: collections.Counter[str] = collections.Counter()
        self.running = ["other"]
        self.since = time.process_time()
        self.judged = 0

    def switch(self):
        """Book the time since the last change of stage."""
        now = time.process_time()
        whole = [stage for stage in self.running if stage in WHOLE]
        self.seconds[whole[0] if whole else self.running[-1]] += now - self.since
        self.since = now

    def timed(self, function, stage: str):
        """The function with its time booked as that stage's."""

        @functools.wraps(function)
        def call(*args, **kwargs):
            self.switch()
            self.running.append(stage)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch()
                self.running.pop()

        return call

    def counted(self, judge):
        """Island.judge, its genomes counted."""

        @functools.wraps(judge)
        def call(own, G, W, lengths, n, *rest, **more):
            self.judged += n
            return judge(own, G, W, lengths, n, *rest, **more)

        return call


def development_laws(each: int, seed: int) -> list[Law]:
    """`each` laws of every composite family (not of those held back) and of every shape of the random grammar."""
    laws = [law for family, make in composite_laws.FAMILIES.items() for law in laws_of(family, make, each, seed)]
    for row in families.make_laws(seed, families.RANDOM, each)["laws"]:
        box = {column["name"]: (column["low"], column["high"]) for column in row["variables"]}
        laws.append(Law(row["difficulty"], row["infix"], box))
    return laws


def of_several_columns(count: int, seed: int) -> list[Law]:
    """Laws of three columns and more, one of a family in turn."""
    laws = [law for law in development_laws(max(2, count // 4), seed) if len(law.box) >= 3]
    order = rng_for(seed, "bench.local_search", 0).permutation(len(laws))
    return [laws[k] for k in order[:count]]


def rates(laws: list[Law], seconds: float, seed: int):
    """(candidates, seconds, seconds by stage) of the local search on each law's rows."""
    for law in laws:
        X, y = composite_laws.table(law, ROWS, seed)
        watch = Stopwatch()
        kept = [(holder, name, getattr(holder, name)) for holder, name, _ in STAGES]
        judge = island.Island.judge
        for holder, name, stage in STAGES:
            setattr(holder, name, watch.timed(getattr(holder, name), stage))
        island.Island.judge = watch.counted(judge)
        try:
            steps = evolve.propose(Problem(X, y, list(law.box), "y"), Budget(seconds), np.random.default_rng(seed))
            watch.switch()
            watch.seconds.clear()
            for _ in steps:
                pass
            watch.switch()
        finally:
            island.Island.judge = judge
            for holder, name, function in kept:
                setattr(holder, name, function)
        yield watch.judged, sum(watch.seconds.values()), watch.seconds


def operon_rate(X, y, iterations: int, seconds: float, seed: int) -> tuple[float, float]:
    """(individuals, evaluations of residuals and Jacobians) a processor second of pyoperon: population 1000, 30 tokens, one thread.

    `iterations` are its Levenberg-Marquardt steps for all constants of an individual.
    """
    from pyoperon.sklearn import SymbolicRegressor

    generations, spent, calls, work = 10, 0.0, 0, 0
    while spent < seconds:
        model = SymbolicRegressor(
            allowed_symbols="add,sub,mul,div,constant,variable,sin,cos,tanh,exp,log,sqrt,square",
            optimizer_iterations=iterations,
            population_size=1000,
            max_length=30,
            generations=generations,
            max_evaluations=10**9,
            n_threads=1,
            random_state=seed,
        )
        start = time.process_time()
        model.fit(X, y)
        spent += time.process_time() - start
        calls += 1000 * (generations + 1)
        work += model.stats_["residual_evaluations"] + model.stats_["jacobian_evaluations"]
        seed += 1
    return calls / spent, work / spent


def laws_found(each: int, seconds: float, seed: int, only: slice) -> None:
    """Print which laws the first answers and the local search find."""
    on_the_processor()
    proposers = (*FLOOR, "evolve")
    total: collections.Counter[str] = collections.Counter()
    for law in development_laws(each, seed)[only]:
        error, text, source, spent = answer(law, seconds, seed, proposers)
        total.update(laws=1, found=error <= FOUND, exact=error <= EXACT, seconds=spent)
        click.echo(f"{error:8.1e} {spent:5.2f} s  {law.family}: {law.formula}   ->   {text[:120]}   [{source}]")
    click.echo(
        f"found {total['found']} of {total['laws']} (exact {total['exact']}), {total['seconds'] / max(1, total['laws']):.2f} s a law"
    )


@click.command()
@click.option("--time", "seconds", default=2.0, show_default=True, help="Processor seconds a law.")
@click.option("--rates", "n_rates", default=6, show_default=True, help="Laws whose rates are measured.")
@click.option("--operon", is_flag=True, help="Operon's rates too.")
@click.option("--laws", "each", default=0, show_default=True, help="Instead: laws found, so many of each family.")
@click.option("--part", default="", help="Of these laws the I-th of N parts, I/N from 0.")
@click.option("--seed", default=4242, show_default=True, help="Of laws, rows and searches.")
def main(seconds, n_rates, operon, each, part, seed):
    """Print rates by law, then all laws' share of stages; or laws found."""
    if each:
        first, step = (int(v) for v in part.split("/")) if part else (0, 1)
        laws_found(each, seconds, seed, slice(first, None, step))
        return
    on_the_processor()
    laws = of_several_columns(n_rates, seed)
    judged, spent, stages = 0, 0.0, collections.Counter()
    for law, (n, took, by_stage) in zip(laws, rates(laws, seconds, seed)):
        click.echo(f"{n / took:9.0f} candidates/s  {len(law.box)} columns  {law.formula}")
        judged, spent = judged + n, spent + took
        stages.update(by_stage)
    click.echo(f"{judged / spent:9.0f} candidates/s, {1e6 * spent / judged:.1f} us each")
    for stage, took in stages.most_common():
        click.echo(f"{100 * took / spent:6.1f} %  {1e6 * took / judged:6.2f} us a candidate  {stage}")
    if operon:
        for iterations in (0, 5):
            own = [operon_rate(*composite_laws.table(law, ROWS, seed), iterations, seconds, seed) for law in laws]
            individuals, work = (float(np.mean(v)) for v in zip(*own))
            click.echo(
                f"{individuals:9.0f} individuals/s  Operon, {iterations} steps ({work:.0f} residuals and Jacobians/s)"
            )


if __name__ == "__main__":
    main()
