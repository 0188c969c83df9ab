"""Rules of laws: a checker that shares no code with them, over random combinations; what is understood, and what is refused."""

import math

import numpy as np
import pytest
from rule_checks import NAMES, argument_sizes, assert_kept, breaches, breaches_of_shape, drawn_rules, drawn_table

from fansr.expressions import evaluate, from_infix, to_infix
from fansr.expressions.definitions import define
from fansr.fitting import Budget, Candidate, Problem, Refiner
from fansr.search import rules, turns


def drawn(number):
    """(what is said, a problem, its options) of a number."""
    rng = np.random.default_rng([11, number])
    said, problem = drawn_rules(rng), drawn_table(rng)
    return said, problem, turns.Options(rules=rules.parse(**said), samples=64)


def breaches_of(law, text, said, problem):
    return breaches(text, law.expr, law.consts, said) + breaches_of_shape(text, said, problem)


def test_a_rule_is_never_broken():
    assert_kept(drawn, breaches_of, range(0, 25), 0.0, 60)


@pytest.mark.prove
def test_a_rule_is_never_broken_in_many_searches():
    assert_kept(drawn, breaches_of, range(100, 2100), 0.1, 5000)


def test_the_checker_sees_breaches():
    assert breaches("sin(sin(a)) - 3", ["-", "sin", "sin", "x1", "<constant>"], [3.0], {
        "operators": "+,sin", "nest": "sin:0", "max_length": 4, "max_depth": 3, "max_constants": 0, "bounds": "c in [0,1]",
    }) == ["-", "length", "constants", "depth", "nest sin:0", "bounds"]  # fmt: skip
    assert (
        breaches("exp(sin(a) + sin(b))", ["exp", "+", "sin", "x1", "sin", "x2"], [], {"nest": "exp(sin):1,sin:0"}) == []
    )
    assert breaches("a**2", ["pow2", "x1"], [], {"without": "^"}) == ["^"]
    squares = ["*", "+", "x1", "x2", "pow2", "x1"]
    assert argument_sizes(squares) == [("pow2", [1]), ("+", [1, 1]), ("*", [3, 2])]
    assert breaches("(a + b)*a**2", squares, [], {"arguments": "*:2,*(2):2,^:1,+:1"}) == ["arguments *:2"]


def test_a_factor_of_whole_number_is_a_product():
    rule = rules.parse(nest="*(+):0")
    assert rule.broken(["mult4", "pow1_2", "+", "x1", "x2"]) and rule.broken(["*", "x1", "+", "x1", "x2"])
    assert not rule.broken(["+", "mult4", "x1", "x2"])


def law(text):
    expr, consts = from_infix(text, NAMES), []
    from fansr.expressions import free

    expr, consts = free(expr)
    return Candidate(expr, np.array(consts, float), 0.0)


@pytest.mark.parametrize("text, operators, shown", [
    ("a**3", "+,*", "a*a*a"), ("a - 3*b", "+,*", "a - 3*b"), ("a - b", "+,*", "a - b"), ("a/4", "+,*", "0.25*a"), ("-a", "*", "-a"),
    ("2*a", "/,+", "a/0.5"),
])  # fmt: skip
def test_what_others_can_say_is_said_with_them(text, operators, shown):
    rule = rules.parse(operators=operators)
    new = rule.respelled(law(text))
    X = np.random.default_rng(0).normal(size=(20, 2))
    np.testing.assert_allclose(
        evaluate(new.expr, X, new.consts), evaluate(law(text).expr, X, law(text).consts), rtol=1e-12
    )
    assert rule.broken(new.expr, new.consts) is None


def test_bounds_hold_and_the_others_are_fitted_again():
    X = np.linspace(0, 4, 40)[:, None]
    y = -3 * X[:, 0] + 12
    problem, rule = Problem(X, y, ["x"]), rules.parse(bounds="c in [-2,20]")
    fitter = Refiner(X, y)
    expr = "+ * <constant> x1 <constant>".split()
    fvu, consts = fitter.fit([expr])
    best = rule.admit(Candidate(expr, consts[0], float(fvu[0])), fitter)
    # by hand: with the slope held at -2 the offset is the mean of y + 2 x
    assert best.consts[0] == -2 and math.isclose(best.consts[1], np.mean(y + 2 * X[:, 0]), rel_tol=1e-9)
    found = turns.search(problem, turns.Options(rules=rule), Budget(0.0))
    assert all(-2 <= c <= 20 for c in found.best.consts) and found.best.fvu < 0.2
    assert rules.parse(positive="c").bounds == (0.0, math.inf) and rules.parse(
        bounds="c <= 3", positive="c"
    ).bounds == (0.0, 3.0)


def test_a_positive_column_keeps_a_law_defined():
    rng = np.random.default_rng(3)
    X = rng.uniform(3, 9, (50, 1))
    y = np.log(X[:, 0] - 2)
    rule = rules.parse(positive="a")
    found = turns.search(Problem(X, y, ["a"]), turns.Options(rules=rule), Budget(0.0))
    far = np.geomspace(1e-2, 1e3, 300)[:, None]
    with np.errstate(all="ignore"):
        assert np.isfinite(evaluate(found.best.expr, far, found.best.consts)).all()
    with pytest.raises(ValueError, match="the column a holds -1"):
        rules.check(rule, Problem(np.array([[1.0], [-1.0]]), np.ones(2), ["a"]))
    with pytest.raises(ValueError, match="no column is called 'a'.*nearest is 'aa'"):
        rules.check(rule, Problem(np.ones((2, 1)), np.ones(2), ["aa"]))


def test_prices_change_the_choice():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 3, 60)
    y = np.exp(0.5 * x) + 0.1 * rng.normal(size=60)
    chosen = {}
    for price in (None, "exp=400"):
        options = turns.Options(rules=rules.parse(price=price))
        found = turns.search(Problem(x[:, None], y, ["x"]), options, Budget(0.0))
        chosen[price] = "exp" in found.best.expr or "pow" in found.best.expr
    assert chosen == {None: True, "exp=400": "pow" in found.best.expr}
    prices = rules.parse(price="c=2,x=3.5,sin=4")
    assert prices.surcharge(["+", "*", "<constant>", "x2", "sin", "x1"]) == 1 + 2 * 2.5 + 3
    assert not rules.parse() and rules.parse(define="bell(x) = exp(-x**2)") and rules.parse(price="sin=3")


def test_a_definition_is_searched_and_printed_by_its_name():
    token = define("gauss(x) = exp(-x**2)")
    x = np.linspace(-2, 6, 60)
    y = 3 * np.exp(-((1.3 * x - 2) ** 2)) + 0.5
    options = turns.Options(rules=rules.parse(define=["gauss(x) = exp(-x**2)"]))
    found = turns.search(Problem(x[:, None], y, ["x"]), options, Budget(0.0))
    assert token in found.best.expr and found.best.fvu < 1e-15, found.best
    assert "gauss(" in to_infix(found.best.expr, found.best.consts, ["x"])


@pytest.mark.parametrize("said, says", [
    ({"operators": "+,sinn"}, "operators: unknown operator 'sinn': the nearest known is 'sin'"),
    ({"operators": "sin,exp"}, "none of two places"),
    ({"without": "+,-,*,/,^,min,max,mod"}, "none of two places"),
    ({"nest": "sin"}, "cannot read 'sin', wanted 'sin:0'"),
    ({"nest": "sin(foo):1"}, "nest: unknown operator 'foo'"),
    ({"arguments": "sin"}, "arguments: cannot read 'sin', wanted 'cos:5'"),
    ({"arguments": "sin:0"}, "arguments: cannot read 'sin:0'"),
    ({"arguments": "sin(2):3"}, "sin has no argument number 2"),
    ({"arguments": "sinn:3"}, "arguments: unknown operator 'sinn'"),
    ({"price": "sin"}, "price: cannot read 'sin'"),
    ({"price": "sin=-1"}, "price: cannot read"),
    ({"price": "sin=nan"}, "price: cannot read"),
    ({"bounds": "k in [0,1]"}, "no constant is called 'k'"),
    ({"bounds": "c in [2,1]"}, "nothing lies in"),
    ({"bounds": "c"}, "bounds: cannot read 'c'"),
    ({"max_length": 0}, "wanted at least 1"),
    ({"define": "f = 2"}, "define: cannot read the definition"),
])  # fmt: skip
def test_what_cannot_be_kept_is_said(said, says):
    import re

    with pytest.raises(ValueError, match=re.sub(r"([\[\](){}+*?^$|.])", r"\\\1", says)):
        rules.parse(**said)
