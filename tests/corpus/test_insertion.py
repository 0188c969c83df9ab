"""Constants put into forms, and columns of Gaussian mixtures, against closed forms and against the other renderer."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from scipy import stats

from fansr.corpus import draw_kernels, insertion, render, render_torch
from fansr.corpus.prior import Draw, Prior, load
from fansr.expressions import VOCABULARY, from_tree, programs, to_tree
from fansr.streams import reader_writer

MIXTURE = Prior(variables=2, columns=(Draw("mixture", low=-1.0, high=0.477, spread=5.0),))


def decoded(row):
    return [VOCABULARY[i] for i in row if i]


def stripped(tree, below_binary=True):
    """The tree without what was inserted, and (places that could get something, that got a factor, that got a term)."""
    counts = np.zeros(3, int)

    def walk(node, operand):
        if not isinstance(node, tuple):
            counts[0] += 1
            return node
        if node[0] in "*+" and node[1] == "<constant>":
            counts[1 if node[0] == "*" else 2] += 1
            return walk(node[2], operand)
        counts[0] += operand
        return (node[0], *(walk(kid, len(node) == 3) for kid in node[1:]))

    return walk(tree, False), counts


def test_insertions_are_at_their_places_as_often_as_asked():
    exprs = [["+", "sin", "x1", "*", "x2", "neg", "x1"], ["exp", "/", "x1", "x2"], ["x2"]] * 4000
    rows = draw_kernels.to_rows(exprs)
    out = insertion.insert(rows, np.arange(len(rows)), 0.2, seed=4)
    total = np.zeros(3, int)
    for expr, row in zip(exprs, out):
        tree, counts = stripped(to_tree(decoded(row)))
        assert from_tree(tree) == expr
        total += counts
    chance = (total[1] + total[2]) / total[0]
    assert chance == pytest.approx(0.2, abs=4 * np.sqrt(0.16 / total[0]))
    assert total[1] / (total[1] + total[2]) == pytest.approx(0.5, abs=0.02)
    # sin x1: the leaf and, as an operand of +, the sine; exp of a quotient is no operand of a binary operator.
    again = insertion.insert(rows[100:200], np.arange(100, 200), 0.2, seed=4)
    assert (again == out[100:200, : again.shape[1]]).all()
    assert (insertion.insert(rows, np.arange(len(rows)), 0.0)[:, : rows.shape[1]] == rows).all()


def both(n):
    """(rows of tables, M, 2) from the compiled kernels and from torch."""
    rows = draw_kernels.to_rows([["+", "x1", "x2"]] * n)
    one = draw_kernels.draw(MIXTURE, rows, np.arange(n), 64, seed=1)["X"]
    other = render_torch.draw(MIXTURE, rows, np.arange(n), 64, seed=1, device=torch.device("cpu"))["X"].numpy()
    return [X.transpose(0, 2, 1) for X in (one, other)]


def test_a_mixture_has_the_moments_of_its_definition():
    """Mean 0; variance spread^2 + E[d^2]; rows of a table share centres: the mean of a column has the variance of the mixture's."""
    low, high = -1.0, 0.477
    # E[d^2] of d = 10^U(low, high)
    square = (10 ** (2 * high) - 10 ** (2 * low)) / (2 * (high - low) * np.log(10))
    for X in both(6000):
        flat = X.reshape(-1)
        assert flat.mean() == pytest.approx(0.0, abs=0.15)
        assert flat.var() == pytest.approx(25.0 + square, rel=0.05)
        # Two rows have the same part with chance E[sum w^2] = E[2 / (k + 1)], k = 1..5.
        same = np.mean([2 / (k + 1) for k in range(1, 6)])
        products = (X[:, 0, 0] * X[:, 1, 0]).mean()
        assert products == pytest.approx(25.0 * same, rel=0.08)


def test_the_columns_of_a_table_follow_the_same_parts():
    """Where x1 has two far clusters, x2's centre tells them apart too: squares of differences of rows go together."""
    for X in both(4000):
        near = np.abs(X[:, 0] - X[:, 1])  # (n, 2), of two rows
        apart = near > 8.0
        assert (apart[:, 0] & apart[:, 1]).mean() > 1.5 * apart[:, 0].mean() * apart[:, 1].mean()


def test_both_renderers_draw_the_same_distribution():
    one, other = both(6000)
    assert stats.ks_2samp(one[:, 0, 0], other[:, 0, 0]).pvalue > 1e-4
    assert stats.ks_2samp(np.ptp(one[:, :, 1], axis=1), np.ptp(other[:, :, 1], axis=1)).pvalue > 1e-4


def test_the_shipped_prior_draws_whole_numbers_without_zero():
    prior = load("scaling")
    rows = draw_kernels.to_rows([["+", "<constant>", "x1"]] * 3000)
    consts = draw_kernels.draw(prior, rows, np.arange(3000), 8)["consts"][:, 0]
    values, counts = np.unique(consts, return_counts=True)
    assert values.tolist() == [*range(-9, 0), *range(1, 10)]
    assert stats.chisquare(counts).pvalue > 1e-4


def test_a_factor_of_one_is_not_written():
    """Written as infix and in tokens, whatever was drawn; the values are those of the row with its factors of 1."""
    exprs = [["+", "*", "<constant>", "sin", "*", "<constant>", "x1", "+", "<constant>", "x2"]] * 4
    numbers = np.array([[1.0, 3.0, 1.0], [2.0, 1.0, -4.0], [1.0, 1.0, 5.0], [-1.0, 2.0, 1.0]])
    rows, consts = render.without_ones(draw_kernels.to_rows(exprs), np.pad(numbers, ((0, 0), (0, 2))))
    texts = [" ".join(decoded(row)) for row in rows]
    assert texts == [
        "+ sin * <constant> x1 + <constant> x2",
        "+ * <constant> sin x1 + <constant> x2",
        "+ sin x1 + <constant> x2",
        " ".join(exprs[0]),
    ]
    X = np.random.default_rng(0).normal(size=(20, 2))
    for expr, row, before, after in zip(exprs, rows, numbers, consts):
        n = decoded(row).count("<constant>")
        assert (programs.evaluate(decoded(row), X, after[:n]) == programs.evaluate(expr, X, before)).all()
        assert not after[n:].any()


def test_rendered_laws_of_the_scaling_prior_have_no_factor_of_one(tmp_path):
    """Each problem's truth gives its target, and its text no factor of 1."""
    forms, problems = str(tmp_path / "forms.zst"), str(tmp_path / "problems.zst")
    with reader_writer.open_writer(forms, "skeleton", []) as writer:
        for i in range(10):
            writer.write({"kind": "skeleton", "id": i, "expr": ["+", "sin", "x1", "*", "x2", "neg", "x1"]})
    words = ["--prior", "scaling", "--repeats", "30", "--points", "8", "-j", "1", "-q", "-o", problems, forms]
    assert CliRunner().invoke(render.render, words).exit_code == 0
    with reader_writer.open_reader(problems, holds="problem") as reader:
        records = list(reader)
    assert len(records) > 200
    assert sum(1.0 in r["truth"]["consts"].tolist() for r in records) > 3  # terms of 1 stay
    for r in records:
        expr, consts = r["truth"]["expr"], r["truth"]["consts"]
        assert len(consts) == expr.count("<constant>")
        places = [k for k, token in enumerate(expr) if token == "<constant>"]
        assert not any(c == 1.0 and expr[k - 1] == "*" for k, c in zip(places, consts))
        assert not r["truth"]["infix"].startswith("1*")
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(programs.evaluate(expr, r["X"], consts), r["y"], rtol=1e-12)
