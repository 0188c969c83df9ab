"""Samplers against enumeration of a small language, and the proposers on tables."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy.stats import chisquare

from fansr.expressions.prefix import is_valid, variables
from fansr.expressions.tokens import BOS_ID, CONSTANT_ID, TOKEN_ID, VOCABULARY, decode
from fansr.fitting.problem import Budget, Candidate, Problem
from fansr.network import batches, checkpoints, decoders, sample as sampling, table_encoding as views, tree_search
from fansr.network.architecture import Model
from fansr.network.configuration import ModelConfig
from fansr.network.numpy_inference import NumpyNetwork
from fansr.streams import reader_writer
from fansr.streams.seeds import rng_for

X1 = TOKEN_ID["x1"]
VALUES = torch.randn(1, 6, 3, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(4)
    config = ModelConfig(
        columns=3, width=24, heads=2, feed_forward=40, inducing=4, seeds=4, decoder_layers=2, max_length=14
    )
    network = Model(config).eval().requires_grad_(False)
    network.head[2].bias.data.normal_(0, 1.0)  # an uneven distribution, so that a wrong one shows
    return network


@pytest.fixture(scope="module")
def network(model):
    return NumpyNetwork(model.config, {name: weight.numpy() for name, weight in model.state_dict().items()})


@pytest.fixture(scope="module")
def memory(network):
    return network.memory(VALUES.numpy())


@pytest.fixture(scope="module")
def grammar():
    """Sums and sines of x1 and a constant, at most five tokens."""
    small = decoders.Grammar(1, 5)
    usable = np.zeros(len(VOCABULARY), bool)
    usable[[X1, CONSTANT_ID, TOKEN_ID["+"], TOKEN_ID["sin"]]] = True
    small.allowed &= usable
    return small


def forced(model, grammar, ids) -> float:
    """Log-probability of a sequence by teacher forcing: one uncached pass of torch's, the mask worked out by hand."""
    logits = model(VALUES, torch.tensor([[BOS_ID, *ids]]))[0].double().numpy()
    missing, total = 1, 0.0
    for t, v in enumerate(ids):
        left = grammar.length - t - 1
        allowed = [u for u in range(len(VOCABULARY)) if grammar.allowed[2, u] and missing + decoders.CHANGE[u] <= left]
        total += logits[t][v] - math.log(sum(math.exp(logits[t][u]) for u in allowed))
        missing += int(decoders.CHANGE[v])
    assert missing == 0
    return total


def language(grammar):
    """All sequences of the small language, by plain recursion."""
    tokens = [v for v in range(len(VOCABULARY)) if grammar.allowed[2, v]]

    def grow(ids, missing):
        if missing == 0:
            yield tuple(ids)
            return
        for v in tokens:
            if missing + decoders.CHANGE[v] <= grammar.length - len(ids) - 1:
                yield from grow([*ids, v], missing + int(decoders.CHANGE[v]))

    return list(grow([], 1))


@pytest.fixture(scope="module")
def truth(model, grammar):
    """{sequence: probability} by enumeration."""
    p = {ids: math.exp(forced(model, grammar, ids)) for ids in language(grammar)}
    assert sum(p.values()) == pytest.approx(1.0, abs=1e-5)
    return p


def chi_square(counts, truth, n):
    """p-value of counts {sequence: n} against the truth, rare sequences lumped together."""
    common = [ids for ids, p in truth.items() if n * p >= 8]
    observed = [counts.get(ids, 0) for ids in common]
    expected = [n * truth[ids] for ids in common]
    observed.append(n - sum(observed))
    expected.append(n - sum(expected))
    return chisquare(observed, np.array(expected) * sum(observed) / sum(expected)).pvalue


# ---- the distribution


@pytest.mark.parametrize("decoder, n", [("tree", 20_000), ("iid", 4_000)])
def test_draws_have_the_networks_distribution(network, memory, grammar, truth, decoder, n):
    drawn = decoders.draw(network, memory, grammar, n, np.random.default_rng(1), decoder)
    assert drawn.n.sum() == n
    assert chi_square(dict(zip(drawn.ids, drawn.n.tolist())), truth, n) > 1e-3


def test_the_test_would_notice_another_distribution(network, memory, grammar, truth):
    drawn = decoders.draw(network, memory, grammar, 20_000, np.random.default_rng(1), "tree", temperature=1.3)
    assert chi_square(dict(zip(drawn.ids, drawn.n.tolist())), truth, 20_000) < 1e-6


def test_many_rounds_of_draws_add_up(network, memory, grammar, truth, monkeypatch):
    monkeypatch.setattr(decoders, "ROWS", 500)
    drawn = decoders.draw(network, memory, grammar, 3_100, np.random.default_rng(2))
    assert drawn.n.sum() == 3_100 and len(set(drawn.ids)) == len(drawn.ids)
    assert chi_square(dict(zip(drawn.ids, drawn.n.tolist())), truth, 3_100) > 1e-3


@pytest.mark.parametrize("decoder", ["tree", "iid", "topk", "beam"])
def test_log_probabilities_are_those_of_teacher_forcing(model, network, memory, decoder):
    wide = decoders.Grammar(2, 12)
    drawn = decoders.draw(network, memory, wide, 64, np.random.default_rng(0), decoder)
    for ids, logp in list(zip(drawn.ids, drawn.logp))[:20]:
        assert logp == pytest.approx(forced(model, wide, ids), abs=1e-4)


def test_the_tree_decodes_each_prefix_once(network, memory, grammar):
    tree = decoders.draw(network, memory, grammar, 4_000, np.random.default_rng(0), "tree")
    prefixes = {ids[:t] for ids in tree.ids for t in range(len(ids))}
    assert tree.decoded == len(prefixes)


def test_split_counts_is_a_multinomial():
    rng, p = np.random.default_rng(0), np.array([[0.5, 0.3, 0.2, 0.0], [0.1, 0.0, 0.2, 0.7]])
    for counts in ([3, 5], [400, 7], [1000, 900]):
        total = np.zeros((2, 4))
        rounds = 400 if max(counts) < 10 else 40
        for _ in range(rounds):
            rows, tokens, n = decoders.split_counts(np.array(counts), p, rng)
            table = np.zeros((2, 4), int)
            table[rows, tokens] = n
            assert table.sum(1).tolist() == counts
            total += table
        assert not total[p == 0].any()
        for row, q, n in zip(total, p, counts):
            assert chisquare(row[q > 0], n * rounds * q[q > 0]).pvalue > 1e-3


# ---- without replacement, beams, tree search


@pytest.mark.parametrize("calls", [150, pytest.param(600, marks=pytest.mark.prove)])
def test_the_first_of_top_k_is_one_draw(network, memory, grammar, truth, calls):
    counts: dict = {}
    for seed in range(calls):
        (ids,) = decoders.draw(network, memory, grammar, 1, np.random.default_rng(seed), "topk").ids
        counts[ids] = counts.get(ids, 0) + 1
    assert chi_square(counts, truth, calls) > 1e-3


def test_top_k_draws_without_replacement_and_can_take_all(network, memory, grammar, truth):
    some = decoders.draw(network, memory, grammar, 10, np.random.default_rng(0), "topk")
    assert len(set(some.ids)) == 10
    assert set(decoders.draw(network, memory, grammar, 10_000, np.random.default_rng(0), "topk").ids) == set(truth)


def test_a_wide_beam_finds_the_likeliest(network, memory, grammar, truth):
    beam = decoders.draw(network, memory, grammar, 40, np.random.default_rng(0), "beam")
    best = sorted(truth, key=truth.get, reverse=True)
    assert set(beam.ids[:10]) == set(best[:10])


def test_tree_search_goes_where_the_reward_is(network, memory, grammar, truth):
    goal = sorted(truth, key=truth.get)[len(truth) // 2]

    def reward(rows):
        return [sum(a == b for a, b in zip(ids, goal)) / 5 for ids in rows]

    found = tree_search.tree_search(network, memory, grammar, 400, np.random.default_rng(0), reward, width=8)
    assert goal in found.ids and found.n.sum() == 400 and set(found.ids) <= set(truth)
    for ids, logp in zip(found.ids, found.logp):
        assert math.exp(logp) == pytest.approx(truth[ids], rel=1e-3)


# ---- grammar, temperature, nucleus


@pytest.mark.parametrize("columns, length", [(1, 1), (1, 2), (2, 7), (3, 12)])
def test_every_sequence_is_an_expression_over_the_columns(network, memory, columns, length):
    for decoder in ("tree", "topk", "beam"):
        drawn = decoders.draw(
            network, memory, decoders.Grammar(columns, length), 200, np.random.default_rng(0), decoder
        )
        for ids in drawn.ids:
            assert is_valid(decode(ids), columns) and len(ids) <= length


def test_without_the_mask_most_sequences_of_an_untrained_network_are_invalid(network, memory):
    drawn = decoders.draw(network, memory, decoders.Free(12), 500, np.random.default_rng(0))
    bad = sum(n for ids, n in zip(drawn.ids, drawn.n) if not is_valid(decode(ids)))
    assert drawn.n.sum() == 500 and bad > 250


def test_temperature_and_nucleus():
    logp = np.log(np.array([[0.5, 0.25, 0.15, 0.1]]))
    np.testing.assert_allclose(
        np.exp(decoders.sharpen(logp, 0.5, 1.0)), np.array([[0.25, 0.0625, 0.0225, 0.01]]) / 0.345, rtol=1e-9
    )
    np.testing.assert_allclose(np.exp(decoders.sharpen(logp, 1.0, 0.7)), [[2 / 3, 1 / 3, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(np.exp(decoders.sharpen(logp, 1.0, 1e-9)), [[1, 0, 0, 0]], atol=1e-12)


# ---- tables


def problem(X, y, **more) -> Problem:
    X = np.asarray(X, dtype=np.float64)
    return Problem(X, np.asarray(y, dtype=np.float64), [f"c{j}" for j in range(X.shape[1])], **more)


def test_the_view_leaves_out_constant_columns_and_keeps_what_candidates_use():
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 2, (40, 6))
    X[:, 1] = 3.0
    table = problem(X, X[:, 4] + 0.1 * X[:, 2])
    config = ModelConfig(columns=2)
    view = views.show(table, config, {"max_points": 16}, rng)
    assert 4 in view.columns and 1 not in view.columns and view.values.shape == (1, 16, 3)
    pool = [Candidate(["*", "x1", "x6"], np.zeros(0), 0.1)]
    assert views.show(table, config, {}, rng, pool).columns == [0, 5]


def test_names_and_scales_are_restored():
    rng = np.random.default_rng(0)
    X = np.column_stack((rng.uniform(1, 2, 20), rng.uniform(1, 2, 20) * 1e-9, np.ones(20)))
    view = views.show(problem(X, X[:, 0] * 1e7), ModelConfig(columns=3), {}, rng)
    assert view.columns == [0, 1]
    ids = [TOKEN_ID[t] for t in ("+", "x1", "sin", "x2")]
    assert views.to_expr(ids, view) == ["*", "<constant>", "+", "x1", "sin", "*", "<constant>", "x2"]
    assert float(np.abs(view.values).max()) < 300


def test_equal_candidates_are_merged():
    view = views.View([0, 1], np.zeros(3), np.zeros(0, np.float32))
    ids = [
        tuple(TOKEN_ID[t] for t in e) for e in (("+", "x1", "x2"), ("+", "x2", "x1"), ("mult2", "x1"), ("mult3", "x1"))
    ]
    drawn = decoders.Drawn(ids, np.log([0.1, 0.2, 0.3, 0.15]), np.array([1, 2, 3, 4]))
    found, dropped = views.finish(drawn, view)
    assert not dropped and len(found) == 2
    assert sorted((c.n, round(math.exp(c.logp), 6)) for c in found) == [(3, 0.3), (7, 0.45)]


@pytest.fixture(scope="module")
def model_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    settings = {"max_points": 16, "scale_columns": True}
    prior = {"variables": 3, "skeletons": [{"max_ops": 3}]}
    checkpoints.save_model(path, model, {"settings": settings, "prior": prior}, [])
    return str(path)


@pytest.mark.parametrize("function", [sampling.propose, sampling.propose_control])
def test_proposers_yield_new_candidates_and_repeat_themselves(model_file, function):
    rng = np.random.default_rng(0)
    X = rng.uniform(1, 2, (30, 4))
    X[:, 2] = 1.0
    table = problem(X, X[:, 0] * X[:, 3])

    def run():
        groups = function(table, Budget(None), rng_for(0, "test"), samples=300, model=model_file)
        return [c.expr for group in groups for c in group]

    found = run()
    assert 20 < len(found) <= 300 and len({tuple(e) for e in found}) == len(found)
    assert all(is_valid(e) and set(variables(e)) <= {0, 1, 3} for e in found)
    assert found == run()


def test_proposers_stop_when_the_time_is_up(model_file):
    table = problem(np.random.default_rng(0).uniform(1, 2, (30, 2)), np.arange(30.0))
    budget = Budget(100.0)
    groups = sampling.propose(table, budget, rng_for(0, "test"), samples=10**9, model=model_file)
    next(groups)
    budget.stop()
    assert next(groups, None) is None


# ---- the command


def problems_file(path):
    rng = np.random.default_rng(0)
    with reader_writer.open_writer(path, "problem", [{"cmd": "test"}]) as writer:
        for i in range(3):
            X = rng.uniform(1, 2, (20, 2))
            writer.write(
                {"kind": "problem", "id": i, "X": X, "y": X[:, 0] * X[:, 1], "names": ["a", "b"], "target": "y"}
            )
    return str(path)


@pytest.mark.parametrize("decoder", sampling.DECODERS)
def test_the_command_passes_problems_on_with_candidates(tmp_path, model_file, decoder):
    source, out = problems_file(tmp_path / "p.zst"), tmp_path / "c.zst"
    args = [source, "--model", model_file, "--samples", "40", "--decoder", decoder, "-o", str(out)]
    result = CliRunner().invoke(sampling.sample, args)
    assert result.exit_code == 0, result.output
    with reader_writer.open_reader(out, holds="candidate") as reader:
        records = list(reader)
    assert [r["id"] for r in records if r["kind"] == "problem"] == [0, 1, 2]
    found = [r for r in records if r["kind"] == "candidate"]
    assert {r["problem"] for r in found} == {0, 1, 2}
    assert all(is_valid(r["expr"], 2) and r["logp"] <= 0 for r in found)
    one = [r for r in found if r["problem"] == 0]
    assert [r["logp"] for r in one] == sorted((r["logp"] for r in one), reverse=True)
    assert sum(r["n"] for r in one) <= 40
    again = tmp_path / "again.zst"
    args[-1] = str(again)
    assert CliRunner().invoke(sampling.sample, args).exit_code == 0
    with reader_writer.open_reader(again) as reader:
        assert [r["expr"] for r in reader if r["kind"] == "candidate"] == [r["expr"] for r in found]


def test_wrong_calls_are_told_in_one_line(tmp_path, model_file):
    source = problems_file(tmp_path / "p.zst")
    (tmp_path / "junk").write_bytes(b"junk" * 50)
    for args, code, message in (
        ([source, "--model", "absent"], 1, "absent: no such file"),
        ([source, "--model", str(tmp_path / "junk")], 1, "junk: not a whole safetensors file"),
        ([source, "--model", model_file, "--samples", "0"], 2, "samples"),
        ([str(tmp_path / "junk"), "--model", model_file], 1, "junk"),
    ):
        result = CliRunner().invoke(sampling.sample, args)
        assert result.exit_code == code and message in result.output and len(result.output.splitlines()) == 1


def test_help_works_as_a_module():
    run = subprocess.run([sys.executable, "-m", "fansr.network.sample", "--help"], capture_output=True, text=True)
    assert run.returncode == 0 and "fansr-render data/fastsrb.json | fansr-sample" in run.stdout


def test_batches_and_views_scale_alike():
    values = np.random.default_rng(0).uniform(1, 2, (1, 12, 2)) * np.array([1e6, 1.0])
    view = views.show(problem(values[0, :, 1:], values[0, :, 0]), ModelConfig(columns=2), {}, np.random.default_rng(0))
    made = batches.assemble(
        torch.as_tensor(values[..., 1:]),
        torch.as_tensor(values[..., 0]),
        torch.ones(1, 1, dtype=bool),
        torch.zeros(1, 3, dtype=torch.long),
        True,
    )
    np.testing.assert_array_equal(view.values, made.values.numpy())
