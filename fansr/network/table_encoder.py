"""The table encoder: every cell by itself, attention along rows and along columns; the decoder sees the target's cells.

    values (B, M, 1+C), the target first -> mantissa and exponent of each cell, each through a small network, and what its
    column is -> n x [attention among the cells of a row, among the cells of a column, feed-forward] -> target (B, M, d)

arXiv 2510.26064 leaves the layers open; its five printed counts of parameters come out with two attentions and a feed-forward
of 4 d in every layer, biases and LayerNorm throughout, up-projections 1 -> d -> d, and a plain last layer.  Letters as in
architecture.py.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fansr.network.configuration import EXPONENTS, ModelConfig
from fansr.network.network_parts import FeedForward, PointNorm, attend, join_heads, split_heads


class TableLayer(nn.Module):
    """Row attention, column attention, feed-forward; pre-norm."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        d = config.width
        self.heads = config.heads
        self.norm_row, self.norm_column, self.norm_inner = PointNorm(d), PointNorm(d), PointNorm(d)
        self.row_qkv, self.row_out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.column_qkv, self.column_out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.feed_forward = FeedForward(d, config.feed_forward, bias=True)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, rows: Tensor | None, columns: Tensor | None) -> Tensor:
        """x (B, M, K, d); rows (B, M) and columns (B, K) bool say which exist -> (B, M, K, d)."""
        B, M, K, d = x.shape
        mask = None if columns is None else columns[:, None].expand(B, M, K).reshape(B * M, 1, 1, K)
        attended = self._attended(self.row_qkv(self.norm_row(x)).reshape(B * M, K, 3 * d), mask)
        x = x + self.dropout(self.row_out(attended)).view(B, M, K, d)
        mask = None if rows is None else rows[:, None].expand(B, K, M).reshape(B * K, 1, 1, M)
        turned = self.column_qkv(self.norm_column(x)).transpose(1, 2).reshape(B * K, M, 3 * d)
        attended = self.column_out(self._attended(turned, mask))
        x = x + self.dropout(attended).view(B, K, M, d).transpose(1, 2)
        return x + self.dropout(self.feed_forward(self.norm_inner(x)))

    def _attended(self, qkv: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (split_heads(t, self.heads) for t in qkv.chunk(3, -1))
        return join_heads(attend(q, k, v, mask))


class TableEncoder(nn.Module):
    """A table with its target -> one vector for each row, whatever the number and order of the rows."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        d = config.width
        self.mantissa = nn.Sequential(nn.Linear(1, d), nn.GELU(), nn.Linear(d, d))
        self.exponent = nn.Sequential(nn.Linear(1, d), nn.GELU(), nn.Linear(d, d))
        self.column = nn.Embedding(config.columns + 1, d)
        self.layers = nn.ModuleList(TableLayer(config) for _ in range(config.encoder_layers))

    def forward(self, values: Tensor, mask: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """values (B, M, 1+C) float32 with C <= D, target first; mask (B, M) bool; present (B, 1+C) bool -> (B, M, d)."""
        n = values.shape[-1]
        if n > self.config.columns + 1:
            raise ValueError(f"{n - 1} columns came; this network takes at most {self.config.columns}")
        if mask is not None:  # a padded row may hold anything, NaN included
            values = torch.where(mask[..., None], values, 0.0)
        mantissa, exponent = split_cells(values)
        x = self.mantissa(mantissa[..., None]) + self.exponent(exponent[..., None])
        x = x + self.column.weight[:n].to(x.dtype)
        for layer in self.layers:
            x = layer(x, mask, present)
        return x[:, :, 0]


def split_cells(values: Tensor) -> tuple[Tensor, Tensor]:
    """value = mantissa * 2**exponent as C's frexp has it: mantissa of size [0.5, 1) or 0, exponent over EXPONENTS."""
    mantissa, exponent = torch.frexp(values)
    return mantissa, exponent.to(values.dtype) / EXPONENTS
