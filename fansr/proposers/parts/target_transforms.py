"""Functions of the target that are undone before its regression: y = sign * unit * front * outer(S).

Knows values and how they are written, no searches and no candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from fansr.proposers.parts.expression_assembly import HALF, ONE, Base, Factors, Term, combination, product
from fansr.proposers.parts.sum_spelling import fraction

MIN_DEFINED = 0.8  # share of the points an undone function must exist at; noise and underflow cost some


def _all(u: np.ndarray) -> np.ndarray:
    return np.ones(len(u), bool)


def _positive(u: np.ndarray) -> np.ndarray:
    return u > 0


def _within(low: float, high: float):
    """u between bounds; nowhere if |u| is so small all over that the function is as good as linear."""
    return lambda u: (u >= low) & (u <= high) & (np.median(np.abs(u)) > 0.02)


class Outer(NamedTuple):
    """A function of S: `undo` maps its values u back to S where `defined(u)` says so, `do` is the function itself."""

    name: str
    do: Callable[[np.ndarray], np.ndarray]
    undo: Callable[[np.ndarray], np.ndarray]
    defined: Callable[[np.ndarray], np.ndarray]
    power: Fraction | None  # it is S ** power, or
    tokens: Base = ()  # it is this function

    def law(self, inner: Base) -> Base:
        """The function of an expression."""
        return product({inner: self.power}, lambda base: False) if self.power is not None else (*self.tokens, *inner)

    def law_of_terms(
        self, above: list[Term], below: list[Term], front: Factors, positive, tolerance: float = 1e-9
    ) -> Base:
        """front * function(sum of `above` / sum of `below`); an empty `below` stands for 1."""
        power, own = (ONE, None) if self.power is None else (self.power, front)
        if below:
            inner = fraction(above, below, power, own, positive, tolerance)
        else:
            inner = combination(above, power, own, positive, tolerance)
        return inner if self.power is not None else product({**front, (*self.tokens, *inner): ONE}, positive)


# fmt: off
OUTERS = (
    Outer("y", lambda S: S, lambda u: u, _all, ONE),
    Outer("1/y", lambda S: 1 / S, lambda u: 1 / u, lambda u: u != 0, -ONE),
    Outer("sqrt", np.sqrt, np.square, _positive, HALF),
    Outer("1/sqrt", lambda S: 1 / np.sqrt(S), lambda u: 1 / (u * u), _positive, -HALF),
    Outer("exp", np.exp, np.log, _positive, None, ("exp",)),
    Outer("square", np.square, np.sqrt, _positive, Fraction(2)),
    Outer("log", np.log, np.exp, _within(-30, 30), None, ("log",)),
)
# Less common ones, for the small library only.
RARE_OUTERS = (
    Outer("asin", np.arcsin, np.sin, _within(-np.pi / 2, np.pi / 2), None, ("asin",)),
    Outer("acos", np.arccos, np.cos, _within(0, np.pi), None, ("acos",)),
    Outer("atan", np.arctan, np.tan, _within(-np.pi / 2, np.pi / 2), None, ("atan",)),
    Outer("sin", np.sin, np.arcsin, _within(-1, 1), None, ("sin",)),
    Outer("cos", np.cos, np.arccos, _within(-1, 1), None, ("cos",)),
    Outer("tanh", np.tanh, np.arctanh, _within(-1 + 1e-9, 1 - 1e-9), None, ("tanh",)),
    Outer("1/square", lambda S: 1 / (S * S), lambda u: 1 / np.sqrt(u), _positive, Fraction(-2)),
    Outer("cbrt", np.cbrt, lambda u: u**3, _all, Fraction(1, 3)),
)
# Where columns come apart under it.
CUBE = Outer("cube", lambda S: S**3, np.cbrt, _all, Fraction(3))
# fmt: on
OUTER = {outer.name: outer for outer in (*OUTERS, *RARE_OUTERS, CUBE)}


class View(NamedTuple):
    """A way to look at the target: y = sign * unit * front * outer(S)."""

    outer: Outer
    sign: float
    unit: float
    front: np.ndarray | float  # (M,) what stands before the function
    S: np.ndarray  # (M,) what the terms have to add up to; 0 where `ok` is False
    ok: np.ndarray  # (M,) where the function could be undone

    def values(self, S: np.ndarray) -> np.ndarray:
        """y (M,) from values of S."""
        return self.front * self.sign * self.unit * self.outer.do(S)


@np.errstate(all="ignore")
def view_of(y: np.ndarray, outer: Outer, front: np.ndarray | float = 1.0, unit: float | None = None) -> View | None:
    """The target with a front divided out and an outer function undone, or None where that is not defined.

    Without a unit it is the typical size of y / front, which only powers can take off.
    """
    u = y / front
    ok = np.isfinite(u)
    some = ok & (u != 0)
    if not some.any():
        return None
    unit = float(np.exp(np.median(np.log(np.abs(u[some]))))) if unit is None else unit
    if not 0 < unit < math.inf:
        return None
    sign = -1.0 if outer.defined is _positive and np.mean(u[ok] < 0) > 0.5 else 1.0
    u = sign * u / unit
    ok &= outer.defined(np.where(ok, u, 0.0))
    S = outer.undo(np.where(ok, u, np.nan))
    ok &= np.isfinite(S)
    if ok.mean() < MIN_DEFINED:
        return None
    seen = S[ok]
    low, high = seen.min(), seen.max()
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        return None
    return View(outer, sign, unit, front, np.where(ok, S, 0.0), ok)


def negated(law: Base) -> Base:
    """-law."""
    return law[1:] if law[0] == "neg" else ("neg", *law)
