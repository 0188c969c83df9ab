"""Time and length of simplification: fansr, the bare engine, and SymPy, on the same skeletons in the same run.

    bin/bench-simplify [-n 65536] [--variables 17] [--sympy 400] [--tiers 3-2,4-3,3-2:0] [--judge 1000] [--out FOLDER]
    bin/bench-simplify -n 65536 --tiers "" --sympy 65536 --sympy-seconds 600 --out FOLDER
    bin/bench-simplify --fuzz 1000000
    bin/bench-simplify --again 100000 [--first 5000000] [--variables 17]
    bin/bench-simplify --forms 10000 [--first 5000000] [--variables 17]

Skeletons of the paper's prior (section 3.3) go through three simplifiers:

    fansr TIER   fansr.simplification.simplify with each tier of rules, from tokens to tokens of Table 5, one at a time
    engine       two bare passes of simplipy's engine with the first tier's rules, no translation
    sympy        sympy.simplify after U(-10, 10) was put in for every constant (section 4.5), at most 1 s each;
                 only its own call is timed, and numbers become constants again before the length is taken

and a whole command, stream to stream, with one worker and with two.  Times are CPU seconds, SymPy's limit too, so
that other work on the machine counts little.  An expression that SymPy does not finish counts as 1 s and as
not simplified.  Writes simplify.tsv (every quantile) and simplify.png (both distribution
functions) to FOLDER and prints a table.  SymPy takes its time: 400 of the skeletons drawn
at random, unless told otherwise; what it did is kept in FOLDER/sympy.tsv, and a later call goes on from there;
with --tiers "" beside what an earlier call found of the tiers.
--judge has forms compared with what they came from by tests/soundness.py: for each tier so many drawn at random, the same
skeletons for all, and as many of those that differ from the first tier's.
"""

import argparse
import gc
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent

from bench.simplifiers.judging import judged, told_of
from bench.simplifiers.odd_input import report_fuzz
from bench.simplifiers.spellings import report_again, report_forms
from bench.simplifiers.sympy_times import with_sympy
from fansr.corpus.gen import sample_skeletons
from fansr.corpus.prior import Prior
from fansr.evaluation import plot_style
from fansr.simplification.simplify import Rejected, Simplifier
from fansr.streams import reader_writer

QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)


def timed(function, exprs):
    """(seconds (n,), results) of a function on each expression; None where it rejects."""
    seconds, results = np.empty(len(exprs)), []
    gc.disable()  # a collection would land on one expression out of thousands
    for i, expr in enumerate(exprs):
        start = time.thread_time()
        try:
            result = function(expr)
        except Rejected:
            result = None
        seconds[i] = time.thread_time() - start
        results.append(result)
    gc.enable()
    return seconds, results


def engine_passes(one):
    """Two passes of the engine alone: what an idempotent simplification costs before any translation."""

    def run(expr):
        tagged = one._full(expr, 48, False, "tagged")
        return one._full(tagged, 48, False, "tagged")

    return run


# ---- the whole command ------------------------------------------------------------------------


COMMAND = """
import resource, sys
from fansr.simplification.simplify import simplify_command
simplify_command.main(["-q", "-j", sys.argv[1], "-o", sys.argv[3], sys.argv[2]], standalone_mode=False)
own, workers = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(own.ru_utime + own.ru_stime, workers.ru_utime + workers.ru_stime)
"""


def command_seconds(exprs, jobs):
    """Wall seconds of fansr-simplify over a stream file, start-up included, and CPU seconds of itself and its workers."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "in.zst"
        with reader_writer.open_writer(source, "skeleton", []) as writer:
            for i, expr in enumerate(exprs):
                writer.write({"kind": "skeleton", "id": i, "expr": expr})
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, str(jobs), str(source), str(Path(folder) / "out.zst")],
            check=True,
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        wall = time.perf_counter() - start
    return wall, *map(float, done.stdout.split())


def report_command(exprs):
    """Time the command with one worker and two; on a machine with other work the CPU seconds say more than the wall's."""
    n = len(exprs)
    wall1, own1, _ = command_seconds(exprs, 1)
    wall2, own2, workers2 = command_seconds(exprs, 2)
    print(
        f"fansr-simplify, {n} records stream to stream, start included: {n / own1:.0f} a CPU second ({wall1:.1f} s wall); "
        f"two workers {wall2:.1f} s wall, speed-up {wall1 / wall2:.2f}"
    )
    # The parent's own seconds (start-up, reading, writing) overlap with the workers' but for the start.
    print(
        f"  of two workers' CPU seconds the parent's own are {own2:.2f}, the workers' {workers2:.2f}: "
        f"two free cores would be {own1 / (own2 + workers2 / 2):.2f} times as fast if nothing of it overlapped"
    )


# ---- output -----------------------------------------------------------------------------------


def write_table(path, times, ratios):
    with open(path, "w") as file:
        print("quantity", "simplifier", "n", "mean", *(f"q{int(100 * q):02d}" for q in QUANTILES), sep="\t", file=file)
        for quantity, table in (("seconds", times), ("length ratio", ratios)):
            for name, found in table.items():
                cells = [np.mean(found), *np.quantile(found, QUANTILES)]
                print(quantity, name, len(found), *(f"{v:.6g}" for v in cells), sep="\t", file=file)


def keep(path, times, ratios):
    """The seconds and length ratios of every tier and the engine, so that a later call without tiers draws them beside more of SymPy."""
    np.savez_compressed(
        path, **{f"seconds {k}": v for k, v in times.items()}, **{f"ratio {k}": v for k, v in ratios.items()}
    )


def read_kept(path):
    """(times, ratios) that keep wrote; two empty ones where there is no such file."""
    found: dict = {"seconds": {}, "ratio": {}}
    if path.exists():
        with np.load(path, allow_pickle=False) as file:
            for key in file.files:
                quantity, _, name = key.partition(" ")
                found[quantity][name] = file[key]
    return found["seconds"], found["ratio"]


def draw_figure(path, times, ratios):
    """Figure 4: distribution functions of seconds and of the length ratio, and the tail of the latter beyond 1."""
    plot_style.save(distributions(times, ratios), str(path))


@plot_style.drawn
def distributions(times, ratios):
    """Each simplifier has one line; lines that coincide show by their widths and dashes."""
    canvas, (left, middle, right) = plot_style.figure(3, width=3.6, height=3.1)
    looks = {"sympy": ("#D55E00", "-", 1.3), "engine": (plot_style.MUTED, ":", 1.3)}
    tiers = [name for name in times if name not in looks]
    for k, name in enumerate(tiers):
        colour = plot_style.COLOURS[(0, 1, 2, 3, 5)[k % 5]]
        looks[name] = (colour, plot_style.DASHES[k % 4], 1.2 + 2.4 * (len(tiers) - 1 - k) / max(1, len(tiers) - 1))
    for axis, table in ((left, times), (middle, ratios), (right, ratios)):
        for name, found in table.items():  # the engine has no lengths
            colour, dash, width = looks[name]
            axis.ecdf(
                found,
                complementary=axis is right,
                label=f"{name} ({len(found):,})",
                color=colour,
                linestyle=dash,
                linewidth=width,
            )
    plot_style.log_axis(left, "x")
    left.set(xlabel="seconds an expression", ylabel="share of expressions", ylim=(0, 1.01))
    middle.set(xlabel="length / length before", ylabel="share of expressions", xlim=(0, 1.6), ylim=(0, 1.01))
    right.set(xlabel="length / length before", ylabel="share that is longer than this", xlim=(0.95, 3), yscale="log")
    right.set_ylim(bottom=max(1e-4, 0.3 / max(map(len, ratios.values()))), top=1.3)
    plot_style.legend_outside(canvas, [left])
    return canvas


def tier_of(word: str) -> Simplifier:
    """The simplifier of a tier or a folder, and of the same with ":N", patterns of up to N tokens alone."""
    rules, _, longest = word.partition(":")
    return Simplifier(rules, int(longest) if longest else None)


def compare(exprs, tiers, judge=0, variables=17, seconds=None):
    """(seconds, length ratios, remarks): for each tier, and seconds for the bare engine of the first, over the same skeletons.

    Blocks in turn, so that a slow spell of the machine falls on all.  judge: how many forms of each are compared with their origin, in
    so many processor seconds at most.
    """
    ones = {f"fansr {word}": tier_of(word) for word in tiers}
    for one in ones.values():
        for expr in exprs[:200]:
            try:
                one(expr)
            except Rejected:
                pass
    found: dict = {name: [] for name in ones}
    engine, together = [], dict.fromkeys(ones, 0.0)
    for first in range(0, len(exprs), 2048):
        part = exprs[first : first + 2048]
        for name, one in ones.items():
            found[name].append(timed(one, part))
            start = time.thread_time()
            one.many(part)
            together[name] += time.thread_time() - start
        engine.append(timed(engine_passes(next(iter(ones.values()))), part)[0])
    times = {name: np.concatenate([seconds for seconds, _ in blocks]) for name, blocks in found.items()}
    forms = {name: [form for _, block in blocks for form in block] for name, blocks in found.items()}
    times["engine"] = np.concatenate(engine)
    ratios = {
        name: np.array([len(form) / len(expr) for expr, form in zip(exprs, some) if form is not None])
        for name, some in forms.items()
    }
    told, first = [], next(iter(ones))
    for name, one in ones.items():
        kept = [(a, b) for a, b in zip(forms[first], forms[name]) if a is not None and b is not None]
        told.append(
            f"{name}: {len(one._whole.simplification_rules)} rules, rejected {np.mean([f is None for f in forms[name]]):.2%}; many at "
            f"once, as the command does: {together[name] / len(exprs) * 1e6:.0f} us each, {together[name] / times['engine'].sum():.2f} of "
            f"the engine's two passes; shorter than {first}'s {sum(len(b) < len(a) for a, b in kept)}, longer "
            f"{sum(len(b) > len(a) for a, b in kept)}, other {sum(a != b for a, b in kept)} of {len(kept)}"
        )
    if judge:
        drawn, others, examples = judged(exprs, forms, judge, variables, seconds)
        told += [f"judged, {name}, drawn at random, {told_of(some)}" for name, some in drawn.items()]
        told += [f"judged, {name}, of those unlike {first}'s, {told_of(some)}" for name, some in others.items() if some]
        told += ["  " + "  ".join(map(str, example)) for example in examples[:20]]
    return times, ratios, told


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-n", type=int, default=1 << 16)
    parser.add_argument("--variables", type=int, default=17)
    parser.add_argument("--sympy", type=int, default=400, help="how many of them SymPy gets (about 0.3 s each)")
    parser.add_argument(
        "--sympy-seconds", type=float, default=None, metavar="S", help="and for how many processor seconds at most"
    )
    parser.add_argument(
        "--judge", type=int, default=0, metavar="N", help="compare N forms of each tier with their origin"
    )
    parser.add_argument(
        "--judge-seconds",
        type=float,
        default=None,
        metavar="S",
        help="for S processor seconds at most, drawn and others each",
    )
    parser.add_argument(
        "--tiers",
        default="3-2,3-2:0",
        help="rules, with commas; 3-2:0 has those of patterns of up to 0 tokens, that is none; nothing: SymPy, beside what --out has of the tiers",
    )
    parser.add_argument("--command", type=int, default=100_000, help="skeletons for the whole command; 0 leaves it out")
    parser.add_argument(
        "--fuzz", type=int, default=0, metavar="N", help="instead of all that: simplify N odd inputs and say what came"
    )
    parser.add_argument(
        "--again", type=int, default=0, metavar="N", help="instead of all that: simplify N skeletons twice over"
    )
    parser.add_argument(
        "--forms",
        type=int,
        default=0,
        metavar="N",
        help="instead of all that: N skeletons, each spelled in seven other ways",
    )
    parser.add_argument("--first", type=int, default=5_000_000, help="--again, --forms: id of the first")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    if options.again:
        return report_again(options.again, options.first, options.variables)
    if options.forms:
        return report_forms(options.forms, options.first, options.variables)
    if options.fuzz:
        return report_fuzz(options.fuzz)
    exprs = sample_skeletons(Prior(variables=options.variables), np.arange(options.n), seed=0)
    tiers = [word for word in options.tiers.split(",") if word]
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
    held = options.out and options.out / f"tiers-{options.n}-{options.variables}.npz"
    if tiers:
        times, ratios, told = compare(exprs, tiers, options.judge, options.variables, options.judge_seconds)
        if held:
            keep(held, times, ratios)
    else:
        times, ratios, told = (*(read_kept(held) if held else ({}, {})), [])
    if options.sympy:
        some = np.random.default_rng(1).permutation(len(exprs))[: options.sympy].tolist()
        kept = options.out / "sympy.tsv" if options.out else None
        times["sympy"], lengths = with_sympy({i: exprs[i] for i in some}, kept=kept, most=options.sympy_seconds)
        ratios["sympy"] = lengths / np.array([len(exprs[i]) for i in some[: len(lengths)]])

    print(f"{options.n} skeletons, {options.variables} variables, mean length {np.mean([len(e) for e in exprs]):.2f}")
    for name, seconds in times.items():
        ratio = (
            f", mean length ratio {ratios[name].mean():.4f}, longer {np.mean(ratios[name] > 1):.2%}"
            if name in ratios
            else ""
        )
        median = np.median(seconds) * 1e6
        print(f"{name:12s} {len(seconds)}: median {median:.0f} us, mean {seconds.mean() * 1e6:.0f} us{ratio}")
    for line in told:
        print(line)
    if options.sympy and len(times) > 1:
        unfinished, first = np.mean(times["sympy"] >= 1.0), next(iter(times))
        print(
            f"sympy's median / {first}'s {np.median(times['sympy']) / np.median(times[first]):.0f}; "
            f"sympy unfinished after 1 s {unfinished:.1%}"
        )
    if options.command and tiers:
        many = (
            exprs[: options.command]
            if options.command <= len(exprs)
            else sample_skeletons(Prior(variables=options.variables), np.arange(options.command), seed=0)
        )
        report_command(many)
    if options.out and len(times) > 1:
        write_table(options.out / "simplify.tsv", times, ratios)
        draw_figure(options.out / "simplify.png", times, ratios)


if __name__ == "__main__":
    main()
