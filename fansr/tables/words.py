"""Words that are numbers: months, days of the week, yes and no.

    read(["Jan", "Feb", "Jan"], [0, 1, 2])       # 1, 2, 1 and a Reading: January as 1 to December as 12

A column is one of them when all its cells are; English names, whole or as commonly cut short, large or small.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fansr.tables.cells import Column, Reading, number

_MONTHS = "january february march april may june july august september october november december".split()
_DAYS = "monday tuesday wednesday thursday friday saturday sunday".split()


def _named(names: Sequence[str], further: dict[str, float]) -> dict[str, float]:
    found = {name: float(k) for k, name in enumerate(names, 1)}
    return {**found, **{name[:3]: k for name, k in found.items()}, **further}


TABLES = {
    "months": _named(_MONTHS, {"sept": 9.0}),
    "weekdays": _named(_DAYS, {"tues": 2.0, "wednes": 3.0, "thur": 4.0, "thurs": 4.0}),
    "yes": {"yes": 1.0, "y": 1.0, "on": 1.0, "no": 0.0, "n": 0.0, "off": 0.0},
}
SAID = {
    "months": "January as 1 to December as 12",
    "weekdays": "Monday as 1 to Sunday as 7",
    "yes": "yes as 1, no as 0",
}


def read(texts: Sequence[str], present: Sequence[int]) -> Column | None:
    """A column whose cells are all words of one kind, and not all the same; None for any other."""
    words = [_bare(texts[m]) for m in present]
    for unit, table in TABLES.items():
        if words and words[0] in table and all(word in table for word in words):
            if len(set(table[word] for word in words)) == 1:
                return None
            values = np.full(len(texts), np.nan)
            values[list(present)] = [table[word] for word in words]
            return Column(values, [], Reading(kind="words", unit=unit))
    return None


def apply(texts: Sequence[str], present: Sequence[int], reading: Reading) -> dict[int, float]:
    """Values of new cells by their rows; numbers stay what they are."""
    table, found = TABLES.get(reading.unit, {}), {}
    for m in present:
        value = table.get(_bare(texts[m]))
        value = number(texts[m]) if value is None else value
        if value is not None:
            found[m] = value
    return found


def _bare(text: str) -> str:
    return text.rstrip(".").lower()
