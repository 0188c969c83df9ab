"""A polynomial that follows a table, with its gradient: what tests of a law's structure look at."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from fansr.proposers.parts.expression_assembly import scale_of
from fansr.proposers.parts.monomials import monomials, values

MAX_TERMS, MAX_DEGREE = 126, 6  # degree 4 in 5 columns


class Surrogate:
    """A polynomial in standardised columns (logarithms of those that span decades) for a function of y.

    X (M, D), y (M,).  `error` is its cross-validated FVU (infinite where the dress is not defined), `dress` the function of
    y chosen or asked for, `size` its standard deviation.
    """

    def __init__(self, X: np.ndarray, y: np.ndarray, dress: str | None = None):
        self.X, (M, D) = X, X.shape
        self.logs = (X.min(axis=0) > 0) & (X.max(axis=0) > 8 * X.min(axis=0))
        Z = np.where(self.logs, np.log(np.where(self.logs, X, 1.0)), X)  # (M, D)
        self.spread = np.where(Z.std(axis=0) > 0, Z.std(axis=0), 1.0) * 1.5
        self.Z = (Z - Z.mean(axis=0)) / self.spread
        degree = 1
        while degree < MAX_DEGREE and math.comb(D + degree + 1, D) <= min(MAX_TERMS, M // 3):
            degree += 1
        exponents = np.array(monomials(D, degree), np.int64)
        A = values(self.Z, exponents)  # (M, terms)
        self.error, self.c, self.dress, self.size, self.exponents = math.inf, None, "", 0.0, exponents
        forms = [form for form in _dresses(y) if dress in (None, form[0])]
        for top in (degree, degree - 1) if forms else ():  # too many terms for the rows err more than too few
            keep = exponents.sum(axis=1) <= max(top, 1)
            errors, C = _cross_validated(A[:, keep], np.column_stack([t for _, t, _ in forms]))
            for (name, _, size), error, c in zip(forms, errors, C.T):
                if error < self.error:
                    self.error, self.c, self.dress, self.size, self.exponents = error, c, name, size, exponents[keep]

    def gradient(self) -> np.ndarray:
        """(M, D): derivatives of the standardised dress with respect to the columns themselves."""
        G = np.empty(self.Z.shape)
        for j in range(len(G.T)):
            lower = self.exponents.copy()
            lower[:, j] = np.maximum(lower[:, j] - 1, 0)
            G[:, j] = (values(self.Z, lower) * self.exponents[:, j]) @ self.c / self.spread[j]
        return np.where(self.logs, G / np.where(self.logs, self.X, 1.0), G)


def _dresses(y: np.ndarray) -> Iterator[tuple[str, np.ndarray, float]]:
    """Functions of y that a polynomial may follow more easily, standardised, with their standard deviations."""
    forms = [("y", y / scale_of(y))]
    if (y != 0).all():
        forms.append(("log", np.log(np.abs(y))))
    if (y > 0).all() or (y < 0).all():
        forms.append(("1/y", 1 / y / scale_of(1 / y)))
    for name, t in forms:
        if np.isfinite(t).all() and t.std() > 0:
            yield name, (t - t.mean()) / t.std(), float(t.std())


def _cross_validated(A: np.ndarray, T: np.ndarray, folds: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(cross-validated errors (K,), coefficients (terms, K)) of ridge regressions of T (M, K) on A (M, terms)."""
    penalty = 1e-6 * len(T) * np.eye(A.shape[1])
    parts = [slice(fold, None, folds) for fold in range(folds)]
    grams = [(A[part].T @ A[part], A[part].T @ T[part]) for part in parts]
    G, b = sum(g for g, _ in grams), sum(v for _, v in grams)
    errors = np.empty(T.shape)
    for part, (g, v) in zip(parts, grams):
        errors[part] = T[part] - A[part] @ np.linalg.solve(G - g + penalty, b - v)
    return trimmed_square(errors), np.linalg.solve(G + penalty, b)


def trimmed_square(residuals: np.ndarray) -> np.ndarray:
    """Mean square of the smaller nine tenths (of each column): a pole somewhere must not blind a test everywhere."""
    return np.sort(residuals**2, axis=0)[: max(1, int(0.9 * len(residuals)))].mean(axis=0)
