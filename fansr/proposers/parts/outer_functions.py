"""Functions of the target that are undone before its regression: y = sign * unit * base * outer(S), S what terms add up to.

A part of term_library.py's search; knows the library of terms, no budgets and no candidates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from fansr.proposers.parts.assembly import HALF, ONE, Base
from fansr.proposers.parts.terms import Atom, Library

# ---- outer functions --------------------------------------------------------------------------


class Outer(NamedTuple):
    """y = base * outer(S): `undo` maps u = y / base to S where `defined(u)` says so, `do` is outer itself."""

    name: str
    do: Callable[[np.ndarray], np.ndarray]
    undo: Callable[[np.ndarray], np.ndarray]
    defined: Callable[[np.ndarray], np.ndarray]
    power: Fraction | None  # outer is S ** power, or
    tokens: Base = ()  # outer is this function


def _all(u: np.ndarray) -> np.ndarray:
    return np.ones(len(u), bool)


def _positive(u: np.ndarray) -> np.ndarray:
    return u > 0


def _within(low: float, high: float):
    """u between bounds; nowhere if |u| is so small all over that the function is as good as linear."""
    return lambda u: (u >= low) & (u <= high) & (np.median(np.abs(u)) > 0.02)


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
MIN_DEFINED = 0.8  # share of the points an undone function must exist at; noise and underflow cost some


# ---- one transform ----------------------------------------------------------------------------


class View(NamedTuple):
    """A way to look at the target: y = sign * unit * base * outer(S), where base is a monomial of scaled columns."""

    outer: Outer
    powers: tuple[float, ...]  # of the base
    sign: float
    unit: float
    base: np.ndarray  # (M,)
    S: np.ndarray  # (M,) what the terms have to add up to; 0 where `ok` is False
    ok: np.ndarray  # (M,) where the outer function could be undone


def make_view(library: Library, y: np.ndarray, outer: Outer, powers: tuple[float, ...]) -> View | None:
    """The target under an outer function and a base, or None where that is not defined."""
    atom = Atom(powers, ())
    base = library.values(atom)
    with np.errstate(all="ignore"):
        u = y / base
        ok = np.isfinite(u)
        if not (ok & (u != 0)).any():
            return None
        if outer.power is not None:
            unit = float(np.exp(np.median(np.log(np.abs(u[ok & (u != 0)])))))
        else:
            unit = float(np.exp(library.log_scale(atom)))  # functions ask for their argument in its own unit
            if not 0 < unit < math.inf:
                return None
        negative = np.mean(u[ok] < 0) > 0.5
        sign = -1.0 if negative and outer.defined in (_positive,) else 1.0
        u = sign * u / unit
        ok = ok & outer.defined(np.where(ok, u, 0.0))
        S = outer.undo(np.where(ok, u, np.nan))
        ok = ok & np.isfinite(S)
    if ok.mean() < MIN_DEFINED or np.ptp(S[ok]) <= 1e-9 * np.abs(S[ok]).max():
        return None
    return View(outer, powers, sign, unit, base, np.where(ok, S, 0.0), ok)
