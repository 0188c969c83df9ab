"""The transformer's showcase on a network of seconds: what stands for a block, and the table that judges it."""

import numpy as np
import pytest
import torch

from bench.distillation import transformer
from bench.distillation.steps import generator


def test_windows_are_the_text_and_what_follows():
    ids = torch.arange(1000)
    x, y = transformer.windows(ids, 5, generator(3), context=8)
    assert x.shape == y.shape == (5, 8)
    assert torch.equal(y, x + 1)
    batches = transformer.in_order(ids, 4, context=8)
    assert torch.equal(torch.cat([x for x, _ in batches]).flatten(), torch.arange(992))
    assert torch.equal(torch.cat([y for _, y in batches]).flatten(), torch.arange(992) + 1)


def test_nothing_is_on_both_sides_of_the_corpus_and_the_model_is_causal():
    train, held, alphabet = transformer.corpus()
    assert len(train) + len(held) > 400_000 and 90 < len(alphabet) < 130
    torch.manual_seed(0)
    model = transformer.ByteModel(len(alphabet), width=16, layers=1, heads=2, context=12)
    x = train[:12][None].clone()
    changed = x.clone()
    changed[0, 8:] = 0
    with torch.no_grad():
        torch.testing.assert_close(model(x)[:, :8], model(changed)[:, :8])
        assert not torch.allclose(model(x)[:, 8:], model(changed)[:, 8:])
    assert transformer.perplexity(model, [(x, x)]) == pytest.approx(len(alphabet), rel=0.2)


def test_a_block_is_judged_beside_all_that_is_simpler(monkeypatch):
    monkeypatch.setattr(
        transformer,
        "KINDS",
        {"pca": {"pca_in": 6, "pca_out": 3}, "linear": {"pca_in": 6, "pca_out": 3, "linear": "full"}},
    )
    monkeypatch.setattr(transformer, "OUT", 3)
    monkeypatch.setattr(transformer, "TUNING", 3)
    train, held, alphabet = transformer.corpus()
    torch.manual_seed(0)
    model = transformer.ByteModel(len(alphabet), width=16, layers=1, heads=2)
    laws = [[["x1"], [], ["pc1"], 0.9, 0.9], [["*", "<constant>", "x1"], [0.5], ["pc2"], 0.8, 0.8]]
    kept = {
        kind: {"status": {str(u): "no law" for u in range(3)}, "fronts": {str(u): laws for u in range(3)}}
        for kind in ("pca", "linear")
    }
    found = transformer.judged(model, 0, train, held[: 64 * 64 * 3 + 1], kept, 0)
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == [
        "original", "mean", "linear map", "linear map of rank 3", "bases alone", "laws by drop", "laws", "laws, tuned",
        "linear map + laws", "linear map + laws, tuned",
    ]  # fmt: skip
    assert found["no law"] == 6 and rows["laws"]["tokens"] == 9
    assert rows["original"]["change"] == 0 and rows["original"]["r2"] == pytest.approx(1)
    assert rows["mean"]["r2"] == pytest.approx(0, abs=0.02)
    assert rows["linear map of rank 3"]["r2"] <= rows["linear map"]["r2"] + 0.02
    assert all(row["tokens/s at 64"] > 0 and np.isfinite(row["perplexity"]) for row in rows.values())
    text = transformer.summary([found], None)
    assert "6 of 6 units without a clear law" in text and "the map alone." in text
