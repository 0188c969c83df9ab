"""Constants put into forms that have none: a leaf or an operand t of a binary operator becomes c*t or c + t.

    x1 + sin x2   ->   <constant>*x1 + sin(<constant> + x2), say

What the constants are is the prior's affair ([[constants]]); here they get their places (prior.inserted is the chance of
each).  A row's insertions depend on (seed, stage, id) alone.  Importing this module loads numba.
"""

from __future__ import annotations

import numpy as np

from fansr.corpus.random_columns import mix, uniform
from fansr.expressions import (
    CONSTANT_ID,
    FIRST_OPERATOR_ID,
    OPERATORS,
    TOKEN_ID,
    compilation as nb,
)
from fansr.streams import key_for

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_ARITY = np.zeros(256, np.int64)
_ARITY[[FIRST_OPERATOR_ID + row.opcode for row in OPERATORS]] = [row.arity for row in OPERATORS]
_TIMES, _PLUS = TOKEN_ID["*"], TOKEN_ID["+"]


@nb.kernel(nb.int64(nb.U2, nb.W1, nb.W1, nb.float64, nb.U2))
def insert_rows(rows, ids, key, chance, out):
    """out (B, 3 L) = rows (B, L) with constants inserted; the length of the longest row of out."""
    longest = 0
    random = np.zeros(1, np.uint64)
    kind, left = np.zeros(rows.shape[1] + 1, np.int64), np.zeros(rows.shape[1] + 1, np.int64)
    for b in range(len(rows)):
        random[0] = mix(key[0] ^ mix(key[1] + ids[b] * _GOLDEN))
        depth, at = 0, 0  # kind[:depth], left[:depth]: arities of the operators that still miss operands, and how many
        for k in range(rows.shape[1]):
            token = rows[b, k]
            if token == 0:
                break
            arity = _ARITY[token]
            if token != CONSTANT_ID and (arity == 0 or (depth > 0 and kind[depth - 1] == 2)):
                if uniform(random) < chance:
                    out[b, at] = _TIMES if uniform(random) < 0.5 else _PLUS
                    out[b, at + 1] = CONSTANT_ID
                    at += 2
            out[b, at] = token
            at += 1
            if arity > 0:
                kind[depth], left[depth] = arity, arity
                depth += 1
            else:
                while depth > 0:
                    left[depth - 1] -= 1
                    if left[depth - 1] > 0:
                        break
                    depth -= 1
        longest = max(longest, at)
    return longest


def insert(rows: np.ndarray, ids: np.ndarray, chance: float, seed: int = 0, stage: str = "insert") -> np.ndarray:
    """Rows (B, L) uint8 of vocabulary ids padded with 0, with constants put in by chance: (B, L') uint8.

    ids (B,): one for each row, on which with `seed` and `stage` its insertions depend.
    """
    rows = np.array(rows, dtype=np.uint8, order="C")
    out = np.zeros((len(rows), 3 * rows.shape[1]), np.uint8)
    key = np.array(key_for(seed, stage), dtype=np.uint64)
    longest = insert_rows(rows, np.array(ids, dtype=np.uint64), key, float(chance), out)
    return np.ascontiguousarray(out[:, : max(1, longest)])
