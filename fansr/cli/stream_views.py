"""What fansr-cat says of a whole stream: statistics of its fields, the commands that made it, and its records as a flat table."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fansr.errors import DataError
from fansr.streams import files

FORMATS = ("csv", "parquet")
COMMONEST = 4  # values of a text field that are named
KEPT = 1000  # different texts of a field that are counted one by one


class _Field:
    """Running statistics of one field: of numbers their range and mean, of texts the commonest, of the rest their lengths."""

    def __init__(self):
        self.n, self.none, self.numbers, self.not_finite = 0, 0, 0, 0
        self.low, self.high, self.sum = math.inf, -math.inf, 0.0
        self.texts: Counter = Counter()
        self.of: Counter = Counter()

    def add(self, value: Any) -> None:
        self.n += 1
        if value is None:
            self.none += 1
        elif isinstance(value, str):
            self.of["text"] += 1
            if value in self.texts or len(self.texts) < KEPT:
                self.texts[value] += 1
        elif isinstance(value, bool):
            self.of["text"] += 1
            self.texts[str(value).lower()] += 1
        elif isinstance(value, int | float):
            self.of["number"] += 1
            self._number(float(value))
        elif isinstance(value, list | dict | bytes | np.ndarray):
            self.of["array" if isinstance(value, np.ndarray) else type(value).__name__] += 1
            self._number(float(len(value)))

    def _number(self, value: float) -> None:
        if not math.isfinite(value):
            self.not_finite += 1
            return
        self.numbers += 1
        self.low, self.high, self.sum = min(self.low, value), max(self.high, value), self.sum + value

    def said(self) -> tuple[str, str]:
        """(what it holds, its statistics)."""
        kind = "/".join(self.of) or "nothing"
        parts = []
        if self.numbers:
            of = "" if set(self.of) <= {"number"} else "length "
            parts.append(f"{of}{self.low:.4g} to {self.high:.4g}, mean {self.sum / self.numbers:.4g}")
        if self.texts:
            many = f"{len(self.texts)}{' or more' if len(self.texts) == KEPT else ''} different: "
            parts.append(many + ", ".join(f"{text[:24]} {n}" for text, n in self.texts.most_common(COMMONEST)))
        if self.not_finite:
            parts.append(f"{self.not_finite} not finite")
        if self.none:
            parts.append(f"{self.none} none")
        return kind, "; ".join(parts)


def statistics(records: Iterable[dict]) -> Iterator[str]:
    """Lines: how many records, and of every field how many have it, what it holds and its range."""
    fields: dict[str, _Field] = {}
    n = 0
    for record in records:
        n += 1
        for name, value in record.items():
            fields.setdefault(name, _Field()).add(value)
    yield f"{n} records"
    width = max((len(name) for name in fields), default=0)
    for name, field in fields.items():
        kind, text = field.said()
        yield f"{name:{width}s}  {field.n:>8d}  {kind:8s}  {text}".rstrip()


def made_by(history: Iterable[dict]) -> Iterator[str]:
    """Lines: every command of a stream's history as it was called, with when, the version and the seed."""
    for i, entry in enumerate(history):
        words = [str(entry.get("cmd")), *map(str, entry.get("argv") or [])]
        yield f"{'| ' if i else '  '}{shlex.join(words)}"
        about = [
            str(entry.get("utc") or ""),
            f"version {entry.get('version')}",
            "" if entry.get("seed") is None else f"seed {entry['seed']}",
            f"rules {entry['rules']}" if entry.get("rules") else "",
        ]
        yield "      " + ", ".join(part for part in about if part)


def flat(record: dict) -> dict[str, Any]:
    """A record's fields as the cells of a table: numbers and texts as they are, token lists joined, small arrays as JSON."""
    cells: dict[str, Any] = {}
    for name, value in record.items():
        if isinstance(value, np.ndarray):
            value = value.tolist() if value.ndim == 1 else None  # points belong into a stream
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            value = " ".join(value)
        elif isinstance(value, list | dict):
            value = json.dumps(value, ensure_ascii=False, default=str)
        elif isinstance(value, bytes):
            value = value.hex()
        cells[name] = value
    return cells


def write_table(records: Iterable[dict], form: str, output: str) -> None:
    """Records as one CSV or Parquet table, a column for every field that any of them has."""
    rows = [flat(record) for record in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    names = [name for name in names if any(row.get(name) is not None for row in rows)]
    if form == "csv":
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([["" if row.get(name) is None else row[name] for name in names] for row in rows])
        files.write_text(output, out.getvalue())
        return
    import pandas

    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if len({type(v) for v in values if v is not None} - {int, float}) and len({type(v) for v in values}) > 2:
            values = [None if v is None else str(v) for v in values]
        columns[name] = values
    try:
        pandas.DataFrame(columns).to_parquet(output, index=False)
    except ImportError:
        raise DataError("--to parquet needs pyarrow: pip install 'fansr[arrow]', or take --to csv") from None
    except (ValueError, OSError) as error:
        raise DataError(f"{output}: {error}") from None
