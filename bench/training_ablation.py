"""The paper's ablations of training: skeletons not simplified (A-U), norms after the sums (B1), inputs of 16 bits (B2).

    bin/bench-training-ablation --runs out/training-ablation -o out/training-ablation.png

Small networks of two columns learn for the same seconds of the processor, two seeds each:

    base    as the shipped one: simplified skeletons, norms before each part, 32 bits a number, float32
    A-U     the same laws as they were drawn, not simplified
    B1      post-norm, in encoder and decoder
    B2      16 bits a number, half precision
    bf16    matrix products in bfloat16, which is no ablation of the paper's but the other meaning of 16 bits

All are judged on the same tables, of laws whose simplified form no training saw in any spelling: nats a law of the simplified
skeleton on ordinary tables and on columns of far scales, nats a law of the skeleton as drawn, laws recovered on unseen points
from --draws draws (section 3.5's way: equation 3, nothing tidied) of tables of either kind, the recovered laws' length
over that of the simplified truth, and how long the drawn sequences are and how many laws they come to.

Prints a JSON line for each network, then a table in Markdown; draws losses and gradient norms against processor seconds.
Networks and judgements in --runs are not made again; a run that was stopped goes on.
"""

from __future__ import annotations

from fansr.cli import single_thread  # noqa: F401  # isort: skip  (before numpy)

import json
import tempfile
import tomllib
from pathlib import Path

import click
import numpy as np

from bench.constant_priors import called, pairs
from bench.paper import candidates
from fansr.cli import command
from fansr.corpus import draw_kernels, prior as priors
from fansr.evaluation import plot_style
from fansr.evaluation.metrics import EPS32, fvu
from fansr.expressions import PAD_ID, TOKEN_ID
from fansr.expressions.programs import evaluate
from fansr.fitting import Problem
from fansr.network.configuration import Settings
from fansr.network.skeleton_pool import compact, fault, held_out
from fansr.streams import reader_writer, rng_for

POINTS = 32
HOLD = 0.02  # share of the distinct simplified skeletons that nobody learns from
COLUMNS, LONGEST = 2, 24
PRIOR = f"""variables = {COLUMNS}
min_points = 8
max_points = {POINTS}

[[skeletons]]           # short formulas, as the shipped model's
alpha = 1.0
scale = 10.0
min_ops = 1
max_ops = 8
max_unique = {COLUMNS}
constant = 3.0
others = 0.3
weights = {{ "*" = 10.0, "/" = 8.0, "+" = 8.0, "-" = 8.0, pow = 0.2, pow2 = 5.0, inv = 1.0, neg = 2.0, exp = 3.0, log = 1.0, sin = 1.5, cos = 1.5 }}

[[constants]]
kind = "normal"
spread = 5.0

[[columns]]
kind = "edges"
share = 0.8
spread = 10.0

[[columns]]             # what half precision has no room for
kind = "log"
share = 0.2
low = -8.0
high = 8.0
spread = 2.0
"""
MODEL = {
    "columns": COLUMNS, "width": 64, "heads": 2, "feed_forward": 192, "inducing": 8, "seeds": 8, "decoder_layers": 2,
    "max_length": LONGEST, "dropout": 0.0,
}  # fmt: skip
OPTIONS = {
    "optimizer": "muon", "lr": 2e-3, "batch": 256, "warmup": 0.03, "decay": 0.5, "beta2": 0.98, "min_points": 8,
    "max_points": POINTS, "scale_columns": False,
}  # fmt: skip
# What differs from the base: the stream, keys of [model], options of the command.
VARIANTS: dict[str, tuple[str, dict, str]] = {
    "base": ("simplified", {}, "--dtype float32"),
    "A-U": ("drawn", {}, "--dtype float32"),
    "B1": ("simplified", {"post_norm": True}, "--dtype float32"),
    "B2": ("simplified", {"bits": 16}, "--dtype float32"),
    "bf16": ("simplified", {}, "--dtype bfloat16"),
}
SPELLINGS = ("simplified", "drawn")


# ---- the laws --------------------------------------------------------------------------------


def spelled_twice(drawn: Path, simplified: Path) -> list[tuple[int, list[str], list[str], bool]]:
    """(id, as drawn, simplified, held) of the laws that can be learned in both spellings; held by the simplified one's hash."""
    settings = Settings(columns=COLUMNS, max_length=LONGEST)
    with reader_writer.open_reader(drawn, holds="skeleton") as reader:
        raw = {record["id"]: record["expr"] for record in reader}
    with reader_writer.open_reader(simplified, holds="skeleton") as reader:
        both = [(record["id"], raw[record["id"]], record["expr"]) for record in reader]
    both = [one for one in both if not fault(one[1], settings) and not fault(one[2], settings)]
    rows = np.zeros((len(both), LONGEST - 2), np.uint8)
    for row, (_, _, expr) in zip(rows, both):
        row[: len(expr)] = [TOKEN_ID[token] for token in expr]
    return [(*one, bool(out)) for one, out in zip(both, held_out(compact(rows)[0], HOLD))]


def corpus(folder: Path, skeletons: int) -> dict[str, tuple[Path, Path]]:
    """{spelling: (stream that is learned from, stream held out)}; the held-out streams hold the same laws in the same order."""
    found = {name: (folder / f"{name}.zst", folder / f"held-{name}.zst") for name in SPELLINGS}
    if found["drawn"][1].exists():
        return found
    (folder / "skeletons.toml").write_text(PRIOR)
    called("gen", f"-n {skeletons} --config {folder}/skeletons.toml -j 1 -q -o {folder}/all.zst")
    called("simplify", f"--relax -j 1 -q -o {folder}/all-simplified.zst {folder}/all.zst")
    laws = spelled_twice(folder / "all.zst", folder / "all-simplified.zst")
    for place, name in enumerate(SPELLINGS):
        for held, path in enumerate(found[name]):
            with reader_writer.open_writer(path, "skeleton", []) as writer:
                for law in laws:
                    if law[3] == bool(held):
                        writer.write({"kind": "skeleton", "id": law[0], "expr": law[2 - place]})
    for name in ("all", "all-simplified"):
        (folder / f"{name}.zst").unlink()
    return found


def rows_of(stream: Path) -> np.ndarray:
    """Tokens (n, W) uint8 of a stream, columns packed, in the stream's order."""
    with reader_writer.open_reader(stream, holds="skeleton") as reader:
        exprs = [record["expr"] for record in reader]
    rows = np.zeros((len(exprs), LONGEST - 2), np.uint8)
    for row, expr in zip(rows, exprs):
        row[: len(expr)] = [TOKEN_ID[token] for token in expr]
    return compact(rows)[0]


def tables(rows: np.ndarray, n: int) -> list[Problem]:
    """Tables of the first n skeletons of `rows` (N, W) that can be drawn, POINTS points shown and POINTS unseen; id: the row."""
    law = priors.from_dict(tomllib.loads(PRIOR))
    law = law.__class__(**{**law.__dict__, "columns": tuple(kind for kind in law.columns if kind.kind == "edges")})
    _, columns = compact(rows)
    drawn = draw_kernels.draw(law, rows, np.arange(len(rows)), 2 * POINTS, 0, stage="bench-training-ablation")
    found = []
    for i in np.flatnonzero(drawn["status"] >= 0):
        X, y = drawn["X"][i, : columns[i]].T.copy(), drawn["y"][i].copy()
        if np.ptp(y[:POINTS]) > 0 and np.ptp(y[POINTS:]) > 0:
            names = [f"x{j + 1}" for j in range(X.shape[1])]
            found.append(Problem(X[:POINTS], y[:POINTS], names, id=int(i), X_val=X[POINTS:], y_val=y[POINTS:]))
    return found[:n]


def sampled(rows: np.ndarray, n: int) -> np.ndarray:
    """Numbers of n different skeletons among the rows, as often as the prior draws them."""
    order = rng_for(0, "bench-training-ablation.laws").permutation(len(rows))
    _, first = np.unique(rows[order], axis=0, return_index=True)
    return order[np.sort(first)][:n]


# ---- training --------------------------------------------------------------------------------


def config_text(variant: str) -> str:
    """The config of a variant's training, as TOML."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in OPTIONS.items()]
    model = MODEL | VARIANTS[variant][1]
    return "\n".join([*lines, "", "[model]", *(f"{key} = {json.dumps(value)}" for key, value in model.items())]) + "\n"


def train(folder: Path, streams: dict, variant: str, seed: int, seconds: float) -> Path:
    """Train a network in `folder` for so many processor seconds; its model file."""
    done = folder / "run" / "model.safetensors"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prior.toml").write_text(PRIOR)
        (folder / "config.toml").write_text(config_text(variant))
        spelling, _, more = VARIANTS[variant]
        again = "--resume" if list(folder.glob("run/step-*")) else ""
        called(
            "train",
            f"{streams[spelling][0]} --config {folder}/config.toml --prior {folder}/prior.toml --val {streams['simplified'][1]} "
            f"--hold 0 --minutes {seconds / 60} --clock cpu --seed {seed} --threads 1 -j 1 --eval-seconds {seconds / 12} "
            f"--save-seconds 60 --no-compile -q {more} --out {folder}/run {again}",
        )
    return done


def curves(folder: Path) -> dict[str, np.ndarray]:
    """ "loss" (n, 2): processor seconds, nats a law on the held-out tables; "norm" (m, 2): seconds, gradient norm before clipping."""
    loss, norm = [], []
    for path in sorted(folder.glob("run/metrics-*.zst")):
        with reader_writer.open_reader(path, holds="metric") as reader:
            for record in reader:
                if record["split"] == "val":
                    loss.append((record["seconds"], record["nats"]))
                else:
                    norm.append((record["seconds"], record["grad_norm"]))
    return {"loss": np.array(sorted(loss)), "norm": np.array(sorted(norm))}


# ---- judging ---------------------------------------------------------------------------------


def nats(file: Path, held: dict[str, np.ndarray]) -> dict[str, float]:
    """Nats a law: of the simplified skeletons on ordinary tables and on far columns, of the drawn ones on their own tables."""
    from bench import nats as measure
    from fansr.network import checkpoints

    model, told = checkpoints.load_model(file)
    kinds = measure.kinds(priors.from_dict(tomllib.loads(PRIOR)))
    return {
        name: measure.nats(model, told["training"], held[spelling], *kinds[kind])[0]
        for name, spelling, kind in (
            ("nats", "simplified", "ordinary"), ("nats, far columns", "simplified", "far columns"), ("nats as drawn", "drawn", "ordinary"),
        )
    }  # fmt: skip


def recovered(
    file: Path, problems: list[Problem], draws: int, truths: dict[int, int]
) -> tuple[list[bool], list[float]]:
    """Which tables' laws are recovered by the best of the draws, and the length of those over `truths[id]`."""
    hits, ratios = [], []
    for problem in problems:
        best = candidates(problem, draws, str(file), "mixed")[:1]
        error = np.inf
        if best:
            with np.errstate(all="ignore"):
                error = fvu(problem.y_val, evaluate(best[0].expr, problem.X_val, best[0].consts))
        hits.append(bool(error <= EPS32))
        if hits[-1]:
            ratios.append(len(best[0].expr) / truths[problem.id])
    return hits, ratios


def drawn_sequences(file: Path, problems: list[Problem], draws: int) -> tuple[float, float]:
    """Tokens of a drawn sequence on average, and of the distinct sequences the share that are laws of their own."""
    from fansr.network import sample
    from fansr.network.table_encoding import finish, show

    network, training = sample.load(str(file))
    tokens = n = distinct = laws = 0
    for i, problem in enumerate(problems):
        view = show(problem, network.config, training["settings"], rng_for(0, "bench-training-ablation.show", i))
        drawn = sample.draw_laws(network, view, draws, rng_for(0, "bench-training-ablation.draws", i))
        tokens += sum(int(k) * len(ids) for k, ids in zip(drawn.n, drawn.ids))
        n, distinct, laws = n + int(np.sum(drawn.n)), distinct + len(drawn.ids), laws + len(finish(drawn, view)[0])
    return tokens / max(n, 1), laws / max(distinct, 1)


def judged(folder: Path, file: Path, held: dict[str, np.ndarray], draws: int, laws: int) -> dict:
    """What a network came to, kept in its folder."""
    kept = folder / f"judged-{draws}-{laws}.json"
    if not kept.exists():
        told = json.loads(file.with_name("model.json").read_text())["training"]
        lengths = {i: int((row != PAD_ID).sum()) for i, row in enumerate(held["simplified"])}
        line: dict = {key: told[key] for key in ("samples", "seconds", "skipped", "spikes")} | nats(file, held)
        chosen = sampled(held["simplified"], 4 * laws)
        for spelling in SPELLINGS:
            own = held[spelling][chosen]
            problems = tables(own, laws)
            hits, ratios = recovered(file, problems, draws, {i: lengths[k] for i, k in enumerate(chosen)})
            line |= {f"recovered, {spelling}": hits, f"length ratios, {spelling}": ratios}
            if spelling == "simplified":
                line["tokens drawn"], line["laws a sequence"] = drawn_sequences(file, problems[:10], draws)
        kept.write_text(json.dumps(line))
    return json.loads(kept.read_text())


# ---- the table and the picture ---------------------------------------------------------------


def markdown(lines: dict[tuple[str, int], dict]) -> str:
    """A row for each variant, its seeds side by side."""
    head = "| | million laws seen | nats a law | far columns | as drawn | recovered, simplified tables | as drawn | length ratio | tokens a draw | laws a sequence |"
    out = [head, "|" + "---|" * 10]
    for variant in dict.fromkeys(name for name, _ in lines):
        mine = [line for (name, _), line in lines.items() if name == variant]

        def side(write, mine=mine):
            return ", ".join(map(write, mine))

        hits = [f"{sum(sum(line[f'recovered, {s}']) for line in mine)} of {sum(len(line[f'recovered, {s}']) for line in mine)}" for s in SPELLINGS]  # fmt: skip
        ratios = [ratio for line in mine for ratio in line["length ratios, simplified"]]
        out.append(
            f"| {variant} | {side(lambda x: format(x['samples'] / 1e6, '.3f'))} | {side(lambda x: format(x['nats'], '.2f'))} | "
            f"{side(lambda x: format(x['nats, far columns'], '.2f'))} | {side(lambda x: format(x['nats as drawn'], '.2f'))} | {hits[0]} | {hits[1]} | "
            f"{np.mean(ratios) if ratios else np.nan:.2f} | {side(lambda x: format(x['tokens drawn'], '.1f'))} | {side(lambda x: format(x['laws a sequence'], '.2f'))} |"
        )
    return "\n".join(out)


@plot_style.drawn
def picture(shown: dict[str, list[dict[str, np.ndarray]]], told: str):
    """Nats a law and the gradient's norm against processor seconds, a line for each network, seeds in the same colour."""
    canvas, axes = plot_style.figure(2, width=4.2, height=3.2)
    for axis, what in zip(axes, ("loss", "norm")):
        for k, (name, some) in enumerate(shown.items()):
            for s, one in enumerate(some):
                axis.plot(
                    *one[what].T, color=plot_style.style(k)["color"], linestyle=plot_style.DASHES[k], linewidth=1.2,
                    label=None if s or what == "norm" else name,
                )  # fmt: skip
    axes[0].set(xlabel="seconds of the processor", ylabel="nats a law, held-out laws")
    last = [one["loss"][-1, 1] for some in shown.values() for one in some]
    axes[0].set_ylim(0.97 * min(last), 1.35 * max(last))  # the first minute is all alike
    axes[1].set(xlabel="seconds of the processor", ylabel="gradient norm before clipping", yscale="log")
    plot_style.legend_outside(canvas, [axes[0]])
    canvas.suptitle(told)
    return canvas


@command.command(example="bin/bench-training-ablation --seconds 60 --seeds 1 --variants base,B1 -o ablation.png")
@click.option("-o", "--output", required=True, metavar="PICTURE", help="Where to draw: .png, .svg or .pdf.")
@click.option("--runs", default=None, metavar="DIR", help="Where the networks stay.  [default: nowhere]")
@click.option("--variants", "chosen", default=",".join(VARIANTS), show_default=True, help="By commas.")
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1), help="Networks for each variant.")
@click.option("--seconds", default=150.0, show_default=True, type=click.FloatRange(1), help="Of the processor, for each.")  # fmt: skip
@click.option("--skeletons", default=300_000, show_default=True, type=click.IntRange(1000), help="Drawn for the corpus.")  # fmt: skip
@click.option("--draws", default=1024, show_default=True, type=click.IntRange(1), help="Of a network, for each table.")
@click.option("--laws", default=50, show_default=True, type=click.IntRange(1), help="Held-out tables of each spelling.")
def bench_training_ablation(output, runs, chosen, seeds, seconds, skeletons, draws, laws):
    """Train networks with one thing changed and compare what they come to."""
    names = chosen.split(",")
    if unknown := [name for name in names if name not in VARIANTS]:
        raise click.UsageError(f"--variants {unknown[0]}: wanted some of {', '.join(VARIANTS)}")
    with tempfile.TemporaryDirectory() as elsewhere:
        folder = Path(runs or elsewhere)
        folder.mkdir(parents=True, exist_ok=True)
        streams = corpus(folder, skeletons)
        # Seed by seed, so that a slow spell of the machine falls on all variants.
        homes = {(name, s): folder / f"{name}-{s}" for s in range(seeds) for name in names}
        files = {key: train(home, streams, key[0], key[1], seconds) for key, home in homes.items()}
        held = {name: rows_of(streams[name][1]) for name in SPELLINGS}
        lines = {}
        for key, home in homes.items():
            lines[key] = judged(home, files[key], held, draws, laws)
            short = {k: sum(v) if k.startswith("recovered") else v for k, v in lines[key].items() if not k.startswith("length")}  # fmt: skip
            click.echo(json.dumps({"variant": key[0], "seed": key[1], **short}))
        for spelling in SPELLINGS:
            hits = {name: np.array([lines[name, s][f"recovered, {spelling}"] for s in range(seeds)]) for name in names}
            for name in names[1:]:
                for row in pairs({names[0]: hits[names[0]], name: hits[name]}):
                    click.echo(json.dumps({"tables": spelling, **row}))
        click.echo(markdown({(name, s): lines[name, s] for name in names for s in range(seeds)}))
        told = f"{seconds:g} processor seconds each, {seeds} of each kind"
        plot_style.save(picture({name: [curves(homes[name, s]) for s in range(seeds)] for name in names}, told), output)


main = bench_training_ablation


if __name__ == "__main__":
    main()
