"""From streams to batches: what the network is trained on, one numbered batch at a time.

    skeleton stream -> Pool: tokens (N, W) uint8, columns packed to the left
    batch number    -> rows of the pool -> fresh constants and points -> Batch
    given problems  -> collate: points as given, padded to one length under a mask -> Batch (no command trains on them)

A batch is a function of (pool, settings, seed, number) alone, so that a resumed run sees what an unbroken
one would have seen, and so that several processes can share out the numbers between them.

Columns are packed: a law over x3 and x7 is learned as one over x1 and x2, in the same order, because a
table of two columns is what a user brings.  The sorted normal form survives, since the order does.

This module knows nothing of the network beyond its number of columns and its longest sequence.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from fansr.corpus import Prior
from fansr.errors import DataError
from fansr.expressions import (
    ARITY,
    BOS_ID,
    EOS_ID,
    FIRST_OPERATOR_ID,
    FIRST_VARIABLE_ID,
    MAX_VARIABLES,
    PAD_ID,
    TOKEN_ID,
    VOCABULARY,
)
from fansr.streams import reader_writer, rng_for

MEGA = 32  # batches drawn and sorted by length together: enough for even lengths, few enough to stay mixed
HELD = 4096  # held-out skeletons kept for validation
LOW, HIGH = 1e-2, 1e2  # a column whose root mean square lies outside is shown scaled by a power of two
_NEED = np.array([ARITY.get(token, 0) - 1 for token in VOCABULARY], dtype=np.int8)  # change of open places by a token


@dataclass
class Batch:
    """What one training step takes.

    values  (B, M, 1+C) float32, the target first, then columns; 0 where a column is absent
    mask    (B, M) bool, the valid points; None when all are
    present (B, 1+C) bool, the columns that exist
    tokens  (B, L) int64: <bos>, the expression, <eos>, padding
    """

    values: Tensor
    mask: Tensor | None
    present: Tensor
    tokens: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def n_tokens(self) -> int:
        """Tokens to predict: all but <bos> and padding."""
        return int((self.tokens[:, 1:] != PAD_ID).sum())


@dataclass(frozen=True)
class Settings:
    """How skeletons become numbers; part of every checkpoint."""

    batch: int = 256
    min_points: int = 16  # M is drawn once a batch, so that no point is padding
    max_points: int = 64
    columns: int = 17  # of the network
    max_length: int = 64  # of its token sequences, <bos> included
    scale_columns: bool = True
    prior: Prior = field(default_factory=Prior)


# ------------------------------------------------------------------------------------- scaling of columns


def scale_exponents(values: np.ndarray | Tensor, mask: Tensor | None = None):
    """Powers of two to divide each column by: values (..., M, C) float64 -> (..., C), 0 where its rms is ordinary.

    Dividing by a power of two changes a number's exponent bits only: it is exact, and undone by a constant in
    the law.  Columns with an ordinary size stay as they are, so that sin(x) need not become sin(c*x).
    """
    tensor = torch.as_tensor(values, dtype=torch.float64)
    size = tensor.abs()
    if mask is not None:
        size = size * mask[..., None]
    top = size.amax(-2, keepdim=True)
    unit = torch.where((top > 0) & torch.isfinite(top), top, 1.0)
    # Over the largest first: the squares of 1e-200 and 1e200 are not numbers.
    count = tensor.shape[-2] if mask is None else mask.sum(-1)[..., None, None].clamp(min=1)
    rms = unit * ((size / unit).square().sum(-2, keepdim=True) / count).sqrt()
    odd = torch.isfinite(rms) & (rms > 0) & ((rms < LOW) | (rms > HIGH))
    return torch.where(odd, torch.floor(torch.log2(torch.where(odd, rms, 1.0))), 0.0).squeeze(-2)


def scaled(values: Tensor, exponents: Tensor) -> Tensor:
    """values (..., M, C) float64 over 2**exponents (..., C); exact, also where the power itself would overflow."""
    return torch.ldexp(
        torch.ldexp(values, -torch.floor(exponents / 2)[..., None, :]), -torch.ceil(exponents / 2)[..., None, :]
    )


# ------------------------------------------------------------------------------------------------- pools


def compact(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rename the variables of each row to x1..xk in their order: (N, W) uint8 -> the same shape, and k (N,)."""
    variables = np.arange(FIRST_VARIABLE_ID, FIRST_VARIABLE_ID + MAX_VARIABLES, dtype=np.uint8)
    used = np.stack([(tokens == v).any(1) for v in variables], 1)  # (N, 17)
    table = np.tile(np.arange(256, dtype=np.uint8), (len(tokens), 1))
    ranks = FIRST_VARIABLE_ID + np.cumsum(used, 1) - 1
    table[:, variables] = np.where(used, ranks, 0)
    return np.take_along_axis(table, tokens.astype(np.intp), 1), used.sum(1)


def fault(expr, settings: Settings) -> str | None:
    """Why a skeleton cannot be learned from, or None; the reasons are the keys under which drops are counted."""
    if not isinstance(expr, list) or not expr:
        return "no expression"
    if len(expr) > settings.max_length - 2:
        return "too long"
    need, used = 1, set()
    for token in expr:
        if not isinstance(token, str) or token not in TOKEN_ID or token not in ARITY:
            return "unknown token"
        if need == 0:
            return "no valid prefix expression"
        need += ARITY[token] - 1
        if token[0] == "x":
            used.add(token)
    if need:
        return "no valid prefix expression"
    if not used:
        return "no variable"
    return "too many columns" if len(used) > settings.columns else None


class Pool:
    """Skeletons as rows of tokens; grows while a pipe feeds it, and forgets its oldest beyond `limit`.

    Duplicates stay: the stream's frequencies are the prior, and without them short laws starve.
    A share `hold` of the distinct skeletons is kept apart for validation.
    """

    def __init__(self, settings: Settings, limit: int = 4_000_000, hold: float = 0.0):
        self.settings, self.limit, self.hold = settings, limit, hold
        self.width = settings.max_length - 2
        self._tokens = np.zeros((0, self.width), np.uint8)
        self._columns = np.zeros(0, np.uint8)
        self.n = self.seen = 0
        self.held = np.zeros((0, self.width), np.uint8)  # the first HELD rows held out
        self.dropped: Counter = Counter()
        self.lock = threading.Lock()

    def __len__(self) -> int:
        return self.n

    def add(self, records: list[dict]) -> None:
        """Take skeleton records in; those that cannot be learned from are counted in `dropped`."""
        rows = np.zeros((len(records), self.width), np.uint8)
        n = 0
        for record in records:
            expr = record.get("expr")
            reason = fault(expr, self.settings)
            if reason:
                self.dropped[reason] += 1
                continue
            rows[n, : len(expr)] = [TOKEN_ID[token] for token in expr]
            n += 1
        tokens, columns = compact(rows[:n])
        out = held_out(tokens, self.hold)
        with self.lock:
            self.held = np.concatenate((self.held, tokens[out][: HELD - len(self.held)]))
            self._store(tokens[~out], columns[~out].astype(np.uint8))

    def _store(self, tokens, columns):
        n = len(tokens)
        if self.n + n > len(self._tokens) and len(self._tokens) < self.limit:
            room = min(self.limit, max(2 * len(self._tokens), self.n + n, 65536))
            for name in ("_tokens", "_columns"):
                old = getattr(self, name)
                new = np.zeros((room, *old.shape[1:]), old.dtype)
                new[: self.n] = old[: self.n]
                setattr(self, name, new)
        at = (self.seen + np.arange(n)) % max(1, self.limit)
        self._tokens[at], self._columns[at] = tokens, columns
        self.seen += n
        self.n = min(self.seen, self.limit)

    def take(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (B, W) uint8 and numbers of columns (B,) of these rows."""
        with self.lock:
            return self._tokens[rows], self._columns[rows]

    @property
    def tokens(self) -> np.ndarray:
        return self._tokens[: self.n]


def read_pool(sources, settings: Settings, limit: int = 4_000_000, hold: float = 0.0) -> tuple[Pool, list]:
    """All skeletons of some files (up to `limit`) and the first file's history; DataError when none can be used."""
    pool, history = Pool(settings, limit, hold), []
    for source in sources:
        with reader_writer.open_reader(source, holds="skeleton") as reader:
            history = history or reader.history
            chunk = []
            for record in reader:
                chunk.append(record)
                if len(chunk) == 4096:
                    pool.add(chunk)
                    chunk = []
                    if pool.n >= limit:
                        break
            pool.add(chunk)
    if not pool.n:
        why = ", ".join(f"{n} {reason}" for reason, n in pool.dropped.items()) or "no records"
        raise DataError(f"{' '.join(map(str, sources))}: no skeleton to learn from ({why})")
    return pool, history


def held_out(tokens: np.ndarray, share: float) -> np.ndarray:
    """Which rows (N, W) uint8 are never trained on: bool (N,), by a hash of the skeleton alone.

    So a skeleton is held out in every run and every pool with this share, with all its duplicates.
    """
    keys = np.zeros(len(tokens), np.uint64)
    for j in range(tokens.shape[1]):  # a polynomial hash modulo 2**64, its bits mixed at the end
        keys = keys * np.uint64(0x9E3779B97F4A7C15) + tokens[:, j] + np.uint64(1)
    keys ^= keys >> np.uint64(29)
    keys *= np.uint64(0xBF58476D1CE4E5B9)
    return (keys >> np.uint64(40)).astype(np.float64) / 2**24 < share


# ----------------------------------------------------------------------------------------------- batches


class Loader:
    """Numbered batches from a pool."""

    def __init__(self, pool: Pool, settings: Settings, seed: int = 0, device: torch.device | str = "cpu"):
        self.pool, self.settings, self.seed, self.device = pool, settings, seed, torch.device(device)
        self._mega: tuple[int, np.ndarray] = (-1, np.zeros(0, np.intp))

    def batch(self, number: int) -> Batch:
        """Batch `number`: rows drawn evenly from the pool, each with fresh constants and points."""
        mega, j = divmod(number, MEGA)
        if self._mega[0] != mega:
            rng = rng_for(self.seed, "train.rows", mega)
            rows = rng.integers(0, len(self.pool), self.settings.batch * MEGA)
            lengths = (self.pool.take(rows)[0] != PAD_ID).sum(1)
            rows = rows[np.argsort(lengths, kind="stable")].reshape(MEGA, -1)
            self._mega = (mega, rows[rng.permutation(MEGA)])
        rng = rng_for(self.seed, "train.batch", number)
        points = int(rng.integers(self.settings.min_points, self.settings.max_points + 1))
        tokens, columns = self.pool.take(self._mega[1][j])
        return make(tokens, columns, points, self.settings, rng, self.device)


def make(
    tokens: np.ndarray,
    columns: np.ndarray,
    points: int,
    settings: Settings,
    rng: np.random.Generator,
    device: torch.device,
) -> Batch:
    """Skeletons (B, W) over x1..xk, k = columns (B,), with fresh numbers; what cannot be drawn falls out.

    M is rounded to the nearest multiple of 8 (above 8), for the sake of kernels and compiled shapes.  Where the prior has
    irrelevant columns, a law's variables first get random places among all columns, in their order.
    """
    points = points if points < 8 else (points + 4) // 8 * 8
    length = int((tokens != PAD_ID).sum(1).max())
    # Without irrelevant columns no place beyond the widest law of the batch can hold anything.
    wide = settings.columns if settings.prior.irrelevant > 0 else int(columns.max())
    tokens = spread(tokens[:, :length], columns, wide, rng)
    law = dataclasses.replace(settings.prior, variables=wide)
    X, y, filled, ok = _numbers(law, tokens, points, int(rng.integers(1 << 62)), device)
    ids = torch.as_tensor(tokens.astype(np.int64), device=device)
    X, ids, exists = pack(X[ok], ids[ok], filled[ok])
    return assemble(X, y[ok], exists, frame(ids), settings.scale_columns)


def _numbers(law: Prior, tokens: np.ndarray, points: int, seed: int, device: torch.device):
    """Fresh constants and points: X (B, M, D) and y (B, M) float64, filled (B, D) bool, ok (B,) bool."""
    ids = np.arange(len(tokens))
    if device.type == "cpu":
        from fansr.corpus import draw_kernels

        drawn = draw_kernels.draw(law, tokens, ids, points, seed, stage="train")
    else:
        from fansr.corpus import render_torch

        drawn = render_torch.draw(law, tokens, ids, points, seed, device)
    X, y, filled, status = (torch.as_tensor(drawn[key], device=device) for key in ("X", "y", "filled", "status"))
    # A law that is flat on its points says nothing about itself.
    ok = (status >= 0) & ((y.amax(1) > y.amin(1)) | (points == 1))
    return X.transpose(1, 2), y, filled > 0, ok


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


def assemble(X: Tensor, y: Tensor, exists: Tensor, tokens: Tensor, scale: bool, mask: Tensor | None = None) -> Batch:
    """Put target and columns together as the network reads them: X (B, M, C), y (B, M), exists (B, C)."""
    values = torch.cat((y[..., None], X * exists[:, None, :]), -1)
    present = torch.cat((exists.new_ones(len(exists), 1), exists), 1)
    if scale:
        values = scaled(values.double(), scale_exponents(values, mask))
    return Batch(values.float(), mask, present, tokens)


def collate(problems: list[dict], settings: Settings, rng: np.random.Generator) -> tuple[Batch, Counter]:
    """Problem records with a known law as one batch: points beyond max_points are left out at random.

    Records without an expression the network can write, or with numbers that are not finite, are counted and
    left out.
    """
    dropped, kept = Counter(), []
    for record in problems:
        expr = (record.get("truth") or {}).get("expr")
        reason = fault(expr, settings)
        if not reason and record["X"].shape[1] > settings.columns:
            reason = "too many columns"
        if not reason and not (np.isfinite(record["X"]).all() and np.isfinite(record["y"]).all() and len(record["y"])):
            reason = "numbers not finite"
        if reason:
            dropped[reason] += 1
        else:
            kept.append(record)
    if not kept:
        raise DataError("no problem to learn from: " + ", ".join(f"{n} {reason}" for reason, n in dropped.items()))
    count = [min(len(r["y"]), settings.max_points) for r in kept]
    X = np.zeros((len(kept), max(count), max(r["X"].shape[1] for r in kept)))
    y = np.zeros(X.shape[:2])
    ids = np.zeros((len(kept), max(len(r["truth"]["expr"]) for r in kept)), np.int64)
    exists, mask = np.zeros((len(kept), X.shape[2]), bool), np.arange(max(count)) < np.array(count)[:, None]
    for i, (record, m) in enumerate(zip(kept, count)):
        rows = np.sort(rng.permutation(len(record["y"]))[:m])
        X[i, :m, : record["X"].shape[1]], y[i, :m] = record["X"][rows], record["y"][rows]
        exists[i, : record["X"].shape[1]] = True
        ids[i, : len(record["truth"]["expr"])] = [TOKEN_ID[token] for token in record["truth"]["expr"]]
    tensors = [torch.as_tensor(a) for a in (X, y, exists, ids, mask)]
    whole = None if mask.all() else tensors[4]
    return assemble(*tensors[:3], frame(tensors[3]), settings.scale_columns, whole), dropped


assert FIRST_OPERATOR_ID == FIRST_VARIABLE_ID + MAX_VARIABLES  # variables are one run of ids
