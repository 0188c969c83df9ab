"""A corpus planned before it is made: shards, hours, bytes and memory from rates measured here, and the script that makes it.

    fansr-gen --plan 1e9 --shards 4096 --machines 16x64 -o corpus.sh
    sbatch corpus.sh                                                     or, from the same file,
    seq 0 999 | parallel --joblog corpus.log --resume-failed bash corpus.sh
    seq 0 999 | xargs -P 64 -n 1 bash corpus.sh
    fansr-cat --check --shards corpus

Rates are those of the three commands on two samples, in processor seconds, so that start-up and work are told apart and other
people's work on the machine does not enter.  A core of another machine is another core: plan on one like those that will work.
"""

from __future__ import annotations

import math
import os
import resource
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fansr.cli import command, resources
from fansr.errors import DataError

SAMPLES = 2_000, 14_000  # skeletons; the second less the first is work without start-up
MOST_TASKS = 1000  # of an array: Slurm's MaxArraySize is 1001 where nobody raised it
SLACK = 3.0  # a task's time limit over its expected time: cores differ, and share their memory
STAGES = {
    "fansr-gen": "fansr.corpus.gen",
    "fansr-simplify": "fansr.simplification.simplify",
    "fansr-decontam": "fansr.corpus.decontam",
}


@dataclass(frozen=True)
class Rates:
    """Of the three stages together, on one core: seconds to start, seconds a skeleton, bytes a survivor, share of them.

    by_stage: {command: (start, seconds a skeleton drawn)}; simple_bytes: a skeleton's between simplifying and the guard;
    memory: MiB of the largest stage.
    """

    by_stage: dict[str, tuple[float, float]]
    simple_bytes: float
    bytes: float
    kept: float
    memory: float

    @property
    def start(self) -> float:
        return sum(start for start, _ in self.by_stage.values())

    @property
    def each(self) -> float:
        return sum(each for _, each in self.by_stage.values())


def measure(config: str | None, seed: int, tests: list[str]) -> Rates:
    """Run the three commands on both samples and see what they take."""
    seconds: dict[str, list[float]] = {name: [] for name in STAGES}
    sizes = []
    with tempfile.TemporaryDirectory() as folder:
        for n in SAMPLES:
            out = {name: os.path.join(folder, f"{name}-{n}.zst") for name in STAGES}
            words = {
                "fansr-gen": ["-n", str(n), "--seed", str(seed), *(["--config", config] if config else [])],
                "fansr-simplify": [out["fansr-gen"]],
                "fansr-decontam": [*(word for test in tests for word in ("--test", test)), out["fansr-simplify"]],
            }
            for name, module in STAGES.items():
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                source = f"import sys; sys.argv[0] = '{name}'; from {module} import main; main()"
                line = [sys.executable, "-c", source, "-q", "-j", "1", "-o", out[name], *words[name]]
                done = subprocess.run(line, stderr=subprocess.PIPE, text=True)
                if done.returncode:
                    raise DataError(f"--plan: {done.stderr.strip() or f'{name} ended with {done.returncode}'}")
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
                seconds[name].append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
            sizes.append((os.path.getsize(out["fansr-simplify"]), os.path.getsize(out["fansr-decontam"])))
            kept = _count(out["fansr-decontam"]) / n
    step = SAMPLES[1] - SAMPLES[0]
    each = {name: max(0.0, (large - small) / step) for name, (small, large) in seconds.items()}
    return Rates(
        {name: (max(0.0, small - SAMPLES[0] * each[name]), each[name]) for name, (small, _) in seconds.items()},
        (sizes[1][0] - sizes[0][0]) / step,
        (sizes[1][1] - sizes[0][1]) / step / kept,
        kept,
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20),
    )


def _count(path: str) -> int:
    from fansr.streams import open_reader

    with open_reader(path) as reader:
        return sum(len(batch) for batch in reader.batches(command.CHUNK))


def plan(number: int, shards: int, machines: tuple[int, int], rates: Rates) -> dict:
    """What a corpus of `number` skeletons takes.

    machines: (how many, cores of each); a shard works on one core, since many shards at once need no other parallelism.
    Seconds are processor seconds; "hours" is how long all of it takes on these machines, the last wave of shards whole.
    """
    per_shard = math.ceil(number / shards)
    shard_seconds = rates.start + per_shard * rates.each
    cores = machines[0] * machines[1]
    waves = math.ceil(shards / cores)
    survivors = round(number * rates.kept)
    return {
        "skeletons": number,
        "shards": shards,
        "tasks": min(shards, MOST_TASKS),
        "skeletons_a_shard": per_shard,
        "machines": machines[0],
        "cores": cores,
        "core_hours": shards * shard_seconds / 3600,
        "start_up": rates.start / shard_seconds,
        "shard_seconds": shard_seconds,
        "hours": waves * shard_seconds / 3600,
        "busy": shards / (waves * cores),
        "survivors": survivors,
        "bytes": round(survivors * rates.bytes),
        "bytes_a_shard": round(per_shard * rates.kept * rates.bytes),
        "scratch_bytes": round(min(cores, shards) * per_shard * rates.simple_bytes),
        "memory_mib": rates.memory,
        "stages": {name: {"start": a, "a_million": 1e6 * b} for name, (a, b) in rates.by_stage.items()},
    }


def told(p: dict) -> str:
    """The plan for a person."""
    stages = ", ".join(
        f"{name.removeprefix('fansr-')} {s['a_million']:.1f} (start {s['start']:.2f})"
        for name, s in p["stages"].items()
    )
    remarks = []
    if p["start_up"] > 0.2:
        remarks.append(f"{p['start_up']:.0%} of the time is starting: fewer shards would cost less")
    if p["busy"] < 0.75:
        remarks.append(
            f"{1 - p['busy']:.0%} of the cores' time is idle in the last wave: a multiple of {p['cores']} shards fits"
        )
    if p["shard_seconds"] > 6 * 3600:
        remarks.append("a shard takes over six hours: more of them lose less with a node")
    lines = [
        f"skeletons  {p['skeletons']:,} drawn, about {p['survivors']:,} kept",
        f"shards     {p['shards']:,} of {p['skeletons_a_shard']:,}, by {p['tasks']:,} tasks of one core",
        f"hours      {p['core_hours']:,.2f} core hours; {p['hours']:,.2f} h on {p['cores']:,} cores, {_time(p['shard_seconds'])} a shard",
        f"bytes      {_bytes(p['bytes'])} in all, {_bytes(p['bytes_a_shard'])} a shard, {_bytes(p['scratch_bytes'])} more while it is made",
        f"memory     {p['memory_mib']:.0f} MiB a task",
        f"rates      processor seconds a million, measured here: {stages}",
        *(f"remark     {remark}" for remark in remarks),
    ]
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 600
        else f"{seconds / 60:.0f} min"
        if seconds < 36000
        else f"{seconds / 3600:.1f} h"
    )


def _bytes(n: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n < 1000:
            return f"{n:.3g} {unit}"
        n /= 1000
    return f"{n:.3g} TB"


SCRIPT = """\
#!/usr/bin/env bash
# {summary}.  Any of these lines makes it; each goes on where it was stopped, and a finished shard is left alone:
#   sbatch {name}
#   seq 0 {last} | parallel --joblog {out}.log --resume-failed -j {here} bash {name}     (--sshlogin adds machines on one file system)
#   seq 0 {last} | xargs -P {here} -n 1 bash {name}
# then, when all have ended:
#   fansr-cat --check --shards {out}            every shard there, whole, and of the same making
#   fansr-cat --merge --shards {out} -o {out}.zst
#SBATCH --job-name=fansr-corpus
#SBATCH --array=0-{last}
#SBATCH --cpus-per-task=1
#SBATCH --mem={memory}M
#SBATCH --time={minutes}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:TERM@120
set -euo pipefail
cd "${{SLURM_SUBMIT_DIR:-.}}"
[ ! -d .venv/bin ] || export PATH="$PWD/.venv/bin:$PATH"
export OMP_NUM_THREADS=1
N={number} SHARDS={shards} TASKS={tasks} OUT=${{OUT:-{out}}}
task=${{1:-${{SLURM_ARRAY_TASK_ID:?give the number of a task, or submit with sbatch}}}}
mkdir -p "$OUT"

# A file that is there without a state beside it is done; one that a signal ended early keeps its state and is gone on with.
done_with() {{ [ -e "$1" ] && [ ! -e "$1.part.state" ]; }}
make_shard() {{
    local name
    name=$(printf '%s/shard-%05d' "$OUT" "$1")
    ! done_with "$name.zst" || return 0
    done_with "$name.simple" || fansr-gen -q -j 1 -n $N --shard "$1/$SHARDS" {gen} |
        fansr-simplify -q -j 1 --resume -o "$name.simple" || return
    fansr-decontam -q -j 1 {tests} --resume -o "$name.zst" "$name.simple" || return
    rm "$name.simple"
}}
make_all() {{ for ((i = task; i < SHARDS; i += TASKS)); do make_shard $i || return; done; }}

# TERM, before the time limit or from whoever wants the cores, ends the streams well; Slurm is asked for another turn, but
# only where this one got further.  Errors are final.
progress() {{ cat "$OUT"/shard-*.state 2> /dev/null | cksum; ls "$OUT" | cksum; }}
before=$(progress)
set -m
make_all &
set +m
trap 'kill -TERM -- "-$!" 2> /dev/null; stopped=1' TERM
while :; do code=0 seen=${{stopped:-}}; wait $! || code=$?; [ "$seen" = "${{stopped:-}}" ] && break; done
if [ -n "${{stopped:-}}" ] && [ $code -ne 0 ] && [ -n "${{SLURM_ARRAY_JOB_ID:-}}" ] && [ "$before" != "$(progress)" ]; then
    exec scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
fi
exit $code
"""


def script(p: dict, path: str, config: str | None, seed: int, tests: list[str]) -> str:
    """The text of the script that makes a planned corpus: for Slurm, GNU parallel and xargs."""
    gen = ["--seed", str(seed), *(["--config", config] if config else [])]
    return SCRIPT.format(
        summary=f"A corpus of {p['skeletons']:,} skeletons in {p['shards']:,} shards, {p['core_hours']:,.1f} core hours",
        name=shlex.quote(Path(path).name),
        out=shlex.quote(Path(path).stem),
        last=p["tasks"] - 1,
        here=max(1, p["cores"] // p["machines"]),
        memory=math.ceil(1.5 * p["memory_mib"] / 256) * 256,
        minutes=math.ceil(10 + SLACK * p["shard_seconds"] * math.ceil(p["shards"] / p["tasks"]) / 60),
        number=p["skeletons"],
        shards=p["shards"],
        tasks=p["tasks"],
        gen=shlex.join(gen),
        tests=shlex.join(word for test in tests for word in ("--test", test)),
    )


def held_out(tests: tuple[str, ...]) -> list[str]:
    """The files whose laws are held out: those given, else every catalogue that comes with fansr."""
    return list(tests) or resources.catalogues()
