"""two_term_laws.py: two terms with inner constants are found off every grid, products beside a background too, and rows are not overspent."""

import numpy as np
import pytest

from fansr.expressions.infix import from_infix
from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers import two_term_laws


def candidates(infix, D, n=300):
    rng = np.random.default_rng(3)
    names = [f"x{j + 1}" for j in range(D)]
    X = rng.uniform(0.3, 3.0, (n, D))
    truth = from_infix(infix, names)
    batches = two_term_laws.propose(Problem(X, evaluate(truth, X), names), Budget(None), np.random.default_rng(0))
    Z = rng.uniform(0.3, 3.0, (200, D))
    t = evaluate(truth, Z)
    found = [c for batch in batches for c in batch]
    return found, [float(np.mean((evaluate(c.expr, Z, c.consts) - t) ** 2) / np.var(t)) for c in found]


@pytest.mark.parametrize("infix, D", [
    ("x1*exp(-1.4*x2) - 1.2*x2*exp(-1.3*x1)", 2),
    ("log(0.46 + x1) + 2.9*exp(-0.66*x2)", 2),
    ("0.7*tanh(1.1*x1) + x2/(0.63 + x2)", 2),
    ("x1/x3*tanh(2.7*x2) + 0.28", 3),
    ("tanh(0.42*x1)*exp(-0.42*x2) + 1.7*x1", 2),
    ("(4.2 + x2*exp(-0.78*x1))*tanh(0.7*x3)", 3),
    ("(2.6 + sin(1.2*x1))/(0.56 + x2**2) - 0.4", 2),
    ("1.2*x1 + 0.7*x2 + 2.1*sqrt(x1*x2)*cos(0.9*x3) - 0.3", 3),
    ("1/(0.3*x1 + exp(-0.8*x2) + 0.2)", 2),
])  # fmt: skip
def test_two_inner_constants(infix, D):
    found, errors = candidates(infix, D)
    best = min(range(len(found)), key=errors.__getitem__)
    assert errors[best] < 1e-20, (errors[best], found[best].expr)


def test_reported_misfits_are_those_of_the_rows():
    rng = np.random.default_rng(5)
    X = rng.uniform(0.3, 3.0, (60, 2))
    y = np.exp(-X[:, 0]) + 0.3 * X[:, 1] + 0.05 * rng.normal(size=60)
    for batch in two_term_laws.propose(Problem(X, y, ["a", "b"]), Budget(None), np.random.default_rng(0)):
        for c in batch:
            own = float(np.sum((evaluate(c.expr, X, c.consts) - y) ** 2) / np.sum((y - y.mean()) ** 2))
            assert own == pytest.approx(c.fvu, rel=1e-6)


def test_few_rows_are_left_alone():
    assert candidates("log(0.46 + x1) + 2.9*exp(-0.66*x2)", 2, n=12)[0] == []
