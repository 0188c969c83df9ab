"""The draw of render.py for a whole batch on any torch device: skeleton ids in, points and values out.

    batch = render_batch(tokens, 512, Prior(), torch.Generator(device).manual_seed(0))

Section 3.3: constants, columns, values; where a value is no finite number everything of that row is drawn again, up to
4 times.  The same distribution as bulk.draw, from torch's generator: the same seed on the same device gives the
same bits.  On a CPU the compiled kernels of draw_kernels.py do the work unless engine="torch" asks otherwise.

The rows' operators are sorted by height and opcode (bulk.plan), so that each group is one array operation over
all rows: a few hundred launches a batch, whatever its size.  Give it thousands of rows at once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from fansr.corpus import draw_kernels
from fansr.corpus.prior import Draw, Prior
from fansr.corpus.random_columns import PARTS
from fansr.expressions import OPERATOR, OPERATORS, opcodes as op

CHUNK = 32  # rows the compiled kernels draw at once
PROBE = draw_kernels.PROBE  # points tried first: a rejected draw nearly always shows there


class Batch(NamedTuple):
    """What render_batch gives; rows that were rejected (ok False) hold zeros."""

    X: torch.Tensor  # (B, M, D) float32, 0 in columns that hold nothing
    y: torch.Tensor  # (B, M) float32, with noise where the prior has some
    consts: torch.Tensor  # (B, C) float64 in pre-order, 0 beyond a row's own
    ok: torch.Tensor  # (B,) bool
    noise: torch.Tensor  # (B,) float64, noise level of each row


def _root(k: int):
    return lambda a: torch.copysign(a.abs() ** (1.0 / k), a)


def _functions() -> dict:
    """Torch function of every opcode; the true operators, as in tokens.OPERATORS."""
    found = {
        "+": torch.add,
        "-": torch.sub,
        "*": torch.mul,
        "/": torch.div,
        "pow": torch.pow,
        "abs": torch.abs,
        "inv": torch.reciprocal,
        "neg": torch.neg,
        "pow2": torch.square,
        "pow3": lambda a: a * a * a,
        "pow4": lambda a: torch.square(a * a),
        "pow5": lambda a: torch.square(a * a) * a,
        "pow1_2": torch.sqrt,
        "pow1_3": _root(3),
        "pow1_4": lambda a: torch.sqrt(torch.sqrt(a)),
        "pow1_5": _root(5),
    }
    for k in (2, 3, 4, 5):
        found[f"mult{k}"] = lambda a, k=k: a * k
        found[f"div{k}"] = lambda a, k=k: a / k
    for token in (row.token for row in OPERATORS):
        if token not in found:  # sin, exp and so on: torch has them under the same names
            found[token] = getattr(torch, token)
    return {OPERATOR[token].opcode: function for token, function in found.items()}


FUNCTIONS = _functions()
assert len(FUNCTIONS) == len(OPERATORS)


# ---- evaluation -------------------------------------------------------------------------------


class Program:
    """Many rows of vocabulary ids ready to be evaluated together on one device."""

    def __init__(self, rows: np.ndarray, device: torch.device):
        plan = draw_kernels.plan(rows)
        table = torch.from_numpy(np.stack([plan.row, plan.leaf, plan.first, plan.second])).to(device)
        self.row, self.leaf, self.first, self.second = table
        self.root = torch.from_numpy(plan.root).to(device)
        self.groups = plan.groups

    def values(self, X: torch.Tensor, consts: torch.Tensor) -> torch.Tensor:
        """y (B, M) for X (B, D, M) and consts (B, C), in their dtype."""
        B, D, M = X.shape
        V = X.new_empty(len(self.row), M)
        flat = X.reshape(B * D, M)
        for opcode, start, stop in self.groups:
            part = slice(start, stop)
            if opcode == op.COLUMN:
                V[part] = flat[self.row[part] * D + self.leaf[part]]
            elif opcode == op.FREE:
                V[part] = consts[self.row[part], self.leaf[part], None]
            elif opcode <= op.LAST_BINARY:
                V[part] = FUNCTIONS[opcode](V[self.first[part]], V[self.second[part]])
            else:
                V[part] = FUNCTIONS[opcode](V[self.first[part]])
        return V[self.root]


# ---- drawing ----------------------------------------------------------------------------------


class _Random:
    """Numbers of one generator on one device."""

    def __init__(self, generator: torch.Generator, device):
        self.generator, self.device = generator, device

    def uniform(self, *shape) -> torch.Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device, dtype=torch.float64)

    def normal(self, *shape) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device, dtype=torch.float64)

    def kinds(self, draws: tuple[Draw, ...], *shape) -> torch.Tensor:
        """Indices into `draws` by their shares."""
        if len(draws) == 1:
            return torch.zeros(*shape, dtype=torch.long, device=self.device)
        shares = torch.tensor([draw.share for draw in draws], dtype=torch.float64).cumsum(0)
        return torch.bucketize(self.uniform(*shape), (shares / shares[-1])[:-1].to(self.device), right=True)


def draw_constants(random: _Random, draws: tuple[Draw, ...], *shape) -> torch.Tensor:
    """Constants of the prior's kinds (prior.Draw), float64."""
    kind = random.kinds(draws, *shape)
    out = torch.zeros(*shape, dtype=torch.float64, device=random.device)
    for k, draw in enumerate(draws):
        if draw.kind == "normal":
            value = draw.low + draw.spread * random.normal(*shape)
        elif draw.kind == "log":
            value = 10.0 ** (draw.low + (draw.high - draw.low) * random.uniform(*shape))
        elif draw.kind == "uniform":
            value = draw.low + (draw.high - draw.low) * random.uniform(*shape)
        elif draw.kind == "integer":
            value = _whole(random.uniform(*shape), draw.low, draw.high)
        else:
            value = _whole(random.uniform(*shape), 1, draw.high) / _whole(random.uniform(*shape), 1, draw.high)
        if draw.negative > 0 and draw.kind != "normal":
            value = torch.where(random.uniform(*shape) < draw.negative, -value, value)
        out = torch.where(kind == k, value, out)
    return out


def _whole(u: torch.Tensor, low: float, high: float) -> torch.Tensor:
    return torch.floor(low + u * (math.floor(high) - math.ceil(low) + 1))


class _Columns:
    """P columns with their own parameters, whose values are drawn piece by piece."""

    def __init__(self, random: _Random, draws: tuple[Draw, ...], rows: torch.Tensor):
        """rows (P,): the row of the batch that each column belongs to; columns of one row share a mixture's parts."""
        P = len(rows)
        self.random, self.draws, self.rows = random, draws, rows
        self.kind = random.kinds(draws, P)
        self.p, self.q, self.sign = (torch.zeros(P, dtype=torch.float64, device=random.device) for _ in range(3))
        self.sign += 1.0
        if any(draw.kind == "mixture" for draw in draws):
            B = int(rows.max()) + 1 if P else 0
            parts = _whole(random.uniform(B, 1), 1, PARTS)  # (B, 1)
            weights = -torch.log1p(-random.uniform(B, PARTS))
            weights = torch.where(torch.arange(PARTS, device=random.device) < parts, weights, 0.0).cumsum(1)
            self.shares = weights / weights[:, -1:].clamp(min=1e-300)  # (B, PARTS)
            self.centres, self.deviations = random.normal(P, PARTS), random.uniform(P, PARTS)
        for k, draw in enumerate(draws):
            here = self.kind == k
            p, q = self._begin(draw, P)
            self.p, self.q = torch.where(here, p, self.p), torch.where(here, q, self.q)
            if draw.negative > 0:
                self.sign = torch.where(here & (random.uniform(P) < draw.negative), -1.0, self.sign)

    def _begin(self, draw: Draw, P: int):
        random = self.random
        if draw.kind in ("edges", "positive"):
            a, b = draw.spread * random.normal(P), draw.spread * random.normal(P)
            if draw.kind == "positive":
                a, b = a.abs(), b.abs()
            return a, b - a
        if draw.kind == "log":
            return draw.low + (draw.high - draw.low) * random.uniform(P), draw.spread * random.uniform(P)
        if draw.kind == "scaled":
            return 10.0 ** (draw.low + (draw.high - draw.low) * random.uniform(P)), draw.spread * random.normal(P)
        return tuple(
            torch.full((P,), value, dtype=torch.float64, device=random.device) for value in (draw.low, draw.high)
        )

    def take(self, which: torch.Tensor) -> _Columns:
        """The columns at these indices, to be gone on with."""
        taken = object.__new__(_Columns)
        taken.random, taken.draws, taken.rows = self.random, self.draws, self.rows[which]
        if hasattr(self, "shares"):
            taken.shares, taken.centres, taken.deviations = self.shares, self.centres[which], self.deviations[which]
        taken.kind, taken.p, taken.q, taken.sign = (t[which] for t in (self.kind, self.p, self.q, self.sign))
        return taken

    def values(self, n: int) -> torch.Tensor:
        """The next n values of each column, (P, n) float64."""
        shape, p, q = (len(self.kind), n), self.p[:, None], self.q[:, None]
        out = torch.zeros(*shape, dtype=torch.float64, device=self.random.device)
        for k, draw in enumerate(self.draws):
            if draw.kind == "mixture":
                u = self.random.uniform(len(self.shares), n)[self.rows]  # (P, n), the same for the columns of a row
                part = torch.searchsorted(self.shares[self.rows], u, right=True).clamp(max=PARTS - 1)
                deviation = 10.0 ** (draw.low + (draw.high - draw.low) * self.deviations.gather(1, part))
                value = draw.spread * self.centres.gather(1, part) + deviation * self.random.normal(*shape)
            elif draw.kind == "scaled":
                value = p * (q + self.random.normal(*shape))
            elif draw.kind == "log":
                value = 10.0 ** (p + q * (self.random.uniform(*shape) - 0.5))
            elif draw.kind == "integer":
                value = _whole(self.random.uniform(*shape), draw.low, draw.high)
            else:
                value = p + q * self.random.uniform(*shape)
            out = value if len(self.draws) == 1 else torch.where(self.kind[:, None] == k, value, out)
        return out * self.sign[:, None]


# ---- whole batches ----------------------------------------------------------------------------


def render_batch(
    tokens: np.ndarray,
    M: int,
    prior: Prior,
    generator: torch.Generator,
    device: torch.device | None = None,
    engine: str | None = None,
) -> Batch:
    """Draw M points, constants and values for B skeletons.

    tokens: (B, L) integers, vocabulary ids of complete prefix expressions padded with 0 (numpy or torch, best on
        the CPU, since the order of work is laid out there).
    generator: on `device` (its device is the default).  engine: "torch", or "numba" (CPU only); None chooses.
    ValueError names the first row that is no complete expression.
    """
    device = torch.device(generator.device if device is None else device)
    rows = np.asarray(tokens.cpu() if isinstance(tokens, torch.Tensor) else tokens).astype(np.uint8)
    whole = draw_kernels.complete(rows)
    if not whole.all():
        raise ValueError(
            f"row {int(np.flatnonzero(~whole)[0])} of tokens is no complete prefix expression padded with 0"
        )
    if (engine or ("numba" if device.type == "cpu" else "torch")) == "numba":
        return _render_numba(rows, M, prior, generator)
    drawn = _draw(rows, M, prior, _Random(generator, device))
    y, ok = drawn["y"].to(torch.float32), drawn["status"] >= 0
    return Batch(drawn["X"].to(torch.float32).transpose(1, 2).contiguous(), y, drawn["consts"], ok, drawn["noise"])


def draw(
    prior: Prior, rows: np.ndarray, ids: np.ndarray, points: int, seed: int = 0, device: torch.device | None = None
) -> dict[str, torch.Tensor]:
    """bulk.draw on an accelerator: the same dict with tensors on `device` (default: cuda where there is one).

    One number of points for all rows.  Unlike there, a row's numbers depend on the batch it is in and not on its id:
    one generator serves all rows.  status is 0 for accepted rows (how many redraws it took is not kept).
    """
    device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    generator = torch.Generator(device).manual_seed(seed & 0x7FFFFFFFFFFFFFFF)
    assert len(ids) == len(rows), "one id for each row"
    return _draw(np.asarray(rows, dtype=np.uint8), int(points), prior, _Random(generator, device))


def _render_numba(rows, M, prior, generator) -> Batch:
    seed = int(torch.randint(0, 1 << 62, (1,), generator=generator, device=generator.device))
    B, C = len(rows), max(1, int((rows == draw_kernels.CONSTANT_ID).sum(axis=1).max(initial=1)))
    X, y = np.zeros((B, M, prior.variables), np.float32), np.zeros((B, M), np.float32)
    consts, ok, noise = np.zeros((B, C)), np.zeros(B, bool), np.zeros(B)
    for start in range(0, B, CHUNK):  # small pieces stay in the cache between drawing and transposing
        part = slice(start, start + CHUNK)
        drawn = draw_kernels.draw(prior, rows[part], np.arange(B)[part], M, seed, stage="batch")
        good = np.flatnonzero(drawn["status"] >= 0)
        X[start + good] = drawn["X"].transpose(0, 2, 1)[good]
        y[start + good], consts[start + good] = drawn["y"][good], drawn["consts"][good, :C]
        ok[start + good], noise[start + good] = True, drawn["noise"][good]
    return Batch(*map(torch.from_numpy, (X, y, consts, ok, noise)))


def _draw(rows, M, prior, random) -> dict[str, torch.Tensor]:
    B, D, device = len(rows), prior.variables, random.device
    n_constants = max(1, int((rows == draw_kernels.CONSTANT_ID).sum(axis=1).max(initial=1)))
    out = {
        "X": torch.zeros(B, D, M, dtype=torch.float64, device=device),
        "y": torch.zeros(B, M, dtype=torch.float64, device=device),
        "consts": torch.zeros(B, n_constants, dtype=torch.float64, device=device),
        "filled": torch.zeros(B, D, dtype=torch.uint8, device=device),
    }
    status = torch.full((B,), draw_kernels.NOT_FINITE, dtype=torch.long, device=device)
    left = np.arange(B)
    for _ in range(prior.redraws + 1):
        if len(left) == 0:
            break
        good, drawn = _attempt(rows[left], M, prior, random, n_constants)
        if len(good):
            done = torch.from_numpy(left[good]).to(device)
            for name, values in drawn.items():
                out[name][done] = values
            status[done] = 0
            left = np.delete(left, good)
    noise = _noise(prior, random, B)
    if prior.noisy > 0:
        sigma = noise * out["y"].std(dim=1, correction=0)
        out["y"] += torch.where(torch.isfinite(sigma), sigma, 0.0)[:, None] * random.normal(B, M)
    return {**out, "noise": noise, "status": status}


def _attempt(rows, M, prior, random, n_constants):
    """One draw of every row: indices (numpy) of those with values that can be used, and their part of _draw's dict."""
    first = min(PROBE, M)
    used = _used(rows, prior.variables, random.device)
    filled = used.to(torch.uint8)
    if prior.irrelevant > 0:
        filled += 2 * (~used & (random.uniform(*used.shape) < prior.irrelevant)).to(torch.uint8)
    places = filled.nonzero()
    columns = _Columns(random, prior.columns, places[:, 0])
    consts = draw_constants(random, prior.constants, len(rows), n_constants)
    X = torch.zeros(len(rows), prior.variables, first, dtype=torch.float64, device=random.device)
    X[places[:, 0], places[:, 1]] = columns.values(first)
    y = Program(rows, random.device).values(X, consts)
    good = (y.abs() <= prior.reach).all(dim=1).nonzero()[:, 0]  # NaN and infinity compare false
    chosen = good.cpu().numpy()
    if M == first or len(chosen) == 0:
        return chosen, {"X": X[good], "y": y[good], "consts": consts[good], "filled": filled[good]}
    number = torch.full((len(rows),), -1, dtype=torch.long, device=random.device)
    number[good] = torch.arange(len(good), device=random.device)
    kept = (number[places[:, 0]] >= 0).nonzero()[:, 0]
    rest = torch.zeros(len(good), prior.variables, M - first, dtype=torch.float64, device=random.device)
    rest[number[places[kept, 0]], places[kept, 1]] = columns.take(kept).values(M - first)
    more = Program(rows[chosen], random.device).values(rest, consts[good])
    fine = (more.abs() <= prior.reach).all(dim=1).nonzero()[:, 0]
    good = good[fine]
    drawn = {
        "X": torch.cat([X[good], rest[fine]], 2),
        "y": torch.cat([y[good], more[fine]], 1),
        "consts": consts[good],
        "filled": filled[good],
    }
    return chosen[fine.cpu().numpy()], drawn


def _used(rows, D: int, device) -> torch.Tensor:
    """(B, D) bool: which variables each row holds."""
    used = np.zeros((len(rows), 256), dtype=bool)
    used[np.arange(len(rows))[:, None], rows] = True
    return torch.from_numpy(used[:, draw_kernels.FIRST_VARIABLE_ID : draw_kernels.FIRST_VARIABLE_ID + D].copy()).to(
        device
    )


def _noise(prior: Prior, random: _Random, B: int) -> torch.Tensor:
    """Noise level of each row: log-uniform where there is noise, else 0."""
    if prior.noisy <= 0:
        return torch.zeros(B, dtype=torch.float64, device=random.device)
    low, high = math.log(prior.noise_low), math.log(prior.noise_high)
    level = torch.exp(low + (high - low) * random.uniform(B))
    return torch.where(random.uniform(B) < prior.noisy, level, 0.0)
