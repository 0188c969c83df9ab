"""manual.py: pages and completion say what --help says, and the scripts do in a real bash."""

import os
import shutil
import subprocess
import sys

import pytest
from click.testing import CliRunner

from fansr.cli import manual, resources
from fansr.cli.fansr import COMMANDS

PLANETS = str(resources.path("data") / "planets.csv")


@pytest.mark.parametrize("name", COMMANDS)
def test_a_page_holds_every_option_of_the_help(name):
    tool = manual.tool_of(COMMANDS[name][0])
    page = manual.page(f"fansr-{name}", tool, COMMANDS[name][1]).replace("\\-", "-")
    helped = CliRunner().invoke(tool, ["--help"]).output
    for param in tool.params:
        for flag in param.opts if param.param_type_name == "option" else ():
            assert flag in helped and f"{flag}" in page, flag
    assert page.startswith(f".TH FANSR-{name.upper()} 1") and ".SH EXAMPLE" in page


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff here")
def test_groff_reads_a_page_without_a_word():
    page = manual.page("fansr-fit", manual.tool_of("fansr.fit"), COMMANDS["fit"][1])
    done = subprocess.run(["groff", "-man", "-Tutf8", "-ww"], input=page, capture_output=True, text=True, check=True)
    assert done.stderr == "" and "Exit status 3" in done.stdout


def test_all_pages_are_files(tmp_path):
    done = CliRunner().invoke(manual.man, ["--all", "-o", str(tmp_path)])
    assert done.exit_code == 0 and {p.name for p in tmp_path.iterdir()} == {f"fansr-{name}.1" for name in COMMANDS}
    assert CliRunner().invoke(manual.man, []).exit_code == 2
    assert "known are fit" in CliRunner().invoke(manual.man, ["nope"]).output


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["fansr", "sc"], ["score"]),
        (["fansr", "co"], ["completion"]),
        (["fansr-fit", "--pred"], ["--predict"]),
        (["fansr", "fit", "--pred"], ["--predict"]),
        (["fansr-fit", "--no-ph"], ["--no-physics"]),
        (["fansr-fit", "x.csv", "--select", "a"], ["aicc"]),
        (["fansr-fit", PLANETS, "--target", "per"], ["period_days"]),
        (["fansr-fit", "planets", "--sigma", "semi"], ["semi_major_axis_au"]),
        (["fansr-fit", "nowhere.csv", "--target", ""], []),
        (["fansr-fit", "plan"], ["planets"]),
        (["other", ""], []),
    ],
)
def test_words_go_on(words, found):
    assert manual.candidates(words) == found


def test_columns_of_other_separators(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('# a remark\n"a b";c;d\n1;2;3\n')
    assert manual.columns_of(str(path)) == ["a b", "c", "d"]


@pytest.mark.parametrize("shell", [s for s in manual.SHELLS if shutil.which(s)])
def test_the_script_is_one_of_its_shell(shell):
    script = CliRunner().invoke(manual.completion, [shell]).output
    done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "" and all(f"fansr-{name}" in script for name in COMMANDS)


CALLS = {  # the function of the script, called as its shell calls it
    "bash": 'COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _fansr_complete; printf "%s\\n" "${{COMPREPLY[@]}}"',
    "zsh": 'compadd() {{ shift; print -l -- "$@" }}; words=({words}); CURRENT=$#words; _fansr_complete',
    "fish": "complete -C \"$(string join ' ' -- {words})\"",
}


@pytest.mark.parametrize("shell", [s for s in manual.SHELLS if shutil.which(s)])
def test_the_script_completes_columns_and_options(shell, tmp_path):
    """Begun words and empty ones, with a `fansr` of this checkout."""
    (tmp_path / "fansr").write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'from fansr.cli.fansr import main; main()' \"$@\"\n"
    )
    (tmp_path / "fansr").chmod(0o755)
    script = CliRunner().invoke(manual.completion, [shell]).output
    if shell == "zsh":
        script = script.partition("(( $+functions")[0]  # what registers it wants a terminal
    for words, found in (
        (f"fansr-fit {PLANETS} --target per", "period_days"),
        (f"fansr-fit {PLANETS} --target ''", "planet semi_major_axis_au period_days"),
        ("fansr fit --pred", "--predict"),
    ):
        call = CALLS[shell].format(words=words)
        done = subprocess.run(
            [shell, *(["-f"] if shell == "zsh" else []), "-c", f"{script}\n{call}"], capture_output=True, text=True, check=True,
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        )  # fmt: skip
        assert set(done.stdout.split()) == set(found.split()), (words, done.stdout, done.stderr)
