"""The recipes on a real Slurm of two nodes (bin/slurm/local): arrays, requeues, time limits, dead nodes, a full disk.

    make test-slurm

Left out of the plain test run since they wait for time limits and for nodes to be missed: some minutes.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fansr.corpus.gen import sample_skeletons
from fansr.corpus.prior import Prior, Skeletons
from fansr.network import checkpoints
from fansr.network.training_loop import curve
from fansr.streams import reader_writer

ROOT = Path(__file__).resolve().parent.parent.parent
LOCAL = ROOT / "bin/slurm/local"
MISSING = subprocess.run([LOCAL, "missing"], capture_output=True, text=True).stdout.split()
PATIENCE = 300.0  # seconds that anything may take on a busy machine
pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (apt-get install slurm-wlm munge)"),
]


def until(condition, what: str):
    """The condition's value as soon as it is true."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, f"{what}: not within {PATIENCE:.0f} s"
        time.sleep(0.1)
    return value


class Cluster:
    """A Slurm of two nodes, and a folder like a checkout to submit from."""

    def __init__(self, state: Path, folder: Path):
        self.environment = {
            **os.environ,
            "SLURM_LOCAL": str(state),
            "CPUS": "4",
            "SLURM_CONF": str(state / "slurm.conf"),
        }
        self.folder = folder
        for name in ("bin", "fansr", "bench", "configs", "data", "rules", "setup.cfg"):
            (folder / name).symlink_to(ROOT / name)
        (folder / ".venv").symlink_to(sys.prefix)

    def call(self, *words, check=True) -> str:
        done = subprocess.run(
            [str(word) for word in words], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def submit(self, recipe: str, *options, **variables) -> str:
        """The number of a job made of a recipe; its output goes to NUMBER.out, or NUMBER_TASK.out."""
        told = ",".join(f"{key}={value}" for key, value in {"PYTHONPATH": str(ROOT), **variables}.items())
        out = "%A_%a.out" if any("--array" in option for option in options) else "%j.out"
        words = ["sbatch", "--parsable", f"--output={out}", f"--export={told}", "--mem=1G", *options]
        return self.call(*words, ROOT / "bin/slurm" / recipe).strip()

    def job(self, number: str) -> dict[str, str]:
        """What scontrol says of a job or of a task of an array (NUMBER_TASK)."""
        said = self.call("scontrol", "show", "job", "-o", number).splitlines()[0]
        return dict(re.findall(r"(\w+)=(\S*)", said))

    def ended(self, number: str) -> tuple[str, int, int]:
        """(state, exit status, restarts) of a job when it is done."""
        over = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")
        until(
            lambda: self.job(number)["JobState"] in over and self.job(number)["EndTime"] != "Unknown", f"job {number}"
        )
        job = self.job(number)
        return job["JobState"], int(job["ExitCode"].split(":")[0]), int(job["Restarts"])

    def said(self, number: str) -> str:
        return (self.folder / f"{number}.out").read_text()

    def node(self, name: str) -> str:
        return self.call("sinfo", "-h", "-n", name, "-o", "%T").strip()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkout")
    state = Path("/tmp") / f"slurm-test-{os.getpid()}"  # sockets have short names
    cluster = Cluster(state, folder)
    cluster.call(LOCAL, "start")
    try:
        yield cluster
    finally:
        cluster.call(LOCAL, "stop", check=False)


CONFIG = """
batch = 64
min_points = 32
max_points = 64
lr = 3e-4
hold = 0.1
log_every = 1
dtype = "float32"
threads = 1
save_seconds = 0.5
[model]
columns = 3
width = 48
heads = 2
feed_forward = 96
inducing = 16
seeds = 16
decoder_layers = 2
max_length = 12
"""


@pytest.fixture(scope="module")
def training(cluster):
    """A small corpus and a config in the cluster's folder."""
    prior = Prior(variables=3, skeletons=(Skeletons(min_ops=1, max_ops=3),))
    with reader_writer.open_writer(cluster.folder / "train.zst", "skeleton", [{"cmd": "fansr-gen"}]) as writer:
        for i, expr in enumerate(sample_skeletons(prior, np.arange(2000))):
            writer.write({"kind": "skeleton", "id": i, "expr": expr})
    (cluster.folder / "c.toml").write_text(CONFIG)
    return {"CONFIG": "c.toml", "DATA": "train.zst"}


def step_of(folder: Path) -> int:
    found = checkpoints.load_state(folder)
    return found[1]["step"] if found else 0


@pytest.fixture(scope="module")
def limited(cluster, training):
    """A training of two minutes that wants more; begun first, since it takes so long."""
    more = {**training, "OUT": "limited", "LEAD": "30", "OPTIONS": "--steps 1000000"}
    return cluster.submit(
        "train.sbatch", "--time=2", "--signal=B:TERM@30", "--gpus-per-node=1", "--cpus-per-gpu=1", **more
    )


# ---- errors are final


@pytest.mark.parametrize(
    "recipe, variables, status, said",
    [
        ("corpus.sbatch", {"N": "1000", "PRIOR": "absent.toml"}, 1, "absent.toml: no such file"),
        ("corpus.sbatch", {"N": "-5"}, 1, "-5 is not in the range"),  # the status of the last stage of the pipe
        ("train.sbatch", {"CONFIG": "absent.toml"}, 1, "absent.toml"),
        ("train.sbatch", {"OPTIONS": "--stepps 5"}, 1, "no option --stepps"),  # torchrun says 1 of its processes' 2
        ("bench-fastsrb.sbatch", {"CELLS": "latter"}, 2, "latter"),
    ],
)
def test_an_error_is_final(cluster, limited, recipe, variables, status, said):
    options = (
        ["--time=10", "--cpus-per-task=1"]
        if recipe != "train.sbatch"
        else ["--time=10", "--gpus-per-node=1", "--cpus-per-gpu=1"]
    )
    if recipe != "train.sbatch":
        options.append("--array=0-0")
    job = cluster.submit(recipe, *options, OUT="wrong", **variables)
    job = f"{job}_0" if recipe != "train.sbatch" else job
    assert cluster.ended(job) == ("FAILED", status, 0)
    assert said in cluster.said(job)


def test_a_checkout_without_commands_is_said(cluster, tmp_path):
    (tmp_path / "bin").symlink_to(ROOT / "bin")
    words = ["sbatch", "--parsable", "--output=bare.out", f"--chdir={tmp_path}", "--export=N=5", "--array=0"]
    done = subprocess.run(
        [*words, ROOT / "bin/slurm/corpus.sbatch"],
        cwd=tmp_path,
        env=cluster.environment,
        capture_output=True,
        text=True,
    )
    assert cluster.ended(f"{done.stdout.strip()}_0") == ("FAILED", 2, 0)
    assert "run make venv there first" in (tmp_path / "bare.out").read_text()


# ---- a corpus


def shard(path: Path) -> tuple[int, int]:
    with reader_writer.open_reader(path) as reader:
        records = [record["id"] for record in reader]
    assert reader.interrupted is None and records == sorted(set(records))
    return len(records), reader.checksum


def test_a_task_of_an_array_that_is_killed_comes_back_to_the_same_shard(cluster, limited):
    job = cluster.submit("corpus.sbatch", "--array=0-1", "--time=10", "--cpus-per-task=1", N="60000", OUT="corpus")
    state = cluster.folder / "corpus/shard-00001.simple.part.state"
    until(lambda: state.exists() and json.loads(state.read_text())["n"] > 0, "the first records")
    cluster.call("scontrol", "requeue", f"{job}_1")  # killed, and queued again
    assert cluster.ended(f"{job}_0") == ("COMPLETED", 0, 0)
    assert cluster.ended(f"{job}_1") == ("COMPLETED", 0, 1)
    assert sorted(p.name for p in (cluster.folder / "corpus").iterdir()) == ["shard-00000.zst", "shard-00001.zst"]
    assert ", all shards of ids 0 to 59999" in cluster.call("bin/fansr-cat", "--check", "--shards", "corpus")
    cluster.call("bin/slurm/corpus-shard", "1/2", "unbroken", "60000")
    assert shard(cluster.folder / "corpus/shard-00001.zst") == shard(cluster.folder / "unbroken/shard-00001.zst")


def test_TERM_before_the_limit_brings_a_shard_back(cluster, limited):
    """As --signal=B:TERM does it: to the script alone."""
    job = cluster.submit(
        "corpus.sbatch", "--array=5", "--time=10", "--cpus-per-task=1", N="240000", OUT="stopped", SHARDS="6"
    )
    state = cluster.folder / "stopped/shard-00005.simple.part.state"
    until(lambda: state.exists() and json.loads(state.read_text())["n"] > 0, "the first records")
    cluster.call("scancel", "--batch", "--signal=TERM", f"{job}_5")
    assert cluster.ended(f"{job}_5") == ("COMPLETED", 0, 1)
    assert [p.name for p in (cluster.folder / "stopped").iterdir()] == ["shard-00005.zst"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid():
        pytest.skip("a small file system is mounted by root only")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount a small file system: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_fails_one_task_which_then_goes_on(cluster, limited, small_disk):
    out = cluster.folder / "full"
    out.mkdir()
    (out / "shard-00000.simple").symlink_to(small_disk / "simple")
    job = cluster.submit("corpus.sbatch", "--array=0-1", "--time=10", "--cpus-per-task=1", N="100000", OUT="full")
    assert cluster.ended(f"{job}_0") == ("FAILED", 1, 0)
    assert "No space left on device; what is whole stays in simple.part" in cluster.said(f"{job}_0")
    kept = json.loads((small_disk / "simple.part.state").read_text())["consumed"]
    assert cluster.ended(f"{job}_1") == ("COMPLETED", 0, 0)
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    again = cluster.submit("corpus.sbatch", "--array=0-1", "--time=10", "--cpus-per-task=1", N="100000", OUT="full")
    assert cluster.ended(f"{again}_0") == ("COMPLETED", 0, 0) and kept > 0
    assert ", all shards of ids 0 to 99999" in cluster.call("bin/fansr-cat", "--check", "--shards", "full")


# ---- measuring


def test_a_measurement_that_is_stopped_repeats_nothing(cluster, limited):
    more = {"CELLS": "ladder", "OPTIONS": "--budgets 1 --every 20", "METHODS": "fansr", "REPEATS": "1"}
    job = cluster.submit("bench-fastsrb.sbatch", "--array=0-1", "--time=10", "--cpus-per-task=1", OUT="laws", **more)
    until(lambda: list((cluster.folder / "laws").rglob("*.zst")), "the problems")
    cluster.call("scontrol", "requeue", f"{job}_1")
    assert cluster.ended(f"{job}_0")[:2] == ("COMPLETED", 0), cluster.said(f"{job}_0")
    assert cluster.ended(f"{job}_1") == ("COMPLETED", 0, 1), cluster.said(f"{job}_1")
    found: Counter = Counter()
    for path in (cluster.folder / "laws/fits").rglob("*.zst"):
        with reader_writer.open_reader(path, holds="fit") as reader:
            found.update({record["problem"] for record in reader})
    assert len(found) == 7 and set(found.values()) == {1}


# ---- training


def one_process(cluster, out: str, *words):
    """The same training in one process on no cluster."""
    cluster.call(
        "bin/fansr-train", "train.zst", "--config", "c.toml", "--prior", "prior-wide", "--out", out, "-q", *words
    )


def losses(folder: Path) -> dict[int, float]:
    found = {}
    for file in sorted(folder.glob("metrics-*.zst")):
        with reader_writer.open_reader(file, holds="metric") as reader:
            found |= {r["step"]: r["loss"] for r in reader if r["split"] == "train"}
    return found


def workers(out: str) -> list[int]:
    """The processes that train into a folder, torchrun's own left out."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"fansr.network.train" in words and out.encode() in words and not any(b"torchrun" in w for w in words):
            found.append(int(place.name))
    return found


def test_two_nodes_train_as_one_process_through_a_lost_worker_and_a_dead_node(cluster, training):
    steps, out = 120, cluster.folder / "two"
    more = {**training, "OUT": "two", "OPTIONS": f"--steps {steps} --in-order", "ACCUMULATE": "2"}
    job = cluster.submit("train.sbatch", "--nodes=2", "--gpus-per-node=1", "--cpus-per-gpu=1", "--time=20", **more)
    until(lambda: step_of(out) > 5, "the first checkpoint")
    assert len(workers("two")) == 2
    lost = max(workers("two"))
    os.kill(lost, signal.SIGKILL)
    until(lambda: len(workers("two")) == 2 and lost not in workers("two"), "workers begun anew")
    reached = step_of(out)
    until(lambda: step_of(out) > reached + 5, "a checkpoint of the new workers")
    assert cluster.job(job)["Restarts"] == "0" and step_of(out) < steps
    cluster.call(LOCAL, "kill", "node2")
    until(lambda: cluster.job(job)["JobState"] == "PENDING", "the job queued again")
    reached = step_of(out)
    cluster.call(LOCAL, "revive", "node2")
    assert cluster.ended(job) == ("COMPLETED", 0, 1)
    assert 5 < reached < steps and step_of(out) == steps
    one_process(cluster, "one", "--steps", str(steps), "--in-order", "--accumulate", "2")
    a, b = losses(cluster.folder / "one"), losses(out)
    assert sorted(b) == sorted(a) == list(range(1, steps + 1))
    worst = max(abs(b[step] / a[step] - 1) for step in a)
    ends = [curve(folder)[-1]["loss"] for folder in (cluster.folder / "one", out)]
    print(
        f"\n{steps} steps on two nodes beside one process: train loss apart by {worst:.1e} at most, validation {ends}"
    )
    assert worst < 1e-5 and ends[1] == pytest.approx(ends[0], rel=1e-5)


def test_a_time_limit_stops_a_training_with_a_checkpoint_and_it_comes_back(cluster, limited):
    out = cluster.folder / "limited"
    until(lambda: int(cluster.job(limited)["Restarts"]) >= 1, "TERM, a checkpoint and a further turn")
    reached = step_of(out)
    assert reached > 0
    until(lambda: step_of(out) > reached, "a checkpoint of a later turn")
    assert cluster.job(limited)["JobState"] in ("RUNNING", "COMPLETING", "PENDING")  # PENDING: between two turns
    cluster.call("scancel", limited)
    shutil.rmtree(out, ignore_errors=True)
