"""What is said of a law and of its columns in Python: the same as the command's options."""

import numpy as np
import pandas as pd
import pytest

from fansr import SymbolicRegressor

RNG = np.random.default_rng(0)
X = RNG.uniform(0.5, 4, (90, 2))


def fitted(X, y, **said):
    return SymbolicRegressor(samples=0, time=1, **said).fit(X, y)


def test_a_form_and_its_saved_law(tmp_path):
    y = 3 * np.exp(-0.7 * X[:, 0]) + X[:, 1] ** 2
    model = fitted(X, y, form="A*exp(-k*x1) + f(x2)")
    model.save(tmp_path / "law.json")
    np.testing.assert_allclose(SymbolicRegressor.load(tmp_path / "law.json").predict(X), y, rtol=1e-6)
    assert model.result_["source"] == "form"


def test_made_and_chosen_columns_are_made_of_new_rows_too():
    rows = pd.DataFrame({"x": X[:, 0], "kind": np.where(X[:, 1] > 2, "a", "b"), "leak": X[:, 1]})
    y = 3 * rows.x**2 + (rows.kind == "b")
    model = fitted(rows, y, derive="q = x**2", inputs=["q", "kind_b"], categories="onehot")
    np.testing.assert_allclose(model.predict(rows.iloc[::-1]), y[::-1], rtol=1e-9)
    model = fitted(rows, y, derive="q = x**2", inputs="q,kind_b", categories="onehot", ignore="leak")
    assert set(model.result_["variables"]) == {"q", "kind_b"}


@pytest.mark.filterwarnings("ignore:1 of 90 rows")
def test_earlier_rows():
    y = np.r_[0, 2 * X[:-1, 0] + 1]
    model = fitted(X, y, lag="x1:1", ignore="x2")
    predicted = model.predict(X)
    assert np.isnan(predicted[0])
    np.testing.assert_allclose(predicted[1:], y[1:], rtol=1e-9)


@pytest.mark.parametrize("said, word", [
    ({"form": "A*foo(x1)"}, "unknown function 'foo'"), ({"form": 3}, "wanted a text"), ({"guess": "a*wide"}, "guess: no column"),
    ({"form": "A*x1", "guess": "x1"}, "one of them"), ({"inputs": "x9"}, "x9"), ({"derive": "q = w9 + 1"}, "w9"), ({"lag": "x1"}, "x1"),
    ({"rules": {"monotone": "w+"}}, "no column is called 'w'"), ({"categories": "all"}, "wanted"),
])  # fmt: skip
def test_what_cannot_be_is_a_value_error(said, word):
    with pytest.raises(ValueError, match=word):
        fitted(X, X[:, 0], **said)
