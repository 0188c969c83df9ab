"""Ranking against the paper's inequality, hand-worked values and plain sorts."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from fansr.expressions import evaluate, free, from_infix
from fansr.fitting import Candidate, Problem, Refiner
from fansr.search import selection, turns

FVUS = st.floats(1e-20, 1.0)


def candidate(fvu, length, k=0, name="x1"):
    expr = (
        ["neg"] * (length - 1) + [name]
        if not k
        else ["+"] * k + ["<constant>"] * k + ["neg"] * (length - 2 * k - 1) + [name]
    )
    return Candidate(expr, np.zeros(k), fvu)


@given(FVUS, FVUS, st.integers(1, 40), st.integers(1, 40))
def test_equation_3_orders_as_equation_4(fa, fb, la, lb):
    ratio, bound = fb / fa, 10 ** (-0.05 * (lb - la))
    if not math.isclose(ratio, bound, rel_tol=1e-9):
        assert (selection.score(fb, lb) < selection.score(fa, la)) == (ratio < bound)


def test_a_token_must_pay_eleven_percent():
    assert selection.score(0.89, 6) < selection.score(1.0, 5) < selection.score(0.90, 6)


@given(st.lists(st.tuples(FVUS, st.integers(1, 12)), min_size=1, max_size=20))
def test_the_front_is_what_nothing_beats(pairs):
    candidates = [candidate(f, n) for f, n in pairs]
    front = selection.pareto(candidates)
    lengths = [c.length for c in front]
    assert lengths == sorted(set(lengths))
    for c in candidates:
        beaten = any(o.length <= c.length and o.fvu <= c.fvu * (1 + 1e-5) for o in front)
        assert beaten
    for a, b in zip(front, front[1:]):
        assert b.fvu < a.fvu


def test_the_pool_is_sorted_and_knows_twins():
    pool = selection.Pool(100, method="score")
    x = Candidate(["+", "x1", "<constant>"], np.array([1.0]), 0.5)
    assert pool.add(x)
    assert not pool.add(
        Candidate(["+", "<constant>", "x1"], np.array([1.0]), 0.5)
    )  # the same law with operands swapped
    assert not pool.add(Candidate(["-", "x1", "<constant>"], np.array([-1.0]), 0.5))  # the same values in other clothes
    assert pool.add(Candidate(["sin", "x1"], np.zeros(0), 0.1))
    assert pool.add(Candidate(["+", "x1", "<constant>"], np.array([2.0]), 0.01))  # refitted, better
    assert [c.fvu for c in pool] == sorted((c.fvu for c in pool), key=lambda f: f)
    assert len(pool) == 2 and pool.best.fvu == 0.01 and pool.seen == 5


@given(st.lists(st.tuples(FVUS, st.integers(1, 15)), min_size=1, max_size=80))
def test_the_pool_keeps_the_best_and_the_front(pairs):
    pool = selection.Pool(50, keep=5)
    candidates = [candidate(f, n, name=f"x{i + 1}") for i, (f, n) in enumerate(pairs)]
    for c in candidates:
        pool.add(c)
    values = [pool.value(c) for c in pool]
    assert values == sorted(values)
    assert math.isclose(pool.value(pool.best), min(map(pool.value, candidates)), rel_tol=1e-6)
    want, got = selection.pareto(candidates), pool.front()
    assert [c.length for c in got] == [c.length for c in want]


def test_a_candidate_that_was_trimmed_away_may_come_back_better():
    pool = selection.Pool(50, keep=3, method="fvu")
    pool.PER_LENGTH = 1
    pool.add(candidate(0.9, 4, name="x9"))
    for k in range(7):
        pool.add(candidate(0.5 / (k + 2), 4, name=f"x{k + 1}"))
    assert all("x9" not in c.expr for c in pool)
    assert pool.add(candidate(1e-3, 4, name="x9")) and pool.best.fvu == 1e-3
    pool.remove(pool.best)
    assert all("x9" not in c.expr for c in pool) and [pool.value(c) for c in pool] == sorted(c.fvu for c in pool)
    assert pool.add(candidate(1e-2, 4, name="x9"))


def test_a_constant_for_every_row_is_no_law():
    """Six constants on six rows fit anything; the default selection prefers the plain law, equation 3 does not."""
    plain, wild = (1e-2, 3, 1), (1e-25, 23, 6)
    value = lambda method, c: selection.selection(method, candidate(*c), 6)  # noqa: E731
    assert value("mdl", plain) < value("mdl", wild)
    assert value("aicc", plain) < value("aicc", wild)
    assert value("score", wild) < value("score", plain)


def test_bic_is_the_textbook_one():
    M, k, rss_a, rss_b = 40, 3, 0.2, 0.1
    bic = lambda rss, p: M * math.log(rss / M) + p * math.log(M)  # noqa: E731
    ours = selection.selection("bic", candidate(rss_a, 9, k), M) - selection.selection(
        "bic", candidate(rss_b, 9, k + 1), M
    )
    assert math.isclose(2 * ours, bic(rss_a, k + 1) - bic(rss_b, k + 2), rel_tol=1e-12)


def test_rounding_of_a_target_far_from_zero_is_no_misfit():
    rng = np.random.default_rng(0)
    clean = rng.normal(size=200)
    y = 1e8 + clean
    noise = np.var((y - 1e8) - clean) / np.var(clean)
    assert noise / 100 < selection.fvu_floor(y) < 1e4 * noise
    assert selection.fvu_floor(clean) == selection.EXACT


def test_unknown_selection_is_named():
    with pytest.raises(ValueError, match="mdl, score"):
        selection.selection("best", candidate(0.1, 3, 1), 10)


@pytest.mark.parametrize(
    ("texts", "quanta"),
    [
        (["1.25", "10.53", "100", "7.11", "212.48"], [0.01] * 5),  # two decimals
        (["1.2341e-5", "5.6702e3", "1.2345e8"], [1e-9, 1e-1, 1e4]),  # five digits
        (["1200", "350", "40"], [10, 10, 10]),
        (["0.000", "0.125"], [1e-3, 1e-3]),
    ],
)
def test_printed_quanta_are_the_last_digits(texts, quanta):
    assert selection.printed_quanta(np.array([float(t) for t in texts])) == pytest.approx(quanta)


def test_printed_fvu_is_what_rounding_leaves():
    rng = np.random.default_rng(0)
    y = rng.uniform(1, 9, 5000)
    printed = np.array([float(f"{v:.5f}") for v in y])
    left = np.mean((y - printed) ** 2) / np.var(y)
    assert selection.printed_fvu(printed) == pytest.approx(left, rel=0.1)
    assert selection.printed_fvu(y) == 0.0


def test_the_worth_of_a_fit_knows_no_step_at_the_stated_errors():
    """Under stated errors a law just above chi^2 = M and one just below are worth the same, also where both leave very little."""
    expr = ["*", "<constant>", "x1"]
    known = 3e-7
    above, below = (
        selection.selection("mdl", Candidate(expr, np.ones(1), known * at), 43, known=known) for at in (1.001, 0.999)
    )
    assert abs(above - below) < 0.1
    # Without them a misfit of a millionth counts as few rows, until it is gone altogether.
    free = [
        selection.selection("mdl", Candidate(expr, np.ones(1), fvu), 43, exact=1e-20) for fvu in (1e-4, 1e-8, 1e-21)
    ]
    assert free[0] - free[1] < 0.5 * 43 * np.log(1e4) / 4 < free[1] - free[2]


def test_a_further_column_costs_what_chance_gives_where_noise_leaves_the_choice():
    """Of D columns of noise the best takes chi^2 / 2 nats; the price lets it in about once in twenty tables, and a real one of three
    standard errors comes in."""
    rng = np.random.default_rng(0)
    M, D, taken = 60, 8, 0
    one, two = "+ <constant> * <constant> x1".split(), "+ + <constant> * <constant> x1 * <constant> x2".split()
    for _ in range(300):
        X = rng.standard_normal((M, D))
        y = X[:, 0] + rng.standard_normal(M)
        total = np.sum((y - y.mean()) ** 2)
        rest = [
            np.linalg.lstsq(np.column_stack([np.ones(M), X[:, 0], X[:, [j]]]), y, rcond=None)[1][0] for j in range(1, D)
        ]
        plain = np.linalg.lstsq(np.column_stack([np.ones(M), X[:, 0]]), y, rcond=None)[1][0]
        value = [
            selection.selection("mdl", Candidate(expr, np.zeros(k), rss / total), M, columns=D)
            for expr, k, rss in ((one, 2, plain), (two, 3, min(rest)))
        ]
        taken += value[1] < value[0]
    assert 3 <= taken <= 45


def test_what_rounding_leaves_tells_nothing():
    """Below the FVU that printed digits leave, a longer law that fits better is none; one that gives the very numbers may be."""
    y = np.round(np.linspace(1, 50, 40) ** 1.5, 1)
    rounded = selection.rounding_fvu(y)
    assert rounded == selection.printed_fvu(y) and selection.rounding_fvu(np.round(y)) == 0.0

    def value(text, fvu, rounded=rounded):
        expr, consts = free(from_infix(text))
        return selection.selection("mdl", Candidate(expr, np.array(consts, dtype=float), fvu), 40, rounded=rounded)

    short, longer = "2.5*x1**1.5", "2.5*x1**1.5 + 0.3*sin(7.1*x1)"
    assert value(short, 0.9 * rounded) < value(longer, 0.1 * rounded)
    assert value(short, 0.9 * rounded, 0.0) > value(longer, 1e-29, 0.0)  # of numbers that are not rounded it is one
    assert value("2.5*x1 + x2", 0.0) < value("2.5*x1 + x3", 0.5 * rounded)
    assert value("2.5*x1 + x2", 4 * rounded) > value("2.5*x1 + x2", 2 * rounded)


def test_no_wave_explains_how_a_table_was_rounded(monkeypatch):
    """1.1 v + 0.05 v^2 on a grid of fives rounds alternately up and down; the law is the parabola, not one with a wave on it."""
    v = np.arange(5.0, 80.0, 5.0)
    problem = Problem(v[:, None], np.round(1.1 * v + 0.05 * v * v + 1e-9, 1), ["v"], "d")
    fitter = Refiner(problem.X, problem.y)

    def chosen():
        pool = []
        for text in ("1.1*x1 + 0.05*x1**2", "1.1*x1 + 0.05*x1**2 - 0.05*cos(0.3141592653589793*x1**2) + 0.05"):
            expr, consts = free(from_infix(text))
            pool.append(Candidate(expr, np.array(consts), float(fitter.fvu(expr, consts))))
        assert pool[1].fvu < 1e-25 < pool[0].fvu
        return turns.choose(problem, turns.Options(quiet=True), pool).best.expr

    assert "cos" not in chosen()
    monkeypatch.setattr(selection, "rounding_fvu", lambda *args: 0.0)
    assert "cos" in chosen()


# ---- noise told from neighbouring rows --------------------------------------------------------


@pytest.mark.parametrize("noise", [0.3, 0.01, 1e-4])
@pytest.mark.parametrize(
    "law", [lambda x: 3 * np.exp(-0.4 * x), lambda x: np.sin(x) + 0.3 * x, lambda x: 1e6 * x / (2 + x)]
)
def test_noise_is_told_from_neighbours(law, noise):
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0, 10, 300))
    y = law(x)
    y = y + noise * y.std() * rng.normal(size=300)
    shares = [selection.noise_fvu(x[rows, None], y[rows]) for rows in (np.arange(300), rng.permutation(300))]
    assert shares[0] == pytest.approx(noise**2 * np.var(law(x)) / np.var(y), rel=0.4) and shares[1] == pytest.approx(
        shares[0]
    )
    assert selection.noise_fvu(x[:, None], y * 1e180) == pytest.approx(shares[0])


def test_noise_in_proportion_is_told_by_its_weights():
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0.5, 10, 300))
    y = 3 * x**2.5 * (1 + 0.02 * rng.normal(size=300))
    weights = y**-2.0
    spread = np.average((y - np.average(y, weights=weights)) ** 2, weights=weights)
    share = 0.02**2 / np.mean(weights) / spread
    assert selection.noise_fvu(x[:, None], y, weights) == pytest.approx(share, rel=0.4)
    assert selection.noise_fvu(x[:, None], y, 7 * weights) == pytest.approx(selection.noise_fvu(x[:, None], y, weights))


def test_noise_is_not_told_of_few_rows_or_many_columns_and_is_little_of_smooth_ones():
    x = np.linspace(0, 10, 200)
    assert selection.noise_fvu(x[:, None], np.sin(x)) < 1e-10
    assert selection.noise_fvu(x[:9, None], np.sin(x[:9])) == 0.0
    assert selection.noise_fvu(np.column_stack([x, x]), np.sin(x)) == 0.0
    assert selection.noise_fvu(np.repeat([1.0, 2.0], 20)[:, None], np.tile([1.0, 2.0], 20)) > 0.1
    assert selection.noise_fvu(np.ones((20, 1)), x[:20]) == 0.0
    assert selection.noise_fvu(x[:, None], np.where(x > 5, 1.0, 0.0)) < 1e-20  # one jump is no noise


def test_next_to_noise_a_smooth_misfit_counts_by_all_rows_and_far_from_it_by_few():
    """A misfit of a hundredth of the noise's variance costs what it does at a known width, M / 2 of it; without noise d / 2 log."""
    M, noise = 400, 1e-6
    d = selection.SMOOTH_ROWS + (M / selection.MANY) ** 2

    def costs(fvu, noise):
        return selection.selection("mdl", candidate(fvu, 3), M, noise=noise)

    assert costs(noise * 1.01, noise) - costs(noise, noise) == pytest.approx(M / 2 * 0.01, rel=0.05)
    free = 0.5 * d * math.log(2)
    assert costs(2e-8, 0.0) - costs(1e-8, 0.0) == pytest.approx(free, rel=1e-9)
    assert costs(2e-5, noise / 100) - costs(1e-5, noise / 100) == pytest.approx(free, rel=0.01)
    values = [costs(f, noise) for f in np.geomspace(1e-9, 1e-3, 200)]
    assert all(a < b for a, b in zip(values, values[1:]))
    assert costs(selection.SMOOTH * 1.0001, noise) - costs(selection.SMOOTH * 0.9999, noise) < 0.1


def test_a_law_with_a_constant_more_is_chosen_where_the_noise_says_so():
    """Antoine's curve with 0.5 % of noise: x/(x + c) leaves 1.7 times its variance more, which no shape of the residuals shows."""
    rng = np.random.default_rng(5)
    x = np.linspace(10, 120, 60)
    y = 7.75 - 1710 / (x + 221.5) + 0.005 * 1.2 * rng.normal(size=60)
    problem = Problem(x[:, None], np.round(y, 4), ["x"])
    found = turns.search(problem, turns.Options(proposers=("power", "sums", "curves", "rational")), turns.Budget(None))
    clean = 7.75 - 1710 / (x + 221.5)
    values = evaluate(found.best.expr, x[:, None], found.best.consts)
    assert np.sqrt(np.mean((values - clean) ** 2)) < 0.003
