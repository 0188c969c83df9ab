"""Muon against a singular value decomposition, and what it leaves to AdamW against torch's own."""

import pytest
import torch

from fansr.network import checkpoints, optimizers
from fansr.network.architecture import Model
from fansr.network.configuration import ModelConfig

CONFIG = ModelConfig(
    columns=2, width=24, heads=2, feed_forward=40, inducing=4, seeds=4, decoder_layers=1, max_length=8, dropout=0.0
)


@pytest.mark.parametrize("shape", [(3, 24, 24), (2, 24, 72)])
def test_a_step_is_near_the_orthogonal_factor(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape)
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    found, wanted = optimizers.orthogonal(matrices), u @ v
    # Newton-Schulz leaves singular values between 0.7 and 1.2, hence only near.
    agreement = (found * wanted).sum((1, 2)) / (found.norm(dim=(1, 2)) * wanted.norm(dim=(1, 2)))
    assert (agreement > 0.97).all()
    values = torch.linalg.svdvals(found)
    assert values.max() < 1.3 and values.median() > 0.7
    rough = (matrices * wanted).sum((1, 2)) / (matrices.norm(dim=(1, 2)) * wanted.norm(dim=(1, 2)))
    assert (agreement > rough).all()  # the bare gradient is further away


def test_stacked_matrices_turn_each_by_itself():
    torch.manual_seed(1)
    whole = torch.nn.Parameter(torch.randn(72, 24))
    parts = [torch.nn.Parameter(part.clone()) for part in whole.detach().chunk(3)]
    whole.grad = torch.randn(72, 24)
    for part, grad in zip(parts, whole.grad.chunk(3)):
        part.grad = grad.clone()
    optimizers.Muon([{"params": [whole], "parts": 3}], lr=0.1, weight_decay=0.1).step()
    optimizers.Muon([{"params": parts, "parts": 1}], lr=0.1, weight_decay=0.1).step()
    torch.testing.assert_close(whole.detach(), torch.cat([part.detach() for part in parts]))


def test_embeddings_vectors_and_the_last_layer_are_adamws():
    torch.manual_seed(2)
    model, twin = Model(CONFIG), Model(CONFIG)
    twin.load_state_dict(model.state_dict())
    ours = optimizers.build(model, "muon", 1e-3, 0.01, 0.95)
    theirs = optimizers.build(twin, "adamw", 1e-3, 0.01, 0.95)
    assert type(theirs) is torch.optim.AdamW
    for _ in range(3):
        for a, b in zip(model.parameters(), twin.parameters()):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        ours.step()
        theirs.step()
    same = {name for (name, a), b in zip(model.named_parameters(), twin.parameters()) if torch.equal(a, b)}
    for name, parameter in model.named_parameters():
        outer = parameter.dim() != 2 or name.endswith("embed.weight") or name == "head.2.weight"
        assert (name in same) == outer, name


def test_state_round_trips(tmp_path):
    torch.manual_seed(3)
    model = Model(CONFIG)
    ours = optimizers.build(model, "muon", 1e-3, 0.01, 0.95)
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    ours.step()
    folder = checkpoints.save_state(tmp_path, model, {"step": 1}, ours)
    other = Model(CONFIG)
    other.load_state_dict(model.state_dict())
    again = optimizers.build(other, "muon", 1e-3, 0.01, 0.95)
    assert checkpoints.load_optimizer(folder, checkpoints.load_state(tmp_path)[1], other, again)
    for a, b in zip(model.parameters(), other.parameters()):
        a.grad = torch.randn_like(a)
        b.grad = a.grad.clone()
    ours.step()
    again.step()
    for a, b in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(a, b)


def test_adamcpr_is_adam_and_then_a_bounded_matrix_by_hand():
    """Four steps on three numbers and on a vector, by plain floats: moments, bound after the second step, multiplier."""
    w = torch.nn.Parameter(torch.tensor([[1.0, -2.0, 0.5]]))
    free = torch.nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
    optimizer = optimizers.AdamCPR(
        [{"params": [w], "bounded": True}, {"params": [free]}],
        mu=0.5,
        lr=0.1,
        betas=(0.9, 0.98),
        eps=1e-8,
        weight_decay=0.0,
    )
    x, m, v, bound, multiplier = [1.0, -2.0, 0.5], [0.0] * 3, [0.0] * 3, None, 0.0
    largest = 0.0
    for t in range(1, 5):
        gradient = [-1.0 * t, 2.0, -0.3]
        w.grad, free.grad = torch.tensor([gradient]), torch.tensor(gradient)
        optimizer.step()
        for i, g in enumerate(gradient):
            m[i], v[i] = 0.9 * m[i] + 0.1 * g, 0.98 * v[i] + 0.02 * g * g
            x[i] -= 0.1 * (m[i] / (1 - 0.9**t)) / ((v[i] / (1 - 0.98**t)) ** 0.5 + 1e-8)
        if bound is not None:
            multiplier = max(0.0, multiplier + 0.5 * (sum(a * a for a in x) / 3 - bound))
            x = [a - multiplier * a for a in x]
            largest = max(largest, multiplier)
        if t == 2:
            optimizer.bound()
            bound = sum(a * a for a in x) / 3
        torch.testing.assert_close(w.detach(), torch.tensor([x]), rtol=1e-5, atol=1e-6)
    assert largest > 0
    assert (free.detach() ** 2).mean() > (w.detach() ** 2).mean()  # without a bound it went further


def test_adamcpr_holds_a_norm_at_its_bound():
    """A pull outwards without end: the mean square stays within a few percent of the bound."""
    w = torch.nn.Parameter(torch.full((4, 4), 0.5))
    optimizer = optimizers.AdamCPR([{"params": [w], "bounded": True}], lr=0.01, betas=(0.9, 0.98), weight_decay=0.0)
    for t in range(600):
        w.grad = -torch.ones(4, 4)
        optimizer.step()
        if t == 9:
            optimizer.bound()
    bound = float(optimizer.state[w]["bound"])
    assert float(w.detach().square().mean()) == pytest.approx(bound, rel=0.15)


def test_adamcpr_comes_back_from_a_checkpoint(tmp_path):
    torch.manual_seed(0)
    model = Model(CONFIG)
    optimizer = optimizers.build(model, "adamcpr", 1e-2, 0.1, 0.98)
    for t in range(4):
        for p in model.parameters():
            p.grad = torch.randn_like(p)
        optimizer.step()
        if t == 1:
            optimizer.bound()
    checkpoints.save_state(tmp_path, model, {"step": 1}, optimizer)
    folder, state = checkpoints.load_state(tmp_path)
    again = Model(CONFIG)
    again.load_state_dict(model.state_dict())
    other = optimizers.build(again, "adamcpr", 1e-2, 0.1, 0.98)
    checkpoints.load_optimizer(folder, state, again, other)
    for p, q in zip(model.parameters(), again.parameters()):
        p.grad = torch.ones_like(p)
        q.grad = torch.ones_like(q)
    optimizer.step()
    other.step()
    for p, q in zip(model.parameters(), again.parameters()):
        torch.testing.assert_close(p, q)
