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

from fansr.errors import DataError, NoAnswer
from fansr.scaling import sweep, sweep_plan, sweep_run
from fansr.streams import open_reader

TINY = """
sizes = ["femto"]
ratios = [0.05, 0.1]
seeds = [0, 1]
branch = true
samples = 4
[corpus]
depth = 1
hold = 0.2
[problems]
seen = 3
held = 3
"""


def runs_of(path):
    with open_reader(str(path), holds="run") as reader:
        return list(reader)


def test_a_plan_is_cheapest_first_and_its_ids_are_its_content(tmp_path):
    (tmp_path / "s.toml").write_text(
        TINY.replace('["femto"]', '["nano", "femto"]').replace("branch = true", "branch = false")
    )
    shown = CliRunner().invoke(sweep.sweep, ["plan", str(tmp_path / "s.toml"), "-o", str(tmp_path / "plan.zst")])
    assert shown.exit_code == 0, shown.output
    runs = runs_of(tmp_path / "plan.zst")
    assert len(runs) == 8 and len({run["id"] for run in runs}) == 8
    assert [run["flops"] for run in runs] == sorted(run["flops"] for run in runs)
    assert {run["size"]: run["params"] for run in runs} == {"femto": 6126, "nano": 20630}
    again = sweep_plan.plan(sweep_plan.read(str(tmp_path / "s.toml")))
    assert [run["id"] for run in again] == [run["id"] for run in runs]
    assert sweep_plan.identity({**runs[0], "lr": 0.5}) != runs[0]["id"]


def test_large_sizes_may_have_fewer_ratios_and_seeds(tmp_path):
    text = TINY.replace('["femto"]', '["nano", "femto"]') + "\n"
    (tmp_path / "s.toml").write_text('most = {nano = 0.05}\nonce = ["nano"]\n' + text)
    runs = sweep_plan.plan(sweep_plan.read(str(tmp_path / "s.toml")))
    found = sorted((run["size"], len(run["ratios"]), run["seed"]) for run in runs)
    assert found == [("femto", 2, 0), ("femto", 2, 1), ("nano", 1, 0)]
    (tmp_path / "s.toml").write_text('once = ["mini"]\n' + text)
    with pytest.raises(DataError, match="most and once name mini"):
        sweep_plan.read(str(tmp_path / "s.toml"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[0.05, 0.1]", "[0, 1]"), "ratio 0"),
        (("seeds", "seed"), "unknown key seed"),
        (("depth", "deep"), "[corpus]: unknown key deep"),
        (('["femto"]', '["tiny"]'), "does not say encoder"),
        (('["femto"]', '["no_such"]'), "no_such"),
        (("samples = 4", 'samples = "4"'), "wanted a int"),
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
        sweep_run.training_words(run, tmp_path, tmp_path, {"nproc": 2, "nnodes": 2})


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


def test_sizes_off_the_grid_take_what_the_nearest_found(tmp_path):
    grid = '\n[grid]\nat = 0.1\nsizes = ["femto"]\nbatch = [8, 16]\nlr = [0.01, 0.02]\n'
    grid += "batch_of = {femto = [8]}\nlr_of = {femto = [0.03, 0.04]}\n"
    (tmp_path / "s.toml").write_text(TINY.replace('["femto"]', '["nano", "femto"]') + grid)
    runs = sweep_plan.plan(sweep_plan.read(str(tmp_path / "s.toml")))
    assert [(run["batch"], run["lr"]) for run in runs if run["stage"] == "grid"] == [(8, 0.03), (8, 0.04)]
    best = {"femto": {"batch": 8, "lr": 0.01, "params": 6e3}, "micro": {"batch": 64, "lr": 0.03, "params": 4e4}}
    chosen = {run["size"]: sweep.resolved(run, best) for run in runs if run["stage"] == "ratios"}
    assert (
        chosen["femto"]["batch"] == 8 and chosen["nano"]["batch"] == 64
    )  # 20,630 parameters: nearer to 40,000 than to 6,000
    assert chosen["nano"]["id"] != next(run["id"] for run in runs if run["size"] == "nano")
    # A plateau, at half the rate that is best for a cosine.
    assert all(run["branch"] for run in chosen.values())
    assert chosen["femto"]["lr"] == 0.005 and chosen["nano"]["lr"] == 0.015
    whole = {**next(run for run in runs if run["stage"] == "ratios"), "branch": False}
    assert sweep.resolved(whole, best)["lr"] in (0.01, 0.03)
    assert all(sweep.resolved(run, {}) is run for run in runs)


def test_problems_of_both_kinds_are_of_the_same_lengths():
    rng = np.random.default_rng(0)
    records = [
        {"id": i, "expr": ["sin"] * int(n) + ["x1"], "held": i < 9} for i, n in enumerate(rng.integers(1, 5, 300))
    ]
    found = sweep.judged_forms(records, {"seen": 30, "held": 60}, "forms.zst")
    assert not any(record["held"] for record in found["seen"]) and all(record["held"] for record in found["held"])
    assert len(found["seen"]) == 41 == len({record["id"] for record in found["seen"]}) and len(found["held"]) == 81
    lengths = {name: [len(record["expr"]) for record in some] for name, some in found.items()}
    assert lengths["seen"] == lengths["held"][:41]
    with pytest.raises(DataError, match="no form is held out"):
        sweep.judged_forms([{**record, "held": False} for record in records], {"seen": 3, "held": 3}, "forms.zst")


def test_sizes_alike_cost_the_same(tmp_path):
    (tmp_path / "s.toml").write_text(
        'alike = "nano"\n' + TINY.replace('["femto"]', '["nano", "nano-set", "nano-latex", "nano-placeholder"]')
    )
    runs = sweep_plan.plan(sweep_plan.read(str(tmp_path / "s.toml")))
    nano = next(run for run in runs if run["size"] == "nano")
    assert nano["ratios"] == [0.05, 0.1]
    # 6 (N_enc D_in + N_dec D_out) by hand, 64 rows of three cells to a law of 8.1 tokens.
    assert nano["flops"] == pytest.approx(6 * nano["tokens"] * (nano["n_enc"] * 192 / 8.1 + nano["n_dec"]))
    for run in runs:
        assert run["flops"] == pytest.approx(nano["flops"], rel=1e-3)
    assert {run["size"]: run["ratios"][1] < 0.1 for run in runs} == {
        "nano": False, "nano-set": True, "nano-latex": False, "nano-placeholder": True,
    }  # fmt: skip


def test_solved_by_the_best_of_k_is_the_mean_over_all_choices():
    draws = [True, False, False, True, False, False]
    scores = [{"solved": True, "draws": 6, "n_best": 2}, {"solved": False, "draws": 6, "n_best": 3}]
    found = sweep_run.solved_at(scores)
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


def killed(plan, out, jobs, seconds=120):
    """Start a sweep and kill it with all its children as soon as a training has written its first metrics."""
    process = started(plan, out, "run", str(plan), "-j", jobs)
    deadline = time.monotonic() + seconds
    while not list(out.glob("*/train/metrics*")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_a_killed_sweep_goes_on_and_makes_nothing_twice(tmp_path):
    text = TINY.replace("[0.05, 0.1]", "[0.5]").replace("seeds = [0, 1]", "seeds = [0]")
    (tmp_path / "s.toml").write_text(text.replace("branch = true", "branch = false"))
    plan, out = tmp_path / "plan.zst", tmp_path / "runs"
    CliRunner().invoke(sweep.sweep, ["plan", str(tmp_path / "s.toml"), "-o", str(plan)])
    killed(plan, out, "1")
    with pytest.raises(NoAnswer, match="no run is finished"):
        sweep.sweep.main(["collect", str(out)], standalone_mode=False)
    corpus = (out / "forms.zst").stat().st_mtime_ns
    assert started(plan, out, "run", str(plan), "-j", "1").wait() == 0
    (record,) = results(out)
    assert record["status"] == "finished" and 0 < record["loss"] < 5
    assert record["n_problems"] == 3 and record["n_problems_held"] == 3
    made = {path: path.stat().st_mtime_ns for path in out.glob("*/runs.zst")}
    assert started(plan, out, "run", str(plan), "-j", "1").wait() == 0
    assert made == {path: path.stat().st_mtime_ns for path in out.glob("*/runs.zst")}
    assert (out / "forms.zst").stat().st_mtime_ns == corpus
    (tmp_path / "other.toml").write_text(TINY.replace("hold = 0.2", "hold = 0.3"))
    CliRunner().invoke(sweep.sweep, ["plan", str(tmp_path / "other.toml"), "-o", str(plan)])
    shown = CliRunner().invoke(sweep.sweep, ["run", str(plan), "--out", str(out), "-q"])
    assert shown.exit_code == 1 and "another corpus" in shown.output
    assert json.loads((out / "corpus.json").read_text())["corpus"]["hold"] == 0.2


@pytest.mark.prove
def test_killed_and_gone_on_with_is_as_unbroken_and_one_by_one_as_all(tmp_path):
    """About a minute of processor time."""
    (tmp_path / "s.toml").write_text(TINY.replace("[0.05, 0.1]", "[0.3, 0.6]"))
    plan, broken, singly = tmp_path / "plan.zst", tmp_path / "broken", tmp_path / "singly"
    CliRunner().invoke(sweep.sweep, ["plan", str(tmp_path / "s.toml"), "-o", str(plan)])
    assert started(plan, tmp_path / "whole", "run", str(plan), "-j", "1").wait() == 0
    whole = results(tmp_path / "whole")
    assert len(whole) == 4 and all(record["status"] == "finished" for record in whole)
    killed(plan, broken, "2")
    assert started(plan, broken, "run", str(plan), "-j", "2").wait() == 0
    assert results(broken) == whole
    for k in range(2):
        assert started(plan, singly, "one", str(plan), str(k)).wait() == 0
    assert results(singly) == whole
