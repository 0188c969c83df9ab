"""gen against an independent slow sampler, exact enumerations, and itself in other pieces."""

import math
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import product

import numpy as np
import pytest
from scipy import stats

from fansr.corpus import gen
from fansr.corpus.prior import Prior, Skeletons, from_dict, load, to_dict
from fansr.errors import DataError
from fansr.expressions import prefix as expr
from fansr.expressions.tokens import BINARY, CONSTANT, OPERATOR, OPERATORS, UNARY
from fansr.streams import reader_writer

COMMAND = [sys.executable, "-c", "from fansr.corpus.gen import main; main()"]


# ---- an independent sampler -------------------------------------------------------------------


def slow_count(e, n, memo={}):  # noqa: B006
    """D(e, n) by its recursion, for any e and n."""
    if n == 0:
        return 1
    if e == 0:
        return 0
    if (e, n) not in memo:
        memo[e, n] = slow_count(e - 1, n) + slow_count(e, n - 1) + slow_count(e + 1, n - 1)
    return memo[e, n]


def slow_tree(n, rng):
    """Lample and Charton's algorithm as they write it: pick the place and arity of the next operator, n times."""
    nodes, left = [None], 0  # nodes in pre-order with holes (None); holes left of the last place stay leaves
    for remaining in range(n, 0, -1):
        empty = [i for i, node in enumerate(nodes) if node is None][left:]
        e = len(empty)
        options = [(k, a, slow_count(e - k + a - 1, remaining - 1)) for k in range(e) for a in (1, 2)]
        k, a, _ = rng.choices(options, weights=[weight for *_, weight in options])[0]
        at = empty[k]
        nodes[at : at + 1] = [a] + [None] * a
        left += k
    return nodes


def slow_skeleton(rng, D=17, alpha=0.7, max_ops=17):
    """One skeleton of section 3.3, step by step in plain Python."""
    sizes = range(max_ops + 1)
    n = rng.choices(sizes, weights=[math.exp(k**alpha) for k in sizes])[0]
    tree = slow_tree(n, rng)
    n_leaves = tree.count(None)
    symbols = [CONSTANT] + [f"x{j + 1}" for j in range(D)]
    chosen = rng.sample(symbols, rng.randint(1, min(n_leaves, D)))
    leaves = chosen + [rng.choice(chosen) for _ in range(n_leaves - len(chosen))]
    rng.shuffle(leaves)
    out = []
    for node in tree:
        if node is None:
            out.append(leaves.pop())
        else:
            names = UNARY if node == 1 else BINARY
            out.append(rng.choices(names, weights=[OPERATOR[name].weight for name in names])[0])
    return out


def facts(skeleton):
    """What appendix J counts."""
    used = expr.variables(skeleton)
    nodes = sum(token.startswith("x") and token[1:].isdigit() for token in skeleton)
    return len(skeleton), skeleton.count(CONSTANT), len(used), nodes, sum(t in UNARY for t in skeleton)


def test_statistics_of_appendix_j_equal_the_slow_sampler():
    rng = random.Random(1)
    slow = np.array([facts(slow_skeleton(rng)) for _ in range(4000)])
    fast = np.array([facts(skeleton) for skeleton in gen.sample_skeletons(Prior(), range(20000), seed=5)])
    for column, name in enumerate(("length", "constants", "unique variables", "variable nodes", "unary operators")):
        found = stats.ks_2samp(slow[:, column], fast[:, column])
        assert found.pvalue > 1e-3, (name, found)
    assert abs(np.corrcoef(slow[:, 2], slow[:, 3])[0, 1] - np.corrcoef(fast[:, 2], fast[:, 3])[0, 1]) < 0.05


def test_a_sampler_with_other_trees_would_be_noticed():
    """The comparison above has teeth: trees from the wrong count differ from the slow sampler at once."""
    rng = random.Random(2)
    slow = np.array([facts(slow_skeleton(rng)) for _ in range(4000)])
    wrong = Prior(skeletons=(Skeletons(unary=1.3),))
    fast = np.array([facts(skeleton) for skeleton in gen.sample_skeletons(wrong, range(20000), seed=5)])
    assert stats.ks_2samp(slow[:, 4], fast[:, 4]).pvalue < 1e-6


# ---- exact distributions ----------------------------------------------------------------------


def shape(skeleton):
    return tuple(expr.arity(token) for token in skeleton)


def all_shapes(n):
    """Arities in pre-order of every unary-binary tree with n inner nodes."""
    found = []

    def grow(prefix, to_come, left):
        if to_come == 0:
            if left == 0:
                found.append(tuple(prefix))
            return
        grow([*prefix, 0], to_come - 1, left)
        if left:
            grow([*prefix, 1], to_come, left - 1)
            grow([*prefix, 2], to_come + 1, left - 1)

    grow([], 1, n)
    return found


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_every_tree_is_equally_likely(n):
    shapes = all_shapes(n)
    assert len(shapes) == [1, 2, 6, 22, 90][n] == gen.count_trees(n)[1, n]  # the large Schroeder numbers
    prior = Prior(skeletons=(Skeletons(min_ops=n, max_ops=n),))
    counts = Counter(map(shape, gen.sample_skeletons(prior, range(20000), seed=n)))
    assert set(counts) <= set(shapes)
    assert stats.chisquare([counts[s] for s in shapes]).pvalue > 1e-3


def test_weights_of_unary_and_binary_nodes_weigh_the_trees():
    prior = Prior(skeletons=(Skeletons(min_ops=3, max_ops=3, unary=2.0, binary=0.5),))
    shapes = all_shapes(3)
    weights = np.array([2.0 ** s.count(1) * 0.5 ** s.count(2) for s in shapes])
    counts = Counter(map(shape, gen.sample_skeletons(prior, range(20000))))
    assert stats.chisquare([counts[s] for s in shapes], 20000 * weights / weights.sum()).pvalue > 1e-3


def test_number_of_operators():
    n = [sum(token in OPERATOR for token in s) for s in gen.sample_skeletons(Prior(), range(30000), seed=2)]
    weights = np.exp(np.arange(18) ** 0.7)
    counts = np.bincount(n, minlength=18)
    assert stats.chisquare(counts[4:], counts[4:].sum() * weights[4:] / weights[4:].sum()).pvalue > 1e-3
    assert counts[:4].sum() == pytest.approx(30000 * weights[:4].sum() / weights.sum(), abs=60)


def test_operators_follow_table_5():
    tokens = Counter(token for s in gen.sample_skeletons(Prior(), range(20000), seed=3) for token in s)
    for names in (UNARY, BINARY):
        weights = np.array([OPERATOR[name].weight for name in names])
        counts = np.array([tokens[name] for name in names])
        assert stats.chisquare(counts, counts.sum() * weights / weights.sum()).pvalue > 1e-3


@pytest.mark.parametrize("D", [1, 2, 3])
def test_leaves_follow_the_procedure_exactly(D):
    """Three leaves over D variables and the constant: all (D + 1)**3 outcomes against their probabilities."""
    symbols = [CONSTANT] + [f"x{j + 1}" for j in range(D)]
    expected = dict.fromkeys(product(symbols, repeat=3), 0.0)
    most = min(3, D)
    for unique in range(1, most + 1):
        for leaves in expected:
            if len(set(leaves)) != unique:  # every chosen symbol gets a leaf
                continue
            sets = math.comb(D + 1, unique)
            # First `unique` leaves one of each, the others copies, all 3! orders alike.
            arrangements = list(product(range(unique), repeat=3 - unique))
            chosen = sorted(set(leaves))
            hits = sum(Counter(chosen + [chosen[i] for i in pick]) == Counter(leaves) for pick in arrangements)
            orders = math.factorial(3) // math.prod(math.factorial(c) for c in Counter(leaves).values())
            expected[leaves] += hits / len(arrangements) / orders / sets / most
    assert sum(expected.values()) == pytest.approx(1.0)
    prior = Prior(variables=D, skeletons=(Skeletons(min_ops=2, max_ops=2, unary=0.0),))
    counts = Counter(
        tuple(t for t in s if t not in OPERATOR) for s in gen.sample_skeletons(prior, range(30000), seed=D)
    )
    possible = [leaves for leaves in expected if expected[leaves] > 0]
    assert set(counts) <= set(possible)
    assert stats.chisquare([counts[p] for p in possible], [30000 * expected[p] for p in possible]).pvalue > 1e-3


def test_weighted_constant_is_drawn_by_its_weight():
    prior = Prior(variables=3, skeletons=(Skeletons(min_ops=0, max_ops=0, constant=3.0),))
    counts = Counter(s[0] for s in gen.sample_skeletons(prior, range(20000)))
    assert (
        stats.chisquare(
            [counts[t] for t in (CONSTANT, "x1", "x2", "x3")], [10000, 10000 / 3, 10000 / 3, 10000 / 3]
        ).pvalue
        > 1e-3
    )


def test_a_law_can_be_asked_to_depend_on_something():
    for depends, bare in ((0, 0.25), (1, 0.0)):
        prior = Prior(variables=1, skeletons=(Skeletons(min_ops=1, max_ops=1, constant=1.0, depends=depends),))
        share = np.mean([not expr.variables(s) for s in gen.sample_skeletons(prior, range(4000))])
        assert share == pytest.approx(2 * bare, abs=0.03)


# ---- validity, identity, shards ---------------------------------------------------------------


@pytest.mark.parametrize("name", ["prior", "prior-wide"])
def test_every_skeleton_is_valid_and_within_bounds(name):
    prior = load(name)
    for skeleton in gen.sample_skeletons(prior, range(3000), seed=9):
        assert expr.problems(skeleton, prior.variables) is None
        assert len(skeleton) <= prior.max_symbols == 35


def test_a_skeleton_depends_on_its_id_alone():
    prior = load("prior-wide")
    whole = gen.sample_tokens(prior, np.arange(5000), seed=4)
    ids = np.array([4999, 0, 17, 18, 19, 2047, 2048, 3])
    assert np.array_equal(gen.sample_tokens(prior, ids, seed=4), whole[ids])
    assert not np.array_equal(gen.sample_tokens(prior, ids, seed=5), whole[ids])
    far = gen.sample_tokens(prior, [2**62, 2**64 - 1], seed=4)  # counters beyond 64 bits
    assert np.array_equal(far[1:], gen.sample_tokens(prior, [2**64 - 1], seed=4))


def records(path):
    with reader_writer.open_reader(path) as reader:
        found = list(reader)
        return found, reader.checksum


def run(*args, **extra):
    return subprocess.run([*COMMAND, *map(str, args)], capture_output=True, text=True, check=False, **extra)


def test_any_number_of_workers_gives_the_same_records(tmp_path):
    for jobs in (1, 2):
        assert run("-n", 20000, "--seed", 3, "-j", jobs, "-o", tmp_path / f"{jobs}.zst").returncode == 0
    one, two = records(tmp_path / "1.zst"), records(tmp_path / "2.zst")
    assert one == two
    assert [r["expr"] for r in one[0]] == gen.sample_skeletons(Prior(), range(20000), seed=3)


def test_shards_join_to_the_whole(tmp_path):
    run("-n", 1001, "-j", 1, "-o", tmp_path / "whole.zst")
    whole, checksum = records(tmp_path / "whole.zst")
    parts = []
    for i in range(3):
        run("-n", 1001, "-j", 1, "--shard", f"{i}/3", "-o", tmp_path / f"{i}.zst")
        parts.append(records(tmp_path / f"{i}.zst"))
    assert [record for part, _ in parts for record in part] == whole
    assert sum(c for _, c in parts) % 2**64 == checksum
    joined = b"".join((tmp_path / f"{i}.zst").read_bytes() for i in range(3))
    (tmp_path / "cat.zst").write_bytes(joined)
    assert records(tmp_path / "cat.zst") == (whole, checksum)


def test_a_missing_or_doubled_shard_is_noticed(tmp_path):
    cat = [sys.executable, "-c", "from fansr.cli.cat import main; main()"]
    for i in range(3):
        run("-n", 100, "-j", 1, "--shard", f"{i}/3", "-o", tmp_path / f"{i}.zst")
    run("-n", 100, "-j", 1, "-o", tmp_path / "whole.zst")
    files = [str(tmp_path / f"{i}.zst") for i in (2, 0, 1)]
    whole = records(tmp_path / "whole.zst")[1]

    def call(*args):
        return subprocess.run([*cat, *args], capture_output=True, text=True, check=False)

    good = call("--check", *files)
    assert good.returncode == 0 and f"checksum {whole:016x}, all shards of ids 0 to 99" in good.stdout
    for chosen, said in (
        (files[:2], "ids 33 to 65 of 0 to 99 are in none"),
        (files[1:], "ids 66 to 99"),
        ([*files, files[0]], "in more than one"),
    ):
        for mode in ("--check", "--merge"):
            bad = call(mode, "-o", str(tmp_path / "bad.zst"), *chosen)
            assert bad.returncode == 1 and said in bad.stderr, bad.stderr
            assert not (tmp_path / "bad.zst").exists()
    assert call("--merge", "-o", str(tmp_path / "all.zst"), *files).returncode == 0
    assert records(tmp_path / "all.zst")[1] == whole


def test_a_killed_run_goes_on_where_it_stopped(tmp_path):
    target = tmp_path / "k.zst"
    args = [*COMMAND, "-n", "150000", "-j", "1", "-o", str(target)]
    process = subprocess.Popen(args)
    part = tmp_path / "k.zst.part.state"
    deadline = time.monotonic() + 60
    while not part.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not target.exists()
    assert run("-n", 150000, "-j", 1, "-o", target, "--resume").returncode == 0
    found, _ = records(target)
    assert len(found) == 150000
    assert [r["id"] for r in found] == list(range(150000))
    sample = list(range(0, 150000, 997))
    assert [found[i]["expr"] for i in sample] == gen.sample_skeletons(Prior(), sample)


# ---- priors -----------------------------------------------------------------------------------


def test_the_shipped_prior_is_the_papers():
    assert load("prior") == load("configs/prior.toml") == Prior()
    assert from_dict(to_dict(load("prior-wide"))) == load("prior-wide")
    weights = Skeletons().operator_weights()
    assert [w for w, row in zip(weights, OPERATORS) if row.token in "+-*/"] == [10.0] * 4


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"variabels": 3}, "unknown key variabels"),
        ({"variables": 18}, "variables is 18"),
        ({"variables": "many"}, "wanted a whole number"),
        ({"skeletons": [{"weights": {"sine": 1.0}}]}, "no operator of Table 5"),
        ({"skeletons": [{"alfa": 1}]}, "[[skeletons]] 1: unknown key alfa"),
        ({"skeletons": {"alpha": 1}}, "[[skeletons]]"),
        ({"skeletons": [{"min_ops": 5, "max_ops": 4}]}, "wanted 0 <= min <= max"),
        ({"constants": [{"kind": "cauchy"}]}, "wanted one of normal"),
        ({"columns": [{"kind": "log", "low": -60, "high": 0}]}, "beyond float32"),
        ({"noisy": 2.0}, "wanted a probability"),
        ({"skeletons": [{"alpha": -1.0}]}, "[[skeletons]] 1: alpha is -1.0, wanted 0 to 10"),
        ({"skeletons": [{"alpha": 1e9}]}, "alpha is"),
        ({"skeletons": [{"alpha": math.nan}]}, "alpha is nan, wanted a number"),
        ({"skeletons": [{"share": math.inf}]}, "share is inf, wanted a number"),
        ({"skeletons": [{"unary": 1e9}]}, "unary and binary must be from 0 to"),
        ({"skeletons": [{"max_unique": 10**30}]}, "max_unique is"),
        ({"skeletons": [{"weights": 5}]}, "weights is 5, wanted a table"),
        ({"skeletons": [{"weights": {"sin": 1e300}}]}, "the weight of sin is"),
        ({"skeletons": [{"weights": {"sin": True}}]}, "the weight of sin is"),
        ({"constants": [{"share": 1e308}]}, "share is"),
        ({"constants": [{"kind": ["log"]}]}, "wanted one of normal"),
        ({"constants": []}, "[[constants]]"),
        ({"max_points": 10**9}, "max_points is"),
        ({"redraws": 10**6}, "redraws"),
        ({"variables": True}, "variables is True"),
        ({"variables": [17]}, "variables is"),
    ],
)
def test_a_wrong_prior_says_what_is_wrong(values, said):
    with pytest.raises(DataError) as error:
        from_dict(values, "p.toml")
    assert "p.toml" in str(error.value)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (["--shard", "3/3"], 2, "--shard"),
        (["--shard", "x"], 2, "i/n"),
        (["--config", "missing.toml"], 1, "no such file"),
        (["-o", "/dev/full"], 1, "No space left"),
    ],
)
def test_wrong_calls(args, status, said):
    done = run("-n", 100, *args)
    assert done.returncode == status
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
