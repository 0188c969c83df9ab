"""Cases of bench.controls: one law with constants by group, some of them common to all groups."""

from __future__ import annotations

import re

import numpy as np

from bench.controls import Case

REGIONS = ("north", "south", "east", "west", "middle", "coast")


def _common(*wanted: float, within: float = 0.02):
    """A check that a law has these constants once each, common to all groups, and that the groups have columns of their own."""

    def check(law: dict) -> str | None:
        text = law["expression"]
        if not re.search(r"(site|region|run|batch)_\w+", text):
            return "it looks at no group"
        for value in wanted:
            near = [c for c in law["constants"] if abs(abs(c) - value) <= within * value]
            if len(near) != 1:
                return f"{value:g} stands {len(near)} times among its constants"
        return None

    return check


def _law(number, name, groups, truth, columns, options=("--group", "region"), each=16, noise=0.0, within=1e-3, label="region", also=None,
         values=None) -> Case:  # fmt: skip
    """A case of so many groups: truth(g, **columns) over columns {name: (low, high)}, g the group's number (M,)."""
    rng = np.random.default_rng([10, number])
    names = values or REGIONS[:groups]

    def rows(M):
        g = rng.permutation(np.arange(M) % groups)
        drawn = {c: rng.uniform(low, high, M) for c, (low, high) in columns.items()}
        return g, {label: [names[k] for k in g], **drawn}, truth(g, **drawn)

    g, table, y = rows(groups * each)
    y = y + noise * np.std(y) * rng.normal(size=len(y))
    _, new, wanted = rows(120)
    return Case(name, {**table, "y": y}, tuple(options), new, wanted, within, also or (lambda law: None))


def _of(*values):
    """Values by the group's number."""
    return lambda g: np.array(values)[g]


A5, B5 = _of(2.0, 3.5, 5.0, 1.2, 7.7), _of(0.4, -1.0, 2.2, 3.1, 0.0)
CASES = [
    _law(1, "amplitudes, one decay", 5, lambda g, x: A5(g) * np.exp(-0.3 * x), {"x": (0, 8)}, also=_common(0.3)),
    _law(2, "amplitudes, one decay, noise", 5, lambda g, x: A5(g) * np.exp(-0.3 * x), {"x": (0, 8)}, noise=0.02, within=0.02, each=25,
         also=_common(0.3, within=0.06)),
    _law(3, "offsets, one slope", 5, lambda g, x: 1.7 * x + A5(g), {"x": (0, 10)}, also=_common(1.7)),
    _law(4, "slopes, one offset", 6, lambda g, x: _of(1.1, 2.3, 0.4, 3.2, 1.8, 2.9)(g) * x + 4.5, {"x": (0, 10)}, also=_common(4.5)),
    _law(5, "saturation with one half point", 5, lambda g, x: 10 * A5(g) * x / (x + 2.5), {"x": (0.2, 12)}, noise=0.005, within=0.01,
         each=25, also=_common(2.5, within=0.06)),
    _law(6, "phases, one frequency", 5, lambda g, t: 3 * np.sin(1.3 * t + B5(g)), {"t": (0, 10)}, each=30),
    _law(7, "all constants by group", 5, lambda g, x: A5(g) * x**2 + B5(g), {"x": (0.5, 4)}),
    _law(8, "two columns, one exponent", 5, lambda g, m, v: A5(g) * m * v**1.6, {"m": (1, 4), "v": (1, 5)}, each=25, also=_common(1.6)),
    _law(9, "groups that are numbers", 5, lambda g, x: A5(g) / x + 0.8, {"x": (0.5, 6)}, ("--group", "run"), label="run",
         values=(11, 12, 13, 21, 22), also=_common(0.8)),
    _law(10, "words as groups", 5, lambda g, x: A5(g) * np.exp(-0.3 * x), {"x": (0, 8)}, ("--categories", "group"), also=_common(0.3)),
]  # fmt: skip
