"""Curves of one column that have a name: lines, powers, decays to a floor, saturation, peaks, waves, whatever their spelling.

A law is classified from its leaves upwards by a small algebra, in which a line with a bend is a line: the exponential of a line is E,
1/(1 + E) is logistic, a + b E goes to a floor, x^n/(x^n + c) is Hill's.  Constants have no values here.  Which of them a selection prefers in a table of one column is COMMON.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from fansr.expressions import CONSTANT, literal_value, to_tree, variable_index

# What a node may be, beside None, which has no name: a constant "1", "M1" a line through 0, "M2", "M-1", "M?" other powers (M? of a
# fitted exponent), and
NAMES = {
    "E": "exponential", "Arrhenius": "exp(c/x)", "stretched": "exp(c x^p)", "bell": "Gaussian", "Gompertz": "exp(c exp(k x))",
    "wave": "sine", "hyperbolic": "sinh or cosh of a line", "step": "tanh or atan of a line", "log": "logarithm of a line", "hyperbola": "1/(x + b)", "logistic": "1/(1 + E)",
    "Hill": "1/(a + b x^p)", "peak": "Lorentzian", "parabola": "second degree", "square": "of a line", "damped": "E times a wave",
    "inhibited": "1/(a/x + b + c x)", "gamma": "power times E", "two": "sum of two exponentials", "root": "square root of a line", "inverse square": "of a line", "inverse log": "1/(a + b log x)",
}  # fmt: skip
# "+" before a name: with a constant added.
COMMON = frozenset(
    ["1", "M1", "M2", "M3", "M-1", "M-2", "M0.5", "M1.5", "M?", "+M1", "+M2", "+M-1", "+M-2", "+M0.5", "+M?", "E", "+E", "Arrhenius", "+stretched",
     "stretched", "bell", "+bell", "Gompertz", "wave", "+wave", "hyperbolic", "+hyperbolic", "step", "log", "+log", "hyperbola", "+hyperbola", "logistic", "Hill", "saturation",
     "peak", "parabola", "square", "damped", "gamma", "two", "inhibited", "inverse log", "inverse square"]
)  # fmt: skip


def curve_of(expr: Sequence[str]) -> str | None:
    """The name of a law of one column, of those above; None of any other, and of a law of several columns."""
    if len({variable_index(token) for token in expr} - {None}) > 1:
        return None
    return _kind(to_tree(list(expr)))


@lru_cache(4096)
def is_common(expr: tuple[str, ...]) -> bool:
    """Whether a law of one column is a curve that everybody knows."""
    return curve_of(expr) in COMMON


def _kind(node) -> str | None:
    if not isinstance(node, tuple):
        if node == CONSTANT or literal_value(node) is not None:
            return "1"
        return "M1"
    token = node[0]
    kinds = [_kind(child) for child in node[1:]]
    if None in kinds:
        return None
    if all(kind == "1" for kind in kinds):
        return "1"
    if token in ("max", "min"):  # a column that is held up to a switch, or from there on
        return "M1" if "1" in kinds and {"M1", "+M1"} & set(kinds) else None
    if token in ("+", "-"):
        return _sum(*kinds)
    if token == "*":
        return _product(*kinds)
    if token == "/":
        return _product(kinds[0], _inverse(kinds[1]))
    if token == "pow":
        return _power(kinds[0], kinds[1], node[2])
    if token == "neg" or token[:4] == "mult" or token[:3] == "div":
        return kinds[0]
    rule = _FUNCTIONS.get(token)
    return rule(kinds[0]) if rule else None


def _exponent(kind: str) -> float | None:
    """p of x^p; None where it was fitted, or of another kind."""
    return float(kind[1:]) if kind[0] == "M" and kind[1:] != "?" and " " not in kind else None


def _monomial(p: float | None) -> str:
    return "M?" if p is None else "1" if p == 0 else f"M{p:g}"


def _sum(a: str | None, b: str | None) -> str | None:
    if a is None or b is None:
        return None
    if a == "1" or b == "1":
        kind = b if a == "1" else a
        if kind == "square":
            return "parabola"
        return kind if kind[0] == "+" or kind in ("1", "parabola") else f"+{kind}"
    bare = [kind.lstrip("+") for kind in (a, b)]
    if set(bare) <= {"M1", "M2", "square", "parabola"}:
        return f"{'+' * ('+' in a + b)}M1" if set(bare) == {"M1"} else "parabola"
    if set(bare) <= {"M1", "M-1", "M1 M-1"} and len(set(bare)) == 2:
        return "+" * ("+" in a[0] + b[0]) + "M1 M-1"
    if a == b and a in ("E", "wave"):
        return "two" if a == "E" else None
    return "log" if set(bare) <= {"log", "1"} else None


def _product(a: str | None, b: str | None) -> str | None:
    if a is None or b is None:
        return None
    if a == "1" or b == "1":
        return b if a == "1" else a
    if a[0] == "M" and b[0] == "M":
        p, q = _exponent(a), _exponent(b)
        return _monomial(None if p is None or q is None else p + q)
    kinds = {a, b}
    if kinds <= {"M1", "+M1"}:
        return "parabola"
    if kinds == {"E"}:
        return "E"
    if kinds == {"E", "wave"}:
        return "damped"
    if kinds == {"M1", "hyperbola"}:
        return "saturation"
    if kinds == {"M1", "peak"}:
        return "inhibited"
    if "Hill" in kinds and any(kind[0] == "M" for kind in kinds):
        return "saturation"
    if "E" in kinds and any(kind[0] == "M" for kind in kinds):
        return "gamma"
    return None


def _inverse(kind: str | None) -> str | None:
    if kind is None:
        return None
    if kind[0] == "M":
        p = _exponent(kind)
        return _monomial(None if p is None else -p)
    if kind == "+M1 M-1":
        return "inhibited"
    if kind[:2] == "+M":
        return "hyperbola" if kind == "+M1" else "saturation" if kind == "+M-1" else "Hill"
    return {
        "1": "1", "E": "E", "+E": "logistic", "+log": "inverse log", "log": "inverse log", "parabola": "peak", "square": "inverse square", "hyperbola": "+M1",
        "Arrhenius": "Arrhenius", "stretched": "stretched", "bell": "bell", "+hyperbola": "+hyperbola",
    }.get(kind)  # fmt: skip


def _power(base: str, exponent: str, node) -> str | None:
    if base == "1":  # c^u
        return _exponential(exponent)
    if exponent != "1":
        return None
    p = None if isinstance(node, tuple) or node == CONSTANT else literal_value(node)
    if base[0] == "M":
        q = _exponent(base)
        return _monomial(None if p is None or q is None else p * q)
    return {"E": "E", "Arrhenius": "Arrhenius", "bell": "bell"}.get(base)


def _raised(n: float) -> Callable[[str], str | None]:
    def rule(kind: str) -> str | None:
        if kind[0] == "M":
            p = _exponent(kind)
            return _monomial(None if p is None else n * p)
        if n == 2 and kind == "+M1":
            return "square"
        if n == 2 and kind == "hyperbola":
            return "inverse square"
        if n == 2 and kind == "wave":
            return "+wave"
        if n == 0.5 and kind == "+M1":
            return "root"
        return {"E": "E", "Arrhenius": "Arrhenius", "bell": "bell"}.get(kind)

    return rule


def _exponential(kind: str) -> str | None:
    bare = kind.lstrip("+")
    if bare == "M1":
        return "E"
    if bare == "M-1":
        return "Arrhenius"
    if bare in ("M2", "square", "parabola"):
        return "bell"
    if bare[0] == "M":
        return "stretched"
    return {"log": "M?", "+log": "M?", "E": "Gompertz", "+E": "Gompertz"}.get(kind)


def _logarithm(kind: str) -> str | None:
    if kind[0] == "M":
        return "log"
    return {"+M1": "log", "E": "+M1"}.get(kind)


def _of_line(name: str) -> Callable[[str], str | None]:
    return lambda kind: name if kind in ("M1", "+M1") else None


_FUNCTIONS: dict[str, Callable[[str], str | None]] = {
    "inv": _inverse, "exp": _exponential, "log": _logarithm, "sin": _of_line("wave"), "cos": _of_line("wave"),
    "sinh": _of_line("hyperbolic"), "cosh": _of_line("hyperbolic"), "abs": _of_line("M1"), "tanh": _of_line("step"), "atan": _of_line("step"), "logistic": _of_line("logistic"),
    **{f"pow{n}": _raised(float(n)) for n in (2, 3, 4, 5)}, **{f"pow1_{n}": _raised(1 / n) for n in (2, 3, 4, 5)},
}  # fmt: skip
