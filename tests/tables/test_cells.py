"""Cells as numbers: every spelling, what decides it, and what is refused, with the cell and the cause."""

import json
import math

import numpy as np
import pandas
import pytest
from hypothesis import given, settings, strategies as st

from fansr.errors import DataError
from fansr.tables import cells
from fansr.tables.cells import Column, Reading, Style
from fansr.tables.loading import parse_table, remarks, table_problem


def table(text: str, **options):
    return parse_table(text.encode(), "t.csv", **options)


def problem(text: str, **options):
    return table_problem(table(text), **options)


def column(words, **style) -> Column:
    return cells.read(words, Style(**style))


@pytest.mark.parametrize(
    ("words", "values", "reading"),
    [
        (["1,5", "2,25"], [1.5, 2.25], {"decimal": ","}),
        (["6,070", "301", "163,752.21"], [6070, 301, 163752.21], {"thousands": ","}),
        (["6.070", "301", "163.752,21"], [6070, 301, 163752.21], {"thousands": ".", "decimal": ","}),
        (["1.234.567", "2.345"], [1234567, 2345], {"thousands": ".", "decimal": ","}),
        (["12,34,567", "5,000"], [1234567, 5000], {"thousands": ","}),
        (["1 234,5", "2\u00a0345,5", "1\u202f000,0"], [1234.5, 2345.5, 1000], {"thousands": " ", "decimal": ","}),
        (["1'234.5", "7’654.25"], [1234.5, 7654.25], {"thousands": "'"}),
        (["12%", "3.5 %", "0"], [0.12, 0.035, 0], {"percent": "%"}),
        (["12‰", "3‰"], [0.012, 0.003], {"percent": "‰"}),
        (["$5", "$1,200.50", "-$3", "($4.00)"], [5, 1200.5, -3, -4], {"currency": "$", "thousands": ","}),
        (["5 €", "1.200,50 €"], [5, 1200.5], {"currency": "€", "thousands": ".", "decimal": ","}),
        (["EUR 5", "EUR 6"], [5, 6], {"currency": "EUR"}),
        (["3.2 cm", "4cm", "-1e-3 cm"], [3.2, 4, -1e-3], {"unit": "cm"}),
        (["9.81 m/s^2", "1 m/s^2"], [9.81, 1], {"unit": "m/s^2"}),
        (["20°C", "-5 °C"], [20, -5], {"unit": "°C"}),
        (["5 kg m s-1", "6 kg m s-1"], [5, 6], {"unit": "kg m s-1"}),
        (["\u22125", "\u20136.5", "7"], [-5, -6.5, 7], {}),
        (["1.5D+03", "2d0"], [1500, 2], {}),
        (["1,5e3", "2,25E-1"], [1500, 0.225], {"decimal": ","}),
        (["True", "FALSE", "true"], [1, 0, 1], {}),
        (["12 apples", "7 apples"], [12, 7], {"unit": "apples"}),
    ],
)
def test_every_spelling(words, values, reading):
    found = column(words)
    assert found.values.tolist() == values and not found.bad and not found.cause
    assert {k: v for k, v in (found.reading or Reading()).to_dict().items() if k not in ("kind", "text")} == reading


@pytest.mark.parametrize(
    "words",
    [["A12", "B13"], ["1st", "2nd", "3rd"], ["0x10", "0x11"], ["1_000", "2_000"], ["5 ± 0.2", "6 ± 0.3"], ["1-2", "3-4"], ["(5)", "(6)"],
     ["1,2,3", "4,5,6"], ["1.2.3", "4.5.6"], ["12,34", "1.5.6.7", "x", "y"], ["5 10", "6 20"], ["5 cm x", "6 cm x2"], ["%", "%"], ["1'2", "3'4"]],
)  # fmt: skip
def test_what_is_no_number_stays_text(words):
    found = column(words)
    assert len(found.bad) > np.isfinite(found.values).sum()


def test_a_cell_that_is_written_otherwise_than_the_others_is_a_bad_one():
    for words in (
        ["1.5", "2,5", "3.5", "4.25"],
        ["5", "6", "7", "8%"],
        ["5", "6", "7", "8 cm"],
        ["5", "6", "7", "oops"],
    ):
        found = column(words)
        assert len(found.bad) == 1 and words[found.bad[0]] in ("2,5", "8%", "8 cm", "oops"), words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["12%", "5%", "0.3"], "12% in row 1 but 0.3 in row 3"),
        (["3 cm", "4 cm", "5 m"], "3 cm in row 1 but 5 m in row 3"),
        (["$5", "$6", "7 €"], "$5 in row 1 but 7 € in row 3"),
    ],
)
def test_two_ways_in_one_column_are_refused_with_both_cells(words, said):
    found = column(words)
    assert said in found.cause and "write all cells" in found.cause and np.isnan(found.values).all()
    text = "x,y\n1," + "\n2,".join(f'"{word}"' for word in words) + "\n"
    with pytest.raises(DataError, match="column y.*cannot be read") as error:
        problem(text)
    assert "line 2" in str(error.value) and "\n" not in str(error.value)
    flipped = "y,x\n" + "\n".join(f'"{word}",{m}' for m, word in enumerate(words)) + "\n"
    with pytest.raises(DataError, match="no column of numbers is left.*line 2"):
        problem(flipped)
    with pytest.raises(DataError, match="column y cannot be read"):
        problem(flipped, inputs=["y"])
    more = "y,z,x\n" + "\n".join(f'"{word}",{m * m},{m}' for m, word in enumerate(words)) + "\n"
    found, warnings, _ = problem(more)
    assert found.names == ["z"] and any("column y was left out: " in w and "line 2" in w for w in warnings)


def test_the_file_decides_what_a_column_leaves_open():
    dots = table("a;b;c\n6.070;22,67;1\n301;35,31;2\n7.290;3,50;3\n")
    assert dots.values[:, 0].tolist() == [6070, 301, 7290] and not dots.warnings
    commas = table('a,b\n"6,070",22.67\n301,35.31\n"7,290",3.5\n')
    assert commas.values[:, 0].tolist() == [6070, 301, 7290] and not commas.warnings
    plain = table("a,b\n6.071,22.67\n3.014,35.31\n7.293,3.5\n")
    assert plain.values[:, 0].tolist() == [6.071, 3.014, 7.293] and not plain.warnings and not plain.readings
    own = table("a;b\n1,5;3.14159\n2,5;2.71828\n3,25;1.5\n")
    assert own.values.tolist() == [[1.5, 3.14159], [2.5, 2.71828], [3.25, 1.5]]


def test_what_nothing_decides_is_said():
    decimal = table("a;b\n1,000;2\n2,500;3\n")
    assert (
        decimal.values[:, 0].tolist() == [1, 2.5]
        and "1,000 in line 2 was read as 1 (decimal comma)" in decimal.warnings[0]
    )
    thousands = table('a,b\n"1,000",2\n"2,500",3\n')
    assert thousands.values[:, 0].tolist() == [1000, 2500] and "was read as 1000 (thousands)" in thousands.warnings[0]
    beside = table("a;b\n6.070;2\n301;3\n7.290;4\n")  # as decimals these would be 6.07 or 301.000
    assert (
        beside.values[:, 0].tolist() == [6070, 301, 7290] and "6.070 in line 2 was read as 6070" in beside.warnings[0]
    )
    long = table("a;b\n6.070;2\n1301;3\n7.290;4\n")
    assert long.values[:, 0].tolist() == [6.07, 1301, 7.29] and not long.warnings


def test_a_few_cells_without_the_unit_are_said():
    found = table("a,b\n3 cm,1\n4 cm,2\n5,3\n")
    assert (
        found.values[:, 0].tolist() == [3, 4, 5] and "1 cells without a unit, the first in line 4" in found.warnings[0]
    )


def test_the_line_that_names_the_separator():
    for line in ("sep=;", '"sep=;"', "SEP=;", "sep=;;"):
        found = table(f"{line}\na;b,c\n1;2\n3;4\n")
        assert found.names == ["a", "b,c"] and found.values.tolist() == [[1, 2], [3, 4]]
    assert table("sep=\t\na\tb\n1\t2\n3\t4\n").names == ["a", "b"]
    with pytest.raises(DataError, match="nothing but comments"):
        table("sep=;\n")


def test_a_row_of_units():
    found = table("t,x,name,ratio\ns,m/s,,-\n0,1,a,5\n1,2,b,6\n")
    assert found.values[:, :2].tolist() == [[0, 1], [1, 2]]
    assert found.readings["t"].unit == "s" and found.readings["x"].unit == "m/s" and "ratio" not in found.readings
    brackets = table("t;x\n[s];[furlongs]\n0;1\n1;2\n")
    assert brackets.readings["x"].unit == "furlongs" and len(brackets.values) == 2
    for text in (
        "t,x\noops,never\n0,1\n1,2\n2,3\n",
        "t,x\nm,1.5\n0,1\n1,2\n",
        "t,x\n,2\n0,1\n1,2\n",
        "name,x\ns,1\nu,2\n",
    ):
        assert not table(text).readings and len(table(text).values) == text.count("\n") - 1, text
    task, _, _ = table_problem(found)
    assert {"code": "reading", "text": "x: in m/s"} in remarks(task)


def test_a_table_that_begins_with_its_first_row():
    found = table("2024-01-01,10\n2024-01-02,13\n")
    assert (
        found.names == ["x1", "y"]
        and found.values.tolist() == [[0, 10], [1, 13]]
        and "line 1 holds values" in found.warnings[0]
    )


def test_windows_letters():
    assert table_problem(parse_table("a;b\n5 €;1\n6 €;2\n".encode("cp1252"), "t"))[0].X[:, 0].tolist() == [5, 6]


# ---- the same for new rows --------------------------------------------------------------------


def test_a_reading_is_plain_json():
    for reading in (
        Reading(),
        Reading(percent="%", thousands=","),
        Reading(kind="date", unit="days", origin="2024-01-01", order="dmy"),
        Reading(kind="level", column="a", level="u", levels=("u", "v")),
        Reading(kind="derived", formula="x + 1", sources=("x",)),
    ):
        assert Reading.from_dict(json.loads(json.dumps({**reading.to_dict(), "later": 1}))) == reading


def test_new_rows_are_read_as_the_laws_own():
    first = table("q;rate;when;cost\n1.000;5%;01.02.2024;$1\n2.500,5;7%;02.02.2024;$2\n3,25;9%;04.02.2024;$4\n")
    task, _, _ = table_problem(first)
    conversions = json.loads(json.dumps(task.extra["conversions"]))
    new = table("q;rate;when\n1.234;12%;06.02.2024\n5;0.5;2024-02-01\n", readings=conversions)
    assert new.values.tolist() == [[1234, 0.12, 5], [5, 0.5, 0]]
    alone = table("q;rate;when\n1.234;12%;06.02.2024\n", readings={})
    assert alone.values[0, 0] == 1.234 and alone.values[0, 2] == 0


def test_new_rows_in_another_unit_are_missing():
    first = table("x,y\n3 cm,1\n4 cm,2\n")
    new = table(
        "x\n3 m\n4 m\n5 cm\n6\n7 cm\n", readings=first.readings and {n: r.to_dict() for n, r in first.readings.items()}
    )
    assert np.isnan(new.values[:2, 0]).all() and new.values[2:, 0].tolist() == [5, 6, 7]


# ---- round trips ------------------------------------------------------------------------------

MARKS = [("", ""), ("$", ""), ("", " €"), ("", " cm"), ("", "°C")]


def spelled(value: float, digits: int, decimal: str, thousands: str, before: str, after: str) -> str:
    text = f"{abs(value):,.{digits}f}".replace(",", "T").replace(".", decimal).replace("T", thousands)
    return ("-" if value < 0 else "") + before + text + after


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=12),
    st.integers(0, 6),
    st.sampled_from([(".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (".", ""), (",", "")]),
    st.sampled_from(MARKS),
)
def test_numbers_come_back_from_every_spelling(values, digits, signs, marks):
    """Whatever the style, a column that shows it (a fraction that is no group of three) reads back what was written."""
    decimal, thousands = signs
    words = [spelled(v, digits, decimal, thousands, *marks) for v in values]
    wanted = [float(f"{v:.{digits}f}") for v in values]
    found = cells.read(words, Style(decimal=decimal))
    assert np.array_equal(found.values, wanted), (words, found)
    if digits not in (0, 3):  # nothing but the column itself tells
        assert np.array_equal(column(words).values, wanted), (words, column(words))
    known = found.reading or Reading()
    again, bad = cells.apply(Reading.from_dict(known.to_dict()), words)
    assert np.array_equal(again, wanted) and not bad


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-(10**9), 10**9), min_size=1, max_size=10), st.sampled_from([",", "."]))
def test_thousands_as_pandas_reads_them(values, thousands):
    """Held against pandas' own option for thousands, which has to be told."""
    import io

    words = [f"{v:,}".replace(",", thousands) for v in values]
    theirs = pandas.read_csv(
        io.StringIO("a\n" + "\n".join(f'"{w}"' for w in words)),
        thousands=thousands,
        decimal="," if thousands == "." else ".",
    )
    assert column(words, decimal="," if thousands == "." else ".").values.tolist() == theirs["a"].tolist()


@settings(deadline=None, max_examples=150)
@given(
    st.text(max_size=12),
    st.lists(st.sampled_from(list("0123456789.,'% $€-+()eEdcm/^ \u00a0:")), max_size=14).map("".join),
)
def test_any_text_is_read_or_left(one, other):
    for words in ([one], [other], [one, other, "1"], ["1", "2", other]):
        found = column(words)
        assert len(found.values) == len(words) and not np.isinf(found.values[[m for m in found.bad]]).any()
        scanned = cells.scan(other)
        if scanned is not None:
            assert any(cells.digits(scanned.core, sign, scanned.power) is not None for sign in ".,")


def test_long_cells_cost_little():
    import time

    words = ["1" * 100_000, "1." * 50_000, "1 " * 50_000, "a" * 100_000, "-" * 100_000, "1,234" * 20_000]
    begun = time.process_time()
    column(words)
    fast = time.process_time() - begun
    begun = time.process_time()
    sum(math.sqrt(len(w) + i) for w in words for i in range(100_000))
    assert fast < 20 * (time.process_time() - begun)
