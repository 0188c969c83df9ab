"""Best subsets against trying all of them."""

from itertools import combinations

import numpy as np
import pytest

from fansr.proposers.parts.sparse_sums import ProductSubsets, Subsets, best_subsets, without_each


def residual(B, t, members):
    c = np.linalg.lstsq(B[list(members)].T, t, rcond=None)[0]
    r = t - B[list(members)].T @ c
    return float(r @ r) / float(t @ t)


@pytest.fixture
def features():
    rng = np.random.default_rng(0)
    B = rng.normal(size=(40, 60)) * 10.0 ** rng.integers(-3, 4, 40)[:, None]
    B[7] = 3 * B[6] + 1e-3 * B[6].std() * rng.normal(size=60)  # nearly collinear
    return B, rng.normal(size=60), rng


def test_singles_and_pairs_are_the_best_there_are(features):
    B, t, _ = features
    subsets = Subsets(B, t)
    all_singles = sorted((residual(B, t, (i,)), (i,)) for i in range(40))
    assert [s for _, s in subsets.singles(5)] == [s for _, s in all_singles[:5]]
    found = subsets.pairs(3)
    # Pairs more collinear than the limit are left out on purpose.
    all_pairs = sorted((residual(B, t, p), p) for p in combinations(range(40), 2) if p != (6, 7))
    assert found[0][1] == all_pairs[0][1] and np.isclose(found[0][0], all_pairs[0][0], rtol=1e-9)
    assert all(np.isclose(r, residual(B, t, p), rtol=1e-6) for r, p in found)


def test_exchange_finds_planted_triples(features):
    B, _, rng = features
    hits = 0
    for _trial in range(20):
        truth = tuple(sorted(rng.choice([i for i in range(40) if i not in (6, 7)], 3, replace=False).tolist()))
        t = sum(rng.uniform(0.5, 2) * B[i] / B[i].std() for i in truth)
        subsets = Subsets(B, t)
        value, members = best_subsets(subsets, 3, [s for _, s in subsets.pairs(6)], rng)[0]
        hits += members == truth and value < 1e-10
    assert hits >= 19


def test_exchange_never_ends_worse_than_it_began(features):
    B, t, rng = features
    subsets = Subsets(B, t)
    for _ in range(10):
        start = rng.choice(40, 3, replace=False)
        assert subsets.exchange(start[None, :])[0][0] <= residual(B, t, start) + 1e-9


def test_few_features_end_quickly():
    rng = np.random.default_rng(0)
    B, t = rng.normal(size=(3, 20)), rng.normal(size=20)
    subsets = Subsets(B, t)
    assert best_subsets(subsets, 4, [(0, 1, 2)], rng) == [] and without_each(subsets, [(0, 1, 2)], rng) == []
    assert best_subsets(subsets, 3, [(0, 1)], rng)[0][1] == (0, 1, 2)


def test_a_banned_feature_stays_out(features):
    B, t, rng = features
    subsets = Subsets(B, t)
    best = best_subsets(subsets, 3, [s for _, s in subsets.pairs(6)], rng)[0][1]
    others = [set(members) for _, members in without_each(subsets, [best], rng)]
    assert others and any(best[0] not in s for s in others) and set(best) not in others


def test_products_agree_with_writing_them_down(features):
    _, _, rng = features
    A, U = rng.normal(size=(8, 60)), rng.normal(size=(5, 60))
    t = 2 * A[3] * U[1] - A[6] * U[4] + 0.01 * rng.normal(size=60)
    products = ProductSubsets(A, U, t)
    B = np.array([a * u for a in A for u in U])
    assert products.best([])[0] == min(range(40), key=lambda i: residual(B, t, (i,)))
    value, members = products.exchange([0, 1])
    assert sorted(members) == [3 * 5 + 1, 6 * 5 + 4] and np.isclose(value, residual(B, t, members))
    assert products.best([], 1, banned=products.best([])[0]) != products.best([])
