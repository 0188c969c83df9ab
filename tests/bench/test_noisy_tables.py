"""noisy_tables.py: what it draws, reads and measures, without a search."""

import numpy as np
import pytest

from bench import noisy_tables
from fansr.fitting import Candidate


def test_wide_tables_are_the_same_every_time_and_least_squares_explains_them():
    tables = list(noisy_tables.wide(5, 6))
    for one, again in zip(tables, noisy_tables.wide(5, 6)):
        np.testing.assert_array_equal(one.X, again.X)
        assert 24 <= len(one.y) <= 400 and 4 <= one.X.shape[1] <= 12 and len(one.columns) == one.X.shape[1]
    within = [noisy_tables.least_squares(t.X, t.y, t.X, t.y) for t in tables]
    assert all(0.1 < value <= 1 for value in within)


def test_a_file_is_read_without_words_and_holes(tmp_path):
    path = tmp_path / "heights.csv"
    path.write_text("who,age,height\nA,3,95.5\nB,,100\nC,7,121\n")
    table = noisy_tables.from_csv(str(path), "height")
    assert table.columns == ["age"] and table.X.tolist() == [[3.0], [7.0]] and table.y.tolist() == [95.5, 121.0]
    with pytest.raises(Exception, match="'weight'; there are age, height"):
        noisy_tables.from_csv(str(path), "weight")


def test_r2_of_a_law_that_runs_away_counts_as_the_least():
    X = np.linspace(1, 2, 20)[:, None]
    law = Candidate("* <constant> x1".split(), np.array([1.0]), 0.0)
    assert noisy_tables.r2(law, X, X[:, 0]) == 1.0
    assert noisy_tables.r2(Candidate("exp * <constant> x1".split(), np.array([600.0]), 0.0), X, X[:, 0]) == -1.0
