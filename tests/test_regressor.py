"""SymbolicRegressor: what it refuses by name, what it says of its law, and what becomes of odd inputs."""

import time
import warnings

import numpy as np
import pandas
import pytest

from fansr import SymbolicRegressor
from fansr.expressions import to_infix  # noqa: F401  (kernels loaded before anything is timed)

QUICK = {"proposers": ("power", "sums"), "time": 0.05}
RNG = np.random.default_rng(0)
X = RNG.uniform(1, 5, (40, 2))
Y = 3.7 * X[:, 0] / X[:, 1]


@pytest.mark.parametrize(
    ("name", "value"),
    [("time", -1), ("time", float("nan")), ("time", float("inf")), ("time", "1"), ("deadline", -0.5), ("samples", -1),
     ("samples", 1.5), ("jobs", 0), ("jobs", None), ("seed", -1), ("seed", 1 << 64), ("restarts", 0), ("gamma", float("nan")),
     ("gamma", None), ("proposers", ()), ("proposers", None), ("proposers", "powr"), ("select", "best"),
     ("model", "/nonexistent")],
)  # fmt: skip
def test_a_parameter_that_cannot_be_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}="):
        SymbolicRegressor(**{name: value}).fit(X, Y)


def test_proposers_may_be_one_text():
    for text in ("power", "power, sums"):
        model = SymbolicRegressor(proposers=text, time=0.05).fit(X, Y)
        assert model.result_["fvu"] < 1e-25


def test_every_result_says_how_good_it_is():
    model = SymbolicRegressor(**QUICK).fit(X, Y)
    assert model.verdict_ == "exact" == model.result_["verdict"] and model.remarks_ == model.result_["remarks"]
    noise = SymbolicRegressor(**QUICK).fit(X, np.random.default_rng(7).normal(size=40))
    assert noise.verdict_ == "no law"


def test_the_result_has_all_its_keys_whatever_was_asked():
    plain = SymbolicRegressor(**QUICK).fit(X, Y)
    robust = SymbolicRegressor(robust=True, **QUICK).fit(X, np.where(np.arange(40) == 7, 500.0, Y))
    known = SymbolicRegressor(**QUICK).fit(X, Y + 0.01 * RNG.normal(size=40), sigma=np.full(40, 0.01))
    assert set(plain.result_) == set(robust.result_) == set(known.result_)
    assert robust.result_["outliers"] == [7] and plain.result_["outliers"] == []
    assert known.verdict_ == "within errors"


def test_what_is_left_out_is_a_warning():
    frame = pandas.DataFrame({"a": X[:, 0], "b": X[:, 1], "who": "u"})
    frame.loc[3, "a"] = np.nan
    with pytest.warns(UserWarning) as said:
        SymbolicRegressor(**QUICK).fit(frame, Y)
    texts = [str(w.message) for w in said]
    assert any("who is text" in t for t in texts) and any("1 of 40 rows" in t for t in texts)


def test_a_frame_of_other_names_is_refused_by_names():
    frame = pandas.DataFrame(X, columns=["volts", "ohms"])
    model = SymbolicRegressor(**QUICK).fit(frame, Y)
    with pytest.raises(ValueError, match="no column ohms"):
        model.predict(frame.rename(columns={"ohms": "R"}))
    swapped = frame[["ohms", "volts"]].assign(extra=1.0)
    assert np.allclose(model.predict(swapped), Y) and np.allclose(model.predict(X), Y)


def test_a_column_the_law_does_not_use_may_be_missing():
    frame = pandas.DataFrame({"idle": RNG.uniform(size=40), "a": X[:, 0], "b": X[:, 1]})
    model = SymbolicRegressor(**QUICK).fit(frame, Y)
    assert "idle" not in model.expression_
    assert np.allclose(model.predict(frame[["a", "b"]]), Y)


def test_missing_and_masked_cells_are_predicted_as_nan():
    model = SymbolicRegressor(**QUICK).fit(X, Y)
    frame = pandas.DataFrame({"p": pandas.array([1, None], "Int64"), "q": [2.0, 3.0]})
    assert np.isnan(model.predict(frame.to_numpy(dtype=object))[1])
    masked = np.ma.masked_array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 0], [1, 0]])
    assert np.isnan(model.predict(masked)[1]) and np.isfinite(model.predict(masked)[0])


def test_complex_numbers_and_unequal_lengths_are_refused():
    for inputs, target in ((X.astype(complex), Y), (X, Y.astype(complex)), (X, Y[:-1])):
        with pytest.raises(ValueError):
            SymbolicRegressor(**QUICK).fit(inputs, target)


def test_predictions_far_outside_are_said():
    model = SymbolicRegressor(**QUICK).fit(X, Y)
    with pytest.warns(UserWarning, match="far outside the data"):
        model.predict([[400.0, 2.0]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(X)


def test_a_deadline_ends_the_search_early():
    """The whole fit of a table without a law: by a deadline of nothing it ends long before the time asked for."""
    begun = time.monotonic()
    SymbolicRegressor(time=300.0, deadline=0.0).fit(X, RNG.normal(size=40))
    assert time.monotonic() - begun < 150
