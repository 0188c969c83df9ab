"""Leave-one-out residuals against fits that really leave a row out."""

import math

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.search import leave_one_out, rounding, turns

LINE = "+ * <constant> x1 + <constant> * <constant> x2".split()


def fitted_line(X, y):
    A = np.column_stack([X[:, 0], np.ones(len(y)), X[:, 1]])
    c = np.linalg.lstsq(A, y, rcond=None)[0]
    residual = y - A @ c
    return A, Candidate(LINE, c, float(residual @ residual / ((y - y.mean()) @ (y - y.mean()))))


def test_press_is_what_fits_without_each_row_miss():
    rng = np.random.default_rng(0)
    X = rng.random((14, 2))
    X[0, 0] = 4.0  # a row far from the others
    y = 2 * X[:, 0] - X[:, 1] + 0.3 * rng.standard_normal(14)
    A, law = fitted_line(X, y)
    problem = Problem(X, y, ["a", "b"])
    without = []
    for i in range(14):
        kept = np.arange(14) != i
        without.append(y[i] - A[i] @ np.linalg.lstsq(A[kept], y[kept], rcond=None)[0])
    residual = y - A @ law.consts
    np.testing.assert_allclose(residual / (1 - leave_one_out.leverages(law, problem)), without, rtol=1e-9)
    ratio = np.sum(np.square(without)) / np.sum(residual**2) * (1 - 3 / 14) ** 2
    assert math.isclose(leave_one_out.excess(law, problem), max(0.0, 7 * math.log(ratio)), rel_tol=1e-9, abs_tol=1e-12)


def test_rows_that_all_weigh_alike_cost_nothing():
    X = np.array([[a, b] for a in (-1.0, 1.0) for b in (-1.0, 1.0) for _ in range(3)])
    y = X[:, 0] + np.tile([0.1, -0.2, 0.1], 4)
    _, law = fitted_line(X, y)
    assert leave_one_out.excess(law, Problem(X, y, ["a", "b"])) < 1e-9


def test_a_pole_next_to_a_row_pays_for_that_row():
    rng = np.random.default_rng(1)
    x = np.append(rng.random(30), 1.02)[:, None]
    y = x[:, 0] + 0.2 * rng.standard_normal(31)
    y[-1] = 5.0
    pole = "+ <constant> / <constant> - <constant> x1".split()
    from fansr.fitting import Refiner

    fvu, consts = Refiner(x, y).polish(pole, np.array([0.5, 0.05, 1.03]))
    problem = Problem(x, y, ["x"])
    assert leave_one_out.excess(Candidate(pole, np.asarray(consts), float(fvu)), problem) > 10


def test_a_law_of_the_bulk_is_chosen_over_one_of_a_single_row():
    """Rows of noise about a line, with one far row near it: an exponential that turns up for that row alone must not win."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = np.append(rng.random(25) * 3, 9.0)
        y = 2 + 0.5 * x + 0.4 * rng.standard_normal(26)
        found = turns.search(
            Problem(x[:, None], y, ["x"]), turns.Options(proposers=("power", "plain", "curves", "sums")), Budget(None)
        )
        from fansr.expressions import evaluate

        between = evaluate(found.best.expr, np.linspace(3, 9, 50)[:, None], found.best.consts)
        assert np.abs(np.broadcast_to(between, 50) - (2 + 0.5 * np.linspace(3, 9, 50))).max() < 2.0


def test_constants_that_are_held_are_not_fitted_without_a_row():
    """A far row decides the slope of x2 where that is fitted; where it is told to be 3, fits of the other two without each row say how well."""
    M, rng = 30, np.random.default_rng(2)
    X = rng.random((M, 2))
    X[0, 1] = 9.0
    y = 2 * X[:, 0] + 3 * X[:, 1] + 0.7 + 0.3 * rng.standard_normal(M)
    problem = Problem(X, y, ["a", "b"])
    A, free = fitted_line(X, y)
    c = np.append(np.linalg.lstsq(A[:, :2], y - 3 * X[:, 1], rcond=None)[0], 3.0)
    residual = y - A @ c
    law = Candidate(LINE, c, float(residual @ residual / ((y - y.mean()) @ (y - y.mean()))))
    held = np.array([False, False, True])
    without = []
    for i in range(M):
        kept = np.arange(M) != i
        others = np.linalg.lstsq(A[kept, :2], y[kept] - 3 * X[kept, 1], rcond=None)[0]
        without.append(y[i] - A[i] @ np.append(others, 3.0))
    np.testing.assert_allclose(residual / (1 - leave_one_out.leverages(law, problem, held)), without, rtol=1e-9)
    nats = 0.5 * M * math.log(np.sum(np.square(without)) / np.sum(residual**2) * (1 - 2 / M) ** 2)
    assert math.isclose(leave_one_out.excess(law, problem, held), max(0.0, nats), rel_tol=1e-9, abs_tol=1e-12)
    assert leave_one_out.excess(free, problem) > leave_one_out.excess(law, problem, held) + 1
    assert leave_one_out.excess(law, problem, np.zeros(3, dtype=bool)) == leave_one_out.excess(law, problem)


def test_a_law_whose_constants_are_all_held_pays_for_no_row():
    x = np.append(np.random.default_rng(1).random(30), 40.0)[:, None]
    y = 2 * x[:, 0] + 1 + np.append(np.zeros(30), 3.0) + 0.1 * np.random.default_rng(2).standard_normal(31)
    law, problem = Candidate("+ * <constant> x1 <constant>".split(), np.array([2.0, 1.0]), 1e-3), Problem(x, y, ["x"])
    assert (leave_one_out.leverages(law, problem, np.ones(2, dtype=bool)) == 0).all()
    assert leave_one_out.excess(law, problem, np.ones(2, dtype=bool)) == 0 < leave_one_out.excess(law, problem)
    assert rounding.round_ones(law).all()


def test_which_constants_are_round():
    consts = np.array([2.0, 0.75, -math.pi / 6, 1.6955206, 2.0 * (1 + 1e-13), -12.0, 1234.5678901])
    law = Candidate(("+ " * 6).split() + ["<constant>"] * 7, consts)
    assert rounding.round_ones(law).tolist() == [True, True, True, False, False, True, False]


def test_a_search_charges_round_constants_for_no_row():
    """A parabola with one far row: the far row would tell its constants, did they not tell themselves."""
    x = np.append(np.random.default_rng(3).uniform(0, 1, 30), 12.0)[:, None]
    y = 2 * x[:, 0] ** 2 + 0.5 + 0.3 * np.random.default_rng(4).standard_normal(31)
    y[-1] += 3.0
    state = turns.Turns(Problem(x, y, ["x"]), turns.Options(), Budget(None))
    expr = "+ * <constant> pow2 x1 <constant>".split()
    told, fitted = (
        Candidate(expr, np.array(c), float(state.fitter.fvu(expr, c))) for c in ([2.0, 0.5], [2.0201037, 0.5022391])
    )
    assert state._of_left_out(told) == 0 < state._of_left_out(fitted) - 1
