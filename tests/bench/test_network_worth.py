"""The laws, cuts and questions of bench/network_worth.py, against formulas worked out by hand."""

import numpy as np
import pytest

from bench import network_worth
from bench.asking import ways
from bench.asking.column_splits import splits
from bench.composite_laws import columns_in
from fansr.expressions import evaluate, from_infix
from fansr.fitting import Problem
from fansr.proposers import composites
from fansr.proposers.local_search.island import Island


def problem(formula: str, names: str, rows: int = 300) -> Problem:
    X = np.random.default_rng(0).uniform(0.5, 3.0, (rows, len(names)))
    return Problem(X, evaluate(from_infix(formula, list(names)), X), list(names))


def test_laws_have_four_to_seven_columns_and_the_kinds_held_back_are_others():
    assert not set(network_worth.KINDS) & set(network_worth.HELD)
    for kinds in (network_worth.KINDS, network_worth.HELD):
        found = network_worth.laws(kinds, 3, 5)
        assert [law.family for law in found] == [name for name in kinds for _ in range(3)]
        assert len({law.formula for law in found}) == len(found)
        assert all(4 <= len(law.box) <= 7 and set(law.box) == columns_in(law.formula) for law in found)


@pytest.mark.parametrize(
    "formula, parts",
    [
        ("a*exp(-b/c) + 0.5*sqrt(d*e + 3)", ("a*exp(-b/c)", "0.5*sqrt(d*e + 3)")),
        ("a/(b + 1)*log(c*d + 2)", ("a/(b + 1)", "log(c*d + 2)")),
        ("1/(a*b + c/(d + 1))", ("a*b", "c/(d + 1)")),
    ],
)
def test_a_cut_is_found_and_laws_of_its_parts_make_the_whole(formula, parts):
    """The groups of columns are those of the formula; the formula's own parts, put back, follow y up to constants."""
    names = "".join(sorted(columns_in(formula)))
    whole = problem(formula, names)
    best = next(cut for cut in splits(whole, np.random.default_rng(1)) if cut is not None)
    groups = ["".join(part.names) for part in best.problems]
    wanted = ["".join(sorted(columns_in(part))) for part in parts]
    assert sorted(groups) == sorted(wanted) and best.error < 1e-3
    laws = [from_infix(parts[wanted.index(group)], list(group)) for group in groups]
    for part, law in zip(best.problems, laws):  # each part follows the formula's up to a factor or a summand
        values = evaluate(list(law), part.X)
        assert np.corrcoef(part.y, values)[0, 1] > 0.999
    values = evaluate(list(best.restore(*laws)), whole.X)
    line = np.polyfit(1 / values, 1 / whole.y, 1) if formula.startswith("1/") else np.polyfit(values, whole.y, 1)
    shown, y = (1 / values, 1 / whole.y) if formula.startswith("1/") else (values, whole.y)
    assert np.abs(np.polyval(line, shown) - y).max() < 1e-9 * np.abs(y).max()


def test_what_is_no_sum_and_no_product_has_no_cut():
    assert [cut for cut in splits(problem("sin(2*a*b*c*d)", "abcd"), np.random.default_rng(1)) if cut] == []


@pytest.mark.parametrize(
    "formula",
    ["a*sqrt(b + c)", "a/(b*c + 1) - c", "exp(a - b)/log(c + 2)", "1/(a + sin(b)*c)", "tanh(a*b/9)*c", "(a - b)**2 + c", "cos(b)*a + c**3"],
)  # fmt: skip
def test_the_values_wanted_at_a_place_of_an_exact_law_are_those_that_stand_there(formula):
    whole = problem(formula, "abc")
    law = from_infix(formula, list("abc"))
    places = 0
    for p in range(1, len(law)):
        found = ways.wanted(list(law), p, 0, whole, np.random.default_rng(p))
        stands = evaluate(list(law[p : ways.end(law, p)]), whole.X)
        if found is not None and np.ptp(stands) > 0 and len(found[0].y) == len(stands):
            assert np.allclose(found[0].y, stands, rtol=1e-6, atol=1e-7)
            places += 1
    assert places >= 3


def test_an_arm_leaves_nothing_behind():
    grow, solvers = Island.grow, list(composites.SOLVERS)
    for arm in ("parts", "parents-control", "groups"):
        with ways.asked(arm) as tally:
            assert tally == {}
        assert {"asked", "solved", "asking"} <= set(tally)
    assert Island.grow is grow and composites.SOLVERS == solvers
