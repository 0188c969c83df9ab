"""What a sweep consists of: a file of sizes, ratios and seeds to run records, cheapest first.

    sizes = ["nano", "micro"]        # files of configs/scale, or paths
    ratios = [5, 10, 20, 40, 80]     # tokens predicted for each parameter
    seeds = [0, 1]
    most = {small = 10}              # the largest ratio of a size; by default all
    once = ["small"]                 # sizes with the first seed alone
    alike = "nano"                   # every size trains until it cost as many operations as this one at the ratio
    branch = true                    # one plateau with a decay for each ratio, in the place of a run for each
    samples = 128                    # draws for each problem that is judged
    [corpus]                         # fansr-forms' options
    depth = 2
    hold = 0.05
    [problems]                       # how many are judged, of forms trained on and of those held out
    seen = 200
    held = 100
    [grid]                           # first: batch sizes and rates of these sizes at one ratio; the best serve these and the sizes nearest to them
    at = 20
    sizes = ["nano"]
    batch = [32, 64]
    lr = [2e-3, 4e-3, 8e-3]
    batch_of = {nano = [32]}         # other batch sizes for a size
    lr_of = {nano = [4e-3, 8e-3]}    # other rates for a size

Knows sizes and sums; it starts nothing.  An id is a hash of all that makes a run what it is, so that none is made twice.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np

from fansr.cli import read_toml
from fansr.errors import DataError
from fansr.expressions import VOCABULARY, notations
from fansr.network import ModelConfig, count

TOKENS_A_LAW = {
    "prefix": 8.1,
    "latex": 11.4,
    "skeleton": 7.8,
}  # measured on forms to depth 2; for what is predicted and for `alike`
KEYS = {
    "sizes": list, "ratios": list, "seeds": list, "branch": bool, "samples": int, "corpus": dict, "problems": dict,
    "grid": dict, "most": dict, "once": list, "alike": str,
}  # fmt: skip
CORPUS = {"depth": 2, "number": 100_000, "hold": 0.05, "file": ""}
PROBLEMS = {"seen": 200, "held": 100}
GRID = {"at": 20.0, "sizes": [], "batch": [], "lr": [], "batch_of": {}, "lr_of": {}}


def read(path: str) -> dict[str, Any]:
    """A sweep's file with its defaults; DataError says what is wrong in it."""
    told = read_toml(path)
    for key, value in told.items():
        if key not in KEYS:
            raise DataError(f"{path}: unknown key {key}; known are {', '.join(KEYS)}")
        if not isinstance(value, KEYS[key]) or (KEYS[key] is int and isinstance(value, bool)):
            raise DataError(f"{path}: {key} is {str(value)[:40]}, wanted a {KEYS[key].__name__}")
    for key, defaults in (("corpus", CORPUS), ("problems", PROBLEMS), ("grid", GRID)):
        unknown = set(told.get(key, {})) - set(defaults)
        if unknown:
            raise DataError(f"{path}: [{key}]: unknown key {sorted(unknown)[0]}; known are {', '.join(defaults)}")
        if key in told or key != "grid":
            told[key] = {**defaults, **told.get(key, {})}
    sweep = {
        "seeds": [0],
        "branch": False,
        "samples": 128,
        "ratios": [20],
        "grid": None,
        "most": {},
        "once": [],
        "alike": "",
        **told,
    }
    if not sweep.get("sizes"):
        raise DataError(f"{path}: sizes is missing; wanted a list such as ['nano', 'micro']")
    odd = (
        ({*sweep["most"], *sweep["once"]} - {*sweep["sizes"]})
        if all(isinstance(n, str) for n in sweep["once"])
        else {"once"}
    )
    if odd:
        raise DataError(f"{path}: most and once name {sorted(odd)[0]}, which is none of the sizes")
    ratios = [*sweep["ratios"], *sweep["most"].values(), *([sweep["grid"]["at"]] if sweep["grid"] else [])]
    for ratio in ratios:
        if isinstance(ratio, bool) or not isinstance(ratio, (int, float)) or not 0 < ratio <= 1e6:
            raise DataError(f"{path}: ratio {str(ratio)[:40]}: wanted a positive number of tokens a parameter")
    return sweep


def size_of(name: str) -> dict[str, Any]:
    """{params, n_enc, n_dec, batch, lr} of a size's config file."""
    told = read_toml(name)
    model = told.get("model", {})
    if "encoder" not in model:
        raise DataError(
            f"{name}: [model] does not say encoder; wanted the config of a size, as configs/scale/nano.toml is"
        )
    notation = told.get("notation", "prefix") if told.get("constants") == "literal" else "skeleton"
    words = len(VOCABULARY) if notation == "skeleton" else len(notations.NOTATIONS[notation].vocabulary)
    try:
        sizes = count(ModelConfig(**{"vocabulary": words, **model}))
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: [model]: {error}") from None
    total, encoder = sizes["params_total"], sizes["params_encoder"]
    columns = model.get("columns", 17)
    inputs = told.get("max_points", 1024) * (columns + 1 if model["encoder"] == "table" else 1)
    return {
        "params": total, "n_enc": encoder, "n_dec": total - encoder, "batch": told.get("batch", 128),
        "lr": told.get("lr", 1e-4), "inputs": inputs, "tokens_a_law": TOKENS_A_LAW[notation],
    }  # fmt: skip


def cost(size: dict[str, Any], ratio: float = 1.0) -> float:
    """Operations until so many tokens were predicted for each parameter."""
    tokens = ratio * size["params"]
    return 6.0 * (size["n_enc"] * size["inputs"] * tokens / size["tokens_a_law"] + size["n_dec"] * tokens)


def plan(sweep: dict[str, Any]) -> list[dict[str, Any]]:
    """Run records of a sweep: those of the grid first, then the others, each cheapest first."""
    gridded = (sweep["grid"] or {}).get("sizes") or []
    sizes = {
        name: size_of(name)
        for name in dict.fromkeys([*sweep["sizes"], *gridded, *([sweep["alike"]] if sweep["alike"] else [])])
    }
    scale = {name: cost(sizes[sweep["alike"]]) / cost(size) if sweep["alike"] else 1.0 for name, size in sizes.items()}
    runs = []
    if sweep["grid"]:
        for name in sweep["grid"]["sizes"] or sweep["sizes"]:
            for batch in sweep["grid"]["batch_of"].get(name) or sweep["grid"]["batch"] or [sizes[name]["batch"]]:
                for lr in sweep["grid"]["lr_of"].get(name) or sweep["grid"]["lr"] or [sizes[name]["lr"]]:
                    runs.append(
                        record(
                            "grid", name, sizes[name], [sweep["grid"]["at"] * scale[name]], 0, sweep, batch=batch, lr=lr
                        )
                    )
    for name in sweep["sizes"]:
        some = [ratio * scale[name] for ratio in sweep["ratios"] if ratio <= sweep["most"].get(name, ratio)]
        for seed in sweep["seeds"][: 1 if name in sweep["once"] else None]:
            for ratios in [some] * bool(some) if sweep["branch"] else [[ratio] for ratio in some]:
                runs.append(record("ratios", name, sizes[name], ratios, seed, sweep))
    return sorted(runs, key=lambda run: (run["stage"] != "grid", run["flops"]))


def record(stage: str, name: str, size: dict, ratios: list, seed: int, sweep: dict, **chosen: Any) -> dict[str, Any]:
    """One run to make, of one ratio or, on a plateau, of several."""
    ratios = sorted(float(f"{ratio:.4g}") for ratio in ratios)
    branch = bool(sweep["branch"] and stage != "grid")
    # A plateau goes four fifths of the way once and each branch a fifth of its own.
    passed = 0.8 * ratios[-1] + 0.2 * sum(ratios) if branch else ratios[-1]
    tokens = passed * size["params"]
    run = {
        "kind": "run", "stage": stage, "size": name, **{key: size[key] for key in ("params", "n_enc", "n_dec", "batch", "lr")},
        **chosen, "ratios": ratios, "branch": branch, "seed": seed, "samples_drawn": sweep["samples"], "tokens": tokens,
        "samples": tokens / size["tokens_a_law"], "flops": cost(size, passed),
        "corpus": sweep["corpus"], "problems": sweep["problems"], "status": "planned",
    }  # fmt: skip
    return {**run, "id": identity(run)}


def identity(run: dict[str, Any]) -> str:
    """A hash of what makes a run: its config's content, rate, batch, ratios, seed, corpus, and how it is judged."""
    named = ("size", "batch", "lr", "ratios", "branch", "seed", "corpus", "problems", "samples_drawn")
    told = {**{key: run[key] for key in named}, "config": read_toml(run["size"])}
    return hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=6).hexdigest()


def best_of_grid(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """{size: {batch, lr, loss, params}} from finished runs of the grid.

    For each batch size the rate at the least of a parabola in log rate through its three lowest losses, where that is one and
    lies between the rates tried; the lowest loss seen otherwise.  Then the batch size whose loss is least.
    """
    best: dict[str, dict[str, float]] = {}
    for name in dict.fromkeys(run["size"] for run in runs):
        for batch in dict.fromkeys(run["batch"] for run in runs if run["size"] == name):
            mine = sorted((run["loss"], run["lr"]) for run in runs if run["size"] == name and run["batch"] == batch)
            loss, lr = mine[0]
            if len(mine) >= 3:
                g, u = np.array([m[0] for m in mine[:3]]), np.log([m[1] for m in mine[:3]])
                a, b, c = np.polyfit(u, g, 2)
                top = -b / (2 * a) if a > 0 else np.nan
                if u.min() < top < u.max():
                    loss, lr = float(c - b * b / (4 * a)), float(np.exp(top))
            if name not in best or loss < best[name]["loss"]:
                params = next(run["params"] for run in runs if run["size"] == name)
                best[name] = {"batch": batch, "lr": float(f"{lr:.3g}"), "loss": loss, "params": params}
    return best
