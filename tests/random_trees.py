"""Random prefix expressions for tests."""

from fansr.expressions.tokens import CONSTANT, OPERATORS


def random_tree(rng, depth, D):
    """A random prefix expression over all operators, constants, literals and D columns."""
    if depth == 0 or rng.random() < 0.1:
        return [rng.choice([f"x{rng.integers(D) + 1}", CONSTANT, f"x{rng.integers(D) + 1}", "-1.5"])]
    row = OPERATORS[rng.integers(len(OPERATORS))] if rng.random() < 0.7 else OPERATORS[rng.integers(4)]
    expr = [row.token]
    for _ in range(row.arity):
        expr += random_tree(rng, depth - 1, D)
    return expr
