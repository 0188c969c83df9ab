"""The cluster recipe and the launchers, run with stand-ins for torchrun, scontrol and the environment."""

import os
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import numpy as np
import pytest

from fansr.expressions import evaluate
from fansr.streams.reader_writer import open_reader

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "bin/slurm/train.sbatch"
# What a training does on TERM: a checkpoint, then torchrun's own status 1.
UNTIL_TERM = """trap 'echo step-2 > run/latest; exit 1' TERM
touch started
while :; do sleep 0.02; done"""


def script(path: Path, text: str):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)


class Job:
    """One turn of the recipe in a folder of its own; `torchrun` is the stand-in's text, None for no torchrun at all."""

    def __init__(self, folder: Path, torchrun: str | None, **environment):
        self.folder = folder
        (folder / "run").mkdir(exist_ok=True)
        if torchrun is not None:
            script(folder / ".venv/bin/torchrun", f'echo $$ > pid\necho "$@" > words\n{torchrun}')
        script(folder / "tools/scontrol", '[ "$1" != requeue ] || echo "$@" >> requeued')
        script(folder / "tools/srun", 'while [[ $1 = --* ]]; do shift; done; exec "$@"')
        script(folder / "tools/scancel", f'echo "$@" >> cancelled; kill -TERM "$(< {folder}/pid)"')
        (folder / "bin").unlink(missing_ok=True)
        (folder / "bin").symlink_to(ROOT / "bin")
        path = f"{folder / 'tools'}:/usr/bin:/bin"
        environment = {"PATH": path, "SLURM_SUBMIT_DIR": str(folder), "SLURM_JOB_ID": "7", "OUT": "run", **environment}
        self.process = subprocess.Popen(["bash", RECIPE], env=environment, stderr=subprocess.PIPE, text=True)

    def stop(self):
        """TERM to the recipe alone, as --signal=B:TERM does, once the training has begun."""
        while not (self.folder / "started").exists():
            assert self.process.poll() is None, self.process.stderr.read()
            time.sleep(0.02)
        (self.folder / "started").unlink()
        self.process.send_signal(signal.SIGTERM)
        return self

    def ended(self) -> tuple[int, bool, str]:
        """(exit status, whether it was queued again, what it said)."""
        said = self.process.communicate(timeout=60)[1]
        requeued = self.folder / "requeued"
        again = requeued.exists() and requeued.read_text() == "requeue 7\n"
        return self.process.returncode, again, said


@pytest.mark.parametrize("code", [1, 2, 3, 126, 127, 137])
def test_an_error_is_final_even_after_a_checkpoint(tmp_path, code):
    status, again, _ = Job(tmp_path, f"echo step-1 > run/latest; exit {code}").ended()
    assert status == code and not again


def test_a_finished_run_ends(tmp_path):
    assert Job(tmp_path, "exit 0").ended() == (0, False, "")


def test_a_stopped_run_with_a_new_checkpoint_comes_back(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/latest").write_text("step-1\n")
    assert Job(tmp_path, UNTIL_TERM).stop().ended()[:2] == (0, True)


@pytest.mark.parametrize("code", [130, 143])
def test_a_training_that_was_stopped_from_elsewhere_comes_back(tmp_path, code):
    assert Job(tmp_path, f"echo step-1 > run/latest; exit {code}").ended()[:2] == (0, True)


def test_a_run_that_ends_well_on_TERM_is_not_queued_again(tmp_path):
    assert Job(tmp_path, UNTIL_TERM.replace("exit 1", "exit 0")).stop().ended()[:2] == (0, False)


def test_TERM_without_a_new_checkpoint_does_not_go_round_in_circles(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/latest").write_text("step-2\n")  # the stand-in writes step-2 again
    status, again, said = Job(tmp_path, UNTIL_TERM).stop().ended()
    assert status == 1 and not again and "give a longer --time" in said
    status, again, said = Job(tmp_path, UNTIL_TERM.replace("echo step-2 > run/latest; ", "")).stop().ended()
    assert status == 1 and not again


def test_a_time_limit_that_leaves_nothing_is_refused(tmp_path):
    times = {"SLURM_JOB_START_TIME": "1000", "SLURM_JOB_END_TIME": "1240"}
    status, again, said = Job(tmp_path, "exit 0", **times).ended()
    assert status == 2 and not again and "--time gives 240 s" in said
    assert not (tmp_path / "words").exists()


def test_no_environment_is_said(tmp_path):
    status, again, said = Job(tmp_path, None).ended()
    assert status == 2 and not again and "make venv" in said


def test_a_failing_scontrol_is_seen(tmp_path):
    job = Job(tmp_path, UNTIL_TERM)
    script(tmp_path / "tools/scontrol", '[ "$1" != requeue ] || exit 4')
    assert job.stop().ended()[0] == 4


def test_several_files_and_the_batch_share_reach_the_training(tmp_path):
    Job(tmp_path, "exit 0", DATA="a.zst b.zst", SLURM_GPUS_ON_NODE="4").ended()
    words = (tmp_path / "words").read_text().split()
    assert words[words.index("fansr.network.train") + 1 :][:2] == ["a.zst", "b.zst"]
    assert words[words.index("--nproc-per-node") + 1] == "4" and words[words.index("--nnodes") + 1] == "1"
    assert "--accumulate" not in words  # one batch a GPU when the run begins, and so many whatever comes


def test_several_nodes_meet_at_the_first(tmp_path):
    more = {"SLURM_NNODES": "3", "SLURM_GPUS_ON_NODE": "2", "ACCUMULATE": "12", "OPTIONS": "--layout sharded"}
    Job(tmp_path, "exit 0", SLURM_JOB_NODELIST="n[4-6]", **more).ended()
    words = (tmp_path / "words").read_text().split()
    assert words[words.index("--nnodes") + 1] == "3" and words[words.index("--accumulate") + 1] == "12"
    assert words[words.index("--rdzv-endpoint") + 1] == "localhost:20007" and words[-2:] == ["--layout", "sharded"]


# ---- launchers --------------------------------------------------------------------------------


def checkout(folder: Path) -> Path:
    """A folder that looks like a checkout without an environment."""
    for part in ("bin", "fansr", "bench", "setup.cfg", "rules", "configs", "data"):
        (folder / part).symlink_to(ROOT / part)
    return folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Path:
    """An interpreter with nothing installed."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    return folder / "bin/python"


def answer(folder: Path, name: str, python=sys.executable, **environment):
    return subprocess.run(
        [python, folder / "bin" / name, "--version"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": "", **environment},
    )


def test_a_launcher_answers_where_the_environment_is_a_link(tmp_path, bare):
    (checkout(tmp_path) / ".venv").symlink_to(sys.prefix)
    assert answer(tmp_path, "fansr-cat").stdout.startswith("fansr-cat")
    assert answer(tmp_path, "fansr-cat", bare).stdout.startswith("fansr-cat")


def test_a_launcher_starts_another_interpreter_once(tmp_path):
    """Whose prefix never is that of .venv, as where .venv/bin/python is a wrapper."""
    script(checkout(tmp_path) / ".venv/bin/python", f'echo turn >> {tmp_path}/turns\nexec {sys.executable} "$@"')
    done = answer(tmp_path, "fansr-cat")
    assert done.stdout.startswith("fansr-cat") and (tmp_path / "turns").read_text() == "turn\n"


def test_a_launcher_says_what_is_missing(tmp_path, bare):
    done = answer(checkout(tmp_path), "fansr-cat", bare)
    assert done.returncode == 1 and "make venv" in done.stderr and "Traceback" not in done.stderr


def test_the_laws_of_many_tables_are_a_stream_each_and_a_second_turn_fits_nothing_again(tmp_path):
    tables = tmp_path / "tables"
    tables.mkdir()
    for k in range(2):
        (tables / f"t{k}.csv").write_text("x,y\n" + "".join(f"{x},{(k + 2) * x + 1}\n" for x in range(1, 9)))
    environment = {
        **os.environ, "SLURM_SUBMIT_DIR": str(ROOT), "SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_COUNT": "1",
        "FILES": f"{tables}/*.csv", "OUT": str(tmp_path / "fits"), "OPTIONS": "--time 0.2",
        "PATH": f"{ROOT / 'bin'}:{os.environ['PATH']}",
    }  # fmt: skip
    recipe = ["bash", str(ROOT / "bin/slurm/fit.sbatch")]
    subprocess.run(recipe, env=environment, check=True, capture_output=True)
    fits = sorted((tmp_path / "fits").glob("*.zst"))
    assert [path.name for path in fits] == ["t0.zst", "t1.zst"]
    before = [path.stat().st_mtime_ns for path in fits]
    for k, path in enumerate(fits):
        with open_reader(str(path), holds="fit") as reader:
            (record,) = reader
        values = evaluate(record["expr"], np.arange(1.0, 9.0)[:, None], record["consts"])
        assert np.allclose(values, (k + 2) * np.arange(1.0, 9.0) + 1)
    subprocess.run(recipe, env=environment, check=True, capture_output=True)
    assert [path.stat().st_mtime_ns for path in fits] == before
