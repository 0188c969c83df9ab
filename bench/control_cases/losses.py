"""Cases of bench.controls: losses other than squares; a case is right when the law is near the truth on fresh rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bench.controls import Case

ROWS = 200


def _drawn(number: int) -> tuple[np.random.Generator, dict[str, np.ndarray], dict[str, np.ndarray]]:
    rng = np.random.default_rng([19, number])
    return rng, *({c: rng.uniform(0.5, 4.0, ROWS) for c in ("x", "z")} for _ in range(2))


def _case(
    number: int,
    name: str,
    truth: Callable,
    target: Callable[[np.random.Generator, np.ndarray], np.ndarray],
    loss: str,
    within: float,
    also: Callable[[dict], str | None] = lambda law: None,
) -> Case:
    """target: rows' values from a generator and the truth at them."""
    rng, table, new = _drawn(number)
    y = target(rng, truth(**table))
    return Case(name, {**table, "y": y}, ("--loss", loss), new, truth(**new), within, also)


def _two_sided(rng, f):
    far = rng.random(len(f)) < 0.2
    return (
        f
        + 0.02 * np.std(f) * rng.normal(size=len(f))
        + far * rng.choice([-1, 1], len(f)) * rng.exponential(5 * np.std(f), len(f))
    )


def _one_sided(rng, f):
    far = rng.random(len(f)) < 0.15
    return f + 0.02 * np.std(f) * rng.normal(size=len(f)) + far * rng.exponential(5 * np.std(f), len(f))


def _figure(name: str, low: float, high: float = 1.0):
    def check(law: dict) -> str | None:
        value = (law["loss"] or {}).get(name)
        return None if value is not None and low <= value <= high else f"{name} is {value}, wanted {low:g} to {high:g}"

    return check


def _below(share: float, truth: Callable, width: Callable) -> Case:
    """The quantile of Gaussian noise of uneven width."""
    from scipy.special import ndtri

    rng, table, new = _drawn(7)
    y = truth(**table) + width(**table) * rng.normal(size=ROWS)
    wanted = truth(**new) + float(ndtri(share)) * width(**new)
    return Case(
        "a bound that nine rows of ten keep",
        {**table, "y": y},
        ("--loss", f"quantile:{share}"),
        new,
        wanted,
        0.1,
        _figure("share_below", share - 0.03, share + 0.03),
    )


def _intervals() -> Case:
    rng, table, new = _drawn(10)
    y = 4 * np.sqrt(table["x"]) - table["z"] + 0.05 * rng.normal(size=ROWS)
    low = np.floor(2 * y) / 2
    high = ["" if v > 5 else v + 0.5 for v in low]  # the scale ends there
    return Case(
        "readings to the nearest half, of a scale that ends",
        {**table, "low": low, "high": high},
        ("--target", "[low, high]"),
        new,
        4 * np.sqrt(new["x"]) - new["z"],
        0.03,
    )


CASES = [
    _case(1, "decay with a fifth of the rows far off", lambda x, z: 3 * np.exp(-x) * z + 1, _two_sided, "absolute", 0.02),
    _case(2, "a power with heavy tails", lambda x, z: 2 * x**1.5 + z, lambda rng, f: f + 0.05 * rng.standard_t(1.2, len(f)), "absolute", 0.02),
    _case(3, "a quotient with a fifth of the rows far off", lambda x, z: 5 * x / (1 + z), _two_sided, "huber", 0.03),
    _case(4, "a product with rows far off to one side", lambda x, z: x * z + 2, _one_sided, "huber", 0.05),
    _case(5, "counts that grow", lambda x, z: 2 * np.exp(0.8 * x), lambda rng, f: rng.poisson(f), "poisson", 0.1),
    _case(6, "counts of a product and a background", lambda x, z: 3 + x * z, lambda rng, f: rng.poisson(f), "poisson", 0.1),
    _below(0.9, lambda x, z: x * z, lambda x, z: 0.1 * x),
    _case(8, "classes on either side of a parabola", lambda x, z: 1 / (1 + np.exp(2 * z + 1 - x * x)), lambda rng, p: (rng.random(len(p)) < p).astype(int), "binomial", 0.2, _figure("auc", 0.85)),
    _case(9, "errors of a third of each value", lambda x, z: 0.1 * x**3 / z**2, lambda rng, f: f * np.exp(0.3 * rng.normal(size=len(f))), "relative", 0.1),
    _intervals(),
]  # fmt: skip
