"""refiner.py against scipy and numpy's least squares, and its promises on scales, repeatability and edges."""

import warnings

import numpy as np
import pytest
from scipy.optimize import curve_fit

from fansr.expressions.program_kernels import Tape
from fansr.expressions.programs import compile_many, evaluate
from fansr.expressions.tokens import CONSTANT as C
from fansr.fitting.curve_fitting import CurveFitter
from fansr.fitting.linear_constants import ALONE, FACTOR, OVER, plain_sum, split
from fansr.fitting.refiner import FULL, MAX_CONSTANTS, Refiner, Schedule
from fansr.streams.seeds import rng_for

LINE = ["+", "*", C, "x1", C]
DECAY = ["+", "*", C, "exp", "*", C, "x1", C]


def fvu_by_hand(y, p):
    return ((y - p) ** 2).sum() / ((y - y.mean()) ** 2).sum()


def table(seed=0, M=200, D=3, low=0.5, high=3.0):
    return np.random.default_rng(seed).uniform(low, high, (M, D))


def linear_flags(expr):
    """What split() says of each constant: 1 for linear."""
    program = compile_many([expr])[0]
    state, flags, where = (np.zeros(len(program.op), np.int64) for _ in range(3))
    split(Tape(*program[:3], state, np.zeros((1, 1)), np.zeros((1, 1))), 0, len(program.op), flags, where)
    return flags


@pytest.mark.parametrize(
    ("expr", "linear"),
    [
        (LINE, [1, 1]),
        (DECAY, [1, 0, 1]),
        (["*", C, "+", C, "*", C, "x1"], [0, 1, 1]),  # either the factor or the sum, and the sum has more
        (["/", "-", C, "x1", "+", C, "x2"], [1, 0]),
        (["pow1_2", "+", C, "*", C, "x1"], [0, 0]),
        (["neg", "mult2", "div3", C], [1]),
        (["*", C, C], [0, 1]),
        (["*", "+", C, "x1", "+", C, "x2"], [1, 0]),
        (["inv", C], [0]),
    ],
)
def test_which_constants_are_linear(expr, linear):
    """The chosen set must really be jointly affine; these are small enough to say which it is."""
    got = list(linear_flags(expr)[: len(linear)])
    if expr[0] == "*" and expr[1] in (C, "+") and sum(linear) == 1:
        assert sum(got) == 1  # a tie: which one does not matter
    else:
        assert got == linear


def test_chosen_constants_enter_jointly_linearly_in_random_trees():
    """f(c) is affine along any line in the chosen constants: the second difference vanishes."""
    from random_trees import random_tree

    rng = np.random.default_rng(3)
    X, checked = rng.uniform(0.5, 2, (20, 2)), 0
    for _ in range(600):
        expr = random_tree(rng, 4, 2)
        n = expr.count(C)
        flags = linear_flags(expr)
        if n == 0 or not flags[:n].any():
            continue
        c, d = rng.normal(0, 1, n), rng.normal(0, 1, n) * flags[:n]
        y = [evaluate(expr, X, c + t * d) for t in (-1.0, 0.0, 1.0)]
        good = np.isfinite(y).all(0) & (np.abs(y) < 1e6).all(0)
        np.testing.assert_allclose((y[0] + y[2])[good], 2 * y[1][good], rtol=1e-7, atol=1e-9, err_msg=" ".join(expr))
        checked += good.any()
    assert checked > 50


def test_linear_fit_equals_least_squares():
    X = table()
    y = np.random.default_rng(1).normal(size=200)
    expr = ["+", "*", C, "sin", "x1", "+", "*", C, "pow3", "x2", C]
    fvu, consts = Refiner(X, y).fit([expr])
    A = np.stack([np.sin(X[:, 0]), X[:, 1] ** 3, np.ones(200)], 1)
    want = np.linalg.lstsq(A, y, rcond=None)[0]
    np.testing.assert_allclose(consts[0], want, rtol=1e-9)
    np.testing.assert_allclose(fvu[0], fvu_by_hand(y, A @ want), rtol=1e-12)


def test_curved_fit_with_noise_equals_scipy():
    X = table()
    y = 3 * np.exp(-1.7 * X[:, 0]) + 0.4 + 0.02 * np.random.default_rng(2).normal(size=200)
    refiner = Refiner(X, y)
    c = refiner.fit([DECAY])[1][0]
    _, c = refiner.polish(DECAY, c)
    want, covariance = curve_fit(
        lambda X, a, b, d: a * np.exp(b * X[:, 0]) + d, X, y, [3, -1.7, 0.4], ftol=1e-14, xtol=1e-14
    )
    np.testing.assert_allclose(c, want, rtol=1e-5)
    np.testing.assert_allclose(refiner.standard_errors(DECAY, c), np.sqrt(np.diag(covariance)), rtol=1e-3)
    np.testing.assert_allclose(refiner.fvu(DECAY, c), fvu_by_hand(y, evaluate(DECAY, X, c)), rtol=1e-10)


def test_weights_and_errors_per_point_equal_scipy():
    X, rng = table(4), np.random.default_rng(4)
    sigma = rng.uniform(0.01, 1.0, 200)
    y = 3 * np.exp(-1.7 * X[:, 0]) + 0.4 + sigma * rng.normal(size=200)
    refiner = Refiner(X, y, weights=1 / sigma**2)
    c = refiner.polish(DECAY, refiner.fit([DECAY])[1][0])[1]
    want, _ = curve_fit(
        lambda X, a, b, d: a * np.exp(b * X[:, 0]) + d, X, y, [3, -1.7, 0.4], sigma=sigma, ftol=1e-14, xtol=1e-14
    )
    np.testing.assert_allclose(c, want, rtol=1e-4)
    w = sigma**-2.0
    by_hand = (w * (y - evaluate(DECAY, X, c)) ** 2).sum() / (w * (y - (w * y).sum() / w.sum()) ** 2).sum()
    np.testing.assert_allclose(refiner.fvu(DECAY, c), by_hand, rtol=1e-9)


def test_a_weight_of_zero_removes_a_point():
    X = table()
    y = 2 * X[:, 0] + 1
    y[7] = 1e6
    w = np.ones(200)
    w[7] = 0
    np.testing.assert_allclose(Refiner(X, y, weights=w).fit([LINE])[1][0], [2, 1], rtol=1e-9)


@pytest.mark.parametrize("expr, consts", [
    (["*", C, "sin", "+", "*", C, "x1", C], [2.0, 1.5, 0.3]),
    (["pow1_2", "+", C, "*", C, "pow2", "x1"], [3.0, 2.0]),  # linear once the root is undone
    (["/", "x1", "+", C, "*", C, "x2"], [4.0, -0.9]),
    (["*", C, "pow", "x1", C], [0.2, 1.37]),
    (["exp", "+", C, "*", C, "x1"], [-5.0, 3.0]),
    (["inv", "+", "*", C, "x1", "*", C, "x2"], [100.0, 3e4]),
    (["-", C, "log", "+", C, "x1"], [7.0, 12.0]),
    (["tanh", "+", C, "*", C, "x3"], [-0.5, 0.4]),
])  # fmt: skip
def test_planted_constants_come_back(expr, consts):
    X = table(7)
    y = evaluate(expr, X, consts)
    fvu, found = Refiner(X, y).fit([expr])
    assert fvu[0] < 1e-20
    np.testing.assert_allclose(evaluate(expr, X, found[0]), y, rtol=1e-8)


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1.0, 1e155, 1e300])
def test_targets_and_columns_of_any_scale(size):
    X = table(3)
    y = (2.5 * np.exp(-1.3 * X[:, 0]) - 4) * size
    fvu, consts = Refiner(X, y).fit([DECAY])
    assert fvu[0] < 1e-24
    np.testing.assert_allclose(consts[0], [2.5 * size, -1.3, -4 * size], rtol=1e-9)
    fvu, consts = Refiner(X * size, X[:, 0] * 3 - 1).fit([LINE])
    assert fvu[0] < 1e-24
    np.testing.assert_allclose(consts[0], [3 / size, -1], rtol=1e-9)


def test_the_answer_depends_on_the_seed_only():
    X = table(5)
    y = np.sin(3 * X[:, 0]) + X[:, 1]
    from random_trees import random_tree

    rng = np.random.default_rng(0)
    exprs = [random_tree(rng, 4, 3) for _ in range(150)]
    refiner = Refiner(X, y, seed=3)
    fvu, consts = refiner.fit(exprs)
    for other in (Refiner(X, y, seed=3).fit(exprs, jobs=2), refiner.fit(exprs, jobs=3)):
        np.testing.assert_array_equal(fvu, other[0])
        assert all((a == b).all() for a, b in zip(consts, other[1]))
    backwards = refiner.fit(exprs[::-1])[0][::-1]
    np.testing.assert_array_equal(fvu, backwards)
    assert (Refiner(X, y, seed=4).fit(exprs)[0] != fvu).any()
    for k, expr in enumerate(exprs):  # the FVU is the FVU of the constants that are returned
        if np.isfinite(fvu[k]):
            p = evaluate(expr, X, consts[k])
            np.testing.assert_allclose(fvu[k], fvu_by_hand(y, p), rtol=1e-6, atol=1e-25)


def test_verdict_is_on_all_points():
    """A candidate that fits the subset but is not finite at one far row is refused."""
    X = np.linspace(1, 2, 5000)[:, None].copy()
    y = 2 * np.sqrt(X[:, 0])
    X[4321] = -1.0
    fvu, _ = Refiner(X, y).fit([["*", C, "pow1_2", "x1"], ["*", C, "pow1_2", "abs", "x1"]])
    assert np.isinf(fvu[0]) and 0 < fvu[1] < 1


def test_screening_keeps_the_truth():
    X = table(6)
    y = 2.5 * np.exp(-1.3 * X[:, 0]) - 4
    from random_trees import random_tree

    rng = np.random.default_rng(1)
    exprs = [random_tree(rng, 3, 3) for _ in range(200)]
    exprs[77] = DECAY
    kept = Refiner(X, y).screen(exprs, 10)
    assert len(kept) == 10 and kept[0] == 77


def test_constant_target():
    X = table()
    fvu, consts = Refiner(X, np.full(200, 3.7)).fit([[C], ["*", C, "x1"], ["x1"]])
    assert fvu[0] == 0 and consts[0][0] == 3.7
    assert 0 < fvu[1] < 1 and np.isfinite(fvu[2])
    fvu, _ = Refiner(X, np.zeros(200)).fit([[C], ["*", C, "x1"], ["x1"]])
    assert fvu[0] == 0 and fvu[1] == 0 and fvu[2] > 0


def test_polish_on_a_long_table_equals_least_squares():
    rng = np.random.default_rng(8)
    X = rng.uniform(0, 1, (40_000, 1))
    y = 2 * X[:, 0] + 1 + 0.1 * rng.normal(size=40_000)
    refiner = Refiner(X, y)
    (before,), (c,) = refiner.fit([LINE])
    after, c = refiner.polish(LINE, c)
    want = np.linalg.lstsq(np.stack([X[:, 0], np.ones(40_000)], 1), y, rcond=None)[0]
    np.testing.assert_allclose(c, want, rtol=1e-9)
    assert after <= before


def test_polish_never_makes_it_worse_and_keeps_bad_candidates_bad():
    X = table()
    y = X[:, 0] ** 2
    refiner = Refiner(X, y)
    assert refiner.polish(["pow", "x1", C], [2.0])[0] == 0.0
    fvu, c = refiner.polish(["log", "-", C, "x1"], [-10.0])
    assert np.isinf(fvu) and c[0] == -10.0


def test_few_points_many_constants_and_stops():
    X = table(M=3)
    refiner = Refiner(X, X[:, 0])
    many = ["+", C] * 40 + ["x1"]
    fvu, consts = refiner.fit([LINE, many, DECAY])
    assert fvu[0] < 1e-25 and np.isinf(fvu[1]) and len(consts[1]) == 40 > MAX_CONSTANTS
    assert np.isinf(refiner.fit([LINE] * 100, over=lambda: True)[0]).all()
    assert len(refiner.fit([])[0]) == 0


def test_constants_given_to_start_from():
    X = table(9)
    y = evaluate(["sin", "*", C, "x1"], X, [40.0])  # far outside every start
    refiner, programs = Refiner(X, y), compile_many([["sin", "*", C, "x1"]])
    schedule = Schedule(starts=1, unwrap=0)
    assert refiner.run(programs, schedule)[0][0] > 0.1
    fvu, consts = refiner.run(programs, schedule, given=np.array([[40.02]]))
    assert fvu[0] < 1e-20 and abs(consts[0, 0] - 40) < 1e-9
    assert FULL.starts == 8


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="X has shape"):
        Refiner(np.ones((3, 2)), np.ones(4))
    with pytest.raises(ValueError, match="no points"):
        Refiner(np.ones((0, 2)), np.ones(0))
    with pytest.raises(ValueError, match="weights"):
        Refiner(np.ones((3, 2)), np.ones(3), weights=[1, -1, 1])
    with pytest.raises(ValueError, match="an expression uses x5"):
        Refiner(np.ones((3, 2)), np.ones(3)).fit([["x5"]])


# ---- section 3.5 as it stands


@pytest.mark.parametrize("weighted", [False, True])
def test_curve_fitter_is_a_loop_over_scipys_curve_fit(weighted):
    """Over the same starts, on raw numbers, with SciPy's own derivatives; a bare law and one of more constants than rows too."""
    rng = np.random.default_rng(3)
    X = rng.uniform(0.5, 2.0, (40, 1))
    y = 3e4 * (2.0 * np.exp(-1.5 * X[:, 0]) + 0.5) + rng.normal(0, 50, 40)
    weights = rng.uniform(0.2, 2.0, 40) if weighted else np.ones(40)
    fitter = CurveFitter(X, y, restarts=8, seed=4, weights=weights)
    (fvu, bare), (consts, none) = fitter.fit([DECAY, ["exp", "x1"]])
    starts = rng_for(4, "curve_fit", 0).normal(0.0, 5.0, (8, 3))
    sums = []
    for start in starts:
        try:
            with np.errstate(all="ignore"), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                c, _ = curve_fit(lambda x, a, b, d: a * np.exp(b * x) + d, X[:, 0], y, start, sigma=weights**-0.5)
        except RuntimeError:
            continue
        sums.append((weights * (y - c[0] * np.exp(c[1] * X[:, 0]) - c[2]) ** 2).sum())
    mean = np.average(y, weights=weights)
    assert len(consts) == 3 and not len(none) and bare > 1
    assert fvu == pytest.approx(min(sums) / (weights * (y - mean) ** 2).sum(), rel=1e-6)
    assert fvu == pytest.approx(fitter.fvu(DECAY, consts), rel=1e-12)


def test_curve_fitter_with_more_constants_than_rows_and_with_none_that_fit():
    few = CurveFitter(np.array([[1.0], [2.0]]), np.array([1.0, 3.0]))
    (fvu, hopeless), (consts, _) = few.fit([DECAY, ["log", "-", "x1", "+", "x1", "abs", C]])
    assert fvu < 1e-10 and len(consts) == 3 and hopeless == np.inf


def test_curve_fitter_stops_when_time_is_over():
    asked = iter([False, True])
    fitter = CurveFitter(np.ones((5, 1)) * np.arange(5.0)[:, None], np.arange(5.0))
    fvus, _ = fitter.fit([LINE, LINE], over=lambda: next(asked))
    assert fvus[0] < 1e-20 and fvus[1] == np.inf


PLAIN_SUMS = [  # as terms of their own constants, and the same with a sign taken out and put back
    ("+ * c exp * c x1 c", "- * c exp * c x1 neg c"),
    ("+ * sin * c x1 c + / c + c x2 c", "- * sin * c x1 c neg + / c + c x2 c"),
    ("+ + * c x1 / c exp * c x2 * c * x2 tanh * c x1", "- + * c x1 / c exp * c x2 neg * c * x2 tanh * c x1"),
    ("/ c + x1 * c x2", "neg / c + x1 * c x2"),
    ("* + c x1 c", "neg * + c x1 c"),
    ("+ c * c c", "- c neg * c c"),
]


def plain_terms(expr):
    """What plain_sum() says of each constant: (kind, where u begins and ends) of the linear, None of others; None for no sum."""
    program = compile_many([expr])[0]
    tape = Tape(*program[:3], np.zeros(len(program.op), np.int64), np.zeros((1, 1)), np.zeros((1, 1)))
    linear, where = np.zeros((2, program.n_constants), np.int64)
    terms = np.full(3 * program.n_constants, 7, np.int64)
    split(tape, 0, len(program.op), linear, where)
    plain_sum(tape, 0, len(program.op), linear, terms)
    rows = [tuple(row) if is_linear else None for row, is_linear in zip(terms.reshape(-1, 3).tolist(), linear)]
    return rows if terms[0] >= 0 else None


def test_plain_sums_are_told_apart():
    def of(text):
        return plain_terms([C if token == "c" else token for token in text.split()])

    assert of("+ * c x1 + / c x2 c") == [(FACTOR, 3, 4), (OVER, 7, 8), (ALONE, 8, 8)]
    assert of("+ * c x1 c") == [(FACTOR, 3, 4), (ALONE, 4, 4)]
    assert of("+ / c + x1 c * exp * c x2 c") == [(OVER, 3, 6), None, None, (FACTOR, 7, 11)]
    assert of("- * c x1 c") is None and of("+ * c x1 x2") is None and of("neg * c x1") is None
    assert of("* x1 + c x2") is None and of("sin * c x1") is None


@pytest.mark.parametrize(("plain", "other"), PLAIN_SUMS)
def test_a_plain_sum_is_fitted_as_any_expression(plain, other):
    plain, other = ([C if token == "c" else token for token in text.split()] for text in (plain, other))
    assert plain_terms(plain) is not None and plain_terms(other) is None
    X = table(3, D=2)
    y = np.exp(-0.6 * X[:, 0]) + 0.3 * X[:, 1] / (X[:, 0] + 0.2)
    weights = np.random.default_rng(4).uniform(0.2, 1, len(y))
    fvus = [Refiner(X, y, weights=weights, seed=2).fit([expr])[0][0] for expr in (plain, other)]
    assert fvus[0] == pytest.approx(fvus[1], rel=1e-6)
