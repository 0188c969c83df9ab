"""Cases of bench.controls: forms with one and two functions to be found, laws to start from, and shapes."""

from __future__ import annotations

import numpy as np

from bench.controls import Case


def _law(number, name, columns, truth, options, rows=120, within=1e-3, noise=0.0, also=None) -> Case:
    """A case whose columns are drawn within {name: (low, high)}."""
    rng = np.random.default_rng([9, number])
    table = {c: rng.uniform(low, high, rows) for c, (low, high) in columns.items()}
    new = {c: rng.uniform(low, high, 200) for c, (low, high) in columns.items()}
    y = truth(**table)
    y = y + noise * np.std(y) * rng.normal(size=rows)
    return Case(name, {**table, "y": y}, tuple(options), new, truth(**new), within, also or (lambda law: None))


def _evaluated(law: dict, **columns) -> np.ndarray:
    """The printed law's numpy source at columns, by eval alone."""
    return eval(law["numpy"], {"__builtins__": {}}, {"np": np, **columns}) + 0.0 * next(iter(columns.values()))  # noqa: S307


def _apart(law: dict) -> str | None:
    """A check that a law of t and x is a sum of one of t and one of x: its mixed differences vanish."""
    t, x = np.meshgrid(np.linspace(0.3, 4, 9), np.linspace(0.6, 3, 9))
    v = _evaluated(law, t=t, x=x)
    mixed = v - v[:1] - v[:, :1] + v[:1, :1]
    return None if np.abs(mixed).max() <= 1e-9 * np.abs(v).max() else "it is no sum of a law of t and one of x"


def _passes(x, y):
    """A check that a law of x goes through a point."""

    def check(law: dict) -> str | None:
        value = _evaluated(law, x=np.array([float(x)]))[0]
        return None if abs(value - y) < 1e-8 else f"it is {value:g} at {x:g}"

    return check


def _rising(law: dict) -> str | None:
    v = _evaluated(law, x=np.linspace(0.0, 8.0, 4001))
    return None if (np.diff(v) >= -1e-12 * np.abs(v).max()).all() else "it falls somewhere"


CASES = [
    _law(1, "decay and one function", {"t": (0, 5), "x": (0.5, 4)}, lambda t, x: 3 * np.exp(-0.7 * t) + x**2 / (1 + x),
         ("--form", "A*exp(-k*t) + f(x)"), also=_apart),
    _law(2, "an amplitude of one column", {"t": (0, 6), "x": (0.5, 4)}, lambda t, x: (1 + 2 * np.sqrt(x)) * np.sin(1.7 * t + 0.4),
         ("--form", "f(x)*sin(w*t + p)")),
    _law(3, "undone exactly", {"x": (0.3, 3), "z": (0.3, 3)}, lambda x, z: np.exp(x * z / (x + z)) + 2,
         ("--form", "exp(f(x, z)) + 2")),
    _law(4, "two functions of one column each", {"t": (0.3, 4), "x": (0.5, 3)}, lambda t, x: 4 * np.exp(-0.5 * x**2) + 3 * np.log(1 + t),
         ("--form", "f(x) + g(t)"), also=_apart),
    _law(5, "two functions, a product, noise", {"t": (0, 4), "x": (0.5, 3)}, lambda t, x: (2 + x**2) * np.exp(-0.4 * t),
         ("--form", "f(x)*g(t)"), noise=0.02, within=0.03, rows=200),
    _law(6, "one function at two places", {"x": (0.5, 4), "z": (0.5, 4)}, lambda x, z: 5 * (np.sqrt(x) - np.sqrt(z)),
         ("--form", "f(x) - f(z)")),
    _law(7, "a function of few tokens", {"t": (0, 5), "x": (0.5, 4)}, lambda t, x: 2 * np.exp(-0.3 * t) * x**3 + 1,
         ("--form", "exp(-k*t)*f(x) + B; f: max-length 5, operators + * ^"), noise=0.002, within=0.01),
    _law(8, "from a guess", {"x": (0, 30)}, lambda x: 2.5 * np.sin(3.1 * x) * np.exp(-0.05 * x) + 1.2,
         ("--guess", "a*sin(b*x)*exp(-k*x) + c", "--guess", "2*sin(3.1*x)*exp(-0.1*x) + 1"), rows=200),
    _law(9, "through the origin, noise", {"x": (0.2, 6)}, lambda x: 6 * x / (x + 2), ("--through", "0,0"), noise=0.02, within=0.04,
         also=_passes(0, 0)),
    _law(10, "rising, noise", {"x": (0, 8)}, lambda x: 3 * np.tanh(0.5 * x) + 1, ("--monotone", "x+"), noise=0.03, within=0.06,
         also=_rising),
]  # fmt: skip
