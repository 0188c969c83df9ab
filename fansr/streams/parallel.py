"""Ordered map over worker processes: the same results in the same order for any number of them.

Workers are forked where nothing with threads has been loaded, else spawned; a chunk is one unit of
work, so that passing it around costs little beside doing it (a worker takes about 0.2 s to start).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor


def available_cores() -> int:
    """Cores this process may use (affinity, not the machine's count)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def _start_worker(initializer, initargs):
    # Ctrl-C reaches the whole process group; the parent decides what is kept, workers go quietly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    if initializer is not None:
        initializer(*initargs)


def _context():
    # Forking a process that runs threads (torch, numba's pool) can hang the child.
    risky = "torch" in sys.modules or sys.platform != "linux"
    return multiprocessing.get_context("spawn" if risky else "fork")


def _stop(pool: ProcessPoolExecutor):
    """Stop the workers now, in the middle of what they do.

    One that dies while it writes a large result leaves the pool's thread reading for the rest of it, for ever, since this
    process holds the pipe's writing end too.  So that end is closed: the thread sees the end of file and gives up.  The
    standard library does as much for the items' pipe, not for the results', and has no public way to do it.
    """
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()
    writer = getattr(getattr(pool, "_result_queue", None), "_writer", None)
    if writer is not None:
        writer.close()


def ordered_map(
    function: Callable, items: Iterable, jobs: int = 1, initializer: Callable | None = None, initargs: tuple = ()
) -> Generator:
    """Yield ``function(item)`` for every item, in order.

    jobs: worker processes; 1 works in this process.  Items are taken from the iterator only a few
    ahead, so an endless one is fine.  An exception in a worker is raised here.  Closing the
    generator (or Ctrl-C) stops the workers at once.
    """
    if jobs <= 1:
        if initializer is not None:
            initializer(*initargs)
        for item in items:
            yield function(item)
        return
    pool = ProcessPoolExecutor(jobs, mp_context=_context(), initializer=_start_worker, initargs=(initializer, initargs))
    waiting: deque = deque()
    done = False
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            # Two chunks a worker keep all of them busy while results are handed on in order.
            while len(waiting) >= 2 * jobs + 1 or (waiting and waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        done = True
    finally:
        if not done:
            _stop(pool)
        pool.shutdown(
            wait=True, cancel_futures=True
        )  # also when given up: an exit that overtakes the pool's thread is noisy
