"""fansr-forms: all different expressions over a few variables to a depth, as skeletons without constants.

    fansr-forms --depth 3 -n 100000 > forms.zst

By levels: every operator over what the levels before hold, each function kept once, in its shortest form.  Two are the
same function when their values agree on 64 points of each of four domains (to 8 digits, and where they have none); the
form written is simplify's where its values are the same.  To depth 2 that is everything; of depth 3 (about 3.5 million
candidates over two variables and 8 operators) those with the smallest hash of their values are taken until there are n:
an even choice, the same in whatever order they are made, with no leaning to short ones.  --shortest takes those instead.

There is no --resume: all of a level must be known before any of it is written, and depth 3 is 45 s of one core.

A share --hold of the functions, by another hash of the same values, is marked `held`: fansr-train learns from none of
them, whatever numbers they get.  The data of arXiv 2510.26064, step 1; what it leaves open is read as said here.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import NamedTuple

import click
import numpy as np

from fansr.cli import command
from fansr.errors import NoAnswer
from fansr.streams import open_writer, parallel, rng_for

POINTS = 64  # of each domain
BLOCK = 16  # operands a worker gets at once, the same for any number of workers, so that all of them drop the same
DOMAINS = ((0.2, 4.0), (-3.0, 3.0), (-0.3, 0.3), (-8.0, 8.0))
REACH = 3e38  # beyond it a value does not exist: the network reads float32
LEAST = 0.05  # share of the points at which a function must have a value
FLAT = 1e-9  # of its size that a function must vary by
CANCELLED = 1e-13  # of its larger term that a sum is left with
BITS = 27  # of the mantissa that values are compared by
UNARY = {
    "exp": np.exp, "sin": np.sin, "neg": np.negative, "sqrt": np.sqrt, "cos": np.cos, "tan": np.tan, "log": np.log,
    "abs": np.abs, "inv": np.reciprocal, "tanh": np.tanh, "sinh": np.sinh, "cosh": np.cosh, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "pow2": np.square,
}  # fmt: skip
BINARY = {"+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide}
_TOKEN = {"sqrt": "pow1_2"}
_ODD = rng_for(0, "forms.hash").integers(0, 1 << 63, (2, POINTS * len(DOMAINS))).astype(np.uint64) * np.uint64(
    2
) + np.uint64(1)


class Level(NamedTuple):
    """Functions of one depth: prefix forms, values (K, P), and keys (K, 2) that equal functions share one of."""

    exprs: list[list[str]]
    values: np.ndarray
    keys: np.ndarray


def points(variables: int) -> np.ndarray:
    """Where functions are compared: (P, variables) float64, POINTS of each domain."""
    rng = rng_for(0, "forms.points")
    return np.concatenate([rng.uniform(low, high, (POINTS, variables)) for low, high in DOMAINS])


def keys_of(values: np.ndarray) -> np.ndarray:
    """Two 64-bit keys (K, 2) of values (K, P).

    Values are rounded to BITS bits of mantissa on two grids half a step apart: what differs by the rounding of float64 alone
    falls into the same cell of all points on one of them at least.
    """
    mantissa, exponent = np.frexp(np.where(np.isfinite(values), values, 0.0))
    keys = np.zeros((len(values), 2), np.uint64)
    for k, shift in enumerate((0.0, 0.5)):
        cells = np.floor(mantissa * 2.0**BITS + shift)
        # The mantissa jumps where the exponent does: a cell is named by both, and 1 - 1e-16 and 1 by the same.
        edge = np.abs(cells) >= 2.0**BITS
        cells, power = np.where(edge, cells / 2.0, cells), exponent + edge
        words = cells.astype(np.int64) * 4099 + power
        words = np.where(np.isfinite(values), words, 1 << 62).astype(np.uint64)
        words ^= words >> np.uint64(29)
        h = (words * _ODD[k]).sum(axis=1, dtype=np.uint64)
        h ^= h >> np.uint64(31)
        h *= np.uint64(0x94D049BB133111EB)
        keys[:, k] = h ^ (h >> np.uint64(29))
    return keys


def fault(values: np.ndarray) -> np.ndarray:
    """(K,) 0 for functions that can be kept, 1 for constants, 2 for those that exist nearly nowhere.  `values`: NaN where none is."""
    there = np.isfinite(values)
    few = there.sum(axis=1) < LEAST * values.shape[1]
    low = np.where(there, values, np.inf).min(axis=1, initial=np.inf)
    high = np.where(there, values, -np.inf).max(axis=1, initial=-np.inf)
    with np.errstate(invalid="ignore"):
        flat = high - low <= FLAT * np.maximum(np.abs(high), np.abs(low))
    return np.where(few, 2, np.where(flat, 1, 0))


def joined(name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A binary operator's values; a sum of which only the rounding of its terms is left is 0."""
    values = BINARY[name](a, b)
    if name in "+-":
        values = np.where(np.abs(values) <= CANCELLED * np.maximum(np.abs(a), np.abs(b)), 0.0, values)
    return values


def _usable(values: np.ndarray) -> np.ndarray:
    return np.where(np.abs(values) <= REACH, values, np.nan) + 0.0  # + 0: no negative zero


class Found:
    """Functions of the level under way: at most `most`, those of the smallest rank, each once in its shortest form."""

    def __init__(self, below: np.ndarray, most: int, shortest: bool):
        """below (K, 2): keys of what exists already."""
        self.below = [np.unique(below[:, k]) for k in range(2)]
        self.most, self.shortest = most, shortest
        self.keys = np.zeros((0, 2), np.uint64)
        self.made = np.zeros((0, 4), np.int64)  # operator, first operand, second, length
        self.limit = None
        self.waiting: list[tuple] = []
        self.dropped: Counter = Counter()

    def rank(self, keys: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """By which the smallest are kept: the hash, or the length before it."""
        high = lengths.astype(np.uint64) << np.uint64(56) if self.shortest else np.uint64(0)
        return (keys[:, 0] >> np.uint64(8)) | high if self.shortest else keys[:, 0]

    def add(
        self, values: np.ndarray, operator: int, first: np.ndarray, second: np.ndarray, lengths: np.ndarray
    ) -> None:
        """Take functions with these values (K, P); the rest says how each was made."""
        values = _usable(values)
        faults = fault(values)
        self.dropped["constant"] += int((faults == 1).sum())
        self.dropped["not_finite"] += int((faults == 2).sum())
        good = np.flatnonzero(faults == 0)
        keys = keys_of(values[good])
        made = np.stack([np.full(len(good), operator), first[good], second[good], lengths[good]], 1)
        new = ~(np.isin(keys[:, 0], self.below[0]) | np.isin(keys[:, 1], self.below[1]))
        self.dropped["equal_values"] += int((~new).sum())
        self.take(keys[new], made[new])

    def take(self, keys: np.ndarray, made: np.ndarray) -> None:
        """Take functions that no level below has."""
        if self.limit is not None:
            late = self.rank(keys, made[:, 3]) > self.limit
            self.dropped["not_chosen"] += int(late.sum())
            keys, made = keys[~late], made[~late]
        self.waiting.append((keys, made))
        if sum(len(keys) for keys, _ in self.waiting) > max(self.most, 50_000):
            self.settle()

    def settle(self) -> None:
        """Each function once, and no more than `most` of them."""
        keys = np.concatenate([self.keys, *(keys for keys, _ in self.waiting)])
        made = np.concatenate([self.made, *(made for _, made in self.waiting)])
        self.waiting = []
        before = len(keys)
        for k in range(2):
            order = np.lexsort((made[:, 2], made[:, 1], made[:, 0], made[:, 3], keys[:, k]))
            keys, made = keys[order], made[order]
            once = np.concatenate([[True], keys[1:, k] != keys[:-1, k]]) if len(keys) else np.zeros(0, bool)
            keys, made = keys[once], made[once]
        self.dropped["equal_values"] += before - len(keys)
        rank = self.rank(keys, made[:, 3])
        order = np.argsort(rank, kind="stable")
        if len(order) > self.most:
            self.limit = rank[order[self.most - 1]] if self.most else np.uint64(0)
            self.dropped["not_chosen"] += len(order) - self.most
        order = order[: self.most]
        self.keys, self.made = keys[order], made[order]


class Deeper:
    """All that operators make of some functions and those before them; runs in worker processes."""

    def __init__(self, levels: list[Level], unary: list[str], binary: list[str], most: int, shortest: bool):
        self.values = np.concatenate([level.values for level in levels])
        self.keys = np.concatenate([level.keys for level in levels])
        self.lengths = np.array([len(expr) for level in levels for expr in level.exprs])
        self.begin = len(self.values) - len(levels[-1].exprs)  # of the last level
        self.unary, self.binary, self.most, self.shortest = unary, binary, most, shortest

    def __call__(self, block: range) -> tuple[np.ndarray, np.ndarray, Counter]:
        """Keys and making of the functions one deeper with an operand of the last level in `block`, and the drops."""
        found = Found(self.keys, self.most, self.shortest)
        values, lengths = self.values, self.lengths
        recent, every = np.arange(block.start, block.stop), np.arange(len(values))
        with np.errstate(all="ignore"):
            for o, name in enumerate(self.unary):
                found.add(UNARY[name](values[recent]), o, recent, np.full(len(recent), -1), lengths[recent] + 1)
            for i in block:
                for o, name in enumerate(self.binary, len(self.unary)):
                    one = np.full(len(every), i)
                    long = lengths + lengths[i] + 1
                    first = every <= i if name in "+*" else every >= 0  # in either order once
                    found.add(joined(name, values[i], values[first]), o, one[first], every[first], long[first])
                    if name not in "+*":
                        older = every < self.begin
                        found.add(joined(name, values[older], values[i]), o, every[older], one[older], long[older])
        found.settle()
        return found.keys, found.made, found.dropped


def next_level(
    levels: list[Level], unary: list[str], binary: list[str], most: int, shortest: bool, jobs: int = 1, bar=None
) -> tuple[Level, Counter]:
    """All functions one deeper than the last level, at most `most`, and what was dropped; the same for any `jobs`."""
    deeper = Deeper(levels, unary, binary, most, shortest)
    found = Found(deeper.keys, most, shortest)
    total = len(deeper.values)
    blocks = [range(i, min(i + BLOCK, total)) for i in range(deeper.begin, total, BLOCK)]
    results = parallel.ordered_map(deeper, blocks, min(jobs, len(blocks)))
    with contextlib.closing(results):
        for block, (keys, made, dropped) in zip(blocks, results):
            found.take(keys, made)
            found.dropped.update(dropped)
            if bar is not None:
                bar.update(len(block))
    found.settle()
    exprs = [expr for level in levels for expr in level.exprs]
    values = deeper.values
    names = [_TOKEN.get(name, name) for name in [*unary, *binary]]
    made = [[names[o], *exprs[i], *(exprs[j] if j >= 0 else [])] for o, i, j, _ in found.made.tolist()]
    with np.errstate(all="ignore"):
        new = [
            UNARY[unary[o]](values[i]) if o < len(unary) else joined(binary[o - len(unary)], values[i], values[j])
            for o, i, j, _ in found.made.tolist()
        ]
    stacked = _usable(np.array(new)) if new else np.zeros((0, values.shape[1]))
    return Level(made, stacked, found.keys), found.dropped


def enumerate_forms(
    depth: int,
    number: int,
    variables: int,
    unary: list[str],
    binary: list[str],
    shortest: bool = False,
    jobs: int = 1,
    bar=None,
) -> tuple[list[Level], Counter]:
    """Levels 0 to `depth`, at most `number` functions in all, the deepest level cut; and the drops by reason."""
    X = points(variables)
    levels = [Level([[f"x{j + 1}"] for j in range(variables)], X.T.copy(), keys_of(X.T))]
    dropped: Counter = Counter()
    for d in range(depth):
        left = number - sum(len(level.exprs) for level in levels)
        # What the next level is made of must be whole.
        most = max(0, left) if d == depth - 1 else 1 << 40
        level, reasons = next_level(levels, unary, binary, most, shortest, jobs, bar)
        levels.append(level)
        dropped += reasons
    return levels, dropped


def simplified(level: Level, X: np.ndarray) -> list[list[str]]:
    """Each form as simplify has it where that is the same function on the points, sorted only where it is not."""
    from fansr.expressions import CONSTANT, evaluate, sort_commutative
    from fansr.simplification import simplify_many

    forms = []
    for expr, (short, _), keys in zip(level.exprs, simplify_many(level.exprs), level.keys):
        form = sort_commutative(expr)
        if short is not None and short != form and CONSTANT not in short:  # 7 x is no form without constants
            with np.errstate(all="ignore"):
                again = keys_of(_usable(evaluate(short, X)[None]))[0]
            if (again == keys).any():
                form = short
        forms.append(form)
    return forms


def held(keys: np.ndarray, share: float) -> np.ndarray:
    """(K,) bool: which functions are never trained on, by a hash of their keys (K, 2) unlike the one they are chosen by."""
    mixed = keys[:, 0] * np.uint64(0xD1342543DE82EF95) + np.uint64(0x2545F4914F6CDD1D)
    mixed ^= mixed >> np.uint64(32)
    return (mixed * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(40)).astype(np.float64) / 2**24 < share


# ---- the command ------------------------------------------------------------------------------


def _operators(table: dict):
    def check(context, param, value: str) -> list[str]:
        names = [name.strip() for name in value.split(",") if name.strip()]
        unknown = [name for name in names if name not in table]
        if unknown:
            raise click.BadParameter(f"unknown operator {unknown[0]}; known are {', '.join(table)}")
        return list(dict.fromkeys(names))

    return check


@command.command(example="fansr-forms --depth 2 | fansr-cat --infix --head 5")
@click.option(
    "--depth", type=click.IntRange(0, 9), default=3, show_default=True, help="Operators above a leaf at most."
)
@command.number_option("Functions at most; the deepest level is cut.", default=100_000)
@click.option("--variables", type=click.IntRange(1, 17), default=2, show_default=True, help="x1 to this one.")
@click.option(
    "--unary",
    default="exp,sin,neg,sqrt",
    show_default=True,
    metavar="LIST",
    callback=_operators(UNARY),
    help="Of one operand.",
)
@click.option(
    "--binary", default="+,-,*,/", show_default=True, metavar="LIST", callback=_operators(BINARY), help="Of two."
)
@click.option("--hold", type=click.FloatRange(0, 0.5), default=0.01, show_default=True, help="Share never trained on.")
@click.option("--shortest", is_flag=True, help="Of the deepest level the shortest forms, not an even choice.")
@command.output_option()
@command.jobs_option()
@command.quiet_option()
@command.config_option()
def forms(depth, number, variables, unary, binary, hold, shortest, output, jobs, quiet, config):
    """Write all different expressions without constants to a depth, each function once, as skeletons."""
    if depth > 3:
        raise click.UsageError(
            f"--depth {depth}: about 1e13 pairs of operands; the deepest that can be gone through is 3"
        )
    told = {"depth": depth, "number": number, "variables": variables, "unary": unary, "binary": binary, "hold": hold,
            "shortest": shortest, "choice": "shortest" if shortest else "smallest hash of values"}  # fmt: skip
    entry = command.history_entry(seed=0, config=told)
    X = points(variables)
    with command.progress(quiet=quiet, unit="block") as bar:
        levels, dropped = enumerate_forms(depth, number, variables, unary, binary, shortest, jobs, bar)
    total = sum(len(level.exprs) for level in levels)
    if not number or not total:
        raise NoAnswer("no forms: -n is 0")
    seen: set[tuple] = set()
    n = 0
    with open_writer(output, holds="skeleton", history=[entry]) as writer:
        for d, level in enumerate(levels):
            for expr, raw, out in zip(simplified(level, X), level.exprs, held(level.keys, hold).tolist()):
                if tuple(expr) in seen or n >= number:
                    dropped["equal_form" if tuple(expr) in seen else "not_chosen"] += 1
                    continue
                seen.add(tuple(expr))
                writer.write({"kind": "skeleton", "id": n, "expr": expr, "raw_len": len(raw), "depth": d, "held": out})
                n += 1
        writer.dropped.update(+dropped)
    if n < number and not dropped["not_chosen"]:
        command.remark(f"{n:,} forms: there are no more to depth {depth}", quiet)


def main():
    """Entry point of fansr-forms."""
    forms()


if __name__ == "__main__":
    main()
