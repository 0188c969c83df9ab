"""fansr-cat --where, --stats, --history and --to, against plain loops over the same records."""

import csv
import io

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from fansr.cli import record_filter
from fansr.cli.cat import cat
from fansr.streams import reader_writer

RECORDS = [
    {"kind": "fit", "problem": i, "expr": [*["+", "<constant>"] * (i % 3), *["sin"] * (i % 2), "x1"], "consts": np.zeros(i % 3), "fvu": 10.0**-i,
     "status": "ok" if i < 7 else "failed", "logp": None if i % 2 else -1.5, "truth": {"infix": f"x{i}"}}
    for i in range(10)
]  # fmt: skip


@pytest.fixture
def stream(tmp_path):
    path = tmp_path / "fits.zst"
    entry = {
        "cmd": "fansr-fit",
        "argv": ["a b.csv", "--time", "3"],
        "seed": 4,
        "version": "9",
        "utc": "2026-01-01T00:00:00Z",
    }
    with reader_writer.open_writer(str(path), "fit", [entry]) as writer:
        for record in RECORDS:
            writer.write(record)
    return str(path)


def run(*words):
    done = CliRunner().invoke(cat, list(words))
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("where", "holds"),
    [
        ("fvu < 1e-4", lambda r: r["fvu"] < 1e-4),
        ("fvu <= 1e-2 and status == 'ok'", lambda r: r["fvu"] <= 1e-2 and r["status"] == "ok"),
        ("'sin' in expr or problem in [0, 2]", lambda r: "sin" in r["expr"] or r["problem"] in (0, 2)),
        ("not len(expr) > 1", lambda r: len(r["expr"]) <= 1),
        ("logp == None", lambda r: r["logp"] is None),
        ("logp < 0", lambda r: r["logp"] is not None),
        ("truth.infix == 'x3'", lambda r: r["problem"] == 3),
        ("1 < problem * 2 - 1 <= 7", lambda r: 1 < r["problem"] * 2 - 1 <= 7),
        ("len(consts) == 2", lambda r: len(r["consts"]) == 2),
        ("nothing.at.all > 3", lambda r: False),
        ("abs(logp) == 1.5", lambda r: r["logp"] is not None),
        ("problem=3", lambda r: r["problem"] == 3),
        ("problem = 3.0", lambda r: r["problem"] == 3),
        ("status=ok", lambda r: r["status"] == "ok"),
    ],
)
def test_where_is_a_plain_filter(stream, tmp_path, where, holds):
    wanted = [record["problem"] for record in RECORDS if holds(record)]
    assert run("--where", where, "--count", stream) == (0, f"{len(wanted)}\n", "")
    assert run("--where", where, "--to", "csv", stream)[1].count("\nfit,") == len(wanted)
    kept = str(tmp_path / "kept.zst")
    assert run("--where", where, "--merge", "-o", kept, stream)[0] == 0
    with reader_writer.open_reader(kept) as reader:
        assert [record["problem"] for record in reader] == wanted
        assert reader.dropped.get("where", 0) == 10 - len(wanted)


@pytest.mark.parametrize(("words", "wanted"), [((), [0, 1, 2, 3]), (("--where", "problem > 4"), [5, 6, 7, 8])])
def test_head_bounds_what_is_joined_and_counted(stream, tmp_path, words, wanted):
    kept = str(tmp_path / "kept.zst")
    assert run("--merge", "--head", "4", *words, "-o", kept, stream, stream) == (0, "", "")
    with reader_writer.open_reader(kept) as reader:
        assert [record["problem"] for record in reader] == wanted
        dropped = reader.dropped
    assert 4 + sum(dropped.values()) == 20 and dropped["head"] == (16 if not words else 6)
    assert run("--count", "--head", "4", *words, stream) == (0, "4\n", "")
    assert run("--count", "--head", "40", *words, stream) == (0, "5\n" if words else "10\n", "")


@pytest.mark.parametrize("mode", ["--check", "--history"])
def test_head_is_refused_where_the_whole_is_looked_at(stream, mode):
    code, out, err = run(mode, "--head", "3", stream)
    assert code == 2 and not out and "--head" in err and mode in err


@pytest.mark.parametrize(
    "where",
    ["__import__('os')", "open('x')", "fvu.__class__()", "[].append", "(lambda: 1)()", "fvu if fvu else 1", "'a' * 9 ** 9",
     "9 ** 9 ** 9", "f'{fvu}'", "fvu = ", "", "len(fvu, 2)", "x[0]", "[i for i in expr]", "(" * 300, "x" * 3000, "1j"],
)  # fmt: skip
def test_what_is_no_condition_is_refused(stream, where):
    with pytest.raises(ValueError):
        record_filter.condition(where)
    code, out, err = run("--where", where, stream)
    assert code == 2 and not out and err.count("\n") == 1


def test_an_attribute_is_a_field_and_nothing_of_python():
    assert not record_filter.condition("kind.__class__ != None")({"kind": "fit"})


def test_statistics_are_numpys(stream):
    code, out, _ = run("--stats", stream)
    lines = {line.split()[0]: line for line in out.splitlines()}
    fvus = np.array([record["fvu"] for record in RECORDS])
    assert code == 0 and out.startswith("10 records\n")
    assert f"{fvus.min():.4g} to {fvus.max():.4g}, mean {fvus.mean():.4g}" in lines["fvu"]
    assert "2 different: ok 7, failed 3" in lines["status"] and "5 none" in lines["logp"]
    lengths = np.array([len(record["expr"]) for record in RECORDS])
    assert f"length {lengths.min()} to {lengths.max()}, mean {lengths.mean():.4g}" in lines["expr"]
    assert "length 0 to 2" in lines["consts"]


def test_history_is_the_commands(stream):
    code, out, _ = run("--history", stream)
    assert code == 0 and "  fansr-fit 'a b.csv' --time 3\n" in out and "version 9, seed 4" in out


def test_tables_read_back(stream, tmp_path):
    rows = list(csv.DictReader(io.StringIO(run("--to", "csv", stream)[1])))
    assert [float(row["fvu"]) for row in rows] == [record["fvu"] for record in RECORDS]
    assert rows[1]["expr"] == "+ <constant> sin x1" and rows[1]["logp"] == "" and rows[0]["logp"] == "-1.5"
    pytest.importorskip("pyarrow")
    path = str(tmp_path / "t.parquet")
    assert run("--to", "parquet", "-o", path, stream) == (0, "", "")
    table = pd.read_parquet(path)
    assert list(table["fvu"]) == [record["fvu"] for record in RECORDS]
    assert table["logp"][0] == -1.5 and pd.isna(table["logp"][1])
    assert run("--to", "parquet", stream)[0] == 2


@pytest.mark.parametrize("view", [(), ("--tsv",), ("--infix",), ("--stats",), ("--count",), ("--history",)])
def test_what_is_shown_can_go_to_a_file(view, stream, tmp_path):
    chosen = [] if view == ("--history",) else ["--head", "4"]
    shown = run(stream, *view, *chosen)[1]
    out = tmp_path / "shown"
    assert run(stream, *view, *chosen, "-o", str(out)) == (0, "", "")
    assert out.read_text() == shown and len(shown) > 1
