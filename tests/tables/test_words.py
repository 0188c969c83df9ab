"""Months, days of the week, yes and no as numbers, held against the calendar of Python."""

import calendar
import random

import numpy as np
import pandas
import pytest

from fansr.tables import cells
from fansr.tables.cells import Reading, Style
from fansr.tables.loading import array_problem, frame_table, parse_table, read_table, table_problem

MONTHS, DAYS = list(calendar.month_name)[1:], list(calendar.day_name)


def column(words):
    return cells.read(words, Style())


@pytest.mark.parametrize("names, unit", [(MONTHS, "months"), (DAYS, "weekdays")])
@pytest.mark.parametrize(
    "spelt",
    [str, str.lower, str.upper, lambda word: word[:3], lambda word: word[:3].upper(), lambda word: word[:3] + "."],
)
def test_names_of_the_calendar_are_their_numbers(names, unit, spelt):
    order = random.Random(1).choices(range(len(names)), k=40)
    words = [spelt(names[k]) for k in order]
    found = column(words)
    assert (
        found.values.tolist() == [k + 1 for k in order]
        and not found.bad
        and found.reading == Reading(kind="words", unit=unit)
    )
    again, bad = cells.apply(Reading.from_dict(found.reading.to_dict()), words)
    assert again.tolist() == found.values.tolist() and not bad


@pytest.mark.parametrize(
    ("words", "values", "text"),
    [
        (["Jan", "february", "MAR.", "Sept.", "sept", "Dec"], [1, 2, 3, 9, 9, 12], "January as 1 to December as 12"),
        (
            ["Mon", "tuesday", "TUES", "Wed.", "Thurs.", "thur", "Sun"],
            [1, 2, 2, 3, 4, 4, 7],
            "Monday as 1 to Sunday as 7",
        ),
        (["May", "June", "may"], [5, 6, 5], "January as 1 to December as 12"),
        (["yes", "No", "YES", "no"], [1, 0, 1, 0], "yes as 1, no as 0"),
        (["y", "N", "Y", "n"], [1, 0, 1, 0], "yes as 1, no as 0"),
        (["on", "off", "Off"], [1, 0, 0], "yes as 1, no as 0"),
        ([" Jan", "Feb ", "", "NA"], [1, 2, np.nan, np.nan], "January as 1 to December as 12"),
    ],
)
def test_every_spelling(words, values, text):
    found = column(words)
    np.testing.assert_array_equal(found.values, values)
    assert not found.bad and found.reading.text == text and found.reading.to_dict()["text"] == text


@pytest.mark.parametrize(
    "words",
    [
        ["Jan", "Feb", "Mai"], ["Januar", "Februar"], ["Mon", "Jan"], ["Mon", "Tue", "holiday"], ["yes", "no", "maybe"], ["yes", "no", "Jan"],
        ["May", "May", "May"], ["Jan", "January", "jan."], ["no", "NO", "No"], ["Mon"], ["Jan", "Feb", "3"], ["N", "S", "E", "W"],
    ],
)  # fmt: skip
def test_other_words_and_one_word_throughout_stay_text(words):
    found = column(words)
    assert np.isnan(found.values).all() and found.bad == list(range(len(words))) and found.reading is None


def test_a_month_with_a_year_is_a_date_and_true_is_no_word():
    assert column(["Jan 2024", "Mar 2024"]).reading.kind == "date"
    assert column(["true", "false"]).reading is None and column(["true", "false"]).values.tolist() == [1, 0]


CSV = "month,day,open,word,sales\n" + "".join(
    f"{month[:3]},{DAYS[m % 7]},{'no' if m % 3 else 'Yes'},{'same' if m % 2 else 'other'},{3.5 * (m + 1)}\n"
    for m, month in enumerate(MONTHS)
)


def test_a_file_is_read_with_its_words_as_numbers(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(CSV)
    problem, warnings, dropped = table_problem(read_table(str(path)))
    assert problem.names == ["month", "day", "open"] and problem.target == "sales" and not dropped
    m = np.arange(12)
    np.testing.assert_array_equal(problem.X, np.column_stack([m + 1, m % 7 + 1, m % 3 == 0]))
    assert [one["text"] for one in problem.extra["conversions"].values()] == [
        "January as 1 to December as 12", "Monday as 1 to Sunday as 7", "yes as 1, no as 0",
    ]  # fmt: skip
    assert len(warnings) == 1 and "column word is text" in warnings[0]


def test_new_rows_are_read_alike():
    readings = table_problem(parse_table(CSV.encode(), "t"))[0].extra["conversions"]
    new = parse_table(b"open,month,day\noff,OCT.,sun\n1,7,3\nY,June,Thursday\n0,11.5,2\n", "new", readings=readings)
    np.testing.assert_array_equal(new.values, [[0, 10, 7], [1, 7, 3], [1, 6, 4], [0, 11.5, 2]])
    assert not new.warnings
    one = parse_table(b"month,day,open\nMay,Mon,no\n", "new", readings=readings)  # of which a first table would be text
    assert one.values.tolist() == [[5, 1, 0]]
    numbers = parse_table(b"month,day,open\n5,1,0\n12,7,1\n", "new", readings=readings)
    assert numbers.values.tolist() == [[5, 1, 0], [12, 7, 1]]


def test_a_new_cell_that_is_another_word_costs_its_row():
    readings = table_problem(parse_table(CSV.encode(), "t"))[0].extra["conversions"]
    new = parse_table(b"month,day,open\nJan,Mon,no\nMai,Tue,no\nMar,Jan,no\nApr,Wed,\n", "new", readings=readings)
    assert np.isnan(new.values).tolist() == [
        [False] * 3,
        [True, False, False],
        [False, True, False],
        [False, False, True],
    ]
    assert any("column month" in said and "'Mai' in line 3" in said for said in new.warnings)
    assert any("column day" in said and "'Jan' in line 4" in said for said in new.warnings)


@pytest.mark.parametrize("dtype", ["object", "category"])
def test_frames_are_read_as_files_are(dtype):
    frame = pandas.DataFrame(
        {"m": pandas.Series(["Jan", "Mar", None, "Dec", "jul"]).astype(dtype), "x": np.arange(5.0)}
    )
    problem, _, dropped = array_problem(frame, np.arange(5.0))
    assert problem.X.tolist() == [[1, 0], [3, 1], [12, 3], [7, 4]] and sum(dropped.values()) == 1
    new = frame_table(pandas.DataFrame({"m": ["May", 8], "x": [1.0, 2.0]}), readings=problem.extra["conversions"])
    assert new.values.tolist() == [[5, 1], [8, 2]]
