"""Whether a law is the true one, numbers and all: the scaling study's Acc_solved, by form and by value, and its Acc_R2>0.99.

By form: the canonical forms are equal, number for number.  By value: the values are, to a relative 1e-6, at points inside the
fitted box and half its width beyond.  A law counts as solved when it is by either; both are kept.  metrics.equivalent asks
more: equality far outside the box, where many of the study's forms have no values.
"""

from __future__ import annotations

import numpy as np

from fansr.streams import rng_for

POINTS, TOLERANCE, SHARE = 2048, 1e-6, 0.95  # as metrics.equivalent: the rest is room for cancellation near zeros
GOOD = 0.99  # R2


def solved(fit: dict) -> dict[str, bool | None]:
    """{solved, solved_form, solved_value} of a fit record with an answer, a truth and its box."""
    truth = fit["truth"]
    form = same_form(fit["expr"], fit.get("consts"), truth)
    value = None
    if fit.get("low") is not None and fit.get("high") is not None:
        value = same_values(fit["expr"], fit.get("consts"), truth, fit["low"], fit["high"])
    return {"solved": bool(form or value), "solved_form": form, "solved_value": value}


def same_form(expr, consts, truth: dict) -> bool:
    """Are the canonical forms, with their numbers in them, equal?"""
    from fansr.expressions import bind, sort_commutative
    from fansr.simplification import simplify_many

    both = []
    for tokens, numbers in ((expr, consts), (truth["expr"], truth.get("consts"))):
        values = [] if numbers is None else [float(value) for value in numbers]
        both.append([_plain(token) for token in bind(list(tokens), values)])
    forms = [form or tokens for (form, _), tokens in zip(simplify_many(both), both)]
    return sort_commutative(forms[0]) == sort_commutative(forms[1])


def _plain(token: str) -> str:
    """3.0 as 3."""
    return token[:-2] if token.endswith(".0") else token


def same_values(expr, consts, truth: dict, low, high, seed: int = 0) -> bool | None:
    """Are the values equal inside the box [low, high] (D,) and around it?  None where the truth has too few values there."""
    from fansr.expressions import evaluate

    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    X = low + (high - low) * rng_for(seed, "solved", 0).uniform(-0.5, 1.5, (POINTS, low.size))

    def numbers(values):
        return np.asarray([] if values is None else values, dtype=np.float64)

    with np.errstate(all="ignore"):
        y = evaluate(list(truth["expr"]), X, numbers(truth.get("consts")))
        usable = np.isfinite(y)
        if usable.sum() < 32:
            return None
        y_hat = evaluate(list(expr), X[usable], numbers(consts))
        return bool(np.mean(np.abs(y_hat - y[usable]) <= TOLERANCE * np.abs(y[usable])) >= SHARE)


def good_fit(fvu) -> bool:
    """R2 above 0.99."""
    return fvu is not None and bool(1.0 - fvu > GOOD)
