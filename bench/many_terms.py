"""Laws whose sum has many terms, in tables rounded as people write them or with noise: how many a search finds.

    bin/bench-many-terms --seed 1 --time 2
    bin/bench-many-terms --seed 1 --without polynomials --list

y = u(sum of three to seven products of two to four columns), u one of y, sqrt, 1/y, 1/sqrt, exp, or the sum over a column; 40 to
120 rows, either rounded to three, four or five digits, or with noise of 0.3 to 3 % of the spread.  A law counts as found when it misses
the noise-free target of 500 fresh rows by no more than what rounding or noise is.  The search runs in this process on the clock of
the processor, without the network.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import time
from typing import NamedTuple

import click
import numpy as np

from bench.composite_laws import on_the_processor, spelled
from fansr.expressions import evaluate, from_infix
from fansr.fitting import Budget, Problem
from fansr.search import roster, turns
from fansr.streams import rng_for

OUTER = ("{}", "sqrt({})", "10/({})", "5/sqrt({})", "exp(({})/40)", "({})/a")
COEFFICIENTS = ("", "", "", "2*", "3*", "0.5*", "1.5*", "0.25*")
FRESH = 500


class Table(NamedTuple):
    """A law, its names and what a user has of it."""

    formula: str
    names: list[str]
    X: np.ndarray
    y: np.ndarray
    noise: float  # standard deviation of what y has beside the law


def drawn(seed: int, k: int) -> Table:
    """The k-th table of a seed: the first of its draws that is finite and varies, and of positive sums where roots need them."""
    for attempt in range(1000):
        rng = rng_for(seed, f"many-terms.{k}", attempt)
        names = list("abcd"[: rng.integers(2, 5)])
        degree = int(rng.integers(2, 4))
        terms: set[str] = set()
        while len(terms) < rng.integers(3, 8):
            alike = degree if rng.random() < 0.7 else int(rng.integers(0, degree + 1))
            terms.add("*".join(sorted(rng.choice(names, alike))) or "1")
        signs = ["-" if rng.random() < 0.35 else "+" for _ in terms]
        signed = [f"{sign} {rng.choice(COEFFICIENTS)}{term}" for sign, term in zip(signs, sorted(terms))]
        inside = "0 " + " ".join(signed)
        outer = OUTER[rng.integers(len(OUTER))]
        formula = outer.format(inside)
        low, high = (1, 9) if rng.random() < 0.7 else (0.2, 3)
        X = rng.uniform(low, high, (int(rng.integers(40, 121)), len(names))).round(1 if low == 1 else 2)
        y = values(formula, names, X)
        sums = values(inside, names, np.vstack([X, fresh(X, seed)]))
        if "(" in outer and not sums.min() > 0.01 * sums.max():
            continue  # a pole, or a root of what is negative
        if not np.isfinite(y).all() or np.std(y) < 0.05 * np.ptp(y):
            continue  # a few rows are all
        if rng.random() < 0.6:
            shown = np.array([float(f"{v:.{rng.integers(3, 6)}g}") for v in y])
        else:
            shown = y + float(rng.uniform(0.003, 0.03)) * np.std(y) * rng.standard_normal(len(y))
        return Table(formula, names, X, shown, float(np.std(shown - y)))
    raise RuntimeError("no table in a thousand draws")


def values(formula: str, names: list[str], X: np.ndarray) -> np.ndarray:
    """The law's values (M,)."""
    with np.errstate(all="ignore"):
        return evaluate(from_infix(formula, names), X)


def fresh(X: np.ndarray, seed: int) -> np.ndarray:
    """Rows of the same ranges."""
    return rng_for(seed, "many-terms.fresh", len(X)).uniform(X.min(axis=0), X.max(axis=0), (FRESH, X.shape[1]))


@click.command()
@click.option("--tables", default=40, show_default=True)
@click.option("--time", "seconds", default=2.0, show_default=True, help="Processor seconds a table.")
@click.option("--seed", default=0, show_default=True, help="Of laws, rows and searches.")
@click.option("--without", default="", help="Proposers left out, comma-separated.")
@click.option("--list", "listed", is_flag=True, help="Print what is not found.")
def main(tables, seconds, seed, without, listed):
    """Laws found, and processor seconds a table."""
    on_the_processor()
    proposers = tuple(n for n in roster.DEFAULT_PROPOSERS if n != "model" and n not in without.split(","))
    found, spent = 0, 0.0
    for k in range(tables):
        table = drawn(seed, k)
        begun = time.process_time()
        problem = Problem(table.X, table.y, table.names, "y")
        best = turns.search(problem, turns.Options(seed=seed, proposers=proposers), Budget(seconds)).best
        spent += time.process_time() - begun
        X = fresh(table.X, seed)
        with np.errstate(all="ignore"):
            error = np.mean((evaluate(best.expr, X, best.consts) - values(table.formula, table.names, X)) ** 2)
        good = bool(error <= table.noise**2)
        found += good
        if listed and not good:
            click.echo(f"{np.sqrt(error) / table.noise:9.2g}  {table.formula}   {spelled(best, table.names)}")
    click.echo(f"found {found} of {tables}, {spent / tables:.2f} s a table")


if __name__ == "__main__":
    main()
