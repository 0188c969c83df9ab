"""How long a corpus in shards takes on machines that fail: a simulation of what Slurm does with the array of fansr-gen --plan.

    bin/bench-shard-scheduler --plan 1e10 --shards 40960 --machines 64x64 --mtbf 2000
    bin/bench-shard-scheduler --plan 1e9 --shards 4096 --machines 16x64 --mtbf 100 --shard-seconds 60

Tasks are handed out in order, each to the first core that is free.  A machine fails after an exponentially distributed time
(mean --mtbf hours) and comes back --repair hours later; its tasks are noticed missing --notice seconds after the failure, go to
the head of the queue, and go on with all but what they did since their last state was written (--lost seconds of it, plus their
start-up), or, to compare, from nothing.  Cores differ in speed by --spread (a log-normal deviation).  Without failures and
spread the answer is ceil(tasks / cores) * seconds; with them no formula covers it, which is why it is simulated.
"""

import argparse
import heapq
import json
from collections import deque
from dataclasses import dataclass

import numpy as np


@dataclass
class Outcome:
    """seconds until the last task ended; core seconds that were worked; those of them that were lost; failures met."""

    seconds: float
    worked: float
    lost: float
    failures: int


def simulate(
    tasks: int,
    work: float,
    machines: int,
    cores: int,
    mtbf: float = np.inf,
    repair: float = 0.0,
    notice: float = 0.0,
    start: float = 0.0,
    lost: float = 0.0,
    resumes: bool = True,
    spread: float = 0.0,
    rng: np.random.Generator | None = None,
    failures: list[tuple[float, int]] | None = None,
) -> Outcome:
    """Run `tasks` of `work` seconds each on machines x cores.  All times in seconds.

    start: of the work, what has to be done at each beginning of a task; lost: work before a failure that is done again
    though `resumes`; failures: [(time, machine)] in the place of random ones.
    """
    rng = rng or np.random.default_rng(0)
    slow = np.exp(rng.normal(0.0, spread, machines * cores)) if spread else np.ones(machines * cores)
    queue: deque[tuple[int, float]] = deque((task, work) for task in range(tasks))
    free = [deque(range(m * cores, (m + 1) * cores)) for m in range(machines)]
    up = [True] * machines
    running: dict[int, tuple[int, float, float]] = {}  # core: (task, when it began, seconds of work it had left)
    round_of = [0] * (machines * cores)  # a finish that was foretold for a core before a failure means nothing after it
    events: list[tuple[float, int, str, tuple]] = []
    count = 0

    def at(time: float, what: str, *more):
        nonlocal count
        count += 1
        heapq.heappush(events, (time, count, what, more))

    def hand_out(now: float):
        for m in range(machines):
            while queue and up[m] and free[m]:
                core, (task, left) = free[m].popleft(), queue.popleft()
                running[core] = task, now, left
                at(now + (start + left) * slow[core], "finish", core, round_of[core])

    if failures is not None:
        for time, machine in failures:
            at(time, "fail", machine)
    elif np.isfinite(mtbf):
        for machine in range(machines):
            at(rng.exponential(mtbf), "fail", machine)
    out, done = Outcome(0.0, 0.0, 0.0, 0), 0
    hand_out(0.0)
    while done < tasks:
        now, _, what, more = heapq.heappop(events)
        if what == "finish":
            core, turn = more
            if turn != round_of[core] or core not in running:
                continue
            _, began, _ = running.pop(core)
            out.worked += now - began
            out.seconds, done = now, done + 1
            free[core // cores].append(core)
        elif what == "fail":
            (machine,) = more
            out.failures += 1
            up[machine] = False
            for core in range(machine * cores, (machine + 1) * cores):
                round_of[core] += 1
                if core not in running:
                    continue
                task, began, left = running.pop(core)
                out.worked += now - began
                progress = max(0.0, (now - began) / slow[core] - start)
                kept = max(0.0, progress - lost) if resumes else 0.0
                out.lost += now - began - kept * slow[core]
                at(now + notice, "back", task, left - kept if resumes else work)
            at(now + repair, "repaired", machine)
        elif what == "back":
            queue.appendleft(more)
        elif what == "repaired":
            (machine,) = more
            up[machine] = True
            free[machine] = deque(range(machine * cores, (machine + 1) * cores))
            if failures is None:
                at(now + rng.exponential(mtbf), "fail", machine)
        hand_out(now)
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", type=float, default=1e10, help="skeletons")
    parser.add_argument("--shards", type=int, default=40960)
    parser.add_argument("--machines", default="64x64")
    parser.add_argument(
        "--shard-seconds", type=float, default=None, help="of work [default: measured, as fansr-gen --plan]"
    )
    parser.add_argument("--start", type=float, default=None, help="seconds of start-up [default: measured]")
    parser.add_argument(
        "--mtbf", type=float, nargs="+", default=[50, 500, 5000], help="hours of a machine between failures"
    )
    parser.add_argument("--repair", type=float, default=1.0, help="hours")
    parser.add_argument(
        "--notice", type=float, default=420.0, help="seconds: SlurmdTimeout and the wait before a requeue"
    )
    parser.add_argument("--lost", type=float, default=2.0, help="seconds of work at most that a state does not hold")
    parser.add_argument("--spread", type=float, default=0.1)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    machines, cores = (int(part) for part in args.machines.split("x"))
    work, start = args.shard_seconds, args.start or 0.0
    if work is None:
        from fansr.corpus import plan as planning

        rates = planning.measure(None, 0, planning.held_out(()))
        p = planning.plan(int(args.plan), args.shards, (machines, cores), rates)
        start, work = rates.start, p["shard_seconds"] - rates.start
    rows = []
    for mtbf in [np.inf, *(3600 * hours for hours in args.mtbf)]:
        for resumes in (True, False) if np.isfinite(mtbf) else (True,):
            runs = [
                simulate(
                    args.shards, work, machines, cores, mtbf, 3600 * args.repair, args.notice, start, args.lost, resumes,
                    args.spread, np.random.default_rng(i),
                )
                for i in range(args.runs)
            ]  # fmt: skip
            hours = [run.seconds / 3600 for run in runs]
            rows.append(
                {
                    "mtbf_hours": mtbf / 3600 if np.isfinite(mtbf) else None,
                    "resumes": resumes,
                    "hours": float(np.mean(hours)),
                    "most": max(hours),
                    "core_hours": float(np.mean([run.worked for run in runs])) / 3600,
                    "lost_core_hours": float(np.mean([run.lost for run in runs])) / 3600,
                    "failures": float(np.mean([run.failures for run in runs])),
                }
            )
    if args.json:
        print(json.dumps(rows))
        return
    print(
        f"{args.shards} shards of {work:.0f} s on {machines} x {cores} cores, start-up {start:.1f} s, {args.runs} runs each"
    )
    print(f"{'MTBF, h':>8} {'goes on':>8} {'hours':>7} {'most':>7} {'core h':>9} {'lost':>8} {'failures':>9}")
    for row in rows:
        mtbf = "none" if row["mtbf_hours"] is None else f"{row['mtbf_hours']:.0f}"
        print(
            f"{mtbf:>8} {'yes' if row['resumes'] else 'no':>8} {row['hours']:7.2f} {row['most']:7.2f} {row['core_hours']:9.1f} "
            f"{row['lost_core_hours']:8.2f} {row['failures']:9.1f}"
        )


if __name__ == "__main__":
    main()
