"""Every exported form is read back by something else and must evaluate to the same values."""

import math
import re

import numpy as np
import pytest
from random_trees import random_tree
from scipy.special import expit

from fansr.expressions import export
from fansr.expressions.infix import from_infix, to_infix
from fansr.expressions.programs import evaluate
from fansr.expressions.tokens import CONSTANT as C, FOREIGN, MORE_OPERATORS, OPERATORS

ALL = (*MORE_OPERATORS, *OPERATORS)


def cases(n, depth=4, seed=0):
    """Random expressions over all operators with constants and 3 columns, each operator at the top once at least."""
    rng = np.random.default_rng(seed)
    for trial in range(n):
        expr = random_tree(rng, depth, 3)
        if trial < len(ALL):
            expr = [ALL[trial].token]
            for _ in range(ALL[trial].arity):
                expr += random_tree(rng, 2, 3)
        yield expr, rng.normal(0, 3, expr.count(C))


def same(got, expr, consts, label):
    """Equal up to rounding, where rounding may count for what a change of 1e-13 in all inputs does."""
    want = evaluate(expr, X, consts)
    with np.errstate(all="ignore"):
        slack = sum(np.abs(evaluate(expr, X * (1 + d), np.asarray(consts) * (1 - d)) - want) for d in (1e-13, -3e-13))
    got = np.broadcast_to(np.asarray(got), want.shape)
    real = np.isfinite(want) & np.isfinite(slack)
    if real.any():
        assert (np.abs(got[real] - want[real]) <= (1e-9 * np.abs(want) + 100 * slack + 1e-300)[real]).mean() > 0.97, (
            label
        )


X = np.random.default_rng(9).uniform(-3, 3, (80, 3))
NAMES = ["semi-major axis", "x", "lambda"]


def test_numpy_source_gives_the_same_values():
    columns = dict(zip(export.identifiers(NAMES), X.T))
    assert list(columns) == ["semi_major_axis", "x", "lambda_"]
    for expr, consts in cases(250):
        source = export.numpy_source(expr, consts, NAMES)
        with np.errstate(all="ignore"):
            got = eval(source, {"np": np, **columns})
        assert np.shape(got) == (80,), source
        same(got, expr, consts, source)
        np.testing.assert_array_equal(np.isnan(got), np.isnan(evaluate(expr, X, consts)), source)


def test_infix_gives_the_same_values_through_the_parser():
    for expr, consts in cases(250, seed=1):
        text = to_infix(expr, consts, ["a", "b", "c"])
        same(evaluate(from_infix(text, ["a", "b", "c"]), X, []), expr, consts, text)


def test_sympy_string_gives_the_same_values():
    sympy = pytest.importorskip("sympy")
    names = ["E", "gamma", "x1"]  # two of them mean something to sympy
    symbols = [sympy.Symbol(n) for n in names]
    for expr, consts in cases(60, depth=3, seed=2):
        text = export.sympy_source(expr, consts, names)
        try:
            law = sympy.sympify(text, evaluate=False)
        except ValueError:  # the smaller of two numbers that are not real
            assert {"min", "max"} & set(expr) and not np.isfinite(evaluate(expr, X, consts)).all(), text
            continue
        assert law.free_symbols <= set(symbols), text
        function = sympy.lambdify(symbols, law, "numpy")
        with np.errstate(all="ignore"):
            # sympy may pass through the complex plane, where there is no floor
            got = np.asarray(function(*X.T.astype(complex if FOREIGN.isdisjoint(expr) else float)))
        same(got.real, expr, consts, text)


def test_safe_symbols_mean_nothing_to_sympy():
    sympy = pytest.importorskip("sympy")
    assert not [n for n in dir(sympy) if export._symbol(n) == n]


def test_torch_module_gives_the_same_values_and_gradients():
    torch = pytest.importorskip("torch")
    for expr, consts in cases(150, seed=3):
        module = export.torch_module(expr, consts)
        got = module(torch.tensor(X)).detach().numpy()
        same(got, expr, consts, " ".join(expr))
    module = export.torch_module(["*", C, "x1"], [2.0])
    module(torch.tensor(X)).sum().backward()
    assert math.isclose(module.consts.grad[0].item(), X[:, 0].sum())


# A reader of just the LaTeX written here, made without looking at the writer's internals: tokens, then precedence.
_WORDS = re.compile(r"\\mathrm\{[^}]*\}|\\operatorname\{[a-z]+\}|\\[a-zA-Z]+|\d+\.?\d*|[A-Za-z]|[-+^_{}()|\[\]>,]")
_CALLS = {"arsinh": "arcsinh", "arcosh": "arccosh", "artanh": "arctanh",
          "min": "minimum", "max": "maximum", "sgn": "sign"}  # fmt: skip


def read_latex(text, columns):
    """Value of a LaTeX formula with columns[name] for its letters."""
    words = _WORDS.findall(text.replace(r"\left", "").replace(r"\right", ""))
    place = 0

    def peek():
        return words[place] if place < len(words) else None

    def take(word=None):
        nonlocal place
        assert word is None or words[place] == word, (text, words[place:], word)
        place += 1
        return words[place - 1]

    def group():
        take("{")
        value = total()
        take("}")
        return value

    def total():
        value = -product() if peek() == "-" and take() else product()
        while peek() in ("+", "-"):
            value = value + product() if take() == "+" else value - product()
        return value

    def product():
        value = power()
        while peek() == r"\cdot":
            take()
            value = value * power()
        return value

    def power():
        value = atom()
        if peek() == "^":
            take()
            value = np.power(value, group())
        return value

    def atom():
        word = take()
        if word == "(":
            value = total()
            if peek() == r"\bmod":
                take()
                value = np.mod(value, total())
            take(")")
            return value
        if word == "|":
            value = np.abs(total())
            take("|")
            return value
        if word == "[":
            value = total()
            take(">")
            take("0")
            take("]")
            return np.heaviside(value, 0)
        if word == r"\lfloor":
            value = np.floor(total())
            take(r"\rfloor")
            return value
        if word == r"\frac":
            return np.divide(group(), group())
        if word == r"\sqrt":
            degree = 2
            if peek() == "[":
                take()
                degree = int(take())
                take("]")
            value = group()
            return np.sign(value) * np.abs(value) ** (1 / degree) if degree % 2 else np.power(value, 1 / degree)
        if word.startswith((r"\mathrm", r"\operatorname")) or word[0] == "\\":
            name = word.split("{")[-1].strip("}") if "{" in word else word[1:]
            if name in columns:
                return columns[name]
            function = expit if name == "sigma" else getattr(np, _CALLS.get(name, name))
            take("(")
            operands = [total()]
            if peek() == ",":
                take()
                operands.append(total())
            value = function(*operands)
            take(")")
            return value
        if word[0].isdigit():
            return np.float64(word)
        if peek() == "_":
            take()
            take("{")
            word += take()
            take("}")
        return columns[word]

    value = total()
    assert place == len(words), text
    return value


def test_latex_reads_back():
    columns = {"x1": X[:, 0], "theta": X[:, 1], "mass": X[:, 2]}
    for expr, consts in cases(250, seed=4):
        text = export.latex(expr, consts, ["x1", "theta", "mass"])
        with np.errstate(all="ignore"):
            got = read_latex(text, columns)
        same(got, expr, consts, text)
        assert text.count("{") == text.count("}")


def test_latex_is_readable():
    assert export.latex(["*", C, "pow2", "x1"], [4.9], ["t"]) == r"4.9 \cdot t^{2}"
    assert export.latex(["+", "/", "x1", "x2", C], [-1.5], ["m", "theta_0"]) == r"\frac{m}{\theta_{0}} - 1.5"
    assert (
        export.latex(["*", C, "sin", "x1"], [1.5e-9], ["angle_of 1"])
        == r"1.5 \cdot 10^{-9} \cdot \sin\left(\mathrm{angle\_of\ 1}\right)"
    )


@pytest.mark.parametrize("prefix, text", [
    ("pow2 pow3 x1", "x_{1}^{6}"), ("inv pow2 pow3 x1", r"\frac{1}{x_{1}^{6}}"), ("neg pow5 pow4 x1", "-x_{1}^{20}"),
    ("pow2 pow2 + x1 x2", r"\left(x_{1} + x_{2}\right)^{4}"), ("pow2 pow3 pow1_2 x1", r"\left(\sqrt{x_{1}}\right)^{6}"),
])  # fmt: skip
def test_whole_powers_one_in_another_are_one_in_latex(prefix, text):
    expr = prefix.split()
    assert export.latex(expr) == text
    with np.errstate(all="ignore"):
        same(read_latex(text, {"x1": X[:, 0], "x2": X[:, 1]}), expr, [], text)


def test_digits():
    expr, consts = ["*", C, "x1"], [math.pi]
    assert export.numpy_source(expr, consts, ["a"], digits=3) == "3.14 * a"
    assert export.sympy_source(expr, consts, ["a"], digits=3) == "3.14*a"
    assert export.latex(expr, consts, ["a"], digits=3) == r"3.14 \cdot a"
    assert export.numpy_source(expr, consts, ["a"]) == "3.141592653589793 * a"


def test_identifiers():
    names = ["a b", "a_b", "2nd", "class", "np", "", "m/s", "µ", "a b", "π", "x", "%", "_ok"]
    got = export.identifiers(names)
    assert len(set(got)) == len(names) and all(n.isidentifier() for n in got)
    assert got[1] == "a_b" and got[10] == "x" and got[0] != "a_b" and got[3] == "class_" and got[12] == "_ok"
    namespace = {n: i for i, n in enumerate(got)}
    assert [eval(n, {}, namespace) for n in got] == list(range(len(names)))


def test_constant_law_has_the_shape_of_a_column():
    source = export.numpy_source([C], [2.5], ["t"])
    np.testing.assert_array_equal(eval(source, {"np": np, "t": np.zeros(4)}), np.full(4, 2.5))


def test_errors_say_what_is_wrong():
    with pytest.raises(ValueError, match="1 constants came, the expression has 0"):
        export.numpy_source(["x1"], [1.0])
    with pytest.raises(ValueError, match="uses column 3, there are 1 names"):
        export.sympy_source(["x3"], None, ["a"])
