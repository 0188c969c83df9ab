"""saved_law.py: bands against scipy's least squares, files that read back, and every file that is not one refused in a line."""

import json
import math

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import t as student

from fansr.errors import DataError
from fansr.fitting import Candidate, Problem
from fansr.search import outliers, rounding, saved_law, turns, verdict

EXPR = "+ * <constant> exp * <constant> x1 <constant>".split()
RNG = np.random.default_rng(5)
X = np.sort(RNG.uniform(0, 3, 60))[:, None]
SIGMA = RNG.uniform(0.05, 0.2, 60)
Y = 2.31 * np.exp(-1.27 * X[:, 0]) + 0.53 + SIGMA * RNG.normal(size=60)


def curve(x, a, b, c):
    return a * np.exp(b * x) + c


def slope(x, a, b, c):
    return np.column_stack([np.exp(b * x), a * x * np.exp(b * x), np.ones_like(x)])


def fitted(sigma=None, absolute=False):
    """(law, scipy's constants and covariance) of the curve fitted by scipy."""
    best, covariance = curve_fit(
        curve, X[:, 0], Y, (2, -1, 0.5), sigma=sigma, absolute_sigma=absolute, jac=slope, ftol=1e-15, xtol=1e-15
    )
    weights = None if sigma is None else sigma**-2
    problem = Problem(X, Y, ["x"], weights=weights, known=absolute)
    left, spread = Y - curve(X[:, 0], *best), Y - np.average(Y, weights=weights)
    w = np.ones(60) if weights is None else weights
    candidate = Candidate(EXPR, best, float(w @ left**2 / (w @ spread**2)))
    found = turns.Found(candidate, [candidate], np.ones(3), 0.0, 1, None, "ok", 1e-26)
    judged = verdict.Judged("noise", "", [])
    return saved_law.of(found, problem, turns.Options(physics=False), judged), best, covariance


@pytest.mark.parametrize(("sigma", "absolute"), [(None, False), (SIGMA, False), (SIGMA, True)])
def test_covariance_is_that_of_scipy(sigma, absolute):
    law, _, covariance = fitted(sigma, absolute)
    ours = np.array(law.laws[0].covariance)
    if absolute:  # chi^2 per degree of freedom above 1 widens ours, which never trust errors that are too small
        left = Y - law.predict(X)
        covariance = covariance * max(1.0, float((left / SIGMA) @ (left / SIGMA)) / 57)
    np.testing.assert_allclose(ours, covariance, rtol=1e-4)


def test_bands_are_those_of_least_squares():
    law, best, covariance = fitted()
    new = np.array([[0.0], [1.5], [4.0]])
    step = 1e-6
    g = np.array(
        [(curve(new[:, 0], *(best + step * e)) - curve(new[:, 0], *(best - step * e))) / (2 * step) for e in np.eye(3)]
    )
    of_law = np.einsum("am,ab,bm->m", g, covariance, g)
    left = Y - curve(X[:, 0], *best)
    for kind, variance in (("mean", of_law), ("prediction", of_law + left @ left / 57)):
        low, high = law.bands(new, 0.9, of=kind)
        half = student.ppf(0.95, 57) * np.sqrt(variance)
        np.testing.assert_allclose(high - low, 2 * half, rtol=1e-4)
        np.testing.assert_allclose((high + low) / 2, curve(new[:, 0], *best), rtol=1e-9)


def test_prediction_bands_hold_the_share_they_say():
    inside = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = rng.uniform(1, 2, 12)
        y = 3.3 * x + 0.4 * rng.normal(size=12)
        c = float(x @ y / (x @ x))
        candidate = Candidate(
            ["*", "<constant>", "x1"], np.array([c]), float(np.sum((y - c * x) ** 2) / np.sum((y - y.mean()) ** 2))
        )
        found = turns.Found(candidate, [candidate], np.ones(1), 0.0, 1, None, "ok", 1e-26)
        law = saved_law.of(
            found, Problem(x[:, None], y, ["x"]), turns.Options(physics=False), verdict.Judged("noise", "", [])
        )
        new = rng.uniform(1, 2, 50)
        low, high = law.bands(new[:, None], 0.8)
        inside += list((low <= (v := 3.3 * new + 0.4 * rng.normal(size=50))) & (v <= high))
    assert abs(np.mean(inside) - 0.8) < 0.04


def test_what_is_not_determined_has_infinite_bands():
    candidate = Candidate("* <constant> pow2 - x1 x1".split(), np.array([2.5]), 1.0)
    found = turns.Found(candidate, [candidate], np.array([np.inf]), 0.0, 1, None, "ok", 1e-26)
    law = saved_law.of(found, Problem(X, Y, ["x"]), turns.Options(physics=False), verdict.Judged("no law", "", []))
    low, high = law.bands(X[:2])
    assert law.laws[0].covariance is None and (low == -np.inf).all() and (high == np.inf).all()


def test_a_file_reads_back_to_the_last_bit(tmp_path):
    problem = Problem(np.c_[X, X**2], Y, ["t", "größe"], extra={"conversions": {"t": "days"}})
    options = turns.Options(proposers=("power", "sums"))
    found = outliers.find(problem, options)
    judged = verdict.judge(problem, found.best, found.errors, found.floor)
    law = saved_law.of(found, problem, options, judged, extra={"who": [1, 2]})
    saved_law.save(law, tmp_path / "law.json")
    assert [p.name for p in tmp_path.iterdir()] == ["law.json"]
    assert saved_law.load(tmp_path / "law.json") == law
    assert law.laws[law.chosen].prefix == found.best.expr and law.conversions == {"t": "days"}
    again = saved_law.load(tmp_path / "law.json")
    for k in (None, *range(len(law.laws))):
        assert (again.predict(problem.X, k) == law.predict(problem.X, k)).all()
    assert again.needed() == [problem.names[j] for j in (0, 1) if f"x{j + 1}" in found.best.expr]
    assert "far outside" in again.outside(np.full((2, 2), 1e3))["text"] and again.outside(problem.X) is None
    with pytest.raises(IndexError, match="the front has"):
        again.law(99)


def text_of(**changes):
    law, _, _ = fitted()
    plain = json.loads(json.dumps(saved_law._finite(saved_law.asdict(law))))
    inner = {key[4:]: changes.pop(key) for key in [*changes] if key.startswith("law_")}
    plain["laws"][0].update(inner)
    plain.update(changes)
    return json.dumps(plain)


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"format": 2, "version": "9.9"}, "saved by fansr 9.9"), ({"format": True}, "format is True"), ({"fansr": "x"}, "no saved law"),
     ({"laws": []}, "laws must be a list"), ({"chosen": 1}, "chosen is 1"), ({"columns": ["a", "a"]}, "one name"),
     ({"columns": []}, "there are 0 variables"), ({"low": [None]}, "low must hold finite"), ({"verdict": "fine"}, "wanted one of exact"),
     ({"conversions": []}, "must be objects"), ({"law_prefix": ["+", "x1"]}, "operands missing"),
     ({"law_prefix": ["__import__", "x1"]}, "position 0"), ({"law_constants": [1.0]}, "list of 3 numbers"),
     ({"law_constants": [1.0, 2.0, "3"]}, "finite numbers"), ({"law_covariance": [[1]]}, "3 rows"),
     ({"law_covariance": [[-1.0, 0, 0], [0, 1, 0], [0, 0, 1]]}, "covariance is none"), ({"law_fvu": "x"}, "fvu"),
     ({"law_freedom": -1}, "0 or more"), ({"columns": 7}, "list of texts")],
)  # fmt: skip
def test_a_file_that_is_wrong_is_refused_in_one_line(tmp_path, changes, said):
    (tmp_path / "law.json").write_text(text_of(**changes))
    with pytest.raises(DataError) as error:
        saved_law.load(tmp_path / "law.json")
    assert said in str(error.value) and "\n" not in str(error.value) and "law.json" in str(error.value)


@pytest.mark.parametrize("text", ["", "[1]", "7", "{", "a,b\n1,2\n", '{"prefix": ["x1"]}', "[" * 100_000])
def test_other_files_are_refused(tmp_path, text):
    (tmp_path / "law.json").write_text(text)
    with pytest.raises(DataError, match=r"law\.json: .*wanted the JSON file"):
        saved_law.load(tmp_path / "law.json")


def test_every_missing_key_is_named():
    whole = json.loads(text_of())
    for key in ("columns", "target", "laws", "chosen", "low", "high", "rows", "verdict"):
        cut = {k: v for k, v in whole.items() if k != key}
        with pytest.raises(DataError, match=f"{key} is missing"):
            saved_law.parse(json.dumps(cut).encode(), "law.json")


def test_what_cannot_be_written_is_said():
    law, _, _ = fitted()
    with pytest.raises(DataError, match="/nowhere/law.json"):
        saved_law.save(law, "/nowhere/law.json")


def test_standard_errors_are_the_diagonal_of_the_covariance():
    law, best, _ = fitted()
    problem = Problem(X, Y, ["x"])
    candidate = Candidate(EXPR, best, law.laws[0].fvu)
    errors = rounding.law_errors(candidate, X, Y, 1e-26)
    covariance = rounding.law_covariance(candidate, X, Y, 1e-26)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), errors, rtol=1e-9)
    assert law.laws[0].noise == pytest.approx(math.sqrt(np.sum((problem.y - law.predict(X)) ** 2) / 57), rel=1e-9)


def test_bands_of_noise_in_proportion_to_the_values():
    rng = np.random.default_rng(1)
    x = np.geomspace(1, 1000, 80)[:, None]
    y = 2.31 * x[:, 0] ** 1.37 * np.exp(0.1 * rng.normal(size=80))
    problem, options = Problem(x, y, ["x"]), turns.Options(proposers=("power",), loss="relative")
    found = outliers.find(problem, options)
    law = saved_law.of(found, problem, options, verdict.Judged("noise", "", []))
    low, high = law.bands(x)
    share = (high - low) / law.predict(x)
    assert law.law().relative and np.ptp(share) < 0.1 * share.mean() and 0.3 < share.mean() < 0.5
    assert 0.85 < np.mean((low <= y) & (y <= high)) <= 1
