"""Kinks and jumps told from curves and from noise: drawn tables of three kinds through the search, and how many come out right.

    python -m bench.kinks --times 0,1 --seed 1

Broken laws (abs, min, max, step, clamps, lines that jump, kinks beside a linear part, the smaller of two planes), with and without
noise, are right when the law found has such an operator and agrees with the truth on 1,000 fresh rows as well as the noise
allows.  Smooth laws and pure noise are right when the law found has none.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import resource
from collections.abc import Callable
from typing import NamedTuple

import click
import numpy as np

from fansr.expressions import evaluate, to_infix
from fansr.fitting import Budget, Problem
from fansr.search import turns

BROKEN = ("abs", "min", "max", "step", "sign", "floor", "mod")
FRESH = 1000


class Drawn(NamedTuple):
    """One table with its truth, a function of rows (M, D), and the places (column, value) where it jumps."""

    kind: str
    X: np.ndarray
    y: np.ndarray
    truth: Callable
    noise: float
    jumps: tuple[tuple[int, float], ...] = ()


def _numbers(rng, n):
    """Plain numbers of one to three digits, away from 0."""
    return np.round(rng.choice([-1, 1], n) * rng.uniform(0.5, 9.0, n), int(rng.integers(0, 3)))


def broken(rng) -> tuple[str, int, Callable, tuple]:
    """(kind, columns, truth, jumps) of a law with a kink or a jump, over columns within 0..10."""
    a, b, d, e = (v or 1.0 for v in _numbers(rng, 4))
    c, c2 = np.sort(np.round(rng.uniform(2.5, 7.5, 2), 1))
    c2 = max(c2, c + 1.5)
    kinds = {
        "abs": (1, lambda x: a + b * np.abs(x[:, 0] - c), ()),
        "kinked line": (1, lambda x: a + b * x[:, 0] + d * np.abs(x[:, 0] - c), ()),
        "max": (1, lambda x: a + b * np.maximum(x[:, 0], c), ()),
        "min": (1, lambda x: a + b * np.minimum(x[:, 0], c), ()),
        "clamp": (1, lambda x: a + b * np.clip(x[:, 0], c, c2), ()),
        "step": (1, lambda x: a + b * (x[:, 0] > c), ((0, c),)),
        "two steps": (1, lambda x: a + b * (x[:, 0] > c) + d * (x[:, 0] > c2), ((0, c), (0, c2))),
        "line and step": (1, lambda x: a + b * x[:, 0] + 5 * d * (x[:, 0] > c), ((0, c),)),
        "two lines": (1, lambda x: np.where(x[:, 0] > c, a + b * x[:, 0], d + e * x[:, 0]), ((0, c),)),
        "smaller column": (2, lambda x: np.minimum(x[:, 0], x[:, 1]), ()),
        "larger of multiples": (2, lambda x: np.maximum(abs(a) * x[:, 0], abs(b) * x[:, 1]), ()),
        "larger of planes": (3, lambda x: np.maximum(a * x[:, 0] + d, b * x[:, 1] - e * x[:, 2]), ()),
        "difference": (2, lambda x: a + b * np.abs(x[:, 0] - x[:, 1]), ()),
        "kink beside lines": (3, lambda x: a + b * np.maximum(x[:, 1], c) + d * x[:, 0] + e * x[:, 2], ()),
        "step beside lines": (3, lambda x: a + 5 * b * (x[:, 2] > c) + d * x[:, 0], ((2, c),)),
    }  # fmt: skip
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    return kind, *kinds[kind]


def smooth(rng) -> tuple[str, int, Callable, tuple]:
    """A law without kinks that looks as if it had one, or curved anyhow."""
    a, b, d = (abs(v) or 1.0 for v in _numbers(rng, 3))
    c, k = rng.uniform(2, 8), rng.uniform(0.3, 3.0)
    kinds = {
        "saturation": (1, lambda x: a * x[:, 0] / (c + x[:, 0])),
        "growth": (1, lambda x: a / (1 + np.exp(-k * (x[:, 0] - c)))),
        "tanh": (1, lambda x: b + a * np.tanh(k * (x[:, 0] - c))),
        "hyperbola": (1, lambda x: a * np.sqrt((x[:, 0] - c) ** 2 + d / 4)),
        "parabola": (1, lambda x: b + a * (x[:, 0] - c) ** 2),
        "cubic": (1, lambda x: b + a * (x[:, 0] - c) ** 3 / 10),
        "decay": (1, lambda x: b + a * np.exp(-0.3 * k * x[:, 0])),
        "power": (1, lambda x: a * (x[:, 0] + 0.1) ** k),
        "wave": (1, lambda x: b + a * np.sin(k * x[:, 0])),
        "peak": (1, lambda x: a * np.exp(-((x[:, 0] - c) ** 2) / d)),
        "product": (2, lambda x: a * x[:, 0] * x[:, 1]),
        "quotient": (2, lambda x: a * x[:, 0] / (x[:, 1] + 0.5)),
        "norm": (2, lambda x: np.sqrt(x[:, 0] ** 2 + a * x[:, 1] ** 2)),
        "line": (3, lambda x: a * x[:, 0] - b * x[:, 1] + d),
    }
    kind = list(kinds)[int(rng.integers(len(kinds)))]
    return kind, *kinds[kind], ()


def draw(sort: str, number: int, seed: int) -> Drawn:
    """The table of a sort ("broken", "smooth", "noise"), number and seed."""
    rng = np.random.default_rng([seed, number, len(sort)])
    M = int(rng.choice([20, 40, 80, 200, 600]))
    if sort == "noise":
        D = int(rng.integers(1, 4))
        X = np.round(rng.uniform(0, 10, (M, D)), 3)
        y = rng.normal(size=M) if rng.random() < 0.6 else rng.standard_t(3, M)
        return Drawn("noise", X, np.round(3 + 2 * y, 4), lambda x: np.full(len(x), 3.0), 1.0)
    kind, D, truth, jumps = (broken if sort == "broken" else smooth)(rng)
    X = np.round(rng.uniform(0, 10, (M, D)), 3)
    if D == 1 and rng.random() < 0.4:
        X = np.round(np.linspace(0, 10, M), 3)[:, None]
    y = truth(X)
    noise = (
        float(rng.choice([0.0, 0.0, 0.005, 0.03])) if sort == "broken" else float(rng.choice([0.0, 0.005, 0.03, 0.1]))
    )
    y = y + noise * float(np.std(y)) * rng.normal(size=M)
    return Drawn(kind, X, np.round(y, 6), truth, noise, jumps)


def is_right(drawn: Drawn, best, seed: int) -> bool:
    """Whether the law found is of the table's sort and, where that is broken, agrees with the truth on fresh rows."""
    has = any(token in BROKEN for token in best.expr)
    if drawn.kind not in {name for name in _BROKEN_KINDS}:
        return not has
    X = np.random.default_rng([seed, 99]).uniform(0, 10, (FRESH, drawn.X.shape[1]))
    for j, c in drawn.jumps:  # the rows leave open where between them it jumps
        x = np.sort(drawn.X[:, j])
        at = np.clip(np.searchsorted(x, c), 1, len(x) - 1)
        X = X[(X[:, j] <= x[at - 1]) | (X[:, j] >= x[at])]
    with np.errstate(all="ignore"):
        off = evaluate(best.expr, X, best.consts) - drawn.truth(X)
    allowed = max(1e-5, 5 * drawn.noise * np.sqrt(6 / len(drawn.y)))
    return has and bool(np.sqrt(np.mean(off**2)) <= allowed * np.std(drawn.truth(X)))


_BROKEN_KINDS = (
    "abs", "kinked line", "max", "min", "clamp", "step", "two steps", "line and step", "two lines", "smaller column",
    "larger of multiples", "larger of planes", "difference", "kink beside lines", "step beside lines",
)  # fmt: skip


@click.command()
@click.option("--times", default="0,1", show_default=True, help="Values of --time, comma-separated.")
@click.option("--each", default=40, show_default=True, help="Tables of each sort.")
@click.option("--seed", default=0, show_default=True)
@click.option("--sorts", default="broken,smooth,noise", show_default=True)
@click.option("--verbose", "-v", is_flag=True, help="Print every wrong answer.")
def main(times, each, seed, sorts, verbose):
    """Print right answers by sort of table and --time."""
    for seconds in (float(t) for t in times.split(",")):
        for sort in sorts.split(","):
            right, before = 0, resource.getrusage(resource.RUSAGE_SELF)
            for number in range(each):
                drawn = draw(sort, number, seed)
                names = ["a", "b", "c"][: drawn.X.shape[1]]
                found = turns.search(Problem(drawn.X, drawn.y, names), turns.Options(seed=seed), Budget(seconds))
                fine = is_right(drawn, found.best, seed)
                right += fine
                if verbose and not fine:
                    text = to_infix(found.best.expr, found.best.consts, names, 6)
                    click.echo(
                        f"    {number:3d} {drawn.kind}, {len(drawn.y)} rows, noise {drawn.noise:g}: {text}  FVU {found.best.fvu:.2g}"
                    )
            after = resource.getrusage(resource.RUSAGE_SELF)
            spent = (after.ru_utime - before.ru_utime) / each
            click.echo(
                f"  --time {seconds:g}  {sort:6s}  {right:3d} of {each} right   {spent:.2f} s of processor time each"
            )


if __name__ == "__main__":
    main()
