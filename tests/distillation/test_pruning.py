"""Pruning: importance by leaving units out by hand, planted dead units, a shrunk layer that gives what the masked one gave."""

import pytest
import torch

from fansr.distill import Pruner
from fansr.distillation.block import Block
from fansr.distillation.pruning import SCHEDULES, activity, importance
from fansr.errors import DataError


def net(kind="linear"):
    torch.manual_seed(2)
    if kind == "conv":
        return torch.nn.Sequential(torch.nn.Conv1d(2, 6, 3), torch.nn.ReLU(), torch.nn.Conv1d(6, 3, 1))
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))


def batches(n=5, shape=(30, 4)):
    generator = torch.Generator().manual_seed(7)
    return [(torch.randn(shape, generator=generator),) for _ in range(n)]


def loss(model, batch):
    return (model(*batch) - batch[0].sum(dim=-1, keepdim=True)).square().mean()


def test_importance_is_that_of_leaving_a_unit_out():
    model = net()
    place = Block(model, "0")
    mean, std = activity(place, batches())
    values = torch.cat([model[0](x) for (x,) in batches()])
    assert torch.allclose(mean, values.mean(0).double(), atol=1e-6)
    assert torch.allclose(std, values.std(0, correction=0).double(), atol=1e-6)
    found = importance(place, loss, batches(), mean)
    base = sum(float(loss(model, b).detach()) for b in batches()) / 5
    for unit in range(8):
        total = 0.0
        for (x,) in batches():
            hidden = model[0](x).detach()
            hidden[:, unit] = mean[unit].float()
            total += float((model[2](torch.tanh(hidden)) - x.sum(-1, keepdim=True)).square().mean().detach())
        assert found[unit] == pytest.approx(total / 5 - base, abs=1e-6)
    rough = importance(place, loss, batches(), mean, exact=False)
    assert rough.shape == (8,) and bool((rough >= 0).all())


def test_a_unit_nobody_reads_has_no_importance():
    model = net()
    with torch.no_grad():
        model[2].weight[:, [1, 5]] = 0
    place = Block(model, "0")
    mean, _ = activity(place, batches())
    for exact in (True, False):
        found = importance(place, loss, batches(), mean, exact)
        assert sorted(found.abs().argsort()[:2].tolist()) == [1, 5] and float(found[[1, 5]].abs().max()) < 1e-6


def test_planted_dead_units_go_first_and_the_shrunk_network_is_the_masked_one():
    model = net()
    with torch.no_grad():
        model[0].weight[[2, 3, 6]] = 0
        model[0].bias[[2, 3, 6]] = 0
    pruner = Pruner(model, "0", to=5, steps=10)
    model.train()
    left = []
    for step in range(12):
        model(*batches()[step % 5])
        left.append(pruner.step())
    assert left == sorted(left, reverse=True) and left[-1] == 5 and pruner.left == [0, 1, 4, 5, 7]
    model.eval()
    masked = [model(*batch) for batch in batches()]
    assert pruner.shrink("2") == [0, 1, 4, 5, 7]
    assert model[0].weight.shape == (5, 4) and model[2].weight.shape == (1, 5) and model[0].out_features == 5
    assert all(torch.allclose(model(*batch), out, atol=1e-6) for batch, out in zip(batches(), masked))
    assert not model[0]._forward_hooks


def test_convolutions_and_readers_with_an_offset():
    model = net("conv")
    pruner = Pruner(model, "0", to=2, steps=1)
    x = torch.randn(3, 2, 9)
    model.train()(x)
    pruner.step()
    masked = model(x)
    pruner.shrink(["2"])
    assert (
        model[0].out_channels == 2
        and model[2].weight.shape == (3, 2, 1)
        and torch.allclose(model(x), masked, atol=1e-6)
    )

    class Node(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.message, self.node = torch.nn.Linear(4, 5), torch.nn.Linear(4 + 5 + 1, 2)

        def forward(self, x):
            return self.node(torch.cat([x, self.message(x), x[:, :1]], -1))

    graph = Node()
    pruner = Pruner(graph, "message", to=2, steps=1, schedule="linear")
    pruner.set_importance(torch.tensor([0.0, 5, 1, 0, 9]))
    pruner.step()
    x = torch.randn(7, 4)
    masked = graph(x)
    assert pruner.shrink("node", offset=4) == [1, 4] and torch.allclose(graph(x), masked, atol=1e-6)


def test_a_layer_norm_that_readers_read_is_cut_with_the_same_outcome():
    torch.manual_seed(4)
    model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.LayerNorm(8), torch.nn.Linear(8, 3))
    with torch.no_grad():
        model[2].weight.uniform_(0.5, 2), model[2].bias.normal_()
    pruner = Pruner(model, "0", to=3, steps=1)
    x = torch.randn(9, 4)
    model.train()(x)
    pruner.step()
    masked = model(x)
    left = pruner.shrink("3", norm="2")
    assert len(left) == 3 and model[0].weight.shape == (3, 4) and model[3].weight.shape == (3, 4)
    assert torch.allclose(model(x), masked, atol=1e-6)
    with pytest.raises(DataError, match="wanted a LayerNorm over the 8 units"):
        Pruner(net(), "0", 2, 5).shrink("2", norm="1")


def test_a_pruning_goes_on_from_its_state_as_if_it_had_not_stopped():
    def run(stops):
        torch.manual_seed(2)
        model = net().train()
        pruner, state = Pruner(model, "0", to=2, steps=20), None
        for step in range(20):
            if step == stops:
                state = pruner.state_dict()
                pruner.remove()
                pruner = Pruner(model, "0", to=2, steps=20)
                pruner.load_state_dict(state)
            model(*batches()[step % 5])
            pruner.step()
        return pruner.left, pruner.spread

    whole, pieces = run(None), run(7)
    assert whole[0] == pieces[0] and torch.equal(whole[1], pieces[1])


def test_schedules_and_wrong_calls():
    for function in SCHEDULES.values():
        assert function(0.0) == pytest.approx(0) and function(1.0) == pytest.approx(1) and 0 < function(0.5) < 1
    with pytest.raises(DataError, match="is a Tanh: wanted a Linear"):
        Pruner(net(), "1", 2, 5)
    with pytest.raises(ValueError, match="to=9: wanted 1 to 8"):
        Pruner(net(), "0", 9, 5)
    with pytest.raises(DataError, match="reads 8 values: 8 units do not fit from 3"):
        Pruner(net(), "0", 2, 5).shrink("2", offset=3)
