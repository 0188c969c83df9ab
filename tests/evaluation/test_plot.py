"""fansr-plot: every kind of picture is drawn from records, holds the numbers it should, and fails in words."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

matplotlib = pytest.importorskip("matplotlib")

from fansr.evaluation import plot, plot_style  # noqa: E402
from fansr.evaluation.metrics import bootstrap  # noqa: E402
from fansr.expressions.infix import from_infix  # noqa: E402
from fansr.fitting.problem import Candidate, Problem  # noqa: E402
from fansr.streams.reader_writer import open_writer  # noqa: E402


def fits(budgets=(1.0,), points=(512,), noises=(0.0,), methods=("fansr", "operon")):
    rng = np.random.default_rng(0)
    made = []
    for method in methods:
        for budget in budgets:
            for m in points:
                for noise in noises:
                    for law in range(12):
                        fvu = 10.0 ** rng.uniform(-30, 1) if law % 3 else 1e-31
                        made.append(
                            {
                                "kind": "fit",
                                "problem": len(made),
                                "law": f"law {law}",
                                "group": ("easy", "medium", "hard")[law % 3],
                                "expr": from_infix("2*x1"),
                                "consts": np.zeros(0),
                                "fvu": fvu,
                                "fvu_val": fvu,
                                "status": "ok",
                                "seconds": budget * rng.uniform(0.2, 1),
                                "truth": {"expr": from_infix("x1*x2"), "infix": "x1*x2"},
                                "method": method,
                                "budget": budget,
                                "points": m,
                                "noise": noise,
                                "source": "test",
                            }
                        )
    return made


def written(tmp_path, records, holds="fit"):
    path = str(tmp_path / f"{holds}{len(records)}.zst")
    with open_writer(path, holds) as writer:
        for record in records:
            writer.write(record)
    return path


def run(*args):
    result = CliRunner().invoke(plot.main, [*args])
    return result.exit_code, result.stderr


def is_picture(path, kind):
    head = Path(path).read_bytes()[:8]
    return head.startswith(b"\x89PNG") if kind == "png" else head.startswith(b"<?xml")


@pytest.mark.parametrize(
    "more, kind",
    [
        ({"budgets": (1.0, 3.0)}, "time"),
        ({"points": (8, 64)}, "points"),
        ({"noises": (0.0, 0.01)}, "noise"),
        ({}, "laws"),
    ],
)
def test_the_kind_follows_from_what_varies(tmp_path, more, kind):
    records = fits(**more)
    assert plot.kind_of("fit", records) == kind
    for ending in ("png", "svg"):
        out = str(tmp_path / f"a.{ending}")
        assert run(written(tmp_path, records), "-o", out) == (0, f"{out}: {len(records)} records\n")
        assert is_picture(out, ending)


def test_recovery_curves_hold_the_means_and_intervals():
    scores = [
        {**s, "label": s["method"]} for s in map(plot.score_record, fits(budgets=(1.0, 3.0), methods=("operon",)))
    ]
    canvas = plot.draw("time", "score", {"": scores}, False)
    axes = canvas.axes
    line = axes[0].lines[0]
    for k, budget in enumerate((1.0, 3.0)):
        some = [s for s in scores if s["budget"] == budget]
        assert line.get_ydata()[k] == pytest.approx(100 * np.mean([s["vnrr"] for s in some]))
        assert line.get_xdata()[k] == pytest.approx(np.mean([s["seconds"] for s in some]))
    low, high = bootstrap([float(s["vnrr"]) for s in scores[:12]], [s["law"] for s in scores[:12]])
    corners = axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert corners.min() <= 100 * low + 1e-9 and corners.max() >= 100 * high - 1e-9
    assert axes[0].get_ylim() == (0.0, 100.0) and axes[0].get_xscale() == "log"
    assert [text.get_text() for text in canvas.legends[0].get_texts()] == ["operon"]


def test_intervals_of_many_series_are_bars_and_the_same_numbers():
    names = ("fansr", "operon", "gplearn", "pysr")
    scores = [{**s, "label": s["method"]} for s in map(plot.score_record, fits(budgets=(1.0, 3.0), methods=names))]
    left = plot.draw("time", "score", {"": scores}, False).axes[0]
    some = [s for s in scores if s["method"] == "gplearn" and s["budget"] == 3.0]
    low, high = bootstrap([float(s["vnrr"]) for s in some], [s["law"] for s in some])
    ends = [segment[:, 1] for bars in left.collections for segment in bars.get_segments()]
    assert len(ends) == 8 and any(np.allclose(sorted(end), [100 * low, 100 * high]) for end in ends)


def test_noise_zero_has_a_place_on_the_axis():
    canvas = plot.draw("noise", "fit", {"": fits(noises=(0.0, 1e-3, 1e-1))}, False)
    line = canvas.axes[0].lines[0]
    assert list(line.get_xdata()) == [0.0, 1e-3, 1e-1]
    shown = canvas.axes[0].transData.transform(np.column_stack([line.get_xdata(), line.get_ydata()]))
    assert np.isfinite(shown).all() and (np.diff(shown[:, 0]) > 1).all()


def test_a_line_has_a_gap_where_nothing_was_recovered():
    """The length of recovered laws at the noise at which none was: no straight line across it."""
    records = [
        {**fit, "fvu_val": 1.0 if fit["noise"] == 1e-2 else 0.0}
        for fit in fits(noises=(0.0, 1e-2, 1e-1), methods=("operon",))
    ]
    axes = plot.draw("noise", "fit", {"": records}, False).axes
    (axis,) = [axis for axis in axes if axis.get_ylabel() == "length ratio of recovered laws"]
    assert np.isfinite(axis.lines[0].get_ydata()).tolist() == [True, False, True]
    assert len(axis.collections[0].get_paths()) <= 2 and np.isfinite(axes[0].lines[0].get_ydata()).all()


def test_every_metric_of_appendix_l_has_a_panel():
    records = [{**fit, "logp": -3.0, "samples": 4 ** (fit["problem"] % 4)} for fit in fits()]
    canvas = plot.draw("draws", "fit", {"": records}, False, True)
    labels = [axis.get_ylabel() for axis in canvas.axes]
    assert len(labels) == len(set(labels)) >= 12 and "log probability" in labels and "excess constants" in labels
    for axis, label in zip(canvas.axes, labels):
        drawn = set(axis.lines[0].get_xdata())
        assert drawn <= {1, 4, 16, 64} and (len(drawn) == 4 or "recovered" in label or "imperfect" in label), label
    assert plot.kind_of("fit", records) == "draws"


def test_the_envelope_of_several_runs_is_their_power_law():
    """Runs that leave a known power law one after the other; what a run loses to it does not count."""
    flops = np.geomspace(1e12, 1e18, 40)
    best = 7.0 * flops**-0.14
    runs = {
        name: [
            {"kind": "metric", "split": "val", "flops": float(f), "loss": float(loss if lead else 1.3 * loss + 0.01)}
            for k, (f, loss) in enumerate(zip(flops, best))
            for lead in [(k < 20) == (name == "small")]
        ]
        for name in ("small", "large")
    }
    canvas = plot.draw("flops", "metric", runs, False)
    (axis,) = canvas.axes
    assert [line.get_label() for line in axis.lines] == ["small", "large", "envelope: FLOPs^-0.140"]
    np.testing.assert_allclose(axis.lines[-1].get_ydata(), best[[0, -1]], rtol=1e-9)


def test_published_lines_are_marked_as_such():
    axes = plot.draw("time", "fit", {"": fits(budgets=(1.0, 2.0))}, True).axes
    texts = [text.get_text() for text in axes[0].texts]
    assert len(texts) == 4 and all("published" in text for text in texts)


def test_laws_are_sorted_and_counted_by_difficulty():
    axes = plot.draw("laws", "fit", {"": fits(methods=("fansr",))}, False).axes
    assert [axis.get_title().split(":")[0] for axis in axes] == ["easy", "medium", "hard"]
    assert axes[0].get_title() == "easy: 4 of 4 recovered"
    shown = [text.get_text() for text in axes[0].figure.legends[0].get_texts()]
    assert [name.split(",")[0] for name in shown] == ["recovered", "approximate", "failed"]
    medians = [line.get_xdata()[0] for line in axes[1].lines if len(line.get_xdata()) == 1]
    assert medians == sorted(medians)


def test_series_stay_apart_without_colour():
    looks = [plot_style.style(k) for k in range(6)]
    assert len({(str(look["marker"]), str(look["linestyle"])) for look in looks}) == 6
    assert len({look["color"] for look in looks}) == 6


def fit_with_data(columns=1):
    rng = np.random.default_rng(1)
    X = rng.uniform(1, 3, (30, columns))
    y = 2.0 * X[:, 0] + rng.normal(0, 0.1, 30)
    return {
        "kind": "fit",
        "problem": 0,
        "expr": ["*", "<constant>", "x1"],
        "consts": np.array([2.0]),
        "fvu": 0.01,
        "status": "ok",
        "X": X,
        "y": y,
        "names": [f"c{j}" for j in range(columns)],
        "target": "t",
        "front": [
            {"expr": ["<constant>"], "consts": np.array([3.0]), "length": 1, "fvu": 1.0},
            {"expr": ["*", "<constant>", "x1"], "consts": np.array([2.0]), "length": 3, "fvu": 0.01},
            {"expr": ["+", "x1", "*", "<constant>", "x1"], "consts": np.array([1.0]), "length": 9, "fvu": 0.0},
        ],
    }


@pytest.mark.parametrize("columns", [1, 2])
def test_one_fit_shows_data_residuals_and_front(columns, tmp_path):
    record = fit_with_data(columns)
    canvas = plot.draw("fit", "fit", {"": [record]}, False)
    axes = {axis.get_ylabel(): axis for axis in canvas.axes}
    assert len(canvas.axes) == 4 and canvas.get_suptitle() == "t = 2*c0"
    dots = next(line for line in axes["residual of t"].lines if len(line.get_xdata()) == 30)
    assert np.allclose(dots.get_ydata(), record["y"] - 2.0 * record["X"][:, 0])
    assert axes["FVU, share of variance left"].get_yscale() == "log"
    path = written(tmp_path, [record])
    assert run(path, "-o", str(tmp_path / "f.png"))[0] == 0


def test_draw_fit_as_the_main_job_calls_it(tmp_path):
    record = fit_with_data()
    problem = Problem(record["X"], record["y"], record["names"], "t")
    best = Candidate(record["expr"], record["consts"], 0.01)
    plot.draw_fit(problem, best, [best, Candidate(["x1"], np.zeros(0), 0.5)], str(tmp_path / "f.svg"))
    assert is_picture(tmp_path / "f.svg", "svg")


def test_training_curves(tmp_path):
    records = [
        {"kind": "metric", "step": s, "split": split, "loss": 3.0 / (s + 1), "lr": 1e-3, "grad_norm": 1.0}
        for s in range(1, 20)
        for split in ("train", "val")
    ]
    axes = plot.draw("training", "metric", {"": records}, False).axes
    assert list(axes[0].lines[0].get_ydata())[:2] == [1.5, 1.0]
    assert run(written(tmp_path, records, "metric"), "-o", str(tmp_path / "t.svg"))[0] == 0


def test_simplification_ecdf(tmp_path):
    records = [{"kind": "skeleton", "id": i, "expr": ["x1"] * n, "raw_len": 4} for i, n in enumerate((1, 2, 4, 4))]
    axis = plot.draw("simplify", "skeleton", {"ours": records}, False).axes[0]
    x, share = axis.lines[0].get_data()
    assert dict(zip(x, share))[0.5] == 0.5 and share[-1] == 1.0
    assert run(written(tmp_path, records, "skeleton"), "-o", str(tmp_path / "s.png"))[0] == 0


def test_pictures_are_repeatable(tmp_path):
    path = written(tmp_path, fits())
    for name in ("a", "b"):
        assert run(path, "-o", str(tmp_path / f"{name}.svg"))[0] == 0
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_wrong_calls_and_data_are_one_line(tmp_path):
    path = written(tmp_path, fits())
    code, err = run(path, "-o", str(tmp_path / "a.bmp"))
    assert code == 2 and "wanted .png" in err
    code, err = run(path, "--kind", "training", "-o", str(tmp_path / "a.png"))
    assert code == 1 and "draws metric records" in err
    code, err = run(path, "--kind", "fit", "-o", str(tmp_path / "a.png"))
    assert code == 1 and "carries its data" in err
    code, err = run(path, "--where", "noise=0.5", "-o", str(tmp_path / "a.png"))
    assert code == 3 and "no records" in err
    assert run(path, "--where", "method=operon", "-o", str(tmp_path / "a.png"))[1].endswith(": 12 records\n")
    assert not list(tmp_path.glob("*.part"))
