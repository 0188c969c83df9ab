"""The searches for a block's units: fansr-fit on a stream of their problems, in processes of its own.

The search is that of any table.  It runs as the command, so that no process that has torch loaded is forked, a script needs no
``if __name__``, Ctrl-C keeps what is done, and every option means what it does there.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import fansr
from fansr.errors import DataError
from fansr.fitting import Problem
from fansr.streams import open_reader, open_writer

FIRST = 2.0  # seconds of a first pass at most, or a third of the time
PATIENCE = 3.0  # seconds for a search to end by itself after Ctrl-C
PASSED = 40  # laws of other units, the shortest fronts first, that a second pass is given


def constant_record(problem: Problem) -> dict:
    """The fit record of a unit that never changes: its mean."""
    mean = float(problem.y.mean())
    law = {"expr": ["<constant>"], "consts": np.array([mean]), "fvu": 0.0, "length": 1, "source": "constant"}
    return {
        "kind": "fit", "problem": problem.id, "names": problem.names, "target": problem.target, "points": len(problem.y),
        "status": "ok", "front": [law], "seconds": 0.0, **law, **problem.extra,
    }  # fmt: skip


def search(
    problems: Sequence[Problem], options: dict[str, Any], jobs: int | None = None, passes: int = 2, quiet: bool = True
) -> Iterator[dict]:
    """A fit record for each problem, in order; options are those of fansr-fit by name, `time` in seconds a problem.

    passes=2: the laws of a first, short search of all units are candidates of the second.  KeyboardInterrupt after the records
    that are done.
    """
    if not problems:
        return
    time = options.get("time")
    candidates: list[dict] = []
    if passes > 1 and time:
        short = min(FIRST, time / 3)
        first = list(_fits(problems, {**options, "time": short}, jobs, quiet, []))
        candidates = [law for record in first for law in record.get("front") or () if len(law["expr"]) > 1]
        candidates = sorted(candidates, key=lambda law: len(law["expr"]))
        options = {**options, "time": time - short}
    yield from _fits(problems, options, jobs, quiet, candidates)


def _fits(problems, options, jobs, quiet, candidates) -> Iterator[dict]:
    with tempfile.TemporaryDirectory(prefix="fansr-distill-") as folder:
        source, target = Path(folder, "problems.zst"), Path(folder, "fits.zst")
        known = list(dict.fromkeys(tuple(law["expr"]) for law in candidates))[:PASSED]
        with open_writer(str(source), "candidate" if known else "problem", []) as writer:
            for problem in problems:
                writer.write(problem.to_record())
                for expr in known:
                    writer.write(
                        {"kind": "candidate", "problem": problem.id, "expr": list(expr), "source": "other unit"}
                    )
        words = [sys.executable, "-m", "fansr.cli.fansr", "fit", str(source), "-o", str(target), *flags(options)]
        words += ["-j", str(jobs)] if jobs else []
        words += ["-q"] if quiet else []
        root = str(Path(fansr.__file__).parent.parent)
        paths = os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH")) if part)
        environment = {**os.environ, "PYTHONPATH": paths}
        stopped = False
        process = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE if quiet else None, text=True)
        try:
            _, said = process.communicate()
        except KeyboardInterrupt:  # as a rule it has reached the process too, which closes its stream
            stopped = True
            try:
                _, said = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
                _, said = process.communicate()
        except BaseException:
            process.kill()
            process.wait()
            raise
        if process.returncode not in (0, 130) and not stopped:
            text = (said or "").strip().splitlines()
            text = text[-1].removeprefix("fansr-fit: ") if text else f"exit status {process.returncode}"
            if process.returncode == 2:
                raise ValueError(f"fit: {text}")
            raise DataError(f"fit: {text}")
        if target.exists():
            with open_reader(str(target), holds="fit") as reader:
                yield from reader
        if stopped or process.returncode == 130:
            raise KeyboardInterrupt


def flags(options: dict[str, Any]) -> list[str]:
    """Options by name as the words of a command line: {"max_length": 20} is --max-length 20, True a flag, None nothing."""
    words: list[str] = []
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            words.append(flag)
            continue
        for part in value if isinstance(value, list) else [value]:
            text = ",".join(map(str, part)) if isinstance(part, tuple) else str(part)
            words.append(f"{flag}={text}")
    return words
