"""fansr-score through its own command: tables, JSON, TSV, groups, records."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from fansr.evaluation import score
from fansr.expressions.infix import from_infix
from fansr.streams.reader_writer import open_reader, open_writer


def fit(problem, law, infix, truth, fvu, seconds, **more):
    return {
        "kind": "fit",
        "problem": problem,
        "law": law,
        "expr": from_infix(infix),
        "consts": np.zeros(0),
        "fvu": fvu,
        "fvu_val": fvu,
        "length": len(from_infix(infix)),
        "status": "ok",
        "source": "power",
        "logp": None,
        "seconds": seconds,
        "truth": {"expr": from_infix(truth), "consts": np.zeros(0), "infix": truth},
        "low": np.array([0.5, 0.5]),
        "high": np.array([2.0, 2.0]),
        "front": [],
        **more,
    }


FITS = [
    fit(0, "a", "x1*x2", "x1*x2", 0.0, 0.1, group="easy", noise=0.0, points=64),
    fit(1, "a", "x1*x2 + 0.1", "x1*x2", 1e-9, 0.3, group="easy", noise=0.0, points=512),
    fit(2, "b", "x1", "x1*sin(x2)", 0.25, 1.0, group="hard", noise=0.01, points=64, source="evolve"),
    fit(3, "b", "x1", "x1*sin(x2)", 0.0, 2.0, group="hard", noise=0.01, points=512, status="out of memory"),
]


@pytest.fixture
def stream(tmp_path):
    path = str(tmp_path / "fits.zst")
    with open_writer(path, holds="fit", history=[{"cmd": "test"}]) as writer:
        for record in FITS:
            writer.write(record)
    return path


def run(*args):
    result = CliRunner().invoke(score.main, list(args))
    return result.exit_code, result.output, result.stderr


def test_json_holds_what_the_readme_promises(stream):
    code, text, _ = run(stream, "--json", "--by", "difficulty", "--bootstrap", "200")
    assert code == 0
    summary = json.loads(text)
    assert {"n", "fnrr", "vnrr", "exact", "length_ratio", "srr", "seconds_median", "ci", "groups"} <= set(summary)
    assert summary["n"] == 4 and summary["laws"] == 2
    assert summary["vnrr"] == 0.5 and summary["exact"] == 0.25 and summary["success"] == 0.75
    assert summary["seconds_median"] == pytest.approx(0.65)
    # lengths 3, 5, 1 against 3, 3, 4
    assert summary["length_ratio"] == pytest.approx(np.mean([1, 5 / 3, 1 / 4]))
    assert summary["length_ratio_recovered"] == pytest.approx(np.mean([1, 5 / 3]))
    assert summary["groups"]["easy"]["vnrr"] == 1.0 and summary["groups"]["hard"]["vnrr"] == 0.0
    assert summary["failures"] == {"out of memory": 1}
    assert summary["ci"]["vnrr"] == [0.0, 1.0]  # two laws, one found: a resample may hold either one only


def test_the_table_and_its_groups_in_order(stream):
    code, text, _ = run(stream, "--by", "difficulty")
    assert code == 0
    head = text.splitlines()[0].split()
    assert head == ["all", "easy", "hard"]
    line = next(line for line in text.splitlines() if line.startswith("vNRR"))
    assert "50.0 [0.0, 100.0]" in line
    assert "failed: 1 out of memory" in text


def test_groups_sort_by_number_and_combine(stream):
    summary = json.loads(run(stream, "--json", "--by", "points", "--bootstrap", "0")[1])
    assert list(summary["groups"]) == ["64", "512"] and summary["ci"] == {}
    summary = json.loads(run(stream, "--json", "--by", "noise", "--by", "points", "--bootstrap", "0")[1])
    assert list(summary["groups"]) == ["0 64", "0 512", "0.01 64", "0.01 512"]


def test_any_field_groups(tmp_path):
    path = str(tmp_path / "own.zst")
    with open_writer(path, holds="fit") as writer:
        for i, record in enumerate(FITS):
            writer.write({**record, "suite": ("mine", "yours")[i // 2], "trial": i, "X": np.zeros((2, 2))})
    code, text, _ = run(path, "--json", "--by", "suite", "--bootstrap", "0")
    groups = json.loads(text)["groups"]
    assert code == 0 and {name: group["vnrr"] for name, group in groups.items()} == {"mine": 1.0, "yours": 0.0}
    code, _, err = run(path, "--by", "colour")
    assert (
        code == 1 and "suite" in err and "trial" in err and "vnrr" not in err and "X" not in err.split("there are")[1]
    )


def test_tsv_reads_back(stream):
    code, text, _ = run(stream, "--tsv", "--by", "source")
    rows = [line.split("\t") for line in text.splitlines()]
    assert code == 0 and rows[0] == ["group", "metric", "value", "low", "high", "n"]
    values = {(r[0], r[1]): float(r[2]) for r in rows[1:]}
    assert values["all", "vnrr"] == 0.5 and values["evolve", "vnrr"] == 0.0


def test_score_records_keep_the_fit_and_every_metric(stream, tmp_path):
    out = str(tmp_path / "scores.zst")
    assert run(stream, "-o", out)[0] == 0
    with open_reader(out, holds="score") as reader:
        records = list(reader)
        assert reader.history[0]["cmd"] == "test" and len(reader.history) == 2
    assert [r["problem"] for r in records] == [0, 1, 2, 3]
    assert records[0]["best"]["expr"] == ["*", "x1", "x2"] and records[0]["vnrr"] is True
    assert records[2]["group"] == "hard" and records[2]["variable_recall"] == 0.5


def test_relative_fit_time(stream, tmp_path):
    slow = str(tmp_path / "slow.zst")
    with open_writer(slow, holds="fit") as writer:
        for record in FITS:
            writer.write({**record, "seconds": record["seconds"] * 4})
    summary = json.loads(run(slow, "--json", "--reference", stream, "--bootstrap", "0")[1])
    assert summary["relative_seconds"] == pytest.approx(4.0)


def test_without_the_truth_only_numbers_are_judged(stream):
    summary = json.loads(run(stream, "--json", "--no-truth", "--bootstrap", "0")[1])
    assert summary["vnrr"] == 0.5 and summary["srr"] is None and summary["length_ratio"] is None


def test_infinite_and_missing_numbers_become_null():
    text = score.as_json({"a": float("nan"), "b": [float("inf"), 1.0], "c": {"d": None}})
    assert json.loads(text) == {"a": None, "b": [None, 1.0], "c": {"d": None}}


def test_bad_input_is_one_line(stream, tmp_path):
    code, _, err = run(str(tmp_path / "missing.zst"))
    assert code == 1 and "no such file" in err and len(err.splitlines()) == 1
    code, _, err = run(stream, "--by", "colour")
    assert code == 1 and "no record has that field" in err
    empty = str(tmp_path / "empty.zst")
    with open_writer(empty, holds="fit"):
        pass
    code, _, err = run(empty)
    assert code == 3 and "no fit records" in err


@pytest.mark.parametrize("where", ["expr", "truth"])
def test_a_law_of_unknown_words_is_named_with_its_record(tmp_path, where):
    bad = FITS[1]
    bad = bad | ({"expr": ["e", "x1"]} if where == "expr" else {"truth": {**bad["truth"], "expr": ["+", "z1", "x1"]}})
    path = str(tmp_path / "bad.zst")
    with open_writer(path, holds="fit") as writer:
        for record in (FITS[0], bad):
            writer.write(record)
    code, _, err = run(path)
    assert code == 1 and len(err.splitlines()) == 1
    assert "record 2 (problem 1): unknown token" in err
