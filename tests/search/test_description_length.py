"""Description lengths by hand: what structures, further columns and repeated forms cost."""

import pytest

from fansr.expressions import from_infix
from fansr.search.description_length import AGAIN, TOKEN_NATS, further_nats, plain_parts, structure_nats, token_nats


def test_varying_exponents_cost_more():
    """x**(C*x) is dearer than C**x, and that than x**C, though their tokens are the same or fewer."""
    nats = [structure_nats(text.split()) for text in ("pow x1 <constant>", "pow <constant> x1", "pow x1 x1")]
    assert nats[0] < nats[1] < nats[2] and structure_nats(["pow", "pow", "x1", "x1", "x1"]) > 2 * nats[2] - 4


@pytest.mark.parametrize(
    "text, further",
    [
        ("+ * <constant> x1 <constant>", 0),
        ("+ * <constant> x1 * <constant> x2", 1),
        ("- + sin x1 * <constant> x2 / x3 <constant>", 2),
        ("+ x1 * x1 x2", 0),
        ("neg + x1 / <constant> x2", 0),
        ("- * <constant> x1 / x2 <constant>", 1),
        ("+ + mult2 x1 neg x2 - <constant> * x3 <constant>", 1),
        ("* <constant> + x1 x2", 0),
        ("exp + x1 x2", 0),
        ("x1", 0),
    ],
)
def test_further_columns_are_counted_by_hand(text, further):
    assert plain_parts(text.split())[0] == further


def test_further_columns_cost_less_only_where_noise_leaves_the_choice():
    one, two = "+ <constant> * <constant> x1".split(), "+ + <constant> * <constant> x1 * <constant> x2".split()
    assert plain_parts(one) == (0, True) and plain_parts(["+", "<constant>", "x1"]) == (0, False)
    assert further_nats(two, 1e-4, 8) == 0 < further_nats(two, 0.1, 8) < 8


def test_a_column_that_another_term_holds_is_no_further_one():
    assert further_nats("+ sin x1 * <constant> x1".split(), 0.1, 5) == 0


def test_a_further_summand_of_a_form_is_told_by_its_name():
    wave = "* <constant> sin + * <constant> x1 <constant>".split()
    bell = "* <constant> exp neg pow2 * <constant> - x1 <constant>".split()
    one, two, three = (structure_nats(["+"] * (n - 1) + n * wave) for n in (1, 2, 3))
    assert two - one == pytest.approx(three - two) == pytest.approx(TOKEN_NATS + AGAIN)
    other = structure_nats(["+", *wave, *bell])
    assert other == pytest.approx(one + structure_nats(bell) + TOKEN_NATS)
    rounded = "+ mult2 sin + mult3 x1 1.5 * 0.5 cos + * 3.0 x1 <constant>".split()
    assert structure_nats(rounded) < structure_nats(rounded[7:]) + 10
    plain = "+ * <constant> x1 * <constant> x1".split()  # no form of its own
    assert structure_nats(plain) == pytest.approx(len(plain) * TOKEN_NATS)


@pytest.mark.parametrize(
    ("bent", "named"),
    [
        ("1/sqrt(2.5/x + 3.5)", "2.5*x/(x + 3.5)"),
        ("log(2.5 + exp(x))", "log(2.5 + x)"),
        ("tanh(2.5*sqrt(x))", "tanh(2.5*x)"),
        ("sqrt(1 - exp(x))", "sqrt(1 - x)"),
    ],
)
def test_a_bend_around_a_bend_costs_more_than_its_symbols(bent, named):
    """By three nats more than the plain sum of symbols, which the named form pays alone."""
    for formula, more in ((bent, 3.0), (named, 0.0)):
        expr = from_infix(formula, ["x", "z"])
        symbols = sum(token_nats(token) for token in expr)
        assert structure_nats(expr) == pytest.approx(symbols + more)


@pytest.mark.parametrize("formula", ["exp(2.5/x)", "sqrt(1 - x**2/z**2)", "sqrt(x**2 + 2.5)", "exp(-2.5*sqrt(x))"])
def test_forms_that_have_a_name_cost_their_symbols(formula):
    expr = from_infix(formula, ["x", "z"])
    symbols = sum(token_nats(token) for token in expr)
    assert structure_nats(expr) == pytest.approx(symbols)
