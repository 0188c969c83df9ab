"""One law with constants by group: which are common is found, the law is the joint fit, and new rows get theirs by their group."""

import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.optimize import curve_fit

from fansr import SymbolicRegressor, fit, predict
from fansr.errors import DataError
from fansr.tables import Choice, array_problem

RNG = np.random.default_rng(8)
SITES = np.array(["a", "b", "c", "d", "e"])
AMPLITUDE = np.array([2.0, 3.5, 5.0, 1.2, 7.7])


def table(M=100, noise=0.02):
    g = RNG.permutation(np.arange(M) % 5)
    x = RNG.uniform(0, 8, M)
    y = AMPLITUDE[g] * np.exp(-0.3 * x) + noise * RNG.normal(size=M)
    return pd.DataFrame({"site": SITES[g], "x": x, "y": y}), g


def test_one_decay_and_five_amplitudes_as_the_joint_fit_has_them(tmp_path):
    rows, g = table()
    rows.to_csv(tmp_path / "t.csv", index=False)
    words = [
        str(tmp_path / "t.csv"),
        "--group",
        "site",
        "--json",
        "-q",
        "--samples",
        "0",
        "--time",
        "2",
        "--save",
        str(tmp_path / "law.json"),
    ]
    ran = CliRunner().invoke(fit.fit, words)
    assert ran.exit_code == 0, ran.output
    law = json.loads(ran.stdout)
    wanted, covariance = curve_fit(
        lambda _, k, *a: np.array(a)[g] * np.exp(-k * rows.x), rows.x, rows.y, [0.3, *AMPLITUDE]
    )
    constants = np.abs(np.array(law["constants"]))
    order = [int(np.argmin(np.abs(constants - c))) for c in wanted]
    assert len(constants) == 6 and sorted(order) == list(range(6))
    np.testing.assert_allclose(constants[order], wanted, rtol=1e-4)
    np.testing.assert_allclose(np.array(law["standard_errors"])[order], np.sqrt(np.diag(covariance)), rtol=0.02)
    (said,) = [one["text"] for one in law["remarks"] if one["code"] == "groups"]
    assert "a[site]" in said and "e 7.7" in said
    rows.drop(columns="y").iloc[::-1].to_csv(tmp_path / "new.csv", index=False)
    ran = CliRunner().invoke(predict.predict, [str(tmp_path / "law.json"), str(tmp_path / "new.csv")])
    values = np.array(ran.stdout.split()[1:], dtype=float)[::-1]
    np.testing.assert_allclose(values, wanted[1:][g] * np.exp(-wanted[0] * rows.x), rtol=1e-3)


def test_in_python_with_a_group_that_was_never_met():
    rows, g = table(noise=0.0)
    model = SymbolicRegressor(group="site", samples=0, time=2).fit(rows[["site", "x"]], rows.y)
    assert len(model.constants_) == 6
    new = pd.DataFrame({"site": ["b", "zz"], "x": [1.0, 1.0]})
    values = model.predict(new)
    assert values[0] == pytest.approx(3.5 * np.exp(-0.3)) and np.isnan(values[1])


def test_groups_that_do_not_matter_are_none():
    rows, g = table(noise=0.0)
    y = 2 * rows.x + 1
    model = SymbolicRegressor(group="site", samples=0, time=1).fit(rows[["site", "x"]], y)
    assert len(model.constants_) <= 2 and "site" not in model.expression_
    assert any("same for every site" in one["text"] for one in model.remarks_)


def test_rules_hold_in_every_group():
    rows, g = table(noise=0.01)
    model = SymbolicRegressor(
        group="site", samples=0, time=1, rules={"operators": "+,*", "bounds": "c in [-3,9]", "monotone": "x-"}
    )
    model.fit(rows[["site", "x"]], rows.y)
    assert all(-3 <= c <= 9 for c in model.constants_) and "exp" not in model.expression_
    grid = np.linspace(rows.x.min(), rows.x.max(), 200)
    for site in SITES:
        assert (np.diff(model.predict(pd.DataFrame({"site": site, "x": grid}))) <= 1e-9).all()


def test_constants_within_bounds_are_the_best_there():
    """A law whose best constants lie outside was passed over, and a poor one answered."""
    from scipy.optimize import lsq_linear

    rows, g = table(noise=0.01)
    y = 3 * AMPLITUDE[g] * rows.x
    model = SymbolicRegressor(group="site", samples=0, time=0.5, rules={"bounds": "c in [0,9]", "operators": "+,*"})
    model.fit(rows[["site", "x"]], y)
    wanted = [lsq_linear(rows.x[g == k].to_numpy()[:, None], y[g == k], (0, 9)).x[0] for k in range(5)]
    values = model.predict(pd.DataFrame({"site": SITES, "x": np.ones(5)}))
    assert all(0 <= c <= 9 for c in model.constants_)
    left = np.sum((model.predict(rows[["site", "x"]]) - y) ** 2)
    assert left <= 1.001 * np.sum((np.array(wanted)[g] * rows.x - y) ** 2), values


@pytest.mark.parametrize("choice, word", [
    ({"group": "sit"}, "did you mean site"), ({"group": "x"}, "values in"), ({"group": "site", "categories": ""}, None),
    ({"categories": "group"}, None),
])  # fmt: skip
def test_what_can_be_a_group(choice, word):
    rows, _ = table()
    if word is None:
        problem, _, _ = array_problem(rows[["site", "x"]], rows.y, choice=Choice(**choice))
        assert problem.names == ["x", *(f"site_{s}" for s in SITES)]
        assert (problem.X[:, 1:].sum(axis=1) == 1).all()
        return
    with pytest.raises(DataError, match=word):
        array_problem(rows[["site", "x"]], rows.y, choice=Choice(**choice))


def test_many_constants_are_fitted_together():
    """More groups than the kernels take constants: the same as least squares has them."""
    from fansr.fitting import Refiner
    from fansr.search import group_search

    G, M = 40, 200
    g = np.arange(M) % G
    X = np.column_stack([RNG.uniform(1, 3, M), *(g == k for k in range(G))]).astype(float)
    y = RNG.normal(size=G)[g] * X[:, 0] + 0.1 * RNG.normal(size=M)
    expr, start = group_search.written(
        ["*", "<constant>", "x1"], frozenset(), np.ones((G, 1)), [f"x{k + 2}" for k in range(G)]
    )
    fvu, consts = Refiner(X, y).polish(expr, start)
    wanted = [float(X[g == k, 0] @ y[g == k] / (X[g == k, 0] @ X[g == k, 0])) for k in range(G)]
    np.testing.assert_allclose(consts, wanted, rtol=1e-7)
