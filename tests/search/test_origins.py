"""Years and time stamps are searched from the table's beginning and written so; values stay the table's."""

import numpy as np
import pytest

from fansr.expressions import evaluate, free, from_infix, to_infix
from fansr.fitting import Budget, Candidate, Problem
from fansr.search import origins, turns


@pytest.mark.parametrize(
    "name, values, start",
    [
        ("year", np.arange(1960.0, 2024.0), 1960.0),
        ("Year", 1990 + np.arange(120) / 12, 1990.0),
        ("yr", np.arange(1987.0, 1996.0), 1987.0),
        ("timestamp", 1.7e9 + 3600.0 * np.arange(50), 1.7e9),
        ("year", np.arange(0.0, 30.0), None),
        ("T_K", np.arange(1990.0, 2020.0), None),
        ("yearly_sales", np.arange(1990.0, 2020.0), None),
        ("year", np.full(9, 2000.0), None),
    ],
)
def test_which_columns_begin_elsewhere(name, values, start):
    problem = Problem(values[:, None], np.arange(len(values), dtype=float), [name])
    assert origins.origins(problem) == ({} if start is None else {0: start})


@pytest.mark.parametrize(
    "text, written",
    [
        ("2*x1", "2*(year - 1990)"),
        ("(x1 + 3.5)**2", "(year - 1986.5)**2"),
        ("(x1 - 3.5)**2", "(year - 1993.5)**2"),
        ("exp(3.5 - x1)", "exp(1993.5 - year)"),
        ("3 + 2*x1", "3 + 2*(year - 1990)"),
        ("2*sin(6.25*x1 + 0.5)", "2*sin(6.25*(year - 1990) + 0.5)"),
        ("x2*x1 - 7", "z*(year - 1990) - 7"),
        ("x1**2 + x1*0.5 + 4", "(year - 1990)**2 + (year - 1990)*0.5 + 4"),
    ],
)
def test_a_law_is_the_same_in_the_table(text, written):
    X = np.column_stack([1990 + np.arange(20) / 4, np.linspace(0.5, 2, 20)])
    problem = Problem(X, X[:, 0], ["year", "z"])
    starts = {0: 1990.0}
    expr, consts = free(from_infix(text))
    law = Candidate(expr, np.array(consts, dtype=float), 0.0)
    own = origins.from_origins(problem, starts)
    assert own.names == ["(year - 1990)", "z"] and problem.X[0, 0] == 1990.0
    back = origins.in_table(law, starts)
    assert to_infix(back.expr, back.consts, problem.names) == written
    assert np.allclose(evaluate(back.expr, X, back.consts), evaluate(law.expr, own.X, law.consts), rtol=1e-12, atol=0)
    assert len(back.consts) == len(law.consts)


def test_a_rise_with_a_season():
    """Amplitude, frequency and phase as they were made, the phase from 1990 on."""
    year = np.round(1990 + np.arange(120) / 12, 3)
    y = 354 + 1.55 * (year - 1990) + 2.9 * np.sin(2 * np.pi * year + 0.6) + np.random.default_rng(3).normal(0, 0.2, 120)
    problem = Problem(year[:, None], y, ["year"], "ppm")
    options = turns.Options(proposers=("plain", "sums", "curves", "repeats", "waves"), quiet=True)
    found = turns.search(problem, options, Budget(None))
    text = to_infix(found.best.expr, found.best.consts, ["year"], 4)
    assert "(year - 1990)" in text and "sin(" in text
    assert found.best.fvu < 0.003 and all(e < 0.1 for e in found.errors)


def test_what_is_said_of_a_column_is_said_of_it_as_it_stands():
    year = np.arange(1990.0, 2020.0)
    problem = Problem(year[:, None], 0.5 * year - 900, ["year"], "y")
    found = turns.search(problem, turns.Options(samples=0, quiet=True, guess=("0.5*year - 900",)), Budget(None))
    assert to_infix(found.best.expr, found.best.consts, ["year"]) == "year/2 - 900"
