"""Where the skeletons of a training run come from: files, a pipe, or live stages in processes of their own."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

from fansr.cli import resources
from fansr.errors import DataError
from fansr.network.skeleton_pool import Pool, read_pool
from fansr.streams import reader_writer


class Feeder:
    """A thread that reads skeletons from an open stream into a pool while training goes on.

    stages: the processes that make the stream, the last of which it comes from; none for a pipe.
    """

    def __init__(self, source, pool: Pool, stages: list[subprocess.Popen]):
        self.pool, self.stages, self.error, self.done = pool, stages, None, False
        self.reader = reader_writer.open_reader(source, holds="skeleton")
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        chunk = []
        try:
            for record in self.reader:
                chunk.append(record)
                if len(chunk) == 2048:
                    self.pool.add(chunk)
                    chunk = []
            self.pool.add(chunk)
        except Exception as error:  # handed to the training thread, which stops with it
            self.error = error
        self.done = True

    def wait_for(self, n: int):
        """Return when the pool holds n skeletons, or all there will be."""
        while len(self.pool) < n and not self.done:
            time.sleep(0.05)
        self.check()
        if not len(self.pool):
            raise DataError(
                "the input holds no skeleton to learn from: "
                + (", ".join(f"{n} {why}" for why, n in self.pool.dropped.items()) or "it is empty")
            )

    def check(self):
        if self.error is not None:
            raise self.error

    def stop(self):
        end(self.stages, self.thread)


def end(stages: list[subprocess.Popen], reader: threading.Thread | None = None):
    """End live stages: the last one is told, those before it find their pipe closed; `reader`: the thread that reads them."""
    if not stages:
        return
    stages[-1].terminate()
    if reader is not None:
        reader.join()
    stages[-1].stdout.close()
    for stage in reversed(stages):
        try:
            stage.wait(10)
        except subprocess.TimeoutExpired:
            stage.terminate()
            stage.wait()


# Skeletons a second of each stage over those of the simplifier, measured on one core (docs/benchmarks/parts.md: 137,000,
# 5,900, 43,000): how many workers of the simplifier one process of another stage keeps busy.
FEEDS = {"gen": 23, "decontam": 7}


def live(
    prior_name: str | None, tests: list[str], simplify: bool, relax: bool, seed: int, jobs: int
) -> list[subprocess.Popen]:
    """Start gen | simplify | decontam as the user would; the last one's stdout is the stream of survivors.

    jobs: workers of the simplifier; generator and guard get as many as keep up with it.
    """

    def command_line(name: str, *args: str) -> list[str]:
        package = "simplification" if name == "simplify" else "corpus"
        source = f"import sys; sys.argv[0] = 'fansr-{name}'; from fansr.{package}.{name} import main; main()"
        return [sys.executable, "-c", source, "-q", "-j", str(-(-jobs // FEEDS.get(name, 1))), *args]

    many = str(1 << 40)  # more than anyone waits for
    stages = [command_line("gen", "-n", many, "--seed", str(seed), *(["--config", prior_name] if prior_name else []))]
    if simplify:
        stages.append(command_line("simplify", *(["--relax"] if relax else [])))
    if tests:
        stages.append(command_line("decontam", *(word for test in tests for word in ("--test", test))))
    started: list[subprocess.Popen] = []
    for stage in stages:
        source = started[-1].stdout if started else subprocess.DEVNULL
        started.append(subprocess.Popen(stage, stdin=source, stdout=subprocess.PIPE))
        if len(started) > 1:
            source.close()  # so that a stage that ends is noticed by the one before it
    return started


def open_data(inputs, options, values: dict):
    """(pool, feeder or None, history): files whole, a pipe or live stages through a thread."""
    if inputs and "-" not in inputs:
        return (
            *read_pool(inputs, options.settings, values["pool"], options.hold)[:1],
            None,
            stream_history(inputs[0]),
        )
    pool, stages, source = Pool(options.settings, values["pool"], options.hold), [], "-"
    if not inputs:
        tests = list(values["decontam"]) or list(resources.catalogues())
        seed = options.seed + 1_000_003 * values["leg"]
        stages = live(values["prior"], tests, values["simplify"], values["relax"], seed, values["jobs"])
        source = stages[-1].stdout
    feeder = None
    try:
        feeder = Feeder(source, pool, stages)
        feeder.wait_for(values["start_with"])
    except BaseException:  # an interrupt too must not leave the stages running
        end(stages, feeder and feeder.thread)
        raise
    return pool, feeder, feeder.reader.history


def stream_history(path) -> list:
    with reader_writer.open_reader(path, holds="skeleton") as reader:
        return reader.history
