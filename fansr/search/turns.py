"""One table of numbers to its law: proposers taking turns on one budget, one pool of candidates.

This is the one place that knows all proposers.  It reads no files and prints nothing; fit.py (the
command) and regressor.py (the notebook) call search().
"""

from __future__ import annotations

import gc
import importlib
import itertools
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fansr.cli import kernels
from fansr.expressions import n_constants, to_infix
from fansr.fitting import Budget, Candidate, Problem
from fansr.search import (
    between,
    clocks,
    large_tables,
    loss_search,
    plain_forms,
    relative_noise,
    rounding,
    rules,
    second_core,
    selection,
    shortening,
    spelling,
    unit_rules,
)
from fansr.streams import rng_for

# name -> (module, function, share of a time budget).  Shares matter only while several are at work, and large ones only at first.
PROPOSERS = {
    "power": ("fansr.proposers.power", "propose", 8.0),
    "sums": ("fansr.proposers.few_term_sums", "propose", 8.0),
    "rational": ("fansr.proposers.rational", "propose", 8.0),
    "curves": ("fansr.proposers.one_column_curves", "propose", 8.0),
    "kinks": ("fansr.proposers.kinks", "propose", 8.0),
    "separable": ("fansr.proposers.separable", "propose", 4.0),
    "composite": ("fansr.proposers.composites", "propose", 1.5),
    "library": ("fansr.proposers.library_sums", "propose", 2.0),
    "scan": ("fansr.proposers.inner_constants", "propose", 1.5),
    "peel": ("fansr.proposers.outer_constant", "propose", 3.0),
    "pairs": ("fansr.proposers.two_term_laws", "propose", 1.5),
    "structure": ("fansr.proposers.decomposition", "propose", 8.0),
    "model": ("fansr.network.sample", "propose", 1.0),
    "waves": ("fansr.proposers.waves", "propose", 2.0),
    "control": ("fansr.network.sample", "propose_control", 1.0),
    "evolve": ("fansr.proposers.local_search.evolve", "propose", 1.5),
    "groups": ("fansr.proposers.dimensional_groups", "propose", 8.0),  # where a table has units
    "own": ("fansr.proposers.own_functions", "propose", 4.0),  # where functions are defined or asked for
}
NEEDS = {"waves": {"sin", "cos"}, "kinks": {"abs", "min", "max", "step"}}  # a proposer is spared where rules allow none
KERNELS = {"evolve": "local search", "model": "sampling"}  # what they need compiled, besides what every fit needs
# The control (random draws of the model's prior over the columns in use) is the bar for the model.  At equal seconds
# the model finds more of held-out synthetic laws, of published laws and of our own families (data/models/tiny-worth.json);
# within the whole search the two are equal to one law in a hundred.
DEFAULT_PROPOSERS = (
    "power",
    "kinks",
    "sums",
    "curves",
    "rational",
    "separable",
    "library",
    "scan",
    "waves",
    "structure",
    "peel",
    "pairs",
    "composite",
    "model",
    "evolve",
)
STARTS = ("mixed", "paper")  # where the constants of proposed laws begin: as in refiner.py, or as in section 3.5
# These run first and whole, by counts: no clock and no load takes the commonest laws away.
FLOOR = ("power", "kinks", "groups", "own", "sums", "curves")
HEAD_START, EQUAL = 0.6, 1.5  # seconds that a proposer's share counts in full for; its share afterwards at most
FINISHERS = 6  # candidates whose constants are rounded before one is chosen
PRUNE_SHARE = 0.1  # of the time so far that cutting down may have taken
PRUNED = 16  # candidates that are cut down, besides the front
EPS32 = 1.19e-7  # the FVU that counts as recovered (section 4.4)
PRINTED = 12  # digits; a table whose numbers have no more was typed or measured, not computed
MAX_ROWS = 16384  # a longer table is searched on a sample of its rows, then fitted whole
TYPED = (
    1e-10  # share of the variance that rounding to the printed digits may be for a fit within them to be no accident
)
PLAIN = 8  # tokens; a longer law is worth a look for a shorter one
LONG, PATIENCE = (
    14,
    1.0,
)  # tokens; an exact law longer than that gets so many times the seconds it took, for a shorter one to turn up
WHOLE_SHARE = 0.25  # of a time budget, kept for fitting the answer to all rows of a table longer than MAX_ROWS
DETERMINED = 10.0  # times its size a constant's error may be; beyond it says nothing
AS_WELL = 8.0  # nats by which a law with an undetermined constant may lead and still stand back
TAME = 16.0  # nats by which a law with a pole or an excursion between the rows may lead and still stand back
MORE = 10  # candidates looked at besides the FINISHERS where all of those are undetermined


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
    `failures` of proposers, `outliers`: rows set aside by --robust."""

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


class _Turn:
    """One proposer's generator and what it has cost so far."""

    def __init__(self, name: str, share: float, steps):
        self.name, self.share, self.steps = name, share, steps
        self.seconds = 0.0

    def due(self) -> float:
        """Seconds by its share.  After a head start nobody's is larger than EQUAL: who is quick comes first, but not for long."""
        ahead = min(self.seconds, HEAD_START)
        return ahead / self.share + (self.seconds - ahead) / min(self.share, EQUAL)


def search(
    problem: Problem, options: Options, budget: Budget | None = None, candidates: Sequence[Candidate] = ()
) -> Found:
    """Find the law of one problem.

    candidates: ready proposals (from a candidate stream) that enter the pool first.
    With ``budget.seconds`` None every proposer goes by its own counts, in order, and the result
    depends on the seed alone.  KeyboardInterrupt ends the search with the best so far and
    ``status`` "interrupted".
    """
    started = time.monotonic()
    budget = budget or Budget(None)
    if not np.ptp(problem.y) > 0 and problem.ends is None:
        return _constant(problem, started, options)
    loading = _load(options.quiet)
    budget.start += loading
    given, columns = problem, None
    candidates = loss_search.unlinked(candidates, options.loss)
    by_weights = loss_search.by_weights(problem, options.loss, options.robust)
    if by_weights:
        problem, options = relative_noise.weighed(problem), replace(options, loss="squares")
    if options.rules.shapes:
        from fansr.search import shapes

        named = shapes.named(options.rules.shapes, problem.names)
        options = replace(options, rules=replace(options.rules, shapes=named))
    whole_table = options.form or "grouping" in problem.extra  # which name their columns themselves
    if problem.X.shape[1] > large_tables.MAX_COLUMNS and not whole_table:
        columns = large_tables.relevant_columns(problem.X, problem.y)
        problem = large_tables.narrowed(problem, columns)
        candidates = ()  # they speak of columns that may be gone
    whole = None
    if len(problem.y) > MAX_ROWS:
        whole, problem = problem, large_tables.thinned(problem, MAX_ROWS, options.seed)
        if options.rules.shapes:  # which hold on the box of all rows
            problem = replace(problem, extra={**problem.extra, "box": (whole.X.min(axis=0), whole.X.max(axis=0))})
    # A long table's answer is fitted again on all rows, within the same budget.
    part = budget if whole is None or budget.seconds is None else budget.slice(budget.left() * (1 - WHOLE_SHARE))
    state, status = gather(problem, options, part, candidates)
    if part is not budget:
        budget.start += state.loading
    found = state.finish(started, status)
    if state.relative and whole is not None:
        whole = relative_noise.weighed(whole)
    if whole is not None and found.best is not None:
        _on_all_rows(found, whole, options, state.floor, budget if status == "ok" else Budget(0.0))
    found.loading += loading
    found.seconds = time.monotonic() - started - found.loading
    if columns is not None and found.best is not None:
        found.best = large_tables.widened(found.best, columns)
        found.front = [large_tables.widened(c, columns) for c in found.front]
    if state.relative or by_weights:
        found.weights = relative_noise.weights_of(given.y)
    if found.best is not None:
        found.loss = loss_search.conclude(found.best, found.front, given, options.loss, options.robust)
    return found


def check(options: Options, problem: Problem) -> None:
    """ValueError where what is said of the law cannot be said of this problem, with the option's name first."""
    rules.check(options.rules, problem)
    if options.form or "grouping" in problem.extra:
        other = "form" if options.form else "group"
        if options.loss not in ("auto", "squares", "relative"):
            raise ValueError(f"{other}: fitted by squares of the errors; leave out one of it and --loss {options.loss}")
        if problem.units is not None:
            raise ValueError(f"{other}: knows nothing of units; leave out one of it and --units")
    if "grouping" in problem.extra:
        from fansr.search import group_search

        group_search.check(problem, options.form)
    if options.form:
        from fansr.search import forms

        forms.parse(options.form, problem.names, problem.target)
    if options.guess:
        from fansr.search import guesses

        guesses.parse(options.guess, problem.names)


def _load(quiet: bool) -> float:
    """Load the kernels of the fit; the seconds it took, which are none of the search's."""
    begun, collecting = time.monotonic(), gc.isenabled()
    kernels.ensure("fitting", quiet=quiet)
    gc.disable()  # thousands of objects are made and none is thrown away: a tenth of the time
    try:
        from fansr.fitting import Refiner  # noqa: F401
    finally:
        if collecting:
            gc.enable()
    return time.monotonic() - begun


def gather(
    problem: Problem, options: Options, budget: Budget, candidates: Sequence[Candidate] = ()
) -> tuple[_State, str]:
    """(state, status) of a search of a whole table up to the choice: everything that was found is in `state.pool`."""
    if options.form:
        from fansr.search.form_search import FormState

        state: _State = FormState(problem, options, budget)
    elif "grouping" in problem.extra:
        from fansr.search.group_search import GroupState

        state = GroupState(problem, options, budget)
    else:
        state = _State(problem, options, budget)
    status = "ok"
    try:
        mean = float(np.average(problem.y, weights=problem.weights))
        always = [Candidate(["<constant>"], np.array([mean]), 1.0, "mean")] if options.tidy else []
        state.offer([*always, *candidates])
        if options.guess:
            from fansr.search import guesses

            state.offer(guesses.candidates(options.guess, problem.names, state.fitter))
        if options.rules.shapes:
            from fansr.search import shapes

            state.offer([Candidate(expr, source="shape") for expr in shapes.proposals(options.rules.shapes, problem)])
        state.run()
    except KeyboardInterrupt:
        status = "interrupted"
    return state, status


def choose(problem: Problem, options: Options, pool: Any) -> Found:
    """What a search whose pool is `pool` (fitted candidates, cut down already) would answer: for studying selections."""
    state = _State(problem, options, Budget(None))
    for candidate in pool:
        state.pool.add(candidate)
    state.pruned = {tuple(candidate.expr) for candidate in pool}
    return state.finish(time.monotonic(), "ok")


def _on_all_rows(found: Found, problem: Problem, options: Options, floor: float, budget: Budget):
    """Fit the constants of the answer and of the front again on the whole table, in place.

    The answer comes first.  When the budget is over the others keep the constants that the sample of rows gave them; half a
    second later they are not even measured, and leave the front.
    """
    from fansr.fitting import Refiner

    aim = loss_search.aim_of(problem, options.loss, options.robust)
    fitter: Any = None
    if aim is None:
        fitter = Refiner(problem.X, problem.y, restarts=1, seed=options.seed, weights=problem.weights)
    else:
        fitter, _ = loss_search.aimed(problem, aim, 1, options.seed)
        aim.refer(fitter.values(found.best.expr, found.best.consts))
    front = [c for c in found.front if c is not found.best]
    found.front = [found.best]
    for candidate in [found.best, *front]:
        if budget.left() < -0.5 and candidate is not found.best:
            break
        if candidate is not found.best:
            found.front.append(candidate)
        # Rounded constants stay as they are where they lose nothing.
        plain = fitter.fvu(candidate.expr, candidate.consts)
        candidate.fvu = plain
        if plain > max(100 * floor, 1e-24) and len(candidate.consts) and not budget.over():
            fvu, consts = fitter.polish(candidate.expr, candidate.consts, iterations=8)
            fitted = replace(candidate, fvu=fvu, consts=np.asarray(consts))
            if fvu < plain * (1 - 0.5 / len(problem.y)) and (not options.rules or options.rules.holds(fitted, problem)):
                candidate.fvu, candidate.consts = fvu, fitted.consts
    found.front = selection.front_of(found.front, len(problem.y), floor, found.best)
    if aim is not None:
        found.errors = loss_search.errors(found.best, fitter, floor, options.physics)
        return
    found.errors = rounding.law_errors(
        found.best, problem.X, problem.y, floor, problem.weights, selection.known_fvu(problem), options.physics
    )


def printed_digits(X: np.ndarray, y: np.ndarray, rows: int = 200) -> int:
    """Significant digits the numbers of a table were written with: the most that any of the first rows needs."""
    values = set(np.concatenate([X[:rows].ravel(), y[:rows]]).tolist())
    return max((len(repr(abs(float(v))).split("e")[0].replace(".", "").strip("0")) for v in values), default=0)


def _constant(problem: Problem, started: float, options: Options) -> Found:
    """The law of a target that never changes."""
    constant = Candidate(["<constant>"], np.array([float(problem.y[0])]), 0.0)
    if options.rules and not options.rules.holds(constant, problem):
        return Found(None, [], np.zeros(0), time.monotonic() - started, 1, Counter(), "failed", selection.EXACT)
    best = Candidate(["<constant>"], np.array([float(problem.y[0])]), 0.0, "constant")
    return Found(best, [best], np.zeros(1), time.monotonic() - started, 1, Counter(constant=1), "ok", selection.EXACT)


class _State:
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
        self.unheard: tuple[str, ...] = ()

    def _take(self, problem: Problem, near: np.ndarray | None = None):
        """What follows from the problem's rows and weights: the fitter, what is exact, an empty pool.

        near (M,): the values of a law near which least squares is to stand for another loss.
        """
        from fansr.fitting import CurveFitter, Refiner
        from fansr.proposers import calendar_columns, prior_nats

        options = self.options
        if self.aim is not None:
            self.fitter, problem = loss_search.aimed(problem, self.aim, options.restarts, options.seed, near)
        else:
            self.fitter = (CurveFitter if options.starts == "paper" else Refiner)(
                problem.X, problem.y, restarts=options.restarts, seed=options.seed, weights=problem.weights
            )
        self.problem = problem
        self.floor = selection.fvu_floor(problem.y, problem.weights)
        self.known = selection.known_fvu(problem) if self.aim is None else self.aim.known
        self.between = between.Between(problem)
        self.rules = options.rules if options.rules else None
        self.probes = rules.probes(problem, options.rules.positive)
        self.checker: Any = None
        if options.rules.shapes:
            from fansr.search import shapes

            self.checker = shapes.Checker(problem, options.rules.shapes)
        printed = selection.printed_fvu(problem.y, problem.weights)
        self.exact = self.enough = max(100 * self.floor, 1e-24, 4 * printed if printed < TYPED else 0.0)
        if self.budget.seconds is None and printed_digits(problem.X, problem.y) <= PRINTED:
            # Numbers as a person prints them: recovery to single precision (equation 9) is all they can show.
            self.enough = max(self.enough, EPS32)
        if self.aim is not None and self.aim.kind.told:
            self.exact = self.enough = 0.0  # counts and classes are never exact
        columns = calendar_columns(problem)
        self.prior = (lambda candidate: prior_nats(candidate, columns)) if columns else None
        self.pool = selection.Pool(
            len(problem.y), self.floor, options.select, options.gamma, known=self.known, exact=self.exact,
            prior=self.prior, admit=self._admitted if self.rules or self.aim is not None or self.units else None, extra=self._of_units if self.units else None, prices=options.rules.prices,
        )  # fmt: skip
        self.settled: set[tuple] = set()
        self.pruned: set[tuple] = set()

    def _weigh(self):
        """Go on with rows that weigh 1 / y^2; what was found is fitted to them again."""
        before, seen = list(self.pool), self.pool.seen
        self._take(relative_noise.weighed(self.problem))
        self.relative, self.pool.seen = True, seen - len(before)
        for candidate in before:
            self.pool.add(self._again(candidate))

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
        """A candidate found under other weights, its constants fitted under these."""
        fvu, consts = self.fitter.polish(candidate.expr, candidate.consts, iterations=16)
        return replace(candidate, fvu=float(fvu), consts=np.asarray(consts, dtype=np.float64))

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

    def _invited(self) -> list[str]:
        """Names of the proposers that have something to say under the rules, the floor's first."""
        names = [name for name in self.options.proposers if name not in self.left_out]
        wanted = self.options.rules
        if self.units is not None and "groups" not in names and "groups" not in self.left_out:
            names.insert(1, "groups")
        if wanted.own and "own" not in names:
            names.insert(max((k + 1 for k, name in enumerate(names) if name in FLOOR), default=0), "own")
        if wanted.operators is not None:
            names = [name for name in names if not NEEDS.get(name) or NEEDS[name] & wanted.operators]
        return names

    # -- turns

    def _start(self, name: str, budget: Budget | None = None) -> _Turn:
        module, function, share = PROPOSERS[name]
        begun = time.monotonic()
        if name in KERNELS:
            kernels.ensure(KERNELS[name], quiet=self.options.quiet)
        propose = getattr(importlib.import_module(module), function)
        self._loaded(time.monotonic() - begun)
        extra = {}
        if name in ("model", "control"):
            fitter = self.fitter if self.aim is None else self.fitter.plain
            extra = {"samples": self.options.samples, "model": self.options.model, "fitter": fitter}
            if name == "model":
                extra |= {key: getattr(self.options, key) for key in ("device", "decoder", "temperature", "top_p")}
        elif name == "own":
            extra = {"functions": self.options.rules.own}
        elif name == "evolve":
            extra = {"operators": self.options.rules.operators}
            if not self.helped:
                extra["jobs"] = self.options.jobs
        rng = rng_for(self.options.seed, f"fit.{name}", self.problem.id)
        return _Turn(name, share, propose(self.problem, budget or self.work, rng, self.pool, **extra))

    def _loaded(self, seconds: float):
        """Seconds spent on loading are none of the search's."""
        self.loading += seconds
        self.work.shift(seconds)

    def run(self):
        """Turns until the budget is over, nobody has more to say, or the law is found."""
        helper, started = self._partner(), time.monotonic()
        self.helped = helper is not None
        if self.helped:  # the model's draws are the partner's
            self.left_out = ("model",)
        try:
            for name in self.run_steps():
                if helper is not None:
                    for candidate in helper.collect():
                        self.yields[candidate.source] += 1
                        self.pool.add(self._again(candidate) if self.relative else candidate)
                if self.options.tidy and self._settled():
                    self.until = min(self.until, started + (1 + PATIENCE) * (time.monotonic() - started))
                if self.until < math.inf and (
                    self.budget.seconds is None or self.pool.best.length <= LONG or time.monotonic() > self.until
                ):
                    break
                if self._told_to_stop(name, started):
                    break
        finally:
            if helper is not None:
                helper.stop()

    def _told_to_stop(self, proposer: str, started: float) -> bool:
        """Whether the law so far is as good as was asked for, or who watches has seen enough."""
        best, options = self.pool.best, self.options
        if best is None:
            return False
        reached = options.target_fvu is not None and best.fvu <= options.target_fvu
        if options.watch is None:
            return reached
        seconds = time.monotonic() - started
        progress = Progress(seconds, proposer, best, self.pool.seen, self.problem.names, self.pool)
        return bool(options.watch(progress)) or reached

    def _partner(self):
        """On a second core: the model, and the local search with a seed of its own."""
        if self.budget.seconds is None or self.options.jobs < 2 or "evolve" not in self.options.proposers:
            return None
        if not second_core.possible():
            return None
        theirs = tuple(
            name for name in ("power", "model", "evolve") if name == "power" or name in self.options.proposers
        )
        options = replace(self.options, proposers=theirs, seed=self.options.seed + 1, jobs=1)
        return second_core.Partner(lambda: _State(self.told, options, self.work))

    def run_steps(self):
        """A generator that yields after every turn of a proposer."""
        waiting = self._invited()
        timed = self.budget.seconds is not None
        yield from self._floor(waiting)
        if (
            self.options.loss == "auto"
            and self.options.tidy
            and relative_noise.found(self.problem, self.pool, self.floor)
        ):
            self._weigh()
            yield from self._floor(waiting)
        for _ in range(loss_search.ROUNDS):
            if self._aim():
                yield from self._floor(waiting)
        waiting = [name for name in waiting if name not in FLOOR]
        turns: list[_Turn] = []
        started, cutting = time.monotonic(), 0.0
        while (waiting or turns) and not self.work.over():
            # Each proposer starts when the ones before it have had a turn; by counts alone, when they are done.
            if waiting and (not turns or (timed and all(t.seconds > 0 for t in turns))):
                self._aim()
                turns.append(self._start(waiting.pop(0)))
            turn = min(turns, key=_Turn.due) if timed else turns[0]
            if not self._step(turn):
                turns.remove(turn)
                begun = time.monotonic()
                if self.options.tidy:
                    self._prune(self.work.slice(PRUNE_SHARE * (begun - started) - cutting).over)
                cutting += time.monotonic() - begun
            yield turn.name
        self.unheard = tuple(waiting)  # not reached where a search ends because it has the law

    def _floor(self, names: Sequence[str]):
        """The turns that run whole: by counts alone, as far as the deadline lets them."""
        for name in names:
            if name in FLOOR:
                turn = self._start(name, Budget(None))
                while not self._late() and self._step(turn):
                    yield name

    def _late(self) -> bool:
        return self.options.deadline is not None and time.monotonic() > self.options.deadline

    def _step(self, turn: _Turn) -> bool:
        """One turn; False when the proposer has no more to say (or failed, which is reported)."""
        begun = time.monotonic()
        try:
            with np.errstate(all="ignore"):  # around each turn: a decorator of a generator holds while it is made only
                batch = next(turn.steps, None)
        except (KeyboardInterrupt, MemoryError):
            raise
        except Exception as error:  # one proposer's slip must not cost the user the others' answers
            import os

            if os.environ.get("FANSR_DEBUG") == "1":
                raise
            self.failures[turn.name] = f"{type(error).__name__}: {error}"
            return False
        if batch is None:
            return False
        self.offer(batch, turn.name)
        turn.seconds += time.monotonic() - begun
        return True

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

    def _prune(self, over):
        """Cut the leading and the front's candidates down: a good fit often hides in a longer one."""
        for candidate in [*self.pool[:PRUNED], *self.pool.front()]:
            key = tuple(candidate.expr)
            if over():
                return
            if key in self.pruned or candidate.length < 4:
                continue
            self.pruned.add(key)
            short, tried = shortening.shorten(candidate, self.fitter, self.pool.value, over=over)
            self.pruned.add(tuple(short.expr))
            for other in tried:
                self.pool.add(other)

    # -- the end

    def _settled(self) -> bool:
        """True when the best candidate fits to rounding and no cut of it does."""
        best = self.pool.best
        if best is None or tuple(best.expr) in self.settled:
            return False
        if best.fvu > (self.enough if best.length <= PLAIN else self.exact):
            return False
        if not self.pool.value(best) < math.inf or len(self.problem.y) <= n_constants(best.expr) + 2:
            return False
        self.settled.add(tuple(best.expr))
        over = self._allowance(self.work, clocks.LEAST_SECONDS)
        short, tried = shortening.shorten(best, self.fitter, self.pool.value, over=over)
        for candidate in tried:
            self.pool.add(candidate)
        self.pool.add(short)
        self.settled.add(tuple(short.expr))
        return True

    def _allowance(self, clock: Budget, seconds: float) -> Callable[[], bool]:
        return clocks.Allowance(clock, seconds, self.options.deadline, self.work.pace()).over

    def finish(self, started: float, status: str) -> Found:
        """Shorten and round the leading candidates, choose one, and describe it."""
        if not self.options.tidy:
            best = self.pool.best
            return self._found(best, self.pool.front(), None if best is None else self._errors(best), started, status)
        hurry = status == "interrupted"
        clock = Budget(0.7) if hurry else self.budget
        least = 0.0 if hurry else clocks.LEAST_SECONDS
        self._prune(self._allowance(clock, least / 2))
        self._aim(-math.inf)
        over = self._allowance(clock, least)
        if self.checker is not None:
            self._drop_unproven()
        by_drop = self.options.select == "drop"
        finals = [self._plain(candidate, over) for candidate in (self.pool.front() if by_drop else self._leaders())]
        finals += [
            self._plain(limit, over)
            for candidate in (finals if self.rules is None and self.units is None and not self.prior else ())
            for limit in plain_forms.limits(candidate, self.problem.X, self.fitter)
        ]
        errors = {id(candidate): self._errors(candidate) for candidate in finals}
        best = min(finals, key=self._final_value, default=None)
        sound = {id(c): determined(c, errors[id(c)]) and not self.between.wild(c) for c in finals}
        if best is not None and not sound[id(best)]:
            more, bar = self.pool[FINISHERS : FINISHERS + MORE], self._final_value(best) + AS_WELL
            if self.between.wild(best):
                more, bar = self._tame(MORE), self._final_value(best) + TAME
            more = [self._plain(candidate, over) for candidate in more]
            errors.update((id(candidate), self._errors(candidate)) for candidate in more)
            sound |= {id(c): determined(c, errors[id(c)]) and not self.between.wild(c) for c in more}
            others = [c for c in (*finals, *more) if sound[id(c)] and self._final_value(c) <= bar]
            best = min(others, key=self._final_value, default=best)
            finals += [c for c in more if c is best]
        if by_drop and best is not None:
            best, step = selection.largest_drop(selection.pareto(finals, self.floor), self.floor, self.options.within)
            if status == "ok" and step < selection.DROP_NATS:
                status = "no law"
        shown = [self._kept(self._written(candidate), candidate) for candidate in self.pool.front()]
        front = selection.front_of([*shown, *finals], len(self.problem.y), self.floor, best)
        return self._found(best, front, None if best is None else errors[id(best)], started, status)

    def _found(self, best, front, errors, started: float, status: str) -> Found:
        """The outcome of this search with that choice."""
        return Found(
            best,
            front,
            np.zeros(0) if errors is None else errors,
            time.monotonic() - started - self.loading,
            self.pool.seen,
            self.yields,
            status if best is not None else "failed",
            self.floor,
            self.failures,
            loading=self.loading,
            unheard=self.unheard,
        )

    def _plain(self, candidate: Candidate, over) -> Candidate:
        """A candidate as it would be handed out: written plainly, the slowest of waves that agree, its constants rounded."""
        if self.prior and self.prior(candidate):
            return candidate
        # Written plainly first: of two constants that are one, c1 * (c2 * x), neither is determined.
        written = self._written(candidate)
        forms = [written, *filter(None, [plain_forms.expanded(written, self.fitter)])]
        snapped = [
            rounding.snap(form, self.fitter, self.floor, self.options.physics, selection.TOKEN_NATS, over)
            for form in forms
        ]
        best = min(snapped, key=self._final_value)
        return self._kept(self._in_plain_form(best), best, written, candidate)

    def _written(self, candidate: Candidate) -> Candidate:
        if self.prior and self.prior(candidate):
            return candidate  # its wave is the one that is meant, and its frequency no constant
        candidate = rounding.written(candidate, self.fitter)
        candidate = spelling.slowest(candidate, self.problem.X, self.fitter)
        return self._in_plain_form(candidate)

    def _in_plain_form(self, candidate: Candidate) -> Candidate:
        candidate = plain_forms.plain(candidate, self.problem.X, self.fitter)
        return spelling.outside(candidate, self.fitter)

    def _errors(self, candidate: Candidate) -> np.ndarray:
        problem = self.problem
        if self.aim is not None:
            return loss_search.errors(candidate, self.fitter, self.floor, self.options.physics)
        return rounding.law_errors(
            candidate, problem.X, problem.y, self.floor, problem.weights, self.known, self.options.physics
        )

    def _tame(self, count: int) -> list[Candidate]:
        """The first of the pool that do nothing odd between the rows."""
        return list(itertools.islice((c for c in self.pool[FINISHERS:] if not self.between.wild(c)), count))

    def _leaders(self) -> list[Candidate]:
        best = self.pool.best
        if best is None:
            return []
        margin = self.pool.value(best) + 12.0  # nats: what rounding and cutting may still win back
        if self.options.select in ("score", "fvu"):
            margin = math.inf
        return [c for c in self.pool[:FINISHERS] if self.pool.value(c) <= margin]

    def _final_value(self, candidate: Candidate) -> float:
        """The selection's number, with a round constant charged its code instead of a fitted one's."""
        M = len(self.problem.y)
        free, told = 0, 0.0
        for c in candidate.consts:
            nats = rounding.round_nats(float(c), self.options.physics)
            free, told = (
                (free, told + nats)
                if nats < selection.constant_nats(M, candidate.fvu, self.floor)
                else (free + 1, told)
            )
        value = selection.selection(
            self.options.select, candidate, M, self.options.gamma, self.floor, free, self.known, self.exact
        )
        value += self.pool.surcharge(candidate)
        if self.options.select != "mdl":
            return value
        value -= self.prior(candidate) if self.prior else 0.0
        value += self._of_units(candidate)
        return value + told + rounding.cancelling_nats(candidate, self.problem.X, self.problem.y)


def determined(candidate: Candidate, errors: np.ndarray) -> bool:
    """Whether every constant of a law is known to within DETERMINED times its size."""
    size = np.abs(np.asarray(candidate.consts, dtype=np.float64))
    return bool((errors <= DETERMINED * size).all())
