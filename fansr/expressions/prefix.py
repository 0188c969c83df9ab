"""Prefix expressions: check, walk, count, bind and rename.

An expression is a list of token strings in pre-order.  Leaves are variables (x1, x2, ...), the free
constant ``<constant>`` and numeric literals.  This module knows the operator table and nothing
about values, data or streams; it is pure Python, since expressions are short.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fansr.expressions.tokens import (
    ARITY,
    COMMUTATIVE,
    CONSTANT,
    literal_value,
    variable_index,
)

Expr = list[str]
Tree = str | tuple  # a leaf's token, or (operator, operand, ...)


# ---- shape ------------------------------------------------------------------------------------


def arity(token: str) -> int:
    """Number of operands; 0 for every leaf.  ValueError for a token that is none of ours."""
    known = ARITY.get(token)
    if known is not None:
        return known
    if variable_index(token) is not None or literal_value(token) is not None:
        return 0
    if "=" in token:
        from fansr.expressions import definitions

        if definitions.register(token):
            return ARITY[token]
    raise ValueError(f"unknown token {token!r}: wanted an operator of the table, x1, x2, ..., {CONSTANT} or a number")


def problems(expr: Expr, max_variables: int | None = None) -> str | None:
    """Why `expr` is no complete expression, in words, or None when it is one."""
    if not expr:
        return "empty expression"
    open_slots = 1
    for i, token in enumerate(expr):
        if open_slots == 0:
            return f"{len(expr) - i} tokens too many from position {i} ({token!r})"
        if not isinstance(token, str):
            return f"token {i} is a {type(token).__name__}, wanted a string"
        try:
            open_slots += arity(token) - 1
        except ValueError as error:
            return f"position {i}: {error}"
        if max_variables is not None:
            column = variable_index(token)
            if column is not None and column >= max_variables:
                return f"position {i}: {token} but there are {max_variables} variables"
    if open_slots:
        return f"truncated: {open_slots} operands missing at the end"
    return None


def is_valid(expr: Expr, max_variables: int | None = None) -> bool:
    """True for a complete prefix expression over known tokens."""
    return problems(expr, max_variables) is None


def end(expr: Sequence[str], start: int = 0) -> int:
    """Index just after the subtree that begins at `start`."""
    open_slots = 1
    i = start
    while open_slots:
        known = ARITY.get(expr[i])
        open_slots += (arity(expr[i]) if known is None else known) - 1
        i += 1
    return i


def children(expr: Expr, start: int = 0) -> list[int]:
    """Start indices of the operands of the node at `start`."""
    found = []
    i = start + 1
    for _ in range(arity(expr[start])):
        found.append(i)
        i = end(expr, i)
    return found


def to_tree(expr: Expr) -> Tree:
    """Nested tuples ``(token, child, ...)``; a leaf is its token."""
    stack: list = []
    for token in reversed(expr):
        n = ARITY.get(token)
        if n is None:
            n = arity(token)
        if n == 0:
            stack.append(token)
        elif n == 1:
            stack.append((token, stack.pop()))
        else:
            stack.append((token, stack.pop(), stack.pop()))
    (tree,) = stack
    return tree


def from_tree(tree: Tree) -> Expr:
    """The prefix expression of nested tuples: the inverse of to_tree."""
    expr: Expr = []
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, tuple):
            expr.append(node[0])
            stack += node[:0:-1]
        else:
            expr.append(node)
    return expr


# ---- facts ------------------------------------------------------------------------------------


def variables(expr: Expr) -> list[int]:
    """Columns (from 0) that occur, sorted."""
    return sorted({column for column in map(variable_index, expr) if column is not None})


def n_constants(expr: Expr) -> int:
    """How many free constants there are; each occurrence is its own."""
    return expr.count(CONSTANT)


def has_literals(expr: Expr) -> bool:
    """True when some leaf is a number written out."""
    return any(token not in ARITY and literal_value(token) is not None for token in expr)


def total_nestedness(expr: Expr) -> int:
    """Sum over chains of unary operators of (chain length - 1), appendix L.

    A chain is a run of unary operators each being the only operand of the one before.
    """
    total = 0
    for before, after in zip(expr, expr[1:]):
        # In prefix order the operand of a unary operator is the next token.
        total += ARITY.get(before) == 1 and ARITY.get(after) == 1
    return total


# ---- constants --------------------------------------------------------------------------------


def drop_constants(expr: Expr) -> Expr:
    """The expression without its constants, as the hold-out guard wants it (section 3.3, appendix I).

    A binary operator that loses one operand is replaced by the other; a unary operator or a binary
    one that loses all operands vanishes too.  Literals count as constants.  The result is empty
    when nothing depends on a variable.
    """

    def walk(tree):
        if not isinstance(tree, tuple):
            return tree if variable_index(tree) is not None else None
        kept = [child for child in map(walk, tree[1:]) if child is not None]
        if not kept:
            return None
        if len(kept) < len(tree) - 1:
            return kept[0]
        return (tree[0], *kept)

    tree = walk(to_tree(expr))
    return [] if tree is None else from_tree(tree)


def bind(expr: Expr, consts: Iterable[float]) -> Expr:
    """`expr` with its free constants replaced, in order, by literals that read back exactly."""
    values = iter(consts)
    bound = [repr(float(next(values))) if token == CONSTANT else token for token in expr]
    left = sum(1 for _ in values)
    if left:
        raise ValueError(f"{left} constants too many for {' '.join(expr)}")
    return bound


def free(expr: Expr) -> tuple[Expr, list[float | None]]:
    """`expr` with every literal made a free constant, and the values in order (None where it was free)."""
    freed: Expr = []
    values: list[float | None] = []
    for token in expr:
        value = None if token in ARITY else literal_value(token)
        if value is not None:
            freed.append(CONSTANT)
            values.append(value)
        else:
            freed.append(token)
            if token == CONSTANT:
                values.append(None)
    return freed, values


def rename(expr: Expr, columns: dict[int, int]) -> Expr:
    """`expr` over other columns: column j becomes ``columns[j]``, or stays where j is no key."""
    words = {f"x{old + 1}": f"x{new + 1}" for old, new in columns.items()}
    return [words.get(token, token) for token in expr]


def sort_commutative(expr: Expr) -> Expr:
    """The same expression with the operands of + and * in one fixed order (not flattened)."""

    stack: list[Expr] = []
    for token in reversed(expr):
        n = ARITY.get(token)
        if n is None:
            n = arity(token)
        if n == 0:
            stack.append([token])
        elif n == 1:
            stack[-1].insert(0, token)
        else:
            a, b = stack.pop(), stack.pop()
            stack.append([token, *b, *a] if token in COMMUTATIVE and b < a else [token, *a, *b])
    (ordered,) = stack
    return ordered
