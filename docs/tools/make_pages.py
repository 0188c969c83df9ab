"""The pages of the site that are made and not written: out/docs/ from the commands, the tables of the code, runs and notebooks.

    python docs/tools/make_pages.py out/docs

What a page says of a command, a key or an operator comes from the program itself, and every answer and picture from a run.
"""

from __future__ import annotations

import configparser
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).resolve().parent
ROOT = TOOLS.parents[1]
sys.path[:0] = [str(ROOT), str(TOOLS)]

HELP_COLUMNS = "92"  # what fits a page beside its contents


def scripts() -> list[str]:
    """Names of the installed commands, in the order of setup.cfg."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"]["console_scripts"].split("\n")
    return [line.split(" = ")[0] for line in lines if line]


def help_of(name: str) -> str:
    """What `name --help` prints."""
    environment = {**os.environ, "COLUMNS": HELP_COLUMNS, "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "bin" / name), "--help"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.rstrip()


def commands(folder: Path) -> None:
    """One page a command, of its help."""
    rows = []
    for name in scripts():
        text = help_of(name)
        (folder / f"{name}.md").write_text(f"# {name}\n\n```text\n{text}\n```\n")
        what = re.search(r"^Usage:.*(?:\n {2,}.*)*\n\n((?:  .+\n)+)", text, re.M)
        if name == "fansr":
            words = "Lists the commands and runs them."
        else:
            words = " ".join(what.group(1).split()) if what else ""
        rows.append(f"| [`{name}`]({name}.md) | {html.escape(words)} |")
    (folder / "index.md").write_text(
        "# Commands\n\nEach page is what `--help` prints. `fansr fit ...` is `fansr-fit ...`. Options mean the same in "
        "every command: `-o` output, `-j` worker processes, `-n` number, `-q` quiet, `--seed`, `--config FILE.toml` (a flag wins "
        "over the file; an unknown key is an error).\n\n| command | what it does |\n|---|---|\n"
        + "\n".join(rows)
        + "\n\n"
        "Exit status: 0 done; 1 the data are wrong (one line says where and what mends it); 2 the call is wrong; 3 no answer; "
        "130 interrupted, with what was finished written.\n"
    )


def operators(folder: Path) -> None:
    """The table of operators, from the one table in the code."""
    from fansr.expressions.tokens import OPERATORS

    rows = []
    for row in OPERATORS:
        infix = row.infix.format(a="a", b="b")
        numpy = row.numpy.format(a="a", b="b")
        derivative = ", ".join(d.format(a="a", b="b", v="v") for d in row.derivative)
        cells = (f"`{cell}`".replace("|", "\\|") for cell in (row.token, infix, numpy, derivative))
        rows.append(
            f"| {' | '.join(cells)} | ${row.latex.format(a='a', b='b')}$ | {row.weight:g} |".replace(
                "\\left|", "\\lvert "
            ).replace("\\right|", "\\rvert ")
        )
    text = (TOOLS / "operators.md").read_text()
    head = "| token | written | over numpy | derivatives (v: the value) | | weight in the prior |\n|---|---|---|---|---|---|\n"
    (folder / "operators.md").write_text(text.replace("TABLE", head + "\n".join(rows)))


def keys(folder: Path) -> None:
    """The keys of --json, from the schema."""
    schema = json.loads(schema_file().read_text())
    text = (TOOLS / "json.md").read_text()
    (folder / "json.md").write_text(text.replace("TABLE", table_of(schema)))


def schema_file() -> Path:
    (found,) = sorted((ROOT / "fansr").rglob("*schema*.json"))
    return found


def table_of(schema: dict) -> str:
    """Markdown rows of a JSON Schema's properties, nested ones after their parents."""
    definitions = {**schema.get("$defs", {}), **schema.get("definitions", {})}

    def resolved(part: dict) -> dict:
        return definitions[part["$ref"].rpartition("/")[2]] if "$ref" in part else part

    def kind(part: dict) -> str:
        part = resolved(part)
        if "enum" in part:
            return "one of " + ", ".join(f"`{json.dumps(value)}`" for value in part["enum"])
        if "const" in part:
            return f"`{json.dumps(part['const'])}`"
        for word in ("anyOf", "oneOf"):
            if word in part:
                return " or ".join(kind(option) for option in part[word])
        names = part.get("type", "any")
        names = names if isinstance(names, list) else [names]
        if "array" in names and "items" in part:
            names = [f"array of {kind(part['items'])}" if name == "array" else name for name in names]
        return " or ".join(names)

    rows = ["| key | type | what |", "|---|---|---|"]

    def walk(part: dict, prefix: str) -> None:
        part = resolved(part)
        for name, inner in part.get("properties", {}).items():
            what = inner.get("description", resolved(inner).get("description", ""))
            rows.append(f"| `{prefix}{name}` | {kind(inner)} | {what} |".replace("\n", " "))
            walk(inner, f"{prefix}{name}.")
        if "items" in part:
            walk(part["items"], prefix.removesuffix(".") + "[].")

    walk(schema, "")
    return "\n".join(rows)


def root_files(folder: Path) -> None:
    """CONTRIBUTING.md and CHANGELOG.md as pages."""
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        (folder / name.lower()).write_text((ROOT / name).read_text())


def notebooks(folder: Path) -> None:
    """Each notebook run from its first cell to its last, as a page with what it showed."""
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import MarkdownExporter

    for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        book = nbformat.read(path, as_version=4)
        NotebookClient(book, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
        exporter = MarkdownExporter()
        text, parts = exporter.from_notebook_node(
            book, resources={"output_files_dir": f"{path.stem}_files", "unique_key": path.stem}
        )
        note = f"*Made by running [{path.name}]({path.name}).*\n"
        (folder / f"{path.stem}.md").write_text(re.sub(r"\A(\s*# .*\n)", rf"\1\n{note}", text))
        for name, data in parts["outputs"].items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(data)


def main(out: Path) -> None:
    """All of them, into an empty folder."""
    import figures
    import gallery

    shutil.rmtree(out, ignore_errors=True)
    for name in ("commands", "gallery", "pictures", "notebooks"):
        (out / name).mkdir(parents=True)
    commands(out / "commands")
    operators(out)
    keys(out)
    root_files(out)
    figures.write(out / "pictures")
    gallery.write(out / "gallery")
    notebooks(out / "notebooks")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
