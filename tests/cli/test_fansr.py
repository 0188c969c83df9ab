"""`fansr` lists what setup.cfg installs, and runs it."""

import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from fansr.cli.fansr import COMMANDS

SETUP = ConfigParser()
SETUP.read(Path(__file__).resolve().parents[2] / "setup.cfg")
SCRIPTS = dict(line.split(" = ") for line in SETUP["options.entry_points"]["console_scripts"].split("\n") if line)


def run(*words):
    code = "from fansr.cli.fansr import main; main()"
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60)


def test_every_installed_command_is_listed_with_its_module():
    installed = {name: entry.split(":")[0] for name, entry in SCRIPTS.items() if name != "fansr"}
    assert {f"fansr-{name}": module for name, (module, _) in COMMANDS.items()} == installed


def test_the_list_and_a_command_by_two_names():
    listed = run()
    assert listed.returncode == 0 and all(f"  {name} " in listed.stdout for name in COMMANDS)
    for name in ("gen", "fansr-gen"):
        done = run(name, "--version")
        assert done.returncode == 0 and done.stdout.startswith("fansr-gen"), done.stderr


def test_help_of_a_command_by_either_order():
    assert run("help", "gen").stdout == run("gen", "--help").stdout != run("help").stdout == run().stdout


@pytest.mark.parametrize("word, meant", [("gne", "did you mean gen?"), ("zzzz", "known are fit, predict, gen")])
def test_an_unknown_command_is_one_line(word, meant):
    done = run(word)
    assert done.returncode == 2 and meant in done.stderr and done.stderr.count("\n") == 1
