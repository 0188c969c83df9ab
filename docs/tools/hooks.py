"""What MkDocs is told besides mkdocs.yml: pages that make_pages.py made (out/docs/), and formulas as MathML."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]

import mathml  # noqa: E402
from mkdocs.exceptions import Abort  # noqa: E402
from mkdocs.structure.files import File  # noqa: E402

MADE = Path(__file__).resolve().parents[2] / "out/docs"


def on_files(files, config):
    """Adds everything below out/docs/ as if it lay in docs/."""
    made = sorted(path for path in MADE.rglob("*") if path.is_file())
    if not made:
        raise Abort(f"no pages in {MADE}: run `make docs`, which makes them first")
    for path in made:
        name = path.relative_to(MADE).as_posix()
        if files.get_file_from_path(name) is not None:
            raise Abort(f"{name} is both in docs/ and in {MADE}")
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, page, config, files):
    """`<!-- help: fansr-fit -->` becomes what that command's --help prints, `<!-- doc: package.Name -->` that docstring."""

    def help_shown(match: re.Match) -> str:
        return (MADE / f"commands/{match[1]}.md").read_text().partition("\n")[2].strip()

    def doc_shown(match: re.Match) -> str:
        module, _, name = match[1].rpartition(".")
        text = inspect.getdoc(getattr(importlib.import_module(module), name))
        return f"```text\n{text}\n```"

    markdown = re.sub(r"^<!-- help: ([\w-]+) -->$", help_shown, markdown, flags=re.M)
    return re.sub(r"^<!-- doc: ([\w.]+) -->$", doc_shown, markdown, flags=re.M)


def on_page_content(html, page, config, files):
    """Formulas drawn."""
    return mathml.rendered(html)
