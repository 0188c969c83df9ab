"""fansr-predict: a saved law's values are those of the formula, and the errors say what to do."""

import csv
import io

import numpy as np
import pytest

from fansr.cli import resources
from fansr.fit import fit
from fansr.predict import predict
from fansr.search import saved_law

PLANETS = str(resources.path("data") / "planets.csv")


def run(command, capsys, *words):
    """(exit status, stdout, stderr) of a command in this process."""
    status = 0
    try:
        command.main(list(words))
    except SystemExit as done:
        status = done.code or 0
    out, err = capsys.readouterr()
    return status, out, err


@pytest.fixture(scope="module")
def law(tmp_path_factory):
    path = tmp_path_factory.mktemp("law") / "law.json"
    with pytest.raises(SystemExit) as done:
        fit.main([PLANETS, "--proposers", "power,sums", "--time", "0", "-q", "--save", str(path)])
    assert not done.value.code
    return str(path)


def numbers(out):
    rows = list(csv.reader(io.StringIO(out)))
    return rows[0], np.array(rows[1:], float)


def test_the_values_are_those_of_the_formula(law, capsys, tmp_path):
    new = tmp_path / "new.csv"
    new.write_text("extra,semi_major_axis_au\n7,1.0\n7,4.0\n7,\n7,-1\n")
    status, out, err = run(predict, capsys, law, str(new), "-q")
    head, values = numbers(out)
    c = saved_law.load(law).law().constants[0]
    assert status == 0 and head == ["period_days"] and c == pytest.approx(365.0351, rel=1e-5)
    np.testing.assert_allclose(values[:2, 0], [c, 8 * c], rtol=1e-12)
    assert np.isnan(values[2:, 0]).all(), "a missing cell, and a root of a negative number"


def test_another_law_of_the_front_and_a_band(law, capsys):
    status, out, _ = run(predict, capsys, law, "planets", "--band", "0.95", "--law", "1")
    head, values = numbers(out)
    assert status == 0 and head == ["period_days", "period_days_low", "period_days_high"]
    assert (values[:, 1] < values[:, 0]).all() and (values[:, 0] < values[:, 2]).all()
    status, out, _ = run(predict, capsys, law, "--list")
    assert status == 0 and all(one.expression in out for one in saved_law.load(law).laws) and out.count("\n*") == 1


def test_output_goes_to_a_file(law, capsys, tmp_path):
    path = tmp_path / "values.csv"
    plain = run(predict, capsys, law, PLANETS)[1]
    status, out, _ = run(predict, capsys, law, PLANETS, "-o", str(path))
    assert (
        status == 0
        and out == ""
        and path.read_text() == plain
        and [p.name for p in tmp_path.iterdir()] == ["values.csv"]
    )


def test_rows_far_outside_are_remarked(law, capsys, tmp_path):
    new = tmp_path / "far.csv"
    new.write_text("semi_major_axis_au\n100000\n200000\n")
    assert "note: " in run(predict, capsys, law, str(new))[2] and not run(predict, capsys, law, str(new), "-q")[2]


@pytest.mark.parametrize(
    ("table", "words", "status", "said"),
    [
        ("mass,period\n1,2\n", [], 1, "semi_major_axis_au"),
        ("semi_major_axis_au\nfar\nnear\n", [], 1, "holds no numbers"),
        ("semi_major_axis_au\n1\n", ["--law", "9"], 2, "laws 0 to"),
        ("semi_major_axis_au\n1\n", ["--band", "1"], 2, "range"),
        ("", [], 1, "empty"),
    ],
)
def test_errors_say_what_is_wanted(law, capsys, tmp_path, table, words, status, said):
    path = tmp_path / "t.csv"
    path.write_text(table)
    code, out, err = run(predict, capsys, law, str(path), *words)
    assert code == status and said in err and not out and err.count("\n") == 1


def test_what_is_no_saved_law_is_refused(capsys, tmp_path):
    path = tmp_path / "no.json"
    path.write_text("{}")
    code, _, err = run(predict, capsys, str(path), PLANETS)
    assert code == 1 and "--save" in err
