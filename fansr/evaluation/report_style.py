"""How a report looks: its style sheet, and pictures as SVG inside the page, in the page's colours and letters.

Colours are variables of the style sheet, so that one picture serves light, dark and paper.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from fansr.evaluation.plot_style import CHOSEN, DATA, GRID, INK, LAW, MUTED, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", DATA: "data", LAW: "law", CHOSEN: "chosen"}
_LIGHT = {"ink": INK, "muted": MUTED, "grid": GRID, "data": DATA, "law": LAW, "chosen": CHOSEN} | {
    "page": "#ffffff", "card": "#f6f7f9", "edge": "#dfe2e6", "good": "#00684a", "fair": "#7a5200", "bad": "#a32a00",
}  # fmt: skip
_DARK = {
    "ink": "#e8e8e6", "muted": "#a3a6ab", "grid": "#3a3e44", "data": "#6cc0f2", "law": "#ff9f5a", "chosen": "#3fd0a4",
    "page": "#16181b", "card": "#1f2226", "edge": "#363a40", "good": "#5cd6b0", "fair": "#f0c060", "bad": "#ff9a7a",
}  # fmt: skip


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


STYLE_SHEET = (
    f":root{{color-scheme:light dark;{_variables(_LIGHT)}"
    '--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;'
    "--mono:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}\n"
    f"@media screen and (prefers-color-scheme:dark){{:root{{{_variables(_DARK)}}}}}\n"
    + """*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.5 var(--sans)}
main{max-width:68rem;margin:0 auto;padding:1.5rem clamp(.9rem,3vw,2rem) 3rem}
h1{font-size:1.05rem;font-weight:600;margin:0;overflow-wrap:anywhere}
h2{font-size:1.15rem;font-weight:600;margin:2.4rem 0 .6rem}
p{margin:.5rem 0;max-width:46rem;overflow-wrap:anywhere}
.quiet{color:var(--muted);font-size:.88rem}
.card{background:var(--card);border:1px solid var(--edge);border-radius:.6rem;padding:1rem 1.2rem;margin:1rem 0}
.terms{container-type:inline-size;overflow-x:auto;overflow-y:hidden;padding:.35rem 0}
.terms>div{--big:1.55rem;font-size:clamp(.6rem,calc(98cqi / var(--ems)),var(--big));line-height:2.1}
.small>div{--big:1.05rem;line-height:1.8}
.numbers{display:flex;flex-wrap:wrap;gap:.4rem 1.8rem;margin:.6rem 0 0;padding:0;list-style:none}
.numbers b{display:block;font-size:.78rem;font-weight:500;color:var(--muted)}
.verdict b{font-weight:650}
.good b{color:var(--good)}.fair b{color:var(--fair)}.bad b{color:var(--bad)}
ul.remarks{margin:.4rem 0;padding-left:1.2rem}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,21rem),1fr));gap:1.2rem}
figure{margin:0;min-width:0;break-inside:avoid}
figure svg{display:block;width:100%;height:auto;max-width:36rem}
figcaption{font-size:.85rem;color:var(--muted);margin-top:.2rem;overflow-wrap:anywhere}
.key{display:inline-block;width:.9em;height:.62em;border-radius:.15em;margin:0 .15em}
.front{display:grid;grid-template-columns:max-content max-content minmax(0,1fr);gap:.15rem 1.2rem;align-items:center}
.front>.head{font-size:.8rem;color:var(--muted)}
.front .chosen{color:var(--chosen);font-weight:600}
.front>span{font-variant-numeric:tabular-nums}
table{border-collapse:collapse;max-width:100%}
th,td{text-align:left;padding:.25rem 1.1rem .25rem 0;font-weight:400;vertical-align:baseline;overflow-wrap:anywhere}
th{font-size:.8rem;color:var(--muted)}
td{font-variant-numeric:tabular-nums}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.2rem 1.2rem;margin:.4rem 0}
dt{color:var(--muted)}dd{margin:0;overflow-wrap:anywhere}
pre,code{font-family:var(--mono);font-size:.86rem}
pre{background:var(--card);border:1px solid var(--edge);border-radius:.4rem;padding:.7rem .9rem;margin:.4rem 0;white-space:pre-wrap;overflow-wrap:anywhere}
details summary{cursor:pointer;color:var(--muted);font-size:.9rem;margin-top:.6rem}
@media (max-width:34rem){dl{grid-template-columns:minmax(0,1fr);gap:0}dd{margin-bottom:.4rem}
.front{grid-template-columns:max-content minmax(0,1fr)}.front>.terms,.front>.head:nth-child(3){grid-column:1/-1}
.front>.head:nth-child(3){display:none}.card{padding:.8rem}}
@media print{body{font-size:10.5pt}main{max-width:none;padding:0}.card,pre{background:none}
.figures{grid-template-columns:1fr 1fr}details:not([open])>*{display:none}h2{break-after:avoid}}
"""
)


def svg_of(canvas: Figure, name: str, label: str) -> str:
    """A figure as an <svg> element: no size of its own, the page's colours, text as text, ids that begin with `name`.

    label: what a reader who cannot see it is told; it must be escaped already.
    """
    buffer = io.StringIO()
    with styled(**{"svg.fonttype": "none"}):
        canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->\s*", "", text, flags=re.DOTALL)
    head, _, rest = text.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    assert box, "matplotlib's SVG has a viewBox"
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} role="img" '
        f'aria-label="{label}"'
    )
    rest = re.sub(r'\bid="', f'id="{name}-', rest)
    rest = re.sub(r'(href="|url\()#', rf"\g<1>#{name}-", rest)
    for colour, variable in VARIABLES.items():
        rest = re.sub(rf"([:\s]){colour}\b", rf"\g<1>var(--{variable})", rest, flags=re.IGNORECASE)
    rest = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", rest)
    return f"{head}>{rest}".strip()
