"""Groups of rows by a column: its values become 0/1 columns that only constants look at.

    table, choice, grouping = grouped(table, Choice(group="region"))

`grouping` is what a search wants to know: {"column", "levels", "columns"}; it goes into ``problem.extra``.  The 0/1 columns are made
columns like any other, so new rows get theirs from the group's column.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np

from fansr.errors import DataError
from fansr.tables import made_columns
from fansr.tables.cells import Reading
from fansr.tables.columns import Choice, Table, find_column, listed

MOST_GROUPS = 64
FEW = 12  # words of a text column that may be groups without being named
LEAST_ROWS = 2  # rows a group, on average


def grouped(table: Table, choice: Choice) -> tuple[Table, Choice, dict[str, Any] | None]:
    """The table with the groups' columns, the choice in which these are inputs and the group's own column is none, and the grouping."""
    name = choice.group
    if not name and choice.categories == "group":
        some = [
            one
            for one in table.raw
            if one not in choice.ignore and 2 <= len(set(made_columns.level_words(table, one)) - {""}) <= FEW
        ]
        if len(some) > 1:
            raise DataError(f"{table.source}: the text columns {listed(some)} could be groups; name one with --group")
        if not some:
            raise DataError(
                f"{table.source}: no text column of 2 to {FEW} words could be groups; name one with --group"
            )
        name = some[0]
    if not name:
        return table, choice, None
    name = table.names[find_column(table, name, np.ones(len(table.names), bool))]
    if name in choice.targets:
        raise DataError(f"{table.source}: column {name} is the target and cannot be the group")
    words = made_columns.level_words(table, name)
    levels = sorted({word for word in words if word}, key=lambda word: (_number(word), word))
    if not 2 <= len(levels) <= MOST_GROUPS or LEAST_ROWS * len(levels) > len(words):
        raise DataError(
            f"{table.source}: column {name} has {len(levels)} values in {len(words)} rows, wanted 2 to {MOST_GROUPS} groups of at least "
            f"{LEAST_ROWS} rows on average"
        )
    made = []
    for level in levels:
        column = f"{name}_" + (re.sub(r"\W+", "_", level) or "_")
        while column in table.names:
            column += "_"
        reading = Reading(kind="level", column=name, level=level, levels=tuple(levels))
        table = made_columns.add(table, column, reading)
        made.append(column)
    inputs = None if choice.inputs is None else tuple(dict.fromkeys([*(i for i in choice.inputs if i != name), *made]))
    choice = replace(choice, inputs=inputs, ignore=(*choice.ignore, name))
    return table, choice, {"column": name, "levels": levels, "columns": made}


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return float("inf")
