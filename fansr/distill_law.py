"""A law of one output of a block, as Distiller holds it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fansr.expressions import to_infix


@dataclass(frozen=True)
class UnitLaw:
    """One law of a unit: prefix expression over x1, x2, ... = `names`, constants, FVU on recorded and on held-out rows."""

    unit: int
    expr: tuple[str, ...]
    consts: tuple[float, ...]
    names: tuple[str, ...]
    fvu: float
    fvu_held: float | None = None
    source: str = ""

    @property
    def length(self) -> int:
        """Number of tokens."""
        return len(self.expr)

    def infix(self, digits: int = 6) -> str:
        """The law in the columns' names."""
        return to_infix(list(self.expr), np.asarray(self.consts), list(self.names), digits=digits)

    def __str__(self) -> str:
        return self.infix()
