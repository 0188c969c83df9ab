"""A table of numbers, from a file or from arrays, as problems: one for each target.

    problem, warnings, dropped = load_problem("data.csv", target="period")

Read are CSV, TSV, semicolon- and blank-separated text, JSON records, spreadsheets, parquet and feather, plain or packed with gzip
or zstd (told by content, not by name), and data frames or arrays.  Every cell becomes float64; columns that are written otherwise
than as plain numbers (dates, percent, thousands, currencies, units) become numbers too, and how is remembered in
``problem.extra["conversions"]``, so that new rows are read alike.  What cannot be used is never passed over in silence: rows with
missing, infinite or unreadable cells are dropped and counted by reason, columns of text are left out with a warning, and a table
that cannot be read is a DataError naming the line and what mends it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fansr.errors import DataError
from fansr.tables import arrays, csv_reader, dates, frames, grouping, intervals, made_columns
from fansr.tables.cells import Column, Reading, missing
from fansr.tables.columns import (
    MADE,
    MOST_WARNINGS,
    Choice,
    Table,
    check_weights,
    constant_warnings,
    find_column,
    find_target,
    given_away,
    good_rows,
    is_pattern,
    listed,
    matching,
    tally,
    unique_names,
    weights_of_errors,
)
from fansr.tables.text_files import decode, read_bytes

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fansr.fitting import Problem

MIN_ROWS = 2  # with one row any constant is a perfect law
FEW_WORDS = 12  # of a column of text that may be groups
ORDERS = {"day-first": "dmy", "month-first": "mdy"}  # of dates such as 01/02/2024


# ---- files ------------------------------------------------------------------------------------


def read_table(path: str, date_order: str = "", readings: dict[str, Any] | None = None) -> Table:
    """All columns of a table file; raises DataError for anything that is no table.

    date_order: "day-first" or "month-first" for dates such as 01/02/2024.  readings: ``problem.extra["conversions"]`` of a law:
    its columns are read as that law's were, and its made columns are made.
    """
    source = "standard input" if str(path) == "-" else str(path)
    return parse_table(read_bytes(path), source, date_order, readings)


def parse_table(data: bytes, source: str, date_order: str = "", readings: dict[str, Any] | None = None) -> Table:
    """A table from the bytes of a file that is already unpacked; options as read_table's."""
    known = {name: Reading.from_dict(one) for name, one in (readings or {}).items()}
    order = ORDERS.get(date_order, "")
    found = frames.binary_table(data, source)
    if found is not None and not isinstance(found[0], str):
        columns, names = arrays.frame_columns(found[0])
        return collect(source, names, columns, found[1], readings=known, date_order=order)
    text, warnings = decode(data, source) if found is None else found
    written = frames.json_columns(text, source) if found is None else None
    if written is not None:
        return collect(source, *written, warnings, readings=known, date_order=order)
    read = csv_reader.read_text(text, source, "," if found is not None else "")
    columns = csv_reader.read_columns(read, source, order, _of_file(known))
    warnings = [*warnings, *read.warnings]
    return collect(source, read.names, columns, warnings, read.where, known, order, _raw(read, columns, source))


def _of_file(readings: dict[str, Reading]) -> dict[str, Reading]:
    return {name: reading for name, reading in readings.items() if reading.kind not in MADE}


def _raw(text: csv_reader.Text, columns: Sequence[Column], source: str) -> list[Sequence[Any] | None]:
    """Cells of the columns that hold some that cannot be read, and of words; None for the others."""
    wanted = [bool(column.bad) or _of_words(column) for column in columns]
    if not any(wanted):
        return [None] * len(columns)
    return [cells if one else None for one, cells in zip(wanted, csv_reader.texts(text, source))]


def _of_words(column: Column) -> bool:
    return column.reading is not None and column.reading.kind == "words"


# ---- columns to a table -----------------------------------------------------------------------


def collect(
    source: str,
    names: Sequence[str],
    columns: Sequence[Any],
    warnings: list[str],
    where: Callable[[int], str] = lambda m: f"row {m + 1}",
    readings: dict[str, Reading] | None = None,
    date_order: str = "",
    raw: Sequence[Sequence[Any] | None] | None = None,
) -> Table:
    """Columns of any dtype, or read already, as one Table; cells that are no numbers become NaN and are counted."""
    names, renamed = unique_names(names)
    warnings = warnings + renamed
    K, readings = len(names), readings or {}
    of_file = _of_file(readings)
    raw = list(raw) if raw is not None else [None] * K
    if not all(isinstance(column, Column) for column in columns):
        columns, raw = arrays.interpreted(names, columns, where, of_file, date_order)
    M = len(columns[0].values) if K else 0
    values = np.empty((M, K))  # (M, K)
    unreadable: list[list[int]] = []
    text = np.zeros(K, bool)
    found: dict[str, Reading] = {}
    causes: dict[str, str] = {}
    for j, (name, column) in enumerate(zip(names, columns)):
        reading = column.reading
        compact = dates.of_compact(name, column.values) if reading is None and name not in readings else None
        column = column if compact is None else column._replace(values=compact[0], reading=compact[1])
        values[:, j] = column.values
        unreadable.append(column.bad)
        text[j] = arrays.is_text(column)
        if column.reading is not None:
            found[name] = column.reading
        if column.cause:
            causes[name] = column.cause
        warnings += [f"column {name}: {said}" for said in column.said]
        if len(column.bad) and not text[j]:
            m = column.bad[0]
            words = raw[j]
            shown = repr(str(words[m])[:30]) if words is not None else ""
            what = "no number" if reading is None or reading.kind not in ("date", "clock") else "no date"
            if len(column.bad) == 1:
                said = f"the cell {shown} in {where(m)} is {what}".replace("  ", " ")
            else:
                said = f"{len(column.bad)} cells are {what}s, the first{' is ' if shown else ''}{shown} in {where(m)}"
            warnings.append(f"column {name}: {said}")
    held = {
        name: words
        for name, words, is_text in zip(names, raw, text)
        if words is not None and (is_text or (name in found and found[name].kind == "words"))
    }
    table = Table(source, names, values, unreadable, text, warnings, found, causes, held)
    return made_columns.remade(table, readings) if readings else table


# ---- columns to a problem ---------------------------------------------------------------------


def load_problem(
    path: str,
    target: str | None = None,
    inputs: Sequence[str] | None = None,
    weights: str | None = None,
    sigma: str | None = None,
) -> tuple[Problem, list[str], Counter]:
    """One problem from a table file: (Problem, warnings, dropped rows by reason).  See table_problem."""
    return table_problem(read_table(path), target, inputs, weights, sigma)


def table_problems(table: Table, choice: Choice) -> list[tuple[Problem, list[str], Counter]]:
    """A problem for each target of a choice, with made columns; a target is no input of another.  See table_problem."""
    table, choice, groups = grouping.grouped(made_columns.with_made(intervals.with_cells(table), choice), choice)
    hidden: list[str] = []
    wanted = []
    for target in choice.targets:
        table, target, ends = intervals.paired(table, target)
        wanted.append(target)
        hidden += ends
    usable = ~table.text & np.isfinite(table.values).any(axis=0)
    places = [
        j
        for target in wanted
        for j in ([table.names.index(target)] if target in table.ends else matching(table, [target], usable))
    ]
    places = list(dict.fromkeys(places))
    targets: list[str | None] = [table.names[j] for j in places] or [None]
    some = [
        table_problem(
            table,
            target,
            choice.inputs,
            choice.weights,
            choice.sigma,
            choice.ignore,
            others=[*hidden, *(table.names[j] for j in places if table.names[j] != target)],
        )
        for target in targets
    ]
    for k, (problem, _, _) in enumerate(some):
        problem.id = k
        if groups:
            problem.extra["grouping"] = groups
    return some


def table_problem(
    table: Table,
    target: str | None = None,
    inputs: Sequence[str] | None = None,
    weights: str | None = None,
    sigma: str | None = None,
    ignore: Sequence[str] = (),
    others: Sequence[str] = (),
) -> tuple[Problem, list[str], Counter]:
    """One problem from a table.

    `target` names the column to explain; by default it is the last column of numbers.  `inputs` names the columns it
    may depend on (default: all other columns of numbers), `ignore` those it may not; both take patterns such as x*.  `weights`
    names a column of non-negative weights or `sigma` one of positive standard errors of the target: such a column is no input,
    and no target by default; nor are `others`.  Returns the Problem with X (M, D) and y (M,) float64 and finite throughout,
    warnings, and a Counter of dropped rows by reason ("missing", "not a number", "infinite").
    """
    from fansr.fitting import Problem

    warnings = list(table.warnings)
    usable = ~table.text & np.isfinite(table.values).any(axis=0)
    if weights is not None and sigma is not None:
        raise DataError(
            f"{table.source}: weights {weights} and standard errors {sigma}, wanted one of them (weights are 1/sigma^2)"
        )
    anything = np.ones(len(table.names), bool)
    ignored = set(matching(table, ignore, anything))
    named = weights if sigma is None else sigma
    w = None if named is None else find_column(table, named, usable)
    free = usable.copy()
    free[[] if w is None else w] = False
    free[list(ignored)] = False
    t = find_target(table, target, usable if target is not None else free)
    if t == w:
        raise DataError(
            f"{table.source}: column {table.names[t]} is the target and cannot be its own "
            f"{'weights' if sigma is None else 'standard errors'}; name another with --target"
        )
    if t in ignored:
        raise DataError(
            f"{table.source}: column {table.names[t]} is the target and to be ignored; name another with --target"
        )
    if inputs is None:
        columns, said = _all_inputs(table, t, w, usable, ignored, set(others))
        warnings += said
    else:
        columns = matching(table, inputs, usable)
        if t in columns and any(is_pattern(name) for name in inputs):
            columns.remove(t)
        if t in columns:
            raise DataError(
                f"{table.source}: column {table.names[t]} is the target and among the inputs; leave it out of one of them"
            )
        columns = [j for j in columns if j not in ignored]
    if not columns:
        causes = "".join(f"; column {name}: {cause}" for name, cause in list(table.causes.items())[:2])
        raise DataError(
            f"{table.source}: no column of numbers is left to explain {table.names[t]} by; "
            f"the columns are {listed(table.names)}{causes}"
        )
    used = columns + [t] + ([w] if w is not None else [])
    keep, dropped = good_rows(table, used)
    M = int(keep.sum())
    if M < MIN_ROWS:
        lost = f" ({sum(dropped.values())} rows were dropped: {tally(dropped)})" if dropped else ""
        raise DataError(f"{table.source}: {M} usable row{'s' * (M != 1)}{lost}, wanted at least {MIN_ROWS}")
    if dropped:
        warnings.append(f"{sum(dropped.values())} of {len(keep)} rows were dropped: {tally(dropped)}")
    X, y = np.ascontiguousarray(table.values[keep][:, columns]), table.values[keep, t].copy()  # (M, D), (M,)
    names = [table.names[j] for j in columns]
    warnings += constant_warnings(X, y, names, table.names[t])
    problem = Problem(X=X, y=y, names=names, target=table.names[t], id=0)
    if dropped:
        problem.extra["rows"] = np.flatnonzero(keep)
    if problem.target in table.ends:
        problem.ends = table.ends[problem.target][keep]
    if table.readings:
        problem.extra["conversions"] = readings_of(table, [*names, problem.target])
    if w is not None:
        column = table.values[keep, w].copy()
        check = check_weights if sigma is None else weights_of_errors
        problem.weights, problem.known = check(column, table.source, table.names[w]), sigma is not None
    return problem, warnings, dropped


def _all_inputs(
    table: Table, t: int, w: int | None, usable, ignored: set[int], others: set[str]
) -> tuple[list[int], list[str]]:
    """Places of all columns that may be inputs, and what is said of the others."""
    out = {t, w, *ignored, *(j for j, name in enumerate(table.names) if name in others)}
    warnings = []
    told = [name for name in given_away(table, table.names[t]) if table.names.index(name) not in out]
    if told:
        warnings.append(
            f"{listed(told)} {'tells' if len(told) == 1 else 'tell'} {table.names[t]} by arithmetic and {'was' if len(told) == 1 else 'were'} left out; --inputs takes it in"
        )
    out |= {table.names.index(name) for name in told}
    columns = [j for j in range(len(table.names)) if j not in out and usable[j]]
    if _counts_rows(table) and columns[:1] == [0] and len(columns) > 1:
        columns = columns[1:]
        warnings.append(
            f"the first column has no name and counts the rows, and was left out; --inputs {table.names[0]},... takes it in"
        )
    levels = {reading.column for reading in table.readings.values() if reading.kind == "level"}
    left = [name for j, name in enumerate(table.names) if j not in out and name not in levels]
    places = {name: j for j, name in enumerate(table.names)}
    warnings += [f"column {name} was left out: {table.causes[name]}" for name in left if name in table.causes][
        :MOST_WARNINGS
    ]
    text = [name for name in left if table.text[places[name]] and name not in table.causes]
    empty = [name for name in left if not table.text[places[name]] and not usable[places[name]]]
    for left_out, what in ((text, "text"), (empty, "empty")):
        warnings += [
            f"column {name} is {what} and was left out{_taken_in(table, name)}" for name in left_out[:MOST_WARNINGS]
        ]
        if len(left_out) > MOST_WARNINGS:
            warnings.append(f"and {len(left_out) - MOST_WARNINGS} more columns are {what} and were left out")
    return columns, warnings


def _taken_in(table: Table, name: str) -> str:
    """What takes a column of few words in; "" for any other."""
    words = {str(word).strip() for word in table.raw.get(name, ()) if not missing(word)}
    if not 1 < len(words) <= min(FEW_WORDS, len(table.values) // 3):
        return ""
    return f"; --categories onehot counts its {len(words)} words in, --group {name} gives each its own constants"


def _counts_rows(table: Table) -> bool:
    """Whether the first column has no name and holds 0, 1, 2, ... or 1, 2, 3, ..., as pandas writes its index."""
    first = table.values[:, 0]
    return (
        table.names[0] == "column1"
        and len(first) > 1
        and first[0] in (0.0, 1.0)
        and bool((np.diff(first) == 1.0).all())
    )


def readings_of(table: Table, names: Sequence[str]) -> dict[str, dict]:
    """How those columns became numbers, and those that they were made of, in the order made; as JSON holds it."""
    wanted, order = set(names), list(table.readings)
    for name in reversed(order):
        reading = table.readings[name]
        if name in wanted and reading.kind in MADE:
            wanted |= {*reading.sources, reading.column} - {""}
    return {name: table.readings[name].to_dict() for name in order if name in wanted}


def array_problem(
    X: Any,
    y: Any,
    names: Sequence[str] | None = None,
    target: str = "y",
    weights: ArrayLike | None = None,
    sigma: ArrayLike | None = None,
    choice: Choice | None = None,
) -> tuple[Problem, list[str], Counter]:
    """One problem from arrays or data frames: X (M, D) or (M,), y (M,); errors and results as table_problem's.

    The names come from a frame's columns, else they are x1, x2, ...  Constant columns stay, so that column numbers keep
    their meaning; a column of text is left out with a warning, as in a file.  Of a choice its inputs, ignore, derive, lag and
    categories count.
    """
    columns, found = arrays.frame_columns(X)
    names = list(names) if names is not None else found
    if len(names) != len(columns):
        raise DataError(f"X has {len(columns)} columns but {len(names)} names were given")
    ends = intervals.of_pandas(y)
    y_values = arrays.real(y, "y") if ends is None else intervals.middles(ends)
    if y_values.ndim == 2 and y_values.shape[1] == 1:
        y_values = y_values[:, 0]
    if y_values.ndim != 1:
        raise DataError(f"y has shape {y_values.shape}, wanted one value for each row of X")
    target = str(getattr(y, "name", None) or target)
    if target in names:
        target = f"{target}_target"
    if columns and len(y_values) != len(columns[0]):
        raise DataError(f"X has {len(columns[0])} rows but y has {len(y_values)}")
    columns = [*columns, y_values]
    names = [*names, target]
    if weights is not None and sigma is not None:
        raise DataError("weights and sigma were given, wanted one of them (weights are 1/sigma^2)")
    extra = {"(weights)": weights, "(sigma)": sigma}
    for name, given in extra.items():
        if given is not None:
            given = arrays.real(given, name[1:-1])
            if given.shape != y_values.shape:
                raise DataError(f"{name[1:-1]} have shape {given.shape}, wanted {y_values.shape}")
            columns, names = [*columns, given], [*names, name]
    choice = choice or Choice()
    y_ends = {} if ends is None else {target: ends}
    table = collect("the arrays", names, columns, [], date_order=ORDERS.get(choice.dates, ""))
    made = made_columns.with_made(table._replace(ends=y_ends), choice)
    table, choice, groups = grouping.grouped(made, choice)
    w, s = (name if given is not None else None for name, given in extra.items())
    answer = table_problem(table, target, choice.inputs, w, s, choice.ignore)
    if groups:
        answer[0].extra["grouping"] = groups
    return answer


# ---- new rows ---------------------------------------------------------------------------------


def input_columns(table: Table, names: Sequence[str], needed: Sequence[str] | None = None) -> np.ndarray:
    """X (M, D) float64 for new rows: the columns `names` of a table, by name.  Nothing is dropped: NaN stays NaN.

    needed: which of the names must be there (default: all); the others are NaN where the table lacks them.
    """
    everything = np.ones(len(table.names), bool)
    X = np.full((len(table.values), len(names)), np.nan)
    for d, name in enumerate(names):
        if needed is None or name in needed or name in table.names:
            X[:, d] = table.values[:, find_column(table, name, everything)]
    return X


def frame_table(X: Any, names: Sequence[str] | None = None, readings: dict[str, Any] | None = None) -> Table:
    """New rows from arrays or a data frame, read as `readings` of a law say (its ``problem.extra["conversions"]``)."""
    columns, found = arrays.frame_columns(X)
    known = {name: Reading.from_dict(one) for name, one in (readings or {}).items()}
    return collect("X", list(names) if names is not None else found, columns, [], readings=known)


def remarks(problem: Problem) -> list[dict[str, str]]:
    """What is said in a report of how columns became numbers: {"code", "text"} each."""
    used = {*problem.names, problem.target}
    return [
        {"code": "reading", "text": f"{name}: {one['text']}"}
        for name, one in problem.extra.get("conversions", {}).items()
        if one.get("text") and name in used
    ]
