"""Which rows are kept: strata against their definition by hand, a cache that knows what rows depend on, columns by gradient."""

import networks
import numpy as np
import pytest
import torch

from fansr.distill import Distiller
from fansr.distillation import record_cache
from fansr.distillation.block import Block
from fansr.distillation.reservoir import StratifiedReservoir, shares
from fansr.errors import DataError


def cauchy(n=4000):
    return torch.tensor(np.random.default_rng(0).standard_cauchy((n, 1)), dtype=torch.float32)


def test_strata_have_equal_shares_and_each_row_of_one_the_same_chance():
    values = cauchy(2001)  # an odd number: torch takes the lower of two middles, numpy their mean
    median = np.median(values.numpy())
    spread = np.median(abs(values.numpy() - median))
    stratum = np.clip(np.floor(np.log2(np.maximum(abs(values.numpy()[:, 0] - median), 1e-9) / spread)), 0, 3)
    there = [int((stratum == k).sum()) for k in range(4)]
    counts = np.zeros(2001)
    for seed in range(200):
        reservoir = StratifiedReservoir(100, 1000 * seed, 4)
        reservoir.add(values, values)
        X, Y = reservoir.rows()
        assert torch.equal(X, Y) and len(X) == 100 == len(reservoir)
        at = [int((values[:, 0] == x).nonzero()[0]) for x in X[:, 0]]
        assert at == sorted(at)
        counts[at] += 1
    for k, n in enumerate(there):
        drawn = counts[stratum == k]
        assert drawn.sum() == 200 * 25
        p = 25 / n  # each count is Binomial(200, p), with one bond between them
        chi2 = ((drawn - 200 * p) ** 2).sum() / (200 * p * (1 - p))
        assert abs(chi2 - n) < 6 * np.sqrt(2 * n)


def test_shares_against_filling_one_row_at_a_time():
    rng = np.random.default_rng(1)
    for _ in range(200):
        there, wanted = rng.integers(0, 12, rng.integers(1, 6)).tolist(), int(rng.integers(1, 30))
        given = [0] * len(there)
        for _ in range(min(wanted, sum(there))):
            open_ = [k for k in range(len(there)) if given[k] < there[k]]
            given[min(open_, key=lambda k: given[k])] += 1
        found = shares(there, wanted)
        assert sorted(found) == sorted(given) and all(a <= b for a, b in zip(found, there))


def test_a_block_is_recorded_by_strata_in_both_parts():
    class Tail(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.part = torch.nn.Identity()

        def forward(self, x):
            return self.part(x)

    batches = [(part,) for part in cauchy().split(200)]
    plain = Block(Tail(), "part").record(batches, rows=200)
    far = Block(Tail(), "part").record(batches, rows=200, strata=6)
    for name in ("Y", "Y_held"):
        tails = [int((getattr(taken, name).abs() > 16).sum()) for taken in (plain, far)]
        assert tails[1] > 3 * tails[0] and len(getattr(far, name)) == 200


def test_rows_come_from_the_cache_until_anything_they_depend_on_changes(tmp_path):
    passed = []
    model = networks.Net(torch.nn.Sequential(networks.Planted(), torch.nn.Linear(2, 2)))

    def record(model, batches=None, **how):
        hook = model.body.register_forward_hook(lambda *_: passed.append(1))
        d = Distiller(model, "body.0")
        d.record(batches or networks.batches(6), rows=100, cache=tmp_path, **how)
        hook.remove()
        return d

    first = record(model)
    assert passed and not first.from_cache
    passed.clear()
    again = record(model, inputs={"d": "x1 - x2"})  # another column, the same rows
    assert again.from_cache and not passed and again.columns.names == ["x1", "x2", "x3", "d"]
    for name in ("X", "Y", "X_held", "Y_held"):
        assert torch.equal(getattr(first.recorded, name), getattr(again.recorded, name))
    assert again.recorded.seen == first.recorded.seen
    assert again.block.squeezed == first.block.squeezed and again.block.plain == first.block.plain
    changed = networks.batches(6)
    changed[3][0][0, 0] += 1e-4
    assert not record(model, changed).from_cache and not record(model, strata=3).from_cache
    assert not record(model, about="another script").from_cache
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-6
    assert not record(model).from_cache and record(model).from_cache
    for file in tmp_path.glob("*.safetensors"):
        file.write_bytes(b"no longer one")
    assert not record(model).from_cache


def test_the_cache_keeps_few_files(tmp_path, monkeypatch):
    monkeypatch.setattr(record_cache, "MOST_FILES", 3)
    for rows in range(60, 66):
        Distiller(networks.Net(), "body").record(networks.batches(6), rows=rows, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_salient_columns_are_those_of_the_largest_derivative_by_hand():
    """y = 3 a + b^2 / 10 over standard columns: a, then the made a + b, then b, and c not at all."""
    torch.manual_seed(0)
    batches = [(torch.randn(100, 3),) for _ in range(6)]

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.part = Part()

        def forward(self, x):
            return self.part(x)

    class Part(torch.nn.Module):
        def forward(self, x):
            return 3 * x[..., :1] + x[..., 1:2] ** 2 / 10

    def offered(salient):
        d = Distiller(Net(), "part").record(batches, names=["a", "b", "c"], inputs={"s": "a + b"}, salient=salient)
        return d.problems()[0].names

    assert [offered(k) for k in (1, 2, 3)] == [["a"], ["a", "s"], ["a", "b", "s"]]

    class Steps(Part):
        def forward(self, x):
            return x[..., :1].detach().round()

    net = Net()
    net.part = Steps()
    with pytest.raises(DataError, match="no gradient"):
        Distiller(net, "part").record(batches, salient=1)
