"""A folder of shards proven to be a whole, and joined in flat memory."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fansr.cli.cat import cat
from fansr.corpus.gen import gen
from fansr.streams import reader_writer


def run(command, *words):
    return CliRunner().invoke(command, [str(word) for word in words])


@pytest.fixture
def shards(tmp_path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for i in range(5):
        assert run(gen, "-q", "-j", 1, "-n", 103, "--shard", f"{i}/5", "-o", folder / f"shard-{i}.zst").exit_code == 0
    return folder


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_whole_folder_is_said_and_joined(shards, tmp_path, jobs):
    said = run(cat, "--check", "--shards", shards, "-j", jobs)
    assert said.exit_code == 0, said.output
    assert said.output.splitlines()[-1].startswith("together: 103 records, checksum ")
    assert said.output.endswith("all shards of ids 0 to 102\n")
    assert run(cat, "--merge", "--shards", shards, "-o", tmp_path / "all").exit_code == 0
    assert run(gen, "-q", "-j", 1, "-n", 103, "-o", tmp_path / "one").exit_code == 0
    ends = []
    for name in ("all", "one"):
        with reader_writer.open_reader(tmp_path / name) as reader:
            ends.append(([record["id"] for record in reader], reader.checksum))
    assert ends[0] == ends[1]


def interrupted(path: Path):
    """The same file as its writer would have left it on a signal after half of its records."""
    with reader_writer.open_reader(path) as reader:
        records = list(reader)
    with pytest.raises(KeyboardInterrupt), reader_writer.open_writer(path, "skeleton", reader.history) as writer:
        for record in records[: len(records) // 2]:
            writer.write(record)
        raise KeyboardInterrupt


def rewritten(path: Path, change):
    with reader_writer.open_reader(path) as reader:
        records = list(reader)
    with reader_writer.open_writer(path, "skeleton", reader.history) as writer:
        for record in change(records):
            writer.write(record)


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda f: (f / "shard-2.zst").unlink(), "ids 41 to 60 of 0 to 102 are in none of the files given"),
        (lambda f: (f / "shard-4.zst").unlink(), "ids 82 to 102 of 0 to 102 are in none"),
        (lambda f: shutil.copy(f / "shard-1.zst", f / "shard-7.zst"), "are in more than one of the files given"),
        (lambda f: interrupted(f / "shard-3.zst"), "shard-3.zst was to hold ids 61 to 81, INTERRUPTED after"),
        (lambda f: (f / "shard-0.zst.part").touch(), "shard-0.zst.part: not finished"),
        (lambda f: rewritten(f / "shard-0.zst", lambda r: [*r, r[3]]), "shard-0.zst: id 3 after 19 in a shard of ids 0 to 19"),
        (lambda f: rewritten(f / "shard-1.zst", lambda r: [{**r[0], "id": 5}]), "shard-1.zst: id 5 after -1 in a shard"),
        (lambda f: run(gen, "-q", "-n", 9, "--seed", 1, "-o", f / "a.zst"), "was made otherwise than"),
        (lambda f: reader_writer.open_writer(f / "z.zst", "skeleton", []).finish(), "z.zst says of no ids"),
        (lambda f: [path.unlink() for path in f.iterdir()], "holds no *.zst"),
        (lambda f: (f / "shard-1.zst").write_bytes((f / "shard-1.zst").read_bytes()[:-9]), "shard-1.zst: "),
    ],
)  # fmt: skip
def test_what_is_no_whole_is_named(shards, tmp_path, spoil, said):
    spoil(shards)
    for mode in ("--check", "--merge"):
        done = run(cat, mode, "--shards", shards, "-o", tmp_path / "all", "-j", 1)
        if mode == "--merge" and said.startswith("shard-") and "after" in said and "INTERRUPTED" not in said:
            continue  # joining looks at headers and checksums, not at every id
        assert done.exit_code == 1 and said in done.stderr and done.stderr.count("\n") == 1, done.output
        assert not (tmp_path / "all").exists()


def test_inputs_beside_a_folder_are_refused(shards):
    assert run(cat, "--check", "--shards", shards, shards / "shard-0.zst").exit_code == 2


def test_hundreds_of_shards_are_joined_with_few_files_open(shards, tmp_path):
    """4,096 shards were opened at once."""
    for i in range(200):
        assert run(gen, "-q", "-j", 1, "-n", 200, "--shard", f"{i}/200", "-o", shards / f"s-{i:03}.zst").exit_code == 0
    for path in shards.glob("shard-*"):
        path.unlink()

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))

    script = "from fansr.cli.cat import main; main()"
    for mode in (["--merge", "-o", str(tmp_path / "all")], ["--check", "-q", "-j", "1"]):
        words = [sys.executable, "-c", script, *mode, "--shards", str(shards)]
        done = subprocess.run(words, preexec_fn=few, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    with reader_writer.open_reader(tmp_path / "all") as reader:
        assert [record["id"] for record in reader] == list(range(200))
