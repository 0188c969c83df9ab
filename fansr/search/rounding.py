"""Constants of a fitted law: their standard errors, the round values they stand for, and the digits worth printing.

A round value is a proposal that the data judge: it is kept only where the data cannot tell the difference, by a stated
test (`snap`), and everything else is fitted again after every change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fansr.expressions import CONSTANT, end, variable_index
from fansr.fitting import Candidate
from fansr.search.description_length import constant_nats
from fansr.search.known_constants import FRACTION_NATS, is_rational, physical_values, real_nats, simple_values
from fansr.search.shortening import absorb, factored

# A round value must be this many nats likelier than a free constant, besides what both cost to tell: a wrong one
# costs the user more than a long decimal does.  Odds of 20; of random constants about as few are taken for round ones.
MARGIN = 3.0
TOLD_MARGIN = 1.0  # of a law that explains its target to the printed digits: what numbers are typed as follows from rules with round ones
FAR = 1e9  # standard errors: no number this far off is meant
EXPONENT = 3.0  # nats that a whole or half exponent costs less than such a factor: of laws' exponents most are
# Nats that pi or sqrt(2) costs more as a summand or an exponent than as a factor: laws scale with these.
IRRATIONAL = 5.0
# Of a root that rows tell to no better than a share of LOOSE: 0.704 with an error of 0.005 is as near to 0.7 as to 1/sqrt(2).
LOOSE, LOOSELY = 1e-3, 3.0
SLIGHT = 0.1  # of the target's spread by which a constant moves a law at least for nothing to be charged
SPELLINGS, SPELLING = 4, 1.0
JUMPS = ("step", "sign", "floor")
TRIED = 8  # proposals polished in a round of `snap`
NAMED_NATS = 8.0  # a number of mathematics that is cheaper than this needs no name from physics


def standard_errors(
    expr: Sequence[str],
    consts: ArrayLike,
    X: np.ndarray,
    y: np.ndarray,
    fvu: float,
    floor: float,
    weights: np.ndarray | None = None,
    known: float = 0.0,
) -> np.ndarray:
    """Standard errors (C,) of fitted constants from the Jacobian at the optimum.

    sigma^2 is the (weighted) residual sum over M - C, at least what rounding of y (floor) leaves; a direction
    the data do not determine gives infinity.  known: the FVU that stated errors of the points account for
    by themselves (rank.known_fvu); the errors are never taken to be smaller than that.  The place of a jump lies anywhere
    between two rows: its error is that of a uniform distribution over the values that give the same on every row.
    """
    consts = np.asarray(consts, dtype=np.float64)
    widths = _jump_widths(expr, consts, X)
    if (widths > 0).any():
        held = _bound(expr, consts, widths > 0)
        smooth = standard_errors(held, consts[widths == 0], X, y, fvu, floor, weights, known)
        widths[widths == 0] = smooth
        return widths
    parts = _uncertainty(expr, consts, X, y, fvu, floor, weights, known)
    if parts is None:
        return np.full(len(consts), np.inf)
    sigma2, values, vectors, norms = parts
    with np.errstate(all="ignore"):
        return np.sqrt(sigma2 * (vectors**2 / values).sum(1)) / norms


def _bound(expr: Sequence[str], consts: ArrayLike, held: np.ndarray) -> list[str]:
    """The expression with those of its constants (C,) that are held (C,) as literals."""
    values = iter(zip(np.asarray(consts, dtype=np.float64), held))
    bound = []
    for token in expr:
        if token == CONSTANT:
            c, fixed = next(values)
            token = repr(float(c)) if fixed else CONSTANT
        bound.append(token)
    return bound


def _jump_widths(expr: Sequence[str], consts: np.ndarray, X: np.ndarray) -> np.ndarray:
    """For constants (C,) that move a jump between rows: the standard deviation of where it may be; 0 for all others."""
    from fansr.expressions import evaluate, value_and_jacobian

    widths = np.zeros(len(consts))
    if not any(jump in token for token in expr for jump in JUMPS) or not len(consts):
        return widths
    with np.errstate(all="ignore"):
        wanted, J = value_and_jacobian(expr, X, consts)
        for k in np.flatnonzero((J == 0).all(axis=1)):

            def same(step, k=k):
                moved = consts.copy()
                moved[k] += step
                return np.array_equal(evaluate(expr, X, moved), wanted, equal_nan=True)

            reach = []
            for sign in (-1.0, 1.0):
                low, high = 0.0, (abs(consts[k]) or 1.0) * 1e-6
                while high < 1e300 and same(sign * high):
                    low, high = high, 4 * high
                for _ in range(24):
                    middle = 0.5 * (low + high)
                    low, high = (middle, high) if same(sign * middle) else (low, middle)
                reach.append(low)
            if max(reach) < 1e100:
                widths[k] = max(sum(reach) / math.sqrt(12.0), 1e-300)
    return widths


def _uncertainty(expr, consts, X, y, fvu, floor, weights, known, ties=None):
    """(sigma^2, eigenvalues (C,), eigenvectors (C, C), norms (C,)) of the Jacobian with rows of unit norm; None where a
    constant moves nothing.  The covariance is sigma^2 V diag(1 / values) V^T over the outer product of the norms.  ties (C,): which
    constants are one; C is then how many there are."""
    from fansr.expressions import value_and_jacobian

    C, M = len(consts) if ties is None else int(ties.max()) + 1, len(y)
    if C == 0:
        return 0.0, np.zeros(0), np.zeros((0, 0)), np.zeros(0)
    scale = float(np.abs(y).max()) or 1.0
    w = np.ones(M) if weights is None else np.asarray(weights, dtype=np.float64) / np.max(weights)
    centred = y / scale - np.average(y / scale, weights=w)
    total = max(fvu, floor) * float(w @ centred**2)  # in units of scale^2, which may be no float itself
    rows = int((w > 0).sum())
    sigma2 = max(total / max(1, rows - C), known * float(w @ centred**2) / M)
    with np.errstate(all="ignore"):
        _, J = value_and_jacobian(expr, X, np.asarray(consts, dtype=np.float64))
        J = J if ties is None else np.stack([J[ties == k].sum(axis=0) for k in range(C)])
        J = J / scale * np.sqrt(w)
        J[:, ~np.isfinite(J).all(axis=0)] = 0.0  # a row where a part overflows (1 / exp(1000)) tells nothing
        size = np.abs(J).max(axis=1, initial=0.0)
        norms = size * np.sqrt(((J / np.where(size > 0, size, 1.0)[:, None]) ** 2).sum(1))
        if not np.isfinite(norms).all() or (norms == 0).any():
            return None
        unit = J / norms[:, None]
        values, vectors = np.linalg.eigh(unit @ unit.T)
        return sigma2, np.maximum(values, 1e-15), vectors, norms


def law_errors(
    candidate: Candidate,
    X: np.ndarray,
    y: np.ndarray,
    floor: float,
    weights: np.ndarray | None = None,
    known: float = 0.0,
    physics: bool = True,
) -> np.ndarray:
    """standard_errors (C,) of a finished law: its round constants are held, with an error of 0, and the others free."""
    if candidate.ties is not None:
        covariance = law_covariance(candidate, X, y, floor, weights, known, physics)
        return np.full(len(candidate.consts), np.inf) if covariance is None else np.sqrt(np.diag(covariance))
    expr, held = _with_round_held(candidate, len(y), floor, physics)
    errors = np.zeros(len(held))
    errors[~held] = standard_errors(
        expr, np.asarray(candidate.consts)[~held], X, y, candidate.fvu, floor, weights, known
    )
    return errors


def law_covariance(
    candidate: Candidate,
    X: np.ndarray,
    y: np.ndarray,
    floor: float,
    weights: np.ndarray | None = None,
    known: float = 0.0,
    physics: bool = True,
) -> np.ndarray | None:
    """Covariance (C, C) of a finished law's constants, whose diagonal is the square of law_errors; None where a constant
    is undetermined or the numbers leave the floats."""
    if candidate.ties is not None:
        ties = np.asarray(candidate.ties)
        parts = _uncertainty(candidate.expr, candidate.consts, X, y, candidate.fvu, floor, weights, known, ties)
        if parts is None:
            return None
        sigma2, values, vectors, norms = parts
        with np.errstate(all="ignore"):
            root = (vectors / np.sqrt(values) / norms[:, None] * math.sqrt(sigma2))[ties]
            tied = root @ root.T
        return (tied + tied.T) / 2 if np.isfinite(tied).all() else None
    expr, held = _with_round_held(candidate, len(y), floor, physics)
    free = np.asarray(candidate.consts, dtype=np.float64)[~held]
    jumps = np.zeros(len(held))
    jumps[~held] = _jump_widths(expr, free, X)  # the place of a jump varies on its own
    smooth = ~held & (jumps == 0)
    if (jumps > 0).any():
        expr = _bound(expr, free, jumps[~held] > 0)
    parts = _uncertainty(expr, free[jumps[~held] == 0], X, y, candidate.fvu, floor, weights, known)
    if parts is None:
        return None
    sigma2, values, vectors, norms = parts
    covariance = np.diag(jumps**2)
    with np.errstate(all="ignore"):
        root = vectors / np.sqrt(values) / norms[:, None] * math.sqrt(sigma2)  # (C, C), its square is the covariance
        covariance[np.ix_(smooth, smooth)] = root @ root.T
    return (covariance + covariance.T) / 2 if np.isfinite(covariance).all() else None


def _with_round_held(candidate: Candidate, M: int, floor: float, physics: bool) -> tuple[list[str], np.ndarray]:
    """A law's expression with its round constants as literals, and which (C,) those are."""
    dearest = constant_nats(M, candidate.fvu, floor)

    def is_held(c: float) -> bool:  # no fitted number is pi/180 to its last bit
        return round_nats(c, physics) < dearest or not is_rational(c) and round_nats(c) <= FRACTION_NATS

    held = np.array([is_held(float(c)) for c in candidate.consts], dtype=bool)
    return _bound(candidate.expr, candidate.consts, held), held


def round_ones(candidate: Candidate) -> np.ndarray:
    """Which (C,) of a law's constants are round to the last bits, so that no row decides them."""
    return np.array([round_nats(float(c)) <= FRACTION_NATS for c in candidate.consts], dtype=bool)


@np.errstate(all="ignore")
def cancelling_nats(candidate: Candidate, X: np.ndarray, y: np.ndarray, rows: int = 1024) -> float:
    """What constants cost to tell besides, where they move the law by more than the data vary: log(rms(c df/dc) / std(y)).

    Two terms of 1e8 whose difference is the law are each told to 1e-8 of what the law is told to; a plain sum is not.
    What moves the law by less than SLIGHT of that costs half the logarithm that it falls short: laws have few needless small constants.
    """
    from fansr.expressions import value_and_jacobian

    if not len(candidate.consts):
        return 0.0
    scale = float(np.abs(y).max()) or 1.0
    spread = float(np.std(y / scale)) or 1.0
    _, J = value_and_jacobian(candidate.expr, X[:rows], np.asarray(candidate.consts, dtype=np.float64))
    moved = np.abs(J / scale * np.asarray(candidate.consts)[:, None])
    moved = np.sqrt(np.mean(np.where(np.isfinite(moved), moved, 0.0) ** 2, axis=1)) / spread
    return float(np.log(np.maximum(moved, 1.0)).sum() - 0.5 * np.log(np.clip(moved / SLIGHT, 1e-3, 1.0)).sum())


def snap(
    candidate: Candidate,
    fitter: Any,
    floor: float,
    physics: bool = False,
    tokens: float = 1.5,
    over: Callable[[], bool] = lambda: False,
    spellings: int = SPELLINGS,
    margin: float = MARGIN,
) -> Candidate:
    """Replace constants by round values wherever that is the shorter description of the data.

    fitter: a refine.Refiner over the data.  The law is tried as it stands and with coefficients taken out of its sums
    (tidy.factored), where a round ratio shows; another spelling must save SPELLING nats more.  One constant at a time, the one with the largest gain
    first; the others are fitted again each time.  A value is taken when the loss of fit,
    (RSS' - RSS) / (2 sigma^2) nats with sigma^2 the residual variance, and `margin` are less than what its shorter
    code saves.  spellings: of these with coefficients taken out so many at most.  Literals that stay are constants again in the result, with their exact values.  over() is asked now and
    then whether time is up: what is rounded by then is the answer.
    """
    best, most = _snapped(candidate, fitter, floor, physics, tokens, over, margin)
    for expr, consts in factored(candidate.expr, candidate.consts)[:spellings]:
        if over():
            break
        fvu = fitter.fvu(expr, consts)
        if len(expr) <= len(candidate.expr) and fvu <= max(candidate.fvu * (1 + 1e-6), floor):
            spelt = replace(candidate, expr=expr, consts=np.array(consts), fvu=fvu)
            other, saved = _snapped(spelt, fitter, floor, physics, tokens, over, margin)
            if saved > most + SPELLING:
                best, most = other, saved
    return best


def _snapped(
    candidate: Candidate, fitter, floor: float, physics: bool, tokens: float, over, margin: float
) -> tuple[Candidate, float]:
    """One spelling of a law with its constants rounded, and the nats saved in all."""
    from fansr.fitting import LossRefiner

    aimed = isinstance(fitter, LossRefiner)
    X, y, weights = fitter.columns.T, fitter.y, (fitter.sw * fitter.scale) ** 2
    expr, consts, fvu = list(candidate.expr), np.asarray(candidate.consts, dtype=np.float64), candidate.fvu
    total = 0.0
    M = len(y)
    # The 1 of a form is none of its constants, nor its 0: beside a free level those of 1 + u/h and max(x - c, 0) would be any number.
    of_form = np.isin(consts, (0.0, 1.0))
    expr, consts = _bound(expr, consts, of_form), consts[~of_form]
    sigma2 = max(fvu, floor) / max(1, M - len(consts))  # in units of the total sum of squares
    refused: set[tuple[int, float]] = set()
    for _ in range(4 * len(consts) + 4):
        if over():
            break
        if aimed:
            y, weights, known = fitter.measured(expr, consts)
            errors = standard_errors(expr, consts, fitter.table, y, floor, floor, weights, known)
        else:
            errors = standard_errors(expr, consts, X, y, fvu, floor, weights)
        taken = False
        for saved, k, value in _proposals(expr, consts, errors, physics, tokens, refused, margin):
            at = _place(expr, k)
            trial = [*expr[:at], repr(value), *expr[at + 1 :]]
            new_fvu, new_consts = fitter.polish(trial, np.delete(consts, k))
            loss = 0.5 * (max(new_fvu, floor) - max(fvu, floor)) / sigma2
            if new_fvu < math.inf and loss < saved - (margin if value else 0.0):
                expr, consts, fvu, taken = trial, np.asarray(new_consts, dtype=np.float64), new_fvu, True
                total += saved - loss
                refused.clear()  # what one constant hid of another is seen now
                break
            refused.add((at, value))
        if not taken:
            break
    return _finished(candidate, expr, consts, fvu, fitter), total


def _proposals(
    expr, consts, errors, physics: bool, tokens: float, refused, margin: float = MARGIN
) -> list[tuple[float, int, float]]:
    """(nats saved, constant, round value) worth a trial, the most promising first."""
    options = []
    if not any(variable_index(token) is not None for token in expr):
        return []  # the mean of a noisy target is no round number, least of all 0
    powers = exponents(expr)
    dear = _summands(expr) | powers
    places = [i for i, token in enumerate(expr) if token == CONSTANT]
    for k, (c, error) in enumerate(zip(consts, errors)):
        c = float(c)
        irrational = IRRATIONAL if places[k] in dear else 0.0
        root = LOOSELY if not irrational and float(error) > LOOSE * abs(c) else 0.0
        reach = max(4 * float(error), 4e-15 * abs(c)) if error < math.inf else 0.0
        for value, nats in simple_values(c, reach, physics):
            saved = real_nats(c, float(error)) - nats - (irrational if irrational and not is_rational(value) else 0.0)
            saved -= root if root and not is_rational(value) and is_rational(value * value) else 0.0
            saved += EXPONENT if places[k] in powers and value and 2 * value % 1 == 0 else 0.0
            if saved + 2 * tokens < 0 or (places[k], value) in refused:
                continue
            saved += tokens * _shortened(expr, consts, k, value) if tokens else 0.0
            gain = saved - 0.5 * min(FAR, abs(value - c) / max(float(error), 1e-300)) ** 2
            if gain > (margin if value else 0.0):
                options.append((gain, saved, k, value))
    return [option[1:] for option in sorted(options, reverse=True)[:TRIED]]


def _place(expr: list[str], k: int) -> int:
    """Position of the k-th free constant."""
    return [i for i, token in enumerate(expr) if token == CONSTANT][k]


def _summands(expr: Sequence[str]) -> set[int]:
    """Positions at which the terms of sums begin, but for those of a wave's angle, and of the law itself."""
    places = {0}
    angle = 0  # where the angle ends that is being read
    for i, token in enumerate(expr):
        if token in ("sin", "cos", "tan") and i >= angle:
            angle = end(expr, i)
        elif token in ("+", "-") and i >= angle:
            places |= {i + 1, end(expr, i + 1)}
    return places


def exponents(expr: Sequence[str]) -> set[int]:
    """Positions at which the exponents of powers begin."""
    return {end(expr, i + 1) for i, token in enumerate(expr) if token == "pow"}


def _shortened(expr, consts, k: int, value: float) -> int:
    """Tokens saved by writing the expression with its k-th constant at `value`; x^-6 as 1/(x^3)^2 is no longer than with a number."""
    values = [float(c) for c in consts]
    before = _absorbed_length(tuple(expr), tuple(values))
    values[k] = value
    return max(0, before - _absorbed_length(tuple(expr), tuple(values)))


@lru_cache(1024)
def _absorbed_length(expr: tuple[str, ...], consts: tuple[float, ...]) -> int:
    return len(absorb(expr, consts)[0])


def written(candidate: Candidate, fitter: Any) -> Candidate:
    """The same law without what says nothing: sums of constants, neutral constants, doubled signs."""
    return _finished(candidate, candidate.expr, candidate.consts, candidate.fvu, fitter)


def _finished(candidate, expr, consts, fvu, fitter) -> Candidate:
    """Literals become constants with exact values, neutral ones vanish; the FVU is that of the result."""
    short, values = absorb(expr, consts)
    new_fvu = fitter.fvu(short, values)
    if not new_fvu <= fvu * (1 + 1e-6) + 1e-28 and not new_fvu <= candidate.fvu:
        short, values = absorb(candidate.expr, candidate.consts)  # a rewrite lost precision: keep what was fitted
        new_fvu = fitter.fvu(short, values)
        if not new_fvu <= candidate.fvu * (1 + 1e-6) + 1e-28:
            return candidate
    return candidate.rewritten(short, np.array(values), new_fvu)


@lru_cache(4096)
def round_nats(c: float, physics: bool = False) -> float:
    """Code length of a constant that is a round number to the last bits; infinite for any other."""
    reach = 4e-16 * abs(c)
    return min((nats for value, nats in simple_values(c, reach, physics)), default=math.inf)


def recognised(c: float) -> str:
    """What a constant is in terms of CODATA's ("1/2/pi*h"), where it is one to the last bits and no plainer number; or ""."""
    if round_nats(c) < NAMED_NATS:
        return ""
    reach = 4e-16 * abs(c)
    # What physics knows only to a few digits (G) lies near many numbers: near is not taken for.
    known = [name for value, _nats, name in physical_values(abs(c), reach, most=64) if abs(value - abs(c)) <= reach]
    return ("-" if c < 0 else "") + known[0] if known else ""


def digits_for(consts: ArrayLike, errors: ArrayLike) -> list[int]:
    """Significant digits of each constant that the data support: two beyond the standard error's first."""
    digits = []
    for c, error in zip(consts, errors):
        if not error < math.inf or c == 0:
            digits.append(4)
        elif error <= 0:
            digits.append(15)
        else:
            digits.append(int(min(15, max(2, math.ceil(math.log10(abs(c) / error)) + 2))))
    return digits
