"""fansr-train: schedule, exact resume, joint runs, and what happens when things go wrong."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fansr.cli import resources
from fansr.corpus.gen import sample_skeletons
from fansr.corpus.prior import Prior, Skeletons
from fansr.errors import DataError
from fansr.expressions.tokens import PAD_ID
from fansr.network import batches, checkpoints, device, layout, model_file, optimizers, skeleton_sources
from fansr.network.architecture import Model
from fansr.network.configuration import ModelConfig, Options, Settings
from fansr.network.in_order import InOrder
from fansr.network.skeleton_pool import read_pool
from fansr.network.train import train
from fansr.network.training_loop import curve, fit
from fansr.network.training_run import Run, factor, loss_sums
from fansr.streams import reader_writer

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = """
batch = 8
min_points = 4
max_points = 8
lr = 3e-3
log_every = 5
hold = 0.1
[model]
columns = 3
width = 24
heads = 2
feed_forward = 40
inducing = 4
seeds = 4
decoder_layers = 1
max_length = 12
dropout = 0.1
"""
PRIOR = Prior(variables=3, skeletons=(Skeletons(min_ops=1, max_ops=3),))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A folder with a small skeleton stream and a small config."""
    folder = tmp_path_factory.mktemp("corpus")
    with reader_writer.open_writer(folder / "train.zst", "skeleton", [{"cmd": "fansr-gen"}]) as writer:
        for i, expr in enumerate(sample_skeletons(PRIOR, np.arange(600))):
            writer.write({"kind": "skeleton", "id": i, "expr": expr})
    (folder / "c.toml").write_text(CONFIG)
    return folder


def arguments(corpus, out, *more):
    return [
        str(corpus / "train.zst"),
        "--config",
        str(corpus / "c.toml"),
        "--out",
        str(out),
        "-q",
        "--threads",
        "1",
        "--dtype",
        "float32",
        "--no-compile",
        *more,
    ]


def invoke(*args):
    return CliRunner().invoke(train, list(args))


def losses(folder):
    """{step: loss} of the training records of all legs."""
    found = {}
    for file in sorted(folder.glob("metrics-*.zst")):
        with reader_writer.open_reader(file, holds="metric") as reader:
            found |= {r["step"]: r["loss"] for r in reader if r["split"] == "train"}
    return found


def weights(folder):
    at, _ = checkpoints.load_state(folder)
    return checkpoints.load_model(at / "model.safetensors")[0].state_dict()


def command_line(*args):
    return [sys.executable, "-m", "fansr.network.train", *args]


# ---- schedule and loss


def test_the_schedule_has_the_papers_shape():
    at = [factor("wsd", p, 100, 10, 0.2, None) for p in (0, 5, 10, 50, 80, 90, 100)]
    assert at == pytest.approx([0, 0.5, 1, 1, 1, 0.5, 0])
    assert [factor("plateau", p, 100, 10, 0.2, None) for p in (5, 50, 1000)] == [0.5, 1, 1]
    assert [factor("decay", p, 40, 10, 0.2, 100.0) for p in (100, 120, 140, 150)] == pytest.approx([1, 0.5, 0, 0])


def test_the_loss_is_the_mean_negative_log_likelihood():
    logits, tokens = torch.randn(3, 4, 59), torch.tensor([[1, 5, 6, 2, 0], [1, 7, 2, 0, 0], [1, 5, 5, 5, 2]])
    loss, hits, whole = loss_sums(logits, tokens)
    wanted = 0.0
    for row, target in zip(logits, tokens[:, 1:]):
        for scores, t in zip(row, target):
            if t != PAD_ID:
                wanted -= float(torch.log(torch.exp(scores[t]) / torch.exp(scores).sum()))
    assert float(loss) == pytest.approx(wanted, rel=1e-5)
    likeliest = logits.clone()
    likeliest.scatter_(2, tokens[:, 1:, None], 100.0)
    _, hits, whole = loss_sums(likeliest, tokens)
    assert int(hits) == 9 and int(whole) == 3


# ---- learning, resuming, stopping


def test_the_seconds_of_a_run_may_be_the_processors(corpus, tmp_path, monkeypatch):
    # A wall clock that runs a thousand times too fast, as beside a thousand other processes.
    began, real = time.monotonic(), time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: began + 1000 * (real() - began))
    length = ("--minutes", "0.02", "--schedule", "plateau")
    for clock in ("wall", "cpu"):
        assert invoke(*arguments(corpus, tmp_path / clock, *length, "--clock", clock)).exit_code == 0
    steps = {clock: checkpoints.load_state(tmp_path / clock)[1]["step"] for clock in ("wall", "cpu")}
    assert steps["cpu"] > 5 * steps["wall"]


def test_it_learns_and_a_resumed_run_repeats_an_unbroken_one(corpus, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert invoke(*arguments(corpus, whole, "--steps", "60")).exit_code == 0
    # The same schedule, stopped by hand on the way.
    options = ["--steps", "60"]
    stop_at(corpus, broken, 25)
    result = invoke(*arguments(corpus, broken, *options, "--resume"))
    assert result.exit_code == 0, result.output
    a, b = losses(whole), losses(broken)
    assert a[60] < 0.8 * a[5]
    for step in range(30, 61, 5):
        assert b[step] == pytest.approx(a[step], rel=1e-6)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(broken)[name], tensor, rtol=1e-6, atol=1e-7)
    shipped, info = checkpoints.load_model(broken / "model.safetensors")
    assert shipped.config.width == 24 and info["training"]["step"] == 60
    assert info["history"][0]["cmd"] == "fansr-gen"
    points = json.loads((whole / "model.json").read_text())["curve"]
    assert points[-1]["loss"] < points[0]["loss"] and points[-1]["samples"] > 300


def stop_at(corpus, out, steps, in_order=False):
    """Run the first `steps` of a 60-step run in-process, then save as a signal would make it."""
    settings = Settings(batch=8, min_points=4, max_points=8, columns=3, max_length=12)
    model = ModelConfig(
        columns=3, width=24, heads=2, feed_forward=40, inducing=4, seeds=4, decoder_layers=1, max_length=12
    )
    options = Options(model=model, settings=settings, steps=60, lr=3e-3, log_every=5, hold=0.1, in_order=in_order)
    run = Run(options, device.choose("cpu", "float32"), out, quiet=True)
    if in_order:
        loader = InOrder([str(corpus / "train.zst")], settings, 0.1)
    else:
        pool, run.history = read_pool([corpus / "train.zst"], settings, hold=0.1)
        loader = batches.Loader(pool, settings)
    done = run.done
    run.done = lambda: done() or run.state["step"] >= steps
    fit(run, loader, [])


def test_a_plateau_can_be_continued_and_decayed(corpus, tmp_path):
    assert invoke(*arguments(corpus, tmp_path, "--steps", "20", "--schedule", "plateau")).exit_code == 0
    assert not (tmp_path / "model.safetensors").exists()
    assert invoke(*arguments(corpus, tmp_path, "--steps", "30", "--schedule", "plateau", "--resume")).exit_code == 0
    assert invoke(*arguments(corpus, tmp_path, "--steps", "10", "--schedule", "decay", "--resume")).exit_code == 0
    at, state = checkpoints.load_state(tmp_path)
    assert state["step"] == 40 and state["decay_from"] == 30
    assert (tmp_path / "step-00000030").exists()  # the plateau is pinned: it can be gone on from again
    rates = {}
    for file in sorted(tmp_path.glob("metrics-*.zst")):
        with reader_writer.open_reader(file) as reader:
            rates |= {r["step"]: r["lr"] for r in reader if r["split"] == "train"}
    assert rates[30] == pytest.approx(3e-3) and rates[35] == pytest.approx(1.5e-3) and rates[40] == pytest.approx(0)
    assert (tmp_path / "model.safetensors").exists() and len(curve(tmp_path)) >= 4


def test_a_run_in_one_piece_keeps_the_end_of_its_plateau(corpus, tmp_path):
    assert (
        invoke(*arguments(corpus, tmp_path, "--steps", "30", "--decay", "0.5", "--save-seconds", "0.001")).exit_code
        == 0
    )
    kept = {int(p.name[5:]): json.loads((p / "state.json").read_text())["pinned"] for p in tmp_path.glob("step-*")}
    assert kept == {15: True, 29: False, 30: False}
    # Rates from there on are those of a plateau.
    (tmp_path / "latest").write_text("step-00000015\n")
    assert invoke(*arguments(corpus, tmp_path, "--steps", "20", "--schedule", "plateau", "--resume")).exit_code == 0
    with reader_writer.open_reader(tmp_path / "metrics-00000015.zst") as reader:
        assert [r["lr"] for r in reader if r["split"] == "train"] == pytest.approx([3e-3])


def test_checkpoints_do_not_name_the_machines_folders(corpus, tmp_path):
    assert invoke(*arguments(corpus, tmp_path, "--steps", "2")).exit_code == 0
    at, _ = checkpoints.load_state(tmp_path)
    assert str(tmp_path) not in json.dumps(checkpoints.load_model(at / "model.safetensors")[1]["history"])


def test_sigterm_checkpoints_and_kill_loses_one_interval_at_most(corpus, tmp_path):
    args = command_line(*arguments(corpus, tmp_path, "--steps", "100000", "--save-seconds", "0.2"))
    run = subprocess.Popen(args)
    try:
        wait_for(
            lambda: checkpoints.load_state(tmp_path) is not None and checkpoints.load_state(tmp_path)[1]["step"] > 20
        )
        run.send_signal(signal.SIGTERM)
        assert run.wait(30) == 130
    finally:
        run.kill()
    first = checkpoints.load_state(tmp_path)[1]["step"]
    assert max(losses(tmp_path)) <= first  # the stream was closed and names no step beyond the checkpoint
    run = subprocess.Popen([*args, "--resume"])
    try:
        wait_for(lambda: checkpoints.load_state(tmp_path)[1]["step"] > first + 20)
    finally:
        run.kill()
        run.wait()
    second = checkpoints.load_state(tmp_path)[1]["step"]
    assert second > first
    result = invoke(*arguments(corpus, tmp_path, "--steps", str(second + 10), "--resume"))
    assert result.exit_code == 0, result.output
    assert checkpoints.load_state(tmp_path)[1]["step"] >= second + 10
    assert max(losses(tmp_path)) >= second
    assert not list(tmp_path.glob("metrics-*.part*"))  # what the killed run had measured has its name
    assert len(list(tmp_path.glob("metrics-*.zst"))) == 3


def wait_for(condition, seconds=60):
    """The time limit only ends a test that would hang; nothing is measured by it."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_pipe_feeds_training(corpus, tmp_path):
    cat = (corpus / "train.zst").read_bytes()
    args = arguments(corpus, tmp_path, "--steps", "10")[1:]
    run = subprocess.run(command_line("-", *args, "--start-with", "100"), input=cat, capture_output=True)
    assert run.returncode == 0, run.stderr
    assert checkpoints.load_state(tmp_path)[1]["step"] == 10


def test_without_input_live_stages_feed_training(corpus, tmp_path):
    """fansr-gen, -simplify and -decontam run as processes of their own."""
    live = arguments(corpus, tmp_path / "run", "--steps", "3", "--start-with", "200", "--jobs", "1")[1:]
    result = invoke(*live)
    assert result.exit_code == 0, result.output
    _, info = checkpoints.load_model(tmp_path / "run" / "model.safetensors")
    commands = [entry["cmd"] for entry in info["history"]]
    assert commands[:3] == ["fansr-gen", "fansr-simplify", "fansr-decontam"] and len(commands) == 4


def test_live_stages_are_as_many_as_keep_up_with_each_other(monkeypatch):
    """By the rates of docs/benchmarks/parts.md: one guard feeds 7 simplifiers, one generator 23; all catalogues are held out."""
    calls = []
    monkeypatch.setattr(
        subprocess, "Popen", lambda words, **_: calls.append(words) or SimpleNamespace(stdout=io.BytesIO())
    )
    skeleton_sources.live("prior", resources.catalogues(), True, False, 5, 24)
    jobs = [words[words.index("-j") + 1] for words in calls]
    assert jobs == ["2", "24", "4"] and "--relax" not in calls[1]
    assert [Path(word).name for word in calls[2] if "/data/" in word] == list(resources.CATALOGUES)
    skeleton_sources.live("prior", [], True, True, 5, 2)
    assert "--relax" in calls[-1] and calls[-1][calls[-1].index("-j") + 1] == "2"


# ---- joint runs


def joint(processes, *args):
    """fansr-train under torchrun."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    run = subprocess.run(
        [*launch, "-m", "fansr.network.train", *args],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, f"{run.stderr[:4000]}\n...\n{run.stderr[-2000:]}"


@pytest.mark.parametrize(
    "layout, accumulate, more",
    [
        ("replicated", 3, ["--in-order", "--points-per", "law"]),
        ("sharded", 2, []),
    ],  # of three batches one process has two
    ids=["replicated", "sharded"],
)
def test_two_processes_do_what_one_does(corpus, tmp_path, layout, accumulate, more):
    """And each goes on with the other's checkpoint."""
    one, two = tmp_path / "one", tmp_path / "two"
    more = ["--log-every", "1", "--layout", layout, *more]
    first, second = ["--steps", "12", "--schedule", "plateau"], ["--steps", "18", "--schedule", "plateau", "--resume"]
    assert invoke(*arguments(corpus, one, *first, "--accumulate", str(accumulate), *more)).exit_code == 0
    joint(2, *arguments(corpus, two, *first, "--accumulate", str(accumulate), *more))
    for out in one, two:
        shutil.copytree(out, out / "copy", ignore=shutil.ignore_patterns("metrics*"))
    result = invoke(*arguments(corpus, two / "copy", *second, *more))  # --accumulate as the run began
    assert result.exit_code == 0, result.output
    assert invoke(*arguments(corpus, one / "copy", *second, *more)).exit_code == 0
    a, b = losses(one) | losses(one / "copy"), losses(two) | losses(two / "copy")
    assert a.keys() == b.keys() and len(a) == 18
    for step in a:
        assert b[step] == pytest.approx(a[step], rel=1e-5)
    # The biases of keys change nothing under a softmax: their gradients are rounding errors, which Adam makes steps of.
    for name, tensor in weights(one).items():
        torch.testing.assert_close(
            weights(two)[name], tensor, rtol=1e-3, atol=1e-3 if "key_value.bias" in name else 1e-4
        )
    moments = [optimizer_parts(folder) for folder in (one, two)]
    assert moments[0].keys() == moments[1].keys() and len(moments[0]) > 60


def optimizer_parts(folder):
    at, _ = checkpoints.load_state(folder)
    return {k: v for file in at.glob("optimizer-*") for k, v in model_file.read_tensors(file)[0].items()}


def test_a_step_needs_a_batch_for_each_process(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "world", lambda: 2)
    monkeypatch.setattr(layout, "distribute", lambda model, *_: model)
    with pytest.raises(DataError, match="accumulate is 1: a step has no batch for some of the 2 processes"):
        Run(Options(accumulate=1), device.choose("cpu", "float32"), tmp_path)
    run = Run(Options(steps=3), device.choose("cpu", "float32"), tmp_path)
    run.begin()
    assert run.state["accumulate"] == 2
    run.state["accumulate"] = 1  # as a checkpoint says
    with pytest.raises(DataError, match="the run began with 1 batches a step, fewer than the 2 processes"):
        run.begin()


def test_files_in_order_are_gone_on_with_where_the_run_stopped(corpus, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    options = ["--steps", "60", "--in-order"]
    assert invoke(*arguments(corpus, whole, *options)).exit_code == 0
    stop_at(corpus, broken, 45, in_order=True)
    assert checkpoints.load_state(broken)[1]["place"]["at"][2] > 0
    result = invoke(*arguments(corpus, broken, *options, "--resume"))
    assert result.exit_code == 0, result.output
    a, b = losses(whole), losses(broken)
    assert [b[step] for step in (50, 55, 60)] == pytest.approx([a[step] for step in (50, 55, 60)], rel=1e-6)


def test_dry_run_says_what_memory_it_takes():
    said = json.loads(CliRunner().invoke(train, ["--config", "1b", "--dry-run", "--json"]).output)
    total, held = said["params_total"], said["memory"]
    assert held["replicated"] == 16 * total  # weights, gradients and two moments of 4 bytes
    shares = [held["sharded"][str(n)] for n in (2, 8, 64)]
    assert all(16 * total / n < share < 16 * total / n + 0.3e9 for n, share in zip((2, 8, 64), shares))
    muon = CliRunner().invoke(train, ["--config", "tiny", "--dry-run", "--json"])
    model = Model(ModelConfig(**tomllib.loads((ROOT / "configs/tiny.toml").read_text())["model"]))
    optimizer = optimizers.build(model, "muon", 1e-3, 0.01, 0.95)
    model(torch.randn(2, 8, 4), torch.randint(3, 50, (2, 7))).sum().backward()
    optimizer.step()
    state = sum(t.numel() * 4 for entry in optimizer.state.values() for k, t in entry.items() if k != "step")
    assert json.loads(muon.output)["memory"]["moments"] == state


# ---- faults


def small_run(corpus, out, steps=30):
    settings = Settings(batch=8, min_points=4, max_points=8, columns=3, max_length=12)
    model = ModelConfig(
        columns=3, width=24, heads=2, feed_forward=40, inducing=4, seeds=4, decoder_layers=1, max_length=12
    )
    run = Run(
        Options(model=model, settings=settings, steps=steps, log_every=1),
        device.choose("cpu", "float32"),
        out,
        quiet=True,
    )
    pool, run.history = read_pool([corpus / "train.zst"], settings)
    return run, batches.Loader(pool, settings)


def test_a_step_without_finite_gradient_is_skipped_and_counted(corpus, tmp_path):
    run, loader = small_run(corpus, tmp_path, steps=6)
    logits = run.logits
    run.logits = lambda data: logits(data) * (float("nan") if run.state["step"] == 2 else 1.0)
    assert fit(run, loader, [])
    assert run.state["skipped"] == 1
    assert all(torch.isfinite(p).all() for p in run.model.parameters())


def test_a_run_that_cannot_recover_stops_with_the_last_good_checkpoint(corpus, tmp_path):
    run, loader = small_run(corpus, tmp_path)
    run.save()
    good = weights(tmp_path)
    logits = run.logits
    run.logits = lambda data: logits(data) * float("nan")
    with pytest.raises(DataError, match="10 steps in a row without a finite gradient"):
        fit(run, loader, [])
    for name, tensor in weights(tmp_path).items():
        assert torch.equal(tensor, good[name])


def test_poisoned_records_are_left_out_and_told(corpus, tmp_path):
    path = tmp_path / "poison.zst"
    with (
        reader_writer.open_writer(path, "skeleton", []) as writer,
        reader_writer.open_reader(corpus / "train.zst") as reader,
    ):
        for record in list(reader)[:100]:
            writer.write(record)
        for expr in (["+", "x1"], ["no-such-token"], [], ["x1"] * 50):
            writer.write({"kind": "skeleton", "id": 0, "expr": expr})
    args = [str(path), *arguments(corpus, tmp_path / "run", "--steps", "2")[1:]]
    args.remove("-q")
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    for told in ("1 no expression", "1 no valid prefix expression", "1 too long", "1 unknown token"):
        assert told in result.output


@pytest.mark.parametrize(
    "args, code, message",
    [
        ([], 2, "say how long"),
        (["--steps", "5", "--schedule", "decay"], 2, "add --resume"),
        (["--steps", "5", "--min-points", "9", "--max-points", "3"], 1, "min-points 9 is above max-points 3"),
        (["--steps", "5", "--device", "cuda"], 1, "has no CUDA"),
        (["--steps", "5", "--prior", "absent.toml"], 1, "absent.toml: no such file"),
        (["--steps", "5", "--mix", "absent.zst:0.3"], 1, "absent.zst"),
        (["--steps", "5", "--mix", "hard.zst:1.5"], 2, "a share between 0 and 1"),
        (["--steps", "5", "--mix", "a.zst:0.6", "--mix", "b.zst:0.4"], 2, "leave nothing"),
        (["--steps", "5", "--mix", "a.zst:0.6", "--in-order"], 2, "--in-order takes each skeleton once"),
    ],
)
def test_wrong_calls_are_told_in_one_line(corpus, tmp_path, args, code, message):
    if "cuda" in args and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    result = invoke(*arguments(corpus, tmp_path / "run", *args))
    assert result.exit_code == code and message in result.output and len(result.output.splitlines()) == 1


def test_wrong_inputs_are_told_in_one_line(corpus, tmp_path):
    other = arguments(corpus, tmp_path / "run", "--steps", "5")[1:]
    (tmp_path / "junk").write_bytes(os.urandom(500))
    (tmp_path / "c.toml").write_text(CONFIG + "wings = 2\n")
    for args, message in (
        ([str(tmp_path / "absent.zst"), *other], "absent.zst"),
        ([str(tmp_path / "junk"), *other], "junk"),
        ([*arguments(corpus, tmp_path, "--steps", "5"), "--config", str(tmp_path / "c.toml")], "wings"),
    ):
        result = invoke(*args)
        assert result.exit_code == 1 and message in result.output and len(result.output.splitlines()) == 1, (
            result.output
        )


def test_a_run_is_not_overwritten_and_not_resumed_with_another_shape(corpus, tmp_path):
    assert invoke(*arguments(corpus, tmp_path, "--steps", "2")).exit_code == 0
    result = invoke(*arguments(corpus, tmp_path, "--steps", "2"))
    assert result.exit_code == 1 and "--resume goes on with it" in result.output
    (tmp_path / "wide.toml").write_text(CONFIG.replace("width = 24", "width = 48"))
    result = invoke(*arguments(corpus, tmp_path, "--steps", "4", "--resume"), "--config", str(tmp_path / "wide.toml"))
    assert result.exit_code == 1 and "made with another width" in result.output
