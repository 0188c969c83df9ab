"""Records as bytes: one msgpack map each, and many of them laid one after another.

Layout of an ndarray: msgpack extension type 1 whose payload is the msgpack array
[dtype string such as "<f8", [shape], bytes in C order].  Nothing read is ever executed.  This file
knows nothing of files and compression; reader_writer.py does.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections.abc import Iterable, Iterator, Sequence

import msgpack
import numpy as np

from fansr.errors import DataError

NDARRAY = 1  # msgpack extension type
MASK = (1 << 64) - 1  # checksums are sums modulo 2**64
MAX_RECORD = 1 << 31  # bytes; a problem of 1e6 rows and 200 columns is 1.6e9


# ---- one record -------------------------------------------------------------------------------


_pack_array = msgpack.Packer().pack  # one for all arrays: making a packer costs more than packing a small array


def _to_ext(value):
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("an array of Python objects cannot be written to a stream")
        little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
        return msgpack.ExtType(NDARRAY, _pack_array([little.dtype.str, value.shape, little.tobytes()]))
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


# ---- many records -----------------------------------------------------------------------------


def digests(packed: Iterable[bytes]) -> np.ndarray:
    """digest of each of some packed records, uint64 (n,); their sum wraps around as the checksum does."""
    blake2b = hashlib.blake2b
    return np.frombuffer(b"".join([blake2b(record, digest_size=8).digest() for record in packed]), "<u8")


def pack_many(records: Iterable[dict]) -> tuple[bytes, int, int]:
    """Some records packed for Writer.write_many: their bytes one after another, their number, their checksum."""
    pack_one = msgpack.Packer(default=_to_ext).pack
    packed = [pack_one(record) for record in records]
    return b"".join(packed), len(packed), int(digests(packed).sum(dtype=np.uint64))


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """While many records are made at once, Python's search for reference cycles costs more than making them
    (6.1 us a skeleton with it, 1.7 us without) and finds none."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class Batch:
    """Whole records of one stream as they lie in it: cheap to hand to a worker process, which takes them apart.

    data: the packed records one after another; ends (n,) int64: where each ends; digests (n,) uint64;
    first: how many records came before in the stream; name: the stream's, for messages.
    """

    __slots__ = ("data", "digests", "ends", "first", "name")

    def __init__(self, name: str, first: int, data: bytes, ends: np.ndarray, digests: np.ndarray):
        self.name, self.first, self.data, self.ends, self.digests = name, first, data, ends, digests

    def __len__(self):
        return len(self.ends)

    @property
    def checksum(self) -> int:
        """The sum of the digests, modulo 2**64."""
        return int(self.digests.sum(dtype=np.uint64))

    def cut(self, start: int, stop: int) -> Batch:
        """The records from `start` to `stop` as a batch of their own."""
        at = int(self.ends[start - 1]) if start else 0
        ends = self.ends[start:stop]
        data = self.data[at : int(ends[-1])] if len(ends) else b""
        return Batch(self.name, self.first + start, data, ends - at, self.digests[start:stop])

    def chosen(self, places: Sequence[int]) -> tuple[bytes, int, int]:
        """The records at these places (ascending), unchanged, as pack_many gives them."""
        if len(places) == len(self.ends):
            return self.data, len(places), self.checksum
        ends = self.ends.tolist()
        starts = [0, *ends]
        data = b"".join([self.data[starts[i] : ends[i]] for i in places])
        return data, len(places), int(self.digests[list(places)].sum(dtype=np.uint64))

    def __iter__(self):
        """The records one by one; DataError at one that cannot be read."""
        unpacker = msgpack.Unpacker(ext_hook=_from_ext, strict_map_key=False, max_buffer_size=MAX_RECORD)
        unpacker.feed(self.data)
        for i in range(len(self.ends)):
            try:
                record = unpacker.unpack()
            except Exception:  # msgpack raises many kinds for bytes that are no msgpack
                before = self.first + i
                raise fault(self.name, before, f"not a fansr stream, or damaged at record {before + 1}") from None
            yield record

    def records(self) -> list[dict]:
        """All records."""
        with no_collection():
            return list(self)


def joined(batches: list[Batch]) -> Batch:
    """Batches that follow one another as one."""
    if len(batches) == 1:
        return batches[0]
    shifts = np.cumsum([0, *(len(batch.data) for batch in batches[:-1])])
    return Batch(
        batches[0].name,
        batches[0].first,
        b"".join(batch.data for batch in batches),
        np.concatenate([batch.ends + shift for batch, shift in zip(batches, shifts)]),
        np.concatenate([batch.digests for batch in batches]),
    )


def fault(name: str, n: int, what: str) -> DataError:
    """What is wrong with a stream of which `n` records were good."""
    return DataError(f"{name}: {what} ({n} good record{'' if n == 1 else 's'} came before)")
