"""The pages of the site that are made and not written: out/docs/ from the commands, the tables of the code, from runs and notebooks.

    python docs/tools/make_pages.py out/docs

What a page says of a command, a key or an operator comes from the program itself, and every answer and picture from a run.
"""

from __future__ import annotations

import configparser
import html
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
    program, *words = name.split()
    command = [sys.executable, str(ROOT / "bin" / program), *words, "--help"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.rstrip()


def commands(folder: Path) -> None:
    """One page a command, of its help; those that `fansr` alone has, too."""
    from fansr.cli.fansr import OWN

    rows = []
    for name in [*scripts(), *(f"fansr {name}" for name in OWN)]:
        text = help_of(name)
        page = name.replace(" ", "-")
        (folder / f"{page}.md").write_text(f"# {name}\n\n```text\n{text}\n```\n")
        what = re.search(r"^Usage:.*(?:\n {2,}.*)*\n\n((?:  .+\n)+)", text, re.M)
        if name == "fansr":
            words = "Lists the commands and runs them."
        else:
            words = " ".join(what.group(1).split()) if what else ""
        rows.append(f"| [`{name}`]({page}.md) | {html.escape(words)} |")
    (folder / "index.md").write_text(
        "# Commands\n\nEach page is what `--help` prints. `fansr fit ...` is `fansr-fit ...`. Options mean the same in "
        "every command: `-o` output, `-j` worker processes, `-n` number, `-q` quiet, `--seed`, `--config FILE.toml` (a flag wins "
        "over the file; an unknown key is an error). Manual pages and completion for your shell come from the same texts "
        "([how](../install.md#completion-and-manual-pages)).\n\n| command | what it does |\n|---|---|\n"
        + "\n".join(rows)
        + "\n\n"
        "Exit status: 0 done; 1 the data are wrong (one line says where and what mends it); 2 the call is wrong; 3 no answer; "
        "130 interrupted, with what was finished written.\n"
    )


def operators(folder: Path) -> None:
    """The tables of operators, from the tables in the code."""
    from fansr.expressions.tokens import MORE_OPERATORS, OPERATORS

    def table(operators) -> str:
        rows = ["| token | written | over numpy | derivatives (v: the value) | |", "|---|---|---|---|---|"]
        for row in operators:
            infix, numpy = row.infix.format(a="a", b="b"), row.numpy.format(a="a", b="b")
            derivative = ", ".join(d.format(a="a", b="b", v="v") for d in row.derivative)
            cells = " | ".join(f"`{cell}`" for cell in (row.token, infix, numpy, derivative))
            latex = row.latex.format(a="a", b="b").replace("\\left|", "\\lvert ").replace("\\right|", "\\rvert ")
            rows.append(f"| {cells} | ${latex.strip()}$ |")
        return "\n".join(rows)

    text = (TOOLS / "operators.md").read_text()
    (folder / "operators.md").write_text(
        text.replace("TABLE 5", table(OPERATORS)).replace("MORE", table(MORE_OPERATORS))
    )


def root_files(folder: Path) -> None:
    """CONTRIBUTING.md and CHANGELOG.md as pages."""
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        (folder / name.lower()).write_text((ROOT / name).read_text())


def notebooks(folder: Path) -> None:
    """Each notebook run from its first cell to its last, as a page with what it showed."""
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import MarkdownExporter
    from traitlets.config import Config

    sockets = Config(KernelManager={"transport": "ipc"})  # files of this machine's user, no ports
    for path in sorted((ROOT / "docs/notebooks").glob("*.ipynb")):
        book = nbformat.read(path, as_version=4)
        os.environ |= {
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore:IProgress",
        }  # a kernel without progress widgets
        here = {"metadata": {"path": str(ROOT)}}
        NotebookClient(book, timeout=600, coalesce_streams=True, resources=here, config=sockets).execute()
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
    root_files(out)
    figures.write(out / "pictures")
    gallery.write(out / "gallery")
    notebooks(out / "notebooks")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
