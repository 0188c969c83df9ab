"""A few lines at the foot of a terminal, renewed in place five times a second, and gone without a trace when the work is done.

    with live_lines.LiveLines(lambda width: [f"{clock():.1f} s"], quiet):
        work()

They are drawn by a timer's signal in the process's own thread: a second thread would make the fork of a search's second
core unsafe, and the work need not know that it is watched.  Where there are no such signals the caller draws.  Nothing is
written where stderr is no terminal, where TERM says that it cannot go back (dumb), and while the process is in the background.
Knows nothing of what the lines say.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator

EVERY = 0.2  # seconds between two drawings, and before the first: what is done sooner needs none
SPARE = 4  # columns kept free, two of them for the ^C that a terminal echoes behind the line
NARROWEST = 12  # columns; on less nothing is shown

_shown: LiveLines | None = None  # one at a time


class LiveLines:
    """Shows what `lines(width)` returns, cut to the width and to the height of the terminal.

    lines: called with the columns there are; a slip in it ends the showing, never the work.
    """

    def __init__(self, lines: Callable[[int], list[str]], quiet: bool = False):
        self.lines, self.drawn = lines, []
        self.held = False  # something else is written, or a drawing is under way: signals come at any time
        self.on = not quiet and able()
        self._before = None

    def __enter__(self) -> LiveLines:
        global _shown
        self.on = self.on and _shown is None
        if self.on:
            _shown = self
            if hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread():
                self._before = signal.signal(signal.SIGALRM, self._tick)
                signal.setitimer(signal.ITIMER_REAL, EVERY, EVERY)
        return self

    def __exit__(self, *error) -> None:
        global _shown
        if self._before is not None:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            signal.signal(signal.SIGALRM, self._before)
            self._before = None
        self.on = False
        self.clear()
        if _shown is self:
            _shown = None

    def _tick(self, signum, frame):
        self.draw()

    def draw(self) -> None:
        """Show the lines as they are now, in the place of those before."""
        if not self.on or self.held or not _in_front():
            return
        self.held = True
        try:
            width, height = _size()
            lines = [] if width < NARROWEST else [cut(line, width - SPARE) for line in self.lines(width - SPARE)]
            lines = lines[: max(1, height - 1)]
            if lines != self.drawn:
                _write(self._erase(width) + "\n".join(lines))
                self.drawn = lines
        except Exception:
            self.clear()
            self.on = False
            if os.environ.get("FANSR_DEBUG") == "1":
                raise
        finally:
            self.held = False

    def clear(self) -> None:
        """Take the lines away; the next drawing brings them back."""
        if self.drawn:
            with contextlib.suppress(OSError):
                _write(self._erase(_size()[0]))
            self.drawn = []

    def _erase(self, width: int) -> str:
        """What moves to the first of the drawn lines and empties all below; on a terminal grown narrow they take more rows."""
        rows = sum(max(1, -(-cells(line) // width)) for line in self.drawn)
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        return f"\r{up}\x1b[J"


def able() -> bool:
    """Whether stderr is a terminal that lines can be renewed on."""
    try:
        return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    except (AttributeError, ValueError):  # stderr is closed, or none
        return False


@contextlib.contextmanager
def aside() -> Iterator[bool]:
    """Within it something else may write to stderr: lines that are shown go first.  True where there are any."""
    lines = _shown
    if lines is None:
        yield False
        return
    lines.held = True
    try:
        lines.clear()
        yield True
    finally:
        lines.held = False


def cells(text: str) -> int:
    """Columns that a text takes: two for wide letters, none for marks on others."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def cut(text: str, width: int) -> str:
    """The text in at most `width` columns, with an ellipsis where it was cut; what cannot be printed becomes a question mark."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else "?" for c in text)
    if cells(text) <= width:
        return text
    while text and cells(text) > width - 1:
        text = text[: min(len(text) - 1, width)]
    return text + "…"


def _size() -> tuple[int, int]:
    """(columns, lines) of the terminal; 80 and 24 where it does not know."""
    size = os.get_terminal_size(sys.stderr.fileno())
    return size.columns or 80, size.lines or 24


def _in_front() -> bool:
    """False for a job in the background, which would write over the shell's prompt."""
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except (AttributeError, OSError):  # not this process's own terminal, or no such thing here
        return True


def _write(text: str) -> None:
    """Past Python's buffer: a signal may come while something else is within it."""
    data = text.encode(sys.stderr.encoding or "utf-8", "replace")
    while data:
        data = data[os.write(sys.stderr.fileno(), data) :]
