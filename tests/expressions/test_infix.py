"""infix.py against Python's own parser and by round trips."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import assume, example, given

from fansr import expressions as ex
from fansr.expressions.prefix import is_valid
from fansr.expressions.tokens import CONSTANT, OPERATOR, literal_value, variable_index
from tests.expressions.trees import TREES


def plain_value(tree, X, consts):
    """A direct reading of the operator table's numpy column, one node at a time."""
    if not isinstance(tree, tuple):
        if tree == CONSTANT:
            return np.float64(next(consts))
        column = variable_index(tree)
        return X[:, column] if column is not None else np.float64(literal_value(tree))
    kids = [plain_value(kid, X, consts) for kid in tree[1:]]
    source = OPERATOR[tree[0]].numpy.format(a="a", b="b")
    return eval(source, {"np": np, "a": kids[0], "b": kids[-1]})


def nudged(tree):
    """The tree with numbers that differ in their last digits."""
    if isinstance(tree, tuple):
        return (tree[0], *map(nudged, tree[1:]))
    value = literal_value(tree)
    return tree if value is None else repr(float(value) * (1 + 1e-15))


PYTHON = {
    **{
        name: getattr(np, name)
        for name in ("sqrt", "cbrt", "sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "abs")
    },
    "root4": lambda v: np.sqrt(np.sqrt(v)),
    "root5": lambda v: np.sign(v) * np.abs(v) ** 0.2,
    **{"a" + n: getattr(np, "arc" + n) for n in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
}


@given(TREES)
@example(("sin", ("pow", ("pow3", "2.5"), ("pow3", "2.5"))))
def test_infix_means_what_the_tree_means(tree):
    expr = ex.from_tree(tree)
    X = np.random.default_rng(0).uniform(0.2, 0.9, (5, 3))
    consts = np.linspace(-1.5, 1.3, expr.count(CONSTANT))
    with np.errstate(all="ignore"):
        want = plain_value(tree, X, iter(consts)) * np.ones(5)
        text = ex.to_infix(expr, consts)
        names = {f"x{j + 1}": X[:, j] for j in range(3)}
        # numpy scalars keep Python from raising on 1/0
        source = __import__("re").sub(r"(?<![\w.])(\d+\.?\d*(?:e-?\d+)?)", r"F(\1)", text)
        got = eval(source, {**PYTHON, **names, "F": np.float64}) * np.ones(5)
        nearly = plain_value(nudged(tree), X * (1 + 1e-15), iter(consts * (1 + 1e-15))) * np.ones(5)
    assume(np.allclose(want, nearly, rtol=1e-10, atol=1e-13, equal_nan=True))  # not the sine of a large number
    # Python takes a negative base to a fraction as numpy does here: NaN on both sides.
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-12)


@given(TREES)
def test_print_then_parse_keeps_the_value(tree):
    expr = ex.from_tree(tree)
    consts = np.linspace(0.3, 1.7, expr.count(CONSTANT))
    back = ex.from_infix(ex.to_infix(expr, consts))
    assert is_valid(back)
    X = np.random.default_rng(1).uniform(0.2, 0.9, (5, 3))
    with np.errstate(all="ignore"):
        want = plain_value(tree, X, iter(consts)) * np.ones(5)
        got = plain_value(ex.to_tree(back), X, iter(())) * np.ones(5)
    finite = np.isfinite(want) & (np.abs(want) < 1e100)
    np.testing.assert_allclose(got[finite], want[finite], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    "text, want",
    [
        ("-x1**2", "neg pow2 x1"),
        ("x1/x2/x3", "/ / x1 x2 x3"),
        ("1/x1", "inv x1"),
        ("2*3*x1", "* 6.0 x1"),
        ("v1^2 + sqrt(v2)", "+ pow2 x1 pow1_2 x2"),
        ("C*exp(x1)", f"* {CONSTANT} exp x1"),
        ("x1**1.5", "pow3 pow1_2 x1"),
        ("x1**-2", "inv pow2 x1"),
        ("x1**-1.5", "inv pow3 pow1_2 x1"),
        ("x1**0.75", "pow3 pow1_4 x1"),
        ("pow(x1, 7)", "pow x1 7.0"),
    ],
)
def test_parse(text, want):
    assert ex.from_infix(text) == want.split()


def test_columns_by_name():
    names = ["T [K]", "e", "große Länge"]
    assert ex.from_infix("T [K]*e + große Länge", names) == ["+", "*", "x1", "x2", "x3"]
    assert ex.to_infix(["+", "x1", "x3"], names=names) == "T [K] + große Länge"


@pytest.mark.parametrize(
    "text, word",
    [
        ("x1 +", "cannot read"),
        ("foo(x1)", "unknown function"),
        ("y + 1", "unknown name"),
        ("x1 if x2 else 3", "cannot read"),
        ("__import__('os')", "unknown function"),
        ("(" * 5000 + "x1", "cannot read"),
        ("", "cannot read"),
    ],
)
def test_parse_errors_are_value_errors(text, word):
    with pytest.raises(ValueError, match=word):
        ex.from_infix(text)


def test_a_power_of_a_root_prints_as_one_power():
    assert ex.to_infix("* <constant> pow3 pow1_2 x1".split(), [365.25], ["axis"]) == "365.25*axis**1.5"


@pytest.mark.parametrize(
    "prefix, text",
    [
        ("pow2 pow3 x1", "x1**6"),
        ("inv pow2 pow3 x1", "1/x1**6"),
        ("pow3 pow2 pow3 x1", "x1**18"),
        ("pow2 pow2 - x1 x2", "(x1 - x2)**4"),
        ("neg pow2 pow5 x1", "-x1**10"),
        ("pow2 neg pow2 x1", "(-x1**2)**2"),
        ("pow pow2 pow3 x1 x2", "(x1**6)**x2"),
        ("pow2 pow3 -2.0", "(-2)**6"),
        ("pow2 pow3 pow1_2 x1", "(x1**1.5)**2"),
        ("pow2 pow2 pow3 pow1_4 x1", "(x1**0.75)**4"),
        ("pow3 pow2 pow1_2 x1", "sqrt(x1)**6"),
        ("pow3 pow1_2 pow2 pow3 x1", "(x1**6)**1.5"),
    ],
)
def test_whole_powers_one_in_another_print_as_one(prefix, text):
    """But not through a root, which knows no numbers below 0."""
    expr = prefix.split()
    assert ex.to_infix(expr) == text
    x1, x2 = X = np.array([[-1.3, -0.4, 0.7, 1.9], [0.5, 1.1, -0.3, 2.0]])
    with np.errstate(all="ignore"):
        shown = eval(text, {**PYTHON, "x1": x1, "x2": x2}) * np.ones(4)
        np.testing.assert_allclose(shown, plain_value(ex.to_tree(expr), X.T, iter(())) * np.ones(4), rtol=1e-12)
        np.testing.assert_allclose(ex.evaluate(ex.from_infix(text), X.T), shown, rtol=1e-12)


def test_towers_of_powers_have_the_product_as_their_exponent():
    rng = np.random.default_rng(0)
    for _ in range(50):
        powers = rng.integers(2, 6, rng.integers(1, 5)).tolist()
        expr = [*(f"pow{n}" for n in powers), "x1"]
        assert ex.to_infix(expr) == f"x1**{math.prod(powers)}"
        assert ex.to_infix(["pow1_2", *expr]) == f"sqrt(x1**{math.prod(powers)})"


def test_numbers_read_back():
    for value in (0.1, 1e-300, 1e300, -math.pi, 2.0, 1e22, 123456789.123):
        assert float(ex.format_number(value)) == value
    assert ex.format_number(math.pi, 4) == "3.142"
    assert ex.format_number(1.5e-7, 3) == "1.5e-7"
    assert ex.format_number(np.float64(-138900000000)) == "-1.389e11"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.pi / 6, "pi/6"),
        (0.523598775598299, "pi/6"),  # 15 digits of it
        (2 * math.pi, "2*pi"),
        (-5 * math.pi / 3, "-5*pi/3"),
        (math.pi, "pi"),
        (3.1416, ""),
        (math.pi / 6 * (1 + 1e-13), ""),
        (2 * math.pi / 365.25, "2*pi/365.25"),
        (-2 * math.pi / 365.25, "-2*pi/365.25"),
        (2 * math.pi / 86400, "2*pi/86400"),
        (2 * math.pi / 86400 * (1 - 1e-13), ""),
        (2 * math.pi / 365, ""),
        (0.0, ""),
        (math.inf, ""),
    ],
)
def test_parts_of_pi_are_told_from_numbers_near_them(value, text):
    assert ex.part_of_pi(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.log(7), "log(7)"),
        (-math.log(2) / 5, "-log(2)/5"),
        (1 / math.log(10), "1/log(10)"),
        (-2.5 / math.log(10), "-2.5/log(10)"),
        (20 / math.log(10), "20/log(10)"),
        (3 / math.log(2), "3/log(2)"),
        (0.434294481, ""),
        (0.0, ""),
    ],
)
def test_parts_of_logarithms_and_what_makes_their_base(value, text):
    assert ex.part_of_logarithm(value) == text
    if text:
        x = [[0.3], [2.0], [70.0]]
        shown = ex.to_infix(["*", "<constant>", "log", "x1"], [value], ["P"], pi=True)
        expected = [value * math.log(row[0]) for row in x]
        assert ex.evaluate(ex.from_infix(shown, ["P"]), np.array(x)).tolist() == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("c", [math.pi / 6, -2 * math.pi, math.pi, 2 * math.pi / 365.25, -2 * math.pi / 86400])
@pytest.mark.parametrize("skeleton", ["sin(C*x1 + 1)", "x1/C", "x1**C", "C**x1", "x1 - C", "(x1 + C)/x1"])
def test_a_law_written_with_pi_reads_back_as_the_same_numbers(skeleton, c):
    expr, _ = ex.free(ex.from_infix(skeleton.replace("C", "1.7")))
    values = [c if v == 1.7 else v for v in ex.free(ex.from_infix(skeleton.replace("C", "1.7")))[1]]
    text = ex.to_infix(expr, values, pi=True)
    x = np.array([[0.3], [1.7]])
    with np.errstate(all="ignore"):
        wanted = ex.evaluate(expr, x, np.array(values))
        found = ex.evaluate(ex.from_infix(text), x)
    assert "pi" in text
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


def test_pythons_remarks_on_a_formula_are_not_the_users():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"cannot read .*0in"):
            ex.from_infix("x1*0in(2.5*x2)")


@pytest.mark.parametrize(
    "names",
    [["0", "1"], ["b-c", "my col"], ["km/h", "log(x)"], ["2nd", "a^b"], ["-1", "1e5"], ["x", "0.5"], ["a b", "a"]],
)
def test_names_that_read_as_numbers_or_formulas_stand_in_backquotes(names):
    expr = ["+", "*", "<constant>", "pow2", "x1", "/", "x2", "-", "x1", "x2"]
    text = ex.to_infix(expr, [2.5], names)
    assert ex.from_infix(text, names) == ["+", "*", "2.5", *expr[3:]]
    assert all((f"`{name}`" in text) != name.replace(" ", "").isidentifier() for name in names)


@pytest.mark.parametrize("name", ["größe (m)", "speed (km/h)", "my col", "v[m/s]", "T_°C", "a.b"])
def test_names_that_nobody_misreads_stand_bare(name):
    assert ex.to_infix(["mult2", "x1"], [], [name]) == f"2*{name}"
    assert ex.from_infix(f"2*{name}", [name]) == ["*", "2.0", "x1"]


@pytest.mark.parametrize(
    ("formula", "wanted"),
    [
        ("5*log10(x1) + log2(x2)", lambda a, b: 5 * np.log10(a) + np.log2(b)),
        ("log1p(x1)*expm1(x2)", lambda a, b: np.log1p(a) * np.expm1(b)),
        ("ceil(x1/0.4) - hypot(x1, x2)", lambda a, b: np.ceil(a / 0.4) - np.hypot(a, b)),
        ("sin(radians(x1)) + degrees(x2)", lambda a, b: np.sin(np.radians(a)) + np.degrees(b)),
    ],
)
def test_functions_that_are_a_few_tokens(formula, wanted):
    x = np.random.default_rng(0).uniform(0.2, 3.0, (40, 2))
    np.testing.assert_allclose(ex.evaluate(ex.from_infix(formula), x), wanted(*x.T), rtol=1e-14)


def test_their_arguments_are_counted_and_their_names_known():
    with pytest.raises(ValueError, match="'hypot' came with 1 arguments"):
        ex.from_infix("hypot(x1)")
    with pytest.raises(ValueError, match="the nearest known is 'log10'"):
        ex.from_infix("log100(x1)")


@pytest.mark.parametrize(
    ("formula", "shown"),
    [
        ("x1 - 5*log10(x2) + 5", "x1 - 5*log10(x2) + 5"),
        ("x1*log(x2 + 1)/log(2)", "x1*log2(x2 + 1)"),
        ("-10*log10(1 + (x1/1200)**2)", "-10*log10(1 + (x1/1200)**2)"),
        ("log10(log10(x1))", "log10(log10(x1))"),
        ("x1/log2(x2)", "x1/log2(x2)"),
        ("log2(x1)**2", "log2(x1)**2"),
        ("log(x1)*sin(x2)/log(2)", "log(x1)*sin(x2)/log(2)"),
        ("(log(x1) + 1)/log(2)", "(log(x1) + 1)/log(2)"),
    ],
)
def test_logarithms_of_another_base_are_written_with_it(formula, shown):
    expr = ex.from_infix(formula)
    text = ex.to_infix(expr, [], pi=True)
    assert text == shown
    x = np.random.default_rng(1).uniform(1.5, 3.0, (20, 2))
    np.testing.assert_allclose(ex.evaluate(ex.from_infix(text), x), ex.evaluate(expr, x), rtol=1e-13)
