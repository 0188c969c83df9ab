"""Random generators that depend on what is drawn, never on who draws it.

A record's generator comes from (seed, stage, record id), so that any number of worker processes,
on any machine, gives the same bytes.
"""

from __future__ import annotations

import hashlib

import numpy as np


def key_for(seed: int, stage: str, id: int = 0) -> tuple[int, int]:
    """Two 64-bit words that identify a stream of random numbers."""
    text = f"{seed}/{stage}/{id}".encode()
    digest = hashlib.blake2b(text, digest_size=16).digest()
    return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")


def rng_for(seed: int, stage: str, id: int = 0) -> np.random.Generator:
    """A numpy Generator (Philox, counter-based) for one record of one stage.

    The same three arguments give the same numbers in any process.  Building one costs about
    10 us: a stage that draws very many small records takes one generator for a fixed block of ids.
    """
    return np.random.Generator(np.random.Philox(key=np.array(key_for(seed, stage, id), dtype=np.uint64)))
