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
at random, unless told otherwise; what it did is kept in FOLDER/sympy.tsv, and a later call goes on from there.
--judge has forms compared with what they came from by tests/soundness.py: for each tier so many drawn at random,
and as many of those that differ from the first tier's.
"""

import argparse
import gc
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent

from fansr.corpus.gen import sample_skeletons
from fansr.corpus.prior import Prior
from fansr.evaluation import plot_style
from fansr.expressions.prefix import bind, from_tree, to_infix, to_tree
from fansr.expressions.tokens import ARITY, CONSTANT, OPERATORS
from fansr.simplification.simplify import Rejected, Simplifier
from fansr.streams import reader_writer

ALL_OPERATORS = [row.token for row in OPERATORS]
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


# ---- SymPy ------------------------------------------------------------------------------------


class TimeOut(Exception):
    pass


def _alarm(signum, frame):
    raise TimeOut


def sympy_length(tree) -> int:
    """Prefix tokens of a SymPy expression: n-ary sums and products as chains, numbers as one constant each, a
    reciprocal, a negative and an integer power or root as one unary operator, like Table 5's."""
    import sympy

    if tree.is_Number or tree.is_Symbol or tree.is_NumberSymbol:
        return 1
    lengths = [sympy_length(part) for part in tree.args]
    if tree.is_Pow:
        exponent = tree.args[1]
        if (
            exponent.is_Rational
            and abs(exponent) != 1
            and max(abs(exponent.p), exponent.q) <= 5
            and 1 in (abs(exponent.p), exponent.q)
        ):
            return lengths[0] + 1 + (exponent < 0)
        if exponent == -1:
            return lengths[0] + 1
    if tree.is_Mul and tree.args[0] == -1 and len(tree.args) == 2:
        return lengths[1] + 1
    if len(lengths) == 1:
        return lengths[0] + 1
    joined = sum(lengths) + len(lengths) - 1
    if isinstance(tree, (sympy.Add, sympy.Mul)):
        # x + (-1)*y and x * y**-1 are one binary operator in Table 5.
        spared = sum(
            1
            for part in tree.args
            if (part.is_Mul and part.args[0] == -1 and len(part.args) == 2)
            or (part.is_Pow and part.args[1] == -1 and tree.is_Mul)
        )
        return joined - min(spared, len(lengths) - 1)
    return joined


def with_sympy(exprs, limit=1.0, kept=None, most=None):
    """(seconds, lengths) of sympy.simplify on the first of {number: skeleton}; unfinished ones cost `limit` and keep their length.

    kept: a file of rows that earlier calls made, which are taken over and added to.  most: processor seconds of this call, its
    reading of expressions included.  Ctrl-C ends it with those done.
    """
    import sympy

    known, rows = _read_rows(kept) if kept else {}, []
    local = {f"x{j}": sympy.Symbol(f"x{j}", real=True) for j in range(1, 18)}
    local.update(
        inv=lambda a: 1 / a,
        root4=lambda a: a ** sympy.Rational(1, 4),
        cbrt=sympy.real_root and (lambda a: sympy.real_root(a, 3)),
        root5=lambda a: sympy.real_root(a, 5),
    )
    signal.signal(signal.SIGPROF, _alarm)
    begin = time.process_time()
    for number, expr in exprs.items():
        text = " ".join(expr)
        if (number, text) in known:
            rows.append(known[number, text])
            continue
        if most is not None and time.process_time() - begin > most:
            break
        bound = bind(expr, np.round(np.random.default_rng([0, number]).uniform(-10, 10, expr.count(CONSTANT)), 3))
        seconds, length = limit, len(expr)
        try:
            signal.setitimer(signal.ITIMER_PROF, 10 * limit)
            parsed = sympy.sympify(to_infix(bound), locals=local)
            signal.setitimer(signal.ITIMER_PROF, limit)
            start = time.thread_time()
            result = sympy.simplify(parsed)
            seconds = min(limit, time.thread_time() - start)
            signal.setitimer(signal.ITIMER_PROF, 0)
            length = sympy_length(result)
        except KeyboardInterrupt:
            break
        except Exception:  # noqa: BLE001, S110 - SymPy fails in many ways on such input; the expression stays as it is
            pass
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
        rows.append((seconds, length))
        if kept:
            with open(kept, "a") as file:
                print(number, text, f"{seconds:.6f}", length, sep="\t", file=file)
    return np.array([row[0] for row in rows]), np.array([row[1] for row in rows], dtype=float)


def _read_rows(path) -> dict:
    """{(number, skeleton): (seconds, length)} of a file that with_sympy wrote."""
    if not path.exists():
        return {}
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    return {(int(number), text): (float(seconds), int(length)) for number, text, seconds, length in lines}


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


def report_again(n, first, variables):
    """Simplify n fresh skeletons twice over, as the command does, and say how many change the second time."""
    exprs = sample_skeletons(Prior(variables=variables), np.arange(first, first + n), seed=0)
    simplifier = Simplifier()
    kept = [(expr, form) for expr, form in zip(exprs, simplifier.many(exprs)) if not isinstance(form, Rejected)]
    again = simplifier.many([form for _expr, form in kept])
    changed = [(expr, form, second) for (expr, form), second in zip(kept, again) if second != form]
    print(
        f"{len(kept)} of {n} skeletons, {variables} variables, from id {first}: mean length ratio "
        f"{np.mean([len(form) / len(expr) for expr, form in kept]):.4f}, longer {sum(len(form) > len(expr) for expr, form in kept)}, "
        f"changed when simplified again {len(changed)}"
    )
    for expr, form, second in changed[:20]:
        print("", " ".join(expr), " ".join(form), spelled(second), sep="\n  ")


# ---- other spellings --------------------------------------------------------------------------


def respellings(rng):
    """Ways to write an expression differently: name -> function of a node of a tree."""

    def of(node, *tokens):
        return isinstance(node, tuple) and node[0] in tokens

    def commute(t):
        return (t[0], t[2], t[1]) if of(t, "+", "*") and rng.random() < 0.5 else t

    def associate(t):
        if of(t, "+", "*") and of(t[1], t[0]):
            return (t[0], t[1][1], (t[0], t[1][2], t[2]))
        if of(t, "+", "*") and of(t[2], t[0]):
            return (t[0], (t[0], t[1], t[2][1]), t[2][2])
        return t

    return {
        "commuting": commute,
        "re-associating": associate,
        "a-b as a+neg b": lambda t: ("+", t[1], ("neg", t[2])) if of(t, "-") else t,
        "a/b as a*inv b": lambda t: ("*", t[1], ("inv", t[2])) if of(t, "/") else t,
        "C as C+C": lambda t: ("+", CONSTANT, CONSTANT) if t == CONSTANT else t,
        "C as -C": lambda t: ("neg", CONSTANT) if t == CONSTANT else t,
        "x/C as x*C": lambda t: ("*", t[1], CONSTANT) if of(t, "/") and t[2] == CONSTANT else t,
    }


def walk(tree, change):
    """`change` applied to every node, leaves first."""
    if isinstance(tree, tuple):
        tree = (tree[0], *(walk(child, change) for child in tree[1:]))
    return change(tree)


def count_forms(exprs, seed=0):
    """way -> [pairs spelled differently, those that do not end in one form, as (expression, its form, the other's)]."""
    one, counts = Simplifier(), {}
    for way, change in respellings(np.random.default_rng(seed)).items():
        pairs = [(expr, other) for expr in exprs if (other := from_tree(walk(to_tree(expr), change))) != expr]
        forms = zip(pairs, one.many([expr for expr, _ in pairs]), one.many([other for _, other in pairs]))
        counts[way] = len(pairs), [(expr, a, b) for (expr, _), a, b in forms if spelled(a) != spelled(b)]
    return counts


def spelled(form):
    return form.reason if isinstance(form, Rejected) else " ".join(form)


def report_forms(n, first, variables):
    """Write n fresh skeletons in seven other ways and say how many of the pairs end in one form."""
    counts = count_forms(sample_skeletons(Prior(variables=variables), np.arange(first, first + n), seed=0))
    print(
        f"{n} skeletons, {variables} variables, from id {first}: {sum(pairs for pairs, _ in counts.values())} pairs, "
        f"{sum(len(different) for _, different in counts.values())} end in two forms"
    )
    for way, (pairs, different) in counts.items():
        print(f"  {way:15s} {pairs} pairs, {len(different)} different")
        for expr, a, b in different[:10]:
            print("", " ".join(expr), spelled(a), spelled(b), sep="\n    ")


# ---- odd input --------------------------------------------------------------------------------

LEAVES = [
    *(f"x{j}" for j in range(1, 18)),
    *[CONSTANT] * 4,
    "0",
    "1",
    "-1",
    "2",
    "3.5",
    "1e-3",
    "-2.7",
    "1e300",
    "1e-300",
    "123456789123456789",
    "0.1",
    "inf",
    "-inf",
    "nan",
]
GARBAGE = [
    "",
    "foo",
    "X1",
    "x0",
    "<mul>",
    "</add>",
    "pow6",
    "mult1",
    "(-1)",
    "np.pi",
    "--1",
    "1e",
    "\0",
    "\u03c0",
    "_0",
    "?0",
]


def odd_input(rng: random.Random, longest: int = 35) -> list[str]:
    """A random prefix expression of up to `longest` tokens over every operator and kind of leaf, literals, infinities
    and NaN among them; one in eight is damaged: a token lost, doubled, exchanged or replaced by garbage."""
    few = rng.random() < 0.5  # the same few leaves and operators over and over: that is where rules meet
    leaves = [rng.choice(LEAVES) for _ in range(2)] if few else LEAVES
    operators = [rng.choice(ALL_OPERATORS) for _ in range(4)] if few else ALL_OPERATORS
    expr, left, room = [], 1, rng.randint(1, longest)
    while left:
        room -= 1
        token = rng.choice(operators) if rng.random() < 0.72 else rng.choice(leaves)
        grown = left - 1 + ARITY.get(token, 0)
        if grown > room:
            token, grown = rng.choice(leaves), left - 1
        expr.append(token)
        left = grown
    if rng.random() < 0.125:
        place = rng.randrange(len(expr))
        expr[place : place + 1] = rng.choice(
            [[], [expr[place]] * 2, [rng.choice(GARBAGE)], [rng.choice(LEAVES)], [rng.choice(ALL_OPERATORS)]]
        )
    return expr


def fuzz(one, n, seed=0):
    """Counter of outcomes, and the slowest inputs with their CPU seconds; anything but Rejected is let through."""
    rng = random.Random(seed)
    outcomes: Counter = Counter()
    slowest: list = []
    for _ in range(n):
        expr = odd_input(rng)
        start = time.thread_time()
        try:
            result = one(expr)
            outcome = "longer" if len(result) > len(expr) else "simplified"
        except Rejected as error:
            outcome = error.reason
        seconds = time.thread_time() - start
        outcomes[outcome] += 1
        if len(slowest) < 5 or seconds > slowest[-1][0]:
            slowest = sorted([*slowest, (seconds, expr)], reverse=True)[:5]
    return outcomes, slowest


def report_fuzz(n):
    """Fuzz and say what came."""
    start = time.process_time()
    outcomes, slowest = fuzz(Simplifier(), n)
    print(
        f"{n} odd inputs of up to 35 tokens in {time.process_time() - start:.0f} CPU s: "
        + ", ".join(f"{outcome} {count}" for outcome, count in outcomes.most_common())
    )
    for seconds, expr in slowest:
        print(f"  {seconds * 1e3:.1f} ms  {' '.join(expr)}")


# ---- output -----------------------------------------------------------------------------------


def write_table(path, times, ratios):
    with open(path, "w") as file:
        print("quantity", "simplifier", "n", "mean", *(f"q{int(100 * q):02d}" for q in QUANTILES), sep="\t", file=file)
        for quantity, table in (("seconds", times), ("length ratio", ratios)):
            for name, found in table.items():
                cells = [np.mean(found), *np.quantile(found, QUANTILES)]
                print(quantity, name, len(found), *(f"{v:.6g}" for v in cells), sep="\t", file=file)


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


def judged(exprs, forms, first, n, variables) -> str:
    """What tests/soundness.py says of n forms drawn at random, and of n of those that are others than the first tier's."""
    sys.path.append(str(ROOT / "tests"))
    import soundness

    rng, told = np.random.default_rng(2), []
    whole = [i for i, form in enumerate(forms) if form is not None]
    changed = [i for i in whole if forms[i] != first[i]]
    for name, some in (("drawn at random", whole), ("of those unlike the first tier's", changed)):
        verdicts = Counter(
            soundness.judge(exprs[i], forms[i], rng, variables, 12)[0] for i in rng.permutation(some)[:n]
        )
        if verdicts:
            told.append(
                f"{name}, {sum(verdicts.values())}: " + ", ".join(f"{k} {v}" for k, v in verdicts.most_common())
            )
    return "; ".join(told)


def compare(exprs, tiers, judge=0, variables=17):
    """(seconds, length ratios, remarks): for each tier, and seconds for the bare engine of the first, over the same skeletons.

    Blocks in turn, so that a slow spell of the machine falls on all.  judge: how many forms of each are compared with their origin.
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
            told.append(f"  judged: {judged(exprs, forms[name], forms[first], judge, variables)}")
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
        "--tiers",
        default="3-2,3-2:0",
        help="rules, with commas; 3-2:0 has those of patterns of up to 0 tokens, that is none; nothing: SymPy alone",
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
    times, ratios, told = compare(exprs, tiers, options.judge, options.variables) if tiers else ({}, {}, [])
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
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
    if options.sympy and tiers:
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
    if options.out and tiers:
        write_table(options.out / "simplify.tsv", times, ratios)
        draw_figure(options.out / "simplify.png", times, ratios)


if __name__ == "__main__":
    main()
