"""Ways of asking the network within a search, each with random draws of the same prior put to the same question.

    parts      the smaller problems that decomposition yields, once algebra has been asked about all of them
    views      the whole table, by turns as y, y^2, 1/y^2, log y, 1/y and exp y
    parents    its draws for each of the local search's views join the first population there, and every fresh start
    groups     the two parts of a table cut in two by its columns (column_splits.py), each known nearly; cut again where wide
    holes      for a place in one of the best laws so far and the values wanted there: the subtree as a problem of its own

`NAME-control` is the same way with the control; network_worth.py measures them.  What wins belongs into fansr/proposers.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

import numpy as np

from bench.asking.column_splits import splits
from fansr.expressions import ARITY, CONSTANT, bind, evaluate, literal_value
from fansr.fitting import Budget, Candidate, Problem, Refiner
from fansr.network import sample
from fansr.proposers import composites, decomposition, power, rational
from fansr.proposers.local_search import evolve
from fansr.proposers.local_search.genome_canonical_form import canonical_rows
from fansr.proposers.local_search.genome_to_expression import to_codes
from fansr.proposers.local_search.genomes import WIDTH, Genomes
from fansr.proposers.local_search.island import POPULATION, Island
from fansr.proposers.parts.candidates import proposals, rough_score
from fansr.search.roster import PROPOSERS

WAYS = ("parts", "views", "parents", "holes", "groups")
DRAWS = {"parts": 191, "views": 4096, "parents": 63, "holes": 63}  # for one question (views: for all)
COLUMNS = 3  # of a smaller problem, at most
ROWS = 256  # of a smaller problem that are fitted
EXACT = 1e-20


@dataclass
class Asked:
    """Who is asked, and what came of it in one search."""

    control: bool = False
    algebra: bool = False  # the quick proposers in its place, for groups alone
    model: str | None = None
    asked: int = 0
    solved: int = 0
    asking: float = 0.0  # processor seconds
    seen: set = field(default_factory=set)

    def draws(self, problem: Problem, budget: Budget, rng, n: int) -> Iterator[list[Candidate]]:
        """Unfitted candidates for a problem, in rounds."""
        propose = sample.propose_control if self.control else sample.propose
        rounds = propose(problem, budget, rng, samples=n, model=self.model)
        self.asked += 1
        while True:
            begun = time.process_time()
            batch = next(rounds, None)
            self.asking += time.process_time() - begun
            if batch is None:
                return
            yield batch

    def answers(
        self, problem: Problem, budget: Budget, rng, n: int, keep: int = 6, floor: float = 0.0, linear: bool = False
    ) -> Iterator[list[Candidate]]:
        """The best of them, fitted, alone or (linear) as c0 + c1 * law; FVUs below the floor cannot be told apart."""
        rows = rng.permutation(len(problem.y))[:ROWS]
        weights = None if problem.weights is None else problem.weights[rows]
        refiner = Refiner(problem.X[rows], problem.y[rows], restarts=4, weights=weights)
        for batch in self.draws(problem, budget, rng, n):
            if linear:
                batch = [Candidate(["+", "*", CONSTANT, *c.expr, CONSTANT]) for c in batch]
            begun = time.process_time()
            for candidate, fvu, consts in zip(batch, *(refiner.fit([c.expr for c in batch]) if batch else ([], []))):
                candidate.fvu, candidate.consts = float(fvu), consts
            found = sorted((c for c in batch if np.isfinite(c.fvu)), key=lambda c: rough_score(c, floor))[:keep]
            self.asking += time.process_time() - begun
            yield found
            if found and found[0].fvu < EXACT:
                self.solved += 1
                return


STATE = Asked()


def proposers(arm: str, names: tuple[str, ...]) -> tuple[str, ...]:
    """The roster of an arm: where a way is a proposer, it comes where the network does, before the local search."""
    way = arm.removesuffix("-control").removesuffix("-algebra")
    if way not in ("views", "holes", "groups"):
        return names
    at = len(names) - 1 if way != "groups" else names.index("library")
    return (*names[:at], "asked", *names[at:])


@contextlib.contextmanager
def asked(arm: str, model: str | None = None):
    """Within it searches ask as the arm says; gives a dict that holds the counts afterwards."""
    global STATE
    STATE = Asked(arm.endswith("-control"), arm.endswith("-algebra"), model)
    tally: dict = {}
    way = arm.removesuffix("-control").removesuffix("-algebra")
    grow, lists = Island.grow, (composites.SOLVERS, composites.SHIFTED, decomposition.SOLVERS)
    if way == "parts":
        for solvers in lists:
            solvers.append(_parts)
    elif way == "parents":
        Island.grow = _grow
    elif way in ("views", "holes", "groups"):
        PROPOSERS["asked"] = ("bench.asking.ways", f"propose_{way}", 8.0 if way == "groups" else 1.0)
    try:
        yield tally
    finally:
        Island.grow = grow
        PROPOSERS.pop("asked", None)
        for solvers in lists:
            if _parts in solvers:
                solvers.remove(_parts)
        tally |= {"asked": STATE.asked, "solved": STATE.solved, "asking": round(STATE.asking, 3)}


# ---- parts ------------------------------------------------------------------------------------


def _parts(problem: Problem, floor: float, budget: Budget, rng) -> Iterator[list[Candidate]]:
    """A solver of small problems, each asked about once in a search."""
    if not 1 <= problem.X.shape[1] <= COLUMNS or not np.ptp(problem.y) > 0:
        return
    key = decomposition._fingerprint(problem)
    if key in STATE.seen:
        return
    STATE.seen.add(key)
    yield from STATE.answers(problem, budget, rng, DRAWS["parts"])


# ---- views ------------------------------------------------------------------------------------


def propose_views(problem: Problem, budget: Budget, rng, pool=None) -> Iterator[list[Candidate]]:
    """The views of the target in turn."""
    turns = []
    for outside, target, _, _ in evolve.views(problem.y):
        viewed = Problem(problem.X, target, problem.names)
        turns.append((outside, STATE.draws(viewed, budget, rng, DRAWS["views"])))
    while turns:
        outside, rounds = turns.pop(0)
        batch = next(rounds, None)
        if batch is not None:
            yield [Candidate([*outside, *c.expr], source="asked") for c in batch]
            turns.append((outside, rounds))


# ---- parents ----------------------------------------------------------------------------------

_ORIGINAL = Island.grow


def _grow(self, n, jobs=1, over=None):
    """Draws for the island's target among the genomes that it begins with."""
    if n == POPULATION and not (over is not None and over()):
        X = np.ascontiguousarray(self.refiner.columns.T)
        rng = np.random.default_rng(int(self.state[0]) % (1 << 62))
        problem = Problem(X, np.array(self.refiner.y), [f"x{j + 1}" for j in range(X.shape[1])])
        batches = list(STATE.draws(problem, Budget(None), rng, DRAWS["parents"]))
        rows, made = self._empty(sum(map(len, batches))), 0
        for candidate in (c for batch in batches for c in batch):
            codes, values = to_codes(candidate.expr, rng.normal(0.0, 2.0, 32))
            if len(codes) <= WIDTH:
                rows["G"][made, : len(codes)], rows["W"][made, : len(codes)], rows["lengths"][made] = (
                    codes,
                    values,
                    len(codes),
                )
                made += 1
        made = canonical_rows(Genomes(rows["G"][:made], rows["W"][:made], rows["lengths"][:made]), self.limits)
        self.judge(rows["G"], rows["W"], rows["lengths"], made, jobs, over)
    _ORIGINAL(self, n, jobs, over)


# ---- groups -----------------------------------------------------------------------------------

QUICK = (  # asked first, about every part
    lambda problem, floor, budget, rng: power.propose(problem, budget, rng),
    composites._one_column(False),
    lambda problem, floor, budget, rng: rational.propose(problem, budget, rng),
)
TURN = 0.5  # seconds at once, where a cut holds
CUTS = 2  # followed
ALGEBRA = 0
ORDER = (127, ALGEBRA, 255, 511, 512, 1023, 1024)  # draws for each part that is not answered yet
KNOWN = 3.0  # times its floor: a part whose law errs less is answered
SHARP = 1e-3  # a part known no better has no answer that ends the asking
SHORT = 14  # tokens of a law that answers; a long one may follow anything
PARTS_KEPT, TOGETHER = 6, 16


def propose_groups(problem: Problem, budget: Budget, rng, pool=None) -> Iterator[list[Candidate]]:
    """Laws of the parts put together and polished on the whole."""
    held, begun = [], time.process_time()
    for batch in proposals(problem, "asked", _from_groups(problem, budget, rng), budget, 6, 6.0):
        held += batch
        if time.process_time() - begun > TURN or any(c.fvu < EXACT for c in batch):
            yield held
            held, begun = [], time.process_time()
    yield held


def _from_groups(problem: Problem, budget: Budget, rng, depth: int = 0) -> Iterator[list]:
    found = []
    for reduction in splits(problem, rng):
        if reduction is None:
            yield []
        else:
            found.append(reduction)
        if budget.over():
            return
    cuts = [_Cut(reduction, rng, depth) for reduction in found[:CUTS]]
    for stage in ORDER if not STATE.algebra else (ALGEBRA,):
        for cut in cuts:
            yield from cut.stage(stage, budget)
            if budget.over():
                return


class _Cut:
    """A table cut in two, and what is known of the parts so far."""

    def __init__(self, reduction, rng, depth):
        self.reduction, self.rng, self.depth = reduction, rng, depth
        self.parts = [_Part(p, floor, rng, depth) for p, floor in zip(reduction.problems, reduction.floors)]
        self.tried: set = set()

    def stage(self, stage: int, budget: Budget) -> Iterator[list]:
        for part in self.parts:
            if not part.answered():
                for _ in part.ask(stage, budget):
                    yield []
                    if budget.over():
                        return
        places = sorted(product(*(range(len(part.best)) for part in self.parts)), key=sum)
        laws = []
        for place in places:
            some = [part.best[i] for part, i in zip(self.parts, place)]
            key = tuple(tuple(c.expr) for c in some)
            if key not in self.tried and len(laws) < TOGETHER:
                self.tried.add(key)
                laws.append(self.reduction.restore(*(bind(c.expr, c.consts) for c in some)))
        if laws:
            yield laws


class _Part:
    """One part: its problem, how well it is known, and the best laws for it."""

    def __init__(self, problem, floor, rng, depth):
        self.problem, self.floor, self.rng, self.depth = problem, floor, rng, depth
        self.best: list[Candidate] = []
        self.rows = rng.permutation(len(problem.y))[:ROWS]
        self.refiner = Refiner(problem.X[self.rows], problem.y[self.rows], restarts=4)
        self.seen: set = set()
        self.views = [((), problem.y)]
        if problem.target == "factor":
            y = problem.y / np.exp(np.mean(np.log(problem.y)))
            self.views += [(("exp",), np.log(y)), (("pow1_2",), y * y), (("inv",), 1 / y)]

    def answered(self) -> bool:
        return self.floor < SHARP and any(c.fvu <= KNOWN * self.floor and c.length <= SHORT for c in self.best)

    def take(self, found):
        merged = {tuple(c.expr): c for c in sorted((*found, *self.best), key=lambda c: -rough_score(c, self.floor))}
        self.best = sorted(merged.values(), key=lambda c: rough_score(c, self.floor))[:PARTS_KEPT]

    def ask(self, stage: int, budget: Budget) -> Iterator[None]:
        if stage == ALGEBRA:
            for solver in QUICK:
                for batch in solver(self.problem, self.floor, budget, self.rng):
                    self.take([c for c in batch if c.consts is not None and np.isfinite(c.fvu)])
                    yield None
                    if self.answered():
                        return
        elif self.problem.X.shape[1] > COLUMNS:
            if stage == 255 and self.depth == 0:
                laws = _from_groups(self.problem, budget, self.rng, 1)
                for batch in proposals(self.problem, "asked", laws, budget, 4, 6.0, self.floor):
                    self.take(
                        sorted((c for c in batch if np.isfinite(c.fvu)), key=lambda c: rough_score(c, self.floor))[
                            :PARTS_KEPT
                        ]
                    )
                    yield None
                    if self.answered():
                        return
        elif not STATE.algebra:
            self.draw(stage, budget)
            yield None

    def draw(self, n: int, budget: Budget):
        begun = time.process_time()
        STATE.asked += 1
        shown, outside, refiner = self.problem.y, (), self.refiner
        if self.problem.target == "summand":  # whose zero nobody knows: each time another
            shown = shown - shown.min() + 10 ** self.rng.uniform(-1.3, 0.5) * np.ptp(shown)
        else:  # positive, its size unknown: each time another view of it
            outside, shown = self.views[len(self.seen) and STATE.asked % len(self.views)]
            refiner = Refiner(self.problem.X[self.rows], shown[self.rows], restarts=4)
        problem = Problem(self.problem.X, shown, self.problem.names)
        if STATE.control:
            drawn = [
                c
                for batch in sample.propose_control(problem, Budget(None), self.rng, samples=n, model=STATE.model)
                for c in batch
            ]
        else:
            network, training = sample.load(STATE.model)
            view = sample.show(problem, network.config, training["settings"], self.rng)
            drawn, _ = sample.finish(sample.draw_laws(network, view, n, self.rng), view)
        fresh = [c for c in drawn if (outside, *c.expr) not in self.seen]
        self.seen |= {(outside, *c.expr) for c in fresh}
        wrap = ["+", "*", CONSTANT], [CONSTANT]
        found = [Candidate([*wrap[0], *c.expr, *wrap[1]]) for c in fresh if c.length < 25]
        for candidate, fvu, consts in zip(found, *(refiner.fit([c.expr for c in found]) if found else ([], []))):
            candidate.fvu, candidate.consts, candidate.expr = float(fvu), consts, [*outside, *candidate.expr]
        self.take([c for c in found if np.isfinite(c.fvu) and c.consts is not None])
        STATE.solved += self.answered()
        STATE.asking += time.process_time() - begun


# ---- holes ------------------------------------------------------------------------------------


def propose_holes(problem: Problem, budget: Budget, rng, pool=None) -> Iterator[list[Candidate]]:
    """Subtrees for places in the leading candidates, put into them and polished."""
    yield from proposals(problem, "asked", _filled(problem, budget, rng, pool), budget, 3, 3.0)


def _filled(problem: Problem, budget: Budget, rng, pool) -> Iterator[list[list[str]]]:
    tried: set = set()
    for _ in range(1000):
        leaders = [c for c in list(pool or [])[:12] if c.consts is not None and c.length <= 40]
        if not leaders or budget.over():
            return
        candidate = leaders[min(int(len(leaders) * rng.random() ** 2), len(leaders) - 1)]
        law = bind(candidate.expr, candidate.consts)
        places = [p for p in range(len(law)) if literal_value(law[p]) is None]
        p = int(rng.choice(places))
        mode = int(rng.integers(3))  # instead of what stands there, added to it, times it
        if (tuple(candidate.expr), p, mode) in tried:
            yield []
            continue
        tried.add((tuple(candidate.expr), p, mode))
        smaller = wanted(law, p, mode, problem, rng)
        if smaller is None:
            yield []
            continue
        part, columns = smaller
        stop = end(law, p)
        for found in STATE.answers(part, budget, rng, DRAWS["holes"], 4):
            laws = []
            for c in found:
                term = [f"x{columns[int(t[1:]) - 1] + 1}" if t[0] == "x" else t for t in bind(c.expr, c.consts)]
                inside = [term, ["+", *law[p:stop], *term], ["*", *law[p:stop], *term]][mode]
                laws.append([*law[:p], *inside, *law[stop:]])
            yield laws


def end(law, p: int) -> int:
    """Index after the subtree at p."""
    missing = 1
    while missing:
        missing += ARITY.get(law[p], 0) - 1
        p += 1
    return p


@np.errstate(all="ignore")
def wanted(law, p: int, mode: int, problem: Problem, rng) -> tuple[Problem, list[int]] | None:
    """(The problem of what should stand at p, its columns in the table); None where too few rows say so."""

    def values(i):
        return evaluate(list(law[i : end(law, i)]), problem.X, np.zeros(0))

    target, k = problem.y.astype(float), 0
    while k < p:
        token, first = law[k], k + 1
        if ARITY[token] == 2:
            second = end(law, first)
            left = p < second
            child, other = (first, values(second)) if left else (second, values(first))
        else:
            left, child, other = True, first, None
        target = undone(token, left, target, other, values(child))
        if target is None:
            return None
        k = child
    if mode:
        now = values(p)
        target = target - now if mode == 1 else target / now
    ok = np.isfinite(target) & (np.abs(target) < 1e30)
    if ok.mean() < 0.7:
        return None
    X, target = problem.X[ok], target[ok]
    if not np.ptp(target) > 1e-9 * np.abs(target).max():
        return None
    # The columns by what a cubic of each says of the target; not always the same ones.
    t = (target - target.mean()) / target.std()
    shares = []
    for v in X.T:
        z = (v - v.mean()) / max(v.std(), 1e-300)
        A = np.column_stack([np.ones(len(z)), z, z**2, z**3])
        shares.append(float(np.sum((A @ np.linalg.lstsq(A, t, rcond=None)[0]) ** 2)))
    order = np.argsort(-(np.array(shares) * rng.uniform(0.7, 1.3, len(shares))))
    columns = sorted(int(j) for j in order[: int(rng.integers(1, COLUMNS + 1))])
    return Problem(np.ascontiguousarray(X[:, columns]), target, [f"x{j + 1}" for j in columns]), columns


def undone(token: str, left: bool, t, other, now):
    """The operand that makes `token` give t, on the branch nearest to `now`; None for operators without an inverse here."""
    if token in ("+", "-", "*", "/"):
        return {
            "+": lambda: t - other, "-": lambda: t + other if left else other - t, "*": lambda: t / other,
            "/": lambda: t * other if left else other / t,
        }[token]()  # fmt: skip
    if token in ("sin", "cos"):
        x = np.arcsin(t) if token == "sin" else np.arccos(t)
        y = np.pi - x if token == "sin" else -x
        x, y = (v + 2 * np.pi * np.rint((now - v) / (2 * np.pi)) for v in (x, y))
        return np.where(np.abs(x - now) <= np.abs(y - now), x, y)
    if token in ("pow2", "pow4"):
        return np.copysign(np.where(t >= 0, np.abs(t), np.nan) ** (1 / int(token[3])), now)
    if token in ("pow1_2", "pow1_4"):
        return np.where(t >= 0, t, np.nan) ** int(token[-1])
    plain = {
        "neg": lambda: -t, "inv": lambda: 1 / t, "exp": lambda: np.log(t), "log": lambda: np.exp(t), "tanh": lambda: np.arctanh(t),
        "pow3": lambda: np.cbrt(t), "pow1_3": lambda: t**3, "atan": lambda: np.tan(t), "abs": lambda: np.copysign(t, now),
    }  # fmt: skip
    return plain[token]() if token in plain else None
