"""How fast the corpus is made, and how clean it is: one JSON line a measurement.

    bin/bench-corpus speed [--flash-ansr DIR]   gen, decontam, render, and the whole pipe, per core
    bin/bench-corpus leaks [-n 100000]          every survivor against every held-out law, the slow way
    bin/bench-corpus planted                    share of planted equivalents that are caught, by kind
    bin/bench-corpus memory [-n 1000000]        peak memory of gen and of the pipe at two sizes
    bin/bench-corpus stats [-o corpus.png]      appendix J's distributions for both priors, raw and simplified

Rates are records a second of CPU time (user + system), so that a busy machine does not change them much.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent

import click
import numpy as np

from fansr.corpus import decontam, draw_kernels, gen, law_files, prior
from fansr.expressions import prefix as expressions
from fansr.expressions.programs import evaluate
from fansr.expressions.tokens import CONSTANT, variable_index
from fansr.streams import reader_writer

TESTS = [str(ROOT / "data" / "fastsrb.json")]


def say(**measured):
    print(json.dumps(measured), flush=True)


# ---- planted equivalents ----------------------------------------------------------------------


def commuted(tree, rng):
    """Operands of + and * swapped at random."""
    if not isinstance(tree, tuple):
        return tree
    kids = [commuted(child, rng) for child in tree[1:]]
    if tree[0] in ("+", "*") and rng.random() < 0.5:
        kids.reverse()
    return (tree[0], *kids)


def rescaled(tree, rng):
    """Times a constant, free or written as a multiplier."""
    factor = rng.choice(
        [("*", CONSTANT, tree), ("*", tree, CONSTANT), ("/", tree, CONSTANT), ("mult3", tree), ("div2", tree)]
    )
    return ("neg", factor) if rng.random() < 0.3 else factor


def constants_added(tree, rng):
    """A constant added to, or multiplied on, some inner nodes and the whole."""
    if not isinstance(tree, tuple):
        return ("*", CONSTANT, tree) if rng.random() < 0.3 and tree != CONSTANT else tree
    grown = (tree[0], *(constants_added(child, rng) for child in tree[1:]))
    return (
        rng.choice([("+", grown, CONSTANT), ("-", grown, CONSTANT), ("*", CONSTANT, grown)])
        if rng.random() < 0.4
        else grown
    )


def renamed(tree, rng):
    """Other variables of the seventeen."""
    order = rng.sample(range(1, 18), 17)

    def walk(node):
        if isinstance(node, tuple):
            return (node[0], *map(walk, node[1:]))
        column = variable_index(node)
        return node if column is None else f"x{order[column]}"

    return walk(tree)


def rewritten(tree, rng):
    """Algebra without trigonometry: quotients as products with inverses, squares as products, differences as sums."""
    if not isinstance(tree, tuple):
        return tree
    node = (tree[0], *(rewritten(child, rng) for child in tree[1:]))
    if node[0] == "/":
        return rng.choice([("*", node[1], ("inv", node[2])), ("inv", ("/", node[2], node[1]))])
    if node[0] == "pow2":
        return ("*", node[1], node[1])
    if node[0] == "-":
        return rng.choice([("+", node[1], ("neg", node[2])), ("neg", ("-", node[2], node[1]))])
    return node


def trigonometric(tree, rng):
    """Phases and angles: cos for sin with a phase, squares and products of waves by the double angle."""
    if not isinstance(tree, tuple):
        return tree
    node = (tree[0], *(trigonometric(child, rng) for child in tree[1:]))
    if node[0] in ("sin", "cos"):
        other = "cos" if node[0] == "sin" else "sin"
        return (other, ("+", node[1], CONSTANT))
    if node[0] == "pow2" and node[1][0] in ("sin", "cos"):
        return ("-", CONSTANT, ("*", CONSTANT, ("cos", ("mult2", node[1][1]))))
    return node


KINDS = {f.__name__: f for f in (commuted, rescaled, constants_added, renamed, rewritten, trigonometric)}


def planted(kind: str, law, rng) -> list[str] | None:
    """One equivalent of a law (up to constants) of a kind; None where the kind does not apply."""
    skeleton = expressions.free(law.expr)[0]
    made = expressions.from_tree(KINDS[kind](expressions.to_tree(skeleton), rng))
    return made if kind == "renamed" or made != skeleton else None


@click.group(help=__doc__)
def main():
    pass


@main.command("planted")
@click.option("--repeats", default=5, show_default=True)
def planted_command(repeats):
    """Share of planted equivalents caught, raw and after fansr-simplify, by kind; with both guards."""
    from fansr.simplification.simplify import simplify_many

    collection = law_files.read(TESTS[0]).laws
    forms = decontam.forms_of(decontam.read_tests(TESTS))
    for renaming in (True, False):
        stage = decontam.Decontaminator(forms, renaming)
        for kind in KINDS:
            rng = random.Random(kind)
            made = [(law.id, p) for law in collection for _ in range(repeats) if (p := planted(kind, law, rng))]
            for name, exprs in (
                ("raw", [p for _, p in made]),
                ("simplified", [f for f, _ in simplify_many([p for _, p in made])]),
            ):
                usable = [
                    (label, e) for (label, _), e in zip(made, exprs) if e is not None and expressions.variables(e)
                ]
                kept, _ = stage([{"kind": "skeleton", "id": i, "expr": e} for i, (_, e) in enumerate(usable)])
                missed = sorted({usable[record["id"]][0] for record in kept})
                say(
                    what="planted",
                    kind=kind,
                    form=name,
                    renaming=renaming,
                    n=len(usable),
                    caught=round(1 - len(kept) / len(usable), 4),
                    missed=missed[:12],
                )


# ---- leaks ------------------------------------------------------------------------------------


def slow_leaks(skeletons, forms, X):
    """Skeletons that agree with a law as the paper's guard has it: pruned, 512 points, 1e-4, NaN agrees.

    One expression at a time, every law, pruned by expr.drop_constants and valued by evaluate(): neither the guard's
    rows, tables, sorting nor filter.  Another arithmetic (numpy's powers, say) is no use here: x**3 that differs in the
    last bit turns acosh(cbrt(x**3) / x) from 0 into NaN, which agrees with everything.
    """
    bare = {tuple(expressions.drop_constants(form)) for _, form in forms} - {()}
    images = np.array([evaluate(list(form), X) for form in sorted(bare)])
    images = images[~np.isnan(images).all(axis=1)]
    leaks = []
    for skeleton in skeletons:
        form = expressions.drop_constants(skeleton)
        if not form:
            continue
        values = evaluate(form, X)
        # What differs at one of the first points differs; the others are compared at all of them.
        near = images[~(np.abs(images[:, :24] - values[:24]) > 1e-4).any(axis=1)]
        if tuple(form) in bare or not (np.abs(near - values) > 1e-4).any(axis=1).all():
            leaks.append(skeleton)
    return leaks


def brute_force():
    """The comparison of leaks, compiled: every candidate with every entry, value by value; no index, no order, no table of
    what the guard keeps.  A pair is let go at the first point where both are numbers and differ."""
    from numba import njit

    @njit(error_model="numpy")
    def pairs(f, g, first, wanted, found, shared):
        """found[:returned] = entries of g (n, E) that nowhere differ from f (n,) and share `wanted` numbers with it, of f's
        first `first` numbers; found and shared (E,) are work space."""
        left, numbers = g.shape[1], 0
        for i in range(len(f)):
            a = f[i]
            if np.isnan(a) or numbers == first:
                continue
            n = 0
            for j in range(left):
                e = j if numbers == 0 else found[j]
                b = g[i, e]
                # inf - inf is not known to differ, a number and infinity are.
                if abs(a - b) > 1e-4 + 1e-9 * (abs(b) if np.isfinite(b) else 0.0):
                    continue
                shared[e] = (0 if numbers == 0 else shared[e]) + (not np.isnan(b))
                found[n] = e
                n += 1
            left = n
            if left == 0:
                return 0
            numbers += 1
        if numbers == 0:  # f agrees with all, and shares no number with any
            for e in range(left):
                found[e], shared[e] = e, 0
        n = 0
        for j in range(left):
            if shared[found[j]] >= wanted:
                found[n] = found[j]
                n += 1
        return n

    return pairs


def in_every_order(forms, X):
    """{k: [(form, order)]}: each pruned form, of both sorts, with its variables on every choice of a candidate's k columns.

    As the guard defines it: at most MAX_EMBEDDINGS choices where the candidate has more variables than the law, and its
    own order only for a law that has more than MAX_ORDERS.
    """
    from fansr.corpus import holdout_guard

    pruned = {
        tuple(gen.to_exprs(holdout_guard.pruned(draw_kernels.to_rows([form]), wider))[0])
        for _, form in forms
        for wider in (False, True)
    }
    entries = {k: [] for k in range(18)}
    for form in sorted(pruned - {()}):
        n = len(expressions.variables(form))
        if np.isnan(evaluate(list(form), X)).all():
            continue
        for k in range(n, 18):
            many = math.perm(k, n)
            if k == n and many > holdout_guard.MAX_ORDERS:
                entries[k].append((form, np.arange(n)[None]))
            elif many <= (holdout_guard.MAX_ORDERS if k == n else holdout_guard.MAX_EMBEDDINGS):
                entries[k].append((form, np.array(list(itertools.permutations(range(k), n)))))
    return entries


def in_orders(form, orders, X) -> np.ndarray:
    """Values (orders, M) of a form whose variables, in rising order, are read from these columns of X (M, D)."""
    own = expressions.variables(form)
    compact = expressions.rename(list(form), dict(zip(own, range(len(own)))))
    parts = [
        evaluate(compact, X[:, some].transpose(1, 0, 2).reshape(-1, len(own))).reshape(len(some), -1)
        for some in (orders[i : i + 1024] for i in range(0, len(orders), 1024))
    ]
    return np.concatenate(parts)


class SlowCheck:
    """Which skeletons agree with a held-out law by the guard's definition, found by comparing each with all."""

    EARLY = 128  # the definition wants a number that both have among a candidate's first 64 within these points

    def __init__(self, forms, X):
        self.X, self.columns, self.pairs = X, np.ascontiguousarray(X.T), brute_force()
        bare = sorted({tuple(expressions.drop_constants(form)) for _, form in forms} - {()})
        literal = np.array([evaluate(list(form), X) for form in bare])
        self.literal = np.ascontiguousarray(literal[~np.isnan(literal).all(axis=1)].T)
        self.entries, self.values, n = {}, {}, 0
        for k, those in in_every_order(forms, X).items():
            alike = {}  # values at the early points -> all entries that have them
            for form, orders in those:
                n += len(orders)
                for order, values in zip(orders, in_orders(form, orders, X[: self.EARLY])):
                    alike.setdefault(values.tobytes(), []).append((form, order))
            self.entries[k] = list(alike.values())
            self.values[k] = np.ascontiguousarray(np.frombuffer(b"".join(alike)).reshape(len(alike), self.EARLY).T)
        self.n = self.literal.shape[1], n
        most = max(self.n[0], *map(len, self.entries.values())) + 1
        self.work = np.zeros(most, np.int64), np.zeros(most, np.int64)

    def __call__(self, rows) -> list[int]:
        """Indices of the rows (vocabulary ids) that a law equals."""
        from fansr.corpus import holdout_guard

        paper = holdout_guard.pruned(rows, False)
        wider = holdout_guard.pruned(rows, True)
        leaks = set(self._literal(paper))
        for forms in (paper, wider):
            leaks |= set(self._renamed(*holdout_guard.compacted(forms)))
        return sorted(leaks)

    def _valued(self, forms, n):
        values = np.empty((len(forms), n))
        draw_kernels.value_rows(np.ascontiguousarray(forms), np.ascontiguousarray(self.columns[:, :n]), values)
        return values

    def _literal(self, forms):
        chosen = np.flatnonzero(forms[:, 0])
        for n in (64, len(self.X)):  # what agrees with no law at 64 points agrees with none at all
            chosen = chosen[
                [self.pairs(values, self.literal, n, 0, *self.work) > 0 for values in self._valued(forms[chosen], n)]
            ]
        return chosen.tolist()

    def _renamed(self, forms, k_of):
        chosen = np.flatnonzero(forms[:, 0])
        for b, values in zip(chosen, self._valued(forms[chosen], self.EARLY)):
            n = self.pairs(values, self.values[k_of[b]], 64, 1, *self.work)
            alike = [entry for e in self.work[0][:n] for entry in self.entries[k_of[b]][e]]
            if any(self._agrees(forms[b], *entry) for entry in alike):
                yield int(b)

    def _agrees(self, form, law, order) -> bool:
        """The whole test of a renamed law: no difference at 512 points, 8 of which have a number on both sides."""
        f, g = self._valued(form[None], len(self.X))[0], in_orders(law, order[None], self.X)[0]
        with np.errstate(all="ignore"):
            apart = np.abs(f - g) > 1e-4 + 1e-9 * np.where(np.isfinite(g), np.abs(g), 0.0)
        return not apart.any() and int((~np.isnan(f) & ~np.isnan(g)).sum()) >= 8


def pruned_slowly(expr, wider: bool) -> list[str]:
    """The paper's pruned form by prefix.py, or the guard's wider one by a walk over the tree: what pruned rows are checked with."""
    if not wider:
        return expressions.drop_constants(expr)

    def walk(tree):
        if not isinstance(tree, tuple):
            return tree if tree != CONSTANT else None
        kids = [walk(child) for child in tree[1:]]
        if len(kids) == 2 and None in kids:
            return (
                ("inv", kids[1])
                if tree[0] == "/" and kids[1] is not None
                else kids[0]
                if kids[0] is not None
                else kids[1]
            )
        if None in kids:
            return None
        if tree[0] == "neg" or tree[0][:-1] in ("mult", "div"):
            return kids[0]
        return ({"cos": "sin", "-": "+"}.get(tree[0], tree[0]), *kids)

    found = walk(expressions.to_tree(expr))
    return [] if found is None else expressions.from_tree(found)


@main.command()
@click.option("-n", "number", default=100_000, show_default=True)
@click.option("--seed", default=1, show_default=True)
@click.option("--simplify/--raw", default=False, show_default=True, help="Simplify before the guard, as the pipe does.")
@click.option("--again", default=16, show_default=True, help="Prune every so many-th block by the slow functions too.")
@click.option("--skeletons", metavar="FILE", help="Look at the first so many of a stream, instead of at fresh ones.")
def leaks(number, seed, simplify, again, skeletons):
    """Decontaminate, then compare every survivor with every law in every order without index or filter.

    What is found is a leak and, the test being the guard's own, a false negative of its first filter; how many of the
    dropped (every 16th block) the slow check confirms is told too.
    """
    from fansr.corpus import holdout_guard

    forms = decontam.forms_of(decontam.read_tests(TESTS))
    fast = holdout_guard.Guard(forms, True)
    slow = SlowCheck(forms, np.ascontiguousarray(fast.X.T))
    found = survivors = dropped = looked_at = confirmed = 0
    begin, block = time.process_time(), 2048
    with contextlib.ExitStack() as opened, np.errstate(all="ignore"):
        # One iterator: a reader begun twice loses what it had read ahead.
        given = (
            iter(opened.enter_context(reader_writer.open_reader(skeletons, holds="skeleton"))) if skeletons else None
        )
        for turn, start in enumerate(range(0, number, block)):
            if given:
                rows = draw_kernels.to_rows(
                    [record["expr"] for record in itertools.islice(given, min(block, number - start))]
                )
            else:
                rows = gen.sample_tokens(prior.Prior(), np.arange(start, min(start + block, number)), seed)
            if simplify:
                from fansr.simplification.simplify import simplify_many

                rows = draw_kernels.to_rows([form for form, _ in simplify_many(gen.to_exprs(rows)) if form is not None])
            kept = np.array([hit is None for hit in fast.match(rows)])
            bad = slow(rows[kept])
            for skeleton in gen.to_exprs(rows[kept][bad[:3]]):
                say(what="leak", expr=skeleton)
            found, survivors, dropped = found + len(bad), survivors + int(kept.sum()), dropped + int((~kept).sum())
            if turn % again == 0:
                for wider in (False, True):
                    made = gen.to_exprs(holdout_guard.pruned(rows, wider))
                    assert made == [pruned_slowly(expr, wider) for expr in gen.to_exprs(rows)], "pruning"
                looked_at += int((~kept).sum())
                confirmed += len(slow(rows[~kept]))
            if start + block >= number or turn % 50 == 0:
                say(
                    what="leaks",
                    drawn=min(start + block, number),
                    survivors=survivors,
                    dropped=dropped,
                    simplified=simplify,
                    leaks=found,
                    entries=slow.n,
                    confirmed_of_dropped=[confirmed, looked_at],
                    cpu_seconds=round(time.process_time() - begin, 1),
                )


# ---- statistics of appendix J -----------------------------------------------------------------

COUNTS = ("constants", "unique variables", "variable nodes", "length")


def counted(exprs) -> np.ndarray:
    """(n, 4): what appendix J counts, in the order of COUNTS."""
    rows = draw_kernels.to_rows(exprs)
    low, high = draw_kernels.FIRST_VARIABLE_ID, draw_kernels.FIRST_OPERATOR_ID
    unique = sum((rows == token).any(axis=1).astype(int) for token in range(low, high))
    return np.column_stack(
        [
            (rows == draw_kernels.CONSTANT_ID).sum(axis=1),
            unique,
            ((rows >= low) & (rows < high)).sum(axis=1),
            (rows != 0).sum(axis=1),
        ]
    )


@main.command()
@click.option("-n", "number", default=20_000, show_default=True)
@click.option("-o", "picture", default=None, metavar="FILE", help="Draw them too, in the manner of figure 12.")
def stats(number, picture):
    """Deciles of what appendix J shows, for both priors, raw and simplified."""
    from fansr.simplification.simplify import simplify_many

    found = {}
    for name in ("prior", "prior-wide"):
        exprs = gen.sample_skeletons(prior.load(name), range(number))
        found[name, "raw"] = counted(exprs)
        found[name, "simplified"] = counted([form for form, _ in simplify_many(exprs) if form is not None])
    for (name, form), table in found.items():
        for column, what in enumerate(COUNTS):
            say(
                what=f"appendix J: {what}",
                prior=name,
                form=form,
                n=len(table),
                mean=round(float(table[:, column].mean()), 2),
                deciles=np.percentile(table[:, column], range(10, 100, 10)).astype(int).tolist(),
            )
    if picture:
        draw_statistics(found, picture)


PRINTED = (5, 24)  # medians of the simplified corpus that appendix J prints: unique variables, length


def draw_statistics(found, picture):
    """ECDFs of the four counts, and variables against variable nodes, one row of panels a prior."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.colors import LogNorm

    figure, axes = plt.subplots(2, 3, figsize=(13, 7.4), constrained_layout=True)
    for row, name in zip(axes, ("prior", "prior-wide")):
        for panel, form in zip(row, ("raw", "simplified")):
            for column, what in enumerate(COUNTS):
                values = np.sort(found[name, form][:, column])
                panel.step(values, np.arange(1, len(values) + 1) / len(values), where="post", label=what)
            if (name, form) == ("prior", "simplified"):
                panel.plot(
                    PRINTED, (0.5, 0.5), "k+", markersize=11, markeredgewidth=1.6, label="medians the paper prints"
                )
            panel.set(
                title=f"{name}, {form}", xlabel="count", ylabel="share of skeletons", xlim=(-0.5, 36), ylim=(0, 1.01)
            )
            panel.grid(alpha=0.25)
        table = found[name, "simplified"]
        panel = row[2]
        # Logarithmic: half of the wide prior's mass lies in three cells.
        *_, shades = panel.hist2d(
            table[:, 1],
            table[:, 2],
            bins=(np.arange(19) - 0.5, np.arange(20) - 0.5),
            cmap="viridis",
            norm=LogNorm(1, len(table)),
        )
        panel.set(
            title=f"{name}, simplified",
            xlabel="unique variables",
            ylabel="variable nodes",
            xticks=range(0, 18, 3),
            yticks=range(0, 19, 3),
        )
        figure.colorbar(shades, ax=panel, label=f"skeletons of {len(table):,}")
    handles, labels = axes[0, 1].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.savefig(picture, dpi=110)


# ---- speed ------------------------------------------------------------------------------------


def cpu(line: str) -> tuple[float, float]:
    """CPU seconds of a shell line with all its children, and its wall seconds."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    env = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PATH": f"{ROOT / 'bin'}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    subprocess.run(["bash", "-o", "pipefail", "-c", line], check=True, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - begin


def rate(name: str, line: str, numbers: tuple[int, int], prepare: str = "", made: str | None = None):
    """Records a second of CPU time from two sizes, so that start-up does not count; line has {n}.

    made: the stream the line writes, if what it keeps of the records is to be told too.
    """
    used, kept = [], []
    for n in numbers:
        if prepare:
            cpu(prepare.format(n=n))
        used.append(cpu(line.format(n=n)))
        if made:
            with reader_writer.open_reader(made) as reader:
                kept.append(sum(len(batch) for batch in reader.batches(4096)))
    (a, wall_a), (b, wall_b) = used
    say(
        what=name,
        per_cpu_second=round((numbers[1] - numbers[0]) / (b - a)),
        per_wall_second=round((numbers[1] - numbers[0]) / (wall_b - wall_a)),
        start_up_seconds=round(a - numbers[0] * (b - a) / (numbers[1] - numbers[0]), 2),
        n=numbers,
        **({"kept_per_cpu_second": round((kept[1] - kept[0]) / (b - a))} if made else {}),
    )


@main.command()
@click.option("--scale", default=1.0, show_default=True, help="Multiplies all sizes.")
@click.option(
    "--flash-ansr",
    "peer",
    default=None,
    metavar="DIR",
    help="Virtual environment with flash-ansr (bin/bench-corpus-peer).",
)
def speed(scale, peer):
    """Rates of each command alone and of the whole pipe on one and two workers."""

    def size(n):
        return int(n * scale)

    with tempfile.TemporaryDirectory() as folder:
        test = TESTS[0]
        rate("gen", f"fansr-gen -n {{n}} -j 1 -o {folder}/g", (size(50_000), size(400_000)))
        rate(
            "decontam",
            f"fansr-decontam --test {test} -j 1 -o {folder}/d {folder}/s",
            (size(10_000), size(60_000)),
            f"fansr-gen -n {{n}} -j 1 | fansr-simplify -j 1 -q -o {folder}/s",
        )
        rate(
            "render M=128",
            f"fansr-render --points 128 -j 1 -o {folder}/p {folder}/s",
            (size(10_000), size(60_000)),
            f"fansr-gen -n {{n}} -j 1 | fansr-simplify -j 1 -q -o {folder}/s",
            f"{folder}/p",
        )
        for jobs in (1, 2):
            pin = "taskset -c 0 " if jobs == 1 else ""
            rate(
                f"pipe, {jobs} core(s)",
                f"{pin}bash -c 'fansr-gen -n {{n}} -j 1 | fansr-simplify -j {jobs} | fansr-decontam "
                f"--test {test} -j 1 > {folder}/t'",
                (size(10_000), size(40_000)),
            )
    accepted()
    if peer:
        flash_ansr(peer)


def accepted():
    """Instances a second of the renderer itself, M = 128, from simplified skeletons; no stream."""
    from fansr.simplification.simplify import simplify_many

    for name in ("prior", "prior-wide"):
        law = prior.load(name)
        exprs = [form for form, _ in simplify_many(gen.sample_skeletons(law, range(8192))) if form is not None]
        rows = draw_kernels.to_rows(exprs)
        for points in (128, 512):
            draw_kernels.draw(law, rows[:64], np.arange(64), points)
            begin, n = time.process_time(), 0
            for start in range(0, len(rows), 64):
                part = rows[start : start + 64]
                n += int((draw_kernels.draw(law, part, np.arange(len(part)), points)["status"] >= 0).sum())
            seconds = time.process_time() - begin
            say(
                what="render (no stream)",
                prior=name,
                M=points,
                accepted_per_cpu_second=round(n / seconds),
                accepted=round(n / len(rows), 3),
            )


def flash_ansr(folder):
    """The same work by flash-ansr, in its own interpreter, whose figures it prints itself."""
    subprocess.run([str(pathlib.Path(folder) / "bin" / "python"), str(ROOT / "bench" / "corpus_peer.py")], check=True)


# ---- memory -----------------------------------------------------------------------------------


@main.command()
@click.option("-n", "number", default=1_000_000, show_default=True)
def memory(number):
    """Peak resident memory (MiB) of gen, decontam, both in a pipe, and a check, at a tenth of n and at n."""
    with tempfile.TemporaryDirectory() as folder:
        for n in (number // 10, number):
            for name, line in (
                ("gen", f"fansr-gen -n {n} -j 1 -o {folder}/g"),
                ("decontam", f"fansr-decontam --test {TESTS[0]} -j 1 -o {folder}/d {folder}/g"),
                ("pipe", f"fansr-gen -n {n} -j 1 | fansr-decontam --test {TESTS[0]} -j 1 -o {folder}/d"),
                ("check", f"fansr-cat --check {folder}/g"),
            ):
                code = (
                    "import resource, subprocess, sys; subprocess.run(sys.argv[1], shell=True, check=True, "
                    "stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
                )
                env = {
                    **os.environ,
                    "PATH": f"{ROOT / 'bin'}:{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
                }
                out = subprocess.run(
                    [sys.executable, "-c", code, line], check=True, capture_output=True, text=True, env=env
                )
                say(what="memory", command=name, n=n, peak_mib=round(int(out.stdout) / 1024))


if __name__ == "__main__":
    main()
