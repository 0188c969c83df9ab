"""What the user of a law should look at, besides how good it is: remarks (code, text), each one line that says what to do."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from fansr.expressions import bind, from_tree, to_tree, variable_index, variables
from fansr.fitting import Candidate, Problem
from fansr.search import spelling
from fansr.streams import rng_for

LOOKED_AT = 2000  # rows that are looked at, points of the box that are tried
MIN_UNEVEN, UNEVEN_RANGE, UNEVEN_LIMIT = (
    15,
    10.0,
    4.0,
)  # rows, largest over smallest |y|, standard deviations of the rank correlation
FEW_SPARE = 2  # rows more than constants, at which a fit says little
FAR = 0.5  # spans beyond the data at which a prediction is far outside
ERROR_NAMES = re.compile(
    r"(^|[_\W])(errs?|errors?|sigma|sigmas|std|stdev|stddev|stderr|sem|uncertainty|uncertainties|uncert|unc)($|[_\W\d])|\+/?-|±",
    re.IGNORECASE,
)


def of(
    best: Candidate, errors: np.ndarray, problem: Problem, unheard: Sequence[str], seed: int
) -> Iterator[tuple[str, str]]:
    """Remarks (code, text) that hold whatever was made small."""
    X, names = problem.X, problem.names
    yield from _undetermined(best, errors)
    yield from _few_rows(len(X), int((np.asarray(errors) > 0).sum()))
    yield from _fast_waves(best, X, names)
    yield from _holes(best, X, names, variables(best.expr), seed)
    yield from _error_columns(names)
    yield from _unheard(unheard)


def uneven(y: np.ndarray, residual: np.ndarray) -> Iterator[tuple[str, str]]:
    """Residuals that grow with the law's values (Spearman 1904): large values rule such a fit, and small ones are not heard.

    Not with the target's: where the law is near 0 the target is the noise, and small with it.
    """
    every = max(1, len(y) // LOOKED_AT)
    y, residual = y[::every], residual[::every]
    size = np.abs(y - residual)
    if len(y) < MIN_UNEVEN or not size.min() > 0 or size.max() < UNEVEN_RANGE * size.min():
        return
    ranks = [np.argsort(np.argsort(v, kind="stable")).astype(float) for v in (np.abs(residual), size)]
    rho = float(np.corrcoef(ranks[0], ranks[1])[0, 1])
    if rho * math.sqrt(len(y) - 1) > UNEVEN_LIMIT:
        yield (
            "uneven noise",
            (
                "the residuals grow with the target, so its large values rule the fit: if the errors are in proportion to the "
                "values, give a column of them with --sigma (or of 1/value^2 with --weights)"
            ),
        )


def in_proportion(word: str) -> Iterator[tuple[str, str]]:
    """That rows weigh 1 / y^2 because the residuals said so (relative_noise.py)."""
    what = "what the first laws left grew" if word == "rough" else "the errors grow"
    yield (
        "relative noise",
        (
            f"{what} in proportion to the target, so every row counts by its relative error (weights 1/value^2), in FVU and "
            "R2 too; --loss squares counts all errors alike"
        ),
    )


def _undetermined(best: Candidate, errors):
    bad = [k for k, (c, e) in enumerate(zip(best.consts, errors)) if e > abs(c)]
    if bad:
        which = ", ".join(f"c{k + 1}" for k in bad)
        yield (
            "undetermined",
            (
                f"the error of {which} exceeds {'it' if len(bad) == 1 else 'them'}: the rows do not determine "
                f"{'it' if len(bad) == 1 else 'them'}; look for a shorter law on the front, or measure where it matters"
            ),
        )


def _few_rows(M: int, free: int):
    if free and M - free <= max(FEW_SPARE, free // 2):
        yield "few rows", f"{M} rows for {free} fitted constants are hardly more: add rows before trusting the law"


def _fast_waves(best: Candidate, X, names):
    def walk(node):
        if not isinstance(node, tuple):
            return
        if node[0] in ("sin", "cos", "tan"):
            line = spelling.linear(node[1])
            values = np.unique(X[:, line[2]]) if line else ()
            if len(values) > 2:
                step = spelling.steps_of(X[:, line[2]]) or float(np.ptp(values)) / (len(values) - 1)
                if abs(line[0]) * step > math.pi * (1 + 1e-9):
                    yield (
                        "fast wave",
                        f"a wave in {names[line[2]]} of period {2 * math.pi / abs(line[0]):.3g} is faster than half the "
                        f"sampling rate (rows {step:.3g} apart): rows between, or a slower wave, would decide",
                    )
        for child in node[1:]:
            yield from walk(child)

    yield from dict(walk(to_tree(bind(best.expr, best.consts)))).items()


def _holes(best: Candidate, X, names, used, seed: int):
    """Places inside the box of the columns where the law has a pole or no value, though all rows are fine."""
    from fansr.expressions import evaluate

    if not used:
        return
    rng = rng_for(seed, "verdict.box", 0)
    low, high = X.min(axis=0), X.max(axis=0)
    points = rng.uniform(low, high, (LOOKED_AT, X.shape[1]))
    corner = np.where(rng.random((64, X.shape[1])) < 0.5, low, high)
    points = np.ascontiguousarray(np.vstack([points, corner, X[:LOOKED_AT]]))
    bound = bind(best.expr, best.consts)

    def values(tree):
        with np.errstate(all="ignore"):
            return evaluate(list(from_tree(tree)) if isinstance(tree, tuple) else [tree], points)

    def walk(node):
        if not isinstance(node, tuple):
            return
        token, kids = node[0], node[1:]
        if token in ("/", "inv") and isinstance(kids[-1], tuple):
            v = values(kids[-1])
            v = v[np.isfinite(v)]
            if len(v) and v.min() < 0 < v.max():
                yield "pole", "a denominator passes 0"
        elif token in ("/", "inv") and variable_index(kids[-1]) is not None:
            j = variable_index(kids[-1])
            if low[j] < 0 < high[j]:
                yield "pole", f"{names[j]} stands below a bar and passes 0"
        elif token == "tan":
            v = values(kids[0])
            v = np.floor((v[np.isfinite(v)] - math.pi / 2) / math.pi)
            if len(v) and v.min() < v.max():
                yield "pole", "a tangent passes its pole"
        for child in kids:
            yield from walk(child)

    found = dict(walk(to_tree(bound)))
    if "pole" in found:
        yield (
            "pole",
            f"inside the range of the columns {found['pole']}: the law jumps between rows; do not predict there",
        )
    whole = values(to_tree(bound))
    missing = int((~np.isfinite(whole)).sum())
    if missing and "pole" not in found:
        yield (
            "undefined",
            f"the law has no value in {100 * missing / len(whole):.2g} % of the box of the columns, between the rows",
        )


def _error_columns(names):
    suspects = [name for name in names if ERROR_NAMES.search(str(name))]
    if suspects:
        yield (
            "error column",
            f"{', '.join(suspects)} {'is' if len(suspects) == 1 else 'are'} named like an error and "
            f"{'was' if len(suspects) == 1 else 'were'} taken as input: --sigma {suspects[0]} if it holds the target's errors",
        )


def _unheard(unheard):
    if unheard:
        yield "time", f"the time ended before {', '.join(unheard)} had a turn: more --time may find a better law"


def outside(X_new: np.ndarray, problem: Problem, best: Candidate) -> dict[str, str] | None:
    """A remark where rows X_new (M', D) lie more than FAR spans outside the data in a column that the law uses, or None."""
    return outside_box(X_new, problem.X.min(axis=0), problem.X.max(axis=0), problem.names, best.expr)


def outside_box(
    X_new: np.ndarray, low: np.ndarray, high: np.ndarray, names: Sequence[str], expr: Sequence[str]
) -> dict[str, str] | None:
    """The same by the smallest and largest values (D,) of the data's columns."""
    span = np.where(high > low, high - low, np.maximum(np.abs(high), 1e-300))
    used = [j for j in variables(expr) if j < X_new.shape[1]]
    with np.errstate(invalid="ignore"):
        far = (X_new < low - FAR * span) | (X_new > high + FAR * span)
    columns = [j for j in used if far[:, j].any()]
    if not columns:
        return None
    rows = int(far[:, columns].any(axis=1).sum())
    j = columns[0]
    return {
        "code": "outside",
        "text": f"{rows} of {len(X_new)} predictions lie far outside the data ({names[j]} from {low[j]:.4g} to "
        f"{high[j]:.4g}): a law is only known where it was measured",
    }
