"""Which columns of a matrix the exact solution of B c = t needs: the terms of a law that holds to the last digit.

What does not belong comes out as nothing.  Where the columns are much alike, as powers of a column from 9.17 to 9.25 are, nothing is
nothing but for rounding that is magnified; it is then told by what a column's absence would leave, against the rounding of t.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import solve_triangular

from fansr.proposers.parts.monomials import Exponents

TOLD = 1e-10  # of R's largest diagonal: no smaller one, and R c = Q't tells c as well as the rows do
FAINT = 3e-5  # share of the target below which a term belongs to a series, not to a law
FAINT_OF_EXACT = 1e-8  # the same where nothing is left but the target's own rounding, to which a series would go on
LARGEST = 1e3  # shares of the target in the latter: larger ones cancel
SERIES = 4  # terms that differ by powers of one factor only, and are those of a series
KEPT = 30  # terms of a law at most
ROUNDING = 1e-15  # of the target's largest value: what its own arithmetic may have left
ROWS_PER_COLUMN = 2  # that the elimination looks at
LEAST = 1e-17  # of R's largest diagonal: what stands for none
FACTORISATIONS = 16  # of the elimination; a law's terms are left after about eight
UNNEEDED = 4.0  # times what all columns leave: what may be left without those that say nothing


def support(
    B: np.ndarray,
    t: np.ndarray,
    exact: float = 1e-20,
    factors: tuple[np.ndarray, np.ndarray] | None = None,
    vectors: Sequence[Exponents] | None = None,
) -> list[int] | None:
    """Columns of B (n, T) of unit rms that the exact solution of B c = t of unit spread needs; None where it is a series.

    exact: the mean squared residual that still counts as none; factors: Q and R of B where they are known; vectors: exponents of
    B's columns where they are monomials, which lets columns much alike be told apart.
    """
    Q, R = np.linalg.qr(B) if factors is None else factors
    inside = Q.T @ t
    left = t - Q @ inside
    if float(left @ left) / len(t) > exact:
        return None  # not even with all of them
    size = np.abs(np.diag(R))
    told = size.min() > TOLD * size.max()
    if told or vectors is None:
        chosen = np.arange(B.shape[1])
        for faint in (1e-9, 1e-8, 1e-7):
            if len(chosen) == len(size) and told:
                c = np.linalg.solve(R, inside)
            else:
                c = np.linalg.lstsq(B[:, chosen], t, rcond=1e-15)[0]
            chosen = chosen[np.abs(c) > faint]
        if _is_law(B, t, chosen, exact, FAINT):
            return chosen.tolist()
    rounding = (ROUNDING * float(np.abs(t).max())) ** 2
    if vectors is None or float(left @ left) / len(t) > rounding:
        return None
    some = np.linspace(0, len(t) - 1, min(len(t), ROWS_PER_COLUMN * B.shape[1])).astype(int)
    chosen = _needed(B[some], t[some], rounding)
    if not len(chosen) or _goes_on({tuple(vectors[k]) for k in chosen}):
        return None
    return chosen.tolist() if _is_law(B, t, chosen, UNNEEDED * rounding, FAINT_OF_EXACT, LARGEST) else None


def _goes_on(vectors: set[Exponents]) -> bool:
    """Whether SERIES terms are one of them times powers of one factor, as those of a series are."""
    highest = max(map(sum, vectors))
    for one in vectors:
        for other in vectors - {one}:
            step = tuple(b - a for a, b in zip(one, other))
            if min(step) >= 0:
                powers = (tuple(a + k * s for a, s in zip(one, step)) for k in range(highest + 1))
                if sum(power in vectors for power in powers) >= SERIES:
                    return True
    return False


def _is_law(B, t, chosen: np.ndarray, exact: float, faint: float, largest: float = np.inf) -> bool:
    """Whether a sum of those columns is t, and its coefficients those of a law."""
    if not 0 < len(chosen) <= KEPT:
        return False
    c, *_ = np.linalg.lstsq(B[:, chosen], t, rcond=1e-15)
    r, size = t - B[:, chosen] @ c, np.abs(c)
    if size.min() < faint or size.max() > largest or float(r @ r) / len(t) > exact:
        return False
    return len(chosen) <= max(3, 0.75 * B.shape[1]) or size.min() >= 1e-3


def _needed(B: np.ndarray, t: np.ndarray, rounding: float) -> np.ndarray:
    """Columns left when those are taken away, half of them at a time, whose absence leaves no more than rounding (mean square).

    Empty where more than half of the columns would be left, or where it goes on and on.
    """
    chosen, bar = np.arange(B.shape[1]), UNNEEDED * rounding * len(t)
    Q, R = np.linalg.qr(B)
    factorisations = 1
    while len(chosen) > 1:
        with np.errstate(all="ignore"):
            d = np.diag(R)  # of columns that depend on others exactly it has zeros
            safe = R + np.diag(np.where(d == 0, LEAST * np.abs(d).max(), 0.0))
            inverse = solve_triangular(safe, np.eye(len(chosen)), check_finite=False)
            # What is left rises by c_k^2 / (R'R)^-1_kk without column k.
            rise = np.nan_to_num((inverse @ (Q.T @ t)) ** 2 / (inverse * inverse).sum(axis=1), nan=0.0)
        order = np.argsort(rise)
        unneeded = order[rise[order] < bar]
        if 2 * (len(chosen) - len(unneeded)) > B.shape[1]:
            return chosen[:0]  # and with fewer columns fewer still are unneeded
        count = (len(unneeded) + 1) // 2
        while count:
            others = np.sort(np.setdiff1d(np.arange(len(chosen)), unneeded[:count]))
            Q, R = np.linalg.qr(B[:, chosen[others]])
            factorisations += 1
            r = t - Q @ (Q.T @ t)
            if r @ r < bar and len(others):
                break
            count //= 2
        if not count:
            break
        if factorisations > FACTORISATIONS:
            return chosen[:0]
        chosen = chosen[others]
    return chosen if 2 * len(chosen) <= B.shape[1] else chosen[:0]
