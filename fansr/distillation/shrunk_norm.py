"""A LayerNorm whose masked inputs were cut out, and what its readers must know of them.

A LayerNorm of n inputs of which some are 0 gives z_i = w_i (x_i - mean) / std + b_i, where the zeros count for mean and std, and for
a masked input w_i t + b_i with t = -mean / std.  Without them: means are over n all the same, and t is one output more.  A reader
then needs of all masked inputs together only the sum of its weights times w, for t, and of those times b, for its bias.
"""

from __future__ import annotations

import torch


class ShrunkNorm(torch.nn.Module):
    """(..., k) kept inputs of a LayerNorm of n to (..., k + 1): their normalized values, then t."""

    def __init__(self, norm: torch.nn.LayerNorm, kept: torch.Tensor):
        super().__init__()
        self.n, self.eps = norm.normalized_shape[0], norm.eps
        weight, bias = of(norm)
        self.weight, self.bias = torch.nn.Parameter(weight[kept].clone()), torch.nn.Parameter(bias[kept].clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The values, with t behind them."""
        mean = x.sum(dim=-1, keepdim=True) / self.n
        zeros = self.n - x.shape[-1]
        variance = (((x - mean) ** 2).sum(dim=-1, keepdim=True) + zeros * mean**2) / self.n
        scale = torch.rsqrt(variance + self.eps)
        return torch.cat([(x - mean) * scale * self.weight + self.bias, -mean * scale], dim=-1)


def of(norm: torch.nn.LayerNorm) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight (n,), bias (n,)) of a LayerNorm, 1 and 0 where it has none."""
    n = norm.normalized_shape[0]
    weight = torch.ones(n) if norm.weight is None else norm.weight.detach()
    return weight, torch.zeros_like(weight) if norm.bias is None else norm.bias.detach()


def give_masked(reader: torch.nn.Linear, norm: torch.nn.LayerNorm, masked: torch.Tensor, offset: int) -> None:
    """What a reader has of the masked inputs, as one column for t behind those of the norm (from `offset` on) and in its bias."""
    weight, bias = of(norm)
    n = norm.normalized_shape[0]
    W = reader.weight.detach()
    read = W[:, offset + masked]  # (outputs, masked)
    column, constant = read @ weight[masked], read @ bias[masked]
    W = torch.cat([W[:, : offset + n], column[:, None], W[:, offset + n :]], dim=1)
    reader.weight = torch.nn.Parameter(W, reader.weight.requires_grad)
    old = torch.zeros_like(constant) if reader.bias is None else reader.bias.detach()
    reader.bias = torch.nn.Parameter(old + constant, reader.weight.requires_grad)
