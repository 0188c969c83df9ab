"""Random combinations of units or a loss with rules, on random tables: every law looked at by code of its own.

A law's units go together where it does not mind in which units one measures: with columns and constants told in units so many times
smaller, it gives the target in units so many times smaller.
"""

import numpy as np
import pytest
import rule_checks as ruled

from fansr.search import rules, turns, unit_rules
from fansr.tables import unit_texts

pint = pytest.importorskip("pint")
REGISTRY = pint.UnitRegistry()
UNITS = ["m", "s", "kg", "1", "m/s", "m**2", "N", "cm", "1/s", "kg/m**3"]
BASES = ["[length]", "[time]", "[mass]"]
LOSSES = ["absolute", "huber", "relative", "poisson", "quantile:0.8"]


def drawn(number):
    """(what is said, a problem, its options) of a number: units or a loss, with rules or without."""
    rng = np.random.default_rng([13, number])
    problem = ruled.drawn_table(rng)
    said = ruled.drawn_rules(rng) if rng.random() < 0.6 else {}
    if rng.random() < 0.5:
        loss = str(rng.choice(LOSSES))
        if loss in ("relative", "poisson"):
            problem.y = np.abs(problem.y) + 0.1
            problem.y = np.ceil(problem.y) if loss == "poisson" else problem.y
        return {**said, "loss": loss}, problem, turns.Options(loss=loss, rules=rules.parse(**said), samples=0)
    units = dict(zip([*problem.names, "y"], map(str, rng.choice(UNITS, 3))))
    pure = bool(rng.random() < 0.5)
    try:
        problem.units = unit_texts.of_problem(problem, units, ["pure"] if pure else [])
    except ValueError:  # no product of powers has the target's unit
        pure, problem.units = False, unit_texts.of_problem(problem, units)
    return (
        {**said, "units": units, "pure": pure},
        problem,
        turns.Options(rules=rules.parse(**said), samples=0),
    )


def exponents(text):
    """Of a unit's text in the base dimensions, as pint has them."""
    found = REGISTRY.Quantity(text or "1").dimensionality
    return np.array([float(found.get(base, 0)) for base in BASES])


def breaches(law, text, said, problem):
    """What a law of the front breaks."""
    plain = {k: v for k, v in said.items() if k not in ("units", "pure", "loss")}
    found = ruled.breaches(text, law.expr, law.consts, plain) + ruled.breaches_of_shape(text, plain, problem)
    a, b = problem.X.T
    values = ruled.values_of(text, a, b)
    if said.get("loss") in ("relative", "poisson"):
        found += [] if (values > 0).all() else ["above 0"]
    if "units" in said:
        told = unit_rules.told(law, problem)["constants"]
        if said["pure"] and any(exponents(unit).any() for unit in told):
            found.append("pure")
        found += breaches_of_units(law, told, said["units"], a, b)
    return found


def breaches_of_units(law, told, units, a, b):
    """Whether a law minds in which units one measures."""
    from fansr.expressions import to_infix

    of_constants = [exponents(text) for text in told]
    at = {name: exponents(unit) for name, unit in units.items()}
    text = to_infix(law.expr, law.consts, ruled.NAMES)
    before = ruled.values_of(text, a, b)
    for k, base in enumerate(BASES):
        size = 1.0 + 2.0**-8  # near, so that no value leaves its range
        consts = [c * size ** powers[k] for c, powers in zip(law.consts, of_constants)]
        other = to_infix(law.expr, consts, ruled.NAMES)
        after = ruled.values_of(other, a * size ** at["a"][k], b * size ** at["b"][k])
        good = np.isfinite(before) & np.isfinite(after)
        off = np.abs(after / size ** at["y"][k] - before)[good]
        if (off > 1e-5 * np.maximum(np.abs(before[good]), np.abs(before[good]).max(initial=0.0))).any():
            return [f"units of {base}"]
    return []


def test_units_and_losses_are_kept():
    ruled.assert_kept(drawn, breaches, range(0, 8), 0.0, 10)


@pytest.mark.prove
def test_units_and_losses_are_kept_in_many_searches():
    ruled.assert_kept(drawn, breaches, range(100, 700), 0.2, 600)


def test_the_checker_sees_units_that_do_not_go_together():
    from fansr.fitting import Candidate

    a, b = np.random.default_rng(0).uniform(1, 3, (2, 20))
    law = Candidate(["+", "x1", "*", "<constant>", "x2"], np.array([3.0]), 0.0)
    units = {"a": "m", "b": "s", "y": "m"}
    assert breaches_of_units(law, ["m/s"], units, a, b) == [] and breaches_of_units(law, [""], units, a, b)
    assert breaches_of_units(Candidate(["exp", "x1"], np.zeros(0), 0.0), [], units, a, b) == ["units of [length]"]
