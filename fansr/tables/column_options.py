"""Options of a command that say what the columns of a table are: --target, --inputs, --ignore, --derive, --lag and others.

@column_options
def fit(..., columns: Choice): ...
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Callable
from typing import Any

import click

from fansr.tables.columns import Choice
from fansr.tables.loading import ORDERS

_NAMES = "Names with commas between (patterns such as 'x*' too), or the option several times."
OPTIONS = (
    click.option(
        "--target",
        metavar="NAME",
        multiple=True,
        help="Column to explain; several times or a pattern such as 'y*' for a law each.  [default: the last column of numbers]",
    ),
    click.option(
        "--inputs",
        metavar="LIST",
        multiple=True,
        help=f"Columns that the law may depend on.  {_NAMES}  [default: all others]",
    ),
    click.option("--ignore", metavar="LIST", multiple=True, help=f"Columns to leave out.  {_NAMES}"),
    click.option(
        "--derive",
        metavar="FORMULA",
        multiple=True,
        help="A new column: 'r2 = x**2 + y**2', or a smoothed derivative 'v = dx/dt', 'a = d2x/dt2'.",
    ),
    click.option(
        "--lag", metavar="NAME:ROWS", multiple=True, help="New columns of earlier rows: x:1, or x:1..3 for three."
    ),
    click.option(
        "--categories",
        type=click.Choice(["onehot", "group"]),
        default=None,
        help="Make 0/1 columns of text columns of few values, or groups of the only one.",
    ),
    click.option(
        "--group",
        metavar="NAME",
        help="Column of groups: one law for all, with constants by group; which are common is found.",
    ),
    click.option(
        "--dates",
        type=click.Choice(list(ORDERS)),
        default=None,
        help="How to read 01/02/2024 where the column does not tell.",
    ),
    click.option("--weights", metavar="NAME", help="Column of weights of the squared residuals; it is no input then."),
    click.option(
        "--sigma",
        metavar="NAME",
        help="Column of standard errors of the target: weights 1/sigma^2, and the noise is known.",
    ),
    click.option(
        "--units",
        metavar="LIST",
        help="Units of columns and target, 'x=m, t=s, y=m/s**2', or table for those of names such as T [K]: laws are dimensionally "
        "right.  check: only judge; pure: constants have no unit.",
    ),
)


def column_options(function: Callable) -> Callable:
    """Adds the options to a command and hands them over as one Choice, `columns`."""

    @functools.wraps(function)
    def wrapped(
        *args: Any, target, inputs, ignore, derive, lag, categories, group, dates, weights, sigma, units, **more: Any
    ) -> Any:
        if weights and sigma:
            raise click.UsageError("--weights and --sigma: give one of them (weights are 1/sigma^2)")
        if units is not None and not units.strip():
            raise click.UsageError("--units: nothing was given, wanted 'x=m, t=s' or table")
        columns = Choice(
            targets=tuple(target),
            inputs=split(inputs) if inputs else None,
            ignore=split(ignore),
            weights=weights or None,
            sigma=sigma or None,
            derive=tuple(derive),
            lag=tuple(lag),
            categories=categories or "",
            dates=dates or "",
            units=units or "",
            group=group or "",
        )
        return function(*args, columns=columns, **more)

    for option in reversed(OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def split(lists: tuple[str, ...]) -> tuple[str, ...]:
    """Names of lists with commas between; quotes around a name keep its own commas."""
    return tuple(
        name.strip() for text in lists for name in next(csv.reader([text], skipinitialspace=True), []) if name.strip()
    )


def given(columns: Choice) -> list[str]:
    """The options that a call gave, as they are written."""
    words = {"targets": "--target"}
    return [words.get(name, f"--{name}") for name in Choice.__dataclass_fields__ if getattr(columns, name)]
