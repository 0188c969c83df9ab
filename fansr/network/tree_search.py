"""Monte-Carlo tree search over prefixes, guided by the network and by how well completed laws fit."""

from __future__ import annotations

import math

import numpy as np

from fansr.expressions import BOS_ID
from fansr.network.decoders import CHANGE, Drawn, Grammar, draw_one, log_softmax


class _Node:
    """A prefix in the search tree: visits and best reward below it, and the children it has so far."""

    __slots__ = ("children", "logp", "reward", "visits")

    def __init__(self, logp: float = 0.0):
        self.logp, self.visits, self.reward, self.children = logp, 0, 0.0, None


def tree_search(
    network,
    memory,
    grammar: Grammar,
    rollouts: int,
    rng: np.random.Generator,
    reward,
    explore: float = 1.0,
    width: int = 32,
) -> Drawn:
    """Monte-Carlo tree search over prefixes, guided by the network and by how well completed laws fit.

    Each round walks `width` times from the root to a leaf of the search tree, by the largest of
    (best reward below) + explore * p * sqrt(visits of the parent) / (1 + visits), p from the network; completes all
    those prefixes by sampling; rewards each law by `reward(ids list)` in [0, 1]; and carries the rewards up.
    Visits are counted on the way down, so that the walks of a round spread.
    """
    root, found = _Node(), {}
    while rollouts > 0:
        n = min(width, rollouts)
        rollouts -= n
        paths = [_walk(root, explore) for _ in range(n)]
        ids, logp = _complete(network, memory, grammar, paths, rng)
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
        token, node = max(
            ((v, c) for v, c in node.children.items()),
            key=lambda pair: pair[1].reward + scale * math.exp(pair[1].logp) / (1 + pair[1].visits),
        )
        ids, nodes = (*ids, token), [*nodes, node]
        node.visits += 1
    return ids, nodes


def _missing(ids) -> int:
    return 1 + int(CHANGE[list(ids)].sum()) if ids else 1


def _complete(network, memory, grammar: Grammar, paths, rng: np.random.Generator):
    """Sample the rest of each path's prefix: (ids, log-probability of the whole), in the order given.

    A leaf of the search tree that is passed on the way gets its children, with the network's probabilities.
    """
    done: list = [None] * len(paths)
    rows = sorted(range(len(paths)), key=lambda i: len(paths[i][0]))
    alive, logp = {i: list(paths[i][0]) for i in rows}, dict.fromkeys(rows, 0.0)
    sequences = network.sequences(memory, len(rows), grammar.length)
    for t in range(grammar.length + 1):
        for i in [i for i in rows if len(alive[i]) == t and _missing(alive[i]) == 0]:
            done[i] = (tuple(alive[i]), logp[i])
        stay = [k for k, i in enumerate(rows) if done[i] is None]
        if not stay:
            break
        sequences.keep(np.array(stay))
        rows = [rows[k] for k in stay]
        last = np.array([alive[i][t - 1] if t else BOS_ID for i in rows])
        missing = np.array([_missing(alive[i][:t]) for i in rows])
        p = log_softmax(sequences.step(last), grammar.mask(missing, t))
        tokens = draw_one(np.exp(p), rng)
        for k, i in enumerate(rows):
            prefix, nodes = paths[i]
            if len(prefix) == t and nodes[-1].children is None:
                nodes[-1].children = {int(v): _Node(float(p[k, v])) for v in np.flatnonzero(np.isfinite(p[k]))}
            if len(alive[i]) == t:
                alive[i].append(int(tokens[k]))
            logp[i] += float(p[k, alive[i][t]])
    return [d[0] for d in done], [d[1] for d in done]
