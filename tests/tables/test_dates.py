"""Dates as numbers, held against pandas, and every doubt about them."""

import datetime

import numpy as np
import pandas
import pytest
from hypothesis import given, settings, strategies as st

from fansr.errors import DataError
from fansr.tables import cells, dates
from fansr.tables.cells import Reading, Style
from fansr.tables.loading import array_problem, frame_table, parse_table, read_table, table_problem


def column(words, **style):
    return cells.read(words, Style(**style))


@pytest.mark.parametrize(
    ("words", "values", "text"),
    [
        (["2024-01-01", "2024-01-03", "2024-03-01"], [0, 2, 60], "days since 2024-01-01"),
        (["2024/01/01", "2024/1/3"], [0, 2], "days since 2024-01-01"),
        (["31.12.2023", "01.01.2024"], [0, 1], "days since 2023-12-31"),
        (["1.2.24", "3.2.24"], [0, 2], "days since 2024-02-01"),
        (["13/01/2024", "01/02/2024"], [0, 19], "days since 2024-01-13"),
        (["01/13/2024", "02/01/2024"], [0, 19], "days since 2024-01-13"),
        (["2 Jan 2024", "15 March 2024", "1-Feb-2024"], [0, 73, 30], "days since 2024-01-02"),
        (["Jan 2, 2024", "February 1st, 2024"], [0, 30], "days since 2024-01-02"),
        (["Mon, 1 Jan 2024", "Tue, 2 Jan 2024"], [0, 1], "days since 2024-01-01"),
        (["2024-01", "2024-02", "2025-01"], [0, 1, 12], "months since 2024-01"),
        (["Jan 2024", "Mar 2024"], [0, 2], "months since 2024-01"),
        (["2024-01-01T00:00:00", "2024-01-01 01:00", "2024-01-02"], [0, 3600, 86400], "seconds since 2024-01-01T00:00:00"),
        (["2024-01-01T00:00:00.25Z", "2024-01-01T02:00:00+02:00"], [0.25, 0], "seconds since 2024-01-01T00:00:00Z"),
        (["20240101T0000", "20240101T0130"], [0, 5400], "seconds since 2024-01-01T00:00:00"),
        (["1/13/2024 1:05 PM", "1/13/2024 12:00 AM"], [47100, 0], "seconds since 2024-01-13T00:00:00"),
        (["00:00", "12:30", "23:59"], [0, 45000, 86340], "h:mm:ss as seconds"),
        (["1:02:03", "0:00:00.5", "30:00:00"], [3723, 0.5, 108000], "h:mm:ss as seconds"),
        (["3:45.2", "3:59.25", "4:00"], [225.2, 239.25, 240], "m:ss as seconds"),
        (["1 days 02:00:00", "0 days 00:00:01"], [93600, 1], "h:mm:ss as seconds"),
    ],
)  # fmt: skip
def test_every_spelling(words, values, text):
    found = column(words)
    assert found.values.tolist() == values and not found.bad and found.reading.text == text
    again, bad = cells.apply(Reading.from_dict(found.reading.to_dict()), words)
    assert again.tolist() == values and not bad


@pytest.mark.parametrize("words", [["2024-02-30", "2024-13-01"], ["99/99/2024", "88/77/2024"], ["25:00x", "y"], ["2024-01-01-05", "x"], ["12-34-56-78", "a"],
                                   ["Januar 2024", "Feber 2024"], ["12:75", "13:99"]])  # fmt: skip
def test_what_is_no_date_stays_text(words):
    assert column(words).bad


def test_the_order_in_time_decides_day_or_month():
    rising = column(["01/02/2024", "02/02/2024", "01/03/2024"])  # by month first 2 Jan, 2 Feb, 3 Jan
    assert rising.values.tolist() == [0, 1, 29] and rising.reading.order == "dmy"
    falling = column(["03/01/2024", "02/05/2024", "01/04/2024"])
    assert falling.reading.order == "mdy" and falling.values.tolist() == [57, 32, 0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["01/02/2024", "02/03/2024"], "01/02/2024 in row 1 may have the day or the month first"),
        (["05-04-2023", "01-02-2024", "03-03-2022"], "05-04-2023 in row 1 may have"),
        (["13/01/2024", "01/14/2024"], "13/01/2024 in row 1 has the day first but 01/14/2024 in row 2 the month"),
        (["2024-01-01T00:00Z", "2024-01-01T00:00"], "has a zone but"),
        (["2024-01", "2024-01-05"], "is a month but"),
    ],
)
def test_doubt_is_refused_with_the_cell(words, said):
    found = column(words)
    assert said in found.cause and found.reading is None
    text = "when,y\n" + "\n".join(f"{word},{m}" for m, word in enumerate(words)) + "\n"
    with pytest.raises(DataError, match="no column of numbers is left.* in line 2") as error:
        table_problem(parse_table(text.encode(), "t"))
    assert "\n" not in str(error.value)


def test_the_user_decides_day_or_month():
    text = b"when,y\n01/02/2024,1\n02/03/2024,2\n03/05/2024,4\n"
    assert parse_table(text, "t", "day-first").values[:, 0].tolist() == [0, 30, 92]
    assert parse_table(text, "t", "month-first").values[:, 0].tolist() == [0, 32, 63]


def test_a_bad_date_costs_its_row():
    table = parse_table(b"when,y\n2024-01-01,1\n2024-02-30,2\n2024-01-05,3\n,4\n", "t")
    assert "'2024-02-30' in line 3" in table.warnings[0] and "no date" in table.warnings[0]
    problem, _, dropped = table_problem(table)
    assert problem.X.tolist() == [[0], [4]] and dropped == {"not a number": 1, "missing": 1}


def test_dates_are_no_target_by_default_and_compact_ones_need_a_name():
    problem, _, _ = table_problem(parse_table(b"y,when\n1,2024-01-01\n2,2024-01-02\n", "t"))
    assert problem.target == "y" and problem.names == ["when"]
    named = parse_table(b"date,y\n20240130,1\n20240201,2\n", "t")
    assert named.values[:, 0].tolist() == [0, 2]
    assert parse_table(b"count,y\n20240130,1\n20240201,2\n", "t").values[0, 0] == 20240130
    assert parse_table(b"date,y\n20240130,1\n20249901,2\n", "t").values[0, 0] == 20240130
    new = parse_table(b"date\n20240205\n", "t", readings={n: r.to_dict() for n, r in named.readings.items()})
    assert new.values[0, 0] == 6


moments = st.datetimes(datetime.datetime(1800, 1, 1), datetime.datetime(2250, 1, 1))


@settings(deadline=None, max_examples=60)
@given(
    st.lists(moments, min_size=1, max_size=8),
    st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%d %b %Y", "%Y-%m-%dT%H:%M:%S.%f", "%d.%m.%Y %H:%M:%S"]),
)
def test_differences_are_those_of_pandas(times, form):
    words = [time.strftime(form).replace(f"{time.year}", f"{time.year:04d}") for time in times]
    found = column(words)
    theirs = pandas.to_datetime(pandas.Series(words), format=form)
    seconds = (theirs - theirs.min()) / pandas.Timedelta(seconds=1)
    unit = 86400 if found.reading.unit == "days" else 1
    assert np.allclose(found.values * unit, seconds, rtol=1e-15, atol=0)
    series = array_problem(pandas.DataFrame({"t": theirs}), np.arange(len(times)) + 0.0)[0] if len(times) > 1 else None
    if series is not None:
        unit = 86400 if series.extra["conversions"]["t"]["unit"] == "days" else 1
        assert np.allclose(series.X[:, 0] * unit, seconds, rtol=1e-15, atol=0)


def test_frames_with_dates_of_every_type():
    days = pandas.date_range("2024-01-01", periods=4, freq="36h")
    frame = pandas.DataFrame(
        {
            "utc": days.tz_localize("Europe/Berlin"),
            "object": [d.date() for d in days],
            "text": days.strftime("%d.%m.%Y"),
            "lasted": days - days[0],
            "gap": [days[0], pandas.NaT, days[2], days[3]],
        }
    )
    problem, _, dropped = array_problem(frame, np.arange(4.0))
    assert dropped == {"missing": 1}
    assert problem.X.tolist() == [
        [0, 0, 0, 0, 0],
        [3 * 86400, 3, 3, 3 * 86400, 3 * 86400],
        [4.5 * 86400, 4, 4, 4.5 * 86400, 4.5 * 86400],
    ]
    new = frame_table(frame.iloc[2:3], readings=problem.extra["conversions"])
    assert new.values[0].tolist() == problem.X[1].tolist()
    later = frame_table(
        pandas.DataFrame({"text": ["2024-02-01"], "gap": ["2024-01-02"]}), readings=problem.extra["conversions"]
    )
    assert later.values[0].tolist() == [31, 86400]


def test_one_day_in_two_zones_is_one_moment():
    a, b = dates.moment("2024-07-01T12:00:00+02:00"), dates.moment("2024-07-01T05:00:00-05:00")
    assert a.at == b.at and a.zoned


def test_the_example_of_dates(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("date,sales\n" + "\n".join(f"2021-03-{d:02d},{10 + 3 * (d - 1)}" for d in range(1, 20)) + "\n")
    problem, _, _ = table_problem(read_table(str(path)))
    assert np.array_equal(problem.y, 10 + 3 * problem.X[:, 0])
    assert problem.extra["conversions"]["date"]["text"] == "days since 2021-03-01"
