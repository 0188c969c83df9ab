"""Random networks, parts and options: a line where something cannot be, and never anything else; the network is as it was."""

import numpy as np
import pytest
import torch
from random_trees import random_tree
from torch import nn

from fansr.distill import Distiller, UnitLaw
from fansr.errors import DataError
from fansr.expressions import n_constants


class Images(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.second = nn.Conv2d(2, width, 3, padding=1), nn.Conv2d(width, 3, 3, stride=2)
        self.norm, self.head = nn.BatchNorm2d(width), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.second(torch.relu(self.norm(self.first(x)))).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.embed = nn.Embedding(11, width)
        self.attend = nn.MultiheadAttention(width, 1, batch_first=True)
        self.norm, self.mlp = (
            nn.LayerNorm(width),
            nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)),
        )
        self.head = nn.Linear(width, 11)

    def forward(self, ids):
        x = self.embed(ids)
        x = x + self.attend(x, x, x, need_weights=False)[0]
        return self.head(x + self.mlp(self.norm(x)))


class Words(nn.Module):
    """Gives a dictionary, a tuple or a named part, and is called by name."""

    def __init__(self, width):
        super().__init__()
        self.line = nn.Linear(3, width)

    def forward(self, *, x, scale=1.0):
        h = self.line(x) * scale
        return {"hidden": h, "best": h.argmax(-1), "more": (h, None)}


class Named(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.words, self.shared, self.head = Words(width), nn.Linear(width, width), nn.Linear(width, 1)

    def forward(self, x):
        h = self.words(x=x)["hidden"]
        for _ in range(3):
            h = torch.tanh(self.shared(h))
        return self.head(h).squeeze(-1)


class Ratio(nn.Module):
    """Not finite for some rows, and a buffer besides weights."""

    def __init__(self, width):
        super().__init__()
        self.register_buffer("offset", torch.zeros(1))
        self.part = nn.Identity()
        self.head = nn.Linear(width, 1)

    def forward(self, x):
        return self.head(torch.log(self.part(x) - self.offset).nan_to_num(0, 0, 0))


def random_network(rng):
    """(model, batches) of a random kind."""
    width, n = int(rng.integers(1, 7)), int(rng.choice([0, 1, 60, 100]))
    kind = rng.integers(6)
    many = int(rng.choice([1, 2, 4]))
    if kind == 0:
        depth = int(rng.integers(1, 4))
        layers = [nn.Linear(4, width)]
        for _ in range(depth):
            layers += [rng.choice([nn.Tanh, nn.ReLU, nn.GELU])(), nn.Linear(width, width)]
        shape = [(n, 4), (n, 3, 4), (4,), (2, n, 2, 4)][rng.integers(4)]
        return nn.Sequential(*layers), [(torch.randn(shape),) for _ in range(many)]
    if kind == 1:
        return Images(width), [(torch.randn(n, 2, 6, 5),) for _ in range(many)]
    if kind == 2:
        return Attention(width), [(torch.randint(0, 11, (n, 5)),) for _ in range(many)]
    if kind == 3:
        return Named(width), [
            {"x": torch.randn(n, 3)} if rng.random() < 0.5 else (torch.randn(n, 3),) for _ in range(many)
        ]
    if kind == 4:
        return Ratio(width), [torch.rand(n, width) * rng.choice([1.0, -1.0, np.inf]) for _ in range(many)]
    return nn.Sequential(nn.Linear(3, width), nn.Dropout(0.5), nn.Flatten(), nn.Linear(width, 2)).double(), [
        (torch.randn(n, 3).double(),) for _ in range(many)
    ]


def values(model, batches):
    model.eval()
    with torch.no_grad():
        return [model(**b) if isinstance(b, dict) else model(*b) if isinstance(b, tuple) else model(b) for b in batches]


def laws(rng, d):
    """Random laws for some of the units."""
    for unit in d.units:
        if rng.random() < 0.8:
            expr = random_tree(rng, 3, len(d.offered))
            d.choose(
                unit,
                law=UnitLaw(
                    unit, tuple(expr), tuple(rng.normal(size=n_constants(expr)).tolist()), tuple(d.offered), 1.0
                ),
            )


def try_one(seed, folder):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    model, batches = random_network(rng)
    try:
        before = values(model, batches)
    except (RuntimeError, ValueError):  # this network takes no such batch itself (no rows, one row too few)
        return "no network"
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    paths = [path for path, _ in model.named_modules()]
    plain = rng.random() < 0.6
    how = {
        "argument": rng.choice([None, None, None, "0", "x", "input,input"]),
        "output": rng.choice([None, None, "0", "hidden", "7"]),
        "layout": rng.choice(["last", "last", "channels", "patch:3"]),
        "call": None if rng.random() < 0.7 else int(rng.integers(3)),
    }
    if plain:
        how = dict.fromkeys(how) | {"layout": "last"}
    steps = "made"
    d = None
    try:
        d = Distiller(
            model,
            str(rng.choice(paths)),
            **{k: None if v is None else (int(v) if k == "call" else str(v)) for k, v in how.items()},
        )
        d.record(
            batches,
            rows=int(rng.choice([1, 60, 500])),
            held=float(rng.choice([0.0, 0.5])),
            units=None if rng.random() < 0.7 else [0],
            pca_in=None if plain or rng.random() < 0.7 else float(rng.choice([0.9, 2, 50])),
            pca_out=None if plain or rng.random() < 0.7 else int(rng.choice([1, 2, 50])),
            linear=str(rng.choice(["none", "none", "full"])),
            inputs={"made": "x1**2"} if rng.random() < 0.3 else None,
        )
        steps = "recorded"
        d.problems()
        laws(rng, d)
        d.table()
        d.judge(
            lambda m, b: torch.as_tensor(values(m, [b])[0], dtype=torch.float64).square().mean(), batches, repeats=1
        )
        steps = "judged"
        d.save(str(folder / "laws.zst"))
        Distiller.load(str(folder / "laws.zst"), model).switch(guard="none")
        values(model, batches)
        values_left = d.block.module.__dict__.pop("forward")  # the loaded one's
        assert callable(values_left)
        d.switch(guard=str(rng.choice(["clip", "block", "none"])), engine=str(rng.choice(["auto", "torch", "numba"])))
        values(model, batches)
        steps = "switched"
        d.restore()
        d.save_switched(str(folder / "net"))
    except (DataError, ValueError) as error:
        assert str(error).strip() and "\n" not in str(error), repr(error)
    finally:
        if d is not None:
            d.restore()
    after = values(model, batches)
    assert all(torch.equal(torch.nan_to_num(a), torch.nan_to_num(b)) for a, b in zip(before, after)), seed
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert not any("forward" in module.__dict__ or module._forward_hooks for module in model.modules())
    return steps


def test_a_handful_of_random_networks(tmp_path):
    steps = [try_one(seed, tmp_path) for seed in range(25)]
    assert "switched" in steps or "judged" in steps


@pytest.mark.prove
def test_random_networks(tmp_path):
    steps = [try_one(seed, tmp_path) for seed in range(300)]
    counts = {step: steps.count(step) for step in set(steps)}
    print(counts)
    assert counts.get("switched", 0) >= 20, counts
