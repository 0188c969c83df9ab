"""Batches from files read in order, each skeleton once a pass: for a corpus that no pool holds.

Batch `number` is a function of (files, settings, hold, seed, number), as it is with a pool; every process of a joint run
reads all of the files (20 bytes a skeleton) and takes the batches that are its own.  So whatever the number of processes, and
whether that changes from one leg to the next, no skeleton is taken twice nor left out.  A checkpoint holds the place
in the files where its next batches begin; a resumed run reads from there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from fansr.errors import DataError
from fansr.expressions import PAD_ID, TOKEN_ID
from fansr.network.batches import MEGA, Batch, make, numbers_of_points
from fansr.network.configuration import Settings
from fansr.network.skeleton_pool import HELD, compact, fault, held_out
from fansr.streams import reader_writer, rng_for

CHUNK = 2048  # records taken apart at once
LOOKED_AT = 200_000  # records at the beginning of the files among which held-out skeletons are looked for


class InOrder:
    """Numbered batches, to be asked for in rising order.

    place: what a checkpoint says, None to begin; first: the number of the first batch that will be asked for.
    Attributes: `held` (n, W) uint8, the rows held out; `dropped`, by reason; `history` of the first file.
    """

    def __init__(
        self,
        files: list[str],
        settings: Settings,
        hold: float = 0.0,
        seed: int = 0,
        where: torch.device | str = "cpu",
        place: dict | None = None,
        first: int = 0,
    ):
        self.files, self.settings, self.hold, self.seed = list(files), settings, hold, seed
        self.device = torch.device(where)
        self.dropped: Counter = Counter()
        self.held, self.history = self._look()
        self._fixed = {"files": [Path(name).name for name in self.files], "batch": settings.batch, "hold": hold}
        self._mega, at = self._begin(place, first)
        self._source = self._chunks(*at)
        # Rows that were read and belong to a later block, and where each of them ends: (pass, file, records before).
        self._waiting = self._empty()
        self._starts = {self._mega + 1: at}  # of the block to come
        self._rows: np.ndarray | None = None
        self._columns = self._ids = np.zeros(0, np.int64)

    def _begin(self, place: dict | None, first: int) -> tuple[int, tuple[int, int, int]]:
        """The block before the one to come, and where that one begins."""
        if place is None:
            return first // MEGA - 1, (0, 0, 0)
        for key, value in self._fixed.items():
            if place.get(key) != value:
                raise DataError(
                    f"--in-order: {key} was {str(place.get(key))[:80]} and is {str(value)[:80]}: the place in the files "
                    "where the run stopped means nothing then; give what it was, or another --out"
                )
        at = tuple(place.get("at") or ())
        if not (len(at) == 3 and all(type(i) is int and i >= 0 for i in at) and at[1] < len(self.files)):
            raise DataError(f"--in-order: the checkpoint's place {str(place)[:80]} is none in these files")
        return first // MEGA - 1, at

    def place(self, number: int) -> dict:
        """Where the files are to be read on from for batch `number` and all after it; plain JSON values."""
        mega = number // MEGA
        while mega not in self._starts:
            self._read_block()
        return {**self._fixed, "at": list(self._starts[mega])}

    def batch(self, number: int) -> Batch:
        """Batch `number`: skeletons of like length out of the block it lies in, with fresh constants and points."""
        tokens, columns, _ = self.rows(number)
        rng = rng_for(self.seed, "train.batch", number)
        points = numbers_of_points(self.settings, rng, len(tokens))
        return make(tokens, columns, points, self.settings, rng, self.device)

    def rows(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Tokens (B, W) uint8, numbers of columns (B,) and record ids (B,) of a batch's skeletons."""
        mega, j = divmod(number, MEGA)
        if mega < self._mega:
            raise ValueError(f"batch {number} was asked for after one of block {self._mega}")
        while self._mega < mega or self._rows is None:
            self._read_block()
        take = self._rows[j]
        return self._tokens[take], self._columns[take], self._ids[take]

    def _read_block(self):
        """Read the next block: MEGA batches of skeletons, sorted by length into batches, these in a random order."""
        need = MEGA * self.settings.batch
        parts, have = [self._waiting], len(self._waiting[0])
        while have < need:
            parts.append(self._learnable(*next(self._source)))
            have += len(parts[-1][0])
        tokens, columns, ids, ends = (np.concatenate(columns) for columns in zip(*parts))
        self._waiting = tokens[need:], columns[need:], ids[need:], ends[need:]
        self._tokens, self._columns, self._ids = tokens[:need], columns[:need], ids[:need]
        self._mega += 1
        self._starts = {self._mega: self._starts[self._mega], self._mega + 1: tuple(map(int, ends[need - 1]))}
        rng = rng_for(self.seed, "train.rows", self._mega)
        order = np.argsort((self._tokens != PAD_ID).sum(1), kind="stable").reshape(MEGA, -1)
        self._rows = order[rng.permutation(MEGA)]

    def _empty(self):
        width = self.settings.max_length - 2
        return np.zeros((0, width), np.uint8), np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros((0, 3), np.int64)

    def _learnable(self, turn: int, file: int, first: int, records: list[dict]):
        """Rows, numbers of columns, ids and ends of those of some records that are learned from."""
        width = self.settings.max_length - 2
        rows, ids, ends = np.zeros((len(records), width), np.uint8), [], []
        for i, record in enumerate(records):
            reason = fault(record.get("expr"), self.settings)
            if reason:
                self.dropped[reason] += 1
                continue
            if record.get("held") is True:
                continue
            rows[len(ids), : len(record["expr"])] = [TOKEN_ID[token] for token in record["expr"]]
            ids.append(record["id"] if type(record.get("id")) is int else first + i)
            ends.append((turn, file, first + i + 1))
        tokens, columns = compact(rows[: len(ids)])
        kept = ~held_out(tokens, self.hold)
        ends = np.array(ends, np.int64).reshape(-1, 3)
        return tokens[kept], columns[kept].astype(np.int64), np.array(ids, np.uint64)[kept], ends[kept]

    def _chunks(self, turn: int, file: int, skip: int) -> Iterator[tuple[int, int, int, list[dict]]]:
        """(pass, file, number of records before, records) from a place on, without end."""
        while True:
            at = 0
            with reader_writer.open_reader(self.files[file], holds="skeleton") as reader:
                for batch in reader.batches(CHUNK):
                    left = min(max(0, skip - at), len(batch))
                    if left < len(batch):
                        yield turn, file, at + left, batch.cut(left, len(batch)).records()
                    at += len(batch)
            file, skip = file + 1, 0
            if file == len(self.files):
                turn, file = turn + 1, 0

    def _look(self) -> tuple[np.ndarray, list]:
        """Rows held out among the first records, and the first file's history; DataError where nothing can be learned."""
        held, history, seen, usable = [self._empty()[0]], [], 0, 0
        for name in self.files:
            with reader_writer.open_reader(name, holds="skeleton") as reader:
                history = history or reader.history
                for batch in reader.batches(CHUNK):
                    exprs = [r["expr"] for r in batch.records() if not fault(r.get("expr"), self.settings)]
                    rows = np.zeros((len(exprs), self.settings.max_length - 2), np.uint8)
                    for row, expr in zip(rows, exprs):
                        row[: len(expr)] = [TOKEN_ID[token] for token in expr]
                    tokens, _ = compact(rows)
                    out = held_out(tokens, self.hold)
                    held.append(tokens[out])
                    seen, usable = seen + len(batch), usable + int((~out).sum())
                    if seen >= LOOKED_AT:
                        break
            if seen >= LOOKED_AT:
                break
        if not usable:
            raise DataError(f"{' '.join(self.files)[:200]}: no skeleton to learn from among the first {seen}")
        return np.concatenate(held)[:HELD], history
