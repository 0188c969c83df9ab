"""Learning from the search: mutations, tables and pools; the searches and trainings take minutes."""

from collections import Counter

import numpy as np

from bench import hard_laws
from fansr.cli import resources
from fansr.corpus import prior as priors
from fansr.expressions import evaluate, from_tree, problems, to_tree, variables
from fansr.streams import reader_writer, rng_for

LAWS = [
    "* x1 exp neg x2".split(),
    "+ <constant> / x1 + x2 <constant>".split(),
    "sin * x1 pow2 x3".split(),
]


def test_every_place_of_a_tree_can_be_read_and_replaced():
    tree = to_tree(LAWS[1])
    found = hard_laws.places(tree)
    assert len(found) == len(LAWS[1]) and len(set(found)) == len(found)
    for at in found:
        assert hard_laws.put(tree, at, hard_laws.node(tree, at)) == tree
    assert from_tree(hard_laws.put(tree, (2, 1), ("sin", "x1"))) == "+ <constant> / sin x1 + x2 <constant>".split()


def test_mutations_are_expressions_of_the_same_operators_and_most_are_new():
    trees = [to_tree(expr) for expr in LAWS]
    allowed = {token for expr in LAWS for token in expr} | {f"x{i}" for i in range(1, 5)}
    changed = Counter()
    for i in range(300):
        tree = trees[i % 3]
        expr = from_tree(hard_laws.mutated(tree, trees, rng_for(0, "test.mutated", i)))
        assert not problems(expr, 17) and set(expr) <= allowed
        changed[expr != LAWS[i % 3]] += 1
    assert changed[True] > 200


def test_kinds_keep_a_quarter_as_they_are_up_to_the_names_of_their_columns():
    found = hard_laws.kinds(LAWS, 900)
    assert all(not problems(expr, 9) and variables(expr) for expr in found)
    shapes = {tuple("x" if token[0] == "x" else token for token in expr) for expr in LAWS}
    same = sum(tuple("x" if token[0] == "x" else token for token in expr) in shapes for expr in found)
    assert 0.2 < same / len(found) < 0.5
    assert found == hard_laws.kinds(LAWS, 900)


def test_a_table_is_the_same_every_time_and_holds_its_law():
    prior = priors.load(str(resources.path("configs", "campaign-prior.toml")))
    made = 0
    for expr in (["sin", "x1"], ["*", "x1", "x2"], ["cos", "*", "x1", "x2"], ["exp", "x1"]):
        one, two = hard_laws.table(expr, prior), hard_laws.table(expr, prior)
        assert (one is None) == (two is None)
        if one is not None:
            made += 1
            np.testing.assert_array_equal(one.y, two.y)
            np.testing.assert_allclose(one.y_val, evaluate(expr, one.X_val), rtol=1e-9)
    assert made


def test_neither_pool_holds_a_held_out_law_in_any_order_of_its_variables(tmp_path, monkeypatch):
    monkeypatch.setattr(hard_laws.resources, "catalogues", lambda: [])  # whose guard takes seconds to make
    ordinary = [["+", "x1", "sin", "x2"], ["+", "x2", "sin", "x1"], ["exp", "x1"], ["*", "x1", "log", "x2"]]
    hard = {"learned": [["+", "x2", "sin", "x1"], ["*", "x1", "tanh", "x2"]], "held": [["+", "x1", "sin", "x2"]]}
    found = hard_laws.pools(tmp_path, hard_laws.written(tmp_path / "fresh.zst", ordinary), hard, 40)
    for name, wanted in (("ordinary", ["*", "x1", "log", "x2"]), ("kinds", None)):
        with reader_writer.open_reader(found[name], holds="skeleton") as reader:
            kept = [record["expr"] for record in reader]
        assert kept and (wanted is None or wanted in kept)
        assert not [expr for expr in kept if Counter(expr) == Counter(hard["held"][0])]


def test_the_two_sides_come_by_turns_and_the_held_one_is_what_no_training_learns(tmp_path):
    from fansr.corpus import sample_skeletons
    from fansr.network.skeleton_pool import held_out

    stream = hard_laws.written(tmp_path / "s.zst", sample_skeletons(priors.load("tiny-prior"), range(4000)))
    some = hard_laws.candidates(stream, 5)
    assert [side for side, _ in some] == ["learned", "held"] * 5
    out = [bool(held_out(hard_laws.row_of(expr), hard_laws.HOLD)[0]) for _, expr in some]
    assert out == [False, True] * 5


def test_late_and_missed_laws_are_hard():
    rows = [{"found": True, "seconds": 0.1}, {"found": True, "seconds": 0.9}, {"found": False, "seconds": 1.0}]
    assert [hard_laws.is_hard(row, 1.0) for row in rows] == [False, True, True]


def test_the_table_of_results_names_arms_seeds_and_counts():
    line = {
        "million samples": 0.2,
        "missed found": [True, False],
        "missed nats": 20.0,
        "ordinary found": [True],
        "ordinary nats": 9.0,
    }
    text = hard_laws.markdown({("ordinary", 0): line, ("hard", 0): line}, ("missed", "ordinary")).splitlines()
    assert (
        text[2] == "| ordinary | 0 | 0.2 | 1 of 2 | 20.00 | 1 of 1 | 9.00 |"
        and len({row.count("|") for row in text}) == 1
    )
