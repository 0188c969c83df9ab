"""Laws to start a search from: formulas, a file of them, or what an earlier search found.

    texts = read("laws.txt")                        # one law a line; the JSON of --json or --save, or a stream of fits, too
    parse(["a*sin(b*x) + 2"], ["x"])                # letters that are no column are constants to be fitted, numbers where to begin

A guess is offered to the search twice: with its constants fitted from where it says, and from scratch.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fansr.errors import DataError
from fansr.expressions import CONSTANT, Expr, free, from_tree, problems, to_infix
from fansr.fitting import Candidate
from fansr.search import forms
from fansr.streams import files, reader_writer

MOST_BYTES = 1 << 24
MOST_LAWS = 1000
_FILE = re.compile(r"\S+\.(json|jsonl|txt|csv|zst|gz|toml)")  # what is no formula


def texts_of(given: Iterable[str]) -> tuple[str, ...]:
    """Formulas of what was given, where a name of a file stands for the laws in it."""
    found: list[str] = []
    for text in given:
        if _FILE.fullmatch(text.strip()) and not os.path.exists(text):
            raise DataError(f"{text}: no such file; a law to start from is written as a formula, 'a*sin(b*x) + 2'")
        found += read(text) if os.path.isfile(text) else [text]
    return tuple(found)


def read(path: str) -> list[str]:
    """The laws of a file as formulas; DataError where there are none.

    A file of lines (blank ones and those that begin with # are passed over), the object of --json (its front), a law that --save
    wrote, or a stream of fit records.
    """
    head = files.read_file(path, "laws", limit=MOST_BYTES)
    if head[:1] and 0x80 <= head[0] <= 0x8F:
        found = _of_stream(path)
    else:
        try:
            text = head.decode()
        except UnicodeDecodeError:
            raise DataError(
                f"{path}: no laws: wanted lines of text, the JSON of --json or --save, or fit records"
            ) from None
        found = _of_json(text, path) if text.lstrip()[:1] in ("{", "[") else [
            line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
        ]  # fmt: skip
    if not found:
        raise DataError(f"{path}: holds no law")
    return list(dict.fromkeys(found))[:MOST_LAWS]


def _of_json(text: str, path: str) -> list[str]:
    wrong = DataError(f"{path}: no laws: wanted the JSON of fansr-fit --json or --save")
    try:
        data = json.loads(text)
        objects = data if isinstance(data, list) else [data]
        found: list[str] = []
        for one in objects:
            if "laws" in one:
                found += [_written(law["prefix"], law["constants"], one["columns"]) for law in one["laws"]]
            else:
                found += [one["expression"], *(law["expression"] for law in one.get("front", []))]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise wrong from None
    if not all(isinstance(text, str) for text in found):
        raise wrong
    return found


def _written(prefix: Any, consts: Any, columns: Any) -> str:
    if problems(list(prefix), len(columns)) is not None:
        raise ValueError("no law")
    return to_infix(list(prefix), [float(c) for c in consts], [str(name) for name in columns])


def _of_stream(path: str) -> list[str]:
    found: list[str] = []
    with reader_writer.open_reader(path, holds=("fit",)) as reader:
        for record in reader:
            laws = [record, *record.get("front", [])] if record.get("expr") else []
            names = record.get("names") or [f"x{k + 1}" for k in range(17)]
            found += [to_infix(list(law["expr"]), law["consts"], names) for law in laws]
    return found


def parse(texts: Iterable[str], names: Sequence[str]) -> list[tuple[Expr, np.ndarray]]:
    """(expression, constants to start from, NaN for letters) of formulas over columns; ValueError says what is wrong."""
    found = []
    for text in texts:
        left, equals, right = text.partition("=")
        formula = right if equals and not right.startswith("=") and left.strip().isidentifier() else text
        try:
            tree, calls = forms.read(formula.strip(), names)
        except ValueError as error:
            raise ValueError(f"guess: {str(error).removeprefix('form: ')}") from None
        if calls:
            raise ValueError(
                f"guess: {calls[0].name}(...) in {formula.strip()!r} is no function; --form takes functions to be found"
            )
        expr, values = free([CONSTANT if token[0] == "@" else token for token in from_tree(tree)])
        found.append((expr, np.array([math.nan if v is None else v for v in values])))
    return found


def candidates(texts: Iterable[str], names: Sequence[str], fitter: Any) -> list[Candidate]:
    """The guesses as candidates, fitted from where they say and to be fitted from scratch; none of columns that were left out."""
    found, readable = [], []
    for text in texts:
        try:
            readable += parse([text], names)
        except ValueError:
            continue  # it was read over the whole table before
    for expr, start in readable:
        if not np.isnan(start).all():
            start = _with_letters(expr, start, fitter)
            if start is not None:
                fvu, fitted = fitter.polish(expr, start)
                found.append(Candidate(list(expr), np.asarray(fitted, dtype=np.float64), float(fvu), source="guess"))
        if CONSTANT in expr:
            found.append(Candidate(list(expr), source="guess"))
    return found


def _with_letters(expr: Expr, start: np.ndarray, fitter: Any) -> np.ndarray | None:
    """Constants to start from, the letters (NaN) fitted with the numbers as they are; None where nothing fits."""
    if not np.isnan(start).any():
        return start
    numbers = iter(start)
    held = [repr(float(v)) if t == CONSTANT and not math.isnan(v := next(numbers)) else t for t in expr]
    (_, (found,)) = getattr(fitter, "plain", fitter).fit([held])
    if found is None:
        return None
    start = start.copy()
    start[np.isnan(start)] = found
    return start
