"""The library of terms that aimed changes draw from: what few columns give by few operators, each shape once."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np

from fansr.expressions import OPERATORS, opcodes as op
from fansr.proposers.local_search.genomes import WIDTH

TILE = 256  # terms of a tile: four rows of float32 at a time and the sums over them stay in the first cache
POINTS = 32  # on which all terms are looked at
TERM_PRICE, SUMMAND_PRICE = (
    0.06,
    0.12,
)  # of a term's position and of a constant beside it, in logs of the unexplained share


class Library(NamedTuple):
    """Terms with their values; a genome a row.  Tiles hold their values once more, on few points and in float32, T = ceil(N / TILE) of them.

    A term is scale * (centre + u) with u of mean 0 and size 1: scaled, so that float32 can hold it, and centred, so that
    no digits are lost to a mean.
    """

    values: np.ndarray  # (N, M) float64
    codes: np.ndarray  # (N, WIDTH) int64
    lengths: np.ndarray  # (N,) int64
    tiles: np.ndarray  # (T, POINTS, TILE) float32, u at the first points; 0 beyond the last term and point
    centres: np.ndarray  # (T, TILE) float32
    prices: np.ndarray  # (T, TILE) float32, exp(TERM_PRICE * length); infinite where a tile holds no term


def library_of(values: np.ndarray, codes: np.ndarray, lengths: np.ndarray) -> Library:
    """A library of terms, its tiles filled; terms that do not vary or are not finite have an infinite price."""
    N = len(values)
    T = -(-N // TILE)
    few = values[:, :POINTS]
    with np.errstate(all="ignore"):
        mean = few.mean(1) if few.shape[1] else np.zeros(N)
        scale = np.abs(few - mean[:, None]).max(1, initial=0.0)
        u, centre = (few - mean[:, None]) / scale[:, None], mean / scale
        good = (scale > 1e-13 * np.abs(mean)) & np.isfinite(u).all(1) & np.isfinite(centre)
    flat, centres, prices = (
        np.zeros((T * TILE, POINTS), np.float32),
        np.zeros(T * TILE, np.float32),
        np.full(T * TILE, np.inf, np.float32),
    )
    flat[:N, : few.shape[1]][good] = u[good]
    centres[:N][good] = centre[good]
    prices[:N][good] = np.exp(TERM_PRICE * lengths[good])
    tiles = np.ascontiguousarray(flat.reshape(T, TILE, POINTS).transpose(0, 2, 1))
    return Library(values, codes, lengths, tiles, centres.reshape(T, TILE), prices.reshape(T, TILE))


def leading(X, y, columns: list[int], most: int = 10) -> list[int]:
    """The columns that vary most with y: by the largest correlation of x, x^2 or 1/x with it, in table order."""
    if len(columns) <= most:
        return columns
    strength = []
    with np.errstate(all="ignore"):
        centred = (y - y.mean()) / np.ptp(y)
        for j in columns:
            x = X[:, j] / np.abs(X[:, j]).max()
            found = [
                abs(((f - f.mean()) * centred).sum()) / np.sqrt(((f - f.mean()) ** 2).sum()) for f in (x, x * x, 1 / x)
            ]
            strength.append(max([v for v in found if np.isfinite(v)], default=0.0))
    return sorted(columns[i] for i in np.argsort(strength)[-most:])


def stock(X: np.ndarray, columns: list[int], most: int = 1500) -> Library:
    """Terms built from few columns, shortest first.

    Products, quotients, sums and differences of columns, functions of them, and products of a column with those.
    A term whose values are those of an earlier one up to a factor, or not finite, is left out.
    """
    code = {row.token: row.opcode for row in OPERATORS}
    seen: set[bytes] = set()
    rows: list[np.ndarray] = []
    genomes: list[list[int]] = []

    def add(group):
        """Take the new ones of a group of (genome, values)."""
        if not group or len(rows) >= most:
            return
        values = np.stack([values for _, values in group])
        size = np.abs(values).max(1, initial=0.0)
        scaled = values / size[:, None]
        places = np.abs(scaled).argmax(1) if values.shape[1] else np.zeros(len(group), np.int64)
        scaled *= np.sign(np.take_along_axis(scaled, places[:, None], 1)) if values.shape[1] else 1.0
        keys = np.round(scaled, 7).astype(np.float32)
        for k in np.flatnonzero((size > 0) & (size < 1e200)):
            key = keys[k].tobytes()
            if key not in seen and len(rows) < most:
                seen.add(key)
                rows.append(values[k])
                genomes.append(group[k][0])

    with np.errstate(all="ignore"):
        leaves = [([op.COLUMN + j], X[:, j]) for j in columns]
        functions = [
            ("inv", lambda v: 1 / v), ("pow2", np.square), ("pow1_2", np.sqrt), ("pow3", lambda v: v**3), ("sin", np.sin),
            ("cos", np.cos), ("exp", np.exp), ("log", np.log), ("tanh", np.tanh), ("pow4", lambda v: v**4),
        ]  # fmt: skip
        singles = [([code[f], *g], act(v)) for g, v in leaves for f, act in functions]
        pairs = []
        for (g, v), (h, u) in itertools.combinations(leaves, 2):
            pairs += [([code["*"], *g, *h], v * u), ([code["/"], *g, *h], v / u), ([code["/"], *h, *g], u / v),
                      ([code["-"], *g, *h], v - u), ([code["+"], *g, *h], v + u)]  # fmt: skip
        for group in (leaves, singles, pairs):
            add(group)
        add([([code["*"], *g, *h], v * u) for g, v in leaves for h, u in singles]
            + [([code["/"], *g, *h], v / u) for g, v in leaves for h, u in singles])  # fmt: skip
        add([([code[f], *g], act(v)) for g, v in pairs for f, act in functions[:8]])
        add([([code["*"], *g, *h], v * u) for g, v in leaves for h, u in pairs]
            + [([code["/"], *h, *g], u / v) for g, v in leaves for h, u in pairs])  # fmt: skip
        products = itertools.combinations(singles, 2)
        while len(rows) < most and (some := list(itertools.islice(products, most))):
            add([([code["*"], *g, *h], v * u) for (g, v), (h, u) in some])
    codes, lengths = np.zeros((len(rows), WIDTH), np.int64), np.array([len(g) for g in genomes], np.int64)
    for k, genome in enumerate(genomes):
        codes[k, : len(genome)] = genome
    return library_of(np.ascontiguousarray(rows, np.float64).reshape(len(rows), len(X)), codes, lengths)
