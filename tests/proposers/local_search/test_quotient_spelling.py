"""Quotients spelled from sums with the target as a column, against their values worked out by numpy."""

import numpy as np
import pytest

from fansr.expressions import opcodes as op
from fansr.expressions.programs import evaluate
from fansr.expressions.tokens import CONSTANT as C
from fansr.proposers.local_search import genome_to_expression
from fansr.proposers.local_search.genomes import WIDTH, Genomes
from fansr.proposers.local_search.quotient_spelling import are_quotients, quotients
from fansr.proposers.local_search.ratio_island import tokens_of

Y = op.COLUMN + 2  # the target after two columns


def genomes(exprs):
    """Genomes of expressions over x1, x2 and the target x3."""
    rows = Genomes(
        np.zeros((len(exprs), WIDTH), np.int64), np.ones((len(exprs), WIDTH)), np.zeros(len(exprs), np.int64)
    )
    for k, expr in enumerate(exprs):
        codes, _ = genome_to_expression.to_codes(expr)
        rows.G[k, : len(codes)], rows.lengths[k] = codes, len(codes)
    return rows


@pytest.mark.parametrize("expr, want", [
    (["*", "x1", "x3"], 1),
    (["+", "sin", "x2", "*", "x3", "exp", "x1"], 1),
    (["/", "x3", "x1"], 1),
    (["x3"], 0),  # y = y
    (["+", "x3", "*", "x1", "x3"], 0),
    (["/", "x1", "x3"], 0),
    (["sin", "*", "x1", "x3"], 0),
    (["*", "x3", "*", "x1", "x3"], 0),
    (["x1"], 0),  # no denominator
])  # fmt: skip
def test_which_sums_are_quotients(expr, want):
    good = np.zeros(1, np.int64)
    are_quotients(genomes([expr]), Y, good)
    assert good[0] == want


def test_quotients_have_the_values_of_their_sums_solved_for_the_target():
    X = np.random.default_rng(0).uniform(0.5, 2, (20, 2))
    a, b = X.T
    # The constants of c0 + c*t + ... in pre-order, each term's factor before the constants inside it, the summand last.
    cases = [
        (["*", "x1", "x3"], [0.3, 2.0], 2.0 / (1 - 0.3 * a)),
        (["/", "x3", "x1"], [0.3, 2.0], 2.0 / (1 - 0.3 / a)),
        (["+", "x1", "+", "*", "exp", "*", C, "x2", "x3", "*", "*", "x1", "x3", "x2"], [1.5, 0.2, -0.7, 0.1, 4.0],
         (1.5 * a + 4) / (1 - 0.2 * np.exp(-0.7 * b) - 0.1 * a * b)),
        (["+", "*", "x3", "x2", "sin", "*", C, "x1"], [0.25, 3.0, 2.0, 1.0], (3 * np.sin(2 * a) + 1) / (1 - 0.25 * b)),
    ]  # fmt: skip
    consts = np.zeros((len(cases), 12))
    for k, (_, c, _) in enumerate(cases):
        consts[k, : len(c)] = c
    programs, given = quotients(genomes([expr for expr, *_ in cases]), consts, Y)
    for k, (_, c, want) in enumerate(cases):
        own = given[k, : programs.n_constants[k]]
        assert len(own) == len(c)
        np.testing.assert_allclose(evaluate(programs[k], X, own), want, rtol=1e-12)
        np.testing.assert_allclose(evaluate(tokens_of(programs[k]), X, own), want, rtol=1e-12)
