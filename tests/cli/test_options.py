"""Options are called alike and mean the same in every command: all commands are walked, and those of `fansr` alone too."""

import importlib
from collections import defaultdict

import click
import pytest

from fansr.cli import manual
from fansr.cli.fansr import COMMANDS, OWN

SHORT = {"-o": "--output", "-j": "--jobs", "-n": "--number", "-q": "--quiet", "-v": "--verbose"}
# Options of one name that take another kind of value somewhere, each with its reason.
OTHERWISE = {
    "--json": "fansr-cat and fansr-score: one of several forms",
    "--val": "what is held out: a share of a table, as many points more, or a file",
    "--form": "fansr-fit: of a law of columns, with rules for its functions; fansr-law: of a scaling law",
    "--by": "of fansr-score several, every combination; of fansr-law one series",
    "--shards": "fansr-gen --plan counts them, fansr-cat names their folder",
}


def tools() -> dict[str, click.Command]:
    found = {name: manual.tool_of(module) for name, (module, _) in COMMANDS.items()}
    return found | {
        name: getattr(importlib.import_module(module), function) for name, (module, function, _) in OWN.items()
    }


TOOLS = tools()
OPTIONS = [(name, option) for name, tool in TOOLS.items() for option in tool.params if isinstance(option, click.Option)]


def kind(option: click.Option) -> tuple:
    """What decides how an option is written: its type, a path being a text, whether it is a flag, and how often it may stand."""
    name = "text" if option.type.name in ("path", "file", "directory") else option.type.name
    return name, option.is_flag, option.multiple


@pytest.mark.parametrize("name", TOOLS)
def test_a_short_name_means_its_long_one(name):
    """-o is --output everywhere, and an --output has its -o; a new letter is written down here first."""
    for command, option in OPTIONS:
        if command == name:
            for short in (flag for flag in option.opts if len(flag) == 2):
                assert SHORT.get(short) in option.opts, f"fansr-{name} {short}"
            for short, long in SHORT.items():
                assert (long in option.opts) <= (short in option.opts), f"fansr-{name} {long} has no {short}"


def test_options_of_one_name_take_the_same():
    kinds = defaultdict(dict)
    for command, option in OPTIONS:
        for flag in option.opts:
            if flag.startswith("--"):
                kinds[flag].setdefault(kind(option), []).append(command)
    differ = {flag: of for flag, of in kinds.items() if len(of) > 1}
    assert set(differ) == set(OTHERWISE), {flag: of for flag, of in differ.items() if flag not in OTHERWISE}


def test_seeds_configurations_and_quiet_are_the_same_everywhere():
    for flag, wanted in (
        ("--seed", {"default": 0}),
        ("--quiet", {}),
        ("--resume", {}),
        ("--max-record", {"default": "256M"}),
    ):
        options = [(command, option) for command, option in OPTIONS if flag in option.opts]
        assert len(options) > 2, flag
        for command, option in options:
            for attribute, value in wanted.items():
                assert getattr(option, attribute) == value, f"fansr-{command} {flag}"
    assert len({option.help for _, option in OPTIONS if "--seed" in option.opts}) == 1
    assert len({option.help for _, option in OPTIONS if "--max-record" in option.opts}) == 1


def test_every_command_can_be_quiet_and_says_where_it_writes():
    for name in COMMANDS:
        flags = {flag for command, option in OPTIONS if command == name for flag in option.opts}
        assert {"-q", "--output", "--help", "--version"} - flags <= {"--help"}, name


def test_many_options_stand_under_headings():
    for name, tool in TOOLS.items():
        options = sum(isinstance(param, click.Option) for param in tool.params)
        if options > 14:
            grouped = " ".join(tool.groups.values()).split()
            assert len(grouped) >= options / 2 and len(grouped) == len(set(grouped)), name


def test_every_option_says_what_it_is_for():
    for command, option in OPTIONS:
        assert (
            option.help
            and option.help.strip().rstrip("]").endswith((".", "cuda:N", "torch-cpu"))
            or "[default" in option.help
        ), (
            command,
            option.opts,
        )
