"""The report: one page that is whole by itself, escaped, well-formed, and readable at every width."""

import html
import re
import shlex
import shutil
import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib")

from test_pictures import CASES, fitted  # noqa: E402

from fansr import fit as fit_module  # noqa: E402
from fansr.evaluation import plot_fit, report_page, report_style  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
XHTML, MATH, SVG = (
    "{http://www.w3.org/1999/xhtml}",
    "{http://www.w3.org/1998/Math/MathML}",
    "{http://www.w3.org/2000/svg}",
)
HOSTILE = ["<b>bold</b>", "</svg><script>alert(1)</script>", "a\"b'c&d", "\x00\x1b]0;x\x07", "]]>", "-->", "$(rm)"]


def numbers(fit, **more):
    """What --json would say of a fit."""
    C = len(fit.law.constants)
    return {
        "expression": fit.text(), "numpy": "np.exp(x)", "latex": r"e^{x}", "constants": fit.law.constants,
        "standard_errors": [0.01] * C, "recognised": [""] * C, "fvu": 0.01, "r2": 0.99, "length": fit.law.length,
        "verdict": "noise", "verdict_text": "down to a noise of 1 < 2", "remarks": [{"code": "x", "text": "a <remark>"}],
        "warnings": ["column <i> left out"], "outliers": [], "chi2_per_dof": None, "fvu_val": None, "source": "power",
        "candidates": 7, "seconds": 1.0, "loading_seconds": 0.5, "dropped_rows": 0, "status": "ok", "seed": 0, "version": "1",
        **more,
    }  # fmt: skip


def page_of(fit, repeat="fansr-fit x.csv", **more):
    return report_page.page(
        fit, numbers(fit, **more), fit.law.constants, "a & b.csv", repeat, {"samples": 3}, "2026-01-01"
    )


def check_page(text):
    """The root of a page that is XML, refers to nothing outside and has no script and no id twice."""
    root = ET.fromstring(text)
    tags = {element.tag for element in root.iter()}
    assert (
        not tags & {f"{XHTML}{name}" for name in ("script", "link", "img", "iframe", "object")}
        and f"{MATH}math" in tags
    )
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not name.lower().startswith("on")
            assert not value.startswith(("http:", "https:", "//", "data:text")), (element.tag, name, value)
            if name.endswith("href"):
                assert value.startswith("#") or value.startswith("data:image/png")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    used = set(re.findall(r"url\(#([^)]*)\)", text)) | set(re.findall(r'href="#([^"]*)"', text))
    assert used <= set(ids)
    assert not re.search(r"url\((?!#)", text) and "@import" not in text
    return root


@pytest.mark.parametrize("case", ["one column", "six columns", "no column", "exact", "stated errors", "long law", "long names",
                                  "awkward names", "undetermined", "a column of one value", "huge numbers"])  # fmt: skip
def test_a_page_is_whole_and_well_formed(case, monkeypatch):
    if case in ("six columns", "long law", "long names"):  # the pictures are looked at elsewhere
        monkeypatch.setattr(report_page, "MOST_PICTURES", 2)
    fit = fitted(**CASES[case])
    root = check_page(page_of(fit))
    assert len(root.findall(f".//{SVG}svg")) == len(root.findall(f".//{XHTML}figure")) >= 2
    assert ("no law uses" in case) or root.find(
        f".//{XHTML}h1"
    ).text == f"A law for {html.unescape(report_page._text(fit.target))}"


@pytest.mark.parametrize("name", HOSTILE)
def test_text_from_a_table_is_text(name):
    fit = fitted(law="C*x1*x2", D=2, noise=0.05, names=[name, f"{name} 2"], target=name)
    root = check_page(page_of(fit, shlex.join(["fansr-fit", name]), verdict_text=name, warnings=[name], source=name))
    said = "".join(root.itertext())
    assert (name in said) == (not any(ord(ch) < 32 for ch in name))
    assert not root.findall(f".//{XHTML}pre/*") and not root.findall(f".//{MATH}mi/*")


def test_the_command_is_quoted_so_that_a_shell_reads_it_back():
    argv = ["my data/it's.csv", "--target", "a b", "--sigma", "$x", "--report", "out.html"]
    line = report_page.command_line({"cmd": "fansr-fit", "argv": argv})
    assert shlex.split(line) == ["fansr-fit", *argv]
    done = subprocess.run(
        ["sh", "-c", f"printf '%s\\n' {line.partition(' ')[2]}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == argv
    assert html.escape(line) in page_of(fitted(law="C*x1", noise=0.05), line)


def test_pictures_take_the_colours_of_the_page():
    svg = report_style.svg_of(
        plot_fit.panel_figure(lambda axis: plot_fit.draw_data(axis, fitted(law="C*x1", noise=0.1))), "p", "x"
    )
    for colour in report_style.VARIABLES:
        assert colour.lower() not in svg.lower()
    assert {f"var(--{name})" for name in ("ink", "muted", "grid", "data", "law")} <= set(
        re.findall(r"var\(--\w+\)", svg)
    )
    assert "<text" in svg and "DejaVu" not in svg
    for name in set(re.findall(r"var\(--(\w+)\)", svg + report_style.STYLE_SHEET)) - {"ems", "big"}:
        assert report_style.STYLE_SHEET.count(f"--{name}:") == (1 if name in ("sans", "mono") else 2), name


def test_constants_stand_with_their_errors_and_the_front_with_its_laws():
    fit = fitted(law="C*x1**2 + C", noise=0.05)
    root = check_page(
        page_of(fit, constants=[2.0, 3.25, 4.0], standard_errors=[0.0, 0.01, None], recognised=["", "c", ""])
    )
    cells = [["".join(cell.itertext()) for cell in row] for row in root.iter(f"{XHTML}tr")][1:]
    assert [row[1:] for row in cells] == [
        ["2", "exact", "held at a round value"],
        ["3.25", "± 0.01", "taken for c"],
        ["4", "undetermined", ""],
    ]
    front = next(div for div in root.iter(f"{XHTML}div") if div.get("class") == "front")
    assert len(front.findall(f"{XHTML}div")) == len(fit.front) and "6 ◆" in "".join(front.itertext())


def table(tmp_path, name="t.csv", header="x,y"):
    x = np.linspace(1, 4, 12)
    path = tmp_path / name
    path.write_text(
        header + "\n" + "\n".join(f"{v!r},{2 * v**1.5 + 0.01 * float(np.sin(99 * v))!r}" for v in x.tolist()) + "\n"
    )
    return str(path)


def run(*words):
    done = CliRunner().invoke(fit_module.main, [*words, "--proposers", "power", "--time", "0", "-q"])
    return done.exit_code, done.stderr


def test_the_command_writes_a_page(tmp_path):
    out = tmp_path / "out.html"
    assert run(table(tmp_path, header="<b>,</main>"), "--report", str(out)) == (0, "")
    root = check_page(out.read_text())
    assert "".join(root.find(f".//{XHTML}h1").itertext()) == "A law for </main>" and "<b>" in "".join(root.itertext())
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    "path, status, said",
    [("x.pdf", 2, ".html"), ("nowhere/x.html", 2, "no folder"), ("folder.html", 2, "is a folder")],
)
def test_a_page_that_cannot_be_written_is_said_before_the_search(tmp_path, monkeypatch, path, status, said):
    from fansr.search import outliers

    (tmp_path / "folder.html").mkdir()
    monkeypatch.setattr(outliers, "find", lambda *a, **k: pytest.fail("searched"))
    monkeypatch.chdir(tmp_path)
    code, err = run(table(tmp_path), "--report", path)
    assert code == status and said in err and len(err.strip().splitlines()) <= 3


# ---- in a browser -----------------------------------------------------------------------------


MEASURE = """<script>
const small = e => { const r = e.getBoundingClientRect(); return !(r.width >= 1 && r.height >= 1) };
const flat = [...document.querySelectorAll("svg, math")].filter(small).length;
parent.document.title = document.documentElement.scrollWidth + " " + flat;
</script></body>"""


def laid_out(tmp_path, page, width):
    """(width that the page takes, pictures and formulas of no extent) in a frame of `width` pixels."""
    frame = html.escape(page.replace("</body>", MEASURE))
    outer = tmp_path / f"frame{width}.html"
    outer.write_text(
        f'<!DOCTYPE html><body><iframe style="width:{width}px;height:900px;border:0" srcdoc="{frame}"></iframe>'
    )
    done = subprocess.run(
        [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--virtual-time-budget=4000", "--dump-dom", f"file://{outer}"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    title = re.search(r"<title>(\d+) (\d+)</title>", done.stdout)
    assert title, done.stderr[-500:]
    return int(title[1]), int(title[2])


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_shows_it_without_scrolling_sideways(tmp_path, monkeypatch):
    monkeypatch.setattr(report_page, "MOST_PICTURES", 1)
    fit = fitted(**CASES["long names"])
    long = fitted(**CASES["long law"])
    fit.front = [
        *fit.front,
        *({**point, "expr": long.law.prefix, "consts": long.law.constants} for point in long.front[-1:]),
    ]
    page = page_of(fit, "fansr-fit " + "x" * 400)
    for width in (320, 360, 1200):
        assert laid_out(tmp_path, page, width) == (width, 0)
