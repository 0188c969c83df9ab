"""A plain part and a composite one, told apart whatever the composite one is: reductions for composites.py.

    y = prod x_j^e_j * g(S)         `fronts`: columns outside of S are mere powers in front
    y = sum of few monomials + g(S) `summands`: columns outside of S enter monomials only
    y = prod x_j^e_j * h(m)         `monomial_fronts`: h of one product m of powers, exp(-k b c^2/d) say
    y = sum of monomials + h(m)     `monomial_summands`

    columns less a number           `shifted`: those far from zero for their spread

S is one to three columns, g is followed by polynomials in them that are projected out of everything else: what is left of the
plain part's columns tells exponents and coefficients by least squares, without any idea of g.  For h all products m with small
exponents are tried, a polynomial in log m in the place of h.  Where the plain part is a front with fractions for exponents,
dividing by it is exact, and the smaller problem has as few columns as S, or one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import combinations, product as every

import numpy as np

from fansr.fitting import Problem
from fansr.proposers.parts import reductions as cut
from fansr.proposers.parts.expression_assembly import Base, Factors, nearest, product, scale_of, total
from fansr.proposers.parts.inner_scan import values_of
from fansr.proposers.parts.monomials import exponent_vectors, factors_of, monomials, values
from fansr.proposers.parts.reductions import Reduction

ROWS = 400  # that are looked at
DEGREE = {1: 10, 2: 7, 3: 5, 4: 4}  # of the polynomial in place of g, by its columns
PER_TERM = 4  # rows for each of its terms at least
FAR = 5.0  # times the typical residual: rows beyond are left out of a second regression
NARROW = 0.02  # spread of a column, in its size, below which it is shifted
GRID = (1, 2, 3)  # denominators of exponents
SNAP, DOUBT = 0.02, 0.12  # an exponent is this near a fraction, or within three errors, which are no larger than that
CHANCE = 4.0  # times what chance takes off the residual: more, and a removed column does matter to the rest
SMALL = 0.1  # of a front's typical size
SUMMANDS, TERMS = 3, 220  # of a plain sum; monomials it is chosen from
FOLLOWED = 0.02  # share of g's spread that its polynomial may leave
LEAST = 1e-7  # share of y's spread that g must be for its polynomial to be told from rounding
LARGEST = 2  # exponent within m
BENDS = (3, 8)  # powers of log m in the place of h: at first, and of those that look best
TRIED, KEPT = 24, 3  # products m looked at again, and kept
MOST_PRODUCTS = 12000


class Sample:
    """Some rows of a problem: X (n, D), y (n,), Z (n, D) standardised (logarithms of those that span decades), log|X| where defined."""

    @np.errstate(all="ignore")
    def __init__(self, problem: Problem):
        M = len(problem.y)
        rows = np.unique(np.linspace(0, M - 1, ROWS).astype(int)) if M > ROWS else np.arange(M)
        self.X, self.y = problem.X[rows], problem.y[rows]
        X, self.D = self.X, self.X.shape[1]
        self.n = len(rows)
        decades = (X.min(axis=0) > 0) & (X.max(axis=0) > 8 * X.min(axis=0))
        Z = np.where(decades, np.log(np.where(decades, X, 1.0)), X)
        low, high = Z.min(axis=0), Z.max(axis=0)
        self.Z = (2 * Z - low - high) / np.where(high > low, high - low, 1.0)
        self.varying = [j for j in range(self.D) if high[j] > low[j]]
        self.powers = [j for j in self.varying if (X[:, j] != 0).all() and np.ptp(np.abs(X[:, j])) > 0]
        self.logs = {j: np.log(np.abs(X[:, j])) for j in self.powers}

    def surface(self, columns: tuple[int, ...]) -> np.ndarray:
        """Orthonormal columns (n, T) that span the polynomials in some columns."""
        d, most = DEGREE[len(columns)], max(2, self.n // PER_TERM)
        while d > 2 and math.comb(len(columns) + d, d) > most:
            d -= 1
        return _basis(values(self.Z[:, list(columns)], monomials(len(columns), d)))

    def subsets(self, largest: int) -> Iterator[tuple[int, ...]]:
        for size in range(1, min(largest, len(self.varying) - 1) + 1):
            if math.comb(size + 2, 2) * PER_TERM <= self.n:
                yield from combinations(self.varying, size)


def _basis(A: np.ndarray) -> np.ndarray:
    """Orthonormal columns that span those of A (n, T), dependent ones left out."""
    Q, R = np.linalg.qr(A / np.maximum(np.sqrt((A * A).sum(axis=0)), 1e-300))
    return Q[:, np.abs(np.diag(R)) > 1e-9]


def _left(Q: np.ndarray, A: np.ndarray) -> np.ndarray:
    """What the columns of Q leave of each column of A, twice for the rounding."""
    A = A - Q @ (Q.T @ A)
    return A - Q @ (Q.T @ A)


# ---- narrow columns ---------------------------------------------------------------------------


def shifted(problem: Problem) -> Reduction | None:
    """The problem with columns far from zero for their spread (9.78 to 9.82, years, seconds since 1970) less a round number."""
    columns = cut.columns_of(problem, range(problem.X.shape[1]))
    moved = False
    for j, v in enumerate(problem.X.T):
        middle, span = float(np.median(v)), float(np.ptp(v))
        if 0 < span < NARROW * abs(middle):
            step = 10.0 ** math.floor(math.log10(span))
            zero = float(f"{round(middle / step) * step:.12g}")
            columns[j] = (("-", f"x{j + 1}", repr(zero)) if zero > 0 else ("+", f"x{j + 1}", repr(-zero)), v - zero)
            moved = True
    return cut.in_columns(problem, columns) if moved else None


# ---- in front ---------------------------------------------------------------------------------


def fronts(problem: Problem, sample: Sample) -> Iterator[Reduction | None]:
    """y over a power law in the columns outside of S, the smallest S first; None while at work."""
    if len(sample.powers) < 2 or (sample.y == 0).any():
        return
    t = np.log(np.abs(sample.y))
    found: list[set[int]] = []
    for size, S in enumerate(sample.subsets(4)):
        if size % 8 == 7:
            yield None
        outside = [j for j in sample.varying if j not in S]
        if any(known <= set(S) for known in found) or any(j not in sample.powers for j in outside):
            continue
        e = _exponents(sample, S, outside, t)
        if e is not None:
            found.append(set(S))
            yield _divided(problem, cut.columns_of(problem, S), factors_of(e[0], columns=outside), e[1])


def _exponents(
    sample: Sample, S: tuple[int, ...], outside: list[int], t: np.ndarray
) -> tuple[list[Fraction], float] | None:
    """(exponents of the columns outside of S, share of t's spread that is left), or None where y is no power of them."""
    surface, logs, rows = sample.surface(S), np.column_stack([sample.logs[j] for j in outside]), np.arange(sample.n)
    Q, A, b = surface, _left(surface, logs), _left(surface, t)
    e, errors, spread = _regression(A, b, Q.shape[1])
    r = np.abs(b - A @ e)
    near = r <= FAR * np.median(r)
    if spread > FAR / 2 * np.median(r) and near.sum() > 2 * (Q.shape[1] + len(outside)):
        # Where g has a zero or a pole its logarithm has a spike that no polynomial follows.
        rows = np.flatnonzero(near)
        Q = _basis(surface[rows])
        A, b = _left(Q, logs[rows]), _left(Q, t[rows])
        e, errors, _ = _regression(A, b, Q.shape[1])
    snapped = [nearest(v, GRID) for v in e]
    if not np.isfinite(e).all() or max(map(abs, e)) > 8 or not any(snapped):
        return None
    if any(abs(v - f) > max(SNAP, 3 * s) or s > DOUBT for v, f, s in zip(e, snapped, errors)):
        return None
    r = b - A @ np.array([float(f) for f in snapped])
    more = _left(Q, np.column_stack([sample.Z[rows, j] ** d for j in outside for d in (1, 2, 3)]))
    c = np.linalg.lstsq(more, r, rcond=1e-10)[0]
    rest = r - more @ c
    before, after = float(r @ r), float(rest @ rest)
    noise = 1e-24 * float(t @ t)
    chance = more.shape[1] / max(1, len(rows) - Q.shape[1] - more.shape[1])
    if before - after > CHANCE * chance * after + noise:
        return None
    return snapped, before / max(float(np.sum((t - t.mean()) ** 2)), 1e-300)


def _regression(A: np.ndarray, b: np.ndarray, before: int) -> tuple[np.ndarray, np.ndarray, float]:
    """(coefficients, their standard errors, rms residual) of least squares, `before` more having been taken out."""
    size = np.maximum(np.sqrt((A * A).sum(axis=0)), 1e-300)
    c = np.linalg.lstsq(A / size, b, rcond=1e-12)[0]
    r = b - A / size @ c
    s2 = float(r @ r) / max(1, len(b) - before - A.shape[1])
    errors = np.sqrt(s2 * np.diag(np.linalg.pinv((A / size).T @ (A / size), rcond=1e-12)))
    return c / size, errors / size, math.sqrt(s2)


def _divided(problem: Problem, columns, front: Factors, error: float) -> Reduction | None:
    """The problem over a front, in some columns (expression, values); None where that is nothing usable."""
    v = values_of(front, problem.X)
    y = problem.y / v
    if not np.isfinite(y).all() or not np.ptp(y) > 1e-12 * np.abs(y).max():
        return None
    put = lambda law: product({**front, law: Fraction(1)}, lambda base: False) or ("1.0",)  # noqa: E731
    size = np.abs(v) / np.median(np.abs(v))
    if size.min() < SMALL:  # where the front vanishes, what y is over it is wild
        weights = np.minimum(size, 1.0) ** 2 * (1.0 if problem.weights is None else problem.weights)
        problem = replace(problem, weights=weights)
    return cut.in_columns(problem, columns, y, put)._replace(error=error)


# ---- beside -----------------------------------------------------------------------------------


@lru_cache(32)
def _plain_vectors(D: int, signed: tuple[bool, ...], rooted: tuple[bool, ...]) -> list[tuple[float, ...]]:
    """Exponents of what a plain sum is made of: small whole numbers, and halves of those of degree two or less."""
    whole = [v for v in exponent_vectors(D, TERMS, 3, signed)[1:] if sum(e != 0 for e in v) <= 3]
    halves = [tuple(e / 2 for e in v) for v in whole if sum(map(abs, v)) <= 2 and any(e % 2 for e in v)]
    return [*whole, *(v for v in halves if all(e % 1 == 0 or ok for e, ok in zip(v, rooted)))]


def _plain_terms(X: np.ndarray) -> tuple[list[tuple[float, ...]], np.ndarray]:
    """(exponents, values (n, T) of size 1) of the plain monomials that are finite and vary."""
    signed = tuple(bool((v != 0).all()) for v in X.T)
    vectors = _plain_vectors(X.shape[1], signed, tuple(bool((v > 0).all()) for v in X.T))
    V = np.ones((len(X), len(vectors)))
    for j, v in enumerate(X.T):
        for e in {vector[j] for vector in vectors} - {0}:
            V[:, [vector[j] == e for vector in vectors]] *= (v ** int(e) if e % 1 == 0 and e > 0 else v**e)[:, None]
    good = np.isfinite(V).all(axis=0) & (np.ptp(V, axis=0) > 0)
    V = V[:, good]
    return [v for v, ok in zip(vectors, good) if ok], V / np.abs(V).max(axis=0)


def summands(problem: Problem, sample: Sample) -> Iterator[Reduction | None]:
    """y less a sum of few monomials, each of some column outside of S, the smallest S first; None while at work."""
    vectors, V = _plain_terms(sample.X)
    t = sample.y / scale_of(sample.y)
    total_square = float(np.sum((t - t.mean()) ** 2))
    found: list[set[int]] = []
    for number, S in enumerate(sample.subsets(3)):
        if number % 4 == 3:
            yield None
        if any(known <= set(S) for known in found):
            continue
        outside = [j for j in sample.varying if j not in S]
        use = [i for i, v in enumerate(vectors) if any(v[j] for j in outside)]
        if not use:
            continue
        Q = sample.surface(S)
        chosen, rest = _chosen(_left(Q, V[:, use]), _left(Q, t))
        # Every column outside must be in some term, or it has no say.
        chosen = [use[i] for i in chosen]
        if not chosen or any(all(vectors[i][j] == 0 for i in chosen) for j in outside):
            continue
        reduction, g = _less(problem, sample, Q, [vectors[i] for i in chosen], cut.columns_of(problem, S))
        if reduction is None or g < LEAST * total_square or rest > FOLLOWED * g:
            continue
        if rest < 1e-6 * g:
            found.append(set(S))
        yield reduction._replace(error=rest / total_square, floors=(max(rest / g, 1e-14),))


def _chosen(A: np.ndarray, b: np.ndarray) -> tuple[list[int], float]:
    """(up to SUMMANDS of A's columns that explain b, square left), one after the other while each takes most of what is left."""
    size = np.sqrt((A * A).sum(axis=0))
    A = np.where(size > 1e-6, A / np.maximum(size, 1e-300), 0.0)
    chosen: list[int] = []
    left = float(b @ b)
    for _ in range(SUMMANDS):
        tries = []
        r = b if not chosen else b - A[:, chosen] @ np.linalg.lstsq(A[:, chosen], b, rcond=1e-10)[0]
        for i in np.argsort(-np.abs(r @ A))[:12]:
            if int(i) not in chosen:
                some = [*chosen, int(i)]
                rest = b - A[:, some] @ np.linalg.lstsq(A[:, some], b, rcond=1e-10)[0]
                tries.append((float(rest @ rest), some))
        best, some = min(tries, default=(left, chosen))
        if not best < 0.5 * left:
            break
        left, chosen = best, some
        for k in range(len(chosen) - 1):  # the first may have stood for the two that came after it
            others = [c for c in chosen if c != chosen[k]]
            r = b - A[:, others] @ np.linalg.lstsq(A[:, others], b, rcond=1e-10)[0]
            B = A - A[:, others] @ (np.linalg.pinv(A[:, others]) @ A)
            norm = (B * B).sum(axis=0)
            gain = np.where(norm > 1e-9, (r @ B) ** 2 / np.maximum(norm, 1e-300), 0.0)
            i = int(gain.argmax())
            if float(r @ r) - gain[i] < 0.9 * left and i not in others:
                chosen[k] = i
                r = b - A[:, chosen] @ np.linalg.lstsq(A[:, chosen], b, rcond=1e-10)[0]
                left = float(r @ r)
    return chosen, left


def _less(problem: Problem, sample: Sample, Q: np.ndarray, vectors, columns) -> tuple[Reduction | None, float]:
    """(y less the plain sum as a problem in some columns, the square of what g is on the sample's rows)."""
    factors = [factors_of([Fraction(e).limit_denominator(2) for e in v]) for v in vectors]
    unit = scale_of(problem.y)
    A = np.column_stack([values_of(f, sample.X) for f in factors])
    t = sample.y / unit
    c, _, _ = _regression(_left(Q, A), _left(Q, t), Q.shape[1])
    c = np.array([_short(value * unit) / unit for value in c])
    rest = t - A @ c
    g = float(np.sum((rest - rest.mean()) ** 2))
    y = problem.y - np.column_stack([values_of(f, problem.X) for f in factors]) @ (c * unit)
    if not np.isfinite(y).all() or not np.ptp(y) > 1e-12 * np.abs(y).max():
        return None, 0.0
    added = total([(float(value * unit), f) for value, f in zip(c, factors)], lambda base: True)
    return cut.in_columns(problem, columns, y, lambda law: ("+", *added, *law)), g


def _short(value: float) -> float:
    """A number to four digits where they say the same to one in a hundred thousand: the constant that was meant."""
    short = float(f"{value:.3g}")
    return short if abs(short - value) <= 2e-5 * abs(value) else value


# ---- functions of one product -----------------------------------------------------------------


@lru_cache(16)
def _products(D: int) -> np.ndarray:
    """Exponents (P, D) of products of two or more columns, none a power of another, the plainest first."""
    found = []
    for v in every(range(-LARGEST, LARGEST + 1), repeat=D):
        first = next((e for e in v if e), 0)
        if first > 0 and sum(e != 0 for e in v) > 1 and math.gcd(*v) == 1:
            found.append(v)
    found.sort(key=lambda v: (sum(map(abs, v)), v))
    return np.array(found[:MOST_PRODUCTS], dtype=np.float64).reshape(-1, D)


def _bending(z: np.ndarray, powers: range) -> np.ndarray:
    """Powers (P, K, n) of logarithms z (P, n), each brought to [-1, 1]."""
    low, high = z.min(axis=1, keepdims=True), z.max(axis=1, keepdims=True)
    z = (2 * z - low - high) / np.maximum(high - low, 1e-300)
    return np.stack([z**d for d in powers], axis=1)


def _shares(Q: np.ndarray, t: np.ndarray, F: np.ndarray) -> np.ndarray:
    """Share (P,) of t's square, of which Q is taken out, that each K rows of F (P, K, n) leave."""
    F = F - (F @ Q) @ Q.T
    G, b = F @ F.transpose(0, 2, 1), F @ t
    G += (1e-10 * np.trace(G, axis1=1, axis2=2)[:, None, None] / G.shape[1] + 1e-300) * np.eye(G.shape[1])
    return 1 - (b * np.linalg.solve(G, b[:, :, None])[:, :, 0]).sum(axis=1) / max(float(t @ t), 1e-300)


def _best_products(sample: Sample, known: np.ndarray, t: np.ndarray, first: int) -> Iterator[list | None]:
    """None while at work, then [(share left, exponents)] of the products whose functions explain t best beside `known`."""
    columns = [j for j in sample.powers if sample.X[:, j].min() > 0]
    if len(columns) < 2:
        return
    vectors = _products(len(columns))
    L = np.array([sample.logs[j] for j in columns])  # (D, n)
    rows = np.arange(sample.n) if sample.n <= 200 else np.unique(np.linspace(0, sample.n - 1, 200).astype(int))
    Q = _basis(known[rows])
    goal = _left(Q, t[rows])
    if not float(goal @ goal) > 1e-22 * float(t @ t):
        return
    shares = []
    for start in range(0, len(vectors), 1500):
        z = vectors[start : start + 1500] @ L[:, rows]
        shares.append(_shares(Q, goal, _bending(z, range(first, first + BENDS[0]))))
        yield None
    order = np.argsort(np.concatenate(shares), kind="stable")[:TRIED]
    Q = _basis(known)
    goal = _left(Q, t)
    fine = _shares(Q, goal, _bending(vectors[order] @ L, range(first, BENDS[1] + 1)))
    best = []
    for i in np.argsort(fine, kind="stable")[:KEPT]:
        e = np.zeros(sample.D)
        e[columns] = vectors[order[i]]
        best.append((float(fine[i]), e))
    yield best


def _column_of(problem: Problem, e: np.ndarray) -> tuple[Base, np.ndarray]:
    factors = factors_of([int(v) for v in e])
    return product(factors), values_of(factors, problem.X)


def monomial_fronts(problem: Problem, sample: Sample) -> Iterator[Reduction | None]:
    """y over a power law as a function of one product of powers; None while at work."""
    if len(sample.powers) < 2 or (sample.y == 0).any() or sorted(sample.powers) != sorted(sample.varying):
        return
    t = np.log(np.abs(sample.y))
    logs = np.column_stack([np.ones(sample.n), *(sample.logs[j] for j in sample.powers)])
    for best in _best_products(sample, logs, t, 2):
        if best is None:
            yield None
            continue
        for share, e in best if best[0][0] < 0.2 else ():
            if share > 30 * best[0][0] + 1e-12:
                break
            # m itself is a power law, so its share of the front is h's: of one of its columns nothing is left in front.
            z = np.array([e @ np.array([sample.logs.get(j, np.zeros(sample.n)) for j in range(sample.D)])])
            Q = _basis(np.column_stack([np.ones(sample.n), _bending(z, range(1, BENDS[1] + 1))[0].T]))
            holder = min((j for j in sample.powers if e[j]), key=lambda j: (abs(e[j]), j))
            others = [j for j in sample.powers if j != holder]
            c, errors, _ = _regression(
                _left(Q, np.column_stack([sample.logs[j] for j in others])), _left(Q, t), Q.shape[1]
            )
            snapped = [nearest(v, GRID) for v in c]
            if any(abs(v - f) > max(SNAP, 3 * s) or abs(f) > 8 for v, f, s in zip(c, snapped, errors)):
                continue
            for front in _shared_out(dict(zip(others, snapped)), e, holder):
                yield _divided(problem, [_column_of(problem, e)], front, share)


def _shared_out(front: dict[int, Fraction], e: np.ndarray, holder: int) -> list[Factors]:
    """The front as it stands, and with so much of m moved into h that it is shortest."""
    powers = {j: Fraction(int(v)) for j, v in enumerate(e) if v}
    best = []
    for move in {Fraction(0), *(front.get(j, Fraction(0)) / p for j, p in powers.items())}:
        moved = {j: front.get(j, Fraction(0)) - move * powers.get(j, 0) for j in {*front, *powers}}
        best.append((sum(v != 0 for v in moved.values()), abs(move), moved))
    best.sort(key=lambda item: item[:2])
    return [{(f"x{j + 1}",): v for j, v in moved.items() if v} for _, _, moved in best[:2]]


def monomial_summands(problem: Problem, sample: Sample) -> Iterator[Reduction | None]:
    """y less a sum of few monomials as a function of one product of powers; None while at work."""
    if len(sample.powers) < 2:
        return
    t = sample.y / scale_of(sample.y)
    vectors, V = _plain_terms(sample.X)
    few = max(8, min(60, sample.n // 6))
    chosen, _ = _chosen(V - V.mean(axis=0), t - t.mean())
    places = list(dict.fromkeys([*chosen, *range(min(few, V.shape[1]))]))
    known = np.column_stack([np.ones(sample.n), V[:, places]])
    total_square = float(np.sum((t - t.mean()) ** 2))
    for best in _best_products(sample, known, t, 2):
        if best is None:
            yield None
            continue
        for share, e in best if best[0][0] < 0.5 else ():
            if share > 30 * best[0][0] + 1e-12:
                break
            z = np.array([e @ np.array([sample.logs.get(j, np.zeros(sample.n)) for j in range(sample.D)])])
            Q = _basis(np.column_stack([np.ones(sample.n), _bending(z, range(1, BENDS[1] + 3))[0].T]))
            chosen, rest = _chosen(_left(Q, V), _left(Q, t))
            reduction, g = (
                _less(problem, sample, Q, [vectors[i] for i in chosen], [_column_of(problem, e)])
                if chosen
                else (None, 0.0)
            )
            if reduction is not None and g > LEAST * total_square and rest < 0.1 * g:
                yield reduction._replace(error=rest / total_square, floors=(max(rest / g, 1e-14),))
