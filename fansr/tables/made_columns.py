"""Columns made on the way: by a formula, a smoothed derivative, values of earlier rows, 0 and 1 for words.

    with_made(table, Choice(derive=("v = dx/dt", "r2 = x**2 + y**2"), lag=("x:1..3",), categories="onehot"))

Each is remembered as a Reading, in the order made, so that the same columns can be made of new rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from fansr.errors import DataError
from fansr.tables import local_slopes
from fansr.tables.cells import Reading, missing
from fansr.tables.columns import MADE, Choice, Table, find_column, listed, nearest

MOST_LEVELS = 12  # words of a text column that become columns
MOST_LAG = 1000  # rows
_RATE = re.compile(r"d(?:\^?([1-3]))?(.+?)/ *d(.+)")
_LAG = re.compile(r"(.+):\s*(\d{1,9})(?:\s*\.\.\s*(\d{1,9}))?")


def with_made(table: Table, choice: Choice) -> Table:
    """The table with its made columns behind its own; DataError says which formula is wrong and what is near."""
    for text in choice.derive:
        table = add(table, *_derived(table, text))
    for text in choice.lag:
        for name, reading in _lags(table, text):
            table = add(table, name, reading)
    if choice.categories == "onehot":
        spared = {*choice.ignore, *choice.targets}
        for name in [name for name in table.raw if name not in spared and not _is_yes(table, name)]:
            levels = _levels(table, name)
            for made, reading in levels:
                table = add(table, made, reading)
            table = _as_text(table, name) if levels else table
    return table


def _is_yes(table: Table, name: str) -> bool:
    """Whether a column of words is one of 0 and 1 already."""
    return name in table.readings and table.readings[name].unit == "yes"


def _as_text(table: Table, name: str) -> Table:
    """The table with a column that counts as text, were its words numbers or not: each has a column of its own."""
    text = table.text.copy()
    text[table.names.index(name)] = True
    return table._replace(text=text, readings={key: one for key, one in table.readings.items() if key != name})


def remade(table: Table, readings: dict[str, Reading]) -> Table:
    """New rows with the made columns of a law; one that stands in the table already is taken as it is, one whose sources the
    table lacks is left out."""
    for name, reading in readings.items():
        sources = reading.sources or (reading.column,)
        if reading.kind in MADE and name not in table.names and all(source in table.names for source in sources):
            table = add(table, name, reading)
    return table


def add(table: Table, name: str, reading: Reading) -> Table:
    """The table with one more column, made as a reading says."""
    if name in table.names:
        raise DataError(
            f"{table.source}: {name} = {reading.text}: there is a column {name} already; give the new one another name"
        )
    values, said = _values(table, name, reading)
    return table._replace(
        names=[*table.names, name],
        values=np.column_stack([table.values, values]),
        unreadable=[*table.unreadable, []],
        text=np.append(table.text, False),
        warnings=[*table.warnings, *said],
        readings={**table.readings, name: reading},
    )


def _values(table: Table, name: str, reading: Reading) -> tuple[np.ndarray, list[str]]:
    places = {known: j for j, known in enumerate(table.names)}
    if reading.kind == "lag":
        values = np.full(len(table.values), np.nan)
        values[reading.rows :] = table.values[: len(values) - reading.rows, places[reading.column]]
        return values, []
    if reading.kind == "level":
        words = level_words(table, reading.column)
        known = {level: float(level == reading.level) for level in reading.levels}
        values = np.array([known.get(word, np.nan) for word in words], dtype=np.float64)
        told = [] if np.isfinite(values).any() else [f"column {reading.column} holds none of {listed(reading.levels)}"]
        return values, told
    if reading.kind == "rate":
        return _rate(table, name, reading, places)
    return _formula(table, reading, places), []


def level_words(table: Table, name: str) -> list[str]:
    """The cells of a column of words or of numbers as text that tells them apart; "" for what is missing."""
    if name in table.raw:
        return ["" if missing(cell) else str(cell).strip() for cell in table.raw[name]]
    values = table.values[:, table.names.index(name)]
    return ["" if not np.isfinite(v) else f"{v:.15g}" for v in values]


def _numeric(table: Table) -> np.ndarray:
    return ~table.text & np.isfinite(table.values).any(axis=0)


# ---- formulas ---------------------------------------------------------------------------------


def _derived(table: Table, text: str) -> tuple[str, Reading]:
    name, equals, formula = (part.strip() for part in text.partition("="))
    if not name or not equals or not formula or formula.startswith("="):
        raise DataError(
            f"{table.source}: --derive {text!r}: wanted a name and a formula, such as 'v = dx/dt' or 'r2 = x**2 + y**2'"
        )
    found = _rate_parts(table, formula)
    if found is not None:
        order, x, t = found
        return name, Reading(kind="rate", formula=formula, sources=(x, t), rows=order)
    expr, used = _parsed(table, formula)
    return name, Reading(kind="derived", formula=formula, sources=tuple(used))


def _rate_parts(table: Table, formula: str) -> tuple[int, str, str] | None:
    """(order, column, time) of dx/dt, d2x/dt2 or d(x)/d(t), or None for any other formula."""
    match = _RATE.fullmatch(formula)
    top, _, bottom = (part.strip() for part in formula.partition("/"))
    if match is None or (top in table.names and bottom in table.names):
        return None
    order, below = int(match[1] or 1), match[3]
    if match[1]:
        squared = re.fullmatch(rf"(.+?)\^?{order}", below.strip())
        if squared is None:
            return None
        below = squared[1]
    x, t = (_bare(part) for part in (match[2], below))
    known = {name.lower() for name in table.names}
    if x.lower() not in known and t.lower() not in known:
        return None
    usable = _numeric(table)
    return order, table.names[find_column(table, x, usable)], table.names[find_column(table, t, usable)]


def _bare(name: str) -> str:
    inner = re.fullmatch(r"\((.*)\)", name.strip())
    return (inner[1] if inner else name).strip()


def _rate(table: Table, name: str, reading: Reading, places: dict[str, int]) -> tuple[np.ndarray, list[str]]:
    x, t = (table.values[:, places[source]] for source in reading.sources)
    try:
        values, n = local_slopes.rate(t, x, max(1, reading.rows))
    except local_slopes.Unordered:
        raise DataError(
            f"{table.source}: {name} = {reading.formula}: {reading.sources[1]} neither differs from row to row nor rises in "
            "runs; sort the rows by run and time"
        ) from None
    if not np.isfinite(values).any():
        raise DataError(
            f"{table.source}: {name} = {reading.formula}: wanted runs of at least {local_slopes.MIN_ROWS} rows"
        )
    return values, [
        f"{name} = {reading.formula} was taken in {n} runs, from each fall of {reading.sources[1]} to the next"
    ] if n > 1 else []


def _parsed(table: Table, formula: str) -> tuple[list[str], list[str]]:
    """A formula in prefix form, with x1, x2, ... for the columns it uses, and their names."""
    from fansr.expressions import CONSTANT, export, from_infix, rename, variables

    plain = export.identifiers(table.names)
    try:
        expr = from_infix(formula, table.names)
    except ValueError as first:
        try:
            expr = from_infix(formula, plain)  # a name with blanks in it, as printed laws have it
        except ValueError:
            unknown = re.match(r"unknown name '(.*?)'", str(first))
            why = f"no column is named {unknown[1]!r}{nearest(unknown[1], table.names)}" if unknown else str(first)
            raise DataError(f"{table.source}: --derive {formula!r}: {why}") from None
    if CONSTANT in expr:
        raise DataError(
            f"{table.source}: --derive {formula!r}: C is no column, and a made column has no free constants"
        )
    used = sorted(variables(expr))
    usable = _numeric(table)
    for j in used:
        find_column(table, table.names[j], usable)
    if not used:
        raise DataError(f"{table.source}: --derive {formula!r}: uses no column; the columns are {listed(table.names)}")
    return rename(expr, {j: k for k, j in enumerate(used)}), [table.names[j] for j in used]


def _formula(table: Table, reading: Reading, places: dict[str, int]) -> np.ndarray:
    from fansr.expressions import evaluate

    sources = table._replace(
        names=list(reading.sources),
        values=table.values[:, [places[source] for source in reading.sources]],
        text=np.zeros(len(reading.sources), bool),
    )
    expr, used = _parsed(sources, reading.formula)
    X = np.ascontiguousarray(sources.values[:, [reading.sources.index(name) for name in used]])
    with np.errstate(all="ignore"):
        return np.array(evaluate(expr, X, np.zeros(0)), dtype=np.float64)


# ---- earlier rows and words -------------------------------------------------------------------


def _lags(table: Table, text: str) -> list[tuple[str, Reading]]:
    match = _LAG.fullmatch(text.strip())
    first, last = (int(match[2]), int(match[3] or match[2])) if match else (0, 0)
    if match is None or not 1 <= first <= last <= MOST_LAG:
        raise DataError(
            f"{table.source}: --lag {text!r}: wanted a column and rows from 1 to {MOST_LAG}, such as x:1 or x:1..3"
        )
    name = table.names[find_column(table, match[1].strip(), _numeric(table))]
    if last >= len(table.values):
        raise DataError(f"{table.source}: --lag {text!r}: the table has only {len(table.values)} rows")
    return [(f"{name}_lag{k}", Reading(kind="lag", column=name, rows=k)) for k in range(first, last + 1)]


def _levels(table: Table, name: str) -> Sequence[tuple[str, Reading]]:
    words = [str(cell).strip() for cell in table.raw[name] if not missing(cell)]
    levels = tuple(sorted(set(words)))
    if not 2 <= len(levels) <= MOST_LEVELS or 2 * len(levels) > len(words):
        return []
    chosen = levels[1:] if len(levels) == 2 else levels  # of two the second says all
    return [
        (name + "_" + re.sub(r"\W+", "_", level), Reading(kind="level", column=name, level=level, levels=levels))
        for level in chosen
    ]
