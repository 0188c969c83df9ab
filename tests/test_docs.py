"""Every command has a help text with an example, and what the README shows is true."""

import re
import subprocess
import sys
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path

import click
import pytest

from fansr.cli.resources import path
from fansr.streams.parallel import available_cores

ROOT = Path(__file__).resolve().parent.parent
SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg")
SCRIPTS = dict(line.split(" = ") for line in SETUP["options.entry_points"]["console_scripts"].split("\n") if line)
del SCRIPTS["fansr"]  # the list of all others: tests/cli/test_fansr.py
BIN = Path(sys.executable).parent


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_has_an_example_and_launchers_exist(name):
    module = SCRIPTS[name].split(":")[0]
    command = next(v for v in vars(import_module(module)).values() if isinstance(v, click.Command))
    assert f"Example:\n  {name}" in command.epilog or re.search(rf"\b{name}\b", command.epilog)
    for option in command.params:
        assert option.param_type_name == "argument" or option.help, option.name
    assert (ROOT / "bin" / name).resolve() == ROOT / "bin" / "launch"


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_installed_command_answers(name):
    done = subprocess.run([BIN / name, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Example" in done.stdout and not done.stderr
    done = subprocess.run([BIN / name, "--version"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and re.search(r"\d+\.\d+\.\d+", done.stdout)


def test_the_readme_is_one_page_and_names_every_command():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    assert all(name in text for name in SCRIPTS)
    assert "    make demo" in text and "    make test" in text


PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data/README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_prose_names_exist(page):
    text = re.sub(r"^```diff\n.*?^```$", "", page.read_text(), flags=re.M | re.S)
    assert "@@" not in text
    for name in set(
        re.findall(r"(?<![\w./-])((?:data|configs|rules|tests|bin|bench|fansr|containers)/[\w./-]*\w)", text)
    ):
        assert (ROOT / name).exists() or re.search("[A-Z]{3}|shorter", name), name
    made = (
        "commands/",
        "gallery/",
        "json.md",
        "operators.md",
        "contributing.md",
        "changelog.md",
        "pictures/",
        "notebooks/",
    )
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "tools" in page.parts or "://" in link:
            continue
        target = (page.parent / link).resolve()
        inside = target.relative_to(ROOT / "docs").as_posix() if (ROOT / "docs") in target.parents else ""
        assert target.exists() or inside.startswith(made), link


def test_every_page_stands_in_the_navigation_of_the_site():
    """And what it names is written, or made by docs/tools/make_pages.py."""
    named = set(re.findall(r": ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M))
    written = {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")}
    made = {"gallery/index.md", "commands/index.md", "operators.md", "contributing.md", "changelog.md"}
    books = {f"notebooks/{book.stem}.md" for book in (ROOT / "docs/notebooks").glob("*.ipynb")}
    written = {page for page in written if not page.startswith("tools/")}
    assert named == written | made | books, "mkdocs.yml: nav has each page of docs/ once"


def test_the_first_example_prints_what_the_readme_shows():
    text = (ROOT / "README.md").read_text()
    shown = re.search(r"^    \$ fansr-fit data/planets\.csv.*\n((?:    .*\n|\n)+)", text, re.M).group(1)
    law = next(line.strip() for line in shown.splitlines() if " = " in line)
    out = subprocess.run(
        [BIN / "fansr-fit", path("data", "planets.csv"), "--samples", "0"], capture_output=True, text=True, timeout=120
    ).stdout
    assert out.splitlines()[0] == law


def test_the_page_of_keys_has_those_of_a_run():
    """And no other."""
    import numpy as np

    from fansr import SymbolicRegressor

    x = np.linspace(1, 2, 9)
    model = SymbolicRegressor(proposers=("power",)).fit(x[:, None], x**2 + 1)
    of_an_answer = (ROOT / "docs/json.md").read_text().split("## A table without an answer")[0]
    rows = re.findall(r"^\| (`.+?) \|", of_an_answer, re.M)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == set(model.result_)


def test_cores():
    assert available_cores() >= 1


def test_make_lists_its_targets_and_prose_names_no_other():
    shown = subprocess.run(
        ["make", "-C", ROOT, "--no-print-directory"], capture_output=True, text=True, check=True
    ).stdout
    listed = {line.split()[0] for line in shown.splitlines()}
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z%-]+):", makefile, re.M))
    assert listed == {name.replace("%", "PACKAGE") for name in targets}
    assert all(len(line.split()) > 2 for line in shown.splitlines())
    for file in [*PROSE, ROOT / "CHANGELOG.md"]:
        for name in re.findall(r"`make ([\w-]+)`|^(?:    )?make ([\w-]+)", file.read_text(), re.M):
            name = "".join(name)
            package = name.removeprefix("test-")
            assert name in listed or package == "PACKAGE" or (ROOT / "tests" / package).is_dir(), f"{file}: make {name}"


@pytest.mark.parametrize("path", sorted((ROOT / "bench").glob("[!_]*.py")), ids=lambda path: path.stem)
def test_a_program_that_measures_runs_as_a_module_and_has_a_launcher(path):
    assert re.search(r'^if __name__ == "__main__":\n(?:    .*\n)*    main\(', path.read_text(), re.M)
    assert (ROOT / "bin" / f"bench-{path.stem.replace('_', '-')}").resolve() == ROOT / "bin" / "launch"
