"""Every shell block and Python block of README.md and docs/ runs, page by page, in a folder that looks like a checkout.

Blocks marked ```sh and ```python are run, the blocks of a page in their order and in one folder, Python ones in one namespace.
What would take minutes is made shorter (SHORTER, for `make test` QUICKER too); what a test cannot do (install, submit to a cluster) meets a stand-in that
checks that the files and targets it was given exist.  README and tutorial are part of `make test`, and all pages whole of
`make docs-test`.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
QUICK = ("README.md", "docs/tutorial.md")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if not {"tools", "benchmarks"} & set(page.relative_to(ROOT).parts)]
BLOCK = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.M | re.S)
SHORTER = (
    (r"python -m fansr\.warm", "true"),
    (r"-n 1\d{3,}\b", "-n 400"),
    (r"--minutes \d+", "--minutes 0.05"),
    (r"--steps \d+", "--steps 3"),
    (r"--time \d+", "--time 0.3"),
    (r"\btime=\d+", "time=0.3"),
    (r"data/fastsrb\.json --points \d+", "few.txt --points 64"),
    (r"--by difficulty", "--by source"),
)
# For `make test`: only the commonest laws are looked for, and the network is counted, not trained.
QUICKER = ((r"(fansr-fit \S+\.csv)(?![^\n|]*--time)", r"\1 --time 0.1"), (r"--minutes \S+", "--dry-run"))
# Run in place of the real one, with the words it was given: files and targets they name must exist.
STAND_IN = """#!{python}
import pathlib, re, subprocess, sys
name = pathlib.Path(sys.argv[0]).name
if name == "make":
    sys.exit(subprocess.run([{make!r}, "-n", "-C", {root!r}, *sys.argv[1:]], stdout=subprocess.DEVNULL).returncode)
for word in re.findall(r"(?:^|[\\s=,])((?:bin|configs|data|rules)/[\\w./-]+)", " ".join(sys.argv[1:])):
    if not pathlib.Path({root!r}, word).exists():
        sys.exit(name + ": no " + word)
"""
MAKE = shutil.which("make")  # the real one: by its name alone the stand-in would call itself for ever
STOOD_IN = ("pip", "sbatch", "torchrun", "docker", "apptainer", "make", "git", "srun")


def blocks(page: Path) -> list[tuple[str, str]]:
    """(language, text) of each block that is run."""
    return [(language, text) for language, text in BLOCK.findall(page.read_text()) if language in ("sh", "python")]


def workplace(folder: Path) -> dict[str, str]:
    """A folder with what a checkout holds, and the environment of its shell."""
    for name in ("data", "configs", "rules", "bin", "docs"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "few.txt").write_text("a*b ; a 1 5, b 1 5\n2*a**3 ; a 1 5\n")
    tools = folder / ".tools"
    tools.mkdir()
    for name in STOOD_IN:
        (tools / name).write_text(STAND_IN.format(python=sys.executable, root=str(ROOT), make=MAKE))
        (tools / name).chmod(0o755)
    path = f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg", "COLUMNS": "100"}


def script(page: Path, changes) -> tuple[str, str]:
    """The page's shell blocks as one program and its Python blocks as another, made shorter."""
    parts = {"sh": [], "python": []}
    for language, text in blocks(page):
        for pattern, instead in changes:
            text = re.sub(pattern, instead, text)
        parts[language].append(text)
    return "\n".join(parts["sh"]), "\n".join(parts["python"])


def run(page: Path, folder: Path, changes=SHORTER) -> str:
    """What the page's blocks print; each has to end well."""
    environment = workplace(folder)
    shell, python = script(page, changes)
    said = ""
    for command in (["bash", "-euo", "pipefail", "-c", shell], [sys.executable, "-c", python]):
        if not command[-1]:
            continue
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{page.name}:\n{command[-1]}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        said += done.stdout
    return said


def parameters() -> list:
    found = []
    for page in PAGES:
        name = page.relative_to(ROOT).as_posix()
        if blocks(page):
            found.append(pytest.param(page, SHORTER, id=name, marks=pytest.mark.docs))
        if name in QUICK:
            found.append(pytest.param(page, SHORTER + QUICKER, id=f"{name}-quickly"))
    return found


@pytest.mark.parametrize("page, changes", parameters())
def test_the_blocks_of_a_page_run_and_laws_it_shows_are_found(page, changes, tmp_path):
    said = run(page, tmp_path, changes).splitlines()
    for language, text in BLOCK.findall(page.read_text()):
        law = text.split("\n")[0]
        if language == "text" and " = " in law:
            assert law in said


def test_no_block_hides_from_the_tests():
    """A block of commands or of Python is marked as one that runs."""
    for page in PAGES:
        for language, text in BLOCK.findall(page.read_text()):
            assert language in ("sh", "python", "text", "json", "toml", "diff"), (
                f"{page.name}: a block of kind {language!r}"
            )
            if language == "text":
                assert not re.search(r"^(fansr[ -]|import |from \w+ import)", text, re.M), f"{page.name}:\n{text}"


ALL_PAGES = [ROOT / "README.md", *(page for page in (ROOT / "docs").rglob("*.md") if "tools" not in page.parts)]


def test_every_block_is_one_of_its_language_and_names_options_that_exist():
    """What can be seen without running them: `make test` has no time for all pages."""
    from fansr.cli import manual
    from fansr.cli.fansr import COMMANDS

    known = {}
    for name, (module, _) in COMMANDS.items():
        params = [param for param in manual.tool_of(module).params if param.param_type_name == "option"]
        known[f"fansr-{name}"] = {"--help", "-h", *(flag for p in params for flag in (*p.opts, *p.secondary_opts))}
    for page in ALL_PAGES:
        for language, text in blocks(page):
            if language == "python":
                compile(text, str(page), "exec")
                continue
            done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
            assert done.returncode == 0, f"{page}: {done.stderr}\n{text}"
            text = re.sub(r"<<'?(\w+)'?.*?^\1$", "", text.replace("\\\n", " "), flags=re.M | re.S)
            for program, words in re.findall(r"\b(fansr-[a-z]+)\b([^|;&\n]*)", text):
                flags = set(re.findall(r"(?<!\S)--?[a-z][\w-]*", re.sub(r"'[^']*'|\"[^\"]*\"|#.*", "", words)))
                assert program not in known or flags <= known[program], (
                    f"{page}: {program} has no {flags - known[program]}"
                )


def test_a_stand_in_knows_a_file_that_is_missing(tmp_path):
    environment = workplace(tmp_path)
    for line, good in (
        ("sbatch bin/slurm/train.sbatch", True),
        ("sbatch bin/slurm/trian.sbatch", False),
        ("make tset", False),
    ):
        done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True)
        assert (done.returncode == 0) == good, line
