"""Candidates measured, polished and handed on until one is exact."""

import numpy as np

from fansr.fitting.problem import Budget, Problem
from fansr.proposers.parts.candidates import Polisher, finish, fvu_of, measured, proposals, rough_score

x = np.linspace(0.5, 3, 60)
PROBLEM = Problem(X=x[:, None], y=2.5 * np.exp(-1.3 * x), names=["x1"])
NEAR, EXACT, FAR = ("*", "2.4", "exp", "*", "-1.2", "x1"), ("*", "2.5", "exp", "*", "-1.3", "x1"), ("x1",)


def test_measured_leaves_out_the_hopeless():
    overflowed = [("*", "inf", "x1"), ("+", "x1", "-inf"), ("nan",)]
    found = measured(PROBLEM, [NEAR, ("log", "neg", "x1"), *overflowed, FAR], "here")
    assert [c.length for c in found] == [6, 1] and {c.source for c in found} == {"here"}
    values = 2.4 * np.exp(-1.2 * x)
    assert np.isclose(found[0].fvu, np.sum((values - PROBLEM.y) ** 2) / np.sum((PROBLEM.y - PROBLEM.y.mean()) ** 2))


def test_only_the_promising_are_polished():
    found = Polisher(PROBLEM)(measured(PROBLEM, [NEAR, FAR], "here"))
    assert found == sorted(found, key=rough_score) or found[0].fvu < 1e-20
    assert found[0].fvu < 1e-20 and np.allclose(found[0].consts, [2.5, -1.3]) and found[1].fvu > 0.1


def test_an_exact_law_ends_it():
    asked = []

    def batches():
        for laws in ([FAR], [], [EXACT], [NEAR]):
            asked.append(laws)
            yield laws

    found = list(proposals(PROBLEM, "here", batches(), Budget(None)))
    assert len(found) == len(asked) == 3 and found[1] == [] and found[2][0].fvu < 1e-22
    assert list(proposals(PROBLEM, "here", [[FAR], [EXACT]], Budget(None), worst=1e-20))[0] == []
    assert len(list(proposals(PROBLEM, "here", [[FAR], [EXACT]], Budget(0.0)))) == 1


def test_constants_come_out_in_order():
    candidate = finish(("+", "*", "2.5", "x1", "-7.0"), "test")
    assert candidate.expr == ["+", "*", "<constant>", "x1", "<constant>"] and candidate.consts.tolist() == [2.5, -7.0]


def test_fvu_against_the_formula_and_at_the_edges():
    rng = np.random.default_rng(1)
    y, p, w = rng.normal(size=50) + 3, rng.normal(size=50), rng.uniform(0, 1, 50)
    assert np.isclose(fvu_of(y, p), np.sum((y - p) ** 2) / np.sum((y - y.mean()) ** 2))
    assert np.isclose(fvu_of(y, p, w), np.sum(w * (y - p) ** 2) / np.sum(w * (y - np.average(y, weights=w)) ** 2))
    assert np.isclose(fvu_of(1e300 * y, 1e300 * p), fvu_of(y, p)) and np.isclose(
        fvu_of(1e-300 * y, 1e-300 * p), fvu_of(y, p)
    )
    assert fvu_of(y, np.where(y > 3, np.nan, p)) == np.inf
    assert fvu_of(np.full(5, 2.0), np.full(5, 2.0)) == 0 and fvu_of(np.full(5, 2.0), np.full(5, 2.1)) == np.inf
