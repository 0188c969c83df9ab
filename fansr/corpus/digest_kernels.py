"""packed.digest of many records at once: BLAKE2b (RFC 7693) with eight records in the eight lanes of a vector.

The checksum of a stream is a sum of 64-bit BLAKE2b hashes, one a record.  hashlib hashes 0.9 GB/s, 8 us for a problem of
128 points; BLAKE2b has no parallelism within one message to speak of, but different messages have, and a compiler
lays eight of them into one vector register of 512 bits (or two of 256).  The hashes are the same.
Importing this module loads numba.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types, void
from numba.extending import intrinsic
from numba.types import int64, uint64

from fansr.corpus.draw_kernels import W1
from fansr.corpus.skeleton_rows import BYTES
from fansr.expressions import I1, JIT

LANES = 8
BLOCK = 128  # bytes of a message that are mixed in at once
IV = (
    0x6A09E667F3BCC908,
    0xBB67AE8584CAA73B,
    0x3C6EF372FE94F82B,
    0xA54FF53A5F1D36F1,
    0x510E527FADE682D1,
    0x9B05688C2B3E6C1F,
    0x1F83D9ABFB41BD6B,
    0x5BE0CD19137E2179,
)
START = np.array(IV, dtype=np.uint64) ^ np.array([0x01010008, *[0] * 7], dtype=np.uint64)  # 8 bytes asked for, no key
SIGMA = (
    "0123456789abcdef",
    "ea489fd61c02b753",
    "b8c052fdae367194",
    "7931dcbe265a40f8",
    "905724afe1bc683d",
    "2c6a0b834d75fe19",
    "c51fed4a0763928b",
    "db7ec13950f4862a",
    "6fe9b308c2d714a5",
    "a2847615fb9e3cd0",
)


@intrinsic
def load(typingctx, data, at):
    """The eight bytes data[at : at + 8] as a little-endian number, wherever `at` is."""

    def codegen(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, types.int64), codegen


@intrinsic
def compress(typingctx, h, m, t, last):
    """RFC 7693's function F in every lane: h (8, LANES) becomes the state after the blocks m (16, LANES).

    t (LANES,): bytes hashed so far; last (LANES,): all bits 1 in a lane whose block is its last.  All uint64.
    """
    vector = ir.VectorType(ir.IntType(64), LANES)

    def codegen(context, builder, signature, arguments):
        pointers = [
            builder.bitcast(context.make_array(kind)(context, builder, value).data, vector.as_pointer())
            for kind, value in zip(signature.args, arguments)
        ]

        def place(array, i):
            return builder.gep(pointers[array], [ir.Constant(ir.IntType(64), i)])

        def constant(value):
            return ir.Constant(vector, [value] * LANES)

        def turned(x, n):
            return builder.or_(builder.lshr(x, constant(n)), builder.shl(x, constant(64 - n)))

        state = [builder.load(place(0, i), align=8) for i in range(8)]
        words = [builder.load(place(1, i), align=8) for i in range(16)]
        v = [*state, *map(constant, IV)]
        v[12] = builder.xor(v[12], builder.load(place(2, 0), align=8))
        v[14] = builder.xor(v[14], builder.load(place(3, 0), align=8))

        def mix(a, b, c, d, x, y):
            for word, first, second in ((x, 32, 24), (y, 16, 63)):
                v[a] = builder.add(builder.add(v[a], v[b]), words[word])
                v[d] = turned(builder.xor(v[d], v[a]), first)
                v[c] = builder.add(v[c], v[d])
                v[b] = turned(builder.xor(v[b], v[c]), second)

        for turn in range(12):
            order = [int(digit, 16) for digit in SIGMA[turn % 10]]
            for i in range(4):
                mix(i, 4 + i, 8 + i, 12 + i, order[2 * i], order[2 * i + 1])
            for i in range(4):
                mix(i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, order[8 + 2 * i], order[9 + 2 * i])
        for i in range(8):
            builder.store(builder.xor(state[i], builder.xor(v[i], v[i + 8])), place(0, i), align=8)
        return context.get_dummy_value()

    return types.void(h, m, t, last), codegen


@njit(void(BYTES, I1, I1, W1), **JIT)
def hash_rows(data, starts, ends, out):
    """out (n,) = packed.digest of the records data[starts[b] : ends[b]], LANES of about the same length at a time."""
    h, m = np.zeros(8 * LANES, np.uint64), np.zeros(16 * LANES, np.uint64)
    t, last, tail = np.zeros(LANES, np.uint64), np.zeros(LANES, np.uint64), np.zeros(BLOCK, np.uint8)
    order = np.argsort(ends - starts)
    for first in range(0, len(order), LANES):
        lanes = order[first : first + LANES]
        blocks = 0
        for lane in range(len(lanes)):
            blocks = max(blocks, (ends[lanes[lane]] - starts[lanes[lane]] + BLOCK - 1) // BLOCK)
            for i in range(8):
                h[i * LANES + lane] = START[i]
        for block in range(max(blocks, 1)):
            for lane in range(len(lanes)):
                b = lanes[lane]
                length = ends[b] - starts[b]
                at, left = starts[b] + BLOCK * block, length - BLOCK * block
                t[lane] = min(length, BLOCK * (block + 1))
                last[lane] = ~uint64(0) if left <= BLOCK else uint64(0)
                if left >= BLOCK:
                    for i in range(16):
                        m[i * LANES + lane] = load(data, at + 8 * i)
                elif left > 0 or block == 0:
                    for i in range(BLOCK):
                        tail[i] = data[at + i] if i < left else 0
                    for i in range(16):
                        m[i * LANES + lane] = load(tail, int64(8 * i))
            compress(h, m, t, last)
            for lane in range(len(lanes)):
                b = lanes[lane]
                # Once, at its last block; what a shorter record's lane goes on to compute is not looked at.
                if block == max((ends[b] - starts[b] + BLOCK - 1) // BLOCK, 1) - 1:
                    out[b] = h[lane]


def digests(data: bytes | np.ndarray, ends: np.ndarray) -> np.ndarray:
    """packed.digest of each of the records that lie one after another in `data`; ends (n,): where each ends."""
    ends = np.asarray(ends, dtype=np.int64)
    out = np.zeros(len(ends), np.uint64)
    hash_rows(np.frombuffer(data, np.uint8), np.concatenate([[0], ends[:-1]]), ends, out)
    return out
