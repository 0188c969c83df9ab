"""Training and sampling with numbers in digits: targets are the drawn laws, and what is sampled is read as laws."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from fansr.corpus import forms
from fansr.corpus.prior import load
from fansr.expressions import evaluate, notations
from fansr.network import batches, sample
from fansr.network.configuration import Settings
from fansr.network.skeleton_pool import read_pool
from fansr.network.train import train
from fansr.network.training_loop import curve
from fansr.network.training_run import factor
from fansr.streams import open_reader

ARGS = [
    "--config",
    "configs/scale/nano.toml",
    "-q",
    "--threads",
    "1",
    "--dtype",
    "float32",
    "--device",
    "cpu",
    "--batch",
    "8",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    file = tmp_path_factory.mktemp("forms") / "forms.zst"
    CliRunner().invoke(forms.forms, ["--depth", "1", "--hold", "0.1", "-o", str(file), "-q"])
    return str(file)


@pytest.mark.parametrize("name", notations.NOTATIONS)
def test_a_batch_holds_the_numbers_its_targets_say(corpus, name):
    settings = Settings(
        batch=64,
        min_points=64,
        max_points=64,
        columns=2,
        max_length=64,
        scale_columns=False,
        prior=load("scaling"),
        notation=name,
    )
    pool = read_pool([corpus], settings)[0]
    assert len(pool.held) and len(pool) + len(pool.held) == 20
    batch = batches.Loader(pool, settings).batch(0)
    notation, checked = notations.NOTATIONS[name], 0
    for values, row in zip(batch.values.double().numpy(), batch.tokens.tolist()):
        expr = notation.read(row)
        with np.errstate(all="ignore"):
            y = evaluate(expr, values[:, 1:] if values.shape[1] > 2 else np.ascontiguousarray(values[:, 1:]))
        np.testing.assert_allclose(y, values[:, 0], rtol=2e-3, atol=1e-4 * np.abs(values[:, 0]).max())
        checked += any(notations.whole_number(token) is not None for token in expr)
    assert checked > 10


def test_train_sample_and_resume(corpus, tmp_path):
    """A branch a ratio from one plateau, judged on problems; the model then writes laws with digits."""
    from fansr.corpus.render import render

    problems = tmp_path / "problems.zst"
    CliRunner().invoke(render, [corpus, "--prior", "scaling", "-o", str(problems), "-q", "-j", "1"])
    out = tmp_path / "run"
    shown = CliRunner().invoke(
        train,
        [corpus, *ARGS, "--schedule", "plateau", "--branch", "0.02x,0.04x", "--val", str(problems), "--out", str(out)],
    )
    assert shown.exit_code == 0, shown.output
    for ratio in (0.02, 0.04):
        last = curve(out / f"branch-{ratio:g}x")[-1]
        assert last["ratio"] == pytest.approx(ratio, rel=0.25) and last["lr"] < 2e-3
        assert last["size"] == "nano" and last["params"] == 20630 and last["batch"] == 8
    again = CliRunner().invoke(
        train,
        [
            corpus,
            *ARGS,
            "--schedule",
            "plateau",
            "--branch",
            "0.02x,0.04x",
            "--val",
            str(problems),
            "--out",
            str(out),
            "--resume",
        ],
    )
    assert again.exit_code == 0  # nothing left to do
    candidates = tmp_path / "candidates.zst"
    model = str(out / "branch-0.04x" / "model.safetensors")
    shown = CliRunner().invoke(
        sample.sample, [str(problems), "--model", model, "--samples", "16", "-o", str(candidates), "-q"]
    )
    assert shown.exit_code == 0, shown.output
    with open_reader(str(candidates), holds="candidate") as reader:
        records = list(reader)
    drawn = [r for r in records if r["kind"] == "candidate"]
    assert sum(r["n"] for r in drawn) == 16 * sum(r["kind"] == "problem" for r in records)
    assert any(notations.whole_number(t) is not None for r in drawn for t in r["expr"])
    assert not any("<constant>" in r["expr"] for r in drawn)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--scale-columns", "--steps", "1"], 1, "--no-scale-columns"),
        (["--prior", "prior", "--steps", "1"], 1, "no skeleton to learn from"),
        (["--tokens", "-3"], 2, "wanted a positive number"),
        (["--tokens", "20x", "--steps", "5"], 2, "say how long, once"),
        (["--branch", "5x", "--schedule", "cosine"], 2, "--branch is a plateau"),
        (["--steps", "1", "--layout", "sharded"], 2, "needs them whole"),
    ],
)
def test_bad_calls_are_told(corpus, tmp_path, words, status, said):
    bad = corpus
    if "prior" in words:
        from fansr.streams import open_writer

        bad = str(tmp_path / "constants.zst")
        with open_writer(bad, holds="skeleton", history=[]) as writer:
            writer.write({"kind": "skeleton", "id": 0, "expr": ["*", "<constant>", "x1"]})
    shown = CliRunner().invoke(train, [bad, *ARGS, *words, "--out", str(tmp_path / "run")])
    assert shown.exit_code == status and said in shown.output, shown.output


def test_cosine_rises_and_falls():
    at = [factor("cosine", step, 100, 5, 0.2, None) for step in range(1, 101)]
    assert at[4] == 1.0 and at[0] == 0.2 and at[-1] == pytest.approx(0.0, abs=1e-12)
    assert at[52] == pytest.approx(0.5 * (1 + np.cos(np.pi * 48 / 95)))
    assert all(a >= b for a, b in zip(at[5:], at[6:]))


@pytest.mark.prove
def test_a_branch_is_the_whole_run_of_its_schedule(corpus, tmp_path):
    """One branch of 1 token a parameter against warm-up, plateau and decay in one go, and against another seed."""
    found = {}
    for name, words in {
        "branch": ["--schedule", "plateau", "--branch", "1x", "--decay", "0.2"],
        "whole": ["--schedule", "wsd", "--tokens", "1x", "--decay", "0.2"],
        "other seed": ["--schedule", "wsd", "--tokens", "1x", "--decay", "0.2", "--seed", "1"],
    }.items():
        out = tmp_path / name
        shown = CliRunner().invoke(train, [corpus, *ARGS, *words, "--hold", "0", "--out", str(out)])
        assert shown.exit_code == 0, shown.output
        found[name] = curve(out / "branch-1x" if name == "branch" else out)[-1]["loss"]
    assert abs(found["branch"] - found["whole"]) <= max(abs(found["other seed"] - found["whole"]), 0.02)


@pytest.mark.prove
def test_tokens_are_counted_over_processes(corpus, tmp_path):
    """Two processes by torchrun do what one does: the same tokens and the same loss to 1e-5."""
    words = [corpus, *ARGS, "--tokens", "1500", "--accumulate", "2", "--schedule", "cosine", "--log-every", "1"]
    lines = {
        1: [sys.executable, "-m", "fansr.network.train"],
        2: [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node",
            "2",
            "-m",
            "fansr.network.train",
        ],
    }
    found = {}
    for n, line in lines.items():
        out = tmp_path / str(n)
        done = subprocess.run([*line, *words, "--out", str(out)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found[n] = curve(out)[-1]
    assert found[1]["tokens"] == found[2]["tokens"] >= 1500
    assert found[1]["loss"] == pytest.approx(found[2]["loss"], abs=1e-5)
    assert torch.get_num_threads() >= 1
