"""Streams laid out by hand, from what reader_writer.py says of them."""

import struct

import msgpack
import xxhash


def stream_of(packed, header=None, **end) -> bytes:
    """A plain stream of packed records as the module's docstring has it, by xxhash itself."""
    head = msgpack.packb(header or {"kind": "header", "format": 2, "holds": "skeleton"})
    checksum = sum(map(xxhash.xxh3_64_intdigest, packed)) % 2**64
    tail = msgpack.packb(
        {"n": len(packed), "checksum": checksum, "dropped": {}, "kind": "end", **end, "seal": bytes(8)}
    )
    seal = xxhash.xxh3_64(struct.pack("<Q", xxhash.xxh3_64_intdigest(head)) + tail[:-8]).intdigest()
    return b"".join([head, *packed, tail[:-8], struct.pack("<Q", seal)])
