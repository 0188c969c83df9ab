"""Definitions: values and derivatives of the written-out formula, by numpy and torch; streams that hold them; what is refused."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from fansr.expressions import definitions, export
from fansr.expressions.infix import from_infix, to_infix
from fansr.expressions.prefix import problems
from fansr.expressions.programs import compile_many, evaluate, evaluate_many, value_and_jacobian
from fansr.expressions.tokens import CONSTANT
from fansr.fitting import Refiner
from fansr.simplification import simplify_many

GAUSS = definitions.define("gauss(x) = exp(-x**2)")
HILL = definitions.define("hill(x, k) = k/(x + k) + 0*x")  # the second argument comes first in the body
SWISH = definitions.define("swish(x) = x/(1 + exp(-x))")
X = np.random.default_rng(4).uniform(0.3, 2.0, (700, 2))


def gauss(v):
    return torch.exp(-v * v)


def hill(v, k):
    return k / (v + k)


def swish(v):
    return v / (1 + torch.exp(-v))


LAWS = [
    ("gauss(C*x1 + C)", lambda a, b, c: gauss(c[0] * a + c[1])),
    ("swish(C*x1 + C)", lambda a, b, c: swish(c[0] * a + c[1])),
    ("C*swish(swish(C*x1)/C)", lambda a, b, c: c[0] * swish(swish(c[1] * a) / c[2])),
    ("hill(C*x1, C*x2)", lambda a, b, c: hill(c[0] * a, c[1] * b)),
    ("C + hill(swish(C*x1), gauss(C*x2 - C))*C", lambda a, b, c: c[0]
     + hill(swish(c[1] * a), gauss(c[2] * b - c[3])) * c[4]),
    ("min(swish(C*x1), C)**2", lambda a, b, c: torch.minimum(swish(c[0] * a), c[1]) ** 2),
]  # fmt: skip


@pytest.mark.parametrize("text, law", LAWS)
def test_values_derivatives_and_exports_are_those_of_the_formula(text, law):
    expr = from_infix(text)
    c = np.random.default_rng(1).uniform(0.4, 1.6, expr.count(CONSTANT))
    leaf = torch.tensor(c, requires_grad=True)
    a, b = torch.tensor(X[:, 0]), torch.tensor(X[:, 1])
    wanted = law(a, b, leaf)
    y, J = value_and_jacobian(expr, X, c)
    np.testing.assert_allclose(y, wanted.detach(), rtol=1e-12)
    gradients = torch.stack([torch.autograd.grad(v, leaf, retain_graph=True)[0] for v in wanted[::50]], 1)
    np.testing.assert_allclose(J[:, ::50], gradients, rtol=1e-9, atol=1e-12)
    with np.errstate(all="ignore"):
        source = eval(export.numpy_source(expr, c), {"np": np, "x1": X[:, 0], "x2": X[:, 1]})
    np.testing.assert_allclose(source, y, rtol=1e-12)
    np.testing.assert_allclose(export.torch_module(expr, c)(torch.tensor(X)).detach(), y, rtol=1e-12)
    sympy = pytest.importorskip("sympy")
    form = sympy.sympify(export.sympy_source(expr, c))
    np.testing.assert_allclose([float(form.subs({"x1": p, "x2": q})) for p, q in X[:4]], y[:4], rtol=1e-10)
    np.testing.assert_allclose(evaluate(from_infix(to_infix(expr, c)), X), y, rtol=1e-12)
    assert (
        to_infix(expr).count("swish") == text.count("swish")
        and "operatorname" in export.latex(expr, c)
        or "min" in text
    )


def test_constants_of_an_argument_that_stands_twice_are_one_each_in_a_fit():
    expr = from_infix("C*swish(C*x1 + C) + C")
    truth = [3.0, 1.7, -2.1, 0.4]
    fvu, consts = Refiner(X, evaluate(expr, X, truth)).polish(expr, [2.5, 1.4, -1.8, 0.6])
    assert fvu < 1e-20
    np.testing.assert_allclose(consts, truth, rtol=1e-6)
    many = evaluate_many(compile_many([["x2"], expr, ["x1"]]), X, [[], truth, []])
    np.testing.assert_array_equal(many[[0, 2]], X.T[[1, 0]])


def test_a_token_explains_itself_where_it_was_never_defined():
    token = "bump=exp,neg,pow4,x1"
    assert problems([token, "x1"]) is None and to_infix(["*", "2", token, "x1"]) == "2*bump(x1)"
    np.testing.assert_allclose(evaluate([token, "x1"], X), np.exp(-(X[:, 0] ** 4)))
    assert from_infix("bump(x2)") == [token, "x2"]


@pytest.mark.parametrize("token", ["exp=x1", "f=", "=x1", "f=x1,x1", "f=+,x1", "f=x2", "f=<constant>", "f=x3", "1f=x1", "f=g=x1",
                                   "f=sin,x1,", "min=x1", "sqrt=x1"])  # fmt: skip
def test_what_is_no_definition_is_no_token(token):
    assert "unknown token" in problems([token, "x1"])


@pytest.mark.parametrize("text, says", [
    ("gauss = exp(-x**2)", "cannot read the definition"),
    ("f(x) = expp(-x)", "unknown function 'expp'.*nearest known is 'exp'"),
    ("f(x) = a*x", "unknown name 'a'.*wanted one of x"),
    ("f(x) = C*x", "free constant"),
    ("sin(x) = x", "'sin' is a function already"),
    ("log(x) = x", "is a function already"),
    ("f(x, k) = x + 1", "does not use its argument 'k'"),
    ("f(x, x) = x", "twice"),
    ("f(x) = " + "+".join(["x"] * 40), "tokens long"),
])  # fmt: skip
def test_wrong_definitions_are_explained(text, says):
    with pytest.raises(ValueError, match=says):
        definitions.define(text)


def test_simplification_leaves_them_whole():
    exprs = [
        "swish(x1)/swish(x1)",
        "gauss(x1 + x2 - x2) + min(x1, x2) - min(x2, x1)",
        "C*C*step(2*x1/2)",
        "hill(min(C, C), C)",
    ]
    forms = [form for form, _ in simplify_many([from_infix(text) for text in exprs])]
    assert forms == [[CONSTANT], [GAUSS, "x1"], ["*", "step", "x1", CONSTANT], [CONSTANT]]
    assert [form for form, _ in simplify_many(forms)] == forms


def test_formulas_with_comparisons_and_remainders():
    assert from_infix("x1 > 2") == ["step", "-", "x1", "2.0"] and from_infix("x1 < 0") == ["step", "-", "0.0", "x1"]
    assert from_infix("x1 > 0") == ["step", "x1"] and from_infix("x1 % 3") == ["mod", "x1", "3.0"]
    assert from_infix("max(x1, x2, 1)") == ["max", "x1", "max", "x2", "1.0"]
    with pytest.raises(ValueError, match="'min' came with 1 arguments .* wanted 2"):
        from_infix("min(x1)")


def test_a_definition_written_out_is_folded():
    expr = from_infix("2*exp(-(3*x1 - 1)**2) + exp(-x2**2)")
    assert to_infix(definitions.folded(expr, GAUSS)) == "2*gauss(3*x1 - 1) + gauss(x2)"
    twice = from_infix("x1*x2/(1 + exp(-x1*x2))")
    assert definitions.folded(from_infix("(x1 + x2)/(1 + exp(-(x1 + x2)))"), SWISH) == [SWISH, "+", "x1", "x2"]
    assert definitions.folded(twice, SWISH) == twice  # exp(-(x1*x2)) is spelled otherwise
    free = ["/", CONSTANT, "+", "1.0", "exp", "neg", CONSTANT]
    assert definitions.folded(free, SWISH) == free  # two constants are not one


def test_a_definition_may_come_before_anything_is_compiled():
    """The command reads --define before it loads the kernels."""
    code = (
        "import sys, numpy as np; from fansr.expressions.definitions import define; token = define('cubed(a) = a**3')\n"
        "assert 'numba' not in sys.modules; from fansr.expressions import evaluate\n"
        "assert evaluate([token, 'x1'], np.array([[2.0]]))[0] == 8.0"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
