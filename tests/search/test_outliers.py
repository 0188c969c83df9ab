"""outliers.py and weights: outliers are named, and the fit is scipy's on the other rows, or under the same errors."""

import json
import time

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.optimize import curve_fit, least_squares

from fansr import fit
from fansr.errors import DataError
from fansr.evaluation import result
from fansr.fitting.problem import Candidate, Problem
from fansr.regressor import SymbolicRegressor
from fansr.search import large_tables, outliers, selection, turns
from fansr.tables.loading import array_problem

QUICK = ("power", "library")


def spoiled(share=0.15, M=80, noise=0.02, seed=1):
    """(problem, rows spoiled): 3.7 x^1.3 with noise, and errors of up to 50 times the range."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0.5, 4, M)
    y = 3.7 * x**1.3 + rng.normal(0, noise, M)
    bad = np.sort(rng.permutation(M)[: int(share * M)])
    y[bad] += rng.choice((-1, 1), len(bad)) * rng.uniform(2, 500, len(bad))
    return Problem(x[:, None], y, ["x"]), bad


@pytest.mark.parametrize("share", [0.03, 0.15, 0.3])
def test_outliers_are_named_and_the_rest_is_fitted_as_by_scipy(share):
    problem, bad = spoiled(share)
    found = outliers.find(problem, turns.Options(proposers=QUICK, robust=True))
    assert set(bad) <= set(found.outliers) and len(found.outliers) <= len(bad) + 1
    law = lambda x, a, b: a * x**b  # noqa: E731
    good = np.setdiff1d(np.arange(80), found.outliers)
    x, y = problem.X[:, 0], problem.y
    best, covariance = curve_fit(law, x[good], y[good], (1, 1))
    at = np.array([[1.0], [2.0], [3.5]])
    np.testing.assert_allclose(result.predict(found.best, at), law(at[:, 0], *best), rtol=3e-3)
    # Cauchy's loss on all rows is another robust fit: the same law within its errors.
    other = least_squares(lambda p: law(x, *p) - y, best, loss="cauchy", f_scale=0.02).x
    assert np.all(np.abs(other - best) < 5 * np.sqrt(np.diag(covariance)))


def test_nothing_is_set_aside_where_nothing_is_wrong():
    rng = np.random.default_rng(2)
    X = rng.uniform(1, 3, (60, 2))
    y = np.exp(2 * X[:, 0]) / X[:, 1] * (1 + 0.0 * X[:, 0])
    found = outliers.find(Problem(X, y, ["a", "b"]), turns.Options(proposers=QUICK, robust=True))
    assert len(found.outliers) == 0 and found.best.fvu < 1e-20


def test_at_most_a_share_of_the_rows_is_set_aside():
    problem, _ = spoiled(0.7)
    kept = outliers.within(problem, [Candidate(["*", "<constant>", "x1"], np.array([1.0]), 0.5)], turns.Options())
    assert kept.mean() >= 1 - outliers.LARGEST_SHARE - 1e-9


def test_robust_command_names_rows_of_the_file(tmp_path):
    problem, bad = spoiled(0.1)
    path = tmp_path / "table.csv"
    rows = [f"{float(x)!r},{float(y)!r}" for x, y in zip(problem.X[:, 0], problem.y)]
    rows.insert(0, ",1")  # a row that is dropped counts
    path.write_text("x,y\n" + "\n".join(rows) + "\n")
    out = CliRunner().invoke(fit.fit, [str(path), "--robust", "--json", "--proposers", "power,library"])
    assert out.exit_code == 0, out.output
    result = json.loads(out.stdout.splitlines()[-1])
    assert set(bad + 1) <= set(result["outliers"]) and result["fvu"] < 1e-3 < result["fvu_all_rows"]


def errors_per_point(seed=3, M=60):
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0.2, 5, M))
    sigma = np.where(x > 3, 2.0, 0.02)
    return x, 2.5 * x**0.7 + rng.normal(0, sigma), sigma


def test_stated_errors_give_scipys_constants_and_errors():
    x, y, sigma = errors_per_point()
    law = lambda x, a, b: a * x**b  # noqa: E731
    best, covariance = curve_fit(law, x, y, (1, 1), sigma=sigma, absolute_sigma=True)
    chi2 = np.sum(((y - law(x, *best)) / sigma) ** 2) / 58
    model = SymbolicRegressor(proposers=QUICK).fit(x[:, None], y, sigma=sigma)
    at = np.linspace(0.3, 4.8, 7)
    slopes = np.c_[at ** best[1], best[0] * np.log(at) * at ** best[1]]
    errors = np.sqrt(np.einsum("ij,jk,ik->i", slopes, covariance, slopes))
    assert np.all(np.abs(model.predict(at[:, None]) - law(at, *best)) < 2.5 * errors)
    assert model.result_["chi2_per_dof"] == pytest.approx(chi2, rel=0.1)
    unweighted = curve_fit(law, x, y, (1, 1))[0]
    assert abs(unweighted[1] - 0.7) > 5 * abs(best[1] - 0.7)  # without the errors the noisy end rules


def test_the_fvu_of_stated_errors_is_that_of_the_true_law():
    x, y, sigma = errors_per_point(M=4000)
    problem, _, _ = array_problem(x, y, sigma=sigma)
    w = 1 / sigma**2
    truth = np.sum(w * (y - 2.5 * x**0.7) ** 2) / np.sum(w * (y - np.average(y, weights=w)) ** 2)
    assert selection.known_fvu(problem) == pytest.approx(truth, rel=0.1)


def test_below_the_stated_noise_a_better_fit_is_worth_chi_squared_only():
    k = ["+", "*", "<constant>", "x1", "<constant>"]
    value = lambda fvu, known: selection.selection("mdl", Candidate(k, np.zeros(2), fvu), 50, known=known)  # noqa: E731
    assert value(0.04, 0.01) - value(0.02, 0.01) == pytest.approx(value(0.04, 0.0) - value(0.02, 0.0))
    assert value(0.01, 0.01) - value(0.005, 0.01) == pytest.approx(0.5 * 50 * (1 - 0.5))  # chi^2 / 2 from M to M / 2


@pytest.mark.parametrize(
    "given, message",
    [
        ({"sigma": [1.0, 0.0, 1.0]}, "above 0"),
        ({"sigma": [1.0, 1.0]}, "wanted"),
        ({"weights": [1.0, -1.0, 1.0]}, ">= 0"),
        ({"sigma": [1e-200, 1, 1]}, "other units"),
        ({"sigma": [1, 1, 1], "weights": [1, 1, 1]}, "one of them"),
    ],
)
def test_wrong_errors_and_weights_are_said(given, message):
    with pytest.raises(DataError, match=message):
        array_problem([1.0, 2.0, 3.0], [1.0, 4.0, 9.0], **given)


def test_weights_and_errors_by_name_are_no_inputs(tmp_path):
    x, y, sigma = errors_per_point()
    path = tmp_path / "table.csv"
    path.write_text(
        "x,y,s\n" + "".join(f"{a!r},{b!r},{c!r}\n" for a, b, c in zip(x.tolist(), y.tolist(), sigma.tolist()))
    )
    run = lambda *words: CliRunner().invoke(fit.fit, [str(path), "--json", "--proposers", "power", *words])  # noqa: E731
    result = json.loads(run("--sigma", "s").stdout.splitlines()[-1])
    assert result["variables"] == ["x"] and result["target"] == "y" and result["chi2_per_dof"] < 2
    assert run("--sigma", "s", "--weights", "s").exit_code == 2
    wrong = run("--sigma", "nobody")
    assert wrong.exit_code == 1 and "nobody" in wrong.stderr


def test_a_long_table_is_judged_on_a_sample_and_all_its_outliers_are_found():
    problem, bad = spoiled(0.1, M=3 * outliers.JUDGED_ROWS)
    law = Candidate(["*", "<constant>", "pow", "x1", "<constant>"], np.array([3.0, 1.0]), 0.5)
    kept = outliers.within(problem, [law], turns.Options())
    assert set(bad) <= set(np.flatnonzero(~kept)) and (~kept).sum() <= len(bad) + 5


def test_with_no_time_left_the_front_of_a_long_table_is_not_refitted(monkeypatch):
    """The answer stays, measured on all rows; what there is no time to measure leaves the front."""
    from fansr.fitting.problem import Budget
    from fansr.fitting.refiner import Refiner

    problem, _ = spoiled(0.0, M=200)
    laws = [
        Candidate(["*", "<constant>", "x1"], np.array([4.0]), 0.1),
        Candidate(["pow", "x1", "<constant>"], np.array([2.0]), 0.2),
    ]
    found = turns.Found(laws[0], list(laws), np.zeros(1), 0.0, 2, {}, "ok", 1e-26)
    monkeypatch.setattr(Refiner, "polish", lambda *_args, **_more: pytest.fail("refitted without time"))
    late = Budget(0.0, start=time.monotonic() - 5.0)
    large_tables.on_all_rows(found, problem, turns.Options(), 1e-26, late)
    values = result.predict(laws[0], problem.X)
    assert found.front == [laws[0]]
    assert found.best.fvu == pytest.approx(
        np.sum((problem.y - values) ** 2) / np.sum((problem.y - problem.y.mean()) ** 2)
    )
