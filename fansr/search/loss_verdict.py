"""How good a law is that was fitted under a loss other than squares, in the words of verdict.py and with its tests.

Residuals are the loss's normal scores (loss_aims.Aim.scores), whose signs are fair coins under the right law for counts and classes
too; the chance that noise is explained so well goes by the gain in likelihood, which under no relation is spread as that of
squares is (Wilks 1938).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fansr.expressions import variables
from fansr.fitting import Candidate, Problem
from fansr.search import remarks, verdict
from fansr.search.loss_search import Outcome
from fansr.streams import rng_for

SCATTER = 1.5  # dispersion of counts from which it is remarked on
TOLD_APART = 0.01  # log loss below which classes are told apart so well that the odds have no size


def judge(
    outcome: Outcome, problem: Problem, best: Candidate, errors: np.ndarray, unheard: Sequence[str] = (), seed: int = 0
) -> verdict.Judged:
    """Verdict and remarks of a law as it is handed out, with its link."""
    f = outcome.values(best)
    told = outcome.told(best)
    word, text = _verdict(outcome, problem, best, errors, f, told, seed)
    noted = [
        (
            "loss",
            f"{_meaning(outcome)}; FVU and R2 are of this loss: what the law leaves of it, beside the best constant",
        ),
        *_of_the_loss(told),
        *remarks.of(best, errors, problem, unheard, seed),
    ]
    return verdict.Judged(word, text, [{"code": code, "text": text} for code, text in noted])


def _meaning(outcome: Outcome) -> str:
    loss = outcome.loss
    return {
        "absolute": "the sum of the sizes of the errors was made small",
        "huber": f"errors beyond {loss.number:g} standard deviations counted by their size, smaller ones by their square",
        "quantile": f"the law is that below which {100 * loss.number:g} % of the rows lie",
        "relative": "the squares of log(target / law) were made small",
        "poisson": "the target was taken for counts, spread about the law as Poisson's",
        "binomial": "the law is the probability that the target is 1",
        "interval": "the target is known to lie in intervals, about the law as Gaussian noise has it",
    }[loss.name]


def _verdict(outcome, problem, best, errors, f, told, seed) -> tuple[str, str]:
    M, free = len(problem.y), int((np.asarray(errors) > 0).sum())
    if not np.isfinite(f).all():
        return "rough", "the law is not finite on every row"
    if M <= free:
        return "no law", f"{M} rows cannot tell {free} constants: any such law fits them"
    if not variables(best.expr):
        return "no law", "nothing was found that explains the rows better than a constant, by more than chance would"
    bare = outcome.bare(best)
    chance = verdict.chance_of(bare, outcome.fvu, M, free, problem.X.shape[1])
    if chance > verdict.CHANCE:
        return (
            "no law",
            f"chance would do as well: odds of {verdict.chance_text(chance)} that so good a law is found in noise",
        )
    X = problem.X
    columns = list(range(X.shape[1])) if X.shape[1] <= verdict.MOST_COLUMNS else variables(best.expr)
    scores = outcome.aim.scores(f, rng_for(seed, "verdict.scores", 0))
    shape = verdict.shape_of(X[:, columns], scores, [problem.names[j] for j in columns], free, problem.y, seed)
    left = _left(outcome, told)
    if shape:
        return "rough", f"{left}, and what is left has a shape: {shape}; a better law exists"
    return "noise", f"{left}; what is left shows no shape"


def _left(outcome: Outcome, told: dict) -> str:
    """What a law leaves, in the loss's own measure."""
    name = outcome.loss.name
    if name == "relative":
        return f"down to a noise of {100 * told['relative_error']:.2g} % of each value"
    if name == "poisson":
        return f"the counts are spread about it {told['dispersion']:.2g} times as wide as Poisson's"
    if name == "binomial":
        return f"accuracy {told['accuracy']:.3g}, AUC {told['auc'] or 0:.3g}, log loss {told['log_loss']:.3g}"
    if name == "interval":
        return f"{100 * told['share_inside']:.3g} % of the intervals hold it, a noise of {told['noise']:.2g}"
    if name == "quantile":
        return f"{100 * told['share_below']:.3g} % of the rows lie below it, half of all within {told['median_absolute_error']:.2g}"
    return f"half of the rows lie within {told['median_absolute_error']:.2g} of it"


def _of_the_loss(told: dict):
    if told["name"] == "poisson" and told["dispersion"] > SCATTER:
        yield (
            "dispersion",
            f"the counts scatter {told['dispersion']:.2g} times as much as Poisson's; the standard errors are widened accordingly",
        )
    if told["name"] == "binomial" and told["log_loss"] < TOLD_APART:
        yield (
            "told apart",
            "the classes are told apart without a mistake, so the rows say where the border is but not how steep the odds are",
        )
