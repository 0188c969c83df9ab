"""Cases of bench.controls: operators, size, nesting, bounds, and functions of one's own."""

from __future__ import annotations

import math
import re

import numpy as np

from bench.controls import Case


def _law(
    number, name, truth, options, columns=("x",), rows=60, within=1e-4, noise=0.0, low=0.2, high=5.0, also=None
) -> Case:
    rng = np.random.default_rng([8, number])
    draw = {c: rng.uniform(low, high, rows) for c in columns}
    new = {c: rng.uniform(low, high, 200) for c in columns}
    y = truth(*draw.values())
    y = y + noise * np.std(y) * rng.normal(size=rows)
    return Case(name, {**draw, "y": y}, tuple(options), new, truth(*new.values()), within, also or (lambda law: None))


def _words(*forbidden):
    """A check that a printed law has none of these texts."""

    def check(law: dict) -> str | None:
        found = [word for word in forbidden if word in law["expression"]]
        return f"it holds {', '.join(found)}" if found else None

    return check


def _holds(word):
    return lambda law: None if word in law["expression"] else f"it lacks {word}"


def _numbers(low, high):
    """A check that every constant lies within bounds."""

    def check(law: dict) -> str | None:
        off = [c for c in law["constants"] if not low <= c <= high]
        return f"constants {off} outside [{low:g}, {high:g}]" if off else None

    return check


def _only(names):
    """A check that every function of the printed law is among these."""

    def check(law: dict) -> str | None:
        found = set(re.findall(r"([a-z]\w*)\(", law["expression"])) - set(names)
        return f"it calls {', '.join(sorted(found))}" if found else None

    return check


CASES = [
    _law(1, "products and sums only", lambda x, z: x * x * z - 3 * z + 1, ("--operators", "+,-,*"), ("x", "z"), also=_words("/", "**", "(")),
    _law(2, "without waves", lambda x: 4 * x**2 / (x**2 + 3), ("--without", "sin,cos,tan"), noise=0.005, within=0.02, also=_words("sin", "cos", "tan")),
    _law(3, "own bell", lambda x: 5 * np.exp(-(((x - 2.5) / 0.7) ** 2)) + 1, ("--define", "bell(x) = exp(-x**2)"), rows=80, also=_holds("bell")),
    _law(4, "own function of two", lambda x, k: 6 * x / (x + k) + 2, ("--define", "hill(x, k) = x/(x + k)"), ("x", "k"), also=_holds("hill")),
    _law(5, "at most two constants", lambda x: 2.5 * np.exp(-0.7 * x), ("--max-constants", "2"), noise=0.01, within=0.03,
         also=lambda law: None if len(law["constants"]) <= 2 else "too many constants"),
    _law(6, "at most nine tokens", lambda x, z: 3 * x * z + 2, ("--max-length", "9"), ("x", "z"), noise=0.02, within=0.03,
         also=lambda law: None if law["length"] <= 9 else "too long"),
    _law(7, "constants of a range", lambda x: 2 * x + 7, ("--bounds", "c in [0,10]"), noise=0.01, within=0.03, also=_numbers(0, 10)),
    _law(8, "a jump asked for", lambda x: 3 * np.floor(x) + 1, ("--operators", "+,-,*,floor"), rows=120, also=_only(["floor"])),
    _law(9, "growth that levels off", lambda x: 9 / (1 + np.exp(-2 * (x - 2))), ("--operators", "+,-,*,/,logistic"), also=_only(["logistic"])),
    _law(10, "no sine inside a sine", lambda x: np.sin(3 * x) + 0.5 * np.sin(math.e * x), ("--nest", "sin:0"), rows=150, within=1e-3,
         also=lambda law: None if not re.search(r"sin\([^()]*sin", law["expression"]) else "a sine inside a sine"),
]  # fmt: skip
