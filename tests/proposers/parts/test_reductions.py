"""What is put back must be the target again, by numpy's own arithmetic, however reductions follow one another."""

import numpy as np
import pytest
import sympy
from hypothesis import given, settings, strategies as st

from fansr.expressions import to_infix
from fansr.expressions.programs import evaluate
from fansr.fitting.problem import Budget, Candidate, Problem
from fansr.proposers.parts import reductions as cut
from fansr.proposers.parts.monomials import factors_of
from fansr.proposers.parts.target_transforms import OUTERS, RARE_OUTERS

D = 3
X = np.random.default_rng(0).uniform(0.5, 1.5, (60, D))
ALL = [((f"x{j + 1}",), X[:, j]) for j in range(D)]
INNER = ("sin", "*", "x1", "+", "x2", "0.5")  # of the smaller problem's first two columns, positive


def front(problem, j, e):
    v = problem.X[:, j] ** float(e)
    return cut.without_front(problem, range(D), factors_of([e], columns=[j]), v), lambda t: t * v


def summand(problem, j, e):
    v = problem.X[:, j] ** float(e)
    return cut.without_summand(problem, range(D), 2.5, factors_of([e], columns=[j]), v), lambda t: t + 2.5 * v


def merged(problem, j, e):
    """The first column and another exchanged for their sum and the other."""
    values = problem.X[:, 0] + problem.X[:, 1]
    columns = [(("+", "x1", "x2"), values), *cut.columns_of(problem, (1, 2))]
    return cut.in_columns(problem, columns), lambda t: t


steps = st.lists(
    st.tuples(st.sampled_from([front, summand, merged]), st.integers(0, D - 1), st.sampled_from([-2, -1, 1, 3])),
    max_size=5,
)


@settings(deadline=None, max_examples=60)
@given(steps)
def test_a_chain_of_reductions_gives_the_target_back(chain):
    """The inner law is known where the target is made of it: outwards by numpy, inwards by the reductions."""
    state = cut.in_columns(Problem(X=X, y=np.ones(len(X)), names=["x1", "x2", "x3"]), ALL)
    outwards = []
    for step, j, e in chain:
        reduction, back = step(state.problems[0], j, e)
        state = state.then(reduction)
        outwards.append(back)
    (inner,) = state.problems
    y = t = evaluate(list(INNER), inner.X)
    for back in reversed(outwards):
        y = back(y)
    put_back = list(state.restore(INNER))
    assert np.allclose(evaluate(put_back, X), y, rtol=1e-9)
    # The other way: the target, taken down the same chain, is the inner law's.
    again = cut.in_columns(Problem(X=X, y=y, names=["x1", "x2", "x3"]), ALL)
    for step, j, e in chain:
        again = again.then(step(again.problems[0], j, e)[0])
    assert np.allclose(again.problems[0].y, t, rtol=1e-6, atol=1e-6 * np.abs(y).max())


@pytest.mark.parametrize("outer", OUTERS + RARE_OUTERS, ids=lambda outer: outer.name)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_undone_functions_are_put_back(outer, sign):
    S = np.linspace(0.3, 0.8, 40)
    y = sign * outer.do(S)
    reduction = cut.without_function(Problem(X=S[:, None], y=y, names=["x1"]), outer)
    if reduction is None:
        assert sign < 0 and not outer.defined(y).all()
        return
    # Put back, the column that is the smaller target must be the larger.
    t = reduction.problems[0].y
    assert sign < 0 or np.allclose(t, S)
    assert np.allclose(evaluate(list(reduction.restore(("x1",))), t[:, None]), y)


def test_neighbouring_fronts_make_one_product():
    problem = Problem(X=X, y=X[:, 0] ** 2 / X[:, 1] * np.cosh(X[:, 2]), names=["x1", "x2", "x3"])
    first = cut.without_front(problem, (1, 2), factors_of([2], columns=[0]), X[:, 0] ** 2)
    second = cut.without_front(first.problems[0], (1,), factors_of([-1], columns=[0]), 1 / X[:, 1])
    both = first.then(second)
    assert np.allclose(both.problems[0].y, np.cosh(X[:, 2])) and both.problems[0].X.shape == (60, 1)
    law = list(both.restore(("cosh", "x1")))
    x1, x2, x3 = sympy.symbols("x1 x2 x3", positive=True)
    assert (
        sympy.simplify(sympy.sympify(to_infix(law), {"x1": x1, "x2": x2, "x3": x3}) - x1**2 / x2 * sympy.cosh(x3)) == 0
    )
    assert len(law) == 7


def test_written_replaces_every_column():
    assert cut.written(("+", "x2", "sin", "x1"), [("*", "x1", "x3"), ("2.0",)]) == ("+", "2.0", "sin", "*", "x1", "x3")


def solver_of(answers, asked):
    """A solver that gives each problem its answers, and notes who was asked."""

    def solver(problem, floor, budget, rng):
        asked.append((problem.names[0], floor))
        for batch in answers[problem.names[0]]:
            yield [Candidate(list(expr), np.zeros(0), fvu) for expr, fvu in batch]

    return solver


def one(name, error=0.1):
    return cut.Reduction((Problem(X=X[:, :1], y=X[:, 0], names=[name]),), lambda law: (name, *law), error)


def test_each_solver_is_asked_about_all_before_the_next():
    asked = []
    solvers = [solver_of({"a": [[(("x1",), 0.5)]], "b": [[(("sin", "x1"), 0.1)]]}, asked)] * 2
    laws = list(cut.solve([one("a"), one("b")], solvers, Budget(None), None))
    assert [name for name, _ in asked] == ["a", "b", "a", "b"]
    assert laws[:2] == [[("a", "x1")], [("b", "sin", "x1")]]


def test_what_falls_behind_goes_no_further_and_an_exact_answer_ends_it():
    asked = []
    batches = [[(("x1",), 1e-3)], [(("cos", "x1"), 0.9)], [(("exp", "x1"), 1e-30)]]
    solvers = [solver_of({"a": batches, "b": [[(("x1",), 0.5)]]}, asked)] * 2
    laws = list(cut.solve([one("a"), one("b")], solvers, Budget(None), None))
    assert laws == [[("a", "x1")], [], [("a", "exp", "x1")]]
    assert [name for name, _ in asked] == ["a"]
    unasked: list = []
    assert list(cut.solve([one("a")], [solver_of({}, unasked)], Budget(None), None, lambda reduction: False)) == []
    assert unasked == []


def test_answers_to_several_problems_are_combined_the_likeliest_first():
    asked = []
    parts = tuple(Problem(X=X[:, :1], y=X[:, 0], names=[name]) for name in "ab")
    both = cut.Reduction(parts, lambda first, second: ("+", *first, *second), 0.1, (1e-3, 1e-5))
    answers = {"a": [[(("sin", "x1"), 1e-4), (("x1",), 1e-9)]], "b": [[(("cos", "x1"), 1e-9), (("x1",), 1e-3)]]}
    laws = [law for batch in cut.solve([both], [solver_of(answers, asked)], Budget(None), None) for law in batch]
    assert asked == [("a", 1e-3), ("b", 1e-5)]
    # Below the floor of a's problem the shorter law comes first, though it errs no less than the other may.
    assert laws[0] == ("+", "x1", "cos", "x1") and len(set(laws)) == 4
    assert laws[-1] == ("+", "sin", "x1", "x1")
    answers["b"] = []
    assert not any(cut.solve([both], [solver_of(answers, asked)], Budget(None), None))
