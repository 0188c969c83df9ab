"""Laws whose units go together: what turns.py asks of a candidate, what constants with units cost, and what is told in the end."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from fansr.expressions import dimensions
from fansr.fitting import Candidate, Problem
from fansr.search.description_length import TOKEN_NATS

CONSTANT_NATS = 2.0  # of a constant that has a unit, besides its digits: a law of the columns alone needs none
ODD_NATS = 4.0  # of one whose unit has powers that no halves or thirds write: m**-1.98
FACTOR_NATS = 3.0  # of one that only makes units go together, besides its tokens


def admitted(candidate: Candidate, units: dimensions.Units) -> Candidate | None:
    """The candidate, with factors of 1 that have a unit where its own units do not go together; None where constants may have
    none and it needs some."""
    if dimensions.constants_units(candidate.expr, candidate.consts, units) is not None:
        return candidate
    if units.pure:
        return None
    expr, consts = dimensions.with_factors(candidate.expr, candidate.consts, units)
    return replace(candidate, expr=expr, consts=np.array(consts, dtype=np.float64))


def nats(candidate: Candidate, units: dimensions.Units) -> float:
    """What the units of a law's constants cost under `mdl`."""
    found = dimensions.constants_units(candidate.expr, candidate.consts, units)
    if found is None:
        return math.inf
    total = 0.0
    for unit, value in zip(found, candidate.consts):
        powers = unit[:-1]
        if not (np.abs(powers) > dimensions.NEAR).any():
            total += FACTOR_NATS if value == 1.0 and abs(unit[-1]) > dimensions.NEAR else 0.0
            continue
        odd = any(abs(p - float(Fraction(float(p)).limit_denominator(6))) > 1e-6 for p in powers)
        total += CONSTANT_NATS + ODD_NATS * odd + (FACTOR_NATS + TOKEN_NATS) * (value == 1.0)
    return total


# ---- what is told -----------------------------------------------------------------------------


def told(candidate: Candidate, problem: Problem) -> dict | None:
    """The units as --json holds them; None where a table has none."""
    units = problem.units
    if units is None:
        return None
    found = dimensions.constants_units(candidate.expr, candidate.consts, units)
    return {
        "columns": dict(zip(problem.names, units.texts)),
        "target": units.target_text,
        "constants": [None] * len(candidate.consts) if found is None else [spelled(u, units) for u in found],
        "homogeneous": found is not None,
        "factors": 0 if found is None else len(_factors(candidate, found)),
    }


def _factors(candidate: Candidate, found: np.ndarray) -> list[int]:
    """Constants that only make units go together: of value 1, with a unit."""
    return [k for k, unit in enumerate(found) if candidate.consts[k] == 1.0 and (np.abs(unit) > dimensions.NEAR).any()]


def remarks(candidate: Candidate, problem: Problem) -> list[dict[str, str]]:
    """What a user should look at: {"code", "text"} each."""
    units = problem.units
    if units is None:
        return []
    found = dimensions.constants_units(candidate.expr, candidate.consts, units)
    texts = []
    if found is None:
        texts.append(
            "the law's units do not go together: it adds, compares or takes functions of what has different units"
            + ("" if units.only_judged else "; nothing that is right fits as well")
        )
    else:
        made = _factors(candidate, found)
        if made:
            listed = ", ".join(f"c{k + 1} = 1 {spelled(found[k], units) or '(a change of units)'}" for k in made)
            texts.append(
                f"the units go together with {listed} alone, and nothing without fits as well: doubt the law or its columns"
            )
    offset = [
        name for name, text in zip((*problem.names, problem.target), (*units.texts, units.target_text)) if _offset(text)
    ]
    if offset:
        texts.append(
            f"{', '.join(offset)}: a temperature whose zero is not the absolute one; powers and quotients want kelvin"
        )
    bare = [name for name, text in zip((*problem.names, problem.target), (*units.texts, units.target_text)) if not text]
    if bare and len(bare) < len(problem.names) + 1:
        texts.append(
            f"{', '.join(bare)} {'has' if len(bare) == 1 else 'have'} no unit and {'is' if len(bare) == 1 else 'are'} taken for pure numbers"
        )
    return [{"code": "units", "text": text} for text in texts]


def _offset(text: str) -> bool:
    return any(sign in text for sign in ("degC", "degF", "°C", "°F", "℃", "celsius", "fahrenheit"))


def spelled(unit: np.ndarray, units: dimensions.Units) -> str:
    """A constant's unit in those of the table, "m/s**2"; "" for a pure number."""
    if (np.abs(unit) < 1e-6).all():
        return ""
    given: dict[str, np.ndarray] = {}
    for text, row in zip((units.target_text, *units.texts), (units.target, *units.columns)):
        if text and (np.abs(row) > 1e-9).any():
            given.setdefault(text, row)
    best: tuple[float, str] | None = None
    for count in (1, 2, 3):
        for some in itertools.combinations(given, count):
            A = np.array([given[text] for text in some]).T
            powers, *_ = np.linalg.lstsq(A, unit, rcond=None)
            plain = np.array([float(Fraction(float(p)).limit_denominator(6)) for p in powers])
            plain = np.where(np.abs(plain - powers) < 1e-6, plain, powers)
            if (np.abs(A @ plain - unit) > 1e-6).any() or (np.abs(plain) < 1e-9).any():
                continue
            cost = float(np.abs(plain).sum()) + float(np.sum(np.abs(plain - np.round(plain)) > 1e-6)) + 0.1 * count
            if best is None or cost < best[0] - 1e-9:
                best = cost, _product(some, plain)
    if abs(unit[-1]) < 1e-9:
        plain = _product(units.bases, unit[:-1])
        return best[1] if best is not None and len(best[1]) < len(plain) else plain
    if best is not None:
        return best[1]
    return f"{10 ** unit[-1]:.6g} {_product(units.bases, unit[:-1])}".strip()


def _product(texts: Sequence[str], powers: Sequence[float]) -> str:
    def one(text: str, p: float) -> str:
        q = Fraction(float(p)).limit_denominator(12)
        shown = f"{q}" if abs(float(q) - p) < 1e-6 else f"{p:.4g}"
        inner = f"({text})" if re.search(r"[^\w°%]", text) else text
        return text if shown == "1" else f"{inner}**{shown if '/' not in shown else f'({shown})'}"

    above = [one(text, p) for text, p in zip(texts, powers) if p > 1e-9]
    below = [one(text, -p) for text, p in zip(texts, powers) if p < -1e-9]
    under = "/".join(
        f"({text})" if re.search(r"[*/ ]", re.sub(r"\*\*-?\d+$", "", text)) and not text.startswith("(") else text
        for text in below
    )
    return "*".join(above) + (f"/{under}" if above and below else f"1/{under}" if below else "")
