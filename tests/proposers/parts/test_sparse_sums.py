"""Best subsets against trying all of them."""

from itertools import combinations

import numpy as np
import pytest

from fansr.proposers.parts.sparse_sums import Subsets, best_subsets, growing, without_each


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


def test_sets_grow_to_the_best_there_are(features):
    B, _, rng = features
    truth = (3, 11, 20, 31)
    t = sum(B[i] / B[i].std() for i in truth)
    sizes = []
    for found in growing(Subsets(B, t), 4, rng):
        value, members = found[0]
        sizes.append(len(members))
        assert np.isclose(value, residual(B, t, members), rtol=1e-6, atol=1e-11)
        assert found == sorted(found)
    assert sizes == [1, 2, 3, 4] and members == truth
    assert len(list(growing(Subsets(B[:2], t), 5, rng))) == 2
