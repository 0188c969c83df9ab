"""Ordered map over worker processes: the same results in the same order for any number of them.

Workers are forked where nothing with threads has been loaded, else spawned; a chunk is one unit of
work, so that passing it around costs little beside doing it (a worker takes about 0.2 s to start).
A worker that is killed from outside costs no more than its chunk's time: the chunk is done once more by a fresh one.
A worker ends when its parent does, however that ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable
from multiprocessing import connection

from fansr.errors import DataError

ROOM = 1 << 20  # bytes asked for in the pipe to a worker: what fits can be sent before the worker wants it
TRIES = 2  # workers that may die of one item


def available_cores() -> int:
    """Cores this process may use (affinity, not the machine's count)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def end_with_parent() -> None:
    """In a child process: be killed when the parent ends, even if that was killed itself."""
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if parent is not None and os.getppid() != parent.pid:  # it ended before this was said
            os._exit(1)
        return

    def watch():
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _hold(on: bool):
    """Keep SIGINT and SIGTERM waiting for this thread, or let them in again."""
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK if on else signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})


def _work(function, items, results, initializer, initargs):
    """A worker's life: one answer (True, result) or (False, exception) for each item, until the item is None."""
    # Ctrl-C reaches the whole process group; the parent decides what is kept, workers go quietly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _hold(False)
    end_with_parent()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    begun = False
    while (packed := items.recv_bytes()) != _ENOUGH:
        try:
            if not begun and initializer is not None:
                initializer(*initargs)
            begun = True
            answer = pickle.dumps((True, function(pickle.loads(packed))), -1)
        except BaseException as error:  # noqa: BLE001 - raised in the parent
            error.add_note("in a worker process:\n" + traceback.format_exc())
            try:
                answer = pickle.dumps((False, error), -1)
                pickle.loads(answer)
            except Exception:  # noqa: BLE001 - an exception that cannot travel
                answer = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")), -1)
        results.send_bytes(answer)


_ENOUGH = b""


def _context():
    # Forking a process that runs threads (torch, numba's pool) can hang the child.
    risky = "torch" in sys.modules or sys.platform != "linux"
    return multiprocessing.get_context("spawn" if risky else "fork")


class _Worker:
    """A process, its two pipes, and the numbers of the items it was sent and has not answered, the first being done."""

    def __init__(self, function, initializer, initargs):
        context = _context()
        items, self.items = context.Pipe(duplex=False)
        self.results, results = context.Pipe(duplex=False)
        self.sent: deque[int] = deque()
        self.room = 1 << 16
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            self.room = fcntl.fcntl(self.items.fileno(), fcntl.F_SETPIPE_SZ, ROOM)
        self.process = context.Process(target=_work, args=(function, items, results, initializer, initargs))
        _hold(True)  # the parent's handlers, which raise, must not answer for a worker that has not begun
        try:
            self.process.start()
        finally:
            _hold(False)
        items.close()
        results.close()  # only the worker holds it now: its death is an end of file here

    def takes(self, packed: bytes) -> bool:
        """Whether an item can be sent without waiting for the worker, and is not too early."""
        return not self.sent or (len(self.sent) == 1 and len(packed) + 64 <= self.room)

    def stop(self):
        """End it now, in the middle of what it does."""
        self.process.terminate()
        self.process.join(5)
        if self.process.exitcode is None:
            self.process.kill()
        self.close()

    def close(self):
        self.process.join()
        self.process.close()
        self.items.close()
        self.results.close()


class _Pool:
    """Workers, the items given to them, and their answers by the items' numbers."""

    def __init__(self, jobs: int, lost, *work):
        self.jobs, self.lost, self.work = jobs, lost, work
        self.workers: list[_Worker] = []
        self.items: dict[int, tuple] = {}  # number: (item, the item packed) until it is answered
        self.todo: deque[int] = deque()
        self.deaths: dict[int, int] = {}
        self.answers: dict[int, tuple] = {}

    def give(self, number: int, item):
        """Have an item done."""
        self.items[number] = item, pickle.dumps(item, -1)
        self.todo.append(number)
        self._send()
        self._gather(0)

    def answer(self, number: int):
        """The result for an item, waited for; its exception is raised."""
        while number not in self.answers:
            self._gather(None)
        good, value = self.answers.pop(number)
        if not good:
            raise value
        return value

    def _send(self):
        while self.todo:
            packed = self.items[self.todo[0]][1]
            worker = min(self.workers, key=lambda one: len(one.sent), default=None)
            if (worker is None or worker.sent) and len(self.workers) < self.jobs:
                try:
                    worker = _Worker(*self.work)
                except OSError as error:
                    raise DataError(
                        f"worker {len(self.workers) + 1} of {self.jobs} cannot be started: {error.strerror or error}; "
                        "fewer (-j) need fewer open files and processes (ulimit -n, -u)"
                    ) from None
                self.workers.append(worker)
            if not worker.takes(packed):
                return
            worker.sent.append(self.todo.popleft())
            with contextlib.suppress(OSError):  # it died: seen in _gather, and this item goes back
                worker.items.send_bytes(packed)

    def _gather(self, timeout: float | None):
        """Take in what the workers have answered, at least one thing where timeout is None, and send more."""
        for ready in connection.wait([worker.results for worker in self.workers], timeout):
            worker = next(one for one in self.workers if one.results is ready)
            try:
                self.answers[worker.sent[0]] = pickle.loads(worker.results.recv_bytes())
            except (EOFError, OSError):
                self._bury(worker)
            else:
                del self.items[worker.sent.popleft()]
        self._send()

    def _bury(self, worker: _Worker):
        """What a dead worker was doing is done again, or given up where it was not the first to die of it."""
        self.workers.remove(worker)
        worker.close()
        if not worker.sent:
            return
        number, *rest = worker.sent
        self.deaths[number] = self.deaths.get(number, 0) + 1
        self.todo.extendleft(reversed(rest))
        if self.deaths[number] < TRIES:
            self.todo.appendleft(number)
            return
        item, _ = self.items.pop(number)
        try:
            self.answers[number] = True, self.lost(item)
        except DataError as error:
            self.answers[number] = False, error

    def close(self, done: bool):
        """End all workers, in the middle of what they do unless all is done."""
        for worker in self.workers:
            if done:
                with contextlib.suppress(OSError):
                    worker.items.send_bytes(_ENOUGH)
                    continue
            worker.process.terminate()
        for worker in self.workers:
            worker.close() if done else worker.stop()


def _no_more(item):
    raise DataError(
        f"{TRIES} worker processes were killed over one piece of the work: short of memory? fewer (-j) take less"
    )


def ordered_map(
    function: Callable,
    items: Iterable,
    jobs: int = 1,
    initializer: Callable | None = None,
    initargs: tuple = (),
    lost: Callable = _no_more,
) -> Generator:
    """Yield ``function(item)`` for every item, in order.

    jobs: worker processes; 1 works in this process.  Items are taken from the iterator only a few
    ahead, so an endless one is fine.  An exception in a worker is raised here.  Closing the
    generator (or Ctrl-C) stops the workers at once.  lost: item -> what is yielded for an item over which TRIES workers
    died; without it that is a DataError.
    """
    if jobs <= 1:
        if initializer is not None:
            initializer(*initargs)
        for item in items:
            yield function(item)
        return
    pool = _Pool(jobs, lost, function, initializer, initargs)
    first = given = 0
    done = False
    try:
        for item in items:
            pool.give(given, item)
            given += 1
            # Two chunks a worker keep all of them busy while results are handed on in order.
            while given - first >= 2 * jobs + 1 or first in pool.answers:
                yield pool.answer(first)
                first += 1
        for number in range(first, given):
            yield pool.answer(number)
        done = True
    finally:
        pool.close(done)
