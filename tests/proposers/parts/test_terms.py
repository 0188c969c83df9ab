"""Terms over columns: their values by numpy, and what libraries of one table share."""

import numpy as np
import pytest

from fansr.expressions.programs import evaluate
from fansr.proposers.parts.expression_assembly import product
from fansr.proposers.parts.terms import Functions, Library, functions_of, oscillates, varies


@pytest.fixture
def X():
    rng = np.random.default_rng(2)
    return np.column_stack(
        [rng.uniform(0.5, 4, 60), rng.uniform(-3, 3, 60), rng.uniform(50, 200, 60), np.full(60, 2.0)]
    )


def test_values_are_those_of_the_expressions(X):
    rows = np.arange(0, 60, 7)
    library = Library(X, 60, 200, rows)
    assert any(atom.base for atom in library.atoms) and any(0.5 in atom.powers for atom in library.atoms)
    for atom, row in zip(library.atoms, library.F):
        expr = product(atom.factors(), lambda base: False)
        true = evaluate(list(expr), X) if expr else np.ones(60)
        assert np.allclose(library.values(atom) * np.exp(library.log_scale(atom)), true, rtol=1e-9)
        assert (library.values(atom)[rows] == row).all()
        assert atom.powers[3] == 0  # a column that does not vary


def test_functions_are_worth_a_term(X):
    functions = Functions(X)
    assert [base for _, base in functions.priced] == list(functions.bases)
    for base, v in functions.bases.items():
        assert np.allclose(v, evaluate(list(base), X)) and np.isfinite(v).all() and np.ptp(v) > 0
    assert ("log", "x1") in functions.bases and ("log", "x2") not in functions.bases  # x2 changes its sign
    assert (("sin", "x1") in functions.bases) == oscillates(X[:, 0]) and ("exp", "x3") not in functions.bases
    assert not list(functions_of(1.0, ("x4",), X[:, 3], 2.0, 2.0, 0.0, True))


def test_libraries_that_share_are_those_that_do_not(X):
    rows, functions = np.arange(60), Functions(X)
    first = Library(X, 60, 100, rows, functions=functions)
    first.bases["sin", "mult2", "x1"] = np.sin(2 * X[:, 0])  # its own
    second, alone = Library(X, 30, 200, rows, functions=functions), Library(X, 30, 200, rows)
    assert second.atoms == alone.atoms and (second.F == alone.F).all() and list(second.bases) == list(alone.bases)
    assert second.positive(("x1",)) and not second.positive(("x2",)) and not second.positive(("sin", "mult2", "x1"))


def test_what_varies():
    assert varies(np.array([[1.0, 1.0], [1.0, 2.0], [np.nan, 1.0], [0.0, np.inf]])).tolist() == [
        False,
        True,
        False,
        False,
    ]
