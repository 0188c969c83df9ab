"""Every kind of --json answer is one of the layout that result.schema.json describes, and nothing in it is undescribed."""

import json
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import fansr
from fansr.evaluation import result
from fansr.fit import fit

SCHEMA = json.loads((Path(fansr.__file__).parent / "evaluation" / "result.schema.json").read_text())
QUICK = ["--proposers", "power,sums", "--time", "0", "--json", "-q"]


def answers(capsys, *words):
    """The objects printed, the exit status."""
    status = 0
    try:
        fit.main([*words, *QUICK])
    except SystemExit as done:
        status = done.code or 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()], status


def checked(answer):
    jsonschema.Draft202012Validator(SCHEMA).validate(answer)
    assert set(answer) == set(SCHEMA["properties"]), "a key that the schema does not describe"
    assert list(answer["front"][0]) == list(SCHEMA["properties"]["front"]["items"]["properties"])
    return answer


@pytest.fixture
def table(tmp_path):
    """Twenty rows of y = 2 x with errors of known size, one of them far off and one with a hole."""
    rng = np.random.default_rng(1)
    x = np.linspace(1, 5, 20)
    y = 2 * x + 0.01 * rng.normal(size=20)
    y[7] = 90
    cells = [f"{a!r},{b!r},0.01" for a, b in zip(x.tolist(), y.tolist())]
    cells[3] = f"{float(x[3])!r},,0.01"
    path = tmp_path / "t.csv"
    path.write_text("x,y,s\n" + "\n".join(cells) + "\n")
    return str(path)


@pytest.mark.parametrize(
    "words",
    [
        ["--target", "y"],
        ["--target", "y", "--robust"],
        ["--target", "y", "--sigma", "s"],
        ["--target", "y", "--weights", "s", "--val", "0.3"],
        ["--target", "y", "--predict", "TABLE"],
        ["--target", "s"],  # it never changes
    ],
)
def test_every_kind_of_answer(capsys, table, words):
    (answer,), status = answers(capsys, table, *[table if word == "TABLE" else word for word in words])
    assert status == 0 and checked(answer)["table"] == table and answer["format"] == result.RESULT_FORMAT


@pytest.mark.parametrize(
    "wrong", [{"fvu": None}, {"verdict": "fine"}, {"format": 2}, {"front": []}, {"outliers": [-1]}]
)
def test_the_schema_refuses_what_is_none(capsys, wrong):
    (answer,), _ = answers(capsys, "planets")
    checked(answer)
    with pytest.raises(jsonschema.ValidationError):
        checked({**answer, **wrong})
    with pytest.raises(jsonschema.ValidationError):
        checked({key: value for key, value in answer.items() if key != next(iter(wrong))})


def test_several_tables_are_lines_and_one_that_fails_stops_no_other(capsys, table, tmp_path):
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    stream = tmp_path / "fits.zst"
    found, status = answers(capsys, "planets", str(empty), table, "-o", str(stream))
    assert status == 1 and [Path(checked(answer)["table"]).name for answer in found] == ["planets.csv", "t.csv"]
    from fansr.streams import reader_writer

    with reader_writer.open_reader(str(stream)) as reader:
        records = list(reader)
    assert [record["problem"] for record in records] == [0, 1] and records[0]["target"] == "period_days"
    alone, _ = answers(capsys, table)
    assert alone[0]["expression"] == found[1]["expression"]
    noise = tmp_path / "noise.csv"
    rows = np.random.default_rng(0).normal(size=(40, 3)).tolist()
    noise.write_text("a,b,y\n" + "\n".join(",".join(map(repr, row)) for row in rows) + "\n")
    assert [answers(capsys, str(noise), last, "--strict")[1] for last in ("planets", str(empty))] == [3, 1]


@pytest.mark.parametrize(
    "words",
    [
        ["--predict", "planets"],
        ["--save", "law.json"],
        ["--plot", "x.png"],
        ["--report", "x.html"],
        ["--deadline", "3"],
        ["-"],
    ],
)
def test_what_goes_with_one_table_only(capsys, words):
    assert answers(capsys, "planets", "hubble_1929", *words) == ([], 2)
