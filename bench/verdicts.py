"""What the verdict says of tables whose truth is known: a confusion table.

    python -m bench.verdicts --time 0.3 --seed 1

Kinds: laws without noise (printed to ten digits), with noise of 1 to 20 % of the spread, with stated errors, pure noise, a
constant, fewer rows than the law's constants need, kinks and steps that no smooth law is, and a law one of whose columns is not in
the table.  Laws, ranges, rows and noise are drawn at random from the families below.  Pure noise that is called a law is the
failure that counts; the last line says how much of it.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

from collections import Counter

import click
import numpy as np

from fansr.fitting import Budget, Problem
from fansr.search import turns, verdict

KINDS = {"exact": 30, "noisy": 40, "stated errors": 15, "pure noise": 55, "constant": 5, "too few rows": 10, "kink": 20,
         "missing column": 25}  # fmt: skip
LAWS = [
    (1, lambda X, c: c[0] * X[:, 0] + c[1]),
    (1, lambda X, c: c[0] * X[:, 0] ** 2 + c[1]),
    (1, lambda X, c: c[0] * np.exp(-c[1] * X[:, 0])),
    (1, lambda X, c: c[0] * X[:, 0] / (c[1] + X[:, 0])),
    (2, lambda X, c: c[0] * X[:, 0] * X[:, 1]),
    (2, lambda X, c: c[0] * X[:, 0] / X[:, 1] ** 2),
    (2, lambda X, c: c[0] * X[:, 0] + c[1] * X[:, 1]),
    (3, lambda X, c: c[0] * X[:, 0] * X[:, 1] + c[1] * X[:, 2]),
    (3, lambda X, c: c[0] * X[:, 0] * np.sqrt(X[:, 1]) / X[:, 2]),
]
KINKS = [
    lambda x, c: np.abs(x - 3) * c[0] + c[1] * x,
    lambda x, c: np.where(x > 3, c[0], 0.0) + c[1] * x,
    lambda x, c: np.maximum(c[0] * (x - 3), c[1] * (3 - x)),
    lambda x, c: np.minimum(c[0] * x, 4 * c[1]),
]


def draw(kind: str, number: int, seed: int) -> Problem:
    """One table of a kind."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind), number])
    c = np.round(rng.uniform(0.5, 4, 2), 2)
    M = int(rng.integers(12, 80))
    if kind == "kink":
        x = np.sort(rng.uniform(0.2, 6, max(30, M)))
        return Problem(x[:, None], KINKS[number % len(KINKS)](x, c), ["x"])
    law = LAWS[int(rng.integers(len(LAWS)))]
    if kind == "missing column":
        law = LAWS[4 + int(rng.integers(len(LAWS) - 4))]
    D, f = law
    M = 3 if kind == "too few rows" else M
    X = rng.uniform(0.5, 5, (M, D))
    names = [f"x{j + 1}" for j in range(D)]
    y = f(X, c)
    if kind == "exact":
        y = np.array([float(f"{v:.10g}") for v in y])
    elif kind == "noisy":
        y = y + y.std() * rng.choice([0.01, 0.03, 0.1, 0.2]) * rng.normal(size=M)
    elif kind == "too few rows":
        y = y + 0.3 * y.std() * rng.normal(size=M)
    elif kind == "pure noise":
        y = rng.choice([1.0, 10.0, 0.1]) * (rng.normal(size=M) if number % 3 else rng.exponential(size=M)) + rng.choice(
            [0, 5]
        )
    elif kind == "constant":
        y = np.full(M, c[0])
    elif kind == "missing column":
        X, names = np.ascontiguousarray(X[:, :-1]), names[:-1]
    elif kind == "stated errors":
        sigma = y.std() * rng.uniform(0.02, 0.1, M)
        return Problem(X, y + sigma * rng.normal(size=M), names, weights=1 / sigma**2, known=True)
    return Problem(X, y, names)


@click.command()
@click.option("--time", "seconds", type=click.FloatRange(0.0), default=0.3, show_default=True, help="Of each search.")
@click.option("--seed", default=0, show_default=True)
@click.option("--kinds", default=",".join(KINDS), help="Only these, comma-separated.")
@click.option("--show", is_flag=True, help="A line for each table too.")
def main(seconds, seed, kinds, show):
    """Print the confusion table of verdicts over tables of known truth."""
    click.echo(f"{'truth':<16}" + "".join(f"{word:>15}" for word in verdict.VERDICTS))
    called = Counter()
    for kind in kinds.split(","):
        for number in range(KINDS[kind]):
            problem = draw(kind, number, seed)
            found = turns.search(problem, turns.Options(seed=seed), Budget(seconds))
            judged = verdict.judge(problem, found.best, found.errors, found.floor)
            called[kind, judged.verdict] += 1
            if show:
                click.echo(f"    {kind}: {' '.join(found.best.expr)}  {judged.verdict}: {judged.text}")
        click.echo(f"{kind:<16}" + "".join(f"{called[kind, word]:15d}" for word in verdict.VERDICTS))
    noise = sum(n for (kind, word), n in called.items() if kind == "pure noise" and word != "no law")
    click.echo(
        f"pure noise called a law: {noise} of {sum(n for (kind, _), n in called.items() if kind == 'pure noise')}"
    )


if __name__ == "__main__":
    main()
