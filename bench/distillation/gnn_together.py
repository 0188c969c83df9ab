"""Graph networks of one shape that train side by side, in half the time that they take one after another.

Layers this small leave a processor waiting for torch's next call; S networks as one batch of matrix products do not.  Each network
sees its own batches, has its own clipped gradient and its own place in Adam: what it learns is what it would have learned alone,
up to rounding.
"""

from __future__ import annotations

import pathlib

import numpy as np
import torch
from torch import nn

from bench.distillation import gnn, particles
from bench.distillation.steps import Limit, train

GROUP = 4  # networks at a time: 1.21 ms a network and step, against 2.37 alone; 16 at a time have 1.16


class Together(nn.Module):
    """S GraphNetworks: every parameter stacked, those of network s at [s]."""

    def __init__(self, networks: list[gnn.GraphNetwork]):
        super().__init__()
        self.names = [name for name, _ in networks[0].named_parameters()]
        self.stacked = nn.ParameterList(
            torch.stack([dict(network.named_parameters())[name].detach() for network in networks])
            for name in self.names
        )

    def forward(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(accelerations (S, B, n, 2), messages (S, B n (n - 1), m)) of states (S, B, n, 6)."""
        S, B, n, _ = state.shape
        i, j = (torch.as_tensor(index) for index in particles.pairs(n))
        pairs = torch.cat([state[:, :, i], state[:, :, j]], -1).flatten(1, 2)  # (S, B n (n - 1), 12)
        messages = self._mlp("edge", pairs)
        received = messages.view(S, B, n, n - 1, -1).sum(3).flatten(1, 2)
        return self._mlp("node", received).view(S, B, n, 2) / state[..., 5:6], messages

    def _mlp(self, part: str, x: torch.Tensor) -> torch.Tensor:
        """gnn.mlp of every network on its own rows (S, N, d)."""
        of = dict(zip(self.names, self.stacked))
        layers = sorted({int(name.split(".")[1]) for name in self.names if name.startswith(part)})
        for layer in layers:
            weight, bias = of[f"{part}.{layer}.weight"], of[f"{part}.{layer}.bias"]
            x = torch.baddbmm(bias[:, None], x, weight.transpose(1, 2))
            if layer != layers[-1]:
                x = nn.functional.silu(x)
        return x

    def clip_gradients(self, most: float) -> None:
        """As torch.nn.utils.clip_grad_norm_, each network by its own norm."""
        grads = [p.grad for p in self.stacked]
        norm = sum(g.pow(2).flatten(1).sum(1) for g in grads).sqrt()
        factor = (most / (norm + 1e-6)).clamp(max=1.0)
        for g in grads:
            g.mul_(factor.view(-1, *[1] * (g.dim() - 1)))

    def state_of(self, s: int) -> dict[str, torch.Tensor]:
        """The state dictionary of network s."""
        return {name: p.detach()[s].clone() for name, p in zip(self.names, self.stacked)}


def trained(wanted: list[tuple[str, int]], folder: pathlib.Path, limit: Limit, steps: int = gnn.STEPS) -> None:
    """Train the first of the networks (law, seed), if it is not there yet, and with it the next that are not, GROUP in all.

    Each is left as gnn.trained() would leave it; its seconds are its share of the group's.
    """
    missing = [one for one in wanted if not _file(folder, one).exists()]
    if missing[:1] == wanted[:1]:
        _train_group(missing[:GROUP], folder, limit, steps)


def _file(folder: pathlib.Path, one: tuple[str, int]) -> pathlib.Path:
    return folder / f"{gnn.name_of(*one, gnn.MESSAGE)}.pt"


def _train_group(group: list[tuple[str, int]], folder: pathlib.Path, limit: Limit, steps: int) -> None:
    x, a = zip(*(gnn.kept_states(law, seed, folder) for law, seed in group))
    x, a = torch.tensor(np.stack(x), dtype=torch.float32), torch.tensor(np.stack(a), dtype=torch.float32)
    networks = []
    for _, seed in group:
        torch.manual_seed(seed)
        networks.append(gnn.GraphNetwork())
    model, place, n = Together(networks), torch.arange(len(group))[:, None], int(0.9 * x.shape[1])

    def loss_of_step(k):
        rows = np.stack([np.random.default_rng([seed, k]).integers(n, size=gnn.BATCH) for _, seed in group])
        found, messages = model(x[place, rows])
        miss = (found - a[place, rows]).abs().mean((1, 2, 3))
        return (miss + gnn.GAUGE * messages.pow(2).mean((1, 2))).sum()

    file = folder / f"together-{'-'.join(f'{law}-{seed}' for law, seed in group)}.pt"
    took = train(model, loss_of_step, steps, file, limit, rate=gnn.RATE, clip_gradients=model.clip_gradients)
    share = {"step": took["steps"], "seconds": took["seconds"] / len(group), "losses": took["losses"]}
    for s, one in enumerate(group):
        torch.save({"model": model.state_of(s), "done": share}, _file(folder, one))
    file.unlink()
