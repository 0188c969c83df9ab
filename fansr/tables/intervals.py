"""Targets that are known to lie between two ends: cells such as [1.2, 1.5], or two columns named together as [low, high].

An end that is missing or infinite leaves the interval open. The column then holds the middle of each, for whoever needs one number,
and ``table.ends`` the ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from fansr.errors import DataError
from fansr.tables.columns import Table, find_column

_NUMBER = r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?inf(?:inity)?|)\s*"
_CELL = re.compile(rf"[\[(\]]{_NUMBER}[,;]{_NUMBER}[\])\[]", re.IGNORECASE)
_PAIR = re.compile(r"\[([^\[\],]+),([^\[\],]+)\]")


def middles(ends: np.ndarray) -> np.ndarray:
    """One number (M,) for each interval (M, 2): its middle, the end that is finite, or NaN where none is."""
    low, high = ends[:, 0], ends[:, 1]
    with np.errstate(invalid="ignore"):
        middle = np.where(np.isinf(low), high, np.where(np.isinf(high), low, 0.5 * (low + high)))
    return np.where(np.isfinite(middle), middle, np.nan)


def checked(low: np.ndarray, high: np.ndarray, where: str) -> np.ndarray:
    """Ends (M, 2), missing ones infinite; DataError where one lies above the other."""
    ends = np.column_stack([np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)])
    bad = np.flatnonzero(ends[:, 0] > ends[:, 1])
    if len(bad):
        raise DataError(f"{where}: row {bad[0] + 1} is [{low[bad[0]]:g}, {high[bad[0]]:g}], wanted the lower end first")
    return ends


def of_cells(cells: Sequence[Any]) -> np.ndarray | None:
    """Ends (M, 2) of text cells that are all intervals or empty; None where others are among them."""
    found = np.full((len(cells), 2), np.nan)
    some = False
    for m, cell in enumerate(cells):
        text = "" if cell is None else str(cell).strip()
        if not text or text.lower() in ("nan", "na", "none"):
            continue
        match = _CELL.fullmatch(text)
        if match is None:
            return None
        some = True
        found[m] = [float(match[1] or "-inf"), float(match[2] or "inf")]
    return found if some else None


def with_cells(table: Table) -> Table:
    """The table with columns of intervals as numbers."""
    for j, name in enumerate(table.names):
        cells = table.raw.get(name) if table.text[j] else None
        ends = None if cells is None else of_cells(cells)
        if ends is not None:
            both = np.isnan(ends).all(axis=1)
            ends = checked(ends[:, 0], ends[:, 1], f"{table.source}: column {name}")
            table.values[:, j], table.text[j] = np.where(both, np.nan, middles(ends)), False
            table.unreadable[j] = []
            table.causes.pop(name, None)
            table = table._replace(ends={**table.ends, name: ends})
    return table


def paired(table: Table, target: str) -> tuple[Table, str, list[str]]:
    """(table, target, columns that are its ends): a target written [low, high] becomes a column of that name."""
    match = _PAIR.fullmatch(target.strip())
    if match is None or target in table.names:
        return table, target, []
    anything = np.ones(len(table.names), bool)
    names = [table.names[find_column(table, name.strip(), anything)] for name in match.groups()]
    low, high = (table.values[:, table.names.index(name)] for name in names)
    ends = checked(low, high, f"{table.source}: columns {names[0]} and {names[1]}")
    title = f"[{names[0]}, {names[1]}]"
    return (
        table._replace(
            names=[*table.names, title],
            values=np.column_stack([table.values, middles(ends)]),
            unreadable=[*table.unreadable, []],
            text=np.append(table.text, False),
            ends={**table.ends, title: ends},
        ),
        title,
        names,
    )


def of_pandas(y: Any) -> np.ndarray | None:
    """Ends (M, 2) of a pandas array, index or series of intervals; None for anything else."""
    if not str(getattr(y, "dtype", "")).startswith("interval"):
        return None
    array = getattr(y, "array", y)
    low, high = (np.asarray(side, dtype=np.float64) for side in (array.left, array.right))
    return checked(low, high, "y")
