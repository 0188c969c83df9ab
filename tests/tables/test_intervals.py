"""Targets known as intervals: cells, pairs of columns, pandas' intervals."""

import numpy as np
import pandas
import pytest

from fansr.errors import DataError
from fansr.tables import Choice, array_problem, loading


def problems(text, *targets):
    return loading.table_problems(loading.parse_table(text.encode(), "t.csv"), Choice(targets=targets))


def test_cells_of_intervals_are_a_target():
    text = 'x,y\n1,"[1, 2]"\n2,"(2; 3.5]"\n3,"[4,inf)"\n4,"[, 7]"\n5,\n'
    ((problem, _, dropped),) = problems(text, "y")
    assert problem.ends.tolist() == [[1, 2], [2, 3.5], [4, np.inf], [-np.inf, 7]]
    assert problem.y.tolist() == [1.5, 2.75, 4, 7] and dropped["missing"] == 1


def test_two_columns_are_the_ends_and_no_inputs():
    ((problem, _, _),) = problems("x,low,high\n1,1,2\n2,2,\n3,3,9\n", "[low, high]")
    assert problem.names == ["x"] and problem.target == "[low, high]"
    assert problem.ends.tolist() == [[1, 2], [2, np.inf], [3, 9]]


def test_ends_in_the_wrong_order_are_named():
    with pytest.raises(DataError, match=r"row 2 is \[5, 2\]"):
        problems("x,low,high\n1,1,2\n2,5,2\n3,3,9\n", "[low,high]")
    with pytest.raises(DataError, match="no column is named 'lo'"):
        problems("x,low,high\n1,1,2\n2,5,2\n3,3,9\n", "[lo,high]")


def test_pandas_intervals():
    y = pandas.arrays.IntervalArray.from_tuples([(1, 2), (2, 3), (3, 5)])
    problem, _, _ = array_problem(np.arange(3.0)[:, None], y)
    assert problem.ends.tolist() == [[1, 2], [2, 3], [3, 5]]
    problem, _, _ = array_problem(np.arange(3.0)[:, None], pandas.Series(y, name="t"))
    assert problem.target == "t" and problem.ends is not None
