"""Units of columns as text: --units 'x=m, t=s', names such as T [K] or p (kPa), a row of units; read with pint, which nothing else
needs and which is loaded only here.

    units = of_problem(problem, "x=m, t=s, y=m/s**2")
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from fansr.errors import DataError
from fansr.expressions import dimensions
from fansr.fitting import Problem

WORDS = (
    "table",
    "check",
    "pure",
)  # besides name=unit: units of the table alone; only judge; constants are pure numbers
_NAMED = re.compile(r"^(.*?\S)\s*(?:\[([^\[\]]*)\]|\(([^()]*(?:\([^()]*\)[^()]*)*)\)|\s/\s*([^\s/()\[\]]+))\s*$")
_NONE = {"", "1", "-", "--", "none", "dimensionless", "number", "unitless"}
_SIGNS = {"°C": "degC", "°F": "degF", "℃": "degC", "°": "degree", "%": "percent", "‰": "permille", "µ": "micro", "Å": "angstrom",
          "·": "*", "⋅": "*", "×": "*", "²": "**2", "³": "**3", "⁻¹": "**-1", "⁻²": "**-2", "^": "**"}  # fmt: skip
_BASES = {"[length]": "m", "[mass]": "kg", "[time]": "s", "[current]": "A", "[temperature]": "K", "[substance]": "mol",
          "[luminosity]": "cd"}  # fmt: skip


def parse(text: str | Mapping[str, Any]) -> tuple[dict[str, str], set[str]]:
    """({name: unit}, words) of what a user writes; ValueError where a part is neither."""
    if isinstance(text, Mapping):
        return {str(name): str(unit) for name, unit in text.items()}, set()
    named, words = {}, set()
    for part in filter(None, (part.strip() for part in re.split(r"[,;]", text))):
        name, equals, unit = part.rpartition("=")
        if equals and name.strip():
            named[name.strip()] = unit.strip()
        elif part.lower() in WORDS:
            words.add(part.lower())
        else:
            near = difflib.get_close_matches(part.lower(), WORDS, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"units {part!r}: wanted name=unit, or one of {', '.join(WORDS)}{meant}")
    if not named and not words:
        raise ValueError("units: nothing was given, wanted 'x=m, t=s' or table")
    return named, words


def of_name(name: str) -> str | None:
    """The unit that a column's name ends in, T [K] or p (kPa); None where it has none."""
    match = _NAMED.match(name)
    return None if match is None else next(part for part in match.groups()[1:] if part is not None).strip()


def of_problem(problem: Problem, wanted: str | Mapping[str, Any], words: Collection[str] = ()) -> dimensions.Units:
    """The units of a problem's columns and target.

    wanted, words: as parse() has them; what it does not name has the unit of its name or of the table's row of units, else none (a pure
    number).  ValueError for an unknown column or unit, with the nearest known ones, and where constants may have no unit and no
    product of powers of the columns has the target's.
    """
    named, more = parse(wanted)
    words = {*words, *more}
    names = [*problem.names, problem.target]
    texts = dict.fromkeys(names, "")
    readings = problem.extra.get("conversions", {})
    for name in names:
        inner = of_name(name)
        if inner is not None and _known(inner):
            texts[name] = inner
        elif readings.get(name, {}).get("unit"):
            texts[name] = readings[name]["unit"]
    short = {name: name for name in names} | {_NAMED.sub(r"\1", name): name for name in names}
    for name, unit in named.items():
        if name not in short:
            near = difflib.get_close_matches(name, list(short), 1)
            meant = f"; did you mean {near[0]}?" if near else ";"
            raise ValueError(f"units: no column is named {name!r}{meant} there are {', '.join(names[:12])}")
        texts[short[name]] = unit
    rows = {name: _row(name, text) for name, text in texts.items()}
    bases = sorted({base for row, _ in rows.values() for base in row})
    table = np.array([[float(row.get(base, 0)) for base in bases] + [size] for row, size in rows.values()])
    units = dimensions.Units(
        columns=table[:-1],
        target=table[-1],
        texts=tuple(_shown(texts[name]) for name in problem.names),
        target_text=_shown(texts[problem.target]),
        bases=tuple(_BASES.get(base, base.strip("[]")) for base in bases),
        pure="pure" in words,
        only_judged="check" in words,
    )
    if units.pure and not reachable(units):
        have = ", ".join(f"{name} [{text or '1'}]" for name, text in zip(problem.names, units.texts))
        raise ValueError(
            f"units: no product of powers of {have} has the unit {units.target_text or '1'} of {problem.target}, and constants are pure "
            "numbers; leave pure out, or give the column that is missing"
        )
    return units


def reachable(units: dimensions.Units) -> bool:
    """Whether powers of the columns make the target's unit, but for its size."""
    A = units.columns[:, :-1].T
    if not A.size:
        return not np.abs(units.target[:-1]).any()
    found = np.linalg.lstsq(A, units.target[:-1], rcond=None)[0]
    return bool((np.abs(A @ found - units.target[:-1]) < 1e-6).all())


def has_offset(text: str) -> bool:
    """Whether a unit's zero is not the quantity's: degrees Celsius and Fahrenheit."""
    return any(sign in text for sign in ("degC", "degF", "°C", "°F", "℃", "celsius", "fahrenheit"))


def _shown(text: str) -> str:
    return "" if text.strip().lower() in _NONE else text.strip()


def _registry() -> Any:
    if not _held:
        try:
            import pint
        except ImportError:
            raise DataError("units need pint: pip install 'fansr[units]'") from None
        _held.append(pint.UnitRegistry(cache_folder=None))
    return _held[0]


_held: list[Any] = []  # pint's registry, made once


def _unit(text: str) -> Any:
    """pint's unit of a text, also as m s-1 and m2 are written in tables; its own errors."""
    plain = text
    for sign, word in _SIGNS.items():
        plain = plain.replace(sign, word)
    registry = _registry()
    try:
        return registry.Unit(plain)
    except Exception:
        spelt = re.sub(r"(?<=[A-Za-z])(-?\d+)(?![A-Za-z.\d])", r"**\1", plain)
        spelt = re.sub(r"(?<=[\w)])\s+(?=[A-Za-z(])", "*", spelt)
        if spelt == plain:
            raise
        return registry.Unit(spelt)


def _known(text: str) -> bool:
    """Whether what stands in brackets after a name is a unit."""
    try:
        _row("", text)
    except ValueError:
        return False
    return True


def _row(name: str, text: str) -> tuple[dict[str, float], float]:
    """(exponents by base dimension, log10 of its size in base units) of a unit; ValueError names the nearest units."""
    if text.strip().lower() in _NONE:
        return {}, 0.0
    registry, unit = _registry(), None
    try:
        unit = _unit(text)
        zero, one, two = (float(registry.Quantity(float(v), unit).to_base_units().magnitude) for v in (0, 1, 2))
        if abs((two - one) - (one - zero)) > 1e-6 * (one - zero):
            raise ValueError("a logarithmic unit")
        size = math.log10(one - zero)
    except Exception:
        if unit is not None:
            raise ValueError(f"units: {name}={text}: is logarithmic; give the column in a plain unit") from None
        words = [word for word in re.findall(r"[^\W\d]+", text) if word not in registry]
        near = difflib.get_close_matches(
            words[0] if words else text, [u for u in registry._units if len(u) > 1], 3, 0.6
        )
        meant = f"; did you mean {' or '.join(near)}?" if near else "; wanted one such as m/s**2, kPa, degC or 1"
        raise ValueError(f"units: {name}={text}: the unit {words[0] if words else text!r} is unknown{meant}") from None
    return {base: float(p) for base, p in unit.dimensionality.items()}, size
