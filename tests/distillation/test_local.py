"""A law around one row beside a linear map, on neighbours that neither has seen."""

import networks
import numpy as np
import pytest
import torch

from fansr.distill import Distiller
from fansr.distillation.local import weighted_r2
from fansr.errors import DataError


class Ring(torch.nn.Module):
    """A curved function of the first two of five values."""

    def forward(self, x):
        return (x[..., :1] * x[..., 1:2]) ** 2 + 3 * x[..., :1]


def test_the_law_of_the_neighbourhood_beats_the_line():
    model = torch.nn.Sequential(Ring(), torch.nn.Linear(1, 1))
    d = Distiller(model, "0").record(networks.batches(8, (50, 5)), rows=300, held=0.0)
    found = d.local(7, time=None, proposers="power,sums")
    assert found["r2"] > 0.999 > found["linear_r2"] and found["length"] <= 20
    assert (
        set(found["linear"]) == {"x1", "x2", "x3", "x4", "x5", "1"} and found["rows"] == 400 and found["fresh"] == 200
    )
    with pytest.raises(DataError, match="row 300: there are 300 recorded rows"):
        d.local(300)
    with pytest.raises(DataError, match="no unit 3"):
        d.local(0, unit=3)
    with pytest.raises(DataError, match="wanted .5,."):
        d.local([1.0, 2.0])


def test_weighted_r2():
    rng = np.random.default_rng(0)
    y, f, w = rng.normal(size=(3, 50))
    w = np.abs(w)
    repeated = np.rint(w * 20).astype(int)
    Y, F = np.repeat(y, repeated), np.repeat(f, repeated)
    by_hand = 1 - ((Y - F) ** 2).sum() / ((Y - Y.mean()) ** 2).sum()
    assert weighted_r2(y, f, repeated.astype(float)) == pytest.approx(by_hand)
