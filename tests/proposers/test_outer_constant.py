"""outer_constant.py: one constant outside of a sum is found to the last digit, and noise or a law of another kind gives nothing."""

import numpy as np
import pytest

from fansr.expressions.infix import from_infix
from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Problem
from fansr.proposers import outer_constant


def found(infix, D, noise=0.0, n=300):
    rng = np.random.default_rng(3)
    names = [f"x{j + 1}" for j in range(D)]
    X = rng.uniform(0.3, 3.0, (n, D))
    truth = from_infix(infix, names)
    y = evaluate(truth, X) + noise * rng.normal(size=n)
    batches = outer_constant.propose(Problem(X, y, names), Budget(None), np.random.default_rng(0))
    candidates = [c for batch in batches for c in batch]
    Z = rng.uniform(0.3, 3.0, (200, D))  # judged on rows it never saw, by the law's own formula
    t = evaluate(truth, Z)
    return [(float(np.mean((evaluate(c.expr, Z, c.consts) - t) ** 2) / np.var(t)), c.length) for c in candidates], len(
        truth
    )


@pytest.mark.parametrize("infix, D", [
    ("tanh(0.11*(0.68*x1*x2 + x2))", 2),
    ("2.3/(1 + exp(1.2*x2 + 3*x1*x2 - 4.1))", 2),
    ("x2*tanh(0.21*(0.23 + 0.23*x1 + 0.61*x1*x3))", 3),
    ("1/sqrt(x4*x2 + x2**2 + 3.8*x2*x3) + 0.49*x1", 4),
    ("2.1*x1 - sqrt(x1 + x2*x3)", 3),
    ("cbrt(x1 - x2) - 0.7", 2),
    ("(3.9 + x3/x1)*log(1.7 + x2)", 3),
    ("1.3 - exp(-x1*x2 - 0.7*x1)", 2),
    ("exp(-0.55*x2)*(0.37 + x3/x1)", 3),
    ("3.1*log(x1*x2 + 2.2*x3)", 3),
    ("sqrt(x1*x2 + sqrt(x1*x2 + sqrt(x1)))", 2),
    ("x3/sqrt(x1*x2 + 2.3*cbrt(x3 + 0.7*x1*x3))", 3),
    ("3*x1 - sqrt(x1*x2 + 2*x2**2 + 1.3)", 2),
    ("sqrt(x1 + 0.4*sqrt(x1**2 + 3))", 1),
])  # fmt: skip
def test_law_with_a_constant_outside_of_a_sum(infix, D):
    laws, length = found(infix, D)
    assert any(error < 1e-20 and size <= length + 2 for error, size in laws), laws


def test_signs_of_what_stands_beside():
    for infix in ("sqrt(x1 + x2) - 1.3*x2", "-sqrt(x1 + x2) - 1.3*x2", "-sqrt(x1 + x2) + 1.3*x2"):
        laws, _ = found(infix, 2)
        assert any(error < 1e-20 for error, _ in laws), infix


def test_nothing_where_nothing_is_exact():
    assert found("1.3 + exp(-x1*x2 - 0.7*x1)", 2, noise=1e-3)[0] == []
    assert found("sin(3*x1*x2) + x1/(1.3 + sin(x2))", 2)[0] == []
