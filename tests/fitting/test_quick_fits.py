"""Quick fits: linear constants as numpy's least squares has them, curved ones on their way, effort by the bars."""

import numpy as np

from fansr.expressions import compile_many
from fansr.expressions.tokens import CONSTANT as C
from fansr.fitting.refiner import Refiner

X = np.random.default_rng(0).uniform(0.5, 3.0, (128, 3))
NO_BARS = (np.inf, np.inf)


def quick(exprs, y, given, bars=NO_BARS, jobs=1, weights=None):
    programs = compile_many(exprs)
    start = np.ones((len(exprs), int(programs.n_constants.max())))
    for k, c in enumerate(given):
        start[k, : len(c)] = c
    return Refiner(X, y, weights=weights).quick(programs, start, np.tile(np.array(bars), (len(exprs), 1)), jobs)


def test_linear_constants_are_those_of_least_squares():
    rng = np.random.default_rng(1)
    y, weights = rng.normal(size=128) + X[:, 0], rng.uniform(0.1, 1, 128)
    exprs = [["+", "*", C, "sin", "x1", C], ["+", "*", C, "/", "x1", "x2", "+", "/", C, "x3", C]]
    columns = [[np.sin(X[:, 0])], [X[:, 0] / X[:, 1], 1 / X[:, 2]]]
    fvu, consts = quick(exprs, y, [[], []], weights=weights)
    sw = np.sqrt(weights)
    for k, terms in enumerate(columns):
        A = np.stack([*terms, np.ones(128)], 1)
        want = np.linalg.lstsq(A * sw[:, None], y * sw, rcond=None)[0]
        np.testing.assert_allclose(consts[k, : len(want)], want, rtol=1e-9)
        mean = (weights @ y) / weights.sum()
        np.testing.assert_allclose(fvu[k], weights @ (y - A @ want) ** 2 / (weights @ (y - mean) ** 2), rtol=1e-9)


def test_curved_constants_come_from_a_near_start():
    y = 3 * np.exp(-0.7 * X[:, 0]) * X[:, 1] + 2
    expr = ["+", "*", C, "*", "x2", "exp", "*", C, "x1", C]
    fvu, consts = quick([expr], y, [[1.0, -0.5, 0.0]])
    assert fvu[0] < 1e-12
    np.testing.assert_allclose(consts[0, :3], [3, -0.7, 2], rtol=1e-5)


def test_bars_say_who_is_given_up_and_who_goes_on():
    y = 3 * np.exp(-0.7 * X[:, 0]) * X[:, 1] + 2
    near = ["+", "*", C, "*", "x2", "exp", "*", C, "x1", C]
    poor = ["+", "*", C, "sin", "x3", C]
    fvu, _ = quick([near, poor], y, [[1.0, 0.9, 0.0], []], bars=(0.5, 0.0))
    assert fvu[0] < 0.5 and np.isinf(fvu[1])
    further, _ = quick([near], y, [[1.0, 0.9, 0.0]])
    assert further[0] < fvu[0]


def test_what_is_not_finite_is_infinite_and_jobs_change_nothing():
    y = X[:, 0].copy()
    exprs = [["*", C, "log", "-", "x1", "x2"], *[["+", "*", C, "pow2", f"x{1 + k % 3}", C] for k in range(200)]]
    one, consts = quick(exprs, y, [[]] * len(exprs))
    two, again = quick(exprs, y, [[]] * len(exprs), jobs=2)
    assert np.isinf(one[0]) and np.isfinite(one[1:]).all()
    assert (one == two).all() and (consts[1:] == again[1:]).all()
