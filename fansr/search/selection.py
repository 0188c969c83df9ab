"""Which of many fitted candidates is the law: equation 3, description length, the front, the pool.

Everything here works on candidates whose `fvu` is known; nothing here fits or proposes.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence

import numpy as np

from fansr.expressions import CONSTANT, end, literal_value, n_constants, sort_commutative, variable_index
from fansr.fitting import Candidate, Problem

GAMMA = 0.05  # equation 3: a token must pay 11 % of the FVU
EPS = float(np.finfo(np.float64).eps)
EXACT = 1e-26  # FVU below which float64 arithmetic, not the law, makes the difference
# What a token of a law costs under `mdl`, in nats: a coarse prior over the operators that laws of
# science are written with (a uniform choice among all tokens would be 3.6 nats each).  It decides only
# where rows are few and noisy; there it is what keeps a search over many thousand structures from
# explaining the noise with the one that happens to fit it.  Chosen on 224 synthetic tables of 6 to 250
# rows (`bin/bench-families tables --seed 7`); from 1.0 to 1.5 the results differ by under 2 %.
TOKEN_NATS = 1.5
_RARE_NATS = {
    **dict.fromkeys(("exp", "log", "pow1_2", "abs", "min", "max", "logistic"), 2.6),
    "pow3": 2.2,
    **dict.fromkeys(("pow4", "pow1_3", "step", "sign"), 3.8),
    **dict.fromkeys(("floor", "mod"), 5.3),
    **dict.fromkeys(("sin", "cos", "tanh"), 5.3),
    **dict.fromkeys(
        ("pow5", "pow1_4", "pow1_5", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh"), 6.8
    ),
}
# A power whose exponent varies costs these on top: with a constant base it is an exponential and as rare as one; x**(1/x) or
# (1 + x)**(2 - x) fits any bump and is no law of anything.
_EXPONENTIAL_NATS, _TOWER_NATS = 1.1, 5.3
# So does a wave whose argument is no polynomial of at most second degree in the columns: sin(a b**t) or cos(a sqrt(t + b)) imitates any wave of
# slightly uneven pace, and where noise leaves the choice the even one is meant.
_CHIRP_NATS = 6.0
_BENT = frozenset(
    "pow pow3 pow4 pow5 pow1_2 pow1_3 pow1_4 pow1_5 exp log sin cos tan tanh asin acos atan sinh cosh asinh acosh atanh".split()
)
# So does a function of a sum of one column with a function or a quotient of it, sqrt(c1/x + c2) or log(c1 + exp(x)), and a step of any
# function, tanh(sqrt(x)): a second bend around the first imitates most curves that have a name.  exp(c/x) has one, and sqrt(1 - x^2/z^2)
# is of two columns.
_NESTED_NATS = 3.0
# Below this FVU a constant is charged the further digits it is told to, 0.5 log(CLEAN / FVU): at such
# precision what is left is rarely the white noise that the fit's likelihood supposes.
CLEAN = 1e-3

# Nor are they as many independent witnesses as there are rows: a misfit of a hundredth of the spread or less that is not gone
# altogether is as a rule smooth (a difference taken for a derivative, a neglected effect), and nine terms follow anything smooth.
# Below SMOOTH an improvement short of exactness counts as that of SMOOTH_ROWS rows, more where rows are many.
SMOOTH, SMOOTH_ROWS, MANY = 1e-4, 8.0, 50.0

# A further column in a plain sum, + c*x, is what regression would try: of D columns chance offers the best, which is worth log D nats
# besides its constant, and not what four tokens of a structure are.  So it costs no more than that (and FURTHER at least) where noise
# leaves the choice: from an FVU of NOISY[0] on in part, from NOISY[1] on whole.  The constant of such a sum costs FURTHER too.
FURTHER, NOISY = 1.0, (1e-3, 1e-2)

PRINTED_ROWS = 400  # whose digits are counted
FLOAT_DIGITS = 15  # a number with as many was computed, not typed

SELECTORS = ("mdl", "score", "bic", "aicc", "fvu", "drop")

# What a token must gain in log FVU under `drop` for a step of the front to be a law's: the price it has under `mdl`.
DROP_NATS = TOKEN_NATS


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
    sample = [repr(value).partition("e") for value in values[:PRINTED_ROWS].tolist() if value]
    digits, ends = [], []  # significant digits of each value, and the power of ten of its last one
    for mantissa, _, exponent in sample:
        whole, _, fraction = mantissa.partition(".")
        fraction = fraction.rstrip("0")
        written = (whole + fraction).lstrip("0")
        digits.append(len(written.rstrip("0")))
        ends.append(int(exponent or 0) + (-len(fraction) if fraction else len(written) - len(written.rstrip("0"))))
    if not digits or max(digits) >= FLOAT_DIGITS:
        return np.zeros(len(values))
    size = np.floor(np.log10(np.where(values > 0, values, 1.0)))
    by_decimals = np.full(len(values), 10.0 ** min(ends))
    by_digits = np.where(values > 0, 10.0 ** (size + 1 - max(digits)), 0.0)
    heads = np.array(digits) + np.array(ends) - 1  # power of ten of the first digit
    own = [sum(end == min(ends) for end in ends), int(np.sum(heads + 1 - max(digits) == np.array(ends)))]
    return by_decimals if own[0] >= own[1] else by_digits


def printed_fvu(y: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The FVU that rounding y to its printed digits causes: the mean of q^2 / 12 over the variance (uniform errors)."""
    w = np.ones(len(y)) if weights is None else weights
    scale = float(np.abs(y).max()) or 1.0
    centre = np.average(y / scale, weights=w)
    spread = float(w @ (y / scale - centre) ** 2)
    return float(w @ (printed_quanta(y) / scale) ** 2) / 12 / spread if spread > 0 else 0.0


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


def structure_nats(expr: list[str]) -> float:
    """Code length of a law's structure: the sum of its tokens' costs, and of what is raised to varying powers."""
    nats = sum(_RARE_NATS.get(token, TOKEN_NATS) for token in expr) - _repeated_nats(expr)
    for i, token in enumerate(expr):
        if token == "pow":
            middle = end(expr, i + 1)
            if _varies(expr[middle : end(expr, middle)]):
                nats += _TOWER_NATS if _varies(expr[i + 1 : middle]) else _EXPONENTIAL_NATS
        elif token in ("sin", "cos", "tan"):
            argument = expr[i + 1 : end(expr, i + 1)]
            if any(t in _BENT and _varies(argument[k : end(argument, k)]) for k, t in enumerate(argument)):
                nats += _CHIRP_NATS
        elif token in _STEPS or (token in _BENT and expr[i + 1] in ("+", "-")):
            argument = expr[i + 1 : end(expr, i + 1)]
            one = len({variable_index(t) for t in argument} - {None}) == 1
            if one and any(t in _DIVIDING and _varies(_bent(argument, k)) for k, t in enumerate(argument)):
                nats += _NESTED_NATS
    return nats


_DIVIDING = _BENT | {"inv", "/"}
_STEPS = frozenset("tanh atan logistic".split())


def _bent(expr: list[str], k: int) -> list[str]:
    """What the function at k bends: its argument, or what a quotient divides by."""
    first = end(expr, k + 1) if expr[k] == "/" else k + 1
    return expr[first : end(expr, first)]


# A further summand of the form of one that is there, a second wave or a third peak, is told by saying so and where it stands.
AGAIN = 2 * TOKEN_NATS
_FORMS = frozenset("sin cos exp tanh inv / pow2".split())


def _repeated_nats(expr: list[str]) -> float:
    """What summands of the form of an earlier one cost less than their symbols, in nats; a form has two numbers and a function."""
    if expr[0] not in ("+", "-") or sum(token in _FORMS for token in expr) < 2:
        return 0.0
    seen: set[tuple[str, ...]] = set()
    nats, i = 0.0, 0
    while i < len(expr):
        if expr[i] in ("+", "-"):
            i += 1
            continue
        stop = end(expr, i)
        form = _form(expr[i:stop])
        if form in seen:
            nats += max(0.0, sum(_RARE_NATS.get(token, TOKEN_NATS) for token in expr[i:stop]) - AGAIN)
        elif form.count(CONSTANT) > 1 and not _FORMS.isdisjoint(form):
            seen.add(form)
        i = stop
    return nats


def _form(term: Sequence[str]) -> tuple[str, ...]:
    """A summand with all numbers alike, and sines for cosines."""
    form: list[str] = []
    for token in term:
        if token[:4] == "mult" or token[:3] == "div":
            form += ["*", CONSTANT]
        elif token == "cos":
            form.append("sin")
        else:
            form.append(token if literal_value(token) is None else CONSTANT)
    return tuple(form)


def plain_parts(expr: list[str]) -> tuple[int, bool]:
    """(further columns, a constant) of a law that is a sum: how many summands are a constant times a column that no other summand
    holds, and whether a constant is added to such.  One such term is the law itself and not counted where nothing else is there."""
    if expr[0] not in ("+", "-", "neg"):
        return 0, False
    plain: list[int] = []
    others: set[int] = set()
    rest, constant, i = 0, False, 0
    while i < len(expr):
        if expr[i] in ("+", "-", "neg"):
            i += 1
            continue
        stop = end(expr, i)
        term = expr[i:stop]
        held = {k for k in map(variable_index, term) if k is not None}
        scaled = term[0] == "*" or (term[0] == "/" and variable_index(term[1]) is not None)
        if len(term) == 3 and len(held) == 1 and scaled and len(set(term)) == 3:
            plain += held
        elif held:
            rest += 1
            others |= held
        else:
            constant = True
        i = stop
    alone = sum(j not in others for j in set(plain))
    return max(0, alone if rest else alone - 1), constant and alone > 0


def further_nats(expr: list[str], fvu: float, columns: int) -> float:
    """What the further columns of a plain sum and its constant cost less, in nats, than their tokens do, in a table of so many columns."""
    if columns < 2 or not fvu > NOISY[0]:
        return 0.0
    further, constant = plain_parts(expr)
    share = min(1.0, math.log(fvu / NOISY[0]) / math.log(NOISY[1] / NOISY[0]))
    nats = max(0.0, 4 * TOKEN_NATS - max(FURTHER, math.log(columns))) * further
    return share * (nats + (2 * TOKEN_NATS - FURTHER if constant else 0.0))


def _varies(expr: list[str]) -> bool:
    return any(variable_index(token) is not None for token in expr)


def constant_nats(M: int, fvu: float, floor: float = EXACT) -> float:
    """What a fitted constant costs under `mdl`: the precision that M rows, and very small residuals, give it."""
    return 0.5 * (math.log(M) + max(0.0, math.log(CLEAN / max(fvu, floor))))


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
) -> float:
    """The number to minimise under a selection method; lower is better.

    M rows were fitted; k counts the constants that were fitted to them (default: all).  known: the FVU that stated errors
    of the points account for (known_fvu).  Up to there a better fit is worth what it is under noise of unknown size, below
    only chi^2 / 2: the noise is taken to be as stated or larger.

    exact: the FVU up to which a fit is one to rounding or to printed digits (at least 100 times `floor`).  columns: of the table,
    for the price of plain sums; 0 where it is not asked for.

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
    at = max(fvu, floor)
    fit = 0.5 * M * (math.log(at) if at >= known else math.log(known) + at / known - 1)
    if method == "mdl":
        if M - k - 1 <= 0 and k and candidate.length > 1:  # the mean is what stands where nothing is told
            return math.inf
        if not known and max(exact, 100 * floor) < at < SMOOTH:
            heard = min(M, SMOOTH_ROWS + (M / MANY) ** 2)
            fit += 0.5 * (M - heard) * math.log(SMOOTH / at)
        structure = structure_nats(candidate.expr) - further_nats(candidate.expr, fvu, columns)
        return fit + k * constant_nats(M, fvu, floor) + structure
    if method == "bic":
        return fit + 0.5 * p * math.log(M)
    if method == "aicc":
        return fit + p + p * (p + 1) / (M - p - 1) if M - p - 1 > 0 else math.inf if k else fit
    raise ValueError(f"unknown selection {method!r}, wanted one of {', '.join(SELECTORS)}")


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
    ):
        self.columns = columns
        self.admit, self.prices = admit, prices
        self.M, self.floor, self.method, self.gamma, self.keep, self.known = M, floor, method, gamma, keep, known
        self.extra = extra  # nats that units add, under `mdl`
        self.exact, self.prior = exact, prior  # prior: nats that what is known of the columns takes off, under `mdl`
        self.seen = 0  # candidates offered
        self._values: list[float] = []
        self._sorted: list[Candidate] = []
        self._by_expr: dict[tuple, float] = {}
        self._by_value: dict[tuple, int] = {}

    def value(self, candidate: Candidate) -> float:
        """The candidate's number under the pool's selection."""
        value = selection(
            self.method, candidate, self.M, self.gamma, self.floor, None, self.known, self.exact, self.columns
        )
        value -= self.prior(candidate) if self.prior and self.method == "mdl" else 0.0
        if self.extra is not None and self.method == "mdl":
            value += self.extra(candidate)
        return value + self.surcharge(candidate) if self.prices else value

    def surcharge(self, candidate: Candidate) -> float:
        """What the prices that were set add to the selection's number: an operator then costs so many tokens."""
        extra = 0.0
        for token, price in self.prices:
            count = candidate.expr.count(token)
            if count and self.method == "score":
                extra += count * (price - 1) * self.gamma
            elif count and self.method != "fvu":
                told = _RARE_NATS.get(token, TOKEN_NATS) if self.method == "mdl" else TOKEN_NATS
                extra += count * (price * TOKEN_NATS - told)
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
        for i, old in enumerate(self._sorted):
            if tuple(sort_commutative(old.expr)) == key:
                del self._sorted[i], self._values[i]
                return

    def _trim(self):
        kept, counts = [], {}
        order = sorted(range(len(self._sorted)), key=lambda i: self._sorted[i].fvu)
        for i in order:
            length = self._sorted[i].length
            if counts.get(length, 0) < self.PER_LENGTH:
                counts[length] = counts.get(length, 0) + 1
                kept.append(i)
        keep = set(kept) | set(range(self.keep))
        self._sorted = [c for i, c in enumerate(self._sorted) if i in keep]
        self._values = [v for i, v in enumerate(self._values) if i in keep]

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
