"""Intervals of a law and its derivatives: they hold what differences of values say, on random laws and boxes."""

import numpy as np
import pytest

from fansr.expressions import evaluate, free, from_infix
from fansr.search import interval_jets
from tests.random_trees import random_tree

MORE = ["min", "max", "logistic", "step", "sign", "floor"]


def law(text, names=("x", "z")):
    expr, consts = free(from_infix(text, list(names)))
    return expr, np.array(consts, dtype=float)


@np.errstate(all="ignore")
def test_values_and_slopes_lie_in_their_intervals():
    rng, asked = np.random.default_rng(3), 0
    for number in range(300):
        expr = random_tree(rng, int(rng.integers(1, 5)), 2)
        if number % 3 == 0:  # the operators beside Table 5
            expr = [str(rng.choice(MORE[2:])), *expr] if number % 2 else [str(rng.choice(MORE[:2])), *expr, "x1"]
        consts = rng.normal(size=expr.count("<constant>"))
        low = rng.uniform(-2, 2, 2)
        high = low + rng.uniform(0, 1, 2)
        v, d, s = interval_jets.jet(expr, consts, low[None], high[None], 0)
        h = 1e-4
        X = rng.uniform(low, high, (40, 2))
        X[:, 0] = np.clip(X[:, 0], low[0] + 2 * h, high[0] - 2 * h)
        if low[0] + 4 * h > high[0]:
            continue
        at = [np.asarray(evaluate(expr, X + [k * h, 0], consts)) for k in (-1, 0, 1)]
        slope, bend = (at[2] - at[0]) / (2 * h), (at[2] - 2 * at[1] + at[0]) / h**2
        for values, part, off in ((at[1], v, 1e-9), (slope, d, 1e-3), (bend, s, 3e-2)):
            good = np.isfinite(values) & (np.abs(values) < 1e4) & (np.abs(at[1]) < 1e4)
            room = off * (1 + np.abs(values[good]))
            assert (values[good] >= part.low[0] - room).all(), (expr, consts, low, high)
            assert (values[good] <= part.high[0] + room).all(), (expr, consts, low, high)
            asked += good.sum()
    assert asked > 10_000


@pytest.mark.parametrize("text, low, high, order, sign, answer", [
    ("x**2", [0, 0], [3, 1], 1, 1, True), ("x**2", [-1, 0], [3, 1], 1, 1, False), ("x**2", [-1, 0], [3, 1], 2, 1, True),
    ("exp(-x) + x", [0, 0], [3, 1], 1, 1, True), ("sin(x) + x", [0, 0], [30, 1], 1, 1, True),
    ("sin(x) + 0.99*x", [0, 0], [30, 1], 1, 1, False), ("abs(x - 1)", [-2, 0], [3, 1], 2, 1, True),
    ("abs(x - 1)", [-2, 0], [3, 1], 2, -1, None), ("sqrt(x)", [0, 0], [3, 1], 2, -1, True),
    ("log(x)*z", [1, 1], [3, 2], 1, 1, True), ("x*z - x**2/4", [0, 1], [2, 2], 1, 1, True),
    ("x*z - x**2/4", [0, 1], [3, 2], 1, 1, False), ("tanh(x)**3", [-2, 0], [3, 1], 1, 1, True),
    ("max(x, 2*x - 1)", [-2, 0], [3, 1], 2, 1, True), ("min(x, 2*x - 1)", [-2, 0], [3, 1], 2, 1, None),
    ("x/(1 + x)", [0, 0], [9, 1], 1, 1, True), ("z", [0, 0], [9, 1], 1, 1, True), ("step(x - 1)", [0, 0], [9, 1], 1, 1, True),
])  # fmt: skip
def test_monotone_and_convex_are_decided(text, low, high, order, sign, answer):
    expr, consts = law(text)
    found = interval_jets.decided(expr, consts, low, high, 0, order, sign)
    assert found is answer  # None: at a kink the second derivative is no number, and points decide
