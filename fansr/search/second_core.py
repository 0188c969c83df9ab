"""A second core for one table: the model and a local search in a process of their own, what they find sent over as they go.

Used only under a time budget, where the answer depends on the clock anyway.  The process is forked,
so it costs a few milliseconds; where that is not safe (torch is loaded, no Linux) there is no partner.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import time

from fansr.fitting import Candidate

SEND_EVERY = 0.25  # seconds
SENT = 12  # candidates at a time


def possible() -> bool:
    """True where forking this process is safe."""
    return sys.platform == "linux" and "torch" not in sys.modules


class Partner:
    """Runs ``make_state()`` in a forked process and collects what its pool finds.

    make_state: builds, in the child, an object with `run_steps()` (a generator that yields after every
    turn) and `pool`.
    """

    def __init__(self, make_state):
        import multiprocessing

        context = multiprocessing.get_context("fork")
        self._receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_work, args=(make_state, sender), daemon=True)
        self._process.start()
        sender.close()

    def collect(self) -> list[Candidate]:
        """Candidates that have arrived since the last call."""
        found = []
        with contextlib.suppress(EOFError, OSError):
            while self._receiver.poll():
                found += self._receiver.recv()
        return found

    def stop(self):
        """End the process; what it has not sent is lost."""
        self._process.terminate()
        self._process.join(1.0)
        self._receiver.close()


def _work(make_state, sender):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    state = make_state()
    sent, last = set(), time.monotonic()
    with contextlib.suppress(BrokenPipeError):
        for _ in state.run_steps():
            if time.monotonic() - last > SEND_EVERY:
                _send(state.pool, sent, sender)
                last = time.monotonic()
        _send(state.pool, sent, sender)


def _send(pool, sent: set, sender):
    fresh = [c for c in [*pool[:SENT], *pool.front()] if (tuple(c.expr), c.fvu) not in sent]
    if fresh:
        sent.update((tuple(c.expr), c.fvu) for c in fresh)
        sender.send(fresh)
