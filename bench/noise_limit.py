"""What noise leaves to find: laws that would count as recovered if a search knew their structure and had only numbers to fit.

    fansr-render data/fastsrb.json --val --noise 0.01 --seed 91 | bin/bench-noise-limit

Every law of a stream of problems is fitted to its noisy rows by scipy's Levenberg-Marquardt, from its true numbers, and judged on the
noise-free rows as a search is.  Once all its numbers but whole ones up to 10 are free, as for whoever takes no number for a round
one; once those are given that are told in fewer nats as what they are (few digits, CODATA's) than as a real number known to the share
that the noise leaves of it, noise / sqrt(rows): as many as a search could recognise.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import click
import numpy as np

from bench.composite_laws import FOUND
from fansr.evaluation.metrics import fvu
from fansr.expressions import CONSTANT, evaluate, literal_value
from fansr.search.known_constants import real_nats
from fansr.search.rounding import round_nats
from fansr.streams import open_reader

WHOLE = 10
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


@click.command()
@click.argument("problems", default="-")
def main(problems):
    """Count the laws recovered, numbers all free and round ones given."""
    with open_reader(problems, holds="problem") as reader:
        kept = list(reader)
    for given, says in ((False, "all numbers fitted"), (True, "round and known ones given")):
        left = np.array([left_open(problem, given) for problem in kept])
        marks = ", ".join(f"{(left <= mark).sum()} within {mark:g}" for mark in AT)
        click.echo(f"{says}: {(left <= FOUND).sum()} of {len(left)} recovered; {marks}")


if __name__ == "__main__":
    main()
