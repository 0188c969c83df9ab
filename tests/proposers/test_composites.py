"""Laws of a plain part and a composite one, against laws written down here; what comes off is checked by itself."""

import numpy as np
import pytest

from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers.composites import propose
from fansr.proposers.parts import plain_parts, wave_columns


def make(law, D, M=300, low=0.5, high=3.0, seed=0):
    X = np.random.default_rng(seed).uniform(low, high, (M, D))
    return Problem(X=X, y=law(*X.T), names=[f"x{j + 1}" for j in range(D)])


LAWS = {
    "a power law and an awkward curve": (lambda a, b, c: a**2 / np.sqrt(b) * np.log(1 + 0.7 * c**2), 3),
    "the same under a root": (lambda a, b, c, d: np.sqrt(a * b**3 / c * (1.3 + np.cos(1.1 * d))), 4),
    "a power law in an exponential": (lambda a, b, c, d, e: 2 / a * np.exp(-0.2 * a * b**2 * c / (d * e)), 5),
    "a front of a function of two": (lambda a, b, c, d: a * b**2 / (1 + 0.7 * c + c * d), 4),
    "a weak remainder": (lambda a, b, c, d: 4 * a * b**2 + 0.1 / (c + 1.4 * d**2), 4),
    "a weak function of a product": (lambda a, b, c: 3 * a + 0.1 * np.exp(-0.3 * b * c), 3),
    "a fast wave of a product": (lambda a, b, c: b * np.sin(68 * a * c), 3),
    "a fast wave and a logarithm": (lambda a, b, c: c * np.log(b) * np.cos(37 * a + 0.7), 3),
    "an awkward root": (lambda a, b, c: a * np.sqrt(b * (1 - np.sin(0.53 * c))), 3),
}


@pytest.mark.parametrize("name", LAWS)
def test_laws_are_found_exactly(name):
    law, D = LAWS[name]
    fresh = make(law, D, seed=1)
    for batch in propose(make(law, D), Budget(None), np.random.default_rng(0)):
        for c in batch:
            if c.fvu < 1e-18:
                values = evaluate(c.expr, fresh.X, c.consts)
                assert np.sum((values - fresh.y) ** 2) < 1e-12 * np.sum((fresh.y - fresh.y.mean()) ** 2)
                return
    raise AssertionError("not found")


def off(kind, law, D, **options):
    problem = make(law, D, **options)
    return problem, [r for r in kind(problem, plain_parts.Sample(problem)) if r is not None]


def test_a_front_comes_off_whatever_stands_behind_it():
    problem, found = off(plain_parts.fronts, lambda a, b, c: a**1.5 / b * (2 + np.sin(2 * c)), 3)
    (smaller,) = found[0].problems
    assert smaller.names == ["x3"]
    np.testing.assert_allclose(smaller.y, 2 + np.sin(2 * problem.X[:, 2]), rtol=1e-12)
    whole = evaluate(list(found[0].restore(("+", "2.0", "sin", "mult2", "x1"))), problem.X)
    np.testing.assert_allclose(whole, problem.y, rtol=1e-12)


def test_no_front_comes_off_a_column_that_matters_to_the_rest():
    for law in (lambda a, b, c: (a + 1) ** 2 / b * c, lambda a, b, c: a**b * c + b):
        _, found = off(plain_parts.fronts, law, 3)
        for reduction in found:
            kept = set(reduction.problems[0].names)
            assert "x1" in kept


def test_a_product_is_seen_through_any_function():
    _, found = off(plain_parts.monomial_fronts, lambda a, b, c, d: np.log(1 + a * b**2 / c) / d, 4)
    (smaller,) = found[0].problems
    m = smaller.X[:, 0]
    order = np.argsort(m)
    # y over the front must be one function of m: neighbours in m are neighbours in it.
    jumps = np.abs(np.diff(smaller.y[order]))
    assert jumps.max() < 0.1 * np.ptp(smaller.y)
    np.testing.assert_allclose(smaller.y, np.log(1 + m), rtol=1e-10)


def test_a_plain_sum_comes_off_to_what_the_polynomial_left():
    problem, found = off(plain_parts.summands, lambda a, b, c, d: 4 * a * b**2 + 0.05 * np.cos(c - d), 4)
    (smaller,) = min(found, key=lambda r: r.error).problems
    assert smaller.names == ["x3", "x4"]
    np.testing.assert_allclose(smaller.y, 0.05 * np.cos(problem.X[:, 2] - problem.X[:, 3]), atol=1e-4)


def test_a_wave_is_read_with_its_phase():
    problem, found = off(wave_columns.wave_columns, lambda a, b: b**2 * np.cos(41 * a + 1.0) + b, 2)
    wave = found[0].problems[0].X[:, -1]
    truth = np.cos(41 * problem.X[:, 0] + 1.0)
    assert abs(np.corrcoef(wave, truth)[0, 1]) > 0.9999
    np.testing.assert_allclose(evaluate(list(found[0].restore(("x2",))), problem.X), wave, rtol=1e-9, atol=1e-9)


def test_a_narrow_column_is_seen_from_near():
    X = np.random.default_rng(0).uniform([9.78, 0.5, 0.5], [9.82, 3, 3], (200, 3))
    problem = Problem(X=X, y=np.sin(100 * (X[:, 0] - 9.75)) * X[:, 1] + X[:, 2], names=["x1", "x2", "x3"])
    nearer = plain_parts.shifted(problem)
    assert np.abs(nearer.problems[0].X[:, 0]).max() < 0.03
    found = (c for batch in propose(problem, Budget(None), np.random.default_rng(0)) for c in batch)
    assert next(c.fvu for c in found if c.fvu < 1e-18)
    assert plain_parts.shifted(make(LAWS["a weak remainder"][0], 4)) is None


def test_noise_has_no_wave():
    rng = np.random.default_rng(5)
    problem = Problem(X=rng.uniform(0, 1, (120, 2)), y=rng.normal(size=120), names=["x1", "x2"])
    assert [r for r in wave_columns.wave_columns(problem, plain_parts.Sample(problem)) if r is not None] == []


@pytest.mark.parametrize(
    "X, y",
    [
        (np.zeros((60, 2)), np.arange(60.0)),
        (np.random.default_rng(0).normal(size=(60, 3)) * 1e200, np.random.default_rng(1).normal(size=60)),
        (np.random.default_rng(0).integers(0, 2, (60, 3)).astype(float), np.random.default_rng(1).normal(size=60)),
        (np.random.default_rng(0).normal(size=(60, 2)), np.random.default_rng(1).normal(size=60) * 1e-300),
        (np.random.default_rng(0).uniform(1, 2, size=(60, 3)) * [1, 0, 1], np.random.default_rng(1).uniform(1, 2, 60)),
    ],
)
def test_odd_tables_do_no_harm(X, y):
    problem = Problem(X=X, y=y, names=[f"x{j + 1}" for j in range(X.shape[1])])
    with np.errstate(all="ignore"):
        for number, batch in enumerate(propose(problem, Budget(None), np.random.default_rng(0))):
            assert all(np.isfinite(c.fvu) for c in batch)
            if number > 40:
                break


def test_it_ends_with_the_budget():
    assert not any(propose(make(LAWS["a weak remainder"][0], 4), Budget(0.0), np.random.default_rng(0)))
