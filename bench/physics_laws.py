"""Twenty laws of physics with the units of their columns: how often they are found with the units told, and without.

    python -m bench.physics_laws --time 3 --noise 0.01

Each law is drawn as a table of rows with Gaussian noise, a share of the target's spread, and searched twice in turn in one process. A law
counts as found when it predicts rows without noise, drawn from half as wide again on both sides (on a logarithmic scale), to within
half the noise.  The laws are written from physics, their columns in units that people measure in.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import math
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import click
import numpy as np

from fansr.expressions import evaluate, to_infix
from fansr.fitting import Budget, Problem
from fansr.search import turns
from fansr.tables import unit_texts

ROWS, FRESH = 80, 500
WIDER = 1.5


class Law(NamedTuple):
    """A law over columns by name, each with its unit and the range it is drawn from, evenly in its logarithm."""

    name: str
    columns: Mapping[str, tuple[str, float, float]]
    target: str  # its unit
    law: Callable[..., np.ndarray]

    def units(self) -> str:
        return ", ".join([*(f"{name}={unit}" for name, (unit, _, _) in self.columns.items()), f"y={self.target}"])

    def draw(self, rng: np.random.Generator, rows: int, wider: float = 1.0) -> dict[str, np.ndarray]:
        found = {}
        for name, (_, low, high) in self.columns.items():
            middle, half = 0.5 * math.log(low * high), 0.5 * wider * math.log(high / low)
            found[name] = np.exp(rng.uniform(middle - half, middle + half, rows))
        return found


G = 9.80665
LAWS = [
    Law("Stokes settling", {"dens": ("kg/m**3", 50, 2000), "g": ("m/s**2", 1, 20), "r": ("m", 0.1, 1), "visc": ("Pa*s", 0.5, 5)}, "m/s", lambda dens, g, r, visc: 2 / 9 * dens * g * r**2 / visc),
    Law("head loss in a pipe", {"f": ("1", 0.01, 0.1), "L": ("m", 1, 50), "D": ("m", 0.1, 1), "v": ("m/s", 0.5, 5), "g": ("m/s**2", 3, 12)}, "m", lambda f, L, D, v, g: f * L / D * v**2 / (2 * g)),
    Law("flow out of a pressurised tank", {"p": ("Pa", 1e3, 2e4), "dens": ("kg/m**3", 600, 1500), "g": ("m/s**2", 3, 12), "h": ("m", 0.2, 4)}, "m/s", lambda p, dens, g, h: np.sqrt(2 * (p / dens + g * h))),
    Law("waves on water of some depth", {"g": ("m/s**2", 3, 12), "k": ("1/m", 0.3, 3), "h": ("m", 0.2, 2)}, "m/s", lambda g, k, h: np.sqrt(g / k * np.tanh(k * h))),
    Law("capillary waves", {"g": ("m/s**2", 3, 12), "k": ("1/m", 50, 800), "s": ("N/m", 0.02, 0.1), "dens": ("kg/m**3", 600, 1500)}, "1/s", lambda g, k, s, dens: np.sqrt(g * k + s * k**3 / dens)),
    Law("deflection of a cantilever", {"F": ("N", 10, 200), "L": ("m", 0.5, 3), "E": ("Pa", 5e9, 2e11), "Iz": ("m**4", 1e-8, 1e-6)}, "m", lambda F, L, E, Iz: F * L**3 / (3 * E * Iz)),
    Law("flow of a viscous liquid in a tube", {"dp": ("Pa", 10, 500), "r": ("m", 1e-3, 1e-2), "visc": ("Pa*s", 1e-3, 1e-1), "L": ("m", 0.1, 3)}, "m**3/s", lambda dp, r, visc, L: math.pi * dp * r**4 / (8 * visc * L)),
    Law("pressure in moving water", {"p": ("Pa", 1e3, 2e4), "dens": ("kg/m**3", 600, 1500), "v": ("m/s", 1, 6), "g": ("m/s**2", 3, 12), "h": ("m", 0.2, 3)}, "Pa", lambda p, dens, v, g, h: p + 0.5 * dens * v**2 + dens * g * h),
    Law("discharge of a capacitor", {"V": ("V", 1, 20), "t": ("s", 0.1, 3), "R": ("ohm", 0.5, 5), "C": ("F", 0.3, 3)}, "V", lambda V, t, R, C: V * np.exp(-t / (R * C))),
    Law("current in a coil that is switched on", {"V": ("V", 1, 20), "R": ("ohm", 0.5, 5), "t": ("s", 0.1, 3), "L": ("H", 0.5, 5)}, "A", lambda V, R, t, L: V / R * (1 - np.exp(-R * t / L))),
    Law("impedance of a coil", {"R": ("ohm", 0.5, 5), "w": ("1/s", 0.5, 5), "L": ("H", 0.3, 3)}, "ohm", lambda R, w, L: np.sqrt(R**2 + (w * L) ** 2)),
    Law("speed of a rocket", {"u": ("m/s", 500, 4000), "m0": ("kg", 100, 900), "m1": ("kg", 10, 90), "g": ("m/s**2", 1, 12), "t": ("s", 10, 100)}, "m/s", lambda u, m0, m1, g, t: u * np.log(m0 / m1) - g * t),
    Law("a clock that moves", {"t": ("s", 1, 10), "v": ("m/s", 0.3e8, 2e8), "c": ("m/s", 2.5e8, 4e8)}, "s", lambda t, v, c: t / np.sqrt(1 - (v / c) ** 2)),
    Law("air at some height", {"p": ("Pa", 5e4, 2e5), "m": ("kg/mol", 0.01, 0.06), "g": ("m/s**2", 3, 12), "h": ("m", 500, 6000), "RT": ("J/mol", 1500, 3500)}, "Pa", lambda p, m, g, h, RT: p * np.exp(-m * g * h / RT)),
    Law("radiation between two plates", {"s": ("W/m**2/K**4", 3e-8, 9e-8), "A": ("m**2", 0.5, 5), "T1": ("K", 500, 900), "T2": ("K", 200, 420)}, "W", lambda s, A, T1, T2: s * A * (T1**4 - T2**4)),
    Law("image of a lens", {"f": ("cm", 5, 20), "d": ("cm", 35, 120)}, "cm", lambda f, d: f * d / (d - f)),
    Law("terminal speed of a skydiver", {"m": ("kg", 40, 150), "g": ("m/s**2", 3, 12), "dens": ("kg/m**3", 0.3, 2), "A": ("m**2", 0.1, 1), "cd": ("1", 0.3, 1.5)}, "m/s", lambda m, g, dens, A, cd: np.sqrt(2 * m * g / (dens * A * cd))),
    Law("period of a spring with a heavy coil", {"m": ("kg", 0.1, 2), "mc": ("kg", 0.1, 2), "k": ("N/m", 5, 80)}, "s", lambda m, mc, k: 2 * math.pi * np.sqrt((m + mc / 3) / k)),
    Law("height reached against drag", {"v": ("m/s", 5, 60), "vt": ("m/s", 10, 60), "g": ("m/s**2", 3, 12)}, "m", lambda v, vt, g: vt**2 / (2 * g) * np.log(1 + (v / vt) ** 2)),
    Law("gas with molecules of some size", {"n": ("mol", 0.5, 4), "RT": ("J/mol", 1500, 3500), "V": ("m**3", 0.5, 3), "b": ("m**3/mol", 0.01, 0.08)}, "Pa", lambda n, RT, V, b: n * RT / (V - n * b)),
]  # fmt: skip


def table(law: Law, noise: float, seed: int, number: int) -> tuple[Problem, np.ndarray, np.ndarray]:
    """(problem, fresh X (FRESH, D), the law there)."""
    rng = np.random.default_rng([17, seed, number])
    drawn, fresh = law.draw(rng, ROWS), law.draw(rng, FRESH, WIDER)
    y = law.law(**drawn)
    y = y + noise * np.std(y) * rng.normal(size=ROWS)
    with np.errstate(all="ignore"):
        truth = law.law(**fresh)
    return (
        Problem(np.column_stack(list(drawn.values())), y, list(drawn), "y"),
        np.column_stack(list(fresh.values())),
        truth,
    )


def off(found, X: np.ndarray, truth: np.ndarray, spread: float) -> float:
    """Root mean square error on fresh rows where the law has a value, as a share of the table's spread times how much wider they are."""
    good = np.isfinite(truth)
    with np.errstate(all="ignore"):
        error = evaluate(found.best.expr, X, found.best.consts)[good] - truth[good]
    error = np.median(np.abs(error)) / max(
        spread, 1e-300
    )  # of the middle row: the corners of so wide a box rule a mean
    return float(error) if math.isfinite(error) else math.inf


@click.command()
@click.option("--time", "seconds", default=3.0, show_default=True, help="Seconds of search.")
@click.option("--noise", default=0.01, show_default=True, help="Share of the target's spread.")
@click.option("--seed", default=0, show_default=True)
@click.option("--laws", default="", help="Numbers such as 0:10.  [default: all]")
@click.option("-v", "--verbose", is_flag=True, help="Print every law.")
def main(seconds, noise, seed, laws, verbose):
    """Print how many laws are found with units and without."""
    first, _, last = laws.partition(":")
    chosen = list(enumerate(LAWS))[int(first or 0) : int(last or len(LAWS))]
    right, spent = {True: 0, False: 0}, {True: 0.0, False: 0.0}
    for number, law in chosen:
        problem, X, truth = table(law, noise, seed, number)
        words = []
        for on in (True, False):
            problem.units = unit_texts.of_problem(problem, law.units()) if on else None
            begun = time.process_time()
            found = turns.search(problem, turns.Options(quiet=True, physics=False), Budget(seconds))
            spent[on] += time.process_time() - begun
            error = off(found, X, truth, float(np.std(problem.y)))
            fine = error <= 0.5 * max(noise, 1e-6)
            right[on] += fine
            shown = to_infix(found.best.expr, found.best.consts, problem.names, digits=4)
            words.append(f"{'right' if fine else 'wrong'} {error:.1e}  {shown}")
        if verbose:
            click.echo(f"  {law.name}\n     with     {words[0]}\n     without  {words[1]}")
    n = len(chosen)
    click.echo(f"  of {n} laws, {noise:g} noise, {seconds:g} s: {right[True]} with units, {right[False]} without")
    click.echo(f"  processor seconds a law: {spent[True] / n:.2f} with, {spent[False] / n:.2f} without")


if __name__ == "__main__":
    main()
