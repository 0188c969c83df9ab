"""repeated_curves.py: sums of like curves beside scipy's fit begun at the truth, and no more of them than the rows tell."""

import numpy as np
import pytest
from scipy.optimize import curve_fit

from fansr.expressions import evaluate
from fansr.fitting import Budget, Problem
from fansr.proposers.repeated_curves import Table, propose

X = np.linspace(0, 100, 200)


def bells(x, a, b, *more):
    return a + b * x + sum(h * np.exp(-(((x - c) / w) ** 2)) for h, c, w in zip(*[iter(more)] * 3))


def peaks(x, a, *more):
    return a + sum(h / (1 + ((x - c) / w) ** 2) for h, c, w in zip(*[iter(more)] * 3))


def decays(x, *more):
    return sum(h * np.exp(-k * x / 25) for h, k in zip(*[iter(more)] * 2))


def steps(x, a, *more):
    return a + sum(h * np.tanh((x - c) / w) for h, c, w in zip(*[iter(more)] * 3))


def waves(x, a, *more):
    return a + sum(h * np.sin(w * x + m) for h, w, m in zip(*[iter(more)] * 3))


CASES = {
    "bells on a line": (bells, [4, 0.3, 30, 35, 6, 25, 55, 9], 1.0),
    "three peaks": (peaks, [4, 55, 60, 5, 30, 25, 3, 20, 82, 4], 0.5),
    "three decays": (decays, [2, 0.5, 3, 2, 1.5, 6], 1e-5),
    "three steps": (steps, [4, 3, 20, 3, 5, 50, 6, 2, 80, 2], 0.2),
    "three waves": (waves, [10, 3, 0.5, 1, 2, 0.12, 0, 1.5, 1.9, 0.4], 1.0),
}


def table(x, y):
    return Problem(np.ascontiguousarray(x[:, None]), y, ["x"])


@pytest.mark.parametrize("name", CASES)
def test_a_sum_is_as_good_as_scipys_fit_begun_at_the_truth(name):
    f, truth, noise = CASES[name]
    y = f(X, *truth) + noise * np.random.default_rng(0).standard_normal(len(X))
    best = curve_fit(f, X, y, p0=truth, maxfev=20_000)[0]
    bar = float(np.sum((y - f(X, *best)) ** 2))
    found = [c for batch in propose(table(X, y), Budget(None), np.random.default_rng(0)) for c in batch]
    as_short = [c for c in found if len(c.consts) <= len(truth) + 2]
    left = [float(np.sum((y - evaluate(c.expr, X[:, None], c.consts)) ** 2)) for c in as_short]
    assert min(left) <= bar * (1 + 1e-6)


def test_fvus_are_those_of_the_laws():
    f, truth, noise = CASES["bells on a line"]
    y = f(X, *truth) + noise * np.random.default_rng(1).standard_normal(len(X))
    for batch in propose(table(X, y), Budget(None), np.random.default_rng(0)):
        for c in batch:
            missed = y - evaluate(c.expr, X[:, None], c.consts)
            assert c.fvu == pytest.approx(float(missed @ missed) / float(np.sum((y - y.mean()) ** 2)), rel=1e-9)


def test_noise_is_not_followed():
    """In noise alone nothing is gone on with after the second curves."""
    y = np.random.default_rng(2).standard_normal(len(X))
    found = [c for batch in propose(table(X, y), Budget(None), np.random.default_rng(0)) for c in batch]
    assert 0 < len(found) <= 27 and all(c.fvu > 0.7 for c in found)


def test_other_tables_are_left_alone():
    rng = np.random.default_rng(3)
    two = Problem(rng.random((50, 2)), rng.random(50), ["a", "b"])
    few = table(X[:8], X[:8] ** 2)
    assert not list(propose(two, Budget(None), rng)) and not list(propose(few, Budget(None), rng))


def test_a_sum_of_nothing_is_none():
    table = Table(Problem(X[:, None], np.sin(X), ["x"], "y"), 0)
    assert table.polished("bell", [], level=False) is None
    assert table.polished("bell", []).found.fvu == pytest.approx(1, rel=1e-6)
