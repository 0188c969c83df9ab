"""Rows of what goes into a block and comes out while batches pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fansr.distillation.reservoir import Reservoir, StratifiedReservoir
from fansr.errors import DataError

if TYPE_CHECKING:
    from fansr.distillation.block import Block

LEAST_HELD = 50  # rows that say anything about a law
MOST_STRATA = 20


@dataclass
class Recorded:
    """Rows that went through a block: X (n, d) and Y (n, m), float32 on the CPU, and X_held (h, d), Y_held (h, m) of other batches.

    seen: rows that passed; not_finite: rows left out because a value of theirs was none; by_rows: there was one batch, and its
    rows were divided; calls: times the block was called.
    """

    X: torch.Tensor
    Y: torch.Tensor
    X_held: torch.Tensor
    Y_held: torch.Tensor
    seen: int
    not_finite: int = 0
    by_rows: bool = False
    calls: int = 0


class _Taking:
    """What becomes of the rows of each call: those that are finite go to the reservoir in turn."""

    def __init__(self, block: Block, kept, tried):
        self.block, self.kept, self.tried, self.to = block, kept, tried, kept
        self.calls = self.seen = self.not_finite = 0
        self.width: tuple[int, int] | None = None

    def __call__(self, args, kwargs, value) -> None:
        with torch.no_grad():
            X, Y = self.block.pairs(args, kwargs, value)
            width = (X.shape[1], Y.shape[1])
            if self.width not in (None, width):
                raise DataError(f"{self.block.name}: {self.width} values in and out of a row before, {width} now")
            self.width = width
            self.calls += 1
            self.seen += len(X)
            X, Y = X.float(), Y.float()
            good = torch.isfinite(X).all(dim=1) & torch.isfinite(Y).all(dim=1)
            self.not_finite += int((~good).sum())
            self.to.add(X[good], Y[good])

    def check(self) -> None:
        """DataError where there is nothing to look at."""
        name = self.block.name
        if not self.calls:
            call = self.block.call
            times = "" if call is None else f" a {call + 1}. time in one forward (--call counts from 0)"
            raise DataError(f"{name} is never called{times}: another --at")
        if self.seen == 0:
            raise DataError(f"{name}: the batches have no rows")
        if self.not_finite == self.seen:
            raise DataError(f"{name}: none of its {self.seen} rows is finite: look at the weights or the batches")
        if not len(self.kept):
            raise DataError(
                f"{name}: no finite row in the batches that are not held out: other batches, or another --held"
            )


def record(
    block: Block,
    batches: Iterable,
    rows: int,
    held: float,
    seed: int,
    run: Callable[[Any, Any], Any] | None,
    device: str | torch.device | None,
    strata: int,
) -> Recorded:
    """What Block.record says."""
    if not 0 <= held < 1:
        raise ValueError(f"held={held!r}: wanted a share from 0, and below 1")
    if rows < 1:
        raise ValueError(f"rows={rows!r}: wanted a number of rows")
    if not 1 <= strata <= MOST_STRATA:
        raise ValueError(f"strata={strata!r}: wanted 1 to {MOST_STRATA}")
    kept, tried = (
        Reservoir(rows, s) if strata == 1 else StratifiedReservoir(rows, s, strata) for s in (seed, seed + 1)
    )
    take = _Taking(block, kept, tried)
    passed = 0
    with block.listening(take, run, device) as through, block.calm(), torch.no_grad():
        for batch in batches:
            is_held = math.floor((passed + 1) * held + 1e-9) > math.floor(passed * held + 1e-9)
            take.to = tried if is_held else kept
            through(batch)
            passed += 1
    if not passed:
        raise DataError("no batches came: wanted at least one")
    take.check()
    X, Y = kept.rows()
    X_held, Y_held = tried.rows() if len(tried) else (X[:0], Y[:0])
    by_rows = held > 0 and not len(X_held)
    if by_rows:
        order = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed))
        cut = len(X) - math.floor(held * len(X))
        X_held, Y_held, X, Y = X[order[cut:]], Y[order[cut:]], X[order[:cut]], Y[order[:cut]]
    return Recorded(X, Y, X_held, Y_held, take.seen, take.not_finite, by_rows, take.calls)
