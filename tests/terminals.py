"""A terminal for tests: what a program wrote to it, as the lines a person would see."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time


class Screen:
    """The visible lines after text with carriage returns, cursor-ups and clears; no line wraps on its own here, so `widest`
    says how far right anything was written."""

    def __init__(self):
        self.lines, self.row, self.column, self.widest = [""], 0, 0, 0

    def feed(self, text: str) -> None:
        for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\r\n\x1b]+", text):
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.row += 1
                self.column = 0
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif part.startswith("\x1b["):
                self._control(part)
            else:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + part + line[self.column + len(part) :]
                self.column += len(part)
                self.widest = max(self.widest, self.column)

    def _control(self, part: str) -> None:
        if part[-1] == "A":
            self.row -= int(part[2:-1] or 1)
            assert self.row >= 0, "above the first line"
        elif part == "\x1b[J":
            self.lines = [*self.lines[: self.row], self.lines[self.row][: self.column]]
        else:
            raise AssertionError(f"an unknown control {part!r}")

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).strip("\n")


def run(words, width=80, height=24, send=None, once=b"", env=(), timeout=60.0):
    """(exit status, bytes written to the terminal, stdout) of a program whose stderr and stdin are a terminal.

    send: what to do when `once` has been written, called with the process and the terminal's descriptor.
    """
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
    environment = {**os.environ, "TERM": "xterm", **dict(env)}
    process = subprocess.Popen(words, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, env=environment)
    os.close(theirs)
    written, until = b"", time.monotonic() + timeout
    with contextlib.suppress(OSError):  # the last of the other ends is closed
        while time.monotonic() < until:
            if select.select([ours], [], [], 0.1)[0]:
                data = os.read(ours, 1 << 16)
                if not data:
                    break
                written += data
                if send is not None and once in written:
                    send(process, ours)
                    send = None
            elif process.poll() is not None:
                break
    with process.stdout:
        out = process.stdout.read()
    os.close(ours)
    return process.wait(timeout), written, out


def resize(descriptor: int, width: int, height: int = 24) -> None:
    """Another size of the terminal."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
