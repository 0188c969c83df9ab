"""Paired comparisons against scipy's exact binomial test and a plain loop."""

import numpy as np
from click.testing import CliRunner
from scipy.stats import binomtest

from fansr.evaluation import paired
from fansr.evaluation.score import score
from fansr.expressions.infix import from_infix
from fansr.streams.reader_writer import open_writer


def test_sign_test_is_scipys():
    for won, lost in ((0, 0), (3, 0), (7, 2), (10, 10), (40, 61)):
        wanted = binomtest(won, won + lost, 0.5).pvalue if won + lost else 1.0
        assert abs(paired.sign_test(won, lost) - wanted) < 1e-12


def test_differences_are_those_of_the_problems_both_have():
    rng = np.random.default_rng(0)
    a = [{"problem": i, "law": i // 2, "vnrr": bool(rng.random() < 0.7)} for i in range(60)]
    b = [{"problem": i, "law": i // 2, "vnrr": bool(rng.random() < 0.5)} for i in range(20, 90)]
    (row,) = paired.compared({"a": a, "b": b, "c": [{"problem": 999, "law": 1, "vnrr": True}]})
    of_b = {r["problem"]: r["vnrr"] for r in b}
    won = sum(r["vnrr"] and not of_b[r["problem"]] for r in a[20:])
    lost = sum(not r["vnrr"] and of_b[r["problem"]] for r in a[20:])
    assert (row["n"], row["won"], row["lost"]) == (40, won, lost)
    assert abs(row["difference"] - (won - lost) / 40) < 1e-12 and row["low"] <= row["difference"] <= row["high"]


def test_the_command_compares_the_groups(tmp_path):
    path = str(tmp_path / "fits.zst")
    with open_writer(path, "fit") as writer:
        for method in ("fansr", "operon"):
            for i in range(10):
                value = 1e-30 if method == "fansr" or i < 4 else 0.5
                writer.write({
                    "kind": "fit", "problem": i, "law": f"law {i}", "method": method, "expr": from_infix("2*x1"), "consts": np.zeros(0),
                    "fvu": value, "fvu_val": value, "status": "ok", "seconds": 1.0,
                    "truth": {"expr": from_infix("x1*x2"), "infix": "x1*x2"},
                })  # fmt: skip
    result = CliRunner().invoke(score, [path, "--by", "method", "--paired", "vnrr"])
    assert result.exit_code == 0, result.stderr
    assert "fansr - operon  +60.0 [" in result.stdout and "6 : 0 of 10  p = 0.031" in result.stdout
    result = CliRunner().invoke(score, [path, "--paired", "vnrr"])
    assert result.exit_code == 2 and "--by method" in result.stderr
