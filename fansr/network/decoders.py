"""Drawing sequences from the network: the grammar of prefixes, and the decoders that share one loop over them.

Section 3.5 of the paper.  `grow` goes over prefixes of equal length:

    tree   exact: the number of draws is split at each prefix as a multinomial over the next tokens, and
           each distinct prefix is decoded once; the outcome is distributed as that many independent draws
    iid    the same draws one by one, each decoded by itself (for comparison)
    topk   without replacement: the k largest log-probabilities after Gumbel noise (Kool et al. 2019)
    beam   the same without the noise

Only tokens that can still lead to a whole expression over the columns that exist get any probability
(Grammar); log-probabilities are those of the network so masked.  A prefix is complete when no operand
is missing, so the end token needs no decoding step.

A network is what numpy_inference.py and torch_inference.py offer: memory and sequences; the choosing here is numpy's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fansr.expressions import ARITY, BOS_ID, EOS_ID, FIRST_VARIABLE_ID, MAX_VARIABLES, PAD_ID, VOCABULARY

DECODERS = ("tree", "topk", "iid", "beam", "mcts")  # all but the last are here, that one is tree_search.py
ROWS = 4096  # prefixes decoded together at most; more draws are made in several rounds
CHANGE = np.array([ARITY.get(token, 0) - 1 for token in VOCABULARY], dtype=np.int64)  # of missing operands


# ---------------------------------------------------------------------------------------------- grammar


class Grammar:
    """Which tokens may come next, given how many operands are missing and how many positions are left.

    columns: variables x1 .. x`columns` exist; length: longest expression in tokens.  A prefix's state is how many operands it misses.
    """

    start = 1

    def __init__(self, columns: int, length: int):
        self.columns, self.length = columns, length
        self.usable = np.ones(len(VOCABULARY), bool)
        self.usable[: FIRST_VARIABLE_ID - 1] = False  # <pad>, <bos>, <eos>: the end is known, not drawn
        self.usable[FIRST_VARIABLE_ID + columns : FIRST_VARIABLE_ID + MAX_VARIABLES] = False
        # allowed[a, v]: token v when its operand count may be at most a (0: leaves only)
        self.allowed = np.stack([self.usable & (a >= CHANGE + 1) for a in range(3)])

    def mask(self, missing: np.ndarray, t: int) -> np.ndarray:
        """(N, V) bool for prefixes of t tokens with `missing` (N,) operands each."""
        # After this token length - t - 1 positions remain; each missing operand takes at least one.
        spare = self.length - t - 1 - (missing - 1)
        return self.allowed[np.clip(spare, 0, 2)]

    def advance(self, missing: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        """Operands missing (N,) after one more token of each prefix."""
        return missing + CHANGE[tokens]

    def done(self, rows) -> np.ndarray:
        """(N,) bool: which prefixes are whole expressions."""
        return rows.state == 0


class Free:
    """No grammar: any token but padding, the end token ends; for measuring what the mask is worth."""

    start = 0

    def __init__(self, length: int):
        self.length = length
        self.usable = np.ones(len(VOCABULARY), bool)
        self.usable[[PAD_ID, BOS_ID]] = False

    def mask(self, missing: np.ndarray, t: int) -> np.ndarray:
        return np.broadcast_to(self.usable, (len(missing), len(self.usable)))

    def advance(self, missing: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        return np.zeros(len(tokens), np.int64)

    def done(self, rows) -> np.ndarray:
        """Ended by the end token (which stays the last id), or by the length."""
        return (rows.ids[:, -1] == EOS_ID) | (rows.ids.shape[1] == self.length)


def log_softmax(logits: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Log-probabilities in float64 over the allowed tokens; -inf elsewhere."""
    scores = np.where(mask, logits.astype(np.float64), -np.inf)
    scores -= scores.max(-1, keepdims=True)
    with np.errstate(divide="ignore"):
        return scores - np.log(np.exp(scores).sum(-1, keepdims=True))


def sharpen(logp: np.ndarray, temperature: float, top_p: float) -> np.ndarray:
    """Log-probabilities to draw from: temperature, then the fewest tokens that hold a share `top_p`."""
    if temperature != 1.0:
        logp = logp / temperature
        logp = logp - logp.max(-1, keepdims=True)
        logp -= np.log(np.exp(logp).sum(-1, keepdims=True))
    if top_p < 1.0:
        order = np.argsort(-logp, axis=-1)
        p = np.exp(np.take_along_axis(logp, order, -1))
        before = np.cumsum(p, -1) - p  # what likelier tokens hold already
        cut = np.take_along_axis(before, np.argsort(order, -1), -1) >= top_p
        logp = np.where(cut, -np.inf, logp)
        logp = logp - np.log(np.exp(logp).sum(-1, keepdims=True))
    return logp


# --------------------------------------------------------------------------------------------- the loop


@dataclass
class Drawn:
    """Complete sequences: ids (without <bos>, <eos>), log-probability by the network, and times drawn."""

    ids: list[tuple[int, ...]]
    logp: np.ndarray
    n: np.ndarray
    decoded: int = 0  # prefixes that went through the network


class _Rows:
    """Prefixes of t tokens alive in the loop, one row each."""

    def __init__(self, grammar):
        self.grammar = grammar
        self.ids = np.zeros((1, 0), np.uint8)
        self.logp = np.zeros(1)  # by the network
        self.state = np.full(1, grammar.start, np.int64)  # of the grammar

    def extend(self, parents: np.ndarray, tokens: np.ndarray, logp: np.ndarray):
        self.ids = np.concatenate((self.ids[parents], tokens[:, None].astype(np.uint8)), 1)
        self.logp = self.logp[parents] + logp[parents, tokens]
        self.state = self.grammar.advance(self.state[parents], tokens)

    def keep(self, rows: np.ndarray):
        self.ids, self.logp, self.state = self.ids[rows], self.logp[rows], self.state[rows]


def grow(network, memory, grammar, chooser, temperature: float = 1.0, top_p: float = 1.0) -> Drawn:
    """Grow prefixes token by token until all are complete; `chooser` decides how they branch.

    memory: the network's, of one table.  grammar: Grammar, or the Automaton of a notation.  chooser.split(logp, drawn_logp, rows) -> (parents, tokens) of the next rows;
    chooser.settle(done, rows) takes away the complete ones and returns which of the rows stay.
    """
    sequences = network.sequences(memory, 1, grammar.length)
    rows, last, decoded = _Rows(grammar), np.array([BOS_ID]), 0
    for t in range(grammar.length):
        logits = sequences.step(last)
        decoded += len(logits)
        logp = log_softmax(logits, grammar.mask(rows.state, t))
        parents, tokens = chooser.split(logp, sharpen(logp, temperature, top_p), rows)
        rows.extend(parents, tokens, logp)
        stay = chooser.settle(grammar.done(rows), rows)
        if not len(stay):
            break
        rows.keep(stay)
        sequences.keep(parents[stay])
        last = tokens[stay]
    drawn = chooser.result()
    drawn.decoded = decoded
    return drawn


class Draws:
    """Independent draws: n of them, merged while their prefixes agree (tree) or each by itself (iid)."""

    def __init__(self, n: int, rng: np.random.Generator, merge: bool = True):
        self.rng, self.merge = rng, merge
        self.counts = np.array([n])
        self.found: list[tuple] = []

    def split(self, logp, drawn_logp, rows):
        p = np.exp(drawn_logp)
        repeated = np.repeat(np.arange(len(p)), self.counts) if not self.merge else None
        if self.merge:
            parents, tokens, self.counts = split_counts(self.counts, p, self.rng)
            return parents, tokens
        tokens = draw_one(p[repeated], self.rng)
        self.counts = np.ones(len(tokens), np.int64)
        return repeated, tokens

    def settle(self, done, rows):
        for i in np.flatnonzero(done):
            self.found.append((tuple(rows.ids[i].tolist()), rows.logp[i], int(self.counts[i])))
        stay = np.flatnonzero(~done)
        self.counts = self.counts[stay]
        return stay

    def result(self) -> Drawn:
        return _collect(self.found)


def draw_one(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One token for each row of probabilities (N, V), by inversion of the cumulative sum."""
    total = np.cumsum(p, -1)
    u = rng.random(len(p)) * total[:, -1]
    # Not beyond the last token with any probability: u may round up to the total.
    return np.minimum((total <= u[:, None]).sum(-1), p.shape[1] - 1 - np.argmax(p[:, ::-1] > 0, -1))


def split_counts(counts: np.ndarray, p: np.ndarray, rng: np.random.Generator):
    """Share out counts[i] draws over the tokens of row i: (parents, tokens, counts) of what got any.

    Rows with few draws are drawn one by one, since a multinomial costs V binomials.
    """
    few = counts <= 8
    rows = np.repeat(np.flatnonzero(few), counts[few])
    keys = rows * p.shape[1] + draw_one(p[rows], rng)
    keys, n = np.unique(keys, return_counts=True)
    many = np.flatnonzero(~few)
    if len(many):
        q = p[many] / p[many].sum(-1, keepdims=True)
        table = rng.multinomial(counts[many], q)
        r, v = np.nonzero(table)
        keys = np.concatenate((keys, many[r] * p.shape[1] + v))
        n = np.concatenate((n, table[r, v]))
        order = np.argsort(keys)
        keys, n = keys[order], n[order]
    return keys // p.shape[1], keys % p.shape[1], n


class Best:
    """The k best sequences by log-probability (beam), or by log-probability plus Gumbel noise: k draws
    without replacement (Kool, van Hoof and Welling 2019, stochastic beam search)."""

    def __init__(self, k: int, rng: np.random.Generator | None = None):
        self.k, self.rng = k, rng
        self.drawn = np.zeros(1)  # log-probability under the distribution drawn from
        self.value = np.zeros(1)  # what rows are ranked by: a maximum of Gumbels over their completions
        self.found: list[tuple] = []  # (value, ids, logp), complete

    def split(self, logp, drawn_logp, rows):
        phi = self.drawn[:, None] + drawn_logp
        value = phi if self.rng is None else self._gumbel(phi)
        flat = value.ravel()
        bar = sorted((f[0] for f in self.found), reverse=True)
        limit = bar[self.k - 1] if len(bar) >= self.k else -np.inf  # complete ones already hold all k places
        k = min(self.k, len(flat))
        top = np.argpartition(-flat, k - 1)[:k]
        top = np.sort(top[flat[top] > limit])
        parents, tokens = top // phi.shape[1], top % phi.shape[1]
        self.drawn, self.value = phi[parents, tokens], flat[top]
        return parents, tokens

    def _gumbel(self, phi: np.ndarray) -> np.ndarray:
        """Noise for the children of each row, conditioned on their maximum being the row's own value."""
        with np.errstate(divide="ignore", invalid="ignore"):
            g = phi + self.rng.gumbel(size=phi.shape)
            z = g.max(-1, keepdims=True)
            v = self.value[:, None] - g + np.log1p(-np.exp(g - z))
            g = self.value[:, None] - np.maximum(v, 0) - np.log1p(np.exp(-np.abs(v)))
        return np.where(np.isfinite(phi), g, -np.inf)

    def settle(self, done, rows):
        for i in np.flatnonzero(done):
            self.found.append((self.value[i], tuple(rows.ids[i].tolist()), rows.logp[i]))
        self.found = sorted(self.found, key=lambda f: -f[0])[: self.k]
        # A row below the k-th complete one cannot come back: values only fall along a path.
        limit = self.found[-1][0] if len(self.found) == self.k else -np.inf
        stay = np.flatnonzero(~done & (self.value > limit))
        self.drawn, self.value = self.drawn[stay], self.value[stay]
        return stay

    def result(self) -> Drawn:
        return _collect([(ids, logp, 1) for _, ids, logp in self.found])


def _collect(found: list[tuple]) -> Drawn:
    merged: dict = {}
    for ids, logp, n in found:
        entry = merged.setdefault(ids, [logp, 0])
        entry[1] += n
    return Drawn(
        list(merged), np.array([v[0] for v in merged.values()]), np.array([v[1] for v in merged.values()], int)
    )


def draw(
    network,
    memory,
    grammar,
    samples: int,
    rng: np.random.Generator,
    decoder: str = "tree",
    temperature: float = 1.0,
    top_p: float = 1.0,
) -> Drawn:
    """`samples` sequences by one of the decoders but mcts."""
    if decoder in ("topk", "beam"):
        chooser = Best(samples, rng if decoder == "topk" else None)
        return grow(network, memory, grammar, chooser, temperature, top_p)
    rounds = [min(ROWS, samples - start) for start in range(0, samples, ROWS)]
    parts = [grow(network, memory, grammar, Draws(n, rng, decoder == "tree"), temperature, top_p) for n in rounds]
    found = [entry for part in parts for entry in zip(part.ids, part.logp, part.n)]
    drawn = _collect(found)
    drawn.decoded = sum(part.decoded for part in parts)
    return drawn
