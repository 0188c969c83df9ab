"""What both encoders and the decoder are made of: norms, attention, feed-forward.  Letters as in architecture.py."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fansr.network.configuration import EPSILON

# ---------------------------------------------------------------------------------------------- norms


class RMSNorm(nn.Module):
    """x / sqrt(mean over d of x^2 + epsilon) * weight, for each token by itself."""

    def __init__(self, d: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), EPSILON)


class RMSSetNorm(nn.Module):
    """Equations 6 and 7: one root mean square over all valid points and features of a set.

    x (B, M, d), mask (B, M) bool or None when all points are valid -> (B, M, d).  Rows under a false
    mask come out scaled like the others; whoever reads them later masks them again.
    """

    def __init__(self, d: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))  # beta in the paper

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        if mask is None:
            mean_square = x.float().square().mean((1, 2), keepdim=True)
        else:
            count = (mask.sum(1) * x.shape[-1]).clamp(min=1)[:, None, None]
            # where, not times: a padded row may hold anything, NaN included.
            squares = torch.where(mask[..., None], x.float().square(), 0.0)
            mean_square = squares.sum((1, 2), keepdim=True) / count
        scale = torch.rsqrt(mean_square + EPSILON)  # (B, 1, 1) float32
        return x * (scale * self.weight).to(x.dtype)


class SetNorm(nn.Module):
    """Mean and deviation over all valid points and features of a set, then weight and bias (ablation)."""

    def __init__(self, d: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))
        self.bias = nn.Parameter(torch.zeros(d))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        wide = x.float()
        if mask is None:
            mean = wide.mean((1, 2), keepdim=True)
            variance = (wide - mean).square().mean((1, 2), keepdim=True)
        else:
            count = (mask.sum(1) * x.shape[-1]).clamp(min=1)[:, None, None]
            valid = mask[..., None]
            mean = torch.where(valid, wide, 0.0).sum((1, 2), keepdim=True) / count
            variance = torch.where(valid, (wide - mean).square(), 0.0).sum((1, 2), keepdim=True) / count
        return ((wide - mean) * torch.rsqrt(variance + EPSILON) * self.weight + self.bias).to(x.dtype)


class PointNorm(nn.LayerNorm):
    """LayerNorm of each point by itself (ablation)."""

    def __init__(self, d: int):
        super().__init__(d, eps=EPSILON)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return super().forward(x)


SET_NORMS = {"rms": RMSSetNorm, "set": SetNorm, "layer": PointNorm}


# ------------------------------------------------------------------------------------------ attention


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, L, d) -> (B, H, L, E), a view."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """(B, H, L, E) -> (B, L, d)."""
    return x.transpose(1, 2).flatten(2)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Scaled dot-product attention; q (B, H, Q, E), k and v (B, H, K, E), mask broadcastable bool -> (B, H, Q, E).

    On an accelerator: torch's fused (Flash) kernel.  On a CPU while training: the plain product, because
    the fused backward pass there costs 4 to 9 times as much in bfloat16 and 1.1 to 1.6 times in float32
    at the sizes that a CPU trains (batch 256, at most 64 points; torch 2.13, AVX-512).
    """
    if q.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if causal:
        length = scores.shape[-1]
        mask = torch.ones(length, length, dtype=torch.bool).tril()
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return torch.softmax(scores, -1) @ v


class FeedForward(nn.Module):
    def __init__(self, d: int, hidden: int, bias: bool = False):
        super().__init__()
        self.up = nn.Linear(d, hidden, bias=bias)
        self.down = nn.Linear(hidden, d, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))
