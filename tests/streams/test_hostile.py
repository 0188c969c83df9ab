"""Streams made to hurt: what unpacks to far more than it is, what claims more than is there, what no record holds."""

import gzip
import io
import os
import struct
import subprocess
import sys

import msgpack
import numpy as np
import pytest
import xxhash
import zstandard
from click.testing import CliRunner
from plain_streams import stream_of

from fansr.cli.cat import cat
from fansr.errors import DataError
from fansr.streams import files, reader_writer

MB = 1 << 20
SIZE = 1 << 30  # bytes that each bomb unpacks to


def header(holds="problem") -> bytes:
    return msgpack.packb({"kind": "header", "format": 2, "holds": holds, "history": []})


def zstd(head: bytes, unit: bytes = b"\0", total: int = SIZE) -> bytes:
    """A zstd frame of `head` and then `unit` again and again, as many bytes as `total`."""
    compressor = zstandard.ZstdCompressor(level=1).compressobj()
    chunk = unit * (MB // len(unit))
    parts = [compressor.compress(head), *(compressor.compress(chunk) for _ in range(total // len(chunk)))]
    return b"".join([*parts, compressor.flush()])


RECORD = b"\x83\xa4kind\xa7problem\xa2id\x01\xa1X"  # the beginning of a problem, up to what X is
BLOCK = struct.pack("<I", 131072 << 3 | 1 << 1)[:3] + b"\0"  # a zstd block: one byte, 128 KiB times
FRAME = b"\x28\xb5\x2f\xfd\x00\x58"
BOMBS = {
    "zeros": lambda: zstd(b""),
    "zeros after a header": lambda: zstd(header()),
    "bytes that claim 4 GiB": lambda: zstd(header() + RECORD + b"\xc6\xff\xff\xff\xff"),
    "an extension that claims 4 GiB": lambda: zstd(header() + RECORD + b"\xc9\xff\xff\xff\xfe\x01"),
    "a list that claims 2**32": lambda: zstd(header() + RECORD + b"\xdd\xff\xff\xff\xff"),
    "a map that claims 2**32": lambda: zstd(header() + RECORD + b"\xdf\xff\xff\xff\xff"),
    "a list of 200 million lists": lambda: zstd(header() + RECORD + b"\xdd" + struct.pack(">I", 200 << 20), b"\x90"),
    "lists in lists": lambda: zstd(header() + RECORD, b"\x91"),
    "many records of many lists": lambda: zstd(
        header("odd"), b"\x82\xa4kind\xa3odd\xa1a\xdd" + struct.pack(">I", MB - 20) + b"\x90" * (MB - 20)
    ),
    "a frame without end": lambda: zstandard.compress(header()) + FRAME + BLOCK * 2400,
    "a window of 1 TiB": lambda: FRAME[:5] + b"\xf8" + BLOCK * 9,
    "gzip": lambda: gzip.compress(header()) + gzip.compress(bytes(SIZE), 6),
    "a bomb in a frame": lambda: zstandard.compress(zstd(b"")),
}


def peak(*argv) -> tuple[int, int, str]:
    """(exit status, peak memory in MB, stderr) of a command in a process of its own."""
    with subprocess.Popen([sys.executable, "-c", *argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        said = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage.ru_maxrss // 1024, said


CAT = "from fansr.cli.cat import main; main()"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Peak memory of fansr-cat on a stream of nothing."""
    path = tmp_path_factory.mktemp("own") / "empty"
    with reader_writer.open_writer(path, "problem"):
        pass
    code, megabytes, said = peak(CAT, "--check", str(path))
    assert code == 0, said
    return megabytes


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_within_bounded_memory(name, tmp_path, own):
    """131 kB that unpacked to 4 GiB of zeros took 13 GB."""
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[name]())
    assert path.stat().st_size < 2 * MB
    for mode in ("--check", "--json"):
        code, megabytes, said = peak(CAT, mode, str(path))
        assert code == 1 and said.count("\n") == 1 and str(path) in said and "internal" not in said, said
        assert megabytes < own + 200, f"{megabytes} MB, {own} for nothing"


@pytest.mark.parametrize("name", ["zeros", "a frame without end", "gzip", "a bomb in a frame"])
def test_a_packed_file_that_is_read_whole_is_bounded_too(name, tmp_path, own):
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[name]())
    code, megabytes, said = peak(f"from fansr.streams import files; files.read_file({str(path)!r})")
    if name != "a bomb in a frame":  # one frame is unpacked, not what is in it
        assert code == 1 and "--max-record" in said
    assert megabytes < own + 200


def test_max_record_is_a_bound_that_can_be_moved(tmp_path):
    record = {"kind": "odd", "id": 1, "y": np.zeros(3 * MB // 8)}
    path = tmp_path / "a"
    with reader_writer.open_writer(path, "odd") as writer:
        writer.write({"kind": "odd", "id": 0})
        writer.write(record)
    for size, good in (("4M", True), ("2M", False), ("2000", False)):
        done = CliRunner().invoke(cat, ["--count", "--max-record", size, str(path)])
        assert (done.exit_code == 0) is good
        if not good:
            assert f"{path}: record 2 takes 3" in done.stderr and "--max-record" in done.stderr
    files.bound_records(files.MAX_RECORD)
    with reader_writer.open_reader(path) as reader:
        *_, last = reader
    assert np.array_equal(last["y"], record["y"])


@pytest.mark.parametrize("size", [1, 1000, 70_000, MB, 2 * MB, 5 * MB])
@pytest.mark.parametrize("after", [0, 3])
def test_large_records_are_read_as_they_were_written(tmp_path, size, after):
    """Whether the finder or the heads alone say where one ends; with fields of every length of head."""
    rng = np.random.default_rng(size)
    records = [
        {
            "kind": "odd", "raw": rng.bytes(size), "text": "ä" * (size // 9), "y": rng.normal(size=size // 8), "n": None,
            "list": [[1, -1, 300, -300, 70000, -70000, 2**40, -(2**40), 1.5, True, "x" * 40, {"a": [{}]}]] * 70,
            "map": {f"k{i}": i for i in range(40)}, "short": [b"", b"x" * 300, np.zeros(()), np.arange(2, dtype=np.int8)],
        }
        for _ in range(3)
    ]  # fmt: skip
    records += [{"kind": "odd", "id": i} for i in range(after)]
    data = io.BytesIO()
    with reader_writer.open_writer(data, "odd") as writer:
        for record in records:
            writer.write(record)
    with reader_writer.open_reader(io.BytesIO(data.getvalue())) as reader:
        found = list(reader)
    assert [reader_writer.pack(record) for record in found] == [reader_writer.pack(record) for record in records]


# ---- what no record holds ---------------------------------------------------------------------


def ext(dtype="<f8", shape=(1,), raw=bytes(8), code=1):
    return msgpack.ExtType(code, msgpack.packb([dtype, shape, raw]))


def nested(n):
    value = []
    for _ in range(n):
        value = [value]
    return value


def law(n):
    return ["neg"] * (n - 1) + ["x1"]


GOOD = {
    "skeleton": {"kind": "skeleton", "id": 1, "expr": ["x1"]},
    "problem": {"kind": "problem", "id": 1, "X": ext(shape=(1, 1)), "y": ext(), "names": ["x1"]},
    "fit": {
        "kind": "fit",
        "problem": 1,
        "expr": ["*", "<constant>", "x1"],
        "consts": ext(),
        "fvu": 0.5,
        "names": ["x1"],
    },
    "candidate": {"kind": "candidate", "problem": 1, "expr": ["x1"], "logp": -1.0, "n": 1},
}
BAD = [
    ("skeleton", {"x": ext("<M8[s]")}, "dtype '<M8"),
    ("skeleton", {"x": ext("<c16", raw=bytes(16))}, "dtype '<c16'"),
    ("skeleton", {"x": ext("<f16", raw=bytes(16))}, "dtype '<f16'"),
    ("skeleton", {"x": ext("|O")}, "dtype '|O'"),
    ("skeleton", {"x": ext("f8, i4")}, "dtype 'f8, i4'"),
    ("skeleton", {"x": ext([["a", "<f8"]])}, "dtype"),
    ("skeleton", {"x": ext(shape=(2,))}, "shape .2. and dtype <f8 in 8 bytes"),
    ("skeleton", {"x": ext(shape=(-1,))}, "shape"),
    ("skeleton", {"x": ext(shape=(1 << 62, 0), raw=b"")}, "shape"),
    ("skeleton", {"x": ext(shape=[1] * 70)}, "shape"),
    ("skeleton", {"x": ext(shape="a")}, "shape"),
    ("skeleton", {"x": msgpack.ExtType(1, b"")}, "not .dtype, shape, bytes"),
    ("skeleton", {"x": msgpack.ExtType(1, b"\xc1")}, "not .dtype, shape, bytes"),
    ("skeleton", {"x": ext(code=7)}, "extension type 7"),
    ("skeleton", {"x": msgpack.Timestamp(1)}, "Timestamp"),
    ("skeleton", {"x": nested(40)}, "over 32 deep"),
    ("skeleton", {"x": nested(900)}, "over 32 deep"),
    ("skeleton", {5: 1}, "no text"),
    ("skeleton", {"x": [{b"a": 1}]}, "no text"),
    ("skeleton", {"expr": [b"x1"]}, "expr is .*wanted a list"),
    ("skeleton", {"expr": 5}, "expr is 5, wanted a list"),
    ("skeleton", {"expr": law(5000)}, "expr is a list of 5000, wanted a list of at most 4096"),
    ("skeleton", {"id": [1]}, r"id is \[1\]"),
    ("skeleton", {"id": True}, "id is True"),
    ("skeleton", {"id": -1}, "id is -1"),
    ("skeleton", {"kind": "fit"}, "kind 'fit' in a stream of skeleton records"),
    ("problem", {"y": ext(shape=(1, 1))}, "y is a float64 array"),
    ("problem", {"y": ext(shape=(2,), raw=bytes(16))}, "X has 1 rows but y has 2"),
    ("problem", {"X": ext(shape=(0, 1), raw=b""), "y": ext(shape=(0,), raw=b"")}, "X has no rows"),
    ("problem", {"names": ["a", "b"]}, "2 names for 1 columns"),
    ("problem", {"names": [1]}, "names is"),
    ("problem", {"truth": [1]}, "truth is"),
    ("problem", {"truth": {"expr": 5}}, "truth is"),
    ("problem", {"truth": {"expr": ["x2"]}}, "truth: expr names x2, but there are 1 columns"),
    ("problem", {"group": {"a": 1}}, "group is"),
    ("problem", {"weights": ext(shape=(2,), raw=bytes(16))}, "weights has 2"),
    ("fit", {"fvu": "small"}, "fvu is 'small', wanted a number"),
    ("fit", {"consts": ext(shape=())}, "consts is a float64 array of shape \\(\\), wanted"),
    ("fit", {"consts": ext(shape=(0,), raw=b"")}, "0 consts for 1 <constant>"),
    ("fit", {"expr": ["*", "<constant>", "x18"]}, "expr names x18, but there are 1 columns"),
    ("fit", {"front": [1]}, "front is"),
    ("fit", {"front": [{"expr": ["x1"], "consts": ext()}]}, "front: 1 consts for 0"),
    ("fit", {"problem": None}, "without problem"),
    ("candidate", {"logp": "x"}, "logp is"),
    ("candidate", {"expr": "x1"}, "expr is"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "change", "said"), BAD)
def test_what_a_kind_does_not_hold_is_named_with_its_place(kind, change, said, tmp_path):
    """By whoever takes records apart: the library, and fansr-cat in every form but --count."""
    good, bad = msgpack.packb(GOOD[kind]), msgpack.packb({**GOOD[kind], **change})
    head = {"kind": "header", "format": 2, "holds": kind}
    with reader_writer.open_reader(io.BytesIO(stream_of([good, good], head))) as reader:
        assert len(list(reader)) == 2
    data = stream_of([good, bad], head)
    with pytest.raises(DataError, match=f"record 2.*{said}"), reader_writer.open_reader(io.BytesIO(data)) as reader:
        list(reader)
    (tmp_path / "bad").write_bytes(data)
    for mode in ("--json", "--tsv", "--infix", "--check", "--merge"):
        done = CliRunner().invoke(cat, [mode, "-o", str(tmp_path / "out"), str(tmp_path / "bad")])
        assert done.exit_code == 1 and "bad: record 2" in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"holds": None}, "holds is"),
        ({"holds": 5}, "holds is '5'"),
        ({"history": 5}, "history is '5', wanted a list of maps"),
        ({"history": "text"}, "history"),
        ({"history": [1, 2]}, "history"),
        ({"format": [2]}, "stream format"),
        ({"format": True}, "stream format"),
        ({"format": 3}, "stream format 3, this version reads 1 and 2"),
        ({5: 5}, "does not begin with a header"),
    ],
)
def test_headers_are_checked(change, said):
    head = {"kind": "header", "format": 2, "holds": "skeleton", **change}
    with pytest.raises(DataError, match=said):
        reader_writer.open_reader(io.BytesIO(stream_of([], head)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dropped": {"a": 1, "b": "c"}}, "damaged end record"),
        ({"dropped": {"a": -1}}, "damaged end record"),
        ({"dropped": {"a": 1, 5: 1}}, "damaged"),
        ({"dropped": [1]}, "damaged end record"),
        ({"n": "0"}, "damaged end record"),
        ({"checksum": 5}, "checksum"),
        ({"interrupted": 5}, "interrupted"),
        ({"interrupted": {"done": "x"}}, "interrupted"),
    ],
)
def test_end_records_are_checked(change, said):
    with pytest.raises(DataError, match=said):
        list(reader_writer.open_reader(io.BytesIO(stream_of([], **change))))


def test_the_seal_covers_what_the_checksum_does_not():
    """A byte of a plain stream's header, 'holds' made 'holes', was read without a word."""
    data = stream_of([msgpack.packb(GOOD["skeleton"])], dropped={"twin": 2})
    assert len(list(reader_writer.open_reader(io.BytesIO(data)))) == 1
    for a, b in ((b"\x85\xa1n", b"\x85\xa1m"), (b"twin\x02", b"twin\x03"), (b"twin", b"twis")):
        with pytest.raises(DataError, match="seal|end record"):
            list(reader_writer.open_reader(io.BytesIO(data.replace(a, b))))
    head, rest = data[: len(header("skeleton")) - 9], data[len(header("skeleton")) - 9 :]
    assert xxhash.xxh3_64_intdigest(head) and rest
    for a, b in ((b"holds", b"holes"), (b"\xa6format\x02", b"\xa6format\x01")):
        with pytest.raises(DataError):
            list(reader_writer.open_reader(io.BytesIO(data.replace(a, b, 1))))


# ---- packed bytes -----------------------------------------------------------------------------


def skippable(content: bytes, kind: int = 0) -> bytes:
    return struct.pack("<II", 0x184D2A50 + kind, len(content)) + content


def test_frames_to_be_skipped_are_skipped():
    """RFC 8878, 3.1.2: pzstd and seekable zstd write them."""
    data = io.BytesIO()
    with reader_writer.open_writer(data, "skeleton") as writer:
        writer.write(GOOD["skeleton"])
    whole = data.getvalue()
    cut = whole.index(b"\x28\xb5\x2f\xfd", 4)
    for odd in (skippable(b"x" * 9) + whole, whole[:cut] + skippable(b"", 15) + whole[cut:] + skippable(bytes(MB))):
        assert list(reader_writer.open_reader(io.BytesIO(odd))) == [GOOD["skeleton"]]
    for wrong in (whole + skippable(b"x" * 9)[:-1], whole + b"junk", whole + b"\x28\xb5"):
        with pytest.raises(DataError, match="damaged"):
            list(reader_writer.open_reader(io.BytesIO(wrong)))


@pytest.mark.parametrize("level", [-50, 1, 3, 19])
def test_frames_of_every_making_are_unpacked(level):
    rng = np.random.default_rng(abs(level))
    data = rng.bytes(300_000) + bytes(500_000) + rng.integers(0, 4, 700_000, np.uint8).tobytes()
    for how in ({}, {"write_checksum": True}, {"write_content_size": False}):
        packed = zstandard.ZstdCompressor(level=level, **how).compress(data)
        stream = zstandard.ZstdCompressor(level=level, **how).compressobj()
        streamed = stream.compress(data) + stream.flush()
        for one in (packed, streamed, packed + streamed):
            pieces = list(files.plain_pieces(io.BytesIO(one)))
            assert b"".join(pieces) == data * (2 if len(one) > max(len(packed), len(streamed)) else 1)
            assert max(map(len, pieces)) <= files.PIECE
            assert files.plain_head(one[: len(one) // 2], 9) == data[:9]


@pytest.mark.parametrize("where", [12, -5, -3])
def test_a_damaged_gzip_is_the_streams_own_error(where):
    data = io.BytesIO()
    with reader_writer.open_writer(data, "skeleton") as writer:
        for i in range(99):
            writer.write({**GOOD["skeleton"], "id": i})
    packed = bytearray(gzip.compress(b"".join(files.plain_pieces(io.BytesIO(data.getvalue())))))
    packed[where] ^= 0xFF
    with pytest.raises(DataError, match="gzip"):
        list(reader_writer.open_reader(io.BytesIO(bytes(packed))))
