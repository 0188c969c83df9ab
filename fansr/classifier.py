"""SymbolicClassifier: laws for classes, an estimator of scikit-learn.

    from fansr import SymbolicClassifier
    model = SymbolicClassifier(time=10).fit(X, y)      # y: labels of any kind
    model.predict(X_new), model.predict_proba(X_new), model.expression_

Two classes have one law, logistic(f), the probability of the second; more have one each against the rest.  It is SymbolicRegressor
under the binomial loss (docs/losses.md) in everything else.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from fansr import regressor_data
from fansr.regressor import SymbolicRegressor
from fansr.search import turns

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MOST_CLASSES = 100
SURE = 1e-12  # probabilities nearer to 0 and 1 have the log odds of these


class SymbolicClassifier(ClassifierMixin, SymbolicRegressor):
    """Finds a formula for the probability of a class over the columns of X.

    Parameters are those of SymbolicRegressor; loss is the binomial one, and rows are not set aside (robust).  Attributes are its
    own, and `classes_`, the labels in order; with more than two of them `estimators_` holds a model for each, and what speaks of
    laws gives a list.
    """

    def _options(self) -> turns.Options:
        if self.loss not in ("auto", "binomial"):
            raise ValueError(f"loss={self.loss!r}: a classifier's is binomial; SymbolicRegressor takes others")
        if self.robust:
            raise ValueError(
                f"robust={self.robust!r}: sets rows aside for squares of the errors, which classes do not have"
            )
        return replace(super()._options(), loss="binomial")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags = None
        tags.target_tags.multi_output = False
        return tags

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> SymbolicClassifier:  # type: ignore[override]
        """Search for the laws of the classes y (M,) over X (M, D); labels of any kind, at least two of them.

        sample_weight (M,): as in SymbolicRegressor.fit.  Errors are its own.
        """
        regressor_data.refuse_what_no_estimator_takes(X, least=2)
        validate_data(self, X, skip_check_array=True)
        name = str(getattr(y, "name", None) or "y")
        labels = column_or_1d(y, warn=True)
        check_classification_targets(labels)
        classes, codes = np.unique(labels, return_inverse=True)
        if not 2 <= len(classes) <= MOST_CLASSES:
            raise ValueError(
                f"y holds {len(classes)} class{'es' * (len(classes) != 1)}, wanted from 2 to {MOST_CLASSES}"
            )
        if len(classes) == 2:
            super().fit(X, regressor_data.named(codes.astype(float), name), sample_weight)
        else:
            every = [(f"{name} is {label}", (codes == k).astype(float)) for k, label in enumerate(classes)]
            self._fit_each(X, every, sample_weight, None)
        self.classes_ = classes
        return self

    def predict_proba(self, X: Any, law: int | None = None) -> np.ndarray:
        """Probabilities (M', K) of the classes on rows X (M', D), NaN where a law has no value or a cell is missing."""
        check_is_fitted(self)
        p = super().predict(X, law)
        if p.ndim == 1:
            return np.column_stack([1 - p, p])
        total = p.sum(axis=1, keepdims=True)
        with np.errstate(invalid="ignore"):
            return np.where(total > 0, p / total, 1 / p.shape[1])

    def decision_function(self, X: Any, law: int | None = None) -> np.ndarray:
        """Log odds, (M',) of the second of two classes, else (M', K) of each."""
        p = np.clip(self.predict_proba(X, law), SURE, 1 - SURE)
        odds = np.log(p) - np.log1p(-p)
        return odds[:, 1] if p.shape[1] == 2 else odds

    def predict(self, X: Any, law: int | None = None) -> np.ndarray:
        """The likeliest class (M',) on rows X (M', D); ValueError where a law has no value on one of them."""
        p = self.predict_proba(X, law)
        bad = np.flatnonzero(~np.isfinite(p).all(axis=1))
        if len(bad):
            raise ValueError(
                f"row {bad[0]} of X has no class: the law has no value there; predict_proba gives NaN for such rows"
            )
        return self.classes_[p.argmax(axis=1)]

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy on the given rows."""
        return ClassifierMixin.score(self, X, y, sample_weight)

    def _facts(self) -> dict[str, Any]:
        return {"classes": self.classes_.tolist()}

    def _take_facts(self, facts: dict[str, Any]) -> None:
        classes = facts.get("classes")
        plain = isinstance(classes, list) and all(isinstance(c, (str, int, float)) for c in classes)
        self.classes_ = np.array(classes if plain else [0, 1])
