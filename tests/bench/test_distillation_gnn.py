"""The graph network's showcase: what is measured of messages, on networks whose answers are known."""

import numpy as np
import pytest
import torch

from bench.distillation import gnn, gnn_together, particles
from bench.distillation.steps import Limit


class TrueEdges(torch.nn.Module):
    """Messages that are the true forces, mixed, scaled and shifted; rows (N, 12)."""

    def __init__(self, law, power=0.0):
        super().__init__()
        self.law, self.power = law, power
        self.mix = torch.nn.Parameter(torch.tensor([[0.8, -0.5], [0.3, 1.1]], dtype=torch.float64))

    def forward(self, rows):
        values = rows.detach().double().numpy()
        state = values.reshape(-1, 2, 6)
        force = torch.tensor(particles.pair_forces(self.law, state)[:, 0])
        r = torch.tensor(np.hypot(*(values[:, 6:8] - values[:, :2]).T))[:, None]
        return force * r**self.power @ self.mix + 0.1


class TrueNetwork(gnn.GraphNetwork):
    """A graph network with those messages."""

    def __init__(self, law, power=0.0):
        super().__init__()
        self.edge = TrueEdges(law, power)
        self.double()


def some_states(n=4, count=60):
    state = particles.start(4 * count, n, np.random.default_rng(8))
    return state[particles.nearest(state) >= gnn.LEAST][:count]


@pytest.mark.parametrize("law", particles.LAWS)
def test_true_messages_span_forces_and_show_their_law(law):
    network, X = TrueNetwork(law), some_states()
    span = gnn.spans(law, gnn.messages(network, X), X)
    assert span["mapped"] == pytest.approx(1, abs=1e-9) and span["as they are"] < 0.99
    assert gnn.spans(law, particles.pair_forces(law, X).reshape(-1, 2), X)["as they are"] == pytest.approx(1)
    if law == "spring":
        assert gnn.rest_length(network) == pytest.approx(1, abs=1e-4)
    else:
        assert gnn.exponent(network) == pytest.approx(particles.POWER[law], abs=2e-3)
        assert np.isnan(gnn.rest_length(network))


def test_a_freed_exponent_finds_the_messages_own():
    """Laws that go with r**-1.9 on messages that go with r**-2."""
    X = some_states()
    i, j = particles.pairs(4)
    rows = np.concatenate([X[:, i], X[:, j]], axis=-1).reshape(-1, 12)
    M = gnn.messages(TrueNetwork("gravity"), X)
    found, error = gnn.freed_exponent(TrueNetwork("gravity", power=0.1), rows, M)
    assert found == pytest.approx(-2, abs=2e-3) and error < 1e-3


def test_a_network_sees_every_pair_and_any_number_of_bodies():
    torch.manual_seed(1)
    network = gnn.GraphNetwork()
    X = torch.tensor(some_states(5, 3), dtype=torch.float32)
    with torch.no_grad():
        whole = network(X)
        assert whole.shape == (3, 5, 2)
        for body in range(5):
            others = [k for k in range(5) if k != body]
            received = sum(network.edge(torch.cat([X[:, body], X[:, k]], -1)) for k in others)
            torch.testing.assert_close(whole[:, body], network.node(received) / X[:, body, 5:])


def test_another_gauge_is_the_same_network_with_plain_messages():
    torch.manual_seed(2)
    X = some_states()
    network = gnn.GraphNetwork()
    x = torch.tensor(X, dtype=torch.float32)
    A = network(x).detach().double().numpy()
    plain = gnn.in_plain_gauge(network, X, A)
    torch.testing.assert_close(plain(x), network(x), atol=2e-5, rtol=1e-4)
    received = gnn.messages(plain, X).reshape(-1, 3, 2).sum(1)
    F = (A * X[..., 5:]).reshape(-1, 2)
    found = np.linalg.lstsq(np.column_stack([received, np.ones(len(received))]), F, rcond=None)[0]
    np.testing.assert_allclose(found, [[1, 0], [0, 1], [0, 0]], atol=2e-3)


def test_messages_of_more_numbers_are_pruned_to_two_and_a_stopped_pruning_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(gnn, "STATES", 300)
    monkeypatch.setattr(gnn, "SYSTEMS", 100)
    monkeypatch.setattr(gnn, "BATCH", 8)
    for name in ("whole", "pieces"):
        (tmp_path / name).mkdir()
    network, _, X, _ = gnn.trained("spring", 0, tmp_path / "whole", Limit(None), steps=40, width=9)
    assert network.edge[-1].weight.shape == (2, 64) and network.node[0].weight.shape == (32, 2)
    for _ in range(5):
        try:
            again = gnn.trained("spring", 0, tmp_path / "pieces", Limit(0.0), steps=40, width=9)[0]
        except SystemExit:
            continue
        break
    assert torch.equal(again.edge[-1].weight, network.edge[-1].weight)
    assert torch.equal(
        again(torch.tensor(X[:3], dtype=torch.float32)), network(torch.tensor(X[:3], dtype=torch.float32))
    )


def test_training_lowers_the_error_and_a_path_of_the_truth_strays_nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(gnn, "STATES", 400)
    monkeypatch.setattr(gnn, "SYSTEMS", 100)
    network, took, X, A = gnn.trained("spring", 0, tmp_path, Limit(None), steps=60)
    assert X.shape == (400, 4, 6) and took["steps"] == 60
    assert took["losses"][-1] < 0.7 * took["losses"][0]
    np.testing.assert_allclose(A, particles.accelerations("spring", X))
    monkeypatch.setattr(gnn, "acceleration_of", lambda model: lambda s: particles.accelerations("spring", s))
    found = gnn.paths("spring", {"truth": network}, 4, 0.3, 0, systems=5)
    assert gnn.strayed(found)["truth"] < 1e-4


def test_networks_that_train_together_learn_what_each_learns_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(gnn, "STATES", 300)
    monkeypatch.setattr(gnn, "SYSTEMS", 100)
    monkeypatch.setattr(gnn, "BATCH", 8)
    wanted = [("spring", 0), ("gravity", 1), ("spring", 1)]
    for name in ("alone", "together"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(gnn_together, "GROUP", 2)
    with pytest.raises(SystemExit):
        gnn_together.trained(wanted, tmp_path / "together", Limit(0.0), steps=25)
    assert [file.name for file in (tmp_path / "together").glob("*-?.pt")] == ["together-spring-0-gravity-1.pt"]
    for k in range(3):
        gnn_together.trained(wanted[k:], tmp_path / "together", Limit(None), steps=25)
    for law, seed in wanted:
        alone, _, X, _ = gnn.trained(law, seed, tmp_path / "alone", Limit(None), steps=25)
        other, took, _, _ = gnn.trained(law, seed, tmp_path / "together", Limit(None), steps=25)
        assert took["steps"] == 25
        x = torch.tensor(X[:20], dtype=torch.float32)
        torch.testing.assert_close(other(x), alone(x), atol=1e-3, rtol=1e-3)
