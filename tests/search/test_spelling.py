"""spelling.py: aliases to the slowest wave, factors out of exponentials and roots, never at the cost of the fit."""

import numpy as np
import pytest

from fansr.expressions import bind, evaluate, free, from_infix, to_infix
from fansr.fitting import Candidate, Refiner
from fansr.search import spelling


def candidate(formula, X, y):
    expr, consts = free(from_infix(formula))
    made = Candidate(expr, np.array(consts, dtype=float))
    made.fvu = Refiner(X, y).fvu(expr, consts)
    return made


@pytest.mark.parametrize("function", ["sin", "cos"])
@pytest.mark.parametrize("rate", [6.02272, -0.26, 2 * np.pi * 3 + 0.4, 2 * np.pi - 0.2])
def test_a_fast_alias_becomes_the_slowest_wave(function, rate):
    x = np.arange(3.0, 40.0)[:, None]
    y = evaluate(from_infix(f"2*{function}({rate}*x1 + 0.7) + 1"), x)
    fast = candidate(f"2*{function}({rate}*x1 + 0.7) + 1", x, y)
    slow = spelling.slowest(fast, x, Refiner(x, y))
    assert slow.fvu < 1e-20
    found = [
        float(t) for t in bind(slow.expr, slow.consts) if t.replace(".", "").replace("-", "").replace("e", "").isdigit()
    ]
    assert abs(rate) <= np.pi or min(abs(abs(v) - abs(np.angle(np.exp(1j * rate)))) for v in found) < 1e-9
    between = np.linspace(3, 39, 991)[:, None]
    turns = np.abs(np.diff(np.sign(evaluate(slow.expr, between, slow.consts) - 1))).sum() / 2
    assert turns <= 37 / 2 + 1


def test_uneven_rows_keep_their_wave():
    x = np.sort(np.random.default_rng(0).uniform(0, 30, 40))[:, None]
    y = np.sin(9 * x[:, 0])
    fast = candidate("sin(9*x1)", x, y)
    assert spelling.slowest(fast, x, Refiner(x, y)) is fast


@pytest.mark.parametrize("rate", [1e300, -1e300, 1e20])
def test_a_wave_too_fast_for_a_float_to_count_its_turns_stays(rate):
    x = np.arange(1e10, 1e10 + 30)[:, None]
    y = np.sin(x[:, 0])
    fast = candidate(f"sin({rate!r}*x1)", x, y)
    slow = spelling.slowest(fast, x, Refiner(x, y))
    assert slow is fast or np.isfinite(slow.consts).all()


def test_even_columns_with_gaps_and_repeats_have_a_step():
    assert spelling.steps_of(np.array([0.0, 0.5, 0.5, 1.5, 3.0, 4.5])) == pytest.approx(0.5)
    assert spelling.steps_of(np.random.default_rng(1).uniform(0, 1, 50)) is None
    assert spelling.steps_of(np.array([1.0, 2.0])) is None


@pytest.mark.parametrize(
    ("long", "plain"),
    [
        ("exp(6.5 - 0.2*x1)", "665.1416330443618*exp(-0.2*x1)"),
        ("exp(log(x2) + x1*log(1.07))", "x2*1.07**x1"),
        ("sqrt(7*x1**3)", "2.6457513110645907*x1**1.5"),
        ("sqrt(x1**3*7)", "2.6457513110645907*x1**1.5"),
        ("exp(x1 - log(x2))", "exp(x1)/x2"),
        ("22.5/exp(-0.4*x1)", "22.5*exp(0.4*x1)"),
        ("x2/exp(0.7/x1)", "x2*exp(-0.7/x1)"),
    ],
)
def test_factors_come_out(long, plain):
    X = np.random.default_rng(0).uniform(1, 5, (50, 2))
    y = evaluate(from_infix(plain), X)
    first = candidate(long, X, y)
    out = spelling.outside(first, Refiner(X, y))
    assert out.expr != first.expr and len(out.expr) <= len(first.expr) and out.fvu < 1e-24
    assert sorted(t for t in out.expr if t in ("/", "log", "inv")) == sorted(
        t for t in free(from_infix(plain))[0] if t in ("/", "log", "inv")
    )


def test_what_would_overflow_stays_inside():
    x = np.linspace(4, 5, 30)[:, None]
    y = np.exp(-np.exp(120.3 * x[:, 0] - 542.1))
    first = candidate("exp(-exp(120.3*x1 - 542.1))", x, y)
    assert spelling.outside(first, Refiner(x, y)) is first


def test_linear_reads_every_spelling():
    from fansr.expressions import to_tree

    for text in ("3*x2 - 4", "x2*3 - 4", "-(4 - 3*x2)", "(6*x2 - 8)/2", "3*(x2 - 4/3)"):
        w, m, j = spelling.linear(to_tree(from_infix(text)))
        assert (w, m, j) == (pytest.approx(3.0), pytest.approx(-4.0), 1)
    for text in ("x1*x2", "x1**2 + 1", "1/x1"):
        assert spelling.linear(to_tree(from_infix(text))) is None


@pytest.mark.parametrize(
    "two, one",
    [
        ("39.7/((exp(0.53*x1) - 1)/x1**3)", "39.7*x1**3/(exp(0.53*x1) - 1)"),
        ("2.5/x1/(x1 + 1.5)", "2.5/(x1*(x1 + 1.5))"),
    ],
)
def test_one_bar_where_there_were_two(two, one):
    x = np.linspace(0.5, 4, 30)[:, None]
    y = evaluate(from_infix(two), x)
    plain = spelling.outside(candidate(two, x, y), Refiner(x, y))
    assert to_infix(plain.expr, plain.consts, ["x1"]) == one
    np.testing.assert_allclose(evaluate(plain.expr, x, plain.consts), y, rtol=1e-12)


@pytest.mark.parametrize(
    "written, above, across",
    [
        ("3*sqrt(x1**2)", "3*x1", "3*abs(x1)"),
        ("5*sqrt((x1/sqrt(x1 + 9))**2)", "5*x1/sqrt(x1 + 9)", "5*abs(x1/sqrt(x1 + 9))"),
        ("exp(sqrt(x1**4)) + 1.5", "exp(x1**2) + 1.5", "exp(x1**2) + 1.5"),
    ],
)
def test_roots_of_even_powers(written, above, across):
    """On positive columns without the bars, elsewhere with them, and with the same values."""
    for low, plain in ((0.5, above), (-2.0, across)):
        x = np.linspace(low, 3, 40)[:, None]
        y = evaluate(from_infix(written), x)
        law = candidate(written, x, y)
        short = spelling.outside(law, Refiner(x, y))
        assert to_infix(short.expr, short.consts) == plain
        assert np.allclose(evaluate(short.expr, x, short.consts), y, rtol=1e-12)
