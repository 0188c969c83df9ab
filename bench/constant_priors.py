"""Figure 7 of the paper: what the constants of the training prior are worth to a network (section 5.5).

    bin/bench-constant-priors --runs out/constant-priors -o out/figure7.png

Small networks of one column learn the same skeletons for the same number of steps, with constants from U(1, 5), as earlier
work drew them, or from U(-5, 5), the paper's other panel, or (--priors) from N(0, 5), what the paper's networks were trained on;
all else is equal, and every prior is trained from each seed.  Each network then faces the same tables, section 3.5's way (draws, equation 3,
nothing tidied):

    gaussians   exp(-((x - mean)/width)**2/2) for a grid of means and widths, the paper's test
    held out    skeletons that no training saw, their constants from U(-5, 5)

and says its loss, nats a law, on held-out skeletons with the constants of each prior.  Prints a JSON line for each network and
one for each pair of priors with the tables that one alone recovers, and draws the fits and the validation losses.

Departure: the paper's two networks are older ones of its authors' for 17 columns; ours take minutes of one core.
Networks in --runs are not trained again; a run that was stopped goes on.
"""

from __future__ import annotations

import itertools
import json
import shlex
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import click
import numpy as np

from bench.paper import candidates
from fansr.cli import command
from fansr.corpus import prior as priors
from fansr.evaluation import plot_style
from fansr.evaluation.metrics import EPS32, fvu
from fansr.evaluation.paired import compared
from fansr.expressions.programs import evaluate
from fansr.fitting import Problem
from fansr.streams import reader_writer, rng_for

NAMES = {"narrow": "U(1, 5)", "wide": "U(-5, 5)", "normal": "N(0, 5)"}
PRIORS = {
    "U(1, 5)": 'kind = "uniform"\nlow = 1.0\nhigh = 5.0\n',
    "U(-5, 5)": 'kind = "uniform"\nlow = -5.0\nhigh = 5.0\n',
    "N(0, 5)": 'kind = "normal"\nspread = 5.0\n',
}
JUDGE = "U(-5, 5)"  # constants of the held-out tables
POINTS = 32
PRIOR = f"""variables = 1
min_points = 8
max_points = {POINTS}

[[skeletons]]           # short formulas of one column, as the shipped model's
alpha = 1.0
scale = 10.0
min_ops = 1
max_ops = 7
max_unique = 2
constant = 2.0
depends = 1
others = 0.3
weights = {{ "*" = 10.0, "/" = 8.0, "+" = 8.0, "-" = 8.0, pow = 0.2, pow2 = 5.0, inv = 1.0, neg = 2.0, exp = 3.0, log = 1.0, sin = 1.5, cos = 1.5 }}

[[columns]]
kind = "edges"
spread = 10.0
"""
MODEL = """optimizer = "muon"
lr = 2e-3
batch = 256
warmup = 0.03
decay = 0.5
beta2 = 0.98
min_points = 8
max_points = 32
scale_columns = false

[model]
columns = 1
width = 64
heads = 2
feed_forward = 192
inducing = 8
seeds = 8
decoder_layers = 2
max_length = 20
dropout = 0.0
"""


# ---- training --------------------------------------------------------------------------------


def called(name: str, words: str):
    """One of our commands in a process of its own, without threads that another would not have."""
    module = {
        "gen": "corpus.gen",
        "decontam": "corpus.decontam",
        "simplify": "simplification.simplify",
        "train": "network.train",
    }[name]
    code = f"import sys; sys.argv[0] = 'fansr-{name}'; from fansr.{module} import main; main()"
    subprocess.run([sys.executable, "-c", code, *shlex.split(words)], check=True)


def corpus(folder: Path, skeletons: int) -> Path:
    """The skeletons that all networks learn from, simplified, as training has them."""
    path = folder / "train.zst"
    if not path.exists():
        (folder / "skeletons.toml").write_text(PRIOR)
        called("gen", f"-n {skeletons} --config {folder}/skeletons.toml -j 1 -q -o {folder}/raw.zst")
        called("simplify", f"--relax -j 1 -q -o {path} {folder}/raw.zst")
        (folder / "raw.zst").unlink()
    return path


def train(folder: Path, stream: Path, constants: str, seed: int, steps: int) -> float:
    """Train a network in `folder`; its processor seconds, all legs of a run that was stopped together."""
    done = folder / "run" / "model.json"
    if not done.exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prior.toml").write_text(f"{PRIOR}\n[[constants]]\n{PRIORS[constants]}")
        (folder / "small.toml").write_text(MODEL)
        again = "--resume" if list(folder.glob("run/step-*")) else ""
        called(
            "train",
            f"{stream} --config {folder}/small.toml --prior {folder}/prior.toml --steps {steps} --clock cpu --seed {seed} --threads 1 -j 1 "
            f"--eval-seconds 20 --save-seconds 60 --no-compile -q --out {folder}/run {again}",
        )
    return json.loads(done.read_text())["training"]["seconds"]


def losses(folder: Path) -> np.ndarray:
    """(n, 2): samples seen and validation loss, nats a token."""
    rows = []
    for path in sorted(folder.glob("run/metrics-*.zst")):
        with reader_writer.open_reader(path, holds="metric") as reader:
            rows += [(r["samples"], r["loss"]) for r in reader if r["split"] == "val"]
    return np.array(sorted(rows))


# ---- the tables ------------------------------------------------------------------------------


def gaussians(grid: int) -> tuple[np.ndarray, np.ndarray, list[Problem]]:
    """Means (grid,), widths (grid,), and for each width and mean in turn POINTS points within three widths, as many unseen."""
    means, widths, problems = np.linspace(-6, 6, grid), np.linspace(0.5, 6, grid), []
    for i, (width, mean) in enumerate(itertools.product(widths, means)):
        X = rng_for(0, "bench-constant-priors.gaussian", i).uniform(mean - 3 * width, mean + 3 * width, (2 * POINTS, 1))
        y = np.exp(-(((X[:, 0] - mean) / width) ** 2) / 2)
        problems.append(Problem(X[:POINTS], y[:POINTS], ["x"], id=i, X_val=X[POINTS:], y_val=y[POINTS:]))
    return means, widths, problems


def held_out(stream: Path, n: int) -> tuple[np.ndarray, list[Problem]]:
    """Rows of skeletons that no training saw, and tables of n of them with constants of JUDGE."""
    from bench import nats
    from fansr.corpus import draw_kernels
    from fansr.network.skeleton_pool import compact

    training = {"settings": {"columns": 1, "max_length": 20}, "options": {"hold": 0.01}}
    rows = nats.held_out(stream, training, 4096)
    some, first = np.unique(rows, axis=0, return_index=True)
    some, _ = compact(some[np.argsort(first)])
    law = priors.from_dict(parsed(JUDGE))
    drawn = draw_kernels.draw(law, some, np.arange(len(some)), 2 * POINTS, 0, stage="bench-constant-priors")
    problems = []
    for i in np.flatnonzero(drawn["status"] >= 0):
        X, y = drawn["X"][i, :1].T.copy(), drawn["y"][i]
        if np.ptp(y[:POINTS]) > 0 and np.ptp(y[POINTS:]) > 0:
            problems.append(
                Problem(
                    X[:POINTS].copy(), y[:POINTS].copy(), ["x"], id=int(i), X_val=X[POINTS:].copy(),
                    y_val=y[POINTS:].copy(),
                )
            )  # fmt: skip
    return rows, problems[:n]


def parsed(constants: str) -> dict:
    """The prior with these constants, as priors.from_dict takes it."""
    return tomllib.loads(f"{PRIOR}\n[[constants]]\n{PRIORS[constants]}")


def errors(problems: list[Problem], draws: int, file: Path, starts: str) -> np.ndarray:
    """FVU (n,) of the chosen law on unseen points; 1 where nothing came."""
    found = np.ones(len(problems))
    for i, problem in enumerate(problems):
        best = candidates(problem, draws, str(file), starts)[:1]
        if best:
            with np.errstate(all="ignore"):
                value = fvu(problem.y_val, evaluate(best[0].expr, problem.X_val, best[0].consts))
            found[i] = value if np.isfinite(value) else 1.0
    return found


def nats_a_law(file: Path, rows: np.ndarray) -> dict[str, float]:
    """Loss of a network on the skeletons `rows` with the constants of each prior."""
    from bench import nats
    from fansr.network import checkpoints

    model, told = checkpoints.load_model(file)
    return {
        name: nats.nats(model, told["training"], rows, priors.from_dict(parsed(name)), POINTS)[0] for name in PRIORS
    }


# ---- the figure ------------------------------------------------------------------------------


def edges(values: np.ndarray) -> tuple[float, float]:
    """Where an image whose cells are centred on these even values begins and ends."""
    half = (values[1] - values[0]) / 2
    return values[0] - half, values[-1] + half


@plot_style.drawn
def picture(means, widths, fits: dict[str, np.ndarray], curves: dict[str, list[np.ndarray]], told: str):
    """A panel for each prior, mean over the seeds of log10 FVU (S, widths * means), and one of the validation losses."""
    canvas, axes = plot_style.figure(len(fits) + 1, width=3.4, height=3.3)
    for axis, (name, values) in zip(axes, fits.items()):
        mean = np.log10(np.clip(values, 1e-16, 1.0)).mean(0).reshape(len(widths), len(means))
        shown = axis.imshow(
            mean, origin="lower", extent=(*edges(means), *edges(widths)), aspect="auto", cmap="viridis_r", vmin=-16, vmax=0
        )  # fmt: skip
        axis.set(
            xlabel="mean", ylabel="width", title=f"constants from {name}: {(values <= EPS32).mean():.0%} recovered"
        )
        axis.grid(visible=False)
    bar = canvas.colorbar(shown, ax=axes[: len(fits)], label="log10 FVU, mean of seeds", shrink=0.9)
    bar.ax.xaxis.set_visible(False)
    last = axes[len(fits)]
    for k, (name, some) in enumerate(curves.items()):
        for s, curve in enumerate(some):
            last.plot(
                *curve[curve[:, 0] > 0].T,
                color=plot_style.style(k)["color"],
                linestyle=plot_style.DASHES[k],
                label=name if not s else None,
            )
    last.set(xlabel="samples seen", ylabel="validation loss on its own constants, nats a token")
    plot_style.log_axis(last, "x", 4)
    plot_style.legend_outside(canvas, [last])
    canvas.suptitle(told)
    return canvas


def pairs(recovered: dict[str, np.ndarray]):
    """For each pair of priors the difference of the shares of tables recovered, (S, n) bool each, with its 95 % interval over tables,
    and how many of all seeds' tables one alone recovers."""
    groups = {
        name: [{"problem": (s, i), "law": i, "vnrr": bool(hit)} for (s, i), hit in np.ndenumerate(some)]
        for name, some in recovered.items()
    }
    for row in compared(groups):
        yield {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items() if key != "p"}


@command.command(example="bin/bench-constant-priors --steps 2000 --seeds 1 -o figure7.png")
@click.option("-o", "--output", required=True, metavar="PICTURE", help="Where to draw: .png, .svg or .pdf.")
@click.option("--runs", default=None, metavar="DIR", help="Where the networks stay.  [default: nowhere]")
@click.option(
    "--priors",
    "chosen",
    default="narrow,wide",
    show_default=True,
    help="narrow U(1, 5), wide U(-5, 5), normal N(0, 5); by commas.",
)
@click.option("--seeds", default=2, show_default=True, type=click.IntRange(1), help="Networks for each prior.")
@click.option(
    "--steps", default=2500, show_default=True, type=click.IntRange(10), help="Of each network, 256 laws a step."
)
@click.option(
    "--skeletons", default=200_000, show_default=True, type=click.IntRange(1000), help="Drawn for the corpus."
)
@click.option("--draws", default=64, show_default=True, type=click.IntRange(1), help="Of a network, for each table.")
@click.option("--grid", default=9, show_default=True, type=click.IntRange(2), help="Means, and widths.")
@click.option("--laws", default=100, show_default=True, type=click.IntRange(1), help="Held-out tables.")
@click.option("--starts", default="mixed", show_default=True, help="Of the constants, as in fansr-fit.")
def bench_constant_priors(output, runs, chosen, seeds, steps, skeletons, draws, grid, laws, starts):
    """Train networks on different constants and compare what they recover."""
    words = chosen.split(",")
    if unknown := [word for word in words if word not in NAMES]:
        raise click.UsageError(f"--priors {unknown[0]}: wanted some of {', '.join(NAMES)}")
    names = [NAMES[word] for word in words]
    with tempfile.TemporaryDirectory() as elsewhere:
        folder = Path(runs or elsewhere)
        folder.mkdir(parents=True, exist_ok=True)
        stream = corpus(folder, skeletons)
        # Seed by seed, so that a slow spell of the machine falls on all priors.
        homes = {(name, s): folder / f"{word}-{s}" for s in range(seeds) for word, name in zip(words, names)}
        spent = {key: train(home, stream, key[0], key[1], steps) for key, home in homes.items()}
        means, widths, problems = gaussians(grid)
        rows, others = held_out(stream, laws)
        fits: dict[str, dict[str, list]] = {test: {name: [] for name in names} for test in ("gaussians", "held out")}
        for (name, s), home in homes.items():
            file = home / "run" / "model.safetensors"
            curve = losses(home)
            line = {
                "constants": name,
                "seed": s,
                "steps": steps,
                "samples": int(curve[-1, 0]),
                "processor seconds": round(spent[name, s]),
            }
            for test, some in (("gaussians", problems), ("held out", others)):
                fits[test][name].append(errors(some, draws, file, starts))
                line[f"{test} recovered"] = f"{(fits[test][name][-1] <= EPS32).sum()} of {len(some)}"
            click.echo(json.dumps(line | {"nats a law": nats_a_law(file, rows)}))
        for test, by_prior in fits.items():
            for row in pairs({name: np.array(some) <= EPS32 for name, some in by_prior.items()}):
                click.echo(json.dumps({"test": test, **row}))
        curves = {name: [losses(homes[name, s]) for s in range(seeds)] for name in names}
        told = f"{draws} draws a table of networks that saw {int(curves[names[0]][0][-1, 0]):,} laws each, {seeds} for each prior"
        shown = {name: np.array(some) for name, some in fits["gaussians"].items()}
        plot_style.save(picture(means, widths, shown, curves, told), output)


main = bench_constant_priors


if __name__ == "__main__":
    main()
