"""Which few of many features explain a target best: best-subset search by exhaustive pairs and exchange.

    for sets in growing(Subsets(B, t), 5, rng):      # B (T, n) features as rows, t (n,) target

All work after the first matrix product happens on the Gram matrix (T, T), where trying every feature in one place of a
set costs T * k operations instead of T * n.  The price is precision: residuals below about 1e-13 of the target's square
are noise there, so callers settle the few best sets by an exact least-squares fit.  Nothing here knows what a feature is.
"""

from __future__ import annotations

import math

import numpy as np

from fansr.proposers.parts import subset_kernels

PAIR_DETERMINANT = 1e-4  # pairs more collinear than this are left to the exchange, whose Gram matrix is float64
MIN_SHARE = 1e-7  # least squared share of a feature that must be new to a set
PAIRS_KEPT = 400
GRAM_PAIRS = 1300  # all pairs of more features than this take too long; exchange covers the rest
FLOOR = 1e-14  # relative residuals below this cannot be told from 0 on the Gram matrix


class Subsets:
    """The Gram matrix of normalised features against one target.

    B (T, n) must have finite, non-zero rows, of these norms if they are known.  `scaled` (T, n) are the rows at unit length, `G` (T, T) and `b` (T,) their
    products with each other and with the target; `total` is the target's square.
    """

    def __init__(self, B: np.ndarray, t: np.ndarray, norms: np.ndarray | None = None):
        self.norms = np.sqrt((B * B).sum(axis=1)) if norms is None else norms
        self.scaled = B / self.norms[:, None]
        self.t, self.total = t, float(t @ t) or 1.0
        self.b = self.scaled @ t
        self.G = self.scaled @ self.scaled.T

    def singles(self, count: int) -> list[tuple[float, tuple[int, ...]]]:
        """The `count` best single features with their relative residuals."""
        residual = 1 - self.b**2 / self.total
        order = np.argsort(residual, kind="stable")[:count]
        return [(max(0.0, float(residual[i])), (int(i),)) for i in order]

    def pairs(self, count: int) -> list[tuple[float, tuple[int, ...]]]:
        """The `count` best pairs of all T (T - 1) / 2, by their relative residuals."""
        T = len(self.b)
        if T < 2:
            return []
        # Explained square of a pair: (bi^2 + bj^2 - 2 g bi bj) / (1 - g^2).  In float32 first; the best are computed again below.
        partner, explained = subset_kernels.partners(self.G, self.b / np.sqrt(self.total), PAIR_DETERMINANT)
        # The best one of each: diverse, and much cheaper than sorting all.
        first = np.argsort(-explained, kind="stable")[:PAIRS_KEPT]
        second = partner[first]
        both = np.unique(np.minimum(first, second) * T + np.maximum(first, second))
        i, j = both // T, both % T
        gij = self.G[i, j]
        with np.errstate(divide="ignore", invalid="ignore"):
            exact = (self.b[i] ** 2 + self.b[j] ** 2 - 2 * gij * self.b[i] * self.b[j]) / (1 - gij**2)
        residual = np.where(np.isfinite(exact) & (i < j), 1 - exact / self.total, 2.0)
        order = np.argsort(residual, kind="stable")[:count]
        return [(max(0.0, float(residual[q])), (int(i[q]), int(j[q]))) for q in order if residual[q] <= 1]

    def exchange(self, starts: np.ndarray, sweeps: int = 5, banned=None) -> list[tuple[float, tuple[int, ...]]]:
        """Local optima from `starts` (S, k): each place in turn takes the feature that explains most of what is left.

        All S sets advance together; `banned` (S,) is a feature that each must do without.  Returns distinct sets, best
        first.
        """
        sets = np.array(starts, np.int64)
        banned = np.full(len(sets), -1) if banned is None else np.asarray(banned, np.int64)
        residual = subset_kernels.exchanged(self.G, self.b, self.total, sets, banned, sweeps, MIN_SHARE, FLOOR)
        k = sets.shape[1]
        found = {
            tuple(sorted(row)): max(0.0, r) for row, r in zip(sets.tolist(), residual.tolist()) if math.isfinite(r)
        }
        return sorted((r, members) for members, r in found.items() if len(set(members)) == k)


def best_subsets(problem: Subsets, k: int, starts, rng: np.random.Generator, random_starts: int = 8):
    """Sets of size k grown from sets of size k - 1 (any order, best first) plus random ones; best first."""
    T = len(problem.b)
    if k > T:
        return []
    rows = [list(s) for s in starts if len(s) == k - 1]
    rows = [r + [_absent(r, T, rng)] for r in rows]
    rows += [rng.choice(T, k, replace=False).tolist() for _ in range(random_starts)]
    # The place just added is optimised first.
    return problem.exchange(np.array([r[::-1] for r in rows]))


def without_each(problem: Subsets, sets, rng: np.random.Generator):
    """Local optima that do without one member of a given set, for each member of each set; best first.

    A feature that stands for several true ones, (a - b)^2 say, holds a search in its neighbourhood until it is forbidden.
    """
    starts, banned = [], []
    for members in sets:
        for member in members if len(members) < len(problem.b) else ():
            starts.append([_absent(list(members), len(problem.b), rng), *(m for m in members if m != member)])
            banned.append(member)
    return problem.exchange(np.array(starts), banned=np.array(banned)) if starts else []


def growing(problem: Subsets, most: int, rng: np.random.Generator, random_starts: int = 8):
    """The best sets of 1, 2, ... `most` features in turn, each grown from the ones before: [(residual, members)], best first."""
    found = problem.singles(12)
    yield found
    for k in range(2, min(most, len(problem.b)) + 1):
        starts = [members for _, members in found[:12]]
        grown = problem.pairs(14) if k == 2 and len(problem.b) <= GRAM_PAIRS else []
        found = grown or best_subsets(problem, k, starts, rng, random_starts) or found
        if k in (3, 4) and found[0][0] > 1e-10:
            found = sorted({*found, *without_each(problem, [members for _, members in found[:2]], rng)})
        yield found


def _absent(members: list[int], T: int, rng: np.random.Generator) -> int:
    """Any of T features that is not in the set, to be exchanged at once; there must be one."""
    absent = int(rng.integers(0, T - len(set(members))))
    for member in sorted(set(members)):
        absent += member <= absent
    return absent
