"""From skeletons to batches: what the network is trained on, one numbered batch at a time.

    batch number -> rows of the pool (skeleton_pool.py) -> fresh constants and points -> Batch

A batch is a function of (pool, settings, seed, number) alone, so that a resumed run sees what an unbroken
one would have seen, and so that several processes can share out the numbers between them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fansr.corpus import Prior, insertion
from fansr.expressions import BOS_ID, EOS_ID, FIRST_VARIABLE_ID, PAD_ID, VOCABULARY, notations
from fansr.network.column_scaling import scale_exponents, scaled
from fansr.network.configuration import Settings
from fansr.network.skeleton_pool import Pool
from fansr.streams import rng_for

MEGA = 32  # batches drawn and sorted by length together: enough for even lengths, few enough to stay mixed


@dataclass
class Batch:
    """What one training step takes.

    values  (B, M, 1+C) float32, the target first, then columns; 0 where a column is absent
    present (B, 1+C) bool, the columns that exist
    tokens  (B, L) int64: <bos>, the expression, <eos>, padding
    valid   (B, M) bool, the points that are no padding (which is 0); None: all
    """

    values: Tensor
    present: Tensor
    tokens: Tensor
    valid: Tensor | None = None

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def n_tokens(self) -> int:
        """Tokens to predict: all but <bos> and padding."""
        return int((self.tokens[:, 1:] != PAD_ID).sum())

    @property
    def n_points(self) -> float:
        """Points of a law on average, padding not counted."""
        return self.values.shape[1] if self.valid is None else float(self.valid.sum()) / max(len(self), 1)


class Loader:
    """Numbered batches from a pool, of whose rows the `mixed` pools give a share each, (pool, share)."""

    def __init__(
        self,
        pool: Pool,
        settings: Settings,
        seed: int = 0,
        device: torch.device | str = "cpu",
        mixed: Sequence[tuple[Pool, float]] = (),
    ):
        self.pool, self.settings, self.seed, self.device = pool, settings, seed, torch.device(device)
        self.mixed = mixed
        self._mega: tuple[int, np.ndarray, np.ndarray] = (-1, np.zeros(0, np.uint8), np.zeros(0, np.uint8))

    def batch(self, number: int) -> Batch:
        """Batch `number`: rows drawn evenly from each pool, with fresh constants and points."""
        mega, j = divmod(number, MEGA)
        if self._mega[0] != mega:
            rng = rng_for(self.seed, "train.rows", mega)
            tokens, columns = self.pool.take(rng.integers(0, len(self.pool), self.settings.batch * MEGA))
            if self.mixed:
                ends = np.cumsum([share for _, share in self.mixed])
                source = np.searchsorted(
                    ends, rng.random(len(tokens)), side="right"
                )  # of each row; past the end: as it is
                for k, (pool, _) in enumerate(self.mixed):
                    mine = np.flatnonzero(source == k)
                    tokens[mine], columns[mine] = pool.take(rng.integers(0, len(pool), len(mine)))
            order = np.argsort((tokens != PAD_ID).sum(1), kind="stable").reshape(MEGA, -1)[rng.permutation(MEGA)]
            self._mega = (mega, tokens[order], columns[order])
        rng = rng_for(self.seed, "train.batch", number)
        points = numbers_of_points(self.settings, rng, self.settings.batch)
        return make(self._mega[1][j], self._mega[2][j], points, self.settings, rng, self.device)


def numbers_of_points(settings: Settings, rng: np.random.Generator, B: int) -> int | np.ndarray:
    """M ~ U(min_points, max_points) of section 3.3: one for a batch, or (B,) where each law has its own."""
    n = rng.integers(settings.min_points, settings.max_points + 1, B if settings.points_per == "law" else None)
    return n if settings.points_per == "law" else int(n)


def make(
    tokens: np.ndarray,
    columns: np.ndarray,
    points: int | np.ndarray,
    settings: Settings,
    rng: np.random.Generator,
    device: torch.device,
) -> Batch:
    """Skeletons (B, W) over x1..xk, k = columns (B,), with fresh numbers; what cannot be drawn falls out.

    points: one number M for all of them, or (B,): each law has its own, and shorter ones are padded.  M, or the padded
    length, is brought to a multiple of 8 (above 8), for the sake of kernels and compiled shapes: the nearest, or the next.  Where
    the prior has irrelevant columns, a law's variables first get random places among all columns, in their order.
    """
    own = None if isinstance(points, int) else np.asarray(points)
    points = points if own is None else int(own.max())
    points = points if points < 8 else (points + (4 if own is None else 7)) // 8 * 8
    length = int((tokens != PAD_ID).sum(1).max())
    # Without irrelevant columns no place beyond the widest law of the batch can hold anything.
    wide = settings.columns if settings.prior.irrelevant > 0 else int(columns.max())
    tokens = spread(tokens[:, :length], columns, wide, rng)
    law = dataclasses.replace(settings.prior, variables=wide)
    valid = None if own is None else torch.arange(points, device=device) < torch.as_tensor(own, device=device)[:, None]
    seed = int(rng.integers(1 << 62))
    if law.inserted > 0:
        tokens = insertion.insert(tokens, np.arange(len(tokens)), law.inserted, seed)
    X, y, filled, ok, consts = _numbers(law, tokens, points, seed, device, valid)
    ids = torch.as_tensor(tokens.astype(np.int64), device=device)
    kept = ok.nonzero()[:, 0]
    X, ids, exists = pack(X[kept], ids[kept], filled[kept])
    if settings.notation != "skeleton":
        ids, fits = spelled(ids, consts[kept], settings)
        X, exists, kept = X[fits], exists[fits], kept[fits]
    valid = None if valid is None else valid[kept]
    y = y[kept]
    if settings.outliers > 0:
        y = with_outliers(y, settings.outliers, rng).clamp(-law.reach, law.reach)
    return assemble(X, y, exists, frame(ids), settings.scale_columns, valid)


def with_outliers(y: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Targets y (B, M) float64 where a share of the rows has one to a tenth of its points moved up or down by 1 to 10 times
    the row's standard deviation (log-uniform); the others as they are.
    """
    B, M = y.shape
    hit = rng.random(B) < share
    number = rng.integers(1, max(1, M // 10) + 1, B)
    moved = hit[:, None] & (
        rng.random((B, M)).argsort(1) < number[:, None]
    )  # ranks of random keys: `number` of them a row
    size = np.where(moved, 10.0 ** rng.random((B, M)) * rng.choice([-1.0, 1.0], (B, M)), 0.0)
    return y + torch.as_tensor(size, device=y.device) * y.std(1, correction=0, keepdim=True)


def spelled(ids: Tensor, consts: Tensor, settings: Settings) -> tuple[Tensor, Tensor]:
    """Rows (B, L) of vocabulary ids with their constants (B, C), whole numbers, in the notation of the settings.

    Returns the rows (B', L') that have a spelling of at most max_length with its frame, and which those are, (B,) bool.
    """
    notation = notations.NOTATIONS[settings.notation]
    found = [notation.write(notations.bound(row, numbers)) for row, numbers in zip(ids.tolist(), consts.cpu().tolist())]
    fits = [words is not None and len(words) <= settings.max_length - 2 for words in found]
    kept = [words for words, good in zip(found, fits) if good]
    rows = np.zeros((len(kept), max(map(len, kept), default=1)), np.int64)
    for row, words in zip(rows, kept):
        row[: len(words)] = words
    return torch.as_tensor(rows, device=ids.device), torch.tensor(fits, dtype=torch.bool, device=ids.device)


def _numbers(law: Prior, tokens: np.ndarray, points: int, seed: int, device: torch.device, valid: Tensor | None):
    """Fresh numbers: X (B, M, D) and y (B, M) float64, filled (B, D) bool, ok (B,) bool, constants (B, C) float64."""
    ids = np.arange(len(tokens))
    if device.type == "cpu":
        from fansr.corpus import draw_kernels

        drawn = draw_kernels.draw(law, tokens, ids, points, seed, stage="train")
    else:
        from fansr.corpus import render_torch

        drawn = render_torch.draw(law, tokens, ids, points, seed, device)
    X, y, filled, status, consts = (
        torch.as_tensor(drawn[key], device=device) for key in ("X", "y", "filled", "status", "consts")
    )
    # A law that is flat on its points says nothing about itself.
    own = y if valid is None else torch.where(valid, y, y[:, :1])
    single = points == 1 if valid is None else valid.sum(1) == 1
    ok = (status >= 0) & ((own.amax(1) > own.amin(1)) | single)
    return X.transpose(1, 2), y, filled > 0, ok, consts


def spread(tokens: np.ndarray, columns: np.ndarray, wide: int, rng: np.random.Generator) -> np.ndarray:
    """Rename x1..xk of each row to k of x1..x`wide`, chosen at random, in order."""
    keys = rng.random((len(tokens), wide))
    places = np.argsort(keys, 1)
    places[np.arange(wide) >= columns[:, None]] = wide  # only the first k are taken
    places.sort(1)
    table = np.tile(np.arange(256, dtype=np.uint8), (len(tokens), 1))
    table[:, FIRST_VARIABLE_ID : FIRST_VARIABLE_ID + wide] = FIRST_VARIABLE_ID + np.minimum(places, wide - 1)
    return np.take_along_axis(table, tokens.astype(np.intp), 1)


def pack(X: Tensor, ids: Tensor, filled: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Move the columns that hold numbers to the left and rename the variables with them.

    X (B, M, D), ids (B, L), filled (B, D) bool -> the same with D the largest number of columns, and exists (B, D).
    """
    order = torch.argsort(filled.logical_not().to(torch.int8), dim=1, stable=True)  # (B, D)
    most = int(filled.sum(1).max()) if len(filled) else 0
    X = torch.gather(X, 2, order[:, None, :most].expand(-1, X.shape[1], -1))
    place = (torch.cumsum(filled, 1) - 1).clamp(min=0) + FIRST_VARIABLE_ID
    table = torch.arange(len(VOCABULARY), device=ids.device).repeat(len(ids), 1)
    table[:, FIRST_VARIABLE_ID : FIRST_VARIABLE_ID + filled.shape[1]] = place
    return X, torch.gather(table, 1, ids), torch.gather(filled, 1, order[:, :most])


def frame(ids: Tensor) -> Tensor:
    """<bos> before and <eos> after each padded row: (B, L) -> (B, L+2)."""
    n = (ids != PAD_ID).sum(1)
    out = ids.new_full((len(ids), ids.shape[1] + 2), PAD_ID)
    out[:, 0] = BOS_ID
    out[:, 1:-1] = ids
    out[torch.arange(len(ids), device=ids.device), n + 1] = EOS_ID
    return out


def assemble(X: Tensor, y: Tensor, exists: Tensor, tokens: Tensor, scale: bool, valid: Tensor | None = None) -> Batch:
    """Put target and columns together as the network reads them: X (B, M, C), y (B, M), exists (B, C), valid (B, M)."""
    values = torch.cat((y[..., None], X * exists[:, None, :]), -1)
    present = torch.cat((exists.new_ones(len(exists), 1), exists), 1)
    if valid is not None:
        values = torch.where(valid[..., None], values, 0.0)
    if scale:
        values = values.double()
        values = scaled(values, scale_exponents(values, torch, valid), torch)
    return Batch(values.float(), present, tokens, valid)
