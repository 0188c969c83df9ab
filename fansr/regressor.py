"""SymbolicRegressor: the main job for notebooks, with the conventions of scikit-learn.

    from fansr import SymbolicRegressor
    model = SymbolicRegressor(time=10).fit(X, y)
    model.expression_, model.predict(X_new)

It does what fansr-fit does, on arrays or data frames; scikit-learn itself is not needed.
"""

from __future__ import annotations

import inspect
import math
import numbers
import os
import time as clock
import warnings

import numpy as np

from fansr import fit_table
from fansr.errors import DataError, NoAnswer
from fansr.evaluation import result
from fansr.search import outliers, relative_noise, saved_law, selection, turns, verdict


class SymbolicRegressor:
    """Finds one formula for y over the columns of X.

    Parameters: `time` seconds of search (None: work by counts, repeatable); `deadline` seconds from the call of fit, by
    which it returns, loading and the floor of common laws included; `samples` skeletons drawn from the model; `jobs`
    threads; `seed`; `proposers` (names, or one text of names with commas); `gamma`, `restarts`, `select`, `physics`,
    `robust` and `model` as the options of fansr-fit.

    After fit: `result_` (the dictionary of ``fansr-fit --json``), `verdict_` and `remarks_` (how good the law is and what to
    look at), `expression_`, `latex_`, `sympy_`, `front_`, `prefix_`, `constants_`, `n_features_in_`, `feature_names_in_`.
    Rows and columns that were left out are warnings of the module `warnings`.
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
        loss: str = "auto",
        robust: bool = False,
        deadline: float | None = None,
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
        self.loss = loss
        self.robust = robust
        self.deadline = deadline

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

        begun = clock.monotonic()
        options = self._options()
        names = [str(c) for c in X.columns] if hasattr(X, "columns") else None
        target = str(y.name) if getattr(y, "name", None) is not None else "y"
        try:
            problem, said, dropped = array_problem(X, y, names, target, sample_weight, sigma)
        except DataError as error:
            raise ValueError(str(error)) from None
        for text in said:
            warnings.warn(text, stacklevel=2)
        budget = fit_table.search_budget(self.time, self.deadline, clock.monotonic() - begun)
        if self.deadline is not None:
            options.deadline = begun + self.deadline
        found = outliers.find(problem, options, budget)
        if found.best is None:
            raise RuntimeError(str(NoAnswer("no law gives finite values on all rows")))
        self.result_ = result.result_dict(found, problem, options, said, sum(dropped.values()))
        self.verdict_ = self.result_["verdict"]
        self.remarks_ = self.result_["remarks"]
        self._named = names is not None
        self._problem = problem
        self._best = found.best
        self._saved = saved_law.of(found, problem, options, result.judged(found, problem, options))
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
        names = list(self.feature_names_in_)
        if hasattr(X, "columns") and not isinstance(X, np.ndarray) and self._named:
            X = self._by_name(X, names)
        else:
            X = self._numbers(X)
            if X.ndim != 2 or X.shape[1] != self.n_features_in_:
                raise ValueError(
                    f"X has shape {X.shape}, wanted (rows, {self.n_features_in_}) as in fit: {', '.join(names)}"
                )
        outside = verdict.outside(X, self._problem, self._best)
        if outside:
            warnings.warn(outside["text"], stacklevel=2)
        return result.predict(self._best, X)

    def _by_name(self, frame, names) -> np.ndarray:
        """Columns of a data frame in the order of fit; ValueError names those that the law needs and the frame lacks."""
        from fansr.expressions import variables
        from fansr.tables import loading

        table = loading.frame_table(frame, readings=self._problem.extra.get("conversions"))
        lacking = [names[j] for j in variables(self._best.expr) if names[j] not in table.names]
        if lacking:
            raise ValueError(
                f"X has no column {', '.join(lacking)}, which the law needs; its columns are {loading.listed(table.names)}"
            )
        # What the law does not use may be missing; 0 stands there and is never looked at.
        places = {name: j for j, name in enumerate(table.names)}
        X = [table.values[:, places[name]] if name in places else np.zeros(len(table.values)) for name in names]
        return np.ascontiguousarray(np.column_stack(X))

    def _numbers(self, X) -> np.ndarray:
        """An array or a frame, by position, as (M, D) float64: what is masked or missing becomes NaN."""
        from fansr.tables import loading

        try:
            columns, _ = loading.frame_columns(X)
            names = self.feature_names_in_ if len(columns) == self.n_features_in_ else None
            table = loading.frame_table(X, names, self._problem.extra.get("conversions"))
        except DataError as error:
            raise ValueError(str(error)) from None
        return np.ascontiguousarray(table.values[:, : len(columns)])

    def save(self, path) -> None:
        """Write the law and its front as JSON, for fansr-predict and saved_law.load."""
        saved_law.save(self._saved, path)

    # -- parameters

    def _options(self) -> turns.Options:
        """The parameters as a search's options; ValueError names one that cannot be."""
        given = self.proposers.split(",") if isinstance(self.proposers, str) else list(self.proposers or ())
        proposers = tuple(str(name).strip() for name in given)
        unknown = [name for name in proposers if name not in turns.PROPOSERS]
        if unknown or not proposers:
            raise ValueError(f"proposers={self.proposers!r}: wanted some of {', '.join(turns.PROPOSERS)}")
        if self.select not in selection.SELECTORS:
            raise ValueError(f"select={self.select!r}: wanted one of {', '.join(selection.SELECTORS)}")
        if self.loss not in relative_noise.LOSSES:
            raise ValueError(f"loss={self.loss!r}: wanted one of {', '.join(relative_noise.LOSSES)}")
        for name in ("time", "deadline"):
            if getattr(self, name) is not None:
                self._number(name, 0.0, math.inf)
        self._number("gamma", 0.0, math.inf)
        for name, low, high in (
            ("samples", 0, 1 << 40),
            ("jobs", 1, 1024),
            ("seed", 0, (1 << 64) - 1),
            ("restarts", 1, 1024),
        ):
            self._number(name, low, high, whole=True)
        if self.model is not None and not os.path.exists(self.model):
            raise ValueError(f"model={self.model!r}: no such file; leave it out for the shipped one")
        return turns.Options(
            samples=int(self.samples),
            proposers=proposers,
            gamma=float(self.gamma),
            restarts=int(self.restarts),
            select=self.select,
            seed=int(self.seed),
            jobs=int(self.jobs),
            model=self.model,
            physics=bool(self.physics),
            loss=self.loss,
            robust=bool(self.robust),
        )

    def _number(self, name: str, low, high, whole: bool = False):
        value = getattr(self, name)
        good = isinstance(value, numbers.Integral if whole else numbers.Real) and not isinstance(
            value, (bool, np.bool_)
        )
        if not (good and math.isfinite(value) and low <= value <= high):
            kind = "a whole number" if whole else "a finite number"
            most = f" to {high}" if high < math.inf else ""
            raise ValueError(f"{name}={value!r}: wanted {kind} from {low}{most}")

    def score(self, X, y) -> float:
        """R2 = 1 - FVU on the given rows."""
        from fansr.evaluation import fvu

        return 1.0 - fvu(np.asarray(y, dtype=np.float64).ravel(), self.predict(X))
