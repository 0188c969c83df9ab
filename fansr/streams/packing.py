"""Records as bytes: one msgpack map each, and many of them laid one after another.

Layout of an ndarray: msgpack extension type 1 whose payload is the msgpack array
[dtype string such as "<f8", [shape], bytes in C order].  A record holds maps with texts as keys, lists, texts, bytes,
numbers, nil and such arrays of the DTYPES, at most DEPTH deep; anything else is refused when it is read.  Nothing read
is ever executed.  This file knows nothing of files and compression; reader_writer.py does.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgpack
import numpy as np
import xxhash

from fansr.errors import DataError
from fansr.streams import records as kinds

NDARRAY = 1  # msgpack extension type
MASK = (1 << 64) - 1  # checksums are sums modulo 2**64
DEPTH = 32  # of lists and maps inside one another
DTYPES = frozenset(("|b1", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "<f2", "<f4", "<f8"))
MAX_VALUES = 1 << 18  # values in one record, those inside arrays not counted: each takes up to 72 bytes of memory
MAX_SIDE = 1 << 32  # rows or columns of an array, also of an empty one
_SCALARS = frozenset((type(None), bool, int, float, str, bytes, np.ndarray))


class Unsound(ValueError):
    """msgpack that holds what no record may."""


# ---- one record -------------------------------------------------------------------------------


_pack_array = msgpack.Packer().pack  # one for all arrays: making a packer costs more than packing a small array


def _to_ext(value):
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
        if little.dtype.str not in DTYPES:
            raise TypeError(f"an array of dtype {value.dtype} cannot be written to a stream")
        return msgpack.ExtType(NDARRAY, _pack_array([little.dtype.str, value.shape, little.tobytes()]))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be written to a stream")


def _from_ext(code: int, data: bytes):
    if code != NDARRAY:
        raise Unsound(f"msgpack extension type {code}, wanted {NDARRAY} (an array) or none")
    try:
        dtype, shape, raw = msgpack.unpackb(data)
        n = math.prod(shape) if all(type(side) is int and 0 <= side < MAX_SIDE for side in shape) else -1
    except Exception:  # msgpack raises many kinds for bytes that are no msgpack
        raise Unsound("an array that is not [dtype, shape, bytes]") from None
    if type(dtype) is not str or dtype not in DTYPES:
        raise Unsound(f"an array of dtype {str(dtype)[:20]!r}, wanted one of {', '.join(sorted(DTYPES))}")
    if n < 0 or len(shape) > 8 or type(raw) is not bytes or n * int(dtype[2]) != len(raw):
        raise Unsound(f"an array of shape {str(shape)[:60]} and dtype {dtype} in {len(raw)} bytes")
    return np.frombuffer(raw, dtype=dtype).reshape(shape).copy()


def pack(record: dict) -> bytes:
    """One record as msgpack; numpy arrays and scalars allowed."""
    return msgpack.packb(record, default=_to_ext)


def unpack(data: bytes) -> dict:
    """The inverse of pack; Unsound for what no record may hold, msgpack's own errors for what is no msgpack."""
    try:
        found = msgpack.unpackb(data, ext_hook=_from_ext, strict_map_key=True)
    except msgpack.exceptions.StackError:
        raise Unsound("lists or maps over 1000 deep") from None
    except ValueError as error:
        if "is not allowed for map key" in str(error):
            raise Unsound(f"a field that is no text: {error}") from None
        raise
    _look_through(found, DEPTH)
    return found


def _look_through(value, depth: int) -> int:
    """How many values a value has in it; Unsound where it holds what no record may.  `depth`: how deep it may still go."""
    if type(value) is dict:
        if not _TEXT.issuperset(map(type, value)):
            raise Unsound("a field whose name is no text")
        inner = list(value.values())
    elif type(value) is list:
        inner = value
    elif type(value) in _SCALARS:
        return 1
    else:
        raise Unsound(f"a {type(value).__name__}, which no record holds")
    n = len(inner)
    if not _SCALARS.issuperset(map(type, inner)):
        if depth == 0:
            raise Unsound(f"lists or maps over {DEPTH} deep")
        n += sum([_look_through(part, depth - 1) for part in inner])
    if n > MAX_VALUES:
        raise Unsound(f"over {MAX_VALUES} values that are no array's")
    return n


_TEXT = frozenset((str,))


def digest(packed: bytes) -> int:
    """64-bit hash (XXH3) of one packed record; their sum modulo 2**64 is the stream's checksum."""
    return xxhash.xxh3_64_intdigest(packed)


def old_digest(packed: bytes) -> int:
    """What format 1 has in place of digest: BLAKE2b of 8 bytes."""
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")


# ---- many records -----------------------------------------------------------------------------


def digests(data: bytes | memoryview, ends: np.ndarray, one: Callable = digest) -> np.ndarray:
    """digest of each of the packed records that lie one after another in `data`; ends (n,): where each ends.

    uint64 (n,); their sum wraps around as the checksum does.
    """
    view, edges = memoryview(data), ends.tolist()
    return np.array([one(view[a:b]) for a, b in zip([0, *edges], edges)], dtype=np.uint64)


def pack_many(records: Iterable[dict]) -> tuple[bytes, int, int]:
    """Some records packed for Writer.write_many: their bytes one after another, their number, their checksum."""
    pack_one = msgpack.Packer(default=_to_ext).pack
    packed = [pack_one(record) for record in records]
    return b"".join(packed), len(packed), sum(map(digest, packed)) & MASK


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


def _heads() -> list[tuple[int, int, int, int]]:
    """By an object's first byte: (bytes of the number after it, values per unit of that number, bytes per unit,
    bytes besides); where no number follows the unit count is in the byte itself and the table has it."""
    table = [(0, 0, 0, 0)] * 256  # one byte: small numbers, nil, false, true
    for byte in range(256):
        if 0x80 <= byte < 0xA0:  # small map, small list
            table[byte] = (0, (byte & 15) * (2 if byte < 0x90 else 1), 0, 0)
        elif 0xA0 <= byte < 0xC0:  # small text
            table[byte] = (0, 0, 0, byte & 31)
    for i in range(3):
        table[0xC4 + i] = (1 << i, 0, 1, 0)  # bytes
        table[0xC7 + i] = (1 << i, 0, 1, 1)  # extension: its type too
        table[0xD9 + i] = (1 << i, 0, 1, 0)  # text
    for i in range(2):
        table[0xDC + i] = (2 << i, 1, 0, 0)  # list
        table[0xDE + i] = (2 << i, 2, 0, 0)  # map
        table[0xCA + i] = (0, 0, 0, 4 << i)  # float
    for i in range(4):
        table[0xCC + i] = table[0xD0 + i] = (0, 0, 0, 1 << i)  # whole numbers
    for i in range(5):
        table[0xD4 + i] = (0, 0, 0, 1 + (1 << i))  # extension of a fixed size
    return table


_HEADS = _heads()


class LargeObject:
    """Follows one msgpack object by the heads of the values in it while it comes.

    values: heads seen; at_least: bytes the object takes as far as these tell, which is known long before they are here.
    """

    def __init__(self):
        self.values, self.at_least = 0, 1
        self._at, self._left = 0, 1  # where the next head is; values still to come

    def find_end(self, data: bytes | memoryview) -> int | None:
        """Where the object ends that `data` begins with; None where it is not whole yet, ValueError for no msgpack."""
        at, left, n = self._at, self._left, len(data)
        while left and at < n and self.values <= MAX_VALUES:
            byte = data[at]
            if byte == 0xC1:
                raise ValueError("no msgpack")
            width, inner, size, more = _HEADS[byte]
            if at + width >= n and width:
                break
            number = int.from_bytes(data[at + 1 : at + 1 + width], "big") if width else 1
            at += 1 + width + number * size + more
            left += number * inner - 1
            self.values += 1
        self._at, self._left, self.at_least = at, left, at + left
        return at if not left and at <= n else None


class Batch:
    """Whole records of one stream as they lie in it: cheap to hand to a worker process, which takes them apart.

    data: the packed records one after another; ends (n,) int64: where each ends; digests (n,) uint64;
    first: how many records came before in the stream; name: the stream's, for messages; holds: the kind of the
    records, None where they are taken as they are.
    """

    __slots__ = ("data", "digests", "ends", "first", "holds", "name")

    def __init__(
        self, name: str, first: int, data: bytes, ends: np.ndarray, digests: np.ndarray, holds: str | None = None
    ):
        self.name, self.first, self.data, self.ends, self.digests = name, first, data, ends, digests
        self.holds = holds

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
        return Batch(self.name, self.first + start, data, ends - at, self.digests[start:stop], self.holds)

    def until(self, start: int, size: int, much: int) -> int:
        """Where a piece ends that begins at record `start`: after `size` records, or where `much` bytes are passed."""
        past = np.searchsorted(self.ends, (self.ends[start - 1] if start else 0) + much) + 1
        return min(start + size, int(past), len(self.ends))

    def chosen(self, places: Sequence[int]) -> tuple[bytes, int, int]:
        """The records at these places (ascending), unchanged, as pack_many gives them."""
        if len(places) == len(self.ends):
            return self.data, len(places), self.checksum
        ends = self.ends.tolist()
        starts = [0, *ends]
        data = b"".join([self.data[starts[i] : ends[i]] for i in places])
        return data, len(places), int(self.digests[list(places)].sum(dtype=np.uint64))

    def __iter__(self):
        """The records one by one; DataError at one that cannot be read, or that is none of the stream's kind."""
        view, edges = memoryview(self.data), self.ends.tolist()
        for number, (start, stop) in enumerate(zip([0, *edges], edges), self.first + 1):
            try:
                record = unpack(view[start:stop])
            except Unsound as error:
                raise fault(self.name, number - 1, f"record {number}: {error}") from None
            except Exception:  # msgpack raises many kinds for bytes that are no msgpack
                raise fault(self.name, number - 1, f"not a fansr stream, or damaged at record {number}") from None
            yield record if self.holds is None else kinds.check_in(record, self.holds, f"{self.name}: record {number}")

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
        batches[0].holds,
    )


def fault(name: str, n: int, what: str) -> DataError:
    """What is wrong with a stream of which `n` records were good."""
    return DataError(f"{name}: {what} ({n} good record{'' if n == 1 else 's'} came before)")
