"""What the showcases share: a training in pieces is the training in one, results are made once."""

import numpy as np
import pytest
import torch

from bench.distillation.steps import Limit, generator, r2, step, table, train


def fresh():
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    X = torch.randn(64, 3, generator=generator(1))

    def loss_of_step(k):
        rows = torch.randint(64, (8,), generator=generator(2, k))
        return (model(X[rows])[:, 0] - X[rows].sum(1)).pow(2).mean()

    return model, loss_of_step


def test_a_training_in_pieces_is_the_same_training(tmp_path):
    whole, loss = fresh()
    took = train(whole, loss, 40, tmp_path / "whole.pt", Limit(None), rate=0.1)
    assert took["steps"] == 40 and took["losses"][-1] < 0.1 * took["losses"][0]
    pieces = 0
    while True:
        model, loss = fresh()
        try:
            train(model, loss, 40, tmp_path / "pieces.pt", Limit(0.0), rate=0.1)
            break
        except SystemExit as stop:
            assert stop.code == 3
            pieces += 1
    assert pieces == 4
    assert torch.equal(model.weight, whole.weight) and torch.equal(model.bias, whole.bias)


def test_a_step_is_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"value": np.float64(0.5), "list": np.arange(3)}

    assert step(tmp_path, "it", make) == step(tmp_path, "it", make) == {"value": 0.5, "list": [0, 1, 2]}
    assert len(made) == 1


def test_r2_is_that_of_the_worst_column():
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(500, 2))
    turned = hidden @ np.array([[0.6, -0.8], [0.8, 0.6]]) + 3
    assert r2(hidden, turned) == pytest.approx(1)
    noisy = hidden + [[0.0, 1.0]] * rng.normal(size=(500, 2))
    assert r2(noisy, turned) == pytest.approx(0.5, abs=0.06)


def test_a_table_is_markdown():
    assert table([["a", 1]], ["x", "y"]).splitlines() == ["| x | y |", "| --- | --- |", "| a | 1 |"]
