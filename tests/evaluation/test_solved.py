"""Whether a law is the true one, against sympy; R2 against scikit-learn; and candidates kept as written against brute force."""

import numpy as np
import sympy
from click.testing import CliRunner
from sklearn.metrics import r2_score

from fansr.corpus import forms
from fansr.evaluation import solved
from fansr.expressions import evaluate, to_infix
from fansr.fit import fit
from fansr.fitting import Candidate, Problem
from fansr.streams import open_reader, open_writer
from fansr.written_fit import chosen

BOX = np.array([0.5, 0.5]), np.array([3.0, 3.0])


def as_sympy(expr):
    x1, x2 = sympy.symbols("x1 x2", positive=True)
    return sympy.sympify(to_infix(expr).replace("**", "^").replace("^", "**"), locals={"x1": x1, "x2": x2})


def test_solved_is_what_sympy_calls_equal():
    """Depth-1 forms with numbers against each other, and against other spellings of themselves."""
    rng = np.random.default_rng(0)
    levels = forms.enumerate_forms(1, 1000, 2, ["exp", "sin", "neg", "sqrt"], ["+", "-", "*", "/"])[0]
    laws = [["+", str(rng.integers(2, 5)), "*", str(rng.integers(2, 4)), *e] for level in levels for e in level.exprs]
    laws = [law for law in laws if "x1" in law]
    equal = 0
    for i, one in enumerate(laws):
        for other in (
            laws[(i + 1) % len(laws)],
            laws[i - 3],
            ["+", *one[2:], one[1]],
            ["-", *one[2:], str(-int(one[1]))],
        ):
            truth = {"expr": other, "consts": np.zeros(0)}
            wanted = sympy.simplify(as_sympy(one) - as_sympy(other)) == 0
            found = solved.solved({"expr": one, "consts": np.zeros(0), "truth": truth, "low": BOX[0], "high": BOX[1]})
            assert found["solved"] == wanted, (one, other)
            equal += wanted
    assert equal >= 2 * len(laws)


def test_numbers_count():
    truth = {"expr": ["*", "<constant>", "x1"], "consts": np.array([2.0]), "low": BOX[0][:1]}
    box = {"low": BOX[0][:1], "high": BOX[1][:1]}
    for number, good in ((2.0, True), (2.0 + 1e-9, True), (2.001, False)):
        fit_record = {"expr": ["*", "<constant>", "x1"], "consts": np.array([number]), "truth": truth, **box}
        assert solved.solved(fit_record)["solved"] == good
    assert solved.solved({"expr": ["mult2", "x1"], "consts": np.zeros(0), "truth": truth, **box})["solved"]


def problem_and_candidates(rng):
    X = rng.uniform(*BOX, (64, 2))
    y = 2 * X[:, 0] + np.sin(X[:, 1])
    texts = ["* 2 x1", "+ * 2 x1 sin x2", "+ sin x2 * 2 x1", "pow1_2 - x1 5", "x2", "+ * 2 x1 x2", "* <constant> x1"]
    return Problem(X, y, ["x1", "x2"]), [Candidate(t.split(), n=k + 1) for k, t in enumerate(texts)]


def test_the_best_draw_is_that_of_brute_force():
    problem, candidates = problem_and_candidates(np.random.default_rng(1))
    best, told = chosen(problem, candidates[:1] + candidates[3:], "fvu", 0.05)
    r2 = {}
    for c in candidates[:1] + candidates[3:]:
        if "<constant>" not in c.expr:
            with np.errstate(all="ignore"):
                values = evaluate(c.expr, problem.X)
            if np.isfinite(values).all():
                r2[tuple(c.expr)] = r2_score(problem.y, values)
    assert tuple(best.expr) == max(r2, key=r2.get)
    assert 1 - best.fvu == max(r2.values()) or abs(1 - best.fvu - max(r2.values())) < 1e-12
    best, told = chosen(problem, candidates, "fvu", 0.05)
    assert told == {"draws": 28, "valid": (1 + 2 + 3 + 5 + 6) / 28, "n_best": 5} and best.fvu < 1e-25
    assert chosen(problem, [candidates[3]], "fvu", 0.05)[0] is None


def test_the_command_keeps_what_is_written(tmp_path):
    problem, candidates = problem_and_candidates(np.random.default_rng(2))
    stream, out = str(tmp_path / "candidates.zst"), str(tmp_path / "fits.zst")
    with open_writer(stream, holds="candidate", history=[]) as writer:
        writer.write(problem.to_record())
        for c in candidates:
            writer.write({"kind": "candidate", "problem": 0, "expr": c.expr, "n": c.n, "logp": -1.0, "source": "model"})
    words = [stream, "--constants", "keep", "-o", out, "-q", "-j", "1"]
    assert "--proposers none" in CliRunner().invoke(fit, [*words, "--select", "fvu"]).output
    assert "--select fvu or score" in CliRunner().invoke(fit, [*words, "--proposers", "none"]).output
    shown = CliRunner().invoke(fit, [*words, "--proposers", "none", "--select", "fvu"])
    assert shown.exit_code == 0, shown.output
    with open_reader(out, holds="fit") as reader:
        (record,) = list(reader)
    assert record["fvu"] < 1e-25 and record["draws"] == 28 and record["n_best"] == 5 and len(record["consts"]) == 0
