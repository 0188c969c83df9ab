"""The plain laws and the tables of known truth that the search is measured on: sound, and judged by values alone."""

import numpy as np
import pytest

from bench import first_answers, plain_laws, verdicts
from fansr.expressions import free, from_infix


def test_there_are_forty_laws_of_different_names():
    assert len(plain_laws.LAWS) == len({law.name for law in plain_laws.LAWS}) == 40


@pytest.mark.parametrize("law", plain_laws.LAWS, ids=lambda law: law.name)
def test_a_law_has_values_on_its_ranges_and_the_truth_is_right(law):
    X, y = plain_laws.table(law, seed=3)
    assert X.shape == (law.rows, len(law.ranges)) and np.isfinite(y).all() and np.ptp(y) > 0
    assert np.array_equal(plain_laws.table(law, seed=3)[1], y)
    expr, consts = free(from_infix(law.formula, list(law.ranges)))
    assert first_answers.is_right(law, expr, consts, 0)
    assert not first_answers.is_right(law, ["*", *expr, "<constant>"], [*consts, 1.001], 0)
    assert not first_answers.is_right(law, ["<constant>"], [float(y.mean())], 0)


@pytest.mark.parametrize("kind", verdicts.KINDS)
def test_tables_of_known_truth_are_drawn_again_alike(kind):
    one, two = verdicts.draw(kind, 3, 1), verdicts.draw(kind, 3, 1)
    assert np.array_equal(one.X, two.X) and np.array_equal(one.y, two.y) and np.isfinite(one.y).all()
    other = verdicts.draw(kind, 3, 2)
    assert one.y.shape != other.y.shape or not np.array_equal(one.y, other.y)


def test_there_are_two_hundred():
    assert sum(verdicts.KINDS.values()) == 200
