"""Streams of records: zstd frames over concatenated msgpack maps.

    header, record, record, ..., end

The header says what the stream holds and which commands made it; the end record counts and sums
the records, so that a cut stream, which zstd itself reads without complaint, is noticed.  Streams
put one after another (``cat a b``) are a valid stream.  Reading also takes gzip and plain msgpack,
told apart by content.  Nothing read is ever executed.

Layout of an ndarray: msgpack extension type 1 whose payload is the msgpack array
[dtype string such as "<f8", [shape], bytes in C order].
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sys
from collections import Counter
from pathlib import Path

import msgpack
import numpy as np
import zstandard

from fansr.errors import DataError

FORMAT = 1
NDARRAY = 1  # msgpack extension type
LEVEL = 3  # zstd; level 19 is 15 % smaller on skeletons and 20 times slower
MAX_RECORD = 1 << 31  # bytes; a problem of 1e6 rows and 200 columns is 1.6e9
_MASK = (1 << 64) - 1
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_GZIP_MAGIC = b"\x1f\x8b"


# ---- records and bytes ------------------------------------------------------------------------


def _to_ext(value):
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("an array of Python objects cannot be written to a stream")
        little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
        return msgpack.ExtType(NDARRAY, msgpack.packb([little.dtype.str, list(value.shape), little.tobytes()]))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be written to a stream")


def _from_ext(code: int, data: bytes):
    if code != NDARRAY:
        return msgpack.ExtType(code, data)
    dtype, shape, raw = msgpack.unpackb(data)
    kind = np.dtype(dtype)
    if kind.hasobject:
        raise ValueError("object arrays are not read")
    return np.frombuffer(raw, dtype=kind).reshape(shape).copy()


def pack(record: dict) -> bytes:
    """One record as msgpack; numpy arrays and scalars allowed."""
    return msgpack.packb(record, default=_to_ext)


def unpack(data: bytes) -> dict:
    """The inverse of pack."""
    return msgpack.unpackb(data, ext_hook=_from_ext, strict_map_key=False)


def digest(packed: bytes) -> int:
    """64-bit hash of one packed record; their sum modulo 2**64 is the stream's checksum."""
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")


# ---- reading ----------------------------------------------------------------------------------


class Reader:
    """Iterates over the records of one stream, header and end records taken out.

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
        self._unpacker = msgpack.Unpacker(
            ext_hook=_from_ext, strict_map_key=False, max_buffer_size=MAX_RECORD, read_size=1 << 16
        )
        self._fed = self._parsed = 0
        try:
            self.header = self._first_header()
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
        good = f"{self.n} good record{'' if self.n == 1 else 's'} came before"
        return DataError(f"{self.name}: {what} ({good})")

    def _next(self):
        """The next msgpack object with its packed bytes' hash, or None at the end of input."""
        while True:
            try:
                record = self._unpacker.unpack()
            except msgpack.OutOfData:
                try:
                    piece = next(self._feed, b"")
                except (zstandard.ZstdError, OSError, EOFError, ValueError) as error:
                    raise self._fail(f"damaged after record {self.n}: {error}") from None
                if not piece:
                    if self._fed > self._parsed:
                        raise self._fail(f"cut in the middle of record {self.n + 1}") from None
                    return None
                self._fed += len(piece)
                self._tail += piece
                try:
                    self._unpacker.feed(piece)
                except msgpack.BufferFull:
                    raise self._fail(f"record {self.n + 1} is over {MAX_RECORD} bytes") from None
                continue
            except Exception:  # msgpack raises many kinds for bytes that are no msgpack
                raise self._fail(f"not a fansr stream, or damaged at record {self.n + 1}") from None
            # tell() also moves while a record is incomplete, so the last record's end is kept here.
            size = self._unpacker.tell() - self._parsed
            self._parsed += size
            packed = bytes(self._tail[self._head:self._head + size])
            self._head += size
            if self._head > 1 << 20:
                del self._tail[:self._head]
                self._head = 0
            return record, packed

    def _first_header(self) -> dict:
        self._tail = bytearray()
        self._head = 0
        found = self._next()
        if found is None:
            raise DataError(f"{self.name}: empty, wanted a fansr stream")
        return self._check_header(found[0])

    def _check_header(self, record) -> dict:
        if not isinstance(record, dict) or record.get("kind") != "header":
            raise self._fail("not a fansr stream: it does not begin with a header record")
        if record.get("format") != FORMAT:
            raise self._fail(f"stream format {record.get('format')!r}, this version reads {FORMAT}")
        if self.holds is not None and record.get("holds") not in self.holds:
            raise self._fail(f"holds {record.get('holds')} records, wanted {' or '.join(self.holds)}")
        return record

    @property
    def history(self) -> list[dict]:
        """The history entries of the first part, oldest first."""
        return list(self.header.get("history") or [])

    def __iter__(self):
        part_n = part_sum = 0
        inside = True
        while True:
            found = self._next()
            if found is None:
                if inside:
                    raise self._fail("ends without its end record: it was cut, or its writer was killed")
                return
            record, packed = found
            kind = record.get("kind") if isinstance(record, dict) else None
            if not inside:
                self._check_header(record)
                inside, part_n, part_sum = True, 0, 0
            elif kind == "end":
                if not set(record) >= {"n", "dropped", "checksum"} or not isinstance(record["dropped"], dict):
                    raise self._fail("damaged end record")
                if record.get("n") != part_n:
                    raise self._fail(f"the end record counts {record.get('n')} records, {part_n} were found")
                if record.get("checksum") != part_sum:
                    raise self._fail("the checksum does not match: records were changed or lost")
                self.dropped.update(record.get("dropped") or {})
                inside = False
            elif kind is None or kind == "header":
                raise self._fail(f"record {self.n + 1} is no record of a stream")
            else:
                self.n += 1
                part_n += 1
                hashed = digest(packed)
                part_sum = (part_sum + hashed) & _MASK
                self.checksum = (self.checksum + hashed) & _MASK
                yield record

    def close(self):
        if self._file is not sys.stdin.buffer:
            self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


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

    def __init__(self, target: str | os.PathLike | io.RawIOBase, holds: str, history: list[dict] | None = None,
                 resume: bool = False):
        self.target = target
        self.n = 0
        self.consumed = 0  # input records that the written ones account for; kept for a resume
        self.dropped: Counter = Counter()
        self.checksum = 0
        self._part: Path | None = None
        self._out = None
        self._open(target, resume)
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True)
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

    def write(self, record: dict):
        """Append one record."""
        self.write_packed(pack(record))

    def write_packed(self, packed: bytes):
        """Append one record that is packed already (a worker process may have done it)."""
        self.n += 1
        self.checksum = (self.checksum + digest(packed)) & _MASK
        self._put(packed)

    def write_many(self, packed: bytes, n: int, checksum: int):
        """Append `n` packed records laid one after another, whose digests add up to `checksum`."""
        self.n += n
        self.checksum = (self.checksum + checksum) & _MASK
        self._put(packed)

    def drop(self, reason: str, n: int = 1):
        """Count records left out on purpose."""
        self.dropped[reason] += n

    def _put(self, data: bytes):
        self._buffer += data
        if len(self._buffer) > 1 << 22:
            self.flush()

    def flush(self):
        """End a zstd frame and hand everything on; a resumed run starts after the last flush."""
        if not self._buffer:
            return
        self._out.write(self._compressor.compress(bytes(self._buffer)))
        self._buffer.clear()
        self._out.flush()
        if self._part is not None:
            self._remember()

    def _remember(self):
        state = {"bytes": self._out.tell(), "n": self.n, "consumed": self.consumed, "checksum": self.checksum,
                 "dropped": dict(self.dropped)}
        scratch = self._state.with_name(self._state.name + ".new")
        scratch.write_text(json.dumps(state))
        os.replace(scratch, self._state)

    def finish(self):
        """Write the end record and give the file its name."""
        self._buffer += pack({"kind": "end", "n": self.n, "dropped": {k: self.dropped[k] for k in sorted(self.dropped)},
                              "checksum": self.checksum})
        self.flush()
        if self._part is not None:
            self._out.close()
            os.replace(self._part, self.target)
            self._state.unlink(missing_ok=True)
        elif self._out is not sys.stdout.buffer and not hasattr(self.target, "write"):
            self._out.close()

    def abandon(self):
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


def chain(sources, holds=None):
    """Readers over several sources as one iterator of records: what `cat a b` would give."""
    for source in sources or ["-"]:
        with open_reader(source, holds=holds) as reader:
            yield from reader
