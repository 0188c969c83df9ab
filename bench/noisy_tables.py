"""Noisy tables: what a search's law says of rows it has not seen, beside least squares on all columns; and laws recovered under noise.

    python -m bench.noisy_tables wide --seed 1                   24 wide tables of our own, few columns of many matter
    python -m bench.noisy_tables tables engel.csv:foodexp ...    real tables, the target after the colon; scikit-learn's with --sklearn
    python -m bench.noisy_tables laws --seed 1                   laws of the random grammar of bench.families, 1 % and 10 % noise
    python -m bench.noisy_tables sums --seed 1                   sums of two to four like curves: bells, peaks, decays, steps, waves

Of every table a quarter of the rows is kept back, for each of --splits draws of them.  R2 on those rows counts from -1 on in the
means, so that one law that runs away does not hide the others.  A law counts as recovered when it misses the true values on
fresh rows by at most a twentieth of the noise's variance.  Searches run in this process on the processor's clock, without the network.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import csv
import math
import pathlib
import time
from collections.abc import Iterator
from typing import NamedTuple

import click
import numpy as np

from bench.composite_laws import on_the_processor
from fansr.expressions import evaluate, from_infix, to_infix

ROWS, FRESH = 300, 1000  # of a law's table, and of those that judge it
MOST_ROWS = 1500  # of a real table
LEAST = -1.0  # R2 that counts as such in means
RECOVERED = 0.05  # share of the noise's variance
RECOVERED_SUM = 0.1  # the same of a law of up to 14 constants, which 300 rows tell to 0.05 in the mean


class Table(NamedTuple):
    """X (M, D), y (M,) and the columns' names."""

    name: str
    X: np.ndarray
    y: np.ndarray
    columns: list[str]


# ---- tables -----------------------------------------------------------------------------------


def wide(seed: int, count: int = 24) -> Iterator[Table]:
    """Tables of 24 to 400 rows and 4 to 12 columns of all kinds, of which one to six act, some through a logarithm or a product.

    Noise leaves between 25 and 95 % of the variance explained.
    """
    for i in range(count):
        rng = np.random.default_rng([seed, i])
        D, M = int(rng.integers(4, 13)), int(np.exp(rng.uniform(np.log(24), np.log(400))))
        X, shared = np.empty((M, D)), rng.standard_normal(M)
        for j in range(D):
            z = 0.5 * shared * rng.integers(0, 2) + rng.standard_normal(M)
            kinds = (10 + 2 * z, np.exp(1 + 0.7 * z), (z > 0.3).astype(float), 50 * rng.random(M), np.round(3 * z + 20))
            X[:, j] = np.round(kinds[rng.integers(5)], 3)
        acting = rng.permutation(D)[: int(rng.integers(1, min(D, 6) + 1))]
        terms = [rng.choice([-1, 1]) * rng.uniform(0.4, 1.2) * standard(X[:, j]) for j in acting]
        bent = rng.integers(3)
        if bent == 1:
            terms.append(standard(np.log(np.abs(X[:, acting[0]]) + 1)))
        elif bent == 2 and len(acting) > 1:
            terms.append(standard(X[:, acting[0]] * X[:, acting[1]]))
        signal, share = standard(np.sum(terms, axis=0)), rng.uniform(0.25, 0.95)
        y = 100 + 10 * (signal + math.sqrt(1 / share - 1) * rng.standard_normal(M))
        yield Table(f"wide {i}", X, np.round(y, 2), [f"c{j}" for j in range(D)])


def standard(values: np.ndarray) -> np.ndarray:
    """Values with mean 0 and spread 1; zeros where they do not vary."""
    centred = values - values.mean()
    return centred / (centred.std() or 1.0)


def from_csv(path: str, target: str) -> Table:
    """A CSV file's columns of numbers; rows with a cell that is none are left out, and of very long tables most rows."""
    with open(path, newline="") as file:
        head, *rows = csv.reader(file)

    def number(cell: str) -> float:
        try:
            return float(cell)
        except ValueError:
            return math.nan

    cells = np.array([[number(cell) for cell in row] for row in rows])
    some = ~np.isnan(cells).all(axis=0)
    names = [name for name, kept in zip(head, some) if kept]
    if target not in names:
        raise click.ClickException(f"{path}: no column of numbers {target!r}; there are {', '.join(names)}")
    cells = cells[:, some][~np.isnan(cells[:, some]).any(axis=1)]
    if len(cells) > MOST_ROWS:
        cells = cells[np.random.default_rng(0).permutation(len(cells))[:MOST_ROWS]]
    j = names.index(target)
    return Table(pathlib.Path(path).stem, np.delete(cells, j, axis=1), cells[:, j], [n for n in names if n != target])


def of_sklearn() -> Iterator[Table]:
    """The small regression tables that come with scikit-learn, and two of its classifications with a measured column as target."""
    from sklearn import datasets

    d = datasets.load_diabetes(scaled=False)
    yield Table("diabetes", d.data, d.target, list(d.feature_names))
    d = datasets.load_iris()
    yield Table("iris", d.data[:, :3], d.data[:, 3], ["sepal_length", "sepal_width", "petal_length"])
    d = datasets.load_linnerud()
    yield Table("linnerud", d.data, d.target[:, 0], [name.lower() for name in d.feature_names])
    d = datasets.load_wine()
    yield Table("wine", d.data[:, 1:], d.data[:, 0], [f"w{j}" for j in range(d.data.shape[1] - 1)])


# ---- measuring --------------------------------------------------------------------------------


def searched(X: np.ndarray, y: np.ndarray, names: list[str], seconds: float):
    """The law of a search of so many processor seconds, without the network."""
    from fansr.fitting import Budget, Problem
    from fansr.search import turns

    proposers = tuple(name for name in turns.DEFAULT_PROPOSERS if name != "model")
    return turns.search(Problem(X, y, names), turns.Options(proposers=proposers), Budget(seconds)).best


def explained(missed: np.ndarray, y: np.ndarray) -> float:
    """R2 where y was missed by so much; LEAST where that is less or no number."""
    value = 1 - float(missed @ missed) / float(np.sum((y - y.mean()) ** 2))
    return max(value, LEAST) if math.isfinite(value) else LEAST


@np.errstate(all="ignore")
def r2(law, X: np.ndarray, y: np.ndarray) -> float:
    """Share of the variance of y that a law explains."""
    return explained(y - np.broadcast_to(evaluate(law.expr, X, law.consts), len(y)), y)


def least_squares(X: np.ndarray, y: np.ndarray, X_new: np.ndarray, y_new: np.ndarray) -> float:
    """R2 on new rows of a linear function of all columns."""
    c = np.linalg.lstsq(np.column_stack([np.ones(len(X)), X]), y, rcond=None)[0]
    return explained(y_new - np.column_stack([np.ones(len(X_new)), X_new]) @ c, y_new)


def learners() -> dict:
    """scikit-learn's learners by name, as their makers advise for small tables: forests, boosted trees, the lasso."""
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import LassoCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "forest": RandomForestRegressor(300, min_samples_leaf=2, random_state=0),
        "boosted": GradientBoostingRegressor(learning_rate=0.05, subsample=0.7, random_state=0),
        "lasso": make_pipeline(StandardScaler(), LassoCV(cv=4)),
    }


def learned(learner, X: np.ndarray, y: np.ndarray, X_new: np.ndarray, y_new: np.ndarray) -> float:
    """R2 on new rows of one of them."""
    return explained(y_new - learner.fit(X, y).predict(X_new), y_new)


def compared(tables: Iterator[Table], seconds: float, splits: int, show: bool, others: dict | None = None) -> None:
    """Print R2 on the unseen quarter, of each table's worst split the law, and the means; of others too, and of the best of all."""
    by_others: dict[str, list[float]] = {name: [] for name in others or {}}
    ours, theirs, below, count, lengths = [], [], 0, 0, []
    for table in tables:
        a, b, laws = [], [], []
        for split in range(splits):
            order = np.random.default_rng([7, split]).permutation(len(table.y))
            kept, rest = np.split(order, [max(1, len(table.y) // 4)])
            if not np.ptp(table.y[kept]) > 0:
                continue
            law = searched(table.X[rest], table.y[rest], table.columns, seconds)
            a.append(r2(law, table.X[kept], table.y[kept]))
            b.append(least_squares(table.X[rest], table.y[rest], table.X[kept], table.y[kept]))
            laws.append(law)
            for name, learner in (others or {}).items():
                by_others[name].append(learned(learner, table.X[rest], table.y[rest], table.X[kept], table.y[kept]))
        if not laws:
            continue
        count, below = count + 1, below + (np.mean(a) < np.mean(b) - 0.05)
        ours, theirs, lengths = ours + a, theirs + b, lengths + [law.length for law in laws]
        worst = laws[int(np.argmin(a))]
        if show:
            click.echo(
                f"{table.name:16s} {len(table.y):5d} rows {table.X.shape[1]:3d} columns   R2 {np.mean(a):6.3f} (least {min(a):6.3f})"
                f"   least squares {np.mean(b):6.3f} ({min(b):6.3f})   {to_infix(worst.expr, worst.consts, table.columns, digits=4)}"
            )
    click.echo(
        f"{count} tables, {len(ours)} splits: mean R2 {np.mean(ours):.3f}, median {np.median(ours):.3f}, length {np.mean(lengths):.1f}; "
        f"least squares {np.mean(theirs):.3f}, {np.median(theirs):.3f}; {below} tables 0.05 below it; below -0.1: "
        f"{sum(value < -0.1 for value in ours)} splits, least squares {sum(value < -0.1 for value in theirs)}"
    )
    if others:
        best = np.max([theirs, *by_others.values()], axis=0)
        means = ", ".join(f"{name} {np.mean(values):.3f}" for name, values in by_others.items())
        click.echo(f"{means}; of these and least squares the best on each split's unseen rows {np.mean(best):.3f}")


# ---- commands ---------------------------------------------------------------------------------

_time = click.option("--time", "seconds", default=1.0, show_default=True, help="Processor seconds a search.")
_seed = click.option("--seed", default=1, show_default=True, help="Of the tables.")
_each = click.option("--each", "show", is_flag=True, help="A line for every table too.")


@click.group()
def main():
    """Laws of noisy tables."""
    on_the_processor()


@main.command("wide")
@_time
@_seed
@_each
@click.option("--count", default=24, show_default=True, help="Tables.")
def wide_command(seconds, seed, show, count):
    """Wide tables of our own."""
    compared(wide(seed, count), seconds, 1, show)


@main.command("tables")
@click.argument("files", nargs=-1, metavar="[FILE:TARGET]...")
@click.option("--sklearn", is_flag=True, help="Those of scikit-learn too.")
@click.option("--splits", default=3, show_default=True, help="Draws of the rows kept back.")
@click.option("--learners", "others", is_flag=True, help="scikit-learn's forests, boosted trees and lasso too.")
@_time
@_each
def tables_command(files, sklearn, splits, others, seconds, show):
    """Real tables."""
    named = [file.rpartition(":")[::2] for file in files]
    if not all(path for path, _ in named):
        raise click.UsageError("every table is FILE:TARGET, e.g. engel.csv:foodexp")
    compared(
        (*(from_csv(*one) for one in named), *(of_sklearn() if sklearn else ())),
        seconds,
        splits,
        show,
        learners() if others else None,
    )


# Bells, peaks and steps: height, middle, width; waves: amplitude, frequency, phase; decays: amplitude, rate.
LIKE = {
    "bells": (0.03, lambda x, h, c, w: h * np.exp(-(((x - c) / w) ** 2))),
    "peaks": (0.02, lambda x, h, c, w: h / (1 + ((x - c) / w) ** 2)),
    "steps": (0.02, lambda x, h, c, w: h * np.tanh((x - c) / w)),
    "waves": (0.3, lambda x, h, c, w: h * np.sin((0.05 + 6 / w) * x + c)),
    "decays": (1e-5, lambda x, h, c, w: h * np.exp(-x / (2 * w**1.5))),
}


def like_sums(seed: int, kind: str, count: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(x, truth, rows with noise) of sums of two to four curves of a kind on a constant, a line or, with bells, a decay; 0 <= x <= 100."""
    noise, curve = LIKE[kind]
    for i in range(count):
        rng = np.random.default_rng([seed, list(LIKE).index(kind), i])
        n = int(rng.integers(2, 4 if kind == "decays" else 5))
        x = np.concatenate([np.sort(rng.uniform(0, 100, ROWS)), rng.uniform(0, 100, FRESH)])
        middles = (np.arange(n) + rng.uniform(0.25, 0.75, n)) * 100 / n
        widths = rng.uniform(3, 9, n) if kind != "decays" else 4.0 ** np.arange(n) * rng.uniform(0.7, 1.3)
        truth = rng.uniform(1, 5) + sum(curve(x, h, c, w) for h, c, w in zip(rng.uniform(2, 6, n), middles, widths))
        base = rng.integers(3)
        if base == 1 and kind != "decays":
            truth = truth + rng.uniform(-0.05, 0.05) * x
        elif base == 2 and kind == "bells":
            truth = truth + 8 * np.exp(-x / rng.uniform(20, 60))
        yield x, truth, truth[:ROWS] + noise * np.std(truth[:ROWS]) * rng.standard_normal(ROWS)


@main.command("sums")
@_time
@_seed
@_each
@click.option("--count", default=6, show_default=True, help="Laws of each kind.")
@click.option("--without", default="", help="A proposer to leave out.")
def sums_command(seconds, seed, show, count, without):
    """Sums of like curves over one column."""
    from fansr.search import turns

    begun = time.process_time()
    turns.DEFAULT_PROPOSERS = tuple(name for name in turns.DEFAULT_PROPOSERS if name != without)
    for kind, (noise, _) in LIKE.items():
        found = []
        for x, truth, y in like_sums(seed, kind, count):
            best = searched(x[:ROWS, None].copy(), y, ["x"], seconds)
            missed = np.broadcast_to(evaluate(best.expr, x[ROWS:, None], best.consts), FRESH) - truth[ROWS:]
            miss = float(missed @ missed) / FRESH / (noise * np.std(truth[:ROWS])) ** 2
            found.append(miss <= RECOVERED_SUM)
            if show:
                text = to_infix(best.expr, best.consts, ["x"], digits=4)
                click.echo(f"{kind}   miss {miss:9.3g} of the noise's variance   {text[:200]}")
        click.echo(f"{kind}: recovered {sum(found)} of {count}")
    click.echo(f"{time.process_time() - begun:.0f} processor seconds")


@main.command("laws")
@_time
@_seed
@_each
@click.option("--count", default=3, show_default=True, help="Laws of each of the five kinds.")
@click.option(
    "--noise", multiple=True, type=float, default=(0.01, 0.1), show_default=True, help="Shares of the spread."
)
def laws_command(seconds, seed, show, count, noise):
    """Laws of the random grammar under noise."""
    from bench import families

    begun = time.process_time()
    found: dict[float, list[float]] = {level: [] for level in noise}
    ratios = []
    laws = families.make_laws(seed, families.RANDOM, count)["laws"]
    for k, law in enumerate(laws):
        names = [column["name"] for column in law["variables"]]
        rng = np.random.default_rng([seed, k])
        X = np.column_stack([rng.uniform(c["low"], c["high"], ROWS + FRESH) for c in law["variables"]])
        truth = from_infix(law["infix"], names)
        y = np.broadcast_to(evaluate(truth, X), len(X))
        for level in noise:
            error = level * np.std(y[:ROWS]) * rng.standard_normal(ROWS)
            best = searched(X[:ROWS], y[:ROWS] + error, names, seconds)
            miss = (1 - r2(best, X[ROWS:], y[ROWS:])) / level**2
            found[level].append(miss)
            if miss <= RECOVERED:
                ratios.append(best.length / len(truth))
            if show:
                text = to_infix(best.expr, best.consts, names, digits=4)
                click.echo(f"noise {level:g}   miss {miss:9.3g} of its variance   {law['infix']}   ->   {text[:150]}")
    for level, misses in found.items():
        click.echo(f"noise {level:g}: recovered {sum(miss <= RECOVERED for miss in misses)} of {len(misses)}")
    click.echo(
        f"length ratio of the recovered {np.mean(ratios or [0]):.2f}, {time.process_time() - begun:.0f} processor seconds"
    )


if __name__ == "__main__":
    main()
