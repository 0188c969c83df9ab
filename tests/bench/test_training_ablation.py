"""The paper's ablations: what is learned from, what differs between the networks, and how they are told apart; training takes minutes."""

import json
import tomllib

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from bench import training_ablation as ablation  # noqa: E402
from fansr.expressions import decode, evaluate  # noqa: E402
from fansr.network.configuration import ModelConfig  # noqa: E402
from fansr.simplification import simplify_many  # noqa: E402
from fansr.streams import reader_writer  # noqa: E402


def exprs(path):
    with reader_writer.open_reader(path, holds="skeleton") as reader:
        return [tuple(record["expr"]) for record in reader]


def test_both_spellings_are_of_the_same_laws_and_no_held_law_is_learned_in_either(tmp_path):
    streams = ablation.corpus(tmp_path, 1500)
    for place in (0, 1):  # learned from, held out
        drawn, simplified = (exprs(streams[name][place]) for name in ("drawn", "simplified"))
        assert len(drawn) == len(simplified) > 5
        again = simplify_many([list(expr) for expr in drawn], relax=True)
        assert [tuple(form) for form, _ in again] == simplified
    assert sum(map(len, drawn)) > sum(map(len, simplified))
    learned = {tuple(row) for row in ablation.rows_of(streams["simplified"][0])}
    assert not learned & {tuple(row) for row in ablation.rows_of(streams["simplified"][1])}


def test_variants_differ_in_one_thing_each():
    base = tomllib.loads(ablation.config_text("base"))
    ModelConfig(**base["model"])
    for name, (spelling, model, options) in ablation.VARIANTS.items():
        told = tomllib.loads(ablation.config_text(name))
        changed = {key for key in told["model"] if told["model"][key] != base["model"].get(key)}
        assert changed == set(model) and {k: v for k, v in told.items() if k != "model"} == {
            k: v for k, v in base.items() if k != "model"
        }
        assert (spelling != "simplified") + len(model) + ("float32" not in options) == (name != "base")
        ModelConfig(**told["model"])


def test_tables_hold_the_values_of_their_skeletons():
    rows = np.zeros((2, ablation.LONGEST - 2), np.uint8)
    for row, expr in zip(rows, (["+", "x1", "pow2", "x2"], ["sin", "x1"])):
        row[: len(expr)] = [ablation.TOKEN_ID[token] for token in expr]
    problems = ablation.tables(rows, 5)
    assert [p.id for p in problems] == [0, 1] and [p.X.shape[1] for p in problems] == [2, 1]
    for problem in problems:
        expr = decode(rows[problem.id][rows[problem.id] != 0])
        np.testing.assert_allclose(problem.y_val, evaluate(expr, problem.X_val), rtol=1e-12)
        assert len(problem.y) == len(problem.y_val) == ablation.POINTS


def line(**more):
    return {
        "samples": 250_000, "nats": 9.5, "nats, far columns": 10.0, "nats as drawn": 12.0, "tokens drawn": 8.0, "laws a sequence": 0.9,
        "recovered, simplified": [True, False, True], "recovered, drawn": [False] * 3, "length ratios, simplified": [1.0, 2.0],
    } | more  # fmt: skip


def test_the_table_has_a_row_for_each_variant_and_the_picture_all_lines():
    lines = {
        ("base", 0): line(),
        ("base", 1): line(nats=9.7),
        ("B1", 0): line(**{"length ratios, simplified": []}),
        ("B1", 1): line(),
    }
    text = ablation.markdown(lines).splitlines()
    assert len({row.count("|") for row in text}) == 1 and len(text) == 4
    assert "9.50, 9.70" in text[2] and "4 of 6" in text[2] and "0 of 6" in text[2] and "| 1.50 |" in text[2]
    json.dumps(text)
    curve = {"loss": np.array([[0.0, 90.0], [10, 12], [20, 9]]), "norm": np.array([[5.0, 1.0], [15, 30.0]])}
    canvas = ablation.picture({"base": [curve, curve], "B1": [curve]}, "told")
    assert [len(axis.lines) for axis in canvas.axes[:2]] == [3, 3]


@pytest.mark.prove
def test_a_toy_run_from_end_to_end_and_again_from_what_it_kept(tmp_path):
    from click.testing import CliRunner

    words = ["--runs", str(tmp_path / "runs"), "--variants", "base,A-U", "--seeds", "1", "--seconds", "3", "--skeletons", "3000", "--draws",
             "32", "--laws", "3", "-o", str(tmp_path / "a.png")]  # fmt: skip
    first = CliRunner().invoke(ablation.main, words)
    assert first.exit_code == 0 and (tmp_path / "a.png").stat().st_size > 10_000, first.output
    assert CliRunner().invoke(ablation.main, words).output == first.output
    assert first.output.count('"variant"') == 2 and "| A-U |" in first.output
