"""The site: its pages are made, its links hold, its formulas are drawn, and nothing in it is loaded from elsewhere."""

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from test_gallery import tool

ROOT = Path(__file__).resolve().parents[2]


def test_a_formula_becomes_mathml():
    pytest.importorskip("latex2mathml")
    mathml = tool("mathml")
    page = r'<p>so <span class="arithmatex">\(x_1 &lt; 2\)</span></p><div class="arithmatex">\[\frac{a}{b}\]</div>'
    shown = mathml.rendered(page)
    assert shown.count("<math ") == 2 and "<mfrac>" in shown and "<mo>&#x0003C;</mo>" in shown
    assert "arithmatex" not in shown
    assert 'display="block"' in shown and 'display="inline"' in shown


def test_every_command_gets_a_page():
    made = tool("make_pages")
    assert "fansr-fit" in made.scripts()
    assert made.help_of("fansr-cat").startswith("Usage: fansr-cat")


class Loads(HTMLParser):
    """What a page makes a browser fetch by itself."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.found.append(given.get("src") or "")
        if tag == "link" and given.get("rel") not in ("canonical", "prev", "next"):
            self.found.append(given.get("href") or "")


@pytest.fixture(scope="module")
def site():
    pytest.importorskip("material", reason="make docs-test installs what the site needs")
    done = subprocess.run(
        ["make", "-o", ".venv/ready", "-o", ".venv/docs-ready", "docs"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return ROOT / "out/site"


@pytest.mark.docs
def test_the_site_loads_nothing_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        parser = Loads()
        parser.feed(page.read_text())
        away = [name for name in parser.found if re.match(r"(https?:)?//", name)]
        assert not away, f"{page.name} loads {away}"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import\s+)['\"]?(https?:)?//", sheet.read_text()), sheet


@pytest.mark.docs
def test_every_formula_of_the_site_is_drawn(site):
    page = (site / "ideas/constants.html").read_text()
    assert page.count("<math ") > 8
    for path in site.rglob("*.html"):
        text = re.sub(r"<(pre|code).*?</\1>", "", path.read_text(), flags=re.S)
        assert "arithmatex" not in text and "\\frac" not in text and "$$" not in text, path.name


@pytest.mark.docs
def test_notebooks_were_run_on_the_way(site):
    for path in (ROOT / "docs/notebooks").glob("*.ipynb"):
        book = json.loads(path.read_text())
        assert not any(cell.get("outputs") for cell in book["cells"]), (
            f"{path.name}: clear its outputs, they are made anew"
        )
        assert (site / "notebooks" / f"{path.stem}.html").exists()
    assert "AssertionError" not in (site / "notebooks/first_law.html").read_text()
