"""Records to points: what fansr-law draws its laws through, of run, score and metric records; and the five published points."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable

import numpy as np

from fansr.errors import DataError
from fansr.streams import open_reader

# arXiv 2510.26064, the five sizes at their largest compute: parameters, FLOPs, solved, R2 > 0.99, loss.
PUBLISHED = (
    ("xs", 6.48e6, 7.20e16, 0.149, 0.526, 0.424),
    ("s", 13.40e6, 2.88e17, 0.271, 0.667, 0.312),
    ("m", 24.01e6, 9.81e17, 0.378, 0.762, 0.240),
    ("l", 45.53e6, 3.53e18, 0.519, 0.835, 0.168),
    ("xl", 93.08e6, 1.47e19, 0.597, 0.883, 0.105),
)
SHARES = ("acc", "solved", "r2_", "valid", "vnrr", "fnrr", "srr", "exact", "success", "equivalent")


def published() -> list[dict]:
    """The published points as run records; 80 tokens a parameter, the largest ratio of that study."""
    names = ("size", "params", "flops", "solved", "r2_99", "loss")
    return [
        {**dict(zip(names, point)), "kind": "run", "stage": "ratios", "seed": 0, "ratio": 80.0, "tokens": 80.0 * point[1],
         "status": "finished", "file": "published"}
        for point in PUBLISHED
    ]  # fmt: skip


def read_points(
    inputs: list[str],
    x: str,
    y: str,
    by: str | None,
    cluster: tuple[str, ...],
    where: Callable[[dict], bool] | None = None,
) -> tuple[dict, Counter, list]:
    """({x, y, by, cluster, record: lists}, records left out by reason, history) of streams of runs, scores or metrics.

    An input called "published", where no file is called so, is the five published points.
    """
    rows: list[dict] = []
    left_out: Counter = Counter()
    history: list = []
    for name in inputs or ["-"]:
        if name == "published" and not os.path.exists(name):
            rows += [record for record in published() if where is None or where(record)]
            continue
        with open_reader(name, holds=("run", "score", "metric")) as reader:
            history = history or reader.history
            holds = reader.header["holds"]
            records = [{**record, "file": name} for record in reader if where is None or where(record)]
        if holds == "score":
            records = means(records, by or "method", y)
        elif holds == "metric":
            records = [record for record in records if record.get("split") == "val"]
        rows += records
    found: dict[str, list] = {"x": [], "y": [], "by": [], "cluster": [], "record": []}
    for record in rows:
        if record.get("status", "finished") not in ("finished", "ok"):
            left_out[f"status {record['status']}"] += 1
            continue
        values = [record.get(x), record.get(y)]
        if not all(isinstance(v, (int, float)) and math.isfinite(v) for v in values):
            left_out[f"without {x if not isinstance(values[0], (int, float)) else y}"] += 1
            continue
        found["x"].append(float(values[0]))
        found["y"].append(float(values[1]))
        found["by"].append("" if by is None else str(record.get(by)))
        found["cluster"].append(tuple(str(record.get(name)) for name in cluster))
        found["record"].append(record)
    if not found["x"]:
        fields = sorted({key for record in rows for key, value in record.items() if isinstance(value, (int, float))})
        known = f"; there are {', '.join(fields)}" if fields else ""
        raise DataError(f"no record has numbers in both {x} and {y}{known}")
    return found, left_out, history


def means(records: list[dict], by: str, y: str) -> list[dict]:
    """One record for each method and budget: the mean of y and of every other number of its score records."""
    groups: dict[tuple, list[dict]] = defaultdict(list)
    for record in records:
        groups[(record.get(by) or "fansr", record.get("budget"))].append(record)
    found = []
    for (name, budget), members in groups.items():
        keys = {key for record in members for key, value in record.items() if isinstance(value, (bool, int, float))}
        mean = {}
        for key in keys | {y}:
            values = [
                float(r[key]) for r in members if isinstance(r.get(key), (bool, int, float)) and math.isfinite(r[key])
            ]
            if values:
                mean[key] = float(np.mean(values))
        found.append({**mean, by: name, "budget": budget, "n": len(members)})
    return found


def wants_high(y: str) -> bool:
    """Whether more of it is better, by its name."""
    return y.startswith(SHARES)
