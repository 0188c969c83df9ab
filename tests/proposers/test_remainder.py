"""What a law of the pool leaves is found and put back; laws are those the tables were made of."""

import numpy as np
import pytest

from fansr.expressions import evaluate, free, from_infix
from fansr.fitting import Budget, Candidate, Problem, Refiner
from fansr.proposers import remainder
from fansr.search import selection

RNG = np.random.default_rng(8)
X = RNG.uniform(0.6, 3.5, (200, 4))
NAMES = ["x1", "x2", "x3", "x4"]


def pool_of(y, *laws):
    pool, fitter = selection.Pool(len(y)), Refiner(X, y)
    for law in laws:
        expr, consts = free(from_infix(law))
        fvu, consts = fitter.polish(expr, np.array(consts, dtype=float))
        pool.add(Candidate(expr, consts, fvu))
    return pool


@pytest.mark.parametrize(
    ("law", "part"),
    [
        ("0.7*x1**2/x2 + 0.1*sin(31*x3)", "0.7*x1**2/x2"),
        ("x1*x2 + 0.19*cos(1.1*x2*x3*x4)", "x1*x2"),
        ("x1**2*x2*(1 + 0.2*exp(-x3))", "x1**2*x2"),
    ],
)
def test_a_hidden_part_is_found(law, part):
    y = evaluate(from_infix(law), X)
    pool = pool_of(y, part)
    assert pool.best.fvu > 1e-6
    batches = remainder.propose(Problem(X, y, NAMES), Budget(None), np.random.default_rng(0), pool)
    best = min((c for batch in batches for c in batch), key=lambda c: c.fvu)
    assert best.fvu < 1e-20
    fresh = np.random.default_rng(9).uniform(0.6, 3.5, (50, 4))
    np.testing.assert_allclose(evaluate(best.expr, fresh, best.consts), evaluate(from_infix(law), fresh), rtol=1e-7)


def test_reductions_put_back_what_they_took():
    y = evaluate(from_infix("x1*x2 + 0.1*x3"), X)
    law = pool_of(y, "1.2*x1*x2").best
    for reduction in remainder.reductions(Problem(X, y, NAMES), law):
        smaller = reduction.problems[0]
        whole = reduction.restore(("x3",))
        given = evaluate(list(whole), X)
        assert np.isfinite(given).all() and smaller.X.shape == X.shape
        parts = smaller.y + X[:, 2] * 0
        rebuilt = (
            evaluate(law.expr, X, law.consts) + parts if whole[0] == "+" else evaluate(law.expr, X, law.consts) * parts
        )
        np.testing.assert_allclose(rebuilt, y, rtol=1e-12)


def test_nothing_without_a_pool_or_a_part():
    problem = Problem(X, X[:, 0] ** 2, NAMES)
    assert list(remainder.propose(problem, Budget(None), np.random.default_rng(0))) == []
    assert list(remainder.propose(problem, Budget(None), np.random.default_rng(0), pool_of(problem.y, "x1**2"))) == []
