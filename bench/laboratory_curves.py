"""Curves of laboratories, measured with noise: how often the law is as good as the true form fitted by scipy, with no more constants.

    bin/bench-laboratory-curves --seed 1 --each 3           36 families of one or two columns
    bin/bench-laboratory-curves --held --noise relative     14 more that only measure; errors in proportion to the values

Tables have 12 to 160 rows, typed to four digits (the target to five), with even errors of 0.2 to 3 % of the target's spread or relative
ones of 0.5 to 5 %.  A law is as good when its squares (of relative errors where those were drawn) sum to at most 1.01 times what the true
form leaves, started at the truth, and it has no more constants (whole numbers up to 10 are not counted).  Where it is not, BIC may
still prefer it: few rows do not tell the forms apart.  Searches run in this process on the processor's clock, without the network.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import math
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import click
import numpy as np

from bench.composite_laws import on_the_processor
from bench.reference_sets import AS_GOOD, fitted_constants
from fansr.expressions import evaluate, to_infix
from fansr.streams import rng_for

ROWS = (12, 160)
ROWS_OF_TWO = 30  # at least, of a table of two columns
EVEN, RELATIVE = (0.002, 0.03), (0.005, 0.05)  # standard deviations of errors: of the target's spread, of each value
RANGE = 2.0  # of the target's values for relative errors to differ from even ones
DRAWS = 500


class Family(NamedTuple):
    """A form in c0, c1, ...; its columns {name: (low, high, whether rows are spaced evenly in the logarithm)}; ranges of the constants."""

    name: str
    form: str
    columns: dict[str, tuple[float, float, bool]]
    ranges: tuple[tuple[float, float], ...]


def _family(name: str, form: str, columns: str, *ranges: tuple[float, float]) -> Family:
    """columns: "x 0:20" or "x ^0.05:50", the latter evenly in the logarithm."""
    words = columns.split()
    drawn = {}
    for column, ends in zip(words[::2], words[1::2]):
        low, high = map(float, ends.lstrip("^").split(":"))
        drawn[column] = (low, high, ends[0] == "^")
    return Family(name, form, drawn, ranges)


FIRST = (
    _family("shifted power", "c0*(x+c1)**c2", "x 0:100", (1, 50), (3, 40), (-1.8, -0.3)),
    _family("shifted power on a base", "c0*(x+c1)**c2+c3", "x 0:50", (1, 5), (3, 20), (0.3, 2.6), (-20, 20)),
    _family("two decays", "c0*exp(-c1*x)+c2*exp(-c3*x)", "x 0:20", (1, 5), (0.8, 2), (1, 5), (0.1, 0.3)),
    _family("two decays to a floor", "c0*exp(-c1*x)+c2*exp(-c3*x)+c4", "x 0:20", (1, 5), (0.8, 2), (1, 5), (0.1, 0.3), (0.5, 2)),
    _family("uptake and loss", "c0*(exp(-c1*x)-exp(-c2*x))", "x 0:24", (5, 50), (0.05, 0.2), (0.5, 2)),
    _family("rational", "(c0+c1*x+c2*x**2)/(1+c3*x+c4*x**2)", "x 0:10", (1, 5), (1, 5), (0.2, 2), (0.1, 1), (0.05, 0.4)),
    _family("exponential of a pole", "c0*exp(c1/(x+c2))", "x 20:120", (0.01, 0.1), (500, 1500), (80, 150)),
    _family("logistic on a base", "c3+c0/(1+exp(-c1*(x-c2)))", "x 0:20", (5, 50), (0.4, 1.5), (7, 13), (1, 10)),
    _family("Gompertz", "c0*exp(-c1*exp(-c2*x))", "x 0:20", (10, 100), (2, 8), (0.2, 0.5)),
    _family("Weibull growth", "c0-c1*exp(-c2*x**c3)", "x 0.1:10", (80, 120), (40, 80), (0.02, 0.2), (1.3, 2.5)),
    _family("Hill on a base", "c3+c0*x**c2/(c1**c2+x**c2)", "x ^0.05:50", (5, 50), (1, 6), (1.3, 3.5), (0.5, 5)),
    _family("inhibition by dose", "c0/(1+(x/c1)**c2)", "x ^0.05:50", (5, 50), (1, 6), (0.7, 2.5)),
    _family("Gaussian on a slope", "c0*exp(-((x-c1)/c2)**2)+c3+c4*x", "x 0:20", (5, 20), (7, 13), (1, 3), (1, 5), (0.1, 0.6)),
    _family("Lorentzian", "c0/(1+((x-c1)/c2)**2)+c3", "x 0:20", (5, 20), (7, 13), (0.8, 3), (0.5, 5)),
    _family("gamma", "c0*x**c1*exp(-c2*x)", "x 0.2:20", (1, 10), (0.6, 2.4), (0.2, 0.7)),
    _family("power on a base", "c0*x**c1+c2", "x 0.5:40", (1, 5), (0.3, 2.4), (-5, 20)),
    _family("shifted logarithm", "c0*log(x+c1)+c2", "x 0:50", (1, 10), (0.8, 8), (1, 10)),
    _family("damped wave", "c0*exp(-c1*x)*cos(c2*x+c3)+c4", "x 0:20", (2, 8), (0.08, 0.25), (1, 3), (0, 6), (-3, 3)),
    _family("two waves", "c0*cos(c1*x+c2)+c3*cos(c4*x+c5)+c6", "x 0:30", (2, 5), (0.4, 0.9), (0, 6), (1, 4), (1.3, 3), (0, 6), (3, 9)),
    _family("arctangent on a slope", "c0+c1*x+c2*arctan((x-c3)/c4)", "x 0:20", (5, 10), (0.1, 0.5), (2, 6), (7, 13), (0.5, 2)),
    _family("error function", "c0+c1*erf((x-c2)/c3)", "x 0:20", (5, 10), (2, 6), (7, 13), (1, 4)),
    _family("Langmuir and Freundlich", "c0*(c1*x)**c2/(1+(c1*x)**c2)", "x ^0.05:20", (5, 50), (0.2, 2), (0.5, 0.9)),
    _family("Antoine", "c0-c1/(x+c2)", "x 10:120", (7, 9), (1200, 2000), (200, 250)),
    _family("Morse", "c0*(1-exp(-c1*(x-c2)))**2+c3", "x 0.8:5", (3, 8), (0.9, 2), (1.2, 2), (-5, 1)),
    _family("Cauchy", "c0+c1/x**2+c2/x**4", "x 0.35:1.1", (1.4, 1.7), (0.004, 0.012), (0.0001, 0.0006)),
    _family("Sellmeier", "sqrt(1+c0*x**2/(x**2-c1))", "x 0.35:1.8", (1.1, 2), (0.008, 0.02)),
    _family("Planck", "c0/(x**5*(exp(c1/x)-1))", "x 0.4:6", (50, 300), (3, 8)),
    _family("Ricker", "c0*x*exp(-c1*x)", "x 0.5:40", (1, 10), (0.05, 0.2)),
    _family("Haldane", "c0*x/(c1+x+x**2/c2)", "x 0.5:80", (5, 30), (3, 12), (8, 40)),
    _family("Arrhenius", "c0*exp(-c1/x)", "x 280:420", (1e5, 1e7), (3000, 5000)),
    _family("growth with a lag", "c0*(1-exp(-c1*(x-c2)))", "x 2:30", (10, 60), (0.08, 0.3), (0.5, 1.8)),
    _family("titration", "c0+c1/(1+10**(c2-x))", "x 2:11", (1, 3), (2, 8), (4, 8)),
    _family("competitive inhibition", "c0*x/(c1*(1+z/c2)+x)", "x ^0.5:40 z 0:20", (10, 90), (1, 6), (2, 9)),
    _family("ageing", "c0-c1*x*exp(-c2*z)", "x 1:60 z 0.5:4", (8, 15), (0.05, 0.15), (0.2, 1)),
    _family("rate of order c1", "c0*x**c1*exp(-c2/z)", "x 1:20 z 280:420", (1e4, 1e6), (0.4, 1.6), (2500, 4000)),
    _family("product of powers on a base", "c0*x**c1*z**c2+c3", "x 1:30 z 1:30", (1, 5), (0.2, 0.8), (0.2, 0.8), (2, 20)),
)  # fmt: skip
HELD = (
    _family("Vogel", "exp(c0+c1/(x-c2))", "x 260:420", (-6, -2), (500, 1200), (120, 190)),
    _family("reciprocal root on a base", "c0/sqrt(x+c1)+c2", "x 0:60", (5, 40), (1, 10), (1, 8)),
    _family("saturation and drift", "c0*(1-exp(-c1*x))+c2*x", "x 0:30", (5, 20), (0.3, 1), (0.1, 0.6)),
    _family("epidemic", "c0*exp(-c1*(x-c2))/(1+exp(-c1*(x-c2)))**2", "x 0:20", (10, 80), (0.5, 1.2), (7, 13)),
    _family("decay and wave", "c0*exp(-c1*x)+c2*cos(c3*x+c4)", "x 0:20", (3, 9), (0.1, 0.4), (1, 3), (1, 3), (0, 6)),
    _family("magnetisation", "c0*tanh(c1*x)+c2*x", "x -6:6", (2, 9), (0.4, 1.6), (0.2, 1)),
    _family("Freundlich on a base", "c0+c1*x**c2", "x ^0.1:30", (1, 10), (1, 8), (0.25, 0.7)),
    _family("thermistor", "1/(c0+c1*log(x)+c2*log(x)**3)", "x ^500:30000", (8e-4, 1.4e-3), (2e-4, 2.6e-4), (7e-8, 2e-7)),
    _family("photosynthesis", "c0*(1-exp(-c1*x/c0))*exp(-c2*x)", "x 2:200", (5, 30), (0.3, 1), (0.001, 0.006)),
    _family("two sites", "c0*x/(c1+x)+c2*x/(c3+x)", "x ^0.05:200", (5, 20), (0.3, 1.5), (5, 20), (20, 60)),
    _family("wave on a slope", "c0+c1*x+c2*sin(c3*x+c4)", "x 0:25", (1, 9), (0.2, 1), (1, 4), (0.6, 2), (0, 6)),
    _family("two substrates", "c0*x*z/((c1+x)*(c2+z))", "x ^0.5:30 z ^0.5:30", (10, 80), (1, 8), (1, 8)),
    _family("cooling of several", "c0+(c1-c0)*exp(-c2*x)*z", "x 0:20 z 0.5:2", (15, 25), (60, 95), (0.1, 0.4)),
    _family("drag", "c0*x**2/(1+c1*x)", "x 0.5:30", (0.5, 3), (0.05, 0.4)),
)  # fmt: skip


class Drawn(NamedTuple):
    """X (M, D) and y (M,) as typed, what the errors were divided by (M,), and the sum of squares that the true form leaves."""

    X: np.ndarray
    y: np.ndarray
    size: np.ndarray
    left: float


def values(family: Family, X: np.ndarray, constants: np.ndarray) -> np.ndarray:
    """The form's values (M,) on rows X (M, D)."""
    from scipy.special import erf

    known = {name: getattr(np, name) for name in ("exp", "log", "cos", "sin", "sqrt", "arctan", "tanh")} | {"erf": erf}
    known |= dict(zip(family.columns, X.T)) | {f"c{k}": c for k, c in enumerate(constants)}
    with np.errstate(all="ignore"):
        return eval(family.form, known) + np.zeros(len(X))


def drawn(family: Family, rng: np.random.Generator, relative: bool) -> Drawn | None:
    """A table of a family; None where relative errors were asked for and its values change sign or hardly differ."""
    from scipy.optimize import curve_fit

    for _ in range(DRAWS):
        c = np.array(
            [math.exp(rng.uniform(math.log(a), math.log(b))) if a > 0 else rng.uniform(a, b) for a, b in family.ranges]
        )
        M = int(np.exp(rng.uniform(*np.log(ROWS))))
        M = M if len(family.columns) == 1 else max(M, ROWS_OF_TWO)
        X = np.empty((M, len(family.columns)))
        for j, (low, high, logarithmic) in enumerate(family.columns.values()):
            x = np.geomspace(low, high, M) if logarithmic else np.linspace(low, high, M)
            if not logarithmic and rng.random() < 0.5:
                x = np.sort(rng.uniform(low, high, M))
            X[:, j] = x if len(family.columns) == 1 else rng.permutation(x)
        y = values(family, X, c)
        if np.isfinite(y).all() and np.ptp(y) > 0:
            break
    else:
        raise ValueError(f"{family.name}: no finite values in {DRAWS} draws")
    if relative and not (y.min() > 0 and y.max() >= RANGE * y.min()):
        return None
    share = math.exp(rng.uniform(*np.log(RELATIVE if relative else EVEN)))
    y = y * (1 + share * rng.normal(size=M)) if relative else y + share * np.std(y) * rng.normal(size=M)
    X = np.array([[float(f"{v:.4g}") for v in row] for row in X])
    y = np.array([float(f"{v:.5g}") for v in y])
    size = np.abs(y) if relative else np.ones(M)
    left = [float(np.sum(((y - values(family, X, c)) / size) ** 2))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            c, _ = curve_fit(lambda _, *p: values(family, X, p), None, y, p0=c, sigma=size, maxfev=20_000)
            left.append(float(np.sum(((y - values(family, X, c)) / size) ** 2)))
        except RuntimeError:  # no better place was found than the truth
            pass
    return Drawn(X, y, size, np.nanmin(left))


def tables(families: tuple[Family, ...], seed: int, each: int, relative: bool) -> Iterator[tuple[Family, Drawn]]:
    """`each` tables of every family, the same for a seed."""
    for family in families:
        for k in range(each):
            table = drawn(family, rng_for(seed, f"laboratory.{family.name}", k), relative)
            if table is not None:
                yield family, table


@click.command()
@click.option("--held", is_flag=True, help="The families that only measure.")
@click.option(
    "--noise", type=click.Choice(["even", "relative"]), default="even", show_default=True, help="Kind of errors."
)
@click.option("--seed", default=1, show_default=True, help="Of the tables.")
@click.option("--each", default=3, show_default=True, help="Tables of each family.")
@click.option("--time", "seconds", default=1.0, show_default=True, help="Processor seconds a search.")
def main(held, noise, seed, each, seconds):
    """A line a table: squares over the true form's, constants beside its, the law; then how many are as good."""
    from fansr.fitting import Budget, Problem
    from fansr.search import turns

    on_the_processor()
    proposers = tuple(name for name in turns.DEFAULT_PROPOSERS if name != "model")
    good = better = looked_at = 0
    for family, table in tables(HELD if held else FIRST, seed, each, noise == "relative"):
        problem = Problem(table.X, table.y, list(family.columns))
        best = turns.search(problem, turns.Options(proposers=proposers), Budget(seconds)).best
        with np.errstate(all="ignore"):
            missed = (table.y - evaluate(best.expr, table.X, best.consts)) / table.size
        left, M, allowed, count = float(missed @ missed), len(table.y), len(family.ranges), fitted_constants(best)
        as_good = left <= AS_GOOD * table.left and count <= allowed
        by_bic = M * math.log(left) + count * math.log(M) < M * math.log(table.left) + allowed * math.log(M)
        good, better, looked_at = good + as_good, better + (as_good or by_bic), looked_at + 1
        verdict = "as good" if as_good else "by BIC" if by_bic else "worse"
        click.echo(
            f"{verdict:8s}{family.name:28s} {M:4d} rows   {left / table.left:8.3f}   constants {count} of {allowed}   "
            f"{to_infix(best.expr, best.consts, list(family.columns), digits=4)}"
        )
    click.echo(
        f"{good} of {looked_at} as good as the true form with no more constants; {better} with those that BIC prefers"
    )


if __name__ == "__main__":
    main()
