"""fansr-law's answer for people, and as plain values for JSON."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

FEWEST = 5  # clusters that are resampled whole (bands.py)
_HEAD = "    form      AICc       law"


def told(result: dict, left_out: Counter, wanted: dict[str, Any]) -> str:
    """The study for people."""
    lines = []
    if left_out:
        lines.append("left out: " + ", ".join(f"{n} {why}" for why, n in sorted(left_out.items())))
    name = None
    for law in result["laws"]:
        if law["by"] != name:
            name = law["by"]
            low, high = law["range"]
            few = "" if law["clusters"] >= FEWEST else f", {law['clusters']} clusters: runs are resampled singly"
            lines += ["", f"{name or 'all'}: {law['n']} points, {law['x']} {low:.3g} to {high:.3g}{few}", _HEAD]
        lines.append(_row(law))
    lines += [f"  no {form}: {why}" for form, why in result["refused"].items()]
    if any(law["tied"] for law in result["laws"]):
        lines += [
            "",
            "* forms that these points do not tell apart (AICc within 2); far out their answers are all as likely",
        ]
    if result["valley"]:
        v = result["valley"]
        lines += [
            "",
            f"best ratio {v.ratio:.3g} tokens a parameter [{v.interval[0]:.3g}, {v.interval[1]:.3g}] at {v.middle:.2g} {wanted['x']};"
            f" log10 of it changes by {v.slope:+.3g} [{v.slope_interval[0]:+.3g}, {v.slope_interval[1]:+.3g}] a decade,",
            f"so that parameters grow as compute^{v.size_exponent:.3f} and tokens as compute^{v.data_exponent:.3f}",
        ]
    elif wanted["isoflop"]:
        lines += ["", "no best ratio: over these runs the loss has no valley in the ratio"]
    for level in result["isoflop"]:
        pairs = ", ".join(f"{r:.3g}: {y:.4g}" for r, y in zip(level["ratio"], level["loss"]))
        best = "none" if level["best"] is None else f"{level['best']:.3g}"
        lines.append(f"  at {level['flops']:.2e}: best {best}   ({pairs})")
    if result["chinchilla"]:
        c, limits = result["chinchilla"], result["chinchilla"]["intervals"]
        span = {k: f" [{v[0]:.3g}, {v[1]:.3g}]" for k, v in limits.items()}
        parts = ", ".join(f"{k} {c[k]:.4g}{span.get(k, '')}" for k in ("E", "A", "a", "B", "b"))
        lines += ["", f"{wanted['y']} = E + A N^-a + B D^-b: {parts}"]
    return "\n".join(lines).strip("\n")


def _row(law: dict) -> str:
    aicc = f"{law['aicc']:.2f}" if law["aicc"] is not None and math.isfinite(law["aicc"]) else "-"
    mark = "*" if law["tied"] else " "
    exponent = next((name for name in ("a", "s") if name in law["parameters"]), None)
    text = law["text"]
    if exponent:
        low, high = law["intervals"][exponent]
        text += f"   {exponent} {law['parameters'][exponent]:.4g} [{low:.4g}, {high:.4g}]"
    if law["form"] == "free":
        text += f"   FVU {law['fvu']:.3g}, length {law['length']}{', chosen' if law['chosen'] else ''}"
    told = law["predictions"]
    if "upto" in told:
        text += f"   {told['upto']['y']:.4g} at {told['upto']['x']:.3g}{_far(told['upto']['decades'])}"
    if "predict" in told:
        place, decades = told["predict"]["x"], told["predict"]["decades"]
        text += f"   {told['predict']['y']:g} " + ("never" if place is None else f"at {place:.3g}{_far(decades)}")
    return f"  {mark} {law['form']:9} {aicc:>8}   {text}"


def _far(decades: float) -> str:
    return f" ({decades:.1f} decades beyond the data)" if decades > 0 else ""


def plain(value):
    """Values as JSON has them."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "__dataclass_fields__"):
        return plain({name: getattr(value, name) for name in value.__dataclass_fields__})
    return value
