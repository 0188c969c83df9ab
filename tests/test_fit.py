"""fansr-fit's own part: what is said before and after the search, and what is loaded for it."""

import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from click.testing import CliRunner

from fansr import fit, fit_stream, fit_table
from fansr.cli import resources
from fansr.fitting import Candidate, Problem
from fansr.search import turns
from fansr.streams import reader_writer

PLANETS = str(resources.path("data") / "planets.csv")
QUICK = ["--proposers", "power,sums", "--time", "0"]


def run(capsys, *words):
    """(exit status, stdout, stderr) of the command in this process."""
    try:
        fit.main(list(words))
        status = 0
    except SystemExit as done:
        status = done.code or 0
    out, err = capsys.readouterr()
    return status, out, err


def noise_table(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.csv"
    path.write_text("a,b,y\n" + "\n".join(",".join(map(repr, row)) for row in rng.normal(size=(40, 3)).tolist()) + "\n")
    return str(path)


def test_a_table_loads_nothing_that_it_does_not_use():
    code = (
        "import sys; sys.argv[0] = 'fansr-fit'; from fansr.fit import main\n"
        "try: main()\n"
        "except SystemExit as done: assert not done.code, done.code\n"
        "heavy = {'torch', 'pandas', 'simplipy', 'matplotlib', 'sympy', 'sklearn'} & set(sys.modules)\n"
        "heavy |= {'scipy'} & {name for name in sys.modules if name == 'scipy.constants' or name.startswith('scipy.opt')}\n"
        "print(sorted(heavy), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, PLANETS, "-q"], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]" and "semi_major_axis_au**1.5" in done.stdout


def test_the_report_begins_with_the_law_and_how_good_it_is(capsys):
    status, out, _ = run(capsys, PLANETS, *QUICK)
    lines = out.splitlines()
    assert status == 0 and lines[0].startswith("period_days = ") and lines[2].split(":")[0].strip() == "noise"
    assert "s loading" in out


def test_no_law_is_said_and_strict_makes_it_a_status(capsys, tmp_path):
    path = noise_table(tmp_path)
    status, out, err = run(capsys, path, *QUICK)
    assert status == 0 and "no law: " in out
    status, out, err = run(capsys, path, *QUICK, "--strict", "--json")
    assert status == 3 and json.loads(out)["verdict"] == "no law" and len(err.strip().splitlines()) == 1
    assert run(capsys, PLANETS, *QUICK, "--strict")[0] == 0


@pytest.mark.parametrize("more", [[], ["--robust"], ["--sigma", "a"], ["--val", "0.3"], ["--predict", "NEW"]])
def test_every_key_of_the_object_is_always_there(capsys, tmp_path, more):
    x = np.linspace(1, 4, 30)
    path = tmp_path / "t.csv"
    path.write_text(
        "a,x,y\n" + "\n".join(f"0.1,{v!r},{2 * v + 0.1 * float(np.sin(40 * v))!r}" for v in x.tolist()) + "\n"
    )
    more = [str(path) if word == "NEW" else word for word in more]
    wanted = set(json.loads(run(capsys, str(path), *QUICK, "--json")[1]))
    status, out, err = run(capsys, str(path), *QUICK, "--json", *more)
    assert status == 0 and set(json.loads(out)) == wanted, err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--time", "nan"], 2, "finite"),
        (["--time", "inf"], 2, "finite"),
        (["--time", "-1"], 2, "range"),
        (["--gamma", "nan"], 2, "finite"),
        (["--val", "nan"], 2, "finite"),
        (["--deadline", "nan"], 2, "finite"),
        (["--target", "perod_days"], 1, "did you mean period_days"),
        (["--derive", "v = dq/dt"], 1, "--derive"),
        (["--lag", "x"], 1, "x:1..3"),
        (["--inputs", "nothing"], 1, "no column is named 'nothing'"),
        (["--dates", "year-first"], 2, "day-first"),
        (["--weights", "a", "--sigma", "b"], 2, "one of them"),
        (["--plot", "x.jpg"], 2, "png"),
        (["--plot", "/nowhere/x.png"], 2, "no folder"),
        (["--report", "x.pdf"], 2, "html"),
        (["--report", "/nowhere/x.html"], 2, "no folder"),
    ],
)
def test_a_wrong_call_is_refused_before_the_search(capsys, monkeypatch, words, status, said):
    def search(*args, **more):
        raise AssertionError("searched")

    monkeypatch.setattr(turns, "search", search)
    code, out, err = run(capsys, PLANETS, *words)
    assert code == status and said in err and not out


def test_missing_matplotlib_is_said_before_the_search(capsys, monkeypatch):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "matplotlib" else find(name, *more)
    )
    monkeypatch.setattr(turns, "search", lambda *a, **k: pytest.fail("searched"))
    code, _, err = run(capsys, PLANETS, "--plot", "x.png")
    assert code == 1 and "pip install 'fansr[plot]'" in err


def test_a_deadline_leaves_the_search_what_loading_left():
    assert fit_table.search_budget(None, None, 3.0).seconds is None
    assert fit_table.search_budget(2.0, None, 3.0).seconds == 2.0
    assert fit_table._drawing(fit_table.Wanted(deadline=10.0, report="x.html")) == 4.0
    assert fit_table._drawing(fit_table.Wanted(deadline=3.0, plot="x.png", report="x.html")) == 1.5
    assert fit_table._drawing(fit_table.Wanted(plot="x.png")) == 0.0
    assert fit_table.search_budget(None, 10.0, 3.0).seconds == pytest.approx(6.7)
    assert fit_table.search_budget(2.0, 10.0, 3.0).seconds == 2.0
    assert fit_table.search_budget(None, 1.0, 3.0).seconds == 0.0


def test_a_deadline_that_is_past_ends_the_search_at_once(tmp_path):
    rng = np.random.default_rng(0)
    problem = Problem(rng.uniform(1, 2, (400, 6)), rng.normal(size=400), list("abcdef"))
    turns.search(
        problem, turns.Options(deadline=time.monotonic() - 1.0), turns.Budget(0.0)
    )  # loads what is loaded once
    begun = time.process_time()
    found = turns.search(problem, turns.Options(deadline=time.monotonic() - 1.0), turns.Budget(0.0))
    late = time.process_time() - begun
    begun = time.process_time()
    turns.search(problem, turns.Options(), turns.Budget(0.0))
    assert found.best is not None and late < 0.5 * (time.process_time() - begun)


def test_a_prediction_needs_only_the_columns_of_the_law(capsys, tmp_path):
    (tmp_path / "t.csv").write_text(
        "n,x,y\n" + "\n".join(f"{i % 3},{i / 2},{(i / 2) ** 2}" for i in range(1, 20)) + "\n"
    )
    (tmp_path / "new.csv").write_text("x\n3\n50\n")
    status, out, err = run(capsys, str(tmp_path / "t.csv"), *QUICK, "--predict", str(tmp_path / "new.csv"))
    assert status == 0, err
    assert out.splitlines() == ["y", "9.0", "2500.0"] and "far outside" in err
    (tmp_path / "new.csv").write_text("n\n3\n5\n")
    status, out, err = run(capsys, str(tmp_path / "t.csv"), *QUICK, "--predict", str(tmp_path / "new.csv"))
    assert status == 1 and "needs x" in err


def test_fit_records_carry_the_verdict():
    x = np.linspace(1, 2, 30)
    record = fit_stream.fit_record(Problem(x[:, None], 2 * x, ["x"]), turns.Options(proposers=("power",)), 0.1)
    assert record["verdict"] == "exact" and record["remarks"] == []


def test_a_draw_keeps_its_probability_when_it_is_cut_down():
    """Its law is shortened and rounded; the record still says what was drawn and how likely that was."""
    x = np.linspace(1, 2, 30)
    drawn = "+ * <constant> pow2 x1 - * <constant> x1 * <constant> x1".split()
    problem = Problem(x[:, None], 2 * x**2, ["x"])
    candidate = Candidate(drawn, source="model", logp=-7.25, n=3, draw=tuple(drawn))
    record = fit_stream.fit_record(problem, turns.Options(proposers=()), 0.3, [candidate])
    assert record["expr"] == ["mult2", "pow2", "x1"]
    assert record["logp"] == -7.25 and record["draw"] == drawn
    other = fit_stream.fit_record(problem, turns.Options(proposers=("power",)), 0.1)
    assert other["logp"] is None and "draw" not in other


def test_how_the_model_is_asked_reaches_it(monkeypatch, capsys):
    from fansr.network import sample

    asked = []

    def propose(problem, budget, rng, pool=None, **how):
        asked.append({key: how[key] for key in ("samples", "device", "decoder", "temperature", "top_p")})
        yield []

    monkeypatch.setattr(sample, "propose", propose)
    words = ["--samples", "9", "--decoder", "mcts", "--temperature", "1.5", "--top-p", "0.9"]
    status, _, err = run(capsys, PLANETS, "--proposers", "model", *words)
    assert status == 0, err
    assert asked == [{"samples": 9, "device": "cpu", "decoder": "mcts", "temperature": 1.5, "top_p": 0.9}]


def test_the_papers_own_inference(tmp_path, capsys):
    """Section 3.5 by its commands against a loop over its steps: fit each candidate by SciPy, take the least of equation 3."""
    from fansr.fitting import CurveFitter
    from fansr.streams import reader_writer

    x = np.linspace(0.5, 3, 40)[:, None]
    y = 2.5 * np.exp(-0.7 * x[:, 0]) + 0.01 * np.sin(9 * x[:, 0])
    problems, candidates, fits = (tmp_path / name for name in ("p.zst", "c.zst", "f.zst"))
    with reader_writer.open_writer(problems, "problem", [{"cmd": "test"}]) as writer:
        writer.write({"kind": "problem", "id": 7, "X": x, "y": y, "names": ["x"], "target": "y"})
    from fansr.network import sample

    sample.sample.main(["--samples", "60", "-q", "-o", str(candidates), str(problems)], standalone_mode=False)
    words = ["--proposers", "none", "--select", "score", "--gamma", "0.05", "--starts", "paper", "--no-tidy"]
    with pytest.raises(SystemExit) as done:
        fit.main([str(candidates), "-o", str(fits), *words, "-q", "-j", "1"])
    assert not done.value.code
    with reader_writer.open_reader(fits, holds="fit") as reader:
        (record,) = list(reader)
    with reader_writer.open_reader(candidates) as reader:
        drawn = {tuple(r["expr"]): r["logp"] for r in reader if r["kind"] == "candidate"}
    assert len(drawn) > 20 and all(not token.startswith(("mult", "div")) for expr in drawn for token in expr)
    fvus, _ = CurveFitter(x, y).fit([list(expr) for expr in drawn])
    scores = {expr: np.log10(fvu) + 0.05 * len(expr) for expr, fvu in zip(drawn, fvus) if fvu < np.inf}
    best = min(scores, key=scores.get)
    assert tuple(record["expr"]) == best and record["logp"] == drawn[best] and record["draw"] == list(best)
    assert np.log10(record["fvu"]) + 0.05 * record["length"] == pytest.approx(scores[best], abs=1e-9)
    assert record["candidates"] == len(scores) and record["source"] == "model"


@pytest.mark.parametrize(
    ("words", "said"),
    [(("--device", "gpu"), "device 'gpu' is unknown"), (("--device", "cuda:63"), "cuda:63"), (("--model", "/none"), "/none"),
     (("--decoder", "best"), "tree"), (("--proposers", "none"), "goes with a stream")],
)  # fmt: skip
def test_a_model_that_cannot_be_asked_is_said_before_the_search(capsys, words, said):
    status, _, err = run(capsys, PLANETS, *words)
    assert status in (1, 2) and said in err


def test_none_ranks_what_the_stream_brings(tmp_path):
    from fansr.streams import reader_writer

    x = np.linspace(1, 2, 20)
    source, out = tmp_path / "candidates.zst", tmp_path / "fits.zst"
    with reader_writer.open_writer(source, "candidate", [{"cmd": "test"}]) as writer:
        writer.write({"kind": "problem", "id": 4, "X": x[:, None], "y": 1.7 * np.sin(x), "names": ["x"], "target": "y"})
        for expr in (["cos", "x1"], ["*", "<constant>", "sin", "x1"], ["*", "<constant>", "x1"]):
            writer.write({"kind": "candidate", "problem": 4, "expr": expr, "logp": -2.0, "n": 1, "source": "model"})
    with pytest.raises(SystemExit) as done:
        fit.main([str(source), "-o", str(out), "--proposers", "none", "--select", "score", "-q", "-j", "1"])
    assert not done.value.code
    with reader_writer.open_reader(out, holds="fit") as reader:
        (record,) = list(reader)
    assert record["expr"] == ["*", "<constant>", "sin", "x1"] == record["draw"] and record["fvu"] < 1e-25
    assert record["candidates"] < 20  # three candidates, the mean and what they were cut down to


def outputs_table(tmp_path, rows=30):
    """x0 to x2, two outputs, one of them with a hole, and a column that is none."""
    rng = np.random.default_rng(5)
    X = rng.uniform(1, 3, (rows, 3))
    lines = [
        f"{a!r},{b!r},{c!r},{k},{2 * a * b!r},{'' if k == 3 else repr(b + 3 * c)}"
        for k, (a, b, c) in enumerate(X.tolist())
    ]
    path = tmp_path / "outputs.csv"
    path.write_text("x0,x1,x2,id,y0,y1\n" + "\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize("targets", [["--target", "y*"], ["--target", "y0", "--target", "y1"]])
def test_several_targets_give_a_law_each(capsys, tmp_path, targets):
    path = outputs_table(tmp_path)
    more = [*QUICK, "--ignore", "id", *targets]
    status, out, err = run(capsys, path, *more, "--json", "-o", str(tmp_path / "fits.zst"))
    first, second = json.loads(out)
    assert status == 0 and (first["target"], second["target"]) == ("y0", "y1")
    assert (
        first["expression"] == "2*x0*x1"
        and second["fvu"] < 1e-20
        and first["variables"] == second["variables"] == ["x0", "x1", "x2"]
    )
    assert (first["dropped_rows"], second["dropped_rows"]) == (0, 1)
    with reader_writer.open_reader(str(tmp_path / "fits.zst"), holds=("fit",)) as reader:
        records = list(reader)
    assert [record["target"] for record in records if record["kind"] == "fit"] == ["y0", "y1"]
    status, out, err = run(capsys, path, *more)
    assert out.startswith("y0 = 2*x0*x1\n") and "\n\ny1 = " in out and err.count("rows were dropped") == 1
    status, out, err = run(capsys, path, *more, "--predict", path)
    lines = out.splitlines()
    assert status == 0 and lines[0] == "y0,y1" and len(lines) == 31 and len(lines[4].split(",")) == 2
    pytest.importorskip("matplotlib")
    assert run(capsys, path, *more, "--plot", str(tmp_path / "fit.png"))[0] == 0
    assert (tmp_path / "fit-y0.png").exists() and (tmp_path / "fit-y1.png").exists()


def test_one_target_is_one_object_and_a_pattern_a_list(capsys, tmp_path):
    path = outputs_table(tmp_path)
    assert isinstance(json.loads(run(capsys, path, *QUICK, "--inputs", "x*", "--target", "y0", "--json")[1]), dict)
    assert len(json.loads(run(capsys, path, *QUICK, "--inputs", "x0,x1", "--target", "y0*", "--json")[1])) == 1


def test_columns_are_made_and_said_and_made_of_new_rows(capsys, tmp_path):
    t = np.linspace(0, 3, 61).tolist()
    (tmp_path / "t.csv").write_text("t,x\n" + "\n".join(f"{v!r},{3 * float(np.exp(-0.5 * v))!r}" for v in t) + "\n")
    more = ["--derive", "v = dx/dt", "--derive", "w = 2*x", "--target", "v", "--inputs", "w"]
    status, out, err = run(capsys, str(tmp_path / "t.csv"), *QUICK, *more)
    assert status == 0 and out.startswith("v = -") and "v: dx/dt, smoothed" in out and "w: 2*x" in out
    (tmp_path / "new.csv").write_text("x\n1\n2\n")
    status, out, err = run(capsys, str(tmp_path / "t.csv"), *QUICK, *more, "--predict", str(tmp_path / "new.csv"))
    assert status == 0 and np.allclose([float(v) for v in out.split()[1:]], [-0.5, -1], rtol=1e-3)


def test_dates_and_percent_reach_the_report_the_object_and_new_rows(capsys, tmp_path):
    rows = [(f"{d:02d}.03.2021", f"{d * d % 17}%", 10 + 3 * (d - 1) * (d * d % 17) / 100) for d in range(1, 20)]
    (tmp_path / "t.csv").write_text("date;share;y\n" + "\n".join(f"{a};{b};{c!r}" for a, b, c in rows) + "\n")
    (tmp_path / "new.csv").write_text("share;date\n50%;2021-03-03\n")
    status, out, err = run(capsys, str(tmp_path / "t.csv"), *QUICK, "--json", "--predict", str(tmp_path / "new.csv"))
    found = json.loads(out)
    assert status == 0 and found["fvu"] < 1e-20 and abs(found["predictions"][0] - 13) < 1e-9
    assert found["conversions"]["date"]["origin"] == "2021-03-01" and found["conversions"]["share"]["percent"] == "%"
    assert [r["text"] for r in found["remarks"] if r["code"] == "reading"][:1] == ["date: days since 2021-03-01"]
    status, out, err = run(capsys, str(tmp_path / "t.csv"), *QUICK)
    assert "\n  date: days since 2021-03-01\n" in out


def test_a_config_file_chooses_columns_too(capsys, tmp_path):
    path = outputs_table(tmp_path)
    (tmp_path / "c.toml").write_text('target = ["y0", "y1"]\nignore = "id"\ninputs = ["x0,x1", "x2"]\n')
    some = json.loads(run(capsys, path, *QUICK, "--config", str(tmp_path / "c.toml"), "--json")[1])
    assert [one["target"] for one in some] == ["y0", "y1"] and some[0]["variables"] == ["x0", "x1", "x2"]


def test_relative_errors_print_as_many_digits_as_they_support(tmp_path):
    T = np.linspace(280, 400, 12)
    k = 1.3e11 * np.exp(-9000 / T) * (1 + np.random.default_rng(1).normal(0, 0.02, 12))
    path = tmp_path / "rate.csv"
    path.write_text("T,k\n" + "".join(f"{a!r},{b!r}\n" for a, b in zip(T.tolist(), k.tolist())))
    printed = CliRunner().invoke(fit.fit, [str(path), "-q", "--proposers", "power,curves"]).stdout.splitlines()[0]
    numbers = re.findall(r"[0-9.]+e?[0-9]*", printed.split("=")[1])
    assert "exp(-" in printed and all(len(number) <= 8 for number in numbers), printed


def test_interrupted_before_there_is_a_law(tmp_path, capsys, monkeypatch):
    """It says nothing of laws that do not exist; targets that have theirs are answered."""
    path = tmp_path / "two.csv"
    path.write_text("a,u,v\n" + "\n".join(f"{a},{3 * a},{a * a}" for a in range(1, 30)) + "\n")
    offer, targets = turns.Turns.offer, []

    def interrupt(self, *args, **more):
        targets.append(self.problem.target)
        if self.problem.target == "v":
            raise KeyboardInterrupt
        return offer(self, *args, **more)

    monkeypatch.setattr(turns.Turns, "offer", interrupt)
    assert run(capsys, str(path), "--target", "v", "--inputs", "a", *QUICK) == (130, "", "\n")
    status, out, err = run(capsys, str(path), "--target", "u", "--target", "v", "--inputs", "a", *QUICK)
    assert status == 130 and out.startswith("u = 3*a\n") and "v" in targets and err == "\n"
