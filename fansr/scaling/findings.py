"""What the points say: the laws of each series with bands and forecasts, the frontier, the best ratio, the law over N and D.

Points come from points.py; law_text.py and the pictures tell what is found here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fansr.errors import DataError
from fansr.scaling import bands, curves, joint_laws

GRID = 200  # places of a band
FREE = ("power", "sums", "curves", "rational", "scan", "peel", "evolve")  # those that know curves of one column


def laws_of(points: dict, forms: tuple[str, ...], wanted: dict[str, Any]) -> tuple[list[dict], dict[str, str]]:
    """law records of one series, best AICc first, each with its band and what it says far out; and forms refused, why."""
    x, y = np.array(points["x"]), np.array(points["y"])
    fitted, refused = curves.fit_all(tuple(form for form in forms if form in curves.FORMS), x, y)
    tied = {curve.form for curve in curves.not_told_apart(fitted)}
    top = max(wanted["upto"] or x.max(), x.max())
    grid = np.geomspace(x.min(), top, GRID)
    records = []
    for curve in fitted:
        clusters = bands.resampled_together(points["cluster"])
        low, high, limits = bands.band(curve, x, y, clusters, grid, wanted["bootstrap"], wanted["seed"])

        def again(x, y, form=curve.form):
            return curves.fit(form, x, y)

        without = bands.without_each(points["by"], x, y, again)
        records.append(
            {
                "kind": "law",
                "x": wanted["x"],
                "y": wanted["y"],
                "by": points.get("name", ""),
                "form": curve.form,
                "text": curve.text(),
                "parameters": curve.parameters,
                "errors": curve.errors,
                "intervals": {name: list(pair) for name, pair in limits.items()},
                "aicc": curve.aicc,
                "tied": curve.form in tied,
                "n": curve.n,
                "clusters": len(set(points["cluster"])),
                "range": [curve.low, curve.high],
                "predictions": predictions(curve, curve.where, x, wanted),
                "without": {name: law.parameters for name, law in without.items()},
                "grid": grid,
                "value": curve(grid),
                "low": low,
                "high": high,
            }
        )
    return records, refused


def predictions(value, where, x: np.ndarray, wanted: dict[str, Any]) -> dict:
    """What a law says at --upto, and where it reaches --predict; decades: how far beyond the data."""
    told: dict[str, Any] = {}
    if wanted["upto"]:
        told["upto"] = {
            "x": wanted["upto"],
            "y": float(value(np.array([wanted["upto"]]))[0]),
            "decades": beyond(wanted["upto"], x),
        }
    if wanted["predict"] is not None:
        place = where(wanted["predict"])
        told["predict"] = {"y": wanted["predict"], "x": place, "decades": None if place is None else beyond(place, x)}
    return told


def beyond(place: float, x: np.ndarray) -> float:
    """Decades between a place and the nearest data; 0 among them."""
    return float(max(0.0, math.log10(place / x.max()), math.log10(x.min() / place)))


def free_laws(points: dict, wanted: dict[str, Any]) -> list[dict]:
    """The front that fansr-fit's own search finds for y over x / x0, each law of it with its extrapolation."""
    from fansr.expressions import evaluate, to_infix
    from fansr.fitting import Budget, Problem
    from fansr.search import turns

    x, y = np.array(points["x"]), np.array(points["y"])
    unit = 10.0 ** round(float(np.log10(x).mean()))
    name = f"({wanted['x']}/{unit:.0e})"
    found = turns.search(
        Problem((x / unit)[:, None], y, [name], target=wanted["y"]),
        turns.Options(gamma=wanted["gamma"], seed=wanted["seed"], proposers=FREE, quiet=True),
        Budget(wanted["time"]),
    )
    laws = []
    for candidate in found.front:

        def value(at, c=candidate):
            with np.errstate(all="ignore"):
                return np.broadcast_to(evaluate(c.expr, np.asarray(at)[:, None] / unit, c.consts), np.shape(at))

        told = predictions(value, lambda target, v=value: crossing(v, target, x), x, wanted)
        laws.append(
            {
                "kind": "law",
                "x": wanted["x"],
                "y": wanted["y"],
                "by": points.get("name", ""),
                "form": "free",
                "text": f"{wanted['y']} = {to_infix(candidate.expr, candidate.consts, [name], digits=5)}",
                "parameters": {},
                "errors": {},
                "fvu": float(candidate.fvu),
                "length": candidate.length,
                "chosen": found.best is not None and candidate.expr == found.best.expr,
                "aicc": None,
                "tied": True,
                "n": len(x),
                "clusters": len(set(points["cluster"])),
                "range": [float(x.min()), float(x.max())],
                "predictions": told,
            }
        )
    return laws


def crossing(value, target: float, x: np.ndarray) -> float | None:
    """The first place beyond the least x at which a function reaches a value, within 30 decades above the data."""
    grid = np.geomspace(x.min(), x.max() * 1e30, 6000)
    with np.errstate(all="ignore"):
        side = np.sign(value(grid) - target)
    turns = np.flatnonzero((side[1:] != side[:-1]) & np.isfinite(side[1:]) & np.isfinite(side[:-1]))
    return float(math.sqrt(grid[turns[0]] * grid[turns[0] + 1])) if len(turns) else None


def studied(points: dict, forms: tuple[str, ...], wanted: dict[str, Any]) -> dict:
    """Everything fansr-law says of some points: {laws, refused, frontier, isoflop, valley, chinchilla}."""
    x, y = np.array(points["x"]), np.array(points["y"])
    result: dict[str, Any] = {
        "laws": [],
        "refused": {},
        "frontier": None,
        "isoflop": [],
        "valley": None,
        "chinchilla": None,
    }
    series = [{**points, "name": ""}]
    if wanted["frontier"]:
        kept = joint_laws.frontier(x, y, wanted["high"])
        result["frontier"] = kept.tolist()
        series = [{**{key: [points[key][i] for i in kept] for key in ("x", "y", "by", "cluster")}, "name": "frontier"}]
    elif wanted["by"] and not wanted["pooled"]:
        series = []
        for name in sorted(set(points["by"])):
            mine = [i for i, by in enumerate(points["by"]) if by == name]
            series.append(
                {**{key: [points[key][i] for i in mine] for key in ("x", "y", "by", "cluster")}, "name": name}
            )
    for one in series:
        records, refused = laws_of(one, forms, wanted)
        if wanted["free"]:
            records += free_laws(one, wanted)
        result["laws"] += records
        result["refused"].update({f"{one['name']} {form}".strip(): why for form, why in refused.items()})
    records = points["record"]
    if wanted["isoflop"] or "chinchilla" in forms:
        if not all(
            isinstance(r.get(k), (int, float)) and r[k] > 0 for r in records for k in ("params", "tokens", "flops")
        ):
            raise DataError(
                "--isoflop and the chinchilla form need params, tokens and flops in every record: give runs"
            )
        N, D, C = (np.array([float(r[k]) for r in records]) for k in ("params", "tokens", "flops"))
        if wanted["isoflop"]:
            sizes = [r.get("size", r["params"]) for r in records]
            result["isoflop"] = joint_laws.isoflop(C, D / N, y, sizes)
            result["valley"] = joint_laws.valley(
                C, D / N, y, bands.resampled_together(points["cluster"]), wanted["bootstrap"], wanted["seed"]
            )
        if "chinchilla" in forms:
            found = joint_laws.chinchilla(N, D, y, seed=wanted["seed"])
            found["intervals"] = joint_laws.chinchilla_bands(
                N, D, y, found, bands.resampled_together(points["cluster"]), seed=wanted["seed"]
            )
            result["chinchilla"] = found
    return result
