"""Formulas of the pages as MathML, which browsers draw by themselves: no script, no font from elsewhere.

pymdownx.arithmatex leaves each formula in an element of class `arithmatex`, between \\( \\) or \\[ \\]; latex2mathml makes
its tree.  A formula that it cannot read ends the build.
"""

from __future__ import annotations

import html
import re

FORMULA = re.compile(r'<(span|div) class="arithmatex">\s*(?:\\\((.*?)\\\)|\\\[(.*?)\\\])\s*</\1>', re.S)


def rendered(page: str) -> str:
    """HTML with every formula replaced by MathML."""
    from latex2mathml.converter import convert

    def one(match: re.Match) -> str:
        tag, inline, block = match.groups()
        source = html.unescape(inline if inline is not None else block).strip()
        return f'<{tag} class="formula">{convert(source, display="inline" if inline is not None else "block")}</{tag}>'

    return FORMULA.sub(one, page)
