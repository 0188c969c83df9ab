"""Breakpoints against a scan of every place by plain least squares; laws of every kind; nothing for curves and noise."""

import numpy as np
import pytest

from fansr.expressions import evaluate, from_infix
from fansr.fitting import Budget, Candidate, Problem
from fansr.proposers import kinks
from fansr.proposers.parts.breakpoints import Rows, best_break, round_between
from fansr.search import selection, turns


def problem(law, D=1, M=60, seed=0, noise=0.0, low=0.0, high=10.0):
    rng = np.random.default_rng(seed)
    X = rng.uniform(low, high, (M, D))
    y = law(*X.T) + 0.0 * X[:, 0]
    return Problem(X, y + noise * np.std(y) * rng.normal(size=M), ["a", "b", "c"][:D])


def found(p):
    with np.errstate(all="ignore"):  # as the search has it
        return [c for batch in kinks.propose(p, Budget(None)) for c in batch]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("step", [True, False])
def test_the_place_is_the_best_of_all_places(step, weighted):
    """scipy-free check: residuals of lstsq for breakpoints on a fine grid are never smaller."""
    for seed in range(6):
        rng = np.random.default_rng(seed)
        x, other = np.round(rng.uniform(0, 10, 30), 1), rng.normal(size=30)
        y = np.where(x > 4, 2.0, 0.3 * x) + other + 0.5 * rng.normal(size=30)
        w = rng.uniform(0.2, 3, 30) if weighted else None
        rows = Rows(Problem(np.column_stack([x, other]), y, ["x", "z"], weights=w))
        beside = [rows.ones, other] if seed % 2 else [rows.ones, x]
        b = best_break(rows, step, 0, beside)
        mine, _ = rows.fit([*beside, b.values(rows.X)])
        grid = np.unique(x)
        places = np.linspace(grid[2], grid[-3], 4001)[:-1]
        sw = np.sqrt(np.ones(30) if w is None else w)

        def left(c):
            A = np.column_stack([*beside, (x > c) * 1.0 if step else np.maximum(x - c, 0)]) * sw[:, None]  # noqa: B023
            r = y * sw - A @ np.linalg.lstsq(A, y * sw, rcond=None)[0]  # noqa: B023
            return float(r @ r)

        centred = (y - np.average(y, weights=sw**2)) * sw
        assert mine <= min(map(left, places)) / float(centred @ centred) * (1 + 1e-9)


def test_what_stands_beside_is_projected_out_column_by_column():
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(40, 3)) + 5, rng.uniform(0.2, 3, 40)
    rows = Rows(Problem(X, X @ [1.0, 2.0, 3.0] + rng.normal(size=40), ["x", "y", "z"], weights=w))
    beside, columns = rows.beside([rows.ones]), [rows.ones]
    for v in (*X.T, X[:, 0] - 2 * X[:, 1], np.zeros(40), X[:, 0] ** 2):
        beside, columns = beside.joined(v), [*columns, v]
        assert np.isclose(beside.share, rows.fit(columns)[0])
    assert beside.Q.shape == (40, 5)  # of what is made up of others nothing is left
    assert beside.best(True, 2) == best_break(rows, True, 2, columns)
    assert np.isclose(beside.best(False, 2).c, best_break(rows, False, 2, columns).c)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_planes_settle_as_one_division_after_the_other_does(sign):
    rng = np.random.default_rng(1)
    A = np.column_stack([rng.normal(size=(80, 3)), np.ones(80)])
    A[:, 2] = A[:, 2] > 0  # constant on the rows of some divisions
    y = sign * (np.maximum(A @ [1, 2, 0, 1], A @ [-1, 0.5, 0.4, 0]) + 0.3 * rng.normal(size=80))
    sw = rng.uniform(0.3, 1, 80)
    few = np.arange(80) < 4
    starts = np.array([*kinks._divisions(A), A[:, 2] == 0, few])
    squares, divisions = kinks._settled(A * sw[:, None], y * sw, starts)
    for first, square, division in zip(starts, squares, divisions):
        slow = kinks._alternate(A, y, sw, first)
        if slow is None:
            assert square == np.inf
        elif not np.isnan(square):
            assert np.isclose(square, slow[0]) and np.allclose(kinks._apart(A, y, sw, division)[1], slow[1])
    assert np.isnan(squares[-2]) and np.isinf(squares[-1]) and np.isfinite(squares).sum() >= 5


EXACT = [
    ("abs", "3*abs(a - 4.5) + 1", 1), ("line", "2*a - 3*abs(a - 6) + 1", 1), ("max", "2*max(a, 4) - 1", 1),
    ("min", "min(a, 3.5)", 1), ("clamp", "2*min(max(a, 3), 6.5)", 1), ("step", "5*step(a - 4) - 2", 1),
    ("steps", "3*step(a - 2.5) + 2*step(a - 7)", 1), ("line and step", "0.5*a + 3*step(a - 6)", 1),
    ("lines", "(7 - 2*a)*step(a - 5) + a", 1), ("columns", "max(a, b)", 2), ("scaled", "3*min(a, b) + 1", 2),
    ("planes", "max(2*a - c, 3*b + 1)", 3), ("mirror", "2*abs(a - b)", 2), ("minus", "c - 2*abs(a + b - 9)", 3),
    ("beside", "2*b + 3*c - 4*abs(a - 5)", 3), ("step beside", "2*b + 9*step(a - 5)", 2),
]  # fmt: skip


@pytest.mark.parametrize("name, text, D", EXACT, ids=[row[0] for row in EXACT])
def test_every_kind_is_found_exactly(name, text, D):
    expr = from_infix(text, ["a", "b", "c"][:D])
    p = problem(lambda *columns: evaluate(expr, np.column_stack(columns)), D, M=90, seed=len(name))
    best = min(found(p), key=lambda c: c.fvu)
    assert best.fvu < 1e-18, best
    # between the rows the place of a jump is open; elsewhere the law holds
    X = np.random.default_rng(5).uniform(0.5, 9.5, (300, D))
    off = np.abs(evaluate(best.expr, X, best.consts) - evaluate(expr, X))
    assert np.mean(off > 1e-6) < (0.06 if "step" in text else 1e-9)


@pytest.mark.parametrize("law, D", [
    (lambda a: a * a, 1), (lambda a: 3 * a + 1, 1), (lambda a: a**3 - 10 * a, 1), (lambda a, b: a * b, 2), (lambda a, b: a + b, 2),
])  # fmt: skip
def test_curves_and_planes_are_left_to_others(law, D):
    laws = [c for c in found(problem(law, D)) if c.fvu < 1e-20]
    assert not [c for c in laws if {"abs", "min", "max", "step"} & set(c.expr)]


def test_noise_is_no_jump():
    """Of 60 tables of noise, of few rows and many, heavy tails among them, on none but one a jump is worth more than the mean."""
    claims = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        M, D = int(rng.choice([12, 30, 100, 400])), int(rng.integers(1, 4))
        y = rng.standard_t(3, M) if seed % 3 == 0 else rng.normal(size=M)
        pool = selection.Pool(M)
        pool.add(Candidate(["<constant>"], np.zeros(1), 1.0))
        for candidate in found(Problem(rng.uniform(0, 1, (M, D)), y, ["a", "b", "c"][:D])):
            pool.add(candidate)
        claims += pool.best.length > 1
    assert claims <= 1


def test_odd_tables_do_no_harm():
    rng = np.random.default_rng(0)
    for X, y in [
        (np.ones((20, 2)), rng.normal(size=20)),
        (np.repeat([[0.0], [1.0]], 10, axis=0), np.repeat([1.0, 5.0], 10)),
        (rng.normal(size=(30, 2)) * 1e200, rng.normal(size=30) * 1e-200),
        (rng.normal(size=(30, 2)) * 1e-200, rng.normal(size=30) * 1e200),
        (np.arange(7.0)[:, None], np.arange(7.0)),
        (rng.integers(0, 3, (50, 3)).astype(float), rng.integers(0, 2, 50).astype(float)),
    ]:
        for candidate in found(Problem(X, y, ["a", "b", "c"][: X.shape[1]])):
            assert candidate.fvu >= 0


def test_weights_take_rows_out():
    p = problem(lambda a: 2 * np.abs(a - 5), M=60)
    p.y[::7] += 50.0
    p.weights = np.where(np.arange(60) % 7 == 0, 0.0, 1.0)
    best = min(found(p), key=lambda c: c.fvu)
    assert best.fvu < 1e-20 and best.expr == "mult2 abs - x1 <constant>".split()


@pytest.mark.parametrize("low, high, wanted", [(4.233, 4.545, 4.4), (0.0, 1.0, 0.5), (-3.1, -2.9, -3.0), (99.0, 141.0, 120.0),
                                               (0.00012, 0.00018, 0.00015), (5.0, 5.0, 5.0)])  # fmt: skip
def test_a_jump_lies_at_a_short_number(low, high, wanted):
    assert round_between(low, high) == wanted


@pytest.mark.parametrize(
    "text, has", [("5*step(a - 4) - 2", "step"), ("min(a, b)", "min"), ("2*a + 3*abs(a - 6)", "abs")]
)
@pytest.mark.parametrize("seconds", [0.0, 0.5])
def test_the_whole_search_prints_them(text, has, seconds):
    expr = from_infix(text, ["a", "b"])
    p = problem(lambda a, b: evaluate(expr, np.column_stack([a, b])), 2, M=50)
    result = turns.search(p, turns.Options(), Budget(seconds))
    assert result.best.fvu < 1e-20 and has in result.best.expr and len(result.best.expr) <= len(expr) + 4
    assert np.isfinite(result.errors).all()


@pytest.mark.parametrize("names, more", [(["hours"], []), (["one", "hours"], [np.ones(50)])])
def test_a_price_by_the_hour_begun_is_a_staircase(names, more):
    """Of one column that varies, beside others that do not; of two there may be any law."""
    hours = np.round(np.random.default_rng(2).uniform(0.1, 9, 50), 2)
    p = Problem(np.column_stack([*more, hours]), 2 + 1.5 * np.floor(hours), names)
    best = min(found(p), key=lambda c: c.fvu)
    assert best.fvu == 0.0 and best.expr == f"+ * <constant> floor x{len(names)} <constant>".split()
    assert best.consts.tolist() == [1.5, 2.0]
    both = Problem(np.column_stack([hours, hours**2]), p.y, ["hours", "other"])
    assert not any("floor" in c.expr for c in found(both))


@pytest.mark.parametrize("seed", range(3))
def test_what_is_level_up_to_a_switch_is_a_curve_behind_it(seed):
    """A capacitor that is charged from t = 1 on: as good as the law that the rows are of, and level before."""
    t = np.arange(0, 4.0001, 0.05)
    truth = np.maximum(5 * (1 - np.exp(-(t - 1) / 0.6)), 0)
    y = truth + 0.02 * np.random.default_rng(seed).normal(size=len(t))
    left = np.sum((y - truth) ** 2) / np.sum((y - y.mean()) ** 2)
    laws = [c for c in found(Problem(t[:, None], y, ["t"])) if {"max", "exp"} <= set(c.expr) and c.fvu < 1.2 * left]
    assert laws
    for law in laws:
        before = evaluate(law.expr, np.array([[-5.0], [0.0], [0.9]]), law.consts)
        assert np.ptp(before) == 0 and abs(before[0]) < 0.05


def test_what_ends_level_is_a_curve_before():
    """A tank that is empty from x = 6 on, its level a square of what is left."""
    x = np.arange(0, 9, 0.125)
    y = 0.3 * (np.minimum(x, 6.0) - 7.5) ** 2
    best = min((c for c in found(Problem(x[:, None], y, ["x"])) if "min" in c.expr), key=lambda c: c.fvu)
    assert best.fvu < 1e-6 and np.allclose(evaluate(best.expr, x[x > 6][:, None], best.consts), 0.675, atol=0.01)
    two = Problem(np.column_stack([x, np.sin(x)]), y, ["x", "z"])
    assert not any("min" in c.expr and c.fvu < 1e-6 for c in found(two))
