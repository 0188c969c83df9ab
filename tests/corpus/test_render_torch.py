"""The batched draw against programs.py, against the CPU kernels' distributions, and against itself."""

import numpy as np
import pytest
import torch
from scipy import stats

from fansr.corpus import draw_kernels, gen, render_torch
from fansr.corpus.prior import Draw, Prior, from_dict, load
from fansr.expressions import prefix
from fansr.expressions.programs import evaluate
from fansr.expressions.tokens import OPERATORS

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("device", DEVICES)
def test_values_are_those_of_evaluate(device):
    """Every operator and random trees, at points of every sign and size, without protection."""
    rng = np.random.default_rng(0)
    exprs = [[row.token, "x1", "x2"][: 1 + row.arity] for row in OPERATORS]
    exprs += [["pow", "x1", "<constant>"], ["<constant>"], ["x17"], *gen.sample_skeletons(Prior(), range(300))]
    X = rng.normal(0, 3, (len(exprs), 17, 40))
    consts = rng.normal(0, 3, (len(exprs), 20))
    program = render_torch.Program(draw_kernels.to_rows(exprs), device)
    y = program.values(torch.from_numpy(X).to(device), torch.from_numpy(consts).to(device)).cpu().numpy()
    for i, expression in enumerate(exprs):
        wanted = evaluate(expression, np.ascontiguousarray(X[i].T), consts[i, : prefix.n_constants(expression)])
        # Rounding grows through poles and powers: nearly all points agree closely, and NaN stays NaN.
        same = np.isclose(y[i], wanted, rtol=1e-6, atol=1e-9, equal_nan=True)
        assert same.mean() > (0.99 if i < len(OPERATORS) else 0.85), (expression, y[i][~same], wanted[~same])


def test_groups_hold_every_node_once_and_operands_first():
    rows = gen.sample_tokens(Prior(), np.arange(200))
    plan = draw_kernels.plan(rows)
    assert sum(stop - start for _, start, stop in plan.groups) == (rows != 0).sum() == len(plan.row)
    for opcode, start, stop in plan.groups:
        if opcode < len(OPERATORS):
            assert (plan.first[start:stop] < start).all()
            if OPERATORS[opcode].arity == 2:
                assert (plan.second[start:stop] < start).all()
    assert sorted(np.bincount(plan.row)) == sorted((rows != 0).sum(axis=1))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("engine", ["torch", "numba"])
def test_a_batch_is_what_it_says(device, engine):
    if engine == "numba" and device != "cpu":
        pytest.skip("the compiled kernels run on the CPU only")
    prior = Prior()
    exprs = gen.sample_skeletons(prior, range(300), seed=3)
    tokens = torch.from_numpy(draw_kernels.to_rows(exprs).astype(np.int64))
    batch, again, other = (
        render_torch.render_batch(tokens, 50, prior, torch.Generator(device).manual_seed(seed), engine=engine)
        for seed in (1, 1, 2)
    )
    assert batch.X.shape == (300, 50, 17) and batch.X.dtype == batch.y.dtype == torch.float32
    assert all(torch.equal(a, b) for a, b in zip(batch, again))  # bit for bit
    assert not torch.equal(batch.X, other.X)
    assert 0.35 < batch.ok.float().mean() < 0.6
    assert torch.isfinite(batch.y).all() and torch.isfinite(batch.X).all()
    assert (batch.X[~batch.ok] == 0).all() and (batch.y[~batch.ok] == 0).all()
    close = []
    for i in torch.nonzero(batch.ok)[:, 0].tolist():
        columns = torch.nonzero((batch.X[i] != 0).any(0))[:, 0].tolist()
        assert set(columns) <= set(prefix.variables(exprs[i]))
        consts = batch.consts[i, : prefix.n_constants(exprs[i])].cpu().numpy()
        y = evaluate(exprs[i], batch.X[i].double().cpu().numpy(), consts)
        close.append(np.isclose(y, batch.y[i].cpu().numpy(), rtol=1e-3, atol=1e-6).mean())
    assert np.mean(close) > 0.9  # X is rounded to float32 after y was computed


@pytest.mark.parametrize("name", ["prior", "prior-wide"])
def test_same_distribution_as_the_kernels(name):
    prior = load(name)
    rows = gen.sample_tokens(prior, np.arange(1500), seed=6)
    slow = draw_kernels.draw(prior, rows, np.arange(1500), 24)
    fast = {k: v.numpy() for k, v in render_torch.draw(prior, rows, np.arange(1500), 24, seed=1, device="cpu").items()}
    ok, ok_fast = slow["status"] >= 0, fast["status"] >= 0
    assert stats.fisher_exact([[ok.sum(), (~ok).sum()], [ok_fast.sum(), (~ok_fast).sum()]]).pvalue > 1e-3
    # Rows that are always accepted or never, leave chance to the others only: compare whole marginals.
    for value in (
        lambda d, rows: d["y"][rows][:, 0],
        lambda d, rows: np.ptp(d["y"][rows], axis=1),
        lambda d, rows: np.abs(d["X"][rows]).max(axis=(1, 2)),
        lambda d, rows: (d["filled"][rows] == 2).sum(axis=1),
    ):
        assert stats.ks_2samp(value(slow, ok), value(fast, ok_fast)).pvalue > 1e-3


@pytest.mark.parametrize(
    "draw",
    [
        Draw("normal", low=1.0, spread=0.5),
        Draw("log", low=-4, high=4, negative=0.3),
        Draw("integer", low=1, high=10, negative=0.2),
        Draw("fraction", high=8, negative=0.2),
        Draw("uniform", low=1.0, high=5.0, negative=0.2),
    ],
)
def test_constants_kind_by_kind(draw):
    prior = Prior(constants=(draw,))
    rows = draw_kernels.to_rows([["<constant>"]] * 4000)
    slow = draw_kernels.draw(prior, rows, np.arange(4000), 1)["consts"][:, 0]
    fast = render_torch.draw(prior, rows, np.arange(4000), 1, seed=2, device="cpu")["consts"][:, 0].numpy()
    assert stats.ks_2samp(slow, fast).pvalue > 1e-3


@pytest.mark.parametrize("device", DEVICES)
def test_constants_of_the_ablation_are_uniform_on_1_to_5(device):
    prior = from_dict({"constants": [{"kind": "uniform", "low": 1.0, "high": 5.0}]})
    rows = draw_kernels.to_rows([["<constant>"]] * 4000)
    for drawn in (
        draw_kernels.draw(prior, rows, np.arange(4000), 1),
        render_torch.draw(prior, rows, np.arange(4000), 1, seed=2, device=device),
    ):
        consts = np.asarray(drawn["consts"][:, 0])
        assert consts.min() >= 1.0 and consts.max() <= 5.0
        assert stats.kstest(consts, stats.uniform(1.0, 4.0).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    "draw",
    [
        Draw("edges", spread=10.0),
        Draw("positive", spread=10.0, negative=0.2),
        Draw("log", low=-3, high=3, spread=4.0),
        Draw("scaled", low=-3, high=3, spread=1.0),
        Draw("integer", low=-2, high=5),
    ],
)
def test_columns_kind_by_kind(draw):
    prior = Prior(columns=(draw,))
    rows = draw_kernels.to_rows([["x3"]] * 4000)
    slow = draw_kernels.draw(prior, rows, np.arange(4000), 12)["X"][:, 2]
    fast = render_torch.draw(prior, rows, np.arange(4000), 12, seed=2, device="cpu")["X"][:, 2].numpy()
    for value in (lambda x: x[:, 0], lambda x: x[:, 11] - x[:, 0], lambda x: np.ptp(x, axis=1)):
        assert stats.ks_2samp(value(slow), value(fast)).pvalue > 1e-3


def test_noise_is_on_y_only_and_as_strong_as_it_says():
    prior = Prior(noisy=1.0, noise_low=0.1, noise_high=0.1)
    rows = draw_kernels.to_rows([["x1"]] * 300)
    drawn = render_torch.draw(prior, rows, np.arange(300), 200, seed=5, device="cpu")
    clean, y = drawn["X"][:, 0], drawn["y"]
    share = (y - clean).std(dim=1, correction=0) / clean.std(dim=1, correction=0)
    assert share.mean().item() == pytest.approx(0.1, rel=0.02)


def test_broken_rows_are_named():
    with pytest.raises(ValueError, match="row 1 of tokens"):
        render_torch.render_batch(np.array([[4, 0], [21, 4]]), 5, Prior(), torch.Generator())


def test_one_point_and_no_constants():
    batch = render_torch.render_batch(
        draw_kernels.to_rows([["x1"], ["x2"]]), 1, Prior(), torch.Generator().manual_seed(0), engine="torch"
    )
    assert batch.ok.all() and batch.y.shape == (2, 1) and torch.equal(batch.y[0, 0], batch.X[0, 0, 0])
