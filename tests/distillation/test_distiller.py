"""The whole way on a block that is a law: what comes back is that law, and the model is as it was."""

import networks
import numpy as np
import pytest
import torch

from fansr.distill import Distiller, UnitLaw
from fansr.errors import DataError

LAWS = {
    0: UnitLaw(0, tuple("+ * <constant> sin * <constant> x1 / pow2 x2 + <constant> x3".split()), (2.0, 3.0, 1.0), ("x1", "x2", "x3"), 0.0),
    1: UnitLaw(1, tuple("+ * x1 x2 <constant>".split()), (0.5,), ("x1", "x2", "x3"), 0.0),
}  # fmt: skip


@pytest.fixture
def net():
    torch.manual_seed(0)
    return networks.Net()


def told(net, **how):
    """A distiller that was told the laws instead of searching for them."""
    d = Distiller(net, "body").record(networks.batches(), rows=200, **how)
    for unit, law in LAWS.items():
        d.choose(unit, law=law)
    return d


def test_the_planted_laws_are_found_and_change_nothing(net):
    d = Distiller(net, "body").record(networks.batches(), rows=300)
    d.fit(time=2, jobs=1, proposers="power,sums,library,pairs")
    X = np.random.default_rng(0).uniform(0, 1, (50, 3))
    truth = networks.Planted()(torch.as_tensor(X)).numpy()
    assert d.status[1] == "ok" and d.laws[1].length == 5
    assert np.allclose(d._values(d.laws[1], torch.as_tensor(X)), truth[:, 1], atol=1e-6)
    assert d.laws[0] is not None and d.laws[0].fvu_held < 0.5  # how far it comes in two seconds is the machine's to say
    assert list(d.table()["unit"]) == [0, 1] and d.table()["law"][1] == d.laws[1].infix()


@pytest.mark.prove
def test_both_planted_laws_are_found_whole(net):
    """With all proposers and rows over more than one wave: the laws themselves, also outside the rows they were told."""
    d = Distiller(net, "body").record([(3 * x,) for (x,) in networks.batches()], rows=500)
    d.fit(time=60, jobs=1)
    X = torch.as_tensor(np.random.default_rng(1).uniform(0, 6, (200, 3)))
    truth = networks.Planted()(X).numpy()
    for unit in (0, 1):
        assert np.allclose(d._values(d.laws[unit], X), truth[:, unit], rtol=1e-4, atol=1e-4), str(d.laws[unit])
    held = [(3 * x,) for (x,) in networks.batches(3, seed=5)]
    became = d.switch(loss=networks.square_loss, batches=held)
    assert abs(became["loss"] - became["original"]) < 1e-5 * became["original"]


def test_switching_to_the_truth_changes_nothing_and_restore_gives_the_same_bits(net):
    d, held = told(net), networks.batches(3, seed=5)
    before = [net(*batch) for batch in held]
    weights = {name: value.clone() for name, value in net.state_dict().items()}
    became = d.switch(loss=networks.square_loss, batches=held)
    assert abs(became["loss"] - became["original"]) < 1e-6 and min(became["r2"].values()) > 1 - 1e-9
    assert all(torch.allclose(net(*batch), out, atol=1e-5) for batch, out in zip(held, before))
    assert d.block.is_replaced and became["neural"] == []
    d.restore()
    assert all(torch.equal(net(*batch), out) for batch, out in zip(held, before))
    assert all(torch.equal(value, weights[name]) for name, value in net.state_dict().items())
    with pytest.raises(ZeroDivisionError), d.switched():
        assert d.block.is_replaced
        raise ZeroDivisionError
    assert not d.block.is_replaced and "forward" not in net.body.__dict__


def test_a_unit_without_a_law_stays_neural(net):
    d = told(net)
    batch = networks.batches(1, seed=3)[0]
    before = net.body(*batch)
    outcome = d.switch(units=[1])
    assert outcome["neural"] == [0]
    assert torch.equal(net.body(*batch)[..., 0], before[..., 0])
    d.laws[0], d.status[0] = None, "no law"
    with pytest.raises(DataError, match="unit 0 has no law .no law."):
        d.switch(units=[0])


def test_the_judge_knows_the_mean_and_the_linear_map(net):
    d = told(net)
    held = networks.batches(4, seed=9)
    rows = {row["name"]: row for row in d.judge(networks.square_loss, held, repeats=1)["rows"]}
    assert list(rows) == ["original", "mean", "linear map", "laws"]  # a rank of 2 would be the whole map
    mean = d.recorded.Y.mean(dim=0)
    by_hand = float(net.head(mean.expand(1, 2)).square().detach())
    assert rows["mean"]["loss"] == pytest.approx(by_hand, rel=1e-5)
    X = np.column_stack([d.recorded.X.double().numpy(), np.ones(len(d.recorded.X))])
    W = np.linalg.lstsq(X, d.recorded.Y.double().numpy(), rcond=None)[0]
    losses = [
        networks.square_loss(
            lambda x: net.head((x.double() @ torch.as_tensor(W[:3]) + torch.as_tensor(W[3])).float()), b
        )
        for b in held
    ]
    assert rows["linear map"]["loss"] == pytest.approx(float(torch.stack(losses).mean().detach()), rel=1e-4)
    assert rows["laws"]["change"] == pytest.approx(0, abs=1e-6) and rows["laws"]["tokens"] == 18
    assert not d.block.is_replaced


def test_rows_beyond_the_ranges_go_through_the_block(net):
    """Guard "block": those rows have the block's own bits, the others the laws' values; and the judge counts them."""
    d = told(net)
    d.choose(
        1, law=UnitLaw(1, ("*", "<constant>", "x1"), (7.0,), ("x1", "x2", "x3"), 0.5)
    )  # a wrong law shows who answered
    x = torch.rand(30, 3)
    x[:10] += 5
    own = net.body(x)
    d.switch(guard="block")
    out = net.body(x)
    assert torch.equal(out[:10], own[:10]) and torch.allclose(out[10:, 1], 7 * x[10:, 0])
    d.restore()
    d.recorded.X_held[:5] += 5
    assert d.judge(networks.square_loss, networks.batches(1), repeats=1)["outside"] == 5


def test_without_a_law_the_baselines_stand_alone(net):
    d = Distiller(net, "body").record(networks.batches(), rows=200)
    rows = d.judge(networks.square_loss, networks.batches(2), repeats=1)["rows"]
    assert [row["name"] for row in rows] == ["original", "mean", "linear map"]
    with pytest.raises(DataError, match="no unit has a law"):
        d.switch()


def test_replace_is_surgery(net):
    d, (batch,) = told(net), networks.batches(1, seed=2)
    before = net(*batch)
    there = d.replace()
    assert net.body is there and not any(isinstance(m, networks.Planted) for m in net.modules())
    assert torch.allclose(net(*batch), before, atol=1e-5)


def test_what_it_says_of_wrong_calls(net):
    net.spare = torch.nn.Linear(3, 3)
    with pytest.raises(DataError, match="no part 'bdy'; the nearest are body"):
        Distiller(net, "bdy")
    with pytest.raises(ValueError, match="record"):
        Distiller(net, "body").fit()
    with pytest.raises(DataError, match="held-out rows"):
        Distiller(net, "body").record(networks.batches(2, (5, 3)))
    with pytest.raises(DataError, match="no unit 7"):
        Distiller(net, "body").record(networks.batches(), units=[7])
    with pytest.raises(DataError, match="100 outputs: give pca_out=8 .--pca-out 8., or units"):
        Distiller(torch.nn.Sequential(torch.nn.Linear(3, 100)), "0").record(networks.batches())
    d = told(net)
    d.choose(1, law=UnitLaw(1, ("x2",), (), ("x1", "speed"), 0.1))
    with pytest.raises(DataError, match="the law of unit 1 speaks of 'speed', which body is not given"):
        d.switch()
    with pytest.raises(DataError, match="no law of at most 3 tokens"):
        d.choose(0, length=3)
    with pytest.raises(ValueError, match="guard='clamp': wanted one of clip"):
        told(net).switch(guard="clamp")
    with pytest.raises(ValueError, match="linear='half': wanted"):
        Distiller(net, "body").record(networks.batches(), linear="half")
    with pytest.raises(DataError, match="rows of 4 values came, the laws were found on rows of 3"):
        told(net).make_layer()(torch.rand(2, 4))
    with pytest.raises(DataError, match="never called"):
        Distiller(net, "spare").record(networks.batches())
