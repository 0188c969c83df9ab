"""The table of the papers' statements: every command it names exists and takes the words written after it, every file is there."""

import configparser
import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
ROWS = [
    [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in (ROOT / "docs/paper-audit.md").read_text().splitlines()
    if re.match(r"\| \d", line)
]
SPANS = sorted({span.replace("\\|", "|") for row in ROWS for cell in row for span in re.findall(r"`([^`]+)`", cell)})
COMMANDS = [span for span in SPANS if re.match(r"(bin/|fansr-)", span)]


def program(name: str):
    """The click command behind a program's name, or the source of one that reads its words by argparse."""
    name = name.removeprefix("bin/")
    if name.startswith(("bench-", "distill-")):
        kind, _, rest = name.partition("-")
        module = f"bench.{rest.replace('-', '_')}" if kind == "bench" else f"bench.distillation.{rest}"
        found = importlib.import_module(module).main
        return found if isinstance(found, click.Command) else Path(importlib.import_module(module).__file__).read_text()
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.entry_points"]["console_scripts"].split("\n")
    module, function = dict(line.split(" = ") for line in lines if line)[name].split(":")
    found = getattr(importlib.import_module(module), function)
    if isinstance(found, click.Command):
        return found
    (found,) = [one for one in vars(importlib.import_module(module)).values() if isinstance(one, click.Command)]
    return found


def test_the_table_is_read_whole():
    numbers = [int(n) for row in ROWS for n in _numbers(row[0])]
    assert sorted(numbers) == sorted(set(numbers)), "a row twice"
    assert set(range(1, 161)) == set(numbers)
    assert len(COMMANDS) > 60


def _numbers(cell: str):
    """The rows a first cell stands for: "61, 62", "103 to 108" or one."""
    for part in cell.split(","):
        first, _, last = part.partition(" to ")
        yield from range(int(first), int(last or first) + 1)


def test_no_row_is_wrong_or_missing_without_a_reason():
    for row in ROWS:
        verdict = row[2]
        assert re.match(r"(yes|more|differs|part|no)\b|\w[\w ]*: ", verdict) or " is off in " in verdict, row
        assert "wrong" not in verdict.lower()
        if re.match(r"(no|part|differs)\b", verdict):
            assert len(verdict.split()) > 4, f"no reason: {row}"


@pytest.mark.parametrize("span", COMMANDS)
def test_a_named_command_takes_its_words(span):
    for piece in re.split(r" *(?:\||;|&&) *", span):
        words = [word for word in shlex.split(piece) if word != "..."]
        name, *rest = words
        if not re.match(r"(bin/(bench|distill)-|fansr-)", name):
            assert (ROOT / name).exists(), name
            continue
        command = program(name)
        if isinstance(command, click.Group) and rest:
            command, rest = command.commands[rest[0]], rest[1:]
        for word in rest:
            option = word.split("=")[0]
            if not re.fullmatch(r"-[a-zA-Z]|--[a-z0-9-]+", option):
                continue
            if isinstance(command, str):
                assert f'"{option}"' in command, f"{name} has no {option}"
            else:
                known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
                assert option in known, f"{name} has no {option}"
        choices = [
            p
            for p in getattr(command, "params", [])
            if isinstance(p, click.Argument) and isinstance(p.type, click.Choice)
        ]
        if choices and rest and not rest[0].startswith("-"):
            assert rest[0] in choices[0].type.choices, f"{name} has no {rest[0]}"


@pytest.mark.parametrize(
    "path", [span for span in SPANS if re.fullmatch(r"(tests|configs|docs|rules|data|fansr|bin)/[\w./*-]+", span)]
)
def test_a_named_file_is_there(path):
    assert list(ROOT.glob(path)), path
