"""Spreadsheets, parquet, feather and JSON hold the same numbers as a CSV, or one line says what is missing."""

import gzip
import io
import json
import sys
import zipfile

import numpy as np
import pandas
import pytest

from fansr.errors import DataError
from fansr.tables.loading import parse_table, table_problem

FRAME = pandas.DataFrame(
    {
        "when": pandas.date_range("2024-01-01", periods=5),
        "x": [0.1, 2.5e-7, 3.0, None, 1 / 3],
        "n": [1, 2, 3, 4, 10**15 + 1],
        "kind": ["a", "b", "a", "b", "a"],
        "share": ["5%", "7%", "8%", "9%", "10%"],
        "y": [1.5, 2.5, 3.5, 4.5, 5.5],
    }
)


def dressed(form: str) -> bytes:
    out = io.BytesIO()
    if form == "csv":
        FRAME.to_csv(out, index=False)
    elif form == "xlsx":
        FRAME.to_excel(out, index=False)
    elif form == "parquet":
        FRAME.to_parquet(out, index=False)
    elif form == "feather":
        FRAME.to_feather(out)
    elif form == "records":
        return FRAME.assign(when=FRAME["when"].astype(str)).to_json(orient="records", double_precision=15).encode()
    elif form == "lines":
        rows = json.loads(dressed("records"))
        return "\n".join(map(json.dumps, rows)).encode()
    elif form == "columns":
        rows = json.loads(dressed("records"))
        return json.dumps({name: [row[name] for row in rows] for name in FRAME}).encode()
    elif form == "split":
        rows = json.loads(dressed("records"))
        return json.dumps({"columns": list(FRAME), "data": [list(row.values()) for row in rows]}).encode()
    elif form == "index":
        rows = json.loads(dressed("records"))
        return json.dumps({name: {str(i): row[name] for i, row in enumerate(rows)} for name in FRAME}).encode()
    return out.getvalue()


@pytest.mark.parametrize("form", ["csv", "xlsx", "parquet", "feather", "records", "lines", "columns", "split", "index"])
def test_every_format_holds_the_same(form):
    if form in ("parquet", "feather"):
        pytest.importorskip("pyarrow")
    if form == "xlsx":
        pytest.importorskip("openpyxl")
    table = parse_table(dressed(form), "t")
    assert table.names == list(FRAME)
    assert np.allclose(table.values[:, 1], FRAME["x"], rtol=1e-14 if "csv" not in form else 0, atol=0, equal_nan=True)
    assert table.values[:, 2].tolist() == FRAME["n"].tolist() and table.values[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert np.allclose(table.values[:, 4], [0.05, 0.07, 0.08, 0.09, 0.1]) and table.text.tolist() == [False] * 3 + [
        True,
        False,
        False,
    ]
    problem, warnings, dropped = table_problem(table)
    assert problem.names == ["when", "x", "n", "share"] and dropped == {"missing": 1} and "kind is text" in warnings[0]


def test_a_packed_spreadsheet_and_one_of_two_sheets():
    pytest.importorskip("openpyxl")
    out = io.BytesIO()
    with pandas.ExcelWriter(out) as book:
        FRAME.to_excel(book, sheet_name="first", index=False, startrow=2, startcol=1)
        FRAME.to_excel(book, sheet_name="second", index=False)
    from fansr.tables.text_files import unpack

    table = parse_table(unpack(gzip.compress(out.getvalue()), "t"), "t")
    assert table.names == list(FRAME) and "the first of 2 sheets was read, 'first'" in table.warnings[0]
    units = io.BytesIO()
    pandas.DataFrame([["t", "x"], ["s", "m"], [0, 1.5], [1, "oops"], [2, 4], [3, 9.25]]).to_excel(
        units, index=False, header=False
    )
    table = parse_table(units.getvalue(), "t")
    assert table.readings["x"].unit == "m" and "'oops' in line 4" in table.warnings[0]


@pytest.mark.parametrize(
    ("magic", "package", "extra"),
    [(b"PK\x03\x04", "openpyxl", "excel"), (b"PAR1....", "pyarrow", "arrow"), (b"ARROW1..", "pyarrow", "arrow"),
     (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xlrd", "xls")],
)  # fmt: skip
def test_a_missing_reader_is_named_with_its_extra(monkeypatch, magic, package, extra):
    if package == "openpyxl":
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("xl/workbook.xml", "")
        magic = out.getvalue()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(DataError, match=rf"needs {package}: pip install 'fansr\[{extra}\]'") as error:
        parse_table(magic, "book")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04\x00\x00", "spreadsheet"),
        (b"PAR1" + b"x" * 50, "damaged"),
        (b"ARROW1" + b"x" * 50, "damaged"),
        (b"[1, 2", "not a text table|no rows|column"),
        (b'[{"a": 1, "b": 2}, {"a": ', "begins like JSON"),
        (b'{"a": 1}', "wanted a list of records"),
        (b'{"a": 1, "b": 2', "begins like JSON"),
        (b'[{"a": [1], "b": 2}]', "record 1: a is a list"),
        (b'{"a": [1, 2], "b": [1]}', "column b has 1 values"),
        (b"[" * 5000, "nested|begins like JSON|column"),
        (b'[{"a": ' * 5000, "nested"),
        (b"[]", "no list of records"),
        (b"[[1, 2], [3]]", "no list of records"),
    ],
)
def test_what_is_damaged_is_said_in_one_line(content, said):
    with pytest.raises(DataError, match=said) as error:
        table_problem(parse_table(content, "t"))
    assert "\n" not in str(error.value)


def test_an_archive_that_is_no_sheet_and_one_that_is_a_bomb(monkeypatch):
    from fansr.tables import frames

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sheet.xml", b"0" * (1 << 22))
    monkeypatch.setattr(frames, "MOST_BYTES", 1 << 20)
    with pytest.raises(DataError, match="unpacks to more than 1 MiB"):
        parse_table(out.getvalue(), "bomb")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("data.csv", b"a,b\n1,2\n")
    with pytest.raises(DataError, match="an archive; unpack it"):
        parse_table(out.getvalue(), "archive")


def test_matrices_in_json_and_names_in_brackets():
    table = parse_table(b"[[1, 2], [3, 4.5]]", "t")
    assert table.names == ["x1", "y"] and table.values.tolist() == [[1, 2], [3, 4.5]]
    assert parse_table(b"[a],[b]\n1,2\n3,4\n", "t").names == ["[a]", "[b]"]


def test_json_numbers_are_read_to_the_last_bit():
    values = np.random.default_rng(0).normal(size=50).tolist()
    table = parse_table(
        json.dumps([{"a": v, "b": 1e-300 * v, "big": 12345678901234567890} for v in values]).encode(), "t"
    )
    assert table.values[:, 0].tolist() == values and table.values[:, 1].tolist() == [1e-300 * v for v in values]
