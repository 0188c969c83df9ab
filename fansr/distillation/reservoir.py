"""Rows drawn from a stream of rows of unknown length, in memory that does not grow with it."""

from __future__ import annotations

import torch


class Reservoir:
    """`size` rows drawn uniformly from all that are added: those of the smallest random keys, in the order they came."""

    def __init__(self, size: int, seed: int):
        self.size, self.came = size, 0
        self.generator = torch.Generator().manual_seed(seed)
        self.parts: tuple[torch.Tensor, ...] | None = None  # keys, numbers, X, Y

    def __len__(self) -> int:
        return 0 if self.parts is None else len(self.parts[0])

    def add(self, X: torch.Tensor, Y: torch.Tensor, numbers: torch.Tensor | None = None) -> None:
        """Rows X (N, d) and Y (N, m); numbers (N,): which ones they are of all that come, the next ones by default."""
        n = len(X)
        keys = torch.rand(n, generator=self.generator, dtype=torch.float64)
        if numbers is None:
            numbers = torch.arange(self.came, self.came + n)
        self.came += n
        if self.parts is not None and len(self) == self.size:  # most rows of a long run are turned down here
            near = keys < self.parts[0].max()
            keys, numbers = keys[near], numbers[near]
            at = near.nonzero().squeeze(1).to(X.device)
            X, Y = X[at], Y[at]
        if not len(X):
            return
        new = (keys, numbers, X.detach().clone(), Y.detach().clone())
        if self.parts is not None:
            new = tuple(torch.cat(pair) for pair in zip(self.parts, new))
        self.parts = _least(new, self.size)

    def rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(X, Y) on the CPU in the order in which the rows came."""
        return _in_order(self.parts)


class StratifiedReservoir:
    """`size` rows of which each of `strata` has an equal share, or all it has; uniform within a stratum.

    A stratum is told by how far a row's outputs are from their middle: the largest |y - median| / spread of its units, below 2,
    from 2 to 4, from 4 to 8 and so on, the last without end.  Median and spread (the median of |y - median|) are those of the rows
    added first, so that one pass is enough; strata of equal numbers of rows, as quantiles would give, draw no more from the tails
    than a uniform reservoir does.
    """

    def __init__(self, size: int, seed: int, strata: int):
        self.size = size
        self.parts = [Reservoir(size, seed + 7919 * k) for k in range(strata)]
        self.came = 0
        self.middle: torch.Tensor | None = None  # (m,), as spread
        self.spread: torch.Tensor | None = None

    def __len__(self) -> int:
        return min(self.size, sum(len(part) for part in self.parts))

    def add(self, X: torch.Tensor, Y: torch.Tensor) -> None:
        """Rows X (N, d) and Y (N, m)."""
        numbers = torch.arange(self.came, self.came + len(X))
        self.came += len(X)
        if not len(X):
            return
        if self.middle is None:
            self.middle = Y.median(dim=0).values
            spread = (Y - self.middle).abs().median(dim=0).values
            spread = torch.where(spread > 0, spread, Y.std(dim=0, correction=0))
            self.spread = torch.where(spread > 0, spread, torch.ones_like(spread))
        far = ((Y - self.middle) / self.spread).abs().amax(dim=1)
        stratum = torch.log2(far).floor().clamp(0, len(self.parts) - 1).long().cpu()
        for k, part in enumerate(self.parts):
            at = (stratum == k).nonzero().squeeze(1)
            part.add(X[at.to(X.device)], Y[at.to(Y.device)], numbers[at])

    def rows(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(X, Y) on the CPU in the order in which the rows came."""
        share = shares([len(part) for part in self.parts], self.size)
        kept = [_least(part.parts, n) for part, n in zip(self.parts, share) if n]
        return _in_order(tuple(torch.cat(columns) for columns in zip(*kept)))


def shares(there: list[int], wanted: int) -> list[int]:
    """How many of `wanted` rows each stratum gives that has `there[k]`: as equal as they come, the first ones of the smallest more."""
    given = [0] * len(there)
    order = sorted(range(len(there)), key=lambda k: there[k])
    for place, k in enumerate(order):
        given[k] = min(there[k], -(-(wanted - sum(given)) // (len(there) - place)))
    return given


def _least(parts: tuple[torch.Tensor, ...], n: int) -> tuple[torch.Tensor, ...]:
    """The rows of the n smallest keys."""
    if len(parts[0]) <= n:
        return parts
    best = torch.topk(parts[0], n, largest=False).indices
    return tuple(part[best.to(part.device)] for part in parts)


def _in_order(parts: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    order = torch.argsort(parts[1])
    X, Y = (part[order.to(part.device)].cpu().contiguous() for part in parts[2:])
    return X, Y
