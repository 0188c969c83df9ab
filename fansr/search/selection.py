"""Which of many fitted candidates is the law: equation 3, the shortest description, the front, the pool.

Everything here works on candidates whose `fvu` is known; nothing here fits or proposes.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from fansr.expressions import n_constants, sort_commutative
from fansr.fitting import Candidate, Problem
from fansr.search import description_length, named_curves

GAMMA = 0.05  # equation 3: a token must pay 11 % of the FVU
EPS = float(np.finfo(np.float64).eps)
EXACT = 1e-26  # FVU below which float64 arithmetic, not the law, makes the difference

# Residuals are not as many independent witnesses as there are rows: a misfit of a hundredth of the spread or less that is not gone
# altogether is as a rule smooth (a difference taken for a derivative, a neglected effect), and nine terms follow anything smooth.
# Below SMOOTH an improvement short of exactness counts as that of SMOOTH_ROWS rows, more where rows are many.
SMOOTH, SMOOTH_ROWS, MANY = 1e-4, 8.0, 50.0

# The noise of one column is told from windows of so many rows, so many windows at most, of tables of so many rows at least; the last
# is the median of chi^2 of the freedoms that a cubic leaves.
WINDOW, NOISE_WINDOWS, LEAST_NOISE_ROWS, CHI_MEDIAN = 7, 400, 12, 2.366

PRINTED_ROWS = 400  # whose digits are counted
# Digits that whole numbers have at least that were rounded to so many, and what the largest is of the smallest.
LEAST_DIGITS, DECADES = 3, 100.0
FLOAT_DIGITS = 15  # a number with as many was computed, not typed

SELECTORS = ("mdl", "score", "bic", "aicc", "fvu", "drop")

# What a token must gain in log FVU under `drop` for a step of the front to be a law's: the price it has under `mdl`.
DROP_NATS = description_length.TOKEN_NATS

# What a fit to the last bit of a float is worth, in nats, where the target was rounded to its printed digits: nearer than those
# digits a better fit tells nothing, but a law that gives the very numbers is the one that they were made with.
TO_THE_BIT = 12.0

# Of one column most laws are one of some thirty curves with a name (named_curves.py), which cost less to tell than their symbols do.
# The share was chosen on 448 synthetic tables (`bin/bench-families tables --seed 31` and 32, `pools`, `select named=0.5,0.65,0.8,1`).
NAMED = 0.7


def fvu_floor(y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The FVU that rounding of y alone may cause; smaller values carry no information.

    float64 keeps y to a relative 1e-16; where the mean of y is large against its spread that is a
    noticeable share of the variance.  A few operations lose a few bits more, hence the factor.
    """
    spread = float(np.var(y / (np.abs(y).max() or 1.0)))
    size = float(np.mean((y / (np.abs(y).max() or 1.0)) ** 2))
    if spread == 0.0:
        return 1.0
    return min(1.0, max(EXACT, (4 * EPS) ** 2 * size / spread))


def printed_quanta(y: np.ndarray) -> np.ndarray:
    """Unit of the last digit that each of y (M,) was printed to; 0 where the numbers have all that a float holds.

    Tables are written with so many decimals or with so many significant digits throughout, and nine last digits of ten are
    no 0: of the two readings that under which more values end in a digit of their own.
    """
    values = np.abs(np.asarray(y, dtype=np.float64))
    last, most, decimals = _printed(values[:PRINTED_ROWS].tobytes())
    if most >= FLOAT_DIGITS or not most:
        return np.zeros(len(values))
    if decimals:
        return np.full(len(values), 10.0**last)
    size = np.floor(np.log10(np.where(values > 0, values, 1.0)))
    return np.where(values > 0, 10.0 ** (size + 1 - most), 0.0)


@lru_cache(64)
def _printed(sample: bytes) -> tuple[int, int, bool]:
    """(power of ten of the last digit, most significant digits, whether decimals are the better reading) of float64 numbers >= 0.

    (0, 0, False) where all are 0.
    """
    digits, ends = [], []  # significant digits of each value, and the power of ten of its last one
    for value in np.frombuffer(sample).tolist():
        if not value:
            continue
        mantissa, _, exponent = repr(value).partition("e")
        whole, _, fraction = mantissa.partition(".")
        fraction = fraction.rstrip("0")
        written = (whole + fraction).lstrip("0")
        bare = len(written.rstrip("0"))
        digits.append(bare)
        ends.append(int(exponent or 0) + (-len(fraction) if fraction else len(written) - bare))
    if not digits:
        return 0, 0, False
    last, most = min(ends), max(digits)
    by_digits = sum(bare == most for bare, end in zip(digits, ends))
    return last, most, ends.count(last) >= by_digits


def printed_fvu(y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The FVU that rounding y to its printed digits causes: the mean of q^2 / 12 over the variance (uniform errors)."""
    w = np.ones(len(y)) if weights is None else weights
    scale = float(np.abs(y).max()) or 1.0
    centre = np.average(y / scale, weights=w)
    spread = float(w @ (y / scale - centre) ** 2)
    return float(w @ (printed_quanta(y) / scale) ** 2) / 12 / spread if spread > 0 else 0.0


def rounding_fvu(y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """printed_fvu of a target whose numbers were rounded; 0 where all are whole numbers, which as a rule are counted, or exact: but where
    they are of as many digits over decades, 8.98e4 beside 2.84e11.

    Of numbers over decades, rounded to so many digits, few make nearly all of that, and the others still tell laws apart: it is less by the share
    that the geometric mean of their squared units is of the mean.
    """
    if bool((y == np.round(y)).all()):
        size = np.abs(np.asarray(y, dtype=np.float64))
        _, most, decimals = _printed(size[:PRINTED_ROWS].tobytes())
        least = float(size[size > 0].min(initial=math.inf))
        if decimals or most < LEAST_DIGITS or least < 10.0**most or size.max() < DECADES * least:
            return 0.0
    squares = printed_quanta(y) ** 2
    mean = float(squares.mean())
    even = float(np.exp(np.mean(np.log(np.maximum(squares, 1e-300))))) / mean if mean > 0 else 0.0
    return min(1.0, even) * printed_fvu(y, weights)


def known_fvu(problem: Problem) -> float:
    """The FVU that stated errors of the points account for: M over the weighted variance sum; 0 where none are stated.

    With weights 1/sigma^2 the residuals of the true law sum to chi^2 = M on average.
    """
    if not problem.known or problem.weights is None:
        return 0.0
    scale = float(np.abs(problem.y).max()) or 1.0
    root = np.sqrt(problem.weights) * scale
    centred = problem.y / scale - np.average(problem.y / scale, weights=problem.weights)
    total = float((root * centred) @ (root * centred))
    return len(problem.y) / total if total > 0 else 0.0


def score(fvu: float, length: int, gamma: float = GAMMA, floor: float = EXACT) -> float:
    """Equation 3: log10 FVU + gamma * length; `floor` keeps an exact fit from counting as -inf."""
    if not fvu < math.inf:
        return math.inf
    return math.log10(max(fvu, floor)) + gamma * length


def selection(
    method: str,
    candidate: Candidate,
    M: int,
    gamma: float = GAMMA,
    floor: float = EXACT,
    k: int | None = None,
    known: float = 0.0,
    exact: float = 0.0,
    columns: int = 0,
    rounded: float = 0.0,
    noise: float = 0.0,
) -> float:
    """The number to minimise under a selection method; lower is better.

    M rows were fitted; k counts the constants that were fitted to them (default: all).  known: the FVU that stated errors
    of the points account for (known_fvu).  Up to there a better fit is worth what it is under noise of unknown size, below
    only chi^2 / 2: the noise is taken to be as stated or larger.

    exact: the FVU up to which a fit is one to rounding or to printed digits (at least 100 times `floor`).  columns: of the table,
    for the price of plain sums; 0 where it is not asked for.  rounded: the FVU that rounding of the target leaves (rounding_fvu);
    below it only a fit to the last bit counts as better, under ``mdl`` by TO_THE_BIT.

    - ``mdl``: description length in nats: residuals under a Gaussian of unknown width, k constants to the
      precision that M rows (and very small residuals) give them, and the structure's code.  A law with
      as many constants as rows, or one less, is ruled out, but for the mean.
    - ``bic``, ``aicc``: the criteria of those names with k + 1 parameters, halved, in nats.
    - ``score``: equation 3.  ``fvu``: the best fit whatever its length.
    - ``drop`` is a choice on the whole front (largest_drop); a search is led by ``mdl`` until then.
    """
    method = "mdl" if method == "drop" else method
    fvu = candidate.fvu
    if not fvu < math.inf:
        return math.inf
    if method == "fvu":
        return max(fvu, floor)
    if method == "score":
        return score(fvu, candidate.length, gamma, floor)
    k = n_constants(candidate.expr) if k is None else k
    p = k + 1  # the width of the noise is a parameter too
    at = max(fvu, floor, rounded if method == "mdl" else 0.0)
    fit = 0.5 * M * (math.log(at) if at >= known else math.log(known) + at / known - 1)
    if method == "mdl":
        if M - k - 1 <= 0 and k and candidate.length > 1:  # the mean is what stands where nothing is told
            return math.inf
        if not known and max(exact, 100 * floor) < at < SMOOTH:
            fit += 0.5 * M * math.log(SMOOTH / at) - _told(SMOOTH, at, M, noise)
        structure = description_length.structure_nats(candidate.expr)
        structure -= description_length.further_nats(candidate.expr, fvu, columns)
        if columns == 1 and named_curves.is_common(tuple(candidate.expr)):
            structure *= NAMED
        if at > fvu and fvu <= 100 * floor < rounded:
            fit -= TO_THE_BIT
        return fit + k * description_length.constant_nats(M, at, floor) + structure
    if method == "bic":
        return fit + 0.5 * p * math.log(M)
    if method == "aicc":
        return fit + p + p * (p + 1) / (M - p - 1) if M - p - 1 > 0 else math.inf if k else fit
    raise ValueError(f"unknown selection {method!r}, wanted one of {', '.join(SELECTORS)}")


def _told(above: float, below: float, M: int, noise: float) -> float:
    """Nats by which an FVU `below` is likelier than one `above` where misfits are smooth: freedoms d follow such a one.

    Next to noise of that FVU, M rows tell a misfit of the FVU v - noise from none by d / 2 log(1 + (v / noise - 1) M / d); far above
    the noise, and where none is known of (0), that is d / 2 log v.
    """
    d = min(M, SMOOTH_ROWS + (M / MANY) ** 2)

    def nats(fvu: float) -> float:
        if noise <= 0 or fvu <= noise:
            return 0.5 * d * math.log(fvu / noise if noise > 0 else fvu)
        return 0.5 * d * math.log1p((fvu / noise - 1) * M / d)

    return nats(above) - nats(below)


def noise_fvu(X: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The FVU of the noise of y (M,) over one column of X (M, 1), told from neighbouring rows; 0 where it is not told.

    Cubics through WINDOW rows in a row leave WINDOW - 4 freedoms of noise; the median over all windows stands for it, which a peak
    between few rows does not move.
    """
    M = len(y)
    if X.shape[1] != 1 or M < LEAST_NOISE_ROWS or not np.ptp(y) > 0:
        return 0.0
    order = np.argsort(X[:, 0], kind="stable")
    starts = np.unique(np.linspace(0, M - WINDOW, min(M - WINDOW + 1, NOISE_WINDOWS)).astype(int))
    rows = order[starts[:, None] + np.arange(WINDOW)]
    rows = rows[np.ptp(X[rows, 0], axis=1) > 0]
    if not len(rows):
        return 0.0
    w, scaled = np.ones(M) if weights is None else weights / weights.max(), y / np.abs(y).max()
    u, v = X[rows, 0], scaled[rows]
    u = 2 * (u - u.min(axis=1, keepdims=True)) / np.ptp(u, axis=1)[:, None] - 1
    powers = u[:, :, None] ** np.arange(4)
    left, _, _ = np.linalg.svd(powers, full_matrices=False)
    residual = v - np.einsum("wik,wk->wi", left, np.einsum("wik,wi->wk", left, v))
    spread = float(w @ (scaled - np.average(scaled, weights=w)) ** 2)
    return float(np.median((w[rows] * residual**2).sum(axis=1))) / CHI_MEDIAN * M / spread


def pareto(candidates: list[Candidate], floor: float = EXACT) -> list[Candidate]:
    """The candidates no other beats in both length and FVU, shortest first.

    An FVU below `floor` counts as `floor`; a gain under one part in a million is none.
    """
    front: list[Candidate] = []
    best = math.inf
    for candidate in sorted(candidates, key=lambda c: (c.length, c.fvu)):
        fvu = max(candidate.fvu, floor)
        if fvu < best * (1 - 1e-6):
            front.append(candidate)
            best = fvu
    return front


TOLD_APART = 1.0  # nats by which a longer law must fit better for each further token, to be listed beside a shorter one


def front_of(
    candidates: list[Candidate], M: int, floor: float = EXACT, chosen: Candidate | None = None
) -> list[Candidate]:
    """The Pareto front as it is shown: the `chosen` law stands on it, and no law that M rows cannot tell from a shorter one.

    At the chosen law's length nothing else is listed: what fits better there is the same form with a constant left
    free, or one that the selection did not want.  A longer law must fit better by TOLD_APART nats a token, 0.5 M log(FVU ratio).
    """

    def apart(longer: Candidate, shorter: Candidate) -> bool:
        gain = 0.5 * M * math.log(max(shorter.fvu, floor) / max(longer.fvu, floor))
        return gain >= TOLD_APART * (longer.length - shorter.length)

    front: list[Candidate] = []
    for candidate in pareto([c for c in candidates if chosen is None or c.length != chosen.length], floor):
        if not front or apart(candidate, front[-1]):
            front.append(candidate)
    if chosen is None:
        return front
    return [
        *(c for c in front if c.length < chosen.length),
        chosen,
        *(c for c in front if c.length > chosen.length and apart(c, chosen)),
    ]


def largest_drop(
    front: Sequence[Candidate], floor: float = EXACT, within: float | None = None
) -> tuple[Candidate | None, float]:
    """(the law with the steepest step before it, that step) on a Pareto front, shortest first: the choice under `drop`.

    A step is -(log FVU_i - log FVU_{i-1}) / (length_i - length_{i-1}) in nats a token; the shorter law wins a tie.  The
    first law's is counted from no law at all, FVU 1 and length 0 (in PySR it has none).  within: only laws whose FVU is at most so many times the least of the front (1.5 in PySR, whose
    ``model_selection="best"`` this then is; Cranmer 2023, arXiv 2305.01582).  (None, 0.0) for an empty front.

    A network approximates its law with an error that is smooth and no noise: longer laws go on explaining it, so that a
    description length of thousands of rows prefers them, while the step to the law itself stands out.
    """
    if not front:
        return None, 0.0
    logs = [math.log(max(candidate.fvu, floor)) for candidate in front]
    bar = min(logs) + (math.inf if within is None else math.log(max(within, 1.0)))
    best, steepest = None, -math.inf
    before, length = 0.0, 0
    for value, candidate in zip(logs, front):
        step = (before - value) / (candidate.length - length)
        if value <= bar and step > steepest:
            best, steepest = candidate, step
        before, length = value, candidate.length
    return best, steepest


class Pool:
    """The candidates worth keeping, sorted by the chosen selection; a sequence, best first.

    Two candidates are the same law when their expressions are equal up to the order of operands, or
    when length and FVU agree to nine digits: then the first one stays.  The pool keeps the `keep`
    best and, for every length, the few best fits, so that the front is never lost.
    """

    PER_LENGTH = 3

    def __init__(
        self,
        M: int,
        floor: float = EXACT,
        method: str = "mdl",
        gamma: float = GAMMA,
        keep: int = 400,
        known: float = 0.0,
        admit: Callable[[Candidate], Candidate | None] | None = None,
        prices: Sequence[tuple[str, float]] = (),
        exact: float = 0.0,
        prior: Callable[[Candidate], float] | None = None,
        extra: Callable[[Candidate], float] | None = None,
        columns: int = 0,
        rounded: float = 0.0,
        noise: float = 0.0,
    ):
        self.columns, self.rounded, self.noise = columns, rounded, noise
        self.admit, self.prices = admit, prices
        self.M, self.floor, self.method, self.gamma, self.keep, self.known = M, floor, method, gamma, keep, known
        self.extra = extra  # nats that units add, under `mdl`
        self.exact, self.prior = exact, prior  # prior: nats that what is known of the columns takes off, under `mdl`
        self.seen = 0  # candidates offered
        self._values: list[float] = []
        self._sorted: list[Candidate] = []
        self._keys: list[tuple] = []  # of those
        self._by_expr: dict[tuple, float] = {}
        self._by_value: dict[tuple, int] = {}

    def value(self, candidate: Candidate) -> float:
        """The candidate's number under the pool's selection."""
        value = selection(
            self.method,
            candidate,
            self.M,
            self.gamma,
            self.floor,
            None,
            self.known,
            self.exact,
            self.columns,
            self.rounded,
            self.noise,
        )
        value -= self.prior(candidate) if self.prior and self.method == "mdl" else 0.0
        if self.extra is not None and self.method == "mdl":
            value += self.extra(candidate)
        return value + self.surcharge(candidate) if self.prices else value

    def surcharge(self, candidate: Candidate) -> float:
        """What the prices that were set add to the selection's number: an operator then costs so many tokens."""
        extra, plain = 0.0, description_length.TOKEN_NATS
        for token, price in self.prices:
            count = candidate.expr.count(token)
            if count and self.method == "score":
                extra += count * (price - 1) * self.gamma
            elif count and self.method != "fvu":
                told = description_length.token_nats(token) if self.method == "mdl" else plain
                extra += count * (price * plain - told)
        return extra

    def add(self, candidate: Candidate) -> bool:
        """Offer one fitted candidate; True when it is the new best."""
        self.seen += 1
        if candidate.consts is None or not candidate.fvu < math.inf:
            return False
        if self.admit is not None:
            admitted = self.admit(candidate)
            if admitted is None or not admitted.fvu < math.inf:
                return False
            candidate = admitted
        key = tuple(sort_commutative(candidate.expr))
        if not candidate.fvu < self._by_expr.get(key, math.inf) * (1 - 1e-12):
            return False
        look = (candidate.length, f"{max(candidate.fvu, self.floor):.9e}")
        if look in self._by_value and key not in self._by_expr:
            return False
        if key in self._by_expr:
            self._remove(key)
        value = self.value(candidate)
        at = bisect.bisect_right(self._values, value)
        self._values.insert(at, value)
        self._keys.insert(at, key)
        self._sorted.insert(at, candidate)
        self._by_expr[key] = candidate.fvu
        self._by_value[look] = 1
        if len(self._sorted) > 2 * self.keep:
            self._trim()
        return at == 0

    def remove(self, candidate: Candidate) -> None:
        """Take a candidate out; another of its form may come in."""
        key = tuple(sort_commutative(candidate.expr))
        self._by_expr.pop(key, None)
        self._remove(key)

    def _remove(self, key: tuple):
        if key in self._keys:  # it may have been trimmed away
            at = self._keys.index(key)
            del self._sorted[at], self._values[at], self._keys[at]

    def _trim(self):
        kept, counts = [], {}
        order = sorted(range(len(self._sorted)), key=lambda i: self._sorted[i].fvu)
        for i in order:
            length = self._sorted[i].length
            if counts.get(length, 0) < self.PER_LENGTH:
                counts[length] = counts.get(length, 0) + 1
                kept.append(i)
        order = sorted({*kept, *range(self.keep)})
        self._sorted, self._values, self._keys = (
            [row[i] for i in order] for row in (self._sorted, self._values, self._keys)
        )

    def __len__(self):
        return len(self._sorted)

    def __getitem__(self, i):
        return self._sorted[i]

    def __iter__(self):
        return iter(list(self._sorted))

    @property
    def best(self) -> Candidate | None:
        """The chosen candidate so far."""
        return self._sorted[0] if self._sorted else None

    def front(self) -> list[Candidate]:
        """The Pareto front over length and FVU."""
        return pareto(self._sorted, self.floor)
