"""parallel.py: what becomes of workers that are given up, killed, or left by their parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fansr.cli import command
from fansr.errors import DataError
from fansr.streams import reader_writer
from fansr.streams.parallel import ordered_map

GIVE_UP = """
from fansr.streams.parallel import ordered_map
def large(n): return bytes(n)
def swallow(b): return len(b)
if __name__ == "__main__":
    function, items = {"results": (large, [1 << 25] * 12), "items": (swallow, [bytes(1 << 25)] * 12)}[%r]
    steps = ordered_map(function, items, jobs=2)
    next(steps)
    steps.close()
    print("closed")
"""


@pytest.mark.parametrize("what", ["results", "items"])
def test_a_worker_stopped_in_the_middle_of_a_message_hangs_nobody(what, tmp_path):
    """A worker killed while it wrote a large result left the parent reading for the rest of it."""
    script = tmp_path / "give_up.py"
    script.write_text(GIVE_UP % what)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, timeout=60)
    assert done.returncode == 0 and done.stdout == b"closed\n" and not done.stderr, done.stderr.decode()


class Deadly:
    """Squares numbers; a worker dies over those in `once` the first time, over those in `always` each time."""

    def __init__(self, folder, once=(), always=(), size=0):
        self.folder, self.once, self.always, self.size = Path(folder), once, always, size

    def __call__(self, n):
        mark = self.folder / str(n)
        if n in self.always or (n in self.once and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return n * n, bytes(self.size)


@pytest.mark.parametrize("jobs", [2, 3])
@pytest.mark.parametrize("size", [0, 1 << 20])
def test_what_a_killed_worker_did_is_done_again(tmp_path, jobs, size):
    function = Deadly(tmp_path, once=(0, 3, 4, 5, 19), size=size)
    assert [square for square, _ in ordered_map(function, range(20), jobs)] == [n * n for n in range(20)]


def test_what_kills_two_workers_is_left_to_the_caller(tmp_path):
    function = Deadly(tmp_path, once=(2,), always=(5, 6, 11))
    found = list(ordered_map(function, range(12), 2, lost=lambda n: ("lost", n)))
    assert found == [("lost", n) if n in (5, 6, 11) else (n * n, b"") for n in range(12)]
    with pytest.raises(DataError, match="2 worker processes were killed"):
        list(ordered_map(function, range(12), 2))


def large_item(item):
    return len(item)


def test_items_larger_than_a_pipe(tmp_path):
    """They wait until their worker asks for them; small ones are sent ahead."""
    sizes = [0, 10, 3 << 20, 1 << 16, 1, 5 << 20, 1 << 20, 7] * 3
    assert list(ordered_map(large_item, map(bytes, sizes), 2)) == sizes


class Odd(Exception):
    def __init__(self, a, b):  # cannot be unpickled from its one argument
        super().__init__(a)


def fail(n):
    if n == 3:
        raise Odd("three", 3)
    if n == 5:
        raise DataError("record 5: odd")
    return n


def test_exceptions_come_in_the_order_of_the_items():
    steps = ordered_map(fail, range(9), 2)
    assert [next(steps) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match="Odd: three"):
        next(steps)
    with pytest.raises(DataError, match="record 5: odd"):
        list(ordered_map(fail, range(4, 9), 2))


class Squares:
    """A stage of write_stream: ids to packed records, by a Deadly."""

    def __init__(self, deadly):
        self.deadly = deadly

    def __call__(self, ids):
        made = [{"kind": "odd", "id": id, "square": self.deadly(id)[0]} for id in ids]
        return *reader_writer.pack_many(made), {}, len(ids)


def test_a_stream_is_whole_but_for_what_kills_workers(tmp_path):
    """It was 'internal error: BrokenProcessPool', and the finished records were gone."""
    function = Squares(Deadly(tmp_path, once=(17,), always=(44,)))

    def items(done):
        return (range(start, start + 10) for start in range(done, 90, 10))

    with pytest.raises(DataError, match="out: whole but for ids 40 to 49, over which 2 workers each were killed"):
        command.write_stream(str(tmp_path / "out"), items, function, holds="odd", history=[], jobs=2, quiet=True)
    with reader_writer.open_reader(str(tmp_path / "out")) as reader:
        assert [record["square"] for record in reader] == [i * i for i in range(90) if i // 10 != 4]
        assert reader.dropped == {"worker_died": 10} and reader.interrupted is None


SLEEPY = """
import os, sys, time
from fansr.streams.parallel import ordered_map
def sleep(n):
    os.write(1, b"%d\\n" % os.getpid())  # one write, so that lines of two workers do not mix
    time.sleep(60)
if __name__ == "__main__":
    list(ordered_map(sleep, range(9), jobs=2))
"""


def test_workers_end_with_their_parent(tmp_path):
    """They lived on, 400 MB each, and held the caller's pipes."""
    script = tmp_path / "sleepy.py"
    script.write_text(SLEEPY)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE) as process:
        workers = [int(process.stdout.readline()) for _ in range(2)]
        process.kill()
        process.wait()
        assert process.stdout.read() == b""  # nobody holds the pipe any more
    deadline = time.monotonic() + 20
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def alive(pid: int) -> bool:
    """A process that is not just waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False
