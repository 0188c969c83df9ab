"""The live view of fansr-fit: what it says of a search, and that it is gone afterwards."""

import os
import signal
import sys

import numpy as np
import pytest
import terminals

from fansr.cli import live_lines
from fansr.fit_view import SearchView
from fansr.fitting import Candidate
from fansr.search import turns

FIT = [sys.executable, "-c", "import sys; sys.argv[0] = 'fansr-fit'; from fansr.fit import main; main()"]


def view_of(best, verbose=False, pool=()):
    view = SearchView("area", 10.0, verbose)
    held = type("Pool", (), {"front": lambda self: list(pool)})()
    view.watch(turns.Progress(1.0, "evolve", best, 1234, ["[red]a", "b"], held))
    return view


LAW = Candidate(["*", "<constant>", "*", "x1", "x2"], np.array([2.5]), 0.0123, "evolve")


def test_the_line_says_time_proposer_law_fvu_and_length():
    (line,) = view_of(LAW).lines(120)
    for part in ("of 10 s", "evolve", "FVU 0.012", "length 5", "1234 laws", "area = 2.5*"):
        assert part in line
    assert "reading" in SearchView("area").lines(80)[0]


@pytest.mark.parametrize("width", range(8, 130, 7))
def test_a_narrow_terminal_gets_whole_parts_or_none(width):
    (line,) = view_of(LAW).lines(width)
    parts = ["of 10 s", "evolve", "FVU", "length", "1234 laws tried", "area ="]
    there = [part in line for part in parts]
    assert there == sorted(there, reverse=True) and there[0]


def test_the_front_is_a_table_with_the_leading_law_marked():
    short = Candidate(["x1"], np.zeros(0), 0.4)
    lines = view_of(LAW, True, [short, LAW]).lines(60)
    rows = [line.split() for line in lines]
    assert rows[0] == ["length", "FVU", "law"] and rows[2][:3] == ["1", "0.4", "[red]a"]
    assert rows[3][:3] == ["*", "5", "0.0123"] and max(map(live_lines.cells, lines[:-1])) <= 60


@pytest.mark.parametrize("width", [40, 60, 100])
def test_a_long_law_takes_no_room_from_the_other_columns(width):
    expr = "+ * <constant> x1 ".split() * 12 + ["<constant>"]
    long = Candidate(expr, np.ones(13), 8.55e-121)
    rows = [line.split() for line in view_of(long, True, [LAW, long]).lines(width)]
    assert rows[0] == ["length", "FVU", "law"] and rows[2][:2] == ["5", "0.0123"]
    assert rows[3][:3] == ["*", "49", "8.55e-121"] and rows[3][-1].endswith("…")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 4))
    path = tmp_path_factory.mktemp("view") / "noise.csv"
    path.write_text("a,b,c,y\n" + "\n".join(",".join(map(repr, row)) for row in rows.tolist()) + "\n")
    return str(path)


@pytest.mark.parametrize("more", [[], ["-v"], ["-q"]])
def test_a_terminal_shows_the_search_and_nothing_stays(table, more):
    status, written, out = terminals.run(
        [*FIT, table, "--time", "1", "-j", "1", "--proposers", "power,sums,evolve", *more]
    )
    screen = terminals.Screen()
    screen.feed(written.decode())
    assert status == 0 and out.startswith(b"y = ") and screen.text() == ""
    assert (b"of 1 s" in written) == (more != ["-q"]) and (b"law\r\n" in written) == (more == ["-v"])


def test_interrupted_it_is_gone_and_the_answer_is_there(table):
    def interrupt(process, _):
        os.kill(process.pid, signal.SIGINT)

    status, written, out = terminals.run([*FIT, table, "--time", "30", "-j", "1"], send=interrupt, once=b"FVU")
    screen = terminals.Screen()
    screen.feed(written.decode())
    assert status == 130 and screen.text() == "" and out.startswith(b"y = ")
