"""Power laws drawn at random must come back in their shortest form, whatever the units and signs."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers.power import ROWS, Regression, propose
from fansr.search import turns


def problem(X, y, **options):
    return Problem(X=X, y=y, names=[f"x{j + 1}" for j in range(X.shape[1])], **options)


def best(p):
    candidates = [c for batch in propose(p, Budget(None)) for c in batch]
    assert all(c.consts is not None and len(c.consts) == c.expr.count("<constant>") for c in candidates)
    return min(candidates, key=lambda c: np.log10(max(c.fvu, 1e-24)) + 0.05 * len(c.expr))


def check_fvu(p, candidate):
    """The candidate's own FVU against a plain computation."""
    y = evaluate(candidate.expr, p.X, candidate.consts)
    plain = np.sum((y - p.y) ** 2) / np.sum((p.y - p.y.mean()) ** 2)
    assert np.isclose(candidate.fvu, plain, rtol=1e-6, atol=1e-25)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6))
def test_random_laws_come_back(seed):
    rng = np.random.default_rng(seed)
    D = int(rng.integers(1, 6))
    unit = 10.0 ** rng.integers(-30, 30, D)
    mixed = rng.random(D) < 0.4
    X = unit * 10 ** rng.uniform(-1, 1, (100, D)) * np.where(mixed, rng.choice([-1.0, 1.0], (100, D)), 1.0)
    e = np.array(
        [rng.choice([1, 2, -1, -2, 3]) if m else rng.choice([1, -1, 2, 0.5, -0.5, 1.5, -2]) for m in mixed], float
    )
    c = rng.choice([1.0, -1.0, 0.5, 2.0, 6.674e-11, 3.7])
    log_size = np.log(np.abs(X)) @ e
    if np.abs(log_size).max() > 300:
        return
    y = c * np.exp(log_size) * np.prod(np.where(mixed & (e % 2 == 1), np.sign(X), 1.0), axis=1)
    p = problem(X, y)
    found = best(p)
    assert found.fvu < 1e-20
    check_fvu(p, found)
    assert len(found.consts) == (abs(c) in (6.674e-11, 3.7))  # 1, -1, 1/2 and 2 need no constant


@pytest.mark.parametrize(
    "y, tokens",
    [
        (lambda a, b: a * b, ["*", "x1", "x2"]),
        (lambda a, b: -a / b, ["neg", "/", "x1", "x2"]),
        (lambda a, b: (a * b) ** 2, ["pow2", "*", "x1", "x2"]),
        (lambda a, b: np.sqrt(a / b), ["pow1_2", "/", "x1", "x2"]),
        (lambda a, b: a**1.5, ["pow3", "pow1_2", "x1"]),
        (lambda a, b: 3 / b**2, ["mult3", "inv", "pow2", "x2"]),
        (lambda a, b: np.cbrt(a) / 2, ["div2", "pow1_3", "x1"]),
    ],
)
def test_shortest_form(y, tokens):
    X = np.random.default_rng(0).uniform(0.5, 5, (50, 2))
    found = best(problem(X, y(*X.T)))
    assert found.fvu < 1e-24 and len(found.expr) == len(tokens) and sorted(found.expr) == sorted(tokens)


def test_signs_that_need_abs():
    x = np.random.default_rng(1).normal(size=(80, 1)) * 3
    for y in (x[:, 0] * np.abs(x[:, 0]), np.sqrt(np.abs(x[:, 0])), np.abs(x[:, 0]) ** 3, -np.abs(x[:, 0])):
        assert best(problem(x, y)).fvu < 1e-20
    assert best(problem(x, np.cbrt(x[:, 0]))).expr == ["pow1_3", "x1"]
    assert best(problem(-np.abs(x), np.sqrt(np.abs(x[:, 0])))).fvu < 1e-20


def test_noise_snaps_to_the_law():
    rng = np.random.default_rng(2)
    X = rng.uniform(1, 10, (300, 3))
    y = 2.5 * X[:, 0] ** 2 / X[:, 1]
    noisy = y + 0.02 * y.std() * rng.normal(size=300)
    candidates = [c for batch in propose(problem(X, noisy), Budget(None)) for c in batch]
    law = [c for c in candidates if sorted(c.expr) == sorted(["*", "<constant>", "/", "pow2", "x1", "x2"])]
    assert law and abs(law[0].consts[0] - 2.5) < 0.02


def test_free_exponents_are_fitted_to_y_itself():
    X = np.linspace(1, 8, 40)[:, None]
    y = 3.3 * X[:, 0] ** 2.137
    found = best(problem(X, y))
    assert found.fvu < 1e-18 and np.allclose(sorted(found.consts), [2.137, 3.3], rtol=1e-6)


def test_irrelevant_constant_and_duplicate_columns():
    rng = np.random.default_rng(3)
    x = rng.uniform(1, 5, 60)
    X = np.column_stack([x, np.full(60, 7.0), rng.uniform(1, 2, 60)])
    found = best(problem(X, 4 * x**2))
    assert found.fvu < 1e-24 and "x2" not in found.expr and "x3" not in found.expr


def test_more_columns_than_rows():
    rng = np.random.default_rng(4)
    X = 10 ** rng.uniform(-2, 2, (60, 200))
    found = best(problem(X, 5.5 * X[:, 17] ** 2 / X[:, 120]))
    assert found.fvu < 1e-20 and {"x18", "x121"} <= set(found.expr)


@pytest.mark.parametrize(
    "X, y",
    [
        (np.ones((5, 2)), np.arange(5.0)),
        (np.arange(5.0)[:, None], np.full(5, 3.0)),
        (np.zeros((4, 1)), np.arange(4.0)),
        (np.arange(2.0)[:, None], np.array([1.0, 2.0])),
        (np.array([[1e-300], [1e300], [1.0], [2.0]]), np.array([1e300, 1e-300, 0.0, -1.0])),
        (np.arange(6.0)[:, None], np.zeros(6)),
    ],
)
def test_odd_tables_give_at_least_the_mean(X, y):
    candidates = [c for batch in propose(problem(X, y), Budget(None)) for c in batch]
    assert candidates and candidates[0].expr == ["<constant>"]
    assert all(np.isfinite(c.consts).all() for c in candidates)


def test_weights_decide_whom_to_believe():
    x = np.linspace(1, 4, 40)
    y = np.where(np.arange(40) % 2, 2 * x, 7 * x)
    found = best(problem(x[:, None], y, weights=(np.arange(40) % 2).astype(float)))
    assert found.expr == ["mult2", "x1"]


def test_a_long_table_costs_a_regression_on_some_of_its_rows():
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 5, (50_000, 3))
    problem = Problem(X, 2.5 * X[:, 0] ** 1.5 / X[:, 2], ["a", "b", "c"])
    assert Regression(problem, False).fit.M == ROWS
    best = min((c for batch in propose(problem, Budget(None)) for c in batch), key=lambda c: c.fvu)
    assert best.fvu < 1e-25


@pytest.mark.parametrize(
    "law",
    [
        lambda T, x: 1.3e11 * np.exp(-9000 / T),
        lambda T, x: 2.5e5 * T**1.5 * np.exp(-4000 / T),
        lambda T, x: 40 * np.exp(-0.7 * x),
        lambda T, x: 3e3 * x**2 * np.exp(-1.3 * x - 700 / T),
    ],
)
def test_laws_whose_logarithm_is_linear_come_back_whatever_their_constants(law):
    T, x = np.random.default_rng(3).uniform([280, 0.2], [400, 5.0], (40, 2)).T
    p = problem(np.column_stack([T, x]), law(T, x))
    found = best(p)
    assert "exp" in found.expr and found.fvu < 1e-18
    check_fvu(p, found)


def test_saturation_and_hyperbolas_are_those_of_curve_fit():
    from scipy.optimize import curve_fit

    rng = np.random.default_rng(4)
    x = rng.uniform(0.02, 1.2, 40)
    for law, start in ((lambda x, a, b: a * x / (b + x), (1, 1)), (lambda x, a, b: 1 / (a + b * x), (1, 1))):
        y = law(x, 3.0, 0.2) + rng.normal(0, 0.002, 40)
        theirs, _ = curve_fit(law, x, y, p0=start)
        candidates = [c for batch in propose(problem(x[:, None], y), Budget(None)) for c in batch if c.expr[0] == "inv"]
        ours = min(candidates, key=lambda c: c.fvu)
        assert np.allclose(evaluate(ours.expr, x[:, None], ours.consts), law(x, *theirs), rtol=1e-5)


def test_a_reaction_rate_with_errors_in_proportion_is_no_power_of_the_temperature():
    T = np.linspace(280, 400, 12)
    k = 1.3e11 * np.exp(-9000 / T) * (1 + np.random.default_rng(1).normal(0, 0.02, 12))
    for loss in ("auto", "relative"):
        options = turns.Options(proposers=("power", "curves"), loss=loss)
        found = turns.search(problem(T[:, None], k), options, Budget(None)).best
        assert found.expr == ["*", "<constant>", "exp", "/", "<constant>", "x1"]
        assert found.consts[1] == pytest.approx(-9000, rel=0.01)
