"""Products of powers, y = c * prod_k f_k ** e_k * exp(s): exponents from a regression of log|y|, signs and c from y itself.

What power.py (f_k are columns) and factor_products.py (f_k are any factors) share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

import numpy as np

from fansr.proposers.parts.candidates import fvu_of
from fansr.proposers.parts.expression_assembly import Base, Factors, product, scale_of, simple_numbers, times

MAX_SUBSETS = 64  # parities tried of factors that change sign


class LogRegression:
    """t = e_0 + sum_k e_k F[:, k], weighted, with any of the e_k held at given values.

    F (M, K) are the factors' logarithms, t (M,) that of |y|; w (M,) multiplies the residuals.
    """

    def __init__(self, F: np.ndarray, t: np.ndarray, w: np.ndarray):
        self.A, self.t = np.column_stack([np.ones(len(t)), F]) * w[:, None], t * w
        self.size = np.maximum(np.sqrt((self.A * self.A).sum(axis=0)), 1e-300)

    def solve(self, held: dict[int, float] | None = None) -> tuple[np.ndarray, np.ndarray, float]:
        """(exponents (K,), their standard errors (K,), root mean square residual); those `held` have no error."""
        held = held or {}
        free = [0] + [k for k in range(1, self.A.shape[1]) if k - 1 not in held]
        e, errors = np.zeros(self.A.shape[1]), np.zeros(self.A.shape[1])
        for k, value in held.items():
            e[1 + k] = value
        B, t = self.A[:, free] / self.size[free], self.t - self.A @ e
        c, _, rank, _ = np.linalg.lstsq(B, t, rcond=1e-12)
        r = t - B @ c
        variance = np.diag(np.linalg.pinv(B.T @ B, rcond=1e-13)) * float(r @ r) / max(1, len(t) - rank)
        e[free], errors[free] = c / self.size[free], np.sqrt(np.maximum(variance, 0.0)) / self.size[free]
        return e[1:], errors[1:], float(np.sqrt(np.mean(r * r)))


@np.errstate(all="ignore")
def power_products(
    y: np.ndarray,
    weights: np.ndarray | None,
    factors: Sequence[tuple[Base, np.ndarray, Fraction | float]],
    exponential: tuple[Base, np.ndarray] | None = None,
) -> list[Base]:
    """Laws c * prod f ** e * exp(s) with the sign pattern that suits y best, c as fitted and as a simple number.

    `factors` are triples (expression of f, its values (M,), e), `exponential` the expression and values of s.
    """
    factors = [(base, v, Fraction(e).limit_denominator(10**9)) for base, v, e in factors if e]
    size = np.zeros(len(y)) if exponential is None else exponential[1]
    size = size + sum(float(e) * np.log(np.abs(v)) for _, v, e in factors)  # no factor may be left
    ok = np.isfinite(size)
    if not ok.any():
        return []
    middle = np.max(size[ok])
    odd = parity(y, factors)
    P = np.prod([np.sign(v) for base, v, _ in factors if base in odd] or [np.ones(len(y))], axis=0) * np.exp(
        size - middle
    )
    ok = np.isfinite(P)  # a factor that is zero makes a zero
    P, t, w = P[ok], (y / scale_of(y))[ok], np.ones(ok.sum()) if weights is None else weights[ok]
    c = float((w * P) @ t / ((w * P) @ P))
    log_c = np.log(abs(c)) - middle + np.log(scale_of(y)) if c else -np.inf
    if not np.isfinite(log_c) or abs(log_c) > 690:
        return []
    constant = math.copysign(math.exp(log_c), c)
    table, positive = spelled(factors, odd)
    if exponential:
        table[("exp", *exponential[0])] = Fraction(1)
    body = product(table, lambda base: base[0] == "exp" or base in positive)
    # The constant also as the simple number nearest to it, where that costs little; selection.py judges which is honest.
    loss = fvu_of(t, c * P, w)
    most = max(1.5 * loss, loss + 1e-3, 1e-20)
    simple = [v for v in simple_numbers(constant) if fvu_of(t, c * P * (v / constant), w) <= most]
    return [times(v, body) for v in (*simple, constant)]


def is_odd(e: Fraction) -> bool:
    """Whether x ** e changes its sign with x."""
    return bool(e.numerator % 2 and e.denominator % 2)


def parity(y: np.ndarray, factors) -> set[Base]:
    """The factors whose signs y follows: the subset of those that change sign that explains most signs of y."""
    mixed = {base: np.sign(v) for base, v, _ in factors if v.min() < 0 < v.max()}
    natural = tuple(base for base, _, e in factors if base in mixed and is_odd(e))
    subsets = [natural] + [c for k in range(len(mixed) + 1) for c in combinations(mixed, k)][:MAX_SUBSETS]
    right = [abs(float(np.sum(np.sign(y) * math.prod(mixed[base] for base in subset)))) for subset in subsets]
    return set(subsets[right.index(max(right))])


def spelled(factors, odd: set[Base]) -> tuple[Factors, set[Base]]:
    """The factor table and the bases that are never negative: signs and roots are put right with abs and neg."""
    table: Factors = {}
    positive: set[Base] = set()
    for base, v, e in factors:
        whole, rooted = e.denominator == 1, e.denominator in (3, 5) and e.numerator <= 5
        if v.min() >= 0:
            positive.add(base)
            table[base] = e
        elif v.max() <= 0:
            positive.add(("neg", *base))
            table[base if whole else ("neg", *base)] = e
        elif (whole or rooted) and is_odd(e) == (base in odd):
            table[base] = e
        else:
            positive.add(("abs", *base))
            if base in odd:
                table[base] = Fraction(1)
            table[("abs", *base)] = e - (base in odd)
    return {base: e for base, e in table.items() if e}, positive
