"""How much a block's outputs change with each column that laws may use, by the block's own gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from fansr.distillation.block import Block
from fansr.distillation.input_columns import InputColumns
from fansr.errors import DataError

ROWS = 512


def saliency(
    block: Block, X: torch.Tensor, columns: InputColumns, names: Sequence[str], units: Sequence[int]
) -> torch.Tensor:
    """(len(names),) mean over units and up to ROWS rows of X (N, d) of |d unit / d column| in units of both spreads.

    The derivative by a column that is made of several values is the one along its own gradient, grad unit . grad column /
    |grad column|^2: for a value itself the partial derivative, for a principal component the projection.  DataError where the
    block cannot be given rows alone, or has no gradient.
    """
    rows = X[:: -(-len(X) // ROWS)]
    device = next((p.device for p in (block.module.parameters() if block.module is not None else ())), rows.device)
    rows = rows.to(device).detach().requires_grad_(True)
    with block.calm(), torch.enable_grad():
        try:
            Y = block.run_rows(block.own_forward(), rows)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise DataError(
                f"{block.name} cannot be given rows alone, which its gradient needs: {str(error).splitlines()[0]}"
            ) from None
        if not Y.requires_grad:
            raise DataError(f"{block.name} has no gradient by its inputs: --salient cannot order them")
        Z = columns.columns(rows, list(names))  # (k, N)
        by_column = [_gradient(z, rows) for z in Z]
        found = torch.zeros(len(names), dtype=torch.float64)
        for unit in units:
            g = _gradient(Y[:, unit], rows)
            spread = Y[:, unit].detach().double().std().clamp(min=1e-300)
            for j, h in enumerate(by_column):
                size = (h * h).sum(dim=1)
                along = torch.where(size > 0, (g * h).sum(dim=1) / size.clamp(min=1e-300), torch.zeros_like(size))
                found[j] += float((along.abs().nanmean() * Z[j].detach().double().std() / spread).cpu())
    return found / max(1, len(units))


def _gradient(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """(N, d) float64: d values[i] / d rows[i]."""
    (g,) = torch.autograd.grad(values.sum(), rows, retain_graph=True, allow_unused=True)
    return torch.zeros_like(rows, dtype=torch.float64) if g is None else g.detach().double()


def most_salient(values: torch.Tensor, names: Sequence[str], most: int) -> list[str]:
    """The `most` names of the largest values, in their own order."""
    kept = set(torch.argsort(values, descending=True, stable=True)[:most].tolist())
    return [name for j, name in enumerate(names) if j in kept]
