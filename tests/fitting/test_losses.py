"""losses.py and loss_refiner.py against scikit-learn, scipy's minimisers and plain differences."""

import math
import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm, poisson

from fansr.fitting import LossRefiner, losses
from fansr.fitting.losses import parse
from fansr.search import selection

C = "<constant>"
LINE = ["+", "+", "*", C, "x1", "*", C, "x2", C]
EXPONENTIAL = ["exp", *LINE]


def table(seed=0, M=150):
    rng = np.random.default_rng(seed)
    return rng, rng.uniform(0, 3, (M, 2))


def fitted(name, X, y, start=(1.0, 0.0, 1.0), expr=LINE, weights=None, ends=None):
    """(aim, fitter, constants) of a law fitted until its own width of noise is the one it is judged by."""
    kind = losses.INTERVALS if ends is not None else parse(name)
    aim = kind.of(y, weights, False, ends)
    fitter, consts = LossRefiner(X, aim), np.array(start)
    for _ in range(6):
        _, consts = fitter.polish(expr, consts)
        aim.refer(fitter.values(expr, consts))
    return aim, fitter, consts


@pytest.mark.parametrize("q", [0.5, 0.9, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_quantiles_are_those_of_scikit_learn(q, weighted):
    from sklearn.linear_model import QuantileRegressor

    rng, X = table(1)
    y = X @ [1.5, -2.0] + 4 + rng.standard_t(2, len(X))
    w = rng.uniform(0.2, 3, len(X)) if weighted else None
    known = QuantileRegressor(quantile=q, alpha=0, solver="highs").fit(X, y, w)
    _, _, consts = fitted(f"quantile:{q}", X, y, weights=w)
    assert consts == pytest.approx([*known.coef_, known.intercept_], abs=1e-6)
    if q == 0.5:
        assert fitted("absolute", X, y, weights=w)[2] == pytest.approx(consts, abs=1e-6)


def test_huber_is_scikit_learns_at_its_limit():
    from sklearn.linear_model import HuberRegressor

    rng, X = table(2)
    y = X @ [1.5, -2.0] + 4 + rng.standard_t(1.5, len(X))
    known = HuberRegressor(epsilon=1.35, alpha=0, tol=1e-10, max_iter=2000).fit(X, y)
    aim = parse("huber").of(y)
    aim.limit = (
        1.35 * known.scale_
    )  # there the width is fitted with the law; here it is the robust one of the residuals
    aim.whole = aim.loss(np.full(len(y), aim.constant))
    aim.worst = aim.nats(aim.whole)
    _, consts = LossRefiner(X, aim).polish(LINE, np.array([1.0, 0.0, 0.0]))
    assert consts == pytest.approx([*known.coef_, known.intercept_], abs=1e-4)


def test_counts_and_classes_are_those_of_scikit_learn():
    from sklearn.linear_model import LogisticRegression, PoissonRegressor
    from sklearn.metrics import log_loss, roc_auc_score

    rng, X = table(3)
    counts = rng.poisson(np.exp(X @ [0.5, -0.2] + 0.3)).astype(float)
    w = rng.uniform(0.5, 2, len(X))
    known = PoissonRegressor(alpha=0, tol=1e-10, max_iter=1000).fit(X, counts, w)
    _, _, consts = fitted("poisson", X, counts, (0.1, 0.0, 0.0), EXPONENTIAL, w)
    assert consts == pytest.approx([*known.coef_, known.intercept_], abs=1e-5)
    classes = (rng.random(len(X)) < 1 / (1 + np.exp(1 - X @ [2.0, -1.0]))).astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = LogisticRegression(C=np.inf, tol=1e-10, max_iter=2000).fit(X, classes)
    aim, fitter, consts = fitted("binomial", X, classes, (0.0, 0.0, 0.0))
    assert consts == pytest.approx([*known.coef_[0], known.intercept_[0]], abs=1e-4)
    p, told = known.predict_proba(X)[:, 1], aim.figures(fitter.values(LINE, consts))
    assert told["auc"] == pytest.approx(roc_auc_score(classes, p))
    assert told["log_loss"] == pytest.approx(log_loss(classes, p), abs=1e-8)
    assert told["accuracy"] == pytest.approx(known.score(X, classes))


def test_the_errors_of_counts_and_classes_are_those_of_the_generalised_linear_model():
    """(J^T W J)^-1 with the weights written out: McCullagh and Nelder 1989, 2.5."""
    rng, X = table(4)
    rate = np.exp(X @ [0.5, -0.2] + 0.3)
    design = np.column_stack([X, np.ones(len(X))])
    _, fitter, consts = fitted("poisson", X, rng.poisson(rate).astype(float), (0.1, 0.0, 0.0), EXPONENTIAL)
    mu = np.exp(design @ consts)
    spread = max(1.0, ((fitter.aim.y - mu) ** 2 / mu).sum() / (len(X) - 3))
    _, weights, known = fitter.measured(EXPONENTIAL, consts)
    J = mu[:, None] * design
    assert np.linalg.inv(J.T * weights @ J) == pytest.approx(np.linalg.inv(design.T * mu @ design) * spread)
    p = 1 / (1 + np.exp(-(X @ [2.0, -1.0] - 1)))
    _, fitter, consts = fitted("binomial", X, (rng.random(len(X)) < p).astype(float), (0.0, 0.0, 0.0))
    p = 1 / (1 + np.exp(-design @ consts))
    assert fitter.measured(LINE, consts)[1] == pytest.approx(p * (1 - p))


def test_relative_errors_and_intervals_have_the_optimum_of_scipy():
    rng, X = table(5)
    y = (X @ [2.0, 0.5] + 1) * np.exp(rng.normal(0, 0.3, len(X)))
    _, _, consts = fitted("relative", X, y)
    best = minimize(lambda c: (np.log(y / np.maximum(X @ c[:2] + c[2], 1e-9)) ** 2).sum(), consts * 1.1, tol=1e-12)
    assert consts == pytest.approx(best.x, abs=1e-4)
    t = X @ [1.5, -2.0] + 4 + rng.normal(0, 0.5, len(X))
    ends = np.column_stack([np.floor(t), np.floor(t) + 1])
    ends[:15, 1], ends[15:30, 0] = np.inf, -np.inf  # open to one side
    aim, fitter, consts = fitted("", X, ends[:, 0], ends=ends)

    def loss(p):
        f = X @ p[:2] + p[2]
        return -np.log(norm.cdf((ends[:, 1] - f) / np.exp(p[3])) - norm.cdf((ends[:, 0] - f) / np.exp(p[3]))).sum()

    best = minimize(loss, [*consts, math.log(aim.width)], tol=1e-10)
    assert consts == pytest.approx(best.x[:3], abs=2e-3) and aim.width == pytest.approx(math.exp(best.x[3]), rel=0.02)
    assert aim.loss(fitter.values(LINE, consts)) == pytest.approx(best.fun, abs=1e-3)
    design = np.c_[X, np.ones(len(X))]
    errors = np.sqrt(np.diag(np.linalg.inv((design.T * fitter.measured(LINE, consts)[1]) @ design)))
    steps, at = 1e-3 * np.eye(4), best.x
    hessian = [
        [loss(at + a + b) - loss(at + a - b) - loss(at - a + b) + loss(at - a - b) for a in steps] for b in steps
    ]
    assert errors == pytest.approx(np.sqrt(np.diag(np.linalg.inv(np.array(hessian) / 4e-6)))[:3], rel=0.05)


@pytest.mark.parametrize("name", ["absolute", "quantile:0.9", "huber", "relative", "poisson", "binomial", "interval"])
def test_slopes_are_those_of_differences(name):
    rng, X = table(6, 40)
    f = rng.uniform(0.5, 4, 40)
    y = np.round(f) % 2 if name == "binomial" else np.round(f + rng.uniform(0.2, 1.5, 40))
    ends = np.column_stack([y, y + 1]) if name == "interval" else None
    aim = (losses.INTERVALS if name == "interval" else parse(name)).of(y, rng.uniform(0.5, 2, 40), False, ends)
    aim.settle(f)
    for soft in aim.softness():
        slope, curvature = aim.newton(f, soft)
        assert (curvature >= 0).all()
        for m in range(0, 40, 7):
            step = np.zeros(40)
            step[m] = 1e-5
            by_hand = (aim.rounded_off(f - step, soft) - aim.rounded_off(f + step, soft)) / 2e-5
            assert slope[m] == pytest.approx(by_hand, rel=1e-3, abs=1e-4), (soft, m)


def test_the_fvu_is_the_likelihoods():
    """Half the rows times the logarithm of the FVUs' ratio is the difference in log-likelihood, by scipy's densities."""
    rng, X = table(7)
    y = X @ [1.0, 2.0] + 1 + rng.laplace(0, 0.5, len(X))
    aim = parse("absolute").of(y)
    laws = [X @ [1.0, 2.0] + 1, X @ [1.3, 1.7] + 1]
    sizes = [np.abs(y - f).mean() for f in laws]
    by_hand = len(y) * math.log(sizes[1] / sizes[0])
    assert 0.5 * len(y) * math.log(aim.fvu(laws[1]) / aim.fvu(laws[0])) == pytest.approx(by_hand)
    counts = rng.poisson(laws[0]).astype(float)
    aim = parse("poisson").of(counts)
    deviance = [
        2 * (poisson.logpmf(counts, np.maximum(counts, 1e-300)) - poisson.logpmf(counts, f)).sum() for f in laws
    ]
    mean = 2 * (poisson.logpmf(counts, np.maximum(counts, 1e-300)) - poisson.logpmf(counts, counts.mean())).sum()
    assert [aim.fvu(f) for f in laws] == pytest.approx([d / mean for d in deviance])
    assert aim.known == pytest.approx(len(y) / mean)
    from fansr.fitting import Candidate

    gains = [
        selection.selection("bic", Candidate(["x1"], np.zeros(0), v * aim.known), len(y), known=aim.known)
        for v in (0.5, 0.8)
    ]
    assert gains[1] - gains[0] == pytest.approx(
        0.5 * len(y) * 0.3
    )  # half the difference of deviances, below what noise leaves


def test_far_rows_do_not_drown_what_laws_differ_in():
    rng, X = table(8)
    truth = X @ [1.0, 2.0] + 1
    y = truth + rng.normal(0, 0.05, len(X))
    y[::8] += 50
    for name in ("absolute", "huber"):
        aim = parse(name).of(y)
        aim.refer(truth)
        worse = aim.fvu(truth + 0.1 * np.sin(3 * X[:, 0]))
        assert 0.5 * len(y) * math.log(worse / aim.fvu(truth)) > 20


def test_counts_about_a_line_that_is_negative_somewhere_are_led_back():
    rng, X = table(9)
    y = rng.poisson(np.maximum(2 * X[:, 0] - 1, 0.2)).astype(float)
    _, fitter, consts = fitted("poisson", X, y, (-3.0, 0.0, 1.0))
    assert (fitter.values(LINE, consts) > 0).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hubr", "did you mean huber"), ("quantile", "quantile:0.9"), ("quantile:2", "between 0 and 1"),
        ("quantile:x", "between 0 and 1"), ("poisson:3", "no number"), ("", "known are"),
    ],
)  # fmt: skip
def test_an_unknown_loss_is_said_with_the_nearest(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


def test_targets_that_a_loss_cannot_have_are_named():
    assert "holds -1, wanted counts" in parse("poisson").check(np.array([1.0, -1.0]))
    assert "holds 2, wanted the classes" in parse("binomial").check(np.array([0.0, 2.0]))
    assert "one sign" in parse("relative").check(np.array([1.0, -1.0]))
    assert parse("auto") is None and parse("squares") is None and str(parse("quantile:0.25")) == "quantile:0.25"


@pytest.mark.parametrize("good", [0, 1])
def test_rows_that_rounding_alone_tells_apart_end_the_exchange(good, monkeypatch):
    """A row taken in for another made the equations singular, and the whole search ended with an error."""
    from fansr.fitting import LossRefiner, losses

    rng = np.random.default_rng(4)
    x = rng.uniform(1, 3, 40)
    y = 2 * x + 1 + rng.standard_t(2, 40)
    aim = losses.parse("absolute").of(y, None, False, None)
    inverse, calls = np.linalg.inv, []

    def singular(a):
        calls.append(a)
        if len(calls) > good:
            raise np.linalg.LinAlgError("Singular matrix")
        return inverse(a)

    monkeypatch.setattr(np.linalg, "inv", singular)
    fvu, consts = LossRefiner(x[:, None], aim).polish(
        ["+", "*", "<constant>", "x1", "<constant>"], np.array([1.0, 0.0])
    )
    assert len(calls) > good and 0 < fvu < 1 and np.isfinite(consts).all()
