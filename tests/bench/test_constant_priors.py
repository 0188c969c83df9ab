"""Figure 7: the tables its networks are asked for, and what is said of their differences; the training itself takes minutes."""

import json

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from bench import constant_priors  # noqa: E402
from fansr.corpus import prior as priors  # noqa: E402


def test_gaussians_are_those_of_their_cells():
    means, widths, problems = constant_priors.gaussians(3)
    assert len(problems) == 9 and means.tolist() == [-6, 0, 6]
    middle = problems[3 + 1]  # second width, second mean
    x = middle.X_val[:, 0]
    np.testing.assert_allclose(middle.y_val, np.exp(-(x**2) / (2 * widths[1] ** 2)), rtol=1e-12)
    assert np.abs(x).max() <= 3 * widths[1] and len(middle.y) == constant_priors.POINTS


def test_the_priors_differ_in_their_constants_alone():
    found = [priors.from_dict(constant_priors.parsed(name)) for name in constant_priors.PRIORS]
    assert [one.constants[0].kind for one in found] == ["uniform", "uniform", "normal"]
    for one in found[1:]:
        assert (one.skeletons, one.columns, one.variables) == (found[0].skeletons, found[0].columns, 1)


def test_pairs_are_counted_over_all_seeds_and_their_interval_is_over_tables():
    a = np.array([[True, True, False, False], [True, False, False, False]])
    b = np.array([[True, False, False, True], [False, False, False, False]])
    (row,) = constant_priors.pairs({"a": a, "b": b})
    assert (row["won"], row["lost"], row["n"]) == (2, 1, 8) and row["difference"] == pytest.approx(1 / 8)
    assert row["low"] < row["difference"] < row["high"]
    json.dumps(row)


def test_a_panel_says_how_many_were_recovered():
    means, widths, _ = constant_priors.gaussians(2)
    fits = {name: np.full((2, 4), 1e-12) for name in constant_priors.PRIORS}
    fits["U(1, 5)"][0, :3] = 0.1
    curves = {name: [np.array([[0, 3.0], [100, 2.0], [200, 1.5]])] * 2 for name in fits}
    canvas = constant_priors.picture(means, widths, fits, curves, "told")
    titles = [axis.get_title() for axis in canvas.axes[:3]]
    assert "62%" in titles[0].replace("\n", " ") and all("100%" in title for title in titles[1:])
    shown = canvas.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown.ravel(), [-6.5, -6.5, -6.5, -12.0])
