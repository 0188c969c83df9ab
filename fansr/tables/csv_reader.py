"""Text of a table to named columns: separator, comments, names, a row of units, and how each column is written.

CSV, TSV, semicolon-, bar- and blank-separated text.  Tables of up to a million cells are read with the csv module; pandas, which
takes a quarter of a second to load, is for larger ones.  How cells become numbers, cells.py knows.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fansr.errors import DataError
from fansr.tables import cells
from fansr.tables.cells import MISSING, MISSING_WORDS, Column, Reading, Style

if TYPE_CHECKING:
    import pandas

SEPARATORS = (",", ";", "\t", "|")  # blanks are the fallback
PLAIN_CELLS = 1_000_000  # of a table that is read without pandas
LOOKED_AT = 1000  # rows by which the style of a larger table is judged
VOTERS = 300  # columns, and cells of each, that are asked for their decimal sign
_SEPARATOR_LINE = re.compile(r'"?sep=(.)\1*"?[,;\t]*', re.IGNORECASE)
# Symbols of units that a row of units is told by; a prefix may stand before those of the first line.
_UNITS = (
    r"[yzafpnuµμmcdhkMGTP]?(?:m|g|s|A|K|mol|cd|Hz|N|Pa|J|W|C|V|F|Ω|Ω|ohm|Ohm|S|T|H|lm|lx|Bq|l|L|eV|bar|B|b|t|Wh|M|u|Da)|"
    r"min|h|hr|hrs|hour|hours|d|day|days|sec|secs|second|seconds|wk|week|weeks|month|months|yr|year|years|a|rad|deg|°|°C|°F|degC|degF|%|"
    r"‰|ppm|ppb|atm|mmHg|torr|Torr|psi|ft|in|lb|lbs|oz|mi|mph|kn|kt|cal|kcal|Å|AU|au|pc|ly|count|counts|dB|pH|px|rpm|USD|EUR|\$|€|£"
)


class Text(NamedTuple):
    """A table as text: names, units (one a column, "" for none), lines of the rows and their numbers from 0, the separator."""

    names: list[str]
    units: list[str]
    lines: list[str]
    numbers: list[int]
    separator: str | None
    warnings: list[str]

    def where(self, m: int) -> str:
        return f"line {self.numbers[m] + 1}"


def read_text(text: str, source: str, separator: str = "") -> Text:
    """Rows of a table and what stands above them, cut at `separator` ("" finds it); DataError for what is no table."""
    warnings: list[str] = []
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    # Line numbers, from 0, of what is no comment and not blank: errors name them.
    comments = [i for i, line in enumerate(lines) if line.lstrip().startswith("#")]
    skip = set(comments)
    rows = [i for i, line in enumerate(lines) if i not in skip and line.strip()]
    stated = _SEPARATOR_LINE.fullmatch(lines[rows[0]].strip(" ")) if rows else None
    if stated:  # what Excel writes and reads
        rows = rows[1:]
    if not rows:
        raise DataError(f"{source}: nothing but comments, wanted a row of column names and rows of numbers")
    by = separator or (stated[1] if stated else sniff([lines[i] for i in rows[:100]]))
    by = None if by in (" ", '"', "'") else by
    names = [name.strip() for name in split(lines[rows[0]], by)]
    units = [""] * len(names)
    if _is_data(names):
        # Plain matrices come without names, or with names behind a comment mark (numpy.savetxt).
        heading = [i for i in comments if i < rows[0]]
        written = split(lines[heading[-1]].lstrip(" #"), by) if heading else []
        if len(written) == len(names):
            names = [name.strip() for name in written]
        else:
            held = "numbers" if all(is_number(name) for name in names) else "values"
            names = [f"x{j + 1}" for j in range(len(names) - 1)] + ["y"]
            warnings.append(
                f"line {rows[0] + 1} holds {held}, so the columns were named {', '.join(names[:6])}"
                + (", ..." if len(names) > 6 else "")
            )
    else:
        rows = rows[1:]
        units = units_of(lines[rows[0]], [lines[i] for i in rows[1:6]], by, len(names)) if rows else units
        rows = rows[1:] if any(units) else rows
    if not rows:
        raise DataError(f"{source}: column names but no rows of numbers below them")
    among = [i for i in comments if rows[0] < i < rows[-1]]
    if among:
        warnings.append(
            f"{len(among)} line{'s' * (len(among) > 1)} beginning with # among the rows {'were' if len(among) > 1 else 'was'} "
            f"left out as comments, the first is line {among[0] + 1}"
        )
    check_widths(lines, rows, by, len(names), source)
    return Text(names, units, [lines[i] for i in rows], rows, by, warnings)


def _is_data(row: list[str]) -> bool:
    """Whether the first row holds values and no names: numbers throughout, or with dates, money and the like beside some."""
    from fansr.tables import dates

    if all(is_number(cell) for cell in row):
        return True
    if not any(is_number(cell) for cell in row):
        return False

    def value(cell: str) -> bool:
        found = cells.scan(cell)
        return (
            is_number(cell)
            or (found is not None and found.kind in ("", "percent", "money"))
            or dates.moment(cell) is not None
        )

    return all(value(cell) for cell in row)


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def split(line: str, separator: str | None) -> list[str]:
    """Cells of one line; `separator` None means blanks."""
    if separator is None:
        return line.split()
    try:
        return next(csv.reader([line], delimiter=separator, skipinitialspace=True), [""])
    except csv.Error:  # a cell of more than 128 KiB is none of a table of numbers
        return [line]


def sniff(lines: list[str]) -> str | None:
    """Separator of a table from its first lines: the one that cuts most lines as it cuts the first one."""
    best, best_share = None, 0.0
    for separator in SEPARATORS:
        width = len(split(lines[0], separator))
        if width < 2:
            continue
        share = sum(len(split(line, separator)) == width for line in lines[1:]) / max(1, len(lines) - 1)
        if share > best_share or best is None:
            best, best_share = separator, share
    if best is None and len(lines) > 1 and len(lines[0].split()) != len(lines[1].split()):
        return ","  # one column whose name has blanks in it
    return best


def units_of(line: str, below: list[str], separator: str | None, width: int) -> list[str]:
    """Units (width,) that a row right below the names states, "" for none; all "" where the row holds data.

    It is one of units if each of its cells above numbers is a unit, a dash or empty, at least one is, and half of
    those without brackets are known symbols.
    """
    from fansr.tables import dates

    row = [cell.strip() for cell in split(line, separator)]
    rows = [split(other, separator) for other in below]
    none = [""] * width
    if len(row) != width or not rows or any(len(other) != width for other in rows):
        return none
    units, known, bare = list(none), 0, 0
    for j, cell in enumerate(row):
        inner = re.fullmatch(r"[\[(](.*)[\])]", cell)
        unit = (inner[1] if inner else cell).strip()
        if unit in MISSING or unit in ("1", "--", "\u2014"):
            continue
        if is_number(unit) or cells.scan(unit) is not None or dates.moment(unit) is not None:
            return none
        if not any(cells.scan(other[j].strip()) is not None for other in rows):
            continue
        if len(unit) > 24 or not (cells.pattern("unit").fullmatch(unit) or _known(unit)):
            return none
        units[j] = unit
        bare += not inner
        known += not inner and _known(unit)
    return units if any(units) and 2 * known >= bare else none


def _known(unit: str) -> bool:
    parts = re.split(r"[ */·.×⋅]+", unit)
    return all(
        re.fullmatch(_UNITS, re.sub(r"\^?[-−]?[1-9]$|⁻?[¹²³⁴]$", "", part)) for part in parts if part and part != "1"
    )


def check_widths(lines: list[str], rows: list[int], separator: str | None, width: int, source: str) -> None:
    """DataError naming the first line that has not `width` cells."""
    for i in rows:
        if lines[i].count('"') % 2:  # the reader would swallow the lines below
            raise DataError(f"{source}: line {i + 1}: a quote without its partner; mend the line")
    if separator is None:
        counts = (len(lines[i].split()) for i in rows)
    elif not any('"' in lines[i] for i in rows):
        counts = (lines[i].count(separator) + 1 for i in rows)  # ten times faster than the csv module
    else:
        counts = (len(split(lines[i], separator)) for i in rows)
    for i, count in zip(rows, counts):
        if count != width:
            named = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}.get(separator or " ", "blank")
            raise DataError(
                f"{source}: line {i + 1}: {count} cells, wanted {width} as in the first row; "
                f"mend the line, or put quotes around cells that hold a {named}"
            )


# ---- rows to columns --------------------------------------------------------------------------


def read_columns(text: Text, source: str, dates: str = "", known: dict[str, Reading] | None = None) -> list[Column]:
    """Every column of a table read.

    dates: "dmy" or "mdy" for dates such as 01/02/2024; known: how columns are read, by name, where a law says so.
    """
    large = len(text.lines) * len(text.names) > PLAIN_CELLS
    decimal, columns = _large(text, source) if large else (None, texts(text, source))
    style = Style(decimal or "", text.separator == ",", dates)
    return interpret(columns, text.names, text.units, style, text.where, known or {}, decided=decimal is not None)


def texts(text: Text, source: str) -> list[Sequence[str]]:
    """The cells of each column as they stand there."""
    return cut(text.lines, text.separator, source)


def cut(lines: list[str], separator: str | None, source: str) -> list[Sequence[str]]:
    if separator is None:
        rows = [line.split() for line in lines]
    elif any('"' in line for line in lines):
        rows = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
        if len(rows) != len(lines):
            raise DataError(f"{source}: {len(lines)} lines were read as {len(rows)} rows; look for stray quotes")
    else:
        rows = [line.split(separator) for line in lines]
    return list(zip(*rows))


def _large(text: Text, source: str) -> tuple[str | None, list[Any]]:
    """Columns of a large table by pandas: of numbers where the first rows are plain ones, else of text; and the decimal sign
    they agree on, None where all those rows are plain."""
    sample = cut(text.lines[:LOOKED_AT], text.separator, source)
    decimal = _decimal(sample)
    comma = decimal == ","
    odd = [
        j
        for j, column in enumerate(sample)
        if cells.plain(column) is None or cells.doubtful(column) or (comma and any("." in cell for cell in column))
    ]
    frame = read_frame(text.lines, text.separator, len(text.names), source, dict.fromkeys(odd, str))
    return decimal if odd else None, [frame.iloc[:, j].to_numpy() for j in range(len(text.names))]


def _decimal(columns: Sequence[Sequence[Any]]) -> str:
    """The decimal sign most columns are sure of, "" for none."""
    found: Counter = Counter()
    for column in columns[:VOTERS]:
        own = cells.votes([cell for cell in column[:VOTERS] if isinstance(cell, str)])
        if own["."] != own[","]:
            found[max(".,", key=own.__getitem__)] += 1
    return "" if found["."] == found[","] else max(".,", key=found.__getitem__)


def interpret(
    columns: Sequence[Any],
    names: Sequence[str],
    units: Sequence[str],
    style: Style,
    where: Callable[[int], str],
    known: dict[str, Reading],
    decided: bool = False,
) -> list[Column]:
    """Columns of text, or of numbers already, as numbers; unless it is decided, the style is what most columns are sure of."""
    numbers: list[np.ndarray | None] = []
    for column in columns:
        if isinstance(column, np.ndarray):
            numbers.append(column.astype(np.float64) if column.dtype.kind in "fiub" else None)
        else:
            numbers.append(cells.plain(column))
    written = [
        (values is not None, k) for k, (column, values) in enumerate(zip(columns, numbers)) if not _typed(column)
    ]
    open_ones = [k for is_plain, k in written if not is_plain or cells.doubtful(columns[k])]
    if not decided and open_ones:  # plain columns vote last: of many, the first are heard
        style = Style(_decimal([columns[k] for _, k in sorted(written)]), style.commas, style.dates)
    found = []
    for name, unit, column, values in zip(names, units, columns, numbers):
        if name in known:
            read, bad = cells.apply(
                known[name], column if values is None or not isinstance(column, np.ndarray) else values
            )
            found.append(Column(read, bad, known[name]))
        elif values is not None and not _may_be_grouped(column, style):
            found.append(Column(values, [], Reading(unit=unit) if unit else None))
        else:
            found.append(cells.read(column, style, where, unit))
    return found


def _typed(column: Any) -> bool:
    """Whether a column is an array of numbers or dates already, and no text."""
    return isinstance(column, np.ndarray) and column.dtype.kind != "O"


def _may_be_grouped(column: Any, style: Style) -> bool:
    if isinstance(column, np.ndarray):
        return False
    return cells.doubtful(column) if style.decimal != "," else any("." in cell for cell in column)


def read_frame(
    lines: list[str], separator: str | None, width: int, source: str, types: dict[int, type] | None = None
) -> pandas.DataFrame:
    """pandas' reader with everything it would guess switched off; numbers are read to the last bit."""
    import pandas

    # From 3.1 on the default is exact and the option deprecated; before, the default may miss the last bit.
    release = tuple(int(part) for part in pandas.__version__.split(".")[:2])
    exact = {} if release >= (3, 1) else {"float_precision": "round_trip"}
    try:
        frame = pandas.read_csv(
            io.StringIO("\n".join(lines)),
            sep=r"\s+" if separator is None else separator,
            header=None,
            names=range(width),
            index_col=False,
            skipinitialspace=True,
            na_values=list(MISSING_WORDS),
            dtype=types or None,
            low_memory=False,
            skip_blank_lines=False,
            **exact,
        )
    except (ValueError, OverflowError) as error:  # ParserError is a ValueError
        raise DataError(f"{source}: cannot read the table: {str(error).splitlines()[0]}") from None
    if len(frame) != len(lines):
        raise DataError(f"{source}: {len(lines)} lines were read as {len(frame)} rows; look for stray quotes")
    return frame
