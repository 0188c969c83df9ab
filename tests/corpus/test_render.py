"""render and its kernels against numpy, scipy and the distributions they claim."""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from fansr.corpus import draw_kernels, gen, law_files, random_columns, render
from fansr.corpus.prior import Draw, Prior, Skeletons, load
from fansr.errors import DataError
from fansr.expressions import from_infix, prefix
from fansr.expressions.programs import evaluate
from fansr.streams import reader_writer, records

ROOT = Path(__file__).resolve().parents[2]
BENCHMARK = ROOT / "data" / "fastsrb.json"
COMMAND = [sys.executable, "-c", "from fansr.corpus.render import main; main()"]


def run(*args, **extra):
    return subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True, check=False, **extra)


def read(path):
    with reader_writer.open_reader(path) as reader:
        return list(reader), dict(reader.dropped)


# ---- kernels ----------------------------------------------------------------------------------


def splitmix(seed, n):
    """The reference generator, from its three published lines, in Python integers."""
    mask = (1 << 64) - 1
    state, out = seed, []
    for _ in range(n):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        out.append(z ^ (z >> 31))
    return out


def test_random_numbers_are_splitmix64():
    assert splitmix(1234567, 1) == [6457827717110365317]  # published test vector
    state = np.array([1234567], dtype=np.uint64)
    assert [random_columns.uniform(state) for _ in range(50)] == [(z >> 11) * 2.0**-53 for z in splitmix(1234567, 50)]


def test_values_are_those_of_evaluate():
    exprs = gen.sample_skeletons(Prior(), range(600), seed=8)
    drawn = draw_kernels.draw(Prior(), draw_kernels.to_rows(exprs), np.arange(600), 300)
    assert 200 < (drawn["status"] >= 0).sum() < 400
    for i in np.flatnonzero(drawn["status"] >= 0):
        X = np.ascontiguousarray(drawn["X"][i].T)
        consts = drawn["consts"][i][: prefix.n_constants(exprs[i])]
        assert np.array_equal(evaluate(exprs[i], X, consts), drawn["y"][i])
        assert np.isfinite(drawn["y"][i]).all()
        assert set(np.flatnonzero(drawn["filled"][i])) == set(prefix.variables(exprs[i]))
        assert (drawn["X"][i][drawn["filled"][i] == 0] == 0).all()


def test_a_record_depends_on_its_id_alone():
    rows = gen.sample_tokens(Prior(), np.arange(200))
    whole = draw_kernels.draw(Prior(), rows, np.arange(200), 40, seed=3)
    part = draw_kernels.draw(Prior(), rows[[150, 7]], [150, 7], 40, seed=3)
    for name in ("y", "X", "consts", "status"):
        assert np.array_equal(part[name], whole[name][[150, 7]], equal_nan=True)
    assert not np.array_equal(draw_kernels.draw(Prior(), rows, np.arange(200), 40, seed=4)["X"], whole["X"])


def test_redraws_and_rejections_are_those_of_a_slow_loop():
    """sqrt(x1) needs both ends of its column positive; log(-x1**2) never has a value."""
    n = 4000
    rows = draw_kernels.to_rows([["pow1_2", "x1"]] * n, 5)
    status = draw_kernels.draw(Prior(), rows, np.arange(n), 64)["status"]
    # P(one draw is usable): both ends N(0, 10) positive, or so nearly that no point of 64 is negative.
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 10, (2, 40_000))
    one = np.mean([(a0 + (b0 - a0) * rng.random(64)).min() >= 0 for a0, b0 in zip(a, b)])
    expected = [one * (1 - one) ** k for k in range(5)] + [(1 - one) ** 5]
    counts = [int((status == k).sum()) for k in range(5)] + [int((status == draw_kernels.NOT_FINITE).sum())]
    assert stats.chisquare(counts, np.array(expected) * n).pvalue > 1e-3
    never = draw_kernels.draw(Prior(), draw_kernels.to_rows([["log", "neg", "pow2", "x1"]]), [0], 8)
    assert never["status"].tolist() == [draw_kernels.NOT_FINITE]
    huge = draw_kernels.draw(Prior(reach=1e-9), draw_kernels.to_rows([["exp", "x1"]]), [0], 8)
    assert huge["status"].tolist() == [draw_kernels.TOO_LARGE]


def columns_of(draw, n=4000, M=16):
    prior = Prior(variables=1, columns=(draw,))
    return draw_kernels.draw(prior, draw_kernels.to_rows([["x1"]] * n), np.arange(n), M)["X"][:, 0]


def constants_of(draw, n=8000):
    prior = Prior(constants=(draw,))
    return draw_kernels.draw(prior, draw_kernels.to_rows([["<constant>"]] * n), np.arange(n), 1)["consts"][:, 0]


def test_paper_constants_and_points():
    assert stats.kstest(constants_of(Draw("normal", spread=5.0)), stats.norm(0, 5).cdf).pvalue > 1e-3
    X = columns_of(Draw("edges", spread=10.0))
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 10, (2, 40_000))
    x, other = a + (b - a) * rng.random((2, 40_000))
    assert stats.ks_2samp(X[:, 0], x).pvalue > 1e-3
    assert stats.ks_2samp(X[:, 1] - X[:, 0], other - x).pvalue > 1e-3  # two points share their column's ends


def test_other_kinds_of_constant():
    whole = constants_of(Draw("integer", low=1, high=6))
    assert stats.chisquare([(whole == k).sum() for k in range(1, 7)]).pvalue > 1e-3
    spread = constants_of(Draw("log", low=-2, high=3, negative=0.25))
    assert stats.kstest(np.log10(np.abs(spread)), stats.uniform(-2, 5).cdf).pvalue > 1e-3
    assert stats.binomtest(int((spread < 0).sum()), len(spread), 0.25).pvalue > 1e-3
    ratio = constants_of(Draw("fraction", high=3))
    exact = {p / q: 0 for p in (1, 2, 3) for q in (1, 2, 3)}
    for p in (1, 2, 3):
        for q in (1, 2, 3):
            exact[p / q] += 1 / 9
    assert (
        stats.chisquare([(ratio == v).sum() for v in exact], [len(ratio) * share for share in exact.values()]).pvalue
        > 1e-3
    )


def test_other_kinds_of_column():
    positive = columns_of(Draw("positive", spread=10.0))
    assert (positive >= 0).all()
    logs = np.log10(columns_of(Draw("log", low=-3, high=3, spread=4.0)))
    assert stats.kstest(np.ptp(logs, axis=1) / 4.0, "uniform").statistic < 0.15  # widths up to 4 decades (16 points)
    assert -5.0 <= logs.min() and logs.max() <= 5.0
    flipped = columns_of(Draw("log", low=0, high=1, spread=1.0, negative=0.3))
    assert ((flipped < 0).all(axis=1) | (flipped > 0).all(axis=1)).all()
    assert stats.binomtest(int((flipped[:, 0] < 0).sum()), len(flipped), 0.3).pvalue > 1e-3
    scaled = columns_of(Draw("scaled", low=2, high=2, spread=0.0))
    assert stats.kstest(scaled.ravel() / 100, "norm").pvalue > 1e-3
    whole = columns_of(Draw("integer", low=0, high=4))
    assert set(np.unique(whole)) == {0, 1, 2, 3, 4}


def test_mixtures_keep_their_shares():
    prior = Prior(constants=(Draw("integer", low=7, high=7, share=3.0), Draw("normal", spread=1.0, share=1.0)))
    consts = draw_kernels.draw(prior, draw_kernels.to_rows([["<constant>"]] * 8000), np.arange(8000), 1)["consts"][:, 0]
    assert stats.binomtest(int((consts == 7).sum()), 8000, 0.75).pvalue > 1e-3


def test_noise_and_irrelevant_columns():
    prior = Prior(variables=4, irrelevant=0.25, noisy=0.5, noise_low=0.01, noise_high=0.1)
    rows = draw_kernels.to_rows([["x2"]] * 6000)
    drawn = draw_kernels.draw(prior, rows, np.arange(6000), 64)
    assert (drawn["filled"][:, 1] == 1).all()
    extra = (drawn["filled"] == 2).sum()
    assert stats.binomtest(int(extra), 3 * 6000, 0.25).pvalue > 1e-3
    noisy = drawn["noise"] > 0
    assert stats.binomtest(int(noisy.sum()), 6000, 0.5).pvalue > 1e-3
    levels = np.log(drawn["noise"][noisy])
    assert stats.kstest(levels, stats.uniform(math.log(0.01), math.log(10)).cdf).pvalue > 1e-3
    clean = drawn["X"][:, 1]
    assert np.array_equal(drawn["y"][~noisy], clean[~noisy])
    z = (drawn["y"] - clean)[noisy] / (drawn["noise"][noisy] * clean[noisy].std(axis=1))[:, None]
    assert stats.kstest(z.ravel()[:20000], "norm").pvalue > 1e-3


def test_complete_rows_are_told_from_broken_ones():
    exprs = gen.sample_skeletons(Prior(), range(300))
    rows = draw_kernels.to_rows(exprs, 40)
    assert draw_kernels.complete(rows).all()
    rng = np.random.default_rng(0)
    for row, expression in zip(rows, exprs):
        broken = row.copy()
        broken[rng.integers(len(expression))] = rng.choice([0, 1, 3, 21, 30])
        tokens = gen.to_exprs(broken[None])[0]
        whole = (np.flatnonzero(broken == 0)[0] if (broken == 0).any() else 40) == (broken != 0).sum()
        assert bool(draw_kernels.complete(broken[None])[0]) == (whole and prefix.is_valid(tokens))


# ---- skeleton streams -------------------------------------------------------------------------


@pytest.fixture
def skeletons(tmp_path):
    path = tmp_path / "skeletons.zst"
    prior = Prior(variables=17, skeletons=(Skeletons(max_ops=4, constant=4.0),))
    with reader_writer.open_writer(path, holds="skeleton", history=[]) as writer:
        for i, expression in enumerate(gen.sample_skeletons(prior, range(300))):
            writer.write({"kind": "skeleton", "id": i, "expr": expression})
    return path


@pytest.mark.parametrize("prior", ["prior", "prior-wide"])
def test_problems_hold_their_truth(tmp_path, skeletons, prior):
    out = tmp_path / "p.zst"
    assert run(skeletons, "--points", 20, "--val", "--noise", 0, "--prior", prior, "-j", 1, "-o", out).returncode == 0
    problems, dropped = read(out)
    assert len(problems) + sum(dropped.values()) == 300
    assert len(problems) > 150
    for problem in problems:
        records.check(problem, "problem")
        truth = problem["truth"]
        assert problem["X"].shape == problem["X_val"].shape == (20, len(problem["names"]))
        for X, y in ((problem["X"], problem["y"]), (problem["X_val"], problem["y_val"])):
            assert np.array_equal(evaluate(truth["expr"], X, truth["consts"]), y)
        if not problem["dummies"]:
            assert problem["names"] == [f"x{j + 1}" for j in range(len(prefix.variables(truth["expr"])))]
        again = from_infix(truth["infix"], problem["names"] or None)
        shown = evaluate(again, np.ascontiguousarray(problem["X"]), None)
        np.testing.assert_allclose(shown, problem["y"], rtol=1e-6, atol=1e-300)


def test_any_number_of_workers_and_pieces(tmp_path, skeletons):
    for jobs in (1, 2):
        assert run(skeletons, "-j", jobs, "--repeats", 2, "-o", tmp_path / f"{jobs}.zst").returncode == 0
    digests = []
    for jobs in (1, 2):
        with reader_writer.open_reader(tmp_path / f"{jobs}.zst") as reader:
            digests.append(([p["id"] for p in reader], reader.checksum))
    assert digests[0] == digests[1]
    assert len(set(digests[0][0])) == len(digests[0][0]) > 300


def test_a_killed_run_goes_on_where_it_stopped(tmp_path, skeletons):
    """kill -9 in mid-run, then --resume: the same problems, drops and checksum as an unbroken run."""
    joined = tmp_path / "many.zst"
    joined.write_bytes(skeletons.read_bytes() * 6)  # several chunks of 512
    args = [joined, "--points", 60, "--repeats", 12, "-j", 1]
    process = subprocess.Popen([*COMMAND, *map(str, args), "-o", str(tmp_path / "k.zst")])
    state, deadline = tmp_path / "k.zst.part.state", time.monotonic() + 60
    while (
        time.monotonic() < deadline
        and process.poll() is None
        and not (state.exists() and json.loads(state.read_text())["n"])
    ):
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not (tmp_path / "k.zst").exists() and json.loads(state.read_text())["consumed"] > 0
    assert run(*args, "-o", tmp_path / "k.zst", "--resume").returncode == 0
    assert run(*args, "-o", tmp_path / "whole.zst").returncode == 0
    told = []
    for name in ("k.zst", "whole.zst"):
        with reader_writer.open_reader(tmp_path / name) as reader:
            told.append((sum(len(batch) for batch in reader.batches(999)), reader.checksum, dict(reader.dropped)))
    assert told[0] == told[1] and told[0][0] > 8_000


def test_points_noise_and_dummies(tmp_path, skeletons):
    run(skeletons, "-j", 1, "-o", tmp_path / "a.zst")
    sizes = [len(p["y"]) for p in read(tmp_path / "a.zst")[0]]
    assert stats.kstest(sizes, stats.uniform(1, 1024).cdf).pvalue > 1e-3
    run(skeletons, "-j", 1, "--points", 200, "--noise", 0.1, "--val", "--dummies", 3, "-o", tmp_path / "b.zst")
    shares = []
    for p in read(tmp_path / "b.zst")[0]:
        assert p["dummies"] == min(3, 17 - len(prefix.variables(p["truth"]["expr"])))
        assert p["X"].shape[1] == len(prefix.variables(p["truth"]["expr"])) + p["dummies"]
        clean = evaluate(p["truth"]["expr"], p["X"], p["truth"]["consts"])
        assert np.array_equal(evaluate(p["truth"]["expr"], p["X_val"], p["truth"]["consts"]), p["y_val"])
        if 0 < clean.std() < 1e100:
            shares.append((p["y"] - clean).std() / clean.std())
    assert np.median(shares) == pytest.approx(0.1, rel=0.05)


def test_what_cannot_be_rendered(tmp_path):
    path = tmp_path / "s.zst"
    with reader_writer.open_writer(path, holds="skeleton", history=[]) as writer:
        for i, expression in enumerate([["x1"], ["+", "x1", "2.5"], ["x18"], ["log", "neg", "pow2", "x1"]]):
            writer.write({"kind": "skeleton", "id": i, "expr": expression})
    assert run(path, "-j", 1, "-o", tmp_path / "p.zst").returncode == 0
    problems, dropped = read(tmp_path / "p.zst")
    assert [p["id"] for p in problems] == [0]
    assert dropped == {"outside_vocabulary": 2, "not_finite": 1}
    with reader_writer.open_writer(path, holds="skeleton", history=[]) as writer:
        writer.write({"kind": "skeleton", "id": 3, "expr": ["+", "x1"]})
    broken = run(path, "-j", 1, "-o", tmp_path / "q.zst")
    assert broken.returncode == 1 and "record 3" in broken.stderr and not (tmp_path / "q.zst").exists()


# ---- laws -------------------------------------------------------------------------------------


def test_the_benchmark_follows_its_own_file(tmp_path):
    out = tmp_path / "b.zst"
    done = run(BENCHMARK, "--points", 64, "--val", "--repeats", 2, "-j", 1, "-o", out)
    assert done.returncode == 0 and "excluded" in done.stderr
    problems, dropped = read(out)
    entries = {law["id"]: law for law in json.loads(BENCHMARK.read_text())["laws"]}
    kept = [law for law in entries.values() if not law["excluded"]]
    assert len(problems) == 2 * len(kept) and dropped == {"excluded": 2 * (len(entries) - len(kept))}
    for p in problems:
        law = entries[p["law"]]
        assert p["group"] == law["difficulty"] and p["target"] == law["target"]
        assert p["X"].shape == p["X_val"].shape == (64, len(law["variables"]))
        assert p["names"] == [v["name"] for v in law["variables"]]
        for j, v in enumerate(law["variables"]):
            x = np.concatenate([p["X"][:, j], p["X_val"][:, j]])
            assert (np.abs(x) >= min(abs(v["low"]), abs(v["high"])) * (1 - 1e-9)).all() or v["low"] <= 0
            assert (np.abs(x) <= max(abs(v["low"]), abs(v["high"])) * (1 + 1e-9)).all()
            if v["sign"] == "neg":
                assert (x <= 0).all()
            assert v["sign"] in ("pos_neg", "neg") or (x >= min(v["low"], 0)).all()
            assert v["dist"] != "int" or (x == np.rint(x)).all()
        # The formula as Python, apart from our parser.
        scope = {name: p["X"][:, j] for j, name in enumerate(p["names"])}
        names = {n: getattr(np, n) for n in ("sqrt", "sin", "cos", "exp", "log", "tanh", "pi")}
        np.testing.assert_allclose(eval(law["infix"], {**names, **scope}) + 0 * p["y"], p["y"], rtol=1e-9)


def test_shards_of_a_benchmark_join_to_the_whole(tmp_path):
    whole = []
    for name, shard in (("whole", []), ("0", ["--shard", "0/2"]), ("1", ["--shard", "1/2"])):
        assert run(BENCHMARK, "--points", 4, "-j", 1, "-q", *shard, "-o", tmp_path / name).returncode == 0
        with reader_writer.open_reader(tmp_path / name) as reader:
            whole.append(([p["id"] for p in reader], reader.checksum))
    assert whole[1][0] + whole[2][0] == whole[0][0]
    assert (whole[1][1] + whole[2][1]) % 2**64 == whole[0][1]


def test_log_ranges_are_uniform_in_magnitude_and_signs_fair():
    rng = np.random.default_rng(0)
    x = law_files.Column("v", 1e-3, 1e2, "log", "pos_neg").draw(20000, rng)
    assert stats.kstest(np.log10(np.abs(x)), stats.uniform(-3, 5).cdf).pvalue > 1e-3
    assert stats.binomtest(int((x < 0).sum()), 20000, 0.5).pvalue > 1e-3


def test_points_without_a_value_are_drawn_again():
    (law,) = law_files._from_json(
        '{"laws": [{"id": "r", "infix": "sqrt(a)", "variables": [{"name": "a", "low": -1, "high": 1}]}]}', "t"
    ).laws
    X, y = law.draw(500, np.random.default_rng(0))
    assert (X >= 0).all() and np.array_equal(y, np.sqrt(X[:, 0]))
    (never,) = law_files._from_json(
        '{"laws": [{"id": "n", "infix": "log(-a^2)", "variables": [{"name": "a"}]}]}', "t"
    ).laws
    with pytest.raises(DataError, match="law n"):
        never.draw(5, np.random.default_rng(0))


def test_text_files_of_laws(tmp_path):
    (tmp_path / "mine.txt").write_text("# mine\nG * m / r^2 ; G 6 7, m 0.1 10 log, r 1 5 uni pos_neg\n\na + x10*x2\n")
    assert (
        run(
            tmp_path / "mine.txt", "--points", 50, "--noise", 0.1, "--dummies", 2, "-j", 1, "-o", tmp_path / "o.zst"
        ).returncode
        == 0
    )
    first, second = read(tmp_path / "o.zst")[0]
    assert first["names"] == ["G", "m", "r", "d1", "d2"] and second["names"] == ["a", "x2", "x10", "d1", "d2"]
    G, m, r = first["X"][:, :3].T
    clean = G * m / r**2
    assert 0 < np.std(first["y"] - clean) / np.std(clean) < 0.3
    assert (r < 0).any() and (G >= 6).all()


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["nowhere.json"], 1, "no such file"),
        ([str(BENCHMARK), "--points", "0"], 2, "--points"),
        ([str(BENCHMARK), "--prior", "nowhere.toml", "-o", "x"], 1, "no such file"),
        ([str(ROOT / "tests")], 1, "directory"),
        ([str(BENCHMARK), "-o", "/dev/full"], 1, "No space left"),
    ],
)
def test_wrong_calls(args, status, said):
    done = run(*args)
    assert done.returncode == status, done.stderr
    assert said in done.stderr and done.stderr.count("\n") == 1


def test_shipped_priors_render():
    for name in ("prior", "prior-wide"):
        prior = load(name)
        drawn = draw_kernels.draw(prior, gen.sample_tokens(prior, np.arange(500)), np.arange(500), 30)
        assert (drawn["status"] >= 0).mean() > 0.4
        assert np.abs(drawn["y"][drawn["status"] >= 0]).max() < 3.4e38


def test_every_option_reaches_the_settings():
    assert {f for f in vars(render.Settings())} == {"points", "repeats", "noise", "val", "dummies", "seed"}
