"""fansr-gen: random skeletons of laws, as fast as they can be written.

    fansr-gen -n 1000000 --config configs/prior.toml > skeletons.zst

Section 3.3 of the paper: the number of operators, a tree with Lample and Charton's distribution,
operators by weight, then leaves: so many distinct symbols, drawn without replacement, duplicated
until every leaf has one, shuffled.  All steps run on whole blocks of skeletons at once.

Skeleton `id` takes its random words from block `id` of a counter-based generator whose key comes
from the seed, so it is the same whatever else is drawn, by whichever process.  gen knows nothing of
simplification, of held-out laws, or of numbers put into a skeleton.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import re
from collections import Counter
from collections.abc import Iterable

import click
import numpy as np

from fansr.cli import command
from fansr.corpus.prior import Prior, Skeletons, from_dict, to_dict
from fansr.expressions import CONSTANT_ID, FIRST_OPERATOR_ID, FIRST_VARIABLE_ID, OPERATORS, VOCABULARY
from fansr.streams import key_for, parallel, reader_writer

BLOCK = 2048  # skeletons drawn at once: about 5 MB of random numbers, part of no result
_TOKENS = np.array(VOCABULARY, dtype=object)
_ARITY = np.array([row.arity for row in OPERATORS])


# ---- tables drawn from ------------------------------------------------------------------------


def count_trees(max_ops: int, unary: float = 1.0, binary: float = 1.0) -> np.ndarray:
    """D(e, n) of Lample and Charton 2019, appendix C: forests of e trees with n inner nodes in all.

    Returns (max_ops + 3, max_ops + 1) float64.  A leaf counts 1, a unary node `unary`, a binary
    node `binary`; D(e, n) = D(e-1, n) + unary * D(e, n-1) + binary * D(e+1, n-1).
    """
    table = np.zeros((2 * max_ops + 3, max_ops + 1))  # e + n never exceeds 2 * max_ops + 2 below
    table[:, 0] = 1.0
    for n in range(1, max_ops + 1):
        for e in range(1, 2 * max_ops + 2 - n):
            table[e, n] = table[e - 1, n] + unary * table[e, n - 1] + binary * table[e + 1, n - 1]
    return table[: max_ops + 3]


class _Tables:
    """What a prior's draws look up; one row per kind of skeleton (c).

    Reading a tree in pre-order with e subtrees still to come and n operators still to place, the next
    node is a leaf, unary or binary with probabilities D(e-1, n), unary D(e, n-1), binary D(e+1, n-1) over
    D(e, n).  This walk gives the distribution of Lample and Charton's algorithm, which picks the
    place of the next operator, in prefix order and with two comparisons a node.
    """

    def __init__(self, prior: Prior):
        self.prior = prior
        self.steps = prior.max_symbols
        self.leaves = prior.max_ops + 1
        parts = prior.skeletons
        self.kind = np.cumsum([part.share for part in parts])[:-1] / sum(part.share for part in parts)
        # n_ops: cumulative, offset by c so that one sorted list serves every kind.
        self.n_ops = np.concatenate(
            [c + _cumulative(_ops_weights(part, prior.max_ops)) for c, part in enumerate(parts)]
        )
        walks = [self._walk(part) for part in parts]
        self.leaf, self.unary = (np.stack(table) for table in zip(*walks))  # (c, n, e)
        self.operators = {arity: self._operators(arity) for arity in (1, 2)}
        self.max_unique = np.array([part.max_unique for part in parts])
        self.depends = np.array([part.depends == 1 for part in parts])
        symbols = prior.variables + 1
        self.symbols = np.concatenate([[CONSTANT_ID], FIRST_VARIABLE_ID + np.arange(prior.variables)]).astype(np.uint8)
        self.rates = np.ones((len(parts), symbols))
        self.rates[:, 0] = [max(part.constant, 1e-9) for part in parts]
        # Words of a skeleton's block, four to a counter of the generator.
        sizes = {
            "head": 3,
            "shape": self.steps,
            "operator": self.steps,
            "set": symbols,
            "copy": self.leaves,
            "order": self.leaves,
        }
        starts = np.cumsum([0, *sizes.values()])
        self.span = {name: slice(int(a), int(a) + size) for (name, size), a in zip(sizes.items(), starts)}
        self.counters = -(-int(starts[-1]) // 4)

    def _walk(self, part: Skeletons):
        count = count_trees(self.prior.max_ops, part.unary, part.binary)
        n, e = np.meshgrid(np.arange(self.prior.max_ops + 1), np.arange(self.prior.max_ops + 2), indexing="ij")
        total = np.where(count[e, n] > 0, count[e, n], 1.0)
        leaf = np.where(e > 0, count[np.maximum(e - 1, 0), n], 0) / total
        unary = leaf + np.where(n > 0, part.unary * count[e, np.maximum(n - 1, 0)], 0) / total
        # A leaf, for certain, without operators; nothing where the tree is complete (e = 0).
        leaf = np.where((n == 0) | (e == 0), 2.0, leaf)
        return leaf, np.maximum(leaf, unary if part.binary > 0 else 2.0)

    def _operators(self, arity: int):
        codes = np.flatnonzero(_ARITY == arity)
        tables = []
        for c, part in enumerate(self.prior.skeletons):
            weights = np.array(part.operator_weights())[codes]
            tables.append(c + _cumulative(weights if weights.sum() > 0 else np.ones(len(codes))))
        return np.concatenate(tables), np.tile(FIRST_OPERATOR_ID + codes, len(tables)).astype(np.uint8)


def _cumulative(weights) -> np.ndarray:
    """Cumulative probabilities; the last is exactly 1, also for those of weight 0 at the end."""
    total = np.cumsum(weights)
    share = total / total[-1]
    share[np.flatnonzero(np.asarray(weights))[-1] :] = 1.0
    return share


def _ops_weights(part: Skeletons, max_ops: int) -> np.ndarray:
    n = np.arange(max_ops + 1)
    power = n**part.alpha / part.scale
    inside = (n >= part.min_ops) & (n <= part.max_ops)
    if part.binary == 0 and part.unary == 0:
        inside = n == 0
    return np.where(inside, np.exp(power - power[inside].max()), 0.0)


@functools.lru_cache(maxsize=8)
def _tables_of(text: str) -> _Tables:
    return _Tables(from_dict(json.loads(text)))


def tables(prior: Prior) -> _Tables:
    """The tables of a prior, built once in a process."""
    return _tables_of(json.dumps(to_dict(prior)))


# ---- drawing ----------------------------------------------------------------------------------


def words(key: np.ndarray, ids: np.ndarray, counters: int) -> np.ndarray:
    """Random words (n, 4 * counters) uint64: row i is block ids[i] of the Philox generator with this key."""
    out = np.empty((len(ids), 4 * counters), dtype=np.uint64)
    breaks = np.flatnonzero(np.diff(ids.astype(np.uint64)) != 1) + 1
    for a, b in zip([0, *breaks], [*breaks, len(ids)]):  # runs of consecutive ids are one call
        start = int(ids[a]) * counters
        counter = np.array([start >> shift & 0xFFFFFFFFFFFFFFFF for shift in (0, 64, 128, 192)], dtype=np.uint64)
        out[a:b] = np.random.Philox(key=key, counter=counter).random_raw((b - a) * 4 * counters).reshape(b - a, -1)
    return out


def sample_tokens(prior: Prior, ids: Iterable[int], seed: int = 0) -> np.ndarray:
    """Vocabulary ids (tokens.py) of the skeletons with these ids.

    Returns (n, prior.max_symbols) uint8, each row a prefix expression padded with 0 at its end.
    Row i depends on the prior, the seed and ids[i] alone.
    """
    ids = np.asarray(ids, dtype=np.uint64)
    out = np.zeros((len(ids), prior.max_symbols), dtype=np.uint8)
    drawer = tables(prior)
    key = np.array(key_for(seed, "gen"), dtype=np.uint64)
    for start in range(0, len(ids), BLOCK):
        part = slice(start, start + BLOCK)
        out[part] = _draw(drawer, words(key, ids[part], drawer.counters))
    return out


def _draw(table: _Tables, random: np.ndarray) -> np.ndarray:
    """One block of skeletons from its random words, (n, steps) uint8."""
    uniform = (random.T >> np.uint64(11)) * 2.0**-53  # (words, n) float64 in [0, 1); one row is one decision
    head, span = uniform[table.span["head"]], table.span
    kind = np.searchsorted(table.kind, head[0], side="right")
    n_ops = np.searchsorted(table.n_ops, kind + head[1], side="right") - kind * (table.prior.max_ops + 1)
    arity, inside = _shapes(table, kind, n_ops, uniform[span["shape"]])
    tokens = _operators(table, kind, arity, uniform[span["operator"]])
    leaves = _leaves(table, kind, arity, inside, head[2], uniform)
    place = inside & (arity == 0)
    rank = np.cumsum(place, axis=0, dtype=np.intp) - 1
    step, column = np.nonzero(place)
    tokens[step, column] = leaves[column, rank[step, column]]
    return tokens.T


def _shapes(table: _Tables, kind, n_ops, uniform):
    """Arities in pre-order, (steps, n) int8, and whether a step is part of the tree at all."""
    steps, n = uniform.shape
    arity = np.empty((steps, n), dtype=np.int8)
    inside = np.empty((steps, n), dtype=bool)
    _, ns, es = table.leaf.shape
    leaf, unary = table.leaf.ravel(), table.unary.ravel()
    place = (kind * ns + n_ops) * es + 1  # index of (kind, operators to place, subtrees to come = 1)
    to_come = np.ones(n, dtype=np.intp)
    for t in range(steps):
        u = uniform[t]
        operator = u >= leaf[place]
        binary = u >= unary[place]
        inside[t] = active = to_come > 0
        arity[t] = a = operator.view(np.int8) + binary
        change = a - active.view(np.int8)
        to_come += change
        place += change
        place -= operator * es
    return arity, inside


def _operators(table: _Tables, kind, arity, uniform) -> np.ndarray:
    """Tokens (steps, n) uint8 with every operator drawn by weight within its arity; 0 elsewhere."""
    tokens = np.zeros(arity.shape, dtype=np.uint8)
    for a in (1, 2):
        step, column = np.nonzero(arity == a)
        cumulative, codes = table.operators[a]
        key = uniform[step, column]
        if len(table.prior.skeletons) > 1:
            key = key + kind[column]
        tokens[step, column] = codes[np.searchsorted(cumulative, key, side="right")]
    return tokens


def _leaves(table: _Tables, kind, arity, inside, u_unique, uniform) -> np.ndarray:
    """Leaf symbols (n, leaves) uint8 in the order in which the leaves of each tree take them."""
    n = len(kind)
    n_leaves = (inside & (arity == 0)).sum(axis=0)
    bound = np.minimum(np.minimum(n_leaves, table.prior.variables), table.max_unique[kind])
    unique = 1 + (u_unique * bound).astype(np.intp)  # U(1, min(leaves, D))
    drawn = _distinct(table, kind, uniform[table.span["set"]])  # (n, D + 1), the first `unique` count
    bare = (unique == 1) & (drawn[:, 0] == CONSTANT_ID) & table.depends[kind]
    drawn[bare, 0] = drawn[bare, 1]
    j = np.arange(table.leaves)
    copy = (uniform[table.span["copy"]].T * unique[:, None]).astype(np.intp)
    pick = np.where(j < unique[:, None], j, copy)
    symbols = drawn[np.arange(n)[:, None], pick]
    # Shuffle: the order of random keys; those beyond the last leaf stay behind it.
    keys = (uniform[table.span["order"]].T * 2.0**40).astype(np.int64) * 64 + j
    keys[j >= n_leaves[:, None]] = np.iinfo(np.int64).max
    keys.sort(axis=1)
    return symbols[np.arange(n)[:, None], np.minimum(keys & 63, table.leaves - 1)]


def _distinct(table: _Tables, kind, uniform) -> np.ndarray:
    """All leaf symbols of each skeleton in a random order, (n, D + 1) uint8: draws without replacement.

    With weights, symbol i comes at time E_i / w_i of an exponential clock; equal weights need only
    the order of the uniforms.
    """
    if (table.rates == 1.0).all():
        keys = (uniform.T * 2.0**40).astype(np.int64) * 64 + np.arange(len(uniform))
        keys.sort(axis=1)
        return table.symbols[keys & 63]
    return table.symbols[np.argsort(-np.log1p(-uniform.T) / table.rates[kind], axis=1)]


def to_exprs(tokens: np.ndarray) -> list[list[str]]:
    """Rows of vocabulary ids, padded with 0, as prefix token lists."""
    lengths = (tokens != 0).sum(axis=1).tolist()
    return [row[:length] for row, length in zip(_TOKENS[tokens].tolist(), lengths)]


def sample_skeletons(prior: Prior, ids: Iterable[int], seed: int = 0) -> list[list[str]]:
    """The skeletons with these ids as prefix token lists; each depends on its own id alone."""
    return to_exprs(sample_tokens(prior, ids, seed))


# ---- the command ------------------------------------------------------------------------------

CHUNK = 8192  # skeletons a worker makes at once


class Maker:
    """Makes the packed records of one range of ids; runs in worker processes."""

    def __init__(self, prior: Prior, seed: int):
        self.prior, self.seed = prior, seed

    def __call__(self, ids: range):
        exprs = sample_skeletons(self.prior, ids, self.seed)
        records = ({"kind": "skeleton", "id": id, "expr": expr} for id, expr in zip(ids, exprs))
        return *reader_writer.pack_many(records), Counter(), len(ids)


_FIELDS = tuple(f.name for f in dataclasses.fields(Prior))


class _Large(click.ParamType):
    """A whole number that may be written 1e9."""

    name = "number"

    def convert(self, value, param, ctx):
        try:
            number = float(value)
            if number != int(number) or not 1 <= number <= 1 << 62:
                raise ValueError
        except (ValueError, OverflowError):
            self.fail(f"{str(value)[:40]!r} is no whole number from 1 to 4e18, such as 1e9", param, ctx)
        return int(value) if str(value).isdigit() else int(number)


def _machines(ctx, param, text) -> tuple[int, int]:
    if text is None:
        return 1, parallel.available_cores()
    match = re.fullmatch("([1-9][0-9]{0,5})x([1-9][0-9]{0,5})", text)
    if not match:
        raise click.BadParameter(f"{text!r}: wanted machines x cores, such as 16x64")
    return int(match[1]), int(match[2])


@command.command(
    example="fansr-gen -n 5 --seed 1 | fansr-cat --infix",
    config_sections=_FIELDS,
    groups={
        "Skeletons": "--number --first --shard --seed --config --output --jobs --resume --quiet",
        "A plan of a whole corpus": "--plan --shards --machines --test --json",
    },
)
@command.number_option("How many skeletons in all, over all shards.", default=1000)
@click.option(
    "--first",
    type=click.IntRange(0, 1 << 62),
    default=0,
    show_default=True,
    metavar="ID",
    help="Id of the first skeleton: a corpus grows by going on where it ended.",
)
@command.shard_option("Make only part i (from 0) of n; all n joined are the whole.")
@click.option(
    "--plan",
    type=_Large(),
    default=None,
    metavar="N",
    help="Make nothing: measure the rates here and say what a decontaminated corpus of N takes; -o FILE writes its script.",
)
@click.option(
    "--shards",
    type=click.IntRange(1, 10**6),
    default=None,
    metavar="K",
    help="With --plan.  [default: 10 min of work each]",
)
@click.option(
    "--machines",
    default=None,
    metavar="MxC",
    callback=_machines,
    help="With --plan: how many, cores of each.  [default: this]",
)
@click.option(
    "--test",
    "tests",
    multiple=True,
    metavar="FILE",
    help="With --plan: laws held out.  [default: every catalogue that comes with fansr]",
)
@click.option("--json", "as_json", is_flag=True, help="With --plan: as one JSON object.")
@command.output_option()
@command.jobs_option()
@command.seed_option()
@command.resume_option()
@command.quiet_option()
@command.config_option()
def gen(
    number, first, shard, plan, shards, machines, tests, as_json, output, jobs, seed, resume, quiet, config
):  # fmt: skip
    """Draw random skeletons of laws under a prior (--config prior.toml; the paper's without)."""
    prior = from_dict(click.get_current_context().meta.get("config_sections") or {}, config or "prior")
    if plan is not None:
        return _plan(plan, shards, machines, tests, as_json, output, seed, quiet, config)
    ids = command.shard_range(first, number, shard)
    # Which ids these are, of which whole: what a check needs to see that no shard is missing.
    made = {"ids": [ids.start, ids.stop], "of": [first, first + number]}
    entry = command.history_entry(seed=seed, config={**to_dict(prior), **made})

    def items(done):
        return (ids[start : start + CHUNK] for start in range(done, len(ids), CHUNK))

    command.write_stream(
        output,
        items,
        Maker(prior, seed),
        holds="skeleton",
        history=[entry],
        jobs=jobs,
        quiet=quiet,
        resume=resume,
        total=len(ids),
    )


def _write(path: str, text: str):
    scratch = path + ".part"
    with open(scratch, "w") as file:
        file.write(text)
    os.chmod(scratch, 0o755)
    os.replace(scratch, path)


SHARD_SECONDS = 600.0  # of work in a shard where the number of shards is left to us


def _plan(number, shards, machines, tests, as_json, output, seed, quiet, config):
    """fansr-gen --plan: what a corpus takes, on stdout; its script in a file."""
    from fansr.corpus import plan as planning

    tests = planning.held_out(tests)
    command.remark("measuring the rates of gen, simplify and decontam here", quiet)
    rates = planning.measure(config, seed, tests)
    if shards is None:
        shards = max(1, min(10**6, -(-number * rates.each // SHARD_SECONDS)))
    result = planning.plan(number, int(min(shards, number)), machines, rates)
    click.echo(json.dumps(result) if as_json else planning.told(result))
    if output != "-":
        _write(output, planning.script(result, output, config, seed, tests))
        command.remark(f"wrote {output}", quiet)


def main():
    """Entry point of fansr-gen."""
    gen()


if __name__ == "__main__":
    main()
