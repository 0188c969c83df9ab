"""Forms known in part: how they are read, put together, undone and refused; what searches inside them give."""

import json

import numpy as np
import pytest
from scipy.optimize import curve_fit

from fansr.expressions import evaluate, to_infix
from fansr.fitting import Budget, Candidate, Problem
from fansr.search import form_search, forms, guesses, rounding, rules, turns

NAMES = ["t", "x"]
RNG = np.random.default_rng(4)
X = RNG.uniform(0.5, 4, (90, 2))
t, x = X.T


def test_a_form_with_laws_put_in_is_that_formula():
    form = forms.parse(["y = A*exp(-k*t) + f(x) - f(2*t)/A"], NAMES, "y")
    assert form.letters == ["A", "k"] and form.functions == ["f"]
    expr, consts, keys = form.law({"A": 3.0, "k": 0.5}, {"f": (["+", "<constant>", "pow2", "x1"], [7.0])})
    wanted = 3 * np.exp(-0.5 * t) + (7 + x**2) - (7 + (2 * t) ** 2) / 3
    np.testing.assert_allclose(evaluate(expr, X, consts), wanted, rtol=1e-12)
    ties = forms.ties_of(keys)
    assert len(set(ties)) == 3 and len(ties) == 5


@pytest.mark.parametrize("text, f, values", [
    ("A*exp(-k*t) + f(x)", lambda t, x: x**2, lambda f, t, x: 2 * np.exp(-0.3 * t) + f),
    ("log(f(x)/t) - 2", lambda t, x: x + 1, lambda f, t, x: np.log(f / t) - 2),
    ("sqrt(k + f(x)**3)*t", lambda t, x: x, lambda f, t, x: np.sqrt(0.3 + f**3) * t),
    ("t/(1 - tanh(f(x)))", lambda t, x: x / 4, lambda f, t, x: t / (1 - np.tanh(f))),
    ("2**f(x)", lambda t, x: x, lambda f, t, x: 2**f), ("f(x)**-1.5", lambda t, x: x, lambda f, t, x: f**-1.5),
])  # fmt: skip
def test_what_can_be_undone_is_undone_exactly(text, f, values):
    form = forms.parse([text], NAMES)
    y = values(f(t, x), t, x)
    found = form.undone("f", X, y, {"A": 2.0, "k": 0.3}, {})
    np.testing.assert_allclose(found, f(t, x), rtol=1e-9)


@pytest.mark.parametrize("text", ["sin(f(x)) + t", "f(x)**2", "f(x) + f(t)", "abs(f(x))"])
def test_what_cannot_be_undone_is_not(text):
    assert forms.parse([text], NAMES).undone("f", X, t, {}, {"f": t}) is None


@pytest.mark.parametrize("text, word", [
    ("A*exp(-k*tempp) + f(x)", "no column is called 'tempp'"), ("foo(x) + A", "unknown function 'foo'"), ("t + x", "leaves nothing"),
    ("A +", "cannot read"), ("f() + A", "depends on nothing"), ("f(x) + f(x, t)", "with more and with fewer"), ("f(A)", "no column is called 'A'"),
    ("f + f(x)", "a constant and a function"), ("f(x); g: max-length 3", "no function is called 'g'"), ("f(x); f: max-lenght 3", "nearest is max-length"),
    ("f(x); f: operators +,foo", "unknown operator 'foo'"), ("f(x); f(t)", "2 formulas"), ("f(2)", "no column"), ("sinn(x)", "nearest function is sin"),
])  # fmt: skip
def test_what_is_wrong_with_a_form_is_said(text, word):
    with pytest.raises(ValueError, match=word):
        forms.parse([text], NAMES)


def find(text, y, seconds=1.0, **said):
    options = turns.Options(form=(text,), rules=rules.parse(**said), samples=0)
    return turns.search(Problem(X, y, NAMES), options, Budget(seconds))


@pytest.mark.parametrize("text, y", [
    ("A*exp(-k*t) + f(x)", 3 * np.exp(-0.7 * t) + x**2), ("f(x) + g(t)", np.sqrt(x) + 2 / t), ("f(x)*exp(-k*t)", (1 + x) * np.exp(-0.2 * t)),
    ("A*t**B + C", 2 * t**1.3 + 5), ("exp(f(x, t)) + 2", np.exp(0.3 * x * t) + 2),
])  # fmt: skip
def test_laws_of_a_form_are_found(text, y):
    found = find(text, y)
    assert found.best.fvu < 1e-20, to_infix(found.best.expr, found.best.consts, NAMES)


def test_the_law_has_the_form_though_the_data_have_not():
    y = 3 * np.exp(-0.7 * t) + x**2 + 0.5 * t * x
    found = find("A*exp(-k*t) + f(x); f: operators + *, max-length 6", y, 0.5)
    grid = np.linspace(0.5, 4, 7)
    T, Z = np.meshgrid(grid, grid)
    for one in (found.best, *found.front):
        v = evaluate(one.expr, np.column_stack([T.ravel(), Z.ravel()]), one.consts) + np.zeros(T.size)
        v = v.reshape(T.shape)
        assert np.abs(v - v[:1] - v[:, :1] + v[0, 0]).max() < 1e-9 * np.abs(v).max()
        assert not {"sin", "log", "pow1_2"} & set(one.expr)


def test_constants_that_are_one_have_one_value_and_its_error():
    y = 2 * (np.sqrt(x) - np.sqrt(t)) + 0.05 * RNG.normal(size=len(t))
    expr = ["-", "*", "<constant>", "pow1_2", "x2", "*", "<constant>", "pow1_2", "x1"]
    law = Candidate(expr, np.array([1.0, 1.5]), ties=(0, 0))
    law.fvu, law.consts = form_search.polished_with_ties(Problem(X, y, NAMES), law)
    (wanted,), covariance = curve_fit(lambda X, a: a * (np.sqrt(X[:, 1]) - np.sqrt(X[:, 0])), X, y)
    assert law.consts == pytest.approx([wanted, wanted], rel=1e-6)
    errors = rounding.law_errors(law, X, y, 1e-30, physics=False)
    assert errors == pytest.approx([np.sqrt(covariance[0, 0])] * 2, rel=1e-4)


@pytest.mark.parametrize("form, said, word", [
    ("A*exp(-k*t)", {"max_constants": 1}, "2 constants, at most 1"), ("A*f(x)", {"max_length": 2}, "even with a column for each function"),
    ("exp(exp(k*t))", {"nest": "exp:0"}, "exp stands more than 0 deep"), ("A*exp(-k*t)", {"max_constants": 2, "operators": "+"}, None),
])  # fmt: skip
def test_a_form_larger_than_the_rules_is_refused(form, said, word):
    form = forms.parse([form], NAMES)
    if word is None:
        return forms.check(form, rules.parse(**said))
    with pytest.raises(ValueError, match=f"form: no law of .* keeps the rules.*{word}"):
        forms.check(form, rules.parse(**said))


def test_guesses_of_files(tmp_path):
    lines = tmp_path / "laws.txt"
    lines.write_text("# of old\na*sin(b*x) + 2\n\ny = 3*t\n")
    assert guesses.texts_of([str(lines), "x + 1"]) == ("a*sin(b*x) + 2", "y = 3*t", "x + 1")
    saved = tmp_path / "law.json"
    saved.write_text(json.dumps({"expression": "2*x", "front": [{"expression": "2*x"}, {"expression": "x"}]}))
    assert guesses.texts_of([str(saved)]) == ("2*x", "x")
    (expr, consts), (_, free) = guesses.parse(["3.5*x**2 + 1", "a*x"], NAMES)
    assert np.isnan(free).all() and list(consts) == [3.5, 1.0] and "pow2" in expr


@pytest.mark.parametrize(
    "text, word", [("a*w1x", "no column is called 'w1x'"), ("f(x)", "--form takes"), ("x +", "cannot read")]
)
def test_guesses_that_are_none(text, word):
    with pytest.raises(ValueError, match=f"guess: .*{word}"):
        guesses.parse([text], NAMES)


def test_letters_of_a_guess_are_fitted_beside_its_numbers():
    """The numbers were passed over where a letter stood beside them, and so fast a wave is found from near alone."""
    z = np.random.default_rng(2).uniform(0, 4, 60)
    y = 2 * np.sin(37 * z) + 1
    options = turns.Options(guess=("a*sin(36.9*z) + b",), samples=0, proposers=("power",))
    found = turns.search(Problem(z[:, None], y, ["z"]), options, Budget(0.0))
    assert found.best.fvu < 1e-20


def test_a_guess_is_where_the_search_begins():
    z = np.linspace(0, 30, 150)
    y = 2.5 * np.sin(3.1 * z) * np.exp(-0.05 * z) + 1.2
    options = turns.Options(
        guess=("a*sin(b*z)*exp(-k*z) + c", "2*sin(3.09*z)*exp(-0.1*z) + 1"), samples=0, proposers=("power",)
    )
    found = turns.search(Problem(z[:, None], y, ["z"]), options, Budget(0.2))
    assert found.best.fvu < 1e-20


def test_a_law_that_is_offered_twice_is_fitted_twice():
    x = np.linspace(1.0, 3.0, 20)
    problem = Problem(np.column_stack([x, x**2]), 3 * x**3, ["x", "z"], "y")
    state = form_search.FormState(problem, turns.Options(form=("f(x)",)), Budget(None))
    state._fit_all([Candidate(["*", "mult3", "x1", "x2"], source="form") for _ in range(2)])
    assert state.pool.best.fvu < 1e-20


@pytest.mark.parametrize("names", [["0", "1"], ["b-c", "my col"], ["2", "c/d"]])
def test_a_form_names_columns_in_backquotes(names):
    plain = forms.parse(["a*u**2 + sin(v)"], ["u", "v"])
    assert forms.parse([f"a*`{names[0]}`**2 + sin(`{names[1]}`)"], names).tree == plain.tree
