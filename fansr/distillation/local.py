"""A law around one row: short, fitted to weighted neighbours, beside the linear map that is usually told.

After SLIME and LIME (Ribeiro, Singh and Guestrin 2016): recorded neighbours and Gaussian ones around the row go through the
block, nearer ones weigh more.  What is different: a front of laws, and R2 of both on neighbours that neither has seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from fansr.distillation import unit_searches
from fansr.errors import DataError
from fansr.expressions import evaluate, to_infix
from fansr.fitting import Problem
from fansr.streams import rng_for

MOST_TOKENS = 20


def explain(
    distiller: Any,
    row: int | Sequence[float],
    unit: int = 0,
    near: int = 200,
    drawn: int = 200,
    width: float = 0.5,
    time: float | None = 3.0,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """The law of one unit around a row (its number among the recorded ones, or d values).

    near: recorded rows, the nearest; drawn: Gaussian ones with `width` times the spread of the near ones; weights
    exp(-distance^2 / 2) in units of the near ones' median distance.  Returns {"law", "record", "r2", "linear", "linear_r2", ...},
    both R2 weighted alike and on fresh rows.
    """
    taken = distiller._taken()
    X = taken.X.double().numpy()
    if isinstance(row, (int, np.integer)):
        if not 0 <= row < len(X):
            raise DataError(f"row {row}: there are {len(X)} recorded rows, from 0")
        centre = X[row]
    else:
        centre = np.asarray(row, dtype=np.float64)
        if centre.shape != (X.shape[1],):
            raise DataError(f"the row has shape {centre.shape}, wanted ({X.shape[1]},)")
    if not 0 <= unit < distiller.outputs:
        raise DataError(f"no unit {unit}; {distiller.block.name} has {distiller.outputs}, from 0")
    spread = np.where(X.std(axis=0) > 0, X.std(axis=0), 1.0)
    distance = np.sqrt((((X - centre) / spread) ** 2).mean(axis=1))
    closest = X[np.argsort(distance, kind="stable")[: max(1, min(near, len(X)))]]
    scale = np.where(closest.std(axis=0) > 0, closest.std(axis=0), 0.0) * width
    rng = rng_for(seed, "distill.local", unit)
    parts = [np.vstack([closest, centre + rng.normal(size=(drawn, len(centre))) * scale]) for _ in range(2)]
    parts[1] = parts[1][len(closest) :]  # fresh rows: drawn ones alone
    radius = float(np.median(np.sqrt((((closest - centre) / spread) ** 2).mean(axis=1)))) or 1.0
    own = distiller.block.own_forward()
    values, weights = [], []
    for part in parts:
        with torch.no_grad():
            rows = torch.as_tensor(part, dtype=taken.X.dtype).to(distiller._device())
            values.append(distiller.block.run_rows(own, rows)[:, unit].double().cpu().numpy())
        weights.append(np.exp(-0.5 * (np.sqrt((((part - centre) / spread) ** 2).mean(axis=1)) / radius) ** 2))
    columns = [distiller._columns_of(torch.as_tensor(part, dtype=taken.X.dtype)) for part in parts]
    changing = [j for j in range(columns[0].shape[1]) if np.ptp(columns[0][:, j]) > 0]
    Z, Z_fresh = (np.ascontiguousarray(part[:, changing]) for part in columns)
    names = [distiller.offered[j] for j in changing]
    problem = Problem(Z, values[0], names, f"{distiller.block.name}[{unit}]", unit, weights=weights[0])
    options = {"select": "drop", "max_length": MOST_TOKENS, "time": time, "seed": seed, **options}
    (record,) = unit_searches.search([problem], options, 1, 1)
    if not record.get("expr"):
        raise DataError(f"{distiller.block.name}[{unit}]: no law around the row ({record.get('status')})")
    root = np.sqrt(weights[0])[:, None]
    A = np.column_stack([Z, np.ones(len(Z))]) * root
    linear = np.linalg.lstsq(A, values[0] * root[:, 0], rcond=None)[0]
    with np.errstate(all="ignore"):
        by_law = evaluate(record["expr"], Z_fresh, record["consts"])
    by_line = np.column_stack([Z_fresh, np.ones(len(Z_fresh))]) @ linear
    return {
        "law": to_infix(record["expr"], record["consts"], names, digits=6), "record": record, "length": record["length"],
        "r2": weighted_r2(values[1], by_law, weights[1]), "linear": dict(zip([*names, "1"], linear.tolist())),
        "linear_r2": weighted_r2(values[1], by_line, weights[1]), "rows": len(Z), "fresh": len(Z_fresh), "status": record["status"],
    }  # fmt: skip


def weighted_r2(y: np.ndarray, fitted: np.ndarray, weights: np.ndarray) -> float:
    """1 - FVU of y (M,) with weights (M,)."""
    rest, total = weights @ (y - fitted) ** 2, weights @ (y - np.average(y, weights=weights)) ** 2
    return float(1.0 - rest / total) if total > 0 and np.isfinite(rest) else -np.inf
