"""Columns of a table by name: the table itself, which columns are chosen, and which of its rows can be used."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from fansr.errors import DataError
from fansr.tables.cells import Reading

MOST_WARNINGS = 12  # of one kind
MADE = ("derived", "rate", "lag", "level")  # kinds of readings of columns that stand in no file


class Table(NamedTuple):
    """Columns of a table: `values` (M, K) float64 with NaN where a cell is no number.

    `unreadable` lists, for each column, the rows whose cell is neither a number nor missing; `text` (K,) marks the
    columns that are text as a whole; `warnings` are sentences for the user.  `readings` says, by name, how columns that are
    no plain numbers became some; `causes` why a column is text though its cells look like numbers; `raw` the cells of text and of words; `ends` the ends (M, 2) of columns of
    intervals, whose values are their middles.
    """

    source: str
    names: list[str]
    values: np.ndarray
    unreadable: list[list[int]]
    text: np.ndarray
    warnings: list[str]
    readings: dict[str, Reading] = {}
    causes: dict[str, str] = {}
    raw: dict[str, Sequence[Any]] = {}
    ends: dict[str, np.ndarray] = {}


@dataclass(frozen=True)
class Choice:
    """What a user says of the columns: targets (names or patterns such as y*), inputs (None: all others), what to ignore,
    weights or standard errors, formulas of new columns ("v = dx/dt"), lags ("x:1..3"), whether text columns of few values
    become 0/1 columns (categories "onehot") or groups ("group"), and the column that says to which group a row belongs, and
    units as unit_texts.parse has them."""

    targets: tuple[str, ...] = ()
    inputs: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    weights: str | None = None
    sigma: str | None = None
    derive: tuple[str, ...] = ()
    lag: tuple[str, ...] = ()
    categories: str = ""
    dates: str = field(default="")
    units: str = ""
    group: str = ""

    @property
    def several(self) -> bool:
        """Whether a list of laws was asked for, be it of one."""
        return len(self.targets) > 1 or any(is_pattern(name) and "," not in name for name in self.targets)


def is_pattern(name: str) -> bool:
    return any(letter in name for letter in "*?[")


def find_column(table: Table, name: str, usable: np.ndarray) -> int:
    """Place of the column `name`, letter case ignored where that is unambiguous; DataError names the nearest ones."""
    matches = [j for j, known in enumerate(table.names) if known == name]
    matches = matches or [j for j, known in enumerate(table.names) if known.lower() == str(name).strip().lower()]
    if len(matches) != 1:
        raise DataError(f"{table.source}: no column is named {name!r}{nearest(name, table.names)}")
    if not usable[matches[0]]:
        what = "text" if table.text[matches[0]] else "empty"
        cause = table.causes.get(table.names[matches[0]])
        if cause:
            raise DataError(f"{table.source}: column {table.names[matches[0]]} cannot be read: {cause}")
        raise DataError(
            f"{table.source}: column {name} is {what}, wanted numbers; "
            f"the columns of numbers are {listed([n for n, u in zip(table.names, usable) if u])}"
        )
    return matches[0]


def nearest(name: str, names: Sequence[str]) -> str:
    """The end of a message about an unknown name: those that may be meant, and all there are."""
    import difflib

    lower = {known.lower(): known for known in reversed(names)}
    near = [lower[key] for key in difflib.get_close_matches(str(name).strip().lower(), list(lower)[:2000], 3, 0.6)]
    meant = f"; did you mean {' or '.join(near)}? The" if near else "; the"
    return f"{meant} columns are {listed(names)}"


def matching(table: Table, names: Sequence[str], usable: np.ndarray, skip_text: bool = False) -> list[int]:
    """Places of named columns, in the order of the names; * ? [ ] stand for others where no column has just that name.

    A pattern takes the columns of numbers that it matches (all, with skip_text False) and must match one.
    """
    found: dict[int, None] = {}
    for name in names:
        if name in table.names or not is_pattern(name):
            found[find_column(table, name, usable)] = None
            continue
        some = [j for j, known in enumerate(table.names) if fnmatch.fnmatchcase(known, name)]
        some = some or [j for j, known in enumerate(table.names) if fnmatch.fnmatchcase(known.lower(), name.lower())]
        if not some:
            raise DataError(f"{table.source}: no column matches {name!r}{nearest(name.strip('*?'), table.names)}")
        good = [j for j in some if usable[j]]
        if not good and not skip_text:
            find_column(table, table.names[some[0]], usable)
        found.update(dict.fromkeys(good))
    return list(found)


def find_target(table: Table, target: str | None, usable: np.ndarray) -> int:
    """Place of the target: the named column, or the last one that holds numbers and is neither a date nor made.

    A last column whose cells look like numbers but cannot be read is a DataError: another would be taken in its place.
    """
    if target is not None:
        return find_column(table, target, usable)
    kinds = [table.readings[name].kind if name in table.readings else "" for name in table.names]
    own = [j for j, kind in enumerate(kinds) if kind not in MADE]
    if own and table.names[own[-1]] in table.causes:
        name = table.names[own[-1]]
        raise DataError(
            f"{table.source}: column {name}, the last and so the target, cannot be read: {table.causes[name]}; "
            "or name another with --target"
        )
    if not usable.any():
        raise DataError(f"{table.source}: no column of numbers; the columns are {listed(table.names)}")
    places = [j for j in own if usable[j]] or [int(j) for j in np.flatnonzero(usable)]
    return ([j for j in places if kinds[j] not in ("date", "clock")] or places)[-1]


def sources_of(table: Table, name: str) -> set[str]:
    """Columns that a made column is computed from on the same row, directly or through others; rates and lags have none."""
    reading = table.readings.get(name)
    if reading is None or reading.kind != "derived":
        return set()
    return {source for one in reading.sources for source in (one, *sources_of(table, one))}


def given_away(table: Table, target: str) -> list[str]:
    """Columns that tell the target by arithmetic: those computed from it, and what a computed target was made of.

    Of a target computed from several columns that is the one that would have been the target without; the others are what
    the law may well depend on.
    """
    told = [name for name in table.names if target in sources_of(table, name)]
    sources = sources_of(table, target)
    own = [name for name in table.names if name not in table.readings or table.readings[name].kind not in MADE]
    hidden = sources if len(sources) == 1 else sources & {own[-1]} if own else set()
    told += [name for name in table.names if name in hidden or hidden & sources_of(table, name)]
    return [name for name in dict.fromkeys(told) if name != target]


def good_rows(table: Table, columns: list[int]) -> tuple[np.ndarray, Counter]:
    """Which rows are finite in all `columns` (M,), and why the others are not."""
    values = table.values[:, columns]
    infinite, nan = np.isinf(values).any(axis=1), np.isnan(values).any(axis=1)
    word = np.zeros(len(values), bool)
    for j in columns:
        if table.unreadable[j]:
            word[table.unreadable[j]] = True
    # One reason a row, the first that applies.
    counts = {"not a number": word, "missing": nan & ~word, "infinite": infinite & ~nan & ~word}
    return ~(infinite | nan), +Counter({reason: int(rows.sum()) for reason, rows in counts.items()})


def check_weights(weights: np.ndarray, source: str, name: str) -> np.ndarray:
    if (weights < 0).any() or not (weights > 0).any():
        m = int(np.argmax(weights < 0)) if (weights < 0).any() else 0
        raise DataError(
            f"{source}: column {name}: weight {weights[m]:g} in row {m + 1}, wanted weights >= 0, not all zero"
        )
    return weights


def weights_of_errors(sigma: np.ndarray, source: str, name: str) -> np.ndarray:
    """1/sigma^2 (M,) of standard errors; DataError for one that is not above 0."""
    if not (sigma > 0).all():
        m = int(np.argmax(~(sigma > 0)))
        raise DataError(
            f"{source}: column {name}: standard error {sigma[m]:g} in row {m + 1}, wanted errors above 0; "
            "leave the row out, or give --weights"
        )
    with np.errstate(all="ignore"):
        weights = 1.0 / sigma**2
    if not np.isfinite(weights).all() or not (weights > 0).all():
        raise DataError(
            f"{source}: column {name}: standard errors from {sigma.min():g} to {sigma.max():g}, wanted between 1e-150 and "
            "1e150; give the target and its errors in other units"
        )
    return weights


def constant_warnings(X: np.ndarray, y: np.ndarray, names: list[str], target: str) -> list[str]:
    warnings = []
    if (y == y[0]).all():
        warnings.append(f"the target {target} is {y[0]:g} in every row")
    still, alike = (X[0] == X).all(axis=0), (X == y[:, None]).all(axis=0)
    fixed = [name for name, is_fixed in zip(names, still) if is_fixed]
    if fixed:
        warnings.append(f"constant in every row, so nothing can be learnt from: {listed(fixed)}")
    same = [name for name, is_fixed, is_same in zip(names, still, alike) if is_same and not is_fixed]
    if same:
        warnings.append(f"equal to the target in every row: {listed(same)}")
    return warnings


def unique_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names made unique and non-empty, and a warning for each change."""
    found: dict[str, None] = {}
    last: dict[str, int] = {}  # the number that the name's last double was given
    warnings = []
    for j, name in enumerate(names):
        name = str(name).strip()
        if not name:
            name = f"column{j + 1}"
        unique, k = name, last.get(name, 1) + 1
        while unique in found:
            unique, last[name], k = f"{name}_{k}", k, k + 1
        if unique != name:
            warnings.append(f"two columns are named {name}: column {j + 1} is called {unique} here")
        found[unique] = None
    if len(warnings) > MOST_WARNINGS:
        warnings = [*warnings[:MOST_WARNINGS], f"and {len(warnings) - MOST_WARNINGS} more columns were renamed"]
    return list(found), warnings


def listed(names: Sequence[str], limit: int = 12) -> str:
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def tally(dropped: Counter) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in sorted(dropped.items()))
