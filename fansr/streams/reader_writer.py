"""Streams of records: zstd frames over concatenated msgpack maps.

    header, record, record, ..., end

The header says what the stream holds and which commands made it; the end record counts and sums
the records, so that a cut stream, which zstd itself reads without complaint, is noticed.  Streams
put one after another (``cat a b``) are a valid stream.  Reading also takes gzip and plain msgpack,
told apart by content.  Nothing read is ever executed.

packing.py says how a record is laid out.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import zstandard

from fansr.errors import DataError
from fansr.streams.packing import MASK, MAX_RECORD, Batch, digest, digests, fault, joined, pack, pack_many, unpack

__all__ = [
    "MASK",
    "Batch",
    "Reader",
    "Writer",
    "chain",
    "digest",
    "digests",
    "open_reader",
    "open_writer",
    "pack",
    "pack_many",
    "unpack",
]

FORMAT = 1
LEVEL = 3  # zstd; level 19 is 15 % smaller on skeletons and 20 times slower
FAST = -100  # zstd for what does not shrink: 2 us for a problem of 128 points, against 28 us and 7 % less at level 3
SAMPLE, WORTH = 1 << 14, 0.9  # bytes of a frame that are tried; the ratio below which LEVEL is used
LARGE = 1 << 20  # bytes that make a frame of their own when they come at once: gathering them would copy them twice
SOME = 512  # records taken apart at once where they are wanted one by one
_KIND = np.frombuffer(b"\xa4kind", np.uint8)
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"


# ---- reading ----------------------------------------------------------------------------------


class Reader:
    """Iterates over the records of one stream, header and end records taken out; or, by `batches`, over
    many at once without taking them apart.

    Attributes: `name` for messages; `header` of the first part; `history`; `n`, `dropped` and
    `checksum` over everything read so far.  Use as a context manager.
    """

    def __init__(self, source: str | os.PathLike | io.RawIOBase, holds: str | tuple[str, ...] | None = None):
        self.name = "stdin" if source == "-" else str(source)
        self.holds = (holds,) if isinstance(holds, str) else holds
        self.n = 0
        self.checksum = 0
        self.dropped: Counter = Counter()
        self._file = self._open(source)
        self._feed = _decompressed(self._file, self.name)
        # It only finds where an object ends: a seventh of the cost of taking it apart.
        self._finder = msgpack.Unpacker(strict_map_key=False, max_buffer_size=MAX_RECORD, read_size=1 << 16)
        self._passed = 0  # bytes of all objects found so far
        self._tail = bytearray()  # what has come of an object that is not whole yet
        self._records = self._each()
        self._ahead: Batch | None = None  # the batch that is being handed out record by record, and
        self._at = 0  # how many of it were
        try:
            self._runs = self._parts()
            self.header: dict = next(self._runs)
        except BaseException:
            self.close()
            raise

    def _open(self, source):
        if hasattr(source, "read"):
            return source
        if source == "-":
            return sys.stdin.buffer
        try:
            return open(source, "rb")
        except IsADirectoryError:
            raise DataError(f"{self.name}: is a directory, wanted a stream file") from None
        except FileNotFoundError:
            raise DataError(f"{self.name}: no such file") from None
        except OSError as error:
            raise DataError(f"{self.name}: {error.strerror or error}") from None

    def _fail(self, what: str):
        return fault(self.name, self.n, what)

    def _piece(self) -> bytes:
        """More plain bytes, or none at the end of input."""
        try:
            return next(self._feed, b"")
        except (zstandard.ZstdError, OSError, EOFError, ValueError) as error:
            raise self._fail(f"damaged after record {self.n}: {error}") from None

    def _objects(self):
        """(bytes of one or more whole msgpack objects, where each ends), as the input comes."""
        skip, tell = self._finder.skip, self._finder.tell
        while piece := self._piece():
            try:
                self._finder.feed(piece)
            except msgpack.BufferFull:
                raise self._fail(f"record {self.n + 1} is over {MAX_RECORD} bytes") from None
            ends = []
            broken = False
            try:
                while True:
                    skip()
                    ends.append(tell())
            except msgpack.OutOfData:
                pass
            except Exception:  # msgpack raises many kinds for bytes that are no msgpack
                broken = True
            self._tail += piece
            if ends:
                size = ends[-1] - self._passed
                data = bytes(memoryview(self._tail)[:size])
                del self._tail[:size]
                # tell() also moves while an object is incomplete, so the last one's end is kept here.
                start, self._passed = self._passed, ends[-1]
                yield data, np.array(ends, dtype=np.int64) - start
            if broken:
                raise self._fail(f"not a fansr stream, or damaged at record {self.n + 1}")
        if self._tail:
            raise self._fail(f"cut in the middle of record {self.n + 1}")

    def _parts(self):
        """First the header, then the records in batches as they come; headers, end records and sums are checked."""
        first = True
        part = None  # (records, their checksum) of the part we are in; None between two
        for data, ends in self._objects():
            done = 0
            marks = _marks(data, ends)
            while done < len(ends):
                if part is None:
                    header = self._check_header(_object(data, ends, done))
                    part, done = (0, 0), done + 1
                    if first:
                        first = False
                        yield header
                    continue
                stop = next((place for place in marks if place >= done), len(ends))
                if stop > done:
                    batch = self._batch(data, ends, done, stop)
                    part = part[0] + len(batch), (part[1] + batch.checksum) & MASK
                    yield batch
                if stop < len(ends):
                    self._check_end(_object(data, ends, stop), *part)
                    part = None
                done = stop + 1
        if first:
            raise DataError(f"{self.name}: empty, wanted a fansr stream")
        if part is not None:
            raise self._fail("ends without its end record: it was cut, or its writer was killed")

    def _batch(self, data, ends, start, stop):
        at = int(ends[start - 1]) if start else 0
        ends = ends[start:stop] - at
        data = data[at : at + int(ends[-1])]
        view, edges = memoryview(data), [0, *ends.tolist()]
        return Batch(self.name, self.n, data, ends, digests([view[a:b] for a, b in zip(edges, edges[1:])]))

    def _check_header(self, record) -> dict:
        if not isinstance(record, dict) or record.get("kind") != "header":
            raise self._fail("not a fansr stream: it does not begin with a header record")
        if record.get("format") != FORMAT:
            raise self._fail(f"stream format {record.get('format')!r}, this version reads {FORMAT}")
        if self.holds is not None and record.get("holds") not in self.holds:
            raise self._fail(f"holds {record.get('holds')} records, wanted {' or '.join(self.holds)}")
        return record

    def _check_end(self, record, n: int, checksum: int):
        """`record` stands where the part's `n` records end."""
        if record is None:
            raise self._fail(f"not a fansr stream, or damaged at record {self.n + 1}")
        if not isinstance(record, dict) or record.get("kind") != "end":
            raise self._fail(f"record {self.n + 1} is no record of a stream")
        if not set(record) >= {"n", "dropped", "checksum"} or not isinstance(record["dropped"], dict):
            raise self._fail("damaged end record")
        if record["n"] != n:
            raise self._fail(f"the end record counts {record['n']} records, {n} were found")
        if record["checksum"] != checksum:
            raise self._fail("the checksum does not match: records were changed or lost")
        self.dropped.update(record["dropped"])

    @property
    def history(self) -> list[dict]:
        """The history entries of the first part, oldest first."""
        return list(self.header.get("history") or [])

    def __iter__(self):
        """One iterator for all who ask, so that a second loop goes on where the first one stopped."""
        return self._records

    def _each(self):
        for batch in self._whole():
            self._ahead, self._at = batch, 0
            while self._at < len(batch):
                for record in batch.cut(self._at, self._at + SOME).records():
                    self._at += 1
                    self.n += 1
                    yield record
                    if self._ahead is None:  # batches() has taken the rest
                        return

    def _whole(self):
        """The rest of a batch that was begun by record, then the batches as they come."""
        rest, self._ahead = self._ahead, None
        if rest is not None and self._at < len(rest):
            yield rest.cut(self._at, len(rest))
        for batch in self._runs:
            self.checksum = (self.checksum + batch.checksum) & MASK
            yield batch

    def batches(self, size: int) -> Iterator[Batch]:
        """The records not read yet as Batches of `size`, the last one shorter."""
        waiting: list[Batch] = []
        n = 0
        for batch in self._whole():
            self.n += len(batch)
            waiting.append(batch)
            n += len(batch)
            if n >= size:
                batch = joined(waiting)
                for start in range(0, n - size + 1, size):
                    yield batch.cut(start, start + size)
                waiting, n = [batch.cut(n - n % size, n)], n % size
        if n:
            yield joined(waiting)

    def close(self) -> None:
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def _object(data: bytes, ends, place: int):
    """One object taken apart; None where that cannot be done."""
    try:
        return unpack(data[int(ends[place - 1]) if place else 0 : int(ends[place])])
    except Exception:  # noqa: BLE001 - msgpack raises many kinds for bytes that are no msgpack
        return None


def _marks(data: bytes, ends) -> list[int]:
    """Places of the objects that are no records: headers, end records, what is no map with a kind."""
    # Nearly every record begins  0x8n  0xa4 k i n d  0xal  <l letters>:  a map of n fields whose first is its kind.
    letters = np.frombuffer(data + bytes(9), np.uint8)
    starts = np.concatenate([[0], ends[:-1]])
    head = letters[starts[:, None] + np.arange(9)]
    plain = (head[:, 0] >> 4 == 8) & (head[:, 1:6] == _KIND).all(axis=1) & (head[:, 6] > 0xA0) & (head[:, 6] < 0xC0)
    for word in (b"\xa3en", b"\xa6he"):
        plain &= ~(head[:, 6:] == np.frombuffer(word, np.uint8)).all(axis=1)
    return [place for place in np.flatnonzero(~plain).tolist() if not _is_record(_object(data, ends, place))]


def _is_record(found) -> bool:
    kind = found.get("kind") if isinstance(found, dict) else None
    return kind is not None and kind not in ("header", "end")


def _decompressed(file, name: str):
    """Pieces of the plain bytes of a zstd, gzip or plain file, recognised by its first bytes."""
    read = getattr(file, "read1", file.read)
    first = b""
    try:
        while len(first) < 4:
            piece = read(1 << 16)
            if not piece:
                break
            first += piece
    except IsADirectoryError:
        raise DataError(f"{name}: is a directory, wanted a stream file") from None
    joined = _Joined(first, read)
    if first[:4] == _ZSTD_MAGIC:
        yield from _frames(joined)
    elif first[:2] == _GZIP_MAGIC:
        with gzip.GzipFile(fileobj=joined) as reader:
            while piece := reader.read1(1 << 18):
                yield piece
    else:
        while piece := joined.read(1 << 18):
            yield piece


def _frames(joined):
    """Plain bytes of zstd frames one after another; a last frame that does not end is an error."""
    context = zstandard.ZstdDecompressor()
    frame = None
    while piece := joined.read(1 << 16):
        while piece:
            if frame is None:
                frame = context.decompressobj()
            yield from filter(None, [frame.decompress(piece)])
            piece = frame.unused_data if frame.eof else b""
            if frame.eof:
                frame = None
    if frame is not None:
        raise EOFError("the last zstd frame is cut")


class _Joined:
    """A file-like that gives back the bytes already looked at, then the rest."""

    def __init__(self, first: bytes, read):
        self._first = first
        self._read = read

    def read(self, size: int = -1) -> bytes:
        if self._first:
            cut = len(self._first) if size is None or size < 0 else size
            piece, self._first = self._first[:cut], self._first[cut:]
            return piece
        return self._read(1 << 16 if size is None or size < 0 else size)


# ---- writing ----------------------------------------------------------------------------------


class Writer:
    """Writes one stream; use as a context manager.

    Leaving it normally, or by Ctrl-C, writes the end record and gives the file its name; leaving it
    by an error leaves no file.  While it is written a file is called NAME.part.
    """

    def __init__(
        self,
        target: str | os.PathLike | io.RawIOBase,
        holds: str,
        history: list[dict] | None = None,
        resume: bool = False,
    ):
        self.target = target
        self.n = 0
        self.consumed = 0  # input records that the written ones account for; kept for a resume
        self.dropped: Counter = Counter()
        self.checksum = 0
        self._part: Path | None = None
        self._out = None
        self._open(target, resume)
        self._compressors = {
            level: zstandard.ZstdCompressor(level=level, write_checksum=True) for level in (LEVEL, FAST)
        }
        self._buffer = bytearray()
        if not self.resumed:
            self._put(pack({"kind": "header", "format": FORMAT, "holds": holds, "history": list(history or [])}))
            self.flush()  # a small frame of its own: a reader of a pipe knows at once what comes

    def _open(self, target, resume: bool):
        self.resumed = False
        if hasattr(target, "write"):
            self._out = target
            return
        if target == "-":
            if sys.stdout.isatty():
                raise DataError("will not write a binary stream to a terminal: give -o FILE or pipe it to fansr-cat")
            self._out = sys.stdout.buffer
            return
        path = Path(target)
        if path.is_dir():
            raise DataError(f"{path}: is a directory, wanted a file to write")
        if path.exists() and not path.is_file():  # /dev/full, a named pipe: no rename there
            self._out = open(path, "wb")
            return
        self._part = path.with_name(path.name + ".part")
        self._state = path.with_name(path.name + ".part.state")
        try:
            if resume and self._state.exists() and self._part.exists():
                state = json.loads(self._state.read_text())
                self._out = open(self._part, "r+b")
                self._out.truncate(state["bytes"])
                self._out.seek(0, os.SEEK_END)
                self.n, self.consumed, self.checksum = state["n"], state["consumed"], state["checksum"]
                self.dropped = Counter(state["dropped"])
                self.resumed = True
            else:
                self._out = open(self._part, "wb")
                self._state.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror or error}") from None

    def write(self, record: dict) -> None:
        """Append one record."""
        self.write_packed(pack(record))

    def write_packed(self, packed: bytes) -> None:
        """Append one record that is packed already (a worker process may have done it)."""
        self.n += 1
        self.checksum = (self.checksum + digest(packed)) & MASK
        self._put(packed)

    def write_many(self, packed: bytes, n: int, checksum: int, dropped: Any = (), consumed: int = 0) -> None:
        """Append `n` packed records laid one after another, whose digests add up to `checksum`.

        dropped: records left out beside them, by reason; consumed: input records that both account for.  They are told
        here, since what a killed run goes on from is written whenever a frame is.
        """
        self.n += n
        self.checksum = (self.checksum + checksum) & MASK
        self.dropped.update(dropped)
        self.consumed += consumed
        if len(packed) < LARGE:
            self._put(packed)
        else:
            if self._buffer:
                self._frame(self._buffer)
            self._frame(packed)
            self._buffer = bytearray()
            self._handed_on()

    def drop(self, reason: str, n: int = 1) -> None:
        """Count records left out on purpose."""
        self.dropped[reason] += n

    def _put(self, data: bytes):
        self._buffer += data
        if len(self._buffer) > 1 << 22:
            self.flush()

    def flush(self) -> None:
        """End a zstd frame and hand everything on; a resumed run starts after the last flush."""
        if not self._buffer:
            return
        self._frame(self._buffer)
        self._buffer = bytearray()
        self._handed_on()

    def _frame(self, data):
        """Write `data` as one zstd frame."""
        self._out.write(self._compressors[self._level(data)].compress(data))

    def _level(self, data) -> int:
        """LEVEL, or FAST where a sample shows that the data would hardly shrink, as random float64 do not."""
        middle = max(0, len(data) - SAMPLE) // 2
        sample = memoryview(data)[middle : middle + SAMPLE]
        return LEVEL if len(self._compressors[LEVEL].compress(sample)) < WORTH * len(sample) else FAST

    def _handed_on(self):
        self._out.flush()
        if self._part is not None:
            self._remember()

    def _remember(self):
        state = {
            "bytes": self._out.tell(),
            "n": self.n,
            "consumed": self.consumed,
            "checksum": self.checksum,
            "dropped": dict(self.dropped),
        }
        scratch = self._state.with_name(self._state.name + ".new")
        scratch.write_text(json.dumps(state))
        os.replace(scratch, self._state)

    def finish(self) -> None:
        """Write the end record and give the file its name."""
        self._buffer += pack(
            {
                "kind": "end",
                "n": self.n,
                "dropped": {k: self.dropped[k] for k in sorted(self.dropped)},
                "checksum": self.checksum,
            }
        )
        self.flush()
        if self._part is not None:
            self._out.close()
            os.replace(self._part, self.target)
            self._state.unlink(missing_ok=True)
        elif self._out is not sys.stdout.buffer and not hasattr(self.target, "write"):
            self._out.close()

    def abandon(self) -> None:
        """Leave no half-written file behind."""
        if self._part is not None:
            self._out.close()
            self._part.unlink(missing_ok=True)
            self._state.unlink(missing_ok=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.finish()
        elif not issubclass(kind, BrokenPipeError):
            self.abandon()


open_reader = Reader
open_writer = Writer


def chain(sources: Iterable[str], holds: str | tuple[str, ...] | None = None) -> Iterator[dict]:
    """Readers over several sources as one iterator of records: what `cat a b` would give."""
    for source in sources or ["-"]:
        with open_reader(source, holds=holds) as reader:
            yield from reader
