"""SymbolicRegressor.plot and report: the pictures and the page of the command, from Python."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from picture_checks import check_svg, look_at  # noqa: E402

from fansr import SymbolicRegressor  # noqa: E402
from fansr.errors import DataError  # noqa: E402


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 3, (40, 2))
    return SymbolicRegressor(time=0, proposers="power").fit(X, 2.5 * X[:, 0] ** 2 / X[:, 1] + rng.normal(0, 0.05, 40))


def test_plot_gives_a_figure_and_writes_it(model, tmp_path):
    canvas = model.plot(tmp_path / "law.svg")
    look_at(canvas)
    check_svg(tmp_path / "law.svg")
    assert len(canvas.axes) == 8 and canvas.get_suptitle().startswith("y = ")
    assert len(model.plot(pieces="slices").axes) == 2 and len(model.plot(pieces=["data", "front"]).axes) == 2


def test_another_law_of_the_front_can_be_drawn(model):
    line = model.plot(pieces="residuals", law=0).axes[0]
    dots = next(one for one in line.lines if len(one.get_xdata()) == 40)
    X, y = model._table[0].X, model._table[0].y
    assert np.allclose(dots.get_ydata(), y - model.predict(X, law=0))


def test_report_is_a_page(model, tmp_path):
    model.report(tmp_path / "law.html")
    root = ET.parse(tmp_path / "law.html").getroot()
    assert "SymbolicRegressor(" in "".join(root.itertext())


def test_what_cannot_be_drawn_is_said(model, tmp_path):
    with pytest.raises(DataError, match="unknown piece pie"):
        model.plot(pieces="pie")
    model.save(tmp_path / "law.json")
    loaded = SymbolicRegressor.load(tmp_path / "law.json")
    with pytest.raises(RuntimeError, match="call fit first"):
        loaded.plot()
