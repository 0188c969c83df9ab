"""Sums of many products in rounded and noisy tables, against the laws they were made with."""

import numpy as np
import pytest

from fansr.expressions import evaluate
from fansr.fitting import Budget, Problem
from fansr.proposers import noisy_polynomials
from fansr.proposers.parts.target_transforms import OUTER, view_of
from fansr.proposers.rational import Table

LAWS = {
    "sum": (4, lambda a, b, c, d: a * a - 2 * a * b + 3 * c * d + b * c - d * d),
    "area of a triangle": (3, lambda a, b, c: np.sqrt((a + b + c) * (b + c - a) * (a + c - b) * (a + b - c)) / 4),
    "inverse": (3, lambda a, b, c: 9 / (a * a + b * c + 2 * c)),
    "inverse root": (3, lambda a, b, c: 5 / np.sqrt(a * a + b * b - a * b + 3 * c * c)),
    "exponential": (3, lambda a, b, c: np.exp((a * b - a * c + b * b + 3 * c) / 60)),
    "logarithm": (2, lambda a, b: 2 * np.log(3 * a * a + a * b + 2 * b + 5)),
    "quotient": (3, lambda a, b, c: a + b * c / (b + c)),
    "quotient of lines": (3, lambda a, b, c: (a + 2 * b - 4) / (c + a / 2 - 1)),
    "root of a quotient": (3, lambda a, b, c: np.sqrt((a * a + b * c) / (2 * a + b - c))),
    "over a column": (3, lambda a, b, c: (b * b + 2 * a * c + c * c) / a),
}


def sides(rng, n, D):
    """Columns (n, D) with one digit behind the point, which three by three may be the sides of a triangle."""
    return rng.uniform(5, 9, (n, D)).round(1)


def best_of(X, y, weights=None):
    problem = Problem(X, y, [f"x{j + 1}" for j in range(X.shape[1])], weights=weights)
    batches = noisy_polynomials.propose(problem, Budget(None), np.random.default_rng(0))
    return min((c for batch in batches for c in batch), key=lambda c: c.fvu + 1e-9 * c.length, default=None)


@pytest.mark.parametrize("digits", [4, None])
@pytest.mark.parametrize("name", LAWS)
def test_the_law_is_found_behind_rounding_and_noise(name, digits):
    D, law = LAWS[name]
    rng = np.random.default_rng(7)
    X, fresh = sides(rng, 70, D), sides(rng, 300, D)
    y = law(*X.T)
    shown = np.array([float(f"{v:.{digits}g}") for v in y]) if digits else y + 0.01 * y.std() * rng.normal(size=70)
    best = best_of(X, shown)
    error = np.std(evaluate(best.expr, fresh, best.consts) - law(*fresh.T))
    assert error < 1.0 * np.std(shown - y)


@pytest.mark.parametrize("name", ["y", "sqrt", "1/y", "1/sqrt", "exp", "log"])
def test_rows_weigh_as_the_slope_of_the_view(name):
    y = np.linspace(0.5, 2.5, 40)
    low, view, high = (view_of(y + step, OUTER[name], unit=0.7) for step in (-1e-6, 0.0, 1e-6))
    assert np.abs(noisy_polynomials.slope(view)) == pytest.approx(np.abs(high.S - low.S) / 2e-6, rel=1e-5)


def test_rows_that_weigh_little_hardly_count():
    D, law = LAWS["sum"]
    rng = np.random.default_rng(3)
    X = sides(rng, 80, D)
    y = law(*X.T)
    shown, weights = y + 0.01 * rng.normal(size=80), np.ones(80)
    shown[:20] += 5 * rng.normal(size=20)
    weights[:20] = 1e-8
    best = best_of(X, shown, weights)
    assert np.std(evaluate(best.expr, X, best.consts) - y) < 0.01


def test_what_noise_covers_is_left_to_others():
    rng = np.random.default_rng(5)
    X = sides(rng, 60, 3)
    y = LAWS["inverse"][1](*X.T)
    assert best_of(X, y + y.std() * rng.normal(size=60)) is None
    assert best_of(X[:10], y[:10]) is None


def test_a_zero_below_on_a_row_is_no_trouble(capfd):
    X = np.random.default_rng(2).integers(0, 4, (60, 3)).astype(float)
    y = (X[:, 0] + X[:, 1] * X[:, 2] + 1) / (X[:, 0] + 2)
    shown = (y + 0.01 * np.random.default_rng(3).normal(size=60)).round(3)
    best_of(X, shown)
    table = Table(Problem(X, shown, list("abc")), [0, 1, 2], False, np.random.default_rng(0))
    one = noisy_polynomials.Sum(
        0.0, noisy_polynomials.seen(table, "y"), (1, 0, 0), ((0, 0, 0), (0, 1, 0)), ((0, 0, 0),)
    )
    with np.errstate(all="ignore"):
        noisy_polynomials.written(table, one)
    assert "illegal" not in "".join(capfd.readouterr())


def test_sums_of_all_terms_and_of_terms_of_one_degree():
    X = np.random.default_rng(0).uniform(1, 2, (60, 3))
    table = Table(Problem(X, X[:, 0], list("abc")), [0, 1, 2], False, np.random.default_rng(0))
    sets = [set(vectors) for vectors in noisy_polynomials.term_sets(table)]
    assert [len(one) for one in sets] == [10, 20, 35, 6, 10, 15, 28]
    assert {sum(v) for v in sets[2]} == {0, 1, 2, 3, 4} and {sum(v) for v in sets[5]} == {4}
    few = Table(Problem(X[:20], X[:20, 0], list("abc")), [0, 1, 2], False, np.random.default_rng(0))
    assert [len(one) for one in noisy_polynomials.term_sets(few)] == [10, 6, 10]
    assert [(len(a), len(b)) for a, b in noisy_polynomials.quotient_sets(few)] == [(4, 4), (10, 4), (6, 3)]


def test_a_table_that_nothing_explains_is_not_looked_at():
    D, law = LAWS["sum"]
    X = sides(np.random.default_rng(4), 60, D)
    y = law(*X.T).round(1)
    problem = Problem(X, y, list("abcd"))

    class Best:
        fvu = 0.4

    class Pool:
        best = Best()

    def asked():
        return list(noisy_polynomials.propose(problem, Budget(None), np.random.default_rng(0), Pool()))

    assert asked() == []
    Pool.best.fvu = 0.2
    assert any(candidate.fvu < 1e-4 for batch in asked() for candidate in batch)
