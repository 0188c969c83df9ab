"""Learning from the search (expert iteration, smallest form): does training on the kinds of laws that the search misses find more of them?

    bin/bench-hard-laws --runs out/hard-laws

1. Harvest: fresh laws of the campaign's prior, half of them of skeletons that no run with the default --hold learns from; the whole
   search without the network, --budget processor seconds each; hard are those it does not find, or finds after half of it.
2. Kinds: hard laws of the learnable half, and mutations of them (operators exchanged, subtrees exchanged with other hard laws', cut,
   grown, variables renamed), simplified and guarded (fansr-decontam) against all shipped catalogues and the held-out hard laws.
3. Training goes on from the plateau in data/models, decaying for --seconds processor seconds: on the ordinary pool, which is guarded
   in the same way, and with --share of the rows from the kinds.  Each from every seed.
4. Judgement: held-out hard laws found from --draws draws of the network alone on the tables the search failed on, that is found for the first time,
   nats a law of their skeletons, and the same on ordinary held-out laws, so that what it costs is seen.

A law is found when the candidate that fits best explains all but 1.19e-7 of the variance of unseen points.  Everything stays in --runs;
a run that was stopped goes on.  Prints a JSON line for each network, then a table in Markdown.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import dataclasses
import json
import shutil
import time
from collections import Counter
from pathlib import Path

import click
import numpy as np

from bench.composite_laws import on_the_processor
from bench.constant_priors import called, pairs
from bench.model import FOUND, run as rounds
from bench.network_worth import EXTREMES, clocked
from fansr.cli import command, resources
from fansr.corpus import draw_kernels, prior as priors
from fansr.evaluation.metrics import fvu
from fansr.expressions import ARITY, CONSTANT, PAD_ID, TOKEN_ID, decode, evaluate, from_tree, to_tree, variables
from fansr.fitting import Budget, Problem
from fansr.network import sample
from fansr.network.configuration import Settings
from fansr.network.skeleton_pool import compact, held_out, read_pool
from fansr.streams import reader_writer, rng_for

SETTINGS = Settings(columns=9, max_length=32)  # of the shipped model
HOLD = 0.01  # the default of fansr-train
POINTS = 256
LATE = 0.5  # of the budget: a law found after that is hard too
SIDES = ("learned", "held")
ARMS = ("ordinary", "hard")


# ---- the harvest -----------------------------------------------------------------------------


def ordinary_pool(folder: Path, n: int, seed: int) -> Path:
    """Fresh skeletons of the campaign's prior, simplified and guarded against the shipped catalogues."""
    path = folder / "fresh.zst"
    if not path.exists():
        prior = resources.path("configs", "campaign-prior.toml")
        called("gen", f"-n {n} --seed {seed} --config {prior} -j 1 -q -o {folder}/drawn.zst")
        called("simplify", f"--relax -j 1 -q -o {folder}/simplified.zst {folder}/drawn.zst")
        called("decontam", f"-j 1 -q -o {path} {folder}/simplified.zst")
        for name in ("drawn", "simplified"):
            (folder / f"{name}.zst").unlink()
    return path


def candidates(stream: Path, n: int) -> list[tuple[str, list[str]]]:
    """(side, skeleton) of at most n laws of each side by turns, each once, in random order: as often short as the prior draws them."""
    rows = read_pool([stream], SETTINGS)[0].tokens
    out = held_out(rows, HOLD)
    found = []
    for side, mine in zip(SIDES, (rows[~out], rows[out])):
        order = rng_for(0, f"bench-hard-laws.{side}").permutation(len(mine))[: 4 * n]
        _, first = np.unique(mine[order], axis=0, return_index=True)
        found.append([(side, decode(mine[k][mine[k] != PAD_ID])) for k in order[np.sort(first)][:n]])
    return [law for both in zip(*found) for law in both]


def row_of(expr: list[str]) -> np.ndarray:
    """Tokens (1, W) uint8 of a skeleton."""
    row = np.zeros((1, SETTINGS.max_length - 2), np.uint8)
    row[0, : len(expr)] = [TOKEN_ID[token] for token in expr]
    return row


def table(expr: list[str], prior: priors.Prior) -> Problem | None:
    """POINTS clean points of a skeleton with numbers of the prior and as many unseen ones; None where it cannot be drawn, or where
    few rows hold most of the variance."""
    row, columns = compact(row_of(expr))
    seed = rng_for(0, "bench-hard-laws.numbers " + " ".join(expr)).integers(1 << 31)
    clean = dataclasses.replace(prior, noisy=0.0, irrelevant=0.0)
    drawn = draw_kernels.draw(clean, row, np.zeros(1, np.int64), 2 * POINTS, int(seed), stage="bench-hard-laws")
    X, y = drawn["X"][0, : columns[0]].T.copy(), drawn["y"][0].copy()
    if drawn["status"][0] < 0 or not np.ptp(y[:POINTS]) > 0 or not np.ptp(y[POINTS:]) > 0:
        return None
    if np.abs(y).max() > EXTREMES * np.median(np.abs(y)):
        return None
    names = [f"x{j + 1}" for j in range(X.shape[1])]
    return Problem(X[:POINTS], y[:POINTS], names, id=int(seed), X_val=X[POINTS:], y_val=y[POINTS:])


def searched(problem: Problem, seconds: float) -> tuple[bool, float]:
    """Whether the whole search without the network finds the law of a table, and its processor seconds."""
    from fansr.search import turns

    proposers = tuple(name for name in turns.DEFAULT_PROPOSERS if name != "model")
    begun = time.process_time()
    shown = Problem(problem.X, problem.y, problem.names)
    best = turns.search(shown, turns.Options(seed=0, proposers=proposers, quiet=True), Budget(seconds)).best
    spent = time.process_time() - begun
    if best is None:
        return False, spent
    with np.errstate(all="ignore"):
        error = fvu(problem.y_val, evaluate(best.expr, problem.X_val, best.consts))
    return bool(np.isfinite(error) and error <= FOUND), spent


def harvest(folder: Path, stream: Path, prior: priors.Prior, budget: float, total: float, least: int) -> list[dict]:
    """What the search made of the laws, a JSON line each in harvest.jsonl, for `total` processor seconds or until both sides have
    `least` hard ones."""
    path = folder / "harvest.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {tuple(row["expr"]) for row in rows}
    clocked()
    with open(path, "a") as file:
        for side, expr in candidates(stream, 20_000):
            if sum(row["seconds"] for row in rows) >= total:
                break
            if min(sum(is_hard(row, budget) for row in rows if row["side"] == s) for s in SIDES) >= least:
                break
            if tuple(expr) in known or (problem := table(expr, prior)) is None:
                continue
            found, spent = searched(problem, budget)
            rows.append({"side": side, "expr": expr, "found": found, "seconds": round(spent, 3)})
            file.write(json.dumps(rows[-1]) + "\n")
            file.flush()
    return rows


def is_hard(row: dict, budget: float) -> bool:
    """Whether the search missed a law, or found it late."""
    return not row["found"] or row["seconds"] > LATE * budget


# ---- kinds -----------------------------------------------------------------------------------


def places(tree, at: tuple = ()) -> list[tuple]:
    """The paths of all nodes of a tree (operator, child, ...)."""
    below = (
        [place for k, child in enumerate(tree[1:], 1) for place in places(child, (*at, k))]
        if isinstance(tree, tuple)
        else []
    )
    return [at, *below]


def node(tree, at: tuple):
    """The subtree at a path."""
    for k in at:
        tree = tree[k]
    return tree


def put(tree, at: tuple, other):
    """The tree with another subtree at a path."""
    if not at:
        return other
    return (*tree[: at[0]], put(tree[at[0]], at[1:], other), *tree[at[0] + 1 :])


def mutated(tree, trees: list, rng: np.random.Generator):
    """The tree with one random change: an operator for another, a subtree for one of `trees`' or for a leaf, or one more operator.

    Operators are those of `trees`, as often as they stand there.
    """
    at = (found := places(tree))[rng.integers(len(found))]
    here, other = node(tree, at), trees[rng.integers(len(trees))]
    giver = node(other, (found := places(other))[rng.integers(len(found))])
    leaf = CONSTANT if rng.random() < 0.4 else f"x{rng.integers(1, 5)}"
    kind = rng.integers(4)
    if kind == 0:
        return put(tree, at, giver)
    if kind == 1:
        return put(tree, at, leaf)
    if not isinstance(giver, tuple):
        return tree
    if kind == 2 and isinstance(here, tuple) and len(here) == len(giver):
        return put(tree, at, (giver[0], *here[1:]))
    return put(tree, at, (giver[0], here) if ARITY[giver[0]] == 1 else (giver[0], here, leaf))


def kinds(laws: list[list[str]], n: int) -> list[list[str]]:
    """n skeletons of the laws' kinds: each of them as it is or changed once to three times, their variables in another order."""
    trees, found = [to_tree(expr) for expr in laws], []
    for i in range(n):
        rng = rng_for(0, "bench-hard-laws.kinds", i)
        tree = trees[i % len(trees)]
        for _ in range(rng.integers(4)):
            tree = mutated(tree, trees, rng)
        expr = from_tree(tree)
        used = variables(expr)
        order = dict(zip(used, rng.permutation(used).tolist()))
        expr = [f"x{order[int(token[1:]) - 1] + 1}" if token[0] == "x" else token for token in expr]
        if used and len(used) <= SETTINGS.columns and len(expr) <= SETTINGS.max_length:
            found.append(expr)
    return found


def written(path: Path, exprs: list[list[str]]) -> Path:
    """A stream of skeletons."""
    with reader_writer.open_writer(path, "skeleton", []) as writer:
        for i, expr in enumerate(exprs):
            writer.write({"kind": "skeleton", "id": i, "expr": expr})
    return path


def pools(folder: Path, stream: Path, hard: dict[str, list[list[str]]], n: int) -> dict[str, Path]:
    """{"ordinary", "kinds"}: what is learned from, neither of which holds a held-out hard law in any order of its variables."""
    found = {"ordinary": folder / "ordinary.zst", "kinds": folder / "kinds.zst"}
    if not found["kinds"].exists():
        held = written(folder / "hard-held.zst", hard["held"])
        raw = written(folder / "raw-kinds.zst", kinds(hard["learned"], n))
        called("decontam", f"--test {held} -j 1 -q -o {found['ordinary']} {stream}")
        called("simplify", f"--relax -j 1 -q -o {folder}/simple-kinds.zst {raw}")
        tests = " ".join(f"--test {path}" for path in (held, *resources.catalogues()))
        called("decontam", f"{tests} -j 1 -q -o {found['kinds']} {folder}/simple-kinds.zst")
    return found


# ---- training --------------------------------------------------------------------------------


def train(home: Path, streams: dict[str, Path], arm: str, share: float, seed: int, seconds: float) -> Path:
    """Go on from the plateau, decaying for so many processor seconds; the model file."""
    done = home / "model.safetensors"
    if not done.exists():
        plateau = resources.path("data", "models", "tiny-plateau")
        if not (home / "latest").exists():
            step = f"step-{json.loads((plateau / 'state.json').read_text())['step']:08d}"
            (home / step).mkdir(parents=True, exist_ok=True)
            for file in (*plateau.glob("*.safetensors"), plateau / "state.json"):
                shutil.copy(file, home / step)
            (home / "latest").write_text(step + "\n")
        mix = f"--mix {streams['kinds']}:{share}" if arm == "hard" else ""
        called(
            "train",
            f"{streams['ordinary']} {mix} --config {resources.path('configs', 'tiny.toml')} "
            f"--prior {resources.path('configs', 'campaign-prior.toml')} --schedule decay --resume --minutes {seconds / 60} --clock cpu "
            f"--seed {seed} --threads 1 -j 1 --eval-seconds 1e9 --save-seconds 60 --no-compile -q --out {home}",
        )
    return done


# ---- judgement -------------------------------------------------------------------------------


def nats(file: Path, exprs: list[list[str]], prior: priors.Prior) -> float:
    """Nats a law of these skeletons on fresh clean tables of 32 points."""
    from bench import nats as measure
    from fansr.network import checkpoints

    model, told = checkpoints.load_model(file)
    clean = dataclasses.replace(prior, noisy=0.0, irrelevant=0.0)
    rows = np.concatenate([row_of(expr) for expr in exprs for _ in range(8)])
    return measure.nats(model, told["training"], rows, clean, 32)[0]


def judged(home: Path, file: Path, tests: dict[str, list[tuple[list[str], Problem]]], prior, draws: int) -> dict:
    """Laws found at `draws` draws (a list of bool for each test) and nats a law, kept beside the network."""
    kept = home / f"judged-{draws}.json"
    if not kept.exists():
        told = json.loads(file.with_suffix(".json").read_text())["training"]
        line: dict = {"million samples": round(told["samples"] / 1e6, 3)}
        sample.FIRST_DRAWS = 1
        for name, laws in tests.items():
            states = [rounds(sample.propose, problem, str(file), draws) for _, problem in laws]
            line[f"{name} found"] = [bool(some and some[-1][2]) for some in states]
            line[f"{name} nats"] = nats(file, [expr for expr, _ in laws], prior)
        kept.write_text(json.dumps(line))
    return json.loads(kept.read_text())


def markdown(lines: dict[tuple[str, int], dict], tests: tuple[str, ...]) -> str:
    """A row for each network."""
    out = ["| | seed | million samples | " + " | ".join(f"{t} laws found | nats a law" for t in tests) + " |"]
    out.append("|" + "---|" * (3 + 2 * len(tests)))
    for (arm, seed), line in lines.items():
        cells = [f"{sum(line[f'{t} found'])} of {len(line[f'{t} found'])} | {line[f'{t} nats']:.2f}" for t in tests]
        out.append(f"| {arm} | {seed} | {line['million samples']} | " + " | ".join(cells) + " |")
    return "\n".join(out)


@command.command(example="bin/bench-hard-laws --runs out/hard --seconds 60 --harvest 60 --seeds 1")
@click.option("--runs", required=True, metavar="DIR", help="Where everything stays.")
@click.option("--skeletons", default=300_000, show_default=True, type=click.IntRange(1000), help="Drawn for the pool.")
@click.option("--budget", default=1.0, show_default=True, type=float, help="Processor seconds of a search.")
@click.option(
    "--harvest", "total", default=600.0, show_default=True, type=float, help="Processor seconds of all searches."
)
@click.option(
    "--hard",
    "least",
    default=10_000,
    show_default=True,
    type=click.IntRange(1),
    help="Or so many hard laws of either half.",
)
@click.option(
    "--mutants", default=60_000, show_default=True, type=click.IntRange(1), help="Skeletons of the hard kinds."
)
@click.option(
    "--share",
    default=0.33,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Of the rows, from the kinds.",
)
@click.option("--seconds", default=360.0, show_default=True, type=float, help="Processor seconds of each training.")
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1))
@click.option("--draws", default=1023, show_default=True, type=click.IntRange(1), help="Of a network, for each law.")
@click.option("--laws", default=120, show_default=True, type=click.IntRange(1), help="At most, of each test.")
@click.option("--seed", default=31, show_default=True, help="Of the pool.")
@click.option("--only", type=click.Choice(["harvest", "train"]), help="Stop after this step.")
def bench_hard_laws(runs, skeletons, budget, total, least, mutants, share, seconds, seeds, draws, laws, seed, only):
    """Train on the kinds of laws that the search misses, and see what is found for the first time."""
    folder = Path(runs)
    folder.mkdir(parents=True, exist_ok=True)
    prior = priors.load(str(resources.path("configs", "campaign-prior.toml")))
    stream = ordinary_pool(folder, skeletons, seed)
    rows = harvest(folder, stream, prior, budget, total, least)
    for side in SIDES:
        mine = [row for row in rows if row["side"] == side]
        told = Counter("missed" if not r["found"] else "late" if is_hard(r, budget) else "found" for r in mine)
        tokens = np.mean([len(r["expr"]) for r in mine if is_hard(r, budget)] or [np.nan])
        click.echo(json.dumps({"laws": side, "searched": len(mine), **told, "tokens of hard ones": round(tokens, 1)}))
    if only == "harvest":
        return
    hard = {side: [r["expr"] for r in rows if r["side"] == side and is_hard(r, budget)] for side in SIDES}
    streams = pools(folder, stream, hard, mutants)
    homes = {(arm, s): folder / f"{arm}-{s}" for s in range(seeds) for arm in ARMS}
    files = {key: train(home, streams, key[0], share, key[1], seconds) for key, home in homes.items()}
    if only == "train":
        return
    easy = [r["expr"] for r in rows if r["side"] == "held" and not is_hard(r, budget)]
    missed = [r["expr"] for r in rows if r["side"] == "held" and not r["found"]]
    late = [expr for expr in hard["held"] if expr not in missed]
    on_the_processor()
    tests = {
        name: [(expr, problem) for expr in some if (problem := table(expr, prior)) is not None][:laws]
        for name, some in (("missed", missed), ("late", late), ("ordinary", easy)) if some
    }  # fmt: skip
    lines = {}
    for key, home in homes.items():
        lines[key] = judged(home, files[key], tests, prior, draws)
        short = {k: sum(v) if isinstance(v, list) else v for k, v in lines[key].items()}
        click.echo(json.dumps({"arm": key[0], "seed": key[1], **short}))
    for name in tests:
        hits = {arm: np.array([lines[arm, s][f"{name} found"] for s in range(seeds)]) for arm in ARMS}
        for row in pairs({"hard": hits["hard"], "ordinary": hits["ordinary"]}):
            click.echo(json.dumps({"test": name, **row}))
    click.echo(markdown(lines, tuple(tests)))


main = bench_hard_laws


if __name__ == "__main__":
    main()
