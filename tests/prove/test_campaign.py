"""bin/campaign with a model of toy size: two pieces, a decay, a judgement, and what is kept between them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fansr.network.training_loop import curve
from fansr.streams import reader_writer

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = """
optimizer = "muon"
lr = 2e-3
batch = 32
min_points = 4
max_points = 8
outliers = 0.1
log_every = 1
[model]
columns = 9
width = 24
heads = 2
feed_forward = 40
inducing = 4
seeds = 4
decoder_layers = 1
max_length = 32
dropout = 0.0
"""


@pytest.mark.prove
def test_pieces_go_on_with_fresh_pools_and_one_curve(tmp_path):
    """Each piece has skeletons of its own, the plateau's metrics and the held-out curve grow, the judged model is shipped only if better."""
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "bin/campaign", tmp_path / "bin/campaign")
    for name in ("launch", "bench-model"):
        os.symlink(ROOT / "bin" / name, tmp_path / "bin" / name)
    for name in ("fansr", "bench", "configs", "rules", "setup.cfg"):
        os.symlink(ROOT / name, tmp_path / name)
    (tmp_path / "data/models/tiny-plateau").mkdir(parents=True)
    shutil.copy(ROOT / "data/models/tiny-plateau/held.zst", tmp_path / "data/models/tiny-plateau/held.zst")
    (tmp_path / "toy.toml").write_text(CONFIG)
    environment = {
        **os.environ, "NAME": "toy", "CONFIG": "toy.toml", "SKELETONS": "2000", "MINUTES": "0.05", "DECAY": "0.05", "LAWS": "3",
        "DRAWS": "3", "OPTIONS": "--no-compile --threads 1 -q", "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip

    def campaign(*steps):
        done = subprocess.run(
            ["bash", "bin/campaign", *steps], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    plateau, shipped = tmp_path / "data/models/toy-plateau", tmp_path / "data/models/toy.safetensors"
    campaign("afresh")
    first = json.loads((plateau / "state.json").read_text())
    assert shipped.exists() and first["pinned"]
    shutil.rmtree(tmp_path / "runs")  # another checkout goes on from what is kept
    before, points = shipped.read_bytes(), len(curve(plateau))
    said = campaign()
    second = json.loads((plateau / "state.json").read_text())
    assert second["samples"] > first["samples"] and len(curve(plateau)) > points
    (pool,) = (tmp_path / "runs/toy").glob("train-*.zst")
    with reader_writer.open_reader(pool) as reader:
        assert reader.history[0]["seed"] == second["step"]  # of the decay, which has a pool of its own
    found = [int(word.strip(",")) for word in said.split() if word.strip(",").isdigit()]
    assert "laws found of 3 at 3 draws" in said
    assert (shipped.read_bytes() != before) == (found[-1] > found[-2])
