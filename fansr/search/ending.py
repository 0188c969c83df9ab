"""The end of a search: the leaders cut down, written plainly, their constants rounded, and the choice of one."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable

import numpy as np

from fansr.expressions import CONSTANT, n_constants, variables
from fansr.fitting import Budget, Candidate, Problem
from fansr.search import (
    alternative_forms,
    arrangement,
    clocks,
    consensus,
    description_length,
    leave_one_out,
    loss_search,
    plain_forms,
    rewriting,
    rounding,
    selection,
    shortening,
    spelling,
)
from fansr.search.state import FINISHERS, MORE, Found, Options, State

LOOKED_AT = 200  # leaders at most whose leave-one-out residuals, or constants that cancel, are looked at
AVERAGED = 64  # leaders that an average is taken of
WON_BACK = 12.0  # nats: what rounding and cutting may still win back
# Nats that a polynomial may cost more than a (x - b)^2 + c: its two further tokens, and what its constants cancel.  Where those of
# the latter are round it leads by more.
POLYNOMIAL = 2 * description_length.TOKEN_NATS + 1.0
CLOSE = 10 * selection.SMOOTH  # FVU below which a law may be the approximation of another
SHAPELESS = 12.0  # nats by which a close fit may lead and still stand back behind one that leaves no shape
BETTER, LOOKED_CLOSELY = 0.8, 4  # share of the FVU that a law without a shape may leave; how many are looked at for one
# A whole exponent up to there, which could be a symbol as the square is one, and what it costs to tell.
WHOLE_POWER, WHOLE_POWER_NATS = 12, 1.0
READ = 24  # tokens; a longer law of the front is not rewritten when time is up
PLAIN = 8  # tokens; a longer law is worth a look for a shorter one
DETERMINED = 10.0  # times its size a constant's error may be; beyond it says nothing
AS_WELL = 8.0  # nats by which a law with an undetermined constant may lead and still stand back
TAME = 16.0  # nats by which a law with a pole or an excursion between the rows may lead and still stand back


class Ending(State):
    """A search that can be brought to an end."""

    rows_heard = math.inf  # rows of Gaussian noise that the table's are worth

    def __init__(self, problem: Problem, options: Options, budget: Budget):
        super().__init__(problem, options, budget)
        # Nats by which a law cost less as it was found than it does as a person writes it, by the latter's id.
        self.saved: dict[int, tuple[float, Candidate]] = {}
        self.in_writing: dict[tuple, Candidate] = {}  # laws as a person writes them, by what they were
        self.late: Callable[[], bool] = lambda: False  # whether the search's time is up

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
        short, tried = shortening.shorten(best, self.cut_fitter, self.pool.value, over=over, loaded=self._loaded)
        for candidate in tried:
            self.pool.add(candidate)
        self.pool.add(short)
        self.settled.add(tuple(short.expr))
        return True

    def finish(self, started: float, status: str) -> Found:
        """Shorten and round the leading candidates, choose one, and describe it."""
        if self.relative:
            self._weigh_evenly()
        if not self.options.tidy:
            best = self.pool.best
            return self._found(best, self.pool.front(), None if best is None else self._errors(best), started, status)
        hurry = status == "interrupted"
        clock = Budget(0.7) if hurry else self.budget
        least = 0.0 if hurry else clocks.LEAST_SECONDS
        self._prune(self._allowance(clock, least / 2))
        self._aim(-math.inf)
        over = self._allowance(clock, least)
        self.late = clock.over
        if self.checker is not None:
            self._drop_unproven()
        by_drop = self.options.select == "drop"
        finals = self._finals(self.pool.front() if by_drop else self._leaders(), over)
        best = self._central(self._choice(finals, over), over)
        if best is not None and all(candidate is not best for candidate in finals):
            finals.append(best)
        if by_drop and best is not None:
            best, step = selection.largest_drop(selection.pareto(finals, self.floor), self.floor, self.options.within)
            if status == "ok" and step < selection.DROP_NATS:
                status = "no law"
        shown = [self._kept(self._written(candidate), candidate) for candidate in self.pool.front()]
        front = selection.front_of([*shown, *finals], len(self.problem.y), self.floor, best)
        if self.late():  # what was not rewritten for want of time is read all the same
            read = [
                c if c is not best and c.length > READ else self.as_told(self._kept(self._rewritten(c), c))
                for c in front
            ]
            best = next((after for before, after in zip(front, read) if before is best), best)
            front = selection.front_of(read, len(self.problem.y), self.floor, best)
        if best is not None and self.aim is None and self._is_exact(best):
            front = [candidate for candidate in front if candidate.length <= best.length]
        return self._found(best, front, None if best is None else self._errors(best), started, status)

    def _is_exact(self, candidate: Candidate) -> bool:
        """Whether it leaves nothing but rounding, of which a longer law would only be a more exact account."""
        from fansr.expressions import evaluate
        from fansr.search import verdict

        X, y = self.problem.X, self.problem.y
        with np.errstate(all="ignore"):
            residual = y - evaluate(candidate.expr, X, candidate.consts)
        return bool(np.isfinite(residual).all() and verdict.exact_to(candidate, X, y, residual, self.floor))

    def _finals(self, leaders: list[Candidate], over: Callable[[], bool]) -> list[Candidate]:
        """Leaders as they would be handed out, and what those with constants at the end of their range come to."""
        finals = [self._plain(candidate, over) for candidate in leaders]
        if self.rules is not None or self.units is not None:
            return finals
        X, fitter = self.problem.X, self.fitter
        free = [one for one in finals if not (self.calendar and self.calendar(one))]
        others = [limit for one in free for limit in alternative_forms.limits(one, X, fitter)]
        others += [interest for one in free for interest in alternative_forms.compounded(one, X, fitter)]
        others += [product for one in free for product in alternative_forms.shifted_products(one, fitter, over)]
        return [*finals, *(self._plain(other, over) for other in others)]

    def _choice(self, finals: list[Candidate], over: Callable[[], bool]) -> Candidate | None:
        """The soundest; of close fits that leave a shape one that leaves none, where that is not far behind."""
        best = self._soundest(finals, over)
        if best is None or not self._leaves_shape(best):
            return best
        bar = self._final_value(best) + SHAPELESS
        more = [c for c in self.pool[FINISHERS : FINISHERS + MORE] if c.fvu < BETTER * best.fvu]
        near = [c for c in (*finals, *(self._plain(c, over) for c in more)) if c.fvu < BETTER * best.fvu]
        near = [c for c in near if self._final_value(c) <= bar and self._sound(c)]
        near = sorted(near, key=self._final_value)[:LOOKED_CLOSELY]
        return next((c for c in near if not self._leaves_shape(c)), best)

    def _leaves_shape(self, candidate: Candidate) -> bool:
        """Whether what a close fit leaves has a shape: it approximates another law."""
        from fansr.expressions import evaluate
        from fansr.search import verdict

        if self.options.select != "mdl" or self.aim is not None or self.known:
            return False
        if not 100 * self.floor < candidate.fvu < CLOSE or self._is_exact(candidate):
            return False
        X, y, w = self.problem.X, self.problem.y, self.problem.weights
        with np.errstate(all="ignore"):
            residual = y - evaluate(candidate.expr, X, candidate.consts)
        if not np.isfinite(residual).all():
            return False
        weighed = residual if w is None else residual * np.sqrt(w / w.max())
        columns = variables(candidate.expr)
        names = [self.problem.names[j] for j in columns]
        return bool(verdict.shape_of(X[:, columns], weighed, names, len(candidate.consts), y, self.options.seed))

    def _soundest(self, finals: list[Candidate], over: Callable[[], bool]) -> Candidate | None:
        """The best by the selection's number, or a sound one not far behind it."""
        best = min(finals, key=self._final_value, default=None)
        if best is None or self._sound(best):
            return best
        more, bar = self.pool[FINISHERS : FINISHERS + MORE], self._final_value(best) + AS_WELL
        if self.between.wild(best):
            more, bar = self._tame(MORE), self._final_value(best) + TAME
        near = [c for c in (*finals, *(self._plain(c, over) for c in more)) if self._final_value(c) <= bar]
        return min(filter(self._sound, near), key=self._final_value, default=best)

    def _central(self, best: Candidate | None, over: Callable[[], bool]) -> Candidate | None:
        """The choice, or where noise leaves many laws the one of the leaders that is nearest to their average."""
        if best is None or self.options.select != "mdl" or self.aim is not None or self.problem.weights is not None:
            return best
        if not best.fvu > consensus.NOISY or len(self.problem.y) < consensus.LEAST_ROWS:
            return best
        near = self.pool[:AVERAGED]
        nats = [self._final_value(c) for c in near]
        bar = min(nats) + consensus.WITHIN
        beaten = [
            any(c.length <= law.length and c.fvu < law.fvu for c in near) for law in near
        ]  # by one that is no longer
        may = [v <= bar and not lost and self._sound(c) for c, v, lost in zip(near, nats, beaten)]
        if not any(may):
            return best
        heard = min(self.rows_heard, len(self.problem.y))
        return self._plain(consensus.nearest(near, nats, may, self.problem, heard), over)

    def _sound(self, candidate: Candidate) -> bool:
        """Whether the rows determine its constants and it does nothing odd between them."""
        return determined(candidate, self._errors(candidate)) and not self.between.wild(candidate)

    def _found(self, best, front, errors, started: float, status: str) -> Found:
        """The outcome of this search with that choice."""
        return Found(
            best,
            front,
            np.zeros(0) if errors is None else errors,
            time.monotonic() - started - self.loading,
            self.pool.seen,
            self.yields,
            "failed" if best is None and status == "ok" else status,
            self.floor,
            self.failures,
            loading=self.loading,
            unheard=self.unheard,
        )

    def _plain(self, candidate: Candidate, over) -> Candidate:
        """A candidate as it would be handed out: written plainly, the slowest of waves that agree, its constants rounded."""
        if self.calendar and self.calendar(candidate):
            return candidate
        # Written plainly first: of two constants that are one, c1 * (c2 * x), neither is determined.
        written = self._written(candidate)
        polynomial = alternative_forms.expanded(written, self.fitter)
        forms = [written] if polynomial is None else [polynomial, written]
        physics = self.options.physics
        tokens = (
            description_length.TOKEN_NATS if candidate.fvu <= consensus.NOISY else 0.0
        )  # a coefficient of 1 is a guess there
        told = self.aim is None and self._is_exact(candidate)
        snapped = [
            rounding.snap(
                form, self.fitter, self.floor, physics, tokens, over, 0 if form is polynomial else rounding.SPELLINGS,
                rounding.TOLD_MARGIN if told else rounding.MARGIN,
            )
            for form in forms
        ]  # fmt: skip
        best = min(snapped, key=self._final_value)
        if self._final_value(written) < self._final_value(best) - rounding.MARGIN:
            best = written  # what was rounded says less of rows it has not seen
        if (
            polynomial is not None
            and arrangement.is_polynomial(snapped[0])
            and self._final_value(snapped[0]) <= self._final_value(best) + POLYNOMIAL
        ):
            best = snapped[0]
        plain = self.as_told(self._kept(self._in_plain_form(best), best, written, candidate))
        if _told(plain) == _told(candidate) and candidate.fvu <= plain.fvu * (1 + 1e-6):
            self.saved[id(plain)] = max(0.0, self._final_value(plain) - self._final_value(candidate)), plain
        return plain

    def _written(self, candidate: Candidate) -> Candidate:
        if self.calendar and self.calendar(candidate):
            return candidate  # its wave is the one that is meant, and its frequency no constant
        key = tuple(candidate.expr), candidate.consts.tobytes()
        if key not in self.in_writing:
            written = alternative_forms.without_large_powers(candidate, self.problem.X, self.fitter)
            written = rounding.written(written, self.fitter)
            written = self._in_plain_form(spelling.slowest(written, self.problem.X, self.fitter))
            self.in_writing[key] = self.as_told(written)
        return self.in_writing[key]

    def _in_plain_form(self, candidate: Candidate) -> Candidate:
        candidate = plain_forms.plain(candidate, self.problem.X, self.fitter)
        if not self.late():
            return self._rewritten(candidate)
        return arrangement.arranged(spelling.outside(candidate, self.fitter), self.problem.X)

    def _rewritten(self, candidate: Candidate) -> Candidate:
        """In the form that is quickest to read, which takes some milliseconds to find."""
        try:
            candidate = self._kept(rewriting.shortest(candidate, self.problem.X, self.fitter), candidate)
            return arrangement.arranged(spelling.outside(candidate, self.fitter), self.problem.X)
        except Exception as error:  # a slip in writing a law must not cost the user the law
            self._slipped("rewriting", error)
            return candidate

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
        if self.options.select != "mdl":
            by_nats = self.options.select not in ("score", "fvu")
            margin = self.pool.value(best) + WON_BACK if by_nats else math.inf
            return [c for c in self.pool[:FINISHERS] if self.pool.value(c) <= margin]
        if best.fvu <= leave_one_out.CLEAN:
            return self._ranked(self._cancelling)
        self.rows_heard = (
            math.inf if self.known else leave_one_out.heard(best, self.problem)
        )  # stated errors say what a row is worth
        return self._ranked(self._of_left_out)

    def _cancelling(self, candidate: Candidate) -> float:
        return rounding.cancelling_nats(candidate, self.problem.X, self.problem.y)

    def _ranked(self, further: Callable[[Candidate], float]) -> list[Candidate]:
        """The FINISHERS of the pool by their number and what `further` adds to it, as far down as its own number may lead."""
        ranked: list[tuple[float, int]] = []
        least = math.inf
        for k, candidate in enumerate(self.pool[:LOOKED_AT]):
            value = self.pool.value(candidate)
            if value > least + WON_BACK:
                break
            value += further(candidate)
            least = min(least, value)
            ranked.append((value, k))
        return [self.pool[k] for value, k in sorted(ranked)[:FINISHERS] if value <= least + WON_BACK]

    def _of_left_out(self, candidate: Candidate) -> float:
        """Nats by which a law says less of rows it has not seen than its fit lets on."""
        if self.aim is not None:
            return 0.0
        unheard = 0.5 * max(0.0, len(self.problem.y) - self.rows_heard) * -math.log(max(candidate.fvu, self.floor))
        return unheard + leave_one_out.excess(candidate, self.problem, rounding.round_ones(candidate))

    def _final_value(self, candidate: Candidate) -> float:
        """The selection's number, with a round constant charged its code instead of a fitted one's."""
        M = len(self.problem.y)
        free, told = 0, 0.0
        dearest = description_length.constant_nats(M, max(candidate.fvu, self.rounded), self.floor)
        powers = rounding.exponents(candidate.expr)
        places = [i for i, token in enumerate(candidate.expr) if token == CONSTANT]
        for c, at in zip(candidate.consts, places):
            nats = rounding.round_nats(float(c), self.options.physics)
            if at in powers and float(c).is_integer() and abs(c) <= WHOLE_POWER:
                told += WHOLE_POWER_NATS
            elif nats < dearest:
                told += nats
            else:
                free += 1
        value = selection.selection(
            self.options.select, candidate, M, self.options.gamma, self.floor, free, self.known, self.exact,
            self.problem.X.shape[1], self.rounded, self.noise,
        )  # fmt: skip
        value += self.pool.surcharge(candidate)
        if self.options.select != "mdl":
            return value
        value -= self.prior(candidate) if self.prior else 0.0
        value += self._of_units(candidate) + self._of_left_out(candidate)
        saved, _ = self.saved.get(id(candidate), (0.0, None))
        return value + told + rounding.cancelling_nats(candidate, self.problem.X, self.problem.y) - saved


def _told(candidate: Candidate) -> int:
    """Constants of a law that say something: 0 and 1 belong to its form."""
    return int(np.sum(~np.isin(candidate.consts, (0.0, 1.0))))


def determined(candidate: Candidate, errors: np.ndarray) -> bool:
    """Whether every constant of a law is known to within DETERMINED times its size."""
    size = np.abs(np.asarray(candidate.consts, dtype=np.float64))
    return bool((errors <= DETERMINED * size).all())
