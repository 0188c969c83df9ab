"""Searching under a loss that is not squares: what turns.py asks here, and what is told of the law in the end.

Proposers do least squares.  They are given the loss's working target near the best law so far (fitting.loss_aims, Aim.working), at first near
what neighbouring rows tell; what they find is carried on to the least loss and judged by it, and when a better law is found the
working target is that law's.  Knows no proposers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fansr.fitting import Candidate, Problem, losses
from fansr.search import rounding

if TYPE_CHECKING:
    from fansr.fitting import Aim, LossRefiner

WORTH, WORTH_PER_ROW = 30.0, 0.1  # nats behind the best law, with so many per row, up to which constants are carried on
NEWS = 3.0  # nats by which a law must be better for the working target to be made anew
ROUNDS = 2  # times the first proposers are asked again


def aim_of(problem: Problem, loss: str, robust: bool = False) -> Aim | None:
    """The loss that was asked for, bound to a problem's rows; None for squares, those of weights in proportion to 1/y^2 too."""
    kind = losses.INTERVALS if problem.ends is not None else losses.parse(loss)
    if kind is None or by_weights(problem, loss, robust):
        return None
    return kind.of(problem.y, problem.weights, problem.known, problem.ends)


def by_weights(problem: Problem, loss: str, robust: bool = False) -> bool:
    """Whether relative errors are to be had by weights 1 / y^2 alone: some targets have no logarithm, or rows are set aside."""
    return loss == "relative" and problem.weights is None and (robust or bool(losses.Loss("relative").check(problem.y)))


def check(problem: Problem, loss: str, robust: bool = False) -> None:
    """ValueError, in one line, where a loss cannot be had with a problem."""
    kind = losses.parse(loss)
    if problem.ends is not None:
        if kind is not None:
            raise ValueError(
                f"loss {loss}: the target {problem.target} is intervals, which have a loss of their own; leave it out"
            )
        kind = losses.INTERVALS
    if kind is None:
        return
    if robust and kind.name != "relative":
        raise ValueError(f"loss {kind}: --robust sets rows aside for squares of the errors; leave one of them out")
    if kind.name == "relative" and problem.weights is not None:
        raise ValueError("loss relative gives every row its weight: leave out --weights and --sigma")
    if problem.known and kind.told:
        raise ValueError(f"loss {kind}: the noise is told by the loss itself; leave --sigma out")
    wrong = "" if problem.ends is not None or by_weights(problem, loss, robust) else kind.check(problem.y)
    if wrong:
        raise ValueError(f"loss {kind}: the target {problem.target} {wrong}")


def unlinked(candidates: Sequence[Candidate], loss: str) -> list[Candidate]:
    """Candidates as they were handed out, without the link of a loss."""
    kind = losses.parse(loss)
    link = "" if kind is None else kind.link
    return [
        replace(c, expr=list(c.expr[1:]), consts=None, fvu=math.inf) if link and c.expr[:1] == [link] else c
        for c in candidates
    ]


def aimed(
    problem: Problem, aim: Aim, restarts: int, seed: int, near: np.ndarray | None = None
) -> tuple[LossRefiner, Problem]:
    """(fitter, problem of the working target) near the values (M,) of a law."""
    from fansr.fitting import LossRefiner

    fitter = LossRefiner(problem.X, aim, restarts, seed, near)
    return fitter, replace(problem, y=fitter.target, weights=fitter.weights, known=False, ends=None)


def carried_on(
    candidate: Candidate, fitter: LossRefiner, value: Callable[[Candidate], float], best: float
) -> Candidate:
    """A candidate with its FVU under the loss, its constants carried on to the least loss where it may come to be chosen.

    value: the selection's number of a candidate; best: that of the best so far.
    """
    fvu = fitter.fvu(candidate.expr, candidate.consts)
    measured = replace(candidate, fvu=fvu)
    reach = best + WORTH + WORTH_PER_ROW * len(fitter.target)
    if len(candidate.consts) and (not fvu < math.inf or value(measured) <= reach):
        fvu, consts = fitter.polish(candidate.expr, candidate.consts, 40)
        measured = replace(candidate, fvu=float(fvu), consts=np.asarray(consts, dtype=np.float64))
    return measured


def errors(candidate: Candidate, fitter: LossRefiner, floor: float, physics: bool) -> np.ndarray:
    """Standard errors (C,) of a law's constants under the loss; round ones have none."""
    y, weights, known = fitter.measured(candidate.expr, candidate.consts)
    told = replace(candidate, fvu=min(candidate.fvu, known * max(0.5, 1 - len(candidate.consts) / len(y))))
    return rounding.law_errors(told, fitter.table, y, floor, weights, known, physics)


@dataclass
class Outcome:
    """The loss with the rows of the whole table, and what it tells of laws as they are handed out, with their link."""

    aim: Aim
    X: np.ndarray
    fvu: float = math.nan  # of the chosen law, by which half the rows times its logarithm is its likelihood

    @property
    def loss(self) -> losses.Loss:
        return self.aim.kind

    def fitter(self) -> LossRefiner:
        """Of these rows."""
        from fansr.fitting import LossRefiner

        return LossRefiner(self.X, self.aim)

    def bare(self, candidate: Candidate) -> Candidate:
        """What was fitted, without the link."""
        link = self.loss.link
        return replace(candidate, expr=candidate.expr[1:]) if link and candidate.expr[0] == link else candidate

    def values(self, candidate: Candidate) -> np.ndarray:
        """What was fitted, (M,), without the link."""
        from fansr.expressions import evaluate

        bare = self.bare(candidate)
        with np.errstate(all="ignore"):
            return evaluate(bare.expr, self.X, np.asarray(bare.consts, np.float64))

    def bare_values(self, values: np.ndarray) -> np.ndarray:
        """The link taken off values (M,) of the law as it is handed out."""
        if not self.loss.link:
            return values
        with np.errstate(all="ignore"):
            return np.log(values / (1 - values))

    def share(self, candidate: Candidate) -> float:
        """The share of the loss of the best constant law that a law leaves."""
        return self.aim.share(self.values(candidate))

    def held_out(self, candidate: Candidate, problem: Problem) -> float:
        """The share of the loss that a law leaves of the rows held out of a problem, beside the constant that is best there."""
        if problem.ends_val is None and self.loss.name == "interval":
            return math.nan
        aim = self.loss.of(problem.y_val, problem.weights_val, problem.known, problem.ends_val)
        return Outcome(aim, np.ascontiguousarray(problem.X_val)).share(candidate)

    def told(self, candidate: Candidate) -> dict:
        """The loss as --json holds it."""
        f = self.values(candidate)
        share = self.aim.share(f)
        figures = {name: float(v) if math.isfinite(v) else None for name, v in self.aim.figures(f).items()}
        return {
            "name": str(self.loss),
            "mean": float(self.aim.loss(f) / self.aim.M),
            "share": float(share) if share < math.inf else None,
            **figures,
        }


def outcome_of(best: Candidate, problem: Problem, loss: str) -> Outcome | None:
    """The loss of a law that was found before, with its link; None for squares."""
    aim = aim_of(problem, "squares" if loss == "interval" else loss)
    if aim is None:
        return None
    outcome = Outcome(aim, np.ascontiguousarray(problem.X))
    aim.refer(outcome.values(best))
    aim.settle(outcome.values(best))
    outcome.fvu = aim.fvu(outcome.values(best))
    return outcome


def conclude(
    best: Candidate, front: list[Candidate], problem: Problem, loss: str, robust: bool = False
) -> Outcome | None:
    """What the loss tells of the laws found, which get their link and, as `fvu`, the share of the loss they leave; in place."""
    outcome = outcome_of(best, problem, "squares" if by_weights(problem, loss, robust) else loss)
    if outcome is None:
        return None
    link = [outcome.loss.link] if outcome.loss.link else []
    for candidate in {id(c): c for c in [best, *front]}.values():
        candidate.fvu = float(outcome.share(candidate))
        candidate.expr = [*link, *candidate.expr]
    return outcome
