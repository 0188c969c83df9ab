"""live_lines.py on a terminal: drawn, kept to the width, and gone at the end."""

import re
import sys

import pytest
import terminals

from fansr.cli import live_lines

PROGRAM = """
import sys, time, click
from fansr.cli import command, live_lines
n = 0
def lines(width):
    global n
    n += 1
    return [f"{n} of {width} " + "law " * 60, "two"]
print("before", file=sys.stderr)
with live_lines.LiveLines(lines, "-q" in sys.argv):
    until = time.monotonic() + 20
    while n < 4 and time.monotonic() < until:
        pass
    command.remark("a remark")
    assert command.progress(total=3).disable
    more = n + 3
    while n < more and time.monotonic() < until:
        pass
print("after", file=sys.stderr)
"""


def run(*words, **settings):
    return terminals.run([sys.executable, "-c", PROGRAM, *words], **settings)


@pytest.mark.parametrize("width", [80, 40, 20])
def test_lines_are_renewed_and_leave_nothing(width):
    status, written, _ = run(width=width)
    screen = terminals.Screen()
    screen.feed(written.decode())
    assert status == 0 and screen.text().split("\n") == ["before", "a remark", "after"]
    assert screen.widest <= width - 2, "a ^C behind the line must not wrap"
    assert b"5 of %d" % (width - live_lines.SPARE) in written and b"two" in written


def test_a_narrower_terminal_takes_more_rows_to_clear():
    """40 columns that wrap at 15 take 3 rows: the cursor goes up two more than on the old width."""
    lines = live_lines.LiveLines(lambda width: [])
    lines.drawn = ["x" * 40, "y"]
    assert lines._erase(80) == "\r\x1b[1A\x1b[J" and lines._erase(15) == "\r\x1b[3A\x1b[J"


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"TERM": ""}])
def test_a_terminal_that_cannot_go_back_gets_nothing(env):
    code = "from fansr.cli import live_lines\nwith live_lines.LiveLines(lambda w: ['x']) as l: l.draw()"
    assert terminals.run([sys.executable, "-c", code], env=env) == (0, b"", b"")


def test_nothing_when_it_is_no_terminal_or_quiet(capfd):
    with live_lines.LiveLines(lambda width: ["x"]) as lines:
        lines.draw()
    assert capfd.readouterr().err == ""
    code = "from fansr.cli import live_lines\nwith live_lines.LiveLines(lambda w: ['x'], True) as l: l.draw()"
    assert terminals.run([sys.executable, "-c", code]) == (0, b"", b"")


def test_a_slip_in_the_lines_ends_the_showing_and_not_the_work():
    code = "from fansr.cli import live_lines\nwith live_lines.LiveLines(lambda w: 1 / 0) as l: l.draw(); l.draw(); print(7)"
    assert terminals.run([sys.executable, "-c", code]) == (0, b"", b"7\n")


def test_cutting_counts_columns():
    assert live_lines.cut("law", 3) == "law" and live_lines.cut("laws", 3) == "la…"
    wide = "温度 = 3*x"
    assert live_lines.cells(wide) == 10 and live_lines.cells(live_lines.cut(wide, 6)) <= 6
    assert live_lines.cut("温度温度", 4) == "温…"
    assert live_lines.cut("a\x1b[2Jb", 80) == "a?[2Jb"
    assert not re.search(r"[\x00-\x1f]", live_lines.cut("".join(map(chr, range(40))), 200))
