"""A report: one page of HTML that holds all of an answer, for reading, showing and printing, years later and without a network.

    fansr-fit data/planets.csv --report planets.html

The law is MathML, pictures are SVG in the page's own colours, nothing is a script or comes from elsewhere.  The page is written
as XML, so that any reader of XML takes it.  All text from the table is escaped.  What is shown is worked out elsewhere: result.py
has the numbers, plot_fit.py the pictures.
"""

from __future__ import annotations

import html
import os
import platform
import shlex
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from fansr.evaluation import plot_fit
from fansr.evaluation.fitted import Fitted
from fansr.evaluation.plot_front import draw_front
from fansr.evaluation.plot_style import number, shown
from fansr.evaluation.report_style import STYLE_SHEET, svg_of
from fansr.expressions import mathml
from fansr.search import rounding
from fansr.streams import files

MOST_PICTURES = 8  # columns that get a slice, and a picture of the residuals
GRADES = {"exact": "good", "within errors": "good", "noise": "good", "rough": "fair", "no law": "bad"}
DATA_KEY = '<span class="key" style="background:var(--data)"></span>'
LAW_KEY = '<span class="key" style="background:var(--law)"></span>'
BAND_KEY = '<span class="key" style="background:var(--law);opacity:.38"></span>'
PALE_KEY = '<span class="key" style="background:var(--law);opacity:.18"></span>'


def write(page: str, path: str | os.PathLike) -> None:
    """Write a page whole or not at all; DataError where it cannot be written."""
    files.write_text(os.fspath(path), page)


def page(
    fitted: Fitted,
    result: dict[str, Any],
    consts: Sequence[float],
    source: str,
    repeat: str,
    settings: dict[str, Any] | None = None,
    when: str = "",
) -> str:
    """The page of one answer.

    result: the dictionary of --json; consts (C,): the law's constants with as many digits as the data support; source: the
    table's name; repeat: what to type to get the answer again; settings: of the search, as given; when: UTC.
    """
    title = f"{shown(fitted.target, 80)}: a law found by fansr"
    parts = [
        _head(fitted, result, consts, source),
        _fit_section(fitted),
        _slices(fitted),
        _residuals(fitted),
        _front(fitted),
        _groups(result),
        _constants(fitted, result),
        _found(fitted, result, source, settings or {}, when),
        f"<h2>To repeat it</h2>\n<pre>{_text(repeat)}</pre>",
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!DOCTYPE html>\n<html lang="en" xmlns="http://www.w3.org/1999/xhtml">\n<head>\n<meta charset="utf-8"/>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        '<meta name="color-scheme" content="light dark"/>\n'
        f"<title>{_text(title)}</title>\n<style>\n{STYLE_SHEET}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def command_line(entry: dict[str, Any]) -> str:
    """The command of a history entry as a shell reads it, quoted where it must be."""
    return shlex.join([str(entry["cmd"]), *map(str, entry["argv"])])


def _text(value: object) -> str:
    """Text as markup: escaped, without the control characters that XML forbids; line ends stay."""
    lines = str(value).split("\n")
    return "\n".join(html.escape(shown(line, 100_000), quote=True) for line in lines)


def _terms(
    fitted: Fitted, expr: list[str], consts: Iterable[float] | None, digits: int | None, left: bool, small: bool = False
) -> str:
    """A law as pieces of MathML that wrap like words, at a size at which the widest one fits."""
    pieces = mathml.pieces(expr, consts, fitted.names, digits)
    if left:
        target = (f"{mathml.name_markup(fitted.target)}<mo form='infix'>=</mo>", 0.62 * len(fitted.target) + 1.5)
        pieces = [target, *pieces]
    widest = max(width for _, width in pieces) + 0.6
    whole = " ".join(mathml.wrapped(markup) for markup, _ in pieces)
    return f'<div class="terms{" small" if small else ""}"><div style="--ems:{widest:.1f}">{whole}</div></div>'


# ---- sections ---------------------------------------------------------------------------------


def _head(fitted: Fitted, result: dict, consts: Sequence[float], source: str) -> str:
    law = fitted.law
    figures = [
        ("FVU", f"{result['fvu']:.3g}"),
        ("R²", _r2(result["fvu"])),
        ("length", f"{result['length']} token{'s' * (result['length'] != 1)}"),
    ]
    figures.append(("rows", f"{len(fitted.y):,}".replace(",", "\u2009")))
    for key, name in (("chi2_per_dof", "χ² per degree of freedom"), ("fvu_val", "FVU on held-out rows")):
        if result.get(key) is not None:
            figures.append((name, f"{result[key]:.3g}"))
    if result["outliers"]:
        figures.append(("rows set aside", str(len(result["outliers"]))))
    numbers = "".join(f"<li><b>{name}</b>{text}</li>" for name, text in figures)
    verdict = f'<p class="verdict {GRADES.get(result["verdict"], "fair")}"><b>{_text(result["verdict"])}</b>: {_text(result["verdict_text"])}</p>'
    remarks = [remark["text"] for remark in result["remarks"]] + [f"note: {note}" for note in result["warnings"]]
    said = "".join(f"<li>{_text(text)}</li>" for text in remarks)
    forms = [
        ("Text", f"{fitted.target} = {result['expression']}"),
        ("Python", result["numpy"]),
        ("LaTeX", result["latex"]),
    ]
    copies = "".join(f'<p class="quiet">{name}</p>\n<pre>{_text(text)}</pre>\n' for name, text in forms)
    return (
        f'<h1>A law for {_text(fitted.target)}</h1>\n<p class="quiet">found in {_text(source)}</p>\n'
        f'<div class="card">{_terms(fitted, law.prefix, consts, None, left=True)}\n{verdict}\n<ul class="numbers">{numbers}</ul></div>\n'
        + (f'<ul class="remarks">{said}</ul>\n' if said else "")
        + f"<details><summary>The law with every digit, to copy</summary>\n{copies}</details>"
    )


def _r2(fvu: float) -> str:
    """1 - FVU with as many digits as tell it from 1."""
    return f"{1 - fvu:.4f}" if fvu > 1e-3 else f"1 − {number(fvu, 3)}" if fvu > 0 else "1"


def _figure(draw: plot_fit.Panel, name: str, label: str, caption: str, width: float = 4.3, height: float = 3.1) -> str:
    svg = svg_of(plot_fit.panel_figure(draw, width, height), name, _text(label))
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _section(title: str, figures: Sequence[str], before: str = "") -> str:
    return f'<h2>{title}</h2>\n{before}<div class="figures">\n' + "\n".join(figures) + "\n</div>" if figures else ""


def _rows_key(fitted: Fitted) -> str:
    counted = len(fitted.y) > plot_fit.SCATTER
    return f"{DATA_KEY} rows{', darker where there are more' if counted else ''}"


def _fit_section(fitted: Fitted) -> str:
    target = _text(fitted.target)
    bars = fitted.sigma is not None and len(fitted.y) <= plot_fit.BARS
    caption = f"{_rows_key(fitted)}{' with their stated errors as bars' if bars else ''}, {LAW_KEY} law"
    along = len(fitted.used) == 1 or not fitted.used
    if along and fitted.law.constants and fitted.band(fitted.X[:1]) is not None:
        caption += f", {BAND_KEY} its {plot_fit.PERCENT} band"
    if not fitted.weighted and fitted.noise > 0:
        caption += f", {PALE_KEY} where {plot_fit.PERCENT} of {'new rows are' if along else 'rows are'} expected"
    label = f"{fitted.target} and the law"
    front = _figure(
        partial(draw_front, fitted=fitted), "front", "front of length against FVU",
        "Laws by length and by what they leave unexplained; the diamond is the answer.")  # fmt: skip
    data = _figure(partial(plot_fit.draw_data, fitted=fitted), "data", label, f"{target}: {caption}.")
    return _section("Fit", [data, front])


def _slices(fitted: Fitted) -> str:
    if len(fitted.used) < 2:
        return ""
    columns = plot_fit.effects(fitted)[:MOST_PICTURES]
    limits = plot_fit.slice_limits(fitted, columns)
    figures = [
        _figure(
            partial(plot_fit.draw_slice, fitted=fitted, column=j, limits=limits), f"slice{j}",
            f"{fitted.target} along {fitted.names[j]}", f"along {_text(fitted.names[j])}",
        )
        for j in columns
    ]  # fmt: skip
    before = (
        f'<p class="quiet">The law along one column at a time, the others at their medians ({_text(plot_fit.column_values(fitted))}). '
        f"{DATA_KEY} Rows near each line, paler the farther they are from it; they lie off it as far as their other columns do. "
        "The column that moves the law most comes first.</p>\n"
    )
    return _section("Slices", figures, before)


def _residuals(fitted: Fitted) -> str:
    if not (fitted.residual != 0).any():
        return "<h2>Residuals</h2>\n<p>The law gives every row exactly; there are no residuals to draw.</p>"
    several = len(fitted.used) > 1
    ranked = plot_fit.effects(fitted)
    columns = [*ranked, *(j for j in range(fitted.X.shape[1]) if j not in ranked)][:MOST_PICTURES]
    figures = []
    if several or not fitted.used:
        where = f"the law's value of {_text(fitted.target)}" if fitted.used else "the row"
        figures.append(
            _figure(partial(plot_fit.draw_residuals, fitted=fitted), "residuals", "residuals", f"against {where}")
        )
    for j in columns:
        caption = f"against {_text(fitted.names[j])}{'' if j in fitted.used else ', which the law does not use'}"
        draw = partial(plot_fit.draw_residuals, fitted=fitted, column=j)
        figures.append(_figure(draw, f"residuals{j}", f"residuals against {fitted.names[j]}", caption))
    figures.append(
        _figure(
            partial(plot_fit.draw_quantiles, fitted=fitted), "quantiles", "normal quantile plot",
            f"in order, against normal quantiles: on the line {LAW_KEY} where the noise is Gaussian",
        )
    )  # fmt: skip
    before = f'<p class="quiet">{_rows_key(fitted)}; {PALE_KEY} where {plot_fit.PERCENT} lie under Gaussian noise. A law that says all leaves no shape here.</p>\n'
    return _section("Residuals", figures, before)


def _front(fitted: Fitted) -> str:
    rows = ['<span class="head">length</span><span class="head">FVU</span><span class="head">law</span>']
    for point in sorted(fitted.front, key=lambda p: p["length"]):
        mine = list(point["expr"]) == fitted.law.prefix
        law = _terms(fitted, list(point["expr"]), point["consts"], 6, left=False, small=True)
        mark = ' class="chosen"' if mine else ""
        rows.append(
            f"<span{mark}>{point['length']}{' ◆' if mine else ''}</span><span{mark}>{point['fvu']:.3g}</span>{law}"
        )
    return (
        '<h2>The front</h2>\n<p class="quiet">For each length the law that leaves least unexplained; ◆ is the answer.</p>\n'
        + (f'<div class="front">\n{chr(10).join(rows)}\n</div>')
    )


def _constants(fitted: Fitted, result: dict) -> str:
    if not result["constants"]:
        return ""
    form = _terms(fitted, fitted.law.prefix, None, None, left=True, small=True)
    rows = []
    for k, (value, error, name) in enumerate(zip(result["constants"], result["standard_errors"], result["recognised"])):
        digits = rounding.digits_for([value], [np.inf if error is None else error])[0]
        told = "undetermined" if error is None else "exact" if error == 0 else f"± {number(error, 2)}"
        note = f"taken for {_text(name)}" if name else "held at a round value" if error == 0 else ""
        place = mathml.wrapped(mathml.name_markup(f"c_{k + 1}"))
        rows.append(f"<tr><td>{place}</td><td>{_text(f'{value:.{digits}g}')}</td><td>{told}</td><td>{note}</td></tr>")
    return (
        f"<h2>Constants</h2>\n{form}\n<table><thead><tr><th>constant</th><th>value</th><th>standard error</th><th></th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _groups(result: dict) -> str:
    """The constants by group, a line for each group, where there are any."""
    said = result.get("groups")
    if not said or not said["constants"]:
        return ""
    heads = "".join(f"<th>{_text(one['name'])}</th>" for one in said["constants"])
    rows = []
    for level in said["laws"]:
        cells = ""
        for one in said["constants"]:
            value, error = one["values"][level], one["standard_errors"][level]
            digits = rounding.digits_for([value], [np.inf if error is None else error])[0]
            cells += f"<td>{_text(f'{value:.{digits}g}')}{'' if not error else f' ± {number(error, 2)}'}</td>"
        rows.append(f"<tr><td>{_text(level)}</td>{cells}</tr>")
    return (
        f"<h2>By {_text(said['column'])}</h2>\n<table><thead><tr><th>{_text(said['column'])}</th>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _found(fitted: Fitted, result: dict, source: str, settings: dict[str, Any], when: str) -> str:
    given = [f"{name} {value}" for name, value in settings.items() if value not in (None, False)]
    lines = [
        ("table", f"{source}: {len(fitted.y)} rows, columns for the law: {len(fitted.names)}, rows left out: {result['dropped_rows']}"),
        ("columns", ", ".join(shown(name, 60) for name in fitted.names[:40]) + (" ..." if len(fitted.names) > 40 else "")),
        ("found by", f"{result['source']}, one of {result['candidates']} candidates"),
        ("time", f"{result['seconds']:.3g} s of search after {result['loading_seconds']:.3g} s of loading"
                 + ("; interrupted" if result["status"] == "interrupted" else "")),
        ("seed", str(result["seed"])),
        ("settings", "; ".join(given)),
        ("versions", f"fansr {result['version']}, Python {platform.python_version()}, numpy {np.__version__}, {platform.system()} {platform.machine()}"),
        ("written", when),
    ]  # fmt: skip
    told = "\n".join(f"<dt>{name}</dt><dd>{_text(text)}</dd>" for name, text in lines if text)
    return f"<h2>How it was found</h2>\n<dl>\n{told}\n</dl>"
