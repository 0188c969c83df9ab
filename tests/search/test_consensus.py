"""The law nearest to the average, against averages that are worked out by hand."""

import numpy as np

from fansr.fitting import Candidate, Problem
from fansr.search import consensus


def laws_of_one_column(slopes, fvus):
    return [Candidate("* <constant> x1".split(), np.array([slope]), fvu) for slope, fvu in zip(slopes, fvus)]


def problem():
    rng = np.random.default_rng(0)
    x = rng.random((30, 1))
    return Problem(x, x[:, 0] + rng.standard_normal(30), ["x"])


def test_the_middle_one_of_three_that_the_rows_cannot_tell_apart():
    laws = laws_of_one_column([0.0, 1.0, 2.0], [0.5, 0.501, 0.502])
    assert consensus.nearest(laws, [0.0, 0.5, 0.5], [True] * 3, problem(), 3000.0) is laws[1]


def test_a_leader_far_ahead_stays():
    laws = laws_of_one_column([0.0, 1.0, 2.0], [0.3, 0.501, 0.502])
    assert consensus.nearest(laws, [0.0, 30.0, 30.0], [True] * 3, problem(), 3000.0) is laws[0]


def test_where_the_laws_differ_by_less_than_the_noise_the_leader_stays():
    laws = laws_of_one_column([1.0, 1.001, 1.002], [0.5, 0.501, 0.502])
    assert consensus.nearest(laws, [0.0, 0.5, 0.6], [True] * 3, problem(), 30.0) is laws[0]


def test_what_may_not_be_chosen_still_has_its_voice():
    laws = laws_of_one_column([0.0, 1.0, 2.0], [0.5, 0.501, 0.502])
    assert consensus.nearest(laws, [0.0, 0.1, 0.5], [True, False, True], problem(), 3000.0) is not laws[1]
    none = consensus.nearest(laws, [0.2, 0.0, 0.5], [False] * 3, problem(), 3000.0)
    assert none is laws[1]


def test_twins_have_one_voice():
    """Ten spellings of one law do not outvote two others."""
    laws = laws_of_one_column([0.0] * 10 + [2.0, 1.0], [0.5] * 10 + [0.501, 0.502])
    assert consensus.nearest(laws, [0.0] * 12, [True] * 12, problem(), 3000.0) is laws[-1]


def test_points_keep_to_the_values_of_columns_with_few():
    rng = np.random.default_rng(1)
    X = np.column_stack([rng.integers(0, 2, 50), rng.standard_normal(50)]).astype(float)
    points = consensus.points_of(Problem(X, X[:, 1], ["flag", "x"]))
    assert set(points[:, 0]) == {0.0, 1.0} and points[:, 1].max() > X[:, 1].max()
