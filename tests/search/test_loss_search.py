"""Searches under losses other than squares: laws whose truth is known, and what is told of them."""

import json
import math

import numpy as np
import pytest

from fansr.evaluation import printed_report, result
from fansr.expressions import to_infix
from fansr.fitting import Candidate, Problem
from fansr.search import loss_search, outliers, saved_law, turns

PROPOSERS = ("power", "sums")


def found(X, y, loss, **more):
    problem = Problem(np.ascontiguousarray(X), y, [f"x{j + 1}" for j in range(X.shape[1])], **more)
    options = turns.Options(loss=loss, proposers=PROPOSERS, samples=0)
    answer = outliers.find(problem, options)
    return answer, problem, options


def columns(seed=0, M=120):
    rng = np.random.default_rng(seed)
    return rng, rng.uniform(0.5, 4, (M, 2))


@pytest.mark.parametrize("loss", ["absolute", "huber"])
def test_far_rows_hide_no_law(loss):
    rng, X = columns(1)
    y = 2 * X[:, 0] ** 1.5 + rng.normal(0, 0.02, len(X))
    far = rng.random(len(X)) < 0.2
    y[far] += rng.choice([-1, 1], far.sum()) * rng.exponential(20, far.sum())
    answer, problem, _ = found(X, y, loss)
    truth = 2 * X[:, 0] ** 1.5
    f = result.predict(answer.best, X)
    assert np.abs(f - truth).max() < 0.05
    assert "x2" not in answer.best.expr
    assert (
        answer.best.fvu == pytest.approx(answer.loss.share(answer.best))
        and answer.loss.told(answer.best)["name"] == loss
    )


def test_counts_and_classes_are_found_and_told_of(tmp_path):
    rng, X = columns(2, 200)
    answer, problem, options = found(X, rng.poisson(3 + X[:, 0] * X[:, 1]).astype(float), "poisson")
    assert np.corrcoef(result.predict(answer.best, X), 3 + X[:, 0] * X[:, 1])[0, 1] > 0.97
    rng, X = columns(7, 600)
    p = 1 / (1 + np.exp(-(2 * X[:, 0] - 3 * X[:, 1] + 2)))
    hits = (rng.random(len(X)) < p).astype(float)
    answer, problem, options = found(X, hits, "binomial")
    assert answer.best.expr[0] == "logistic" and all(c.expr[0] == "logistic" for c in answer.front)
    assert np.abs(result.predict(answer.best, X) - p).mean() < 0.06
    judged = result.judged(answer, problem, options)
    assert judged.verdict == "noise" and "AUC" in judged.text and judged.remarks[0]["code"] == "loss"
    numbers = result.result_dict(answer, problem, options, judgement=judged)
    assert set(numbers["loss"]) == {"name", "mean", "share", "accuracy", "auc", "log_loss"}
    json.dumps(numbers, allow_nan=False)
    assert "accuracy" in printed_report.report(answer, problem, options, judged)
    law = saved_law.of(answer, problem, options, judged)
    saved_law.save(law, tmp_path / "law.json")
    law = saved_law.load(tmp_path / "law.json")
    low, high = law.bands(X, 0.95, of=law.band)
    assert law.band == "mean" and (low >= 0).all() and (high <= 1).all() and (low <= law.predict(X)).all()
    assert 0.5 < ((low <= p) & (p <= high)).mean()
    with pytest.raises(ValueError, match="0 or 1"):
        law.bands(X)
    # A law that was handed out begins the next search without its link.
    again = loss_search.unlinked([answer.best], "binomial")
    assert again[0].expr == answer.best.expr[1:]


def test_noise_is_told_no_law():
    rng, X = columns(3, 80)
    for loss, y in (("binomial", (rng.random(80) < 0.4).astype(float)), ("absolute", rng.standard_t(1.5, 80))):
        answer, problem, options = found(X, y, loss)
        assert result.judged(answer, problem, options).verdict == "no law"


def test_a_law_that_misses_a_shape_is_rough():
    rng, X = columns(4, 300)
    y = rng.poisson(20 + 15 * np.sin(3 * X[:, 0])).astype(float)
    problem = Problem(X, y, ["a", "b"])
    line = Candidate(["+", "*", "<constant>", "x1", "<constant>"], np.array([0.0, y.mean()]), 1.0)
    outcome = loss_search.conclude(line, [], problem, "poisson")
    from fansr.search import loss_verdict

    outcome.fvu = 1e-3  # as though chance were out of the question
    judged = loss_verdict.judge(outcome, problem, line, np.ones(2))
    assert judged.verdict == "rough" and "dispersion" in [remark["code"] for remark in judged.remarks]


def test_intervals_have_a_loss_of_their_own():
    rng, X = columns(5, 150)
    t = 4 * np.sqrt(X[:, 0]) - X[:, 1] + rng.normal(0, 0.1, 150)
    ends = np.column_stack([np.floor(2 * t) / 2, np.floor(2 * t) / 2 + 0.5])
    ends[::10, 1] = math.inf
    answer, problem, options = found(X, ends[:, 0] + 0.25, "auto", ends=ends)
    assert np.abs(result.predict(answer.best, X) - (4 * np.sqrt(X[:, 0]) - X[:, 1])).max() < 0.2
    assert answer.loss.told(answer.best)["noise"] == pytest.approx(0.1, abs=0.05)
    with pytest.raises(ValueError, match="loss of their own"):
        loss_search.check(problem, "huber")


def test_what_does_not_go_together_is_said():
    X = np.arange(6.0)[:, None]
    stated = Problem(X, np.arange(1.0, 7), ["t"], "n", weights=np.ones(6), known=True)
    with pytest.raises(ValueError, match="leave --sigma out"):
        loss_search.check(stated, "poisson")
    with pytest.raises(ValueError, match="--robust"):
        loss_search.check(Problem(X, np.arange(6.0), ["t"]), "huber", robust=True)
    with pytest.raises(ValueError, match="the target n holds 0.5, wanted the classes"):
        loss_search.check(Problem(X, np.full(6, 0.5), ["t"], "n"), "binomial")
    loss_search.check(stated, "absolute")


def test_the_law_of_the_middle_says_so_in_words():
    answer, _, _ = found(*_heavy(), "absolute")
    assert to_infix(answer.best.expr, answer.best.consts, ["a", "b"]) == "b + 2*a**1.5"


def _heavy():
    rng, X = columns(6, 200)
    return X, 2 * X[:, 0] ** 1.5 + X[:, 1] + 0.05 * rng.standard_t(1.5, 200)
