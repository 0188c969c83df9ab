"""Regressions of logarithms against scipy's, and products of powers with signs against numpy's."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.optimize import curve_fit

from fansr.expressions.programs import evaluate
from fansr.proposers.parts.candidates import fvu_of
from fansr.proposers.parts.power_products import LogRegression, power_products, rational


def test_exponents_and_errors_against_scipy():
    rng = np.random.default_rng(0)
    F, w = rng.normal(size=(80, 3)) * [1, 50, 1e-3], rng.uniform(0.2, 1, 80)
    t = 0.3 + F @ [2.0, -0.01, 300.0] + 0.1 * rng.normal(size=80)
    e, errors, residual = LogRegression(F, t, w).solve()
    fitted, covariance = curve_fit(lambda F, c, a, b, d: c + F @ [a, b, d], F, t, p0=[0, 1, 1, 1], sigma=1 / w)
    assert np.allclose(e, fitted[1:], rtol=1e-5)
    assert np.allclose(errors, np.sqrt(np.diag(covariance))[1:], rtol=1e-4)
    assert np.isclose(residual, np.sqrt(np.mean((w * (t - fitted[0] - F @ fitted[1:])) ** 2)))


def test_exponents_held_stay_and_the_rest_is_refitted():
    rng = np.random.default_rng(1)
    F = rng.normal(size=(60, 2)) @ np.array([[1, 0.7], [0, 1]])
    t = 1 + 2 * F[:, 0] + 3 * F[:, 1]
    e, errors, _ = LogRegression(F, t, np.ones(60)).solve({0: 1.5})
    A = np.column_stack([np.ones(60), F[:, 1]])
    assert e[0] == 1.5 and errors[0] == 0
    assert np.isclose(e[1], np.linalg.lstsq(A, t - 1.5 * F[:, 0], rcond=None)[0][1])


def test_some_of_the_factors_are_regressed_on_as_if_there_were_no_others():
    rng = np.random.default_rng(2)
    F, w = rng.normal(size=(50, 4)) + 3, rng.uniform(0.2, 1, 50)
    t = F @ [1.0, -2.0, 0.5, 0.0] + 0.1 * rng.normal(size=50)
    whole = LogRegression(F, t, w)
    for some, found in zip(whole.solve({0: 0.7}, among=[1, 3]), LogRegression(F[:, [1, 3]], t, w).solve({0: 0.7})):
        assert np.allclose(some, found)


@pytest.mark.parametrize("M", [3, 60])
def test_centred_coordinates_have_the_products_of_all_rows(M):
    rng = np.random.default_rng(3)
    F, t, w = rng.normal(size=(M, 4)) + 5, rng.normal(size=M), rng.uniform(0.2, 1, M)
    B, goal = LogRegression(F, t, w).centred()
    F, t = ((v - np.average(v, axis=0, weights=w * w)) * (w if v.ndim == 1 else w[:, None]) for v in (F, t))
    scale = np.sqrt((F * F).sum(0) / (B * B).sum(1))
    assert np.allclose(B * scale[:, None] @ (B * scale[:, None]).T, F.T @ F)
    assert np.allclose(B * scale[:, None] @ goal, F.T @ t) and np.isclose(goal @ goal, t @ t)


@given(st.one_of(st.floats(-1e6, 1e6), st.fractions(max_denominator=10**12)), st.integers(1, 10**9))
def test_fractions_are_those_of_the_standard_library(e, most):
    assert rational(e, most) == Fraction(e).limit_denominator(most)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6))
def test_signs_and_constants_are_settled(seed):
    rng = np.random.default_rng(seed)
    X = rng.choice([-1.0, 1.0], (60, 3)) * rng.uniform(0.2, 3, (60, 3))
    X[:, 2] = np.abs(X[:, 2]) * rng.choice([-1, 1])
    e = rng.choice([-2, -1, 1, 2, 3], 2).tolist() + [rng.choice([-1.0, 0.5, 1.5]) if X[0, 2] > 0 else 2]
    by_size = rng.random(2) < 0.3
    sign = np.prod(np.where(by_size | (np.array(e[:2]) % 2 == 0), 1.0, np.sign(X[:, :2])), axis=1)
    y = rng.choice([-1.7, 1.0, 2e-30, 1 / 3]) * sign * np.prod(np.abs(X) ** np.array(e, float), axis=1)
    laws = power_products(y, None, [((f"x{j + 1}",), X[:, j], e[j]) for j in range(3)])
    assert any(np.allclose(evaluate(list(law), X), y, rtol=1e-9, atol=0) for law in laws)


def test_an_exponential_goes_along():
    x = np.random.default_rng(0).uniform(-2, 2, 50)
    y = 4 * x**3 * np.exp(-x * x)
    laws = power_products(y, None, [(("x1",), x, 3)], (("neg", "pow2", "x1"), -x * x))
    assert np.allclose(evaluate(list(laws[-1]), x[:, None]), y)
    assert laws[0][0] == "mult4"  # a number that needs no constant


@pytest.mark.parametrize("y", [np.zeros(5), np.full(5, 1e-320)])
def test_nothing_where_there_is_no_size(y):
    assert power_products(y, None, [(("x1",), np.full(5, 1e-200), 4)]) == []


@pytest.mark.parametrize("noise", [0.0, 0.1, 1.0])
def test_a_simple_number_is_tried_where_it_costs_little(noise):
    rng = np.random.default_rng(0)
    x, w = rng.uniform(1, 5, 80), rng.uniform(0.2, 1, 80)
    e = noise * rng.normal(size=80)
    tried = []
    for c in np.linspace(1.75, 2.35, 13):
        y = c * x + e
        fitted = (w @ (x * y)) / (w @ (x * x))
        loss = fvu_of(y, fitted * x, w)
        little = fvu_of(y, 2 * x, w) <= max(1.5 * loss, loss + 1e-3)
        assert (("mult2", "x1") in power_products(y, w, [(("x1",), x, 1)])) == little
        tried.append(little)
    assert any(tried) and not all(tried)
