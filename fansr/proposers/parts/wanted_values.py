"""What a part of an expression would have to be for the whole to be right, row by row, by undoing what stands above it.

Semantic back-propagation (Pawlak, Wieloch & Krawiec 2015), as the local search does it for single nodes
(local_search/aimed_mutations.py); here also for the summands or factors of few columns in a sum or product, which need not
stand side by side.  Knows expressions and values, no problems and no candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from fansr.expressions import OPERATOR, Tree, literal_value, variable_index

MOST_COLUMNS = 2  # of a part
KNOWN = frozenset(OPERATOR)  # operators; what is defined by a user is left alone
NONE: Mapping[str, Part] = {}


class Part(NamedTuple):
    """A part of an expression: an operator over other parts, or a leaf; its values (n,) and the columns it depends on."""

    token: str
    values: np.ndarray
    columns: frozenset[int]
    below: tuple[Part, ...] = ()

    @property
    def tree(self) -> Tree:
        return (self.token, *(part.tree for part in self.below)) if self.below else self.token


class Place(NamedTuple):
    """Where another part could stand: what stands there, what is wanted (n,), the slope (n,) of the whole there, and `put`.

    `put(tree)` is the whole with another tree in the place.  Where nothing finite would do, `wanted` is NaN.
    """

    part: Part
    wanted: np.ndarray
    slope: np.ndarray
    put: Callable[[Tree], Tree]


# ---- values and inverses ----------------------------------------------------------------------


@lru_cache(None)
def _function(token: str) -> Callable:
    """An operator's values from its operands', by the operator table."""
    return eval(f"lambda a, b=None: {OPERATOR[token].numpy.format(a='a', b='b', v='v')}", {"np": np})


@lru_cache(None)
def _slope(token: str) -> Callable:
    """A function's derivative from its operand's values a and its own v, by the operator table."""
    return eval(f"lambda a, v: {OPERATOR[token].derivative[0].format(a='a', b='b', v='v')}", {"np": np})


def _root(e: float) -> Callable:
    """The inverse of an even power, on the side of the present values, or of an odd one."""
    if e % 2:
        return lambda t, u: np.copysign(np.abs(t) ** (1 / e), t)
    return lambda t, u: np.where(t >= 0, np.copysign(np.abs(t) ** (1 / e), u), np.nan)


def _power(e: float) -> Callable:
    """The inverse of a root."""
    return lambda t, u: np.where((t >= 0) | (e % 2 > 0), np.copysign(np.abs(t) ** e, t), np.nan)


def _nearest(inverse: Callable, mirror: Callable, period: float) -> Callable:
    """The inverse of a periodic function on the branch nearest to the present values."""

    def undo(t, u):
        x = inverse(t)
        branches = [v + period * np.rint((u - v) / period) for v in (x, mirror(x))]
        return np.where(np.abs(branches[0] - u) <= np.abs(branches[1] - u), *branches)

    return undo


# token: the operand's values from those wanted of the function, t, and its present ones, u
UNDO: dict[str, Callable] = {
    "neg": lambda t, u: -t,
    "inv": lambda t, u: 1 / t,
    "abs": lambda t, u: np.where(t >= 0, np.copysign(t, u), np.nan),
    "exp": lambda t, u: np.log(t),
    "log": lambda t, u: np.exp(t),
    "sin": _nearest(np.arcsin, lambda x: np.pi - x, 2 * np.pi),
    "cos": _nearest(np.arccos, lambda x: -x, 2 * np.pi),
    "tan": _nearest(np.arctan, lambda x: x, np.pi),
    "asin": lambda t, u: np.sin(t),
    "acos": lambda t, u: np.cos(t),
    "atan": lambda t, u: np.tan(t),
    "sinh": lambda t, u: np.arcsinh(t),
    "cosh": lambda t, u: np.copysign(np.arccosh(t), u),
    "tanh": lambda t, u: np.arctanh(t),
    "asinh": lambda t, u: np.sinh(t),
    "acosh": lambda t, u: np.cosh(t),
    "atanh": lambda t, u: np.tanh(t),
    "logistic": lambda t, u: -np.log(1 / t - 1),
    **{f"pow{e}": _root(e) for e in (2, 3, 4, 5)},
    **{f"pow1_{e}": _power(e) for e in (2, 3, 4, 5)},
    **{f"mult{k}": (lambda t, u, k=k: t / k) for k in (2, 3, 4, 5)},
    **{f"div{k}": (lambda t, u, k=k: t * k) for k in (2, 3, 4, 5)},
}
POWERS = {
    "inv",
    *(f"pow{e}" for e in (2, 3, 4, 5)),
    *(f"pow1_{e}" for e in (2, 3, 4, 5)),
}  # of products they are products


def part_of(tree: Tree, X: np.ndarray, known: Mapping[str, Part] = NONE) -> Part:
    """A tree of tokens with literals for constants as a part, over X (n, D).

    known: parts that leaves of other names stand for.
    """
    if isinstance(tree, tuple):
        return made(tree[0], *(part_of(child, X, known) for child in tree[1:]))
    if tree in known:
        return known[tree]
    column = variable_index(tree)
    if column is not None:
        return Part(tree, X[:, column], frozenset((column,)))
    return _number(literal_value(tree), len(X), tree)


def _number(value: float | None, n: int, token: str = "") -> Part:
    return Part(token or repr(value), np.broadcast_to(np.float64(np.nan if value is None else value), n), frozenset())


def made(token: str, *below: Part) -> Part:
    """An operator over parts."""
    columns = frozenset().union(*(part.columns for part in below))
    return Part(token, _function(token)(*(part.values for part in below)), columns, below)


# ---- sums and products ------------------------------------------------------------------------

Operand = tuple[bool, Part]  # whether it is added, or multiplied, and not subtracted, or divided by


def terms(part: Part, added: bool = True) -> Iterator[Operand]:
    """The summands of a sum."""
    if part.token in ("+", "-"):
        yield from terms(part.below[0], added)
        yield from terms(part.below[1], added if part.token == "+" else not added)
    elif part.token == "neg":
        yield from terms(part.below[0], not added)
    else:
        yield added, part


def factors(part: Part, above: bool = True) -> Iterator[Operand]:
    """The factors of a product; exponentials of sums and powers of products of positive factors are products too."""
    token, below = part.token, part.below
    if token in ("*", "/"):
        yield from factors(below[0], above)
        yield from factors(below[1], above if token == "*" else not above)
    elif token == "inv":
        yield from factors(below[0], not above)
    elif token == "neg":
        yield above, _number(-1.0, len(part.values))
        yield from factors(below[0], above)
    elif token == "exp":
        for added, term in terms(below[0]):
            yield above, made("exp", term if added else made("neg", term))
    elif token in POWERS or (token == "pow" and not below[1].columns):
        inside = list(factors(below[0]))
        if len(inside) > 1 and all((factor.values > 0).all() for _, factor in inside):
            for inner, factor in inside:
                yield above == inner, made(token, factor, *below[1:])
        else:
            yield above, part
    else:
        yield above, part


def joined(token: str, operands: list[Operand]) -> Part:
    """The sum ("+") or product ("*") of operands."""
    plus, minus = ("+", "-") if token == "+" else ("*", "/")
    up, down = ([part for kept, part in operands if kept is side] for side in (True, False))

    def chain(parts: list[Part]) -> Part:
        whole = parts[0]
        for part in parts[1:]:
            whole = made(plus, whole, part)
        return whole

    if not down:
        return chain(up)
    return made(minus, chain(up), chain(down)) if up else made("neg" if token == "+" else "inv", chain(down))


# ---- places -----------------------------------------------------------------------------------


def places(whole: Part, wanted: np.ndarray, slope: np.ndarray) -> Iterator[Place]:
    """All places of an expression where a part of few columns stands, the whole itself left out.

    wanted (n,): what the whole should be; slope (n,): what a row's error counts there.  Call it under np.errstate(all="ignore").
    """
    yield from _inside(Place(whole, wanted, slope, lambda tree: tree))


def _at(place: Place) -> Iterator[Place]:
    """A place, if its part is one of few columns and no leaf, and those inside it."""
    if place.part.below and 0 < len(place.part.columns) <= MOST_COLUMNS:
        yield place
    yield from _inside(place)


def _inside(place: Place) -> Iterator[Place]:
    for token, operands in (("+", list(terms(place.part))), ("*", list(factors(place.part)))):
        if len(operands) > 1:
            yield from _groups(token, operands, place)
            for operand in operands:
                if operand[1].below and operand[1].columns:
                    one = _turned(token, operand, _without(token, operands, [operand], place))
                    yield from _below(one) if operand[1].token in UNDO or operand[1].token == "pow" else _at(one)
            return
    yield from _below(place)


def _groups(token: str, operands: list[Operand], place: Place) -> Iterator[Place]:
    """The operands of the same one or two columns, together with those that are numbers."""
    moving = [operand for operand in operands if operand[1].columns]
    numbers = [operand for operand in operands if not operand[1].columns]
    own = {part.columns for _, part in moving}
    for columns in sorted(own | {a | b for a in own for b in own}, key=lambda columns: (len(columns), sorted(columns))):
        if len(columns) > MOST_COLUMNS or columns == place.part.columns:
            continue
        group = [operand for operand in moving if operand[1].columns <= columns]
        if frozenset().union(*(part.columns for _, part in group)) == columns:
            group += numbers
            if len(group) < len(operands) and (len(group) > 1 or group[0][1].below):
                yield _without(token, operands, group, place)


def _without(token: str, operands: list[Operand], group: list[Operand], place: Place) -> Place:
    """The place of a group of a sum's or product's operands, in a place where all of them stand."""
    rest = joined(token, [operand for operand in operands if all(operand is not one for one in group)])
    tree = rest.tree
    if token == "+":
        goal, slope = place.wanted - rest.values, place.slope
    else:
        goal, slope = place.wanted / rest.values, place.slope * rest.values
    return Place(joined(token, group), goal, slope, lambda other: place.put((token, other, tree)))


def _turned(token: str, operand: Operand, place: Place) -> Place:
    """The place of one operand as it is, where what stands there is that subtracted, or divided by."""
    if operand[0]:
        return place._replace(part=operand[1])
    if token == "+":
        return Place(operand[1], -place.wanted, -place.slope, lambda other: place.put(("neg", other)))
    goal = 1 / place.wanted
    return Place(operand[1], goal, -place.slope * place.wanted**2, lambda other: place.put(("inv", other)))


def _below(place: Place) -> Iterator[Place]:
    """What stands inside a function."""
    token, below = place.part.token, place.part.below
    if token == "pow" and not below[1].columns and below[0].columns:
        e, tree = below[1].values, below[1].tree
        goal = np.where(place.wanted > 0, np.abs(place.wanted) ** (1 / e), np.nan)
        slope = place.slope * e * place.part.values / below[0].values
        yield from _at(Place(below[0], goal, slope, lambda other: place.put(("pow", other, tree))))
    elif token in UNDO and below[0].columns:
        inside = below[0]
        goal = UNDO[token](place.wanted, inside.values)
        slope = place.slope * _slope(token)(inside.values, place.part.values)
        yield from _at(Place(inside, goal, slope, lambda other: place.put((token, other))))
