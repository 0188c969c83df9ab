"""Tables in other formats than text: spreadsheets, parquet, feather and JSON, each told by its first bytes.

pandas reads them where the package it needs is installed (extras `excel` and `arrow`); else one line says which.  JSON is read
with the standard library, since pandas' reader loses the last digits of numbers.
"""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fansr.errors import DataError
from fansr.tables.text_files import MOST_BYTES

if TYPE_CHECKING:
    import pandas

# First bytes, pandas' reader, what is installed for it, and the extra that brings it.
FORMATS = (
    (b"PK\x03\x04", "read_excel", "openpyxl", "excel"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "read_excel", "xlrd", "xls"),
    (b"PAR1", "read_parquet", "pyarrow", "arrow"),
    (b"ARROW1", "read_feather", "pyarrow", "arrow"),
    (b"FEA1", "read_feather", "pyarrow", "arrow"),
)
NAMED = {"openpyxl": "a spreadsheet (xlsx)", "xlrd": "a spreadsheet (xls)", "pyarrow": "a parquet or feather file"}
MOST_NESTED = 64  # brackets of a JSON table; it has three


def binary_table(data: bytes, source: str) -> tuple[str | pandas.DataFrame, list[str]] | None:
    """A binary table and warnings, or None where the bytes are none.

    A spreadsheet comes as the text a CSV of it would have, a line a row; parquet and feather as data frames.
    """
    for magic, reader, package, extra in FORMATS:
        if not data.startswith(magic):
            continue
        if package == "openpyxl":
            _check_archive(data, source)
        try:
            __import__(package)
        except ImportError:
            raise DataError(
                f"{source}: reading {NAMED[package]} needs {package}: pip install 'fansr[{extra}]'"
            ) from None
        return _by_pandas(data, source, reader, package)
    return None


def _check_archive(data: bytes, source: str) -> None:
    """DataError for an archive that is no spreadsheet, or that unpacks to too much."""
    import zipfile

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError) as error:
        raise DataError(f"{source}: not a text table but a damaged archive or spreadsheet ({error})") from None
    if not any(member.filename.startswith("xl/") for member in members):
        raise DataError(f"{source}: not a text table but an archive; unpack it, or save the sheet as CSV or xlsx")
    if sum(member.file_size for member in members) > MOST_BYTES:
        raise DataError(f"{source}: unpacks to more than {MOST_BYTES >> 20} MiB, wanted a table; save the sheet as CSV")


def _by_pandas(data: bytes, source: str, reader: str, package: str) -> tuple[str | pandas.DataFrame, list[str]]:
    import pandas

    said: list[str] = []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if reader != "read_excel":
                return getattr(pandas, reader)(io.BytesIO(data)), said
            with pandas.ExcelFile(io.BytesIO(data), engine=package) as book:
                sheets = book.sheet_names
                rows = book.parse(sheets[0], header=None, dtype=object, na_filter=False).to_numpy(dtype=object).tolist()
    except MemoryError:
        raise
    except Exception as error:  # readers of three packages, with errors of their own
        why = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise DataError(f"{source}: damaged, or not {NAMED[package]}: {why}") from None
    if len(sheets) > 1:
        said.append(f"the first of {len(sheets)} sheets was read, {sheets[0]!r}; save another as a file of its own")
    return _as_csv(rows, source), said


def _as_csv(rows: list[list[Any]], source: str) -> str:
    """Rows of a sheet as text, without empty columns at its edges; empty rows stay, so that lines are the sheet's rows."""
    texts = [["" if cell is None else _text(cell) for cell in row] for row in rows]
    filled = [j for j in range(len(texts[0]) if texts else 0) if any(row[j] for row in texts)]
    if not filled:
        raise DataError(f"{source}: the first sheet is empty, wanted a row of column names and rows of numbers")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for row in texts:
        if any(row):
            writer.writerow(row[filled[0] : filled[-1] + 1])
        else:
            out.write("\n")
    return out.getvalue()


def _text(cell: Any) -> str:
    if isinstance(cell, float | np.floating):
        return "" if np.isnan(cell) else repr(float(cell))
    text = " ".join(str(cell).split())
    return text.removesuffix(" 00:00:00")  # a day, as sheets hold it


# ---- JSON -------------------------------------------------------------------------------------


def json_columns(text: str, source: str) -> tuple[list[str], list[Sequence[Any]]] | None:
    """Names and columns of JSON records, of one object of columns, or of an object a line; None where the text is no JSON."""
    start = text.lstrip()[:1]
    if start not in ("[", "{"):
        return None
    if text.count("[") + text.count("{") > MOST_NESTED and _depth(text[: 1 << 20]) > MOST_NESTED:
        raise DataError(f"{source}: JSON nested too deeply, wanted a list of records")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            data = [json.loads(line) for line in lines] if start == "{" else None
        except (ValueError, RecursionError):
            data = None
        if data is None:
            if start == "[" and not text.lstrip()[1:].lstrip().startswith(("{", "[")):
                return None  # a name in brackets
            raise DataError(f"{source}: begins like JSON but is none ({error}); wanted a list of records") from None
    if isinstance(data, dict) and isinstance(data.get("columns"), list) and isinstance(data.get("data"), list):
        data = [dict(zip(map(str, data["columns"]), row)) if isinstance(row, list) else row for row in data["data"]]
    if isinstance(data, dict) and data and all(isinstance(column, dict) for column in data.values()):
        keys = list(dict.fromkeys(key for column in data.values() for key in column))
        data = {name: [column.get(key) for key in keys] for name, column in data.items()}
    if isinstance(data, dict):
        if not data or not all(isinstance(column, list) for column in data.values()):
            raise DataError(f"{source}: a JSON object, wanted a list of records or an object of columns")
        n = {name: len(column) for name, column in data.items()}
        if len(set(n.values())) > 1:
            shortest = min(n, key=n.__getitem__)
            raise DataError(f"{source}: column {shortest} has {n[shortest]} values but another has {max(n.values())}")
        return list(data), [_flat(column, name, source) for name, column in data.items()]
    if not data or not all(isinstance(row, dict) for row in data):
        if data and all(isinstance(row, list) for row in data) and len({len(row) for row in data}) == 1:
            width = len(data[0])
            return [*(f"x{j + 1}" for j in range(width - 1)), "y"], [
                _flat([row[j] for row in data], f"{j + 1}", source) for j in range(width)
            ]
        raise DataError(f'{source}: JSON, but no list of records such as [{{"x": 1, "y": 2}}, ...]')
    names = list(dict.fromkeys(str(name) for row in data for name in row))
    return names, [_flat([row.get(name) for row in data], name, source) for name in names]


def _flat(column: list[Any], name: str, source: str) -> Sequence[Any]:
    for m, cell in enumerate(column):
        if isinstance(cell, dict | list):
            raise DataError(
                f"{source}: record {m + 1}: {name} is {'a list' if isinstance(cell, list) else 'an object'}, wanted a number"
            )
    try:
        if all(cell is None or isinstance(cell, int | float) for cell in column):
            return np.array([np.nan if cell is None else float(cell) for cell in column])
    except OverflowError:
        pass
    return ["" if cell is None else cell if isinstance(cell, str) else repr(cell) for cell in column]


def _depth(text: str) -> int:
    depth = most = 0
    for letter in text:
        depth += letter in "[{"
        depth -= letter in "]}"
        most = max(most, depth)
    return most
