"""What a law may be, as its user says: operators, size, nesting, prices, bounds; one object that every candidate passes.

    rules = parse(operators="+,-,*,/,exp", max_length=9, nest="exp:0", bounds="c in [0,10]")

A search asks `admit` of every candidate before it is kept and again of every rewriting, so that a law that breaks a rule is
never chosen, shown or cut down from.  What can be written with the operators that are left is written so (x**2 as x*x, a - b as
a + -1*b).  Knows nothing of proposers.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fansr.expressions import (
    CONSTANT,
    FUNCTIONS,
    OPERATOR,
    bind,
    definitions,
    free,
    from_tree,
    literal_value,
    to_tree,
    variable_index,
)
from fansr.fitting import Candidate, Problem

if TYPE_CHECKING:
    from fansr.search import shapes as law_shapes

POWERS = ("pow", "pow2", "pow3", "pow4", "pow5")
# What each name of an operator allows; others are the functions of formulas, by any of their names.
GROUPS: dict[str, tuple[str, ...]] = {
    "+": ("+",),
    "-": ("-", "neg"),
    "*": ("*", "mult2", "mult3", "mult4", "mult5"),
    "/": ("/", "inv", "div2", "div3", "div4", "div5"),
    **dict.fromkeys(("pow", "**", "^"), POWERS),
    "%": ("mod",),
    ">": ("step",),
}
OTHERWISE = {
    "add": "+", "plus": "+", "sub": "-", "minus": "-", "mul": "*", "mult": "*", "times": "*", "div": "/", "power": "^", "relu": "max",
    "greater": "step", "sigmoid": "logistic",
}  # fmt: skip  # what other tools call some
COLUMN = "x"  # any column, in a list of prices
PROBES = 64  # points at which a law must be finite where columns are known to be positive
FAR = 1e3  # how many times beyond the table's values those points reach, on either side
CLIPPED = 3  # times constants are put to their bounds and the others fitted again


@dataclass(frozen=True)
class Rules:
    """What a law may be; everything is allowed where nothing is said.

    operators: tokens (None: all); nest: (outer, inner, how many inner ones may stand below one another inside an outer one);
    arguments: (operators, which argument, 0 for each, tokens it may have); prices: tokens that an operator counts for, CONSTANT
    any constant, COLUMN any column; positive: names of columns; bounds: of every constant; own: functions of one's own (defined
    tokens) and further ones that the search shall try; shapes: what shapes.Checker asks of it on a table.
    """

    operators: frozenset[str] | None = None
    max_length: int | None = None
    max_constants: int | None = None
    max_depth: int | None = None
    nest: tuple[tuple[frozenset[str], frozenset[str], int], ...] = ()
    prices: tuple[tuple[str, float], ...] = ()
    positive: tuple[str, ...] = ()
    bounds: tuple[float, float] | None = None
    own: tuple[str, ...] = ()
    arguments: tuple[tuple[frozenset[str], int, int], ...] = ()
    shapes: tuple[law_shapes.Shape, ...] = ()

    def __bool__(self) -> bool:
        """Whether candidates have to pass: something is ruled, or definitions are written by their names."""
        return replace(self, own=()) != Rules() or any("=" in token for token in self.own)

    def broken(self, expr: Sequence[str], consts: Sequence[float] = ()) -> str | None:
        """Which rule an expression with its constants breaks, in words; None where it keeps all."""
        if self.operators is not None:
            for token in expr:
                if token in OPERATOR and token not in self.operators:
                    return f"{definitions.name_of(token)} is not among the operators"
        if self.max_length is not None and len(expr) > self.max_length:
            return f"{len(expr)} tokens, at most {self.max_length} are allowed"
        if self.max_constants is not None and len(consts) > self.max_constants:
            return f"{len(consts)} constants, at most {self.max_constants} are allowed"
        if self.max_depth is not None and depth(expr) > self.max_depth:
            return f"{depth(expr)} deep, at most {self.max_depth} are allowed"
        for outer, inner, most in self.nest:
            if not outer.isdisjoint(expr) and not inner.isdisjoint(expr):
                if _nested(to_tree(list(expr)), outer, inner) > most:
                    return f"{min(inner)} stands more than {most} deep inside {min(outer)}"
        for tokens, place, most in self.arguments:
            if not tokens.isdisjoint(expr) and _largest_argument(to_tree(list(expr)), tokens, place) > most:
                return f"an argument of {definitions.name_of(min(tokens))} has more than {most} tokens"
        if self.bounds is not None and any(not self.bounds[0] <= c <= self.bounds[1] for c in consts):
            return f"a constant is outside {list(self.bounds)}"
        return None

    def surcharge(self, expr: Sequence[str]) -> float:
        """Tokens that an expression counts for beyond its length."""
        counts = Counter(_priced_as(token) for token in expr)
        return sum((price - 1) * counts[token] for token, price in self.prices)

    def respelled(self, candidate: Candidate) -> Candidate:
        """The same law in allowed operators where it has others that they can say; else itself."""
        if self.operators is None or all(t not in OPERATOR or t in self.operators for t in candidate.expr):
            return candidate
        tree = _respell(to_tree(bind(candidate.expr, candidate.consts)), self.operators)
        expr, consts = free(from_tree(tree))
        return replace(candidate, expr=expr, consts=np.array(consts, dtype=float))

    def admit(
        self,
        candidate: Candidate,
        fitter: Any,
        points: np.ndarray | None = None,
        checker: law_shapes.Checker | None = None,
    ) -> Candidate | None:
        """The candidate, spelled in allowed operators, its constants within bounds; None where a rule cannot be kept.

        fitter: a fitting.Refiner over the problem; points: probes() of the problem where columns are positive; checker: of the
        shapes on the problem.
        """
        admitted = self._admit(candidate, fitter, points)
        if admitted is None or checker is None:
            return admitted
        shaped = checker.conformed(admitted, fitter)
        if shaped is None or shaped is admitted:
            return shaped
        # Constants under a shape may be others, and need the other rules once more, which may cost them the shape.
        again = self._admit(shaped, fitter, points)
        return again if again is not None and checker.broken(again.expr, again.consts) is None else None

    def _admit(self, candidate: Candidate, fitter: Any, points: np.ndarray | None) -> Candidate | None:
        candidate = self.respelled(candidate)
        for token in self.own:
            if "=" in token and len(candidate.expr) >= token.count(",") + 1:
                candidate = replace(candidate, expr=definitions.folded(candidate.expr, token))
        if self.bounds is not None:
            candidate = self._within(candidate, fitter)
        if self.broken(candidate.expr, candidate.consts) is not None:
            return None
        return candidate if points is None or _finite(candidate, points) else None

    def holds(self, candidate: Candidate, problem: Problem) -> bool:
        """Whether a finished law keeps every rule on a table, as it stands."""
        if self.broken(candidate.expr, candidate.consts) is not None:
            return False
        points = probes(problem, self.positive)
        if points is not None and not _finite(candidate, points):
            return False
        if not self.shapes:
            return True
        from fansr.search import shapes as law_shapes

        return law_shapes.Checker(problem, self.shapes).proven(candidate)

    def _within(self, candidate: Candidate, fitter: Any) -> Candidate:
        """Constants outside their bounds put on them, the others fitted again."""
        low, high = self.bounds or (-math.inf, math.inf)
        held: dict[int, float] = {}
        consts = np.array(candidate.consts, dtype=float)
        for _ in range(CLIPPED):
            outside = [k for k, c in enumerate(consts) if not low <= c <= high]
            if not outside:
                break
            held.update((k, float(np.clip(consts[k], low, high))) for k in outside)
            places = iter(range(len(consts)))
            expr = [repr(held[k]) if t == CONSTANT and (k := next(places)) in held else t for t in candidate.expr]
            rest = [k for k in range(len(consts)) if k not in held]
            fvu, found = fitter.polish(expr, consts[rest])
            consts[list(held)], consts[rest] = list(held.values()), found
            candidate = replace(candidate, consts=consts.copy(), fvu=fvu)
        return candidate


def _finite(candidate: Candidate, points: np.ndarray) -> bool:
    from fansr.expressions import evaluate

    with np.errstate(all="ignore"):
        return bool(np.isfinite(evaluate(candidate.expr, points, candidate.consts)).all())


def probes(problem: Problem, positive: Sequence[str]) -> np.ndarray | None:
    """Points (PROBES, D) with the positive columns from far below to far above the table's values, the others as in its rows;
    None where there are none."""
    if not positive:
        return None
    rng = np.random.default_rng(0)
    X = problem.X[rng.integers(0, len(problem.X), PROBES)].copy()
    for j, name in enumerate(problem.names):
        if name in positive:
            low, high = problem.X[:, j].min() / FAR, problem.X[:, j].max() * FAR
            X[:, j] = np.exp(rng.uniform(math.log(low), math.log(high), PROBES))
    return X


def depth(expr: Sequence[str]) -> int:
    """Levels of an expression: 1 for a column or a constant, one more for every operator on the longest way down."""

    def levels(tree: Any) -> int:
        return 1 + max(map(levels, tree[1:])) if isinstance(tree, tuple) else 1

    return levels(to_tree(list(expr)))


def _nested(tree: Any, outer: frozenset[str], inner: frozenset[str]) -> int:
    """Most `inner` on one way down below any `outer`."""

    def below(node: Any) -> int:
        return (node[0] in inner) + max(map(below, node[1:])) if isinstance(node, tuple) else 0

    def walk(node: Any) -> int:
        if not isinstance(node, tuple):
            return 0
        here = max(map(below, node[1:])) if node[0] in outer else 0
        return max(here, *map(walk, node[1:]))

    return walk(tree)


def _largest_argument(tree: Any, tokens: frozenset[str], place: int) -> int:
    """Tokens of the largest argument (only the one at `place`, counted from 1, unless that is 0) of any of the operators."""

    def size(node: Any) -> int:
        return 1 + sum(map(size, node[1:])) if isinstance(node, tuple) else 1

    if not isinstance(tree, tuple):
        return 0
    of = tree[1:] if place == 0 else tree[place : place + 1]
    here = max(map(size, of), default=0) if tree[0] in tokens else 0
    return max(here, *(_largest_argument(kid, tokens, place) for kid in tree[1:]))


def _priced_as(token: str) -> str:
    """What a token is in a list of prices."""
    if token in OPERATOR:
        return token
    return CONSTANT if variable_index(token) is None else COLUMN


def _respell(node: Any, allowed: frozenset[str]) -> Any:
    """A tree with literals in allowed operators, as far as products, sums and quotients can say what others do."""
    if not isinstance(node, tuple):
        return node
    token, *kids = node[0], *(_respell(child, allowed) for child in node[1:])
    if token in allowed:
        return (token, *kids)
    product = "*" in allowed
    if token == "neg" and product:
        return ("*", "-1.0", kids[0])
    if token == "-" and "+" in allowed:
        c = None if isinstance(kids[1], tuple) else literal_value(kids[1])
        if c is not None:
            return ("+", kids[0], repr(-c))
        if product:
            return ("+", kids[0], ("*", "-1.0", kids[1]))
    if token[:4] == "mult" and "/" in allowed:
        return ("/", kids[0], repr(1.0 / int(token[4:])))
    if token[:3] == "div" and product:
        return ("*", repr(1.0 / int(token[3:])), kids[0])
    if token == "/" and product:
        c = None if isinstance(kids[1], tuple) else literal_value(kids[1])
        if c:
            return ("*", repr(1.0 / c), kids[0])
    if token == "*" and "/" in allowed:
        for c, other in (kids, kids[::-1]):
            value = None if isinstance(c, tuple) else literal_value(c)
            if value:
                return ("/", other, repr(1.0 / value))
    if token in POWERS[1:] and product and not _has_number(kids[0]):
        power = kids[0]
        for _ in range(int(token[3:]) - 1):
            power = ("*", kids[0], power)
        return power
    return (token, *kids)


def _has_number(node: Any) -> bool:
    """Whether repeating it would repeat a fitted constant."""
    if isinstance(node, tuple):
        return any(map(_has_number, node[1:]))
    return variable_index(node) is None


# ---- from texts -------------------------------------------------------------------------------


def parse(
    operators: str | Iterable[str] | None = None,
    without: str | Iterable[str] | None = None,
    max_length: int | None = None,
    max_constants: int | None = None,
    max_depth: int | None = None,
    nest: str | None = None,
    price: str | None = None,
    positive: str | Iterable[str] | None = None,
    bounds: str | None = None,
    define: str | Iterable[str] = (),
    arguments: str | None = None,
    through: str | Iterable[str] | None = None,
    monotone: str | Iterable[str] | None = None,
    even: str | Iterable[str] | None = None,
    odd: str | Iterable[str] | None = None,
    periodic: str | Iterable[str] | None = None,
    convex: str | Iterable[str] | None = None,
    limit: str | Iterable[str] | None = None,
) -> Rules:
    """Rules from what a user writes; ValueError says what is not understood, with the nearest known name.

    operators, without: names with commas ("+,-,*,/,exp,sqrt"; ^ for powers); nest: "sin:0,exp(sin):1"; price: "sin=3", c for
    constants, x for columns; positive: columns, or c for every constant; bounds: "c in [0,10]"; define: "gauss(x) = exp(-x**2)",
    several; arguments: "cos:5,^(2):1".  through: "0,0"; monotone: "x+,t-"; even, odd: "x"; periodic: "x:24"; convex: "x" ("x-" for
    concave); limit: "x->inf: 0".
    """
    own = [_defined(text) for text in ([define] if isinstance(define, str) else define)]
    allowed: set[str] | None = None
    if operators is not None:
        named = _listed(operators)
        allowed = set(own)
        for name in named:
            allowed.update(tokens_of(name, "operators"))
        own += [t for t in sorted(allowed) if t in ASKED and t not in own]
    if without:
        allowed = {t for t in OPERATOR if "=" not in t or t in own} if allowed is None else allowed
        for name in _listed(without):
            allowed -= set(tokens_of(name, "without"))
        own = [t for t in own if t in allowed]
    if allowed is not None and not any(OPERATOR[token].arity == 2 for token in allowed):
        names = ", ".join(sorted(map(definitions.name_of, allowed))) or "(none)"
        raise ValueError(
            f"operators {names}: none of two places, so nothing can be put together; add one such as + or *"
        )
    for name, value, least in (
        ("max-length", max_length, 1),
        ("max-constants", max_constants, 0),
        ("max-depth", max_depth, 1),
    ):
        if value is not None and value < least:
            raise ValueError(f"{name} {value}: wanted at least {least}")
    columns, range_ = [], _bounds(bounds) if bounds else None
    for name in _listed(positive or ()):
        if name == "c":
            low, high = range_ or (-math.inf, math.inf)
            range_ = (max(low, 0.0), high)
        else:
            columns.append(name)
    return Rules(
        None if allowed is None else frozenset(allowed),
        max_length,
        max_constants,
        max_depth,
        tuple(_nest(part) for part in _listed(nest or ())),
        tuple(pair for part in _listed(price or ()) for pair in _price(part)),
        tuple(columns),
        range_,
        tuple(own),
        tuple(_argument(part) for part in _listed(arguments or ())),
        _shapes(through=through, monotone=monotone, even=even, odd=odd, periodic=periodic, convex=convex, limit=limit),
    )


def _shapes(**texts: Any) -> tuple[law_shapes.Shape, ...]:
    if not any(texts.values()):
        return ()
    from fansr.search import shapes as law_shapes

    return law_shapes.parse(**texts)


ASKED = ("sign", "floor", "logistic")  # that no proposer tries unless they are asked for


def _defined(text: str) -> str:
    try:
        return definitions.define(text)
    except ValueError as error:
        raise ValueError(f"define: {error}") from None


def _listed(text: str | Iterable[str]) -> list[str]:
    parts = text.split(",") if isinstance(text, str) else text
    return [str(part).strip() for part in parts if str(part).strip()]


def known_names() -> list[str]:
    """Names that operators go by, one for each: its token, or else the shortest; what * / and ^ stand for besides is left out."""
    best: dict[tuple[str, ...], str] = {}
    named = {**{name: (token,) for name, token in FUNCTIONS.items() if "=" not in token}, **GROUPS}
    for name in sorted(named, key=lambda one: (one not in named[one] or "_" in one, len(one), one)):
        best.setdefault(named[name], name)
    return sorted(name for name in best.values() if not re.fullmatch(r"(mult|div|pow)\d", name))


def tokens_of(name: str, where: str) -> tuple[str, ...]:
    """Tokens that the name of an operator stands for; ValueError with the nearest known name."""
    if name in GROUPS:
        return GROUPS[name]
    if name in FUNCTIONS:
        return (FUNCTIONS[name],)
    begun = [one for one in known_names() if len(one) > 2 and name.lower().startswith(one)]  # cosine: cos
    near = [OTHERWISE.get(name.lower(), max(begun, key=len, default=""))]
    near = list(filter(None, near)) or difflib.get_close_matches(name, known_names(), 1)
    hint = f": the nearest known is {near[0]!r}" if near else f": known are {', '.join(known_names())}"
    raise ValueError(f"{where}: unknown operator {name!r}{hint}")


def _nest(text: str) -> tuple[frozenset[str], frozenset[str], int]:
    match = re.fullmatch(r"([^():\s]+)\s*(?:\(\s*([^():\s]+)\s*\))?\s*:\s*(\d{1,3})", text)
    if match is None:
        raise ValueError(f"nest: cannot read {text!r}, wanted 'sin:0' (no sin inside a sin) or 'exp(sin):1'")
    outer, inner, most = match.groups()
    return frozenset(tokens_of(outer, "nest")), frozenset(tokens_of(inner or outer, "nest")), int(most)


def _argument(text: str) -> tuple[frozenset[str], int, int]:
    match = re.fullmatch(r"([^():\s]+)\s*(?:\(\s*([1-9])\s*\))?\s*:\s*(\d{1,3})", text)
    if match is None or int(match[3]) < 1:
        raise ValueError(
            f"arguments: cannot read {text!r}, wanted 'cos:5' (what a cos is taken of has 5 tokens at most) or '^(2):1' "
            "(an exponent has one)"
        )
    tokens = frozenset(tokens_of(match[1], "arguments"))
    if int(match[2] or 0) > max(OPERATOR[token].arity for token in tokens):
        raise ValueError(f"arguments: {text!r}: {match[1]} has no argument number {match[2]}")
    return tokens, int(match[2] or 0), int(match[3])


def _price(text: str) -> list[tuple[str, float]]:
    name, equals, number = (part.strip() for part in text.partition("="))
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not equals or not 0 < value < 1e6:
        raise ValueError(
            f"price: cannot read {text!r}, wanted 'sin=3' (it counts as three tokens), from above 0 to 1e6"
        )
    if name in ("c", "x"):
        return [(CONSTANT if name == "c" else COLUMN, value)]
    return [(token, value) for token in tokens_of(name, "price")]


def _bounds(text: str) -> tuple[float, float]:
    number = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?|[-+]?inf)"
    between = re.fullmatch(rf"\s*(\w+)\s+in\s+\[\s*{number}\s*,\s*{number}\s*\]\s*", text, re.I)
    beyond = re.fullmatch(rf"\s*(\w+)\s*(<=|>=|<|>)\s*{number}\s*", text, re.I)
    if between:
        name, low, high = between[1], float(between[2]), float(between[3])
    elif beyond:
        name, value = beyond[1], float(beyond[3])
        low, high = (value, math.inf) if beyond[2][0] == ">" else (-math.inf, value)
    else:
        raise ValueError(f"bounds: cannot read {text!r}, wanted 'c in [0,10]' or 'c >= 0'")
    if name != "c":
        raise ValueError(f"bounds: no constant is called {name!r}; c means every constant of the law")
    if not low <= high:
        raise ValueError(f"bounds: nothing lies in [{low:g}, {high:g}]")
    return low, high


def check(rules: Rules, problem: Problem) -> None:
    """ValueError where the rules cannot be kept on a table: a column that is not there, or is not positive."""
    if rules.shapes:
        from fansr.search import shapes as law_shapes

        law_shapes.check(rules.shapes, problem.names)
    for token in rules.own:
        if definitions.name_of(token) in problem.names:
            name = definitions.name_of(token)
            raise ValueError(f"define: {name!r} is a column, too; call the function otherwise")
    for name in rules.positive:
        if name not in problem.names:
            near = difflib.get_close_matches(name, problem.names, 1)
            hint = f"the nearest is {near[0]!r}" if near else f"there are {', '.join(problem.names)}"
            raise ValueError(f"positive: no column is called {name!r}: {hint}; c means every constant")
        x = problem.X[:, problem.names.index(name)]
        if not (x > 0).all():
            raise ValueError(f"positive: the column {name} holds {x[~(x > 0)][0]:g}")
