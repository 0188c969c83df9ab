"""Every number we judge an expression by: appendix L of the paper, and three of our own.

The log probability of appendix L is that of the draw a law came from, also where the law was cut down or rounded since; laws of
other proposers have none, so over a whole search it is the mean of those that the network wrote.

Pure functions over arrays, token lists and fit records; nothing here reads a file or prints.
A *fit record* is a dict of kind ``fit`` (docs/streams.md); `score_fit` turns one into a dict of metrics and
`summarise` turns many of those into means with bootstrap intervals.

What is compared: the *skeleton* of an expression has ``<constant>`` where a number stands.  The truth's skeleton is
simplified first, as the paper does; the prediction is judged as it was printed, except for the symbolic recovery rate,
which simplifies both.

Heavy modules (numba through evaluate, simplipy through simplify) are imported where they are used.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from fansr.evaluation import solved
from fansr.expressions import ARITY, CONSTANT, literal_value, prefix as expressions
from fansr.streams import rng_for

EPS32 = float(np.finfo(np.float32).eps)  # 1.19e-7: the paper's threshold of numeric recovery (equation 9)
FITTED = ("ok", "interrupted")  # statuses of a fit that has an answer; anything else says why it has none
EXACT = 1e-20  # our own: float64 rounding of the law itself, not a good approximation of it


class Metric(NamedTuple):
    """How one metric is summed up and shown."""

    name: str
    label: str
    statistic: str  # "mean" or "median" over the records that have a value
    rate: bool  # a share between 0 and 1, printed in percent
    better: str  # "up", "down", "one", "zero" or "": which way is good


# seconds_median is the only entry whose name is not a key of score_fit's dict; it reads "seconds".
METRICS = (
    Metric("fnrr", "fNRR", "mean", True, "up"),
    Metric("vnrr", "vNRR", "mean", True, "up"),
    Metric("exact", "FVU <= 1e-20", "mean", True, "up"),
    Metric("equivalent", "equivalent", "mean", True, "up"),
    Metric("srr", "SRR", "mean", True, "up"),
    Metric("solved", "solved", "mean", True, "up"),
    Metric("solved_form", "solved, by form", "mean", True, "up"),
    Metric("solved_value", "solved, by value", "mean", True, "up"),
    Metric("r2_99", "R2 > 0.99", "mean", True, "up"),
    Metric("r2_99_val", "R2 > 0.99, unseen", "mean", True, "up"),
    Metric("valid", "draws with values", "mean", True, "up"),
    Metric("log10_fvu", "log10 FVU, imperfect", "mean", False, "down"),
    Metric("length_ratio", "length ratio", "mean", False, "one"),
    Metric("length_ratio_recovered", "length ratio, recovered", "mean", False, "one"),
    Metric("length_ratio_median", "length ratio, median", "median", False, "one"),
    Metric("f1", "token F1", "mean", False, "up"),
    Metric("edit_distance", "tree edit distance", "mean", False, "down"),
    Metric("variable_recall", "variables found", "mean", True, "up"),
    Metric("excess_constants", "excess constants", "mean", False, "zero"),
    Metric("nestedness", "total nestedness", "mean", False, "down"),
    Metric("logp", "log probability", "mean", False, "up"),
    Metric("success", "fit success", "mean", True, "up"),
    Metric("seconds_median", "seconds, median", "median", False, "down"),
    Metric("seconds_mean", "seconds, mean", "mean", False, "down"),
    Metric("relative_seconds", "relative fit time", "mean", False, ""),
)
_SOURCE = {"seconds_median": "seconds", "seconds_mean": "seconds", "length_ratio_median": "length_ratio"}


# ---- numbers ----------------------------------------------------------------------------------


def fvu(y: np.ndarray, y_hat: np.ndarray) -> float:
    """Fraction of variance unexplained, equation 8: sum (y - y_hat)^2 / sum (y - mean y)^2.

    y, y_hat (M,) float64.  A prediction that is not finite somewhere is infinitely bad.  Where y does not vary the
    quotient is undefined; we say 0 if the prediction equals y everywhere and infinity otherwise.  Both sums are taken
    over values divided by the largest magnitude, so targets of 1e200 or 1e-200 neither overflow nor vanish.
    """
    y = np.asarray(y, dtype=np.float64)
    y_hat = np.broadcast_to(np.asarray(y_hat, dtype=np.float64), y.shape)
    if y.size == 0 or not np.isfinite(y).all():
        return float("nan")
    if not np.isfinite(y_hat).all():
        return float("inf")
    scale = float(np.max(np.abs(y)))
    if scale == 0.0:
        return 0.0 if not y_hat.any() else float("inf")
    with np.errstate(over="ignore"):
        u = y / scale
        total = float(np.sum((u - u.mean()) ** 2))
        residual = float(np.sum((u - y_hat / scale) ** 2))
    if total == 0.0:
        return 0.0 if residual == 0.0 else float("inf")
    return residual / total


# ---- token lists and trees --------------------------------------------------------------------


def skeleton(expr: list[str]) -> list[str]:
    """The expression with ``<constant>`` for every numeric literal; other tokens as they are."""
    return [CONSTANT if token not in ARITY and literal_value(token) is not None else token for token in expr]


def token_f1(predicted: list[str], truth: list[str]) -> float:
    """F1 of the two token multisets, in [0, 1]: 2 |A and B| / (|A| + |B|), each token as often as both hold it."""
    if not predicted and not truth:
        return 1.0
    shared = sum((Counter(predicted) & Counter(truth)).values())
    return 2.0 * shared / (len(predicted) + len(truth))


def _postorder(expr: list[str]) -> tuple[list[str], list[int], list[int]]:
    """Labels in post-order, each node's left-most leaf, and the key roots (Zhang and Shasha 1989, section 3)."""
    labels: list[str] = []
    leftmost: list[int] = []
    position = 0

    def visit() -> int:
        nonlocal position
        token = expr[position]
        position += 1
        first = -1
        for k in range(ARITY.get(token, 0)):
            leaf = visit()
            first = leaf if k == 0 else first
        labels.append(token)
        leftmost.append(len(labels) - 1 if first < 0 else first)
        return leftmost[-1]

    visit()
    last = {leaf: node for node, leaf in enumerate(leftmost)}  # the highest node of each left-most leaf
    return labels, leftmost, sorted(last.values())


def tree_edit_distance(a: list[str], b: list[str]) -> int:
    """Zhang-Shasha distance of two prefix expressions as ordered trees; insert, delete and relabel cost 1 each.

    Written from the 1989 article: for every pair of key roots the forest distances between their subtrees, the tree
    distances being kept for later pairs.  O(|a| |b| depth(a) depth(b)) time.
    """
    labels_a, left_a, roots_a = _postorder(a)
    labels_b, left_b, roots_b = _postorder(b)
    tree = [[0] * len(labels_b) for _ in labels_a]
    for i in roots_a:
        for j in roots_b:
            _forest_distances(i, j, labels_a, left_a, labels_b, left_b, tree)
    return tree[-1][-1]


def _forest_distances(i, j, labels_a, left_a, labels_b, left_b, tree) -> None:
    """Fill `tree[x][y]` for every x and y whose left-most leaf is that of i and of j."""
    li, lj = left_a[i], left_b[j]
    rows, columns = i - li + 2, j - lj + 2
    forest = [[0] * columns for _ in range(rows)]
    for x in range(1, rows):
        forest[x][0] = x
    forest[0] = list(range(columns))
    for x in range(1, rows):
        node_a = li + x - 1
        for y in range(1, columns):
            node_b = lj + y - 1
            smallest = min(forest[x - 1][y], forest[x][y - 1]) + 1
            if left_a[node_a] == li and left_b[node_b] == lj:  # both forests are whole trees
                smallest = min(smallest, forest[x - 1][y - 1] + (labels_a[node_a] != labels_b[node_b]))
                tree[node_a][node_b] = smallest
            else:
                smallest = min(smallest, forest[left_a[node_a] - li][left_b[node_b] - lj] + tree[node_a][node_b])
            forest[x][y] = smallest


def variable_recall(predicted: list[str], truth: list[str]) -> float | None:
    """Share of the truth's unique variables that the prediction uses; None where the truth uses none."""
    wanted = set(expressions.variables(truth))
    if not wanted:
        return None
    return len(wanted & set(expressions.variables(predicted))) / len(wanted)


# ---- against the truth ------------------------------------------------------------------------


def simplified(expr: list[str], relax: bool = False) -> list[str]:
    """Skeleton of the simplified expression, or of the expression as it is where the simplifier declines it."""
    from fansr.simplification import simplify_many

    form, _reason = simplify_many([list(expr)], relax=relax)[0]
    return skeleton(form or expr)


def truth_skeleton(truth: dict) -> list[str]:
    """The shorter of the law's skeleton as written and its simplified one.

    The paper measures against the simplified one, in which a factor 2 is the token ``mult2``; where that comes out
    longer than the law as written it would flatter every length ratio.
    """
    written = list(truth["expr"])
    return min(skeleton(written), simplified(written), key=len)


def far_points(low: np.ndarray, high: np.ndarray, rng: np.random.Generator, n: int = 2048) -> np.ndarray:
    """Points (n, D) outside the box [low, high] (D,) that the fit saw.

    A column of one sign keeps its sign, because x and abs(x) cannot be told apart from such data; its magnitude is
    log-uniform over the decade above the largest seen, or the decade below the smallest.  A column of both signs
    reaches ten times the largest magnitude either way.  A column that did not vary stays where it is.
    """
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    X = np.empty((n, low.size))
    for j, (a, b) in enumerate(zip(low, high)):
        decade = 10.0 ** rng.uniform(0.0, 1.0, n)
        outward = rng.random(n) < 0.5
        if a == b:
            X[:, j] = a
        elif a > 0 or b < 0:
            smallest, largest = min(abs(a), abs(b)), max(abs(a), abs(b))
            X[:, j] = np.where(outward, largest * decade, smallest / decade) * (1.0 if a > 0 else -1.0)
        else:
            X[:, j] = np.where(outward, 1.0, -1.0) * max(abs(a), abs(b)) * decade
    return X


def equivalent(expr, consts, truth: dict, low, high, seed: int = 0, tolerance: float = 1e-6) -> bool | None:
    """Is the expression the true law, judged by values on points far outside the fitted box?

    A good approximation inside the box (a series, a tanh in its linear part) fails here; another spelling of the law
    passes.  Of 2,048 points those count where the truth is finite; at 95 % of them the values must agree to the
    relative `tolerance` (the other 5 % are room for cancellation near a zero).  With fewer than 32 such points the
    magnitudes are drawn inside the box's neighbourhood, half a decade at most; None when that leaves too few as well.
    """
    from fansr.expressions import evaluate

    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    rng = rng_for(seed, "equivalent", 0)
    X = far_points(low, high, rng)
    with np.errstate(all="ignore"):
        for points in (X, low + (high - low) * rng.uniform(-0.5, 1.5, X.shape)):
            y = evaluate(list(truth["expr"]), points, _constants(truth.get("consts")))
            usable = np.isfinite(y)
            if usable.sum() >= 32:
                break
        else:
            return None
        y_hat = evaluate(list(expr), points[usable], _constants(consts))
        near = np.abs(y_hat - y[usable]) <= tolerance * np.abs(y[usable])
    return bool(np.mean(near) >= 0.95)


def _constants(consts) -> np.ndarray:
    return np.asarray([] if consts is None else consts, dtype=np.float64)


# ---- one fit record ---------------------------------------------------------------------------


def score_fit(fit: dict, reference_seconds: float | None = None) -> dict:
    """Every metric of one fit record as a flat dict; None where a metric does not apply.

    Needs ``expr``, ``consts``, ``fvu``, ``status``, ``seconds``; reads ``fvu_val``, ``logp``, ``truth`` {expr, consts}
    and ``low``, ``high`` (D,) of the fitted columns where they are there.  A fit that failed counts as not recovered
    in every rate and is left out of the rest, which describe expressions.
    `reference_seconds` is what the same problem took in the run to compare with (relative fit time).
    """
    found = fit.get("status", "ok") in FITTED and bool(fit.get("expr"))
    seconds = fit.get("seconds")
    scores: dict = {metric.name: None for metric in METRICS if metric.name not in _SOURCE}
    scores["success"] = found
    scores["seconds"] = None if seconds is None else float(seconds)
    if seconds is not None and reference_seconds:
        scores["relative_seconds"] = float(seconds) / reference_seconds
    scores["fnrr"] = found and _at_most(fit.get("fvu"), EPS32)
    validated = fit.get("fvu_val") is not None
    if validated or not found:
        scores["vnrr"] = found and _at_most(fit.get("fvu_val"), EPS32)
        scores["exact"] = found and _at_most(fit.get("fvu_val"), EXACT)
        scores["r2_99_val"] = found and solved.good_fit(fit.get("fvu_val"))
    scores["r2_99"] = found and solved.good_fit(fit.get("fvu"))
    scores["valid"] = fit.get("valid")
    if found:
        judged = fit["fvu_val"] if validated else fit.get("fvu")
        if judged is not None and np.isfinite(judged) and judged > EPS32:
            scores["log10_fvu"] = float(np.log10(judged))
        scores["logp"] = fit.get("logp")
        scores["nestedness"] = expressions.total_nestedness(_printed(fit))
    if fit.get("truth") and fit["truth"].get("expr"):
        scores.update(_against_truth(fit, found, bool(scores["vnrr"])))
    return scores


def _printed(fit: dict) -> list[str]:
    """The expression whose shape is judged: over columns in units of powers of ten where a peer was given those."""
    return list(fit.get("scaled_expr") or fit["expr"])


def _at_most(value, limit: float) -> bool:
    return value is not None and bool(value <= limit)  # NaN compares false


def _against_truth(fit: dict, found: bool, recovered: bool) -> dict:
    """The metrics of score_fit that need the true law."""
    if not found:
        return {"srr": False, "equivalent": False, "solved": False, "solved_form": False, "solved_value": False}
    truth = fit["truth"]
    predicted, law = skeleton(_printed(fit)), truth_skeleton(truth)
    reduced = simplified(_printed(fit), relax=True)
    ratio = len(predicted) / len(law)
    scores = {
        # mult2 and its like are relaxed to `* <constant>` on both sides: whether a 2 is printed as a token or as a
        # fitted constant is not a difference of structure.
        "srr": reduced == simplified(truth["expr"], relax=True),
        "f1": token_f1(predicted, law),
        "edit_distance": tree_edit_distance(predicted, law),
        "variable_recall": variable_recall(reduced, law),  # x2 in `x1 + 0*x2` is not found (appendix L simplifies both)
        "excess_constants": predicted.count(CONSTANT) - law.count(CONSTANT),
        "length_ratio": ratio,
        "length_ratio_recovered": ratio if recovered else None,
    }
    if fit.get("low") is not None and fit.get("high") is not None:
        scores["equivalent"] = equivalent(fit["expr"], fit.get("consts"), truth, fit["low"], fit["high"])
    scores.update(solved.solved(fit))
    return scores


# ---- many records -----------------------------------------------------------------------------


def bootstrap(values, clusters, statistic: str = "mean", n: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean or median of `values` (N,), resampling whole clusters.

    Repeats of one law are not independent, so a resample draws as many laws as there are, with replacement, and takes
    every record of each (Riezler and Hagmann 2024 give the reasons).  (nan, nan) where there is nothing to resample.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.size == 0 or n < 1:
        return float("nan"), float("nan")
    _names, members = np.unique(np.asarray([str(cluster) for cluster in clusters]), return_inverse=True)
    n_clusters = int(members.max()) + 1
    rng = rng_for(seed, "bootstrap", 0)
    draws = rng.multinomial(n_clusters, np.full(n_clusters, 1.0 / n_clusters), size=n)  # (n, clusters) times drawn
    if statistic == "mean":
        sums = np.bincount(members, weights=values, minlength=n_clusters)
        counts = np.bincount(members, minlength=n_clusters)
        statistics = (draws @ sums) / (draws @ counts)
    else:
        order = np.argsort(values, kind="stable")
        statistics = _weighted_medians(values[order], draws[:, members[order]])
    low, high = np.percentile(statistics, [2.5, 97.5])
    return float(low), float(high)


def _weighted_medians(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Median of each row of `weights` (n, N) copies of the sorted `values` (N,): the mean of the two middle copies."""
    cumulative = np.cumsum(weights, axis=1)
    total = cumulative[:, -1:]
    lower = np.argmax(cumulative > (total - 1) // 2, axis=1)
    upper = np.argmax(cumulative > total // 2, axis=1)
    return 0.5 * (values[lower] + values[upper])


def summarise(scores: list[dict], clusters: list, n_bootstrap: int = 1000, seed: int = 0) -> dict:
    """{"n", "laws", every metric of METRICS, "ci": {metric: [low, high]}} of a list of score_fit dicts.

    A metric is None when no record has it.  `clusters` names each record's law, for `bootstrap`; 0 resamples leave
    the intervals out.
    """
    summary: dict = {"n": len(scores), "laws": len({str(cluster) for cluster in clusters})}
    intervals: dict = {}
    for metric in METRICS:
        key = _SOURCE.get(metric.name, metric.name)
        pairs = [(s[key], c) for s, c in zip(scores, clusters) if s.get(key) is not None]
        if not pairs:
            summary[metric.name] = None
            continue
        values = np.array([float(value) for value, _ in pairs])
        summary[metric.name] = float(np.mean(values) if metric.statistic == "mean" else np.median(values))
        if n_bootstrap:
            low_high = bootstrap(values, [c for _, c in pairs], metric.statistic, n_bootstrap, seed)
            intervals[metric.name] = list(low_high)
    summary["ci"] = intervals
    return summary
