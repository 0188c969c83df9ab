"""One look for every picture: sizes, colours, ticks, and a layout that keeps all text on the canvas.

A drawing function is marked ``@drawn``: it runs under STYLE, and the figure it returns is settled (`settle`), that is, ticks
that would overlap are thinned and texts that would leave the canvas or their panel are wrapped, then cut with an ellipsis.
Nothing here knows what is drawn.  matplotlib is an optional extra and is imported when something is drawn.

Colours are Okabe and Ito's (2008), which people of every kind of colour vision tell apart; series differ in marker and dash
too.  All text is plain: nothing in a column's name is read as mathematics.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import re
import textwrap
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fansr.errors import DataError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
DATA, LAW, CHOSEN = COLOURS[0], COLOURS[4], COLOURS[2]
INK, MUTED, GRID = "#262626", "#707070", "#DADADA"
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-")
SIZE, SMALL = 9, 7.5  # points: text, and text inside a panel
FORMATS = ("png", "svg", "pdf")
LABELLED = 5  # labels an axis aims at
STYLE: dict[str, Any] = {
    "font.size": SIZE,
    "axes.titlesize": SIZE,
    "axes.labelsize": SIZE,
    "xtick.labelsize": SIZE - 1,
    "ytick.labelsize": SIZE - 1,
    "legend.fontsize": SIZE - 1,
    "figure.labelsize": SIZE,
    "figure.titlesize": SIZE + 1,
    "figure.titleweight": "normal",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "lines.markersize": 4.5,
    "text.parse_math": False,
    "text.hinting": "none",  # so that what is measured at one resolution holds at any other
    "figure.dpi": 150,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.07,
    "axes.unicode_minus": True,
    "svg.hashsalt": "fansr",
}
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


# ---- figures ----------------------------------------------------------------------------------


@contextlib.contextmanager
def styled(**more: Any) -> Iterator[None]:
    """matplotlib under STYLE; DataError where it is missing.  Glyphs that no font has are drawn as boxes, silently."""
    try:
        import matplotlib
    except ImportError:
        raise DataError("pictures need matplotlib: pip install 'fansr[plot]'") from None
    with matplotlib.rc_context({**STYLE, **more}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph \d+ .*missing from")
        yield


def drawn(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Mark a function that returns a figure: it runs under STYLE and its figure is settled."""

    @functools.wraps(draw)
    def styled_draw(*args: Any, **more: Any) -> Figure:
        with styled():
            return settle(draw(*args, **more))

    return styled_draw


def figure(
    columns: int, rows: int = 1, width: float = 4.2, height: float = 3.2, cells: Sequence[int] | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure of rows x columns panels, `width` x `height` inches each, and its axes in order; cells: those that are not empty."""
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = list(canvas.subplots(rows, columns, squeeze=False).flat)
    for k, axis in enumerate(axes):
        if cells is not None and k not in cells:
            axis.remove()
    return canvas, axes if cells is None else [axes[k] for k in cells]


def save(canvas: Figure, path: str) -> None:
    """Write the picture under its final name only when it is whole; the ending chooses the format."""
    ending = os.path.splitext(path)[1].lstrip(".").lower()
    if ending not in FORMATS:
        raise click.UsageError(f"-o {path}: the ending says the format; wanted .{', .'.join(FORMATS)}")
    part = f"{path}.part"
    # No date in the file: the same records give the same bytes.
    metadata = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}[ending]
    try:
        with styled():
            canvas.savefig(part, format=ending, dpi=150, metadata=metadata)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)


def style(k: int) -> dict[str, Any]:
    """Colour, marker and dash of the k-th series."""
    n = len(COLOURS)
    return {"color": COLOURS[k % n], "marker": MARKERS[k % n], "linestyle": DASHES[k % n]}


def legend_outside(canvas: Figure, axes: Sequence[Axes], where: str = "lower") -> None:
    """One legend under (or over) the panels, where it covers no data, in as many lines as its names need; each name once."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels()):
            found.setdefault(shown(label, 60), handle)
    if found:
        widest = max(len(label) for label in found) * 0.6 * (SIZE - 1) + 40  # points a column takes
        columns = max(1, min(len(found), int(72 * canvas.get_figwidth() / widest)))
        canvas.legend(found.values(), found.keys(), loc=f"outside {where} center", ncols=columns)


# ---- text -------------------------------------------------------------------------------------


def shown(text: object, most: int = 200) -> str:
    """A name on one line, of at most `most` characters: no control characters, which no picture may hold."""
    plain = "".join(
        " " if ch.isspace() else "\ufffd" if unicodedata.category(ch) in ("Cc", "Cs", "Cn") else ch for ch in str(text)
    )
    plain = re.sub(" +", " ", plain).strip()
    return plain if len(plain) <= most else plain[: max(1, most - 1)].rstrip() + "…"


def wrapped(text: str, width: int, lines: int) -> str:
    """`text` in at most `lines` lines of `width` characters, broken at spaces, after operators and commas, at last anywhere."""
    pieces = re.sub(r"(?<=[\w)\]])([*/,_])", "\\1\u200b", text)  # a line may end here
    pieces = re.sub(r"\*\u200b\*\u200b?", "**\u200b", pieces).replace("_\u200b", "_")
    found: list[str] = []
    line = ""
    for piece in re.split("(?<=[ \u200b])", pieces):
        piece = piece.replace("\u200b", "")
        while len(line) + len(piece.rstrip()) > width:
            if line.strip():
                found.append(line.rstrip())
                line = ""
            elif len(piece) > width:
                found.append(piece[:width])
                piece = piece[width:]
        line += piece
    found.append(line.rstrip())
    found = [one for one in found if one]
    if len(found) > lines:
        found = found[:lines]
        found[-1] = (
            textwrap.shorten(found[-1], max(2, width - 1), placeholder="")[: width - 1] or found[-1][: width - 1]
        )
        found[-1] += "…"
    return "\n".join(found)


def number(value: float, digits: int = 4) -> str:
    """A number for people: 1500, 0.02, 3·10⁻⁷."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}".replace("-", "\u2212")
    if 1e-4 <= abs(value) < 10**6:
        return f"{value:.{max(digits, 1 + int(math.log10(max(1.0, abs(value)))))}g}".replace("-", "\u2212")
    mantissa, _, power = f"{value:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    raised = "10" + str(int(power)).translate(_RAISED)
    return {"1": raised, "-1": f"\u2212{raised}"}.get(mantissa, f"{mantissa}·{raised}".replace("-", "\u2212"))


# ---- axes -------------------------------------------------------------------------------------


def wants_logarithm(values: np.ndarray) -> bool:
    """Whether values (M,) are told apart better on a logarithmic axis: all positive, over more than a decade and a half, and
    their middle nearer to the middle of the logarithms."""
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 3 or not (values > 0).all() or not np.isfinite(values).all():
        return False
    low, middle, high = (math.log10(v) for v in np.quantile(values, (0.0, 0.5, 1.0), method="nearest"))
    if high - low < 1.5:
        return False
    linear = (10 ** (middle - high) - 10 ** (low - high)) / (1 - 10 ** (low - high))
    return abs((middle - low) / (high - low) - 0.5) < abs(linear - 0.5)


def log_ticks(low: float, high: float, most: int = LABELLED) -> list[float]:
    """Round values between low and high for a logarithmic axis, about `most`: whole decades, else 1-2-5, else even steps."""
    from matplotlib.ticker import MaxNLocator

    decades = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    if len(decades) >= 3 or (len(decades) >= most):
        step = max(1, math.ceil(len(decades) / most))
        return [10.0**p for p in decades if p % step == 0]
    first = math.floor(math.log10(low))
    for digits in ((1, 3), (1, 2, 5)):
        ticks = [d * 10.0**p for p in range(first, first + 4) for d in digits if low <= d * 10.0**p <= high]
        if 3 <= len(ticks):
            return ticks[:: max(1, math.ceil(len(ticks) / most))] if len(ticks) > most + 1 else ticks
    return [float(t) for t in MaxNLocator(most, steps=[1, 2, 5, 10]).tick_values(low, high) if low <= t <= high]


def log_axis(axis: Axes, which: str, most: int = LABELLED) -> None:
    """Make the x or y axis logarithmic, with plain labels at round values.  Ticks follow the limits when it is settled."""
    getattr(axis, f"set_{which}scale")("log")
    _log_labels(axis, which, most)


def _log_labels(axis: Axes, which: str, most: int) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = sorted(getattr(axis, f"get_{which}lim")())
    one = getattr(axis, f"{which}axis")
    ticks = log_ticks(low, high, most)
    one.set_major_locator(FixedLocator(ticks))
    one.set_major_formatter(FuncFormatter(lambda value, _place: number(value, 6)))
    one.set_minor_locator(NullLocator())


def whole_ticks(axis: Axes, which: str) -> None:
    """Ticks at whole numbers only: of a count."""
    getattr(axis, f"{which}axis")._fansr_whole = True


def named_ticks(axis: Axes, which: str, places: Sequence[float], labels: Sequence[str], **look: Any) -> None:
    """Ticks that all stay, each with its label; where labels would not fit side by side some must be empty."""
    getattr(axis, f"set_{which}ticks")(places, labels, **look)
    one = getattr(axis, f"{which}axis")
    one.minorticks_off()
    one._fansr_named = True


def _ours(axis: Axes, which: str) -> bool:
    """Whether the ticks of an axis are ours to thin."""
    return not getattr(getattr(axis, f"{which}axis"), "_fansr_named", False)


def _thin(axis: Axes, which: str, most: int) -> None:
    if getattr(axis, f"get_{which}scale")() == "log":
        _log_labels(axis, which, most)
    else:
        from matplotlib.ticker import MaxNLocator

        one = getattr(axis, f"{which}axis")
        whole = getattr(one, "_fansr_whole", False)
        one.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10] if whole else [1, 2, 2.5, 5, 10], integer=whole))


def tick_boxes(axis: Axes, which: str, renderer: Any) -> list[Any]:
    """Extents of the labels that an axis shows, in display units, in the order of the axis."""
    one = getattr(axis, f"{which}axis")
    low, high = sorted(getattr(axis, f"get_{which}lim")())
    slack = 1e-9 * (high - low)
    found = []
    for tick in one.get_major_ticks():
        label = tick.label1
        if label.get_visible() and label.get_text() and low - slack <= tick.get_loc() <= high + slack:
            found.append(label.get_window_extent(renderer))
    return sorted(found, key=lambda box: box.x0 if which == "x" else box.y0)


def overlapping(boxes: Sequence[Any], which: str, gap: float = 2.0) -> bool:
    """Whether neighbours among tick labels come nearer than `gap` pixels."""
    if which == "x":
        return any(a.x1 + gap > b.x0 for a, b in zip(boxes, boxes[1:]))
    return any(a.y1 > b.y0 for a, b in zip(boxes, boxes[1:]))


def settle(canvas: Figure) -> Figure:
    """Lay the figure out, in place: no tick labels that overlap, no label longer than its panel, no text beyond the canvas.

    The layout then stays as it is: what was measured holds, and drawing is quick.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(canvas).get_renderer()
    for axis in canvas.axes:
        for which in "xy":
            if _ours(axis, which) and getattr(axis, f"get_{which}scale")() in ("linear", "log"):
                _thin(axis, which, LABELLED)
    canvas.get_layout_engine().execute(canvas)
    _shorten_labels(canvas, renderer)
    for most in range(LABELLED - 1, -1, -1):
        canvas.draw_without_rendering()
        crowded = [
            (axis, which)
            for axis in canvas.axes
            for which in "xy"
            if _ours(axis, which) and overlapping(tick_boxes(axis, which, renderer), which)
        ]
        if not crowded or not most:
            break
        for axis, which in crowded:
            _thin(axis, which, most)
    _keep_inside(canvas, renderer)
    canvas.set_layout_engine("none")
    return canvas


def _shorten_labels(canvas: Figure, renderer: Any) -> None:
    """Labels and titles of panels no longer than the panel: in two lines, then cut; those of the figure in four."""
    width, height = canvas.bbox.width, canvas.bbox.height
    for axis in canvas.axes:
        box = axis.get_window_extent(renderer)
        for text, room, lines in (
            (axis.xaxis.label, box.width, 2),
            (axis.yaxis.label, box.height, 2),
            (axis.title, box.width, 2),
        ):
            _fit_text(text, room, lines, text is axis.yaxis.label, renderer)
    for text, room, lines, upright in (
        (getattr(canvas, "_suptitle", None), 0.96 * width, 4, False),
        (getattr(canvas, "_supxlabel", None), 0.96 * width, 3, False),
        (getattr(canvas, "_supylabel", None), 0.96 * height, 2, True),
    ):
        if text is not None:
            _fit_text(text, room, lines, upright, renderer)


def _fit_text(text: Any, room: float, lines: int, upright: bool, renderer: Any) -> None:
    whole = shown(text.get_text(), 2000)
    if not whole:
        return

    def length() -> float:
        box = text.get_window_extent(renderer)
        return box.height if upright else box.width

    text.set_text(whole)
    if length() <= room:
        return
    width = max(4, int(len(whole) * room / length()))
    while width > 3:
        text.set_text(wrapped(whole, width, lines))
        if length() <= room:
            return
        width -= max(1, width // 12)


def _keep_inside(canvas: Figure, renderer: Any) -> None:
    """Cut, as the last resort, what still leaves the canvas: names in a legend that are longer than it, say."""
    from matplotlib.text import Text

    free = [canvas, *canvas.legends, *canvas.axes]
    for _ in range(12):
        ticks = {
            id(label) for axis in canvas.axes for one in (axis.xaxis, axis.yaxis) for label in one.get_ticklabels()
        }
        texts = [text for owner in free for text in owner.findobj(Text) if id(text) not in ticks]
        outside = [text for text in texts if len(text.get_text()) > 2 and not _is_inside(text, canvas, renderer)]
        if not outside:
            return
        for text in outside:
            text.set_text(shown(text.get_text(), max(2, int(0.85 * len(text.get_text())))))
        canvas.draw_without_rendering()


def _is_inside(text: Any, canvas: Figure, renderer: Any) -> bool:
    if not text.get_visible() or not text.get_text():
        return True
    box = text.get_window_extent(renderer)
    return box.x0 >= -1 and box.y0 >= -1 and box.x1 <= canvas.bbox.width + 1 and box.y1 <= canvas.bbox.height + 1
