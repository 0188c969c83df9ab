"""A table of numbers, from a file or from arrays, as one problem.

    problem, warnings, dropped = load_problem("data.csv", target="period")

Read are CSV, TSV, semicolon- and blank-separated text, plain or packed with gzip or zstd (told by content, not by
name), and data frames or arrays.  Every cell becomes float64.  What cannot be used is never passed over in silence:
rows with missing, infinite or unreadable cells are dropped and counted by reason, columns of text are left out with a
warning, and a table that cannot be read is a DataError naming the line and what mends it.

This module knows nothing about expressions.  Tables of up to a million cells are read with the csv module; pandas, whose import
takes a quarter of a second, is for larger ones.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fansr.errors import DataError

if TYPE_CHECKING:
    import pandas
    from numpy.typing import ArrayLike

    from fansr.fitting import Problem

SEPARATORS = (",", ";", "\t", "|")  # blanks are the fallback
MISSING_WORDS = (
    "",
    "NA",
    "N/A",
    "n/a",
    "NaN",
    "nan",
    "-nan",
    "-NaN",
    "NULL",
    "null",
    "None",
    "?",
    "-",
    ".",
    "#N/A",
    "<NA>",
)
# What pandas takes for missing and true besides; the two readers must agree.
_MISSING = frozenset((*MISSING_WORDS, "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "1.#IND", "1.#QNAN"))
_TRUE, _FALSE = frozenset(("True", "TRUE", "true")), frozenset(("False", "FALSE", "false"))
PLAIN_CELLS = 1_000_000  # of a table that is read without pandas
MOST_WARNINGS = 12  # of one kind
MOST_BYTES = 1 << 31  # that a packed table may unpack to
MIN_ROWS = 2  # with one row any constant is a perfect law
GZIP_MAGIC, ZSTD_MAGIC = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# Bytes below 0x20 other than tab, newline, return, form feed and escape do not occur in a text table.
CONTROL_BYTES = bytes(b for b in range(32) if b not in (9, 10, 12, 13, 27))


class Table(NamedTuple):
    """Columns of a table: `values` (M, K) float64 with NaN where a cell is no number.

    `unreadable` lists, for each column, the rows whose cell is neither a number nor missing; `text` (K,) marks the
    columns that are text as a whole; `warnings` are sentences for the user.
    """

    source: str
    names: list[str]
    values: np.ndarray
    unreadable: list[list[int]]
    text: np.ndarray
    warnings: list[str]


# ---- bytes to text ----------------------------------------------------------------------------


def read_bytes(path: str) -> bytes:
    """Content of a file ("-" is stdin), unpacked if it is gzip or zstd; DataError says what is wrong."""
    if str(path) == "-":
        data = sys.stdin.buffer.read()
    else:
        try:
            with open(path, "rb") as file:
                data = file.read()
        except FileNotFoundError:
            raise DataError(f"{path}: no such file") from None
        except IsADirectoryError:
            raise DataError(f"{path}: is a directory, wanted a table such as data.csv") from None
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None
    return unpack(data, path)


def unpack(data: bytes, source: str) -> bytes:
    """gzip or zstd content unpacked, anything else as it is."""
    if data.startswith(GZIP_MAGIC):
        parts, size, packed = [], 0, io.BytesIO(data)
        try:
            with gzip.GzipFile(fileobj=packed) as file:
                while part := file.read(1 << 22):
                    parts.append(part)
                    size = _bounded(size + len(part), source)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{source}: damaged or truncated gzip file ({error}); fetch it again") from None
        return b"".join(parts)
    if data.startswith(ZSTD_MAGIC):
        import zstandard

        parts, size, rest = [], 0, data
        while rest:  # one turn a frame: only a decompressobj tells that a frame was cut
            frame = zstandard.ZstdDecompressor().decompressobj()
            try:
                for first in range(0, len(rest), 1 << 10):  # in pieces: a kilobyte may unpack to megabytes
                    parts.append(frame.decompress(rest[first : first + (1 << 10)]))
                    size = _bounded(size + len(parts[-1]), source)
                    if frame.eof:
                        rest = frame.unused_data + rest[first + (1 << 10) :]
                        break
            except zstandard.ZstdError as error:
                raise DataError(f"{source}: damaged zstd file ({error}); fetch it again") from None
            if not frame.eof:
                raise DataError(f"{source}: truncated zstd file; fetch it again")
        return b"".join(parts)
    return data


def _bounded(size: int, source: str) -> int:
    if size > MOST_BYTES:
        raise DataError(
            f"{source}: unpacks to more than {MOST_BYTES >> 20} MiB, wanted a table; unpack it and leave rows out"
        )
    return size


def decode(data: bytes, source: str) -> tuple[str, list[str]]:
    """Text of a table: UTF-8, UTF-16 with its mark, or Latin-1 with a warning."""
    if not data.strip():
        raise DataError(f"{source}: the file is empty, wanted a row of column names and rows of numbers")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        try:
            return data.decode("utf-16"), []
        except UnicodeDecodeError:
            raise DataError(f"{source}: not a text table (neither UTF-8 nor UTF-16)") from None
    # A few control bytes near the start are enough to tell pictures, archives and spreadsheets from text.
    if data[:65536].translate(None, CONTROL_BYTES) != data[:65536]:
        what = "a spreadsheet or archive; save the sheet as CSV" if data.startswith(b"PK") else "binary data"
        raise DataError(f"{source}: not a text table but {what}")
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        if b"\x00" in data:
            raise DataError(f"{source}: line {line}: not a text table") from None
        return data.decode("latin-1"), [f"line {line} is not UTF-8, so the file was read as Latin-1"]


# ---- text to columns --------------------------------------------------------------------------


def read_table(path: str) -> Table:
    """All columns of a table file; raises DataError for anything that is no table."""
    source = "standard input" if str(path) == "-" else str(path)
    return parse_table(read_bytes(path), source)


def parse_table(data: bytes, source: str) -> Table:
    """A table from the bytes of a file that is already unpacked."""
    text, warnings = decode(data, source)
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    # Line numbers, from 1, of what is no comment and not blank: errors name them.
    comments = [i for i, line in enumerate(lines) if line.lstrip().startswith("#")]
    skip = set(comments)
    rows = [i for i, line in enumerate(lines) if i not in skip and line.strip()]
    if not rows:
        raise DataError(f"{source}: nothing but comments, wanted a row of column names and rows of numbers")
    separator = sniff([lines[i] for i in rows[:100]])
    names = [name.strip() for name in split(lines[rows[0]], separator)]
    if all(is_number(name) for name in names):
        # Plain matrices come without names, or with names behind a comment mark (numpy.savetxt).
        heading = [i for i in comments if i < rows[0]]
        written = split(lines[heading[-1]].lstrip(" #"), separator) if heading else []
        if len(written) == len(names):
            names = [name.strip() for name in written]
        else:
            names = [f"x{j + 1}" for j in range(len(names) - 1)] + ["y"]
            warnings.append(
                f"line {rows[0] + 1} holds numbers, so the columns were named {', '.join(names[:6])}"
                + (", ..." if len(names) > 6 else "")
            )
    else:
        rows = rows[1:]
    if not rows:
        raise DataError(f"{source}: column names but no rows of numbers below them")
    among = [i for i in comments if rows[0] < i < rows[-1]]
    if among:
        warnings.append(
            f"{len(among)} line{'s' * (len(among) > 1)} beginning with # among the rows {'were' if len(among) > 1 else 'was'} "
            f"left out as comments, the first is line {among[0] + 1}"
        )
    check_widths(lines, rows, separator, len(names), source)
    columns, said = read_columns([lines[i] for i in rows], separator, names, source)
    warnings += said
    return collect(source, names, columns, warnings, where=lambda m: f"line {rows[m] + 1}")


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


def read_columns(
    lines: list[str], separator: str | None, names: list[str], source: str
) -> tuple[list[np.ndarray], list[str]]:
    """Columns of the lines of a table, as arrays of numbers or of cells, and warnings; every line has a cell for each name."""
    decimal, warnings = ".", []
    if separator != ",":  # continental tables: 1,5;2,25
        sample = [cell for line in lines[:100] for cell in split(line, separator)]
        if any("," in cell for cell in sample) and not any("." in cell for cell in sample):
            decimal = ","
            warnings = _thousands([split(line, separator) for line in lines[:100]], names)
    if len(lines) * len(names) > PLAIN_CELLS:
        frame = read_frame(lines, separator, len(names), source, decimal)
        return [frame.iloc[:, j].to_numpy() for j in range(len(names))], warnings
    if separator is None:
        cells = [line.split() for line in lines]
    elif any('"' in line for line in lines):
        cells = list(csv.reader(lines, delimiter=separator, skipinitialspace=True))
        if len(cells) != len(lines):
            raise DataError(f"{source}: {len(lines)} lines were read as {len(cells)} rows; look for stray quotes")
    else:
        cells = [line.split(separator) for line in lines]
    return [plain_column(column, decimal) for column in zip(*cells)], warnings


def plain_column(cells: Sequence[str], decimal: str = ".") -> np.ndarray:
    """One column of text cells: float64 (M,) where every cell is a number or missing, else the cells (object)."""
    if decimal == ",":
        cells = [cell.replace(",", ".") if "." not in cell else cell + "?" for cell in cells]
    try:
        if any("_" in cell for cell in cells):  # 1_000 is Python's spelling, no table's
            raise ValueError
        return np.array([float(cell) for cell in cells])
    except ValueError:
        pass
    values, words = np.full(len(cells), np.nan), False
    cells = [cell.strip() for cell in cells]
    for m, cell in enumerate(cells):
        if cell in _MISSING:
            continue
        words |= cell in _TRUE or cell in _FALSE
        try:
            values[m] = float(cell if "_" not in cell else "?")
        except ValueError:
            break
    else:
        return values
    if words and all(cell in _TRUE or cell in _FALSE or cell in _MISSING for cell in cells):
        return np.array([np.nan if cell in _MISSING else float(cell in _TRUE) for cell in cells])
    return np.array([None if cell in _MISSING else cell for cell in cells], dtype=object)


def _thousands(rows: list[list[str]], names: list[str]) -> list[str]:
    """A warning for each column whose commas, read as decimal ones, look like those of thousands."""
    warnings = []
    for name, column in zip(names, zip(*rows)):
        commas = [cell for cell in column if "," in cell]
        if commas and all(re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", cell.strip()) for cell in commas):
            value = float(commas[0].replace(",", "."))
            warnings.append(
                f"column {name}: {commas[0].strip()} was read as {value:g} (decimal comma); if thousands are meant, write "
                f"{commas[0].strip().replace(',', '')}"
            )
    return warnings


def read_frame(
    lines: list[str], separator: str | None, width: int, source: str, decimal: str = "."
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
            decimal=decimal,
            low_memory=False,
            skip_blank_lines=False,
            **exact,
        )
    except (ValueError, OverflowError) as error:  # ParserError is a ValueError
        raise DataError(f"{source}: cannot read the table: {str(error).splitlines()[0]}") from None
    if len(frame) != len(lines):
        raise DataError(f"{source}: {len(lines)} lines were read as {len(frame)} rows; look for stray quotes")
    return frame


def collect(
    source: str,
    names: Sequence[str],
    columns: Sequence[Any],
    warnings: list[str],
    where: Callable[[int], str] = lambda m: f"row {m + 1}",
) -> Table:
    """Columns of any dtype as one Table; cells that are no numbers become NaN and are counted."""
    names, renamed = unique_names(names)
    warnings = warnings + renamed
    K = len(names)
    values = np.empty((len(columns[0]) if K else 0, K))  # (M, K)
    unreadable: list[list[int]] = []
    text = np.zeros(K, bool)
    for j, column in enumerate(columns):
        values[:, j], bad = to_float(column)
        unreadable.append(bad)
        # A column is text when most of what it holds cannot be read; a stray word among numbers is a bad cell.
        text[j] = len(bad) > np.isfinite(values[:, j]).sum()
        if len(bad) and not text[j]:
            m = bad[0]
            warnings.append(
                f"column {names[j]}: {len(bad)} cells are no numbers, the first is {str(column[m])[:30]!r} in "
                f"{where(m)}"
            )
    return Table(source, names, values, unreadable, text, warnings)


def to_float(column: Any) -> tuple[np.ndarray, list[int]]:
    """float64 values of one column (NaN where there is none) and the places of cells that cannot be read."""
    if _is_masked(column):  # masked means missing
        return to_float(column.filled(np.nan) if column.dtype.kind == "f" else column.astype(object).filled(None))
    column = np.asarray(column)
    if column.dtype.kind in "fiub":
        return column.astype(np.float64), []
    values, bad = np.full(len(column), np.nan), []
    for m, cell in enumerate(column):
        if cell is None:
            continue
        try:
            if isinstance(cell, str) and "_" in cell:
                raise ValueError
            values[m] = float(cell.strip() if isinstance(cell, str) else cell)
        except (TypeError, ValueError, OverflowError):
            if str(cell).strip() not in MISSING_WORDS:
                bad.append(m)
    return values, bad


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


def table_problem(
    table: Table,
    target: str | None = None,
    inputs: Sequence[str] | None = None,
    weights: str | None = None,
    sigma: str | None = None,
) -> tuple[Problem, list[str], Counter]:
    """One problem from a table.

    `target` names the column to explain; by default it is the last column of numbers.  `inputs` names the columns it
    may depend on (default: all other columns of numbers), `weights` a column of non-negative weights or `sigma` one of
    positive standard errors of the target: such a column is no input, and no target by default.  Returns the
    Problem with X (M, D) and y (M,) float64 and finite throughout, warnings, and a Counter of dropped rows by reason
    ("missing", "not a number", "infinite").
    """
    from fansr.fitting import Problem

    warnings = list(table.warnings)
    usable = ~table.text & np.isfinite(table.values).any(axis=0)
    if weights is not None and sigma is not None:
        raise DataError(
            f"{table.source}: weights {weights} and standard errors {sigma}, wanted one of them (weights are 1/sigma^2)"
        )
    named = weights if sigma is None else sigma
    w = None if named is None else find_column(table, named, usable)
    others = usable.copy()
    others[[] if w is None else w] = False
    t = find_target(table, target, usable if target is not None else others)
    if t == w:
        raise DataError(
            f"{table.source}: column {table.names[t]} is the target and cannot be its own "
            f"{'weights' if sigma is None else 'standard errors'}; name another with --target"
        )
    if inputs is None:
        columns = [j for j in range(len(table.names)) if j not in (t, w) and usable[j]]
        text = [name for j, name in enumerate(table.names) if j != t and table.text[j]]
        empty = [name for j, name in enumerate(table.names) if j != t and not table.text[j] and not usable[j]]
        for left_out, what in ((text, "text"), (empty, "empty")):
            warnings += [f"column {name} is {what} and was left out" for name in left_out[:MOST_WARNINGS]]
            if len(left_out) > MOST_WARNINGS:
                warnings.append(f"and {len(left_out) - MOST_WARNINGS} more columns are {what} and were left out")
    else:
        columns = [find_column(table, name, usable) for name in inputs]
    if not columns:
        raise DataError(
            f"{table.source}: no column of numbers is left to explain {table.names[t]} by; "
            f"the columns are {listed(table.names)}"
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
    if w is not None:
        column = table.values[keep, w].copy()
        check = check_weights if sigma is None else weights_of_errors
        problem.weights, problem.known = check(column, table.source, table.names[w]), sigma is not None
    return problem, warnings, dropped


def array_problem(
    X: Any,
    y: Any,
    names: Sequence[str] | None = None,
    target: str = "y",
    weights: ArrayLike | None = None,
    sigma: ArrayLike | None = None,
) -> tuple[Problem, list[str], Counter]:
    """One problem from arrays or data frames: X (M, D) or (M,), y (M,); errors and results as table_problem's.

    The names come from a frame's columns, else they are x1, x2, ...  Constant columns stay, so that column numbers keep
    their meaning; a column of text is left out with a warning, as in a file.
    """
    columns, found = frame_columns(X)
    names = list(names) if names is not None else found
    if len(names) != len(columns):
        raise DataError(f"X has {len(columns)} columns but {len(names)} names were given")
    y_values = _real(y, "y")
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
            given = _real(given, name[1:-1])
            if given.shape != y_values.shape:
                raise DataError(f"{name[1:-1]} have shape {given.shape}, wanted {y_values.shape}")
            columns, names = [*columns, given], [*names, name]
    table = collect("the arrays", names, columns, [])
    return table_problem(table, target, None, *(name if given is not None else None for name, given in extra.items()))


def _is_masked(values) -> bool:
    """Whether an array is one of numpy.ma, which need not be loaded for those that are not."""
    return isinstance(values, np.ndarray) and hasattr(values, "filled")


def _real(values, what: str) -> np.ndarray:
    """An array as it is, masked ones kept masked; DataError for complex numbers, whose half would be lost."""
    values = values if _is_masked(values) else np.asarray(values)
    if values.dtype.kind == "c":
        raise DataError(
            f"{what} holds complex numbers, wanted real ones; fit real and imaginary part (or size) by themselves"
        )
    return values


def frame_columns(X: Any) -> tuple[list[np.ndarray], list[str]]:
    """Columns and names of a data frame (anything with `columns`) or an array; a vector is one column."""
    if hasattr(X, "columns") and not isinstance(X, np.ndarray):
        names = [str(name) for name in X.columns]
        pick = X.iloc if hasattr(X, "iloc") else None  # by place, since names may repeat
        columns = [
            _real(pick[:, j] if pick is not None else X[names[j]], f"column {names[j]} of X") for j in range(len(names))
        ]
        return columns, names
    X = _real(X, "X")
    if X.ndim == 1:
        X = X[:, None]
    if X.ndim != 2:
        raise DataError(f"X has shape {X.shape}, wanted (rows, columns)")
    return [X[:, j] for j in range(X.shape[1])], [f"x{j + 1}" for j in range(X.shape[1])]


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


# ---- the parts --------------------------------------------------------------------------------


def find_column(table: Table, name: str, usable: np.ndarray) -> int:
    """Place of the column `name`, letter case ignored where that is unambiguous; DataError lists the names."""
    matches = [j for j, known in enumerate(table.names) if known == name]
    matches = matches or [j for j, known in enumerate(table.names) if known.lower() == str(name).strip().lower()]
    if len(matches) != 1:
        raise DataError(f"{table.source}: no column is named {name!r}; the columns are {listed(table.names)}")
    if not usable[matches[0]]:
        what = "text" if table.text[matches[0]] else "empty"
        raise DataError(
            f"{table.source}: column {name} is {what}, wanted numbers; "
            f"the columns of numbers are {listed([n for n, u in zip(table.names, usable) if u])}"
        )
    return matches[0]


def find_target(table: Table, target: str | None, usable: np.ndarray) -> int:
    """Place of the target: the named column, or the last one that holds numbers."""
    if target is not None:
        return find_column(table, target, usable)
    if not usable.any():
        raise DataError(f"{table.source}: no column of numbers; the columns are {listed(table.names)}")
    return int(np.flatnonzero(usable)[-1])


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


def listed(names: Sequence[str], limit: int = 12) -> str:
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def tally(dropped: Counter) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in sorted(dropped.items()))
