"""What noise leaves to find: laws that would count as recovered if a search knew their structure and had only numbers to fit.

    fansr-render data/fastsrb.json --val --noise 0.01 --seed 91 | bin/bench-noise-limit
    fansr-render data/fastsrb.json --val --seed 91 | bin/bench-noise-limit --rounding

Every law of a stream of problems is fitted to its noisy rows by scipy's Levenberg-Marquardt, from its true numbers, and judged on the
noise-free rows as a search is.  Once all its numbers but whole ones up to 10 are free, as for whoever takes no number for a round
one; once those are given that are told in fewer nats as what they are (few digits, CODATA's) than as a real number known to the share
that the noise leaves of it, noise / sqrt(rows): as many as a search could recognise.

With `--rounding` nothing is fitted: the true law, its value taken with DIGITS digits, is judged against the target as float64
arithmetic made it.  Where that rounding alone is above a mark (1 - cos of 1e-9, exp(1e-13) - 1) no law reaches the mark but the one
spelled in the same order of operations.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import click
import numpy as np

from bench.composite_laws import FOUND
from fansr.errors import DataError
from fansr.evaluation.metrics import fvu
from fansr.expressions import CONSTANT, evaluate, literal_value, to_infix
from fansr.search.known_constants import real_nats
from fansr.search.rounding import round_nats
from fansr.streams import open_reader

WHOLE = 10
DIGITS = 40
EXACT = 1e-20
AT = (1e-5, 1e-4)  # further marks: a tenth of the variance of 1 % noise, a hundredth of that of 10 %


def numbers_of(expr: list[str], share: float) -> tuple[list[str], np.ndarray]:
    """(the expression with its free numbers as constants, their true values).

    share: to which a real number is known, for round ones to be given; 0 where none are.
    """
    free, values = [], []
    for token in expr:
        value = literal_value(token)
        known = value is None or (value == round(value) and abs(value) <= WHOLE)
        if known or (share and round_nats(value, True) < real_nats(value, share * abs(value))):
            free.append(token)
        else:
            free.append(CONSTANT)
            values.append(value)
    return free, np.array(values)


@np.errstate(all="ignore")
def left_open(problem: dict, given: bool) -> float:
    """FVU on the noise-free rows of the law whose numbers were fitted to the noisy ones."""
    from scipy.optimize import least_squares

    share = problem["noise"] / np.sqrt(len(problem["y"])) if given else 0.0
    expr, truth = numbers_of(problem["truth"]["expr"], share)
    X, y, size = problem["X"], problem["y"], float(np.std(problem["y"]))

    def misfit(shares):
        values = (evaluate(expr, X, truth * (1 + shares)) - y) / size
        return np.where(np.isfinite(values), values, 1e6)

    fitted = least_squares(misfit, np.zeros(len(truth)), method="lm").x if len(truth) else np.zeros(0)
    return fvu(problem["y_val"], evaluate(expr, problem["X_val"], truth * (1 + fitted)))


def rounded_off(problem: dict) -> float:
    """FVU of the law itself, in DIGITS digits, on the rows whose target float64 arithmetic made."""
    import mpmath
    import sympy

    columns = sympy.symbols([f"x{j}" for j in range(1, problem["X"].shape[1] + 1)], real=True)
    law = sympy.sympify(to_infix(problem["truth"]["expr"]), {str(column): column for column in columns})
    with mpmath.workdps(DIGITS):
        law = sympy.lambdify(columns, law, "mpmath")
        values = [float(law(*map(mpmath.mpf, row))) for row in problem["X_val"].tolist()]
    return fvu(problem["y_val"], np.array(values))


@click.command()
@click.argument("problems", default="-")
@click.option("--rounding", is_flag=True, help="Instead: what rounding of the noise-free target leaves.")
def main(problems, rounding):
    """Count the laws recovered, numbers all free and round ones given."""
    try:
        with open_reader(problems, holds="problem") as reader:
            kept = list(reader)
    except DataError as error:
        raise click.ClickException(str(error)) from None
    if not all("truth" in problem and "y_val" in problem for problem in kept):
        raise click.ClickException(
            f"{problems}: problems without their laws or noise-free rows, wanted those of fansr-render --val"
        )
    if rounding:
        left = np.array([rounded_off(problem) for problem in kept])
        for mark in (FOUND, EXACT):
            beyond = [problem["law"] for problem, one in zip(kept, left) if not one <= mark]
            click.echo(f"within {mark:g}: {len(kept) - len(beyond)} of {len(kept)}; not {', '.join(beyond) or 'one'}")
        return
    for given, says in ((False, "all numbers fitted"), (True, "round and known ones given")):
        left = np.array([left_open(problem, given) for problem in kept])
        marks = ", ".join(f"{(left <= mark).sum()} within {mark:g}" for mark in AT)
        click.echo(f"{says}: {(left <= FOUND).sum()} of {len(left)} recovered; {marks}")


if __name__ == "__main__":
    main()
