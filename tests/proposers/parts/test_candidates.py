"""Candidates measured, polished and handed on until one is exact."""

import numpy as np

from fansr.fitting.problem import Budget, Problem
from fansr.proposers.parts.candidates import Polisher, measured, proposals, rough_score

x = np.linspace(0.5, 3, 60)
PROBLEM = Problem(X=x[:, None], y=2.5 * np.exp(-1.3 * x), names=["x1"])
NEAR, EXACT, FAR = ("*", "2.4", "exp", "*", "-1.2", "x1"), ("*", "2.5", "exp", "*", "-1.3", "x1"), ("x1",)


def test_measured_leaves_out_the_hopeless():
    found = measured(PROBLEM, [NEAR, ("log", "neg", "x1"), FAR], "here")
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
