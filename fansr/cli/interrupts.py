"""Ctrl-C and SIGTERM as KeyboardInterrupt, but not in the midst of an import.

An exception that passes through an import leaves modules half made, is taken by a library for a module that is not there,
or is lost in a callback; one that passes through machine code at its linking ends the process.  A signal that comes then
waits until the import is done.  A second one does not wait.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

EVERY = 0.01  # processor seconds after which it is looked again whether the import is done
IMPORTING = ("<frozen importlib", "llvmlite")  # in the names of files whose code no exception may pass through


class _Patience:
    """Handler of the signals while a command or a search runs; `depth` frames were there before it."""

    def __init__(self, depth: int):
        self.depth, self.waiting = depth, False
        self.before: object = None  # who handled the timer's signal

    def note(self, signum, frame) -> None:
        if self.waiting or not self._importing(frame):
            self.stop()
            raise KeyboardInterrupt
        self.waiting = True
        self.before = signal.signal(signal.SIGPROF, self.look)  # not the one that live_lines.py draws by
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)

    def look(self, signum, frame) -> None:
        if self.waiting and not self._importing(frame):
            self.stop()
            raise KeyboardInterrupt

    def stop(self) -> bool:
        """Wait no longer; whether a signal waited."""
        waiting, self.waiting = self.waiting, False
        if waiting:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            signal.signal(signal.SIGPROF, self.before or signal.SIG_IGN)
        return waiting

    def _importing(self, frame: FrameType | None) -> bool:
        files = _files(frame)
        return any(name in file for file in files[: len(files) - self.depth] for name in IMPORTING)


def _files(frame: FrameType | None) -> list[str]:
    """The files whose code is at work, the innermost first."""
    files = []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    return files


@contextlib.contextmanager
def patient(term: bool = False) -> Iterator[None]:
    """KeyboardInterrupt at Ctrl-C, and at SIGTERM with `term` (a scheduler's stop), comes between imports only.

    A SIGINT that is ignored or has a handler of somebody's own stays as it is.  Nothing changes in another thread than the
    main one; where there are no such timers only SIGTERM gets its handler.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    patience = _Patience(len(_files(sys._getframe(2))))
    able = hasattr(signal, "setitimer")
    names = [signal.SIGTERM] if term else []
    if able and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        names.append(signal.SIGINT)
    old = {name: signal.signal(name, patience.note if able else signal.default_int_handler) for name in names}
    try:
        yield
    finally:
        waited = patience.stop()
        for name, handler in old.items():
            signal.signal(name, signal.SIG_DFL if handler is None else handler)
    if waited:
        raise KeyboardInterrupt
