"""Every picture the commands can make, looked at by the renderer: several laws, shapes of tables, awkward names and numbers."""

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from picture_checks import check_svg, look_at  # noqa: E402

from fansr.evaluation import plot, plot_fit, plot_style  # noqa: E402
from fansr.evaluation.fitted import Fitted  # noqa: E402
from fansr.expressions import evaluate, from_infix, n_constants  # noqa: E402
from fansr.fitting import Candidate, Problem  # noqa: E402

LONG = " + ".join(f"C*sin(C*x1 + {k})*exp(-x2/{k})" for k in range(2, 9))


def fitted(
    law, consts=None, M=40, D=1, noise=0.0, names=None, target="y", spread=(1.0, 4.0), factor=1.0, sigma=None, aside=0
):
    """A Fitted of a law as text (C for constants) over M rows of D columns."""
    rng = np.random.default_rng(0)
    X = rng.uniform(*spread, (M, D)) * factor
    expr = from_infix(law)
    consts = np.array([2.0] * n_constants(expr) if consts is None else consts, dtype=float)
    with np.errstate(all="ignore"):
        y = evaluate(expr, X, consts)
    scale = np.abs(y).max() or 1.0  # whose square may be no float
    deviation = float(np.std(y / scale)) * scale or 1.0
    y = y + noise * deviation * rng.normal(size=M)
    names = names or [f"x{j + 1}" for j in range(D)]
    problem = Problem(X, y, names, target)
    if sigma:
        problem.weights, problem.known = np.full(M, 1 / (sigma * deviation) ** 2), True
    mean = ["<constant>"]
    front = [
        Candidate(mean, np.array([y.mean()]), 1.0),
        Candidate(["*", "<constant>", "x1"], np.array([1.2345678]), 0.3),
        Candidate(["+", "<constant>", "*", "<constant>", "x1"], np.array([1.2345678, -7.5e-9]), 0.29),
        Candidate(expr, consts, max(noise**2, 0.0)),
        Candidate([*"++", "x1", "x1", *expr], consts, noise**2 / 2),
    ]
    best = front[0] if law == "C" else front[3]
    return Fitted.of(problem, best, front, range(aside))


CASES = {
    "one column": dict(law="C*x1**2 + C", noise=0.05),
    "one column of several": dict(law="C*x2", D=4, noise=0.05),
    "two columns": dict(law="C*x1*x2 + C", D=2, noise=0.05),
    "six columns": dict(law="C*x1*x2 + C*x3/x4 + x5*x6", D=6, noise=0.05),
    "no column": dict(law="C", D=3, noise=1.0),
    "no column of one": dict(law="C", noise=1.0),
    "exact": dict(law="x1*x2 + x3/x4", D=4),
    "stated errors": dict(law="C*exp(C*x1)", consts=[2.0, -0.5], noise=0.05, sigma=0.05),
    "stated errors, two columns": dict(law="C*x1 + C*x2", D=2, noise=0.05, sigma=0.05),
    "set aside": dict(law="C*x1**2", noise=0.05, aside=4),
    "decades": dict(law="C*x1**1.5", spread=(1e-6, 1e6), noise=0.01),
    "huge numbers": dict(law="C*x1", factor=1e200, noise=0.05),
    "tiny numbers": dict(law="C*x1", factor=1e-200, noise=0.05),
    "far from zero": dict(law="x1 + 1234567890", spread=(0.0, 1e-3), noise=0.05),
    "two rows": dict(law="C*x1", M=2),
    "three rows": dict(law="C*x1", M=3, noise=0.1),
    "a column of one value": dict(law="C*x1 + C*x2", D=2, spread=(2.0, 2.0)),
    "undetermined": dict(law="C*exp(C*x1)", consts=[1.0, -900.0], noise=0.0),
    "long law": dict(law=LONG, D=2, noise=0.02),
    "long names": dict(
        law="C*x1*x2 + C*x1", D=2, noise=0.05, target="the quantity measured by the second instrument, kg m^2 s^-3 " * 3,
        names=["a column whose name is a whole sentence about what it holds and how it was measured", "x" * 300],
    ),
    "awkward names": dict(law="C*x1*x2", D=2, noise=0.05, names=["$x_1^{", "<b>&\x00\n\t"], target="\\frac{$"),
    "other scripts": dict(law="C*x1", noise=0.05, names=["温度"], target="λ ν, Größe"),
    "dates": dict(law="C*x1 + C", spread=(19700.0, 20100.0), noise=0.02, names=["date, days since 1970-01-01"]),
    "many rows": dict(law="C*x1*x2 + C", D=2, noise=0.1, M=20000),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_fit_is_drawn_whole(case, tmp_path):
    fit = fitted(**CASES[case])
    canvas = plot_fit.fit_figure(fit)
    look_at(canvas)
    if fit.law.prefix[0] != "+":  # half of them
        path = str(tmp_path / "fit.svg")
        plot_style.save(canvas, path)
        check_svg(path)


def test_a_million_rows_are_counted_not_drawn_one_by_one(tmp_path):
    fit = fitted(law="C*x1", noise=0.1, M=1_000_000)
    canvas = plot_fit.fit_figure(fit, ["data", "residuals"])
    look_at(canvas)
    path = tmp_path / "fit.svg"
    plot_style.save(canvas, str(path))
    check_svg(str(path))
    assert path.stat().st_size < 4e6


@pytest.mark.parametrize("piece", plot_fit.PIECES)
def test_every_piece_can_be_had_alone(piece):
    look_at(plot_fit.fit_figure(fitted(law="C*x1 + C", noise=0.05), [piece]))


def test_error_bars_are_the_stated_errors():
    fit = fitted(law="C*x1", noise=0.05, sigma=0.07)
    axis = plot_fit.fit_figure(fit, ["data"]).axes[0]
    bars = [np.ptp(segment[:, 1]) / 2 for some in axis.containers for segment in some[2][0].get_segments()]
    assert np.allclose(bars, fit.sigma) and len(bars) == len(fit.y)


def test_the_band_is_that_of_scipys_covariance():
    from scipy.optimize import curve_fit
    from scipy.stats import t

    fit = fitted(law="C*exp(C*x1)", consts=[2.0, -0.5], noise=0.05, M=30)
    x, y = fit.X[:, 0], fit.y
    best, covariance = curve_fit(lambda x, a, b: a * np.exp(b * x), x, y, p0=[2.0, -0.5])
    law = Candidate(
        list(fit.law.prefix),
        best,
        float(np.sum((y - best[0] * np.exp(best[1] * x)) ** 2) / np.sum((y - y.mean()) ** 2)),
    )
    fit = Fitted.of(fit.problem, law)
    at = np.linspace(1, 4, 7)[:, None]
    J = np.stack([np.exp(best[1] * at[:, 0]), best[0] * at[:, 0] * np.exp(best[1] * at[:, 0])])
    error = np.sqrt(np.einsum("am,ab,bm->m", J, covariance, J))
    assert np.allclose(fit.band(at), t.ppf(0.975, 28) * error, rtol=1e-4)
    noise = np.sqrt(np.sum((y - best[0] * np.exp(best[1] * x)) ** 2) / 28)
    assert np.allclose(fit.band(at, new_rows=True), t.ppf(0.975, 28) * np.hypot(error, noise), rtol=1e-4)


def test_noise_in_proportion_gives_a_band_in_proportion():
    fit = fitted(law="C*x1", noise=0.0, M=200)
    y = fit.y * np.random.default_rng(3).normal(1, 0.05, 200)
    best = Candidate(list(fit.law.prefix), np.array([2.0]), 0.01)
    fit = Fitted.of(Problem(fit.X, y, ["x"]), best, weights=1 / fit.y**2)
    half = fit.band(np.array([[1.0], [4.0]]), new_rows=True)
    assert half[1] == pytest.approx(4 * half[0]) and half[0] == pytest.approx(1.96 * 0.05 * 2.0, rel=0.2)
    look_at(plot_fit.fit_figure(fit))


def test_a_slice_holds_the_other_columns_at_their_medians():
    fit = fitted(law="C*x1*x2", D=2, noise=0.05)
    axis = plot_fit.fit_figure(fit, ["slices"]).axes[0]
    j = plot_fit.effects(fit)[0]
    line = next(line for line in axis.lines if line.get_label() == "law")
    assert np.allclose(line.get_ydata(), 2.0 * line.get_xdata() * np.median(fit.X[:, 1 - j]))
    rows, closeness = plot_fit.near_slice(fit, j)
    ranks = np.argsort(np.argsort(fit.X[:, 1 - j]))
    far = np.abs(ranks[rows] - 19.5)
    assert len(rows) == plot_fit.NEAR_ROWS[0] and far.max() <= 6.5 and np.all(np.diff(closeness) <= 0)


def test_the_column_that_moves_the_law_most_comes_first():
    assert plot_fit.effects(fitted(law="x1 + 10*x3 + 3*x2", D=3)) == [2, 1, 0]


def test_normal_quantiles_of_gaussian_noise_lie_on_the_line():
    axis = plot_fit.fit_figure(fitted(law="C*x1 + C", noise=0.1, M=4000), ["quantiles"]).axes[0]
    expected, values = next(line for line in axis.lines if len(line.get_xdata()) > 100).get_data()
    inner = np.abs(expected) < 2
    assert np.abs(values - expected)[inner].max() < 0.15


def test_a_title_tells_parts_of_pi():
    title = plot_fit.fit_figure(fitted("sin(C*x1)", consts=[np.pi / 6])).get_suptitle()
    assert "pi/6" in title and "0.52" not in title


def test_laws_of_a_front_stand_at_their_points():
    fit = fitted(law="C*x1**2 + C", noise=0.05)
    axis = plot_fit.fit_figure(fit, ["front"]).axes[0]
    labels = {text.get_text(): text.xy for text in axis.texts}
    assert labels[fit.text(4)] == (fit.law.length, pytest.approx(0.05**2)) and len(labels) >= 4


def records(groups, laws=3, name="law", **more):
    return [
        {
            "kind": "score", "success": True, "law": f"{name} {k}", "group": group, "method": method, "problem": 0,
            "best": {"fvu_val": 10.0 ** -(7 * k + 1)}, "vnrr": float(k > 0), "seconds": 0.5, "points": 64, "noise": 0.0,
            "budget": 1.0, "length_ratio_recovered": 1.1 if k else None, **more,
        }
        for group in groups
        for method in ("fansr",)
        for k in range(laws)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "groups, laws", [(["laws"], 1), (["laws"], 60), (["easy", "hard"], 2), (["easy", "medium", "hard"], 9)]
)
def test_laws_are_drawn_whole(groups, laws):
    canvas = plot.draw("laws", "score", {"": records(groups, laws, "a law whose name is long")}, False)
    look_at(canvas)
    shown = [label.get_text() for axis in canvas.axes for label in axis.get_yticklabels()]
    assert sorted(shown) == sorted(f"a law whose name is long {k}" for k in range(laws) for _ in groups)


@pytest.mark.parametrize(
    "kind, methods, published", [("time", 6, True), ("time", 1, False), ("points", 6, True), ("noise", 2, True)]
)
def test_recovery_is_drawn_whole(kind, methods, published):
    field = {"time": "budget", "points": "points", "noise": "noise"}[kind]
    values = {"time": [1.0, 3.0, 10.0], "points": [2**k for k in range(2, 12)], "noise": [0.0, 1e-3, 1e-2, 0.1]}[kind]
    some = []
    for m in range(methods):
        for value in values:
            for record in records(["easy"], 4):
                some.append(
                    record
                    | {field: value, "seconds": value, "method": f"method {m} of somebody", "label": f"method {m}"}
                )
    look_at(plot.draw(kind, "score", {"": some}, published))


def test_nothing_recovered_leaves_no_empty_panel():
    some = [
        r | {"vnrr": 0.0, "length_ratio_recovered": None, "budget": b} for b in (1.0, 3.0) for r in records(["easy"])
    ]
    canvas = plot.draw("time", "score", {"": some}, False)
    look_at(canvas)
    assert len(canvas.axes) == 1


@pytest.mark.parametrize("steps", [1, 2, 5000])
@pytest.mark.parametrize(
    "more", [{"lr": 1e-3, "grad_norm": 0.7}, {"lr": None, "grad_norm": None}, {"lr": 0.0, "grad_norm": 0.0}]
)
def test_training_of_any_length_is_drawn(steps, more):
    some = [
        {"kind": "metric", "step": step, "split": split, "loss": 20 / (1 + step), **(more if split == "train" else {})}
        for step in range(1, steps + 1)
        for split in ("train", "val")
    ]
    canvas = plot.draw("training", "metric", {"": some}, False)
    look_at(canvas)
    assert len(canvas.axes) == (1 if more["lr"] is None else 3)


@pytest.mark.parametrize("timed", [False, True])
def test_simplification_is_drawn_whole(timed):
    series = {
        f"a file with a long name {k}": [
            {"expr": ["x1"] * (n % 5 + 1), "raw_len": 5, **({"seconds": 1e-4 * (n + 1)} if timed else {})}
            for n in range(30)
        ]
        for k in range(4)
    }
    canvas = plot.draw("simplify", "skeleton", series, False)
    look_at(canvas)
    assert len(canvas.axes) == 1 + timed


def test_every_picture_has_the_same_sizes_of_text():
    """Titles, labels and legends are as large in a picture of one kind as in one of any other."""
    drawn = [
        plot_fit.fit_figure(fitted(law="C*x1 + C", noise=0.05)),
        plot.draw("laws", "score", {"": records(["easy"])}, False),
        plot.draw("time", "score", {"": [r | {"budget": b} for b in (1.0, 3.0) for r in records(["easy"])]}, False),
        plot.draw("training", "metric", {"": [{"kind": "metric", "step": 1, "split": "train", "loss": 2.0}]}, False),
    ]
    sizes = [
        {
            *(("label", axis.xaxis.label.get_fontsize()) for axis in canvas.axes if axis.get_xlabel()),
            *(("label", axis.yaxis.label.get_fontsize()) for axis in canvas.axes if axis.get_ylabel()),
            *(("title", axis.title.get_fontsize()) for axis in canvas.axes if axis.get_title()),
            *(("legend", text.get_fontsize()) for legend in canvas.legends for text in legend.get_texts()),
        }
        for canvas in drawn
    ]
    assert set().union(*sizes) <= {("label", 9.0), ("title", 9.0), ("legend", 8.0)} and all(sizes)


@pytest.mark.parametrize(
    "low, high", [(1.0, 1e9), (0.3, 40.0), (0.02, 1.1), (7.0, 8.0), (1e-300, 1e300), (99.0, 101.0)]
)
def test_logarithmic_ticks_are_few_round_and_inside(low, high):
    ticks = plot_style.log_ticks(low, high)
    assert 2 <= len(ticks) <= 7 and all(low <= tick <= high for tick in ticks) and ticks == sorted(ticks)
    assert len({plot_style.number(tick, 6) for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(
    "value, text",
    [(0.0, "0"), (1500.0, "1500"), (123456.0, "123456"), (0.02, "0.02"), (3e-7, "3·10⁻⁷"), (-1e9, "−10⁹"), (1.5e300, "1.5·10³⁰⁰")],
)  # fmt: skip
def test_numbers_for_people(value, text):
    assert plot_style.number(value) == text


def test_wrapping_keeps_every_character_that_there_is_room_for():
    text = "y = 1.5*sin(2.25*x + 0.5) + 3*exp(-x/4)*cos(1.5*x**2 - 1)"
    for width in (8, 13, 20, 100):
        lines = plot_style.wrapped(text, width, 99).split("\n")
        assert all(len(line) <= width for line in lines)
        assert "".join("".join(lines).split()) == "".join(text.split())
    assert plot_style.wrapped(text, 20, 2).endswith("…") and plot_style.wrapped("x" * 50, 20, 99) == "\n".join(
        ["x" * 20, "x" * 20, "x" * 10]
    )
