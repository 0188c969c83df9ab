"""Streams: round trips, joining, every kind of damage; and fansr-cat on them."""

import gzip
import hashlib
import io
import json
import struct
from pathlib import Path

import msgpack
import numpy as np
import pytest
import zstandard
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.extra import numpy as hnp
from plain_streams import stream_of

from fansr.cli import command
from fansr.cli.cat import cat
from fansr.errors import DataError
from fansr.streams import reader_writer, records

SKELETON = {"kind": "skeleton", "id": 0, "expr": ["+", "x1", "<constant>"]}


def write(path, items, holds="skeleton", dropped=()):
    with reader_writer.open_writer(str(path), holds, [{"cmd": "test"}]) as writer:
        for item in items:
            writer.write(item)
        for reason, n in dropped:
            writer.drop(reason, n)
    return str(path)


def old_stream(items, flip=0) -> bytes:
    """A plain stream of format 1, by hashlib itself; `flip` changes its checksum."""
    packed = [msgpack.packb(item) for item in items]
    sums = [int.from_bytes(hashlib.blake2b(one, digest_size=8).digest(), "little") for one in packed]
    head = {"kind": "header", "format": 1, "holds": "skeleton", "history": [{"cmd": "old"}]}
    tail = {"kind": "end", "n": len(items), "dropped": {}, "checksum": sum(sums) % 2**64 ^ flip}
    return b"".join([msgpack.packb(head), *packed, msgpack.packb(tail)])


def skeletons(n, start=0):
    return [{**SKELETON, "id": start + i} for i in range(n)]


def read(source, **how):
    with reader_writer.open_reader(source, **how) as reader:
        return list(reader)


ARRAYS = hnp.arrays(
    st.sampled_from([np.float64, np.float32, np.int64, np.uint8]), hnp.array_shapes(max_dims=3, max_side=4)
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(0, 2**64 - 1), st.floats(allow_nan=False), st.text(max_size=20), ARRAYS
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)


def same(a, b):
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and a.dtype == b.dtype
            and a.shape == b.shape
            and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        )
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@given(st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_what_is_written_is_read(tmp_path, extras):
    items = [{"kind": "x", **{f"_{k}": v for k, v in extra.items()}} for extra in extras]
    got = read(write(tmp_path / "a.zst", items, holds="x"))
    assert len(got) == len(items) and all(map(same, items, got))


def test_an_array_is_laid_out_as_promised():
    packed = reader_writer.pack({"X": np.array([[1.5, -2.0]])})
    _, ext = next(iter(msgpack.unpackb(packed).items()))
    assert ext.code == 1
    dtype, shape, raw = msgpack.unpackb(ext.data)
    assert (dtype, shape, raw) == ("<f8", [1, 2], struct.pack("<2d", 1.5, -2.0))


def test_any_msgpack_reader_can_read_it(tmp_path):
    path = write(tmp_path / "a.zst", skeletons(3), dropped=[("twin", 2)])
    plain = zstandard.ZstdDecompressor().stream_reader(open(path, "rb"), read_across_frames=True, closefd=True)
    with plain:
        head, *rest, tail = msgpack.Unpacker(io.BytesIO(plain.read()))
    assert head["kind"] == "header" and head["format"] == 2 and head["holds"] == "skeleton"
    assert head["history"] == [{"cmd": "test"}]
    assert rest == skeletons(3)
    assert tail["kind"] == "end" and tail["n"] == 3 and tail["dropped"] == {"twin": 2} and 0 <= tail["checksum"] < 2**64


@given(st.integers(0, 5), st.integers(0, 5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=10)
def test_two_streams_joined_read_as_one(tmp_path, a, b):
    one, two = write(tmp_path / "a", skeletons(a)), write(tmp_path / "b", skeletons(b, a), dropped=[("r", 1)])
    joined = Path(one).read_bytes() + Path(two).read_bytes()
    with reader_writer.open_reader(io.BytesIO(joined)) as reader:
        assert list(reader) == skeletons(a + b)
        assert reader.n == a + b and reader.dropped == {"r": 1}


@given(st.lists(st.integers(0, 7), max_size=4), st.integers(1, 9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)
def test_batches_hold_what_is_read_one_by_one(tmp_path, parts, size):
    """Over parts joined, for any size: the same records, full batches but for the last, bytes and sums as written."""
    items = [{"kind": "skeleton", "id": i, "expr": ["x1"] * (i % 40), "y": np.arange(i)} for i in range(sum(parts))]
    cuts = np.cumsum([0, *parts])
    data = b"".join(Path(write(tmp_path / "a", items[a:b])).read_bytes() for a, b in zip(cuts, cuts[1:])) or (
        Path(write(tmp_path / "a", [])).read_bytes()
    )
    with reader_writer.open_reader(io.BytesIO(data)) as reader:
        batches = list(reader.batches(size))
    assert [len(batch) for batch in batches] == [size] * (len(items) // size) + [len(items) % size] * bool(
        len(items) % size
    )
    assert same([record for batch in batches for record in batch], items)
    assert b"".join(batch.data for batch in batches) == b"".join(map(reader_writer.pack, items))
    assert [int(d) for batch in batches for d in batch.digests] == [
        reader_writer.digest(reader_writer.pack(item)) for item in items
    ]
    assert reader.n == len(items) and reader.checksum == sum(batch.checksum for batch in batches) % 2**64
    for batch in batches:
        odd = list(range(1, len(batch), 2))
        assert batch.chosen(odd) == reader_writer.pack_many(batch.records()[1::2])
        assert same(batch.cut(1, 3).records(), batch.records()[1:3])


@pytest.mark.parametrize("taken", [0, 1, 700, 3000])
@pytest.mark.parametrize("rest", ["records", "batches"])
def test_a_second_loop_goes_on_where_the_first_one_stopped(tmp_path, taken, rest):
    path = write(tmp_path / "a.zst", skeletons(3000))
    with reader_writer.open_reader(path) as reader:
        ids = [record["id"] for record, _ in zip(reader, range(taken))] if taken else []
        more = reader if rest == "records" else (r for batch in reader.batches(64) for r in batch.records())
        ids += [record["id"] for record in more]
        assert reader.n == 3000
    # zip takes one record more than it hands out
    assert sorted(ids) == sorted(set(range(3000)) - ({taken} if 0 < taken < 3000 else set()))


def test_fields_may_stand_in_any_order(tmp_path):
    """A stream another program wrote: kinds last, strings in the long spelling, maps of more than 15 fields."""
    items = [
        {"id": 1, "kind": "odd"},
        {**{f"f{i}": i for i in range(20)}, "kind": "odd"},
        {"kind": "odd", "id": 3},
    ]
    packed = [msgpack.packb(item) for item in items]
    packed.append(b"\x82\xd9\x04kind\xd9\x03odd\xa2id\x04")
    data = stream_of(packed, {"format": 2, "holds": "odd", "kind": "header"})
    assert read(io.BytesIO(data)) == [*items, {"kind": "odd", "id": 4}]
    with pytest.raises(DataError, match="checksum"):
        read(io.BytesIO(data.replace(b"f7\x07", b"f7\x08")))


def test_damage_names_how_many_records_were_good(tmp_path):
    whole = b"".join(map(reader_writer.pack, skeletons(9)))
    header = reader_writer.pack({"kind": "header", "format": 2, "holds": "skeleton"})
    for bad, word in (
        (b"\xc1", "damaged at record 10"),
        (reader_writer.pack({"id": 1}), "no record"),
        (b"\x81\xa4kind", "cut in the middle"),
        (b"", "without its end record"),
    ):
        for how in (list, lambda reader: [record for batch in reader.batches(4) for record in batch]):
            with (
                reader_writer.open_reader(io.BytesIO(header + whole + bad)) as reader,
                pytest.raises(DataError) as said,
            ):
                how(reader)
            assert word in str(said.value) and "9 good records came before" in str(said.value)
    no_text = b"\x82\xa4kind\xa8skeleton\xa4expr\xa1\xff"  # found only when the records are taken apart
    records = [*map(reader_writer.pack, skeletons(9))]
    with pytest.raises(DataError, match="damaged at record 10 .9 good records"):
        read(io.BytesIO(stream_of([*records, no_text, *records])))


def test_format_1_is_read_and_verified(tmp_path):
    """By the hash it was written with; what is passed on of it has the new one."""
    with reader_writer.open_reader(io.BytesIO(old_stream(skeletons(5)))) as reader:
        (batch,) = reader.batches(9)
        assert batch.records() == skeletons(5)
        assert (batch.data, len(batch), batch.checksum) == reader_writer.pack_many(skeletons(5))
    with pytest.raises(DataError, match="checksum"):
        read(io.BytesIO(old_stream(skeletons(5), flip=1)))
    (tmp_path / "old").write_bytes(old_stream(skeletons(5)))
    run("--merge", "-o", str(tmp_path / "new"), str(tmp_path / "old"), write(tmp_path / "b", skeletons(2, 5)))
    assert read(str(tmp_path / "new")) == skeletons(7)


def test_the_checksum_does_not_depend_on_the_order(tmp_path):
    def checksum(items):
        with reader_writer.open_reader(write(tmp_path / "a", items)) as reader:
            list(reader)
            return reader.checksum

    items = skeletons(20)
    assert checksum(items) == checksum(items[::-1]) != checksum(items[:-1])


@pytest.mark.parametrize("pack", [gzip.compress, lambda b: b, zstandard.ZstdCompressor().compress])
def test_compression_is_told_by_content(tmp_path, pack):
    path = write(tmp_path / "a", skeletons(4))
    plain = zstandard.ZstdDecompressor().stream_reader(Path(path).read_bytes(), read_across_frames=True).read()
    (tmp_path / "b").write_bytes(pack(plain))
    assert read(str(tmp_path / "b")) == skeletons(4)


def test_every_cut_is_noticed(tmp_path):
    data = Path(write(tmp_path / "a", skeletons(50))).read_bytes()
    for size in range(len(data)):
        with pytest.raises(DataError):
            read(io.BytesIO(data[:size]))


def test_every_flipped_byte_is_noticed(tmp_path):
    """Of the file as it is, by zstd's frame checksums, and of the plain stream inside, header and end record included."""
    path = write(tmp_path / "a", skeletons(3))
    packed = Path(path).read_bytes()
    plain = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True).read()
    assert read(io.BytesIO(plain)) == skeletons(3)
    for data in (packed, plain):
        for i in range(len(data)):
            for flip in (0x01, 0x15, 0x80):
                damaged = bytearray(data)
                damaged[i] ^= flip
                with pytest.raises(DataError):
                    read(io.BytesIO(bytes(damaged)))


@pytest.mark.parametrize(
    "data, word",
    [
        (b"", "empty"),
        (b"hello world, this is text", "not a fansr stream"),
        (bytes(range(256)) * 9, "not a fansr stream"),
        (msgpack.packb({"kind": "skeleton"}), "header"),
        (b"\x28\xb5\x2f\xfd" + b"junk" * 9, "damaged"),
        (b"\x1f\x8b" + b"junk" * 9, "damaged"),
        (msgpack.packb({"kind": "header", "format": 99}), "format 99"),
    ],
)
def test_other_bytes_are_named(data, word):
    with pytest.raises(DataError, match=word):
        read(io.BytesIO(data))


def test_wrong_places(tmp_path):
    with pytest.raises(DataError, match="directory"):
        read(str(tmp_path))
    with pytest.raises(DataError, match="no such file"):
        read(str(tmp_path / "none"))
    with pytest.raises(DataError, match="holds skeleton records, wanted problem"):
        read(write(tmp_path / "a", skeletons(1)), holds="problem")


def test_an_error_leaves_no_file_and_an_interrupt_a_whole_one(tmp_path):
    for error, left in ((ValueError, []), (KeyboardInterrupt, ["a.zst"])):
        with pytest.raises(error), reader_writer.open_writer(str(tmp_path / "a.zst"), "skeleton") as writer:
            writer.write(SKELETON)
            raise error
        assert [p.name for p in tmp_path.iterdir()] == left
    assert read(str(tmp_path / "a.zst")) == [SKELETON]


def test_a_killed_writer_resumes_after_its_last_flush(tmp_path):
    target = str(tmp_path / "a.zst")
    writer = reader_writer.open_writer(target, "skeleton", [{"cmd": "test"}])
    for item in skeletons(5):
        writer.write(item)
    writer.consumed, writer.dropped["odd"] = 7, 2
    writer.flush()
    writer.write({**SKELETON, "id": 99})  # never flushed: lost with the process
    writer._out.flush()
    with open(target + ".part", "ab") as torn:
        torn.write(b"half a frame")
    writer._out.close()  # the process dies: its lock goes
    with reader_writer.open_writer(target, "skeleton", [{"cmd": "test"}], resume=True) as again:
        assert again.resumed and (again.n, again.consumed, again.dropped["odd"]) == (5, 7, 2)
        again.write({**SKELETON, "id": 5})
    assert read(target) == skeletons(6)


@pytest.mark.parametrize("size", [3000, 1 << 16, (1 << 20) + 5])
def test_what_a_killed_run_goes_on_from_is_told_together(tmp_path, size):
    """After any chunk the file's state accounts for the same records, drops and inputs: a kill there repeats and loses nothing.

    A chunk here is 100 inputs, of which one is dropped and the other 99 are one record; chunks of every size fill frames.
    """
    seen = []

    def items(done):
        for i in range(done // 100, 90):
            state = tmp_path / "a.zst.part.state"
            seen.append(json.loads(state.read_text()) if state.exists() else {})
            yield i

    def made(i):
        return (
            *reader_writer.pack_many([{**SKELETON, "id": i, "filler": np.random.default_rng(i).bytes(size)}]),
            {"odd": 1},
            100,
        )

    command.write_stream(str(tmp_path / "a.zst"), items, made, holds="skeleton", history=[], jobs=1, quiet=True)
    assert size < 1 << 16 or len({state.get("bytes") for state in seen}) > 1  # frames were written on the way
    for state in seen[1:]:
        n = state["n"]
        assert state["consumed"] == 100 * n and state["dropped"].get("odd", 0) == n
    assert [record["id"] for record in read(str(tmp_path / "a.zst"))] == list(range(90))


@pytest.mark.parametrize(
    "record, word",
    [
        ({"kind": "fit"}, "kind 'fit', wanted 'problem'"),
        ({"kind": "problem", "id": -1}, "id is -1"),
        ({"kind": "problem", "id": 1}, "without X"),
        (
            {"kind": "problem", "id": 41, "X": np.zeros((512, 2)), "y": np.zeros(511), "names": ["a", "b"]},
            "512 rows but y has 511",
        ),
        (
            {"kind": "problem", "id": 1, "X": np.zeros((5, 2)), "y": np.zeros(5), "names": ["a"]},
            "1 names for 2 columns",
        ),
        ({"kind": "problem", "id": 1, "X": [1, 2], "y": np.zeros(5), "names": ["a"]}, "X is .* wanted a float64 array"),
    ],
)
def test_records_are_checked(record, word):
    with pytest.raises(DataError, match=word):
        records.check(record, "problem")


# ---- fansr-cat --------------------------------------------------------------------------------


def run(*argv, input=None):
    return CliRunner().invoke(cat, list(argv), input=input, standalone_mode=False, catch_exceptions=False).stdout


def test_cat_json_is_one_object_a_line(tmp_path):
    path = write(
        tmp_path / "a",
        [{"kind": "odd", "id": 1, "y": np.array([1.0, np.nan])}],
        holds="odd",
        dropped=[("r", 1)],
    )
    head, record, tail = map(json.loads, run(path).splitlines())
    assert head["kind"] == "header" and record == {"kind": "odd", "id": 1, "y": [1.0, "nan"]}
    assert tail["kind"] == "end" and tail["n"] == 1 and tail["dropped"] == {"r": 1}


def test_cat_forms(tmp_path):
    path = write(tmp_path / "a", skeletons(3))
    assert run("--count", path, path).strip() == "6"
    assert run("--infix", "--head", "2", path).splitlines() == ["x1 + C"] * 2
    assert run("--tsv", path).splitlines()[:2] == ["kind\tid\texpr", "skeleton\t0\t+ x1 <constant>"]
    assert "ok, 3 skeleton records" in run("--check", path)


def test_cat_merge_adds_up(tmp_path):
    one = write(tmp_path / "a", skeletons(3), dropped=[("r", 1)])
    two = write(tmp_path / "b", skeletons(2, 3), dropped=[("r", 2), ("s", 1)])
    run("--merge", "-o", str(tmp_path / "c"), one, two)
    with reader_writer.open_reader(str(tmp_path / "c")) as reader:
        assert list(reader) == skeletons(5) and reader.dropped == {"r": 3, "s": 1}


def test_what_does_not_shrink_is_hardly_compressed(tmp_path):
    rng = np.random.default_rng(0)
    for name, make, level in (
        ("random", lambda: rng.normal(size=500), reader_writer.FAST),
        ("whole", lambda: rng.integers(0, 9, 500).astype(float), reader_writer.LEVEL),
    ):
        arrays = [make() for _ in range(40)]
        with reader_writer.open_writer(tmp_path / name, "odd", []) as writer:
            for i, y in enumerate(arrays):
                writer.write({"kind": "odd", "id": i, "y": y})
            assert writer._level(writer._buffer) == level
        with reader_writer.open_reader(tmp_path / name) as reader:
            assert all((record["y"] == y).all() for record, y in zip(reader, arrays, strict=True))
    assert (tmp_path / "whole").stat().st_size < 0.2 * (tmp_path / "random").stat().st_size
