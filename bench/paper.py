"""bench-paper: figures of the paper that no other command draws, each from a run of ours or a file that ships.

    bin/bench-paper 8 --draws 1024 -o out/figure8.png

    1    the training pipeline                     11   the network, with the sizes of a config
    3    laws of test-time curves, extrapolated    18   similarity of the token embeddings
    13   validation loss against training operations of the shipped networks, with the envelope
    8    laws of one column and what the network makes of them    10   the same of two columns
    9    several laws of a noisy damped oscillation, with their probabilities

and `decoders`, a table: what a beam and sampling find with the same number of sequences, and how many of these are one
law written twice (section 2.2 calls them rewrites).  The other figures: 2, 5, 6, 14 to 17 by bench-fastsrb (samples, sparsity,
noise), 4 by bench-simplify --out, 7 by bench-constant-priors, 12 by bench-corpus stats, ablations by bench-training-ablation, 13 of runs of one's own by fansr-plot (--kind flops and training).

Fits are section 3.5's: draws of the network, equation 3, constants from SciPy where --starts paper says so, nothing tidied.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np

from fansr.cli import command, resources
from fansr.errors import DataError
from fansr.evaluation import plot_style
from fansr.evaluation.metrics import EPS32, fvu
from fansr.evaluation.plot_training import draw_flops
from fansr.expressions import from_infix, to_infix
from fansr.expressions.programs import evaluate
from fansr.expressions.tokens import VOCABULARY
from fansr.fitting import Budget, Problem
from fansr.network import model_file, sample
from fansr.network.decoders import ROWS
from fansr.network.table_encoding import finish, show
from fansr.search import turns
from fansr.streams import rng_for

# Figure 8: laws of one column over (low, high).  Figure 10: of two columns, over the square of that side.
ONE = [
    ("x**3 - 3*x", -2, 2), ("exp(-x**2)", -3, 3), ("sin(x)/x", 0.5, 12), ("x**2 + 2*x + 1", -4, 4), ("log(x)*sin(2*x)", 0.5, 8),
    ("1/(1 + x**2)", -4, 4), ("sqrt(x)*exp(-x/3)", 0.1, 12), ("tanh(x) + 0.3*x", -4, 4), ("2.5*cos(1.7*x + 0.4)", -4, 4),
]  # fmt: skip
TWO = [("x1*x2 + sin(x1)", 3), ("exp(-(x1**2 + x2**2)/2)", 2), ("x1**2 - x2**3", 2)]
OSCILLATION = "2.6*exp(-0.25*x)*cos(2.2*x)"  # figure 9, over 0 to 12


# ---- section 3.5 -----------------------------------------------------------------------------


def table(formula: str, X: np.ndarray, noise: float = 0.0, names=("x",)) -> Problem:
    """The problem of a formula at X (M, D), with noise in standard deviations of its values."""
    y = evaluate(from_infix(formula, list(names)), X)
    rng = rng_for(0, "bench-paper.noise", len(y))
    return Problem(X, y + noise * np.std(y) * rng.normal(size=len(y)), list(names))


def candidates(
    problem: Problem, draws: int, model: str | None, starts: str, gamma: float = 0.05, decoder: str = "tree"
):
    """Fitted candidates by equation 3, best first."""
    options = turns.Options(
        samples=draws, proposers=("model",), select="score", gamma=gamma, model=model, starts=starts, tidy=False, decoder=decoder,
        quiet=True,
    )  # fmt: skip
    state, _ = turns.gather(problem, options, Budget(None))
    return list(state.pool)


def colour_bar(canvas, shown, axis, **look):
    """A colour bar without an axis across it."""
    canvas.colorbar(shown, ax=axis, **look).ax.xaxis.set_visible(False)


def law_text(candidate, names, digits: int = 3) -> str:
    """The law with few digits."""
    return to_infix(candidate.expr, candidate.consts, list(names), digits=digits)


# ---- the figures -----------------------------------------------------------------------------


@plot_style.drawn
def galleries(draws, model, starts):
    """Figure 8: 64 points, the law's curve, what was drawn; its title says whether it was recovered."""
    canvas, axes = plot_style.figure(3, -(-len(ONE) // 3), width=3.3, height=2.5)
    for axis, (formula, low, high) in zip(axes, ONE):
        problem = table(formula, rng_for(0, "bench-paper.8").uniform(low, high, (64, 1)))
        found = candidates(problem, draws, model, starts)
        grid = np.linspace(low, high, 400)[:, None]
        axis.plot(problem.X[:, 0], problem.y, ".", color=plot_style.INK, markersize=3)
        if found:
            best = found[0]
            with np.errstate(all="ignore"):
                axis.plot(grid[:, 0], evaluate(best.expr, grid, best.consts), color=plot_style.LAW, linewidth=1.2)
            mark = "=" if best.fvu <= EPS32 else "~"
            axis.set_title(f"{formula}\n{mark} {law_text(best, ['x'])}", fontsize=plot_style.SMALL)
        span = np.ptp(problem.y)
        axis.set_ylim(problem.y.min() - 0.15 * span, problem.y.max() + 0.15 * span)
    return canvas


@plot_style.drawn
def oscillations(draws, model, starts):
    """Figure 9: 150 points with noise 0.04; the likeliest of the five best by equation 3 and three others, log p of each draw."""
    problem = table(OSCILLATION, rng_for(0, "bench-paper.9").uniform(0, 12, (150, 1)), noise=0.04)
    found = candidates(problem, draws, model, starts)[:60]
    chosen = []
    for candidate in found:  # of different structure
        if all(candidate.length != other.length for other in chosen):
            chosen.append(candidate)
        if len(chosen) == 4:
            break
    canvas, axes = plot_style.figure(2, 2, width=4.4, height=2.8)
    grid = np.linspace(0, 12, 600)[:, None]
    for axis, candidate in zip(axes, chosen):
        axis.plot(problem.X[:, 0], problem.y, ".", color=plot_style.INK, markersize=3)
        with np.errstate(all="ignore"):
            axis.plot(grid[:, 0], evaluate(candidate.expr, grid, candidate.consts), color=plot_style.LAW, linewidth=1.2)
        axis.set_ylim(1.15 * problem.y.min(), 1.15 * problem.y.max())
        axis.set_title(
            f"{law_text(candidate, ['x'])}\nlog p {candidate.logp:.1f}, FVU {candidate.fvu:.3g}",
            fontsize=plot_style.SMALL,
        )
    canvas.supxlabel(f"points of {OSCILLATION} with noise 0.04")
    return canvas


@plot_style.drawn
def galleries_of_two(draws, model, starts):
    """Figure 10: a law of two columns, what was found, their difference in standard deviations."""
    canvas, axes = plot_style.figure(3, len(TWO), width=3.1, height=2.6)
    for row, (formula, side) in enumerate(TWO):
        names = ["x1", "x2"]
        problem = table(formula, rng_for(0, "bench-paper.10").uniform(-side, side, (100, 2)), names=names)
        found = candidates(problem, draws, model, starts)
        line = np.linspace(-side, side, 60)
        grid = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
        truth = evaluate(from_infix(formula, names), grid)
        with np.errstate(all="ignore"):
            ours = evaluate(found[0].expr, grid, found[0].consts) if found else np.full(len(grid), np.nan)
        error = (ours - truth) / np.std(truth)
        told = law_text(found[0], names) if found else "nothing"
        for axis, values, title in zip(axes[3 * row :], (truth, ours, error), (formula, told, "difference, sd of y")):
            widest = max(1e-9, float(np.nanmax(np.abs(values[np.isfinite(values)]), initial=0.0)))
            shown = axis.imshow(
                values.reshape(60, 60), origin="lower", extent=(-side, side) * 2, cmap="PuOr", vmin=-widest, vmax=widest
            )
            colour_bar(canvas, shown, axis, shrink=0.8)
            axis.set_title(title, fontsize=plot_style.SMALL)
            axis.grid(visible=False)
        axes[3 * row].plot(*problem.X.T, ".", color=plot_style.INK, markersize=2)
    return canvas


@plot_style.drawn
def embeddings(draws, model, starts):
    """Figure 18: cosine similarity of the decoder's token embeddings."""
    _, weights, _ = model_file.read_model(sample.model_path(model))
    rows = weights["decoder.embed.weight"].astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    canvas, (axis,) = plot_style.figure(1, width=8.5, height=8.0)
    shown = axis.imshow(rows @ rows.T, cmap="PuOr", vmin=-1, vmax=1)
    colour_bar(canvas, shown, axis, shrink=0.7, label="cosine similarity")
    for which in ("x", "y"):
        plot_style.named_ticks(axis, which, range(len(VOCABULARY)), list(VOCABULARY), fontsize=5)
    axis.tick_params(axis="x", rotation=90)
    axis.grid(visible=False)
    return canvas


# Figure 3


def fitted_curve(seconds: np.ndarray, rate: np.ndarray, ahead: np.ndarray, draws: int, model: str | None, starts: str):
    """(law of rate (%) over log10 seconds as text, its values at `ahead`, low, high): equation 3 with gamma 0.15, as the paper's figure 3,
    over the network's draws; the band is 95 % of 200 fits to resampled residuals, its constants begun at the law's."""
    from fansr.fitting import Refiner

    t = np.log10(seconds)[:, None]
    problem = Problem(t, rate, ["t"])
    found = candidates(problem, draws, model, starts, gamma=0.15)
    found = [c for c in found if np.isfinite(evaluate(c.expr, np.log10(ahead)[:, None], c.consts)).all()]
    if not found:
        raise DataError("no law that can be extrapolated came out; more --draws")
    best, rng, values = found[0], rng_for(0, "bench-paper.3"), []
    fit = evaluate(best.expr, t, best.consts)
    for _ in range(200):
        y = fit + rng.choice(rate - fit, len(rate))
        _, consts = Refiner(t, y).polish(best.expr, best.consts)
        with np.errstate(all="ignore"):
            values.append(evaluate(best.expr, np.log10(ahead)[:, None], consts))
    low, high = np.nanpercentile(values, [2.5, 97.5], axis=0)
    return law_text(best, ["log10_T"]), evaluate(best.expr, np.log10(ahead)[:, None], best.consts), low, high


@plot_style.drawn
def test_time_laws(draws, model, starts, curves=()):
    """Figure 3: published curves (data/published.json) and those given as CSV of seconds, percent; each law to a hundred times its seconds."""
    series = {
        method["name"]: np.array(method["curve"], float)
        for method in json.loads(resources.path("data", "published.json").read_text())["methods"]
        if method.get("curve") and method.get("line")
    }
    for path in curves:
        series[Path(path).stem] = np.loadtxt(path, delimiter=",", skiprows=1)
    canvas, axes = plot_style.figure(len(series), width=3.9)
    for axis, (name, points), k in zip(axes, series.items(), range(9)):
        seconds, rate = points.T
        ahead = np.logspace(np.log10(seconds.min()), np.log10(seconds.max()) + 2, 200)
        text, values, low, high = fitted_curve(seconds, rate, ahead, draws, model, starts)
        colour = plot_style.COLOURS[k]
        axis.plot(seconds, rate, "o", color=plot_style.INK)
        past = ahead <= seconds.max()
        axis.plot(ahead[past], values[past], color=colour)
        axis.plot(ahead[~past], values[~past], color=colour, linestyle="--")
        axis.fill_between(ahead, np.clip(low, 0, 100), np.clip(high, 0, 100), color=colour, alpha=0.15, linewidth=0)
        axis.set(xlabel="seconds a law", ylabel="vNRR, %", ylim=(0, 100))
        axis.set_title(f"{name}\n{text}", fontsize=plot_style.SMALL)
        plot_style.log_axis(axis, "x")
    return canvas


def shipped_training(draws, model, starts):
    """Figure 13, left: of every network in data/models, from the curve beside it; the first tenth, where the rate rises, is left out."""
    series = {}
    for path in sorted(resources.path("data", "models").glob("*.json")):
        told = json.loads(path.read_text())
        curve = told.get("curve") if isinstance(told, dict) else None
        points = [point | {"split": "val"} for point in curve or [] if point.get("flops")]
        if points:
            series[path.stem] = [point for point in points if point["flops"] > 0.1 * points[-1]["flops"]]
    return draw_flops(series)


# Figures 1 and 11


def boxes(axis, rows):
    """Rows of named boxes, each joined to the next by an arrow from edge to edge; each row is (y, [(x, text, colour)])."""
    axis.set_axis_off()
    for y, row in rows:
        before = None
        for x, text, colour in row:
            here = axis.text(
                x, y, text, ha="center", va="center", fontsize=plot_style.SMALL,
                bbox={"boxstyle": "round,pad=0.5", "facecolor": colour, "edgecolor": plot_style.MUTED, "linewidth": 0.8},
            )  # fmt: skip
            if before is not None:
                ends = {"patchA": before.get_bbox_patch(), "patchB": here.get_bbox_patch(), "shrinkA": 4, "shrinkB": 4}
                axis.annotate(
                    "",
                    (x, y),
                    before.get_position(),
                    arrowprops={"arrowstyle": "->", "color": plot_style.MUTED, **ends},
                )
            before = here


@plot_style.drawn
def pipeline(draws, model, starts):
    """Figure 1: what training draws and what it learns, by command and module."""
    canvas, (axis,) = plot_style.figure(1, width=9.0, height=2.6)
    data, net = "#E3EEF6", "#F8ECD9"
    boxes(axis, [
        (1.0, [(0, "prior\nfansr-gen", data), (1, "simplify\nfansr-simplify", data), (2, "hold-out guard\nfansr-decontam", data), (3, "constants, points\nfansr-render", data)]),
        (0.0, [(0, "32 bits\na number", net), (1, "set transformer\nISAB, PMA, SAB", net), (2, "causal decoder\nRoPE", net), (3, "cross-entropy\nover tokens", net)]),
    ])  # fmt: skip
    axis.annotate("", (0, 0.28), (3, 0.72), arrowprops={"arrowstyle": "->", "color": plot_style.MUTED})
    axis.text(1.5, 0.52, "tables", fontsize=plot_style.SMALL, ha="center")
    axis.annotate("", (3, 0.28), (3.05, 0.72), arrowprops={"arrowstyle": "->", "color": plot_style.MUTED})
    axis.text(3.2, 0.5, "skeletons", fontsize=plot_style.SMALL)
    axis.set(xlim=(-0.6, 3.7), ylim=(-0.5, 1.5))
    return canvas


@plot_style.drawn
def architecture(draws, model, starts):
    """Figure 11: the network's parts and shapes, with the sizes of the model file."""
    config, _, _ = model_file.read_model(sample.model_path(model))
    canvas, (axis,) = plot_style.figure(1, width=9.5, height=3.0)
    c, data, net = config, "#E3EEF6", "#F8ECD9"
    boxes(axis, [
        (1.0, [
            (0, f"table\n(M, 1+D), D <= {c.columns}", data), (1, f"bits\n(M, {c.bits}(1+D))", data), (2, f"linear\n(M, {c.width})", net),
            (3, f"ISAB x {c.isab_layers}\nI = {c.inducing}", net), (4, f"PMA\nS = {c.seeds}", net), (5, f"SAB x {c.sab_layers}\n({c.seeds}, {c.width})", net),
        ]),
        (0.0, [
            (1, f"tokens\n<= {c.max_length}", data), (2, f"embedding\n{c.vocabulary} x {c.width}", net),
            (3, f"decoder x {c.decoder_layers}\n{c.heads} heads, RoPE", net), (4, f"feed-forward\n{c.feed_forward}", net), (5, f"next token\nof {c.vocabulary}", data),
        ]),
    ])  # fmt: skip
    axis.annotate("", (3.2, 0.25), (5, 0.75), arrowprops={"arrowstyle": "->", "color": plot_style.MUTED})
    axis.text(4.4, 0.52, "memory", fontsize=plot_style.SMALL)
    axis.text(
        0,
        0.0,
        "norms: RMS over\nthe set (masked),\npre-norm" if not c.post_norm else "post-norm",
        fontsize=plot_style.SMALL,
        ha="center",
        va="center",
    )
    axis.set(xlim=(-0.6, 5.6), ylim=(-0.5, 1.5))
    return canvas


# ---- beam against sampling -------------------------------------------------------------------


def decoders(draws, model, starts, laws="data/fastsrb.json", every=6):
    """Rows of decoder, sequences, distinct ones, distinct laws after simplification, rewrites (the rest) and laws recovered on unseen points."""
    from fansr.corpus import law_files

    network, training = sample.load(model)
    kept = [law for law in law_files.read(laws).laws if not law.excluded][::every]
    for decoder in ("tree", "beam"):
        sequences = distinct = forms = found = 0
        for i, law in enumerate(kept):
            X, y = law.draw(1024, rng_for(0, "bench-paper.decoders", i))
            problem = Problem(X[:512].copy(), y[:512].copy(), [c.name for c in law.columns], id=i)
            view = show(problem, network.config, training.get("settings", {}), rng_for(0, "bench-paper.show", i))
            drawn = sample.draw_laws(network, view, min(draws, ROWS), rng_for(0, "bench-paper.draws", i), decoder)
            sequences += int(np.sum(drawn.n))
            distinct += len(drawn.ids)
            forms += len(finish(drawn, view)[0])
            best = candidates(problem, draws, model, starts, decoder=decoder)[:1]
            if best:
                with np.errstate(all="ignore"):
                    found += fvu(y[512:], evaluate(best[0].expr, X[512:], best[0].consts)) <= EPS32
        yield {
            "decoder": decoder, "laws": len(kept), "sequences": sequences, "distinct": distinct, "distinct laws": forms,
            "rewrites": distinct - forms, "recovered": int(found),
        }  # fmt: skip


# ---- the command -----------------------------------------------------------------------------

FIGURES = {
    "1": pipeline, "3": test_time_laws, "8": galleries, "9": oscillations, "10": galleries_of_two, "11": architecture, "13": shipped_training,
    "18": embeddings,
}  # fmt: skip


@command.command(example="bin/bench-paper 8 --draws 256 -o figure8.png")
@click.argument("figure", type=click.Choice([*FIGURES, "decoders"]))
@click.option(
    "-o", "--output", metavar="PICTURE", help="Where to write: .png, .svg or .pdf; decoders prints a table instead."
)
@click.option("--draws", default=1024, show_default=True, type=click.IntRange(1), help="Of the network, for each fit.")
@click.option(
    "--model", default=None, metavar="FILE", help="A model file, or the name of a shipped one.  [default: tiny]"
)
@click.option(
    "--starts",
    type=click.Choice(turns.STARTS),
    default="mixed",
    show_default=True,
    help="Of the constants, as in fansr-fit.",
)
@click.option(
    "--curve",
    "curves",
    multiple=True,
    metavar="CSV",
    help="3: a further curve of seconds, percent (one line of names).",
)
@click.option(
    "--every", default=6, show_default=True, type=click.IntRange(1), help="decoders: each k-th law of the benchmark."
)
def bench_paper(figure, output, draws, model, starts, curves, every):
    """Draw a figure of the paper from runs of our own."""
    if figure == "decoders":
        for row in decoders(draws, model, starts, every=every):
            click.echo(json.dumps(row))
        return
    if not output:
        raise click.UsageError("-o PICTURE is wanted")
    more = {"3": {"curves": curves}}.get(figure, {})
    plot_style.save(FIGURES[figure](draws, model, starts, **more), output)


main = bench_paper


if __name__ == "__main__":
    main()
