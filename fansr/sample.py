"""fansr-sample: laws that the network holds likely for given data.

    fansr-render data/fastsrb.json | fansr-sample --samples 4096 > candidates.zst

Section 3.5 of the paper.  The decoders share one loop, `grow`, over prefixes of equal length:

    tree   exact: the number of draws is split at each prefix as a multinomial over the next tokens, and
           each distinct prefix is decoded once; the outcome is distributed as that many independent draws
    iid    the same draws one by one, each decoded by itself (for comparison)
    topk   without replacement: the k largest log-probabilities after Gumbel noise (Kool et al. 2019)
    beam   the same without the noise
    mcts   a tree search whose rewards are fits of completed laws (see tree_search)

Only tokens that can still lead to a whole expression over the columns that exist get any probability
(Grammar); log-probabilities are those of the network so masked.  A prefix is complete when no operand
is missing, so the end token needs no decoding step.

This module knows the network and expressions; of fitting it knows only `fitter.fit(exprs)`.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import click
import numpy as np
import torch

from fansr import batch as batches
from fansr import checkpoint, command, records, resources, stream
from fansr.errors import DataError
from fansr.expr import sort_commutative
from fansr.model import Cache, Model
from fansr.problem import Budget, Candidate, Problem
from fansr.seeds import rng_for
from fansr.tokens import (
    ARITY,
    BOS_ID,
    CONSTANT,
    EOS_ID,
    FIRST_VARIABLE_ID,
    MAX_VARIABLES,
    PAD_ID,
    VOCABULARY,
    decode,
    variable_index,
)

DECODERS = ("tree", "topk", "iid", "beam", "mcts")
ROWS = 4096  # prefixes decoded together at most; more draws are made in several rounds
FIRST_DRAWS = 64  # of a proposer; doubled each time, so that other proposers get their turn early
CHANGE = np.array([ARITY.get(token, 0) - 1 for token in VOCABULARY], dtype=np.int64)  # of missing operands


# ---------------------------------------------------------------------------------------------- grammar


class Grammar:
    """Which tokens may come next, given how many operands are missing and how many positions are left.

    columns: variables x1 .. x`columns` exist; length: longest expression in tokens.
    """

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

    def done(self, rows) -> np.ndarray:
        """(N,) bool: which prefixes are whole expressions."""
        return rows.missing == 0


class Free:
    """No grammar: any token but padding, the end token ends; for measuring what the mask is worth."""

    def __init__(self, length: int):
        self.length = length
        self.usable = np.ones(len(VOCABULARY), bool)
        self.usable[[PAD_ID, BOS_ID]] = False

    def mask(self, missing: np.ndarray, t: int) -> np.ndarray:
        return np.broadcast_to(self.usable, (len(missing), len(self.usable)))

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

    def __init__(self):
        self.ids = np.zeros((1, 0), np.uint8)
        self.logp = np.zeros(1)  # by the network
        self.missing = np.ones(1, np.int64)

    def extend(self, parents: np.ndarray, tokens: np.ndarray, logp: np.ndarray):
        self.ids = np.concatenate((self.ids[parents], tokens[:, None].astype(np.uint8)), 1)
        self.logp = self.logp[parents] + logp[parents, tokens]
        self.missing = self.missing[parents] + CHANGE[tokens]

    def keep(self, rows: np.ndarray):
        self.ids, self.logp, self.missing = self.ids[rows], self.logp[rows], self.missing[rows]


@torch.inference_mode()
def grow(model: Model, memory: torch.Tensor, grammar: Grammar, chooser, temperature: float = 1.0,
         top_p: float = 1.0) -> Drawn:
    """Grow prefixes token by token until all are complete; `chooser` decides how they branch.

    memory (1, S, d).  chooser.split(logp, drawn_logp, rows) -> (parents, tokens) of the next rows;
    chooser.settle(done, rows) takes away the complete ones and returns which of the rows stay.
    """
    device = memory.device
    cache = Cache(model, memory, 1, grammar.length)
    rows = _Rows()
    last = torch.full((1,), BOS_ID, dtype=torch.long, device=device)
    decoded = 0
    for t in range(grammar.length):
        logits = cache.step(last).float().cpu().numpy()
        decoded += len(logits)
        logp = log_softmax(logits, grammar.mask(rows.missing, t))
        parents, tokens = chooser.split(logp, sharpen(logp, temperature, top_p), rows)
        rows.extend(parents, tokens, logp)
        stay = chooser.settle(grammar.done(rows), rows)
        if not len(stay):
            break
        rows.keep(stay)
        cache.keep(torch.as_tensor(parents[stay], device=device))
        last = torch.as_tensor(tokens[stay].astype(np.int64), device=device)
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
    return Drawn(list(merged), np.array([v[0] for v in merged.values()]), np.array([v[1] for v in merged.values()], int))


def draw(model: Model, memory: torch.Tensor, grammar: Grammar, samples: int, rng: np.random.Generator,
         decoder: str = "tree", temperature: float = 1.0, top_p: float = 1.0) -> Drawn:
    """`samples` sequences by one of the decoders but mcts."""
    if decoder in ("topk", "beam"):
        chooser = Best(samples, rng if decoder == "topk" else None)
        return grow(model, memory, grammar, chooser, temperature, top_p)
    rounds = [min(ROWS, samples - start) for start in range(0, samples, ROWS)]
    parts = [grow(model, memory, grammar, Draws(n, rng, decoder == "tree"), temperature, top_p) for n in rounds]
    found = [entry for part in parts for entry in zip(part.ids, part.logp, part.n)]
    drawn = _collect(found)
    drawn.decoded = sum(part.decoded for part in parts)
    return drawn


# ----------------------------------------------------------------------------- a table as the network sees it


@dataclass
class View:
    """What the network is shown of a problem: `columns` (their numbers in the table, in order, at most as many
    as the network takes), and `powers` (1+C,) of two by which target and columns were divided."""

    columns: list[int]
    powers: np.ndarray
    values: torch.Tensor  # (1, M, 1+C) float32


def show(problem: Problem, config, settings: dict, rng: np.random.Generator, pool=None) -> View:
    """Choose columns and points and scale them as in training.

    Constant columns are left out.  Of more points than the network was trained with, a random subset is shown;
    of more columns, those that the best candidates so far use, then those most correlated with the target.
    """
    moving = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0]
    columns = sorted(_relevant(problem, moving, pool)[: config.columns])
    most = int(settings.get("max_points", 64))
    rows = np.arange(len(problem.y))
    if len(rows) > most:
        rows = np.sort(rng.choice(len(rows), most, replace=False))
    values = np.column_stack((problem.y[rows], problem.X[np.ix_(rows, columns)]))[None]
    powers = np.zeros(values.shape[-1])
    if settings.get("scale_columns", True):
        exponents = batches.scale_exponents(values)
        values = batches.scaled(torch.as_tensor(values), exponents).numpy()
        powers = exponents[0].numpy()
    largest = float(np.finfo(np.float32).max)
    return View(columns, powers, torch.as_tensor(np.clip(values, -largest, largest).astype(np.float32)))


def _relevant(problem: Problem, columns: list[int], pool) -> list[int]:
    """Columns, the likeliest to matter first."""
    used = {}
    for place, candidate in enumerate(list(pool or [])[:5]):
        for token in candidate.expr:
            if (j := variable_index(token)) is not None:
                used.setdefault(j, place)
    ranks = np.argsort(np.argsort(problem.y))

    def weight(j):
        other = np.argsort(np.argsort(problem.X[:, j]))
        return abs(np.corrcoef(ranks, other)[0, 1]) if len(ranks) > 2 else 0.0

    return sorted(columns, key=lambda j: (used.get(j, 99), -weight(j)))


def to_expr(ids, view: View) -> list[str]:
    """Network tokens as a law over the table's own columns: names and scales restored.

    A column shown over 2**k enters as a free constant times the column, a target so shown makes the whole law
    a free constant times it; simplification merges these into constants that are there already.
    """
    expr = []
    if view.powers[0]:
        expr += ["*", CONSTANT]
    for token in decode(ids):
        j = variable_index(token)
        if j is None:
            expr.append(token)
            continue
        if view.powers[1 + j]:
            expr += ["*", CONSTANT]
        expr.append(f"x{view.columns[j] + 1}")
    return expr


def finish(drawn: Drawn, view: View, relax: bool = True) -> tuple[list[Candidate], dict]:
    """Candidates from sequences: restored, simplified, relaxed, equal ones merged; and the drops by reason.

    Merged candidates add their counts and their probabilities.  Likeliest first.
    """
    from fansr.simplify import simplify_many

    exprs = [to_expr(ids, view) for ids in drawn.ids]
    merged: dict[tuple, list] = {}
    dropped: dict[str, int] = {}
    for (expr, reason), logp, n in zip(simplify_many(exprs, relax=relax), drawn.logp, drawn.n):
        if expr is None:
            dropped[reason] = dropped.get(reason, 0) + int(n)
            continue
        entry = merged.setdefault(tuple(expr), [-math.inf, 0])
        entry[0] = float(np.logaddexp(entry[0], logp))
        entry[1] += int(n)
    found = [Candidate(list(expr), source="model", logp=min(0.0, logp), n=n) for expr, (logp, n) in merged.items()]
    return sorted(found, key=lambda c: (-c.logp, c.expr)), dropped


# ------------------------------------------------------------------------------------------ tree search


class _Node:
    """A prefix in the search tree: visits and best reward below it, and the children it has so far."""

    __slots__ = ("children", "closed", "logp", "reward", "visits")

    def __init__(self, logp: float = 0.0):
        self.logp, self.visits, self.reward, self.children, self.closed = logp, 0, 0.0, None, False


@torch.inference_mode()
def tree_search(model: Model, memory: torch.Tensor, grammar: Grammar, rollouts: int, rng: np.random.Generator,
                reward, explore: float = 1.0, width: int = 32) -> Drawn:
    """Monte-Carlo tree search over prefixes, guided by the network and by how well completed laws fit.

    Each round walks `width` times from the root to a leaf of the search tree, by the largest of
    (best reward below) + explore * p * sqrt(visits of the parent) / (1 + visits), p from the network; completes all
    those prefixes by sampling; rewards each law by `reward(ids list)` in [0, 1]; and carries the rewards up.
    Visits are counted on the way down, so that the walks of a round spread.
    """
    root, found = _Node(), {}
    while rollouts > 0 and not root.closed:
        n = min(width, rollouts)
        rollouts -= n
        paths = [_walk(root, explore) for _ in range(n)]
        _open_leaves(model, memory, grammar, paths)
        ids, logp = _complete(model, memory, grammar, [p[0] for p in paths], rng)
        for (_, nodes), row, value, lp in zip(paths, ids, reward(ids), logp):
            entry = found.setdefault(row, [lp, 0])
            entry[1] += 1
            for node in nodes:
                node.reward = max(node.reward, value)
    return Drawn(list(found), np.array([v[0] for v in found.values()]), np.array([v[1] for v in found.values()], int))


def _walk(root: _Node, explore: float) -> tuple[tuple[int, ...], list[_Node]]:
    """From the root to a node without children: its tokens and the nodes on the way."""
    node, ids, nodes = root, (), [root]
    root.visits += 1
    while node.children:
        scale = explore * math.sqrt(node.visits)
        token, node = max(((v, c) for v, c in node.children.items()),
                          key=lambda pair: pair[1].reward + scale * math.exp(pair[1].logp) / (1 + pair[1].visits))
        ids, nodes = (*ids, token), [*nodes, node]
        node.visits += 1
    return ids, nodes


def _missing(ids) -> int:
    return 1 + int(CHANGE[list(ids)].sum()) if ids else 1


def _open_leaves(model, memory, grammar, paths):
    """Give every incomplete leaf that was reached its children, with the network's probabilities."""
    leaves = {ids: nodes[-1] for ids, nodes in paths if nodes[-1].children is None and _missing(ids) > 0}
    for length in {len(ids) for ids in leaves}:
        group = [ids for ids in leaves if len(ids) == length]
        tokens = torch.tensor([(BOS_ID, *ids) for ids in group], device=memory.device)
        logits = model.decode(tokens, memory.expand(len(group), -1, -1))[:, -1].float().cpu().numpy()
        logp = log_softmax(logits, grammar.mask(np.array([_missing(ids) for ids in group]), length))
        for ids, row in zip(group, logp):
            leaves[ids].children = {int(v): _Node(float(row[v])) for v in np.flatnonzero(np.isfinite(row))}


def _complete(model, memory, grammar, prefixes, rng):
    """Sample the rest of each prefix: (ids, log-probability of the whole), in the order given."""
    done: list = [None] * len(prefixes)
    order = sorted(range(len(prefixes)), key=lambda i: len(prefixes[i]))
    alive, logp = {i: list(prefixes[i]) for i in order}, dict.fromkeys(order, 0.0)
    cache = Cache(model, memory, len(order), grammar.length)
    rows = list(order)
    for t in range(grammar.length + 1):
        for i in [i for i in rows if len(alive[i]) == t and _missing(alive[i]) == 0]:
            done[i] = (tuple(alive[i]), logp[i])
        stay = [k for k, i in enumerate(rows) if done[i] is None]
        if not stay:
            break
        cache.keep(torch.tensor(stay, device=memory.device))
        rows = [rows[k] for k in stay]
        last = torch.tensor([alive[i][t - 1] if t else BOS_ID for i in rows], device=memory.device)
        missing = np.array([_missing(alive[i][:t]) for i in rows])
        p = log_softmax(cache.step(last).float().cpu().numpy(), grammar.mask(missing, t))
        tokens = draw_one(np.exp(p), rng)
        for k, i in enumerate(rows):
            if len(alive[i]) == t:
                alive[i].append(int(tokens[k]))
            logp[i] += float(p[k, alive[i][t]])
    return [d[0] for d in done], [d[1] for d in done]


def _reward(ids: list[tuple], view: View, fitter) -> list[float]:
    """1 / (1 + FVU) of each sequence's law after fitting its constants; 0 where nothing fits."""
    if fitter is None:
        return [0.0] * len(ids)
    fvu, _ = fitter.fit([sort_commutative(to_expr(row, view)) for row in ids])
    return [0.0 if not math.isfinite(v) else 1.0 / (1.0 + float(v)) for v in fvu]


# -------------------------------------------------------------------------------------------- proposers


def model_path(name: str | None = None):
    """The file of a model: a path, the name of a shipped one ("tiny"), or the default for None."""
    if name is None:
        name = "tiny"
    shipped = resources.path("data", "models", f"{name}.safetensors")
    return shipped if shipped.exists() and "/" not in str(name) else name


@functools.lru_cache(maxsize=4)
def load(name: str | None = None, device: str = "cpu") -> tuple[Model, dict]:
    """A model, read once in a process; the dict is what it was trained with."""
    model, info = checkpoint.load_model(model_path(name), device)
    return model, info["training"]


def propose(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None, *, samples: int = 4096,
            model: str | None = None, fitter=None, decoder: str = "tree", temperature: float = 1.0, top_p: float = 1.0):
    """Yield lists of new candidates from the network, at most `samples` draws in all (times budget.work).

    Draws come in rounds of 64, 128, 256, ... so that other proposers get their turn, each over another random
    choice of points where the table has more than the network takes.
    """
    network, training = load(model)
    # Batches this small gain little from a second thread, and lose much where the other core is busy fitting.
    torch.set_num_threads(1)
    settings = training.get("settings", {})
    seen: set[tuple] = set()
    left, size = max(1, int(samples * budget.work)), FIRST_DRAWS
    while left > 0 and not budget.over():
        n = min(left, size, ROWS)
        left, size = left - n, 2 * size
        view = show(problem, network.config, settings, rng, pool)
        if not view.columns:
            return
        with torch.inference_mode():
            memory = network.memory(view.values)
        grammar = Grammar(len(view.columns), network.config.max_length - 2)
        if decoder == "mcts":
            drawn = tree_search(network, memory, grammar, n, rng, lambda ids, view=view: _reward(ids, view, fitter))
        else:
            drawn = draw(network, memory, grammar, n, rng, decoder, temperature, top_p)
        fresh = []
        for candidate in finish(drawn, view)[0]:
            if tuple(candidate.expr) not in seen:
                seen.add(tuple(candidate.expr))
                fresh.append(candidate)
        yield fresh


def propose_control(problem: Problem, budget: Budget, rng: np.random.Generator, pool=None, *, samples: int = 4096,
                    model: str | None = None, fitter=None):
    """The same without the network: random laws of the prior it was trained on, over the columns in use.

    A draw whose variables are more than the table's columns does not count.  It is the bar for the network.
    """
    from fansr import prior
    from fansr.gen import sample_tokens

    training = load(model)[1]
    law = prior.from_dict(training["prior"]) if training.get("prior") else prior.load("prior")
    settings = batches.Settings(columns=min(MAX_VARIABLES, law.variables), prior=law)
    seen: set[tuple] = set()
    left, size, seed, start = max(1, int(samples * budget.work)), FIRST_DRAWS, int(rng.integers(1 << 31)), 0
    moving = [j for j in range(problem.X.shape[1]) if np.ptp(problem.X[:, j]) > 0]
    most = min(len(moving), settings.columns)
    while left > 0 and moving and not budget.over():
        n = min(left, size)
        left, size = left - n, 2 * size
        ids: list[tuple] = []
        while len(ids) < n and not budget.over():
            tokens, k = batches.compact(sample_tokens(law, np.arange(start, start + 4 * n), seed))
            start += 4 * n
            kept = tokens[(k >= 1) & (k <= most)][: n - len(ids)]
            ids += [tuple(row[row != PAD_ID].tolist()) for row in kept]
        fresh = []
        for row in ids:  # each over its own choice of the columns
            used = max(v - FIRST_VARIABLE_ID + 1 for v in row if FIRST_VARIABLE_ID <= v < FIRST_VARIABLE_ID + MAX_VARIABLES)
            columns = sorted(rng.choice(len(moving), used, replace=False).tolist())
            fresh.append(to_expr(row, View([moving[j] for j in columns], np.zeros(1 + used), torch.zeros(0))))
        candidates = []
        for expr in _simplified(fresh):
            if tuple(expr) not in seen:
                seen.add(tuple(expr))
                candidates.append(Candidate(expr, source="control"))
        yield candidates


def _simplified(exprs: list[list[str]]) -> list[list[str]]:
    from fansr.simplify import simplify_many

    return [expr for expr, _ in simplify_many(exprs, relax=True) if expr is not None]


# ---------------------------------------------------------------------------------------------- command


def candidates_of(record: dict, options: dict) -> tuple[list[dict], dict]:
    """Candidate records for one problem record, and drops by reason."""
    problem = Problem.from_record(record)
    network, training = load(options["model"], options["device"])
    rng = rng_for(options["seed"], "sample", problem.id)
    view = show(problem, network.config, training.get("settings", {}), rng)
    if not view.columns:
        return [], {"no column varies": 1}
    with torch.inference_mode():
        memory = network.memory(view.values.to(options["device"]))
    length = min(options["max_length"] or network.config.max_length - 2, network.config.max_length - 2)
    grammar = Grammar(len(view.columns), length)
    if options["decoder"] == "mcts":
        fitter = _fitter(problem, options["seed"])
        drawn = tree_search(network, memory, grammar, options["samples"], rng, lambda ids: _reward(ids, view, fitter))
    else:
        drawn = draw(network, memory, grammar, options["samples"], rng, options["decoder"], options["temperature"],
                     options["top_p"])
    found, dropped = finish(drawn, view, options["relax"])
    return [{"kind": "candidate", "problem": problem.id, "expr": c.expr, "logp": c.logp, "n": c.n, "source": "model"}
            for c in found], dropped


def _fitter(problem: Problem, seed: int):
    from fansr.refine import Refiner

    return Refiner(problem.X, problem.y, restarts=2, seed=seed)


@command.command(example="fansr-render data/fastsrb.json | fansr-sample --samples 256 | fansr-cat --infix --head 20")
@click.argument("inputs", nargs=-1, type=click.Path())
@click.option("--model", default=None, metavar="FILE", help="A model file, or the name of a shipped one.  [default: tiny]")
@click.option("--samples", type=click.IntRange(1), default=4096, show_default=True, help="Draws for each problem.")
@click.option("--decoder", type=click.Choice(DECODERS), default="tree", show_default=True, help="How laws are drawn.")
@click.option("--temperature", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True,
              help="Divides the logits: above 1 flattens the distribution.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True,
              help="Keep the likeliest tokens that hold this share.")
@click.option("--max-length", type=click.IntRange(1), default=None, help="Longest law in tokens.  [default: the network's]")
@click.option("--relax/--no-relax", default=True, show_default=True, help="Turn mult2 and the like into free constants.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:N.")
@click.option("--threads", type=click.IntRange(1), default=None, help="CPU threads of torch.")
@command.output_option()
@command.seed_option()
@command.config_option()
@command.quiet_option()
def sample(inputs, output, quiet, threads, config, **options):
    """Propose laws for each problem of a stream: each problem is passed on, its candidates after it, likeliest first."""
    if threads:
        torch.set_num_threads(threads)
    if options["device"].startswith("cuda") and not torch.cuda.is_available():
        raise DataError(f"device {options['device']}: no CUDA here; --device cpu runs everywhere")
    load(options["model"], options["device"])  # a missing model is told before any input is read
    inputs = list(inputs) or ["-"]
    with stream.open_reader(inputs[0], holds="problem") as reader:
        entry = command.history_entry(options["seed"], {k: v for k, v in options.items() if v is not None})
        history = [*reader.history, entry]
        with stream.open_writer(output, "candidate", history) as writer, command.progress(quiet=quiet, unit="problem") as bar:
            rest = stream.chain(inputs[1:], holds="problem") if inputs[1:] else []
            for source in (reader, rest):
                for record in source:
                    records.check(record, "problem", f"record {writer.n + 1}")
                    found, dropped = candidates_of(record, options)
                    writer.write(record)
                    for candidate in found:
                        writer.write(candidate)
                    for reason, n in dropped.items():
                        writer.drop(reason, n)
                    writer.flush()
                    bar.update(1)


def main():
    """Entry point of fansr-sample."""
    sample()


if __name__ == "__main__":
    main()
