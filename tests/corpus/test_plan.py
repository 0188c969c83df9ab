"""fansr-gen --plan: its arithmetic, and that the script it writes makes the corpus it says, by each of its callers."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fansr.corpus import plan as planning
from fansr.corpus.gen import gen
from fansr.streams import reader_writer

ROOT = Path(__file__).resolve().parent.parent.parent
RATES = planning.Rates(
    {"fansr-gen": (0.5, 1e-5), "fansr-simplify": (1.0, 2e-4), "fansr-decontam": (2.5, 4e-5)}, 20.0, 18.0, 0.9, 300.0
)


@pytest.fixture
def measured(monkeypatch):
    monkeypatch.setattr(planning, "measure", lambda *_: RATES)


def run(*words):
    return CliRunner().invoke(gen, [str(word) for word in words])


def test_hours_and_bytes_are_those_of_pencil_and_paper(measured):
    p = json.loads(run("--plan", "1e9", "--shards", 4096, "--machines", "16x64", "--json", "-q").output)
    seconds = 4.0 + 244141 * 2.5e-4  # of a shard on its core
    assert p["skeletons_a_shard"] == 244141 and p["cores"] == 1024 and p["tasks"] == 1000
    assert p["shard_seconds"] == pytest.approx(seconds)
    assert p["core_hours"] == pytest.approx(4096 * seconds / 3600)
    assert (
        p["hours"] == pytest.approx(4 * seconds / 3600) and p["busy"] == 1.0
    )  # 4,096 shards on 1,024 cores: four waves
    assert p["survivors"] == 900_000_000 and p["bytes"] == 16_200_000_000
    assert p["scratch_bytes"] == round(1024 * 244141 * 20.0)
    assert "core hours" in run("--plan", "1e9", "-q").output


@pytest.mark.parametrize(
    "words", [["--plan", "1e9.5"], ["--plan", "0"], ["--plan", "1e30"], ["--plan", 9, "--machines", "4"]]
)
def test_what_is_no_plan_is_refused(words):
    done = run(*words)
    assert done.exit_code == 2 and "wanted" in done.output or "no whole number" in done.output


@pytest.fixture
def script(measured, tmp_path):
    """A planned corpus of 500 skeletons in 2 shards, and an environment in which its commands are those of this checkout."""
    done = run("--plan", 500, "--shards", 2, "--seed", 3, "-o", tmp_path / "small.sh", "-q")
    assert done.exit_code == 0, done.output
    (tmp_path / "tools").mkdir()
    for name in ("gen", "simplify", "decontam", "cat"):
        command = tmp_path / "tools" / f"fansr-{name}"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/bin/fansr-{name} "$@"\n')
        command.chmod(0o755)
    return tmp_path / "small.sh", {
        "PATH": f"{tmp_path / 'tools'}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
    }


def test_the_script_makes_the_corpus_and_leaves_a_finished_shard_alone(script, tmp_path):
    path, environment = script
    line = f"seq 0 1 | xargs -P 2 -n 1 bash {path.name}"
    assert subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment).returncode == 0
    made = tmp_path / "small"
    assert sorted(p.name for p in made.iterdir()) == ["shard-00000.zst", "shard-00001.zst"]
    words = ["fansr-cat", "--check", "--shards", "small"]
    said = subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.returncode == 0 and ", all shards of ids 0 to 499" in said.stdout, said.stderr
    with reader_writer.open_reader(made / "shard-00001.zst") as reader:
        ids = [record["id"] for record in reader]
        assert [entry["cmd"] for entry in reader.history] == ["fansr-gen", "fansr-simplify", "fansr-decontam"]
        assert reader.history[0]["seed"] == 3
    assert 200 < len(ids) <= 250 and min(ids) >= 250
    # Slurm's way of saying which task this is; nothing is left to do, so no command is called.
    for name in ("gen", "simplify", "decontam"):
        (tmp_path / "tools" / f"fansr-{name}").unlink()
    task = {**environment, "SLURM_ARRAY_TASK_ID": "1", "SLURM_SUBMIT_DIR": str(tmp_path)}
    assert subprocess.run(["bash", path], cwd="/", env=task).returncode == 0
    if shutil.which("parallel"):
        line = f"seq 0 1 | parallel -j 2 --joblog log bash {path.name}"
        assert subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment).returncode == 0


def test_an_error_of_a_stage_is_the_scripts(script, tmp_path):
    path, environment = script
    (tmp_path / "tools/fansr-simplify").unlink()
    (tmp_path / "tools/fansr-simplify").write_text("#!/bin/sh\nexit 7\n")
    (tmp_path / "tools/fansr-simplify").chmod(0o755)
    done = subprocess.run(["bash", path, "0"], cwd=tmp_path, env=environment, capture_output=True)
    assert done.returncode == 7 and list((tmp_path / "small").iterdir()) == []


@pytest.mark.prove
def test_rates_measured_on_samples_foretell_a_larger_run(tmp_path):
    """Processor seconds and bytes of 100,000 skeletons within a third and a tenth of what was planned."""
    import resource

    tests = planning.held_out(())
    p = planning.plan(100_000, 1, (1, 1), planning.measure(None, 0, tests))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    line = "fansr-gen -q -j 1 -n 100000 | fansr-simplify -q -j 1 | fansr-decontam -q -j 1 --test {} -o {}".format(
        tests[0], tmp_path / "made.zst"
    )
    path = {**os.environ, "PATH": f"{ROOT / 'bin'}:{os.environ['PATH']}"}
    subprocess.run(["bash", "-c", line], check=True, env=path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    print(
        f"\nplanned {p['shard_seconds']:.1f} s and {p['bytes']} bytes, took {took:.1f} s and {(tmp_path / 'made.zst').stat().st_size}"
    )
    assert took == pytest.approx(p["shard_seconds"], rel=0.34)
    assert (tmp_path / "made.zst").stat().st_size == pytest.approx(p["bytes"], rel=0.1)
