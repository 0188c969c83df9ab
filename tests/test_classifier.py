"""SymbolicClassifier: classes of any labels, scikit-learn's conventions, files; and y of other kinds in SymbolicRegressor."""

import numpy as np
import pandas
import pytest
from sklearn.base import clone, is_classifier
from sklearn.metrics import log_loss, roc_auc_score

from fansr import SymbolicClassifier, SymbolicRegressor

QUICK = {"proposers": ("power", "sums"), "samples": 0}


def table(seed=0, M=200):
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.5, 4, (M, 2))
    p = 1 / (1 + np.exp(-(2 * X[:, 0] - 3 * X[:, 1] + 2)))
    return X, np.where(rng.random(M) < p, "yes", "no"), p


def test_two_classes_have_one_law_and_a_file(tmp_path):
    X, y, p = table()
    frame = pandas.DataFrame(X, columns=["dose", "age"])
    model = SymbolicClassifier(**QUICK).fit(frame, pandas.Series(y, name="ill"))
    assert is_classifier(model) and list(model.classes_) == ["no", "yes"]
    told = model.predict_proba(frame)
    assert told.shape == (200, 2) and told.sum(axis=1) == pytest.approx(1)
    assert roc_auc_score(y, told[:, 1]) > 0.85 and set(model.predict(frame)) == {"no", "yes"}
    assert model.score(frame, y) == pytest.approx(np.mean(model.predict(frame) == y))
    assert log_loss(y, told) == pytest.approx(model.result_["loss"]["log_loss"])
    assert model.expression_.startswith("logistic(") and model.result_["loss"]["name"] == "binomial"
    odds = model.decision_function(frame)
    assert ((odds > 0) == (model.predict(frame) == "yes")).all()
    model.save(tmp_path / "law.json")
    again = SymbolicClassifier.load(tmp_path / "law.json")
    assert (again.predict(frame) == model.predict(frame)).all()
    assert clone(model).get_params()["samples"] == 0


def test_three_classes_have_a_law_each():
    X, _, _ = table(1, 240)
    y = np.digitize(X[:, 0], [1.6, 2.8])
    model = SymbolicClassifier(**QUICK).fit(X, y)
    told = model.predict_proba(X)
    assert told.shape == (240, 3) and told.sum(axis=1) == pytest.approx(1) and len(model.expression_) == 3
    assert model.score(X, y) > 0.6


def test_one_class_is_refused_and_rows_without_a_class_are_named():
    X, y, _ = table(2, 60)
    with pytest.raises(ValueError, match="holds 1 class, wanted"):
        SymbolicClassifier(**QUICK).fit(X, np.ones(60))
    with pytest.raises(ValueError, match="a classifier's is binomial"):
        SymbolicClassifier(loss="huber").fit(X, y)
    model = SymbolicClassifier(**QUICK).fit(X, y)
    X[3] = np.nan
    with pytest.raises(ValueError, match="row 3 of X has no class"):
        model.predict(X)


def test_losses_intervals_units_and_quantities():
    rng = np.random.default_rng(3)
    x = rng.uniform(1, 4, 80)
    with pytest.raises(ValueError, match="did you mean huber"):
        SymbolicRegressor(loss="hubr", **QUICK).fit(x[:, None], x)
    low = np.floor(4 * (2 * x + rng.normal(0, 0.05, 80))) / 4
    y = pandas.arrays.IntervalArray.from_arrays(low, low + 0.25)
    model = SymbolicRegressor(**QUICK).fit(x[:, None], y)
    assert model.result_["loss"]["name"] == "interval" and model.predict([[2.0]]) == pytest.approx([4.0], abs=0.1)
    with pytest.raises(ValueError, match="complex"):
        SymbolicRegressor(**QUICK).fit(x[:, None], x * 1j)
    pint = pytest.importorskip("pint")
    registry = pint.UnitRegistry()
    model = SymbolicRegressor(**QUICK).fit(registry.Quantity(x[:, None], "m"), registry.Quantity(9.81 * x, "m**2/s**2"))
    told = model.result_["units"]
    assert told["columns"] == {"x1": "m"} and told["homogeneous"] and told["constants"] == ["m/s**2"]
    assert model.predict(registry.Quantity([[200.0]], "cm")) == pytest.approx([19.62])
    with pytest.raises(ValueError, match="no column is named 'z'"):
        SymbolicRegressor(units={"z": "m"}, **QUICK).fit(x[:, None], x)
