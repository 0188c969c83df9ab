"""Pictures of one answer, a panel each: data with the law, residuals, normal quantiles, slices, the front.

`fit_figure` puts them together for --plot, fansr-plot and SymbolicRegressor.plot; the report draws each by itself.  A panel is
a function (axis, fitted, ...) that draws into an axis and labels it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fansr.errors import DataError
from fansr.evaluation.fitted import CONFIDENCE, Fitted
from fansr.evaluation.plot_front import draw_front, place_labels
from fansr.evaluation.plot_style import (
    DATA,
    LAW,
    MUTED,
    SMALL,
    drawn,
    figure,
    legend_outside,
    log_axis,
    number,
    save,
    shown,
    wants_logarithm,
)
from fansr.search import loss_search, selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fansr.fitting import Candidate, Problem

SCATTER = 3000  # rows that are drawn one by one; more are counted in hexagons
BARS = 400  # rows up to which each gets its error bar
GRID = 400  # points of a curve
NEAR_SHARE, NEAR_ROWS = 0.1, (12, 400)  # of the rows, and at least and at most so many, that are drawn beside a slice
QUANTILES = 1000  # points of a quantile plot at most
MOST_COLUMNS = 4  # of a law that --plot draws slices of, those first that move it most; panels across
PERCENT = f"{100 * CONFIDENCE:g} %"
EXPECTED = f"{PERCENT} of rows expected"
PIECES = ("data", "residuals", "quantiles", "front", "slices", "residuals by column")


Panel = Callable[[Any], None]  # draws into an axis

# ---- parts of panels --------------------------------------------------------------------------


def _points(axis: Axes, x: np.ndarray, y: np.ndarray, label: str | None = "data", **more: Any) -> None:
    """Rows as dots, or, where there are many, as hexagons that are the darker the more rows they hold."""
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    if len(x) <= SCATTER:
        many = len(x) > 150
        look = {"markersize": 3 if many else 4.5, "alpha": 0.5 if many else 0.8, "markeredgewidth": 0, "zorder": 3}
        axis.plot(x, y, "o", color=DATA, label=label, **{**look, **more})
        return
    from matplotlib.colors import LinearSegmentedColormap, LogNorm, to_rgba

    faint = LinearSegmentedColormap.from_list("rows", [to_rgba(DATA, 0.15), to_rgba(DATA, 1.0)])
    scales: dict[str, Any] = {f"{which}scale": "log" for which in "xy" if getattr(axis, f"get_{which}scale")() == "log"}
    cells = axis.hexbin(
        x, y, gridsize=(44, 26), mincnt=1, cmap=faint, norm=LogNorm(1, max(10, len(x) / 50)), linewidths=0, **scales
    )
    cells.set_label(None)
    axis.plot([], [], "h", color=DATA, markersize=6, label="rows, darker: more")
    axis.autoscale_view()


def _scales(axis: Axes, x: np.ndarray | None = None, y: np.ndarray | None = None) -> None:
    """Logarithmic axes where these values want them."""
    for which, values in (("x", x), ("y", y)):
        if values is not None and wants_logarithm(values[np.isfinite(values)]):
            log_axis(axis, which)


def _limits(values: np.ndarray, logarithmic: bool, room: float = 0.06) -> tuple[float, float] | None:
    """Limits with some room around finite values; None where there are none or all are one."""
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low, high = float(values.min()), float(values.max())
    if not low < high:
        return None
    if logarithmic:
        factor = (high / low) ** room
        return low / factor, high * factor
    return low - room * (high - low), high + room * (high - low)


def _grid(values: np.ndarray, logarithmic: bool) -> np.ndarray:
    """GRID values from the least to the largest."""
    low, high = float(values.min()), float(values.max())
    with np.errstate(over="ignore"):
        return np.geomspace(low, high, GRID) if logarithmic and low > 0 else np.linspace(low, high, GRID)


def _curve(axis: Axes, x: np.ndarray, rows: np.ndarray, fitted: Fitted) -> None:
    """The law along `x` at `rows` (N, D), with its band and, inside a wider one, where new rows would lie."""
    value = fitted.value(rows)
    inner, outer = fitted.band(rows), fitted.band(rows, new_rows=True)
    for half, alpha, label in ((outer, 0.13, EXPECTED), (inner, 0.3, f"law, {PERCENT} band")):
        if half is not None and (half > 0).any():
            axis.fill_between(x, value - half, value + half, color=LAW, alpha=alpha, linewidth=0, label=label, zorder=1)
    axis.plot(x, value, color=LAW, label="law", zorder=4)


def _medians(fitted: Fitted) -> np.ndarray:
    """Median (D,) of each column: what the others are held at in a slice."""
    return fitted.medians


# ---- panels -----------------------------------------------------------------------------------


def draw_data(axis: Axes, fitted: Fitted) -> None:
    """y with the law: along its column where it uses one, by row where none, else y against the law's value."""
    used, y = fitted.used, fitted.y
    along = used if len(used) == 1 else list(range(fitted.X.shape[1])) if not used and fitted.X.shape[1] == 1 else []
    if along:
        x, label = fitted.X[:, along[0]], fitted.names[along[0]]
        axis.set(xlabel=label, ylabel=fitted.target)
    elif not used:
        x = np.arange(1, len(y) + 1, dtype=np.float64)
        axis.set(xlabel="row", ylabel=fitted.target)
    else:
        x = fitted.fitted
        axis.set(xlabel=f"law's value of {fitted.target}", ylabel=fitted.target)
    if len(used) > 1 and wants_logarithm(y) and (x[np.isfinite(x)] > 0).all():
        log_axis(axis, "x")
        log_axis(axis, "y")
    elif len(used) <= 1:
        _scales(axis, x if along else None, y)
    _errors(axis, x, y, fitted)
    _points(axis, x[fitted.kept], y[fitted.kept])
    if not fitted.kept.all():
        axis.plot(x[~fitted.kept], y[~fitted.kept], "x", color=MUTED, label="set aside", zorder=3)
    limits = _limits(y, axis.get_yscale() == "log")
    if along or not used:
        _law_along(axis, fitted, x, along)
    else:
        _diagonal(axis, fitted)
        span = _limits(x, axis.get_xscale() == "log")
        if span:
            axis.set_xlim(span)
    if limits:
        axis.set_ylim(limits)


def _law_along(axis, fitted: Fitted, x: np.ndarray, along: Sequence[int]) -> None:
    across = _grid(x, axis.get_xscale() == "log")
    rows = np.repeat(_medians(fitted)[None], GRID, axis=0)
    if along:
        rows[:, along[0]] = across
    _curve(axis, across, rows, fitted)


def _errors(axis, x, y, fitted: Fitted) -> None:
    """A bar of one stated standard error up and down."""
    if fitted.sigma is None or len(y) > BARS:
        return
    good = np.isfinite(fitted.sigma) & np.isfinite(x)
    axis.errorbar(
        x[good], y[good], yerr=fitted.sigma[good], fmt="none", ecolor=DATA, elinewidth=0.9, capsize=2, alpha=0.8,
        label="stated error",
    )  # fmt: skip


def _diagonal(axis, fitted: Fitted) -> None:
    """Where y is the law's value, and around it where 95 % of new rows lie as far as the noise goes."""
    finite = np.concatenate([fitted.fitted[np.isfinite(fitted.fitted)], fitted.y])
    ends = _grid(finite, axis.get_xscale() == "log")
    if not fitted.weighted and fitted.noise > 0:
        half = 1.96 * fitted.noise
        axis.fill_between(
            ends,
            ends - half,
            ends + half,
            color=LAW,
            alpha=0.13,
            linewidth=0,
            label=EXPECTED,
            zorder=1,
        )
    axis.plot(ends, ends, color=LAW, label="law", zorder=4)


def draw_residuals(axis: Axes, fitted: Fitted, column: int | None = None) -> None:
    """Residuals against the law's value, or against a column; in units of their own errors where rows are weighted."""
    x = fitted.fitted if column is None else fitted.X[:, column]
    if column is None:
        constant = not fitted.used
        x = np.arange(1, len(x) + 1, dtype=np.float64) if constant else x
        label = "row" if constant else f"law's value of {fitted.target}"
    else:
        label = fitted.names[column]
    if not fitted.weighted:
        residual, spread = fitted.residual, fitted.noise
        text = f"residual of {fitted.target}"
    else:
        residual, spread = fitted.scaled_residual, 1.0
        text = "residual / stated error" if fitted.problem.known else "weighted residual / its spread"
    _scales(axis, x if label != "row" else None)
    if spread > 0:
        axis.axhspan(-1.96 * spread, 1.96 * spread, color=LAW, alpha=0.13, linewidth=0, label=EXPECTED)
    axis.axhline(0, color=LAW, linewidth=1.2, label="law")
    if not (residual[fitted.kept] != 0).any():
        _say_zero(axis)
    _points(axis, x[fitted.kept], residual[fitted.kept])
    limits = _limits(residual[fitted.kept], False, 0.08)
    if limits:
        most = 1.1 * max(abs(limits[0]), abs(limits[1]), 1.96 * spread)
        axis.set_ylim(-most, most)
    span = _limits(x, axis.get_xscale() == "log")
    if span:
        axis.set_xlim(span)
    axis.set(xlabel=label, ylabel=text)


def _say_zero(axis) -> None:
    axis.annotate("0 in every row", (0.5, 0.9), xycoords="axes fraction", ha="center", fontsize=SMALL, color=MUTED)


def draw_quantiles(axis: Axes, fitted: Fitted) -> None:
    """Residuals in order against the quantiles of a normal law: on the line where the noise is Gaussian."""
    from scipy.special import ndtri

    values = np.sort(fitted.scaled_residual[fitted.kept & np.isfinite(fitted.scaled_residual)])
    M = len(values)
    expected = ndtri((np.arange(M) + 0.5) / max(1, M))
    if M > QUANTILES:  # all of the tails, where such a plot is read, and evenly in between
        inner = np.unique(np.linspace(50, M - 51, QUANTILES - 100).astype(int))
        some = np.concatenate([np.arange(50), inner, np.arange(M - 50, M)])
        values, expected = values[some], expected[some]
    if not (values != 0).any():
        _say_zero(axis)
    reach = float(max(1.0, np.abs(expected).max(initial=0.0)))
    axis.plot([-reach, reach], [-reach, reach], color=LAW, zorder=2)
    axis.plot(
        expected, values, "o", color=DATA, markersize=4 if M <= 150 else 3, markeredgewidth=0, alpha=0.8, zorder=3
    )
    axis.set(xlabel="quantile of a normal law", ylabel="residual / its error")


def near_slice(fitted: Fitted, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows near the slice along a column, and how near each is, from 0 to 1: by the ranks of the other columns in use."""
    others = [j for j in fitted.used if j != column]
    rows = np.flatnonzero(fitted.kept)
    if not others:
        return rows, np.ones(len(rows))
    M = len(rows)
    far = np.max([fitted.off_median(j)[rows] for j in others], axis=0)
    most = min(M, NEAR_ROWS[1], max(NEAR_ROWS[0], int(NEAR_SHARE * M)))
    chosen = np.argsort(far, kind="stable")[:most]
    return rows[chosen], 1.0 - far[chosen] / 0.5


def slice_rows(fitted: Fitted, column: int, logarithmic: bool) -> tuple[np.ndarray, np.ndarray]:
    """(values (N,) of a column, rows (N, D) along it): the other columns at their medians."""
    across = _grid(fitted.X[:, column], logarithmic)
    rows = np.repeat(_medians(fitted)[None], len(across), axis=0)
    rows[:, column] = across
    return across, rows


def slice_limits(fitted: Fitted, columns: Sequence[int]) -> tuple[float, float] | None:
    """Limits of y for the slices along several columns together, so that what each column does can be compared."""
    low, high = float(fitted.y.min()), float(fitted.y.max())
    seen = []
    for j in columns:
        value = fitted.value(slice_rows(fitted, j, False)[1])
        seen += [np.clip(value[np.isfinite(value)], low, high), fitted.y[near_slice(fitted, j)[0]]]
    return _limits(np.concatenate(seen), False) if seen else None


def draw_slice(axis: Axes, fitted: Fitted, column: int, limits: tuple[float, float] | None = None) -> None:
    """The law along one column, the others at their medians, with the rows nearest to that line: the paler, the farther.

    limits: of y, from `slice_limits`.
    """
    from matplotlib.colors import to_rgba

    x = fitted.X[:, column]
    _scales(axis, x)
    across, rows = slice_rows(fitted, column, axis.get_xscale() == "log")
    _curve(axis, across, rows, fitted)
    near, closeness = near_slice(fitted, column)
    colours = [to_rgba(DATA, 0.25 + 0.65 * float(c) ** 3) for c in closeness]
    axis.scatter(x[near], fitted.y[near], s=12, c=colours, linewidths=0, zorder=3)
    limits = limits or slice_limits(fitted, [column])
    if limits:
        axis.set_ylim(limits)
    axis.set(xlabel=fitted.names[column], ylabel=fitted.target)


def effects(fitted: Fitted) -> list[int]:
    """Columns in use, those first along which the law moves most between the 5th and 95th percentile, others at medians."""
    moved = []
    for j in fitted.used:
        rows = np.repeat(_medians(fitted)[None], 64, axis=0)
        rows[:, j] = np.quantile(fitted.X[:, j], np.linspace(0.05, 0.95, 64))
        value = fitted.value(rows) / (float(np.abs(fitted.y).max()) or 1.0)
        value = value[np.isfinite(value)]
        moved.append((-float(np.ptp(value)) if len(value) else 0.0, j))
    return [j for _, j in sorted(moved)]


# ---- whole pictures ---------------------------------------------------------------------------


def panels(fitted: Fitted, pieces: Sequence[str] | None = None) -> list[list[Panel]]:
    """What to draw, in groups that stay together; pieces: some of PIECES (by default all that say something about this law)."""
    wanted = pieces or PIECES
    unknown = [piece for piece in wanted if piece not in PIECES]
    if unknown:
        raise DataError(
            f"unknown piece {', '.join(map(str, unknown))} of a picture; wanted some of {', '.join(PIECES)}"
        )
    columns = effects(fitted)[:MOST_COLUMNS]
    several = len(columns) > 1 or pieces is not None  # along one column data and residuals are drawn anyway
    if pieces is None and not (fitted.residual != 0).any():  # nothing is left that could have a shape
        wanted = [piece for piece in PIECES if piece not in ("quantiles", "residuals by column")]
    alone = fitted.used[0] if len(fitted.used) == 1 else None
    whole: dict[str, Panel] = {
        "data": partial(draw_data, fitted=fitted),
        "residuals": partial(draw_residuals, fitted=fitted, column=alone),
        "quantiles": partial(draw_quantiles, fitted=fitted),
        "front": partial(draw_front, fitted=fitted),
    }
    groups: list[list[Panel]] = [[whole[piece] for piece in wanted if piece in whole]]
    if several and "slices" in wanted:
        limits = slice_limits(fitted, columns)
        groups.append([partial(draw_slice, fitted=fitted, column=j, limits=limits) for j in columns])
    if several and "residuals by column" in wanted:
        groups.append([partial(draw_residuals, fitted=fitted, column=j) for j in columns])
    groups = [group for group in groups if group]
    if not groups:
        raise DataError(f"nothing to draw of {', '.join(wanted)}: the law uses no column")
    return groups


def _cells(groups: Sequence[Sequence[object]], across: int) -> list[int]:
    """Where panels stand, `across` a row: a group that does not fit into what is left of a row begins a new one."""
    cells: list[int] = []
    at = 0
    for group in groups:
        if at % across and at % across + len(group) > across:
            at += across - at % across
        cells += range(at, at + len(group))
        at += len(group)
    return cells


@drawn
def _laid_out(fitted: Fitted, groups: Sequence[Sequence[Panel]], width: float, height: float) -> Figure:
    n = sum(map(len, groups))
    across = 2 if n == 4 and len(groups) == 1 else min(n, MOST_COLUMNS)
    cells = _cells(groups, across)
    canvas, axes = figure(across, cells[-1] // across + 1, width, height, cells)
    for draw, axis in zip((draw for group in groups for draw in group), axes):
        draw(axis)
    canvas.suptitle(f"{shown(fitted.target, 60)} = {fitted.text()}")
    legend_outside(canvas, axes)
    return canvas


def fit_figure(fitted: Fitted, pieces: Sequence[str] | None = None) -> Figure:
    """One answer in panels of four across (two by two where the law has one column), its law above them."""
    return place_labels(_laid_out(fitted, panels(fitted, pieces), 3.9, 3.0))


@drawn
def _alone(draw: Panel, width: float, height: float) -> Figure:
    canvas, (axis,) = figure(1, 1, width, height)
    draw(axis)
    return canvas


def panel_figure(draw: Panel, width: float = 4.1, height: float = 3.0) -> Figure:
    """One panel as a picture of its own."""
    return place_labels(_alone(draw, width, height))


def draw_fit(
    problem: Problem,
    best: Candidate,
    front: Sequence[Candidate],
    path: str,
    outlying: Sequence[int] | np.ndarray = (),
    floor: float = selection.EXACT,
    physics: bool = True,
    weights: np.ndarray | None = None,
    loss: loss_search.Outcome | None = None,
) -> None:
    """Picture of one answer, written to `path`; the rest as in Fitted.of."""
    save(fit_figure(Fitted.of(problem, best, front, outlying, floor, physics, weights, loss)), path)


def column_values(fitted: Fitted) -> str:
    """The medians that slices hold the columns in use at, as text."""
    centre = _medians(fitted)
    return ", ".join(f"{shown(fitted.names[j], 40)} {number(float(centre[j]))}" for j in fitted.used)
