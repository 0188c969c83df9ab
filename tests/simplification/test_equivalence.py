"""Algorithm 1: known pairs, the shipped rules, and 500 rules of the published kind against plain numpy."""

import itertools
import json
import math

import numpy as np
import pytest
import soundness

from fansr.expressions.prefix import problems
from fansr.expressions.programs import compile_program, evaluate
from fansr.expressions.tokens import CONSTANT
from fansr.simplification.equivalence import allclose, equivalent, levenberg_marquardt, points
from fansr.simplification.rule_sets import folder_of
from fansr.simplification.simplify import load_engine


def same(a, b, seed=0, **more):
    rng = np.random.default_rng(seed)
    return equivalent(a.split(), b.split(), points(2, rng, 96), rng, **more)


@pytest.mark.parametrize(
    "a, b",
    [
        ("pow2 <constant>", "<constant>"),
        ("exp + x1 <constant>", "* <constant> exp x1"),
        ("* <constant> + x1 <constant>", "+ * <constant> x1 <constant>"),
        ("+ pow2 sin x1 pow2 cos x1", "1"),
        ("mult2 x1", "+ x1 x1"),
        ("pow1_3 * <constant> x1", "* <constant> pow1_3 x1"),
        ("/ <constant> x1", "* <constant> inv x1"),
        ("+ * <constant> x1 * <constant> x2", "+ * <constant> x2 * <constant> x1"),
    ],
)
def test_equal(a, b):
    assert same(a, b)


@pytest.mark.parametrize(
    "a, b",
    [
        ("sin x1", "x1"),
        ("+ x1 <constant>", "* <constant> x1"),
        ("abs x1", "x1"),
        ("pow1_2 * <constant> x1", "* <constant> pow1_2 x1"),  # a negative constant
        ("+ * <constant> x1 <constant>", "* <constant> + x1 <constant>"),  # zero before x1
        ("tanh x1", "1"),
        ("+ * <constant> x1 * <constant> x2", "* <constant> + x1 x2"),
    ],
)
def test_not_equal(a, b):
    assert not same(a, b)


def test_zero_and_extension_are_the_callers_choice():
    assert same("+ * <constant> x1 <constant>", "* <constant> + x1 <constant>", zero=False)
    assert not same("pow2 pow1_2 x1", "x1")
    assert same("pow2 pow1_2 x1", "x1", extend=True)


def test_every_sign_vector_is_tried():
    """C in front of sqrt(abs(C)): right for C >= 0 only; 16 draws of |r| times the signs must find it."""
    assert not same("* <constant> x1", "* abs <constant> x1")
    assert not same("inv <constant>", "<constant>")  # 1/0 at the zero of the sign vector
    assert same("inv <constant>", "<constant>", zero=False)


def test_allclose_takes_infinities_and_nan_for_values():
    a = np.array([1.0, np.inf, -np.inf, np.nan])
    assert allclose(a, a)
    assert not allclose(a, np.array([1.0, np.inf, np.inf, np.nan]))
    assert allclose(np.array([1.0, 2.0]), np.array([1.0, np.nan]), extend=True)
    assert not allclose(np.array([1.0, np.nan]), np.array([1.0, 2.0]), extend=True)


def test_levenberg_marquardt_against_linear_least_squares():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(40, 2))
    y = 3.0 * X[:, 0] - 2.0 * X[:, 1] + 0.5
    expr = ["+", "+", "*", "<constant>", "x1", "*", "<constant>", "x2", "<constant>"]
    found = levenberg_marquardt(compile_program(expr), X, y, rng.normal(0, 5, 3))
    wanted = np.linalg.lstsq(np.c_[X, np.ones(40)], y, rcond=None)[0]
    assert found == pytest.approx(wanted, rel=1e-6)


def test_levenberg_marquardt_fits_over_many_decades():
    X = np.linspace(-30, 30, 60)[:, None]
    y = 0.25 * np.exp(1.5 * X[:, 0])
    expr = ["*", "<constant>", "exp", "*", "<constant>", "x1"]
    found = levenberg_marquardt(compile_program(expr), X, y, [1.0, 1.3])
    assert evaluate(expr, X, found) == pytest.approx(y, rel=1e-5)


# ---- rules ------------------------------------------------------------------------------------

NUMBER = {
    "np.pi": repr(math.pi),
    "np.e": repr(math.e),
    'float("inf")': "1e999",
    'float("-inf")': "-1e999",
    "(-1)": "-1",
}


def to_table_5(tokens, bindings=None):
    """A rule's side in our tokens: placeholders to variables, names to literals, rootn to a root; None if it cannot be."""
    out, stack = [], []
    for token in reversed(tokens):
        token = NUMBER.get(token, token)
        if token == 'float("nan")':
            stack.append(["-", "1e999", "1e999"])
        elif token[0] in "_?!$" and token[1:].isdigit():
            stack.append([f"x{int(token[1:]) + 1}"])
        elif token == "rootn":
            base, order = stack.pop(), stack.pop()
            names = {"2": ["pow1_2"], "3": ["pow1_3"], "4": ["pow1_4"], "5": ["pow1_5"]}
            if order[0] not in names:
                return None
            stack.append(names[order[0]] + base)
        elif token in ("+", "-", "*", "/", "pow"):
            stack.append([token, *stack.pop(), *stack.pop()])
        elif token in soundness.UNARY:
            stack.append([token, *stack.pop()])
        else:
            stack.append([token])
    (out,) = stack
    return None if problems(out) else out


@pytest.mark.parametrize("tier, every, at_least", [("3-2", 1, 80), ("4-3", 9, 80)])
def test_shipped_rules_pass(tier, every, at_least):
    """Rules that can be written in Table 5 hold where their pattern is finite: all of the default tier, each ninth of the longer one."""
    rng = np.random.default_rng(1)
    X = np.concatenate([points(2, rng, 64), rng.uniform(-1, 1, (32, 2)), rng.uniform(0, 3, (32, 2))])
    checked = 0
    for left, right in json.loads((folder_of(tier) / "rules.json").read_text())[::every]:
        a, b = to_table_5(left), to_table_5(right)
        if a is None or b is None:
            continue
        checked += 1
        assert equivalent(a, b, X, rng, challenges=4, retries=8, extend=True, zero=False, rtol=1e-6), (left, right)
    assert checked > at_least


def published_style_rules(n):
    """Pairs (pattern, shorter form) of up to five tokens over x, 0, +-1, pi, e, the infinities and NaN: the kind of
    Table 6, with forms that the engine found."""
    engine = load_engine()
    rng = np.random.default_rng(11)
    leaves = [
        "x0",
        "x0",
        "x0",
        "0",
        "1",
        "(-1)",
        "np.pi",
        "np.e",
        'float("inf")',
        'float("-inf")',
        'float("nan")',
        CONSTANT,
    ]
    unary = ["neg", "inv", "abs", "sin", "exp", "tanh", "sinh", "atan", "log", "asin", "cosh"]
    shapes = ["BLL", "UBLL", "BULL", "BLUL", "UUL", "BULUL", "BBLLL", "UBULL"]
    found = {}
    for shape in itertools.cycle(shapes):
        tokens = tuple(
            {"B": "+-*/", "U": unary, "L": leaves}[kind][
                rng.integers(len({"B": "+-*/", "U": unary, "L": leaves}[kind]))
            ]
            for kind in shape
        )
        simple = tuple(engine.simplify(tokens, form="explicit"))
        if len(simple) < len(tokens) and tokens not in found:
            a = to_table_5(["_0" if t == "x0" else t for t in tokens])
            b = to_table_5(["_0" if t == "x0" else t for t in simple])
            if a is not None and b is not None:
                found[tokens] = (a, b)
                if len(found) == n:
                    return list(found.values())


def _direct(a, b, X):
    """Do two constant-free sides agree wherever the first is finite or infinite, by plain numpy?"""
    y, z = soundness.values(a, X, []), soundness.values(b, X, [])
    known = ~np.isnan(y)
    with np.errstate(all="ignore"):
        return bool(np.all((y[known] == z[known]) | (np.abs(y[known] - z[known]) <= 1e-6 * np.abs(y[known]) + 1e-8)))


def test_500_rules_of_the_published_kind():
    """Right rules pass and rules with a wrong replacement fail; numpy in 80-bit floats says which is which."""
    rng = np.random.default_rng(2)
    X = points(1, rng, 64)
    rules = published_style_rules(500)
    assert sum(CONSTANT in a for a, _ in rules) > 50
    disagreements = []
    refused = 0
    for i, (a, b) in enumerate(rules):
        wrong = rules[(i + 7) % len(rules)][1]  # another rule's replacement
        for replacement in (b, wrong):
            verdict = equivalent(
                a, replacement, X, rng, challenges=3, retries=6, extend=True, zero=False, rtol=1e-6, atol=1e-8
            )
            refused += not verdict
            if CONSTANT not in a and CONSTANT not in replacement:
                y = soundness.values(a, X, [])
                if np.isfinite(y).any():
                    finite = X[np.isfinite(y)]
                    if verdict != _direct(a, replacement, finite):
                        disagreements.append((a, replacement, verdict))
        assert equivalent(a, b, X, rng, challenges=2, retries=16, extend=True, zero=False, rtol=1e-5), (a, b)
    assert not disagreements
    assert refused > 100
