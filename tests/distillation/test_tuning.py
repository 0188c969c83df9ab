"""Constants by gradient on the whole network's loss, lengths by what each token gains."""

import itertools

import networks
import numpy as np
import pytest
import torch
from test_distiller import LAWS

from fansr.distill import Distiller, UnitLaw
from fansr.distillation.tuning import lengthened


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_tuning_brings_constants_to_those_of_the_loss(optimizer):
    """The loss is the distance to another network of the same form: its constants are the best ones."""
    torch.manual_seed(0)
    net = networks.Net()
    truth = {0: (2.0, 3.0, 1.0), 1: (0.5,)}
    d = Distiller(net, "body").record(networks.batches(), rows=200)
    for unit, law in LAWS.items():
        off = tuple(c * 1.05 for c in law.consts)
        d.choose(unit, law=UnitLaw(unit, law.expr, off, law.names, 1.0))
    held = networks.batches(4, seed=8)
    targets = {id(batch[0]): net.body(*batch) for batch in held}

    def loss(model, batch):
        return (model.body(*batch) - targets[id(batch[0])]).square().mean()

    outcome = d.tune(loss, held, steps=300 if optimizer == "adam" else 60, optimizer=optimizer)
    assert outcome["after"] < outcome["before"] / 100
    for unit, consts in truth.items():
        assert np.allclose(d.laws[unit].consts, consts, rtol=1e-2 if optimizer == "adam" else 1e-3)
    assert d.status == {0: "tuned", 1: "tuned"} and not d.block.is_replaced
    rows = {row["name"]: row for row in d.judge(loss, held, repeats=1)["rows"]}
    assert rows["laws tuned"]["loss"] < rows["laws"]["loss"]


def test_lengthening_meets_the_budget_with_no_more_tokens_than_needed():
    """Three units of four laws, their losses adding up: against all 64 combinations."""
    rng = np.random.default_rng(3)
    for _ in range(30):
        lengths = {u: sorted(rng.choice(np.arange(1, 30), 4, replace=False).tolist()) for u in range(3)}
        losses = {u: np.sort(rng.exponential(1, 4))[::-1].cumsum()[::-1] for u in range(3)}

        def loss_of(levels, losses=losses):
            return 1.0 + sum(float(losses[u][k]) for u, k in levels.items())

        whole = loss_of(dict.fromkeys(range(3), 3))
        every = [dict(zip(range(3), ks)) for ks in itertools.product(range(4), repeat=3)]
        for bar in (whole, 1.2 * whole):
            levels, value = lengthened(lengths, loss_of, bar, 1e-9)
            tokens = lambda chosen, lengths=lengths: sum(lengths[u][k] for u, k in chosen.items())  # noqa: E731
            best = min(tokens(c) for c in every if loss_of(c) <= bar * (1 + 1e-9))
            assert value == pytest.approx(loss_of(levels)) and value <= bar * (1 + 1e-9)
            assert best <= tokens(levels) <= 1.5 * best


def test_lengthening_stops_where_no_step_helps_and_passes_a_law_that_is_none():
    levels, value = lengthened({0: [1, 3, 5]}, lambda levels: {0: float("inf"), 1: 2.0, 2: 2.5}[levels[0]], 1.0, 0.0)
    assert levels == {0: 1} and value == 2.0


def test_laws_are_chosen_by_the_loss():
    torch.manual_seed(0)
    net = networks.Net()
    d = Distiller(net, "body").record(networks.batches(), rows=200)
    names = ("x1", "x2", "x3")
    short = {0: UnitLaw(0, ("<constant>",), (1.0,), names, 1.0), 1: UnitLaw(1, ("<constant>",), (0.75,), names, 1.0)}
    d.fronts = {unit: [short[unit], LAWS[unit]] for unit in LAWS}
    with torch.no_grad():
        net.head.weight.copy_(torch.tensor([[1.0, 1e-4]]))  # nobody looks at the second unit
    held = networks.batches(3)
    targets = {id(batch[0]): net(*batch).detach() for batch in held}

    def loss(model, batch):
        return 1 + (model(*batch) - targets[id(batch[0])]).square().mean()

    outcome = d.choose_by_loss(loss, held, budget=1e-4)
    assert d.laws[0] == LAWS[0] and d.laws[1] == short[1]
    assert outcome["loss"] == pytest.approx(outcome["original"], rel=1e-4) and outcome["tokens"] == 14
