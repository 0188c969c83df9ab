"""regressor_views.py and law_exports.py: what is shown of a law says what it is, and every form of it has its values."""

import copy
import ctypes
import importlib.util
import shutil
import subprocess
import xml.etree.ElementTree

import numpy as np
import pandas
import pytest

from fansr import SymbolicRegressor, law_exports
from fansr.expressions import OPERATORS, evaluate, tokens
from fansr.search import saved_law

RNG = np.random.default_rng(0)
X = RNG.uniform(1, 5, (60, 2))
Y = 3.7 * X[:, 0] / X[:, 1] * (1 + 0.03 * RNG.normal(size=60))


@pytest.fixture(scope="module")
def model():
    frame = pandas.DataFrame(X, columns=["volts & <b>", "ohms"])
    return SymbolicRegressor(proposers=("power", "sums"), loss="squares").fit(frame, pandas.Series(Y, name="amps"))


def model_of(prefix, constants, columns):
    """A model that says one law, as a file holds it."""
    law = saved_law.Law(list(prefix), list(constants), 0.25)
    model = SymbolicRegressor()
    model._saved = saved_law.SavedLaw(columns, "y", [law], 0, [0.0] * len(columns), [1.0] * len(columns), 9, "noise")
    model.n_features_in_, model.result_ = len(columns), {}
    return model


def test_printed_is_the_front_with_the_chosen_law_marked(model):
    lines = str(model).splitlines()
    assert lines[0].startswith("amps = 3.") and "noise" in lines[1]
    starred = [line for line in lines if line.startswith(" *")]
    assert len(starred) == 1 and lines[0].removeprefix("amps = ") in starred[0]
    assert len([line for line in lines if line[1:2] in "* " and line[2:6].strip().isdigit()]) == len(model.front_)


def test_the_front_is_a_data_frame(model):
    front = model.front_
    assert list(front.columns[:7]) == ["length", "fvu", "R2", "score", "law", "sympy", "latex"]
    assert front["length"].is_monotonic_increasing and front["fvu"].is_monotonic_decreasing
    assert front["chosen"].sum() == 1 and front.loc[front["chosen"], "law"].item() == model.expression_
    np.testing.assert_allclose(front["score"], np.log10(front["fvu"]) + 0.05 * front["length"])
    for k, row in front.iterrows():
        left = Y - model.predict(pandas.DataFrame(X, columns=["volts & <b>", "ohms"]), law=k)
        assert left @ left / np.sum((Y - Y.mean()) ** 2) == pytest.approx(row["fvu"], rel=1e-6)


def test_a_law_that_is_not_there_is_refused(model):
    for law in (99, -99, 1.5, True, "best"):
        with pytest.raises(ValueError, match="law="):
            model.predict(pandas.DataFrame(X, columns=["volts & <b>", "ohms"]), law=law)
        with pytest.raises(ValueError, match="law="):
            model.latex(law)


def test_a_notebook_shows_well_formed_html(model):
    bundle = model._repr_mimebundle_()
    root = xml.etree.ElementTree.fromstring(bundle["text/html"])
    rows = root.findall("./table/tbody/tr")
    assert len(rows) == len(model.front_) and sum("bold" in (row.get("style") or "") for row in rows) == 1
    assert "volts & <b>" in "".join(root.itertext()) and bundle["text/plain"] == str(model)
    assert (
        bundle["text/latex"].startswith(r"$\displaystyle \mathrm{amps} = ")
        and model._repr_latex_() == bundle["text/latex"]
    )
    unfitted = SymbolicRegressor()
    assert unfitted._repr_latex_() is None and "SymbolicRegressor" in unfitted._repr_mimebundle_()["text/plain"]
    assert "SymbolicRegressor" in unfitted._repr_html_()


def test_latex_of_all_laws_is_what_matplotlib_sets(model):
    from matplotlib.mathtext import MathTextParser

    model = copy.deepcopy(model)
    model._saved.columns = ["volts_in", "ohms"]  # matplotlib reads no blanks and no & in names, as LaTeX does
    for k in range(len(model.front_)):
        MathTextParser("path").parse(f"${model.latex(k, digits=3)}$")
    table = model.latex_table(digits=3)
    assert table.count(r"\\") == len(model.front_) + 1 and table.count(r"\star") == 1 and r"\toprule" in table
    assert len(model.latex_table([0]).splitlines()) == 7


def test_digits(model):
    assert model.get_expression(digits=2).startswith("3.") and len(model.get_expression(digits=2)) < len(
        model.expression_
    )
    assert model.get_expression() == model.expression_ and model.get_expression(0) == model.front_["law"][0]


def test_sympy_numpy_and_torch_have_the_values_of_predict(model):
    import sympy
    import torch

    frame = pandas.DataFrame(X, columns=["volts & <b>", "ohms"])
    for k in (None, *range(len(model.front_))):
        wanted = model.predict(frame, law=k)
        symbols = [sympy.Symbol(name) for name in model.result_["variables"]]
        f = sympy.lambdify(symbols, model.sympy(k), "numpy")
        np.testing.assert_allclose(np.broadcast_to(f(*X.T), wanted.shape), wanted, rtol=1e-12)
        assert (model.numpy(k)(X) == wanted).all()
        np.testing.assert_allclose(model.torch(k)(torch.tensor(X)).detach().numpy(), wanted, rtol=1e-12)
    with pytest.raises(ValueError, match="wanted \\(rows, 2\\)"):
        model.numpy()(X[:, :1])


def test_a_torch_law_can_be_trained(model):
    import torch

    law = model.torch()
    with torch.no_grad():
        law.consts.mul_(1.5)
    optimizer = torch.optim.LBFGS(law.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        value = torch.mean((law(torch.tensor(X)) - torch.tensor(Y)) ** 2)
        value.backward()
        return value

    optimizer.step(loss)
    np.testing.assert_allclose(law.consts.detach().numpy(), model.constants_, rtol=1e-3)


OPERANDS = np.array([[0.3, 0.7], [0.9, -0.4], [-0.6, 0.5], [0.0, 2.0], [np.nan, 1.0], [-2.5, -1.5], [1.7, 0.0]])


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_c_has_the_values_of_every_operator(tmp_path):
    rows = [*OPERATORS, *tokens.MORE_OPERATORS]
    laws = [["+", "*", "<constant>", row.token, *["x1", "x2"][: row.arity], "*", "<constant>", "x2"] for row in rows]
    laws += [["<constant>"], ["-", "x2", "<constant>"]]
    source = ""
    for k, law in enumerate(laws):
        text = model_of(law, [-1.25, 1e-3][: law.count("<constant>")], ["x1 */ \\", "b"]).to_c(name=f"law{k}")
        helpers = [part for part in text.split("\n\n") if part.startswith("static double ")]
        source += "\n\n".join(part for part in text.split("\n\n") if part not in helpers or part not in source) + "\n"
    (tmp_path / "laws.c").write_text(source)
    flags = ["-O1", "-shared", "-fPIC", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"]
    subprocess.run(["cc", *flags, "laws.c", "-o", "laws.so", "-lm"], cwd=tmp_path, check=True)
    library = ctypes.CDLL(str(tmp_path / "laws.so"))
    for k, law in enumerate(laws):
        f = getattr(library, f"law{k}")
        f.restype, f.argtypes = ctypes.c_double, [ctypes.POINTER(ctypes.c_double)]
        found = [f(row.ctypes.data_as(ctypes.POINTER(ctypes.c_double))) for row in OPERANDS]
        with np.errstate(all="ignore"):
            wanted = evaluate(law, OPERANDS, np.array([-1.25, 1e-3][: law.count("<constant>")]))
        np.testing.assert_allclose(found, wanted, rtol=1e-12, err_msg=" ".join(law))


def test_c_of_a_law_compiles_by_itself(model):
    text = model.to_c(name="amps")
    assert "double amps(const double x[2])" in text and "volts & <b>" in text and "3." in text
    with pytest.raises(ValueError, match="identifier of C"):
        model.to_c(name="a b")


def test_the_tree_that_jax_walks_has_the_values_of_every_operator():
    """jax.numpy has numpy's functions, so numpy stands in for it."""
    for row in [*OPERATORS, *tokens.MORE_OPERATORS]:
        law = saved_law.Law(["*", "<constant>", row.token, *["x1", "x2"][: row.arity]], [2.5], 0.0)
        tree = law_exports._syntax(law, 2)
        with np.errstate(all="ignore"):
            found = law_exports._walked(tree, np, OPERANDS, np.array([2.5]))
            wanted = evaluate(law.prefix, OPERANDS, np.array([2.5]))
        np.testing.assert_allclose(found, wanted, rtol=1e-12, err_msg=row.token)


def test_jax(model):
    if importlib.util.find_spec("jax") is None:
        with pytest.raises(ImportError, match="pip install jax"):
            model.jax()
        return
    import jax

    f, constants = model.jax()
    np.testing.assert_allclose(jax.jit(f)(X, constants), model.numpy()(X), rtol=1e-5)
    assert jax.grad(lambda c: f(X, c).sum())(constants).shape == constants.shape


def test_intervals_are_those_of_curve_fit(model):
    """Against scipy's fit of the law that was found, its exponents held as the search rounded them."""
    from scipy.optimize import curve_fit
    from scipy.stats import t

    frame = pandas.DataFrame(X, columns=["volts & <b>", "ohms"])
    assert model.prefix_.count("<constant>") == 1
    shape = model.numpy()(X) / model.constants_[0]
    (best,), covariance = curve_fit(lambda x, c: c * shape, X, Y)
    low, high = model.intervals(frame, level=0.9)
    left = Y - best * shape
    half = t.ppf(0.95, 59) * np.sqrt(left @ left / 59 + covariance[0, 0] * shape**2)
    np.testing.assert_allclose(high - low, 2 * half, rtol=1e-5)
    narrow = model.intervals(frame, level=0.9, of="mean")
    assert (narrow[1] - narrow[0] < high - low).all()
    for wrong in ({"level": 1.0}, {"of": "row"}):
        with pytest.raises(ValueError, match="wanted"):
            model.intervals(frame, **wrong)
