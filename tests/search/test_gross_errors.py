"""gross_errors.py: a slip is seen where the other rows say what stands there, and no row of a steep, kinked or noisy law is one."""

from collections import Counter

import numpy as np
import pytest

from fansr.fitting import Budget, Candidate, Problem
from fansr.search import outliers, turns
from fansr.search.gross_errors import gross_errors

LAWS = {
    "line": lambda X: 3 * X[:, 0] + 2,
    "decay": lambda X: 8 * np.exp(-X[:, 0] / 3),
    "growth": lambda X: np.exp(X[:, 0]),
    "wave": lambda X: np.sin(X[:, 0]),
    "kink": lambda X: np.abs(X[:, 0] - 4),
    "step": lambda X: 1.0 * (X[:, 0] > 4),
    "power": lambda X: X[:, 0] ** -3.0,
}
OF_TWO = {
    "product": lambda X: X[:, 0] * X[:, 1] / 3,
    "plane": lambda X: 2 * X[:, 0] - X[:, 1] + 5,
    "quotient of sums": lambda X: (X[:, 0] + 1) / (X[:, 1] - 0.9),
    "powers": lambda X: 0.3 * X[:, 0] ** 3 * X[:, 1] ** -2,
}


def table(law, columns, rows, noise, seed):
    rng = np.random.default_rng(seed)
    X = rng.uniform(1, 8, (rows, columns))
    y = law(X)
    return X, y + noise * y.std() * rng.normal(size=rows), rng


@pytest.mark.parametrize("noise", [0.0, 0.01, 0.2])
@pytest.mark.parametrize("name", [*LAWS, *OF_TWO])
def test_no_row_of_a_law_is_a_gross_error(name, noise):
    columns = 1 if name in LAWS else 2
    for seed in range(40):
        X, y, _ = table((LAWS | OF_TWO)[name], columns, 12 + 2 * seed, noise, seed)
        assert not gross_errors(Problem(X, y, ["a", "b"][:columns])).any(), seed


@pytest.mark.parametrize("slip", [lambda v, y: 10 * v, lambda v, y: v + 3 * np.ptp(y), lambda v, y: -v])
@pytest.mark.parametrize("name", ["line", "decay", "product", "plane"])
def test_a_slip_is_seen_and_nothing_else(name, slip):
    columns, seen = 1 if name in LAWS else 2, 0
    for seed in range(20):
        X, y, rng = table((LAWS | OF_TWO)[name], columns, 40, 0.01, seed)
        row = int(np.argsort(np.abs(y))[30]) if columns > 1 else int(np.argsort(X[:, 0])[rng.integers(4, 30)])
        y[row] = slip(y[row], y)
        found = np.flatnonzero(gross_errors(Problem(X, y, ["a", "b"][:columns])))
        assert set(found) <= {row}
        seen += len(found)
    assert seen >= 10


def test_rows_with_weights_or_too_few_are_taken_as_they_are():
    X, y, _ = table(LAWS["line"], 1, 20, 0.0, 0)
    y[7] = 400
    assert gross_errors(Problem(X, y, ["a"])).any()
    assert not gross_errors(Problem(X, y, ["a"], weights=np.ones(20))).any()
    assert not gross_errors(Problem(X[:7], y[:7], ["a"])).any()


@pytest.mark.parametrize("seconds", [None, 2.0])
def test_the_law_is_that_of_the_other_rows(seconds):
    rng = np.random.default_rng(5)
    x = np.arange(1.0, 31.0)
    y = 3 * x + 2 + 0.3 * rng.normal(size=30)
    y[6] = 99.0
    options = turns.Options(proposers=("power", "plain", "sums", "curves"))
    found = outliers.find(Problem(x[:, None], y, ["x"]), options, Budget(seconds))
    assert found.outliers.tolist() == [6]
    slope, level = np.polyfit(np.delete(x, 6), np.delete(y, 6), 1)
    from fansr.evaluation import result

    at = np.array([[0.0], [40.0]])
    np.testing.assert_allclose(result.predict(found.best, at), slope * at[:, 0] + level, atol=0.3)
    whole = outliers.find(
        Problem(x[:, None], y, ["x"]), turns.Options(proposers=("power",), loss="squares"), Budget(seconds)
    )
    assert not len(whole.outliers)


def test_a_row_that_the_law_goes_through_is_taken_back(monkeypatch):
    """A pole between two rows: one of them is far off its neighbours, and on the law of all others."""
    x = np.delete(np.arange(1.0, 31.0), 15)
    y = x + 3 / (x - 15.02) ** 2
    problem = Problem(x[:, None], y, ["x"])
    assert np.flatnonzero(gross_errors(problem)).tolist() == [14]
    off = gross_errors(problem)
    for law, far in ((["+", "x1", "/", "3.0", "pow2", "-", "x1", "15.02"], []), (["+", "x1", "0.1"], [14])):
        assert np.flatnonzero(outliers._far(Candidate(law, np.zeros(0), 0.1), problem, off)).tolist() == far
    monkeypatch.setattr(turns, "search", lambda part, *_: found_on(part))
    asked = []

    def found_on(part):
        asked.append(len(part.y))
        law = Candidate(["+", "x1", "/", "3.0", "pow2", "-", "x1", "15.02"], np.zeros(0), 0.0)
        return turns.Found(law, [law], np.zeros(0), 0.0, 1, Counter(), "ok", 1e-26)

    found = outliers.find(problem, turns.Options(), Budget(None))
    assert asked == [28, 29] and not len(found.outliers)  # without it first, then with it


@pytest.mark.parametrize("row", [6, 9])
def test_a_peak_of_one_row_is_no_part_of_an_exact_law(row, monkeypatch):
    monkeypatch.setattr(outliers.gross_errors, "gross_errors", lambda problem: np.zeros(len(problem.y), bool))
    x = np.arange(1.0, 16.0)
    y = 3 * x + 2
    y[row] = 99
    found = outliers.find(Problem(x[:, None], y, ["x"]), turns.Options(), Budget(5.0))
    assert found.outliers.tolist() == [row] and found.best.fvu < 1e-28 and found.best.length == 4


def test_no_row_is_left_out_that_has_a_weight_or_where_more_is_asked_for(monkeypatch):
    monkeypatch.setattr(outliers.gross_errors, "gross_errors", lambda problem: np.zeros(len(problem.y), bool))
    x = np.arange(1.0, 16.0)
    y = 3 * x + 2
    y[6] = 99
    weighed = Problem(x[:, None], y, ["x"], weights=np.ones(15))
    assert not len(outliers.find(weighed, turns.Options(), Budget(3.0)).outliers)
    squares = turns.Options(loss="squares")
    assert not len(outliers.find(Problem(x[:, None], y, ["x"]), squares, Budget(3.0)).outliers)
