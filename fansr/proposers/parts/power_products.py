"""Products of powers, y = c * prod_k f_k ** e_k * exp(s): exponents from a regression of log|y|, signs and c from y itself.

What power.py (f_k are columns) and factor_products.py (f_k are any factors) share.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

import numpy as np

from fansr.proposers.parts.expression_assembly import Base, Factors, product, scale_of, simple_numbers, times

MAX_SUBSETS = 64  # parities tried of factors that change sign


class LogRegression:
    """t = e_0 + sum_k e_k F[:, k], weighted, with any of the e_k held at given values.

    F (M, K) are the factors' logarithms, t (M,) that of |y|; w (M,) multiplies the residuals.  All rows are looked at once, for a
    triangular factor that has the same least squares.
    """

    def __init__(self, F: np.ndarray, t: np.ndarray, w: np.ndarray):
        A, t = np.column_stack([np.ones(len(t)), F]) * w[:, None], t * w
        self.M, self.size = len(t), np.maximum(np.sqrt((A * A).sum(axis=0)), 1e-300)
        Q, self.R = np.linalg.qr(A / self.size)  # (M, K'), (K', 1 + K)
        self.t = Q.T @ t
        outside = t - Q @ self.t
        self.outside = float(outside @ outside)  # a square that no exponents explain

    def centred(self) -> tuple[np.ndarray, np.ndarray]:
        """The factors (K, n), each to some scale, and the target (n,), less their means: in few coordinates, of the same products."""
        factors = np.zeros((len(self.size) - 1, len(self.R)))
        factors[:, :-1] = self.R[1:, 1:].T
        return factors, np.append(self.t[1:], math.sqrt(self.outside))

    def solve(
        self, held: dict[int, float] | None = None, among: Sequence[int] | None = None
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """(exponents (K,), their standard errors (K,), root mean square residual); those `held` have no error.

        With `among` only these of the factors take part, and K is their number.
        """
        held = held or {}
        columns = [0, *(range(1, len(self.size)) if among is None else (1 + k for k in among))]
        R, size, t = self.R[:, columns], self.size[columns], self.t
        e, errors = np.zeros(len(columns)), np.zeros(len(columns))
        free = [0] + [k for k in range(1, len(columns)) if k - 1 not in held]
        if held:
            for k, value in held.items():
                e[1 + k] = value
            t = t - R @ (e * size)
            R, size = R[:, free], size[free]
        U, s, Vt = np.linalg.svd(R, full_matrices=False)
        kept = s > 1e-12 * s[0]
        c = ((U.T @ t)[kept] / s[kept]) @ Vt[kept]
        r = t - R @ c
        square = float(r @ r) + self.outside
        per_row = square / max(1, self.M - int(kept.sum()))
        kept = s * s > 1e-13 * s[0] * s[0]
        variance = ((Vt[kept] / s[kept, None]) ** 2).sum(axis=0) * per_row
        e[free], errors[free] = c / size, np.sqrt(variance) / size
        return e[1:], errors[1:], math.sqrt(square / self.M)


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
    factors = [(base, v, rational(e)) for base, v, e in factors if e]
    size = np.zeros(len(y)) if exponential is None else exponential[1]
    for _, v, e in factors:
        size = size + float(e) * np.log(np.abs(v))
    ok = np.isfinite(size)
    if not ok.any():
        return []
    middle = float(np.max(size, where=ok, initial=-np.inf))
    signs = {base: sign_of(v) for base, v, _ in factors}
    odd = parity(y, factors, signs)
    P, unit = np.exp(size - middle), scale_of(y)
    for base, v, _ in factors:
        if base in odd:
            P *= np.sign(v)
    t, w = y / unit, weights
    ok = np.isfinite(P)  # a factor that is zero makes a zero
    if not ok.all():
        P, t, w = P[ok], t[ok], None if w is None else w[ok]
    wP = P if w is None else w * P
    square = float(wP @ P)
    c = float(wP @ t) / square if square else 0.0
    log_c = math.log(abs(c)) - middle + math.log(unit) if c and math.isfinite(c) else -math.inf
    if not math.isfinite(log_c) or abs(log_c) > 690:
        return []
    constant = math.copysign(math.exp(log_c), c)
    table, positive = spelled(factors, odd, signs)
    if exponential:
        table[("exp", *exponential[0])] = Fraction(1)
    body = product(table, lambda base: base[0] == "exp" or base in positive)
    # The constant also as the simple number nearest to it, where that costs little; selection.py judges which is honest.
    simple = simple_numbers(constant)
    if simple:
        slack = _slack(t, c * P, w)
        simple = [v for v in simple if abs(1 - v / constant) <= slack]
    return [times(v, body) for v in (*simple, constant)]


def _slack(t: np.ndarray, fitted: np.ndarray, w: np.ndarray | None) -> float:
    """How far from 1 a factor of values fitted to t by least squares may be for half as much more to be left of t.

    A thousandth of t's spread is always little, and so is rounding.
    """
    w = np.ones(len(t)) if w is None else w
    rest, centred = t - fitted, t - float(w @ t) / float(w.sum())
    left, spread = float(w @ (rest * rest)), float(w @ (centred * centred))
    return math.sqrt(max(0.5 * left, 1e-3 * spread, 1e-28 * float(w.sum())) / max(float(w @ (fitted * fitted)), 1e-300))


def rational(e: Fraction | float, most: int = 10**9) -> Fraction:
    """The fraction nearest to e with a denominator of at most `most`, as Fraction.limit_denominator has it, in whole numbers only."""
    n, d = e.as_integer_ratio()
    if d <= most:
        return e if isinstance(e, Fraction) else Fraction(n, d)
    p0, q0, p1, q1, rest, below = 0, 1, 1, 0, n, d
    while True:
        a = rest // below
        q2 = q0 + a * q1
        if q2 > most:
            break
        p0, q0, p1, q1 = p1, q1, p0 + a * p1, q2
        rest, below = below, rest - a * below
    k = (most - q0) // q1
    # The one before last is the nearer, or else the last with so many steps more.
    return Fraction(p1, q1) if 2 * below * (q0 + k * q1) <= d else Fraction(p0 + k * p1, q0 + k * q1)


def is_odd(e: Fraction) -> bool:
    """Whether x ** e changes its sign with x."""
    return bool(e.numerator % 2 and e.denominator % 2)


def sign_of(v: np.ndarray) -> int:
    """1 where v is never negative, -1 where it is never positive, 0 where it changes its sign."""
    return 1 if v.min() >= 0 else -1 if v.max() <= 0 else 0


def parity(y: np.ndarray, factors, signs: dict[Base, int] | None = None) -> set[Base]:
    """The factors whose signs y follows: the subset of those that change sign that explains most signs of y."""
    signs = signs or {base: sign_of(v) for base, v, _ in factors}
    mixed = {base: np.sign(v) for base, v, _ in factors if not signs[base]}
    if not mixed:
        return set()
    natural = tuple(base for base, _, e in factors if base in mixed and is_odd(e))
    subsets = [natural] + [c for k in range(len(mixed) + 1) for c in combinations(mixed, k)][:MAX_SUBSETS]
    sign = np.sign(y)
    right = [abs(float(np.sum(sign * math.prod(mixed[base] for base in subset)))) for subset in subsets]
    return set(subsets[right.index(max(right))])


def spelled(factors, odd: set[Base], signs: dict[Base, int] | None = None) -> tuple[Factors, set[Base]]:
    """The factor table and the bases that are never negative: signs and roots are put right with abs and neg."""
    signs = signs or {base: sign_of(v) for base, v, _ in factors}
    table: Factors = {}
    positive: set[Base] = set()
    for base, _, e in factors:
        whole, rooted = e.denominator == 1, e.denominator in (3, 5) and e.numerator <= 5
        if signs[base] > 0:
            positive.add(base)
            table[base] = e
        elif signs[base] < 0:
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
