"""Skeletons to learn from: rows of tokens with their columns packed, read from streams, a share of them held out.

    skeleton stream -> Pool: tokens (N, W) uint8, columns packed to the left

Columns are packed: a law over x3 and x7 is learned as one over x1 and x2, in the same order, because a
table of two columns is what a user brings.  The sorted normal form survives, since the order does.

This module knows nothing of the network beyond its number of columns and its longest sequence.
"""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np

from fansr.errors import DataError
from fansr.expressions import ARITY, CONSTANT, FIRST_OPERATOR_ID, FIRST_VARIABLE_ID, MAX_VARIABLES, TOKEN_ID
from fansr.network.configuration import Settings
from fansr.streams import reader_writer

HELD = 4096  # held-out skeletons kept for validation
assert FIRST_OPERATOR_ID == FIRST_VARIABLE_ID + MAX_VARIABLES  # variables are one run of ids


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
    if settings.notation != "skeleton" and CONSTANT in expr:
        return "holds <constant>, which has no digits"
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
    A share `hold` of the distinct skeletons is kept apart for validation, and so is what its record says is held.
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
        marked = np.zeros(len(records), bool)  # fansr-forms keeps some apart, whatever --hold is
        n = 0
        for record in records:
            expr = record.get("expr")
            reason = fault(expr, self.settings)
            if reason:
                self.dropped[reason] += 1
                continue
            rows[n, : len(expr)] = [TOKEN_ID[token] for token in expr]
            marked[n] = record.get("held") is True
            n += 1
        tokens, columns = compact(rows[:n])
        out = held_out(tokens, self.hold) | marked[:n]
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
