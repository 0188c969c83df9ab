"""MathML of laws: read back as Python by a reader that knows only MathML, it gives the values of the law."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from fansr.expressions import evaluate, from_infix, from_tree, mathml
from fansr.expressions.tokens import CONSTANT, OPERATORS

MATH = "{http://www.w3.org/1998/Math/MathML}"
NAMED = {
    "ln": np.log, "arsinh": np.arcsinh, "arcosh": np.arccosh, "artanh": np.arctanh, "arcsin": np.arcsin, "arccos": np.arccos,
    "arctan": np.arctan, "sgn": np.sign, "σ": lambda a: 1 / (1 + np.exp(-a)), "min": np.minimum, "max": np.maximum,
    "step": lambda a: np.heaviside(a, 0.0), "root3": np.cbrt, "root4": lambda a: np.sqrt(np.sqrt(a)),
    "root5": lambda a: np.sign(a) * np.abs(a) ** 0.2, "sqrt": np.sqrt, "abs": np.abs, "floor": np.floor, "power": np.power,
    "mod": np.mod, **{name: getattr(np, name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp")},
}  # fmt: skip


def python_of(element):
    """Python source of a MathML element, by the meaning of its layout."""
    tag = element.tag.removeprefix(MATH)
    parts = [python_of(child) for child in element]
    if tag in ("mn", "mi"):
        return element.text
    if tag == "mo":
        return {"−": "-", "⋅": "*", "\u2061": "", "mod": "%"}.get(element.text, element.text)
    if tag == "mspace":
        return "*"
    if tag == "msub":
        return "".join(parts)
    if tag == "mfrac":
        return f"(({parts[0]})/({parts[1]}))"
    if tag == "msup":
        return f"exp({parts[1]})" if parts[0] == "e" else f"power(1.0*({parts[0]}),{parts[1]})"
    if tag == "msqrt":
        return f"sqrt({''.join(parts)})"
    if tag == "mroot":
        return f"root{parts[1]}({parts[0]})"
    fences = {"|": "abs", "⌊": "floor"}
    if parts and parts[0] in fences and element[0].get("fence"):
        return f"{fences[parts[0]]}({''.join(parts[1:-1])})"
    return "".join(parts)


def value_of(markup, X):
    source = "".join(python_of(child) for child in ET.fromstring(markup))
    with np.errstate(all="ignore"):
        return np.broadcast_to(
            eval(source, {**NAMED, **{f"x{j + 1}": X[:, j] for j in range(X.shape[1])}}), len(X)
        ), source


def random_tree(rng, depth):
    row = OPERATORS[rng.integers(len(OPERATORS))]
    if depth == 0 or rng.random() < 0.15:
        return ("x1", "x2", CONSTANT, "2.5", "-3.0", "1e-07")[rng.integers(6)]
    return (row.token, *(random_tree(rng, depth - 1) for _ in range(row.arity)))


X = np.random.default_rng(1).uniform(0.2, 3.0, (16, 2)) * np.array([1.0, -1.0])


def check(expr, consts):
    with np.errstate(all="ignore"):
        wanted = evaluate(expr, X, np.asarray(consts, dtype=float))
    for markup in (mathml.mathml(expr, consts), mathml.wrapped("".join(m for m, _ in mathml.pieces(expr, consts)))):
        found, source = value_of(markup, X)
        good = np.isfinite(wanted) & np.isfinite(found) & (np.abs(wanted) < 1e12)
        assert np.allclose(found[good], wanted[good], rtol=1e-6, atol=1e-9), (expr, source)
        assert (np.isfinite(wanted) & ~np.isfinite(found)).sum() == 0, (expr, source)


def test_random_laws_read_back_with_their_values():
    rng = np.random.default_rng(0)
    for _ in range(400):
        expr = from_tree(random_tree(rng, 4))
        check(expr, rng.normal(size=expr.count(CONSTANT)) * 10.0 ** rng.integers(-8, 8))


@pytest.mark.parametrize(
    "law",
    ["x1**1.5", "(x1 - x2)**2", "-(x1 + 2)*-3", "x1 - (x2 - 3) - (-4)", "2**(-x1)", "(-2)**2", "1/(x1/x2)", "abs(x2)*3", "min(x1, x2)*2",
     "floor(x1)/2", "exp(x1/2) - exp(-2*x1)", "(x1*x2)/(-3)", "x1 - 2*x2 - -3*x1", "-x1**2", "(-x1)**2", "sqrt(x1)**3", "mod(x1, 2)*x2"],
)  # fmt: skip
def test_signs_brackets_and_powers(law):
    check(from_infix(law), [])


@pytest.mark.parametrize(
    "law, base, exponent",
    [("pow2 pow3 x1", "x1", "6"), ("inv pow2 pow3 x1", "x1", "6"), ("pow4 pow5 - x1 x2", "(x1−x2)", "20"), ("pow3 pow2 pow1_2 x1", "x1", "6")],
)  # fmt: skip
def test_whole_powers_one_in_another_are_one(law, base, exponent):
    raised = list(ET.fromstring(mathml.mathml(law.split())).iter(f"{MATH}msup"))
    assert len(raised) == 1 and ["".join(part.itertext()) for part in raised[0]] == [base, exponent]
    assert ("msqrt" in {element.tag.removeprefix(MATH) for element in raised[0].iter()}) is ("pow1_2" in law)
    check(law.split(), [])


def test_functions_of_ones_own_are_written_by_their_names():
    from fansr.expressions.definitions import define

    token = define("power_of(x, y) = exp(y*log(x))")
    root = ET.fromstring(mathml.mathml([token, "x1", "-2.0"]))
    assert "".join(root.itertext()) == "power_of\u2061(x1,−2)"


def test_names_are_letters_subscripts_or_words():
    assert mathml.name_markup("x12") == "<msub><mi>x</mi><mn>12</mn></msub>"
    assert mathml.name_markup("theta_0") == "<msub><mi>θ</mi><mn>0</mn></msub>"
    assert mathml.name_markup("lambda") == "<mi>λ</mi>"
    assert mathml.name_markup("<b>&\x00") == '<mi mathvariant="normal">&lt;b&gt;&amp;\ufffd</mi>'
    assert ET.fromstring(mathml.mathml(["x1"], target="]]>\x1b</math>")).tag == f"{MATH}math"


def test_the_terms_of_a_sum_are_pieces_and_products_are_not():
    assert len(mathml.pieces(from_infix("x1 + 2*x2 - 3 + sin(x1)"))) == 4
    assert len(mathml.pieces(from_infix("x1*(x2 + 1)"))) == 1
    widths = [width for _, width in mathml.pieces(from_infix("x1 + sin(x2*x1 + 2.25)*x2"))]
    assert widths[1] > 3 * widths[0]


def test_without_constants_the_form_is_shown():
    markup = mathml.mathml(["+", "*", CONSTANT, "x1", CONSTANT])
    assert markup.count("<mi>c</mi>") == 2 and "<mn>1</mn>" in markup and "<mn>2</mn>" in markup
    with pytest.raises(ValueError, match="constants came"):
        mathml.mathml([CONSTANT], [1.0, 2.0])
