"""Where a search's first second goes: milliseconds by proposer and by what comes after them, and the laws found.

    bin/bench-first-second --seed 31 --laws 40
    bin/bench-first-second --composite --each 3

Laws of four to seven columns drawn from a grammar (bench/drawn_laws.py), or with --composite those of bench/composite_laws.py.  The
search runs in this process on the processor's clock, without the network.  "ending" is all that follows the last turn, of which "cutting down" is
a part, and has its own share while the search runs; means of laws found and of laws not found.  To compare two versions run this program with each
in turn, or at once with a core each (PYTHONPATH).
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator

import click
import numpy as np

from bench import composite_laws, drawn_laws
from fansr.fitting import Budget, Problem
from fansr.search import ending, roster, state, turns

EXACT = 1e-20


def problems(composite: bool, laws: int, each: int, seed: int) -> Iterator[Problem]:
    """Tables without noise."""
    if not composite:
        for one in drawn_laws.drawn(laws, seed):
            yield Problem(np.asarray(one["X"], float), np.asarray(one["y"], float), list(one["names"]), "y")
        return
    for family, make in composite_laws.FAMILIES.items():
        for law in composite_laws.laws_of(family, make, each, seed):
            X, y = composite_laws.table(law, composite_laws.ROWS, seed)
            yield Problem(X, y, list(law.box), "y")


def counted(seconds: Counter, owner: type, method: str, label: Callable[..., str]) -> None:
    """Let a method's processor seconds be added to those of its label."""
    inside = getattr(owner, method)

    @functools.wraps(inside)
    def timed(self, *args, **kwargs):
        begun = time.process_time()
        try:
            return inside(self, *args, **kwargs)
        finally:
            seconds[label(self, *args)] += time.process_time() - begun

    setattr(owner, method, timed)


@click.command()
@click.option("--laws", default=40, show_default=True)
@click.option("--time", "budget", default=1.0, show_default=True, help="Processor seconds a law.")
@click.option("--seed", default=0, show_default=True, help="Of laws, rows and searches.")
@click.option("--composite", is_flag=True, help="The families of bench/composite_laws.py instead.")
@click.option("--each", default=3, show_default=True, help="Laws of each family.")
def main(laws, budget, seed, composite, each):
    """Laws found, processor seconds a law, and where they went."""
    tables = list(problems(composite, laws, each, seed))
    composite_laws.on_the_processor()
    seconds: Counter[str] = Counter()
    counted(seconds, turns.Turns, "_step", lambda search, turn: turn.name)
    counted(seconds, state.State, "_prune", lambda search, over: "cutting down")
    counted(seconds, ending.Ending, "finish", lambda search, *args: "ending")
    names = tuple(name for name in roster.DEFAULT_PROPOSERS if name != "model")
    sums: tuple[Counter, Counter] = Counter(), Counter()
    counts, spent = [0, 0], 0.0
    for table in tables:
        seconds.clear()
        begun = time.process_time()
        best = turns.search(table, turns.Options(seed=seed, proposers=names), Budget(budget)).best
        seconds["all"] = time.process_time() - begun
        found = best is not None and best.fvu <= EXACT
        sums[found].update(seconds)
        counts[found] += 1
        spent += seconds["all"]
    click.echo(f"found {counts[1]} of {len(tables)}, {spent / len(tables):.2f} s a law")
    for found, what in ((True, "found"), (False, "not found")):
        means = [f"{part} {1000 * s / counts[found]:.0f}" for part, s in sums[found].most_common() if counts[found]]
        click.echo(f"{what}, {counts[found]}, ms: {', '.join(means)}")


if __name__ == "__main__":
    main()
