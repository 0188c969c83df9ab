"""Monomials of columns: their exponents in order of degree, their values, their factor tables; and numbers people write.

Knows nothing of targets or fits.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import islice

import numpy as np

from fansr.proposers.parts.expression_assembly import Factors

Exponents = tuple[int, ...]


def of_degree(D: int, degree: int, largest: int, signed: Sequence[bool]) -> Iterator[Exponents]:
    """Exponents of D columns whose magnitudes, each at most `largest`, add up to `degree`; only `signed` ones may be < 0."""
    if D == 0:
        yield from [()] if degree == 0 else []
        return
    for size in range(min(degree, largest), -1, -1):
        for e in (size, -size)[: 1 + (size > 0 and signed[0])]:
            for rest in of_degree(D - 1, degree - size, largest, signed[1:]):
                yield (e, *rest)


@lru_cache(64)
def monomials(D: int, degree: int) -> list[Exponents]:
    """Exponents of all monomials of D columns up to a total degree, low degrees first."""
    return [v for d in range(degree + 1) for v in sorted(of_degree(D, d, d, (False,) * D))]


def exponent_vectors(D: int, count: int, largest: int = 4, signed: Sequence[bool] | None = None) -> list[Exponents]:
    """Exponents of D columns by growing sum of magnitudes, about `count` of them; `signed[j]` False forbids negative ones."""
    found: list[Exponents] = []
    for degree in range(min(8, largest * D) + 1):
        # Many columns have more monomials of a degree than could ever be looked at.
        layer = list(islice(of_degree(D, degree, largest, signed or (True,) * D), 4 * count - len(found) + 1))
        if found and len(found) + len(layer) > count and degree > 2:
            # What is left of the count goes to the next layer's members with few columns, then few divisions.
            layer.sort(key=lambda v: (sum(e != 0 for e in v), sum(e < 0 for e in v)))
            return found + layer[: count - len(found)]
        found += layer
    return found


def values(X: np.ndarray, exponents) -> np.ndarray:
    """Values (M, T) of monomials with exponents (T, D), whole numbers of any sign, of the columns of X (M, D)."""
    E = np.asarray(exponents)
    V = np.ones((len(X), len(E)))
    with np.errstate(all="ignore"):
        for x, e in zip(X.T, E.T):
            powers = {1: x}
            for size in range(2, int(np.abs(e).max(initial=0)) + 1):
                powers[size] = powers[size - 1] * x
            powers |= {-size: 1 / v for size, v in powers.items() if -size in e}
            for size in set(e.tolist()) - {0}:
                V[:, e == size] *= powers[size][:, None]
    return V


def factors_of(exponents, each: Fraction = Fraction(1), columns: Sequence[int] | None = None) -> Factors:
    """The factor table of x_j ** (each * exponents[j]), the columns numbered from 0 or by `columns`."""
    numbers = range(len(exponents)) if columns is None else columns
    return {(f"x{j + 1}",): _fraction(e) if each == 1 else each * _fraction(e) for j, e in zip(numbers, exponents) if e}


@lru_cache(256)
def _fraction(e) -> Fraction:
    return Fraction(e).limit_denominator(60)


def distinct_columns(X: np.ndarray) -> list[int]:
    """Columns that vary, each only once: multiples of an earlier one would share its terms with it."""
    found: dict[bytes, int] = {}
    for j, v in enumerate(X.T):
        size = float(np.abs(v).max())
        if np.ptp(v) > 0 and 0 < size < math.inf:
            found.setdefault(np.round(v / v[int(np.abs(v).argmax())], 12).tobytes(), j)
    return sorted(found.values())
