"""What every picture must be, asked of matplotlib's own renderer: nothing cut off, nothing on top of something, nothing empty."""

import warnings
import xml.etree.ElementTree as ET

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from fansr.evaluation import plot_style

SLACK = 2.0  # pixels at 150 a inch: a third of a millimetre


def look_at(canvas):
    """Raise AssertionError for what is wrong with a figure as it would be saved."""
    with plot_style.styled(), warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        renderer = FigureCanvasAgg(canvas).get_renderer()
        canvas.draw_without_rendering()
        boxes = texts(canvas, renderer)
        assert canvas.axes, "a picture without panels"
        for axis in canvas.axes:
            assert has_data(axis), f"empty panel: {axis.get_xlabel()!r} {axis.get_ylabel()!r}"
            for which in "xy":
                seen = plot_style.tick_boxes(axis, which, renderer)
                assert not plot_style.overlapping(seen, which, 0.0), f"tick labels overlap on {which}"
                assert seen, f"no tick label on {which} of {axis.get_xlabel()!r} {axis.get_ylabel()!r}"
    width, height = canvas.bbox.width, canvas.bbox.height
    for words, (x0, y0, x1, y1) in boxes:
        inside = x0 >= -SLACK and y0 >= -SLACK and x1 <= width + SLACK and y1 <= height + SLACK
        assert inside, (
            f"{words!r} leaves the canvas: {x0:.0f} to {x1:.0f} of {width:.0f}, {y0:.0f} to {y1:.0f} of {height:.0f}"
        )
    for k, (words, a) in enumerate(boxes):
        for other, b in boxes[k + 1 :]:
            apart = a[0] >= b[2] - SLACK or b[0] >= a[2] - SLACK or a[1] >= b[3] - SLACK or b[1] >= a[3] - SLACK
            assert apart, f"{words!r} and {other!r} overlap"


def texts(canvas, renderer):
    """(words, (x0, y0, x1, y1)) of every text that is drawn; labels of ticks outside the limits are not."""
    hidden = set()
    for axis in canvas.axes:
        for which in "xy":
            one = getattr(axis, f"{which}axis")
            low, high = sorted(getattr(axis, f"get_{which}lim")())
            slack = 1e-9 * (high - low)
            for tick in [*one.get_major_ticks(), *one.get_minor_ticks()]:
                hidden.add(tick.label2)
                if not low - slack <= tick.get_loc() <= high + slack:
                    hidden.add(tick.label1)
    found = []
    for text in canvas.findobj(Text):
        if text.get_visible() and text.get_text().strip() and text not in hidden:
            found.append((text.get_text(), text.get_window_extent(renderer).extents))
    return found


def has_data(axis):
    """Whether a panel shows a line of data, dots, bars or hexagons with at least one finite point inside its limits."""
    (x0, x1), (y0, y1) = sorted(axis.get_xlim()), sorted(axis.get_ylim())
    for line in axis.lines:
        if line.get_transform() == axis.transData:
            for x, y in zip(*line.get_data()):
                if (
                    x0 <= x <= x1
                    and y0 <= y <= y1
                    and (line.get_marker() not in ("", "None") or len(line.get_xdata()) > 1)
                ):
                    return True
    return any(len(some.get_offsets()) or some.get_paths() for some in axis.collections)


def check_svg(path):
    """The SVG parses, and holds no text of a control character."""
    root = ET.parse(path).getroot()
    assert root.tag.endswith("svg") and len(list(root.iter())) > 20
