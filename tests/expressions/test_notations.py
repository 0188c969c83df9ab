"""Numbers written digit by digit: what is written is read again, means the same, and whatever is drawn can be read."""

import math

import numpy as np
import pytest

from fansr.expressions import ARITY, EOS_ID, evaluate, notations

OPERATORS = ("+", "-", "*", "/", "exp", "sin", "neg", "pow1_2", "pow2", "pow3", "log", "abs", "cos", "tanh")


def random_expr(rng, size):
    """A tree of about `size` operators over x1, x2, with whole numbers as the insertion puts them and elsewhere."""
    if size <= 0:
        return [str(rng.choice(["x1", "x2"]))]
    token = str(rng.choice(OPERATORS))
    left = int(rng.integers(0, size))
    operands = [random_expr(rng, left), random_expr(rng, size - 1 - left)][: ARITY[token]]
    expr = [token, *(word for operand in operands for word in operand)]
    if rng.random() < 0.3:
        expr = [str(rng.choice(["+", "*"])), str(rng.integers(-99, 100)), *expr]
    return expr


def plain(words):
    """A LaTeX spelling as Python, by replacing its words; independent of the reader."""
    calls = {
        r"\sqrt{": "sqrt(",
        "e^{": "exp(",
        r"\left|": "abs(",
        r"\right|": ")",
        r"\frac{": "((",
        "}{": ")/(",
        r"\cdot": "*",
    }
    out, stack = [], []
    for word in words:
        if word in (r"\frac{", "^{", r"\sqrt{", "e^{"):
            stack.append(word)
        if word == "^{":
            out.append("**(")
        elif word == "}":
            out.append("))" if stack.pop() == r"\frac{" else ")")
        elif word in calls:
            out.append(calls[word])
        elif word.startswith("\\"):
            out.append(word[1:])
        else:
            out.append(word.replace("_", ""))
    return "".join(out)


@pytest.mark.parametrize("name", notations.NOTATIONS)
def test_what_is_written_is_read(name):
    rng, notation = np.random.default_rng(0), notations.NOTATIONS[name]
    for _ in range(4000):
        expr = random_expr(rng, int(rng.integers(0, 9)))
        ids = notation.write(expr)
        assert ids is not None and max(ids) < len(notation.vocabulary)
        assert notation.read([1, *ids, EOS_ID, 0, 0]) == expr


def test_latex_means_what_python_says():
    rng, notation = np.random.default_rng(1), notations.NOTATIONS["latex"]
    X = rng.uniform(0.2, 2.0, (100, 2))
    names = {name: getattr(np, name) for name in ("sin", "cos", "tanh", "sqrt", "exp", "log", "abs")}
    seen = 0
    for _ in range(300):
        expr = random_expr(rng, int(rng.integers(1, 7)))
        words = [notation.vocabulary[i] for i in notation.write(expr)]
        with np.errstate(all="ignore"):
            wanted = evaluate(expr, X)
            # In Python too -x**2 is -(x**2), and a - b - c goes from the left.
            found = eval(plain(words), {"x1": X[:, 0], "x2": X[:, 1], **names})
        good = np.isfinite(wanted) & (np.abs(wanted) < 1e12)
        seen += int(good.sum())
        # Sines of large numbers differ in their last digits between ways to compute them.
        np.testing.assert_allclose(np.broadcast_to(found, 100)[good], wanted[good], rtol=1e-6, atol=1e-6)
    assert seen > 10_000


@pytest.mark.parametrize("name", notations.NOTATIONS)
def test_every_masked_draw_can_be_read(name):
    """3,000 draws of even chance among what the automaton allows, of lengths down to the shortest."""
    rng, notation = np.random.default_rng(2), notations.NOTATIONS[name]
    lengths = set()
    for length in (2, 3, 5, 9, 20, 40):
        automaton = notation.automaton(2, length)
        for _ in range(500):
            state, ids = np.array([automaton.start]), []
            for t in range(length):
                allowed = automaton.mask(state, t)[0]
                assert allowed.any()
                token = int(rng.choice(np.flatnonzero(allowed)))
                state = automaton.advance(state, np.array([token]))
                ids.append(token)
                if token == EOS_ID:
                    break
            assert ids[-1] == EOS_ID
            expr = notation.read(ids)
            assert expr is not None and not {"x3", "x17", "<constant>"} & set(expr)
            lengths.add(len(ids))
    assert {2, 3} <= lengths and max(lengths) >= 30


@pytest.mark.parametrize("name", notations.NOTATIONS)
def test_the_automaton_allows_what_is_written(name):
    rng, notation = np.random.default_rng(3), notations.NOTATIONS[name]
    for _ in range(300):
        ids = [*notation.write(random_expr(rng, int(rng.integers(0, 8)))), EOS_ID]
        automaton = notation.automaton(2, len(ids))
        state = np.array([automaton.start])
        for t, token in enumerate(ids):
            assert automaton.mask(state, t)[0, token], (t, token)
            state = automaton.advance(state, np.array([token]))


def test_what_has_no_spelling():
    prefix, latex = notations.NOTATIONS["prefix"], notations.NOTATIONS["latex"]
    assert prefix.write(["+", "3", "4"]) is None and prefix.write(["+", "3", "-4"]) is not None
    assert latex.read(latex.write(["+", "3", "4"])) == ["+", "3", "4"]
    for notation in (prefix, latex):
        assert notation.write(["*", "<constant>", "x1"]) is None
        assert notation.write(["*", "1234567890", "x1"]) is None
        assert notation.write(["*", "2.5", "x1"]) is None
        assert notation.read([]) is None
    assert latex.read(latex.write(["mult3", "x1"])) == ["*", "3", "x1"]
    assert latex.read(latex.write(["inv", "x1"])) == ["/", "1", "x1"]
    words = lambda expr: "".join(latex.vocabulary[i] for i in latex.write(expr))  # noqa: E731
    assert words(["neg", "pow2", "-3"]) == "-(-3)^{2}"
    assert words(["-", "x1", "-", "x2", "x1"]) == "x_1-(x_2-x_1)"
    assert len(latex.vocabulary) == 56 and len(prefix.vocabulary) == 70


def test_a_factor_of_one_is_left_out():
    ids = [notations.TOKEN_ID[token] for token in ["+", "<constant>", "*", "<constant>", "x1"]]
    assert notations.bound(ids, [1.0, 1.0]) == ["+", "1", "x1"]
    assert notations.bound(ids, [-3.0, 9.0]) == ["+", "-3", "*", "9", "x1"]
    assert math.isclose(evaluate(notations.bound(ids, [2.0, -1.0]), np.array([[5.0]]))[0], -3.0)
