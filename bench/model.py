"""What the network adds: laws found against draws and seconds, for the model and for the control.

    bin/bench-model runs/tiny/train.zst --out held.json    200 laws held out from training, up to 16,383 draws
    bin/bench-model --bench data/fastsrb.json              the laws of a benchmark instead

Both proposers run behind the same refiner; a law counts as found when the candidate that fits best has FVU <= 1.19e-7 on
unseen points.  Draws come in rounds (1, 3, 7, ... in all), and after each the state is noted.
Seconds are CPU seconds of this process: proposing, simplifying and fitting.
"""

import argparse
import collections
import contextlib
import dataclasses
import json
import pathlib
import sys
import time

import numpy as np

from fansr.corpus import draw_kernels, law_files, prior as priors
from fansr.evaluation.metrics import fvu
from fansr.expressions.programs import evaluate
from fansr.expressions.tokens import decode
from fansr.fitting.problem import Budget, Problem
from fansr.fitting.refiner import Refiner
from fansr.network import sample, skeleton_pool
from fansr.network.configuration import Settings
from fansr.network.decoders import ROWS
from fansr.network.skeleton_pool import compact, read_pool
from fansr.streams.seeds import rng_for

FOUND = 1.19e-7  # the paper's epsilon
PROPOSERS = {"model": sample.propose, "control": sample.propose_control}
FIRST = 1  # draws of the first round; each round doubles them


def held_rows(path, settings, share):
    """Tokens (n, W) of a stream's skeletons that training with this --hold leaves out; the stream may hold nothing else."""
    rows = read_pool([path], settings, limit=200_000)[0].tokens
    return rows[skeleton_pool.held_out(rows, share)][: skeleton_pool.HELD]


def held_out(path, model, n, points, prior=None):
    """Problems of n distinct skeletons that training with the default --hold never saw, with fresh clean numbers.

    prior: what the numbers are drawn from, so that two models can be given the same; the model's own for None.
    """
    training = sample.load(model)[1]
    settings = Settings(columns=training["settings"]["columns"], max_length=training["settings"]["max_length"])
    rows = held_rows(path, settings, training["options"]["hold"])
    # In random order and each once: frequent skeletons come first, as the prior would draw them.
    rows = rows[rng_for(0, "bench-model").permutation(len(rows))]
    rows = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]
    rows, columns = compact(rows)
    law = priors.load(prior) if prior else priors.from_dict(training["prior"])
    law = dataclasses.replace(law, noisy=0.0, irrelevant=0.0)
    drawn = draw_kernels.draw(law, rows, np.arange(len(rows)), 2 * points, 0, stage="bench-model")
    made = 0
    for i in range(len(rows)):
        X, y = drawn["X"][i, : columns[i]].T.copy(), drawn["y"][i]
        if drawn["status"][i] < 0 or not np.ptp(y[:points]) > 0 or not np.ptp(y[points:]) > 0:
            continue
        yield (
            " ".join(decode(rows[i])),
            "held out",
            Problem(
                X[:points].copy(),
                y[:points].copy(),
                [f"x{j + 1}" for j in range(X.shape[1])],
                id=i,
                X_val=X[points:].copy(),
                y_val=y[points:].copy(),
            ),
        )
        made += 1
        if made == n:
            return


def benchmark(path, n, each, points):
    """Problems of a file of laws: the first n, and of these the first `each` of every difficulty or family."""
    taken = collections.Counter()
    kept = [law for law in law_files.read(path).laws if not law.excluded][:n]
    for i in rng_for(0, "bench-model.order").permutation(len(kept)):  # so that a part is like the whole
        law = kept[i]
        taken[law.difficulty] += 1
        if each and taken[law.difficulty] > each:
            continue
        X, y = law.draw(2 * points, rng_for(0, "bench-model.law", i))
        yield (
            law.id,
            law.difficulty,
            Problem(
                X[:points].copy(),
                y[:points].copy(),
                [c.name for c in law.columns],
                id=i,
                X_val=X[points:].copy(),
                y_val=y[points:].copy(),
            ),
        )


def run(propose, problem, model, samples):
    """[(draws, CPU seconds, found)] after each round."""
    started, draws, size, best, states = time.process_time(), 0, sample.FIRST_DRAWS, np.inf, []
    most = ROWS if propose is sample.propose else samples  # in one round
    fitter = Refiner(problem.X, problem.y, restarts=8, seed=0)
    found = False
    for group in propose(problem, Budget(None), rng_for(0, propose.__name__, problem.id), samples=samples, model=model):
        draws, size = draws + min(size, most, samples - draws), 2 * size
        values, consts = fitter.fit([c.expr for c in group]) if group else ([], [])
        for candidate, value, c in zip(group, values, consts):
            if value < best and c is not None:
                best = value
                with np.errstate(all="ignore"):
                    found = bool(fvu(problem.y_val, evaluate(candidate.expr, problem.X_val, c)) <= FOUND)
        states.append((draws, time.process_time() - started, found))
        if found and best < 1e-20:
            break
    return states


def table(laws, most, proposers=tuple(PROPOSERS)):
    """Rows of proposer, draws, laws found and mean CPU seconds a law, at the end of each round."""
    steps = [n for k in range(1, 20) if (n := sample.FIRST_DRAWS * (2**k - 1)) <= most]
    for proposer in proposers:
        for draws in steps:
            reached = [
                ([state for state in law[proposer] if state[0] <= draws] or [(0, 0.0, False)])[-1] for law in laws
            ]
            yield {
                "proposer": proposer,
                "draws": draws,
                "laws": len(laws),
                "found": sum(bool(r[2]) for r in reached),
                "seconds": round(float(np.mean([r[1] for r in reached])), 3),
            }


def within(laws, seconds, group, proposers=tuple(PROPOSERS)):
    """Laws of a group found by each proposer within so many CPU seconds a law."""
    laws = [law for law in laws if law["group"] == group]
    return {
        "group": group,
        "laws": len(laws),
        "seconds": seconds,
        **{p: sum(any(s[2] and s[1] <= seconds for s in law[p]) for law in laws) for p in proposers},
    }


def ratios(laws, most):
    """Control over model, in draws and in seconds, over the laws that either found.

    A law that one side did not find counts as found at twice its last draw there: in favour of that side.
    """

    def first(law, proposer, what):
        hit = next((s for s in law[proposer] if s[2]), None)
        return hit[what] if hit else 2 * law[proposer][-1][what]

    either = [law for law in laws if any(s[2] for p in ("model", "control") for s in law[p])]
    found = {"laws found by either": len(either)}
    for what, name in ((0, "draws"), (1, "seconds")):
        values = sorted(first(law, "control", what) / max(first(law, "model", what), 1e-9) for law in either)
        if values:
            found[name] = {
                "median": round(float(np.median(values)), 2),
                "share of 8 or more": round(float(np.mean(np.array(values) >= 8)), 3),
                "geometric mean": round(float(np.exp(np.mean(np.log(values)))), 2),
            }
    return found


def plot(rows, path):
    """Laws found against draws and against seconds."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    for axis, key in zip(axes, ("draws", "seconds")):
        for proposer, colour in (("model", "C0"), ("control", "C1")):
            mine = [row for row in rows if row["proposer"] == proposer]
            if not mine:
                continue
            axis.plot(
                [row[key] for row in mine],
                [100 * row["found"] / row["laws"] for row in mine],
                "o-",
                color=colour,
                label=proposer,
            )
        axis.set(xscale="log", xlabel={"draws": "draws a law", "seconds": "mean CPU seconds a law"}[key])
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("laws found (%)")
    axes[0].legend(loc="upper left")
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("skeletons", nargs="?", help="the stream the model was trained on")
    parser.add_argument("--bench", help="a file of laws instead")
    parser.add_argument("--laws", type=int, default=200)
    parser.add_argument("--each", type=int, help="with --bench: at most so many of a difficulty or family")
    parser.add_argument("--points", type=int, default=256)
    parser.add_argument("--samples", type=int, default=16383)
    parser.add_argument("--only", choices=("model", "control"), help="only one of the two, without their ratios")
    parser.add_argument("--model", help="a model file, or the name of a shipped one")
    parser.add_argument(
        "--prior", help="of the held-out laws' numbers, where models are compared  [default: the model's own]"
    )
    parser.add_argument("--out", type=pathlib.Path, help="also write every law's rounds and the summary here, as JSON")
    parser.add_argument("--plot", type=pathlib.Path, help="a figure of the laws found against draws and seconds")
    args = parser.parse_args()
    if bool(args.skeletons) == bool(args.bench):
        parser.error("wanted a skeleton stream or --bench FILE")
    sample.FIRST_DRAWS = FIRST
    sample.load(args.model)
    problems = (
        benchmark(args.bench, args.laws, args.each, args.points)
        if args.bench
        else held_out(args.skeletons, args.model, args.laws, args.points, args.prior)
    )
    proposers = (args.only,) if args.only else tuple(PROPOSERS)
    laws = []
    with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C: the summary of what was done
        for name, group, problem in problems:
            told = {p: run(PROPOSERS[p], problem, args.model, args.samples) for p in proposers}
            laws.append({"law": name, "group": group, **told})
            told = {p: next((s[0] for s in laws[-1][p] if s[2]), None) for p in proposers}
            print(json.dumps({"law": name, **told}), file=sys.stderr, flush=True)
    rows = list(table(laws, args.samples, proposers))
    summary = [
        *rows,
        *(
            within(laws, t, group, proposers)
            for group in dict.fromkeys(law["group"] for law in laws)
            for t in (0.1, 0.3, 1.0, 3.0)
        ),
        *([ratios(laws, args.samples)] if len(proposers) > 1 else []),
    ]
    for row in summary:
        print(json.dumps(row))
    if args.out:
        args.out.write_text(json.dumps({"summary": summary, "laws": laws}) + "\n")
    if args.plot:
        plot(rows, args.plot)


if __name__ == "__main__":
    main()
