"""SymbolicRegressor: what it refuses by name, what it says of its law, and what becomes of odd inputs."""

import copy
import json
import pickle
import re
import time
import warnings

import numpy as np
import pandas
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from fansr import SymbolicRegressor
from fansr.expressions import to_infix  # noqa: F401  (kernels loaded before anything is timed)
from fansr.streams import parallel

QUICK = {"proposers": ("power", "sums"), "time": 0.05}
RNG = np.random.default_rng(0)
X = RNG.uniform(1, 5, (40, 2))
Y = 3.7 * X[:, 0] / X[:, 1]


@pytest.mark.parametrize(
    ("name", "value"),
    [("time", -1), ("time", float("nan")), ("time", float("inf")), ("time", "1"), ("deadline", -0.5), ("samples", -1),
     ("samples", 1.5), ("n_jobs", 0), ("n_jobs", 1.5), ("random_state", -1), ("random_state", 1 << 64), ("random_state", "a"),
     ("restarts", 0), ("gamma", float("nan")), ("gamma", None), ("proposers", ()), ("proposers", None), ("proposers", "powr"),
     ("select", "best"), ("decoder", "best"), ("temperature", 0), ("top_p", 0), ("top_p", 1.5), ("target_fvu", -1),
     ("callback", 3), ("rules", {"operator": "+"}), ("rules", {"operators": "plus"}), ("rules", "+"), ("loss", "best")],
)  # fmt: skip
def test_a_parameter_that_cannot_be_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"{name}="):
        SymbolicRegressor(**{name: value}).fit(X, Y)


@pytest.mark.parametrize(("name", "value"), [("model", "/nonexistent"), ("device", "gpu"), ("device", "cuda:63")])
def test_a_model_that_cannot_be_had_is_said_before_the_search(name, value):
    with pytest.raises(ValueError, match=f"{name}="):
        SymbolicRegressor(proposers="model", **{name: value}).fit(X, Y)


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


def test_a_frame_of_other_columns_is_refused_and_the_mend_is_said():
    frame = pandas.DataFrame(X, columns=["volts", "ohms"])
    model = SymbolicRegressor(**QUICK).fit(frame, Y)
    with pytest.raises(ValueError, match="ohms"):
        model.predict(frame.rename(columns={"ohms": "R"}))
    swapped = frame[["ohms", "volts"]].assign(extra=1.0)
    with pytest.raises(ValueError, match="feature_names_in_"):
        model.predict(swapped)
    assert np.allclose(model.predict(swapped[list(model.feature_names_in_)]), Y)


def test_a_column_the_law_does_not_use_may_be_empty():
    frame = pandas.DataFrame({"idle": RNG.uniform(size=40), "a": X[:, 0], "b": X[:, 1]})
    model = SymbolicRegressor(**QUICK).fit(frame, Y)
    assert "idle" not in model.expression_
    assert np.allclose(model.predict(frame.assign(idle=np.nan)), Y)


def test_missing_and_masked_cells_are_predicted_as_nan():
    model = SymbolicRegressor(**QUICK).fit(X, Y)
    frame = pandas.DataFrame({"p": pandas.array([1, None], "Int64"), "q": [2.0, 3.0]})
    assert np.isnan(model.predict(frame.to_numpy(dtype=object))[1])
    masked = np.ma.masked_array([[1.0, 2.0], [3.0, 4.0]], mask=[[0, 0], [1, 0]])
    assert np.isnan(model.predict(masked)[1]) and np.isfinite(model.predict(masked)[0])


@pytest.mark.parametrize(
    ("inputs", "target", "said"),
    [(X.astype(complex), Y, "[Cc]omplex"), (X, Y.astype(complex), "complex numbers"), (X, Y[:-1], "rows"), (X[:, 0], Y, "[Rr]eshape"),
     (X[:0], Y[:0], "0 sample"), (X, None, "requires y"), (X, np.full(40, np.nan), "contains NaN")],
)  # fmt: skip
def test_what_cannot_be_fitted_is_refused(inputs, target, said):
    with pytest.raises(ValueError, match=said):
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


def test_no_use_before_fit():
    for use in (
        lambda m: m.predict(X),
        lambda m: m.front_,
        lambda m: m.latex(),
        lambda m: m.save("x"),
        lambda m: m.intervals(X),
    ):
        with pytest.raises(NotFittedError):
            use(SymbolicRegressor())
    assert str(SymbolicRegressor()) == "SymbolicRegressor()" and not hasattr(SymbolicRegressor(), "front_")


def test_a_callback_sees_the_search_and_ends_it(capsys):
    noise = np.random.default_rng(7).normal(size=40)
    states = []
    SymbolicRegressor(proposers=("power", "sums"), callback=states.append, verbose=1).fit(X, noise)
    assert {"power", "sums"} <= {state.proposer for state in states}
    assert states[-1].expression in capsys.readouterr().out
    few = []
    SymbolicRegressor(callback=lambda state: few.append(state) or True).fit(X, noise)
    assert len(few) == 1


def test_a_target_fvu_ends_the_search():
    turns_taken = []
    y = Y * (1 + 0.02 * np.random.default_rng(2).normal(size=40))
    model = SymbolicRegressor(target_fvu=0.05, callback=lambda state: turns_taken.append(state.best.fvu)).fit(X, y)
    assert model.result_["fvu"] <= 0.05 and turns_taken[-1] <= 0.05 and all(fvu > 0.05 for fvu in turns_taken[:-1])


def test_a_warm_start_goes_on_from_the_laws_found():
    model = SymbolicRegressor(proposers=("power", "sums"), warm_start=True).fit(X, Y)
    model.set_params(proposers=("waves",), callback=lambda state: True)  # which alone would not have it, nor be heard
    model.fit(X, 2 * Y)
    assert model.result_["fvu"] < 1e-25 and model.predict(X) == pytest.approx(2 * Y)
    cold = SymbolicRegressor(proposers=("waves",), callback=lambda state: True).fit(X, 2 * Y)
    assert cold.result_["fvu"] > 1e-3


def test_every_parameter_is_described():
    """In the docstring, which the documentation and help() show; and none that is not there."""
    text = SymbolicRegressor.__doc__.partition("Attributes")[0].partition("----------\n")[2]
    named = {name for line in re.findall(r"^    (\w[\w, ]*) : ", text, re.M) for name in line.split(", ")}
    assert named == set(SymbolicRegressor().get_params())


@pytest.mark.parametrize(
    "given, meant",
    [
        ({"proposers": "powr"}, "power"),
        ({"select": "bci"}, "bic"),
        ({"decoder": "bean"}, "beam"),
        ({"rules": {"operator": "+"}}, "operators"),
    ],
)
def test_a_mistyped_parameter_is_told_what_was_meant(given, meant):
    with pytest.raises(ValueError, match=rf"did you mean {meant}\?$"):
        SymbolicRegressor(**given).fit(X, Y)


def test_random_state_as_scikit_learn_has_it():
    noise = np.random.default_rng(7).normal(size=40)

    def law(state):
        return SymbolicRegressor(proposers=("power", "control"), samples=64, random_state=state).fit(X, noise).result_

    assert law(3)["expression"] == law(np.int64(3))["expression"]
    assert (
        law(np.random.RandomState(1))["seed"]
        == law(np.random.RandomState(1))["seed"]
        != law(np.random.RandomState(2))["seed"]
    )
    before = np.random.get_state()[1].copy()
    assert law(None)["seed"] != law(None)["seed"] and (np.random.get_state()[1] == before).all()


def test_jobs_count_from_all_cores():
    for given, threads in ((None, 1), (1, 1), (3, 3), (-1, parallel.available_cores())):
        assert SymbolicRegressor(n_jobs=given)._options().jobs == threads


def test_several_targets_are_several_laws(tmp_path):
    two = np.column_stack([Y, X[:, 0] + X[:, 1]])
    model = SymbolicRegressor(**QUICK).fit(X, two)
    assert np.allclose(model.predict(X), two) and model.score(X, two) == pytest.approx(1.0)
    assert [m.expression_ for m in model.estimators_] == model.expression_ and len(model.latex()) == 2
    assert set(model.front_["target"]) == {"y1", "y2"} and "y1 = " in str(model) and "y2 = " in str(model)
    low, high = model.intervals(X[:3])[1]
    assert low.shape == high.shape == (3,)
    with pytest.raises(ValueError, match="estimators_"):
        model.save(tmp_path / "law.json")
    named = SymbolicRegressor(**QUICK).fit(X, pandas.DataFrame(two, columns=["u", "v"]))
    assert [m.result_["target"] for m in named.estimators_] == ["u", "v"]
    assert model.fit(X, Y).predict(X).shape == (40,)  # and one again


def test_a_saved_model_says_and_gives_the_same(tmp_path):
    frame = pandas.DataFrame({"who": "u", "a": X[:, 0], "b c": X[:, 1]})
    y = Y * (1 + 0.02 * np.random.default_rng(2).normal(size=40))
    with pytest.warns(UserWarning, match="who"):
        model = SymbolicRegressor(gamma=0.1, **QUICK).fit(frame, y)
    model.save(tmp_path / "law.json")
    again = SymbolicRegressor.load(tmp_path / "law.json")
    assert again.get_params() == model.get_params() and again.result_ == model.result_ and str(again) == str(model)
    assert (again.predict(frame) == model.predict(frame)).all() and again.n_features_in_ == 3
    assert all((a == b).all() for a, b in zip(again.intervals(frame), model.intervals(frame)))
    pandas.testing.assert_frame_equal(again.front_, model.front_)
    with pytest.raises(ValueError, match="feature names"):
        again.predict(frame[["a", "b c"]])


def test_a_law_that_no_estimator_saved_is_loaded_too(tmp_path):
    model = SymbolicRegressor(**QUICK).fit(X, Y)
    model.save(tmp_path / "law.json")
    plain = json.loads((tmp_path / "law.json").read_text())
    (tmp_path / "law.json").write_text(json.dumps({**plain, "extra": {}}))
    again = SymbolicRegressor.load(tmp_path / "law.json")
    assert again.expression_ == model.expression_ and again.verdict_ == "exact"
    frame = pandas.DataFrame(X, columns=["x1", "x2"])
    assert np.allclose(again.predict(frame), Y)
    with pytest.raises(ValueError, match="wanted the JSON file"):
        SymbolicRegressor.load(__file__)


def test_copies_are_the_same_model():
    model = SymbolicRegressor(**QUICK).fit(X, Y)
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert (copied.predict(X) == model.predict(X)).all() and str(copied) == str(model)
    fresh = clone(model)
    assert not hasattr(fresh, "result_") and fresh.get_params() == model.get_params()


def test_rules_say_what_a_law_may_be(tmp_path):
    y = X[:, 0] ** 2 + 0.01 * RNG.normal(size=40)
    model = SymbolicRegressor(proposers=("power", "sums"), rules={"operators": "+,-,*", "max_length": 5}).fit(X, y)
    for law in model._saved.laws:
        assert len(law.prefix) <= 5 and not {"pow", "pow2", "exp", "log", "/", "inv"} & set(law.prefix)
    model.save(tmp_path / "law.json")
    assert SymbolicRegressor.load(tmp_path / "law.json").rules == model.rules
    with pytest.raises(ValueError, match="no column is called 'z'"):
        SymbolicRegressor(rules={"positive": "z"}).fit(X, y)
