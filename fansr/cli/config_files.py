"""TOML files, and --config: a file with defaults for a command's own options."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable

import click

from fansr.errors import DataError, did_you_mean
from fansr.streams import files


def config_option() -> Callable:
    """--config FILE.toml: defaults for the command's own options; a flag wins over the file."""
    return click.option(
        "--config",
        type=click.Path(dir_okay=False),
        default=None,
        is_eager=True,
        expose_value=True,
        metavar="FILE",
        callback=_load_config,
        help="TOML file with defaults for these options.",
    )


def read_toml(path: str | os.PathLike) -> dict:
    """A TOML file as a dict; DataError says what is wrong with it.  A bare name is also looked for among the
    configs that come with fansr ("configs/3m.toml", "3m.toml" and "3m" all find the shipped file)."""
    from fansr.cli import resources

    places = [str(path)]
    if not os.path.exists(path):
        base = os.path.basename(str(path))
        base = base if base.endswith(".toml") else base + ".toml"
        places += [str(resources.path("configs", *folder, base)) for folder in ((), ("scale",))]
    place = next((place for place in places if os.path.exists(place)), places[0])
    raw = files.read_file(place, "a TOML file", MAX_TOML, packed=False)
    try:
        text = raw.decode()
        if DEEP_KEY.search(text):  # the library takes a time that grows with the square of a key's parts
            raise ValueError("a key of over 200 parts")
        return tomllib.loads(text)
    except RecursionError:
        raise DataError(f"{path}: not a TOML file: nested too deeply") from None
    except ValueError as error:  # also what is no UTF-8, and whole numbers of thousands of digits
        raise DataError(f"{path}: not a TOML file: {error}") from None


MAX_TOML = 1 << 20  # bytes of a configuration
DEEP_KEY = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){200}""")


def _load_config(context: click.Context, _param, value):
    if value is None:
        return None
    table = read_toml(value)
    options = [p for p in context.command.params if isinstance(p, click.Option) and p.name != "config"]
    called = {_called(option): option for option in options}  # as on the command line: time, json
    names = {**{str(option.name): option for option in options}, **called}
    # Sections of a config that belong to the stage itself (e.g. [prior]) are declared by the command.
    sections = getattr(context.command, "config_sections", ())
    for key in table:
        name = key.replace("-", "_")
        if name not in names and key not in sections:
            wanted = ", ".join(sorted([*called, *sections]))
            raise click.UsageError(
                f"{value}: unknown key {key!r}{did_you_mean(name, called)}; known are {wanted}", context
            )
        if name in names and key not in sections:
            table[key] = _as_option(value, key, table[key], names[name].multiple)
    defaults = {str(names[key.replace("-", "_")].name): v for key, v in table.items() if key not in sections}
    context.default_map = {**(context.default_map or {}), **defaults}
    context.meta["config_sections"] = {key: table[key] for key in table if key in sections}
    return value


def _called(option: click.Option) -> str:
    """An option's name as it is typed, without what leads it: max_length for --max-length."""
    return max(option.opts, key=len).lstrip("-").replace("-", "_")


def _as_option(file, key, value, many: bool):
    """What a config file says of one option, as click takes it."""
    if many and not isinstance(value, list):
        value = [value]
    for part in value if many else [value]:
        if not isinstance(part, (str, int, float)):
            raise DataError(f"{file}: {key} is {str(part)[:40]}, wanted a text, a number, or true or false")
    return value
