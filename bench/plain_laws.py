"""Forty plain laws of textbooks, as tables: the floor that a first answer must reach whatever the clock says.

Name, formula and ranges of each, written down from general knowledge of physics, chemistry, biology, finance and geometry
before any was tried.  Constants are those of the formula; ranges are such that a laboratory or a class would use.  `table` draws
one: values uniform within the ranges, printed to six significant digits, the target to ten.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import numpy as np

from fansr.expressions import evaluate, from_infix


class PlainLaw(NamedTuple):
    """target = formula over columns with their (low, high), `rows` of them."""

    name: str
    target: str
    formula: str
    ranges: dict[str, tuple[float, float]]
    rows: int = 40


LAWS = [
    PlainLaw("Celsius to Fahrenheit", "fahrenheit", "1.8*celsius + 32", {"celsius": (-40, 100)}, 12),
    PlainLaw("circle's area", "area", "pi*radius**2", {"radius": (0.5, 12)}, 15),
    PlainLaw("Hooke's spring", "force", "k*stretch", {"k": (10, 90), "stretch": (0.01, 0.4)}, 20),
    PlainLaw("free fall", "height", "120 + 4*t - 4.905*t**2", {"t": (0, 4.5)}, 15),
    PlainLaw("uniform acceleration", "s", "v0*t + a*t**2/2", {"v0": (0, 20), "t": (0, 10), "a": (-3, 3)}),
    PlainLaw("kinetic energy", "energy", "m*v**2/2", {"m": (1, 80), "v": (0.5, 30)}),
    PlainLaw("gravity", "force", "6.674*m1*m2/r**2", {"m1": (1, 50), "m2": (1, 50), "r": (0.5, 20)}),
    PlainLaw("Kepler's third law", "period", "365.25*axis**1.5", {"axis": (0.3, 40)}, 10),
    PlainLaw("pendulum", "period", "2*pi*sqrt(length/g)", {"length": (0.1, 3), "g": (1.6, 25)}),
    PlainLaw("ideal gas", "pressure", "8.314*n*T/V", {"n": (0.5, 5), "T": (250, 400), "V": (0.01, 0.5)}),
    PlainLaw("parallel resistors", "R", "1/(1/R1 + 1/R2)", {"R1": (10, 500), "R2": (10, 500)}),
    PlainLaw("thin lens", "image", "f*u/(u - f)", {"f": (0.05, 0.3), "u": (0.4, 3)}),
    PlainLaw("hypotenuse", "c", "sqrt(a**2 + b**2)", {"a": (1, 20), "b": (1, 20)}),
    PlainLaw("distance of two points", "d", "sqrt((x2 - x1)**2 + (y2 - y1)**2)",
             {"x1": (-5, 5), "x2": (-5, 5), "y1": (-5, 5), "y2": (-5, 5)}, 60),
    PlainLaw("radioactive decay", "activity", "850*exp(-0.231*t)", {"t": (0, 15)}, 20),
    PlainLaw("charging capacitor", "volts", "9*(1 - exp(-t/2.2))", {"t": (0, 12)}, 25),
    PlainLaw("discharge of any capacitor", "volts", "V0*exp(-t/(R*C))",
             {"V0": (1, 24), "t": (0, 5), "R": (1, 10), "C": (0.2, 2)}, 60),
    PlainLaw("Newton's cooling", "temperature", "21 + 64*exp(-0.07*minutes)", {"minutes": (0, 60)}, 25),
    PlainLaw("Arrhenius", "rate", "2500000*exp(-6300/T)", {"T": (280, 420)}, 20),
    PlainLaw("Michaelis and Menten", "rate", "4.2*S/(1.7 + S)", {"S": (0.05, 20)}, 20),
    PlainLaw("logistic growth", "population", "900/(1 + 17*exp(-0.45*week))", {"week": (0, 20)}, 25),
    PlainLaw("compound interest", "balance", "principal*(1 + rate)**years",
             {"principal": (100, 5000), "rate": (0.01, 0.12), "years": (1, 30)}, 50),
    PlainLaw("doubling", "cells", "50*2**(hours/3)", {"hours": (0, 24)}, 15),
    PlainLaw("refraction of a small prism", "deviation", "(n - 1)*A", {"n": (1.3, 1.9), "A": (2, 12)}),
    PlainLaw("Snell's law", "beta", "asin(sin(alpha)/n)", {"alpha": (0.1, 1.4), "n": (1.2, 2.4)}),
    PlainLaw("projectile's range", "range", "v**2*sin(2*angle)/9.81", {"v": (5, 40), "angle": (0.1, 1.4)}),
    PlainLaw("oscillation", "x", "0.35*cos(4.2*t + 0.6)", {"t": (0, 6)}, 50),
    PlainLaw("damped oscillation", "x", "2.5*exp(-0.3*t)*cos(5*t)", {"t": (0, 8)}, 80),
    PlainLaw("Lorentz factor", "gamma", "1/sqrt(1 - beta**2)", {"beta": (0.05, 0.98)}, 30),
    PlainLaw("Doppler effect", "heard", "f*(343 + listener)/(343 - source)",
             {"f": (100, 2000), "listener": (0, 40), "source": (0, 40)}, 50),
    PlainLaw("photoelectric effect", "energy", "4.136*frequency - 2.28", {"frequency": (0.6, 3)}, 12),
    PlainLaw("Stefan and Boltzmann", "power", "5.67*area*(T**4 - Ts**4)",
             {"area": (0.1, 2), "T": (4, 9), "Ts": (1, 3.5)}, 50),
    PlainLaw("Bernoulli", "total", "p + rho*v**2/2 + 9.81*rho*h",
             {"p": (1000, 9000), "rho": (1, 13), "v": (1, 12), "h": (0, 15)}, 60),
    PlainLaw("law of cosines", "c", "sqrt(a**2 + b**2 - 2*a*b*cos(g))", {"a": (1, 9), "b": (1, 9), "g": (0.2, 2.9)}, 60),
    PlainLaw("decibels", "level", "10*log(intensity)/log(10) + 120", {"intensity": (1e-4, 10)}, 25),
    PlainLaw("normal density", "density", "exp(-(x - 1.5)**2/(2*0.8**2))/(0.8*sqrt(2*pi))", {"x": (-2, 5)}, 40),
    PlainLaw("barometric height", "pressure", "1013.25*exp(-h/8.4)", {"h": (0, 11)}, 20),
    PlainLaw("body mass index", "index", "mass/height**2", {"mass": (45, 120), "height": (1.5, 2)}, 30),
    PlainLaw("economic order cost", "cost", "demand*12/order + order*0.4",
             {"demand": (100, 900), "order": (10, 200)}, 40),
    PlainLaw("rocket", "speed", "ve*log(m0/m1)", {"ve": (2, 4.5), "m0": (100, 900), "m1": (10, 90)}, 50),
]  # fmt: skip


def table(law: PlainLaw, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """X (M, D) and y (M,) of one law as a person would type them: six digits a column, ten the target."""
    rng = np.random.default_rng([seed, zlib.crc32(law.name.encode())])
    X = np.column_stack([rng.uniform(low, high, law.rows) for low, high in law.ranges.values()])
    X = np.array([[float(f"{v:.6g}") for v in row] for row in X])
    y = evaluate(from_infix(law.formula, list(law.ranges)), X)
    return X, np.array([float(f"{v:.10g}") for v in y])


def main():
    """Print the laws; first_answers.py runs them."""
    for law in LAWS:
        columns = ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in law.ranges.items())
        print(f"{law.name}: {law.target} = {law.formula}; {columns}; {law.rows} rows")


if __name__ == "__main__":
    main()
