"""What a command says beside its output: remarks and bars on stderr, and its own entry in a stream's history."""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Iterable
from typing import Any

import click

from fansr.cli import live_lines
from fansr.version import __version__


def program(otherwise: str = "fansr") -> str:
    """The name this process was called by."""
    return os.path.basename(sys.argv[0]) if sys.argv and sys.argv[0] else otherwise


def history_entry(seed: int | None = None, config: dict | str | None = None, rules: str | None = None) -> dict:
    """What this command adds to a stream's history; only `argv` and `utc` differ between equal runs."""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return {
        "cmd": program("python").removesuffix(".py"),
        "argv": sys.argv[1:],
        "seed": seed,
        "version": __version__,
        "config": config,
        "rules": rules,
        "utc": now.isoformat().replace("+00:00", "Z"),
    }


def remark(message: str, quiet: bool = False) -> None:
    """A note for the user on stderr."""
    if not quiet:
        with live_lines.aside():
            click.echo(message, err=True)


def progress(
    iterable: Iterable | None = None, total: int | None = None, quiet: bool = False, unit: str = "rec", **extra: Any
) -> Any:
    """A tqdm bar on stderr, shown only on a terminal, never with -q, and not beside live lines, which tell the time."""
    from tqdm import tqdm

    with live_lines.aside() as busy:
        shown = not (quiet or busy or sys.stderr is None or not sys.stderr.isatty())
    return tqdm(
        iterable,
        total=total,
        unit=unit,
        disable=not shown,
        dynamic_ncols=True,
        unit_scale=(total or 0) >= 100_000,  # below, 25.0k is longer than the number
        **extra,
    )
