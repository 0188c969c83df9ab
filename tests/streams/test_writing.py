"""Files that are written: gone on with, locked, linked, on full disks, interrupted."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from fansr.cli.cat import cat
from fansr.errors import DataError
from fansr.streams import reader_writer

RECORD = {"kind": "odd", "id": 1}


def read(path) -> list[dict]:
    with reader_writer.open_reader(path) as reader:
        return list(reader)


def killed(target, history, consumed=5):
    """What a run leaves that was killed after some records."""
    writer = reader_writer.open_writer(target, "odd", history)
    writer.write(RECORD)
    writer.consumed = consumed
    writer.flush()
    writer._out.close()


CALL = {"cmd": "fansr-gen", "argv": ["-o", "a"], "utc": "2020", "seed": 1, "config": {"n": 5, "part": [0, 1]}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 2}, "seed was 1, now 2"),
        ({"config": {"n": 6, "part": [0, 1]}}, "n was 5, now 6"),
        ({"config": {"n": 5, "part": [0, 2]}}, "part was 1, now 2"),
        ({"config": {"n": 5, "part": [0]}}, "part was .0, 1., now .0."),
        ({"config": None}, "config was"),
        ({"cmd": "fansr-render"}, "cmd was"),
        ({"argv": ["-j", "2"], "utc": "2021"}, None),
    ],
)
def test_only_the_same_call_goes_on(tmp_path, change, said):
    """147,456 records of seed 1 were continued with seed 2, under a header that said 1, and every check passed."""
    target = str(tmp_path / "a")
    killed(target, [CALL])
    if said is None:
        with reader_writer.open_writer(target, "odd", [{**CALL, **change}], resume=True) as writer:
            assert (writer.resumed, writer.n, writer.consumed) == (True, 1, 5)
        assert len(read(target)) == 1
        return
    before = Path(target + ".part").read_bytes()
    with pytest.raises(DataError, match=f"a: --resume goes on with the same call only, and {said}"):
        reader_writer.open_writer(target, "odd", [{**CALL, **change}], resume=True)
    assert Path(target + ".part").read_bytes() == before  # still there for the right call
    with reader_writer.open_writer(target, "odd", [{**CALL, **change}]) as writer:
        assert not writer.resumed and writer.n == 0


@pytest.mark.parametrize("state", ["", "[]", "5", "{}", '{"bytes": -1}', "[" * 9999, '{"bytes": "x", "n": 1}', "\xff"])
def test_a_broken_state_is_named(tmp_path, state):
    target = str(tmp_path / "a")
    killed(target, [])
    Path(target + ".part.state").write_text(state)
    with pytest.raises(DataError, match="a.part.state: not what a killed run"):
        reader_writer.open_writer(target, "odd", [], resume=True)


def test_a_file_shorter_than_its_state_is_named(tmp_path):
    target = str(tmp_path / "a")
    killed(target, [])
    os.truncate(target + ".part", 3)
    with pytest.raises(DataError, match="shorter than its state says"):
        reader_writer.open_writer(target, "odd", [], resume=True)


def test_two_runs_do_not_write_one_file(tmp_path):
    """One ended well, and the file failed its checksum."""
    target = str(tmp_path / "a")
    with reader_writer.open_writer(target, "odd") as first:
        first.write(RECORD)
        for resume in (False, True):
            with pytest.raises(DataError, match="a: another run is writing it"):
                reader_writer.open_writer(target, "odd", resume=resume)
        first.write(RECORD)
    assert len(read(target)) == 2
    with reader_writer.open_writer(target, "odd"):  # the lock went with the first
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link"
    for target in ("there/new", "there/new"):  # to nothing yet, then to a file
        link.unlink(missing_ok=True)
        link.symlink_to(target)
        with reader_writer.open_writer(link, "odd") as writer:
            writer.write(RECORD)
        assert link.is_symlink() and len(read(tmp_path / target)) == 1


FULL = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from fansr.corpus.gen import main; main()
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path, jobs):
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run(
        [sys.executable, "-c", FULL, "-n", "2000000", "-j", jobs, "-o", str(tmp_path / "full")],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert f"{tmp_path}/full: File too large" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_under_resume_a_full_disk_leaves_what_is_whole(tmp_path):
    target = tmp_path / "full"
    script = FULL.replace("200_000, 200_000", "int(sys.argv.pop(1)), 1 << 30").replace(
        "import resource", "import resource, sys"
    )
    call = [sys.executable, "-c", script]
    words = ["-n", "200000", "-j", "1", "--resume", "-o", str(target)]
    done = subprocess.run([*call, "2500000", *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and "stays in full.part, and --resume goes on with it" in done.stderr
    kept = json.loads((tmp_path / "full.part.state").read_text())["n"]
    assert kept > 0
    assert subprocess.run([*call, str(1 << 30), *words], timeout=120).returncode == 0
    assert [record["id"] for record in read(target)] == list(range(200000))
    assert [p.name for p in tmp_path.iterdir()] == ["full"]


def test_what_cannot_be_written_is_named(tmp_path):
    for target, said in (
        (tmp_path, "is a directory"),
        (tmp_path / "none" / "a", "No such file"),
        ("/dev/full", "space"),
    ):
        with (
            pytest.raises(DataError, match=f"{target}: .*{said}"),
            reader_writer.open_writer(str(target), "odd") as writer,
        ):
            writer.write(RECORD)


# ---- interrupts -------------------------------------------------------------------------------

GEN = [sys.executable, "-c", "from fansr.corpus.gen import main; main()", "-q", "-j", "1"]


def test_an_interrupted_stream_says_so_and_is_no_shard(tmp_path):
    """Two shards stopped by a signal, 368,640 of 4,000,000 records, were 'all shards of ids 0 to 3999999'."""
    names = [str(tmp_path / f"s{i}") for i in range(2)]
    for i, name in enumerate(names):
        process = subprocess.Popen([*GEN, "-n", "40000000", "--shard", f"{i}/2", "-o", name])
        while not Path(name + ".part.state").exists() and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    with reader_writer.open_reader(names[0]) as reader:
        ids = [record["id"] for record in reader]
        assert reader.interrupted == {"done": len(ids), "meant": 20000000}
    for mode in ("--check", "--merge"):
        done = CliRunner().invoke(cat, [mode, "-o", str(tmp_path / "m"), *names])
        assert done.exit_code == 1 and "s0 was to hold ids 0 to 19999999, INTERRUPTED after" in done.stderr
        assert not (tmp_path / "m").exists()
    alone = CliRunner().invoke(cat, ["--check", names[0]])
    assert alone.exit_code == 0 and f"INTERRUPTED after {len(ids)} of 20000000" in alone.stdout


def test_a_run_that_a_signal_ended_is_gone_on_with(tmp_path):
    """A time limit's TERM ends the stream well, so that the rest of it was lost to --resume."""
    target = str(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt), reader_writer.open_writer(target, "odd", [CALL], resume=True) as writer:
        writer.meant = 3
        writer.write_many(reader_writer.pack(RECORD), 1, reader_writer.digest(reader_writer.pack(RECORD)), consumed=1)
        raise KeyboardInterrupt
    assert len(read(target)) == 1
    with reader_writer.open_writer(target, "odd", [CALL], resume=True) as writer:
        assert (writer.resumed, writer.n, writer.consumed) == (True, 1, 1)
        writer.write({**RECORD, "id": 2})
    with reader_writer.open_reader(target) as reader:
        assert [record["id"] for record in reader] == [1, 2] and reader.interrupted is None
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_another_file_under_that_name_is_not_gone_on_with(tmp_path):
    target = str(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt), reader_writer.open_writer(target, "odd", [CALL], resume=True) as writer:
        writer.write(RECORD)
        raise KeyboardInterrupt
    with reader_writer.open_writer(tmp_path / "b", "odd", [CALL]) as writer:
        for _ in range(9):
            writer.write(RECORD)
    os.replace(tmp_path / "b", target)
    with reader_writer.open_writer(target, "odd", [CALL], resume=True) as writer:
        assert not writer.resumed
    assert read(target) == []


def test_what_is_made_of_an_interrupted_stream_is_interrupted_too(tmp_path):
    with pytest.raises(KeyboardInterrupt), reader_writer.open_writer(tmp_path / "a", "skeleton", []) as writer:
        writer.write({"kind": "skeleton", "id": 1, "expr": ["x1"]})
        writer.meant = 5
        raise KeyboardInterrupt
    script = "from fansr.simplification.simplify import main; main()"
    for i, more in enumerate(([], ["--dedup"])):
        target = tmp_path / f"b{i}"
        subprocess.run([sys.executable, "-c", script, "-q", *more, "-o", str(target), str(tmp_path / "a")], check=True)
        with reader_writer.open_reader(target) as reader:
            assert len(list(reader)) == 1 and reader.interrupted == {"done": 1, "meant": 5}
    done = CliRunner().invoke(cat, ["--merge", "-o", str(tmp_path / "m"), str(tmp_path / "a"), str(tmp_path / "b0")])
    assert done.exit_code == 0, done.stderr
    with reader_writer.open_reader(tmp_path / "m") as reader:
        assert len(list(reader)) == 2 and reader.interrupted == {"done": 1, "meant": 5}
