"""Reading streams of records; reader_writer.py has the format.  Nothing read is ever executed, and no record is gathered beyond max_record bytes."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from collections.abc import Iterator

import msgpack
import numpy as np

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
    unpack,
)

FORMAT = 2
LARGE = 1 << 20  # bytes that make a frame of their own when they come at once: gathering them would copy them twice
SOME = 512  # records taken apart at once where they are wanted one by one
MUCH = 2 << 20  # bytes of a batch, beyond which it ends early
_KIND = np.frombuffer(b"\xa4kind", np.uint8)


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
        if not is_count(record.get("format")) or record["format"] not in (1, FORMAT):
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
        if not isinstance(dropped, dict) or not all(is_count(n) for n in (*dropped.values(), record.get("n"))):
            raise self._fail("damaged end record: wanted n and dropped {reason: count}")
        if record["n"] != part.n:
            raise self._fail(f"the end record counts {record['n']} records, {part.n} were found")
        if not is_count(record.get("checksum")) or record["checksum"] != part.checksum & MASK:
            raise self._fail("the checksum does not match: records were changed or lost")
        if part.header["format"] != 1 and not (
            isinstance(record.get("seal"), bytes) and record["seal"] == seal(part.seal, packed[:-8])
        ):
            raise self._fail("the seal does not match: the header or the end record was changed")
        interrupted = record.get("interrupted")
        if interrupted is not None and not (isinstance(interrupted, dict) and is_count(interrupted.get("done"))):
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


def is_count(value) -> bool:
    return type(value) is int and value >= 0


def seal(header: int, end: bytes) -> bytes:
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
