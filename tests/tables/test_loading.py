"""Reading tables: the same numbers from every dress, and a plain sentence for everything that is none."""

import gzip
import io

import numpy as np
import pandas
import pytest
import zstandard
from hypothesis import given, settings, strategies as st

from fansr.errors import DataError
from fansr.tables.columns import Choice
from fansr.tables.loading import (
    array_problem,
    input_columns,
    load_problem,
    parse_table,
    read_table,
    table_problem,
    table_problems,
)

PLAIN = "a,b,c\n1,2,3\n4,5,6.5\n-7e-3,8,9\n"
X, Y = np.array([[1, 2], [4, 5], [-7e-3, 8]]), np.array([3, 6.5, 9])


def parse(text: str, **options):
    data = text if isinstance(text, bytes) else text.encode()
    return table_problem(parse_table(data, "t.csv"), **options)


def write(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace(",", "  ").encode(),
        PLAIN.replace(",", "|").encode(),
        PLAIN.replace(",", ", ").replace("\n", "\r\n").encode(),
        PLAIN.rstrip().encode(),
        ("# measured on a Monday\n\n" + PLAIN + "\n\n").encode(),
        ("\ufeff" + PLAIN).encode("utf-8"),
        PLAIN.encode("utf-16"),
        gzip.compress(PLAIN.encode()),
        zstandard.compress(PLAIN.encode()[:9]) + zstandard.compress(PLAIN.encode()[9:]),
        b'"a","b","c"\n"1","2","3"\n4,5,6.5\n-7e-3,8,9\n',
        b"a;b;c\n1;2;3\n4;5;6,5\n-7e-3;8;9\n",
    ],
    ids=[
        "comma",
        "semicolon",
        "tab",
        "blank",
        "bar",
        "crlf",
        "no last newline",
        "comment",
        "bom",
        "utf16",
        "gzip",
        "zstd",
        "quotes",
        "decimal comma",
    ],
)
def test_every_dress_holds_the_same_numbers(tmp_path, data):
    problem, warnings, dropped = load_problem(write(tmp_path, data))
    assert problem.names == ["a", "b"] and problem.target == "c"
    assert np.array_equal(problem.X, X) and np.array_equal(problem.y, Y)
    assert not warnings and not dropped
    assert problem.X.dtype == problem.y.dtype == np.float64 and problem.X.flags.c_contiguous


def test_stdin(monkeypatch):
    class Stdin:
        buffer = io.BytesIO(PLAIN.encode())

    monkeypatch.setattr("sys.stdin", Stdin)
    assert np.array_equal(load_problem("-")[0].y, Y)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False)),
        min_size=2,
        max_size=20,
    )
)
def test_numbers_are_read_to_the_last_bit(rows):
    text = "p,q\n" + "".join(f"{a!r},{b!r}\n" for a, b in rows)
    table = parse_table(text.encode(), "t")
    assert np.array_equal(table.values, np.array(rows))


def test_tiny_and_huge_values_pass():
    problem, _, dropped = parse("a,b\n1e-300,1e300\n2e-300,-1e300\n3e-300,0\n")
    assert (
        problem.X[:, 0].tolist() == [1e-300, 2e-300, 3e-300]
        and problem.y.tolist() == [1e300, -1e300, 0.0]
        and not dropped
    )


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "empty"),
        (b"  \n \n", "empty"),
        (b"# nothing\n", "nothing but comments"),
        (b"a,b,c\n", "no rows"),
        (b"a,b,c\n1,2,3\n", "1 usable row,"),
        (b"a,b\n1,2\n3\n5,6\n", "line 3: 1 cells, wanted 2"),
        (b"a,b\n1,2\n\n3,4,5\n", "line 4: 3 cells, wanted 2"),
        (b'a,b\n1,2\n"3,4",5,6\n', "line 3: 3 cells"),
        (b'a,b\n1,2\n"3,4\n5,6"\n', "line 3: a quote without"),
        (b"a,b\n1,2\n" + b"9" * 200_000 + b",1\n", "1 usable row ("),
        (b"a,b\nx,y\nz,w\n", "no column of numbers"),
        (b"a,b\nx,1\nz,2\n", "no column of numbers is left"),
        (b"a\n1\n2\n", "no column of numbers is left"),
        (b"a,b\n1,nan\nnan,2\n", "0 usable rows (2 rows were dropped: 2 missing)"),
        (bytes(range(256)), "not a text table"),
        (b"PK\x03\x04\x00\x00", "spreadsheet"),
        (b"\xff\xfea", "not a text table"),
        (gzip.compress(b"a,b\n" + b"1,2\n" * 500, mtime=0)[:-9], "truncated gzip"),
        (b"\x1f\x8bxxxx", "damaged or truncated gzip"),
        (zstandard.compress(np.random.default_rng(0).bytes(5000))[:-9], "truncated zstd"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 30, "damaged zstd"),
    ],
)
def test_what_is_no_table_says_so_in_one_line(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(DataError) as error:
        load_problem(path)
    assert words in str(error.value) and "\n" not in str(error.value) and path in str(error.value)


def test_missing_file_and_directory(tmp_path):
    for path, words in ((tmp_path / "none.csv", "no such file"), (tmp_path, "directory")):
        with pytest.raises(DataError, match=words):
            load_problem(str(path))


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_never_crash(tmp_path, seed):
    rng = np.random.default_rng(seed)
    content = (
        rng.bytes(int(rng.integers(1, 400))) if seed % 2 else bytes(rng.choice(list(b'0123456789,;\n"ab .-e\xe9'), 200))
    )
    try:
        problem, _, _ = load_problem(write(tmp_path, content))
    except DataError as error:
        assert "\n" not in str(error)
    else:
        assert np.isfinite(problem.X).all() and np.isfinite(problem.y).all()


def test_bad_cells_drop_rows_and_are_counted_by_reason():
    text = "name,a,b\nu,1,1\nv,,2\nw,3,inf\nx,oops,4\ny,5,NaN\nz,6,6\n"
    problem, warnings, dropped = parse(text)
    assert dict(dropped) == {"missing": 2, "infinite": 1, "not a number": 1}
    assert problem.X[:, 0].tolist() == [1, 6] and problem.y.tolist() == [1, 6]
    said = " / ".join(warnings)
    assert "column name is text" in said and "'oops' in line 5" in said and "4 of 6 rows were dropped" in said


def _of_words(count, rows):
    return "kind,x,y\n" + "".join(f"w{m % count},{m},{m * m}\n" for m in range(rows))


@pytest.mark.parametrize(
    ("count", "rows", "named"),
    [(2, 9, True), (3, 9, True), (12, 36, True), (4, 9, False), (13, 60, False), (30, 30, False), (1, 9, False)],
)
def test_what_is_said_of_a_column_of_few_words_takes_it_in(count, rows, named):
    """Up to twelve words, each in three rows on the average, may be groups; many are names, and one says nothing."""
    table = parse_table(_of_words(count, rows).encode(), "t")
    problem, (said,), _ = table_problem(table)
    assert problem.names == ["x"] and said.startswith("column kind is text and was left out")
    assert ("--categories onehot" in said) is ("--group kind" in said) is named
    if named:
        assert f"{count} words" in said
        ((onehot, warnings, _),) = table_problems(table, Choice(categories="onehot"))
        assert len(onehot.names) == count + (count > 2) and not warnings
        ((grouped, _, _),) = table_problems(table, Choice(group="kind"))
        assert sorted(grouped.extra["grouping"]["levels"]) == sorted({f"w{k}" for k in range(count)})


def test_nothing_else_is_said_of_columns_that_are_empty():
    problem, warnings, _ = parse("e,x,y\n,1,1\n,2,4\n,3,9\n,4,16\n")
    assert problem.names == ["x"] and warnings == ["column e is empty and was left out"]


def test_a_bad_cell_in_an_unused_column_costs_nothing():
    text = "a,b,c\n1,,1\n2,5,2\n3,6,3\n"
    problem, _, dropped = parse(text, inputs=["a"])
    assert len(problem.y) == 3 and not dropped
    problem, _, dropped = parse(text)
    assert len(problem.y) == 2 and dict(dropped) == {"missing": 1}


def test_target_by_name():
    problem, _, _ = parse(PLAIN, target="A")
    assert problem.target == "a" and problem.names == ["b", "c"] and np.array_equal(problem.y, X[:, 0])
    with pytest.raises(DataError, match="'d'; the columns are a, b, c"):
        parse(PLAIN, target="d")
    with pytest.raises(DataError, match="column name is text"):
        parse("name,a,b\nu,1,2\nv,3,4\n", target="name")


def test_names_with_spaces_unicode_doubles_and_holes():
    problem, warnings, _ = parse('Höhe (m),"a, b",t,t,,y\n1,2,3,4,5,6\n2,3,4,5,7,7\n')
    assert problem.names == ["Höhe (m)", "a, b", "t", "t_2", "column5"]
    assert any("two columns are named t" in w for w in warnings)
    latin = "Höhe,y\n1,2\n2,3\n".encode("latin-1")
    problem, warnings, _ = parse(latin)
    assert problem.names == ["Höhe"] and "Latin-1" in warnings[0]


def test_matrix_without_names():
    problem, warnings, _ = parse("1 2 3\n4 5 6\n")
    assert problem.names == ["x1", "x2"] and problem.target == "y" and len(problem.y) == 2 and "line 1" in warnings[0]
    text = io.BytesIO()
    np.savetxt(text, np.eye(3) + 1, header="u v w")
    problem, warnings, _ = parse(text.getvalue())
    assert problem.names == ["u", "v"] and problem.target == "w" and len(problem.y) == 3


def test_what_the_data_cannot_tell_is_said():
    _, warnings, _ = parse("a,b,c,y\n1,1,5,5\n1,2,5,5\n")
    said = " / ".join(warnings)
    assert "the target y is 5 in every row" in said and "constant in every row" in said and "a, c" in said


def test_two_hundred_columns():
    values = np.arange(200 * 7.0).reshape(7, 200) ** 1.1
    text = ",".join(f"c{j}" for j in range(200)) + "\n" + "\n".join(",".join(map(repr, row.tolist())) for row in values)
    problem, _, _ = parse(text)
    assert problem.X.shape == (7, 199) and np.array_equal(problem.X, values[:, :199])


def test_a_long_table_costs_little_more_than_parsing_its_cells():
    import time

    rng = np.random.default_rng(0)
    values = rng.normal(size=(60_000, 4))
    text = "a,b,c,d\n" + "\n".join(",".join(map(repr, row)) for row in values.tolist())
    began = time.process_time()
    plain = np.array([[float(cell) for cell in line.split(",")] for line in text.split("\n")[1:]])
    cost_plain = time.process_time() - began
    began = time.process_time()
    problem, _, _ = parse(text)
    cost = time.process_time() - began
    assert np.array_equal(np.column_stack([problem.X, problem.y]), plain)
    assert cost < 10 * cost_plain  # measured: about 1.5 times


def test_weights():
    problem, _, _ = parse("a,w,b\n1,1,2\n2,0,3\n3,4,5\n", weights="w")
    assert problem.names == ["a"] and problem.weights.tolist() == [1, 0, 4]
    with pytest.raises(DataError, match="weight -1"):
        parse("a,w,b\n1,1,2\n2,-1,3\n", weights="w")


def test_arrays_and_frames():
    problem, _, _ = array_problem(X, Y)
    assert problem.names == ["x1", "x2"] and problem.target == "y" and np.array_equal(problem.X, X)
    frame = pandas.DataFrame(X, columns=["p", "p"]).assign(when=pandas.Timestamp("2020-01-01"), kind="u")
    problem, warnings, _ = array_problem(frame, pandas.Series(Y, name="height"))
    assert (
        problem.names == ["p", "p_2", "when"]
        and problem.target == "height"
        and any("kind is text" in w for w in warnings)
    )
    assert problem.extra["conversions"]["when"]["origin"] == "2020-01-01" and not problem.X[:, 2].any()
    problem, _, dropped = array_problem(np.array([1.0, np.nan, 3, 4]), [1, 2, 3, np.inf])
    assert problem.X.tolist() == [[1], [3]] and dict(dropped) == {"missing": 1, "infinite": 1}
    for bad in (
        lambda: array_problem(X, Y[:2]),
        lambda: array_problem(X[None], Y),
        lambda: array_problem(X, np.c_[Y, Y]),
    ):
        with pytest.raises(DataError):
            bad()


def test_new_rows_by_name(tmp_path):
    table = read_table(write(tmp_path, "b,extra,a\n2,x,1\n5,y,\n"))
    new = input_columns(table, ["a", "b"])
    assert new[0].tolist() == [1, 2] and np.isnan(new[1, 0]) and new[1, 1] == 5
    with pytest.raises(DataError, match="'q'"):
        input_columns(table, ["q"])


CELLS = st.one_of(
    st.floats().map(repr),
    st.integers(-(10**18), 10**18).map(str),
    st.floats(-1e6, 1e6).map(lambda v: f"{v:.3f}"),
    st.sampled_from(["NA", "", "nan", "-", ".", "?", "None", "#N/A", "inf", "-Infinity", "1e400", "+5", ".5", "5.", " 7", "8 ",
                     "oops", "1_000", "0x10", "True", "false", "1e-320", "#NA", "1,5", "12abc", "--3"]),
)  # fmt: skip


@settings(deadline=None, max_examples=120)
@given(st.integers(1, 4).flatmap(lambda width: st.lists(st.lists(CELLS, min_size=width, max_size=width), min_size=1, max_size=8)),
       st.sampled_from([",", ";", "\t"]), st.booleans())  # fmt: skip
def test_the_small_reader_and_pandas_read_the_same(rows, separator, quoted):
    """The way of large tables, by pandas, and that of small ones give the same values, bad cells and readings."""
    from fansr.tables import csv_reader

    names = [f"c{j}" for j in range(len(rows[0]))]
    quote = lambda cell: f'"{cell}"' if quoted or separator in cell or not cell.strip() else cell  # noqa: E731
    lines = [separator.join(quote(cell) for cell in row) for row in rows]
    text = csv_reader.Text(names, [""] * len(names), lines, list(range(len(lines))), separator, [])
    small = csv_reader.read_columns(text, "t")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_reader, "PLAIN_CELLS", 0)
        large = csv_reader.read_columns(text, "t")
    for ours, theirs in zip(small, large):
        assert np.array_equal(ours.values, theirs.values, equal_nan=True)
        assert (ours.bad, ours.reading, ours.cause) == (theirs.bad, theirs.reading, theirs.cause)


def test_a_small_table_is_read_without_pandas():
    import subprocess
    import sys

    code = (
        "import sys; from fansr.tables import loading\n"
        "loading.load_problem(sys.argv[1]); assert 'pandas' not in sys.modules"
    )
    from fansr.cli import resources

    assert (
        subprocess.run(
            [sys.executable, "-c", code, str(resources.path("data") / "planets.csv")], check=False
        ).returncode
        == 0
    )


def test_rows_that_look_like_comments_are_counted():
    _, warnings, _ = parse("# a heading\na,b\n1,2\n#3,4\n5,6\n#7,8\n9,10\n")
    assert any("2 lines beginning with # among the rows were left out" in w and "line 4" in w for w in warnings)
    _, warnings, _ = parse("# a heading\na,b\n1,2\n5,6\n# the end\n")
    assert not warnings


def test_numbers_of_other_dialects_are_said():
    problem, warnings, dropped = parse("a,b\n1_000,2\n3,4\n5,6\n")
    assert dict(dropped) == {"not a number": 1} and "'1_000' in line 2" in warnings[0]
    _, warnings, _ = parse("a;b\n1,000;2\n2,500;3\n")
    assert "1,000 in line 2 was read as 1 (decimal comma)" in warnings[0]
    _, warnings, _ = parse("a;b\n1,5;2\n2,25;3\n")
    assert not warnings


def test_masked_means_missing_and_complex_is_refused():
    masked = np.ma.masked_array(np.arange(8.0).reshape(4, 2), mask=[[0, 0], [1, 0], [0, 0], [0, 0]])
    problem, _, dropped = array_problem(masked, np.ma.masked_array(np.arange(4.0), mask=[0, 0, 0, 1]))
    assert dict(dropped) == {"missing": 2} and problem.X.tolist() == [[0, 1], [4, 5]]
    whole = np.ma.masked_array(np.arange(4), mask=[0, 1, 0, 0])
    assert array_problem(np.arange(4.0), whole)[2] == {"missing": 1}
    for inputs, target in ((X.astype(complex), Y), (X, Y.astype(complex))):
        with pytest.raises(DataError, match="complex"):
            array_problem(inputs, target)


def test_pandas_own_missing_values_are_missing():
    frame = pandas.DataFrame(
        {"a": pandas.array([1, None, 3, 4], "Int64"), "b": pandas.array([True, False, None, True], "boolean")}
    )
    problem, _, dropped = array_problem(frame, pandas.Series(pandas.array([1, 2, 3, 4], "Int64")))
    assert dict(dropped) == {"missing": 2} and problem.X.tolist() == [[1, 1], [4, 1]]


def test_a_wide_table_of_doubled_names_gets_a_name_for_each_column():
    """Each name was once looked for among all before it, and 20,000 columns took minutes."""
    width = 20_000
    text = (
        ",".join("same" for _ in range(width)) + "\n" + "\n".join(",".join("1" for _ in range(width)) for _ in range(3))
    )
    table = parse_table(text.encode(), "t")
    assert len(set(table.names)) == width and table.values.shape == (3, width)


def test_a_bomb_is_refused(monkeypatch):
    from fansr.tables import text_files

    monkeypatch.setattr(text_files, "MOST_BYTES", 1 << 24)
    zeros = b"0" * (1 << 26)
    for packed in (zstandard.compress(zeros), gzip.compress(zeros)):
        with pytest.raises(DataError, match="unpacks to more than 16 MiB"):
            text_files.unpack(packed, "bomb")


def test_new_rows_may_lack_columns_that_are_not_needed(tmp_path):
    table = read_table(write(tmp_path, "x,q\n2,1\n5,1\n"))
    new = input_columns(table, ["n", "x"], needed={"x"})
    assert np.isnan(new[:, 0]).all() and new[:, 1].tolist() == [2, 5]
    with pytest.raises(DataError, match="'n'"):
        input_columns(table, ["n", "x"], needed={"n"})
