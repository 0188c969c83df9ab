"""Peaks and decays over a floor, against the laws they were made of."""

import numpy as np
import pytest

from fansr.fitting.problem import Problem
from fansr.proposers.parts.candidates import Polisher, measured
from fansr.proposers.target_offset import offsets


def make(law, D, M=400, low=0.5, high=3.5, seed=1):
    X = np.random.default_rng(seed).uniform(low, high, (M, D))
    return Problem(X=X, y=law(*X.T), names=[f"x{j + 1}" for j in range(D)])


@pytest.mark.parametrize("law, D, longest", [
    (lambda a: 0.26 * np.exp(-(((a - 2.3) / 0.13) ** 2)) + 1, 1, 13),
    (lambda a, b: b * np.exp(-(((a - 1.4) / 0.15) ** 2)) + 0.28, 2, 13),
    (lambda a, b, c: c * np.exp(-(((a - b) / 0.17) ** 2)) - 1.8, 3, 14),
    (lambda a, b: 4 - 2 * np.exp(-a * b), 2, 12),
    (lambda a: 1e30 * (3 + 7 * np.exp(-1.3 * a)), 1, 12),
])  # fmt: skip
def test_over_a_floor(law, D, longest):
    problem = make(law, D)
    found = Polisher(problem)(measured(problem, offsets(problem), "scan"), 6, 8.0)
    exact = [c for c in found if c.fvu < 1e-20]
    assert exact and min(c.length for c in exact) <= longest


def test_nothing_without_a_bell():
    assert not offsets(make(lambda a, b: np.sin(9 * a) * b, 2))


@pytest.mark.parametrize("y", [np.arange(30) % 2.0, np.r_[np.zeros(29), 1e300], np.arange(30) * 1e-308])
def test_odd_tables_do_no_harm(y):
    offsets(Problem(X=np.column_stack([np.arange(30.0), np.r_[np.full(29, 1e-250), 1e250]]), y=y, names=["a", "b"]))
