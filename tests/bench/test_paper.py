"""The figures of the paper: drawn whole from few draws, with the numbers they should hold."""

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib")

from bench import paper  # noqa: E402
from fansr.network import model_file, sample  # noqa: E402


@pytest.mark.parametrize("figure", ["1", "9", "11", "13", "18"])
def test_a_figure_is_one_command(figure, tmp_path):
    out = tmp_path / "figure.png"
    result = CliRunner().invoke(paper.main, [figure, "--draws", "16", "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_embeddings_are_compared_by_their_angle():
    canvas = paper.embeddings(1, None, "mixed")
    shown = canvas.axes[0].images[0].get_array()
    _, weights, _ = model_file.read_model(sample.model_path())
    a, b = weights["decoder.embed.weight"][[20, 30]].astype(float)
    assert shown[20, 30] == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b))) and np.allclose(np.diag(shown), 1.0)


def test_a_curve_is_extrapolated_by_its_own_law_with_a_band(monkeypatch):
    """Points of 30 + 9 log10(T) with small errors: the law's values and band far beyond them hold the line."""
    from fansr.fitting import Candidate

    seconds, ahead = np.logspace(0, 3, 12), np.array([1.0, 1e5])
    rate = 30 + 9 * np.log10(seconds) + 0.2 * np.sin(7 * np.arange(12))
    line = Candidate("+ * <constant> x1 <constant>".split(), np.polyfit(np.log10(seconds), rate, 1), 1e-3, "model")
    monkeypatch.setattr(paper, "candidates", lambda *_, **__: [line])
    text, values, low, high = paper.fitted_curve(seconds, rate, ahead, 8, None, "mixed")
    assert "log10_T" in text and np.all(low < values) and np.all(values < high)
    assert low[1] < 30 + 9 * 5 < high[1] and high[1] - low[1] < 2.0


def test_rewrites_are_sequences_that_are_one_law():
    rows = list(paper.decoders(32, None, "mixed", every=60))
    assert [row["decoder"] for row in rows] == ["tree", "beam"]
    for row in rows:
        assert row["distinct laws"] + row["rewrites"] == row["distinct"] <= row["sequences"] and row["laws"] == 2
    assert rows[0]["sequences"] == 64
