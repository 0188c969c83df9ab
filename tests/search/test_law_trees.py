"""law_trees.py: coefficients, sums and products of trees, against their values on rows and numpy's."""

import numpy as np
import pytest

from fansr.expressions import free, from_infix
from fansr.fitting import Candidate
from fansr.search import law_trees

X = np.random.default_rng(0).uniform(0.4, 2.5, (60, 3))


def tree(law: str):
    expr, consts = free(from_infix(law))
    return law_trees.tree_of(Candidate(expr, np.array(consts)))


LAWS = [
    "3*x1 - 2*(x2 + 1.5)/4",
    "-x1*(2*x2)**2/(5*x3)",
    "x1/sqrt(x2)*x3**3",
    "2*(x1 - 3*(x2 - 4))",
    "x1**2/(x2*x3) - 7.5",
]


@pytest.mark.parametrize("law", LAWS)
def test_summands_of_a_law_add_up_to_it(law):
    node = tree(law)
    total = sum(c * (1.0 if term is None else law_trees.values_on(term, X)) for c, term in law_trees.summands(node))
    assert np.allclose(total, law_trees.values_on(node, X), rtol=1e-13)
    assert np.allclose(
        law_trees.values_on(law_trees.added(list(law_trees.summands(node))), X),
        law_trees.values_on(node, X),
        rtol=1e-13,
    )


@pytest.mark.parametrize("law", LAWS)
def test_a_coefficient_and_the_rest_multiply_to_the_law(law):
    node = tree(law)
    c, rest = law_trees.coefficient(node)
    assert np.allclose(c * law_trees.values_on(rest, X), law_trees.values_on(node, X), rtol=1e-13)
    assert np.allclose(law_trees.values_on(law_trees.scaled(-2.5, node), X), -2.5 * law_trees.values_on(node, X))


def test_factors_multiply_to_the_law_and_joined_writes_them():
    node = tree("x1/sqrt(x2)*x3**3*(x1 + x2)")
    found = list(law_trees.factors(node))
    assert {power for _, power in found} == {1.0, -0.5, 3.0}
    product = np.prod([law_trees.values_on(base, X) ** power for base, power in found], axis=0)
    assert np.allclose(product, law_trees.values_on(node, X), rtol=1e-13)
    assert np.allclose(law_trees.values_on(law_trees.joined(found), X), product, rtol=1e-13)


def test_trees_are_alike_up_to_the_last_digits_only():
    assert law_trees.alike(tree("2*x1 + 3"), tree("2.0000000000001*x1 + 3"))
    assert not law_trees.alike(tree("2*x1 + 3"), tree("2.0001*x1 + 3"))
    assert not law_trees.alike(tree("2*x1 + 3"), tree("2*x2 + 3"))


def test_alike_terms_are_one_and_a_positive_one_stands_first():
    terms = [(-1.0, "x1"), (2.0, "x2"), (-1.0, "x1"), (0.5, None)]
    assert law_trees.added(terms) == ("+", ("-", ("*", 2.0, "x2"), ("*", 2.0, "x1")), 0.5)
    assert law_trees.added([(1.0, "x1"), (-1.0, "x1")]) == 0.0


@pytest.mark.parametrize(
    "node",
    [("pow3", ("*", 1e200, "x1")), ("*", ("*", 1e200, "x1"), ("*", 1e200, "x2")), ("/", "x1", ("*", 1e-320, "x2"))],
)
def test_a_coefficient_that_is_no_float_stays_where_it_is(node):
    assert law_trees.coefficient(node) == (1.0, node)
    assert law_trees.coefficient(("neg", node)) == (-1.0, node)
