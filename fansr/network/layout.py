"""How a network lies over the processes of a joint run: whole on each of them (torch's DDP) or each with its part of every
weight, gradient and moment (torch's FSDP, the third stage of ZeRO; Rajbhandari et al. 2020, arXiv 1910.02054).

Both take the mean of the processes' gradients.  Knows nothing of data, steps or files.
"""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor, nn

from fansr.errors import DataError
from fansr.network import device
from fansr.network.architecture import Model


def distribute(model: Model, layout: str, where: device.Device) -> nn.Module:
    """What a training step calls in the place of `model`, whose parameters it shares; in a run of one `model` itself.

    Sharded, parameters become DTensors, in place: to be done before an optimizer is made.
    """
    if device.world() == 1:
        return model
    if layout == "sharded":
        from torch.distributed.device_mesh import init_device_mesh

        try:
            from torch.distributed.fsdp import fully_shard
        except ImportError:
            raise DataError(f"--layout sharded needs torch 2.6 or newer, here is {torch.__version__}") from None
        mesh = init_device_mesh(where.device.type, (device.world(),))
        encoder = ("layers",) if model.config.encoder == "table" else ("gather", "spread", "refine")
        for part in (*(getattr(model.encoder, name) for name in encoder), model.decoder.layers):
            for layer in part:
                fully_shard(layer, mesh=mesh)
        return fully_shard(model, mesh=mesh)
    return nn.parallel.DistributedDataParallel(
        model,
        device_ids=[where.device] if where.device.type == "cuda" else None,
        find_unused_parameters=model.config.post_norm,
    )


@contextlib.contextmanager
def gradients_kept(forward: nn.Module, kept: bool):
    """While `kept`, a backward pass adds to each process's own gradients and leaves their mean for a later one."""
    if kept and isinstance(forward, nn.parallel.DistributedDataParallel):
        with forward.no_sync():
            yield
        return
    if hasattr(forward, "set_requires_gradient_sync"):
        forward.set_requires_gradient_sync(not kept)
    yield


def clip(model: Model, most: float) -> float:
    """Scale all gradients down to a norm of `most` over all processes; their norm before."""
    return float(whole(nn.utils.clip_grad_norm_(model.parameters(), most)))


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which each process holds a part, gathered: to be called on all of them; any other as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def like(value: Tensor, parameter: Tensor) -> Tensor:
    """`value`, the same on all processes, laid out as `parameter` is: each takes its part."""
    value = value.to(parameter.device)
    if not hasattr(parameter, "full_tensor"):
        return value
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value, parameter.device_mesh, parameter.placements)


@torch.no_grad()
def fill(model: Model, weights: dict[str, Tensor]) -> None:
    """Take the weights of a whole network over into one that may be sharded."""
    for name, parameter in model.named_parameters():
        parameter.copy_(like(weights[name], parameter))
