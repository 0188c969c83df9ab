"""The parts of good candidates that are wrong, as problems of their own: a proposer that looks at what the others found.

Every part of a candidate that depends on one or two columns would have to take certain values for the whole to be right
(parts/wanted_values.py).  Where what is missing there follows a smooth function of one combination of those columns, the
part is wrong and the rest may be right: the curves of one column are asked for the wanted values, their answers are put in
the part's place and the whole is refitted.  Several parts may be wrong at once: what the whole lacks is then a sum of
smooth functions, one for each part, to first order, which tells them apart.

So a search that has come near a law, with a function it does not have spelled out of others, arrives at it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from itertools import product as every
from typing import NamedTuple

import numpy as np

from fansr.expressions import Tree, bind, from_tree, literal_value, to_tree
from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers import few_term_sums, power, rational
from fansr.proposers.curves_under_functions import CurvesUnderFunctions
from fansr.proposers.decomposition import pair_tests
from fansr.proposers.parts import reductions as cut
from fansr.proposers.parts.candidates import proposals
from fansr.proposers.parts.expression_assembly import Base
from fansr.proposers.parts.polynomial_surrogate import Surrogate
from fansr.proposers.parts.reductions import Reduction
from fansr.proposers.parts.terms import thinned
from fansr.proposers.parts.wanted_values import KNOWN, Part, Place, part_of, places

MIN_ROWS, ROWS = 40, 256  # rows of a problem, and those that are looked at
LEADING = 12  # candidates of the pool that are looked at
WORST, EXACT, LONGEST = 0.3, 1e-20, 60  # FVUs and tokens of candidates that are
GAIN = 2.0  # what is missing must be so many times less beside a smooth function of a part's columns
NEWS = 100.0  # times a candidate must be better for the same part of the same whole to be looked at again
ALIKE = 2  # parts of one combination that are tried, the largest first
NEAR = 0.1  # disagreement of a part's gradients with a combination
LOST = 0.1  # share of the rows where nothing may be wanted
HUGE = 1e12
STEEP = 5.0  # times the median slope that a row counts for at most: a pole's must not count for all
WORST_ROWS = 0.05  # left out of a mean square
SHIFT = 1e-5  # of a column, for gradients
TOKEN, COLUMN = 0.1, 1.0  # decades of FVU that a token of what stays and a second column cost in the order of tasks
# Parts that are wrong at once, linear pieces of each one's function, the share of what is missing that these may leave, and the
# share that a part must account for to be looked for.
MOST_PARTS, PIECES, UNEXPLAINED, MOVED = 5, 9, 0.3, 0.02
CHOICES, COMBINED = 4, 20  # curves for each part, of each way to look at its column; combinations of them
POLISHED = 20  # laws of a batch whose constants are refitted
COUNT = 30  # tasks without a clock, times budget.work


class Task(NamedTuple):
    """Smaller problems for parts of a candidate: `promise` orders tasks, the least first."""

    reduction: Reduction
    promise: float


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None) -> Iterator[list[Candidate]]:
    """Candidates with other parts, refitted whole; FVUs on the problem's rows (thinned to some thousands).

    It has something to say while the pool's leaders change; with a clock it yields [] where it has not, without one it ends.
    """
    problem = thinned(problem, rng)
    M, D = problem.X.shape
    if M < MIN_ROWS or D < 2 or pool is None or not np.ptp(problem.y) > 0:
        return
    yield from proposals(problem, "mend", _batches(problem, budget, rng, pool), budget, POLISHED, math.inf)


def _batches(problem: Problem, budget: Budget, rng: np.random.Generator, pool) -> Iterator[list[Base]]:
    """Laws of one task after the other, the most promising first; a candidate is looked at when it has come to the front."""
    finder, curves = Finder(problem, rng), CurvesUnderFunctions()
    waiting: list[tuple[float, int, Task]] = []
    seen: set[tuple] = set()
    count, left = 0, COUNT * budget.work if budget.seconds is None else math.inf
    before: list[Candidate] = []
    fresh: list[Candidate] = []
    while left > 0:
        leading = pool[:LEADING]
        if fresh or len(leading) != len(before) or any(a is not b for a, b in zip(leading, before)):
            before, fresh = leading, [c for c in leading if tuple(c.expr) not in seen and finder.knows(c)]
        if fresh:
            candidate = fresh.pop(0)
            seen.add(tuple(candidate.expr))
            for task in finder.tasks(candidate):
                count += 1
                heapq.heappush(waiting, (task.promise, count, task))
        if not waiting:
            if budget.seconds is None and not fresh:
                return
            yield []
            continue
        left -= 1
        reduction = heapq.heappop(waiting)[-1].reduction
        if len(reduction.problems) > 1:
            yield from _at_once(reduction, curves)
        elif len(reduction.problems[0].names) > 1:
            yield from cut.solve([reduction], OF_TWO, budget, rng)
        else:
            for laws in curves.laws(reduction.problems[0], reduction.floors[0]):
                yield [reduction.restore(law) for law in laws]


OF_TWO = [cut.asked(propose) for propose in (power.propose, few_term_sums.propose, rational.propose)]


def _at_once(reduction: Reduction, curves: CurvesUnderFunctions) -> Iterator[list[Base]]:
    """The best curves for several parts in all likely combinations; a part may also stay as it is."""
    choices: list[list[Base | None]] = []
    for problem, floor in zip(reduction.problems, reduction.floors):
        found = [law for laws in curves.of_one_term(problem, floor) for law in laws[:CHOICES]]
        choices.append([*found, None])
        yield []
    ways = sorted(every(*(range(len(options)) for options in choices)), key=lambda way: (sum(way), way))
    chosen = [[options[i] for options, i in zip(choices, way)] for way in ways[:COMBINED]]
    yield [reduction.restore(*laws) for laws in chosen if any(law is not None for law in laws)]


class Finder:
    """What is wrong with candidates for one problem, on some of its rows: each part of each whole is named once."""

    def __init__(self, problem: Problem, rng: np.random.Generator):
        rows = np.sort(rng.permutation(len(problem.y))[:ROWS])
        self.names = problem.names
        self.X, self.y = np.ascontiguousarray(problem.X[rows]), problem.y[rows]
        self.sw = np.ones(len(rows)) if problem.weights is None else np.sqrt(problem.weights[rows])
        self.met: dict[tuple, float] = {}  # FVU of the candidate for which a part was named last

    def knows(self, candidate: Candidate) -> bool:
        """Whether a candidate is one to look at."""
        operators = all(literal_value(t) is not None or t[0] in "x<" or t in KNOWN for t in candidate.expr)
        return EXACT < candidate.fvu < WORST and len(candidate.expr) <= LONGEST and operators

    @np.errstate(all="ignore")
    def tasks(self, candidate: Candidate) -> list[Task]:
        """Smaller problems for its wrong parts, for one part at a time and for several at once."""
        whole = part_of(to_tree(bind(candidate.expr, candidate.consts)), self.X)
        several = self._several(whole, candidate.fvu)
        return [*self._single(whole, candidate.fvu), *([several] if several else [])]

    def _new(self, key: tuple, fvu: float) -> bool:
        """Whether a part was not named yet, or only of a much worse whole."""
        return not self.met.get(key, math.inf) < NEWS * fvu

    # -- one part

    def _single(self, whole: Part, fvu: float) -> list[Task]:
        found: dict[tuple, list[tuple[int, tuple, Task]]] = {}
        for place in places(whole, self.y, self.sw):
            looked = self._look(place, fvu)
            if looked is not None:
                frame, name, task = looked
                found.setdefault(name, []).append((len(frame), (frame, name), task))
        largest = [one for alike in found.values() for one in sorted(alike, key=lambda one: one[0])[:ALIKE]]
        for _, key, _ in largest:
            self.met[key] = fvu
        return [task for _, _, task in largest]

    def _look(self, place: Place, fvu: float) -> tuple[tuple, tuple, Task] | None:
        """(what stays, combination, task) of a part, if a smooth function in its place would be better."""
        part, columns = place.part, sorted(place.part.columns)
        good = np.isfinite(place.wanted) & np.isfinite(place.slope) & (place.slope != 0) & np.isfinite(part.values)
        good &= np.abs(place.wanted) < HUGE
        if good.sum() < max(MIN_ROWS, (1 - LOST) * len(good)):
            return None
        wanted, w = place.wanted[good], capped(place.slope[good])
        missing = wanted - part.values[good]
        looks: list[tuple[float, tuple, list[tuple[Base, np.ndarray]]]] = []
        for base, u in self._combinations(part):
            looks.append((scatter(u[good], missing, w), (base,), [(base, u[good])]))
        if len(columns) > 1 and all(share > 1 / GAIN for share, _, _ in looks):
            pieces: list[tuple[Base, np.ndarray]] = [((f"x{j + 1}",), self.X[good, j]) for j in columns]
            share = Surrogate(self.X[good][:, columns], missing, "y").error
            looks.append((share, tuple(columns), pieces))
        if not looks:
            return None
        share, name, pieces = min(looks, key=lambda look: look[0])
        frame = without_numbers(place.put("hole"))
        if share > 1 / GAIN or not self._new((frame, name), fvu):
            return None
        spread = mean_square(wanted - np.average(wanted, weights=w), w)
        floor = share * mean_square(missing, w) / spread if spread > 0 else math.inf
        whole = Problem(X=self.X[good], y=wanted, names=list(self.names), weights=w)
        reduction = cut.in_columns(whole, pieces, None, lambda law: tuple(from_tree(place.put(to_tree(list(law))))))
        promise = math.log10(max(fvu * share, 1e-16)) + TOKEN * len(frame) + COLUMN * (len(pieces) - 1)
        return frame, name, Task(reduction._replace(floors=(floor,)), promise)

    def _combinations(self, part: Part) -> Iterator[tuple[Base, np.ndarray]]:
        """What a part may be a function of: its column, or combinations of its two that its gradients agree with."""
        columns = sorted(part.columns)
        if len(columns) == 1:
            yield (f"x{columns[0] + 1}",), self.X[:, columns[0]]
            return
        G = np.zeros(self.X.shape)
        for j in columns:
            moved = self.X.copy()
            step = SHIFT * np.maximum(np.abs(moved[:, j]), 1e-3 * np.ptp(moved[:, j]))
            moved[:, j] += step
            G[:, j] = (part_of(part.tree, moved).values - part.values) / step
        good = np.isfinite(G).all(axis=1)
        if good.mean() < 1 - LOST:
            return
        sample = Problem(X=self.X[good], y=part.values[good], names=list(self.names))
        tests = [test for test in pair_tests(sample, G[good], *columns) if test[0] <= NEAR]
        for _, base, _ in sorted(tests, key=lambda test: test[0])[:3]:
            yield tuple(base), part_of(to_tree(list(base)), self.X).values

    # -- several parts

    def _several(self, whole: Part, fvu: float) -> Task | None:
        """The parts that are wrong at once: what is missing as a sum of functions of one combination each."""
        tree, holes = self._taken_out(whole)
        if len(holes) < 2:
            return None
        frame = without_numbers(tree)
        key = (frame, *(base for _, base, _ in holes))
        if not self._new(key, fvu):
            return None
        slopes = np.column_stack([place.slope for place, _, _ in holes])
        steepest = np.abs(slopes).max(axis=1)
        rows = np.minimum(1.0, STEEP * np.median(steepest) / steepest)
        missing = self.sw * (self.y - whole.values) * rows
        kept = np.abs(missing) <= np.quantile(np.abs(missing), 1 - WORST_ROWS)
        blocks = [linear_pieces(u) for _, _, u in holes]
        A = np.column_stack([(slope * rows)[:, None] * B for slope, B in zip(slopes.T, blocks)])
        if not (np.isfinite(A).all() and np.isfinite(missing).all()):
            return None
        size = np.sqrt((A[kept] ** 2).mean(axis=0)) + 1e-300
        A, b = A[kept] / size, missing[kept]
        # Constants may go from one part to another: a little of a penalty says where.
        c = np.linalg.solve(A.T @ A + 1e-6 * len(b) * np.eye(len(size)), A.T @ b) / size
        left = float(((b - A @ (c * size)) ** 2).sum()) / max(1, len(b) - len(c))
        share = left / (float((b**2).mean()) or 1.0)
        if share > UNEXPLAINED:
            return None
        moves = np.split(c, np.cumsum([B.shape[1] for B in blocks])[:-1])
        moves = [B @ move for B, move in zip(blocks, moves)]
        weighed = [float(np.mean((rows * slope * move)[kept] ** 2)) for slope, move in zip(slopes.T, moves)]
        wrong = [k for k, v in enumerate(weighed) if v > MOVED * float((b**2).mean())]
        if not wrong:
            return None
        self.met[key] = fvu
        problems, floors = [], []
        for k in wrong:
            place, base, u = holes[k]
            w, wanted = capped(place.slope), place.part.values + moves[k]
            spread = mean_square(wanted - np.average(wanted, weights=w), w)
            problems.append(Problem(X=u[:, None], y=wanted, names=[" ".join(base)], weights=w))
            floors.append(share * mean_square(moves[k], w) / spread if spread > 0 else 0.0)

        def restore(*laws) -> Base:
            parts: dict[str, Tree] = {_hole(k): place.part.tree for k, (place, _, _) in enumerate(holes)}
            for k, law in zip(wrong, laws):
                if law is not None:
                    parts[_hole(k)] = to_tree(list(cut.written(law, [holes[k][1]])))
            return tuple(from_tree(_filled(tree, parts)))

        promise = math.log10(max(fvu * share, 1e-16)) + TOKEN * (len(frame) + 4 * len(wrong))
        return Task(Reduction(tuple(problems), restore, share, tuple(floors)), promise)

    def _taken_out(self, whole: Part) -> tuple[Tree, list[tuple[Place, Base, np.ndarray]]]:
        """(the whole with holes, what stood in each: place, combination and its values), the largest parts first."""
        tree, holes = whole.tree, []
        known: dict[str, Part] = {}
        while len(holes) < MOST_PARTS:
            best = None
            for place in places(part_of(tree, self.X, known), self.y, self.sw):
                inside = from_tree(place.part.tree)
                taken = any(place.part.columns <= part.columns for part in known.values())
                if taken or (best is not None and len(inside) <= best[0]) or any(token in known for token in inside):
                    continue
                if np.isfinite(place.slope).all() and np.isfinite(place.part.values).all():
                    combination = next(self._combinations(place.part), None)
                    if combination is not None:
                        best = len(inside), place, combination
            if best is None:
                break
            _, place, (base, u) = best
            known[_hole(len(holes))] = place.part
            tree = place.put(_hole(len(holes)))
            holes.append((place, base, u))
        return tree, holes


def _hole(k: int) -> str:
    return f"hole{k}"


def _filled(tree: Tree, parts: dict[str, Tree]) -> Tree:
    """A tree with its holes filled."""
    if isinstance(tree, str):
        return parts.get(tree, tree)
    return (tree[0], *(_filled(child, parts) for child in tree[1:]))


# ---- what is missing --------------------------------------------------------------------------


def without_numbers(tree: Tree) -> tuple[str, ...]:
    """The tokens of a tree, one for all numbers."""
    return tuple("c" if literal_value(token) is not None else token for token in from_tree(tree))


def capped(slope: np.ndarray) -> np.ndarray:
    """Weights (n,) of rows for errors of a part: squares of the slopes there, none much larger than the median."""
    size = np.abs(slope)
    return np.minimum(size / (float(np.median(size)) or 1.0), STEEP) ** 2


def mean_square(residuals: np.ndarray, w: np.ndarray) -> float:
    """The weighted mean square of all but the worst rows."""
    squares = np.sort(w * residuals**2)
    return float(squares[: math.ceil((1 - WORST_ROWS) * len(squares))].mean())


def scatter(u: np.ndarray, missing: np.ndarray, w: np.ndarray) -> float:
    """The share of what is missing that is no smooth function of u: how far each row is from the line through its neighbours.

    1 for noise, whatever the spacing; near 0 for a smooth function of u.
    """
    order = np.argsort(u, kind="stable")
    x, t, w = u[order], missing[order], w[order]
    span = x[2:] - x[:-2]
    a = np.where(span > 0, (x[1:-1] - x[:-2]) / np.where(span > 0, span, 1.0), 0.5)
    line = t[:-2] + a * (t[2:] - t[:-2])
    whole = mean_square(t[1:-1], w[1:-1])
    off = (t[1:-1] - line) / np.sqrt(1 + a * a + (1 - a) ** 2)
    return mean_square(off, w[1:-1]) / whole if whole > 0 else math.inf


def linear_pieces(u: np.ndarray, count: int = PIECES) -> np.ndarray:
    """(n, up to count) hat functions on quantiles of u; sums of them are the piecewise linear functions."""
    knots: Sequence[float] = np.unique(np.quantile(u, np.linspace(0, 1, count)))
    return np.column_stack([np.interp(u, knots, row) for row in np.eye(len(knots))])
