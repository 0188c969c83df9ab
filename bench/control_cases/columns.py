"""Cases of bench.controls: which columns a law may look at, and columns made on the way."""

from __future__ import annotations

import numpy as np

from bench.controls import Case


def _rng(number: int) -> np.random.Generator:
    return np.random.default_rng([7, number])


def _uses(*names: str):
    """A check that a law looks at these columns and no others."""

    def check(law: dict) -> str | None:
        used = {
            law["variables"][int(token[1:]) - 1] for token in law["prefix"] if token[0] == "x" and token[1:].isdigit()
        }
        return None if used == set(names) else f"it looks at {', '.join(sorted(used))}"

    return check


def _case(number, name, rows, truth, columns, options, within=1e-4, also=lambda law: None, noise=0.0) -> Case:
    """A case whose columns are drawn row by row: columns(rng, rows) -> dict, truth(dict) -> (M,)."""
    rng = _rng(number)
    table, new = columns(rng, rows), columns(rng, 200)
    y = truth(table)
    y = y + noise * np.std(y) * rng.normal(size=len(y))
    return Case(name, {**table, "y": y}, tuple(options), new, truth(new), within, also)


def _plain(*names, low=0.5, high=4.0):
    return lambda rng, rows: {name: rng.uniform(low, high, rows) for name in names}


def _with_leak(rng, rows):
    """A column that is nearly the target: without --ignore it would be the law."""
    a, b = rng.uniform(1, 5, (2, rows))
    return {"a": a, "b": b, "reading": a * b**2 * (1 + 1e-9 * rng.normal(size=rows))}


def _numbered(rng, rows):
    return {"id": np.arange(1, rows + 1), "m": rng.uniform(1, 3, rows), "v": rng.uniform(1, 9, rows)}


def _many(rng, rows):
    return {f"{kind}{k}": rng.uniform(0.5, 3, rows) for kind in ("p", "q") for k in (1, 2, 3)}


def _lagged(name, last, lags, rows=120) -> Case:
    """A series x(n) = last(x(n-1), x(n-2), u(n)) driven by a column u; the first two fresh rows have no earlier ones."""
    rng = _rng(50)
    u, x = rng.normal(size=2 * rows), np.full(2 * rows, 1.0)
    for n in range(1, len(x)):
        x[n] = last(x[n - 1], x[n - 2], u[n])
    new = {"u": u[rows:], "x": x[rows:]}
    wanted = np.array([np.nan, np.nan, *(last(x[n - 1], x[n - 2], u[n]) for n in range(rows + 2, len(x)))])
    return Case(name, {"u": u[:rows], "x": x[:rows]}, ("--target", "x", "--lag", lags), new, wanted, 1e-3)


def _logistic_growth(t):
    return 8.0 / (1 + 7.0 * np.exp(-1.5 * t))


def _growth(name, options) -> Case:
    """x grows to 8 at the rate 1.5 x (1 - x/8): the law of its derivative, which the table does not hold."""
    t = np.linspace(0, 5, 300)
    x = _logistic_growth(t)
    return Case(name, {"t": t, "x": x}, options, {"t": t, "x": x}, 1.5 * x * (1 - x / 8), 0.02)


def _oscillation(name) -> Case:
    """x'' = -4 x: the second derivative of a wave."""
    t = np.linspace(0, 6, 400)
    x = 3 * np.sin(2 * t + 0.4)
    options = ("--derive", "a = d2x/dt2", "--target", "a", "--inputs", "x")
    return Case(name, {"t": t, "x": x}, options, {"t": t, "x": x}, -4 * x, 0.03)


def _words(name) -> Case:
    """A text column of three words that shifts the target."""
    rng = _rng(60)

    def rows(M):
        kind, x = rng.choice(["oak", "pine", "ash"], M), rng.uniform(1, 6, M)
        return {"kind": kind.tolist(), "x": x}, 2.5 * x + np.select([kind == "oak", kind == "pine"], [4.0, -3.0], 0.0)

    (table, y), (new, wanted) = rows(90), rows(60)
    return Case(name, {**table, "y": y}, ("--categories", "onehot"), new, wanted, 1e-3)


CASES = [
    _case(1, "inputs of six", 60, lambda c: 3 * c["p1"] * c["q2"] + 1.5, _many, ("--inputs", "p1,q2"), also=_uses("p1", "q2")),
    _case(2, "inputs by pattern, noise", 120, lambda c: c["q1"] ** 2 / c["q3"], _many, ("--inputs", "q*"), 0.05,
          _uses("q1", "q3"), noise=0.02),
    _case(3, "ignore a leak", 60, lambda c: c["a"] * c["b"] ** 2, _with_leak, ("--ignore", "reading"), also=_uses("a", "b")),
    _case(4, "ignore a number", 40, lambda c: 0.5 * c["m"] * c["v"] ** 2, _numbered, ("--ignore", "id")),
    _case(5, "derive a radius", 80, lambda c: 7 / (c["x"] ** 2 + c["y1"] ** 2 + c["z"] ** 2), _plain("x", "y1", "z"),
          ("--derive", "r2 = x**2 + y1**2 + z**2", "--inputs", "r2"), also=_uses("r2")),
    _lagged("earlier rows", lambda x1, x2, u: 1.6 * x1 - 0.8 * x2 + 0.5 * u, "x:1..2"),
    _lagged("logistic map, driven", lambda x1, x2, u: 1.4 * x1 * (1 - x1 / 3) + 0.1 * u, "x:1"),
    _growth("rate of growth", ("--derive", "v = dx/dt", "--target", "v", "--inputs", "x")),
    _oscillation("second derivative"),
    _words("words as 0 and 1"),
]  # fmt: skip
