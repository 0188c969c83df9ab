"""What fansr-fit shows of a search at work: one line, and with -v the front as a table.

Makes text of what turns.py tells, and writes nothing (cli/live_lines.py does).
"""

from __future__ import annotations

import io
import time

from fansr.cli import live_lines
from fansr.expressions import to_infix
from fansr.search import turns

LAW_CELLS = 12  # columns; a law cut to less says nothing
FRONT = 12  # laws of the table at most
BEFORE_LAW = (("", 1), ("length", 6), ("FVU", 9))  # its columns and their widths


class SearchView:
    """`watch` is for turns.Options.watch; `lines` gives what it was told last as text.

    title: what the table is called, where there are several; seconds: those that the search may take, or None; verbose:
    the front besides the line.
    """

    def __init__(self, target: str, seconds: float | None = None, verbose: bool = False, title: str = ""):
        self.target, self.seconds, self.verbose, self.title = target, seconds, verbose, title
        self.begun = time.monotonic()
        self.told: turns.Progress | None = None
        self._law: tuple[object, str] = (None, "")  # the candidate and its text: made once
        self._table: tuple[object, list[str]] = (None, [])
        if verbose and live_lines.able():  # now: within a signal it could meet another import half done
            import rich.box
            import rich.console
            import rich.table  # noqa: F401

    def watch(self, progress: turns.Progress) -> None:
        """Remember how the search stands; it costs an assignment."""
        self.told = progress

    def lines(self, width: int) -> list[str]:
        """The lines for a terminal of `width` columns."""
        if self.told is None:
            return [f"{self._clock()}  reading and loading"]
        table = self._front(width) if self.verbose else []
        return [*table, self._line(width)]

    def _clock(self) -> str:
        elapsed = time.monotonic() - self.begun
        return f"{elapsed:5.1f} s" if self.seconds is None else f"{elapsed:5.1f} of {self.seconds:g} s"

    def _line(self, width: int) -> str:
        """Time, who is at work, FVU, length and the law; on a narrow terminal the last of them go first."""
        told = self.told
        if self._law[0] is not told.best:
            self._law = (told.best, f"{self.target} = {told.expression}")
        parts = [
            self._clock(),
            f"{told.proposer:<9s}",
            f"FVU {told.best.fvu:<8.2g}",
            f"length {told.best.length:<3d}",
            f"{told.candidates} laws tried",
        ]
        if self.title:
            parts.insert(0, self.title)
        line = parts[0]
        for part in parts[1:]:
            if live_lines.cells(line) + 2 + len(part) > width:
                return line
            line += "  " + part
        room = width - live_lines.cells(line) - 2
        return f"{line}  {self._law[1]}" if room >= LAW_CELLS else line

    def _front(self, width: int) -> list[str]:
        """The front's rows, the leading law marked; made anew when it has changed."""
        front = self.told.front()[-FRONT:]
        key = (width, [(c.length, c.fvu) for c in front], id(self.told.best))
        if self._table[0] != key:
            self._table = (key, self._drawn(front, width))
        return self._table[1]

    def _drawn(self, front: list, width: int) -> list[str]:
        from rich import box
        from rich.console import Console
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
        for name, least in BEFORE_LAW:
            table.add_column(name, justify="right", no_wrap=True, min_width=least)
        table.add_column("law", no_wrap=True)
        # Cut here: the table would take the room for a long law from all of its columns.
        room = max(1, width - sum(least + 3 for _, least in BEFORE_LAW))
        for c in front:
            mark = "*" if c is self.told.best else ""
            law = live_lines.cut(to_infix(c.expr, c.consts, self.told.names, digits=6, pi=True), room)
            table.add_row(mark, str(c.length), f"{c.fvu:.3g}", law)
        # To text first: live_lines keeps the place and the width.  Brackets in names are no markup.
        console = Console(
            file=io.StringIO(), width=width, color_system=None, markup=False, highlight=False, emoji=False
        )
        console.print(table)
        return [line.rstrip() for line in console.file.getvalue().splitlines() if line.strip()]
