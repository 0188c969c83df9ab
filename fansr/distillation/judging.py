"""What a network loses when a block is replaced: by its mean, by linear maps, by its bases alone, by laws.

Knows blocks and layers; what is loss is the caller's to say.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fansr.distillation import basis
from fansr.distillation.block import Block
from fansr.distillation.block_rows import Rows
from fansr.distillation.law_layer import LawLayer
from fansr.distillation.places import call
from fansr.distillation.recording import Recorded
from fansr.errors import DataError

Loss = Callable[[Any, Any], Any]


def losses(block: Block, loss: Loss, batches: Sequence[Any]) -> np.ndarray:
    """(B,) the loss of each batch, in eval mode; gradients are kept on, since a loss may need them (a differential equation's)."""
    if not len(batches):
        raise DataError("no batches came: wanted at least one")
    found = []
    with block.calm():
        for batch in batches:
            value = loss(block.model, batch)
            value = value.detach() if isinstance(value, torch.Tensor) else torch.as_tensor(value)
            if value.numel() != 1:
                raise DataError(f"the loss is a tensor of shape {tuple(value.shape)}: wanted one number for a batch")
            found.append(float(value))
    return np.array(found)


def standard_error(values: np.ndarray) -> float | None:
    """Of the mean of values (B,); None for one value."""
    with np.errstate(all="ignore"):
        return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None


def mean_loss(block: Block, loss: Loss, batches: Sequence[Any]) -> float:
    """The mean of losses()."""
    return float(losses(block, loss, batches).mean())


def milliseconds(function: Callable[[], Any], repeats: int, least: float = 2e-3) -> float:
    """Median over `repeats` of the time of one call, each measured over `least` seconds or one call."""
    begun = time.perf_counter()
    function()
    once = time.perf_counter() - begun
    calls = max(1, int(least / max(once, 1e-9)))
    took = []
    for _ in range(max(1, repeats)):
        begun = time.perf_counter()
        for _ in range(calls):
            function()
        took.append((time.perf_counter() - begun) / calls)
    return 1e3 * statistics.median(took)


@dataclass
class Surrogate:
    """Something that may stand for a block: rows -> outputs as Block.replace takes it, and how many numbers it is made of."""

    name: str
    rows: Rows
    parameters: int
    size: int  # bytes
    tokens: int = 0


def _affine(name: str, linear: basis.Linear, like: torch.Tensor, parameters: int | None = None) -> Surrogate:
    W, b = (torch.as_tensor(part, dtype=like.dtype, device=like.device) for part in linear)
    n = linear.parameters if parameters is None else parameters
    return Surrogate(name, lambda X, _: torch.addmm(b.to(X.dtype), X, W.to(X.dtype)), n, n * like.element_size())


def surrogates(
    block: Block,
    taken: Recorded,
    layer: LawLayer,
    rows_by_laws: Rows,
    tokens: int,
    input_basis: tuple[torch.Tensor, torch.Tensor] | None,
    output_basis: basis.Components | None,
    rank: int | None,
) -> list[Surrogate]:
    """The block itself and all that may stand for it, in the order of the table."""
    weights = list(block.module.parameters())
    like = layer.consts
    X, Y = taken.X.double().numpy(), taken.Y.double().numpy()
    mean = torch.as_tensor(Y.mean(axis=0), dtype=like.dtype, device=like.device)
    n = sum(p.numel() for p in weights)
    size = sum(p.numel() * p.element_size() for p in weights)
    m = Y.shape[1]
    found = [
        Surrogate("original", lambda _, original: original(), n, size),
        Surrogate("mean", lambda X, _: mean.to(X.dtype).expand(len(X), m), m, m * like.element_size()),
        _affine("linear map", basis.linear_map(X, Y), like),
    ]
    rank = rank or (len(output_basis.rows) if output_basis is not None else min(8, *Y.shape, X.shape[1]))
    if rank < min(X.shape[1], m):
        linear = basis.linear_map(X, Y, rank)
        found.append(_affine(f"linear map of rank {rank}", linear, like, rank * (X.shape[1] + m) + m))
    if input_basis is not None or output_basis is not None:
        found.append(_bases(input_basis, output_basis, like, n, size))
    extra = [t for t in layer.buffers() if t is not None]
    numbers = layer.consts.numel() + sum(t.numel() for t in extra)
    laws = Surrogate("laws", rows_by_laws, numbers, numbers * like.element_size(), tokens)
    return [*found, laws]


def _bases(input_basis, output_basis, like, n, size) -> Surrogate:
    """The block itself between projections on the bases of its inputs and outputs: what laws on them can reach at best."""

    def rows(X, original):
        if input_basis is not None:
            mean, components = (part.to(X.device, X.dtype) for part in input_basis)
            Y = original(mean + (X - mean) @ components.t() @ components)
        else:
            Y = original()
        if output_basis is not None:
            mean, back = (torch.as_tensor(part, dtype=Y.dtype, device=Y.device) for part in output_basis[:2])
            into = (
                back
                if output_basis.project is None
                else torch.as_tensor(output_basis.project, dtype=Y.dtype, device=Y.device)
            )
            Y = mean + (Y - mean) @ into.t() @ back
        return Y

    numbers = sum(
        len(part[0]) * (1 + len(part[1]))
        for part in (input_basis, output_basis[:2] if output_basis else None)
        if part is not None
    )
    return Surrogate("bases alone", rows, n + numbers, size + numbers * like.element_size())


def judge(
    distiller: Any,
    loss: Loss,
    batches: Sequence[Any],
    layer: LawLayer,
    neural: Sequence[int],
    laws: dict,
    repeats: int = 5,
    rank: int | None = None,
    before: LawLayer | None = None,
) -> dict[str, Any]:
    """The table of Distiller.judge; before: the laws as they were before they were tuned."""
    block, taken = distiller.block, distiller._taken()
    if block.module is None:
        raise ValueError("a function has no network around it to be judged")
    inner = distiller.columns
    input_basis = None if inner.components is None else (inner.mean, inner.components)
    tokens = sum(law.length for law in laws.values() if law is not None)
    by_laws = distiller.rows_by_laws(layer, neural)
    table = []
    X, Y = (taken.X_held, taken.Y_held) if len(taken.X_held) else (taken.X, taken.Y)
    X, truth = X.to(layer.consts.device, layer.consts.dtype), Y.double().numpy()
    own = block.own_forward()
    base = None
    rows = surrogates(block, taken, layer, by_laws, tokens, input_basis, distiller.output_basis, rank)
    if not laws:
        rows.pop()
    elif before is not None:
        rows.insert(-1, replace(rows[-1], rows=distiller.rows_by_laws(before, neural)))
        rows[-1].name = "laws tuned"
    for one in rows:
        with block.replaced(one.rows):
            values = losses(block, loss, batches)
        base = values if base is None else base
        with torch.no_grad():

            def run(one=one):
                return one.rows(X, lambda changed=None: block.run_rows(own, X if changed is None else changed))

            try:
                fitted = run()
                took = milliseconds(run, repeats)
            except (RuntimeError, TypeError, DataError):  # a block that cannot be given rows alone
                fitted, took = None, None
        r2 = None if fitted is None else basis.r2(truth, fitted.double().cpu().numpy())
        with np.errstate(all="ignore"):
            change = values - base
        table.append(
            {
                "name": one.name,
                "loss": float(values.mean()),
                "loss_se": standard_error(values),
                "change": float(change.mean()),
                "change_se": standard_error(change),
                "r2_mean": None if r2 is None else float(r2.mean()),
                "r2_worst": None if r2 is None else float(r2.min()),
                "ms": took,
                "parameters": one.parameters,
                "bytes": one.size,
                "tokens": one.tokens,
            }
        )
    with torch.no_grad():
        outside = int(layer.outside(X).sum())
    return {
        "module": block.name, "rows": table, "batches": len(batches), "held_rows": len(X), "outside": outside,
        "neural": list(neural), "guard": layer.guard,
    }  # fmt: skip


def text(outcome: dict[str, Any]) -> str:
    """The table of judge() as lines for a person."""
    rows = outcome["rows"]
    width = max(len(row["name"]) for row in rows)
    head = f"{'':{width}s}  {'loss':>12s} {'change':>12s} {'R2':>9s} {'worst':>9s} {'ms':>9s} {'numbers':>10s} {'bytes':>10s} {'tokens':>6s}"
    lines = [f"{outcome['module']}: {outcome['batches']} batches, {outcome['held_rows']} held-out rows", "", head]
    for row in rows:
        lines.append(
            f"{row['name']:{width}s}  {_cell(row['loss'], 12)} {_cell(row['change'], 12)} {_cell(row['r2_mean'], 9, 5)} "
            f"{_cell(row['r2_worst'], 9, 5)} {_cell(row['ms'], 9, 3)} {row['parameters']:>10d} {row['bytes']:>10d} {row['tokens']:>6d}"
        )
    lines.append(
        f"\n{outcome['outside']} of {outcome['held_rows']} held-out rows lie beyond the ranges (guard {outcome['guard']})"
    )
    if outcome["neural"]:
        lines.append(f"units {', '.join(map(str, outcome['neural'][:20]))} have no law and stay neural")
    return "\n".join(lines) + "\n"


def _cell(value: float | None, width: int, digits: int = 6) -> str:
    return f"{'-':>{width}s}" if value is None else f"{value:>{width}.{digits}g}"


SIZES = (1, 64, 4096)


def speed(
    distiller: Any, batches: Sequence[Any], repeats: int, guard: str, run: Callable | None = None
) -> dict[str, Any]:
    """Milliseconds of the block and of its laws at SIZES rows, and of the whole network on the first batch, each in turn."""
    block, taken = distiller.block, distiller._taken()
    layer = distiller.make_layer(guard=guard)
    own = block.own_forward()
    X = taken.X.to(layer.consts.device, layer.consts.dtype)
    table = []
    with torch.no_grad(), block.calm():
        for size in SIZES:
            rows = X[torch.arange(size) % len(X)].contiguous()
            try:
                mine = milliseconds(lambda rows=rows: block.run_rows(own, rows), repeats)
            except (RuntimeError, TypeError, DataError):  # a block that cannot be given rows alone
                mine = None
            laws = milliseconds(lambda rows=rows: layer(rows), repeats)
            engine = layer.engines.get(len(rows).bit_length(), layer.engine)
            table.append(
                {
                    "rows": size,
                    "block_ms": mine,
                    "laws_ms": laws,
                    "times": None if mine is None else mine / laws,
                    "engine": engine,
                }
            )
        forward = (lambda: run(block.model, batches[0])) if run is not None else (lambda: call(block.model, batches[0]))
        original = milliseconds(forward, repeats)
        neural = distiller._neural(distiller.laws)
        with block.replaced(distiller.rows_by_laws(layer, neural)):
            switched = milliseconds(forward, repeats)
    return {"module": block.name, "block": table, "network_ms": original, "switched_ms": switched}


def speed_text(outcome: dict[str, Any]) -> str:
    """speed() as lines for a person."""
    lines = [
        f"{outcome['module']}: milliseconds, median, {outcome['threads']} thread(s)",
        "",
        f"{'rows':>8s} {'block':>10s} {'laws':>10s} {'times':>7s}  engine",
    ]
    for row in outcome["block"]:
        lines.append(
            f"{row['rows']:>8d} {_cell(row['block_ms'], 10, 4)} {_cell(row['laws_ms'], 10, 4)} {_cell(row['times'], 7, 3)}  {row['engine']}"
        )
    lines.append(f"\nthe whole network on a batch: {outcome['network_ms']:.4g}, switched {outcome['switched_ms']:.4g}")
    return "\n".join(lines) + "\n"
