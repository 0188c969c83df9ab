"""How good a found law is, in one word and a sentence, and what its user should look at: independent of how it was found.

The words, from the best: "exact" (to the printed digits), "within errors" (chi^2 as stated errors allow), "noise" (what is left
has no shape: the noise of the rows), "rough" (what is left has a shape, so a better law exists) and "no law" (what the law
explains, chance would explain too, after so many laws were tried).  Nothing here fits, proposes or prints.

Sources: the chance of a fit under no relation is that of R^2 of a regression on k columns of noise, a Beta variable (Fisher
1924); times the number of structures as cheap as the law (union bound).  Shape of residuals: runs of signs along a column
(Wald and Wolfowitz 1940) and agreement of signs between nearest neighbours (a sign form of Moran 1950, judged by permutations,
so that noise of uneven size does no harm); where rows repeat, the F test for lack of fit (Fisher 1922).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from fansr.expressions import CONSTANT, to_tree, variables
from fansr.fitting import Candidate, Problem
from fansr.search import description_length, remarks, selection
from fansr.streams import rng_for

VERDICTS = ("exact", "within errors", "noise", "rough", "no law")
CHANCE = 0.005  # of a table of noise to be told a law, and of noise to be told a shape
FREE_NATS = (
    5 * description_length.TOKEN_NATS
)  # the structure of a straight line: what is not paid for when structures are counted
EXACT_CHANCE = (
    0.05  # of few rows of few digits to agree with a law by accident: y = 2*x on (1, 2), (2, 4), (3, 6) is one in 125
)
CHI_LIMIT = 3.0  # standard deviations that chi^2 may lie above its mean (Wilson and Hilferty 1931)
LOOKED_AT = 2000  # rows that tests of shape look at
PERMUTATIONS = 999
MOST_COLUMNS = 12  # of a table in which a shape is looked for along all of them; else along those of the law
ROUNDED = 1e-4  # of the target's spread that rounding of the columns may be for it to be taken for rounding


class Judged(NamedTuple):
    """`verdict` (one of VERDICTS), its sentence `text`, and `remarks`, each {"code", "text"}."""

    verdict: str
    text: str
    remarks: list[dict[str, str]]


def judge(
    problem: Problem,
    best: Candidate,
    errors: np.ndarray,
    floor: float,
    kept: np.ndarray | None = None,
    unheard: Sequence[str] = (),
    seed: int = 0,
    relative: bool = False,
) -> Judged:
    """Verdict and remarks of a law fitted to a problem; kept (M,) masks rows that were not set aside as outliers.

    relative: the problem's weights are 1 / y^2 and the search's own (relative_noise.py).
    """
    from fansr.expressions import evaluate

    kept = np.ones(len(problem.y), bool) if kept is None else kept
    X, y = problem.X[kept], problem.y[kept]
    w = None if problem.weights is None else problem.weights[kept]
    with np.errstate(all="ignore"):
        residual = y - evaluate(best.expr, X, best.consts)
    free = int((np.asarray(errors) > 0).sum())
    word, text = _verdict(problem, X, y, w, residual, best, free, floor, seed, relative)
    part = problem if kept.all() else replace(problem, X=X, y=y)
    told = [
        *(remarks.in_proportion(word) if relative and word != "exact" else ()),
        *(remarks.uneven(y, residual) if word in ("noise", "rough") and w is None else ()),
        *remarks.of(best, errors, part, unheard, seed),
    ]
    return Judged(word, text, [{"code": code, "text": text} for code, text in told])


def _verdict(problem, X, y, w, residual, best, free: int, floor: float, seed: int, relative: bool) -> tuple[str, str]:
    M = len(y)
    if not np.ptp(y) > 0:
        return "exact", "the target is the same in every row"
    if not np.isfinite(residual).all():
        return "rough", "the law is not finite on every row"
    if M <= free:
        return "no law", f"{M} rows cannot tell {free} constants: any such law fits them"
    if printed := exact_to(best, X, y, residual, floor):
        chance = chance_of_digits(best, X, y, residual, free)
        if chance > EXACT_CHANCE:
            return (
                "no law",
                f"exact on {M} rows, but chance would do as well: odds of {chance_text(chance)} that a law as short agrees with so few digits",
            )
        return "exact", f"exact to the digits the {printed} is printed with"
    from fansr.proposers import angle_nats, calendar_columns, degree_columns, prior_nats, target_in_degrees

    told = prior_nats(best, calendar_columns(problem))
    told = max(told, angle_nats(best, degree_columns(problem), target_in_degrees(problem)))
    chance = chance_of(best, best.fvu, M, free, X.shape[1], told)
    if M > free + 5:  # nor may the law be the explanation of a single row, which a pole or a steep power is
        chance = max(chance, chance_of(best, without_one(y, residual, w), M - 1, free, X.shape[1], told))
    weighed = residual if w is None else residual * np.sqrt(w / w.max())
    largest = float(np.abs(weighed).max()) or 1.0  # its square may be no float
    sigma = largest * math.sqrt(float(np.sum((weighed / largest) ** 2)) / (M - free))
    share = 100 * math.sqrt(max(best.fvu, 0.0))
    if problem.known and w is not None:
        chi2 = float((residual * np.sqrt(w)) @ (residual * np.sqrt(w)))
        z = chi2_deviation(chi2, M - free)
        if z <= CHI_LIMIT and chance <= CHANCE:
            return "within errors", f"as good as the stated errors: chi2 {chi2 / (M - free):.3g} per degree of freedom"
    if not variables(best.expr):
        return "no law", "nothing was found that explains the rows better than their mean, by more than chance would"
    if chance > CHANCE:
        return "no law", f"chance would do as well: odds of {chance_text(chance)} that so good a law is found in noise"
    columns = list(range(X.shape[1])) if X.shape[1] <= MOST_COLUMNS else variables(best.expr)
    shape = shape_of(X[:, columns], weighed, [problem.names[j] for j in columns], free, y, seed)
    left = f"{share:.2g} % of the spread of {problem.target} is left ({sigma:.2g})"
    noise = f"a noise of {sigma:.2g} ({share:.2g} % of the spread of {problem.target})"
    if relative:
        of_each = 100 * math.sqrt(float(np.mean((residual / y) ** 2)) * M / (M - free))
        left, noise = f"{of_each:.2g} % of each value is left", f"a noise of {of_each:.2g} % of each value"
    if shape:
        return "rough", f"{left} and has a shape: {shape}; a better law exists"
    return "noise", f"down to {noise}, which shows no shape"


# ---- the tests --------------------------------------------------------------------------------


def exact_to(best: Candidate, X: np.ndarray, y: np.ndarray, residual: np.ndarray, floor: float) -> str:
    """Whose printed digits account for the residuals (M,): the "target"'s, with its columns' the "table"'s, or ""."""
    if is_exact(y, residual, floor):
        return "target"
    return "table" if is_exact(y, residual, floor, rounding_of_columns(best, X, y)) else ""


def chance_of_digits(best: Candidate, X: np.ndarray, y: np.ndarray, residual: np.ndarray, free: int) -> float:
    """Upper bound of the probability that numbers (M,) drawn evenly from the target's range, with its digits, agree as
    well with any law as cheap: each row but those that the free constants took does with a probability of its window over the range.

    Rows that repeat are one.  The number of laws is counted as in chance_of.
    """
    _, rows = np.unique(np.column_stack([X, y]), axis=0, return_index=True)
    quanta = selection.printed_quanta(y)[rows] + np.finfo(np.float64).eps * float(np.abs(y).max())
    window = (quanta + 2 * np.abs(residual[rows])) / (np.ptp(y) + quanta)
    nats = -np.log(np.minimum(1.0, window)).mean() * max(0, len(rows) - free)
    paid = max(0.0, description_length.structure_nats(best.expr) - FREE_NATS)
    return math.exp(min(0.0, paid - nats + math.log(max(1, X.shape[1]))))


def rounding_of_columns(best: Candidate, X: np.ndarray, y: np.ndarray) -> np.ndarray | float:
    """What one unit of the last printed digit of every column makes of the law (M,); 0 where that is no small thing.

    A column of whole numbers, or of two digits, is not taken for a rounded one.
    """
    from fansr.expressions import evaluate

    units = np.zeros(len(y))
    for j in variables(best.expr):
        half = np.zeros_like(X)
        half[:, j] = selection.printed_quanta(X[:, j]) / 2
        if half.any():
            with np.errstate(all="ignore"):
                units += np.abs(evaluate(best.expr, X + half, best.consts) - evaluate(best.expr, X - half, best.consts))
    scale = float(np.abs(y).max()) or 1.0  # the square of 1e161 is no float
    return units if np.sqrt(np.mean((units / scale) ** 2)) <= ROUNDED * np.std(y / scale) else 0.0


def is_exact(y: np.ndarray, residual: np.ndarray, floor: float, columns: np.ndarray | float = 0.0) -> bool:
    """Whether residuals (M,) are what rounding leaves: of float arithmetic, or of the last printed digits of y and,
    where told, of the columns."""
    scale = float(np.abs(y).max())
    if float(np.mean((residual / scale) ** 2)) <= 100 * floor * float(np.var(y / scale)):
        return True
    # Rounding leaves 0.29 units of the last digit; twice that where columns or constants were rounded themselves.
    units = np.abs(residual) / (selection.printed_quanta(y) + 1e-14 * scale + columns)
    return bool(np.sqrt(np.mean(units**2)) <= 0.6 and units.max() <= 3.0)


def chance_of(best: Candidate, fvu: float, M: int, free: int, D: int, told: float = 0.0) -> float:
    """Upper bound of the probability that noise is explained so well by any law as cheap: P(R^2) times their number.

    R^2 of k columns of noise is Beta(k / 2, (M - 1 - k) / 2).  The number of laws whose structure costs no more is e to that
    cost in nats beyond a straight line's (Kraft), times the columns; `told`: nats of it that a column's name tells.
    """
    if not variables(best.expr):
        return 1.0
    chosen = sum(token[:4] == "mult" or token[:3] == "div" for token in best.expr)  # coefficients that came out plain
    k = max(1, free + chosen - (1 if _has_offset(best.expr) else 0))
    a = 0.5 * (M - 1 - k)
    if a <= 0:
        return 1.0
    log_p = log_beta_cdf(min(1.0, max(fvu, 0.0)), a, 0.5 * k)
    structure = description_length.structure_nats(best.expr) - description_length.further_nats(best.expr, fvu, D)
    paid = max(0.0, structure - told - FREE_NATS)
    return math.exp(min(0.0, log_p + paid + math.log(max(1, D))))


def without_one(y: np.ndarray, residual: np.ndarray, w: np.ndarray | None) -> float:
    """FVU over all rows but the one that the law explains the most of."""
    w = np.ones(len(y)) if w is None else w
    scale = float(np.abs(y).max()) or 1.0
    z, r = y / scale, residual / scale
    gain = w * ((z - np.average(z, weights=w)) ** 2 - r * r)
    keep = np.arange(len(y)) != int(gain.argmax())
    total = float(w[keep] @ (z[keep] - np.average(z[keep], weights=w[keep])) ** 2)
    return float(w[keep] @ r[keep] ** 2) / total if total > 0 else 1.0


def _has_offset(expr) -> bool:
    """Whether a constant is added to the whole law."""
    tree = to_tree(list(expr))
    while isinstance(tree, tuple) and tree[0] in ("+", "-"):
        if CONSTANT in tree[1:]:
            return True
        tree = tree[1]
    return False


def chance_text(chance: float) -> str:
    return "more than 1 in 2" if chance > 0.5 else f"1 in {round(1 / chance)}"


def log_beta_cdf(x: float, a: float, b: float) -> float:
    """log of the regularised incomplete beta function I_x(a, b), by Lentz's continued fraction (DLMF 8.17.22)."""
    if x <= 0:
        return -math.inf
    if x >= 1:
        return 0.0
    if x > (a + 1) / (a + b + 2):
        other = log_beta_cdf(1 - x, b, a)
        return math.log(max(1e-300, -math.expm1(other)))
    front = a * math.log(x) + b * math.log1p(-x) - math.log(a) - math.lgamma(a) - math.lgamma(b) + math.lgamma(a + b)
    c, d = 1.0, 1.0 / (1 - (a + b) * x / (a + 1) or 1e-300)
    h = d
    for m in range(1, 300):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / ((1 + term * d) or 1e-300)
            c = (1 + term / c) or 1e-300
            h *= c * d
        if abs(c * d - 1) < 1e-12:
            break
    return front + math.log(h)


def chi2_deviation(chi2: float, dof: int) -> float:
    """Standard deviations of a chi^2 above its mean: Wilson and Hilferty's cube root, which is nearly normal."""
    spread = 2 / (9 * max(1, dof))
    return ((chi2 / max(1, dof)) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)


def normal_tail(z: float) -> float:
    """P(Z > z) of a standard normal variable."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def runs_deviation(signs: np.ndarray) -> float:
    """Standard deviations by which signs in a row (+-1) have fewer runs than chance gives (Wald and Wolfowitz 1940)."""
    n1, n2 = int((signs > 0).sum()), int((signs < 0).sum())
    n = n1 + n2
    if min(n1, n2) < 3:
        return 0.0
    runs = 1 + int((np.diff(signs) != 0).sum())
    mean = 2 * n1 * n2 / n + 1
    variance = (mean - 1) * (mean - 2) / (n - 1)
    return (mean - runs - 0.5) / math.sqrt(variance) if variance > 0 else 0.0


def rank_deviation(values: np.ndarray) -> float:
    """Standard deviations by which neighbours in a row of values (M,) differ less than chance has it: von Neumann's ratio of ranks (Bartels 1982).

    It hears a shape that is smaller than the noise, whose signs still change.
    """
    from scipy.stats import rankdata

    n = len(values)
    if n < 8:
        return 0.0
    ranks = rankdata(values) - (n + 1) / 2
    total = float(ranks @ ranks)
    if not total > 0:
        return 0.0
    ratio = float(np.sum(np.diff(ranks) ** 2)) / total
    variance = 4 * (n - 2) * (5 * n * n - 2 * n - 9) / (5 * n * (n + 1) * (n - 1) ** 2)
    return (2 - ratio) / math.sqrt(variance)


def neighbour_chance(X: np.ndarray, signs: np.ndarray, seed: int) -> float:
    """P value of nearest neighbours (in the ranks of all columns) agreeing in sign as often as they do, by permutations."""
    M = len(signs)
    varying = [j for j in range(X.shape[1]) if np.ptp(X[:, j]) > 0]
    if M < 12 or not varying:
        return 1.0
    rng = rng_for(seed, "verdict.neighbours", 0)
    rows = np.sort(rng.permutation(M)[: LOOKED_AT // 2])
    ranks = np.argsort(np.argsort(X[np.ix_(rows, varying)], axis=0, kind="stable"), axis=0).astype(float)
    s = signs[rows]
    near = np.empty(len(rows), int)
    for first in range(0, len(rows), 250):
        part = ranks[first : first + 250]
        distance = ((part[:, None, :] - ranks[None, :, :]) ** 2).sum(axis=2)
        distance[np.arange(len(part)), first + np.arange(len(part))] = np.inf
        near[first : first + 250] = distance.argmin(axis=1)
    agree = float(s @ s[near])
    count = 0
    for _ in range(PERMUTATIONS):
        p = s[rng.permutation(len(s))]
        count += float(p @ p[near]) >= agree
    return (count + 1) / (PERMUTATIONS + 1)


def lack_of_fit(X: np.ndarray, residual: np.ndarray, free: int) -> float | None:
    """P value of the F test for lack of fit, where rows of X repeat: spread of group means against spread within groups."""
    _, group = np.unique(X, axis=0, return_inverse=True)
    group = group.ravel()
    G, M = int(group.max()) + 1, len(residual)
    inner, outer = M - G, G - free
    if inner < 3 or outer < 1:
        return None
    sizes = np.bincount(group)
    means = np.bincount(group, weights=residual) / sizes
    within = float(((residual - means[group]) ** 2).sum())
    between = float((sizes * means**2).sum())
    if not within > 0:
        return None
    # F = (between / outer) / (within / inner) beyond f has probability I_x(inner / 2, outer / 2), x = within / (within + between).
    return math.exp(log_beta_cdf(within / (within + between), inner / 2, outer / 2))


def shape_of(X: np.ndarray, residual: np.ndarray, names: Sequence[str], free: int, y: np.ndarray, seed: int) -> str:
    """What shape residuals (M,) have, in words; "" where none can be told."""
    if len(residual) < 8:
        return ""
    if len(residual) > 2 * LOOKED_AT:
        rows = np.sort(rng_for(seed, "verdict.shape", 0).permutation(len(residual))[: 2 * LOOKED_AT])
        X, residual, y = X[rows], residual[rows], y[rows]
    centre = float(np.median(residual)) if abs(float(np.mean(np.sign(residual)))) > 0.5 else 0.0
    signs = np.where(residual - centre >= 0, 1.0, -1.0)
    varying = [j for j in range(X.shape[1]) if len(set(X[:, j].tolist())) > 5]
    limit = CHANCE / (2 * len(varying) + 2)
    for j in varying:
        order = np.lexsort((y, X[:, j])) if len(set(X[:, j].tolist())) == len(y) else np.argsort(X[:, j], kind="stable")
        z = runs_deviation(signs[order])
        if normal_tail(z) < limit:
            return f"its signs come in long runs along {names[j]}"
        if normal_tail(rank_deviation(residual[order])) < limit:
            return f"neighbours along {names[j]} are alike"
    replicated = lack_of_fit(X, residual, free)
    if replicated is not None and replicated < limit:
        return "rows that repeat agree with each other better than with the law"
    if len(varying) > 1 and neighbour_chance(X, signs, seed) < max(limit, 2 / (PERMUTATIONS + 1)):
        return "neighbouring rows lie on the same side"
    return ""
