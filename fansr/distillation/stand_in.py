"""A module of laws where a block was: the same arguments in, the same shape out."""

from __future__ import annotations

from typing import Any

import torch

from fansr.distillation.block import Block
from fansr.distillation.block_rows import BlockRows
from fansr.distillation.law_layer import LawLayer


class StandIn(torch.nn.Module):
    """A LawLayer behind the block's arguments and layout; the block itself is not kept."""

    def __init__(self, block: Block, layer: LawLayer):
        super().__init__()
        self.layer = layer
        self._places = BlockRows(block.name, block.names, block.argument, block.output, block.layout_text)
        self._places.squeezed, self._places.plain = block.squeezed, block.plain

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """What the block would give, by the laws."""
        return self._places.outcome(lambda X, _: self.layer(X), lambda *_, **__: None, args, kwargs)
