"""Checkpoints: round trips, splitting, and what is left when writing fails."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest
import safetensors.numpy
import torch

from fansr.errors import DataError
from fansr.network import checkpoints, model_file
from fansr.network.architecture import Model
from fansr.network.configuration import ModelConfig

CONFIG = ModelConfig(
    columns=3, width=24, heads=2, feed_forward=40, inducing=4, seeds=4, decoder_layers=1, max_length=12
)


def trained(steps: int = 2):
    """A small model and its AdamW after a few steps."""
    torch.manual_seed(0)
    model = Model(CONFIG)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, fused=True)
    for _ in range(steps):
        loss = model(torch.randn(2, 5, 4), torch.randint(3, 59, (2, 6))).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


def test_a_model_file_round_trips_and_is_plain_safetensors(tmp_path):
    model, _ = trained()
    path = tmp_path / "m.safetensors"
    checkpoints.save_model(path, model, {"step": 7}, [{"cmd": "fansr-train"}])
    again, info = checkpoints.load_model(path)
    assert again.config == CONFIG and info == {"training": {"step": 7}, "history": [{"cmd": "fansr-train"}]}
    read = safetensors.numpy.load_file(path)  # another reader of the format
    for name, tensor in model.state_dict().items():
        np.testing.assert_array_equal(read[name], tensor.numpy())
        torch.testing.assert_close(again.state_dict()[name], tensor)
    values, tokens = torch.randn(1, 5, 4), torch.randint(3, 59, (1, 6))
    torch.testing.assert_close(again(values, tokens), model.eval()(values, tokens))


def test_half_precision_is_half_the_size(tmp_path):
    model, _ = trained()
    checkpoints.save_model(tmp_path / "a", model)
    checkpoints.save_model(tmp_path / "b", model, dtype=torch.float16)
    assert os.path.getsize(tmp_path / "b") < 0.55 * os.path.getsize(tmp_path / "a")
    again, _ = checkpoints.load_model(tmp_path / "b")
    assert all(p.dtype == torch.float32 for p in again.parameters())


@pytest.mark.parametrize("part_bytes", [100, 4096, 1 << 30])
def test_split_and_join_undo_each_other(part_bytes):
    tensors = {"a": torch.arange(100.0), "b/c#1": torch.arange(7.0), "d": torch.ones(1)}
    parts = list(checkpoints.split(tensors, part_bytes))
    assert all(sum(t.numel() * 4 for t in part.values()) <= part_bytes for part in parts)
    joined = checkpoints.join({k: v for part in parts for k, v in part.items()})
    assert joined.keys() == tensors.keys()
    assert all(torch.equal(joined[k], tensors[k]) for k in tensors)


def test_optimizer_state_round_trips_in_small_files(tmp_path):
    model, optimizer = trained()
    limit = 100_000
    folder = checkpoints.save_state(tmp_path, model, {"step": 2}, optimizer, part_bytes=limit)
    parts = sorted(folder.glob("optimizer-*"))
    assert len(parts) > 1 and all(os.path.getsize(p) <= limit for p in parts)
    other = Model(CONFIG)
    fresh = torch.optim.AdamW(other.parameters(), lr=1e-2, fused=True)
    found, state = checkpoints.load_state(tmp_path)
    assert found == folder and checkpoints.load_optimizer(found, state, other, fresh)
    for (_, p), (_, q) in zip(model.named_parameters(), other.named_parameters()):
        for key, value in optimizer.state[p].items():
            torch.testing.assert_close(fresh.state[q][key], value)


def test_optimizer_state_is_optional(tmp_path):
    model, optimizer = trained()
    folder = checkpoints.save_state(tmp_path, model, {"step": 1}, None)
    assert not list(folder.glob("optimizer-*"))
    assert not checkpoints.load_optimizer(folder, checkpoints.load_state(tmp_path)[1], model, optimizer)


def test_old_checkpoints_go_and_pinned_ones_stay(tmp_path):
    model, _ = trained()
    for step in range(5):
        checkpoints.save_state(tmp_path, model, {"step": step, "pinned": step == 1}, keep=2)
    assert sorted(p.name for p in tmp_path.glob("step-*")) == ["step-00000001", "step-00000003", "step-00000004"]


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoints.load_state(tmp_path / "nowhere") is None


def test_a_failed_write_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    model, _ = trained()
    checkpoints.save_state(tmp_path, model, {"step": 1})

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(DataError, match="No space left"):
        checkpoints.save_state(tmp_path, model, {"step": 2})
    folder, state = checkpoints.load_state(tmp_path)
    assert state["step"] == 1 and folder.name == "step-00000001"
    assert not list(tmp_path.glob("*.part"))


def test_a_half_written_checkpoint_is_ignored(tmp_path):
    model, _ = trained()
    checkpoints.save_state(tmp_path, model, {"step": 1})
    (tmp_path / "step-00000002.part").mkdir()
    (tmp_path / "step-00000002.part" / "model.safetensors").write_bytes(b"half")
    assert checkpoints.load_state(tmp_path)[1]["step"] == 1


def test_a_step_saved_again_is_whole_at_every_moment(tmp_path, monkeypatch):
    """The folder in force was removed before the new one had its name: a kill between the two lost the run."""
    model, optimizer = trained()
    checkpoints.save_state(tmp_path, model, {"step": 1}, optimizer)
    before = checkpoints.optimizer_tensors(model, optimizer)

    def killed(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints.shutil, "rmtree", lambda path, **_: path.name.endswith(".part") or killed())
    checkpoints.save_state(tmp_path, model, {"step": 1, "pinned": True})
    folder, state = checkpoints.load_state(tmp_path)
    assert state["pinned"] and checkpoints.load_optimizer(folder, state, model, optimizer)
    assert all(torch.equal(v, before[k]) for k, v in checkpoints.optimizer_tensors(model, optimizer).items())


def test_a_checkpoint_that_is_gone_is_no_new_run(tmp_path):
    model, _ = trained()
    shutil.rmtree(checkpoints.save_state(tmp_path, model, {"step": 1}))
    with pytest.raises(DataError, match="latest names step-00000001, which is not there"):
        checkpoints.load_state(tmp_path)


WRITER = """
import sys
from fansr.network import checkpoints
from fansr.network.architecture import Model
from fansr.network.configuration import ModelConfig
model = Model(ModelConfig(**eval(sys.argv[2])))
for step in range(int(sys.argv[3]), 1 << 20):
    for parameter in model.parameters():
        parameter.data.fill_(step)
    checkpoints.save_state(sys.argv[1], model, {"step": step})
"""


def test_a_reader_never_sees_half_a_checkpoint(tmp_path):
    """While another process writes one after another, and is killed at any moment, what is read is whole and of one step."""
    read = Counter()
    for turn in range(3):
        first = max(read, default=0) + 1
        writer = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path, str(CONFIG.to_dict()), str(first)])
        seen = 0
        while seen < 40:
            found = checkpoints.load_state(tmp_path)
            if found is None or found[1]["step"] < first:
                assert writer.poll() is None
                time.sleep(0.01)
                continue
            folder, state = found
            try:
                weights = checkpoints.load_model(folder / "model.safetensors")[0].state_dict()
            except DataError as error:  # two newer ones have come meanwhile: told apart from half a file
                assert "no such file" in str(error) and checkpoints.load_state(tmp_path)[1]["step"] > state["step"]
                continue
            assert {float(v) for t in weights.values() for v in (t.min(), t.max())} == {float(state["step"])}
            read[state["step"]] += 1
            seen += 1
        time.sleep(0.003 * turn)
        writer.kill()
        writer.wait()
    folder, state = checkpoints.load_state(tmp_path)
    assert float(next(checkpoints.load_model(folder / "model.safetensors")[0].parameters()).max()) == state["step"]


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x80\x04\x95" + bytes(100), bytes(64)])
def test_what_is_no_model_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match="m.safetensors: "):
        checkpoints.load_model(path)


def test_cut_and_foreign_models_are_refused(tmp_path):
    model, _ = trained()
    path = tmp_path / "m.safetensors"
    checkpoints.save_model(path, model)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="not a whole safetensors file"):
        checkpoints.load_model(path)
    safetensors.numpy.save_file({"a": np.ones(3)}, path)
    with pytest.raises(DataError, match="not a fansr model"):
        checkpoints.load_model(path)
    narrow = json.dumps({**CONFIG.to_dict(), "width": 12})
    safetensors.torch.save_file(
        model.state_dict(), path, {"format": model_file.FORMAT, "config": narrow, "training": "{}", "history": "[]"}
    )
    with pytest.raises(DataError, match="do not fit its config"):
        checkpoints.load_model(path)
    with pytest.raises(DataError, match="no such file"):
        checkpoints.load_model(tmp_path / "absent")


# ---- files that claim what they are not -------------------------------------------------------


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The weights and the header of a good model file."""
    path = tmp_path_factory.mktemp("good") / "m.safetensors"
    checkpoints.save_model(path, Model(CONFIG))
    with safetensors.safe_open(path, framework="np") as file:
        return safetensors.numpy.load_file(path), file.metadata()


WRONG = [-1, 0, 1.5, 10**9, 10**30, "x", None, [1], True]
FUNCTION = (
    "post_norm",
    "bit_noise",
    "dropout",
    "isab_layers",
    "sab_layers",
)  # may be other numbers without other weights


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(ModelConfig)])
def test_a_config_that_claims_too_much_is_named(tmp_path, parts, name):
    """A claim of 10**9 layers took gigabytes; nothing is built before it is compared with the weights there are."""
    weights, metadata = parts
    config = json.loads(metadata["config"])
    path = tmp_path / "m.safetensors"
    for value in WRONG:
        if name in FUNCTION and value in (0, 1.5, True):
            continue
        safetensors.numpy.save_file(weights, path, {**metadata, "config": json.dumps({**config, name: value})})
        with pytest.raises(DataError, match="m.safetensors: not a fansr model"):
            checkpoints.load_model(path)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("config", "5"), ("config", "[" * 9999), ("config", "{"), ("history", "5"), ("history", "[1]"),
        ("training", "{"), ("format", "fansr-model-9"), ("config", '{"layers": 1}'),
    ],
)  # fmt: skip
def test_a_model_file_with_a_wrong_header_is_named(tmp_path, parts, field, text):
    weights, metadata = parts
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file(weights, path, {**metadata, field: text})
    with pytest.raises(DataError, match="m.safetensors: not a fansr model"):
        checkpoints.load_model(path)


@pytest.mark.parametrize(
    ("latest", "state", "said"),
    [
        ("../../etc", "{}", "latest names"),
        ("step-00000001", "5", "state.json: step"),
        ("step-00000001", '{"step": 1.5}', "state.json: step"),
        ("step-00000001", '{"step": -1}', "state.json: step"),
        ("step-00000001", '{"step": 1, "optimizer_parts": 1000000000}', "optimizer_parts"),
        ("step-00000001", "[" * 99999, "unreadable"),
        ("step-00000001", "{", "unreadable"),
    ],
)
def test_a_broken_state_is_named(tmp_path, latest, state, said):
    (tmp_path / "step-00000001").mkdir()
    (tmp_path / "step-00000001" / "state.json").write_text(state)
    (tmp_path / "latest").write_text(latest)
    with pytest.raises(DataError, match=f"{tmp_path}: unreadable checkpoint.*{said}|{said}"):
        checkpoints.load_state(tmp_path)
