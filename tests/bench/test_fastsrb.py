"""The benchmark's cells: resumed without repeating or losing a problem, spread over shares, summed up in tables.

The fits themselves are real calls of fansr-fit with one cheap proposer on laws it finds at once.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench import families as families_bench, fastsrb as bench
from fansr.streams.reader_writer import open_reader, open_writer

ROOT = Path(__file__).resolve().parents[2]
LAWS = """
x1*x2 ; x1 1 5, x2 1 5
3*x1**2/x2 ; x1 0.1 10 log, x2 1 2
x1**3*x2 ; x1 1 3, x2 1 6
x1/x2**2
"""
QUICK = ["--fit-options=--proposers power", "--at", "0.6", "-j", "1", "-q"]


@pytest.fixture
def laws(tmp_path):
    path = tmp_path / "laws.txt"
    path.write_text(LAWS)
    return str(path)


def call(*args):
    result = CliRunner().invoke(bench.main, [*map(str, args)])
    return result.exit_code, result.output


def fits_in(folder, pattern="*.zst"):
    found = []
    for path in sorted((folder / "fits").glob(pattern)):
        with open_reader(str(path), holds="fit") as reader:
            found += list(reader)
    return found


def test_cells_of_several_experiments_are_shared():
    cells = bench.cells_of(("ladder", "noise", "sparsity"), ("fansr", "operon"), (1.0, 10.0), 10.0, options="--gamma 1")
    names = [cell.name for cell in cells]
    assert len(names) == len(set(names)) == 2 * (2 + 3 + 11)  # noise 0 and 512 points are the ladder's 10 s
    assert all(cell.options == ("--gamma 1" if cell.method == "fansr" else "") for cell in cells)
    assert {cell.points for cell in cells} == {2**k for k in range(12)}


def test_sparse_problems_keep_the_same_unseen_points(laws, tmp_path):
    for m in (4, 512):
        path = bench.render(laws, bench.Cell("fansr", points=m), 1, 0, tmp_path)
        with open_reader(str(path)) as reader:
            record = next(iter(reader))
        cut = bench.cut(record, m)
        assert cut["X"].shape == (m, 2) and cut["y"].shape == (m,) and cut["points"] == m
        assert record["y_val"].shape == (512,)
        if m == 4:
            few = cut, record["y_val"]
    assert np.array_equal(few[0]["y"], cut["y"][:4]) and np.array_equal(few[1], record["y_val"])


def test_problems_that_an_interrupt_cut_short_are_drawn_again(laws, tmp_path, monkeypatch):
    run = bench.run

    def stopped(words):
        with open_writer(words[words.index("-o") + 1], "problem"):
            pass  # as a render that was told to stop at its first law leaves it
        raise KeyboardInterrupt

    monkeypatch.setattr(bench, "run", stopped)
    with pytest.raises(KeyboardInterrupt):
        bench.render(laws, bench.Cell("fansr"), 1, 0, tmp_path)
    monkeypatch.setattr(bench, "run", run)
    with open_reader(str(bench.render(laws, bench.Cell("fansr"), 1, 0, tmp_path)), holds="problem") as reader:
        assert len(list(reader)) == 4


def test_a_cell_is_one_stream_with_its_history(laws, tmp_path):
    code, text = call("ladder", "--laws", laws, "--budgets", "0.6", "--repeats", 1, "--out", tmp_path / "o", *QUICK)
    assert code == 0, text
    (path,) = (tmp_path / "o" / "fits").glob("*.zst")
    assert path.name == "fansr-t0.6-m512-n0-d0.zst"
    with open_reader(str(path), holds="fit") as reader:
        fits = list(reader)
        commands = [entry["cmd"] for entry in reader.history]
    assert "fansr-render" in commands and "fansr-fit" in commands
    assert {fit["law"] for fit in fits} == {"laws:2", "laws:3", "laws:4", "laws:5"}
    assert {fit["method"] for fit in fits} == {"fansr"}
    table = (tmp_path / "o" / "report.md").read_text()
    assert "| fansr | 0.6 | 4 |" in table and (tmp_path / "o" / "laws-fansr.png").exists()
    before = path.stat().st_mtime_ns
    assert call("ladder", "--laws", laws, "--budgets", "0.6", "--repeats", 1, "--out", tmp_path / "o", *QUICK)[0] == 0
    assert path.stat().st_mtime_ns == before  # nothing was run again


def test_the_network_alone_is_swept_by_its_draws(laws, tmp_path):
    """Each cell is section 3.5 with its number of draws: laws of the model alone, with the probability of their draw."""
    out = tmp_path / "o"
    code, text = call("samples", "--values", "4,16", "--laws", laws, "--repeats", 1, "--out", out, "-j", "1", "-q")
    assert code == 0, text
    assert {path.name for path in (out / "fits").glob("*.zst")} == {f"network-k{k}-m512-n0-d0.zst" for k in (4, 16)}
    fits = fits_in(out)
    assert Counter(fit["samples"] for fit in fits) == {4: 4, 16: 4} and {fit["method"] for fit in fits} == {"network"}
    fitted = [fit for fit in fits if fit["status"] == "ok"]
    assert fitted and all(
        fit["source"] == "model" and fit["logp"] <= 0 and fit["expr"] == fit["draw"] for fit in fitted
    )
    assert all(fit["candidates"] <= fit["samples"] for fit in fits)
    assert "| network | 16 | 4 |" in (out / "report.md").read_text()
    assert (out / "draws.png").exists() and (out / "draws-all.png").exists()
    cells = bench.cells_of(("samples", "sparsity", "ladder"), ("fansr", "network"), (1.0,), 1.0, draws=64)
    assert {cell.method for cell in cells if cell.samples} == {"network"} and {
        c.samples for c in cells if c.points == 8
    } == {0, 64}


def test_parts_and_missing_problems_become_one_stream(laws, tmp_path):
    cell = bench.Cell("fansr", budget=0.6, options="--proposers power")
    folder = tmp_path / "fits"
    folder.mkdir()
    problems = bench.render(laws, cell, 2, 0, tmp_path)
    with open_reader(str(problems)) as reader:
        records = list(reader)
    # Two streams of an earlier, interrupted call: one fit whole, one cut short by the interrupt.
    for number, (record, status) in enumerate(zip(records[:2], ("ok", "interrupted"))):
        with open_writer(str(folder / f"{cell.name}.{number}.zst"), "fit", [{"cmd": "earlier"}]) as writer:
            writer.write(
                {
                    "kind": "fit",
                    "problem": record["id"],
                    "expr": ["x1"],
                    "consts": np.zeros(0),
                    "fvu": 0.5,
                    "status": status,
                    "mark": "earlier",
                }
            )
    final = bench.run_cell(cell, problems, folder, 1, 0, 0, 1, True)
    with open_reader(str(final)) as reader:
        fits = list(reader)
    assert Counter(fit["problem"] for fit in fits) == Counter(record["id"] for record in records)
    assert [fit["problem"] for fit in fits if fit.get("mark")] == [records[0]["id"]]
    assert [path.name for path in folder.iterdir()] == [final.name]


def test_an_interrupted_run_loses_and_repeats_nothing(tmp_path):
    laws = tmp_path / "laws.txt"
    laws.write_text("\n".join(f"{k}.5*x1**{k}/x2" for k in range(2, 6)) * 1)
    words = [
        sys.executable,
        str(ROOT / "bin" / "bench-fastsrb"),
        "ladder",
        "--laws",
        str(laws),
        "--budgets",
        "0.6",
        "--repeats",
        "10",
        "--out",
        str(tmp_path / "o"),
        "--no-report",
        *QUICK,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(words, env=environment)
    folder = tmp_path / "o" / "fits"
    for _ in range(400):  # until some fits are written
        if any(part.stat().st_size > 4000 for part in folder.glob("*.0.zst.part")):
            break
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    assert child.wait(timeout=30) in (130, 0)
    assert not list(folder.glob("*.part"))
    early = sum(1 for fit in fits_in(tmp_path / "o", "*.[0-9].zst"))
    assert subprocess.run(words, env=environment, timeout=120).returncode == 0
    fits = fits_in(tmp_path / "o")
    assert Counter(fit["problem"] for fit in fits) == Counter(range(40))
    assert early <= 40 and len(list(folder.glob("*.zst"))) == 1


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    """kill -9 of the benchmark alone: its worker ends with it, and the next call neither repeats nor loses a problem."""
    laws = tmp_path / "laws.txt"
    laws.write_text("\n".join(f"{k}.5*x1**{k}/x2" for k in range(2, 6)))
    words = [
        sys.executable,
        str(ROOT / "bin" / "bench-fastsrb"),
        "ladder",
        "--laws",
        str(laws),
        "--budgets",
        "0.6",
        "--repeats",
        "60",
        "--out",
        str(tmp_path / "o"),
        "--no-report",
        *QUICK,
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(words, env=environment)
    folder = tmp_path / "o" / "fits"
    for _ in range(600):
        if any(part.stat().st_size > 1000 for part in folder.glob("*.0.zst.part")):
            break
        time.sleep(0.05)
    child.kill()
    child.wait(timeout=10)
    time.sleep(0.5)
    (part,) = folder.glob("*.0.zst.part")
    size = part.stat().st_size
    time.sleep(1.5)
    assert part.stat().st_size == size  # nobody writes any more
    assert subprocess.run(words, env=environment, timeout=240).returncode == 0
    (final,) = folder.glob("*.zst")
    with open_reader(str(final), holds="fit") as reader:
        fits = list(reader)
    assert Counter(fit["problem"] for fit in fits) == Counter(range(240))


def test_a_users_file_of_laws_goes_through_the_pipe(tmp_path):
    """render | fit | score of a text file, as the README's tour types it."""
    laws = tmp_path / "mine.txt"
    laws.write_text("# my laws\nG*m1*m2/r**2 ; G 6 7, m1 0.1 10 log, m2 0.1 10 log, r 1 5\n2.5*v**3 ; v 1 40 int\n")
    bin_ = ROOT / "bin"
    pipe = " | ".join(
        [
            f"{sys.executable} {bin_}/fansr-render {laws} --points 64 --repeats 2 --val -q",
            f"{sys.executable} {bin_}/fansr-fit --proposers power --time 2 -j 1 -q",
            f"{sys.executable} {bin_}/fansr-score --by law --json -q",
        ]
    )
    done = subprocess.run(["bash", "-o", "pipefail", "-c", pipe], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["n"] == 4 and summary["laws"] == 2 and summary["exact"] == summary["equivalent"] == 1.0
    assert {name: group["n"] for name, group in summary["groups"].items()} == {"mine:2": 2, "mine:3": 2}


def test_shares_of_a_cluster_job_make_the_whole(laws, tmp_path):
    for shard in range(3):
        code, text = call(
            "ladder",
            "--laws",
            laws,
            "--budgets",
            "0.6",
            "--repeats",
            2,
            "--out",
            tmp_path / "o",
            "--shard",
            shard,
            "--shards",
            3,
            *QUICK,
        )
        assert code == 0, text
    assert Counter(fit["problem"] for fit in fits_in(tmp_path / "o")) == Counter(range(8))
    assert call("--report", "--at", "0.6", "--out", tmp_path / "o")[0] == 0
    assert "| fansr | 0.6 | 8 |" in (tmp_path / "o" / "report.md").read_text()


def test_the_processor_clock_counts_work_not_waiting(laws, tmp_path):
    words = bench.program("fansr-fit", "cpu")[-1].replace("main()", "")
    code = (
        words
        + "t = clock.monotonic(); time.sleep(0.3); b = fansr.fitting.problem.Budget(0.2); time.sleep(0.3); print(b.over())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    code, text = call(
        "ladder", "--laws", laws, "--budgets", "0.6", "--repeats", 1, "--clock", "cpu", "--out", tmp_path, *QUICK
    )
    assert code == 0 and [path.name for path in (tmp_path / "fits").iterdir()] == ["fansr-t0.6c-m512-n0-d0.zst"]
    assert all(fit["clock"] == "cpu" for fit in fits_in(tmp_path))


def test_a_marked_ladder_is_one_cell_a_peer_and_one_a_budget_of_ours(laws, tmp_path):
    cells = bench.cells_of(("ladder",), ("fansr", "prior"), (1.0, 3.0), 10.0, marked=True)
    assert [cell.name for cell in cells] == ["fansr-t1-m512-n0-d0", "fansr-t3-m512-n0-d0", "prior-t1+3-m512-n0-d0"]
    code, text = call(
        "ladder",
        "--marks",
        "--methods",
        "prior",
        "--laws",
        laws,
        "--budgets",
        "0.3,0.6",
        "--repeats",
        1,
        "--out",
        tmp_path,
        "-j",
        1,
        "-q",
    )
    assert code == 0, text
    fits = fits_in(tmp_path)
    assert Counter((fit["law"], fit["budget"]) for fit in fits) == Counter(
        (f"laws:{k}", budget) for k in (2, 3, 4, 5) for budget in (0.3, 0.6)
    )
    assert "| prior | 0.3 | 4 |" in text and "| prior | 0.6 | 4 |" in text


def test_every_takes_a_share_of_each_difficulty(tmp_path):
    chosen = bench._Every(3)
    records = [
        {"id": 2 * k + r, "group": "hard" if k % 4 else "easy", "law": f"law{k}"} for k in range(24) for r in (0, 1)
    ]
    taken = [record for record in records if chosen(record)]
    assert Counter(record["group"] for record in taken) == {
        "easy": 4,
        "hard": 12,
    }  # 2 of 6 and 6 of 18 laws, two draws each
    assert len({record["law"] for record in taken}) == 8 and bench.Cell("fansr", every=3).name.endswith("-e3")


def test_methods_that_ran_other_laws_are_compared_on_the_shared_ones():
    def records(method, laws):
        return [{"method": method, "law": law} for law in laws]

    assert bench.shared(records("a", "xyz") + records("b", "xz") + records("b", "z")) == [
        *records("a", "xz"),
        *records("b", "xz"),
        *records("b", "z"),
    ]
    assert bench.shared(records("a", "xy") + records("b", "yx")) == [] == bench.shared([])


def test_a_sweep_holds_the_methods_that_ran_it():
    base = {"budget": 3.0, "points": 512, "noise": 0.0, "dummies": 0, "method": "fansr"}
    ran = [
        base,
        {**base, "noise": 0.1},
        {**base, "points": 8},
        {**base, "method": "operon"},
        {**base, "noise": 0.1, "budget": 1.0},
    ]
    assert bench.swept(ran, 3.0, "noise") == [ran[0], ran[1]] and bench.swept(ran, 3.0, "points") == [ran[0], ran[2]]
    assert bench.swept(ran, 3.0, "dummies") == [] == bench.swept(ran, 1.0, "noise")


def test_wrong_calls(tmp_path):
    assert call("speed", "--out", tmp_path)[0] == 2
    assert call("--shard", 3, "--shards", 3, "--out", tmp_path)[0] == 2
    assert call("--budgets", "1,fast", "--out", tmp_path)[0] == 2
    assert call("--report", "--out", tmp_path / "none")[0] == 1
    assert call("noise", "dummies", "--values", "1", "--out", tmp_path)[0] == 2


# ---- families and small tables ----------------------------------------------------------------


@pytest.fixture(scope="module")
def families():
    return families_bench


def test_the_shipped_families_are_what_the_script_writes(families):
    shipped = json.loads((ROOT / "data" / "families.json").read_text())
    assert shipped == families.make_laws()
    counts = Counter(law["difficulty"] for law in shipped["laws"])
    assert len(counts) == 7 and set(counts.values()) == {30}
    assert {"nested_radicals", "three_body", "damped_oscillations"} <= set(counts)


def test_the_reference_reaches_nists_certified_values(families):
    """DanWood and BoxBOD of NIST's Statistical Reference Datasets: parameters and residual sums."""
    found = {record["law"]: record for record in families.real()}
    for name, certified, residual in (
        ("filament", (0.76886226176, 3.8604055871), 4.3173084083e-3),
        ("oxygen_demand", (213.80940889, 0.54723748542), 1.1680088766e3),
    ):
        record = found[name]
        assert record["reference"]["parameters"] == pytest.approx(certified, rel=1e-5)
        total = np.sum((record["y"] - record["y"].mean()) ** 2)
        assert record["reference"]["fvu"] * total == pytest.approx(residual, rel=1e-6)
        assert record["reference"]["left_out"] > record["reference"]["fvu"]


def test_leave_one_out_of_a_straight_line_is_the_press_statistic(families):
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 5, 15)
    y = 1 + 2 * x + rng.normal(0, 0.3, 15)
    A = np.column_stack([np.ones(15), x])
    hat = A @ np.linalg.inv(A.T @ A) @ A.T
    press = np.sum(((y - hat @ y) / (1 - np.diag(hat))) ** 2)
    expr, order = families.parametric("p1 + p2*x1", 1)
    found = families.left_out(expr, order, (0.0, 1.0), x[:, None], y)
    assert found == pytest.approx(press / np.sum((y - y.mean()) ** 2), rel=1e-6)


def test_verdicts(families):
    def row(fvu, unseen, expr, consts=None):
        consts = [1.5 + k for k in range(expr.count("<constant>"))] if consts is None else consts
        fit = {
            "law": "a",
            "group": "textbook",
            "points": 8,
            "expr": expr,
            "consts": np.array(consts),
            "fvu": fvu,
            "fvu_val": unseen,
            "constants": 2,
            "reference": {"fvu": 0.1, "fvu_val": 0.01},
        }
        return families.verdict(fit, None)

    good = row(0.1, 0.011, ["+", "<constant>", "*", "<constant>", "x1"])
    assert good["as_good"] and not good["overfits"] and not good["underfits"]
    greedy = row(1e-9, 0.3, ["+", "<constant>", "*", "<constant>", "sin", "*", "<constant>", "x1"])
    assert greedy["overfits"] and greedy["more_constants"] and not greedy["as_good"]
    blunt = row(0.5, 0.3, ["<constant>"])
    assert blunt["underfits"] and not blunt["as_good"] and not blunt["overfits"]
    none = row(np.inf, None, [])
    assert not none["as_good"]
    whole = row(0.1, 0.011, "/ <constant> + <constant> * <constant> x1".split(), [3.3, 1.0, 0.7])
    assert whole["constants"] == 2 and whole["as_good"]  # the 1 is of the form


def test_tables_have_textbook_laws_and_stated_noise(families):
    records = list(families.synthetic(0, 1))
    assert len(records) == len(families.TEXTBOOK) * len(families.SIZES)
    assert {record["points"] for record in records} == set(families.SIZES)
    large = [record for record in records if record["points"] == 250]
    for record in large:
        wanted = record["noise"] ** 2 / (1 + record["noise"] ** 2)
        assert record["reference"]["fvu"] == pytest.approx(wanted, rel=0.35)
        assert record["reference"]["fvu_val"] < record["reference"]["fvu"]
