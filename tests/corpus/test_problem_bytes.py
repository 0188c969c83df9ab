"""Problem records laid out by compiled code against msgpack; rows against the ordinary ways."""

import io

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from fansr.corpus import draw_kernels, gen, render, skeleton_rows
from fansr.corpus.prior import Prior, Skeletons, load
from fansr.errors import DataError
from fansr.expressions import prefix, to_infix
from fansr.expressions.tokens import CONSTANT, OPERATORS, VARIABLES
from fansr.streams import packing, reader_writer


def batch_of(records) -> packing.Batch:
    """A Batch as a Reader makes it."""
    data = [reader_writer.pack(record) for record in records]
    ends = np.cumsum([len(d) for d in data])
    return packing.Batch("test", 0, b"".join(data), ends, packing.digests(b"".join(data), ends))


def skeletons(n, seed=0, **shape):
    exprs = gen.sample_skeletons(Prior(skeletons=(Skeletons(**shape),)), range(n), seed)
    return [
        {"kind": "skeleton", "id": (i * 7919) ** (1 + i % 4) % 2**60, "expr": e, "raw_len": 3}
        for i, e in enumerate(exprs)
    ]


# ---- problems ---------------------------------------------------------------------------------


def record_of(skeleton, repeat, id, m, val, b, drawn):
    """A problem record field by field, from what bulk.draw gave for its row b: what lay must give as msgpack."""
    filled = drawn["filled"][b].tolist()
    columns = [j for j, kind in enumerate(filled) if kind]
    names = list(VARIABLES[: len(columns)])
    words = dict(zip([VARIABLES[j] for j in columns], names))
    form = [words.get(token, token) for token in skeleton["expr"]]
    consts = drawn["consts"][b, : prefix.n_constants(form)]
    total = 2 * m if val else m
    X, y = np.ascontiguousarray(drawn["X"][b][columns, :total].T), drawn["y"][b, :total]
    record = {"kind": "problem", "id": id, "X": X[:m], "y": y[:m]}
    if val:
        record |= {"X_val": X[m:], "y_val": y[m:]}
    return record | {
        "names": names,
        "target": "y",
        "noise": float(drawn["noise"][b]),
        "truth": {"expr": form, "consts": consts, "infix": to_infix(form, consts.tolist(), names)},
        "source": f"skeleton {skeleton['id']}",
        "repeat": repeat,
        "dummies": filled.count(2),
    }


@pytest.mark.parametrize(
    ("prior", "how", "shape"),
    [
        ("prior", {"points": 1}, {"constant": 9.0, "max_ops": 5}),
        ("prior", {"points": 3, "val": True, "noise": 0.1, "dummies": 17}, {}),
        ("prior", {"points": 300, "repeats": 3}, {"constant": 2.0}),
        ("prior-wide", {"points": 33, "val": True, "repeats": 2}, {"constant": 4.0, "max_ops": 9}),
        ("prior-wide", {"seed": 5}, {}),
    ],
)
def test_problems_are_what_msgpack_makes_of_their_fields(prior, how, shape):
    records, s, law = skeletons(150, **shape), render.Settings(**how), load(prior)
    stage = render.SkeletonRenderer(law, s)
    data, n, checksum, dropped = stage(batch_of(records))
    tokens, sources = skeleton_rows.rows_of(records)[0], [record["id"] for record in records]
    tokens = np.repeat(tokens, s.repeats, axis=0)
    ids = np.array([source * s.repeats + r for source in sources for r in range(s.repeats)], dtype=np.uint64)
    fit = stage._points(ids)
    drawn = draw_kernels.draw(
        law, tokens, ids, fit * 2 if s.val else fit, s.seed, fit=fit, noise=s.noise, dummies=s.dummies
    )
    good = np.flatnonzero(drawn["status"] >= 0)
    wanted = [
        record_of(records[b // s.repeats], int(b % s.repeats), int(ids[b]), int(fit[b]), s.val, b, drawn) for b in good
    ]
    assert bytes(data) == b"".join(map(reader_writer.pack, wanted))
    assert (n, checksum) == packing.pack_many(wanted)[1:]
    assert n > 50 and n + sum(dropped.values()) == len(ids)


def test_the_next_call_writes_over_what_the_last_gave():
    """So that a stage that keeps the bytes must copy them, as command.filter_stream does for another process."""
    stage = render.SkeletonRenderer(Prior(), render.Settings(points=8))
    records = skeletons(200)
    first = stage(batch_of(records[:100]))
    kept, copy = first[0], bytes(first[0])
    stage(batch_of(records[100:]))
    assert bytes(kept) != copy
    assert bytes(stage(batch_of(records[:100]))[0]) == copy


# ---- rows -------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**64 - 1),
        st.floats(allow_nan=False),
        st.text(max_size=300),
        st.binary(max_size=40),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=20), st.dictionaries(st.text(max_size=5), inner, max_size=17)),
    max_leaves=20,
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.dictionaries(st.text(max_size=9), VALUES, max_size=5), min_size=1, max_size=6),
    st.integers(0, 2**64 - 1),
    st.randoms(),
)
def test_rows_read_from_bytes_are_those_of_the_records(extras, id, random):
    """Whatever other fields stand between id and expr."""
    records = []
    for extra, skeleton in zip(extras, skeletons(len(extras))):
        fields = list({**extra, "kind": "skeleton", "id": id, "expr": skeleton["expr"], "y": np.arange(3.0)}.items())
        random.shuffle(fields)
        records.append(dict(fields))
    tokens, usable, ids = skeleton_rows.of_batch(batch_of(records))
    wanted, good = skeleton_rows.rows_of(records)
    assert np.array_equal(tokens, wanted) and usable.all() and good.all()
    assert ids.tolist() == [id] * len(records)
    ends = batch_of(records).ends
    data = np.frombuffer(batch_of(records).data, np.uint8)
    for start, end in zip([0, *ends], ends):
        assert skeleton_rows.skip(data, start, end) == end


def test_a_vocabulary_word_is_known_and_nothing_else():
    words = [*VARIABLES, CONSTANT, *(row.token for row in OPERATORS)]
    odd = [
        "",
        "x0",
        "x18",
        "<pad>",
        "<bos>",
        "<eos>",
        "<constan",
        "<constant",
        "<constant>>",
        "sinn",
        "si",
        "pow1_6",
        "x1\0",
        "+\0",
    ]
    for word in words + odd:
        data = np.frombuffer(b"--" + word.encode() + b"--", np.uint8)
        found = skeleton_rows.word_id(data, 2, len(word))
        assert found == (draw_kernels.to_rows([[word]])[0, 0] if word in words else 0), word


def test_what_the_fast_way_does_not_know_is_left_to_the_slow_one():
    odd = [["x1"] * 3, ["+", "x1", "2.5"], ["x18"], ["sin"] * 100 + ["x1"]]
    records = [{"kind": "skeleton", "id": i, "expr": e} for i, e in enumerate([["sin", "x2"], *odd[1:]])]
    tokens, usable, ids = skeleton_rows.of_batch(batch_of(records))
    assert usable.tolist() == [True, False, False, True] and ids[3] == 3
    assert (tokens[3] != 0).sum() == 101
    for record, said in (
        ({"expr": odd[0], "id": 7}, "record 7: 2 tokens too many"),
        ({"expr": [], "id": 1}, "empty"),
        ({"id": 1}, "no expr"),
        ({"expr": ["x1"], "id": -4}, "id -4"),
        ({"expr": ["x1"]}, "id None"),
        ({"expr": "x1", "id": 1}, "no expr"),
    ):
        with pytest.raises(DataError, match=said):
            skeleton_rows.of_batch(batch_of([{"kind": "skeleton", **record}]))


def test_bytes_of_another_writer():
    """Strings in the long spelling, arrays of 16-bit length: read the ordinary way, with the same result."""
    data = b"\x83\xa4kind\xa8skeleton\xa2id\xcd\x00\x05\xa4expr\xdd\x00\x00\x00\x02\xd9\x03sin\xa2x3"
    assert next(msgpack.Unpacker(io.BytesIO(data)))["id"] == 5
    batch = packing.Batch("test", 0, data, np.array([len(data)]), np.array([reader_writer.digest(data)], np.uint64))
    tokens, usable, ids = skeleton_rows.of_batch(batch)
    assert gen.to_exprs(tokens) == [["sin", "x3"]] and usable.all() and ids.tolist() == [5]
