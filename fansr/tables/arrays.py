"""Columns of arrays and data frames as numbers: masked cells, dates, spans of time, and text read as a file's is."""

from __future__ import annotations

from typing import Any

import numpy as np

from fansr.errors import DataError
from fansr.tables import csv_reader, dates
from fansr.tables.cells import Column, Reading, Style


def frame_columns(X: Any) -> tuple[list[Any], list[str]]:
    """Columns and names of a data frame (anything with `columns`) or an array; a vector is one column."""
    if hasattr(X, "columns") and not isinstance(X, np.ndarray):
        names = [str(name) for name in X.columns]
        pick = X.iloc if hasattr(X, "iloc") else None  # by place, since names may repeat
        columns = [
            real(pick[:, j] if pick is not None else X[names[j]], f"column {names[j]} of X") for j in range(len(names))
        ]
        return columns, names
    X = real(X, "X")
    if X.ndim == 1:
        X = X[:, None]
    if X.ndim != 2:
        raise DataError(f"X has shape {X.shape}, wanted (rows, columns)")
    return [X[:, j] for j in range(X.shape[1])], [f"x{j + 1}" for j in range(X.shape[1])]


def interpreted(names, columns, where, known: dict[str, Reading], date_order: str):
    """(columns read, their cells) of arrays, pandas' columns or lists."""
    read: list[Any] = []
    raw: list[Any] = []
    texts = []
    for j, column in enumerate(columns):
        array = _array(column)
        if array.dtype.kind in "fiub":
            read.append(Column(array.astype(np.float64), []))
        elif array.dtype.kind == "M" or _zoned(column):
            reading = known.get(names[j])
            values, reading = dates.of_numpy(
                _universal(column, array), _zoned(column), reading if reading and reading.kind == "date" else None
            )
            read.append(Column(values, [], reading))
        elif array.dtype.kind == "m":
            seconds = array.astype("timedelta64[ns]").astype(np.int64) / 10**9
            read.append(
                Column(
                    np.where(np.isnat(array), np.nan, seconds), [], Reading(kind="clock", unit="seconds", order="hms")
                )
            )
        else:
            read.append(None)
            texts.append(j)
        raw.append(array.tolist() if array.dtype.kind not in "fiub" else None)
    if texts:
        some = csv_reader.interpret(
            [_plain_text(raw[j]) for j in texts],
            [names[j] for j in texts],
            [""] * len(texts),
            Style(dates=date_order),
            where,
            known,
        )
        for j, column in zip(texts, some):
            read[j] = column
    for j, column in enumerate(read):
        if names[j] in known and known[names[j]].kind == "number" and column.reading is None and not is_text(column):
            read[j] = column._replace(reading=known[names[j]])
    return read, raw


def _plain_text(column: list[Any]) -> Any:
    """Cells that are text throughout as they are, so that plain numbers among them are read fast; others as objects."""
    if all(isinstance(cell, str) for cell in column):
        return column
    array = np.empty(len(column), dtype=object)
    array[:] = column
    return array


def _array(column: Any) -> np.ndarray:
    """A column as an array; masked ones are filled with NaN or None, since masked means missing."""
    if _is_masked(column):
        return np.asarray(column.filled(np.nan) if column.dtype.kind == "f" else column.astype(object).filled(None))
    return np.asarray(column)


def _zoned(column: Any) -> bool:
    return getattr(getattr(column, "dtype", None), "tz", None) is not None


def _universal(column: Any, array: np.ndarray) -> np.ndarray:
    """datetime64 in universal time of a column, which pandas may hold as objects with a zone."""
    return array if array.dtype.kind == "M" else column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()


def is_text(column: Column) -> bool:
    """A column is text when most of what it holds cannot be read; a stray word among numbers is a bad cell."""
    return bool(column.bad) and len(column.bad) > int(np.isfinite(column.values).sum())


def _is_masked(values) -> bool:
    """Whether an array is one of numpy.ma, which need not be loaded for those that are not."""
    return isinstance(values, np.ndarray) and hasattr(values, "filled")


def real(values, what: str) -> Any:
    """An array as it is, masked ones kept masked; DataError for complex numbers, whose half would be lost."""
    values = values if _is_masked(values) or _zoned(values) else np.asarray(values)
    if values.dtype.kind == "c":
        raise DataError(
            f"{what} holds complex numbers, wanted real ones; fit real and imaginary part (or size) by themselves"
        )
    return values
