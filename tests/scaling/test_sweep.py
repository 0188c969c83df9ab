"""fansr-sweep: plans, the grid's choice, solved against draws; and by real trainings: kill and go on, one by one as all at once."""

import json
import os
import signal
import subprocess
import sys
import time
from itertools import combinations

import numpy as np
import pytest
from click.testing import CliRunner

from fansr.errors import DataError
from fansr.scaling import sweep, sweep_plan
from fansr.streams import open_reader

TINY = """
sizes = ["nano"]
ratios = [0.05, 0.1]
seeds = [0, 1]
branch = true
samples = 8
[corpus]
depth = 1
hold = 0.2
[problems]
seen = 5
held = 5
"""


def runs_of(path):
    with open_reader(str(path), holds="run") as reader:
        return list(reader)


def test_a_plan_is_cheapest_first_and_its_ids_are_its_content(tmp_path):
    (tmp_path / "s.toml").write_text(
        TINY.replace('["nano"]', '["micro", "nano"]').replace("branch = true", "branch = false")
    )
    shown = CliRunner().invoke(sweep.sweep, ["plan", str(tmp_path / "s.toml"), "-o", str(tmp_path / "plan.zst")])
    assert shown.exit_code == 0, shown.output
    runs = runs_of(tmp_path / "plan.zst")
    assert len(runs) == 8 and len({run["id"] for run in runs}) == 8
    assert [run["flops"] for run in runs] == sorted(run["flops"] for run in runs)
    assert {run["size"]: run["params"] for run in runs} == {"nano": 20630, "micro": 43582}
    again = sweep_plan.plan(sweep_plan.read(str(tmp_path / "s.toml")))
    assert [run["id"] for run in again] == [run["id"] for run in runs]
    assert sweep_plan.identity({**runs[0], "lr": 0.5}) != runs[0]["id"]


def test_large_sizes_may_have_fewer_ratios_and_seeds(tmp_path):
    text = TINY.replace('["nano"]', '["micro", "nano"]') + "\n"
    (tmp_path / "s.toml").write_text('most = {micro = 0.05}\nonce = ["micro"]\n' + text)
    runs = sweep_plan.plan(sweep_plan.read(str(tmp_path / "s.toml")))
    found = sorted((run["size"], len(run["ratios"]), run["seed"]) for run in runs)
    assert found == [("micro", 1, 0), ("nano", 2, 0), ("nano", 2, 1)]
    (tmp_path / "s.toml").write_text('once = ["mini"]\n' + text)
    with pytest.raises(DataError, match="most and once name mini"):
        sweep_plan.read(str(tmp_path / "s.toml"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[0.05, 0.1]", "[0, 1]"), "ratio 0"),
        (("seeds", "seed"), "unknown key seed"),
        (("depth", "deep"), "[corpus]: unknown key deep"),
        (('["nano"]', '["tiny"]'), "does not say encoder"),
        (('["nano"]', '["no_such"]'), "no_such"),
        (("samples = 8", 'samples = "8"'), "wanted a int"),
    ],
)
def test_a_wrong_sweep_is_told(tmp_path, change, said):
    (tmp_path / "s.toml").write_text(TINY.replace(*change))
    shown = CliRunner().invoke(sweep.sweep, ["plan", str(tmp_path / "s.toml")])
    assert shown.exit_code == 1 and said in shown.output


def test_wrong_calls_are_told(tmp_path):
    assert "goes with `one`" in CliRunner().invoke(sweep.sweep, ["plan", "x", "3"]).output
    assert "--out DIR" in CliRunner().invoke(sweep.sweep, ["run", "x"]).output
    assert "--rdzv" in CliRunner().invoke(sweep.sweep, ["run", "x", "--out", "y", "--nnodes", "2"]).output
    assert CliRunner().invoke(sweep.sweep, ["collect", str(tmp_path)]).exit_code == 3
    run = {"batch": 10}
    with pytest.raises(DataError, match="shared out to 4"):
        sweep.training_words(run, tmp_path, tmp_path, {"nproc": 2, "nnodes": 2})


def test_the_grid_takes_the_valley_of_a_parabola():
    lrs = [1e-3, 2e-3, 4e-3, 8e-3]
    runs = [
        {"size": "nano", "params": 2e4, "batch": batch, "lr": lr, "loss": least + 0.1 * np.log(lr / 3e-3) ** 2}
        for batch, least in ((32, 1.0), (64, 0.9))
        for lr in lrs
    ]
    best = sweep_plan.best_of_grid(runs)["nano"]
    assert best["batch"] == 64 and best["lr"] == pytest.approx(3e-3, rel=0.01) and best["loss"] == pytest.approx(0.9)
    # Falling throughout: the end is taken, nothing beyond it.
    edge = [{"size": "a", "params": 1, "batch": 8, "lr": lr, "loss": 1.0 / lr} for lr in lrs]
    assert sweep_plan.best_of_grid(edge)["a"]["lr"] == 8e-3


def test_solved_by_the_best_of_k_is_the_mean_over_all_choices():
    draws = [True, False, False, True, False, False]
    scores = [{"solved": True, "draws": 6, "n_best": 2}, {"solved": False, "draws": 6, "n_best": 3}]
    found = sweep.solved_at(scores)
    for k in (1, 2, 4):
        some = [any(draws[i] for i in choice) for choice in combinations(range(6), k)]
        assert found[str(k)] == pytest.approx(np.mean(some) / 2)
    assert "8" not in found


def started(plan, out, *more):
    line = [
        sys.executable,
        "-c",
        "import sys; sys.argv[0] = 'fansr-sweep'; from fansr.scaling.sweep import main; main()",
    ]
    return subprocess.Popen([*line, *more, "--out", str(out), "--device", "cpu", "-q"], start_new_session=True)


def results(out):
    """What runs came to, without what depends on the clock."""
    return [
        {key: value for key, value in record.items() if key not in ("seconds", "reason")}
        for record in sweep.collected(out)
    ]


@pytest.mark.prove
def test_killed_and_gone_on_with_is_as_unbroken_and_one_by_one_as_all(tmp_path):
    (tmp_path / "s.toml").write_text(TINY.replace("[0.05, 0.1]", "[0.2, 0.4]"))
    plan = tmp_path / "plan.zst"
    CliRunner().invoke(sweep.sweep, ["plan", str(tmp_path / "s.toml"), "-o", str(plan)])
    assert started(plan, tmp_path / "whole", "run", str(plan), "-j", "1").wait() == 0
    whole = results(tmp_path / "whole")
    assert len(whole) == 4 and all(record["status"] == "finished" for record in whole)
    assert all(
        0 < record["loss"] < 5 and record["n_problems"] == 5 and record["n_problems_held"] == 5 for record in whole
    )
    broken = tmp_path / "broken"
    process = started(plan, broken, "run", str(plan), "-j", "2")
    deadline = time.monotonic() + 120
    while not list(broken.glob("*/train/metrics*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert started(plan, broken, "run", str(plan), "-j", "2").wait() == 0
    assert results(broken) == whole
    singly = tmp_path / "singly"
    for k in range(2):
        assert started(plan, singly, "one", str(plan), str(k)).wait() == 0
    assert results(singly) == whole
    made = {path: path.stat().st_mtime_ns for path in broken.glob("*/runs.zst")}
    assert started(plan, broken, "run", str(plan), "-j", "2").wait() == 0
    assert made == {path: path.stat().st_mtime_ns for path in broken.glob("*/runs.zst")}
    (tmp_path / "other.toml").write_text(TINY.replace("hold = 0.2", "hold = 0.3"))
    CliRunner().invoke(sweep.sweep, ["plan", str(tmp_path / "other.toml"), "-o", str(plan)])
    shown = CliRunner().invoke(sweep.sweep, ["run", str(plan), "--out", str(broken), "-q"])
    assert shown.exit_code == 1 and "another corpus" in shown.output
    assert json.loads((broken / "corpus.json").read_text())["corpus"]["hold"] == 0.2
