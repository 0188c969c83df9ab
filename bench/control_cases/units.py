"""Cases of bench.controls: ten of the laws of bench.physics_laws, through the command with --units, at 1 % noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.controls import Case
from bench.physics_laws import FRESH, LAWS, ROWS

NOISE, WITHIN = 0.01, 0.01
NUMBERS = (0, 2, 5, 7, 8, 10, 12, 13, 16, 18)


def _homogeneous(law: dict) -> str | None:
    told = law["units"]
    return None if told and told["homogeneous"] and not told["factors"] else f"its units do not go together: {told}"


def _case(number: int, how: Callable[[str], tuple[str, ...]] = lambda units: ("--units", units)) -> Case:
    law = LAWS[number]
    rng = np.random.default_rng([23, number])
    drawn, new = law.draw(rng, ROWS), law.draw(rng, FRESH)
    y = law.law(**drawn)
    table = {**drawn, "y": y + NOISE * np.std(y) * rng.normal(size=ROWS)}
    return Case(law.name, table, how(law.units()), new, law.law(**new), WITHIN, _homogeneous)


CASES = [_case(number) for number in NUMBERS]
