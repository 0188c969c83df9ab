"""SymbolicRegressor among scikit-learn's tools: its own checks of an estimator, all of them, and each tool with its outcome."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
import sklearn
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import BaggingRegressor, StackingRegressor, VotingRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.multioutput import MultiOutputRegressor, RegressorChain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fansr import SymbolicRegressor

QUICK = SymbolicRegressor(proposers=("power", "sums"), restarts=2)  # a small fixed effort, by counts
RNG = np.random.default_rng(0)
X = RNG.uniform(1, 5, (60, 2))
Y = 3.7 * X[:, 0] / X[:, 1]
NOISY = Y * (1 + 0.02 * RNG.normal(size=60))


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks([QUICK])
def test_checks_of_an_estimator(estimator, check):
    check(estimator)


def test_all_checks_run():
    """None is left out by a tag of ours, and none is expected to fail."""
    from sklearn.utils import get_tags
    from sklearn.utils.estimator_checks import estimator_checks_generator

    tags = get_tags(QUICK)
    assert (
        not tags.no_validation
        and not tags._skip_test
        and not tags.non_deterministic
        and not tags.regressor_tags.poor_score
    )
    assert len(list(estimator_checks_generator(QUICK, legacy=True))) >= 50
    assert get_tags(SymbolicRegressor(time=1)).non_deterministic


def test_arrays_by_the_array_api():
    """The one check that is skipped unless scipy was told before it was loaded."""
    code = (
        "import warnings; warnings.simplefilter('ignore'); from test_scikit_learn import QUICK\n"
        "from sklearn.utils import estimator_checks as checks\n"
        "for estimator, check in checks.estimator_checks_generator(QUICK):\n"
        "    if 'array_api' in check.func.__name__: check(estimator); print('ran')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parent,
        env={**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0 and "ran" in done.stdout, done.stderr


def fresh(**params):
    return sklearn.clone(QUICK).set_params(**params)


def loaded_by(line, after="pass"):
    """The modules that a line loads in a fresh interpreter, beyond those that another one loaded."""
    code = f"import sys\n{after}\nbefore = set(sys.modules)\n{line}\nprint(*sorted(set(sys.modules) - before))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def processor_seconds(line):
    """Of an interpreter that runs a line, the least of three."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", line], check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def test_import_of_fansr_loads_nothing_and_the_regressor_scikit_learn_at_most():
    assert loaded_by("import fansr") == {"fansr", "fansr.version"}
    more = {name.partition(".")[0] for name in loaded_by("from fansr import SymbolicRegressor", "import sklearn.base")}
    assert not more & {"torch", "numba", "matplotlib", "sympy", "rich", "jax"}, more


def test_import_of_fansr_takes_no_time():
    assert processor_seconds("import numpy, fansr") - processor_seconds("import numpy") < 0.15


def test_pipeline_with_names_kept_by_set_output():
    frame = pandas.DataFrame(X, columns=["a", "b"])
    steps = make_column_transformer((FunctionTransformer(np.log, feature_names_out="one-to-one"), ["a"]), remainder="passthrough",
                                    verbose_feature_names_out=False)  # fmt: skip
    pipe = make_pipeline(steps, fresh()).set_output(transform="pandas").fit(frame, 2.5 * np.log(X[:, 0]) + X[:, 1])
    assert (
        list(pipe[-1].feature_names_in_) == ["a", "b"]
        and pipe.score(frame, 2.5 * np.log(X[:, 0]) + X[:, 1]) > 1 - 1e-12
    )
    assert (
        make_pipeline(StandardScaler(), fresh()).fit(X, 3 * X[:, 0] + X[:, 1]).score(X, 3 * X[:, 0] + X[:, 1])
        > 1 - 1e-12
    )


def test_grid_search_and_its_halving():
    for search in (GridSearchCV, HalvingGridSearchCV):
        found = search(fresh(), {"callback": [lambda state: True, None]}, cv=2).fit(X, Y + X[:, 0] ** 2)
        assert found.best_params_ == {"callback": None} and found.score(X, Y + X[:, 0] ** 2) > 1 - 1e-12


def test_cross_validation():
    assert cross_val_score(fresh(), X, Y, cv=3).min() > 1 - 1e-12
    assert np.allclose(cross_val_predict(fresh(), X, Y, cv=3), Y)
    found = cross_validate(fresh(), X, Y, cv=2, return_estimator=True, scoring=("r2", "neg_mean_absolute_error"))
    assert (
        all("x1" in model.expression_ for model in found["estimator"])
        and found["test_neg_mean_absolute_error"].min() > -1e-9
    )
    assert learning_curve(fresh(), X, Y, train_sizes=[0.5, 1.0], cv=2)[2].min() > 1 - 1e-12


def test_ensembles():
    bag = BaggingRegressor(fresh(), n_estimators=3, random_state=0).fit(X, NOISY)
    assert np.corrcoef(bag.predict(X), Y)[0, 1] > 0.999
    both = [("law", fresh()), ("line", LinearRegression())]
    assert StackingRegressor(both, cv=2).fit(X, NOISY).score(X, NOISY) > 0.99
    assert VotingRegressor(both).fit(X, NOISY).score(X, NOISY) > 0.8


def test_several_targets_by_scikit_learn_and_by_ourselves():
    two = np.column_stack([Y, X[:, 0] * X[:, 1]])
    for model in (MultiOutputRegressor(fresh()), RegressorChain(fresh()), fresh()):
        assert np.allclose(model.fit(X, two).predict(X), two)


def test_a_transformed_target():
    model = TransformedTargetRegressor(fresh(), func=np.log, inverse_func=np.exp).fit(X, np.exp(X[:, 0] - X[:, 1]))
    assert np.allclose(model.predict(X), np.exp(X[:, 0] - X[:, 1]))


def test_inspection():
    wide = np.column_stack([RNG.normal(size=60), X])
    model = fresh().fit(wide, Y)
    importance = permutation_importance(model, wide, Y, n_repeats=3, random_state=0).importances_mean
    assert importance[0] == 0 and importance[1:].min() > 0.1
    curve = partial_dependence(model, wide, [1], grid_resolution=5)
    assert np.allclose(curve["average"][0], 3.7 * curve["grid_values"][0] * np.mean(1 / X[:, 1]))
    chosen = SequentialFeatureSelector(fresh(), n_features_to_select=2, cv=2).fit(wide, Y)
    assert list(chosen.get_support()) == [False, True, True]


def test_weights_and_errors_are_routed():
    """The rows that are wrong have next to no weight, and a search that is not told of them is led astray."""
    wrong = np.where(np.arange(60) % 6 == 0, 40.0, Y)
    weights = np.where(np.arange(60) % 6 == 0, 1e-12, 1.0)
    with sklearn.config_context(enable_metadata_routing=True):
        model = fresh().set_fit_request(sample_weight=True, sigma=False).set_score_request(sample_weight=False)
        found = cross_validate(model, X, wrong, cv=2, params={"sample_weight": weights}, return_estimator=True)
        assert all(np.allclose(m.predict(X), Y) for m in found["estimator"])
        by_errors = make_pipeline(fresh().set_fit_request(sigma=True)).fit(X, wrong, sigma=weights**-0.5)
        assert np.allclose(by_errors.predict(X), Y)
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError):
            cross_validate(fresh(), X, wrong, params={"sample_weight": weights})
        shorter = make_pipeline(fresh().set_predict_request(law=True)).fit(X, Y)
        assert not np.allclose(shorter.predict(X, law=0), Y)
    assert not np.allclose(fresh().fit(X, wrong).predict(X), Y)


def test_a_score_where_the_law_is_undefined_is_minus_infinity():
    model = fresh().fit(X, np.sqrt(X[:, 0]))
    assert model.score(X, np.sqrt(X[:, 0])) == pytest.approx(1.0)
    with pytest.warns(UserWarning, match="far outside"):
        assert model.score([[-1.0, 1.0], [4.0, 1.0]], [1.0, 2.0]) == -np.inf
