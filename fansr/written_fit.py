"""fansr-fit --constants keep: candidates taken as they are written, numbers too; nothing is fitted, shortened or rounded.

The scaling study's own way to choose (arXiv 2510.26064): of a network's draws the one with the largest R2.  Knows problems and
candidates; fit_stream.py calls it in the place of the search.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import numpy as np

from fansr.evaluation import result
from fansr.expressions import n_constants
from fansr.fitting import Candidate, Problem
from fansr.search import score, selection

ALIKE = 1e-9  # share by which two FVU may differ and be one function's
SELECTORS = ("fvu", "score")


def chosen(
    problem: Problem, candidates: Sequence[Candidate], select: str, gamma: float
) -> tuple[Candidate | None, dict]:
    """The best of candidates with written numbers, and what became of all draws.

    {draws: in all, valid: share that has values at every point, n_best: draws of a function as good as the best}.
    """
    from fansr.expressions import evaluate_many

    drawn = sum(c.n for c in candidates)
    ready = [c for c in candidates if not n_constants(c.expr)]
    values = evaluate_many([c.expr for c in ready], problem.X, [()] * len(ready)) if ready else np.zeros((0, 1))
    for candidate, y in zip(ready, values):
        candidate.fvu = result.fvu(problem.y, y) if np.isfinite(y).all() else math.inf
        candidate.consts = np.zeros(0)
    good = [c for c in ready if math.isfinite(c.fvu)]
    told = {"draws": drawn, "valid": sum(c.n for c in good) / drawn if drawn else 0.0, "n_best": 0}
    if not good:
        return None, told
    floor = selection.fvu_floor(problem.y)

    def rank(c: Candidate):
        first = max(c.fvu, floor) if select == "fvu" else score(max(c.fvu, floor), c.length, gamma)
        return first, c.length, c.expr

    best = min(good, key=rank)
    told["n_best"] = sum(c.n for c in good if max(c.fvu, floor) <= max(best.fvu, floor) * (1 + ALIKE))
    return best, told


def written_record(problem: Problem, candidates: Sequence[Candidate], select: str, gamma: float) -> dict:
    """The fit record of a problem whose candidates are kept as they are."""
    started = time.monotonic()
    best, told = chosen(problem, candidates, select, gamma)
    record = {
        "kind": "fit",
        "problem": problem.id,
        "points": len(problem.y),
        "target": problem.target,
        "names": problem.names,
        "budget": None,
        "low": problem.X.min(axis=0),
        "high": problem.X.max(axis=0),
        **problem.extra,
        **told,
        "candidates": len(candidates),
    }
    if best is None:
        failed = {"expr": [], "consts": np.zeros(0), "fvu": math.inf, "fvu_val": math.inf, "length": 0, "source": ""}
        return {**record, **failed, "logp": None, "status": "failed", "seconds": time.monotonic() - started}
    return {
        **record,
        "expr": best.expr,
        "consts": np.zeros(0),
        "fvu": float(best.fvu),
        "fvu_val": result.fvu_held_out(best, problem) if problem.y_val is not None else None,
        "length": best.length,
        "status": "ok",
        "source": best.source,
        "logp": best.logp,
        "seconds": time.monotonic() - started,
        "front": [],
    }
