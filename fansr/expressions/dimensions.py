"""Units of a law: whether its sums, functions and powers are of units that go together, and what units its constants must have.

A unit is a row of K numbers: the exponents of base dimensions, and last the log10 of its size in base units, so that metres and
centimetres do not add without a factor of 100 between them. Each constant of a law has an unknown unit; what +, exp and the others ask
are linear equations in these (Buckingham 1914 has the same algebra for columns).  Knows nothing of how units are written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from fansr.expressions import definitions
from fansr.expressions.prefix import Expr, from_tree, to_tree
from fansr.expressions.tokens import CONSTANT, literal_value, variable_index

NEAR = 1e-7  # exponents that are nearer are equal
ROOTS = {f"pow1_{k}": Fraction(1, k) for k in (2, 3, 4, 5)}
WHOLE = {f"pow{k}": Fraction(k) for k in (2, 3, 4, 5)}
SAME = ("abs", "neg", *(f"{what}{k}" for what in ("mult", "div") for k in (2, 3, 4, 5)))
ALIKE = ("+", "-", "min", "max", "mod")
ANY = ("step", "sign")  # of anything, and a number themselves


@dataclass(frozen=True)
class Units:
    """Units of a table: `columns` (D, K), `target` (K,), as they were written (`texts`, `target_text`), names of the base dimensions
    (K - 1).  pure: constants are numbers, without units; only_judged: laws are judged by them and not chosen."""

    columns: np.ndarray
    target: np.ndarray
    texts: tuple[str, ...]
    target_text: str
    bases: tuple[str, ...]
    pure: bool = False
    only_judged: bool = False

    def of_columns(self, places: Sequence[int]) -> Units:
        """The same over some of the columns."""
        places = list(places)
        return replace(self, columns=self.columns[places], texts=tuple(self.texts[j] for j in places))


class _Equations:
    """What constants' units u (C, K) must fulfil: rows a (E, C) and d (E, K) of a u + d = 0, in the order of the law."""

    def __init__(self, C: int, K: int):
        self.a, self.d = np.zeros((0, C)), np.zeros((0, K))

    def more(self, a: np.ndarray, d: np.ndarray) -> None:
        self.a, self.d = np.vstack([self.a, a]), np.vstack([self.d, d])

    def solved(self, wide: np.ndarray | None = None) -> np.ndarray | None:
        """u (C, K) with as many constants of no unit as there can be, the later ones; None where there is none."""
        C, K = self.a.shape[1], self.d.shape[1]
        left = np.hstack([self.a, -self.d])
        u, at, pivots = np.zeros((C, K)), 0, []
        for j in range(C):
            if at == len(left):
                break
            k = at + int(np.abs(left[at:, j]).argmax())
            if abs(left[k, j]) < NEAR:
                continue
            left[[at, k]] = left[[k, at]]
            left[at] /= left[at, j]
            others = np.arange(len(left)) != at
            left[others] -= left[others, j : j + 1] * left[at]
            pivots.append(j)
            at += 1
        if at < len(left) and (np.abs(left[at:, C:]) > NEAR).any():
            return None
        for row, j in enumerate(pivots):
            u[j] = left[row, C:]
        return u


class _Reader:
    """One walk over a law."""

    def __init__(self, units: Units, consts: Sequence[float], C: int):
        self.units, self.consts, self.C, self.K = units, consts, C, units.columns.shape[1]
        self.equations = _Equations(C, self.K)
        self.next = 0
        self.asked: list[tuple[int, ...]] = []  # where in the tree each equation comes from

    def walk(self, node: Any, path: tuple[int, ...] = ()) -> tuple[np.ndarray, np.ndarray]:
        """(d (K,), a (C,)) of a node's unit d + a u."""
        none = np.zeros(self.K), np.zeros(self.C)
        if not isinstance(node, tuple):
            if node == CONSTANT:
                k, self.next = self.next, self.next + 1
                return none[0], np.eye(self.C)[k]
            j = variable_index(node)
            return (self.units.columns[j], none[1]) if j is not None else none
        token = node[0]
        if token in ("pow",):
            return self.power(node, path)
        kids = [self.walk(child, (*path, i)) for i, child in enumerate(node[1:], 1)]
        if token in SAME:
            return kids[0]
        if token in ALIKE:
            if not any(not isinstance(child, tuple) and literal_value(child) == 0 for child in node[1:]):
                self.ask(kids[1][0] - kids[0][0], kids[1][1] - kids[0][1], (*path, 2))
            return kids[0]
        if token == "*":
            return kids[0][0] + kids[1][0], kids[0][1] + kids[1][1]
        if token == "/":
            return kids[0][0] - kids[1][0], kids[0][1] - kids[1][1]
        if token == "inv":
            return -kids[0][0], -kids[0][1]
        if token in WHOLE or token in ROOTS:
            p = float(WHOLE.get(token) or ROOTS[token])
            return p * kids[0][0], p * kids[0][1]
        if token not in ANY:
            for i, (d, a) in enumerate(kids, 1):
                self.ask(d, a, (*path, i))
        return none

    def power(self, node, path):
        d, a = self.walk(node[1], (*path, 1))
        first = self.next
        e, b = self.walk(node[2], (*path, 2))
        value = None
        if node[2] == CONSTANT and first < len(self.consts):
            value = float(self.consts[first])
        elif not isinstance(node[2], tuple):
            value = literal_value(node[2])
        self.ask(e, b, (*path, 2))
        if value is None:
            self.ask(d, a, (*path, 1))
            return np.zeros(self.K), np.zeros(self.C)
        near = float(Fraction(value).limit_denominator(12)) if abs(value) < 100 else value
        value = near if abs(near - value) < 1e-9 else value
        return value * d, value * a

    def ask(self, d: np.ndarray, a: np.ndarray, where: tuple[int, ...]) -> None:
        """That d + a u be no unit."""
        self.equations.more(a, d)
        self.asked.append(where)


def _read(tree: Any, consts: Sequence[float], units: Units, C: int) -> _Reader:
    reader = _Reader(units, consts, C)
    d, a = reader.walk(tree)
    reader.ask(d - units.target, a, ())
    return reader


def constants_units(expr: Expr, consts: Sequence[float], units: Units) -> np.ndarray | None:
    """Units (C, K) that a law's constants must have, None where none will do.  With units.pure theirs are pure numbers, if of
    some size: a factor between metres and centimetres is allowed."""
    tree = to_tree(definitions.expanded(list(expr)))
    C = from_tree(tree).count(CONSTANT) if isinstance(tree, tuple) else int(tree == CONSTANT)
    reader = _read(tree, consts, units, C)
    if units.pure and (np.abs(reader.equations.d[:, :-1]) > NEAR).any():
        return None
    return reader.equations.solved()


def with_factors(expr: Expr, consts: Sequence[float], units: Units) -> tuple[Expr, list[float]]:
    """The law with a factor of 1 wherever its units do not go together, which then has the unit that makes them."""
    tree, values = to_tree(list(expr)), [float(c) for c in consts]
    for _ in range(len(expr)):
        C = (list(from_tree(tree)) if isinstance(tree, tuple) else [tree]).count(CONSTANT)
        reader = _read(tree, values, units, C)
        where = None
        for e in range(1, len(reader.asked) + 1):
            part = _Equations(C, reader.K)
            part.a, part.d = reader.equations.a[:e], reader.equations.d[:e]
            if part.solved() is None:
                where = reader.asked[e - 1]
                break
        if where is None:
            break
        tree, place = _multiplied(tree, where)
        values.insert(place, 1.0)
    return (list(from_tree(tree)) if isinstance(tree, tuple) else [tree]), values


def _multiplied(tree: Any, path: tuple[int, ...]) -> tuple[Any, int]:
    """The tree with a new constant times the node at a path, and how many constants stand before it."""
    if not path:
        return ("*", CONSTANT, tree), 0
    before = sum(_count(child) for child in tree[1 : path[0]])
    child, place = _multiplied(tree[path[0]], path[1:])
    return (*tree[: path[0]], child, *tree[path[0] + 1 :]), before + place


def _count(node: Any) -> int:
    return sum(map(_count, node[1:])) if isinstance(node, tuple) else int(node == CONSTANT)


# ---- groups -----------------------------------------------------------------------------------


def exponents_of(unit: np.ndarray, columns: np.ndarray) -> np.ndarray | None:
    """Exponents (D',) for which a product of powers of columns (D', K) has a unit (K,), but for its size; None where there are none
    or more than one."""
    A = columns[:, :-1].T  # (K - 1, D')
    if np.linalg.matrix_rank(A, tol=NEAR) < A.shape[1]:
        return None
    found = np.linalg.lstsq(A, unit[:-1], rcond=None)[0] if A.size else np.zeros(A.shape[1])
    if (np.abs(A @ found - unit[:-1]) > 1e-6).any():
        return None
    plain = np.array([float(Fraction(float(p)).limit_denominator(12)) for p in found])
    return plain if (np.abs(A @ plain - unit[:-1]) < NEAR).all() else None


def monomial(exponents: Sequence[float]) -> Any:
    """The tree of a product of powers of x1, x2, ...; "1" for none of them."""

    def factor(j: int, p: float) -> Any:
        x: Any = f"x{j + 1}"
        q = Fraction(p).limit_denominator(12)
        if q == 1:
            return x
        if q.denominator == 1 and 2 <= q <= 5:
            return (f"pow{q}", x)
        if q.denominator in (2, 3, 4, 5) and q.numerator in (1, 2, 3, 4, 5):
            inner = x if q.numerator == 1 else (f"pow{q.numerator}", x)
            return (f"pow1_{q.denominator}", inner)
        return ("pow", x, repr(float(q)))

    above = [factor(j, p) for j, p in enumerate(exponents) if p > 0]
    below = [factor(j, -p) for j, p in enumerate(exponents) if p < 0]

    def product(factors: list[Any]) -> Any:
        tree = factors[0]
        for more in factors[1:]:
            tree = ("*", tree, more)
        return tree

    if not below:
        return product(above) if above else "1"
    return ("/", product(above), product(below)) if above else ("inv", product(below))
