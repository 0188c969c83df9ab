"""Random trees over the operator table, for tests of what is done with expressions."""

from hypothesis import strategies as st

from fansr.expressions.tokens import CONSTANT, OPERATORS

LEAVES = st.sampled_from(["x1", "x2", "x3", CONSTANT, "2.5", "-0.75", "3.0"])


def _grow(children):
    unary = st.tuples(st.sampled_from([r.token for r in OPERATORS if r.arity == 1]), children)
    binary = st.tuples(st.sampled_from([r.token for r in OPERATORS if r.arity == 2]), children, children)
    return st.one_of(unary, binary)


TREES = st.recursive(LEAVES, _grow, max_leaves=8)
