"""Batches: renaming, scaling, padding, and numbers against the expression's own values."""

from collections import Counter

import numpy as np
import pytest
import torch

from fansr.corpus.prior import Draw, Prior
from fansr.errors import DataError
from fansr.expressions.prefix import rename, sort_commutative, variables
from fansr.expressions.programs import evaluate
from fansr.expressions.tokens import BOS_ID, EOS_ID, PAD_ID, decode, encode
from fansr.network import batches
from fansr.network.column_scaling import scale_exponents, scaled
from fansr.network.configuration import Settings
from fansr.network.skeleton_pool import Pool, compact, read_pool
from fansr.streams import reader_writer
from fansr.streams.seeds import rng_for

EXPRS = [
    ["x3"],
    ["+", "x2", "x7"],
    ["*", "sin", "x1", "x1"],
    ["/", "+", "x1", "x2", "pow2", "x9"],
    ["pow2", "+", "x1", "x5"],
    ["*", "x4", "*", "x4", "exp", "neg", "x2"],
]
SETTINGS = Settings(
    batch=8,
    min_points=4,
    max_points=12,
    columns=9,
    max_length=16,
    scale_columns=False,
    prior=Prior(columns=(Draw("positive", spread=2.0),)),
)


def rows(exprs, width=14):
    out = np.zeros((len(exprs), width), np.uint8)
    for i, expr in enumerate(exprs):
        out[i, : len(expr)] = encode(expr)
    return out


def records(exprs):
    return [{"kind": "skeleton", "id": i, "expr": expr} for i, expr in enumerate(exprs)]


def law_of(tokens) -> list[str]:
    return decode(tokens.tolist())


# ---- renaming


def test_compact_renames_in_order():
    tokens, k = compact(rows(EXPRS))
    for row, n, expr in zip(tokens, k, EXPRS):
        used = variables(expr)
        assert law_of(row) == rename(expr, {j: i for i, j in enumerate(used)}) and n == len(used)


def test_spread_keeps_the_order_and_reaches_every_place():
    tokens, k = compact(rows([["+", "x1", "x2"]] * 500))
    out = batches.spread(tokens, k, 4, rng_for(0, "test"))
    pairs = {tuple(variables(law_of(row))) for row in out}
    assert pairs == {(a, b) for a in range(4) for b in range(a + 1, 4)}
    assert all(law_of(row)[1] < law_of(row)[2] for row in out)


def test_the_sorted_form_survives_renaming():
    for expr in EXPRS:
        expr = sort_commutative(expr)
        tokens, _ = compact(rows([expr]))
        assert sort_commutative(law_of(tokens[0])) == law_of(tokens[0])


def test_pack_moves_columns_and_variables_together():
    X = torch.arange(2 * 3 * 4.0).view(2, 3, 4)
    filled = torch.tensor([[False, True, False, True], [True, False, False, False]])
    ids = torch.tensor(rows([["+", "x2", "x4"], ["x1"]], 3).astype(np.int64))
    packed, tokens, exists = batches.pack(X, ids, filled)
    assert law_of(tokens[0]) == ["+", "x1", "x2"] and law_of(tokens[1]) == ["x1"]
    assert torch.equal(packed[0], X[0][:, [1, 3]]) and torch.equal(packed[1][:, 0], X[1][:, 0])
    assert exists.tolist() == [[True, True], [True, False]]


# ---- batches


def check_values(data: batches.Batch):
    """Every row's target must be its own law at its own points."""
    for i in range(len(data)):
        n = int(data.present[i].sum()) - 1
        X = data.values[i, :, 1 : 1 + n].double().numpy()
        y = evaluate(law_of(data.tokens[i]), np.ascontiguousarray(X), [])
        np.testing.assert_allclose(data.values[i, :, 0].numpy(), y, rtol=1e-3, atol=1e-5)
        assert not data.values[i, :, 1 + n :].any()


@pytest.mark.parametrize("irrelevant", [0.0, 0.4])
def test_a_batch_holds_each_law_and_its_values(irrelevant):
    law = Prior(columns=(Draw("positive", spread=2.0),), irrelevant=irrelevant)
    settings = Settings(**{**SETTINGS.__dict__, "prior": law})
    pool = Pool(settings)
    pool.add(records(EXPRS))
    data = batches.Loader(pool, settings, seed=3).batch(0)
    check_values(data)
    extra = [int(p.sum()) - 1 > len(variables(law_of(t))) for p, t in zip(data.present, data.tokens)]
    assert any(extra) == (irrelevant > 0)


@pytest.mark.parametrize("scale", [False, True])
def test_each_law_may_have_its_own_number_of_points(scale):
    """Against a loop over the laws: padding is 0, what is left are the law's values, scaled by its own points alone."""
    law = Prior(columns=(Draw("positive", spread=15.0),))
    settings = Settings(**{**SETTINGS.__dict__, "prior": law, "points_per": "law", "batch": 64, "max_points": 30})
    pool = Pool(settings)
    pool.add(records(EXPRS))
    plain = batches.Loader(pool, settings, seed=3).batch(0)
    data = batches.Loader(pool, Settings(**{**settings.__dict__, "scale_columns": scale}), seed=3).batch(0)
    numbers = data.valid.sum(1)
    assert len(set(numbers.tolist())) > 10 and numbers.min() >= 4 and numbers.max() <= 30
    assert data.n_points == pytest.approx(float(numbers.double().mean()))
    assert data.values.shape[1] % 8 == 0 and data.values.shape[1] - numbers.max() < 8
    for i, n in enumerate(numbers.tolist()):
        assert data.valid[i, :n].all() and not data.values[i, n:].any()
        check_values(batches.Batch(plain.values[i : i + 1, :n], plain.present[i : i + 1], plain.tokens[i : i + 1]))
        alone = plain.values[i, :n].double().numpy()
        wanted = scaled(alone, scale_exponents(alone)) if scale else alone
        np.testing.assert_array_equal(data.values[i, :n].numpy(), wanted.astype(np.float32))


def test_frame_puts_the_marks_where_they_belong():
    framed = batches.frame(torch.tensor([[5, 6, 0], [5, 6, 7]]))
    assert framed.tolist() == [[BOS_ID, 5, 6, EOS_ID, PAD_ID], [BOS_ID, 5, 6, 7, EOS_ID]]


def test_a_numbered_batch_is_always_the_same_and_numbers_differ():
    pool = Pool(SETTINGS)
    pool.add(records(EXPRS * 20))
    a, b = batches.Loader(pool, SETTINGS, 1), batches.Loader(pool, SETTINGS, 1)
    for number in (0, 40, 3):
        other = b.batch(number)
        assert torch.equal(a.batch(number).values, other.values) and torch.equal(a.batch(number).tokens, other.tokens)
    assert not torch.equal(a.batch(0).values, batches.Loader(pool, SETTINGS, 2).batch(0).values)


def test_mixed_pools_give_their_shares_and_the_others_rows_stay():
    pool, some, more = Pool(SETTINGS), Pool(SETTINGS), Pool(SETTINGS)
    pool.add(records([["+", "x1", "x2"]]))
    some.add(records([["exp", "x1"]]))
    more.add(records([["sin", "x1"], ["cos", "x1"]]))
    settings = Settings(**{**SETTINGS.__dict__, "batch": 64})
    plain = batches.Loader(pool, settings, seed=3)
    mixed = batches.Loader(pool, settings, seed=3, mixed=[(some, 0.25), (more, 0.5)])
    first = Counter(decode([int(row[1])])[0] for number in range(batches.MEGA) for row in mixed.batch(number).tokens)
    n = first.total()
    assert n > 1500  # what cannot be drawn falls out
    for token, share in (("+", 0.25), ("exp", 0.25), ("sin", 0.25), ("cos", 0.25)):
        assert first[token] / n == pytest.approx(share, abs=4 * (share * (1 - share) / n) ** 0.5 + 0.02)
    assert {decode([int(row[1])])[0] for row in plain.batch(0).tokens} == {"+"}


# ---- scaling


def test_only_extraordinary_columns_are_scaled_and_exactly():
    rng = np.random.default_rng(0)
    X = rng.normal(0, 1, (50, 5)) * np.array([1.0, 1e-30, 1e200, 50.0, 0.0])
    powers = scale_exponents(X)
    assert powers[0] == powers[3] == powers[4] == 0
    shown = scaled(X, powers)
    for j in (1, 2):
        assert 0.9 < np.sqrt(np.mean(shown[:, j] ** 2)) < 2.1
    np.testing.assert_array_equal(shown, X / 2.0**powers)
    # In training the same function works on tensors.
    tensor = torch.as_tensor(X)
    assert scale_exponents(tensor, torch).tolist() == powers.tolist()
    np.testing.assert_array_equal(scaled(tensor, scale_exponents(tensor, torch), torch).numpy(), shown)


# ---- pools


def test_what_cannot_be_learned_is_counted_by_reason():
    pool = Pool(Settings(columns=2, max_length=8))
    pool.add(
        records(
            [
                ["x1"],
                ["+", "x1"],
                ["x1", "x1"],
                [],
                ["<constant>"],
                ["foo"],
                ["+", "+", "x1", "x2", "x3"],
                ["neg"] * 7 + ["x1"],
                ["*", "2.5", "x1"],
            ]
        )
        + [{"kind": "skeleton", "id": 9}]
    )
    assert len(pool) == 1
    assert pool.dropped == {
        "no valid prefix expression": 2,
        "no expression": 2,
        "no variable": 1,
        "unknown token": 2,
        "too many columns": 1,
        "too long": 1,
    }


def test_held_out_skeletons_are_never_in_the_pool():
    exprs = [["+", f"x{a}", *["neg"] * b, f"x{c}"] for a in range(1, 8) for b in range(9) for c in range(a + 1, 9)]
    pool = Pool(SETTINGS, hold=0.3)
    pool.add(records(exprs * 3))
    kept, held = ({bytes(row) for row in t} for t in (pool.tokens, pool.held))
    assert kept and held and not kept & held
    again = Pool(SETTINGS, hold=0.3)
    again.add(records(exprs[::-1]))
    assert {bytes(row) for row in again.held} == held


def test_a_full_pool_forgets_the_oldest():
    pool = Pool(SETTINGS, limit=10)
    for i in range(25):
        pool.add(records([["neg"] * (i % 13) + ["x1"]]))
    lengths = sorted((pool.tokens != 0).sum(1).tolist())
    assert len(pool) == 10 and lengths == sorted(i % 13 + 1 for i in range(15, 25))


def test_reading_a_pool_from_a_stream(tmp_path):
    path = tmp_path / "s.zst"
    with reader_writer.open_writer(path, "skeleton", [{"cmd": "test"}]) as writer:
        for record in records(EXPRS):
            writer.write(record)
    pool, history = read_pool([path], SETTINGS)
    assert len(pool) == len(EXPRS) and history[0]["cmd"] == "test"
    with reader_writer.open_writer(path, "skeleton", []) as writer:
        writer.write({"kind": "skeleton", "id": 0, "expr": ["foo"]})
    with pytest.raises(DataError, match="no skeleton to learn from .1 unknown token"):
        read_pool([path], SETTINGS)


def test_outliers_move_few_points_of_some_tables():
    """Counted and measured point by point; the tables without stay bit for bit."""
    rng = np.random.default_rng(0)
    y = torch.as_tensor(rng.normal(3.0, 2.0, (4000, 30)))
    out = batches.with_outliers(y, 0.25, np.random.default_rng(1))
    moved, deviation = (out != y).numpy(), y.numpy().std(1)
    assert 0.22 < moved.any(1).mean() < 0.28
    assert set(moved.sum(1)) == {0, 1, 2, 3}
    r, c = np.nonzero(moved)
    distance = ((out - y).numpy()[r, c]) / deviation[r]
    assert (np.abs(distance) > 0.999).all() and (np.abs(distance) < 10.001).all()
    assert 0.4 < (distance > 0).mean() < 0.6 and 0.4 < (np.abs(distance) < 10**0.5).mean() < 0.6
    assert np.abs(np.bincount(c, minlength=30) / len(c) - 1 / 30).max() < 0.02  # any point as likely


def test_batches_have_outliers_only_where_they_are_asked_for():
    pool = Pool(SETTINGS)
    pool.add(records(EXPRS))
    plain = batches.Loader(pool, SETTINGS, seed=3).batch(0)
    again = batches.Loader(pool, Settings(**{**SETTINGS.__dict__, "outliers": 1.0}), seed=3).batch(0)
    assert torch.equal(plain.tokens, again.tokens) and torch.equal(plain.values[..., 1:], again.values[..., 1:])
    assert ((plain.values[..., 0] != again.values[..., 0]).sum(1) == 1).all()
