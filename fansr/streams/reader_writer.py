"""Streams of records: zstd frames over concatenated msgpack maps.

    header, record, record, ..., end

The header says what the stream holds and which commands made it; the end record counts and sums the records, so that
a cut stream, which zstd itself reads without complaint, is noticed.  Its fields: n, dropped {reason: count},
checksum (sum of packing.digest over the packed records, modulo 2**64), interrupted {done, meant} where the writer was
stopped before its work was done, and, last, seal: packing.digest of the eight bytes (little-endian) of the packed
header's digest followed by the packed end record up to the seal's own eight bytes.  So every byte of a stream is
covered.  Format 1, which is still read, had another hash and no seal.

Streams put one after another (``cat a b``) are a valid stream.  Reading also takes gzip and plain msgpack, told apart
by content.  reading.py reads and writing.py writes; packing.py says how a record is laid out, files.py how its bytes are packed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from fansr.streams.packing import MASK, Batch, digest, pack, pack_many, unpack
from fansr.streams.reading import Reader
from fansr.streams.writing import FAST, LEVEL, Writer

__all__ = [
    "FAST",
    "LEVEL",
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

open_reader = Reader
open_writer = Writer


def chain(sources: Iterable[str], holds: str | tuple[str, ...] | None = None) -> Iterator[dict]:
    """Readers over several sources as one iterator of records: what `cat a b` would give."""
    for source in sources or ["-"]:
        with open_reader(source, holds=holds) as reader:
            yield from reader
