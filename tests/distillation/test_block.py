"""What a probe takes: the rows a hand-made forward gives, drawn fairly, from a model that notices nothing."""

import networks
import numpy as np
import pytest
import torch

from fansr.distillation.block import Block
from fansr.distillation.reservoir import Reservoir
from fansr.errors import DataError


class Whole(torch.nn.Module):
    """Attention-like arguments by name, a tuple and a dict out, a module used twice."""

    def __init__(self):
        super().__init__()
        self.twice = torch.nn.Linear(3, 3)
        self.conv = torch.nn.Conv2d(2, 4, 3, padding=1)
        self.pair = Pair()

    def forward(self, x, image):
        return self.pair(query=self.twice(self.twice(x)), key=x)[0].sum() + self.conv(image).sum()


class Pair(torch.nn.Module):
    def forward(self, query, key, scale=2.0):
        return (query - key) * scale, {"weights": query}


@pytest.fixture
def model():
    torch.manual_seed(1)
    return Whole()


def batches(n=4):
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(6, 5, 3, generator=generator), torch.randn(2, 2, 4, 5, generator=generator)) for _ in range(n)]


def test_recorded_rows_are_those_of_a_forward_by_hand_and_the_model_is_as_it_was(model):
    model.train()
    model.twice.eval()
    before = [model(*batch) for batch in batches()]
    taken = Block(model, "pair", argument="query,key").record(batches(), rows=10_000, held=0.5)
    assert [m.training for m in model.modules()] == [m is not model.twice for m in model.modules()]
    assert all(torch.equal(model(*batch), out) for batch, out in zip(batches(), before))
    assert not model._forward_pre_hooks and not model.pair._forward_hooks
    rows = []
    with torch.no_grad():
        for x, _ in batches():
            q = model.twice(model.twice(x))
            rows.append((torch.cat([q, x], -1).reshape(-1, 6), ((q - x) * 2).reshape(-1, 3)))
    # batches 1 and 3 are held
    assert torch.equal(taken.X, torch.cat([rows[0][0], rows[2][0]])) and torch.equal(
        taken.Y, torch.cat([rows[0][1], rows[2][1]])
    )
    assert torch.equal(taken.X_held, torch.cat([rows[1][0], rows[3][0]])) and taken.seen == 120 and taken.calls == 4


@pytest.mark.parametrize("call", [0, 1, None])
def test_calls_of_a_module_used_twice(model, call):
    taken = Block(model, "twice", call=call).record(batches(), rows=10_000)
    x = batches()[0][0]
    with torch.no_grad():
        first = model.twice(x).reshape(-1, 3)
    assert taken.calls == (8 if call is None else 4)
    assert torch.equal(taken.Y[:30], first) == (call != 1)
    if call == 1:
        assert torch.equal(taken.X[:30], first)


def test_channels_and_neighbourhoods(model):
    taken = Block(model, "conv", layout="patch:3").record(batches(), rows=10_000)
    weight = model.conv.weight.detach().reshape(4, -1)
    assert taken.X.shape[1] == 18 and torch.allclose(
        taken.X @ weight.t() + model.conv.bias.detach(), taken.Y, atol=1e-5
    )
    plain = Block(model, "conv", layout="channels").record(batches(), rows=10_000)
    image = batches()[0][1]
    assert torch.equal(plain.X[:40], image.permute(0, 2, 3, 1).reshape(-1, 2)) and torch.equal(plain.Y, taken.Y)


def test_what_stands_for_a_block_gives_its_shape_and_its_other_parts(model):
    x, image = batches()[0]
    place = Block(model, "pair", argument="key")
    with torch.no_grad():
        own, more = model.pair(query=x, key=x)
        with place.replaced(lambda rows, original: original() + rows):
            out, other = model.pair(query=x, key=x)
            assert torch.equal(out, own + x) and torch.equal(other["weights"], more["weights"])
        conv = Block(model, "conv", layout="patch:3")
        weight, bias = model.conv.weight.reshape(4, -1), model.conv.bias
        with conv.replaced(lambda rows, _: rows @ weight.t() + bias):
            by_rows = model.conv(image)
        assert torch.allclose(by_rows, model.conv(image), atol=1e-5)
        second = Block(model, "twice", call=1)
        with second.replaced(lambda rows, _: rows):
            out = model(x, image)
        assert torch.equal(out, model.pair(query=model.twice(x), key=x)[0].sum() + model.conv(image).sum())


def test_replacing_within_a_replacement_puts_the_first_back(model):
    place = Block(model, "twice")
    x = torch.randn(4, 3)
    place.replace(lambda rows, _: rows * 0 + 1)
    with place.replaced(lambda rows, original: original() * 2):
        own = model.twice.weight @ x.t() + model.twice.bias[:, None]
        assert torch.allclose(model.twice(x), 2 * own.t(), atol=1e-6)
    assert torch.equal(model.twice(x), torch.ones(4, 3))
    place.restore()
    assert "forward" not in model.twice.__dict__ and not place.is_replaced


def test_the_reservoir_is_uniform_and_bounded():
    """Of 200 rows in 20 parts 40 are kept: over 300 seeds each row equally often (chi-square)."""
    counts = np.zeros(200)
    for seed in range(300):
        reservoir = Reservoir(40, seed)
        for part in torch.arange(200.0).reshape(20, 10, 1):
            reservoir.add(part, part)
            assert len(reservoir) <= 40
        X, Y = reservoir.rows()
        assert torch.equal(X, Y) and len(set(X.flatten().tolist())) == 40 and bool((X.diff(dim=0) > 0).all())
        counts[X.flatten().long().numpy()] += 1
    # each count is Binomial(300, 0.2); the sum of squares in units of its variance is about chi^2 of 199
    chi2 = ((counts - 60) ** 2).sum() / (300 * 0.2 * 0.8)
    assert 199 - 5 * np.sqrt(2 * 199) < chi2 < 199 + 5 * np.sqrt(2 * 199)


def test_the_same_seed_gives_the_same_rows_and_one_batch_is_divided_by_rows(model):
    first = Block(model, "twice").record(batches(), rows=20, seed=3)
    again = Block(model, "twice").record(batches(), rows=20, seed=3)
    other = Block(model, "twice").record(batches(), rows=20, seed=4)
    assert torch.equal(first.X, again.X) and not torch.equal(first.X, other.X)
    alone = Block(model, "twice", call=0).record(batches(1), rows=1000, held=0.25)
    assert alone.by_rows and len(alone.X) == 23 and len(alone.X_held) == 7


def test_rows_that_are_not_finite_are_counted(model):
    spoiled = [(x.clone(), image) for x, image in batches()]
    spoiled[0][0][0, 0, 0] = float("nan")
    taken = Block(model, "twice", call=0).record(spoiled, rows=1000)
    assert taken.not_finite == 1 and len(taken.X) == 59
    with pytest.raises(DataError, match="none of its 120 rows is finite"):
        Block(model, "twice", call=0).record([(x * float("inf"), image) for x, image in batches()])


class Odd(torch.nn.Module):
    def __init__(self, make):
        super().__init__()
        self.part = Part(make)

    def forward(self, x):
        self.part(x)
        return x


class Part(torch.nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, x):
        return self.make(x)


@pytest.mark.parametrize(
    "make, x, said",
    [
        (lambda x: x.argmax(-1), torch.rand(3, 2), "gives int64 values: wanted real numbers .give the logits"),
        (lambda x: x.to(torch.complex64), torch.rand(3, 2), "give its real parts"),
        (lambda x: x.sum(), torch.rand(3, 2), "wanted one row out for each row in"),
        (lambda x: "text", torch.rand(3, 2), "gives no tensor, but a str"),
        (lambda x: x, torch.zeros(3, 2, dtype=torch.long), "is given whole numbers .int64."),
        (lambda x: x, torch.zeros(0, 2), "the batches have no rows"),
        (lambda x: x, "text", "is given no tensor"),
    ],
)
def test_what_cannot_be_recorded_is_said(make, x, said):
    with pytest.raises(DataError, match=said):
        Block(Odd(make), "part").record([(x,)])


def test_a_function_is_recorded_too():
    taken = Block(None, lambda x: x[:, :1] * 2).record([torch.rand(30, 3), (torch.rand(30, 3),)], rows=100)
    assert torch.equal(taken.Y, taken.X[:, :1] * 2)
    with pytest.raises(ValueError, match="no place in a network"):
        Block(None, torch.sin).replace(lambda rows, _: rows)
    with pytest.raises(DataError, match="NoneType: wanted a torch.nn.Module"):
        Block(None, "body")


def test_the_digest_changes_with_any_weight(model):
    before = Block(model, "twice").digest()
    assert before == Block(model, "twice").digest() and len(before) == 16
    with torch.no_grad():
        model.twice.bias[0] += 1e-6
    assert Block(model, "twice").digest() != before
    assert Block(networks.Net(), "body").digest() != ""
