"""Several laws as one graph in which equal parts occur once.

    graph = build([(["*", "<constant>", "sin", "x1"], [2.0]), (["sin", "x1"], [])])
    graph.nodes    # [("column", 0), ("sin", 0), ("constant", 0), ("*", 2, 1)]
    graph.roots    # [3, 1]

Knows expressions, and neither torch nor numba: law_layer.py runs a graph with tensors, law_kernel.py with arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fansr.expressions import CONSTANT, definitions, literal_value, opcodes as op, to_tree, variable_index

COMMUTATIVE = frozenset(("+", "*", "min", "max"))

Law = tuple[Sequence[str], Sequence[float]]  # prefix expression and its constants (C,)


@dataclass
class Graph:
    """`nodes` in an order in which operands come first: ("column", j), ("constant", k), ("literal", value) or (operator, node,
    ...); `roots` (U,) the nodes of the laws; `consts` (C,) float64."""

    nodes: list[tuple]
    roots: list[int]
    consts: np.ndarray

    @property
    def columns(self) -> list[int]:
        """The columns that occur, in order."""
        return sorted(node[1] for node in self.nodes if node[0] == "column")

    @property
    def operations(self) -> int:
        """How many operators are evaluated for a row."""
        return sum(node[0] not in ("column", "constant", "literal") for node in self.nodes)


def build(laws: Sequence[Law], tied: bool = True) -> Graph:
    """The graph of U laws (hash-consing: operands of + * min max in a fixed order, so that a + b is b + a).

    tied: constants of equal value are one; without, every constant of every law is its own, and parts with constants are not
    shared.  Definitions are written out.
    """
    nodes: list[tuple] = []
    known: dict[tuple, int] = {}
    consts: list[float] = []

    def node(*key) -> int:
        if key[0] in COMMUTATIVE:
            key = (key[0], *sorted(key[1:]))
        if key not in known:
            known[key] = len(nodes)
            nodes.append(key)
        return known[key]

    def constant(value: float) -> int:
        if tied:
            if value not in consts:
                consts.append(value)
            return node("constant", consts.index(value))
        consts.append(value)
        return node("constant", len(consts) - 1)

    roots = []
    for expr, values in laws:
        left = iter(np.asarray(values, dtype=np.float64).tolist())

        def read(tree) -> int:
            if isinstance(tree, tuple):
                operands = [read(child) for child in tree[1:]]  # in order: constants are taken as they come
                if "=" in tree[0]:
                    return defined(tree[0], operands)
                return node(tree[0], *operands)
            if tree == CONSTANT:
                return constant(next(left))  # noqa: B023 - read is used up before the next law
            column = variable_index(tree)
            return node("literal", literal_value(tree)) if column is None else node("column", column)

        def defined(token, operands) -> int:
            """The body of a definition with its operands in their places."""

            def fill(tree) -> int:
                if isinstance(tree, tuple):
                    return node(tree[0], *(fill(child) for child in tree[1:]))
                column = variable_index(tree)
                return node("literal", literal_value(tree)) if column is None else operands[column]

            return fill(to_tree(definitions.expanded(definitions.body_of(token))))

        roots.append(read(to_tree(list(expr))))
    return Graph(nodes, roots, np.array(consts))


def program(graph: Graph) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(op, link, literal, roots) for the kernel `forward` of fansr.expressions: positions computed from the last to the first.

    There an operator's first operand stands at the next position.  So every node is written once as a tree whose operands that
    stand elsewhere already are copies; nodes that are wanted as a second operand, twice or as a law come first to be written,
    at the end of the arrays.
    """
    rows: list[tuple] = []  # from the last position to the first; turned round at the end
    place: dict[int, int] = {}  # node -> its index in rows

    def leaf(i: int) -> None:
        kind, value = graph.nodes[i][:2]
        if kind == "column":
            rows.append((op.COLUMN, value, 0.0))
        elif kind == "constant":
            rows.append((op.FREE, value, 0.0))
        else:
            rows.append((op.LITERAL, 0, float(value)))
        place[i] = len(rows) - 1

    for i, (kind, *operands) in enumerate(graph.nodes):  # operands come first in the graph
        if kind in ("column", "constant", "literal"):
            leaf(i)
            continue
        first = operands[0]
        if place[first] != len(rows) - 1:
            rows.append((op.COPY, place[first], 0.0))
        second = place[operands[1]] if len(operands) > 1 else 0
        rows.append((_opcode(kind), second, 0.0))
        place[i] = len(rows) - 1
    last = len(rows) - 1
    links = [last - link if code == op.COPY or code in _BINARY else link for code, link, _ in rows]
    codes = np.array([row[0] for row in rows][::-1], np.int64)
    literal = np.array([row[2] for row in rows][::-1], np.float64)
    roots = np.array([last - place[root] for root in graph.roots], np.int64)
    return codes, np.array(links[::-1], np.int64), literal, roots


def _opcode(token: str) -> int:
    from fansr.expressions import OPERATOR

    return OPERATOR[token].opcode


_BINARY = frozenset((*range(op.LAST_BINARY + 1), *range(op.MIN, op.MOD + 1)))
