"""Every metric against an independent implementation (zss, scikit-learn, scipy) or a value worked by hand."""

import numpy as np
import pytest
import scipy.stats
import zss
from hypothesis import given, settings, strategies as st
from sklearn.metrics import f1_score, r2_score

from fansr.evaluation import metrics
from fansr.expressions.infix import from_infix
from fansr.expressions.prefix import to_tree, total_nestedness
from fansr.expressions.tokens import BINARY, CONSTANT, UNARY

LEAVES = ("x1", "x2", "x3", CONSTANT)
TREES = st.recursive(
    st.sampled_from(LEAVES).map(lambda leaf: [leaf]),
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(UNARY), inner).map(lambda t: [t[0], *t[1]]),
        st.tuples(st.sampled_from(BINARY), inner, inner).map(lambda t: [t[0], *t[1], *t[2]]),
    ),
    max_leaves=9,
)


def as_zss(tree):
    """The other library's node of a nested tuple."""
    if not isinstance(tree, tuple):
        return zss.Node(tree)
    node = zss.Node(tree[0])
    for child in tree[1:]:
        node.addkid(as_zss(child))
    return node


# ---- FVU and recovery -------------------------------------------------------------------------


def test_fvu_is_one_minus_r2():
    rng = np.random.default_rng(1)
    for scale in (1.0, 1e-200, 1e180, 3e7):
        y = scale * rng.normal(2.0, 1.0, 200)
        y_hat = y + scale * rng.normal(0.0, 0.1, 200)
        small, small_hat = y / scale, y_hat / scale
        assert metrics.fvu(y, y_hat) == pytest.approx(1 - r2_score(small, small_hat), rel=1e-9)


def test_fvu_by_hand():
    # mean 2, total 1 + 0 + 1 = 2; residuals 0, 0.5, 0 squared 0.25
    assert metrics.fvu(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.5, 3.0])) == pytest.approx(0.125, rel=1e-15)


def test_fvu_at_the_edges():
    y = np.array([1.0, 2.0])
    assert metrics.fvu(y, y) == 0.0
    assert metrics.fvu(y, np.array([1.0, np.nan])) == np.inf
    assert metrics.fvu(y, np.array([1.0, np.inf])) == np.inf
    assert metrics.fvu(np.ones(3), np.ones(3)) == 0.0
    assert metrics.fvu(np.ones(3), np.ones(3) + 1e-9) == np.inf
    assert metrics.fvu(np.zeros(3), np.zeros(3)) == 0.0
    assert np.isnan(metrics.fvu(np.array([1.0, np.nan]), y))
    assert np.isnan(metrics.fvu(np.array([]), np.array([])))


def test_recovery_thresholds_are_the_papers_and_ours():
    assert abs(metrics.EPS32 - 1.19e-7) < 0.005e-7

    def rates(fvu, fvu_val, status="ok"):
        fit = {"expr": ["x1"], "consts": [], "fvu": fvu, "fvu_val": fvu_val, "status": status, "seconds": 1.0}
        s = metrics.score_fit(fit)
        return s["fnrr"], s["vnrr"], s["exact"], s["success"]

    assert rates(1.19e-7, 1.2e-7) == (True, False, False, True)
    assert rates(1e-21, 0.9e-20) == (True, True, True, True)
    assert rates(1e-21, 1.1e-20) == (True, True, False, True)
    assert rates(float("nan"), float("nan")) == (False, False, False, True)
    assert rates(0.0, None) == (True, None, None, True)  # no validation split: no statement
    assert rates(0.0, 0.0, "out of time") == (False, False, False, False)


def test_log10_fvu_leaves_the_perfect_ones_out():
    def value(fvu, fvu_val):
        fit = {"expr": ["x1"], "consts": [], "fvu": fvu, "fvu_val": fvu_val, "status": "ok", "seconds": 1.0}
        return metrics.score_fit(fit)["log10_fvu"]

    assert value(1e-30, 1e-3) == pytest.approx(-3)
    assert value(1e-3, 1e-30) is None
    assert value(1e-2, None) == pytest.approx(-2)
    assert value(1e-2, np.inf) is None


# ---- tokens and trees -------------------------------------------------------------------------


@given(TREES, TREES)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_tree_edit_distance_equals_zss(a, b):
    assert metrics.tree_edit_distance(a, b) == zss.simple_distance(as_zss(to_tree(a)), as_zss(to_tree(b)))


def test_tree_edit_distance_by_hand():
    assert metrics.tree_edit_distance(["sin", "x1"], ["sin", "x1"]) == 0
    assert metrics.tree_edit_distance(["sin", "x1"], ["cos", "x2"]) == 2
    assert metrics.tree_edit_distance(["x1"], ["+", "x1", "x2"]) == 2
    # deleting the inner node lifts its child: one edit, not a rebuilt subtree
    assert metrics.tree_edit_distance(["+", "sin", "x1", "x2"], ["+", "x1", "x2"]) == 1


@given(TREES, TREES)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_token_f1_equals_scikit_learn(a, b):
    # The k-th copy of a token is a class of its own; the multiset F1 is then an ordinary binary F1.
    numbered = [{(token, expr[:i].count(token)) for i, token in enumerate(expr)} for expr in (a, b)]
    classes = sorted(numbered[0] | numbered[1])
    wanted = f1_score([c in numbered[1] for c in classes], [c in numbered[0] for c in classes])
    assert metrics.token_f1(a, b) == pytest.approx(wanted)


def test_variable_recall():
    truth = from_infix("x1*sin(x3) + x3")
    assert metrics.variable_recall(from_infix("x3 + x2"), truth) == 0.5
    assert metrics.variable_recall(from_infix("x1 + x2 + x3"), truth) == 1.0
    assert metrics.variable_recall(from_infix("2 + 3"), truth) == 0.0
    assert metrics.variable_recall(["x1"], ["2.0"]) is None


def test_nestedness_of_the_papers_two_examples():
    assert total_nestedness(from_infix("sin(log(acosh(x1)))")) == 2
    assert total_nestedness(["sin", "log", "+", "x1", CONSTANT]) == 1
    fit = {"expr": ["sin", "log", "acosh", "x1"], "consts": [], "fvu": 1.0, "status": "ok", "seconds": 1.0}
    assert metrics.score_fit(fit)["nestedness"] == 2


def test_skeleton_hides_numbers_only():
    assert metrics.skeleton(from_infix("2.5*x1 + x20**2")) == ["+", "*", CONSTANT, "x1", "pow2", "x20"]


# ---- against the truth ------------------------------------------------------------------------


def fit_of(infix, truth, **more):
    """A successful fit record of one formula against another."""
    return {
        "problem": 0,
        "expr": from_infix(infix),
        "consts": np.zeros(0),
        "fvu": 0.0,
        "fvu_val": 0.0,
        "status": "ok",
        "seconds": 1.0,
        "truth": {"expr": from_infix(truth), "consts": np.zeros(0), "infix": truth},
        "low": np.array([0.5, 0.5]),
        "high": np.array([3.0, 3.0]),
        **more,
    }


def test_a_perfect_fit():
    s = metrics.score_fit(fit_of("x1*sin(x2)", "x1*sin(x2)", logp=-3.5), reference_seconds=4.0)
    assert s["srr"] is True and s["equivalent"] is True and s["f1"] == 1.0 and s["edit_distance"] == 0
    assert s["length_ratio"] == 1.0 and s["length_ratio_recovered"] == 1.0 and s["excess_constants"] == 0
    assert s["relative_seconds"] == 0.25 and s["logp"] == -3.5


def test_excess_constants_and_length_ratio_by_hand():
    s = metrics.score_fit(fit_of("1.5*x1 + 0.2", "x1*x2", fvu_val=0.1))
    assert s["excess_constants"] == 2
    assert s["length_ratio"] == pytest.approx(5 / 3)  # + * C x1 C against * x1 x2
    assert s["length_ratio_recovered"] is None and s["srr"] is False and s["variable_recall"] == 0.5


def test_a_variable_that_cancels_is_not_found():
    assert metrics.score_fit(fit_of("x1 + x2 - x2", "x1*x2"))["variable_recall"] == 0.5
    assert metrics.score_fit(fit_of("x1 + x2", "x1*x2"))["variable_recall"] == 1.0


def test_the_truth_is_measured_in_its_shortest_form():
    half = {"expr": from_infix("x1*x2*x3/2")}
    assert len(metrics.truth_skeleton(half)) == 6  # div2 * * x1 x2 x3, not / * * x1 x2 x3 C
    assert metrics.truth_skeleton({"expr": from_infix("x1*x2")}) == ["*", "x1", "x2"]


def test_a_failed_fit_counts_in_the_rates_and_nowhere_else():
    s = metrics.score_fit(fit_of("x1", "x1", status="failed") | {"expr": [], "fvu": None, "fvu_val": None})
    assert [s[k] for k in ("fnrr", "vnrr", "exact", "srr", "equivalent", "success")] == [False] * 6
    assert s["length_ratio"] is None and s["f1"] is None and s["nestedness"] is None


def test_symbolic_recovery_sees_through_order_and_spelling():
    assert metrics.score_fit(fit_of("x2*x1 + 3", "4 + x1*x2"))["srr"] is True
    assert metrics.score_fit(fit_of("x1*x2*0.5", "x1*x2/2"))["srr"] is True
    assert metrics.score_fit(fit_of("x1*x2 + x1", "x1*x2"))["srr"] is False


def test_equivalence_is_judged_far_outside_the_fit():
    truth = {"expr": from_infix("x1*exp(x2)")}
    low, high = [0.1, 0.0], [2.0, 1.0]
    assert metrics.equivalent(from_infix("exp(x2 + log(x1))"), [], truth, low, high) is True
    assert metrics.equivalent(["*", CONSTANT, "*", "x1", "exp", "x2"], [1.0 + 1e-9], truth, low, high) is True
    # a series that is right to 1e-8 inside [0, 0.01] is another law
    series = from_infix("x1*(1 + x2 + x2**2/2 + x2**3/6)")
    assert metrics.equivalent(series, [], truth, [0.1, 0.0], [2.0, 0.01]) is False
    # abs(x) cannot be told from x on positive data, and is not
    assert metrics.equivalent(from_infix("abs(x1)"), [], {"expr": ["x1"]}, [1.0], [2.0]) is True
    assert metrics.equivalent(from_infix("abs(x1)"), [], {"expr": ["x1"]}, [-1.0], [2.0]) is False


PAIRS = [
    "x1*(x2 + 1)|x1*x2 + x1",
    "exp(x1 + x2)|exp(x1)*exp(x2)",
    "log(x1*x2)|log(x1) + log(x2)",
    "(x1 + x2)**2|x1**2 + x2**2",
    "sin(2*x1)|2*sin(x1)*cos(x1)",
    "cos(x1)**2|1 - sin(x1)**2",
    "x1/(x1 + x2)|1/(1 + x2/x1)",
    "sqrt(x1*x2)|sqrt(x1)*sqrt(x2)",
    "tanh(x1)|(exp(2*x1) - 1)/(exp(2*x1) + 1)",
    "x1**3 - x2**3|(x1 - x2)*(x1**2 + x1*x2 + x2**2)",
    "sin(x1)|x1 - x1**3/6",
    "tanh(x1)|x1",
    "x1*x2 + 1/1000|x1*x2",
    "exp(x1)/x2|exp(x1/x2)",
    "sqrt(x1**2 + x2**2)|x1 + x2",
]


@pytest.mark.parametrize("pair", PAIRS)
def test_equivalence_agrees_with_sympy(pair):
    sympy = pytest.importorskip("sympy")
    a, b = pair.split("|")
    x1, x2 = sympy.symbols("x1 x2", positive=True)
    difference = sympy.sympify(f"({a}) - ({b})", locals={"x1": x1, "x2": x2})
    same = sympy.simplify(sympy.expand_trig(difference).rewrite(sympy.exp)) == 0
    assert metrics.equivalent(from_infix(a), [], {"expr": from_infix(b)}, [0.5, 0.5], [3.0, 3.0]) is same


def test_equivalence_of_a_law_with_a_small_domain():
    truth = {"expr": from_infix("asin(x1)*x2")}
    assert metrics.equivalent(from_infix("x2*asin(x1)"), [], truth, [-0.9, 1.0], [0.9, 2.0]) is True
    assert metrics.equivalent(from_infix("x2*x1"), [], truth, [-0.9, 1.0], [0.9, 2.0]) is False


def test_far_points_lie_outside_the_box():
    X = metrics.far_points([1.0, -2.0, -3.0, 5.0], [2.0, 3.0, -1.0, 5.0], np.random.default_rng(0))
    assert ((X[:, 0] >= 2.0) | (X[:, 0] <= 1.0)).all() and (X[:, 0] >= 0.1).all() and (X[:, 0] <= 20.0).all()
    assert (np.abs(X[:, 1]) >= 3.0).all() and (X[:, 1] < 0).any() and (X[:, 1] > 0).any()
    assert (X[:, 2] < 0).all() and (X[:, 3] == 5.0).all()


# ---- intervals --------------------------------------------------------------------------------


def test_bootstrap_of_independent_laws_agrees_with_scipy():
    rng = np.random.default_rng(5)
    values = rng.gamma(2.0, 1.0, 120)
    for statistic, function in (("mean", np.mean), ("median", np.median)):
        ours = metrics.bootstrap(values, range(120), statistic, n=4000)
        theirs = scipy.stats.bootstrap((values,), function, n_resamples=4000, method="percentile", rng=rng)
        width = theirs.confidence_interval.high - theirs.confidence_interval.low
        assert ours[0] == pytest.approx(theirs.confidence_interval.low, abs=0.08 * width)
        assert ours[1] == pytest.approx(theirs.confidence_interval.high, abs=0.08 * width)


def test_bootstrap_resamples_laws_not_records():
    # Ten copies of each of 20 laws hold no more information than the 20.
    rng = np.random.default_rng(6)
    values = rng.integers(0, 2, 20).astype(float)
    alone = metrics.bootstrap(values, range(20), n=4000)
    copied = metrics.bootstrap(np.repeat(values, 10), np.repeat(np.arange(20), 10), n=4000)
    assert copied == pytest.approx(alone, abs=0.03)
    naive = metrics.bootstrap(np.repeat(values, 10), range(200), n=4000)
    assert naive[1] - naive[0] < 0.5 * (alone[1] - alone[0])


def test_bootstrap_median_against_a_plain_loop():
    rng = np.random.default_rng(7)
    values, laws = rng.normal(size=31), rng.integers(0, 9, 31)
    weights = rng.multinomial(9, np.full(9, 1 / 9), size=50)[:, laws]
    order = np.argsort(values)
    ours = metrics._weighted_medians(values[order], weights[:, order])
    for row, median in zip(weights, ours):
        assert median == np.median(np.repeat(values, row))


def test_bootstrap_of_nothing_and_of_one():
    assert np.isnan(metrics.bootstrap([], [])).all()
    assert metrics.bootstrap([0.25], ["a"]) == (0.25, 0.25)


def test_summary_counts_failures_in_rates_only():
    fits = [fit_of("x1*x2", "x1*x2"), fit_of("x1", "x1*x2", fvu_val=0.5), fit_of("x1", "x1", status="failed")]
    scores = [metrics.score_fit(fit) for fit in fits]
    summary = metrics.summarise(scores, ["a", "b", "b"], n_bootstrap=200)
    assert summary["n"] == 3 and summary["laws"] == 2
    assert summary["vnrr"] == pytest.approx(1 / 3) and summary["success"] == pytest.approx(2 / 3)
    assert summary["length_ratio"] == pytest.approx((1 + 1 / 3) / 2)
    assert summary["length_ratio_recovered"] == 1.0 and summary["logp"] is None
    assert 0.0 <= summary["ci"]["vnrr"][0] <= summary["vnrr"] <= summary["ci"]["vnrr"][1] <= 1.0
    assert metrics.summarise(scores, ["a", "b", "b"], n_bootstrap=0)["ci"] == {}
