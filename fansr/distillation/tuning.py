"""Laws fitted to the loss of the whole network: their constants by gradient, their lengths by what each token gains."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from fansr.distillation.block import Block
from fansr.distillation.block_rows import Rows
from fansr.distillation.judging import mean_loss
from fansr.distillation.law_layer import LawLayer
from fansr.errors import DataError

OPTIMIZERS = {"lbfgs": 1.0, "adam": 1e-2}  # with their rates; constants are counted in their own size


def tune(
    block: Block,
    layer: LawLayer,
    rows: Rows,
    loss: Callable[[Any, Any], Any],
    batches: Sequence[Any],
    steps: int,
    optimizer: str = "lbfgs",
    rate: float | None = None,
) -> tuple[dict[str, float], torch.Tensor]:
    """({"before", "after"}: mean losses, constants (C,) of the least loss met) of a layer whose `rows` stand for the block.

    A constant c is moved as c (1 + d), one that is 0 as d, so that all have a like scale.
    """
    if optimizer not in OPTIMIZERS:
        raise ValueError(f"optimizer={optimizer!r}: wanted one of {', '.join(OPTIMIZERS)}")
    if steps < 1:
        raise ValueError(f"steps={steps!r}: wanted 1 at least")
    if not batches:
        raise DataError("no batches came: wanted at least one")
    start = layer.consts.detach().clone()
    if not start.numel():
        raise DataError(f"{block.name}: its laws have no constants to tune")
    size = torch.where(start == 0, torch.ones_like(start), start)
    moved = torch.zeros_like(start).requires_grad_(True)
    rate = OPTIMIZERS[optimizer] if rate is None else rate
    layer.consts.requires_grad_(False)
    del layer._parameters["consts"]
    best, least = start, math.inf

    def value_of(part: Sequence[Any]) -> torch.Tensor:
        layer.consts = start + size * moved
        return sum(loss(block.model, batch) for batch in part) / len(part)

    def whole() -> float:
        nonlocal best, least
        with torch.enable_grad():
            value = float(value_of(batches).detach())
        if value < least:
            best, least = (start + size * moved).detach().clone(), value
        return value

    with block.replaced(rows), block.calm():
        before = whole()
        if not math.isfinite(before):
            raise DataError(f"{block.name}: the loss is {before} with the laws in place: nothing to begin from")
        if optimizer == "lbfgs":
            made = torch.optim.LBFGS([moved], lr=rate, max_iter=steps, history_size=20, line_search_fn="strong_wolfe",
                                     tolerance_grad=1e-12, tolerance_change=1e-14)  # fmt: skip

            def closure() -> torch.Tensor:
                nonlocal best, least
                value = value_of(batches)
                moved.grad = torch.autograd.grad(value, moved)[0].nan_to_num(0.0, 0.0, 0.0)
                if float(value.detach()) < least:
                    best, least = (start + size * moved).detach().clone(), float(value.detach())
                return value.detach()

            made.step(closure)
        else:
            made = torch.optim.Adam([moved], lr=rate)
            for step in range(steps):
                moved.grad = torch.autograd.grad(value_of([batches[step % len(batches)]]), moved)[0].nan_to_num(
                    0.0, 0.0, 0.0
                )
                made.step()
                if step % max(1, steps // 20) == 0 or step == steps - 1:
                    whole()
    del layer.consts
    layer.consts = torch.nn.Parameter(best)
    with block.replaced(rows):
        after = mean_loss(block, loss, batches)
    return {"before": before, "after": after}, best


def lengthened(
    lengths: dict[int, list[int]], loss_of: Callable[[dict[int, int]], float], original: float, budget: float
) -> tuple[dict[int, int], float]:
    """(which law of its front each unit has, the loss): the greedy choice of Distiller.choose_by_loss.

    lengths: {unit: tokens of the laws of its front, the shortest first}.  Every longer law of every unit is tried at each turn.
    """
    levels = dict.fromkeys(lengths, 0)
    value = loss_of(levels)
    bar = original + budget * abs(original)
    while not value <= bar:
        steps = []
        for unit, tokens in lengths.items():
            for k in range(levels[unit] + 1, len(tokens)):
                tried = loss_of({**levels, unit: k})
                gain = (value - tried) if math.isfinite(value) else (math.inf if math.isfinite(tried) else 0.0)
                steps.append((gain / (tokens[k] - tokens[levels[unit]]), tried <= bar, -tried, unit, k, tried))
        steps = [step for step in steps if step[0] > 0]
        if not steps:
            break
        within = [step for step in steps if step[1]]
        if within:  # one step suffices: the shortest such
            *_, unit, k, value = min(
                within, key=lambda step: lengths[step[3]][step[4]] - lengths[step[3]][levels[step[3]]]
            )
        else:
            *_, unit, k, value = max(steps)
        levels[unit] = k
    return levels, value
