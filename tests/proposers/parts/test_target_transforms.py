"""Functions undone against numpy's own, and the views of a target made with them."""

import numpy as np
import pytest

from fansr.expressions.programs import evaluate
from fansr.proposers.parts.target_transforms import OUTER, OUTERS, RARE_OUTERS, negated, view_of

X = np.random.default_rng(0).uniform(0.5, 2.0, (50, 2))


def test_outer_functions_undo_each_other():
    u = np.linspace(0.05, 0.95, 50)
    for outer in OUTERS + RARE_OUTERS:
        assert outer.defined(u).all()
        assert np.allclose(outer.do(outer.undo(u)), u, rtol=1e-9)
        S = outer.undo(u)
        X = S[:, None]
        expr = [*outer.tokens, "x1"] if outer.power is None else None
        if expr:
            assert np.allclose(evaluate(expr, X), u)
        else:
            assert np.allclose(
                np.sign(S) * np.abs(S) ** float(outer.power) if outer.name == "cbrt" else S ** float(outer.power), u
            )


@pytest.mark.parametrize("outer", OUTERS + RARE_OUTERS, ids=lambda outer: outer.name)
@pytest.mark.parametrize("unit", [1.0, None])
def test_a_view_gives_its_target_back(outer, unit):
    S = 0.2 + 0.1 * X[:, 0] * X[:, 1]
    front = X[:, 0] ** 2 if unit is None and outer.power is not None else 1.0
    y = front * outer.do(S)
    view = view_of(y, outer, front, unit if outer.power is not None else 1.0)
    assert view is not None and view.ok.all()
    assert np.allclose(view.values(view.S), y)


def test_a_negative_target_is_seen_by_its_size():
    view = view_of(-np.exp(X[:, 0]), OUTER["exp"], unit=1.0)
    assert view.sign == -1 and np.allclose(view.S, X[:, 0])


def test_no_view_where_most_rows_have_no_value():
    assert view_of(X[:, 0] - 1.2, OUTER["exp"], unit=1.0) is None
    assert view_of(np.zeros(50), OUTER["y"]) is None


def test_functions_of_terms_are_spelled_with_what_stands_before_them():
    above, below, front = [(2.0, {("x1",): 1}), (3.0, {})], [(1.0, {}), (0.5, {("x2",): 2})], {("x2",): -1}
    a, b = X.T
    for outer in (*OUTERS[:5], OUTERS[6]):
        law = outer.law_of_terms(above, below, front, lambda base: True)
        assert np.allclose(evaluate(list(law), X), outer.do((2 * a + 3) / (1 + 0.5 * b**2)) / b)


def test_negated():
    assert negated(("exp", "x1")) == ("neg", "exp", "x1") and negated(("neg", "x1")) == ("x1",)
