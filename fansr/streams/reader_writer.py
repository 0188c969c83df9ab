"""Streams of records: zstd frames over concatenated msgpack maps.

    header, record, record, ..., end

The header says what the stream holds and which commands made it; the end record counts and sums the records, so that
a cut stream, which zstd itself reads without complaint, is noticed.  Its fields: n, dropped {reason: count},
checksum (sum of packing.digest over the packed records, modulo 2**64), interrupted {done, meant} where the writer was
stopped before its work was done, and, last, seal: packing.digest of the eight bytes (little-endian) of the packed
header's digest followed by the packed end record up to the seal's own eight bytes.  So every byte of a stream is
covered.  Format 1, which is still read, had another hash and no seal.

Streams put one after another (``cat a b``) are a valid stream.  Reading also takes gzip and plain msgpack, told apart
by content.  Nothing read is ever executed, and no record is gathered beyond max_record bytes.

packing.py says how a record is laid out, files.py how its bytes are packed.
"""

from __future__ import annotations

import contextlib
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
from fansr.streams.files import Damaged, open_file, plain_pieces, record_bound
from fansr.streams.packing import (
    MASK,
    MAX_VALUES,
    Batch,
    LargeObject,
    digest,
    digests,
    fault,
    joined,
    old_digest,
    pack,
    pack_many,
    unpack,
)

try:
    import fcntl
except ImportError:  # no such locks on Windows
    fcntl = None

__all__ = [
    "MASK",
    "Batch",
    "Reader",
    "Writer",
    "chain",
    "digest",
    "open_reader",
    "open_writer",
    "pack",
    "pack_many",
    "unpack",
]

FORMAT = 2
LEVEL = 3  # zstd; level 19 is 15 % smaller on skeletons and 20 times slower
FAST = -100  # zstd for what does not shrink: 2 us for a problem of 128 points, against 28 us and 7 % less at level 3
SAMPLE, WORTH = 1 << 14, 0.9  # bytes of a frame that are tried; the ratio below which LEVEL is used
LARGE = 1 << 20  # bytes that make a frame of their own when they come at once: gathering them would copy them twice
SOME = 512  # records taken apart at once where they are wanted one by one
MUCH = 2 << 20  # bytes of a batch, beyond which it ends early
_KIND = np.frombuffer(b"\xa4kind", np.uint8)


# ---- reading ----------------------------------------------------------------------------------


class Reader:
    """Iterates over the records of one stream, header and end records taken out; or, by `batches`, over
    many at once without taking them apart.

    max_record: bytes one record may be at most.  Attributes: `name` for messages; `header` of the first part;
    `history`; `n`, `dropped` and `checksum` (by packing.digest, whatever the stream's own hash) over everything read
    so far; `interrupted`: the same field of the first end record that has it, else None.  Use as a context manager.
    """

    def __init__(
        self,
        source: str | os.PathLike | io.RawIOBase,
        holds: str | tuple[str, ...] | None = None,
        max_record: int | None = None,
    ):
        self.name = "stdin" if source == "-" else str(source)
        self.holds = (holds,) if isinstance(holds, str) else holds
        self.max_record = max_record or record_bound()
        self.n = 0
        self.checksum = 0
        self.dropped: Counter = Counter()
        self.interrupted: dict | None = None
        self._file = source if hasattr(source, "read") else open_file(source, "a stream file")
        self._feed = plain_pieces(self._file)
        self._records = self._each()
        self._ahead: Batch | None = None  # the batch that is being handed out record by record, and
        self._at = 0  # how many of it were
        try:
            self._runs = self._parts()
            self.header: dict = next(self._runs)
        except BaseException:
            self.close()
            raise

    def _fail(self, what: str):
        return fault(self.name, self.n, what)

    def _piece(self) -> bytes:
        """More plain bytes, or none at the end of input."""
        try:
            return next(self._feed, b"")
        except IsADirectoryError:
            raise DataError(f"{self.name}: is a directory, wanted a stream file") from None
        except (Damaged, OSError, ValueError) as error:  # ValueError: a file that was closed
            raise self._fail(f"damaged after record {self.n}: {getattr(error, 'strerror', None) or error}") from None

    def _objects(self):
        """(bytes of one or more whole msgpack objects, where each ends), as the input comes."""
        # The finder only finds where an object ends, a seventh of the cost of taking it apart.  It keeps what it was
        # fed, so an object that grows large is followed by its heads alone, and given up once it claims too much.
        finder, passed, large = msgpack.Unpacker(strict_map_key=False), 0, None
        tail = bytearray()  # what has come of an object that is not whole yet
        while piece := self._piece():
            tail += piece
            if large is not None:
                end = self._end_of(large, tail)
                if end is None:
                    continue
                yield _taken(tail, end), np.array([end], dtype=np.int64)
                finder, passed, large, piece = msgpack.Unpacker(strict_map_key=False), 0, None, bytes(tail)
            finder.feed(piece)
            ends, wrong = _ends(finder)
            if ends:
                found = np.array(ends, dtype=np.int64) - passed
                if found[-1] > self.max_record and (size := int(np.diff(found, prepend=0).max())) > self.max_record:
                    raise self._too_large(size)
                yield _taken(tail, int(found[-1])), found
                passed = ends[-1]
            if wrong is not None:
                raise self._fail(f"not a fansr stream, or damaged at record {self.n + 1}{wrong}")
            if len(tail) > min(LARGE, self.max_record):
                large = LargeObject()
        if tail:
            raise self._fail(f"cut in the middle of record {self.n + 1}")

    def _end_of(self, large, tail) -> int | None:
        """Where the large object ends that `tail` begins with, None while it has not; DataError when it is too large."""
        try:
            end = large.find_end(tail)
        except ValueError:
            raise self._fail(f"not a fansr stream, or damaged at record {self.n + 1}") from None
        if large.at_least > self.max_record:
            raise self._too_large(large.at_least)
        if large.values > MAX_VALUES:
            raise self._fail(f"record {self.n + 1} holds over {MAX_VALUES} values that are no array's")
        return end

    def _too_large(self, size: int):
        return self._fail(
            f"record {self.n + 1} takes {size} bytes or more, over the bound of {self.max_record} (--max-record raises it)"
        )

    def _parts(self):
        """First the header, then the records in batches as they come; headers, end records and sums are checked."""
        first = True
        part = None  # the _Part we are in; None between two
        for data, ends in self._objects():
            done = 0
            marks = _marks(data, ends)
            while done < len(ends):
                if part is None:
                    part, done = self._part(*_object(data, ends, done)), done + 1
                    if first:
                        first = False
                        yield part.header
                    continue
                stop = next((place for place in marks if place >= done), len(ends))
                if stop > done:
                    yield self._batch(part, data, ends, done, stop)
                if stop < len(ends):
                    self._check_end(part, *_object(data, ends, stop))
                    part = None
                done = stop + 1
        if first:
            raise DataError(f"{self.name}: empty, wanted a fansr stream")
        if part is not None:
            raise self._fail("ends without its end record: it was cut, or its writer was killed")

    def _batch(self, part, data, ends, start, stop):
        at = int(ends[start - 1]) if start else 0
        ends = ends[start:stop] - at
        data = data[at : at + int(ends[-1])]
        batch = Batch(self.name, self.n, data, ends, digests(data, ends), part.header["holds"])
        old = part.header["format"] == 1
        part.n += len(batch)
        part.checksum += int(digests(data, ends, old_digest).sum(dtype=np.uint64)) if old else batch.checksum
        return batch

    def _part(self, record, packed) -> _Part:
        """What is kept of a header until its part ends."""
        if _kind_of(record) != "header":
            raise self._fail("not a fansr stream: it does not begin with a header record")
        if not _is_count(record.get("format")) or record["format"] not in (1, FORMAT):
            raise self._fail(f"stream format {str(record.get('format'))[:20]}, this version reads 1 and {FORMAT}")
        if not isinstance(record.get("holds"), str):
            raise self._fail(f"header: holds is {str(record.get('holds'))[:40]!r}, wanted the kind of the records")
        history = [] if record.get("history") is None else record["history"]
        if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
            raise self._fail(f"header: history is {str(history)[:40]!r}, wanted a list of maps")
        if self.holds is not None and record["holds"] not in self.holds:
            raise self._fail(f"holds {record['holds'][:40]} records, wanted {' or '.join(self.holds)}")
        return _Part(record, digest(packed))

    def _check_end(self, part: _Part, record, packed: bytes):
        """`record` stands where the part's records end."""
        if record is None:
            raise self._fail(f"not a fansr stream, or damaged at record {self.n + 1}")
        if _kind_of(record) != "end":
            raise self._fail(f"record {self.n + 1} is no record of a stream")
        dropped = record.get("dropped")
        if not isinstance(dropped, dict) or not all(_is_count(n) for n in (*dropped.values(), record.get("n"))):
            raise self._fail("damaged end record: wanted n and dropped {reason: count}")
        if record["n"] != part.n:
            raise self._fail(f"the end record counts {record['n']} records, {part.n} were found")
        if not _is_count(record.get("checksum")) or record["checksum"] != part.checksum & MASK:
            raise self._fail("the checksum does not match: records were changed or lost")
        if part.header["format"] != 1 and not (
            isinstance(record.get("seal"), bytes) and record["seal"] == _seal(part.seal, packed[:-8])
        ):
            raise self._fail("the seal does not match: the header or the end record was changed")
        interrupted = record.get("interrupted")
        if interrupted is not None and not (isinstance(interrupted, dict) and _is_count(interrupted.get("done"))):
            raise self._fail("damaged end record: interrupted without how much was done")
        self.interrupted = self.interrupted or interrupted
        self.dropped.update(dropped)

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
                for record in batch.cut(self._at, batch.until(self._at, SOME, MUCH)).records():
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
        """The records not read yet as Batches of `size`, or of fewer where those take more than MUCH bytes."""
        waiting: list[Batch] = []
        for batch in self._whole():
            self.n += len(batch)
            waiting.append(batch)
            if sum(map(len, waiting)) >= size or sum(len(batch.data) for batch in waiting) > MUCH:
                batch, start = joined(waiting), 0
                while (stop := batch.until(start, size, MUCH)) < len(batch) or stop - start == size:
                    yield batch.cut(start, stop)
                    start = stop
                waiting = [batch.cut(start, len(batch))] if start < len(batch) else []
        if waiting:
            yield joined(waiting)

    def close(self) -> None:
        if self._file is not getattr(sys.stdin, "buffer", None):
            self._file.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class _Part:
    """A stream's header and what its end record must agree with; several joined are the parts of one."""

    def __init__(self, header: dict, seal: int):
        self.header, self.seal, self.n, self.checksum = header, seal, 0, 0


def _ends(finder) -> tuple[list[int], str | None]:
    """Where each object ends that is whole by now, and what is wrong with the bytes after them (None for nothing)."""
    ends = []
    try:
        while True:
            finder.skip()
            ends.append(finder.tell())
    except msgpack.OutOfData:  # tell() also moves while an object is incomplete, so it is asked only above
        return ends, None
    except msgpack.exceptions.StackError:
        return ends, ": lists or maps over 1000 deep"
    except Exception:  # msgpack raises many kinds for bytes that are no msgpack
        return ends, ""


def _taken(tail: bytearray, size: int) -> bytes:
    """The first bytes of `tail`, which loses them."""
    data = bytes(memoryview(tail)[:size])
    del tail[:size]
    return data


def _is_count(value) -> bool:
    return type(value) is int and value >= 0


def _seal(header: int, end: bytes) -> bytes:
    """The seal of a header's digest and the packed end record up to the seal's own eight bytes."""
    return digest(header.to_bytes(8, "little") + end).to_bytes(8, "little")


def _object(data: bytes, ends, place: int):
    """One object taken apart, None where that cannot be done; and its bytes."""
    packed = data[int(ends[place - 1]) if place else 0 : int(ends[place])]
    try:
        return unpack(packed), packed
    except Exception:  # noqa: BLE001 - msgpack raises many kinds for bytes that are no msgpack
        return None, packed


def _marks(data: bytes, ends) -> list[int]:
    """Places of the objects that are no records: headers, end records, what is no map with a kind."""
    # Nearly every record begins  0x8n  0xa4 k i n d  0xal  <l letters>:  a map of n fields whose first is its kind.
    letters = np.frombuffer(data + bytes(9), np.uint8)
    starts = np.concatenate([[0], ends[:-1]])
    head = letters[starts[:, None] + np.arange(9)]
    plain = (head[:, 0] >> 4 == 8) & (head[:, 1:6] == _KIND).all(axis=1) & (head[:, 6] > 0xA0) & (head[:, 6] < 0xC0)
    for word in (b"\xa3en", b"\xa6he"):
        plain &= ~(head[:, 6:] == np.frombuffer(word, np.uint8)).all(axis=1)
    return [place for place in np.flatnonzero(~plain).tolist() if not _is_record(_object(data, ends, place)[0])]


def _kind_of(found) -> str | None:
    kind = found.get("kind") if isinstance(found, dict) else None
    return kind if isinstance(kind, str) else None


def _is_record(found) -> bool:
    return _kind_of(found) not in (None, "header", "end")


# ---- writing ----------------------------------------------------------------------------------


class Writer:
    """Writes one stream; use as a context manager.

    Leaving it normally, or by Ctrl-C, writes the end record and gives the file its name; leaving it
    by an error leaves no file.  While it is written a file is called NAME.part, and NAME.part.state says how much of it
    is whole.  Under `resume` the state stays beside a file that a signal ended, so that the next run goes on with it.
    """

    def __init__(
        self,
        target: str | os.PathLike | io.RawIOBase,
        holds: str,
        history: list[dict] | None = None,
        resume: bool = False,
    ):
        self.target = target
        self.name = "stdout" if target == "-" else str(getattr(target, "name", target))
        self.n = 0
        self.consumed = 0  # input records that the written ones account for; kept for a resume
        self.dropped: Counter = Counter()
        self.checksum = 0
        self.interrupted: dict | None = None  # {"done", "meant"}: set where not everything was done
        self.meant: int | None = None  # how many inputs there are, where that is known
        self._part: Path | None = None
        self._state: Path | None = None
        self._resume = self._kept = False  # asked for; what is not whole stays though an error came
        self._begun = 0  # bytes of the file that its state speaks of
        self._out = None
        header = pack({"kind": "header", "format": FORMAT, "holds": holds, "history": list(history or [])})
        self._header = digest(header)
        self._call = _call(holds, history or [])
        self._compressors = {
            level: zstandard.ZstdCompressor(level=level, write_checksum=True) for level in (LEVEL, FAST)
        }
        self._buffer = bytearray()
        self.resumed = False
        self._mine = not hasattr(target, "write") and target != "-"  # to be closed here
        try:
            with self._named():
                self._open(target, resume)
                if not self.resumed:
                    self._put(header)
                    self.flush()  # a small frame of its own: a reader of a pipe knows at once what comes
        except BaseException:
            self._close_quietly()
            raise

    def _open(self, target, resume: bool):
        if hasattr(target, "write"):
            self._out = target
            return
        if target == "-":
            if sys.stdout is None:
                raise DataError("stdout: is closed; give -o FILE")
            if sys.stdout.isatty():
                raise DataError("will not write a binary stream to a terminal: give -o FILE or pipe it to fansr-cat")
            self._out = sys.stdout.buffer
            return
        path = Path(os.path.realpath(target))  # what a link points to is written, and the link stays
        if path.is_dir():
            raise DataError(f"{target}: is a directory, wanted a file to write")
        if path.exists() and not path.is_file():  # /dev/full, a named pipe: no rename there
            self._out = open(path, "wb")
            return
        self._final = path
        self._part = path.with_name(path.name + ".part")
        self._state = path.with_name(path.name + ".part.state")
        self._resume = resume
        if resume and not self._part.exists() and self._ended_early():
            os.replace(path, self._part)  # its end record is cut off below
        self._out = self._locked()
        if resume and self._part.stat().st_size and self._state.exists():
            self._go_on()
        else:
            self._out.truncate(0)
            self._state.unlink(missing_ok=True)

    def _ended_early(self) -> bool:
        """Whether the final file is one that a signal ended, as its state says."""
        try:
            return json.loads(self._state.read_text())["whole"] == self._final.stat().st_size
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return False

    def _locked(self):
        """The .part file opened, and locked for as long as it is open; DataError where another run writes it."""
        while True:
            file = open(os.open(self._part, os.O_RDWR | os.O_CREAT, 0o666), "r+b")
            try:
                if fcntl is not None:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(file.fileno()), os.stat(self._part)):
                    return file
            except BlockingIOError:
                file.close()
                raise DataError(
                    f"{self.name}: another run is writing it ({self._part.name} is locked); wait for it or give another -o"
                ) from None
            except FileNotFoundError:  # that other run has just finished
                pass
            except OSError:  # a file system without locks
                return file
            file.close()

    def _go_on(self):
        """Take over what a killed run had written; DataError where that was another call."""
        try:
            state = json.loads(self._state.read_text())
            counts = [state[key] for key in ("bytes", "n", "consumed", "checksum", "header")]
            if not all(map(_is_count, [*counts, *state["dropped"].values()])):
                raise ValueError("wanted whole numbers")
            call = state["call"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(
                f"{self._state}: not what a killed run of this version leaves ({error}); without --resume it starts anew"
            ) from None
        if (odd := _difference(call, self._call)) is not None:
            raise DataError(
                f"{self.name}: --resume goes on with the same call only, and {odd}; without --resume it starts anew"
            )
        size, self.n, self.consumed, self.checksum, self._header = counts
        self._begun = size
        if self._part.stat().st_size < size:
            raise DataError(f"{self._part}: shorter than its state says; without --resume the run starts anew")
        self._out.truncate(size)
        self._out.seek(0, os.SEEK_END)
        self.dropped = Counter(state["dropped"])
        self.resumed = True

    @contextlib.contextmanager
    def _named(self):
        """An error of the file system (a full disk) is told with the file's name; it leaves nothing behind, or under
        `resume` what a kill leaves."""
        try:
            yield
        except BrokenPipeError:
            raise
        except OSError as error:
            self._kept = self._resume and self._state.exists()
            self.abandon()
            kept = f"; what is whole stays in {self._part.name}, and --resume goes on with it" if self._kept else ""
            raise DataError(f"{self.name}: {error.strerror or error}{kept}") from None

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
        with self._named():
            self._out.write(self._compressors[self._level(data)].compress(data))

    def _level(self, data) -> int:
        """LEVEL, or FAST where a sample shows that the data would hardly shrink, as random float64 do not."""
        middle = max(0, len(data) - SAMPLE) // 2
        sample = memoryview(data)[middle : middle + SAMPLE]
        return LEVEL if len(self._compressors[LEVEL].compress(sample)) < WORTH * len(sample) else FAST

    def _handed_on(self):
        with self._named():
            self._out.flush()
            if self._part is not None:
                self._remember()

    def _remember(self, whole: int | None = None):
        """Write the state; `whole`: the size of the file that a signal ended, whose last frame is its end record."""
        state = {
            "bytes": self._out.tell() if whole is None else self._begun,
            "n": self.n,
            "consumed": self.consumed,
            "checksum": self.checksum,
            "dropped": dict(self.dropped),
            "header": self._header,
            "call": self._call,
            "whole": whole,
        }
        self._begun = state["bytes"]
        scratch = self._state.with_name(self._state.name + ".new")
        scratch.write_text(json.dumps(state))
        os.replace(scratch, self._state)

    def finish(self) -> None:
        """Write the end record and give the file its name."""
        end = {
            "kind": "end",
            "n": self.n,
            "dropped": {k: self.dropped[k] for k in sorted(self.dropped)},
            "checksum": self.checksum,
        }
        if self.interrupted is not None:
            end["interrupted"] = self.interrupted
            self.flush()  # the records apart from the end record: here a resumed run begins
        packed = pack({**end, "seal": bytes(8)})[:-8]
        self._frame(self._buffer + packed + _seal(self._header, packed))
        self._buffer = bytearray()
        with self._named():
            self._out.flush()
            if self._part is not None:
                goes_on = self.interrupted is not None and self._resume
                if goes_on:
                    self._remember(whole=self._out.tell())
                os.replace(self._part, self._final)  # before the lock goes
                self._out.close()
                if not goes_on:
                    self._state.unlink(missing_ok=True)
            elif self._mine:
                self._out.close()

    def abandon(self) -> None:
        """Leave no half-written file behind, but for what a resumed run goes on from."""
        if self._part is not None and self._out is not None:
            new = self._state.with_name(self._state.name + ".new")
            for path in (new,) if self._kept else (self._part, self._state, new):
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
        self._close_quietly()

    def _close_quietly(self):
        if self._mine and self._out is not None:
            with contextlib.suppress(OSError):
                self._out.close()

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if kind is None:
            self.finish()
        elif issubclass(kind, KeyboardInterrupt):
            self.interrupted = {"done": self.consumed or self.n, "meant": self.meant}
            self.finish()
        elif not issubclass(kind, BrokenPipeError):
            self.abandon()


def _call(holds: str, history: list[dict]) -> dict:
    """What must be the same for a killed run to be gone on with: a stream's history but for its times and words."""
    bare = [{key: value for key, value in entry.items() if key not in ("argv", "utc")} for entry in history]
    return json.loads(json.dumps({"holds": holds, "history": bare}, default=str))


def _difference(old, new, name: str = "") -> str | None:
    """The first difference of two JSON values in words, None where there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        parts = [(key, old.get(key), new.get(key)) for key in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        parts = [(None, *pair) for pair in zip(old, new)]
    else:
        return None if old == new else f"{name or 'it'} was {json.dumps(old)[:80]}, now {json.dumps(new)[:80]}"
    return next((odd for key, a, b in parts if (odd := _difference(a, b, key or name)) is not None), None)


open_reader = Reader
open_writer = Writer


def chain(sources: Iterable[str], holds: str | tuple[str, ...] | None = None) -> Iterator[dict]:
    """Readers over several sources as one iterator of records: what `cat a b` would give."""
    for source in sources or ["-"]:
        with open_reader(source, holds=holds) as reader:
            yield from reader
