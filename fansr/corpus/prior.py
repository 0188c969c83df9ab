"""The prior over laws and their data: section 3.3 of the paper as defaults, everything a field.

A prior file is TOML; it names only what differs from the paper.  This module knows what may stand
in one, and how to say what is wrong with it.  It draws nothing: gen.py draws skeletons, render.py
and render_torch.py draw constants and points.

    variables = 17                 # D: x1 .. xD
    [[skeletons]]                  # one or more kinds of skeleton, mixed by their share
    [[constants]]                  # likewise, how a constant is drawn
    [[columns]]                    # likewise, how a column of X is drawn
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from fansr.cli import read_toml
from fansr.errors import DataError
from fansr.expressions import MAX_VARIABLES, OPERATORS


@dataclass(frozen=True)
class Skeletons:
    """One kind of skeleton.  The defaults are the paper's only kind.

    The number of operators n has probability proportional to exp(n**alpha / scale) for
    min_ops <= n <= max_ops; a negative scale makes short ones the commoner.  `unary` and `binary` are the weights p1 and p2 of Lample and Charton's
    count of trees (1 and 1: every unary-binary tree with n inner nodes is equally likely).
    `weights` replaces sampling weights of Table 5 by token; `others` multiplies the weight of every
    operator that `weights` does not name.
    """

    share: float = 1.0
    alpha: float = 0.7
    scale: float = 1.0  # lambda of section 3.3
    min_ops: int = 0
    max_ops: int = 17
    unary: float = 1.0
    binary: float = 1.0
    max_unique: int = MAX_VARIABLES  # most distinct leaf symbols; the paper's is D
    constant: float = 1.0  # weight of <constant> when distinct leaves are drawn; a variable has 1
    depends: int = 0  # 1: a law always has a variable; the paper's may be nothing but constants
    others: float = 1.0
    weights: dict[str, float] = field(default_factory=dict)

    def operator_weights(self) -> list[float]:
        """Sampling weight of each of the 38 operators, by opcode."""
        return [self.weights.get(row.token, row.weight * self.others) for row in OPERATORS]


@dataclass(frozen=True)
class Draw:
    """One way to draw constants or the values of a column.  What `low`, `high` and `spread` mean:

    kind        value
    normal      N(mean low, deviation spread)
    edges       U(a, b) with a, b ~ N(0, spread) drawn once a column: the paper's points
    positive    as edges, with |a| and |b|
    log         magnitude log-uniform: 10**u.  As a constant u ~ U(low, high).  As a column,
                u ~ U(c - w/2, c + w/2) with a centre c ~ U(low, high) and a width w ~ U(0, spread) decades
    scaled      s * N(m, 1) with s = 10**U(low, high) and m ~ N(0, spread) drawn once a column
    uniform     U(low, high); constants only.  U(1, 5) is the constants of the paper's ablation
    mixture     a mixture of normal distributions, columns only: of 1 to 5 parts, centres N(0, spread), deviations 10**U(low, high)
                drawn anew for each column, weights Dirichlet(1); all columns of a table follow the same parts row by row
    integer     a whole number from low to high, ends included
    fraction    p / q, p and q whole numbers from 1 to high; q also from 1
    `negative` is the chance of the opposite sign: of a constant (log, uniform, integer, fraction), or of a whole
    column (positive, log).
    """

    kind: str = "normal"
    share: float = 1.0
    low: float = 0.0
    high: float = 0.0
    spread: float = 5.0
    negative: float = 0.0


WEIGHT = 1e6  # the largest share or weight
CONSTANT_KINDS = ("normal", "log", "uniform", "integer", "fraction")
COLUMN_KINDS = ("edges", "positive", "log", "scaled", "integer", "mixture")


@dataclass(frozen=True)
class Prior:
    """Everything a corpus is drawn from.  Defaults: section 3.3 of the paper.

    Departure: `reach` bounds |y| and |X| by what float32 holds, because the network reads float32
    bits; the paper only asks for finite values.
    """

    variables: int = MAX_VARIABLES  # D
    skeletons: tuple[Skeletons, ...] = (Skeletons(),)
    constants: tuple[Draw, ...] = (Draw("normal", spread=5.0),)
    columns: tuple[Draw, ...] = (Draw("edges", spread=10.0),)
    min_points: int = 1
    max_points: int = 1024
    redraws: int = 4  # after the first draw
    reach: float = 3e38
    inserted: float = (
        0.0  # chance that a leaf, or an operand t of a binary operator, becomes c*t or c + t (as often), c a constant
    )
    irrelevant: float = 0.0  # chance that a column the law does not use holds numbers nevertheless
    noisy: float = 0.0  # chance that a problem has noise; its level is log-uniform between the two below
    noise_low: float = 1e-3
    noise_high: float = 1e-1

    @property
    def max_ops(self) -> int:
        """Most operators a skeleton can have."""
        return max(part.max_ops for part in self.skeletons)

    @property
    def max_symbols(self) -> int:
        """Most tokens a skeleton can have: n binary operators have n + 1 leaves."""
        return 2 * self.max_ops + 1


def load(source: str | Path | Prior | None = None) -> Prior:
    """A prior from a TOML file, from the name of a shipped one ("prior", "prior-wide"), or the paper's for None.

    DataError says which key is unknown or which value cannot be used.
    """
    if source is None or isinstance(source, Prior):
        return source or Prior()
    return from_dict(read_toml(source), str(source))


def from_dict(values: dict, name: str = "prior") -> Prior:
    """A prior from a plain dict as TOML gives it; `name` is for messages."""
    values = dict(values)
    for key, kind in (("skeletons", Skeletons), ("constants", Draw), ("columns", Draw)):
        if key in values:
            tables = values[key]
            if not isinstance(tables, (list, tuple)) or not tables or not all(isinstance(t, dict) for t in tables):
                raise DataError(f"{name}: {key} must be one or more [[{key}]] tables")
            values[key] = tuple(_build(kind, table, f"{name}: [[{key}]] {i + 1}") for i, table in enumerate(tables))
    prior = _build(Prior, values, name)
    _check(prior, name)
    return prior


def to_dict(prior: Prior) -> dict:
    """The prior as plain values: what stands in a stream's history and in a checkpoint."""
    return dataclasses.asdict(prior)


def _build(kind: type, values: dict, name: str):
    defaults = {f.name: f.default if f.default is not dataclasses.MISSING else {} for f in dataclasses.fields(kind)}
    values = dict(values)
    for key, value in [*values.items()]:
        if key not in defaults:
            raise DataError(f"{name}: unknown key {key}; known are {', '.join(defaults)}")
        if isinstance(defaults[key], (int, float)):
            whole, largest = isinstance(defaults[key], int), 1e9 if isinstance(defaults[key], int) else 1e300
            if (
                isinstance(value, bool)
                or not isinstance(value, int if whole else (int, float))
                or not abs(value) <= largest
            ):
                raise DataError(
                    f"{name}: {key} is {str(value)[:40]}, wanted a {'whole ' if whole else ''}number within +-{largest:g}"
                )
            values[key] = value if whole else float(value)
        elif isinstance(defaults[key], dict) and not isinstance(value, dict):
            raise DataError(f"{name}: {key} is {str(value)[:40]}, wanted a table of tokens")
    return kind(**values)


def _check(prior: Prior, name: str):
    if not 1 <= prior.variables <= MAX_VARIABLES:
        raise DataError(f"{name}: variables is {prior.variables}, wanted 1 to {MAX_VARIABLES}")
    if not 1 <= prior.min_points <= prior.max_points:
        raise DataError(f"{name}: points run from {prior.min_points} to {prior.max_points}, wanted 1 <= min <= max")
    if prior.max_points > 10_000_000 or not 0 <= prior.redraws <= 1000:
        raise DataError(
            f"{name}: max_points is {prior.max_points} and redraws {prior.redraws}, wanted at most 10000000 and 0 to 1000"
        )
    if not 0 < prior.noise_low <= prior.noise_high or not prior.reach > 0:
        raise DataError(f"{name}: wanted 0 < noise_low <= noise_high and reach > 0")
    for key in ("inserted", "irrelevant", "noisy"):
        if not 0 <= getattr(prior, key) <= 1:
            raise DataError(f"{name}: {key} is {getattr(prior, key)}, wanted a probability")
    for i, part in enumerate(prior.skeletons):
        _check_skeletons(part, f"{name}: [[skeletons]] {i + 1}")
    for key, kinds in (("constants", CONSTANT_KINDS), ("columns", COLUMN_KINDS)):
        for i, draw in enumerate(getattr(prior, key)):
            _check_draw(draw, kinds, f"{name}: [[{key}]] {i + 1}")
    for key in ("skeletons", "constants", "columns"):
        if not sum(part.share for part in getattr(prior, key)) > 0:
            raise DataError(f"{name}: the shares of {key} add up to nothing")


def _check_skeletons(part: Skeletons, name: str):
    if not 0 <= part.min_ops <= part.max_ops <= 31:
        raise DataError(f"{name}: operators run from {part.min_ops} to {part.max_ops}, wanted 0 <= min <= max <= 31")
    if not 0 <= part.alpha <= 10:
        raise DataError(f"{name}: alpha is {part.alpha}, wanted 0 to 10")
    if part.scale == 0 or not -700 < part.max_ops**part.alpha / part.scale < 1e300:
        raise DataError(f"{name}: alpha {part.alpha} with scale {part.scale} gives no distribution")
    if not (0 <= part.unary <= WEIGHT and 0 <= part.binary <= WEIGHT and part.unary + part.binary > 0):
        raise DataError(f"{name}: unary and binary must be from 0 to {WEIGHT:g} and not both 0")
    if part.depends not in (0, 1):
        raise DataError(f"{name}: depends is {part.depends}, wanted 0 or 1")
    if not all(0 <= weight <= WEIGHT for weight in (part.share, part.constant, part.others)) or part.max_unique < 1:
        raise DataError(f"{name}: wanted share, constant and others from 0 to {WEIGHT:g} and max_unique >= 1")
    for token, weight in part.weights.items():
        if all(token != row.token for row in OPERATORS):
            raise DataError(f"{name}: weights names {token!r}, which is no operator of Table 5")
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= WEIGHT:
            raise DataError(
                f"{name}: the weight of {token} is {str(weight)[:40]}, wanted a number from 0 to {WEIGHT:g}"
            )
    for arity in (1, 2):
        total = sum(w for w, row in zip(part.operator_weights(), OPERATORS) if row.arity == arity)
        if (part.unary, part.binary)[arity - 1] > 0 and not total > 0:
            raise DataError(f"{name}: no operator with {arity} operand{'s' * (arity - 1)} has any weight")


def _check_draw(draw: Draw, kinds: tuple[str, ...], name: str):
    if draw.kind not in kinds:
        raise DataError(f"{name}: kind is {draw.kind!r}, wanted one of {', '.join(kinds)}")
    if not 0 <= draw.share <= WEIGHT or not 0 <= draw.negative <= 1 or draw.spread < 0:
        raise DataError(f"{name}: wanted share from 0 to {WEIGHT:g}, spread >= 0 and negative between 0 and 1")
    if draw.kind in ("log", "scaled", "uniform", "integer", "mixture") and draw.low > draw.high:
        raise DataError(f"{name}: low {draw.low} is above high {draw.high}")
    if draw.kind in ("log", "scaled", "mixture") and max(abs(draw.low), abs(draw.high)) + draw.spread > 37:
        raise DataError(f"{name}: a magnitude of 10**{max(abs(draw.low), abs(draw.high)):g} is beyond float32")
    if draw.kind == "fraction" and not draw.high >= 1:
        raise DataError(f"{name}: high is {draw.high}, wanted at least 1")
