"""fansr-law: exponents against numpy and scipy, planted truths inside the bands, the published points, and bad input."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import optimize

from fansr.errors import DataError, NoAnswer
from fansr.scaling import bands, curves, joint_laws, law, points, study_picture
from fansr.streams import open_reader, open_writer

PUBLISHED = np.array([point[2:] for point in points.PUBLISHED])  # FLOPs, solved, R2 > 0.99, loss


def test_published_points_give_the_exponents_of_polyfit():
    x, solved, _, loss = PUBLISHED.T
    unsolved = curves.fit("unsolved", x, solved)
    slope, level = np.polyfit(np.log(x), np.log(1 - solved), 1)
    assert unsolved.parameters["a"] == pytest.approx(-slope) == pytest.approx(0.145, abs=0.0005)
    assert np.log(unsolved.parameters["A"]) == pytest.approx(level)
    power = curves.fit("power", x, loss)
    assert (
        power.parameters["a"]
        == pytest.approx(-np.polyfit(np.log(x), np.log(loss), 1)[0])
        == pytest.approx(0.26, abs=0.005)
    )
    # The forms differ by two decades where 80 % are solved.
    assert unsolved.where(0.8) == pytest.approx(1.8e21, rel=0.05)
    assert curves.fit("logistic", x, solved).where(0.8) == pytest.approx(1.2e20, rel=0.1)
    assert curves.fit("power", x, solved).where(0.8) == pytest.approx(2.6e19, rel=0.05)
    shown = run("published", "--y", "solved", "--predict", "0.8")
    assert shown.exit_code == 0 and all(place in shown.output for place in ("1.85e+21", "1.21e+20", "2.63e+19"))


def test_standard_errors_and_shifted_are_those_of_curve_fit():
    rng = np.random.default_rng(0)
    x = np.geomspace(1e3, 1e9, 30)
    y = (0.3 + 40.0 * x**-0.4) * np.exp(0.01 * rng.normal(size=30))
    found = curves.fit("shifted", x, y)
    wanted, covariance = optimize.curve_fit(
        lambda u, e, a, b: np.log(np.exp(e) + np.exp(a - b * u)), np.log(x), np.log(y), p0=[-1.0, 3.0, 0.5]
    )
    assert found.parameters["E"] == pytest.approx(np.exp(wanted[0]), rel=1e-4)
    assert found.parameters["a"] == pytest.approx(wanted[2], rel=1e-4)
    assert found.errors["a"] == pytest.approx(np.sqrt(covariance[2, 2]), rel=1e-2)
    straight = curves.fit("power", x, y)
    _, covariance = np.polyfit(np.log(x), np.log(y), 1, cov=True)
    assert straight.errors["a"] == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-9)
    assert found.aicc < straight.aicc - 10  # the level is in these data


def test_aicc_of_another_scale_counts_the_density_of_y():
    """Log-normal data favour the log scale over a logistic of the same straight line's quality, by the likelihood of y itself."""
    x, solved = PUBLISHED[:, 0], PUBLISHED[:, 1]
    one = curves.fit("logistic", x, solved)
    g = np.log(solved / (1 - solved))
    residuals = g - np.polyval(np.polyfit(np.log(x), g, 1), np.log(x))
    n, variance = 5, np.mean(residuals**2)
    density = -0.5 * n * np.log(2 * np.pi * variance) - n / 2 - np.sum(np.log(solved * (1 - solved)))
    assert one.aicc == pytest.approx(-2 * density + 6 + 2 * 3 * 4 / (5 - 3 - 1))


def test_bands_hold_the_truth():
    """300 planted sets of runs, 4 sizes x 3 seeds x 3 lengths with an error of each cluster: 90 to 99 % of bands hold the law."""
    rng = np.random.default_rng(3)
    held, in_parameters = 0, 0
    for trial in range(300):
        x, y, clusters = [], [], []
        for size in range(4):
            for seed in range(3):
                shared = 0.03 * rng.normal()
                for length in range(3):
                    flops = 10.0 ** (10 + 0.7 * size + 0.4 * length)
                    x.append(flops)
                    y.append(30 * flops**-0.15 * np.exp(shared + 0.01 * rng.normal()))
                    clusters.append((size, seed))
        x, y = np.array(x), np.array(y)
        curve = curves.fit("power", x, y)
        grid = np.array([1e12])
        low, high, limits = bands.band(curve, x, y, clusters, grid, times=200, seed=trial)
        held += bool(low[0] <= 30 * 1e12**-0.15 <= high[0])
        in_parameters += bool(limits["a"][0] <= 0.15 <= limits["a"][1])
    assert 270 <= held <= 297
    assert 270 <= in_parameters <= 297


@pytest.mark.parametrize(
    ("sets", "least", "most"), [(10, 8, 10), pytest.param(100, 90, 99, marks=pytest.mark.prove)], ids=["ten", "hundred"]
)
def test_chinchilla_intervals_hold_what_was_planted(sets, least, most):
    """42 runs with errors of 0.2 %: each parameter's intervals of 95 % hold it in that many of the sets."""
    N = np.repeat(np.geomspace(1e5, 1e8, 7), 6)
    D = N * np.tile(np.geomspace(3, 100, 6), 7)
    truth = {"E": 0.4, "A": 60.0, "a": 0.35, "B": 300.0, "b": 0.37}
    inside = dict.fromkeys(truth, 0)
    for trial in range(sets):
        noise = np.exp(0.002 * np.random.default_rng(trial).normal(size=42))
        loss = (truth["E"] + truth["A"] * N ** -truth["a"] + truth["B"] * D ** -truth["b"]) * noise
        found = joint_laws.chinchilla(N, D, loss, starts=12)
        limits = joint_laws.chinchilla_bands(N, D, loss, found, np.arange(42), times=200 if sets > 10 else 100)
        for name, value in truth.items():
            inside[name] += limits[name][0] <= value <= limits[name][1]
        again = found["E"] + found["A"] * N ** -found["a"] + found["B"] * D ** -found["b"]
        np.testing.assert_allclose(again, loss, rtol=0.01)
    assert all(least <= n <= most for n in inside.values()), inside
    # scipy's own minimizer, begun at the truth, finds nothing better.
    u, v, g = np.log(N), np.log(D), np.log(loss)
    begin = [np.log(0.4), np.log(60), 0.35, np.log(300), 0.37]
    other = optimize.minimize(
        lambda p: joint_laws.huber(np.logaddexp.reduce(joint_laws.parts_of(p[None], u, v)[0], axis=0) - g), begin,
        method="Nelder-Mead", options={"maxiter": 20000, "maxfev": 20000, "xatol": 1e-9, "fatol": 1e-9},
    )  # fmt: skip
    assert found["huber"] <= other.fun * 1.001


def test_best_ratio_and_isoflop_find_a_planted_valley():
    rows = []
    for N in np.geomspace(1e4, 1e6, 9):
        for ratio in (5, 10, 20, 40, 80):
            C = 6 * N * N * ratio
            best = 15 * (C / 1e12) ** 0.1
            rows.append((C, ratio, np.exp(-0.1 * np.log(C) + 0.05 * np.log(ratio / best) ** 2), N))
    C, ratio, loss, N = np.array(rows).T
    found = joint_laws.valley(C, ratio, loss, N, times=100)
    middle = 15 * (found.middle / 1e12) ** 0.1
    assert found.ratio == pytest.approx(middle, rel=0.01)
    assert found.slope == pytest.approx(0.1, abs=0.01)
    assert found.size_exponent + found.data_exponent == pytest.approx(1.0)
    levels = [level for level in joint_laws.isoflop(C, ratio, loss, N) if level["best"]]
    assert levels
    for level in levels:
        assert level["best"] == pytest.approx(15 * (level["flops"] / 1e12) ** 0.1, rel=0.25)


def test_frontier_is_what_nothing_beats():
    rng = np.random.default_rng(5)
    x, y = rng.integers(1, 30, 200).astype(float), rng.normal(size=200)
    for high in (False, True):
        kept = set(joint_laws.frontier(x, y, high).tolist())
        better = (lambda a, b: a > b) if high else (lambda a, b: a < b)
        for i in range(200):
            beaten = any(x[j] <= x[i] and (better(y[j], y[i])) for j in range(200))
            assert (i in kept) == (not beaten)


def runs_file(path, n=12, **changes):
    with open_writer(str(path), holds="run", history=[]) as writer:
        for i in range(n):
            flops = 10.0 ** (10 + i / 4)
            record = {
                "kind": "run", "id": f"r{i}", "size": "ab"[i % 2], "seed": i % 3, "flops": flops, "params": 1e4 * 2**i,
                "tokens": 2e5 * 2**i, "loss": 20 * flops**-0.1 * (1 + 0.01 * (i % 3)), "solved": 1 - 3 * flops**-0.1,
                "status": "finished",
            }  # fmt: skip
            writer.write({**record, **{key: make(i) for key, make in changes.items()}})
    return str(path)


def run(*words):
    return CliRunner().invoke(law.law, [*words])


def test_the_command_prints_all_that_are_tied_and_draws(tmp_path):
    file = runs_file(tmp_path / "runs.zst")
    shown = run(
        file,
        "--y",
        "solved",
        "--by",
        "size",
        "--pooled",
        "--predict",
        "solved=0.8",
        "--upto",
        "1e16",
        "--plot",
        str(tmp_path / "a.png"),
    )
    assert shown.exit_code == 0, shown.output
    assert "unsolved" in shown.output and "beyond the data" in shown.output
    assert (tmp_path / "a.png").stat().st_size > 5000
    found = json.loads(run(file, "--y", "solved", "--json", "--predict", "0.8", "-q").stdout)
    best = found["laws"][0]
    assert best["form"] == "unsolved" and best["parameters"]["a"] == pytest.approx(0.1, rel=1e-6)
    assert best["predictions"]["predict"]["x"] == pytest.approx((3 / 0.2) ** 10, rel=1e-4)
    again = json.loads(run(file, "--frontier", "--isoflop", "--by", "size", "--json", "-q").stdout)
    assert again["frontier"] and again["laws"][0]["by"] == "frontier"


def test_free_form_is_found_by_the_search(tmp_path):
    file = runs_file(tmp_path / "runs.zst", loss=lambda i: 20 * (10.0 ** (10 + i / 4)) ** -0.5)
    found = json.loads(run(file, "--free", "--time", "1", "--json", "-q", "--upto", "1e14").stdout)
    free = [one for one in found["laws"] if one["form"] == "free"]
    chosen = next(one for one in free if one["chosen"])
    assert chosen["predictions"]["upto"]["y"] == pytest.approx(20 * 1e14**-0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "words", "status", "said"),
    [
        ({}, ["--y", "nothing"], 1, "no record has numbers in both flops and nothing"),
        ({"status": lambda i: "failed" if i > 2 else "finished"}, [], 1, "3 points"),
        ({"flops": lambda i: 1e12}, [], 1, "at 1 value of flops"),
        ({"loss": lambda i: -1.0}, [], 3, "y must be positive"),
        ({}, ["--y", "solved", "--predict", "1.5"], 2, "between 0 and 1"),
        ({}, ["--form", "cubic"], 2, "known forms are"),
        ({"tokens": lambda i: 0}, ["--isoflop"], 1, "need params, tokens and flops"),
    ],
)
def test_bad_input_is_told_in_a_line(tmp_path, changes, words, status, said):
    shown = run(runs_file(tmp_path / "runs.zst", **changes), *words)
    assert shown.exit_code == status
    assert said in shown.output


def test_few_clusters_are_resampled_run_by_run():
    """Of two clusters most resamples are one alone; a band of them would end at the fit itself."""
    assert bands.resampled_together([0, 0, 1, 1, 1]) == [0, 1, 2, 3, 4]
    assert bands.resampled_together([0, 1, 2, 3, 4, 4]) == [0, 1, 2, 3, 4, 4]


def test_diverged_runs_are_left_out_and_counted(tmp_path):
    shown = run(runs_file(tmp_path / "runs.zst", status=lambda i: "failed" if i == 3 else "finished"))
    assert "left out: 1 status failed" in shown.output
    with pytest.raises(DataError, match="at least 4"):
        curves.fit("power", np.array([1.0, 2, 3]), np.array([1.0, 2, 3]))


@pytest.fixture
def study_runs(tmp_path):
    """Runs of three sizes and a variant, two seeds, three ratios, and a grid of two rates: file."""
    told = {
        "kind": "run", "stage": "ratios", "lr": 1e-3, "status": "finished", "solved_at": {"1": 0.1, "8": 0.3}, "batch": 32,
        "solved": 0.3, "solved_held": 0.2, "r2_99": 0.5, "r2_99_held": 0.4, "samples_drawn": 8,
    }  # fmt: skip
    records = []
    for size, N in (("a", 1e4), ("b", 3e4), ("c", 9e4), ("c-set", 1e5)):
        for seed in (0, 1):
            for ratio in (5.0, 20.0, 80.0):
                flops = 6 * N * N * ratio
                some = {"loss": flops**-0.1 * (1 + 0.01 * seed), "params": N, "tokens": N * ratio, "flops": flops}
                records.append({**told, "size": size, "seed": seed, "ratio": ratio, **some})
    records += [{**records[0], "stage": "grid", "lr": lr, "loss": loss} for lr, loss in ((1e-3, 2.0), (2e-3, 1.0))]
    with open_writer(str(tmp_path / "runs.zst"), holds="run", history=[]) as writer:
        for i, record in enumerate(records):
            writer.write({**record, "id": str(i)})
    return tmp_path / "runs.zst"


def test_the_study_is_one_picture_of_all_that_runs_answer(study_runs):
    picture = study_runs.with_name("study.png")
    shown = run(str(study_runs), "--study", str(picture))
    assert shown.exit_code == 0, shown.output
    assert picture.stat().st_size > 30_000
    nothing = run(str(study_runs), "--where", "status == 'failed'", "--study", str(picture))
    assert nothing.exit_code == 3 and "no finished runs" in nothing.output


def test_a_file_for_each_picture(study_runs):
    """Of all twelve panels: both shares as one, and what these runs do not answer said."""
    where = study_runs.with_name("law-{}.png")
    shown = run(str(study_runs), "--study", str(where))
    assert shown.exit_code == 0, shown.output
    made = {path.stem.removeprefix("law-") for path in where.parent.glob("law-*.png")}
    assert made == {"loss", "solved", "draws", "held", "spread", "grid", "encoder"}
    said = [line for line in shown.output.splitlines() if "nothing to show" in line]
    left = ("isoflop", "constants", "notation", "others")  # no level of compute that three of these sizes reach
    assert len(said) == 4 and all(any(name in line for line in said) for name in left)
    nothing = run(str(study_runs), "--study", str(where), "--panels", "constants,notation")
    assert nothing.exit_code == 3 and "nothing to show of constants, notation" in nothing.output


def test_each_panel_is_a_picture_by_itself(study_runs):
    """What each shows: lines of the sizes, the least loss of the grid in bold, a variant beside its size."""
    with open_reader(str(study_runs), holds="run") as reader:
        runs = list(reader)
    assert set(law.STUDY) == {*study_picture.MAIN, "grid", "others", *study_picture.VARIANTS}

    def axes_of(name, scores=None):
        return study_picture.draw(runs, (name,), scores).axes

    for name in ("loss", "solved", "r2", "held", "draws"):
        (axis,) = axes_of(name)
        assert {"a", "b", "c"} <= {text.split(",")[0] for text in axis.get_legend_handles_labels()[1]}
    assert all("best of 8" in axes_of(name)[0].get_ylabel() for name in ("solved", "r2", "held", "encoder"))
    (axis,) = axes_of("grid")
    assert [text.get_text() for text in axis.texts if text.get_weight() == "bold"] == ["1.000"]
    one, other = axes_of("encoder")
    assert [axis.get_legend_handles_labels()[1] for axis in (one, other)] == [["c", "c-set"]] * 2
    # Of several rates of the size the one that its variant had too, though it was trained less often at that.
    other = [{**run, "lr": 5e-3, "solved_held": 0.9} for run in runs if run["size"] == "c" and run["stage"] != "grid"]
    axis = study_picture.draw([*other, *other, *runs], ("encoder",)).axes[0]
    assert max(max(line.get_ydata()) for line in axis.lines) == pytest.approx(0.2)
    (axis,) = axes_of("spread")
    assert axis.lines[0].get_ydata() == pytest.approx([100 * 0.01 / 1.005] * 3)
    scores = {"mine": [{"solved": i < 3, "r2_99_val": i < 6} for i in range(10)]}
    (axis,) = axes_of("others", scores)
    assert sorted(bar.get_height() for bar in axis.patches) == pytest.approx([0.3, 0.6])
    with pytest.raises(NoAnswer, match="nothing to show of notation"):
        axes_of("notation")
    shown = run(str(study_runs), "--panels", "grid,maps", "--study", "a.png")
    assert shown.exit_code == 2 and "maps: known panels are loss" in shown.output
    assert "goes with --study" in run(str(study_runs), "--panels", "grid").output
