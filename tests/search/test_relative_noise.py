"""Noise in proportion to the values: told from the residuals, and what the search then answers."""

import math

import numpy as np
import pytest

from fansr.evaluation import result
from fansr.expressions import evaluate
from fansr.fitting import Budget, Candidate, Problem
from fansr.search import outliers, relative_noise, turns


def table(seed, spread, law, decades=4.0, M=60):
    """x (M, 1) over decades and law(x) with Gaussian errors of a share of each value."""
    rng = np.random.default_rng(seed)
    x = 10 ** rng.uniform(0, decades, M)
    return Problem(x[:, None], law(x) * (1 + spread * rng.normal(0, 1, M)), ["x"])


def search(problem, **options):
    return turns.search(problem, turns.Options(**options), Budget(0.0))


@pytest.mark.parametrize("seed", range(4))
def test_a_power_law_over_decades_has_the_exponent_of_a_fit_of_logarithms(seed):
    problem = table(seed, 0.05, lambda x: 3 * x**2.5)
    found = search(problem, seed=seed)
    slope, offset = np.polyfit(np.log(problem.X[:, 0]), np.log(problem.y), 1)
    x = np.geomspace(10, 1e4, 50)
    values = evaluate(found.best.expr, x[:, None], found.best.consts)
    assert np.allclose(np.log(values), offset + slope * np.log(x), atol=0.1)
    # Least squares on the values themselves is free at the small end.
    plain = search(problem, seed=seed, loss="squares")
    assert plain.weights is None and found.weights is not None
    assert found.weights == pytest.approx(problem.y**-2.0 / np.mean(problem.y**-2.0))


def test_errors_of_one_size_and_exact_laws_are_left_alone():
    rng = np.random.default_rng(5)
    x = 10 ** rng.uniform(0, 2, 80)
    even = Problem(x[:, None], 3 * x**1.5 + 40 + 5 * np.abs(rng.normal(0, 1, 80)), ["x"])
    assert search(even).weights is None
    assert search(Problem(x[:, None], 3 * x**1.5 + x, ["x"])).weights is None
    signs = Problem(x[:, None], 3 * x * rng.choice([-1, 1], 80), ["x"])
    assert not relative_noise.possible(signs)


def test_the_likelihoods_are_scipys():
    """The gain of errors in proportion over even ones, by scipy's normal densities at the widths that are best."""
    from scipy.stats import norm

    problem = table(3, 0.1, lambda x: 2 * x, decades=2)
    r = problem.y - 2 * problem.X[:, 0]
    even = norm.logpdf(r, scale=math.sqrt(np.mean(r**2))).sum()
    relative = norm.logpdf(r, scale=problem.y * math.sqrt(np.mean((r / problem.y) ** 2))).sum()
    M = len(r)
    ours = -M / 2 * math.log(np.mean((r / problem.y) ** 2)) - np.log(problem.y).sum() + M / 2 * math.log(np.mean(r**2))
    assert relative - even == pytest.approx(ours)
    assert ours > relative_noise.CONVINCED


def test_the_verdict_speaks_of_shares_and_the_remark_says_what_was_done():
    problem = table(1, 0.05, lambda x: 3 * x**2.5)
    options = turns.Options()
    judged = result.judged(outliers.find(problem, options, Budget(0.0)), problem, options)
    assert judged.verdict == "noise" and "% of each value" in judged.text
    share = float(judged.text.split("noise of ")[1].split(" %")[0])
    assert 3.4 < share < 6.6
    assert [r["code"] for r in judged.remarks][:1] == ["relative noise"]


def test_rows_are_weighed_on_demand_also_where_the_target_is_zero():
    x = np.arange(20.0)
    found = search(Problem(x[:, None], 2 * x, ["x"]), loss="relative")
    assert np.isfinite(found.weights).all() and found.best.fvu < 1e-20


@pytest.mark.parametrize(
    "decades, spread, weighed", [(0.7, 1e-3, True), (0.7, 0.05, False), (0.4, 1e-3, False), (1.2, 0.05, True)]
)
def test_close_errors_are_told_sooner(decades, spread, weighed):
    """Of a tenth of a per cent over a factor of five as printed digits are, or of five per cent over more than a decade."""
    problem = table(2, spread, lambda x: 3 * x, decades=decades, M=80)
    line = Candidate(["*", "<constant>", "x1"], np.array([3.0]), 1e-6)
    assert relative_noise.found(problem, [line], 1e-26) is weighed
    even = Problem(problem.X, 3 * problem.X[:, 0] + 3 * spread * np.random.default_rng(0).normal(0, 1, 80), ["x"])
    assert not relative_noise.found(even, [line], 1e-26)


def test_even_errors_that_seemed_relative_are_found_to_be_even():
    """A power of the first rows misses in proportion; the law that is found then does not."""
    rng = np.random.default_rng(2)
    X = 10 ** rng.uniform(-0.3, 1.5, (70, 2))
    law = 23 * X[:, 0] * X[:, 1] / ((4.8 + X[:, 0]) * (3.6 + X[:, 1]))
    y = law + 0.006 * law.std() * rng.normal(size=70)
    problem = Problem(X, y, ["x", "z"])
    powers = [Candidate("* <constant> * pow x1 <constant> pow x2 <constant>".split(), source="power")]
    state = turns.Turns(problem, turns.Options(), Budget(0.0))
    state.offer(powers)
    state._weigh()
    assert state.relative
    state.offer([Candidate("* <constant> * / x1 + <constant> x1 / x2 + <constant> x2".split(), source="saturations")])
    found = state.finish(0.0, "ok")
    assert not state.relative and found.candidates >= 2
    values = evaluate(found.best.expr, X, found.best.consts)
    assert np.mean((y - values) ** 2) < 1.05 * np.mean((y - law) ** 2)


def test_relative_errors_stay_relative():
    problem = table(1, 0.05, lambda x: 3 * x**2.5)
    state = turns.Turns(problem, turns.Options(), Budget(0.0))
    state._weigh()
    state.offer([Candidate("* <constant> pow x1 <constant>".split(), source="power")])
    state.finish(0.0, "ok")
    assert state.relative


@pytest.mark.parametrize("digits", [0, 7])
def test_what_wrong_laws_leave_of_computed_numbers_is_no_noise(digits):
    """The misfit of a line through a bend is in proportion to the values, and has a shape."""
    x = np.geomspace(1, 1000, 60)
    y = x * (1 + 0.04 * np.sin(np.log(x) * 2))
    y = np.array([float(f"{v:.{digits}g}") for v in y]) if digits else y
    line = [Candidate("* <constant> x1".split(), np.array([1.0]), 1e-3)]
    assert relative_noise.found(Problem(x[:, None], y, ["x"]), line, 1e-26) is bool(digits)
