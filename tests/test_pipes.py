"""The real commands through real pipes: the tour of the README, bad input of every kind, interrupts."""

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from fansr.cli import resources

BIN = Path(sys.executable).parent
DATA = resources.path("data")
ENV = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
FAST = "--proposers power,library --samples 0"


def sh(line, stdin=b"", cwd=None, timeout=240):
    """Run a shell line with pipefail; (exit status, stdout, stderr)."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], input=stdin, capture_output=True, env=ENV, cwd=cwd, timeout=timeout
    )
    return done.returncode, done.stdout, done.stderr.decode()


def good(line, **how):
    code, out, err = sh(line, **how)
    assert code == 0, err
    return out


def lines(out):
    return [json.loads(line) for line in out.decode().splitlines()]


# ---- the pipe ---------------------------------------------------------------------------------


def corpus(jobs):
    return (
        f"fansr-gen -n 6000 --seed 1 -j {jobs} | fansr-simplify -j {jobs} "
        f"| fansr-decontam --test {DATA}/fastsrb.json -j {jobs}"
    )


def test_the_corpus_pipe_is_the_same_for_any_number_of_workers(tmp_path):
    for jobs in (1, 2):
        good(f"{corpus(jobs)} > {tmp_path}/{jobs}.zst")
    one, two = (lines(good(f"fansr-cat {tmp_path}/{jobs}.zst")) for jobs in (1, 2))
    assert one[1:] == two[1:]
    end = one[-1]
    assert end["n"] == len(one) - 2 > 3000
    # Nothing is lost silently: kept and dropped of all stages make up what was drawn.
    report = good(f"fansr-cat --check {tmp_path}/1.zst").decode()
    assert "ok" in report and "fansr-gen | fansr-simplify | fansr-decontam" in report
    header = one[0]
    assert [entry["cmd"] for entry in header["history"]] == ["fansr-gen", "fansr-simplify", "fansr-decontam"]
    assert set(header["history"][0]) >= {"cmd", "argv", "seed", "version", "config", "rules", "utc"}


def test_two_shards_joined_read_as_one(tmp_path):
    good(
        f"fansr-gen -n 500 --seed 1 --shard 0/2 -o {tmp_path}/a; fansr-gen -n 500 --seed 1 --shard 1/2 -o {tmp_path}/b"
    )
    good(f"fansr-gen -n 500 --seed 1 -o {tmp_path}/whole")
    joined = lines(good(f"cat {tmp_path}/a {tmp_path}/b | fansr-cat --json"))
    whole = lines(good(f"fansr-cat {tmp_path}/whole"))
    by_id = lambda records: sorted((r["id"], r["expr"]) for r in records if r["kind"] == "skeleton")  # noqa: E731
    assert by_id(joined) == by_id(whole)
    assert joined[-1]["checksum"] == whole[-1]["checksum"]


def test_render_fit_score_is_one_line(tmp_path):
    laws = {
        "name": "two",
        "laws": [
            {
                "id": "a",
                "difficulty": "easy",
                "name": "a",
                "infix": "v1*v2/2",
                "target": "y",
                "excluded": False,
                "variables": [
                    {"name": f"v{j}", "symbol": f"v{j}", "low": 1, "high": 5, "dist": "uni", "sign": "pos"}
                    for j in (1, 2)
                ],
            },
            {
                "id": "b",
                "difficulty": "hard",
                "name": "b",
                "infix": "v1**2 + 3*v2",
                "target": "y",
                "excluded": False,
                "variables": [
                    {"name": f"v{j}", "symbol": f"v{j}", "low": 1, "high": 5, "dist": "uni", "sign": "pos"}
                    for j in (1, 2)
                ],
            },
        ],
    }
    (tmp_path / "two.json").write_text(json.dumps(laws))
    out = good(
        f"fansr-render {tmp_path}/two.json --points 64 --repeats 2 --val | fansr-fit {FAST} -j 2 "
        f"| fansr-score --by difficulty --json --bootstrap 50"
    )
    summary = json.loads(out)
    assert summary["n"] == 4 and summary["vnrr"] == 1.0 and summary["exact"] == 1.0
    assert set(summary["groups"]) == {"easy", "hard"}


# ---- the main job -----------------------------------------------------------------------------


def fit_json(path, *more, stdin=b""):
    return json.loads(good(f"fansr-fit {path} --json {' '.join(more) or FAST}", stdin=stdin))


def test_planets():
    result = fit_json(DATA / "planets.csv")
    names = result["variables"]
    assert names == ["semi_major_axis_au"] and result["target"] == "period_days"
    a = np.array([0.5, 1.0, 2.0])
    values = eval(result["numpy"], {"np": np, names[0]: a})
    slope = np.polyfit(np.log(a), np.log(values), 1)[0]
    assert abs(slope - 1.5) < 1e-9
    assert abs(values[1] - 365.25) < 0.5
    assert len(result["front"]) >= 1 and result["fvu"] < 1e-5


def test_the_json_object_is_what_was_promised():
    result = fit_json(DATA / "boyle_1662.csv")
    wanted = {
        "expression": str,
        "numpy": str,
        "latex": str,
        "sympy": str,
        "prefix": list,
        "constants": list,
        "variables": list,
        "target": str,
        "fvu": float,
        "r2": float,
        "length": int,
        "score": float,
        "source": str,
        "seconds": float,
        "candidates": int,
        "front": list,
        "dropped_rows": int,
        "warnings": list,
        "seed": int,
        "version": str,
        "format": int,
        "verdict": str,
        "remarks": list,
        "loading_seconds": float,
    }
    for name, kind in wanted.items():
        assert isinstance(result[name], kind), name
    for row in result["front"]:
        assert set(row) >= {"length", "fvu", "expression", "numpy", "source"}
    assert result["length"] == len(result["prefix"])


def test_the_same_seed_gives_the_same_answer():
    drop = lambda r: {k: v for k, v in r.items() if "seconds" not in k}  # noqa: E731
    a, b = (fit_json(DATA / "puromycin.csv", FAST, "--seed 3") for _ in range(2))
    assert drop(a) == drop(b)


def test_predict_writes_values_for_new_rows(tmp_path):
    (tmp_path / "new.csv").write_text("semi_major_axis_au\n1.0\n4.0\n")
    code, out, err = sh(f"fansr-fit {DATA}/planets.csv {FAST} --predict {tmp_path}/new.csv")
    assert code == 0, err
    rows = list(csv.reader(out.decode().splitlines()))
    assert rows[0] == ["period_days"] and len(rows) == 3
    assert abs(float(rows[2][0]) / float(rows[1][0]) - 8) < 1e-6
    assert "period_days =" in err  # the report moves out of the way


def test_a_table_from_stdin_and_its_record_stream(tmp_path):
    table = b"x;y\n" + b"".join(b"%d;%d\n" % (i, 3 * i * i) for i in range(1, 30))
    result = fit_json("-", FAST, f"-o {tmp_path}/fit.zst", stdin=table)
    assert result["fvu"] < 1e-20 and result["length"] == 3
    record = lines(good(f"fansr-cat {tmp_path}/fit.zst"))[1]
    assert record["kind"] == "fit" and record["expr"] == result["prefix"]


# ---- bad input --------------------------------------------------------------------------------

TABLES = {
    "empty": (b"", 1, "empty"),
    "header only": (b"a,b\n", 1, "row"),
    "one row": (b"a,b\n1,2\n", 1, "row"),
    "text target": (b"a,b\n1,x\n2,y\n3,z\n", None, ""),
    "random bytes": (bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)), 1, ""),
    "ragged": (b"a,b\n1,2\n3\n4,5\n", 1, "line 3|row 2"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_bad_table_is_one_line_and_exit_1(tmp_path, name):
    content, want, word = TABLES[name]
    (tmp_path / "t.csv").write_bytes(content)
    target = " --target b" if name == "text target" else ""
    code, out, err = sh(f"fansr-fit t.csv {FAST}{target}", cwd=tmp_path)
    assert code == (want or 1) and not out
    assert len(err.strip().splitlines()) == 1 and "Traceback" not in err and re.search(word, err)
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    "line, want, word",
    [
        ("fansr-fit none.csv", 1, "no such file"),
        ("fansr-fit .", 1, "directory"),
        ("fansr-fit {data}/planets.csv --target mass", 1, "semi_major_axis_au"),
        ("fansr-fit {data}/planets.csv --proposers magic", 2, "known are"),
        ("fansr-fit {data}/planets.csv --config bad.toml", 2, "unknown key 'sample'"),
        ("fansr-fit {data}/planets.csv --nonsense", 2, "nonsense"),
        ("fansr-simplify none.zst", 1, "no such file"),
        ("fansr-gen -n 10 | fansr-fit", 1, "holds skeleton"),
        ("fansr-gen -n 10 | fansr-score", 1, "holds skeleton"),
        ("fansr-gen -n 2000 | head -c 3000 | fansr-simplify -o out.zst", 1, "good record"),
        ("fansr-gen -n 10 -o /dev/full", 1, "[Nn]o space"),
        ("fansr-gen -n 10 > /dev/full", 1, "[Nn]o space"),
        ("fansr-cat --count {data}/planets.csv", 1, "not a fansr stream"),
        ("fansr-decontam --test none.json < /dev/null", 1, "none.json"),
    ],
)
def test_bad_calls_and_streams(tmp_path, line, want, word):
    (tmp_path / "bad.toml").write_text("sample = 3\n")
    # Without pipefail: the command under test is the last one.
    done = subprocess.run(
        ["bash", "-c", line.format(data=DATA)],
        capture_output=True,
        env=ENV,
        cwd=tmp_path,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    err = done.stderr.decode()
    assert done.returncode == want, err
    assert re.search(word, err) and "Traceback" not in err
    assert len(err.strip().splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["bad.toml"]


def test_missing_cells_are_dropped_counted_and_reported(tmp_path):
    rows = [f"{i},{2 * i}" for i in range(1, 20)] + ["nan,3", "inf,4", "5,"]
    (tmp_path / "t.csv").write_text("größe (m),y\n" + "\n".join(rows) + "\n")
    result = fit_json(tmp_path / "t.csv")
    assert result["dropped_rows"] == 3 and any("3 of 22 rows were dropped" in w for w in result["warnings"])
    assert result["expression"] == "2*größe (m)"
    assert result["variables"][0].isidentifier()


@pytest.mark.parametrize(
    "name, content",
    [
        ("constant", "a,b\n1,7\n2,7\n3,7\n4,7\n"),
        ("tiny", "a,b\n" + "".join(f"{i}e-300,{3 * i}e-300\n" for i in range(1, 9))),
        ("huge", "a,b\n" + "".join(f"{i}e300,{3 * i}\n" for i in range(1, 9))),
        ("twins", "a,a,b\n" + "".join(f"{i},{i * i},{2 * i * i}\n" for i in range(1, 9))),
    ],
)
def test_odd_but_good_tables_have_laws(tmp_path, name, content):
    (tmp_path / "t.csv").write_text(content)
    result = fit_json(tmp_path / "t.csv")
    assert result["fvu"] < 1e-12 and "nan" not in result["expression"]


def test_many_columns(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 200))
    y = 3 * X[:, 17] - X[:, 150]
    table = np.c_[X, y]
    np.savetxt(
        tmp_path / "t.csv", table, delimiter=",", header=",".join(f"c{j}" for j in range(200)) + ",y", comments=""
    )
    result = fit_json(tmp_path / "t.csv", FAST, "--time 20")
    assert result["fvu"] < 1e-20 and set(re.findall(r"c\d+", result["expression"])) == {"c17", "c150"}


# ---- pipes that break, Ctrl-C -----------------------------------------------------------------


def test_a_closed_pipe_is_quiet():
    done = subprocess.run(
        ["bash", "-c", "fansr-gen -n 300000 | head -c 100 > /dev/null; echo ${PIPESTATUS[0]}"],
        capture_output=True,
        env=ENV,
        timeout=60,
    )
    assert done.stdout.decode().strip() == "0" and not done.stderr


@pytest.mark.parametrize("line", ["fansr-gen -n 100000000 -j 2 -o out.zst", "fansr-gen -n 100000000 -j 1 -o out.zst"])
def test_ctrl_c_keeps_what_is_finished(tmp_path, line):
    process = subprocess.Popen(shlex.split(line), env=ENV, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True)
    time.sleep(4)
    begun = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130 and b"Traceback" not in err
    assert time.monotonic() - begun < 10  # the promise is two seconds; a loaded machine gets more
    assert [p.name for p in tmp_path.iterdir()] == ["out.zst"]
    assert b"ok" in good("fansr-cat --check out.zst", cwd=tmp_path)


def wait_for_work(process, seconds: float):
    """Until a process has had so many seconds of a processor, however busy the machine is."""
    stat = Path(f"/proc/{process.pid}/stat")
    if not stat.exists():  # no Linux
        return time.sleep(2 * seconds)
    while process.poll() is None:
        user, system = stat.read_text().rpartition(")")[2].split()[11:13]
        if (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") >= seconds:
            return None
        time.sleep(0.1)
    return None


def test_ctrl_c_prints_the_best_law_so_far(tmp_path):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 4))
    y = np.sin(3 * X[:, 0] * X[:, 1]) + X[:, 2] ** 3 / (1 + X[:, 3] ** 2) + rng.normal(size=200)
    np.savetxt(tmp_path / "t.csv", np.c_[X, y], delimiter=",", header="a,b,c,d,y", comments="")
    process = subprocess.Popen(
        ["fansr-fit", "t.csv", "--time", "100", "--json", "--samples", "0"],
        env=ENV,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for_work(process, 4.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130 and b"Traceback" not in err
    result = json.loads(out)
    assert result["status"] == "interrupted" and result["fvu"] < 1


def test_a_slip_on_one_problem_does_not_cost_the_others(monkeypatch):
    """An exception inside the search of one problem becomes a failed record that says which."""
    from fansr import fit_stream
    from fansr.fitting.problem import Problem
    from fansr.search import turns

    def slip(*args):
        raise IndexError("off by one")

    monkeypatch.setattr(turns, "search", slip)
    record = fit_stream.fit_record(
        Problem(np.ones((4, 1)), np.arange(4.0), ["x"], extra={"law": "a"}), turns.Options(), 1.0
    )
    assert record["status"] == "failed: IndexError: off by one" and record["law"] == "a" and record["expr"] == []


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_huge_numbers_bring_no_warnings_and_a_finite_noise(tmp_path, noise):
    a = np.linspace(1.5, 9, 30)
    y = 3 * a + noise * np.random.default_rng(0).normal(size=30)
    table = tmp_path / "t.csv"
    table.write_text("a,y\n" + "".join(f"{u:.6f}e161,{v:.6f}e161\n" for u, v in zip(a, y)))
    call = [str(BIN / "fansr-fit"), str(table), "--time", "1", "-j", "1"]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("y = ")
    assert "Warning" not in done.stderr and "inf" not in done.stdout.split("length")[0]
