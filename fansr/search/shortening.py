"""Shorter forms of a fitted law: neutral constants written away, and cuts that the data judge.

A cut is kept only where the selection (rank.selection) says that nothing is lost.  Round constants: see rounding.py.
"""

from __future__ import annotations

import math
import time
from functools import lru_cache

import numpy as np

from fansr.expressions import ARITY, CONSTANT, drop_constants, end, from_tree, literal_value, to_tree, variable_index
from fansr.fitting import Candidate

REMEMBERED = 8192  # simplified forms, and fits of a table, that are kept
HOPELESS_TOKENS = 12  # of a law whose cuts are tried as they stand before they are simplified

# ---- algebra with known constants -------------------------------------------------------------


def absorb(expr: list[str], consts) -> tuple[list[str], list[float]]:
    """The same function with neutral and special constants written away.

    ``* 1 t`` becomes t, ``* 3 t`` mult3 t, ``pow t 2`` pow2 t, ``+ 0 t`` t, sums with a negative
    constant become differences, negations cancel; what holds no variable becomes one number.  Every
    rewrite is exact for all real arguments.  Never longer.  Returns skeleton and constants.
    """
    values = iter(float(c) for c in consts)

    def leaf(token):
        if token == CONSTANT:
            return next(values)
        value = None if token in ARITY else literal_value(token)
        return token if value is None else value

    def walk(node):
        if not isinstance(node, tuple):
            return leaf(node)
        kids = [walk(child) for child in node[1:]]
        return _rewrite(node[0], kids)

    return _emit(walk(to_tree(expr)))


def _emit(tree) -> tuple[list[str], list[float]]:
    consts: list[float] = []

    def walk(node):
        if isinstance(node, float):
            consts.append(node)
            return CONSTANT
        if isinstance(node, tuple):
            return (node[0], *[walk(child) for child in node[1:]])
        return node

    return from_tree(walk(tree)), consts


def _head(node) -> str:
    return node[0] if isinstance(node, tuple) else ""


def _rewrite(token: str, kids: list):
    """One node over finished operands; a float is a known constant."""
    if all(isinstance(kid, float) for kid in kids):
        value = _value(token, *map(repr, kids))
        if value is not None:
            return value
        return (token, *kids)
    if len(kids) == 1:
        return _rewrite_unary(token, kids[0])
    rewrite = {"+": _sum, "-": _difference, "*": _product, "/": _quotient, "pow": _power}.get(token)
    return (token, *kids) if rewrite is None else rewrite(*kids)


@lru_cache(4096)
def _value(*expr: str) -> float | None:
    from fansr.expressions import evaluate

    value = float(evaluate(expr, np.zeros((1, 1)))[0])
    return value if math.isfinite(value) else None


def _rewrite_unary(token, a):
    head = _head(a)
    if token == "neg":
        if head == "neg":
            return a[1]
        if head == "-":
            return ("-", a[2], a[1])
        if head in "*/" and head and isinstance(a[1], float):
            return _rewrite(head, [-a[1], a[2]])
    elif token == "inv":
        if head == "inv":
            return a[1]
        if head == "/":
            return _rewrite("/", [a[2], a[1]])
        if head == "neg":
            return _rewrite_unary("neg", _rewrite_unary("inv", a[1]))
        if head == "*" and isinstance(a[1], float) and a[1] != 0:
            return _rewrite("/", [1 / a[1], a[2]])
    elif token in ("pow2", "pow4", "cos", "cosh", "abs") and head in ("neg", "abs"):
        return (token, a[1]) if head == "neg" or token != "abs" else a
    elif token[:4] == "mult" and head == "neg":
        return _rewrite_unary("neg", (token, a[1]))
    return (token, a)


def _sum(a, b):
    if isinstance(a, float):
        a, b = b, a
    if isinstance(b, float):
        if b == 0:
            return a
        if b < 0:
            return ("-", a, -b)
        return ("+", a, b)
    if _head(b) == "neg":
        return ("-", a, b[1])
    if _head(a) == "neg":
        return ("-", b, a[1])
    return ("+", a, b)


def _difference(a, b):
    if isinstance(b, float):
        return _sum(a, -b)
    if isinstance(a, float) and a == 0:
        return _rewrite_unary("neg", b)
    if _head(b) == "neg":
        return _sum(a, b[1])
    return ("-", a, b)


def _product(a, b):
    if isinstance(b, float):
        a, b = b, a
    if isinstance(a, float):
        return _scaled(a, b)
    for this, other in ((a, b), (b, a)):
        if _head(this) == "neg":
            return _rewrite_unary("neg", _product(this[1], other))
        if _head(this) in ("*", "/") and isinstance(this[1], float):
            return _scaled(this[1], _product(this[2], other) if this[0] == "*" else _quotient(other, this[2]))
    if _head(b) == "inv":
        return _quotient(a, b[1])
    if _head(a) == "inv":
        return _quotient(b, a[1])
    return ("*", a, b)


def _scaled(c: float, t):
    """c * t in the shortest tokens."""
    head = _head(t)
    if head in ("*", "/") and isinstance(t[1], float):
        return _scaled(c * t[1], t[2]) if head == "*" else ("/", c * t[1], t[2])
    if head == "neg":
        return _scaled(-c, t[1])
    if head == "-" and c < 0:
        return _scaled(-c, ("-", t[2], t[1]))
    if head[:4] == "mult":
        return _scaled(c * int(head[4:]), t[1])
    if head[:3] == "div":
        return _scaled(c / int(head[3:]), t[1])
    if head == "inv" and c != 1:
        return ("/", c, t[1])
    if c == 1:
        return t
    if c == -1:
        return _rewrite_unary("neg", t)
    if c == 0:
        return 0.0
    for k in (2, 3, 4, 5):
        for name, value in ((f"mult{k}", float(k)), (f"div{k}", 1.0 / k)):
            if abs(c) == value:
                return (name, t) if c > 0 else _rewrite_unary("neg", (name, t))
    return ("*", c, t)


def _quotient(a, b):
    if isinstance(b, float):
        return _scaled(1 / b, a) if b != 0 else ("/", a, b)
    if _head(b) == "neg":
        return _rewrite_unary("neg", _quotient(a, b[1]))
    if _head(b) in ("*", "/") and isinstance(b[1], float) and b[1] != 0:
        rest = _quotient(a, b[2]) if b[0] == "*" else _product(a, b[2])
        return _scaled(1 / b[1], rest)
    if isinstance(a, float):
        return _rewrite_unary("inv", b) if a == 1 else ("/", a, b)
    if _head(a) == "neg":
        return _rewrite_unary("neg", _quotient(a[1], b))
    if _head(a) in ("*", "/") and isinstance(a[1], float):
        return _scaled(a[1], _quotient(a[2], b) if a[0] == "*" else _rewrite_unary("inv", _product(a[2], b)))
    if _head(b) == "inv":
        return _product(a, b[1])
    return ("/", a, b)


_POWERS = {
    1.0: (),
    2.0: ("pow2",),
    3.0: ("pow3",),
    4.0: ("pow4",),
    5.0: ("pow5",),
    6.0: ("pow2", "pow3"),
    8.0: ("pow2", "pow4"),
    9.0: ("pow3", "pow3"),
    0.5: ("pow1_2",),
    0.25: ("pow1_4",),
    1.5: ("pow3", "pow1_2"),
    2.5: ("pow5", "pow1_2"),
    0.75: ("pow3", "pow1_4"),
    1.25: ("pow5", "pow1_4"),
}


def _power(a, b):
    if isinstance(b, float):
        if b == 0:
            return 1.0
        chain = _POWERS.get(abs(b))
        if chain is not None:
            tree = a
            for token in reversed(chain):
                tree = (token, tree)
            return tree if b > 0 else _rewrite_unary("inv", tree)
    if isinstance(a, float) and a == math.e:
        return ("exp", b)
    return ("pow", a, b)


def factored(expr: list[str], consts) -> list[tuple[list[str], list[float]]]:
    """The same function with a coefficient taken out of a sum: a f + b as a (f + b/a), a f + b g as a (f + (b/a) g).

    With as many constants, and longer only where a quotient c / f becomes an inverse; where two coefficients are equal, opposite or in a plain ratio it shows in b/a,
    which can then be told as a round number: 6.3 - 6.3 exp(-x) is 6.3 (1 - exp(-x)), with a constant less.
    """
    values = iter(float(c) for c in consts)

    def number(node):
        if isinstance(node, tuple):
            return (node[0], *[number(child) for child in node[1:]])
        return next(values) if node == CONSTANT else node

    found = []

    def walk(node, rebuild):
        if not isinstance(node, tuple):
            return
        if node[0] in ("+", "-"):
            parts = [_coefficient(child) for child in node[1:]]
            if None not in parts:
                (a, f), (b, g) = parts
                b = -b if node[0] == "-" else b
                if f is None:
                    (a, f), (b, g) = (b, g), (a, f)
                if f is not None and a:
                    found.append(rebuild(("*", a, ("+", f, b / a if g is None else ("*", b / a, g)))))
        for place in range(1, len(node)):
            walk(node[place], lambda new, place=place: rebuild((*node[:place], new, *node[place + 1 :])))

    walk(number(to_tree(expr)), lambda new: new)
    return [absorb(*_emit(tree)) for tree in found]


def _coefficient(node):
    """(c, f) of c * f or c / f, (c, None) of a constant; None where there is no coefficient."""
    if isinstance(node, float):
        return node, None
    if _head(node) == "*" and isinstance(node[1], float) != isinstance(node[2], float):
        return (node[1], node[2]) if isinstance(node[1], float) else (node[2], node[1])
    if _head(node) == "/" and isinstance(node[1], float) and not isinstance(node[2], float):
        return node[1], ("inv", node[2])
    return None


# ---- shorter forms ----------------------------------------------------------------------------

_simplified: dict[tuple[str, ...], list[str] | None] = {}  # by what was simplified


def neighbours(expr: list[str]) -> list[list[str]]:
    """Every expression one cut away: a node replaced by an operand, a subtree by a constant, a pair of
    unary operators by one; and quotients divided through, which only simplified may be shorter."""
    found = []
    for i, token in enumerate(expr):
        stop = end(expr, i)
        arity = ARITY.get(token, 0)
        if arity == 0:
            continue
        j = i + 1
        for _ in range(arity):
            k = end(expr, j)
            found.append([*expr[:i], *expr[j:k], *expr[stop:]])
            j = k
        if i > 0 and any(variable_index(t) is not None for t in expr[i:stop]):
            found.append([*expr[:i], CONSTANT, *expr[stop:]])
        if token == "pow" and expr[end(expr, i + 1) : stop] == [CONSTANT]:
            base = expr[i + 1 : stop - 1]
            found += [[*expr[:i], power, *base, *expr[stop:]] for power in ("pow2", "pow3", "pow1_2", "inv")]
    unique = {tuple(e): e for e in found if len(e) < len(expr) + 1}
    unique.pop(tuple(expr), None)
    return [*unique.values(), *_divided(expr)]


def _divided(expr: list[str]) -> list[list[str]]:
    """Every quotient u / (a + b) also as 1 / (a/u + b/u): longer as it stands, often shorter once simplified."""
    found = []
    for i, token in enumerate(expr):
        if token != "/":
            continue
        j = end(expr, i + 1)
        stop = end(expr, j)
        above, below = expr[i + 1 : j], expr[j:stop]
        shared = drop_constants(above)
        if below[0] in ("+", "-") and shared:
            k = end(below, 1)
            whole = [below[0], "/", *below[1:k], *shared, "/", *below[k:], *shared]
            found.append([*expr[:i], *(["/", CONSTANT] if CONSTANT in above else ["inv"]), *whole, *expr[stop:]])
    return found


def _shapes(cuts: list[list[str]], best: Candidate, fitter, value, loaded) -> list[tuple]:
    """For every cut the forms it may be tried in, the simplest first.

    The engine that simplifies takes a quarter of a second to load.  A short law's cuts are fitted as they stand first: where none
    of them could win in any form (a cut and its simplified form fit alike; none is cheaper than one token), nothing is left to try.
    Quotients divided through are longer as they stand and always simplified.
    """
    if cuts and len(best.expr) <= HOPELESS_TOKENS and all(len(cut) <= len(best.expr) for cut in cuts):
        fvus, _ = fitter.fit(cuts)
        if not any(value(Candidate(["x1"], np.zeros(0), float(fvu))) < value(best) for fvu in fvus):
            return []
    begun = time.monotonic()
    from fansr.simplification import simplify_many

    simplify_many([])
    loaded(time.monotonic() - begun)
    forms = _remembered(_simplified, cuts, lambda fresh: (form for form, _ in simplify_many(fresh, relax=False)))
    return list(zip(forms, cuts))


def _remembered(known: dict, exprs: list[list[str]], answers) -> list:
    """What `answers` of a list gives for each expression, asked only for those that are not `known`."""
    asked = {tuple(expr): expr for expr in exprs}
    fresh = {key: expr for key, expr in asked.items() if key not in known}
    if len(known) + len(fresh) > REMEMBERED:
        known.clear()
        fresh = asked
    if fresh:
        known.update(zip(fresh, answers(list(fresh.values()))))
    return [known[tuple(expr)] for expr in exprs]


class Once:
    """A fitter that fits no form twice: cuts of different laws of one table are often the same."""

    def __init__(self, fitter):
        self.fitter = fitter
        self._fits: dict[tuple, tuple[float, np.ndarray]] = {}

    def fit(self, forms: list[list[str]]) -> tuple[list[float], list[np.ndarray]]:
        """(fvu, constants) of each form, as a Refiner fits them."""
        found = _remembered(self._fits, forms, lambda fresh: zip(*self.fitter.fit(fresh)))
        return [float(fvu) for fvu, _ in found], [consts for _, consts in found]


_AFFINE = frozenset(("+", "-", "neg", "*", "/", *(f"{way}{k}" for way in ("mult", "div") for k in (2, 3, 4, 5))))


def solved_at_once(expr: list[str]) -> bool:
    """Whether an expression is linear in all its constants as it stands, so that their best fit needs no search."""
    stack: list[bool | None] = []  # of each operand whether it holds constants; None once it is not linear in them
    for token in reversed(expr):
        kids = [stack.pop() for _ in range(ARITY.get(token, 0))]
        if not any(kid or kid is None for kid in kids):
            stack.append(token == CONSTANT)
            continue
        curved = token not in _AFFINE or None in kids or (token == "*" and all(kids)) or (token == "/" and kids[1])
        stack.append(None if curved else True)
    return stack[0] is not None


def shorten(
    candidate: Candidate, fitter, value, rounds: int = 12, over=lambda: False, loaded=lambda seconds: None
) -> tuple[Candidate, list[Candidate]]:
    """Cut as long as the selection improves; returns the best form and everything fitted on the way.

    value: function of a candidate giving the number to minimise (Pool.value).
    loaded: is told the seconds that loading the simplifier took.
    """
    best, tried = candidate, []
    seen = {tuple(candidate.expr)}
    for _ in range(rounds):
        forms = []
        cuts = neighbours(best.expr)
        for shapes in _shapes(cuts, best, fitter, value, loaded):
            form = shapes[0]
            if form is not None and tuple(form) in seen and solved_at_once(form):
                continue  # another start of the same fit would end where the first did
            for shape in shapes:
                if shape is not None and tuple(shape) not in seen and len(shape) <= len(best.expr):
                    seen.add(tuple(shape))
                    forms.append(shape)
                    break
        if not forms or over():
            break
        fvus, consts = fitter.fit(forms)
        fitted = [best.rewritten(f, np.array(c), float(v)) for f, v, c in zip(forms, fvus, consts) if v < math.inf]
        tried += fitted
        better = min(fitted, key=value, default=best)
        if not value(better) < value(best) - 1e-9:
            break
        best = better
    return best, tried
