"""Everything that can be said of a law says the same in a file of options and in Python."""

import ast
import json

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from fansr import SymbolicRegressor, fit, fit_rules
from fansr.tables import column_options

RNG = np.random.default_rng(5)
M = 40
TABLE = pd.DataFrame({"site": RNG.choice(["a", "b"], M), "x": RNG.uniform(0.5, 4, M), "z": RNG.uniform(0.5, 4, M)})
X, Z, B = TABLE.x.to_numpy(), TABLE.z.to_numpy(), (TABLE.site == "b").to_numpy()
NOISE = 0.05 * RNG.normal(size=M)
GUESSED = 2 * np.sin(37 * X) + 1


def uses(*names):
    """Whether a law looks at these columns and no others."""

    def check(law):
        used = {law["variables"][int(t[1:]) - 1] for t in law["prefix"] if t[0] == "x" and t[1:].isdigit()}
        return used == set(names)

    return check


def lacks(*words):
    return lambda law: not any(word in law["expression"] for word in words)


def values(law, x, z=1.0):
    """The printed law by eval alone."""
    return eval(law["numpy"], {"np": np, "x": np.asarray(x, float), "z": z}) + 0.0 * np.asarray(x)  # noqa: S307


GRID = np.linspace(X.min(), X.max(), 50)
# What is said, in the words of a file of options; the target; what is true of a law that was found with it, and of few without.
SAID = {
    "inputs": ("z", 2 * X + Z, uses("z")),
    "ignore": (["z"], X + Z, uses("x")),
    "derive": ("q = x**2", 3 * X**2 + Z, lambda law: "q" in law["variables"]),
    "lag": ("x:1", np.r_[0, 2 * X[:-1] + 1], uses("x_lag1")),
    "categories": ("onehot", 2 * X + 3 * B, lambda law: uses("x", "site_b")(law) or uses("x", "site_a")(law)),
    "group": ("site", np.where(B, 2.0, 5.0) * X, lambda law: law["groups"]["constants"][0]["values"] == pytest.approx({"a": 5.0, "b": 2.0})),
    "units": ("x=m, z=s, y=m/s", 2 * X / Z, lambda law: law["units"]["homogeneous"]),
    "operators": ("+,*", X**2 - Z, lacks("**", "/", "(")),
    "without": ("^,sqrt", X**2 + 1, lacks("**", "sqrt")),
    "max_length": (3, 2 * X + 3 * Z, lambda law: law["length"] <= 3),
    "max_constants": (1, 2 * X + 3 * Z + NOISE, lambda law: len(law["constants"]) <= 1),
    "max_depth": (2, 2 * X + 3 * Z, lambda law: law["expression"].count("(") == 0 and law["length"] <= 3),
    "nest": ("*(+):0", 2 * X * (Z + 1), lambda law: not products_of_sums(law["expression"])),
    "arguments": ("^(1):1,*:1", (X + Z) ** 2, lacks(")**", "*(", ")*")),
    "price": ("^=900,*=90", X**2 + 5 * NOISE, lacks("**", "x*x")),
    "positive": ("x", np.log(X - 0.3), lambda law: np.isfinite(values(law, [1e-3, 1e3])).all()),
    "bounds": ("c in [-1,1]", 2 * X + 3 * Z, lambda law: all(-1 <= c <= 1 for c in law["constants"])),
    "define": (["bell(x) = exp(-x**2)"], 3 * np.exp(-((X - 2) ** 2)), lambda law: "bell(" in law["expression"]),
    "through": ("x=0: 5", 2 * X + 4 + NOISE, lambda law: values(law, [0.0])[0] == pytest.approx(5)),
    "monotone": ("x-", np.cos(2 * X), lambda law: (np.diff(values(law, GRID)) <= 1e-9).all()),
    "even": ("x", X**3, lambda law: np.allclose(values(law, GRID), values(law, -GRID))),
    "odd": ("x", X**2, lambda law: np.allclose(values(law, GRID), -values(law, -GRID))),
    "periodic": ("x:2", X, lambda law: np.allclose(values(law, GRID), values(law, GRID + 2))),
    "convex": ("x-", X**2 + Z, lambda law: (np.diff(values(law, GRID), 2) <= 1e-9).all()),
    "limit": ("x->inf: 0", X + 1, lambda law: abs(values(law, [1e12])[0]) < 1e-3),
    "form": (["A*x/(B + x)"], 5 * X / (2 + X), lambda law: law["source"] == "form" and values(law, [2.0, 8.0]) == pytest.approx([2.5, 4])),
    "guess": (["a*sin(36.9*x) + b"], GUESSED, lambda law: law["fvu"] < 1e-6),
    "loss": ("absolute", 2 * X + NOISE, lambda law: law["loss"]["name"] == "absolute"),
}  # fmt: skip
ELSEWHERE = {"target", "dates", "weights", "sigma"}  # arguments of fit in Python, or of text alone
QUICK = {"proposers": "power,sums,own", "samples": 0}  # by counts: no clock has a say


def written(value):
    """A value of a TOML file."""
    return json.dumps(value)


def in_python(name, value):
    """The parameter of SymbolicRegressor."""
    return {"rules": {name: value}} if f"--{name.replace('_', '-')}" in fit_rules._OPTIONS else {name: value}


def products_of_sums(text):
    """Factors of a law that hold a sum, by Python's own parser."""
    sums = (ast.Add, ast.Sub)
    factors = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)
    ]
    inside = [part for node in factors for side in (node.left, node.right) for part in ast.walk(side)]
    return [part for part in inside if isinstance(part, ast.BinOp) and isinstance(part.op, sums)]


def asked(name, said):
    """A table with the columns that a case needs."""
    return TABLE if name in ("categories", "group") else TABLE[["x", "z"]]


@pytest.mark.parametrize("name", SAID)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_file_of_options_and_python_say_the_same(name, tmp_path):
    said, y, kept = SAID[name]
    rows = asked(name, said)
    rows.assign(y=y).to_csv(tmp_path / "t.csv", index=False)
    lines = {name.replace("_", "-"): said, "target": ["y"], **QUICK}
    (tmp_path / "mine.toml").write_text("".join(f"{key} = {written(value)}\n" for key, value in lines.items()))
    words = [str(tmp_path / "t.csv"), "--config", str(tmp_path / "mine.toml"), "--json", "-q"]
    ran = CliRunner().invoke(fit.fit, words)
    assert ran.exit_code == 0, ran.output
    by_file = json.loads(ran.stdout)
    assert kept(by_file), by_file["expression"]
    model = SymbolicRegressor(**QUICK, **in_python(name, said)).fit(rows, pd.Series(y, name="y"))
    assert kept(model.result_), model.expression_
    assert model.expression_ == by_file["expression"]


def test_nothing_that_can_be_said_is_left_out():
    options = {option.lstrip("-").replace("-", "_") for option in fit_rules._OPTIONS}
    options |= {parameter.name for parameter in _parameters(column_options.column_options)}
    assert options | {"form", "guess", "loss"} == set(SAID) | ELSEWHERE


def _parameters(decorate):
    return decorate(lambda **_: None).__click_params__
