"""SymbolicRegressor: the main job for notebooks, an estimator of scikit-learn.

    from fansr import SymbolicRegressor
    model = SymbolicRegressor(time=10).fit(X, y)
    print(model)
    model.predict(X_new), model.front_, model.sympy()

It does what fansr-fit does, on arrays or data frames.  Here are the search, predictions and files; regressor_parameters.py checks the
parameters, regressor_data.py the arrays, and what is shown of a law, and the forms other tools read, are regressor_views.py and
law_exports.py.
"""

from __future__ import annotations

import math
import numbers
import os
import time as clock
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import RegressorMixin, clone
from sklearn.utils.validation import assert_all_finite, check_is_fitted, validate_data

from fansr import fit_table, regressor_data
from fansr.errors import DataError, NoAnswer
from fansr.evaluation import result
from fansr.expressions import export, to_infix
from fansr.fitting import Candidate
from fansr.law_exports import per_target
from fansr.regressor_parameters import RegressorParameters
from fansr.regressor_pictures import RegressorPictures
from fansr.regressor_views import RegressorViews
from fansr.search import loss_search, outliers, saved_law, selection, turns

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


class SymbolicRegressor(RegressorMixin, RegressorParameters, RegressorPictures, RegressorViews):
    """Finds one formula for y over the columns of X.

    Parameters
    ----------
    time : seconds of search for one target; None: work goes by counts and is repeatable.
    deadline : seconds from the call of fit, by which it returns, loading and the floor of common laws included.
    samples : skeletons drawn from the model.
    n_jobs : threads; None is 1, -1 all cores.
    random_state : whole number, RandomState or None (another search each time).
    proposers : names, or one text of names with commas.
    gamma, restarts, starts, tidy, select, within, physics, loss, robust : as the options of fansr-fit.
    model, device, decoder, temperature, top_p : the network's file and how it is asked, as the options of fansr-fit.
    units : units of columns and target, "x=m, t=s, y=m/s**2" or a dictionary, as --units; quantities and columns of pint tell theirs.
    rules : what a law may be, a dictionary of any of operators, without, max_length, max_constants, max_depth, nest, arguments,
        price, positive, bounds, define, each written as the option of fansr-fit of that name: ``{"operators": "+,-,*,exp"}``.
    form : the law's form, "A*exp(-k*x1) + f(x2)", or a list with rules for its functions, as --form.
    guess : laws to start from, or files of them, as --guess.
    inputs, ignore : columns that the law may depend on, and may not (names or patterns; arrays have x1, x2, ...).
    derive, lag, categories : columns made on the way, "v = dx/dt", "x:1..3" and "onehot" for text; each as the option of that
        name, several as a list.
    group : the column of groups, each with constants of its own.
    target_fvu : the search ends when the law it would choose leaves no more of the variance than this.
    callback : called with the state of the search after every turn of a proposer; the search ends when it gives back True.
        The state has `seconds`, `proposer`, `candidates`, `best` (its `fvu` and `length`), `expression` and `front()`.
    warm_start : the next fit begins with the laws of the last one.
    verbose : 1 prints every better law as it is found.

    Attributes
    ----------
    expression_, latex_, sympy_, prefix_, constants_ : the chosen law; `verdict_` and `remarks_`: how good it is and what to
    look at; `front_`: all laws worth a look, a data frame; `result_`: the dictionary of ``fansr-fit --json``;
    n_features_in_, feature_names_in_ (where X had names).  With several targets, y (M, T), `estimators_` holds a model for
    each, and what speaks of laws gives a list of T.

    Everywhere ``law=k`` is row k of `front_`, the shortest first; without it the chosen law is meant.

    The paper's own inference (section 3.5) is a setting of this one:

    >>> from fansr import SymbolicRegressor
    >>> paper = SymbolicRegressor(
    ...     proposers="model",  # nothing but the network proposes
    ...     model="tiny",  # or the file of a checkpoint
    ...     decoder="tree",  # tree, topk, beam, mcts or iid
    ...     samples=64,  # draws
    ...     restarts=8,  # starts of SciPy's curve_fit,
    ...     starts="paper",  # all from N(0, 5)
    ...     tidy=False,  # the answer is a draw: not cut down, not rounded
    ...     select="score",  # log10 FVU + gamma * length
    ...     gamma=0.05,
    ...     device="cpu",  # cuda, cuda:1, torch-cpu
    ... )
    >>> X, y = [[1.0], [2.0], [3.0], [4.0]], [3.0, 6.0, 9.0, 12.0]
    >>> round(paper.fit(X, y).score(X, y), 9)
    1.0
    """

    def __init__(
        self,
        time: float | None = None,
        samples: int = 4096,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
        proposers: str | Sequence[str] = turns.DEFAULT_PROPOSERS,
        gamma: float = selection.GAMMA,
        restarts: int = 8,
        select: str = "mdl",
        model: str | None = None,
        device: str = "cpu",
        decoder: str = "tree",
        temperature: float = 1.0,
        top_p: float = 1.0,
        physics: bool = True,
        loss: str = "auto",
        robust: bool = False,
        deadline: float | None = None,
        rules: dict | None = None,
        units: str | dict | None = None,
        form: str | Sequence[str] | None = None,
        guess: str | Sequence[str] | None = None,
        inputs: str | Sequence[str] | None = None,
        ignore: str | Sequence[str] | None = None,
        derive: str | Sequence[str] | None = None,
        lag: str | Sequence[str] | None = None,
        categories: str | None = None,
        group: str | None = None,
        target_fvu: float | None = None,
        callback: Callable[[turns.Progress], Any] | None = None,
        warm_start: bool = False,
        verbose: int = 0,
        within: float | None = None,
        starts: str = "mixed",
        tidy: bool = True,
    ):
        self.time = time
        self.samples = samples
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.proposers = proposers
        self.gamma = gamma
        self.restarts = restarts
        self.select = select
        self.model = model
        self.device = device
        self.decoder = decoder
        self.temperature = temperature
        self.top_p = top_p
        self.starts = starts
        self.tidy = tidy
        self.physics = physics
        self.loss = loss
        self.robust = robust
        self.deadline = deadline
        self.rules = rules
        self.units = units
        self.form = form
        self.guess = guess
        self.inputs = inputs
        self.ignore = ignore
        self.derive = derive
        self.lag = lag
        self.categories = categories
        self.group = group
        self.target_fvu = target_fvu
        self.callback = callback
        self.warm_start = warm_start
        self.verbose = verbose
        self.within = within

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True  # rows with missing cells are left out of a fit, and predicted as NaN
        tags.target_tags.multi_output = True
        tags.non_deterministic = self.time is not None or self.deadline is not None or self.random_state is None
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "result_")

    # -- fit

    def fit(
        self, X: Any, y: Any, sample_weight: ArrayLike | None = None, sigma: ArrayLike | None = None
    ) -> SymbolicRegressor:
        """Search for the law of y (M,) over X (M, D); arrays or data frames, rows with missing values dropped.

        y (M, T) is T targets, each with a search of its own.
        sample_weight (M,): weights of the squared residuals.  Whole numbers that differ say how often a row was met, as in all
        of scikit-learn: a weight of 3 is the row three times, 0 is no row.  Others count by their ratios alone.
        sigma (M,): standard errors of y instead, as those of scipy.optimize.curve_fit; they also tell how large the noise is.

        ValueError for unusable data or parameters, TypeError for what are no numbers at all; RuntimeError when no law was
        found.  What was left out is a UserWarning.
        """
        begun = clock.monotonic()
        options = self._options()
        X, y, self._told_units = regressor_data.magnitudes(X, y)
        regressor_data.refuse_what_no_estimator_takes(X, least=2)
        validate_data(self, X, y, skip_check_array=True)
        targets = regressor_data.targets(y)
        if len(targets) > 1:
            return self._fit_each(X, targets, sample_weight, sigma)
        (target, values), known = targets[0], self._laws_before()
        for name in ("estimators_", "_shown"):
            self.__dict__.pop(name, None)
        problem, notes, dropped = self._problem(X, values, target, sample_weight, sigma)
        problem.units = self._units(problem)
        turns.check(options, problem)
        loss_search.check(problem, options.loss, options.robust)
        budget = fit_table.search_budget(self.time, self.deadline, clock.monotonic() - begun)
        if self.deadline is not None:
            options.deadline = begun + self.deadline
        found = outliers.find(problem, options, budget, known if problem.names == self._names_before() else [])
        if found.best is None and found.status == "interrupted":
            raise KeyboardInterrupt
        if found.best is None:
            raise RuntimeError(str(NoAnswer("no law gives finite values on all rows")))
        for name, why in found.failures.items():
            notes.append(f"{name} failed: {why}")
        for text in notes:
            warnings.warn(text, stacklevel=2)
        judgement = result.judged(found, problem, options)
        self._saved = saved_law.of(found, problem, options, judgement)
        self._table = (problem, found.outliers, found.weights, found.loss)
        self._take(result.result_dict(found, problem, options, notes, sum(dropped.values()), judgement=judgement))
        return self

    def _fit_each(self, X, targets, sample_weight, sigma) -> SymbolicRegressor:
        """A model for each of several targets."""
        before = getattr(self, "estimators_", None) or []
        estimators = []
        for t, (name, values) in enumerate(targets):
            model = before[t] if self.warm_start and len(before) == len(targets) else clone(self)
            one = sigma if sigma is None or np.ndim(sigma) == 1 else np.asarray(sigma)[:, t]
            estimators.append(
                model.fit(X, regressor_data.named(values, name), sample_weight, *(() if one is None else (one,)))
            )
        for name in ("_saved", "_table"):
            self.__dict__.pop(name, None)
        self.estimators_ = estimators
        for name in ("result_", "expression_", "latex_", "sympy_", "prefix_", "constants_", "verdict_", "remarks_"):
            setattr(self, name, [getattr(model, name) for model in estimators])
        return self

    def _problem(self, X, y, target, sample_weight, sigma):
        """(problem, remarks, dropped rows by reason)."""
        from fansr.tables import array_problem

        names = getattr(self, "feature_names_in_", None)
        sample_weight = None if sample_weight is None else np.asarray(sample_weight)
        counts, rows = regressor_data.counts(sample_weight, len(y)) if sigma is None else None, None
        if counts is not None:
            rows = np.repeat(np.arange(len(y)), counts)
            X, y, sample_weight = regressor_data.picked(X, rows), regressor_data.picked(y, rows), None
        try:
            found = array_problem(
                X, y, None if names is None else [str(n) for n in names], target, sample_weight, sigma, self._choice()
            )
        except DataError as error:
            if np.asarray(y).dtype.kind == "f" and not np.isfinite(y).any():
                assert_all_finite(np.asarray(y), input_name="y")
            raise ValueError(str(error)) from None
        regressor_data.put_together(found[0], rows)
        return found

    def _units(self, problem: Any) -> Any:
        """The units of columns and target, as `units` and quantities told them; None for none.  What `units` says comes first."""
        from fansr.tables import unit_texts

        told, wanted = self._told_units, self.units
        if not told and not wanted:
            return None
        if wanted is not None and not isinstance(wanted, (str, dict)):
            raise ValueError(f"units={wanted!r}: wanted a text such as 'x=m, t=s' or a dictionary of units by name")
        known = {name: unit for name, unit in told.items() if name in (*problem.names, problem.target)}
        try:
            named, words = unit_texts.parse(wanted) if wanted else ({}, set())
            return unit_texts.of_problem(problem, {**known, **named}, words)
        except (ValueError, DataError) as error:
            raise ValueError(f"units={wanted!r}: {error}") from None

    def _laws_before(self) -> list[Candidate]:
        """The laws of the last fit, their constants to be fitted anew; none without warm_start."""
        saved = getattr(self, "_saved", None)
        if not self.warm_start or saved is None:
            return []
        return [Candidate(list(law.prefix), source=law.source) for law in saved.laws]

    def _names_before(self) -> list[str] | None:
        saved = getattr(self, "_saved", None)
        return None if saved is None else saved.columns

    def _take(self, found: dict) -> None:
        """The public attributes of a result."""
        self.result_ = found
        self.verdict_, self.remarks_ = found["verdict"], found["remarks"]
        self.expression_, self.latex_, self.sympy_ = found["expression"], found["latex"], found["sympy"]
        self.prefix_, self.constants_ = found["prefix"], np.array(found["constants"])

    # -- use

    def predict(self, X: Any, law: int | None = None) -> np.ndarray:
        """Values (M',) of the law on rows X (M', D), (M', T) for T targets; NaN where it is undefined or a cell is missing.

        A data frame has the columns of fit in their order; what the law does not look at may be missing cells.
        """
        return self._values(X, law)

    def _values(self, X: Any, law: int | None) -> np.ndarray:
        check_is_fitted(self)
        many = getattr(self, "estimators_", None)
        if many:
            validate_data(self, X, reset=False, skip_check_array=True)
            return np.column_stack([model._values(X, law) for model in many])
        rows = self._rows(X)
        self._law(law)
        outside = self._saved.outside(rows, law)
        if outside:
            warnings.warn(outside["text"], stacklevel=2)
        return self._saved.predict(rows, law)

    @per_target
    def intervals(
        self, X: Any, level: float = 0.95, law: int | None = None, of: str = "prediction"
    ) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends (M',) of the intervals on rows X that hold a share `level`.

        of: "prediction", where a new measured row would lie; "mean", where the law itself lies.  From the covariance of the
        constants and Student's t, as least squares has them; what was chosen among many laws is not counted in.
        """
        check_is_fitted(self)
        self._law(law)
        return self._saved.bands(self._rows(X), level, law, of)

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """R2 on the given rows, the mean over targets; -inf where the law is undefined on one of them."""
        from sklearn.metrics import r2_score

        values = self.predict(X)
        if not np.isfinite(values).all():
            return -math.inf
        return float(r2_score(y, values, sample_weight=sample_weight))

    def _law(self, law: int | None) -> saved_law.Law:
        """A law of the front; ValueError for a place that it does not have."""
        check_is_fitted(self)
        if law is not None and (isinstance(law, bool) or not isinstance(law, numbers.Integral)):
            raise ValueError(f"law={law!r}: wanted a whole number, a row of front_")
        try:
            return self._saved.law(None if law is None else int(law))
        except IndexError:
            most = len(self._saved.laws) - 1
            raise ValueError(f"law={law!r}: the front has the laws 0 to {most}") from None

    def _rows(self, X) -> np.ndarray:
        """New rows as (M', D) float64 in the columns of the law, NaN for what is missing."""
        from fansr.tables import loading

        X = regressor_data.in_units(X, self._saved.units)
        regressor_data.refuse_what_no_estimator_takes(X)
        try:
            validate_data(self, X, reset=False, skip_check_array=True)
        except ValueError as error:
            raise ValueError(f"{error}{self._mend(X)}") from None
        names = getattr(self, "feature_names_in_", None)
        try:
            named = None if names is None else [str(name) for name in names]
            table = loading.frame_table(X, named, self._saved.conversions)
            rows = loading.input_columns(table, self._saved.columns)
        except DataError as error:
            raise ValueError(str(error)) from None
        return np.ascontiguousarray(rows)

    def _mend(self, X) -> str:
        """What makes a frame of other columns fit: its columns by name, where they are all there."""
        names = getattr(self, "feature_names_in_", None)
        if names is None or not hasattr(X, "columns") or not set(names) <= set(X.columns):
            return ""
        return "\nX[list(model.feature_names_in_)] has the columns of fit in their order"

    # -- files

    def save(self, path: str | os.PathLike) -> None:
        """Write the laws as JSON, for load and for fansr-predict; ValueError where the file cannot be written."""
        check_is_fitted(self)
        if hasattr(self, "estimators_"):
            raise ValueError("a file holds the law of one target: save each of model.estimators_")
        params = {name: _plain(value) for name, value in self.get_params().items() if _is_plain(value)}
        names = getattr(self, "feature_names_in_", None)
        self._saved.extra = {
            "estimator": {"params": params, "n_features_in": self.n_features_in_,
                          "feature_names_in": None if names is None else [str(n) for n in names], **self._facts()},
            "result": self.result_,
        }  # fmt: skip
        try:
            saved_law.save(self._saved, path)
        except DataError as error:
            raise ValueError(str(error)) from None

    def _facts(self) -> dict[str, Any]:
        """What an estimator made of this one keeps in a file."""
        return {}

    def _take_facts(self, facts: dict[str, Any]) -> None:
        """The same from a file."""

    @classmethod
    def load(cls, path: str | os.PathLike) -> SymbolicRegressor:
        """The fitted model of a file that save, or fansr-fit, wrote; ValueError, in one line, for any other file."""
        try:
            saved = saved_law.load(path)
        except DataError as error:
            raise ValueError(str(error)) from None
        own = saved.extra.get("estimator")
        own = own if isinstance(own, dict) else {}
        params: dict = own.get("params") if isinstance(own.get("params"), dict) else {}  # type: ignore[assignment]
        model = cls(**{name: value for name, value in params.items() if name in cls._get_param_names()})
        if isinstance(model.proposers, list):
            model.proposers = tuple(model.proposers)
        model._saved = saved
        names = own.get("feature_names_in") if own else saved.columns
        count = own.get("n_features_in")
        model.n_features_in_ = count if isinstance(count, int) else len(names or saved.columns)
        if isinstance(names, list) and len(names) == model.n_features_in_:
            model.feature_names_in_ = np.array([str(n) for n in names], dtype=object)
        model._take_facts(own)
        model._take(_summary(saved) | (saved.extra.get("result") or {}))
        return model


def _is_plain(value) -> bool:
    """Whether JSON holds a parameter: a generator and a function are left out of a file."""
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return all(isinstance(v, str) for v in value)
    return value is None or isinstance(value, (str, bool, np.bool_, numbers.Real))


def _plain(value):
    """A parameter as JSON has it."""
    if isinstance(value, (list, tuple)):
        return list(value)
    return value.item() if isinstance(value, np.generic) else value


def _summary(saved: saved_law.SavedLaw) -> dict:
    """What a file that no estimator wrote says of its chosen law, as `result_` has it."""
    law, names = saved.law(), export.identifiers(saved.columns)
    errors = law.errors()
    return {
        "expression": to_infix(law.prefix, law.constants, saved.columns),
        "numpy": export.numpy_source(law.prefix, law.constants, names),
        "latex": export.latex(law.prefix, law.constants, saved.columns),
        "sympy": export.sympy_source(law.prefix, law.constants, names),
        "prefix": list(law.prefix),
        "constants": list(law.constants),
        "standard_errors": [float(e) if math.isfinite(e) else None for e in errors],
        "variables": list(names),
        "target": saved.target,
        "fvu": law.fvu,
        "r2": 1.0 - law.fvu,
        "length": law.length,
        "source": law.source,
        "verdict": saved.verdict,
        "verdict_text": saved.verdict_text,
        "remarks": saved.remarks,
        "version": saved.version,
    }
