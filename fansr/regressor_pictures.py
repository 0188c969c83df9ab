"""How SymbolicRegressor draws what it found: the pictures of --plot and the page of --report, from Python.

A part of SymbolicRegressor, which gives it `_saved`, `_law(k)`, `result_` and the table it was fitted to, `_table`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fansr.fitting import Candidate, Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from fansr.evaluation import fitted
    from fansr.search import loss_search, saved_law


class RegressorPictures:
    """plot and report of a fitted model."""

    _saved: saved_law.SavedLaw
    _law: Callable[[int | None], saved_law.Law]
    # What was fitted to; rows set aside; weights that the search gave the rows; the loss where it was not squares.
    _table: tuple[Problem, np.ndarray, np.ndarray | None, loss_search.Outcome | None]
    result_: dict

    def plot(
        self, path: str | os.PathLike | None = None, pieces: str | Sequence[str] | None = None, law: int | None = None
    ) -> Figure:
        """Data with the law, residuals, normal quantiles, the front, and slices along several columns, as a matplotlib figure.

        path: a .png, .svg or .pdf to write it to.  pieces: only some of "data", "residuals", "quantiles", "front", "slices",
        "residuals by column".  law: the k-th of the front instead of the chosen one.

        A figure is shown by notebooks as it is; DataError (with what to install) where matplotlib is missing.
        """
        from fansr.evaluation import plot

        figure = plot.fit_figure(self._fitted(law), [pieces] if isinstance(pieces, str) else pieces)
        if path is not None:
            plot.save(figure, os.fspath(path))
        return figure

    def report(self, path: str | os.PathLike) -> None:
        """Write all of the answer as one page of HTML to `path`: law, pictures, residuals, front, constants, how it was found."""
        from fansr.evaluation import printed_report, report_page

        shown = self._fitted(None)
        law = shown.law
        best = Candidate(list(law.prefix), np.array(law.constants), law.fvu, law.source)
        errors = np.array([np.inf if e is None else e for e in self.result_["standard_errors"]])
        consts = printed_report.rounded_constants(best, errors, shown.kept_rows, self._saved.floor, shown.loss)
        page = report_page.page(shown, self.result_, consts, "arrays in memory", f"{self!r}.fit(X, y)")
        report_page.write(page, path)

    def _fitted(self, law: int | None) -> fitted.Fitted:
        """What pictures are made of; RuntimeError where there is no table to draw."""
        from fansr.evaluation import fitted

        chosen = self._law(law)
        if not hasattr(self, "_table"):
            raise RuntimeError("there is no table to draw: a loaded law has none; call fit first")
        problem, outlying, weights, loss = self._table
        if weights is not None:
            problem = replace(problem, weights=weights)
        kept = np.ones(len(problem.y), bool)
        kept[outlying] = False
        front: list[dict[str, Any]] = [
            {"length": one.length, "fvu": one.fvu, "expr": list(one.prefix), "consts": np.array(one.constants)}
            for one in self._saved.laws
        ]
        return fitted.Fitted(problem, chosen, kept, front, loss)
