"""Kinks and jumps: laws of straight pieces that meet (abs, min, max) or do not (step), with free breakpoints; a proposer.

    a + b*|x - c|      a + b*x + d*|x - c|      a + b*min(max(x, c1), c2)      a + b*step(x - c)      lines before and behind a jump
    the same beside a linear part in the other columns
    min and max of two columns, and of two linear functions of the columns
    of one column: a + b*floor(x/c - d), the same beside a line, a + b*mod(x - d, c), and curves that begin or end level: f(max(x, c)), f(min(x, c))

A second breakpoint is found beside the first (parts/breakpoints.py), then the first once more beside the second.  The larger or
smaller of two linear functions is found by fitting each to the rows it holds (Magnani and Boyd 2009).  What gains less than its
constants cost, and what a polynomial of as many constants does as well, is not proposed: noise is no jump and a curve no kink.
Bounded by counts, deterministic, no random numbers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers.one_column_curves import curves
from fansr.proposers.parts.breakpoints import Beside, Break, Rows
from fansr.proposers.parts.candidates import Polisher, measured
from fansr.proposers.parts.expression_assembly import Base
from fansr.proposers.parts.inner_scan import summed
from fansr.proposers.parts.level_stretches import level_ends
from fansr.proposers.parts.staircases import leaning, staircase

MIN_ROWS = 6
COLUMNS = 6  # in which breakpoints are looked for; more are taken in the order of the table
PLANES = 8  # columns at most of the two linear functions of min and max
FEW = 300  # rows that they are looked for on
ROUNDS = 12  # of fitting each linear function to its rows
TOLD = 1e-7  # least share of a direction's square that must be on the rows of each of them
EARNED = 6.0  # nats by which a breakpoint must gain more than its constants cost
NOTHING = 1e-9  # share of y's size: a term that is none
POLISHED, HOPEFUL = 6, 4.0
CURVES = 6  # of one column behind a level stretch
EXACT = 1e-22
PLAIN = 7  # tokens of an exact law beside which a step or a kink is no plainer one


def propose(problem: Problem, budget: Budget, rng=None, pool=None) -> Iterator[list[Candidate]]:
    """Candidates with kinks and jumps, the leaders polished; nothing where an exact law is known already."""
    best = getattr(pool, "best", None)
    if (
        len(problem.y) < MIN_ROWS
        or not np.ptp(problem.y) > 0
        or (best is not None and best.fvu < EXACT and best.length <= PLAIN)
    ):
        return
    rows = Rows(problem)
    if not rows.columns or not rows.spread > 0:
        return
    polish = Polisher(problem)
    few = rows if len(rows.y) <= FEW else Rows(problem, FEW)
    kinds = [broken(rows), planes(few)]
    if sum(np.ptp(column) > 0 for column in problem.X.T) == 1:
        kinds = [stairs(problem, rows.columns[0]), *kinds, switched(rows, rows.columns[0])]
    for laws in kinds:
        found = polish(measured(problem, dict.fromkeys(laws), "kinks"), POLISHED, HOPEFUL)
        yield found
        if budget.over() or any(c.fvu < EXACT for c in found):
            return


# ---- tables of one column -----------------------------------------------------------------------


def stairs(problem: Problem, j: int) -> Iterator[Base]:
    """The staircase over the one column that varies, level or leaning, and the teeth of a saw."""
    x, column = problem.X[:, j], (f"x{j + 1}",)
    yield from staircase(x, problem.y, column) or leaning(x, problem.y, column)


def switched(rows: Rows, j: int) -> Iterator[Base]:
    """Curves of the one column that varies which begin or end level."""
    x, name = rows.X[:, j], f"x{j + 1}"
    for token, k in level_ends(x, rows.y):
        held = np.maximum(x, k) if token == "max" else np.minimum(x, k)
        for _, law in curves(held, rows.y * rows.scale, rows.sw**2, count=CURVES, second=False):
            yield tuple(word for part in law for word in ((token, name, repr(k)) if part == "x1" else (part,)))


# ---- breakpoints in one column ------------------------------------------------------------------


def broken(rows: Rows) -> Iterator[Base]:
    """Laws with one or two breakpoints in a column, alone, beside its line and beside a linear part in all columns."""
    everything = tuple(rows.columns) if len(rows.columns) <= COLUMNS else ()
    known: dict[tuple[int, ...], Beside] = {}

    def beside(linear: tuple[int, ...]) -> Beside:
        if linear not in known:
            known[linear] = rows.beside([rows.ones, *(rows.X[:, k] for k in linear)])
        return known[linear]

    for j in rows.columns[:COLUMNS]:
        # Beside all lines a breakpoint shows wherever there is one; nearly every column ends here.
        if not _shows(rows, j, beside(everything or (j,))):
            continue
        others = tuple(k for k in everything if k != j)
        for linear in dict.fromkeys(((), (j,), others, everything)):
            yield from _beside(rows, j, linear, beside(linear))


def earned(rows: Rows, share: float, before: float, constants: int) -> bool:
    """Whether going from one share of the spread to the other is worth as many constants, by description length."""
    M = len(rows.y)
    gain = 0.5 * M * math.log(max(before, 1e-30) / max(share, 1e-30))
    return gain > 0.5 * constants * math.log(M) + EARNED


def _shows(rows: Rows, j: int, beside: Beside) -> bool:
    """Whether a jump or a kink of column j beside a linear part is worth its constants."""
    for step in (True, False):
        b = beside.best(step, j)
        if b is not None and earned(rows, beside.joined(b.values(rows.X)).share, beside.share, 2):
            return True
    return False


def _beside(rows: Rows, j: int, linear: Sequence[int], beside: Beside) -> Iterator[Base]:
    """Laws with breakpoints in column j beside a linear part in given columns, where no polynomial of j does as well."""
    count, plain = 1 + len(linear), beside.share
    x = rows.X[:, j]
    u = (x - x.mean()) / float(np.ptp(x))
    others = [rows.X[:, k] for k in linear if k != j]
    curved: dict[int, float] = {}  # what polynomials leave, by their degree

    def wanted(share: float, before: float, constants: int) -> bool:
        if not earned(rows, share, before, constants) or 2 * (count + constants) > len(rows.y):
            return False
        degree = min(count + constants - 1 - len(others), 7)  # as many constants as the law
        if degree not in curved:
            curved[degree] = rows.beside([rows.ones, *others, *(u**d for d in range(1, degree + 1))]).share
        return share < curved[degree]

    for step in (True, False):
        first = beside.best(step, j)
        if first is None:
            continue
        with_first = beside.joined(first.values(rows.X))
        share = with_first.share
        if wanted(share, plain, 2):
            yield from one_break(rows, first, linear)
        if share < 1e-20:
            continue
        for other in (step, not step) if step else (step,):
            second = with_first.best(other, j)
            with_second = second and beside.joined(second.values(rows.X))
            again = with_second and with_second.best(step, j)
            if second is None or again is None or second.c == again.c:
                continue
            two = with_second.joined(again.values(rows.X)).share
            if earned(rows, two, min(share, plain), 2) and wanted(two, plain, 4):
                yield from two_breaks(rows, again, second, linear)


def one_break(rows: Rows, b: Break, linear: Sequence[int]) -> Iterator[Base]:
    """A linear part and one breakpoint."""
    x, name, c = rows.X[:, b.j], f"x{b.j + 1}", repr(b.c)
    lines = _lines(rows, linear)
    if b.step:
        above = b.values(rows.X)
        yield from with_coefficients(rows, [*lines, (("step", "-", name, c), above)])
        if b.j in linear:  # another line behind the jump
            _, (a, *slopes) = rows.fit([rows.ones, *(v for _, v in lines), above, above * x])
            *slopes, jump, more = (float(value * rows.scale) for value in slopes)
            if abs(more) * float(np.abs(x).max()) < NOTHING * rows.scale:
                return
            behind = summed([more], [(name,)], 0.0 if abs(jump) < NOTHING * rows.scale else jump)
            whole = ("*", *behind, "step", "-", name, c)
            yield summed([*slopes, 1.0], [*(form for form, _ in lines), whole], a * rows.scale)
        return
    yield from with_coefficients(rows, [*lines, (("abs", "-", name, c), np.abs(x - b.c))])
    if b.j not in linear:
        yield from with_coefficients(rows, [*lines, (("max", name, c), np.maximum(x, b.c))])
        yield from with_coefficients(rows, [*lines, (("min", name, c), np.minimum(x, b.c))])


def two_breaks(rows: Rows, a: Break, b: Break, linear: Sequence[int]) -> Iterator[Base]:
    """A linear part and two breakpoints of one column."""
    x, name = rows.X[:, a.j], f"x{a.j + 1}"
    lines = _lines(rows, linear)
    if not a.step and not b.step and a.j not in linear:
        low, high = sorted((a.c, b.c))
        clipped = ("min", "max", name, repr(low), repr(high))
        yield from with_coefficients(rows, [*lines, (clipped, np.clip(x, low, high))])
    parts = [
        (("step", "-", name, repr(k.c)), k.values(rows.X))
        if k.step
        else (("abs", "-", name, repr(k.c)), np.abs(x - k.c))
        for k in (a, b)
    ]
    yield from with_coefficients(rows, [*lines, *parts])


def _lines(rows: Rows, linear: Sequence[int]) -> list[tuple[Base, np.ndarray]]:
    return [((f"x{k + 1}",), rows.X[:, k]) for k in linear]


def with_coefficients(rows: Rows, parts: list[tuple[Base, np.ndarray]]) -> Iterator[Base]:
    """a + sum of c_i part_i by least squares, without terms of nothing."""
    _, (offset, *c) = rows.fit([rows.ones, *(values for _, values in parts)])
    kept = [part for part, factor in zip(parts, c) if abs(factor) * float(np.ptp(part[1])) > NOTHING]
    if not kept:
        return
    if len(kept) < len(parts):
        _, (offset, *c) = rows.fit([rows.ones, *(values for _, values in kept)])
    reach = max(1.0, *(abs(factor) * float(np.abs(v).max()) for factor, (_, v) in zip(c, kept)))
    offset = 0.0 if abs(offset) < NOTHING * reach else offset
    yield summed([whole(factor * rows.scale) for factor in c], [form for form, _ in kept], whole(offset * rows.scale))


def whole(value: float) -> float:
    """The whole number that a value is to rounding, or the value."""
    near = float(round(value)) if abs(value) < 1e15 else value
    return near if near and abs(value - near) < 1e-9 * abs(near) else float(value)


# ---- the larger or smaller of two -----------------------------------------------------------------


def planes(rows: Rows) -> Iterator[Base]:
    """min and max of two columns, and of two linear functions of the columns."""
    columns = rows.columns[:PLANES]
    if len(columns) < 2:
        return
    A = np.column_stack([rows.X[:, columns], rows.ones])
    size = np.abs(A).max(0)
    size[size == 0] = 1.0
    level = rows.beside([rows.ones])
    linear = rows.beside([rows.ones, *(rows.X[:, j] for j in columns)])
    plain, M = linear.share, len(rows.y)
    for i, j in itertools.combinations(columns, 2):
        for name, act in (("min", np.minimum), ("max", np.maximum)):
            values = act(rows.X[:, i], rows.X[:, j])
            share = level.joined(values).share if np.ptp(values) > 0 else math.inf
            if share < plain and earned(rows, share, 1.0, 1):
                yield from with_coefficients(rows, [((name, f"x{i + 1}", f"x{j + 1}"), values)])
    if M < 2 * A.shape[1] + 4:
        return
    squares = [rows.X[:, i] * rows.X[:, j] for i, j in itertools.combinations_with_replacement(columns, 2)]
    curved = plain
    if M > 3 * (len(squares) + A.shape[1]):
        curved = rows.beside([rows.ones, *(rows.X[:, j] for j in columns), *squares]).share
    best = math.inf
    starts = np.array(list(_divisions(A)))
    for sign, name in ((1.0, "max"), (-1.0, "min")):
        for share, p, q in _two_planes(
            A / size, rows.y * sign, rows.sw, starts, lambda: min(best, curved) * rows.spread
        ):
            share /= rows.spread
            if share < min(best, curved) * (1 - 1e-9) and earned(rows, share, plain, A.shape[1]):
                best = share
                yield from _larger(rows, name, sign * p / size, sign * q / size, columns)


def _divisions(A: np.ndarray) -> Iterator[np.ndarray]:
    """Which rows may be the first function's, to begin with: the upper half along each column, or along a pair of them."""
    D, M = A.shape[1] - 1, len(A)
    ranks = np.argsort(np.argsort(A[:, :D], axis=0, kind="stable"), axis=0)
    for j in range(D):
        yield 2 * ranks[:, j] >= M
    for i, j in itertools.islice(itertools.combinations(range(D), 2), PLANES):
        yield ranks[:, i] > ranks[:, j]
        yield ranks[:, i] + ranks[:, j] >= M


def _two_planes(A: np.ndarray, y: np.ndarray, sw: np.ndarray, starts: np.ndarray, most) -> Iterator[tuple]:
    """(sum of squares, p, q) with y near max(A p, A q) from each of the divisions of the rows `starts` (S, M), none with more than `most()`."""
    known: dict[bytes, tuple] = {}
    for first, square, division in zip(starts, *_settled(A * sw[:, None], y * sw, starts)):
        if square <= (1 + 1e-6) * most() + 1e-20 * len(y):
            key = division.tobytes()
            if key not in known:
                known[key] = _apart(A, y, sw, division)
            yield known[key]
        elif math.isnan(square):
            found = _alternate(A, y, sw, first)
            if found is not None:
                yield found


def _settled(W: np.ndarray, t: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """_alternate for many divisions (S, M) at once, on normal equations: (sums of squares (S,), divisions (S, M)).

    W (M, K) are the weighted columns, t (M,) the weighted target.  Infinite where a function has too few rows, NaN where its rows
    hardly tell its coefficients.
    """
    Q, R = np.linalg.qr(W)
    squares, divisions = np.full(len(first), math.inf), first.copy()
    K, size = W.shape[1], np.abs(np.diag(R))
    if not size.min() > 1e-10 * size.max():
        return np.full(len(first), math.nan), divisions
    products = (Q[:, :, None] * Q[:, None, :]).reshape(-1, K * K)
    goals, goal = Q * t[:, None], Q.T @ t
    active = np.arange(len(first))
    for _ in range(ROUNDS):
        count = first.sum(axis=1)
        going = np.minimum(count, len(t) - count) > K
        active, first = active[going], first[going]
        if not len(active):
            break
        mask = first.astype(float)
        # The other function's matrix is 1 less this one's, with the same vectors.
        share, V = np.linalg.eigh((mask @ products).reshape(-1, K, K))
        told = (share[:, 0] > TOLD) & (share[:, -1] < 1 - TOLD)
        squares[active[~told]] = math.nan
        active, first, mask, share, V = active[told], first[told], mask[told], share[told], V[told]
        b = mask @ goals  # (S, K)
        p, q = (
            (V @ ((c[:, None, :] @ V)[:, 0] / e)[:, :, None])[:, :, 0] for c, e in ((b, share), (goal - b, 1 - share))
        )
        one, other = p @ Q.T, q @ Q.T  # (S, M)
        left = np.square(t - np.maximum(one, other)).sum(axis=1)
        better = left < squares[active]
        active, first = active[better], first[better]
        squares[active], divisions[active] = left[better], first
        first = (one > other)[better]
    return squares, divisions


def _alternate(A: np.ndarray, y: np.ndarray, sw: np.ndarray, first: np.ndarray):
    """(sum of squares, p, q) with y near max(A p, A q), from a first division of the rows; None where one has too few."""
    best = None
    for _ in range(ROUNDS):
        if min(first.sum(), (~first).sum()) <= A.shape[1]:
            return best
        found = _apart(A, y, sw, first)
        if best is not None and not found[0] < best[0]:
            break
        best = found
        first = A @ found[1] > A @ found[2]
    return best


def _apart(A: np.ndarray, y: np.ndarray, sw: np.ndarray, first: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """(sum of squares, p, q) of least squares with p on the first rows, q on the others, and y near max(A p, A q)."""
    W, t = A * sw[:, None], y * sw
    p = np.linalg.lstsq(W[first], t[first], rcond=1e-10)[0]
    q = np.linalg.lstsq(W[~first], t[~first], rcond=1e-10)[0]
    left = (y - np.maximum(A @ p, A @ q)) * sw
    return float(left @ left), p, q


def _larger(rows: Rows, name: str, p: np.ndarray, q: np.ndarray, columns: list[int]) -> Iterator[Base]:
    """max or min of two linear functions, and the same as a linear function and a multiple of an absolute value."""
    reach = np.append(np.abs(rows.X[:, columns]).max(0), 1.0)

    def line(v: np.ndarray) -> Base:
        v = np.where(np.abs(v) * reach > 1e-7, v, 0.0) * rows.scale
        return summed([whole(c) for c in v[:-1]], [(f"x{j + 1}",) for j in columns], whole(float(v[-1])))

    yield (name, *line(p), *line(q))
    middle, half = (p + q) / 2, (p - q) / 2
    lead = int(np.argmax(np.abs(half[:-1]) * reach[:-1]))
    if half[lead] == 0:
        return
    outer = abs(half[lead]) * (1.0 if name == "max" else -1.0)
    inside = half / half[lead]
    inside = np.where(np.abs(inside) * reach > 1e-7 * reach[lead], inside, 0.0)
    body = (
        "abs",
        *summed([whole(c) for c in inside[:-1]], [(f"x{j + 1}",) for j in columns], whole(float(inside[-1]))),
    )
    middle = np.where(np.abs(middle) * reach > 1e-7, middle, 0.0) * rows.scale
    terms: list[Base] = [*((f"x{j + 1}",) for j in columns), body]
    yield summed([*(whole(c) for c in middle[:-1]), whole(outer * rows.scale)], terms, whole(float(middle[-1])))
