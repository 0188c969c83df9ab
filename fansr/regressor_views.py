"""How SymbolicRegressor shows what it found: as text, in a notebook, as tables.

A part of SymbolicRegressor, which gives it `_law(k)`, `_saved` and `result_`.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from fansr.expressions import export, to_infix
from fansr.law_exports import LawExports, per_target
from fansr.search import selection

if TYPE_CHECKING:
    import pandas

    from fansr.search import saved_law

MOST_SHOWN = 40  # laws of a front in a notebook


class RegressorViews(LawExports, BaseEstimator):
    """What is printed and shown of a fitted model."""

    _saved: saved_law.SavedLaw
    _law: Callable[[int | None], saved_law.Law]
    gamma: float

    @property
    def front_(self) -> pandas.DataFrame:
        """The laws worth a look, shortest first: `length` in tokens, `fvu`, `R2`, `score` (equation 3 of the paper), the `law`
        in the columns' names, a string for `sympy`, `latex`, the proposer it came from, and which one was `chosen`.

        Of several targets all stand in one frame with their `target`.
        """
        import pandas

        check_is_fitted(self)
        many = getattr(self, "estimators_", None)
        if many:
            return pandas.concat([model.front_.assign(target=model._saved.target) for model in many], ignore_index=True)
        saved, names = self._saved, export.identifiers(self._saved.columns)
        return pandas.DataFrame(
            [
                {
                    "length": law.length,
                    "fvu": law.fvu,
                    "R2": 1.0 - law.fvu,
                    "score": selection.score(law.fvu, law.length, self.gamma, saved.floor),
                    "law": to_infix(law.prefix, law.constants, saved.columns),
                    "sympy": export.sympy_source(law.prefix, law.constants, names),
                    "latex": export.latex(law.prefix, law.constants, saved.columns),
                    "source": law.source,
                    "chosen": k == saved.chosen,
                }
                for k, law in enumerate(saved.laws)
            ]
        )

    def __str__(self) -> str:
        """The law, how good it is, and the front with the chosen law marked; the parameters before fit."""
        if not self.__sklearn_is_fitted__():
            return repr(self)
        many = getattr(self, "estimators_", None)
        if many:
            return "\n\n".join(str(model) for model in many)
        saved = self._saved
        rows = [(str(k), str(law.length), f"{law.fvu:.3g}", self._text(law)) for k, law in enumerate(saved.laws)]
        wide = max(len(row[0]) for row in rows)
        lines = [f"{saved.target} = {self._text(saved.law())}", f"  {saved.verdict}: {saved.verdict_text}".rstrip(": ")]
        lines += [f"  ! {remark.get('text', '')}" for remark in saved.remarks]
        lines += ["", f"   {'law':>{max(wide, 3)}}  length  FVU"]
        lines += [
            f" {'*' if k == saved.chosen else ' '} {place:>{max(wide, 3)}}  {length:>6}  {fvu:<9}  {text}"
            for k, (place, length, fvu, text) in enumerate(rows)
        ]
        return "\n".join(lines)

    def _text(self, law: saved_law.Law) -> str:
        """A law with the digits its errors leave."""
        return to_infix(law.prefix, law.rounded(), self._saved.columns)

    def _repr_latex_(self) -> str | None:
        if not self.__sklearn_is_fitted__():
            return None
        models = getattr(self, "estimators_", None) or [self]
        return "".join(f"$\\displaystyle {model._equation()}$\n\n" for model in models).strip()

    def _equation(self) -> str:
        target = export.latex(["x1"], None, [self._saved.target])
        return f"{target} = {self.latex()}"

    def _repr_html_(self) -> str:
        if not self.__sklearn_is_fitted__():
            return super()._repr_html_inner() if hasattr(super(), "_repr_html_inner") else html.escape(repr(self))
        models = getattr(self, "estimators_", None) or [self]
        return "\n".join(model._html() for model in models)

    def _html(self) -> str:
        """The law typeset (a notebook's MathJax reads it), the verdict, and the front as a table."""
        saved = self._saved
        rows = []
        for k, law in enumerate(saved.laws[:MOST_SHOWN]):
            cells = f"<td>{k}</td><td>{law.length}</td><td>{law.fvu:.3g}</td><td>{1 - law.fvu:.6f}</td>"
            style = ' style="font-weight:bold"' if k == saved.chosen else ""
            rows.append(
                f"<tr{style}>{cells}<td style='text-align:left'><code>{html.escape(self._text(law))}</code></td></tr>"
            )
        more = len(saved.laws) - MOST_SHOWN
        remarks = "".join(f"<li>{html.escape(remark.get('text', ''))}</li>" for remark in saved.remarks)
        return (
            f"<div><p>$\\displaystyle {html.escape(self._equation())}$</p>"
            f"<p><b>{html.escape(saved.verdict)}</b>: {html.escape(saved.verdict_text)}</p>"
            + (f"<ul>{remarks}</ul>" if remarks else "")
            + "<table><thead><tr><th>law</th><th>length</th><th>FVU</th><th>R<sup>2</sup></th><th>"
            + f"{html.escape(saved.target)}</th></tr></thead><tbody>{''.join(rows)}</tbody></table>"
            + (f"<p>and {more} more in front_</p>" if more > 0 else "")
            + "</div>"
        )

    def _repr_mimebundle_(self, **kwargs) -> dict:
        """What a notebook shows: scikit-learn's picture of the parameters before fit, the law after it."""
        if not self.__sklearn_is_fitted__():
            return super()._repr_mimebundle_(**kwargs)
        return {"text/plain": str(self), "text/html": self._repr_html_(), "text/latex": self._repr_latex_()}

    @per_target
    def latex_table(self, laws: Iterable[int] | None = None, digits: int | None = 4) -> str:
        """The front (or some rows of it) as a table of LaTeX, for the package booktabs; the chosen law is marked by a star."""
        check_is_fitted(self)
        chosen = range(len(self._saved.laws)) if laws is None else laws
        rows = []
        for k in chosen:
            law = self._law(k)
            star = r"$\star$" if law is self._saved.law() else ""
            text = export.latex(
                law.prefix, law.constants if digits else law.rounded(), self._saved.columns, digits=digits
            )
            rows.append(rf"{star} & ${text}$ & {law.length} & ${_power_of_ten(law.fvu)}$ \\")
        head = rf"& ${export.latex(['x1'], None, [self._saved.target])}$ & length & FVU \\"
        return "\n".join(
            [r"\begin{tabular}{@{}llrl@{}}", r"\toprule", head, r"\midrule", *rows, r"\bottomrule", r"\end{tabular}"]
        )


def _power_of_ten(value: float) -> str:
    """A number for math mode with three digits."""
    mantissa, e, power = f"{value:.3g}".partition("e")
    return rf"{mantissa} \cdot 10^{{{int(power)}}}" if e else mantissa
