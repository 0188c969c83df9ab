"""What a search knows: its problem, what it was told, the pool of candidates and what is admitted to it."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fansr.expressions import to_infix
from fansr.fitting import Budget, Candidate, Problem
from fansr.search import (
    between,
    clocks,
    loss_search,
    narrow_columns,
    relative_noise,
    rules,
    selection,
    shortening,
    unit_rules,
)
from fansr.search.roster import DEFAULT_PROPOSERS

FINISHERS = 6  # candidates whose constants are rounded before one is chosen
MORE = 10  # candidates looked at besides the FINISHERS where all of those are undetermined
PRUNED = 16  # candidates that are cut down, besides the front
EPS32 = 1.19e-7  # the FVU that counts as recovered (section 4.4)
PRINTED = 12  # digits; a table whose numbers have no more was typed or measured, not computed
TYPED = (
    1e-10  # share of the variance that rounding to the printed digits may be for a fit within them to be no accident
)
STARTS = ("mixed", "paper")  # where the constants of proposed laws begin: as in refiner.py, or as in section 3.5


@dataclass(frozen=True)
class Progress:
    """How a search stands, for those who watch it: `seconds` since it began, the `proposer` that had the last turn, `best`
    so far (its constants not yet rounded), `candidates` fitted."""

    seconds: float
    proposer: str
    best: Candidate
    candidates: int
    names: list[str]
    pool: Any

    @property
    def expression(self) -> str:
        """The best law so far in the columns' names."""
        return to_infix(self.best.expr, self.best.consts, self.names, digits=6)

    def front(self) -> list[Candidate]:
        """The best fit of every length so far, those that no shorter one beats."""
        return self.pool.front()


@dataclass
class Options:
    """What a search may use; the fields are the options of fansr-fit of the same names."""

    samples: int = 4096
    proposers: tuple[str, ...] = DEFAULT_PROPOSERS
    gamma: float = selection.GAMMA
    restarts: int = 8
    select: str = "mdl"
    within: float | None = None  # under "drop": the FVU of a law that may be chosen, in units of the front's least
    seed: int = 0
    jobs: int = 1
    model: str | None = None
    physics: bool = True
    loss: str = "auto"  # a name of fitting.losses, or squares of errors or of relative ones as the residuals tell
    robust: bool = False
    device: str = "cpu"  # of the model, as are the next three
    decoder: str = "tree"
    temperature: float = 1.0
    top_p: float = 1.0
    rules: rules.Rules = rules.Rules()  # what a law may be
    form: tuple[str, ...] = ()  # what is known of it, for forms.parse
    guess: tuple[str, ...] = ()  # laws to start from
    starts: str = "mixed"  # one of STARTS
    tidy: bool = True  # cut down, respelled and rounded; else the answer is a law as it was proposed
    target_fvu: float | None = None  # at which a search ends: when the law it would choose fits as well
    watch: Callable[[Progress], Any] | None = (
        None  # called after every turn; what it gives back, if true, ends the search
    )
    quiet: bool = False  # say nothing on stderr when kernels are compiled
    deadline: float | None = (
        None  # time.monotonic() at which even the floor of work ends; the command's counts from its beginning
    )


@dataclass
class Found:
    """The outcome: `best` and the Pareto `front` (candidates), standard `errors` (C,) of the best's
    constants, `seconds`, `candidates` fitted, `yields` (candidates by proposer), `status`, `floor`, the
    `failures` of proposers and of the rewriting, `outliers`: rows set aside by --robust."""

    best: Candidate | None
    front: list[Candidate]
    errors: np.ndarray
    seconds: float
    candidates: int
    yields: Counter
    status: str
    floor: float
    failures: dict[str, str] = field(default_factory=dict)
    outliers: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    loading: float = 0.0
    unheard: tuple[str, ...] = ()
    weights: np.ndarray | None = None  # (M,) of the problem's rows where the search gave them weights itself
    loss: loss_search.Outcome | None = None  # where it was not squares; FVUs are then shares of it


class State:
    """The candidates of one search and the judgement of them: how they are fitted, admitted, cut down."""

    def __init__(self, problem: Problem, options: Options, budget: Budget):
        self.options, self.budget = options, budget
        self.relative = False  # the rows weigh 1 / y^2 because the residuals said so
        self.told = problem
        self.aim = loss_search.aim_of(problem, options.loss, options.robust)  # None for squares
        self.units = None if problem.units is None or problem.units.only_judged else problem.units
        self.aimed_at = math.inf  # the selection's number of the law near which least squares stands for the loss
        self._take(problem)
        self.yields: Counter = Counter()
        self.failures: dict[str, str] = {}
        self.helped = False  # a partner has the second core
        self.left_out: tuple[str, ...] = ()  # proposers that are the partner's
        self.until = math.inf  # set when the law is found
        self.work = clocks.Work(budget)
        self.loading = 0.0
        self.allowance: clocks.Allowance | None = None  # the last that was given
        self.unheard: tuple[str, ...] = ()

    def _take(self, problem: Problem, near: np.ndarray | None = None):
        """What follows from the problem's rows and weights: the fitter, what is exact, an empty pool.

        near (M,): the values of a law near which least squares is to stand for another loss.
        """
        from fansr.proposers import (
            angle_nats,
            calendar_columns,
            degree_columns,
            prior_nats,
            target_in_degrees,
            with_degrees_told,
        )  # fmt: skip

        options = self.options
        if self.aim is not None:
            self.fitter, problem = loss_search.aimed(problem, self.aim, options.restarts, options.seed, near)
        else:
            self.fitter = self._fitter_of(problem)
        self.problem = problem
        self.cut_fitter = shortening.Once(self.fitter)
        self.floor = selection.fvu_floor(problem.y, problem.weights)
        self.known = selection.known_fvu(problem) if self.aim is None else self.aim.known
        self.between = between.Between(problem)
        self.rules = options.rules if options.rules else None
        self.probes = rules.probes(problem, options.rules.positive)
        self.checker: Any = None
        if options.rules.shapes:
            from fansr.search import shapes

            self.checker = shapes.Checker(problem, options.rules.shapes)
        printed = self.printed = selection.printed_fvu(problem.y, problem.weights)
        self.rounded = selection.rounding_fvu(problem.y, problem.weights) if self.aim is None else 0.0
        told = self.aim is None and not problem.known and problem.ends is None
        self.noise = selection.noise_fvu(problem.X, problem.y, problem.weights) if told else 0.0
        self.exact = self.enough = max(100 * self.floor, 1e-24, 4 * printed if printed < TYPED else 0.0)
        if self.budget.seconds is None and printed_digits(problem.X, problem.y) <= PRINTED:
            # Numbers as a person prints them: recovery to single precision (equation 9) is all they can show.
            self.enough = max(self.enough, EPS32)
        if self.aim is not None and self.aim.kind.told:
            self.exact = self.enough = 0.0  # counts and classes are never exact
        columns = calendar_columns(problem)
        degrees, back = degree_columns(problem), target_in_degrees(problem)
        self.has_angles = bool(degrees) or back
        self.as_told = lambda candidate: (
            candidate if self.units is not None else with_degrees_told(candidate, degrees, back)
        )
        # The wave that a column's name states, whose frequency is no constant; None where no name does.
        self.calendar = (lambda candidate: prior_nats(candidate, columns)) if columns else None
        self.prior = (
            (lambda candidate: max(prior_nats(candidate, columns), angle_nats(candidate, degrees, back)))
            if columns or self.has_angles
            else None
        )
        self.pool = selection.Pool(
            len(problem.y), self.floor, options.select, options.gamma, known=self.known, exact=self.exact,
            prior=self.prior, admit=self._admitted if self.rules or self.aim is not None or self.units else None, extra=self._of_units if self.units else None, columns=problem.X.shape[1], prices=options.rules.prices, rounded=self.rounded,
            noise=self.noise,
        )  # fmt: skip
        self.narrow = narrow_columns.narrow(problem.X)
        self.led: Candidate | None = None  # the last leader whose constants were compared with them
        self.settled: set[tuple] = set()
        self.pruned: set[tuple] = set()

    def _fitter_of(self, problem: Problem) -> Any:
        from fansr.fitting import CurveFitter, Refiner

        options = self.options
        kind = CurveFitter if options.starts == "paper" else Refiner
        return kind(problem.X, problem.y, restarts=options.restarts, seed=options.seed, weights=problem.weights)

    def _weigh(self):
        """Go on with rows that weigh 1 / y^2; what was found is fitted to them again."""
        before, seen = list(self.pool), self.pool.seen
        self._take(relative_noise.weighed(self.problem))
        self.relative, self.pool.seen = True, seen - len(before)
        for candidate in before:
            self.pool.add(self._again(candidate))

    def _weigh_evenly(self):
        """Go back to rows of equal weight where the laws found under weights 1 / y^2 say that the errors are even."""
        leaders = self.pool[: relative_noise.LOOKED_AT // 2]
        plain = self._fitter_of(self.told)
        even = [relative_noise.fitted_again(candidate, plain) for candidate in leaders]
        if relative_noise.refuted(self.told, [*leaders, *even], self.floor):
            seen = self.pool.seen
            self._take(self.told)
            self.relative, self.pool.seen = False, seen - len(even)
            for candidate in even:
                self.pool.add(candidate)

    def _aim(self, news: float = loss_search.NEWS) -> bool:
        """Let least squares stand for the loss near the best law so far, where that is better by `news` nats than the one before."""
        best = self.pool.best
        if self.aim is None or best is None or self.pool.value(best) > self.aimed_at - news:
            return False
        near = self.fitter.values(best.expr, best.consts)
        self.aim.refer(near)
        before, seen = list(self.pool), self.pool.seen
        self._take(self.told, near)
        self.pool.seen = seen - len(before)
        for candidate in before:
            self.pool.add(candidate)
        self.aimed_at = self.pool.value(self.pool.best) if self.pool.best is not None else math.inf
        return True

    def _again(self, candidate: Candidate) -> Candidate:
        return relative_noise.fitted_again(candidate, self.fitter)

    def _admitted(self, candidate: Candidate) -> Candidate | None:
        if self.aim is not None:
            best = self.pool.best
            at = math.inf if best is None else self.pool.value(best)
            candidate = loss_search.carried_on(candidate, self.fitter, self.pool.value, at)
        if self.units is not None:
            right = unit_rules.admitted(candidate, self.units)
            if right is None:
                return None
            candidate = right
        return self.options.rules.admit(candidate, self.fitter, self.probes, self.checker) if self.rules else candidate

    def _of_units(self, candidate: Candidate) -> float:
        return 0.0 if self.units is None else unit_rules.nats(candidate, self.units)

    def _kept(self, rewritten: Candidate, *before: Candidate) -> Candidate:
        """A rewritten law, or the last of the forms before it that keeps the rules."""
        if self.rules is None and self.units is None:
            return rewritten
        for form in (rewritten, *before):
            admitted = self._admitted(form)
            if admitted is not None and admitted.fvu < math.inf and self._proven(admitted):
                return admitted
        return before[-1]

    def _proven(self, candidate: Candidate) -> bool:
        return self.checker is None or self.checker.proven(candidate)

    def _drop_unproven(self):
        """Take out of the leaders and the front what a closer look shows not to have the shapes."""
        looked: set[int] = set()
        while True:
            fresh = [c for c in (*self.pool[: FINISHERS + MORE], *self.pool.front()) if id(c) not in looked]
            wrong = [c for c in fresh if not self._proven(c)]
            looked.update(map(id, fresh))
            for candidate in wrong:
                self.pool.remove(candidate)
            if not wrong:
                return

    def offer(self, batch: list[Candidate], source: str = ""):
        """Fit what is not fitted, put all into the pool."""
        unfitted = [c for c in batch if c.consts is None]
        if unfitted:
            self._fit(unfitted)
        for candidate in batch:
            candidate.source = candidate.source or source
            self.yields[candidate.source] += 1
            if candidate.consts is not None and candidate.fvu < math.inf:
                self.pool.add(candidate)

    def _fit(self, candidates: list[Candidate]):
        fitter = self.fitter if self.aim is None else self.fitter.plain  # the pool carries on what is worth it
        fvus, consts = fitter.fit([c.expr for c in candidates], jobs=self.options.jobs)
        for candidate, fvu, values in zip(candidates, fvus, consts):
            candidate.fvu = float(fvu)
            candidate.consts = None if values is None else np.asarray(values, dtype=np.float64)

    def _with_narrow_columns(self):
        """Offer a new leader with narrow columns in the place of constants."""
        best = self.pool.best
        if not self.narrow or best is None or best is self.led:
            return
        self.led = best
        if self.exact < best.fvu < narrow_columns.WORTH:
            found = narrow_columns.with_columns(best, self.narrow, self.problem, self.fitter)
            if found is not best:
                self.offer([found])

    def _prune(self, over):
        """Cut the leading and the front's candidates down: a good fit often hides in a longer one."""
        for candidate in [*self.pool[:PRUNED], *self.pool.front()]:
            key = tuple(candidate.expr)
            if over():
                return
            if key in self.pruned or candidate.length < 4:
                continue
            self.pruned.add(key)
            short, tried = shortening.shorten(
                candidate, self.cut_fitter, self.pool.value, over=over, loaded=self._loaded
            )
            self.pruned.add(tuple(short.expr))
            for other in tried:
                self.pool.add(other)
            self._with_narrow_columns()

    def _slipped(self, name: str, error: Exception):
        """Report a part of the search that failed, or, with FANSR_DEBUG=1, stop there.  Called where `error` is handled."""
        if os.environ.get("FANSR_DEBUG") == "1":
            raise error
        self.failures[name] = f"{type(error).__name__}: {error}"

    def _loaded(self, seconds: float):
        """Seconds spent on loading are none of the search's."""
        self.loading += seconds
        self.work.shift(seconds)
        if self.allowance is not None:
            self.allowance.until += seconds

    def _allowance(self, clock: Budget, seconds: float) -> Callable[[], bool]:
        self.allowance = clocks.Allowance(clock, seconds, self.options.deadline, self.work.pace())
        return self.allowance.over


def printed_digits(X: np.ndarray, y: np.ndarray, rows: int = 200) -> int:
    """Significant digits the numbers of a table were written with: the most that any of the first rows needs."""
    values = set(np.concatenate([X[:rows].ravel(), y[:rows]]).tolist())
    return max((len(repr(abs(float(v))).split("e")[0].replace(".", "").strip("0")) for v in values), default=0)
