"""The choice by the steepest drop: PySR's formula by hand, and tables as a network would give them."""

import math

import network_like
import numpy as np
import pytest

from fansr.expressions import evaluate, from_infix
from fansr.fitting.problem import Candidate
from fansr.search import selection, turns

# (length, FVU) of the fronts that ten seconds of one core found for the tables of network_like.py, and the length to be chosen.
FRONTS = {
    "heat": ([(1, 1), (4, 0.649), (5, 0.521), (7, 0.399), (9, 0.0587), (11, 3.94e-5), (13, 3.86e-5), (15, 9.45e-6), (17, 9.31e-6),
              (19, 9.04e-6), (21, 8.31e-6), (22, 6.15e-6), (26, 4.89e-6), (29, 4.75e-6), (32, 4.66e-6)], 11),
    "spring": ([(1, 1), (3, 0.441), (5, 0.264), (7, 0.156), (8, 0.0644), (10, 0.0535), (11, 0.0283), (12, 0.0215), (13, 3.7e-5),
                (16, 3.65e-5), (18, 2.66e-5), (22, 1.65e-5), (24, 1.56e-5), (30, 1.31e-5)], 13),
    "gravity": ([(1, 1), (3, 0.785), (4, 0.453), (6, 0.256), (8, 0.232), (9, 0.12), (10, 0.112), (11, 0.0468), (13, 9.99e-5),
                 (14, 9.75e-5), (16, 9.17e-5), (18, 5.46e-5), (21, 5.1e-5), (23, 4.92e-5)], 13),
    "generic": ([(1, 1), (3, 0.583), (4, 0.482), (6, 0.259), (8, 0.249), (9, 0.113), (12, 0.0963), (16, 0.0778), (21, 0.0715),
                 (26, 0.0619), (31, 0.0537), (34, 0.0448)], 9),
}  # fmt: skip
PROPOSERS = {
    "heat": ("pairs",),
    "spring": ("separable",),
    "gravity": ("sums", "library"),
    "generic": ("sums", "library"),
}
TRUTHS = {
    "heat": "exp(-1.9739*t)*sin(3.14159*x)",
    "spring": "(1/r - 1)*(0.8*dx - 0.5*dy) + 0.1",
    "gravity": "(0.8*dx - 0.5*dy)*m1*m2/r**3",
}


def front_of(pairs):
    return [Candidate(["neg"] * (length - 1) + ["x1"], np.zeros(0), fvu) for length, fvu in pairs]


def test_the_step_is_that_of_pysr_by_hand():
    """PySR's score: minus the difference of log loss over that of complexity; its largest among losses up to 1.5 of the least."""
    pairs = [(1, 1.0), (3, 0.5), (5, 0.01), (9, 1e-3), (12, 0.9e-3), (14, 0.8e-3)]
    scores = [0.0] + [-(math.log(b) - math.log(a)) / (m - n) for (n, a), (m, b) in zip(pairs, pairs[1:])]
    best, step = selection.largest_drop(front_of(pairs))
    assert best.length == pairs[int(np.argmax(scores))][0] == 5 and math.isclose(step, max(scores))
    near = [k for k, (_, loss) in enumerate(pairs) if loss <= 1.5 * 0.8e-3]
    best, step = selection.largest_drop(front_of(pairs), within=1.5)
    wanted = max(near, key=lambda k: scores[k])
    assert best.length == pairs[wanted][0] == 9 and math.isclose(step, scores[wanted])


def test_ties_short_laws_and_exact_ones():
    tie = front_of([(1, 1.0), (2, 0.1), (3, 0.01)])
    assert selection.largest_drop(tie)[0].length == 2
    assert selection.largest_drop([]) == (None, 0.0)
    alone = front_of([(1, 1e-30)])  # y = x1: nothing is shorter, and the step is counted from no law
    assert selection.largest_drop(alone)[0] is alone[0] and selection.largest_drop(alone)[1] > 50
    assert selection.largest_drop(front_of([(1, 1.0)]))[1] == 0.0
    floor = 1e-20  # below it differences are rounding
    assert selection.largest_drop(front_of([(1, 1.0), (5, 1e-21), (6, 1e-28)]), floor)[0].length == 5


@pytest.mark.parametrize("name", FRONTS)
def test_the_law_stands_out_of_a_networks_error(name):
    pairs, wanted = FRONTS[name]
    best, step = selection.largest_drop(front_of(pairs))
    assert best.length == wanted
    assert (step < selection.DROP_NATS) == (name == "generic")
    if name != "generic":  # PySR's default takes a longer one of these
        assert selection.largest_drop(front_of(pairs), within=1.5)[0].length > wanted


def check(name, proposers=None):
    problem = network_like.table(name)
    told = {} if proposers is None else {"proposers": proposers}
    drop = turns.search(problem, turns.Options(select="drop", **told))
    plain = turns.search(problem, turns.Options(select="mdl", **told))
    assert drop.best.length < plain.best.length, "a smooth error is explained by longer laws under description length"
    assert len(drop.errors) == len(drop.best.consts)
    if name == "generic":
        assert drop.status == "no law"
        return
    assert drop.status == "ok" and drop.best.length <= 17
    y = evaluate(from_infix(TRUTHS[name], problem.names), problem.X)
    error = evaluate(drop.best.expr, problem.X, drop.best.consts) - y
    assert np.sqrt(np.mean(error**2)) < 0.02 * y.std(), "the law itself, not only the numbers it was told"


def test_the_spring_is_found():
    check("spring", PROPOSERS["spring"])


@pytest.mark.prove
@pytest.mark.parametrize("name", FRONTS)
def test_the_laws_are_found_and_of_a_generic_block_none(name):
    check(name, PROPOSERS[name])
