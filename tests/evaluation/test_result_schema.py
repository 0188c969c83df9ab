"""Every kind of --json answer is one of the layout that result.schema.json describes, and nothing in it is undescribed."""

import json
import re
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
    if "error" in answer:
        return answer
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
    (first, failed, last), status = answers(capsys, "planets", str(empty), table, "-o", str(stream))
    assert status == 1 and [Path(checked(answer)["table"]).name for answer in (first, last)] == ["planets.csv", "t.csv"]
    assert (
        checked(failed)["table"] == str(empty) and failed["exit_status"] == 1 and "the file is empty" in failed["error"]
    )
    with pytest.raises(jsonschema.ValidationError):
        checked({**failed, "error": None})
    from fansr.streams import reader_writer

    with reader_writer.open_reader(str(stream)) as reader:
        records = list(reader)
    assert [record["problem"] for record in records] == [0, 1] and records[0]["target"] == "period_days"
    alone, _ = answers(capsys, table)
    assert alone[0]["expression"] == last["expression"]
    noise = tmp_path / "noise.csv"
    rows = np.random.default_rng(0).normal(size=(40, 3)).tolist()
    noise.write_text("a,b,y\n" + "\n".join(",".join(map(repr, row)) for row in rows) + "\n")
    for more, exit_status, errors in (("planets", 3, 0), (str(empty), 1, 1)):  # what --strict refuses is in its object
        printed, status = answers(capsys, str(noise), more, "--strict")
        assert status == exit_status and len(printed) == 2 and sum("error" in answer for answer in printed) == errors


def kind(schema: dict) -> str:
    """A type of the schema in the words of docs/json.md."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return "text" if all(isinstance(value, str) for value in values) else "number"
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    word = {"string": "text", "integer": "number", "number": "number", "object": "object", "null": "null"}
    items = schema.get("items", {}).get("type", "")
    of = {"string": "text", "integer": "numbers", "number": "numbers", "object": "objects"}
    words = [
        f"array of {of[items[0] if isinstance(items, list) else items]}" if name == "array" else word[name]
        for name in types
    ]
    return " or ".join(words)


def test_the_page_of_keys_has_the_types_of_the_schema():
    """Every key of the schema stands in docs/json.md with its type, and no other."""
    page = (Path(__file__).resolve().parents[2] / "docs/json.md").read_text()
    answer, failure = page.split("## A table without an answer")
    for text, properties in ((answer, SCHEMA["properties"]), (failure, SCHEMA["$defs"]["failure"]["properties"])):
        rows = re.findall(r"^\| (`.+?) \| (.+?) \|", text, re.M)
        said = {name: words for names, words in rows for name in re.findall(r"`(\w+)`", names)}
        assert said == {name: kind(schema) for name, schema in properties.items()}


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
