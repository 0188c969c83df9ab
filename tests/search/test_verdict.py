"""verdict.py against scipy's distributions, and on tables whose truth is known."""

import math

import numpy as np
import pytest
from scipy import special, stats

from fansr.expressions import bind, evaluate, free, from_infix
from fansr.fitting import Budget, Candidate, Problem, Refiner
from fansr.search import remarks, selection, turns, verdict


def judged(formula, X, y, names=None, errors=None, **more):
    """The verdict of a given law, polished on the data."""
    problem = Problem(X, y, names or [f"x{j + 1}" for j in range(X.shape[1])], **more)
    expr, consts = free(from_infix(formula))
    fitter = Refiner(X, y, weights=problem.weights)
    fvu, consts = fitter.polish(expr, np.array(consts, float)) if len(consts) else (fitter.fvu(expr, []), np.zeros(0))
    best = Candidate(expr, np.asarray(consts), fvu)
    floor = selection.fvu_floor(y, problem.weights)
    errors = np.full(len(consts), 1e-3) if errors is None else errors
    return verdict.judge(problem, best, errors, floor)


def codes(result):
    return [remark["code"] for remark in result.remarks]


# ---- the formulas -----------------------------------------------------------------------------


@pytest.mark.parametrize("a", [0.5, 1.0, 7.5, 60.0, 400.0])
@pytest.mark.parametrize("b", [0.5, 1.0, 3.0, 40.0])
def test_beta_is_scipys(a, b):
    for x in (1e-12, 1e-3, 0.2, 0.5, 0.9, 1 - 1e-9):
        theirs = special.betainc(a, b, x)
        if theirs > 1e-290:
            assert verdict.log_beta_cdf(x, a, b) == pytest.approx(math.log(theirs), rel=1e-9, abs=1e-9)


def test_beta_goes_where_floats_do_not():
    assert verdict.log_beta_cdf(1e-20, 50.0, 1.0) == pytest.approx(50 * math.log(1e-20), rel=1e-12)


@pytest.mark.parametrize("dof", [5, 40, 1000])
def test_chi2_deviation_is_the_normal_quantile(dof):
    for p in (0.5, 0.1, 0.001):
        value = stats.chi2.isf(p, dof)
        assert verdict.normal_tail(verdict.chi2_deviation(value, dof)) == pytest.approx(p, rel=0.12)


def test_runs_are_as_rare_as_they_should_be():
    rng = np.random.default_rng(0)
    z = np.array([verdict.runs_deviation(np.where(rng.normal(size=60) > 0, 1.0, -1.0)) for _ in range(3000)])
    for limit in (1.0, 2.0):
        assert 0.4 * verdict.normal_tail(limit) < np.mean(z > limit) < 1.3 * verdict.normal_tail(limit)
    assert verdict.runs_deviation(np.repeat([1.0, -1.0], 30)) > 6


@pytest.mark.parametrize("M", [8, 20, 200])
def test_ranks_are_alike_as_rarely_as_they_should_be(M):
    """Mean and spread are those of von Neumann's ratio over all orders (Bartels 1982), here of many."""
    rng = np.random.default_rng(3)
    z = np.array([verdict.rank_deviation(rng.standard_t(2, M)) for _ in range(3000)])
    assert abs(z.mean()) < 0.06 and z.std() == pytest.approx(1.0, abs=0.05)
    assert np.mean(z > 2.3) < 2.5 * verdict.normal_tail(2.3)
    assert verdict.rank_deviation(np.arange(float(M))) > 2.3 and verdict.rank_deviation(np.zeros(M)) == 0.0


def test_ranks_hear_a_shape_below_the_noise():
    """Where signs still change often; a misfit as large as the noise."""
    x, heard, by_signs = np.linspace(0, 6, 60), 0, 0
    for seed in range(40):
        residual = np.sin(2.3 * x) + 0.7 * np.random.default_rng(seed).normal(size=60)
        heard += verdict.rank_deviation(residual) > 2.6
        by_signs += verdict.runs_deviation(np.sign(residual)) > 2.6
    assert heard > 1.2 * by_signs and heard >= 34


def test_lack_of_fit_is_the_f_test():
    rng = np.random.default_rng(1)
    x = np.repeat(np.arange(8.0), 4)
    residual = rng.normal(size=32) + 0.7 * np.sin(x)
    groups = [residual[x == v] for v in range(8)]
    within = sum(((g - g.mean()) ** 2).sum() for g in groups)
    between = sum(len(g) * g.mean() ** 2 for g in groups)
    theirs = stats.f.sf(between / 6 / (within / 24), 6, 24)
    assert verdict.lack_of_fit(x[:, None], residual, 2) == pytest.approx(theirs, rel=1e-9)
    assert verdict.lack_of_fit(np.arange(9.0)[:, None], rng.normal(size=9), 2) is None


def test_neighbours_tell_a_shape_of_several_columns():
    rng = np.random.default_rng(2)
    X = rng.uniform(0, 1, (300, 3))
    shaped = np.sign(np.sin(6 * X[:, 0]) * np.cos(5 * X[:, 1]) + 0.2 * rng.normal(size=300))
    assert verdict.neighbour_chance(X, shaped, 0) < 0.005
    chances = [verdict.neighbour_chance(X[:80], np.sign(rng.normal(size=80)), 0) for _ in range(40)]
    assert np.mean(np.array(chances) < 0.1) < 0.25 and max(chances) > 0.3


# ---- the words --------------------------------------------------------------------------------

RNG = np.random.default_rng(3)
X1 = np.sort(RNG.uniform(0.5, 6, 60))[:, None]


def test_a_typed_exact_law_is_exact():
    y = np.array([float(f"{v:.6g}") for v in 3.2 * X1[:, 0] ** 1.5])
    assert judged("3.2*x1**1.5", X1, y).verdict == "exact"
    assert judged("3.2*x1**1.5", X1, 3.2 * X1[:, 0] ** 1.5).verdict == "exact"


def test_a_law_of_typed_columns_is_exact_where_it_magnifies_their_rounding():
    rng = np.random.default_rng(2)
    f, d = rng.uniform(1, 10, 80), rng.uniform(2, 90, 80)
    printed = np.array([[float(f"{v:.8g}") for v in row] for row in (f, d, 1 / (1 / f - 1 / d))])
    X, y = np.ascontiguousarray(printed[:2].T), printed[2]
    result = judged("1/(1/x1 - 1/x2)", X, y)
    assert result.verdict == "exact" and "the table is printed with" in result.text
    noisy = y * (1 + 1e-5 * rng.normal(size=80))
    assert judged("1/(1/x1 - 1/x2)", X, noisy).verdict != "exact"
    whole = np.arange(1.0, 41.0)[:, None]  # columns of few digits are not taken for rounded ones
    assert judged("2*x1 + 3", whole, 2 * whole[:, 0] + 3 + rng.uniform(-0.4, 0.4, 40)).verdict == "noise"


def test_noise_is_noise_and_its_size_is_told():
    y = 3.2 * X1[:, 0] + 0.25 * RNG.normal(size=60)
    result = judged("3.2*x1", X1, y)
    assert result.verdict == "noise"
    told = float(result.text.split("noise of ")[1].split()[0])
    assert told == pytest.approx(0.25, rel=0.25)


def test_a_shape_is_rough():
    y = 3.2 * X1[:, 0] + 0.2 * np.sin(3 * X1[:, 0]) + 0.02 * RNG.normal(size=60)
    assert judged("3.2*x1", X1, y).verdict == "rough"


def test_repeated_rows_that_agree_with_each_other_are_rough():
    x = np.repeat(np.array([1.0, 2.0, 3.0, 4.0]), 6)
    y = np.repeat([1.0, 5.0, 2.0, 7.0], 6) + 0.05 * np.random.default_rng(0).normal(size=24)
    assert judged("1.5*x1", x[:, None], y).verdict in ("rough", "no law")


def test_stated_errors():
    sigma = np.full(60, 0.3)
    y = 3.2 * X1[:, 0] + 0.3 * RNG.normal(size=60)
    assert judged("3.2*x1", X1, y, weights=1 / sigma**2, known=True).verdict == "within errors"
    far = judged("3.2*x1", X1, y + 0.5 * RNG.normal(size=60), weights=100 / sigma**2, known=True)
    assert far.verdict == "noise"


@pytest.mark.parametrize("formula", ["1.5", "0.1*x1 + 1.4", "1.2*sin(2.2*x1) + 1", "exp(0.3*x1)*0.1 + 1"])
def test_noise_alone_is_no_law(formula):
    y = 1.5 + np.random.default_rng(11).normal(size=60)
    assert judged(formula, X1, y).verdict == "no law"


def test_one_far_row_is_no_law():
    y = np.random.default_rng(4).normal(size=60)
    y[0] += 400.0
    pole = f"1.0/(x1 - {float(X1[0, 0]) - 1e-3!r})"
    assert judged(pole, X1, y).verdict == "no law"


def test_a_search_in_noise_says_so():
    """The rates are bench.verdicts' to measure; here six tables of noise, none of which is a law."""
    words = []
    for seed in range(6):
        rng = np.random.default_rng([9, seed])
        X = rng.uniform(1, 5, (30, 2))
        problem = Problem(X, rng.normal(size=30), ["a", "b"])
        found = turns.search(problem, turns.Options(proposers=("power", "sums")), Budget(0.0))
        words.append(verdict.judge(problem, found.best, found.errors, found.floor).verdict)
    assert words == ["no law"] * 6


def test_a_constant_target_is_exact_and_more_constants_than_rows_are_nothing():
    assert judged("5.0", X1, np.full(60, 5.0)).verdict == "exact"
    x = np.array([1.0, 2.0, 3.0])[:, None]
    assert judged("1.0*x1**2 + 2.0*x1 + 7.0", x, np.array([1.0, 5.0, 2.0])).verdict == "no law"


def test_rows_of_few_digits_are_exact_only_where_chance_is_not():
    x = np.array([1.0, 2.0, 3.0])[:, None]
    assert judged("2*x1", x, 2 * x[:, 0]).verdict == "exact"
    told = judged("2*x1", x[:2], 2 * x[:2, 0])
    assert told.verdict == "no law" and "exact on 2 rows" in told.text
    fine = np.array([0.123456789012345, 0.7071067811865476])[
        :, None
    ]  # two rows of all digits tell more than three of one
    assert judged("2*x1", fine, 2 * fine[:, 0]).verdict == "exact"
    # By counting: of tables of small whole numbers without any law, one in twenty at most may be told one.
    rng = np.random.default_rng(0)
    laws = ["x1", "x2", "2*x1", "3*x2", "x1 + x2", "x1*x2", "x1**2", "x1 - x2", "x1/x2", "x1*x2**2", "x1 + 2*x2"]
    found = told = 0
    for _ in range(1200):
        X, y = rng.integers(1, 6, (2, 2)).astype(float), rng.integers(1, 6, 2).astype(float)
        fits = [law for law in laws if np.ptp(y) > 0 and np.array_equal(evaluate(from_infix(law), X, []), y)]
        found += bool(fits)
        told += any(judged(law, X, y).verdict == "exact" for law in fits)
    assert found > 80 and told < 0.05 * found


# ---- remarks ----------------------------------------------------------------------------------


def test_undetermined_constants_are_named():
    y = 2 * X1[:, 0] + 0.1 * RNG.normal(size=60)
    result = judged("2.0*x1 + 0.001", X1, y, errors=np.array([0.01, 10.0]))
    assert "undetermined" in codes(result) and "c2" in result.remarks[0]["text"]


def test_noise_in_proportion_is_told():
    rng = np.random.default_rng(6)
    x = np.geomspace(1, 1e4, 60)[:, None]
    clean = 3 * x[:, 0] ** 1.5
    assert "uneven noise" in codes(judged("3.0*x1**1.5", x, clean * (1 + 0.05 * rng.normal(size=60))))
    assert "uneven noise" not in codes(judged("3.0*x1**1.5", x, clean + 0.01 * clean.std() * rng.normal(size=60)))
    assert "uneven noise" not in codes(judged("3.0*x1**1.5", x, clean))
    # Noise larger than the law's small values: there the target is the noise, and small where that is.
    x = np.column_stack([rng.uniform(0.1, 3, 512), rng.uniform(0.1, 3, 512)])
    clean = x[:, 0] ** 3 * x[:, 1] ** 2
    assert "uneven noise" not in codes(judged("x1**3*x2**2", x, clean + 0.1 * clean.std() * rng.normal(size=512)))
    assert "uneven noise" in codes(judged("x1**3*x2**2", x, clean * (1 + 0.1 * rng.normal(size=512))))


def test_fast_waves_are_told():
    x = np.arange(24.0)[:, None]
    y = np.sin(0.26 * x[:, 0])
    assert "fast wave" in codes(judged("sin(6.02*x1 + 0.1)", x, y + 0.01 * RNG.normal(size=24)))
    assert "fast wave" not in codes(judged("sin(0.26*x1 + 0.1)", x, y))


@pytest.mark.parametrize(
    ("formula", "code"),
    [("1.0/(x1 - 3.01)", "pole"), ("tan(x1)", "pole"), ("1.0/(x1 + 1)", None), ("x1**2", None)],
)
def test_poles_inside_the_box(formula, code):
    y = evaluate(from_infix(formula), X1)
    found = [c for c in codes(judged(formula, X1, y)) if c in ("pole", "undefined")]
    assert found == ([code] if code else [])


def test_undefined_places_between_the_rows():
    X = np.column_stack([np.linspace(1, 5, 40), np.linspace(0.5, 4, 40)])  # always x1 > x2, but not in the box
    y = np.sqrt(X[:, 0] - X[:, 1])
    assert "undefined" in codes(judged("sqrt(x1 - x2)", X, y))


@pytest.mark.parametrize(
    ("name", "said"),
    [("sigma_mjy_sr", 1), ("err", 1), ("y_error", 1), ("std", 1), ("flux +- ", 1), ("uncertainty (mm)", 1), ("Δ±", 1),
     ("terror", 0), ("student", 0), ("ferry", 0), ("mass", 0)],
)  # fmt: skip
def test_columns_named_like_errors(name, said):
    result = judged("2*x1", X1, 2 * X1[:, 0], names=[name])
    assert ("error column" in codes(result)) == bool(said)


def test_few_rows_and_time():
    x = np.array([1.0, 2.0, 3.0, 4.0])[:, None]
    problem = Problem(x, np.array([1.0, 4.1, 8.8, 16.3]), ["x"])
    expr, consts = free(from_infix("1.0*x1**2 + 0.1*x1"))
    best = Candidate(expr, np.array(consts), 1e-3)
    result = verdict.judge(problem, best, np.array([0.1, 0.1]), 1e-26, unheard=("evolve",))
    assert {"few rows", "time"} <= set(codes(result)) and "evolve" in result.remarks[-1]["text"]


def test_predictions_far_outside():
    problem = Problem(X1, 2 * X1[:, 0], ["t"])
    best = Candidate(["mult2", "x1"], np.zeros(0), 0.0)
    assert remarks.outside(X1 + 1.0, problem, best) is None
    remark = remarks.outside(np.array([[60.0], [3.0]]), problem, best)
    assert remark["code"] == "outside" and "1 of 2" in remark["text"] and "t from" in remark["text"]
    assert remarks.outside(np.array([[np.nan]]), problem, best) is None


def test_bound_laws_are_judged_as_fitted_ones():
    expr = bind(from_infix("C*x1"), [2.0])
    assert verdict.chance_of(Candidate(expr, np.zeros(0), 0.01), 0.01, 40, 1, 1) < 1e-10
