"""bench-fastsrb: the sweeps of section 4 of the paper as cells that can be stopped, resumed and spread over machines.

    bin/bench-fastsrb ladder noise --methods fansr,operon --budgets 1,10 --repeats 5 --out out/fastsrb
    bin/bench-fastsrb samples --repeats 10 --fit-options "--starts paper" --out out/samples

A *cell* is one method on all laws under one setting (budget, points, noise, irrelevant columns).  Its result is one
stream of fit records, FITS/<cell>.zst, whose header says which commands made it.  A cell runs the very commands a user
would type: fansr-render, then fansr-fit or fansr-peer.  With --marks a peer's ladder is one cell: one search to the largest
budget, and a fit record of what it had at each smaller one (fansr-peer --marks); fansr, which stops when it has the law,
runs each budget anew.

Resuming: a cell is done when its streams hold every problem once.  After Ctrl-C they are whole but short, and the next
call runs the problems that are missing; after a kill the command's own --resume goes on from the last flush.
Nothing here computes a metric: score.py and plot.py do, from the streams alone.
"""

from __future__ import annotations

import os
import platform
import shlex
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click

from fansr.cli import command
from fansr.errors import DataError
from fansr.evaluation.metrics import METRICS
from fansr.evaluation.score import score_record, summary_of
from fansr.streams.reader_writer import open_reader, open_writer

BASE_POINTS = 512
CPU_PATIENCE = 40  # wall seconds a peer may take for a second of processor time before it counts as hung
EXPERIMENTS = {  # the paper's axes: name -> (field of a cell, default values)
    "ladder": ("budget", (1.0, 3.0, 10.0, 30.0)),
    "sparsity": ("points", tuple(2**k for k in range(12))),
    "noise": ("noise", (0.0, 1e-3, 1e-2, 1e-1)),
    "dummies": ("dummies", (0, 1, 3, 10)),
    "samples": ("samples", tuple(2**k for k in range(15))),  # Table 1: draws of the network alone
}
# The network alone, as in section 3.5: its draws in the place of seconds, equation 3, nothing tidied.
NETWORK = "--proposers model --select score --no-tidy"
NETWORKS = {
    "network": "",
    "network-iid": "--decoder iid",
    "network-beam": "--decoder beam",
    "network-mcts": "--decoder mcts",
}


@dataclass(frozen=True)
class Cell:
    """One method under one setting; `options` are further words for fansr-fit; `clock` says which seconds count.

    `marks` are a peer's smaller budgets on the way to `budget`; `every` takes each k-th law of every difficulty only.  `samples` are
    the draws of a method of NETWORKS, which has no budget.
    """

    method: str
    budget: float = 10.0
    points: int = BASE_POINTS
    noise: float = 0.0
    dummies: int = 0
    options: str = ""
    clock: str = "wall"
    marks: tuple[float, ...] = ()
    every: int = 1
    samples: int = 0

    @property
    def name(self) -> str:
        share = f"-e{self.every}" if self.every > 1 else ""
        if self.samples:
            return f"{self.method}-k{self.samples}-m{self.points}-n{self.noise:g}-d{self.dummies}{share}"
        seconds = "+".join(f"{mark:g}" for mark in self.marks or (self.budget,)) + ("c" if self.clock == "cpu" else "")
        return f"{self.method}-t{seconds}-m{self.points}-n{self.noise:g}-d{self.dummies}{share}"


def cells_of(
    experiments, methods, budgets, at: float, values=None, marked: bool = False, draws: int = 1024, **more
) -> list[Cell]:
    """Every cell of the experiments once; sweeps other than the ladder run at the budget `at`.

    `values` stand in for a sweep's own; `marked` makes the ladder of a peer one cell; `more` are fields of every cell.  Methods of
    NETWORKS take `draws` in the place of the budget, and have no ladder but that of samples.
    """
    cells: dict[str, Cell] = {}
    for experiment in experiments:
        field, usual = EXPERIMENTS[experiment]
        for method in methods:
            ours = method == "fansr" or method in NETWORKS
            fields = {**more, "method": method, "options": more.get("options", "") if ours else ""}
            if (experiment == "samples") != (method in NETWORKS) and experiment in ("samples", "ladder"):
                continue
            if method in NETWORKS:
                some = [Cell(**{**fields, "samples": draws, field: value}) for value in values or usual]
            elif experiment == "ladder" and marked and method != "fansr":
                some = [Cell(**fields, budget=max(budgets), marks=tuple(sorted(set(budgets))))]
            else:
                some = [
                    Cell(**{**fields, "budget": at, field: value})
                    for value in (budgets if experiment == "ladder" else values or usual)
                ]
            cells.update({cell.name: cell for cell in some})
    return list(cells.values())


# ---- problems ---------------------------------------------------------------------------------


def program(name: str, clock: str = "wall") -> list[str]:
    """How to call one of our commands with the interpreter that runs this one.

    clock "cpu" puts the processor's time of each process in the place of the wall clock: budgets and times are then
    CPU seconds, and a run beside other work finds what it would find alone.
    """
    module = {"fansr-render": "corpus.render", "fansr-fit": "fit", "fansr-peer": "evaluation.peer"}[name]
    code = f"import sys; sys.argv[0] = {name!r}; from fansr.{module} import main; "
    if clock == "cpu":
        code += (
            "import time, types, fansr.fitting.problem, fansr.search.turns, fansr.evaluation.peer, fansr.evaluation.peer_networks as networks, fansr.evaluation.peer_searches as searches; clock = types.SimpleNamespace(**vars(time)); "
            f"clock.monotonic = time.process_time; fansr.evaluation.peer.PATIENCE = {CPU_PATIENCE}; "
            "fansr.fitting.problem.time = fansr.search.clocks.time = fansr.search.ending.time = fansr.search.turns.time = fansr.evaluation.peer.time = networks.time = searches.time = clock; "
        )
    return [sys.executable, "-c", code + "main()"]


def render(laws: str, cell: Cell, repeats: int, seed: int, folder: Path, share: str = "") -> Path:
    """The problems of a cell's setting, drawn once for all methods and budgets (and for each share of a cluster job,
    so that no two machines write one file).

    Sparse settings draw 512 + 512 points and keep the first M to fit, so that every M is judged on the same unseen
    points (one validation point, as an equal split would give for M = 1, has no variance to explain).
    """
    path = folder / f"problems-m{cell.points}-n{cell.noise:g}-d{cell.dummies}{share}.zst"
    if not path.exists():
        words = [
            "--points",
            max(BASE_POINTS, cell.points),
            "--noise",
            cell.noise,
            "--dummies",
            cell.dummies,
            "--repeats",
            repeats,
            "--seed",
            seed,
            "--val",
            "-q",
            "-o",
            path.with_suffix(".new"),
        ]
        run([*program("fansr-render"), laws, *map(str, words)])
        path.with_suffix(".new").rename(path)  # a stream that an interrupt ended is whole, and short
    return path


def cut(record: dict, points: int) -> dict:
    """The problem with its first `points` rows to fit; validation rows stay."""
    return {**record, "X": record["X"][:points].copy(), "y": record["y"][:points].copy(), "points": points}


def run(words: list[str]):
    """One of our commands; Ctrl-C and SIGTERM reach it, and are passed on when it has closed its stream."""
    child = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent if sys.platform == "linux" else None
    )
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.send_signal(signal.SIGTERM)
        child.wait()
        raise
    if code == 130:
        raise KeyboardInterrupt
    if code != 0:
        raise DataError(f"{shlex.join(words[2:])} ended with status {code}")


def _end_with_parent():
    """In the child: have Linux end it when this process is killed, so that a second call never meets it still writing."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG


# ---- a cell -----------------------------------------------------------------------------------


def finished(folder: Path, stem: str) -> set[int]:
    """Problem ids that the closed streams of a cell hold."""
    done: set[int] = set()
    for path in sorted(folder.glob(f"{stem}.[0-9]*.zst")):
        if ".todo" not in path.name:
            with open_reader(str(path), holds="fit") as reader:
                done.update(fit["problem"] for fit in reader if fit.get("status") != "interrupted")
    return done


def run_cell(
    cell: Cell, problems: Path, folder: Path, jobs: int, seed: int, shard: int, shards: int, quiet: bool
) -> Path:
    """Fit every problem of a cell once; returns its stream.  Safe to call again after any interruption."""
    stem = cell.name if shards == 1 else f"{cell.name}.s{shard}of{shards}"
    final = folder / f"{stem}.zst"
    if final.exists():
        return final
    pending = sorted(folder.glob(f"{stem}.[0-9]*.todo.zst"))
    for todo in pending:  # a killed run: its list of problems is still there
        part = Path(str(todo).replace(".todo.zst", ".zst"))
        if not part.exists():
            _fit(cell, todo, part, jobs, seed, resume=True)
        todo.unlink()
    number = len(list(folder.glob(f"{stem}.[0-9]*.zst")))
    part, todo = folder / f"{stem}.{number}.zst", folder / f"{stem}.{number}.todo.zst"
    if _write_todo(cell, problems, todo, finished(folder, stem), shard, shards):
        command.remark(f"{stem}: {part.name}", quiet)
        _fit(cell, todo, part, jobs, seed)
    todo.unlink()
    _join(folder, stem, final)
    return final


def _write_todo(cell: Cell, problems: Path, todo: Path, done: set[int], shard: int, shards: int) -> int:
    """Write the problems of this shard that are not done; how many there are."""
    with open_reader(str(problems), holds="problem") as reader:
        history = [*reader.history, command.history_entry(config={"cell": cell.name, "machine": machine()})]
        chosen = _Every(cell.every)
        with open_writer(str(todo), "problem", history) as writer:
            for i, record in enumerate(reader):
                if chosen(record) and i % shards == shard and record["id"] not in done:
                    told = {"samples": cell.samples} if cell.samples else {}
                    writer.write({**cut(record, cell.points), "method": cell.method, "clock": cell.clock, **told})
            return writer.n


class _Every:
    """True for the problems of each k-th law of every difficulty, from the first, in the order of the file."""

    def __init__(self, k: int):
        self.k, self.seen = k, {}

    def __call__(self, record: dict) -> bool:
        laws = self.seen.setdefault(record.get("group"), {})
        return laws.setdefault(record.get("law", record["id"]), len(laws)) % self.k == 0


def _fit(cell: Cell, todo: Path, part: Path, jobs: int, seed: int, resume: bool = False):
    peer = [*program("fansr-peer", cell.clock), "--method", cell.method]
    words = program("fansr-fit", cell.clock) if cell.method == "fansr" or cell.samples else peer
    if cell.samples:
        seconds = ["--samples", str(cell.samples), *shlex.split(f"{NETWORK} {NETWORKS[cell.method]}")]
    elif cell.marks:
        seconds = ["--marks", ",".join(f"{mark:g}" for mark in cell.marks)]
    else:
        seconds = ["--time", f"{cell.budget:g}"]
    words += [*seconds, "-j", str(jobs), "--seed", str(seed), "-q", "-o", str(part), str(todo)]
    run([*words, *shlex.split(cell.options), *(["--resume"] if resume else [])])


def _join(folder: Path, stem: str, final: Path):
    """One stream of all parts, without fits that an interrupt cut short (they were run again)."""
    parts = sorted(folder.glob(f"{stem}.[0-9]*.zst"), key=lambda path: int(path.name.split(".")[-2]))
    with open_reader(str(parts[0]), holds="fit") as reader:
        history = [*reader.history, command.history_entry(config={"parts": len(parts)})]
    with open_writer(str(final), "fit", history) as writer:
        for part in parts:
            with open_reader(str(part), holds="fit") as reader:
                for fit in reader:
                    if fit.get("status") != "interrupted":
                        writer.write(fit)
    for part in parts:
        part.unlink()


def machine() -> dict:
    """What a time was measured on: processor, cores this process may use, versions."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"processor": model, "cores": cores, "python": platform.python_version(), "system": platform.system()}


# ---- the report -------------------------------------------------------------------------------

COLUMNS = ("vnrr", "exact", "equivalent", "length_ratio_recovered", "length_ratio", "seconds_median", "seconds_mean")


def scores_in(folder: Path) -> list[dict]:
    """Score records of every finished cell in a folder of fits."""
    found = []
    for path in sorted(folder.glob("*.zst")):
        if not any(word.isdigit() or word == "todo" for word in path.name.split(".")[-2:-1]):
            with open_reader(str(path), holds="fit") as reader:
                found += [score_record(fit) for fit in reader]
    return found


def markdown(records: list[dict], by: tuple[str, ...], n_bootstrap: int = 1000, columns=COLUMNS) -> str:
    """A table in Markdown: one row a group, rates in percent with 95 % intervals."""
    metrics = [metric for metric in METRICS if metric.name in columns]
    metrics.sort(key=lambda metric: columns.index(metric.name))
    lines = [
        "| " + " | ".join([*by, "n", *(m.label + (" %" if m.rate else "") for m in metrics)]) + " |",
        "|" + "---|" * (len(by) + 1 + len(metrics)),
    ]
    for name, summary in summary_of(records, by, n_bootstrap, 0)["groups"].items():
        cells = [*name.split(" "), str(summary["n"])]
        for metric in metrics:
            cells.append(_cell(metric, summary))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def shared(records: list[dict]) -> list[dict]:
    """The records of those laws that every method ran; none where all ran the same (the whole table says it then)."""
    laws: dict = {}
    for record in records:
        laws.setdefault(record.get("method"), set()).add(record["law"])
    common = set.intersection(*laws.values()) if laws else set()
    return [] if all(some == common for some in laws.values()) else [r for r in records if r["law"] in common]


def swept(records: list[dict], at: float, field: str) -> list[dict]:
    """Records of the budget `at` in which only `field` is not as usual, of the methods that ran several values of it."""
    usual = {"points": BASE_POINTS, "noise": 0, "dummies": 0}
    some = [
        r
        for r in records
        if r["budget"] == at and all((r.get(f) or 0) == value for f, value in usual.items() if f != field)
    ]
    values: dict = {}
    for r in some:
        values.setdefault(r.get("method"), set()).add(r.get(field))
    return [r for r in some if len(values[r.get("method")]) > 1]


def varied(records: list[dict], field: str) -> list[dict]:
    """Records of the network alone in which only `field` is not as usual, at the draws that most of these have."""
    usual = {"points": BASE_POINTS, "noise": 0, "dummies": 0}
    some = [r for r in records if all((r.get(f) or 0) == value for f, value in usual.items() if f != field)]
    draws = Counter(r["samples"] for r in some if (r.get(field) or 0) != usual[field])
    return [r for r in some if draws and r["samples"] == draws.most_common(1)[0][0]]


def _cell(metric, summary) -> str:
    value = summary[metric.name]
    if value is None:
        return "-"
    if not metric.rate:
        return f"{value:.2f}"
    low, high = (100 * bound for bound in summary["ci"].get(metric.name, (value, value)))
    return f"{100 * value:.1f} ({low:.1f}-{high:.1f})"


def report(folder: Path, at: float, say=click.echo):
    """Tables on stdout and in report.md, pictures beside it, from whatever cells are finished."""
    from fansr.evaluation import plot

    records = scores_in(folder / "fits")
    if not records:
        raise DataError(f"{folder}: no finished cell to report on")
    networks = [r for r in records if r.get("samples")]
    records = [r for r in records if not r.get("samples")]
    base = [r for r in records if r.get("points") == BASE_POINTS and not r.get("noise") and not r.get("dummies")]
    if base and all(r["budget"] != at for r in base):
        largest = max(r["budget"] for r in base)
        say(f"no cell at {at:g} s: tables and pictures of one budget are at {largest:g} s")
        at = largest
    chosen = [r for r in base if r["budget"] == at]
    text = []

    def section(title: str, some: list[dict], by: tuple[str, ...], kind: str | None = None, prefix: str = ""):
        if len({tuple(r.get(field) for field in by) for r in some}) > 1 or (some and title == "All"):
            text.append(f"## {title}\n\n{markdown(some, by)}\n")
            if kind:
                labelled = {"": [{**r, "label": r.get("method")} for r in some]}
                plot.save(plot.draw(kind, "score", labelled, kind == "time"), str(folder / f"{prefix}{kind}.png"))
                plot.save(plot.draw(kind, "score", labelled, False, True), str(folder / f"{prefix}{kind}-all.png"))

    section("All", base, ("method", "budget"), "time" if len({r["budget"] for r in base}) > 1 else None)
    section("The laws that all of these ran", shared(base), ("method", "budget"))
    section("By difficulty", [r for r in chosen if r.get("group")], ("method", "group"))
    section("Points", swept(records, at, "points"), ("method", "points"), "points")
    section("Noise", swept(records, at, "noise"), ("method", "noise"), "noise")
    section("Irrelevant columns", swept(records, at, "dummies"), ("method", "dummies"))
    drawn = [r for r in networks if r.get("points") == BASE_POINTS and not r.get("noise") and not r.get("dummies")]
    section("Draws of the network alone", drawn, ("method", "samples"), "draws")
    for field, axis in (("points", "points"), ("noise", "noise")):
        section(f"The network alone, {axis}", varied(networks, field), ("method", field), axis, "network-")
    for method in sorted({r.get("method") for r in chosen}):
        picture = plot.draw("laws", "score", {"": [r for r in chosen if r.get("method") == method]}, False)
        plot.save(picture, str(folder / f"laws-{method}.png"))
    facts = ", ".join(f"{key} {value}" for key, value in machine().items())
    text = [
        f"Budget of the sweeps: {at:g} s a law.  Intervals: 95 %, 1,000 bootstraps over laws.  Here: {facts}.\n",
        *text,
    ]
    (folder / "report.md").write_text("\n".join(text))
    say("\n".join(text))


# ---- the command ------------------------------------------------------------------------------


def _numbers(context, param, value):
    try:
        return tuple(float(word) for word in value.split(","))
    except ValueError:
        raise click.UsageError(f"--{param.name} {value}: wanted numbers with commas, e.g. 1,3,10") from None


@command.command(example="bin/bench-fastsrb ladder --methods fansr,operon --budgets 1 --repeats 1 --out out/quick")
@click.argument("experiments", nargs=-1, metavar="[ladder|sparsity|noise|dummies|samples ...]")
@click.option(
    "--out", default="out/fastsrb", show_default=True, metavar="DIR", help="Where streams, tables, pictures go."
)
@click.option(
    "--laws", default="data/fastsrb.json", show_default=True, metavar="FILE", help="JSON or text file of laws."
)
@click.option(
    "--methods",
    default="fansr",
    show_default=True,
    help="fansr, network (and -iid, -beam, -mcts) and any of fansr-peer's, with commas.",
)
@click.option("--budgets", default="1,3,10,30", show_default=True, callback=_numbers, help="Seconds of the ladder.")
@click.option("--at", default=10.0, show_default=True, help="Seconds a law in the other experiments.")
@click.option(
    "--draws",
    default=1024,
    show_default=True,
    type=click.IntRange(1),
    help="Of a network in experiments by other things.",
)
@click.option("--marks", is_flag=True, help="A peer's ladder as one search, recorded at each budget; fansr as ever.")
@click.option(
    "--every",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    metavar="K",
    help="Only each K-th law of every difficulty.",
)
@click.option("--repeats", default=5, show_default=True, type=click.IntRange(1), help="Draws of each law.")
@click.option("--values", default=None, help="Other values for the one sweep named, with commas.")
@click.option("--fit-options", default="", metavar="WORDS", help="Further options for fansr-fit, in quotes.")
@click.option(
    "--clock",
    type=click.Choice(["wall", "cpu"]),
    default="wall",
    show_default=True,
    help="Which seconds budgets and times count; cpu for a machine that does other work too.",
)
@click.option(
    "--shard",
    default=lambda: int(os.environ.get("SLURM_ARRAY_TASK_ID", 0)),
    type=click.IntRange(0),
    help="Which share of the problems, from 0.  [default: SLURM_ARRAY_TASK_ID, else 0]",
)
@click.option(
    "--shards",
    default=lambda: int(os.environ.get("SLURM_ARRAY_TASK_COUNT", 1)),
    type=click.IntRange(1),
    help="How many shares.  [default: SLURM_ARRAY_TASK_COUNT, else 1]",
)
@click.option("--report", "only_report", is_flag=True, help="Run nothing; tables and pictures of what is there.")
@click.option("--no-report", is_flag=True, help="Run only.  [default for shares of a cluster job]")
@command.jobs_option()
@command.seed_option()
@command.quiet_option()
@command.config_option()
def bench_fastsrb(
    experiments,
    out,
    laws,
    methods,
    budgets,
    at,
    draws,
    marks,
    every,
    repeats,
    values,
    fit_options,
    clock,
    shard,
    shards,
    only_report,
    no_report,
    jobs,
    seed,
    quiet,
    config,
):
    """Run and resume the benchmark; with everything done, print its tables and draw its pictures."""
    unknown = [name for name in experiments if name not in EXPERIMENTS]
    if unknown:
        raise click.UsageError(f"unknown experiment {', '.join(unknown)}; known are {', '.join(EXPERIMENTS)}")
    if shard >= shards:
        raise click.UsageError(f"--shard {shard} of --shards {shards}: counted from 0")
    folder = Path(out)
    (folder / "fits").mkdir(parents=True, exist_ok=True)
    if not only_report:
        if values:
            if len(experiments) != 1 or experiments[0] == "ladder":
                raise click.UsageError("--values goes with exactly one of sparsity, noise, dummies, samples")
            number = float if experiments[0] == "noise" else int
            values = [number(value) for value in _numbers(None, click.Option(["--values"]), values)]
        if experiments == ("samples",) and methods == "fansr":
            methods = "network"
        cells = cells_of(
            experiments or ("ladder",),
            methods.split(","),
            budgets,
            at,
            values,
            marks,
            draws,
            options=fit_options,
            clock=clock,
            every=every,
        )
        for cell in cells:
            problems = render(laws, cell, repeats, seed, folder, f".s{shard}of{shards}" if shards > 1 else "")
            run_cell(cell, problems, folder / "fits", jobs, seed, shard, shards, quiet)
    if only_report or (shards == 1 and not no_report):
        report(folder, at)


main = bench_fastsrb


if __name__ == "__main__":
    main()
