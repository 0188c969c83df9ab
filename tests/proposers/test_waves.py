"""Oscillations whose frequency stands in no list, against the laws they were made of."""

import numpy as np
import pytest

from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers import waves
from fansr.proposers.waves import Waves


def make(law, D, M=400, low=0.2, high=3.0, seed=1):
    X = np.random.default_rng(seed).uniform(low, high, (M, D))
    return Problem(X=X, y=law(*X.T), names=[f"x{j + 1}" for j in range(D)])


@pytest.mark.parametrize("law, D, bounds", [
    (lambda a, b: b * np.cos(17.3 * a) + 0.4 * b, 2, (0.2, 3.0)),
    (lambda a, b: 2.3 * np.exp(-0.7 * a) * np.sin(5.1 * a + b) - 1.2, 2, (0.2, 4.0)),
    (lambda a, b, c: c * np.exp(-a * b) * np.cos(9.3 * a), 3, (0.3, 2.5)),
    (lambda a, b: 2 - 2.1 * np.cos(9.8 * a) * np.sin(1.3 * b), 2, (-5.0, 5.0)),
    (lambda a, b: 1.7 * np.sin(3.1 * a - 2.2 * b + 0.4) + 3, 2, (-3.0, 3.0)),
    (lambda a: 1.5 * np.sin(11.0 * a) + 0.8 * np.cos(4.7 * a + 1.0), 1, (0.0, 4.0)),
    (lambda a, b: np.sin(9.8 * a * b) ** 2, 2, (0.5, 3.0)),
    (lambda a: 6.87 + 11 * np.cos(7.23 * a**3), 1, (-2.0, 2.0)),
])  # fmt: skip
def test_waves_are_found_exactly(law, D, bounds):
    problem = make(law, D, low=bounds[0], high=bounds[1])
    found = [c for batch in waves.propose(problem, Budget(None), np.random.default_rng(0)) for c in batch]
    best = min(found, key=lambda c: c.fvu)
    assert best.fvu < 1e-20 and best.length < 24
    unseen = make(law, D, low=bounds[0], high=bounds[1], seed=2)
    assert np.allclose(evaluate(best.expr, unseen.X, best.consts), unseen.y, rtol=1e-6, atol=1e-8)


def test_a_fast_wave_under_noise():
    problem = make(lambda a, b: b * np.sin(12 * a) + 2 * a, 2)
    rng = np.random.default_rng(5)
    noise = 0.1 * problem.y.std() * rng.normal(size=len(problem.y))
    problem.y = problem.y + noise
    found = [c for batch in waves.propose(problem, Budget(None), np.random.default_rng(0)) for c in batch]
    assert min(c.fvu for c in found) < 1.1 * np.var(noise) / np.var(problem.y)


def test_the_peak_of_the_periodogram_is_the_frequency():
    problem = make(lambda a, b: (1 + b) * np.cos(14.2 * a + 0.3), 2)
    some = Waves(problem, [0, 1], np.random.default_rng(0))
    peak = max(some.peaks(some.arguments[0]), key=lambda p: p.explained)
    assert abs(peak.k - 14.2) < 0.02 and peak.explained > 0.99


@pytest.mark.parametrize("y", [np.full(40, 2.0), np.r_[np.zeros(39), 1e300], np.arange(40) * 1e-300])
def test_odd_tables_do_no_harm(y):
    problem = Problem(
        X=np.column_stack([np.arange(40.0), np.ones(40), np.r_[np.full(39, 1e-200), 1e200]]), y=y, names=["a", "b", "c"]
    )
    for batch in waves.propose(problem, Budget(None), np.random.default_rng(0)):
        assert all(np.isfinite(c.fvu) for c in batch)
