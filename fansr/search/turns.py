"""One table of numbers to its law: proposers taking turns on one budget, one pool of candidates.

It reads no files and prints nothing; fit.py (the command) and regressor.py (the notebook) call search().
The proposers are listed in roster.py; what is known between turns is state.py's, how one law is chosen ending.py's.
"""

from __future__ import annotations

import gc
import importlib
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fansr.cli import blas, interrupts, kernels
from fansr.expressions import n_constants
from fansr.fitting import Budget, Candidate, Problem
from fansr.search import large_tables, loss_search, origins, relative_noise, rules, second_core, selection
from fansr.search.ending import Ending
from fansr.search.roster import AFTER_EVOLVE, DEFAULT_PROPOSERS as DEFAULT_PROPOSERS, FLOOR, KERNELS, NEEDS, PROPOSERS
from fansr.search.state import STARTS as STARTS, Found as Found, Options as Options, Progress as Progress
from fansr.streams import rng_for

HEAD_START, EQUAL = 0.6, 1.5  # seconds that a proposer's share counts in full for; its share afterwards at most
LASTING_SHARE = {
    "evolve": 8.0,
    "angles": 8.0,
    "mend": 8.0,
}  # the same of those that never have said all they have to say
MENDING = 0.6  # seconds of the local search after which its laws are mended, of many columns
CLEAN = 1e-6  # FVU of a law of numbers that were not rounded, which noise would not have left
IDLE, COUNTED = 5e-4, 0.01  # seconds within which a turn was one of waiting, and what it counts for
LAST = 0.15  # of the time, before the end of the turns: who mends the others' candidates begins then at the latest
# What is due from everyone at work, times their number, before the next one starts: who is quick has more than its first turn until then.
AHEAD = 0.005
# Columns; of so many the network has its first turn after the first number of seconds, of more after the second.
FEW, NETWORK_SECONDS = 3, (1.0, 15.0)
# Of more columns so many turns of a first answer run before anybody looks at the clock; the others are taken in turns, by this share.
OF_MANY, REST = {"sums": 2, "kinks": 1}, 4.0
PRUNE_SHARE = 0.1  # of the time so far that cutting down may have taken
MAX_ROWS = 16384  # a longer table is searched on a sample of its rows, then fitted whole
# Tokens; an exact law longer than that gets so many times the seconds it took, for a shorter one to turn up.
LONG, PATIENCE = 14, 1.0
MANY, LASTING = 6, 9.0  # constants of a law that may only approximate another; its patience
WHOLE_SHARE = 0.25  # of a time budget, kept for fitting the answer to all rows of a table longer than MAX_ROWS


class _Turn:
    """One proposer's generator and what it has cost so far."""

    def __init__(self, name: str, share: float, steps):
        self.name, self.share, self.steps = name, share, steps
        self.seconds = 0.0

    def due(self) -> float:
        """Seconds by its share.  After a head start nobody's is larger than EQUAL: who is quick comes first, but not for long."""
        ahead = min(self.seconds, HEAD_START)
        return ahead / self.share + (self.seconds - ahead) / min(self.share, LASTING_SHARE.get(self.name, EQUAL))


@interrupts.patient()
@blas.threads()
@np.errstate(all="ignore")
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
    told = whole_table or options.rules or options.guess or candidates or problem.units is not None
    starts = {} if told else origins.origins(problem)  # what is told of the columns is told of them as they stand
    if starts:
        problem = origins.from_origins(problem, starts)
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
        large_tables.on_all_rows(found, whole, options, state.floor, budget if status == "ok" else Budget(0.0))
    found.loading += loading
    found.seconds = time.monotonic() - started - found.loading
    if columns is not None and found.best is not None:
        found.best = large_tables.widened(found.best, columns)
        found.front = [large_tables.widened(c, columns) for c in found.front]
    if starts and found.best is not None:
        best, front = found.best, [c for c in found.front if c is not found.best]
        found.best = origins.in_table(best, starts)
        back = [found.best, *(origins.in_table(c, starts) for c in front)]
        found.front = selection.front_of(back, len(given.y), found.floor, found.best)
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

        forms.check(forms.parse(options.form, problem.names, problem.target), options.rules)
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
) -> tuple[Turns, str]:
    """(state, status) of a search of a whole table up to the choice: everything that was found is in `state.pool`."""
    if options.form:
        from fansr.search.form_search import FormState

        state: Turns = FormState(problem, options, budget)
    elif "grouping" in problem.extra:
        from fansr.search.group_search import GroupState

        state = GroupState(problem, options, budget)
    else:
        state = Turns(problem, options, budget)
    status = "ok"
    try:
        mean = float(np.average(problem.y, weights=problem.weights))
        always = [Candidate(["<constant>"], np.array([mean]), 1.0, "mean")] if options.tidy else []
        if options.rules:  # which may leave nothing else
            always += [Candidate([f"x{j + 1}"], source="mean") for j in range(problem.X.shape[1])]
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
    state = Turns(problem, options, Budget(None))
    for candidate in pool:
        state.pool.add(candidate)
    state.pruned = {tuple(candidate.expr) for candidate in pool}
    return state.finish(time.monotonic(), "ok")


def _constant(problem: Problem, started: float, options: Options) -> Found:
    """The law of a target that never changes."""
    constant = Candidate(["<constant>"], np.array([float(problem.y[0])]), 0.0)
    if options.rules and not options.rules.holds(constant, problem):
        return Found(None, [], np.zeros(0), time.monotonic() - started, 1, Counter(), "failed", selection.EXACT)
    best = Candidate(["<constant>"], np.array([float(problem.y[0])]), 0.0, "constant")
    return Found(best, [best], np.zeros(1), time.monotonic() - started, 1, Counter(constant=1), "ok", selection.EXACT)


def _by_the_clock(names: list[str], mending: bool, rounded: bool = True) -> list[str]:
    """The order in which proposers start where a clock runs: the local search early, and with it who mends what it finds, if `mending`.

    Who looks for what noise hides comes last where numbers were not `rounded`, for they may have none.
    """
    if not rounded:
        names = [*(name for name in names if name != "polynomials"), *(name for name in names if name == "polynomials")]
    if "evolve" not in names:
        return names
    first = [name for name in names if name in ("angles", "evolve") or (name == "mend" and mending)]
    at = min(names.index(name) for name in (*AFTER_EVOLVE, *first) if name in names)
    return [*names[:at], *first, *(name for name in names[at:] if name not in first)]


class Turns(Ending):
    """A search by proposers in turns."""

    def _invited(self) -> list[str]:
        """Names of the proposers that have something to say under the rules, the floor's first."""
        names = [name for name in self.options.proposers if name not in self.left_out]
        wanted = self.options.rules
        if self.units is not None and "groups" not in names and "groups" not in self.left_out:
            names.insert(1, "groups")
        if self.has_angles and "evolve" in names and "angles" not in names:
            names.insert(names.index("evolve"), "angles")
        if wanted.own and "own" not in names:
            names.insert(max((k + 1 for k, name in enumerate(names) if name in FLOOR), default=0), "own")
        if wanted.operators is not None:
            names = [name for name in names if not NEEDS.get(name) or NEEDS[name] & wanted.operators]
        return names

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
        elif name in ("angles", "evolve"):
            extra = {"operators": self.options.rules.operators}
            if not self.helped:
                extra["jobs"] = self.options.jobs
        rng = rng_for(self.options.seed, f"fit.{name}", self.problem.id)
        return _Turn(name, share, propose(self.problem, budget or self.work, rng, self.pool, **extra))

    def run(self) -> None:
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
                    patience = PATIENCE if n_constants(self.pool.best.expr) < MANY else LASTING
                    self.until = min(self.until, started + (1 + patience) * (time.monotonic() - started))
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
        return second_core.Partner(lambda: Turns(self.told, options, self.work))

    def run_steps(self) -> Iterator[str]:
        """A generator that yields after every turn of a proposer."""
        waiting = self._invited()
        timed = self.budget.seconds is not None
        yield from self._floor(waiting)
        if (
            self.options.loss == "auto"
            and self.options.tidy
            and relative_noise.found(self.problem, self.pool, self.floor, self._fitter_of)
        ):
            self._weigh()
            yield from self._floor(waiting)
        for _ in range(loss_search.ROUNDS):
            if self._aim():
                yield from self._floor(waiting)
        waiting = [name for name in waiting if name not in FLOOR]
        if timed:
            waiting = _by_the_clock(waiting, len(self.problem.names) > FEW, self.printed > 0)
        turns: list[_Turn] = self.cut_short
        started, cutting = time.monotonic(), 0.0
        while (waiting or turns) and not self.work.over():
            waiting = [name for name in waiting if not self._needless(name)]
            # Each proposer starts when the ones before it have had a turn; by counts alone, when they are done.
            ready = [name for name in waiting if not (timed and turns and self._early(name, started))]
            if ready and (not turns or (timed and self._next_may_start(ready[0], turns))):
                self._aim()
                waiting.remove(ready[0])
                turns.append(self._start(ready[0]))
            turn = min(turns, key=_Turn.due) if timed else turns[0]
            if not self._step(turn):
                turns.remove(turn)
                begun = time.monotonic()
                if self.options.tidy:
                    self._prune(self.work.slice(PRUNE_SHARE * (begun - started) - cutting).over)
                cutting += time.monotonic() - begun
            yield turn.name
        # Not reached where a search ends because it has the law.
        self.unheard = tuple(name for name in waiting if not (timed and self._early(name, started)))

    def _next_may_start(self, name: str, turns: list[_Turn]) -> bool:
        """Whether those at work have had their turn, or it is high time."""
        if name == "mend" and len(self.problem.names) > FEW:
            found = [turn.seconds for turn in turns if turn.name == "evolve"]
            late = self.work.left() < LAST * (self.budget.seconds or math.inf)
            return late or not found or found[0] >= MENDING
        return all(turn.due() > AHEAD * len(turns) for turn in turns)

    def _needless(self, name: str) -> bool:
        """Whether a proposer that looks for what noise hides has nothing to look for: a close fit of unrounded numbers says that they have none."""
        best = self.pool.best
        return name == "polynomials" and not self.printed > 0 and best is not None and best.fvu < CLEAN

    def _early(self, name: str, started: float) -> bool:
        """Whether it is too early for the network, or the control in its place: the others find more in the first second, of many columns in the first ten."""
        if name not in ("model", "control"):
            return False
        roster = tuple("model" if other == "control" else other for other in self.options.proposers)
        if roster != DEFAULT_PROPOSERS or self.options.model is not None:  # whoever names it wants it at once
            return False
        return time.monotonic() - started < NETWORK_SECONDS[len(self.problem.names) > FEW]

    def _floor(self, names: Sequence[str]):
        """The turns that run whole: by counts alone, as far as the deadline lets them."""
        self.cut_short: list[_Turn] = []
        many = len(self.problem.names) > FEW and self.budget.seconds is not None
        for name in names:
            if name in FLOOR:
                turn, most = self._start(name, Budget(None)), OF_MANY.get(name, math.inf) if many else math.inf
                while not self._late() and self._step(turn):
                    most -= 1
                    yield name
                    if most <= 0:
                        turn.share = REST
                        self.cut_short.append(turn)
                        break

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
            self._slipped(turn.name, error)
            return False
        if batch is None:
            return False
        self.offer(batch, turn.name)
        self._with_narrow_columns()
        taken = time.monotonic() - begun
        turn.seconds += taken if batch or taken > IDLE else COUNTED
        return True
