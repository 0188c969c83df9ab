"""Random combinations of controls on random tables: forms, groups and rules together, every law looked at by code of its own."""

import math

import numpy as np
import pytest
import rule_checks as ruled

from fansr.fitting import Problem
from fansr.search import rules, turns

# A form, the operators it has itself, and what is true of every law of it at a 7 x 7 grid v of columns a and b.
FORMS = {
    "A*exp(-k*a) + f(b)": ("+*-", lambda v: v - v[:1] - v[:, :1] + v[0, 0]),
    "f(a) + g(b)": ("+", lambda v: v - v[:1] - v[:, :1] + v[0, 0]),
    "f(a)*g(b)": ("*", lambda v: v * v[0, 0] - v[:1] * v[:, :1]),
    "f(a)/b + C": ("/+", lambda v: (v - v[:, :1])[:, 1:] / (v - v[:, :1])[:, 1:2] - ((1 / GRID[1:] - 1 / GRID[0]) / (1 / GRID[1] - 1 / GRID[0]))),
    "exp(f(b)) + A": ("+", lambda v: v - v[:1]),
    "f(a) - f(b)": ("-", lambda v: v + v.T),
}  # fmt: skip
GRID = np.linspace(0.5, 4.0, 7)
G = 4


def breaches_of_form(text, said):
    """Whether the printed law has its form, by values on a grid; rows are a, columns b."""
    a, b = np.meshgrid(GRID, GRID, indexing="ij")
    v = ruled.values_of(text, a, b)
    if not np.isfinite(v).all():
        return []
    with np.errstate(all="ignore"):
        off = FORMS[said["form"]][1](v)
    flat = np.ptp(v) <= 1e-6 * np.abs(v).max()
    return [] if flat or np.nanmax(np.abs(off)) <= 1e-6 * max(1.0, np.abs(v).max(), np.abs(v).max() ** 2) else ["form"]


def drawn(number):
    """(what is said, a problem, its options) of a number."""
    rng = np.random.default_rng([12, number])
    said, problem = ruled.drawn_rules(rng), ruled.drawn_table(rng)
    form = ()
    if rng.random() < 0.6:
        said["form"] = str(rng.choice(list(FORMS)))
        form = (said["form"],)
        said.pop("nest", None)  # of the form's own operators nothing is asked
        said.pop("arguments", None)
    else:
        group = rng.permutation(np.arange(len(problem.y)) % G)
        y = problem.y * np.array([1.0, 2.0, 0.5, 3.0])[group] if rng.random() < 0.7 else problem.y
        levels = [f"g{k}" for k in range(G)]
        problem = Problem(
            np.column_stack([problem.X, *(group == k for k in range(G))]).astype(float), y, [*ruled.NAMES, *levels]
        )
        problem.extra["grouping"] = {"column": "g", "levels": levels, "columns": levels}
        said = {k: v for k, v in said.items() if k not in ("nest", "arguments", "max_depth")} | {"group": True}
    ruling = {k: v for k, v in said.items() if k not in ("form", "group")}
    return said, problem, turns.Options(form=form, rules=rules.parse(**ruling), samples=0)


def breaches(law, text, said, problem):
    """What a law of the front breaks, group by group where there are groups."""
    plain = {k: v for k, v in said.items() if k not in ("form", "group")}
    if "form" in said:
        if "operators" in plain:
            plain["operators"] += "," + ",".join(FORMS[said["form"]][0]) + (",exp" if "exp" in said["form"] else "")
            if "-" in FORMS[said["form"]][0] or "-k" in said["form"]:
                plain["operators"] += ",*,-"
        if "without" in plain:
            plain["without"] = ",".join(set(plain["without"].split(",")) - {"exp"} - set("+-*/")) or "nothing"
        found = ruled.breaches(text, law.expr, law.consts, plain) + breaches_of_form(text, said)
        return found + ruled.breaches_of_shape(text, said, problem)
    by_group = law.expr.count("x3")
    found = []
    if len(law.expr) - by_group * (4 * G - 2) > plain.get("max_length", math.inf):
        found.append("length")
    if len(law.consts) - by_group * (G - 1) > plain.get("max_constants", math.inf):
        found.append("constants")
    spelt = {k: v for k, v in plain.items() if k not in ("max_length", "max_constants", "max_depth")}
    if "operators" in spelt and by_group:
        spelt["operators"] += ",+,*"
    found += ruled.breaches(text, law.expr, law.consts, spelt)
    for k in range(G):
        one = "".join(text)
        for j in range(G):
            one = one.replace(f"g{j}", "1.0" if j == k else "0.0")
        rows = problem.X[:, 2 + k] > 0
        part = Problem(problem.X[rows][:, :2], problem.y[rows], ruled.NAMES)
        found += ruled.breaches_of_shape(one, said, part)
    return found


def test_forms_groups_and_rules_together_are_kept():
    ruled.assert_kept(drawn, breaches, range(0, 10), 0.0, 6)


@pytest.mark.prove
def test_forms_groups_and_rules_are_kept_in_many_searches():
    ruled.assert_kept(drawn, breaches, range(100, 1100), 0.2, 800)


def test_the_checker_sees_what_is_of_another_form():
    assert breaches_of_form("a*b", {"form": "f(a) + g(b)"}) == ["form"] and not breaches_of_form(
        "a*b", {"form": "f(a)*g(b)"}
    )
    assert breaches_of_form("a - 2*b", {"form": "f(a) - f(b)"}) == ["form"]
    assert breaches_of_form("a**2/b + 3", {"form": "f(a)/b + C"}) == [] and breaches_of_form(
        "a/b**2", {"form": "f(a)/b + C"}
    )
