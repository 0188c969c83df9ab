"""bin/bench-nats: the tables it judges on are what they are called, and nats are the mean negative log-likelihood of a law."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench import nats
from fansr.corpus import draw_kernels, prior
from fansr.expressions.tokens import PAD_ID
from fansr.network import batches, skeleton_pool
from fansr.network.architecture import Model, ModelConfig
from fansr.streams.seeds import rng_for

ROOT = Path(__file__).resolve().parents[2]
PRIOR = prior.load(str(ROOT / "configs" / "tiny-prior.toml"))


@pytest.fixture(scope="module")
def program():
    return nats


def numbers(made, rows, columns):
    """The points that a kind of table has, unscaled: (B, M, C)."""
    law, points = made
    settings = batches.Settings(columns=9, max_length=32, prior=law, scale_columns=False)
    return batches.make(rows, columns, points, settings, rng_for(0, "test"), torch.device("cpu")).values.numpy()


def test_kinds_of_tables_are_what_they_are_called(program):
    rows, columns = skeleton_pool.compact(draw_kernels.to_rows([["+", "x1", "sin", "x2"]] * 400))
    kinds = program.kinds(PRIOR)
    plain, far, noisy = (numbers(kinds[name], rows, columns) for name in ("ordinary", "far columns", "noisy"))
    y, x1, x2 = np.moveaxis(plain.astype(float), -1, 0)
    assert np.allclose(y, x1 + np.sin(x2), atol=1e-4) and np.abs(plain[..., 1:]).max() < 1e3
    sizes = np.log10(np.sqrt((far[..., 1:].astype(float) ** 2).mean(1)))
    assert sizes.min() < -5 and sizes.max() > 5
    y, x1, x2 = np.moveaxis(noisy.astype(float), -1, 0)
    assert (np.abs(y - x1 - np.sin(x2)).max(1) > 1e-3 * y.std(1)).mean() > 0.9
    assert [numbers(kinds[f"{m} points"], rows, columns).shape[1] for m in (8, 64)] == [8, 64]


def test_nats_are_those_of_the_laws_one_by_one(program):
    torch.manual_seed(0)
    model = Model(
        ModelConfig(columns=9, width=12, heads=1, feed_forward=12, inducing=2, seeds=2, decoder_layers=1, max_length=32)
    ).eval()
    rows = draw_kernels.to_rows([["sin", "x1"], ["*", "x1", "+", "x2", "<constant>"], ["x1"]])
    told, _ = program.nats(model, {"settings": {"scale_columns": True}}, rows, program.kinds(PRIOR)["ordinary"][0], 12)
    compact, columns = skeleton_pool.compact(rows)
    order = np.argsort((compact != PAD_ID).sum(1), kind="stable")
    settings = batches.Settings(columns=9, max_length=32, prior=program.kinds(PRIOR)["ordinary"][0])
    data = batches.make(
        compact[order], columns[order], 12, settings, rng_for(0, "bench-nats.numbers", 0), torch.device("cpu")
    )
    total = 0.0
    for values, present, tokens in zip(data.values, data.present, data.tokens.tolist()):
        tokens = [t for t in tokens if t != PAD_ID]
        with torch.inference_mode():
            logits = model(values[None], torch.tensor([tokens[:-1]]), None, present[None])[0]
        total -= sum(float(torch.log_softmax(row, -1)[t]) for row, t in zip(logits, tokens[1:]))
    assert told == pytest.approx(total / 3, abs=2e-3)
