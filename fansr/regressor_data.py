"""Arrays and data frames as SymbolicRegressor takes them: what is refused, weights that count rows, targets by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_array

if TYPE_CHECKING:
    from fansr.fitting import Problem

MOST_TARGETS = 1000
MOST_COUNTED = 1 << 18  # rows that whole weights may stand for


def refuse_what_no_estimator_takes(X, least: int = 1) -> None:
    """scikit-learn's own errors for sparse, complex, empty and one-dimensional X, and for cells that are no numbers or text."""
    if hasattr(X, "columns") and not isinstance(X, np.ndarray):
        if len(X) < least or not len(X.columns):
            check_array(np.empty((len(X), len(X.columns))), ensure_all_finite=False, ensure_min_samples=least)
        return
    array = check_array(X, dtype=None, ensure_all_finite=False, ensure_min_samples=least)
    if array.dtype == object:
        for cell in array.flat:
            if isinstance(cell, (dict, list, tuple, set)):
                float(cell)  # type: ignore[arg-type]  # its TypeError says what came


def counts(sample_weight, M: int) -> np.ndarray | None:
    """Weights (M,) that are whole numbers and differ, as how often each row counts; None for all others."""
    if sample_weight is None or sample_weight.shape != (M,):
        return None
    weights = sample_weight
    if weights.dtype.kind not in "iufb" or not np.isfinite(weights).all() or (weights < 0).any():
        return None
    if (weights != np.floor(weights)).any() or np.ptp(weights) == 0 or weights.sum() > max(MOST_COUNTED, M):
        return None
    return weights.astype(np.int64)


def put_together(problem: Problem, met: np.ndarray | None) -> None:
    """Bring a table with equal rows into an order of its own, in place: how equal rows came, by weights or one by one, and where,
    must not matter.  met (M,): the row of the table each stands for."""
    M = len(problem.y)
    rows = np.asarray(problem.extra.get("rows", np.arange(M)))
    rows = rows if met is None else met[rows]
    if M <= MOST_COUNTED:
        keys = np.column_stack([problem.X, problem.y])
        order = np.lexsort(keys.T[::-1])
        if (keys[order[1:]] == keys[order[:-1]]).all(axis=1).any():
            problem.X, problem.y, rows = np.ascontiguousarray(problem.X[order]), problem.y[order], rows[order]
            if problem.weights is not None:
                problem.weights = problem.weights[order]
            if problem.ends is not None:
                problem.ends = problem.ends[order]
    if not np.array_equal(rows, np.arange(M)):
        problem.extra["rows"] = rows


def picked(values, rows: np.ndarray):
    """Rows of an array, a series or a data frame."""
    if hasattr(values, "iloc"):
        return values.iloc[rows]
    return (values if isinstance(values, np.ndarray) or hasattr(values, "columns") else np.asarray(values))[rows]


def targets(y) -> list[tuple[str, Any]]:
    """(name, values (M,)) of every target of y."""
    if hasattr(y, "columns") and not isinstance(y, np.ndarray):
        names = [str(name) for name in y.columns]
        if not names:
            raise ValueError("y has no column")
        pick = y.iloc if hasattr(y, "iloc") else None
        return [(name, pick[:, t] if pick is not None else y[name]) for t, name in enumerate(names)]
    if getattr(y, "name", None) is not None:
        return [(str(y.name), y)]
    if str(getattr(y, "dtype", "")).startswith("interval"):
        return [("y", y)]
    values = y if isinstance(y, np.ndarray) else np.asarray(y)
    if values.ndim == 2 and values.shape[1] > MOST_TARGETS:
        raise ValueError(f"y has {values.shape[1]} columns, wanted at most {MOST_TARGETS} targets")
    if values.ndim == 2 and values.shape[1] > 1:
        return [(f"y{t + 1}", values[:, t]) for t in range(values.shape[1])]
    return [("y", values[:, 0] if values.ndim == 2 and values.shape[1] else values)]


def named(values, name: str):
    """One target with its name, so that a model of it says the same."""
    import pandas

    return values if getattr(values, "name", None) == name else pandas.Series(np.asarray(values), name=name)


# ---- quantities of pint, which is not loaded here ---------------------------------------------


def _quantity(values: Any) -> bool:
    return hasattr(values, "magnitude") and hasattr(values, "units")


def _plain(values: Any) -> tuple[Any, str]:
    """(numbers, unit) of a quantity, a column of pint's or one of cells that are quantities; ("", as it was) for others."""
    if _quantity(values):
        return values.magnitude, f"{values.units:~C}"
    dtype: Any = getattr(values, "dtype", None)
    if hasattr(dtype, "units") and hasattr(values, "pint"):
        import pandas

        return pandas.Series(
            np.asarray(values.pint.magnitude, dtype=float), index=values.index, name=values.name
        ), f"{dtype.units:~C}"
    if getattr(dtype, "kind", "") == "O" and len(values) and _quantity(next(iter(values))):
        first = next(iter(values)).units
        numbers = np.array([cell.to(first).magnitude if _quantity(cell) else np.nan for cell in values], dtype=float)
        if hasattr(values, "index"):
            import pandas

            return pandas.Series(numbers, index=values.index, name=values.name), f"{first:~C}"
        return numbers, f"{first:~C}"
    return values, ""


def magnitudes(X: Any, y: Any) -> tuple[Any, Any, dict[str, str]]:
    """X and y as numbers, and the units that quantities among them have, by name."""
    told: dict[str, str] = {}
    y, unit = _plain(y)
    if unit:
        told[str(getattr(y, "name", None) or "y")] = unit
    if _quantity(X):
        X, unit = _plain(X)
        told.update({f"x{j + 1}": unit for j in range(np.shape(X)[1] if np.ndim(X) > 1 else 1)})
    elif hasattr(X, "columns") and hasattr(X, "iloc"):
        for j, name in enumerate(X.columns):
            column = X.iloc[:, j]
            if column.dtype == object or hasattr(column.dtype, "units"):
                numbers, unit = _plain(column)
                if unit:
                    X = X.copy(deep=False) if not told else X
                    X = X.assign(**{name: numbers}) if isinstance(name, str) else X
                    told[str(name)] = unit
    return X, y, told


def in_units(X: Any, units: dict | None) -> Any:
    """New rows as numbers in the units of a fit; what has none is taken to be in them."""
    if not units:
        return magnitudes(X, np.zeros(0))[0]
    if _quantity(X):
        texts = set(units["columns"].values())
        return X.to(next(iter(texts))).magnitude if len(texts) == 1 else X.magnitude
    if hasattr(X, "columns") and hasattr(X, "iloc"):
        for j, name in enumerate(X.columns):
            column, wanted = X.iloc[:, j], units["columns"].get(str(name))
            if wanted and hasattr(column.dtype, "units"):
                X = X.assign(**{name: np.asarray(column.pint.to(wanted).pint.magnitude, dtype=float)})
    return magnitudes(X, np.zeros(0))[0]
