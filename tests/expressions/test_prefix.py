"""prefix.py by round trips and the paper's worked examples."""

import pytest
from hypothesis import given

from fansr.expressions import prefix as ex
from fansr.expressions.tokens import COMMUTATIVE, CONSTANT, literal_value
from tests.expressions.trees import TREES


@given(TREES)
def test_tree_round_trip_and_subtrees(tree):
    expr = ex.from_tree(tree)
    assert ex.to_tree(expr) == tree
    assert ex.problems(expr) is None
    assert ex.end(expr) == len(expr)
    spans = [ex.from_tree(kid) for kid in tree[1:]] if isinstance(tree, tuple) else []
    assert [expr[i : ex.end(expr, i)] for i in ex.children(expr)] == spans
    if len(expr) > 1:
        assert not ex.is_valid(expr[:-1]) and not ex.is_valid(expr + ["x1"])


@given(TREES)
def test_bind_and_free_are_inverse(tree):
    expr = ex.from_tree(tree)
    values = [0.1 * k for k in range(1, expr.count(CONSTANT) + 1)]
    bound = ex.bind(expr, values)
    assert not ex.n_constants(bound)
    freed, found = ex.free(bound)
    literal_positions = [t for t in expr if t not in (CONSTANT,) and literal_value(t) is not None]
    assert len(found) == len(values) + len(literal_positions)
    assert ex.bind(freed, found) == [repr(float(t)) if literal_value(t) is not None else t for t in bound]


@given(TREES)
def test_operands_that_commute_are_put_in_the_order_of_their_tokens(tree):
    def by_hand(node):
        if not isinstance(node, tuple):
            return node
        kids = [by_hand(kid) for kid in node[1:]]
        return (node[0], *(sorted(kids, key=ex.from_tree) if node[0] in COMMUTATIVE else kids))

    assert ex.sort_commutative(ex.from_tree(tree)) == ex.from_tree(by_hand(tree))


def test_paper_examples():
    # Appendix L's two nestedness examples, appendix I's two pruned skeletons.
    assert ex.total_nestedness("sin log acosh x1".split()) == 2
    assert ex.total_nestedness(f"sin log + x1 {CONSTANT}".split()) == 1
    assert ex.drop_constants(f"+ mult2 sin x1 {CONSTANT}".split()) == "mult2 sin x1".split()
    assert ex.drop_constants(f"mult2 sin / x1 {CONSTANT}".split()) == "mult2 sin x1".split()
    assert ex.drop_constants(f"* / x1 pow2 x2 {CONSTANT}".split()) == "/ x1 pow2 x2".split()
    assert ex.drop_constants(f"+ {CONSTANT} sin 2.0".split()) == []


@pytest.mark.parametrize(
    "expr, word",
    [
        ([], "empty"),
        (["+", "x1"], "truncated"),
        (["x1", "x2"], "too many"),
        (["foo"], "unknown token"),
        (["x0"], "unknown"),
        (["sin", 3], "wanted a string"),
    ],
)
def test_problems_are_named(expr, word):
    assert word in ex.problems(expr)
