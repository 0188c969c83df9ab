"""few_term_sums.py: the common laws, each from data of its own, whatever the clock says; and that it stays small."""

import time

import numpy as np
import pytest

from fansr.expressions import evaluate, from_infix, literal_value
from fansr.fitting import Budget, Problem
from fansr.proposers import few_term_sums
from fansr.streams import rng_for

LAWS = [
    ("3.7*a - 12.5", {"a": (0, 40)}, 6),
    ("4.1*a + 0.3*b - 7", {"a": (-5, 5), "b": (0, 9)}, 20),
    ("2 - 0.7*a + 0.04*a**3", {"a": (-6, 6)}, 15),
    ("a*b + c/d", {"a": (1, 5), "b": (1, 5), "c": (1, 5), "d": (1, 5)}, 40),
    ("1/(1/a - 2/b)", {"a": (1, 2), "b": (5, 9)}, 40),
    ("sqrt(a**2 + 3*b**2)", {"a": (1, 5), "b": (1, 5)}, 40),
    ("(a*d - b*c)**3", {"a": (0, 1), "b": (0, 1), "c": (0, 1), "d": (0, 1)}, 60),
    ("a*(b + 12)/(30 - c)", {"a": (1, 9), "b": (0, 9), "c": (0, 20)}, 50),
    ("a*exp(-b/c)", {"a": (1, 9), "b": (0.1, 4), "c": (1, 5)}, 50),
    ("acos(b*cos(a))", {"a": (0.1, 1.5), "b": (0.2, 0.9)}, 40),
    ("1.4*exp(-0.5*a)*sin(6*a + 1)", {"a": (0, 5)}, 70),
]


def drawn(formula, ranges, rows, seed=0):
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.uniform(low, high, rows) for low, high in ranges.values()])
    return Problem(X, evaluate(from_infix(formula, list(ranges)), X), list(ranges))


def best_of(problem):
    found = [c for batch in few_term_sums.propose(problem, Budget(0.0), rng_for(0, "t", 0)) for c in batch]
    return min(found, key=lambda c: c.fvu)


@pytest.mark.parametrize(("formula", "ranges", "rows"), LAWS, ids=[law[0] for law in LAWS])
def test_common_laws_are_found_with_no_time_at_all(formula, ranges, rows):
    problem = drawn(formula, ranges, rows)
    best = best_of(problem)
    fresh = drawn(formula, ranges, 500, seed=1)
    values = evaluate(best.expr, fresh.X, best.consts)
    assert np.allclose(values, fresh.y, rtol=1e-5, atol=1e-6 * np.abs(fresh.y).max())


def test_of_equal_sums_the_shortest_is_given():
    problem = drawn("sqrt(a**2 + b**2)", {"a": (1, 20), "b": (1, 20)}, 40)
    problem.y = np.array([float(f"{v:.10g}") for v in problem.y])
    best = best_of(problem)
    assert best.expr == "pow1_2 + pow2 x1 pow2 x2".split()


def test_the_work_does_not_grow_with_the_table():
    """Processor time of a table a hundred times as long: the same search on a sample, and one evaluation of the leaders."""
    rng = np.random.default_rng(0)
    spent = []
    for rows in (400, 400, 40000):
        problem = Problem(rng.uniform(1, 2, (rows, 4)), rng.normal(size=rows), list("abcd"))
        begun = time.process_time()
        best_of(problem)
        spent.append(time.process_time() - begun)
    assert spent[2] < 4 * spent[1] + 0.5


def test_a_wave_that_hardly_turns_is_not_proposed():
    problem = drawn("850*exp(-0.231*a)", {"a": (0, 15)}, 30)
    found = [c for batch in few_term_sums.propose(problem, Budget(0.0), rng_for(0, "t", 0)) for c in batch]
    assert all(
        "sin" not in c.expr or few_term_sums.turns_of(c, problem.X[:, 0]) > 0.4 for c in found if "exp" in c.expr
    )


def test_nothing_is_proposed_for_a_constant_target():
    x = np.linspace(0, 1, 20)[:, None]
    assert not list(few_term_sums.propose(Problem(x, np.ones(20), ["x"]), Budget(None), rng_for(0, "t", 0)))


def test_decaying_waves_of_a_column_far_from_zero_warn_of_nothing(capfd):
    x = 1.6e9 + np.sort(np.random.default_rng(0).uniform(0, 2e6, 80))
    problem = Problem(X=x[:, None], y=np.sin(2.5e-5 * x) + 1.4, names=["t"])
    for law in few_term_sums.decaying_waves(problem, 0, 8):
        assert np.isfinite([float(token) for token in law if literal_value(token) is not None]).all()
    assert "illegal" not in "".join(capfd.readouterr())  # LAPACK's own word for NaN, which no handler of Python's sees
