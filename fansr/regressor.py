"""SymbolicRegressor: the main job for notebooks, with the conventions of scikit-learn.

    from fansr import SymbolicRegressor
    model = SymbolicRegressor(time=10).fit(X, y)
    model.expression_, model.predict(X_new)

It does what fansr-fit does, on arrays or data frames; scikit-learn itself is not needed.
"""

from __future__ import annotations

import inspect

import numpy as np

from fansr import fit as fit_module
from fansr.errors import DataError, NoAnswer
from fansr.fitting import Budget
from fansr.search import outliers, selection, turns


class SymbolicRegressor:
    """Finds one formula for y over the columns of X.

    Parameters: `time` seconds to spend (None: work by counts, repeatable); `samples` skeletons drawn
    from the model; `jobs` threads; `seed`; `proposers`; `gamma`, `restarts`, `select`, `physics`, `robust`
    and `model` as the options of fansr-fit.

    After fit: `result_` (the dictionary of ``fansr-fit --json``), `expression_`, `latex_`, `sympy_`,
    `front_`, `prefix_`, `constants_`, `n_features_in_`, `feature_names_in_`.
    """

    def __init__(
        self,
        time: float | None = None,
        samples: int = 4096,
        jobs: int = 1,
        seed: int = 0,
        proposers=turns.DEFAULT_PROPOSERS,
        gamma: float = selection.GAMMA,
        restarts: int = 8,
        select: str = "mdl",
        model: str | None = None,
        physics: bool = True,
        robust: bool = False,
    ):
        self.time = time
        self.samples = samples
        self.jobs = jobs
        self.seed = seed
        self.proposers = proposers
        self.gamma = gamma
        self.restarts = restarts
        self.select = select
        self.model = model
        self.physics = physics
        self.robust = robust

    # -- scikit-learn's protocol

    @classmethod
    def _names(cls):
        return [name for name in inspect.signature(cls.__init__).parameters if name != "self"]

    def get_params(self, deep: bool = True) -> dict:
        """The constructor's parameters as a dict."""
        return {name: getattr(self, name) for name in self._names()}

    def set_params(self, **params):
        """Change parameters; ValueError names one that does not exist."""
        for name, value in params.items():
            if name not in self._names():
                raise ValueError(f"no parameter {name!r}; there are {', '.join(self._names())}")
            setattr(self, name, value)
        return self

    def __repr__(self):
        return f"SymbolicRegressor({', '.join(f'{k}={v!r}' for k, v in self.get_params().items())})"

    def __sklearn_tags__(self):
        from sklearn.utils import Tags, TargetTags

        return Tags(
            estimator_type="regressor",
            target_tags=TargetTags(required=True),
            transformer_tags=None,
            regressor_tags=None,
            classifier_tags=None,
        )

    # -- fit and use

    def fit(self, X, y, sample_weight=None, sigma=None):
        """Search for the law of y (M,) over X (M, D); arrays or data frames, rows with missing values dropped.

        sample_weight (M,): weights of the squared residuals.  sigma (M,): standard errors of y instead, as those of
        scipy.optimize.curve_fit; they also tell how large the noise is.

        ValueError for unusable data or parameters; RuntimeError when no law was found.
        """
        from fansr.tables import array_problem

        unknown = [name for name in self.proposers if name not in turns.PROPOSERS]
        if unknown:
            raise ValueError(f"unknown proposers {unknown}; known are {', '.join(turns.PROPOSERS)}")
        if self.select not in selection.SELECTORS:
            raise ValueError(f"unknown select {self.select!r}; known are {', '.join(selection.SELECTORS)}")
        names = [str(c) for c in X.columns] if hasattr(X, "columns") else None
        target = str(y.name) if getattr(y, "name", None) is not None else "y"
        try:
            problem, warnings, dropped = array_problem(X, y, names, target, sample_weight, sigma)
        except DataError as error:
            raise ValueError(str(error)) from None
        options = turns.Options(
            samples=self.samples,
            proposers=tuple(self.proposers),
            gamma=self.gamma,
            restarts=self.restarts,
            select=self.select,
            seed=self.seed,
            jobs=self.jobs,
            model=self.model,
            physics=self.physics,
            robust=self.robust,
        )
        found = outliers.find(problem, options, Budget(self.time))
        if found.best is None:
            raise RuntimeError(str(NoAnswer("no law gives finite values on all rows")))
        self.result_ = fit_module.result_dict(found, problem, options, warnings, sum(dropped.values()))
        self._best = found.best
        self.expression_ = self.result_["expression"]
        self.latex_ = self.result_["latex"]
        self.sympy_ = self.result_["sympy"]
        self.front_ = self.result_["front"]
        self.prefix_ = self.result_["prefix"]
        self.constants_ = np.array(self.result_["constants"])
        self.feature_names_in_ = np.array(problem.names, dtype=object)
        self.n_features_in_ = problem.X.shape[1]
        return self

    def predict(self, X) -> np.ndarray:
        """Values (M',) of the law on rows X (M', D); NaN where it is undefined or a cell is missing."""
        if not hasattr(self, "result_"):
            raise RuntimeError("call fit before predict")
        if hasattr(X, "columns") and all(name in list(X.columns) for name in self.feature_names_in_):
            X = X[list(self.feature_names_in_)]
        X = np.asarray(X, dtype=np.float64)
        X = X[:, None] if X.ndim == 1 and self.n_features_in_ == 1 else X
        if X.ndim != 2 or X.shape[1] != self.n_features_in_:
            raise ValueError(f"X has shape {X.shape}, wanted (rows, {self.n_features_in_}) as in fit")
        return fit_module.predict(self._best, X)

    def score(self, X, y) -> float:
        """R2 = 1 - FVU on the given rows."""
        from fansr.evaluation import fvu

        return 1.0 - fvu(np.asarray(y, dtype=np.float64).ravel(), self.predict(X))
