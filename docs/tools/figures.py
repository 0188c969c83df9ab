"""The pictures of the pages on how it works, each drawn from a run or from a shipped measurement.

    python docs/tools/figures.py OUT [NAME ...]

One function a picture; what it draws it computes with the package itself, from fixed seeds and by counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#888888"  # Okabe and Ito 2008
SKELETONS = 10_000


def axes(columns: int = 1, width: float = 5.2, height: float = 3.3):
    """A figure and its axes, without frames where nothing is read off."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * columns, height), layout="constrained")
    made = figure.subplots(1, columns, squeeze=False)[0]
    for axis in made:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25)
    return figure, list(made)


def expression_tree():
    """The prefix expression of Rydberg's formula as a tree, tokens numbered in the order they are written."""
    from fansr.expressions import to_tree
    from fansr.expressions.infix import from_infix

    expr = from_infix("C / (1/x1**2 - 1/x2**2)".replace("C", "91.2"), ["x1", "x2"])
    expr = ["<constant>" if token == "91.2" else token for token in expr]
    figure, (axis,) = axes(1, 6.0, 3.6)
    axis.set_axis_off()
    order, leaves = iter(range(1, 100)), iter(range(100))

    def draw(node, depth: int) -> float:
        token, kids = (node[0], node[1:]) if isinstance(node, tuple) else (node, ())
        number = next(order)
        places = [draw(kid, depth + 1) for kid in kids]
        x = float(np.mean(places)) if places else float(next(leaves))
        for place in places:
            axis.plot([x, place], [-depth, -depth - 1], color=GREY, linewidth=1, zorder=1)
        colour = BLUE if kids else GREEN if token.startswith("x") else ORANGE
        name = "C" if token == "<constant>" else token
        axis.text(
            x,
            -depth,
            name,
            ha="center",
            va="center",
            color="white",
            fontsize=10,
            zorder=3,
            bbox={"boxstyle": "round,pad=0.45", "facecolor": colour, "edgecolor": "none"},
        )
        axis.text(x + 0.16, -depth - 0.3, str(number), fontsize=8, color=GREY, zorder=2)
        return x

    draw(to_tree(expr), 0)
    axis.set_xlim(-0.6, next(leaves) - 0.4)
    axis.set_ylim(-4.5, 0.5)
    axis.set_title(" ".join("C" if token == "<constant>" else token for token in expr), fontsize=11)
    return figure


def _pipe(line: str) -> list[dict]:
    """Records of a pipe of our own commands, ended by fansr-cat --json."""
    environment = {"PATH": f"{Path(sys.executable).parent}:{ROOT / 'bin'}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [json.loads(row) for row in done.stdout.splitlines()]


def prior_lengths():
    """Lengths of drawn skeletons, before and after simplification."""
    raw = _pipe(f"fansr-gen -q -j 1 -n {SKELETONS} | fansr-cat --json")
    short = _pipe(f"fansr-gen -q -j 1 -n {SKELETONS} | fansr-simplify -q -j 1 | fansr-cat --json")
    figure, (axis,) = axes()
    edges = np.arange(0.5, 37)
    for records, colour, label in ((raw, GREY, "as drawn"), (short, BLUE, "simplified")):
        lengths = [len(record["expr"]) for record in records if record["kind"] == "skeleton"]
        axis.hist(
            lengths, edges, histtype="step", linewidth=1.6, color=colour, label=f"{label}, mean {np.mean(lengths):.1f}"
        )
    axis.set(xlabel="tokens", ylabel="skeletons", title=f"{SKELETONS:,} skeletons of the paper's prior")
    axis.legend(frameon=False)
    return figure


def holdout_drops():
    """Why skeletons are held out, counted by the guard itself, for short and long ones."""
    line = f"fansr-gen -q -j 1 -n {SKELETONS} | fansr-simplify -q -j 1 | fansr-decontam -q -j 1 --test data/fastsrb.json | fansr-cat --json"
    records = _pipe(line)
    dropped, kept = records[-1]["dropped"], records[-1]["n"]
    names = {
        "holdout_symbolic": "equal as written",
        "holdout_numeric": "equal by values",
        "holdout_nan": "without a number",
    }
    figure, (axis,) = axes(1, 5.6, 2.6)
    counts = {"kept": kept, **{names[key]: dropped.get(key, 0) for key in names}}
    bars = axis.barh(list(counts), list(counts.values()), color=[BLUE, ORANGE, ORANGE, GREY], height=0.6)
    axis.bar_label(bars, labels=[f" {count:,}" for count in counts.values()])
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.set(xlabel="skeletons", title=f"{SKELETONS:,} drawn ones against FastSRB's 115 laws")
    return figure


def draws_and_laws():
    """Laws found by draws of the shipped network and of its prior, as measured for the shipped model."""
    worth = json.loads((ROOT / "data/models/tiny-worth.json").read_text())
    figure, both = axes(2, 4.4)
    for axis, (key, title) in zip(both, (("held out", "held-out laws"), ("fastsrb", "FastSRB's laws"))):
        for proposer, colour, label in (("model", BLUE, "network"), ("control", GREY, "its prior")):
            rows = [row for row in worth[key] if row.get("proposer") == proposer]
            axis.plot(
                [r["draws"] for r in rows],
                [100 * r["found"] / r["laws"] for r in rows],
                "o-",
                color=colour,
                label=label,
                markersize=4,
            )
        axis.set(xscale="log", xlabel="draws", ylabel="laws found, %", ylim=(0, 80), title=title)
    both[0].legend(frameon=False)
    return figure


def projected_constants():
    """FVU of c1*exp(c2*x) + c3 along c2: with c1 and c3 solved for, and with c1 and c3 left where they started."""
    x = np.linspace(0, 4, 60)
    y = 3 * np.exp(-1.3 * x) + 0.7 + 0.02 * np.random.default_rng(0).standard_normal(60)
    rates = np.linspace(-4, 0.5, 300)
    solved, fixed = [], []
    for rate in rates:
        wave = np.exp(rate * x)
        basis = np.column_stack([wave, np.ones_like(x)])
        rest = y - basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
        solved.append(rest @ rest)
        rest = y - (1.0 * wave + 0.0)
        fixed.append(rest @ rest)
    total = float(np.sum((y - y.mean()) ** 2))
    figure, (axis,) = axes()
    axis.plot(rates, np.array(fixed) / total, color=GREY, label=r"$c_1 = 1$, $c_3 = 0$ as they started")
    axis.plot(rates, np.array(solved) / total, color=BLUE, label=r"$c_1$, $c_3$ solved for at each $c_2$")
    axis.axvline(-1.3, color=ORANGE, linewidth=1, linestyle=":", label="true value")
    axis.set(yscale="log", xlabel="$c_2$", ylabel="FVU", title=r"$y = c_1\,\exp(c_2 x) + c_3$", ylim=(1e-4, 30))
    axis.legend(frameon=False, fontsize=8)
    return figure


def periodogram():
    """A fast wave under a slope: the share of the variance that each frequency explains, and the data."""
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0, 10, 120))
    y = 0.4 * x + np.sin(11.3 * x + 0.5) + 0.2 * rng.standard_normal(len(x))
    frequencies = np.linspace(0.2, 20, 1500)
    shares = []
    for k in frequencies:
        basis = np.column_stack([np.ones_like(x), x, np.cos(k * x), np.sin(k * x)])
        rest = y - basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
        shares.append(1 - rest @ rest / np.sum((y - y.mean()) ** 2))
    figure, (left, right) = axes(2, 4.4)
    left.plot(x, y, "o", markersize=3, color=BLUE)
    left.set(xlabel="x", ylabel="y", title="no descent finds this wave")
    right.plot(frequencies, shares, color=BLUE)
    right.axvline(11.3, color=ORANGE, linewidth=1, linestyle=":", label="true frequency")
    right.set(xlabel="frequency k", ylabel="share explained", title="its periodogram does", ylim=(0, 1))
    right.legend(frameon=False, fontsize=8)
    return figure


def local_search():
    """Best FVU of the local search alone against the candidates it fitted, on a law of three columns, for three seeds."""
    from fansr.fitting import Budget, Problem
    from fansr.proposers.local_search.evolve import propose

    X = np.random.default_rng(2).uniform(0.5, 3.0, (200, 3))
    y = X[:, 0] * np.exp(-X[:, 1]) + np.sqrt(X[:, 2] + X[:, 0] ** 2)
    figure, (axis,) = axes()
    for seed, dash in zip(range(3), ("-", "--", ":")):
        best, course = 1.0, []
        for k, batch in enumerate(
            propose(Problem(X, y, ["a", "b", "c"]), Budget(None, 0.25), np.random.default_rng(seed))
        ):
            best = min([best, *(candidate.fvu for candidate in batch)])
            course.append((k + 1, max(best, 1e-30)))
        axis.step(*zip(*course), where="post", color=BLUE, linestyle=dash, label=f"seed {seed}")
    axis.set(
        yscale="log",
        xscale="log",
        xlabel="turns of the islands",
        ylabel="best FVU",
        title=r"$y = a\,e^{-b} + \sqrt{c + a^2}$",
    )
    axis.legend(frameon=False, fontsize=8)
    return figure


def front_and_choice():
    """The front of the enzyme table, and the description length that chooses on it."""
    from fansr.fitting import Budget
    from fansr.search import selection, turns
    from fansr.tables.loading import load_problem

    problem, _, _ = load_problem(str(ROOT / "data/puromycin.csv"))
    options = turns.Options(samples=256, proposers=("power", "sums", "curves", "library", "model"))
    found = turns.search(problem, options, Budget(None))
    lengths = [c.length for c in found.front]
    nats = [selection.selection("mdl", c, len(problem.y), floor=found.floor) for c in found.front]
    chosen = next(i for i, c in enumerate(found.front) if c.expr == found.best.expr)
    figure, (left, right) = axes(2, 4.4)
    left.step(lengths, [c.fvu for c in found.front], "o-", where="post", color=BLUE, markersize=4)
    left.plot(lengths[chosen], found.front[chosen].fvu, "D", color=ORANGE, markersize=8, label="chosen")
    left.set(yscale="log", xlabel="length, tokens", ylabel="FVU", title="front: fit against length")
    finite = [(length, value) for length, value in zip(lengths, nats) if np.isfinite(value)]
    right.plot(*zip(*finite), "o-", color=BLUE, markersize=4)
    right.plot(lengths[chosen], nats[chosen], "D", color=ORANGE, markersize=8)
    right.set(xlabel="length, tokens", ylabel="description length, nats", title="what is minimised")
    left.legend(frameon=False)
    return figure


FIGURES = {
    function.__name__: function
    for function in (
        expression_tree,
        prior_lengths,
        holdout_drops,
        draws_and_laws,
        projected_constants,
        periodogram,
        local_search,
        front_and_choice,
    )
}


def write(folder: Path, names=tuple(FIGURES)) -> None:
    """Each as an SVG named after its function."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        FIGURES[name]().savefig(folder / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    write(Path(sys.argv[1]), sys.argv[2:] or tuple(FIGURES))
