"""dimensions.py against pint: a law whose units go together is one that pint can reckon with."""

import numpy as np
import pytest

from fansr.expressions import bind, dimensions, evaluate, free, from_infix
from fansr.fitting import Candidate, Problem
from fansr.search import unit_rules
from fansr.tables import unit_texts

pint = pytest.importorskip("pint")
NAMES = ["m", "v", "h", "g", "r", "a"]
UNITS = "m=kg, v=m/s, h=m, g=m/s**2, r=cm, a=radian"


def problem(target="J", words=""):
    one = Problem(np.ones((3, len(NAMES))), np.ones(3), NAMES, "y")
    one.units = unit_texts.of_problem(one, f"{UNITS}, y={target}{words}")
    return one


def candidate(text):
    expr, values = free(from_infix(text, NAMES))
    return Candidate(expr, np.array(values, dtype=float), 0.1)


def by_pint(text, constants, target):
    """Whether pint reckons the law to the target's dimension, its constants being quantities of these units."""
    registry = pint.UnitRegistry()
    columns = {name: registry.Quantity(1.3, unit) for name, unit in (p.strip().split("=") for p in UNITS.split(","))}
    value = eval(text, {"exp": np.exp, "sin": np.sin, "sqrt": np.sqrt, **constants, **columns})  # noqa: S307
    return registry.Quantity(1, target).dimensionality == registry.Quantity(value).dimensionality


@pytest.mark.parametrize(
    ("text", "target", "units"),
    [
        ("0.5*m*v**2 + m*g*h", "J", [""]),
        ("sqrt(2.5*g*h)*m*v", "J", [""]),
        ("m*v**2*exp(2.2*h)", "J", ["1/m"]),
        ("3.3*m + 2.2*h", "J", ["(m/s)**2", "J/m"]),
        ("m*v**2/(h + 2.5)", "N", ["m"]),
        ("9.81*h**0.5", "m", ["m**(1/2)"]),
        ("m*g*h*sin(a)", "J", []),
        ("h + 0.01*r", "m", ["m/cm"]),
    ],
)
def test_the_constants_have_the_units_that_make_pint_agree(text, target, units):
    one = candidate(text)
    told = unit_rules.told(one, problem(target))
    assert told["homogeneous"] and told["constants"] == units
    if "r" not in text and "**0.5" not in text:
        registry, named, words = pint.UnitRegistry(), {}, text
        for k, (value, unit) in enumerate(zip(one.consts, told["constants"])):
            shown = f"{value:g}"
            assert shown in words
            words = words.replace(shown, f"C{k}", 1)
            named[f"C{k}"] = registry.Quantity(float(value), unit or "dimensionless")
        columns = {
            name: registry.Quantity(1.3, unit) for name, unit in (p.strip().split("=") for p in UNITS.split(","))
        }
        value = eval(words, {"exp": np.exp, "sin": np.sin, "sqrt": np.sqrt, **named, **columns})  # noqa: S307
        assert value.check(registry.Quantity(1, target).dimensionality)


@pytest.mark.parametrize(
    "text", ["m*v + 3.1*h*m", "h*exp(h)*g*m", "sin(v*h)*m*v**2", "m*v**h", "m*g*h + m", "m*g*(h + r)"]
)
def test_what_does_not_go_together_gets_a_factor_and_its_price(text):
    one, table = candidate(text), problem()
    assert dimensions.constants_units(one.expr, one.consts, table.units) is None or text == "m*v + 3.1*h*m"
    mended = unit_rules.admitted(one, table.units)
    assert dimensions.constants_units(mended.expr, mended.consts, table.units) is not None
    X = np.random.default_rng(0).uniform(0.5, 2, (20, 6))
    assert evaluate(mended.expr, X, mended.consts) == pytest.approx(evaluate(one.expr, X, one.consts))  # factors of 1
    plain = candidate("0.5*m*v**2 + m*g*h")
    assert unit_rules.nats(mended, table.units) > unit_rules.nats(plain, table.units) == 0
    pure = problem(words=", pure")
    assert unit_rules.admitted(one, pure.units) is None and unit_rules.admitted(plain, pure.units) is plain
    if text != "m*v + 3.1*h*m":
        assert unit_rules.told(mended, table)["factors"] >= 1 and "c" in unit_rules.remarks(mended, table)[0]["text"]


def test_powers_that_no_fraction_writes_are_dear():
    table = problem().units
    whole, odd = (unit_rules.nats(candidate(f"2.7*m*v**{p}"), table) for p in (3.0, 1.98))
    assert odd > whole


def test_groups_are_buckinghams():
    """Every group is a pure number and every scale has the target's unit, by pint; the drag of a sphere has Reynolds' number."""
    from fansr.proposers import dimensional_groups

    names = ["rho", "v", "d", "mu"]
    one = Problem(np.ones((3, 4)), np.ones(3), names, "F")
    one.units = unit_texts.of_problem(one, "rho=kg/m**3, v=m/s, d=m, mu=Pa*s, F=N")
    registry = pint.UnitRegistry()
    units = [registry.Quantity(1.0, u) for u in ("kg/m**3", "m/s", "m", "Pa*s")]

    def dimension(tree):
        if not isinstance(tree, tuple):
            return units[int(tree[1:]) - 1]
        parts = [dimension(child) for child in tree[1:]]
        if tree[0] in "*/":
            return parts[0] * parts[1] if tree[0] == "*" else parts[0] / parts[1]
        if tree[0] == "inv":
            return 1 / parts[0]
        return parts[0] ** (int(tree[0][3:]) if "_" not in tree[0] else 1 / int(tree[0][5:]))

    found = dimensional_groups.choices(one.units)
    assert found and len(found[0].groups) == 1  # four columns, three dimensions
    for choice in found:
        assert dimension(choice.scale).check("[mass] * [length] / [time] ** 2")
        assert all(dimension(group).dimensionless for group in choice.groups)


def test_a_law_of_groups_is_written_in_the_columns():
    from fansr.fitting import Budget
    from fansr.proposers import dimensional_groups

    rng = np.random.default_rng(0)
    X = rng.uniform(1, 3, (60, 3))
    y = 0.5 * X[:, 0] * X[:, 1] ** 2 * (1 + X[:, 2])
    one = Problem(X, y, ["m", "v", "s"], "E")
    one.units = unit_texts.of_problem(one, "m=kg, v=m/s, E=J")
    batches = list(dimensional_groups.propose(one, Budget(None), rng))
    best = min((c for batch in batches for c in batch if c.consts is not None), key=lambda c: c.fvu)
    assert best.fvu < 1e-20
    assert evaluate(bind(best.expr, best.consts), X) == pytest.approx(y)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("m=mtr", "did you mean metre or meter"), ("mm=kg", "did you mean m"), ("m=kg, chek", "did you mean check"),
        ("y=mol, pure, m=kg", "leave pure out"), ("", "nothing was given"), ("m=dBm", "logarithmic"),
    ],
)  # fmt: skip
def test_bad_units_are_said_with_the_nearest(text, message):
    one = Problem(np.ones((3, len(NAMES))), np.ones(3), NAMES, "y")
    with pytest.raises(ValueError, match=message):
        unit_texts.of_problem(one, text)


def test_units_of_names_and_of_a_row_below_them():
    one = Problem(np.ones((3, 5)), np.ones(3), ["T [K]", "v [m/s]", "p (kPa)", "n", "f(x)"], "rho [kg m-3]")
    one.extra["conversions"] = {"n": {"unit": "mol"}}
    units = unit_texts.of_problem(one, "table")
    assert units.texts == ("K", "m/s", "kPa", "mol", "") and units.target_text == "kg m-3"
    assert unit_texts.of_problem(one, "T=degC").texts[0] == "degC"
    one.units = unit_texts.of_problem(one, "T=degC, check")
    law = Candidate(["x1"], np.zeros(0), 0.1)
    codes = [remark["text"] for remark in unit_rules.remarks(law, one)]
    assert "do not go together" in codes[0] and "kelvin" in codes[1]
