"""Laws written as formulas: a benchmark's JSON file or a text file, for rendering and for holding out.

JSON: {"name", "laws": [{"id", "infix", "variables": [{"name", "low", "high", "dist", "sign"}], "difficulty"?,
"target"?, "excluded"?}]}.  dist is log (log-uniform in magnitude), uni or int (uniform, then rounded); sign is pos, neg or
pos_neg (a coin for each point).

Text: one law a line, `#` begins a comment, ranges after a semicolon:

    G * m1 * m2 / r**2 ; G 6 7, m1 0.1 10 log, m2 0.1 10 log, r 1 5 uni pos_neg
    x1 * sin(x2)

A variable without a range is drawn from U(1, 5).  This module draws points; it fits and writes nothing.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fansr.cli import resources
from fansr.errors import DataError
from fansr.expressions import CONSTANT, from_infix
from fansr.streams import MAX_TOKENS, files

DISTS, SIGNS = ("log", "uni", "int"), ("pos", "neg", "pos_neg")
WANTED = "a file of laws or a stream"
MAX_BYTES = 64 << 20  # of a file of laws
LARGEST_RANGE = 1e300  # of the ends of a range: their difference and the noise on it must be numbers too
MAX_ROUNDS = 100  # times that points without a finite value are drawn again


@dataclass(frozen=True)
class Column:
    """How one variable of a law is drawn."""

    name: str
    low: float = 1.0
    high: float = 5.0
    dist: str = "uni"
    sign: str = "pos"

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """n values, float64."""
        if self.dist == "log":
            values = 10.0 ** rng.uniform(math.log10(self.low), math.log10(self.high), n)
        else:
            values = rng.uniform(self.low, self.high, n)
        if self.dist == "int":
            values = np.rint(values)
        if self.sign == "neg":
            return -np.abs(values)
        return values * rng.choice([-1.0, 1.0], n) if self.sign == "pos_neg" else values


@dataclass(frozen=True)
class Law:
    """One law: its formula over x1..xD in prefix order with literals, and how its D columns are drawn."""

    id: str
    infix: str
    expr: list[str]
    columns: tuple[Column, ...]
    difficulty: str | None = None
    target: str = "y"
    excluded: str | bool = False

    def draw(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """X (n, D) and y (n,) float64; a point without a finite value is drawn again.

        DataError when that does not help: the law has hardly a finite value in its ranges.
        """
        from fansr.expressions import evaluate

        X = np.empty((n, len(self.columns)))
        y = np.full(n, np.nan)
        for _ in range(MAX_ROUNDS):
            bad = ~np.isfinite(y)
            if not bad.any():
                return X, y
            X[bad] = np.column_stack([column.draw(int(bad.sum()), rng) for column in self.columns])
            y[bad] = evaluate(self.expr, np.ascontiguousarray(X[bad]))
        if np.isfinite(y).all():
            return X, y
        raise DataError(
            f"law {self.id}: {int((~np.isfinite(y)).sum())} of {n} points had no finite value in "
            f"{MAX_ROUNDS} draws; narrow the ranges of its variables"
        )


@dataclass(frozen=True)
class Laws:
    """A file of laws."""

    name: str
    laws: tuple[Law, ...]


def is_stream(path: str) -> bool:
    """True when a file (or stdin) is a record stream rather than a file of laws, by its content."""
    if path == "-":
        return True
    with files.open_file(find(path), WANTED) as file:
        head = file.read(1 << 18)
    first = files.plain_head(head)
    return first[:1] > b"\x7f" and first[:1] < b"\x90"  # a msgpack map


def find(path: str) -> str:
    """`path` itself, or the shipped file of that name when there is none."""
    if not Path(path).exists() and Path(path).parent in (Path("data"), Path(".")):
        shipped = resources.path("data", Path(path).name)
        if shipped.is_file():
            return str(shipped)
    return path


def read(path: str, to_draw: bool = False) -> Laws:
    """The laws of a JSON or text file; DataError names the law or line that cannot be used.

    to_draw: points are wanted of them, so a law needs a variable, and numbers in place of every free constant.
    """
    laws = _read(path)
    for law in laws.laws if to_draw else ():
        if CONSTANT in law.expr:
            raise DataError(f"{path}: law {law.id}: {law.infix[:60]!r} has a free constant C, wanted a number there")
        if not law.columns:
            raise DataError(f"{path}: law {law.id}: {law.infix[:60]!r} names no variable, so there is nothing to draw")
    return laws


def _read(path: str) -> Laws:
    raw = files.read_file(find(path), WANTED, MAX_BYTES)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: neither a stream nor text, wanted JSON or one formula a line") from None
    if text.lstrip()[:1] in ("{", "["):
        return _from_json(text, path)
    laws = [law for i, line in enumerate(text.splitlines(), 1) if (law := _from_line(line, i, path)) is not None]
    if not laws:
        raise DataError(f"{path}: no laws in it, wanted one formula a line")
    return Laws(Path(path).stem, tuple(laws))


def _from_json(text: str, path: str) -> Laws:
    try:
        data = json.loads(text)
        json.dumps(data, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError(f"{path}: a text in it holds half a character (a lone surrogate such as \\ud800)") from None
    except ValueError as error:
        raise DataError(f"{path}: not JSON: {error}") from None
    except RecursionError:
        raise DataError(f"{path}: not JSON of laws: nested too deeply") from None
    entries = data.get("laws") if isinstance(data, dict) else data
    if not isinstance(entries, list) or not entries:
        raise DataError(f'{path}: no laws in it, wanted {{"laws": [{{"id", "infix", "variables"}}, ...]}}')
    name = str(data.get("name") or Path(path).stem) if isinstance(data, dict) else Path(path).stem
    return Laws(name, tuple(_from_entry(entry, i, path) for i, entry in enumerate(entries)))


def _from_entry(entry, i: int, path: str) -> Law:
    where = f"{path}: law {i + 1}"
    if not isinstance(entry, dict) or not isinstance(entry.get("infix"), str):
        raise DataError(f"{where}: wanted a map with id, infix and variables")
    where = f"{path}: law {entry.get('id', i + 1)}"
    specs = entry.get("variables")
    if not isinstance(specs, list) or not all(isinstance(s, dict) and isinstance(s.get("name"), str) for s in specs):
        raise DataError(f"{where}: variables must be a list of maps, each with a name")
    for key in ("id", "difficulty", "target", "excluded"):
        if not isinstance(entry.get(key), (str, int, float, bool, type(None))):
            raise DataError(f"{where}: {key} is {str(entry[key])[:40]}, wanted a text or a number")
    columns = tuple(
        _column(where, **{k: s[k] for k in ("name", "low", "high", "dist", "sign") if k in s}) for s in specs
    )
    return Law(
        str(entry.get("id", i + 1)),
        entry["infix"],
        _parse(entry["infix"], columns, where),
        columns,
        entry.get("difficulty"),
        str(entry.get("target") or "y"),
        entry.get("excluded") or False,
    )


def _from_line(line: str, number: int, path: str) -> Law | None:
    formula, _, ranges = line.partition("#")[0].partition(";")
    formula = formula.strip()
    if not formula:
        return None
    where = f"{path}: line {number}"
    if ranges.strip():
        columns = []
        for words in (part.split() for part in ranges.split(",")):
            if len(words) not in (3, 4, 5):
                raise DataError(
                    f"{where}: {' '.join(words)!r} is no range, wanted NAME LOW HIGH [log|uni|int] [pos|neg|pos_neg]"
                )
            columns.append(_column(where, **dict(zip(("name", "low", "high", "dist", "sign"), words))))
        named = {column.name for column in columns}
        columns += [Column(name) for name in _names(formula) if name not in named]
    else:
        columns = [Column(name) for name in _names(formula)]
    return Law(f"{Path(path).stem}:{number}", formula, _parse(formula, columns, where), tuple(columns))


def _names(formula: str) -> list[str]:
    """Variable names of a formula: every word that is no function, no pi and no e; x2 comes before x10."""
    words = re.findall(r"(?<![\w.])[A-Za-z_]\w*(?!\w*\s*\()", formula)
    found = {word for word in words if word not in ("pi", "e", "C")}
    return sorted(found, key=lambda word: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", word)])


def _column(where: str, name, low=1.0, high=5.0, dist="uni", sign="pos") -> Column:
    try:
        low, high = float(low), float(high)
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"{where}: range of {name} is {str(low)[:40]!r} to {str(high)[:40]!r}, wanted two numbers of float64"
        ) from None
    if not (max(abs(low), abs(high)) <= LARGEST_RANGE and low <= high):
        raise DataError(
            f"{where}: range of {name} is {low} to {high}, wanted low <= high, both within +-{LARGEST_RANGE:g}"
        )
    if dist not in DISTS or sign not in SIGNS:
        raise DataError(f"{where}: {name} is drawn {dist!r} {sign!r}, wanted one of {DISTS} and one of {SIGNS}")
    if dist == "log" and low <= 0:
        raise DataError(f"{where}: {name} is drawn log from {low}, wanted a positive lower end")
    return Column(name, low, high, dist, sign)


def _parse(formula: str, columns, where: str) -> list[str]:
    names = [column.name for column in columns]
    if "" in names or len(set(names)) < len(names):
        raise DataError(f"{where}: its variables are called {', '.join(map(repr, names))[:80]}, wanted a name for each")
    try:
        expr = from_infix(formula, names)
    except ValueError as error:
        raise DataError(f"{where}: {error}") from None
    except OverflowError:
        expr = ["inf"]
    if not {"inf", "-inf", "nan"}.isdisjoint(expr):
        raise DataError(f"{where}: {formula[:60]!r} holds a number beyond what float64 has")
    if len(expr) > MAX_TOKENS:
        raise DataError(f"{where}: a formula of {len(expr)} tokens, wanted at most {MAX_TOKENS}")
    return expr
