"""Units of a layer that a network can do without: how much each matters, masks in training, and a layer that is really smaller.

    pruner = Pruner(model, "edge.4", to=2, steps=2000)      # 100 messages to 2, in the user's own training loop
    for batch in loader:
        ...; optimizer.step(); pruner.step()
    pruner.shrink(into="node.0")

Knows torch's Linear and Conv1d, and nothing of laws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from fansr.distillation import shrunk_norm
from fansr.distillation.block import Block
from fansr.distillation.judging import losses
from fansr.distillation.places import call
from fansr.errors import DataError

EXACT = 256  # units up to which each is tried by itself
SCHEDULES: dict[
    str, Callable[[float], float]
] = {  # share of the way from all units to those wanted, at share t of the steps
    "cosine": lambda t: 0.5 - 0.5 * math.cos(math.pi * t),
    "exp": lambda t: (1 - math.exp(-5 * t)) / (1 - math.exp(-5)),
    "linear": lambda t: t,
}


def importance(
    block: Block, loss: Callable[[Any, Any], Any], batches: Sequence[Any], mean: torch.Tensor, exact: bool | None = None
) -> torch.Tensor:
    """(m,) the increase of the mean loss when a unit is held at its mean (m,).

    exact: each unit by itself, one pass over the batches each (default up to EXACT units); otherwise to first order, the mean of
    |sum over rows of d loss / d unit * (unit - mean)| from one pass (Molchanov et al. 2017, there about 0).
    """
    m = len(mean)
    if exact if exact is not None else m <= EXACT:
        base = losses(block, loss, batches).mean()
        found = []
        for unit in range(m):

            def held(X, original, unit=unit):
                Y = original().clone()
                Y[:, unit] = mean[unit].to(Y.dtype)
                return Y

            with block.replaced(held):
                found.append(float(losses(block, loss, batches).mean() - base))
        return torch.tensor(found, dtype=torch.float64)
    total = torch.zeros(m, dtype=torch.float64)
    seen: list[torch.Tensor] = []

    def watched(X, original):
        Y = original()
        Y = Y if Y.requires_grad else Y.detach().requires_grad_(True)
        Y.retain_grad()
        seen.append(Y)
        return Y

    with block.replaced(watched), block.calm(), torch.enable_grad():
        for batch in batches:
            seen.clear()
            value = loss(block.model, batch)
            grads = torch.autograd.grad(value, list(seen), allow_unused=True)
            for Y, g in zip(seen, grads):
                if g is not None:
                    total += ((Y.detach() - mean.to(Y.dtype)) * g).sum(dim=0).abs().double().cpu()
    return total / max(1, len(batches))


class Pruner:
    """Masks units of the layer at `at` (Linear or Conv1d), more and more of them until `to` are left after `steps` calls of step().

    Which ones is told by the spread of their values so far, a running mean over calls (SymTorch's measure), or by `set_importance`.
    A masked unit is 0.  The mask is a hook: the layer's weights stay until shrink().
    """

    def __init__(
        self, model: torch.nn.Module, at: str, to: int, steps: int, schedule: str = "cosine", memory: float = 0.99
    ):
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule={schedule!r}: wanted one of {', '.join(SCHEDULES)}")
        self.block = Block(model, at)
        self.layer = self.block.module
        if not isinstance(self.layer, (torch.nn.Linear, torch.nn.Conv1d)) or getattr(self.layer, "groups", 1) != 1:
            raise DataError(f"{at} is a {type(self.layer).__name__}: wanted a Linear, or a Conv1d of one group")
        self.model, self.at = model, at
        self.n = self.layer.weight.shape[0]
        if not 1 <= to <= self.n:
            raise ValueError(f"to={to!r}: wanted 1 to {self.n} units")
        self.to, self.steps, self.schedule, self.memory = to, max(1, steps), schedule, memory
        self.taken = 0
        self.mask = torch.ones(self.n, dtype=self.layer.weight.dtype, device=self.layer.weight.device)
        self.spread = torch.zeros(self.n, dtype=torch.float64)
        self._told: torch.Tensor | None = None
        self._handle = self.layer.register_forward_hook(self._masked)

    @property
    def dim(self) -> int:
        """Of a value of the layer, along which its units are counted."""
        return -1 if isinstance(self.layer, torch.nn.Linear) else 1

    def _masked(self, _module, _args, value):
        if self.layer.training:
            with torch.no_grad():
                flat = value.detach().movedim(self.dim, -1).reshape(-1, self.n)
                if len(flat) > 1:
                    now = flat.std(dim=0).double().cpu()
                    self.spread = now if not self.taken else self.memory * self.spread + (1 - self.memory) * now
        shape = [1] * value.dim()
        shape[self.dim] = self.n
        return value * self.mask.to(value.dtype).reshape(shape)

    def set_importance(self, values: torch.Tensor) -> None:
        """(n,) what a unit is worth, from now on instead of its spread."""
        self._told = torch.as_tensor(values, dtype=torch.float64)

    def wanted(self) -> int:
        """Units that stay at this point of the schedule."""
        share = SCHEDULES[self.schedule](min(1.0, self.taken / self.steps))
        return max(self.to, round(self.n - share * (self.n - self.to)))

    def step(self, model: Any = None) -> int:
        """After an optimizer's step: mask what the schedule says; how many units are left.  A masked unit stays so."""
        self.taken += 1
        worth = (self.spread if self._told is None else self._told).clone()
        alive = self.mask.cpu() > 0
        worth[~alive] = -math.inf
        kept = torch.topk(worth, min(self.wanted(), int(alive.sum()))).indices
        self.mask.zero_()
        self.mask[kept.to(self.mask.device)] = 1
        return len(kept)

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, for a training that goes on later: as an optimizer's, kept beside the model's own."""
        return {"taken": self.taken, "mask": self.mask.clone(), "spread": self.spread.clone(), "told": self._told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state_dict() of the same layer."""
        if state["mask"].shape != self.mask.shape:
            raise DataError(f"{self.at}: a state of {len(state['mask'])} units, the layer has {self.n}")
        self.taken, self._told = int(state["taken"]), state["told"]
        self.mask.copy_(state["mask"])
        self.spread = state["spread"].clone()

    @property
    def left(self) -> list[int]:
        """Units that are not masked, in order."""
        return self.mask.cpu().nonzero().squeeze(1).tolist()

    def remove(self) -> None:
        """The mask taken off."""
        self._handle.remove()

    def shrink(self, into: str | Sequence[str], offset: int = 0, norm: str | None = None) -> list[int]:
        """Cut the masked units out: rows of the layer, and the columns of the layers at `into` (Linear or Conv1d) that read them,
        from `offset` on.  The network's outputs stay those of the masked one.  Returns the units that are left.

        What stands between must treat each unit by itself and give 0 for 0 or be given to all readers alike (ReLU, tanh, GELU,
        sums over edges).  norm: the path of a LayerNorm over all units that the readers read; it mixes them, so that a ShrunkNorm
        takes its place, which gives the readers one value more.
        """
        readers = [into] if isinstance(into, str) else list(into)
        found = []
        for path in readers:
            reader = Block(self.model, path).module
            if not isinstance(reader, (torch.nn.Linear, torch.nn.Conv1d)) or getattr(reader, "groups", 1) != 1:
                raise DataError(f"{path} is a {type(reader).__name__}: wanted a Linear, or a Conv1d of one group")
            if not 0 <= offset <= reader.weight.shape[1] - self.n:
                width = reader.weight.shape[1]
                raise DataError(f"{path} reads {width} values: {self.n} units do not fit from {offset} on")
            found.append(reader)
        kept = torch.tensor(self.left, device=self.layer.weight.device)
        between = None if norm is None else self._norm(norm, found)
        masked = (self.mask == 0).nonzero().squeeze(1)
        cut_rows(self.layer, kept)
        for reader in found:
            if between is not None:
                shrunk_norm.give_masked(reader, between, masked, offset)
                at = torch.cat([kept.cpu(), torch.tensor([self.n])])  # the value more stands behind the units
                n = self.n + 1
            else:
                at, n = kept.cpu(), self.n
            after = torch.arange(offset + n, reader.weight.shape[1])
            cut_columns(reader, torch.cat([torch.arange(offset), offset + at, after]).to(reader.weight.device))
        if between is not None:
            parent, _, name = norm.rpartition(".")
            owner = self.model.get_submodule(parent)
            owner._modules[name] = shrunk_norm.ShrunkNorm(between, kept)
        self.remove()
        return kept.tolist()

    def _norm(self, path: str, readers: Sequence[torch.nn.Module]) -> torch.nn.LayerNorm:
        norm = Block(self.model, path).module
        if not isinstance(norm, torch.nn.LayerNorm) or tuple(norm.normalized_shape) != (self.n,):
            what = getattr(norm, "normalized_shape", "")
            raise DataError(f"{path} is a {type(norm).__name__} {what}: wanted a LayerNorm over the {self.n} units")
        other = next((module for module in (self.layer, *readers) if not isinstance(module, torch.nn.Linear)), None)
        if other is not None:
            raise DataError(f"{path}: a LayerNorm is cut between Linear layers, not beside a {type(other).__name__}")
        return norm


def cut_rows(layer: torch.nn.Linear | torch.nn.Conv1d, kept: torch.Tensor) -> None:
    """Leave only these outputs of a layer."""
    layer.weight = torch.nn.Parameter(layer.weight.detach()[kept].clone(), layer.weight.requires_grad)
    if layer.bias is not None:
        layer.bias = torch.nn.Parameter(layer.bias.detach()[kept].clone(), layer.bias.requires_grad)
    if isinstance(layer, torch.nn.Linear):
        layer.out_features = len(kept)
    else:
        layer.out_channels = len(kept)


def cut_columns(layer: torch.nn.Linear | torch.nn.Conv1d, kept: torch.Tensor) -> None:
    """Leave only these inputs of a layer."""
    layer.weight = torch.nn.Parameter(layer.weight.detach()[:, kept].clone(), layer.weight.requires_grad)
    if isinstance(layer, torch.nn.Linear):
        layer.in_features = len(kept)
    else:
        layer.in_channels = len(kept)


def activity(block: Block, batches: Sequence[Any], run: Callable | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """(means (m,), standard deviations (m,)) of a block's units over all rows of the batches, in float64."""
    count, total, square = 0, 0.0, 0.0
    parts: list[torch.Tensor] = []
    handle = block.module.register_forward_hook(
        lambda _m, args, value: parts.append(block.pairs(args, {}, value)[1].detach().double())
    )
    try:
        with block.calm(), torch.no_grad():
            for batch in batches:
                parts.clear()
                run(block.model, batch) if run is not None else call(block.model, batch)
                for Y in parts:
                    count, total, square = count + len(Y), total + Y.sum(dim=0), square + (Y * Y).sum(dim=0)
    finally:
        handle.remove()
    if not count:
        raise DataError(f"{block.name} is never called")
    mean = total / count
    return mean, (square / count - mean * mean).clamp(min=0).sqrt()
