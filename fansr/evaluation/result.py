"""What a search found, as numbers: the dictionary of ``fansr-fit --json`` and of SymbolicRegressor.result_, and fit records.

Knows nothing of how a search is called or of what a person reads (printed_report.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from fansr.evaluation.metrics import fvu
from fansr.expressions import to_infix
from fansr.fitting import Candidate, Problem
from fansr.search import group_told, loss_verdict, rounding, selection, turns, unit_rules, verdict
from fansr.tables import loading
from fansr.version import __version__

RESULT_FORMAT = 3  # of the dictionary below (result.schema.json); 1 had neither verdict nor remarks, 2 no table


def predict(candidate: Candidate, X: np.ndarray) -> np.ndarray:
    """Values (M,) of a fitted candidate on rows X (M, D)."""
    from fansr.expressions import evaluate

    with np.errstate(all="ignore"):
        return evaluate(candidate.expr, np.ascontiguousarray(X, dtype=np.float64), candidate.consts)


def judged(found: turns.Found, problem: Problem, options: turns.Options) -> verdict.Judged:
    """How good the law is, and what its user should look at."""
    if found.loss is not None:
        judgement = loss_verdict.judge(found.loss, problem, found.best, found.errors, found.unheard, options.seed)
        return _with_remarks(judgement, found, problem)
    kept = np.ones(len(problem.y), bool)
    kept[found.outliers] = False
    relative = found.weights is not None
    told = replace(problem, weights=found.weights) if relative else problem
    judgement = verdict.judge(told, found.best, found.errors, found.floor, kept, found.unheard, options.seed, relative)
    if found.status == "no law":
        text = (
            f"no step of the front gains {selection.DROP_NATS:g} nats of FVU a token, as --select drop wants of a law"
        )
        judgement = judgement._replace(verdict="no law", text=text)
    return _with_remarks(judgement, found, problem)


def _with_remarks(judgement: verdict.Judged, found: turns.Found, problem: Problem) -> verdict.Judged:
    """With what is to be said of groups, units and cells."""
    of_groups = group_told.remark(found.best.expr, found.best.consts, problem)
    judgement.remarks[:0] = [of_groups] if of_groups else []
    judgement.remarks.extend([*unit_rules.remarks(found.best, problem), *loading.remarks(problem)])
    return judgement


def result_dict(
    found: turns.Found,
    problem: Problem,
    options: turns.Options,
    warnings: Iterable[str] = (),
    dropped_rows: int = 0,
    predicted: np.ndarray | None = None,
    loading: float = 0.0,
    judgement: verdict.Judged | None = None,
) -> dict:
    """The dictionary of --json and of SymbolicRegressor.result_: every number in full precision, every key always there.

    predicted: values of --predict; loading: seconds before the search began.
    """
    from fansr.expressions import export

    best = found.best
    names = export.identifiers(problem.names)
    judgement = judgement or judged(found, problem, options)
    return {
        "format": RESULT_FORMAT,
        "expression": to_infix(best.expr, best.consts, problem.names),
        "numpy": export.numpy_source(best.expr, best.consts, names),
        "latex": export.latex(best.expr, best.consts, problem.names),
        "sympy": export.sympy_source(best.expr, best.consts, names),
        "prefix": list(best.expr),
        "constants": [float(c) for c in best.consts],
        "standard_errors": [float(e) if e < math.inf else None for e in found.errors],
        "variables": list(names),
        "table": problem.extra.get("source"),
        "target": problem.target,
        "fvu": float(best.fvu),
        "r2": 1.0 - float(best.fvu),
        "length": best.length,
        "loss": None if found.loss is None else found.loss.told(best),
        "score": selection.score(best.fvu, best.length, options.gamma, found.floor),
        "source": best.source,
        "logp": best.logp,
        "draw": None if best.draw is None else list(best.draw),
        "verdict": judgement.verdict,
        "verdict_text": judgement.text,
        "remarks": judgement.remarks,
        "seconds": round(found.seconds, 3),
        "loading_seconds": round(loading + found.loading, 3),
        "candidates": found.candidates,
        "front": [
            {
                "length": c.length,
                "fvu": float(c.fvu),
                "expression": to_infix(c.expr, c.consts, problem.names),
                "numpy": export.numpy_source(c.expr, c.consts, names),
                "source": c.source,
            }
            for c in found.front
        ],
        "conversions": problem.extra.get("conversions", {}),
        "dropped_rows": dropped_rows,
        "warnings": list(warnings),
        "units": unit_rules.told(best, problem),
        "groups": group_told.told(best.expr, best.consts, found.errors, problem),
        "recognised": [rounding.recognised(float(c)) if options.physics else "" for c in best.consts],
        **robust_part(found, problem),
        "predictions": None if predicted is None else [_finite(float(v)) for v in predicted],
        "status": found.status,
        "seed": options.seed,
        "version": __version__,
    }


def failure_dict(table: str, error: str, exit_status: int) -> dict:
    """What --json prints in the place of a table that has no answer, where several were given.

    error: what its one line on stderr says; exit_status: 1 for wrong data, 3 for no law.
    """
    return {
        "format": RESULT_FORMAT,
        "table": table,
        "status": "failed",
        "error": error,
        "exit_status": exit_status,
        "version": __version__,
    }


def robust_part(found: turns.Found, problem: Problem) -> dict:
    """Rows set aside by --robust (0-based rows of the table) and the FVU on all rows; chi^2 per degree of freedom of --sigma;
    the FVU on held-out rows; None where not asked for."""
    from fansr.proposers import fvu_of

    everywhere = None
    held_out = None
    if problem.y_val is not None:
        held_out = _finite(
            fvu_held_out(found.best, problem) if found.loss is None else found.loss.held_out(found.best, problem)
        )
    if len(found.outliers):
        everywhere = fvu_of(problem.y, predict(found.best, problem.X), problem.weights)
    return {
        "outliers": [int(row) for row in outlier_rows(found, problem)],
        "fvu_all_rows": everywhere if everywhere is not None and everywhere < math.inf else None,
        "chi2_per_dof": chi2_per_dof(found, problem) if problem.known else None,
        "fvu_val": held_out,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def outlier_rows(found: turns.Found, problem: Problem) -> np.ndarray:
    """Rows set aside, counted from 0 in the table that was read (rows that were dropped count too)."""
    rows = problem.extra.get("rows")
    return found.outliers if rows is None else np.asarray(rows)[found.outliers]


def chi2_per_dof(found: turns.Found, problem: Problem) -> float | None:
    """Sum of squared residuals in units of the stated errors over rows less constants; about 1 where law and errors are right."""
    kept = np.ones(len(problem.y), bool)
    kept[found.outliers] = False
    with np.errstate(all="ignore"):
        residual = (problem.y - predict(found.best, problem.X))[kept] * np.sqrt(problem.weights[kept])
        chi2 = float(residual @ residual) / max(1, kept.sum() - int((found.errors > 0).sum()))
    return chi2 if math.isfinite(chi2) else None


def fvu_held_out(candidate: Candidate, problem: Problem) -> float:
    """FVU on the rows that were held out, with their weights if they have any."""
    from fansr.proposers import fvu_of

    values = predict(candidate, problem.X_val)
    if problem.weights_val is not None and problem.weights_val.any():
        return fvu_of(problem.y_val, values, problem.weights_val)
    return fvu(problem.y_val, values)


def drawn(best: Candidate) -> dict:
    """The draw that a law came from, as it was before it was cut down, for its fit record; nothing for a law of other origin."""
    return {} if best.draw is None else {"draw": list(best.draw)}


def table_record(found: turns.Found, problem: Problem, source: str, judgement: verdict.Judged) -> dict:
    """The fit record of a table, with its data, so that it can be drawn and scored later."""
    best = found.best
    record = {
        "kind": "fit",
        "problem": problem.id,
        "expr": best.expr,
        "consts": np.asarray(best.consts),
        "fvu": float(best.fvu),
        "length": best.length,
        "status": found.status,
        "source": best.source,
        "logp": best.logp,
        **drawn(best),
        "seconds": found.seconds,
        "points": len(problem.y),
        "names": problem.names,
        "target": problem.target,
        "X": problem.X,
        "y": problem.y,
        "front": [
            {"expr": c.expr, "consts": np.asarray(c.consts), "fvu": float(c.fvu), "length": c.length}
            for c in found.front
        ],
    }
    if len(found.outliers):
        record["outliers"] = found.outliers
    if found.loss is not None:
        record["loss"] = str(found.loss.loss)
        if problem.ends is not None:
            record["ends"] = problem.ends
    if problem.weights is not None:
        record.update(weights=problem.weights, known=problem.known)
    if problem.y_val is not None:
        record.update(X_val=problem.X_val, y_val=problem.y_val, fvu_val=fvu_held_out(best, problem))
    return {**record, "source_table": source, "verdict": judgement.verdict, "remarks": judgement.remarks}
