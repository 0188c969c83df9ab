"""What a person reads of one table's search: the law, how good it is, its constants, the front.

Makes text and prints nothing.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from fansr.evaluation.result import chi2_per_dof, fvu_held_out, outlier_rows
from fansr.expressions import part_of_logarithm, part_of_pi, to_infix
from fansr.fitting import Candidate, Problem
from fansr.search import loss_search, outliers, rounding, turns, unit_rules, verdict


def report(
    found: turns.Found, problem: Problem, options: turns.Options, judgement: verdict.Judged, loading: float = 0.0
) -> str:
    """What a person reads."""
    best = found.best
    kept = np.ones(len(problem.y), bool)
    kept[found.outliers] = False
    weighed = problem if found.weights is None else replace(problem, weights=found.weights)
    law = rounded(best, found.errors, outliers.rows_of(weighed, kept), found.floor, found.loss)
    lines = [f"{problem.target} = {law}", "", f"  {judgement.verdict}: {judgement.text}"]
    lines += [
        f"  {'' if remark['code'] in ('reading', 'groups') else '! '}{remark['text']}" for remark in judgement.remarks
    ]
    lines.append("")
    r2 = 1 - best.fvu
    lines.append(
        f"  FVU {best.fvu:.3g}   R2 {r2:.6f}   length {best.length}   {len(problem.y)} rows   "
        f"by {best.source}, {found.candidates} candidates, {found.seconds:.2f} s after {loading + found.loading:.1f} s loading"
    )
    if problem.y_val is not None:
        held_out = fvu_held_out(best, problem) if found.loss is None else found.loss.held_out(best, problem)
        lines.append(f"  FVU on held-out rows {held_out:.3g}")
    if len(found.outliers):
        rows = [str(row + 1) for row in outlier_rows(found, problem)]
        shown = ", ".join(rows[:20]) + (f" and {len(rows) - 20} more" if len(rows) > 20 else "")
        said = "1 row was set aside as an outlier" if len(rows) == 1 else f"{len(rows)} rows were set aside as outliers"
        lines.append(f"  {said} (row {shown}){'' if options.robust else '; --loss squares counts all rows'}")
    if problem.known and chi2_per_dof(found, problem) is not None:
        lines.append(f"  chi2 {chi2_per_dof(found, problem):.3g} per degree of freedom")
    free = [(k, c, e) for k, (c, e) in enumerate(zip(best.consts, found.errors))]
    if free:
        lines += ["", "  constant  value +- standard error"]
        units = unit_rules.told(best, problem)
        for k, c, e in free:
            shown = "+- undetermined" if not e < math.inf else f"+- {e:.2g}" if e > 0 else "exact"
            digits = rounding.digits_for([c], [e])[0]
            name = rounding.recognised(float(c)) if options.physics else ""
            unit = (units["constants"][k] if units else "") or ""
            text = part_of_pi(float(c)) or part_of_logarithm(float(c)) or f"{c:.{digits}g}"
            after = f"{' ' + unit if unit else ''}{'   taken for ' + name if name else ''}"
            lines.append(f"  c{k + 1:<8d} {text} {shown}{after}")
    lines += ["", "  length  FVU        law"]
    for c in found.front:
        mark = "*" if c.expr == best.expr and c.fvu == best.fvu else " "
        lines.append(
            f" {mark}{c.length:6d}  {c.fvu:<9.3g}  {to_infix(c.expr, c.consts, problem.names, digits=6, pi=True)}"
        )
    return "\n".join(lines)


def rounded(
    candidate: Candidate,
    errors: np.ndarray,
    problem: Problem,
    floor: float,
    loss: loss_search.Outcome | None = None,
) -> str:
    """The law with as many digits as the data support."""
    consts = rounded_constants(candidate, errors, problem, floor, loss)
    return to_infix(candidate.expr, consts, problem.names, pi=True)


def rounded_constants(
    candidate: Candidate,
    errors: np.ndarray,
    problem: Problem,
    floor: float,
    loss: loss_search.Outcome | None = None,
) -> list[float]:
    """Constants (C,) with as many digits as the data support: rounding may cost at most 1 % of the FVU, or of another loss."""
    from fansr.expressions import evaluate
    from fansr.proposers import fvu_of

    digits = rounding.digits_for(candidate.consts, errors)
    for more in range(0, 16):
        consts = [float(f"{c:.{min(17, d + more)}g}") for c, d in zip(candidate.consts, digits)]
        if loss is not None:
            value = loss.share(replace(candidate, consts=np.array(consts)))
        else:
            with np.errstate(all="ignore"):
                value = fvu_of(problem.y, evaluate(candidate.expr, problem.X, np.array(consts)), problem.weights)
        if value <= max(candidate.fvu * 1.01, floor):
            return consts
    return [float(c) for c in candidate.consts]
