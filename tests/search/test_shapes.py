"""Shapes that a law must have: read, checked on laws that have them and laws that do not, and kept by searches."""

import numpy as np
import pytest

from fansr.expressions import evaluate, free, from_infix, to_infix
from fansr.fitting import Budget, Candidate, Problem, Refiner
from fansr.search import rules, shapes, turns

NAMES = ["x", "z"]


def problem_of(y=None, low=-2.0, high=3.0, M=80, seed=0):
    X = np.random.default_rng(seed).uniform(low, high, (M, 2))
    return Problem(X, X[:, 0] if y is None else y(*X.T), list(NAMES))


def law(text):
    expr, consts = free(from_infix(text, NAMES))
    return Candidate(expr, np.array(consts, float), 0.0)


@pytest.mark.parametrize("said, good, bad", [
    ({"through": "0,0,0"}, "3*x + z**2", "3*x + 1"), ({"through": "x=0: 5"}, "5 + x*z", "5 + z"),
    ({"through": "0,0,0; 1,1,2"}, "x + z", "x + 2*z"), ({"monotone": "x+"}, "x + sin(x)", "x + 1.2*sin(x)"),
    ({"monotone": "x-,z+"}, "z**3 - x", "z**2 - x"), ({"even": "x"}, "z*cos(x)", "z + x"), ({"odd": "x"}, "x*z", "x + z"),
    ({"periodic": "x:2"}, "sin(3.141592653589793*x) + z", "sin(3.14*x) + z"), ({"convex": "x"}, "abs(x) + exp(x)", "x**3"),
    ({"convex": "z-"}, "x - z**2", "x + z**2"), ({"limit": "x->inf: 0"}, "z*exp(-2*x)", "0.01 + exp(-x)"),
    ({"limit": "x->inf: 0"}, "1/log(x**2 + 2)", "1/log(z**2 + 2)"), ({"limit": "x->inf: inf"}, "log(x**2 + 1)", "x/(x**2 + 1)"),
    ({"limit": "x->-inf: 2"}, "2 + exp(x)", "2 + exp(-x)"), ({"limit": "x->0: 1"}, "sin(x)/x", "sin(x)"),
])  # fmt: skip
def test_laws_with_and_without_a_shape(said, good, bad):
    problem, wanted = problem_of(), shapes.parse(**said)
    shapes.check(wanted, problem.names)
    checker = shapes.Checker(problem, wanted)
    assert checker.proven(law(good)), checker.broken(law(good).expr, law(good).consts)
    assert not checker.proven(law(bad))


@pytest.mark.parametrize("said, text, value", [
    ({"through": "0,0,0"}, "1.5*x + 2*z + 0.1", "+ <constant>"), ({"through": "0,0,3"}, "1.5*x + 2*z + 0.1", 3.0),
    ({"odd": "x"}, "1.5*x + 0.2*z", None), ({"even": "x"}, "0.3*x + 2*x**2 + 1", None), ({"limit": "x->inf: 0"}, "exp(-x) + 0.1", None),
    ({"periodic": "x:2"}, "sin(3.1*x + 0.2) + 1", None),
])  # fmt: skip
def test_constants_are_fitted_under_a_shape(said, text, value):
    X = np.random.default_rng(2).uniform(0.2, 3, (60, 2))
    start = law(text)
    y = evaluate(start.expr, X, start.consts) + 0.02 * np.random.default_rng(3).normal(size=60)
    problem = Problem(X, y, list(NAMES))
    checker, fitter = shapes.Checker(problem, shapes.parse(**said)), Refiner(X, y)
    assert checker.broken(start.expr, start.consts) is not None
    found = checker.conformed(start, fitter)
    assert found is not None and checker.broken(found.expr, found.consts) is None
    assert found.fvu == pytest.approx(np.mean((y - evaluate(found.expr, X, found.consts)) ** 2) / np.var(y), rel=1e-6)


@pytest.mark.parametrize("said, truth, has", [
    ({"through": "0,0"}, lambda x: 2 * x + 0.05, lambda f: abs(f(np.zeros(1))[0]) < 1e-9),
    ({"monotone": "x+"}, lambda x: x + 1.3 * np.sin(x), lambda f: (np.diff(f(np.linspace(-2, 3, 2001))) > -1e-9).all()),
    ({"odd": "x"}, lambda x: x**3 - x + 0.1, lambda f: np.allclose(f(-np.linspace(0.1, 3, 50)), -f(np.linspace(0.1, 3, 50)))),
    ({"convex": "x"}, lambda x: x**3, lambda f: (np.diff(f(np.linspace(-2, 3, 801)), n=2) > -1e-8).all()),
])  # fmt: skip
def test_a_search_keeps_a_shape_that_the_data_do_not_have(said, truth, has):
    rng = np.random.default_rng(5)
    X = rng.uniform(-2, 3, (60, 1))
    X[:2, 0] = -2, 3
    y = truth(X[:, 0]) + 0.01 * rng.normal(size=60)
    found = turns.search(Problem(X, y, ["x"]), turns.Options(rules=rules.parse(**said), samples=64), Budget(0.0))
    assert found.best is not None
    for one in (found.best, *found.front):
        f = lambda x, one=one: np.asarray(evaluate(one.expr, x[:, None], one.consts)) + 0 * x  # noqa: E731
        assert has(f), to_infix(one.expr, one.consts, ["x"])


def test_a_periodic_law_is_found_with_its_period():
    rng = np.random.default_rng(6)
    t = rng.uniform(0, 60, 90)
    y = 3 + 2 * np.sin(2 * np.pi * t / 24 + 1) + 0.7 * np.cos(2 * np.pi * t / 12) + 0.1 * rng.normal(size=90)
    said = rules.parse(periodic="t:24")
    found = turns.search(Problem(t[:, None], y, ["t"]), turns.Options(rules=said, samples=0), Budget(0.5))
    at = np.linspace(0, 24, 50)
    values = [np.asarray(evaluate(found.best.expr, (at + k * 24)[:, None], found.best.consts)) for k in (0, 1, 5)]
    np.testing.assert_allclose(values[1], values[0], atol=1e-7)
    np.testing.assert_allclose(values[2], values[0], atol=1e-6)
    assert found.best.fvu < 0.02


@pytest.mark.parametrize("said, word", [
    ({"monotone": "x"}, "direction"), ({"periodic": "x"}, "period"), ({"periodic": "x:-3"}, "period"), ({"through": "5"}, "0,0"),
    ({"limit": "x: 0"}, "x->inf"), ({"limit": "x->inf: a"}, "number"), ({"through": "x=1"}, "0,0"),
])  # fmt: skip
def test_what_cannot_be_read_is_said(said, word):
    with pytest.raises(ValueError, match=word):
        shapes.parse(**said)


@pytest.mark.parametrize("said, word", [
    ({"monotone": "w+"}, "no column is called 'w'"), ({"even": "xx"}, "nearest is 'x'"), ({"through": "0,0"}, "wanted 3"),
    ({"through": "0,0,0;0,0,1"}, "no law is both"), ({"limit": "x->inf:0;x->inf:1"}, "no law is both"),
])  # fmt: skip
def test_what_no_table_has_is_said(said, word):
    with pytest.raises(ValueError, match=word):
        shapes.check(shapes.parse(**said), NAMES)
