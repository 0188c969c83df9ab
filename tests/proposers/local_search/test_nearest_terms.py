"""The nearest terms of a library, against plain loops with numpy's least squares over every term of it."""

import numba
import numpy as np
import pytest

from fansr.proposers.local_search import nearest_terms
from fansr.proposers.local_search.nearest_terms import BEST, LEADING, VECTORS, Best, Pass, Sample
from fansr.proposers.local_search.subtree_library import POINTS, SUMMAND_PRICE, TERM_PRICE, TILE, library_of, stock

nearest, complete = nearest_terms.nearest, nearest_terms.complete


@numba.njit
def _nearest(target, sw, n, library, space, best):
    nearest(target, sw, n, library, space, best)


@numba.njit
def _complete(sample, V, places, n_terms, out, library, Q, space, best):
    complete(sample, V, places, n_terms, out, library, Q, space, best)


def work(library):
    """(space, best) as the kernels want them."""
    space = Pass(
        np.empty((VECTORS, POINTS), np.float32), np.empty(VECTORS * TILE, np.float32), np.empty(TILE, np.float32),
        np.empty(LEADING, np.int64), np.empty(LEADING, np.float32),
        np.zeros(len(library.tiles), np.int64), np.empty((len(library.tiles), 2, TILE), np.float32),
    )  # fmt: skip
    return space, Best(np.empty(BEST, np.int64), np.empty((BEST, 3)))


def unexplained(A, y, sw):
    """The share of y's weighted power that the columns A (n, c) leave."""
    A, y = A * sw[:, None], y * sw
    size = np.abs(A).max(0)
    left = y - A @ (np.linalg.lstsq(A / size, y, rcond=1e-12)[0] / size)
    return max((left @ left) / (y @ y), 1e-13)


def plain_scores(library, target, sw):
    """Of every term the score that nearest() documents."""
    scores = []
    for T, length in zip(library.values, library.lengths):
        alone, both = unexplained(T[:, None], target, sw), unexplained(np.stack([T, np.ones(len(T))], 1), target, sw)
        summand = both * 4 < alone
        scores.append(np.log(both if summand else alone) + TERM_PRICE * length + SUMMAND_PRICE * summand)
    return np.array(scores)


@pytest.mark.parametrize("low, high", [(0.5, 3.0), (9.78, 9.82), (-2.0, 2.0)])
def test_nearest_is_the_best_of_a_plain_loop(low, high):
    rng = np.random.default_rng(3)
    X = rng.uniform(low, high, (64, 3))
    library = stock(X, [0, 1, 2], most=300)
    assert len(library.values) % TILE  # a tile that is not full
    for trial in range(12):
        k, other = rng.integers(len(library.values), size=2)
        target = rng.normal() * library.values[k] + rng.normal() * np.abs(library.values[k]).max()
        if trial % 2:
            target = target + 0.3 * np.std(target) * library.values[other] / np.std(library.values[other])
        sw = rng.uniform(0.2, 1.0, 64) * (rng.random(64) < 0.9)
        space, best = work(library)
        _nearest(target, sw, 64, library, space, best)
        scores = plain_scores(library, target, sw)
        lowest = scores.min()
        assert best.scores[0, 0] == pytest.approx(lowest, abs=1e-3 if lowest > -20 else 3.0)
        assert scores[best.rows[0]] == pytest.approx(lowest, abs=1e-3 if lowest > -20 else 3.0)
        if lowest > -12:  # what is found is what is written
            a, b = best.scores[0, 1:]
            left = sw * (target - a - b * library.values[best.rows[0]])
            own = np.log(left @ left / ((sw * target) @ (sw * target)))
            extra = TERM_PRICE * library.lengths[best.rows[0]] + SUMMAND_PRICE * (a != 0)
            assert own + extra == pytest.approx(best.scores[0, 0], abs=1e-6)


def test_complete_is_the_best_of_a_plain_loop():
    rng = np.random.default_rng(4)
    X = rng.uniform(0.5, 3.0, (64, 3))
    library = stock(X, [0, 1, 2], most=300)
    for _ in range(8):
        V = np.zeros((10, 64))
        V[1], V[4], places = X[:, 0], np.sin(X[:, 1]), np.array([1, 4, 0, 0, 0, 0, 0])
        k = rng.integers(20, len(library.values))
        y = (
            2 * V[1]
            - 3 * V[4]
            + 1
            + rng.normal() * library.values[k] / np.abs(library.values[k]).max()
            + 0.01 * rng.normal(size=64)
        )
        sw = rng.uniform(0.2, 1.0, 64)
        space, best = work(library)
        for out in (-1, 0, 1):
            sample = Sample(np.ascontiguousarray(X.T), y, sw, 64)
            _complete(sample, V, places, 2, out, library, np.empty((9, 64)), space, best)
            stay = [np.ones(64), *(V[place] for t, place in enumerate((1, 4)) if t != out)]
            base = unexplained(np.stack(stay, 1), y, sw)
            scores = np.array([
                np.log(max(1e-13, unexplained(np.stack([*stay, T], 1), y, sw) / base)) + TERM_PRICE * length
                for T, length in zip(library.values, library.lengths)
            ])  # fmt: skip
            assert best.scores[0, 0] == pytest.approx(scores.min(), abs=1e-4)
            assert best.rows[0] == scores.argmin()


def test_a_library_marks_what_it_cannot_look_at():
    values = np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0], [1.0, np.inf, 2.0], [1e199, 2e199, -1e199]])
    library = library_of(values, np.zeros((4, 64), np.int64), np.array([1, 2, 3, 4]))
    prices = library.prices.ravel()
    assert np.isfinite(prices[[0, 3]]).all() and np.isinf(prices[[1, 2]]).all() and np.isinf(prices[4:]).all()
    assert np.isfinite(library.tiles).all() and np.abs(library.tiles).max() == 1
    np.testing.assert_allclose(
        library.tiles[0, :3, 3] + library.centres[0, 3],
        values[3] / np.abs(values[3] - values[3].mean()).max(),
        rtol=1e-6,
    )
