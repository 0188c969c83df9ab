"""Mending the wrong parts of candidates: laws that were nearly found are found, right ones are left alone."""

import numpy as np
import pytest

from fansr.expressions import evaluate, free, from_infix
from fansr.fitting import Budget, Candidate, Problem, Refiner
from fansr.proposers import wrong_parts

NAMES = ["a", "b", "c", "d", "e", "f"]


class Pool(list):
    """The leaders of a search."""


def table(truth, rows=300, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.6, 3.0, (rows, 6))
    y = evaluate(from_infix(truth, NAMES), X)
    return Problem(X=X, y=y + noise * y.std() * rng.standard_normal(rows), names=NAMES)


def fitted(law, problem):
    """A formula as a candidate, its constants fitted."""
    expr, values = free(from_infix(law, NAMES))
    fvu, consts = Refiner(problem.X, problem.y).polish(expr, np.array(values, dtype=float))
    return Candidate(expr, consts, float(fvu), "test")


def finder(problem):
    return wrong_parts.Finder(problem, np.random.default_rng(0))


def mended(problem, candidate, turns=60):
    """The best candidate that comes of it, each better one joining the leaders."""
    pool, best = Pool([candidate]), candidate
    for turn, batch in enumerate(wrong_parts.propose(problem, Budget(None), np.random.default_rng(0), pool)):
        for new in batch:
            if new.fvu < best.fvu:
                best = new
                pool.insert(0, new)
        if best.fvu < 1e-20 or turn > turns:
            break
    return best


@pytest.mark.parametrize(
    "truth, nearly",
    [
        (
            "exp(-1.4*c*f)*log(d/b + 0.87)/(a - e + 4.2)",
            "2.8*exp(-0.21*sin(-0.48*b/d) - 1.6*sqrt(b/d) - 1.4*c*f)/((b/d)**0.14*(a - e + 4.2))",
        ),
        ("sqrt(0.77 + d**2)/(b + 1.3*f) + 0.96*e**2", "(0.4*d + 0.9)/(b + 1.3*f) + 0.96*e**2"),
        ("4*a*b + sin(2.1*c*d)/e", "4*a*b + (0.4 - 0.1*c*d)/e"),
        (
            "exp(-a/(0.37*d))*(sqrt(c*b) - 1.2)/(c + 0.44)",
            "0.7*(b - 1.4/c)*exp(-2.7*a/d)/(sqrt(b) + 0.02*b*c**2 + 1.3)",
        ),
    ],
)
def test_a_wrong_function_is_replaced_by_the_right_one(truth, nearly):
    problem = table(truth)
    candidate = fitted(nearly, problem)
    assert candidate.fvu > 1e-9
    best = mended(problem, candidate)
    assert best.fvu < 1e-20
    fresh = np.random.default_rng(9).uniform(0.6, 3.0, (200, 6))
    values = evaluate(best.expr, fresh, best.consts)
    assert np.allclose(values, evaluate(from_infix(truth, NAMES), fresh), rtol=1e-7)


def test_two_parts_wrong_at_once_are_told_apart():
    truth, nearly = "log(e/a + 1.6)*(sqrt(b) - 0.3)*exp(-0.4*c)", "(sqrt(e/a) + 0.6)*(0.4*b + 0.3)*exp(-0.4*c)"
    problem = table(truth)
    candidate = fitted(nearly, problem)
    several = [task for task in finder(problem).tasks(candidate) if len(task.reduction.problems) > 1]
    assert len(several) == 1
    reduction = several[0].reduction
    assert {problem.names[0] for problem in reduction.problems} >= {"x2"}
    # As they are, the parts make up the candidate.
    whole = reduction.restore(*[None] * len(reduction.problems))
    assert np.allclose(
        evaluate(list(whole), problem.X), evaluate(candidate.expr, problem.X, candidate.consts), rtol=1e-9
    )
    assert mended(problem, candidate).fvu < 1e-20


def test_the_right_parts_make_a_law():
    problem = table("a*exp(-0.5*b*c) + sqrt(d)")
    candidate = fitted("a*(1 - 0.3*b*c) + sqrt(d)", problem)
    single = [task for task in finder(problem).tasks(candidate) if len(task.reduction.problems) == 1]
    assert single
    laws = [
        task.reduction.restore(["exp", "*", "-0.5", "x1"])
        for task in single
        if task.reduction.problems[0].names == ["* x2 x3"]
    ]
    assert any(np.allclose(evaluate(list(law), problem.X), problem.y, rtol=1e-6) for law in laws)


def test_noise_is_nothing_to_mend():
    problem = table("a*exp(-0.5*b) + c*d", rows=400, noise=0.05)
    assert not finder(problem).tasks(fitted("a*exp(-0.5*b) + c*d", problem))


def test_the_same_part_is_not_named_twice():
    problem = table("a*exp(-0.5*b) + c*d")
    candidate = fitted("a*(2 - b) + c*d", problem)
    found = finder(problem)
    assert found.tasks(candidate)
    assert not found.tasks(candidate)


def test_what_is_no_candidate_to_look_at():
    problem = table("a + b")
    knows = finder(problem).knows
    assert knows(Candidate(["+", "x1", "x2"], np.zeros(0), 0.1, ""))
    assert not knows(Candidate(["+", "x1", "x2"], np.zeros(0), 0.9, ""))  # too far away
    assert not knows(Candidate(["+", "x1", "x2"], np.zeros(0), 1e-25, ""))  # exact
    assert not knows(Candidate(["@mine", "x1"], np.zeros(0), 0.1, ""))  # defined by a user


@pytest.mark.parametrize("X", [np.ones((10, 3)), np.random.default_rng(0).uniform(size=(100, 1))])
def test_few_rows_or_one_column_are_left_to_others(X):
    problem = Problem(X=X, y=np.arange(float(len(X))), names=["a", "b", "c"][: X.shape[1]])
    assert not list(wrong_parts.propose(problem, Budget(None), np.random.default_rng(0), Pool()))


def test_with_a_clock_it_waits_and_without_one_it_ends():
    problem = table("a + b")
    assert not list(wrong_parts.propose(problem, Budget(None), np.random.default_rng(0), Pool()))
    steps = wrong_parts.propose(problem, Budget(30.0), np.random.default_rng(0), Pool())
    assert [next(steps) for _ in range(5)] == [[]] * 5


def test_scatter_is_one_for_noise_and_nothing_for_a_smooth_function():
    rng = np.random.default_rng(5)
    u, ones = rng.exponential(size=4000), np.ones(4000)
    assert 0.9 < wrong_parts.scatter(u, rng.standard_normal(4000), ones) < 1.1
    assert wrong_parts.scatter(u, np.sin(2 * u), ones) < 1e-4
    half = wrong_parts.scatter(u, np.sin(2 * u) + np.std(np.sin(2 * u)) * rng.standard_normal(4000), ones)
    assert 0.3 < half < 0.6


def test_linear_pieces_add_up_to_one_and_to_any_line():
    u = np.random.default_rng(6).uniform(-1, 3, 100)
    B = wrong_parts.linear_pieces(u)
    assert np.allclose(B.sum(axis=1), 1)
    c = np.linalg.lstsq(B, 2 * u - 1, rcond=None)[0]
    assert np.allclose(B @ c, 2 * u - 1)
